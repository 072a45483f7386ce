/* The ops that the graph itself knows by name. */
#include "op/op.h"

/* ---- leaves: the plan gives them their memory ---- */

static const hone__attr leaf_attrs[] = {HONE__ATTR(struct hone__leaf, dtype, DTYPE),
                                        HONE__ATTR(struct hone__leaf, shape, SHAPE),
                                        HONE__ATTR(struct hone__leaf, value, F64),
                                        {0}};

static bool leaf_shape(hone__call *call)
{
    const struct hone__leaf *leaf = call->attr;
    return hone__set_out(call, 0, leaf->dtype, leaf->shape);
}

static bool fill_shape(hone__call *call)
{
    const struct hone__leaf *leaf = call->attr;
    if ((unsigned)leaf->dtype >= HONE_DTYPE_COUNT || hone__is_blocks(leaf->dtype) || leaf->dtype == HONE_F16)
        return hone__refuse(call, HONE_DTYPE, "cannot fill a value of %s", hone_dtype_name(leaf->dtype));
    return leaf_shape(call);
}

const hone_op hone__op_input = {.name = "input", .doc = "a value given at each call", .n_out = 1,
                                .attr_size = sizeof(struct hone__leaf), .attrs = leaf_attrs, .shape = leaf_shape};
const hone_op hone__op_constant = {.name = "constant", .doc = "a value fixed in the graph", .n_out = 1,
                                   .attr_size = sizeof(struct hone__leaf), .attrs = leaf_attrs, .shape = leaf_shape};

static bool variable_shape(hone__call *call)
{
    return hone__set_out(call, 0, call->variable->dtype, call->variable->shape);
}
const hone_op hone__op_variable = {.name = "variable", .doc = "memory that outlives the graph: a weight, a state",
                                   .n_out = 1, .shape = variable_shape};

static hone_status fill_run(hone__exec *e)
{
    const struct hone__leaf *leaf = e->attr;
    hone__fill_view(e, &e->out[0], leaf->value);
    return HONE_OK;
}
static const hone__sample fill_samples[] = {
    {.name = "pi", .attr = &(struct hone__leaf){HONE_F32, {2, {2, 3}}, 3.141592653589793}},
    {.name = "integer", .attr = &(struct hone__leaf){HONE_I64, {1, {5}}, -7}},
    {.name = "blocks", .attr = &(struct hone__leaf){HONE_Q8_0, {1, {32}}, 1}, .refused = "cannot fill a value of q8_0"},
    {.name = "negative", .attr = &(struct hone__leaf){HONE_F32, {1, {-3}}, 1}, .refused = "no value can have the shape [-3]"},
    {0}};
const hone_op hone__op_fill = {.name = "fill", .doc = "y[...] = value", .n_out = 1, .flags = HONE__FLEX,
                               .attr_size = sizeof(struct hone__leaf), .attrs = leaf_attrs, .shape = fill_shape,
                               .run = fill_run, .samples = fill_samples};

/* ---- copy and cast ---- */

static void copy_part(void *arg, const hone__loop *loop, const int64_t *offset, int64_t n)
{
    hone__exec *e = arg;
    hone__view *y = &e->out[0], *x = &e->in[0];
    int64_t sx = hone__loop_stride(loop, 1), bytes = hone__dtypes[x->dtype].bytes;
    if (y->dtype != x->dtype || hone__is_float(y->dtype)) {
        e->k->copy(hone__at(y, offset[0]), y->dtype, hone__at(x, offset[1]), x->dtype, sx, n);
    } else if (sx == 1) {
        memcpy(hone__at(y, offset[0]), hone__at(x, offset[1]), (size_t)(n * bytes));
    } else {
        for (int64_t i = 0; i < n; i++)
            memcpy(hone__at(y, offset[0] + i), hone__at(x, offset[1] + i * sx), (size_t)bytes);
    }
}

/* Any pair of dtypes; the kernels know f32, bf16 and (in their table) f64, hone__convert the rest. */
static hone_status copy_run(hone__exec *e)
{
    hone__view *y = &e->out[0], *x = &e->in[0];
    if (!hone__view_is_dense(y)) { /* channels last */
        hone__move_view(e, y, x);
        return HONE_OK;
    }
    bool kernel = hone__is_float(x->dtype) && hone__is_float(y->dtype) && x->dtype != HONE_F16 && y->dtype != HONE_F16;
    if (!kernel && x->dtype != y->dtype)
        return hone__convert(y->data, y->dtype, x->data, x->dtype, hone_shape_count(x->shape));
    hone__loop loop;
    hone__loop_init(&loop, y->shape, 2, (const hone__view *const[]){y, x});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN, copy_part, e);
    return HONE_OK;
}

static bool same_shape(hone__call *call) { return hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape); }
static bool copy_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)call, (void)wanted;
    dx[0] = dy[0];
    return true;
}
static const hone__sample copy_samples[] = {{.name = "matrix", .n_in = 1, .in = {{.shape = {2, {3, 5}}}}}, {0}};
const hone_op hone__op_copy = {.name = "copy", .doc = "y = x, in memory of its own", .n_in = 1, .n_out = 1,
                               .flags = HONE__STRIDED | HONE__FLEX | HONE__ELEMENTWISE, .shape = same_shape, .run = copy_run,
                               .vjp = copy_vjp, .samples = copy_samples};

struct cast_attr {
    hone_dtype dtype;
};
static const hone__attr cast_attrs[] = {HONE__ATTR(struct cast_attr, dtype, DTYPE), {0}};

static bool cast_shape(hone__call *call)
{
    const struct cast_attr *a = call->attr;
    if ((unsigned)a->dtype >= HONE_DTYPE_COUNT || hone__is_blocks(a->dtype) || a->dtype == HONE_F16)
        return hone__refuse(call, HONE_DTYPE, "cannot cast to %s", hone_dtype_name(a->dtype));
    return hone__set_out(call, 0, a->dtype, call->in[0]->shape);
}
static bool cast_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    return (dx[0] = hone_cast(dy[0], call->in[0]->dtype)) != NULL;
}
static const hone__sample cast_samples[] = {
    {.name = "to_i32", .n_in = 1, .in = {{.shape = {2, {3, 5}}}}, .attr = &(struct cast_attr){HONE_I32}},
    {.name = "from_i32", .n_in = 1, .in = {{.dtype = HONE_I32, .shape = {1, {7}}, .fill = HONE__FILL_INDEX, .high = 9}},
     .attr = &(struct cast_attr){HONE_F32}},
    {.name = "to_blocks", .n_in = 1, .in = {{.shape = {1, {32}}}}, .attr = &(struct cast_attr){HONE_Q8_0},
     .refused = "cannot cast to q8_0"},
    {0}};
const hone_op hone__op_cast = {.name = "cast", .doc = "y = x as another dtype; float to integer truncates", .n_in = 1,
                               .n_out = 1, .flags = HONE__FLEX, .attr_size = sizeof(struct cast_attr),
                               .attrs = cast_attrs, .shape = cast_shape, .run = copy_run, .vjp = cast_vjp,
                               .samples = cast_samples};

hone_node *hone_cast(hone_node *x, hone_dtype dtype)
{
    if (!x || x->dtype == dtype) return x;
    return hone__record(x->call->graph, &hone__op_cast, 1, &x, &(struct cast_attr){dtype});
}

/* ---- effects ---- */

static bool assign_shape(hone__call *call)
{
    hone_node *value = call->in[0];
    if (value->dtype != call->variable->dtype || !hone_shape_equal(value->shape, call->variable->shape))
        return hone__refuse(call, HONE_SHAPE, "the variable is %s %s, the value %s %s",
                            hone_dtype_name(call->variable->dtype), HONE__SHAPE_STR(call->variable->shape),
                            hone_dtype_name(value->dtype), HONE__SHAPE_STR(value->shape));
    return hone__set_out(call, 0, value->dtype, value->shape);
}
static hone_status assign_run(hone__exec *e)
{
    e->target->version++;
    return copy_run(e);
}
const hone_op hone__op_assign = {.name = "assign", .doc = "variable = value, after every reader of the old one",
                                 .n_in = 1, .n_out = 1, .flags = HONE__EFFECT | HONE__STRIDED | HONE__FLEX,
                                 .shape = assign_shape, .run = assign_run};

static hone_node *effect(hone_node *variable, const hone_op *op, int n_in, hone_node **in)
{
    if (!variable) return NULL;
    hone_graph *graph = variable->call->graph;
    if (variable->call->op != &hone__op_variable && !(variable->call->op->flags & HONE__EFFECT)) {
        hone__fail(graph->ctx, HONE_INVALID, "%s: the first argument is no variable but the result of '%s'", op->name,
                   variable->call->op->name);
        return NULL;
    }
    /* A value that looks at the variable's own memory would change while it is read: take a copy. */
    const hone__call *source = in[0] ? in[0]->call : NULL;
    while (source && source->op->flags & HONE__VIEW) source = source->in[0]->call;
    if (source && source->variable == variable->call->variable && !(in[0] = hone__record(graph, &hone__op_copy, 1, in, NULL)))
        return NULL;
    return hone__record_on(graph, op, n_in, in, NULL, variable->call->variable);
}

hone_node *hone_assign(hone_node *variable, hone_node *value)
{
    return effect(variable, &hone__op_assign, 1, &value);
}

static bool cache_write_shape(hone__call *call)
{
    hone_shape cache = call->variable->shape, value = call->in[0]->shape, position = call->in[1]->shape;
    hone_node *rows = call->n_in > 2 ? call->in[2] : NULL;
    bool fits = cache.rank >= 2 && value.rank == cache.rank && (rows || value.dim[0] == cache.dim[0]) &&
                value.dim[1] <= cache.dim[1] && call->in[0]->dtype == call->variable->dtype;
    for (int d = 2; d < cache.rank && fits; d++) fits = value.dim[d] == cache.dim[d];
    if (!fits)
        return hone__refuse(call, HONE_SHAPE, "a cache of shape %s cannot take a value of shape %s",
                            HONE__SHAPE_STR(cache), HONE__SHAPE_STR(value));
    if (call->in[1]->dtype != HONE_I32 || position.rank != 1 || position.dim[0] != value.dim[0])
        return hone__refuse(call, HONE_SHAPE, "position must be i32 [%lld], not %s %s", (long long)value.dim[0],
                            hone_dtype_name(call->in[1]->dtype), HONE__SHAPE_STR(position));
    if (rows && (rows->dtype != HONE_I32 || !hone_shape_equal(rows->shape, position)))
        return hone__refuse(call, HONE_SHAPE, "rows must be i32 [%lld], not %s %s", (long long)value.dim[0],
                            hone_dtype_name(rows->dtype), HONE__SHAPE_STR(rows->shape));
    return hone__set_out(call, 0, call->variable->dtype, cache);
}
static hone_status cache_write_run(hone__exec *e)
{
    hone__view *cache = &e->out[0], *value = &e->in[0];
    const int32_t *position = e->in[1].data, *rows = e->n_in > 2 ? e->in[2].data : NULL;
    int64_t batch = value->shape.dim[0], all = cache->shape.dim[0], capacity = cache->shape.dim[1], length = value->shape.dim[1];
    int64_t row = batch && all && capacity ? hone_shape_count(cache->shape) / (all * capacity) : 0;
    for (int64_t b = 0; b < batch; b++) {
        if (rows && (rows[b] < 0 || rows[b] >= all))
            return hone__fail_run(e->ctx, HONE_INVALID, "row %d is outside a cache of %lld rows", (int)rows[b], (long long)all);
        if (position[b] < 0 || position[b] > capacity - length)
            return hone__fail_run(e->ctx, HONE_INVALID, "position %d with %lld new entries is outside a cache of %lld",
                                  (int)position[b], (long long)length, (long long)capacity);
    }
    for (int64_t b = 0; b < batch; b++)
        e->k->copy(hone__at(cache, ((rows ? rows[b] : b) * capacity + position[b]) * row), cache->dtype,
                   hone__at(value, b * length * row), value->dtype, 1, length * row);
    e->target->version++;
    return HONE_OK;
}
const hone_op hone__op_cache_write = {.name = "cache_write", .doc = "variable[rows[b], position[b] + t] = value[b, t]",
                                      .n_in = 3, .n_required = 2, .n_out = 1, .flags = HONE__EFFECT | HONE__FLEX,
                                      .shape = cache_write_shape, .run = cache_write_run};

hone_node *hone_cache_write(hone_node *variable, hone_node *value, hone_node *position)
{
    return effect(variable, &hone__op_cache_write, 2, (hone_node *[]){value, position});
}

hone_node *hone_cache_write_rows(hone_node *variable, hone_node *value, hone_node *position, hone_node *rows)
{
    return effect(variable, &hone__op_cache_write, 3, (hone_node *[]){value, position, rows});
}

static hone_status grad_store_run(hone__exec *e)
{
    hone__view *slot = &e->out[0], *gradient = &e->in[0];
    int64_t n = hone_shape_count(slot->shape);
    if (e->accumulate)
        e->k->axpy(slot->data, gradient->data, gradient->dtype, 1, n);
    else
        e->k->copy(slot->data, slot->dtype, gradient->data, gradient->dtype, 1, n);
    return HONE_OK;
}
const hone_op hone__op_grad_store = {.name = "grad_store", .doc = "the variable's gradient = or += g", .n_in = 1,
                                     .n_out = 1, .flags = HONE__EFFECT | HONE__FLEX, .shape = assign_shape,
                                     .run = grad_store_run};
