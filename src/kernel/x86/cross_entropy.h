/* The two passes of cross entropy over logits, which large vocabularies feel; included by a file an instruction set. */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#include <math.h>

enum { CHUNK = 1024 /* columns whose sum is f32 */ };

/* e^(x - shift), 0 where that is below 2^-126; NaN stays NaN. The product with log2 e has its second half. */
static inline __m512 exp_minus(__m512 x, __m512 shift)
{
    const __m512 high = _mm512_set1_ps(HONE__LOG2_E), low = _mm512_set1_ps(1.92596299e-8f);
    __m512 d = _mm512_sub_ps(x, shift), t = _mm512_fmadd_ps(d, low, _mm512_mul_ps(d, high));
    return exp2_in(_mm512_cmp_ps_mask(t, _mm512_set1_ps(-126), _CMP_NLT_UQ), _mm512_min_ps(_mm512_set1_ps(127), t));
}

static inline float largest(const float *x, int64_t n, float so_far)
{
    __m512 top = _mm512_set1_ps(so_far);
    __mmask16 larger = 0;
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = first_lanes(n - i);
        larger |= _mm512_mask_cmp_ps_mask(mask, _mm512_maskz_loadu_ps(mask, x + i), top, _CMP_GT_OQ);
    }
    if (!larger) return so_far; /* as it is with most pieces of a row */
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = first_lanes(n - i);
        top = _mm512_mask_max_ps(top, mask, _mm512_maskz_loadu_ps(mask, x + i), top);
    }
    return _mm512_reduce_max_ps(top);
}

void X86(lse_block)(void *max, void *sum, void *picked, const void *x, int64_t stride, const int32_t *target, int64_t first,
                    int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *from = (const float *)x + r * stride;
        float *m = (float *)max + r, *s = (float *)sum + r, top = largest(from, columns, *m);
        int64_t t = target[r] - first;
        if (target[r] >= 0 && t >= 0 && t < columns) ((float *)picked)[r] = from[t];
        if (top == -INFINITY) continue;
        double total = top == *m ? (double)*s : (double)*s * (double)expf(*m - top);
        for (int64_t at = 0; at < columns; at += CHUNK) {
            int64_t end = HONE_MIN(columns, at + CHUNK);
            __m512 part = _mm512_setzero_ps(), shift = _mm512_set1_ps(top);
            for (int64_t i = at; i < end; i += 16) {
                __mmask16 mask = first_lanes(end - i);
                part = _mm512_mask_add_ps(part, mask, part, exp_minus(_mm512_maskz_loadu_ps(mask, from + i), shift));
            }
            total += (double)_mm512_reduce_add_ps(part);
        }
        *m = top;
        *s = (float)total;
    }
}

void X86(exp_block)(void *y, hone_dtype yt, int64_t y_stride, void *shift, void *sum, void *picked, void *factor, const void *x,
                    int64_t stride, const int32_t *target, int64_t first, int64_t rows, int64_t columns)
{
    if (yt != HONE_F32 && yt != HONE_BF16) {
        hone__kernels_avx512_f32.exp_block(y, yt, y_stride, shift, sum, picked, factor, x, stride, target, first, rows, columns);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *from = (const float *)x + r * stride;
        float *m = (float *)shift + r, *s = (float *)sum + r, room = *m + HONE__EXP_ROOM;
        float top = *m == -INFINITY ? largest(from, columns, *m) : largest(from, columns, room);
        int64_t t = target[r] - first;
        if (target[r] >= 0 && t >= 0 && t < columns) ((float *)picked)[r] = from[t];
        if (top > room) {
            float change = expf(*m - top);
            if (*m > -INFINITY) ((float *)factor)[r] *= change;
            *m = top;
            *s *= change;
        }
        __m512 total = _mm512_setzero_ps(), by = _mm512_set1_ps(*m == -INFINITY ? 0 : *m);
        for (int64_t i = 0; i < columns; i += 16) {
            __mmask16 mask = first_lanes(columns - i);
            __m512 e = exp_minus(_mm512_maskz_loadu_ps(mask, from + i), by);
            total = _mm512_mask_add_ps(total, mask, total, e);
            store_real(y, yt == HONE_BF16, r * y_stride + i, mask, e);
        }
        *s += _mm512_reduce_add_ps(total);
    }
}

void X86(cross_entropy_grad)(void *dx, hone_dtype dxt, int64_t dx_stride, const void *x, int64_t stride, const void *lse,
                             const void *dloss, const int32_t *target, const void *weight, int64_t first, int64_t rows,
                             int64_t columns)
{
    if (dxt != HONE_F32 && dxt != HONE_BF16) {
        hone__kernels_avx512_f32.cross_entropy_grad(dx, dxt, dx_stride, x, stride, lse, dloss, target, weight, first, rows,
                                                    columns);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *from = (const float *)x + r * stride;
        bool half = dxt == HONE_BF16;
        float w = weight ? ((const float *)weight)[r] : 1, c = target[r] < 0 ? 0 : ((const float *)dloss)[r] * w;
        int64_t t = target[r] - first;
        __m512 scale = _mm512_set1_ps(c), shift = _mm512_set1_ps(((const float *)lse)[r]);
        for (int64_t i = 0; i < columns; i += 16) {
            __mmask16 mask = first_lanes(columns - i);
            __m512 y = _mm512_setzero_ps();
            if (c != 0) y = _mm512_mul_ps(scale, exp_minus(_mm512_maskz_loadu_ps(mask, from + i), shift));
            if (c != 0 && t >= i && t < i + 16) y = _mm512_mask_sub_ps(y, (__mmask16)(1 << (t - i)), y, scale);
            store_real(dx, half, r * dx_stride + i, mask, y);
        }
    }
}
