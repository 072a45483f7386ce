/* sum, mean, max, min over axes. */
#include "op/reduce.h"

struct reduce_attr {
    hone_axes axes;
    bool keep_dims;
};
static const hone__attr attrs[] = {
    HONE__ATTR(struct reduce_attr, axes, AXES), HONE__ATTR(struct reduce_attr, keep_dims, BOOL), {0}};

static unsigned gone_mask(const hone__call *call)
{
    const struct reduce_attr *a = call->attr;
    int rank = call->in[0]->shape.rank;
    unsigned mask = a->axes.count ? 0 : (1u << rank) - 1;
    for (int i = 0; i < a->axes.count; i++)
        mask |= 1u << (a->axes.axis[i] < 0 ? a->axes.axis[i] + rank : a->axes.axis[i]);
    return mask;
}

/* The shape with reduced axes of length 1, and how many elements go into one. */
static hone_shape kept_shape(const hone__call *call, int64_t *depth)
{
    hone_shape shape = call->in[0]->shape;
    unsigned mask = gone_mask(call);
    *depth = 1;
    for (int d = 0; d < shape.rank; d++) {
        if (!(mask >> d & 1)) continue;
        *depth *= shape.dim[d];
        shape.dim[d] = 1;
    }
    return shape;
}

static bool sum_shape(hone__call *call)
{
    const struct reduce_attr *a = call->attr;
    unsigned mask;
    if (!hone__want_real(call, 0) || !hone__want_axes(call, &a->axes, call->in[0]->shape.rank, &mask))
        return false;
    hone_shape in = call->in[0]->shape, out = {0};
    for (int d = 0; d < in.rank; d++)
        if (!(mask >> d & 1))
            out.dim[out.rank++] = in.dim[d];
        else if (a->keep_dims)
            out.dim[out.rank++] = 1;
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

static bool shape(hone__call *call)
{
    int64_t depth;
    if (!sum_shape(call)) return false;
    kept_shape(call, &depth);
    return depth > 0 || hone__refuse(call, HONE_SHAPE, "there is no %s of no elements (shape %s)",
                                     call->op->name, HONE__SHAPE_STR(call->in[0]->shape));
}

static hone_status prepare(hone__exec *e)
{
    e->scratch_size = hone__reduce_scratch(&e->in[0], gone_mask(e->call));
    return HONE_OK;
}

static hone_status run(hone__exec *e, hone__reduce kind)
{
    hone__reduce_run(e, kind, gone_mask(e->call), 1);
    return HONE_OK;
}
static hone_status sum_run(hone__exec *e) { return run(e, HONE__SUM); }
static hone_status max_run(hone__exec *e) { return run(e, HONE__MAX); }
static hone_status min_run(hone__exec *e) { return run(e, HONE__MIN); }
static hone_status mean_run(hone__exec *e)
{
    int64_t depth;
    kept_shape(e->call, &depth);
    hone__reduce_run(e, HONE__SUM, gone_mask(e->call), 1 / (double)depth);
    return HONE_OK;
}

static bool sum_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    int64_t depth;
    dx[0] = hone_broadcast_to(hone_reshape(dy[0], kept_shape(call, &depth)), call->in[0]->shape);
    return dx[0] != NULL;
}

static bool mean_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    int64_t depth;
    kept_shape(call, &depth);
    hone_node *scaled = hone_affine(dy[0], 1 / (double)depth, 0);
    return scaled && sum_vjp(call, &scaled, wanted, dx);
}

/* Shared evenly among equals, as PyTorch's amax: dx = [x = y] dy / count. */
static bool extreme_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    const struct reduce_attr *a = call->attr;
    int64_t depth;
    hone_shape kept = kept_shape(call, &depth);
    hone_node *x = call->in[0], *chosen = hone_equal(x, hone_reshape(&call->out[0], kept));
    hone_node *count = hone_sum(hone_cast(chosen, x->dtype), a->axes, true);
    hone_node *share = hone_div(hone_reshape(dy[0], kept), count);
    dx[0] = hone_where(chosen, share, hone_fill(call->graph, x->dtype, HONE_SCALAR, 0));
    return dx[0] != NULL;
}

#define AXES(keep, ...) \
    .attr = &(struct reduce_attr) { {__VA_ARGS__}, keep }
#define ONE(...) .n_in = 1, .in = {{.shape = __VA_ARGS__}}
#define GOOD                                                                                \
    {.name = "all", ONE({2, {3, 5}}), AXES(false, 0)},                                      \
        {.name = "last", ONE({2, {3, 7}}), AXES(false, 1, {-1})},                           \
        {.name = "first", ONE({2, {7, 3}}), AXES(false, 1, {0})},                           \
        {.name = "keep", ONE({3, {2, 5, 3}}), AXES(true, 1, {1})},                          \
        {.name = "outer_and_inner", ONE({4, {3, 2, 1, 5}}), AXES(true, 2, {0, 3})},         \
        {.name = "middle", ONE({4, {2, 3, 4, 5}}), AXES(false, 2, {2, 1})},                 \
        {.name = "scalar", ONE({0, {0}}), AXES(false, 0)},                                  \
        {.name = "no_rows", ONE({2, {0, 5}}), AXES(false, 1, {1})},                         \
        {.name = "many_rows", ONE({2, {700, 3}}), AXES(false, 1, {0}), .no_grad = true},    \
    {                                                                                       \
        .name = "parts_no_grad", ONE({2, {2, 40001}}), AXES(false, 1, {1}), .no_grad = true \
    }
#define REFUSED                                                                                 \
    {.name = "axis", ONE({2, {3, 5}}), AXES(false, 1, {2}), .refused = "axis 2 is outside"},    \
        {.name = "twice", ONE({2, {3, 5}}), AXES(false, 2, {1, -1}), .refused = "named twice"}, \
    {                                                                                           \
        .name = "integer", .n_in = 1,                                                           \
        .in = {{.dtype = HONE_I32, .shape = {1, {3}}, .fill = HONE__FILL_RAMP}},                \
        .refused = "must be f32 or f64"                                                         \
    }
static const hone__sample sum_samples[] = {
    GOOD, {.name = "nothing", ONE({2, {3, 0}}), AXES(false, 1, {1})}, REFUSED, {0}};
static const hone__sample samples[] = {
    GOOD,
    REFUSED,
    {.name = "nothing", ONE({2, {3, 0}}), AXES(false, 1, {1}), .refused = "of no elements"},
    {0}};
/* Whole numbers: ties. Central differences see half of each, as two that share do. */
static const hone__sample extreme_samples[] = {
    GOOD,
    REFUSED,
    {.name = "nothing", ONE({2, {3, 0}}), AXES(false, 1, {1}), .refused = "of no elements"},
    {.name = "ties_no_grad",
     .n_in = 1,
     .in = {{.shape = {2, {4, 9}}, .fill = HONE__FILL_INDEX, .low = -1, .high = 2}},
     AXES(false, 1, {1}),
     .no_grad = true},
    {0}};

#define REDUCE(n, formula, more, s, i, v)                                                                  \
    const hone_op hone__op_##n = {.name = #n,                                                              \
                                  .doc = formula,                                                          \
                                  .n_in = 1,                                                               \
                                  .n_out = 1,                                                              \
                                  .flags = HONE__STRIDED | HONE__ACCUMULATE | (more),                      \
                                  .attr_size = sizeof(struct reduce_attr),                                 \
                                  .attrs = attrs,                                                          \
                                  .shape = s,                                                              \
                                  .prepare = prepare,                                                      \
                                  .run = n##_run,                                                          \
                                  .vjp = v,                                                                \
                                  .samples = i};                                                           \
    hone_node *hone_##n(hone_node *x, hone_axes axes, bool keep_dims)                                      \
    {                                                                                                      \
        if (!x) return NULL;                                                                               \
        return hone__record(x->call->graph, &hone__op_##n, 1, &x, &(struct reduce_attr){axes, keep_dims}); \
    }
REDUCE(sum, "y = sum of x over axes", HONE__FLEX, sum_shape, sum_samples, sum_vjp)
REDUCE(mean, "y = mean of x over axes", HONE__FLEX, shape, samples, mean_vjp)
REDUCE(max, "y = largest x over axes", 0, shape, extreme_samples, extreme_vjp)
REDUCE(min, "y = smallest x over axes", 0, shape, extreme_samples, extreme_vjp)

hone_node *hone_variance(hone_node *x, hone_axes axes, bool keep_dims, int ddof)
{
    hone_node *mean = hone_mean(x, axes, true);
    if (!mean) return NULL;
    int64_t n = hone_shape_count(x->shape) / HONE_MAX(hone_shape_count(mean->shape), 1);
    if (hone_shape_count(mean->shape) && n <= ddof) {
        hone__fail(x->call->graph->ctx, HONE_SHAPE, "variance: %lld values with ddof %d (shape %s)",
                   (long long)n, ddof, HONE__SHAPE_STR(x->shape));
        return NULL;
    }
    hone_node *squares = hone_sum(hone_square(hone_sub(x, mean)), axes, keep_dims);
    return hone_affine(squares, 1 / (double)HONE_MAX(n - ddof, 1), 0);
}

hone_node *hone_norm(hone_node *x, hone_axes axes, bool keep_dims)
{
    hone_node *sum = hone_sum(hone_square(x), axes, keep_dims);
    if (!sum) return NULL;
    /* sqrt has no slope at 0: keep it away from there, and put the 0 back. */
    hone_node *zero = hone_fill(sum->call->graph, sum->dtype, HONE_SCALAR, 0);
    hone_node *one = hone_fill(sum->call->graph, sum->dtype, HONE_SCALAR, 1);
    hone_node *positive = hone_greater(sum, zero);
    return hone_where(positive, hone_sqrt(hone_where(positive, sum, one)), zero);
}
