/* Cross entropy of logits with class numbers, softmax and logarithm in one: a loss for every row. */
#include "op/nn.h"

/* Inputs 0 logits and 1 targets, and input i weights. */
static bool check(hone__call *call, int weights, hone_shape *rows)
{
    if (!hone__want_real(call, 0) || !hone__want_rank(call, 0, 1) || !hone__want_integer(call, 1))
        return false;
    *rows = call->in[0]->shape;
    int64_t n = rows->dim[--rows->rank];
    rows->dim[rows->rank] = 0;
    if (n < 1 || n > INT32_MAX)
        return hone__refuse(call, HONE_SHAPE, "logits over %lld classes", (long long)n);
    if (!hone__want_shape(call, 1, *rows, "targets") || !hone__want_shape(call, weights, *rows, "weights"))
        return false;
    return !hone__has(call, weights) || hone__want_same_real(call, 0, weights);
}

static bool shape(hone__call *call)
{
    hone_shape rows;
    if (!check(call, 2, &rows)) return false;
    for (int i = 0; i < 3; i++) hone__set_out(call, i, call->in[0]->dtype, rows);
    return true;
}

typedef struct job {
    hone__exec *e;
    int64_t n;
    int32_t *target;
    char *max, *sum, *picked; /* (rows) */
    int64_t real;             /* bytes */
} job;

static hone_status prepare(hone__exec *e)
{
    size_t rows = (size_t)hone__row_count(e->in[0].shape);
    e->scratch_size = hone__align(rows * 4) + 3 * hone__align(rows * (e->k->real == HONE_F64 ? 8 : 4));
    return HONE_OK;
}

static char *at(void *base, int64_t bytes) { return base ? (char *)base + bytes : NULL; }
static const char *at_const(const void *base, int64_t bytes)
{
    return base ? (const char *)base + bytes : NULL;
}

static void part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    hone__exec *e = j->e;
    int64_t from = begin * j->real, rows = end - begin;
    e->k->lse_begin(j->max + from, j->sum + from, j->picked + from, rows);
    e->k->lse_block(j->max + from, j->sum + from, j->picked + from, hone__at(&e->in[0], begin * j->n), j->n,
                    j->target + begin, 0, rows, j->n);
    e->k->lse_finish(at(e->out[0].data, from), at(e->out[1].data, from), at(e->out[2].data, from),
                     j->max + from, j->sum + from, j->picked + from, j->target + begin,
                     at_const(hone__data(e, 2), from), rows);
}

static int64_t grain(int64_t n) { return HONE_MAX(HONE__GRAIN / 4 / n, 1); }

static hone_status run(hone__exec *e)
{
    int64_t rows = hone__row_count(e->in[0].shape);
    char *scratch = e->scratch;
    job j = {.e = e, .n = hone__row_length(e->in[0].shape), .real = e->k->real == HONE_F64 ? 8 : 4};
    j.target = hone__take(&scratch, (size_t)rows * 4);
    j.max = hone__take(&scratch, (size_t)(rows * j.real));
    j.sum = hone__take(&scratch, (size_t)(rows * j.real));
    j.picked = hone__take(&scratch, (size_t)(rows * j.real));
    hone_status status = hone__read_targets(e, &e->in[1], j.n, j.target);
    if (status == HONE_OK) hone__parallel_for(e->ctx, rows, grain(j.n), part, &j);
    return status;
}

static bool vjp(hone__call *call, hone_node *const *d_out, const bool *wanted, hone_node **d)
{
    hone_node *weights = hone__has(call, 2) ? call->in[2] : NULL;
    if (wanted[0]) {
        hone_node *in[5] = {call->in[0], call->in[1], &call->out[1], d_out[0], weights};
        d[0] = hone__record(call->graph, &hone__op_softmax_cross_entropy_grad, weights ? 5 : 4, in, NULL);
        if (!d[0]) return false;
    }
    if (weights && wanted[2]) {
        d[2] = hone_mul(d_out[0], hone_softmax_cross_entropy(call->in[0], call->in[1], NULL));
        if (!d[2]) return false;
    }
    return true;
}

/* inputs logits, targets, lse, dloss, weights */
static bool grad_shape(hone__call *call)
{
    hone_shape rows;
    return check(call, 4, &rows) && hone__want_same_real(call, 0, 2) && hone__want_same_real(call, 0, 3) &&
           hone__want_shape(call, 2, rows, "log sum") && hone__want_shape(call, 3, rows, "gradient") &&
           hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

static void grad_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    hone__exec *e = j->e;
    hone__view *dx = &e->out[0];
    e->k->cross_entropy_grad(hone__at(dx, begin * j->n), dx->dtype, j->n, hone__at(&e->in[0], begin * j->n),
                             j->n, hone__at(&e->in[2], begin), hone__at(&e->in[3], begin), j->target + begin,
                             at_const(hone__data(e, 4), begin * j->real), 0, end - begin, j->n);
}

static hone_status grad_run(hone__exec *e)
{
    job j = {.e = e,
             .n = hone__row_length(e->in[0].shape),
             .target = e->scratch,
             .real = e->k->real == HONE_F64 ? 8 : 4};
    hone_status status = hone__read_targets(e, &e->in[1], j.n, j.target);
    if (status == HONE_OK)
        hone__parallel_for(e->ctx, hone__row_count(e->in[0].shape), grain(j.n), grad_part, &j);
    return status;
}

#define TARGET(type, low_, high_, ...)                                                            \
    {                                                                                             \
        .dtype = type, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .low = low_, .high = high_ \
    }
#define WEIGHT(...) {.shape = __VA_ARGS__, .fill = HONE__FILL_UNIFORM, .low = 0.5, .high = 2}
static const hone__sample samples[] = {
    {.name = "matrix", .n_in = 2, .in = {{.shape = {2, {5, 7}}}, TARGET(HONE_I32, 0, 7, {1, {5}})}},
    {.name = "weights",
     .n_in = 3,
     .in = {{.shape = {2, {5, 7}}}, TARGET(HONE_I64, 0, 7, {1, {5}}), WEIGHT({1, {5}})}},
    {.name = "ignored",
     .n_in = 3,
     .in = {{.shape = {3, {2, 5, 3}}}, TARGET(HONE_I32, -2, 3, {2, {2, 5}}), WEIGHT({2, {2, 5}})}},
    {.name = "vector", .n_in = 2, .in = {{.shape = {1, {9}}}, TARGET(HONE_U8, 0, 9, {0, {0}})}},
    {.name = "large_values",
     .n_in = 2,
     .in = {{.shape = {2, {4, 67}}, .fill = HONE__FILL_UNIFORM, .low = -30, .high = 30},
            TARGET(HONE_I32, 0, 67, {1, {4}})},
     .tolerance = 1e-4},
    {.name = "chunks",
     .n_in = 2,
     .in = {{.shape = {2, {3, 1100}}}, TARGET(HONE_I32, 0, 1100, {1, {3}})},
     .no_grad = true},
    {.name = "empty", .n_in = 2, .in = {{.shape = {2, {0, 3}}}, TARGET(HONE_I32, 0, 3, {1, {0}})}},
    {.name = "real_targets",
     .n_in = 2,
     .in = {{.shape = {2, {5, 7}}}, {.shape = {1, {5}}}},
     .refused = "must be an integer"},
    {.name = "shape",
     .n_in = 2,
     .in = {{.shape = {2, {5, 7}}}, TARGET(HONE_I32, 0, 7, {1, {7}})},
     .refused = "the targets must be [5], not [7]"},
    {.name = "no_classes",
     .n_in = 2,
     .in = {{.shape = {2, {5, 0}}}, TARGET(HONE_I32, 0, 1, {1, {5}})},
     .refused = "over 0 classes"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "matrix",
     .n_in = 4,
     .in = {{.shape = {2, {5, 7}}},
            TARGET(HONE_I32, -1, 7, {1, {5}}),
            {.shape = {1, {5}}, .fill = HONE__FILL_UNIFORM, .low = 2, .high = 3},
            {.shape = {1, {5}}}}},
    {.name = "misfit",
     .n_in = 4,
     .in = {{.shape = {2, {5, 7}}},
            TARGET(HONE_I32, -1, 7, {1, {5}}),
            {.shape = {1, {5}}},
            {.shape = {1, {7}}}},
     .refused = "the gradient must be [5]"},
    {0}};

const hone_op hone__op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .doc = "weight (log sum e^logits - logits[target]) a row; log sum e^logits; weight or 0",
    .n_in = 3,
    .n_required = 2,
    .n_out = 3,
    .aux_out = 6,
    .shape = shape,
    .prepare = prepare,
    .run = run,
    .vjp = vjp,
    .samples = samples};
const hone_op hone__op_softmax_cross_entropy_grad = {
    .name = "softmax_cross_entropy_grad",
    .doc = "dlogits = dloss weight (softmax(logits) - onehot(target))",
    .n_in = 5,
    .n_required = 4,
    .n_out = 1,
    .shape = grad_shape,
    .prepare = prepare,
    .run = grad_run,
    .samples = grad_samples};

hone_node *hone_softmax_cross_entropy(hone_node *logits, hone_node *targets, hone_node *weights)
{
    if (!logits || !targets) return NULL;
    return hone__record(logits->call->graph, &hone__op_softmax_cross_entropy, weights ? 3 : 2,
                        (hone_node *[]){logits, targets, weights}, NULL);
}
