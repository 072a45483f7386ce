/* Products of few rows with weights in interleaved blocks, by VNNI. A strip's rows are the lanes; each four of a row's values
   are multiplied with the same four of a row of x, which is broadcast from memory. Sums are exact within a block, then scaled.
   So 512 weights take 8 dot products a row of x, and three operations for its scales: with one row what counts is reading the
   weight, with eight the arithmetic takes about as long. */
#include "kernel/x86/avx512.h"
#include "kernel/x86/few_rows.h"

#define INLINE static inline __attribute__((always_inline))

/* Bytes to fetch ahead, into the first cache and, as memory takes longer than the first cache can keep asking, into the second:
   the hardware's own prefetching stops at the end of a page. */
enum { AHEAD = 2048, FAR_AHEAD = 12288 };

/* Rows of x are worked on by 1, 2, 4 or 8; missing ones are zeros. */
INLINE int64_t room_of(int64_t rows) { return rows > 4 ? 8 : rows > 2 ? 4 : rows; }
/* Where a block of `room` rows has what. */
INLINE int64_t block_size(int64_t room) { return room * (32 + 4 + 4); }

size_t hone__block_rows_bytes(int64_t rows, int64_t k) { return (size_t)(k / 32 * block_size(room_of(rows))); }

/* 16 blocks at a time, of all rows in turn, so that maxima, scales and sums are vectors. */
INLINE void quantize(const void *x, const bool bf16, const int64_t room, int64_t rows, int64_t k, char *to)
{
    const int64_t blocks = k / 32 * room;
    for (int64_t g = 0; g < blocks; g += 16) {
        int64_t count = HONE_MIN(blocks - g, (int64_t)16);
        __m512 most[16], total[16], low[16], high[16];
        for (int64_t i = 0; i < 16; i++) {
            int64_t b = (g + i) / room, r = (g + i) % room, at = r * k + b * 32;
            __mmask16 mask = i < count && r < rows ? 0xFFFF : 0;
            low[i] = load_real(x, bf16, at, mask), high[i] = load_real(x, bf16, at + 16, mask);
            most[i] = _mm512_max_ps(_mm512_abs_ps(low[i]), _mm512_abs_ps(high[i]));
        }
        const __m512 top = maximum_of_each(most), scale = _mm512_div_ps(top, _mm512_set1_ps(127));
        _Alignas(64) float inverse[16], scales[16], sums[16];
        __mmask16 some = _mm512_cmp_ps_mask(top, _mm512_setzero_ps(), _CMP_GT_OQ);
        _mm512_store_ps(inverse, _mm512_maskz_div_ps(some, _mm512_set1_ps(127), top));
        _mm512_store_ps(scales, scale);
        for (int64_t i = 0; i < count; i++) {
            char *values = to + (g + i) / room * block_size(room) + (g + i) % room * 32;
            __m512i l = _mm512_cvtps_epi32(_mm512_mul_ps(low[i], _mm512_set1_ps(inverse[i])));
            __m512i h = _mm512_cvtps_epi32(_mm512_mul_ps(high[i], _mm512_set1_ps(inverse[i])));
            _mm_storeu_si128((__m128i *)(void *)values, _mm512_cvtsepi32_epi8(l));
            _mm_storeu_si128((__m128i *)(void *)(values + 16), _mm512_cvtsepi32_epi8(h));
            total[i] = _mm512_cvtepi32_ps(_mm512_add_epi32(l, h));
        }
        for (int64_t i = count; i < 16; i++) total[i] = _mm512_setzero_ps();
        _mm512_store_ps(sums, _mm512_mul_ps(scale, sum_of_each(total)));
        for (int64_t i = 0; i < count; i += room) {
            char *at = to + (g + i) / room * block_size(room) + room * 32;
            memcpy(at, scales + i, (size_t)room * 4);
            memcpy(at + room * 4, sums + i, (size_t)room * 4);
        }
    }
}

void hone__block_rows_avx512(const void *x, bool bf16, int64_t rows, int64_t k, char *to)
{
    switch (room_of(rows)) {
    case 1: quantize(x, bf16, 1, rows, k, to); break;
    case 2: quantize(x, bf16, 2, rows, k, to); break;
    case 4: quantize(x, bf16, 4, rows, k, to); break;
    default: quantize(x, bf16, 8, rows, k, to); break;
    }
}

/* Asks for what is `step` of `steps` of a strip's next blocks of `size` bytes: a few lines between products. All of them at once
   would fill the queue of outstanding lines, and what is loaded next would wait for them. */
INLINE void fetch(const uint8_t *w, const int size, const int step, const int steps)
{
    const int lines = (size + 63) / 64;
    for (int i = lines * step / steps; i < lines * (step + 1) / steps; i++) {
        _mm_prefetch((const char *)w + AHEAD + i * 64, _MM_HINT_T0);
        _mm_prefetch((const char *)w + FAR_AHEAD + i * 64, _MM_HINT_T1);
    }
}

/* sum[r] += 16 rows of a block times row r of x; of two blocks that share bytes that of half h. */
INLINE void block_product(const hone__block_layout f, const int rows, const int h, const uint8_t *w, const char *x, __m512 *sum)
{
    const __m512i mask = _mm512_set1_epi8((char)(h ? 0xF0 : 0x0F));
    /* Sums are counted in the mantissa of a float: begun at the bits of 1.5 x 2^23 they stand for that plus the sum (which is
       below 2^20), and need no conversion. Taking the beginning away, times d, and multiplying is one operation, and exact. */
    const __m512 start = _mm512_set1_ps(12582912.0f);
    __m512i dot[HONE__BLOCK_ROWS];
    for (int r = 0; r < rows; r++) dot[r] = _mm512_castps_si512(start);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        fetch(w, hone__strip_block_bytes(&f), h * 8 + i, f.halves * 8);
        __m512i v = _mm512_loadu_si512(w + i * 64);
        if (f.halves == 2) v = _mm512_and_si512(v, mask);
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + r * 32 + i * 4, 4);
            dot[r] = _mm512_dpbusd_epi32(dot[r], v, _mm512_set1_epi32(four));
        }
    }
    const uint8_t *scales = w + HONE__WORDS_BYTES + h * 32, *minima = scales + f.halves * 32;
    __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)scales));
    __m512 m = f.minimum ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)minima))
                         : _mm512_mul_ps(d, _mm512_set1_ps((float)-f.offset));
    if (h) d = _mm512_mul_ps(d, _mm512_set1_ps(1.0f / 16)); /* values of the high halves are 16 times as large */
    const __m512 start_d = _mm512_mul_ps(start, d);
    for (int r = 0; r < rows; r++) {
        float scale, total;
        memcpy(&scale, x + rows * 32 + r * 4, 4);
        memcpy(&total, x + rows * 36 + r * 4, 4);
        sum[r] = _mm512_fmadd_ps(_mm512_fmsub_ps(_mm512_castsi512_ps(dot[r]), d, start_d), _mm512_set1_ps(scale), sum[r]);
        sum[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(total), sum[r]);
    }
}

INLINE void strips(const hone__block_layout f, const int rows, const hone__strips *p, int64_t begin, int64_t end)
{
    const int64_t blocks = p->k / 32, size = hone__strip_block_bytes(&f);
    const uint8_t *w = p->w + begin * ((blocks + f.halves - 1) / f.halves) * size;
    for (int64_t c = begin * HONE__STRIP; c < HONE_MIN(end * HONE__STRIP, p->n); c += HONE__STRIP) {
        __m512 sum[HONE__BLOCK_ROWS];
        const char *x = p->x;
        for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
        for (int64_t b = 0; b < blocks; b += f.halves, w += size, x += f.halves * block_size(rows)) {
            block_product(f, rows, 0, w, x, sum);
            if (b + 1 < blocks && f.halves == 2) block_product(f, rows, 1, w, x + block_size(rows), sum);
        }
        __mmask16 mask = first_lanes(p->n - c);
        for (int r = 0; r < HONE_MIN(rows, p->rows); r++) {
            if (p->bias) sum[r] = _mm512_add_ps(sum[r], _mm512_maskz_loadu_ps(mask, p->bias + c));
            store_real(p->y, p->half, r * p->n + c, mask, sum[r]);
        }
    }
}

/* Constants let the compiler unroll, and keep sums in registers. */
#define FORMAT(name, layout)                                                        \
    static void name(const hone__strips *p, int64_t begin, int64_t end)             \
    {                                                                               \
        const hone__block_layout f = layout;                                        \
        switch (room_of(p->rows)) {                                                 \
        case 1: strips(f, 1, p, begin, end); break;                                 \
        case 2: strips(f, 2, p, begin, end); break;                                 \
        case 4: strips(f, 4, p, begin, end); break;                                 \
        default: strips(f, 8, p, begin, end); break;                                \
        }                                                                           \
    }
FORMAT(q4_0, HONE__LAYOUT_Q4_0)
FORMAT(q4_1, HONE__LAYOUT_Q4_1)
FORMAT(q8_0, HONE__LAYOUT_Q8_0)

void hone__block_strips_avx512(const hone__strips *p, int64_t begin, int64_t end)
{
    switch (p->format) {
    case HONE_Q4_0: q4_0(p, begin, end); break;
    case HONE_Q4_1: q4_1(p, begin, end); break;
    default: q8_0(p, begin, end); break;
    }
}
