/* One step of a recurrent layer for some rows of the batch: what follows the product of the state with its weights. */
#include "kernel/ref/kernel.h"

enum { GATES = 4 };
static const int gates_of[] = {1, 1, 3, 4}, saved_of[] = {1, 1, 4, 4};

/* m values into y[at...], if there is a y. */
static void put(const hone__cell_rows *y, int64_t at, const real *x, int64_t m)
{
    if (!y->data) return;
    if (y->dtype == REAL_DTYPE)
        memcpy((real *)y->data + at, x, (size_t)m * sizeof *x);
    else
        store(y->data, y->dtype, at, x, m);
}

/* x as the product reads it: with dropout. */
static const real *masked(const hone__cell *a, int64_t at, const real *x, real *tmp, int64_t m)
{
    if (!a->mask) return x;
    const uint8_t *keep = a->mask + at;
    real scale = (real)a->scale;
    SIMD for (int64_t i = 0; i < m; i++) tmp[i] = keep[i] ? x[i] * scale : 0;
    return tmp;
}

/* ---- forward: gate sums x + z to the gates s[saved], h and c replaced ---- */

static void lstm(real (*s)[CHUNK], const real *const x[GATES], const real *const z[GATES], real *h, real *c, int64_t m)
{
    const real *xi = x[0], *xf = x[1], *xg = x[2], *xo = x[3], *zi = z[0], *zf = z[1], *zg = z[2], *zo = z[3];
    SIMD for (int64_t k = 0; k < m; k++)
    {
        real i = real_sigmoid(xi[k] + zi[k]), f = real_sigmoid(xf[k] + zf[k]), o = real_sigmoid(xo[k] + zo[k]);
        real g = real_tanh(xg[k] + zg[k]), next = f * c[k] + i * g;
        s[0][k] = i, s[1][k] = f, s[2][k] = g, s[3][k] = o;
        c[k] = next;
        h[k] = o * real_tanh(next);
    }
}

static void gru(real (*s)[CHUNK], const real *const x[GATES], const real *const z[GATES], const real *bias, real *h, int64_t m)
{
    const real *xr = x[0], *xz = x[1], *xn = x[2], *zr = z[0], *zz = z[1], *zn = z[2];
    SIMD for (int64_t k = 0; k < m; k++)
    {
        real r = real_sigmoid(xr[k] + zr[k]), u = real_sigmoid(xz[k] + zz[k]);
        real inner = zn[k] + (bias ? bias[k] : 0), n = real_tanh(xn[k] + r * inner);
        s[0][k] = r, s[1][k] = u, s[2][k] = n, s[3][k] = inner;
        h[k] = n + u * (h[k] - n);
    }
}

static void elman(real (*s)[CHUNK], const real *x, const real *z, bool relu, real *h, int64_t m)
{
    if (relu) {
        SIMD for (int64_t k = 0; k < m; k++) s[0][k] = x[k] + z[k] < 0 ? 0 : x[k] + z[k];
    } else {
        SIMD for (int64_t k = 0; k < m; k++) s[0][k] = real_tanh(x[k] + z[k]);
    }
    memcpy(h, s[0], (size_t)m * sizeof *h);
}

void HONE_K(cell)(const hone__cell *a, int64_t begin, int64_t end)
{
    real s[GATES][CHUNK], x_tmp[GATES][CHUNK], tmp[CHUNK], zeros[CHUNK];
    int64_t n = a->units;
    int gates = gates_of[a->kind], saved = saved_of[a->kind];
    memset(zeros, 0, sizeof zeros);
    for (int64_t r = begin; r < end; r++)
        for (int64_t from = 0; from < n; from += CHUNK) {
            int64_t m = HONE_MIN(n - from, CHUNK), at = r * n + from;
            real *h = (real *)a->h + at, *c = a->c ? (real *)a->c + at : NULL;
            bool runs = a->x.data && (!a->lengths || a->step < a->lengths[r]);
            if (runs) {
                const real *x[GATES], *z[GATES];
                for (int g = 0; g < gates; g++) {
                    x[g] = load(a->x.data, a->x.dtype, (r * gates + g) * n + from, x_tmp[g], m);
                    z[g] = (const real *)a->z + (r * gates + g) * n + from;
                }
                if (a->kind == HONE__CELL_LSTM)
                    lstm(s, x, z, h, c, m);
                else if (a->kind == HONE__CELL_GRU)
                    gru(s, x, z, a->bias ? (const real *)a->bias + from : NULL, h, m);
                else
                    elman(s, x[0], z[0], a->kind == HONE__CELL_RELU, h, m);
            }
            for (int g = 0; g < saved; g++) put(&a->gates, (r * saved + g) * n + from, runs ? s[g] : zeros, m);
            put(&a->y, at, runs ? h : zeros, m);
            put(&a->cells, at, c ? c : h, m);
            const real *next = masked(a, at, h, tmp, m);
            put(&a->next, at, next, m);
            put(&a->operand, at, next, m);
        }
}

/* ---- backward: dh and dc of the new state to those of the old one; d[gates]: of the gates' sums; d[3] of a GRU: of n's
   part from the state ---- */

static void lstm_grad(real (*d)[CHUNK], const real *const s[GATES], const real *cell, const real *before, real *dh, real *dc,
                      int64_t m)
{
    const real *si = s[0], *sf = s[1], *sg = s[2], *so = s[3];
    SIMD for (int64_t k = 0; k < m; k++)
    {
        real i = si[k], f = sf[k], g = sg[k], o = so[k], t = real_tanh(cell[k]);
        real e = dc[k] + dh[k] * o * (1 - t * t);
        d[0][k] = e * g * i * (1 - i);
        d[1][k] = e * before[k] * f * (1 - f);
        d[2][k] = e * i * (1 - g * g);
        d[3][k] = dh[k] * t * o * (1 - o);
        dc[k] = e * f;
        dh[k] = 0;
    }
}

static void gru_grad(real (*d)[CHUNK], const real *const s[GATES], const real *before, real *dh, int64_t m)
{
    const real *sr = s[0], *su = s[1], *sn = s[2], *inner = s[3];
    SIMD for (int64_t k = 0; k < m; k++)
    {
        real r = sr[k], u = su[k], n = sn[k], e = dh[k], dn = e * (1 - u) * (1 - n * n);
        d[0][k] = dn * inner[k] * r * (1 - r);
        d[1][k] = e * (before[k] - n) * u * (1 - u);
        d[2][k] = dn;
        d[3][k] = dn * r;
        dh[k] = e * u;
    }
}

static void elman_grad(real (*d)[CHUNK], const real *s, bool relu, real *dh, int64_t m)
{
    if (relu) {
        SIMD for (int64_t k = 0; k < m; k++) d[0][k] = s[k] > 0 ? dh[k] : 0;
    } else {
        SIMD for (int64_t k = 0; k < m; k++) d[0][k] = dh[k] * (1 - s[k] * s[k]);
    }
    memset(dh, 0, (size_t)m * sizeof *dh);
}

void HONE_K(cell_grad)(const hone__cell *a, int64_t begin, int64_t end)
{
    real d[GATES][CHUNK], s_tmp[GATES][CHUNK], tmp[CHUNK], zeros[CHUNK];
    int64_t n = a->units;
    int gates = gates_of[a->kind], saved = saved_of[a->kind];
    memset(zeros, 0, sizeof zeros);
    for (int64_t r = begin; r < end; r++)
        for (int64_t from = 0; from < n; from += CHUNK) {
            int64_t m = HONE_MIN(n - from, CHUNK), at = r * n + from;
            real *dh = (real *)a->dh + at, *dc = a->dc ? (real *)a->dc + at : NULL;
            bool runs = !a->lengths || a->step < a->lengths[r];
            if (a->p) {
                const real *p = masked(a, at, (const real *)a->p + at, tmp, m);
                SIMD for (int64_t k = 0; k < m; k++) dh[k] += p[k];
            }
            if (!a->gates.data) continue;
            if (runs) {
                const real *s[GATES], *before = a->before ? (const real *)a->before + at : zeros;
                for (int g = 0; g < saved; g++)
                    s[g] = load(a->gates.data, a->gates.dtype, (r * saved + g) * n + from, s_tmp[g], m);
                if (a->dy.data) {
                    const real *dy = load(a->dy.data, a->dy.dtype, at, tmp, m);
                    SIMD for (int64_t k = 0; k < m; k++) dh[k] += dy[k];
                }
                if (a->kind == HONE__CELL_LSTM)
                    lstm_grad(d, s, (const real *)a->cells.data + at, before, dh, dc, m);
                else if (a->kind == HONE__CELL_GRU)
                    gru_grad(d, s, before, dh, m);
                else
                    elman_grad(d, s[0], a->kind == HONE__CELL_RELU, dh, m);
            }
            for (int g = 0; g < gates; g++) {
                int64_t to = (r * gates + g) * n + from;
                const real *dz = runs ? d[a->kind == HONE__CELL_GRU && g == 2 ? 3 : g] : zeros;
                put(&a->dx, to, runs ? d[g] : zeros, m);
                put(&a->dz, to, dz, m);
                put(&a->operand, to, dz, m);
            }
        }
}
