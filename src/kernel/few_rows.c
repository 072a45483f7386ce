#include "kernel/few_rows.h"
#include "kernel/x86/few_rows.h"

/* How it is multiplied: by vectors (dot) or by tiles, of int8 or bf16. */
typedef enum method { DOT, INT8_TILES, BF16_TILES } method;

struct hone__few_rows {
    hone_ctx *ctx;
    hone_dtype format;
    int64_t rows, n, k;
    const uint8_t *w;
    method method;
    hone__quantized_dot dot;
};

#ifdef HONE_X86
/* A single row is no work for tiles. */
enum { FEWEST_TILE_ROWS = 2 };

static bool choose(hone__few_rows *f)
{
    bool tiles = hone__isa_level() == HONE__ISA_AMX;
    if (hone__isa_level() < HONE__ISA_AVX512 || f->rows < 1 || f->k < 32 || f->k % 32) return false;
    f->method = BF16_TILES;
    if (f->format == HONE_BF16) return tiles && f->rows <= HONE__HALF_ROWS && f->n >= HONE__STRIP;
    if (!(f->dot = hone__quantized_dot_avx512(f->format))) return false;
    f->method = tiles && f->rows >= FEWEST_TILE_ROWS ? INT8_TILES : DOT;
    return f->rows <= (f->method == DOT ? HONE__DOT_ROWS : HONE__TILE_ROWS);
}
#endif

bool hone__few_rows_possible(hone_dtype format, int64_t rows, int64_t n, int64_t k)
{
#ifdef HONE_X86
    return choose(&(hone__few_rows){.format = format, .rows = rows, .n = n, .k = k});
#else
    (void)format, (void)rows, (void)n, (void)k;
    return false;
#endif
}

hone__few_rows *hone__few_rows_new(hone_ctx *ctx, hone_dtype format, int64_t rows, int64_t n, int64_t k, const void *w)
{
#ifdef HONE_X86
    hone__few_rows f = {ctx, format, rows, n, k, w, DOT, NULL};
    if (!choose(&f)) return NULL;
    hone__few_rows *p = hone__calloc(ctx, 1, sizeof *p);
    if (p) *p = f;
    return p;
#else
    (void)ctx, (void)format, (void)rows, (void)n, (void)k, (void)w;
    return NULL;
#endif
}

void hone__few_rows_free(hone__few_rows *f)
{
    if (f) hone__free(f->ctx, f);
}

bool hone__few_rows_alike(const hone__few_rows *a, const hone__few_rows *b)
{
    return a->method == b->method && a->rows == b->rows && a->k == b->k;
}

#ifdef HONE_X86
/* A row in 8 bits: k values, then k / 32 scales and k / 32 scaled sums. */
static size_t row_bytes(const hone__few_rows *f) { return hone__align((size_t)(f->k + f->k / 32 * 8)); }

/* What the parts of x take in scratch, one behind the other. */
typedef struct room {
    size_t rows, values, scales; /* scales: and as much for sums */
    size_t strip;                /* of each thread */
} room;

static room room_of(const hone__few_rows *f)
{
    switch (f->method) {
    case INT8_TILES:
        return (room){(size_t)f->rows * row_bytes(f), hone__int8_tiles_values(f->rows, f->k), hone__int8_tiles_scales(f->rows, f->k),
                      hone__int8_strip_scratch(f->k)};
    case BF16_TILES: return (room){.values = hone__bf16_tiles_values(f->rows, f->k)};
    default: return (room){.rows = (size_t)f->rows * row_bytes(f)};
    }
}

typedef struct job {
    const hone__few_rows_part *parts;
    int n;
    hone__quantized_rows rows;
    hone__tiles tiles;
    char *strip;
    size_t strip_bytes;
} job;

static int64_t strips_of(const hone__few_rows *f) { return (f->n + HONE__STRIP - 1) / HONE__STRIP; }

static void dot_strips(const job *j, const hone__few_rows_part *part, int64_t begin, int64_t end)
{
    const hone__few_rows *f = part->product;
    size_t stride = hone__dtype_bytes(f->format, f->k);
    for (int64_t c = begin * HONE__STRIP; c < HONE_MIN(end * HONE__STRIP, f->n); c += HONE__STRIP) {
        float sum[HONE__DOT_ROWS][HONE__STRIP];
        int64_t n = HONE_MIN(f->n - c, (int64_t)HONE__STRIP);
        f->dot(f->w + (size_t)c * stride, n, &j->rows, f->k / 32, sum);
        for (int64_t r = 0; r < f->rows; r++) {
            int64_t at = r * f->n + c;
            for (int64_t i = 0; i < n && part->bias; i++) sum[r][i] += part->bias[c + i];
            if (part->y_type == HONE_BF16)
                for (int64_t i = 0; i < n; i++) ((uint16_t *)part->y)[at + i] = hone__f32_to_bf16(sum[r][i]);
            else
                memcpy((float *)part->y + at, sum[r], (size_t)n * sizeof(float));
        }
    }
}

static void run_strips(const job *j, const hone__few_rows_part *part, int64_t begin, int64_t end, void *scratch)
{
    const hone__few_rows *f = part->product;
    hone__tiles_product p = {&j->tiles, f->format, f->w, f->n, part->bias, part->y, part->y_type == HONE_BF16};
    switch (f->method) {
    case DOT: dot_strips(j, part, begin, end); break;
    case INT8_TILES: hone__int8_strips_amx(&p, begin, end, scratch); break;
    case BF16_TILES: hone__bf16_strips_amx(&p, begin, end); break;
    }
}

/* Strips are numbered through all parts. */
static void run_share(void *arg, int thread, int64_t begin, int64_t end)
{
    const job *j = arg;
    int64_t at = 0;
    for (int i = 0; i < j->n; i++) {
        int64_t n = strips_of(j->parts[i].product), b = HONE_MAX(begin - at, (int64_t)0), e = HONE_MIN(end - at, n);
        if (b < e) run_strips(j, &j->parts[i], b, e, j->strip + (size_t)thread * j->strip_bytes);
        at += n;
    }
}

/* Rows of x in 8 bits. */
static void quantize(const hone__few_rows *f, const void *x, hone_dtype x_type, char *at, hone__quantized_rows *rows)
{
    rows->rows = (int)f->rows;
    for (int64_t r = 0; r < f->rows; r++, at += row_bytes(f)) {
        int8_t *values = (int8_t *)at;
        float *scales = (float *)(void *)(at + f->k), *sums = scales + f->k / 32;
        hone__quantize_row_avx512((const char *)x + hone__dtype_bytes(x_type, r * f->k), x_type == HONE_BF16, f->k / 32, values,
                                  scales, sums);
        rows->values[r] = values, rows->scales[r] = scales, rows->sums[r] = sums;
    }
}
#endif

size_t hone__few_rows_scratch(const hone__few_rows *f)
{
#ifdef HONE_X86
    room r = room_of(f);
    return r.rows + r.values + 2 * r.scales + (size_t)f->ctx->threads * r.strip;
#else
    (void)f;
    return 0;
#endif
}

void hone__few_rows_run(const hone__few_rows_part *parts, int n, const void *x, hone_dtype x_type, void *scratch)
{
#ifdef HONE_X86
    const hone__few_rows *f = parts[0].product;
    room r = room_of(f);
    char *at = scratch;
    job j = {.parts = parts, .n = n, .strip = at + r.rows + r.values + 2 * r.scales, .strip_bytes = r.strip};
    char *values = at + r.rows, *scales = values + r.values;
    j.tiles = (hone__tiles){(int)f->rows, f->k, values, (float *)(void *)scales, (float *)(void *)(scales + r.scales)};
    if (f->method != BF16_TILES) quantize(f, x, x_type, at, &j.rows);
    if (f->method == INT8_TILES) hone__int8_tiles_amx(&j.tiles, &j.rows);
    if (f->method == BF16_TILES) hone__bf16_tiles_amx(&j.tiles, x);
    int64_t strips = 0, strip = HONE__STRIP * f->k; /* weights */
    for (int i = 0; i < n; i++) strips += strips_of(parts[i].product);
    /* A thread is worth 10 us, about 130 thousand weights; a chunk, which may be waited for, one or two. */
    int64_t threads = HONE_MIN((int64_t)f->ctx->threads, HONE_MAX(strips * strip / 131072, (int64_t)1));
    hone__parallel_share(strips, HONE_MAX(32768 / strip, (int64_t)1), threads, run_share, &j);
#else
    (void)parts, (void)n, (void)x, (void)x_type, (void)scratch;
#endif
}
