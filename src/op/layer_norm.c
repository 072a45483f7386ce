#include "op/norm.h"

static bool check(hone__call *call)
{
    const struct norm_attr *t = call->attr;
    if (!hone__want_real(call, 0) || !hone__want_rank(call, 0, 1)) return false;
    if (!(t->eps >= 0)) return hone__refuse(call, HONE_INVALID, "eps must not be negative, it is %g", t->eps);
    return true;
}

/* gain or bias: [n], of x's dtype. */
static bool check_row(hone__call *call, int i, const char *what)
{
    hone_shape x = call->in[0]->shape;
    return !hone__has(call, i) || (hone__want_same_real(call, 0, i) &&
                                   hone__want_shape(call, i, HONE_SHAPE(hone__row_length(x)), what));
}

static hone_shape rows_of(const hone__call *call)
{
    hone_shape rows = call->in[0]->shape;
    rows.dim[--rows.rank] = 0;
    return rows;
}

static bool shape(hone__call *call)
{
    if (!check(call) || !check_row(call, 1, "gain") || !check_row(call, 2, "bias")) return false;
    hone_dtype t = call->in[0]->dtype;
    return hone__set_out(call, 0, t, call->in[0]->shape) && hone__set_out(call, 1, t, rows_of(call)) &&
           hone__set_out(call, 2, t, rows_of(call));
}

static hone_status run(hone__exec *e)
{
    const struct norm_attr *t = e->attr;
    hone__view *x = &e->in[0], *y = &e->out[0];
    hone__norm a = {.eps = t->eps,
                    .x = x->data,
                    .xt = x->dtype,
                    .y = y->data,
                    .yt = y->dtype,
                    .mean = e->out[1].data,
                    .rstd = e->out[2].data,
                    .centre = true};
    if (e->n_in > 1) a.gain = e->in[1].data, a.gt = e->in[1].dtype;
    if (e->n_in > 2) a.bias = e->in[2].data, a.bt = e->in[2].dtype;
    hone__norm_run(e, &a);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *d_out, const bool *wanted, hone_node **d)
{
    hone_node *gain = hone__has(call, 1) ? call->in[1] : NULL;
    hone_node *in[5] = {call->in[0], &call->out[1], &call->out[2], d_out[0], gain};
    hone_node *g = hone__record(call->graph, &hone__op_layer_norm_grad, gain ? 5 : 4, in, call->attr);
    d[0] = hone__output(g, 1);
    if (call->n_in > 1 && wanted[1]) d[1] = g;
    if (call->n_in > 2 && wanted[2]) d[2] = hone__output(g, 2);
    return g != NULL;
}

/* inputs x, mean, rstd, dy, gain, what is added to dx */
static bool grad_shape(hone__call *call)
{
    if (!check(call) || !check_row(call, 4, "gain") || !hone__want_same_real(call, 0, 3)) return false;
    hone_shape x = call->in[0]->shape, rows = rows_of(call), row = HONE_SHAPE(hone__row_length(x));
    if (!hone__want_shape(call, 1, rows, "mean") || !hone__want_shape(call, 2, rows, "deviation") ||
        !hone__want_shape(call, 3, x, "gradient") ||
        (hone__has(call, 5) && (!hone__want_same_real(call, 0, 5) || !hone__want_shape(call, 5, x, "gradient so far"))))
        return false;
    hone_dtype t = call->in[0]->dtype;
    return hone__set_out(call, 0, t, row) && hone__set_out(call, 1, t, x) && hone__set_out(call, 2, t, row);
}

static hone_status grad_prepare(hone__exec *e) { return hone__norm_grad_prepare(e, e->in[0].shape); }
static hone_status grad_run(hone__exec *e)
{
    hone__view *x = &e->in[0], *dy = &e->in[3], *dx = &e->out[1];
    hone__norm a = {.x = x->data,
                    .xt = x->dtype,
                    .mean = e->in[1].data,
                    .rstd = e->in[2].data,
                    .dy = dy->data,
                    .dyt = dy->dtype,
                    .dx = dx->data,
                    .dxt = dx->dtype,
                    .centre = true};
    if (e->n_in > 4) a.gain = e->in[4].data, a.gt = e->in[4].dtype;
    hone__norm_grad_run(e, &a);
    return HONE_OK;
}

#define EPS(e) .attr = &(struct norm_attr){e}
static const hone__sample samples[] = {
    {.name = "full",
     .n_in = 3,
     .in = {{.shape = {2, {3, 7}}}, {.shape = {1, {7}}}, {.shape = {1, {7}}}},
     EPS(1e-5)},
    {.name = "plain", .n_in = 1, .in = {{.shape = {3, {2, 3, 5}}}}, EPS(1e-5)},
    {.name = "gain", .n_in = 2, .in = {{.shape = {3, {2, 3, 5}}}, {.shape = {1, {5}}}}, EPS(1e-3)},
    {.name = "bias",
     .n_in = 3,
     .in = {{.shape = {2, {3, 5}}}, {.absent = true}, {.shape = {1, {5}}}},
     EPS(1e-5)},
    {.name = "vector", .n_in = 2, .in = {{.shape = {1, {9}}}, {.shape = {1, {9}}}}, EPS(1e-5)},
    {.name = "many_rows",
     .n_in = 3,
     .in = {{.shape = {3, {9, 23, 4}}}, {.shape = {1, {4}}}, {.shape = {1, {4}}}},
     EPS(1e-1),
     .tolerance = 1e-4},
    {.name = "chunks",
     .n_in = 3,
     .in = {{.shape = {2, {5, 1030}}}, {.shape = {1, {1030}}}, {.shape = {1, {1030}}}},
     .no_grad = true,
     EPS(1e-5),
     .tolerance = 1e-4},
    {.name = "empty", .n_in = 2, .in = {{.shape = {2, {0, 5}}}, {.shape = {1, {5}}}}, EPS(1e-5)},
    {.name = "gain_size",
     .n_in = 2,
     .in = {{.shape = {2, {3, 5}}}, {.shape = {1, {4}}}},
     EPS(1e-5),
     .refused = "the gain must be [5], not [4]"},
    {.name = "bias_size",
     .n_in = 3,
     .in = {{.shape = {2, {3, 5}}}, {.shape = {1, {5}}}, {.shape = {2, {1, 5}}}},
     EPS(1e-5),
     .refused = "the bias must be [5]"},
    {.name = "eps",
     .n_in = 1,
     .in = {{.shape = {2, {3, 5}}}},
     EPS(-1),
     .refused = "eps must not be negative"},
    {.name = "scalar", .n_in = 1, .in = {{.shape = {0, {0}}}}, EPS(1e-5), .refused = "at least 1 axes"},
    {0}};
#define POSITIVE(...) {.shape = __VA_ARGS__, .fill = HONE__FILL_UNIFORM, .low = 0.5, .high = 2}
static const hone__sample grad_samples[] = {
    {.name = "gain",
     .n_in = 5,
     .in = {{.shape = {2, {3, 7}}},
            {.shape = {1, {3}}},
            POSITIVE({1, {3}}),
            {.shape = {2, {3, 7}}},
            {.shape = {1, {7}}}}},
    {.name = "plain",
     .n_in = 4,
     .in = {{.shape = {2, {3, 7}}}, {.shape = {1, {3}}}, POSITIVE({1, {3}}), {.shape = {2, {3, 7}}}}},
    {.name = "sum",
     .n_in = 6,
     .in = {{.shape = {2, {3, 37}}},
            {.shape = {1, {3}}},
            POSITIVE({1, {3}}),
            {.shape = {2, {3, 37}}},
            {.shape = {1, {37}}},
            {.shape = {2, {3, 37}}}}},
    {.name = "misfit",
     .n_in = 4,
     .in = {{.shape = {2, {3, 7}}}, {.shape = {1, {3}}}, POSITIVE({1, {3}}), {.shape = {2, {3, 6}}}},
     .refused = "the gradient must be"},
    {0}};

const hone_op hone__op_layer_norm = {
    .name = "layer_norm",
    .doc = "y = (x - mean) / sqrt(var + eps) * gain + bias over the last axis; mean; 1 / sqrt(var + eps)",
    .n_in = 3,
    .n_required = 1,
    .n_out = 3,
    .flags = HONE__FLEX | HONE__CHEAP,
    .keep_out = 6,
    .aux_out = 6,
    .attr_size = sizeof(struct norm_attr),
    .attrs = hone__norm_attrs,
    .shape = shape,
    .run = run,
    .vjp = vjp,
    .samples = samples};
const hone_op hone__op_layer_norm_grad = {.name = "layer_norm_grad",
                                          .doc = "dgain, dx, dbias of layer_norm",
                                          .n_in = 6,
                                          .n_required = 4,
                                          .n_out = 3,
                                          .flags = HONE__FLEX | HONE__ACCUMULATE | HONE__AGAIN,
                                          .sum_in = 5,
                                          .sum_out = 1,
                                          .keep_in = 6,
                                          .keep_out = 5,
                                          .attr_size = sizeof(struct norm_attr),
                                          .attrs = hone__norm_attrs,
                                          .shape = grad_shape,
                                          .prepare = grad_prepare,
                                          .run = grad_run,
                                          .samples = grad_samples};

hone_node *hone_layer_norm(hone_node *x, hone_node *gain, hone_node *bias, double eps)
{
    if (!x) return NULL;
    hone_node *in[3] = {x, gain, bias};
    return hone__record(x->call->graph, &hone__op_layer_norm,
                        bias   ? 3
                        : gain ? 2
                               : 1,
                        in, &(struct norm_attr){eps});
}
