/* 256 values: 16 bytes of scales (low half: scale, high half: minimum, of 16 values each), 64 bytes of
   2-bit q, f16 d, f16 dmin; d * scale * q - dmin * minimum. A run of 32 bytes of q holds 128 values: its
   lowest bit pairs are the first 32 of them, and so on. */
#include "tensor/block/block_bits.h"

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 256, b += 84) {
        float d = hone__block_get_f16(b + 80), dmin = hone__block_get_f16(b + 82);
        for (int group = 0; group < 16; group++) {
            float scale = d * (float)(b[group] & 15), min = dmin * (float)(b[group] >> 4);
            const uint8_t *q = b + 16 + group / 8 * 32 + group % 2 * 16;
            int shift = group % 8 / 2 * 2;
            for (int j = 0; j < 16; j++)
                values[i + group * 16 + j] = scale * (float)(q[j] >> shift & 3) - min;
        }
    }
}

const hone__block_format hone__block_q2_k = {HONE_Q2_K, unpack, NULL};
