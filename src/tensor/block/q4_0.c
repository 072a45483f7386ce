/* 32 values: f16 d, then 16 bytes of 4-bit q: the low halves are values 0-15, the high ones 16-31; d * (q
   - 8). */
#include "tensor/block/block_bits.h"

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += 18) {
        float d = hone__block_get_f16(b);
        for (int j = 0; j < 16; j++) {
            values[i + j] = d * (float)((b[2 + j] & 15) - 8);
            values[i + 16 + j] = d * (float)((b[2 + j] >> 4) - 8);
        }
    }
}

/* ggml's quantize_row_q4_0_ref: the value of largest magnitude becomes -8. */
static void pack(void *blocks, const float *values, int64_t n)
{
    uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += 18) {
        const float *x = values + i;
        float largest = 0.0f, extreme = 0.0f;
        for (int j = 0; j < 32; j++)
            if (fabsf(x[j]) > largest) largest = fabsf(x[j]), extreme = x[j];
        float d = extreme / -8.0f, inverse = hone__block_inverse(d);
        hone__block_put_f16(b, d);
        for (int j = 0; j < 16; j++) {
            int low = hone__block_clamp(x[j] * inverse + 8.5f, 0, 15);
            int high = hone__block_clamp(x[16 + j] * inverse + 8.5f, 0, 15);
            b[2 + j] = (uint8_t)(low | high << 4);
        }
    }
}

const hone__block_format hone__block_q4_0 = {HONE_Q4_0, unpack, pack};
