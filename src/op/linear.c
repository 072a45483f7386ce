/* Products with a weight: packed once for its variable, read from blocks where that is faster. */
#include "kernel/matmul.h"
#include "kernel/quantized.h"
#include "op/op.h"

struct linear_attr {
    bool transposed; /* contract over w's first axis instead: y = x w, the backward direction */
    int activation;  /* one whose slope its output tells: none, relu, sigmoid, tanh */
};
static const hone__attr attrs[] = {HONE__ATTR(struct linear_attr, transposed, BOOL),
                                   HONE__ATTR(struct linear_attr, activation, INT), {0}};

static bool shape(hone__call *call)
{
    const struct linear_attr *t = call->attr;
    if (!hone__want_same_real(call, 0, 1) || !hone__want_rank(call, 0, 1)) return false;
    hone_shape x = call->in[0]->shape, w = call->in[1]->shape, y = x;
    if (w.rank != 2) return hone__refuse(call, HONE_SHAPE, "the weight must be [out, in], not %s", HONE__SHAPE_STR(w));
    int64_t k = w.dim[t->transposed ? 0 : 1], n = w.dim[t->transposed ? 1 : 0];
    if (x.dim[x.rank - 1] != k)
        return hone__refuse(call, HONE_SHAPE, "input has %lld features, weight expects %lld (input shape %s)",
                            (long long)x.dim[x.rank - 1], (long long)k, HONE__SHAPE_STR(x));
    if (call->n_in > 2 && call->in[2]) {
        if (!hone__want_same_real(call, 0, 2)) return false;
        hone_shape b = call->in[2]->shape;
        if (b.rank != 1 || b.dim[0] != n)
            return hone__refuse(call, HONE_SHAPE, "the bias must be [%lld], not %s", (long long)n, HONE__SHAPE_STR(b));
    }
    y.dim[y.rank - 1] = n;
    return hone__set_out(call, 0, call->in[0]->dtype, y);
}

typedef struct prepared {
    hone_ctx *ctx;
    hone__matmul *matmul;
    const void *weight;      /* packed or plain; NULL: in[1] as it lies */
    hone__packer *packer;    /* packs in[1] into scratch at each run */
    size_t packed_bytes;     /* of scratch, in front of the product's own */
    hone__quantized *quantized;
} prepared;

static void free_prepared(void *state)
{
    prepared *p = state;
    if (!p) return;
    hone__matmul_free(p->matmul);
    hone__quantized_free(p->quantized);
    hone__packer_free(p->packer);
    hone__free(p->ctx, p);
}

/* A weight that is a variable: in the product's own layout, or plain in the compute dtype. */
static bool derive_weight(hone__exec *e, prepared *p, hone__variable *w, hone__matmul *m, hone_dtype compute)
{
    /* A square weight has the same layout in both directions, but not the same contents. */
    const struct linear_attr *t = e->attr;
    uint64_t layout = hone__matmul_layout(m);
    if (layout) layout = hone__key(layout, t->transposed) | 1;
    hone__derived *d = layout ? hone__find_derived(w, layout) : hone__derive_plain(w, compute);
    if (layout && !d) d = hone__derive_packed(w, layout, hone__matmul_packed_bytes(m), hone__packer_new(m));
    if (!d || !hone__plan_uses(e->plan, w, d)) return false;
    p->weight = d->data;
    return true;
}

/* A weight that is being trained changes with each step, so a packed copy would serve one product in each direction and
   micro-batch: it is packed where it is used, into scratch that all layers share. With fewer rows micro-batches would feel
   that, and activations leave room for the copies. */
enum { PACK_AT_USE_ROWS = 1024 };
static bool packs_at_use(const hone__variable *w, int64_t rows)
{
    return w->trainable && w->grad && w->stored == HONE_F32 && rows >= PACK_AT_USE_ROWS;
}

/* A frozen weight that is read in both directions, in plain elements: one copy for both, at 4 % of the products' speed. */
static bool shares_plain(const hone__exec *e, hone__variable *w)
{
    if (w->by_hand || (w->trainable && w->grad) || e->in[0].dtype != HONE_BF16) return false;
    return e->call->graph->mode == HONE_TRAIN || hone__find_derived(w, hone__plain_key(HONE_BF16));
}

static hone_status prepare(hone__exec *e)
{
    const struct linear_attr *t = e->attr;
    prepared *p = hone__calloc(e->ctx, 1, sizeof *p);
    if (!p) return e->ctx->status;
    p->ctx = e->ctx;
    e->state = p;
    e->free_state = free_prepared;
    hone__view *x = &e->in[0], *w = &e->in[1], *y = &e->out[0];
    hone_shape xs = x->shape;
    hone__variable *variable = e->variable[1];
    int64_t rows = hone__row_count(xs), k = hone__row_length(xs), n = hone__row_length(y->shape);
    if (variable && hone__is_blocks(variable->stored) && x->dtype == HONE_BF16 && !t->transposed && e->plan) {
        p->quantized = hone__quantized_new(e->ctx, variable->stored, rows, n, k, variable->data);
        if (p->quantized) {
            e->scratch_size = hone__quantized_scratch(p->quantized);
            return HONE_OK;
        }
        if (!hone__ok(e->ctx)) return e->ctx->status;
    }
    hone__matmul_desc d = {.batch = 1, .m = rows, .n = n, .k = k, .ab = x->dtype, .c = y->dtype, .a_row = k, .a_col = 1,
                           .b_row = t->transposed ? w->shape.dim[1] : 1, .b_col = t->transposed ? 1 : w->shape.dim[1],
                           .c_row = n, .bias = e->n_in > 2 && e->call->in[2] != NULL};
    /* f32 weights that are trained are read where they lie; others are copied anyway, so into the best layout. An
       eager graph has no plan to keep a packed copy for. */
    bool derive = variable && variable->stored != x->dtype;
    if (derive && hone__matmul_reads(&d, variable->stored)) {
        d.b_raw = true;
        d.b_stored = variable->stored;
        derive = false;
    }
    d.pack_b = derive && e->plan && (x->dtype == HONE_BF16 || x->dtype == HONE_F32) && !shares_plain(e, variable);
    if (!(p->matmul = hone__matmul_new(e->ctx, &d))) return e->ctx->status;
    e->scratch_size = hone__matmul_scratch(p->matmul);
    if (d.pack_b && packs_at_use(variable, rows) && hone__matmul_layout(p->matmul)) {
        p->packed_bytes = (hone__matmul_packed_bytes(p->matmul) + HONE_ALIGN - 1) & ~(size_t)(HONE_ALIGN - 1);
        e->scratch_size += p->packed_bytes;
        return (p->packer = hone__packer_new(p->matmul)) ? HONE_OK : e->ctx->status;
    }
    if (derive && e->plan && !derive_weight(e, p, variable, p->matmul, x->dtype)) return e->ctx->status;
    return HONE_OK;
}

static void activate_part(void *arg, int64_t begin, int64_t end)
{
    hone__exec *e = arg;
    const struct linear_attr *t = e->attr;
    hone__unary f = t->activation == HONE_RELU ? HONE__RELU : t->activation == HONE_TANH ? HONE__TANH : HONE__SIGMOID;
    void *y = hone__at(&e->out[0], begin);
    e->k->unary(f, y, e->out[0].dtype, y, e->out[0].dtype, 1, end - begin, 0, 0);
}

static hone_status run(hone__exec *e)
{
    const struct linear_attr *t = e->attr;
    const prepared *p = e->state;
    hone__view *y = &e->out[0];
    int64_t count = hone_shape_count(y->shape);
    if (count == 0) return HONE_OK;
    const void *bias = e->n_in > 2 ? e->in[2].data : NULL;
    hone_status status = HONE_OK;
    if (p->quantized)
        hone__quantized_run(p->quantized, e->in[0].data, e->in[0].dtype, bias, y->data, y->dtype, e->scratch);
    else {
        const void *w = p->packer ? e->scratch : p->weight ? p->weight : e->in[1].data;
        if (p->packer) status = hone__packer_run(p->packer, e->scratch, e->variable[1]->data, e->variable[1]->stored);
        if (status == HONE_OK)
            status = hone__matmul_run(p->matmul, e->in[0].data, w, bias, y->data, (char *)e->scratch + p->packed_bytes);
    }
    if (t->activation && status == HONE_OK) hone__parallel_for(e->ctx, count, HONE__GRAIN, activate_part, e);
    return status;
}

static hone_node *linear(hone_node *x, hone_node *w, hone_node *bias, bool transposed, int activation)
{
    if (!x || !w) return NULL;
    return hone__record(x->call->graph, &hone__op_linear, bias ? 3 : 2, (hone_node *[]){x, w, bias},
                        &(struct linear_attr){transposed, activation});
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    const struct linear_attr *t = call->attr;
    hone_node *x = call->in[0], *w = call->in[1], *y = &call->out[0], *g = dy[0];
    switch (t->activation) {
    case HONE_RELU: g = hone__unary_grad(y, g, HONE__RELU, 0, 0); break; /* y > 0 exactly where the sum is */
    case HONE_TANH: g = hone_mul(g, hone_affine(hone_square(y), -1, 1)); break;
    case HONE_SIGMOID: g = hone_mul(g, hone_mul(y, hone_affine(y, -1, 1))); break;
    default: break;
    }
    if (wanted[0] && !(d[0] = linear(g, w, NULL, !t->transposed, 0))) return false;
    int64_t rows = hone__row_count(x->shape);
    if (wanted[1]) {
        /* dw = g^T x [out, in], all leading axes flattened; transposed the other way round. */
        hone_node *g2 = hone_reshape(g, HONE_SHAPE(rows, hone__row_length(g->shape)));
        hone_node *x2 = hone_reshape(x, HONE_SHAPE(rows, hone__row_length(x->shape)));
        d[1] = t->transposed ? hone_matmul(x2, g2, .transpose_a = true) : hone_matmul(g2, x2, .transpose_a = true);
        if (!d[1]) return false;
    }
    if (call->n_in > 2 && wanted[2] && !(d[2] = hone__reduce_to(g, call->in[2]->shape))) return false;
    return true;
}

#define LINEAR(...) .n_in = 3, .in = {__VA_ARGS__}
static const hone__sample samples[] = {
    {.name = "bias", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}})},
    {.name = "plain", .n_in = 2, .in = {{.shape = {3, {2, 5, 7}}}, {.shape = {2, {4, 7}}}}},
    {.name = "vector", .n_in = 2, .in = {{.shape = {1, {7}}}, {.shape = {2, {4, 7}}}}},
    {.name = "transposed", .n_in = 2, .in = {{.shape = {3, {2, 5, 4}}}, {.shape = {2, {4, 7}}}},
     .attr = &(struct linear_attr){true, 0}},
    {.name = "relu", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}}),
     .attr = &(struct linear_attr){false, HONE_RELU}},
    {.name = "tanh", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}}),
     .attr = &(struct linear_attr){false, HONE_TANH}},
    {.name = "sigmoid", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}}),
     .attr = &(struct linear_attr){false, HONE_SIGMOID}},
    {.name = "large", LINEAR({.shape = {2, {65, 96}}}, {.shape = {2, {80, 96}}}, {.shape = {1, {80}}}), .no_grad = true,
     .tolerance = 1e-4},
    {.name = "features", .n_in = 2, .in = {{.shape = {2, {32, 12}}}, {.shape = {2, {4, 10}}}},
     .refused = "input has 12 features, weight expects 10 (input shape [32, 12])"},
    {.name = "bias_size", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {5}}}),
     .refused = "the bias must be [4]"},
    {0}};

const hone_op hone__op_linear = {.name = "linear", .doc = "y = activation(x w^T + bias)", .n_in = 3, .n_required = 2,
                                 .n_out = 1, .flags = HONE__COMPUTE, .keep_in = 4, .raw_in = 2,
                                 .attr_size = sizeof(struct linear_attr), .attrs = attrs, .shape = shape,
                                 .prepare = prepare, .run = run, .vjp = vjp, .samples = samples};

hone_node *hone_linear_opt(hone_node *x, hone_node *w, hone_node *bias, const hone_linear_opts *opts)
{
    hone_activation a = opts ? opts->activation : HONE_NO_ACTIVATION;
    bool fused = a == HONE_NO_ACTIVATION || a == HONE_RELU || a == HONE_TANH || a == HONE_SIGMOID;
    hone_node *y = linear(x, w, bias, false, fused ? (int)a : 0);
    return fused ? y : hone_activate(y, a);
}

hone_node *hone_activate(hone_node *x, hone_activation activation)
{
    switch (activation) {
    case HONE_NO_ACTIVATION: return x;
    case HONE_RELU: return hone_relu(x);
    case HONE_SIGMOID: return hone_sigmoid(x);
    case HONE_TANH: return hone_tanh(x);
    case HONE_GELU: return hone_gelu(x);
    case HONE_GELU_TANH: return hone_gelu_tanh(x);
    case HONE_SILU: return hone_silu(x);
    case HONE_SOFTPLUS: return hone_softplus(x);
    case HONE_LEAKY_RELU: return hone_leaky_relu(x, 0.01);
    case HONE_SOFTMAX: return hone_softmax(x);
    }
    if (x) hone__fail(x->call->graph->ctx, HONE_INVALID, "activation %d does not exist", (int)activation);
    return NULL;
}
