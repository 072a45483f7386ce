#include "kernel/ref/rows.h"

/* The maximum is taken off first, so that no exponential overflows. A row of -inf alone gives NaN, as in
   PyTorch. */
void HONE_K(softmax)(bool logarithm, void *y, const void *x, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows && n > 0; r++) {
        const real *from = (const real *)x + r * n;
        real *to = (real *)y + r * n, m = max_of(from, n, from[0]);
        double total = 0;
        for (int64_t at = 0; at < n; at += CHUNK) {
            int64_t end = HONE_MIN(n, at + CHUNK);
            real sum = 0;
            SIMD_SUM(sum) for (int64_t i = at; i < end; i++)
            {
                real e = real_exp(from[i] - m);
                to[i] = e;
                sum += e;
            }
            total += (double)sum;
        }
        if (logarithm) {
            real c = (real)log(total);
            SIMD for (int64_t i = 0; i < n; i++) to[i] = (from[i] - m) - c;
        } else {
            real scale = (real)(1 / total);
            SIMD for (int64_t i = 0; i < n; i++) to[i] *= scale;
        }
    }
}

/* softmax: dx = y (dy - sum dy y). log softmax: dx = dy - e^y sum dy. */
void HONE_K(softmax_grad)(bool logarithm, void *dx, const void *y, const void *dy, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) {
        const real *p = (const real *)y + r * n, *d = (const real *)dy + r * n;
        real *to = (real *)dx + r * n;
        double total = 0;
        for (int64_t at = 0; at < n; at += CHUNK) {
            int64_t end = HONE_MIN(n, at + CHUNK);
            real sum = 0;
            if (logarithm) {
                SIMD_SUM(sum) for (int64_t i = at; i < end; i++) sum += d[i];
            } else {
                SIMD_SUM(sum) for (int64_t i = at; i < end; i++) sum += d[i] * p[i];
            }
            total += (double)sum;
        }
        real s = (real)total;
        if (logarithm) {
            SIMD for (int64_t i = 0; i < n; i++) to[i] = d[i] - real_exp(p[i]) * s;
        } else {
            SIMD for (int64_t i = 0; i < n; i++) to[i] = p[i] * (d[i] - s);
        }
    }
}
