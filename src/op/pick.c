/* One value of each row: y[r] = x[r, index[r]]; rows whose index is below 0 give `fill`. */
#include "op/nn.h"

struct pick_attr {
    double fill;
    int64_t n; /* pick_grad: columns */
};
static const hone__attr attrs[] = {
    HONE__ATTR(struct pick_attr, fill, F64), HONE__ATTR(struct pick_attr, n, I64), {0}};

static bool shape(hone__call *call)
{
    if (!hone__want_real(call, 0) || !hone__want_rank(call, 0, 1) || !hone__want_integer(call, 1))
        return false;
    hone_shape rows = call->in[0]->shape;
    rows.dim[--rows.rank] = 0;
    return hone__want_shape(call, 1, rows, "targets") && hone__set_out(call, 0, call->in[0]->dtype, rows);
}

static hone_status prepare(hone__exec *e)
{
    e->scratch_size = (size_t)hone_shape_count(e->in[1].shape) * sizeof(int32_t);
    return HONE_OK;
}

static hone_status run(hone__exec *e)
{
    const struct pick_attr *t = e->attr;
    int64_t n = hone__row_length(e->in[0].shape), rows = hone__row_count(e->in[0].shape);
    int32_t *target = e->scratch;
    float fill = (float)t->fill;
    const void *filler = e->k->real == HONE_F64 ? (const void *)&t->fill : (const void *)&fill;
    hone_status status = hone__read_targets(e, &e->in[1], n, target);
    for (int64_t r = 0; r < rows && status == HONE_OK; r++)
        e->k->copy(hone__at(&e->out[0], r), e->k->real,
                   target[r] < 0 ? filler : hone__at(&e->in[0], r * n + target[r]), e->k->real, 1, 1);
    return status;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    struct pick_attr t = {.n = hone__row_length(call->in[0]->shape)};
    return (dx[0] = hone__record(call->graph, &hone__op_pick_grad, 2, (hone_node *[]){dy[0], call->in[1]},
                                 &t)) != NULL;
}

static bool grad_shape(hone__call *call)
{
    const struct pick_attr *t = call->attr;
    hone_shape x = call->in[0]->shape;
    if (!hone__want_real(call, 0) || !hone__want_integer(call, 1) || !hone__want_shape(call, 1, x, "targets"))
        return false;
    if (x.rank == HONE_MAX_RANK || t->n < 0)
        return hone__refuse(call, HONE_SHAPE, "no room for another axis");
    x.dim[x.rank++] = t->n;
    return hone__set_out(call, 0, call->in[0]->dtype, x);
}

static hone_status grad_run(hone__exec *e)
{
    const struct pick_attr *t = e->attr;
    int64_t rows = hone_shape_count(e->in[0].shape);
    int32_t *target = e->scratch;
    hone_status status = hone__read_targets(e, &e->in[1], t->n, target);
    if (status != HONE_OK) return status;
    hone__fill_view(e, &e->out[0], 0);
    for (int64_t r = 0; r < rows; r++)
        if (target[r] >= 0)
            e->k->copy(hone__at(&e->out[0], r * t->n + target[r]), e->k->real, hone__at(&e->in[0], r),
                       e->k->real, 1, 1);
    return HONE_OK;
}

static bool grad_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    return (dx[0] = hone__pick(dy[0], call->in[1], 0)) != NULL;
}

#define TARGET(low_, high_, ...)                                                                      \
    {                                                                                                 \
        .dtype = HONE_I32, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .low = low_, .high = high_ \
    }
static const hone__sample samples[] = {
    {.name = "matrix",
     .n_in = 2,
     .in = {{.shape = {2, {5, 7}}}, TARGET(-2, 7, {1, {5}})},
     .attr = &(struct pick_attr){1, 0}},
    {.name = "vector", .n_in = 2, .in = {{.shape = {1, {7}}}, TARGET(0, 7, {0, {0}})}},
    {.name = "misfit",
     .n_in = 2,
     .in = {{.shape = {2, {5, 7}}}, TARGET(0, 7, {1, {7}})},
     .refused = "the targets must be [5]"},
    {0}};
static const hone__sample grad_samples[] = {{.name = "matrix",
                                             .n_in = 2,
                                             .in = {{.shape = {2, {2, 3}}}, TARGET(-2, 7, {2, {2, 3}})},
                                             .attr = &(struct pick_attr){0, 7}},
                                            {.name = "misfit",
                                             .n_in = 2,
                                             .in = {{.shape = {2, {2, 3}}}, TARGET(0, 7, {1, {3}})},
                                             .attr = &(struct pick_attr){0, 7},
                                             .refused = "the targets must be [2, 3]"},
                                            {0}};

const hone_op hone__op_pick = {.name = "pick",
                               .doc = "y[r] = x[r, index[r]]; below 0: fill",
                               .n_in = 2,
                               .n_out = 1,
                               .attr_size = sizeof(struct pick_attr),
                               .attrs = attrs,
                               .shape = shape,
                               .prepare = prepare,
                               .run = run,
                               .vjp = vjp,
                               .samples = samples};
const hone_op hone__op_pick_grad = {.name = "pick_grad",
                                    .doc = "dx = 0; dx[r, index[r]] = dy[r]",
                                    .n_in = 2,
                                    .n_out = 1,
                                    .attr_size = sizeof(struct pick_attr),
                                    .attrs = attrs,
                                    .shape = grad_shape,
                                    .prepare = prepare,
                                    .run = grad_run,
                                    .vjp = grad_vjp,
                                    .samples = grad_samples};

hone_node *hone__pick(hone_node *x, hone_node *index, double fill)
{
    if (!x || !index) return NULL;
    return hone__record(x->call->graph, &hone__op_pick, 2, (hone_node *[]){x, index},
                        &(struct pick_attr){fill, 0});
}
