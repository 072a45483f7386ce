/* 32 values: f16 d, f16 m, 4 bytes of fifth bits and 16 of low four bits as in q5_0; d * q + m. */
#include "tensor/block/block_bits.h"

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += 24) {
        float d = hone__block_get_f16(b), m = hone__block_get_f16(b + 2);
        for (int j = 0; j < 16; j++) {
            int low = (b[8 + j] & 15) | (b[4 + j / 8] >> j % 8 & 1) << 4;
            int high = b[8 + j] >> 4 | (b[6 + j / 8] >> j % 8 & 1) << 4;
            values[i + j] = d * (float)low + m;
            values[i + 16 + j] = d * (float)high + m;
        }
    }
}

const hone__block_format hone__block_q5_1 = {HONE_Q5_1, unpack, NULL};
