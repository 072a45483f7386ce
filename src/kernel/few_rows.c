#include "kernel/few_rows.h"
#include "kernel/x86/few_rows.h"

struct hone__few_rows {
    hone_ctx *ctx;
    hone_dtype format;
    int64_t rows, n, k;
    const void *w;
};

static bool possible(const hone__few_rows *f)
{
#ifdef HONE_X86
    if (hone__isa_level() < HONE__ISA_AVX512 || f->rows < 1 || f->k < 1) return false;
    if (f->format == HONE_BF16) return hone__isa_level() == HONE__ISA_AMX && f->rows <= HONE__HALF_ROWS && f->n >= HONE__STRIP;
    return hone__interleaves(f->format) && f->rows <= HONE__BLOCK_ROWS && f->k % 32 == 0;
#else
    (void)f;
    return false;
#endif
}

bool hone__few_rows_possible(hone_dtype format, int64_t rows, int64_t n, int64_t k)
{
    return possible(&(hone__few_rows){.format = format, .rows = rows, .n = n, .k = k});
}

hone__few_rows *hone__few_rows_new(hone_ctx *ctx, hone_dtype format, int64_t rows, int64_t n, int64_t k, const void *w)
{
    hone__few_rows f = {ctx, format, rows, n, k, w};
    if (!possible(&f)) return NULL;
    hone__few_rows *p = hone__calloc(ctx, 1, sizeof *p);
    if (p) *p = f;
    return p;
}

void hone__few_rows_free(hone__few_rows *f)
{
    if (f) hone__free(f->ctx, f);
}

bool hone__few_rows_alike(const hone__few_rows *a, const hone__few_rows *b)
{
    return (a->format == HONE_BF16) == (b->format == HONE_BF16) && a->rows == b->rows && a->k == b->k;
}

/* ---- interleaved blocks ---- */

static const hone__block_layout *layout_of(hone_dtype format)
{
    static const hone__block_layout q4_0 = HONE__LAYOUT_Q4_0, q4_1 = HONE__LAYOUT_Q4_1, q8_0 = HONE__LAYOUT_Q8_0;
    return format == HONE_Q4_0 ? &q4_0 : format == HONE_Q4_1 ? &q4_1 : format == HONE_Q8_0 ? &q8_0 : NULL;
}

bool hone__interleaves(hone_dtype format) { return layout_of(format); }

static int64_t strips_of(int64_t n) { return (n + HONE__STRIP - 1) / HONE__STRIP; }
/* Bytes of a strip of rows of k values. */
static int64_t strip_bytes(const hone__block_layout *f, int64_t k)
{
    return (k / 32 + f->halves - 1) / f->halves * hone__strip_block_bytes(f);
}

size_t hone__interleaved_bytes(hone_dtype format, int64_t n, int64_t k)
{
    const hone__block_layout *f = layout_of(format);
    return (size_t)(strips_of(n) * strip_bytes(f, k));
}

typedef struct interleaving {
    const hone__block_layout *layout;
    int64_t block; /* bytes */
    int64_t n, k;
    const uint8_t *from;
    uint8_t *to;
} interleaving;

/* Word i of 4 values, each in a byte. */
static uint32_t word_of(const hone__block_layout *f, const uint8_t *values, int i)
{
    uint32_t word;
    memcpy(&word, values + 4 * (f->halves == 2 ? i % 4 : i), 4);
    if (f->halves == 1) return word ^ 0x80808080;
    return (i < 4 ? word : word >> 4) & 0x0F0F0F0F; /* values 0 to 15 are low nibbles, 16 to 31 high */
}

/* One block to its place among those of a strip: row r of it, half h of the bytes. */
static void interleave_block(const hone__block_layout *f, const uint8_t *from, uint8_t *to, int64_t r, int64_t h)
{
    uint8_t *scales = to + HONE__WORDS_BYTES + h * 32, *minima = scales + f->halves * 32;
    for (int i = 0; i < 8; i++) {
        uint32_t both;
        memcpy(&both, to + i * 64 + r * 4, 4);
        both |= word_of(f, from + f->values, i) << 4 * h;
        memcpy(to + i * 64 + r * 4, &both, 4);
    }
    memcpy(scales + r * 2, from + f->scale, 2);
    if (f->minimum) memcpy(minima + r * 2, from + f->minimum, 2);
}

static void interleave_strips(void *arg, int64_t begin, int64_t end)
{
    const interleaving *i = arg;
    const hone__block_layout *f = i->layout;
    int64_t bytes = strip_bytes(f, i->k), blocks = i->k / 32;
    for (int64_t s = begin; s < end; s++) {
        uint8_t *to = i->to + s * bytes;
        memset(to, 0, (size_t)bytes); /* rows behind the last one stay so */
        for (int64_t r = 0; r < HONE_MIN(i->n - s * HONE__STRIP, (int64_t)HONE__STRIP); r++)
            for (int64_t b = 0; b < blocks; b++)
                interleave_block(f, i->from + ((s * HONE__STRIP + r) * blocks + b) * i->block,
                                 to + b / f->halves * hone__strip_block_bytes(f), r, b % f->halves);
    }
}

void hone__interleave(const hone_ctx *ctx, hone_dtype format, int64_t n, int64_t k, const void *w, void *to)
{
    interleaving i = {layout_of(format), hone__dtypes[format].bytes, n, k, w, to};
    hone__parallel_for(ctx, strips_of(n), HONE_MAX(16384 / k, (int64_t)1), interleave_strips, &i);
}

/* ---- running ---- */

#ifdef HONE_X86
typedef struct job {
    const hone__few_rows_part *parts;
    int n;
    const char *x;
} job;

/* Strips are numbered through all parts. */
static void run_share(void *arg, int thread, int64_t begin, int64_t end)
{
    const job *j = arg;
    int64_t at = 0;
    (void)thread;
    for (int i = 0; i < j->n; i++) {
        const hone__few_rows_part *part = &j->parts[i];
        const hone__few_rows *f = part->product;
        int64_t n = strips_of(f->n), b = HONE_MAX(begin - at, (int64_t)0), e = HONE_MIN(end - at, n);
        hone__strips p = {f->format, f->rows, f->n, f->k, f->w, j->x, part->bias, part->y, part->y_type == HONE_BF16};
        if (b < e && f->format == HONE_BF16) hone__half_strips_amx(&p, b, e);
        else if (b < e) hone__block_strips_avx512(&p, b, e);
        at += n;
    }
}
#endif

size_t hone__few_rows_scratch(const hone__few_rows *f)
{
#ifdef HONE_X86
    return f->format == HONE_BF16 ? hone__half_rows_bytes(f->rows, f->k) : hone__block_rows_bytes(f->rows, f->k);
#else
    (void)f;
    return 0;
#endif
}

void hone__few_rows_run(const hone__few_rows_part *parts, int n, const void *x, hone_dtype x_type, void *scratch)
{
#ifdef HONE_X86
    const hone__few_rows *f = parts[0].product;
    if (f->format == HONE_BF16) hone__half_rows_amx(x, f->rows, f->k, scratch);
    else hone__block_rows_avx512(x, x_type == HONE_BF16, f->rows, f->k, scratch);
    job j = {parts, n, scratch};
    int64_t strips = 0, strip = HONE__STRIP * f->k; /* weights */
    for (int i = 0; i < n; i++) strips += strips_of(parts[i].product->n);
    /* A thread is worth 10 us, about 130 thousand weights; a chunk, which may be waited for, one or two. */
    int64_t threads = HONE_MIN((int64_t)f->ctx->threads, HONE_MAX(strips * strip / 131072, (int64_t)1));
    hone__parallel_share(strips, HONE_MAX(32768 / strip, (int64_t)1), threads, run_share, &j);
#else
    (void)parts, (void)n, (void)x, (void)x_type, (void)scratch;
#endif
}
