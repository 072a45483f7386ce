#include "kernel/ref/kernel.h"

extern const hone__kernels HONE_K(kernels);
const hone__kernels HONE_K(kernels) = {
    .real = REAL_DTYPE,
#define HONE_KERNEL(result, name, arguments) .name = HONE_K(name),
    HONE_KERNEL_LIST(HONE_KERNEL)
#undef HONE_KERNEL
};
