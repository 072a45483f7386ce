/* swiglu where everything lies dense and has one type, f32 or bf16. Included by swiglu_<isa>.c, which define X86(name). */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#define INLINE static inline __attribute__((always_inline))

/* What comes next, of streams that end at each page for the CPU: `at` is the first of 32 elements. */
INLINE void fetch(const void *x, bool bf16, int64_t at, bool write)
{
    enum { AHEAD = 32 }; /* lines */
    const char *line = (const char *)x + at * (bf16 ? 2 : 4) + AHEAD * 64;
    if (!x) return;
    if (write)
        __builtin_prefetch(line, 1);
    else
        __builtin_prefetch(line, 0);
    if (!bf16 && write) __builtin_prefetch(line + 64, 1);
    if (!bf16 && !write) __builtin_prefetch(line + 64, 0);
}

/* Elements [at, at + 16) that mask keeps. */
INLINE void forward16(void *y, const void *gate, const void *up, bool bf16, int64_t at, __mmask16 mask)
{
    __m512 g = load_real(gate, bf16, at, mask), u = load_real(up, bf16, at, mask);
    store_real(y, bf16, at, mask, _mm512_mul_ps(_mm512_mul_ps(g, sigmoid(g)), u));
}

INLINE void forward(void *y, const void *gate, const void *up, bool bf16, int64_t n)
{
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        fetch(gate, bf16, i, false);
        fetch(up, bf16, i, false);
        fetch(y, bf16, i, true);
        forward16(y, gate, up, bf16, i, 0xFFFF);
        forward16(y, gate, up, bf16, i + 16, 0xFFFF);
    }
    for (; i + 16 <= n; i += 16) forward16(y, gate, up, bf16, i, 0xFFFF);
    if (i < n) forward16(y, gate, up, bf16, i, first_lanes(n - i));
}

void X86(swiglu)(void *y, hone_dtype yt, const void *gate, hone_dtype gt, int64_t gs, const void *up, hone_dtype ut,
                 int64_t us, int64_t n)
{
    if (gs != 1 || us != 1 || gt != yt || ut != yt)
        hone__kernels_avx512_f32.swiglu(y, yt, gate, gt, gs, up, ut, us, n);
    else if (yt == HONE_BF16)
        forward(y, gate, up, true, n);
    else
        forward(y, gate, up, false, n);
}

INLINE void backward16(void *dgate, void *dup, const void *gate, const void *up, const void *dy, bool bf16, int64_t at,
                       __mmask16 mask)
{
    __m512 g = load_real(gate, bf16, at, mask), u = load_real(up, bf16, at, mask), d = load_real(dy, bf16, at, mask);
    __m512 s = sigmoid(g), silu = _mm512_mul_ps(g, s);
    __m512 slope = _mm512_fmadd_ps(silu, _mm512_sub_ps(_mm512_set1_ps(1), s), s); /* s + g s (1 - s) */
    if (dup) store_real(dup, bf16, at, mask, _mm512_mul_ps(d, silu));
    if (dgate) store_real(dgate, bf16, at, mask, _mm512_mul_ps(_mm512_mul_ps(d, u), slope));
}

INLINE void backward(void *dgate, void *dup, const void *gate, const void *up, const void *dy, bool bf16, int64_t n)
{
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        fetch(gate, bf16, i, false);
        fetch(up, bf16, i, false);
        fetch(dy, bf16, i, false);
        fetch(dgate, bf16, i, true);
        fetch(dup, bf16, i, true);
        backward16(dgate, dup, gate, up, dy, bf16, i, 0xFFFF);
        backward16(dgate, dup, gate, up, dy, bf16, i + 16, 0xFFFF);
    }
    for (; i + 16 <= n; i += 16) backward16(dgate, dup, gate, up, dy, bf16, i, 0xFFFF);
    if (i < n) backward16(dgate, dup, gate, up, dy, bf16, i, first_lanes(n - i));
}

void X86(swiglu_grad)(void *dgate, hone_dtype dgt, void *dup, hone_dtype dut, const void *gate, hone_dtype gt, int64_t gs,
                      const void *up, hone_dtype ut, int64_t us, const void *dy, hone_dtype dyt, int64_t ds, int64_t n)
{
    bool alike = ut == gt && dyt == gt && (!dgate || dgt == gt) && (!dup || dut == gt);
    if (gs != 1 || us != 1 || ds != 1 || !alike)
        hone__kernels_avx512_f32.swiglu_grad(dgate, dgt, dup, dut, gate, gt, gs, up, ut, us, dy, dyt, ds, n);
    else if (gt == HONE_BF16)
        backward(dgate, dup, gate, up, dy, true, n);
    else
        backward(dgate, dup, gate, up, dy, false, n);
}
