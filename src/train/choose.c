/* What chooses: cross-validation, the learning-rate finder. */
#include "train/train.h"
#include "data/data.h"

#include <math.h>

/* ---- rows of several tensors ---- */

/* Copies of some rows. */
typedef struct taken {
    hone_tensor *x[HONE__MOST_INPUTS], *y[HONE__MOST_OUTPUTS], *weights;
    size_t n_x, n_y;
} taken;

static void free_taken(taken *t)
{
    for (size_t i = 0; i < t->n_x; i++) hone_tensor_free(t->x[i]);
    for (size_t i = 0; i < t->n_y; i++) hone_tensor_free(t->y[i]);
    hone_tensor_free(t->weights);
    *t = (taken){0};
}

static hone_tensors list(hone_tensor *const *tensors, size_t n) { return (hone_tensors){(const hone_tensor *const *)tensors, n}; }

/* Rows order[0..count), of the weights too unless they are NULL; free_taken, also after an error, which sticks to the tensor's context. */
static hone_status take(hone_tensors x, hone_tensors y, const hone_tensor *weights, int64_t count, const int64_t *order, taken *to)
{
    *to = (taken){.n_x = x.n, .n_y = y.n};
    for (size_t i = 0; i < x.n; i++)
        if (!(to->x[i] = hone_take(x.tensor[i], count, order))) return hone_ctx_status(x.tensor[i]->ctx);
    for (size_t i = 0; i < y.n; i++)
        if (!(to->y[i] = hone_take(y.tensor[i], count, order))) return hone_ctx_status(y.tensor[i]->ctx);
    if (weights && !(to->weights = hone_take(weights, count, order))) return hone_ctx_status(weights->ctx);
    return HONE_OK;
}

/* ---- cross-validation ---- */

static hone_status run_fold(hone_ctx *ctx, hone_build_fn build, const taken *train, const taken *apart, const hone_cross_validate_opts *o,
                            int f, hone_fold *fold)
{
    hone_model *model = build(o->user, ctx);
    if (!model)
        return hone__ok(ctx) ? hone__fail_run(ctx, HONE_INVALID, "cross_validate: the builder gave no model") : ctx->status;
    hone_fit_opts fit = o->fit ? *o->fit : (hone_fit_opts){0};
    fit.sample_weights = train->weights;
    hone_status status = hone_fit_many_opt(model, list(train->x, train->n_x), list(train->y, train->n_y), NULL, &fit);
    int batch = fit.batch_size > 0 ? fit.batch_size : 32;
    if (status == HONE_OK)
        status = hone__evaluate(model, list(apart->x, apart->n_x), list(apart->y, apart->n_y), apart->weights, batch, &fold->loss,
                                &fold->accuracy, o->n_metrics, o->n_metrics ? o->metrics + (size_t)f * o->n_metrics : NULL);
    hone_model_release(model);
    return status;
}

/* How many rows there are into *rows. */
static hone_status check_folds(hone_ctx *ctx, hone_tensors x, hone_tensors y, const hone_tensor *weights, int k, int64_t *rows)
{
    if (x.n < 1 || x.n > HONE__MOST_INPUTS || y.n < 1 || y.n > HONE__MOST_OUTPUTS)
        return hone__fail_run(ctx, HONE_INVALID, "cross_validate: 1 to %d inputs and 1 to %d targets, not %zu and %zu", HONE__MOST_INPUTS,
                              HONE__MOST_OUTPUTS, x.n, y.n);
    *rows = x.tensor[0] && x.tensor[0]->shape.rank ? x.tensor[0]->shape.dim[0] : -1;
    hone_status status = hone__check_rows(ctx, "x", x, *rows);
    if (status == HONE_OK) status = hone__check_rows(ctx, "y", y, *rows);
    if (status == HONE_OK && weights) status = hone__check_rows(ctx, "sample_weights", (hone_tensors){&weights, 1}, *rows);
    if (status == HONE_OK && (k < 2 || k > *rows))
        status = hone__fail_run(ctx, HONE_INVALID, "cross_validate: k must be from 2 to the number of rows, not %d of %lld rows", k, (long long)*rows);
    return status;
}

hone_status hone_cross_validate_many_opt(hone_ctx *ctx, hone_build_fn build, hone_tensors x, hone_tensors y, hone_fold *folds,
                                         const hone_cross_validate_opts *opts)
{
    static const hone_cross_validate_opts none = {0};
    if (!opts) opts = &none;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    if (!build || !folds) return hone__fail_run(ctx, HONE_INVALID, "cross_validate: build and folds must not be NULL");
    const int k = opts->k ? opts->k : 5;
    const hone_tensor *weights = opts->fit ? opts->fit->sample_weights : NULL;
    int64_t rows, n; /* n to train on, then those held out */
    hone_status status = check_folds(ctx, x, y, weights, k, &rows);
    if (status != HONE_OK) return status;
    int64_t *order = hone__alloc(ctx, (size_t)rows * sizeof *order);
    if (!order) return ctx->status;
    for (int f = 0; f < k && status == HONE_OK; f++) {
        status = hone__k_fold(ctx, rows, k, f, opts->stratify ? y.tensor[0] : NULL, !opts->no_shuffle, opts->seed, order, &n);
        if (status != HONE_OK) break;
        taken train, apart = {0};
        status = take(x, y, weights, n, order, &train);
        if (status == HONE_OK) status = take(x, y, weights, rows - n, order + n, &apart);
        if (status == HONE_OK) status = run_fold(ctx, build, &train, &apart, opts, f, &folds[f]);
        free_taken(&train);
        free_taken(&apart);
    }
    hone__free(ctx, order);
    return status;
}

hone_status hone_cross_validate_opt(hone_ctx *ctx, hone_build_fn build, const hone_tensor *x, const hone_tensor *y, hone_fold *folds,
                                    const hone_cross_validate_opts *opts)
{
    return hone_cross_validate_many_opt(ctx, build, (hone_tensors){&x, 1}, (hone_tensors){&y, 1}, folds, opts);
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
    hone_tensors x, y;
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
    int64_t count = hone__next_rows(s->rows - s->at, s->batch, hone__joins_last(model, s->batch));
    taken t;
    hone_status status = take(s->x, s->y, NULL, count, s->order + s->at, &t);
    if (status == HONE_OK) status = hone_train_on_batch_many(model, list(t.x, t.n_x), list(t.y, t.n_y), loss, NULL);
    free_taken(&t);
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

hone_rate_finder *hone_find_learning_rate_many_opt(hone_model *model, hone_tensors x, hone_tensors y, const hone_rate_finder_opts *opts)
{
    static const hone_rate_finder_opts none = {0};
    if (!opts) opts = &none;
    if (HONE__STATUS_OF(model) != HONE_OK) return NULL;
    hone_ctx *ctx = model->ctx;
    int steps = opts->steps ? opts->steps : 100;
    double keep = hone__choose(opts->smoothing, 0.9);
    double least = opts->least > 0 ? opts->least : 1e-7, most = opts->most > 0 ? opts->most : 1;
    if (steps < 3 || opts->batch_size < 0 || keep < 0 || keep >= 1 || most <= least) {
        hone__fail_run(ctx, HONE_INVALID, "find_learning_rate: at least 3 steps, most above least, smoothing in [0, 1)");
        return NULL;
    }
    /* checks the data, and makes the parameters that the snapshot is to have */
    if (hone_evaluate_many(model, x, y, NULL, opts->batch_size ? opts->batch_size : 32, NULL, 0, NULL) != HONE_OK) return NULL;
    hone_rate_finder *f = hone__calloc(ctx, 1, sizeof *f);
    sweep s = {.x = x, .y = y, .rows = x.tensor[0]->shape.dim[0], .batch = opts->batch_size ? opts->batch_size : 32};
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

hone_rate_finder *hone_find_learning_rate_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y,
                                              const hone_rate_finder_opts *opts)
{
    return hone_find_learning_rate_many_opt(model, (hone_tensors){&x, 1}, (hone_tensors){&y, 1}, opts);
}
