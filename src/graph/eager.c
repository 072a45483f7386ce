#include "graph/graph.h"

/* A value of an eager graph, owned by the graph. */
static bool own_value(hone_graph *graph, hone_dtype dtype, hone_shape shape, bool last, hone__view *view)
{
    hone_tensor *tensor = hone_tensor_new(graph->ctx, dtype, shape);
    if (!tensor) return false;
    if (!hone__grow(graph->ctx, (void **)&graph->owned, &graph->owned_capacity, graph->n_owned + 1, sizeof *graph->owned)) {
        hone_tensor_free(tensor);
        return false;
    }
    graph->owned[graph->n_owned++] = tensor;
    *view = last ? hone__view_channels_last(tensor->data, dtype, shape) : hone__view_dense(tensor->data, dtype, shape);
    return true;
}

static hone_status run_on(hone__call *call, const hone_op *op, hone__view *in, hone__view *out,
                          hone__variable **variable)
{
    hone_graph *graph = call->graph;
    hone__run_info info = {.seed = graph->ctx->seed};
    hone__exec exec = {.call = call, .attr = call->attr, .ctx = graph->ctx, .n_in = op == call->op ? call->n_in : 1,
                       .n_out = op == call->op ? call->n_out : 1, .in = in, .out = out, .variable = variable,
                       .target = op->flags & HONE__EFFECT ? call->variable : NULL, .run = op->run, .info = &info};
    exec.k = hone__kernels_for(HONE_F32);
    for (int i = 0; i < exec.n_in; i++)
        if (in[i].dtype == HONE_F64) exec.k = hone__kernels_for(HONE_F64);
    for (int i = 0; i < exec.n_out; i++)
        if (out[i].dtype == HONE_F64) exec.k = hone__kernels_for(HONE_F64);
    hone__use_threads(graph->ctx);
    hone_status status = op->prepare ? op->prepare(&exec) : HONE_OK;
    if (status == HONE_OK && exec.scratch_size && !(exec.scratch = hone__alloc(graph->ctx, exec.scratch_size)))
        status = HONE_MEMORY;
    if (status == HONE_OK) status = exec.run(&exec);
    if (exec.free_state && exec.state) exec.free_state(exec.state);
    hone__free(graph->ctx, exec.scratch);
    return status;
}

typedef enum layout { ANY, DENSE, LAST } layout;

static bool lies(const hone__view *view, layout wanted)
{
    return wanted == ANY || (wanted == DENSE ? hone__view_is_dense(view) : hone__view_is_channels_last(view));
}

/* The input's values, plain and as asked. */
static bool fetch(hone__call *call, hone_node *node, layout wanted, hone__view *view)
{
    hone_graph *graph = call->graph;
    *view = node->value;
    bool convert = view->dtype != node->dtype;
    hone__view copy;
    if (convert && (hone__is_blocks(view->dtype) || view->dtype == HONE_F16)) {
        if (!own_value(graph, node->dtype, node->shape, false, &copy)) return false;
        hone__convert(copy.data, node->dtype, view->data, view->dtype, hone_shape_count(node->shape));
        *view = copy;
        convert = false;
    }
    if (!convert && lies(view, wanted)) return true;
    if (!own_value(graph, node->dtype, node->shape, wanted == LAST, &copy)) return false;
    if (run_on(call, &hone__op_copy, view, &copy, NULL) != HONE_OK) return false;
    *view = copy;
    return true;
}

static layout wanted_layout(const hone_op *op, int i)
{
    if (op->last_in >> HONE_MIN(i, 31) & 1) return LAST;
    return op->flags & (HONE__STRIDED | HONE__VIEW) ? ANY : DENSE;
}

hone_status hone__eager_run(hone__call *call)
{
    const hone_op *op = call->op;
    hone_ctx *ctx = call->graph->ctx;
    if (op == &hone__op_variable) {
        hone__variable *v = call->variable;
        if (!v->data) return hone__fail(ctx, HONE_STATE, "variable '%s' has no memory yet", v->name);
        call->out[0].value = hone__view_dense(v->data, v->stored, v->shape);
        return HONE_OK;
    }
    if (op == &hone__op_constant) {
        call->out[0].value = hone__view_dense(call->constant->data, call->constant->dtype, call->constant->shape);
        return HONE_OK;
    }
    size_t views = (size_t)(call->n_in + call->n_out + 1);
    hone__view *in = hone__arena_alloc(&call->graph->arena, views * sizeof *in), *out = in + call->n_in;
    hone__variable **variable = hone__arena_alloc(&call->graph->arena, views * sizeof *variable);
    if (!in || !variable) return ctx->status;
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i] && !fetch(call, call->in[i], wanted_layout(op, i), &in[i]))
            return hone__ok(ctx) ? HONE_INTERNAL : ctx->status;
    if (op->flags & HONE__VIEW) {
        if (op->view(call, &in[0], &call->out[0].value)) return HONE_OK;
        if (!fetch(call, call->in[0], DENSE, &in[0])) return ctx->status;
        return op->view(call, &in[0], &call->out[0].value) ? HONE_OK : HONE_INTERNAL;
    }
    for (int i = 0; i < call->n_out; i++) {
        if (op == &hone__op_grad_store) {
            hone__variable *v = call->variable;
            out[i] = hone__view_dense(v->grad, v->dtype == HONE_F64 ? HONE_F64 : HONE_F32, v->shape);
        } else if (op->flags & HONE__EFFECT) {
            out[i] = hone__view_dense(call->variable->data, call->variable->stored, call->variable->shape);
        } else if (!own_value(call->graph, call->out[i].dtype, call->out[i].shape, op->last_out >> i & 1, &out[i])) {
            return ctx->status;
        }
        call->out[i].value = out[i];
    }
    return run_on(call, op, in, out, variable);
}

hone_status hone_node_read(const hone_node *node, int64_t count, hone_dtype dtype, void *values)
{
    if (!node) return HONE_INVALID;
    hone_ctx *ctx = node->call->graph->ctx;
    if (!node->call->graph->eager)
        return hone__fail_run(ctx, HONE_STATE, "node_read: only nodes of an eager graph have values");
    if (count != hone_shape_count(node->shape))
        return hone__fail_run(ctx, HONE_INVALID, "node_read: %lld values asked for, shape %s", (long long)count,
                              HONE__SHAPE_STR(node->shape));
    hone__view view = node->value;
    if (!hone__view_is_dense(&view) && !fetch(node->call, (hone_node *)(uintptr_t)node, DENSE, &view)) return ctx->status;
    return hone__convert(values, dtype, view.data, view.dtype, count);
}
