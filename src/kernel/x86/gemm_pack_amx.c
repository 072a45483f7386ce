/* Packing of matrices into the panels that gemm_amx.c multiplies: 32 rows of A or columns of B, tile after tile, as bf16 or in three
   parts of f32. Operands are read in runs as long as they have. */
#include "kernel/x86/gemm.h"
#include "kernel/x86/avx512.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    PANEL = HONE__GEMM_PANEL,
    EIGHTHS = HONE__GEMM_EIGHTHS,
    SQUARE = 2048, /* bytes of 32 x 32 */
    AHEAD = 2048   /* bytes of an operand's row that are fetched before they are packed; half of it is slower than nothing */
};

/* ---- packing bf16 ---- */

bool hone__gemm_reads_amx(hone_dtype type)
{
    return type == HONE_F32 || type == HONE_BF16 || type == HONE_Q4_0 || type == HONE_Q4_1 || type == HONE_Q8_0;
}

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

/* Of 32 x 32, neighbours along k or along the other axis, the part-th eighth into three squares. */
INLINE void split_eighth(char *to, const float *x, int64_t row, bool along, bool turned, int part)
{
    int h = part / 4, c = part % 4;
    const float *first = x + 16 * h * (along ? row : 1), *second = first + 16 * (along ? 1 : row);
    __m512 v[4], w[4];
    four_of(v, first, row, c, turned);
    four_of(w, second, row, c, turned);
    for (int i = 0; i < 4; i++) split(to + h * 1024 + (4 * c + i) * 64, v[i], w[i]);
}

INLINE void split_square(char *to, const float *x, int64_t row, bool along, bool turned)
{
    for (int part = 0; part < EIGHTHS; part++) split_eighth(to, x, row, along, turned, part);
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

void hone__gemm_pack_eighth_amx(char *to, const hone__gemm_operand *x, int64_t at, int64_t left, int64_t p, int64_t k, int part,
                                bool pairs)
{
    bool along = x->along == 1;
    int64_t row = along ? x->other : x->along;
    const float *from = (const float *)x->data + at * x->other + p * x->along;
    if (x->type != HONE_F32 || left < PANEL || k - p < 32) {
        if (part == 0) pack_parts(to, x, x->type, at, left, p, k, pairs);
    } else if (along && pairs) {
        split_eighth(to, from, row, true, true, part);
    } else if (along) {
        split_eighth(to, from, row, true, false, part);
    } else if (pairs) {
        split_eighth(to, from, row, false, false, part);
    } else {
        split_eighth(to, from, row, false, true, part);
    }
}
