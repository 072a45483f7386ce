/* Dropout of f32 and bf16: 256 elements at once hide the time that products of philox take. */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

void hone__dropout_x86_avx512(void *y, hone_dtype yt, const void *x, hone_dtype xt, uint64_t key, int64_t first, int64_t n,
                              double rate)
{
    const bool to_bf16 = yt == HONE_BF16, from_bf16 = xt == HONE_BF16;
    const __m512i below = _mm512_set1_epi16((short)hone__drop_below(rate));
    const __m512 scale = _mm512_set1_ps((float)hone__drop_scale(rate));
    /* The order of indices with which words come out in the order of elements. */
    const __m512i turns = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    for (int64_t at = 0; at < n; at += 256) {
        __m512i c[4][4];
        for (int i = 0; i < 4; i++) c[i][0] = _mm512_add_epi64(_mm512_set1_epi64((first + at) / 8 + 8 * i), turns);
        philox(key, c);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            __m512i low = lower_halves(c[i / 2][0], c[i / 2][1]), high = lower_halves(c[i / 2][2], c[i / 2][3]);
            __m512i words = i % 2 ? _mm512_unpackhi_epi64(low, high) : _mm512_unpacklo_epi64(low, high);
            __mmask32 stays = _mm512_cmpge_epu16_mask(words, below);
            for (int h = 0; h < 2; h++) {
                int64_t to = at + 32 * i + 16 * h;
                __mmask16 inside = first_lanes(n - to), stay = inside & (__mmask16)(stays >> 16 * h);
                store_real(y, to_bf16, to, inside, _mm512_mul_ps(load_real(x, from_bf16, to, stay), scale));
            }
        }
    }
}
