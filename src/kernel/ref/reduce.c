#include "kernel/ref/kernel.h"

/* The largest (smallest) of n values; NaN where one is. */
static real largest(const real *v, int64_t n)
{
    real top = -(real)INFINITY;
    int nan = 0;
    HONE_PRAGMA_(omp simd reduction(max : top) reduction(| : nan)) for (int64_t i = 0; i < n; i++)
    {
        top = v[i] > top ? v[i] : top;
        nan |= v[i] != v[i];
    }
    return nan ? (real)NAN : top;
}

static real smallest(const real *v, int64_t n)
{
    real least = (real)INFINITY;
    int nan = 0;
    HONE_PRAGMA_(omp simd reduction(min : least) reduction(| : nan)) for (int64_t i = 0; i < n; i++)
    {
        least = v[i] < least ? v[i] : least;
        nan |= v[i] != v[i];
    }
    return nan ? (real)NAN : least;
}

/* Sums run over blocks of CHUNK in order, each summed in lanes: the same bits whatever the thread count, and an
   error that grows with n / CHUNK only. */
double HONE_K(reduce)(hone__reduce op, const void *x, hone_dtype xt, int64_t sx, int64_t n)
{
    real tmp[CHUNK];
    double total = op == HONE__SUM ? 0 : op == HONE__MAX ? -(double)INFINITY : (double)INFINITY;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = HONE_MIN(n - at, CHUNK);
        const real *v = tmp;
        if (sx == 1)
            v = load(x, xt, at, tmp, m);
        else
            for (int64_t i = 0; i < m; i++) tmp[i] = *load(x, xt, (at + i) * sx, &tmp[i], 1);
        if (op == HONE__SUM) {
            real sum = 0;
            SIMD_SUM(sum) for (int64_t i = 0; i < m; i++) sum += v[i];
            total += (double)sum;
        } else {
            double d = (double)(op == HONE__MAX ? largest(v, m) : smallest(v, m));
            if (d != d) return d;
            if (op == HONE__MAX ? d > total : d < total) total = d;
        }
    }
    return total;
}

void HONE_K(reduce_row)(hone__reduce op, void *y, const void *x, hone_dtype xt, int64_t n)
{
    real tmp[CHUNK], *to = y;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = HONE_MIN(n - at, CHUNK);
        const real *v = load(x, xt, at, tmp, m);
        real *t = to + at;
        if (op == HONE__SUM) {
            SIMD for (int64_t i = 0; i < m; i++) t[i] += v[i];
        } else if (op == HONE__MAX) {
            for (int64_t i = 0; i < m; i++) t[i] = v[i] > t[i] || v[i] != v[i] ? v[i] : t[i];
        } else {
            for (int64_t i = 0; i < m; i++) t[i] = v[i] < t[i] || v[i] != v[i] ? v[i] : t[i];
        }
    }
}

int64_t HONE_K(argmax)(const void *x, int64_t sx, int64_t n)
{
    const real *v = x;
    int64_t best = 0;
    if (sx == 1 && n > CHUNK) { /* which chunk has it, then where in it */
        real top = v[0];
        for (int64_t at = 0; at < n && top == top; at += CHUNK) {
            real m = largest(v + at, HONE_MIN(n - at, CHUNK));
            if (m > top || m != m) top = m, best = at;
        }
        while (best < n - 1 && (top != top ? v[best] == v[best] : v[best] != top)) best++;
        return best;
    }
    for (int64_t i = 1; i < n; i++)
        if (v[i * sx] > v[best * sx] || (v[i * sx] != v[i * sx] && v[best * sx] == v[best * sx])) best = i;
    return best;
}

double HONE_K(dot)(const void *a, const void *b, int64_t n)
{
    const real *u = a, *w = b;
    double total = 0;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t end = HONE_MIN(n, at + CHUNK);
        real sum = 0;
        SIMD_SUM(sum) for (int64_t i = at; i < end; i++) sum += u[i] * w[i];
        total += (double)sum;
    }
    return total;
}
