/* Attention with AMX: TDPBF16PS multiplies a tile of 16 x 32 by one of 32 x 16 (in pairs) into 16 x 16 f32. */
#include "tensor/tensor.h"

#include "kernel/x86/tiles.h"

#define X86(name) hone__##name##_x86_amx

static inline void open_products(void) { open_full_tiles(); }
static inline void close_products(void) { _tile_release(); }

/* C[m, n] (+)= A[m, k] B[k, n]: m, n, k multiples of 32; B in pairs (k / 2, n); strides of rows in elements. */
static void product(int64_t m, int64_t n, int64_t k, const uint16_t *a, int64_t a_row, const uint32_t *b, int64_t b_row,
                    float *c, int64_t c_row, bool add)
{
    for (int64_t i = 0; i < m; i += 32)
        for (int64_t j = 0; j < n; j += 32) {
            float *to = c + i * c_row + j;
            begin_square(to, c_row, add);
            for (int64_t p = 0; p < k; p += 32) {
                _tile_loadd(4, a + i * a_row + p, a_row * 2);
                _tile_loadd(6, b + p / 2 * b_row + j, b_row * 4);
                _tile_loadd(7, b + p / 2 * b_row + j + 16, b_row * 4);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_loadd(5, a + (i + 16) * a_row + p, a_row * 2);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
            store_square(to, c_row);
        }
}

#include "kernel/x86/attention_backward.h"
#include "kernel/x86/attention_forward.h"
