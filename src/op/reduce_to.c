/* The inverse of broadcasting: what gradients of broadcast inputs need. */
#include "op/reduce.h"

struct reduce_to_attr {
    hone_shape shape;
};
static const hone__attr attrs[] = {HONE__ATTR(struct reduce_to_attr, shape, SHAPE), {0}};

static bool shape(hone__call *call)
{
    const struct reduce_to_attr *a = call->attr;
    hone_shape from = call->in[0]->shape, to = a->shape;
    bool fits = to.rank >= 0 && to.rank <= from.rank;
    for (int d = 0; fits && d < to.rank; d++)
        fits = to.dim[d] == 1 || to.dim[d] == from.dim[d + from.rank - to.rank];
    if (!fits)
        return hone__refuse(call, HONE_SHAPE, "shape %s does not broadcast to %s", HONE__SHAPE_STR(to),
                            HONE__SHAPE_STR(from));
    return hone__want_real(call, 0) && hone__set_out(call, 0, call->in[0]->dtype, to);
}

static unsigned gone_mask(const hone__call *call)
{
    hone_shape from = call->in[0]->shape, to = call->out[0].shape;
    int shift = from.rank - to.rank;
    unsigned mask = 0;
    for (int d = 0; d < from.rank; d++)
        if (d < shift || to.dim[d - shift] != from.dim[d]) mask |= 1u << d;
    return mask;
}

static hone_status prepare(hone__exec *e)
{
    e->scratch_size = hone__reduce_scratch(&e->in[0], gone_mask(e->call));
    return HONE_OK;
}
static hone_status run(hone__exec *e)
{
    hone__reduce_run(e, HONE__SUM, gone_mask(e->call), 1);
    return HONE_OK;
}
static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    return (dx[0] = hone_broadcast_to(dy[0], call->in[0]->shape)) != NULL;
}

#define TO(...) \
    .attr = &(struct reduce_to_attr) { __VA_ARGS__ }
static const hone__sample samples[] = {
    {.name = "bias", .n_in = 1, .in = {{.shape = {2, {9, 5}}}}, TO({1, {5}})},
    {.name = "column", .n_in = 1, .in = {{.shape = {2, {9, 5}}}}, TO({2, {9, 1}})},
    {.name = "scalar", .n_in = 1, .in = {{.shape = {3, {2, 3, 5}}}}, TO({0, {0}})},
    {.name = "both_ends", .n_in = 1, .in = {{.shape = {4, {2, 3, 4, 5}}}}, TO({3, {1, 4, 1}})},
    {.name = "same", .n_in = 1, .in = {{.shape = {2, {3, 4}}}}, TO({2, {3, 4}})},
    {.name = "empty", .n_in = 1, .in = {{.shape = {2, {0, 4}}}}, TO({1, {4}})},
    {.name = "misfit",
     .n_in = 1,
     .in = {{.shape = {2, {3, 4}}}},
     TO({1, {3}}),
     .refused = "does not broadcast"},
    {0}};

const hone_op hone__op_reduce_to = {.name = "reduce_to",
                                    .doc = "y = x summed down to a shape that broadcasts to x's",
                                    .n_in = 1,
                                    .n_out = 1,
                                    .flags = HONE__STRIDED | HONE__FLEX | HONE__ACCUMULATE,
                                    .attr_size = sizeof(struct reduce_to_attr),
                                    .attrs = attrs,
                                    .shape = shape,
                                    .prepare = prepare,
                                    .run = run,
                                    .vjp = vjp,
                                    .samples = samples};

hone_node *hone__reduce_to(hone_node *x, hone_shape shape_wanted)
{
    if (!x || hone_shape_equal(x->shape, shape_wanted)) return x;
    return hone__record(x->call->graph, &hone__op_reduce_to, 1, &x, &(struct reduce_to_attr){shape_wanted});
}
