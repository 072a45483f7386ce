/* Products of few rows by AMX. The weight is the left operand, 16 of its rows (a strip of y's columns) by 64 bytes a tile,
   and the activations are the right one, so that the weight needs no transposing: what it takes in is what was stored.

   int8: a tile of the weight holds two blocks of each of its rows. Sums may not cross blocks, whose scales differ, so a tile
   of activations has two columns for each of 8 rows of x: one with the values of the first block and zeros for the second,
   one the other way round. The 16 x 16 integers that come out are scaled and added up in vectors.

   bf16: tiles of the weight are loaded where they lie; up to 16 rows of x are the columns. */
#include "kernel/x86/blocks.h"
#include "kernel/x86/few_rows.h"
#include "kernel/x86/tiles.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    STRIP = HONE__STRIP,
    TILE = 1024,  /* bytes */
    AHEAD = 4096, /* bytes that bf16 fetches ahead */
    DEPTH = 2,    /* tiles of the weight a round */
    MOST_GROUPS = (HONE__TILE_ROWS + HONE__INT8_GROUP - 1) / HONE__INT8_GROUP
};

static int64_t pairs_of(int64_t k) { return (k / 32 + 1) / 2; }
static int64_t groups(int64_t rows, int64_t most) { return (rows + most - 1) / most; }

size_t hone__int8_tiles_values(int64_t rows, int64_t k) { return (size_t)(groups(rows, HONE__INT8_GROUP) * pairs_of(k)) * TILE; }
size_t hone__int8_tiles_scales(int64_t rows, int64_t k) { return hone__int8_tiles_values(rows, k) / 16; }
/* Of a strip: scales and minima of each block of each row, both as they are stored, and sums of each group. A round's
   tiles and products come first: side by side in 4 KB, so that no store looks like one to what is loaded. */
size_t hone__int8_strip_scratch(int64_t k)
{
    return (size_t)(2 * DEPTH * TILE) + (size_t)pairs_of(k) * (3 * 2 * STRIP * sizeof(float)) + (size_t)MOST_GROUPS * TILE;
}

/* ---- int8 ---- */

void hone__int8_tiles_amx(const hone__tiles *x, const hone__quantized_rows *from)
{
    int64_t blocks = x->k / 32, pairs = pairs_of(x->k);
    char *values = (char *)(uintptr_t)x->values;
    float *scales = (float *)(uintptr_t)x->scales, *sums = (float *)(uintptr_t)x->sums;
    for (int first = 0; first < x->rows; first += HONE__INT8_GROUP)
        for (int64_t p = 0; p < pairs; p++, values += TILE, scales += STRIP, sums += STRIP) {
            __m512i t[STRIP];
            _mm512_store_ps(scales, _mm512_setzero_ps());
            _mm512_store_ps(sums, _mm512_setzero_ps());
            for (int r = 0; r < HONE__INT8_GROUP; r++) {
                t[2 * r] = t[2 * r + 1] = _mm512_setzero_si512();
                if (first + r >= x->rows) continue;
                bool two = 2 * p + 1 < blocks;
                const int8_t *at = from->values[first + r] + p * 64;
                t[2 * r] = _mm512_maskz_loadu_epi32(0x00FF, at);
                if (two) t[2 * r + 1] = _mm512_maskz_loadu_epi32(0xFF00, at);
                memcpy(scales + 2 * r, from->scales[first + r] + 2 * p, two ? 8 : 4);
                memcpy(sums + 2 * r, from->sums[first + r] + 2 * p, two ? 8 : 4);
            }
            transpose16(t);
            for (int j = 0; j < STRIP; j++) _mm512_store_si512(values + j * 64, t[j]);
        }
}

/* A strip of the weight, and what is made of it. */
typedef struct strip {
    const uint8_t *row[STRIP]; /* of what is missing, the last row stands in */
    int64_t blocks, pairs;
    char *tiles;     /* (DEPTH): of a round */
    int32_t (*products)[STRIP][16]; /* (DEPTH): and what comes of them */
    float *d, *m;    /* (pairs, STRIP, 2) */
    uint32_t *heads; /* the same */
    float *sums;     /* (groups, STRIP, 16), where there are several groups */
} strip;

INLINE void read_scales(const block_layout f, const strip *s)
{
    for (int o = 0; o < STRIP; o++) {
        const uint8_t *row = s->row[o];
        uint32_t *head = s->heads + 2 * o;
        for (int64_t p = 0; p < s->pairs; p++, row += 2 * f.bytes, head += 2 * STRIP) {
            memcpy(head, row, 4);
            memcpy(head + 1, 2 * p + 1 < s->blocks ? row + f.bytes : row, 4);
        }
    }
    for (int64_t i = 0; i < s->pairs * 2 * STRIP; i += 16) {
        __m512 scale, minimum;
        head_scales(f, _mm512_load_si512(s->heads + i), &scale, &minimum);
        _mm512_store_ps(s->d + i, scale);
        if (f.nibbles) _mm512_store_ps(s->m + i, minimum);
    }
}

/* Pairs [p, p + n) as tiles. */
INLINE void unpack(const block_layout f, const strip *s, int64_t p, int64_t n, char *to)
{
    for (int o = 0; o < STRIP; o++, to += 64) {
        const uint8_t *row = s->row[o] + 2 * p * f.bytes;
        for (int64_t i = 0; i < n; i++, row += 2 * f.bytes)
            _mm512_store_si512(to + i * TILE, block_values(f, row, 2 * (p + i) + 1 < s->blocks ? row + f.bytes : row));
    }
}

/* Product i: the weight's tile i times the activations' tile i. */
#define MULTIPLY(i, left, right)                  \
    do {                                          \
        _tile_zero(i);                            \
        _tile_loadd(left, a + (i) * TILE, 64);    \
        _tile_loadd(right, b + (i) * TILE, 64);   \
        if (f.nibbles)                            \
            _tile_dpbusd(i, left, right);         \
        else                                      \
            _tile_dpbssd(i, left, right);         \
        _tile_stored(i, s->products[i], 64);      \
    } while (0)
INLINE void multiply(const block_layout f, const strip *s, const char *b, int64_t n)
{
    const char *a = s->tiles;
    MULTIPLY(0, 4, 5);
    if (n > 1) MULTIPLY(1, 6, 7);
}

/* The pair of floats at x, eight times. */
INLINE __m512 both(const float *x)
{
    double pair;
    memcpy(&pair, x, sizeof pair);
    return _mm512_castpd_ps(_mm512_set1_pd(pair));
}

/* sum[o] += the products of pairs [p, p + n): lane 2 r + i is row r's, over the blocks i, i + 2, ... */
INLINE void scale(const block_layout f, const strip *s, const hone__tiles *x, int64_t group, int64_t p, int64_t n,
                  __m512 sum[STRIP])
{
    const float *scales = x->scales + (group * s->pairs + p) * STRIP, *totals = x->sums + (group * s->pairs + p) * STRIP;
    const float *d = s->d + p * 2 * STRIP, *m = s->m + p * 2 * STRIP;
    for (int64_t i = 0; i < n; i++, d += 2 * STRIP, m += 2 * STRIP) {
        __m512 factor = _mm512_load_ps(scales + i * STRIP), total = _mm512_load_ps(totals + i * STRIP);
#pragma GCC unroll 16
        for (int o = 0; o < STRIP; o++) {
            __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(s->products[i][o])), factor);
            sum[o] = _mm512_fmadd_ps(v, both(d + 2 * o), sum[o]);
            if (f.nibbles) sum[o] = _mm512_fmadd_ps(total, both(m + 2 * o), sum[o]);
        }
    }
}

/* The same with the group's sums in memory, unless it is the only one. */
INLINE void scale_group(const block_layout f, const bool one, const strip *s, const hone__tiles *x, int64_t group, int64_t p,
                        int64_t n, __m512 sum[STRIP])
{
    float *kept = s->sums + group * STRIP * 16;
    for (int o = 0; o < STRIP && !one; o++) sum[o] = p ? _mm512_load_ps(kept + o * 16) : _mm512_setzero_ps();
    scale(f, s, x, group, p, n, sum);
    for (int o = 0; o < STRIP && !one; o++) _mm512_store_ps(kept + o * 16, sum[o]);
}

/* All groups' sums, of one group in registers. A round's products are scaled after the next one's weights are unpacked, and
   in front of its products: nobody waits for a tile. Meanwhile what lies at `ahead`, the next strip, is fetched. */
INLINE void multiply_strip(const block_layout f, const bool one, const strip *s, const hone__tiles *x, const uint8_t *ahead,
                           __m512 sum[STRIP])
{
    int64_t n_groups = one ? 1 : groups(x->rows, HONE__INT8_GROUP), last_p = 0, last_g = 0, last_n = 0;
    for (int64_t p = 0; p < s->pairs; p += DEPTH) {
        int64_t n = HONE_MIN(s->pairs - p, (int64_t)DEPTH);
        unpack(f, s, p, n, s->tiles);
        for (int64_t i = 0; i < n * 2 * STRIP * f.bytes; i += 64)
            _mm_prefetch((const char *)ahead + p * 2 * STRIP * f.bytes + i, _MM_HINT_T1);
        for (int64_t g = 0; g < n_groups; g++) {
            if (last_n) scale_group(f, one, s, x, last_g, last_p, last_n, sum);
            multiply(f, s, x->values + (g * s->pairs + p) * TILE, n);
            last_p = p, last_g = g, last_n = n;
        }
    }
    scale_group(f, one, s, x, last_g, last_p, last_n, sum);
}

/* y's row r from column c on, the lanes of mask. */
INLINE void finish(const hone__tiles_product *p, int64_t r, int64_t c, __mmask16 mask, __m512 sum)
{
    if (p->bias) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, p->bias + c));
    store_real(p->y, p->half, r * p->n + c, mask, sum);
}

INLINE void int8_strips(const block_layout f, const hone__tiles_product *p, int64_t begin, int64_t end, char *scratch)
{
    const hone__tiles *x = p->x;
    strip s = {.blocks = x->k / 32, .pairs = pairs_of(x->k), .tiles = scratch, .products = (void *)(scratch + DEPTH * TILE)};
    s.d = (float *)(void *)(scratch + 2 * DEPTH * TILE);
    s.m = s.d + s.pairs * 2 * STRIP;
    s.heads = (uint32_t *)(void *)(s.m + s.pairs * 2 * STRIP);
    s.sums = (float *)(void *)(s.heads + s.pairs * 2 * STRIP);
    for (int64_t c = begin * STRIP; c < HONE_MIN(end * STRIP, p->n); c += STRIP) {
        int64_t columns = HONE_MIN(p->n - c, (int64_t)STRIP), row = s.blocks * f.bytes;
        const uint8_t *ahead = p->w + (c + STRIP) * row;
        __m512 sum[STRIP];
        for (int o = 0; o < STRIP; o++) s.row[o] = p->w + (c + HONE_MIN(o, columns - 1)) * row, sum[o] = _mm512_setzero_ps();
        read_scales(f, &s);
        bool one = x->rows <= HONE__INT8_GROUP;
        if (one) multiply_strip(f, true, &s, x, ahead, sum);
        else multiply_strip(f, false, &s, x, ahead, sum);
        for (int64_t first = 0; first < x->rows; first += HONE__INT8_GROUP) {
            __m512i t[STRIP];
            const float *kept = s.sums + first / HONE__INT8_GROUP * STRIP * 16;
            for (int o = 0; o < STRIP; o++) t[o] = one ? _mm512_castps_si512(sum[o]) : _mm512_load_si512(kept + o * 16);
            transpose16(t);
            for (int64_t r = 0; r < HONE_MIN(x->rows - first, HONE__INT8_GROUP); r++)
                finish(p, first + r, c, first_lanes(columns),
                       _mm512_add_ps(_mm512_castsi512_ps(t[2 * r]), _mm512_castsi512_ps(t[2 * r + 1])));
        }
    }
}

void hone__int8_strips_amx(const hone__tiles_product *p, int64_t begin, int64_t end, void *scratch)
{
    open_full_tiles();
    switch (p->format) {
    case HONE_Q4_0: int8_strips((block_layout)BLOCK_Q4_0, p, begin, end, scratch); break;
    case HONE_Q4_1: int8_strips((block_layout)BLOCK_Q4_1, p, begin, end, scratch); break;
    default: int8_strips((block_layout)BLOCK_Q8_0, p, begin, end, scratch); break;
    }
    _tile_release();
}

/* ---- bf16 ---- */

/* Columns that a tile of activations has room for: no more than there are rows, so that little is loaded. */
static int64_t room_of(int64_t rows)
{
    int64_t room = 1;
    while (room < rows && room < HONE__BF16_GROUP) room *= 2;
    return room;
}

size_t hone__bf16_tiles_values(int64_t rows, int64_t k)
{
    return (size_t)(groups(rows, HONE__BF16_GROUP) * (k / 32) * STRIP * room_of(rows) * 4);
}

void hone__bf16_tiles_amx(const hone__tiles *x, const uint16_t *from)
{
    int64_t room = room_of(x->rows), steps = x->k / 32;
    char *to = (char *)(uintptr_t)x->values;
    if (room == 1) {
        memcpy(to, from, (size_t)x->k * 2);
        return;
    }
    for (int64_t first = 0; first < x->rows; first += HONE__BF16_GROUP)
        for (int64_t s = 0; s < steps; s++) {
            __m512i t[STRIP];
            for (int64_t r = 0; r < STRIP; r++)
                t[r] = first + r < x->rows ? _mm512_loadu_si512(from + (first + r) * x->k + s * 32) : _mm512_setzero_si512();
            transpose16(t);
            for (int j = 0; j < STRIP; j++, to += room * 4) _mm512_mask_storeu_epi32(to, first_lanes(room), t[j]);
        }
}

/* Sums of even steps in tile 0 (and 1, of the second group), those of odd ones in 2 (and 3). */
INLINE void bf16_strip(const bool two, const char *w, int64_t row, const char *b, int64_t room, int64_t steps)
{
    const int64_t tile = STRIP * room * 4;
    _tile_zero(0);
    _tile_zero(2);
    if (two) _tile_zero(1);
    if (two) _tile_zero(3);
    for (int64_t s = 0; s < steps; s += 2) {
        for (int i = 0; i < 32; i++) _mm_prefetch(w + s * TILE + AHEAD + i * 64, _MM_HINT_T0);
        _tile_loadd(4, w + s * 64, row);
        _tile_loadd(6, b + s * tile, room * 4);
        _tile_dpbf16ps(0, 4, 6);
        if (two) _tile_loadd(7, b + (steps + s) * tile, room * 4);
        if (two) _tile_dpbf16ps(1, 4, 7);
        if (s + 1 == steps) break;
        _tile_loadd(5, w + (s + 1) * 64, row);
        _tile_loadd(6, b + (s + 1) * tile, room * 4);
        _tile_dpbf16ps(2, 5, 6);
        if (two) _tile_loadd(7, b + (steps + s + 1) * tile, room * 4);
        if (two) _tile_dpbf16ps(3, 5, 7);
    }
}

/* Sums [16, room] of a group in the two tiles' memory, to rows of y. */
INLINE void finish_bf16(const hone__tiles_product *p, const float (*sums)[STRIP * STRIP], int64_t room, int64_t first, int64_t c,
                        __mmask16 mask)
{
    __m512i t[STRIP];
    if (room == 1) {
        finish(p, first, c, mask, _mm512_add_ps(_mm512_load_ps(sums[0]), _mm512_load_ps(sums[1])));
        return;
    }
    __mmask16 rows = first_lanes(room);
    for (int o = 0; o < STRIP; o++)
        t[o] = _mm512_castps_si512(_mm512_add_ps(_mm512_maskz_loadu_ps(rows, sums[0] + o * room),
                                                 _mm512_maskz_loadu_ps(rows, sums[1] + o * room)));
    transpose16(t);
    for (int64_t r = 0; r < HONE_MIN(p->x->rows - first, room); r++) finish(p, first + r, c, mask, _mm512_castsi512_ps(t[r]));
}

void hone__bf16_strips_amx(const hone__tiles_product *p, int64_t begin, int64_t end)
{
    const hone__tiles *x = p->x;
    _Alignas(64) float sums[2][STRIP * STRIP];
    int64_t room = room_of(x->rows), steps = x->k / 32, row = x->k * 2;
    uint16_t bytes = (uint16_t)(room * 4);
    const tile_config config = {1, 0, {0}, {bytes, bytes, bytes, bytes, 64, 64, bytes, bytes}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&config);
    for (int64_t at = begin * STRIP; at < HONE_MIN(end * STRIP, p->n); at += STRIP) {
        /* The last strip reaches back over columns that are done already. */
        int64_t c = HONE_MIN(at, p->n - STRIP);
        __mmask16 mask = (__mmask16)(0xFFFF << (at - c));
        const char *w = (const char *)p->w + c * row;
        if (x->rows > HONE__BF16_GROUP) bf16_strip(true, w, row, x->values, room, steps);
        else bf16_strip(false, w, row, x->values, room, steps);
        _tile_stored(0, sums[0], room * 4);
        _tile_stored(2, sums[1], room * 4);
        finish_bf16(p, (const float(*)[STRIP * STRIP])sums, room, 0, c, mask);
        if (x->rows <= HONE__BF16_GROUP) continue;
        _tile_stored(1, sums[0], room * 4);
        _tile_stored(3, sums[1], room * 4);
        finish_bf16(p, (const float(*)[STRIP * STRIP])sums, room, HONE__BF16_GROUP, c, mask);
    }
    _tile_release();
}
