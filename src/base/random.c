#include "base/base.h"

#include <math.h>

void hone__philox(uint64_t key, uint64_t index, uint32_t out[4]) { hone__philox_rounds(key, index, out); }

/* SplitMix64's finalizer: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
static uint64_t finalize(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t hone__key(uint64_t a, uint64_t b) { return finalize(finalize(a + 0x9E3779B97F4A7C15u) ^ b); }

uint64_t hone__hash(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *byte = data;
    uint64_t hash = 0xCBF29CE484222325u ^ seed;
    for (size_t i = 0; i < size; i++) hash = (hash ^ byte[i]) * 0x100000001B3u;
    return finalize(hash);
}

float hone__random_uniform(uint64_t key, uint64_t index)
{
    uint32_t bits[4];
    hone__philox(key, index >> 2, bits);
    return (float)(bits[index & 3] >> 8) * 0x1p-24f;
}

float hone__random_normal(uint64_t key, uint64_t index)
{
    uint32_t bits[4];
    hone__philox(key, index, bits);
    double u = ((double)bits[0] + 1.0) * 0x1p-32, v = (double)bits[1] * 0x1p-32;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

uint64_t hone__random_below(uint64_t key, uint64_t index, uint64_t bound)
{
    uint32_t bits[4];
    hone__philox(key, index, bits);
    uint64_t x = (uint64_t)bits[0] << 32 | bits[1];
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)x * bound) >> 64);
}

void hone__shuffle(uint64_t key, int64_t *order, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = (int64_t)hone__random_below(key, (uint64_t)i, (uint64_t)i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}
