/* AVX-512 VNNI dot products with blocks of 32: q4_0, q4_1, q8_0. Blocks are taken 16 at a time, for their scales, and
   two at a time for their values: sums of a pair are integers in the two halves of a vector, which is scaled by a vector
   whose halves hold the two scales. */
#include "kernel/x86/quantized.h"
#include "kernel/x86/avx512.h"

#define INLINE static inline __attribute__((always_inline))

/* Bytes to fetch ahead: the hardware's own prefetching stops at the end of a page, and files are mapped by small ones. */
enum { AHEAD = 2048 };

/* Where a block has what: bytes in all, its values, and whether it has a minimum beside its scale. */
typedef struct layout {
    int bytes, values;
    bool minimum, nibbles;
} layout;

/* The values of two blocks, 64 bytes. In nibbles, 16 bytes hold values 0..15 low and 16..31 high. */
INLINE __m512i values_of(const layout f, const uint8_t *first, const uint8_t *second)
{
    if (!f.nibbles) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(first + f.values));
        __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(second + f.values));
        return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    const __m512i places = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0, 0x0004000400040004,
                                            0x0004000400040004, 0, 0);
    __m512i both = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(first + f.values)));
    both = _mm512_mask_broadcast_i32x4(both, 0xFF00, _mm_loadu_si128((const __m128i *)(const void *)(second + f.values)));
    return _mm512_and_si512(_mm512_srlv_epi16(both, places), _mm512_set1_epi8(15));
}

/* The first four bytes of one or two blocks, where gathering 16 would be a waste (rows of 576 are 16 blocks and 2). */
INLINE __m512i two_heads(const uint8_t *first, const uint8_t *second)
{
    int32_t head[2] = {0, 0};
    memcpy(&head[0], first, 4);
    if (second) memcpy(&head[1], second, 4);
    return _mm512_zextsi128_si512(_mm_insert_epi32(_mm_cvtsi32_si128(head[0]), head[1], 1));
}

/* Adds n <= 16 blocks, from the `at`-th on, to the sums of `rows` rows: of d dx (q . xq) + m (dx sum xq), where q4_0 has
   m = -8 d. Reads up to 32 values past an odd number of them, which count for nothing. */
INLINE void dot_blocks(const layout f, const uint8_t *w, const hone__quantized_rows *x, int first, int rows,
                       int64_t at, int n, __m512 *sum)
{
    const __m512i offset = _mm512_set1_epi8((char)128), zero = _mm512_setzero_si512();
    const __m512i starts = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                              _mm512_set1_epi32(f.bytes));
    __mmask16 mask = (__mmask16)((1u << n) - 1);
    for (int i = 0; i < n * f.bytes; i += 64) _mm_prefetch((const char *)w + AHEAD + i, _MM_HINT_T0);
    __m512i heads = n <= 2 ? two_heads(w, n == 2 ? w + f.bytes : NULL) : _mm512_mask_i32gather_epi32(zero, mask, starts, w, 1);
    __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(heads)), m = _mm512_mul_ps(d, _mm512_set1_ps(-8)), scale[4];
    if (f.minimum) m = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(heads, 16)));
    for (int r = 0; r < rows; r++) {
        scale[r] = _mm512_mul_ps(d, _mm512_maskz_loadu_ps(mask, x->scales[first + r] + at));
        if (f.nibbles) sum[r] = _mm512_fmadd_ps(m, _mm512_maskz_loadu_ps(mask, x->sums[first + r] + at), sum[r]);
    }
    __m512i halves = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    for (int b = 0; b < n; b += 2, w += 2 * f.bytes, halves = _mm512_add_epi32(halves, _mm512_set1_epi32(2))) {
        __m512i q = values_of(f, w, b + 1 < n ? w + f.bytes : w);
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

/* Up to HONE__QUANTIZED_COLUMNS rows of the weight with `rows` rows from the first on. */
INLINE void dot_rows(const layout f, const uint8_t *w, int64_t columns, const hone__quantized_rows *x, int first, int rows,
                     int64_t blocks, float (*sum)[HONE__QUANTIZED_COLUMNS])
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
INLINE void dot(const layout f, const uint8_t *w, int64_t columns, const hone__quantized_rows *x, int64_t blocks,
                float (*sum)[HONE__QUANTIZED_COLUMNS])
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

#define FORMAT(name, ...)                                                                                             \
    static void name(const uint8_t *w, int64_t columns, const hone__quantized_rows *x, int64_t blocks,                \
                     float (*sum)[HONE__QUANTIZED_COLUMNS])                                                           \
    {                                                                                                                 \
        dot((layout){__VA_ARGS__}, w, columns, x, blocks, sum);                                                       \
    }
FORMAT(q4_0, .bytes = 18, .values = 2, .nibbles = true)
FORMAT(q4_1, .bytes = 20, .values = 4, .nibbles = true, .minimum = true)
FORMAT(q8_0, .bytes = 34, .values = 2)

static void quantize(const void *x, bool bf16, int64_t blocks, int8_t *values, float *scales, float *sums)
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

hone__quantized_kernel hone__quantized_avx512(hone_dtype format)
{
    switch (format) {
    case HONE_Q4_0: return (hone__quantized_kernel){quantize, q4_0};
    case HONE_Q4_1: return (hone__quantized_kernel){quantize, q4_1};
    case HONE_Q8_0: return (hone__quantized_kernel){quantize, q8_0};
    default: return (hone__quantized_kernel){NULL, NULL};
    }
}
