#include "train/train.h"

#include "base/os.h"
#include "data/data.h"

#include <math.h>
#include <string.h>

/* ---- batches ---- */

static hone_status need_step(hone_model *model)
{
    hone_status status = HONE__STATUS_OF(model);
    if (status != HONE_OK) return status;
    hone__compiled *c = model->train;
    if (c && c->optimizer) return HONE_OK;
    return hone__fail_run(model->ctx, HONE_STATE, "the model was not compiled: call hone_compile first");
}

/* Examples as they are given: weights [rows], NULL for 1; a loader, with weights of its own, in place of x and y. */
typedef struct examples {
    hone_tensors x, y;
    const float *weights;
    hone_loader *loader;
    const hone_fit_opts *classes; /* whose class_weights the examples have; NULL: none */
} examples;

static hone_tensors one(const hone_tensor *const *tensor) { return (hone_tensors){tensor, 1}; }
static size_t inputs_of(const examples *data) { return data->loader ? (size_t)hone_loader_inputs(data->loader) : data->x.n; }
static int64_t rows_of(const examples *data)
{
    return data->loader ? hone_loader_rows(data->loader) : data->x.tensor[0]->shape.dim[0];
}

static hone_status need_compiled(hone_model *model, const examples *data)
{
    hone_status status = need_step(model);
    if (status != HONE_OK) return status;
    hone_ctx *ctx = model->ctx;
    status = hone__check_counts(model, inputs_of(data), data->loader ? (size_t)hone_loader_targets(data->loader) : data->y.n);
    if (status != HONE_OK || data->loader) return status;
    const hone_tensor *x = data->x.tensor[0];
    int64_t rows = x && x->shape.rank ? x->shape.dim[0] : -1;
    status = hone__check_rows(ctx, "x", data->x, rows);
    if (status == HONE_OK) status = hone__check_rows(ctx, "y", data->y, rows);
    if (status == HONE_OK && rows == 0) status = hone__fail_run(ctx, HONE_INVALID, "there are no rows");
    return status;
}

typedef struct totals {
    double loss, right;
    int64_t rows;
    bool counted; /* right answers are known */
    bool again;   /* these rows were looked at before: metrics have seen them */
} totals;

/* What is told of some rows. */
typedef struct measured {
    double loss, accuracy;
    double *metrics; /* c->n_metrics values; may be NULL when there are none */
} measured;

/* The loss is not finite: run the batch again, looking at each value, and say where it began. */
static hone_status blame(hone_model *model, hone_tensor *const *inputs, int n_x, const int64_t *order, double loss, const hone_call_opts *call)
{
    hone__compiled *c = model->train;
    char where[256] = "no single layer could be named", row[96] = "";
    hone__function_find_nonfinite(c->step, inputs, call, where, sizeof where);
    hone__find_nonfinite_row(inputs, n_x, n_x + c->n_outputs, order, row, sizeof row);
    return hone__fail_run(model->ctx, HONE_NUMERIC, "the loss is %g at step %llu: %s%s%s", loss, (unsigned long long)call->step, row,
                          where, row[0] ? "" : "; try a smaller learning rate or max_grad_norm");
}

static double step_value(const hone__compiled *c, int i) { return hone_tensor_get(hone_function_output(c->step, i), 0); }

/* Of `count` examples of a step of `whole`; weights [count], NULL: 1 each. */
static hone_status update_metrics(hone__compiled *c, hone_tensor *const *targets, const hone_tensor *weights, int64_t count, int64_t whole)
{
    for (size_t i = 0; i < c->n_metrics; i++) {
        const hone__compiled_metric *m = &c->metrics[i];
        const int k = m->output;
        if (!m->text) {
            double sum = m->is_loss ? step_value(c, hone__step_loss(c, k)) * (double)whole : step_value(c, hone__step_right(k));
            hone__mean_add(m->metric, sum, count);
            continue;
        }
        hone_status status = hone_metric_update_weighted(m->metric, hone_function_output(c->step, hone__step_output(c, k)), targets[k],
                                                         m->weighted ? weights : NULL);
        if (status != HONE_OK) return status;
    }
    return HONE_OK;
}

/* Weights of rows order[0..count), NULL: of the first ones, over `by`, f32 [count]. NULL: memory (sticky). */
static hone_tensor *weights_of(hone_ctx *ctx, const float *weights, const int64_t *order, int64_t count, float by)
{
    hone_tensor *w = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(count));
    for (int64_t i = 0; w && i < count; i++) ((float *)w->data)[i] = (weights ? weights[order ? order[i] : i] : 1) / by;
    return w;
}

/* The weights of a loader's batch, owned by the caller; NULL for 1 each. */
static hone_status loader_weights(const hone__compiled *c, const examples *data, const hone_tensor *y, float **weights)
{
    hone_fit_opts o = {.sample_weights = hone_loader_weights(data->loader)};
    if (data->classes) o.class_weights = data->classes->class_weights, o.n_class_weights = data->classes->n_class_weights;
    return hone__example_weights(c, y, y->shape.dim[0], &o, weights);
}

/* Gives the inputs, of which n_x are the model's, the types that the step wants; what is made of a loader's goes into made. */
static hone_status take_types(hone_model *model, hone_tensor **in, int n_x, int n, const examples *data, const int64_t *order, hone_tensor **made)
{
    const hone__compiled *c = model->train;
    for (int i = 0; i < n; i++) {
        if (!in[i]) return hone__ok(model->ctx) ? HONE_INVALID : model->ctx->status;
        hone_dtype is = in[i]->dtype, wants = i < n_x ? hone__input_dtype(model, i, is) : hone__target_dtype(c, i - n_x, is);
        if (wants == is) continue;
        hone_status status = i < n_x ? HONE_OK : hone__check_whole(c, i - n_x, in[i], order);
        if (status != HONE_OK) return status;
        hone_tensor *cast = hone_tensor_cast(in[i], wants);
        if (!cast) return model->ctx->status;
        if (!data->loader) hone_tensor_free(in[i]);
        made[i] = in[i] = cast;
    }
    return HONE_OK;
}

/* The step; what is wrong with classes is told in the user's words. */
static hone_status call_step(const hone__compiled *c, hone_tensor *const *in, int n_x, const int64_t *order, const examples *data,
                             const hone_call_opts *call)
{
    hone_status status = hone_function_call_opt(c->step, in, call);
    if (status == HONE_INVALID) return hone__blame_classes(c, in + n_x, order, status);
    return status == HONE_OK && data->classes ? hone__check_class_weights(c, data->classes->n_class_weights) : status;
}

/* One micro-batch of rows order[0..count) (a loader's next ones, whatever they are), `whole` of them in its step; in training its loss must be finite. */
static hone_status run_batch(hone_model *model, const examples *data, const int64_t *order, int64_t count, int64_t whole,
                             const hone_call_opts *call, totals *sum)
{
    hone__compiled *c = model->train;
    hone_ctx *ctx = model->ctx;
    const int n_x = (int)inputs_of(data), n = n_x + c->n_outputs;
    hone_tensor *in[HONE__MOST_INPUTS + HONE__MOST_OUTPUTS + 1] = {NULL}; /* the model's, the targets, the examples' shares */
    hone_tensor *made[HONE__MOST_INPUTS + HONE__MOST_OUTPUTS] = {NULL};
    hone_status status = hone__step_for(model, n_x);
    float *own = NULL;
    if (data->loader) {
        if (status == HONE_OK) status = hone_loader_next_many(data->loader, in, in + n_x);
        if (in[n_x]) status = loader_weights(c, data, in[n_x], &own);
        order = NULL;
    }
    for (int i = 0; i < n && !data->loader; i++)
        in[i] = hone__rows_of(i < n_x ? data->x.tensor[i] : data->y.tensor[i - n_x], count, order);
    if (status == HONE_OK && hone__ok(ctx)) status = take_types(model, in, n_x, n, data, order, made);
    const float *given = data->loader ? own : data->weights;
    bool weigh = given && c->n_weighted && !sum->again;
    in[n] = weights_of(ctx, given, order, count, (float)whole);
    hone_tensor *weights = weigh ? weights_of(ctx, given, order, count, 1) : NULL;
    if (status == HONE_OK) status = hone__ok(ctx) ? call_step(c, in, n_x, order, data, call) : ctx->status;
    double loss = status == HONE_OK ? step_value(c, 0) : 0;
    if (call->mode == HONE_TRAIN && !isfinite(loss)) status = blame(model, in, n_x, order, loss, call);
    if (status == HONE_OK && !sum->again) status = update_metrics(c, in + n_x, weights, count, whole);
    if (status == HONE_OK) {
        sum->loss += loss * (double)whole;
        double yes = step_value(c, hone__step_right(0));
        sum->counted = c->n_outputs == 1 && yes >= 0;
        sum->right += yes;
        sum->rows += count;
    }
    for (int i = 0; i < n; i++) hone_tensor_free(data->loader ? made[i] : in[i]);
    hone__free(ctx, own);
    hone_tensor_free(in[n]);
    hone_tensor_free(weights);
    return status;
}

static void reset_metrics(hone__compiled *c)
{
    for (size_t i = 0; i < c->n_metrics; i++) hone_metric_reset(c->metrics[i].metric);
}

/* MEMORY when a metric ran out of it. */
static hone_status tell(const hone__compiled *c, const totals *sum, measured *result)
{
    result->loss = sum->rows ? sum->loss / (double)sum->rows : NAN;
    result->accuracy = sum->rows && sum->counted ? sum->right / (double)sum->rows : NAN;
    for (size_t i = 0; i < c->n_metrics && result->metrics; i++) result->metrics[i] = hone_metric_result(c->metrics[i].metric);
    return c->ctx->status;
}

/* Of a loader `order` is not looked at. */
static hone_status evaluate(hone_model *model, const examples *data, const int64_t *order, int64_t rows, int64_t batch,
                            measured *result)
{
    totals sum = {0};
    hone_status status = HONE_OK;
    hone_call_opts call = {.struct_size = sizeof call, .mode = HONE_EVALUATE};
    reset_metrics(model->train);
    if (data->loader) status = hone_loader_begin(data->loader, 0);
    for (int64_t at = 0; at < rows && status == HONE_OK; at += batch) {
        int64_t count = HONE_MIN(batch, rows - at);
        status = run_batch(model, data, order ? order + at : NULL, count, count, &call, &sum);
    }
    hone_status told = tell(model->train, &sum, result);
    return status == HONE_OK ? told : status;
}

hone_status hone__evaluate(hone_model *model, hone_tensors x, hone_tensors y, const hone_tensor *sample_weights, int batch_size,
                           double *loss, double *accuracy, size_t n, double *values)
{
    measured result = {NAN, NAN, n ? values : NULL};
    examples data = {.x = x, .y = y};
    hone_status status = need_compiled(model, &data);
    const hone__compiled *c = model ? model->train : NULL;
    float *weights = NULL;
    if (loss) *loss = NAN;
    if (accuracy) *accuracy = NAN;
    for (size_t i = 0; i < n; i++) values[i] = NAN;
    if (status == HONE_OK && (batch_size < 1 || (n && n != c->n_metrics)))
        status = hone__fail_run(model->ctx, HONE_INVALID, "evaluate: batch_size must be at least 1, not %d, and room for no metrics or for "
                                                          "%zu, not %zu", batch_size, c->n_metrics, n);
    if (status == HONE_OK)
        status = hone__example_weights(c, data.y.tensor[0], 0, &(hone_fit_opts){.sample_weights = sample_weights}, &weights);
    if (status != HONE_OK) return status;
    data.weights = weights;
    int64_t rows = rows_of(&data), *order = hone__row_numbers(model->ctx, rows);
    status = order ? evaluate(model, &data, order, rows, batch_size, &result) : model->ctx->status;
    hone__free(model->ctx, order);
    hone__free(model->ctx, weights);
    if (loss) *loss = result.loss;
    if (accuracy) *accuracy = result.accuracy;
    return status;
}

hone_status hone_evaluate_weighted(hone_model *model, const hone_tensor *x, const hone_tensor *y, const hone_tensor *sample_weights,
                                   int batch_size, double *loss, double *accuracy, size_t n, double *values)
{
    return hone__evaluate(model, one(&x), one(&y), sample_weights, batch_size, loss, accuracy, n, values);
}

hone_status hone_evaluate_many(hone_model *model, hone_tensors x, hone_tensors y, const hone_tensor *sample_weights, int batch_size,
                               double *loss, size_t n, double *values)
{
    return hone__evaluate(model, x, y, sample_weights, batch_size, loss, NULL, n, values);
}

hone_status hone_evaluate(hone_model *model, const hone_tensor *x, const hone_tensor *y, int batch_size, double *loss,
                          double *accuracy)
{
    return hone_evaluate_weighted(model, x, y, NULL, batch_size, loss, accuracy, 0, NULL);
}

hone_status hone_evaluate_metrics(hone_model *model, const hone_tensor *x, const hone_tensor *y, int batch_size, size_t n,
                                  double *values)
{
    const hone__compiled *c = model ? model->train : NULL;
    if (c && n != c->n_metrics)
        return hone__fail_run(model->ctx, HONE_INVALID, "evaluate: room for %zu metrics, the model was compiled with %zu", n,
                              c->n_metrics);
    return hone_evaluate_weighted(model, x, y, NULL, batch_size, NULL, NULL, n, values);
}

hone_status hone_evaluate_loader(hone_model *model, hone_loader *loader, double *loss, double *accuracy, size_t n, double *values)
{
    measured result = {NAN, NAN, n ? values : NULL};
    hone_status status = need_step(model);
    const hone__compiled *c = model ? model->train : NULL;
    if (loss) *loss = NAN;
    if (accuracy) *accuracy = NAN;
    for (size_t i = 0; i < n; i++) values[i] = NAN;
    if (status == HONE_OK && (!loader || (n && n != c->n_metrics)))
        status = hone__fail_run(model->ctx, HONE_INVALID, "evaluate: a loader is wanted, and room for no metrics or for %zu, not %zu",
                                c->n_metrics, n);
    examples data = {.loader = loader};
    if (status == HONE_OK) status = need_compiled(model, &data);
    if (status != HONE_OK) return status;
    status = evaluate(model, &data, NULL, hone_loader_rows(loader), hone_loader_batch_size(loader), &result);
    if (loss) *loss = result.loss;
    if (accuracy) *accuracy = result.accuracy;
    return status;
}

/* ---- fit ---- */

void hone_history_free(hone_history *history)
{
    if (!history) return;
    hone_ctx *ctx = history->ctx;
    hone__free(ctx, history->epochs);
    hone__free(ctx, history->metric_names);
    hone__free(ctx, history->values);
    hone__free(ctx, history);
    hone_ctx_release(ctx);
}

/* Room for so many epochs. NULL: memory (sticky). */
static hone_history *new_history(const hone__compiled *c, size_t epochs)
{
    hone_history *h = hone__calloc(c->ctx, 1, sizeof *h);
    if (!h) return NULL;
    *h = (hone_history){.ctx = hone_ctx_retain(c->ctx), .n_metrics = c->n_metrics};
    h->epochs = hone__calloc(c->ctx, epochs, sizeof *h->epochs);
    h->metric_names = hone__calloc(c->ctx, HONE_MAX(c->n_metrics, (size_t)1), sizeof *h->metric_names);
    h->values = hone__calloc(c->ctx, HONE_MAX(2 * epochs * c->n_metrics, (size_t)1), sizeof *h->values);
    if (!h->epochs || !h->metric_names || !h->values) {
        hone_history_free(h);
        return NULL;
    }
    for (size_t i = 0; i < c->n_metrics; i++) h->metric_names[i] = hone_metric_name(c->metrics[i].metric);
    return h;
}

/* "  loss 1.2345" when there is a value. */
static void add_value(hone_ctx *ctx, hone__buffer *text, const char *prefix, const char *name, double value)
{
    if (!isnan(value)) hone__buffer_print(ctx, text, "  %s%s %.4f", prefix, name, value);
}

static void say(const hone_history *h, const hone_fit_opts *o, size_t epoch, const hone_epoch *e)
{
    if (!o->progress || !o->print) return;
    hone_ctx *ctx = h->ctx;
    hone__buffer text = {0};
    hone__buffer_print(ctx, &text, "epoch %zu/%d  loss %.4f", epoch + 1, HONE_MAX(o->epochs, 1), e->loss);
    add_value(ctx, &text, "", "accuracy", e->accuracy);
    for (size_t i = 0; i < h->n_metrics; i++) add_value(ctx, &text, "", h->metric_names[i], e->metrics[i]);
    add_value(ctx, &text, "val_", "loss", e->validation_loss);
    add_value(ctx, &text, "val_", "accuracy", e->validation_accuracy);
    for (size_t i = 0; i < h->n_metrics; i++) add_value(ctx, &text, "val_", h->metric_names[i], e->validation_metrics[i]);
    if (hone__buffer_print(ctx, &text, "  %.2f s\n", e->seconds)) o->print(o->print_user, text.data);
    hone__buffer_free(ctx, &text);
}

/* The schedule of a fit, what was left open filled in, and where its steps begin. */
typedef struct rates {
    hone_schedule schedule;
    uint64_t first;
    double own; /* the optimizer's learning rate, its again at the end */
} rates;

static int64_t rows_of_batch(const hone_fit_opts *o, const examples *data)
{
    return data->loader ? hone_loader_batch_size(data->loader) : o->batch_size ? o->batch_size : 32;
}
static int64_t rows_of_step(const hone_fit_opts *o, const examples *data) { return rows_of_batch(o, data) * HONE_MAX(o->accumulate, 1); }

/* How an epoch is cut into steps, and those into batches. */
typedef struct cut {
    int64_t rows, batch, whole; /* of an epoch, a batch, a step */
    bool join;                  /* a single row that would be left over comes with those before it */
} cut;

static cut make_cut(const hone_model *model, const hone_fit_opts *o, const examples *data, int64_t rows)
{
    cut c = {.rows = rows, .batch = rows_of_batch(o, data), .whole = rows_of_step(o, data)};
    if (o->drop_last) c.rows -= rows % c.batch;
    c.join = hone__joins_last(model, c.batch);
    return c;
}

static int64_t steps_of(const cut *c)
{
    bool joined = c->join && c->rows > c->whole && c->rows % c->whole == 1;
    return (c->rows + c->whole - 1) / c->whole - joined;
}

static rates make_rates(const hone_optimizer *optimizer, const hone_fit_opts *o, const cut *c)
{
    rates r = {.first = hone_optimizer_steps(optimizer), .own = hone_optimizer_learning_rate(optimizer)};
    int64_t each = steps_of(c), steps = each * HONE_MAX(o->epochs, 1);
    r.first -= (uint64_t)(each * o->initial_epoch); /* below 0 it wraps, and so does what is taken from it */
    if (o->schedule) r.schedule = *o->schedule;
    if (r.schedule.peak == 0) r.schedule.peak = r.own;
    if (!r.schedule.total) r.schedule.total = (uint64_t)steps;
    return r;
}

/* One step's rows, for an optimizer that may look at them several times. */
typedef struct batch_step {
    hone_model *model;
    const examples *data;
    const int64_t *order;
    int64_t rows;
    const cut *cut;
    uint64_t step;
    totals *sum; /* of the first time; then NULL */
} batch_step;

/* Leaves the gradients of the rows' mean loss with the model. */
static hone_status gradients(void *user, double *loss)
{
    batch_step *b = user;
    totals now = {.again = !b->sum};
    hone_call_opts call = {.struct_size = sizeof call, .mode = HONE_TRAIN, .step = b->step};
    for (int64_t m = 0, count; m < b->rows; m += count, call.micro_batch++) {
        count = hone__next_rows(b->rows - m, b->cut->batch, b->cut->join);
        hone_status status = run_batch(b->model, b->data, b->order + m, count, b->rows, &call, &now);
        if (status != HONE_OK) return status;
    }
    *loss = now.loss / (double)b->rows;
    if (b->sum) *b->sum = (totals){b->sum->loss + now.loss, b->sum->right + now.right, b->sum->rows + now.rows, now.counted, false};
    b->sum = NULL;
    return HONE_OK;
}

static hone_status epoch(hone_model *model, const examples *data, const int64_t *order, const cut *by, const hone_fit_opts *o,
                         const rates *r, hone_fit_state *state, measured *result)
{
    hone__compiled *c = model->train;
    uint64_t *step = &state->step;
    totals sum = {0};
    if (data->loader) { /* numbered by what the model has seen, so that training that goes on doesn't see the same again */
        hone_status status = hone_loader_begin(data->loader, (int64_t)*step / steps_of(by));
        if (status != HONE_OK) return status;
    }
    reset_metrics(c);
    for (int64_t at = 0, count; at < by->rows && !state->stop; at += count) {
        double before = sum.loss;
        count = hone__next_rows(by->rows - at, by->whole, by->join);
        batch_step b = {model, data, order + at, count, by, *step, &sum};
        if (o->schedule) hone_optimizer_set_learning_rate(c->optimizer, hone_schedule_at(&r->schedule, *step - r->first));
        hone_status status = hone__callbacks(o, HONE__STEP_BEGIN, state);
        if (status == HONE_OK)
            status = hone_optimizer_minimize(c->optimizer, model, gradients, &b, NULL, .max_grad_norm = c->max_grad_norm,
                                             .max_grad_value = c->max_grad_value);
        if (status == HONE_OK && o->ema) status = hone_ema_update(o->ema);
        state->loss = (sum.loss - before) / (double)count;
        if (status == HONE_OK) status = hone__callbacks(o, HONE__STEP_END, state);
        if (status != HONE_OK) return status;
        ++*step;
    }
    return tell(c, &sum, result);
}

/* What an epoch is judged by: `rows` of the data, from `first` on in their order. rows 0: nothing is. */
typedef struct held_out {
    examples data;
    int64_t first, rows;
} held_out;

static hone_status train(hone_model *model, const examples *data, int64_t rows, const held_out *apart, int64_t *order,
                         const hone_fit_opts *o, hone_history *history)
{
    hone_ctx *ctx = model->ctx;
    int64_t *validation = hone__row_numbers(ctx, apart->data.loader ? 0 : apart->rows), batch = rows_of_batch(o, &apart->data);
    hone_status status = validation ? HONE_OK : ctx->status;
    for (int64_t i = 0; i < apart->rows && !apart->data.loader && status == HONE_OK; i++) validation[i] += apart->first;
    hone__compiled *c = model->train;
    hone_fit_state now = {.model = model, .epochs = HONE_MAX(o->epochs, 1), .step = hone_optimizer_steps(c->optimizer),
                          .no_validation = apart->rows == 0};
    const cut by = make_cut(model, o, data, rows);
    rates r = make_rates(c->optimizer, o, &by);
    if (data->loader) hone__loader_join_last(data->loader, by.join);
    if (status == HONE_OK) status = hone__callbacks(o, HONE__TRAIN_BEGIN, &now);
    for (int e = o->initial_epoch; e < now.epochs && status == HONE_OK && !now.stop; e++) {
        double *values = history->values + 2 * history->n_epochs * c->n_metrics, began = hone__seconds();
        measured trained = {NAN, NAN, values}, validated = {NAN, NAN, values + c->n_metrics};
        for (size_t i = 0; i < c->n_metrics; i++) validated.metrics[i] = NAN;
        /* from the same order each time, so that training that goes on has the order of one that never stopped */
        for (int64_t i = 0; i < rows; i++) order[i] = i;
        if (!o->no_shuffle) hone__shuffle(hone__key(hone__key(ctx->seed, 0x66697400), now.step), order, rows);
        now.epoch = e;
        now.result = NULL;
        status = hone__callbacks(o, HONE__EPOCH_BEGIN, &now);
        if (status == HONE_OK) status = epoch(model, data, order, &by, o, &r, &now, &trained);
        if (status == HONE_OK && apart->rows)
            status = evaluate(model, &apart->data, validation, apart->rows, batch, &validated);
        if (status != HONE_OK) break;
        hone_schedule_report(&r.schedule, isnan(validated.loss) ? trained.loss : validated.loss);
        hone_epoch *result = &history->epochs[history->n_epochs++];
        *result = (hone_epoch){.loss = trained.loss,
                               .accuracy = trained.accuracy,
                               .validation_loss = validated.loss,
                               .validation_accuracy = validated.accuracy,
                               .seconds = hone__seconds() - began,
                               .metrics = trained.metrics,
                               .validation_metrics = validated.metrics};
        say(history, o, (size_t)e, result);
        if (o->on_epoch && !o->on_epoch(o->on_epoch_user, model, (size_t)e, result)) now.stop = true;
        now.result = result;
        status = hone__callbacks(o, HONE__EPOCH_END, &now);
    }
    if (data->loader) hone__loader_join_last(data->loader, false);
    if (o->schedule) hone_optimizer_set_learning_rate(c->optimizer, r.own);
    now.result = NULL;
    hone_status ended = hone__callbacks(o, HONE__TRAIN_END, &now);
    if (status == HONE_OK) status = ended;
    hone__free(ctx, validation);
    return status;
}

/* apart: what the options give for validation. */
static hone_status check_options(hone_model *model, const examples *data, const examples *apart, const hone_fit_opts *o)
{
    hone_ctx *ctx = model->ctx;
    bool split_ok = o->validation_split >= 0 && o->validation_split < 1;
    if (o->epochs < 0 || o->initial_epoch < 0 || o->batch_size < 0 || o->accumulate < 0 || !split_ok || !o->validation_x != !o->validation_y)
        return hone__fail_run(ctx, HONE_INVALID, "fit: epochs, initial_epoch, batch_size and accumulate must be positive, validation_split in "
                                                 "[0, 1), validation_x and validation_y both given or neither");
    bool many = o->validation_inputs.n || o->validation_targets.n;
    if (!!o->validation_x + !!o->validation_loader + many > 1 ||
        (o->validation_sample_weights && !o->validation_x && !many) || (data->loader && data->loader == o->validation_loader))
        return hone__fail_run(ctx, HONE_INVALID, "fit: validation data are validation_x and validation_y or validation_inputs and "
                                                 "validation_targets (only these have validation_sample_weights), or a loader other than "
                                                 "the one that is trained on");
    return many || apart->x.n || apart->loader ? need_compiled(model, apart) : HONE_OK;
}

/* On data without weights: the options say them. */
static hone_status fit(hone_model *model, examples data, hone_history **history, const hone_fit_opts *opts)
{
    hone_ctx *ctx = model->ctx;
    examples given = {.x = opts->validation_inputs, .y = opts->validation_targets, .loader = opts->validation_loader};
    if (opts->validation_x) given.x = one(&opts->validation_x), given.y = one(&opts->validation_y);
    hone_status status = check_options(model, &data, &given, opts);
    if (status != HONE_OK) return status;
    int64_t all = rows_of(&data);
    bool split = !given.x.n && !given.loader;
    int64_t rows = all - (split ? (int64_t)((double)all * opts->validation_split) : 0);
    if (opts->drop_last && rows < rows_of_batch(opts, &data))
        return hone__fail_run(ctx, HONE_INVALID, "fit: drop_last leaves nothing of %lld rows in batches of %lld", (long long)rows,
                              (long long)rows_of_batch(opts, &data));
    float *weights = NULL, *others = NULL;
    if (opts->class_weights) data.classes = opts;
    if (!data.loader)
        status = hone__example_weights(model->train, data.y.tensor[0], rows, opts, &weights);
    if (status == HONE_OK && given.x.n)
        status = hone__example_weights(model->train, given.y.tensor[0], 0,
                                       &(hone_fit_opts){.sample_weights = opts->validation_sample_weights}, &others);
    data.weights = weights;
    given.weights = others;
    held_out apart = {data, rows, all - rows};
    if (!split) apart = (held_out){given, 0, rows_of(&given)};
    hone_history *h = status == HONE_OK ? new_history(model->train, (size_t)HONE_MAX(HONE_MAX(opts->epochs, 1) - opts->initial_epoch, 1)) : NULL;
    int64_t *order = h ? hone__row_numbers(ctx, rows) : NULL;
    bool begun = order != NULL;
    if (status == HONE_OK) status = begun ? train(model, &data, rows, &apart, order, opts, h) : ctx->status;
    hone__free(ctx, order);
    hone__free(ctx, weights);
    hone__free(ctx, others);
    if (history && begun)
        *history = h;
    else
        hone_history_free(h);
    return status;
}

hone_status hone_fit_many_opt(hone_model *model, hone_tensors x, hone_tensors y, hone_history **history, const hone_fit_opts *opts)
{
    static const hone_fit_opts none = {0};
    examples data = {.x = x, .y = y};
    if (history) *history = NULL;
    hone_status status = need_compiled(model, &data);
    return status == HONE_OK ? fit(model, data, history, opts ? opts : &none) : status;
}

hone_status hone_fit_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y, hone_history **history,
                         const hone_fit_opts *opts)
{
    return hone_fit_many_opt(model, one(&x), one(&y), history, opts);
}

hone_status hone_fit_loader_opt(hone_model *model, hone_loader *loader, hone_history **history, const hone_fit_opts *opts)
{
    static const hone_fit_opts none = {0};
    if (!opts) opts = &none;
    if (history) *history = NULL;
    hone_status status = need_step(model);
    if (status != HONE_OK) return status;
    if (!loader || opts->batch_size || opts->validation_split != 0 || opts->no_shuffle || opts->drop_last || opts->sample_weights)
        return hone__fail_run(model->ctx, HONE_INVALID, "fit: a loader is needed, and it decides on batch_size, no_shuffle, drop_last, "
                                                        "sample_weights and what is held out");
    if (strcmp(hone_optimizer_name(((hone__compiled *)model->train)->optimizer), "lbfgs") == 0)
        return hone__fail_run(model->ctx, HONE_INVALID, "fit: lbfgs looks at a batch several times, which a loader gives but once");
    examples data = {.loader = loader};
    status = need_compiled(model, &data);
    return status == HONE_OK ? fit(model, data, history, opts) : status;
}
