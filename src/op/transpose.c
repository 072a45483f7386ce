#include "op/op.h"

struct transpose_attr {
    hone_axes order; /* of the result's axis i: which axis of x */
};
static const hone__attr attrs[] = {HONE__ATTR(struct transpose_attr, order, AXES), {0}};

static int source(const hone__call *call, int i)
{
    const struct transpose_attr *a = call->attr;
    return a->order.axis[i] < 0 ? a->order.axis[i] + a->order.count : a->order.axis[i];
}

static bool shape(hone__call *call)
{
    const struct transpose_attr *a = call->attr;
    hone_shape in = call->in[0]->shape, out = {.rank = in.rank};
    unsigned mask;
    if (a->order.count != in.rank)
        return hone__refuse(call, HONE_SHAPE, "needs an order of all %d axes of %s, got %d", in.rank,
                            HONE__SHAPE_STR(in), a->order.count);
    if (!hone__want_axes(call, &a->order, in.rank, &mask)) return false;
    for (int i = 0; i < in.rank; i++) out.dim[i] = in.dim[source(call, i)];
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

static bool view(const hone__call *call, const hone__view *in, hone__view *out)
{
    *out = *in;
    out->shape = call->out[0].shape;
    for (int i = 0; i < in->shape.rank; i++) out->stride[i] = in->stride[source(call, i)];
    return true;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    hone_axes back = {.count = call->in[0]->shape.rank};
    for (int i = 0; i < back.count; i++) back.axis[source(call, i)] = i;
    return (dx[0] = hone_transpose(dy[0], back)) != NULL;
}

#define ORDER(...)                   \
    .attr = &(struct transpose_attr) \
    {                                \
        {                            \
            __VA_ARGS__              \
        }                            \
    }
static const hone__sample samples[] = {
    {.name = "matrix", .n_in = 1, .in = {{.shape = {2, {3, 5}}}}, ORDER(2, {1, 0})},
    {.name = "heads", .n_in = 1, .in = {{.shape = {4, {2, 3, 4, 5}}}}, ORDER(4, {0, 2, 1, -1})},
    {.name = "rotate", .n_in = 1, .in = {{.shape = {3, {2, 3, 4}}}}, ORDER(3, {1, 2, 0})},
    {.name = "scalar", .n_in = 1, .in = {{.shape = {0, {0}}}}, ORDER(0, {0})},
    {.name = "empty", .n_in = 1, .in = {{.shape = {2, {0, 5}}}}, ORDER(2, {1, 0})},
    {.name = "integer",
     .n_in = 1,
     .in = {{.dtype = HONE_U8, .shape = {2, {2, 3}}, .fill = HONE__FILL_RAMP}},
     ORDER(2, {1, 0})},
    {.name = "short",
     .n_in = 1,
     .in = {{.shape = {2, {3, 5}}}},
     ORDER(1, {1}),
     .refused = "needs an order of all 2"},
    {.name = "twice", .n_in = 1, .in = {{.shape = {2, {3, 5}}}}, ORDER(2, {1, -1}), .refused = "named twice"},
    {.name = "outside",
     .n_in = 1,
     .in = {{.shape = {2, {3, 5}}}},
     ORDER(2, {0, 2}),
     .refused = "axis 2 is outside"},
    {0}};

const hone_op hone__op_transpose = {.name = "transpose",
                                    .doc = "y = x with its axes in another order",
                                    .n_in = 1,
                                    .n_out = 1,
                                    .flags = HONE__VIEW,
                                    .attr_size = sizeof(struct transpose_attr),
                                    .attrs = attrs,
                                    .shape = shape,
                                    .view = view,
                                    .vjp = vjp,
                                    .samples = samples};

hone_node *hone_transpose(hone_node *x, hone_axes order)
{
    if (!x) return NULL;
    return hone__record(x->call->graph, &hone__op_transpose, 1, &x, &(struct transpose_attr){order});
}

hone_node *hone_transpose2(hone_node *x)
{
    if (!x) return NULL;
    hone_axes order = {.count = x->shape.rank};
    for (int i = 0; i < order.count; i++) order.axis[i] = i;
    if (order.count < 2) {
        hone__fail(x->call->graph->ctx, HONE_SHAPE, "transpose2: needs at least 2 axes, the shape is %s",
                   HONE__SHAPE_STR(x->shape));
        return NULL;
    }
    order.axis[order.count - 1] = order.count - 2;
    order.axis[order.count - 2] = order.count - 1;
    return hone_transpose(x, order);
}
