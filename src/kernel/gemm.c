#include "kernel/gemm.h"
#include "kernel/x86/gemm.h"

enum {
    PANEL = HONE__GEMM_PANEL,
    FEWEST = 16,           /* rows, columns and terms below which there is too little work in a tile */
    FEWEST_F32 = 64,       /* half the harmonic mean of rows and columns that pay for packing three parts of f32 */
    MOST_TERMS_F32 = 1024, /* at once, so that enough panels of A lie in the second cache */
    GROUP = 8,             /* panels of B at once where a thread packs its own; in f32 two, one of which is multiplied */
    MOST_SHARED = 1 << 13, /* columns of B beyond which a row of f32 is one thread's: it may be handed over */
    MOST_PACKED = 1 << 26, /* bytes of B that are packed at once */
    CACHED = 3 << 17,      /* bytes of C, of a thread, beyond which it is written past the caches, as training's activations are in */
    CACHED_F32 = 3 << 19   /* memory that no cache has; in f32 it is read soon, two thirds if it is the gradient of a weight */
};

struct hone__gemm {
    hone_ctx *ctx;
    hone__matmul_desc d;
    hone__gemm_more more; /* k 0: none */
    hone_dtype b_type;
    int parts; /* bf16 values that an element is made of */
    int64_t row_panels, column_panels, row_parts, column_parts;
    bool own; /* each thread packs what it needs of B itself, where it is used */
    int64_t pass; /* column panels that are packed at once */
    size_t panel; /* bytes */
};

static bool one_step(int64_t a, int64_t b) { return a == 1 || b == 1; }

/* Is there enough to multiply for what is to be packed? */
static bool pays(const hone__matmul_desc *d)
{
    if (d->ab == HONE_BF16) return d->m >= FEWEST && d->n >= FEWEST && d->k >= FEWEST;
    return d->m * d->n >= FEWEST_F32 * (d->m + d->n) && d->k >= 2 * PANEL;
}

static bool possible(const hone__matmul_desc *d)
{
#ifdef HONE_X86
    bool real = d->ab == HONE_BF16 || d->ab == HONE_F32;
    return hone__isa_level() == HONE__ISA_AMX && real && d->batch == 1 && !d->pack_b && (d->b_raw || pays(d)) &&
           one_step(d->a_row, d->a_col) && one_step(d->b_row, d->b_col);
#else
    (void)d, (void)one_step, (void)pays;
    return false;
#endif
}

static int64_t panels(int64_t n) { return (n + PANEL - 1) / PANEL; }
static int64_t pairs(int64_t panels_) { return (panels_ + 1) / 2; }
static int parts_of(const hone__matmul_desc *d) { return d->ab == HONE_F32 ? 3 : 1; }
/* Terms that are summed at once. */
static int64_t terms(const hone__matmul_desc *d)
{
    int64_t passes = parts_of(d) == 1 ? 1 : (d->k + MOST_TERMS_F32 - 1) / MOST_TERMS_F32;
    return passes > 1 ? panels((d->k + passes - 1) / passes) * PANEL : d->k;
}
static size_t bytes_of(const hone__matmul_desc *d, int64_t k) { return (size_t)(panels(k) * PANEL * PANEL * 2 * parts_of(d)); }
static size_t panel_bytes(const hone__matmul_desc *d) { return bytes_of(d, terms(d)); }

bool hone__gemm_reads(const hone__matmul_desc *d, hone_dtype stored)
{
    /* Packing costs as much as multiplying with some 30 rows, but a copy that is packed already costs memory, and as much the
       first time. Up to eight rows have products of their own (kernel/few_rows.c), whose
       activations of 8 bits are four times as far from f32 as bf16: not for what a prompt leaves in the cache. */
    const int64_t enough_rows = d->b_passing ? 1 : 9;
    hone__matmul_desc raw = *d;
    raw.b_raw = true;
    if (!possible(&raw) || d->m < enough_rows || (d->ab == HONE_F32 && !pays(d))) return false;
#ifdef HONE_X86
    int64_t row = d->b_row == 1 ? d->b_col : d->b_row, length = d->b_row == 1 ? d->k : d->n;
    return hone__gemm_reads_amx(stored) && (!hone__is_blocks(stored) || (row % 32 == 0 && length % 32 == 0));
#else
    (void)stored, (void)enough_rows;
    return false;
#endif
}

static int64_t stretch_of(const hone__gemm *g)
{
#ifdef HONE_X86
    return HONE_MIN(hone__gemm_stretch_amx(g->panel), g->row_panels);
#else
    return g->row_panels;
#endif
}

/* Who computes what: row_parts x column_parts threads. */
static void divide(hone__gemm *g, int64_t threads)
{
    /* Each thread has rows of its own, so that no packed A moves between caches. */
    g->row_parts = HONE_MIN(g->row_panels, threads);
    g->column_parts = HONE_MIN(threads / g->row_parts, pairs(g->column_panels));
    g->own = g->row_panels == 1;
    if (g->parts == 1 || g->d.n > MOST_SHARED) return;
    /* A packed panel in three parts takes as long to come from another thread's cache as to be packed again, about as long as
       multiplying one by one. So where each thread's rows fit its second cache, nothing is shared, and nobody waits: threads
       divide rows and columns such that packing (r + c panels) and multiplying (r c) are least. */
    int64_t least = INT64_MAX;
    for (int64_t rows = 1; rows <= HONE_MIN(g->row_panels, threads); rows++) {
        int64_t columns = HONE_MIN(threads / rows, pairs(g->column_panels));
        int64_t r = (g->row_panels + rows - 1) / rows, c = 2 * ((pairs(g->column_panels) + columns - 1) / columns);
        if (r > stretch_of(g) || r * c + r + c >= least) continue;
        least = r * c + r + c;
        g->row_parts = rows, g->column_parts = columns, g->own = true;
    }
}

hone__gemm *hone__gemm_new(hone_ctx *ctx, const hone__matmul_desc *d, const hone__gemm_more *more)
{
    if (!possible(d) || (more && d->ab != HONE_BF16)) return NULL;
    hone__gemm *g = hone__calloc(ctx, 1, sizeof *g);
    if (!g) return NULL;
    *g = (hone__gemm){.ctx = ctx, .d = *d, .b_type = d->b_raw ? d->b_stored : d->ab, .parts = parts_of(d),
                      .row_panels = panels(d->m), .column_panels = panels(d->n), .panel = panel_bytes(d)};
    if (more) {
        g->more = *more;
        g->panel += (size_t)panels(more->k) * PANEL * PANEL * 2;
    }
    divide(g, ctx->threads);
    g->pass = HONE_MIN(g->column_panels, HONE_MAX(MOST_PACKED / (int64_t)g->panel & ~1, 2));
    return g;
}

void hone__gemm_free(hone__gemm *g)
{
    if (g) hone__free(g->ctx, g);
}

/* Rows are one thread's, and P is one panel. */
bool hone__gemm_makes_inner(const hone__gemm *g) { return g->more.k > 0 && g->more.k <= PANEL && g->column_parts == 1; }

/* Panels of B that a thread packs at once where it packs its own. */
static int64_t group_of(const hone__gemm *g) { return g->parts == 1 ? GROUP : 2; }

/* What all threads pack: B and P. */
static size_t packed_bytes(const hone__gemm *g)
{
    return (g->own ? 0 : (size_t)g->pass * g->panel) + (hone__gemm_makes_inner(g) ? panel_bytes(&g->d) : 0);
}

/* Of a thread: sums, a stretch of A, and a group of B where that is used once. */
static size_t part_bytes(const hone__gemm *g)
{
    return HONE__GEMM_SUMS + (size_t)(stretch_of(g) + (g->own ? group_of(g) : 0)) * g->panel;
}

size_t hone__gemm_scratch(const hone__gemm *g) { return packed_bytes(g) + (size_t)(g->row_parts * g->column_parts) * part_bytes(g); }

#ifdef HONE_X86
typedef struct job {
    const hone__gemm *g;
    hone__gemm_operand a, b, p, q, inner;
    hone__gemm_product product;
    char *packed_b, *packed_p, *parts;
    void *made; /* the inner product's result, or NULL */
    int64_t begin, end; /* of B's panels: the pass */
    int64_t k;          /* terms of the pass */
} job;

/* `count` panels from the first-th on. */
static void pack_operand(const job *j, char *to, const hone__gemm_operand *x, const hone__gemm_operand *x2, int64_t all,
                         int64_t first, int64_t count, bool is_b)
{
    const hone__gemm *g = j->g;
    int64_t at = first * PANEL;
    hone__gemm_pack_amx(to, j->product.panel, x, g->parts, at, all - at, j->k, count, is_b);
    if (x2->data) hone__gemm_pack_amx(to + panel_bytes(&g->d), j->product.panel, x2, g->parts, at, all - at, g->more.k, count, is_b);
}

/* Where the i-th of `parts` shares of the pass begins: whole pairs of panels. */
static int64_t share(const job *j, int64_t i, int64_t parts)
{
    return HONE_MIN(j->begin + pairs(j->end - j->begin) * i / parts * 2, j->end);
}
static int64_t share_to_pack(const job *j, int64_t part) { return share(j, part, j->g->row_parts * j->g->column_parts); }
/* A panel of B, packed. */
static char *packed(const job *j, int64_t n) { return j->packed_b + (size_t)(n - j->begin) * j->product.panel; }

static void pack(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__gemm *g = j->g;
    int64_t n = share_to_pack(j, begin);
    if (!g->own) pack_operand(j, packed(j, n), &j->b, &j->q, g->d.n, n, share_to_pack(j, end) - n, true);
    if (begin == 0 && j->p.data) hone__gemm_pack_amx(j->packed_p, 0, &j->p, 1, 0, g->more.k, j->k, 1, true);
}

static void multiply(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__gemm *g = j->g;
    for (int64_t part = begin; part < end; part++) {
        char *sums = j->parts + (size_t)part * part_bytes(g), *a = sums + HONE__GEMM_SUMS;
        int64_t r = part / g->column_parts, m0 = g->row_panels * r / g->row_parts, m1 = g->row_panels * (r + 1) / g->row_parts;
        int64_t c = part % g->column_parts, step = stretch_of(g);
        int64_t n0 = share(j, c, g->column_parts), n1 = share(j, c + 1, g->column_parts);
        /* What this thread packed is in its own cache still. */
        int64_t own = share_to_pack(j, part), start = own > n0 && own < n1 ? own - n0 : 0;
        for (int64_t m = m0; m < m1; m += step) {
            int64_t to = HONE_MIN(m + step, m1), group = g->own ? group_of(g) : n1 - n0;
            if (g->own && g->parts > 1) {
                hone__gemm_pack_and_multiply_amx(&j->product, &j->a, m, to, &j->b, n0, n1, j->k, a, sums);
                continue;
            }
            pack_operand(j, a, &j->a, &j->inner, g->d.m, m, to - m, false);
            if (j->p.data)
                hone__gemm_inner_amx(a, j->product.panel, j->k, g->d.m, m, to, j->packed_p, g->more.k, (float)g->more.scale, j->made);
            for (int64_t n = n0; n < n1; n += group) {
                int64_t end_ = HONE_MIN(n + group, n1);
                char *b = g->own ? a + (size_t)step * j->product.panel : packed(j, n);
                if (g->own) pack_operand(j, b, &j->b, &j->q, g->d.n, n, end_ - n, true);
                hone__gemm_multiply_amx(&j->product, a, m, to, b, n, end_, g->own ? 0 : start, sums);
            }
        }
    }
}
#endif

/* Without C: instead of it, take is called. */
static void run(const hone__gemm *g, const void *a, const void *b, const void *bias, void *c, void *scratch,
                const hone__gemm_factors *f, const hone__view *sum, hone__sums_fn take, void *arg)
{
#ifdef HONE_X86
    const hone__matmul_desc *d = &g->d;
    const hone__gemm_more *more = &g->more;
    int64_t row = (int64_t)hone__dtype_bytes(d->c, d->c_row), parts = g->row_parts * g->column_parts;
    bool once_written = !d->accumulate && terms(d) == d->k;
    bool of_weight = d->a_col != 1; /* a product over the rows of activations */
    int64_t kept = g->parts == 1 ? CACHED : of_weight ? CACHED_F32 / 3 * 2 : CACHED_F32;
    bool stream = once_written && row * d->m > kept * parts && row % HONE_ALIGN == 0 && (uintptr_t)c % HONE_ALIGN == 0;
    job j = {.g = g, .a = {a, d->ab, d->a_col, d->a_row}, .b = {b, g->b_type, d->b_row, d->b_col}, .packed_b = scratch,
             .product = {d->m, d->n, g->parts, g->panel, c, d->c_row, d->bias ? bias : NULL, sum ? sum->data : NULL,
                         sum && sum->dtype == HONE_BF16, d->c == HONE_BF16, d->accumulate && c, stream && c, take, arg}};
    j.parts = j.packed_b + packed_bytes(g);
    j.packed_p = j.packed_b + (g->own ? 0 : (size_t)g->pass * g->panel);
    if (f) j.q = (hone__gemm_operand){f->q, more->q_stored, more->q_row, more->q_col};
    if (f && hone__gemm_makes_inner(g)) {
        j.p = (hone__gemm_operand){f->p, more->p_stored, more->p_row, more->p_col};
        j.made = f->inner;
    } else if (f) {
        j.inner = (hone__gemm_operand){f->inner, HONE_BF16, 1, more->k};
    }
    for (int64_t k = 0; k < d->k; k += j.k) {
        j.k = HONE_MIN(terms(d), d->k - k);
        if (j.k < terms(d)) j.product.panel = bytes_of(d, j.k);
        for (j.begin = 0; j.begin < g->column_panels; j.begin = j.end) {
            j.end = HONE_MIN(j.begin + (g->own ? g->column_panels : g->pass), g->column_panels);
            if (!g->own || j.p.data) hone__parallel_for(g->ctx, parts, 1, pack, &j);
            hone__parallel_for(g->ctx, parts, 1, multiply, &j);
        }
        j.a.data = (const char *)j.a.data + hone__dtype_bytes(j.a.type, j.k * j.a.along);
        j.b.data = (const char *)j.b.data + hone__dtype_bytes(j.b.type, j.k * j.b.along);
        j.product.add = true;
        j.product.bias = NULL;
    }
#else
    (void)g, (void)a, (void)b, (void)bias, (void)c, (void)scratch, (void)f, (void)sum, (void)take, (void)arg;
#endif
}

void hone__gemm_run(const hone__gemm *g, const void *a, const void *b, const void *bias, void *c, void *scratch,
                    const hone__gemm_factors *factors, const hone__view *sum)
{
    run(g, a, b, bias, c, scratch, factors, sum, NULL, NULL);
}

bool hone__gemm_hands_over(const hone__gemm *g)
{
    return g->column_parts == 1 && !g->d.bias && !g->d.accumulate && terms(&g->d) == g->d.k;
}

void hone__gemm_hand_over(const hone__gemm *g, const void *a, const void *b, hone__sums_fn take, void *arg, void *scratch)
{
    run(g, a, b, NULL, NULL, scratch, NULL, NULL, take, arg);
}
