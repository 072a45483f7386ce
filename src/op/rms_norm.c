#include "op/norm.h"

static bool check(hone__call *call, int gain)
{
    const struct norm_attr *t = call->attr;
    if (!hone__want_real(call, 0) || !hone__want_rank(call, 0, 1)) return false;
    if (!(t->eps >= 0)) return hone__refuse(call, HONE_INVALID, "eps must not be negative, it is %g", t->eps);
    return !hone__has(call, gain) ||
           (hone__want_same_real(call, 0, gain) &&
            hone__want_shape(call, gain, HONE_SHAPE(hone__row_length(call->in[0]->shape)), "gain"));
}

static hone_shape rows_of(const hone__call *call)
{
    hone_shape rows = call->in[0]->shape;
    rows.dim[--rows.rank] = 0;
    return rows;
}

static bool shape(hone__call *call)
{
    hone_dtype t = call->in[0]->dtype;
    return check(call, 1) && hone__set_out(call, 0, t, call->in[0]->shape) &&
           hone__set_out(call, 1, t, rows_of(call));
}

static hone_status run(hone__exec *e)
{
    const struct norm_attr *t = e->attr;
    hone__view *x = &e->in[0], *y = &e->out[0];
    hone__norm a = {
        .eps = t->eps, .x = x->data, .xt = x->dtype, .y = y->data, .yt = y->dtype, .rstd = e->out[1].data};
    if (e->n_in > 1) a.gain = e->in[1].data, a.gt = e->in[1].dtype;
    hone__norm_run(e, &a);
    return HONE_OK;
}

static bool vjp(hone__call *call, hone_node *const *d_out, const bool *wanted, hone_node **d)
{
    hone_node *gain = hone__has(call, 1) ? call->in[1] : NULL;
    hone_node *in[4] = {call->in[0], &call->out[1], d_out[0], gain};
    hone_node *g = hone__record(call->graph, &hone__op_rms_norm_grad, gain ? 4 : 3, in, call->attr);
    d[0] = hone__output(g, 1);
    if (gain && wanted[1]) d[1] = g;
    return g != NULL;
}

/* inputs x, rstd, dy, gain, what is added to dx */
static bool grad_shape(hone__call *call)
{
    if (!check(call, 3) || !hone__want_same_real(call, 0, 2)) return false;
    hone_shape x = call->in[0]->shape;
    hone_dtype t = call->in[0]->dtype;
    return hone__want_shape(call, 1, rows_of(call), "deviation") &&
           hone__want_shape(call, 2, x, "gradient") &&
           (!hone__has(call, 4) || (hone__want_same_real(call, 0, 4) && hone__want_shape(call, 4, x, "gradient so far"))) &&
           hone__set_out(call, 0, t, HONE_SHAPE(hone__row_length(x))) && hone__set_out(call, 1, t, x);
}

static hone_status grad_prepare(hone__exec *e) { return hone__norm_grad_prepare(e, e->in[0].shape); }
static hone_status grad_run(hone__exec *e)
{
    hone__view *x = &e->in[0], *dy = &e->in[2], *dx = &e->out[1];
    hone__norm a = {.x = x->data,
                    .xt = x->dtype,
                    .rstd = e->in[1].data,
                    .dy = dy->data,
                    .dyt = dy->dtype,
                    .dx = dx->data,
                    .dxt = dx->dtype};
    if (e->n_in > 3) a.gain = e->in[3].data, a.gt = e->in[3].dtype;
    hone__norm_grad_run(e, &a);
    return HONE_OK;
}

#define EPS(e) .attr = &(struct norm_attr){e}
static const hone__sample samples[] = {
    {.name = "gain", .n_in = 2, .in = {{.shape = {2, {3, 7}}}, {.shape = {1, {7}}}}, EPS(1e-5)},
    {.name = "plain", .n_in = 1, .in = {{.shape = {3, {2, 3, 5}}}}, EPS(1e-5)},
    {.name = "vector", .n_in = 2, .in = {{.shape = {1, {9}}}, {.shape = {1, {9}}}}, EPS(1e-6)},
    {.name = "many_rows",
     .n_in = 2,
     .in = {{.shape = {3, {9, 23, 4}}}, {.shape = {1, {4}}}},
     EPS(1e-2),
     .tolerance = 1e-4},
    {.name = "chunks",
     .n_in = 2,
     .in = {{.shape = {2, {5, 1030}}}, {.shape = {1, {1030}}}},
     .no_grad = true,
     EPS(1e-5),
     .tolerance = 1e-4},
    {.name = "empty", .n_in = 2, .in = {{.shape = {2, {0, 5}}}, {.shape = {1, {5}}}}, EPS(1e-5)},
    {.name = "gain_size",
     .n_in = 2,
     .in = {{.shape = {2, {3, 5}}}, {.shape = {1, {4}}}},
     EPS(1e-5),
     .refused = "the gain must be [5], not [4]"},
    {.name = "eps",
     .n_in = 1,
     .in = {{.shape = {2, {3, 5}}}},
     EPS(-1),
     .refused = "eps must not be negative"},
    {.name = "integer",
     .n_in = 1,
     .in = {{.dtype = HONE_I32, .shape = {1, {3}}, .fill = HONE__FILL_INDEX, .high = 4}},
     EPS(1e-5),
     .refused = "must be f32 or f64"},
    {0}};
#define POSITIVE(...) {.shape = __VA_ARGS__, .fill = HONE__FILL_UNIFORM, .low = 0.5, .high = 2}
static const hone__sample grad_samples[] = {
    {.name = "gain",
     .n_in = 4,
     .in = {{.shape = {2, {3, 7}}}, POSITIVE({1, {3}}), {.shape = {2, {3, 7}}}, {.shape = {1, {7}}}}},
    {.name = "plain", .n_in = 3, .in = {{.shape = {2, {3, 7}}}, POSITIVE({1, {3}}), {.shape = {2, {3, 7}}}}},
    {.name = "sum",
     .n_in = 5,
     .in = {{.shape = {2, {3, 37}}}, POSITIVE({1, {3}}), {.shape = {2, {3, 37}}}, {.shape = {1, {37}}}, {.shape = {2, {3, 37}}}}},
    {.name = "plain_sum",
     .n_in = 5,
     .in = {{.shape = {2, {3, 7}}}, POSITIVE({1, {3}}), {.shape = {2, {3, 7}}}, {.absent = true}, {.shape = {2, {3, 7}}}}},
    {.name = "sum_size",
     .n_in = 5,
     .in = {{.shape = {2, {3, 7}}}, POSITIVE({1, {3}}), {.shape = {2, {3, 7}}}, {.absent = true}, {.shape = {2, {3, 6}}}},
     .refused = "the gradient so far must be"},
    {.name = "misfit",
     .n_in = 3,
     .in = {{.shape = {2, {3, 7}}}, POSITIVE({1, {4}}), {.shape = {2, {3, 7}}}},
     .refused = "the deviation must be [3]"},
    {0}};

const hone_op hone__op_rms_norm = {
    .name = "rms_norm",
    .doc = "y = x / sqrt(mean(x^2) + eps) * gain over the last axis; 1 / sqrt(mean(x^2) + eps)",
    .n_in = 2,
    .n_required = 1,
    .n_out = 2,
    .flags = HONE__FLEX | HONE__CHEAP,
    .keep_out = 2,
    .aux_out = 2,
    .attr_size = sizeof(struct norm_attr),
    .attrs = hone__norm_attrs,
    .shape = shape,
    .run = run,
    .vjp = vjp,
    .samples = samples};
const hone_op hone__op_rms_norm_grad = {.name = "rms_norm_grad",
                                        .doc = "dgain, dx of rms_norm",
                                        .n_in = 5,
                                        .n_required = 3,
                                        .n_out = 2,
                                        .flags = HONE__FLEX | HONE__ACCUMULATE | HONE__AGAIN,
                                        .sum_in = 4,
                                        .sum_out = 1,
                                        .keep_in = 2,
                                        .keep_out = 1,
                                        .attr_size = sizeof(struct norm_attr),
                                        .attrs = hone__norm_attrs,
                                        .shape = grad_shape,
                                        .prepare = grad_prepare,
                                        .run = grad_run,
                                        .samples = grad_samples};

hone_node *hone_rms_norm(hone_node *x, hone_node *gain, double eps)
{
    if (!x) return NULL;
    return hone__record(x->call->graph, &hone__op_rms_norm, gain ? 2 : 1, (hone_node *[]){x, gain},
                        &(struct norm_attr){eps});
}
