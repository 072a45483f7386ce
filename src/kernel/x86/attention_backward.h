/* Attention's backward pass; see attention.h. */
#include "kernel/x86/attention.h"

/* d: depth(a). */
typedef struct backward_scratch {
    uint32_t *q, *dout;           /* (slices, d / 2, SLICE): pairs of values */
    uint32_t *q_rows, *dout_rows; /* (rows / 2, d): pairs of rows */
    float *dq;                    /* (slices, d, SLICE) */
    float *lse, *delta;           /* (rows): the logarithm in powers of 2; sum of dout out */
    int32_t *lo, *hi, *time, *head;
    sight *sights;
    uint16_t *k, *kt, *v;       /* (KEYS, d), (d, KEYS), (KEYS, d) */
    float *dk, *dv;             /* (KEYS, d) */
    float *s, *dp;              /* (32, SLICE): 32 keys */
    uint16_t *p_rows, *ds_rows; /* (KEYS, BAND) */
    uint32_t *ds;               /* (KEYS / 2, SLICE): pairs of keys */
    uint32_t *keep;             /* (KEYS) */
} backward_scratch;

static size_t backward_layout(const hone__attention *a, void *base, backward_scratch *f)
{
    int64_t rows = up32(a->tq * group(a)), d = depth(a);
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
    f->s = take(&at, 32 * SLICE * 4);
    f->dp = take(&at, 32 * SLICE * 4);
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
            __m512i x = load32(&a->out, out + c, a->d - c), y = load32(&a->dout, dout + c, a->d - c);
            sum = _mm512_fmadd_ps(low_half(x), low_half(y), sum);
            sum = _mm512_fmadd_ps(high_half(x), high_half(y), sum);
        }
        f->delta[r] = _mm512_reduce_add_ps(sum);
        f->lse[r] = r < w->rows ? *lse_at(w, r) * HONE__LOG2_E : 0;
    }
}

/* p = e^(s - lse), ds = p (dp - delta), of a slice and 32 keys from j0 + j on, j from the block's start; both to `column` of their
   bands. Weights that are dropped have neither p nor dp. */
static inline __attribute__((always_inline)) void slope(const band *w, const backward_scratch *f, int64_t r, int64_t column,
                                                        int64_t j0, int64_t j, bool all, bool drops)
{
    const __m512 scale = _mm512_set1_ps((float)w->a->scale * HONE__LOG2_E),
                 more = _mm512_set1_ps((float)hone__drop_scale(w->a->dropout));
    const float *s = f->s, *dps = f->dp;
    uint32_t *pairs_to = f->ds + j / 2 * SLICE;
    uint16_t *p_to = f->p_rows + j * BAND + column, *ds_to = f->ds_rows + j * BAND + column;
    const uint32_t *keep = f->keep + j;
    const __m512 lse[2] = {_mm512_loadu_ps(f->lse + r), _mm512_loadu_ps(f->lse + r + 16)};
    const __m512 delta[2] = {_mm512_loadu_ps(f->delta + r), _mm512_loadu_ps(f->delta + r + 16)};
    const __m512i lo[2] = {_mm512_loadu_si512(f->lo + r), _mm512_loadu_si512(f->lo + r + 16)};
    const __m512i hi[2] = {_mm512_loadu_si512(f->hi + r), _mm512_loadu_si512(f->hi + r + 16)};
    for (int64_t k = 0; k < 32; k += 2) {
        __m512 p[2][2], ds[2][2]; /* [key][half] */
        for (int h = 0; h < 2; h++) {
            for (int i = 0; i < 2; i++) {
                __mmask16 seen = 0xFFFF, stays = drops ? (__mmask16)(keep[k + h] >> 16 * i) : 0xFFFF;
                if (!all) {
                    const __m512i key = _mm512_set1_epi32((int)(j0 + j + k + i));
                    seen = _mm512_cmp_epi32_mask(key, lo[h], _MM_CMPINT_NLT) & _mm512_cmp_epi32_mask(key, hi[h], _MM_CMPINT_LT);
                }
                p[i][h] = power(seen, _mm512_loadu_ps(s + (k + i) * SLICE + 16 * h), scale, lse[h]);
                __m512 dp = _mm512_maskz_loadu_ps(stays, dps + (k + i) * SLICE + 16 * h);
                ds[i][h] = _mm512_mul_ps(p[i][h], drops ? _mm512_fmsub_ps(dp, more, delta[h]) : _mm512_sub_ps(dp, delta[h]));
            }
            _mm512_storeu_si512(pairs_to + k / 2 * SLICE + 16 * h, pairs(0xFFFFFFFF, ds[0][h], ds[1][h]));
        }
        for (int i = 0; i < 2; i++) {
            __mmask32 stay = drops ? (keep[k] >> 16 * i & 0xFFFF) | keep[k + 1] >> 16 * i << 16 : 0xFFFFFFFF;
            _mm512_storeu_si512(p_to + (k + i) * BAND, (__m512i)_mm512_maskz_cvtne2ps_pbh(stay, p[i][1], p[i][0]));
            _mm512_storeu_si512(ds_to + (k + i) * BAND, (__m512i)_mm512_cvtne2ps_pbh(ds[i][1], ds[i][0]));
        }
    }
}

/* A slice against the block's first `width` keys: 32 at a time, which stay in the first cache, and while their slopes are taken
   the tiles make the next. */
static void backward_slice(const band *w, const backward_scratch *f, int64_t r, int64_t column, int64_t j0, int64_t width)
{
    const hone__attention *a = w->a;
    int64_t d = depth(a);
    if (a->dropout > 0) draw(w, r, j0, width, f->keep);
    for (int64_t j = 0; j < width; j += 32) {
        bool all = sees_all(&f->sights[r / SLICE], j0 + j, 32);
        product(32, SLICE, d, f->k + j * d, d, f->q + r * (d / 2), SLICE, f->s, SLICE, false);
        product(32, SLICE, d, f->v + j * d, d, f->dout + r * (d / 2), SLICE, f->dp, SLICE, false);
        if (a->dropout > 0)
            slope(w, f, r, column, j0, j, all, true);
        else if (all)
            slope(w, f, r, column, j0, j, true, false);
        else
            slope(w, f, r, column, j0, j, false, false);
    }
    if (a->dq.data) product(d, SLICE, width, f->kt, KEYS, f->ds, SLICE, f->dq + r * d, SLICE, true);
}

static void clear_columns(uint16_t *x, int64_t column, int64_t from, int64_t to)
{
    for (int64_t j = from; j < to; j++) _mm512_storeu_si512(x + j * BAND + column, _mm512_setzero_si512());
}

/* The rows [r0, r1) against a block of keys. */
static void backward_band(const band *w, const backward_scratch *f, int64_t r0, int64_t r1, int64_t j0)
{
    const hone__attention *a = w->a;
    int64_t d = depth(a), width = 0, first = r1, last = r0;
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
        if (own) backward_slice(w, f, r, r - r0, j0, own);
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
                    _mm512_mul_ps(_mm512_loadu_ps(from + j * depth(w->a) + c), _mm512_set1_ps(scale)), w->a->d - c);
}

static void backward(const band *w, const backward_scratch *f)
{
    const hone__attention *a = w->a;
    int64_t d = depth(a), rows = up32(w->rows);
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
        put_keys(w, &a->dv, j0, f->dv, (float)hone__drop_scale(a->dropout));
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
    if (task % a->hkv == 0) bring_row(a, w.b, true);
    open_products();
    backward(&w, &f);
    close_products();
}
