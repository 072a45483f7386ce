/* The kernel table: everything that touches elements, once for each real type and instruction set.
 *
 * Portable C in kernel/ref/ is compiled for f32 and f64, each for ref, avx2 and avx512; hand-written kernels
 * override entries. Kernels run on one thread, never fail and never allocate; ops cut the work (hone__parallel_for).
 * `real` below is float or double as the table says; where a dtype is passed along, the f32 table also takes bf16. */
#ifndef HONE_SRC_KERNEL_TABLE_H
#define HONE_SRC_KERNEL_TABLE_H

#include "kernel/list.h"
#include "tensor/tensor.h"

typedef struct hone__kernels {
    hone_dtype real; /* HONE_F32 or HONE_F64 */
#define HONE_KERNEL(result, name, arguments) result(*name) arguments;
    HONE_KERNEL_LIST(HONE_KERNEL)
#undef HONE_KERNEL
} hone__kernels;

/* The table for a real type on this CPU (HONE_F64, else the f32 one). */
const hone__kernels *hone__kernels_for(hone_dtype real);

/* hone__convert on all threads. */
hone_status hone__convert_all(const hone_ctx *ctx, void *dst, hone_dtype dst_type, const void *src, hone_dtype src_type,
                              int64_t count);

#endif
