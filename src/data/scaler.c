/* Standardization by column: z = (x - mean) / standard deviation. */
#include "data/data.h"

#include <math.h>

struct hone_scaler {
    hone_ctx *ctx;
    int64_t features;
    double *mean, *scale; /* [features], one allocation; scale: 1 / deviation, 1 where nothing varies */
};

/* What the columns come to, f64: two passes, as the one-pass formula cancels. */
typedef struct column {
    double sum, squares; /* squares: of x - mean */
    float least, most;
    int64_t count; /* of values that are not NaN */
} column;

static hone_status measure(const hone_tensor *x, column *columns)
{
    int64_t rows = x->shape.dim[0], features = x->shape.dim[1];
    const float *values = x->data;
    for (int64_t c = 0; c < features; c++) columns[c] = (column){.least = INFINITY, .most = -INFINITY};
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < features; c++) {
            float v = values[r * features + c];
            if (isnan(v)) continue;
            if (isinf(v))
                return hone__fail(x->ctx, HONE_NUMERIC,
                                  "row %lld, column %lld (from 0) is infinite and cannot be scaled",
                                  (long long)r, (long long)c);
            columns[c].sum += v;
            columns[c].least = fminf(columns[c].least, v);
            columns[c].most = fmaxf(columns[c].most, v);
            columns[c].count++;
        }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < features; c++) {
            float v = values[r * features + c];
            if (isnan(v)) continue;
            double off = v - columns[c].sum / (double)columns[c].count;
            columns[c].squares += off * off;
        }
    return HONE_OK;
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
    size_t features = (size_t)x->shape.dim[1];
    hone_scaler *s = hone__calloc(ctx, 1, sizeof *s);
    column *columns = s ? hone__calloc(ctx, features, sizeof *columns) : NULL;
    if (columns) s->mean = hone__calloc(ctx, features, 2 * sizeof *s->mean);
    bool ok = columns && s->mean && measure(x, columns) == HONE_OK;
    if (ok) {
        s->ctx = hone_ctx_retain(ctx);
        s->features = (int64_t)features;
        s->scale = s->mean + features;
        for (size_t c = 0; c < features; c++) {
            column m = columns[c];
            s->mean[c] = m.count ? m.sum / (double)m.count : 0;
            /* not by the squares: those of a column of equal values need not be zero */
            s->scale[c] = m.least < m.most ? 1 / sqrt(m.squares / (double)m.count) : 1;
        }
    }
    hone__free(ctx, columns);
    if (ok) return s;
    if (s) hone__free(ctx, s->mean);
    hone__free(ctx, s);
    return NULL;
}

hone_status hone_scaler_apply(const hone_scaler *s, hone_tensor *x)
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
            *values = (float)((*values - s->mean[c]) * s->scale[c]);
    return HONE_OK;
}

void hone_scaler_free(hone_scaler *s)
{
    if (!s) return;
    hone_ctx *ctx = s->ctx;
    hone__free(ctx, s->mean);
    hone__free(ctx, s);
    hone_ctx_release(ctx);
}
