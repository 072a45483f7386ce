/* 256 values: f16 d, f16 dmin, 12 bytes of 6-bit scales and minima as in q4_k, 32 bytes of fifth bits (bit
   g of byte j belongs to value j of group g), 128 bytes of low four bits as in q4_k; d * scale * q - dmin
   * minimum. */
#include "tensor/block/block_bits.h"

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 256, b += 176) {
        float d = hone__block_get_f16(b), dmin = hone__block_get_f16(b + 2);
        for (int group = 0; group < 8; group++) {
            float scale, min;
            hone__block_scale_min(b + 4, group, &scale, &min);
            scale *= d;
            min *= dmin;
            const uint8_t *fifth = b + 16, *q = b + 48 + group / 2 * 32;
            int shift = group % 2 * 4;
            for (int j = 0; j < 32; j++) {
                int value = (q[j] >> shift & 15) | (fifth[j] >> group & 1) << 4;
                values[i + group * 32 + j] = scale * (float)value - min;
            }
        }
    }
}

const hone__block_format hone__block_q5_k = {HONE_Q5_K, unpack, NULL};
