/* What the block formats share: little-endian f16 scales at any alignment, rounding as ggml's reference
   quantizers do. */
#ifndef HONE_SRC_BLOCK_BITS_H
#define HONE_SRC_BLOCK_BITS_H

#include "tensor/block.h"

#include <math.h>

static inline float hone__block_get_f16(const uint8_t *p)
{
    return hone__f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}
static inline void hone__block_put_f16(uint8_t *p, float value)
{
    uint16_t h = hone__f32_to_f16(value);
    p[0] = (uint8_t)(h & 255), p[1] = (uint8_t)(h >> 8);
}

/* 1 / d, and 0 for d = 0: a block of zeros. */
static inline float hone__block_inverse(float d) { return d != 0.0f ? 1.0f / d : 0.0f; }

/* Truncates to [least, most]; NaN, which ggml leaves undefined, becomes least. */
static inline int hone__block_clamp(float v, int least, int most)
{
    return v >= (float)most ? most : v > (float)least ? (int)v : least;
}

/* q4_k and q5_k: scale and minimum j of 8, six bits each, packed into 12 bytes: 0-3 and 4-7 hold the first
   four scales and minima, their upper two bits those of the last four, whose lower halves are in 8-11. */
static inline void hone__block_scale_min(const uint8_t *packed, int j, float *scale, float *min)
{
    int s, m;
    if (j < 4) {
        s = packed[j] & 63;
        m = packed[j + 4] & 63;
    } else {
        s = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
        m = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
    }
    *scale = (float)s;
    *min = (float)m;
}

#endif
