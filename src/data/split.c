/* Rows by number, and the cut into what is trained on and what is held out. */
#include "data/data.h"

/* Bytes of one row; false with an error when rows cannot be taken apart. */
static bool row_bytes(const hone_tensor *x, size_t *bytes)
{
    hone_shape row = x->shape;
    int64_t count;
    if (!row.rank) return hone__fail_run(x->ctx, HONE_SHAPE, "rows of a scalar were asked for"), false;
    row.dim[0] = 1;
    if (!hone__tensor_size(x->dtype, row, &count, bytes))
        return hone__fail_run(x->ctx, HONE_DTYPE, "rows of a %s tensor %s are no whole blocks",
                              hone_dtype_name(x->dtype), HONE__SHAPE_STR(x->shape)),
               false;
    return true;
}

hone_tensor *hone_take(const hone_tensor *x, int64_t count, const int64_t *rows)
{
    size_t bytes;
    if (!x || !row_bytes(x, &bytes)) return NULL;
    int64_t n = x->shape.dim[0];
    if (count < 0 || (count && !rows))
        return hone__fail_run(x->ctx, HONE_INVALID, "a negative count of rows, or none given"), NULL;
    for (int64_t i = 0; i < count; i++)
        if (rows[i] < 0 || rows[i] >= n)
            return hone__fail_run(x->ctx, HONE_INVALID,
                                  "row %lld was asked for (entry %lld), and there are %lld",
                                  (long long)rows[i], (long long)i, (long long)n),
                   NULL;
    hone_shape shape = x->shape;
    shape.dim[0] = count;
    hone_tensor *taken = hone_tensor_new(x->ctx, x->dtype, shape);
    if (!taken) return NULL;
    for (int64_t i = 0; bytes && i < count; i++)
        memcpy((char *)taken->data + (size_t)i * bytes, (const char *)x->data + (size_t)rows[i] * bytes,
               bytes);
    return taken;
}

hone_status hone_train_test_split(const hone_tensor *x, const hone_tensor *y, double share, uint64_t seed,
                                  hone_tensor **x_train, hone_tensor **y_train, hone_tensor **x_test,
                                  hone_tensor **y_test)
{
    *x_train = *x_test = NULL;
    if (y_train) *y_train = NULL;
    if (y_test) *y_test = NULL;
    if (!x || (y && (!y_train || !y_test))) return HONE_INVALID;
    hone_ctx *ctx = x->ctx;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    if (!x->shape.rank || (y && (!y->shape.rank || y->shape.dim[0] != x->shape.dim[0])))
        return hone__fail_run(ctx, HONE_SHAPE, "x is %s and y is %s; both must have the same number of rows",
                              HONE__SHAPE_STR(x->shape), y ? HONE__SHAPE_STR(y->shape) : "absent");
    int64_t n = x->shape.dim[0], train, *order = hone__calloc(ctx, (size_t)n, sizeof *order);
    hone_status status = order ? hone_split_rows(ctx, n, share, NULL, seed, order, &train) : ctx->status;
    if (status != HONE_OK) {
        hone__free(ctx, order);
        return status;
    }
    bool ok = (*x_train = hone_take(x, train, order)) && (*x_test = hone_take(x, n - train, order + train));
    if (ok && y)
        ok = (*y_train = hone_take(y, train, order)) && (*y_test = hone_take(y, n - train, order + train));
    hone__free(ctx, order);
    if (ok) return HONE_OK;
    hone_tensor_free(*x_train);
    hone_tensor_free(*x_test);
    *x_train = *x_test = NULL;
    if (y) {
        hone_tensor_free(*y_train);
        hone_tensor_free(*y_test);
        *y_train = *y_test = NULL;
    }
    hone_status sticky = hone_ctx_status(ctx); /* else rows that are no whole blocks */
    return sticky ? sticky : HONE_DTYPE;
}

hone_status hone_time_windows(const hone_tensor *series, int64_t length, int64_t horizon, int64_t stride, hone_tensor **x,
                              hone_tensor **y)
{
    if (x) *x = NULL;
    if (y) *y = NULL;
    if (!series || !x) return HONE_INVALID;
    hone_ctx *ctx = series->ctx;
    size_t bytes;
    if (!hone__ok(ctx)) return ctx->status;
    if (!row_bytes(series, &bytes)) return series->shape.rank ? HONE_DTYPE : HONE_SHAPE;
    int64_t rows = series->shape.dim[0];
    if (series->shape.rank == HONE_MAX_RANK) return hone__fail_run(ctx, HONE_SHAPE, "windows of a series of rank %d", HONE_MAX_RANK);
    if (length < 1 || horizon < 0 || stride < 1 || (horizon && !y) || length > rows || horizon > rows - length)
        return hone__fail_run(ctx, HONE_INVALID,
                              "windows of %lld rows, %lld rows behind them, every %lld rows: the series has %lld rows",
                              (long long)length, (long long)horizon, (long long)stride, (long long)rows);
    int64_t n = (rows - length - horizon) / stride + 1, sizes[2] = {length, horizon};
    hone_tensor *made[2] = {NULL, NULL};
    bool ok = true;
    for (int part = 0; ok && part < (y && horizon ? 2 : 1); part++) {
        hone_shape shape = {.rank = series->shape.rank + 1, .dim = {n, sizes[part]}};
        for (int i = 1; i < series->shape.rank; i++) shape.dim[i + 1] = series->shape.dim[i];
        ok = (made[part] = hone_tensor_new(ctx, series->dtype, shape)) != NULL;
        size_t size = (size_t)sizes[part] * bytes;
        for (int64_t i = 0; ok && size && i < n; i++)
            memcpy((char *)made[part]->data + (size_t)i * size,
                   (const char *)series->data + (size_t)(i * stride + (part ? length : 0)) * bytes, size);
    }
    if (!ok) {
        hone_tensor_free(made[0]);
        return ctx->status;
    }
    *x = made[0];
    if (y) *y = made[1];
    return HONE_OK;
}
