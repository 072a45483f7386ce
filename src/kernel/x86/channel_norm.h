/* Norms of channels whose number is a multiple of 16. Columns are taken 64 at once, so that what belongs to a column stays in
   registers from row to row; of fewer channels several rows are such a strip of 64. One pass of a few instructions a vector
   leaves only the caches to wait for. Formulas: kernel/ref/channel_norm.c. Included by
   channel_norm_<isa>.c, which define X86(name). */
#include "kernel/x86/avx512.h"
#include "kernel/x86/x86.h"

#define INLINE static inline __attribute__((always_inline))
#define EACH(i, n) _Pragma("GCC unroll 4") for (int i = 0; i < (n); i++)

enum { STRIP = 64, VECTORS = STRIP / 16 };
/* The order of coefficients, as channel_norm_finish and _grad_finish leave them. */
enum { MEAN, SCALE, BIAS, SLOPE, SHIFT, COEFFICIENTS };

static bool fits(const hone__channel_norm *a) { return a->n % 16 == 0; }

INLINE __m512 load(const void *x, hone_dtype type, int64_t at)
{
    if (type == HONE_BF16) return widen(_mm256_loadu_si256((const void *)((const uint16_t *)x + at)));
    return _mm512_loadu_ps((const float *)x + at);
}
INLINE void store(void *y, hone_dtype type, int64_t at, __m512 v)
{
    if (type == HONE_BF16) _mm256_storeu_si256((void *)((uint16_t *)y + at), narrow(v));
    else _mm512_storeu_ps((float *)y + at, v);
}

/* A piece of a segment. What belongs to columns is repeated to a strip where a row is shorter. */
typedef struct piece {
    const hone__channel_norm *a;
    int64_t first, count; /* of elements in x */
    int64_t wide;         /* columns: n, or STRIP of several rows */
    const float *k[COEFFICIENTS];
    float *sum, *product; /* of columns */
    float spread[COEFFICIENTS][STRIP];
} piece;

static void begin_piece(piece *p, const hone__channel_norm *a, int64_t t)
{
    int64_t segment = t / a->pieces, i = t % a->pieces;
    int64_t begin = a->rows * i / a->pieces, end = a->rows * (i + 1) / a->pieces;
    p->a = a;
    p->first = (segment * a->rows + begin) * a->n;
    p->count = (end - begin) * a->n;
    p->wide = STRIP % a->n == 0 ? STRIP : a->n;
}

static const float *spread(piece *p, const float *x, int i)
{
    if (p->wide == p->a->n) return x;
    for (int64_t c = 0; c < p->wide; c += p->a->n) memcpy(p->spread[i] + c, x, (size_t)p->a->n * sizeof *x);
    return p->spread[i];
}
static void spread_coefficients(piece *p, int64_t segment)
{
    for (int i = 0; i < COEFFICIENTS; i++)
        p->k[i] = spread(p, (const float *)p->a->coefficients + (segment * COEFFICIENTS + i) * p->a->n, i);
}

/* Where columns' sums go: 0 to begin with; of several rows a strip, folded in the end. */
static float *begin_sum(const piece *p, float *sum, float *strip)
{
    float *to = p->wide == p->a->n ? sum : strip;
    memset(to, 0, (size_t)p->wide * sizeof *to);
    return to;
}
static void end_sum(const piece *p, float *sum, const float *strip)
{
    if (p->wide == p->a->n) return;
    memset(sum, 0, (size_t)p->a->n * sizeof *sum);
    for (int64_t c = 0; c < p->wide; c++) sum[c % p->a->n] += strip[c];
}

/* `rows` times `vectors` vectors, `step` elements apart, from element `at` and column c on. */
typedef void (*strip_fn)(piece *p, const int vectors, int64_t at, int64_t step, int64_t rows, int64_t c);
INLINE void walk(piece *p, const strip_fn fn)
{
    int64_t n = p->wide, rows = p->count / n, at = p->first, c = 0;
    for (; c + STRIP <= n; c += STRIP) fn(p, VECTORS, at + c, n, rows, c);
    for (; c < n; c += 16) fn(p, 1, at + c, n, rows, c);
    /* rows that are no whole strip */
    for (c = rows * n; c < p->count; c += 16) fn(p, 1, at + c, n, 1, c - rows * n);
}

/* ---- forward ---- */

INLINE void add(piece *p, const int vectors, int64_t at, int64_t step, int64_t rows, int64_t c)
{
    __m512 sum[VECTORS];
    EACH(i, vectors) sum[i] = _mm512_loadu_ps(p->sum + c + 16 * i);
    for (; rows > 0; rows--, at += step)
        EACH(i, vectors) sum[i] = _mm512_add_ps(sum[i], load(p->a->x, p->a->xt, at + 16 * i));
    EACH(i, vectors) _mm512_storeu_ps(p->sum + c + 16 * i, sum[i]);
}

INLINE void add_squares(piece *p, const int vectors, int64_t at, int64_t step, int64_t rows, int64_t c)
{
    __m512 sum[VECTORS], mean[VECTORS];
    EACH(i, vectors) {
        sum[i] = _mm512_loadu_ps(p->sum + c + 16 * i);
        mean[i] = _mm512_loadu_ps(p->k[MEAN] + c + 16 * i);
    }
    for (; rows > 0; rows--, at += step)
        EACH(i, vectors) {
            __m512 off = _mm512_sub_ps(load(p->a->x, p->a->xt, at + 16 * i), mean[i]);
            sum[i] = _mm512_fmadd_ps(off, off, sum[i]);
        }
    EACH(i, vectors) _mm512_storeu_ps(p->sum + c + 16 * i, sum[i]);
}

static float *part(const hone__channel_norm *a, int64_t t, int which) { return (float *)a->parts + (t * 2 + which) * a->n; }

void X86(channel_norm_sums)(const hone__channel_norm *a, int64_t begin, int64_t end)
{
    if (!fits(a)) {
        hone__kernels_avx512_f32.channel_norm_sums(a, begin, end);
        return;
    }
    for (int64_t t = begin; t < end; t++) {
        piece p;
        begin_piece(&p, a, t);
        float *mean = part(a, t, 0), *squares = part(a, t, 1), strip[STRIP];
        p.sum = begin_sum(&p, mean, strip);
        walk(&p, add);
        end_sum(&p, mean, strip);
        for (int64_t i = 0; i < a->n && p.count > 0; i++) mean[i] /= (float)(p.count / a->n);
        p.k[MEAN] = spread(&p, mean, MEAN);
        p.sum = begin_sum(&p, squares, strip);
        walk(&p, add_squares);
        end_sum(&p, squares, strip);
    }
}

INLINE void load_coefficients(const piece *p, const int vectors, int64_t c, __m512 k[COEFFICIENTS][VECTORS])
{
    for (int j = 0; j < COEFFICIENTS; j++)
        EACH(i, vectors) k[j][i] = _mm512_loadu_ps(p->k[j] + c + 16 * i);
}

INLINE void apply_forward(piece *p, const int vectors, int64_t at, int64_t step, int64_t rows, int64_t c)
{
    const hone__channel_norm a = *p->a;
    __m512 k[COEFFICIENTS][VECTORS];
    load_coefficients(p, vectors, c, k);
    for (; rows > 0; rows--, at += step)
        EACH(i, vectors) {
            __m512 off = _mm512_sub_ps(load(a.x, a.xt, at + 16 * i), k[MEAN][i]);
            __m512 y = _mm512_fmadd_ps(off, k[SCALE][i], k[BIAS][i]);
            if (a.relu && a.z) y = _mm512_add_ps(y, load(a.z, a.zt, at + 16 * i));
            if (a.relu) y = _mm512_max_ps(_mm512_setzero_ps(), y); /* NaN, as the second operand, stays */
            store(a.y, a.yt, at + 16 * i, y);
        }
}

/* ---- backward ---- */

/* dy, with relu where it let x pass, else 0. */
INLINE __m512 gradient(const hone__channel_norm *a, int64_t at, __m512 off, __m512 scale, __m512 shift)
{
    __m512 dy = load(a->dy, a->dyt, at);
    if (!a->relu) return dy;
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_fmadd_ps(off, scale, shift), _mm512_setzero_ps(), _CMP_GT_OQ), dy);
}

INLINE void apply_backward(piece *p, const int vectors, int64_t at, int64_t step, int64_t rows, int64_t c)
{
    const hone__channel_norm a = *p->a;
    __m512 k[COEFFICIENTS][VECTORS];
    load_coefficients(p, vectors, c, k);
    for (; rows > 0; rows--, at += step)
        EACH(i, vectors) {
            __m512 off = _mm512_sub_ps(load(a.x, a.xt, at + 16 * i), k[MEAN][i]);
            __m512 dy = gradient(&a, at + 16 * i, off, k[SCALE][i], k[SHIFT][i]);
            store(a.y, a.yt, at + 16 * i, _mm512_fmadd_ps(dy, k[SCALE][i], _mm512_fmadd_ps(off, k[SLOPE][i], k[BIAS][i])));
        }
}

void X86(channel_norm_apply)(const hone__channel_norm *a, int64_t begin, int64_t end)
{
    if (!fits(a)) {
        hone__kernels_avx512_f32.channel_norm_apply(a, begin, end);
        return;
    }
    for (int64_t t = begin; t < end; t++) {
        piece p;
        begin_piece(&p, a, t);
        spread_coefficients(&p, t / a->pieces);
        if (a->dy) walk(&p, apply_backward);
        else walk(&p, apply_forward);
    }
}

INLINE void add_gradients(piece *p, const int vectors, int64_t at, int64_t step, int64_t rows, int64_t c)
{
    const hone__channel_norm a = *p->a;
    __m512 sum[VECTORS], product[VECTORS], mean[VECTORS], scale[VECTORS], shift[VECTORS];
    EACH(i, vectors) {
        sum[i] = _mm512_loadu_ps(p->sum + c + 16 * i);
        product[i] = _mm512_loadu_ps(p->product + c + 16 * i);
        mean[i] = _mm512_loadu_ps(p->k[MEAN] + c + 16 * i);
        scale[i] = a.relu ? _mm512_loadu_ps(p->k[SCALE] + c + 16 * i) : mean[i];
        shift[i] = a.relu ? _mm512_loadu_ps(p->k[SHIFT] + c + 16 * i) : mean[i];
    }
    for (; rows > 0; rows--, at += step)
        EACH(i, vectors) {
            __m512 off = _mm512_sub_ps(load(a.x, a.xt, at + 16 * i), mean[i]), dy = gradient(&a, at + 16 * i, off, scale[i], shift[i]);
            sum[i] = _mm512_add_ps(sum[i], dy);
            product[i] = _mm512_fmadd_ps(dy, off, product[i]);
        }
    EACH(i, vectors) {
        _mm512_storeu_ps(p->sum + c + 16 * i, sum[i]);
        _mm512_storeu_ps(p->product + c + 16 * i, product[i]);
    }
}

void X86(channel_norm_grad_sums)(const hone__channel_norm *a, int64_t begin, int64_t end)
{
    /* without relu there are no coefficients yet, and a group's mean is not one of a column */
    if (!fits(a) || (!a->relu && a->groups != a->n)) {
        hone__kernels_avx512_f32.channel_norm_grad_sums(a, begin, end);
        return;
    }
    for (int64_t t = begin; t < end; t++) {
        piece p;
        int64_t segment = t / a->pieces;
        begin_piece(&p, a, t);
        if (a->relu) spread_coefficients(&p, segment);
        else p.k[MEAN] = spread(&p, (const float *)a->mean + segment * a->n, MEAN);
        float *sum = part(a, t, 0), *product = part(a, t, 1), strips[2][STRIP];
        p.sum = begin_sum(&p, sum, strips[0]);
        p.product = begin_sum(&p, product, strips[1]);
        walk(&p, add_gradients);
        end_sum(&p, sum, strips[0]);
        end_sum(&p, product, strips[1]);
    }
}
