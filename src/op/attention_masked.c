/* Attention with the whole matrix of scores, made of other ops: for what the fused op cannot leave out, an arbitrary mask
   (dropout on the weights then, too). All its inputs may have gradients. */
#include "op/nn.h"

#include <math.h>

/* What stands for the score of a hidden key: finite, so that a query that sees none has no NaN, and in bf16's range. */
static const double hidden_score = -1e30;

static hone_node *swap_heads(hone_node *x) { return hone_transpose(x, HONE_AXES(0, 2, 1, 3)); }

/* first, first + 1, ... as i32 [n] or [n, 1]. */
static hone_node *ramp(hone_graph *graph, hone_shape shape, int64_t first)
{
    hone_tensor *t = hone_tensor_new(graph->ctx, HONE_I32, shape);
    for (int64_t i = 0; t && i < shape.dim[0]; i++) ((int32_t *)t->data)[i] = (int32_t)(first + i);
    hone_node *node = t ? hone_constant(graph, t) : NULL;
    hone_tensor_free(t);
    return node;
}

/* Where neither is 0; a NULL: everywhere. */
static hone_node *both(hone_node *a, hone_node *b)
{
    return a ? hone_where(a, b, hone_fill(a->call->graph, HONE_U8, HONE_SCALAR, 0)) : b;
}

/* [B, Tq] -> [B, 1, Tq, 1] */
static hone_node *limit(hone_node *x)
{
    return hone_reshape(x, HONE_SHAPE(x->shape.dim[0], 1, x->shape.dim[1], 1));
}

/* Which keys a query sees, u8 (0: hidden), broadcast to [B, H, Tq, Tk]; NULL: all. */
static hone_node *visible(hone_node *q, int64_t tk, const hone_attention_opts *o)
{
    hone_graph *graph = q->call->graph;
    hone_node *key = o->causal || o->begin || o->end ? ramp(graph, HONE_SHAPE(tk), 0) : NULL, *seen = NULL;
    if (o->mask && o->mask->dtype == HONE_U8)
        seen = o->mask;
    else if (o->mask)
        seen = hone_greater(o->mask, hone_fill(graph, o->mask->dtype, HONE_SCALAR, hidden_score));
    int64_t tq = q->shape.dim[1];
    if (o->causal) seen = both(seen, hone_less_equal(key, ramp(graph, HONE_SHAPE(tq, 1), tk - tq)));
    if (o->begin) seen = both(seen, hone_greater_equal(key, limit(o->begin)));
    if (o->end) seen = both(seen, hone_less(key, limit(o->end)));
    return seen;
}

/* The refusals of the fused op, and of a mask that fits nothing. */
static bool fits(hone_node *q, hone_node *k, hone_node *v, const hone_attention_opts *o)
{
    hone_graph *graph = q->call->graph;
    hone_node *in[6] = {q, k, v, o->begin, o->end, o->rows};
    hone__call call = {.op = &hone__op_attention, .graph = graph, .scope = graph->scope, .n_in = 6, .in = in};
    if (!hone__attention_check(&call, 3)) return false;
    if (!o->mask) return true;
    hone_shape scores = HONE_SHAPE(q->shape.dim[0], q->shape.dim[2], q->shape.dim[1], k->shape.dim[1]), m = o->mask->shape;
    if (o->mask->dtype != HONE_U8 && o->mask->dtype != q->dtype)
        return hone__refuse(&call, HONE_DTYPE, "the mask must be u8 or %s, not %s", hone_dtype_name(q->dtype),
                            hone_dtype_name(o->mask->dtype));
    bool good = m.rank <= 4;
    for (int d = 0; d < m.rank && good; d++) good = m.dim[d] == 1 || m.dim[d] == scores.dim[d + 4 - m.rank];
    return good || hone__refuse(&call, HONE_SHAPE, "the mask %s cannot be broadcast to the scores [B, H, Tq, Tk], %s",
                                HONE__SHAPE_STR(m), HONE__SHAPE_STR(scores));
}

hone_node *hone__attention_masked(hone_node *q, hone_node *k, hone_node *v, const hone_attention_opts *o)
{
    hone_graph *graph = q->call->graph;
    if (!hone__ok(graph->ctx) || !fits(q, k, v, o)) return NULL;
    if (o->rows && !(k = hone_gather(k, o->rows, 0))) return NULL;
    if (o->rows && !(v = hone_gather(v, o->rows, 0))) return NULL;
    hone_shape s = q->shape, t = k->shape;
    int64_t b = s.dim[0], tq = s.dim[1], h = s.dim[2], d = s.dim[3], tk = t.dim[1], hkv = t.dim[2];
    /* The queries of the heads that share keys are rows of one product: [B, Hkv, H / Hkv * Tq, D]. */
    hone_node *rows = hone_affine(q, o->scale != 0 ? o->scale : 1 / sqrt((double)d), 0);
    rows = hone_reshape(swap_heads(rows), HONE_SHAPE(b, hkv, h / hkv * tq, d));
    hone_node *p = hone_matmul(rows, swap_heads(k), .transpose_b = true);
    p = hone_reshape(p, HONE_SHAPE(b, h, tq, tk));
    hone_node *seen = visible(q, tk, o);
    if (o->mask && o->mask->dtype != HONE_U8) p = hone_add(p, o->mask);
    if (seen) p = hone_where(seen, p, hone_fill(graph, q->dtype, HONE_SCALAR, hidden_score));
    p = hone_softmax(p);
    if (seen) p = hone_where(seen, p, hone_fill(graph, q->dtype, HONE_SCALAR, 0));
    p = hone_dropout(p, o->dropout);
    hone_node *y = hone_matmul(hone_reshape(p, HONE_SHAPE(b, hkv, h / hkv * tq, tk)), swap_heads(v));
    return swap_heads(hone_reshape(y, HONE_SHAPE(b, h, tq, d)));
}
