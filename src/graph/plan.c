/* From a graph to a list of prepared calls over one arena of memory. */
#include "graph/plan.h"
#include "graph/schedule.h"

/* Where a value lies. While planning, view.data of a buffered value is an offset into its buffer. */
typedef struct place {
    hone__view view;
    int buffer; /* -1: memory that is not the arena's */
    bool ready;
} place;

enum { NEED_F32 = 1, NEED_COMPUTE = 2, NEED_FLEX = 4, NEED_SUM = 8 };
enum { FOREVER = 1 << 30 };

typedef struct planner {
    hone__plan *plan;
    hone_graph *graph;
    hone_ctx *ctx;
    hone_dtype compute;
    bool *needed;
    int *order, count;
    uint8_t *need;   /* per node id: what its readers want */
    int *readers;    /* per node id: how many needed inputs it is */
    bool *is_output; /* per node id */
    bool *half;      /* per node id: bf16 would lose nothing that its inputs had */
    place *main, *cast, *dense, *last; /* per node id: as made; in the other float type; dense; channels last */
    hone__call **fold; /* per call id: the grad_store that its output 0 is written straight into */
    hone__variable **written; /* gradients written so far */
    size_t n_written, written_capacity;
    hone__lifetime *buffers;
    size_t n_buffers, buffers_capacity;
    int **at; /* per exec: buffers of in[], then of out[], then of scratch */
    size_t at_capacity;
} planner;

static hone_node *base_of(hone_node *node)
{
    while (node->call->op->flags & HONE__VIEW) node = node->call->in[0];
    return node;
}

static bool is_bf16_plan(const planner *p) { return p->compute == HONE_BF16; }

/* ---- which precision each value is stored in ---- */

static void note_needs(planner *p, int n, hone_node *const *outputs)
{
    for (int o = 0; o < p->count; o++) {
        hone__call *call = p->graph->calls[p->order[o]];
        const hone_op *op = call->op;
        for (int i = 0; i < call->n_in; i++) {
            if (!call->in[i]) continue;
            p->readers[call->in[i]->id]++;
            if (op->flags & HONE__VIEW) continue; /* its own readers are noted on its base */
            uint8_t need = NEED_F32;
            if (!(op->keep_in >> HONE_MIN(i, 31) & 1)) {
                if (op->flags & HONE__COMPUTE) need = i && i == op->sum_in ? NEED_FLEX : NEED_COMPUTE;
                else if (op == &hone__op_add && !call->sums_gradients) need = NEED_SUM;
                else if (op->flags & HONE__FLEX) need = NEED_FLEX;
            }
            p->need[base_of(call->in[i])->id] |= need;
        }
    }
    for (int i = 0; i < n; i++) {
        p->need[base_of(outputs[i])->id] |= NEED_F32;
        p->is_output[outputs[i]->id] = true;
        p->readers[outputs[i]->id]++;
    }
    /* What is computed again is rounded as it was the first time: both are stored as all their readers need it. */
    for (int o = 0; o < p->count; o++) {
        hone__call *call = p->graph->calls[p->order[o]], *first = call->repeats;
        for (int i = 0; i < call->n_out && first; i++) p->need[first->out[i].id] |= p->need[call->out[i].id];
    }
    for (int o = 0; o < p->count; o++) {
        hone__call *call = p->graph->calls[p->order[o]], *first = call->repeats;
        for (int i = 0; i < call->n_out && first; i++) p->need[call->out[i].id] |= p->need[first->out[i].id];
    }
}

/* As types are promoted: what is made of halves alone (results of products, and what follows from them) is half; a sum
   with an f32 part, such as the residual stream, is not. */
static bool is_half(const planner *p, const hone__call *call)
{
    if (call->op->flags & HONE__COMPUTE) { /* a product added to products is one product */
        int before = call->op->sum_in;
        return !call->sums_gradients || p->half[base_of(call->in[before])->id];
    }
    if (!(call->op->flags & HONE__FLEX) || call->sums_gradients) return false;
    bool any = false;
    for (int i = 0; i < call->n_in; i++) {
        if (!call->in[i] || call->in[i]->dtype != HONE_F32) continue;
        if (!p->half[base_of(call->in[i])->id]) return false;
        any = true;
    }
    return any;
}

static hone_dtype stored_dtype(const planner *p, const hone_node *node)
{
    const hone_op *op = node->call->op;
    if (!is_bf16_plan(p) || node->dtype != HONE_F32 || op->keep_out >> node->out & 1) return node->dtype;
    uint8_t need = p->need[node->id];
    if (need & NEED_F32) return HONE_F32;
    if (need == NEED_COMPUTE && op->flags & (HONE__COMPUTE | HONE__FLEX)) return HONE_BF16; /* rounded anyway */
    /* What only sums read is rounded after the sum: a small update to a large value that was rounded already would be
       lost, every time. */
    return p->half[node->id] && need != NEED_SUM ? HONE_BF16 : HONE_F32;
}

/* ---- buffers ---- */

static int now(const planner *p) { return (int)p->plan->n_execs; }

static int new_buffer(planner *p, size_t size, int begin)
{
    if (!hone__grow(p->ctx, (void **)&p->buffers, &p->buffers_capacity, p->n_buffers + 1, sizeof *p->buffers)) return -1;
    p->buffers[p->n_buffers] = (hone__lifetime){.size = size, .begin = begin, .end = begin};
    return (int)p->n_buffers++;
}

static void touch(planner *p, int buffer, int step)
{
    if (buffer >= 0) p->buffers[buffer].end = HONE_MAX(p->buffers[buffer].end, step);
}

typedef enum layout { ANY, DENSE, LAST } layout;

static bool new_place(planner *p, place *to, hone_dtype dtype, hone_shape shape, layout how)
{
    int buffer = new_buffer(p, hone__dtype_bytes(dtype, hone_shape_count(shape)), now(p));
    if (buffer < 0) return false;
    *to = (place){how == LAST ? hone__view_channels_last(NULL, dtype, shape) : hone__view_dense(NULL, dtype, shape), buffer,
                  true};
    return true;
}

/* ---- prepared calls ---- */

static hone__exec *new_exec(planner *p, const hone__call *call, int n_in, int n_out)
{
    hone__plan *plan = p->plan;
    if (!hone__grow(p->ctx, (void **)&plan->execs, &plan->execs_capacity, plan->n_execs + 1, sizeof *plan->execs) ||
        !hone__grow(p->ctx, (void **)&p->at, &p->at_capacity, plan->n_execs + 1, sizeof *p->at))
        return NULL;
    hone__exec *exec = &plan->execs[plan->n_execs];
    *exec = (hone__exec){.call = call, .ctx = p->ctx, .n_in = n_in, .n_out = n_out, .info = &plan->info, .plan = plan};
    size_t views = (size_t)(n_in + n_out + 1);
    exec->in = hone__arena_alloc(&plan->memory, views * sizeof *exec->in);
    exec->variable = hone__arena_alloc(&plan->memory, (size_t)(n_in + 1) * sizeof *exec->variable);
    int *at = p->at[plan->n_execs] = hone__arena_alloc(&plan->memory, views * sizeof(int));
    if (!exec->in || !exec->variable || !at) return NULL;
    exec->out = exec->in + n_in;
    for (size_t i = 0; i < views; i++) at[i] = -1;
    exec->k = hone__kernels_for(HONE_F32);
    return exec;
}

static void set_in(planner *p, hone__exec *exec, int i, const place *from)
{
    exec->in[i] = from->view;
    p->at[now(p)][i] = from->buffer;
    touch(p, from->buffer, now(p));
}

static void set_out(planner *p, hone__exec *exec, int i, const place *to)
{
    exec->out[i] = to->view;
    p->at[now(p)][exec->n_in + i] = to->buffer;
    touch(p, to->buffer, now(p));
}

static bool finish_exec(planner *p, hone__exec *exec, const hone_op *op)
{
    for (int i = 0; i < exec->n_in + exec->n_out; i++)
        if (exec->in[i].dtype == HONE_F64) exec->k = hone__kernels_for(HONE_F64);
    exec->run = op->run;
    if (op->prepare && op->prepare(exec) != HONE_OK) {
        /* state was perhaps made already; count the exec so that hone__plan_free sees it */
        p->plan->n_execs++;
        hone__fail(p->ctx, HONE_INTERNAL, "%s: prepare failed without a reason", op->name);
        return false;
    }
    if (exec->scratch_size) {
        int buffer = new_buffer(p, exec->scratch_size, now(p));
        if (buffer < 0) {
            p->plan->n_execs++;
            return false;
        }
        p->at[now(p)][exec->n_in + exec->n_out] = buffer;
    }
    p->plan->n_execs++;
    return true;
}

/* Puts in a copy or a cast: the one place of `from`, dense or channels last, in dtype. */
static bool add_copy(planner *p, const place *from, place *to, hone_dtype dtype, layout how)
{
    if (!new_place(p, to, dtype, from->view.shape, how)) return false;
    hone__exec *exec = new_exec(p, NULL, 1, 1);
    if (!exec) return false;
    set_in(p, exec, 0, from);
    set_out(p, exec, 0, to);
    return finish_exec(p, exec, &hone__op_copy);
}

/* A variable's values as plain elements of dtype: a derived copy. */
static bool plain_variable(planner *p, hone__variable *variable, hone_dtype dtype, place *to)
{
    hone__derived *d = hone__derive_plain(variable, dtype);
    if (!d || !hone__plan_uses(p->plan, variable, d)) return false;
    *to = (place){hone__view_dense(d->data, dtype, variable->shape), -1, true};
    return true;
}

static bool fetch(planner *p, hone_node *node, hone_dtype dtype, layout how, place *result);

/* A node's value in another float type. What is a reshaped value as a whole shares that value's cast: each product reshapes its
   operands itself, and three may read the same one. */
static bool make_cast(planner *p, hone_node *node, hone_dtype dtype, place *to)
{
    const hone__call *call = node->call;
    const place *main = &p->main[node->id];
    place from;
    if (call->op == &hone__op_variable) return plain_variable(p, call->variable, dtype, to);
    bool dense = hone__view_is_dense(&main->view);
    if (call->op->flags & HONE__VIEW && dense && base_of(node)->call->op != &hone__op_variable &&
        hone__view_is_dense(&p->main[call->in[0]->id].view) && hone_shape_count(call->in[0]->shape) == hone_shape_count(node->shape)) {
        if (!fetch(p, call->in[0], dtype, ANY, &from)) return false;
        *to = (place){.buffer = from.buffer, .ready = true};
        if (call->op->view(call, &from.view, &to->view)) return true;
    }
    return add_copy(p, main, to, dtype, dense || !hone__view_is_channels_last(&main->view) ? DENSE : LAST);
}

/* A node as an input of type dtype, laid out as asked. The result is remembered for other readers. */
static bool fetch(planner *p, hone_node *node, hone_dtype dtype, layout how, place *result)
{
    place *main = &p->main[node->id];
    *result = *main;
    if (main->view.dtype != dtype) {
        place *cast = &p->cast[node->id];
        if ((!cast->ready || cast->view.dtype != dtype) && !make_cast(p, node, dtype, cast)) return false;
        *result = *cast;
    }
    if (how != ANY && !(how == LAST ? hone__view_is_channels_last(&result->view) : hone__view_is_dense(&result->view))) {
        place *copy = how == LAST ? &p->last[node->id] : &p->dense[node->id];
        if ((!copy->ready || copy->view.dtype != dtype) && !add_copy(p, result, copy, dtype, how)) return false;
        *result = *copy;
    }
    return true;
}

static hone_dtype wanted_dtype(const planner *p, const hone_op *op, const hone_node *node, const place *main, int i)
{
    hone_dtype stored = main->view.dtype;
    if (node->dtype != HONE_F32) return node->dtype;
    if (!(op->keep_in >> HONE_MIN(i, 31) & 1)) {
        bool flexible = op->flags & HONE__FLEX || (i && i == op->sum_in); /* what a product adds is as it is stored */
        if (!flexible && op->flags & HONE__COMPUTE) return is_bf16_plan(p) ? HONE_BF16 : HONE_F32;
        if (flexible && (stored == HONE_BF16 || stored == HONE_F32)) return stored;
    }
    return HONE_F32;
}

static bool plan_leaf(planner *p, hone__call *call)
{
    place *to = &p->main[call->out[0].id];
    if (call->op == &hone__op_variable) {
        hone__variable *v = call->variable;
        if (!v->data) {
            hone__fail(p->ctx, HONE_STATE, "plan: variable '%s' has no memory yet", v->name);
            return false;
        }
        *to = (place){hone__view_dense(v->data, v->stored, v->shape), -1, true};
        return true;
    }
    if (call->op == &hone__op_constant) {
        *to = (place){hone__view_dense(call->constant->data, call->constant->dtype, call->constant->shape), -1, true};
        return true;
    }
    int buffer = new_buffer(p, hone__dtype_bytes(call->out[0].dtype, hone_shape_count(call->out[0].shape)), -1);
    if (buffer < 0) return false;
    *to = (place){hone__view_dense(NULL, call->out[0].dtype, call->out[0].shape), buffer, true};
    for (size_t i = 0; i < p->graph->n_inputs; i++)
        if (p->graph->inputs[i] == &call->out[0]) p->plan->inputs[i].buffer = buffer;
    return true;
}

static bool plan_view(planner *p, hone__call *call)
{
    hone_node *in = call->in[0];
    place from, *to = &p->main[call->out[0].id];
    /* Blocks and half floats of a variable are laid out plainly first; other values are looked at as they are. */
    hone_dtype dtype = p->main[in->id].view.dtype;
    if (in->call->op == &hone__op_variable && dtype != in->dtype) dtype = in->dtype;
    if (!fetch(p, in, dtype, ANY, &from)) return false;
    *to = (place){.buffer = from.buffer, .ready = true};
    if (!call->op->view(call, &from.view, &to->view)) {
        if (!fetch(p, in, dtype, DENSE, &from)) return false;
        to->buffer = from.buffer;
        if (!call->op->view(call, &from.view, &to->view)) {
            hone__fail(p->ctx, HONE_INTERNAL, "%s: no view of a dense input", call->op->name);
            return false;
        }
    }
    return true;
}

/* Is this the first write of the step into the variable's gradient? Marks it written. */
static bool first_write(planner *p, hone__variable *variable, bool *first)
{
    *first = true;
    for (size_t i = 0; i < p->n_written; i++) *first &= p->written[i] != variable;
    if (!*first) return true;
    if (!hone__grow(p->ctx, (void **)&p->written, &p->written_capacity, p->n_written + 1, sizeof *p->written)) return false;
    p->written[p->n_written++] = variable;
    return true;
}

/* Does an elementwise call belong in a chain that lies channels last? It does when all inputs lie so already; when an op takes no
   other strides, so that some must be copied anyway, one is enough. */
static bool is_channels_last(const planner *p, const hone__call *call)
{
    int count = 0;
    if (!(call->op->flags & HONE__ELEMENTWISE)) return false;
    for (int i = 0; i < call->n_in; i++) {
        if (!hone_shape_equal(call->in[i]->shape, call->in[0]->shape)) return false;
        const hone__view *view = &p->main[call->in[i]->id].view;
        count += !hone__view_is_dense(view) && hone__view_is_channels_last(view);
    }
    return call->op->flags & HONE__STRIDED ? count == call->n_in : count > 0;
}

static layout wanted_layout(const hone_op *op, int i, bool last)
{
    if (last || op->last_in >> HONE_MIN(i, 31) & 1) return LAST;
    return op->flags & HONE__STRIDED ? ANY : DENSE;
}

static place gradient_place(const hone__variable *variable)
{
    hone_dtype dtype = variable->dtype == HONE_F64 ? HONE_F64 : HONE_F32;
    return (place){hone__view_dense(variable->grad, dtype, variable->shape), -1, true};
}

/* The cast of an f32 output that products read, written by the call itself. */
static bool again(planner *p, hone__exec *exec, const hone_node *node)
{
    const place *main = &p->main[node->id];
    bool wanted = is_bf16_plan(p) && main->ready && main->view.dtype == HONE_F32 && p->need[node->id] & NEED_COMPUTE;
    if (!wanted) return true;
    place *cast = &p->cast[node->id];
    if (!new_place(p, cast, HONE_BF16, node->shape, DENSE)) return false;
    set_out(p, exec, exec->n_out - 1, cast);
    return true;
}

static bool plan_call(planner *p, hone__call *call)
{
    const hone_op *op = call->op;
    if (op == &hone__op_input || op == &hone__op_constant || op == &hone__op_variable) return plan_leaf(p, call);
    if (op->flags & HONE__VIEW) return plan_view(p, call);
    hone__variable *target = op->flags & HONE__EFFECT ? call->variable : NULL;
    if (op == &hone__op_grad_store) {
        if (!target->grad) return true; /* frozen since it was recorded */
        if (p->fold[call->in[0]->call->id] == call) return true; /* its producer wrote the slot */
    }
    /* Inputs first: fetching may put casts and copies ahead of this call. */
    place in_few[8], *in = in_few;
    bool last = is_channels_last(p, call);
    if (call->n_in > 8 && !(in = hone__arena_alloc(&p->plan->memory, (size_t)call->n_in * sizeof *in))) return false;
    for (int i = 0; i < call->n_in; i++) {
        hone_node *node = call->in[i];
        in[i] = (place){.buffer = -1};
        if (!node) continue;
        place *main = &p->main[node->id];
        if (node->call->op == &hone__op_variable && op->raw_in >> HONE_MIN(i, 31) & 1) {
            in[i] = *main;
            continue;
        }
        if (!fetch(p, node, wanted_dtype(p, op, node, main, i), wanted_layout(op, i, last), &in[i])) return false;
    }
    hone__exec *exec = new_exec(p, call, call->n_in, call->n_out + (op->flags & HONE__AGAIN ? 1 : 0));
    if (!exec) return false;
    exec->attr = call->attr;
    exec->target = target;
    for (int i = 0; i < call->n_in; i++) {
        set_in(p, exec, i, &in[i]);
        if (call->in[i] && call->in[i]->call->op == &hone__op_variable) exec->variable[i] = call->in[i]->call->variable;
    }
    for (int i = 0; i < call->n_out; i++) {
        hone_node *node = &call->out[i];
        place *to = &p->main[node->id];
        bool first;
        p->half[node->id] = is_half(p, call);
        hone__call *store = i == 0 ? p->fold[call->id] : NULL;
        if (store || op == &hone__op_grad_store) {
            hone__variable *slot = store ? store->variable : target;
            if (!first_write(p, slot, &first)) return false;
            *to = gradient_place(slot);
            exec->first_write = first;
            exec->accumulate = !first;
        } else if (target) {
            *to = (place){hone__view_dense(target->data, target->stored, target->shape), -1, true};
        } else if (p->readers[node->id]) {
            layout how = last || op->last_out >> i & 1 ? LAST : DENSE;
            if (!new_place(p, to, stored_dtype(p, node), node->shape, how)) return false;
        } else {
            continue; /* nobody reads it: out[i].data stays NULL */
        }
        set_out(p, exec, i, to);
    }
    if (op->flags & HONE__AGAIN && !again(p, exec, &call->out[op->sum_out])) return false;
    return finish_exec(p, exec, op);
}

/* A gradient with no other reader is written straight into its slot, if its op can add. */
static void fold_stores(planner *p)
{
    for (int o = 0; o < p->count; o++) {
        hone__call *store = p->graph->calls[p->order[o]];
        if (store->op != &hone__op_grad_store || !store->variable->grad) continue;
        hone_node *gradient = store->in[0];
        if (gradient->call->op->flags & HONE__ACCUMULATE && gradient->out == 0 && p->readers[gradient->id] == 1)
            p->fold[gradient->call->id] = store;
    }
}

static bool keep_output(planner *p, int i, hone_node *node)
{
    place from, to;
    if (!fetch(p, node, node->dtype, ANY, &from)) return false;
    bool own = from.buffer >= 0 && hone__view_is_dense(&from.view) && node->call->op != &hone__op_input;
    if (!own) {
        if (!add_copy(p, &from, &to, node->dtype, DENSE)) return false;
        from = to;
    }
    touch(p, from.buffer, FOREVER);
    p->plan->outputs[i] = (hone__plan_slot){from.view, from.buffer};
    return true;
}

static bool build(planner *p, int n, hone_node *const *outputs)
{
    note_needs(p, n, outputs);
    fold_stores(p);
    for (int o = 0; o < p->count; o++) {
        hone__call *call = p->graph->calls[p->order[o]];
        if (!plan_call(p, call)) return false;
        for (int k = 0; k < call->n_out; k++) {
            if (!p->is_output[call->out[k].id]) continue;
            for (int i = 0; i < n; i++)
                if (outputs[i] == &call->out[k] && !keep_output(p, i, outputs[i])) return false;
        }
    }
    return true;
}

/* ---- calls that run together ---- */

static hone_status run_nothing(hone__exec *exec)
{
    (void)exec;
    return HONE_OK;
}

static void join_execs(planner *p)
{
    hone__plan *plan = p->plan;
    for (size_t e = 0; e < plan->n_execs; e += (size_t)plan->execs[e].joined + 1) {
        hone__exec *first = &plan->execs[e], *next = first + 1;
        for (; next < plan->execs + plan->n_execs; next++) {
            bool same = next->call && first->call && next->call->op == first->call->op && first->call->op->join &&
                        p->at[e][0] >= 0 && p->at[next - plan->execs][0] == p->at[e][0] && next->in[0].data == first->in[0].data;
            if (!same || !first->call->op->join(first, next)) break;
            first->joined++;
            next->run = run_nothing;
            for (int o = 0; o < next->n_out; o++) { /* written earlier than planned */
                int buffer = p->at[next - plan->execs][next->n_in + o];
                if (buffer >= 0) p->buffers[buffer].begin = HONE_MIN(p->buffers[buffer].begin, (int)e);
            }
        }
    }
}

/* ---- addresses ---- */

static void *address(const planner *p, int buffer, void *offset)
{
    return (char *)p->plan->arena + p->buffers[buffer].offset + (uintptr_t)offset;
}

static bool settle(planner *p)
{
    hone__plan *plan = p->plan;
    join_execs(p);
    if (hone__place(p->ctx, p->buffers, (int)p->n_buffers, &plan->arena_bytes) != HONE_OK) return false;
    if (!(plan->arena = hone__alloc(p->ctx, plan->arena_bytes))) return false;
    for (size_t e = 0; e < plan->n_execs; e++) {
        hone__exec *exec = &plan->execs[e];
        const int *at = p->at[e];
        for (int i = 0; i < exec->n_in + exec->n_out; i++)
            if (at[i] >= 0) exec->in[i].data = address(p, at[i], exec->in[i].data);
        if (exec->scratch_size) exec->scratch = address(p, at[exec->n_in + exec->n_out], NULL);
    }
    for (size_t i = 0; i < plan->n_inputs; i++) {
        hone__plan_slot *input = &plan->inputs[i];
        if (input->buffer >= 0) input->view.data = address(p, input->buffer, NULL);
    }
    for (int i = 0; i < plan->n_outputs; i++) {
        hone__plan_slot *output = &plan->outputs[i];
        output->view.data = address(p, output->buffer, output->view.data);
    }
    return true;
}

hone__plan *hone__plan_new(hone_graph *graph, int n, hone_node *const *outputs, hone_dtype compute)
{
    hone_ctx *ctx = graph->ctx;
    if (!hone__ok(ctx)) return NULL;
    for (int i = 0; i < n; i++)
        if (!outputs[i] || outputs[i]->call->graph != graph) {
            hone__fail(ctx, HONE_INVALID, "plan: output %d is missing or belongs to another graph", i);
            return NULL;
        }
    hone__plan *plan = hone__calloc(ctx, 1, sizeof *plan);
    if (!plan) return NULL;
    hone__use_threads(ctx);
    plan->ctx = ctx;
    plan->graph = hone_graph_retain(graph);
    hone__arena_init(&plan->memory, ctx);
    plan->n_inputs = graph->n_inputs;
    plan->n_outputs = n;
    plan->inputs = hone__arena_alloc(&plan->memory, (graph->n_inputs + 1) * sizeof *plan->inputs);
    plan->outputs = hone__arena_alloc(&plan->memory, (size_t)(n + 1) * sizeof *plan->outputs);

    size_t nodes = (size_t)graph->n_nodes + 1, calls = graph->n_calls + 1;
    planner p = {.plan = plan, .graph = graph, .ctx = ctx, .compute = compute};
    p.needed = hone__calloc(ctx, calls, sizeof *p.needed);
    p.order = hone__calloc(ctx, calls, sizeof *p.order);
    p.fold = hone__calloc(ctx, calls, sizeof *p.fold);
    p.need = hone__calloc(ctx, nodes, sizeof *p.need);
    p.readers = hone__calloc(ctx, nodes, sizeof *p.readers);
    p.is_output = hone__calloc(ctx, nodes, sizeof *p.is_output);
    p.half = hone__calloc(ctx, nodes, sizeof *p.half);
    p.main = hone__calloc(ctx, nodes, sizeof *p.main);
    p.cast = hone__calloc(ctx, nodes, sizeof *p.cast);
    p.dense = hone__calloc(ctx, nodes, sizeof *p.dense);
    p.last = hone__calloc(ctx, nodes, sizeof *p.last);
    bool ok = hone__ok(ctx);
    if (ok) {
        for (size_t i = 0; i < graph->n_inputs; i++)
            plan->inputs[i] = (hone__plan_slot){
                hone__view_dense(NULL, graph->inputs[i]->dtype, graph->inputs[i]->shape), -1};
        ok = hone__schedule(graph, n, outputs, p.needed, p.order, &p.count) == HONE_OK && build(&p, n, outputs) &&
             settle(&p);
    }
    void *temporary[] = {p.needed, p.order, p.fold, p.need, p.readers, p.is_output, p.half, p.main, p.cast, p.dense, p.last,
                         p.written, p.buffers, p.at};
    for (size_t i = 0; i < HONE_ARRAY_LEN(temporary); i++) hone__free(ctx, temporary[i]);
    if (ok) return plan;
    hone__plan_free(plan);
    return NULL;
}

void hone__plan_free(hone__plan *plan)
{
    if (!plan) return;
    hone_ctx *ctx = plan->ctx;
    for (size_t i = 0; i < plan->n_execs; i++)
        if (plan->execs[i].free_state && plan->execs[i].state) plan->execs[i].free_state(plan->execs[i].state);
    hone__free(ctx, plan->execs);
    hone__free(ctx, plan->uses);
    hone__free(ctx, plan->arena);
    hone__arena_free(&plan->memory);
    hone_graph_release(plan->graph);
    hone__free(ctx, plan);
}
