/* Kernels written by hand for x86-64, one instruction set a file (<anything>_<isa>.c). They stand for entries of the f32
   table; hone__x86_override says which, and hands on what they are not made for to the portable kernels. */
#ifndef HONE_SRC_X86_H
#define HONE_SRC_X86_H

#include "kernel/table.h"

/* Overrides entries of the f32 table by what this CPU can do and HONE_ISA allows (hone__isa_level). */
void hone__x86_override(hone__kernels *table);

/* hone__<kernel>_x86_<isa>: those that exist are the ones x86.c names. */
#define HONE_KERNEL(result, name, arguments)                                                                          \
    result hone__##name##_x86_avx512 arguments;                                                                       \
    result hone__##name##_x86_avx512bf16 arguments;                                                                   \
    result hone__##name##_x86_amx arguments;
HONE_KERNEL_LIST(HONE_KERNEL)
#undef HONE_KERNEL

/* The portable kernels of the level that all hand-written ones need. */
extern const hone__kernels hone__kernels_avx512_f32;

#endif
