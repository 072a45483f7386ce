/* Attention's forward pass; see attention.h. */
#include "kernel/x86/attention.h"

/* d: depth(a). */
typedef struct forward_scratch {
    uint32_t *q; /* (slices, d / 2, SLICE): pairs of values */
    float *out;  /* (slices, d, SLICE) */
    float *max, *sum;
    int32_t *lo, *hi, *time, *head;
    sight *sights;
    bool *begun; /* (slices): out, max and sum hold something */
    uint16_t *k; /* (KEYS, d) */
    uint16_t *v; /* (KEYS, d), and transposed (d, KEYS) */
    uint16_t *vt;
    float *s;       /* (KEYS, SLICE) */
    uint32_t *p;    /* (KEYS / 2, SLICE): pairs of keys */
    uint32_t *keep; /* (KEYS) */
} forward_scratch;

static size_t forward_layout(const hone__attention *a, void *base, forward_scratch *f)
{
    int64_t rows = up32(block_times(a) * group(a)), d = depth(a);
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

/* Scores of the keys [j0, j0 + width) and a slice, and their maxima. 32 keys at a time: while their maxima are taken, the tiles
   make the next. */
static void score(const band *w, const forward_scratch *f, int64_t r, int64_t j0, int64_t width, __m512 top[2])
{
    int64_t d = depth(w->a);
    for (int64_t j = 0; j < width; j += 32) {
        float *s = f->s + j * SLICE;
        product(32, SLICE, d, f->k + j * d, d, f->q + r * (d / 2), SLICE, s, SLICE, false);
        if (!sees_all(&f->sights[r / SLICE], j0 + j, 32)) mask_scores(s, 32, j0 + j, f->lo + r, f->hi + r);
        for (int h = 0; h < 2; h++) {
            __m512 even = top[h], odd = even;
            for (int i = 0; i < 32; i += 2) {
                even = _mm512_max_ps(even, _mm512_loadu_ps(s + i * SLICE + 16 * h));
                odd = _mm512_max_ps(odd, _mm512_loadu_ps(s + (i + 1) * SLICE + 16 * h));
            }
            top[h] = _mm512_max_ps(even, odd);
        }
    }
}

/* Scores to weights relative to the new maxima, in p and summed; those that are dropped count in the sums alone. */
static inline __attribute__((always_inline)) void weigh(const forward_scratch *f, int64_t width, __m512 scale,
                                                        const __m512 base[2], bool drops, __m512 part[2])
{
    __m512 rest[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int64_t j = 0; j < width; j += 2)
        for (int h = 0; h < 2; h++) {
            __m512 low = power(0xFFFF, _mm512_loadu_ps(f->s + j * SLICE + 16 * h), scale, base[h]);
            __m512 high = power(0xFFFF, _mm512_loadu_ps(f->s + (j + 1) * SLICE + 16 * h), scale, base[h]);
            part[h] = _mm512_add_ps(part[h], low);
            rest[h] = _mm512_add_ps(rest[h], high);
            _mm512_storeu_si512(f->p + j / 2 * SLICE + 16 * h, pairs(drops ? f->keep[j + h] : 0xFFFFFFFF, low, high));
        }
    for (int h = 0; h < 2; h++) part[h] = _mm512_add_ps(part[h], rest[h]);
}

/* One block of keys and one slice; what its rows have so far (out, sum) is scaled to the new maxima. */
static void forward_block(const band *w, const forward_scratch *f, int64_t r, int64_t j0, int64_t width)
{
    const hone__attention *a = w->a;
    const __m512 scale = _mm512_set1_ps((float)a->scale * HONE__LOG2_E), none = _mm512_set1_ps(-INFINITY);
    bool begun = f->begun[r / SLICE];
    float *out = f->out + r * depth(a);
    __m512 before[2], top[2], base[2], part[2];
    for (int h = 0; h < 2; h++) {
        before[h] = top[h] = begun ? _mm512_loadu_ps(f->max + r + 16 * h) : none;
        part[h] = _mm512_setzero_ps();
    }
    score(w, f, r, j0, width, top);
    for (int h = 0; h < 2; h++) base[h] = _mm512_maskz_mul_ps(_mm512_cmp_ps_mask(top[h], none, _CMP_NEQ_UQ), top[h], scale);
    if (a->dropout > 0) {
        draw(w, r, j0, width, f->keep);
        weigh(f, width, scale, base, true, part);
    } else {
        weigh(f, width, scale, base, false, part);
    }
    for (int h = 0; h < 2; h++) {
        if (begun) {
            __m512 down = power(0xFFFF, before[h], scale, base[h]);
            part[h] = _mm512_fmadd_ps(_mm512_loadu_ps(f->sum + r + 16 * h), down, part[h]);
            if (_mm512_cmp_ps_mask(before[h], top[h], _CMP_NEQ_UQ))
                for (int64_t c = 0; c < a->d; c++) {
                    float *at = out + c * SLICE + 16 * h;
                    _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), down));
                }
        }
        _mm512_storeu_ps(f->sum + r + 16 * h, part[h]);
        _mm512_storeu_ps(f->max + r + 16 * h, top[h]);
    }
    product(depth(a), SLICE, width, f->vt, KEYS, f->p, SLICE, out, SLICE, begun);
    f->begun[r / SLICE] = true;
}

static void finish_slice(const band *w, int64_t r, bool begun, const float *max, const float *sum, float *out)
{
    const hone__attention *a = w->a;
    if (!begun) memset(out, 0, (size_t)(depth(a) * SLICE) * sizeof *out);
    for (int64_t h = 0; h < SLICE && r + h < w->rows; h += 16) {
        __m512 total = begun ? _mm512_loadu_ps(sum + h) : _mm512_setzero_ps();
        __mmask16 some = _mm512_cmp_ps_mask(total, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        __m512 share = _mm512_maskz_div_ps(some, _mm512_set1_ps((float)hone__drop_scale(a->dropout)), total);
        if (a->out.data) put_turned(w, &a->out, r + h, out + h, share);
    }
    for (int64_t i = 0; a->lse && i < HONE_MIN(w->rows - r, SLICE); i++)
        *lse_at(w, r + i) = begun && sum[i] != 0 ? max[i] * (float)a->scale + logf(sum[i]) : 0;
}

static void forward(const band *w, const forward_scratch *f)
{
    const hone__attention *a = w->a;
    int64_t d = depth(a), slices = up32(w->rows) / SLICE, low = a->tk, high = 0;
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
            int64_t width = width_of(&f->sights[i], j0);
            if (width) forward_block(w, f, i * SLICE, j0, width);
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
    if (task % (n * a->hkv) == 0) bring_row(a, w.b, false);
    open_products();
    forward(&w, &f);
    close_products();
}
