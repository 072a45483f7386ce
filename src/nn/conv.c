#include "nn/nn.h"

typedef struct conv {
    hone_layer base;
    int axes;
    int64_t filters, kernel;
    hone_conv_layer_opts opts;
} conv;

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    conv *c = (conv *)(void *)self;
    const hone_conv_layer_opts *o = &c->opts;
    hone_shape x = in[0]->shape, w = {.rank = c->axes + 2, .dim = {c->filters}};
    int64_t groups = o->groups ? o->groups : 1;
    (void)n;
    if (x.rank != c->axes + 2) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, and %d spatial %s], not %s", self->type,
                   graph->scope, c->axes, c->axes == 1 ? "axis" : "axes", HONE__SHAPE_STR(x));
        return NULL;
    }
    if (groups < 1 || x.dim[1] % groups || c->filters % groups) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': %lld input channels and %lld filters cannot be cut into %lld groups",
                   self->type, graph->scope, (long long)x.dim[1], (long long)c->filters, (long long)groups);
        return NULL;
    }
    w.dim[1] = x.dim[1] / groups;
    for (int a = 0; a < c->axes; a++) w.dim[2 + a] = o->kernel[a] ? o->kernel[a] : c->kernel;
    hone_node *weight = hone_weight(self, graph, "weight", w, o->initializer ? o->initializer : HONE_INIT_GLOROT_UNIFORM);
    hone_node *bias = NULL;
    if (!o->no_bias && !(bias = hone_weight(self, graph, "bias", HONE_SHAPE(c->filters),
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

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const conv *c = (const conv *)(const void *)like;
    return new_conv(ctx, like->type, like->type[4] - '0', c->filters, c->kernel, &c->opts);
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
                                     {0}};
const hone__layer_kind hone__conv1d_kind = {"conv1d", forward, sizeof(conv), fields, again};
const hone__layer_kind hone__conv2d_kind = {"conv2d", forward, sizeof(conv), fields, again};
const hone__layer_kind hone__conv3d_kind = {"conv3d", forward, sizeof(conv), fields, again};

/* ---- transposed ---- */

typedef struct conv_transpose {
    hone_layer base;
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
    if (x.rank != 4 || groups < 1 || x.dim[1] % groups || c->filters % groups) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, height, width], and channels and %lld filters in "
                   "%lld equal groups, not %s", self->type, graph->scope, (long long)c->filters, (long long)groups, HONE__SHAPE_STR(x));
        return NULL;
    }
    hone_shape w = HONE_SHAPE(x.dim[1], c->filters / groups, o->kernel[0] ? o->kernel[0] : c->kernel,
                              o->kernel[1] ? o->kernel[1] : c->kernel);
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

hone_layer *hone_conv_transpose2d_opt(hone_ctx *ctx, int64_t filters, int64_t kernel, const hone_conv_transpose_layer_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (filters < 1 || kernel < 1) {
        hone__fail(ctx, HONE_INVALID, "conv_transpose2d: filters and kernel must be at least 1, not %lld and %lld",
                   (long long)filters, (long long)kernel);
        return NULL;
    }
    conv_transpose *c = (conv_transpose *)(void *)hone_layer_new(ctx, sizeof *c, "conv_transpose2d", transpose_forward);
    if (!c) return NULL;
    c->filters = filters;
    c->kernel = kernel;
    if (opts) c->opts = *opts;
    return &c->base;
}

static hone_layer *transpose_again(hone_ctx *ctx, const hone_layer *like)
{
    const conv_transpose *c = (const conv_transpose *)(const void *)like;
    return hone_conv_transpose2d_opt(ctx, c->filters, c->kernel, &c->opts);
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
const hone__layer_kind hone__conv_transpose2d_kind = {"conv_transpose2d", transpose_forward, sizeof(conv_transpose), transpose_fields,
                                                      transpose_again};
