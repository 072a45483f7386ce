/* Attention of bf16 q, k, v, with products in bf16 and everything else in f32, as kernel/ref/attention.c does it in f32:
   Dao, "FlashAttention-2", 2023. Probabilities are rounded to bf16 for their products, as in PyTorch. Included by
   attention_<isa>.c, which define before: X86(name), the kernels' names; product; open_products and close_products.

   Scores lie transposed, (keys, rows): a row (query r / g, head r % g of the group of g that shares a kv head) is a lane
   of a vector, so that maxima, sums and masks need nothing across lanes, and a block of scores, in pairs of keys, is
   already what the next product wants as its second factor. Rows go in slices of 32, keys in blocks of KEYS. */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#include <math.h>

enum {
    SLICE = 32, /* rows; all sizes of products are multiples of 32 */
    KEYS = 128, /* keys a block */
    ROWS = 192, /* rows a task, about: what packing a block of keys is shared by */
    BAND = 128  /* rows whose part of dK and dV is added up in one product */
};

static bool fits(const hone__attention *a)
{
    return a->q.dtype == HONE_BF16 && a->k.dtype == HONE_BF16 && a->v.dtype == HONE_BF16 && a->d % 32 == 0 && a->d <= 256 &&
           a->scale > 0;
}

/* ---- looking at the tensors ---- */

static int64_t group(const hone__attention *a) { return a->h / a->hkv; }
static int64_t up32(int64_t n) { return (n + 31) & ~(int64_t)31; }
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

/* How many of the keys from j0 on, at most KEYS, a slice needs, in whole 32s; 0: none. */
static int64_t width_of(const sight *s, int64_t j0)
{
    if (s->high <= j0 || s->low >= j0 + KEYS) return 0;
    return up32(HONE_MIN(s->high - j0, KEYS));
}
static bool sees_all(const sight *s, int64_t j0, int64_t width) { return s->all_low <= j0 && s->all_high >= j0 + width; }

/* ---- moving ---- */

/* 32 values as bf16. */
static inline __m512i load32(const hone__attention_side *x, int64_t at)
{
    if (x->dtype == HONE_BF16) return _mm512_loadu_si512((const uint16_t *)x->data + at);
    const float *f = (const float *)x->data + at;
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(f + 16), _mm512_loadu_ps(f));
}

/* 16 words from `low` and 16 from `high` in turn: from two f32 vectors, pairs of bf16. */
static inline __m512i pairs(__m512 low, __m512 high)
{
    const __m512i turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                           20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(turns, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/* Rows, transposed, in pairs of values: (slices, d / 2, SLICE); zeros past the last row. */
static void pack_turned(const band *w, const hone__attention_side *x, uint32_t *to)
{
    int64_t d = w->a->d;
    for (int64_t r = 0; r < up32(w->rows); r += 16) {
        int64_t from[16];
        for (int i = 0; i < 16; i++) from[i] = row_offset(w, x, r + i);
        for (int64_t c = 0; c < d; c += 32) {
            __m512i v[16];
            for (int i = 0; i < 16; i++) v[i] = r + i < w->rows ? load32(x, from[i] + c) : _mm512_setzero_si512();
            transpose16(v);
            uint32_t *at = to + r / SLICE * (d / 2 * SLICE) + c / 2 * SLICE + r % SLICE;
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(at + i * SLICE, v[i]);
        }
    }
}

/* Rows in pairs of rows: (rows / 2, d). */
static void pack_paired(const band *w, const hone__attention_side *x, uint32_t *to)
{
    int64_t d = w->a->d;
    for (int64_t r = 0; r < up32(w->rows); r += 2, to += d) {
        int64_t even = row_offset(w, x, r), odd = row_offset(w, x, r + 1);
        for (int64_t c = 0; c < d; c += 32) {
            __m512i u = r < w->rows ? load32(x, even + c) : _mm512_setzero_si512();
            __m512i v = r + 1 < w->rows ? load32(x, odd + c) : _mm512_setzero_si512();
            pair_rows(u, v, &u, &v);
            _mm512_storeu_si512(to + c, u);
            _mm512_storeu_si512(to + c + 16, v);
        }
    }
}

/* Keys or values [j0, j0 + KEYS) as (KEYS, d), zeros past the last. */
static void pack_keys(const band *w, const hone__attention_side *x, int64_t j0, uint16_t *to)
{
    int64_t d = w->a->d, count = HONE_MIN(w->a->tk - j0, KEYS);
    for (int64_t j = 0; j < count; j++) {
        const uint16_t *from = (const uint16_t *)x->data + offset(x, w->b, j0 + j, w->kv);
        for (int64_t c = 0; c < d; c += 32) _mm512_storeu_si512(to + j * d + c, _mm512_loadu_si512(from + c));
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

static inline void store16(const hone__attention_side *y, int64_t at, __m512 x)
{
    if (y->dtype == HONE_BF16)
        _mm256_storeu_si256((__m256i *)(void *)((uint16_t *)y->data + at), narrow(x));
    else
        _mm512_storeu_ps((float *)y->data + at, x);
}

/* Rows [r, r + 16) of y from 16 lanes of a slice, (d, SLICE), times scale. */
static void put_turned(const band *w, const hone__attention_side *y, int64_t r, const float *from, __m512 scale)
{
    int64_t count = HONE_MIN(w->rows - r, 16), at[16];
    for (int64_t i = 0; i < count; i++) at[i] = row_offset(w, y, r + i);
    for (int64_t c = 0; c < w->a->d; c += 16) {
        __m512i v[16];
        for (int i = 0; i < 16; i++)
            v[i] = _mm512_castps_si512(_mm512_mul_ps(_mm512_loadu_ps(from + (c + i) * SLICE), scale));
        transpose16(v);
        for (int64_t i = 0; i < count; i++) store16(y, at[i] + c, _mm512_castsi512_ps(v[i]));
    }
}

/* ---- dropout ---- */

/* Which weights of slice r and the keys [j0, j0 + width) stay: a bit a row for each key. */
static void draw(const band *w, int64_t r, int64_t j0, int64_t width, uint32_t *keep)
{
    const __m512i below = _mm512_set1_epi32((int)hone__drop_below(w->a)), lower = _mm512_set1_epi32(0xFFFF);
    const __m512i above = _mm512_slli_epi32(below, 16);
    uint64_t first[4][8]; /* of the even and the odd rows of both halves */
    for (int i = 0; i < SLICE; i++)
        first[i / 16 * 2 + i % 2][i % 16 / 2] = hone__drop_index(w->a, w->b, w->head[r + i], w->time[r + i]);
    for (int64_t j = 0; j < width; j += 8) {
        __m512i c[4][4]; /* [rows as above][pair of keys] */
        for (int i = 0; i < 4; i++) c[i][0] = _mm512_add_epi64(_mm512_loadu_si512(first[i]), _mm512_set1_epi64((j0 + j) / 8));
        philox(w->a->key, c);
        for (int pair = 0; pair < 4; pair++) {
            uint32_t even[2], odd[2];
            for (int h = 0; h < 2; h++) {
                __m512i words = lower_halves(c[2 * h][pair], c[2 * h + 1][pair]);
                even[h] = _mm512_cmpge_epu32_mask(_mm512_and_si512(words, lower), below);
                odd[h] = _mm512_cmpge_epu32_mask(words, above);
            }
            keep[j + 2 * pair] = even[0] | even[1] << 16;
            keep[j + 2 * pair + 1] = odd[0] | odd[1] << 16;
        }
    }
}

/* Weights (width / 2, SLICE) in pairs of keys. */
static void drop_pairs(uint32_t *p, int64_t width, const uint32_t *keep)
{
    for (int64_t j = 0; j < width; j += 2)
        for (int h = 0; h < 2; h++) {
            uint32_t *at = p + j / 2 * SLICE + 16 * h;
            __m512i even = _mm512_maskz_set1_epi32((__mmask16)(keep[j] >> 16 * h), 0xFFFF);
            __m512i odd = _mm512_maskz_set1_epi32((__mmask16)(keep[j + 1] >> 16 * h), (int)0xFFFF0000u);
            _mm512_storeu_si512(at, _mm512_and_si512(_mm512_loadu_si512(at), _mm512_or_si512(even, odd)));
        }
}

/* Gradients (width, SLICE), those that stay times scale. */
static void drop_gradients(float *dp, int64_t width, const uint32_t *keep, float scale)
{
    for (int64_t j = 0; j < width; j++)
        for (int h = 0; h < 2; h++) {
            float *at = dp + j * SLICE + 16 * h;
            __m512 x = _mm512_maskz_loadu_ps((__mmask16)(keep[j] >> 16 * h), at);
            _mm512_storeu_ps(at, _mm512_mul_ps(x, _mm512_set1_ps(scale)));
        }
}

/* Weights of a slice, (width, BAND). */
static void drop_columns(uint16_t *p, int64_t width, const uint32_t *keep)
{
    for (int64_t j = 0; j < width; j++) _mm512_storeu_si512(p + j * BAND, _mm512_maskz_loadu_epi16(keep[j], p + j * BAND));
}

/* A piece of scratch, in whole cache lines. A number, so that a layout can be measured from 0. */
static void *take(uintptr_t *scratch, int64_t bytes)
{
    uintptr_t piece = *scratch;
    *scratch += (uintptr_t)((bytes + 63) & ~(int64_t)63);
    return (void *)piece;
}

/* ---- forward ---- */

typedef struct forward_scratch {
    uint32_t *q;   /* (slices, d / 2, SLICE): pairs of values */
    float *out;    /* (slices, d, SLICE) */
    float *max, *sum;
    int32_t *lo, *hi, *time, *head;
    sight *sights;
    bool *begun;   /* (slices): out, max and sum hold something */
    uint16_t *k;   /* (KEYS, d) */
    uint16_t *v;   /* (KEYS, d), and transposed (d, KEYS) */
    uint16_t *vt;
    float *s;      /* (KEYS, SLICE) */
    uint32_t *p;   /* (KEYS / 2, SLICE): pairs of keys */
    uint32_t *keep; /* (KEYS) */
} forward_scratch;

static size_t forward_layout(const hone__attention *a, void *base, forward_scratch *f)
{
    int64_t rows = up32(block_times(a) * group(a)), d = a->d;
    uintptr_t at = (uintptr_t)base;
    f->q = take(&at, rows * d * 2);
    f->out = take(&at, rows * d * 4);
    f->max = take(&at, rows * 4);
    f->sum = take(&at, rows * 4);
    f->lo = take(&at, rows * 4);
    f->hi = take(&at, rows * 4);
    f->time = take(&at, rows * 4);
    f->head = take(&at, rows * 4);
    f->sights = take(&at, rows / SLICE * (int64_t)sizeof(sight));
    f->begun = take(&at, rows / SLICE);
    f->k = take(&at, KEYS * d * 2);
    f->v = take(&at, KEYS * d * 2);
    f->vt = take(&at, KEYS * d * 2);
    f->s = take(&at, KEYS * SLICE * 4);
    f->p = take(&at, KEYS * SLICE * 2);
    f->keep = take(&at, KEYS * 4);
    return (size_t)(at - (uintptr_t)base);
}

int64_t X86(attention_tasks)(const hone__attention *a)
{
    return fits(a) ? a->b * a->hkv * blocks(a) : hone__kernels_avx512_f32.attention_tasks(a);
}

size_t X86(attention_scratch)(const hone__attention *a)
{
    forward_scratch f;
    return fits(a) ? forward_layout(a, NULL, &f) : hone__kernels_avx512_f32.attention_scratch(a);
}

/* Scores outside [lo, hi) become -infinity; j: the first key's number. */
static void mask_scores(float *s, int64_t width, int64_t j0, const int32_t *lo, const int32_t *hi)
{
    for (int h = 0; h < SLICE; h += 16) {
        __m512i l = _mm512_loadu_si512(lo + h), u = _mm512_loadu_si512(hi + h), j = _mm512_set1_epi32((int)j0);
        for (int64_t i = 0; i < width; i++, j = _mm512_add_epi32(j, _mm512_set1_epi32(1))) {
            __mmask16 out = _mm512_cmp_epi32_mask(j, l, _MM_CMPINT_LT) | _mm512_cmp_epi32_mask(j, u, _MM_CMPINT_NLT);
            _mm512_mask_storeu_ps(s + i * SLICE + h, out, _mm512_set1_ps(-INFINITY));
        }
    }
}

/* 2^(scale x - c), 0 below 2^-126 and where seen says no; NaN stays. */
static inline __m512 power(__mmask16 seen, __m512 x, __m512 scale, __m512 c)
{
    x = _mm512_fmsub_ps(x, scale, c);
    return exp2_in(_mm512_mask_cmp_ps_mask(seen, x, _mm512_set1_ps(-126), _CMP_NLT_UQ), x);
}

/* Scores (width, SLICE) to p relative to the new maxima; what the rows have so far (out, sum) is scaled to them. */
static void softmax_block(const float *s, int64_t width, float scale2, uint32_t *p, bool begun, float *max, float *sum,
                          float *out, int64_t d)
{
    const __m512 scale = _mm512_set1_ps(scale2), none = _mm512_set1_ps(-INFINITY);
    __m512 before[2], top[2], next[2], base[2], part[2], rest[2];
    for (int h = 0; h < 2; h++) {
        before[h] = begun ? _mm512_loadu_ps(max + 16 * h) : none;
        top[h] = before[h], next[h] = none;
        part[h] = rest[h] = _mm512_setzero_ps();
    }
    for (int64_t j = 0; j < width; j += 2)
        for (int h = 0; h < 2; h++) {
            top[h] = _mm512_max_ps(top[h], _mm512_loadu_ps(s + j * SLICE + 16 * h));
            next[h] = _mm512_max_ps(next[h], _mm512_loadu_ps(s + (j + 1) * SLICE + 16 * h));
        }
    for (int h = 0; h < 2; h++) {
        top[h] = _mm512_max_ps(top[h], next[h]);
        __mmask16 some = _mm512_cmp_ps_mask(top[h], none, _CMP_NEQ_UQ);
        base[h] = _mm512_maskz_mul_ps(some, top[h], scale);
    }
    for (int64_t j = 0; j < width; j += 2)
        for (int h = 0; h < 2; h++) {
            __m512 low = power(0xFFFF, _mm512_loadu_ps(s + j * SLICE + 16 * h), scale, base[h]);
            __m512 high = power(0xFFFF, _mm512_loadu_ps(s + (j + 1) * SLICE + 16 * h), scale, base[h]);
            part[h] = _mm512_add_ps(part[h], low);
            rest[h] = _mm512_add_ps(rest[h], high);
            _mm512_storeu_si512(p + j / 2 * SLICE + 16 * h, pairs(low, high));
        }
    for (int h = 0; h < 2; h++) {
        part[h] = _mm512_add_ps(part[h], rest[h]);
        if (begun) {
            __m512 down = power(0xFFFF, before[h], scale, base[h]);
            part[h] = _mm512_fmadd_ps(_mm512_loadu_ps(sum + 16 * h), down, part[h]);
            if (_mm512_cmp_ps_mask(before[h], top[h], _CMP_NEQ_UQ))
                for (int64_t c = 0; c < d; c++) {
                    float *at = out + c * SLICE + 16 * h;
                    _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), down));
                }
        }
        _mm512_storeu_ps(sum + 16 * h, part[h]);
        _mm512_storeu_ps(max + 16 * h, top[h]);
    }
}

static void finish_slice(const band *w, int64_t r, bool begun, const float *max, const float *sum, float *out)
{
    const hone__attention *a = w->a;
    if (!begun) memset(out, 0, (size_t)(a->d * SLICE) * sizeof *out);
    for (int64_t h = 0; h < SLICE && r + h < w->rows; h += 16) {
        __m512 total = begun ? _mm512_loadu_ps(sum + h) : _mm512_setzero_ps();
        __mmask16 some = _mm512_cmp_ps_mask(total, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        __m512 share = _mm512_maskz_div_ps(some, _mm512_set1_ps((float)hone__drop_scale(a)), total);
        if (a->out.data) put_turned(w, &a->out, r + h, out + h, share);
    }
    for (int64_t i = 0; a->lse && i < HONE_MIN(w->rows - r, SLICE); i++)
        *lse_at(w, r + i) = begun && sum[i] != 0 ? max[i] * (float)a->scale + logf(sum[i]) : 0;
}

static void forward(const band *w, const forward_scratch *f)
{
    const hone__attention *a = w->a;
    int64_t d = a->d, slices = up32(w->rows) / SLICE, low = a->tk, high = 0;
    pack_turned(w, &a->q, f->q);
    look(w, f->lo, f->hi, f->sights);
    for (int64_t i = 0; i < slices; i++) {
        f->begun[i] = false;
        low = HONE_MIN(low, f->sights[i].low);
        high = HONE_MAX(high, f->sights[i].high);
    }
    for (int64_t j0 = low / 32 * 32; j0 < high; j0 += KEYS) {
        pack_keys(w, &a->k, j0, f->k);
        pack_keys(w, &a->v, j0, f->v);
        turn_keys(d, f->v, f->vt);
        for (int64_t i = 0; i < slices; i++) {
            int64_t width = width_of(&f->sights[i], j0), r = i * SLICE;
            float *out = f->out + r * d;
            if (!width) continue;
            product(width, SLICE, d, f->k, d, f->q + r * (d / 2), SLICE, f->s, SLICE, false);
            if (!sees_all(&f->sights[i], j0, width)) mask_scores(f->s, width, j0, f->lo + r, f->hi + r);
            softmax_block(f->s, width, (float)a->scale * HONE__LOG2_E, f->p, f->begun[i], f->max + r, f->sum + r, out, d);
            if (a->dropout > 0) {
                draw(w, r, j0, width, f->keep);
                drop_pairs(f->p, width, f->keep);
            }
            product(d, SLICE, width, f->vt, KEYS, f->p, SLICE, out, SLICE, f->begun[i]);
            f->begun[i] = true;
        }
    }
    for (int64_t i = 0; i < slices; i++)
        finish_slice(w, i * SLICE, f->begun[i], f->max + i * SLICE, f->sum + i * SLICE, f->out + i * SLICE * d);
}

/* A task: one block of queries of the heads of one kv head. */
void X86(attention)(const hone__attention *a, int64_t task, void *scratch)
{
    if (!fits(a)) {
        hone__kernels_avx512_f32.attention(a, task, scratch);
        return;
    }
    int64_t n = blocks(a), t0 = task % n * block_times(a), t1 = HONE_MIN(t0 + block_times(a), a->tq);
    forward_scratch f;
    forward_layout(a, scratch, &f);
    band w = {a, task / n / a->hkv, task / n % a->hkv, t0, (t1 - t0) * group(a), f.time, f.head};
    number_rows(&w);
    open_products();
    forward(&w, &f);
    close_products();
}

/* ---- backward ---- */

typedef struct backward_scratch {
    uint32_t *q, *dout;             /* (slices, d / 2, SLICE): pairs of values */
    uint32_t *q_rows, *dout_rows;   /* (rows / 2, d): pairs of rows */
    float *dq;                      /* (slices, d, SLICE) */
    float *lse, *delta;             /* (rows): the logarithm in powers of 2; sum of dout out */
    int32_t *lo, *hi, *time, *head;
    sight *sights;
    uint16_t *k, *kt, *v;           /* (KEYS, d), (d, KEYS), (KEYS, d) */
    float *dk, *dv;                 /* (KEYS, d) */
    float *s, *dp;                  /* (KEYS, SLICE) */
    uint16_t *p_rows, *ds_rows;     /* (KEYS, BAND) */
    uint32_t *ds;                   /* (KEYS / 2, SLICE): pairs of keys */
    uint32_t *keep;                 /* (KEYS) */
} backward_scratch;

static size_t backward_layout(const hone__attention *a, void *base, backward_scratch *f)
{
    int64_t rows = up32(a->tq * group(a)), d = a->d;
    uintptr_t at = (uintptr_t)base;
    f->q = take(&at, rows * d * 2);
    f->dout = take(&at, rows * d * 2);
    f->q_rows = take(&at, rows * d * 2);
    f->dout_rows = take(&at, rows * d * 2);
    f->dq = take(&at, rows * d * 4);
    f->lse = take(&at, rows * 4);
    f->delta = take(&at, rows * 4);
    f->lo = take(&at, rows * 4);
    f->hi = take(&at, rows * 4);
    f->time = take(&at, rows * 4);
    f->head = take(&at, rows * 4);
    f->sights = take(&at, rows / SLICE * (int64_t)sizeof(sight));
    f->k = take(&at, KEYS * d * 2);
    f->kt = take(&at, KEYS * d * 2);
    f->v = take(&at, KEYS * d * 2);
    f->dk = take(&at, KEYS * d * 4);
    f->dv = take(&at, KEYS * d * 4);
    f->s = take(&at, KEYS * SLICE * 4);
    f->dp = take(&at, KEYS * SLICE * 4);
    f->p_rows = take(&at, KEYS * BAND * 2);
    f->ds_rows = take(&at, KEYS * BAND * 2);
    f->ds = take(&at, KEYS * SLICE * 2);
    f->keep = take(&at, KEYS * 4);
    return (size_t)(at - (uintptr_t)base);
}

size_t X86(attention_grad_scratch)(const hone__attention *a)
{
    backward_scratch f;
    return fits(a) ? backward_layout(a, NULL, &f) : hone__kernels_avx512_f32.attention_grad_scratch(a);
}

/* The two halves of 32 values, as f32. */
static inline __m512 low_half(__m512i x) { return widen(_mm512_castsi512_si256(x)); }
static inline __m512 high_half(__m512i x) { return widen(_mm512_extracti64x4_epi64(x, 1)); }

static void row_sums(const band *w, const backward_scratch *f)
{
    const hone__attention *a = w->a;
    for (int64_t r = 0; r < up32(w->rows); r++) {
        __m512 sum = _mm512_setzero_ps();
        int64_t out = row_offset(w, &a->out, r), dout = row_offset(w, &a->dout, r);
        for (int64_t c = 0; c < a->d && r < w->rows; c += 32) {
            __m512i x = load32(&a->out, out + c), y = load32(&a->dout, dout + c);
            sum = _mm512_fmadd_ps(low_half(x), low_half(y), sum);
            sum = _mm512_fmadd_ps(high_half(x), high_half(y), sum);
        }
        f->delta[r] = _mm512_reduce_add_ps(sum);
        f->lse[r] = r < w->rows ? *lse_at(w, r) * HONE__LOG2_E : 0;
    }
}

/* p = e^(s - lse), ds = p (dp - delta), of one slice and the keys [j0, j0 + width); both to `column` of their bands. */
static void slope_block(const backward_scratch *f, int64_t r, int64_t column, int64_t j0, int64_t width, bool all, float scale2)
{
    const __m512 scale = _mm512_set1_ps(scale2);
    for (int64_t j = 0; j < width; j += 2) {
        __m512 p[2][2], ds[2][2]; /* [key][half] */
        for (int h = 0; h < 2; h++) {
            __m512 lse = _mm512_loadu_ps(f->lse + r + 16 * h), delta = _mm512_loadu_ps(f->delta + r + 16 * h);
            for (int i = 0; i < 2; i++) {
                __mmask16 seen = 0xFFFF;
                if (!all) {
                    const __m512i key = _mm512_set1_epi32((int)(j0 + j + i));
                    seen = _mm512_cmp_epi32_mask(key, _mm512_loadu_si512(f->lo + r + 16 * h), _MM_CMPINT_NLT) &
                           _mm512_cmp_epi32_mask(key, _mm512_loadu_si512(f->hi + r + 16 * h), _MM_CMPINT_LT);
                }
                p[i][h] = power(seen, _mm512_loadu_ps(f->s + (j + i) * SLICE + 16 * h), scale, lse);
                __m512 dp = _mm512_loadu_ps(f->dp + (j + i) * SLICE + 16 * h);
                ds[i][h] = _mm512_mul_ps(p[i][h], _mm512_sub_ps(dp, delta));
            }
            _mm512_storeu_si512(f->ds + j / 2 * SLICE + 16 * h, pairs(ds[0][h], ds[1][h]));
        }
        for (int i = 0; i < 2; i++) {
            _mm512_storeu_si512(f->p_rows + (j + i) * BAND + column, (__m512i)_mm512_cvtne2ps_pbh(p[i][1], p[i][0]));
            _mm512_storeu_si512(f->ds_rows + (j + i) * BAND + column, (__m512i)_mm512_cvtne2ps_pbh(ds[i][1], ds[i][0]));
        }
    }
}

static void clear_columns(uint16_t *x, int64_t column, int64_t from, int64_t to)
{
    for (int64_t j = from; j < to; j++) _mm512_storeu_si512(x + j * BAND + column, _mm512_setzero_si512());
}

/* The rows [r0, r1) against a block of keys. */
static void backward_band(const band *w, const backward_scratch *f, int64_t r0, int64_t r1, int64_t j0)
{
    const hone__attention *a = w->a;
    int64_t d = a->d, width = 0, first = r1, last = r0;
    for (int64_t r = r0; r < r1; r += SLICE) {
        int64_t own = width_of(&f->sights[r / SLICE], j0);
        if (!own) continue;
        width = HONE_MAX(width, own);
        first = HONE_MIN(first, r);
        last = r + SLICE;
    }
    if (!width) return;
    for (int64_t r = first; r < last; r += SLICE) {
        int64_t own = width_of(&f->sights[r / SLICE], j0);
        if (own) {
            product(own, SLICE, d, f->k, d, f->q + r * (d / 2), SLICE, f->s, SLICE, false);
            product(own, SLICE, d, f->v, d, f->dout + r * (d / 2), SLICE, f->dp, SLICE, false);
            if (a->dropout > 0) {
                draw(w, r, j0, own, f->keep);
                drop_gradients(f->dp, own, f->keep, (float)hone__drop_scale(a));
            }
            slope_block(f, r, r - r0, j0, own, sees_all(&f->sights[r / SLICE], j0, own), (float)a->scale * HONE__LOG2_E);
            if (a->dropout > 0) drop_columns(f->p_rows + r - r0, own, f->keep);
            if (a->dq.data) product(d, SLICE, own, f->kt, KEYS, f->ds, SLICE, f->dq + r * d, SLICE, true);
        }
        clear_columns(f->p_rows, r - r0, own, width);
        clear_columns(f->ds_rows, r - r0, own, width);
    }
    int64_t rows = last - first, from = first / 2 * d;
    if (a->dv.data) product(width, d, rows, f->p_rows + first - r0, BAND, f->dout_rows + from, d, f->dv, d, true);
    if (a->dk.data) product(width, d, rows, f->ds_rows + first - r0, BAND, f->q_rows + from, d, f->dk, d, true);
}

/* Keys [j0, j0 + KEYS) of y from (KEYS, d), times scale. */
static void put_keys(const band *w, const hone__attention_side *y, int64_t j0, const float *from, float scale)
{
    for (int64_t j = 0; y->data && j < HONE_MIN(w->a->tk - j0, KEYS); j++)
        for (int64_t c = 0; c < w->a->d; c += 16)
            store16(y, offset(y, w->b, j0 + j, w->kv) + c,
                    _mm512_mul_ps(_mm512_loadu_ps(from + j * w->a->d + c), _mm512_set1_ps(scale)));
}

static void backward(const band *w, const backward_scratch *f)
{
    const hone__attention *a = w->a;
    int64_t d = a->d, rows = up32(w->rows);
    pack_turned(w, &a->q, f->q);
    pack_turned(w, &a->dout, f->dout);
    pack_paired(w, &a->q, f->q_rows);
    pack_paired(w, &a->dout, f->dout_rows);
    look(w, f->lo, f->hi, f->sights);
    row_sums(w, f);
    memset(f->dq, 0, (size_t)(rows * d) * sizeof *f->dq);
    for (int64_t j0 = 0; j0 < a->tk; j0 += KEYS) {
        pack_keys(w, &a->k, j0, f->k);
        pack_keys(w, &a->v, j0, f->v);
        turn_keys(d, f->k, f->kt);
        memset(f->dk, 0, (size_t)(KEYS * d) * sizeof *f->dk);
        memset(f->dv, 0, (size_t)(KEYS * d) * sizeof *f->dv);
        for (int64_t r = 0; r < rows; r += BAND) backward_band(w, f, r, HONE_MIN(r + BAND, rows), j0);
        put_keys(w, &a->dk, j0, f->dk, (float)a->scale);
        put_keys(w, &a->dv, j0, f->dv, (float)hone__drop_scale(a));
    }
    for (int64_t r = 0; r < w->rows && a->dq.data; r += 16)
        put_turned(w, &a->dq, r, f->dq + r / SLICE * (SLICE * d) + r % SLICE, _mm512_set1_ps((float)a->scale));
}

/* One batch row and kv head a task. */
void X86(attention_grad)(const hone__attention *a, int64_t task, void *scratch)
{
    if (!fits(a)) {
        hone__kernels_avx512_f32.attention_grad(a, task, scratch);
        return;
    }
    backward_scratch f;
    backward_layout(a, scratch, &f);
    band w = {a, task / a->hkv, task % a->hkv, 0, a->tq * group(a), f.time, f.head};
    number_rows(&w);
    open_products();
    backward(&w, &f);
    close_products();
}
