/* A product of bf16 over k rows of a matrix of few columns with a wide one, by AMX: C = narrow^T wide, or its transpose. */
#ifndef HONE_SRC_X86_NARROW_H
#define HONE_SRC_X86_NARROW_H

#include "kernel/x86/gemm.h"

/* The most columns that the narrow one has. */
#define HONE__NARROW_COLUMNS 32
/* The wide one's columns come in spans of so many. */
#define HONE__NARROW_SPAN 32

typedef struct hone__narrow_product {
    int64_t k, r, n;           /* rows of both; columns of the narrow and of the wide one */
    hone__gemm_operand narrow; /* bf16 */
    const uint16_t *wide;      /* rows of n neighbours, wide_row elements apart */
    int64_t wide_row;
    void *c;                   /* [r, n], or turned [n, r]; rows c_row elements apart */
    int64_t c_row;
    bool turned, half, add;    /* C is bf16; add to it */
} hone__narrow_product;

/* Bytes, a multiple of 64, for so many spans. */
size_t hone__narrow_scratch_amx(const hone__narrow_product *p, int64_t spans);
/* The spans [begin, end) of C; scratch is aligned to 64. */
void hone__narrow_amx(const hone__narrow_product *p, int64_t begin, int64_t end, char *scratch);

#endif
