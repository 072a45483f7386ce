/* Dot products of weight rows in blocks with a few rows quantized to 8 bits. */
#ifndef HONE_SRC_X86_QUANTIZED_H
#define HONE_SRC_X86_QUANTIZED_H

#include "tensor/tensor.h"

/* Activations: per row, int8 values, and for each 32 of them the scale and scale times the sum of the values. */
#define HONE__QUANTIZED_ROWS 8
typedef struct hone__quantized_rows {
    int rows;
    const int8_t *values[HONE__QUANTIZED_ROWS];
    const float *scales[HONE__QUANTIZED_ROWS], *sums[HONE__QUANTIZED_ROWS];
} hone__quantized_rows;

/* sum[r][c] = row c of w, of `blocks` blocks, times row r of x; c below columns <= HONE__QUANTIZED_COLUMNS. */
#define HONE__QUANTIZED_COLUMNS 16
typedef void (*hone__quantized_dot)(const uint8_t *w, int64_t columns, const hone__quantized_rows *x, int64_t blocks,
                                    float (*sum)[HONE__QUANTIZED_COLUMNS]);

/* One row of `blocks` blocks of 32, f32 or bf16, to values, scales and sums. */
typedef void (*hone__quantize_row)(const void *x, bool bf16, int64_t blocks, int8_t *values, float *scales, float *sums);

typedef struct hone__quantized_kernel {
    hone__quantize_row quantize;
    hone__quantized_dot dot; /* NULL: no kernel for that format */
} hone__quantized_kernel;
hone__quantized_kernel hone__quantized_avx512(hone_dtype format);

#endif
