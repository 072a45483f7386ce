/* Products of bf16 and f32 matrices with f32 sums, in two steps: A and B are packed into panels; panels are multiplied. */
#ifndef HONE_SRC_X86_GEMM_H
#define HONE_SRC_X86_GEMM_H

#include "kernel/matmul.h"

/* Rows of A, or columns of B, that a panel holds. */
#define HONE__GEMM_PANEL 32
/* Bytes of sums that a thread keeps. */
#define HONE__GEMM_SUMS (128 << 10)
/* Of a square of 32 x 32, in three parts: what is packed at once beside products. */
#define HONE__GEMM_EIGHTHS 8

/* An operand as it lies: f32, bf16, or blocks of 32 (q4_0, q4_1, q8_0). Strides in elements of the axis that is summed
   over and of the other; one of them is 1, and the other one of blocks a multiple of 32. */
typedef struct hone__gemm_operand {
    const void *data;
    hone_dtype type;
    int64_t along, other;
} hone__gemm_operand;

/* Does the packing read that type? */
bool hone__gemm_reads_amx(hone_dtype type);

/* `count` panels, `panel` bytes apart, of 32 of `left` rows or columns each, from the at-th on, k long; with zeros to full
   size, which is k rounded up to 32, times 64 bytes, times `parts`: 1, in bf16, or 3, for products as exact as f32's. In pairs
   of k: B; else A. `to` is aligned to 64. */
void hone__gemm_pack_amx(void *to, size_t panel, const hone__gemm_operand *x, int parts, int64_t at, int64_t left, int64_t k,
                         int64_t count, bool pairs);
/* Of the square of 32 terms from the p-th on of one such panel, in three parts, the part-th eighth. */
void hone__gemm_pack_eighth_amx(char *to, const hone__gemm_operand *x, int64_t at, int64_t left, int64_t p, int64_t k, int part,
                                bool pairs);

typedef struct hone__gemm_product {
    int64_t m, n;
    int parts;      /* of an element, as packed */
    size_t panel;   /* bytes of one of A or B: what of a second product is added lies behind the first */
    void *c;        /* rows of n neighbours, c_row elements apart */
    int64_t c_row;
    const float *bias; /* [n] or NULL */
    const void *sum;   /* of bf16 products: what is added, in rows as C's, or NULL */
    bool half_sum;     /* which is bf16 */
    bool half, add;    /* C is bf16; add to it */
    bool stream;       /* C is not to stay in a cache; its rows begin at multiples of 64 bytes */
    hone__sums_fn take; /* instead of C, or NULL */
    void *arg;
} hone__gemm_product;

/* Behind each of A's panels [m0, m1), whose k is as given and the first of which is at a, a square of scale A P, rounded; and
   its rows below m, of `rank` values, into inner (bf16), unless that is NULL. p: a panel of at most 32 columns, packed as B. */
void hone__gemm_inner_amx(char *a, size_t panel, int64_t k, int64_t m, int64_t m0, int64_t m1, const char *p, int64_t rank,
                          float scale, void *inner);

/* How many panels of A a thread should pack, and multiply with all of B, at once. */
int64_t hone__gemm_stretch_amx(size_t panel);
/* C's panels [m0, m1), no more than a stretch, x [n0, n1), columns from the `start`-th panel on first, a multiple of 2 beyond
   n0; a, b: those panels, packed; sums: HONE__GEMM_SUMS bytes, aligned to 64. */
void hone__gemm_multiply_amx(const hone__gemm_product *g, const char *a, int64_t m0, int64_t m1, const char *b, int64_t n0,
                             int64_t n1, int64_t start, void *sums);
/* The same of f32 in three parts, with A and B, k long, as they lie: they are packed while what is packed already is multiplied.
   panels: room for m1 - m0 and two, aligned to 64. */
void hone__gemm_pack_and_multiply_amx(const hone__gemm_product *g, const hone__gemm_operand *a, int64_t m0, int64_t m1,
                                      const hone__gemm_operand *b, int64_t n0, int64_t n1, int64_t k, char *panels, void *sums);

#endif
