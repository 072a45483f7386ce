/* Connectionist temporal classification: Graves et al. 2006, "Connectionist Temporal Classification: Labelling Unsegmented
   Sequence Data with Recurrent Neural Networks", section 4.1; in logarithms, f64 whatever the real type. */
#include "kernel/ref/kernel.h"

static double add_logs(double a, double b, double c)
{
    double m = fmax(a, fmax(b, c));
    return isinf(m) ? m : m + log(exp(a - m) + exp(b - m) + exp(c - m));
}

/* Place i of the target with blanks around and between its labels: blank, l1, blank, l2, ..., blank. */
static int64_t label(const hone__ctc *a, const int32_t *target, int64_t i) { return i % 2 ? target[i / 2] : a->blank; }

/* May a path go from place i - 2 to place i? */
static bool skips(const int32_t *target, int64_t i) { return i % 2 && i > 1 && target[i / 2] != target[i / 2 - 1]; }

/* forward[i]: log of the probability of all ways to be at place i at time t (equations 6 to 8). */
static void forward_step(const hone__ctc *a, const int32_t *target, int64_t places, const real *p, const double *before,
                         double *forward)
{
    for (int64_t i = 0; i < places; i++) {
        double sum = before ? add_logs(before[i], i > 0 ? before[i - 1] : -INFINITY, skips(target, i) ? before[i - 2] : -INFINITY)
                            : (i < 2 ? 0 : -INFINITY);
        forward[i] = sum + (double)p[label(a, target, i)];
    }
}

/* backward[i]: log of that of all ways on from place i, after time t (equations 9 to 11, without the label at t). */
static void backward_step(const hone__ctc *a, const int32_t *target, int64_t places, const real *p_next, const double *after,
                          double *backward)
{
    for (int64_t i = 0; i < places; i++) {
        double to[3] = {-INFINITY, -INFINITY, -INFINITY};
        for (int64_t k = 0; k < 3 && i + k < places && after; k++)
            if (k < 2 || skips(target, i + 2)) to[k] = after[i + k] + (double)p_next[label(a, target, i + k)];
        backward[i] = after ? add_logs(to[0], to[1], to[2]) : (i + 2 >= places ? 0 : -INFINITY);
    }
}

void HONE_K(ctc)(const hone__ctc *a, int64_t b, double *scratch)
{
    int64_t times = a->times[b], labels = a->labels[b], places = 2 * labels + 1, room = 2 * a->s + 1;
    const int32_t *target = a->target + b * a->s;
    const real *p = (const real *)a->log_p + b * a->t * a->v;
    double *forward = scratch, *last = NULL; /* (t, room) with a gradient, else (2, room) */
    for (int64_t t = 0; t < times; t++) {
        double *now = forward + (a->dx ? t : t % 2) * room;
        forward_step(a, target, places, p + t * a->v, last, now);
        last = now;
    }
    double log_p = last ? add_logs(last[places - 1], places > 1 ? last[places - 2] : -INFINITY, -INFINITY) : labels ? -INFINITY : 0;
    if (a->loss) ((real *)a->loss)[b] = (real)-log_p;
    if (!a->dx) return;
    real *dx = (real *)a->dx + b * a->t * a->v;
    double slope = (double)((const real *)a->dloss)[b], *backward = forward + a->t * room, *after = NULL;
    memset(dx, 0, (size_t)(a->t * a->v) * sizeof *dx);
    for (int64_t t = times - 1; t >= 0 && log_p > -INFINITY; t--) { /* no way at all: no gradient */
        double *now = backward + t % 2 * room;
        backward_step(a, target, places, p + (t + 1) * a->v, after, now);
        for (int64_t i = 0; i < places; i++)
            dx[t * a->v + label(a, target, i)] -= (real)(slope * exp(forward[t * room + i] + now[i] - log_p));
        after = now;
    }
}
