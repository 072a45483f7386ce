/* Picking slices by index, and its inverse. All inputs dense: x is (outer, n, inner), y (outer, indices,
   inner). */
#include "op/op.h"

struct gather_attr {
    int axis;
    int64_t n; /* scatter_add: the length of the axis */
};
static const hone__attr attrs[] = {
    HONE__ATTR(struct gather_attr, axis, INT), HONE__ATTR(struct gather_attr, n, I64), {0}};

static int64_t product(hone_shape shape, int from, int to)
{
    int64_t n = 1;
    for (int d = from; d < to; d++) n *= shape.dim[d];
    return n;
}

/* `full` with `axis` replaced by `put`. */
static bool replace_axis(hone__call *call, hone_shape full, int axis, hone_shape put, hone_shape *out)
{
    if (full.rank - 1 + put.rank > HONE_MAX_RANK)
        return hone__refuse(call, HONE_SHAPE, "%s by indices %s would have more than %d axes",
                            HONE__SHAPE_STR(full), HONE__SHAPE_STR(put), HONE_MAX_RANK);
    *out = (hone_shape){0};
    for (int d = 0; d < axis; d++) out->dim[out->rank++] = full.dim[d];
    for (int d = 0; d < put.rank; d++) out->dim[out->rank++] = put.dim[d];
    for (int d = axis + 1; d < full.rank; d++) out->dim[out->rank++] = full.dim[d];
    return true;
}

static bool gather_shape(hone__call *call)
{
    const struct gather_attr *a = call->attr;
    hone_shape x = call->in[0]->shape, out = {0};
    int axis;
    if (!hone__want_integer(call, 1) || !hone__want_axis(call, a->axis, x.rank, &axis)) return false;
    return replace_axis(call, x, axis, call->in[1]->shape, &out) &&
           hone__set_out(call, 0, call->in[0]->dtype, out);
}

hone_status hone__check_indices(const hone__exec *e, const hone__view *indices, int64_t n)
{
    int64_t count = hone_shape_count(indices->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t index = hone__index_at(indices, i);
        if (index < 0 || index >= n)
            return hone__fail_run(e->ctx, HONE_INVALID, "index %lld at position %lld is outside [0, %lld)",
                                  (long long)index, (long long)i, (long long)n);
    }
    return HONE_OK;
}

typedef struct job {
    hone__exec *e;
    int64_t n, count, inner; /* length of the axis, indices, elements of a slice */
} job;

static job job_of(hone__exec *e, hone_shape full, int64_t n)
{
    const struct gather_attr *a = e->attr;
    hone_shape put = e->in[1].shape;
    int rank = full.rank + 1 - put.rank,
        axis = a->axis < 0 ? a->axis + rank : a->axis; /* full: with the indices in it */
    return (job){e, n, hone_shape_count(put), product(full, axis + put.rank, full.rank)};
}

/* Slices [begin, end) of y, counted over (outer, indices). */
static void take(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    hone__exec *e = j->e;
    const hone__view *x = &e->in[0], *y = &e->out[0];
    hone_dtype from = x->dtype;
    bool kernel = from == y->dtype || (hone__is_float(from) && from != HONE_F16);
    for (int64_t i = begin; i < end; i++) {
        int64_t at = (i / j->count * j->n + hone__index_at(&e->in[1], i % j->count)) * j->inner;
        void *to = hone__at(y, i * j->inner);
        int block = hone__dtypes[from].block;
        if (kernel) {
            e->k->move(to, y->dtype, 1, hone__at(x, at), from, 1, j->inner);
        } else if (j->inner % block == 0) {
            hone__convert(to, y->dtype, (const char *)x->data + hone__dtype_bytes(from, at), from, j->inner);
        } else { /* one element out of a block: the last axis */
            float plain[256];
            hone__convert(plain, HONE_F32, (const char *)x->data + hone__dtype_bytes(from, at), from, block);
            e->k->move(to, y->dtype, 1, plain + at % block, HONE_F32, 1, 1);
        }
    }
}

static hone_status gather_run(hone__exec *e)
{
    const struct gather_attr *a = e->attr;
    hone_shape x = e->in[0].shape;
    int axis = a->axis < 0 ? a->axis + x.rank : a->axis;
    job j = job_of(e, e->out[0].shape, x.dim[axis]);
    hone_status status = hone__check_indices(e, &e->in[1], j.n);
    if (status != HONE_OK || hone_shape_count(e->out[0].shape) == 0) return status;
    hone__parallel_for(e->ctx, product(x, 0, axis) * j.count, HONE_MAX(HONE__GRAIN / j.inner, 1), take, &j);
    return HONE_OK;
}

static bool gather_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    (void)wanted;
    const struct gather_attr *a = call->attr;
    hone_shape x = call->in[0]->shape;
    int axis = a->axis < 0 ? a->axis + x.rank : a->axis;
    return (d[0] = hone_scatter_add(dy[0], call->in[1], axis, x.dim[axis])) != NULL;
}

static bool scatter_shape(hone__call *call)
{
    const struct gather_attr *a = call->attr;
    hone_shape updates = call->in[0]->shape, indices = call->in[1]->shape, out;
    if (!hone__want_real(call, 0) || !hone__want_integer(call, 1)) return false;
    int rank = updates.rank + 1 - indices.rank, axis = a->axis < 0 ? a->axis + rank : a->axis;
    bool fits = rank >= 1 && axis >= 0 && axis < rank && a->n >= 0;
    for (int d = 0; fits && d < indices.rank; d++) fits = updates.dim[axis + d] == indices.dim[d];
    if (!fits)
        return hone__refuse(call, HONE_SHAPE, "updates %s do not have the indices' shape %s at axis %d",
                            HONE__SHAPE_STR(updates), HONE__SHAPE_STR(indices), a->axis);
    out = (hone_shape){.rank = rank};
    if (rank > HONE_MAX_RANK) return hone__refuse(call, HONE_SHAPE, "more than %d axes", HONE_MAX_RANK);
    for (int d = 0; d < rank; d++)
        out.dim[d] = d < axis ? updates.dim[d] : d == axis ? a->n : updates.dim[d - 1 + indices.rank];
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

/* Columns [begin, end) of (outer, inner): each is one thread's, and takes its updates in order. */
static void add(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    hone__exec *e = j->e;
    for (int64_t at = begin, m; at < end; at += m) {
        int64_t outer = at / j->inner, column = at % j->inner;
        m = HONE_MIN(j->inner - column, end - at);
        for (int64_t i = 0; i < j->count; i++) {
            int64_t to = (outer * j->n + hone__index_at(&e->in[1], i)) * j->inner + column;
            int64_t from = (outer * j->count + i) * j->inner + column;
            e->k->axpy(hone__at(&e->out[0], to), hone__at(&e->in[0], from), e->in[0].dtype, 1, m);
        }
    }
}

static hone_status scatter_run(hone__exec *e)
{
    const struct gather_attr *a = e->attr;
    job j = job_of(e, e->in[0].shape, a->n);
    hone_status status = hone__check_indices(e, &e->in[1], j.n);
    if (status != HONE_OK) return status;
    if (!e->accumulate) hone__fill_view(e, &e->out[0], 0);
    int64_t updates = hone_shape_count(e->in[0].shape);
    if (updates) hone__parallel_for(e->ctx, updates / j.count, HONE_MAX(HONE__GRAIN / j.count, 16), add, &j);
    return HONE_OK;
}

static bool scatter_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    (void)wanted;
    const struct gather_attr *a = call->attr;
    return (d[0] = hone_gather(dy[0], call->in[1], a->axis)) != NULL;
}

#define PICK(type, n, ...)                                                       \
    {                                                                            \
        .dtype = type, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .high = n \
    }
#define BY(...) \
    .attr = &(struct gather_attr) { __VA_ARGS__ }
static const hone__sample gather_samples[] = {
    {.name = "embedding",
     .n_in = 2,
     .in = {{.shape = {2, {7, 5}}}, PICK(HONE_I32, 7, {2, {2, 3}})},
     BY(0, 0)},
    {.name = "columns", .n_in = 2, .in = {{.shape = {2, {3, 6}}}, PICK(HONE_I64, 6, {1, {4}})}, BY(-1, 0)},
    {.name = "middle", .n_in = 2, .in = {{.shape = {3, {2, 5, 3}}}, PICK(HONE_U8, 5, {1, {4}})}, BY(1, 0)},
    {.name = "scalar", .n_in = 2, .in = {{.shape = {2, {4, 3}}}, PICK(HONE_I32, 4, {0, {0}})}, BY(0, 0)},
    {.name = "none", .n_in = 2, .in = {{.shape = {2, {4, 3}}}, PICK(HONE_I32, 4, {1, {0}})}, BY(0, 0)},
    {.name = "integer",
     .n_in = 2,
     .in = {PICK(HONE_I64, 100, {1, {9}}), PICK(HONE_I32, 9, {1, {4}})},
     BY(0, 0)},
    {.name = "real_indices",
     .n_in = 2,
     .in = {{.shape = {1, {3}}}, {.shape = {1, {3}}}},
     BY(0, 0),
     .refused = "must be an integer"},
    {.name = "axis",
     .n_in = 2,
     .in = {{.shape = {1, {3}}}, PICK(HONE_I32, 3, {1, {3}})},
     BY(1, 0),
     .refused = "axis 1 is outside"},
    {.name = "too_many_axes",
     .n_in = 2,
     .in = {{.shape = {5, {1, 1, 1, 1, 1}}}, PICK(HONE_I32, 1, {5, {1, 1, 1, 1, 1}})},
     BY(0, 0),
     .refused = "more than 8 axes"},
    {0}};
static const hone__sample scatter_samples[] = {
    {.name = "embedding",
     .n_in = 2,
     .in = {{.shape = {3, {2, 3, 5}}}, PICK(HONE_I32, 4, {2, {2, 3}})},
     BY(0, 4)},
    {.name = "columns", .n_in = 2, .in = {{.shape = {2, {3, 9}}}, PICK(HONE_I64, 4, {1, {9}})}, BY(-1, 4)},
    {.name = "middle", .n_in = 2, .in = {{.shape = {3, {2, 4, 3}}}, PICK(HONE_U8, 5, {1, {4}})}, BY(1, 5)},
    {.name = "none", .n_in = 2, .in = {{.shape = {2, {0, 3}}}, PICK(HONE_I32, 4, {1, {0}})}, BY(0, 4)},
    {.name = "scalar", .n_in = 2, .in = {{.shape = {1, {3}}}, PICK(HONE_I32, 4, {0, {0}})}, BY(0, 4)},
    {.name = "misfit",
     .n_in = 2,
     .in = {{.shape = {2, {3, 5}}}, PICK(HONE_I32, 4, {1, {4}})},
     BY(0, 4),
     .refused = "indices' shape"},
    {.name = "axis",
     .n_in = 2,
     .in = {{.shape = {2, {3, 5}}}, PICK(HONE_I32, 4, {1, {3}})},
     BY(2, 4),
     .refused = "indices' shape"},
    {.name = "integer",
     .n_in = 2,
     .in = {PICK(HONE_I32, 9, {1, {3}}), PICK(HONE_I32, 4, {1, {3}})},
     BY(0, 4),
     .refused = "must be f32"},
    {0}};

const hone_op hone__op_gather = {.name = "gather",
                                 .doc = "y = slices of x along an axis, picked by indices",
                                 .n_in = 2,
                                 .n_out = 1,
                                 .flags = HONE__FLEX,
                                 .raw_in = 1,
                                 .attr_size = sizeof(struct gather_attr),
                                 .attrs = attrs,
                                 .shape = gather_shape,
                                 .run = gather_run,
                                 .vjp = gather_vjp,
                                 .samples = gather_samples};
const hone_op hone__op_scatter_add = {.name = "scatter_add",
                                      .doc = "y = 0; y[indices] += updates along an axis",
                                      .n_in = 2,
                                      .n_out = 1,
                                      .flags = HONE__FLEX | HONE__ACCUMULATE,
                                      .keep_out = 1,
                                      .attr_size = sizeof(struct gather_attr),
                                      .attrs = attrs,
                                      .shape = scatter_shape,
                                      .run = scatter_run,
                                      .vjp = scatter_vjp,
                                      .samples = scatter_samples};

hone_node *hone_gather(hone_node *x, hone_node *indices, int axis)
{
    if (!x || !indices) return NULL;
    return hone__record(x->call->graph, &hone__op_gather, 2, (hone_node *[]){x, indices},
                        &(struct gather_attr){axis, 0});
}

hone_node *hone_scatter_add(hone_node *updates, hone_node *indices, int axis, int64_t n)
{
    if (!updates || !indices) return NULL;
    return hone__record(updates->call->graph, &hone__op_scatter_add, 2, (hone_node *[]){updates, indices},
                        &(struct gather_attr){axis, n});
}
