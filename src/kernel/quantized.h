/* Products of few rows with a weight in blocks, read as it is stored: activations are quantized to 8 bits by blocks of
   32 (as ggml's Q8), sums are exact in integers within a block. */
#ifndef HONE_SRC_QUANTIZED_H
#define HONE_SRC_QUANTIZED_H

#include "kernel/table.h"

typedef struct hone__quantized hone__quantized;

/* y [rows, n] = x [rows, k] w^T, w [n, k] in blocks of `format`. NULL without an error: this CPU or format or that many
   rows have no such kernel. */
hone__quantized *hone__quantized_new(hone_ctx *ctx, hone_dtype format, int64_t rows, int64_t n, int64_t k, const void *w);
void hone__quantized_free(hone__quantized *quantized);
size_t hone__quantized_scratch(const hone__quantized *quantized);
/* x f32 or bf16; bias f32 [n] or NULL; y f32 or bf16. */
void hone__quantized_run(const hone__quantized *quantized, const void *x, hone_dtype x_type, const void *bias, void *y,
                         hone_dtype y_type, void *scratch);

#endif
