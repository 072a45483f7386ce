/* compile: what is minimized, and the step that fit and evaluate run. */
#include "train/train.h"

#include <math.h>

/* ---- losses by number and name ---- */

static const hone__loss_info losses[] = {
#define HONE_LOSS(name, function, text, targets, logits) {text, function, HONE__##targets, logits},
#include "hone/loss.def"
#undef HONE_LOSS
};

const char *hone_loss_name(hone_loss loss) { return (unsigned)loss < HONE_LOSS_COUNT ? losses[loss].name : "?"; }

bool hone_loss_from_name(const char *name, hone_loss *loss)
{
    for (int i = 0; i < HONE_LOSS_COUNT; i++)
        if (!strcmp(losses[i].name, name)) return *loss = (hone_loss)i, true;
    return false;
}

/* ---- the recorded step: one value an example, their weighted sum, and the right answers ---- */

/* [B, ...] to the mean over each example's values, [B]. */
static hone_node *by_example(hone_node *each)
{
    hone_shape s = hone_node_shape(each);
    if (!each || s.rank < 2) return each;
    return hone_mean(hone_reshape(each, HONE_SHAPE(s.dim[0], hone_shape_count(s) / HONE_MAX(s.dim[0], 1))), HONE_AXES(1), false);
}

/* Per-example losses, f32 [B]. */
static hone_node *example_losses(const hone__compiled *c, hone_node *output, hone_node *target)
{
    if (c->custom_loss) return c->custom_loss(c->custom_user, output, target);
    hone__targets targets = c->loss->targets;
    if (targets == HONE__VALUES || targets == HONE__BINARY) target = hone_reshape(target, hone_node_shape(output));
    if (targets != HONE__CLASSES && targets != HONE__SEQUENCES) target = hone_cast(target, hone_node_dtype(output));
    return by_example(c->loss->function(output, target, &c->loss_options));
}

/* 1 where the answer is right, f32 [B]; NULL where the loss has no notion of it. */
static hone_node *right(const hone__compiled *c, hone_node *output, hone_node *target)
{
    if (!c->loss || !output) return NULL;
    hone_shape s = hone_node_shape(output);
    hone_graph *g = hone_node_graph(output);
    hone_node *same = NULL;
    switch (c->loss->targets) {
    case HONE__BINARY: {
        hone_node *said = hone_greater(output, hone_fill(g, HONE_F32, HONE_SCALAR, c->loss->logits ? 0 : 0.5));
        hone_node *is = hone_greater(hone_reshape(hone_cast(target, HONE_F32), s), hone_fill(g, HONE_F32, HONE_SCALAR, 0.5));
        same = hone_equal(said, is);
        break;
    }
    case HONE__CATEGORIES: same = hone_equal(hone_argmax(output, -1), hone_argmax(target, -1)); break;
    case HONE__CLASSES: same = hone_equal(hone_argmax(output, -1), hone_cast(target, HONE_I32)); break;
    default: return NULL;
    }
    return by_example(hone_cast(same, HONE_F32));
}

/* inputs: x, y, and for each example its weight / (examples in the whole step), so that micro-batches add up to the mean.
   outputs: the weighted sum of the losses, the sum of the right answers (-1: not known), and with metrics the output. */
static void record_step(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_model *model = user;
    hone__compiled *c = model->train;
    hone_node *output = hone_apply(model->root, in[0]);
    hone_node *each = output ? example_losses(c, output, in[1]) : NULL;
    if (!each) return;
    if (!hone_shape_equal(hone_node_shape(each), hone_node_shape(in[2]))) {
        hone__fail(graph->ctx, HONE_SHAPE, "the loss gives %s for a batch of %lld; one value an example is wanted",
                   HONE__SHAPE_STR(hone_node_shape(each)), (long long)hone_node_shape(in[2]).dim[0]);
        return;
    }
    hone_node *sum = hone_sum(hone_mul(each, in[2]), HONE_ALL_AXES, false), *yes = right(c, output, in[1]);
    out[0] = sum;
    out[1] = yes ? hone_sum(yes, HONE_ALL_AXES, false) : hone_fill(graph, HONE_F32, HONE_SCALAR, -1);
    if (c->n_metrics) out[2] = output;
    if (hone_graph_mode(graph) == HONE_TRAIN) hone_backward(sum, model);
}

/* ---- compile ---- */

static void free_metrics(hone_ctx *ctx, hone_metric **metrics, size_t n)
{
    for (size_t i = 0; i < n; i++) hone_metric_free(metrics[i]);
    hone__free(ctx, metrics);
}

static void free_compiled(void *train)
{
    hone__compiled *c = train;
    if (!c) return;
    hone_function_free(c->step);
    hone_function_free(c->predict);
    hone_optimizer_free(c->optimizer);
    free_metrics(c->ctx, c->metrics, c->n_metrics);
    hone__free(c->ctx, c);
}

hone__compiled *hone__compiled_of(hone_model *model)
{
    if (model->train) return model->train;
    hone__compiled *c = hone__calloc(model->ctx, 1, sizeof *c);
    if (!c) return NULL;
    c->ctx = model->ctx;
    model->train = c;
    model->train_free = free_compiled;
    return c;
}

hone_function *hone__model_function(hone_model *model, int n_in, int n_out, hone_forward_fn forward, hone_dtype compute)
{
    return hone_function_new(model->ctx, n_in, n_out, forward, model, .compute = compute);
}

/* One name, from `from` to its comma: trimmed, and the metric made. */
static hone_metric *metric_named(hone_ctx *ctx, const char *from, size_t length, const hone_metric_opts *o)
{
    while (length && *from == ' ') from++, length--;
    while (length && from[length - 1] == ' ') length--;
    char *name = hone__strndup(ctx, from, length);
    hone_metric *m = name ? hone_metric_new_opt(ctx, name, o) : NULL;
    hone__free(ctx, name);
    if (!m || m->type->update) return m;
    hone__fail(ctx, HONE_INVALID, "compile: metric '%s' compares texts, not outputs of a model", hone_metric_name(m));
    hone_metric_free(m);
    return NULL;
}

/* Comma-separated names; false: error (sticky). */
static bool make_metrics(hone__compiled *made, hone_ctx *ctx, const char *names)
{
    size_t capacity = 0;
    hone_metric_opts o = {.struct_size = sizeof o,
                          .elementwise = made->loss && made->loss->targets == HONE__BINARY,
                          .from_logits = made->loss && made->loss->logits};
    for (const char *at = names, *end; at; at = *end ? end + 1 : NULL) {
        end = at + strcspn(at, ",");
        hone_metric *m = metric_named(ctx, at, (size_t)(end - at), &o);
        if (!m) return false;
        if (!hone__grow(ctx, (void **)&made->metrics, &capacity, made->n_metrics + 1, sizeof *made->metrics)) {
            hone_metric_free(m);
            return false;
        }
        made->metrics[made->n_metrics++] = m;
    }
    return true;
}

static bool check_options(hone_ctx *ctx, const hone_compile_opts *o)
{
    const hone_loss_opts *l = &o->loss_options;
    if ((unsigned)o->loss >= HONE_LOSS_COUNT)
        hone__fail(ctx, HONE_INVALID, "compile: loss %d does not exist", (int)o->loss);
    else if (l->weights || l->class_weights || l->output_lengths || l->target_lengths || l->reduction)
        hone__fail(ctx, HONE_INVALID, "compile: loss_options may hold numbers only; weights of classes and samples are given to "
                                      "hone_fit, other nodes to a custom_loss");
    return hone__ok(ctx);
}

hone_status hone_compile_opt(hone_model *model, const hone_compile_opts *opts)
{
    static const hone_compile_opts none = {0};
    if (!model) return HONE_INVALID;
    if (!opts) opts = &none;
    hone_ctx *ctx = model->ctx;
    hone_optimizer *optimizer = opts->optimizer ? opts->optimizer : hone_adam(ctx);
    hone__compiled *c = hone__ok(ctx) && check_options(ctx, opts) ? hone__compiled_of(model) : NULL;
    hone__compiled made = {.ctx = ctx,
                           .optimizer = optimizer,
                           .loss = opts->custom_loss || !c ? NULL : &losses[opts->loss],
                           .loss_options = opts->loss_options,
                           .custom_loss = opts->custom_loss,
                           .custom_user = opts->custom_user,
                           .max_grad_norm = opts->max_grad_norm,
                           .compute = opts->compute,
                           .max_grad_value = opts->max_grad_value};
    made.loss_options.reduction = HONE_REDUCE_NONE;
    if (c && make_metrics(&made, ctx, opts->metrics))
        made.step = hone__model_function(model, 3, made.n_metrics ? 3 : 2, record_step, opts->compute);
    if (!made.step) {
        hone_optimizer_free(optimizer);
        free_metrics(ctx, made.metrics, made.n_metrics);
        return ctx->status;
    }
    hone_function_free(c->step);
    hone_optimizer_free(c->optimizer);
    free_metrics(ctx, c->metrics, c->n_metrics);
    made.predict = c->predict;
    *c = made;
    return HONE_OK;
}

/* ---- weights of examples ---- */

/* The class of each row into class_of[rows]: its number, whether it is above 0.5, or its largest. */
static hone_status classes_of_rows(const hone__compiled *c, const hone_tensor *y, int64_t rows, double *values, size_t n, int64_t *class_of)
{
    int64_t width = hone_shape_count(y->shape) / y->shape.dim[0];
    hone__targets targets = c->loss ? c->loss->targets : HONE__CLASSES;
    bool wide = targets == HONE__CATEGORIES;
    if (targets == HONE__VALUES || targets == HONE__SEQUENCES || (!wide && width != 1))
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
