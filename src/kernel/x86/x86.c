#include "kernel/x86/x86.h"

void hone__x86_override(hone__kernels *table)
{
    hone__isa level = hone__isa_level();
    if (level < HONE__ISA_AVX512) return;
    table->swiglu = hone__swiglu_x86_avx512;
    table->swiglu_grad = hone__swiglu_grad_x86_avx512;
}
