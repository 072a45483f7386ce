/* Transformer layers: Vaswani et al. 2017, section 3.1; which layers there are, and their names, are PyTorch's. */
#include "nn/nn.h"

typedef struct block {
    hone_layer base;
    int64_t heads, feed_forward;
    hone_transformer_opts opts;
    hone_layer *self_attn, *multihead_attn, *norm[3]; /* multihead_attn: of decoders; an encoder has two norms */
} block;

static hone_node *feed_forward(block *b, hone_node *x)
{
    hone_dense_opts plain = {.no_bias = b->opts.no_bias}, active = plain;
    int64_t features = x ? x->shape.dim[x->shape.rank - 1] : 1;
    if (!b->opts.swiglu) active.activation = b->opts.activation ? b->opts.activation : HONE_RELU;
    hone_node *h = hone_apply(hone__dense_child(&b->base, "linear1", b->feed_forward, &active), x);
    if (b->opts.swiglu) h = hone_swiglu(hone_apply(hone__dense_child(&b->base, "gate", b->feed_forward, &plain), x), h);
    h = hone_dropout(h, b->opts.dropout);
    return hone_apply(hone__dense_child(&b->base, "linear2", features, &plain), h);
}

/* norm(x + f(x)), or x + f(norm(x)); f is attention to the inputs that follow x, or the feed-forward network (NULL). */
static hone_node *residual(block *b, hone_node *x, hone_layer *norm, hone_layer *attention, hone_node *const *more)
{
    hone_node *h = b->opts.pre_norm ? hone_apply(norm, x) : x, *y;
    if (attention)
        y = hone_apply_n(attention, 5, (hone_node *[]){h, more[0], NULL, more[1], more[2]});
    else
        y = feed_forward(b, h);
    y = hone_add(x, hone_dropout(y, b->opts.dropout));
    return b->opts.pre_norm ? y : hone_apply(norm, y);
}

static bool want_inputs(const hone_layer *self, const hone_graph *graph, hone_node *const *in, int n, int most)
{
    if (n >= self->required_inputs && n <= most && in[0]->shape.rank == 3) return true;
    hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': takes %d to %d inputs, the first [B, T, features]; got %d, the first %s",
               self->type, graph->scope, self->required_inputs, most, n, HONE__SHAPE_STR(in[0]->shape));
    return false;
}

static hone_node *encode(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    block *b = (block *)(void *)self;
    if (!want_inputs(self, graph, in, n, 3)) return NULL;
    hone_node *own[3] = {NULL, n > 1 ? in[1] : NULL, n > 2 ? in[2] : NULL};
    hone_node *x = residual(b, in[0], b->norm[0], b->self_attn, own);
    return residual(b, x, b->norm[1], NULL, NULL);
}

static hone_node *decode(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    block *b = (block *)(void *)self;
    if (!want_inputs(self, graph, in, n, 6)) return NULL;
    hone_node *memory[3] = {in[1], n > 2 ? in[2] : NULL, n > 3 ? in[3] : NULL};
    hone_node *own[3] = {NULL, n > 4 ? in[4] : NULL, n > 5 ? in[5] : NULL};
    hone_node *x = residual(b, in[0], b->norm[0], b->self_attn, own);
    x = residual(b, x, b->norm[1], b->multihead_attn, memory);
    return residual(b, x, b->norm[2], NULL, NULL);
}

static hone_layer *new_norm(hone_ctx *ctx, const hone_transformer_opts *o)
{
    return hone_layer_norm_layer(ctx, .epsilon = o->epsilon, .no_bias = o->no_bias);
}

static hone_layer *new_block(hone_ctx *ctx, bool decoder, int64_t heads, int64_t hidden, const hone_transformer_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    const char *type = decoder ? "transformer_decoder_layer" : "transformer_encoder_layer";
    hone_transformer_opts o = opts ? *opts : (hone_transformer_opts){0};
    if (hidden < 1 || !(o.dropout >= 0 && o.dropout < 1)) {
        hone__fail(ctx, HONE_INVALID, "%s: feed_forward must be at least 1, dropout in [0, 1), not %lld and %g", type,
                   (long long)hidden, o.dropout);
        return NULL;
    }
    block *b = (block *)(void *)hone_layer_new(ctx, sizeof *b, type, decoder ? decode : encode);
    if (!b) return NULL;
    b->base.required_inputs = decoder ? 2 : 1;
    b->base.keeps_lengths = b->base.mixes_last = true;
    b->heads = heads;
    b->feed_forward = hidden;
    b->opts = o;
    hone_multi_head_attention_opts a = {.kv_heads = o.kv_heads, .no_bias = o.no_bias, .dropout = o.dropout}, own = a;
    own.causal = decoder || o.causal;
    own.rope_theta = o.rope_theta;
    b->self_attn = hone_layer_add(&b->base, "self_attn", hone_multi_head_attention_opt(ctx, heads, &own));
    if (decoder) b->multihead_attn = hone_layer_add(&b->base, "multihead_attn", hone_multi_head_attention_opt(ctx, heads, &a));
    for (int i = 0; i < (decoder ? 3 : 2); i++) {
        static const char *const names[] = {"norm1", "norm2", "norm3"};
        b->norm[i] = hone_layer_add(&b->base, names[i], new_norm(ctx, &o));
    }
    if (hone__ok(ctx)) return &b->base;
    hone_layer_free(&b->base);
    return NULL;
}

hone_layer *hone_transformer_encoder_layer_opt(hone_ctx *ctx, int64_t heads, int64_t hidden, const hone_transformer_opts *opts)
{
    return new_block(ctx, false, heads, hidden, opts);
}
hone_layer *hone_transformer_decoder_layer_opt(hone_ctx *ctx, int64_t heads, int64_t hidden, const hone_transformer_opts *opts)
{
    return new_block(ctx, true, heads, hidden, opts);
}

static hone_layer *block_again(hone_ctx *ctx, const hone_layer *like)
{
    const block *b = (const block *)(const void *)like;
    return new_block(ctx, !strcmp(like->type, "transformer_decoder_layer"), b->heads, b->feed_forward, &b->opts);
}
static const hone__field fields[] = {HONE__FIELD(block, "heads", heads, I64),
                                     HONE__FIELD(block, "feed_forward", feed_forward, I64),
                                     HONE__FIELD(block, "activation", opts.activation, ACTIVATION),
                                     HONE__FIELD(block, "swiglu", opts.swiglu, BOOL),
                                     HONE__FIELD(block, "dropout", opts.dropout, F64),
                                     HONE__FIELD(block, "pre_norm", opts.pre_norm, BOOL),
                                     HONE__FIELD(block, "causal", opts.causal, BOOL),
                                     HONE__FIELD(block, "no_bias", opts.no_bias, BOOL),
                                     HONE__FIELD(block, "epsilon", opts.epsilon, F64),
                                     HONE__FIELD(block, "kv_heads", opts.kv_heads, I64),
                                     HONE__FIELD(block, "rope_theta", opts.rope_theta, F64),
                                     {0}};
const hone__layer_kind hone__transformer_encoder_layer_kind = {"transformer_encoder_layer", encode, sizeof(block), fields, block_again};
const hone__layer_kind hone__transformer_decoder_layer_kind = {"transformer_decoder_layer", decode, sizeof(block), fields, block_again};

/* ---- stacks: the layers lie in a group of their own, for their names ---- */

enum { MOST_INPUTS = 6 };

static hone_node *run_layers(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    hone_node *x[MOST_INPUTS] = {0};
    if (n > MOST_INPUTS) {
        hone__fail(graph->ctx, HONE_INVALID, "%s '%s': %d inputs are too many", self->type, graph->scope, n);
        return NULL;
    }
    for (int i = 0; i < n; i++) x[i] = in[i];
    for (size_t i = 0; i < self->n_children; i++) x[0] = hone_apply_n(self->children[i], n, x);
    return x[0];
}

static hone_node *run_stack(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    if (!self->n_children) { /* of a file */
        hone__fail(graph->ctx, HONE_INVALID, "%s '%s': has no layers", self->type, graph->scope);
        return NULL;
    }
    hone_node *x = hone_apply_n(self->children[0], n, in);
    return self->n_children > 1 ? hone_apply(self->children[1], x) : x;
}

/* A stack, or its group, without layers. */
static hone_layer *new_empty(hone_ctx *ctx, const char *type, hone_layer_fn forward, bool decoder)
{
    hone_layer *layer = hone_layer_new(ctx, sizeof *layer, type, forward);
    if (layer) layer->required_inputs = decoder ? 2 : 1;
    return layer;
}

static hone_layer *new_stack(hone_ctx *ctx, bool decoder, int64_t layers, int64_t heads, int64_t hidden,
                             const hone_transformer_opts *opts)
{
    const char *type = decoder ? "transformer_decoder" : "transformer_encoder";
    if (hone__ok(ctx) && layers < 1) hone__fail(ctx, HONE_INVALID, "%s: needs at least one layer, not %lld", type, (long long)layers);
    hone_layer *stack = new_empty(ctx, type, run_stack, decoder);
    if (!stack) return NULL;
    const char *of_group = decoder ? "transformer_decoder_layers" : "transformer_encoder_layers";
    hone_layer *group = hone_layer_add(stack, "layers", new_empty(ctx, of_group, run_layers, decoder));
    for (int64_t i = 0; i < layers && hone__ok(ctx); i++) hone_layer_add(group, NULL, new_block(ctx, decoder, heads, hidden, opts));
    if (opts && opts->pre_norm) hone_layer_add(stack, "norm", new_norm(ctx, opts));
    if (hone__ok(ctx)) return stack;
    hone_layer_free(stack);
    return NULL;
}

hone_layer *hone_transformer_encoder_opt(hone_ctx *ctx, int64_t layers, int64_t heads, int64_t hidden,
                                         const hone_transformer_opts *opts)
{
    return new_stack(ctx, false, layers, heads, hidden, opts);
}
hone_layer *hone_transformer_decoder_opt(hone_ctx *ctx, int64_t layers, int64_t heads, int64_t hidden,
                                         const hone_transformer_opts *opts)
{
    return new_stack(ctx, true, layers, heads, hidden, opts);
}

/* What they are made of are their children. */
static hone_layer *stack_again(hone_ctx *ctx, const hone_layer *like)
{
    return new_empty(ctx, like->type, run_stack, !strcmp(like->type, "transformer_decoder"));
}
static hone_layer *layers_again(hone_ctx *ctx, const hone_layer *like)
{
    return new_empty(ctx, like->type, run_layers, !strcmp(like->type, "transformer_decoder_layers"));
}
#define KIND(name, forward, again) const hone__layer_kind hone__##name##_kind = {#name, forward, sizeof(hone_layer), NULL, again}
KIND(transformer_encoder, run_stack, stack_again);
KIND(transformer_decoder, run_stack, stack_again);
KIND(transformer_encoder_layers, run_layers, layers_again);
KIND(transformer_decoder_layers, run_layers, layers_again);
