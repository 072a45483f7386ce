/* For kernel/x86/: what AVX-512 kernels share. Include from files compiled for AVX-512 or more alone. */
#ifndef HONE_SRC_X86_AVX512_H
#define HONE_SRC_X86_AVX512_H

#include "tensor/tensor.h"

#include <immintrin.h>

#define HONE__LOG2_E 1.44269504f

/* The first n lanes of 16; n may be anything. */
static inline __mmask16 first_lanes(int64_t n) { return n >= 16 ? 0xFFFF : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }
/* ... and of 32. */
static inline __mmask32 first32(int64_t n) { return n >= 32 ? 0xFFFFFFFFu : n <= 0 ? 0 : (1u << n) - 1; }

static inline __m512 widen(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* To bf16, rounded to nearest even; NaN stays NaN. */
static inline __m256i narrow(__m512 x)
{
#ifdef __AVX512BF16__
    return (__m256i)_mm512_cvtneps_pbh(x);
#else
    const __m512i bits = _mm512_castps_si512(x), one = _mm512_set1_epi32(1);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}

/* Lanes of x[at, at + 16) that mask keeps, 0 elsewhere; f32 or bf16. */
static inline __m512 load_real(const void *x, bool bf16, int64_t at, __mmask16 mask)
{
    if (bf16) return widen(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)x + at));
    return _mm512_maskz_loadu_ps(mask, (const float *)x + at);
}
static inline void store_real(void *y, bool bf16, int64_t at, __mmask16 mask, __m512 x)
{
    if (bf16)
        _mm256_mask_storeu_epi16((uint16_t *)y + at, mask, narrow(x));
    else
        _mm512_mask_storeu_ps((float *)y + at, mask, x);
}

/* Lane i is what op makes of x[i]'s lanes. x is changed. */
#define HONE__OF_EACH(name, op)                                                                                            \
    static inline __m512 name(__m512 x[16])                                                                                \
    {                                                                                                                      \
        __m512 y[8];                                                                                                       \
        for (int i = 0; i < 8; i++)                                                                                        \
            y[i] = op(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));             \
        for (int i = 0; i < 4; i++) {                                                                                      \
            __m512d u = _mm512_castps_pd(y[2 * i]), v = _mm512_castps_pd(y[2 * i + 1]);                                    \
            x[i] = op(_mm512_castpd_ps(_mm512_unpacklo_pd(u, v)), _mm512_castpd_ps(_mm512_unpackhi_pd(u, v)));             \
        }                                                                                                                  \
        for (int i = 0; i < 2; i++)                                                                                        \
            y[i] = op(_mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0x88), _mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0xDD)); \
        return op(_mm512_shuffle_f32x4(y[0], y[1], 0x88), _mm512_shuffle_f32x4(y[0], y[1], 0xDD));                         \
    }
HONE__OF_EACH(sum_of_each, _mm512_add_ps)
HONE__OF_EACH(maximum_of_each, _mm512_max_ps)

/* 2^x in the lanes of mask, which must hold x in [-126, 127], and 0 in the others: no denormals, which are slow.
   2^n 2^r with |r| <= 1/2 and a polynomial for 2^r that is best in relative error (1e-7). */
static inline __m512 exp2_in(__mmask16 mask, __m512 x)
{
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.326472731e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.671512991e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550733581e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402224243e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931470037e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    return _mm512_maskz_scalef_ps(mask, p, n);
}

/* 1 / (1 + e^-x); what is below -87 counts as -87. The reciprocal has 14 bits, and 28 after a step of Newton's. */
static inline __m512 sigmoid(__m512 x)
{
    __m512 power = _mm512_min_ps(_mm512_set1_ps(126), _mm512_mul_ps(x, _mm512_set1_ps(-HONE__LOG2_E)));
    power = _mm512_max_ps(_mm512_set1_ps(-126), power); /* NaN passes both, as their second operand */
    __m512 d = _mm512_add_ps(_mm512_set1_ps(1), exp2_in(0xFFFF, power)), y = _mm512_rcp14_ps(d);
    return _mm512_mul_ps(y, _mm512_fnmadd_ps(d, y, _mm512_set1_ps(2)));
}

/* The words of hone__philox(key, index), c[i][k] word k, for 8 indices each in c[i][0]; of each 64 bits the lower half counts. */
static inline void philox(uint64_t key, __m512i c[4][4])
{
    const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* the first round, where the words 2 and 3 are 0 */
        __m512i p0 = _mm512_mul_epu32(c[i][0], m0);
        c[i][0] = _mm512_xor_si512(_mm512_srli_epi64(c[i][0], 32), _mm512_set1_epi64(k0));
        c[i][1] = _mm512_setzero_si512();
        c[i][2] = _mm512_xor_si512(_mm512_srli_epi64(p0, 32), _mm512_set1_epi64(k1));
        c[i][3] = p0;
    }
    for (int round = 1; round < 10; round++) {
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
        const __m512i a = _mm512_set1_epi64(k0), b = _mm512_set1_epi64(k1);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m512i p0 = _mm512_mul_epu32(c[i][0], m0), p1 = _mm512_mul_epu32(c[i][2], m1);
            c[i][0] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c[i][1], a, 0x96); /* exclusive or */
            c[i][2] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c[i][3], b, 0x96);
            c[i][1] = p1;
            c[i][3] = p0;
        }
    }
}
/* Of 64 bits each the lower half: even[0] odd[0] even[1] ... */
static inline __m512i lower_halves(__m512i even, __m512i odd)
{
    return _mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32));
}

/* Two rows of 32 words become pairs of words, one of each row: first[0] second[0] first[1] ... */
static inline void pair_rows(__m512i first, __m512i second, __m512i *low, __m512i *high)
{
    const __m512i turns = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36,
                                           4, 35, 3, 34, 2, 33, 1, 32, 0);
    *low = _mm512_permutex2var_epi16(first, turns, second);
    *high = _mm512_permutex2var_epi16(first, _mm512_add_epi16(turns, _mm512_set1_epi16(16)), second);
}

/* 16 x 16 of 32 bits. */
static inline void transpose16(__m512i r[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xDD);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xDD);
    }
}

#endif
