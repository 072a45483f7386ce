/* For kernel/x86/: AMX tiles. Include from files compiled for AMX alone. */
#ifndef HONE_SRC_X86_TILES_H
#define HONE_SRC_X86_TILES_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

/* What LDTILECFG reads: of each tile the bytes of a row, and its rows. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_config;

/* All eight tiles of 16 rows of 64 bytes. */
static inline void open_full_tiles(void)
{
    static const tile_config full = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&full);
}

/* 32 x 32 f32 in the tiles 0 to 3, which rows `row` elements apart hold: begun with what is there, or with zeros ... */
static inline __attribute__((always_inline)) void begin_square(const float *c, int64_t row, bool add)
{
    if (add) {
        _tile_loadd(0, c, row * 4);
        _tile_loadd(1, c + 16, row * 4);
        _tile_loadd(2, c + 16 * row, row * 4);
        _tile_loadd(3, c + 16 * row + 16, row * 4);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
}
/* ... and stored. */
static inline __attribute__((always_inline)) void store_square(float *c, int64_t row)
{
    _tile_stored(0, c, row * 4);
    _tile_stored(1, c + 16, row * 4);
    _tile_stored(2, c + 16 * row, row * 4);
    _tile_stored(3, c + 16 * row + 16, row * 4);
}

#endif
