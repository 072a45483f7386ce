/* softmax and log softmax over the last axis. */
#include "op/nn.h"

static bool shape(hone__call *call)
{
    return hone__want_real(call, 0) && hone__want_rank(call, 0, 1) &&
           hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

typedef struct job {
    hone__exec *e;
    bool logarithm;
    int64_t n;
} job;

static void part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->softmax(j->logarithm, hone__at(&j->e->out[0], begin * j->n),
                     hone__at(&j->e->in[0], begin * j->n), end - begin, j->n);
}
static hone_status rows(hone__exec *e, bool logarithm, hone__range_fn fn)
{
    job j = {e, logarithm, hone__row_length(e->out[0].shape)};
    if (j.n)
        hone__parallel_for(e->ctx, hone__row_count(e->out[0].shape), HONE_MAX(HONE__GRAIN / 4 / j.n, 1), fn,
                           &j);
    return HONE_OK;
}
static hone_status run(hone__exec *e) { return rows(e, false, part); }
static hone_status log_run(hone__exec *e) { return rows(e, true, part); }

static void grad_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    hone__exec *e = j->e;
    e->k->softmax_grad(j->logarithm, hone__at(&e->out[0], begin * j->n), hone__at(&e->in[0], begin * j->n),
                       hone__at(&e->in[1], begin * j->n), end - begin, j->n);
}
static hone_status grad_run(hone__exec *e) { return rows(e, false, grad_part); }
static hone_status log_grad_run(hone__exec *e) { return rows(e, true, grad_part); }

static bool grad_shape(hone__call *call)
{
    return hone__want_same_real(call, 0, 1) && hone__want_rank(call, 0, 1) &&
           hone__want_shape(call, 1, call->in[0]->shape, "gradient") &&
           hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

static bool grad_of(hone__call *call, hone_node *dy, hone_node **dx, const hone_op *op)
{
    return (*dx = hone__record(call->graph, op, 2, (hone_node *[]){&call->out[0], dy}, NULL)) != NULL;
}
static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    return grad_of(call, dy[0], &dx[0], &hone__op_softmax_grad);
}
static bool log_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    return grad_of(call, dy[0], &dx[0], &hone__op_log_softmax_grad);
}

static const hone__sample samples[] = {
    {.name = "matrix", .n_in = 1, .in = {{.shape = {2, {3, 7}}}}},
    {.name = "row", .n_in = 1, .in = {{.shape = {1, {67}}}}},
    {.name = "one", .n_in = 1, .in = {{.shape = {2, {4, 1}}}}},
    {.name = "large_values",
     .n_in = 1,
     .in = {{.shape = {3, {2, 3, 5}}, .fill = HONE__FILL_UNIFORM, .low = -40, .high = 40}},
     .tolerance = 1e-4},
    {.name = "chunks", .n_in = 1, .in = {{.shape = {2, {2, 1100}}}}, .no_grad = true},
    {.name = "empty", .n_in = 1, .in = {{.shape = {2, {0, 3}}}}},
    {.name = "scalar", .n_in = 1, .in = {{.shape = {0, {0}}}}, .refused = "at least 1 axes"},
    {.name = "integer",
     .n_in = 1,
     .in = {{.dtype = HONE_I32, .shape = {1, {3}}, .fill = HONE__FILL_INDEX, .high = 4}},
     .refused = "must be f32 or f64"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "matrix",
     .n_in = 2,
     .in = {{.shape = {2, {3, 7}}, .fill = HONE__FILL_SOFTMAX}, {.shape = {2, {3, 7}}}}},
    {.name = "misfit",
     .n_in = 2,
     .in = {{.shape = {2, {3, 7}}, .fill = HONE__FILL_SOFTMAX}, {.shape = {2, {3, 6}}}},
     .refused = "the gradient must be [3, 7]"},
    {0}};

const hone_op hone__op_softmax = {.name = "softmax",
                                  .doc = "y = e^x / sum e^x over the last axis",
                                  .n_in = 1,
                                  .n_out = 1,
                                  .shape = shape,
                                  .run = run,
                                  .vjp = vjp,
                                  .samples = samples};
const hone_op hone__op_log_softmax = {.name = "log_softmax",
                                      .doc = "y = x - log sum e^x over the last axis",
                                      .n_in = 1,
                                      .n_out = 1,
                                      .shape = shape,
                                      .run = log_run,
                                      .vjp = log_vjp,
                                      .samples = samples};
const hone_op hone__op_softmax_grad = {.name = "softmax_grad",
                                       .doc = "dx = y (dy - sum dy y)",
                                       .n_in = 2,
                                       .n_out = 1,
                                       .shape = grad_shape,
                                       .run = grad_run,
                                       .samples = grad_samples};
const hone_op hone__op_log_softmax_grad = {.name = "log_softmax_grad",
                                           .doc = "dx = dy - e^y sum dy",
                                           .n_in = 2,
                                           .n_out = 1,
                                           .shape = grad_shape,
                                           .run = log_grad_run,
                                           .samples = grad_samples};

hone_node *hone_softmax(hone_node *x)
{
    return x ? hone__record(x->call->graph, &hone__op_softmax, 1, &x, NULL) : NULL;
}
hone_node *hone_log_softmax(hone_node *x)
{
    return x ? hone__record(x->call->graph, &hone__op_log_softmax, 1, &x, NULL) : NULL;
}

hone_node *hone__axis_last(hone_node *x, int64_t axis, bool back)
{
    if (!x) return NULL;
    const int rank = x->shape.rank, at = (int)(axis < 0 ? axis + rank : axis);
    hone_axes order = {.count = rank};
    if (axis < -rank || axis >= rank) {
        hone__fail(x->call->graph->ctx, HONE_SHAPE, "axis %lld is outside of %s", (long long)axis, HONE__SHAPE_STR(x->shape));
        return NULL;
    }
    for (int d = 0; d < rank; d++) {
        int last = d == rank - 1 ? at : d < at ? d : d + 1, first = d < at ? d : d == at ? rank - 1 : d - 1;
        order.axis[d] = back ? first : last;
    }
    return at == rank - 1 ? x : hone_transpose(x, order);
}
hone_node *hone_softmax_along(hone_node *x, int axis) { return hone__axis_last(hone_softmax(hone__axis_last(x, axis, false)), axis, true); }
hone_node *hone_log_softmax_along(hone_node *x, int axis)
{
    return hone__axis_last(hone_log_softmax(hone__axis_last(x, axis, false)), axis, true);
}
