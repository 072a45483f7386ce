/* What is drawn as lines of something else: the history of a training, and curves of true over false positive rates. */
#include "train/plot.h"

#include "metrics/metrics.h"

#include <math.h>
#include <stdio.h>

/* ---- a history ---- */

/* One quantity of all epochs. */
typedef struct quantity {
    size_t offset;      /* of the field in a hone_epoch */
    size_t metric;      /* behind the pointer there; SIZE_MAX: the field is the value */
    const char *name;
    bool validation;
} quantity;

static double value_of(const hone_epoch *e, const quantity *q)
{
    const void *field = (const char *)e + q->offset;
    if (q->metric == SIZE_MAX) return *(const double *)field;
    const double *values = *(const double *const *)field;
    return values ? values[q->metric] : NAN;
}

/* Quantity i of a history, training before validation; false: there are no more. */
static bool find_quantity(const hone_history *h, size_t i, quantity *q)
{
    const bool validation = i % 2;
    size_t k = i / 2;
    *q = (quantity){.metric = k < 2 ? SIZE_MAX : k - 2, .validation = validation};
    if (k >= 2 + h->n_metrics) return false;
    q->name = k == 0 ? "loss" : k == 1 ? "accuracy" : h->metric_names[k - 2];
    if (k == 0)
        q->offset = validation ? offsetof(hone_epoch, validation_loss) : offsetof(hone_epoch, loss);
    else if (k == 1)
        q->offset = validation ? offsetof(hone_epoch, validation_accuracy) : offsetof(hone_epoch, accuracy);
    else
        q->offset = validation ? offsetof(hone_epoch, validation_metrics) : offsetof(hone_epoch, metrics);
    return true;
}

/* False: there is nothing to be drawn. */
static bool take_values(const hone_history *h, const quantity *q, double *values)
{
    bool any = false;
    for (size_t e = 0; e < h->n_epochs; e++) {
        values[e] = value_of(&h->epochs[e], q);
        any = any || isfinite(values[e]);
    }
    return any;
}

/* Into series, values [*n][epochs] and names [*n][80]; of one quantity (NULL: of all). */
static void list_series(const hone_history *h, const char *wanted, hone_plot_series *series, double *epochs, double *values, char (*names)[80],
                        size_t *n)
{
    quantity q;
    *n = 0;
    for (size_t e = 0; e < h->n_epochs; e++) epochs[e] = (double)e + 1;
    for (size_t i = 0; find_quantity(h, i, &q); i++) {
        double *own = values + *n * h->n_epochs;
        if ((wanted && strcmp(wanted, q.name) != 0) || !take_values(h, &q, own)) continue;
        if (wanted)
            snprintf(names[*n], sizeof *names, "%s", q.validation ? "validation" : "training");
        else
            snprintf(names[*n], sizeof *names, q.validation ? "val_%s" : "%s", q.name);
        /* of several quantities each has one colour: pale in training, full in what was held out */
        series[*n] = (hone_plot_series){.name = names[*n], .count = h->n_epochs, .x = epochs, .y = own};
        if (!wanted && q.validation && *n && !strcmp(names[*n - 1], q.name)) series[*n - 1].faint = true;
        ++*n;
    }
}

hone_status hone_plot_history(hone_ctx *ctx, const char *path, const char *title, const hone_history *history, const char *name)
{
    if (!history) return HONE_INVALID;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    const size_t most = 2 * (2 + history->n_metrics), n_epochs = history->n_epochs;
    hone_plot_series *series = hone__alloc(ctx, most * sizeof *series);
    double *values = series ? hone__alloc(ctx, (most + 1) * HONE_MAX(n_epochs, (size_t)1) * sizeof *values) : NULL;
    char(*names)[80] = values ? hone__alloc(ctx, most * sizeof *names) : NULL;
    hone_status status = hone_ctx_status(ctx);
    size_t n = 0;
    if (names) list_series(history, name, series, values + most * n_epochs, values, names, &n);
    if (names && !n)
        status = hone__fail_run(ctx, HONE_INVALID, "%s: the history of %zu epochs has no %s", path, n_epochs, name ? name : "values");
    else if (names)
        status = hone_plot_lines(ctx, path, title, "epoch", name, n, series);
    hone__free(ctx, series), hone__free(ctx, values), hone__free(ctx, names);
    return status;
}

/* ---- receiver operating characteristic ---- */

enum { MOST_CURVES = 20 };

/* Trapezoids: that of roc_auc. */
static double area_below(size_t n, const double *x, const double *y)
{
    double area = 0;
    for (size_t i = 1; i < n; i++) area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
    return area;
}

/* Bytes of a text of UTF-8, at most so many, that end with a character. */
static int whole_characters(const char *text, int most)
{
    size_t n = strlen(text);
    if (n <= (size_t)most) return (int)n;
    while (most > 0 && ((unsigned char)text[most] & 0xC0) == 0x80) most--;
    return most;
}

/* A curve for each class from `first` on that the targets have, and have not alone. */
static hone_status list_curves(hone_ctx *ctx, hone_metric *m, int64_t first, const char *const *names, hone_plot_series *series,
                               char (*texts)[120], size_t *n)
{
    hone_status status = HONE_OK;
    for (int64_t k = first; k < (int64_t)m->width && hone__ok(ctx); k++) {
        size_t count;
        double *x, *y;
        hone_status one = hone_metric_curve(m, k, &count, &x, &y);
        if (one != HONE_OK) {
            status = one;
            continue;
        }
        const double area = area_below(count, x, y);
        if (names)
            snprintf(texts[*n], sizeof *texts, "%.*s, area %.3f", whole_characters(names[k], 90), names[k], area);
        else if (m->width - (size_t)first > 1)
            snprintf(texts[*n], sizeof *texts, "%lld, area %.3f", (long long)k, area);
        else
            snprintf(texts[*n], sizeof *texts, "area %.3f", area);
        series[*n] = (hone_plot_series){.name = texts[*n], .count = count, .x = x, .y = y};
        ++*n;
    }
    return *n && hone__ok(ctx) ? HONE_OK : status;
}

hone_status hone_plot_roc(hone_ctx *ctx, const char *path, const char *title, hone_metric *metric, const char *const *names)
{
    if (!metric) return HONE_INVALID;
    static const double ends[] = {0, 1};
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    /* of two scores that sum to 1, the curve of class 0 is that of class 1 turned around */
    const int64_t first = metric->width == 2 && !metric->o.elementwise;
    if (metric->type->result != hone__roc_auc_result)
        return hone__fail_run(ctx, HONE_STATE, "%s: metric '%s' has no such curve; roc_auc has", path, metric->type->name);
    if (!metric->n) return hone__fail_run(ctx, HONE_INVALID, "%s: metric '%s' has seen no rows", path, metric->type->name);
    if (metric->width > MOST_CURVES)
        return hone__fail_run(ctx, HONE_INVALID, "%s: %zu classes are more than a picture of curves shows, %d", path, metric->width, MOST_CURVES);
    hone_plot_series series[MOST_CURVES + 1];
    char texts[MOST_CURVES][120];
    size_t n = 0;
    hone_status status = list_curves(ctx, metric, first, names, series, texts, &n);
    series[n] = (hone_plot_series){.name = "chance", .count = 2, .x = ends, .y = ends, .guide = true};
    if (status == HONE_OK)
        status = hone__plot_lines(ctx, path, &(hone__lines){.title = title, .x_label = "false positive rate", .y_label = "true positive rate",
                                                            .n = n + 1, .series = series, .legend_below = true});
    for (size_t i = 0; i < n; i++) hone_free_curve(ctx, (double *)(uintptr_t)series[i].x, (double *)(uintptr_t)series[i].y);
    return status;
}
