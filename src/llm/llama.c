/* The Llama family: Touvron et al. 2023. Pre-norm blocks of grouped-query attention with rotary positions and a
   SwiGLU network. Layer and parameter names are Hugging Face's. */
#include "llm/llm.h"

typedef struct block {
    hone_layer *input_layernorm, *q_proj, *k_proj, *v_proj, *o_proj;
    hone_layer *post_attention_layernorm, *gate_proj, *up_proj, *down_proj, *self_attn, *mlp, *layer;
} block;

typedef struct llama {
    hone_layer base;
    hone__llm_config config;
    hone_layer *model, *embed_tokens, *norm, *lm_head;
    block *blocks; /* [num_hidden_layers] */
} llama;

static hone_node *no_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)in, (void)n;
    hone__fail(graph->ctx, HONE_UNSUPPORTED, "%s: is applied through its model", self->type);
    return NULL;
}

static void destroy(hone_layer *self) { hone__free(self->ctx, ((llama *)(void *)self)->blocks); }

static hone_layer *group(hone_layer *parent, const char *name, const char *type)
{
    return hone_layer_add(parent, name, hone_layer_new(parent->ctx, sizeof(hone_layer), type, no_forward));
}

static hone_layer *linear(hone_layer *parent, const char *name, int64_t units, bool bias)
{
    if (!parent) return NULL;
    return hone_layer_add(parent, name, hone_dense(parent->ctx, units, .no_bias = !bias, .initializer = HONE_INIT_NORMAL));
}

static bool add_block(llama *l, hone_layer *layers, block *b)
{
    const hone__llm_config *c = &l->config;
    hone_ctx *ctx = l->base.ctx;
    b->layer = group(layers, NULL, "llama_block");
    if (!b->layer) return false;
    b->input_layernorm = hone_layer_add(b->layer, "input_layernorm", hone_rms_norm_layer(ctx, .epsilon = c->rms_norm_eps));
    b->self_attn = group(b->layer, "self_attn", "llama_attention");
    b->post_attention_layernorm =
        hone_layer_add(b->layer, "post_attention_layernorm", hone_rms_norm_layer(ctx, .epsilon = c->rms_norm_eps));
    b->mlp = group(b->layer, "mlp", "llama_mlp");
    b->q_proj = linear(b->self_attn, "q_proj", c->num_attention_heads * c->head_dim, c->attention_bias);
    b->k_proj = linear(b->self_attn, "k_proj", c->num_key_value_heads * c->head_dim, c->attention_bias);
    b->v_proj = linear(b->self_attn, "v_proj", c->num_key_value_heads * c->head_dim, c->attention_bias);
    b->o_proj = linear(b->self_attn, "o_proj", c->hidden_size, c->o_bias);
    b->gate_proj = linear(b->mlp, "gate_proj", c->intermediate_size, c->mlp_bias);
    b->up_proj = linear(b->mlp, "up_proj", c->intermediate_size, c->mlp_bias);
    b->down_proj = linear(b->mlp, "down_proj", c->hidden_size, c->mlp_bias);
    return b->down_proj != NULL;
}

hone_layer *hone__llama_new(hone_ctx *ctx, const hone__llm_config *config)
{
    llama *l = (llama *)(void *)hone_layer_new(ctx, sizeof *l, "llama", no_forward);
    if (!l) return NULL;
    l->config = *config;
    l->base.destroy = destroy;
    l->blocks = hone__calloc(ctx, (size_t)config->num_hidden_layers, sizeof *l->blocks);
    l->model = l->blocks ? group(&l->base, "model", "llama_model") : NULL;
    hone_layer *layers = NULL;
    if (l->model) {
        l->embed_tokens = hone_layer_add(l->model, "embed_tokens",
                                         hone_embedding_layer(ctx, config->vocab_size, config->hidden_size));
        layers = group(l->model, "layers", "llama_layers");
    }
    bool ok = layers != NULL;
    for (int64_t i = 0; i < config->num_hidden_layers && ok; i++) ok = add_block(l, layers, &l->blocks[i]);
    if (ok) l->norm = hone_layer_add(l->model, "norm", hone_rms_norm_layer(ctx, .epsilon = config->rms_norm_eps));
    if (ok && !config->tie_word_embeddings) l->lm_head = linear(&l->base, "lm_head", config->vocab_size, false);
    if (hone__ok(ctx)) return &l->base;
    hone_layer_free(&l->base);
    return NULL;
}

/* (B, T, heads * size) -> (B, T, heads, size) */
static hone_node *heads(hone_node *x, int64_t n, int64_t size)
{
    hone_shape s = hone_node_shape(x);
    return hone_reshape(x, HONE_SHAPE(s.dim[0], s.dim[1], n, size));
}

static hone_node *attention(llama *l, const block *b, int64_t i, const hone__llama_inputs *in, hone_node *x, hone_node *factors)
{
    const hone__llm_config *c = &l->config;
    hone_graph *graph = hone_node_graph(x);
    const char *before = hone__scope_push(graph, "self_attn");
    hone_node *q = heads(hone_apply(b->q_proj, x), c->num_attention_heads, c->head_dim);
    hone_node *k = heads(hone_apply(b->k_proj, x), c->num_key_value_heads, c->head_dim);
    hone_node *v = heads(hone_apply(b->v_proj, x), c->num_key_value_heads, c->head_dim);
    q = hone_rope(q, in->positions, .theta = c->rope_theta, .factors = factors);
    k = hone_rope(k, in->positions, .theta = c->rope_theta, .factors = factors);
    if (in->session) {
        k = hone_cache_write_rows(hone_variable(graph, in->session->keys[i]), k, in->cache_position, in->cache_rows);
        v = hone_cache_write_rows(hone_variable(graph, in->session->values[i]), v, in->cache_position, in->cache_rows);
    }
    hone_node *y = hone_attention(q, k, v, .begin = in->begin, .end = in->end, .rows = in->cache_rows, .causal = !in->end);
    hone_shape s = hone_node_shape(x);
    y = hone_apply(b->o_proj, hone_reshape(y, HONE_SHAPE(s.dim[0], s.dim[1], c->num_attention_heads * c->head_dim)));
    hone__scope_pop(graph, before);
    return y;
}

static hone_node *mlp(const block *b, hone_node *x)
{
    const char *before = hone__scope_push(hone_node_graph(x), "mlp");
    hone_node *y = hone_apply(b->down_proj, hone_swiglu(hone_apply(b->gate_proj, x), hone_apply(b->up_proj, x)));
    hone__scope_pop(hone_node_graph(x), before);
    return y;
}

hone_node *hone__llama_hidden(hone_layer *root, hone_graph *graph, const hone__llama_inputs *in)
{
    llama *l = (llama *)(void *)root;
    const char *top = hone__scope_push(graph, "model");
    hone_node *factors = NULL, *x = hone_apply(l->embed_tokens, in->tokens);
    if (l->config.rope_factors) {
        hone_tensor *t = hone_tensor_from_f32(graph->ctx, HONE_SHAPE(l->config.head_dim / 2), l->config.rope_factors);
        factors = hone_constant(graph, t);
        hone_tensor_free(t);
    }
    const char *layers = hone__scope_push(graph, "layers");
    for (int64_t i = 0; i < l->config.num_hidden_layers && x; i++) {
        const block *b = &l->blocks[i];
        const char *before = hone__scope_push(graph, b->layer->name);
        if (b->layer->checkpointing) hone_checkpoint_begin(graph);
        hone_node *h = hone_apply(b->input_layernorm, x);
        if (h) x = hone_add(x, attention(l, b, i, in, h, factors));
        h = x ? hone_apply(b->post_attention_layernorm, x) : NULL;
        x = h ? hone_add(x, mlp(b, h)) : NULL;
        if (b->layer->checkpointing) hone_checkpoint_end(graph);
        hone__scope_pop(graph, before);
    }
    hone__scope_pop(graph, layers);
    x = x ? hone_apply(l->norm, x) : NULL;
    hone__scope_pop(graph, top);
    return x;
}

hone_node *hone__llama_head(hone_layer *root, hone_graph *graph)
{
    llama *l = (llama *)(void *)root;
    if (!l->lm_head) return hone_weight_of(l->embed_tokens, graph, "weight");
    return hone_weight(l->lm_head, graph, "weight", HONE_SHAPE(l->config.vocab_size, l->config.hidden_size), HONE_INIT_NORMAL);
}
