/* 256 values: f16 d, f16 dmin, 12 bytes of 6-bit scales and minima for 32 values each, 128 bytes of 4-bit q;
   d * scale * q - dmin * minimum. 32 bytes of q hold 64 values: the low halves are the first 32. */
#include "tensor/block/block_bits.h"

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 256, b += 144) {
        float d = hone__block_get_f16(b), dmin = hone__block_get_f16(b + 2);
        for (int group = 0; group < 8; group++) {
            float scale, min;
            hone__block_scale_min(b + 4, group, &scale, &min);
            scale *= d;
            min *= dmin;
            const uint8_t *q = b + 16 + group / 2 * 32;
            int shift = group % 2 * 4;
            for (int j = 0; j < 32; j++)
                values[i + group * 32 + j] = scale * (float)(q[j] >> shift & 15) - min;
        }
    }
}

const hone__block_format hone__block_q4_k = {HONE_Q4_K, unpack, NULL};
