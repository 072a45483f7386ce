/* The target of a pipeline: what y holds is learnt from the training data, classes are numbered and named again. */
#include "data/pipeline.h"

#include <math.h>

/* The target's column, found and checked. */
static hone_status target_of(const hone_pipeline *p, const hone_frame *frame, const hone_column **column)
{
    if (!p->target) return hone__fail_run(p->ctx, HONE_INVALID, "y was asked for, and the pipeline has no target");
    return hone__frame_target(p->ctx, frame, p->target, p->label_is_asked && p->label.o.ignore_unknown, column);
}

static bool is_encoded(const hone_pipeline *p) { return p->target_type == HONE__TARGET_TEXT || p->target_type == HONE__TARGET_LABEL; }

hone_status hone__name_classes(hone_pipeline *p)
{
    const hone__learnt *l = p->label.learnt;
    p->n_classes = 0;
    if (!(p->classes = hone__arena_alloc(&p->fitted, l->n * sizeof *p->classes))) return p->ctx->status;
    for (size_t i = 0; i < l->n; i++) {
        char number[HONE__NUMBER];
        p->classes[i] = l->texts ? l->texts[i] : hone__arena_strdup(&p->fitted, hone__number_text(l->numbers[i], number));
        if (!p->classes[i]) return p->ctx->status;
    }
    p->n_classes = l->n;
    return HONE_OK;
}

static hone_status fit_labels(hone_pipeline *p, const hone_frame *frame, const hone_column *c)
{
    hone__step *s = &p->label;
    s->kind = HONE_LABEL_ENCODER;
    s->n_learnt = 0;
    if (!(s->learnt = hone__arena_alloc(&p->fitted, sizeof *s->learnt))) return p->ctx->status;
    if (!(s->learnt->column = hone__arena_strdup(&p->fitted, c->name))) return p->ctx->status;
    hone_status status = hone__step_types[s->kind].fit(p, s, frame, c, s->learnt);
    if (status == HONE_OK) status = hone__name_classes(p);
    if (status != HONE_OK) return status;
    s->n_learnt = 1;
    if (s->o.ignore_unknown && s->o.unknown_value >= 0 && s->o.unknown_value < (double)p->n_classes)
        return hone__fail_run(p->ctx, HONE_INVALID, "label_encoder: unknown_value is %g, which is the number of class '%.60s'",
                              s->o.unknown_value, p->classes[(size_t)s->o.unknown_value]);
    return HONE_OK;
}

hone_status hone__target_fit(hone_pipeline *p, const hone_frame *frame)
{
    const hone_column *c;
    p->target_type = HONE__TARGET_NONE;
    p->n_classes = 0;
    if (!p->target) return HONE_OK;
    hone_status status = target_of(p, frame, &c);
    if (status != HONE_OK) return status;
    p->target_type = p->label_is_asked                     ? HONE__TARGET_LABEL
                     : hone__is_text(c)                    ? HONE__TARGET_TEXT
                     : hone__are_classes(c, frame->rows) ? HONE__TARGET_CLASS
                                                           : HONE__TARGET_REAL;
    return is_encoded(p) ? fit_labels(p, frame, c) : HONE_OK;
}

static hone_status encode(const hone_pipeline *p, const hone_frame *frame, const hone_column *c, int32_t *y)
{
    const hone__step *s = &p->label;
    hone_status status = hone__encode(p, s, frame, c, s->learnt, y);
    for (int64_t r = 0; status == HONE_OK && r < frame->rows; r++)
        if (y[r] < 0) y[r] = (int32_t)s->o.unknown_value;
    return status;
}

static hone_status copy_classes(const hone_pipeline *p, const hone_frame *frame, const hone_column *c, int32_t *y)
{
    for (int64_t r = 0; r < frame->rows; r++) {
        if (!hone__is_class(c->numbers[r]))
            return hone__fail_run(p->ctx, HONE_INVALID, "the target '%.60s' is %g in row %lld; in training all were whole numbers from 0",
                                  p->target, c->numbers[r], (long long)hone_frame_origin(frame, r));
        y[r] = (int32_t)c->numbers[r];
    }
    return HONE_OK;
}

hone_status hone__target_apply(const hone_pipeline *p, const hone_frame *frame, hone_tensor **y)
{
    const hone_column *c;
    hone_status status = target_of(p, frame, &c);
    bool text = is_encoded(p) && !p->label.learnt->numbers;
    if (status == HONE_OK && hone__is_text(c) != text && !hone__is_empty(c, frame->rows))
        status = hone__fail_run(p->ctx, HONE_DTYPE, "the target '%.60s' holds %s here and held %s in training", p->target,
                                text ? "numbers" : "text", text ? "text" : "numbers");
    if (status != HONE_OK) return status;
    bool real = p->target_type == HONE__TARGET_REAL;
    if (!(*y = hone_tensor_new(p->ctx, real ? HONE_F32 : HONE_I32, HONE_SHAPE(frame->rows)))) return p->ctx->status;
    if (is_encoded(p)) return encode(p, frame, c, (*y)->data);
    if (!real) return copy_classes(p, frame, c, (*y)->data);
    for (int64_t r = 0; status == HONE_OK && r < frame->rows; r++) status = hone__narrow(p->ctx, frame, c, r, (float *)(*y)->data + r);
    return status;
}

hone_status hone_pipeline_invert_target(const hone_pipeline *p, const hone_tensor *y, const char **names)
{
    if (!p || !y || !names) return HONE_INVALID;
    if (!hone__ok(p->ctx)) return p->ctx->status;
    if (!p->is_fitted) return hone__fail_run(p->ctx, HONE_STATE, "the pipeline is not fitted: call hone_pipeline_fit first");
    if (!is_encoded(p))
        return hone__fail_run(p->ctx, HONE_INVALID, "the pipeline's target has no classes: it is no text, and HONE_LABEL_ENCODER was not added");
    if (y->dtype != HONE_I32) return hone__fail_run(p->ctx, HONE_DTYPE, "class numbers are i32, not %s", hone_dtype_name(y->dtype));
    if (y->shape.rank != 1)
        return hone__fail_run(p->ctx, HONE_SHAPE, "class numbers are [rows], not %s", HONE__SHAPE_STR(y->shape));
    const int32_t *numbers = y->data;
    for (int64_t r = 0; r < y->shape.dim[0]; r++) {
        bool unknown = p->label.o.ignore_unknown && numbers[r] == p->label.o.unknown_value;
        if (!unknown && (numbers[r] < 0 || (size_t)numbers[r] >= p->n_classes))
            return hone__fail_run(p->ctx, HONE_INVALID, "row %lld: %d is the number of none of the %zu classes", (long long)r, numbers[r],
                                  p->n_classes);
        names[r] = unknown ? NULL : p->classes[numbers[r]];
    }
    return HONE_OK;
}

size_t hone_pipeline_classes(const hone_pipeline *p) { return p && p->is_fitted ? p->n_classes : 0; }
const char *hone_pipeline_class(const hone_pipeline *p, size_t i) { return i < hone_pipeline_classes(p) ? p->classes[i] : NULL; }
