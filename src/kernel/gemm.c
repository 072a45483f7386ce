#include "kernel/gemm.h"
#include "kernel/x86/gemm.h"

enum {
    PANEL = HONE__GEMM_PANEL,
    FEWEST = 32,           /* rows, columns and terms below which there is too little work in a tile */
    MOST_SCRATCH = 1 << 26 /* bytes */
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
    /* Each thread has rows of its own, so that no packed A moves between caches; what all of them pack is B. */
    g->row_parts = HONE_MIN(g->row_panels, (int64_t)ctx->threads);
    g->column_parts = HONE_MIN(ctx->threads / g->row_parts, g->column_panels);
    return g;
}

void hone__gemm_free(hone__gemm *g)
{
    if (g) hone__free(g->ctx, g);
}

/* Of a part: its panels of A, and those of B. */
static size_t part_scratch(const hone__gemm *g)
{
    return (size_t)(g->row_panels / g->row_parts + 1 + g->column_panels / g->column_parts + 1) * g->panel;
}

size_t hone__gemm_scratch(const hone__gemm *g) { return (size_t)(g->row_parts * g->column_parts) * part_scratch(g); }

#ifdef HONE_X86
typedef struct job {
    const hone__gemm *g;
    hone__gemm_operand a, a2;
    hone__gemm_product product;
    char *scratch;
} job;

static void multiply(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__gemm *g = j->g;
    for (int64_t part = begin; part < end; part++) {
        int64_t r = part / g->column_parts, m0 = g->row_panels * r / g->row_parts, m1 = g->row_panels * (r + 1) / g->row_parts;
        int64_t c = part % g->column_parts, n0 = g->column_panels * c / g->column_parts;
        char *a = j->scratch + (size_t)part * part_scratch(g);
        for (int64_t i = m0; i < m1; i++) {
            char *to = a + (size_t)(i - m0) * g->panel;
            hone__gemm_pack_amx(to, &j->a, i * PANEL, g->d.m - i * PANEL, g->d.k, false);
            if (g->more.k) hone__gemm_pack_amx(to + panel_bytes(&g->d), &j->a2, i * PANEL, g->d.m - i * PANEL, g->more.k, false);
        }
        hone__gemm_multiply_amx(&j->product, a, m0, m1, n0, g->column_panels * (c + 1) / g->column_parts,
                                a + (size_t)(m1 - m0) * g->panel);
    }
}
#endif

void hone__gemm_run(const hone__gemm *g, const void *a, const void *b, const void *bias, void *c, void *scratch,
                    const void *a2, const void *b2)
{
#ifdef HONE_X86
    const hone__matmul_desc *d = &g->d;
    const hone__gemm_more *more = &g->more;
    job j = {.g = g, .a = {a, HONE_BF16, d->a_col, d->a_row}, .a2 = {a2, HONE_BF16, 1, more->k}, .scratch = scratch};
    j.product = (hone__gemm_product){d->m, d->n, d->k, {b, g->b_type, d->b_row, d->b_col}, more->k,
                                     {b2, more->b_stored, more->b_row, more->b_col}, c, d->c_row, d->bias ? bias : NULL,
                                     d->c == HONE_BF16, d->accumulate};
    hone__parallel_for(g->ctx, g->row_parts * g->column_parts, 1, multiply, &j);
#else
    (void)g, (void)a, (void)b, (void)bias, (void)c, (void)scratch, (void)a2, (void)b2;
#endif
}
