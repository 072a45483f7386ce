/* For kernel/x86/: reading the block formats that products read as they are stored. Include from files compiled for AVX-512
   or more alone. */
#ifndef HONE_SRC_X86_BLOCKS_H
#define HONE_SRC_X86_BLOCKS_H

#include "kernel/x86/avx512.h"

/* Where a block of 32 has what: bytes in all, its values, and whether it has a minimum beside its scale. */
typedef struct block_layout {
    int bytes, values;
    bool minimum, nibbles;
} block_layout;
#define BLOCK_Q4_0 {.bytes = 18, .values = 2, .nibbles = true}
#define BLOCK_Q4_1 {.bytes = 20, .values = 4, .nibbles = true, .minimum = true}
#define BLOCK_Q8_0 {.bytes = 34, .values = 2}

/* The values of two blocks, 64 bytes. In nibbles, 16 bytes hold values 0..15 low and 16..31 high. */
static inline __attribute__((always_inline)) __m512i block_values(const block_layout f, const uint8_t *first, const uint8_t *second)
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

/* Scales and minima of 16 blocks from their first four bytes; without minima in the format those that nibbles have, which
   stand for -8 to 7. */
static inline __attribute__((always_inline)) void head_scales(const block_layout f, __m512i heads, __m512 *d, __m512 *m)
{
    *d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(heads));
    *m = f.minimum ? _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(heads, 16))) : _mm512_mul_ps(*d, _mm512_set1_ps(-8));
}

/* The first four bytes of one or two blocks, where gathering 16 would be a waste (rows of 576 are 16 blocks and 2). */
static inline __attribute__((always_inline)) __m512i two_heads(const uint8_t *first, const uint8_t *second)
{
    int32_t head[2] = {0, 0};
    memcpy(&head[0], first, 4);
    if (second) memcpy(&head[1], second, 4);
    return _mm512_zextsi128_si512(_mm_insert_epi32(_mm_cvtsi32_si128(head[0]), head[1], 1));
}

/* Scales and minima of n <= 16 blocks, zeros behind them. */
static inline __attribute__((always_inline)) void block_scales(const block_layout f, const uint8_t *w, int64_t n, __m512 *d,
                                                               __m512 *m)
{
    const __m512i starts = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                              _mm512_set1_epi32(f.bytes));
    __m512i heads = n <= 2 ? two_heads(w, n == 2 ? w + f.bytes : NULL)
                           : _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), first_lanes(n), starts, w, 1);
    head_scales(f, heads, d, m);
}

#endif
