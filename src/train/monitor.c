/* What callbacks and logs look at: an epoch's quantities by name, and whether one is better than it was. */
#include "train/callback.h"

#include <math.h>
#include <stdio.h>

/* ---- quantities: loss, accuracy, the model's metrics, and after those the same of what is held out ---- */

enum { LOSS, ACCURACY, METRICS };

static size_t n_metrics(const hone_model *model)
{
    const hone__compiled *c = model ? model->train : NULL;
    return c ? c->n_metrics : 0;
}

int hone__monitors(const hone_model *model) { return 2 * (METRICS + (int)n_metrics(model)); }

/* Without what tells the held out ones apart; NULL: loss or accuracy. */
static const hone_metric *metric_of(const hone_model *model, int i)
{
    const hone__compiled *c = model->train;
    int k = i % (hone__monitors(model) / 2);
    return k < METRICS ? NULL : c->metrics[k - METRICS].metric;
}
static bool held_out(const hone_model *model, int i) { return i >= hone__monitors(model) / 2; }
static bool is_loss(const hone_model *model, int i) { return i % (hone__monitors(model) / 2) == LOSS; }

void hone__monitor_name(const hone_model *model, int i, char name[HONE__MONITOR_NAME])
{
    const hone_metric *m = metric_of(model, i);
    snprintf(name, HONE__MONITOR_NAME, "%s%s", held_out(model, i) ? "val_" : "",
             m ? hone_metric_name(m) : is_loss(model, i) ? "loss" : "accuracy");
}

int hone__monitor_find(const hone_model *model, const char *name)
{
    char known[HONE__MONITOR_NAME];
    for (int i = hone__monitors(model) - 1; i >= 0; i--) { /* a metric called accuracy comes before the step's own */
        hone__monitor_name(model, i, known);
        if (!strcmp(known, name)) return i;
    }
    return -1;
}

double hone__monitor_value(const hone_model *model, int i, const hone_epoch *result)
{
    bool apart = held_out(model, i);
    int k = i % (hone__monitors(model) / 2);
    const double *metrics = apart ? result->validation_metrics : result->metrics;
    if (k == LOSS) return apart ? result->validation_loss : result->loss;
    if (k >= METRICS) return metrics ? metrics[k - METRICS] : NAN;
    for (size_t m = 0; m < n_metrics(model); m++)
        if (!strcmp(hone_metric_name(metric_of(model, METRICS + (int)m)), "accuracy")) return NAN; /* it is told already */
    return apart ? result->validation_accuracy : result->accuracy;
}

size_t hone_model_metric_count(const hone_model *model) { return n_metrics(model); }
const char *hone_model_metric_name(const hone_model *model, size_t i)
{
    return i < n_metrics(model) ? hone_metric_name(((const hone__compiled *)model->train)->metrics[i].metric) : NULL;
}

double hone_epoch_value(const hone_model *model, const hone_epoch *result, const char *name)
{
    int i = model && result && name ? hone__monitor_find(model, name) : -1;
    return i < 0 ? NAN : hone__monitor_value(model, i, result);
}

hone_status hone__monitor_refuse(const hone_model *model, const char *what, const char *name)
{
    hone__buffer all = {0};
    char known[HONE__MONITOR_NAME];
    for (int i = 0; i < hone__monitors(model) / 2; i++) {
        hone__monitor_name(model, i, known);
        hone__buffer_print(model->ctx, &all, "%s%s", i ? ", " : "", known);
    }
    hone_status status = hone__fail_run(model->ctx, HONE_INVALID, "%s: there is no '%.100s'; this model has %s, and each with val_ before it",
                                        what, name, all.data ? all.data : "");
    hone__buffer_free(model->ctx, &all);
    return hone__ok(model->ctx) ? status : model->ctx->status;
}

/* ---- watching one ---- */

bool hone__watch_init(hone_ctx *ctx, hone__watch *watch, const char *monitor, hone_monitor_mode mode, double min_delta)
{
    if (!monitor) monitor = "val_loss";
    *watch = (hone__watch){.mode = mode, .min_delta = min_delta};
    if (*monitor && strlen(monitor) < sizeof watch->name && min_delta >= 0) {
        strcpy(watch->name, monitor);
        return true;
    }
    hone__fail(ctx, HONE_INVALID, "callback: monitor must name a quantity, not '%.100s', and min_delta not be negative", monitor);
    return false;
}

hone_status hone__watch_begin(hone__watch *watch, const hone_model *model)
{
    int i = watch->monitor = hone__monitor_find(model, watch->name);
    if (i < 0) return hone__monitor_refuse(model, "monitor", watch->name);
    const hone_metric *m = metric_of(model, i);
    bool larger = m ? hone_metric_larger_is_better(m) : !is_loss(model, i);
    watch->max = watch->mode == HONE_MONITOR_AUTO ? larger : watch->mode == HONE_MONITOR_MAX;
    watch->best = watch->max ? -HUGE_VAL : HUGE_VAL;
    watch->told = false;
    return HONE_OK;
}

bool hone__watch_value(hone__watch *watch, const hone_fit_state *state, const char *who, double *value)
{
    const hone_model *model = state->model;
    const bool apart = state->no_validation && held_out(model, watch->monitor);
    *value = hone__monitor_value(model, watch->monitor, state->result);
    /* a share of right answers is never NaN, unlike losses and metrics */
    const bool known = watch->monitor % (hone__monitors(model) / 2) != ACCURACY || !isnan(*value);
    if (!apart && known) return true;
    if (!watch->told)
        hone__log(model->ctx, HONE_LOG_WARNING, "%s: epochs have no '%s', which it watches: %s", who, watch->name,
                  apart ? "no validation data were given" : "the loss does not know what a right answer is");
    watch->told = true;
    return false;
}

bool hone__watch_better(const hone__watch *watch, double value, double than)
{
    return watch->max ? value - watch->min_delta > than : value + watch->min_delta < than;
}
