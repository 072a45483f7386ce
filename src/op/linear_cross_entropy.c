/* The language-model loss: cross entropy of x weight^T with targets, without the matrix of logits (1024
   tokens of a vocabulary of 49152 would be 200 MB, and as much again for its gradient). Logits are made in
   blocks of rows and of classes, used while they are in the cache (piece by piece as the product makes them,
   where it can), and made again by the backward pass (Wijmans et al., "Cut Your Losses", ICLR 2025).
   Where the weight is frozen, or few rows are read, the forward pass has made the gradient of x already: for each
   row the sum of the weight's rows by their probabilities needs only to be scaled by what comes back, and can be
   gathered while the normalizer is not known yet, as in attention (Dao et al., "FlashAttention", 2022). With few
   rows it also keeps the gradient of the logits, less that scale, from which one product makes the weight's. */
#include "kernel/matmul.h"
#include "op/nn.h"

#include <math.h>

enum {
    BLOCK_ROWS = 1024,
    BLOCK_LOGITS = 1 << 20, /* 4 MB of f32; half as many of bf16, which leave the second cache to the products */
    BLOCK_CLASSES = 4096    /* at most */
};

/* Inputs 0 x [..., D], 1 weight [V, D], 2 targets [...], and input i weights [...]. */
static bool check(hone__call *call, int weights, hone_shape *rows)
{
    hone_shape x = call->in[0]->shape, w = call->in[1]->shape;
    if (!hone__want_same_real(call, 0, 1) || !hone__want_integer(call, 2)) return false;
    if (x.rank < 1 || w.rank != 2 || w.dim[1] != x.dim[x.rank - 1] || w.dim[0] < 1 || w.dim[1] < 1 ||
        w.dim[0] > INT32_MAX)
        return hone__refuse(call, HONE_SHAPE,
                            "the input must be [..., D] and the weight [V, D], not %s and %s",
                            HONE__SHAPE_STR(x), HONE__SHAPE_STR(w));
    *rows = x;
    rows->dim[--rows->rank] = 0;
    if (!hone__want_shape(call, 2, *rows, "targets") || !hone__want_shape(call, weights, *rows, "weights"))
        return false;
    return !hone__has(call, weights) || hone__want_same_real(call, 0, weights);
}

struct loss_attr {
    bool with_grads; /* offer outputs 3 and 4, else they are empty: dx and dlogits by what output 2 scales them with */
};
static const hone__attr attrs[] = {HONE__ATTR(struct loss_attr, with_grads, BOOL), {0}};

/* What lies between rows of kept gradients: an odd number of lines of 64 bytes in bf16, so that a column's are in different
   sets of a cache. */
static int64_t row_of_logits(int64_t v) { return ((v + 31) / 32 | 1) * 32; }

static bool shape(hone__call *call)
{
    const struct loss_attr *t = call->attr;
    hone_shape rows;
    if (!check(call, 3, &rows)) return false;
    hone_shape x = call->in[0]->shape, logits = x;
    logits.dim[logits.rank - 1] = row_of_logits(call->in[1]->shape.dim[0]);
    for (int i = 0; i < 3; i++) hone__set_out(call, i, call->in[0]->dtype, rows);
    return hone__set_out(call, 3, call->in[0]->dtype, t->with_grads ? x : HONE_SHAPE(0)) &&
           hone__set_out(call, 4, call->in[0]->dtype, t->with_grads ? logits : HONE_SHAPE(0));
}

/* Products of each kind for whole blocks and for the last, smaller ones: [last rows][last classes][adding].
   */
typedef hone__matmul *products[2][2][2];

typedef struct prepared {
    hone_ctx *ctx;
    int64_t n, d, v;           /* rows, features, classes */
    int64_t rows, classes;     /* of a block */
    hone_dtype compute, real;  /* of the products' operands; of their results */
    bool convert;              /* the weight comes in another type than the products take ... */
    bool raw;                  /* ... and they read it as it is stored */
    hone_dtype stored;
    bool handed_over;          /* the logits come in pieces */
    bool with_dx, with_dlogits; /* are outputs 3 and 4 of the forward pass */
    products logits, dx, dw;
    size_t product_bytes;
    size_t real_bytes;
} prepared;

static void free_products(products p)
{
    for (int i = 0; i < 8; i++) hone__matmul_free(p[i >> 2][i >> 1 & 1][i & 1]);
}
static void free_prepared(void *state)
{
    prepared *p = state;
    if (!p) return;
    free_products(p->logits);
    free_products(p->dx);
    free_products(p->dw);
    hone__free(p->ctx, p);
}

typedef enum kind { LOGITS, DX, DW } kind;

/* m, n, k of a product of that kind over a block of r rows and c classes. */
static hone__matmul_desc describe(const prepared *p, kind which, int64_t r, int64_t c, bool add)
{
    int64_t d = p->d;
    hone__matmul_desc m = {.batch = 1, .ab = p->compute, .c = p->real, .accumulate = add};
    switch (which) {
    case LOGITS: /* (r, c) = x (r, d) weight (c, d)^T */
        m.m = r, m.n = c, m.k = d, m.a_row = d, m.a_col = 1, m.b_row = 1, m.b_col = d, m.c_row = c;
        break;
    case DX: /* (r, d) = dlogits (r, c) weight (c, d) */
        m.m = r, m.n = d, m.k = c, m.a_row = p->with_dlogits ? row_of_logits(p->v) : c, m.a_col = 1, m.b_row = d, m.b_col = 1, m.c_row = d;
        break;
    case DW: /* (c, d) = dlogits (r, c)^T x (r, d) */
        m.m = c, m.n = d, m.k = r, m.a_row = 1, m.a_col = c, m.b_row = d, m.b_col = 1, m.c_row = d;
        break;
    }
    if (which != DW && p->raw) m.b_raw = true, m.b_stored = p->stored;
    return m;
}

static bool make(prepared *p, kind which, products to, bool set, bool add)
{
    int64_t row_sizes[2] = {p->rows, p->n % p->rows}, class_sizes[2] = {p->classes, p->v % p->classes};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            for (int a = 0; a < 2; a++) {
                if (!row_sizes[i] || !class_sizes[j] || !(a ? add : set)) continue;
                hone__matmul_desc d = describe(p, which, row_sizes[i], class_sizes[j], a);
                if (!(to[i][j][a] = hone__matmul_new(p->ctx, &d))) return false;
                p->product_bytes = HONE_MAX(p->product_bytes, hone__matmul_scratch(to[i][j][a]));
            }
    return true;
}

static prepared *begin(hone__exec *e)
{
    prepared *p = hone__calloc(e->ctx, 1, sizeof *p);
    if (!p) return NULL;
    e->state = p;
    e->free_state = free_prepared;
    const hone__view *x = &e->in[0], *w = &e->in[1];
    p->ctx = e->ctx;
    p->n = hone__row_count(x->shape);
    p->d = w->shape.dim[1];
    p->v = w->shape.dim[0];
    p->rows = HONE_MAX(HONE_MIN(p->n, BLOCK_ROWS), 1);
    p->compute = x->dtype;
    int64_t most = p->compute == HONE_BF16 ? BLOCK_LOGITS / 2 : BLOCK_LOGITS;
    p->classes = HONE_MIN(HONE_MIN(most / p->rows, BLOCK_CLASSES), p->v);
    p->real = e->k->real;
    p->real_bytes = p->real == HONE_F64 ? 8 : 4;
    p->convert = w->dtype != p->compute;
    p->stored = w->dtype;
    hone__matmul_desc logits = describe(p, LOGITS, p->rows, p->classes, false), dx = describe(p, DX, p->rows, p->classes, true);
    p->raw = p->convert && hone__matmul_reads(&logits, w->dtype) && hone__matmul_reads(&dx, w->dtype);
    p->convert = p->convert && !p->raw;
    return p;
}

/* The scratch that both directions share; run takes it in this order. */
typedef struct room {
    int32_t *target;            /* (n) */
    char *max, *sum, *picked;   /* (n) reals; forward alone */
    char *logits;               /* (rows, classes) reals; NULL: handed over */
    void *weight;               /* (classes, d) in the compute type; NULL: the weight as it lies */
    void *dlogits; /* (rows, classes) in the compute type: logits itself unless that is bf16 */
    char *dx;      /* (rows, d) reals where dx is bf16; backward alone */
    char *factor;  /* (n) reals: what powers so far must be multiplied by; forward alone */
    char *row;     /* (d) reals a thread: a row of the weight; forward alone */
    void *product;
} room;

/* With logits, or their gradient: dlogits. */
static size_t lay_out(const prepared *p, bool backward, char *scratch, room *r)
{
    char *at = scratch;
    size_t n = (size_t)p->n, block = (size_t)(p->rows * p->classes);
    bool in_place = !p->handed_over && p->compute == p->real;
    *r = (room){.target = hone__take(&at, n * sizeof(int32_t))};
    if (!p->handed_over) r->logits = hone__take(&at, block * p->real_bytes);
    if (in_place)
        r->dlogits = r->logits;
    else if ((backward || p->with_dx) && !p->with_dlogits)
        r->dlogits = hone__take(&at, hone__dtype_bytes(p->compute, (int64_t)block));
    if (p->convert) r->weight = hone__take(&at, hone__dtype_bytes(p->compute, p->classes * p->d));
    if (!backward) {
        r->max = hone__take(&at, n * p->real_bytes);
        r->sum = hone__take(&at, n * p->real_bytes);
        r->picked = hone__take(&at, n * p->real_bytes);
    } else if (p->compute == HONE_BF16) {
        r->dx = hone__take(&at, (size_t)(p->rows * p->d) * p->real_bytes);
    }
    if (p->with_dx || p->with_dlogits) {
        r->factor = hone__take(&at, n * p->real_bytes);
        r->row = hone__take(&at, (size_t)(p->ctx->threads * p->d) * p->real_bytes);
    }
    r->product = hone__take(&at, p->product_bytes);
    return (size_t)((uintptr_t)at - (uintptr_t)scratch);
}

static bool make_logits(prepared *p)
{
    if (!make(p, LOGITS, p->logits, true, false)) return false;
    p->handed_over = p->real == HONE_F32;
    for (int i = 0; i < 4; i++) {
        const hone__matmul *m = p->logits[i >> 1][i & 1][0];
        p->handed_over &= !m || hone__matmul_hands_over(m);
    }
    return true;
}

/* While a plan is made, an output that nobody wants is known by its empty view. */
static bool is_wanted(const hone__view *out) { return out->shape.rank > 0; }

static hone_status prepare(hone__exec *e)
{
    room r;
    prepared *p = begin(e);
    if (!p || !make_logits(p)) return e->ctx->status;
    const struct loss_attr *t = e->attr;
    p->with_dx = t->with_grads && is_wanted(&e->out[3]);
    p->with_dlogits = t->with_grads && is_wanted(&e->out[4]);
    if (p->with_dx && !make(p, DX, p->dx, true, p->v > p->classes)) return e->ctx->status;
    e->scratch_size = lay_out(p, false, NULL, &r);
    return HONE_OK;
}

/* Classes [v0, v0 + count) of the weight in the compute type. */
static hone_status weight_block(const hone__exec *e, const prepared *p, const room *r, int64_t v0,
                                int64_t count, const void **block)
{
    const hone__view *w = &e->in[1];
    *block = (const char *)w->data + hone__dtype_bytes(w->dtype, v0 * p->d);
    if (!p->convert) return HONE_OK;
    hone_status status = hone__convert_all(e->ctx, r->weight, p->compute, *block, w->dtype, count * p->d);
    *block = r->weight;
    return status;
}

typedef struct job {
    const hone__exec *e;
    const prepared *p;
    const room *r;
    int64_t r0, v0, rows, count; /* the block's first row, first class, rows and classes */
    const char *lse, *dloss, *weights; /* of all rows; gradients alone */
    bool dweight;                      /* is output 0 */
} job;

static char *real_at(const job *j, char *base, int64_t i)
{
    return base ? base + (size_t)i * j->p->real_bytes : NULL;
}
static char *out_at(const job *j, int o, int64_t i) { return real_at(j, j->e->out[o].data, i); }
static const char *from(const job *j, const char *base, int64_t i)
{
    return base ? base + (size_t)i * j->p->real_bytes : NULL;
}
static void begin_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->lse_begin(real_at(j, j->r->max, begin), real_at(j, j->r->sum, begin),
                       real_at(j, j->r->picked, begin), end - begin);
}
/* Logits of some rows and classes of the block. */
static void take_logits(const job *j, int64_t row, int64_t column, int64_t rows, int64_t columns, const void *x, int64_t stride)
{
    int64_t i = j->r0 + row;
    j->e->k->lse_block(real_at(j, j->r->max, i), real_at(j, j->r->sum, i), real_at(j, j->r->picked, i), x, stride,
                       j->r->target + i, j->v0 + column, rows, columns);
}
static void take_piece(void *arg, int64_t row, int64_t column, int64_t rows, int64_t columns, const float *x, int64_t stride)
{
    take_logits(arg, row, column, rows, columns, x, stride);
}
static void block_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    take_logits(j, begin, 0, end - begin, j->count, real_at(j, j->r->logits, begin * j->count), j->count);
}
static void finish_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->e->k->lse_finish(out_at(j, 0, begin), out_at(j, 1, begin), out_at(j, 2, begin),
                        real_at(j, j->r->max, begin), real_at(j, j->r->sum, begin),
                        real_at(j, j->r->picked, begin), j->r->target + begin, from(j, hone__data(j->e, 3), begin),
                        end - begin);
}

static int64_t grain(int64_t count) { return HONE_MAX(HONE__GRAIN / 4 / count, 1); }
static bool is_last(int64_t size, int64_t block) { return size != block; }

/* The block's logits, which `piece` or `part` (a range of rows) uses. */
static hone_status with_logits(job *j, hone__matmul *product, const void *x, const void *w, hone__sums_fn piece,
                               hone__range_fn part)
{
    if (j->p->handed_over) {
        hone__matmul_hand_over(product, x, w, piece, j, j->r->product);
        return HONE_OK;
    }
    hone_status status = hone__matmul_run(product, x, w, NULL, j->r->logits, j->r->product);
    if (status == HONE_OK) hone__parallel_for(j->e->ctx, j->rows, grain(j->count), part, j);
    return status;
}

/* ---- the gradient of logits ---- */

/* What a product makes from logits: a block's, or, kept, those of all classes. */
static int64_t dlogits_row(const job *j) { return j->p->with_dlogits ? row_of_logits(j->p->v) : j->count; }
static void *dlogits_at(const job *j, int64_t row, int64_t column)
{
    const prepared *p = j->p;
    if (!p->with_dlogits) return (char *)j->r->dlogits + hone__dtype_bytes(p->compute, row * j->count + column);
    return hone__at(&j->e->out[4], (j->r0 + row) * dlogits_row(j) + j->v0 + column);
}

static void take_grad(const job *j, int64_t row, int64_t column, int64_t rows, int64_t columns, const void *x, int64_t stride)
{
    const prepared *p = j->p;
    int64_t i = j->r0 + row;
    void *to = dlogits_at(j, row, column);
    j->e->k->cross_entropy_grad(to, p->compute, j->count, x, stride, from(j, j->lse, i), from(j, j->dloss, i), j->r->target + i,
                                from(j, j->weights, i), j->v0 + column, rows, columns);
}
static void grad_piece(void *arg, int64_t row, int64_t column, int64_t rows, int64_t columns, const float *x, int64_t stride)
{
    take_grad(arg, row, column, rows, columns, x, stride);
}
static void grad_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    take_grad(j, begin, 0, end - begin, j->count, real_at(j, j->r->logits, begin * j->count), j->count);
}

static double get(const prepared *p, const void *reals, int64_t i)
{
    return p->real == HONE_F64 ? ((const double *)reals)[i] : (double)((const float *)reals)[i];
}
static void set(const prepared *p, void *reals, int64_t i, double value)
{
    if (p->real == HONE_F64)
        ((double *)reals)[i] = value;
    else
        ((float *)reals)[i] = (float)value;
}
static void scale(const job *j, void *x, hone_dtype type, int64_t n, double by)
{
    j->e->k->unary(HONE__AFFINE, x, type, x, type, 1, n, by, 0);
}

/* What a row has so far, but for the columns that were made with the new shift already. It is this thread's. */
static void rescale(const job *j, int64_t row, int64_t column, int64_t columns, double by)
{
    const prepared *p = j->p;
    int64_t before = p->with_dlogits ? j->v0 : 0;
    scale(j, dlogits_at(j, row, -before), p->compute, before + column, by);
    scale(j, dlogits_at(j, row, column + columns), p->compute, j->count - column - columns, by);
    if (j->v0 > 0 && p->with_dx) scale(j, hone__at(&j->e->out[3], (j->r0 + row) * p->d), p->real, p->d, by);
}

/* Powers instead of probabilities, whose sum is not known yet. */
static void take_powers(const job *j, int64_t row, int64_t column, int64_t rows, int64_t columns, const void *x, int64_t stride)
{
    const prepared *p = j->p;
    int64_t i = j->r0 + row;
    void *factor = real_at(j, j->r->factor, i);
    for (int64_t r = 0; r < rows; r++) set(p, factor, r, 1);
    j->e->k->exp_block(dlogits_at(j, row, column), p->compute, dlogits_row(j), real_at(j, j->r->max, i), real_at(j, j->r->sum, i),
                       real_at(j, j->r->picked, i), factor, x, stride, j->r->target + i, j->v0 + column, rows, columns);
    for (int64_t r = 0; r < rows; r++) /* hardly ever */
        if (get(p, factor, r) != 1) rescale(j, row + r, column, columns, get(p, factor, r));
}
static void powers_piece(void *arg, int64_t row, int64_t column, int64_t rows, int64_t columns, const float *x, int64_t stride)
{
    take_powers(arg, row, column, rows, columns, x, stride);
}
static void powers_part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    take_powers(j, begin, 0, end - begin, j->count, real_at(j, j->r->logits, begin * j->count), j->count);
}

/* One block: logits, what `piece` or `part` makes of them (dlogits), and what that adds to dx (rows of the block, reals)
   and to dweight. */
static hone_status grad_block(hone__exec *e, job *j, void *dx, hone__sums_fn piece, hone__range_fn part)
{
    const prepared *p = j->p;
    const void *x = hone__at(&e->in[0], j->r0 * p->d), *w;
    int last_rows = is_last(j->rows, p->rows), last_classes = is_last(j->count, p->classes);
    hone_status status = weight_block(e, p, j->r, j->v0, j->count, &w);
    if (status == HONE_OK)
        status = with_logits(j, p->logits[last_rows][last_classes][0], x, w, piece, part);
    const void *dlogits = dlogits_at(j, 0, 0);
    if (status == HONE_OK && dx)
        status = hone__matmul_run(p->dx[last_rows][last_classes][j->v0 > 0], dlogits, w, NULL, dx, j->r->product);
    if (status == HONE_OK && j->dweight)
        status = hone__matmul_run(p->dw[last_rows][last_classes][e->accumulate || j->r0 > 0], dlogits, x, NULL,
                                  hone__at(&e->out[0], j->v0 * p->d), j->r->product);
    return status;
}

/* All blocks. dx NULL: not wanted; of its dtype's rows those that are not reals come by way of r->dx. */
static hone_status grad_blocks(hone__exec *e, job *j, const hone__view *dx, hone__sums_fn piece, hone__range_fn part)
{
    const prepared *p = j->p;
    hone_status status = HONE_OK;
    for (j->r0 = 0; j->r0 < p->n && status == HONE_OK; j->r0 += p->rows) {
        bool aside = dx->data && dx->dtype != p->real;
        void *dx_rows = !dx->data ? NULL : aside ? j->r->dx : hone__at(dx, j->r0 * p->d);
        j->rows = HONE_MIN(p->rows, p->n - j->r0);
        for (j->v0 = 0; j->v0 < p->v && status == HONE_OK; j->v0 += p->classes) {
            j->count = HONE_MIN(p->classes, p->v - j->v0);
            status = grad_block(e, j, dx_rows, piece, part);
        }
        if (aside && status == HONE_OK)
            e->k->copy(hone__at(dx, j->r0 * p->d), dx->dtype, j->r->dx, p->real, 1, j->rows * p->d);
    }
    return status;
}

/* ---- forward ---- */

static hone_status losses(hone__exec *e, job *j)
{
    const prepared *p = j->p;
    hone_status status = HONE_OK;
    for (j->r0 = 0; j->r0 < p->n && status == HONE_OK; j->r0 += p->rows) {
        j->rows = HONE_MIN(p->rows, p->n - j->r0);
        for (j->v0 = 0; j->v0 < p->v && status == HONE_OK; j->v0 += p->classes) {
            j->count = HONE_MIN(p->classes, p->v - j->v0);
            hone__matmul *product = p->logits[is_last(j->rows, p->rows)][is_last(j->count, p->classes)][0];
            const void *w;
            status = weight_block(e, p, j->r, j->v0, j->count, &w);
            if (status == HONE_OK)
                status = with_logits(j, product, hone__at(&e->in[0], j->r0 * p->d), w, take_piece, block_part);
        }
    }
    return status;
}

/* Powers become gradients by the loss, times the sum of powers: what is left is the target's, whose power is less by that
   sum. It replaces the one that was rounded before, which would lose the small gradients of what is known already. */
static void targets_part(void *arg, int slot, int64_t begin, int64_t end)
{
    const job *j = arg;
    const prepared *p = j->p;
    const hone__view *w = &j->e->in[1];
    char *row = j->r->row + (size_t)(slot * p->d) * p->real_bytes;
    for (int64_t i = begin; i < end; i++) {
        int64_t t = j->r->target[i];
        double sum = get(p, j->r->sum, i);
        set(p, j->e->out[2].data, i, get(p, j->e->out[2].data, i) / sum);
        if (t < 0) continue;
        double power = exp(get(p, j->r->picked, i) - get(p, j->r->max, i)), exact = power - sum;
        void *at = p->with_dlogits ? hone__at(&j->e->out[4], i * dlogits_row(j) + t) : (void *)row;
        if (!p->with_dlogits) hone__convert(at, p->compute, &power, HONE_F64, 1); /* rounded again */
        hone__convert(&power, HONE_F64, at, p->compute, 1);
        hone__convert(at, p->compute, &exact, HONE_F64, 1);
        double less = power - exact;
        if (!p->with_dx) continue;
        hone__convert(row, p->real, (const char *)w->data + hone__dtype_bytes(w->dtype, t * p->d), w->dtype, p->d);
        j->e->k->axpy(hone__at(&j->e->out[3], i * p->d), row, p->real, -less, p->d);
    }
}

static hone_status run(hone__exec *e)
{
    const prepared *p = e->state;
    room r;
    lay_out(p, false, e->scratch, &r);
    hone_status status = hone__read_targets(e, &e->in[2], p->v, r.target);
    job j = {.e = e, .p = p, .r = &r};
    if (status != HONE_OK || p->n == 0) return status;
    begin_part(&j, 0, p->n);
    bool grads = p->with_dx || p->with_dlogits;
    status = grads ? grad_blocks(e, &j, &e->out[3], powers_piece, powers_part) : losses(e, &j);
    if (status != HONE_OK) return status;
    finish_part(&j, 0, p->n);
    if (grads) hone__slots_run(e->ctx, p->n, grain(p->d), targets_part, &j);
    return HONE_OK;
}

/* The gradient of logits is kept where it takes no more than the weight and its gradient do, and nobody asked for less memory. */
static bool keeps_dlogits(const hone__call *call)
{
    return hone__row_count(call->in[0]->shape) <= 2 * call->in[1]->shape.dim[1] && !call->graph->segments;
}

static bool vjp(hone__call *call, hone_node *const *d_out, const bool *wanted, hone_node **d)
{
    hone_node *weights = hone__has(call, 3) ? call->in[3] : NULL, *x = call->in[0], *w = call->in[1];
    bool made = ((const struct loss_attr *)call->attr)->with_grads && (!wanted[1] || keeps_dlogits(call));
    if ((wanted[0] || wanted[1]) && made) {
        hone_shape rows = d_out[0]->shape;
        rows.dim[rows.rank++] = 1;
        hone_node *by = hone_reshape(hone_mul(d_out[0], &call->out[2]), rows);
        if (!by || (wanted[1] && !(d[1] = hone__dweight(&call->out[4], hone_mul(x, by), w->shape.dim[0])))) return false;
        if (wanted[0] && !(d[0] = hone_mul(&call->out[3], by))) return false;
    } else if (wanted[0] || wanted[1]) {
        hone_node *in[6] = {x, w, call->in[2], &call->out[1], d_out[0], weights};
        hone_node *g =
            hone__record(call->graph, &hone__op_linear_cross_entropy_grad, weights ? 6 : 5, in, NULL);
        if (!g) return false;
        if (wanted[0]) d[0] = hone__output(g, 1);
        if (wanted[1]) d[1] = g;
    }
    if (weights && wanted[3]) {
        d[3] = hone_mul(d_out[0], hone_linear_cross_entropy(x, w, call->in[2], NULL));
        if (!d[3]) return false;
    }
    return true;
}

/* ---- backward: inputs x, weight, targets, lse, dloss, weights; outputs dweight, dx ---- */

static bool grad_shape(hone__call *call)
{
    hone_shape rows;
    if (!check(call, 5, &rows) || !hone__want_same_real(call, 0, 3) || !hone__want_same_real(call, 0, 4) ||
        !hone__want_shape(call, 3, rows, "log sum") || !hone__want_shape(call, 4, rows, "gradient"))
        return false;
    return hone__set_out(call, 0, call->in[0]->dtype, call->in[1]->shape) &&
           hone__set_out(call, 1, call->in[0]->dtype, call->in[0]->shape);
}

static hone_status grad_prepare(hone__exec *e)
{
    room r;
    prepared *p = begin(e);
    if (!p || !make_logits(p)) return e->ctx->status;
    bool more_rows = p->n > p->rows, more_classes = p->v > p->classes;
    if (is_wanted(&e->out[1]) && !make(p, DX, p->dx, true, more_classes)) return e->ctx->status;
    if (is_wanted(&e->out[0]) &&
        !make(p, DW, p->dw, !e->accumulate, e->accumulate || e->first_write || more_rows))
        return e->ctx->status;
    e->scratch_size = lay_out(p, true, NULL, &r);
    return HONE_OK;
}

static hone_status grad_run(hone__exec *e)
{
    const prepared *p = e->state;
    room r;
    lay_out(p, true, e->scratch, &r);
    hone_status status = hone__read_targets(e, &e->in[2], p->v, r.target);
    if (p->n == 0 && e->out[0].data && !e->accumulate) hone__fill_view(e, &e->out[0], 0);
    job j = {.e = e, .p = p, .r = &r, .lse = hone__data(e, 3), .dloss = hone__data(e, 4), .weights = hone__data(e, 5),
             .dweight = e->out[0].data != NULL};
    return status == HONE_OK ? grad_blocks(e, &j, &e->out[1], grad_piece, grad_part) : status;
}

#define TARGET(low_, high_, ...)                                                                      \
    {                                                                                                 \
        .dtype = HONE_I32, .shape = __VA_ARGS__, .fill = HONE__FILL_INDEX, .low = low_, .high = high_ \
    }
#define WEIGHT(...) {.shape = __VA_ARGS__, .fill = HONE__FILL_UNIFORM, .low = 0.5, .high = 2}
#define SMALL(...) {.shape = __VA_ARGS__, .fill = HONE__FILL_UNIFORM, .low = -0.3, .high = 0.3}
static const hone__sample samples[] = {
    {.name = "matrix",
     .n_in = 3,
     .in = {{.shape = {2, {5, 3}}}, {.shape = {2, {7, 3}}}, TARGET(0, 7, {1, {5}})}},
    {.name = "weights",
     .n_in = 4,
     .in = {{.shape = {3, {2, 3, 4}}},
            {.shape = {2, {9, 4}}},
            TARGET(-3, 9, {2, {2, 3}}),
            WEIGHT({2, {2, 3}})}},
    {.name = "vector",
     .n_in = 3,
     .in = {{.shape = {1, {3}}}, {.shape = {2, {4, 3}}}, TARGET(0, 4, {0, {0}})}},
    {.name = "class_blocks",
     .no_grad = true,
     /* slow */ .n_in = 3,
     .in = {SMALL({2, {3, 8}}), SMALL({2, {9001, 8}}), TARGET(0, 9001, {1, {3}})},
     .tolerance = 1e-4},
    {.name = "row_blocks",
     .no_grad = true,
     /* slow */ .n_in = 4,
     .in = {SMALL({2, {1100, 20}}), SMALL({2, {1500, 20}}), TARGET(-100, 1500, {1, {1100}}),
            WEIGHT({1, {1100}})},
     .tolerance = 1e-4},
    {.name = "empty",
     .n_in = 3,
     .in = {{.shape = {2, {0, 3}}}, {.shape = {2, {7, 3}}}, TARGET(0, 7, {1, {0}})}},
    {.name = "features",
     .n_in = 3,
     .in = {{.shape = {2, {5, 3}}}, {.shape = {2, {7, 4}}}, TARGET(0, 7, {1, {5}})},
     .refused = "the input must be [..., D] and the weight [V, D], not [5, 3] and [7, 4]"},
    {.name = "targets",
     .n_in = 3,
     .in = {{.shape = {2, {5, 3}}}, {.shape = {2, {7, 3}}}, TARGET(0, 7, {1, {7}})},
     .refused = "the targets must be [5]"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "matrix",
     .n_in = 5,
     .in = {{.shape = {2, {5, 3}}},
            {.shape = {2, {7, 3}}},
            TARGET(-1, 7, {1, {5}}),
            {.shape = {1, {5}}, .fill = HONE__FILL_UNIFORM, .low = 2, .high = 3},
            {.shape = {1, {5}}}}},
    {.name = "blocks",
     .n_in = 6,
     .in = {SMALL({2, {1100, 20}}),
            SMALL({2, {1500, 20}}),
            TARGET(-100, 1500, {1, {1100}}),
            {.shape = {1, {1100}}, .fill = HONE__FILL_UNIFORM, .low = 7, .high = 8},
            SMALL({1, {1100}}),
            WEIGHT({1, {1100}})},
     .tolerance = 1e-4},
    {.name = "misfit",
     .n_in = 5,
     .in = {{.shape = {2, {5, 3}}},
            {.shape = {2, {7, 3}}},
            TARGET(-1, 7, {1, {5}}),
            {.shape = {1, {5}}},
            {.shape = {1, {4}}}},
     .refused = "the gradient must be [5]"},
    {0}};

const hone_op hone__op_linear_cross_entropy = {
    .name = "linear_cross_entropy",
    .doc = "softmax_cross_entropy of the logits x weight^T, which are never whole",
    .n_in = 4,
    .n_required = 3,
    .n_out = 5,
    .flags = HONE__COMPUTE,
    .keep_in = 8,
    .keep_out = 15,
    .aux_out = 30,
    .raw_in = 2,
    .attr_size = sizeof(struct loss_attr),
    .attrs = attrs,
    .shape = shape,
    .prepare = prepare,
    .run = run,
    .vjp = vjp,
    .samples = samples};
const hone_op hone__op_linear_cross_entropy_grad = {.name = "linear_cross_entropy_grad",
                                                    .doc = "dweight, dx of linear_cross_entropy",
                                                    .n_in = 6,
                                                    .n_required = 5,
                                                    .n_out = 2,
                                                    .flags = HONE__COMPUTE | HONE__ACCUMULATE,
                                                    .keep_in = 56,
                                                    .keep_out = 1,
                                                    .raw_in = 2,
                                                    .shape = grad_shape,
                                                    .prepare = grad_prepare,
                                                    .run = grad_run,
                                                    .samples = grad_samples};

hone_node *hone_linear_cross_entropy(hone_node *x, hone_node *weight, hone_node *targets, hone_node *weights)
{
    if (!x || !weight || !targets) return NULL;
    /* An eager graph would make gradients whether they are wanted or not. */
    return hone__record(x->call->graph, &hone__op_linear_cross_entropy, weights ? 4 : 3, (hone_node *[]){x, weight, targets, weights},
                        &(struct loss_attr){.with_grads = !x->call->graph->eager});
}
