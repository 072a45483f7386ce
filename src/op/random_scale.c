/* Each element times a number of its own, drawn again in every run: the slopes of RReLU. As with dropout, which number is a function of
   the run and the element's index, so the backward pass draws it again: it is this op on the gradient, with the forward's stream. */
#include "op/op.h"

struct scale_attr {
    double low, high;
    int64_t stream; /* 0: the call's own */
};
static const hone__attr attrs[] = {HONE__ATTR(struct scale_attr, low, F64), HONE__ATTR(struct scale_attr, high, F64),
                                   HONE__ATTR(struct scale_attr, stream, I64), {0}};

static bool shape(hone__call *call)
{
    const struct scale_attr *t = call->attr;
    if (!hone__want_real(call, 0)) return false;
    if (!(t->low <= t->high)) return hone__refuse(call, HONE_INVALID, "no number lies in [%g, %g)", t->low, t->high);
    return hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

typedef struct job {
    const hone__exec *e;
    uint64_t key;
} job;

static void part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const struct scale_attr *t = j->e->attr;
    const void *x = j->e->in[0].data;
    void *y = j->e->out[0].data;
    for (int64_t i = begin; i < end; i++) {
        double scale = t->low + (t->high - t->low) * (double)hone__random_uniform(j->key, (uint64_t)i);
        if (j->e->out[0].dtype == HONE_F64)
            ((double *)y)[i] = scale * ((const double *)x)[i];
        else
            ((float *)y)[i] = (float)scale * ((const float *)x)[i];
    }
}

static hone_status run(hone__exec *e)
{
    const struct scale_attr *t = e->attr;
    uint64_t stream = t->stream ? (uint64_t)t->stream : e->call->stream;
    job j = {e, hone__key(hone__key(hone__key(e->info->seed, e->info->step), e->info->micro_batch), stream)};
    hone__parallel_for(e->ctx, hone_shape_count(e->out[0].shape), HONE__GRAIN / 4, part, &j);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    struct scale_attr t = *(const struct scale_attr *)call->attr;
    if (!t.stream) t.stream = (int64_t)call->stream;
    return (dx[0] = hone__record(call->graph, &hone__op_random_scale, 1, dy, &t)) != NULL;
}

#define WITHIN(l, h) .attr = &(struct scale_attr){l, h, 0}
static const hone__sample samples[] = {
    {.name = "slopes", .n_in = 1, .in = {{.shape = {2, {5, 7}}}}, WITHIN(0.125, 0.25)},
    {.name = "both_signs", .n_in = 1, .in = {{.shape = {3, {2, 3, 5}}}}, WITHIN(-1, 1)},
    {.name = "one", .n_in = 1, .in = {{.shape = {1, {9}}}}, WITHIN(0.5, 0.5)},
    {.name = "chunks", .n_in = 1, .in = {{.shape = {2, {3, 5001}}}}, .no_grad = true, WITHIN(0, 1)},
    {.name = "empty", .n_in = 1, .in = {{.shape = {1, {0}}}}, WITHIN(0, 1)},
    {.name = "turned", .n_in = 1, .in = {{.shape = {1, {9}}}}, WITHIN(1, 0), .refused = "no number lies in [1, 0)"},
    {0}};

const hone_op hone__op_random_scale = {.name = "random_scale", .doc = "y = u x, u uniform in [low, high) for each element", .n_in = 1,
                                       .n_out = 1, .flags = HONE__RANDOM, .attr_size = sizeof(struct scale_attr), .attrs = attrs,
                                       .shape = shape, .run = run, .vjp = vjp, .samples = samples};

hone_node *hone__random_scale(hone_node *x, double low, double high)
{
    if (!x) return NULL;
    return hone__record(x->call->graph, &hone__op_random_scale, 1, &x, &(struct scale_attr){low, high, 0});
}
