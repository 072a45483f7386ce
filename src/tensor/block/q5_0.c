/* 32 values: f16 d, 4 bytes with the fifth bit of each value (bit j for value j), then 16 bytes of low
   four bits as in q4_0; d * (q - 16). */
#include "tensor/block/block_bits.h"

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += 22) {
        float d = hone__block_get_f16(b);
        for (int j = 0; j < 16; j++) {
            int low = (b[6 + j] & 15) | (b[2 + j / 8] >> j % 8 & 1) << 4;
            int high = b[6 + j] >> 4 | (b[4 + j / 8] >> j % 8 & 1) << 4;
            values[i + j] = d * (float)(low - 16);
            values[i + 16 + j] = d * (float)(high - 16);
        }
    }
}

const hone__block_format hone__block_q5_0 = {HONE_Q5_0, unpack, NULL};
