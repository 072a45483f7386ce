/* The monitor of layers: what each gave in a step and the norms of its parameters; the first value that is not finite. */
#include "train/callback.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

typedef struct monitor {
    hone__callback base;
    uint64_t steps;
    hone_layer_norms_fn tell;
    void *user;
    char *path;
    FILE *stream;
    hone_layer_norms *layers; /* names are ours */
    size_t n_layers, capacity;
    char where[320]; /* of the first value that is not finite; "": none was seen */
} monitor;

/* The layer of that name (its first `length` bytes), a new one if need be; NULL: memory (sticky). */
static hone_layer_norms *layer_of(monitor *m, const char *name, size_t length)
{
    for (size_t i = 0; i < m->n_layers; i++)
        if (!strncmp(m->layers[i].layer, name, length) && !m->layers[i].layer[length]) return &m->layers[i];
    hone_ctx *ctx = m->base.ctx;
    char *own = hone__strndup(ctx, name, length);
    if (own && hone__grow(ctx, (void **)&m->layers, &m->capacity, m->n_layers + 1, sizeof *m->layers)) {
        m->layers[m->n_layers] = (hone_layer_norms){own, NAN, NAN, NAN};
        return &m->layers[m->n_layers++];
    }
    hone__free(ctx, own);
    return NULL;
}

static void visit(void *user, const hone__exec *exec)
{
    monitor *m = user;
    const hone__call *call = exec->call;
    if (!call || !call->graph->forward_calls || !hone__ok(m->base.ctx)) return; /* an evaluation */
    bool backward = (size_t)call->id >= call->graph->forward_calls;
    for (int o = 0; o < exec->n_out; o++) {
        double squares;
        if (!exec->out[o].data || !hone__is_float(exec->out[o].dtype)) continue;
        if (!hone__view_squares(&exec->out[o], &squares) && !m->where[0])
            snprintf(m->where, sizeof m->where, "%s%.200s%s, %s of '%s', has a value that is not finite",
                     call->scope[0] ? "layer '" : "the graph", call->scope, call->scope[0] ? "'" : "",
                     backward ? "backward pass" : "output", call->op->name);
        hone_layer_norms *layer = backward || o ? NULL : layer_of(m, call->scope, strlen(call->scope));
        if (layer) layer->output = sqrt(squares); /* its last op comes last */
    }
}

static void look_away(monitor *m)
{
    hone_ctx *ctx = m->base.ctx;
    if (ctx->visit_user == m) ctx->visit = NULL, ctx->visit_user = NULL;
}

static void close_file(monitor *m)
{
    if (m->stream) fclose(m->stream);
    m->stream = NULL;
}

static hone_status monitor_begin(void *user, hone_fit_state *state)
{
    monitor *m = user;
    (void)state;
    close_file(m);
    m->where[0] = 0;
    if (!m->path) return HONE_OK;
    errno = 0;
    if (!(m->stream = fopen(m->path, "wbe"))) return hone__fail_run(m->base.ctx, HONE_IO, "%s: %s", m->path, strerror(errno));
    fputs("step,layer,output,weights,gradients\n", m->stream);
    return HONE_OK;
}

static hone_status monitor_step_begin(void *user, hone_fit_state *state)
{
    monitor *m = user;
    hone_ctx *ctx = m->base.ctx;
    if (state->step % m->steps) return HONE_OK;
    if (ctx->visit) return hone__fail_run(ctx, HONE_STATE, "layer_monitor: another one looks at this training already");
    for (size_t i = 0; i < m->n_layers; i++) m->layers[i].output = m->layers[i].weights = m->layers[i].gradients = NAN;
    ctx->visit = visit;
    ctx->visit_user = m;
    return HONE_OK;
}

/* Norms of what belongs to the layers themselves; until the end sums of squares. */
static hone_status add_parameters(monitor *m, const hone_model *model)
{
    const hone__kernels *k = hone__kernels_for(HONE_F32);
    for (const hone__segment *s = model->segments; s; s = s->next)
        for (size_t i = 0; i < s->n_params; i++) {
            const hone_param *p = s->params[i];
            const char *dot = strrchr(p->name, '.');
            int64_t count = hone_shape_count(p->v.shape);
            if (!p->v.trainable || !s->grads) continue;
            hone_layer_norms *layer = layer_of(m, p->name, dot ? (size_t)(dot - p->name) : 0);
            if (!layer) return m->base.ctx->status;
            if (isnan(layer->weights)) layer->weights = layer->gradients = 0;
            layer->weights += k->sumsq(s->values + p->offset, count);
            layer->gradients += k->sumsq(s->grads + p->offset, count);
        }
    for (size_t i = 0; i < m->n_layers; i++)
        m->layers[i].weights = sqrt(m->layers[i].weights), m->layers[i].gradients = sqrt(m->layers[i].gradients);
    return HONE_OK;
}

static void write_norm(FILE *stream, double norm)
{
    if (isnan(norm))
        fputc(',', stream);
    else
        fprintf(stream, ",%.9g", norm);
}

static hone_status monitor_step_end(void *user, hone_fit_state *state)
{
    monitor *m = user;
    hone_ctx *ctx = m->base.ctx;
    if (ctx->visit_user != m) return HONE_OK;
    look_away(m);
    hone_status status = add_parameters(m, state->model);
    if (status != HONE_OK || !hone__ok(ctx)) return ctx->status;
    if (m->tell) m->tell(m->user, state->step, m->n_layers, m->layers);
    for (size_t i = 0; i < m->n_layers && m->stream; i++) {
        fprintf(m->stream, "%llu,%s", (unsigned long long)state->step, m->layers[i].layer);
        write_norm(m->stream, m->layers[i].output);
        write_norm(m->stream, m->layers[i].weights);
        write_norm(m->stream, m->layers[i].gradients);
        fputc('\n', m->stream);
    }
    if (m->stream && (fflush(m->stream) != 0 || ferror(m->stream)))
        return hone__fail_run(ctx, HONE_IO, "%s: writing failed", m->path);
    if (!m->where[0]) return HONE_OK;
    status = hone__fail_run(ctx, HONE_NUMERIC, "step %llu: %s", (unsigned long long)state->step, m->where);
    m->where[0] = 0;
    return status;
}

/* After a step that failed, its error is told where it began. */
static hone_status monitor_end(void *user, hone_fit_state *state)
{
    monitor *m = user;
    (void)state;
    bool failed = m->base.ctx->visit_user == m;
    look_away(m);
    close_file(m);
    if (failed && m->where[0]) hone__error_prefix(m->base.ctx, "%s", m->where);
    return HONE_OK;
}

static void monitor_destroy(void *user)
{
    monitor *m = user;
    hone_ctx *ctx = m->base.ctx;
    look_away(m);
    close_file(m);
    for (size_t i = 0; i < m->n_layers; i++) hone__free(ctx, (void *)(uintptr_t)m->layers[i].layer);
    hone__free(ctx, m->layers);
    hone__free(ctx, m->path);
    hone__callback_destroy(user);
}

hone_callback *hone_layer_monitor_opt(hone_ctx *ctx, const hone_layer_monitor_opts *opts)
{
    static const hone_layer_monitor_opts none = {0};
    if (!opts) opts = &none;
    monitor *m = hone__callback_new(ctx, sizeof *m, monitor_destroy);
    if (!m) return NULL;
    m->steps = (uint64_t)HONE_MAX(opts->steps, 1);
    m->tell = opts->tell;
    m->user = opts->user;
    hone_callback *c = &m->base.callback;
    c->train_begin = monitor_begin, c->step_begin = monitor_step_begin, c->step_end = monitor_step_end, c->train_end = monitor_end;
    if (opts->steps < 0) hone__fail(ctx, HONE_INVALID, "layer_monitor: steps must not be negative");
    if (hone__ok(ctx) && opts->path) m->path = hone__strdup(ctx, opts->path);
    return hone__ok(ctx) ? c : (monitor_destroy(m), NULL);
}
