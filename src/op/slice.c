#include "op/op.h"

#include <stdio.h>

struct slice_attr {
    int axis;
    int64_t start, stop, step;
};
static const hone__attr attrs[] = {HONE__ATTR(struct slice_attr, axis, INT),
                                   HONE__ATTR(struct slice_attr, start, I64),
                                   HONE__ATTR(struct slice_attr, stop, I64),
                                   HONE__ATTR(struct slice_attr, step, I64),
                                   {0}};

/* Axis and start counted from the front. */
static struct slice_attr plain(const hone__call *call)
{
    struct slice_attr a = *(const struct slice_attr *)call->attr;
    hone_shape in = call->in[0]->shape;
    if (a.axis < 0) a.axis += in.rank;
    int64_t n = in.dim[a.axis];
    if (a.stop == HONE_END) a.stop = n;
    if (a.start < 0) a.start += n;
    if (a.stop < 0) a.stop += n;
    return a;
}

static bool shape(hone__call *call)
{
    const struct slice_attr *given = call->attr;
    hone_shape in = call->in[0]->shape, out = in;
    int axis;
    if (!hone__want_axis(call, given->axis, in.rank, &axis)) return false;
    struct slice_attr a = plain(call);
    if (a.step < 1 || a.start < 0 || a.stop < a.start || a.stop > in.dim[axis]) {
        char stop[24] = "the end";
        if (given->stop != HONE_END) snprintf(stop, sizeof stop, "%lld", (long long)given->stop);
        return hone__refuse(call, HONE_SHAPE, "no elements %lld to %s, step %lld, in axis %d of %s",
                            (long long)given->start, stop, (long long)given->step, given->axis,
                            HONE__SHAPE_STR(in));
    }
    out.dim[axis] = (a.stop - a.start) / a.step + ((a.stop - a.start) % a.step != 0);
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

static bool view(const hone__call *call, const hone__view *in, hone__view *out)
{
    struct slice_attr a = plain(call);
    *out = *in;
    out->shape = call->out[0].shape;
    out->stride[a.axis] *= a.step;
    /* While planning, data is an offset: no pointer arithmetic on it. An empty slice stays where it is,
       inside. */
    if (hone_shape_count(out->shape))
        out->data = (void *)((uintptr_t)in->data +
                             (uintptr_t)(a.start * in->stride[a.axis] * hone__dtypes[in->dtype].bytes));
    return true;
}

/* The gradient lies at its old places among zeros: a pad with gaps. */
static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    struct slice_attr a = plain(call);
    hone_shape in = call->in[0]->shape, before = {.rank = in.rank}, after = before, between = before;
    int64_t taken = call->out[0].shape.dim[a.axis];
    before.dim[a.axis] = a.start;
    between.dim[a.axis] = taken > 1 ? a.step - 1 : 0;
    after.dim[a.axis] = in.dim[a.axis] - a.start - (taken ? (taken - 1) * a.step + 1 : 0);
    return (dx[0] = hone__pad_between(dy[0], before, after, between, 0)) != NULL;
}

#define CUT(...) \
    .attr = &(struct slice_attr) { __VA_ARGS__ }
static const hone__sample samples[] = {
    {.name = "rows", .n_in = 1, .in = {{.shape = {2, {7, 5}}}}, CUT(0, 2, 5, 1)},
    {.name = "columns", .n_in = 1, .in = {{.shape = {2, {3, 9}}}}, CUT(-1, -8, -1, 3)},
    {.name = "middle", .n_in = 1, .in = {{.shape = {3, {2, 6, 3}}}}, CUT(1, 1, HONE_END, 2)},
    {.name = "one", .n_in = 1, .in = {{.shape = {1, {7}}}}, CUT(0, -1, HONE_END, 9)},
    {.name = "none", .n_in = 1, .in = {{.shape = {2, {7, 2}}}}, CUT(0, 3, 3, 1)},
    {.name = "empty", .n_in = 1, .in = {{.shape = {2, {0, 4}}}}, CUT(1, 1, 3, 1)},
    {.name = "integer",
     .n_in = 1,
     .in = {{.dtype = HONE_I32, .shape = {1, {9}}, .fill = HONE__FILL_RAMP}},
     CUT(0, 1, 8, 2)},
    {.name = "beyond",
     .n_in = 1,
     .in = {{.shape = {1, {7}}}},
     CUT(0, 2, 8, 1),
     .refused = "no elements 2 to 8"},
    {.name = "backwards",
     .n_in = 1,
     .in = {{.shape = {1, {7}}}},
     CUT(0, 5, 2, 1),
     .refused = "no elements 5 to 2"},
    {.name = "step", .n_in = 1, .in = {{.shape = {1, {7}}}}, CUT(0, 0, 7, 0), .refused = "step 0"},
    {.name = "axis", .n_in = 1, .in = {{.shape = {1, {7}}}}, CUT(1, 0, 7, 1), .refused = "axis 1 is outside"},
    {.name = "scalar",
     .n_in = 1,
     .in = {{.shape = {0, {0}}}},
     CUT(0, 0, 1, 1),
     .refused = "axis 0 is outside"},
    {0}};

const hone_op hone__op_slice = {.name = "slice",
                                .doc = "y = x[start:stop:step] along an axis",
                                .n_in = 1,
                                .n_out = 1,
                                .flags = HONE__VIEW,
                                .attr_size = sizeof(struct slice_attr),
                                .attrs = attrs,
                                .shape = shape,
                                .view = view,
                                .vjp = vjp,
                                .samples = samples};

hone_node *hone_slice(hone_node *x, int axis, int64_t start, int64_t stop, int64_t step)
{
    if (!x) return NULL;
    return hone__record(x->call->graph, &hone__op_slice, 1, &x,
                        &(struct slice_attr){axis, start, stop, step});
}

hone_status hone_split(hone_node *x, int axis, int n, hone_node **outputs)
{
    if (!x) return HONE_INVALID;
    hone_ctx *ctx = x->call->graph->ctx;
    int at = axis < 0 ? axis + x->shape.rank : axis;
    if (at < 0 || at >= x->shape.rank || n < 1 || x->shape.dim[at] % n)
        return hone__fail(ctx, HONE_SHAPE, "split: %s cannot be cut into %d equal pieces along axis %d",
                          HONE__SHAPE_STR(x->shape), n, axis);
    int64_t length = x->shape.dim[at] / n;
    for (int i = 0; i < n; i++)
        if (!(outputs[i] = hone_slice(x, at, i * length, (i + 1) * length, 1))) return ctx->status;
    return HONE_OK;
}
