/* Pooling over channels-last activations: a position is a row of c channels, so everything vectorizes over channels. */
#include "kernel/ref/kernel.h"

/* ---- vectors of channels: bits as integers of the same width ---- */

#ifdef HONE_DOUBLE
typedef int64_t lane;
#else
typedef int32_t lane;
#endif
typedef lane ivec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES / sizeof(real)), aligned(1), may_alias));
#ifndef HONE_DOUBLE
typedef uint32_t uvec __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef uint16_t halves __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));
#endif

static inline bool vectorizes(hone_dtype type) { return type == REAL_DTYPE || (REAL_DTYPE == HONE_F32 && type == HONE_BF16); }

static inline vec load_vec(const void *x, hone_dtype type, int64_t at)
{
    vec v;
#ifndef HONE_DOUBLE
    if (type == HONE_BF16) {
        halves h;
        memcpy(&h, (const uint16_t *)x + at, sizeof h);
        return (vec)(__builtin_convertvector(h, uvec) << 16);
    }
#endif
    (void)type;
    memcpy(&v, (const real *)x + at, sizeof v);
    return v;
}

static inline void store_vec(void *y, hone_dtype type, int64_t at, vec v)
{
#ifndef HONE_DOUBLE
    if (type == HONE_BF16) { /* as hone__f32_to_bf16 */
        uvec u = (uvec)v, nan = (uvec)(v != v), rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16, quiet = u >> 16 | 0x40;
        halves h = __builtin_convertvector((nan & quiet) | (~nan & rounded), halves);
        memcpy((uint16_t *)y + at, &h, sizeof h);
        return;
    }
#endif
    (void)type;
    memcpy((real *)y + at, &v, sizeof v);
}

/* ---- windows ---- */

/* The inputs that an output sees: where they lie (positions within all images), and which of the window's they are. */
enum { FEW_TAPS = 32 };
typedef struct taps {
    int n;
    int64_t at[FEW_TAPS];
    int32_t number[FEW_TAPS];
} taps;

static inline int64_t offset(const int64_t at[3], const int64_t size[3])
{
    return (at[0] * size[1] + at[1]) * size[2] + at[2];
}

/* n indices from `at` on as i32: where they lie, or widened into tmp. */
static inline const int32_t *load_index(const hone__pool *p, int64_t at, int32_t *tmp, int64_t n)
{
    if (p->wide_index) return (const int32_t *)p->index + at;
    const uint8_t *from = (const uint8_t *)p->index + at;
    SIMD for (int64_t i = 0; i < n; i++) tmp[i] = from[i];
    return tmp;
}

/* The gradient that output `at` passes on: in tmp, or where it lies. */
static inline const real *load_gradient(const hone__pool *p, int64_t at, real *tmp, int64_t n)
{
    const real *dy = load(p->dy, p->dyt, at, tmp, n);
    if (!p->relu) return dy;
    real other[CHUNK];
    const real *y = load(p->y, p->yt, at, other, n);
    SIMD for (int64_t i = 0; i < n; i++) tmp[i] = y[i] > 0 ? dy[i] : 0;
    return tmp;
}

/* The position of the input that output o sees at a tap. */
static inline int64_t seen(const hone__window *w, const int64_t o[3], int64_t kd, int64_t kh, int64_t kw)
{
    const int64_t k[3] = {kd, kh, kw};
    int64_t at[3];
    for (int a = 0; a < 3; a++) at[a] = o[a] * w->stride[a] - w->before[a] + k[a] * w->dilation[a];
    return offset(at, w->in);
}

/* image: the position of the image's first input. */
static inline void find_taps(const hone__window *w, const int64_t o[3], int64_t image, taps *t)
{
    int64_t low[3], high[3];
    for (int a = 0; a < 3; a++) hone__window_taps(w, a, o[a], &low[a], &high[a]);
    t->n = 0;
    for (int64_t kd = low[0]; kd < high[0]; kd++)
        for (int64_t kh = low[1]; kh < high[1]; kh++)
            for (int64_t kw = low[2]; kw < high[2]; kw++) {
                t->at[t->n] = image + seen(w, o, kd, kh, kw);
                t->number[t->n++] = (int32_t)((kd * w->kernel[1] + kh) * w->kernel[2] + kw);
            }
}

/* 1 / (how many elements output o is the mean of). What a window has behind the padding counts in no mean. */
static double share(const hone__pool *p, const int64_t o[3])
{
    const hone__window *w = &p->w;
    double count = 1;
    for (int a = 0; a < 3; a++) {
        int64_t low = 0, high = w->in[a] + w->before[a] + w->after[a] - o[a] * w->stride[a];
        if (p->exclude_padding)
            hone__window_taps(w, a, o[a], &low, &high);
        else
            high = HONE_MIN((high + w->dilation[a] - 1) / w->dilation[a], w->kernel[a]);
        count *= (double)(high - low);
    }
    return 1 / count;
}

/* One output position, channels [first, first + n): image is where the image's channel `first` lies. */
static void forward_one(const hone__pool *p, const int64_t o[3], int64_t image, int64_t to, int64_t first, int64_t n)
{
    const hone__window *w = &p->w;
    int64_t low[3], high[3];
    real best[CHUNK], tmp[CHUNK];
    int32_t index[CHUNK];
    bool any = false;
    for (int a = 0; a < 3; a++) hone__window_taps(w, a, o[a], &low[a], &high[a]);
    for (int64_t kd = low[0]; kd < high[0]; kd++)
        for (int64_t kh = low[1]; kh < high[1]; kh++)
            for (int64_t kw = low[2]; kw < high[2]; kw++) {
                const real *x = load(p->x, p->xt, (image + seen(w, o, kd, kh, kw)) * p->c + first, tmp, n);
                int32_t tap = (int32_t)((kd * w->kernel[1] + kh) * w->kernel[2] + kw);
                if (!any) {
                    for (int64_t i = 0; i < n; i++) best[i] = x[i];
                    for (int64_t i = 0; i < n; i++) index[i] = tap;
                } else if (p->average) {
                    SIMD for (int64_t i = 0; i < n; i++) best[i] += x[i];
                } else {
                    SIMD for (int64_t i = 0; i < n; i++) {
                        bool better = x[i] > best[i] || x[i] != x[i]; /* NaN wins, as in PyTorch */
                        best[i] = better ? x[i] : best[i];
                        index[i] = better ? tap : index[i];
                    }
                }
                any = true;
            }
    if (p->average) {
        real scale = (real)share(p, o);
        SIMD for (int64_t i = 0; i < n; i++) best[i] = any ? best[i] * scale : 0;
    }
    real *y = stage(p->y, p->yt, to, best);
    if (y != best) memcpy(y, best, (size_t)n * sizeof *y);
    store(p->y, p->yt, to, best, n);
    if (!p->index) return;
    if (p->wide_index)
        memcpy((int32_t *)p->index + to, index, (size_t)n * sizeof *index);
    else
        for (int64_t i = 0; i < n; i++) ((uint8_t *)p->index)[to + i] = (uint8_t)index[i];
}

/* The same for as many channels as fill vectors; returns how many that were. */
static int64_t forward_vectors(const hone__pool *p, const int64_t o[3], int64_t image, int64_t to)
{
    taps t;
    find_taps(&p->w, o, image, &t);
    if (!t.n) return 0;
    vec scale = (vec){0} + (real)(p->average ? share(p, o) : 1);
    int64_t c = 0;
    for (; c + LANES <= p->c; c += LANES) {
        vec best = load_vec(p->x, p->xt, t.at[0] * p->c + c);
        ivec index = (ivec){0} + t.number[0];
        for (int k = 1; k < t.n; k++) {
            vec x = load_vec(p->x, p->xt, t.at[k] * p->c + c);
            if (p->average) {
                best += x;
                continue;
            }
            ivec better = (ivec)(x > best) | (ivec)(x != x);
            best = (vec)(((ivec)x & better) | ((ivec)best & ~better));
            index = (better & t.number[k]) | (~better & index);
        }
        if (p->average) best *= scale;
        store_vec(p->y, p->yt, to + c, best);
        if (!p->index) continue;
        bytes b = __builtin_convertvector(index, bytes);
        memcpy((uint8_t *)p->index + to + c, &b, sizeof b);
    }
    return c;
}

/* Few taps, types that fit, and indices of a byte. */
static bool is_fast(const hone__pool *p, hone_dtype from, hone_dtype to)
{
    return hone__volume(p->w.kernel) <= FEW_TAPS && !(p->index && p->wide_index) && vectorizes(from) && vectorizes(to);
}

/* Output positions [begin, end), counted through all images. */
void HONE_K(pool)(const hone__pool *p, int64_t begin, int64_t end)
{
    int64_t in = hone__volume(p->w.in), out = hone__volume(p->w.out), o[3];
    if (begin >= end) return;
    bool fast = is_fast(p, p->xt, p->yt);
    hone__position(begin % out, p->w.out, o);
    for (int64_t at = begin; at < end; at++) {
        int64_t c = fast ? forward_vectors(p, o, at / out * in, at * p->c) : 0;
        for (; c < p->c; c += CHUNK)
            forward_one(p, o, at / out * in, at * p->c + c, c, HONE_MIN(p->c - c, CHUNK));
        hone__next_position(o, p->w.out);
    }
}

/* The outputs [*low, *high] whose windows reach over input i along an axis. */
static void covering(const hone__window *w, int axis, int64_t i, int64_t *low, int64_t *high)
{
    int64_t from = i + w->before[axis] - hone__window_reach(w, axis) + 1, stride = w->stride[axis];
    *low = from > 0 ? (from + stride - 1) / stride : 0;
    *high = HONE_MIN((i + w->before[axis]) / stride, w->out[axis] - 1);
}

/* One input position gathers from every output that saw it: no two threads write the same element. */
static void backward_one(const hone__pool *p, const int64_t i[3], int64_t image, int64_t to, int64_t first, int64_t n)
{
    const hone__window *w = &p->w;
    int64_t low[3], high[3], o[3];
    real sum[CHUNK], tmp[CHUNK];
    int32_t tmp_index[CHUNK];
    for (int64_t j = 0; j < n; j++) sum[j] = 0;
    for (int a = 0; a < 3; a++) covering(w, a, i[a], &low[a], &high[a]);
    for (o[0] = low[0]; o[0] <= high[0]; o[0]++)
        for (o[1] = low[1]; o[1] <= high[1]; o[1]++)
            for (o[2] = low[2]; o[2] <= high[2]; o[2]++) {
                int64_t at = (image + offset(o, w->out)) * p->c + first, k[3];
                bool between = false; /* i lies between two taps of a dilated window */
                for (int a = 0; a < 3; a++) {
                    int64_t distance = i[a] + w->before[a] - o[a] * w->stride[a];
                    k[a] = distance / w->dilation[a];
                    between |= distance % w->dilation[a] != 0;
                }
                if (between) continue;
                const real *dy = load_gradient(p, at, tmp, n);
                if (p->average) {
                    real scale = (real)share(p, o);
                    SIMD for (int64_t j = 0; j < n; j++) sum[j] += dy[j] * scale;
                    continue;
                }
                int32_t tap = (int32_t)offset(k, w->kernel);
                const int32_t *index = load_index(p, at, tmp_index, n);
                SIMD for (int64_t j = 0; j < n; j++) sum[j] += index[j] == tap ? dy[j] : 0;
            }
    real *dx = stage(p->dx, p->dxt, to, sum);
    if (dx != sum) memcpy(dx, sum, (size_t)n * sizeof *dx);
    store(p->dx, p->dxt, to, sum, n);
}

/* Input positions [begin, end), counted through all images. */
void HONE_K(pool_grad)(const hone__pool *p, int64_t begin, int64_t end)
{
    int64_t in = hone__volume(p->w.in), out = hone__volume(p->w.out), i[3];
    if (begin >= end) return;
    hone__position(begin % in, p->w.in, i);
    for (int64_t at = begin; at < end; at++) {
        for (int64_t c = 0; c < p->c; c += CHUNK)
            backward_one(p, i, at / in * out, at * p->c + c, c, HONE_MIN(p->c - c, CHUNK));
        hone__next_position(i, p->w.in);
    }
}

/* Windows that don't overlap: one output position writes its whole window. */
static void scatter_one(const hone__pool *p, const int64_t o[3], int64_t image, int64_t from, int64_t first, int64_t n)
{
    const hone__window *w = &p->w;
    int64_t low[3], high[3];
    real tmp[CHUNK], mine[CHUNK];
    int32_t tmp_index[CHUNK];
    for (int a = 0; a < 3; a++) hone__window_taps(w, a, o[a], &low[a], &high[a]);
    const real *dy = load_gradient(p, from, tmp, n);
    const int32_t *index = p->average ? NULL : load_index(p, from, tmp_index, n);
    real scale = p->average ? (real)share(p, o) : 0;
    for (int64_t kd = low[0]; kd < high[0]; kd++)
        for (int64_t kh = low[1]; kh < high[1]; kh++)
            for (int64_t kw = low[2]; kw < high[2]; kw++) {
                int32_t tap = (int32_t)((kd * w->kernel[1] + kh) * w->kernel[2] + kw);
                int64_t to = (image + seen(w, o, kd, kh, kw)) * p->c + first;
                real *dx = stage(p->dx, p->dxt, to, mine);
                if (p->average) {
                    SIMD for (int64_t j = 0; j < n; j++) dx[j] = dy[j] * scale;
                } else {
                    SIMD for (int64_t j = 0; j < n; j++) dx[j] = index[j] == tap ? dy[j] : 0;
                }
                store(p->dx, p->dxt, to, mine, n);
            }
}

/* The same for as many channels as fill vectors; returns how many that were. */
static int64_t scatter_vectors(const hone__pool *p, const int64_t o[3], int64_t image, int64_t from)
{
    taps t;
    find_taps(&p->w, o, image, &t);
    vec scale = (vec){0} + (real)(p->average ? share(p, o) : 1);
    int64_t c = 0;
    for (; c + LANES <= p->c; c += LANES) {
        vec dy = load_vec(p->dy, p->dyt, from + c);
        if (p->average) {
            for (int k = 0; k < t.n; k++) store_vec(p->dx, p->dxt, t.at[k] * p->c + c, dy * scale);
            continue;
        }
        if (p->relu) dy = (vec)((ivec)dy & (ivec)(load_vec(p->y, p->yt, from + c) > 0));
        bytes b;
        memcpy(&b, (const uint8_t *)p->index + from + c, sizeof b);
        ivec index = __builtin_convertvector(b, ivec);
        for (int k = 0; k < t.n; k++)
            store_vec(p->dx, p->dxt, t.at[k] * p->c + c, (vec)((ivec)dy & (ivec)(index == t.number[k])));
    }
    return c;
}

/* Output positions [begin, end). What no window sees is not written. */
void HONE_K(pool_scatter)(const hone__pool *p, int64_t begin, int64_t end)
{
    int64_t in = hone__volume(p->w.in), out = hone__volume(p->w.out), o[3];
    if (begin >= end) return;
    bool fast = is_fast(p, p->dyt, p->dxt) && (!p->relu || vectorizes(p->yt));
    hone__position(begin % out, p->w.out, o);
    for (int64_t at = begin; at < end; at++) {
        int64_t c = fast ? scatter_vectors(p, o, at / out * in, at * p->c) : 0;
        for (; c < p->c; c += CHUNK)
            scatter_one(p, o, at / out * in, at * p->c + c, c, HONE_MIN(p->c - c, CHUNK));
        hone__next_position(o, p->w.out);
    }
}
