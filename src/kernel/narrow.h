/* Products of bf16 that sum over many rows, of a narrow matrix and a wide one, such as the gradients of factors of low rank:
   what takes time is reading the wide one, so it is read once, in the order of memory. For CPUs with AMX. */
#ifndef HONE_SRC_NARROW_H
#define HONE_SRC_NARROW_H

#include "kernel/matmul.h"

typedef struct hone__narrow hone__narrow;

/* NULL without an error: not for this CPU or product. */
hone__narrow *hone__narrow_new(hone_ctx *ctx, const hone__matmul_desc *desc);
void hone__narrow_free(hone__narrow *narrow); /* NULL is allowed */
size_t hone__narrow_scratch(const hone__narrow *narrow);
void hone__narrow_run(const hone__narrow *narrow, const void *a, const void *b, void *c, void *scratch);

#endif
