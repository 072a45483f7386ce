#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>

hone_graph *hone_graph_new_opt(hone_ctx *ctx, const hone_graph_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_graph *graph = hone__calloc(ctx, 1, sizeof *graph);
    if (!graph) return NULL;
    graph->ctx = hone_ctx_retain(ctx);
    graph->refs = 1;
    graph->mode = opts ? opts->mode : HONE_EVALUATE;
    graph->eager = opts && opts->eager;
    graph->scope = "";
    hone__arena_init(&graph->arena, ctx);
    return graph;
}

hone_graph *hone_graph_retain(hone_graph *graph)
{
    if (graph) graph->refs++;
    return graph;
}

void hone_graph_release(hone_graph *graph)
{
    if (!graph || --graph->refs) return;
    hone_ctx *ctx = graph->ctx;
    for (size_t i = 0; i < graph->n_owned; i++) hone_tensor_free(graph->owned[i]);
    for (hone__variable *v = graph->by_hand; v; v = v->next) hone__drop_derived(v);
    hone__free(ctx, graph->variables);
    hone__free(ctx, graph->owned);
    hone__free(ctx, graph->calls);
    hone__free(ctx, graph->inputs);
    hone__free(ctx, graph->input_names);
    hone__free(ctx, graph->applications);
    hone__free(ctx, graph->owners);
    hone__arena_free(&graph->arena);
    hone__free(ctx, graph);
    hone_ctx_release(ctx);
}

hone_ctx *hone_graph_ctx(const hone_graph *graph) { return graph ? graph->ctx : NULL; }
hone_mode hone_graph_mode(const hone_graph *graph) { return graph ? graph->mode : HONE_EVALUATE; }
hone_graph *hone_node_graph(const hone_node *node) { return node ? node->call->graph : NULL; }
hone_shape hone_node_shape(const hone_node *node) { return node ? node->shape : HONE_SHAPE(0); }
hone_dtype hone_node_dtype(const hone_node *node) { return node ? node->dtype : HONE_F32; }

bool hone__refuse(hone__call *call, hone_status status, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (call->scope[0])
        hone__fail(call->graph->ctx, status, "%s '%s': %s", call->op->name, call->scope, text);
    else
        hone__fail(call->graph->ctx, status, "%s: %s", call->op->name, text);
    return false;
}

hone_node *hone__record(hone_graph *graph, const hone_op *op, int n_in, hone_node *const *in, const void *attr)
{
    return hone__record_on(graph, op, n_in, in, attr, NULL);
}

hone_node *hone__record_on(hone_graph *graph, const hone_op *op, int n_in, hone_node *const *in, const void *attr,
                           hone__variable *variable)
{
    if (!graph || !hone__ok(graph->ctx)) return NULL;
    hone_ctx *ctx = graph->ctx;
    hone__call *call = hone__arena_alloc(&graph->arena, sizeof *call + (size_t)op->n_out * sizeof(hone_node));
    if (!call) return NULL;
    *call = (hone__call){.op = op, .graph = graph, .id = (int)graph->n_calls, .n_in = n_in, .scope = graph->scope,
                         .variable = variable, .constant = graph->pending_constant, .segment = graph->segment,
                         .n_out = op->n_out};
    int required = op->n_required ? op->n_required : op->n_in;
    if (op->n_in >= 0 && (n_in > op->n_in || n_in < required)) {
        hone__refuse(call, HONE_INVALID, "takes %d to %d inputs, got %d", required, op->n_in, n_in);
        return NULL;
    }
    for (int i = 0; i < n_in; i++) {
        if (!in[i] && (op->n_in < 0 || i < required)) {
            hone__refuse(call, HONE_INVALID, "input %d is missing (NULL)", i);
            return NULL;
        }
        if (in[i] && in[i]->call->graph != graph) {
            hone__refuse(call, HONE_INVALID, "input %d belongs to another graph", i);
            return NULL;
        }
    }
    call->in = hone__arena_alloc(&graph->arena, (size_t)HONE_MAX(n_in, 1) * sizeof *call->in);
    call->attr = hone__arena_alloc(&graph->arena, HONE_MAX(op->attr_size, (size_t)1));
    if (!call->in || !call->attr) return NULL;
    if (n_in) memcpy(call->in, in, (size_t)n_in * sizeof *in);
    if (attr && op->attr_size) memcpy(call->attr, attr, op->attr_size);
    for (int i = 0; i < op->n_out; i++)
        call->out[i] = (hone_node){.call = call, .out = i, .id = graph->n_nodes + i};
    if (op->flags & HONE__RANDOM) {
        /* The stream is the layer's name and how many random calls it has made: adding one elsewhere changes nothing here. */
        uint64_t earlier = 0;
        for (size_t i = 0; i < graph->n_calls; i++)
            if (graph->calls[i]->op->flags & HONE__RANDOM && !graph->calls[i]->repeats && !strcmp(graph->calls[i]->scope, call->scope)) earlier++;
        call->stream = hone__key(hone__hash(call->scope, strlen(call->scope), 0), earlier);
    }
    if (!op->shape(call)) {
        hone__fail(ctx, HONE_INTERNAL, "%s: shape refused without a reason", op->name);
        return NULL;
    }
    for (int i = 0; i < op->n_out; i++) {
        int64_t count;
        size_t bytes;
        if (!hone__tensor_size(call->out[i].dtype, call->out[i].shape, &count, &bytes)) {
            hone__refuse(call, HONE_SHAPE, "no value can have the shape %s: a dimension is negative, or all are too large", HONE__SHAPE_STR(call->out[i].shape));
            return NULL;
        }
    }
    if (!hone__grow(ctx, (void **)&graph->calls, &graph->calls_capacity, graph->n_calls + 1, sizeof *graph->calls))
        return NULL;
    graph->calls[graph->n_calls++] = call;
    graph->n_nodes += op->n_out;
    if (graph->eager) {
        hone_status status = hone__eager_run(call);
        if (status != HONE_OK) {
            ctx->status = status; /* in eager mode running is building: the error sticks */
            return NULL;
        }
    }
    return &call->out[0];
}

/* ---- leaves ---- */

hone_node *hone_input(hone_graph *graph, const char *name, hone_dtype dtype, hone_shape shape)
{
    if (!graph || !hone__ok(graph->ctx)) return NULL;
    hone_ctx *ctx = graph->ctx;
    if (graph->eager) {
        hone__fail(ctx, HONE_STATE, "input '%s': an eager graph has no inputs; use hone_constant or hone_variable", name);
        return NULL;
    }
    if ((unsigned)dtype >= HONE_DTYPE_COUNT || hone__is_blocks(dtype) || dtype == HONE_F16 || dtype == HONE_BF16) {
        hone__fail(ctx, HONE_DTYPE, "input '%s': f32, f64, i32, i64 or u8 wanted, not %s", name, hone_dtype_name(dtype));
        return NULL;
    }
    struct hone__leaf leaf = {dtype, shape, 0};
    hone_node *node = hone__record(graph, &hone__op_input, 0, NULL, &leaf);
    char *copy = hone__arena_strdup(&graph->arena, name ? name : "input");
    if (!node || !copy ||
        !hone__grow(ctx, (void **)&graph->inputs, &graph->inputs_capacity, graph->n_inputs + 1, sizeof *graph->inputs) ||
        !hone__grow(ctx, (void **)&graph->input_names, &graph->input_names_capacity, graph->n_inputs + 1,
                    sizeof *graph->input_names))
        return NULL;
    graph->input_names[graph->n_inputs] = copy;
    graph->inputs[graph->n_inputs++] = node;
    return node;
}

static bool own(hone_graph *graph, hone_tensor *tensor)
{
    if (!tensor) return false;
    if (!hone__grow(graph->ctx, (void **)&graph->owned, &graph->owned_capacity, graph->n_owned + 1,
                    sizeof *graph->owned)) {
        hone_tensor_free(tensor);
        return false;
    }
    graph->owned[graph->n_owned++] = tensor;
    return true;
}

hone_node *hone_constant(hone_graph *graph, const hone_tensor *tensor)
{
    if (!graph || !tensor || !hone__ok(graph->ctx)) return NULL;
    hone_dtype dtype = tensor->dtype == HONE_BF16 || tensor->dtype == HONE_F16 ? HONE_F32 : tensor->dtype;
    hone_tensor *copy = hone_tensor_new(graph->ctx, dtype, tensor->shape);
    if (!own(graph, copy)) return NULL;
    hone_status status =
        hone__convert(copy->data, dtype, tensor->data, tensor->dtype, hone_shape_count(tensor->shape));
    if (status != HONE_OK) {
        hone__fail(graph->ctx, status, "constant: %s is no plain dtype", hone_dtype_name(tensor->dtype));
        return NULL;
    }
    struct hone__leaf leaf = {dtype, tensor->shape, 0};
    /* An eager graph runs the call as it is recorded, before it could be given its tensor: hand it over first. */
    graph->pending_constant = copy;
    hone_node *node = hone__record(graph, &hone__op_constant, 0, NULL, &leaf);
    graph->pending_constant = NULL;
    return node;
}

hone_node *hone_fill(hone_graph *graph, hone_dtype dtype, hone_shape shape, double value)
{
    struct hone__leaf leaf = {dtype, shape, value};
    return hone__record(graph, &hone__op_fill, 0, NULL, &leaf);
}

hone_node *hone__variable_node(hone_graph *graph, hone__variable *variable)
{
    if (!graph || !variable || !hone__ok(graph->ctx)) return NULL;
    for (size_t i = 0; i < graph->n_variables; i++)
        if (graph->variables[i]->call->variable == variable) return graph->variables[i];
    hone_node *node = hone__record_on(graph, &hone__op_variable, 0, NULL, NULL, variable);
    if (!node || !hone__grow(graph->ctx, (void **)&graph->variables, &graph->variables_capacity,
                             graph->n_variables + 1, sizeof *graph->variables))
        return NULL;
    graph->variables[graph->n_variables++] = node;
    return node;
}

hone_node *hone__variable_latest(hone_graph *graph, hone__variable *variable)
{
    for (size_t c = graph ? graph->n_calls : 0; c-- > 0;) {
        hone__call *call = graph->calls[c];
        bool wrote = call->variable == variable && call->op->flags & HONE__EFFECT && call->op != &hone__op_grad_store;
        if (wrote) return &call->out[0];
    }
    return hone__variable_node(graph, variable);
}

bool hone__graph_owned_by(hone_graph *graph, hone__owner owner)
{
    for (size_t i = 0; i < graph->n_owners; i++)
        if (graph->owners[i].user == owner.user) return true;
    if (!hone__grow(graph->ctx, (void **)&graph->owners, &graph->owners_capacity, graph->n_owners + 1, sizeof *graph->owners))
        return false;
    graph->owners[graph->n_owners++] = owner;
    return true;
}

hone_node *hone_variable(hone_graph *graph, hone_tensor *tensor)
{
    if (!graph || !tensor || !hone__ok(graph->ctx)) return NULL;
    for (size_t i = 0; i < graph->n_variables; i++)
        if (graph->variables[i]->call->variable->owner == tensor) return graph->variables[i];
    hone__variable *variable = hone__arena_alloc(&graph->arena, sizeof *variable);
    if (!variable) return NULL;
    hone_dtype seen = hone__is_float(tensor->dtype) && tensor->dtype != HONE_F64 ? HONE_F32 : tensor->dtype;
    if (hone__is_blocks(tensor->dtype)) seen = HONE_F32;
    *variable = (hone__variable){.ctx = graph->ctx, .name = "", .dtype = seen, .stored = tensor->dtype,
                                 .shape = tensor->shape, .data = tensor->data, .version = 1, .owner = tensor,
                                 .by_hand = true, .next = graph->by_hand};
    graph->by_hand = variable;
    return hone__variable_node(graph, variable);
}

/* ---- segments of gradient checkpointing ---- */

void hone_checkpoint_begin(hone_graph *graph)
{
    if (graph && graph->segment_depth++ == 0) graph->segment = ++graph->segments;
}

void hone_checkpoint_end(hone_graph *graph)
{
    if (!graph) return;
    if (graph->segment_depth == 0)
        hone__fail(graph->ctx, HONE_STATE, "hone_checkpoint_end: there was no hone_checkpoint_begin");
    else if (--graph->segment_depth == 0)
        graph->segment = 0;
}

/* ---- scopes ---- */

const char *hone__scope_push(hone_graph *graph, const char *name)
{
    const char *before = graph->scope;
    if (!name || !name[0]) return before;
    size_t size = strlen(before) + strlen(name) + 2;
    char *scope = hone__arena_alloc(&graph->arena, size);
    if (scope) {
        snprintf(scope, size, "%s%s%s", before, before[0] ? "." : "", name);
        graph->scope = scope;
    }
    return before;
}

void hone__scope_pop(hone_graph *graph, const char *before) { graph->scope = before; }
