/* predict, and what data of several tensors share. */
#include "train/train.h"

hone_status hone__check_rows(hone_ctx *ctx, const char *what, hone_tensors tensors, int64_t rows)
{
    for (size_t i = 0; i < tensors.n; i++) {
        const hone_tensor *t = tensors.tensor[i];
        if (t && t->shape.rank && t->shape.dim[0] == rows) continue;
        return hone__fail_run(ctx, HONE_SHAPE, "x and y need as many rows each, along their first axis: %s %zu is %s", what, i,
                              t ? HONE__SHAPE_STR(t->shape) : "missing");
    }
    return HONE_OK;
}

hone_tensor *hone__rows_of(const hone_tensor *x, int64_t count, const int64_t *order)
{
    bool follow = x->bytes > 0 && !hone__is_blocks(x->dtype);
    for (int64_t i = 1; i < count && follow; i++) follow = order[i] == order[0] + i;
    if (!follow) return hone_take(x, count, order);
    hone_shape shape = x->shape;
    size_t row = x->bytes / (size_t)shape.dim[0];
    shape.dim[0] = count;
    return hone_tensor_borrow(x->ctx, x->dtype, shape, (char *)x->data + row * (size_t)order[0]);
}

bool hone__joins_last(const hone_model *model, int64_t batch_size) { return batch_size > 1 && hone__has_batch_norm(model->root); }

int64_t *hone__row_numbers(hone_ctx *ctx, int64_t n)
{
    int64_t *order = hone__alloc(ctx, (size_t)HONE_MAX(n, 1) * sizeof *order);
    for (int64_t i = 0; order && i < n; i++) order[i] = i;
    return order;
}

static void record_predict(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_model *model = user;
    (void)graph;
    hone_model_apply(model, ((hone__compiled *)model->train)->predict_inputs, in, hone_model_output_count(model), out);
}

hone_function *hone__predict_function(hone_model *model, int n_inputs)
{
    hone__compiled *c = hone__compiled_of(model);
    if (!c || (c->predict && c->predict_inputs == n_inputs)) return c ? c->predict : NULL;
    hone_function_free(c->predict);
    c->predict_inputs = n_inputs;
    return c->predict = hone__model_function(model, n_inputs, hone_model_output_count(model), record_predict, c->compute);
}

/* Runs `count` examples, the rows from `at` on of all `rows`; outputs that are not there yet are made. */
static hone_status run(hone_function *predict, hone_ctx *ctx, hone_tensor *const *in, int64_t at, int64_t count, int64_t rows, int n,
                       hone_tensor **outputs)
{
    hone_status status = hone_function_call(predict, in);
    for (int k = 0; k < n && status == HONE_OK; k++) {
        const hone_tensor *y = hone_function_output(predict, k);
        hone_shape shape = y->shape;
        if (shape.rank < 1 || shape.dim[0] != count)
            return hone__fail_run(ctx, HONE_SHAPE, "predict: the output %s has not one row an input row", HONE__SHAPE_STR(shape));
        shape.dim[0] = rows;
        if (!outputs[k] && !(outputs[k] = hone_tensor_new(ctx, y->dtype, shape))) return ctx->status;
        memcpy((char *)outputs[k]->data + (size_t)at * (y->bytes / (size_t)count), y->data, y->bytes);
    }
    return status;
}

/* What could not be finished is the caller's no longer. */
static hone_status finish(hone_status status, int n, hone_tensor **outputs)
{
    for (int k = 0; k < n && status != HONE_OK; k++) {
        hone_tensor_free(outputs[k]);
        outputs[k] = NULL;
    }
    return status;
}

hone_status hone_predict_many(hone_model *model, hone_tensors x, int batch_size, int n, hone_tensor **outputs)
{
    for (int k = 0; k < n; k++) outputs[k] = NULL;
    hone_status status = HONE__STATUS_OF(model);
    if (status != HONE_OK) return status;
    hone_ctx *ctx = model->ctx;
    status = hone__check_counts(model, x.n, (size_t)HONE_MAX(n, 0));
    if (status != HONE_OK) return status;
    if (!x.tensor[0] || x.tensor[0]->shape.rank < 1 || x.tensor[0]->shape.dim[0] < 1 || batch_size < 1)
        return hone__fail_run(ctx, HONE_INVALID, "predict: x needs rows, batch_size must be at least 1");
    int64_t rows = x.tensor[0]->shape.dim[0];
    status = hone__check_rows(ctx, "x", x, rows);
    if (status != HONE_OK) return status;
    hone_function *predict = hone__predict_function(model, (int)x.n);
    int64_t *order = hone__row_numbers(ctx, rows);
    status = predict && order ? HONE_OK : ctx->status;
    for (int64_t at = 0; at < rows && status == HONE_OK; at += batch_size) {
        int64_t count = HONE_MIN((int64_t)batch_size, rows - at);
        hone_tensor *in[HONE__MOST_INPUTS];
        for (size_t i = 0; i < x.n; i++) in[i] = hone__input_rows(model, (int)i, x.tensor[i], count, order + at);
        status = hone__ok(ctx) ? run(predict, ctx, in, at, count, rows, n, outputs) : ctx->status;
        for (size_t i = 0; i < x.n; i++) hone_tensor_free(in[i]);
    }
    hone__free(ctx, order);
    return finish(status, n, outputs);
}

hone_tensor *hone_predict(hone_model *model, const hone_tensor *x, int batch_size)
{
    hone_tensor *y;
    hone_predict_many(model, (hone_tensors){&x, 1}, batch_size, 1, &y);
    return y;
}

hone_status hone_predict_loader_many(hone_model *model, hone_loader *loader, int n, hone_tensor **outputs)
{
    for (int k = 0; k < n; k++) outputs[k] = NULL;
    hone_status status = HONE__STATUS_OF(model);
    if (status != HONE_OK) return status;
    hone_ctx *ctx = model->ctx;
    if (!loader) return hone__fail_run(ctx, HONE_INVALID, "predict: a loader is wanted");
    const int n_x = hone_loader_inputs(loader);
    status = hone__check_counts(model, (size_t)n_x, (size_t)HONE_MAX(n, 0));
    if (status != HONE_OK) return status;
    hone_function *predict = hone__predict_function(model, n_x);
    int64_t rows = hone_loader_rows(loader);
    status = predict ? hone_loader_begin(loader, 0) : ctx->status;
    for (int64_t at = 0; at < rows && status == HONE_OK;) {
        hone_tensor *x[HONE__MOST_INPUTS], *made[HONE__MOST_INPUTS], *y[HONE__MOST_INPUTS]; /* as many targets: those are not the model's business */
        status = hone_loader_next_many(loader, x, y);
        if (status != HONE_OK) break;
        int64_t count = x[0]->shape.dim[0];
        for (int i = 0; i < n_x; i++) { /* a loader's batch stays the loader's */
            hone_dtype wants = hone__input_dtype(model, i, x[i]->dtype);
            made[i] = wants == x[i]->dtype ? NULL : hone_tensor_cast(x[i], wants);
            if (made[i]) x[i] = made[i];
        }
        status = hone__ok(ctx) ? run(predict, ctx, x, at, count, rows, n, outputs) : ctx->status;
        for (int i = 0; i < n_x; i++) hone_tensor_free(made[i]);
        at += count;
    }
    return finish(status, n, outputs);
}

hone_tensor *hone_predict_loader(hone_model *model, hone_loader *loader)
{
    hone_tensor *y;
    hone_predict_loader_many(model, loader, 1, &y);
    return y;
}
