/* Attention by blocks of keys with a running softmax: Dao, "FlashAttention-2", 2023. The heads that share a
   kv head are worked on together: row r of a block is query r / g, head r % g of the group of g, so that a
   block of keys is read and unpacked once for all of them. Everything is computed in reals, whatever the
   inputs' types. */
#include "kernel/ref/philox.h"
#include "kernel/ref/rows.h"

#if defined(__AVX512F__)
enum { MR = 12 };
#elif defined(__AVX__)
enum { MR = 6 };
#else
enum { MR = 4 };
#endif
enum {
    BK = 64,        /* keys a block; a multiple of every vector */
    ROWS = 192,     /* query rows a block, about: what unpacking a block of keys is shared by */
    SLICE = 4 * MR /* query rows that are worked on at once: they and their scores stay in the first cache */
};

/* ---- products: C[m, n] (+)= A[m, k] B[k, n]; A of any strides, n a multiple of LANES ---- */

static inline __attribute__((always_inline)) void tile(const int rows, const int vectors, int64_t k,
                                                       const real *restrict a, int64_t ars, int64_t acs,
                                                       const real *restrict b, int64_t brs, real *restrict c,
                                                       int64_t crs, bool add)
{
    vec sum[MR][2] = {{{0}}};
    for (int64_t p = 0; p < k; p++, a += acs, b += brs) {
        vec bv[2];
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++) bv[j] = *(const vec *)(b + j * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
            for (int j = 0; j < vectors; j++) sum[i][j] += a[i * ars] * bv[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++) {
            vec *to = (vec *)(c + i * crs + j * LANES);
            if (add)
                *to += sum[i][j];
            else
                *to = sum[i][j];
        }
    }
}

static void product(int64_t m, int64_t n, int64_t k, const real *a, int64_t ars, int64_t acs, const real *b,
                    int64_t brs, real *c, int64_t crs, bool add)
{
    for (int64_t j = 0; j < n; j += 2 * LANES) {
        bool two = n - j >= 2 * LANES;
        int64_t i = 0;
#define ROWS_OF(count)                                                                       \
    for (; m - i >= (count); i += (count)) {                                                 \
        if (two)                                                                             \
            tile(count, 2, k, a + i * ars, ars, acs, b + j, brs, c + i * crs + j, crs, add); \
        else                                                                                 \
            tile(count, 1, k, a + i * ars, ars, acs, b + j, brs, c + i * crs + j, crs, add); \
    }
        ROWS_OF(MR)
        ROWS_OF(4)
        ROWS_OF(2)
        ROWS_OF(1)
#undef ROWS_OF
    }
}

/* ---- looking at the tensors ---- */

static int64_t group(const hone__attention *a) { return a->h / a->hkv; }
static int64_t padded(const hone__attention *a) { return (a->d + LANES - 1) / LANES * LANES; }
static int64_t block_times(const hone__attention *a)
{
    int64_t times = ROWS / group(a);
    times = HONE_MAX(8, HONE_MIN(times, 128));
    return HONE_MIN(times, HONE_MAX(a->tq, 1));
}
static int64_t blocks(const hone__attention *a) { return (a->tq + block_times(a) - 1) / block_times(a); }

static int64_t offset(const hone__attention_side *x, int64_t b, int64_t t, int64_t h)
{
    return b * x->stride[0] + t * x->stride[1] + h * x->stride[2];
}

/* One row of d values as reals, times scale, zeros up to the padded length. */
static void get_row(const hone__attention *a, const hone__attention_side *x, int64_t b, int64_t t, int64_t h,
                    real scale, real *restrict to)
{
    const real *from = load(x->data, x->dtype, offset(x, b, t, h), to, a->d);
    if (from != to || scale != 1) {
        SIMD for (int64_t i = 0; i < a->d; i++) to[i] = from[i] * scale;
    }
    for (int64_t i = a->d; i < padded(a); i++) to[i] = 0;
}

static void put_row(const hone__attention *a, const hone__attention_side *y, int64_t b, int64_t t, int64_t h,
                    real scale, real *from)
{
    int64_t at = offset(y, b, t, h);
    real *to = stage(y->data, y->dtype, at, from);
    SIMD for (int64_t i = 0; i < a->d; i++) to[i] = from[i] * scale;
    store(y->data, y->dtype, at, to, a->d);
}

/* Query rows [t0, t1) of the heads of one kv head: (t1 - t0) * g rows. */
static void get_rows(const hone__attention *a, const hone__attention_side *x, int64_t b, int64_t kv,
                     int64_t t0, int64_t t1, real scale, real *to)
{
    int64_t g = group(a), dp = padded(a);
    for (int64_t t = t0; t < t1; t++)
        for (int64_t i = 0; i < g; i++, to += dp) get_row(a, x, b, t, kv * g + i, scale, to);
}

/* Keys or values [j0, j0 + BK) as (BK, dp), zeros past the last. */
static void get_keys(const hone__attention *a, const hone__attention_side *x, int64_t b, int64_t kv,
                     int64_t j0, real *to)
{
    int64_t dp = padded(a), count = HONE_MIN(a->tk - j0, BK);
    for (int64_t j = 0; j < count; j++) get_row(a, x, b, j0 + j, kv, 1, to + j * dp);
    memset(to + count * dp, 0, (size_t)((BK - count) * dp) * sizeof(real));
}

/* (BK, dp) -> (d, BK), by squares that stay in the first cache. */
static void transpose(const real *restrict from, int64_t dp, int64_t d, real *restrict to)
{
    for (int64_t j0 = 0; j0 < BK; j0 += 16)
        for (int64_t p = 0; p < d; p++)
            for (int64_t j = j0; j < j0 + 16; j++) to[p * BK + j] = from[j * dp + p];
}

/* The keys [low, high) that query t sees. */
static void sees(const hone__attention *a, int64_t b, int64_t t, int64_t *low, int64_t *high)
{
    *low = a->begin ? a->begin[b * a->begin_stride[0] + t * a->begin_stride[1]] : 0;
    *high = a->end ? a->end[b * a->end_stride[0] + t * a->end_stride[1]] : a->tk;
    if (a->causal) *high = HONE_MIN(*high, t + a->tk - a->tq + 1);
    *low = HONE_MAX(*low, 0);
    *high = HONE_MAX(HONE_MIN(*high, a->tk), *low);
}

/* Some query of [t0, t1) sees keys below *high and not below *low; low >= high when none sees any. */
static void block_sees(const hone__attention *a, int64_t b, int64_t t0, int64_t t1, int64_t *low,
                       int64_t *high)
{
    *low = a->tk;
    *high = 0;
    for (int64_t t = t0; t < t1; t++) {
        int64_t l, h;
        sees(a, b, t, &l, &h);
        if (l == h) continue;
        *low = HONE_MIN(*low, l);
        *high = HONE_MAX(*high, h);
    }
}

/* How many of the keys [j0, j0 + BK) the query rows [r0, r1) need, rounded up to whole vectors; 0: none. t0:
   row 0's query. */
static int64_t width_of(const hone__attention *a, int64_t b, int64_t t0, int64_t r0, int64_t r1, int64_t j0)
{
    int64_t low, high;
    block_sees(a, b, t0 + r0 / group(a), t0 + (r1 - 1) / group(a) + 1, &low, &high);
    if (high <= j0 || low >= j0 + BK) return 0;
    return (HONE_MIN(high - j0, BK) + LANES - 1) / LANES * LANES;
}

/* What query t sees of the keys [j0, j0 + width), relative to j0. */
static void sees_of(const hone__attention *a, int64_t b, int64_t t, int64_t j0, int64_t width, int64_t *lo,
                    int64_t *hi)
{
    sees(a, b, t, lo, hi);
    *lo = HONE_MIN(HONE_MAX(*lo - j0, 0), width);
    *hi = HONE_MAX(HONE_MIN(HONE_MAX(*hi - j0, 0), width), *lo);
}

/* Scores outside [lo, hi) count for nothing. */
static void mask(real *s, int64_t lo, int64_t hi, int64_t width)
{
    for (int64_t j = 0; j < lo; j++) s[j] = -(real)INFINITY;
    for (int64_t j = hi; j < width; j++) s[j] = -(real)INFINITY;
}

/* M of a row's weights of keys [j0, j0 + width): 0 for what is dropped, scale for what stays. */
static void draw(const hone__attention *a, int64_t b, int64_t h, int64_t t, int64_t j0, int64_t width, real scale, real *restrict m)
{
    uint32_t words[BK / 2], below = hone__drop_below(a->dropout);
    philox_words(words, a->key, hone__drop_index(a, b, h, t) + (uint64_t)j0 / 8, (width + 7) / 8);
    SIMD for (int64_t j = 0; j < (width + 1) / 2; j++)
    {
        m[2 * j] = (words[j] & 0xFFFF) < below ? 0 : scale;
        m[2 * j + 1] = words[j] >> 16 < below ? 0 : scale;
    }
}

static real *lse_at(const hone__attention *a, int64_t b, int64_t h, int64_t t)
{
    return (real *)a->lse + b * a->lse_stride[0] + h * a->lse_stride[1] + t * a->lse_stride[2];
}

/* ---- forward ---- */

/* Scores of one row become exponentials relative to the new maximum, whose sum goes into *sum; what the row
   has gathered so far, o[dp], is scaled to that maximum. */
static void softmax_block(real *restrict s, int64_t width, real *max, real *sum, real *restrict o, int64_t dp)
{
    real top = max_of(s, width, *max), part = 0;
    real from = top == -(real)INFINITY ? 0 : top;
    SIMD_SUM(part) for (int64_t j = 0; j < width; j++)
    {
        real e = real_exp(s[j] - from);
        s[j] = e;
        part += e;
    }
    if (top != *max) {
        real down = real_exp(*max - from);
        *sum *= down;
        SIMD for (int64_t i = 0; i < dp; i++) o[i] *= down;
        *max = top;
    }
    *sum += part;
}

static void finish_row(const hone__attention *a, int64_t b, int64_t t, int64_t h, real max, real sum, real *o)
{
    bool none = sum == 0;
    put_row(a, &a->out, b, t, h, none ? 0 : (real)hone__drop_scale(a->dropout) / sum, o);
    if (a->lse) *lse_at(a, b, h, t) = none ? 0 : max + (real)log((double)sum);
}

int64_t HONE_K(attention_tasks)(const hone__attention *a) { return a->b * a->hkv * blocks(a); }

size_t HONE_K(attention_scratch)(const hone__attention *a)
{
    int64_t rows = block_times(a) * group(a), dp = padded(a);
    return (size_t)(rows * (2 * dp + 2) + (SLICE + 2 * dp + a->d) * BK) * sizeof(real);
}

/* A task: one block of queries of the heads of one kv head. */
void HONE_K(attention)(const hone__attention *a, int64_t task, void *scratch)
{
    int64_t n = blocks(a), g = group(a), dp = padded(a), times = block_times(a);
    int64_t t0 = task % n * times, t1 = HONE_MIN(t0 + times, a->tq), kv = task / n % a->hkv,
            b = task / n / a->hkv;
    int64_t rows = (t1 - t0) * g, low, high;
    real *q = scratch, *o = q + rows * dp, *max = o + rows * dp,
         *sum = max + rows; /* (rows, dp) twice, (rows) twice */
    real *s = sum + rows, *k = s + SLICE * BK, *v = k + BK * dp,
         *kt = v + BK * dp; /* (SLICE, BK), (BK, dp) twice, (d, BK) */
    get_rows(a, &a->q, b, kv, t0, t1, (real)a->scale, q);
    memset(o, 0, (size_t)(rows * dp) * sizeof(real));
    for (int64_t r = 0; r < rows; r++) max[r] = -(real)INFINITY, sum[r] = 0;
    block_sees(a, b, t0, t1, &low, &high);
    for (int64_t j0 = low / BK * BK; j0 < high; j0 += BK) {
        get_keys(a, &a->k, b, kv, j0, k);
        get_keys(a, &a->v, b, kv, j0, v);
        transpose(k, dp, a->d, kt);
        for (int64_t r0 = 0, r1; r0 < rows; r0 = r1) {
            r1 = HONE_MIN(r0 + SLICE, rows);
            int64_t width = width_of(a, b, t0, r0, r1, j0);
            if (!width) continue;
            product(r1 - r0, width, a->d, q + r0 * dp, dp, 1, kt, BK, s, BK, false);
            for (int64_t r = r0; r < r1; r++) {
                int64_t lo, hi;
                sees_of(a, b, t0 + r / g, j0, width, &lo, &hi);
                real *row = s + (r - r0) * BK;
                mask(row, lo, hi, width);
                softmax_block(row, width, &max[r], &sum[r], o + r * dp, dp);
                if (a->dropout > 0) {
                    real m[BK];
                    draw(a, b, kv * g + r % g, t0 + r / g, j0, width, 1, m);
                    SIMD for (int64_t j = 0; j < width; j++) row[j] *= m[j];
                }
            }
            product(r1 - r0, dp, width, s, BK, 1, v, dp, o + r0 * dp, dp, true);
        }
    }
    for (int64_t r = 0; r < rows; r++)
        finish_row(a, b, t0 + r / g, kv * g + r % g, max[r], sum[r], o + r * dp);
}

/* ---- one query: keys and values pass by once, cut over tasks ---- */

static int64_t pieces(const hone__attention *a)
{
    return HONE_MAX((a->tk + HONE__DECODE_KEYS - 1) / HONE__DECODE_KEYS, 1);
}

int64_t HONE_K(attention_decode_tasks)(const hone__attention *a) { return a->b * a->hkv * pieces(a); }
/* What a task leaves, for each head of the group: o[dp], and then all maxima and all sums. */
size_t HONE_K(attention_decode_part)(const hone__attention *a)
{
    return (size_t)(group(a) * (padded(a) + 2)) * sizeof(real);
}
size_t HONE_K(attention_decode_scratch)(const hone__attention *a)
{
    int64_t dp = padded(a);
    return (size_t)(group(a) * (dp + BK) + (BK + 1) * dp) * sizeof(real);
}

void HONE_K(attention_decode)(const hone__attention *a, int64_t task, void *part, void *scratch)
{
    int64_t n = pieces(a), g = group(a), dp = padded(a), kv = task / n % a->hkv, b = task / n / a->hkv, low,
            high;
    real *o = part, *max = o + g * dp, *sum = max + g;
    real *q = scratch, *s = q + g * dp, *v = s + g * BK, *row = v + BK * dp;
    memset(o, 0, (size_t)(g * dp) * sizeof(real));
    for (int64_t i = 0; i < g; i++) max[i] = -(real)INFINITY, sum[i] = 0;
    sees(a, b, 0, &low, &high);
    low = HONE_MAX(low, task % n * HONE__DECODE_KEYS);
    high = HONE_MIN(high, task % n * HONE__DECODE_KEYS + HONE__DECODE_KEYS);
    if (low >= high) return;
    get_rows(a, &a->q, b, kv, 0, 1, (real)a->scale, q);
    for (int64_t j0 = low; j0 < high; j0 += BK) {
        int64_t count = HONE_MIN(high - j0, BK);
        for (int64_t j = 0; j < count; j++) {
            const real *k = load(a->k.data, a->k.dtype, offset(&a->k, b, j0 + j, kv), row, a->d);
            for (int64_t i = 0; i < g; i++) {
                const real *qi = q + i * dp;
                real dot = 0;
                SIMD_SUM(dot) for (int64_t p = 0; p < a->d; p++) dot += qi[p] * k[p];
                s[i * BK + j] = dot;
            }
        }
        for (int64_t i = 0; i < g; i++) softmax_block(s + i * BK, count, &max[i], &sum[i], o + i * dp, dp);
        if (a->v.dtype == REAL_DTYPE && a->d == dp) { /* as they lie */
            const real *values = (const real *)a->v.data + offset(&a->v, b, j0, kv);
            product(g, dp, count, s, BK, 1, values, a->v.stride[1], o, dp, true);
        } else {
            for (int64_t j = 0; j < count; j++) get_row(a, &a->v, b, j0 + j, kv, 1, v + j * dp);
            product(g, dp, count, s, BK, 1, v, dp, o, dp, true);
        }
    }
}

void HONE_K(attention_decode_merge)(const hone__attention *a, int64_t row_group, const void *parts)
{
    int64_t n = pieces(a), g = group(a), dp = padded(a), size = g * (dp + 2), b = row_group / a->hkv, kv = row_group % a->hkv;
    real *first = (real *)(uintptr_t)parts + row_group * n * size;
    for (int64_t i = 0; i < g; i++) {
        real *o = first + i * dp, top = -(real)INFINITY, total = 0;
        for (int64_t p = 0; p < n; p++) {
            real m = first[p * size + g * dp + i];
            top = m > top ? m : top;
        }
        for (int64_t p = 0; p < n; p++) {
            real m = first[p * size + g * dp + i], *from = o + p * size;
            real share = m == -(real)INFINITY ? 0 : real_exp(m - top);
            total += share * first[p * size + g * dp + g + i];
            for (int64_t c = 0; c < a->d; c++) o[c] = (p ? o[c] : 0) + share * from[c];
        }
        finish_row(a, b, 0, kv * g + i, top, total, o);
    }
}

/* ---- backward ---- */

/* With P = e^(S - lse): dV = P^T dO, dS = P (dO V^T - sum(dO O)), dQ = scale dS K, dK = scale dS^T Q; with M, 0 for what was
   dropped, else 1 / (1 - rate): dV = (M P)^T dO, dS = P (M dO V^T - sum(dO O)). */

size_t HONE_K(attention_grad_scratch)(const hone__attention *a)
{
    int64_t all = a->tq * group(a), dp = padded(a);
    return (size_t)(all * (3 * dp + 2) + (2 * SLICE + 4 * dp + 2 * a->d) * BK) * sizeof(real);
}

void HONE_K(attention_grad)(const hone__attention *a, int64_t task, void *scratch)
{
    int64_t g = group(a), dp = padded(a), kv = task % a->hkv, b = task / a->hkv, all = a->tq * g;
    const real kept = (real)hone__drop_scale(a->dropout);
    real *q = scratch, *dout = q + all * dp, *dq = dout + all * dp, *lse = dq + all * dp,
         *delta = lse + all;                                                            /* (all, ...) */
    real *s = delta + all, *ds = s + SLICE * BK;                                        /* (SLICE, BK) */
    real *k = ds + SLICE * BK, *v = k + BK * dp, *dk = v + BK * dp, *dv = dk + BK * dp; /* (BK, dp) */
    real *kt = dv + BK * dp, *vt = kt + a->d * BK;                                      /* (d, BK) */
    get_rows(a, &a->q, b, kv, 0, a->tq, (real)a->scale, q);
    get_rows(a, &a->out, b, kv, 0, a->tq, 1, dq);
    get_rows(a, &a->dout, b, kv, 0, a->tq, 1, dout);
    for (int64_t r = 0; r < all; r++) {
        real sum = 0;
        SIMD_SUM(sum) for (int64_t i = 0; i < dp; i++) sum += dout[r * dp + i] * dq[r * dp + i];
        delta[r] = sum;
        lse[r] = *lse_at(a, b, kv * g + r % g, r / g);
    }
    memset(dq, 0, (size_t)(all * dp) * sizeof(real));
    for (int64_t j0 = 0; j0 < a->tk; j0 += BK) {
        get_keys(a, &a->k, b, kv, j0, k);
        get_keys(a, &a->v, b, kv, j0, v);
        transpose(k, dp, a->d, kt);
        transpose(v, dp, a->d, vt);
        memset(dk, 0, (size_t)(2 * BK * dp) * sizeof(real)); /* and dv behind it */
        for (int64_t r0 = 0, r1; r0 < all; r0 = r1) {
            r1 = HONE_MIN(r0 + SLICE, all);
            int64_t width = width_of(a, b, 0, r0, r1, j0), rows = r1 - r0;
            if (!width) continue;
            product(rows, width, a->d, q + r0 * dp, dp, 1, kt, BK, s, BK, false);
            product(rows, width, a->d, dout + r0 * dp, dp, 1, vt, BK, ds, BK, false);
            for (int64_t r = r0; r < r1; r++) {
                int64_t lo, hi;
                real *restrict sr = s + (r - r0) * BK, *restrict dr = ds + (r - r0) * BK, l = lse[r],
                               c = delta[r];
                sees_of(a, b, r / g, j0, width, &lo, &hi);
                mask(sr, lo, hi, width);
                if (a->dropout > 0) {
                    real m[BK];
                    draw(a, b, kv * g + r % g, r / g, j0, width, kept, m);
                    SIMD for (int64_t j = 0; j < width; j++)
                    {
                        real p = real_exp(sr[j] - l);
                        sr[j] = p * m[j];
                        dr[j] = p * (dr[j] * m[j] - c);
                    }
                } else {
                    SIMD for (int64_t j = 0; j < width; j++)
                    {
                        real p = real_exp(sr[j] - l);
                        sr[j] = p;
                        dr[j] = p * (dr[j] - c);
                    }
                }
            }
            if (a->dv.data) product(width, dp, rows, s, 1, BK, dout + r0 * dp, dp, dv, dp, true);
            if (a->dk.data) product(width, dp, rows, ds, 1, BK, q + r0 * dp, dp, dk, dp, true);
            if (a->dq.data) product(rows, dp, width, ds, BK, 1, k, dp, dq + r0 * dp, dp, true);
        }
        for (int64_t j = 0; j < HONE_MIN(a->tk - j0, BK); j++) {
            if (a->dk.data) put_row(a, &a->dk, b, j0 + j, kv, 1, dk + j * dp);
            if (a->dv.data) put_row(a, &a->dv, b, j0 + j, kv, 1, dv + j * dp);
        }
    }
    for (int64_t r = 0; r < all && a->dq.data; r++)
        put_row(a, &a->dq, b, r / g, kv * g + r % g, (real)a->scale, dq + r * dp);
}
