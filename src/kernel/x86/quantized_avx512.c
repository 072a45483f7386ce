/* AVX-512 VNNI dot products with blocks of 32: q4_0, q4_1, q8_0. Two blocks fill a vector; their integer sums are
   scaled by a vector whose halves hold the two scales. */
#include "kernel/x86/quantized.h"

#include <immintrin.h>

static inline float half(const uint8_t *at)
{
    uint16_t h;
    memcpy(&h, at, 2);
    return _cvtsh_ss(h);
}

static inline __m512 halves(float low, float high)
{
    return _mm512_insertf32x8(_mm512_set1_ps(low), _mm256_set1_ps(high), 1);
}

/* 16 bytes hold elements 0..15 in the low nibbles and 16..31 in the high ones. */
static inline __m256i nibbles(const uint8_t *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

static inline __m512i pair(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* y = sum over blocks of d dx (q . xq) + m (dx sum xq); q4_0 is q4_1 with m = -8 d. */
static inline void dot_q4(const uint8_t *w, const hone__quantized_rows *x, int64_t blocks, float *sum, int bytes,
                          int at, int rows)
{
    __m512 acc[HONE__QUANTIZED_ROWS];
    float shift[HONE__QUANTIZED_ROWS];
    for (int r = 0; r < rows; r++) acc[r] = _mm512_setzero_ps(), shift[r] = 0;
    for (int64_t b = 0; b < blocks; b += 2, w += 2 * bytes) {
        const uint8_t *next = b + 1 < blocks ? w + bytes : NULL;
        float d0 = half(w), d1 = next ? half(next) : 0;
        float m0 = bytes == 20 ? half(w + 2) : -8 * d0, m1 = next ? (bytes == 20 ? half(next + 2) : -8 * d1) : 0;
        __m512i q = pair(nibbles(w + at), next ? nibbles(next + at) : _mm256_setzero_si256());
        __m512 scale = halves(d0, d1);
        for (int r = 0; r < rows; r++) {
            const int8_t *v = x->values[r] + b * 32;
            __m512i xq = next ? _mm512_loadu_si512(v)
                              : _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)v));
            __m512 part = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_setzero_si512(), q, xq));
            const float *dx = x->scales[r] + b, *sx = x->sums[r] + b;
            acc[r] = _mm512_fmadd_ps(_mm512_mul_ps(scale, halves(dx[0], next ? dx[1] : 0)), part, acc[r]);
            shift[r] += m0 * sx[0] + (next ? m1 * sx[1] : 0);
        }
    }
    for (int r = 0; r < rows; r++) sum[r] = _mm512_reduce_add_ps(acc[r]) + shift[r];
}

/* Signed times signed: the activations are shifted to 0..255 and 128 times the weights' sum taken off again. */
static inline void dot_q8(const uint8_t *w, const hone__quantized_rows *x, int64_t blocks, float *sum, int rows)
{
    enum { BYTES = 34 };
    const __m512i offset = _mm512_set1_epi8((char)128);
    __m512 acc[HONE__QUANTIZED_ROWS];
    for (int r = 0; r < rows; r++) acc[r] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b += 2, w += 2 * BYTES) {
        const uint8_t *next = b + 1 < blocks ? w + BYTES : NULL;
        __m512i q = pair(_mm256_loadu_si256((const __m256i *)(const void *)(w + 2)),
                         next ? _mm256_loadu_si256((const __m256i *)(const void *)(next + 2)) : _mm256_setzero_si256());
        __m512i excess = _mm512_dpbusd_epi32(_mm512_setzero_si512(), offset, q);
        __m512 scale = halves(half(w), next ? half(next) : 0);
        for (int r = 0; r < rows; r++) {
            const int8_t *v = x->values[r] + b * 32;
            __m512i xq = next ? _mm512_loadu_si512(v)
                              : _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)v));
            __m512i product = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_xor_si512(xq, offset), q);
            const float *dx = x->scales[r] + b;
            acc[r] = _mm512_fmadd_ps(_mm512_mul_ps(scale, halves(dx[0], next ? dx[1] : 0)),
                                     _mm512_cvtepi32_ps(_mm512_sub_epi32(product, excess)), acc[r]);
        }
    }
    for (int r = 0; r < rows; r++) sum[r] = _mm512_reduce_add_ps(acc[r]);
}

/* One row is the case that counts (generating text): a constant lets the compiler unroll it. */
static void q4_0(const uint8_t *w, const hone__quantized_rows *x, int64_t blocks, float *sum)
{
    if (x->rows == 1)
        dot_q4(w, x, blocks, sum, 18, 2, 1);
    else
        dot_q4(w, x, blocks, sum, 18, 2, x->rows);
}
static void q4_1(const uint8_t *w, const hone__quantized_rows *x, int64_t blocks, float *sum)
{
    if (x->rows == 1)
        dot_q4(w, x, blocks, sum, 20, 4, 1);
    else
        dot_q4(w, x, blocks, sum, 20, 4, x->rows);
}
static void q8_0(const uint8_t *w, const hone__quantized_rows *x, int64_t blocks, float *sum)
{
    if (x->rows == 1)
        dot_q8(w, x, blocks, sum, 1);
    else
        dot_q8(w, x, blocks, sum, x->rows);
}

hone__quantized_dot hone__quantized_dot_avx512(hone_dtype format)
{
    switch (format) {
    case HONE_Q4_0: return q4_0;
    case HONE_Q4_1: return q4_1;
    case HONE_Q8_0: return q8_0;
    default: return NULL;
    }
}
