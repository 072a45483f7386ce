/* Elementwise functions of one input: one op with the function as an attribute. */
#include "op/op.h"

struct unary_attr {
    int function; /* hone__unary */
    double a, b;
};
static const hone__attr attrs[] = {HONE__ATTR(struct unary_attr, function, INT), HONE__ATTR(struct unary_attr, a, F64),
                                   HONE__ATTR(struct unary_attr, b, F64), {0}};

static bool shape(hone__call *call)
{
    return hone__want_real(call, 0) && hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

static void part(void *arg, const hone__loop *loop, const int64_t *offset, int64_t n)
{
    hone__exec *e = arg;
    const struct unary_attr *u = e->attr;
    hone__view *y = &e->out[0], *x = &e->in[0];
    e->k->unary((hone__unary)u->function, hone__at(y, offset[0]), y->dtype, hone__at(x, offset[1]), x->dtype,
                hone__loop_stride(loop, 1), n, u->a, u->b);
}

static hone_status run(hone__exec *e)
{
    hone__loop loop;
    hone__loop_init(&loop, e->out[0].shape, 2, (const hone__view *const[]){&e->out[0], &e->in[0]});
    hone__loop_run(e->ctx, &loop, HONE__GRAIN / 4, part, e);
    return HONE_OK;
}

hone_node *hone__unary_grad(hone_node *x, hone_node *dy, hone__unary function, double a, double b)
{
    if (!x || !dy) return NULL;
    return hone__record(x->call->graph, &hone__op_unary_grad, 2, (hone_node *[]){x, dy},
                        &(struct unary_attr){(int)function, a, b});
}

/* Those whose slope is made of ordinary ops can be differentiated again; the others have a fused backward. */
static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **dx)
{
    (void)wanted;
    const struct unary_attr *u = call->attr;
    hone_node *x = call->in[0], *y = &call->out[0], *d = dy[0];
    switch ((hone__unary)u->function) {
    case HONE__NEG: dx[0] = hone_neg(d); break;
    case HONE__EXP: dx[0] = hone_mul(d, y); break;
    case HONE__LOG: dx[0] = hone_div(d, x); break;
    case HONE__SQUARE: dx[0] = hone_mul(d, hone_affine(x, 2, 0)); break;
    case HONE__SIN: dx[0] = hone_mul(d, hone_cos(x)); break;
    case HONE__COS: dx[0] = hone_neg(hone_mul(d, hone_sin(x))); break;
    case HONE__AFFINE: dx[0] = hone_affine(d, u->a, 0); break;
    case HONE__SIGMOID: dx[0] = hone_mul(d, hone_mul(y, hone_affine(y, -1, 1))); break;
    case HONE__TANH: dx[0] = hone_mul(d, hone_affine(hone_square(y), -1, 1)); break;
    case HONE__RECIPROCAL: dx[0] = hone_neg(hone_mul(d, hone_square(y))); break;
    case HONE__SQRT: dx[0] = hone_div(hone_affine(d, 0.5, 0), y); break;
    default: dx[0] = hone__unary_grad(x, d, (hone__unary)u->function, u->a, u->b);
    }
    return dx[0] != NULL;
}

static void grad_part(void *arg, int64_t begin, int64_t end)
{
    hone__exec *e = arg;
    const struct unary_attr *u = e->attr;
    hone__view *dx = &e->out[0], *x = &e->in[0], *dy = &e->in[1];
    e->k->unary_grad((hone__unary)u->function, hone__at(dx, begin), dx->dtype, hone__at(x, begin), x->dtype,
                     hone__at(dy, begin), dy->dtype, end - begin, u->a, u->b);
}
static hone_status grad_run(hone__exec *e)
{
    hone__parallel_for(e->ctx, hone_shape_count(e->out[0].shape), HONE__GRAIN / 4, grad_part, e);
    return HONE_OK;
}
static bool grad_shape(hone__call *call)
{
    return hone__want_same_real(call, 0, 1) && hone__set_out(call, 0, call->in[0]->dtype, call->in[0]->shape);
}

#define ONE .n_in = 1, .in = {{.shape = {2, {3, 7}}}}
#define POSITIVE .n_in = 1, .in = {{.shape = {2, {3, 7}}, .fill = HONE__FILL_UNIFORM, .low = 0.2, .high = 3}}
#define OF(f, a, b) .attr = &(struct unary_attr){f, a, b}
static const hone__sample samples[] = {
    {.name = "neg", ONE, OF(HONE__NEG, 0, 0)},
    {.name = "exp", ONE, OF(HONE__EXP, 0, 0)},
    {.name = "log", POSITIVE, OF(HONE__LOG, 0, 0)},
    {.name = "sqrt", POSITIVE, OF(HONE__SQRT, 0, 0)},
    {.name = "rsqrt", POSITIVE, OF(HONE__RSQRT, 0, 0)},
    {.name = "abs", ONE, OF(HONE__ABS, 0, 0)},
    {.name = "sign", ONE, OF(HONE__SIGN, 0, 0)},
    {.name = "sin", ONE, OF(HONE__SIN, 0, 0)},
    {.name = "cos", ONE, OF(HONE__COS, 0, 0)},
    {.name = "square", ONE, OF(HONE__SQUARE, 0, 0)},
    {.name = "reciprocal", POSITIVE, OF(HONE__RECIPROCAL, 0, 0)},
    {.name = "sigmoid", ONE, OF(HONE__SIGMOID, 0, 0)},
    {.name = "tanh", ONE, OF(HONE__TANH, 0, 0)},
    {.name = "relu", ONE, OF(HONE__RELU, 0, 0)},
    {.name = "leaky_relu", ONE, OF(HONE__LEAKY_RELU, 0.1, 0)},
    {.name = "gelu", ONE, OF(HONE__GELU, 0, 0)},
    {.name = "gelu_tanh", ONE, OF(HONE__GELU_TANH, 0, 0)},
    {.name = "silu", ONE, OF(HONE__SILU, 0, 0)},
    {.name = "softplus", ONE, OF(HONE__SOFTPLUS, 0, 0)},
    {.name = "clamp", ONE, OF(HONE__CLAMP, -0.5, 0.7)},
    {.name = "affine", ONE, OF(HONE__AFFINE, -1.5, 0.25)},
    {.name = "elu", ONE, OF(HONE__ELU, 1.5, 0.7)},
    {.name = "integer", .n_in = 1, .in = {{.dtype = HONE_I32, .shape = {1, {3}}, .fill = HONE__FILL_INDEX, .high = 4}},
     OF(HONE__EXP, 0, 0), .refused = "must be f32 or f64"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "gelu", .n_in = 2, .in = {{.shape = {2, {3, 7}}}, {.shape = {2, {3, 7}}}}, OF(HONE__GELU, 0, 0)}, {0}};

const hone_op hone__op_unary = {.name = "unary", .doc = "y = f(x), elementwise", .n_in = 1, .n_out = 1,
                                .flags = HONE__STRIDED | HONE__FLEX | HONE__ELEMENTWISE, .attr_size = sizeof(struct unary_attr),
                                .attrs = attrs, .shape = shape, .run = run, .vjp = vjp, .samples = samples};
const hone_op hone__op_unary_grad = {.name = "unary_grad", .doc = "dx = dy f'(x), elementwise", .n_in = 2, .n_out = 1,
                                     .flags = HONE__FLEX | HONE__ELEMENTWISE, .attr_size = sizeof(struct unary_attr), .attrs = attrs,
                                     .shape = grad_shape, .run = grad_run, .samples = grad_samples};

static hone_node *unary(hone_node *x, hone__unary function, double a, double b)
{
    if (!x) return NULL;
    return hone__record(x->call->graph, &hone__op_unary, 1, &x, &(struct unary_attr){(int)function, a, b});
}
hone_node *hone_neg(hone_node *x) { return unary(x, HONE__NEG, 0, 0); }
hone_node *hone_exp(hone_node *x) { return unary(x, HONE__EXP, 0, 0); }
hone_node *hone_log(hone_node *x) { return unary(x, HONE__LOG, 0, 0); }
hone_node *hone_sqrt(hone_node *x) { return unary(x, HONE__SQRT, 0, 0); }
hone_node *hone_rsqrt(hone_node *x) { return unary(x, HONE__RSQRT, 0, 0); }
hone_node *hone_abs(hone_node *x) { return unary(x, HONE__ABS, 0, 0); }
hone_node *hone_sin(hone_node *x) { return unary(x, HONE__SIN, 0, 0); }
hone_node *hone_cos(hone_node *x) { return unary(x, HONE__COS, 0, 0); }
hone_node *hone_square(hone_node *x) { return unary(x, HONE__SQUARE, 0, 0); }
hone_node *hone_reciprocal(hone_node *x) { return unary(x, HONE__RECIPROCAL, 0, 0); }
hone_node *hone_sigmoid(hone_node *x) { return unary(x, HONE__SIGMOID, 0, 0); }
hone_node *hone_tanh(hone_node *x) { return unary(x, HONE__TANH, 0, 0); }
hone_node *hone_relu(hone_node *x)
{
    hone_node *y = x ? hone__channel_norm_relu(x) : NULL;
    return y ? y : unary(x, HONE__RELU, 0, 0);
}
hone_node *hone_leaky_relu(hone_node *x, double slope) { return unary(x, HONE__LEAKY_RELU, slope, 0); }
hone_node *hone_gelu(hone_node *x) { return unary(x, HONE__GELU, 0, 0); }
hone_node *hone_gelu_tanh(hone_node *x) { return unary(x, HONE__GELU_TANH, 0, 0); }
hone_node *hone_silu(hone_node *x) { return unary(x, HONE__SILU, 0, 0); }
hone_node *hone_softplus(hone_node *x) { return unary(x, HONE__SOFTPLUS, 0, 0); }
hone_node *hone_clamp(hone_node *x, double low, double high) { return unary(x, HONE__CLAMP, low, high); }
hone_node *hone_affine(hone_node *x, double scale, double shift) { return unary(x, HONE__AFFINE, scale, shift); }

/* ---- made of the others ---- */

hone_node *hone_elu(hone_node *x, double alpha) { return unary(x, HONE__ELU, alpha, 1); }
hone_node *hone_celu(hone_node *x, double alpha) { return unary(x, HONE__ELU, alpha, 1 / alpha); }
hone_node *hone_selu(hone_node *x)
{
    return hone_affine(unary(x, HONE__ELU, 1.6732632423543772848170429916717, 1), 1.0507009873554804934193349852946, 0);
}
hone_node *hone_softsign(hone_node *x) { return hone_div(x, hone_affine(hone_abs(x), 1, 1)); }
hone_node *hone_hard_sigmoid(hone_node *x) { return hone_clamp(hone_affine(x, 1.0 / 6, 0.5), 0, 1); }
hone_node *hone_hard_swish(hone_node *x) { return hone_mul(x, hone_hard_sigmoid(x)); }
hone_node *hone_mish(hone_node *x) { return hone_mul(x, hone_tanh(hone_softplus(x))); }
hone_node *hone_log_sigmoid(hone_node *x) { return hone_neg(hone_softplus(hone_neg(x))); }
