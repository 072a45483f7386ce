/* The narrow matrix is packed once, as left operand of the tiles: up to two tiles of 16 of its columns by 32 rows. Of the wide
   one, 32 rows by 32 columns at a time are paired, as right operands are, into the first cache. It is read in blocks of rows;
   while one is multiplied, span by span, the next one is fetched in the order of memory. Sums lie in the second cache between
   blocks. */
#include "kernel/x86/narrow.h"
#include "kernel/x86/avx512.h"
#include "kernel/x86/tiles.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    TILE = 1024,        /* bytes */
    SQUARE = 2 * TILE,  /* 32 x 32 bf16 */
    ROWS = 128,         /* of a block */
    SPAN = HONE__NARROW_SPAN,
    SUMS = 32 * 32      /* of a span: four tiles of f32, as a square */
};

size_t hone__narrow_scratch_amx(const hone__narrow_product *p, int64_t spans)
{
    return (size_t)((p->k + 31) / 32) * SQUARE + 2 * SQUARE + (size_t)(spans * SUMS) * sizeof(float);
}

/* Rows [i, i + 32) by columns [j, j + 32) in pairs. Tile 0 gets the columns 0-3, 8-11, 16-19 and 24-27, tile 1 the others. */
INLINE void pair_square(const hone__narrow_product *p, const bool whole, int64_t i, int64_t j, char *to)
{
    const uint16_t *from = p->wide + i * p->wide_row + j;
    const __mmask32 mask = first32(p->n - j);
    for (int r = 0; r < 32; r += 2, from += 2 * p->wide_row, to += 64) {
        __m512i a = _mm512_setzero_si512(), b = a;
        if (whole) {
            a = _mm512_loadu_si512(from);
            b = _mm512_loadu_si512(from + p->wide_row);
        } else {
            if (i + r < p->k) a = _mm512_maskz_loadu_epi16(mask, from);
            if (i + r + 1 < p->k) b = _mm512_maskz_loadu_epi16(mask, from + p->wide_row);
        }
        _mm512_store_si512(to, _mm512_unpacklo_epi16(a, b));
        _mm512_store_si512(to + TILE, _mm512_unpackhi_epi16(a, b));
    }
}

/* Onto the tiles 0 and 1, or 2 and 3 of odd squares, so that four products are on their way; with two tiles of the narrow one
   onto all of them. */
INLINE void multiply(const bool two, const bool odd, const char *narrow, const char *wide)
{
    _tile_loadd(4, narrow, 64);
    _tile_loadd(6, wide, 64);
    _tile_loadd(7, wide + TILE, 64);
    if (odd) {
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 4, 7);
    } else {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
    }
    if (two) {
        _tile_loadd(5, narrow + TILE, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* What rows [i, end) add to the sums of the span from column j on. */
INLINE void multiply_span(const hone__narrow_product *p, const bool two, const bool whole, int64_t i, int64_t end, int64_t j,
                          const char *narrow, char *paired, float *sums)
{
    begin_square(sums, 32, i > 0);
    for (; i < end; i += 64) {
        pair_square(p, whole, i, j, paired);
        multiply(two, false, narrow + i / 32 * SQUARE, paired);
        if (i + 32 >= end) break;
        pair_square(p, whole, i + 32, j, paired + SQUARE);
        multiply(two, !two, narrow + (i / 32 + 1) * SQUARE, paired + SQUARE);
    }
    store_square(sums, 32);
}

/* Rows of 16 sums of two tiles as 32 neighbouring columns. */
INLINE void in_order(__m512 even, __m512 odd, __m512 *low, __m512 *high)
{
    const __m512i first = _mm512_set_epi32(23, 22, 21, 20, 7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
    *low = _mm512_permutex2var_ps(even, first, odd);
    *high = _mm512_permutex2var_ps(even, _mm512_add_epi32(first, _mm512_set1_epi32(8)), odd);
}

INLINE void put(const hone__narrow_product *p, int64_t at, __mmask16 mask, __m512 x)
{
    if (p->add) x = _mm512_add_ps(x, load_real(p->c, p->half, at, mask));
    store_real(p->c, p->half, at, mask, x);
}

/* C's columns from j on, and of the narrow one's from r on: of two tiles, or of the two below them as well. */
static void finish(const hone__narrow_product *p, int64_t r, int64_t j, const float *sums, bool both)
{
    __m512i half[2][16];
    for (int i = 0; i < 16; i++, sums += 32) {
        __m512 low, high, even = _mm512_load_ps(sums), odd = _mm512_load_ps(sums + 16);
        if (both) even = _mm512_add_ps(even, _mm512_load_ps(sums + 512)), odd = _mm512_add_ps(odd, _mm512_load_ps(sums + 528));
        in_order(even, odd, &low, &high);
        half[0][i] = _mm512_castps_si512(low), half[1][i] = _mm512_castps_si512(high);
    }
    for (int h = 0; h < 2; h++, j += 16) {
        if (p->turned) transpose16(half[h]);
        int64_t rows = p->turned ? p->n - j : p->r - r;
        __mmask16 mask = first_lanes(p->turned ? p->r - r : p->n - j);
        for (int64_t i = 0; i < HONE_MIN(rows, 16); i++)
            put(p, p->turned ? (j + i) * p->c_row + r : (r + i) * p->c_row + j, mask, _mm512_castsi512_ps(half[h][i]));
    }
}

/* Rows [i, end) by columns [j, j_end), to the second cache. */
INLINE void fetch(const hone__narrow_product *p, int64_t i, int64_t end, int64_t j, int64_t j_end)
{
    for (; i < HONE_MIN(end, p->k); i++)
        for (int64_t c = j; c < HONE_MIN(j_end, p->n); c += 32) _mm_prefetch(p->wide + i * p->wide_row + c, _MM_HINT_T1);
}

INLINE void run(const hone__narrow_product *p, const bool two, int64_t begin, int64_t end, char *scratch)
{
    char *paired = scratch + (p->k + 31) / 32 * SQUARE;
    float *sums = (float *)(void *)(paired + 2 * SQUARE);
    const int64_t spans = end - begin, j0 = begin * SPAN, j1 = end * SPAN;
    hone__gemm_pack_amx(scratch, 0, &p->narrow, 1, 0, p->r, p->k, 1, false);
    open_full_tiles();
    for (int64_t i = 0; i < p->k; i += ROWS) {
        int64_t i_end = HONE_MIN(i + ROWS, p->k);
        for (int64_t s = 0; s < spans; s++) {
            int64_t j = j0 + s * SPAN;
            bool whole = i_end - i == ROWS && j + SPAN <= p->n;
            fetch(p, i + ROWS + ROWS * s / spans, i + ROWS + ROWS * (s + 1) / spans, j0, j1);
            if (whole) multiply_span(p, two, true, i, i_end, j, scratch, paired, sums + s * SUMS);
            else multiply_span(p, two, false, i, i_end, j, scratch, paired, sums + s * SUMS);
        }
    }
    _tile_release();
    for (int64_t s = 0; s < spans; s++) {
        finish(p, 0, j0 + s * SPAN, sums + s * SUMS, !two);
        if (two) finish(p, 16, j0 + s * SPAN, sums + s * SUMS + 512, false);
    }
}

void hone__narrow_amx(const hone__narrow_product *p, int64_t begin, int64_t end, char *scratch)
{
    if (p->r > 16) run(p, true, begin, end, scratch);
    else run(p, false, begin, end, scratch);
}
