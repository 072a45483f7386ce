/* Prepared matrix products: oneDNN where it is and pays, the table's gemm otherwise. */
#ifndef HONE_SRC_MATMUL_H
#define HONE_SRC_MATMUL_H

#include "kernel/table.h"
#include "tensor/tensor.h"

/* C[b, m, n] = A[b, m, k] B[b, k, n] (+ bias[n]) (+ C). Strides in elements: any for A and B; rows of C are contiguous.
   A batch stride of 0 repeats the operand. Types: A and B both f32, both f64, or both bf16; C f32 (f64) or bf16. */
typedef struct hone__matmul_desc {
    int64_t batch, m, n, k;
    hone_dtype ab, c;
    int64_t a_batch, a_row, a_col;
    int64_t b_batch, b_row, b_col;
    int64_t c_batch, c_row;
    bool bias;       /* of C's real type (f32 for bf16) */
    bool accumulate; /* adds to C */
    bool pack_b;     /* B will come in the product's own layout (hone__matmul_pack); batch must be 1 */
    bool b_raw;      /* B will come as it is stored: hone__matmul_reads has said yes to b_stored */
    hone_dtype b_stored;
    bool b_passing;  /* a packed copy of B would not last (a weight in training): few rows pay for reading it as it is stored */
} hone__matmul_desc;

/* Can a product take B in that dtype (blocks included) as fast as from a copy in its own? */
bool hone__matmul_reads(const hone__matmul_desc *desc, hone_dtype stored);

typedef struct hone__matmul hone__matmul;

/* NULL: memory or a refusal of oneDNN (sticky). */
hone__matmul *hone__matmul_new(hone_ctx *ctx, const hone__matmul_desc *desc);
void hone__matmul_free(void *matmul); /* NULL is allowed; void so that it fits hone__exec.free_state */
size_t hone__matmul_scratch(const hone__matmul *matmul); /* bytes, 64-aligned, for run */
hone_status hone__matmul_run(hone__matmul *matmul, const void *a, const void *b, const void *bias, void *c, void *scratch);
/* Some products of bf16 can add values of f32 or bf16 in the pass that writes C: in rows as C's, none of them C's own. */
bool hone__matmul_sums(const hone__matmul *matmul);
void hone__matmul_run_sum(hone__matmul *matmul, const void *a, const void *b, const void *bias, const hone__view *sum, void *c,
                          void *scratch);

/* Some products can hand C over piece by piece, in the cache still, instead of storing it: rows [row, row + rows) and
   columns [column, column + columns) as f32 sums, rows `stride` apart, at least 64 bytes aligned. A row is one thread's;
   its pieces come in no particular order, but in the same one each time. */
typedef void (*hone__sums_fn)(void *arg, int64_t row, int64_t column, int64_t rows, int64_t columns, const float *sums,
                              int64_t stride);
bool hone__matmul_hands_over(const hone__matmul *matmul);
void hone__matmul_hand_over(hone__matmul *matmul, const void *a, const void *b, hone__sums_fn take, void *arg, void *scratch);

/* With pack_b: a number for the layout (equal layouts of equal sizes have equal numbers; 0: plain, B is taken as it
   lies), its bytes, and the packing itself from f32 or bf16 elements at B's strides. */
uint64_t hone__matmul_layout(const hone__matmul *matmul);
size_t hone__matmul_packed_bytes(const hone__matmul *matmul);
/* Keeps what hone__matmul_pack needs after the product is gone; freed with hone__packer_free. */
typedef struct hone__packer hone__packer;
hone__packer *hone__packer_new(const hone__matmul *matmul);
hone__packer *hone__packer_of(hone_ctx *ctx, void *dnnl); /* takes a hone__dnnl_packer; NULL: sticky error, NULL */
void hone__packer_free(void *packer);
hone_status hone__packer_run(hone__packer *packer, void *packed, const void *b, hone_dtype b_type);

#endif
