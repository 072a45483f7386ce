/* Layers of a few lines: embedding, norms, dropout, activation, flatten. */
#include "nn/nn.h"
#include "op/op.h"

#include <math.h>

/* ---- embedding ---- */

typedef struct embedding {
    hone_layer base;
    int64_t vocabulary, size;
    hone_embedding_opts opts;
} embedding;

static hone_node *embedding_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    embedding *e = (embedding *)(void *)self;
    (void)n;
    hone_initializer initializer = e->opts.initializer ? e->opts.initializer : HONE_INIT_NORMAL;
    if (e->opts.mask_zero && in[0]->shape.rank != 2) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': with mask_zero the ids must be [B, T], not %s", self->type, graph->scope,
                   HONE__SHAPE_STR(in[0]->shape));
        return NULL;
    }
    hone_node *counts = NULL, *lengths = NULL; /* recorded first: monitors take a layer's last op for its result */
    if (e->opts.padding || e->opts.mask_zero)
        counts = hone_not_equal(in[0], hone_fill(graph, in[0]->dtype, HONE_SCALAR, (double)e->opts.padding_index));
    if (e->opts.mask_zero && !(lengths = hone__lengths_from(counts))) return NULL;
    hone_node *y = hone_embedding(hone_weight(self, graph, "weight", HONE_SHAPE(e->vocabulary, e->size), initializer), in[0]);
    if (y && e->opts.padding) y = hone_where(hone_expand_dims(counts, -1), y, hone_fill(graph, y->dtype, HONE_SCALAR, 0));
    if (y && lengths) y->lengths = lengths, y->time = 1;
    return y;
}

hone_layer *hone_embedding_layer_opt(hone_ctx *ctx, int64_t vocabulary, int64_t size, const hone_embedding_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (vocabulary < 1 || size < 1) {
        hone__fail(ctx, HONE_INVALID, "embedding: vocabulary and size must be at least 1");
        return NULL;
    }
    if (opts && (opts->padding || opts->mask_zero) && (opts->padding_index < 0 || opts->padding_index >= vocabulary)) {
        hone__fail(ctx, HONE_INVALID, "embedding: the padding index must be in [0, %lld), not %lld", (long long)vocabulary,
                   (long long)opts->padding_index);
        return NULL;
    }
    embedding *e = (embedding *)(void *)hone_layer_new(ctx, sizeof *e, "embedding", embedding_forward);
    if (!e) return NULL;
    e->vocabulary = vocabulary;
    e->size = size;
    if (opts) e->opts = *opts;
    return &e->base;
}

static hone_layer *embedding_again(hone_ctx *ctx, const hone_layer *like)
{
    const embedding *e = (const embedding *)(const void *)like;
    return hone_embedding_layer_opt(ctx, e->vocabulary, e->size, &e->opts);
}
static const hone__field embedding_fields[] = {HONE__FIELD(embedding, "vocabulary", vocabulary, I64),
                                               HONE__FIELD(embedding, "size", size, I64),
                                               HONE__FIELD(embedding, "initializer", opts.initializer, INITIALIZER),
                                               HONE__FIELD(embedding, "padding", opts.padding, BOOL),
                                               HONE__FIELD(embedding, "padding_index", opts.padding_index, I64),
                                               HONE__FIELD(embedding, "mask_zero", opts.mask_zero, BOOL),
                                               {0}};
const hone__layer_kind hone__embedding_kind = {"embedding", embedding_forward, sizeof(embedding), embedding_fields,
                                               embedding_again};

/* ---- norms ---- */

typedef struct norm {
    hone_layer base;
    double epsilon;
    bool no_bias;
    int axes;
} norm;

/* Parameters have the shape of the last `axes` axes; the ops see these as one axis. */
static hone_node *norm_forward(hone_layer *self, hone_graph *graph, hone_node *x, bool centred)
{
    norm *l = (norm *)(void *)self;
    hone_shape s = x->shape, of = {.rank = l->axes}, rows = {.rank = s.rank - l->axes + 1};
    if (s.rank < l->axes) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': normalizes over the last %d axes, the input is %s", self->type, graph->scope,
                   l->axes, HONE__SHAPE_STR(s));
        return NULL;
    }
    for (int d = 0; d < l->axes; d++) of.dim[d] = s.dim[s.rank - l->axes + d];
    for (int d = 0; d < s.rank - l->axes; d++) rows.dim[d] = s.dim[d];
    hone_shape flat = HONE_SHAPE(hone_shape_count(of));
    rows.dim[rows.rank - 1] = flat.dim[0];
    hone_node *w = hone_weight(self, graph, "weight", of, HONE_INIT_ONES), *b = NULL;
    if (centred && !l->no_bias && !(b = hone_weight(self, graph, "bias", of, HONE_INIT_ZEROS))) return NULL;
    if (l->axes > 1) x = hone_reshape(x, rows), w = hone_reshape(w, flat), b = b ? hone_reshape(b, flat) : NULL;
    if (!w) return NULL;
    hone_node *y = centred ? hone_layer_norm(x, w, b, l->epsilon) : hone_rms_norm(x, w, l->epsilon);
    return l->axes > 1 ? hone_reshape(y, s) : y;
}

static hone_node *layer_norm_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    return norm_forward(self, graph, in[0], true);
}
static hone_node *rms_norm_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    return norm_forward(self, graph, in[0], false);
}

static hone_layer *new_norm(hone_ctx *ctx, const char *type, hone_layer_fn forward, const hone_norm_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (opts && (opts->axes < 0 || opts->axes > HONE_MAX_RANK)) {
        hone__fail(ctx, HONE_INVALID, "%s: axes must be 1 to %d, not %d", type, HONE_MAX_RANK, opts->axes);
        return NULL;
    }
    norm *l = (norm *)(void *)hone_layer_new(ctx, sizeof *l, type, forward);
    if (!l) return NULL;
    l->epsilon = opts && opts->epsilon > 0 ? opts->epsilon : 1e-5;
    l->no_bias = opts && opts->no_bias;
    l->axes = opts && opts->axes ? opts->axes : 1;
    l->base.keeps_lengths = true;
    return &l->base;
}

hone_layer *hone_layer_norm_layer_opt(hone_ctx *ctx, const hone_norm_opts *opts)
{
    return new_norm(ctx, "layer_norm", layer_norm_forward, opts);
}
hone_layer *hone_rms_norm_layer_opt(hone_ctx *ctx, const hone_norm_opts *opts)
{
    return new_norm(ctx, "rms_norm", rms_norm_forward, opts);
}

static hone_layer *norm_again(hone_ctx *ctx, const hone_layer *like)
{
    const norm *l = (const norm *)(const void *)like;
    hone_norm_opts opts = {.struct_size = sizeof opts, .epsilon = l->epsilon, .no_bias = l->no_bias, .axes = l->axes};
    return new_norm(ctx, like->type, !strcmp(like->type, "rms_norm") ? rms_norm_forward : layer_norm_forward, &opts);
}
static const hone__field norm_fields[] = {HONE__FIELD(norm, "epsilon", epsilon, F64), HONE__FIELD(norm, "no_bias", no_bias, BOOL),
                                          HONE__FIELD(norm, "axes", axes, INT), {0}};
const hone__layer_kind hone__layer_norm_kind = {"layer_norm", layer_norm_forward, sizeof(norm), norm_fields, norm_again};
const hone__layer_kind hone__rms_norm_kind = {"rms_norm", rms_norm_forward, sizeof(norm), norm_fields, norm_again};

/* ---- without parameters ---- */

typedef struct simple {
    hone_layer base;
    double rate; /* or a slope */
    hone_activation activation;
    hone_activation_opts numbers;
    int axis;
} simple;

/* What is done to each element, or along the last axis: positions stay where they are. */
static simple *new_simple(hone_ctx *ctx, const char *type, hone_layer_fn forward)
{
    simple *l = (simple *)(void *)hone_layer_new(ctx, sizeof *l, type, forward);
    if (l) l->base.keeps_lengths = true;
    return l;
}

static hone_node *dropout_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    return hone_dropout(in[0], ((simple *)(void *)self)->rate);
}
hone_layer *hone_dropout_layer(hone_ctx *ctx, double rate)
{
    if (!hone__ok(ctx)) return NULL;
    if (!(rate >= 0 && rate < 1)) {
        hone__fail(ctx, HONE_INVALID, "dropout: the rate must be in [0, 1), not %g", rate);
        return NULL;
    }
    simple *l = new_simple(ctx, "dropout", dropout_forward);
    if (l) l->rate = rate;
    return l ? &l->base : NULL;
}

static hone_node *activation_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const simple *l = (const simple *)(const void *)self;
    (void)graph, (void)n;
    return hone_activate_opt(in[0], l->activation, &l->numbers);
}
hone_layer *hone_activation_layer_opt(hone_ctx *ctx, hone_activation activation, const hone_activation_opts *opts)
{
    double a, b;
    if (!hone__ok(ctx) || !hone__activation_numbers(ctx, activation, opts, &a, &b)) return NULL;
    simple *l = new_simple(ctx, "activation", activation_forward);
    if (l) l->activation = activation;
    if (l && opts) l->numbers = *opts;
    return l ? &l->base : NULL;
}

static hone_node *glu_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    int axis = ((simple *)(void *)self)->axis;
    (void)graph, (void)n;
    return hone_glu(in[0], axis ? axis : -1);
}
hone_layer *hone_glu_layer(hone_ctx *ctx, int axis)
{
    simple *l = new_simple(ctx, "glu", glu_forward);
    if (l) l->axis = axis;
    return l ? &l->base : NULL;
}

static hone_node *leaky_relu_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    return hone_leaky_relu(in[0], ((simple *)(void *)self)->rate);
}
static hone_node *elu_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    return hone_elu(in[0], ((simple *)(void *)self)->rate);
}
static hone_layer *sloped(hone_ctx *ctx, const char *type, hone_layer_fn forward, double slope)
{
    if (!hone__ok(ctx)) return NULL;
    if (!isfinite(slope)) {
        hone__fail(ctx, HONE_INVALID, "%s: %g is no number", type, slope);
        return NULL;
    }
    simple *l = new_simple(ctx, type, forward);
    if (l) l->rate = slope;
    return l ? &l->base : NULL;
}
hone_layer *hone_leaky_relu_layer(hone_ctx *ctx, double slope) { return sloped(ctx, "leaky_relu", leaky_relu_forward, hone__choose(slope, 0.01)); }
hone_layer *hone_elu_layer(hone_ctx *ctx, double alpha) { return sloped(ctx, "elu", elu_forward, hone__choose(alpha, 1)); }

static hone_node *flatten_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)self, (void)n, (void)graph;
    return hone_flat(in[0]);
}
hone_layer *hone_flatten(hone_ctx *ctx) { return hone_layer_new(ctx, sizeof(hone_layer), "flatten", flatten_forward); }

/* ---- a loss on what passes ---- */

typedef struct activity {
    hone_layer base;
    double l1, l2;
} activity;

static hone_node *activity_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const activity *a = (const activity *)(const void *)self;
    hone_node *x = in[0], *losses = NULL;
    (void)n;
    if (x->shape.rank < 2) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [B, ...], not %s", self->type, graph->scope, HONE__SHAPE_STR(x->shape));
        return NULL;
    }
    if (a->l1 > 0) losses = hone_affine(hone_abs(x), a->l1, 0);
    if (a->l2 > 0) {
        hone_node *squares = hone_affine(hone_square(x), a->l2, 0);
        losses = losses ? hone_add(losses, squares) : squares;
    }
    hone_axes others = {.count = x->shape.rank - 1};
    for (int d = 0; d < others.count; d++) others.axis[d] = d + 1;
    if (losses) hone_add_loss(hone_sum(losses, others, false));
    return hone__ok(graph->ctx) ? x : NULL;
}
hone_layer *hone_activity_regularization(hone_ctx *ctx, double l1, double l2)
{
    if (!hone__ok(ctx)) return NULL;
    if (!(l1 >= 0 && l2 >= 0 && isfinite(l1) && isfinite(l2))) {
        hone__fail(ctx, HONE_INVALID, "activity_regularization: l1 and l2 must not be negative, they are %g and %g", l1, l2);
        return NULL;
    }
    activity *a = (activity *)(void *)hone_layer_new(ctx, sizeof *a, "activity_regularization", activity_forward);
    if (a) a->l1 = l1, a->l2 = l2, a->base.keeps_lengths = true;
    return a ? &a->base : NULL;
}
static hone_layer *activity_again(hone_ctx *ctx, const hone_layer *like)
{
    const activity *a = (const activity *)(const void *)like;
    return hone_activity_regularization(ctx, a->l1, a->l2);
}
static const hone__field activity_fields[] = {HONE__FIELD(activity, "l1", l1, F64), HONE__FIELD(activity, "l2", l2, F64), {0}};
const hone__layer_kind hone__activity_regularization_kind = {"activity_regularization", activity_forward, sizeof(activity), activity_fields,
                                                             activity_again};

static hone_layer *dropout_again(hone_ctx *ctx, const hone_layer *like)
{
    return hone_dropout_layer(ctx, ((const simple *)(const void *)like)->rate);
}
static hone_layer *activation_again(hone_ctx *ctx, const hone_layer *like)
{
    const simple *l = (const simple *)(const void *)like;
    return hone_activation_layer_opt(ctx, l->activation, &l->numbers);
}
static hone_layer *glu_again(hone_ctx *ctx, const hone_layer *like)
{
    return hone_glu_layer(ctx, ((const simple *)(const void *)like)->axis);
}
static hone_layer *sloped_again(hone_ctx *ctx, const hone_layer *like)
{
    double slope = ((const simple *)(const void *)like)->rate;
    return !strcmp(like->type, "elu") ? hone_elu_layer(ctx, slope) : hone_leaky_relu_layer(ctx, slope);
}
static hone_layer *flatten_again(hone_ctx *ctx, const hone_layer *like)
{
    (void)like;
    return hone_flatten(ctx);
}
static const hone__field dropout_fields[] = {HONE__FIELD(simple, "rate", rate, F64), {0}};
static const hone__field activation_fields[] = {HONE__FIELD(simple, "a", numbers.a, F64_GIVEN), HONE__FIELD(simple, "b", numbers.b, F64_GIVEN),
                                                HONE__FIELD(simple, "activation", activation, ACTIVATION), {0}};
const hone__layer_kind hone__dropout_kind = {"dropout", dropout_forward, sizeof(simple), dropout_fields, dropout_again};
const hone__layer_kind hone__activation_kind = {"activation", activation_forward, sizeof(simple), activation_fields,
                                                activation_again};
static const hone__field glu_fields[] = {HONE__FIELD(simple, "axis", axis, INT), {0}};
static const hone__field leaky_relu_fields[] = {HONE__FIELD(simple, "slope", rate, F64_ZERO), {0}};
static const hone__field elu_fields[] = {HONE__FIELD(simple, "alpha", rate, F64_ZERO), {0}};
const hone__layer_kind hone__glu_kind = {"glu", glu_forward, sizeof(simple), glu_fields, glu_again};
const hone__layer_kind hone__leaky_relu_kind = {"leaky_relu", leaky_relu_forward, sizeof(simple), leaky_relu_fields, sloped_again};
const hone__layer_kind hone__elu_kind = {"elu", elu_forward, sizeof(simple), elu_fields, sloped_again};
const hone__layer_kind hone__flatten_kind = {"flatten", flatten_forward, sizeof(hone_layer), NULL, flatten_again};
