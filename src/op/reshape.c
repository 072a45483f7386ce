#include "op/op.h"

struct reshape_attr {
    hone_shape shape; /* one dimension may be -1 */
};
static const hone__attr attrs[] = {HONE__ATTR(struct reshape_attr, shape, SHAPE), {0}};

static bool shape(hone__call *call)
{
    const struct reshape_attr *a = call->attr;
    hone_shape in = call->in[0]->shape, out = a->shape;
    int64_t count = hone_shape_count(in), known = 1;
    int open = -1;
    bool fits = out.rank >= 0 && out.rank <= HONE_MAX_RANK;
    for (int d = 0; fits && d < out.rank; d++) {
        if (out.dim[d] == -1 && open < 0)
            open = d;
        else
            fits = out.dim[d] >= 0 && !__builtin_mul_overflow(known, out.dim[d], &known);
    }
    if (fits && open >= 0) {
        fits = known > 0 && count % known == 0;
        if (fits) out.dim[open] = count / known;
    } else if (fits) {
        fits = known == count;
    }
    if (!fits)
        return hone__refuse(call, HONE_SHAPE, "%s (%lld elements) cannot take the shape %s",
                            HONE__SHAPE_STR(in), (long long)count, HONE__SHAPE_STR(a->shape));
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

/* Walks both shapes in groups of axes with equal products; inside a group the input's axes must lie as
   one. After NumPy's _attempt_nocopy_reshape. */
static bool view(const hone__call *call, const hone__view *in, hone__view *out)
{
    *out = hone__view_dense(in->data, in->dtype, call->out[0].shape);
    if (hone__view_is_dense(in)) return true; /* and where there is no element at all */
    int64_t dim[HONE_MAX_RANK], stride[HONE_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < in->shape.rank; d++) {
        if (in->shape.dim[d] == 1) continue;
        dim[rank] = in->shape.dim[d];
        stride[rank++] = in->stride[d];
    }
    int i = 0, o = 0;
    while (i < rank && o < out->shape.rank) {
        int i_end = i + 1, o_end = o + 1;
        int64_t in_count = dim[i], out_count = out->shape.dim[o];
        while (in_count != out_count) {
            if (in_count < out_count)
                in_count *= dim[i_end++];
            else
                out_count *= out->shape.dim[o_end++];
        }
        for (int k = i; k + 1 < i_end; k++)
            if (stride[k] != stride[k + 1] * dim[k + 1]) return false;
        int64_t step = stride[i_end - 1];
        for (int k = o_end - 1; k >= o; k--) {
            out->stride[k] = step;
            step *= out->shape.dim[k];
        }
        i = i_end;
        o = o_end;
    }
    return true; /* axes of length 1 may be left; their stride is never used */
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    return (dx[0] = hone_reshape(dy[0], call->in[0]->shape)) != NULL;
}

#define TO(...) \
    .attr = &(struct reshape_attr) { __VA_ARGS__ }
static const hone__sample samples[] = {
    {.name = "flat", .n_in = 1, .in = {{.shape = {2, {3, 8}}}}, TO({1, {24}})},
    {.name = "split", .n_in = 1, .in = {{.shape = {2, {3, 8}}}}, TO({4, {3, 2, -1, 2}})},
    {.name = "regroup", .n_in = 1, .in = {{.shape = {3, {4, 3, 2}}}}, TO({2, {6, 4}})},
    {.name = "ones", .n_in = 1, .in = {{.shape = {3, {1, 5, 1}}}}, TO({4, {5, 1, 1, 1}})},
    {.name = "scalar", .n_in = 1, .in = {{.shape = {2, {1, 1}}}}, TO({0, {0}})},
    {.name = "empty", .n_in = 1, .in = {{.shape = {2, {0, 4}}}}, TO({2, {-1, 2}})},
    {.name = "integer",
     .n_in = 1,
     .in = {{.dtype = HONE_I64, .shape = {1, {6}}, .fill = HONE__FILL_RAMP}},
     TO({2, {2, 3}})},
    {.name = "misfit",
     .n_in = 1,
     .in = {{.shape = {2, {3, 4}}}},
     TO({2, {5, -1}}),
     .refused = "cannot take the shape"},
    {.name = "open_twice",
     .n_in = 1,
     .in = {{.shape = {2, {3, 4}}}},
     TO({2, {-1, -1}}),
     .refused = "cannot take the shape"},
    {.name = "open_empty",
     .n_in = 1,
     .in = {{.shape = {2, {0, 4}}}},
     TO({2, {-1, 0}}),
     .refused = "cannot take the shape"},
    {0}};

const hone_op hone__op_reshape = {.name = "reshape",
                                  .doc = "y = x, the same elements under another shape",
                                  .n_in = 1,
                                  .n_out = 1,
                                  .flags = HONE__VIEW,
                                  .attr_size = sizeof(struct reshape_attr),
                                  .attrs = attrs,
                                  .shape = shape,
                                  .view = view,
                                  .vjp = vjp,
                                  .samples = samples};

hone_node *hone_reshape(hone_node *x, hone_shape to)
{
    if (!x || hone_shape_equal(x->shape, to)) return x;
    return hone__record(x->call->graph, &hone__op_reshape, 1, &x, &(struct reshape_attr){to});
}

hone_node *hone_squeeze(hone_node *x, int axis)
{
    if (!x) return NULL;
    hone_shape from = x->shape, to = {0};
    int at = axis < 0 ? axis + from.rank : axis;
    if (at < 0 || at >= from.rank || from.dim[at] != 1) {
        hone__fail(x->call->graph->ctx, HONE_SHAPE, "squeeze: axis %d of %s does not have length 1", axis,
                   HONE__SHAPE_STR(from));
        return NULL;
    }
    for (int d = 0; d < from.rank; d++)
        if (d != at) to.dim[to.rank++] = from.dim[d];
    return hone_reshape(x, to);
}

hone_node *hone_expand_dims(hone_node *x, int axis)
{
    if (!x) return NULL;
    hone_shape from = x->shape, to = {.rank = from.rank + 1};
    int at = axis < 0 ? axis + to.rank : axis;
    if (at < 0 || at >= to.rank || to.rank > HONE_MAX_RANK) {
        hone__fail(x->call->graph->ctx, HONE_SHAPE, "expand_dims: no new axis %d for %s (at most %d axes)",
                   axis, HONE__SHAPE_STR(from), HONE_MAX_RANK);
        return NULL;
    }
    for (int d = 0; d < to.rank; d++) to.dim[d] = d == at ? 1 : from.dim[d - (d > at)];
    return hone_reshape(x, to);
}

hone_node *hone_flat(hone_node *x)
{
    if (!x || x->shape.rank < 2) return x;
    int64_t rest = 1;
    for (int d = 1; d < x->shape.rank; d++) rest *= x->shape.dim[d];
    return hone_reshape(x, HONE_SHAPE(x->shape.dim[0], rest));
}
