#include "nn/nn.h"

#include <stdio.h>

/* ---- layers that nobody took: a functional model that failed half-way has them ---- */

static void free_orphans(hone_ctx *ctx)
{
    while (ctx->orphans) hone_layer_free(ctx->orphans);
}

static void make_orphan(hone_layer *layer)
{
    hone_ctx *ctx = layer->ctx;
    hone_layer *next = ctx->orphans;
    layer->next_orphan = next;
    layer->orphan_link = &ctx->orphans;
    if (next) next->orphan_link = &layer->next_orphan;
    ctx->orphans = layer;
    ctx->free_orphans = free_orphans;
}

void hone__layer_adopted(hone_layer *layer)
{
    if (!layer->orphan_link) return;
    *layer->orphan_link = layer->next_orphan;
    if (layer->next_orphan) layer->next_orphan->orphan_link = layer->orphan_link;
    layer->next_orphan = NULL;
    layer->orphan_link = NULL;
}

hone_layer *hone_layer_new(hone_ctx *ctx, size_t size, const char *type, hone_layer_fn forward)
{
    if (!hone__ok(ctx)) return NULL;
    if (size < sizeof(hone_layer) || !forward) {
        hone__fail(ctx, HONE_INVALID, "layer '%s': needs a forward and at least the size of a hone_layer", type);
        return NULL;
    }
    hone_layer *layer = hone__calloc(ctx, 1, size);
    if (!layer) return NULL;
    layer->ctx = ctx;
    layer->type = type;
    layer->forward = forward;
    make_orphan(layer);
    return layer;
}

hone_layer *hone_layer_add(hone_layer *parent, const char *name, hone_layer *child)
{
    if (!parent || !child || !hone__ok(parent->ctx)) {
        if (child && !child->parent) hone_layer_free(child);
        return NULL;
    }
    hone_ctx *ctx = parent->ctx;
    if (child->parent || child->model) {
        hone__fail(ctx, HONE_STATE, "layer '%s' already belongs to '%s'; to share its weights apply it twice",
                   child->name ? child->name : child->type, child->parent ? child->parent->type : "a model");
        return NULL;
    }
    char number[32];
    snprintf(number, sizeof number, "%zu", parent->n_children);
    if (!name) name = number;
    for (size_t i = 0; i < parent->n_children; i++)
        if (!strcmp(parent->children[i]->name, name)) {
            hone__fail(ctx, HONE_INVALID, "layer '%s' already has a child '%s'", parent->type, name);
            hone_layer_free(child);
            return NULL;
        }
    hone__free(ctx, child->name);
    child->name = hone__strdup(ctx, name);
    if (!child->name || !hone__grow(ctx, (void **)&parent->children, &parent->children_capacity, parent->n_children + 1,
                                    sizeof *parent->children)) {
        hone_layer_free(child);
        return NULL;
    }
    hone__layer_adopted(child);
    child->parent = parent;
    parent->children[parent->n_children++] = child;
    return child;
}

static void free_param(hone_ctx *ctx, hone_param *param)
{
    hone__drop_derived(&param->v);
    hone__free(ctx, param->own);
    hone__free(ctx, param->name);
    hone__free(ctx, param);
}

void hone_layer_free(hone_layer *layer)
{
    if (!layer) return;
    hone_ctx *ctx = layer->ctx;
    hone__layer_adopted(layer);
    for (size_t i = 0; i < layer->n_children; i++) hone_layer_free(layer->children[i]);
    if (layer->destroy) layer->destroy(layer);
    for (size_t i = 0; i < layer->n_params; i++) free_param(ctx, layer->params[i]);
    hone__free_initials(layer);
    hone__free(ctx, layer->children);
    hone__free(ctx, layer->params);
    hone__free(ctx, layer->name);
    hone__free(ctx, layer);
}

char *hone__layer_path(const hone_layer *layer, const char *last)
{
    if (!layer->parent) return hone__strdup(layer->ctx, last);
    char *longer = last[0] ? hone__format(layer->ctx, "%s.%s", layer->name, last) : hone__strdup(layer->ctx, layer->name);
    char *path = longer ? hone__layer_path(layer->parent, longer) : NULL;
    hone__free(layer->ctx, longer);
    return path;
}

hone_layer *hone__layer_find(hone_layer *root, const char *path)
{
    while (root && path[0]) {
        size_t n = strcspn(path, ".");
        hone_layer *next = NULL;
        for (size_t i = 0; i < root->n_children && !next; i++) {
            const char *name = root->children[i]->name;
            if (strlen(name) == n && !memcmp(name, path, n)) next = root->children[i];
        }
        root = next;
        path += n + (path[n] == '.');
    }
    return root;
}

/* ---- applying ---- */

hone_node *hone__apply(hone_layer *layer, int n, hone_node *const *inputs, int mode)
{
    if (!layer || n < 1 || !inputs[0]) return NULL;
    hone_graph *graph = inputs[0]->call->graph;
    if (!hone__ok(graph->ctx)) return NULL;
    for (int i = 0; i < n; i++)
        if (!inputs[i] && !(layer->required_inputs > 0 && i >= layer->required_inputs)) return NULL;
    if (layer->model && n == 1) {
        layer->model->input_dtype = inputs[0]->dtype;
        layer->model->input_shape = inputs[0]->shape;
    }
    size_t first = graph->n_calls;
    bool outermost = graph->depth++ == 0;
    const char *before = hone__scope_push(graph, layer->name);
    if (layer->checkpointing) hone_checkpoint_begin(graph);
    const hone_mode mode_before = graph->mode;
    if (mode != HONE__MODE_OF_GRAPH) graph->mode = (hone_mode)mode;
    hone_node *y = layer->forward(layer, graph, inputs, n);
    graph->mode = mode_before;
    /* What gives its input back (dropout when a functional model is recorded) has a value of its own there, too: replayed, it may do
       something, and others read the input as it is. */
    for (int i = 0; outermost && y && i < n; i++)
        if (y == inputs[i]) y = hone__copy_of(y);
    if (y && layer->keeps_lengths && !(layer->mixes_last && inputs[0]->time == inputs[0]->shape.rank - 1)) hone__keep_lengths(y, inputs[0]);
    if (layer->checkpointing) hone_checkpoint_end(graph);
    hone__scope_pop(graph, before);
    graph->depth--;
    if (!y) {
        hone__fail(graph->ctx, HONE_INVALID, "layer '%s': its forward returned NULL without a reason",
                   layer->name ? layer->name : layer->type);
        return NULL;
    }
    layer->output = y->shape;
    if (!outermost) return y;
    /* A functional model replays what was applied: see functional.c. */
    if (!hone__grow(graph->ctx, (void **)&graph->applications, &graph->applications_capacity, graph->n_applications + 1,
                    sizeof *graph->applications))
        return NULL;
    hone_node **kept = hone__arena_alloc(&graph->arena, (size_t)n * sizeof *kept);
    if (!kept) return NULL;
    memcpy(kept, inputs, (size_t)n * sizeof *kept);
    graph->applications[graph->n_applications++] = (hone__application){layer, n, mode, kept, y, first, graph->n_calls};
    return y;
}

void hone_add_loss(hone_node *losses)
{
    if (!losses) return;
    hone_graph *graph = losses->call->graph;
    if (losses->shape.rank != 1 || losses->dtype != HONE_F32)
        hone__fail(graph->ctx, HONE_SHAPE, "add_loss: one f32 an example is wanted, not %s %s", hone_dtype_name(losses->dtype),
                   HONE__SHAPE_STR(losses->shape));
    else
        graph->extra_loss = graph->extra_loss ? hone_add(graph->extra_loss, losses) : losses;
}
hone_node *hone_added_loss(const hone_graph *graph) { return graph ? graph->extra_loss : NULL; }

void hone_layer_set_checkpointing(hone_layer *layer, bool on)
{
    if (!layer || layer->checkpointing == on) return;
    layer->checkpointing = on;
    hone_model *model = hone__layer_model(layer);
    if (model) model->generation++;
}

hone_model *hone__layer_model(const hone_layer *layer)
{
    while (layer->parent) layer = layer->parent;
    return layer->model;
}

hone_node *hone_apply(hone_layer *layer, hone_node *x) { return hone_apply_n(layer, 1, &x); }

hone_node *hone_apply_n(hone_layer *layer, int n, hone_node *const *inputs)
{
    return hone__apply(layer, n, inputs, HONE__MODE_OF_GRAPH);
}

hone_node *hone_apply_mode(hone_layer *layer, hone_node *x, hone_mode mode) { return hone__apply(layer, 1, &x, mode); }

/* ---- parameters ---- */

static hone_param *find_param(hone_layer *layer, const char *name)
{
    for (size_t i = 0; i < layer->n_params; i++)
        if (!strcmp(layer->params[i]->local, name)) return layer->params[i];
    return NULL;
}

/* A state that was assigned in this graph before (a batch norm that is applied twice) goes on from there. */
static hone_node *node_of(hone_param *param, hone_graph *graph)
{
    hone_model *model = hone__layer_model(param->layer);
    if (!graph || (model && !hone__graph_uses_model(graph, model))) return NULL;
    return param->state ? hone__variable_latest(graph, &param->v) : hone__variable_node(graph, &param->v);
}

static hone_node *param_node(hone_layer *layer, hone_graph *graph, const char *name, hone_shape shape,
                             hone_initializer initializer, bool state)
{
    if (!layer || !hone__ok(layer->ctx)) return NULL;
    hone_ctx *ctx = layer->ctx;
    hone_param *param = find_param(layer, name);
    if (param) {
        if (hone_shape_equal(param->v.shape, shape)) return node_of(param, graph);
        hone__fail(ctx, HONE_SHAPE, "%s '%s': parameter '%s' is %s, this input needs %s", layer->type,
                   graph->scope[0] ? graph->scope : "", name, HONE__SHAPE_STR(param->v.shape), HONE__SHAPE_STR(shape));
        return NULL;
    }
    int64_t count;
    size_t bytes;
    if (!hone__tensor_size(HONE_F32, shape, &count, &bytes)) {
        hone__fail(ctx, HONE_SHAPE, "%s: parameter '%s' cannot have shape %s", layer->type, name, HONE__SHAPE_STR(shape));
        return NULL;
    }
    hone__initial initial;
    if (!hone__initial_of(layer, name, initializer, &initial)) return NULL;
    param = hone__calloc(ctx, 1, sizeof *param);
    if (!param) return NULL;
    if (!hone__grow(ctx, (void **)&layer->params, &layer->params_capacity, layer->n_params + 1, sizeof *layer->params)) {
        hone__free(ctx, param);
        return NULL;
    }
    *param = (hone_param){.v = {.ctx = ctx, .name = "", .dtype = HONE_F32, .stored = HONE_F32, .shape = shape,
                                .trainable = !state, .version = 1},
                          .layer = layer, .local = name, .initial = initial, .state = state};
    param->v.owner = param;
    layer->params[layer->n_params++] = param;
    hone_model *model = hone__layer_model(layer);
    if (model) {
        model->generation++;
        if (!state) param->v.trainable = !model->keep_frozen && (!layer->frozen || hone__is_lora(name));
    }
    return node_of(param, graph);
}

hone_node *hone_weight(hone_layer *layer, hone_graph *graph, const char *name, hone_shape shape, hone_initializer initializer)
{
    return param_node(layer, graph, name, shape, initializer, false);
}

hone_node *hone_state(hone_layer *layer, hone_graph *graph, const char *name, hone_shape shape, hone_initializer initializer)
{
    return param_node(layer, graph, name, shape, initializer, true);
}

hone_node *hone_weight_of(hone_layer *other, hone_graph *graph, const char *name)
{
    if (!other || !hone__ok(other->ctx)) return NULL;
    hone_param *param = find_param(other, name);
    if (param) return node_of(param, graph);
    hone__fail(other->ctx, HONE_NOT_FOUND, "%s '%s' has no parameter '%s' yet", other->type,
               other->name ? other->name : "", name);
    return NULL;
}
