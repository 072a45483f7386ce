/* Activations by name, and the numbers that some take. */
#include "op/op.h"

#include <math.h>

/* How many numbers one takes, and their defaults. */
static const struct numbers {
    int count;
    double a, b;
} defaults[] = {
    [HONE_SOFTPLUS] = {2, 1, 20},     [HONE_LEAKY_RELU] = {1, 0.01, 0},  [HONE_ELU] = {1, 1, 0},
    [HONE_CELU] = {1, 1, 0},          [HONE_HARD_TANH] = {2, -1, 1},     [HONE_SOFT_SHRINK] = {1, 0.5, 0},
    [HONE_HARD_SHRINK] = {1, 0.5, 0}, [HONE_SQUAREPLUS] = {1, 4, 0},     [HONE_THRESHOLD] = {2, 0, 0},
    [HONE_RRELU] = {2, 1.0 / 8, 1.0 / 3},
};

/* What is wrong with the numbers; NULL: nothing. */
static const char *wrong(hone_activation activation, double a, double b)
{
    switch (activation) {
    case HONE_SOFTPLUS: return a == 0 ? "beta must not be 0" : NULL;
    case HONE_CELU: return a == 0 ? "alpha must not be 0" : NULL;
    case HONE_HARD_TANH: return a < b ? NULL : "the lower bound must be below the upper one";
    case HONE_SOFT_SHRINK:
    case HONE_HARD_SHRINK: return a < 0 ? "lambda must not be negative" : NULL;
    case HONE_SQUAREPLUS: return a < 0 ? "b must not be negative" : NULL;
    case HONE_RRELU: return a <= b ? NULL : "the lower slope must not be above the upper one";
    default: return NULL;
    }
}

bool hone__activation_numbers(hone_ctx *ctx, hone_activation activation, const hone_activation_opts *opts, double *a, double *b)
{
    hone_activation_opts o = opts ? *opts : (hone_activation_opts){0};
    if ((unsigned)activation >= HONE_ARRAY_LEN(defaults))
        return hone__fail(ctx, HONE_INVALID, "activation %d does not exist", (int)activation), false;
    const struct numbers *n = &defaults[activation];
    *a = n->count > 0 ? hone__choose(o.a, n->a) : o.a;
    *b = n->count > 1 ? hone__choose(o.b, n->b) : o.b;
    const char *what = wrong(activation, *a, *b);
    if (!isfinite(*a) || !isfinite(*b)) what = "its numbers must be finite";
    if ((n->count < 1 && *a != 0) || (n->count < 2 && *b != 0)) what = n->count ? "it takes one number" : "it takes no numbers";
    if (what) hone__fail(ctx, HONE_INVALID, "activation %d with the numbers %g and %g: %s", (int)activation, *a, *b, what);
    return !what;
}

static hone_node *number(hone_node *x, double value) { return x ? hone_fill(x->call->graph, x->dtype, HONE_SCALAR, value) : NULL; }
static hone_node *is_above(hone_node *x, double value) { return hone_greater(x, number(x, value)); }

static hone_node *softplus(hone_node *x, double beta, double threshold)
{
    if (beta == 1 && threshold == 20) return hone_softplus(x); /* x itself from there on, but for 2e-9 */
    hone_node *scaled = hone_affine(x, beta, 0);
    return hone_where(is_above(scaled, threshold), x, hone_affine(hone_softplus(scaled), 1 / beta, 0));
}

static hone_node *rrelu(hone_node *x, double lower, double upper)
{
    if (hone_graph_mode(x->call->graph) == HONE_EVALUATE) return hone_leaky_relu(x, (lower + upper) / 2);
    return hone_where(is_above(x, 0), x, hone__random_scale(x, lower, upper));
}

hone_node *hone_activate_opt(hone_node *x, hone_activation activation, const hone_activation_opts *opts)
{
    double a, b;
    if (!x || !hone__activation_numbers(x->call->graph->ctx, activation, opts, &a, &b)) return NULL;
    switch (activation) {
    case HONE_NO_ACTIVATION: return x;
    case HONE_RELU: return hone_relu(x);
    case HONE_SIGMOID: return hone_sigmoid(x);
    case HONE_TANH: return hone_tanh(x);
    case HONE_GELU: return hone_gelu(x);
    case HONE_GELU_TANH: return hone_gelu_tanh(x);
    case HONE_SILU: return hone_silu(x);
    case HONE_SOFTPLUS: return softplus(x, a, b);
    case HONE_LEAKY_RELU: return hone_leaky_relu(x, a);
    case HONE_SOFTMAX: return hone_softmax(x);
    case HONE_ELU: return hone_elu(x, a);
    case HONE_SELU: return hone_selu(x);
    case HONE_CELU: return hone_celu(x, a);
    case HONE_SOFTSIGN: return hone_softsign(x);
    case HONE_HARD_SIGMOID: return hone_hard_sigmoid(x);
    case HONE_HARD_SWISH: return hone_hard_swish(x);
    case HONE_HARD_TANH: return hone_clamp(x, a, b);
    case HONE_MISH: return hone_mish(x);
    case HONE_RELU6: return hone_clamp(x, 0, 6);
    case HONE_LOG_SIGMOID: return hone_log_sigmoid(x);
    case HONE_LOG_SOFTMAX: return hone_log_softmax(x);
    case HONE_EXPONENTIAL: return hone_exp(x);
    case HONE_TANH_SHRINK: return hone_sub(x, hone_tanh(x));
    case HONE_SOFT_SHRINK: return hone_sub(x, hone_clamp(x, -a, a));
    case HONE_HARD_SHRINK: return hone_where(is_above(hone_abs(x), a), x, number(x, 0));
    case HONE_SOFTMIN: return hone_softmax(hone_neg(x));
    case HONE_SQUAREPLUS: return hone_affine(hone_add(x, hone_sqrt(hone_affine(hone_square(x), 1, a))), 0.5, 0);
    case HONE_THRESHOLD: return hone_where(is_above(x, a), x, number(x, b));
    case HONE_RRELU: return rrelu(x, a, b);
    }
    return NULL; /* checked */
}
