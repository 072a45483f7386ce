#include "kernel/ref/philox.h"

void HONE_K(dropout)(void *y, hone_dtype yt, const void *x, hone_dtype xt, uint64_t key, int64_t first,
                     int64_t n, double rate)
{
    real xs[CHUNK], ys[CHUNK];
    uint32_t w[CHUNK / 2], below = hone__drop_below(rate);
    real scale = (real)hone__drop_scale(rate);
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = HONE_MIN(n - at, CHUNK);
        philox_words(w, key, (uint64_t)(first + at) / 8, (m + 7) / 8);
        const real *from = load(x, xt, at, xs, m);
        real *to = stage(y, yt, at, ys);
        SIMD for (int64_t i = 0; i < m; i++) to[i] = (w[i / 2] >> 16 * (i % 2) & 0xFFFF) < below ? 0 : from[i] * scale;
        store(y, yt, at, to, m);
    }
}
