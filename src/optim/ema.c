/* Averages of weights: exponential (EMA), or of equal weights (SWA). */
#include "optim/optim.h"

/* Of a segment, or of a state. */
typedef struct average {
    float *of, *values;
    int64_t count;
    hone_param *state; /* NULL: a segment */
    uint64_t updates;
} average;

struct hone_ema {
    hone_ctx *ctx;
    hone_model *model;
    double decay;
    bool equal, buffers, swapped;
    average *averages;
    size_t n_averages, capacity;
    const hone__kernels *k;
};

hone_ema *hone_ema_new_opt(hone_model *model, const hone_ema_opts *opts)
{
    if (!model || !hone__ok(hone_model_ctx(model))) return NULL;
    hone_ctx *ctx = hone_model_ctx(model);
    double decay = hone__choose(opts ? opts->decay : 0, 0.999);
    if (!(decay >= 0 && decay <= 1)) {
        hone__fail(ctx, HONE_INVALID, "ema: decay must be in [0, 1]");
        return NULL;
    }
    hone_ema *e = hone__calloc(ctx, 1, sizeof *e);
    if (!e) return NULL;
    *e = (hone_ema){.ctx = ctx, .model = hone_model_retain(model), .decay = decay, .k = hone__kernels_for(HONE_F32)};
    if (opts) e->equal = opts->equal, e->buffers = opts->buffers;
    return e;
}

void hone_ema_free(hone_ema *e)
{
    if (!e) return;
    for (size_t i = 0; i < e->n_averages; i++) hone__free(e->ctx, e->averages[i].values);
    hone__free(e->ctx, e->averages);
    hone_model *model = e->model;
    hone__free(e->ctx, e);
    hone_model_release(model); /* last: it holds the context */
}

/* Memory for what is new since the last update. */
static hone_status need_average(hone_ema *e, float *of, int64_t count, hone_param *state)
{
    for (size_t i = 0; i < e->n_averages; i++)
        if (e->averages[i].of == of) return HONE_OK;
    if (!hone__grow(e->ctx, (void **)&e->averages, &e->capacity, e->n_averages + 1, sizeof *e->averages)) return e->ctx->status;
    float *values = hone__alloc(e->ctx, (size_t)HONE_MAX(count, (int64_t)1) * sizeof *values);
    if (!values) return e->ctx->status;
    e->averages[e->n_averages++] = (average){.of = of, .values = values, .count = count, .state = state};
    return HONE_OK;
}
static hone_status need_averages(hone_ema *e)
{
    hone_status status = HONE_OK;
    for (const hone__segment *s = e->model->segments; s && status == HONE_OK; s = s->next)
        status = need_average(e, s->values, s->count, NULL);
    for (size_t i = 0; e->buffers && i < e->model->n_params && status == HONE_OK; i++) {
        hone_param *p = e->model->params[i];
        bool averaged = p->state && p->sealed && p->own && p->v.stored == HONE_F32;
        if (averaged) status = need_average(e, p->own, hone_shape_count(p->v.shape), p);
    }
    return status;
}

enum { PIECE = 1 << 14 }; /* elements that a thread takes at a time */

typedef struct job {
    const hone_ema *e;
    const average *of;
    double fresh; /* what the parameters count */
} job;
static void update_pieces(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    int64_t from = begin * PIECE, n = HONE_MIN(end * PIECE, j->of->count) - from;
    float *to = j->of->values + from;
    const float *w = j->of->of + from;
    if (j->fresh == 1) {
        memcpy(to, w, (size_t)n * sizeof *to);
        return;
    }
    j->e->k->unary(HONE__AFFINE, to, HONE_F32, to, HONE_F32, 1, n, 1 - j->fresh, 0);
    j->e->k->axpy(to, w, HONE_F32, j->fresh, n);
}
static void swap_pieces(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    int64_t to = HONE_MIN(end * PIECE, j->of->count);
    for (int64_t i = begin * PIECE; i < to; i++) {
        float w = j->of->of[i];
        j->of->of[i] = j->of->values[i];
        j->of->values[i] = w;
    }
}

hone_status hone_ema_update(hone_ema *e)
{
    if (!e) return HONE_INVALID;
    if (!hone__ok(e->ctx)) return e->ctx->status;
    if (e->swapped) return hone__fail_run(e->ctx, HONE_STATE, "the average is swapped in: hone_ema_swap again before an update");
    hone_status status = need_averages(e);
    if (status != HONE_OK) return status;
    for (size_t i = 0; i < e->n_averages; i++) {
        average *a = &e->averages[i];
        double fresh = !a->updates ? 1 : e->equal ? 1 / ((double)a->updates + 1) : 1 - e->decay;
        hone__parallel_for(e->ctx, (a->count + PIECE - 1) / PIECE, 1, update_pieces, &(job){e, a, fresh});
        a->updates++;
    }
    return HONE_OK;
}

hone_status hone_ema_swap(hone_ema *e)
{
    if (!e) return HONE_INVALID;
    if (!hone__ok(e->ctx)) return e->ctx->status;
    if (!e->n_averages) return hone__fail_run(e->ctx, HONE_STATE, "there is no average yet: call hone_ema_update after a step");
    for (size_t i = 0; i < e->n_averages; i++)
        hone__parallel_for(e->ctx, (e->averages[i].count + PIECE - 1) / PIECE, 1, swap_pieces,
                           &(job){.e = e, .of = &e->averages[i]});
    for (size_t i = 0; i < e->n_averages; i++)
        if (e->averages[i].state) e->averages[i].state->v.version++;
    e->swapped = !e->swapped;
    hone__model_touch(e->model);
    return HONE_OK;
}
