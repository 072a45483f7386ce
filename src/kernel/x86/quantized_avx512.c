/* AVX-512 VNNI dot products with blocks of 32: q4_0, q4_1, q8_0. Blocks are taken 16 at a time, for their scales, and
   two at a time for their values: sums of a pair are integers in the two halves of a vector, which is scaled by a vector
   whose halves hold the two scales. */
#include "kernel/x86/blocks.h"
#include "kernel/x86/few_rows.h"

#define INLINE static inline __attribute__((always_inline))

/* Bytes to fetch ahead: the hardware's own prefetching stops at the end of a page, and files are mapped by small ones. */
enum { AHEAD = 2048 };

/* Adds n <= 16 blocks, from the `at`-th on, to the sums of `rows` rows: of d dx (q . xq) + m (dx sum xq), where q4_0 has
   m = -8 d. Reads up to 32 values past an odd number of them, which count for nothing. */
INLINE void dot_blocks(const block_layout f, const uint8_t *w, const hone__quantized_rows *x, int first, int rows,
                       int64_t at, int n, __m512 *sum)
{
    const __m512i offset = _mm512_set1_epi8((char)128), zero = _mm512_setzero_si512();
    __mmask16 mask = first_lanes(n);
    for (int i = 0; i < n * f.bytes; i += 64) _mm_prefetch((const char *)w + AHEAD + i, _MM_HINT_T0);
    __m512 d, m, scale[4];
    block_scales(f, w, n, &d, &m);
    for (int r = 0; r < rows; r++) {
        scale[r] = _mm512_mul_ps(d, _mm512_maskz_loadu_ps(mask, x->scales[first + r] + at));
        if (f.nibbles) sum[r] = _mm512_fmadd_ps(m, _mm512_maskz_loadu_ps(mask, x->sums[first + r] + at), sum[r]);
    }
    __m512i halves = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    for (int b = 0; b < n; b += 2, w += 2 * f.bytes, halves = _mm512_add_epi32(halves, _mm512_set1_epi32(2))) {
        __m512i q = block_values(f, w, b + 1 < n ? w + f.bytes : w);
        /* Signed times signed: 128 is added to the activations, and 128 times the weights' sum taken off again. */
        __m512i excess = f.nibbles ? zero : _mm512_dpbusd_epi32(zero, offset, q);
        for (int r = 0; r < rows; r++) {
            __m512i xq = _mm512_loadu_si512(x->values[first + r] + (at + b) * 32);
            __m512i product = f.nibbles ? _mm512_dpbusd_epi32(zero, q, xq)
                                        : _mm512_sub_epi32(_mm512_dpbusd_epi32(zero, _mm512_xor_si512(xq, offset), q), excess);
            sum[r] = _mm512_fmadd_ps(_mm512_permutexvar_ps(halves, scale[r]), _mm512_cvtepi32_ps(product), sum[r]);
        }
    }
}

/* Up to HONE__STRIP rows of the weight with `rows` rows from the first on. */
INLINE void dot_rows(const block_layout f, const uint8_t *w, int64_t columns, const hone__quantized_rows *x, int first, int rows,
                     int64_t blocks, float (*sum)[HONE__STRIP])
{
    for (int64_t c = 0; c < columns; c++, w += blocks * f.bytes) {
        __m512 all[4];
        int64_t at = 0;
        for (int r = 0; r < rows; r++) all[r] = _mm512_setzero_ps();
        for (; at + 16 <= blocks; at += 16) dot_blocks(f, w + at * f.bytes, x, first, rows, at, 16, all);
        if (at < blocks) dot_blocks(f, w + at * f.bytes, x, first, rows, at, (int)(blocks - at), all);
        for (int r = 0; r < rows; r++) sum[first + r][c] = _mm512_reduce_add_ps(all[r]);
    }
}

/* Up to four rows at once; constants let the compiler unroll. One is the case that counts: generating text. */
INLINE void dot(const block_layout f, const uint8_t *w, int64_t columns, const hone__quantized_rows *x, int64_t blocks,
                float (*sum)[HONE__STRIP])
{
    for (int r = 0; r < x->rows; r += 4) {
        switch (x->rows - r) {
        case 1: dot_rows(f, w, columns, x, r, 1, blocks, sum); break;
        case 2: dot_rows(f, w, columns, x, r, 2, blocks, sum); break;
        case 3: dot_rows(f, w, columns, x, r, 3, blocks, sum); break;
        default: dot_rows(f, w, columns, x, r, 4, blocks, sum); break;
        }
    }
}

#define FORMAT(name, layout)                                                                                             \
    static void name(const uint8_t *w, int64_t columns, const hone__quantized_rows *x, int64_t blocks,                \
                     float (*sum)[HONE__STRIP])                                                           \
    {                                                                                                                 \
        dot((block_layout)layout, w, columns, x, blocks, sum);                                                       \
    }
FORMAT(q4_0, BLOCK_Q4_0)
FORMAT(q4_1, BLOCK_Q4_1)
FORMAT(q8_0, BLOCK_Q8_0)

void hone__quantize_row_avx512(const void *x, bool bf16, int64_t blocks, int8_t *values, float *scales, float *sums)
{
    for (int64_t b = 0; b < blocks; b++, values += 32) {
        __m512 low = load_real(x, bf16, b * 32, 0xFFFF), high = load_real(x, bf16, b * 32 + 16, 0xFFFF);
        float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
        const __m512 inverse = _mm512_set1_ps(most > 0 ? 127 / most : 0);
        __m512i l = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse)), h = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
        _mm_storeu_si128((__m128i *)(void *)values, _mm512_cvtsepi32_epi8(l));
        _mm_storeu_si128((__m128i *)(void *)(values + 16), _mm512_cvtsepi32_epi8(h));
        scales[b] = most / 127;
        sums[b] = scales[b] * (float)_mm512_reduce_add_epi32(_mm512_add_epi32(l, h));
    }
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
