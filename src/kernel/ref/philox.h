/* For the files of kernel/ref/ that drop elements. */
#ifndef HONE_SRC_KERNEL_PHILOX_H
#define HONE_SRC_KERNEL_PHILOX_H

#include "kernel/ref/kernel.h"

/* The words of hone__philox(key, first / 4 + b) for b in [0, blocks), written out so that it vectorizes. */
static inline void philox_words(uint32_t *w, uint64_t key, uint64_t block, int64_t blocks)
{
    SIMD for (int64_t b = 0; b < blocks; b++)
    {
        uint64_t index = block + (uint64_t)b;
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = 0, c3 = 0;
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
            c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
            c1 = (uint32_t)p1;
            c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
            c3 = (uint32_t)p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        w[4 * b] = c0;
        w[4 * b + 1] = c1;
        w[4 * b + 2] = c2;
        w[4 * b + 3] = c3;
    }
}

#endif
