/* Gelu, and x sigmoid(g(x)), the activations of language models, and their slopes, where everything lies dense and has one type,
   f32 or bf16. Included by unary_<isa>.c, which define X86(name). */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#define INLINE static inline __attribute__((always_inline))

/* g(x) = c x + k x^3: silu has (1, 0); gelu by tanh has 2 sqrt(2 / pi) (1, 0.044715), as 1 + tanh(u) is 2 sigmoid(2 u). */
typedef struct gate {
    __m512 c, k, three_k;
} gate;

static gate gate_of(hone__unary op)
{
    bool silu = op == HONE__SILU;
    float c = silu ? 1 : 1.5957691216f, k = silu ? 0 : c * 0.044715f;
    return (gate){_mm512_set1_ps(c), _mm512_set1_ps(k), _mm512_set1_ps(3 * k)};
}

INLINE void forward16(gate g, void *y, const void *x, bool bf16, int64_t at, __mmask16 mask)
{
    __m512 v = load_real(x, bf16, at, mask), s = sigmoid(_mm512_mul_ps(v, _mm512_fmadd_ps(g.k, _mm512_mul_ps(v, v), g.c)));
    store_real(y, bf16, at, mask, _mm512_mul_ps(v, s));
}

INLINE void forward(gate g, void *y, const void *x, bool bf16, int64_t n)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) forward16(g, y, x, bf16, i, 0xFFFF);
    if (i < n) forward16(g, y, x, bf16, i, first_lanes(n - i));
}

/* dx = dy (s + x s (1 - s) g'(x)) */
INLINE void backward16(gate g, void *dx, const void *x, const void *dy, bool bf16, int64_t at, __mmask16 mask)
{
    __m512 v = load_real(x, bf16, at, mask), d = load_real(dy, bf16, at, mask), square = _mm512_mul_ps(v, v);
    __m512 s = sigmoid(_mm512_mul_ps(v, _mm512_fmadd_ps(g.k, square, g.c))), slope = _mm512_fmadd_ps(g.three_k, square, g.c);
    __m512 rise = _mm512_mul_ps(_mm512_mul_ps(v, slope), _mm512_fnmadd_ps(s, s, s)); /* x g' s (1 - s) */
    store_real(dx, bf16, at, mask, _mm512_mul_ps(d, _mm512_add_ps(s, rise)));
}

INLINE void backward(gate g, void *dx, const void *x, const void *dy, bool bf16, int64_t n)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) backward16(g, dx, x, dy, bf16, i, 0xFFFF);
    if (i < n) backward16(g, dx, x, dy, bf16, i, first_lanes(n - i));
}

/* ---- gelu: x P(x), P the share of a standard normal distribution below x ---- */

/* e^(-x^2 / 2), for results in bf16 with a relative error of 3e-6 alone: the fraction of the power is taken in [0, 1), as scalef
   takes the whole part. */
INLINE __m512 bell_of(__m512 x, bool bf16)
{
    __m512 power = _mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.5f * HONE__LOG2_E));
    __mmask16 seen = _mm512_cmp_ps_mask(power, _mm512_set1_ps(-126), _CMP_NLT_UQ); /* NaN stays */
    if (!bf16) return exp2_in(seen, power);
    __m512 r = _mm512_reduce_ps(power, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC), p = _mm512_set1_ps(1.35341047e-2f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.20116101e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.41442661e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93003858e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.00000259f));
    return _mm512_maskz_scalef_ps(seen, p, power);
}

/* P(-|x|) is the bell by a polynomial of 1 / (1 + 0.29 |x|), as in Abramowitz and Stegun, 26.2.16, but with coefficients that are
   best in the relative error up to 6.2: with the reciprocal's 14 bits it is 2e-4, a tenth of bf16's. */
INLINE __m512 short_share(__m512 x, __m512 bell)
{
    __m512 t = _mm512_rcp14_ps(_mm512_fmadd_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.29f), _mm512_set1_ps(1)));
    __m512 p = _mm512_fmadd_ps(t, _mm512_set1_ps(2.59368047e-1f), _mm512_set1_ps(-3.02164503e-2f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.60567689e-1f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.10323825e-1f));
    __m512 tail = _mm512_mul_ps(_mm512_mul_ps(p, t), bell);
    return _mm512_mask_sub_ps(tail, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), _mm512_set1_ps(1), tail);
}

/* P(-|x|) is 2^-p(|x|) with a polynomial that is best in P's absolute error (2e-8), and 0 from 5.6 on. */
INLINE __m512 normal_share(__m512 x)
{
    const __m512 a = _mm512_abs_ps(x);
    __m512 p = _mm512_set1_ps(2.772050399e-6f);
    p = _mm512_fmadd_ps(p, a, _mm512_set1_ps(-3.862074545e-5f));
    p = _mm512_fmadd_ps(p, a, _mm512_set1_ps(1.825475324e-4f));
    p = _mm512_fmadd_ps(p, a, _mm512_set1_ps(1.458704087e-4f));
    p = _mm512_fmadd_ps(p, a, _mm512_set1_ps(-7.075472221e-3f));
    p = _mm512_fmadd_ps(p, a, _mm512_set1_ps(5.250502904e-2f));
    p = _mm512_fmadd_ps(p, a, _mm512_set1_ps(4.592049071e-1f));
    p = _mm512_fmadd_ps(p, a, _mm512_set1_ps(1.151105724f));
    p = _mm512_fnmsub_ps(p, a, _mm512_set1_ps(9.999999783e-1f));
    __mmask16 seen = _mm512_cmp_ps_mask(a, _mm512_set1_ps(5.6f), _CMP_NGT_UQ); /* NaN stays */
    __m512 tail = exp2_in(seen, p);
    return _mm512_mask_sub_ps(tail, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), _mm512_set1_ps(1), tail);
}

INLINE void gelu16(void *y, const void *x, bool bf16, int64_t at, __mmask16 mask)
{
    __m512 v = load_real(x, bf16, at, mask);
    store_real(y, bf16, at, mask, _mm512_mul_ps(v, bf16 ? short_share(v, bell_of(v, true)) : normal_share(v)));
}
INLINE void gelu(void *y, const void *x, bool bf16, int64_t n)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) gelu16(y, x, bf16, i, 0xFFFF);
    if (i < n) gelu16(y, x, bf16, i, first_lanes(n - i));
}

/* dx = dy (P(x) + x e^(-x^2 / 2) / sqrt(2 pi)) */
INLINE void gelu_grad16(void *dx, const void *x, const void *dy, bool bf16, int64_t at, __mmask16 mask)
{
    __m512 v = load_real(x, bf16, at, mask), d = load_real(dy, bf16, at, mask);
    __m512 bell = bell_of(v, bf16), share = bf16 ? short_share(v, bell) : normal_share(v);
    __m512 slope = _mm512_fmadd_ps(_mm512_mul_ps(v, bell), _mm512_set1_ps(0.3989422804f), share);
    store_real(dx, bf16, at, mask, _mm512_mul_ps(d, slope));
}
INLINE void gelu_grad(void *dx, const void *x, const void *dy, bool bf16, int64_t n)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) gelu_grad16(dx, x, dy, bf16, i, 0xFFFF);
    if (i < n) gelu_grad16(dx, x, dy, bf16, i, first_lanes(n - i));
}

static bool made_here(hone__unary op, hone_dtype y, hone_dtype x)
{
    return (op == HONE__SILU || op == HONE__GELU_TANH || op == HONE__GELU) && y == x && (x == HONE_F32 || x == HONE_BF16);
}

void X86(unary)(hone__unary op, void *y, hone_dtype yt, const void *x, hone_dtype xt, int64_t sx, int64_t n, double a, double b)
{
    if (!made_here(op, yt, xt) || sx != 1)
        hone__kernels_avx512_f32.unary(op, y, yt, x, xt, sx, n, a, b);
    else if (op == HONE__GELU && xt == HONE_BF16)
        gelu(y, x, true, n);
    else if (op == HONE__GELU)
        gelu(y, x, false, n);
    else if (xt == HONE_BF16)
        forward(gate_of(op), y, x, true, n);
    else
        forward(gate_of(op), y, x, false, n);
}

void X86(unary_grad)(hone__unary op, void *dx, hone_dtype dxt, const void *x, hone_dtype xt, const void *dy, hone_dtype dyt,
                     int64_t n, double a, double b)
{
    if (!made_here(op, dxt, xt) || dyt != xt)
        hone__kernels_avx512_f32.unary_grad(op, dx, dxt, x, xt, dy, dyt, n, a, b);
    else if (op == HONE__GELU && xt == HONE_BF16)
        gelu_grad(dx, x, dy, true, n);
    else if (op == HONE__GELU)
        gelu_grad(dx, x, dy, false, n);
    else if (xt == HONE_BF16)
        backward(gate_of(op), dx, x, dy, true, n);
    else
        backward(gate_of(op), dx, x, dy, false, n);
}
