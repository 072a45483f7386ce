/* Multi-head attention: Vaswani et al. 2017, section 3.2. */
#include "nn/nn.h"

typedef struct attention {
    hone_layer base;
    int64_t heads;
    hone_multi_head_attention_opts opts;
} attention;

enum { QUERY, KEY, VALUE, MASK, LENGTHS, INPUTS };

/* x [B, T, ...] as heads [B, T, heads, size], turned by their positions if that is wanted. */
static hone_node *heads_of(attention *a, const char *name, hone_node *x, int64_t heads, int64_t size, bool turned)
{
    hone_layer *dense = hone__dense_child(&a->base, name, heads * size, &(hone_dense_opts){.no_bias = a->opts.no_bias});
    hone_node *y = hone_apply(dense, x);
    if (y) y = hone_reshape(y, HONE_SHAPE(x->shape.dim[0], x->shape.dim[1], heads, size));
    if (!turned || !y) return y;
    hone_ctx *ctx = a->base.ctx;
    hone_tensor *ramp = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(x->shape.dim[1]));
    for (int64_t i = 0; ramp && i < x->shape.dim[1]; i++) ((int32_t *)ramp->data)[i] = (int32_t)i;
    hone_node *positions = ramp ? hone_constant(y->call->graph, ramp) : NULL;
    hone_tensor_free(ramp);
    return hone_rope(y, positions, .theta = a->opts.rope_theta);
}

static bool fits(const attention *a, const hone_graph *graph, hone_node *const *in)
{
    hone_shape q = in[QUERY]->shape;
    if (q.rank != 3 || (!a->opts.head_size && (q.dim[2] < a->heads || q.dim[2] % a->heads))) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': wants [B, T, features], features a multiple of %lld heads, not %s",
                   a->base.type, graph->scope, (long long)a->heads, HONE__SHAPE_STR(q));
        return false;
    }
    hone_shape k = in[KEY]->shape, v = in[VALUE]->shape;
    if (k.rank != 3 || v.rank != 3 || k.dim[0] != q.dim[0] || v.dim[0] != q.dim[0] || k.dim[1] != v.dim[1]) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': key and value must be [%lld, T, ...], T the same, not %s and %s",
                   a->base.type, graph->scope, (long long)q.dim[0], HONE__SHAPE_STR(k), HONE__SHAPE_STR(v));
        return false;
    }
    const hone_node *lengths = in[LENGTHS];
    if (!lengths || (lengths->dtype == HONE_I32 && hone_shape_equal(lengths->shape, HONE_SHAPE(q.dim[0])))) return true;
    hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': the lengths must be i32 [%lld], not %s %s", a->base.type, graph->scope,
               (long long)q.dim[0], hone_dtype_name(lengths->dtype), HONE__SHAPE_STR(lengths->shape));
    return false;
}

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    attention *a = (attention *)(void *)self;
    hone_node *x[INPUTS] = {0};
    if (n > INPUTS) {
        hone__fail(graph->ctx, HONE_INVALID, "%s '%s': takes 1 to %d inputs, got %d", self->type, graph->scope, INPUTS, n);
        return NULL;
    }
    for (int i = 0; i < n; i++) x[i] = in[i];
    if (!x[KEY]) x[KEY] = x[QUERY];
    if (!x[VALUE]) x[VALUE] = x[KEY];
    if (!x[LENGTHS] && x[KEY]->time == 1) x[LENGTHS] = x[KEY]->lengths;
    if (!fits(a, graph, x)) return NULL;
    hone_shape s = x[QUERY]->shape;
    int64_t b = s.dim[0], t = s.dim[1], size = a->opts.head_size ? a->opts.head_size : s.dim[2] / a->heads;
    int64_t kv_heads = a->opts.kv_heads ? a->opts.kv_heads : a->heads;
    bool turned = a->opts.rope_theta > 0;
    hone_node *q = heads_of(a, "q_proj", x[QUERY], a->heads, size, turned);
    hone_node *k = heads_of(a, "k_proj", x[KEY], kv_heads, size, turned);
    hone_node *v = heads_of(a, "v_proj", x[VALUE], kv_heads, size, false);
    hone_node *end = x[LENGTHS] ? hone_broadcast_to(hone_reshape(x[LENGTHS], HONE_SHAPE(b, 1)), HONE_SHAPE(b, t)) : NULL;
    hone_node *y = hone_attention(q, k, v, .causal = a->opts.causal, .end = end, .mask = x[MASK], .dropout = a->opts.dropout);
    hone_layer *out = hone__dense_child(self, "o_proj", s.dim[2], &(hone_dense_opts){.no_bias = a->opts.no_bias});
    return hone_apply(out, hone_reshape(y, HONE_SHAPE(b, t, a->heads * size)));
}

static hone_layer *new_attention(hone_ctx *ctx, const char *type, int64_t heads, const hone_multi_head_attention_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_multi_head_attention_opts o = opts ? *opts : (hone_multi_head_attention_opts){0};
    int64_t kv = o.kv_heads ? o.kv_heads : heads;
    if (heads < 1 || kv < 1 || heads % kv) {
        hone__fail(ctx, HONE_INVALID, "%s: heads must be a multiple of kv_heads, not %lld and %lld", type, (long long)heads,
                   (long long)kv);
        return NULL;
    }
    if (o.head_size < 0 || !(o.dropout >= 0 && o.dropout < 1)) {
        hone__fail(ctx, HONE_INVALID, "%s: head_size must not be negative, dropout in [0, 1), not %lld and %g", type,
                   (long long)o.head_size, o.dropout);
        return NULL;
    }
    attention *a = (attention *)(void *)hone_layer_new(ctx, sizeof *a, type, forward);
    if (!a) return NULL;
    a->base.required_inputs = 1;
    a->base.keeps_lengths = a->base.mixes_last = true;
    a->heads = heads;
    a->opts = o;
    return &a->base;
}

hone_layer *hone_multi_head_attention_opt(hone_ctx *ctx, int64_t heads, const hone_multi_head_attention_opts *opts)
{
    return new_attention(ctx, "multi_head_attention", heads, opts);
}
hone_layer *hone_self_attention_opt(hone_ctx *ctx, int64_t heads, const hone_multi_head_attention_opts *opts)
{
    return new_attention(ctx, "self_attention", heads, opts);
}

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const attention *a = (const attention *)(const void *)like;
    return new_attention(ctx, like->type, a->heads, &a->opts);
}
static const hone__field fields[] = {HONE__FIELD(attention, "heads", heads, I64),
                                     HONE__FIELD(attention, "kv_heads", opts.kv_heads, I64),
                                     HONE__FIELD(attention, "head_size", opts.head_size, I64),
                                     HONE__FIELD(attention, "causal", opts.causal, BOOL),
                                     HONE__FIELD(attention, "no_bias", opts.no_bias, BOOL),
                                     HONE__FIELD(attention, "rope_theta", opts.rope_theta, F64),
                                     HONE__FIELD(attention, "dropout", opts.dropout, F64),
                                     {0}};
const hone__layer_kind hone__multi_head_attention_kind = {"multi_head_attention", forward, sizeof(attention), fields, again};
const hone__layer_kind hone__self_attention_kind = {"self_attention", forward, sizeof(attention), fields, again};
