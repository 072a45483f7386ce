/* Timing what runs: nodes, and their sums by op, kind of layer and dtype. */
#include "graph/profile.h"

#include <stdlib.h>

enum { MOST_EVENTS = 1000000 };

hone_profile *hone_profile_new(hone_ctx *ctx)
{
    if (!hone__ok(ctx)) return NULL;
    if (ctx->profile) {
        hone__fail(ctx, HONE_STATE, "profile: this context is being profiled already: stop that profile first");
        return NULL;
    }
    hone_profile *p = hone__calloc(ctx, 1, sizeof *p);
    if (!p) return NULL;
    *p = (hone_profile){.ctx = hone_ctx_retain(ctx), .number = ++ctx->profiles, .began = hone__seconds()};
    hone__arena_init(&p->arena, ctx);
    return ctx->profile = p;
}

static int slowest_first(const hone_profile *p, size_t a, size_t b)
{
    double x = p->entries[a].seconds, y = p->entries[b].seconds;
    return x > y ? -1 : x < y;
}

void hone_profile_stop(hone_profile *p)
{
    if (!p || p->stopped > 0) return;
    p->stopped = hone__seconds();
    p->ctx->profile = NULL;
    for (size_t i = 1; i < p->n_entries; i++) /* few, so insertion will do */
        for (size_t k = i; k && slowest_first(p, p->order[k], p->order[k - 1]) < 0; k--) {
            size_t swap = p->order[k];
            p->order[k] = p->order[k - 1];
            p->order[k - 1] = swap;
        }
}

void hone_profile_free(hone_profile *p)
{
    if (!p) return;
    hone_profile_stop(p);
    hone_ctx *ctx = p->ctx;
    hone__arena_free(&p->arena);
    hone__free(ctx, p->nodes);
    hone__free(ctx, p->entries);
    hone__free(ctx, p->order);
    hone__free(ctx, p->events);
    hone__free(ctx, p);
    hone_ctx_release(ctx);
}

/* ---- nodes and entries ---- */

static bool is_number(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return true;
}

/* The last part of a dotted name that is no number (all parts are: the last), without `ending` (".weight"). */
static char *kind_of_layer(hone_profile *p, const char *scope, size_t size)
{
    size_t end = size, begin = size;
    while (begin && scope[begin - 1] != '.') begin--;
    size_t last = begin;
    while (begin && is_number(scope + begin, end - begin)) {
        end = begin - 1;
        for (begin = end; begin && scope[begin - 1] != '.';) begin--;
    }
    if (is_number(scope + begin, end - begin)) begin = last, end = size;
    char *name = hone__arena_alloc(&p->arena, end - begin + 1);
    if (name) memcpy(name, scope + begin, end - begin);
    return name;
}

static bool find_entry(hone_profile *p, const char *op, const char *layer, hone_dtype dtype, size_t *entry)
{
    for (*entry = 0; *entry < p->n_entries; ++*entry) {
        const hone_profile_entry *e = &p->entries[*entry];
        if (!strcmp(e->op, op) && e->dtype == dtype && !strcmp(e->layer, layer)) return true;
    }
    size_t capacity = p->entries_capacity;
    if (!hone__grow(p->ctx, (void **)&p->order, &capacity, p->n_entries + 1, sizeof *p->order) ||
        !hone__grow(p->ctx, (void **)&p->entries, &p->entries_capacity, p->n_entries + 1, sizeof *p->entries))
        return false;
    p->order[p->n_entries] = p->n_entries;
    p->entries[p->n_entries++] = (hone_profile_entry){.op = op, .layer = layer, .dtype = dtype};
    return true;
}

/* op: static. The layer's name is the first `size` bytes of scope, which is copied. */
static bool add_node(hone_profile *p, const char *op, const char *scope, size_t size, hone_dtype dtype)
{
    char *layer = kind_of_layer(p, scope, size), *name = hone__arena_strdup(&p->arena, scope);
    size_t entry;
    if (!layer || !name || !find_entry(p, op, layer, dtype, &entry) ||
        !hone__grow(p->ctx, (void **)&p->nodes, &p->nodes_capacity, p->n_nodes + 1, sizeof *p->nodes))
        return false;
    p->nodes[p->n_nodes++] = (hone__profile_node){.op = op, .scope = name, .entry = entry};
    return true;
}

static bool add_plan(hone_profile *p, hone__plan *plan)
{
    size_t first = p->n_nodes;
    for (size_t i = 0; i < plan->n_execs; i++) {
        const hone__exec *exec = &plan->execs[i];
        const char *scope = exec->call ? exec->call->scope : "";
        const char *op = exec->call ? exec->call->op->name : exec->in[0].dtype == exec->out[0].dtype ? "copy" : "cast";
        int made = 0; /* the first output that is */
        while (made < exec->n_out - 1 && !exec->out[made].data) made++;
        hone_dtype dtype = exec->n_out ? exec->out[made].dtype : HONE_F32;
        if (!add_node(p, op, scope, strlen(scope), dtype)) return false;
    }
    for (size_t i = 0; i < plan->n_uses; i++) {
        const hone__variable *v = plan->uses[i].variable;
        const char *name = v->name ? v->name : "", *dot = strrchr(name, '.');
        if (!add_node(p, "pack", name, dot ? (size_t)(dot - name) : strlen(name), v->dtype)) return false;
    }
    plan->profile = p->number;
    plan->profile_node = first;
    return true;
}

/* ---- memory ---- */

static void add_variable(hone_profile_summary *s, const hone__variable *v)
{
    size_t bytes = hone__dtype_bytes(v->stored, hone_shape_count(v->shape));
    *(v->by_hand ? &s->variables : &s->weights) += bytes;
    for (const hone__derived *d = v->derived; d; d = d->next) s->derived += d->bytes;
    if (v->grad) s->gradients += hone__dtype_bytes(v->dtype == HONE_F64 ? HONE_F64 : HONE_F32, hone_shape_count(v->shape));
}

/* Of the largest plan: others share its weights. */
static void note_memory(hone_profile *p, const hone__plan *plan)
{
    hone_profile_summary s = {.arena = plan->arena_bytes};
    for (size_t i = 0; i < plan->graph->n_variables; i++) add_variable(&s, plan->graph->variables[i]->call->variable);
    size_t all = s.weights + s.variables + s.derived + s.gradients + s.arena;
    if (all < p->largest) return;
    p->largest = all;
    p->sum.weights = s.weights;
    p->sum.variables = s.variables;
    p->sum.derived = s.derived;
    p->sum.gradients = s.gradients;
    p->sum.arena = s.arena;
}

/* ---- while it runs ---- */

hone_status hone__profile_enter(hone__plan *plan)
{
    hone_profile *p = plan->ctx->profile;
    if (plan->profile != p->number) {
        if (!add_plan(p, plan)) return p->ctx->status;
        note_memory(p, plan);
    }
    p->sum.calls++;
    return HONE_OK;
}

static void add_work(hone__work *sum, const hone__work *work)
{
    if (!sum->n_products) {
        *sum = (hone__work){work->n_products, {work->product[0], work->product[1], work->product[2]},
                            sum->bytes + work->bytes, sum->read + work->read, sum->updated + work->updated};
        return;
    }
    for (int i = 0; i < sum->n_products; i++) sum->product[i].flops += work->product[i].flops;
    sum->bytes += work->bytes;
    sum->read += work->read;
    sum->updated += work->updated;
}

static void mark(hone_profile *p, size_t node, double began, double ended, const hone__work *work)
{
    hone__profile_node *n = &p->nodes[node];
    hone_profile_entry *e = &p->entries[n->entry];
    double seconds = ended - began;
    n->best = n->calls++ ? HONE_MIN(n->best, seconds) : seconds;
    n->seconds += seconds;
    add_work(&n->work, work);
    e->calls++;
    e->seconds += seconds;
    e->bytes += work->bytes;
    for (int i = 0; i < work->n_products; i++) e->flops += work->product[i].flops;
    p->sum.bytes_read += work->read;
    p->sum.bytes_updated += work->updated;
    /* Memory that runs out here sticks: the next call says so. */
    if (p->n_events < MOST_EVENTS &&
        hone__grow(p->ctx, (void **)&p->events, &p->events_capacity, p->n_events + 1, sizeof *p->events))
        p->events[p->n_events++] = (hone__profile_event){node, began, seconds};
}

void hone__profile_mark_exec(const hone__plan *plan, size_t i, double began)
{
    double ended = hone__seconds();
    hone__work work = {0};
    hone__exec_work(&plan->execs[i], &work);
    mark(plan->ctx->profile, plan->profile_node + i, began, ended, &work);
}

void hone__profile_mark_use(const hone__plan *plan, size_t i, double began)
{
    double ended = hone__seconds();
    const hone__plan_use *use = &plan->uses[i];
    double from = (double)hone__dtype_bytes(use->variable->stored, hone_shape_count(use->variable->shape));
    hone__work work = {.bytes = from + (double)use->derived->bytes, .updated = (double)use->derived->bytes};
    mark(plan->ctx->profile, plan->profile_node + plan->n_execs + i, began, ended, &work);
}

double hone__profile_clock(const hone_ctx *ctx) { return ctx->profile ? hone__seconds() : 0; }

void hone__profile_span(hone_ctx *ctx, const char *name, double began, const hone__work *work, size_t state_bytes)
{
    hone_profile *p = ctx->profile;
    if (!p || began <= 0) return;
    double ended = hone__seconds();
    size_t node = 0;
    while (node < p->n_nodes && p->nodes[node].op != name) node++;
    if (node == p->n_nodes && !add_node(p, name, "", 0, HONE_F32)) return;
    mark(p, node, began, ended, work);
    p->sum.optimizer_state = HONE_MAX(p->sum.optimizer_state, state_bytes);
}

/* ---- looking ---- */

size_t hone_profile_count(const hone_profile *p) { return p ? p->n_entries : 0; }
const hone_profile_entry *hone_profile_at(const hone_profile *p, size_t i)
{
    return i < hone_profile_count(p) ? &p->entries[p->order[i]] : NULL;
}

hone_profile_summary hone_profile_summarize(const hone_profile *p)
{
    if (!p) return (hone_profile_summary){0};
    hone_profile_summary s = p->sum;
    s.elapsed = (p->stopped > 0 ? p->stopped : hone__seconds()) - p->began;
    for (size_t i = 0; i < p->n_entries; i++) {
        s.seconds += p->entries[i].seconds;
        s.flops += p->entries[i].flops;
    }
    return s;
}
