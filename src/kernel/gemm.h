/* Our own products of bf16 matrices, where the CPU has AMX: B may come in the dtype that a weight is stored in, and is
   packed anew by every product, which many rows pay for: no copy of the weight is kept. */
#ifndef HONE_SRC_GEMM_H
#define HONE_SRC_GEMM_H

#include "kernel/matmul.h"

typedef struct hone__gemm hone__gemm;

/* Can B, stored so, be read by such a product, and is that fast? */
bool hone__gemm_reads(const hone__matmul_desc *desc, hone_dtype stored);
/* A second product of as many rows and columns that is added to C before it is rounded: A2 [m, k] bf16 in dense rows. */
typedef struct hone__gemm_more {
    int64_t k;
    hone_dtype b_stored; /* f32 or bf16 */
    int64_t b_row, b_col;
} hone__gemm_more;

/* NULL without an error: not for this CPU or product, or another is faster. more NULL: no second product. */
hone__gemm *hone__gemm_new(hone_ctx *ctx, const hone__matmul_desc *desc, const hone__gemm_more *more);
void hone__gemm_free(hone__gemm *gemm); /* NULL is allowed */
size_t hone__gemm_scratch(const hone__gemm *gemm);
void hone__gemm_run(const hone__gemm *gemm, const void *a, const void *b, const void *bias, void *c, void *scratch,
                    const void *a2, const void *b2);
/* As hone__matmul_hands_over and hone__matmul_hand_over. */
bool hone__gemm_hands_over(const hone__gemm *gemm);
void hone__gemm_hand_over(const hone__gemm *gemm, const void *a, const void *b, hone__sums_fn take, void *arg, void *scratch);

#endif
