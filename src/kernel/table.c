#include "kernel/table.h"

extern const hone__kernels hone__kernels_ref_f32, hone__kernels_ref_f64;
#ifdef HONE_X86
extern const hone__kernels hone__kernels_avx2_f32, hone__kernels_avx2_f64;
extern const hone__kernels hone__kernels_avx512_f32, hone__kernels_avx512_f64;
#endif

const hone__kernels *hone__kernels_for(hone_dtype real)
{
    bool wide = real == HONE_F64;
#ifdef HONE_X86
    if (hone__isa_level() >= HONE__ISA_AVX512) return wide ? &hone__kernels_avx512_f64 : &hone__kernels_avx512_f32;
    if (hone__isa_level() == HONE__ISA_AVX2) return wide ? &hone__kernels_avx2_f64 : &hone__kernels_avx2_f32;
#endif
    return wide ? &hone__kernels_ref_f64 : &hone__kernels_ref_f32;
}
