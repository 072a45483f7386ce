/* Resizing of channels-last activations: the rows that an output row is made of are added up, in whole lines of memory; then each
   of its positions is made of some positions of that sum. */
#include "kernel/ref/kernel.h"

enum { AT_ONCE = 4 }; /* terms of a sum in one pass */

/* y = or += the sum of w[k] x[k] for k < terms. */
static inline void blend(real *restrict y, bool add, int terms, const real *const *x, const real *w, int64_t n)
{
    const real *a = x[0], *b = terms > 1 ? x[1] : NULL, *c = terms > 2 ? x[2] : NULL, *d = terms > 3 ? x[3] : NULL;
    real wa = w[0], wb = terms > 1 ? w[1] : 0, wc = terms > 2 ? w[2] : 0, wd = terms > 3 ? w[3] : 0;
    if (add) {
        for (int k = 0; k < terms; k++) {
            const real *more = x[k], share = w[k];
            SIMD for (int64_t i = 0; i < n; i++) y[i] += share * more[i];
        }
    } else if (terms == 1) {
        SIMD for (int64_t i = 0; i < n; i++) y[i] = wa * a[i];
    } else if (terms == 2) {
        SIMD for (int64_t i = 0; i < n; i++) y[i] = wa * a[i] + wb * b[i];
    } else if (terms == 3) {
        SIMD for (int64_t i = 0; i < n; i++) y[i] = wa * a[i] + wb * b[i] + wc * c[i];
    } else {
        SIMD for (int64_t i = 0; i < n; i++) y[i] = wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
    }
}

/* What an output row is made of: element offsets of rows of x, and their weights. */
typedef struct terms {
    int n;
    int64_t at[AT_ONCE];
    real weight[AT_ONCE];
} terms;

/* n values at `at` of each term's row, added up. */
static void blend_rows(const hone__resizing *r, const terms *t, int64_t at, real *y, bool add, int64_t n)
{
    real tmp[AT_ONCE][CHUNK];
    const real *x[AT_ONCE];
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t count = HONE_MIN(n - i, CHUNK);
        for (int k = 0; k < t->n; k++) x[k] = load(r->x, r->xt, t->at[k] + at + i, tmp[k], count);
        blend(y + i, add, t->n, x, t->weight, count);
    }
}

/* Those terms of all positions of a row, n channels: where these lie apart, one by one. */
static void add_rows(const hone__resizing *r, const terms *t, real *sum, bool add, int64_t n)
{
    int64_t positions = r->axis[2].from;
    if (n == r->c) {
        blend_rows(r, t, 0, sum, add, positions * n);
        return;
    }
    for (int64_t i = 0; i < positions; i++) blend_rows(r, t, i * r->c, sum + i * n, add, n);
}

/* The row (d, h) of the result before its last axis is resized, n channels from `first` (an offset in x of the picture's) on: added up in
   `sum`, or where it lies. *stride: elements from a position to the next. */
static const real *make_row(const hone__resizing *r, int64_t d, int64_t h, int64_t first, int64_t n, real *sum, int64_t *stride)
{
    const hone__resize_axis *deep = &r->axis[0], *high = &r->axis[1];
    int64_t row = r->axis[2].from * r->c;
    terms t = {.n = 0};
    bool add = false;
    *stride = n;
    for (int32_t i = deep->first[d]; i < deep->first[d + 1]; i++)
        for (int32_t j = high->first[h]; j < high->first[h + 1]; j++) {
            if (t.n == AT_ONCE) {
                add_rows(r, &t, sum, add, n);
                add = true;
                t.n = 0;
            }
            t.at[t.n] = first + (deep->at[i] * high->from + high->at[j]) * row;
            t.weight[t.n++] = (real)(deep->weight[i] * high->weight[j]);
        }
    if (t.n == 1 && !add && t.weight[0] == 1 && r->xt == REAL_DTYPE) {
        *stride = r->c;
        return (const real *)r->x + t.at[0];
    }
    if (t.n)
        add_rows(r, &t, sum, add, n);
    else if (!add)
        memset(sum, 0, (size_t)(r->axis[2].from * n) * sizeof *sum); /* a gradient: nobody reads that row */
    return sum;
}

/* One position along the last axis. */
static void make_position(const hone__resize_axis *wide, int64_t o, const real *row, int64_t stride, real *y, int64_t n)
{
    const real *x[AT_ONCE];
    real weight[AT_ONCE];
    int32_t begin = wide->first[o], end = wide->first[o + 1];
    if (begin == end) memset(y, 0, (size_t)n * sizeof *y);
    for (int32_t i = begin; i < end; i += AT_ONCE) {
        int count = HONE_MIN(end - i, AT_ONCE);
        for (int k = 0; k < count; k++) {
            x[k] = row + wide->at[i + k] * stride;
            weight[k] = (real)wide->weight[i + k];
        }
        blend(y, i > begin, count, x, weight, n);
    }
}

void HONE_K(resize)(const hone__resizing *r, int64_t begin, int64_t end, void *scratch)
{
    const hone__resize_axis *deep = &r->axis[0], *high = &r->axis[1], *wide = &r->axis[2];
    int64_t pieces = hone__resize_pieces(r), picture = deep->from * high->from * wide->from * r->c;
    for (int64_t task = begin; task < end; task++) {
        int64_t first = task % pieces * r->chunk, n = HONE_MIN(r->c - first, r->chunk), out = task / pieces, stride;
        int64_t h = out % high->to, d = out / high->to % deep->to, image = out / high->to / deep->to;
        const real *row = make_row(r, d, h, image * picture + first, n, scratch, &stride);
        for (int64_t o = 0; o < wide->to; o++) {
            int64_t at = (out * wide->to + o) * r->c + first;
            for (int64_t i = 0; i < n; i += CHUNK) {
                int64_t count = HONE_MIN(n - i, CHUNK);
                real tmp[CHUNK], *y = stage(r->y, r->yt, at + i, tmp);
                make_position(wide, o, row + i, stride, y, count);
                store(r->y, r->yt, at + i, y, count);
            }
        }
    }
}
