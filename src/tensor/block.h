/* Block formats of quantized weights: one file each in tensor/block/ (their dot products are kernels). Layouts are ggml's (ggml-common.h, MIT). */
#ifndef HONE_SRC_BLOCK_H
#define HONE_SRC_BLOCK_H

#include "tensor/tensor.h"

/* f32 -> blocks and back, for n elements (n a multiple of the block). pack is NULL where Hone does not write the format. */
typedef struct hone__block_format {
    hone_dtype dtype;
    void (*unpack)(float *values, const void *blocks, int64_t n);
    void (*pack)(void *blocks, const float *values, int64_t n);
} hone__block_format;

extern const hone__block_format hone__block_q4_0, hone__block_q4_1, hone__block_q5_0, hone__block_q5_1,
    hone__block_q8_0, hone__block_q2_k, hone__block_q3_k, hone__block_q4_k, hone__block_q5_k, hone__block_q6_k;
/* NULL when dtype is not a block format. */
const hone__block_format *hone__block_format_of(hone_dtype dtype);

#endif
