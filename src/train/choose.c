/* Steps by hand, and what chooses: cross-validation, the learning-rate finder. */
#include "train/train.h"
#include "data/data.h"

#include <math.h>

/* ---- single batches: a fit, or an evaluation, of one ---- */

hone_optimizer *hone_model_optimizer(hone_model *model)
{
    hone__compiled *c = model ? model->train : NULL;
    return c ? c->optimizer : NULL;
}

/* Rows that make one batch; what is wrong with x is for others to say. */
static int one_batch(const hone_tensor *x)
{
    return x && x->shape.rank ? (int)HONE_MIN(HONE_MAX(x->shape.dim[0], (int64_t)1), (int64_t)INT32_MAX) : 1;
}

hone_status hone_train_on_batch(hone_model *model, const hone_tensor *x, const hone_tensor *y, double *loss, double *accuracy)
{
    hone_history *history = NULL;
    hone_status status = hone_fit(model, x, y, &history, .batch_size = one_batch(x), .no_shuffle = true);
    bool made = status == HONE_OK && history->n_epochs;
    if (loss) *loss = made ? history->epochs[0].loss : NAN;
    if (accuracy) *accuracy = made ? history->epochs[0].accuracy : NAN;
    hone_history_free(history);
    return status;
}

hone_status hone_test_on_batch(hone_model *model, const hone_tensor *x, const hone_tensor *y, double *loss, double *accuracy)
{
    return hone_evaluate(model, x, y, one_batch(x), loss, accuracy);
}

/* ---- cross-validation ---- */

static hone_status run_fold(hone_ctx *ctx, hone_build_fn build, void *user, hone_tensor *const part[4], const hone_fit_opts *fit,
                            hone_fold *fold)
{
    hone_model *model = build(user, ctx);
    if (!model)
        return hone__ok(ctx) ? hone__fail_run(ctx, HONE_INVALID, "cross_validate: the builder gave no model") : ctx->status;
    hone_status status = hone_fit_opt(model, part[0], part[1], NULL, fit);
    int batch = fit && fit->batch_size > 0 ? fit->batch_size : 32;
    if (status == HONE_OK) status = hone_evaluate(model, part[2], part[3], batch, &fold->loss, &fold->accuracy);
    hone_model_release(model);
    return status;
}

hone_status hone_cross_validate_opt(hone_ctx *ctx, hone_build_fn build, const hone_tensor *x, const hone_tensor *y, hone_fold *folds,
                                    const hone_cross_validate_opts *opts)
{
    static const hone_cross_validate_opts none = {0};
    if (!opts) opts = &none;
    if (!hone__ok(ctx)) return ctx->status;
    int64_t rows = x && y && x->shape.rank && y->shape.rank && x->shape.dim[0] == y->shape.dim[0] ? x->shape.dim[0] : 0;
    int k = opts->k ? opts->k : 5;
    if (k < 2 || k > rows)
        return hone__fail_run(ctx, HONE_INVALID, "cross_validate: x and y need as many rows each, k must be from 2 to their number, "
                                                 "not %d of %lld rows", k, (long long)rows);
    int64_t *order = hone__alloc(ctx, (size_t)rows * sizeof *order), n; /* n to train on, then those held out */
    if (!order) return ctx->status;
    hone_status status = HONE_OK;
    for (int f = 0; f < k && status == HONE_OK; f++) {
        status = hone__k_fold(ctx, rows, k, f, opts->stratify ? y : NULL, !opts->no_shuffle, opts->seed, order, &n);
        if (status != HONE_OK) break;
        hone_tensor *part[4] = {hone_take(x, n, order), hone_take(y, n, order), hone_take(x, rows - n, order + n),
                                hone_take(y, rows - n, order + n)};
        status = part[0] && part[1] && part[2] && part[3] ? run_fold(ctx, build, opts->user, part, opts->fit, &folds[f])
                                                          : ctx->status;
        for (int i = 0; i < 4; i++) hone_tensor_free(part[i]);
    }
    hone__free(ctx, order);
    return status;
}

/* ---- the learning-rate finder ---- */

void hone_rate_finder_free(hone_rate_finder *finder)
{
    if (!finder) return;
    hone_ctx *ctx = finder->ctx;
    hone__free(ctx, finder->learning_rates);
    hone__free(ctx, finder->losses);
    hone__free(ctx, finder);
    hone_ctx_release(ctx);
}

/* Central differences over equal distances in the logarithm; the ends, of which one says little, are left out. */
static double steepest(const hone_rate_finder *f)
{
    double best = 0, rate = NAN;
    for (size_t i = 1; i + 1 < f->n; i++) {
        double slope = f->losses[i + 1] - f->losses[i - 1];
        if (slope < best) best = slope, rate = f->learning_rates[i];
    }
    return rate;
}

typedef struct sweep {
    const hone_tensor *x, *y;
    int64_t *order, rows, batch;
    int64_t epochs, at; /* rows are taken in a new order each time they are used up */
} sweep;

static hone_status train_next(hone_model *model, sweep *s, double *loss)
{
    if (s->at >= s->rows || !s->epochs) {
        for (int64_t i = 0; i < s->rows; i++) s->order[i] = i;
        hone__shuffle(hone__key(model->ctx->seed, (uint64_t)s->epochs++), s->order, s->rows);
        s->at = 0;
    }
    int64_t count = HONE_MIN(s->batch, s->rows - s->at);
    hone_tensor *x = hone_take(s->x, count, s->order + s->at), *y = hone_take(s->y, count, s->order + s->at);
    hone_status status = x && y ? hone_train_on_batch(model, x, y, loss, NULL) : model->ctx->status;
    hone_tensor_free(x);
    hone_tensor_free(y);
    s->at += count;
    return status;
}

static hone_status sweep_rates(hone_model *model, sweep *s, const hone_rate_finder_opts *o, double least, double most, int steps,
                               hone_rate_finder *f)
{
    double keep = hone__choose(o->smoothing, 0.9), mean = 0, weight = 0, best = HUGE_VAL, diverged = o->diverged > 0 ? o->diverged : 4;
    for (int i = 0; i < steps; i++) {
        double loss, rate = least * pow(most / least, (double)i / (steps - 1));
        hone_optimizer_set_learning_rate(hone_model_optimizer(model), rate);
        hone_status status = train_next(model, s, &loss);
        if (status == HONE_NUMERIC) break; /* that is what it was to find out */
        if (status != HONE_OK) return status;
        mean = keep * mean + (1 - keep) * loss;
        weight = keep * weight + (1 - keep);
        f->learning_rates[f->n] = rate;
        f->losses[f->n++] = mean / weight;
        if (mean / weight < best) best = mean / weight;
        if (mean / weight > diverged * best) break;
    }
    return HONE_OK;
}

hone_rate_finder *hone_find_learning_rate_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y,
                                              const hone_rate_finder_opts *opts)
{
    static const hone_rate_finder_opts none = {0};
    if (!opts) opts = &none;
    hone_ctx *ctx = model->ctx;
    if (!hone__ok(ctx)) return NULL;
    int steps = opts->steps ? opts->steps : 100;
    double keep = hone__choose(opts->smoothing, 0.9);
    double least = opts->least > 0 ? opts->least : 1e-7, most = opts->most > 0 ? opts->most : 1;
    if (steps < 3 || opts->batch_size < 0 || keep < 0 || keep >= 1 || most <= least) {
        hone__fail_run(ctx, HONE_INVALID, "find_learning_rate: at least 3 steps, most above least, smoothing in [0, 1)");
        return NULL;
    }
    /* checks the data, and makes the parameters that the snapshot is to have */
    if (hone_evaluate(model, x, y, opts->batch_size ? opts->batch_size : 32, NULL, NULL) != HONE_OK) return NULL;
    hone_rate_finder *f = hone__calloc(ctx, 1, sizeof *f);
    sweep s = {.x = x, .y = y, .rows = x->shape.dim[0], .batch = opts->batch_size ? opts->batch_size : 32};
    s.order = hone__alloc(ctx, (size_t)s.rows * sizeof *s.order);
    hone__snapshot *before = hone__snapshot_take(model, true);
    if (f) {
        f->ctx = hone_ctx_retain(ctx);
        f->learning_rates = hone__calloc(ctx, (size_t)steps, sizeof *f->learning_rates);
        f->losses = hone__calloc(ctx, (size_t)steps, sizeof *f->losses);
    }
    hone_status status = hone__ok(ctx) ? sweep_rates(model, &s, opts, least, most, steps, f) : ctx->status;
    if (before) hone__snapshot_restore(before);
    if (status == HONE_OK) status = ctx->status;
    hone__snapshot_free(before);
    hone__free(ctx, s.order);
    if (status == HONE_OK) return f->suggestion = steepest(f), f;
    hone_rate_finder_free(f);
    return NULL;
}
