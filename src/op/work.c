/* What a prepared call has to do, for profiles: matrix products and bytes. The one place that counts them. */
#include "graph/plan.h"
#include "op/nn.h"

/* An attribute of a call by its name; 0: it has none of that name. */
static bool flag(const hone__call *call, const char *name)
{
    for (const hone__attr *a = call->op->attrs; a && a->name; a++)
        if (!strcmp(a->name, name) && a->type == HONE__ATTR_BOOL)
            return *(const bool *)(const void *)((const char *)call->attr + a->offset);
    return false;
}

static void add_product(hone__work *work, int64_t batch, int64_t m, int64_t n, int64_t k, hone_dtype type, double times)
{
    double flops = 2.0 * times * (double)(batch * m) * (double)(n * k);
    if (flops > 0) work->product[work->n_products++] = (hone__product){batch, m, n, k, type, flops};
}

/* ---- bytes ---- */

/* Elements that differ: broadcast axes count once. */
static double view_bytes(const hone__view *v)
{
    int64_t count = 1;
    if (!v->data) return 0;
    if (hone__is_blocks(v->dtype)) return (double)hone__dtype_bytes(v->dtype, hone_shape_count(v->shape));
    for (int i = 0; i < v->shape.rank; i++)
        if (v->stride[i]) count *= v->shape.dim[i];
    return (double)hone__dtype_bytes(v->dtype, count);
}

/* Weights, caches, gradients: what was there before the run or is there after it. */
static bool outlives(const hone__exec *e, const void *data)
{
    const char *arena = e->plan->arena, *at = data;
    return at < arena || at >= arena + e->plan->arena_bytes;
}

/* Of a product's weight: as it is stored or in the type of the other operand, whatever is smaller. */
static double weight_bytes(const hone__exec *e, int i)
{
    const hone__view *v = &e->in[i];
    double stored = view_bytes(v), cast = (double)hone__dtype_bytes(e->in[0].dtype, hone_shape_count(v->shape));
    return i && e->variable[i] && hone__is_float(e->in[0].dtype) ? HONE_MIN(stored, cast) : stored;
}

static void count_bytes(const hone__exec *e, hone__work *work, double seen)
{
    const hone_op *op = e->call ? e->call->op : &hone__op_copy;
    bool attends = op == &hone__op_attention || op == &hone__op_attention_dropout || op == &hone__op_attention_grad;
    double results = 0;
    for (int o = 0; o < e->n_out; o++) results += view_bytes(&e->out[o]);
    for (int i = 0; i < e->n_in; i++) {
        if (!e->in[i].data) continue;
        double bytes = op->flags & HONE__COMPUTE ? weight_bytes(e, i) : view_bytes(&e->in[i]);
        if (attends && (i == 1 || i == 2)) /* of a row what is seen; with rows chosen, of each of those */
            bytes *= HONE_MIN(seen * (double)e->in[0].shape.dim[0] / (double)HONE_MAX(e->in[i].shape.dim[0], (int64_t)1), 1.0);
        if (op == &hone__op_gather && i == 0) bytes = HONE_MIN(bytes, results); /* rows, not the whole table */
        work->bytes += bytes;
        if (outlives(e, e->in[i].data)) work->read += bytes;
    }
    for (int o = 0; o < e->n_out; o++) {
        double bytes = view_bytes(&e->out[o]) * (e->accumulate && o == 0 ? 2 : 1);
        if (!e->out[o].data) continue;
        if (op == &hone__op_cache_write) bytes = view_bytes(&e->in[0]);
        if (op == &hone__op_scatter_add && e->accumulate) bytes = HONE_MIN(bytes, 2 * view_bytes(&e->in[0]));
        work->bytes += bytes;
        if (outlives(e, e->out[o].data)) work->updated += bytes;
    }
}

/* ---- products ---- */

static int32_t limit_at(const hone__view *v, int64_t b, int64_t t)
{
    return ((const int32_t *)v->data)[b * v->stride[0] + t * v->stride[1]];
}

/* The share of all pairs of queries and keys that see each other; begin and end are inputs `limits` and `limits` + 1. */
static double share_seen(const hone__exec *e, int limits)
{
    hone_shape q = e->in[0].shape;
    int64_t tq = q.dim[1], tk = e->in[1].shape.dim[1], seen = 0;
    const hone__view *begin = limits < e->n_in ? &e->in[limits] : NULL;
    const hone__view *end = limits + 1 < e->n_in ? &e->in[limits + 1] : NULL;
    bool causal = flag(e->call, "causal");
    for (int64_t b = 0; b < q.dim[0]; b++)
        for (int64_t t = 0; t < tq; t++) {
            int64_t from = begin && begin->data ? HONE_MAX(limit_at(begin, b, t), 0) : 0, to = tk;
            if (end && end->data) to = HONE_MIN(to, limit_at(end, b, t));
            if (causal) to = HONE_MIN(to, t + 1 + tk - tq);
            seen += HONE_MAX(to - from, (int64_t)0);
        }
    double all = (double)(q.dim[0] * tq) * (double)tk;
    return all > 0 ? (double)seen / all : 0;
}

/* Forward q k^T and p v; backward both once more, and dq, dk, dv. */
static double attention(const hone__exec *e, hone__work *work, bool backward)
{
    hone_shape q = e->in[0].shape;
    int64_t heads = q.dim[0] * q.dim[2], tq = q.dim[1], tk = e->in[1].shape.dim[1], d = q.dim[3];
    double seen = share_seen(e, backward ? 6 : 3);
    hone_dtype type = e->in[0].dtype;
    add_product(work, heads, tq, tk, d, type, backward ? 2 * seen : seen); /* scores; and of the gradient */
    add_product(work, heads, tq, d, tk, type, seen);
    if (backward) add_product(work, heads, tk, d, tq, type, 2 * seen); /* dk, dv */
    return seen;
}

static void linear_cross_entropy(const hone__exec *e, hone__work *work, bool backward)
{
    int64_t n = hone__row_count(e->in[0].shape), d = e->in[1].shape.dim[1], v = e->in[1].shape.dim[0];
    hone_dtype type = e->in[0].dtype;
    add_product(work, 1, n, v, d, type, 1);
    const hone__view *dx = &e->out[backward ? 1 : 3];
    if (dx->data && hone_shape_count(dx->shape) > 0) add_product(work, 1, n, d, v, type, 1);
    if (backward && e->out[0].data) add_product(work, 1, v, d, n, type, 1);
}

static void matmul(const hone__exec *e, hone__work *work)
{
    hone_shape a = e->in[0].shape, c = e->out[0].shape;
    int64_t m = c.dim[c.rank - 2], n = c.dim[c.rank - 1], batch = 1;
    for (int i = 0; i < c.rank - 2; i++) batch *= c.dim[i];
    int64_t k = a.dim[a.rank - (flag(e->call, "transpose_a") ? 2 : 1)];
    add_product(work, batch, m, n, k, e->in[0].dtype, 1);
}

/* As the product of windows with filters that it is: y [N, out, ...] of the forward pass, w [out, in / groups, ...]. */
static void conv(hone__work *work, const hone__view *y, const hone__view *w)
{
    int64_t filters = HONE_MAX(w->shape.dim[0], (int64_t)1), places = hone_shape_count(y->shape) / filters;
    add_product(work, 1, places, filters, hone_shape_count(w->shape) / filters, y->dtype, 1);
}

static void linear(const hone__exec *e, hone__work *work)
{
    int64_t rows = hone__row_count(e->in[0].shape), n = hone__row_length(e->out[0].shape), k = hone__row_length(e->in[0].shape);
    hone_dtype type = e->in[0].dtype;
    add_product(work, 1, rows, n, k, type, 1);
    if (e->n_in <= 3 || !e->in[3].data) return;
    int64_t rank = hone_shape_count(e->in[3].shape) / HONE_MAX(k, (int64_t)1);
    add_product(work, 1, rows, rank, k, type, 1);
    add_product(work, 1, rows, n, rank, type, 1);
}

/* The product of the state, step by step. */
static void recurrent(const hone__exec *e, hone__work *work, const hone__view *x, bool backward)
{
    hone_shape w = e->in[backward ? 0 : 1].shape;
    int64_t n = w.dim[backward ? 1 : 0], k = w.dim[backward ? 0 : 1];
    add_product(work, x->shape.dim[0], x->shape.dim[1], n, k, e->in[0].dtype, 1);
}

void hone__exec_work(const hone__exec *e, hone__work *work)
{
    *work = (hone__work){0};
    double seen = 1;
    const hone_op *op = e->call ? e->call->op : NULL;
    if (op == &hone__op_linear)
        linear(e, work);
    else if (op == &hone__op_matmul)
        matmul(e, work);
    else if (op == &hone__op_attention || op == &hone__op_attention_dropout || op == &hone__op_attention_grad)
        seen = attention(e, work, op == &hone__op_attention_grad);
    else if (op == &hone__op_linear_cross_entropy || op == &hone__op_linear_cross_entropy_grad)
        linear_cross_entropy(e, work, op == &hone__op_linear_cross_entropy_grad);
    else if (op == &hone__op_linear_cross_entropy_dweight)
        add_product(work, 1, e->out[0].shape.dim[0], e->out[0].shape.dim[1], hone__row_count(e->in[1].shape), e->in[1].dtype, 1);
    else if (op == &hone__op_recurrent)
        recurrent(e, work, &e->in[0], false);
    else if (op == &hone__op_recurrent_grad)
        recurrent(e, work, &e->in[1], true);
    else if (op == &hone__op_conv)
        conv(work, &e->out[0], &e->in[1]);
    else if (op == &hone__op_conv_input_grad)
        conv(work, &e->in[0], &e->in[1]);
    else if (op == &hone__op_conv_weight_grad)
        conv(work, &e->in[1], &e->out[0]);
    count_bytes(e, work, seen);
}
