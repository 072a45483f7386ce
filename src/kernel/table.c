#include "kernel/table.h"
#ifdef HONE_X86
#include "kernel/x86/x86.h"
#endif

#include <pthread.h>

extern const hone__kernels hone__kernels_ref_f32, hone__kernels_ref_f64;
#ifdef HONE_X86
extern const hone__kernels hone__kernels_avx2_f32, hone__kernels_avx2_f64;
extern const hone__kernels hone__kernels_avx512_f64;
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static hone__kernels f32, f64;

/* The portable kernels in their best instruction set, then those written by hand over them (as BLIS does). */
static void fill(void)
{
    f32 = hone__kernels_ref_f32;
    f64 = hone__kernels_ref_f64;
#ifdef HONE_X86
    if (hone__isa_level() >= HONE__ISA_AVX512) {
        f32 = hone__kernels_avx512_f32;
        f64 = hone__kernels_avx512_f64;
    } else if (hone__isa_level() == HONE__ISA_AVX2) {
        f32 = hone__kernels_avx2_f32;
        f64 = hone__kernels_avx2_f64;
    }
    hone__x86_override(&f32);
#endif
}

const hone__kernels *hone__kernels_for(hone_dtype real)
{
    pthread_once(&once, fill);
    return real == HONE_F64 ? &f64 : &f32;
}
