#include "op/op.h"

struct concatenate_attr {
    int axis;
};
static const hone__attr attrs[] = {HONE__ATTR(struct concatenate_attr, axis, INT), {0}};

static int axis_of(const hone__call *call)
{
    const struct concatenate_attr *a = call->attr;
    return a->axis < 0 ? a->axis + call->in[0]->shape.rank : a->axis;
}

static bool shape(hone__call *call)
{
    const struct concatenate_attr *a = call->attr;
    if (call->n_in < 1) return hone__refuse(call, HONE_INVALID, "needs at least one input");
    hone_shape out = call->in[0]->shape;
    int axis;
    if (!hone__want_axis(call, a->axis, out.rank, &axis)) return false;
    for (int i = 1; i < call->n_in; i++) {
        hone_shape in = call->in[i]->shape;
        int64_t length = out.dim[axis];
        bool fits = in.rank == out.rank;
        for (int d = 0; fits && d < in.rank; d++) fits = d == axis || in.dim[d] == out.dim[d];
        if (!fits)
            return hone__refuse(call, HONE_SHAPE,
                                "input %d has shape %s, input 0 %s: they may differ along axis %d alone", i,
                                HONE__SHAPE_STR(in), HONE__SHAPE_STR(call->in[0]->shape), a->axis);
        if (call->in[i]->dtype != call->in[0]->dtype)
            return hone__refuse(call, HONE_DTYPE, "input %d is %s, input 0 %s: cast one of them", i,
                                hone_dtype_name(call->in[i]->dtype), hone_dtype_name(call->in[0]->dtype));
        if (__builtin_add_overflow(length, in.dim[axis], &out.dim[axis]))
            return hone__refuse(call, HONE_SHAPE, "the result would be too large");
    }
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

static hone_status run(hone__exec *e)
{
    int axis = axis_of(e->call);
    hone__view piece = e->out[0];
    for (int i = 0; i < e->n_in; i++) {
        int64_t length = e->in[i].shape.dim[axis];
        piece.shape.dim[axis] = length;
        hone__move_view(e, &piece, &e->in[i]);
        piece.data = hone__at(&piece, length * piece.stride[axis]);
    }
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    int axis = axis_of(call);
    int64_t start = 0;
    for (int i = 0; i < call->n_in; i++) {
        int64_t length = call->in[i]->shape.dim[axis];
        if (wanted[i] && !(dx[i] = hone_slice(dy[0], axis, start, start + length, 1))) return false;
        start += length;
    }
    return true;
}

#define AXIS(a) \
    .attr = &(struct concatenate_attr) { a }
static const hone__sample samples[] = {
    {.name = "rows",
     .n_in = 3,
     .in = {{.shape = {2, {2, 5}}}, {.shape = {2, {1, 5}}}, {.shape = {2, {4, 5}}}},
     AXIS(0)},
    {.name = "columns", .n_in = 2, .in = {{.shape = {2, {3, 2}}}, {.shape = {2, {3, 7}}}}, AXIS(-1)},
    {.name = "middle", .n_in = 2, .in = {{.shape = {3, {2, 3, 5}}}, {.shape = {3, {2, 1, 5}}}}, AXIS(1)},
    {.name = "one", .n_in = 1, .in = {{.shape = {1, {4}}}}, AXIS(0)},
    {.name = "empty", .n_in = 2, .in = {{.shape = {2, {0, 5}}}, {.shape = {2, {2, 5}}}}, AXIS(0)},
    {.name = "integer",
     .n_in = 2,
     .in = {{.dtype = HONE_U8, .shape = {1, {3}}, .fill = HONE__FILL_RAMP},
            {.dtype = HONE_U8, .shape = {1, {2}}, .fill = HONE__FILL_RAMP}},
     AXIS(0)},
    {.name = "misfit",
     .n_in = 2,
     .in = {{.shape = {2, {3, 2}}}, {.shape = {2, {2, 2}}}},
     AXIS(1),
     .refused = "along axis 1 alone"},
    {.name = "rank",
     .n_in = 2,
     .in = {{.shape = {2, {3, 2}}}, {.shape = {1, {3}}}},
     AXIS(0),
     .refused = "along axis 0 alone"},
    {.name = "scalars",
     .n_in = 2,
     .in = {{.shape = {0, {0}}}, {.shape = {0, {0}}}},
     AXIS(0),
     .refused = "axis 0 is outside"},
    {.name = "mixed",
     .n_in = 2,
     .in = {{.shape = {1, {3}}}, {.dtype = HONE_I32, .shape = {1, {3}}, .fill = HONE__FILL_RAMP}},
     AXIS(0),
     .refused = "cast one"},
    {.name = "nothing", .n_in = 0, AXIS(0), .refused = "at least one"},
    {0}};

const hone_op hone__op_concatenate = {.name = "concatenate",
                                      .doc = "y = inputs one after the other along an axis",
                                      .n_in = -1,
                                      .n_out = 1,
                                      .flags = HONE__STRIDED | HONE__FLEX,
                                      .attr_size = sizeof(struct concatenate_attr),
                                      .attrs = attrs,
                                      .shape = shape,
                                      .run = run,
                                      .vjp = vjp,
                                      .samples = samples};

hone_node *hone_concatenate(int n, hone_node *const *inputs, int axis)
{
    if (n < 1 || !inputs) return NULL;
    for (int i = 0; i < n; i++)
        if (!inputs[i]) return NULL;
    return hone__record(inputs[0]->call->graph, &hone__op_concatenate, n, inputs,
                        &(struct concatenate_attr){axis});
}
