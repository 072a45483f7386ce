/* Recorded functions: record once for each kind of call, keep the plans, replay them. */
#include "graph/plan.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct cached {
    uint64_t key;
    hone__plan *plan;
    uint64_t used;
} cached;

struct hone_function {
    hone_ctx *ctx;
    int n_in, n_out;
    hone_forward_fn forward;
    void *user;
    hone_dtype compute;
    size_t cache_bytes;
    cached *plans;
    size_t n_plans, plans_capacity;
    uint64_t clock;
    hone__plan *last;
    hone_tensor **outputs;
    hone__owner *owners; /* the models that its recordings have read so far */
    size_t n_owners, owners_capacity;
    bool check;
};

hone_function *hone_function_new_opt(hone_ctx *ctx, int n_in, int n_out, hone_forward_fn forward, void *user,
                                     const hone_function_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_dtype compute = opts ? hone__compute_dtype(opts->auto_compute, opts->compute) : HONE_F32;
    if (n_in < 0 || n_out < 0 || !forward || (compute != HONE_F32 && compute != HONE_BF16)) {
        hone__fail(ctx, HONE_INVALID, "function: needs a forward, counts >= 0, and compute dtype f32 or bf16");
        return NULL;
    }
    hone_function *f = hone__calloc(ctx, 1, sizeof *f);
    hone_tensor **outputs = hone__calloc(ctx, (size_t)n_out + 1, sizeof *outputs);
    if (!f || !outputs) {
        hone__free(ctx, f);
        hone__free(ctx, outputs);
        return NULL;
    }
    *f = (hone_function){.ctx = hone_ctx_retain(ctx), .n_in = n_in, .n_out = n_out, .forward = forward, .user = user,
                         .compute = compute, .cache_bytes = opts ? opts->cache_bytes : 0, .outputs = outputs};
    const char *check = getenv("HONE_CHECK_RECORD");
    f->check = check && check[0] == '1';
    return f;
}

static void clear_outputs(hone_function *f)
{
    for (int i = 0; i < f->n_out; i++) {
        hone_tensor_free(f->outputs[i]);
        f->outputs[i] = NULL;
    }
}

void hone_function_free(hone_function *f)
{
    if (!f) return;
    hone_ctx *ctx = f->ctx;
    clear_outputs(f);
    for (size_t i = 0; i < f->n_plans; i++) hone__plan_free(f->plans[i].plan);
    hone__free(ctx, f->plans);
    hone__free(ctx, f->owners);
    hone__free(ctx, f->outputs);
    hone__free(ctx, f);
    hone_ctx_release(ctx);
}

hone__plan *hone__function_plan(hone_function *f) { return f->last; }
size_t hone_function_bytes(const hone_function *f) { return f && f->last ? f->last->arena_bytes : 0; }
hone_tensor *hone_function_output(hone_function *f, int i) { return f && f->last && i >= 0 && i < f->n_out ? f->outputs[i] : NULL; }

static uint64_t key_of(const hone_function *f, hone_tensor *const *inputs, hone_mode mode)
{
    uint64_t key = hone__key((uint64_t)mode, (uint64_t)f->compute);
    for (size_t i = 0; i < f->n_owners; i++) key = hone__key(key, f->owners[i].generation(f->owners[i].user));
    for (int i = 0; i < f->n_in; i++) {
        key = hone__key(key, (uint64_t)inputs[i]->dtype << 8 | (uint64_t)inputs[i]->shape.rank);
        for (int d = 0; d < inputs[i]->shape.rank; d++) key = hone__key(key, (uint64_t)inputs[i]->shape.dim[d]);
    }
    return key;
}

static hone_graph *record(hone_function *f, hone_tensor *const *inputs, hone_mode mode, hone_node **outputs)
{
    hone_graph *graph = hone_graph_new(f->ctx, .mode = mode);
    hone_node **nodes = hone__calloc(f->ctx, (size_t)f->n_in + 1, sizeof *nodes);
    for (int i = 0; graph && nodes && i < f->n_in; i++) {
        char name[32];
        snprintf(name, sizeof name, "input%d", i);
        hone_dtype dtype = inputs[i]->dtype;
        if (dtype == HONE_F16 || dtype == HONE_BF16) dtype = HONE_F32;
        nodes[i] = hone_input(graph, name, dtype, inputs[i]->shape);
    }
    if (hone__ok(f->ctx)) f->forward(f->user, graph, nodes, outputs);
    hone__free(f->ctx, nodes);
    for (int i = 0; i < f->n_out && hone__ok(f->ctx); i++)
        if (!outputs[i]) hone__fail(f->ctx, HONE_INVALID, "function: the forward function left output %d empty", i);
    if (hone__ok(f->ctx)) return graph;
    hone_graph_release(graph);
    return NULL;
}

/* Plans beyond the budget go, the least recently used first; the newest always stays. */
static void evict(hone_function *f)
{
    size_t budget = f->cache_bytes ? f->cache_bytes : (size_t)1 << 30;
    for (;;) {
        size_t total = 0, oldest = 0;
        for (size_t i = 0; i < f->n_plans; i++) {
            total += f->plans[i].plan->arena_bytes;
            if (f->plans[i].used < f->plans[oldest].used) oldest = i;
        }
        bool many = !f->cache_bytes && f->n_plans > 64;
        if (f->n_plans <= 1 || (total <= budget && !many)) return;
        hone__plan_free(f->plans[oldest].plan);
        f->plans[oldest] = f->plans[--f->n_plans];
    }
}

/* Models get memory for what was recorded; their generations count from now on. */
static bool meet_owners(hone_function *f, const hone_graph *graph)
{
    for (size_t i = 0, k; i < graph->n_owners; i++) {
        for (k = 0; k < f->n_owners && f->owners[k].user != graph->owners[i].user; k++) {
        }
        if (k == f->n_owners) {
            if (!hone__grow(f->ctx, (void **)&f->owners, &f->owners_capacity, k + 1, sizeof *f->owners)) return false;
            f->owners[f->n_owners++] = graph->owners[i];
        }
        if (graph->owners[i].before_plan(graph->owners[i].user) != HONE_OK) return false;
    }
    return true;
}

static hone__plan *new_plan(hone_function *f, hone_tensor *const *inputs, hone_mode mode, uint64_t key)
{
    hone_node **outputs = hone__calloc(f->ctx, (size_t)f->n_out + 1, sizeof *outputs);
    if (!outputs) return NULL;
    hone_graph *graph = record(f, inputs, mode, outputs);
    bool ready = graph && meet_owners(f, graph);
    hone__plan *plan = ready ? hone__plan_new(graph, f->n_out, outputs, f->compute) : NULL;
    hone_graph_release(graph);
    hone__free(f->ctx, outputs);
    if (!plan) return NULL;
    if (!hone__grow(f->ctx, (void **)&f->plans, &f->plans_capacity, f->n_plans + 1, sizeof *f->plans)) {
        hone__plan_free(plan);
        return NULL;
    }
    f->plans[f->n_plans++] = (cached){key, plan, ++f->clock};
    evict(f);
    return plan;
}

static hone_status same_recording(hone_function *f, hone_tensor *const *inputs, hone_mode mode, hone__plan *plan)
{
    hone_node **outputs = hone__calloc(f->ctx, (size_t)f->n_out + 1, sizeof *outputs);
    hone_graph *again = outputs ? record(f, inputs, mode, outputs) : NULL;
    char *one = again ? hone_graph_dump(plan->graph, HONE_DUMP_TEXT) : NULL;
    char *two = again ? hone_graph_dump(again, HONE_DUMP_TEXT) : NULL;
    hone_status status = HONE_OK;
    if (!one || !two)
        status = f->ctx->status;
    else if (strcmp(one, two) != 0)
        status = hone__fail(f->ctx, HONE_STATE, "function: recording again gave another graph (HONE_CHECK_RECORD=1): "
                                                "what varies from call to call must be an input");
    hone_free_text(f->ctx, one);
    hone_free_text(f->ctx, two);
    hone_graph_release(again);
    hone__free(f->ctx, outputs);
    return status;
}

static hone_status show_outputs(hone_function *f, hone__plan *plan)
{
    if (f->last == plan) return HONE_OK;
    clear_outputs(f);
    f->last = NULL;
    for (int i = 0; i < f->n_out; i++) {
        const hone__view *view = hone__plan_output(plan, i);
        if (!(f->outputs[i] = hone_tensor_borrow(f->ctx, view->dtype, view->shape, view->data))) return f->ctx->status;
    }
    f->last = plan;
    return HONE_OK;
}

/* The plan for such a call: kept, or new. */
static hone_status find_plan(hone_function *f, hone_tensor *const *inputs, hone_mode mode, hone__plan **result)
{
    hone_ctx *ctx = f->ctx;
    for (int i = 0; i < f->n_in; i++)
        if (!inputs[i]) return hone__fail_run(ctx, HONE_INVALID, "function: input %d is NULL", i);
    uint64_t key = key_of(f, inputs, mode);
    hone__plan *plan = NULL;
    for (size_t i = 0; i < f->n_plans && !plan; i++)
        if (f->plans[i].key == key) {
            plan = f->plans[i].plan;
            f->plans[i].used = ++f->clock;
        }
    *result = plan;
    if (plan) return f->check ? same_recording(f, inputs, mode, plan) : HONE_OK;
    clear_outputs(f);
    f->last = NULL; /* it may be evicted */
    if (!(*result = plan = new_plan(f, inputs, mode, key))) return ctx->status;
    /* The forward may have added parameters: the next call's key sees the new generation. */
    for (size_t i = 0; i < f->n_plans; i++)
        if (f->plans[i].plan == plan) f->plans[i].key = key_of(f, inputs, mode);
    return HONE_OK;
}

hone_status hone__function_prepare(hone_function *f, hone_tensor *const *inputs, hone_mode mode)
{
    hone__plan *plan;
    if (!hone__ok(f->ctx)) return f->ctx->status;
    return find_plan(f, inputs, mode, &plan);
}

static hone_status give_inputs(hone_function *f, hone__plan *plan, hone_tensor *const *inputs)
{
    for (int i = 0; i < f->n_in; i++) {
        hone__view *to = hone__plan_input(plan, i);
        if (!to->data) continue;
        hone_status status = hone__convert_all(f->ctx, to->data, to->dtype, inputs[i]->data, inputs[i]->dtype,
                                               hone_shape_count(to->shape));
        if (status != HONE_OK)
            return hone__fail_run(f->ctx, status, "function: input %d cannot be a tensor of %s", i,
                                  hone_dtype_name(inputs[i]->dtype));
    }
    return HONE_OK;
}

bool hone__function_find_nonfinite(hone_function *f, hone_tensor *const *inputs, const hone_call_opts *opts, char *text, size_t size)
{
    hone__run_info info = {.seed = f->ctx->seed, .step = opts->step, .micro_batch = opts->micro_batch};
    /* the inputs' memory has served other values since */
    return f->last && give_inputs(f, f->last, inputs) == HONE_OK && hone__plan_find_nonfinite(f->last, &info, text, size);
}

hone_status hone_function_call_opt(hone_function *f, hone_tensor *const *inputs, const hone_call_opts *opts)
{
    if (!f) return HONE_INVALID;
    hone_ctx *ctx = f->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (hone_cancelled(ctx)) return hone__fail_run(ctx, HONE_CANCELLED, "cancelled");
    hone__plan *plan;
    hone_status status = find_plan(f, inputs, opts ? opts->mode : HONE_EVALUATE, &plan);
    if (status != HONE_OK) return status;
    status = give_inputs(f, plan, inputs);
    if (status != HONE_OK) return status;
    hone__run_info info = {.seed = ctx->seed, .step = opts ? opts->step : 0,
                           .micro_batch = opts ? opts->micro_batch : 0};
    status = hone__plan_run(plan, &info);
    if (status != HONE_OK) return status;
    return show_outputs(f, plan);
}
