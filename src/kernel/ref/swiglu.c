/* y = silu(gate) up: Shazeer, "GLU Variants Improve Transformer", 2020. */
#include "kernel/ref/kernel.h"

static const real *strided(const void *x, hone_dtype type, int64_t s, int64_t at, real *tmp, int64_t n)
{
    if (s == 1) return load(x, type, at, tmp, n);
    for (int64_t i = 0; i < n; i++) tmp[i] = *load(x, type, (at + i) * s, &tmp[i], 1);
    return tmp;
}

void HONE_K(swiglu)(void *y, hone_dtype yt, const void *gate, hone_dtype gt, int64_t gs, const void *up,
                    hone_dtype ut, int64_t us, int64_t n)
{
    real g_tmp[CHUNK], u_tmp[CHUNK], out[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = HONE_MIN(n - at, CHUNK);
        const real *g = strided(gate, gt, gs, at, g_tmp, m), *u = strided(up, ut, us, at, u_tmp, m);
        real *to = stage(y, yt, at, out);
        SIMD for (int64_t i = 0; i < m; i++) to[i] = g[i] * real_sigmoid(g[i]) * u[i];
        store(y, yt, at, to, m);
    }
}

void HONE_K(swiglu_grad)(void *dgate, hone_dtype dgt, void *dup, hone_dtype dut, const void *gate,
                         hone_dtype gt, int64_t gs, const void *up, hone_dtype ut, int64_t us, const void *dy,
                         hone_dtype dyt, int64_t ds, int64_t n)
{
    real g_tmp[CHUNK], u_tmp[CHUNK], d_tmp[CHUNK], dg_tmp[CHUNK], du_tmp[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = HONE_MIN(n - at, CHUNK);
        const real *g = strided(gate, gt, gs, at, g_tmp, m), *u = strided(up, ut, us, at, u_tmp, m);
        const real *d = strided(dy, dyt, ds, at, d_tmp, m);
        real *dg = dgate ? stage(dgate, dgt, at, dg_tmp) : dg_tmp,
             *du = dup ? stage(dup, dut, at, du_tmp) : du_tmp;
        SIMD for (int64_t i = 0; i < m; i++)
        {
            real s = real_sigmoid(g[i]);
            du[i] = d[i] * (g[i] * s);
            dg[i] = d[i] * u[i] * (s * (1 + g[i] * (1 - s)));
        }
        if (dgate) store(dgate, dgt, at, dg, m);
        if (dup) store(dup, dut, at, du, m);
    }
}
