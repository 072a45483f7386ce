/* Layer norm and RMS norm and their backward pass over rows of f32 or bf16. Rows stay in the first cache between the walks; what
   comes next is asked for while a row is walked. Included by norm_<isa>.c, which define X86(name). */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

enum { AHEAD = 2 }; /* rows */

/* Asks for the line with elements [at, at + 16) of row r + AHEAD. */
INLINE void fetch(const void *x, bool bf16, int64_t r, int64_t end, int64_t n, int64_t at)
{
    if (x && r + AHEAD < end) __builtin_prefetch((const char *)x + ((r + AHEAD) * n + at) * (bf16 ? 2 : 4));
}

INLINE __m512 load_gain(const hone__norm *a, int64_t at, __mmask16 mask)
{
    return a->gain ? load_real(a->gain, a->gt == HONE_BF16, at, mask) : _mm512_set1_ps(1);
}

/* The sum of (x - mean), to the given power of 1 or 2, over a row: two sums of 16 lanes, so that additions overlap. */
INLINE double sum_row(const void *x, bool bf16, int64_t from, int64_t n, float mean, bool squares)
{
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, m = _mm512_set1_ps(mean);
    for (int64_t at = 0, s = 0; at < n; at += 16, s ^= 1) {
        __mmask16 mask = first_lanes(n - at);
        __m512 v = _mm512_maskz_sub_ps(mask, load_real(x, bf16, from + at, mask), m);
        sum[s] = squares ? _mm512_fmadd_ps(v, v, sum[s]) : _mm512_add_ps(v, sum[s]);
    }
    return (double)_mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
}

INLINE void forward(const hone__norm *a, int64_t begin, int64_t end, bool x_half, bool y_half)
{
    int64_t n = a->n;
    for (int64_t r = begin; r < end; r++) {
        int64_t from = r * n;
        for (int64_t at = 0; at < n; at += x_half ? 32 : 16) fetch(a->x, x_half, r, end, n, at);
        float mean = a->centre ? (float)(sum_row(a->x, x_half, from, n, 0, false) / (double)n) : 0;
        float rstd = (float)(1 / sqrt(sum_row(a->x, x_half, from, n, mean, true) / (double)n + a->eps));
        if (a->mean) ((float *)a->mean)[r] = mean;
        if (a->rstd) ((float *)a->rstd)[r] = rstd;
        const __m512 m = _mm512_set1_ps(mean), s = _mm512_set1_ps(rstd);
        for (int64_t at = 0; at < n && a->y; at += 16) {
            __mmask16 mask = first_lanes(n - at);
            __m512 h = _mm512_mul_ps(_mm512_sub_ps(load_real(a->x, x_half, from + at, mask), m), s);
            if (a->gain) h = _mm512_mul_ps(h, load_gain(a, at, mask));
            if (a->bias) h = _mm512_add_ps(h, load_real(a->bias, a->bt == HONE_BF16, at, mask));
            store_real(a->y, y_half, from + at, mask, h);
        }
    }
}

void X86(norm)(const hone__norm *a, int64_t begin, int64_t end)
{
    bool x_half = a->xt == HONE_BF16, y_half = a->yt == HONE_BF16;
    if (!x_half && y_half) /* a residual stream, for products */
        forward(a, begin, end, false, true);
    else
        forward(a, begin, end, x_half, y_half);
}

/* The formulas are at kernel/ref/norm.c: a walk for the two sums (and dgain, dbias), one for dx. */
INLINE void backward(const hone__norm *a, int64_t begin, int64_t end, float *dgain, float *dbias, bool x_half, bool d_half,
                     bool dx_half, bool more_half)
{
    int64_t n = a->n;
    for (int64_t r = begin; r < end; r++) {
        int64_t from = r * n;
        const __m512 mean = _mm512_set1_ps(a->mean ? ((const float *)a->mean)[r] : 0);
        const __m512 rstd = _mm512_set1_ps(((const float *)a->rstd)[r]);
        __m512 sum_g = _mm512_setzero_ps(), sum_gh = _mm512_setzero_ps();
        for (int64_t at = 0; at < n; at += 16) {
            __mmask16 mask = first_lanes(n - at);
            fetch(a->x, x_half, r, end, n, at);
            fetch(a->dy, d_half, r, end, n, at);
            __m512 d = load_real(a->dy, d_half, from + at, mask), g = _mm512_mul_ps(d, load_gain(a, at, mask));
            __m512 h = _mm512_mul_ps(_mm512_maskz_sub_ps(mask, load_real(a->x, x_half, from + at, mask), mean), rstd);
            sum_g = _mm512_add_ps(sum_g, g);
            sum_gh = _mm512_fmadd_ps(g, h, sum_gh);
            if (dgain) store_real(dgain, false, at, mask, _mm512_fmadd_ps(d, h, load_real(dgain, false, at, mask)));
            if (dbias) store_real(dbias, false, at, mask, _mm512_add_ps(d, load_real(dbias, false, at, mask)));
        }
        if (!a->dx) continue;
        const __m512 c1 = _mm512_set1_ps(a->centre ? _mm512_reduce_add_ps(sum_g) / (float)n : 0);
        const __m512 c2 = _mm512_set1_ps(_mm512_reduce_add_ps(sum_gh) / (float)n);
        for (int64_t at = 0; at < n; at += 16) {
            __mmask16 mask = first_lanes(n - at);
            fetch(a->more, more_half, r, end, n, at);
            __m512 d = load_real(a->dy, d_half, from + at, mask), g = _mm512_mul_ps(d, load_gain(a, at, mask));
            __m512 h = _mm512_mul_ps(_mm512_sub_ps(load_real(a->x, x_half, from + at, mask), mean), rstd);
            __m512 dx = _mm512_mul_ps(rstd, _mm512_fnmadd_ps(h, c2, _mm512_sub_ps(g, c1)));
            if (a->more) dx = _mm512_add_ps(dx, load_real(a->more, more_half, from + at, mask));
            store_real(a->dx, dx_half, from + at, mask, dx);
            if (a->dx_again) store_real(a->dx_again, true, from + at, mask, dx);
        }
    }
}

void X86(norm_grad)(const hone__norm *a, int64_t begin, int64_t end, void *dgain, void *dbias)
{
    bool x_half = a->xt == HONE_BF16, d_half = a->dyt == HONE_BF16, dx_half = a->dxt == HONE_BF16, more_half = a->mt == HONE_BF16;
    if (!x_half && !d_half && !dx_half && !more_half) /* gradients of a residual stream */
        backward(a, begin, end, dgain, dbias, false, false, false, false);
    else
        backward(a, begin, end, dgain, dbias, x_half, d_half, dx_half, more_half);
}
