/* Pipelines: steps in their order, fitted on one frame and applied to others. */
#include "data/pipeline.h"

#include <math.h>

/* ---- building ---- */

hone_pipeline *hone_pipeline_new_opt(hone_ctx *ctx, const hone_pipeline_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_pipeline *p = hone__calloc(ctx, 1, sizeof *p);
    if (!p) return NULL;
    p->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&p->arena, ctx);
    hone__arena_init(&p->fitted, ctx);
    if (opts && opts->target && !(p->target = hone__arena_strdup(&p->arena, opts->target))) {
        hone_pipeline_free(p);
        return NULL;
    }
    return p;
}

void hone_pipeline_free(hone_pipeline *p)
{
    if (!p) return;
    hone_ctx *ctx = p->ctx;
    hone__free(ctx, p->steps);
    hone__arena_free(&p->arena);
    hone__arena_free(&p->fitted);
    hone__free(ctx, p);
    hone_ctx_release(ctx);
}

hone__step *hone__pipeline_append(hone_pipeline *p, hone_pipeline_step kind, const hone_pipeline_add_opts *o)
{
    bool label = kind == HONE_LABEL_ENCODER;
    if (label && (!p->target || p->label_is_asked))
        return hone__fail(p->ctx, HONE_INVALID, "label_encoder: the pipeline has %s", p->target ? "one already" : "no target"), NULL;
    if (!label && !hone__grow(p->ctx, (void **)&p->steps, &p->capacity, p->n_steps + 1, sizeof *p->steps)) return NULL;
    hone__step *s = label ? &p->label : &p->steps[p->n_steps];
    *s = (hone__step){.kind = kind};
    if (o) memcpy(&s->o, o, HONE_MIN(o->struct_size, sizeof s->o));
    if (!hone__step_check(p->ctx, s)) return NULL;
    if (s->o.fill_text && !(s->o.fill_text = hone__arena_strdup(&p->arena, s->o.fill_text))) return NULL;
    if (s->o.columns) {
        size_t n = 0;
        while (s->o.columns[n]) n++;
        const char **names = hone__arena_alloc(&p->arena, (n + 1) * sizeof *names); /* ends with NULL */
        for (size_t i = 0; names && i < n; i++)
            if (!(names[i] = hone__arena_strdup(&p->arena, s->o.columns[i]))) return NULL;
        if (!names) return NULL;
        s->o.columns = names;
    }
    if (label)
        p->label_is_asked = true;
    else
        p->n_steps++;
    return s;
}

hone_status hone_pipeline_add_opt(hone_pipeline *p, hone_pipeline_step kind, const hone_pipeline_add_opts *opts)
{
    if (!p) return HONE_INVALID;
    if (!hone__ok(p->ctx)) return p->ctx->status;
    if ((unsigned)kind > HONE_DROP_COLUMNS) return hone__fail(p->ctx, HONE_INVALID, "there is no step of kind %d", (int)kind);
    if (p->is_fitted) return hone__fail(p->ctx, HONE_STATE, "%s: the pipeline is fitted already", hone__step_types[kind].name);
    hone__pipeline_append(p, kind, opts);
    return p->ctx->status;
}

/* ---- the way of a frame through it ---- */

/* Appends a column of missing values. */
static hone_status add_empty(const hone_pipeline *p, hone_frame *f, const hone__input *in)
{
    size_t size = in->text ? sizeof(int32_t) : sizeof(double);
    void *values = hone__calloc(p->ctx, (size_t)f->rows, size);
    hone_column like = {.name = in->name, .type = in->text ? HONE_COLUMN_TEXT : HONE_COLUMN_REAL};
    if (!values) return p->ctx->status;
    if (in->text)
        like.codes = values;
    else
        like.numbers = values;
    for (int64_t r = 0; r < f->rows; r++) {
        if (in->text)
            like.codes[r] = -1;
        else
            like.numbers[r] = NAN;
    }
    hone__frame_copy(f, &like);
    hone__free(p->ctx, values);
    return p->ctx->status;
}

/* Nobody looks at a column that the first steps drop: it need not be there. */
static bool is_dropped_first(const hone_pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_steps && p->steps[i].kind == HONE_DROP_COLUMNS; i++)
        for (size_t k = 0; k < p->steps[i].n_learnt; k++)
            if (!strcmp(p->steps[i].learnt[k].column, name)) return true;
    return false;
}

static hone_status add_input(const hone_pipeline *p, hone_frame *f, const hone__input *in, const hone_frame *from)
{
    const hone_column *c = hone_frame_find(from, in->name);
    if (!c && p->is_fitted && is_dropped_first(p, in->name)) return add_empty(p, f, in);
    if (!c)
        return hone__fail_run(p->ctx, HONE_NOT_FOUND, "column '%.60s' is missing; the pipeline was fitted on it", in->name);
    if (hone__is_text(c) == in->text) {
        hone__frame_copy(f, c);
        return p->ctx->status;
    }
    if (hone__is_empty(c, from->rows)) return add_empty(p, f, in);
    if (!in->text) return hone__refuse_text(p->ctx, from, c, "holds", "here and held numbers in training");
    return hone__fail_run(p->ctx, HONE_DTYPE, "column '%.60s' holds numbers here and held text in training; name it in .text when the "
                                              "file is read", in->name);
}

/* The columns that the pipeline was fitted on, in that order, in a frame of their own. */
static hone_status inputs_of(const hone_pipeline *p, const hone_frame *frame, hone_frame **inputs)
{
    *inputs = hone_frame_new(p->ctx, frame->rows);
    hone_status status = p->ctx->status;
    if (*inputs && !hone__frame_follow(*inputs, frame)) status = p->ctx->status;
    for (size_t i = 0; status == HONE_OK && i < p->n_inputs; i++) status = add_input(p, *inputs, &p->inputs[i], frame);
    if (status == HONE_OK) return HONE_OK;
    hone_frame_free(*inputs);
    *inputs = NULL;
    return status;
}

static hone_status fit_inputs(hone_pipeline *p, const hone_frame *frame)
{
    p->n_inputs = 0;
    if (!(p->inputs = hone__arena_alloc(&p->fitted, frame->n_columns * sizeof *p->inputs))) return p->ctx->status;
    for (size_t i = 0; i < frame->n_columns; i++) {
        const hone_column *c = &frame->columns[i];
        if (p->target && !strcmp(c->name, p->target)) continue;
        hone__input *in = &p->inputs[p->n_inputs++];
        in->text = hone__is_text(c);
        if (!(in->name = hone__arena_strdup(&p->fitted, c->name))) break;
    }
    return p->ctx->status;
}

/* ---- fit and apply ---- */

static hone_status fit_features(hone_pipeline *p, const hone_frame *f)
{
    p->n_features = 0;
    if (!(p->features = hone__arena_alloc(&p->fitted, f->n_columns * sizeof *p->features))) return p->ctx->status;
    for (size_t i = 0; i < f->n_columns; i++) {
        if (hone__is_text(&f->columns[i]))
            return hone__refuse_text(p->ctx, f, &f->columns[i], "is",
                                     "and no step encodes it: add HONE_ONE_HOT_ENCODER, or drop it with HONE_DROP_COLUMNS");
        if (!(p->features[p->n_features++] = hone__arena_strdup(&p->fitted, f->columns[i].name))) return p->ctx->status;
    }
    return HONE_OK;
}

hone_status hone_pipeline_fit(hone_pipeline *p, const hone_frame *frame)
{
    if (!p || !frame) return HONE_INVALID;
    if (!hone__ok(p->ctx)) return p->ctx->status;
    if (!frame->rows) return hone__fail_run(p->ctx, HONE_INVALID, "there are no rows to fit a pipeline on");
    if (p->is_loaded) return hone__fail_run(p->ctx, HONE_STATE, "a pipeline that was loaded is fitted already, once and for all");
    p->is_fitted = false;
    hone__arena_free(&p->fitted);
    hone_frame *f = NULL;
    hone_status status = hone__target_fit(p, frame);
    if (status == HONE_OK) status = fit_inputs(p, frame);
    if (status == HONE_OK) status = inputs_of(p, frame, &f);
    for (size_t i = 0; status == HONE_OK && i < p->n_steps; i++) status = hone__step_fit(p, &p->steps[i], f);
    if (status == HONE_OK) status = fit_features(p, f);
    hone_frame_free(f);
    p->is_fitted = status == HONE_OK;
    return status;
}

/* The frame's columns side by side. */
static hone_status make_features(const hone_pipeline *p, const hone_frame *f, hone_tensor **x)
{
    size_t n = p->n_features;
    bool same = f->n_columns == n; /* a damaged file could say otherwise */
    for (size_t i = 0; same && i < n; i++) same = f->columns[i].numbers && !strcmp(f->columns[i].name, p->features[i]);
    if (!same) return hone__fail_run(p->ctx, HONE_FORMAT, "the pipeline's steps don't make the features that it names");
    return hone__frame_features(p->ctx, f, NULL, x);
}

hone_status hone_pipeline_apply(const hone_pipeline *p, const hone_frame *frame, hone_tensor **x, hone_tensor **y)
{
    if (x) *x = NULL;
    if (y) *y = NULL;
    if (!p || !frame || !x) return HONE_INVALID;
    if (!hone__ok(p->ctx)) return p->ctx->status;
    if (!p->is_fitted) return hone__fail_run(p->ctx, HONE_STATE, "the pipeline is not fitted: call hone_pipeline_fit first");
    hone_frame *f;
    hone_status status = inputs_of(p, frame, &f);
    for (size_t i = 0; status == HONE_OK && i < p->n_steps; i++) status = hone__step_apply(p, &p->steps[i], f);
    if (status == HONE_OK) status = make_features(p, f, x);
    if (status == HONE_OK && y) status = hone__target_apply(p, frame, y);
    hone_frame_free(f);
    if (status == HONE_OK) return HONE_OK;
    hone_tensor_free(*x);
    *x = NULL;
    if (y) {
        hone_tensor_free(*y);
        *y = NULL;
    }
    return status;
}

size_t hone_pipeline_features(const hone_pipeline *p) { return p && p->is_fitted ? p->n_features : 0; }
const char *hone_pipeline_feature(const hone_pipeline *p, size_t i)
{
    return i < hone_pipeline_features(p) ? p->features[i] : NULL;
}
