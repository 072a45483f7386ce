/* A model as a table. */
#include "graph/plan.h"
#include "nn/nn.h"

#include <stdio.h>

typedef struct summary {
    hone_ctx *ctx;
    const hone__plan *plan;
    hone__buffer text;
} summary;

typedef struct counted {
    int64_t parameters, trained;
    size_t bytes;
} counted;

static counted count(const hone_layer *layer)
{
    counted sum = {0};
    for (size_t i = 0; i < layer->n_params; i++) {
        const hone__variable *v = &layer->params[i]->v;
        int64_t n = hone_shape_count(v->shape);
        sum.parameters += n;
        sum.trained += v->trainable ? n : 0;
        sum.bytes += hone__dtype_bytes(v->stored, n);
    }
    for (size_t i = 0; i < layer->n_children; i++) {
        counted more = count(layer->children[i]);
        sum = (counted){sum.parameters + more.parameters, sum.trained + more.trained, sum.bytes + more.bytes};
    }
    return sum;
}

typedef struct worked {
    double multiply_adds, bytes; /* of results, views of others' memory left out */
} worked;

/* Of what the layer of that path recorded. */
static worked work_of(const summary *s, const char *path)
{
    size_t n = strlen(path);
    worked sum = {0};
    for (size_t i = 0; i < s->plan->n_execs; i++) {
        const hone__exec *e = &s->plan->execs[i];
        if (!e->call || strncmp(e->call->scope, path, n) != 0 || (n && e->call->scope[n] && e->call->scope[n] != '.')) continue;
        hone__work work = {0};
        hone__exec_work(e, &work);
        for (int p = 0; p < work.n_products; p++) sum.multiply_adds += work.product[p].flops / 2;
        for (int o = 0; o < e->n_out; o++)
            if (e->out[o].data) sum.bytes += (double)hone__dtype_bytes(e->out[o].dtype, hone_shape_count(e->out[o].shape));
    }
    return sum;
}

static bool add_layer(summary *s, const hone_layer *layer, int depth)
{
    char name[64], shape[HONE__SHAPE_TEXT];
    char *path = hone__layer_path(layer, "");
    if (!path) return false;
    snprintf(name, sizeof name, "%*s%s%s%s", 2 * depth, "", layer->parent ? layer->name : "", layer->parent ? " " : "", layer->type);
    hone__shape_text(layer->output, shape);
    const counted has = count(layer);
    const worked does = work_of(s, path);
    bool ok = hone__buffer_print(s->ctx, &s->text, "%-34s %-20s %14lld %16.0f %14.1f\n", name, shape, (long long)has.parameters,
                                 does.multiply_adds, ((double)has.bytes + does.bytes) / 1e3);
    hone__free(s->ctx, path);
    for (size_t i = 0; i < layer->n_children && ok; i++) ok = add_layer(s, layer->children[i], depth + 1);
    return ok;
}

/* The most that a kernel needs beside what it reads and writes; kernels run one after the other. */
static size_t scratch_of(const summary *s)
{
    size_t most = 0;
    for (size_t i = 0; i < s->plan->n_execs; i++) most = HONE_MAX(most, s->plan->execs[i].scratch_size);
    return most;
}

static bool write(summary *s, const hone_layer *root)
{
    const worked does = work_of(s, "");
    counted all = count(root);
    return hone__buffer_print(s->ctx, &s->text, "%-34s %-20s %14s %16s %14s\n", "layer", "output", "parameters", "multiply-adds", "KB") &&
           add_layer(s, root, 0) &&
           hone__buffer_print(s->ctx, &s->text,
                              "%lld parameters, %lld of them trained, %.1f KB; %.0f multiply-adds, %.1f KB of values and %.1f KB of scratch a run\n",
                              (long long)all.parameters, (long long)all.trained, (double)all.bytes / 1e3, does.multiply_adds, does.bytes / 1e3,
                              (double)scratch_of(s) / 1e3);
}

/* Records the model on inputs of its own, or on one. false: error (sticky). */
static bool record(hone_model *model, hone_graph *graph, hone_dtype dtype, hone_shape input, hone_node **outputs)
{
    const hone__functional *f = hone__functional_of(model);
    int n = f ? f->n_inputs : 1;
    hone_node **x = hone__arena_alloc(&graph->arena, (size_t)n * sizeof *x);
    for (int i = 0; i < n && x; i++) {
        hone_shape shape = n > 1 ? f->inputs[i]->shape : input;
        for (int d = 0; d < shape.rank; d++)
            if (shape.dim[d] == HONE_BATCH) shape.dim[d] = input.rank ? input.dim[0] : 1;
        x[i] = hone_input(graph, "x", n > 1 ? f->inputs[i]->dtype : dtype, shape);
        if (!x[i]) return false;
    }
    return x && hone_model_apply(model, n, x, hone_model_output_count(model), outputs) == HONE_OK;
}

char *hone_summary(hone_model *model, hone_dtype dtype, hone_shape input)
{
    hone_ctx *ctx = model ? model->ctx : NULL;
    if (!ctx || !hone__ok(ctx)) return NULL;
    summary s = {.ctx = ctx};
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *y[HONE__MOST_OUTPUTS];
    bool recorded = graph && record(model, graph, dtype, input, y) && hone_model_build(model) == HONE_OK;
    hone__plan *plan = recorded ? hone__plan_new(graph, hone_model_output_count(model), y, HONE_F32) : NULL;
    s.plan = plan;
    if (plan && !write(&s, model->root)) hone__buffer_free(ctx, &s.text);
    hone__plan_free(plan);
    hone_graph_release(graph);
    return s.text.data;
}
