/* Functional models: a graph recorded once with HONE_BATCH for the batch size is the recipe; each run records it again
   with the real one, applying layers anew and copying the calls between them. */
#include "nn/nn.h"

#include <stdio.h>

typedef hone__functional functional;

static void destroy(hone_layer *self)
{
    functional *f = (functional *)(void *)self;
    hone__free(self->ctx, f->inputs);
    hone__free(self->ctx, f->outputs);
    hone__free(self->ctx, f->made);
    hone_graph_release(f->recipe);
}

/* Shapes kept as attributes (a reshape's target) mention the batch too. */
static void set_batch(const hone_op *op, char *attr, int64_t batch)
{
    for (const hone__attr *a = op->attrs; a && a->name; a++) {
        if (a->type != HONE__ATTR_SHAPE) continue;
        hone_shape *shape = (hone_shape *)(void *)(attr + a->offset);
        for (int d = 0; d < shape->rank; d++)
            if (shape->dim[d] > 0 && shape->dim[d] % HONE_BATCH == 0) shape->dim[d] = shape->dim[d] / HONE_BATCH * batch;
    }
}

/* What stands for a node of the recipe; NULL for none. Inner nodes of layers have nobody there, but for the lengths of their rows. */
static bool stand_in(hone_ctx *ctx, const hone_node *node, hone_node *const *now, hone_node **to)
{
    *to = node ? now[node->id] : NULL;
    if (*to || !node) return true;
    hone__fail(ctx, HONE_INVALID, "functional model: a value from within layer '%s' is read outside of it; its output alone may be",
               node->call->scope);
    return false;
}

static hone_node *copy_call(hone_graph *graph, const hone__call *call, hone_node **now, int64_t batch)
{
    hone_node *in_few[8] = {0}, **in = in_few;
    char *attr = hone__arena_alloc(&graph->arena, HONE_MAX(call->op->attr_size, (size_t)1));
    if (call->n_in > 8) in = hone__arena_alloc(&graph->arena, (size_t)call->n_in * sizeof *in);
    if (!attr || !in) return NULL;
    if (call->op->attr_size) memcpy(attr, call->attr, call->op->attr_size);
    set_batch(call->op, attr, batch);
    for (int i = 0; i < call->n_in; i++)
        if (!stand_in(graph->ctx, call->in[i], now, &in[i])) return NULL;
    if (call->op == &hone__op_variable) return hone__variable_node(graph, call->variable);
    if (call->op == &hone__op_constant) return hone_constant(graph, call->constant);
    return hone__record_on(graph, call->op, call->n_in, in, attr, call->variable);
}

static hone_shape with_batch(hone_shape shape, int64_t batch)
{
    for (int d = 0; d < shape.rank; d++)
        if (shape.dim[d] == HONE_BATCH) shape.dim[d] = batch;
    return shape;
}

/* The inputs are what the recipe was recorded with: shapes, and numbers of the same kind, which tells apart those of one shape. */
static bool check_inputs(const functional *f, hone_node *const *in, int n)
{
    hone_ctx *ctx = f->base.ctx;
    if (n != f->n_inputs) return hone__fail(ctx, HONE_INVALID, "functional model: takes %d inputs, got %d", f->n_inputs, n), false;
    int64_t batch = in[0]->shape.rank ? in[0]->shape.dim[0] : 1;
    for (int i = 0; i < n; i++) {
        hone_shape want = with_batch(f->inputs[i]->shape, batch);
        if (!hone_shape_equal(want, in[i]->shape))
            return hone__fail(ctx, HONE_SHAPE, "functional model: input %d is %s, the model expects %s", i, HONE__SHAPE_STR(in[i]->shape),
                              HONE__SHAPE_STR(want)),
                   false;
        if (hone__is_float(f->inputs[i]->dtype) != hone__is_float(in[i]->dtype))
            return hone__fail(ctx, HONE_DTYPE, "functional model: input %d is %s, the model expects %s", i, hone_dtype_name(in[i]->dtype),
                              hone_dtype_name(f->inputs[i]->dtype)),
                   false;
    }
    return true;
}

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    functional *f = (functional *)(void *)self;
    hone_ctx *ctx = graph->ctx;
    if (!check_inputs(f, in, n)) return NULL;
    hone_node **now = hone__calloc(ctx, (size_t)f->recipe->n_nodes + 1, sizeof *now);
    if (!now) return NULL;
    int64_t batch = in[0]->shape.rank ? in[0]->shape.dim[0] : 1;
    bool ok = true;
    for (int i = 0; i < n; i++) now[f->inputs[i]->id] = in[i];
    size_t next = 0; /* application */
    for (size_t c = 0; c < f->recipe->n_calls && ok; c++) {
        const hone__call *call = f->recipe->calls[c];
        const hone__application *a = next < f->recipe->n_applications ? &f->recipe->applications[next] : NULL;
        if (a && a->first == c) {
            hone_node *inputs[16];
            ok = a->n_in <= 16;
            for (int i = 0; i < a->n_in && ok; i++) ok = stand_in(ctx, a->in[i], now, &inputs[i]);
            hone_node *y = ok ? hone__apply(a->layer, a->n_in, inputs, a->mode) : NULL;
            ok = y != NULL;
            now[a->out->id] = y;
            if (ok && a->out->lengths) now[a->out->lengths->id] = y->lengths;
            next++;
            c = a->last - 1; /* not empty: hone_apply_n */
            continue;
        }
        if (call->op == &hone__op_input) continue;
        hone_node *y = copy_call(graph, call, now, batch);
        ok = y != NULL;
        for (int i = 0; i < call->n_out && ok; i++) now[call->out[i].id] = &y->call->out[i];
    }
    for (int i = 0; i < f->n_outputs && ok; i++)
        if (!(f->made[i] = now[f->outputs[i]->id])) ok = false, hone__fail(ctx, HONE_INTERNAL, "functional model: output %d was not made", i);
    hone__free(ctx, now);
    return ok ? f->made[0] : NULL;
}

static bool adopt(hone_layer *self, hone_graph *recipe)
{
    for (size_t i = 0; i < recipe->n_applications; i++) {
        hone_layer *layer = recipe->applications[i].layer;
        if (layer->parent == self) continue; /* applied twice */
        char name[64];
        snprintf(name, sizeof name, "%s", layer->name ? layer->name : layer->type);
        for (int k = 1; hone__layer_find(self, name); k++)
            snprintf(name, sizeof name, "%s_%d", layer->name ? layer->name : layer->type, k);
        if (!hone_layer_add(self, name, layer)) return false;
    }
    return true;
}

bool hone__is_functional(const hone_layer *layer) { return layer->forward == forward; }
functional *hone__functional_of(const hone_model *model)
{
    return hone__is_functional(model->root) ? (functional *)(void *)model->root : NULL;
}

functional *hone__functional_new(hone_graph *recipe)
{
    functional *f = (functional *)(void *)hone_layer_new(recipe->ctx, sizeof *f, "functional", forward);
    if (!f) return NULL;
    f->base.destroy = destroy;
    f->recipe = hone_graph_retain(recipe);
    return f;
}

bool hone__functional_close(functional *f, int n_inputs, hone_node *const *inputs, int n_outputs, hone_node *const *outputs)
{
    hone_ctx *ctx = f->base.ctx;
    f->inputs = hone__calloc(ctx, (size_t)n_inputs, sizeof *f->inputs);
    f->outputs = hone__calloc(ctx, (size_t)n_outputs, sizeof *f->outputs);
    f->made = hone__calloc(ctx, (size_t)n_outputs, sizeof *f->made);
    if (!f->inputs || !f->outputs || !f->made) return false;
    f->n_inputs = n_inputs;
    f->n_outputs = n_outputs;
    memcpy(f->inputs, inputs, (size_t)n_inputs * sizeof *inputs);
    memcpy(f->outputs, outputs, (size_t)n_outputs * sizeof *outputs);
    return adopt(&f->base, f->recipe);
}

hone_model *hone_model_new(int n_inputs, hone_node *const *inputs, int n_outputs, hone_node *const *outputs)
{
    if (n_inputs < 1 || n_outputs < 1 || !inputs[0]) return NULL;
    for (int i = 0; i < n_outputs; i++)
        if (!outputs[i]) return NULL;
    hone_graph *recipe = inputs[0]->call->graph;
    hone_ctx *ctx = recipe->ctx;
    if (!hone__ok(ctx)) return NULL;
    if (n_outputs > HONE__MOST_OUTPUTS) {
        hone__fail(ctx, HONE_INVALID, "functional model: %d outputs at most, not %d", HONE__MOST_OUTPUTS, n_outputs);
        return NULL;
    }
    for (int i = 0; i < n_inputs; i++)
        if (!inputs[i] || inputs[i]->call->op != &hone__op_input || inputs[i]->call->graph != recipe) {
            hone__fail(ctx, HONE_INVALID, "functional model: input %d was not made by hone_input in this graph", i);
            return NULL;
        }
    for (int i = 0; i < n_outputs; i++)
        if (outputs[i]->call->graph != recipe) {
            hone__fail(ctx, HONE_INVALID, "functional model: output %d belongs to another graph than the inputs", i);
            return NULL;
        }
    functional *f = hone__functional_new(recipe);
    if (!f) return NULL;
    if (hone__functional_close(f, n_inputs, inputs, n_outputs, outputs)) return hone_model_of(&f->base);
    hone_layer_free(&f->base);
    return NULL;
}

/* ---- several outputs ---- */

int hone_model_output_count(const hone_model *model)
{
    const functional *f = model ? hone__functional_of(model) : NULL;
    return f ? f->n_outputs : model != NULL;
}

hone_status hone_model_apply(hone_model *model, int n_inputs, hone_node *const *inputs, int n_outputs, hone_node **outputs)
{
    hone_status usable = HONE__STATUS_OF(model);
    if (usable != HONE_OK) return usable;
    hone_ctx *ctx = model->ctx;
    const functional *f = hone__functional_of(model);
    if (n_outputs != hone_model_output_count(model))
        return hone__fail(ctx, HONE_INVALID, "the model has %d outputs, %d were asked for", hone_model_output_count(model), n_outputs);
    if (!(outputs[0] = hone_apply_n(model->root, n_inputs, inputs))) return hone__ok(ctx) ? HONE_INVALID : ctx->status;
    for (int k = 1; k < n_outputs; k++) {
        outputs[k] = f->made[k];
        for (int i = 0; i < n_inputs; i++) /* hone_apply sees to the first */
            if (outputs[k] == inputs[i]) outputs[k] = hone__copy_of(inputs[i]);
    }
    return ctx->status;
}

/* ---- made again ---- */

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    (void)like;
    hone_graph *recipe = hone_graph_new(ctx);
    functional *f = recipe ? hone__functional_new(recipe) : NULL;
    hone_graph_release(recipe);
    return f ? &f->base : NULL;
}
const hone__layer_kind hone__functional_kind = {"functional", forward, sizeof(functional), NULL, again};
