#include "nn/nn.h"

typedef struct conv {
    hone_layer base;
    int axes;
    bool depthwise;  /* filters follow from the channels */
    int64_t filters, kernel;
    hone_conv_layer_opts opts;
} conv;

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    conv *c = (conv *)(void *)self;
    const hone_conv_layer_opts *o = &c->opts;
    hone_shape x = in[0]->shape, w = {.rank = c->axes + 2, .dim = {c->filters}};
    int64_t groups = o->groups ? o->groups : 1, filters = c->filters;
    (void)n;
    if (x.rank != c->axes + 2) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, and %d spatial %s], not %s", self->type,
                   graph->scope, c->axes, c->axes == 1 ? "axis" : "axes", HONE__SHAPE_STR(x));
        return NULL;
    }
    if (c->depthwise && (groups = x.dim[1]) > 0 && groups <= 1 << 24) w.dim[0] = filters = groups * c->opts.depth_multiplier;
    if (groups < 1 || x.dim[1] % groups || filters % groups) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': %lld input channels and %lld filters cannot be cut into %lld groups",
                   self->type, graph->scope, (long long)x.dim[1], (long long)filters, (long long)groups);
        return NULL;
    }
    w.dim[1] = x.dim[1] / groups;
    for (int a = 0; a < c->axes; a++) w.dim[2 + a] = o->kernel[a] ? o->kernel[a] : c->kernel;
    hone_node *weight = hone_weight(self, graph, "weight", w, o->initializer ? o->initializer : HONE_INIT_GLOROT_UNIFORM);
    hone_node *bias = NULL;
    if (!o->no_bias && !(bias = hone_weight(self, graph, "bias", HONE_SHAPE(filters),
                                            o->bias_initializer ? o->bias_initializer : HONE_INIT_ZEROS)))
        return NULL;
    hone_conv_opts op = {.struct_size = sizeof op, .padding = o->padding, .groups = groups, .activation = o->activation};
    memcpy(op.stride, o->stride, sizeof op.stride);
    memcpy(op.dilation, o->dilation, sizeof op.dilation);
    memcpy(op.pad_before, o->pad_before, sizeof op.pad_before);
    memcpy(op.pad_after, o->pad_after, sizeof op.pad_after);
    return hone_conv_opt(in[0], weight, bias, &op);
}

static hone_layer *new_conv(hone_ctx *ctx, const char *type, int axes, int64_t filters, int64_t kernel,
                            const hone_conv_layer_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (filters < 1 || kernel < 1) {
        hone__fail(ctx, HONE_INVALID, "%s: filters and kernel must be at least 1, not %lld and %lld", type,
                   (long long)filters, (long long)kernel);
        return NULL;
    }
    if (opts && opts->depth_multiplier) {
        hone__fail(ctx, HONE_INVALID, "%s: depth_multiplier is for depthwise and separable convolutions", type);
        return NULL;
    }
    conv *c = (conv *)(void *)hone_layer_new(ctx, sizeof *c, type, forward);
    if (!c) return NULL;
    c->axes = axes;
    c->filters = filters;
    c->kernel = kernel;
    if (opts) c->opts = *opts;
    return &c->base;
}

hone_layer *hone_conv1d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts)
{
    return new_conv(ctx, "conv1d", 1, filters, kernel, opts);
}
hone_layer *hone_conv2d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts)
{
    return new_conv(ctx, "conv2d", 2, filters, kernel, opts);
}
hone_layer *hone_conv3d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts)
{
    return new_conv(ctx, "conv3d", 3, filters, kernel, opts);
}

/* ---- depthwise: each channel by itself, and a convolution of 1 x 1 behind it ---- */

static bool check_depthwise(hone_ctx *ctx, const char *type, int64_t kernel, const hone_conv_layer_opts *o)
{
    if (!hone__ok(ctx)) return false;
    bool good = kernel >= 1 && o->depth_multiplier >= 0 && o->depth_multiplier <= 1 << 24 && !o->groups;
    if (!good)
        hone__fail(ctx, HONE_INVALID, "%s: kernel and depth_multiplier must be at least 1, not %lld and %lld, and there are no groups to choose",
                   type, (long long)kernel, (long long)o->depth_multiplier);
    return good;
}

static hone_layer *new_depthwise(hone_ctx *ctx, const char *type, int axes, int64_t kernel, const hone_conv_layer_opts *opts)
{
    hone_conv_layer_opts o = opts ? *opts : (hone_conv_layer_opts){0};
    if (!check_depthwise(ctx, type, kernel, &o)) return NULL;
    int64_t multiplier = o.depth_multiplier ? o.depth_multiplier : 1;
    o.depth_multiplier = 0;
    conv *c = (conv *)(void *)new_conv(ctx, type, axes, multiplier, kernel, &o);
    if (!c) return NULL;
    c->depthwise = true;
    c->opts.depth_multiplier = multiplier;
    return &c->base;
}
hone_layer *hone_depthwise_conv1d_opt(hone_ctx *ctx, int64_t kernel, const hone_conv_layer_opts *opts)
{
    return new_depthwise(ctx, "depthwise_conv1d", 1, kernel, opts);
}
hone_layer *hone_depthwise_conv2d_opt(hone_ctx *ctx, int64_t kernel, const hone_conv_layer_opts *opts)
{
    return new_depthwise(ctx, "depthwise_conv2d", 2, kernel, opts);
}

static hone_node *separable_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    return hone_apply(self->children[1], hone_apply(self->children[0], in[0]));
}

static hone_layer *new_separable(hone_ctx *ctx, const char *type, int axes, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts)
{
    hone_conv_layer_opts o = opts ? *opts : (hone_conv_layer_opts){0};
    if (!check_depthwise(ctx, type, kernel, &o)) return NULL;
    conv *c = (conv *)(void *)hone_layer_new(ctx, sizeof *c, type, separable_forward);
    if (!c) return NULL;
    c->axes = axes;
    c->filters = filters;
    c->kernel = kernel;
    c->opts = o;
    hone_conv_layer_opts pointwise = {.activation = o.activation, .no_bias = o.no_bias, .initializer = o.initializer, .bias_initializer = o.bias_initializer};
    o.activation = HONE_NO_ACTIVATION;
    o.no_bias = true;
    hone_layer_add(&c->base, "depthwise", new_depthwise(ctx, axes == 1 ? "depthwise_conv1d" : "depthwise_conv2d", axes, kernel, &o));
    hone_layer_add(&c->base, "pointwise", new_conv(ctx, axes == 1 ? "conv1d" : "conv2d", axes, filters, 1, &pointwise));
    if (hone__ok(ctx)) return &c->base;
    hone_layer_free(&c->base);
    return NULL;
}
hone_layer *hone_separable_conv1d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts)
{
    return new_separable(ctx, "separable_conv1d", 1, filters, kernel, opts);
}
hone_layer *hone_separable_conv2d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_layer_opts *opts)
{
    return new_separable(ctx, "separable_conv2d", 2, filters, kernel, opts);
}

/* ---- made again ---- */

static int axes_of(const hone_layer *like) { return like->type[strlen(like->type) - 2] - '0'; }

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const conv *c = (const conv *)(const void *)like;
    if (like->type[0] == 'd') return new_depthwise(ctx, like->type, axes_of(like), c->kernel, &c->opts);
    if (like->type[0] == 's') return new_separable(ctx, like->type, axes_of(like), c->filters, c->kernel, &c->opts);
    return new_conv(ctx, like->type, axes_of(like), c->filters, c->kernel, &c->opts);
}
static const hone__field fields[] = {HONE__FIELD(conv, "filters", filters, I64),
                                     HONE__FIELD(conv, "kernel", kernel, I64),
                                     HONE__FIELD(conv, "activation", opts.activation, ACTIVATION),
                                     HONE__FIELD(conv, "no_bias", opts.no_bias, BOOL),
                                     HONE__FIELD(conv, "initializer", opts.initializer, INITIALIZER),
                                     HONE__FIELD(conv, "bias_initializer", opts.bias_initializer, INITIALIZER),
                                     HONE__FIELD(conv, "kernels", opts.kernel, I64X3),
                                     HONE__FIELD(conv, "stride", opts.stride, I64X3),
                                     HONE__FIELD(conv, "dilation", opts.dilation, I64X3),
                                     HONE__FIELD(conv, "padding", opts.padding, PADDING),
                                     HONE__FIELD(conv, "pad_before", opts.pad_before, I64X3),
                                     HONE__FIELD(conv, "pad_after", opts.pad_after, I64X3),
                                     HONE__FIELD(conv, "groups", opts.groups, I64),
                                     HONE__FIELD(conv, "depth_multiplier", opts.depth_multiplier, I64),
                                     {0}};
#define KIND(name, function) const hone__layer_kind hone__##name##_kind = {#name, function, sizeof(conv), fields, again}
KIND(conv1d, forward);
KIND(conv2d, forward);
KIND(conv3d, forward);
KIND(depthwise_conv1d, forward);
KIND(depthwise_conv2d, forward);
KIND(separable_conv1d, separable_forward);
KIND(separable_conv2d, separable_forward);

/* ---- transposed ---- */

typedef struct conv_transpose {
    hone_layer base;
    int axes;
    int64_t filters, kernel;
    hone_conv_transpose_layer_opts opts;
} conv_transpose;

static hone_node *transpose_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    conv_transpose *c = (conv_transpose *)(void *)self;
    const hone_conv_transpose_layer_opts *o = &c->opts;
    hone_shape x = in[0]->shape;
    int64_t groups = o->groups ? o->groups : 1;
    (void)n;
    if (x.rank != c->axes + 2 || groups < 1 || x.dim[1] % groups || c->filters % groups) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, and %d spatial axes], and channels and %lld "
                   "filters in %lld equal groups, not %s", self->type, graph->scope, c->axes, (long long)c->filters, (long long)groups, HONE__SHAPE_STR(x));
        return NULL;
    }
    hone_shape w = {.rank = x.rank, .dim = {x.dim[1], c->filters / groups}};
    for (int a = 0; a < c->axes; a++) w.dim[2 + a] = o->kernel[a] ? o->kernel[a] : c->kernel;
    hone_node *weight = hone_weight(self, graph, "weight", w, o->initializer ? o->initializer : HONE_INIT_GLOROT_UNIFORM);
    hone_node *bias = NULL;
    if (!o->no_bias && !(bias = hone_weight(self, graph, "bias", HONE_SHAPE(c->filters), HONE_INIT_ZEROS))) return NULL;
    hone_conv_transpose_opts op = {.struct_size = sizeof op, .padding = o->padding, .groups = groups, .activation = o->activation};
    memcpy(op.stride, o->stride, sizeof op.stride);
    memcpy(op.dilation, o->dilation, sizeof op.dilation);
    memcpy(op.pad_before, o->pad_before, sizeof op.pad_before);
    memcpy(op.pad_after, o->pad_after, sizeof op.pad_after);
    memcpy(op.output_padding, o->output_padding, sizeof op.output_padding);
    return hone_conv_transpose_opt(in[0], weight, bias, &op);
}

static hone_layer *new_transpose(hone_ctx *ctx, const char *type, int axes, int64_t filters, int64_t kernel,
                                 const hone_conv_transpose_layer_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (filters < 1 || kernel < 1) {
        hone__fail(ctx, HONE_INVALID, "%s: filters and kernel must be at least 1, not %lld and %lld", type, (long long)filters,
                   (long long)kernel);
        return NULL;
    }
    conv_transpose *c = (conv_transpose *)(void *)hone_layer_new(ctx, sizeof *c, type, transpose_forward);
    if (!c) return NULL;
    c->axes = axes;
    c->filters = filters;
    c->kernel = kernel;
    if (opts) c->opts = *opts;
    return &c->base;
}
hone_layer *hone_conv_transpose1d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_transpose_layer_opts *opts)
{
    return new_transpose(ctx, "conv_transpose1d", 1, filters, kernel, opts);
}
hone_layer *hone_conv_transpose2d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_transpose_layer_opts *opts)
{
    return new_transpose(ctx, "conv_transpose2d", 2, filters, kernel, opts);
}
hone_layer *hone_conv_transpose3d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_transpose_layer_opts *opts)
{
    return new_transpose(ctx, "conv_transpose3d", 3, filters, kernel, opts);
}

static hone_layer *transpose_again(hone_ctx *ctx, const hone_layer *like)
{
    const conv_transpose *c = (const conv_transpose *)(const void *)like;
    return new_transpose(ctx, like->type, axes_of(like), c->filters, c->kernel, &c->opts);
}
static const hone__field transpose_fields[] = {HONE__FIELD(conv_transpose, "filters", filters, I64),
                                               HONE__FIELD(conv_transpose, "kernel", kernel, I64),
                                               HONE__FIELD(conv_transpose, "activation", opts.activation, ACTIVATION),
                                               HONE__FIELD(conv_transpose, "no_bias", opts.no_bias, BOOL),
                                               HONE__FIELD(conv_transpose, "initializer", opts.initializer, INITIALIZER),
                                               HONE__FIELD(conv_transpose, "kernels", opts.kernel, I64X3),
                                               HONE__FIELD(conv_transpose, "stride", opts.stride, I64X3),
                                               HONE__FIELD(conv_transpose, "dilation", opts.dilation, I64X3),
                                               HONE__FIELD(conv_transpose, "padding", opts.padding, PADDING),
                                               HONE__FIELD(conv_transpose, "pad_before", opts.pad_before, I64X3),
                                               HONE__FIELD(conv_transpose, "pad_after", opts.pad_after, I64X3),
                                               HONE__FIELD(conv_transpose, "output_padding", opts.output_padding, I64X3),
                                               HONE__FIELD(conv_transpose, "groups", opts.groups, I64),
                                               {0}};
#define TRANSPOSE_KIND(name) \
    const hone__layer_kind hone__##name##_kind = {#name, transpose_forward, sizeof(conv_transpose), transpose_fields, transpose_again}
TRANSPOSE_KIND(conv_transpose1d);
TRANSPOSE_KIND(conv_transpose2d);
TRANSPOSE_KIND(conv_transpose3d);
