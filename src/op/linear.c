/* Products with a weight: packed once for its variable, read from blocks where that is faster. With two factors p and q
   more, a product of low rank is added (Hu et al. 2021, "LoRA"): y = x w^T + scale (x p^T) q^T, rounded after the sum. What a
   gradient was before is added in the same pass (input 5, f32 or bf16 as it is stored), where the product can. */
#include "kernel/few_rows.h"
#include "kernel/gemm.h"
#include "op/nn.h"

struct linear_attr {
    bool transposed; /* contract over w's first axis instead: y = x w, the backward direction */
    int activation;  /* one whose slope its output tells: none, relu, sigmoid, tanh */
    double scale;    /* of the product of low rank: p [r, in], q [out, r]; transposed p [out, r], q [r, in] */
};
static const hone__attr attrs[] = {HONE__ATTR(struct linear_attr, transposed, BOOL),
                                   HONE__ATTR(struct linear_attr, activation, INT),
                                   HONE__ATTR(struct linear_attr, scale, F64), {0}};

enum { SUM = 5 }; /* the input that is added, ahead of no activation */

static bool low_rank_fits(hone__call *call, int64_t k, int64_t n, bool transposed)
{
    if (!hone__want_same_real(call, 0, 3) || !hone__has(call, 4) || !hone__want_same_real(call, 0, 4)) return false;
    hone_shape p = call->in[3]->shape, q = call->in[4]->shape;
    int own = transposed ? 1 : 0; /* p's axis of rank; q's is the other */
    if (p.rank != 2 || q.rank != 2 || p.dim[1 - own] != k || q.dim[own] != n || p.dim[own] != q.dim[1 - own])
        return hone__refuse(call, HONE_SHAPE, "factors of low rank must be [r, %lld] and [%lld, r]%s, not %s and %s", (long long)k,
                            (long long)n, transposed ? " transposed" : "", HONE__SHAPE_STR(p), HONE__SHAPE_STR(q));
    return true;
}

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
    if (hone__has(call, 2)) {
        if (!hone__want_same_real(call, 0, 2)) return false;
        hone_shape b = call->in[2]->shape;
        if (b.rank != 1 || b.dim[0] != n)
            return hone__refuse(call, HONE_SHAPE, "the bias must be [%lld], not %s", (long long)n, HONE__SHAPE_STR(b));
    }
    if (hone__has(call, 3) && !low_rank_fits(call, k, n, t->transposed)) return false;
    y.dim[y.rank - 1] = n;
    if (hone__has(call, SUM) && (!hone__want_same_real(call, 0, SUM) || !hone__want_shape(call, SUM, y, "sum"))) return false;
    hone_shape u = HONE_SHAPE(0); /* scale x p^T, which the backward pass reads again */
    if (hone__has(call, 3)) {
        u = x;
        u.dim[u.rank - 1] = call->in[3]->shape.dim[t->transposed ? 1 : 0];
    }
    return hone__set_out(call, 0, call->in[0]->dtype, y) && hone__set_out(call, 1, call->in[0]->dtype, u);
}

typedef struct prepared {
    hone_ctx *ctx;
    hone__matmul *matmul;
    const void *weight;      /* packed or plain; NULL: in[1] as it lies */
    hone__packer *packer;    /* packs in[1] into scratch at each run */
    size_t packed_bytes;     /* of scratch, in front of the product's own */
    hone__few_rows *few_rows;
    hone__gemm *gemm;        /* of both products at once */
    /* The product of low rank: inner = scale x p, in f32 (f64) and as a product takes it; and outer, inner q. */
    bool sums; /* a product adds what is to be added */
    int64_t rank;
    hone__matmul *inner, *outer;
    size_t main_bytes;       /* of scratch, before what low_rank_room names */
} prepared;

/* What the product of low rank needs of scratch behind the other product's. */
typedef struct room {
    void *sums, *inner; /* [rows, r] in the products' real type, and as their operand */
    void *p, *q;        /* cast; NULL: as they lie */
    void *wide;         /* [rows, out] reals, where y is bf16 and two products make it; NULL: y itself */
    void *product;
} room;

static size_t lay_out(const hone__exec *e, const prepared *p, room *r)
{
    int64_t rows = hone__row_count(e->in[0].shape), n = hone__row_length(e->out[0].shape);
    hone_dtype type = e->in[0].dtype, real = e->k->real;
    char *at = (char *)((uintptr_t)e->scratch + p->main_bytes); /* scratch is NULL while sizes are asked for */
    *r = (room){0};
    if (!p->inner) { /* the other product makes it, in bf16 */
        const hone__view *u = &e->out[1];
        if (u->shape.rank > 0 && u->dtype != type) r->inner = hone__take(&at, hone__dtype_bytes(type, rows * p->rank));
        return (size_t)((uintptr_t)at - (uintptr_t)e->scratch);
    }
    r->sums = hone__take(&at, hone__dtype_bytes(real, rows * p->rank));
    r->inner = type == real ? r->sums : hone__take(&at, hone__dtype_bytes(type, rows * p->rank));
    if (e->out[1].data && e->out[1].dtype == type) r->inner = e->out[1].data;
    if (e->in[3].dtype != type) r->p = hone__take(&at, hone__dtype_bytes(type, hone_shape_count(e->in[3].shape)));
    if (e->in[4].dtype != type && !p->gemm) r->q = hone__take(&at, hone__dtype_bytes(type, hone_shape_count(e->in[4].shape)));
    if (e->out[0].dtype != real && !p->gemm) r->wide = hone__take(&at, hone__dtype_bytes(real, rows * n));
    size_t more = p->outer ? hone__matmul_scratch(p->outer) : 0;
    r->product = hone__take(&at, HONE_MAX(hone__matmul_scratch(p->inner), more));
    return (size_t)((uintptr_t)at - (uintptr_t)e->scratch);
}

static void free_prepared(void *state)
{
    prepared *p = state;
    if (!p) return;
    hone__matmul_free(p->matmul);
    hone__few_rows_free(p->few_rows);
    hone__packer_free(p->packer);
    hone__gemm_free(p->gemm);
    hone__matmul_free(p->inner);
    hone__matmul_free(p->outer);
    hone__free(p->ctx, p);
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

/* A segment that is computed again backwards may want the inner product and not y. */
static bool only_inner(const hone__exec *e) { return hone__has(e->call, 3) && !e->out[0].shape.rank; }

/* Is something to be added? */
static bool adds(const hone__exec *e) { return hone__has(e->call, SUM) && e->out[0].shape.rank; }

/* A weight in another format, generating: one plain copy in bf16, which products of few rows read as they do a stored one. */
static bool reads_half(const hone__exec *e, const hone__variable *w, const hone__matmul_desc *d)
{
    const struct linear_attr *t = e->attr;
    return d->ab == HONE_BF16 && e->plan && !t->transposed && !w->by_hand && e->call->graph->mode != HONE_TRAIN &&
           hone__few_rows_possible(HONE_BF16, d->m, d->n, d->k);
}

static hone_status refresh_interleaved(hone__derived *derived, hone__variable *w)
{
    hone__interleave(w->ctx, w->stored, w->shape.dim[0], w->shape.dim[1], w->data, derived->data);
    hone__variable_release(w);
    return HONE_OK;
}

static hone__derived *derive_interleaved(hone__variable *w)
{
    const uint64_t interleaved = 0x494E5452; /* tells these copies from packed ones, whose keys are hashes */
    size_t bytes = hone__interleaved_bytes(w->stored, w->shape.dim[0], w->shape.dim[1]);
    return hone__derive(w, interleaved << 8 | (uint64_t)w->stored, bytes, refresh_interleaved, NULL, NULL);
}

/* In bf16, rows of an odd length ended by zeros: products of few rows take 32 values at a time. */
static hone_status refresh_padded(hone__derived *derived, hone__variable *w)
{
    int64_t n = w->shape.dim[0], k = w->shape.dim[1], padded = hone__few_rows_padded(k);
    hone_status status = HONE_OK;
    for (int64_t r = 0; r < n && status == HONE_OK; r++) {
        uint16_t *to = (uint16_t *)derived->data + r * padded;
        status = hone__convert(to, HONE_BF16, (const char *)w->data + hone__dtype_bytes(w->stored, r * k), w->stored, k);
        memset(to + k, 0, (size_t)(padded - k) * sizeof *to);
    }
    hone__variable_release(w);
    return status;
}

static hone__derived *derive_half(hone__variable *w)
{
    const uint64_t padded = 0x50414444;
    int64_t n = w->shape.dim[0], k = w->shape.dim[1];
    if (hone__few_rows_padded(k) == k) return hone__derive_plain(w, HONE_BF16);
    return hone__derive(w, padded, hone__dtype_bytes(HONE_BF16, n * hone__few_rows_padded(k)), refresh_padded, NULL, NULL);
}

/* By few rows, with w as it is stored in bf16, or a copy of it: in bf16, or of its blocks. */
static hone_status prepare_few_rows(hone__exec *e, prepared *p, hone__variable *w, bool blocks, const hone__matmul_desc *d)
{
    const void *data = w->data;
    if (blocks || w->stored != HONE_BF16 || d->k % 32) {
        hone__derived *copy = blocks ? derive_interleaved(w) : derive_half(w);
        if (!copy || !hone__plan_uses(e->plan, w, copy)) return e->ctx->status;
        data = copy->data;
    }
    p->few_rows = hone__few_rows_new(e->ctx, blocks ? w->stored : HONE_BF16, d->m, d->n, d->k, data);
    if (!p->few_rows) return e->ctx->status;
    e->scratch_size = hone__few_rows_scratch(p->few_rows);
    return HONE_OK;
}

/* Is the product of low rank made within the other one? */
static bool at_once(const hone__matmul_desc *d) { return d->b_raw && d->ab == HONE_BF16; }

/* The products with p and q; d is the other one's, which is taken along where our own can do both. */
static hone_status prepare_low_rank(hone__exec *e, prepared *p, const hone__matmul_desc *d)
{
    const struct linear_attr *t = e->attr;
    int64_t r = e->in[3].shape.dim[t->transposed ? 1 : 0];
    hone__matmul_desc inner = {.batch = 1, .m = d->m, .n = r, .k = d->k, .ab = d->ab, .c = e->k->real, .a_row = d->k, .a_col = 1,
                               .b_row = t->transposed ? r : 1, .b_col = t->transposed ? 1 : d->k, .c_row = r};
    hone__matmul_desc outer = {.batch = 1, .m = d->m, .n = d->n, .k = r, .ab = d->ab, .c = e->k->real, .a_row = r, .a_col = 1,
                               .b_row = t->transposed ? d->n : 1, .b_col = t->transposed ? 1 : r, .c_row = d->n,
                               .accumulate = true};
    hone__gemm_more more = {.k = r, .p_stored = e->in[3].dtype, .p_row = inner.b_row, .p_col = inner.b_col, .q_stored = e->in[4].dtype,
                            .q_row = outer.b_row, .q_col = outer.b_col, .scale = t->scale};
    p->rank = r;
    bool alone = only_inner(e);
    if (at_once(d) && !alone && !(p->gemm = hone__gemm_new(e->ctx, d, &more))) return e->ctx->status;
    bool made = p->gemm && hone__gemm_makes_inner(p->gemm);
    if (!made && !(p->inner = hone__matmul_new(e->ctx, &inner))) return e->ctx->status;
    if (!p->gemm && !alone && !(p->outer = hone__matmul_new(e->ctx, &outer))) return e->ctx->status;
    p->main_bytes = p->gemm ? hone__gemm_scratch(p->gemm) : hone__align(e->scratch_size);
    room room_;
    e->scratch_size = lay_out(e, p, &room_);
    return HONE_OK;
}

static hone_status prepare_product(hone__exec *e, prepared *p, hone__matmul_desc *desc);

static hone_status prepare(hone__exec *e)
{
    prepared *p = hone__calloc(e->ctx, 1, sizeof *p);
    if (!p) return e->ctx->status;
    p->ctx = e->ctx;
    e->state = p;
    e->free_state = free_prepared;
    hone__matmul_desc d = {.m = hone__row_count(e->in[0].shape), .k = hone__row_length(e->in[0].shape), .ab = e->in[0].dtype};
    hone_status status = only_inner(e) ? HONE_OK : prepare_product(e, p, &d);
    if (status == HONE_OK && hone__has(e->call, 3)) status = prepare_low_rank(e, p, &d);
    p->sums = adds(e) && e->in[SUM].dtype != HONE_F64 && (p->gemm || (!p->rank && p->matmul && hone__matmul_sums(p->matmul)));
    return status;
}

/* The product with w, and what it is: its C is real where the product of low rank follows. */
static hone_status prepare_product(hone__exec *e, prepared *p, hone__matmul_desc *desc)
{
    const struct linear_attr *t = e->attr;
    hone__view *x = &e->in[0], *w = &e->in[1], *y = &e->out[0];
    hone_shape xs = x->shape;
    hone__variable *variable = e->variable[1];
    int64_t rows = hone__row_count(xs), k = hone__row_length(xs), n = hone__row_length(y->shape);
    bool more = hone__has(e->call, 3);
    *desc = (hone__matmul_desc){.m = rows, .n = n, .k = k, .ab = x->dtype};
    if (variable && x->dtype == HONE_BF16 && !t->transposed && e->plan && hone__few_rows_possible(variable->stored, rows, n, k) &&
        (e->call->graph->mode != HONE_TRAIN || k == hone__few_rows_padded(k)))
        return prepare_few_rows(e, p, variable, hone__is_blocks(variable->stored), desc);
    hone__matmul_desc d = {.batch = 1, .m = rows, .n = n, .k = k, .ab = x->dtype, .c = y->dtype, .a_row = k, .a_col = 1,
                           .b_row = t->transposed ? w->shape.dim[1] : 1, .b_col = t->transposed ? 1 : w->shape.dim[1],
                           .c_row = n, .bias = hone__has(e->call, 2),
                           .b_passing = e->call->graph->mode == HONE_TRAIN};
    /* f32 weights that are trained are read where they lie; others are copied anyway, so into the best layout. An
       eager graph has no plan to keep a packed copy for. */
    bool derive = variable && variable->stored != x->dtype;
    if (derive && hone__matmul_reads(&d, variable->stored)) {
        d.b_raw = true;
        d.b_stored = variable->stored;
        derive = false;
    } else if (more) {
        d.c = e->k->real;
    }
    *desc = d;
    if (more && at_once(&d)) return HONE_OK;
    if (derive && reads_half(e, variable, &d)) return prepare_few_rows(e, p, variable, false, &d);
    d.pack_b = derive && e->plan && (x->dtype == HONE_BF16 || x->dtype == HONE_F32) && !shares_plain(e, variable);
    if (!(p->matmul = hone__matmul_new(e->ctx, &d))) return e->ctx->status;
    e->scratch_size = hone__matmul_scratch(p->matmul);
    if (d.pack_b && packs_at_use(variable, rows) && hone__matmul_layout(p->matmul)) {
        p->packed_bytes = hone__align(hone__matmul_packed_bytes(p->matmul));
        e->scratch_size += p->packed_bytes;
        return (p->packer = hone__packer_new(p->matmul)) ? HONE_OK : e->ctx->status;
    }
    if (derive && e->plan && !hone__derive_weight(e, variable, p->matmul, t->transposed, x->dtype, &p->weight)) return e->ctx->status;
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

static const void *bias_of(const hone__exec *e) { return e->n_in > 2 ? e->in[2].data : NULL; }

/* Products of few rows that do nothing else run together: query, key and value; gate and up. */
static bool join(const hone__exec *first, const hone__exec *next)
{
    const prepared *a = first->state, *b = next->state;
    const struct linear_attr *s = first->attr, *t = next->attr;
    return first->joined + 1 < HONE__FEW_ROWS_PARTS && a->few_rows && b->few_rows && !a->inner && !b->inner && !s->activation &&
           !t->activation && !adds(first) && !adds(next) && hone_shape_count(next->out[0].shape) && hone__few_rows_alike(a->few_rows, b->few_rows);
}

static hone_status run_product(hone__exec *e, void *y, hone_dtype type)
{
    const prepared *p = e->state;
    const void *bias = bias_of(e);
    if (p->few_rows) {
        hone__few_rows_part parts[HONE__FEW_ROWS_PARTS] = {{p->few_rows, bias, y, type}};
        for (int i = 1; i <= e->joined; i++) {
            const hone__exec *other = e + i;
            parts[i] = (hone__few_rows_part){((const prepared *)other->state)->few_rows, bias_of(other), other->out[0].data,
                                             other->out[0].dtype};
        }
        hone__few_rows_run(parts, e->joined + 1, e->in[0].data, e->in[0].dtype, e->scratch);
        return HONE_OK;
    }
    const void *w = p->packer ? e->scratch : p->weight ? p->weight : e->in[1].data;
    hone_status status = HONE_OK;
    if (p->packer) status = hone__packer_run(p->packer, e->scratch, e->variable[1]->data, e->variable[1]->stored);
    void *scratch = (char *)e->scratch + p->packed_bytes;
    if (status == HONE_OK && p->sums) hone__matmul_run_sum(p->matmul, e->in[0].data, w, bias, &e->in[SUM], y, scratch);
    else if (status == HONE_OK) status = hone__matmul_run(p->matmul, e->in[0].data, w, bias, y, scratch);
    return status;
}

typedef struct scaling {
    const hone__exec *e;
    const room *r;
} scaling;

static void scale_part(void *arg, int64_t begin, int64_t end)
{
    const scaling *s = arg;
    const struct linear_attr *t = s->e->attr;
    hone_dtype real = s->e->k->real, type = s->e->in[0].dtype;
    s->e->k->unary(HONE__AFFINE, (char *)s->r->inner + hone__dtype_bytes(type, begin), type,
                   (const char *)s->r->sums + hone__dtype_bytes(real, begin), real, 1, end - begin, t->scale, 0);
}

/* As an operand of a product: cast into `room`, where there is one. */
static hone_status operand(const hone__exec *e, int i, void *room_, const void **data)
{
    const hone__view *v = &e->in[i];
    *data = room_ ? room_ : v->data;
    return room_ ? hone__convert_all(e->ctx, room_, e->in[0].dtype, v->data, v->dtype, hone_shape_count(v->shape)) : HONE_OK;
}

/* scale x p, as an operand of a product. */
static hone_status make_inner(hone__exec *e, const room *r)
{
    const prepared *p = e->state;
    const hone__view *x = &e->in[0], *u = &e->out[1];
    scaling s = {e, r};
    const void *first;
    int64_t count = hone__row_count(x->shape) * p->rank;
    hone_status status = operand(e, 3, r->p, &first);
    if (status == HONE_OK) status = hone__matmul_run(p->inner, x->data, first, NULL, r->sums, r->product);
    if (status != HONE_OK) return status;
    hone__parallel_for(e->ctx, count, HONE__GRAIN, scale_part, &s);
    return u->data && u->data != r->inner ? hone__convert_all(e->ctx, u->data, u->dtype, r->inner, x->dtype, count) : HONE_OK;
}

static hone_status run_low_rank(hone__exec *e)
{
    const prepared *p = e->state;
    hone__view *x = &e->in[0], *y = &e->out[0];
    room r;
    lay_out(e, p, &r);
    const void *second;
    hone_status status = p->inner ? make_inner(e, &r) : HONE_OK;
    if (!p->gemm && !p->outer) return status;
    if (status == HONE_OK) status = operand(e, 4, r.q, &second);
    if (status != HONE_OK) return status;
    if (p->gemm) {
        const void *bias = e->n_in > 2 ? e->in[2].data : NULL;
        const hone__view *u = &e->out[1];
        hone__gemm_factors f = {e->in[3].data, second, r.inner ? r.inner : u->data};
        hone__gemm_run(p->gemm, x->data, e->in[1].data, bias, y->data, e->scratch, &f, p->sums ? &e->in[SUM] : NULL);
        bool convert = !p->inner && r.inner && u->data;
        return convert ? hone__convert_all(e->ctx, u->data, u->dtype, r.inner, x->dtype, hone_shape_count(u->shape)) : HONE_OK;
    }
    void *sum = r.wide ? r.wide : y->data;
    status = run_product(e, sum, e->k->real);
    if (status == HONE_OK) status = hone__matmul_run(p->outer, r.inner, second, NULL, sum, r.product);
    if (status == HONE_OK && r.wide)
        status = hone__convert_all(e->ctx, y->data, y->dtype, r.wide, e->k->real, hone_shape_count(y->shape));
    return status;
}

/* Where no product does it. */
static void add_part(void *arg, int64_t begin, int64_t end)
{
    hone__exec *e = arg;
    hone_dtype type = e->out[0].dtype;
    void *y = (char *)e->out[0].data + hone__dtype_bytes(type, begin);
    e->k->binary(HONE__ADD, y, type, y, type, 1, (const char *)e->in[SUM].data + hone__dtype_bytes(e->in[SUM].dtype, begin),
                 e->in[SUM].dtype, 1, end - begin);
}

static hone_status run(hone__exec *e)
{
    const struct linear_attr *t = e->attr;
    const prepared *p = e->state;
    int64_t count = hone_shape_count(e->out[0].shape);
    if (count == 0) return HONE_OK;
    hone_status status = p->rank ? run_low_rank(e) : run_product(e, e->out[0].data, e->out[0].dtype);
    if (adds(e) && !p->sums && status == HONE_OK) hone__parallel_for(e->ctx, count, HONE__GRAIN, add_part, e);
    if (t->activation && status == HONE_OK) hone__parallel_for(e->ctx, count, HONE__GRAIN, activate_part, e);
    return status;
}

static hone_node *linear(hone_node *x, hone_node *w, hone_node *bias, bool transposed, int activation)
{
    if (!x || !w) return NULL;
    return hone__record(x->call->graph, &hone__op_linear, bias ? 3 : 2, (hone_node *[]){x, w, bias},
                        &(struct linear_attr){.transposed = transposed, .activation = activation});
}

static hone_node *with_low_rank(hone_node *x, hone_node *w, hone_node *bias, hone_node *p, hone_node *q, double scale,
                                bool transposed)
{
    if (!x || !w || !p || !q) return NULL;
    return hone__record(x->call->graph, &hone__op_linear, 5, (hone_node *[]){x, w, bias, p, q},
                        &(struct linear_attr){.transposed = transposed, .scale = scale});
}

hone_node *hone__linear_low_rank(hone_node *x, hone_node *w, hone_node *bias, hone_node *p, hone_node *q, double scale)
{
    return with_low_rank(x, w, bias, p, q, scale, false);
}

/* The gradient of a weight [out, in] that made g from x, all leading axes flattened: g^T x; transposed x^T g. */
static hone_node *weight_grad(hone_node *x, hone_node *g, bool transposed)
{
    if (!x || !g) return NULL;
    int64_t rows = hone__row_count(x->shape);
    hone_node *g2 = hone_reshape(g, HONE_SHAPE(rows, hone__row_length(g->shape)));
    hone_node *x2 = hone_reshape(x, HONE_SHAPE(rows, hone__row_length(x->shape)));
    return transposed ? hone_matmul(x2, g2, .transpose_a = true) : hone_matmul(g2, x2, .transpose_a = true);
}

/* Adds to what is there; NULL is none. */
static bool add_to(hone_node **sum, hone_node *more)
{
    if (more) *sum = *sum ? hone_add(*sum, more) : more;
    return more && *sum;
}

/* Of the factors: with u = scale x p^T (output 1) and t = scale g q (output 1 of the backward direction, if that is wanted),
   dp = t^T x and dq = g^T u. */
static bool low_rank_vjp(hone__call *call, hone_node *g, const bool *wanted, hone_node **d)
{
    const struct linear_attr *t = call->attr;
    hone_node *x = call->in[0], *q = call->in[4];
    if (wanted[3]) {
        hone_node *inner = wanted[0] ? hone__output(d[0], 1) : hone_affine(linear(g, q, NULL, !t->transposed, 0), t->scale, 0);
        if (!(d[3] = weight_grad(x, inner, t->transposed))) return false;
    }
    return !wanted[4] || (d[4] = weight_grad(&call->out[1], g, t->transposed));
}

/* Of y, by its gradient dy. */
static bool product_vjp(hone__call *call, hone_node *dy, const bool *wanted, hone_node **d)
{
    const struct linear_attr *t = call->attr;
    hone_node *x = call->in[0], *w = call->in[1], *y = &call->out[0], *g = dy;
    switch (t->activation) {
    case HONE_RELU: g = hone__unary_grad(y, g, HONE__RELU, 0, 0); break; /* y > 0 exactly where the sum is */
    case HONE_TANH: g = hone_mul(g, hone_affine(hone_square(y), -1, 1)); break;
    case HONE_SIGMOID: g = hone_mul(g, hone_mul(y, hone_affine(y, -1, 1))); break;
    default: break;
    }
    bool more = hone__has(call, 3);
    if (wanted[0]) {
        /* Backwards the factors change places: dx = g w + scale (g q) p. */
        d[0] = more ? with_low_rank(g, w, NULL, call->in[4], call->in[3], t->scale, !t->transposed)
                    : linear(g, w, NULL, !t->transposed, 0);
        if (!d[0]) return false;
    }
    if (wanted[1] && !(d[1] = weight_grad(x, g, t->transposed))) return false;
    if (hone__has(call, 2) && wanted[2] && !(d[2] = hone__reduce_to(g, call->in[2]->shape))) return false;
    return !more || low_rank_vjp(call, g, wanted, d);
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    const struct linear_attr *t = call->attr;
    if (dy[0] && !product_vjp(call, dy[0], wanted, d)) return false;
    if (hone__has(call, SUM) && wanted[SUM]) d[SUM] = dy[0];
    if (!dy[1] || !hone__has(call, 3)) return true;
    hone_node *du = hone_affine(dy[1], t->scale, 0); /* gradients of gradients alone: who else reads u? */
    if (wanted[0] && !add_to(&d[0], linear(du, call->in[3], NULL, !t->transposed, 0))) return false;
    return !wanted[3] || add_to(&d[3], weight_grad(call->in[0], du, t->transposed));
}

#define LINEAR(...) .n_in = 3, .in = {__VA_ARGS__}
static const hone__sample samples[] = {
    {.name = "bias", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}})},
    {.name = "plain", .n_in = 2, .in = {{.shape = {3, {2, 5, 7}}}, {.shape = {2, {4, 7}}}}},
    {.name = "vector", .n_in = 2, .in = {{.shape = {1, {7}}}, {.shape = {2, {4, 7}}}}},
    {.name = "transposed", .n_in = 2, .in = {{.shape = {3, {2, 5, 4}}}, {.shape = {2, {4, 7}}}},
     .attr = &(struct linear_attr){.transposed = true}},
    {.name = "relu", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}}),
     .attr = &(struct linear_attr){.activation = HONE_RELU}},
    {.name = "tanh", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}}),
     .attr = &(struct linear_attr){.activation = HONE_TANH}},
    {.name = "sigmoid", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}}),
     .attr = &(struct linear_attr){.activation = HONE_SIGMOID}},
    {.name = "large", LINEAR({.shape = {2, {65, 96}}}, {.shape = {2, {80, 96}}}, {.shape = {1, {80}}}), .no_grad = true,
     .tolerance = 1e-4},
    {.name = "low_rank", .n_in = 5, .rounds_within = true, .in = {{.shape = {3, {2, 5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {4}}},
                                           {.shape = {2, {3, 7}}}, {.shape = {2, {4, 3}}}},
     .attr = &(struct linear_attr){.scale = 0.75}},
    {.name = "low_rank_transposed", .n_in = 5, .rounds_within = true, .in = {{.shape = {2, {5, 4}}}, {.shape = {2, {4, 7}}}, {.absent = true},
                                                      {.shape = {2, {4, 3}}}, {.shape = {2, {3, 7}}}},
     .attr = &(struct linear_attr){.transposed = true, .scale = 2}},
    {.name = "low_rank_large", .n_in = 5, .rounds_within = true, .in = {{.shape = {2, {65, 96}}}, {.shape = {2, {80, 96}}}, {.absent = true},
                                                 {.shape = {2, {16, 96}}}, {.shape = {2, {80, 16}}}}, .no_grad = true,
     .attr = &(struct linear_attr){.scale = 2}, .tolerance = 1e-4},
    {.name = "sum", .n_in = 6, .in = {{.shape = {3, {2, 5, 4}}}, {.shape = {2, {4, 7}}}, {.absent = true}, {.absent = true}, {.absent = true},
                                      {.shape = {3, {2, 5, 7}}}},
     .attr = &(struct linear_attr){.transposed = true}},
    {.name = "sum_large", .n_in = 6, .in = {{.shape = {2, {65, 96}}}, {.shape = {2, {80, 96}}}, {.shape = {1, {80}}}, {.absent = true},
                                            {.absent = true}, {.shape = {2, {65, 80}}}}, .no_grad = true, .tolerance = 1e-4},
    {.name = "sum_low_rank", .n_in = 6, .rounds_within = true,
     .in = {{.shape = {2, {65, 96}}}, {.shape = {2, {80, 96}}}, {.absent = true}, {.shape = {2, {16, 96}}}, {.shape = {2, {80, 16}}},
            {.shape = {2, {65, 80}}}}, .no_grad = true, .attr = &(struct linear_attr){.scale = 2}, .tolerance = 1e-4},
    {.name = "sum_size", .n_in = 6, .in = {{.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.absent = true}, {.absent = true}, {.absent = true},
                                           {.shape = {2, {5, 7}}}},
     .refused = "the sum must be [5, 4]"},
    {.name = "factors", .n_in = 5, .in = {{.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.absent = true},
                                          {.shape = {2, {3, 6}}}, {.shape = {2, {4, 3}}}},
     .refused = "factors of low rank must be [r, 7] and [4, r], not [3, 6] and [4, 3]"},
    {.name = "features", .n_in = 2, .in = {{.shape = {2, {32, 12}}}, {.shape = {2, {4, 10}}}},
     .refused = "input has 12 features, weight expects 10 (input shape [32, 12])"},
    {.name = "bias_size", LINEAR({.shape = {2, {5, 7}}}, {.shape = {2, {4, 7}}}, {.shape = {1, {5}}}),
     .refused = "the bias must be [4]"},
    {0}};

const hone_op hone__op_linear = {.name = "linear", .doc = "y = activation(x w^T + bias + scale (x p^T) q^T)", .n_in = 6, .n_required = 2,
                                 .n_out = 2, .flags = HONE__COMPUTE, .sum_in = SUM, .keep_in = 4, .raw_in = 2 + 8 + 16,
                                 .attr_size = sizeof(struct linear_attr), .attrs = attrs, .shape = shape,
                                 .prepare = prepare, .run = run, .join = join, .vjp = vjp, .samples = samples};

hone_node *hone_linear_opt(hone_node *x, hone_node *w, hone_node *bias, const hone_linear_opts *opts)
{
    hone_activation a = opts ? opts->activation : HONE_NO_ACTIVATION;
    bool fused = a == HONE_NO_ACTIVATION || a == HONE_RELU || a == HONE_TANH || a == HONE_SIGMOID;
    hone_node *y = linear(x, w, bias, false, fused ? (int)a : 0);
    return fused ? y : hone_activate(y, a);
}
