#include "op/op.h"

struct one_hot_attr {
    int64_t depth;
    hone_dtype dtype;
};
static const hone__attr attrs[] = {
    HONE__ATTR(struct one_hot_attr, depth, I64), HONE__ATTR(struct one_hot_attr, dtype, DTYPE), {0}};

static bool shape(hone__call *call)
{
    const struct one_hot_attr *a = call->attr;
    hone_shape out = call->in[0]->shape;
    if (!hone__want_integer(call, 0)) return false;
    if (a->depth < 1 || out.rank >= HONE_MAX_RANK)
        return hone__refuse(call, HONE_SHAPE, "depth %lld for indices %s: at least 1, and %d axes in all",
                            (long long)a->depth, HONE__SHAPE_STR(out), HONE_MAX_RANK);
    if (a->dtype != HONE_F32 && a->dtype != HONE_F64 && a->dtype != HONE_U8)
        return hone__refuse(call, HONE_DTYPE, "the result must be f32, f64 or u8, not %s",
                            hone_dtype_name(a->dtype));
    out.dim[out.rank++] = a->depth;
    return hone__set_out(call, 0, a->dtype, out);
}

static hone_status run(hone__exec *e)
{
    const struct one_hot_attr *a = e->attr;
    const hone__view *indices = &e->in[0], *y = &e->out[0];
    hone_status status = hone__check_indices(e, indices, a->depth);
    if (status != HONE_OK) return status;
    hone__fill_view(e, y, 0);
    double one = 1;
    int64_t count = hone_shape_count(indices->shape);
    for (int64_t i = 0; i < count; i++)
        hone__convert(hone__at(y, i * a->depth + hone__index_at(indices, i)), y->dtype, &one, HONE_F64, 1);
    return HONE_OK;
}

#define PICK(n, ...) \
    .n_in = 1, .in = {{.dtype = HONE_I32, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .high = n}}
#define OF(...) \
    .attr = &(struct one_hot_attr) { __VA_ARGS__ }
static const hone__sample samples[] = {
    {.name = "vector", PICK(5, {1, {7}}), OF(5, HONE_F32)},
    {.name = "matrix", PICK(3, {2, {2, 4}}), OF(4, HONE_U8)},
    {.name = "scalar", PICK(3, {0, {0}}), OF(3, HONE_F64)},
    {.name = "empty", PICK(3, {1, {0}}), OF(3, HONE_F32)},
    {.name = "depth", PICK(3, {1, {2}}), OF(0, HONE_F32), .refused = "at least 1"},
    {.name = "dtype", PICK(3, {1, {2}}), OF(3, HONE_Q8_0), .refused = "must be f32, f64 or u8"},
    {.name = "real",
     .n_in = 1,
     .in = {{.shape = {1, {2}}}},
     OF(3, HONE_F32),
     .refused = "must be an integer"},
    {0}};

const hone_op hone__op_one_hot = {.name = "one_hot",
                                  .doc = "y[..., k] = (index[...] == k)",
                                  .n_in = 1,
                                  .n_out = 1,
                                  .attr_size = sizeof(struct one_hot_attr),
                                  .attrs = attrs,
                                  .shape = shape,
                                  .run = run,
                                  .samples = samples};

hone_node *hone_one_hot(hone_node *indices, int64_t depth, hone_dtype dtype)
{
    if (!indices) return NULL;
    return hone__record(indices->call->graph, &hone__op_one_hot, 1, &indices,
                        &(struct one_hot_attr){depth, dtype});
}
