#include "base/os.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef _OPENMP
#include <omp.h>
#endif

static void *default_alloc(void *user, size_t size)
{
    (void)user;
    return hone__system_alloc(size);
}

static void default_free(void *user, void *memory)
{
    (void)user;
    free(memory);
}

#ifdef _OPENMP
/* OMP_NUM_THREADS where the user has set it: omp_get_max_threads() would tell what an earlier context has set. */
static int default_threads(void)
{
    const char *wanted = getenv("OMP_NUM_THREADS");
    long n = wanted ? strtol(wanted, NULL, 10) : 0;
    return n >= 1 && n <= 4096 ? (int)n : omp_get_num_procs();
}
#endif

hone_ctx *hone_ctx_new_opt(const hone_ctx_opts *opts)
{
    static const hone_ctx_opts none = {.struct_size = sizeof none};
    if (!opts) opts = &none;
    if (opts->threads < 0 || opts->threads > 4096) return NULL;
    if (!opts->allocator.alloc != !opts->allocator.free) return NULL;
    hone_allocator allocator = opts->allocator;
    if (!allocator.alloc) allocator = (hone_allocator){default_alloc, default_free, NULL};

    hone_ctx *ctx = allocator.alloc(allocator.user, sizeof *ctx);
    if (!ctx) return NULL;
    memset(ctx, 0, sizeof *ctx);
    atomic_init(&ctx->refs, 1);
    ctx->allocator = allocator;
    ctx->seed = opts->seed;
    ctx->log = opts->log;
    ctx->log_user = opts->log_user;
    ctx->threads = 1;
#ifdef _OPENMP
    ctx->threads = opts->threads ? opts->threads : default_threads();
#endif
    hone__use_threads(ctx);
    snprintf(ctx->hardware, sizeof ctx->hardware, "%s, %d thread%s", hone__isa_name(hone__isa_level()),
             ctx->threads, ctx->threads == 1 ? "" : "s");
    return ctx;
}

void hone__use_threads(const hone_ctx *ctx)
{
    (void)ctx;
#ifdef _OPENMP
    omp_set_num_threads(ctx->threads); /* one number for both keeps one thread pool */
#endif
}

hone_ctx *hone_ctx_retain(hone_ctx *ctx)
{
    if (ctx) atomic_fetch_add(&ctx->refs, 1);
    return ctx;
}

void hone_ctx_release(hone_ctx *ctx)
{
    if (!ctx || atomic_fetch_sub(&ctx->refs, 1) != 1) return;
    if (ctx->free_orphans) ctx->free_orphans(ctx);
    hone_allocator allocator = ctx->allocator;
    allocator.free(allocator.user, ctx);
}

uint64_t hone_seed(const hone_ctx *ctx) { return ctx->seed; }
void hone_set_seed(hone_ctx *ctx, uint64_t seed) { ctx->seed = seed; }
int hone_threads(const hone_ctx *ctx) { return ctx->threads; }
void hone_cancel(hone_ctx *ctx) { atomic_store(&ctx->cancel, 1); }
void hone_clear_cancel(hone_ctx *ctx) { atomic_store(&ctx->cancel, 0); }
bool hone_cancelled(const hone_ctx *ctx) { return atomic_load(&((hone_ctx *)(uintptr_t)ctx)->cancel) != 0; }
const char *hone_hardware(const hone_ctx *ctx) { return ctx->hardware; }
