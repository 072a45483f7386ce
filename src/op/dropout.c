/* Srivastava et al., "Dropout", JMLR 2014. Which elements stay is a function of the run and of the element's
   index, so the backward pass makes the mask again: it is this op on the gradient, with the forward's stream.
   */
#include "op/op.h"

struct dropout_attr {
    double rate;
    int64_t stream; /* 0: the call's own */
};
static const hone__attr attrs[] = {
    HONE__ATTR(struct dropout_attr, rate, F64), HONE__ATTR(struct dropout_attr, stream, I64), {0}};

static bool shape(hone__call *call)
{
    const struct dropout_attr *t = call->attr;
    if (!hone__want_real(call, 0)) return false;
    if (!(t->rate >= 0 && t->rate < 1))
        return hone__refuse(call, HONE_INVALID, "the rate must be in [0, 1), it is %g", t->rate);
    return hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

typedef struct job {
    hone__exec *e;
    uint64_t key;
    int64_t count;
} job;
enum { UNIT = 4096 }; /* elements; a multiple of 8, for which one call of philox draws */

static void part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const struct dropout_attr *t = j->e->attr;
    hone__view *y = &j->e->out[0], *x = &j->e->in[0];
    int64_t from = begin * UNIT, to = HONE_MIN(end * UNIT, j->count);
    j->e->k->dropout(hone__at(y, from), y->dtype, hone__at(x, from), x->dtype, j->key, from, to - from,
                     t->rate);
}

static hone_status run(hone__exec *e)
{
    const struct dropout_attr *t = e->attr;
    uint64_t stream = t->stream ? (uint64_t)t->stream : e->call->stream;
    job j = {e, hone__key(hone__key(hone__key(e->info->seed, e->info->step), e->info->micro_batch), stream),
             hone_shape_count(e->out[0].shape)};
    hone__parallel_for(e->ctx, (j.count + UNIT - 1) / UNIT, 2, part, &j);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    struct dropout_attr t = *(const struct dropout_attr *)call->attr;
    if (!t.stream) t.stream = (int64_t)call->stream;
    return (dx[0] = hone__record(call->graph, &hone__op_dropout, 1, (hone_node *[]){dy[0]}, &t)) != NULL;
}

#define RATE(r) .attr = &(struct dropout_attr){r, 0}
static const hone__sample samples[] = {
    {.name = "half", .n_in = 1, .in = {{.shape = {2, {5, 7}}}}, RATE(0.5)},
    {.name = "little", .n_in = 1, .in = {{.shape = {3, {2, 3, 5}}}}, RATE(0.1)},
    {.name = "none", .n_in = 1, .in = {{.shape = {1, {9}}}}, RATE(0)},
    {.name = "chunks", .n_in = 1, .in = {{.shape = {2, {3, 5001}}}}, .no_grad = true, RATE(0.3)},
    {.name = "empty", .n_in = 1, .in = {{.shape = {1, {0}}}}, RATE(0.5)},
    {.name = "all", .n_in = 1, .in = {{.shape = {1, {9}}}}, RATE(1), .refused = "the rate must be in [0, 1)"},
    {.name = "negative",
     .n_in = 1,
     .in = {{.shape = {1, {9}}}},
     RATE(-0.1),
     .refused = "the rate must be in [0, 1)"},
    {0}};

const hone_op hone__op_dropout = {.name = "dropout",
                                  .doc = "y = x / (1 - rate) with probability 1 - rate, else 0",
                                  .n_in = 1,
                                  .n_out = 1,
                                  .flags = HONE__RANDOM | HONE__FLEX,
                                  .attr_size = sizeof(struct dropout_attr),
                                  .attrs = attrs,
                                  .shape = shape,
                                  .run = run,
                                  .vjp = vjp,
                                  .samples = samples};

hone_node *hone_dropout(hone_node *x, double rate)
{
    if (!x || rate == 0 || (hone_graph_mode(x->call->graph) == HONE_EVALUATE && rate > 0 && rate < 1))
        return x;
    return hone__record(x->call->graph, &hone__op_dropout, 1, &x, &(struct dropout_attr){rate, 0});
}
