/* Products of a weight with a few rows of activations. */
#ifndef HONE_SRC_X86_FEW_ROWS_H
#define HONE_SRC_X86_FEW_ROWS_H

#include "tensor/tensor.h"

/* Columns of y, which are rows of the weight, are worked on in strips. */
enum {
    HONE__STRIP = 16,
    HONE__BLOCK_ROWS = 8, /* the most rows of x with weights in blocks */
    HONE__HALF_ROWS = 31, /* and with weights in bf16 */
    HONE__HALF_GROUP = 16 /* rows of x that a tile of bf16 holds */
};

/* One product; rows of x as the functions below made them. */
typedef struct hone__strips {
    hone_dtype format;
    int64_t rows, n, k;
    const uint8_t *w;
    const char *x;
    const float *bias; /* NULL: none */
    void *y;
    bool half;         /* y is bf16 */
} hone__strips;

/* ---- weights in blocks of 32: interleaved (few_rows.c), activations in 8 bits ---- */

/* The values and the scales of 16 blocks, one of each row of a strip, lie side by side: 4-byte words of values turn about (word i
   of row 0, of row 1, ...), then come 16 scales, then 16 minima. So a vector holds 4 values of each row, and sums of products
   need no adding across lanes. Values are without a sign: of Q8_0 128 is added to each. Of formats of 4 bits two blocks share
   their bytes, so that a mask alone unpacks either: the first has the low halves, the second, of zeros behind an odd last one,
   the high ones; then come the scales of both, and the minima of both. */
typedef struct hone__block_layout {
    int scale, minimum, values; /* where a block has them; minimum 0: it has none */
    int halves;                 /* blocks that share bytes */
    int offset;                 /* what was added to values: stands for a minimum of -offset x scale */
} hone__block_layout;
#define HONE__LAYOUT_Q4_0 {.values = 2, .halves = 2, .offset = 8}
#define HONE__LAYOUT_Q4_1 {.minimum = 2, .values = 4, .halves = 2}
#define HONE__LAYOUT_Q8_0 {.values = 2, .halves = 1, .offset = 128}
enum { HONE__WORDS_BYTES = HONE__STRIP * 32 }; /* of the values that lie together */
static inline int hone__strip_block_bytes(const hone__block_layout *f)
{
    return HONE__WORDS_BYTES + HONE__STRIP * f->halves * (f->minimum ? 4 : 2);
}

/* Bytes of x: for each block the values of all rows, their scales, and scales times sums of values. */
size_t hone__block_rows_bytes(int64_t rows, int64_t k);
void hone__block_rows_avx512(const void *x, bool bf16, int64_t rows, int64_t k, char *to);
/* Strips [begin, end) of y. */
void hone__block_strips_avx512(const hone__strips *p, int64_t begin, int64_t end);

/* ---- weights in bf16, activations as tiles of AMX take them; n >= HONE__STRIP ---- */

size_t hone__half_rows_bytes(int64_t rows, int64_t k);
void hone__half_rows_amx(const uint16_t *x, int64_t rows, int64_t k, char *to);
void hone__half_strips_amx(const hone__strips *p, int64_t begin, int64_t end);

#endif
