#include "kernel/ref/kernel.h"

/* n values with stride s; stride 0 repeats one. */
static const real *gather(const void *x, hone_dtype type, int64_t s, int64_t at, real *tmp, int64_t n)
{
    if (s == 1) return load(x, type, at, tmp, n);
    real one;
    if (s == 0) {
        one = *load(x, type, 0, &one, 1);
        for (int64_t i = 0; i < n; i++) tmp[i] = one;
    } else {
        for (int64_t i = 0; i < n; i++) tmp[i] = *load(x, type, (at + i) * s, &one, 1);
    }
    return tmp;
}

#define EACH(expression)                                                                                      \
    SIMD for (int64_t i = 0; i < m; i++)                                                                      \
    {                                                                                                         \
        real p = u[i], q = w[i];                                                                              \
        to[i] = (expression);                                                                                 \
    }                                                                                                         \
    break

void HONE_K(binary)(hone__binary op, void *y, hone_dtype yt, const void *a, hone_dtype at, int64_t sa, const void *b,
                    hone_dtype bt, int64_t sb, int64_t n)
{
    real as[CHUNK], bs[CHUNK], out[CHUNK];
    for (int64_t from = 0; from < n; from += CHUNK) {
        int64_t m = HONE_MIN(n - from, CHUNK);
        const real *u = gather(a, at, sa, from, as, m), *w = gather(b, bt, sb, from, bs, m);
        real *to = stage(y, yt, from, out);
        switch (op) {
        case HONE__ADD: EACH(p + q);
        case HONE__SUB: EACH(p - q);
        case HONE__MUL: EACH(p *q);
        case HONE__DIV: EACH(p / q);
        case HONE__POW: EACH(real_pow(p, q));
        case HONE__MAXIMUM: EACH(p > q || p != p ? p : q);
        case HONE__MINIMUM: EACH(p < q || p != p ? p : q);
        }
        store(y, yt, from, to, m);
    }
}

#define EACH_COMPARE(operator)                                                                                \
    for (int64_t i = 0; i < n; i++) y[i] = u[i * sa] operator w[i * sb];                                      \
    break

#define COMPARE(name, type)                                                                                   \
    static void name(hone__compare op, uint8_t *y, const type *u, int64_t sa, const type *w, int64_t sb, int64_t n) \
    {                                                                                                         \
        switch (op) {                                                                                         \
        case HONE__EQ: EACH_COMPARE(==);                                                                      \
        case HONE__NE: EACH_COMPARE(!=);                                                                      \
        case HONE__LT: EACH_COMPARE(<);                                                                       \
        case HONE__LE: EACH_COMPARE(<=);                                                                      \
        case HONE__GT: EACH_COMPARE(>);                                                                       \
        case HONE__GE: EACH_COMPARE(>=);                                                                      \
        }                                                                                                     \
    }
COMPARE(compare_real, real)
COMPARE(compare_i32, int32_t)
COMPARE(compare_i64, int64_t)
COMPARE(compare_u8, uint8_t)

void HONE_K(compare)(hone__compare op, uint8_t *y, hone_dtype t, const void *a, int64_t sa, const void *b, int64_t sb,
                     int64_t n)
{
    if (t == HONE_I32)
        compare_i32(op, y, a, sa, b, sb, n);
    else if (t == HONE_I64)
        compare_i64(op, y, a, sa, b, sb, n);
    else if (t == HONE_U8)
        compare_u8(op, y, a, sa, b, sb, n);
    else
        compare_real(op, y, a, sa, b, sb, n);
}

void HONE_K(copy)(void *y, hone_dtype yt, const void *x, hone_dtype xt, int64_t sx, int64_t n)
{
    real tmp[CHUNK];
    for (int64_t from = 0; from < n; from += CHUNK) {
        int64_t m = HONE_MIN(n - from, CHUNK);
        const real *u = gather(x, xt, sx, from, tmp, m);
        if (yt == REAL_DTYPE)
            memcpy((real *)y + from, u, (size_t)m * sizeof(real));
        else
            store(y, yt, from, u, m);
    }
}

void HONE_K(axpy)(void *y, const void *x, hone_dtype xt, double scale, int64_t n)
{
    real tmp[CHUNK], *to = y, s = (real)scale;
    for (int64_t from = 0; from < n; from += CHUNK) {
        int64_t m = HONE_MIN(n - from, CHUNK);
        const real *u = load(x, xt, from, tmp, m);
        SIMD for (int64_t i = 0; i < m; i++) to[from + i] += s * u[i];
    }
}
