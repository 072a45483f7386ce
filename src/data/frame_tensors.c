/* From a frame's columns to tensors: features side by side, and what a target is. */
#include "data/csv.h"
#include "data/frame.h"

#include <math.h>

hone_status hone__refuse_text(hone_ctx *ctx, const hone_frame *frame, const hone_column *c, const char *is, const char *what)
{
    int64_t shown = -1; /* what is no number stands for the mistake in a column of numbers: "?", "12 km" */
    for (int64_t r = 0; r < frame->rows; r++) {
        if (c->codes[r] < 0) continue;
        bool number = hone__is_number(c->categories[c->codes[r]]);
        if (shown < 0 || !number) shown = r;
        if (!number) break;
    }
    if (shown < 0) return hone__fail_run(ctx, HONE_DTYPE, "column '%.60s' %s text %s", c->name, is, what);
    return hone__fail_run(ctx, HONE_DTYPE, "column '%.60s' %s text %s (\"%.60s\" in row %lld)", c->name, is, what,
                          c->categories[c->codes[shown]], (long long)hone_frame_origin(frame, shown));
}

hone_status hone__narrow(hone_ctx *ctx, const hone_frame *frame, const hone_column *c, int64_t row, float *value)
{
    double v = c->numbers[row];
    *value = (float)v;
    if (!isinf(*value) || isinf(v)) return HONE_OK;
    return hone__fail_run(ctx, HONE_NUMERIC, "column '%.60s', row %lld: a number too large for a tensor's 32 bits", c->name,
                          (long long)hone_frame_origin(frame, row));
}

hone_status hone__frame_features(hone_ctx *ctx, const hone_frame *frame, const hone_column *without, hone_tensor **x)
{
    int64_t n = (int64_t)frame->n_columns - (without != NULL), k = 0;
    if (!(*x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(frame->rows, n)))) return ctx->status;
    hone_status status = HONE_OK;
    for (const hone_column *c = frame->columns; status == HONE_OK && c < frame->columns + frame->n_columns; c++) {
        if (c == without) continue;
        if (hone__is_text(c)) {
            status = hone__refuse_text(ctx, frame, c, "is", "and features are numbers: a pipeline encodes or drops it");
            continue;
        }
        float *value = (float *)(*x)->data + k++;
        for (int64_t r = 0; status == HONE_OK && r < frame->rows; r++, value += n) status = hone__narrow(ctx, frame, c, r, value);
    }
    if (status == HONE_OK) return HONE_OK;
    hone_tensor_free(*x);
    *x = NULL;
    return status;
}

/* ---- the target ---- */

bool hone__is_class(double v) { return v >= 0 && v <= INT32_MAX && v == floor(v); }

bool hone__are_classes(const hone_column *c, int64_t rows)
{
    bool classes = true;
    for (int64_t r = 0; classes && r < rows; r++) classes = hone__is_class(c->numbers[r]);
    return classes;
}

hone_status hone__frame_target(hone_ctx *ctx, const hone_frame *frame, const char *name, bool may_miss, const hone_column **column)
{
    const hone_column *c = *column = hone_frame_find(frame, name);
    if (!c) return hone__fail_run(ctx, HONE_NOT_FOUND, "there is no column '%.60s', which is the target", name);
    for (int64_t r = 0; r < frame->rows; r++) {
        bool missing = hone_column_missing(c, r), infinite = c->numbers && isinf(c->numbers[r]);
        if (infinite || (missing && !may_miss))
            return hone__fail_run(ctx, HONE_INVALID, "the target '%.60s' is %s in row %lld; %s", name,
                                  missing ? "missing" : "infinite", (long long)hone_frame_origin(frame, r),
                                  missing ? "hone_frame_drop_missing drops rows without one" : "it must be a finite number");
    }
    return HONE_OK;
}

/* i32 [rows] of text and of class numbers, else f32 [rows]. */
static hone_status target_tensor(hone_ctx *ctx, const hone_frame *frame, const hone_column *c, hone_tensor **y)
{
    bool classes = c->codes || hone__are_classes(c, frame->rows);
    if (!(*y = hone_tensor_new(ctx, classes ? HONE_I32 : HONE_F32, HONE_SHAPE(frame->rows)))) return ctx->status;
    hone_status status = HONE_OK;
    for (int64_t r = 0; status == HONE_OK && r < frame->rows; r++) {
        if (!classes)
            status = hone__narrow(ctx, frame, c, r, (float *)(*y)->data + r);
        else
            ((int32_t *)(*y)->data)[r] = c->codes ? c->codes[r] : (int32_t)c->numbers[r];
    }
    return status;
}

hone_status hone_frame_to_tensors(const hone_frame *frame, const char *target, hone_tensor **x, hone_tensor **y)
{
    if (x) *x = NULL;
    if (y) *y = NULL;
    if (!frame || !x) return HONE_INVALID;
    hone_ctx *ctx = ((const hone__frame *)frame)->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (!target != !y)
        return hone__fail_run(ctx, HONE_INVALID, "%s",
                              target ? "a target is named, and y is NULL" : "y was asked for, and no target is named");
    const hone_column *c = NULL;
    hone_status status = target ? hone__frame_target(ctx, frame, target, false, &c) : HONE_OK;
    if (status == HONE_OK) status = hone__frame_features(ctx, frame, c, x);
    if (status == HONE_OK && target) status = target_tensor(ctx, frame, c, y);
    if (status == HONE_OK) return HONE_OK;
    hone_tensor_free(*x);
    *x = NULL;
    if (y) {
        hone_tensor_free(*y);
        *y = NULL;
    }
    return status;
}
