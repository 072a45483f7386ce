/* Layers of a few lines: embedding, norms, dropout, activation, flatten. */
#include "nn/nn.h"

/* ---- embedding ---- */

typedef struct embedding {
    hone_layer base;
    int64_t vocabulary, size;
    hone_initializer initializer;
} embedding;

static hone_node *embedding_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    embedding *e = (embedding *)(void *)self;
    (void)n;
    return hone_embedding(hone_weight(self, graph, "weight", HONE_SHAPE(e->vocabulary, e->size), e->initializer), in[0]);
}

hone_layer *hone_embedding_layer_opt(hone_ctx *ctx, int64_t vocabulary, int64_t size, const hone_embedding_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (vocabulary < 1 || size < 1) {
        hone__fail(ctx, HONE_INVALID, "embedding: vocabulary and size must be at least 1");
        return NULL;
    }
    embedding *e = (embedding *)(void *)hone_layer_new(ctx, sizeof *e, "embedding", embedding_forward);
    if (!e) return NULL;
    e->vocabulary = vocabulary;
    e->size = size;
    e->initializer = opts && opts->initializer ? opts->initializer : HONE_INIT_NORMAL;
    return &e->base;
}

/* ---- norms ---- */

typedef struct norm {
    hone_layer base;
    double epsilon;
    bool no_bias;
} norm;

static int64_t features(hone_node *x) { return x->shape.rank ? x->shape.dim[x->shape.rank - 1] : 1; }

static hone_node *layer_norm_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    norm *l = (norm *)(void *)self;
    (void)n;
    hone_node *w = hone_weight(self, graph, "weight", HONE_SHAPE(features(in[0])), HONE_INIT_ONES), *b = NULL;
    if (!l->no_bias && !(b = hone_weight(self, graph, "bias", HONE_SHAPE(features(in[0])), HONE_INIT_ZEROS))) return NULL;
    return w ? hone_layer_norm(in[0], w, b, l->epsilon) : NULL;
}

static hone_node *rms_norm_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    norm *l = (norm *)(void *)self;
    (void)n;
    hone_node *w = hone_weight(self, graph, "weight", HONE_SHAPE(features(in[0])), HONE_INIT_ONES);
    return w ? hone_rms_norm(in[0], w, l->epsilon) : NULL;
}

static hone_layer *new_norm(hone_ctx *ctx, const char *type, hone_layer_fn forward, const hone_norm_opts *opts)
{
    norm *l = (norm *)(void *)hone_layer_new(ctx, sizeof *l, type, forward);
    if (!l) return NULL;
    l->epsilon = opts && opts->epsilon > 0 ? opts->epsilon : 1e-5;
    l->no_bias = opts && opts->no_bias;
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

/* ---- without parameters ---- */

typedef struct simple {
    hone_layer base;
    double rate;
    hone_activation activation;
} simple;

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
    simple *l = (simple *)(void *)hone_layer_new(ctx, sizeof *l, "dropout", dropout_forward);
    if (l) l->rate = rate;
    return l ? &l->base : NULL;
}

static hone_node *activation_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    return hone_activate(in[0], ((simple *)(void *)self)->activation);
}
hone_layer *hone_activation_layer(hone_ctx *ctx, hone_activation activation)
{
    simple *l = (simple *)(void *)hone_layer_new(ctx, sizeof *l, "activation", activation_forward);
    if (l) l->activation = activation;
    return l ? &l->base : NULL;
}

static hone_node *flatten_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)self, (void)n, (void)graph;
    return hone_flat(in[0]);
}
hone_layer *hone_flatten(hone_ctx *ctx) { return hone_layer_new(ctx, sizeof(hone_layer), "flatten", flatten_forward); }
