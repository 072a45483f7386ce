/* Callbacks that write: models, CSV, TensorBoard, norms. */
#include "train/callback.h"

#include "base/os.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- models: keras/src/callbacks/model_checkpoint.py ---- */

typedef struct checkpoint {
    hone__callback base;
    hone__watch watch;
    char *path;
    bool best_only, weights_only;
} checkpoint;

/* What lies between braces at `text`, of that length, as a part of a path: a name and perhaps ":0<width>d" or ":.<digits>f".
   Without a model in `state` any name is one, of the value 0. */
static bool print_field(hone_ctx *ctx, hone__buffer *to, const char *text, size_t length, const hone_fit_state *state)
{
    char name[HONE__MONITOR_NAME + 16], *format = NULL, *end = NULL;
    if (length >= sizeof name) return false;
    memcpy(name, text, length);
    name[length] = 0;
    if ((format = strchr(name, ':'))) *format++ = 0;
    bool epoch = !strcmp(name, "epoch"), zero = format && *format == '0';
    int monitor = state->model ? hone__monitor_find(state->model, name) : 0;
    if (!epoch && (monitor < 0 || !*name)) return false;
    long width = format && isdigit((unsigned char)*format) ? strtol(format, &end, 10) : 0, digits = 6;
    if (end) format = end;
    if (format && *format == '.' && isdigit((unsigned char)format[1])) digits = strtol(format + 1, &format, 10);
    if (width > 100 || digits > 100 || (format && strcmp(format, epoch ? "d" : "f") != 0)) return false;
    if (epoch) return hone__buffer_print(ctx, to, zero ? "%0*d" : "%*d", (int)width, state->epoch + 1);
    return hone__buffer_print(ctx, to, zero ? "%0*.*f" : "%*.*f", (int)width, (int)digits,
                              state->model ? hone__monitor_value(state->model, monitor, state->result) : 0);
}

/* The path of an epoch; NULL when it has a field that does not exist. */
static char *fill_in(hone_ctx *ctx, const char *path, const hone_fit_state *state)
{
    hone__buffer text = {0};
    bool ok = true;
    while (ok && *path) { /* behind an open brace there is nothing to read */
        size_t plain = strcspn(path, "{"), field = path[plain] ? strcspn(path + plain, "}") : 0;
        ok = hone__buffer_add(ctx, &text, path, plain);
        path += plain;
        if (!field || !ok) continue;
        ok = path[field] == '}' && print_field(ctx, &text, path + 1, field - 1, state);
        path += field + 1;
    }
    char *filled = ok ? hone__strdup(ctx, text.data ? text.data : "") : NULL;
    hone__buffer_free(ctx, &text);
    return filled;
}

static hone_status checkpoint_begin(void *user, hone_fit_state *state)
{
    checkpoint *c = user;
    static const hone_epoch nothing = {0};
    hone_fit_state first = {.model = state->model, .result = &nothing};
    char *tried = fill_in(c->base.ctx, c->path, &first);
    if (!tried) return hone__ok(c->base.ctx) ? hone__monitor_refuse(state->model, "model_checkpoint", c->path) : c->base.ctx->status;
    hone__free(c->base.ctx, tried);
    return c->best_only ? hone__watch_begin(&c->watch, state->model) : HONE_OK;
}

static hone_status checkpoint_epoch(void *user, hone_fit_state *state)
{
    checkpoint *c = user;
    hone_ctx *ctx = c->base.ctx;
    if (c->best_only) {
        double value;
        if (!hone__watch_value(&c->watch, state, "model_checkpoint", &value) || !hone__watch_better(&c->watch, value, c->watch.best)) return HONE_OK;
        c->watch.best = value;
    }
    char *path = fill_in(ctx, c->path, state);
    if (!path) return ctx->status;
    hone_status status = c->weights_only ? hone_model_save_weights(state->model, path) : hone_model_save(state->model, path);
    hone__free(ctx, path);
    return status;
}

static void checkpoint_destroy(void *user)
{
    checkpoint *c = user;
    hone__free(c->base.ctx, c->path);
    hone__callback_destroy(user);
}

hone_callback *hone_model_checkpoint_opt(hone_ctx *ctx, const char *path, const hone_model_checkpoint_opts *opts)
{
    static const hone_model_checkpoint_opts none = {0};
    if (!opts) opts = &none;
    checkpoint *c = hone__callback_new(ctx, sizeof *c, checkpoint_destroy);
    if (!c) return NULL;
    hone_fit_state first = {0};
    bool ok = hone__watch_init(ctx, &c->watch, opts->monitor, opts->mode, 0) && (c->path = hone__strdup(ctx, path));
    c->best_only = opts->save_best_only;
    c->weights_only = opts->save_weights_only;
    char *tried = ok ? fill_in(ctx, path, &first) : NULL;
    if (ok && !tried && hone__ok(ctx))
        hone__fail(ctx, HONE_INVALID, "model_checkpoint: '%s': between braces may stand epoch (epoch:02d) and what is monitored "
                                      "(val_loss:.4f)", path);
    hone__free(ctx, tried);
    c->base.callback.train_begin = checkpoint_begin, c->base.callback.epoch_end = checkpoint_epoch;
    return hone__ok(ctx) ? &c->base.callback : (checkpoint_destroy(c), NULL);
}

/* ---- CSV ---- */

typedef struct column {
    char name[HONE__MONITOR_NAME];
    int monitor; /* -1: the learning rate */
} column;
typedef struct csv {
    hone__callback base;
    char *path;
    bool append, header;
    FILE *stream;
    column *columns; /* those that the first epoch has, by the alphabet; NULL: it has not come */
    int n_columns;
} csv;

static hone_status csv_begin(void *user, hone_fit_state *state)
{
    csv *c = user;
    (void)state;
    if (c->stream) fclose(c->stream);
    c->header = !c->append || hone__file_size(c->path) <= 0;
    errno = 0;
    c->stream = fopen(c->path, c->append ? "abe" : "wbe");
    if (!c->stream) return hone__fail_run(c->base.ctx, HONE_IO, "%s: %s", c->path, strerror(errno));
    hone__free(c->base.ctx, c->columns);
    c->columns = NULL;
    return HONE_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const column *)a)->name, ((const column *)b)->name); }

static hone_status choose_columns(csv *c, const hone_fit_state *state)
{
    int n = hone__monitors(state->model);
    c->columns = hone__calloc(c->base.ctx, (size_t)n + 1, sizeof *c->columns);
    if (!c->columns) return c->base.ctx->status;
    c->columns[0] = (column){"learning_rate", -1};
    c->n_columns = 1;
    for (int i = 0; i < n; i++) {
        if (isnan(hone__monitor_value(state->model, i, state->result))) continue;
        c->columns[c->n_columns].monitor = i;
        hone__monitor_name(state->model, i, c->columns[c->n_columns++].name);
    }
    qsort(c->columns, (size_t)c->n_columns, sizeof *c->columns, by_name);
    return HONE_OK;
}

static hone_status csv_epoch(void *user, hone_fit_state *state)
{
    csv *c = user;
    double rate = hone_optimizer_learning_rate(hone_model_optimizer(state->model));
    if (!c->columns && choose_columns(c, state) != HONE_OK) return c->base.ctx->status;
    if (c->header) {
        fputs("epoch", c->stream);
        for (int i = 0; i < c->n_columns; i++) fprintf(c->stream, ",%s", c->columns[i].name);
        fputc('\n', c->stream);
    }
    fprintf(c->stream, "%d", state->epoch);
    for (int i = 0; i < c->n_columns; i++) {
        int monitor = c->columns[i].monitor;
        fprintf(c->stream, ",%.9g", monitor < 0 ? rate : hone__monitor_value(state->model, monitor, state->result));
    }
    fputc('\n', c->stream);
    c->header = false;
    errno = 0;
    if (fflush(c->stream) == 0 && !ferror(c->stream)) return HONE_OK;
    return hone__fail_run(c->base.ctx, HONE_IO, "%s: %s", c->path, errno ? strerror(errno) : "writing failed");
}

static hone_status csv_end(void *user, hone_fit_state *state)
{
    csv *c = user;
    (void)state;
    int failed = c->stream ? fclose(c->stream) : 0;
    c->stream = NULL;
    return failed ? hone__fail_run(c->base.ctx, HONE_IO, "%s: not everything could be written", c->path) : HONE_OK;
}

static void csv_destroy(void *user)
{
    csv *c = user;
    if (c->stream) fclose(c->stream);
    hone__free(c->base.ctx, c->columns);
    hone__free(c->base.ctx, c->path);
    hone__callback_destroy(user);
}

hone_callback *hone_csv_logger(hone_ctx *ctx, const char *path, bool append)
{
    csv *c = hone__callback_new(ctx, sizeof *c, csv_destroy);
    if (!c) return NULL;
    c->append = append;
    hone_callback *callback = &c->base.callback;
    callback->train_begin = csv_begin, callback->epoch_end = csv_epoch, callback->train_end = csv_end;
    return (c->path = hone__strdup(ctx, path)) ? callback : (csv_destroy(c), NULL);
}

/* ---- TensorBoard: keras/src/callbacks/tensorboard.py ---- */

typedef struct board {
    hone__callback base;
    char *train, *validation; /* folders */
    int update_steps;
    hone_events *events[2]; /* opened when there is something to write */
} board;

static hone_status write_scalar(board *b, bool validation, const char *tag, int64_t step, double value)
{
    hone_events **events = &b->events[validation];
    if (isnan(value)) return HONE_OK;
    if (!*events && !(*events = hone_events_open(b->base.ctx, validation ? b->validation : b->train))) return b->base.ctx->status;
    return hone_events_scalar(*events, tag, step, value);
}

static hone_status board_step(void *user, hone_fit_state *state)
{
    board *b = user;
    if (!b->update_steps || state->step % (uint64_t)b->update_steps) return HONE_OK;
    return write_scalar(b, false, "batch_loss", (int64_t)state->step, state->loss);
}

static hone_status board_epoch(void *user, hone_fit_state *state)
{
    board *b = user;
    double rate = hone_optimizer_learning_rate(hone_model_optimizer(state->model));
    hone_status status = write_scalar(b, false, "epoch_learning_rate", state->epoch, rate);
    int n = hone__monitors(state->model);
    for (int i = 0; i < n && status == HONE_OK; i++) {
        bool validation = i >= n / 2;
        char name[HONE__MONITOR_NAME], tag[HONE__MONITOR_NAME + 8];
        hone__monitor_name(state->model, i, name);
        snprintf(tag, sizeof tag, "epoch_%s", name + (validation ? strlen("val_") : 0));
        status = write_scalar(b, validation, tag, state->epoch, hone__monitor_value(state->model, i, state->result));
    }
    return status;
}

static hone_status board_end(void *user, hone_fit_state *state)
{
    board *b = user;
    (void)state;
    hone_status status = HONE_OK;
    for (int i = 0; i < 2; i++) {
        hone_status closed = hone_events_close(b->events[i]);
        if (status == HONE_OK) status = closed;
        b->events[i] = NULL;
    }
    return status;
}

static void board_destroy(void *user)
{
    board *b = user;
    board_end(b, NULL);
    hone__free(b->base.ctx, b->train);
    hone__free(b->base.ctx, b->validation);
    hone__callback_destroy(user);
}

hone_callback *hone_tensorboard(hone_ctx *ctx, const char *folder, int update_steps)
{
    board *b = hone__callback_new(ctx, sizeof *b, board_destroy);
    if (!b) return NULL;
    b->train = hone__join_path(ctx, folder, "train");
    b->validation = hone__join_path(ctx, folder, "validation");
    b->update_steps = HONE_MAX(update_steps, 0);
    hone_callback *callback = &b->base.callback;
    callback->step_end = board_step, callback->epoch_end = board_epoch, callback->train_end = board_end;
    return b->train && b->validation ? callback : (board_destroy(b), NULL);
}

/* ---- norms ---- */

typedef struct norms {
    hone__callback base;
    uint64_t steps;
    hone_norm_fn tell;
    void *user;
} norms;

static hone_status norms_step(void *user, hone_fit_state *state)
{
    norms *n = user;
    if (state->step % n->steps) return HONE_OK;
    for (const hone__segment *s = state->model->segments; s; s = s->next)
        for (size_t i = 0; i < s->n_params; i++) {
            const hone_param *p = s->params[i];
            int64_t count = hone_shape_count(p->v.shape);
            const hone__kernels *k = hone__kernels_for(HONE_F32);
            if (!p->v.trainable || !s->grads) continue;
            n->tell(n->user, state->step, p->name, sqrt(k->sumsq(s->values + p->offset, count)),
                    sqrt(k->sumsq(s->grads + p->offset, count)));
        }
    return HONE_OK;
}

hone_callback *hone_norm_monitor(hone_ctx *ctx, int steps, hone_norm_fn tell, void *user)
{
    if (hone__ok(ctx) && !tell) hone__fail(ctx, HONE_INVALID, "norm_monitor: a function is wanted, not NULL");
    norms *n = hone__callback_new(ctx, sizeof *n, hone__callback_destroy);
    if (!n) return NULL;
    n->steps = (uint64_t)HONE_MAX(steps, 1);
    n->tell = tell;
    n->user = user;
    n->base.callback.step_end = norms_step;
    return &n->base.callback;
}
