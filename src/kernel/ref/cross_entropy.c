/* loss = weight (log sum exp(x) - x[target]) of rows whose columns come block after block. The sum is kept
   relative to the largest value so far (Milakov and Gimelshein, "Online normalizer calculation for softmax",
   2018). A target below 0 marks a row that does not count: loss and gradient are 0. */
#include "kernel/ref/rows.h"

void HONE_K(lse_begin)(void *max, void *sum, void *picked, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) {
        ((real *)max)[r] = -(real)INFINITY;
        ((real *)sum)[r] = 0;
        ((real *)picked)[r] = 0;
    }
}

/* x: (rows, columns), rows `stride` apart: columns [first, first + columns) of the whole. */
void HONE_K(lse_block)(void *max, void *sum, void *picked, const void *x, int64_t stride,
                       const int32_t *target, int64_t first, int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++) {
        const real *from = (const real *)x + r * stride;
        real *m = (real *)max + r, *s = (real *)sum + r, top = max_of(from, columns, *m);
        int64_t t = target[r] - first;
        if (target[r] >= 0 && t >= 0 && t < columns) ((real *)picked)[r] = from[t];
        if (top == -(real)INFINITY) continue;
        double total = (double)*s * (double)real_exp(*m - top);
        for (int64_t at = 0; at < columns; at += CHUNK) {
            int64_t end = HONE_MIN(columns, at + CHUNK);
            real part = 0;
            SIMD_SUM(part) for (int64_t i = at; i < end; i++) part += real_exp(from[i] - top);
            total += (double)part;
        }
        *m = top;
        *s = (real)total;
    }
}

/* y = e^(x - shift), and its sum over the row; x, rows and columns as above. The first block sets the shift of a row, to its
   largest value. Where a later one has values so much larger that sums might overflow, the shift changes, and factor[r] is
   multiplied by what everything so far is too large by. */
void HONE_K(exp_block)(void *y, hone_dtype yt, int64_t y_stride, void *shift, void *sum, void *picked, void *factor,
                       const void *x, int64_t stride, const int32_t *target, int64_t first, int64_t rows, int64_t columns)
{
    real out[CHUNK];
    for (int64_t r = 0; r < rows; r++) {
        const real *from = (const real *)x + r * stride;
        real *m = (real *)shift + r, *s = (real *)sum + r, top = max_of(from, columns, *m);
        int64_t t = target[r] - first;
        if (target[r] >= 0 && t >= 0 && t < columns) ((real *)picked)[r] = from[t];
        if (top > *m + HONE__EXP_ROOM) {
            real change = real_exp(*m - top);
            if (*m > -(real)INFINITY) ((real *)factor)[r] *= change;
            *m = top;
            *s *= change;
        }
        real by = *m == -(real)INFINITY ? 0 : *m;
        double total = (double)*s;
        for (int64_t at = 0; at < columns; at += CHUNK) {
            int64_t n = HONE_MIN(columns - at, CHUNK);
            real *to = stage(y, yt, r * y_stride + at, out), part = 0;
            SIMD_SUM(part) for (int64_t i = 0; i < n; i++)
            {
                to[i] = real_exp(from[at + i] - by);
                part += to[i];
            }
            total += (double)part;
            store(y, yt, r * y_stride + at, to, n);
        }
        *s = (real)total;
    }
}

/* loss, lse and counted (the weight of a row, 0 where it does not count) may be NULL each. */
void HONE_K(lse_finish)(void *loss, void *lse, void *counted, const void *max, const void *sum,
                        const void *picked, const int32_t *target, const void *weight, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++) {
        real l = ((const real *)max)[r] + (real)log((double)((const real *)sum)[r]);
        real w = target[r] < 0 ? 0 : weight ? ((const real *)weight)[r] : 1;
        if (lse) ((real *)lse)[r] = l;
        if (loss) ((real *)loss)[r] = target[r] < 0 ? 0 : w * (l - ((const real *)picked)[r]);
        if (counted) ((real *)counted)[r] = w;
    }
}

/* dx = weight dloss (e^(x - lse) - [column is the target]). dx may be x itself where it is of the real type.
   */
void HONE_K(cross_entropy_grad)(void *dx, hone_dtype dxt, int64_t dx_stride, const void *x, int64_t stride,
                                const void *lse, const void *dloss, const int32_t *target, const void *weight,
                                int64_t first, int64_t rows, int64_t columns)
{
    real out[CHUNK];
    for (int64_t r = 0; r < rows; r++) {
        const real *from = (const real *)x + r * stride;
        real l = ((const real *)lse)[r];
        real c = target[r] < 0 ? 0 : ((const real *)dloss)[r] * (weight ? ((const real *)weight)[r] : 1);
        int64_t t = target[r] < 0 ? -1 : target[r] - first;
        for (int64_t at = 0; at < columns; at += CHUNK) {
            int64_t m = HONE_MIN(columns - at, CHUNK);
            real *to = stage(dx, dxt, r * dx_stride + at, out);
            if (c == 0) {
                for (int64_t i = 0; i < m; i++) to[i] = 0;
            } else {
                SIMD for (int64_t i = 0; i < m; i++) to[i] = c * real_exp(from[at + i] - l);
            }
            if (t >= at && t < at + m) to[t - at] -= c;
            store(dx, dxt, r * dx_stride + at, to, m);
        }
    }
}

/* A logarithm, not below -100: PyTorch's torch.nn.BCELoss. */
static inline real cut(real l) { return l < -100 ? (real)-100 : l; }

void HONE_K(loss_term)(hone__loss kind, void *y, const void *p, const void *t, int64_t n)
{
    const real *u = p, *w = t;
    real *to = y;
    switch (kind) {
    case HONE__LOSS_BCE:
        for (int64_t i = 0; i < n; i++)
            to[i] = -(w[i] * cut(real_log(u[i])) + (1 - w[i]) * cut(real_log1p(-u[i])));
        break;
    case HONE__LOSS_BCE_LOGITS: /* max(x, 0) - x t + log(1 + e^-|x|) */
        for (int64_t i = 0; i < n; i++)
            to[i] = (u[i] > 0 ? u[i] : 0) - u[i] * w[i] + real_log1p(real_exp(-real_abs(u[i])));
        break;
    case HONE__LOSS_LOG:
        for (int64_t i = 0; i < n; i++) to[i] = -w[i] * cut(real_log(u[i]));
        break;
    }
}

/* dp or dt may be NULL. BCE's slope in p is kept finite as in PyTorch: (p - t) / max(p (1 - p), 1e-12). */
void HONE_K(loss_term_grad)(hone__loss kind, void *dp, void *dt, const void *p, const void *t, const void *dy,
                            int64_t n)
{
    const real *u = p, *w = t, *d = dy;
    real *to = dp, *tt = dt;
    switch (kind) {
    case HONE__LOSS_BCE:
        for (int64_t i = 0; i < n && to; i++) {
            real q = u[i] * (1 - u[i]);
            to[i] = d[i] * (u[i] - w[i]) / (q > (real)1e-12 ? q : (real)1e-12);
        }
        for (int64_t i = 0; i < n && tt; i++) tt[i] = d[i] * (cut(real_log1p(-u[i])) - cut(real_log(u[i])));
        break;
    case HONE__LOSS_BCE_LOGITS:
        for (int64_t i = 0; i < n && to; i++) to[i] = d[i] * (real_sigmoid(u[i]) - w[i]);
        for (int64_t i = 0; i < n && tt; i++) tt[i] = -d[i] * u[i];
        break;
    case HONE__LOSS_LOG:
        for (int64_t i = 0; i < n && to; i++) to[i] = real_log(u[i]) < -100 ? 0 : -d[i] * w[i] / u[i];
        for (int64_t i = 0; i < n && tt; i++) tt[i] = -d[i] * cut(real_log(u[i]));
        break;
    }
}
