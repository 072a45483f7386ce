/* Optimizer steps, in the order of operations of PyTorch's single-tensor implementations (torch/optim/). */
#include "kernel/ref/kernel.h"

#define INLINE static inline __attribute__((always_inline))

/* hone__optim_step in reals. */
typedef struct constants {
    real scale, decay, keep, rate, own, less1, beta1, less2, beta2, root, epsilon, momentum; /* less1 = 1 - beta1 */
} constants;

static constants in_reals(const hone__optim_step *s)
{
    return (constants){(real)s->scale,       (real)s->decay, (real)s->keep, (real)s->rate,    (real)s->own,
                       (real)(1 - s->beta1), (real)s->beta1, (real)(1 - s->beta2), (real)s->beta2, (real)s->root,
                       (real)s->epsilon,     (real)s->momentum};
}

/* A parameter and its states. */
typedef struct element {
    real w, a, b, c;
} element;

/* What a step makes of an element (w decayed already) whose gradient is d. */
INLINE element one(hone__optim_kind kind, const constants *k, element e, real d)
{
    bool centered = kind == HONE__RMSPROP_CENTERED || kind == HONE__RMSPROP_CENTERED_MOMENTUM;
    switch (kind) {
    case HONE__SGD: e.w -= k->rate * d; break;
    case HONE__MOMENTUM: /* Sutskever et al. 2013 */
        e.a = k->momentum * e.a + d;
        e.w -= k->own * d + k->rate * e.a;
        break;
    case HONE__ADAM:    /* Kingma and Ba 2015; by other constants NAdam and RAdam */
    case HONE__AMSGRAD: /* Reddi et al. 2018 */
        e.a += k->less1 * (d - e.a);
        e.b = k->beta2 * e.b + k->less2 * d * d;
        e.c = e.b > e.c ? e.b : e.c;
        e.w -= (k->rate * e.a + k->own * d) / (real_sqrt(kind == HONE__ADAM ? e.b : e.c) * k->root + k->epsilon);
        break;
    case HONE__ADAMAX: { /* Kingma and Ba 2015, section 7.1 */
        real kept = k->beta2 * e.b, now = real_abs(d) + k->epsilon;
        e.a += k->less1 * (d - e.a);
        e.b = kept > now ? kept : now;
        e.w -= k->rate * e.a / e.b;
        break;
    }
    case HONE__ADAGRAD: /* Duchi et al. 2011 */
        e.a += d * d;
        e.w -= k->rate * d / (real_sqrt(e.a) + k->epsilon);
        break;
    case HONE__ADADELTA: { /* Zeiler 2012 */
        e.a = k->beta2 * e.a + k->less2 * d * d;
        real change = real_sqrt(e.b + k->epsilon) / real_sqrt(e.a + k->epsilon) * d;
        e.b = k->beta2 * e.b + k->less2 * change * change;
        e.w -= k->rate * change;
        break;
    }
    case HONE__LION: { /* Chen et al. 2023, algorithm 2 */
        real c = k->beta1 * e.a + k->less1 * d;
        e.a = k->beta2 * e.a + k->less2 * d;
        e.w -= c > 0 ? k->rate : c < 0 ? -k->rate : 0;
        break;
    }
    case HONE__RMSPROP: /* Tieleman and Hinton 2012; centered: Graves 2013 */
    case HONE__RMSPROP_MOMENTUM:
    case HONE__RMSPROP_CENTERED:
    case HONE__RMSPROP_CENTERED_MOMENTUM: {
        e.a = k->beta2 * e.a + k->less2 * d * d;
        real spread = e.a;
        if (centered) {
            e.b += k->less2 * (d - e.b);
            spread -= e.b * e.b;
            spread = spread > 0 ? spread : 0; /* rounding can make a variance negative */
        }
        real change = d / (real_sqrt(spread) + k->epsilon);
        if (kind == HONE__RMSPROP_MOMENTUM) change = e.b = k->momentum * e.b + change;
        if (kind == HONE__RMSPROP_CENTERED_MOMENTUM) change = e.c = k->momentum * e.c + change;
        e.w -= k->rate * change;
        break;
    }
    }
    return e;
}

INLINE void some(hone__optim_kind kind, int states, const constants *k, real *restrict p, const real *restrict g,
                 real *restrict a, real *restrict b, real *restrict c, int64_t n)
{
    const constants t = *k;
    SIMD for (int64_t i = 0; i < n; i++)
    {
        element e = {p[i] * t.keep, states > 0 ? a[i] : 0, states > 1 ? b[i] : 0, states > 2 ? c[i] : 0};
        e = one(kind, &t, e, g[i] * t.scale + t.decay * p[i]);
        p[i] = e.w;
        if (states > 0) a[i] = e.a;
        if (states > 1) b[i] = e.b;
        if (states > 2) c[i] = e.c;
    }
}

/* Line by line, asking for what comes next: these are more streams than CPUs fetch ahead by themselves, and that ends at
   each page. */
INLINE void all(hone__optim_kind kind, int states, const hone__optim_step *step, real *p, const real *g, void *const *state,
                int64_t n)
{
    enum { LINE = 64 / (int)sizeof(real), AHEAD = 32 * LINE };
    const constants k = in_reals(step);
    real *s[3] = {NULL};
    for (int j = 0; j < states; j++) s[j] = state[j];
    while (n > 0) {
        int64_t m = n < LINE ? n : LINE;
        __builtin_prefetch(p + AHEAD, 1);
        __builtin_prefetch(g + AHEAD, 0);
        for (int j = 0; j < states; j++) __builtin_prefetch(s[j] + AHEAD, 1);
        if (m == LINE)
            some(kind, states, &k, p, g, s[0], s[1], s[2], LINE);
        else
            some(kind, states, &k, p, g, s[0], s[1], s[2], m);
        p += m, g += m, n -= m;
        for (int j = 0; j < states; j++) s[j] += m;
    }
}

void HONE_K(optim)(const hone__optim_step *step, void *param, const void *grad, void *const *state, int64_t n)
{
    switch (step->kind) {
#define KIND(name, states) case HONE__##name: all(HONE__##name, states, step, param, grad, state, n); break;
        HONE__OPTIM_KINDS(KIND)
#undef KIND
    }
}

/* ---- rules that need norms of whole parameters ---- */

/* You et al., "Large Batch Optimization for Deep Learning", ICLR 2020, algorithm 2. */
double HONE_K(lamb)(const hone__optim_step *step, void *param, const void *grad, void *m, void *v, int64_t n, double change)
{
    const constants k = in_reals(step);
    real *restrict p = param, *restrict a = m, *restrict b = v;
    const real *restrict g = grad;
    real by = (real)change;
    double total = 0;
    if (g) {
        SIMD_SUM(total) for (int64_t i = 0; i < n; i++)
        {
            real d = g[i] * k.scale;
            a[i] += k.less1 * (d - a[i]);
            b[i] = k.beta2 * b[i] + k.less2 * d * d;
            real r = k.rate * a[i] / (real_sqrt(b[i]) * k.root + k.epsilon) + k.decay * p[i];
            total += (double)r * (double)r;
        }
    } else {
        SIMD for (int64_t i = 0; i < n; i++)
            p[i] -= by * (k.rate * a[i] / (real_sqrt(b[i]) * k.root + k.epsilon) + k.decay * p[i]);
    }
    return total;
}

/* Shazeer and Stern, "Adafactor", ICML 2018; a row of a matrix, or a whole vector with row 1. */
double HONE_K(adafactor)(const hone__optim_step *step, void *param, const void *grad, double row, const void *column, int64_t n,
                         double change)
{
    const constants k = in_reals(step);
    real *restrict p = param;
    const real *restrict g = grad, *restrict c = column;
    const real of_row = (real)row, by = (real)change;
    const real least = (real)HONE_MAX(step->epsilon * step->epsilon, 1e-30); /* above what f32 can hold */
    double total = 0;
    if (!p) {
        SIMD_SUM(total) for (int64_t i = 0; i < n; i++)
        {
            real v = of_row * c[i];
            real u = k.scale * g[i] / real_sqrt(v > least ? v : least);
            total += (double)u * (double)u;
        }
    } else {
        SIMD for (int64_t i = 0; i < n; i++)
        {
            real v = of_row * c[i];
            p[i] = k.keep * p[i] - by * (k.scale * g[i] / real_sqrt(v > least ? v : least));
        }
    }
    return total;
}

void HONE_K(add_squares)(void *y, const void *x, double scale, int64_t n)
{
    real *restrict to = y;
    const real *restrict v = x;
    const real by = (real)scale;
    SIMD for (int64_t i = 0; i < n; i++) to[i] += by * v[i] * v[i];
}

/* Four quarters side by side: no sum waits for itself as long as one would, and memory is asked for four pages at once. */
double HONE_K(sumsq)(const void *x, int64_t n)
{
    int64_t quarter = n / 4;
    const real *v = x, *w = v + quarter, *y = w + quarter, *z = y + quarter;
    double a = 0, b = 0, c = 0, d = 0;
    HONE_PRAGMA_(omp simd reduction(+ : a, b, c, d))
    for (int64_t i = 0; i < quarter; i++) {
        a += (double)v[i] * (double)v[i];
        b += (double)w[i] * (double)w[i];
        c += (double)y[i] * (double)y[i];
        d += (double)z[i] * (double)z[i];
    }
    for (int64_t i = 4 * quarter; i < n; i++) a += (double)v[i] * (double)v[i];
    return (a + b) + (c + d);
}
