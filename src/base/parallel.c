#include "base/base.h"

#include <stdlib.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

void hone__parallel_for(const hone_ctx *ctx, int64_t n, int64_t grain, hone__range_fn fn, void *arg)
{
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    int64_t parts = HONE_MIN((n + grain - 1) / grain, (int64_t)ctx->threads);
    if (parts <= 1) {
        fn(arg, 0, n);
        return;
    }
#ifdef _OPENMP
#pragma omp parallel for num_threads((int)parts) schedule(static, 1)
#endif
    for (int64_t i = 0; i < parts; i++) fn(arg, n * i / parts, n * (i + 1) / parts);
}

/* What is left of a share: begin in the upper half, end in the lower one. A cache line each. */
typedef struct share {
    _Alignas(64) _Atomic uint64_t left;
} share;

static uint64_t range_of(int64_t begin, int64_t end) { return (uint64_t)begin << 32 | (uint64_t)end; }

static bool take(share *s, int64_t chunk, bool front, int64_t *begin, int64_t *end)
{
    uint64_t old = atomic_load_explicit(&s->left, memory_order_relaxed), rest;
    do {
        int64_t b = (int64_t)(old >> 32), e = (int64_t)(old & UINT32_MAX);
        if (b >= e) return false;
        *begin = front ? b : HONE_MAX(b, e - chunk);
        *end = front ? HONE_MIN(e, b + chunk) : e;
        rest = front ? range_of(*end, e) : range_of(b, *begin);
    } while (!atomic_compare_exchange_weak_explicit(&s->left, &old, rest, memory_order_relaxed, memory_order_relaxed));
    return true;
}

void hone__parallel_share(int64_t n, int64_t chunk, int64_t threads, hone__share_fn fn, void *arg)
{
    share shares[HONE__SHARES];
    int parts = (int)HONE_MIN(HONE_MIN(threads, (int64_t)HONE__SHARES), n);
    if (parts <= 1 || n > INT32_MAX) {
        if (n > 0) fn(arg, 0, 0, n);
        return;
    }
    for (int i = 0; i < parts; i++) atomic_init(&shares[i].left, range_of(n * i / parts, n * (i + 1) / parts));
#ifdef _OPENMP
#pragma omp parallel for num_threads(parts) schedule(static, 1)
#endif
    for (int i = 0; i < parts; i++)
        for (int k = 0; k < parts; k++)
            for (int64_t b, e; take(&shares[(i + k) % parts], chunk, k == 0, &b, &e);) fn(arg, i, b, e);
}

/* ---- what the CPU can do ---- */

static hone__isa detect(void)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return HONE__ISA_REF;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512vnni"))
        return HONE__ISA_AVX2;
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return HONE__ISA_AVX512;
    bool amx_bf16 = d >> 22 & 1, amx_tile = d >> 24 & 1, amx_int8 = d >> 25 & 1;
#ifdef __linux__
    /* The tile registers' state must be asked for once per process: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA). */
    if (amx_bf16 && amx_tile && amx_int8 && syscall(SYS_arch_prctl, 0x1023, 18) == 0) return HONE__ISA_AMX;
#endif
    return HONE__ISA_AVX512;
#else
    return HONE__ISA_REF;
#endif
}

static const char *const isa_names[] = {"ref", "avx2", "avx512", "amx"};
const char *hone__isa_name(hone__isa isa) { return isa_names[isa]; }

hone__isa hone__isa_level(void)
{
    static atomic_int cached = -1; /* every thread computes the same value: a benign race */
    int level = atomic_load(&cached);
    if (level >= 0) return (hone__isa)level;
    level = (int)detect();
    const char *wanted = getenv("HONE_ISA");
    for (int i = 0; wanted && i <= (int)HONE__ISA_AMX; i++)
        if (!strcmp(wanted, isa_names[i])) level = HONE_MIN(level, i);
    atomic_store(&cached, level);
    return (hone__isa)level;
}

bool hone__bf16_is_fast(void)
{
#if defined(__x86_64__)
    if (hone__isa_level() == HONE__ISA_AMX) return true;
    return hone__isa_level() == HONE__ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}
