/* Layer norm (Ba, Kiros, Hinton, 2016) and RMS norm (Zhang and Sennrich, NeurIPS 2019). A row is walked
   several times, but comes from memory once: rows of a network fit into the first cache. */
#include "kernel/ref/kernel.h"

/* Asks for a row that comes soon: what CPUs fetch by themselves ends at each page. */
static inline void fetch_row(const void *x, hone_dtype type, int64_t row, int64_t end, int64_t n)
{
    const char *from = (const char *)x + hone__dtype_bytes(type, row * n), *to = from + hone__dtype_bytes(type, n);
    for (; row < end && from < to; from += 64) __builtin_prefetch(from);
}

void HONE_K(norm)(const hone__norm *a, int64_t begin, int64_t end)
{
    real xs[CHUNK], gs[CHUNK], bs[CHUNK], ys[CHUNK];
    int64_t n = a->n;
    for (int64_t r = begin; r < end; r++) {
        double total = 0, squares = 0;
        fetch_row(a->x, a->xt, r + 2, end, n);
        for (int64_t at = 0; at < n && a->centre; at += CHUNK) {
            int64_t m = HONE_MIN(n - at, CHUNK);
            const real *x = load(a->x, a->xt, r * n + at, xs, m);
            real sum = 0;
            SIMD_SUM(sum) for (int64_t i = 0; i < m; i++) sum += x[i];
            total += (double)sum;
        }
        real mean = (real)(total / (double)n);
        for (int64_t at = 0; at < n; at += CHUNK) {
            int64_t m = HONE_MIN(n - at, CHUNK);
            const real *x = load(a->x, a->xt, r * n + at, xs, m);
            real sum = 0;
            SIMD_SUM(sum) for (int64_t i = 0; i < m; i++) sum += (x[i] - mean) * (x[i] - mean);
            squares += (double)sum;
        }
        real rstd = (real)(1 / sqrt(squares / (double)n + a->eps));
        if (a->mean) ((real *)a->mean)[r] = mean;
        if (a->rstd) ((real *)a->rstd)[r] = rstd;
        if (!a->y) continue;
        for (int64_t at = 0; at < n; at += CHUNK) {
            int64_t m = HONE_MIN(n - at, CHUNK);
            const real *x = load(a->x, a->xt, r * n + at, xs, m);
            real *y = stage(a->y, a->yt, r * n + at, ys);
            SIMD for (int64_t i = 0; i < m; i++) y[i] = (x[i] - mean) * rstd;
            if (a->gain) {
                const real *g = load(a->gain, a->gt, at, gs, m);
                SIMD for (int64_t i = 0; i < m; i++) y[i] *= g[i];
            }
            if (a->bias) {
                const real *b = load(a->bias, a->bt, at, bs, m);
                SIMD for (int64_t i = 0; i < m; i++) y[i] += b[i];
            }
            store(a->y, a->yt, r * n + at, y, m);
        }
    }
}

/* With h = (x - mean) rstd and g = dy gain: dx = rstd (g - mean(g) - h mean(g h)), the term mean(g) for layer
   norm alone; dgain = sum over rows of dy h, dbias of dy. */
void HONE_K(norm_grad)(const hone__norm *a, int64_t begin, int64_t end, void *dgain, void *dbias)
{
    real xs[CHUNK], gs[CHUNK], ds[CHUNK], ms[CHUNK], out[CHUNK];
    int64_t n = a->n;
    for (int64_t r = begin; r < end; r++) {
        real mean = a->mean ? ((const real *)a->mean)[r] : 0, rstd = ((const real *)a->rstd)[r];
        double sum_g = 0, sum_gh = 0;
        for (int64_t at = 0; at < n; at += CHUNK) {
            int64_t m = HONE_MIN(n - at, CHUNK);
            const real *x = load(a->x, a->xt, r * n + at, xs, m), *d = load(a->dy, a->dyt, r * n + at, ds, m);
            real s1 = 0, s2 = 0;
            if (a->gain) {
                const real *g = load(a->gain, a->gt, at, gs, m);
                _Pragma("omp simd reduction(+ : s1, s2)") for (int64_t i = 0; i < m; i++)
                {
                    real dg = d[i] * g[i];
                    s1 += dg;
                    s2 += dg * ((x[i] - mean) * rstd);
                }
            } else {
                _Pragma("omp simd reduction(+ : s1, s2)") for (int64_t i = 0; i < m; i++)
                {
                    s1 += d[i];
                    s2 += d[i] * ((x[i] - mean) * rstd);
                }
            }
            sum_g += (double)s1;
            sum_gh += (double)s2;
            if (dgain) {
                real *to = (real *)dgain + at;
                SIMD for (int64_t i = 0; i < m; i++) to[i] += d[i] * ((x[i] - mean) * rstd);
            }
            if (dbias) {
                real *to = (real *)dbias + at;
                SIMD for (int64_t i = 0; i < m; i++) to[i] += d[i];
            }
        }
        if (!a->dx) continue;
        real c1 = a->centre ? (real)(sum_g / (double)n) : 0, c2 = (real)(sum_gh / (double)n);
        for (int64_t at = 0; at < n; at += CHUNK) {
            int64_t m = HONE_MIN(n - at, CHUNK);
            const real *x = load(a->x, a->xt, r * n + at, xs, m), *d = load(a->dy, a->dyt, r * n + at, ds, m);
            real *to = stage(a->dx, a->dxt, r * n + at, out);
            if (a->gain) {
                const real *g = load(a->gain, a->gt, at, gs, m);
                SIMD for (int64_t i = 0; i < m; i++) to[i] =
                    rstd * (d[i] * g[i] - c1 - (x[i] - mean) * rstd * c2);
            } else {
                SIMD for (int64_t i = 0; i < m; i++) to[i] = rstd * (d[i] - c1 - (x[i] - mean) * rstd * c2);
            }
            if (a->more) {
                const real *more = load(a->more, a->mt, r * n + at, ms, m);
                SIMD for (int64_t i = 0; i < m; i++) to[i] += more[i];
            }
            if (a->dx_again) store(a->dx_again, HONE_BF16, r * n + at, to, m);
            store(a->dx, a->dxt, r * n + at, to, m);
        }
    }
}
