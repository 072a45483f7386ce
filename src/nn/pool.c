#include "nn/nn.h"

typedef struct pool {
    hone_layer base;
    bool average;
    hone_shape kernel;
    hone_pool_opts opts;
} pool;

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const pool *p = (const pool *)(const void *)self;
    (void)n;
    if (in[0]->shape.rank != p->kernel.rank + 2) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, and %d spatial %s], not %s", self->type,
                   graph->scope, p->kernel.rank, p->kernel.rank == 1 ? "axis" : "axes", HONE__SHAPE_STR(in[0]->shape));
        return NULL;
    }
    return p->average ? hone_average_pool_opt(in[0], p->kernel, &p->opts)
                      : hone_max_pool_opt(in[0], p->kernel, &p->opts);
}

static hone_layer *new_pool(hone_ctx *ctx, const char *type, bool average, int axes, int64_t kernel,
                            const hone_pool_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (kernel < 1) {
        hone__fail(ctx, HONE_INVALID, "%s: the kernel must be at least 1, not %lld", type, (long long)kernel);
        return NULL;
    }
    pool *p = (pool *)(void *)hone_layer_new(ctx, sizeof *p, type, forward);
    if (!p) return NULL;
    p->average = average;
    p->kernel.rank = axes;
    for (int a = 0; a < axes; a++) p->kernel.dim[a] = kernel;
    if (opts) p->opts = *opts;
    return &p->base;
}

hone_layer *hone_max_pool1d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts)
{
    return new_pool(ctx, "max_pool1d", false, 1, kernel, opts);
}
hone_layer *hone_max_pool2d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts)
{
    return new_pool(ctx, "max_pool2d", false, 2, kernel, opts);
}
hone_layer *hone_max_pool3d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts)
{
    return new_pool(ctx, "max_pool3d", false, 3, kernel, opts);
}
hone_layer *hone_average_pool1d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts)
{
    return new_pool(ctx, "average_pool1d", true, 1, kernel, opts);
}
hone_layer *hone_average_pool2d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts)
{
    return new_pool(ctx, "average_pool2d", true, 2, kernel, opts);
}
hone_layer *hone_average_pool3d_opt(hone_ctx *ctx, int64_t kernel, const hone_pool_opts *opts)
{
    return new_pool(ctx, "average_pool3d", true, 3, kernel, opts);
}

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const pool *p = (const pool *)(const void *)like;
    return new_pool(ctx, like->type, like->type[0] == 'a', like->type[strlen(like->type) - 2] - '0', p->kernel.dim[0], &p->opts);
}
static const hone__field fields[] = {HONE__FIELD(pool, "kernel", kernel.dim[0], I64),
                                     HONE__FIELD(pool, "stride", opts.stride, I64X3),
                                     HONE__FIELD(pool, "dilation", opts.dilation, I64X3),
                                     HONE__FIELD(pool, "padding", opts.padding, PADDING),
                                     HONE__FIELD(pool, "pad_before", opts.pad_before, I64X3),
                                     HONE__FIELD(pool, "pad_after", opts.pad_after, I64X3),
                                     HONE__FIELD(pool, "exclude_padding", opts.exclude_padding, BOOL),
                                     HONE__FIELD(pool, "ceil_mode", opts.ceil_mode, BOOL),
                                     {0}};
const hone__layer_kind hone__max_pool1d_kind = {"max_pool1d", forward, sizeof(pool), fields, again};
const hone__layer_kind hone__max_pool2d_kind = {"max_pool2d", forward, sizeof(pool), fields, again};
const hone__layer_kind hone__max_pool3d_kind = {"max_pool3d", forward, sizeof(pool), fields, again};
const hone__layer_kind hone__average_pool1d_kind = {"average_pool1d", forward, sizeof(pool), fields, again};
const hone__layer_kind hone__average_pool2d_kind = {"average_pool2d", forward, sizeof(pool), fields, again};
const hone__layer_kind hone__average_pool3d_kind = {"average_pool3d", forward, sizeof(pool), fields, again};

/* ---- over everything but batch and channels ---- */

static hone_node *global_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    hone_axes axes = {.count = in[0]->shape.rank - 2};
    (void)n;
    if (axes.count < 1) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, spatial...], not %s", self->type,
                   graph->scope, HONE__SHAPE_STR(in[0]->shape));
        return NULL;
    }
    for (int a = 0; a < axes.count; a++) axes.axis[a] = 2 + a;
    bool average = !strcmp(self->type, "global_average_pool");
    if (in[0]->lengths && axes.count == 1 && in[0]->time != 2) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the rows of %s have lengths along axis %d, pools look at the last one: hone_permute_layer(ctx, "
                                           "HONE_AXES(2, 1)) in front of it", self->type, graph->scope, HONE__SHAPE_STR(in[0]->shape), in[0]->time);
        return NULL;
    }
    if (in[0]->lengths && axes.count == 1) return average ? hone__mean_of_rows(in[0]) : hone__max_of_rows(in[0]);
    return average ? hone_mean(in[0], axes, false) : hone_max(in[0], axes, false);
}

hone_layer *hone_global_max_pool(hone_ctx *ctx)
{
    return hone_layer_new(ctx, sizeof(hone_layer), "global_max_pool", global_forward);
}
hone_layer *hone_global_average_pool(hone_ctx *ctx)
{
    return hone_layer_new(ctx, sizeof(hone_layer), "global_average_pool", global_forward);
}

static hone_layer *global_again(hone_ctx *ctx, const hone_layer *like)
{
    return hone_layer_new(ctx, sizeof(hone_layer), like->type, global_forward);
}
const hone__layer_kind hone__global_max_pool_kind = {"global_max_pool", global_forward, sizeof(hone_layer), NULL, global_again};
const hone__layer_kind hone__global_average_pool_kind = {"global_average_pool", global_forward, sizeof(hone_layer), NULL,
                                                         global_again};
