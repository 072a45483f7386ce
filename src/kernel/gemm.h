/* Our own products of bf16 matrices, where the CPU has AMX: B may come in the dtype that a weight is stored in, and is
   packed anew by every product, which many rows pay for: no copy of the weight is kept. */
#ifndef HONE_SRC_GEMM_H
#define HONE_SRC_GEMM_H

#include "kernel/matmul.h"

typedef struct hone__gemm hone__gemm;

/* Can B, stored so, be read by such a product, and is that fast? */
bool hone__gemm_reads(const hone__matmul_desc *desc, hone_dtype stored);
/* NULL without an error: not for this CPU or product, or another is faster. */
hone__gemm *hone__gemm_new(hone_ctx *ctx, const hone__matmul_desc *desc);
void hone__gemm_free(hone__gemm *gemm); /* NULL is allowed */
size_t hone__gemm_scratch(const hone__gemm *gemm);
void hone__gemm_run(const hone__gemm *gemm, const void *a, const void *b, const void *bias, void *c, void *scratch);

#endif
