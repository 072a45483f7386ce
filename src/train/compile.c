/* compile: what is minimized, and the step that fit and evaluate run. */
#include "train/train.h"

#include "op/nn.h"

#include <math.h>
#include <stdio.h>

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

/* [B, ...] to the mean over each example's values, [B]: over those of positions that count, where the output's lengths are known. */
static hone_node *by_example(hone_node *each, const hone_node *output)
{
    hone_shape s = hone_node_shape(each);
    if (!each || s.rank < 2) return each;
    if (output->lengths && output->time == 1 && s.dim[1] == output->shape.dim[1]) {
        int64_t inner = hone_shape_count(s) / HONE_MAX(s.dim[0] * s.dim[1], 1);
        if (s.rank > 2) each = hone_mean(hone_reshape(each, HONE_SHAPE(s.dim[0], s.dim[1], inner)), HONE_AXES(2), false);
        if (!each) return NULL;
        hone__keep_lengths(each, output);
        return hone__mean_of_rows(each);
    }
    return hone_mean(hone_reshape(each, HONE_SHAPE(s.dim[0], hone_shape_count(s) / HONE_MAX(s.dim[0], 1))), HONE_AXES(1), false);
}

static bool is_axis_told(const hone__compiled_output *o)
{
    return o->loss && o->loss_options.axis && (o->loss->targets == HONE__CATEGORIES || o->loss->targets == HONE__CLASSES);
}

/* The output with its classes last: losses, right answers and metrics read it so, wherever loss_options say that they lie. */
static hone_node *classes_last(const hone__compiled_output *o, hone_node *output)
{
    if (!is_axis_told(o)) return output;
    const int64_t axis = o->loss_options.axis, at = axis < 0 ? axis + output->shape.rank : axis;
    hone_node *last = hone__classes_last(output, axis);
    if (last && last != output && output->lengths && output->time != at) {
        last->lengths = output->lengths;
        last->time = output->time - (output->time > at);
    }
    return last;
}

/* Per-example losses, f32 [B]. Classes are last. */
static hone_node *example_losses(const hone__compiled_output *o, hone_node *output, hone_node *target)
{
    if (o->custom_loss) return o->custom_loss(o->custom_user, output, target);
    hone__targets targets = o->loss->targets;
    if (targets == HONE__VALUES || targets == HONE__BINARY) target = hone_reshape(target, hone_node_shape(output));
    if (targets != HONE__CLASSES && targets != HONE__SEQUENCES) target = hone_cast(target, hone_node_dtype(output));
    hone_loss_opts options = o->loss_options;
    options.axis = 0;
    if (targets == HONE__SEQUENCES && output->lengths && output->time == 1) options.output_lengths = output->lengths;
    return by_example(o->loss->function(output, target, &options), output);
}

static bool knows_right(const hone__compiled_output *o)
{
    return o->loss && (o->loss->targets == HONE__BINARY || o->loss->targets == HONE__CATEGORIES || o->loss->targets == HONE__CLASSES);
}

/* The sum of 1 where the answer is right; -1 where the loss has no notion of it. */
static hone_node *right(const hone__compiled_output *o, hone_node *output, hone_node *target)
{
    hone_shape s = hone_node_shape(output);
    hone_graph *g = hone_node_graph(output);
    hone_node *same;
    if (!knows_right(o)) return hone_fill(g, HONE_F32, HONE_SCALAR, -1);
    if (o->loss->targets == HONE__BINARY) {
        hone_node *said = hone_greater(output, hone_fill(g, HONE_F32, HONE_SCALAR, o->loss->logits ? 0 : 0.5));
        hone_node *is = hone_greater(hone_reshape(hone_cast(target, HONE_F32), s), hone_fill(g, HONE_F32, HONE_SCALAR, 0.5));
        same = hone_equal(said, is);
    } else if (o->loss->targets == HONE__CATEGORIES) {
        same = hone_equal(hone_argmax(output, -1), hone_argmax(target, -1));
    } else {
        same = hone_equal(hone_argmax(output, -1), hone_cast(target, HONE_I32));
    }
    return hone_sum(by_example(hone_cast(same, HONE_F32), output), HONE_ALL_AXES, false);
}

/* inputs: the model's, the targets, and for each example its weight / (examples in the whole step), so that micro-batches add up to
   the mean. outputs: hone__step_right and its neighbours say which. */
static void record_step(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_model *model = user;
    hone__compiled *c = model->train;
    hone_node *const *targets = in + c->step_inputs, *share = targets[c->n_outputs], *outputs[HONE__MOST_OUTPUTS], *total = NULL;
    if (hone_model_apply(model, c->step_inputs, in, c->n_outputs, outputs) != HONE_OK) return;
    for (int k = 0; k < c->n_outputs; k++) {
        const hone__compiled_output *o = &c->outputs[k];
        hone_node *output = classes_last(o, outputs[k]), *target = targets[k];
        if (is_axis_told(o) && o->loss->targets == HONE__CATEGORIES) target = hone__classes_last(target, o->loss_options.axis);
        if (output && target) target = hone__check_target(c, k, output, target);
        hone_node *each = output && target ? example_losses(o, output, target) : NULL;
        if (!each) return;
        if (!hone_shape_equal(hone_node_shape(each), hone_node_shape(share))) {
            hone__fail(graph->ctx, HONE_SHAPE, "the loss gives %s for a batch of %lld; one value an example is wanted",
                       HONE__SHAPE_STR(hone_node_shape(each)), (long long)hone_node_shape(share).dim[0]);
            return;
        }
        out[hone__step_right(k)] = right(o, output, target);
        if (c->n_outputs > 1) out[hone__step_loss(c, k)] = hone_sum(hone_mul(each, share), HONE_ALL_AXES, false);
        if (c->n_read) out[hone__step_output(c, k)] = output;
        if (o->loss_weight != 1) each = hone_mul(each, hone_fill(graph, HONE_F32, HONE_SCALAR, o->loss_weight));
        total = total ? hone_add(total, each) : each;
    }
    if (hone_added_loss(graph)) total = hone_add(total, hone_added_loss(graph));
    out[0] = hone_sum(hone_mul(total, share), HONE_ALL_AXES, false);
    if (hone_graph_mode(graph) == HONE_TRAIN) hone_backward(out[0], model);
}

/* ---- compile ---- */

/* What hone_compile fills in. */
static void free_told(hone__compiled *c)
{
    hone_function_free(c->step);
    hone_optimizer_free(c->optimizer);
    for (int k = 0; k < c->n_outputs; k++) hone__free(c->ctx, c->outputs[k].name);
    hone__free(c->ctx, c->outputs);
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
    hone_function_free(c->predict);
    free_told(c);
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

/* `c` is the model's, or is going to be. */
static bool make_step(hone_model *model, hone__compiled *c, int n_inputs)
{
    hone_function_free(c->step);
    c->step_inputs = n_inputs;
    c->step = hone__model_function(model, n_inputs + c->n_outputs + 1, hone__step_output(c, c->n_read ? c->n_outputs : 0), record_step,
                                   c->compute);
    return c->step != NULL;
}

hone_status hone__step_for(hone_model *model, int n_inputs)
{
    hone__compiled *c = model->train;
    if (c->step && c->step_inputs == n_inputs) return HONE_OK;
    return make_step(model, c, n_inputs) ? HONE_OK : c->ctx->status;
}

hone_status hone__check_counts(const hone_model *model, size_t n_inputs, size_t n_outputs)
{
    const hone__functional *f = hone__functional_of(model);
    size_t wants = f ? (size_t)f->n_inputs : n_inputs, has = (size_t)hone_model_output_count(model);
    if (n_inputs != wants || n_outputs != has)
        return hone__fail_run(model->ctx, HONE_INVALID, "the model has %zu inputs and %zu outputs, given were %zu and %zu: hone_fit_many, "
                                                        "hone_evaluate_many and hone_predict_many take several",
                              wants, has, n_inputs, n_outputs);
    if (n_inputs >= 1 && n_inputs <= HONE__MOST_INPUTS) return HONE_OK;
    return hone__fail_run(model->ctx, HONE_INVALID, "a model can be given 1 to %d inputs, not %zu", HONE__MOST_INPUTS, n_inputs);
}

/* Do history and logs have a quantity of that name? */
static bool taken(const hone__compiled *c, const char *name)
{
    for (size_t i = 0; i < c->n_metrics; i++)
        if (!strcmp(hone_metric_name(c->metrics[i].metric), name)) return true;
    return false;
}

/* Names are those of history and logs: of several outputs behind that of theirs. As in Keras, a weighted metric beside an unweighted
   one of its name is weighted_<name>; the accuracy that fit tells anyway is unweighted. */
static hone_status name_metric(const hone__compiled *c, const hone__compiled_metric *m)
{
    char name[2 * sizeof m->metric->name + 16];
    const char *own = hone_metric_name(m->metric), *output = c->n_outputs > 1 ? c->outputs[m->output].name : "", *line = *output ? "_" : "";
    snprintf(name, sizeof name, "%s%s%s", output, line, own);
    if (m->weighted && (taken(c, name) || !strcmp(own, "accuracy"))) snprintf(name, sizeof name, "%s%sweighted_%s", output, line, own);
    if (taken(c, name) || !strcmp(name, "loss"))
        return hone__fail(c->ctx, HONE_INVALID, "compile: two quantities are called '%s': name one, as in f_beta(beta=2, name=f2)", name);
    if (strlen(name) >= sizeof m->metric->name)
        return hone__fail(c->ctx, HONE_INVALID, "compile: '%s' is longer than a quantity's name may be, 63 bytes", name);
    strcpy(m->metric->name, name);
    return HONE_OK;
}

/* Takes over the metric and its text, also when it fails (sticky). */
static bool add_metric(hone__compiled *made, hone__compiled_metric m)
{
    hone_ctx *ctx = made->ctx;
    size_t capacity = made->n_metrics;
    if (m.metric && hone__ok(ctx) && name_metric(made, &m) == HONE_OK &&
        hone__grow(ctx, (void **)&made->metrics, &capacity, made->n_metrics + 1, sizeof *made->metrics)) {
        made->metrics[made->n_metrics++] = m;
        made->n_weighted += m.weighted;
        made->n_read += m.text != NULL;
        return true;
    }
    hone_metric_free(m.metric);
    hone__free(ctx, m.text);
    return false;
}

/* One metric of an output, `length` bytes of `text`. false: error (sticky). */
static bool parse_metric(hone__compiled *made, int output, const char *text, size_t length, bool weighted)
{
    hone_ctx *ctx = made->ctx;
    const hone__loss_info *loss = made->outputs[output].loss;
    hone_metric_opts o = {.struct_size = sizeof o, .elementwise = loss && loss->targets == HONE__BINARY, .from_logits = loss && loss->logits};
    hone__compiled_metric m = {.text = hone__strndup(ctx, text, length), .output = output, .weighted = weighted};
    m.metric = m.text ? hone_metric_parse(ctx, m.text, &o) : NULL;
    if (m.metric && !m.metric->type->update)
        hone__fail(ctx, HONE_INVALID, "compile: metric '%s' compares texts, not outputs of a model", hone_metric_name(m.metric));
    return add_metric(made, m);
}

/* Bytes before the comma that ends a metric: one that stands in no parentheses. */
static size_t metric_length(const char *text)
{
    size_t n = 0;
    for (int depth = 0; text[n] && (text[n] != ',' || depth > 0); n++) depth += text[n] == '(' ? 1 : text[n] == ')' ? -1 : 0;
    return n;
}

/* Comma-separated; false: error (sticky). */
static bool parse_metrics(hone__compiled *made, int output, const char *metrics, bool weighted)
{
    for (const char *at = metrics; at;) {
        size_t n = metric_length(at);
        if (!parse_metric(made, output, at, n, weighted)) return false;
        at = at[n] ? at + n + 1 : NULL;
    }
    return true;
}

/* Of several outputs, each one's loss and right answers are metrics beside those that were asked for; an accuracy that was asked for
   takes the other's place. */
static bool make_metrics(hone__compiled *made, const hone_output *outputs)
{
    bool ok = true, several = made->n_outputs > 1;
    for (int k = 0; k < made->n_outputs && several && ok; k++)
        ok = add_metric(made, (hone__compiled_metric){.metric = hone__mean_new(made->ctx, "loss", true), .output = k, .is_loss = true});
    for (int k = 0; k < made->n_outputs && ok; k++) {
        size_t first = made->n_metrics;
        ok = parse_metrics(made, k, outputs[k].metrics, false);
        bool told = !several || !knows_right(&made->outputs[k]);
        for (size_t i = first; i < made->n_metrics && !told; i++)
            told = !strcmp(hone_metric_name(made->metrics[i].metric) + strlen(made->outputs[k].name), "_accuracy");
        if (ok && !told) ok = add_metric(made, (hone__compiled_metric){.metric = hone__mean_new(made->ctx, "accuracy", false), .output = k});
    }
    for (int k = 0; k < made->n_outputs && ok; k++) ok = parse_metrics(made, k, outputs[k].weighted_metrics, true);
    return ok;
}

static bool check_output(hone_ctx *ctx, const hone_output *o)
{
    const hone_loss_opts *l = &o->loss_options;
    if ((unsigned)o->loss >= HONE_LOSS_COUNT)
        hone__fail(ctx, HONE_INVALID, "compile: loss %d does not exist", (int)o->loss);
    else if (!(hone__choose(o->loss_weight, 1) >= 0) || isinf(o->loss_weight))
        hone__fail(ctx, HONE_INVALID, "compile: loss_weight is %g; it must not be negative", o->loss_weight);
    else if (o->name && (!*o->name || strlen(o->name) > 63 || !strcmp(o->name, "val") || !strncmp(o->name, "val_", 4)))
        hone__fail(ctx, HONE_INVALID, "compile: an output cannot be called '%.100s': names have 1 to 63 bytes, and val_ stands before what "
                                      "is held out", o->name);
    else if (l->axis && !o->custom_loss && losses[o->loss].targets == HONE__CATEGORIES && (o->metrics || o->weighted_metrics))
        hone__fail(ctx, HONE_INVALID, "compile: metrics want classes last in targets like outputs, not on axis %lld: class numbers as targets "
                                      "(sparse_categorical_crossentropy) may have them anywhere", (long long)l->axis);
    else if (l->weights || l->class_weights || l->positive_weights || l->output_lengths || l->target_lengths || l->reduction)
        hone__fail(ctx, HONE_INVALID, "compile: loss_options may hold numbers only; weights of classes and samples are given to "
                                      "hone_fit, other nodes to a custom_loss");
    return hone__ok(ctx);
}

/* What is asked of the outputs, as the caller said it of one or of several. NULL: error (sticky). */
static const hone_output *outputs_of(const hone_model *model, const hone_compile_opts *o, hone_output *one)
{
    size_t n = (size_t)hone_model_output_count(model);
    *one = (hone_output){.loss = o->loss, .custom_loss = o->custom_loss, .custom_user = o->custom_user, .loss_options = o->loss_options,
                         .metrics = o->metrics, .weighted_metrics = o->weighted_metrics};
    bool both = o->n_outputs && (o->loss || o->custom_loss || o->metrics || o->weighted_metrics);
    if ((o->n_outputs || n > 1) && (o->n_outputs != n || !o->outputs || both)) {
        hone__fail(model->ctx, HONE_INVALID, "compile: the model has %zu outputs, each of which needs its loss in HONE_OUTPUTS, and nowhere "
                                             "else; given were %zu", n, o->n_outputs);
        return NULL;
    }
    const hone_output *outputs = o->n_outputs ? o->outputs : one;
    for (size_t k = 0; k < n; k++)
        if (!check_output(model->ctx, &outputs[k])) return NULL;
    return outputs;
}

/* false: memory (sticky). */
static bool make_outputs(hone__compiled *made, int n, const hone_output *outputs)
{
    if (!(made->outputs = hone__calloc(made->ctx, (size_t)n, sizeof *made->outputs))) return false;
    for (; made->n_outputs < n; made->n_outputs++) {
        const hone_output *o = &outputs[made->n_outputs];
        hone__compiled_output *to = &made->outputs[made->n_outputs];
        *to = (hone__compiled_output){.loss = o->custom_loss ? NULL : &losses[o->loss],
                                      .loss_options = o->loss_options,
                                      .custom_loss = o->custom_loss,
                                      .custom_user = o->custom_user,
                                      .loss_weight = hone__choose(o->loss_weight, 1)};
        to->loss_options.reduction = HONE_REDUCE_NONE;
        to->name = o->name ? hone__strdup(made->ctx, o->name) : hone__format(made->ctx, "output_%d", made->n_outputs);
        if (!to->name) return false;
    }
    return true;
}

hone_dtype hone_model_compute(const hone_model *model)
{
    const hone__compiled *c = model ? model->train : NULL;
    return c ? c->compute : HONE_F32;
}

hone_status hone_compile_opt(hone_model *model, const hone_compile_opts *opts)
{
    static const hone_compile_opts none = {0};
    if (!model) return HONE_INVALID;
    if (!opts) opts = &none;
    hone_ctx *ctx = model->ctx;
    hone_dtype compute = hone__compute_dtype(opts->auto_compute, opts->compute);
    hone_optimizer *optimizer = opts->optimizer ? opts->optimizer : hone_adam(ctx);
    hone_output one;
    const hone_output *outputs = hone__ok(ctx) ? outputs_of(model, opts, &one) : NULL;
    hone__compiled *c = outputs ? hone__compiled_of(model) : NULL;
    hone__compiled made = {.ctx = ctx,
                           .optimizer = optimizer,
                           .max_grad_norm = opts->max_grad_norm,
                           .compute = compute,
                           .auto_compute = opts->auto_compute,
                           .max_grad_value = opts->max_grad_value};
    const hone__functional *f = hone__functional_of(model);
    if (!c || !make_outputs(&made, hone_model_output_count(model), outputs) || !make_metrics(&made, outputs) ||
        !make_step(model, &made, f ? f->n_inputs : 1)) {
        free_told(&made);
        return ctx->status;
    }
    free_told(c);
    if (c->compute == compute) {
        made.predict = c->predict;
        made.predict_inputs = c->predict_inputs;
    } else {
        hone_function_free(c->predict);
    }
    *c = made;
    return HONE_OK;
}
