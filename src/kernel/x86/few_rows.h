/* Dot products of weight rows with a few rows of activations. */
#ifndef HONE_SRC_X86_FEW_ROWS_H
#define HONE_SRC_X86_FEW_ROWS_H

#include "tensor/tensor.h"

/* Columns of y, which are rows of the weight, are worked on in strips. */
enum {
    HONE__STRIP = 16,
    HONE__DOT_ROWS = 8,   /* the most rows of x for a dot product by vectors */
    HONE__TILE_ROWS = 63, /* and by tiles, of int8 */
    HONE__HALF_ROWS = 31, /* and of bf16 */
    HONE__INT8_GROUP = 8, /* rows of x a tile of int8 holds, */
    HONE__BF16_GROUP = 16 /* and one of bf16 */
};

/* One row of `blocks` blocks of 32, f32 or bf16, to int8 values, and for each block its scale and the scale times the
   sum of its values. */
typedef void (*hone__quantize_row)(const void *x, bool bf16, int64_t blocks, int8_t *values, float *scales, float *sums);
void hone__quantize_row_avx512(const void *x, bool bf16, int64_t blocks, int8_t *values, float *scales, float *sums);

typedef struct hone__quantized_rows {
    int rows;
    const int8_t *values[HONE__TILE_ROWS];
    const float *scales[HONE__TILE_ROWS], *sums[HONE__TILE_ROWS];
} hone__quantized_rows;

/* sum[r][c] = row c of w, of `blocks` blocks, times row r of x; c below columns <= HONE__STRIP, r below HONE__DOT_ROWS. */
typedef void (*hone__quantized_dot)(const uint8_t *w, int64_t columns, const hone__quantized_rows *x, int64_t blocks,
                                    float (*sum)[HONE__STRIP]);
hone__quantized_dot hone__quantized_dot_avx512(hone_dtype format); /* NULL: no kernel for that format */

/* Activations as tiles of AMX take them, and one product with them. */
typedef struct hone__tiles {
    int rows;
    int64_t k;
    const char *values;          /* groups of rows, one behind the other */
    const float *scales, *sums;  /* int8 alone, the same */
} hone__tiles;
typedef struct hone__tiles_product {
    const hone__tiles *x;
    hone_dtype format;
    const uint8_t *w;
    int64_t n;
    const float *bias; /* NULL: none */
    void *y;
    bool half; /* y is bf16 */
} hone__tiles_product;

/* Sizes in bytes, of all groups. */
size_t hone__int8_tiles_values(int64_t rows, int64_t k);
size_t hone__int8_tiles_scales(int64_t rows, int64_t k); /* and as much for sums */
size_t hone__int8_strip_scratch(int64_t k);
size_t hone__bf16_tiles_values(int64_t rows, int64_t k);
/* Fill x->values (and scales and sums, from quantized rows). */
void hone__int8_tiles_amx(const hone__tiles *x, const hone__quantized_rows *from);
void hone__bf16_tiles_amx(const hone__tiles *x, const uint16_t *from);
/* Strips [begin, end) of y. bf16 needs n >= HONE__STRIP. */
void hone__int8_strips_amx(const hone__tiles_product *p, int64_t begin, int64_t end, void *scratch);
void hone__bf16_strips_amx(const hone__tiles_product *p, int64_t begin, int64_t end);

#endif
