/* Batch norm (Ioffe and Szegedy, ICML 2015), group norm (Wu and He, ECCV 2018), instance norm (Ulyanov, Vedaldi and Lempitsky,
   2016). Values lie channels last: sums over rows are sums of vectors. Each piece of rows has a mean and squares about it of
   its own, put together as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm", 1979. */
#include "kernel/ref/kernel.h"

enum { WIDE = 256 }; /* columns: of few channels several rows are taken as one */

/* A piece of a segment: rows of n channels, walked in strips that end where a row ends, or hold several whole rows. */
typedef struct walk {
    int64_t first, count; /* of elements in x */
    int64_t n, wide;      /* channels; the elements of a strip of several rows, 0: strips within a row */
} walk;

static walk walk_of(const hone__channel_norm *a, int64_t segment, int64_t piece)
{
    int64_t begin = a->rows * piece / a->pieces, end = a->rows * (piece + 1) / a->pieces;
    return (walk){(segment * a->rows + begin) * a->n, (end - begin) * a->n, a->n, a->n * 2 <= WIDE ? WIDE / a->n * a->n : 0};
}
/* The strip at element `at` of the piece: its length, and where its first column lies in a row. */
static int64_t strip(const walk *w, int64_t at, int64_t *column)
{
    *column = w->wide ? 0 : at % w->n;
    return HONE_MIN(w->count - at, w->wide ? w->wide : HONE_MIN(w->n - *column, (int64_t)CHUNK));
}

/* coefficients of n columns, repeated for strips of several rows */
static const real *spread(const walk *w, const real *x, real *tmp)
{
    if (!w->wide) return x;
    for (int64_t i = 0; i < w->wide; i += w->n) memcpy(tmp + i, x, (size_t)w->n * sizeof *x);
    return tmp;
}
static void fold(const walk *w, real *sum, const real *wide)
{
    for (int64_t i = 0; i < w->wide; i += w->n)
        for (int64_t c = 0; c < w->n; c++) sum[c] += wide[i + c];
}

static real *part(const hone__channel_norm *a, int64_t segment, int64_t piece, int which)
{
    return (real *)a->parts + ((segment * a->pieces + piece) * 2 + which) * a->n;
}
static real *coefficient(const hone__channel_norm *a, int64_t segment, int which)
{
    return (real *)a->coefficients + (segment * 5 + which) * a->n;
}

/* ---- forward ---- */

void HONE_K(channel_norm_sums)(const hone__channel_norm *a, int64_t begin, int64_t end)
{
    real tmp[CHUNK], sums[WIDE], means[WIDE];
    for (int64_t t = begin; t < end; t++) {
        walk w = walk_of(a, t / a->pieces, t % a->pieces);
        real *mean = part(a, t / a->pieces, t % a->pieces, 0), *squares = part(a, t / a->pieces, t % a->pieces, 1);
        memset(mean, 0, 2 * (size_t)a->n * sizeof *mean);
        if (w.count == 0) continue;
        memset(sums, 0, sizeof sums);
        real *to = w.wide ? sums : mean;
        for (int64_t at = 0, m, c; at < w.count; at += m) {
            m = strip(&w, at, &c);
            const real *x = load(a->x, a->xt, w.first + at, tmp, m);
            SIMD for (int64_t i = 0; i < m; i++) to[c + i] += x[i];
        }
        fold(&w, mean, sums);
        for (int64_t i = 0; i < a->n; i++) mean[i] /= (real)(w.count / a->n);
        memset(sums, 0, sizeof sums);
        const real *about = spread(&w, mean, means);
        to = w.wide ? sums : squares;
        for (int64_t at = 0, m, c; at < w.count; at += m) {
            m = strip(&w, at, &c);
            const real *x = load(a->x, a->xt, w.first + at, tmp, m);
            SIMD for (int64_t i = 0; i < m; i++) to[c + i] += (x[i] - about[c + i]) * (x[i] - about[c + i]);
        }
        fold(&w, squares, sums);
    }
}

/* A group's mean and mean square about it, of its channels in all pieces. */
static void put_together(const hone__channel_norm *a, int64_t segment, int64_t group, double *mean, double *variance)
{
    int64_t wide = a->n / a->groups;
    double count = 0, m = 0, squares = 0;
    for (int64_t p = 0; p < a->pieces; p++) {
        const real *means = part(a, segment, p, 0), *about = part(a, segment, p, 1);
        double rows = (double)(a->rows * (p + 1) / a->pieces - a->rows * p / a->pieces);
        for (int64_t c = group * wide; c < (group + 1) * wide && rows > 0; c++) {
            double off = (double)means[c] - m, all = count + rows;
            m += off * rows / all;
            squares += (double)about[c] + off * off * count * rows / all;
            count = all;
        }
    }
    *mean = m;
    *variance = count > 0 ? squares / count : 0;
}

/* y = (x - mean) scale + bias. Backward: dx = dy scale + (x - mean) slope + offset, which lies where the forward pass has the
   bias; what relu let pass is known from the shift, the forward pass's bias. */
enum { MEAN, SCALE, BIAS, SLOPE, SHIFT, COEFFICIENTS };
void HONE_K(channel_norm_finish)(const hone__channel_norm *a, int64_t begin, int64_t end)
{
    int64_t wide = a->n / a->groups;
    const real *gain = a->gain, *bias = a->bias;
    for (int64_t s = begin; s < end; s++)
        for (int64_t g = 0; g < a->groups; g++) {
            real *mean = (real *)a->mean + s * a->groups + g, *variance = (real *)a->variance + s * a->groups + g;
            double m = (double)*mean, v = (double)*variance;
            if (!a->given) {
                put_together(a, s, g, &m, &v);
                *mean = (real)m;
                *variance = (real)v;
            }
            double rstd = 1 / sqrt(v + a->eps);
            for (int64_t c = g * wide; c < (g + 1) * wide; c++) {
                coefficient(a, s, MEAN)[c] = (real)m;
                coefficient(a, s, SCALE)[c] = (real)(rstd * (gain ? (double)gain[c] : 1));
                coefficient(a, s, BIAS)[c] = coefficient(a, s, SHIFT)[c] = bias ? bias[c] : 0;
            }
        }
}

/* dy where relu let x pass, else 0; k: coefficients from the strip's first column on. */
static const real *let_pass(const real *dy, const real *x, const real *const k[COEFFICIENTS], int64_t c, real *to, int64_t n)
{
    const real *mean = k[MEAN] + c, *scale = k[SCALE] + c, *shift = k[SHIFT] + c;
    SIMD for (int64_t i = 0; i < n; i++) to[i] = (x[i] - mean[i]) * scale[i] + shift[i] > 0 ? dy[i] : 0;
    return to;
}

/* y = relu(y + z) */
static void add_relu(const hone__channel_norm *a, int64_t at, real *y, int64_t n)
{
    real tmp[CHUNK];
    if (a->z) {
        const real *z = load(a->z, a->zt, at, tmp, n);
        SIMD for (int64_t i = 0; i < n; i++) y[i] += z[i];
    }
    SIMD for (int64_t i = 0; i < n; i++) y[i] = y[i] < 0 ? 0 : y[i];
}

void HONE_K(channel_norm_apply)(const hone__channel_norm *a, int64_t begin, int64_t end)
{
    real xs[CHUNK], ds[CHUNK], passed[CHUNK], ys[CHUNK], few[COEFFICIENTS][WIDE];
    for (int64_t t = begin; t < end; t++) {
        int64_t segment = t / a->pieces;
        walk w = walk_of(a, segment, t % a->pieces);
        const real *k[COEFFICIENTS];
        for (int i = 0; i < COEFFICIENTS; i++) k[i] = spread(&w, coefficient(a, segment, i), few[i]);
        for (int64_t at = 0, m, c; at < w.count; at += m) {
            m = strip(&w, at, &c);
            const real *x = load(a->x, a->xt, w.first + at, xs, m), *mean = k[MEAN] + c, *scale = k[SCALE] + c, *bias = k[BIAS] + c;
            real *y = stage(a->y, a->yt, w.first + at, ys);
            if (a->dy) {
                const real *dy = load(a->dy, a->dyt, w.first + at, ds, m), *slope = k[SLOPE] + c;
                if (a->relu) dy = let_pass(dy, x, k, c, passed, m);
                SIMD for (int64_t i = 0; i < m; i++) y[i] = dy[i] * scale[i] + (x[i] - mean[i]) * slope[i] + bias[i];
            } else {
                SIMD for (int64_t i = 0; i < m; i++) y[i] = (x[i] - mean[i]) * scale[i] + bias[i];
                if (a->relu) add_relu(a, w.first + at, y, m);
            }
            store(a->y, a->yt, w.first + at, y, m);
        }
    }
}

/* ---- backward: with h = (x - mean) rstd and g = dy gain, dx = rstd (g - mean(g) - h mean(g h)), means over a group; without
   the means where mean and variance are given ---- */

/* Of each channel: sums of dy and of dy (x - mean). With relu, after `finish`, as what it let pass hangs on the coefficients. */
void HONE_K(channel_norm_grad_sums)(const hone__channel_norm *a, int64_t begin, int64_t end)
{
    real xs[CHUNK], ds[CHUNK], passed[CHUNK], sums[WIDE], products[WIDE], means[WIDE], few[WIDE], spreads[COEFFICIENTS][WIDE];
    int64_t wide = a->n / a->groups;
    for (int64_t t = begin; t < end; t++) {
        int64_t segment = t / a->pieces;
        walk w = walk_of(a, segment, t % a->pieces);
        real *sum = part(a, segment, t % a->pieces, 0), *product = part(a, segment, t % a->pieces, 1);
        const real *mean = (const real *)a->mean + segment * a->groups;
        memset(sum, 0, 2 * (size_t)a->n * sizeof *sum);
        memset(sums, 0, sizeof sums);
        memset(products, 0, sizeof products);
        for (int64_t i = 0; i < a->n && w.wide; i++) few[i] = mean[i / wide];
        const real *about = w.wide ? spread(&w, few, means) : NULL, *k[COEFFICIENTS] = {0};
        for (int i = 0; i < COEFFICIENTS && a->relu; i++) k[i] = spread(&w, coefficient(a, segment, i), spreads[i]);
        real *to = w.wide ? sums : sum, *to_product = w.wide ? products : product, each[CHUNK];
        for (int64_t at = 0, m, c; at < w.count; at += m) {
            m = strip(&w, at, &c);
            const real *x = load(a->x, a->xt, w.first + at, xs, m), *dy = load(a->dy, a->dyt, w.first + at, ds, m), *from = each;
            if (a->relu) dy = let_pass(dy, x, k, c, passed, m);
            if (about)
                from = about + c;
            else if (wide == 1)
                from = mean + c;
            else
                for (int64_t i = 0; i < m; i++) each[i] = mean[(c + i) / wide];
            SIMD for (int64_t i = 0; i < m; i++)
            {
                to[c + i] += dy[i];
                to_product[c + i] += dy[i] * (x[i] - from[i]);
            }
        }
        fold(&w, sum, sums);
        fold(&w, product, products);
    }
}

/* Adds to dgain and dbias: segments one after the other, by one thread. */
void HONE_K(channel_norm_grad_finish)(const hone__channel_norm *a, int64_t begin, int64_t end)
{
    int64_t wide = a->n / a->groups;
    const real *gain = a->gain;
    for (int64_t s = begin; s < end; s++) {
        /* the pieces' sums, in the first one's place */
        for (int64_t p = 1; p < a->pieces; p++)
            for (int64_t i = 0; i < 2 * a->n; i++) part(a, s, 0, 0)[i] += part(a, s, p, 0)[i];
        const real *sum = part(a, s, 0, 0), *product = part(a, s, 0, 1);
        for (int64_t g = 0; g < a->groups; g++) {
            double mean = (double)((const real *)a->mean)[s * a->groups + g], mean_g = 0, mean_gh = 0;
            double rstd = 1 / sqrt((double)((const real *)a->variance)[s * a->groups + g] + a->eps);
            for (int64_t c = g * wide; c < (g + 1) * wide && !a->given; c++) {
                mean_g += (gain ? (double)gain[c] : 1) * (double)sum[c];
                mean_gh += (gain ? (double)gain[c] : 1) * (double)product[c] * rstd;
            }
            double count = (double)(a->rows * wide);
            for (int64_t c = g * wide; c < (g + 1) * wide; c++) {
                double of = gain ? (double)gain[c] : 1;
                coefficient(a, s, MEAN)[c] = (real)mean;
                coefficient(a, s, SCALE)[c] = (real)(rstd * of);
                coefficient(a, s, BIAS)[c] = (real)(-rstd * mean_g / count);
                coefficient(a, s, SLOPE)[c] = (real)(-rstd * rstd * mean_gh / count);
                if (a->dgain) ((real *)a->dgain)[c] += (real)((double)product[c] * rstd);
                if (a->dbias) ((real *)a->dbias)[c] += sum[c];
                if (a->dmean) ((real *)a->dmean)[g] -= (real)(of * rstd * (double)sum[c]);
                if (a->dvariance) ((real *)a->dvariance)[g] -= (real)(0.5 * of * rstd * rstd * rstd * (double)product[c]);
            }
        }
    }
}
