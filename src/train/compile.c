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
    if (hone_added_loss(graph)) each = hone_add(each, hone_added_loss(graph));
    hone_node *sum = hone_sum(hone_mul(each, in[2]), HONE_ALL_AXES, false), *yes = right(c, output, in[1]);
    out[0] = sum;
    out[1] = yes ? hone_sum(yes, HONE_ALL_AXES, false) : hone_fill(graph, HONE_F32, HONE_SCALAR, -1);
    if (c->n_metrics) out[2] = output;
    if (hone_graph_mode(graph) == HONE_TRAIN) hone_backward(sum, model);
}

/* ---- compile ---- */

static void free_metrics(hone__compiled *c)
{
    for (size_t i = 0; i < c->n_metrics; i++) {
        hone_metric_free(c->metrics[i].metric);
        hone__free(c->ctx, c->metrics[i].text);
    }
    hone__free(c->ctx, c->metrics);
}

static void free_compiled(void *train)
{
    hone__compiled *c = train;
    if (!c) return;
    hone_function_free(c->step);
    hone_function_free(c->predict);
    hone_optimizer_free(c->optimizer);
    free_metrics(c);
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

/* Do history and logs have a quantity of that name? */
static bool taken(const hone__compiled *c, const char *name)
{
    for (size_t i = 0; i < c->n_metrics; i++)
        if (!strcmp(hone_metric_name(c->metrics[i].metric), name)) return true;
    return false;
}

/* Names are those of history and logs. As in Keras, a weighted metric beside an unweighted one of its name is weighted_<name>;
   the accuracy that fit tells anyway is unweighted. */
static hone_status name_metric(const hone__compiled *c, hone_metric *m, bool weighted)
{
    const char *name = hone_metric_name(m);
    if (weighted && (taken(c, name) || !strcmp(name, "accuracy")) && strlen(name) + strlen("weighted_") < sizeof m->name) {
        memmove(m->name + strlen("weighted_"), m->name, strlen(name) + 1);
        memcpy(m->name, "weighted_", strlen("weighted_"));
    }
    if (!taken(c, name) && strcmp(name, "loss") != 0) return HONE_OK;
    return hone__fail(c->ctx, HONE_INVALID, "compile: two quantities are called '%s': name one, as in f_beta(beta=2, name=f2)", name);
}

/* One metric, `length` bytes of `text`. false: error (sticky). */
static bool add_metric(hone__compiled *made, size_t *capacity, const char *text, size_t length, bool weighted)
{
    hone_ctx *ctx = made->ctx;
    hone_metric_opts o = {.struct_size = sizeof o,
                          .elementwise = made->loss && made->loss->targets == HONE__BINARY,
                          .from_logits = made->loss && made->loss->logits};
    hone__compiled_metric m = {.text = hone__strndup(ctx, text, length), .weighted = weighted};
    m.metric = m.text ? hone_metric_parse(ctx, m.text, &o) : NULL;
    if (m.metric && !m.metric->type->update)
        hone__fail(ctx, HONE_INVALID, "compile: metric '%s' compares texts, not outputs of a model", hone_metric_name(m.metric));
    if (m.metric && hone__ok(ctx) && name_metric(made, m.metric, weighted) == HONE_OK &&
        hone__grow(ctx, (void **)&made->metrics, capacity, made->n_metrics + 1, sizeof *made->metrics)) {
        made->metrics[made->n_metrics++] = m;
        made->n_weighted += weighted;
        return true;
    }
    hone_metric_free(m.metric);
    hone__free(ctx, m.text);
    return false;
}

/* Bytes before the comma that ends a metric: one that stands in no parentheses. */
static size_t metric_length(const char *text)
{
    size_t n = 0;
    for (int depth = 0; text[n] && (text[n] != ',' || depth > 0); n++) depth += text[n] == '(' ? 1 : text[n] == ')' ? -1 : 0;
    return n;
}

/* Comma-separated; false: error (sticky). */
static bool make_metrics(hone__compiled *made, const char *metrics, bool weighted)
{
    size_t capacity = made->n_metrics;
    for (const char *at = metrics; at;) {
        size_t n = metric_length(at);
        if (!add_metric(made, &capacity, at, n, weighted)) return false;
        at = at[n] ? at + n + 1 : NULL;
    }
    return true;
}

static bool check_options(hone_ctx *ctx, const hone_compile_opts *o)
{
    const hone_loss_opts *l = &o->loss_options;
    if ((unsigned)o->loss >= HONE_LOSS_COUNT)
        hone__fail(ctx, HONE_INVALID, "compile: loss %d does not exist", (int)o->loss);
    else if (l->weights || l->class_weights || l->positive_weights || l->output_lengths || l->target_lengths || l->reduction)
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
    hone_dtype compute = opts->auto_compute ? hone__bf16_is_fast() ? HONE_BF16 : HONE_F32 : opts->compute;
    hone_optimizer *optimizer = opts->optimizer ? opts->optimizer : hone_adam(ctx);
    hone__compiled *c = hone__ok(ctx) && check_options(ctx, opts) ? hone__compiled_of(model) : NULL;
    hone__compiled made = {.ctx = ctx,
                           .optimizer = optimizer,
                           .loss = opts->custom_loss || !c ? NULL : &losses[opts->loss],
                           .loss_options = opts->loss_options,
                           .custom_loss = opts->custom_loss,
                           .custom_user = opts->custom_user,
                           .max_grad_norm = opts->max_grad_norm,
                           .compute = compute,
                           .auto_compute = opts->auto_compute,
                           .max_grad_value = opts->max_grad_value};
    made.loss_options.reduction = HONE_REDUCE_NONE;
    if (c && make_metrics(&made, opts->metrics, false) && make_metrics(&made, opts->weighted_metrics, true))
        made.step = hone__model_function(model, 3, made.n_metrics ? 3 : 2, record_step, compute);
    if (!made.step) {
        hone_optimizer_free(optimizer);
        free_metrics(&made);
        return ctx->status;
    }
    hone_function_free(c->step);
    hone_optimizer_free(c->optimizer);
    free_metrics(c);
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
