#include "nn/nn.h"

typedef struct attention {
    hone_layer base;
    int64_t heads;
    hone_self_attention_opts opts;
} attention;

/* The projections' sizes depend on the input, so they are made when it is first seen. */
static hone_layer *projection(hone_layer *self, const char *name, int64_t units)
{
    hone_layer *layer = hone__layer_find(self, name);
    const attention *a = (const attention *)(const void *)self;
    return layer ? layer : hone_layer_add(self, name, hone_dense(self->ctx, units, .no_bias = a->opts.no_bias));
}

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    attention *a = (attention *)(void *)self;
    (void)n;
    hone_node *x = in[0];
    hone_shape s = x->shape;
    int64_t size = a->opts.head_size, kv_heads = a->opts.kv_heads ? a->opts.kv_heads : a->heads;
    if (s.rank != 3 || (!size && s.dim[2] % a->heads)) {
        hone__fail(graph->ctx, HONE_SHAPE, "self_attention '%s': wants [B, T, features], features a multiple of %lld "
                                           "heads, not %s", graph->scope, (long long)a->heads, HONE__SHAPE_STR(s));
        return NULL;
    }
    if (!size) size = s.dim[2] / a->heads;
    int64_t b = s.dim[0], t = s.dim[1];
    hone_node *q = hone_reshape(hone_apply(projection(self, "q_proj", a->heads * size), x), HONE_SHAPE(b, t, a->heads, size));
    hone_node *k = hone_reshape(hone_apply(projection(self, "k_proj", kv_heads * size), x), HONE_SHAPE(b, t, kv_heads, size));
    hone_node *v = hone_reshape(hone_apply(projection(self, "v_proj", kv_heads * size), x), HONE_SHAPE(b, t, kv_heads, size));
    if (a->opts.rope_theta > 0) {
        hone_tensor *ramp = hone_tensor_new(graph->ctx, HONE_I32, HONE_SHAPE(t));
        for (int64_t i = 0; ramp && i < t; i++) ((int32_t *)ramp->data)[i] = (int32_t)i;
        hone_node *positions = hone_constant(graph, ramp);
        hone_tensor_free(ramp);
        q = hone_rope(q, positions, .theta = a->opts.rope_theta);
        k = hone_rope(k, positions, .theta = a->opts.rope_theta);
    }
    hone_node *y = hone_attention(q, k, v, .causal = a->opts.causal);
    return hone_apply(projection(self, "o_proj", s.dim[2]), hone_reshape(y, HONE_SHAPE(b, t, a->heads * size)));
}

hone_layer *hone_self_attention_opt(hone_ctx *ctx, int64_t heads, const hone_self_attention_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    int64_t kv = opts && opts->kv_heads ? opts->kv_heads : heads;
    if (heads < 1 || kv < 1 || heads % kv) {
        hone__fail(ctx, HONE_INVALID, "self_attention: heads must be a multiple of kv_heads, not %lld and %lld",
                   (long long)heads, (long long)kv);
        return NULL;
    }
    attention *a = (attention *)(void *)hone_layer_new(ctx, sizeof *a, "self_attention", forward);
    if (!a) return NULL;
    a->heads = heads;
    if (opts) a->opts = *opts;
    return &a->base;
}

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const attention *a = (const attention *)(const void *)like;
    return hone_self_attention_opt(ctx, a->heads, &a->opts);
}
static const hone__field fields[] = {HONE__FIELD(attention, "heads", heads, I64),
                                     HONE__FIELD(attention, "kv_heads", opts.kv_heads, I64),
                                     HONE__FIELD(attention, "head_size", opts.head_size, I64),
                                     HONE__FIELD(attention, "causal", opts.causal, BOOL),
                                     HONE__FIELD(attention, "no_bias", opts.no_bias, BOOL),
                                     HONE__FIELD(attention, "rope_theta", opts.rope_theta, F64),
                                     {0}};
const hone__layer_kind hone__self_attention_kind = {"self_attention", forward, sizeof(attention), fields, again};
