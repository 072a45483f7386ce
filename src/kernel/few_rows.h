/* Products of few rows with a weight that is read once for all rows: generating text. Weights in blocks multiply activations
   quantized to 8 bits by blocks of 32 (as ggml's Q8), with sums that are exact in integers within a block; weights in bf16
   multiply bf16. */
#ifndef HONE_SRC_FEW_ROWS_H
#define HONE_SRC_FEW_ROWS_H

#include "kernel/table.h"

typedef struct hone__few_rows hone__few_rows;

/* Weights in blocks are read from a copy, as large as they are, in which blocks of several rows lie side by side. */
bool hone__interleaves(hone_dtype format);
size_t hone__interleaved_bytes(hone_dtype format, int64_t n, int64_t k);
void hone__interleave(const hone_ctx *ctx, hone_dtype format, int64_t n, int64_t k, const void *w, void *to);

/* Rows of a weight in bf16 are read 32 values at a time: so long they must be, zeros where they end before. */
static inline int64_t hone__few_rows_padded(int64_t k) { return (k + 31) / 32 * 32; }

/* y [rows, n] = x [rows, k] w^T, w [n, k] in `format`: in blocks, that copy of it, k a multiple of 32; in bf16 [n, padded k].
   NULL without an error: this CPU or format or that many rows have no such kernel. */
bool hone__few_rows_possible(hone_dtype format, int64_t rows, int64_t n, int64_t k);
hone__few_rows *hone__few_rows_new(hone_ctx *ctx, hone_dtype format, int64_t rows, int64_t n, int64_t k, const void *w);
void hone__few_rows_free(hone__few_rows *product);
size_t hone__few_rows_scratch(const hone__few_rows *product); /* bytes, 64-aligned, for run */

/* One product of those that run together, on the same x. */
typedef struct hone__few_rows_part {
    const hone__few_rows *product;
    const float *bias; /* [n] or NULL */
    void *y;           /* [rows, n] f32 or bf16 */
    hone_dtype y_type;
} hone__few_rows_part;
enum { HONE__FEW_ROWS_PARTS = 4 };
/* Do they take x in the same form? Then they may run together, in the scratch of any of them. */
bool hone__few_rows_alike(const hone__few_rows *a, const hone__few_rows *b);
/* x f32 or bf16 (for weights in bf16: bf16). 1 <= n <= HONE__FEW_ROWS_PARTS. */
void hone__few_rows_run(const hone__few_rows_part *parts, int n, const void *x, hone_dtype x_type, void *scratch);

#endif
