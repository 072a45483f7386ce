/* Every kernel, once: K(result, name, (arguments)). */
#ifndef HONE_SRC_KERNEL_LIST_H
#define HONE_SRC_KERNEL_LIST_H

#include "tensor/tensor.h"

/* y[i] = f(x[i]); the enum's order is the order of kernel/ref/unary.c. a and b are the op's parameters. */
typedef enum hone__unary {
    HONE__NEG, HONE__EXP, HONE__LOG, HONE__SQRT, HONE__RSQRT, HONE__ABS, HONE__SIGN, HONE__SIN, HONE__COS,
    HONE__SQUARE, HONE__RECIPROCAL, HONE__SIGMOID, HONE__TANH, HONE__RELU, HONE__LEAKY_RELU /* a */,
    HONE__GELU, HONE__GELU_TANH, HONE__SILU, HONE__SOFTPLUS, HONE__CLAMP /* a..b */, HONE__AFFINE /* a x + b */,
    HONE__ELU /* x > 0 ? x : a (e^(b x) - 1) */
} hone__unary;

typedef enum hone__binary {
    HONE__ADD, HONE__SUB, HONE__MUL, HONE__DIV, HONE__POW, HONE__MAXIMUM, HONE__MINIMUM
} hone__binary;

typedef enum hone__compare { HONE__EQ, HONE__NE, HONE__LT, HONE__LE, HONE__GT, HONE__GE } hone__compare;
typedef enum hone__reduce { HONE__SUM, HONE__MAX, HONE__MIN } hone__reduce;

/* Arguments of the larger kernels are explained where they are defined (kernel/ref/). */
#define HONE_KERNEL_LIST(K)                                                                                   \
    /* elementwise; strides in elements, 0 broadcasts; types f32/bf16 (f32 table) or f64 */                   \
    K(void, unary, (hone__unary op, void *y, hone_dtype yt, const void *x, hone_dtype xt, int64_t sx, int64_t n, \
                    double a, double b))                                                                      \
    /* dx = dy f'(x), from x alone */                                                                         \
    K(void, unary_grad, (hone__unary op, void *dx, hone_dtype dxt, const void *x, hone_dtype xt, const void *dy, \
                         hone_dtype dyt, int64_t n, double a, double b))                                      \
    K(void, binary, (hone__binary op, void *y, hone_dtype yt, const void *a, hone_dtype at, int64_t sa,       \
                     const void *b, hone_dtype bt, int64_t sb, int64_t n))                                    \
    /* f32 (f32 table), f64 (its own), i32, i64 or u8: both of type t */                                      \
    K(void, compare, (hone__compare op, uint8_t *y, hone_dtype t, const void *a, int64_t sa, const void *b,   \
                      int64_t sb, int64_t n))                                                                 \
    /* any plain type t, moved as it is */                                                                    \
    K(void, where, (void *y, hone_dtype t, const uint8_t *c, int64_t sc, const void *a, int64_t sa, const void *b, \
                    int64_t sb, int64_t n))                                                                   \
    K(void, move, (void *y, hone_dtype yt, int64_t sy, const void *x, hone_dtype xt, int64_t sx, int64_t n))  \
    /* y (+)= x; y += scale x */                                                                              \
    K(void, copy, (void *y, hone_dtype yt, const void *x, hone_dtype xt, int64_t sx, int64_t n))              \
    K(void, axpy, (void *y, const void *x, hone_dtype xt, double scale, int64_t n))                           \
    /* one value from n elements, stride sx; sums in blocks of fixed order */                                 \
    K(double, reduce, (hone__reduce op, const void *x, hone_dtype xt, int64_t sx, int64_t n))                 \
    /* y[j] = y[j] (op) x[j]: one row into an accumulator row */                                              \
    K(void, reduce_row, (hone__reduce op, void *y, const void *x, hone_dtype xt, int64_t n))                  \
    K(int64_t, argmax, (const void *x, int64_t sx, int64_t n))                                                \
    K(double, dot, (const void *a, const void *b, int64_t n))                                                 \
    /* C[m, n] = alpha A[m, k] B[k, n] + beta C; row and column strides; scratch of gemm_scratch reals */     \
    K(int64_t, gemm_scratch, (int64_t m, int64_t n, int64_t k))                                               \
    K(void, gemm, (int64_t m, int64_t n, int64_t k, double alpha, const void *a, int64_t ars, int64_t acs,    \
                   const void *b, int64_t brs, int64_t bcs, double beta, void *c, int64_t crs, void *scratch))  \
    HONE_KERNEL_LIST_NN(K)                                                                                    \
    HONE_KERNEL_LIST_OPTIM(K)

#include "kernel/list_nn.h"
#include "kernel/list_optim.h"

#endif
