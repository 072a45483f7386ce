/* A batch of predictions and targets: how their shapes belong together, and the decisions in them. */
#include "metrics/metrics.h"

#include <float.h>
#include <math.h>

static bool read_numbers(hone_ctx *ctx, const hone_tensor *x, double **to, size_t *capacity, hone_status *status)
{
    int64_t count = hone_shape_count(x->shape);
    *status = hone__grow(ctx, (void **)to, capacity, (size_t)HONE_MAX(count, 1), sizeof **to)
                  ? hone_tensor_read(x, 0, count, HONE_F64, *to)
                  : HONE_MEMORY;
    return *status == HONE_OK;
}

static bool starts_with(hone_shape longer, hone_shape shorter)
{
    for (int i = 0; i < shorter.rank; i++)
        if (longer.dim[i] != shorter.dim[i]) return false;
    return shorter.rank <= longer.rank;
}

/* Sets rows, width and one_hot; false when the shapes don't belong together. */
static bool fit_shapes(hone__answers *a, bool columns, const hone_tensor *prediction, const hone_tensor *target)
{
    hone_shape p = prediction->shape, t = target->shape;
    int64_t n_p = hone_shape_count(p), n_t = hone_shape_count(t), last = p.rank > 1 ? p.dim[p.rank - 1] : 1;
    a->one_hot = false;
    a->width = 1;
    a->rows = n_p;
    if (columns) {
        if (n_p != n_t || p.rank < 1 || t.rank < 1 || p.dim[0] != t.dim[0]) return false;
        a->rows = p.dim[0];
        a->width = a->rows ? n_p / a->rows : 1;
        a->one_hot = true;
        return true;
    }
    if (last > 1 && !a->classes) {
        hone_shape rows = p;
        rows.rank--;
        if (t.rank == p.rank && t.dim[t.rank - 1] == 1) t.rank--;
        a->one_hot = hone_shape_equal(p, t);
        a->rows = n_p / last;
        a->width = last;
        return a->one_hot || (t.rank == rows.rank && starts_with(rows, t));
    }
    return n_p == n_t;
}

static void turn_logits(hone__answers *a, const hone_metric_opts *o)
{
    bool single = a->width == 1 || (o->elementwise && a->one_hot);
    for (int64_t i = 0; i < a->rows * a->width && single; i++) a->p[i] = 1 / (1 + exp(-a->p[i]));
    for (int64_t r = 0; r < a->rows && !single; r++) {
        double *p = a->p + r * a->width, most = p[0], sum = 0;
        for (int64_t c = 1; c < a->width; c++) most = fmax(most, p[c]);
        for (int64_t c = 0; c < a->width; c++) sum += p[c] = exp(p[c] - most);
        for (int64_t c = 0; c < a->width; c++) p[c] /= sum;
    }
}

hone_status hone__answers_read(hone__answers *a, hone_ctx *ctx, const hone_metric_opts *o, bool columns,
                               const hone_tensor *prediction, const hone_tensor *target)
{
    if (!prediction || !target) return hone__fail_run(ctx, HONE_INVALID, "predictions and targets are wanted");
    a->classes = hone__is_integer(prediction->dtype) && !columns;
    a->epsilon = prediction->dtype == HONE_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    if (!fit_shapes(a, columns, prediction, target))
        return hone__fail_run(ctx, HONE_SHAPE, "targets %s don't fit predictions %s", HONE__SHAPE_STR(target->shape),
                              HONE__SHAPE_STR(prediction->shape));
    hone_status status;
    if (!read_numbers(ctx, prediction, &a->p, &a->p_capacity, &status) || !read_numbers(ctx, target, &a->t, &a->t_capacity, &status))
        return status;
    if (o->from_logits && !a->classes && !columns) turn_logits(a, o);
    return HONE_OK;
}

hone_status hone__answers_weigh(hone__answers *a, hone_ctx *ctx, const hone_tensor *prediction, const hone_tensor *weights)
{
    int64_t n = weights ? hone_shape_count(weights->shape) : 0;
    hone_status status;
    a->n_weights = 0;
    if (!weights || !a->rows) return HONE_OK;
    if (n != a->rows && n != prediction->shape.dim[0])
        return hone__fail_run(ctx, HONE_SHAPE, "%lld weights don't fit predictions %s: one a row is wanted", (long long)n,
                              HONE__SHAPE_STR(prediction->shape));
    if (!read_numbers(ctx, weights, &a->w, &a->w_capacity, &status)) return status;
    for (int64_t i = 0; i < n; i++)
        if (!(a->w[i] >= 0 && isfinite(a->w[i])))
            return hone__fail_run(ctx, HONE_INVALID, "weight %lld is %g; it must be at least 0", (long long)i, a->w[i]);
    a->n_weights = n;
    return HONE_OK;
}

void hone__answers_free(hone_ctx *ctx, hone__answers *a)
{
    hone__free(ctx, a->w);
    hone__free(ctx, a->p);
    hone__free(ctx, a->t);
}

/* ---- decisions ---- */

static bool each_element(const hone__answers *a, const hone_metric_opts *o)
{
    return a->width == 1 || (o->elementwise && a->one_hot);
}

int64_t hone__decisions(const hone__answers *a, const hone_metric_opts *o)
{
    return each_element(a, o) ? a->rows * a->width : a->rows;
}

static int64_t largest(const double *v, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

/* As a class; what no i64 can hold, and fractions, are none: INT64_MAX. */
static int64_t class_of(double v) { return v == floor(v) && fabs(v) < 1e15 ? (int64_t)v : INT64_MAX; }

void hone__decision(const hone__answers *a, const hone_metric_opts *o, int64_t i, int64_t *answer, int64_t *target)
{
    if (a->classes) {
        *answer = class_of(a->p[i]);
        *target = class_of(a->t[i]);
    } else if (each_element(a, o)) {
        *answer = a->p[i] > o->threshold;
        *target = a->t[i] > 0.5;
        if (o->ignore_index != 0 && a->t[i] == (double)o->ignore_index) *target = -1;
        return;
    } else {
        *answer = largest(a->p + i * a->width, a->width);
        *target = a->one_hot ? largest(a->t + i * a->width, a->width) : class_of(a->t[i]);
    }
    if (o->ignore_index != 0 && *target == o->ignore_index && !a->one_hot) *target = -1;
}

hone_status hone__check_decisions(hone_ctx *ctx, const hone__answers *a, const hone_metric_opts *o, int64_t classes)
{
    for (int64_t i = 0; i < hone__decisions(a, o); i++) {
        int64_t answer, target;
        hone__decision(a, o, i, &answer, &target);
        if (target >= classes || (target >= 0 && (answer < 0 || answer >= classes)))
            return hone__fail_run(ctx, HONE_INVALID, "target %g or answer at position %lld is no class in [0, %lld)",
                                  a->one_hot ? (double)target : a->t[i], (long long)i, (long long)classes);
    }
    return HONE_OK;
}
