#include "kernel/gemm.h"
#include "kernel/x86/gemm.h"

enum {
    PANEL = HONE__GEMM_PANEL,
    FEWEST = 32,           /* rows, columns and terms below which there is too little work in a tile */
    MOST_SCRATCH = 1 << 26, /* bytes */
    CACHED = 3 << 19        /* bytes of C, of a thread, that the second cache still has when they are read */
};

struct hone__gemm {
    hone_ctx *ctx;
    hone__matmul_desc d;
    hone__gemm_more more; /* k 0: none */
    hone_dtype b_type;
    int64_t row_panels, column_panels, row_parts, column_parts;
    size_t panel; /* bytes */
};

static bool one_step(int64_t a, int64_t b) { return a == 1 || b == 1; }

static bool possible(const hone__matmul_desc *d)
{
#ifdef HONE_X86
    bool large = d->b_raw || (d->m >= FEWEST && d->n >= FEWEST && d->k >= FEWEST);
    return hone__isa_level() == HONE__ISA_AMX && d->ab == HONE_BF16 && d->batch == 1 && !d->pack_b && large && one_step(d->a_row, d->a_col) && one_step(d->b_row, d->b_col);
#else
    (void)d, (void)one_step;
    return false;
#endif
}

static int64_t panels(int64_t n) { return (n + PANEL - 1) / PANEL; }
static int64_t pairs(int64_t panels_) { return (panels_ + 1) / 2; }
static size_t panel_bytes(const hone__matmul_desc *d) { return (size_t)panels(d->k) * PANEL * PANEL * 2; }
static size_t scratch_bytes(const hone__matmul_desc *d) { return (size_t)(panels(d->m) + panels(d->n)) * panel_bytes(d); }

bool hone__gemm_reads(const hone__matmul_desc *d, hone_dtype stored)
{
    /* Packing costs as much as multiplying with some 30 rows. */
    const int64_t enough_rows = 64;
    if (!possible(d) || d->m < enough_rows || scratch_bytes(d) > MOST_SCRATCH) return false;
#ifdef HONE_X86
    int64_t row = d->b_row == 1 ? d->b_col : d->b_row, length = d->b_row == 1 ? d->k : d->n;
    return hone__gemm_reads_amx(stored) && (!hone__is_blocks(stored) || (row % 32 == 0 && length % 32 == 0));
#else
    (void)stored, (void)enough_rows;
    return false;
#endif
}

hone__gemm *hone__gemm_new(hone_ctx *ctx, const hone__matmul_desc *d, const hone__gemm_more *more)
{
    if (!possible(d) || scratch_bytes(d) > MOST_SCRATCH) return NULL;
    hone__gemm *g = hone__calloc(ctx, 1, sizeof *g);
    if (!g) return NULL;
    *g = (hone__gemm){.ctx = ctx, .d = *d, .b_type = d->b_raw ? d->b_stored : HONE_BF16, .row_panels = panels(d->m),
                      .column_panels = panels(d->n), .panel = panel_bytes(d)};
    if (more) {
        g->more = *more;
        g->panel += (size_t)panels(more->k) * PANEL * PANEL * 2;
    }
    /* Each thread has rows of its own, so that no packed A moves between caches. */
    g->row_parts = HONE_MIN(g->row_panels, (int64_t)ctx->threads);
    g->column_parts = HONE_MIN(ctx->threads / g->row_parts, pairs(g->column_panels));
    return g;
}

void hone__gemm_free(hone__gemm *g)
{
    if (g) hone__free(g->ctx, g);
}

/* Rows are one thread's, and P is one panel. */
bool hone__gemm_makes_inner(const hone__gemm *g) { return g->more.k > 0 && g->more.k <= PANEL && g->column_parts == 1; }

static size_t packed_bytes(const hone__gemm *g)
{
    return (size_t)(g->row_panels + g->column_panels) * g->panel + (hone__gemm_makes_inner(g) ? panel_bytes(&g->d) : 0);
}

/* A's panels, B's, P's, and the sums of each thread. */
size_t hone__gemm_scratch(const hone__gemm *g)
{
    return packed_bytes(g) + (size_t)(g->row_parts * g->column_parts) * HONE__GEMM_SUMS;
}

#ifdef HONE_X86
typedef struct job {
    const hone__gemm *g;
    hone__gemm_operand a, b, p, q, inner;
    hone__gemm_product product;
    char *packed_a, *packed_b, *packed_p, *sums;
    void *made; /* the inner product's result, or NULL */
} job;

/* `count` panels from the first-th on. */
static void pack_operand(const job *j, char *to, const hone__gemm_operand *x, const hone__gemm_operand *x2, int64_t all,
                         int64_t first, int64_t count, bool is_b)
{
    const hone__gemm *g = j->g;
    int64_t at = first * PANEL;
    to += (size_t)first * g->panel;
    hone__gemm_pack_amx(to, g->panel, x, at, all - at, g->d.k, count, is_b);
    if (x2->data) hone__gemm_pack_amx(to + panel_bytes(&g->d), g->panel, x2, at, all - at, g->more.k, count, is_b);
}

/* The part-th of as many shares of B's panels as there are parts: whole pairs. */
static int64_t share_of_b(const hone__gemm *g, int64_t part)
{
    int64_t parts = g->row_parts * g->column_parts;
    return HONE_MIN(pairs(g->column_panels) * part / parts * 2, g->column_panels);
}

static void pack(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__gemm *g = j->g;
    int64_t parts = g->row_parts * g->column_parts, m = g->row_panels * begin / parts, n = share_of_b(g, begin);
    pack_operand(j, j->packed_a, &j->a, &j->inner, g->d.m, m, g->row_panels * end / parts - m, false);
    pack_operand(j, j->packed_b, &j->b, &j->q, g->d.n, n, share_of_b(g, end) - n, true);
    if (begin == 0 && j->p.data) hone__gemm_pack_amx(j->packed_p, 0, &j->p, 0, g->more.k, g->d.k, 1, true);
}

static void multiply(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__gemm *g = j->g;
    for (int64_t part = begin; part < end; part++) {
        int64_t r = part / g->column_parts, m0 = g->row_panels * r / g->row_parts, m1 = g->row_panels * (r + 1) / g->row_parts;
        int64_t c = part % g->column_parts, all = pairs(g->column_panels);
        int64_t n0 = all * c / g->column_parts * 2, n1 = HONE_MIN(all * (c + 1) / g->column_parts * 2, g->column_panels);
        if (j->p.data)
            hone__gemm_inner_amx(j->packed_a, g->panel, g->d.k, g->d.m, m0, m1, j->packed_p, g->more.k, (float)g->more.scale, j->made);
        /* What this thread packed is in its own cache still. */
        int64_t own = share_of_b(g, part), start = own > n0 && own < n1 ? own - n0 : 0;
        hone__gemm_multiply_amx(&j->product, j->packed_a, m0, m1, j->packed_b, n0, n1, start,
                                j->sums + part * HONE__GEMM_SUMS);
    }
}
#endif

/* Without C: instead of it, take is called. */
static void run(const hone__gemm *g, const void *a, const void *b, const void *bias, void *c, void *scratch,
                const hone__gemm_factors *f, hone__sums_fn take, void *arg)
{
#ifdef HONE_X86
    const hone__matmul_desc *d = &g->d;
    const hone__gemm_more *more = &g->more;
    int64_t row = (int64_t)hone__dtype_bytes(d->c, d->c_row), parts = g->row_parts * g->column_parts;
    bool stream = !d->accumulate && row * d->m > (int64_t)CACHED * parts && row % HONE_ALIGN == 0 && (uintptr_t)c % HONE_ALIGN == 0;
    job j = {.g = g, .a = {a, HONE_BF16, d->a_col, d->a_row}, .b = {b, g->b_type, d->b_row, d->b_col}, .packed_a = scratch,
             .product = {d->m, d->n, g->panel, c, d->c_row, d->bias ? bias : NULL, d->c == HONE_BF16, d->accumulate && c,
                         stream && c, take, arg}};
    j.packed_b = j.packed_a + (size_t)g->row_panels * g->panel;
    j.packed_p = j.packed_b + (size_t)g->column_panels * g->panel;
    j.sums = j.packed_a + packed_bytes(g);
    if (f) j.q = (hone__gemm_operand){f->q, more->q_stored, more->q_row, more->q_col};
    if (f && hone__gemm_makes_inner(g)) {
        j.p = (hone__gemm_operand){f->p, more->p_stored, more->p_row, more->p_col};
        j.made = f->inner;
    } else if (f) {
        j.inner = (hone__gemm_operand){f->inner, HONE_BF16, 1, more->k};
    }
    hone__parallel_for(g->ctx, parts, 1, pack, &j);
    hone__parallel_for(g->ctx, parts, 1, multiply, &j);
#else
    (void)g, (void)a, (void)b, (void)bias, (void)c, (void)scratch, (void)f, (void)take, (void)arg;
#endif
}

void hone__gemm_run(const hone__gemm *g, const void *a, const void *b, const void *bias, void *c, void *scratch,
                    const hone__gemm_factors *factors)
{
    run(g, a, b, bias, c, scratch, factors, NULL, NULL);
}

bool hone__gemm_hands_over(const hone__gemm *g) { return g->column_parts == 1 && !g->d.bias && !g->d.accumulate; }

void hone__gemm_hand_over(const hone__gemm *g, const void *a, const void *b, hone__sums_fn take, void *arg, void *scratch)
{
    run(g, a, b, NULL, NULL, scratch, NULL, take, arg);
}
