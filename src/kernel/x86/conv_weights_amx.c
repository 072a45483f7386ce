/* The sum goes over outputs, so both operands have outputs along k. x is turned once, to channels of neighbouring outputs, as
   rows of the left operand are; a tap is a pointer into it, but for its column: each has a copy with zeros where taps leave the
   picture. dy is paired once, as the right operand is. Then, for outputs that the first cache holds, every 32 rows (taps and
   channels of x) by 32 channels of y are four tiles, whose sums lie in the second cache in between. */
#include "kernel/x86/conv_weights.h"
#include "kernel/x86/avx512.h"
#include "kernel/x86/tiles.h"

#define INLINE static inline __attribute__((always_inline))

enum { TILE = 1024 /* bytes: 16 x 16 f32, 16 x 32 bf16 */ };

/* Of two positions, 16 channels each: pairs of them. */
INLINE __m512i pair(__m256i first, __m256i second)
{
    return _mm512_or_si512(_mm512_cvtepu16_epi32(first),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
}
INLINE __m256i some(const uint16_t *image, int32_t from, __mmask16 channels)
{
    return from < 0 ? _mm256_setzero_si256() : _mm256_maskz_loadu_epi16(channels, image + from);
}
INLINE __m256i all(const uint16_t *image, int32_t from)
{
    return _mm256_loadu_si256((const void *)(image + from));
}

/* Of 32 positions. */
INLINE void load_pairs(__m512i to[16], const uint16_t *image, const int32_t *from, __mmask16 channels)
{
    __mmask16 absent =
        _mm512_movepi32_mask(_mm512_or_si512(_mm512_loadu_si512(from), _mm512_loadu_si512(from + 16)));
    if (!absent && channels == 0xFFFF)
        for (int p = 0; p < 16; p++) to[p] = pair(all(image, from[2 * p]), all(image, from[2 * p + 1]));
    else
        for (int p = 0; p < 16; p++)
            to[p] = pair(some(image, from[2 * p], channels), some(image, from[2 * p + 1], channels));
}

/* Block b of 32 inputs of a phase: each channel to a row of its own. */
static void turn(const hone__conv_sums *s, const uint16_t *image, const int32_t *from, int64_t channels,
                 int64_t b, char *to)
{
    __m512i r[16];
    load_pairs(r, image, from + b * 32, first_lanes(channels));
    transpose16(r);
    to += s->lead + b * 64;
    if (channels >= 16)
        for (int i = 0; i < 16; i++) _mm512_store_si512(to + i * s->channel, r[i]);
    else
        for (int64_t i = 0; i < channels; i++) _mm512_store_si512(to + i * s->channel, r[i]);
}

/* The same block, turned, as another plane has it. */
static void move(const hone__conv_sums *s, const hone__conv_plane *plane, int64_t channels, int64_t b,
                 const char *turned, char *to)
{
    __mmask32 keep = plane->keep[b];
    turned += s->lead + b * 64 + plane->shift * 2;
    to += s->lead + b * 64;
    for (int64_t i = 0; i < HONE_MIN(channels, 16); i++)
        _mm512_store_si512(to + i * s->channel, _mm512_maskz_loadu_epi16(keep, turned + i * s->channel));
}

/* 16 channels of a phase: its planes, `bytes` apart. A block is moved when those are turned, and have reached the cache, that its
   shift may reach. */
static void pack_phase(const hone__conv_sums *s, const uint16_t *image, const hone__conv_plane *first,
                       const hone__conv_plane *end, int64_t channels, int64_t bytes, char *to)
{
    enum { LAG = HONE__CONV_SHIFT / 32 + 1 };
    for (int64_t b = 0; b < s->blocks + LAG; b++) {
        if (b < s->blocks) turn(s, image, first->from, channels, b, to);
        for (const hone__conv_plane *p = first + 1; p < end && b >= LAG; p++)
            move(s, p, channels, b - LAG, to, to + (p - first) * bytes);
    }
}

static void pack_left(const hone__conv_sums *s, const uint16_t *image, char *to)
{
    const hone__conv_plane *last = s->planes + s->n_planes;
    int64_t bytes = (s->c + 15) / 16 * 16 * s->channel;
    for (int64_t c = 0; c < s->c; c += 16)
        for (const hone__conv_plane *p = s->planes, *end; p < last; p = end) {
            for (end = p + 1; end < last && !end->from;) end++;
            pack_phase(s, image + c, p, end, s->c - c, bytes, to + (p - s->planes) * bytes + c * s->channel);
        }
}

/* column: bytes from 16 channels of y to the next; bias: sums of all channels. */
static void pack_right(const hone__conv_sums *s, const uint16_t *image, int64_t column, char *to, float *bias)
{
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3F80);
    for (int64_t o = 0; o < s->o; o += 16, to += column, bias += 16) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t k = 0; k < s->steps; k++) {
            __m512i r[16];
            load_pairs(r, image + o, s->y_from + k * 32, first_lanes(s->o - o));
            for (int p = 0; p < 16; p++) {
                if (s->bias) sum = _mm512_dpbf16_ps(sum, (__m512bh)r[p], ones);
                _mm512_store_si512(to + k * TILE + p * 64, r[p]);
            }
        }
        if (s->bias) _mm512_store_ps(bias, _mm512_add_ps(_mm512_load_ps(bias), sum));
    }
}

/* What is multiplied at once: of `images` the outputs [0, 32 steps) from where left and right point to. */
typedef struct span {
    const char *left, *right;
    int64_t images, steps, left_image, right_column, channel;
    struct {
        const char *at, *end;
        int64_t share; /* of each product */
    } fetch[2];        /* of x and of y, what is read next */
} span;

/* To the second cache, while a product is made. */
INLINE void fetch(span *s)
{
    for (int i = 0; i < 2; i++) {
        const char *stop = s->fetch[i].at + s->fetch[i].share;
        for (; s->fetch[i].at < stop && s->fetch[i].at < s->fetch[i].end; s->fetch[i].at += 64)
            _mm_prefetch(s->fetch[i].at, _MM_HINT_T1);
    }
}

/* Up to two rows by two columns, or three rows by one, which keep as many products on their way; tiles of sums lie rows first,
   `sums_row` bytes apart. */
INLINE void multiply(span *s, const int rows, const int columns, const hone__conv_row *row, const char *right,
                     char *sums, int64_t sums_row, bool add)
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
    fetch(s);
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

static void multiply_span(const hone__conv_sums *s, span *p, char *sums, bool add)
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

/* How many times multiply() is called for s->images images. */
static int64_t count_products(const hone__conv_sums *s)
{
    int64_t columns = (s->o + 15) / 16,
            chunks = s->images > 1 ? 1 : (s->steps + HONE__CONV_CHUNK - 1) / HONE__CONV_CHUNK;
    return chunks * (columns / 2 * ((s->n_rows + 1) / 2) + columns % 2 * (s->n_rows / 3 + s->n_rows % 3));
}

/* Images [i, stop) of x or y. */
static void begin_fetch(span *p, int which, const uint16_t *images, int64_t image, int64_t i, int64_t stop,
                        int64_t products)
{
    p->fetch[which].at = (const char *)(images + i * image);
    p->fetch[which].end = (const char *)(images + stop * image);
    p->fetch[which].share = (int64_t)hone__align((size_t)((stop - i) * image * 2 / products));
}

void hone__conv_sums_amx(const hone__conv_sums *s, const uint16_t *x, const uint16_t *y, int64_t n,
                         char *scratch)
{
    char *left = scratch, *right = left + s->left, *sums = right + s->right;
    int64_t columns = (s->o + 15) / 16, left_image = (int64_t)s->left / s->images,
            products = count_products(s);
    span p = {.left_image = left_image, .channel = s->channel, .right_column = s->images * s->steps * TILE};
    float *bias = (float *)(void *)(sums + s->n_rows * columns * TILE);
    memset(left, 0, s->left); /* above and below the picture, and behind a channel's end */
    memset(bias, 0, (size_t)columns * 64);
    open_full_tiles();
    for (int64_t i = 0; i < n; i += s->images) {
        p.images = HONE_MIN(n - i, s->images);
        for (int64_t j = 0; j < p.images; j++) {
            pack_left(s, x + (i + j) * s->x_image, left + j * left_image);
            pack_right(s, y + (i + j) * s->y_image, p.right_column, right + j * s->steps * TILE, bias);
        }
        int64_t next = i + p.images, stop = HONE_MIN(next + s->images, n);
        begin_fetch(&p, 0, x, s->x_image, next, stop, products);
        begin_fetch(&p, 1, y, s->y_image, next, stop, products);
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

/* Of all parts the 16 sums that lie at `from` in the first one's. */
INLINE __m512 add_parts(const char *from, int64_t parts, int64_t bytes)
{
    __m512 sum = _mm512_load_ps(from);
    for (int64_t p = 1; p < parts; p++) sum = _mm512_add_ps(sum, _mm512_load_ps(from + p * bytes));
    return sum;
}

void hone__conv_sums_finish_amx(const hone__conv_sums *s, const char *scratch, int64_t parts, int64_t begin, int64_t end, float *dw,
                                float *dbias)
{
    int64_t columns = (s->o + 15) / 16, bytes = (int64_t)hone__conv_sums_bytes(s), filter = s->c * s->taps;
    const char *sums = scratch + bytes - (int64_t)s->sums, *bias = sums + s->n_rows * columns * TILE;
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i filters = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)filter));
    for (int64_t j = begin; j < end; j++) {
        __mmask16 mask = first_lanes(s->o - j * 16);
        for (int64_t i = 0; i < HONE_MIN(s->c, 16); i++)
            for (int64_t r = 0; r < s->n_rows; r++) {
                if (i >= s->rows[r].left) continue;
                __m512 sum = add_parts(sums + (r * columns + j) * TILE + i * 64, parts, bytes);
                _mm512_mask_i32scatter_ps(dw + s->rows[r].result + i * s->taps + j * 16 * filter, mask, filters, sum, 4);
            }
        if (s->bias) _mm512_mask_storeu_ps(dbias + j * 16, mask, add_parts(bias + j * 64, parts, bytes));
    }
}
