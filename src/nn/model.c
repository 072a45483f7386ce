#include "nn/nn.h"

hone_model *hone_model_of(hone_layer *root)
{
    if (!root) return NULL;
    hone_ctx *ctx = root->ctx;
    if (hone__ok(ctx) && (root->parent || root->model))
        hone__fail(ctx, HONE_STATE, "model: layer '%s' already belongs to a parent or a model", root->type);
    else if (hone__ok(ctx)) {
        hone_model *model = hone__calloc(ctx, 1, sizeof *model);
        if (model) {
            *model = (hone_model){.ctx = hone_ctx_retain(ctx), .refs = 1, .root = root, .generation = 1};
            model->last_segment = &model->segments;
            root->model = model;
            hone__layer_adopted(root);
            return model;
        }
    }
    if (!root->parent && !root->model) hone_layer_free(root);
    return NULL;
}

hone_model *hone_model_retain(hone_model *model)
{
    if (model) model->refs++;
    return model;
}

void hone_model_release(hone_model *model)
{
    if (!model || --model->refs) return;
    hone_ctx *ctx = model->ctx;
    if (model->train_free) model->train_free(model->train);
    if (model->pipeline_free) model->pipeline_free(model->pipeline);
    hone_layer_free(model->root);
    for (hone__segment *s = model->segments, *next; s; s = next) {
        next = s->next;
        hone__free(ctx, s->values);
        hone__free(ctx, s->grads);
        hone__free(ctx, s->params);
        hone__free(ctx, s);
    }
    if (model->source_free) model->source_free(model->source_user);
    hone__free(ctx, model->params);
    hone__free(ctx, model);
    hone_ctx_release(ctx);
}

hone_ctx *hone_model_ctx(const hone_model *model) { return model ? model->ctx : NULL; }
hone_layer *hone_model_root(hone_model *model) { return model ? model->root : NULL; }
hone_status hone_model_build(hone_model *model) { return model ? hone__model_seal(model) : HONE_INVALID; }

hone_status hone__model_record(hone_model *model, hone_dtype dtype, hone_shape input)
{
    hone_graph *graph = hone_graph_new(model->ctx);
    hone_apply(model->root, graph ? hone_input(graph, "x", dtype, input) : NULL);
    hone_graph_release(graph);
    return model->ctx->status;
}

hone_status hone_model_build_for(hone_model *model, hone_dtype dtype, hone_shape input)
{
    if (!model) return HONE_INVALID;
    hone_status status = hone__model_record(model, dtype, input);
    return status == HONE_OK ? hone__model_seal(model) : status;
}

/* ---- sealing ---- */

static bool list_params(hone_model *model, hone_layer *layer)
{
    for (size_t i = 0; i < layer->n_params; i++) {
        hone_param *param = layer->params[i];
        if (param->sealed) continue;
        if (!param->name && !(param->name = hone__layer_path(layer, param->local))) return false;
        param->v.name = param->name;
        if (!hone__grow(model->ctx, (void **)&model->params, &model->params_capacity, model->n_params + 1,
                        sizeof *model->params))
            return false;
        model->params[model->n_params++] = param;
    }
    for (size_t i = 0; i < layer->n_children; i++)
        if (!list_params(model, layer->children[i])) return false;
    return true;
}

static bool look_up(hone_model *model, hone_param *param, hone__param_source *source)
{
    *source = (hone__param_source){0};
    if (!model->source || !model->source(model->source_user, param->name, source)) {
        if (model->source_strict && !hone__is_lora(param->local))
            hone__fail(model->ctx, HONE_NOT_FOUND, "the file has no tensor for parameter '%s' %s", param->name,
                       HONE__SHAPE_STR(param->v.shape));
        return false;
    }
    if (hone_shape_equal(source->shape, param->v.shape)) return true;
    hone__fail(model->ctx, HONE_SHAPE, "parameter '%s': the model needs %s, the file has %s", param->name,
               HONE__SHAPE_STR(param->v.shape), HONE__SHAPE_STR(source->shape));
    return false;
}

static hone_status first_values(hone_model *model, hone_param *param, const hone__param_source *source, float *values)
{
    int64_t count = hone_shape_count(param->v.shape);
    if (source->data) return hone__convert_all(model->ctx, values, HONE_F32, source->data, source->stored, count);
    uint64_t key = hone__key(hone__key(model->ctx->seed, 0x696E6974), hone__hash(param->name, strlen(param->name), 0));
    return hone__fill_initial(model->ctx, &param->initial, param->v.shape, key, values);
}

static int64_t aligned_count(const hone_param *param)
{
    return (hone_shape_count(param->v.shape) + HONE__SEGMENT_ALIGN - 1) & ~(int64_t)(HONE__SEGMENT_ALIGN - 1);
}

static hone_status seal_frozen(hone_model *model, hone_param *param)
{
    hone__param_source source;
    if (look_up(model, param, &source) && !param->state) {
        param->v.data = (void *)(uintptr_t)source.data;
        param->v.stored = source.stored;
        param->v.mapped = source.mapped;
    } else if (hone__ok(model->ctx)) {
        float *values = hone__alloc(model->ctx, (size_t)aligned_count(param) * sizeof *values);
        param->own = param->v.data = values;
        if (values && first_values(model, param, &source, values) != HONE_OK)
            hone__fail(model->ctx, HONE_IO, "parameter '%s': its values could not be read", param->name);
    }
    if (!hone__ok(model->ctx)) return model->ctx->status;
    param->sealed = true;
    return HONE_OK;
}

static hone_status seal_trained(hone_model *model, size_t from)
{
    hone_ctx *ctx = model->ctx;
    hone__segment *segment = hone__calloc(ctx, 1, sizeof *segment);
    if (!segment) return ctx->status;
    size_t capacity = 0;
    for (size_t i = from; i < model->n_params; i++) {
        hone_param *param = model->params[i];
        if (!param->v.trainable || param->sealed) continue;
        if (!hone__grow(ctx, (void **)&segment->params, &capacity, segment->n_params + 1, sizeof *segment->params)) break;
        segment->params[segment->n_params++] = param;
        param->offset = segment->count;
        segment->count += aligned_count(param);
    }
    if (hone__ok(ctx)) segment->values = hone__calloc(ctx, (size_t)segment->count, sizeof *segment->values);
    for (size_t i = 0; i < segment->n_params && hone__ok(ctx); i++) {
        hone_param *param = segment->params[i];
        hone__param_source source;
        if (!look_up(model, param, &source) && !hone__ok(ctx)) break;
        hone_status status = first_values(model, param, &source, segment->values + param->offset);
        if (status != HONE_OK) hone__fail(ctx, status, "parameter '%s': its values could not be read", param->name);
        hone__variable_release(&(hone__variable){.data = (void *)(uintptr_t)source.data, .mapped = source.mapped});
    }
    if (!hone__ok(ctx)) {
        hone__free(ctx, segment->values);
        hone__free(ctx, segment->params);
        hone__free(ctx, segment);
        return ctx->status;
    }
    for (size_t i = 0; i < segment->n_params; i++) {
        hone_param *param = segment->params[i];
        param->v.data = segment->values + param->offset;
        param->v.stored = HONE_F32;
        param->segment = segment;
        param->sealed = true;
    }
    *model->last_segment = segment;
    model->last_segment = &segment->next;
    return HONE_OK;
}

hone_status hone__model_seal(hone_model *model)
{
    if (!hone__ok(model->ctx)) return model->ctx->status;
    size_t from = model->n_params;
    while (from > 0 && !model->params[from - 1]->sealed) from--; /* after a failure: try those again */
    model->n_params = from;
    if (!list_params(model, model->root)) return model->ctx->status;
    bool trained = false;
    for (size_t i = from; i < model->n_params; i++) {
        if (model->params[i]->v.trainable)
            trained = true;
        else if (seal_frozen(model, model->params[i]) != HONE_OK)
            return model->ctx->status;
    }
    return trained ? seal_trained(model, from) : HONE_OK;
}

hone_status hone__model_want_gradients(hone_model *model)
{
    for (hone__segment *s = model->segments; s; s = s->next) {
        if (!s->grads && !(s->grads = hone__calloc(model->ctx, (size_t)s->count, sizeof *s->grads)))
            return model->ctx->status;
        for (size_t i = 0; i < s->n_params; i++)
            s->params[i]->v.grad = s->params[i]->v.trainable ? s->grads + s->params[i]->offset : NULL;
    }
    return HONE_OK;
}

void hone__model_touch(hone_model *model)
{
    for (hone__segment *s = model->segments; s; s = s->next)
        for (size_t i = 0; i < s->n_params; i++) s->params[i]->v.version++;
}

int64_t hone__model_trained_count(const hone_model *model)
{
    int64_t count = 0;
    for (size_t i = 0; i < model->n_params; i++)
        if (model->params[i]->v.trainable) count += hone_shape_count(model->params[i]->v.shape);
    return count;
}

static uint64_t generation(void *user) { return ((hone_model *)user)->generation; }
static hone_status before_plan(void *user)
{
    hone_model *model = user;
    hone_status status = hone__model_seal(model);
    return status == HONE_OK && model->segments && model->train_gradients ? hone__model_want_gradients(model) : status;
}

bool hone__graph_uses_model(hone_graph *graph, hone_model *model)
{
    return hone__graph_owned_by(graph, (hone__owner){model, generation, before_plan});
}

/* ---- gradients ---- */

static bool is_of_model(void *model, const hone__variable *variable)
{
    return hone__layer_model(((const hone_param *)variable->owner)->layer) == model;
}

hone_status hone_backward(hone_node *loss, hone_model *model)
{
    if (!loss || !model) return HONE_INVALID;
    hone_graph *graph = loss->call->graph;
    if (!hone__ok(graph->ctx)) return graph->ctx->status;
    if (graph->eager)
        return hone__fail(graph->ctx, HONE_STATE, "backward: gradients are left with a model by recorded functions, not by eager graphs: "
                                                  "call it in the forward of hone_function_new");
    model->train_gradients = true;
    if (!hone__graph_uses_model(graph, model)) return graph->ctx->status;
    for (size_t i = 0; i < model->n_params; i++) /* those that the loss does not need get zeros */
        if (model->params[i]->v.trainable && !hone__variable_node(graph, &model->params[i]->v)) return graph->ctx->status;
    return hone__grad_variables(loss, is_of_model, model);
}

/* ---- looking at parameters ---- */

size_t hone_model_param_count(const hone_model *model) { return model ? model->n_params : 0; }
hone_param *hone_model_param(const hone_model *model, size_t i) { return i < hone_model_param_count(model) ? model->params[i] : NULL; }

hone_param *hone_model_find_param(const hone_model *model, const char *name)
{
    for (size_t i = 0; name && i < hone_model_param_count(model); i++)
        if (!strcmp(model->params[i]->name, name)) return model->params[i];
    return NULL;
}

const char *hone_param_name(const hone_param *param) { return param ? param->name : NULL; }
hone_shape hone_param_shape(const hone_param *param) { return param ? param->v.shape : HONE_SCALAR; }
hone_dtype hone_param_dtype(const hone_param *param) { return param ? param->v.stored : HONE_F32; }
bool hone_param_trainable(const hone_param *param) { return param && param->v.trainable; }

static hone_status check_count(const hone_param *param, int64_t count)
{
    if (!param) return HONE_INVALID;
    if (count == hone_shape_count(param->v.shape)) return HONE_OK;
    return hone__fail_run(param->v.ctx, HONE_INVALID, "parameter '%s' is %s, not %lld values", param->name,
                          HONE__SHAPE_STR(param->v.shape), (long long)count);
}

hone_status hone_param_read(const hone_param *param, int64_t count, float *values)
{
    hone_status status = check_count(param, count);
    if (status != HONE_OK) return status;
    return hone__convert(values, HONE_F32, param->v.data, param->v.stored, count);
}

hone_status hone_param_write(hone_param *param, int64_t count, const float *values)
{
    hone_status status = check_count(param, count);
    if (status != HONE_OK) return status;
    if (param->v.stored != HONE_F32 || param->v.mapped)
        return hone__fail_run(param->v.ctx, HONE_STATE, "parameter '%s' is frozen in its file's %s", param->name,
                              hone_dtype_name(param->v.stored));
    memcpy(param->v.data, values, (size_t)count * sizeof *values);
    param->v.version++;
    return HONE_OK;
}

hone_status hone_param_read_gradient(const hone_param *param, int64_t count, float *values)
{
    hone_status status = check_count(param, count);
    if (status != HONE_OK) return status;
    if (param->v.grad)
        memcpy(values, param->v.grad, (size_t)count * sizeof *values);
    else
        memset(values, 0, (size_t)count * sizeof *values);
    return HONE_OK;
}

/* later: of parameters that the layers have yet to make */
static void set_trainable(hone_layer *layer, bool trainable, bool later)
{
    layer->frozen = !later;
    for (size_t i = 0; i < layer->n_params; i++)
        if (!layer->params[i]->state) layer->params[i]->v.trainable = trainable;
    for (size_t i = 0; i < layer->n_children; i++) set_trainable(layer->children[i], trainable, later);
}

hone_status hone_model_set_trainable(hone_model *model, const char *prefix, bool trainable)
{
    hone_status status = HONE__STATUS_OF(model);
    if (status != HONE_OK) return status;
    if (!prefix) prefix = "";
    bool any = !prefix[0];
    for (size_t i = 0; i < model->n_params; i++) {
        hone_param *param = model->params[i];
        if (strncmp(param->name, prefix, strlen(prefix)) != 0) continue;
        any = true;
        if (param->state) continue;
        if (trainable && !param->segment)
            return hone__fail(model->ctx, HONE_STATE, "parameter '%s' was frozen when the model first ran: unfreeze before",
                              param->name);
        param->v.trainable = trainable;
    }
    if (!prefix[0]) {
        model->keep_frozen = !trainable; /* speaks for what is new */
        set_trainable(model->root, trainable, true);
    } else {
        hone_layer *layer = hone__layer_find(model->root, prefix);
        if (layer) set_trainable(layer, trainable, trainable);
        any |= layer != NULL;
    }
    model->generation++;
    if (any) return HONE_OK;
    return hone__fail(model->ctx, HONE_NOT_FOUND, "no parameter or layer begins with '%s'", prefix);
}
