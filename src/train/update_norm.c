/* Running statistics anew, for weights that were averaged: torch.optim.swa_utils.update_bn. */
#include "train/train.h"

/* The states of the model's batch norms: sums over batches. */
typedef struct statistics {
    hone_param **params;
    double **sums, *kept; /* kept: the layers' momenta */
    size_t n;
} statistics;

static void free_statistics(hone_ctx *ctx, statistics *s)
{
    for (size_t i = 0; i < s->n; i++) hone__free(ctx, s->sums[i]);
    hone__free(ctx, s->sums);
    hone__free(ctx, s->kept);
    hone__free(ctx, s->params);
}

static bool find_statistics(const hone_model *model, statistics *s)
{
    hone_ctx *ctx = model->ctx;
    s->params = hone__calloc(ctx, model->n_params + 1, sizeof *s->params);
    s->sums = hone__calloc(ctx, model->n_params + 1, sizeof *s->sums);
    s->kept = hone__calloc(ctx, model->n_params + 1, sizeof *s->kept);
    for (size_t i = 0; i < model->n_params && hone__ok(ctx); i++) {
        hone_param *p = model->params[i];
        if (!p->state || !p->own || p->v.stored != HONE_F32 || !hone__batch_norm_momentum(p->layer)) continue;
        s->params[s->n] = p;
        s->sums[s->n++] = hone__calloc(ctx, (size_t)hone_shape_count(p->v.shape) + 1, sizeof **s->sums);
    }
    return hone__ok(ctx);
}

/* With a momentum of 1 a run leaves the statistics of its batch. */
static void set_momentum(hone_model *model, statistics *s, bool all)
{
    for (size_t i = 0; i < s->n; i++) {
        double *momentum = hone__batch_norm_momentum(s->params[all ? i : s->n - 1 - i]->layer);
        if (all) s->kept[i] = *momentum;
        *momentum = all ? 1 : s->kept[s->n - 1 - i]; /* backwards: of a layer's two the first knows */
    }
    model->generation++; /* what was recorded has the other momentum */
}

/* Rows order[0..count). */
static hone_status add_batch(hone_model *model, statistics *s, hone_function *forward, hone_tensors x, const int64_t *order, int64_t count,
                             uint64_t step)
{
    hone_tensor *batch[HONE__MOST_INPUTS];
    for (size_t i = 0; i < x.n; i++) batch[i] = hone__input_rows(model, (int)i, x.tensor[i], count, order);
    hone_status status = hone__ok(model->ctx) ? hone_function_call(forward, batch, .mode = HONE_TRAIN, .step = step) : model->ctx->status;
    for (size_t i = 0; i < s->n && status == HONE_OK; i++)
        for (int64_t e = 0; e < hone_shape_count(s->params[i]->v.shape); e++)
            s->sums[i][e] += (double)((const float *)s->params[i]->v.data)[e];
    for (size_t i = 0; i < x.n; i++) hone_tensor_free(batch[i]);
    return status;
}

static hone_status check(hone_model *model, hone_tensors x, int batch_size)
{
    hone_status status = HONE__STATUS_OF(model);
    if (status != HONE_OK) return status;
    hone_ctx *ctx = model->ctx;
    status = hone__check_counts(model, x.n, (size_t)hone_model_output_count(model));
    if (status != HONE_OK) return status;
    const hone_tensor *first = x.tensor[0];
    if (!first || first->shape.rank < 1 || first->shape.dim[0] < 1 || batch_size < 1)
        return hone__fail_run(ctx, HONE_INVALID, "update_batch_norm: x needs rows, batch_size must be at least 1");
    if (!model->n_params) return hone__fail_run(ctx, HONE_STATE, "update_batch_norm: the model has no parameters yet");
    return hone__check_rows(ctx, "x", x, first->shape.dim[0]);
}

hone_status hone_update_batch_norm_many(hone_model *model, hone_tensors x, int batch_size)
{
    hone_status status = check(model, x, batch_size);
    if (status != HONE_OK) return status;
    hone_ctx *ctx = model->ctx;
    const int64_t rows = x.tensor[0]->shape.dim[0];
    hone_function *forward = hone__predict_function(model, (int)x.n);
    int64_t *order = forward ? hone__row_numbers(ctx, rows) : NULL;
    hone__snapshot *before = order ? hone__snapshot_take(model, false) : NULL;
    statistics s = {0};
    if (!before || !find_statistics(model, &s)) {
        hone__snapshot_free(before);
        hone__free(ctx, order);
        free_statistics(ctx, &s);
        return ctx->status;
    }
    set_momentum(model, &s, true);
    uint64_t batches = 0;
    const bool join = hone__joins_last(model, batch_size);
    for (int64_t at = 0, count; at < rows && status == HONE_OK && s.n; at += count) {
        count = hone__next_rows(rows - at, batch_size, join);
        status = add_batch(model, &s, forward, x, order + at, count, batches++);
    }
    set_momentum(model, &s, false);
    for (size_t i = 0; i < s.n && status == HONE_OK; i++) {
        for (int64_t e = 0; e < hone_shape_count(s.params[i]->v.shape); e++)
            ((float *)s.params[i]->v.data)[e] = (float)(s.sums[i][e] / (double)batches);
        s.params[i]->v.version++;
    }
    if (status != HONE_OK) hone__snapshot_restore(before);
    hone__snapshot_free(before);
    hone__free(ctx, order);
    free_statistics(ctx, &s);
    return status;
}

hone_status hone_update_batch_norm(hone_model *model, const hone_tensor *x, int batch_size)
{
    return hone_update_batch_norm_many(model, (hone_tensors){&x, 1}, batch_size);
}
