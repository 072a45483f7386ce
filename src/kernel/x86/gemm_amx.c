/* Products of bf16 and f32 matrices with AMX: TDPBF16PS multiplies a tile of 16 x 32 by one of 32 x 16 (in pairs of k) into 16 x 16
   f32. A panel is packed tile after tile, as the unit loads them (gemm_pack_amx.c); two panels make 32 x 32 of C in four tiles.
   Every TDPBF16PS needs a load of 1 KB, which the second cache is too slow for: so a chunk of a panel of B stays in the first one
   while a thread's stretch of A, in its second cache, streams by; sums that are not complete lie in the second cache, too.
   What costs beside that is memory, and packing; as the unit takes a product every 16th cycle alone, both go on beside it. Operands
   are read in runs as long as they have, and C is written 128 bytes at a time, past the caches where it is larger than they are:
   single lines of 64 bytes take four times as long. Line buffers that stores occupy are kept from the loads of tiles: so bf16
   products write a row of C at a time (`meanwhile`), and f32 ones split an eighth of a square (`packing`).
   An f32 is the sum of three bf16 (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For
   Higher-Precision Computations"): six products of such parts give what one of f32 gives, in less than half its time. What is
   left out is 2^-26 of a product; what is infinite, or above bf16's 3.39e38, becomes NaN. */
#include "kernel/x86/gemm.h"
#include "kernel/x86/avx512.h"
#include "kernel/x86/tiles.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    PANEL = HONE__GEMM_PANEL,
    SQUARE = 2048,     /* bytes of 32 x 32 */
    WIDE = 2 * PANEL,  /* columns that are written at once */
    CHUNK = 18,        /* squares of B in the first cache */
    CHUNK_F32 = 48,    /* thrice as many in the second one: each is loaded for more products */
    PRODUCTS = 6,      /* of parts of squares, for one of f32 */
    SUM_AHEAD = 16,    /* rows of what is added that are fetched before they are */
    FETCHED = 2,       /* lines of the next panels of B that are fetched beside a square's products */
    STRETCH = 3 << 18, /* bytes of A in the second one, and the most panels that they are */
    MOST_PANELS = HONE__GEMM_SUMS / (PANEL * WIDE * 4)
};

/* What goes on beside the tiles' work, a little with each square: of the columns before these, complete rows of sums go to C
   one by one, as a whole panel's would keep the line buffers from the loads of tiles; the panel of B that comes next is
   fetched, which may lie in another thread's cache. */
typedef struct meanwhile {
    const hone__gemm_product *g;
    const float *sums;       /* [rows, WIDE] */
    int64_t i, j, columns;   /* where in C they begin; how many columns they have */
    int64_t row, complete;   /* the first row that is to be written, and the first one that is not complete */
    const char *next, *end;  /* of B */
    struct packing *packing; /* of f32 in three parts, which has it instead of all that; or NULL */
} meanwhile;

/* A row of sums + bias + what is added, + C, to C. */
INLINE void write_row(const hone__gemm_product *g, int64_t i, int64_t j, int64_t columns, const float *sums)
{
    int64_t at = i * g->c_row + j;
    if (i >= g->m) return;
    if (g->stream && columns == WIDE) { /* past the caches */
        __m512 x[4];
        for (int q = 0; q < 4; q++) x[q] = _mm512_load_ps(sums + 16 * q);
        if (g->bias)
            for (int q = 0; q < 4; q++) x[q] = _mm512_add_ps(x[q], _mm512_loadu_ps(g->bias + j + 16 * q));
        if (g->sum)
            for (int q = 0; q < 4; q++) x[q] = _mm512_add_ps(x[q], load_real(g->sum, g->half_sum, at + 16 * q, 0xFFFF));
        if (g->half) {
            _mm512_stream_si512((void *)((uint16_t *)g->c + at), (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
            _mm512_stream_si512((void *)((uint16_t *)g->c + at + 32), (__m512i)_mm512_cvtne2ps_pbh(x[3], x[2]));
        } else {
            for (int q = 0; q < 4; q++) _mm512_stream_ps((float *)g->c + at + 16 * q, x[q]);
        }
        return;
    }
    for (int64_t q = 0; q < columns; q += 16) {
        __mmask16 mask = first_lanes(columns - q);
        __m512 x = _mm512_load_ps(sums + q);
        if (g->bias) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, g->bias + j + q));
        if (g->sum) x = _mm512_add_ps(x, load_real(g->sum, g->half_sum, at + q, mask));
        if (g->add) x = _mm512_add_ps(x, load_real(g->c, g->half, at + q, mask));
        store_real(g->c, g->half, at + q, mask, x);
    }
}

INLINE void write_next(meanwhile *w)
{
    int64_t i = w->i + w->row;
    int64_t size = w->g->half_sum ? 2 : 4;
    for (int64_t q = 0; q < WIDE * size && w->g->sum; q += 64)
        _mm_prefetch((const char *)w->g->sum + ((i + SUM_AHEAD) * w->g->c_row + w->j) * size + q, _MM_HINT_T0);
    write_row(w->g, i, w->j, w->columns, w->sums + w->row * WIDE);
    w->row++;
}

/* All that is complete below the end-th row. */
static void write_until(meanwhile *w, int64_t end)
{
    while (w->row < HONE_MIN(w->complete, end)) write_next(w);
}

/* Onto the tiles 0 to 3. */
INLINE void multiply(const char *a, const char *b, int64_t squares, meanwhile *w)
{
    for (int64_t s = 0; s < squares; s++, a += SQUARE, b += SQUARE) {
        _tile_stream_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + 1024, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_stream_loadd(5, a + 1024, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        if (w && w->row < w->complete) write_next(w);
        for (int f = 0; f < FETCHED && w && w->next < w->end; f++, w->next += 64) _mm_prefetch(w->next, _MM_HINT_T1);
    }
}

/* Square by square, the left operand's in the tiles 4 and 5 and the right one's in 6 and 7. */
INLINE void left(const char *a)
{
    _tile_stream_loadd(4, a, 64);
    _tile_stream_loadd(5, a + 1024, 64);
}
INLINE void right(const char *b)
{
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + 1024, 64);
}
INLINE void times(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* Panels in three parts, packed beside the products of those before: A's first, B's first, the rest of A's, which stay, and
   B's others, of which two have a place. */
typedef struct packing {
    const hone__gemm_operand *a, *b;
    char *places; /* of A's panels, and behind them of two of B's */
    size_t size;  /* bytes of a panel */
    int64_t rows, columns, k, m0, n0, of_a, all; /* of_a: panels of A; all: of both */
    int64_t made, open;                          /* panels that are packed, and that may be by now */
    int64_t done, eighths;                       /* of the next panel */
    int64_t due, each; /* an eighth is packed after each `each` / HONE__GEMM_EIGHTHS products of parts */
} packing;

static void pack_next(packing *p)
{
    bool is_b = p->made == 1 || p->made > p->of_a;
    int64_t panel = HONE_MAX(p->made - (is_b ? p->of_a : 1), 0), square = p->done / HONE__GEMM_EIGHTHS;
    int64_t at = ((is_b ? p->n0 : p->m0) + panel) * PANEL, left = (is_b ? p->columns : p->rows) - at;
    char *to = p->places + (size_t)(is_b ? p->of_a + panel % 2 : panel) * p->size + square * 3 * SQUARE;
    hone__gemm_pack_eighth_amx(to, is_b ? p->b : p->a, at, left, square * 32, p->k, (int)(p->done % HONE__GEMM_EIGHTHS), is_b);
    if (++p->done == p->eighths) p->made++, p->done = 0;
}

/* Before the m-th panel of A is multiplied with the column-th of B: what both need is packed. */
static void ready(packing *p, int64_t m, int64_t column)
{
    int64_t needed = column == 0 ? m + 2 : p->of_a + column + 1;
    p->open = HONE_MIN(p->of_a + column + 2, p->all);
    /* The next panel is one of A's, needed at once, or one of B's, needed when all of A's are multiplied. */
    p->each = column == 0 ? HONE__GEMM_EIGHTHS : p->of_a * PRODUCTS;
    while (p->made < needed) pack_next(p);
}

INLINE void times_beside(packing *p)
{
    times();
    if (!p || (p->due += HONE__GEMM_EIGHTHS) < p->each) return;
    p->due = p->made < p->open ? p->due - p->each : 0;
    if (p->made < p->open) pack_next(p);
}

/* The same of f32 in three parts, of 8 bits each: the six products of parts that an f32 product's 24 bits reach, smallest
   first, as far as each shares an operand with the one before. */
INLINE void multiply_f32(const char *a, const char *b, int64_t squares, packing *p)
{
    for (int64_t s = 0; s < squares; s++, a += 3 * SQUARE, b += 3 * SQUARE) {
        left(a), right(b + 2 * SQUARE), times_beside(p);
        right(b + SQUARE), times_beside(p);
        left(a + SQUARE), times_beside(p);
        right(b), times_beside(p);
        left(a + 2 * SQUARE), times_beside(p);
        left(a), times_beside(p);
    }
}

/* 32 x 32 sums in rows `row` apart: of `squares` squares, of so many parts, and of what `begin` has, rows `begin_row` apart
   (0: one for all), unless that is NULL. */
INLINE void multiply_panels(float *sums, int64_t row, const char *a, const char *b, int64_t squares, int parts, const float *begin,
                            int64_t begin_row, meanwhile *w)
{
    begin_square(begin, begin_row, begin != NULL);
    if (parts == 1)
        multiply(a, b, squares, w);
    else
        multiply_f32(a, b, squares, w->packing);
    store_square(sums, row);
}

void hone__gemm_inner_amx(char *a, size_t panel, int64_t k, int64_t m, int64_t m0, int64_t m1, const char *p, int64_t rank,
                          float scale, void *inner)
{
    _Alignas(64) float sums[PANEL * WIDE];
    int64_t squares = (k + 31) / 32;
    __m512 by = _mm512_set1_ps(scale);
    open_full_tiles();
    for (int64_t i = m0 * PANEL; i < m1 * PANEL; i++) {
        char *own = a + (size_t)(i / PANEL - m0) * panel;
        if (i % PANEL == 0) multiply_panels(sums, WIDE, own, p, squares, 1, NULL, 0, NULL);
        const float *sum = sums + i % PANEL * WIDE;
        __m512 low = _mm512_mul_ps(_mm512_load_ps(sum), by), high = _mm512_mul_ps(_mm512_load_ps(sum + 16), by);
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(own + squares * SQUARE + i % PANEL / 16 * 1024 + i % 16 * 64, both);
        if (inner && i < m) _mm512_mask_storeu_epi16((uint16_t *)inner + i * rank, first32(rank), both);
    }
    _tile_release();
}

/* The part of C that will be added to, or written in single lines. */
INLINE void fetch(const hone__gemm_product *g, int64_t i, int64_t j, int64_t columns)
{
    int64_t size = g->half ? 2 : 4, end = HONE_MIN(g->n - j, columns) * size;
    for (int64_t r = i; r < HONE_MIN(i + PANEL, g->m); r++)
        for (int64_t at = 0; at < end; at += 64) _mm_prefetch((const char *)g->c + (r * g->c_row + j) * size + at, _MM_HINT_T1);
}

/* Can tiles be stored where C lies? Those of f32 in three parts, unless C is to be read, whose latency `finish` hides. */
static bool stores(const hone__gemm_product *g, int64_t rows, int64_t columns)
{
    return g->parts > 1 && !g->half && !g->stream && !g->take && !g->add && rows <= g->m && columns <= g->n;
}

/* A panel of sums, of columns from j on: handed over, written, or left for later. */
static void finish(const hone__gemm_product *g, int64_t i, int64_t j, int64_t columns, const float *sums, meanwhile *w)
{
    columns = HONE_MIN(columns, g->n - j);
    if (g->take) {
        g->take(g->arg, i, j, HONE_MIN(g->m - i, PANEL), columns, sums, WIDE);
        return;
    }
    if (g->parts > 1) { /* next to panels whose tiles are stored where C lies */
        for (int64_t r = 0; r < PANEL; r++) write_row(g, i + r, j, columns, sums + r * WIDE);
        return;
    }
    if (i == w->i) w->row = 0, w->j = j, w->columns = columns;
    w->complete = i - w->i + PANEL;
}

/* C's panels [m0, m1) by one or two columns of them. */
static void multiply_columns(const hone__gemm_product *g, const char *a, int64_t m0, int64_t m1, const char *b, int64_t n,
                             int64_t count, float *sums, meanwhile *w)
{
    const int64_t size = g->parts * SQUARE, most = g->parts == 1 ? CHUNK : CHUNK_F32;
    int64_t panel = (int64_t)g->panel, squares = panel / size, chunks = (squares + most - 1) / most;
    if (count == 1) write_until(w, w->complete);
    for (int64_t q = 0; q < count; q++)
        for (int64_t c = 0; c < chunks; c++) {
            int64_t first = squares * c / chunks, some = squares * (c + 1) / chunks - first;
            bool last = c == chunks - 1, complete = last && q == count - 1;
            for (int64_t m = m0; m < m1; m++) {
                if (w->packing) ready(w->packing, m - m0, n + q - w->packing->n0);
                const char *panel_a = a + (m - m0) * panel + first * size, *panel_b = b + q * panel + first * size;
                float *all = sums + (m - m0) * PANEL * WIDE, *own = all + q * PANEL;
                if (stores(g, (m + 1) * PANEL, (n + count) * PANEL)) {
                    bool biased = c == 0 && g->bias;
                    own = (float *)g->c + m * PANEL * g->c_row + (n + q) * PANEL;
                    if (last) fetch(g, m * PANEL, (n + q) * PANEL, PANEL);
                    multiply_panels(own, g->c_row, panel_a, panel_b, some, g->parts,
                                    biased ? g->bias + (n + q) * PANEL : c > 0 ? own : NULL, biased ? 0 : g->c_row, w);
                    continue;
                }
                if (complete && g->add) fetch(g, m * PANEL, n * PANEL, WIDE);
                if (q == 0 && c == 0) write_until(w, (m - m0) * PANEL + PANEL - some);
                multiply_panels(own, WIDE, panel_a, panel_b, some, g->parts, c > 0 ? own : NULL, WIDE, w);
                if (complete) finish(g, m * PANEL, n * PANEL, count * PANEL, all, w);
            }
        }
}

int64_t hone__gemm_stretch_amx(size_t panel) { return HONE_MIN(HONE_MAX(STRETCH / (int64_t)panel, 1), MOST_PANELS); }

void hone__gemm_multiply_amx(const hone__gemm_product *g, const char *a, int64_t m0, int64_t m1, const char *b, int64_t n0,
                             int64_t n1, int64_t start, void *sums)
{
    int64_t span = (n1 - n0 + 1) & ~1;
    meanwhile w = {.g = g, .sums = sums, .i = m0 * PANEL};
    open_full_tiles();
    for (int64_t i = n0; i < n1; i += 2) {
        int64_t n = i + start < n1 ? i + start : i + start - span;
        w.next = b + ((n + 2 < n1 ? n + 2 : n0) - n0) * (int64_t)g->panel;
        w.end = w.next + 2 * g->panel;
        multiply_columns(g, a, m0, m1, b + (n - n0) * (int64_t)g->panel, n, HONE_MIN(n1 - n, 2), sums, &w);
    }
    write_until(&w, w.complete);
    _tile_release();
    if (g->stream) _mm_sfence();
}

void hone__gemm_pack_and_multiply_amx(const hone__gemm_product *g, const hone__gemm_operand *a, int64_t m0, int64_t m1,
                                      const hone__gemm_operand *b, int64_t n0, int64_t n1, int64_t k, char *panels, void *sums)
{
    packing p = {.a = a, .b = b, .places = panels, .size = g->panel, .rows = g->m, .columns = g->n, .k = k, .m0 = m0, .n0 = n0,
                 .of_a = m1 - m0, .all = m1 - m0 + n1 - n0, .eighths = (k + 31) / 32 * HONE__GEMM_EIGHTHS};
    meanwhile w = {.g = g, .sums = sums, .i = m0 * PANEL, .packing = &p};
    const char *two_of_b = panels + (size_t)p.of_a * g->panel;
    open_full_tiles();
    for (int64_t n = n0; n < n1; n += 2) multiply_columns(g, panels, m0, m1, two_of_b, n, HONE_MIN(n1 - n, 2), sums, &w);
    _tile_release();
    if (g->stream) _mm_sfence();
}
