/* Whole models in one safetensors file. Its metadata's "hone_model" is
     {"version": 1, "architecture": {...}, "input": {"dtype": "f32", "shape": [1, 4]}, "built": true, "frozen": ["0.weight"],
      "compile": {"loss": "mse", ...}, "optimizer": {"name": "adam", "steps": 12, ...}, "pipeline": {...}}
   of which all but the first two may be missing. */
#include "train/save.h"
#include "data/data.h"

#include <stdlib.h>

#define KEY "hone_model"
enum {
    VERSION = 1,
    MOST_INPUT = 1 << 28,   /* elements of a batch of one */
    MOST_RECORDED = 1 << 29 /* bytes of what a file describes before its weights have been seen */
};

/* The numbers among a loss's options. */
static const struct {
    const char *name;
    size_t offset;
    enum { REAL, INTEGER, TRUTH } type;
} loss_options[] = {
#define NUMBER(name, type) {#name, offsetof(hone_loss_opts, name), type}
    NUMBER(label_smoothing, REAL), NUMBER(ignore_index, INTEGER), NUMBER(delta, REAL),      NUMBER(gamma, REAL),
    NUMBER(alpha, REAL),           NUMBER(margin, REAL),          NUMBER(smooth, REAL),     NUMBER(blank, INTEGER),
    NUMBER(positive_weight, REAL), NUMBER(zero_infinity, TRUTH),   NUMBER(log_input, TRUTH),       NUMBER(axis, INTEGER)
#undef NUMBER
};

/* ---- saving ---- */

static json_t *input_to_json(const hone_model *model)
{
    json_t *shape = json_array();
    hone_shape s = model->input_shape;
    bool ok = shape != NULL;
    for (int d = 0; d < s.rank && ok; d++) ok = json_array_append_new(shape, json_integer(d ? s.dim[d] : 1)) == 0;
    return json_pack("{s:s, s:o}", "dtype", hone_dtype_name(model->input_dtype), "shape", ok ? shape : (json_decref(shape), NULL));
}

static json_t *frozen_to_json(const hone_model *model)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < model->n_params && ok; i++)
        if (!model->params[i]->v.trainable) ok = json_array_append_new(list, json_string(model->params[i]->name)) == 0;
    return ok ? list : (json_decref(list), NULL);
}

/* An output's, weighted ones or the others. */
static json_t *metrics_to_json(const hone__compiled *c, int output, bool weighted)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < c->n_metrics && ok; i++)
        if (c->metrics[i].text && c->metrics[i].output == output && c->metrics[i].weighted == weighted) ok = json_array_append_new(list, json_string(c->metrics[i].text)) == 0;
    return ok ? list : (json_decref(list), NULL);
}

static json_t *output_to_json(const hone__compiled *c, int k)
{
    const hone__compiled_output *o = &c->outputs[k];
    json_t *options = json_object();
    bool ok = options != NULL;
    for (size_t i = 0; i < HONE_ARRAY_LEN(loss_options) && ok; i++) {
        const void *at = (const char *)&o->loss_options + loss_options[i].offset;
        json_t *value;
        switch (loss_options[i].type) {
        case REAL: value = *(const double *)at == 0 ? json_null() : json_real(*(const double *)at); break;
        case INTEGER: value = *(const int64_t *)at == 0 ? json_null() : json_integer((json_int_t)*(const int64_t *)at); break;
        default: value = *(const bool *)at ? json_true() : json_null();
        }
        if (!json_is_null(value)) ok = json_object_set_new(options, loss_options[i].name, value) == 0;
    }
    if (!ok) return json_decref(options), NULL;
    return json_pack("{s:s, s:s, s:o, s:f, s:o, s:o}", "name", o->name, "loss", o->custom_loss ? "custom" : o->loss->name, "loss_options",
                     options, "loss_weight", o->loss_weight, "metrics", metrics_to_json(c, k, false), "weighted_metrics",
                     metrics_to_json(c, k, true));
}

/* One output's fields stand among the others, those of several in a list. */
static json_t *compile_to_json(const hone__compiled *c)
{
    json_t *json = c->n_outputs > 1 ? json_pack("{s:[]}", "outputs") : output_to_json(c, 0);
    bool ok = json != NULL;
    for (int k = 0; k < c->n_outputs && c->n_outputs > 1 && ok; k++)
        ok = json_array_append_new(json_object_get(json, "outputs"), output_to_json(c, k)) == 0;
    ok = ok && json_object_set_new(json, "max_grad_norm", json_real(c->max_grad_norm)) == 0 &&
         json_object_set_new(json, "max_grad_value", json_real(c->max_grad_value)) == 0 &&
         json_object_set_new(json, "compute", json_string(c->auto_compute ? "auto" : hone_dtype_name(c->compute))) == 0;
    return ok ? json : (json_decref(json), NULL);
}

/* Errors do not stick. */
static hone_status describe(hone_model *model, char **text)
{
    const hone__compiled *c = model->train;
    json_t *architecture = hone__layer_to_json(model->root);
    if (!architecture) return HONE_UNSUPPORTED;
    json_t *json = json_pack("{s:i, s:o}", "version", VERSION, "architecture", architecture);
    bool ok = json != NULL;
    if (ok && hone__is_functional(model->root)) ok = json_object_set_new(json, "built", json_boolean(model->n_params > 0)) == 0;
    else if (ok && model->input_shape.rank) ok = json_object_set_new(json, "input", input_to_json(model)) == 0;
    if (ok) ok = json_object_set_new(json, "frozen", frozen_to_json(model)) == 0;
    if (ok && c && c->optimizer)
        ok = json_object_set_new(json, "compile", compile_to_json(c)) == 0 &&
             json_object_set_new(json, "optimizer", hone__optimizer_to_json(c->optimizer)) == 0;
    if (ok && model->pipeline) ok = json_object_set_new(json, "pipeline", hone__pipeline_to_json(model->pipeline)) == 0;
    *text = ok ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (*text) return HONE_OK;
    return hone__fail_run(model->ctx, HONE_INVALID, "the model cannot be described: a name is not UTF-8, or a number not finite");
}

hone_status hone_model_save(hone_model *model, const char *path)
{
    if (!model) return HONE_INVALID;
    hone_ctx *ctx = model->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (model->n_params && !model->input_shape.rank && !hone__is_functional(model->root))
        return hone__fail_run(ctx, HONE_UNSUPPORTED, "%s: a model with several inputs can be saved as a whole if it is a functional one", path);
    int custom = 0;
    const hone__compiled *told = model->train;
    for (int k = 0; told && k < told->n_outputs; k++) custom += told->outputs[k].custom_loss != NULL;
    if (custom > 1)
        return hone__fail_run(ctx, HONE_UNSUPPORTED, "%s: losses of one's own at %d outputs could not be told apart when the model is loaded: "
                                                     "only its weights can be saved (hone_model_save_weights)", path, custom);
    char *text;
    hone_status status = describe(model, &text);
    if (status != HONE_OK) return status;
    hone_safetensors_writer *writer = hone_safetensors_writer_new(ctx, path);
    const hone__compiled *c = model->train;
    const hone_optimizer *o = c ? c->optimizer : NULL;
    if (writer) status = hone_safetensors_set_metadata(writer, KEY, text);
    free(text);
    if (!writer) return hone__ok(ctx) ? HONE_IO : ctx->status;
    if (status == HONE_OK) status = hone__weights_declare(model, writer);
    if (status == HONE_OK && o) status = hone__optimizer_declare(o, HONE__OPTIMIZER_PREFIX, writer);
    if (status == HONE_OK) status = hone__weights_write(model, writer);
    if (status == HONE_OK && o) status = hone__optimizer_write(o, HONE__OPTIMIZER_PREFIX, writer);
    if (status == HONE_OK) return hone_safetensors_writer_commit(writer);
    hone_safetensors_writer_abandon(writer);
    return status;
}

/* ---- loading: the file is untrusted ---- */

typedef struct loading {
    hone_ctx *ctx;
    const char *path;
    const json_t *json;
    hone_safetensors *file;
    const hone_model_load_opts *opts;
} loading;

static hone_status damaged(const loading *l, const char *what)
{
    return hone__fail(l->ctx, HONE_FORMAT, "%s: %s", l->path, what);
}

/* Records the model as it was recorded, so that its layers make their parameters. */
static hone_status record(const loading *l, hone_model *model)
{
    const json_t *input = json_object_get(l->json, "input"), *dims = json_object_get(input, "shape");
    const char *name = json_string_value(json_object_get(input, "dtype"));
    hone_dtype dtype;
    hone_shape shape = {.rank = (int)HONE_MIN(json_array_size(dims), (size_t)HONE_MAX_RANK + 1)};
    bool ok = name && hone_dtype_from_name(name, &dtype) && shape.rank >= 1 && shape.rank <= HONE_MAX_RANK;
    int64_t count = 1;
    for (int d = 0; ok && d < shape.rank; d++) {
        shape.dim[d] = (int64_t)json_integer_value(json_array_get(dims, (size_t)d));
        ok = shape.dim[d] >= 1 && shape.dim[d] <= MOST_INPUT / count;
        count *= ok ? shape.dim[d] : 1;
    }
    if (!ok) return damaged(l, "its input's dtype or shape is wrong");
    return hone__model_record(model, dtype, shape);
}

/* The context's allocator with an end, for a while. */
typedef struct bounded {
    hone_allocator of;
    const hone_ctx *ctx;
    size_t most; /* bytes of the context */
} bounded;
static void *bounded_alloc(void *user, size_t size)
{
    const bounded *b = user;
    return size <= b->most && b->ctx->bytes <= b->most - size ? b->of.alloc(b->of.user, size) : NULL;
}
static void bounded_free(void *user, void *memory)
{
    const bounded *b = user;
    b->of.free(b->of.user, memory);
}

/* The model of the description, with its weights. Compared before they have memory: what the file has not must not be asked of
   the machine. Until then there is some for what is recorded: a layer may have a constant as large as sizes say. */
static hone_model *load_layers(const loading *l)
{
    hone_ctx *ctx = l->ctx;
    bounded limit = {ctx->allocator, ctx, ctx->bytes + MOST_RECORDED};
    ctx->allocator = (hone_allocator){bounded_alloc, bounded_free, &limit};
    hone_layer *root = hone__layer_from_json(ctx, json_object_get(l->json, "architecture"));
    hone_model *model = root ? hone_model_of(root) : NULL;
    bool functional = root && model && hone__is_functional(root); /* its recipe is recorded already */
    bool ran = functional ? json_is_true(json_object_get(l->json, "built")) : json_object_get(l->json, "input") != NULL;
    hone_load_report *report = NULL;
    hone_status status = !model ? ctx->status : ran && !functional ? record(l, model) : HONE_OK;
    if (status == HONE_OK && ran) status = hone__weights_compare(model, l->file, l->path, false, &report);
    ctx->allocator = limit.of;
    if (status == HONE_OK && ran) status = hone__model_seal(model);
    if (status == HONE_OK && ran) status = hone__weights_copy(model, l->file, report);
    hone_load_report_free(report);
    if (status == HONE_OK) return model;
    hone_model_release(model);
    return NULL;
}

static hone_status freeze(const loading *l, hone_model *model)
{
    const json_t *list = json_object_get(l->json, "frozen");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        hone_param *param = name ? hone_model_find_param(model, name) : NULL;
        if (!param) return damaged(l, "what it says is frozen is no parameter");
        param->v.trainable = false;
    }
    if (json_array_size(list)) model->generation++;
    return HONE_OK;
}

static hone_status load_optimizer(const loading *l, hone_model *model, hone_optimizer *o)
{
    json_int_t steps = json_integer_value(json_object_get(json_object_get(l->json, "optimizer"), "steps"));
    if (steps < 0) return damaged(l, "the optimizer's steps are negative");
    if (!steps) return HONE_OK;
    hone_status status = hone__optimizer_prepare(o, model);
    o->steps = (uint64_t)steps;
    if (status == HONE_OK) status = hone__optimizer_read(o, HONE__OPTIMIZER_PREFIX, l->file, l->path);
    return status;
}

/* Texts of a list with commas between them; NULL: there are none. */
static const char *join(hone_ctx *ctx, hone__buffer *buffer, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        hone__buffer_print(ctx, buffer, "%s%s", i ? "," : "", text ? text : "");
    }
    return buffer->data;
}

/* What hone_compile was told of one output; its texts are in `metrics` and `weighted` and in the JSON. */
static hone_status output_from_json(const loading *l, const json_t *j, hone_output *o, hone__buffer *metrics, hone__buffer *weighted)
{
    const char *loss = json_string_value(json_object_get(j, "loss"));
    const json_t *weight = json_object_get(j, "loss_weight");
    *o = (hone_output){.name = json_string_value(json_object_get(j, "name")), .loss_weight = json_number_value(weight)};
    if (weight && o->loss_weight == 0) o->loss_weight = (double)HONE_ZERO;
    if (loss && !strcmp(loss, "custom")) {
        if (!l->opts || !l->opts->custom_loss)
            return hone__fail(l->ctx, HONE_STATE, "%s: the model was compiled with a loss of one's own: give it as .custom_loss", l->path);
        o->custom_loss = l->opts->custom_loss;
        o->custom_user = l->opts->custom_user;
    } else if (!loss || !hone_loss_from_name(loss, &o->loss)) {
        return damaged(l, "this version has no such loss");
    }
    for (size_t i = 0; i < HONE_ARRAY_LEN(loss_options); i++) {
        void *at = (char *)&o->loss_options + loss_options[i].offset;
        const json_t *value = json_object_get(json_object_get(j, "loss_options"), loss_options[i].name);
        switch (loss_options[i].type) {
        case REAL: *(double *)at = json_number_value(value); break;
        case INTEGER: *(int64_t *)at = (int64_t)json_integer_value(value); break;
        default: *(bool *)at = json_is_true(value);
        }
    }
    o->metrics = join(l->ctx, metrics, json_object_get(j, "metrics"));
    o->weighted_metrics = join(l->ctx, weighted, json_object_get(j, "weighted_metrics"));
    return l->ctx->status;
}

/* The rest of the options, and the optimizer. */
static hone_status compile_for(const loading *l, hone_model *model, const json_t *j, const hone_output *outputs, size_t n)
{
    const char *compute = json_string_value(json_object_get(j, "compute"));
    hone_compile_opts o = {.struct_size = sizeof o, .max_grad_norm = json_number_value(json_object_get(j, "max_grad_norm")),
                           .max_grad_value = json_number_value(json_object_get(j, "max_grad_value")), .outputs = outputs, .n_outputs = n};
    o.auto_compute = compute && !strcmp(compute, "auto");
    if (o.auto_compute)
        o.compute = HONE_F32;
    else if (!compute || !hone_dtype_from_name(compute, &o.compute) || (o.compute != HONE_F32 && o.compute != HONE_BF16))
        return damaged(l, "its compute dtype is neither f32, bf16 nor auto");
    hone_optimizer *optimizer = o.optimizer = hone__optimizer_from_json(l->ctx, l->path, json_object_get(l->json, "optimizer"));
    if (!optimizer) return l->ctx->status;
    hone_status status = hone_compile_opt(model, &o);
    return status == HONE_OK ? load_optimizer(l, model, optimizer) : status;
}

static hone_status compile(const loading *l, hone_model *model)
{
    const json_t *j = json_object_get(l->json, "compile"), *several = json_object_get(j, "outputs");
    hone_output outputs[HONE__MOST_OUTPUTS];
    hone__buffer texts[2 * HONE__MOST_OUTPUTS] = {0};
    size_t n = several ? HONE_MIN(json_array_size(several), (size_t)HONE__MOST_OUTPUTS) : 1;
    hone_status status = HONE_OK;
    for (size_t k = 0; k < n && j && status == HONE_OK; k++)
        status = output_from_json(l, several ? json_array_get(several, k) : j, &outputs[k], &texts[2 * k], &texts[2 * k + 1]);
    if (j && status == HONE_OK) status = compile_for(l, model, j, outputs, n);
    for (size_t i = 0; i < HONE_ARRAY_LEN(texts); i++) hone__buffer_free(l->ctx, &texts[i]);
    return status;
}

static hone_status load_pipeline(const loading *l, hone_model *model)
{
    const json_t *json = json_object_get(l->json, "pipeline");
    if (!json) return HONE_OK;
    hone_pipeline *pipeline = hone__pipeline_from_json(l->ctx, l->path, json);
    if (pipeline) hone__model_take_pipeline(model, pipeline);
    return l->ctx->status;
}

static hone_model *load(const loading *l)
{
    hone_model *model = load_layers(l);
    if (!model) return NULL;
    hone_status status = freeze(l, model);
    if (status == HONE_OK) status = compile(l, model);
    if (status == HONE_OK) status = load_pipeline(l, model);
    if (status == HONE_OK) return model;
    hone_model_release(model);
    return NULL;
}

/* The model in an open file; for fuzzing too. */
hone_model *hone__model_read(hone_ctx *ctx, const char *path, hone_safetensors *file, const hone_model_load_opts *opts)
{
    const char *text = hone_safetensors_metadata(file, KEY);
    json_error_t error;
    json_t *json = text ? json_loads(text, 0, &error) : NULL;
    hone_model *model = NULL;
    if (!text)
        hone__fail(ctx, HONE_FORMAT, "%s has weights, but no model of Hone's: build it and use hone_model_load_weights", path);
    else if (!json)
        hone__fail(ctx, HONE_FORMAT, "%s: %s: line %d: %s", path, KEY, error.line, error.text);
    else if (json_integer_value(json_object_get(json, "version")) != VERSION)
        hone__fail(ctx, HONE_UNSUPPORTED, "%s: %s of another version than %d", path, KEY, VERSION);
    else
        model = load(&(loading){ctx, path, json, file, opts});
    json_decref(json);
    return model;
}

hone_model *hone_model_load_opt(hone_ctx *ctx, const char *path, const hone_model_load_opts *opts)
{
    hone_safetensors *file = hone_safetensors_open(ctx, path);
    hone_model *model = file ? hone__model_read(ctx, path, file, opts) : NULL;
    hone_safetensors_close(file);
    return model;
}
