/* 32 values: f16 d, f16 m, then 16 bytes of 4-bit q as in q4_0; d * q + m. */
#include "tensor/block/block_bits.h"

#include <float.h>

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += 20) {
        float d = hone__block_get_f16(b), m = hone__block_get_f16(b + 2);
        for (int j = 0; j < 16; j++) {
            values[i + j] = d * (float)(b[4 + j] & 15) + m;
            values[i + 16 + j] = d * (float)(b[4 + j] >> 4) + m;
        }
    }
}

/* ggml's quantize_row_q4_1_ref: the smallest value becomes 0, the largest 15. */
static void pack(void *blocks, const float *values, int64_t n)
{
    uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += 20) {
        const float *x = values + i;
        float least = FLT_MAX, most = -FLT_MAX;
        for (int j = 0; j < 32; j++) {
            if (x[j] < least) least = x[j];
            if (x[j] > most) most = x[j];
        }
        float d = (most - least) / 15.0f, inverse = hone__block_inverse(d);
        hone__block_put_f16(b, d);
        hone__block_put_f16(b + 2, least);
        for (int j = 0; j < 16; j++) {
            int low = hone__block_clamp((x[j] - least) * inverse + 0.5f, 0, 15);
            int high = hone__block_clamp((x[16 + j] - least) * inverse + 0.5f, 0, 15);
            b[4 + j] = (uint8_t)(low | high << 4);
        }
    }
}

const hone__block_format hone__block_q4_1 = {HONE_Q4_1, unpack, pack};
