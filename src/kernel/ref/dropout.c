#include "kernel/ref/kernel.h"

/* The words of hone__philox(key, first / 4 + b) for b in [0, blocks), written out so that it vectorizes. */
static void words(uint32_t *w, uint64_t key, uint64_t block, int64_t blocks)
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

void HONE_K(dropout)(void *y, hone_dtype yt, const void *x, hone_dtype xt, uint64_t key, int64_t first,
                     int64_t n, double rate)
{
    real xs[CHUNK], ys[CHUNK];
    uint32_t w[CHUNK], drop = (uint32_t)(rate * 4294967296.0);
    real scale = (real)(1 / (1 - rate));
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = HONE_MIN(n - at, CHUNK);
        words(w, key, (uint64_t)(first + at) / 4, (m + 3) / 4);
        const real *from = load(x, xt, at, xs, m);
        real *to = stage(y, yt, at, ys);
        SIMD for (int64_t i = 0; i < m; i++) to[i] = w[i] < drop ? 0 : from[i] * scale;
        store(y, yt, at, to, m);
    }
}
