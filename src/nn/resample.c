/* Upsampling, resizing and adaptive pooling. All but the maximum are one op; a maximum is one over gathered positions, each axis by
   itself. */
#include "nn/nn.h"

typedef struct resample {
    hone_layer base;
    bool linear;      /* upsampling */
    hone_shape sizes; /* factors, or, of pooling, the result's sizes */
} resample;

/* What output o pools: [begin, end) of the input, as PyTorch has it. */
static int64_t pool_begin(int64_t o, int64_t out, int64_t in) { return o * in / out; }
static int64_t pool_end(int64_t o, int64_t out, int64_t in) { return ((o + 1) * in + out - 1) / out; }

/* The largest along axis d: all outputs look at as many positions, some at the last one more than once. */
static hone_node *largest(hone_node *x, int d, int64_t out)
{
    hone_graph *graph = x->call->graph;
    int64_t in = x->shape.dim[d], most = 0;
    for (int64_t o = 0; o < out; o++) most = HONE_MAX(most, pool_end(o, out, in) - pool_begin(o, out, in));
    hone_tensor *t = hone_tensor_new(graph->ctx, HONE_I32, HONE_SHAPE(out, most));
    if (!t) return NULL;
    int32_t *at = hone_tensor_data(t);
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < most; i++)
            at[o * most + i] = (int32_t)HONE_MIN(pool_begin(o, out, in) + i, pool_end(o, out, in) - 1);
    hone_node *y = hone_gather(x, hone_constant(graph, t), d);
    hone_tensor_free(t);
    return hone_max(y, HONE_AXES(d + 1), false);
}

/* The sizes given for each axis of x, or one for all; of rank 0: refused. */
static hone_shape sizes_for(const hone_layer *self, const hone_graph *graph, const hone_node *x)
{
    const resample *r = (const resample *)(const void *)self;
    int rank = x->shape.rank;
    hone_shape sizes = r->sizes;
    if (rank < 3 || rank > 5 || (sizes.rank > 1 && sizes.rank != rank - 2)) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, spatial...] with a size for each axis, not %s",
                   self->type, graph->scope, HONE__SHAPE_STR(x->shape));
        return HONE_SCALAR;
    }
    for (int a = sizes.rank; a < rank - 2; a++) sizes.dim[sizes.rank++] = sizes.dim[0];
    return sizes;
}

static hone_node *upsampling_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    hone_shape factors = sizes_for(self, graph, in[0]);
    hone_resize_opts opts = {.struct_size = sizeof opts,
                             .mode = ((const resample *)(const void *)self)->linear ? HONE_RESIZE_LINEAR : HONE_RESIZE_NEAREST};
    for (int a = 0; a < factors.rank; a++) opts.scale[a] = (double)factors.dim[a];
    return factors.rank ? hone_resize_opt(in[0], &opts) : NULL;
}
static hone_node *adaptive_average_pool_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    hone_shape sizes = sizes_for(self, graph, in[0]);
    return sizes.rank ? hone_resize(in[0], .size = sizes, .mode = HONE_RESIZE_AREA) : NULL;
}
static hone_node *adaptive_max_pool_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    enum { LARGEST = 1 << 24 };
    hone_shape sizes = sizes_for(self, graph, in[0]);
    hone_node *x = sizes.rank ? in[0] : NULL;
    for (int a = 0; a < sizes.rank && x; a++) {
        int64_t size = x->shape.dim[2 + a];
        if (size < 1 || size > LARGEST) {
            hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': %lld positions: at least 1, at most 2^24 of them", self->type, graph->scope,
                       (long long)size);
            return NULL;
        }
        if (sizes.dim[a] != size) x = largest(x, 2 + a, sizes.dim[a]);
    }
    return x;
}

static hone_layer *new_resample(hone_ctx *ctx, const char *type, hone_layer_fn forward, hone_shape sizes, bool linear)
{
    if (!hone__ok(ctx)) return NULL;
    bool good = sizes.rank >= 1 && sizes.rank <= 3;
    for (int d = 0; d < sizes.rank && good; d++) good = sizes.dim[d] >= 1 && sizes.dim[d] <= 1 << 24;
    if (!good) {
        hone__fail(ctx, HONE_INVALID, "%s: 1 to 3 sizes of at least 1, not %s", type, HONE__SHAPE_STR(sizes));
        return NULL;
    }
    resample *r = (resample *)(void *)hone_layer_new(ctx, sizeof *r, type, forward);
    if (!r) return NULL;
    r->linear = linear;
    r->sizes = sizes;
    return &r->base;
}

hone_layer *hone_upsampling(hone_ctx *ctx, hone_shape factors, bool linear)
{
    return new_resample(ctx, "upsampling", upsampling_forward, factors, linear);
}
hone_layer *hone_adaptive_average_pool(hone_ctx *ctx, hone_shape sizes)
{
    return new_resample(ctx, "adaptive_average_pool", adaptive_average_pool_forward, sizes, false);
}
hone_layer *hone_adaptive_max_pool(hone_ctx *ctx, hone_shape sizes)
{
    return new_resample(ctx, "adaptive_max_pool", adaptive_max_pool_forward, sizes, false);
}

static const hone__field upsampling_fields[] = {HONE__FIELD(resample, "factors", sizes, SHAPE), HONE__FIELD(resample, "linear", linear, BOOL), {0}};
static const hone__field pool_fields[] = {HONE__FIELD(resample, "sizes", sizes, SHAPE), {0}};
#define KIND(name, fields)                                                                                   \
    static hone_layer *name##_again(hone_ctx *ctx, const hone_layer *like)                                  \
    {                                                                                                        \
        const resample *r = (const resample *)(const void *)like;                                            \
        return new_resample(ctx, #name, name##_forward, r->sizes, r->linear);                                \
    }                                                                                                        \
    const hone__layer_kind hone__##name##_kind = {#name, name##_forward, sizeof(resample), fields, name##_again}
KIND(upsampling, upsampling_fields);
KIND(adaptive_average_pool, pool_fields);
KIND(adaptive_max_pool, pool_fields);

/* ---- to sizes or by scales that are no whole numbers, in each of the op's modes ---- */

typedef struct resize {
    hone_layer base;
    hone_resize_opts opts;
} resize;

static hone_node *resize_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    return hone_resize_opt(in[0], &((const resize *)(const void *)self)->opts);
}

hone_layer *hone_resize_layer_opt(hone_ctx *ctx, const hone_resize_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (!opts || (opts->size.rank > 0) == (opts->scale[0] != 0)) {
        hone__fail(ctx, HONE_INVALID, "resize: either the sizes or the scales must be given");
        return NULL;
    }
    resize *r = (resize *)(void *)hone_layer_new(ctx, sizeof *r, "resize", resize_forward);
    if (!r) return NULL;
    r->opts = *opts;
    return &r->base;
}

static hone_layer *resize_again(hone_ctx *ctx, const hone_layer *like)
{
    return hone_resize_layer_opt(ctx, &((const resize *)(const void *)like)->opts);
}
static const hone__field resize_fields[] = {HONE__FIELD(resize, "size", opts.size, SHAPE),      HONE__FIELD(resize, "scale", opts.scale[0], F64),
                                             HONE__FIELD(resize, "scale1", opts.scale[1], F64), HONE__FIELD(resize, "scale2", opts.scale[2], F64),
                                             HONE__FIELD(resize, "mode", opts.mode, RESIZE_MODE),
                                             HONE__FIELD(resize, "align_corners", opts.align_corners, BOOL), {0}};
const hone__layer_kind hone__resize_kind = {"resize", resize_forward, sizeof(resize), resize_fields, resize_again};
