#include "op/op.h"

struct broadcast_to_attr {
    hone_shape shape;
};
static const hone__attr attrs[] = {HONE__ATTR(struct broadcast_to_attr, shape, SHAPE), {0}};

static bool shape(hone__call *call)
{
    const struct broadcast_to_attr *a = call->attr;
    hone_shape in = call->in[0]->shape, out = a->shape;
    int shift = out.rank - in.rank;
    bool fits = shift >= 0 && out.rank <= HONE_MAX_RANK;
    for (int d = 0; fits && d < in.rank; d++) fits = in.dim[d] == 1 || in.dim[d] == out.dim[d + shift];
    if (!fits)
        return hone__refuse(call, HONE_SHAPE, "shape %s cannot be broadcast to %s", HONE__SHAPE_STR(in),
                            HONE__SHAPE_STR(out));
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

static bool view(const hone__call *call, const hone__view *in, hone__view *out)
{
    *out = (hone__view){.data = in->data, .dtype = in->dtype, .shape = call->out[0].shape};
    int shift = out->shape.rank - in->shape.rank;
    for (int d = 0; d < in->shape.rank; d++)
        out->stride[d + shift] = in->shape.dim[d] == 1 ? 0 : in->stride[d];
    return true;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    return (dx[0] = hone__reduce_to(dy[0], call->in[0]->shape)) != NULL;
}

#define TO(...) \
    .attr = &(struct broadcast_to_attr) { __VA_ARGS__ }
static const hone__sample samples[] = {
    {.name = "rows", .n_in = 1, .in = {{.shape = {1, {5}}}}, TO({2, {3, 5}})},
    {.name = "columns", .n_in = 1, .in = {{.shape = {2, {3, 1}}}}, TO({3, {2, 3, 5}})},
    {.name = "scalar", .n_in = 1, .in = {{.shape = {0, {0}}}}, TO({2, {3, 2}})},
    {.name = "to_nothing", .n_in = 1, .in = {{.shape = {1, {1}}}}, TO({2, {3, 0}})},
    {.name = "integer",
     .n_in = 1,
     .in = {{.dtype = HONE_I32, .shape = {1, {3}}, .fill = HONE__FILL_RAMP}},
     TO({2, {2, 3}})},
    {.name = "misfit",
     .n_in = 1,
     .in = {{.shape = {2, {3, 5}}}},
     TO({2, {6, 5}}),
     .refused = "cannot be broadcast"},
    {.name = "fewer",
     .n_in = 1,
     .in = {{.shape = {2, {1, 5}}}},
     TO({1, {5}}),
     .refused = "cannot be broadcast"},
    {0}};

const hone_op hone__op_broadcast_to = {.name = "broadcast_to",
                                       .doc = "y = x repeated along axes of length 1 and new ones",
                                       .n_in = 1,
                                       .n_out = 1,
                                       .flags = HONE__VIEW,
                                       .attr_size = sizeof(struct broadcast_to_attr),
                                       .attrs = attrs,
                                       .shape = shape,
                                       .view = view,
                                       .vjp = vjp,
                                       .samples = samples};

hone_node *hone_broadcast_to(hone_node *x, hone_shape to)
{
    if (!x || hone_shape_equal(x->shape, to)) return x;
    return hone__record(x->call->graph, &hone__op_broadcast_to, 1, &x, &(struct broadcast_to_attr){to});
}
