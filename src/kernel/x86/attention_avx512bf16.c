/* Attention with AVX512-BF16: VDPBF16PS multiplies a pair by 16 pairs. */
#include "tensor/tensor.h"

#include <immintrin.h>

#define X86(name) hone__##name##_x86_avx512bf16

static inline void open_products(void) {}
static inline void close_products(void) {}

/* C[m, n] (+)= A[m, k] B[k, n]: m, n, k multiples of 32; B in pairs (k / 2, n); strides of rows in elements. */
static void product(int64_t m, int64_t n, int64_t k, const uint16_t *a, int64_t a_row, const uint32_t *b, int64_t b_row,
                    float *c, int64_t c_row, bool add)
{
    enum { HIGH = 8 }; /* rows at once: 2 x 8 sums stay in registers */
    for (int64_t i = 0; i < m; i += HIGH)
        for (int64_t j = 0; j < n; j += 32) {
            __m512 sum[HIGH][2];
            float *to = c + i * c_row + j;
            for (int r = 0; r < HIGH; r++)
                for (int h = 0; h < 2; h++)
                    sum[r][h] = add ? _mm512_loadu_ps(to + r * c_row + 16 * h) : _mm512_setzero_ps();
            for (int64_t p = 0; p < k; p += 2) {
                const uint32_t *row = b + p / 2 * b_row + j;
                __m512bh low = (__m512bh)_mm512_loadu_si512(row), high = (__m512bh)_mm512_loadu_si512(row + 16);
                for (int r = 0; r < HIGH; r++) {
                    int32_t pair;
                    memcpy(&pair, a + (i + r) * a_row + p, 4);
                    __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
                    sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, low);
                    sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, high);
                }
            }
            for (int r = 0; r < HIGH; r++)
                for (int h = 0; h < 2; h++) _mm512_storeu_ps(to + r * c_row + 16 * h, sum[r][h]);
        }
}

#include "kernel/x86/attention_backward.h"
#include "kernel/x86/attention_forward.h"
