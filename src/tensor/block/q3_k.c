/* 256 values: 32 bytes with the third bit of each value, 64 bytes of low two bits as in q2_k, 12 bytes of
   6-bit scales for 16 values each, f16 d; d * (scale - 32) * (q - 4). */
#include "tensor/block/block_bits.h"

/* Bytes 0-7: the low halves of scales 0-7, then (high half of the byte) of 8-15. Bytes 8-11: their upper
   two bits. */
static int scale_of(const uint8_t *packed, int group)
{
    int low = packed[group % 8] >> group / 8 * 4 & 15, high = packed[8 + group % 4] >> group / 4 * 2 & 3;
    return (low | high << 4) - 32;
}

static void unpack(float *values, const void *blocks, int64_t n)
{
    const uint8_t *b = blocks;
    for (int64_t i = 0; i < n; i += 256, b += 110) {
        float d = hone__block_get_f16(b + 108);
        for (int group = 0; group < 16; group++) {
            float scale = d * (float)scale_of(b + 96, group);
            const uint8_t *third = b + group % 2 * 16, *q = b + 32 + group / 8 * 32 + group % 2 * 16;
            int shift = group % 8 / 2 * 2, bit = group / 2;
            for (int j = 0; j < 16; j++) {
                int value = (q[j] >> shift & 3) | (third[j] >> bit & 1) << 2;
                values[i + group * 16 + j] = scale * (float)(value - 4);
            }
        }
    }
}

const hone__block_format hone__block_q3_k = {HONE_Q3_K, unpack, NULL};
