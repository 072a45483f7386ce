#include "graph/schedule.h"

static void mark(hone_graph *graph, bool *needed, hone_node *const *outputs, int n)
{
    for (int i = 0; i < n; i++) needed[outputs[i]->call->id] = true;
    for (size_t c = graph->n_calls; c-- > 0;) { /* inputs have smaller ids than their users: one pass down */
        hone__call *call = graph->calls[c];
        if (call->op->flags & HONE__EFFECT) needed[c] = true;
        if (!needed[c]) continue;
        for (int i = 0; i < call->n_in; i++)
            if (call->in[i]) needed[call->in[i]->call->id] = true;
    }
}

/* The leaf or effect whose variable's memory a node looks at, through views; NULL when it has memory of its own. */
static hone__call *looks_at(const hone_node *node)
{
    hone__call *call = node->call;
    while (call->op->flags & HONE__VIEW) call = call->in[0]->call;
    return call->op == &hone__op_grad_store || !call->variable ? NULL : call;
}

/* Does the node look at what `effect` will overwrite: the old value, or the one that an earlier effect left? */
static bool is_old(const hone_node *node, const hone__call *effect)
{
    const hone__call *source = node ? looks_at(node) : NULL;
    return source && source->variable == effect->variable && (source->op == &hone__op_variable || source->id < effect->id);
}

/* Must it run before the effect? Views read nothing themselves, unless they are results: those are copied at once. */
static bool goes_before(const hone__call *reader, const hone__call *effect, const bool *is_output)
{
    if (reader == effect) return false;
    if (reader->op->flags & HONE__EFFECT && reader->op != &hone__op_grad_store && reader->variable == effect->variable)
        return reader->id < effect->id; /* in the order in which they were recorded */
    if (reader->op->flags & HONE__VIEW) return is_output[reader->id] && is_old(reader->in[0], effect);
    for (int i = 0; i < reader->n_in; i++)
        if (is_old(reader->in[i], effect)) return true;
    return false;
}

/* A binary heap of call ids: the smallest ready one runs next, so the recorded order is kept where it can be. */
static void push(int *heap, int *n, int id)
{
    int i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > id; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = id;
}

static int pop(int *heap, int *n)
{
    int top = heap[0], last = heap[--*n], i = 0;
    for (int child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= last) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

/* Edges from -> to in compressed rows, made in two passes: count, then fill. */
typedef struct edges {
    int *start, *to, *waiting;
    bool filling;
} edges;

static void edge(edges *e, int from, int to)
{
    if (!e->filling) {
        e->start[from + 1]++;
        e->waiting[to]++;
    } else {
        e->to[e->start[from]++] = to;
    }
}

static void all_edges(hone_graph *graph, const bool *needed, const bool *is_output, edges *e)
{
    for (size_t c = 0; c < graph->n_calls; c++) {
        hone__call *call = graph->calls[c];
        if (!needed[c]) continue;
        for (int i = 0; i < call->n_in; i++)
            if (call->in[i]) edge(e, call->in[i]->call->id, call->id);
    }
    for (size_t c = 0; c < graph->n_calls; c++) {
        hone__call *effect = graph->calls[c];
        if (!(effect->op->flags & HONE__EFFECT) || effect->op == &hone__op_grad_store) continue;
        for (size_t r = 0; r < graph->n_calls; r++)
            if (needed[r] && goes_before(graph->calls[r], effect, is_output)) edge(e, (int)r, effect->id);
    }
}

hone_status hone__schedule(hone_graph *graph, int n, hone_node *const *outputs, bool *needed, int *order, int *count)
{
    hone_ctx *ctx = graph->ctx;
    int calls = (int)graph->n_calls;
    mark(graph, needed, outputs, n);
    edges e = {.start = hone__calloc(ctx, (size_t)calls + 2, sizeof(int)),
               .waiting = hone__calloc(ctx, (size_t)calls + 1, sizeof(int))};
    int *heap = hone__calloc(ctx, (size_t)calls + 1, sizeof(int));
    bool *is_output = hone__calloc(ctx, (size_t)calls + 1, sizeof *is_output);
    hone_status status = HONE_OK;
    *count = 0;
    if (e.start && e.waiting && heap && is_output) {
        for (int i = 0; i < n; i++) is_output[outputs[i]->call->id] = true;
        all_edges(graph, needed, is_output, &e);
        for (int i = 0; i < calls; i++) e.start[i + 1] += e.start[i];
        e.to = hone__calloc(ctx, (size_t)e.start[calls] + 1, sizeof(int));
    }
    if (e.to) {
        e.filling = true;
        all_edges(graph, needed, is_output, &e);
        int ready = 0, wanted = 0; /* after filling, start[i] is where the row of i ends */
        for (int i = 0; i < calls; i++) {
            wanted += needed[i];
            if (needed[i] && !e.waiting[i]) push(heap, &ready, i);
        }
        while (ready) {
            int id = pop(heap, &ready);
            order[(*count)++] = id;
            for (int k = id ? e.start[id - 1] : 0; k < e.start[id]; k++)
                if (--e.waiting[e.to[k]] == 0) push(heap, &ready, e.to[k]);
        }
        if (*count < wanted)
            status = hone__fail(ctx, HONE_STATE, "plan: a variable is read after the value it is assigned depends on that "
                                                 "read; use the node that hone_assign returned");
    } else {
        status = ctx->status;
    }
    hone__free(ctx, e.start);
    hone__free(ctx, e.to);
    hone__free(ctx, e.waiting);
    hone__free(ctx, heap);
    hone__free(ctx, is_output);
    return status;
}

/* ---- placement: the largest first, each at the lowest gap that is free while it lives ---- */

static hone_status order_by_size(hone_ctx *ctx, const hone__lifetime *buffers, int *order, int count)
{
    /* Merge sort: stable, so equal sizes keep their order and the layout is the same on every machine. */
    int *other = hone__alloc(ctx, (size_t)HONE_MAX(count, 1) * sizeof *other);
    if (!other) return ctx->status;
    for (int width = 1; width < count; width *= 2) {
        for (int at = 0; at < count; at += 2 * width) {
            int i = at, mid = HONE_MIN(at + width, count), j = mid, stop = HONE_MIN(at + 2 * width, count);
            for (int k = at; k < stop; k++)
                other[k] = i < mid && (j >= stop || buffers[order[i]].size >= buffers[order[j]].size) ? order[i++]
                                                                                                      : order[j++];
        }
        memcpy(order, other, (size_t)count * sizeof *order);
    }
    hone__free(ctx, other);
    return HONE_OK;
}

hone_status hone__place(hone_ctx *ctx, hone__lifetime *buffers, int count, size_t *total)
{
    *total = 0;
    int *order = hone__alloc(ctx, (size_t)HONE_MAX(count, 1) * sizeof *order);
    int *placed = hone__alloc(ctx, (size_t)HONE_MAX(count, 1) * sizeof *placed); /* by rising offset */
    hone_status status = order && placed ? HONE_OK : ctx->status;
    for (int i = 0; status == HONE_OK && i < count; i++) order[i] = i;
    if (status == HONE_OK) status = order_by_size(ctx, buffers, order, count);
    for (int i = 0; status == HONE_OK && i < count; i++) {
        hone__lifetime *b = &buffers[order[i]];
        b->size = hone__align(b->size);
        size_t at = 0;
        for (int j = 0; j < i; j++) {
            const hone__lifetime *p = &buffers[placed[j]];
            if (p->end < b->begin || p->begin > b->end) continue;
            if (p->offset >= at && p->offset - at >= b->size) break;
            at = HONE_MAX(at, p->offset + p->size);
        }
        b->offset = at;
        *total = HONE_MAX(*total, at + b->size);
        int j = i;
        for (; j > 0 && buffers[placed[j - 1]].offset > at; j--) placed[j] = placed[j - 1];
        placed[j] = order[i];
    }
    hone__free(ctx, order);
    hone__free(ctx, placed);
    return status;
}
