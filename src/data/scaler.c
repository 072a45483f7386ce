/* A pipeline's scaling steps, on the columns of a tensor. */
#include "data/pipeline.h"

struct hone_scaler {
    hone_ctx *ctx;
    int64_t features;
    hone__learnt *learnt; /* [features]: a and b */
};

static bool fit_columns(hone_scaler *s, const hone__step *step, const hone_tensor *x)
{
    int64_t rows = x->shape.dim[0], count;
    double *values = hone__calloc(s->ctx, (size_t)rows, sizeof *values);
    char wrong[HONE__WRONG];
    for (int64_t c = 0; values && hone__ok(s->ctx) && c < s->features; c++) {
        for (int64_t r = 0; r < rows; r++) values[r] = ((const float *)x->data)[r * s->features + c];
        if (!hone__fit_scale(s->ctx, step, values, rows, &s->learnt[c], &count, wrong))
            hone__fail(s->ctx, HONE_NUMERIC, "%s: column %lld %s", hone__step_types[step->kind].name, (long long)c, wrong);
    }
    hone__free(s->ctx, values);
    return hone__ok(s->ctx);
}

hone_scaler *hone_scaler_fit_opt(const hone_tensor *x, const hone_scaler_opts *opts)
{
    if (!x || !hone__ok(x->ctx)) return NULL;
    hone_ctx *ctx = x->ctx;
    hone_scaler_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    hone__step step = {.kind = o.kind, .o = {.low = o.low, .high = o.high}};
    if (o.kind > HONE_ROBUST_SCALER) return hone__fail(ctx, HONE_INVALID, "step %d is no scaler", (int)o.kind), NULL;
    if (x->dtype != HONE_F32)
        return hone__fail(ctx, HONE_DTYPE, "a scaler is fitted on f32, not on %s", hone_dtype_name(x->dtype)), NULL;
    if (x->shape.rank != 2)
        return hone__fail(ctx, HONE_SHAPE, "a scaler is fitted on [rows, features], not on %s", HONE__SHAPE_STR(x->shape)), NULL;
    hone_scaler *s = hone__step_check(ctx, &step) ? hone__calloc(ctx, 1, sizeof *s) : NULL;
    if (!s) return NULL;
    s->ctx = hone_ctx_retain(ctx);
    s->features = x->shape.dim[1];
    s->learnt = hone__calloc(ctx, (size_t)s->features, sizeof *s->learnt);
    if (s->learnt && fit_columns(s, &step, x)) return s;
    hone_scaler_free(s);
    return NULL;
}

/* x scaled in place, or scaled back. */
static hone_status scale(const hone_scaler *s, hone_tensor *x, bool back)
{
    if (!s || !x) return HONE_INVALID;
    if (x->dtype != HONE_F32)
        return hone__fail_run(x->ctx, HONE_DTYPE, "a scaler is applied to f32, not to %s", hone_dtype_name(x->dtype));
    if (x->shape.rank != 2 || x->shape.dim[1] != s->features)
        return hone__fail_run(x->ctx, HONE_SHAPE, "the scaler was fitted on [rows, %lld] and cannot be applied to %s",
                              (long long)s->features, HONE__SHAPE_STR(x->shape));
    float *v = x->data;
    for (int64_t r = 0; r < x->shape.dim[0]; r++)
        for (int64_t c = 0; c < s->features; c++, v++)
            *v = (float)(back ? *v * s->learnt[c].b + s->learnt[c].a : (*v - s->learnt[c].a) / s->learnt[c].b);
    return HONE_OK;
}

hone_status hone_scaler_apply(const hone_scaler *s, hone_tensor *x) { return scale(s, x, false); }
hone_status hone_scaler_invert(const hone_scaler *s, hone_tensor *x) { return scale(s, x, true); }

void hone_scaler_free(hone_scaler *s)
{
    if (!s) return;
    hone_ctx *ctx = s->ctx;
    hone__free(ctx, s->learnt);
    hone__free(ctx, s);
    hone_ctx_release(ctx);
}
