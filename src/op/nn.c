#include "op/nn.h"

bool hone__want_shape(hone__call *call, int i, hone_shape shape, const char *what)
{
    if (!hone__has(call, i) || hone_shape_equal(call->in[i]->shape, shape)) return true;
    return hone__refuse(call, HONE_SHAPE, "the %s must be %s, not %s", what, HONE__SHAPE_STR(shape),
                        HONE__SHAPE_STR(call->in[i]->shape));
}

hone_status hone__read_targets(const hone__exec *e, const hone__view *targets, int64_t n, int32_t *to)
{
    int64_t count = hone_shape_count(targets->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t t = hone__index_at(targets, i);
        if (t >= n)
            return hone__fail_run(e->ctx, HONE_INVALID, "target %lld at position %lld is outside [0, %lld)",
                                  (long long)t, (long long)i, (long long)n);
        to[i] = t < 0 ? -1 : (int32_t)t;
    }
    return HONE_OK;
}

int hone__slots(const hone_ctx *ctx, int64_t tasks, int64_t grain)
{
    int64_t parts = (tasks + HONE_MAX(grain, 1) - 1) / HONE_MAX(grain, 1);
    return (int)HONE_MAX(HONE_MIN(parts, (int64_t)ctx->threads), 1);
}

typedef struct job {
    hone__slot_fn fn;
    void *arg;
    int64_t tasks, slots;
} job;

static void slot(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    for (int64_t s = begin; s < end; s++)
        j->fn(j->arg, (int)s, j->tasks * s / j->slots, j->tasks * (s + 1) / j->slots);
}

void hone__slots_run(const hone_ctx *ctx, int64_t tasks, int64_t grain, hone__slot_fn fn, void *arg)
{
    job j = {fn, arg, tasks, hone__slots(ctx, tasks, grain)};
    if (tasks > 0) hone__parallel_for(ctx, j.slots, 1, slot, &j);
}
