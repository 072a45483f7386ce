#define X86(name) hone__##name##_x86_avx512bf16
#include "kernel/x86/norm.h"
