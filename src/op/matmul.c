/* Batched matrix products of any strides. Products with a weight are linear.c. */
#include "kernel/matmul.h"
#include "op/op.h"

struct matmul_attr {
    bool transpose_a, transpose_b;
};
static const hone__attr attrs[] = {HONE__ATTR(struct matmul_attr, transpose_a, BOOL),
                                   HONE__ATTR(struct matmul_attr, transpose_b, BOOL), {0}};

static bool shape(hone__call *call)
{
    const struct matmul_attr *t = call->attr;
    if (!hone__want_same_real(call, 0, 1) || !hone__want_rank(call, 0, 2) || !hone__want_rank(call, 1, 2)) return false;
    hone_shape a = call->in[0]->shape, b = call->in[1]->shape, out;
    int64_t m = a.dim[a.rank - 2], k = a.dim[a.rank - 1], k2 = b.dim[b.rank - 2], n = b.dim[b.rank - 1], swap;
    if (t->transpose_a) swap = m, m = k, k = swap;
    if (t->transpose_b) swap = n, n = k2, k2 = swap;
    if (k != k2)
        return hone__refuse(call, HONE_SHAPE, "inner sizes differ: %s%s has %lld, %s%s has %lld", HONE__SHAPE_STR(a),
                            t->transpose_a ? " transposed" : "", (long long)k, HONE__SHAPE_STR(b),
                            t->transpose_b ? " transposed" : "", (long long)k2);
    out.rank = HONE_MAX(a.rank, b.rank);
    for (int d = 0; d < out.rank - 2; d++) {
        int da = d - (out.rank - a.rank), db = d - (out.rank - b.rank);
        int64_t x = da >= 0 ? a.dim[da] : 1, y = db >= 0 ? b.dim[db] : 1;
        if (x != y && x != 1 && y != 1)
            return hone__refuse(call, HONE_SHAPE, "batch axes of %s and %s cannot be broadcast together",
                                HONE__SHAPE_STR(a), HONE__SHAPE_STR(b));
        out.dim[d] = x == 1 ? y : x;
    }
    out.dim[out.rank - 2] = m;
    out.dim[out.rank - 1] = n;
    return hone__set_out(call, 0, call->in[0]->dtype, out);
}

/* The batch axes as one loop: merged to a single stride where they can be, else walked by run(). */
typedef struct prepared {
    hone__matmul *matmul;
    hone_ctx *ctx;
    hone__loop loop; /* over the batch axes that the product itself does not take */
} prepared;

static void free_prepared(void *state) /* two of them, see prepare */
{
    prepared *p = state;
    if (!p) return;
    hone__matmul_free(p[0].matmul);
    hone__matmul_free(p[1].matmul);
    hone__free(p->ctx, p);
}

/* The view without its last two axes. */
static hone__view batch_view(const hone__view *view)
{
    hone__view batch = *view;
    batch.shape.rank -= 2;
    return batch;
}

static bool describe(hone__exec *e, bool accumulate, prepared *p)
{
    const struct matmul_attr *t = e->attr;
    hone__view *a = &e->in[0], *b = &e->in[1], *c = &e->out[0];
    int ra = a->shape.rank, rb = b->shape.rank, rc = c->shape.rank;
    hone__view ba = batch_view(a), bb = batch_view(b), bc = batch_view(c);
    hone__loop_init(&p->loop, bc.shape, 3, (const hone__view *const[]){&bc, &ba, &bb});
    int last = p->loop.rank - 1;
    hone__matmul_desc d = {
        .batch = p->loop.dim[last], .m = c->shape.dim[rc - 2], .n = c->shape.dim[rc - 1],
        .k = a->shape.dim[t->transpose_a ? ra - 2 : ra - 1], .ab = a->dtype, .c = c->dtype,
        .a_row = a->stride[t->transpose_a ? ra - 1 : ra - 2], .a_col = a->stride[t->transpose_a ? ra - 2 : ra - 1],
        .b_row = b->stride[t->transpose_b ? rb - 1 : rb - 2], .b_col = b->stride[t->transpose_b ? rb - 2 : rb - 1],
        .c_row = c->stride[rc - 2], .c_batch = p->loop.stride[0][last], .a_batch = p->loop.stride[1][last],
        .b_batch = p->loop.stride[2][last], .accumulate = accumulate};
    return (p->matmul = hone__matmul_new(e->ctx, &d)) != NULL;
}

static hone_status prepare(hone__exec *e)
{
    /* Adding and overwriting are two primitives; a first write can be either, depending on the micro-batch. */
    prepared *p = hone__calloc(e->ctx, 2, sizeof *p);
    if (!p) return e->ctx->status;
    e->state = p;
    e->free_state = free_prepared;
    p[0].ctx = p[1].ctx = e->ctx;
    bool need_set = !e->accumulate, need_add = e->accumulate || e->first_write;
    bool ok = (!need_set || describe(e, false, &p[0])) && (!need_add || describe(e, true, &p[1]));
    for (int i = 0; i < 2; i++)
        if (p[i].matmul) e->scratch_size = HONE_MAX(e->scratch_size, hone__matmul_scratch(p[i].matmul));
    return ok ? HONE_OK : e->ctx->status;
}

static hone_status run(hone__exec *e)
{
    const prepared *p = (const prepared *)e->state + (e->accumulate ? 1 : 0);
    const hone__loop *loop = &p->loop;
    if (hone_shape_count(e->out[0].shape) == 0) return HONE_OK;
    int64_t outer = 1;
    for (int d = 0; d + 1 < loop->rank; d++) outer *= loop->dim[d];
    for (int64_t i = 0; i < outer; i++) {
        int64_t offset[3] = {0}, rest = i;
        for (int d = loop->rank - 2; d >= 0; d--) {
            for (int o = 0; o < 3; o++) offset[o] += rest % loop->dim[d] * loop->stride[o][d];
            rest /= loop->dim[d];
        }
        hone_status status = hone__matmul_run(p->matmul, hone__at(&e->in[0], offset[1]), hone__at(&e->in[1], offset[2]),
                                              NULL, hone__at(&e->out[0], offset[0]), e->scratch);
        if (status != HONE_OK) return status;
    }
    return HONE_OK;
}

static hone_node *product(hone_node *a, hone_node *b, bool ta, bool tb)
{
    if (!a || !b) return NULL;
    return hone__record(a->call->graph, &hone__op_matmul, 2, (hone_node *[]){a, b}, &(struct matmul_attr){ta, tb});
}

static bool vjp(hone__call *call, hone_node *const *d_out, const bool *wanted, hone_node **d)
{
    const struct matmul_attr *t = call->attr;
    hone_node *a = call->in[0], *b = call->in[1], *dc = d_out[0];
    if (wanted[0]) {
        hone_node *g = t->transpose_a ? product(b, dc, t->transpose_b, true) : product(dc, b, false, !t->transpose_b);
        if (!(d[0] = hone__reduce_to(g, a->shape))) return false;
    }
    if (wanted[1]) {
        hone_node *g = t->transpose_b ? product(dc, a, true, t->transpose_a) : product(a, dc, !t->transpose_a, false);
        if (!(d[1] = hone__reduce_to(g, b->shape))) return false;
    }
    return true;
}

#define TWO(...) .n_in = 2, .in = {__VA_ARGS__}
static const hone__sample samples[] = {
    {.name = "plain", TWO({.shape = {2, {3, 5}}}, {.shape = {2, {5, 4}}})},
    {.name = "ta", TWO({.shape = {2, {5, 3}}}, {.shape = {2, {5, 4}}}), .attr = &(struct matmul_attr){true, false}},
    {.name = "tb", TWO({.shape = {2, {3, 5}}}, {.shape = {2, {4, 5}}}), .attr = &(struct matmul_attr){false, true}},
    {.name = "tatb", TWO({.shape = {2, {5, 3}}}, {.shape = {2, {4, 5}}}), .attr = &(struct matmul_attr){true, true}},
    {.name = "batched", TWO({.shape = {3, {2, 3, 5}}}, {.shape = {3, {2, 5, 4}}})},
    {.name = "broadcast", TWO({.shape = {4, {2, 1, 3, 5}}}, {.shape = {3, {3, 5, 2}}})},
    {.name = "weight", TWO({.shape = {3, {2, 3, 5}}}, {.shape = {2, {5, 4}}})},
    {.name = "tile", TWO({.shape = {2, {37, 29}}}, {.shape = {2, {29, 67}}}), .tolerance = 1e-4},
    {.name = "wide", TWO({.shape = {2, {65, 300}}}, {.shape = {2, {300, 33}}}), .no_grad = true, .tolerance = 1e-4},
    {.name = "vector", TWO({.shape = {2, {1, 7}}}, {.shape = {2, {7, 1}}})},
    {.name = "empty", TWO({.shape = {2, {0, 5}}}, {.shape = {2, {5, 4}}})},
    {.name = "inner", TWO({.shape = {2, {3, 5}}}, {.shape = {2, {4, 5}}}), .refused = "inner sizes differ"},
    {.name = "batch", TWO({.shape = {3, {2, 3, 5}}}, {.shape = {3, {3, 5, 4}}}), .refused = "cannot be broadcast"},
    {.name = "rank", TWO({.shape = {1, {5}}}, {.shape = {2, {5, 4}}}), .refused = "needs at least 2 axes"},
    {0}};

const hone_op hone__op_matmul = {.name = "matmul", .doc = "C = A B over the last two axes, the others broadcast",
                                 .n_in = 2, .n_out = 1, .flags = HONE__STRIDED | HONE__COMPUTE | HONE__ACCUMULATE,
                                 .attr_size = sizeof(struct matmul_attr), .attrs = attrs, .shape = shape,
                                 .prepare = prepare, .run = run, .vjp = vjp, .samples = samples};

hone_node *hone_matmul_opt(hone_node *a, hone_node *b, const hone_matmul_opts *opts)
{
    return product(a, b, opts && opts->transpose_a, opts && opts->transpose_b);
}
