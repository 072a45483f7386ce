/* Standardization by column: z = (x - mean) / standard deviation. */
#include "data/frame.h"

#include <math.h>

struct hone_scaler {
    hone_ctx *ctx;
    int64_t features;
    double *mean, *scale; /* [features], one allocation; scale: 1 / deviation, 1 where nothing varies */
};

/* Column c of x [rows, features] into values [rows]; false where it is infinite. */
static bool gather(const hone_tensor *x, int64_t c, double *values)
{
    int64_t features = x->shape.dim[1];
    for (int64_t r = 0; r < x->shape.dim[0]; r++) {
        values[r] = ((const float *)x->data)[r * features + c];
        if (!isinf(values[r])) continue;
        hone__fail(x->ctx, HONE_NUMERIC, "row %lld, column %lld (from 0) is infinite and cannot be scaled", (long long)r,
                   (long long)c);
        return false;
    }
    return true;
}

hone_scaler *hone_scaler_fit(const hone_tensor *x)
{
    if (!x || !hone__ok(x->ctx)) return NULL;
    hone_ctx *ctx = x->ctx;
    if (x->dtype != HONE_F32)
        return hone__fail(ctx, HONE_DTYPE, "a scaler is fitted on f32, not on %s", hone_dtype_name(x->dtype)),
               NULL;
    if (x->shape.rank != 2)
        return hone__fail(ctx, HONE_SHAPE, "a scaler is fitted on a table [rows, features], not on %s",
                          HONE__SHAPE_STR(x->shape)),
               NULL;
    int64_t rows = x->shape.dim[0], features = x->shape.dim[1];
    hone_scaler *s = hone__calloc(ctx, 1, sizeof *s);
    double *values = s ? hone__calloc(ctx, (size_t)rows, sizeof *values) : NULL;
    if (values) s->mean = hone__calloc(ctx, (size_t)features, 2 * sizeof *s->mean);
    bool ok = values && s->mean;
    for (int64_t c = 0; ok && c < features; c++) {
        ok = gather(x, c, values);
        hone__moments m = hone__measure(values, rows);
        s->mean[c] = m.mean;
        s->mean[features + c] = m.deviation > 0 ? 1 / m.deviation : 1;
    }
    hone__free(ctx, values);
    if (ok) {
        s->ctx = hone_ctx_retain(ctx);
        s->features = features;
        s->scale = s->mean + features;
        return s;
    }
    if (s) hone__free(ctx, s->mean);
    hone__free(ctx, s);
    return NULL;
}

/* x scaled in place, or scaled back. */
static hone_status scale(const hone_scaler *s, hone_tensor *x, bool back)
{
    if (!s || !x) return HONE_INVALID;
    if (x->dtype != HONE_F32)
        return hone__fail_run(x->ctx, HONE_DTYPE, "a scaler is applied to f32, not to %s",
                              hone_dtype_name(x->dtype));
    if (x->shape.rank != 2 || x->shape.dim[1] != s->features)
        return hone__fail_run(x->ctx, HONE_SHAPE,
                              "the scaler was fitted on [rows, %lld] and cannot be applied to %s",
                              (long long)s->features, HONE__SHAPE_STR(x->shape));
    float *values = x->data;
    for (int64_t r = 0; r < x->shape.dim[0]; r++)
        for (int64_t c = 0; c < s->features; c++, values++)
            *values = (float)(back ? *values / s->scale[c] + s->mean[c] : (*values - s->mean[c]) * s->scale[c]);
    return HONE_OK;
}

hone_status hone_scaler_apply(const hone_scaler *s, hone_tensor *x) { return scale(s, x, false); }
hone_status hone_scaler_invert(const hone_scaler *s, hone_tensor *x) { return scale(s, x, true); }

void hone_scaler_free(hone_scaler *s)
{
    if (!s) return;
    hone_ctx *ctx = s->ctx;
    hone__free(ctx, s->mean);
    hone__free(ctx, s);
    hone_ctx_release(ctx);
}
