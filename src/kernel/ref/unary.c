#include "kernel/ref/kernel.h"

#define GELU_C ((real)0.7978845608028654) /* sqrt(2 / pi) */
#define GELU_K ((real)0.044715)

static inline real softplus(real x) /* log(1 + e^x), without overflow */
{
    return (x > 0 ? x : 0) + real_log1p(real_exp(-real_abs(x)));
}
static inline real gelu(real x) { return (real)0.5 * x * (1 + real_erf(x * (real)0.7071067811865476)); }
/* 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) */
static inline real gelu_gate(real x) { return real_sigmoid(2 * GELU_C * (x + GELU_K * x * x * x)); }

#define EACH(expression)                                                                                      \
    do {                                                                                                      \
        SIMD for (int64_t i = 0; i < n; i++)                                                                  \
        {                                                                                                     \
            real v = x[i];                                                                                    \
            y[i] = (expression);                                                                              \
        }                                                                                                     \
    } while (0);                                                                                              \
    break

static void unary_dense(hone__unary op, real *y, const real *x, int64_t n, real a, real b)
{
    switch (op) {
    case HONE__NEG: EACH(-v);
    case HONE__EXP: EACH(real_exp(v));
    case HONE__LOG: EACH(real_log(v));
    case HONE__SQRT: EACH(real_sqrt(v));
    case HONE__RSQRT: EACH(1 / real_sqrt(v));
    case HONE__ABS: EACH(real_abs(v));
    case HONE__SIGN: EACH((real)(v > 0) - (real)(v < 0));
    case HONE__SIN: EACH(real_sin(v));
    case HONE__COS: EACH(real_cos(v));
    case HONE__SQUARE: EACH(v *v);
    case HONE__RECIPROCAL: EACH(1 / v);
    case HONE__SIGMOID: EACH(real_sigmoid(v));
    case HONE__TANH: EACH(real_tanh(v));
    case HONE__RELU: EACH(v < 0 ? 0 : v);
    case HONE__LEAKY_RELU: EACH(v < 0 ? a * v : v);
    case HONE__GELU: EACH(gelu(v));
    case HONE__GELU_TANH: EACH(v *gelu_gate(v));
    case HONE__SILU: EACH(v *real_sigmoid(v));
    case HONE__SOFTPLUS: EACH(softplus(v));
    case HONE__CLAMP: EACH(v < a ? a : (v > b ? b : v));
    case HONE__AFFINE: EACH(a *v + b);
    case HONE__ELU: EACH(v > 0 ? v : a * (real_exp(b * v) - 1));
    }
}

void HONE_K(unary)(hone__unary op, void *y, hone_dtype yt, const void *x, hone_dtype xt, int64_t sx, int64_t n,
                   double a, double b)
{
    real in[CHUNK], out[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = HONE_MIN(n - at, CHUNK);
        const real *from = in;
        if (sx == 1)
            from = load(x, xt, at, in, m);
        else
            for (int64_t i = 0; i < m; i++) in[i] = *load(x, xt, (at + i) * sx, &in[i], 1);
        real *to = stage(y, yt, at, out);
        unary_dense(op, to, from, m, (real)a, (real)b);
        store(y, yt, at, to, m);
    }
}

#define EACH_GRAD(expression)                                                                                 \
    do {                                                                                                      \
        SIMD for (int64_t i = 0; i < n; i++)                                                                  \
        {                                                                                                     \
            real v = x[i], d = dy[i];                                                                         \
            dx[i] = d * (expression);                                                                         \
        }                                                                                                     \
    } while (0);                                                                                              \
    break

static inline real gelu_slope(real x)
{
    real cdf = (real)0.5 * (1 + real_erf(x * (real)0.7071067811865476));
    return cdf + x * (real)0.3989422804014327 * real_exp((real)-0.5 * x * x);
}
static inline real gelu_tanh_slope(real x)
{
    real s = gelu_gate(x);
    return s + x * s * (1 - s) * 2 * GELU_C * (1 + 3 * GELU_K * x * x);
}
static inline real silu_slope(real x)
{
    real s = real_sigmoid(x);
    return s * (1 + x * (1 - s));
}
static inline real sigmoid_slope(real x)
{
    real s = real_sigmoid(x);
    return s * (1 - s);
}
static inline real tanh_slope(real x)
{
    real t = real_tanh(x);
    return 1 - t * t;
}

static void unary_grad_dense(hone__unary op, real *dx, const real *x, const real *dy, int64_t n, real a, real b)
{
    switch (op) {
    case HONE__NEG: EACH_GRAD((real)-1 + 0 * v);
    case HONE__EXP: EACH_GRAD(real_exp(v));
    case HONE__LOG: EACH_GRAD(1 / v);
    case HONE__SQRT: EACH_GRAD((real)0.5 / real_sqrt(v));
    case HONE__RSQRT: EACH_GRAD((real)-0.5 / (v * real_sqrt(v)));
    case HONE__ABS: EACH_GRAD((real)(v > 0) - (real)(v < 0));
    case HONE__SIGN: EACH_GRAD(0 * v);
    case HONE__SIN: EACH_GRAD(real_cos(v));
    case HONE__COS: EACH_GRAD(-real_sin(v));
    case HONE__SQUARE: EACH_GRAD(2 * v);
    case HONE__RECIPROCAL: EACH_GRAD(-1 / (v * v));
    case HONE__SIGMOID: EACH_GRAD(sigmoid_slope(v));
    case HONE__TANH: EACH_GRAD(tanh_slope(v));
    case HONE__RELU: EACH_GRAD((real)(v > 0));
    case HONE__LEAKY_RELU: EACH_GRAD(v > 0 ? 1 : a);
    case HONE__GELU: EACH_GRAD(gelu_slope(v));
    case HONE__GELU_TANH: EACH_GRAD(gelu_tanh_slope(v));
    case HONE__SILU: EACH_GRAD(silu_slope(v));
    case HONE__SOFTPLUS: EACH_GRAD(real_sigmoid(v));
    case HONE__CLAMP: EACH_GRAD((real)(v >= a && v <= b));
    case HONE__AFFINE: EACH_GRAD(a + 0 * v);
    case HONE__ELU: EACH_GRAD(v > 0 ? 1 : a * b * real_exp(b * v));
    }
}

void HONE_K(unary_grad)(hone__unary op, void *dx, hone_dtype dxt, const void *x, hone_dtype xt, const void *dy,
                        hone_dtype dyt, int64_t n, double a, double b)
{
    real xs[CHUNK], dys[CHUNK], out[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = HONE_MIN(n - at, CHUNK);
        real *to = stage(dx, dxt, at, out);
        unary_grad_dense(op, to, load(x, xt, at, xs, m), load(dy, dyt, at, dys, m), m, (real)a, (real)b);
        store(dx, dxt, at, to, m);
    }
}
