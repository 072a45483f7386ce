/* What a batch is made of: the types in which the model takes it, and what is said of data that do not belong to the model. */
#include "train/train.h"

#include <math.h>
#include <stdio.h>

/* ---- types ---- */

/* Do layers of the library alone see the input first, and no embedding? Others may want numbers as they are. */
static bool wants_reals(const hone_layer *layer)
{
    while (layer->n_children && hone__find_layer_kind(layer->type)) layer = layer->children[0];
    return hone__find_layer_kind(layer->type) && strcmp(layer->type, "embedding") != 0;
}

hone_dtype hone__input_dtype(const hone_model *model, int i, hone_dtype given)
{
    if (given != HONE_F64 && given != HONE_U8) return given;
    const hone__functional *f = hone__functional_of(model);
    if (f) return i < f->n_inputs && f->inputs[i]->dtype == HONE_F32 ? HONE_F32 : given;
    return wants_reals(model->root) ? HONE_F32 : given;
}

hone_dtype hone__target_dtype(const hone__compiled *c, int k, hone_dtype given)
{
    const hone__loss_info *loss = c->outputs[k].loss;
    return loss && loss->targets == HONE__CLASSES && (given == HONE_F32 || given == HONE_F64) ? HONE_I32 : given;
}

hone_tensor *hone__as_dtype(hone_tensor *rows, hone_dtype wants)
{
    if (!rows || rows->dtype == wants) return rows;
    hone_tensor *cast = hone_tensor_cast(rows, wants);
    hone_tensor_free(rows);
    return cast;
}

hone_tensor *hone__input_rows(const hone_model *model, int i, const hone_tensor *x, int64_t count, const int64_t *order)
{
    return hone__as_dtype(hone__rows_of(x, count, order), hone__input_dtype(model, i, x->dtype));
}

/* ---- targets against an output, when the step is recorded ---- */

static hone_node *refuse(const hone__compiled *c, int k, const hone_node *output, const hone_node *target, const char *wanted, const char *hint)
{
    const hone__compiled_output *o = &c->outputs[k];
    const bool many = c->n_outputs > 1;
    hone__fail(c->ctx, HONE_SHAPE, "loss '%s': y%s%s%s is %s for an output of %s; %s%s", o->loss->name, many ? " of output '" : "",
               many ? o->name : "", many ? "'" : "", HONE__SHAPE_STR(target->shape), HONE__SHAPE_STR(output->shape), wanted, hint);
    return NULL;
}

hone_node *hone__check_target(hone__compiled *c, int k, const hone_node *output, hone_node *target)
{
    const hone__loss_info *loss = c->outputs[k].loss;
    if (!loss) return target;
    hone_shape rows = output->shape, t = target->shape;
    const bool same = hone_shape_equal(rows, t);
    c->outputs[k].classes = loss->targets == HONE__BINARY ? 2 : rows.rank ? rows.dim[rows.rank - 1] : 0;
    if (loss->targets == HONE__VALUES || loss->targets == HONE__BINARY)
        return hone_shape_count(t) == hone_shape_count(rows) ? target : refuse(c, k, output, target, "as many values are wanted", "");
    if (loss->targets == HONE__CATEGORIES)
        return same ? target
                    : refuse(c, k, output, target, "one value a class is wanted, as one-hot rows have",
                             hone__is_integer(target->dtype) ? " (class numbers go with the sparse losses)" : "");
    if (loss->targets != HONE__CLASSES || rows.rank < 1) return target;
    rows.dim[--rows.rank] = 0;
    if (t.rank == rows.rank + 1 && t.dim[rows.rank] == 1) t.rank--;
    if (!hone_shape_equal(rows, t) || !hone__is_integer(target->dtype))
        return refuse(c, k, output, target, "class numbers are wanted, one a row",
                      same ? " (one-hot rows go with the losses that are not sparse)" : "");
    return hone_shape_equal(rows, target->shape) ? target : hone_reshape(target, rows);
}

/* ---- what was wrong with a batch, looked for once something was ---- */

/* order: numbers of the batch's rows in the data; NULL: they are only known within the batch. */
static long long row_number(const hone_tensor *t, int64_t element, const int64_t *order)
{
    int64_t row = element / HONE_MAX(hone_shape_count(t->shape) / HONE_MAX(t->shape.dim[0], 1), 1);
    return (long long)(order ? order[row] : row);
}

hone_status hone__check_class_weights(const hone__compiled *c, size_t n)
{
    if (!c->outputs[0].loss || (int64_t)n <= c->outputs[0].classes) return HONE_OK;
    return hone__fail_run(c->ctx, HONE_INVALID, "fit: there are %zu class_weights, and the output has %lld classes", n,
                          (long long)c->outputs[0].classes);
}

hone_status hone__check_whole(const hone__compiled *c, int k, const hone_tensor *y, const int64_t *order)
{
    for (int64_t i = 0; i < hone_shape_count(y->shape); i++) {
        double v = hone_tensor_get(y, i);
        if (v == floor(v) && fabs(v) <= INT32_MAX) continue;
        return hone__fail_run(c->ctx, HONE_INVALID, "loss '%s': row %lld of %s is %g; class numbers are whole", c->outputs[k].loss->name,
                              row_number(y, i, order), order ? "y" : "a loader's batch of y", v);
    }
    return HONE_OK;
}

hone_status hone__blame_classes(const hone__compiled *c, hone_tensor *const *y, const int64_t *order, hone_status status)
{
    for (int k = 0; k < c->n_outputs; k++) {
        const hone__loss_info *loss = c->outputs[k].loss;
        if (!loss || loss->targets != HONE__CLASSES || !y[k]) continue;
        for (int64_t i = 0; i < hone_shape_count(y[k]->shape); i++) {
            double v = hone_tensor_get(y[k], i);
            if (v < (double)c->outputs[k].classes) continue;
            return hone__fail_run(c->ctx, status, "loss '%s': row %lld of %s is of class %g, and the output has %lld classes, from 0 on",
                                  loss->name, row_number(y[k], i, order), order ? "y" : "a loader's batch of y", v,
                                  (long long)c->outputs[k].classes);
        }
    }
    return status;
}

bool hone__find_nonfinite_row(hone_tensor *const *in, int n_x, int n, const int64_t *order, char *text, size_t size)
{
    for (int t = 0; t < n; t++)
        for (int64_t i = 0; in[t] && !hone__is_integer(in[t]->dtype) && i < hone_shape_count(in[t]->shape); i++) {
            if (isfinite(hone_tensor_get(in[t], i))) continue;
            snprintf(text, size, "row %lld of %s%s is not finite; ", row_number(in[t], i, order), order ? "" : "a loader's batch of ",
                     t < n_x ? "x" : "y");
            return true;
        }
    return false;
}
