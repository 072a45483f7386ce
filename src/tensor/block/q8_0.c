/* 32 values: f16 d, then 32 signed bytes q; d * q. */
#include "tensor/block/block_bits.h"

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += 34) {
        float d = hone__block_get_f16(b);
        for (int j = 0; j < 32; j++) values[i + j] = d * (float)(int8_t)b[2 + j];
    }
}

/* ggml's quantize_row_q8_0_ref: halves away from zero. */
static void pack(void *blocks, const float *values, int64_t n)
{
    uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += 34) {
        const float *x = values + i;
        float largest = 0.0f;
        for (int j = 0; j < 32; j++) largest = fmaxf(largest, fabsf(x[j]));
        float d = largest / 127.0f, inverse = hone__block_inverse(d);
        hone__block_put_f16(b, d);
        for (int j = 0; j < 32; j++) b[2 + j] = (uint8_t)hone__block_clamp(roundf(x[j] * inverse), -127, 127);
    }
}

const hone__block_format hone__block_q8_0 = {HONE_Q8_0, unpack, pack};
