/* Products of few rows with weights in bf16, by AMX. The weight is the left operand, 16 of its rows (a strip of y's columns) by
   64 bytes a tile, and up to 16 rows of x are the columns of the right one: so the weight needs no transposing, and tiles of it
   are loaded where they lie. */
#include "kernel/x86/avx512.h"
#include "kernel/x86/few_rows.h"
#include "kernel/x86/tiles.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    STRIP = HONE__STRIP,
    TILE = 1024, /* bytes */
    AHEAD = 4096 /* bytes to fetch ahead */
};

static int64_t steps_of(int64_t k) { return (k + 31) / 32; }
static int64_t groups(int64_t rows) { return (rows + HONE__HALF_GROUP - 1) / HONE__HALF_GROUP; }

/* y's row r from column c on, the lanes of mask. */
INLINE void finish(const hone__strips *p, int64_t r, int64_t c, __mmask16 mask, __m512 sum)
{
    if (p->bias) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, p->bias + c));
    store_real(p->y, p->half, r * p->n + c, mask, sum);
}

/* Columns that a tile of activations has room for: no more than there are rows, so that little is loaded. */
static int64_t room_of(int64_t rows)
{
    int64_t room = 1;
    while (room < rows && room < HONE__HALF_GROUP) room *= 2;
    return room;
}

size_t hone__half_rows_bytes(int64_t rows, int64_t k) { return (size_t)(groups(rows) * steps_of(k) * STRIP * room_of(rows) * 4); }

void hone__half_rows_amx(const uint16_t *x, int64_t rows, int64_t k, char *to)
{
    int64_t room = room_of(rows), steps = steps_of(k);
    if (room == 1) {
        memcpy(to, x, (size_t)k * 2);
        memset(to + k * 2, 0, (size_t)(steps * 32 - k) * 2);
        return;
    }
    for (int64_t first = 0; first < rows; first += HONE__HALF_GROUP)
        for (int64_t s = 0; s < steps; s++) {
            __m512i t[STRIP];
            for (int64_t r = 0; r < STRIP; r++)
                t[r] = _mm512_maskz_loadu_epi16(first + r < rows ? first32(k - s * 32) : 0, x + (first + r) * k + s * 32);
            transpose16(t);
            for (int j = 0; j < STRIP; j++, to += room * 4) _mm512_mask_storeu_epi32(to, first_lanes(room), t[j]);
        }
}

/* Sums of even steps in tile 0 (and 1, of the second group), those of odd ones in 2 (and 3). */
INLINE void strip(const bool two, const char *w, int64_t row, const char *b, int64_t room, int64_t steps)
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
INLINE void finish_strip(const hone__strips *p, const float (*sums)[STRIP * STRIP], int64_t room, int64_t first, int64_t c,
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
    for (int64_t r = 0; r < HONE_MIN(p->rows - first, room); r++) finish(p, first + r, c, mask, _mm512_castsi512_ps(t[r]));
}

void hone__half_strips_amx(const hone__strips *p, int64_t begin, int64_t end)
{
    _Alignas(64) float sums[2][STRIP * STRIP];
    int64_t room = room_of(p->rows), steps = steps_of(p->k), row = steps * 64;
    uint16_t bytes = (uint16_t)(room * 4);
    const tile_config config = {1, 0, {0}, {bytes, bytes, bytes, bytes, 64, 64, bytes, bytes}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&config);
    for (int64_t at = begin * STRIP; at < HONE_MIN(end * STRIP, p->n); at += STRIP) {
        /* The last strip reaches back over columns that are done already. */
        int64_t c = HONE_MIN(at, p->n - STRIP);
        __mmask16 mask = (__mmask16)(0xFFFF << (at - c));
        const char *w = (const char *)p->w + c * row;
        if (p->rows > HONE__HALF_GROUP) strip(true, w, row, p->x, room, steps);
        else strip(false, w, row, p->x, room, steps);
        _tile_stored(0, sums[0], room * 4);
        _tile_stored(2, sums[1], room * 4);
        finish_strip(p, (const float(*)[STRIP * STRIP])sums, room, 0, c, mask);
        if (p->rows <= HONE__HALF_GROUP) continue;
        _tile_stored(1, sums[0], room * 4);
        _tile_stored(3, sums[1], room * 4);
        finish_strip(p, (const float(*)[STRIP * STRIP])sums, room, HONE__HALF_GROUP, c, mask);
    }
    _tile_release();
}
