/* What examples count in a fit: sample weights and class weights. */
#include "train/train.h"

#include <math.h>

/* The class of each row into class_of[rows]: its number, whether it is above 0.5, or its largest. */
static hone_status classes_of_rows(const hone__compiled *c, const hone_tensor *y, int64_t rows, double *values, size_t n, int64_t *class_of)
{
    int64_t width = hone_shape_count(y->shape) / y->shape.dim[0];
    hone__targets targets = c->outputs[0].loss ? c->outputs[0].loss->targets : HONE__CLASSES;
    bool wide = targets == HONE__CATEGORIES;
    if (targets == HONE__VALUES || targets == HONE__SEQUENCES || targets == HONE__RELATIONS || (wide ? y->shape.rank != 2 : width != 1))
        return hone__fail_run(c->ctx, HONE_INVALID, "fit: class_weights need one class an example; targets are %s",
                              HONE__SHAPE_STR(y->shape));
    for (int64_t r = 0; r < rows; r++) {
        hone_status status = hone_tensor_read(y, r * width, width, HONE_F64, values);
        if (status != HONE_OK) return status;
        int64_t best = 0;
        for (int64_t i = 1; i < width; i++)
            if (values[i] > values[best]) best = i;
        double v = wide ? (double)best : targets == HONE__BINARY ? values[0] > 0.5 : values[0];
        if (!(v < (double)n))
            return hone__fail_run(c->ctx, HONE_INVALID, "fit: row %lld is of class %g, there are %zu class_weights", (long long)r, v, n);
        class_of[r] = v < 0 ? -1 : (int64_t)v;
    }
    return HONE_OK;
}

static hone_status apply_class_weights(const hone__compiled *c, const hone_tensor *y, int64_t rows, const hone_fit_opts *o, float *weights)
{
    int64_t width = hone_shape_count(y->shape) / y->shape.dim[0];
    double *values = hone__alloc(c->ctx, (size_t)width * sizeof *values);
    int64_t *class_of = values ? hone__alloc(c->ctx, (size_t)rows * sizeof *class_of) : NULL;
    hone_status status = class_of ? classes_of_rows(c, y, rows, values, o->n_class_weights, class_of) : c->ctx->status;
    for (int64_t r = 0; r < rows && status == HONE_OK; r++)
        if (class_of[r] >= 0) weights[r] *= (float)o->class_weights[class_of[r]];
    hone__free(c->ctx, values);
    hone__free(c->ctx, class_of);
    return status;
}

hone_status hone__example_weights(const hone__compiled *c, const hone_tensor *y, int64_t trained, const hone_fit_opts *o,
                                  float **weights)
{
    *weights = NULL;
    int64_t rows = y->shape.dim[0];
    const hone_tensor *w = o->sample_weights;
    if (!w && !o->class_weights) return HONE_OK;
    if (o->class_weights && c->n_outputs > 1)
        return hone__fail_run(c->ctx, HONE_INVALID, "fit: class_weights are for models of one output, this one has %d; sample_weights "
                                                    "weigh rows for all", c->n_outputs);
    if (w && (hone_shape_count(w->shape) != rows || w->shape.rank < 1))
        return hone__fail_run(c->ctx, HONE_SHAPE, "fit: sample_weights are %s for %lld rows; one a row is wanted",
                              HONE__SHAPE_STR(w->shape), (long long)rows);
    float *made = hone__alloc(c->ctx, (size_t)rows * sizeof *made);
    hone_status status = made ? HONE_OK : HONE_MEMORY;
    for (int64_t r = 0; made && r < rows; r++) made[r] = 1;
    if (made && w) status = hone_tensor_read(w, 0, rows, HONE_F32, made);
    if (status == HONE_OK && o->class_weights) status = apply_class_weights(c, y, trained, o, made);
    for (int64_t r = 0; status == HONE_OK && r < rows; r++)
        if (!(made[r] >= 0 && isfinite(made[r])))
            status = hone__fail_run(c->ctx, HONE_INVALID, "fit: the weight of row %lld is %g; it must not be negative", (long long)r,
                                    (double)made[r]);
    if (status == HONE_OK)
        *weights = made;
    else
        hone__free(c->ctx, made);
    return status;
}
