/* The usual losses, recorded as ordinary ops around the fused ones. */
#include "op/nn.h"

#include <math.h>

/* ---- what they share ---- */

static const hone_loss_opts no_options = {0};

static hone_ctx *ctx_of(const hone_node *node) { return node->call->graph->ctx; }

static bool same_shape(const char *loss, hone_node *output, hone_node *target)
{
    if (!output || !target) return false;
    if (hone_shape_equal(output->shape, target->shape)) return true;
    hone__fail(ctx_of(output), HONE_SHAPE, "%s: the target is %s, the output %s; one shape is wanted", loss,
               HONE__SHAPE_STR(target->shape), HONE__SHAPE_STR(output->shape));
    return false;
}

/* An axis to sum over, and something on it. */
static bool has_last_axis(const char *loss, hone_node *output)
{
    if (!output) return false;
    if (output->shape.rank > 0 && hone__row_length(output->shape) > 0) return true;
    hone__fail(ctx_of(output), HONE_SHAPE, "%s: an output %s has no values along a last axis", loss,
               HONE__SHAPE_STR(output->shape));
    return false;
}

static bool want_smoothing(hone_node *output, const hone_loss_opts *o)
{
    if (o->label_smoothing >= 0 && o->label_smoothing < 1) return true;
    hone__fail(ctx_of(output), HONE_INVALID, "loss: label_smoothing is %g, it must be in [0, 1)", o->label_smoothing);
    return false;
}

hone_node *hone__classes_last(hone_node *x, int64_t axis)
{
    if (!x || !axis) return x;
    if (axis + x->shape.rank != 0) return hone__axis_last(x, axis, false);
    hone__fail(ctx_of(x), HONE_SHAPE, "loss: axis %lld of %s is the batch, where no classes lie", (long long)axis, HONE__SHAPE_STR(x->shape));
    return NULL;
}

/* What losses over classes look at. */
static bool want_classes(const char *loss, hone_node *output, const hone_loss_opts *o)
{
    if (!has_last_axis(loss, output) || !want_smoothing(output, o)) return false;
    hone_shape classes = HONE_SHAPE(hone__row_length(output->shape));
    if (!o->class_weights || hone_shape_equal(o->class_weights->shape, classes)) return true;
    hone__fail(ctx_of(output), HONE_SHAPE, "%s: class_weights are %s; one for each class is wanted, %s", loss,
               HONE__SHAPE_STR(o->class_weights->shape), HONE__SHAPE_STR(classes));
    return false;
}

hone_node *hone__reduce_losses(hone_node *losses, hone_node *counted, const hone_loss_opts *o)
{
    if (losses && o->weights) {
        losses = hone_mul(losses, o->weights);
        counted = counted ? hone_mul(counted, o->weights) : NULL;
    }
    if (!losses) return NULL;
    switch (o->reduction) {
    case HONE_REDUCE_MEAN:
        if (!counted) return hone_mean(losses, HONE_ALL_AXES, false);
        return hone_div(hone_sum(losses, HONE_ALL_AXES, false), hone_sum(counted, HONE_ALL_AXES, false));
    case HONE_REDUCE_SUM: return hone_sum(losses, HONE_ALL_AXES, false);
    case HONE_REDUCE_NONE: return losses;
    }
    hone__fail(ctx_of(losses), HONE_INVALID, "loss: reduction %d does not exist", (int)o->reduction);
    return NULL;
}

static hone_node *number(hone_node *like, double value)
{
    return hone_fill(like->call->graph, like->dtype, HONE_SCALAR, value);
}

/* ---- elementwise ---- */

hone_node *hone_mse_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!same_shape("mse_loss", output, target)) return NULL;
    return hone__reduce_losses(hone_square(hone_sub(output, target)), NULL, opts ? opts : &no_options);
}

hone_node *hone_mae_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!same_shape("mae_loss", output, target)) return NULL;
    return hone__reduce_losses(hone_abs(hone_sub(output, target)), NULL, opts ? opts : &no_options);
}

/* q (d - q / 2) with q = min(d, delta) is both branches. */
hone_node *hone_huber_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    const hone_loss_opts *o = opts ? opts : &no_options;
    if (!same_shape("huber_loss", output, target)) return NULL;
    double delta = o->delta == 0 ? 1 : o->delta;
    if (!(delta > 0)) {
        hone__fail(ctx_of(output), HONE_INVALID, "huber_loss: delta is %g, it must be positive", delta);
        return NULL;
    }
    hone_node *d = hone_abs(hone_sub(output, target)), *q = d ? hone_minimum(d, number(d, delta)) : NULL;
    return hone__reduce_losses(hone_mul(q, hone_sub(d, hone_affine(q, 0.5, 0))), NULL, o);
}

/* |d| + log(1 + e^(-2 |d|)) - log 2 */
hone_node *hone_log_cosh_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!same_shape("log_cosh_loss", output, target)) return NULL;
    hone_node *d = hone_abs(hone_sub(output, target));
    return hone__reduce_losses(hone_add(hone_affine(d, 1, -log(2)), hone_softplus(hone_affine(d, -2, 0))), NULL, opts ? opts : &no_options);
}

/* Keras's epsilon: what is divided by, and what a logarithm is taken of, is at least this. */
static const double least = 1e-7;

static hone_node *at_least(hone_node *x, double bound) { return hone_maximum(x, number(x, bound)); }

hone_node *hone_mape_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!same_shape("mape_loss", output, target)) return NULL;
    hone_node *share = hone_div(hone_abs(hone_sub(target, output)), at_least(hone_abs(target), least));
    return hone__reduce_losses(hone_affine(share, 100, 0), NULL, opts ? opts : &no_options);
}

static hone_node *log_plus_one(hone_node *x) { return hone_log(hone_affine(at_least(x, least), 1, 1)); }

hone_node *hone_msle_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!same_shape("msle_loss", output, target)) return NULL;
    return hone__reduce_losses(hone_square(hone_sub(log_plus_one(output), log_plus_one(target))), NULL, opts ? opts : &no_options);
}

hone_node *hone_poisson_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    const hone_loss_opts *o = opts ? opts : &no_options;
    if (!same_shape("poisson_loss", output, target)) return NULL;
    hone_node *rate = o->log_input ? hone_exp(output) : output, *log_rate = o->log_input ? output : hone_log(hone_affine(output, 1, least));
    return hone__reduce_losses(hone_sub(rate, hone_mul(target, log_rate)), NULL, o);
}

/* max(0, 1 - t o); labels 0 and 1 stand for t = -1 and 1. */
static hone_node *short_of_margin(hone_node *output, hone_node *target)
{
    hone_node *none = hone_equal(target, number(target, 0));
    hone_node *sign = none ? hone_sub(target, hone_cast(none, target->dtype)) : NULL;
    return hone_relu(hone_affine(hone_mul(output, sign), -1, 1));
}

hone_node *hone_hinge_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!same_shape("hinge_loss", output, target)) return NULL;
    return hone__reduce_losses(short_of_margin(output, target), NULL, opts ? opts : &no_options);
}

hone_node *hone_squared_hinge_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!same_shape("squared_hinge_loss", output, target)) return NULL;
    return hone__reduce_losses(hone_square(short_of_margin(output, target)), NULL, opts ? opts : &no_options);
}

/* term: the loss of an element; positive: -t log p, the part of it that positive_weight is a factor of. */
static hone_node *binary(const char *loss, hone_node *(*term)(hone_node *, hone_node *), hone_node *(*positive)(hone_node *, hone_node *),
                         hone_node *output, hone_node *target, const hone_loss_opts *o)
{
    if (!o) o = &no_options;
    if (!same_shape(loss, output, target) || !want_smoothing(output, o)) return NULL;
    if (o->label_smoothing > 0) target = hone_affine(target, 1 - o->label_smoothing, o->label_smoothing / 2);
    double weight = hone__choose(o->positive_weight, 1);
    if (!(weight >= 0)) {
        hone__fail(ctx_of(output), HONE_INVALID, "%s: positive_weight is %g, it must not be negative", loss, weight);
        return NULL;
    }
    hone_node *losses = term(output, target);
    if (o->positive_weights) {
        hone_node *more = hone_affine(hone_broadcast_to(o->positive_weights, output->shape), 1, -1);
        losses = hone_add(losses, hone_mul(positive(output, target), more));
    } else if (weight != 1) {
        losses = hone_add(losses, hone_affine(positive(output, target), weight - 1, 0));
    }
    return hone__reduce_losses(losses, NULL, o);
}

static hone_node *times_minus_log_sigmoid(hone_node *x, hone_node *t) { return hone_mul(t, hone_softplus(hone_neg(x))); }

hone_node *hone_binary_cross_entropy_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    return binary("binary_cross_entropy_loss", hone_binary_cross_entropy, hone__log_loss, output, target, opts);
}

hone_node *hone_binary_cross_entropy_with_logits_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    return binary("binary_cross_entropy_with_logits_loss", hone_binary_cross_entropy_with_logits, times_minus_log_sigmoid, output,
                  target, opts);
}

static bool want_focus(const char *loss, hone_node *output, const hone_loss_opts *o, double *gamma, double *alpha)
{
    *gamma = hone__choose(o->gamma, 2), *alpha = hone__choose(o->alpha, 0.25);
    if (*gamma >= 0 && *alpha >= 0 && *alpha <= 1) return true;
    hone__fail(ctx_of(output), HONE_INVALID, "%s: gamma %g must not be negative, alpha %g in [0, 1]", loss, *gamma, *alpha);
    return false;
}

/* With z = (2 t - 1) x: q = sigmoid(z), -log q = softplus(-z), (1 - q)^gamma = e^(-gamma softplus(z)): no power of 0. */
hone_node *hone_focal_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    const hone_loss_opts *o = opts ? opts : &no_options;
    if (!same_shape("focal_loss", output, target)) return NULL;
    double gamma, alpha;
    if (!want_focus("focal_loss", output, o, &gamma, &alpha)) return NULL;
    hone_node *z = hone_mul(output, hone_affine(target, 2, -1));
    hone_node *losses = hone_mul(hone_exp(hone_affine(hone_softplus(z), -gamma, 0)), hone_softplus(hone_neg(z)));
    if (alpha > 0) losses = hone_mul(hone_affine(target, 2 * alpha - 1, 1 - alpha), losses);
    return hone__reduce_losses(losses, NULL, o);
}

/* ---- rows: probabilities as targets ---- */

/* minus_log: -t log p of the output, each class. */
static hone_node *categorical(const char *loss, hone_node *(*minus_log)(hone_node *output, hone_node *target, const hone_loss_opts *o),
                              hone_node *output, hone_node *target, const hone_loss_opts *o)
{
    if (!o) o = &no_options;
    if (!same_shape(loss, output, target)) return NULL;
    output = hone__classes_last(output, o->axis), target = hone__classes_last(target, o->axis);
    if (!output || !target || !want_classes(loss, output, o)) return NULL;
    double s = o->label_smoothing;
    if (s > 0) target = hone_affine(target, 1 - s, s / (double)hone__row_length(target->shape));
    if (o->class_weights) target = hone_mul(target, o->class_weights);
    return hone__reduce_losses(hone_sum(minus_log(output, target, o), HONE_AXES(-1), false), NULL, o);
}

static hone_node *times_minus_log(hone_node *p, hone_node *t, const hone_loss_opts *o)
{
    (void)o;
    return hone__log_loss(p, t);
}
static hone_node *times_minus_log_softmax(hone_node *x, hone_node *t, const hone_loss_opts *o)
{
    (void)o;
    return hone_neg(hone_mul(t, hone_log_softmax(x)));
}

/* losses = -log p -> alpha (1 - p)^gamma losses. Away from 1 - p = 0, where a power below 1 has no slope. */
static hone_node *focused(hone_node *losses, const hone_loss_opts *o)
{
    if (!losses) return NULL;
    double gamma = hone__choose(o->gamma, 2), alpha = hone__choose(o->alpha, 0.25);
    hone_node *rest = hone_affine(hone_exp(hone_neg(losses)), -1, 1);
    if (gamma > 0) losses = hone_mul(losses, hone_pow(at_least(rest, least), number(losses, gamma)));
    return alpha > 0 ? hone_affine(losses, alpha, 0) : losses;
}
static hone_node *times_focused(hone_node *x, hone_node *t, const hone_loss_opts *o)
{
    return hone_mul(t, focused(hone_neg(hone_log_softmax(x)), o));
}

hone_node *hone_categorical_focal_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    double gamma, alpha;
    if (!opts) opts = &no_options;
    if (!output || !want_focus("categorical_focal_loss", output, opts, &gamma, &alpha)) return NULL;
    return categorical("categorical_focal_loss", times_focused, output, target, opts);
}

hone_node *hone_categorical_cross_entropy_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    return categorical("categorical_cross_entropy_loss", times_minus_log, output, target, opts);
}

hone_node *hone_categorical_cross_entropy_with_logits_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    return categorical("categorical_cross_entropy_with_logits_loss", times_minus_log_softmax, output, target, opts);
}

/* -(t log t) is hone__log_loss of t with itself: the cut logarithm of 0, times 0. */
hone_node *hone_kl_divergence_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!opts) opts = &no_options;
    if (!same_shape("kl_divergence_loss", output, target)) return NULL;
    output = hone__classes_last(output, opts->axis), target = hone__classes_last(target, opts->axis);
    if (!target || !has_last_axis("kl_divergence_loss", output)) return NULL;
    hone_node *terms = hone_neg(hone_add(hone__log_loss(target, target), hone_mul(target, output)));
    return hone__reduce_losses(hone_sum(terms, HONE_AXES(-1), false), NULL, opts);
}

/* ---- rows: class numbers as targets ---- */

/* -log p of every class, and of each row's, 0 where y is below 0. */
static hone_node *all_of_p(hone_node *p, const hone_loss_opts *o)
{
    (void)o;
    return p ? hone__log_loss(p, hone_fill(p->call->graph, p->dtype, p->shape, 1)) : NULL;
}
static hone_node *all_of_log(hone_node *x, const hone_loss_opts *o)
{
    (void)o;
    return hone_neg(x);
}
static hone_node *all_of_logits(hone_node *x, const hone_loss_opts *o)
{
    (void)o;
    return hone_neg(hone_log_softmax(x));
}
static hone_node *all_focused(hone_node *x, const hone_loss_opts *o) { return focused(hone_neg(hone_log_softmax(x)), o); }

static hone_node *one_of_p(hone_node *p, hone_node *y, const hone_loss_opts *o) { return all_of_p(hone__pick(p, y, 1), o); }
static hone_node *one_of_log(hone_node *x, hone_node *y, const hone_loss_opts *o)
{
    (void)o;
    return hone_neg(hone__pick(x, y, 0));
}
static hone_node *one_of_logits(hone_node *x, hone_node *y, const hone_loss_opts *o)
{
    (void)o;
    return hone_softmax_cross_entropy(x, y, NULL);
}
static hone_node *one_focused(hone_node *x, hone_node *y, const hone_loss_opts *o) { return focused(hone_softmax_cross_entropy(x, y, NULL), o); }

static hone_node *sparse(const char *loss, hone_node *(*one)(hone_node *output, hone_node *target, const hone_loss_opts *o),
                         hone_node *(*all)(hone_node *output, const hone_loss_opts *o), hone_node *x, hone_node *y, const hone_loss_opts *o)
{
    if (!o) o = &no_options;
    x = hone__classes_last(x, o->axis);
    if (!x || !y || !want_classes(loss, x, o)) return NULL;
    double s = o->label_smoothing;
    hone_node *none = number(y, 0);
    if (o->ignore_index > 0 || o->ignore_index == HONE_IGNORE_ZERO) {
        double ignored = o->ignore_index > 0 ? (double)o->ignore_index : 0;
        hone_node *minus_one = hone_fill(x->call->graph, HONE_I64, HONE_SCALAR, -1);
        y = hone_where(hone_equal(y, number(y, ignored)), minus_one, hone_cast(y, HONE_I64));
        none = hone_fill(x->call->graph, HONE_I64, HONE_SCALAR, 0);
    }
    hone_node *losses = one(x, y, o), *counts = hone_greater_equal(y, none), *counted = hone_cast(counts, x->dtype);
    hone_node *weight = counted;
    if (o->class_weights) {
        weight = hone_mul(counted, hone_gather(o->class_weights, hone_where(counts, y, none), 0));
        losses = hone_mul(losses, weight);
    }
    if (s > 0) {
        hone_node *each = all(x, o);
        if (o->class_weights) each = hone_mul(each, o->class_weights);
        hone_node *rest = hone_mul(counted, hone_mean(each, HONE_AXES(-1), false));
        losses = hone_add(hone_affine(losses, 1 - s, 0), hone_affine(rest, s, 0));
    }
    return hone__reduce_losses(losses, weight, o);
}

hone_node *hone_cross_entropy_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    return sparse("cross_entropy_loss", one_of_logits, all_of_logits, output, target, opts);
}

hone_node *hone_nll_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    return sparse("nll_loss", one_of_log, all_of_log, output, target, opts);
}

hone_node *hone_sparse_categorical_cross_entropy_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    return sparse("sparse_categorical_cross_entropy_loss", one_of_p, all_of_p, output, target, opts);
}

hone_node *hone_sparse_categorical_focal_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    double gamma, alpha;
    if (!opts) opts = &no_options;
    if (!output || !want_focus("sparse_categorical_focal_loss", output, opts, &gamma, &alpha)) return NULL;
    return sparse("sparse_categorical_focal_loss", one_focused, all_focused, output, target, opts);
}

/* ---- rows: vectors ---- */

static hone_node *length(hone_node *x) { return hone_norm(x, HONE_AXES(-1), false); }

hone_node *hone_cosine_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    if (!same_shape("cosine_loss", output, target) || !has_last_axis("cosine_loss", output)) return NULL;
    hone_node *lengths = hone_mul(at_least(length(output), 1e-8), at_least(length(target), 1e-8));
    hone_node *cosine = hone_div(hone_sum(hone_mul(output, target), HONE_AXES(-1), false), lengths);
    return hone__reduce_losses(hone_affine(cosine, -1, 1), NULL, opts ? opts : &no_options);
}

static bool want_margin(hone_node *a, const hone_loss_opts *o, double *margin)
{
    *margin = o->margin == 0 ? 1 : o->margin;
    if (*margin > 0) return true;
    hone__fail(ctx_of(a), HONE_INVALID, "loss: margin is %g, it must be positive", *margin);
    return false;
}

hone_node *hone_triplet_loss_opt(hone_node *anchor, hone_node *positive, hone_node *negative, const hone_loss_opts *opts)
{
    const hone_loss_opts *o = opts ? opts : &no_options;
    double margin;
    if (!same_shape("triplet_loss", anchor, positive) || !same_shape("triplet_loss", anchor, negative) ||
        !has_last_axis("triplet_loss", anchor) || !want_margin(anchor, o, &margin))
        return NULL;
    hone_node *near = length(hone_affine(hone_sub(anchor, positive), 1, 1e-6));
    hone_node *far = length(hone_affine(hone_sub(anchor, negative), 1, 1e-6));
    return hone__reduce_losses(hone_relu(hone_affine(hone_sub(near, far), 1, margin)), NULL, o);
}

hone_node *hone_contrastive_loss_opt(hone_node *a, hone_node *b, hone_node *same, const hone_loss_opts *opts)
{
    const hone_loss_opts *o = opts ? opts : &no_options;
    double margin;
    if (!same_shape("contrastive_loss", a, b) || !has_last_axis("contrastive_loss", a) || !want_margin(a, o, &margin)) return NULL;
    hone_node *d = length(hone_sub(a, b));
    if (!same_shape("contrastive_loss", d, same)) return NULL;
    hone_node *apart = hone_square(hone_relu(hone_affine(d, -1, margin)));
    hone_node *losses = hone_add(hone_mul(same, hone_square(d)), hone_mul(hone_affine(same, -1, 1), apart));
    return hone__reduce_losses(hone_affine(losses, 0.5, 0), NULL, o);
}

/* [B, n D] or [B, n, D] in n parts [B, D]. */
static bool apart(const char *loss, hone_node *output, int n, hone_node **parts)
{
    if (!output) return false;
    hone_shape s = output->shape;
    int64_t rows = s.rank > 1 ? s.dim[0] : 0, each = s.rank > 1;
    for (int d = 1; d < s.rank; d++) each *= s.dim[d];
    if (each < n || each % n) {
        hone__fail(ctx_of(output), HONE_SHAPE, "%s: the output is %s; %d vectors of one length an example are wanted, one behind the other", loss,
                   HONE__SHAPE_STR(s), n);
        return false;
    }
    output = hone_reshape(output, HONE_SHAPE(rows, each));
    for (int i = 0; i < n; i++)
        if (!(parts[i] = hone_slice(output, 1, i * (each / n), (i + 1) * (each / n), 1))) return false;
    return true;
}
hone_node *hone_joined_triplet_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    hone_node *part[3];
    (void)target;
    return apart("joined_triplet_loss", output, 3, part) ? hone_triplet_loss_opt(part[0], part[1], part[2], opts) : NULL;
}
hone_node *hone_joined_contrastive_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    hone_node *part[2];
    if (!target || !apart("joined_contrastive_loss", output, 2, part)) return NULL;
    return hone_contrastive_loss_opt(part[0], part[1], hone_reshape(target, HONE_SHAPE(output->shape.dim[0])), opts);
}

/* ---- examples ---- */

static bool want_smooth(const char *loss, hone_node *output, const hone_loss_opts *o, double *smooth)
{
    *smooth = hone__choose(o->smooth, 1);
    if (*smooth >= 0) return true;
    hone__fail(ctx_of(output), HONE_INVALID, "%s: smooth is %g, it must not be negative", loss, *smooth);
    return false;
}
/* 1 - (2 sum p t + smooth) / (sum p + sum t + smooth), the sums over axis 1. */
static hone_node *dice(hone_node *p, hone_node *t, double smooth)
{
    hone_node *both = hone_sum(hone_mul(p, t), HONE_AXES(1), false), *either = hone_sum(hone_add(p, t), HONE_AXES(1), false);
    return hone_affine(hone_div(hone_affine(both, 2, smooth), hone_affine(either, 1, smooth)), -1, 1);
}

hone_node *hone_dice_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    const hone_loss_opts *o = opts ? opts : &no_options;
    if (!same_shape("dice_loss", output, target) || !has_last_axis("dice_loss", output)) return NULL;
    double smooth;
    if (!want_smooth("dice_loss", output, o, &smooth)) return NULL;
    hone_shape flat = HONE_SHAPE(output->shape.dim[0], -1);
    return hone__reduce_losses(dice(hone_reshape(output, flat), hone_reshape(target, flat), smooth), NULL, o);
}

hone_node *hone_categorical_dice_loss_opt(hone_node *output, hone_node *target, const hone_loss_opts *opts)
{
    const hone_loss_opts *o = opts ? opts : &no_options;
    double smooth;
    if (!same_shape("categorical_dice_loss", output, target)) return NULL;
    output = hone__classes_last(output, o->axis), target = hone__classes_last(target, o->axis);
    if (!target || !has_last_axis("categorical_dice_loss", output) || !want_smooth("categorical_dice_loss", output, o, &smooth)) return NULL;
    if (output->shape.rank < 2) {
        hone__fail(ctx_of(output), HONE_SHAPE, "categorical_dice_loss: the output must be [B, ..., V], not %s", HONE__SHAPE_STR(output->shape));
        return NULL;
    }
    hone_shape by_class = HONE_SHAPE(output->shape.dim[0], -1, hone__row_length(output->shape));
    hone_node *each = dice(hone_reshape(output, by_class), hone_reshape(target, by_class), smooth);
    return hone__reduce_losses(hone_mean(each, HONE_AXES(1), false), NULL, o);
}
