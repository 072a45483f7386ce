#include "train/train.h"

#include "base/os.h"

#include <math.h>
#include <stdio.h>

/* ---- the recorded step: one value an example, their weighted sum, and the right answers ---- */

/* Per-example losses, f32 [B]. */
static hone_node *losses(hone__compiled *c, hone_node *output, hone_node *target)
{
    if (c->custom_loss) return c->custom_loss(c->custom_user, output, target);
    hone_node *each;
    switch (c->loss) {
    case HONE_MSE: each = hone_square(hone_sub(output, hone_reshape(target, hone_node_shape(output)))); break;
    case HONE_BINARY_CROSSENTROPY:
        each = hone_binary_cross_entropy(output, hone_reshape(hone_cast(target, HONE_F32), hone_node_shape(output)));
        break;
    case HONE_BINARY_CROSSENTROPY_LOGITS:
        each = hone_binary_cross_entropy_with_logits(output, hone_reshape(hone_cast(target, HONE_F32), hone_node_shape(output)));
        break;
    case HONE_CATEGORICAL_CROSSENTROPY: return hone_categorical_cross_entropy_loss(output, target, HONE_REDUCE_NONE);
    case HONE_CATEGORICAL_CROSSENTROPY_LOGITS: return hone_categorical_cross_entropy_with_logits(output, target);
    case HONE_SPARSE_CATEGORICAL_CROSSENTROPY: return hone_sparse_categorical_cross_entropy_loss(output, target, HONE_REDUCE_NONE);
    case HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS: return hone_softmax_cross_entropy(output, target, NULL);
    default: return NULL;
    }
    /* the mean over an example's outputs */
    hone_shape s = hone_node_shape(each);
    if (!each || s.rank < 2) return each;
    int64_t rest = hone_shape_count(s) / HONE_MAX(s.dim[0], 1);
    return hone_mean(hone_reshape(each, HONE_SHAPE(s.dim[0], rest)), HONE_AXES(1), false);
}

/* 1 where the answer is right, f32 [B]; NULL where the loss has no notion of it. */
static hone_node *right(hone__compiled *c, hone_node *output, hone_node *target)
{
    if (c->custom_loss || !output) return NULL;
    hone_shape s = hone_node_shape(output);
    hone_node *same = NULL;
    switch (c->loss) {
    case HONE_BINARY_CROSSENTROPY:
    case HONE_BINARY_CROSSENTROPY_LOGITS: {
        double threshold = c->loss == HONE_BINARY_CROSSENTROPY ? 0.5 : 0;
        hone_graph *g = hone_node_graph(output);
        hone_node *said = hone_cast(hone_greater(output, hone_fill(g, HONE_F32, HONE_SCALAR, threshold)), HONE_F32);
        hone_node *is = hone_cast(hone_greater(hone_reshape(hone_cast(target, HONE_F32), s),
                                               hone_fill(g, HONE_F32, HONE_SCALAR, 0.5)), HONE_F32);
        same = hone_equal(said, is);
        break;
    }
    case HONE_CATEGORICAL_CROSSENTROPY:
    case HONE_CATEGORICAL_CROSSENTROPY_LOGITS: same = hone_equal(hone_argmax(output, -1), hone_argmax(target, -1)); break;
    case HONE_SPARSE_CATEGORICAL_CROSSENTROPY:
    case HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS:
        same = hone_equal(hone_argmax(output, -1), hone_cast(target, HONE_I32));
        break;
    default: return NULL;
    }
    hone_node *yes = hone_cast(same, HONE_F32);
    s = hone_node_shape(yes);
    if (yes && s.rank > 1) yes = hone_mean(hone_reshape(yes, HONE_SHAPE(s.dim[0], hone_shape_count(s) / HONE_MAX(s.dim[0], 1))),
                                           HONE_AXES(1), false);
    return yes;
}

/* inputs: x, y, and 1 / (examples in the whole step), so that micro-batches add up to the mean. outputs: the sum of the
   losses, and of the right answers (-1: not known). */
static void record_step(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_model *model = user;
    hone__compiled *c = model->train;
    hone_node *output = hone_apply(model->root, in[0]);
    hone_node *each = output ? losses(c, output, in[1]) : NULL;
    if (!each) return;
    if (hone_node_shape(each).rank != 1) {
        hone__fail(graph->ctx, HONE_SHAPE, "the loss gives %s for a batch; one value an example is wanted",
                   HONE__SHAPE_STR(hone_node_shape(each)));
        return;
    }
    hone_node *sum = hone_sum(each, HONE_ALL_AXES, false), *yes = right(c, output, in[1]);
    out[0] = sum;
    out[1] = yes ? hone_sum(yes, HONE_ALL_AXES, false) : hone_fill(graph, HONE_F32, HONE_SCALAR, -1);
    if (hone_graph_mode(graph) == HONE_TRAIN) hone__grad_variables(hone_mul(sum, hone_reshape(in[2], HONE_SCALAR)));
}

static void record_predict(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    out[0] = hone_apply(((hone_model *)user)->root, in[0]);
}

/* ---- compile ---- */

static void free_compiled(void *train)
{
    hone__compiled *c = train;
    if (!c) return;
    hone_function_free(c->step);
    hone_function_free(c->predict);
    hone_optimizer_free(c->optimizer);
    hone__free(c->ctx, c);
}

static hone__compiled *compiled(hone_model *model)
{
    if (model->train) return model->train;
    hone__compiled *c = hone__calloc(model->ctx, 1, sizeof *c);
    if (!c) return NULL;
    c->ctx = model->ctx;
    model->train = c;
    model->train_free = free_compiled;
    return c;
}

static hone_function *function(hone_model *model, int n_in, int n_out, hone_forward_fn forward, hone_dtype compute)
{
    hone_function *f = hone_function_new(model->ctx, n_in, n_out, forward, model, .compute = compute);
    hone__function_use_model(f, model);
    return f;
}

hone_status hone_compile_opt(hone_model *model, const hone_compile_opts *opts)
{
    if (!model) return HONE_INVALID;
    hone_ctx *ctx = model->ctx;
    hone_optimizer *optimizer = opts && opts->optimizer ? opts->optimizer : hone_adam(ctx);
    hone__compiled *c = hone__ok(ctx) ? compiled(model) : NULL;
    hone_function *step = c ? function(model, 3, 2, record_step, opts ? opts->compute : HONE_F32) : NULL;
    if (!step) {
        hone_optimizer_free(optimizer);
        return ctx->status;
    }
    hone_function_free(c->step);
    hone_optimizer_free(c->optimizer);
    c->step = step;
    c->optimizer = optimizer;
    c->loss = opts ? opts->loss : HONE_MSE;
    c->custom_loss = opts ? opts->custom_loss : NULL;
    c->custom_user = opts ? opts->custom_user : NULL;
    c->max_grad_norm = opts ? opts->max_grad_norm : 0;
    return HONE_OK;
}

/* ---- batches ---- */

static hone_status need_compiled(hone_model *model, const hone_tensor *x, const hone_tensor *y)
{
    hone_ctx *ctx = model->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    hone__compiled *c = model->train;
    if (!c || !c->step) return hone__fail_run(ctx, HONE_STATE, "the model was not compiled: call hone_compile first");
    if (!x || !y || x->shape.rank < 1 || y->shape.rank < 1 || x->shape.dim[0] != y->shape.dim[0])
        return hone__fail_run(ctx, HONE_SHAPE, "x and y need as many rows each, along their first axis");
    if (x->shape.dim[0] == 0) return hone__fail_run(ctx, HONE_INVALID, "there are no rows");
    return HONE_OK;
}

static void put_scalar(hone_tensor *t, double value) { ((float *)t->data)[0] = (float)value; }

typedef struct totals {
    double loss, right;
    int64_t rows;
    bool counted; /* right answers are known */
} totals;

/* The loss is not finite: run the batch again, looking at each value, and say where it began. */
static hone_status blame(hone_model *model, hone_tensor *const *inputs, double loss, const hone_call_opts *call)
{
    hone__compiled *c = model->train;
    char where[256] = "no single layer could be named";
    hone__function_find_nonfinite(c->step, inputs, call, where, sizeof where);
    return hone__fail_run(model->ctx, HONE_NUMERIC, "the loss is %g at step %llu: %s; try a smaller learning rate or "
                                                    "max_grad_norm, and look for NaN in the data",
                          loss, (unsigned long long)call->step, where);
}

/* Rows order[0..count) of x: where they are, if they follow each other, else a copy. */
static hone_tensor *rows_of(const hone_tensor *x, int64_t count, const int64_t *order)
{
    bool follow = x->bytes > 0 && !hone__is_blocks(x->dtype);
    for (int64_t i = 1; i < count && follow; i++) follow = order[i] == order[0] + i;
    if (!follow) return hone_take(x, count, order);
    hone_shape shape = x->shape;
    size_t row = x->bytes / (size_t)shape.dim[0];
    shape.dim[0] = count;
    return hone_tensor_borrow(x->ctx, x->dtype, shape, (char *)x->data + row * (size_t)order[0]);
}

/* One micro-batch of rows order[0..count); in training its loss must be finite. */
static hone_status run_batch(hone_model *model, const hone_tensor *x, const hone_tensor *y, const int64_t *order,
                             int64_t count, hone_tensor *share, const hone_call_opts *call, totals *sum)
{
    hone__compiled *c = model->train;
    hone_ctx *ctx = model->ctx;
    hone_tensor *bx = rows_of(x, count, order), *by = rows_of(y, count, order);
    hone_tensor *in[] = {bx, by, share};
    hone_status status = bx && by ? hone_function_call_opt(c->step, in, call) : ctx->status;
    double loss = status == HONE_OK ? hone_tensor_get(hone_function_output(c->step, 0), 0) : 0;
    if (call->mode == HONE_TRAIN && !isfinite(loss)) status = blame(model, in, loss / (double)count, call);
    if (status == HONE_OK) {
        sum->loss += loss;
        double yes = hone_tensor_get(hone_function_output(c->step, 1), 0);
        sum->counted = yes >= 0;
        sum->right += yes;
        sum->rows += count;
    }
    hone_tensor_free(bx);
    hone_tensor_free(by);
    return status;
}

static hone_status evaluate(hone_model *model, const hone_tensor *x, const hone_tensor *y, const int64_t *order, int64_t rows,
                            int64_t batch, double *loss, double *accuracy)
{
    totals sum = {0};
    hone_tensor *one = hone_tensor_new(model->ctx, HONE_F32, HONE_SHAPE(1));
    hone_status status = one ? HONE_OK : model->ctx->status;
    hone_call_opts call = {.struct_size = sizeof call, .mode = HONE_EVALUATE};
    for (int64_t at = 0; at < rows && status == HONE_OK; at += batch)
        status = run_batch(model, x, y, order + at, HONE_MIN(batch, rows - at), one, &call, &sum);
    hone_tensor_free(one);
    *loss = sum.rows ? sum.loss / (double)sum.rows : NAN;
    *accuracy = sum.rows && sum.counted ? sum.right / (double)sum.rows : NAN;
    return status;
}

static int64_t *row_numbers(hone_ctx *ctx, int64_t n)
{
    int64_t *order = hone__alloc(ctx, (size_t)HONE_MAX(n, 1) * sizeof *order);
    for (int64_t i = 0; order && i < n; i++) order[i] = i;
    return order;
}

hone_status hone_evaluate(hone_model *model, const hone_tensor *x, const hone_tensor *y, int batch_size, double *loss,
                          double *accuracy)
{
    double l = NAN, a = NAN;
    hone_status status = need_compiled(model, x, y);
    if (status == HONE_OK && batch_size < 1) status = hone__fail_run(model->ctx, HONE_INVALID, "batch_size must be at least 1");
    if (status == HONE_OK) {
        int64_t *order = row_numbers(model->ctx, x->shape.dim[0]);
        status = order ? evaluate(model, x, y, order, x->shape.dim[0], batch_size, &l, &a) : model->ctx->status;
        hone__free(model->ctx, order);
    }
    if (loss) *loss = l;
    if (accuracy) *accuracy = a;
    return status;
}

hone_tensor *hone_predict(hone_model *model, const hone_tensor *x, int batch_size)
{
    hone_ctx *ctx = model->ctx;
    if (!hone__ok(ctx)) return NULL;
    if (!x || x->shape.rank < 1 || batch_size < 1) {
        hone__fail_run(ctx, HONE_INVALID, "predict: x needs rows, batch_size must be at least 1");
        return NULL;
    }
    hone__compiled *c = compiled(model);
    if (c && !c->predict) c->predict = function(model, 1, 1, record_predict, HONE_F32);
    int64_t rows = x->shape.dim[0], *order = row_numbers(ctx, rows);
    hone_tensor *all = NULL;
    hone_status status = c && c->predict && order ? HONE_OK : ctx->status;
    for (int64_t at = 0; at < rows && status == HONE_OK; at += batch_size) {
        int64_t count = HONE_MIN((int64_t)batch_size, rows - at);
        hone_tensor *bx = rows_of(x, count, order + at);
        status = bx ? hone_function_call(c->predict, &bx) : ctx->status;
        hone_tensor_free(bx);
        if (status != HONE_OK) break;
        const hone_tensor *y = hone_function_output(c->predict, 0);
        hone_shape shape = y->shape;
        if (shape.rank < 1 || shape.dim[0] != count) {
            status = hone__fail_run(ctx, HONE_SHAPE, "predict: the output %s has not one row an input row", HONE__SHAPE_STR(shape));
            break;
        }
        shape.dim[0] = rows;
        if (!all && !(all = hone_tensor_new(ctx, y->dtype, shape))) status = ctx->status;
        if (all) memcpy((char *)all->data + (size_t)at * (y->bytes / (size_t)count), y->data, y->bytes);
    }
    hone__free(ctx, order);
    if (status == HONE_OK) return all;
    hone_tensor_free(all);
    return NULL;
}

/* ---- fit ---- */

void hone_history_free(hone_history *history)
{
    if (!history) return;
    hone_ctx *ctx = history->ctx;
    hone__free(ctx, history->epochs);
    hone__free(ctx, history);
    hone_ctx_release(ctx);
}

static void say(const hone_fit_opts *o, size_t epoch, const hone_epoch *e)
{
    if (!o->progress || !o->print) return;
    char text[256];
    int n = snprintf(text, sizeof text, "epoch %zu/%d  loss %.4f", epoch + 1, HONE_MAX(o->epochs, 1), e->loss);
    if (!isnan(e->accuracy)) n += snprintf(text + n, sizeof text - (size_t)n, "  accuracy %.4f", e->accuracy);
    if (!isnan(e->validation_loss)) n += snprintf(text + n, sizeof text - (size_t)n, "  val_loss %.4f", e->validation_loss);
    if (!isnan(e->validation_accuracy))
        n += snprintf(text + n, sizeof text - (size_t)n, "  val_accuracy %.4f", e->validation_accuracy);
    snprintf(text + n, sizeof text - (size_t)n, "  %.2f s\n", e->seconds);
    o->print(o->print_user, text);
}

static hone_status epoch(hone_model *model, const hone_tensor *x, const hone_tensor *y, const int64_t *order, int64_t rows,
                         const hone_fit_opts *o, hone_tensor *share, uint64_t *step, hone_epoch *result)
{
    hone__compiled *c = model->train;
    int64_t micro = o->batch_size ? o->batch_size : 32, whole = micro * HONE_MAX(o->accumulate, 1);
    totals sum = {0};
    for (int64_t at = 0; at < rows; at += whole) {
        int64_t in_step = HONE_MIN(whole, rows - at);
        put_scalar(share, 1 / (double)in_step);
        hone_call_opts call = {.struct_size = sizeof call, .mode = HONE_TRAIN, .step = *step};
        for (int64_t m = 0; m < in_step; m += micro, call.micro_batch++) {
            hone_status status = run_batch(model, x, y, order + at + m, HONE_MIN(micro, in_step - m), share, &call, &sum);
            if (status != HONE_OK) return status;
        }
        hone_status status = hone_optimizer_step(c->optimizer, model, NULL, .max_grad_norm = c->max_grad_norm);
        if (status != HONE_OK) return status;
        ++*step;
    }
    result->loss = sum.loss / (double)sum.rows;
    result->accuracy = sum.counted ? sum.right / (double)sum.rows : NAN;
    return HONE_OK;
}

static hone_status train(hone_model *model, const hone_tensor *x, const hone_tensor *y, int64_t rows, int64_t held_out,
                         int64_t *order, const hone_fit_opts *o, hone_history *history)
{
    hone_ctx *ctx = model->ctx;
    hone_tensor *share = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1));
    int64_t *validation = row_numbers(ctx, HONE_MAX(held_out, o->validation_x ? o->validation_x->shape.dim[0] : 0));
    hone_status status = share && validation ? HONE_OK : ctx->status;
    for (int64_t i = 0; i < held_out && status == HONE_OK; i++) validation[i] = rows + i;
    model->train_gradients = true;
    hone__compiled *c = model->train;
    uint64_t step = hone_optimizer_steps(c->optimizer);
    int64_t batch = o->batch_size ? o->batch_size : 32;
    for (int e = 0; e < HONE_MAX(o->epochs, 1) && status == HONE_OK; e++) {
        hone_epoch result = {NAN, NAN, NAN, NAN, 0};
        double began = hone__seconds();
        if (!o->no_shuffle) hone__shuffle(hone__key(hone__key(ctx->seed, 0x66697400), step), order, rows);
        status = epoch(model, x, y, order, rows, o, share, &step, &result);
        if (status == HONE_OK && o->validation_x)
            status = evaluate(model, o->validation_x, o->validation_y, validation, o->validation_x->shape.dim[0], batch,
                              &result.validation_loss, &result.validation_accuracy);
        else if (status == HONE_OK && held_out)
            status = evaluate(model, x, y, validation, held_out, batch, &result.validation_loss, &result.validation_accuracy);
        result.seconds = hone__seconds() - began;
        if (status != HONE_OK) break;
        history->epochs[history->n_epochs++] = result;
        say(o, (size_t)e, &result);
        if (o->on_epoch && !o->on_epoch(o->on_epoch_user, model, (size_t)e, &result)) break;
    }
    hone_tensor_free(share);
    hone__free(ctx, validation);
    return status;
}

hone_status hone_fit_opt(hone_model *model, const hone_tensor *x, const hone_tensor *y, hone_history **history,
                         const hone_fit_opts *opts)
{
    static const hone_fit_opts none = {0};
    if (!opts) opts = &none;
    if (history) *history = NULL;
    hone_ctx *ctx = model->ctx;
    hone_status status = need_compiled(model, x, y);
    if (status != HONE_OK) return status;
    bool split_ok = opts->validation_split >= 0 && opts->validation_split < 1;
    if (opts->epochs < 0 || opts->batch_size < 0 || opts->accumulate < 0 || !split_ok ||
        !opts->validation_x != !opts->validation_y)
        return hone__fail_run(ctx, HONE_INVALID, "fit: epochs, batch_size and accumulate must be positive, validation_split in "
                                                 "[0, 1), validation_x and validation_y both given or neither");
    if (opts->validation_x && (status = need_compiled(model, opts->validation_x, opts->validation_y)) != HONE_OK) return status;
    int64_t rows = x->shape.dim[0];
    int64_t held_out = opts->validation_x ? 0 : (int64_t)((double)rows * opts->validation_split);
    hone_history *h = hone__calloc(ctx, 1, sizeof *h);
    hone_epoch *epochs = hone__calloc(ctx, (size_t)HONE_MAX(opts->epochs, 1), sizeof *epochs);
    int64_t *order = row_numbers(ctx, rows - held_out);
    if (h && epochs && order) {
        *h = (hone_history){.ctx = hone_ctx_retain(ctx), .epochs = epochs};
        status = train(model, x, y, rows - held_out, held_out, order, opts, h);
    } else {
        hone__free(ctx, epochs);
        hone__free(ctx, h);
        h = NULL;
        status = ctx->status;
    }
    hone__free(ctx, order);
    if (history)
        *history = h;
    else
        hone_history_free(h);
    return status;
}
