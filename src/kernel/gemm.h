/* Our own products of bf16 and f32 matrices, where the CPU has AMX: B may come in the dtype that a weight is stored in, and is
   packed anew by every product, which many rows pay for: no copy of the weight is kept. f32 is multiplied as the sum of three
   bf16, as exactly as in f32 (x86/gemm_amx.c says how) and 1.3 to 2 times as fast. */
#ifndef HONE_SRC_GEMM_H
#define HONE_SRC_GEMM_H

#include "kernel/matmul.h"

typedef struct hone__gemm hone__gemm;

/* Can B, stored so, be read by such a product, and is that fast? */
bool hone__gemm_reads(const hone__matmul_desc *desc, hone_dtype stored);
/* A second product of as many rows and columns, A2 Q, that is added to C before it is rounded: A2 [m, k] bf16 in dense rows.
   Where it is scale A P with a P of so few columns, this product can make it as well. For A and B in bf16. */
typedef struct hone__gemm_more {
    int64_t k;
    hone_dtype p_stored, q_stored; /* f32 or bf16 */
    int64_t p_row, p_col, q_row, q_col;
    double scale;
} hone__gemm_more;
typedef struct hone__gemm_factors {
    const void *p, *q;
    void *inner; /* A2: read, or, with hone__gemm_makes_inner, written, where it is not NULL */
} hone__gemm_factors;

/* NULL without an error: not for this CPU or product, or another is faster. more NULL: no second product. */
hone__gemm *hone__gemm_new(hone_ctx *ctx, const hone__matmul_desc *desc, const hone__gemm_more *more);
void hone__gemm_free(hone__gemm *gemm); /* NULL is allowed */
size_t hone__gemm_scratch(const hone__gemm *gemm);
bool hone__gemm_makes_inner(const hone__gemm *gemm);
/* factors: of the second product, or NULL. sum: as of hone__matmul_run_sum, or NULL; for A and B in bf16. */
void hone__gemm_run(const hone__gemm *gemm, const void *a, const void *b, const void *bias, void *c, void *scratch,
                    const hone__gemm_factors *factors, const hone__view *sum);
/* As hone__matmul_hands_over and hone__matmul_hand_over. */
bool hone__gemm_hands_over(const hone__gemm *gemm);
void hone__gemm_hand_over(const hone__gemm *gemm, const void *a, const void *b, hone__sums_fn take, void *arg, void *scratch);

#endif
