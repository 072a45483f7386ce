/* What this CPU can do, measured here and now: matrix products alone, and memory alone. */
#include "graph/profile.h"
#include "kernel/matmul.h"

/* A product's time, its best over several runs that take about this long together. */
static const double ENOUGH_SECONDS = 0.03;
enum {
    FEW_ROWS = 8,       /* with so few rows a product is nothing but reading its weight */
    LARGEST = 4096,     /* longer sides are cut: ops work through them in blocks too */
    MOST_BATCH = 8,     /* so many small products stay in the caches */
    MOST_RUNS = 20,
    STREAM = 32 << 20,  /* elements of an array for the bandwidth: 128 MB, beyond a core's caches */
    STREAM_PIECE = 1 << 16,
    STREAM_ROW = 4096   /* 16 KB, which stay in the first cache */
};

typedef struct rate {
    hone__product product; /* as it was measured */
    double flops_per_second;
} rate;

typedef struct limits {
    hone_ctx *ctx;
    rate *rates;
    size_t n, capacity;
} limits;

static bool same_product(const hone__product *a, const hone__product *b)
{
    return a->batch == b->batch && a->m == b->m && a->n == b->n && a->k == b->k && a->type == b->type;
}

static double count_flops(const hone__product *p) { return 2.0 * (double)(p->batch * p->m) * (double)(p->n * p->k); }

/* With b packed where that is possible, the result in the operands' type: the fastest that there is. */
static hone_status time_product(hone_ctx *ctx, const hone__product *p, double *best)
{
    hone__matmul_desc d = {.batch = p->batch, .m = p->m, .n = p->n, .k = p->k, .ab = p->type, .c = p->type,
                           .a_batch = p->m * p->k, .a_row = p->k, .a_col = 1, .b_batch = p->n * p->k, .b_row = 1,
                           .b_col = p->k, .c_batch = p->m * p->n, .c_row = p->n,
                           .pack_b = p->batch == 1 && p->type != HONE_F64};
    hone__matmul *product = hone__matmul_new(ctx, &d);
    bool packed = product && d.pack_b && hone__matmul_layout(product) != 0;
    size_t b_bytes = hone__dtype_bytes(p->type, p->batch * p->n * p->k);
    void *a = product ? hone__calloc(ctx, 1, hone__dtype_bytes(p->type, p->batch * p->m * p->k)) : NULL;
    void *b = a ? hone__calloc(ctx, 1, packed ? HONE_MAX(b_bytes, hone__matmul_packed_bytes(product)) : b_bytes) : NULL;
    void *c = b ? hone__alloc(ctx, hone__dtype_bytes(p->type, p->batch * p->m * p->n)) : NULL;
    void *scratch = c ? hone__alloc(ctx, hone__matmul_scratch(product)) : NULL;
    hone_status status = scratch ? HONE_OK : ctx->status;
    double all = 0;
    for (int i = 0; i < MOST_RUNS && (i < 3 || all < ENOUGH_SECONDS) && status == HONE_OK; i++) {
        double began = hone__seconds();
        status = hone__matmul_run(product, a, b, NULL, c, scratch);
        double took = hone__seconds() - began;
        *best = i == 0 || took < *best ? took : *best;
        all += took;
    }
    hone__free(ctx, a), hone__free(ctx, b), hone__free(ctx, c), hone__free(ctx, scratch);
    hone__matmul_free(product);
    return status;
}

static hone_status find_rate(limits *l, const hone__product *product, double *flops_per_second)
{
    hone__product p = *product;
    p.m = HONE_MIN(p.m, (int64_t)LARGEST), p.n = HONE_MIN(p.n, (int64_t)LARGEST), p.k = HONE_MIN(p.k, (int64_t)LARGEST);
    p.batch = HONE_MIN(p.batch, (int64_t)MOST_BATCH);
    size_t i = 0;
    while (i < l->n && !same_product(&l->rates[i].product, &p)) i++;
    if (i == l->n) {
        double seconds = 0;
        if (!hone__grow(l->ctx, (void **)&l->rates, &l->capacity, l->n + 1, sizeof *l->rates)) return l->ctx->status;
        hone_status status = time_product(l->ctx, &p, &seconds);
        if (status != HONE_OK) return status;
        l->rates[l->n++] = (rate){p, count_flops(&p) / HONE_MAX(seconds, 1e-9)};
    }
    *flops_per_second = l->rates[i].flops_per_second;
    return HONE_OK;
}

/* Seconds of all the node's products: measured alone, or as fast as the node itself has been. */
static hone_status product_seconds(limits *l, const hone__profile_node *node, double *seconds)
{
    *seconds = 0;
    for (int i = 0; i < node->work.n_products; i++) {
        const hone__product *p = &node->work.product[i];
        double flops_per_second = 1;
        if (HONE_MIN(p->m, HONE_MIN(p->n, p->k)) <= FEW_ROWS || p->flops <= 0) continue;
        hone_status status = find_rate(l, p, &flops_per_second);
        if (status != HONE_OK) return status;
        *seconds += p->flops / flops_per_second;
    }
    *seconds = HONE_MIN(*seconds, node->best * (double)node->calls);
    return HONE_OK;
}

/* ---- memory ---- */

typedef struct stream {
    const hone__kernels *k;
    float *a, *b;
} stream;

/* All of a and b at once, into one row: two streams a thread are faster than one. */
static void read_pieces(void *arg, int64_t begin, int64_t end)
{
    const stream *s = arg;
    float row[STREAM_ROW];
    for (int64_t at = begin * STREAM_PIECE; at < end * STREAM_PIECE; at += STREAM_ROW)
        s->k->binary(HONE__ADD, row, HONE_F32, s->a + at, HONE_F32, 1, s->b + at, HONE_F32, 1, STREAM_ROW);
}
/* a += b */
static void update_pieces(void *arg, int64_t begin, int64_t end)
{
    const stream *s = arg;
    for (int64_t i = begin; i < end; i++) {
        float *a = s->a + i * STREAM_PIECE;
        s->k->binary(HONE__ADD, a, HONE_F32, a, HONE_F32, 1, s->b + i * STREAM_PIECE, HONE_F32, 1, STREAM_PIECE);
    }
}

static double bandwidth(const hone_ctx *ctx, hone__range_fn fn, stream *s, double bytes)
{
    double best = 0;
    for (int i = 0; i < 4; i++) {
        double began = hone__seconds();
        hone__parallel_for(ctx, STREAM / STREAM_PIECE, 1, fn, s);
        double took = hone__seconds() - began;
        if (i) best = HONE_MAX(best, bytes / HONE_MAX(took, 1e-9)); /* the first one finds the pages */
    }
    return best;
}

static hone_status measure_memory(hone_profile *p)
{
    hone_ctx *ctx = p->ctx;
    stream s = {.k = hone__kernels_for(HONE_F32)};
    s.a = hone__calloc(ctx, STREAM, sizeof *s.a);
    s.b = s.a ? hone__calloc(ctx, STREAM, sizeof *s.b) : NULL;
    if (s.b) {
        p->sum.read_bandwidth = bandwidth(ctx, read_pieces, &s, STREAM * 8.0);
        p->sum.update_bandwidth = bandwidth(ctx, update_pieces, &s, STREAM * 12.0);
    }
    hone__free(ctx, s.a), hone__free(ctx, s.b);
    return ctx->status;
}

hone_status hone_profile_measure(hone_profile *p)
{
    if (!p) return HONE_INVALID;
    hone_ctx *ctx = p->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (!(p->stopped > 0)) return hone__fail_run(ctx, HONE_STATE, "profile: stop it before measuring limits");
    hone_status status = measure_memory(p);
    limits l = {.ctx = ctx};
    double products = 0;
    for (size_t i = 0; i < p->n_entries; i++) p->entries[i].limit_seconds = 0;
    for (size_t i = 0; i < p->n_nodes && status == HONE_OK; i++) {
        const hone__profile_node *node = &p->nodes[i];
        double seconds;
        status = product_seconds(&l, node, &seconds);
        products += seconds;
        p->entries[node->entry].limit_seconds += node->work.n_products ? seconds + node->work.read / p->sum.read_bandwidth
                                                                        : node->work.bytes / p->sum.update_bandwidth;
    }
    hone__free(ctx, l.rates);
    if (status != HONE_OK) return status;
    p->sum.limit_seconds =
        products + p->sum.bytes_read / p->sum.read_bandwidth + p->sum.bytes_updated / p->sum.update_bandwidth;
    return HONE_OK;
}
