/* Calling callbacks, and those that end or steer a training: early stopping, learning rates. */
#include "train/callback.h"

#include <math.h>

/* ---- calling ---- */

hone_status hone__callbacks(const hone_fit_opts *o, hone__event event, hone_fit_state *state)
{
    hone_status first = HONE_OK;
    for (size_t i = 0; i < o->n_callbacks && (first == HONE_OK || event == HONE__TRAIN_END); i++) {
        const hone_callback *c = o->callbacks[i];
        if (!c) continue;
        hone_status (*const functions[])(void *, hone_fit_state *) = {c->train_begin, c->epoch_begin, c->step_begin,
                                                                      c->step_end,    c->epoch_end,   c->train_end};
        hone_status status = functions[event] ? functions[event](c->user, state) : HONE_OK;
        if (first == HONE_OK) first = status;
    }
    return first;
}

void *hone__callback_new(hone_ctx *ctx, size_t size, void (*destroy)(void *user))
{
    if (!hone__ok(ctx)) return NULL;
    hone__callback *c = hone__calloc(ctx, 1, size);
    if (!c) return NULL;
    c->ctx = hone_ctx_retain(ctx);
    c->callback = (hone_callback){.user = c, .destroy = destroy};
    return c;
}

void hone__callback_destroy(void *user)
{
    hone__callback *c = user;
    hone_ctx *ctx = c->ctx;
    hone__free(ctx, c);
    hone_ctx_release(ctx);
}

void hone_callback_free(hone_callback *callback)
{
    if (callback && callback->destroy) callback->destroy(callback->user);
}

/* ---- early stopping: keras/src/callbacks/early_stopping.py ---- */

typedef struct stopping {
    hone__callback base;
    hone__watch watch;
    int patience, start, wait, stopped, best_epoch;
    bool restore, has_baseline;
    double baseline;
    hone__snapshot *best;
} stopping;

static hone_status stopping_begin(void *user, hone_fit_state *state)
{
    stopping *s = user;
    hone__snapshot_free(s->best);
    s->best = NULL;
    s->wait = s->stopped = 0;
    s->best_epoch = -1;
    return hone__watch_begin(&s->watch, state->model);
}

static hone_status keep(stopping *s, hone_fit_state *state)
{
    s->best_epoch = state->epoch;
    if (!s->restore) return HONE_OK;
    hone__snapshot_free(s->best);
    s->best = hone__snapshot_take(state->model, false);
    return s->best ? HONE_OK : s->base.ctx->status;
}

static hone_status stopping_epoch(void *user, hone_fit_state *state)
{
    stopping *s = user;
    double value;
    if (!hone__watch_value(&s->watch, state, "early_stopping", &value) || state->epoch < s->start) return HONE_OK;
    hone_status status = s->restore && !s->best ? keep(s, state) : HONE_OK; /* something to go back to when nothing improves */
    s->wait++;
    if (hone__watch_better(&s->watch, value, s->watch.best)) {
        s->watch.best = value;
        if (status == HONE_OK) status = keep(s, state);
        if (!s->has_baseline || hone__watch_better(&s->watch, value, s->baseline)) s->wait = 0;
    } else if (s->wait >= s->patience && state->epoch > 0) {
        s->stopped = state->epoch;
        state->stop = true;
    }
    return status;
}

static hone_status stopping_end(void *user, hone_fit_state *state)
{
    stopping *s = user;
    (void)state;
    if (s->best) hone__snapshot_restore(s->best);
    hone__snapshot_free(s->best);
    s->best = NULL;
    return HONE_OK;
}

static void stopping_destroy(void *user)
{
    hone__snapshot_free(((stopping *)user)->best);
    hone__callback_destroy(user);
}

hone_callback *hone_early_stopping_opt(hone_ctx *ctx, const hone_early_stopping_opts *opts)
{
    static const hone_early_stopping_opts none = {0};
    if (!opts) opts = &none;
    stopping *s = hone__callback_new(ctx, sizeof *s, stopping_destroy);
    if (!s) return NULL;
    bool ok = hone__watch_init(ctx, &s->watch, opts->monitor, opts->mode, opts->min_delta);
    s->patience = opts->patience;
    s->start = opts->start_from_epoch;
    s->best_epoch = -1;
    s->restore = opts->restore_best_weights;
    s->has_baseline = opts->baseline != NULL;
    s->baseline = opts->baseline ? *opts->baseline : 0;
    hone_callback *c = &s->base.callback;
    c->train_begin = stopping_begin, c->epoch_end = stopping_epoch, c->train_end = stopping_end;
    return ok ? c : (hone_callback_free(c), NULL);
}

int hone_early_stopping_stopped_epoch(const hone_callback *callback)
{
    return callback && callback->epoch_end == stopping_epoch ? ((const stopping *)callback->user)->stopped : 0;
}
int hone_early_stopping_best_epoch(const hone_callback *callback)
{
    return callback && callback->epoch_end == stopping_epoch ? ((const stopping *)callback->user)->best_epoch : -1;
}

/* ---- a lower learning rate on a plateau: keras/src/callbacks/reduce_lr_on_plateau.py ---- */

typedef struct plateau {
    hone__callback base;
    hone__watch watch;
    double factor, least;
    uint64_t patience, cooldown; /* in PyTorch's words, each one less than in Keras's */
    hone_schedule_reports reports;
} plateau;

static hone_status plateau_begin(void *user, hone_fit_state *state)
{
    plateau *p = user;
    p->reports = (hone_schedule_reports){0};
    return hone__watch_begin(&p->watch, state->model);
}

static hone_status plateau_epoch(void *user, hone_fit_state *state)
{
    plateau *p = user;
    double value;
    if (!hone__watch_value(&p->watch, state, "reduce_lr_on_plateau", &value)) return HONE_OK;
    hone_optimizer *optimizer = hone_model_optimizer(state->model);
    double rate = hone_optimizer_learning_rate(optimizer);
    if (isnan(value)) return HONE_OK;
    bool better = hone__watch_better(&p->watch, value, p->watch.best);
    if (better) p->watch.best = value;
    if (!hone__plateau_lasts(&p->reports, better, p->patience) || rate <= p->least) return HONE_OK;
    hone_optimizer_set_learning_rate(optimizer, HONE_MAX(rate * p->factor, p->least));
    hone__plateau_cool(&p->reports, p->cooldown);
    return HONE_OK;
}

hone_callback *hone_reduce_lr_on_plateau_opt(hone_ctx *ctx, const hone_plateau_opts *opts)
{
    static const hone_plateau_opts none = {0};
    if (!opts) opts = &none;
    plateau *p = hone__callback_new(ctx, sizeof *p, hone__callback_destroy);
    if (!p) return NULL;
    bool ok = hone__watch_init(ctx, &p->watch, opts->monitor, opts->mode, hone__choose(opts->min_delta, 1e-4));
    p->factor = hone__choose(opts->factor, 0.1);
    p->least = opts->min_learning_rate;
    p->patience = (uint64_t)(opts->patience ? opts->patience : 10) - 1;
    p->cooldown = (uint64_t)HONE_MAX(opts->cooldown - 1, 0);
    if (ok && !(p->factor >= 0 && p->factor < 1 && p->least >= 0 && opts->patience >= 0 && opts->cooldown >= 0)) {
        hone__fail(ctx, HONE_INVALID, "reduce_lr_on_plateau: factor must be in [0, 1), patience, min_learning_rate and cooldown not "
                                      "negative");
        ok = false;
    }
    hone_callback *c = &p->base.callback;
    c->train_begin = plateau_begin, c->epoch_end = plateau_epoch;
    return ok ? c : (hone_callback_free(c), NULL);
}

/* ---- a learning rate by epoch ---- */

typedef struct scheduler {
    hone__callback base;
    hone_epoch_rate_fn rate;
    void *user;
} scheduler;

static hone_status scheduler_epoch(void *user, hone_fit_state *state)
{
    scheduler *s = user;
    hone_optimizer *optimizer = hone_model_optimizer(state->model);
    double rate = s->rate(s->user, state->epoch, hone_optimizer_learning_rate(optimizer));
    if (!(rate >= 0) || isinf(rate))
        return hone__fail_run(s->base.ctx, HONE_INVALID, "learning_rate_scheduler: %g in epoch %d is no learning rate", rate,
                              state->epoch);
    hone_optimizer_set_learning_rate(optimizer, rate);
    return HONE_OK;
}

hone_callback *hone_learning_rate_scheduler(hone_ctx *ctx, hone_epoch_rate_fn rate, void *user)
{
    if (hone__ok(ctx) && !rate) hone__fail(ctx, HONE_INVALID, "learning_rate_scheduler: a function is wanted, not NULL");
    scheduler *s = hone__callback_new(ctx, sizeof *s, hone__callback_destroy);
    if (!s) return NULL;
    s->rate = rate;
    s->user = user;
    s->base.callback.epoch_begin = scheduler_epoch;
    return &s->base.callback;
}
