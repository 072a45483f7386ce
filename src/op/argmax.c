#include "op/op.h"

struct argmax_attr {
    int axis;
};
static const hone__attr attrs[] = {HONE__ATTR(struct argmax_attr, axis, INT), {0}};

static int axis_of(const hone__call *call)
{
    const struct argmax_attr *a = call->attr;
    return a->axis < 0 ? a->axis + call->in[0]->shape.rank : a->axis;
}

static bool shape(hone__call *call)
{
    const struct argmax_attr *a = call->attr;
    hone_shape in = call->in[0]->shape, out = {0};
    int axis;
    if (!hone__want_real(call, 0) || !hone__want_axis(call, a->axis, in.rank, &axis)) return false;
    if (in.dim[axis] < 1 || in.dim[axis] > INT32_MAX)
        return hone__refuse(call, HONE_SHAPE, "axis %d of %s must have 1 to 2^31 - 1 elements", a->axis,
                            HONE__SHAPE_STR(in));
    for (int d = 0; d < in.rank; d++)
        if (d != axis) out.dim[out.rank++] = in.dim[d];
    return hone__set_out(call, 0, HONE_I32, out);
}

static void range(void *arg, int64_t begin, int64_t end)
{
    hone__exec *e = arg;
    const hone__view *x = &e->in[0];
    int axis = axis_of(e->call);
    int32_t *y = e->out[0].data;
    for (int64_t i = begin; i < end; i++) {
        int64_t offset = 0, index = i;
        for (int d = x->shape.rank - 1; d >= 0; d--) {
            if (d == axis) continue;
            offset += index % x->shape.dim[d] * x->stride[d];
            index /= x->shape.dim[d];
        }
        y[i] = (int32_t)e->k->argmax(hone__at(x, offset), x->stride[axis], x->shape.dim[axis]);
    }
}

static hone_status run(hone__exec *e)
{
    int64_t n = e->in[0].shape.dim[axis_of(e->call)];
    hone__parallel_for(e->ctx, hone_shape_count(e->out[0].shape), HONE_MAX(HONE__GRAIN / n, 1), range, e);
    return HONE_OK;
}

#define AXIS(a) \
    .attr = &(struct argmax_attr) { a }
static const hone__sample samples[] = {
    {.name = "last", .n_in = 1, .in = {{.shape = {2, {5, 9}}}}, AXIS(-1)},
    {.name = "first", .n_in = 1, .in = {{.shape = {2, {5, 9}}}}, AXIS(0)},
    {.name = "middle", .n_in = 1, .in = {{.shape = {3, {2, 7, 3}}}}, AXIS(1)},
    {.name = "vector", .n_in = 1, .in = {{.shape = {1, {11}}}}, AXIS(0)},
    {.name = "no_rows", .n_in = 1, .in = {{.shape = {2, {0, 3}}}}, AXIS(1)},
    {.name = "ties", .n_in = 1, .in = {{.shape = {2, {4, 9}}, .fill = HONE__FILL_INDEX, .high = 3}}, AXIS(1)},
    {.name = "axis", .n_in = 1, .in = {{.shape = {1, {3}}}}, AXIS(1), .refused = "axis 1 is outside"},
    {.name = "nothing", .n_in = 1, .in = {{.shape = {2, {3, 0}}}}, AXIS(1), .refused = "1 to 2^31"},
    {0}};

const hone_op hone__op_argmax = {.name = "argmax",
                                 .doc = "y = index of the first largest x along an axis",
                                 .n_in = 1,
                                 .n_out = 1,
                                 .flags = HONE__STRIDED,
                                 .attr_size = sizeof(struct argmax_attr),
                                 .attrs = attrs,
                                 .shape = shape,
                                 .run = run,
                                 .samples = samples};

hone_node *hone_argmax(hone_node *x, int axis)
{
    if (!x) return NULL;
    return hone__record(x->call->graph, &hone__op_argmax, 1, &x, &(struct argmax_attr){axis});
}
