/* Steps by hand: a fit, or an evaluation, of one batch. */
#include "train/train.h"

#include <math.h>

hone_optimizer *hone_model_optimizer(hone_model *model)
{
    hone__compiled *c = model ? model->train : NULL;
    return c ? c->optimizer : NULL;
}

/* Rows that make one batch; what is wrong with x is for others to say. */
static int one_batch(hone_tensors x)
{
    const hone_tensor *first = x.n ? x.tensor[0] : NULL;
    return first && first->shape.rank ? (int)HONE_MIN(HONE_MAX(first->shape.dim[0], (int64_t)1), (int64_t)INT32_MAX) : 1;
}

/* INVALID when there is room for another number of metrics than the model has. */
static hone_status begin(const hone_model *model, const hone_batch_opts *o)
{
    const hone__compiled *c = model ? model->train : NULL;
    for (size_t i = 0; i < o->n_metrics; i++) o->metrics[i] = NAN;
    if (!model) return HONE_INVALID;
    if (!c || !c->optimizer || !o->n_metrics || o->n_metrics == c->n_metrics) return HONE_OK;
    return hone__fail_run(model->ctx, HONE_INVALID, "a batch: room for %zu metrics, the model was compiled with %zu", o->n_metrics, c->n_metrics);
}

hone_status hone_train_on_batch_many_opt(hone_model *model, hone_tensors x, hone_tensors y, double *loss, double *accuracy,
                                         const hone_batch_opts *opts)
{
    static const hone_batch_opts none = {0};
    if (!opts) opts = &none;
    hone_history *history = NULL;
    hone_status status = begin(model, opts);
    if (status == HONE_OK)
        status = hone_fit_many(model, x, y, &history, .batch_size = one_batch(x), .no_shuffle = true, .sample_weights = opts->sample_weights,
                               .class_weights = opts->class_weights, .n_class_weights = opts->n_class_weights);
    const hone_epoch *made = status == HONE_OK && history->n_epochs ? history->epochs : NULL;
    if (loss) *loss = made ? made->loss : NAN;
    if (accuracy) *accuracy = made ? made->accuracy : NAN;
    for (size_t i = 0; i < opts->n_metrics && made; i++) opts->metrics[i] = made->metrics[i];
    hone_history_free(history);
    return status;
}

hone_status hone_train_on_batch_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y, double *loss, double *accuracy,
                                    const hone_batch_opts *opts)
{
    return hone_train_on_batch_many_opt(model, (hone_tensors){&x, 1}, (hone_tensors){&y, 1}, loss, accuracy, opts);
}

hone_status hone_test_on_batch_many_opt(hone_model *model, hone_tensors x, hone_tensors y, double *loss, double *accuracy,
                                        const hone_batch_opts *opts)
{
    static const hone_batch_opts none = {0};
    if (!opts) opts = &none;
    hone_status status = begin(model, opts);
    if (status == HONE_OK && opts->class_weights)
        status = hone__fail_run(model->ctx, HONE_INVALID, "test_on_batch: class_weights count in training alone");
    if (status == HONE_OK)
        return hone__evaluate(model, x, y, opts->sample_weights, one_batch(x), loss, accuracy, opts->n_metrics, opts->metrics);
    if (loss) *loss = NAN;
    if (accuracy) *accuracy = NAN;
    return status;
}

hone_status hone_test_on_batch_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y, double *loss, double *accuracy,
                                   const hone_batch_opts *opts)
{
    return hone_test_on_batch_many_opt(model, (hone_tensors){&x, 1}, (hone_tensors){&y, 1}, loss, accuracy, opts);
}
