/* For test_ops.c: a sample's inputs, and running it in one way or another. Values are doubles throughout. */
#ifndef HONE_TEST_OP_SAMPLE_H
#define HONE_TEST_OP_SAMPLE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "op/op.h"

/* ---- values -------------------------------------------------------------------------------------------- */

typedef struct values {
    hone_dtype dtype;
    hone_shape shape;
    int64_t count;
    double *v;
} values;

static inline values new_values(hone_dtype dtype, hone_shape shape)
{
    int64_t count = hone_shape_count(shape);
    return (values){dtype, shape, count, calloc((size_t)count + 1, sizeof(double))};
}

static inline uint64_t sample_key(const hone_op *op, const hone__sample *s)
{
    return hone__key(hone__hash(op->name, strlen(op->name), 0), hone__hash(s->name, strlen(s->name), 0));
}

/* Standard normal, at least 0.05 from 0 and (in small inputs) 0.001 from each other: no kink, no tie. */
static inline double normal_element(uint64_t key, const values *x, int64_t i)
{
    double v = 1;
    for (uint64_t attempt = 0; attempt < 64; attempt++) {
        v = (double)hone__random_normal(key, (uint64_t)i * 64 + attempt);
        bool good = fabs(v) > 0.05;
        for (int64_t k = 0; k < i && good && x->count <= 512; k++) good = fabs(v - x->v[k]) > 1e-3;
        if (good) break;
    }
    return v;
}

/* Input i; reals can all be written as f32, so that every precision sees the same numbers. */
static inline values sample_input(const hone_op *op, const hone__sample *s, int i)
{
    const hone__sample_input *in = &s->in[i];
    values x = new_values(in->dtype, in->shape);
    uint64_t key = hone__key(sample_key(op, s), (uint64_t)i);
    double width = in->low == 0 && in->high == 0 ? 1 : in->high - in->low;
    int64_t row = hone__row_length(in->shape);
    for (int64_t e = 0; e < x.count; e++) {
        uint64_t at = (uint64_t)e;
        double v = 0;
        switch (in->fill) {
        case HONE__FILL_NORMAL:
            v = normal_element(key, &x, e);
            break;
        case HONE__FILL_UNIFORM:
            v = in->low + width * (double)hone__random_uniform(key, at);
            break;
        case HONE__FILL_INDEX:
            v = in->low + (double)hone__random_below(key, at, (uint64_t)width);
            break;
        case HONE__FILL_SOFTMAX:
            v = exp((double)hone__random_normal(key, at));
            break;
        case HONE__FILL_RAMP:
            v = in->low + (double)e;
            break;
        }
        x.v[e] = v;
    }
    for (int64_t r = 0; in->fill == HONE__FILL_SOFTMAX && r < x.count; r += row) {
        double sum = 0;
        for (int64_t e = 0; e < row; e++) sum += x.v[r + e];
        for (int64_t e = 0; e < row; e++) x.v[r + e] /= sum;
    }
    for (int64_t e = 0; e < x.count && hone__is_float(in->dtype); e++) x.v[e] = (double)(float)x.v[e];
    return x;
}

/* What output o is multiplied with before everything is added up to the loss. */
static inline values sample_weight(const hone_op *op, const hone__sample *s, int o, hone_shape shape)
{
    values w = new_values(HONE_F32, shape);
    uint64_t key = hone__key(sample_key(op, s), 1000 + (uint64_t)o);
    for (int64_t e = 0; e < w.count; e++) w.v[e] = (double)hone__random_normal(key, (uint64_t)e);
    return w;
}

static inline hone_tensor *to_tensor(hone_ctx *ctx, const values *x, hone_dtype dtype)
{
    hone_tensor *t = hone_tensor_new(ctx, dtype, x->shape);
    if (t) hone_tensor_write(t, 0, x->count, HONE_F64, x->v);
    return t;
}

/* x's values in the order of a view that lies in one piece, or back. */
static inline void lay_out(double *to, const double *from, const hone__view *view, bool back)
{
    int64_t count = hone_shape_count(view->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at = 0;
        for (int d = view->shape.rank - 1; d >= 0; d--) {
            at += rest % view->shape.dim[d] * view->stride[d];
            rest /= view->shape.dim[d];
        }
        to[back ? i : at] = from[back ? at : i];
    }
}

/* ---- running ------------------------------------------------------------------------------------------- */

typedef struct way {
    hone_dtype real;    /* f32 or f64 */
    hone_dtype compute; /* f32 or bf16 */
    bool eager;
    bool strided; /* inputs arrive as views that are not dense */
} way;

enum { MAX_IN = HONE__SAMPLE_INPUTS, MAX_OUT = 8, MAX_RESULT = MAX_IN + MAX_OUT + 1 };

/* Outputs, then the loss (if there is one), then the gradient of each real input. */
typedef struct result {
    int n, n_out, n_grad;
    bool has_loss;
    values value[MAX_RESULT];
    int grad_of[MAX_IN]; /* which input */
} result;

static inline void free_result(result *r)
{
    for (int i = 0; i < r->n; i++) free(r->value[i].v);
    *r = (result){0};
}

typedef struct recorded {
    hone_graph *graph;
    const hone_op *op;
    const hone__sample *sample;
    way how;
    hone_node *in[MAX_IN], *node[MAX_RESULT];
    values given[MAX_IN]; /* as the leaves hold them */
    int n_given;
    result r; /* counts only, until it is run */
} recorded;

static inline hone_dtype dtype_as(hone_dtype dtype, hone_dtype real)
{
    return dtype == HONE_F32 ? real : dtype;
}

static inline hone_node *leaf(recorded *c, values x)
{
    c->given[c->n_given++] = x;
    hone_dtype dtype = dtype_as(x.dtype, c->how.real);
    if (!c->how.eager) return hone_input(c->graph, "x", dtype, x.shape);
    hone_tensor *t = to_tensor(c->graph->ctx, &x, dtype);
    hone_node *node = t ? hone_constant(c->graph, t) : NULL;
    hone_tensor_free(t);
    return node;
}

/* x laid out so that a view of it, not dense, holds the sample's values: transposed, or every second
   element. */
static inline hone_node *strided_leaf(recorded *c, values x)
{
    int rank = x.shape.rank;
    if (rank == 0) return leaf(c, x);
    if (rank == 1) {
        values wide = new_values(x.dtype, HONE_SHAPE(2 * x.count + 1));
        for (int64_t i = 0; i < x.count; i++) wide.v[2 * i + 1] = x.v[i];
        free(x.v);
        return hone_slice(leaf(c, wide), 0, 1, 2 * x.count + 1, 2);
    }
    hone_axes order = {.count = rank};
    values turned = {.dtype = x.dtype, .shape = {.rank = rank}};
    for (int d = 0; d < rank; d++) {
        order.axis[d] = rank - 1 - d;
        turned.shape.dim[d] = x.shape.dim[rank - 1 - d];
    }
    turned = new_values(x.dtype, turned.shape);
    for (int64_t i = 0; i < x.count; i++) {
        int64_t rest = i, to = 0, step = 1;
        int64_t index[HONE_MAX_RANK];
        for (int d = rank - 1; d >= 0; d--) {
            index[d] = rest % x.shape.dim[d];
            rest /= x.shape.dim[d];
        }
        for (int d = 0; d < rank; d++) { /* the first axis now lies innermost */
            to += index[d] * step;
            step *= x.shape.dim[d];
        }
        turned.v[to] = x.v[i];
    }
    free(x.v);
    return hone_transpose(leaf(c, turned), order);
}

static inline bool has_gradient(const hone_op *op, int o, const hone_node *y)
{
    return (y->dtype == HONE_F32 || y->dtype == HONE_F64) && !(op->aux_out >> o & 1);
}

static inline hone_node *weighted_sum(recorded *c, hone_node *y, int o)
{
    values w = sample_weight(c->op, c->sample, o, y->shape);
    hone_tensor *t = to_tensor(c->graph->ctx, &w, y->dtype);
    hone_node *weight = t ? hone_constant(c->graph, t) : NULL;
    hone_tensor_free(t);
    free(w.v);
    return hone_sum(hone_mul(y, weight), HONE_ALL_AXES, false);
}

static inline void free_recorded(recorded *c)
{
    for (int i = 0; i < c->n_given; i++) free(c->given[i].v);
    hone_graph_release(c->graph);
    *c = (recorded){0};
}

/* Records the op alone: c->node[0..n_out). NULL: refused. */
static inline hone_node *record_op(hone_ctx *ctx, const hone_op *op, const hone__sample *s, way how,
                                   recorded *c)
{
    *c = (recorded){.op = op, .sample = s, .how = how, .graph = hone_graph_new(ctx, .eager = how.eager)};
    for (int i = 0; i < s->n_in; i++)
        if (!s->in[i].absent) {
            values x = sample_input(op, s, i);
            c->in[i] = how.strided ? strided_leaf(c, x) : leaf(c, x);
        }
    hone_node *y = hone__record(c->graph, op, s->n_in, c->in, s->attr);
    if (!y) return NULL;
    c->r.n = c->r.n_out = op->n_out;
    for (int o = 0; o < op->n_out; o++) c->node[o] = &y->call->out[o];
    return y;
}

static inline hone_node *record_loss(recorded *c)
{
    hone_node *loss = NULL;
    for (int o = 0; o < c->r.n_out; o++) {
        if (!has_gradient(c->op, o, c->node[o])) continue;
        hone_node *term = weighted_sum(c, c->node[o], o);
        loss = loss ? hone_add(loss, term) : term;
    }
    return loss;
}

/* The op, the loss and the gradients. */
static inline bool record_all(hone_ctx *ctx, const hone_op *op, const hone__sample *s, way how, recorded *c)
{
    if (!record_op(ctx, op, s, how, c)) return false;
    hone_node *wrt[MAX_IN], *loss = op->vjp ? record_loss(c) : NULL;
    int n = 0;
    for (int i = 0; i < s->n_in && loss; i++) {
        if (!c->in[i] || c->in[i]->dtype != how.real || c->in[i]->dtype != loss->dtype) continue;
        c->r.grad_of[n] = i;
        wrt[n++] = c->in[i];
    }
    if (n) {
        c->node[c->r.n++] = loss;
        c->r.has_loss = true;
        if (hone_grad(loss, n, wrt, &c->node[c->r.n]) != HONE_OK) return false;
        c->r.n += n;
        c->r.n_grad = n;
    }
    return hone__ok(ctx);
}

static inline void put_inputs(hone__plan *plan, const recorded *c)
{
    for (int i = 0; i < c->n_given; i++) {
        hone__view *to = hone__plan_input(plan, i);
        if (to->data) hone__convert(to->data, to->dtype, c->given[i].v, HONE_F64, c->given[i].count);
    }
}

static inline values read_view(const hone__view *view)
{
    values x = new_values(view->dtype, view->shape);
    hone__convert(x.v, HONE_F64, view->data, view->dtype, x.count);
    return x;
}

static const hone__run_info sample_info = {0};

/* Runs what was recorded; r's values are the caller's to free. */
static inline bool run_recorded(recorded *c, result *r)
{
    hone_ctx *ctx = c->graph->ctx;
    *r = c->r;
    r->n = 0;
    if (c->how.eager) {
        for (int i = 0; i < c->r.n; i++) {
            values x = new_values(c->node[i]->dtype, c->node[i]->shape);
            r->value[r->n++] = x;
            if (hone_node_read(c->node[i], x.count, HONE_F64, x.v) != HONE_OK) return false;
        }
        return true;
    }
    hone__plan *plan = hone__plan_new(c->graph, c->r.n, c->node, c->how.compute);
    if (!plan) return false;
    put_inputs(plan, c);
    bool ok = hone__plan_run(plan, &sample_info) == HONE_OK;
    for (int i = 0; ok && i < c->r.n; i++) r->value[r->n++] = read_view(hone__plan_output(plan, i));
    hone__plan_free(plan);
    return ok && hone__ok(ctx);
}

/* Both at once. */
static inline bool run_sample(hone_ctx *ctx, const hone_op *op, const hone__sample *s, way how, result *r)
{
    recorded c;
    *r = (result){0};
    bool ok = record_all(ctx, op, s, how, &c) && run_recorded(&c, r);
    free_recorded(&c);
    return ok;
}

/* ---- comparing ----------------------------------------------------------------------------------------- */

static inline double largest(const values *x)
{
    double most = 0;
    for (int64_t i = 0; i < x->count; i++)
        if (isfinite(x->v[i])) most = fmax(most, fabs(x->v[i]));
    return most;
}

/* The element that is farthest off, beyond tolerance (1 + largest); -1: none. Integers must be equal. */
static inline int64_t differs(const values *a, const values *b, double tolerance)
{
    if (a->count != b->count || !hone_shape_equal(a->shape, b->shape)) return 0;
    double allowed = hone__is_integer(b->dtype) ? 0 : tolerance * (1 + largest(b)), worst = allowed;
    int64_t at = -1;
    for (int64_t i = 0; i < a->count; i++) {
        double x = a->v[i], y = b->v[i];
        if (x == y || (isnan(x) && isnan(y))) continue;
        double off = isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY;
        if (off > worst) worst = off, at = i;
    }
    return at;
}

#endif
