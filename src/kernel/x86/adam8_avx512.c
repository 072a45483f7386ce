/* Adam with moments of 8 bits: what kernel/ref/optim.c says, without tables of 256 values and chains of comparisons. The map
   is a floating-point format of its own, with powers of ten for exponents: decade d has width 2^d cells, so that the numbers
   of its codes, width - 1 added, are the floats whose exponent is d + width - 1 and whose fraction is the place in the decade.
   What depends on the decade alone comes from registers of 16 or 32 values by a permutation. */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))
enum { DECADES = 7, NEGATIVE = 127 /* magnitudes of negative values */, BLOCK = HONE__ADAM8_BLOCK };

/* The map in registers. By the four low bits of a float's exponent: a value is slope (fraction) + value. By the five low
   bits: the border that lies within the binade, and the step below it (0 the zero, 1 .. 7 the decades, 8 the one). By step:
   a number is a factor + offset, within [first, most]. */
typedef struct map {
    __m512 slope, value, border[2], factor, offset, first, most;
    __m512i step[2];
} map;

INLINE map make_map(int width)
{
    float slope[16] = {0}, value[16] = {0}, border[32], factor[16] = {0}, offset[16] = {0}, first[16] = {0}, most[16] = {0};
    int step[32];
    double limit[DECADES + 1], last = 0, unit = 1e-6;
    for (int d = 0; d < DECADES; d++, unit *= 10) {
        int cells = width << d, bits = (127 + d + width - 1) & 15;
        slope[bits] = (float)(0.9 * unit);
        value[bits] = (float)(unit * (0.1 + 0.45 / cells));
        limit[d] = (float)((last + unit * (0.1 + 0.45 / cells)) / 2);
        last = unit * (0.1 + 0.9 * (cells - 0.5) / cells);
        first[d + 1] = (float)(cells - (width - 1));
        most[d + 1] = first[d + 1] + (float)cells - 0.5F;
        factor[d + 1] = (float)(cells / (0.9 * unit));
        offset[d + 1] = first[d + 1] - (float)(0.1 * cells / 0.9);
    }
    limit[DECADES] = (float)((last + 1) / 2);
    value[(127 + DECADES + width - 1) & 15] = 1;
    offset[DECADES + 1] = first[DECADES + 1] = most[DECADES + 1] = (float)(NEGATIVE * width + 1);
    for (int e = -31; e <= 0; e++) {
        int at = (127 + e) & 31;
        border[at] = INFINITY;
        step[at] = 0;
        for (int d = 0; d <= DECADES; d++) {
            if (limit[d] >= ldexp(1, e + 1)) continue;
            if (limit[d] <= ldexp(1, e))
                step[at] = d + 1;
            else
                border[at] = (float)limit[d];
        }
    }
    return (map){_mm512_loadu_ps(slope), _mm512_loadu_ps(value), {_mm512_loadu_ps(border), _mm512_loadu_ps(border + 16)},
                 _mm512_loadu_ps(factor), _mm512_loadu_ps(offset), _mm512_loadu_ps(first), _mm512_loadu_ps(most),
                 {_mm512_loadu_si512(step), _mm512_loadu_si512(step + 16)}};
}

/* 16 codes; those of negative values are 256 - number, and 128 is 1. */
INLINE __m512 decode(const map *t, bool is_signed, const uint8_t *codes)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)codes);
    __m512i number = is_signed ? _mm512_abs_epi32(_mm512_cvtepi8_epi32(bytes)) : _mm512_cvtepu8_epi32(bytes);
    __m512 x = _mm512_cvtepi32_ps(is_signed ? number : _mm512_add_epi32(number, _mm512_set1_epi32(1)));
    __m512i exponent = _mm512_srli_epi32(_mm512_castps_si512(x), 23);
    __m512 fraction = _mm512_sub_ps(_mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero), _mm512_set1_ps(1));
    __m512 y = _mm512_fmadd_ps(_mm512_permutexvar_ps(exponent, t->slope), fraction, _mm512_permutexvar_ps(exponent, t->value));
    if (!is_signed) return y;
    y = _mm512_maskz_mov_ps(_mm512_test_epi32_mask(number, number), y);
    __mmask16 negative = _mm_cmpgt_epi8_mask(bytes, _mm_set1_epi8(-128)) & _mm_movepi8_mask(bytes);
    return _mm512_mask_sub_ps(y, negative, _mm512_setzero_ps(), y);
}

/* The codes of the values nearest to x / scale. */
INLINE void encode(const map *t, bool is_signed, uint8_t *codes, __m512 x, __m512 inverse)
{
    const __m512 least = _mm512_set1_ps(0x1p-31F); /* counts as 0 */
    __m512 a = _mm512_max_ps(_mm512_mul_ps(_mm512_abs_ps(x), inverse), least);
    __m512i exponent = _mm512_srli_epi32(_mm512_castps_si512(a), 23);
    __m512i step = _mm512_permutex2var_epi32(t->step[0], exponent, t->step[1]);
    __mmask16 beyond = _mm512_cmp_ps_mask(a, _mm512_permutex2var_ps(t->border[0], exponent, t->border[1]), _CMP_GE_OQ);
    step = _mm512_mask_add_epi32(step, beyond, step, _mm512_set1_epi32(1));
    __m512 number = _mm512_fmadd_ps(a, _mm512_permutexvar_ps(step, t->factor), _mm512_permutexvar_ps(step, t->offset));
    number = _mm512_min_ps(_mm512_max_ps(number, _mm512_permutexvar_ps(step, t->first)), _mm512_permutexvar_ps(step, t->most));
    __m512i code = _mm512_cvttps_epi32(number);
    if (is_signed) {
        __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
        code = _mm512_mask_min_epi32(code, negative, code, _mm512_set1_epi32(NEGATIVE));
        code = _mm512_mask_sub_epi32(code, negative, _mm512_setzero_si512(), code);
    }
    _mm_storeu_si128((__m128i *)(void *)codes, _mm512_cvtepi32_epi8(code));
}

INLINE __m512 inverse_of(float scale) { return _mm512_set1_ps(scale > 0 ? 1 / scale : 0); }

void hone__adam8_x86_avx512(bool decoupled, void *param, const void *grad, uint8_t *m, uint8_t *v, float *m_scale,
                            float *v_scale, int64_t n, double learning_rate, double beta1, double beta2, double eps,
                            double weight_decay, int64_t step, double grad_scale)
{
    const __m512 keep = _mm512_set1_ps(decoupled ? (float)(1 - learning_rate * weight_decay) : 1);
    const __m512 decay = _mm512_set1_ps(decoupled ? 0 : (float)weight_decay), scale = _mm512_set1_ps((float)grad_scale);
    const __m512 new1 = _mm512_set1_ps((float)(1 - beta1)), new2 = _mm512_set1_ps((float)(1 - beta2));
    const __m512 old2 = _mm512_set1_ps((float)beta2), epsilon = _mm512_set1_ps((float)eps);
    const __m512 rate = _mm512_set1_ps((float)(learning_rate / (1 - pow(beta1, (double)step))));
    const __m512 inverse_root2 = _mm512_set1_ps((float)(1 / sqrt(1 - pow(beta2, (double)step))));
    const map m_map = make_map(1), v_map = make_map(2); /* nothing beside a piece's work */
    for (int64_t b = 0; b < n / BLOCK; b++, m += BLOCK, v += BLOCK) {
        _Alignas(64) float first[BLOCK], second[BLOCK];
        float *p = (float *)param + b * BLOCK;
        const float *g = (const float *)grad + b * BLOCK;
        const __m512 m_old = _mm512_set1_ps(m_scale[b]), v_old = _mm512_set1_ps(v_scale[b]);
        __m512 m_most = _mm512_setzero_ps(), v_most = m_most;
        for (int i = 0; i < BLOCK; i += 16) {
            __m512 w = _mm512_loadu_ps(p + i), d = _mm512_fmadd_ps(decay, w, _mm512_mul_ps(_mm512_loadu_ps(g + i), scale));
            __m512 mi = _mm512_mul_ps(decode(&m_map, true, m + i), m_old), vi = _mm512_mul_ps(decode(&v_map, false, v + i), v_old);
            mi = _mm512_fmadd_ps(new1, _mm512_sub_ps(d, mi), mi);
            vi = _mm512_fmadd_ps(old2, vi, _mm512_mul_ps(_mm512_mul_ps(new2, d), d));
            __m512 divisor = _mm512_fmadd_ps(_mm512_sqrt_ps(vi), inverse_root2, epsilon);
            w = _mm512_sub_ps(_mm512_mul_ps(w, keep), _mm512_div_ps(_mm512_mul_ps(rate, mi), divisor));
            _mm512_storeu_ps(p + i, w);
            _mm512_store_ps(first + i, mi);
            _mm512_store_ps(second + i, vi);
            m_most = _mm512_max_ps(m_most, _mm512_abs_ps(mi));
            v_most = _mm512_max_ps(v_most, vi);
        }
        m_scale[b] = _mm512_reduce_max_ps(m_most);
        v_scale[b] = _mm512_reduce_max_ps(v_most);
        const __m512 m_inverse = inverse_of(m_scale[b]), v_inverse = inverse_of(v_scale[b]);
        for (int i = 0; i < BLOCK; i += 16) {
            encode(&m_map, true, m + i, _mm512_load_ps(first + i), m_inverse);
            encode(&v_map, false, v + i, _mm512_load_ps(second + i), v_inverse);
        }
    }
}
