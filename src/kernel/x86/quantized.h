/* Dot products of one weight row in blocks with a few rows quantized to 8 bits. */
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

typedef void (*hone__quantized_dot)(const uint8_t *w, const hone__quantized_rows *x, int64_t blocks, float *sum);

/* NULL: no kernel for that format. */
hone__quantized_dot hone__quantized_dot_avx512(hone_dtype format);

#endif
