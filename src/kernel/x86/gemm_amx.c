/* Products of bf16 and f32 matrices with AMX: TDPBF16PS multiplies a tile of 16 x 32 by one of 32 x 16 (in pairs of k) into 16 x 16
   f32. A panel is packed tile after tile, as the unit loads them; two panels make 32 x 32 of C in four tiles. Every TDPBF16PS
   needs a load of 1 KB, which the second cache is too slow for: so a chunk of a panel of B stays in the first one while a
   thread's stretch of A, in its second cache, streams by; sums that are not complete lie in the second cache, too.
   What costs beside that is memory. Operands are read in runs as long as they have, and C is written 128 bytes at a time,
   past the caches where it is larger than they are: single lines of 64 bytes take four times as long. Line buffers that stores
   occupy are kept from the loads of tiles: so bf16 products write a row of C at a time, beside the tiles' work (`meanwhile`).
   An f32 is the sum of three bf16 (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For
   Higher-Precision Computations"): six products of such parts give what one of f32 gives, in less than half its time. What is
   left out is 2^-26 of a product; what is infinite, or above bf16's 3.39e38, becomes NaN. */
#include "kernel/x86/gemm.h"
#include "kernel/x86/avx512.h"
#include "kernel/x86/tiles.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    PANEL = HONE__GEMM_PANEL,
    SQUARE = 2048,     /* bytes of 32 x 32 */
    WIDE = 2 * PANEL,  /* columns that are written at once */
    CHUNK = 18,        /* squares of B in the first cache */
    CHUNK_F32 = 48,    /* thrice as many in the second one: each is loaded for more products */
    AHEAD = 2048,      /* bytes of an operand's row that are fetched before they are packed; half of it is slower than nothing */
    FETCHED = 2,       /* lines of the next panels of B that are fetched beside a square's products */
    STRETCH = 3 << 18, /* bytes of A in the second one, and the most panels that they are */
    MOST_PANELS = HONE__GEMM_SUMS / (PANEL * WIDE * 4)
};

/* ---- packing ---- */

INLINE float f16_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

/* A block of 32 nibbles: one of the 16 values that scale and minimum make. */
INLINE __m512i nibbles(const uint8_t *q, float scale, float minimum, float shift)
{
    const __m512 count = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512 steps = _mm512_sub_ps(count, _mm512_set1_ps(shift));
    __m256i values = (__m256i)_mm512_cvtneps_pbh(_mm512_fmadd_ps(_mm512_set1_ps(scale), steps, _mm512_set1_ps(minimum)));
    __m256i both = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)q));
    __m512i index = _mm512_inserti64x4(_mm512_castsi256_si512(both), _mm256_srli_epi16(both, 4), 1);
    return _mm512_permutexvar_epi16(_mm512_and_si512(index, _mm512_set1_epi16(15)), _mm512_castsi256_si512(values));
}

typedef struct pair {
    __m512 low, high;
} pair;

/* A block of 32 nibbles as f32. */
INLINE pair nibbles_f32(const uint8_t *q, float scale, float minimum, float shift)
{
    __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)q));
    __m512 by = _mm512_set1_ps(scale), less = _mm512_set1_ps(minimum - shift * scale);
    __m512 low = _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15)));
    __m512 high = _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4));
    return (pair){_mm512_fmadd_ps(low, by, less), _mm512_fmadd_ps(high, by, less)};
}

/* 32 neighbours from element `at` on as f32; of plain types only the first n, zeros behind them. */
INLINE pair load_f32(const void *data, hone_dtype type, int64_t at, int64_t n)
{
    switch (type) {
    case HONE_F32: {
        __mmask32 mask = first32(n);
        const float *x = (const float *)data + at;
        return (pair){_mm512_maskz_loadu_ps((__mmask16)mask, x), _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), x + 16)};
    }
    case HONE_BF16: return (pair){load_real(data, true, at, first_lanes(n)), load_real(data, true, at + 16, first_lanes(n - 16))};
    case HONE_Q4_0: {
        const uint8_t *b = (const uint8_t *)data + at / 32 * 18;
        return nibbles_f32(b + 2, f16_at(b), 0, 8);
    }
    case HONE_Q4_1: {
        const uint8_t *b = (const uint8_t *)data + at / 32 * 20;
        return nibbles_f32(b + 4, f16_at(b), f16_at(b + 2), 0);
    }
    default: { /* q8_0 */
        const uint8_t *b = (const uint8_t *)data + at / 32 * 34;
        __m512 scale = _mm512_set1_ps(f16_at(b));
        __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(b + 2))));
        __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(b + 18))));
        return (pair){_mm512_mul_ps(low, scale), _mm512_mul_ps(high, scale)};
    }
    }
}

INLINE __m512i to_bf16(pair x) { return (__m512i)_mm512_cvtne2ps_pbh(x.high, x.low); }

/* 32 neighbours as bf16. */
INLINE __m512i load(const void *data, hone_dtype type, int64_t at, int64_t n)
{
    switch (type) {
    case HONE_BF16: return _mm512_maskz_loadu_epi16(first32(n), (const uint16_t *)data + at);
    case HONE_Q4_0: {
        const uint8_t *b = (const uint8_t *)data + at / 32 * 18;
        return nibbles(b + 2, f16_at(b), 0, 8);
    }
    case HONE_Q4_1: {
        const uint8_t *b = (const uint8_t *)data + at / 32 * 20;
        return nibbles(b + 4, f16_at(b), f16_at(b + 2), 0);
    }
    default: return to_bf16(load_f32(data, type, at, n));
    }
}

INLINE void turn(char *tile)
{
    __m512i r[16];
    for (int j = 0; j < 16; j++) r[j] = _mm512_load_si512(tile + j * 64);
    transpose16(r);
    for (int j = 0; j < 16; j++) _mm512_store_si512(tile + j * 64, r[j]);
}

/* 32 elements of plain type that will be read soon: what memory gives in the packing's own order is known beforehand. */
INLINE void fetch_ahead(const void *data, hone_dtype type, int64_t at, int64_t bytes)
{
    if (type != HONE_F32 && type != HONE_BF16) return;
    const char *p = (const char *)data + at * (type == HONE_F32 ? 4 : 2) + bytes;
    _mm_prefetch(p, _MM_HINT_T0);
    if (type == HONE_F32) _mm_prefetch(p + 64, _MM_HINT_T0);
}

/* 16 rows (columns) whose neighbours lie along k: ready for A; turned tile by tile for B. */
INLINE void pack_along(char *to, const hone__gemm_operand *x, hone_dtype type, int64_t at, int64_t left, int64_t k, bool pairs)
{
    for (int64_t i = 0; i < 16; i++) {
        char *row = to + i * 64;
        int64_t from = (at + i) * x->other;
        for (int64_t p = 0; p < k; p += 32, row += SQUARE) {
            fetch_ahead(x->data, type, from + p, AHEAD);
            _mm512_store_si512(row, i < left ? load(x->data, type, from + p, k - p) : _mm512_setzero_si512());
        }
    }
    for (int64_t p = 0; pairs && p < k; p += 32) turn(to + p / 32 * SQUARE);
}

/* 32 of k, `count` panels wide, whose neighbours lie along the other axis: in pairs, ready for B; turned for A. */
INLINE void pack_across(char *to, size_t panel, const hone__gemm_operand *x, hone_dtype type, int64_t at, int64_t left, int64_t p,
                        int64_t k, int64_t count, bool pairs)
{
    const __m512i zero = _mm512_setzero_si512();
    for (int64_t i = p; i < p + 32; i += 2)
        for (int64_t c = 0; c < count; c++) {
            int64_t from = i * x->along + at + c * PANEL, rest = left - c * PANEL;
            char *row = to + (size_t)c * panel + (i - p) / 2 * 64;
            __m512i low, high;
            fetch_ahead(x->data, type, from + 2 * x->along, 0);
            fetch_ahead(x->data, type, from + 3 * x->along, 0);
            pair_rows(i < k ? load(x->data, type, from, rest) : zero, i + 1 < k ? load(x->data, type, from + x->along, rest) : zero,
                      &low, &high);
            _mm512_store_si512(row, low);
            _mm512_store_si512(row + 1024, high);
        }
    for (int64_t c = 0; !pairs && c < count; c++) turn(to + (size_t)c * panel), turn(to + (size_t)c * panel + 1024);
}

/* In the order of memory: whole rows. Square by square, 32 rows would be read at once, which no cache fetches ahead. */
INLINE void pack_halves(char *to, size_t panel, const hone__gemm_operand *x, hone_dtype type, int64_t at, int64_t left, int64_t k,
                        int64_t count, bool pairs)
{
    if (x->along == 1)
        for (int64_t i = 0; i < 2 * count; i++)
            pack_along(to + (size_t)(i / 2) * panel + i % 2 * 1024, x, type, at + 16 * i, left - 16 * i, k, pairs);
    else
        for (int64_t p = 0; p < k; p += 32) pack_across(to + p / 32 * SQUARE, panel, x, type, at, left, p, k, count, pairs);
}

/* ---- packing three parts ----
   Which two terms are a pair is free, if both operands agree: here term j and term j + 16 of 32. So a vector of each is two
   halves of the same lanes, and what splits them needs nothing that moves between lanes. */

/* A row of a tile of each square: x's parts low, y's high. Rounded by adding half of the last place that stays: ties aside as
   to_bf16 does, and the second rest has no more than 8 bits, so that the parts' sum is exact. */
INLINE void split(char *to, __m512 x, __m512 y)
{
    const __m512i upper = _mm512_set1_epi32((int)0xFFFF0000), half = _mm512_set1_epi32(0x8000);
    for (int q = 0; q < 3; q++, to += SQUARE) {
        __m512i low = _mm512_castps_si512(x), high = _mm512_castps_si512(y);
        if (q < 2) low = _mm512_add_epi32(low, half), high = _mm512_add_epi32(high, half);
        _mm512_store_si512(to, _mm512_ternarylogic_epi32(upper, high, _mm512_srli_epi32(low, 16), 0xEA)); /* upper & high | low */
        x = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(low, upper)));
        y = _mm512_sub_ps(y, _mm512_castsi512_ps(_mm512_and_si512(high, upper)));
    }
}

/* Of 16 x 16 the rows, or, turned, the columns 4 c to 4 c + 3. */
INLINE void four_of(__m512 to[4], const float *x, int64_t row, int c, bool turned)
{
    __m512 r[4];
    for (int i = 0; i < 4; i++) {
        const float *from = turned ? x + i * row + 4 * c : x + (4 * c + i) * row;
        to[i] = r[i] = turned ? _mm512_castps128_ps512(_mm_loadu_ps(from)) : _mm512_loadu_ps(from);
        if (!turned) continue;
        r[i] = _mm512_insertf32x4(r[i], _mm_loadu_ps(from + 4 * row), 1);
        r[i] = _mm512_insertf32x4(r[i], _mm_loadu_ps(from + 8 * row), 2);
        r[i] = _mm512_insertf32x4(r[i], _mm_loadu_ps(from + 12 * row), 3);
    }
    if (!turned) return;
    __m512d low[2] = {_mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1])), _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]))};
    __m512d high[2] = {_mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1])), _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]))};
    to[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
    to[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
    to[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
    to[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
}

/* 32 x 32, neighbours along k or along the other axis, into three squares. */
INLINE void split_square(char *to, const float *x, int64_t row, bool along, bool turned)
{
    for (int h = 0; h < 2; h++, to += 1024) {
        const float *first = x + 16 * h * (along ? row : 1), *second = first + 16 * (along ? 1 : row);
        for (int c = 0; c < 4; c++) {
            __m512 v[4], w[4];
            four_of(v, first, row, c, turned);
            four_of(w, second, row, c, turned);
            for (int i = 0; i < 4; i++) split(to + (4 * c + i) * 64, v[i], w[i]);
        }
    }
}

INLINE void pack_parts(char *to, const hone__gemm_operand *x, hone_dtype type, int64_t at, int64_t left, int64_t p, int64_t k,
                       bool pairs)
{
    bool along = x->along == 1;
    int64_t row = along ? x->other : x->along, start = along ? at * row + p : p * row + at;
    int64_t rows = HONE_MIN(along ? left : k - p, 32), columns = HONE_MIN(along ? k - p : left, 32);
    const float *from = (const float *)x->data + start;
    _Alignas(64) float whole[32 * 32];
    if (type != HONE_F32 || rows < 32 || columns < 32) {
        for (int64_t i = 0; i < 32; i++) {
            pair v = {_mm512_setzero_ps(), _mm512_setzero_ps()};
            if (i < rows) v = load_f32(x->data, type, start + i * row, columns);
            _mm512_store_ps(whole + i * 32, v.low);
            _mm512_store_ps(whole + i * 32 + 16, v.high);
        }
        from = whole;
        row = 32;
    }
    if (along)
        split_square(to, from, row, true, pairs);
    else
        split_square(to, from, row, false, !pairs);
}

bool hone__gemm_reads_amx(hone_dtype type)
{
    return type == HONE_F32 || type == HONE_BF16 || type == HONE_Q4_0 || type == HONE_Q4_1 || type == HONE_Q8_0;
}

INLINE void pack_thirds(char *to, size_t panel, const hone__gemm_operand *x, hone_dtype type, int64_t at, int64_t left, int64_t k,
                        int64_t count, bool pairs)
{
    int64_t squares = (k + 31) / 32, outer = x->along == 1 ? count : squares, inner = x->along == 1 ? squares : count;
    for (int64_t i = 0; i < outer; i++)
        for (int64_t j = 0; j < inner; j++) {
            int64_t c = x->along == 1 ? i : j, s = x->along == 1 ? j : i; /* in the order that memory has */
            pack_parts(to + (size_t)c * panel + s * 3 * SQUARE, x, type, at + c * PANEL, left - c * PANEL, s * 32, k, pairs);
        }
}

void hone__gemm_pack_amx(void *to, size_t panel, const hone__gemm_operand *x, int parts, int64_t at, int64_t left, int64_t k,
                         int64_t count, bool pairs)
{
#define PACK(type_) \
    case type_: \
        if (parts == 1) \
            pack_halves(to, panel, x, type_, at, left, k, count, pairs); \
        else \
            pack_thirds(to, panel, x, type_, at, left, k, count, pairs); \
        break
    switch (x->type) {
        PACK(HONE_BF16);
        PACK(HONE_F32);
        PACK(HONE_Q4_0);
        PACK(HONE_Q4_1);
        PACK(HONE_Q8_0);
    default: break;
    }
#undef PACK
}

/* ---- multiplying ---- */

/* What goes on beside the tiles' work, a little with each square: of the columns before these, complete rows of sums go to C
   one by one, as a whole panel's would keep the line buffers from the loads of tiles; the panel of B that comes next is
   fetched, which may lie in another thread's cache. */
typedef struct meanwhile {
    const hone__gemm_product *g;
    const float *sums;       /* [rows, WIDE] */
    int64_t i, j, columns;   /* where in C they begin; how many columns they have */
    int64_t row, complete;   /* the first row that is to be written, and the first one that is not complete */
    const char *next, *end;  /* of B */
} meanwhile;

/* A row of sums + bias, + C, to C. */
INLINE void write_row(const hone__gemm_product *g, int64_t i, int64_t j, int64_t columns, const float *sums)
{
    int64_t at = i * g->c_row + j;
    if (i >= g->m) return;
    if (g->stream && columns == WIDE) { /* past the caches */
        __m512 x[4];
        for (int q = 0; q < 4; q++) x[q] = _mm512_load_ps(sums + 16 * q);
        if (g->bias)
            for (int q = 0; q < 4; q++) x[q] = _mm512_add_ps(x[q], _mm512_loadu_ps(g->bias + j + 16 * q));
        if (g->half) {
            _mm512_stream_si512((void *)((uint16_t *)g->c + at), (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
            _mm512_stream_si512((void *)((uint16_t *)g->c + at + 32), (__m512i)_mm512_cvtne2ps_pbh(x[3], x[2]));
        } else {
            for (int q = 0; q < 4; q++) _mm512_stream_ps((float *)g->c + at + 16 * q, x[q]);
        }
        return;
    }
    for (int64_t q = 0; q < columns; q += 16) {
        __mmask16 mask = first_lanes(columns - q);
        __m512 x = _mm512_load_ps(sums + q);
        if (g->bias) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, g->bias + j + q));
        if (g->add) x = _mm512_add_ps(x, load_real(g->c, g->half, at + q, mask));
        store_real(g->c, g->half, at + q, mask, x);
    }
}

INLINE void write_next(meanwhile *w)
{
    write_row(w->g, w->i + w->row, w->j, w->columns, w->sums + w->row * WIDE);
    w->row++;
}

/* All that is complete below the end-th row. */
static void write_until(meanwhile *w, int64_t end)
{
    while (w->row < HONE_MIN(w->complete, end)) write_next(w);
}

/* Onto the tiles 0 to 3. */
INLINE void multiply(const char *a, const char *b, int64_t squares, meanwhile *w)
{
    for (int64_t s = 0; s < squares; s++, a += SQUARE, b += SQUARE) {
        _tile_stream_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + 1024, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_stream_loadd(5, a + 1024, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        if (w && w->row < w->complete) write_next(w);
        for (int f = 0; f < FETCHED && w && w->next < w->end; f++, w->next += 64) _mm_prefetch(w->next, _MM_HINT_T1);
    }
}

/* Square by square, the left operand's in the tiles 4 and 5 and the right one's in 6 and 7. */
INLINE void left(const char *a)
{
    _tile_stream_loadd(4, a, 64);
    _tile_stream_loadd(5, a + 1024, 64);
}
INLINE void right(const char *b)
{
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + 1024, 64);
}
INLINE void times(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* The same of f32 in three parts, of 8 bits each: the six products of parts that an f32 product's 24 bits reach, smallest
   first, as far as each shares an operand with the one before. */
INLINE void multiply_f32(const char *a, const char *b, int64_t squares)
{
    for (int64_t s = 0; s < squares; s++, a += 3 * SQUARE, b += 3 * SQUARE) {
        left(a), right(b + 2 * SQUARE), times();
        right(b + SQUARE), times();
        left(a + SQUARE), times();
        right(b), times();
        left(a + 2 * SQUARE), times();
        left(a), times();
    }
}

/* 32 x 32 sums in rows `row` apart: of `squares` squares, of so many parts, and of what `begin` has, rows `begin_row` apart
   (0: one for all), unless that is NULL. */
INLINE void multiply_panels(float *sums, int64_t row, const char *a, const char *b, int64_t squares, int parts, const float *begin,
                            int64_t begin_row, meanwhile *w)
{
    begin_square(begin, begin_row, begin != NULL);
    if (parts == 1)
        multiply(a, b, squares, w);
    else
        multiply_f32(a, b, squares);
    store_square(sums, row);
}

void hone__gemm_inner_amx(char *a, size_t panel, int64_t k, int64_t m, int64_t m0, int64_t m1, const char *p, int64_t rank,
                          float scale, void *inner)
{
    _Alignas(64) float sums[PANEL * WIDE];
    int64_t squares = (k + 31) / 32;
    __m512 by = _mm512_set1_ps(scale);
    open_full_tiles();
    for (int64_t i = m0 * PANEL; i < m1 * PANEL; i++) {
        char *own = a + (size_t)(i / PANEL - m0) * panel;
        if (i % PANEL == 0) multiply_panels(sums, WIDE, own, p, squares, 1, NULL, 0, NULL);
        const float *sum = sums + i % PANEL * WIDE;
        __m512 low = _mm512_mul_ps(_mm512_load_ps(sum), by), high = _mm512_mul_ps(_mm512_load_ps(sum + 16), by);
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(own + squares * SQUARE + i % PANEL / 16 * 1024 + i % 16 * 64, both);
        if (inner && i < m) _mm512_mask_storeu_epi16((uint16_t *)inner + i * rank, first32(rank), both);
    }
    _tile_release();
}

/* The part of C that will be added to, or written in single lines. */
INLINE void fetch(const hone__gemm_product *g, int64_t i, int64_t j, int64_t columns)
{
    int64_t size = g->half ? 2 : 4, end = HONE_MIN(g->n - j, columns) * size;
    for (int64_t r = i; r < HONE_MIN(i + PANEL, g->m); r++)
        for (int64_t at = 0; at < end; at += 64) _mm_prefetch((const char *)g->c + (r * g->c_row + j) * size + at, _MM_HINT_T1);
}

/* Can tiles be stored where C lies? Those of f32 in three parts, unless C is to be read, whose latency `finish` hides. */
static bool stores(const hone__gemm_product *g, int64_t rows, int64_t columns)
{
    return g->parts > 1 && !g->half && !g->stream && !g->take && !g->add && rows <= g->m && columns <= g->n;
}

/* A panel of sums, of columns from j on: handed over, written, or left for later. */
static void finish(const hone__gemm_product *g, int64_t i, int64_t j, int64_t columns, const float *sums, meanwhile *w)
{
    columns = HONE_MIN(columns, g->n - j);
    if (g->take) {
        g->take(g->arg, i, j, HONE_MIN(g->m - i, PANEL), columns, sums, WIDE);
        return;
    }
    if (g->parts > 1) { /* next to panels whose tiles are stored where C lies */
        for (int64_t r = 0; r < PANEL; r++) write_row(g, i + r, j, columns, sums + r * WIDE);
        return;
    }
    if (i == w->i) w->row = 0, w->j = j, w->columns = columns;
    w->complete = i - w->i + PANEL;
}

/* C's panels [m0, m1) by one or two columns of them. */
static void multiply_columns(const hone__gemm_product *g, const char *a, int64_t m0, int64_t m1, const char *b, int64_t n,
                             int64_t count, float *sums, meanwhile *w)
{
    const int64_t size = g->parts * SQUARE, most = g->parts == 1 ? CHUNK : CHUNK_F32;
    int64_t panel = (int64_t)g->panel, squares = panel / size, chunks = (squares + most - 1) / most;
    if (count == 1) write_until(w, w->complete);
    for (int64_t q = 0; q < count; q++)
        for (int64_t c = 0; c < chunks; c++) {
            int64_t first = squares * c / chunks, some = squares * (c + 1) / chunks - first;
            bool last = c == chunks - 1, complete = last && q == count - 1;
            for (int64_t m = m0; m < m1; m++) {
                const char *panel_a = a + (m - m0) * panel + first * size, *panel_b = b + q * panel + first * size;
                float *all = sums + (m - m0) * PANEL * WIDE, *own = all + q * PANEL;
                if (stores(g, (m + 1) * PANEL, (n + count) * PANEL)) {
                    bool biased = c == 0 && g->bias;
                    own = (float *)g->c + m * PANEL * g->c_row + (n + q) * PANEL;
                    if (last) fetch(g, m * PANEL, (n + q) * PANEL, PANEL);
                    multiply_panels(own, g->c_row, panel_a, panel_b, some, g->parts,
                                    biased ? g->bias + (n + q) * PANEL : c > 0 ? own : NULL, biased ? 0 : g->c_row, NULL);
                    continue;
                }
                if (complete && g->add) fetch(g, m * PANEL, n * PANEL, WIDE);
                if (q == 0 && c == 0) write_until(w, (m - m0) * PANEL + PANEL - some);
                multiply_panels(own, WIDE, panel_a, panel_b, some, g->parts, c > 0 ? own : NULL, WIDE, w);
                if (complete) finish(g, m * PANEL, n * PANEL, count * PANEL, all, w);
            }
        }
}

int64_t hone__gemm_stretch_amx(size_t panel) { return HONE_MIN(HONE_MAX(STRETCH / (int64_t)panel, 1), MOST_PANELS); }

void hone__gemm_multiply_amx(const hone__gemm_product *g, const char *a, int64_t m0, int64_t m1, const char *b, int64_t n0,
                             int64_t n1, int64_t start, void *sums)
{
    int64_t span = (n1 - n0 + 1) & ~1;
    meanwhile w = {.g = g, .sums = sums, .i = m0 * PANEL};
    open_full_tiles();
    for (int64_t i = n0; i < n1; i += 2) {
        int64_t n = i + start < n1 ? i + start : i + start - span;
        w.next = b + ((n + 2 < n1 ? n + 2 : n0) - n0) * (int64_t)g->panel;
        w.end = w.next + 2 * g->panel;
        multiply_columns(g, a, m0, m1, b + (n - n0) * (int64_t)g->panel, n, HONE_MIN(n1 - n, 2), sums, &w);
    }
    write_until(&w, w.complete);
    _tile_release();
    if (g->stream) _mm_sfence();
}
