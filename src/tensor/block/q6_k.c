/* 256 values: 128 bytes of low four bits, 64 bytes of upper two bits, 16 signed scales for 16 values each,
   f16 d; d * scale * (q - 32). 64 low bytes hold 128 values, the low halves being the first 64; 32 upper
   bytes hold the same 128, the lowest bit pairs being the first 32. */
#include "tensor/block/block_bits.h"

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 256, b += 210) {
        float d = hone__block_get_f16(b + 208);
        for (int group = 0; group < 16; group++) {
            float scale = d * (float)(int8_t)b[192 + group];
            const uint8_t *low = b + group / 8 * 64 + group % 4 * 16,
                          *high = b + 128 + group / 8 * 32 + group % 2 * 16;
            int low_shift = group % 8 / 4 * 4, high_shift = group % 8 / 2 * 2;
            for (int j = 0; j < 16; j++) {
                int value = (low[j] >> low_shift & 15) | (high[j] >> high_shift & 3) << 4;
                values[i + group * 16 + j] = scale * (float)(value - 32);
            }
        }
    }
}

const hone__block_format hone__block_q6_k = {HONE_Q6_K, unpack, NULL};
