/* The sum goes over outputs, so both operands have outputs along k. x is turned once, to channels of neighbouring outputs, as
   rows of the left operand are; a tap is a pointer into it, but for its column: each has a copy with zeros where taps leave the
   picture. dy is paired once, as the right operand is. Then, for outputs that the first cache holds, every 32 rows (taps and
   channels of x) by 32 channels of y are four tiles, whose sums lie in the second cache in between. */
#include "kernel/x86/conv_weights.h"
#include "kernel/x86/avx512.h"
#include "kernel/x86/tiles.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    TILE = 1024, /* bytes: 16 x 16 f32, 16 x 32 bf16 */
    MARGIN = 64  /* bytes before and behind a turned channel: a shift may reach there */
};

/* Of two positions, 16 channels each: pairs of them. */
INLINE __m512i pairs(const uint16_t *image, const int32_t *from, __mmask16 channels)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i a = from[0] < 0 ? zero : _mm256_maskz_loadu_epi16(channels, image + from[0]);
    __m256i b = from[1] < 0 ? zero : _mm256_maskz_loadu_epi16(channels, image + from[1]);
    return _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}

/* 16 channels of a phase of an image, each to a row of its own. */
static void turn(const hone__conv_sums *s, const uint16_t *image, const int32_t *from, __mmask16 channels,
                 char *stage)
{
    for (int64_t b = 0; b < s->blocks; b++, from += 32) {
        __m512i r[16];
        for (int p = 0; p < 16; p++) r[p] = pairs(image, from + 2 * p, channels);
        transpose16(r);
        for (int i = 0; i < 16; i++) _mm512_store_si512(stage + i * s->stage_channel + MARGIN + b * 64, r[i]);
    }
}

/* They as a plane has them. */
static void move(const hone__conv_sums *s, const hone__conv_plane *plane, const char *stage, char *to)
{
    for (int i = 0; i < 16; i++, stage += s->stage_channel, to += s->channel)
        for (int64_t b = 0; b < s->blocks; b++)
            _mm512_store_si512(
                to + s->lead + b * 64,
                _mm512_maskz_loadu_epi16(plane->keep[b], stage + MARGIN + b * 64 + plane->shift * 2));
}

static void pack_left(const hone__conv_sums *s, const uint16_t *image, char *stage, char *to)
{
    int64_t tiles = (s->c + 15) / 16, plane = tiles * 16 * s->channel;
    for (int64_t c = 0; c < tiles; c++)
        for (int64_t p = 0; p < s->n_planes; p++) {
            if (!s->planes[p].same)
                turn(s, image + c * 16, s->planes[p].from, first_lanes(s->c - c * 16), stage);
            move(s, &s->planes[p], stage, to + p * plane + c * 16 * s->channel);
        }
}

/* column: bytes from 16 channels of y to the next; bias: sums of all channels. */
static void pack_right(const hone__conv_sums *s, const uint16_t *image, int64_t column, char *to, float *bias)
{
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3F80);
    for (int64_t o = 0; o < s->o; o += 16, to += column, bias += 16) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t i = 0; i < s->steps * 16; i++) {
            __m512i pair = pairs(image + o, s->y_from + 2 * i, first_lanes(s->o - o));
            if (s->bias) sum = _mm512_dpbf16_ps(sum, (__m512bh)pair, ones);
            _mm512_store_si512(to + i * 64, pair);
        }
        if (s->bias) _mm512_store_ps(bias, _mm512_add_ps(_mm512_load_ps(bias), sum));
    }
}

/* What is multiplied at once: of `images` the outputs [0, 32 steps) from where left and right point to. */
typedef struct span {
    const char *left, *right;
    int64_t images, steps, left_image, right_column, channel;
} span;

/* Up to two rows by two columns, or three rows by one, which keep as many products on their way; tiles of sums lie rows first,
   `sums_row` bytes apart. */
INLINE void multiply(const span *s, const int rows, const int columns, const hone__conv_row *row,
                     const char *right, char *sums, int64_t sums_row, bool add)
{
    if (add) {
        _tile_loadd(0, sums, 64);
        if (columns > 1) _tile_loadd(1, sums + TILE, 64);
        if (rows > 1) _tile_loadd(2, sums + sums_row, 64);
        if (rows > 1 && columns > 1) _tile_loadd(3, sums + sums_row + TILE, 64);
        if (rows > 2) _tile_loadd(1, sums + 2 * sums_row, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t i = 0; i < s->images; i++) {
        const char *left = s->left + i * s->left_image;
        for (int64_t k = 0; k < s->steps; k++, left += 64, right += TILE) {
            _tile_loadd(6, right, 64);
            _tile_loadd(4, left + row[0].at, s->channel);
            _tile_dpbf16ps(0, 4, 6);
            if (columns > 1) {
                _tile_loadd(7, right + s->right_column, 64);
                _tile_dpbf16ps(1, 4, 7);
            }
            if (rows > 1) {
                _tile_loadd(5, left + row[1].at, s->channel);
                _tile_dpbf16ps(2, 5, 6);
                if (columns > 1) _tile_dpbf16ps(3, 5, 7);
            }
            if (rows > 2) {
                _tile_loadd(7, left + row[2].at, s->channel);
                _tile_dpbf16ps(1, 7, 6);
            }
        }
    }
    _tile_stored(0, sums, 64);
    if (columns > 1) _tile_stored(1, sums + TILE, 64);
    if (rows > 1) _tile_stored(2, sums + sums_row, 64);
    if (rows > 1 && columns > 1) _tile_stored(3, sums + sums_row + TILE, 64);
    if (rows > 2) _tile_stored(1, sums + 2 * sums_row, 64);
}

static void multiply_span(const hone__conv_sums *s, const span *p, char *sums, bool add)
{
    int64_t columns = (s->o + 15) / 16, sums_row = columns * TILE;
    const hone__conv_row *row = s->rows;
    for (int64_t o = 0; o < columns; o += 2) {
        const char *right = p->right + o * p->right_column;
        char *to = sums + o * TILE;
        int64_t r = 0;
        if (o + 1 < columns) {
            for (; r + 2 <= s->n_rows; r += 2)
                multiply(p, 2, 2, row + r, right, to + r * sums_row, sums_row, add);
            if (r < s->n_rows) multiply(p, 1, 2, row + r, right, to + r * sums_row, sums_row, add);
            continue;
        }
        for (; r + 3 <= s->n_rows; r += 3)
            multiply(p, 3, 1, row + r, right, to + r * sums_row, sums_row, add);
        for (; r < s->n_rows; r++) multiply(p, 1, 1, row + r, right, to + r * sums_row, sums_row, add);
    }
}

void hone__conv_sums_amx(const hone__conv_sums *s, const uint16_t *x, const uint16_t *y, int64_t n,
                         char *scratch)
{
    char *stage = scratch, *left = stage + s->stage, *right = left + s->left, *sums = right + s->right;
    int64_t columns = (s->o + 15) / 16, left_image = (int64_t)s->left / s->images;
    span p = {.left_image = left_image, .channel = s->channel, .right_column = s->images * s->steps * TILE};
    float *bias = (float *)(void *)(sums + s->n_rows * columns * TILE);
    memset(left, 0, s->left); /* above and below the picture, and behind a channel's end */
    memset(bias, 0, (size_t)columns * 64);
    open_full_tiles();
    for (int64_t i = 0; i < n; i += s->images) {
        p.images = HONE_MIN(n - i, s->images);
        for (int64_t j = 0; j < p.images; j++) {
            pack_left(s, x + (i + j) * s->x_image, stage, left + j * left_image);
            pack_right(s, y + (i + j) * s->y_image, p.right_column, right + j * s->steps * TILE, bias);
        }
        /* of several images all steps, else pieces of one */
        for (int64_t k = 0; k < s->steps; k += p.steps) {
            p.steps = s->images > 1 ? s->steps : HONE_MIN(s->steps - k, HONE__CONV_CHUNK);
            p.left = left + k * 64;
            p.right = right + k * TILE;
            multiply_span(s, &p, sums, i + k > 0);
        }
    }
    _tile_release();
}

void hone__conv_sums_finish_amx(const hone__conv_sums *s, const char *scratch, int64_t parts, int64_t begin,
                                int64_t end, float *dw, float *dbias)
{
    int64_t columns = (s->o + 15) / 16, bytes = (int64_t)hone__conv_sums_bytes(s), filter = s->c * s->taps;
    const char *sums = scratch + bytes - (int64_t)s->sums;
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i filters = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)filter));
    for (int64_t r = begin; r < end; r++)
        for (int64_t j = 0; j < columns; j++)
            for (int64_t i = 0; i < HONE_MIN(s->rows[r].left, 16); i++) {
                const char *from = sums + (r * columns + j) * TILE + i * 64;
                __m512 sum = _mm512_load_ps(from);
                for (int64_t p = 1; p < parts; p++)
                    sum = _mm512_add_ps(sum, _mm512_load_ps(from + p * bytes));
                _mm512_mask_i32scatter_ps(dw + s->rows[r].result + i * s->taps + j * 16 * filter,
                                          first_lanes(s->o - j * 16), filters, sum, 4);
            }
    for (int64_t j = 0; j < columns && s->bias && begin == 0; j++) {
        const char *from = sums + s->n_rows * columns * TILE + j * 64;
        __m512 sum = _mm512_load_ps(from);
        for (int64_t p = 1; p < parts; p++) sum = _mm512_add_ps(sum, _mm512_load_ps(from + p * bytes));
        _mm512_mask_storeu_ps(dbias + j * 16, first_lanes(s->o - j * 16), sum);
    }
}
