#include "kernel/narrow.h"
#include "kernel/x86/narrow.h"

/* A narrower one is a vector's work; with fewer rows there is nothing to be won. */
enum { NARROWEST = 4, WIDEST = HONE__NARROW_COLUMNS, FEWEST_ROWS = 128, FEWEST_COLUMNS = 64 };

struct hone__narrow {
    hone_ctx *ctx;
    hone__narrow_product product; /* turned: B is the narrow one */
    int64_t spans, parts;
};

#ifdef HONE_X86
static bool possible(const hone__matmul_desc *d)
{
    return hone__isa_level() == HONE__ISA_AMX && d->ab == HONE_BF16 && d->batch == 1 && !d->pack_b && !d->b_raw && !d->bias &&
           d->k >= FEWEST_ROWS;
}

static bool fits(int64_t narrow, int64_t wide) { return narrow >= NARROWEST && narrow <= WIDEST && wide >= FEWEST_COLUMNS; }
#endif

hone__narrow *hone__narrow_new(hone_ctx *ctx, const hone__matmul_desc *d)
{
#ifdef HONE_X86
    bool left = fits(d->m, d->n) && d->b_col == 1 && (d->a_row == 1 || d->a_col == 1);
    bool right = !left && fits(d->n, d->m) && d->a_row == 1 && (d->b_row == 1 || d->b_col == 1);
    if (!possible(d) || !(left || right)) return NULL;
    hone__narrow *w = hone__calloc(ctx, 1, sizeof *w);
    if (!w) return NULL;
    w->ctx = ctx;
    w->product = (hone__narrow_product){.k = d->k, .r = right ? d->n : d->m, .n = right ? d->m : d->n,
                                        .wide_row = right ? d->a_col : d->b_row, .c_row = d->c_row, .turned = right,
                                        .half = d->c == HONE_BF16, .add = d->accumulate};
    w->product.narrow = right ? (hone__gemm_operand){.type = HONE_BF16, .along = d->b_row, .other = d->b_col}
                              : (hone__gemm_operand){.type = HONE_BF16, .along = d->a_col, .other = d->a_row};
    w->spans = (w->product.n + HONE__NARROW_SPAN - 1) / HONE__NARROW_SPAN;
    w->parts = HONE_MIN((int64_t)ctx->threads, w->spans);
    return w;
#else
    (void)ctx, (void)d;
    return NULL;
#endif
}

void hone__narrow_free(hone__narrow *w)
{
    if (w) hone__free(w->ctx, w);
}

#ifdef HONE_X86
static size_t part_bytes(const hone__narrow *w)
{
    return hone__narrow_scratch_amx(&w->product, (w->spans + w->parts - 1) / w->parts);
}

typedef struct job {
    const hone__narrow *w;
    hone__narrow_product product;
    char *scratch;
} job;

static void part(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    const hone__narrow *w = j->w;
    for (int64_t i = begin; i < end; i++)
        hone__narrow_amx(&j->product, w->spans * i / w->parts, w->spans * (i + 1) / w->parts, j->scratch + (size_t)i * part_bytes(w));
}
#endif

size_t hone__narrow_scratch(const hone__narrow *w)
{
#ifdef HONE_X86
    return (size_t)w->parts * part_bytes(w);
#else
    (void)w;
    return 0;
#endif
}

void hone__narrow_run(const hone__narrow *w, const void *a, const void *b, void *c, void *scratch)
{
#ifdef HONE_X86
    job j = {w, w->product, scratch};
    j.product.narrow.data = j.product.turned ? b : a;
    j.product.wide = j.product.turned ? a : b;
    j.product.c = c;
    hone__parallel_for(w->ctx, w->parts, 1, part, &j);
#else
    (void)w, (void)a, (void)b, (void)c, (void)scratch;
#endif
}
