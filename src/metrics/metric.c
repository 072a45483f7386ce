/* Metrics by name: one table. */
#include "metrics/metrics.h"

#include <math.h>
#include <stdio.h>

static const hone__metric_type types[] = {
    {.name = "accuracy", .update = hone__accuracy_update, .result = hone__mean_result},
    {.name = "top_k_accuracy", .update = hone__top_k_update, .result = hone__mean_result},
    {.name = "precision", .update = hone__classes_update, .result = hone__classes_result, .score = hone__precision},
    {.name = "recall", .update = hone__classes_update, .result = hone__classes_result, .score = hone__recall},
    {.name = "f1", .update = hone__classes_update, .result = hone__classes_result, .score = hone__f_beta},
    {.name = "f_beta", .update = hone__classes_update, .result = hone__classes_result, .score = hone__f_beta},
    {.name = "mean_iou", .update = hone__classes_update, .result = hone__classes_result, .score = hone__iou, .macro = true},
    {.name = "roc_auc", .update = hone__ranking_update, .result = hone__roc_auc_result},
    {.name = "average_precision", .update = hone__ranking_update, .result = hone__average_precision_result},
    {.name = "precision_at_recall", .update = hone__ranking_update, .result = hone__precision_at_recall_result},
    {.name = "recall_at_precision", .update = hone__ranking_update, .result = hone__recall_at_precision_result},
    {.name = "sensitivity_at_specificity", .update = hone__ranking_update, .result = hone__sensitivity_at_specificity_result},
    {.name = "specificity_at_sensitivity", .update = hone__ranking_update, .result = hone__specificity_at_sensitivity_result},
    {.name = "matthews_correlation", .update = hone__classes_update, .result = hone__matthews_result},
    {.name = "cohen_kappa", .update = hone__classes_update, .result = hone__kappa_result},
    {.name = "balanced_accuracy", .update = hone__classes_update, .result = hone__balanced_result},
    {.name = "log_loss", .update = hone__log_loss_update, .result = hone__mean_result, .smaller = true},
    {.name = "perplexity", .update = hone__perplexity_update, .result = hone__perplexity_result, .smaller = true},
    {.name = "mae", .update = hone__columns_update, .result = hone__mae_result, .columns = true, .smaller = true},
    {.name = "mse", .update = hone__columns_update, .result = hone__mse_result, .columns = true, .smaller = true},
    {.name = "rmse", .update = hone__columns_update, .result = hone__rmse_result, .columns = true, .smaller = true},
    {.name = "r2", .update = hone__columns_update, .result = hone__r2_result, .columns = true},
    {.name = "pearson_correlation", .update = hone__columns_update, .result = hone__pearson_result, .columns = true},
    {.name = "mape", .update = hone__rows_update, .result = hone__mean_result, .element = hone__mape, .columns = true, .smaller = true},
    {.name = "msle", .update = hone__rows_update, .result = hone__mean_result, .element = hone__msle, .columns = true, .smaller = true},
    {.name = "log_cosh", .update = hone__rows_update, .result = hone__mean_result, .element = hone__log_cosh, .columns = true, .smaller = true},
    {.name = "poisson", .update = hone__rows_update, .result = hone__mean_result, .element = hone__poisson, .columns = true, .smaller = true},
    {.name = "hinge", .update = hone__rows_update, .result = hone__mean_result, .element = hone__hinge, .columns = true, .smaller = true},
    {.name = "squared_hinge", .update = hone__rows_update, .result = hone__mean_result, .element = hone__squared_hinge, .columns = true,
     .smaller = true},
    {.name = "categorical_hinge", .update = hone__rows_update, .result = hone__mean_result, .row = hone__categorical_hinge, .columns = true,
     .smaller = true},
    {.name = "cosine_similarity", .update = hone__rows_update, .result = hone__mean_result, .row = hone__cosine, .columns = true},
    {.name = "kl_divergence", .update = hone__rows_update, .result = hone__mean_result, .row = hone__kl, .columns = true, .smaller = true},
    {.name = "bleu", .text = hone__bleu_text, .result = hone__bleu_result},
    {.name = "rouge_l", .text = hone__rouge_l_text, .result = hone__mean_result},
    {.name = "wer", .text = hone__wer_text, .result = hone__error_rate_result, .smaller = true},
    {.name = "cer", .text = hone__cer_text, .result = hone__error_rate_result, .smaller = true},
};

static const hone__metric_type *find(hone_ctx *ctx, const char *name)
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(types); i++)
        if (name && !strcmp(types[i].name, name)) return &types[i];
    char all[1024] = "";
    for (size_t i = 0; i < HONE_ARRAY_LEN(types); i++) {
        if (i) strcat(all, ", ");
        strcat(all, types[i].name);
    }
    const char *near = NULL; /* auc: roc_auc */
    for (size_t i = 0; i < HONE_ARRAY_LEN(types) && name && strlen(name) > 1 && !near; i++)
        if (strstr(types[i].name, name) || strstr(name, types[i].name)) near = types[i].name;
    hone__fail(ctx, HONE_NOT_FOUND, "there is no metric '%s'%s%s%s; there are %s", name ? name : "", near ? ", did you mean '" : "",
               near ? near : "", near ? "'?" : "", all);
    return NULL;
}

hone_metric *hone_metric_new_opt(hone_ctx *ctx, const char *name, const hone_metric_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_metric_opts o = opts ? *opts : (hone_metric_opts){0};
    const hone__metric_type *type = find(ctx, name);
    if (!type) return NULL;
    o.beta = o.beta == 0 || !strcmp(name, "f1") ? 1 : o.beta;
    o.k = o.k == 0 ? 5 : o.k;
    o.threshold = hone__choose(o.threshold, 0.5);
    o.at_least = o.at_least == 0 ? 0.5 : o.at_least;
    if (!(o.beta > 0) || o.k < 1 || isnan(o.threshold) || !(o.at_least > 0 && o.at_least <= 1) || (unsigned)o.average > HONE_AVERAGE_WEIGHTED) {
        hone__fail(ctx, HONE_INVALID, "metric '%s': beta and k must be positive, threshold a number, at_least in (0, 1], average one "
                                      "of hone_average",
                   name);
        return NULL;
    }
    const char *called = o.name ? o.name : type->name;
    if (!*called || strlen(called) > sizeof ((hone_metric *)0)->name - 1) {
        hone__fail(ctx, HONE_INVALID, "metric '%s': its name must have 1 to 63 bytes, not '%.100s'", name, called);
        return NULL;
    }
    hone_metric *m = hone__calloc(ctx, 1, sizeof *m);
    if (!m) return NULL;
    m->ctx = hone_ctx_retain(ctx);
    m->type = type;
    m->o = o;
    m->o.name = NULL;
    strcpy(m->name, called);
    return m;
}

hone_metric *hone__mean_new(hone_ctx *ctx, const char *name, bool smaller_is_better)
{
    static const hone__metric_type means[] = {{.name = "mean", .result = hone__mean_result},
                                              {.name = "mean", .result = hone__mean_result, .smaller = true}};
    hone_metric *m = hone__calloc(ctx, 1, sizeof *m);
    if (!m) return NULL;
    m->ctx = hone_ctx_retain(ctx);
    m->type = &means[smaller_is_better];
    snprintf(m->name, sizeof m->name, "%s", name);
    return m;
}

void hone__mean_add(hone_metric *m, double sum, int64_t n)
{
    m->n += n;
    m->weight += (double)n;
    m->sum += sum;
}

/* Memory stays for what comes next. */
void hone_metric_reset(hone_metric *m)
{
    if (!m) return;
    m->n = 0;
    m->weight = m->sum = 0;
    memset(m->count, 0, sizeof m->count);
    m->n_classes = m->n_columns = m->width = 0;
}

void hone_metric_free(hone_metric *m)
{
    if (!m) return;
    hone_ctx *ctx = m->ctx;
    hone__answers_free(ctx, &m->batch);
    hone__free(ctx, m->classes);
    hone__free(ctx, m->columns);
    hone__free(ctx, m->scores);
    hone__free(ctx, m->labels);
    hone__free(ctx, m->weights);
    hone__free(ctx, m);
    hone_ctx_release(ctx);
}

const char *hone_metric_name(const hone_metric *m) { return m ? m->name : NULL; }
bool hone_metric_larger_is_better(const hone_metric *m) { return m && !m->type->smaller; }

hone_status hone_metric_update(hone_metric *m, const hone_tensor *prediction, const hone_tensor *target)
{
    return hone_metric_update_weighted(m, prediction, target, NULL);
}

hone_status hone_metric_update_weighted(hone_metric *m, const hone_tensor *prediction, const hone_tensor *target,
                                        const hone_tensor *weights)
{
    hone_status usable = HONE__STATUS_OF(m);
    if (usable != HONE_OK) return usable;
    if (!m->type->update)
        return hone__fail_run(m->ctx, HONE_STATE, "metric '%s' compares texts: call hone_metric_update_text", m->type->name);
    hone_status status = hone__answers_read(&m->batch, m->ctx, &m->o, m->type->columns, prediction, target);
    if (status == HONE_OK) status = hone__answers_weigh(&m->batch, m->ctx, prediction, weights);
    if (status == HONE_OK) status = m->type->update(m);
    if (status != HONE_OK) hone__error_prefix(m->ctx, "metric '%s'", m->name);
    return status;
}

hone_status hone_metric_update_text(hone_metric *m, const char *prediction, size_t n, const char *const *references)
{
    hone_status usable = HONE__STATUS_OF(m);
    if (usable != HONE_OK) return usable;
    if (!m->type->text)
        return hone__fail_run(m->ctx, HONE_STATE, "metric '%s' compares tensors: call hone_metric_update", m->type->name);
    bool given = prediction && n > 0 && references;
    for (size_t i = 0; i < n && given; i++) given = references[i] != NULL;
    if (!given) return hone__fail_run(m->ctx, HONE_INVALID, "metric '%s': a text and at least one reference are wanted", m->type->name);
    return m->type->text(m, prediction, n, references);
}

double hone_metric_result(const hone_metric *m) { return m && m->n ? m->type->result(m) : NAN; }
