/* Reverse-mode differentiation by source transformation: each op's vjp appends the nodes of its gradient. */
#include "graph/graph.h"

typedef struct adjoints {
    hone_graph *graph;
    int n;               /* nodes that existed when we began */
    hone_node **of;      /* per node id: the gradient gathered so far */
    bool *wanted;        /* per node id: some wanted leaf lies below it */
    hone__call **again;  /* per call id: its second recording, for backward passes */
    size_t calls;        /* that existed when we began */
    int fresh;           /* id of the first call that the present vjp recorded */
    int segment;         /* whose calls have been recorded again last: the backward pass meets each once */
} adjoints;

/* The parameters' contributions are stored one by one, so that each can be written straight into its slot. */
static bool is_slot(const hone_node *node)
{
    return node->call->op == &hone__op_variable && node->call->variable->trainable;
}

/* Has the call that has just made `gradient` add `before` to it, if its op can. false: nothing happened. */
static bool sum_within(const adjoints *a, hone_node *before, const hone_node *gradient)
{
    hone__call *call = gradient->call;
    int i = call->op->sum_in;
    bool can = i && gradient->out == call->op->sum_out && call->id >= a->fresh && before->call->id < a->fresh && call->n_in <= i &&
               before->dtype == gradient->dtype;
    if (!can || a->graph->eager) return false;
    hone_node **in = hone__arena_alloc(&a->graph->arena, (size_t)(i + 1) * sizeof *in);
    if (!in) return false;
    for (int k = 0; k < i; k++) in[k] = k < call->n_in ? call->in[k] : NULL;
    in[i] = before;
    call->in = in;
    call->n_in = i + 1;
    return call->sums_gradients = true;
}

static bool add_adjoint(adjoints *a, hone_node *node, hone_node *gradient, bool to_slots)
{
    if (!gradient) return false;
    if (!hone_shape_equal(node->shape, gradient->shape)) {
        hone__fail(a->graph->ctx, HONE_INTERNAL, "grad: %s hands back %s for an input of shape %s",
                   gradient->call->op->name, HONE__SHAPE_STR(gradient->shape), HONE__SHAPE_STR(node->shape));
        return false;
    }
    if (to_slots && is_slot(node))
        return (a->of[node->id] = hone__record_on(a->graph, &hone__op_grad_store, 1, &gradient, NULL, node->call->variable)) != NULL;
    hone_node **slot = &a->of[node->id];
    if (!*slot) return (*slot = gradient) != NULL;
    hone_node *in[2] = {*slot, gradient};
    if (sum_within(a, *slot, gradient)) return (*slot = gradient) != NULL;
    if (!(*slot = hone__record(a->graph, &hone__op_add, 2, in, NULL))) return false;
    (*slot)->call->sums_gradients = true;
    return true;
}

/* The call on inputs in[], recorded a second time; it gives the same bits, whatever reads them. */
static bool repeat(adjoints *a, hone__call *call, hone_node *const *in)
{
    const char *before = a->graph->scope;
    a->graph->scope = call->scope;
    hone_node *copy = hone__record(a->graph, call->op, call->n_in, in, call->attr);
    a->graph->scope = before;
    if (!copy) return false;
    copy->call->stream = call->stream;
    copy->call->repeats = call;
    a->again[call->id] = copy->call;
    return true;
}

/* The value as the segment's second recording has it; what comes from outside, and leaves and effects, as it is. */
static hone_node *of_segment(const adjoints *a, hone_node *node, int segment)
{
    bool inside = node && node->id < a->n && node->call->segment == segment && a->again[node->call->id];
    return inside ? &a->again[node->call->id]->out[node->out] : node;
}

/* A node as the backward pass should read it: what is cheap to compute is computed again, from inputs that are kept
   anyway, so that its memory is free in between (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
   A segment's values are kept for those who read them outside. */
static hone_node *again(adjoints *a, hone_node *node)
{
    hone__call *call = node ? node->call : NULL;
    if (!call || !(call->op->flags & HONE__CHEAP) || a->graph->eager || node->id >= a->n || call->segment) return node;
    if (!a->again[call->id] && !repeat(a, call, call->in)) return NULL;
    return &a->again[call->id]->out[node->out];
}

/* Records the calls of the segment that ends with `last` again; those that no gradient reads are never planned. */
static bool repeat_segment(adjoints *a, const hone__call *last)
{
    int segment = last->segment, c = last->id;
    while (c > 0 && a->graph->calls[c - 1]->segment == segment) c--;
    for (; c < (int)a->calls && a->graph->calls[c]->segment == segment; c++) {
        hone__call *call = a->graph->calls[c];
        if (call->n_in == 0 || call->op->flags & HONE__EFFECT) continue;
        hone_node **in = hone__arena_alloc(&a->graph->arena, (size_t)call->n_in * sizeof *in);
        if (!in) return false;
        for (int i = 0; i < call->n_in; i++) in[i] = of_segment(a, call->in[i], segment);
        if (!repeat(a, call, in)) return false;
    }
    a->segment = segment;
    return true;
}

/* The op's vjp, on the second recording of what was not kept. */
static bool differentiate(adjoints *a, hone__call *call, hone_node *const *d_out, const bool *wanted, hone_node **d_in)
{
    if (call->segment && !a->graph->eager) {
        if (a->segment != call->segment && !repeat_segment(a, call)) return false;
        hone__call *copy = a->again[call->id];
        return copy && copy->op->vjp(copy, d_out, wanted, d_in) && hone__ok(a->graph->ctx);
    }
    hone_node **kept = call->in;
    hone_node **in = hone__arena_alloc(&a->graph->arena, (size_t)(call->n_in + 1) * sizeof *in);
    if (!in) return false;
    for (int i = 0; i < call->n_in; i++)
        if (!(in[i] = again(a, kept[i])) && kept[i]) return false;
    call->in = in;
    bool ok = call->op->vjp(call, d_out, wanted, d_in) && hone__ok(a->graph->ctx);
    call->in = kept;
    return ok;
}

static hone_status back(adjoints *a, hone_node *loss, bool to_slots)
{
    hone_ctx *ctx = a->graph->ctx;
    if (hone_shape_count(loss->shape) != 1 || !hone__is_float(loss->dtype))
        return hone__fail(ctx, HONE_SHAPE, "grad: the loss must be one real number, not %s of shape %s",
                          hone_dtype_name(loss->dtype), HONE__SHAPE_STR(loss->shape));
    hone_node *one = hone_fill(a->graph, loss->dtype, loss->shape, 1);
    if (!add_adjoint(a, loss, one, false)) return ctx->status;

    for (int c = loss->call->id; c >= 0; c--) {
        hone__call *call = a->graph->calls[c];
        bool any = false, reaches = false;
        enum { FEW = 16 };
        hone_node *d_out_few[FEW] = {0}, *d_in_few[FEW] = {0};
        bool wanted_few[FEW] = {0};
        for (int i = 0; i < call->n_out; i++) any |= a->of[call->out[i].id] != NULL;
        for (int i = 0; i < call->n_in; i++) reaches |= call->in[i] && a->wanted[call->in[i]->id];
        if (!any || !reaches) continue;
        if (!call->op->vjp) {
            hone__refuse(call, HONE_UNSUPPORTED, "cannot be differentiated");
            return ctx->status;
        }
        for (int i = 0; i < call->n_out; i++)
            if (call->op->aux_out >> i & 1 && a->of[call->out[i].id]) {
                hone__refuse(call, HONE_UNSUPPORTED, "output %d cannot be differentiated", i);
                return ctx->status;
            }
        hone_node **d_in = d_in_few;
        bool *wanted = wanted_few;
        if (call->n_in > FEW) {
            d_in = hone__arena_alloc(&a->graph->arena, (size_t)call->n_in * sizeof *d_in);
            wanted = hone__arena_alloc(&a->graph->arena, (size_t)call->n_in);
            if (!d_in || !wanted) return ctx->status;
        }
        for (int i = 0; i < call->n_out && i < FEW; i++) d_out_few[i] = a->of[call->out[i].id];
        for (int i = 0; i < call->n_in; i++) wanted[i] = call->in[i] && a->wanted[call->in[i]->id];
        const char *before = a->graph->scope;
        a->graph->scope = call->scope; /* a gradient belongs to the layer whose forward it is of */
        a->fresh = (int)a->graph->n_calls;
        bool ok = differentiate(a, call, d_out_few, wanted, d_in);
        for (int i = 0; ok && i < call->n_in; i++)
            if (d_in[i] && wanted[i]) ok = add_adjoint(a, call->in[i], d_in[i], to_slots);
        a->graph->scope = before;
        if (!ok) return hone__fail(ctx, HONE_INTERNAL, "%s: vjp failed without a reason", call->op->name);
    }
    return HONE_OK;
}

static bool begin(adjoints *a, hone_node *loss)
{
    a->graph = loss->call->graph;
    a->graph->segment = 0; /* gradients are in none */
    a->n = a->graph->n_nodes;
    a->calls = a->graph->n_calls;
    a->of = hone__calloc(a->graph->ctx, (size_t)a->n, sizeof *a->of);
    a->wanted = hone__calloc(a->graph->ctx, (size_t)a->n, sizeof *a->wanted);
    a->again = hone__calloc(a->graph->ctx, a->graph->n_calls, sizeof *a->again);
    return a->of && a->wanted && a->again;
}

static void end(adjoints *a)
{
    hone__free(a->graph->ctx, a->of);
    hone__free(a->graph->ctx, a->wanted);
    hone__free(a->graph->ctx, a->again);
}

/* wanted spreads from the leaves to everything computed from them. */
static void spread(adjoints *a, const hone_node *loss)
{
    for (int c = 0; c <= loss->call->id; c++) {
        hone__call *call = a->graph->calls[c];
        bool reaches = false;
        for (int i = 0; i < call->n_in && !reaches; i++) reaches = call->in[i] && a->wanted[call->in[i]->id];
        for (int i = 0; i < call->n_out && reaches; i++)
            if (hone__is_float(call->out[i].dtype)) a->wanted[call->out[i].id] = true;
    }
}

hone_status hone_grad(hone_node *loss, int n, hone_node *const *wrt, hone_node **gradients)
{
    if (!loss) return HONE_INVALID;
    hone_ctx *ctx = loss->call->graph->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    adjoints a;
    hone_status status = HONE_OK;
    if (!begin(&a, loss)) status = ctx->status;
    for (int i = 0; status == HONE_OK && i < n; i++) {
        if (!wrt[i] || wrt[i]->call->graph != a.graph || !hone__is_float(wrt[i]->dtype))
            status = hone__fail(ctx, HONE_INVALID, "grad: wrt[%d] is no real node of the loss's graph", i);
        else
            a.wanted[wrt[i]->id] = true;
    }
    if (status == HONE_OK) {
        spread(&a, loss);
        status = back(&a, loss, false);
    }
    for (int i = 0; status == HONE_OK && i < n; i++) {
        gradients[i] = a.of[wrt[i]->id];
        if (!gradients[i]) gradients[i] = hone_fill(a.graph, wrt[i]->dtype, wrt[i]->shape, 0);
        if (!gradients[i]) status = ctx->status;
    }
    end(&a);
    return status;
}

hone_status hone__grad_variables(hone_node *loss, hone__wanted_fn wanted, void *user)
{
    if (!loss) return HONE_INVALID;
    hone_ctx *ctx = loss->call->graph->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    adjoints a;
    hone_status status = HONE_OK;
    if (!begin(&a, loss)) status = ctx->status;
    a.graph->forward_calls = a.calls;
    if (status == HONE_OK) {
        for (size_t i = 0; i < a.graph->n_variables; i++) {
            hone_node *v = a.graph->variables[i];
            a.wanted[v->id] = is_slot(v) && (!wanted || wanted(user, v->call->variable));
        }
        spread(&a, loss);
        status = back(&a, loss, true);
    }
    for (size_t i = 0; i < a.graph->n_variables && status == HONE_OK; i++) { /* or the slot would keep what an earlier run left */
        hone_node *v = a.graph->variables[i];
        if (v->id >= a.n || !a.wanted[v->id] || a.of[v->id]) continue;
        if (!add_adjoint(&a, v, hone_fill(a.graph, v->dtype, v->shape, 0), true)) status = ctx->status;
    }
    end(&a);
    return status;
}
