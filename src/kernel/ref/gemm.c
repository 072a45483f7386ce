/* Matrix product by packed panels: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
   ACM TOMS 34 (2008). The register tile is MR x NR; a block of A (MC x KC) stays in L2, a panel of B (KC x NR) in L1. */
#include "kernel/ref/kernel.h"

#if defined(__AVX512F__)
enum { MR = 12, NV = 2 };
#elif defined(__AVX__)
enum { MR = 6, NV = 2 };
#else
enum { MR = 4, NV = 2 };
#endif
enum { NR = NV * (int)(VECTOR_BYTES / sizeof(real)), MC = MR * 10, KC = 256, NC = NR * 16 };

int64_t HONE_K(gemm_scratch)(int64_t m, int64_t n, int64_t k)
{
    (void)m, (void)n, (void)k;
    return (int64_t)MC * KC + (int64_t)KC * NC + (int64_t)MR * NR;
}

/* pack[p][i]: rows i of A (or columns of B) beside each other for each k, zeros beyond the edge. */
static void pack(real *restrict to, const real *x, int64_t count, int64_t depth, int64_t step, int64_t depth_step,
                 int width)
{
    for (int64_t i0 = 0; i0 < count; i0 += width) {
        int64_t w = HONE_MIN(count - i0, width);
        const real *from = x + i0 * step;
        if (w == width && step == 1) {
            for (int64_t p = 0; p < depth; p++, to += width)
                memcpy(to, from + p * depth_step, (size_t)width * sizeof(real));
            continue;
        }
        for (int64_t p = 0; p < depth; p++, to += width) {
            for (int64_t i = 0; i < w; i++) to[i] = from[i * step + p * depth_step];
            for (int64_t i = w; i < width; i++) to[i] = 0;
        }
    }
}

static void tile(int64_t depth, const real *restrict a, const real *restrict b, real *restrict c, int64_t crs,
                 real alpha, real beta)
{
    vec sum[MR][NV] = {{{0}}};
    for (int64_t p = 0; p < depth; p++, a += MR, b += NR) {
        vec bv[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) bv[j] = *(const vec *)(b + j * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) sum[i][j] += a[i] * bv[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            vec *to = (vec *)(c + i * crs + j * LANES);
            *to = beta == 0 ? alpha * sum[i][j] : alpha * sum[i][j] + beta * *to;
        }
    }
}

/* Few multiplications: packing would cost more than it saves. */
static void small(int64_t m, int64_t n, int64_t k, real alpha, const real *a, int64_t ars, int64_t acs, const real *b,
                  int64_t brs, int64_t bcs, real beta, real *c, int64_t crs)
{
    for (int64_t i = 0; i < m; i++) {
        real *row = c + i * crs;
        if (bcs == 1) {
            for (int64_t j = 0; j < n; j++) row[j] = beta == 0 ? 0 : beta * row[j];
            for (int64_t p = 0; p < k; p++) {
                real s = alpha * a[i * ars + p * acs];
                const real *from = b + p * brs;
                SIMD for (int64_t j = 0; j < n; j++) row[j] += s * from[j];
            }
        } else {
            for (int64_t j = 0; j < n; j++) {
                real sum = 0;
                const real *u = a + i * ars, *w = b + j * bcs;
                if (acs == 1 && brs == 1) {
                    SIMD_SUM(sum) for (int64_t p = 0; p < k; p++) sum += u[p] * w[p];
                } else {
                    for (int64_t p = 0; p < k; p++) sum += u[p * acs] * w[p * brs];
                }
                row[j] = alpha * sum + (beta == 0 ? 0 : beta * row[j]);
            }
        }
    }
}

/* a: row stride ars, column stride acs; b likewise; rows of c are contiguous, crs apart. scratch: gemm_scratch
   reals. beta 0 does not read c. */
void HONE_K(gemm)(int64_t m, int64_t n, int64_t k, double alpha, const void *a, int64_t ars, int64_t acs, const void *b,
                  int64_t brs, int64_t bcs, double beta, void *c, int64_t crs, void *scratch)
{
    const real *ra = a, *rb = b;
    real *rc = c;
    if (m <= 0 || n <= 0) return;
    if (m * n * k <= 16 * 1024 || m < 3) {
        small(m, n, k, (real)alpha, ra, ars, acs, rb, brs, bcs, (real)beta, rc, crs);
        return;
    }
    real *pa = scratch, *pb = pa + (int64_t)MC * KC, *edge = pb + (int64_t)KC * NC;
    for (int64_t j0 = 0; j0 < n; j0 += NC) {
        int64_t nc = HONE_MIN(n - j0, NC);
        for (int64_t p0 = 0; p0 < k; p0 += KC) {
            int64_t kc = HONE_MIN(k - p0, KC);
            real to_beta = p0 == 0 ? (real)beta : 1;
            pack(pb, rb + p0 * brs + j0 * bcs, nc, kc, bcs, brs, NR);
            for (int64_t i0 = 0; i0 < m; i0 += MC) {
                int64_t mc = HONE_MIN(m - i0, MC);
                pack(pa, ra + i0 * ars + p0 * acs, mc, kc, ars, acs, MR);
                for (int64_t j = 0; j < nc; j += NR)
                    for (int64_t i = 0; i < mc; i += MR) {
                        const real *ap = pa + i * kc, *bp = pb + j * kc;
                        real *to = rc + (i0 + i) * crs + j0 + j;
                        int64_t mr = HONE_MIN(mc - i, MR), nr = HONE_MIN(nc - j, NR);
                        if (mr == MR && nr == NR) {
                            tile(kc, ap, bp, to, crs, (real)alpha, to_beta);
                            continue;
                        }
                        tile(kc, ap, bp, edge, NR, (real)alpha, 0);
                        for (int64_t y = 0; y < mr; y++)
                            for (int64_t x = 0; x < nr; x++)
                                to[y * crs + x] = edge[y * NR + x] + (to_beta == 0 ? 0 : to_beta * to[y * crs + x]);
                    }
            }
        }
    }
}
