#define X86(name) hone__##name##_x86_avx512
#include "kernel/x86/norm.h"
