/* Attention of one query a batch row over bf16 keys and values, read once as they lie. What a task leaves, and how it is
   merged, is kernel/ref/attention.c's. */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#include <math.h>

enum {
    KEYS = 64, /* keys a block */
    HEADS = 4  /* heads whose sums stay in registers together */
};

static const uint16_t *row_of(const hone__attention_side *x, int64_t b, int64_t t, int64_t h)
{
    return (const uint16_t *)x->data + b * x->stride[0] + t * x->stride[1] + h * x->stride[2];
}

/* Scores of up to 16 keys from k on, `stride` apart. */
static inline __m512 scores(const uint16_t *q, const uint16_t *k, int64_t stride, int64_t count, int64_t d)
{
    __m512 dot[16];
    for (int j = 0; j < 16; j++) dot[j] = _mm512_setzero_ps();
    int64_t c = 0;
    for (; c + 32 <= d; c += 32) {
        __m512bh x = (__m512bh)_mm512_loadu_si512(q + c);
        for (int j = 0; j < 16; j++)
            if (j < count) dot[j] = _mm512_dpbf16_ps(dot[j], x, (__m512bh)_mm512_loadu_si512(k + j * stride + c));
    }
    if (c < d) {
        __mmask32 rest = first32(d - c);
        __m512bh x = (__m512bh)_mm512_maskz_loadu_epi16(rest, q + c);
        for (int j = 0; j < 16; j++)
            if (j < count) dot[j] = _mm512_dpbf16_ps(dot[j], x, (__m512bh)_mm512_maskz_loadu_epi16(rest, k + j * stride + c));
    }
    return sum_of_each(dot);
}

/* Scores s[KEYS], of which the first count are meant, become probabilities in bf16 relative to the new maximum. */
static void softmax_block(const float *s, int64_t count, float scale, uint16_t *p, float *max, float *sum, float *o, int64_t pitch)
{
    const __m512 none = _mm512_set1_ps(-INFINITY), factor = _mm512_set1_ps(scale * HONE__LOG2_E);
    __m512 top = none, part = _mm512_setzero_ps(), e[KEYS / 16];
    for (int64_t j = 0; j < KEYS; j += 16)
        top = _mm512_max_ps(top, _mm512_mask_loadu_ps(none, first_lanes(count - j), s + j));
    float best = _mm512_reduce_max_ps(top) * scale;
    best = best > *max ? best : *max;
    const __m512 base = _mm512_set1_ps(best == -INFINITY ? 0 : best * HONE__LOG2_E), least = _mm512_set1_ps(-126);
    for (int j = 0; j < KEYS / 16; j++) {
        __m512 x = _mm512_fmsub_ps(_mm512_loadu_ps(s + 16 * j), factor, base);
        e[j] = exp2_in(_mm512_mask_cmp_ps_mask(first_lanes(count - 16 * j), x, least, _CMP_NLT_UQ), x);
        part = _mm512_add_ps(part, e[j]);
    }
    for (int j = 0; j < KEYS / 16; j += 2)
        _mm512_storeu_si512(p + 16 * j, (__m512i)_mm512_cvtne2ps_pbh(e[j + 1], e[j]));
    if (best != *max) {
        float down = expf(*max - best);
        *sum *= down;
        for (int64_t c = 0; c < pitch; c += 16)
            _mm512_storeu_ps(o + c, _mm512_mul_ps(_mm512_loadu_ps(o + c), _mm512_set1_ps(down)));
        *max = best;
    }
    *sum += _mm512_reduce_add_ps(part);
}

/* o[heads, pitch] += p[heads, KEYS] v[count, pitch], of the columns from c on those that `there` has, 32 or fewer. */
static inline __attribute__((always_inline)) void add_columns(const int heads, float *o, int64_t pitch, const uint16_t *p,
                                                              const uint16_t *v, int64_t stride, int64_t count, int64_t c,
                                                              __mmask32 there)
{
    const int halves = c + 16 < pitch ? 2 : 1;
    __m512 sum[HEADS][2];
    for (int i = 0; i < heads; i++)
        for (int h = 0; h < 2; h++) sum[i][h] = h < halves ? _mm512_loadu_ps(o + i * pitch + c + 16 * h) : _mm512_setzero_ps();
    for (int64_t j = 0; j < count; j += 2) {
        __m512i even = _mm512_maskz_loadu_epi16(there, v + j * stride + c);
        __m512i odd = j + 1 < count ? _mm512_maskz_loadu_epi16(there, v + (j + 1) * stride + c) : _mm512_setzero_si512();
        pair_rows(even, odd, &even, &odd);
        for (int i = 0; i < heads; i++) {
            int32_t pair;
            memcpy(&pair, p + i * KEYS + j, 4);
            __m512bh share = (__m512bh)_mm512_set1_epi32(pair);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], share, (__m512bh)even);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], share, (__m512bh)odd);
        }
    }
    for (int i = 0; i < heads; i++)
        for (int h = 0; h < halves; h++) _mm512_storeu_ps(o + i * pitch + c + 16 * h, sum[i][h]);
}
static inline void add_values(const int heads, float *o, int64_t pitch, const uint16_t *p, const uint16_t *v, int64_t stride,
                              int64_t count, int64_t d)
{
    int64_t c = 0;
    for (; c + 32 <= d; c += 32) add_columns(heads, o, pitch, p, v, stride, count, c, 0xFFFFFFFF);
    if (c < d) add_columns(heads, o, pitch, p, v, stride, count, c, first32(d - c));
}

/* Keys of one head lie apart from each other, where the hardware fetches nothing ahead. */
static inline void fetch_rows(const uint16_t *x, int64_t stride, int64_t count, int64_t d)
{
    for (int64_t j = 0; j < count; j++)
        for (int64_t c = 0; c < d; c += 32) _mm_prefetch((const char *)(x + j * stride + c), _MM_HINT_T0);
}

void hone__attention_decode_x86_avx512bf16(const hone__attention *a, int64_t task, void *part, void *scratch)
{
    if (a->q.dtype != HONE_BF16 || a->k.dtype != HONE_BF16 || a->v.dtype != HONE_BF16 || a->scale <= 0) {
        hone__kernels_avx512_f32.attention_decode(a, task, part, scratch);
        return;
    }
    int64_t n = HONE_MAX((a->tk + HONE__DECODE_KEYS - 1) / HONE__DECODE_KEYS, 1), piece = task % n, kv = task / n % a->hkv,
            b = task / n / a->hkv, g = a->h / a->hkv, d = a->d;
    int64_t pitch = (d + 15) / 16 * 16;                    /* as that of kernel/ref/attention.c, which merges the parts */
    float *o = part, *max = o + g * pitch, *sum = max + g; /* (g, pitch), (g), (g) */
    float *s = scratch;                                    /* (KEYS) */
    uint16_t *p = (uint16_t *)(void *)(s + KEYS);          /* (g, KEYS) */
    memset(o, 0, (size_t)(g * pitch) * sizeof *o);
    for (int64_t i = 0; i < g; i++) max[i] = -INFINITY, sum[i] = 0;
    int64_t low = a->begin ? a->begin[b * a->begin_stride[0]] : 0, high = a->end ? a->end[b * a->end_stride[0]] : a->tk;
    low = HONE_MAX(low, piece * HONE__DECODE_KEYS);
    high = HONE_MIN(HONE_MIN(high, a->tk), piece * HONE__DECODE_KEYS + HONE__DECODE_KEYS);
    int64_t k_stride = a->k.stride[1], v_stride = a->v.stride[1];
    for (int64_t j0 = low; j0 < high; j0 += KEYS) {
        int64_t count = HONE_MIN(high - j0, KEYS);
        const uint16_t *k = row_of(&a->k, b, j0, kv), *v = row_of(&a->v, b, j0, kv);
        fetch_rows(v, v_stride, count, d);
        if (j0 + count < high) fetch_rows(k + KEYS * k_stride, k_stride, HONE_MIN(high - j0 - count, KEYS), d);
        else if (kv + 1 < a->hkv) fetch_rows(row_of(&a->k, b, low, kv + 1), k_stride, HONE_MIN(high - low, KEYS), d);
        for (int64_t i = 0; i < g; i++) {
            const uint16_t *q = row_of(&a->q, b, 0, kv * g + i);
            for (int64_t j = 0; j < KEYS; j += 16) {
                __m512 dots = _mm512_setzero_ps();
                if (count - j >= 16)
                    dots = scores(q, k + j * k_stride, k_stride, 16, d);
                else if (count > j)
                    dots = scores(q, k + j * k_stride, k_stride, count - j, d);
                _mm512_storeu_ps(s + j, dots);
            }
            softmax_block(s, count, (float)a->scale, p + i * KEYS, &max[i], &sum[i], o + i * pitch, pitch);
        }
        int64_t i = 0;
        for (; i + HEADS <= g; i += HEADS) add_values(HEADS, o + i * pitch, pitch, p + i * KEYS, v, v_stride, count, d);
        if (g - i == 3)
            add_values(3, o + i * pitch, pitch, p + i * KEYS, v, v_stride, count, d);
        else
            for (; i < g; i++) add_values(1, o + i * pitch, pitch, p + i * KEYS, v, v_stride, count, d);
    }
}
