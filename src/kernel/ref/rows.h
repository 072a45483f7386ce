/* For kernel/ref/: what several kernels do with a row. */
#ifndef HONE_SRC_KERNEL_ROWS_H
#define HONE_SRC_KERNEL_ROWS_H

#include "kernel/ref/kernel.h"

/* The largest of x[n] and start. In lanes of its own, since compilers reorder no comparison of floats by
   themselves. */
static inline real max_of(const real *x, int64_t n, real start)
{
    enum { WIDE = 32 };
    real lane[WIDE], best = start;
    int64_t i = 0;
    if (n >= WIDE) {
        memcpy(lane, x, sizeof lane);
        for (i = WIDE; i + WIDE <= n; i += WIDE)
            for (int l = 0; l < WIDE; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
        for (int half = WIDE / 2; half; half /= 2)
            for (int l = 0; l < half; l++) lane[l] = lane[l + half] > lane[l] ? lane[l + half] : lane[l];
        best = lane[0] > best ? lane[0] : best;
    }
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

#endif
