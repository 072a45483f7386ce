/* Metrics of how scores order rows: all scores are kept. */
#include "metrics/metrics.h"

#include <math.h>
#include <stdlib.h>

hone_status hone__ranking_update(hone_metric *m)
{
    const hone__answers *a = &m->batch;
    size_t width = (size_t)a->width, before = (size_t)m->n * m->width, rows = 0;
    hone_metric_opts by_row = m->o;
    by_row.elementwise = false;
    if (a->classes) return hone__fail_run(m->ctx, HONE_DTYPE, "predictions must be scores, not class numbers");
    if (m->n && m->width != width)
        return hone__fail_run(m->ctx, HONE_SHAPE, "predictions have %zu scores a row, those before had %zu", width, m->width);
    hone_status status = hone__check_decisions(m->ctx, a, &by_row, HONE_MAX(a->width, 2));
    if (status != HONE_OK) return status;
    for (int64_t i = 0; i < a->rows * a->width; i++)
        if (isnan(a->p[i])) return hone__fail_run(m->ctx, HONE_NUMERIC, "score %lld is NaN", (long long)i);
    size_t most = before + (size_t)a->rows * width;
    if (!hone__grow(m->ctx, (void **)&m->scores, &m->scores_capacity, most, sizeof *m->scores) ||
        !hone__grow(m->ctx, (void **)&m->labels, &m->labels_capacity, most, sizeof *m->labels) ||
        !hone__grow(m->ctx, (void **)&m->weights, &m->weights_capacity, most / width, sizeof *m->weights))
        return HONE_MEMORY;
    for (int64_t r = 0; r < a->rows; r++) {
        double weight = hone__weight(a, r, a->rows);
        int64_t answer, target;
        hone__decision(a, &by_row, r, &answer, &target);
        if (target < 0 || weight == 0) continue;
        m->weights[(size_t)m->n + rows] = weight;
        for (size_t c = 0; c < width; c++) {
            size_t from = (size_t)r * width + c, to = before + rows * width + c;
            m->scores[to] = a->p[from];
            m->labels[to] = a->one_hot ? a->t[from] > 0.5 : width == 1 ? target == 1 : target == (int64_t)c;
        }
        rows++;
    }
    m->width = width;
    m->n += (int64_t)rows;
    return HONE_OK;
}

/* ---- one class against the rest ---- */

typedef struct scored {
    double score, weight;
    bool label;
} scored;

static int higher_first(const void *a, const void *b)
{
    double x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return (x < y) - (x > y);
}

/* How much of a column belongs to its class and how much does not: weights, or numbers of rows. */
typedef struct amounts {
    double positives, negatives;
} amounts;

/* Column `of` (below 0: all of them together), sorted: *n of them. NULL: memory (sticky). */
static scored *sorted(const hone_metric *m, int64_t of, size_t *n, amounts *all)
{
    size_t step = of < 0 ? 1 : m->width, from = of < 0 ? 0 : (size_t)of;
    *n = (size_t)m->n * m->width / step;
    *all = (amounts){0};
    scored *s = hone__alloc(m->ctx, *n * sizeof *s);
    for (size_t i = 0; i < *n && s; i++) {
        size_t at = from + i * step;
        s[i] = (scored){m->scores[at], m->weights[at / m->width], m->labels[at] != 0};
        *(s[i].label ? &all->positives : &all->negatives) += s[i].weight;
    }
    if (s) qsort(s, *n, sizeof *s, higher_first);
    return s;
}

/* Those at or above the next lower threshold; false: there is none. */
typedef struct threshold {
    size_t at;
    double true_positives, false_positives;
} threshold;
static bool lower(const scored *s, size_t n, threshold *t)
{
    if (t->at >= n) return false;
    double score = s[t->at].score;
    for (; t->at < n && s[t->at].score == score; t->at++)
        *(s[t->at].label ? &t->true_positives : &t->false_positives) += s[t->at].weight;
    return true;
}

static double roc_auc(const scored *s, size_t n, amounts all, double at_least)
{
    double area = 0;
    (void)at_least;
    threshold before = {0}, t = {0};
    for (; lower(s, n, &t); before = t)
        area += (t.false_positives - before.false_positives) * (t.true_positives + before.true_positives) / 2;
    return all.positives > 0 && all.negatives > 0 ? area / (all.positives * all.negatives) : NAN;
}

static double precision(threshold t) { return t.true_positives / (t.true_positives + t.false_positives); }

static double average_precision(const scored *s, size_t n, amounts all, double at_least)
{
    double sum = 0;
    (void)at_least;
    threshold before = {0}, t = {0};
    for (; lower(s, n, &t); before = t)
        sum += (t.true_positives - before.true_positives) * precision(t);
    return all.positives > 0 ? sum / all.positives : 0;
}

/* The most of one rate at thresholds where the other is at least so much; 0: nowhere. */
typedef double (*rate)(threshold t, amounts all);
static double sensitivity(threshold t, amounts all) { return all.positives > 0 ? t.true_positives / all.positives : 0; }
static double specificity(threshold t, amounts all) { return all.negatives > 0 ? 1 - t.false_positives / all.negatives : 0; }
static double share_of_answers(threshold t, amounts all) { return (void)all, t.at ? precision(t) : 0; }
static double most_where(const scored *s, size_t n, amounts all, rate wanted, rate other, double at_least)
{
    double most = 0;
    threshold t = {0}; /* nothing is answered with the class */
    do {
        if (other(t, all) >= at_least) most = fmax(most, wanted(t, all));
    } while (lower(s, n, &t));
    return most;
}
static double precision_at_recall(const scored *s, size_t n, amounts all, double at_least)
{
    return most_where(s, n, all, share_of_answers, sensitivity, at_least);
}
static double recall_at_precision(const scored *s, size_t n, amounts all, double at_least)
{
    return most_where(s, n, all, sensitivity, share_of_answers, at_least);
}
static double sensitivity_at_specificity(const scored *s, size_t n, amounts all, double at_least)
{
    return most_where(s, n, all, sensitivity, specificity, at_least);
}
static double specificity_at_sensitivity(const scored *s, size_t n, amounts all, double at_least)
{
    return most_where(s, n, all, specificity, sensitivity, at_least);
}

static double average(const hone_metric *m, double (*score)(const scored *s, size_t n, amounts all, double at_least))
{
    hone_average kind = m->o.average;
    if (kind == HONE_AVERAGE_AUTO) kind = m->width <= 2 && !m->o.elementwise ? HONE_AVERAGE_BINARY : HONE_AVERAGE_MACRO;
    int64_t width = (int64_t)m->width, from = 0, to = width;
    if (width == 1 || kind == HONE_AVERAGE_BINARY)
        from = width > 1, to = from + 1;
    else if (kind == HONE_AVERAGE_MICRO)
        from = -1, to = 0;
    double sum = 0, weights = 0;
    for (int64_t c = from; c < to; c++) {
        size_t n;
        amounts all;
        scored *s = sorted(m, c, &n, &all);
        if (!s) return NAN;
        double weight = kind == HONE_AVERAGE_WEIGHTED && width > 1 ? all.positives : 1;
        if (weight > 0) sum += weight * score(s, n, all, m->o.at_least);
        weights += weight;
        hone__free(m->ctx, s);
    }
    return sum / weights;
}

double hone__roc_auc_result(const hone_metric *m) { return average(m, roc_auc); }
double hone__average_precision_result(const hone_metric *m) { return average(m, average_precision); }
double hone__precision_at_recall_result(const hone_metric *m) { return average(m, precision_at_recall); }
double hone__recall_at_precision_result(const hone_metric *m) { return average(m, recall_at_precision); }
double hone__sensitivity_at_specificity_result(const hone_metric *m) { return average(m, sensitivity_at_specificity); }
double hone__specificity_at_sensitivity_result(const hone_metric *m) { return average(m, specificity_at_sensitivity); }

hone_status hone_metric_curve(hone_metric *m, int64_t of, size_t *n, double **x, double **y)
{
    *n = 0;
    *x = *y = NULL;
    if (!m) return HONE_INVALID;
    hone_ctx *ctx = m->ctx;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    bool roc = m->type->result == hone__roc_auc_result;
    if (!roc && m->type->result != hone__average_precision_result)
        return hone__fail_run(ctx, HONE_STATE, "metric '%s' has no curve; roc_auc and average_precision have", m->type->name);
    if (!m->n || of < 0 || of >= (int64_t)m->width)
        return hone__fail_run(ctx, HONE_INVALID, "metric '%s': there is no column %lld, but %zu", m->type->name, (long long)of,
                              m->n ? m->width : (size_t)0);
    size_t count, points = 0;
    amounts all;
    scored *s = sorted(m, of, &count, &all);
    double *xs = s ? hone__alloc(ctx, (count + 1) * sizeof *xs) : NULL, *ys = xs ? hone__alloc(ctx, (count + 1) * sizeof *ys) : NULL;
    hone_status status = ys ? HONE_OK : hone_ctx_status(ctx);
    if (ys && (!(all.positives > 0) || (roc && !(all.negatives > 0))))
        status = hone__fail_run(ctx, HONE_INVALID, "metric '%s': column %lld has targets of one kind only", m->type->name, (long long)of);
    if (status == HONE_OK) {
        if (roc) xs[0] = ys[0] = 0, points = 1;
        for (threshold t = {0}; lower(s, count, &t); points++) {
            double recall = t.true_positives / all.positives;
            xs[points] = roc ? t.false_positives / all.negatives : recall;
            ys[points] = roc ? recall : precision(t);
        }
        *n = points, *x = xs, *y = ys;
    } else {
        hone__free(ctx, xs);
        hone__free(ctx, ys);
    }
    hone__free(ctx, s);
    return status;
}

void hone_free_curve(hone_ctx *ctx, double *x, double *y)
{
    hone__free(ctx, x);
    hone__free(ctx, y);
}
