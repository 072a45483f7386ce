/* Attention of bf16 q, k, v, with products in bf16 and everything else in f32, as kernel/ref/attention.c does it in f32:
   Dao, "FlashAttention-2", 2023. Probabilities are rounded to bf16 for their products, as in PyTorch. Here is what both
   passes share. attention_<isa>.c include attention_forward.h and attention_backward.h after they define X86(name), the
   kernels' names; product; open_products and close_products.

   Scores lie transposed, (keys, rows): a row (query r / g, head r % g of the group of g that shares a kv head) is a lane
   of a vector, so that maxima, sums and masks need nothing across lanes, and a block of scores, in pairs of keys, is
   already what the next product wants as its second factor. Rows go in slices of 32, keys in blocks of KEYS. */
#ifndef HONE_SRC_X86_ATTENTION_H
#define HONE_SRC_X86_ATTENTION_H

#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#include <math.h>

enum {
    SLICE = 32,    /* rows; all sizes of products are multiples of 32 */
    KEYS = 128,    /* keys a block */
    ROWS = 192,    /* rows a task, about: what packing a block of keys is shared by */
    BAND = 128,    /* rows whose part of dK and dV is added up in one product */
    NEAR = 1 << 20 /* bytes that stay in the second cache beside a task's own */
};

static bool fits(const hone__attention *a)
{
    return a->q.dtype == HONE_BF16 && a->k.dtype == HONE_BF16 && a->v.dtype == HONE_BF16 && a->d <= 256 && a->scale > 0;
}

/* ---- looking at the tensors ---- */

static int64_t group(const hone__attention *a) { return a->h / a->hkv; }
static int64_t up32(int64_t n) { return (n + 31) & ~(int64_t)31; }
/* Values of a head as everything packed has them: zeros behind those that are there, so that products see no odd sizes. */
static int64_t depth(const hone__attention *a) { return up32(a->d); }
static int64_t block_times(const hone__attention *a)
{
    int64_t times = HONE_MAX(8, HONE_MIN(ROWS / group(a), 128));
    return HONE_MIN(times, HONE_MAX(a->tq, 1));
}
static int64_t blocks(const hone__attention *a) { return (a->tq + block_times(a) - 1) / block_times(a); }

/* Elements from the start of x. */
static int64_t offset(const hone__attention_side *x, int64_t b, int64_t t, int64_t h)
{
    return b * x->stride[0] + t * x->stride[1] + h * x->stride[2];
}

/* Rows [0, rows) of a task: the heads of kv head `kv` at the times from t0 on. */
typedef struct band {
    const hone__attention *a;
    int64_t b, kv, t0, rows;
    int32_t *time, *head; /* of each row, up to a whole slice: rows past the last repeat it */
} band;

static void number_rows(const band *w)
{
    int64_t g = group(w->a), t = w->t0, i = 0;
    for (int64_t r = 0; r < up32(w->rows); r++) {
        w->time[r] = (int32_t)t;
        w->head[r] = (int32_t)(w->kv * g + i);
        if (r < w->rows - 1 && ++i == g) t++, i = 0;
    }
}

static int64_t row_offset(const band *w, const hone__attention_side *x, int64_t r)
{
    return offset(x, w->b, w->time[r], w->head[r]);
}
static float *lse_at(const band *w, int64_t r)
{
    const int64_t *stride = w->a->lse_stride;
    return (float *)w->a->lse + w->b * stride[0] + w->head[r] * stride[1] + w->time[r] * stride[2];
}

/* What the rows of a slice see: keys [low, high) together, and [all_low, all_high) each of them. */
typedef struct sight {
    int32_t low, high, all_low, all_high;
} sight;

/* Fills lo[] and hi[] of every row, up to a whole slice, and the slices' sights. */
static void look(const band *w, int32_t *lo, int32_t *hi, sight *sights)
{
    const hone__attention *a = w->a;
    for (int64_t r = 0; r < up32(w->rows); r++) {
        sight *s = &sights[r / SLICE];
        if (r % SLICE == 0) *s = (sight){(int32_t)a->tk, 0, 0, (int32_t)a->tk};
        int64_t t = w->time[r];
        int64_t low = a->begin ? a->begin[w->b * a->begin_stride[0] + t * a->begin_stride[1]] : 0;
        int64_t high = a->end ? a->end[w->b * a->end_stride[0] + t * a->end_stride[1]] : a->tk;
        if (a->causal) high = HONE_MIN(high, t + a->tk - a->tq + 1);
        low = HONE_MAX(low, 0);
        high = HONE_MIN(high, a->tk);
        if (low >= high) low = high = 0;
        lo[r] = (int32_t)low;
        hi[r] = (int32_t)high;
        s->all_low = HONE_MAX(s->all_low, lo[r]);
        s->all_high = HONE_MIN(s->all_high, hi[r]);
        if (low == high) continue;
        s->low = HONE_MIN(s->low, lo[r]);
        s->high = HONE_MAX(s->high, hi[r]);
    }
}

/* All heads of x in the batch row b: a read of each line. Reads, as prefetches were measured to gain nothing here. */
static void touch(const hone__attention_side *x, int64_t b, int64_t times, int64_t heads, int64_t d)
{
    const int64_t bytes = (int64_t)hone__dtype_bytes(x->dtype, 1);
    for (int64_t t = 0; t < times; t++)
        for (int64_t h = 0; h < heads; h++) {
            const volatile char *from = (const volatile char *)x->data + offset(x, b, t, h) * bytes;
            for (int64_t at = 0; at < d * bytes; at += 64) (void)from[at];
        }
}

/* The heads of a time lie side by side, and a head's times far apart: where a head is a cache line, no CPU fetches its times ahead
   of their use. There a batch row's first task reads all that the row's tasks read, in its order, if the second cache can keep it. */
static void bring_row(const hone__attention *a, int64_t b, bool backward)
{
    int64_t queries = a->tq * a->h * (backward ? 3 : 1), keys = a->tk * a->hkv * 2;
    if (group(a) * a->d > 32 || (queries + keys) * a->d * 2 > NEAR) return;
    touch(&a->k, b, a->tk, a->hkv, a->d);
    touch(&a->v, b, a->tk, a->hkv, a->d);
    touch(&a->q, b, a->tq, a->h, a->d);
    if (!backward) return;
    touch(&a->out, b, a->tq, a->h, a->d);
    touch(&a->dout, b, a->tq, a->h, a->d);
}

/* How many of the keys from j0 on, at most KEYS, a slice needs, in whole 32s; 0: none. */
static int64_t width_of(const sight *s, int64_t j0)
{
    if (s->high <= j0 || s->low >= j0 + KEYS) return 0;
    return up32(HONE_MIN(s->high - j0, KEYS));
}
/* Whether each row of a slice sees all of the keys [j0, j0 + width). */
static bool sees_all(const sight *s, int64_t j0, int64_t width) { return s->all_low <= j0 && s->all_high >= j0 + width; }

/* ---- moving ---- */

/* The first n of 32 values as bf16, zeros behind them; nothing beyond is read. */
static inline __m512i load32(const hone__attention_side *x, int64_t at, int64_t n)
{
    if (x->dtype == HONE_BF16) return _mm512_maskz_loadu_epi16(first32(n), (const uint16_t *)x->data + at);
    const float *f = (const float *)x->data + at;
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(first_lanes(n - 16), f + 16), _mm512_maskz_loadu_ps(first_lanes(n), f));
}

/* Two f32 vectors become pairs of bf16, one of each; what stays of `low` and, behind, of `high`, the rest is 0. */
static inline __m512i pairs(__mmask32 stays, __m512 low, __m512 high)
{
    const __m512i turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                           20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(turns, (__m512i)_mm512_maskz_cvtne2ps_pbh(stays, high, low));
}

/* Rows, transposed, in pairs of values: (slices, d / 2, SLICE); zeros past the last row. */
static void pack_turned(const band *w, const hone__attention_side *x, uint32_t *to)
{
    int64_t d = depth(w->a);
    for (int64_t r = 0; r < up32(w->rows); r += 16) {
        int64_t from[16];
        for (int i = 0; i < 16; i++) from[i] = row_offset(w, x, r + i);
        for (int64_t c = 0; c < d; c += 32) {
            __m512i v[16];
            for (int i = 0; i < 16; i++) v[i] = r + i < w->rows ? load32(x, from[i] + c, w->a->d - c) : _mm512_setzero_si512();
            transpose16(v);
            uint32_t *at = to + r / SLICE * (d / 2 * SLICE) + c / 2 * SLICE + r % SLICE;
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(at + i * SLICE, v[i]);
        }
    }
}

/* Rows in pairs of rows: (rows / 2, d). */
static void pack_paired(const band *w, const hone__attention_side *x, uint32_t *to)
{
    int64_t d = depth(w->a);
    for (int64_t r = 0; r < up32(w->rows); r += 2, to += d) {
        int64_t even = row_offset(w, x, r), odd = row_offset(w, x, r + 1);
        for (int64_t c = 0; c < d; c += 32) {
            __m512i u = r < w->rows ? load32(x, even + c, w->a->d - c) : _mm512_setzero_si512();
            __m512i v = r + 1 < w->rows ? load32(x, odd + c, w->a->d - c) : _mm512_setzero_si512();
            pair_rows(u, v, &u, &v);
            _mm512_storeu_si512(to + c, u);
            _mm512_storeu_si512(to + c + 16, v);
        }
    }
}

/* Keys or values [j0, j0 + KEYS) as (KEYS, d), zeros past the last. */
static void pack_keys(const band *w, const hone__attention_side *x, int64_t j0, uint16_t *to)
{
    int64_t d = depth(w->a), count = HONE_MIN(w->a->tk - j0, KEYS);
    for (int64_t j = 0; j < count; j++) {
        int64_t from = offset(x, w->b, j0 + j, w->kv);
        for (int64_t c = 0; c < d; c += 32) _mm512_storeu_si512(to + j * d + c, load32(x, from + c, w->a->d - c));
    }
    memset(to + count * d, 0, (size_t)((KEYS - count) * d) * sizeof *to);
}

/* (KEYS, d) -> (d, KEYS) */
static void turn_keys(int64_t d, const uint16_t *from, uint16_t *to)
{
    for (int64_t j = 0; j < KEYS; j += 32)
        for (int64_t c = 0; c < d; c += 16) {
            __m512i v[16];
            for (int i = 0; i < 16; i++) {
                const uint16_t *at = from + (j + 2 * i) * d + c;
                __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)at));
                __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(at + d)));
                v[i] = _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
            }
            transpose16(v);
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(to + (c + i) * KEYS + j, v[i]);
        }
}

/* The first n of 16 values. */
static inline void store16(const hone__attention_side *y, int64_t at, __m512 x, int64_t n)
{
    if (y->dtype == HONE_BF16)
        _mm256_mask_storeu_epi16((uint16_t *)y->data + at, first_lanes(n), narrow(x));
    else
        _mm512_mask_storeu_ps((float *)y->data + at, first_lanes(n), x);
}

/* Rows [r, r + 16) of y from 16 lanes of a slice, (d, SLICE), times scale. */
static void put_turned(const band *w, const hone__attention_side *y, int64_t r, const float *from, __m512 scale)
{
    int64_t count = HONE_MIN(w->rows - r, 16), at[16];
    for (int64_t i = 0; i < count; i++) at[i] = row_offset(w, y, r + i);
    for (int64_t c = 0; c < w->a->d; c += 16) {
        __m512i v[16];
        for (int i = 0; i < 16; i++) v[i] = _mm512_castps_si512(_mm512_mul_ps(_mm512_loadu_ps(from + (c + i) * SLICE), scale));
        transpose16(v);
        for (int64_t i = 0; i < count; i++) store16(y, at[i] + c, _mm512_castsi512_ps(v[i]), w->a->d - c);
    }
}

/* ---- weights ---- */

/* 2^(scale x - c), 0 below 2^-126 and where seen says no; NaN stays. */
static inline __m512 power(__mmask16 seen, __m512 x, __m512 scale, __m512 c)
{
    x = _mm512_fmsub_ps(x, scale, c);
    return exp2_in(_mm512_mask_cmp_ps_mask(seen, x, _mm512_set1_ps(-126), _CMP_NLT_UQ), x);
}

/* Which weights of slice r and the keys [j0, j0 + width) stay: for each pair of keys and half of the rows, 16 bits of the even key,
   then of the odd one. */
static void draw(const band *w, int64_t r, int64_t j0, int64_t width, uint32_t *keep)
{
    const __m512i below = _mm512_set1_epi32((int)hone__drop_below(w->a->dropout)), lower = _mm512_set1_epi32(0xFFFF);
    const __m512i above = _mm512_slli_epi32(below, 16);
    uint64_t first[4][8]; /* of the even and the odd rows of both halves */
    for (int i = 0; i < SLICE; i++)
        first[i / 16 * 2 + i % 2][i % 16 / 2] = hone__drop_index(w->a, w->b, w->head[r + i], w->time[r + i]);
    for (int64_t j = 0; j < width; j += 8) {
        __m512i c[4][4]; /* [rows as above][pair of keys] */
        for (int i = 0; i < 4; i++) c[i][0] = _mm512_add_epi64(_mm512_loadu_si512(first[i]), _mm512_set1_epi64((j0 + j) / 8));
        philox(w->a->key, c);
        for (int pair = 0; pair < 4; pair++)
            for (int h = 0; h < 2; h++) {
                __m512i words = lower_halves(c[2 * h][pair], c[2 * h + 1][pair]);
                uint32_t even = _mm512_cmpge_epu32_mask(_mm512_and_si512(words, lower), below);
                uint32_t odd = _mm512_cmpge_epu32_mask(words, above);
                keep[j + 2 * pair + h] = even | odd << 16;
            }
    }
}

/* A piece of scratch, in whole cache lines. A number, so that a layout can be measured from 0. */
static void *take(uintptr_t *scratch, int64_t bytes)
{
    uintptr_t piece = *scratch;
    *scratch += (uintptr_t)((bytes + 63) & ~(int64_t)63);
    return (void *)piece;
}

#endif
