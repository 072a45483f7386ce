/* Upsampling and adaptive pooling: each spatial axis by itself. Upsampling and means are a linear map, whose matrix [out, in]
   depends on the sizes alone; a maximum is one over gathered positions. */
#include "nn/nn.h"

#include <math.h>

typedef struct resample {
    hone_layer base;
    bool linear;      /* upsampling */
    hone_shape sizes; /* factors, or, of pooling, the result's sizes */
} resample;

/* What output o pools: [begin, end) of the input, as PyTorch has it. */
static int64_t pool_begin(int64_t o, int64_t out, int64_t in) { return o * in / out; }
static int64_t pool_end(int64_t o, int64_t out, int64_t in) { return ((o + 1) * in + out - 1) / out; }

/* Row o of a matrix: which inputs make output o, as PyTorch has it (align_corners false). */
typedef void (*row_fn)(float *row, int64_t o, int64_t out, int64_t in);
static void nearest_row(float *row, int64_t o, int64_t out, int64_t in) { row[o * in / out] = 1; }
static void linear_row(float *row, int64_t o, int64_t out, int64_t in)
{
    double at = fmax(((double)o + 0.5) * (double)in / (double)out - 0.5, 0), share = at - floor(at);
    int64_t first = (int64_t)at, second = HONE_MIN(first + 1, in - 1);
    row[first] += (float)(1 - share);
    row[second] += (float)share;
}
static void mean_row(float *row, int64_t o, int64_t out, int64_t in)
{
    int64_t begin = pool_begin(o, out, in), end = pool_end(o, out, in);
    for (int64_t i = begin; i < end; i++) row[i] = 1 / (float)(end - begin);
}

/* Along axis d by the matrix of such rows. */
static hone_node *by_matrix(hone_node *x, int d, int64_t out, row_fn fill_row)
{
    hone_graph *graph = x->call->graph;
    int64_t in = x->shape.dim[d];
    hone_tensor *t = hone_tensor_new(graph->ctx, HONE_F32, HONE_SHAPE(out, in));
    if (!t) return NULL;
    float *values = hone_tensor_data(t);
    memset(values, 0, (size_t)(out * in) * sizeof *values);
    for (int64_t o = 0; o < out; o++) fill_row(values + o * in, o, out, in);
    hone_axes swap = {.count = x->shape.rank};
    for (int a = 0; a < swap.count; a++) swap.axis[a] = a == d ? swap.count - 1 : a == swap.count - 1 ? d : a;
    hone_node *y = hone_linear(hone_transpose(x, swap), hone_constant(graph, t), NULL);
    hone_tensor_free(t);
    return hone_transpose(y, swap);
}

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

static hone_node *pool_or_upsample(hone_layer *self, hone_graph *graph, hone_node *x, bool pool, row_fn row)
{
    const resample *r = (const resample *)(const void *)self;
    enum { LARGEST = 1 << 24 };
    int rank = x->shape.rank;
    if (rank < 3 || rank > 5 || (r->sizes.rank > 1 && r->sizes.rank != rank - 2)) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, spatial...] with a size for each axis, not %s",
                   self->type, graph->scope, HONE__SHAPE_STR(x->shape));
        return NULL;
    }
    for (int d = 2; d < rank && x; d++) {
        int64_t given = r->sizes.dim[r->sizes.rank > 1 ? d - 2 : 0], size = x->shape.dim[d];
        if (size < 1 || size > LARGEST || (!pool && given > LARGEST / size)) {
            hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': %lld positions, size %lld: at least 1, at most 2^24 of them", self->type,
                       graph->scope, (long long)size, (long long)given);
            return NULL;
        }
        int64_t out = pool ? given : given * size;
        if (out != size) x = row ? by_matrix(x, d, out, row) : largest(x, d, out);
    }
    return x;
}

static hone_node *upsampling_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    return pool_or_upsample(self, graph, in[0], false, ((resample *)(void *)self)->linear ? linear_row : nearest_row);
}
static hone_node *adaptive_average_pool_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    return pool_or_upsample(self, graph, in[0], true, mean_row);
}
static hone_node *adaptive_max_pool_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    return pool_or_upsample(self, graph, in[0], true, NULL);
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
