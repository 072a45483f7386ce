/* For the files of kernel/ref/ that drop elements. */
#ifndef HONE_SRC_KERNEL_PHILOX_H
#define HONE_SRC_KERNEL_PHILOX_H

#include "kernel/ref/kernel.h"

/* The words of hone__philox(key, block + b) for b in [0, blocks), vectorized. */
static inline void philox_words(uint32_t *w, uint64_t key, uint64_t block, int64_t blocks)
{
    SIMD for (int64_t b = 0; b < blocks; b++) hone__philox_rounds(key, block + (uint64_t)b, w + 4 * b);
}

#endif
