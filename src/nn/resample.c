/* Upsampling and adaptive average pooling: along each spatial axis a linear map, whose matrix [out, in] depends on the sizes
   alone. */
#include "nn/nn.h"

#include <math.h>

typedef enum resampling { NEAREST, LINEAR, AVERAGE } resampling;

typedef struct resample {
    hone_layer base;
    resampling kind;
    hone_shape sizes; /* factors, or, of AVERAGE, the result's sizes */
} resample;

/* Row o of the matrix: which inputs make output o, as PyTorch has it (align_corners false). */
static void fill_row(resampling kind, float *row, int64_t o, int64_t out, int64_t in)
{
    if (kind == NEAREST) {
        row[o * in / out] = 1;
    } else if (kind == LINEAR) {
        double at = fmax(((double)o + 0.5) * (double)in / (double)out - 0.5, 0), share = at - floor(at);
        int64_t first = (int64_t)at, second = HONE_MIN(first + 1, in - 1);
        row[first] += (float)(1 - share);
        row[second] += (float)share;
    } else {
        int64_t begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
        for (int64_t i = begin; i < end; i++) row[i] = 1 / (float)(end - begin);
    }
}

static hone_node *matrix(hone_graph *graph, resampling kind, int64_t out, int64_t in)
{
    hone_tensor *t = hone_tensor_new(graph->ctx, HONE_F32, HONE_SHAPE(out, in));
    if (!t) return NULL;
    float *values = hone_tensor_data(t);
    memset(values, 0, (size_t)(out * in) * sizeof *values);
    for (int64_t o = 0; o < out; o++) fill_row(kind, values + o * in, o, out, in);
    hone_node *node = hone_constant(graph, t);
    hone_tensor_free(t);
    return node;
}

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    const resample *r = (const resample *)(const void *)self;
    hone_node *x = in[0];
    int rank = x->shape.rank;
    (void)n;
    if (rank < 3 || rank > 5 || (r->sizes.rank > 1 && r->sizes.rank != rank - 2)) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the input must be [N, channels, spatial...] with a size for each axis, not %s",
                   self->type, graph->scope, HONE__SHAPE_STR(x->shape));
        return NULL;
    }
    for (int d = 2; d < rank && x; d++) {
        int64_t given = r->sizes.dim[r->sizes.rank > 1 ? d - 2 : 0], size = x->shape.dim[d];
        int64_t out = r->kind == AVERAGE ? given : given * size;
        if (size < 1 || size > 1 << 24 || out > 1 << 24) {
            hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': %lld positions from %lld", self->type, graph->scope, (long long)out, (long long)size);
            return NULL;
        }
        if (out == size) continue;
        hone_axes swap = {.count = rank};
        for (int a = 0; a < rank; a++) swap.axis[a] = a == d ? rank - 1 : a == rank - 1 ? d : a;
        x = hone_linear(hone_transpose(x, swap), matrix(graph, r->kind, out, size), NULL);
        x = hone_transpose(x, swap);
    }
    return x;
}

static hone_layer *new_resample(hone_ctx *ctx, const char *type, resampling kind, hone_shape sizes)
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
    r->kind = kind;
    r->sizes = sizes;
    return &r->base;
}

hone_layer *hone_upsampling(hone_ctx *ctx, hone_shape factors, bool linear)
{
    return new_resample(ctx, "upsampling", linear ? LINEAR : NEAREST, factors);
}
hone_layer *hone_adaptive_average_pool(hone_ctx *ctx, hone_shape sizes)
{
    return new_resample(ctx, "adaptive_average_pool", AVERAGE, sizes);
}
