/* The workloads of hone bench that need no model. */
#include "bench.h"

/* ---- training through hone_fit ---- */

typedef struct fitting {
    bench_run *run;
    double count; /* of what the unit counts, an epoch */
    bool ok;
} fitting;

static bool on_epoch(void *user, hone_model *model, size_t epoch, const hone_epoch *result)
{
    (void)model;
    fitting *f = user;
    if (f->run->profile) {
        f->ok = bench_end_limit(f->run, f->count);
        return false;
    }
    if (epoch > 1) bench_sample(f->run, f->count, result->seconds); /* the first ones make plans */
    return !bench_enough(f->run) || bench_begin_limit(f->run);
}

hone_tensor *bench_noise(hone_ctx *ctx, hone_dtype dtype, hone_shape shape, int32_t classes)
{
    hone_tensor *t = hone_tensor_new(ctx, dtype, shape);
    uint64_t state = 1;
    for (int64_t i = 0; t && i < hone_shape_count(shape); i++) {
        double sum = -6; /* of twelve uniform numbers: near enough to a normal one */
        uint64_t last = 0;
        for (int k = 0; k < (classes ? 1 : 12); k++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407); /* Knuth's MMIX */
            last = state >> 33;
            sum += (double)last / (double)(UINT64_C(1) << 31);
        }
        if (classes)
            ((int32_t *)hone_tensor_data(t))[i] = (int32_t)(last % (uint64_t)classes);
        else
            ((float *)hone_tensor_data(t))[i] = (float)sum;
    }
    return t;
}

bool bench_reads(const bench_run *run, const char *model, int64_t most)
{
    const bench_workload *w = run->work;
    if (w->length <= most) return true;
    cli_fail(run->args, "%s: %s reads no more than %lld tokens, not %lld", w->name, model, (long long)most, (long long)w->length);
    return false;
}

hone_layer *bench_add_part(hone_layer *parent, const char *block, int number, const char *part, hone_layer *child)
{
    char name[64];
    snprintf(name, sizeof name, "%s%d_%s", block, number, part);
    return hone_layer_add(parent, name, child);
}

bool bench_fit(bench_run *run, hone_model *model, hone_tensor *x, hone_tensor *y, double count)
{
    fitting f = {run, count, false};
    if (hone_ctx_status(run->ctx) == HONE_OK) {
        hone_status status = hone_fit(model, x, y, NULL, .epochs = 100000, .batch_size = (int)run->work->batch,
                                      .no_shuffle = true, .on_epoch = on_epoch, .on_epoch_user = &f);
        f.ok &= status == HONE_OK;
    }
    hone_model_release(model);
    hone_tensor_free(x);
    hone_tensor_free(y);
    return f.ok;
}

bool bench_fit_loader(bench_run *run, hone_model *model, hone_loader *loader, double count)
{
    fitting f = {run, count, false};
    if (hone_ctx_status(run->ctx) == HONE_OK) {
        hone_status status = hone_fit_loader(model, loader, NULL, .epochs = 100000, .on_epoch = on_epoch, .on_epoch_user = &f);
        f.ok &= status == HONE_OK;
    }
    hone_model_release(model);
    return f.ok;
}

bool bench_mlp(bench_run *run)
{
    hone_ctx *ctx = run->ctx;
    int64_t rows = run->work->batch * 20; /* an epoch of 20 steps is a repeat */
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 512, .activation = HONE_RELU),
                                                      hone_dense(ctx, 512, .activation = HONE_RELU), hone_dense(ctx, 10)));
    if (model) hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS);
    hone_tensor *x = bench_noise(ctx, HONE_F32, HONE_SHAPE(rows, 784), 0), *y = bench_noise(ctx, HONE_I32, HONE_SHAPE(rows), 10);
    return bench_fit(run, model, x, y, (double)rows);
}

hone_model *bench_small_cnn(const bench_run *run)
{
    hone_ctx *ctx = run->ctx;
    hone_model *model = hone_model_of(hone_sequential(ctx,
        hone_conv2d(ctx, 32, 3, .padding = HONE_SAME, .activation = HONE_RELU), hone_max_pool2d(ctx, 2),
        hone_conv2d(ctx, 64, 3, .padding = HONE_SAME, .activation = HONE_RELU), hone_max_pool2d(ctx, 2),
        hone_flatten(ctx), hone_dense(ctx, 128, .activation = HONE_RELU), hone_dense(ctx, 10)));
    if (model)
        hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS,
                     .compute = run->work->dtype);
    return model;
}

bool bench_cnn(bench_run *run)
{
    int64_t pictures = run->work->batch * 8;
    hone_tensor *x = bench_noise(run->ctx, HONE_F32, HONE_SHAPE(pictures, 3, 32, 32), 0);
    hone_tensor *y = bench_noise(run->ctx, HONE_I32, HONE_SHAPE(pictures), 10);
    return bench_fit(run, bench_small_cnn(run), x, y, (double)pictures);
}

static hone_node *letters_loss(void *user, hone_node *logits, hone_node *target)
{
    (void)user;
    return hone_mean(hone_softmax_cross_entropy(logits, target, NULL), HONE_AXES(1), false);
}

/* A language model of letters: embedding 128, two LSTM layers of 512, 96 letters. */
bool bench_lstm(bench_run *run)
{
    hone_ctx *ctx = run->ctx;
    const bench_workload *w = run->work;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_embedding_layer(ctx, 96, 128),
                                                      hone_lstm(ctx, 512, .layers = 2, .return_sequences = true),
                                                      hone_dense(ctx, 96)));
    if (model)
        hone_compile(model, .optimizer = hone_adam(ctx), .custom_loss = letters_loss,
                     .compute = w->dtype);
    int64_t rows = w->batch * 4; /* an epoch of 4 steps is a repeat */
    hone_tensor *x = bench_noise(ctx, HONE_I32, HONE_SHAPE(rows, w->length), 96), *y = bench_noise(ctx, HONE_I32, HONE_SHAPE(rows, w->length), 96);
    return bench_fit(run, model, x, y, (double)(rows * w->length));
}

/* ---- GPT-2: Radford et al. 2019; 124M parameters, the embedding is the output layer too ---- */

enum { GPT2_BLOCKS = 12, GPT2_WIDTH = 768, GPT2_HEADS = 12, GPT2_VOCABULARY = 50257, GPT2_CONTEXT = 1024 };

typedef struct gpt2 {
    hone_layer base;
    hone_layer *wte, *wpe, *ln_f;
    struct {
        hone_layer *ln_1, *attn, *ln_2, *c_fc, *c_proj;
    } h[GPT2_BLOCKS];
} gpt2;

/* 0, 1, ... count - 1 */
static hone_node *positions(hone_graph *graph, int64_t count)
{
    int32_t at[GPT2_CONTEXT];
    for (int64_t i = 0; i < count; i++) at[i] = (int32_t)i;
    hone_tensor *t = hone_tensor_from_i32(hone_graph_ctx(graph), HONE_SHAPE(count), at);
    hone_node *node = t ? hone_constant(graph, t) : NULL;
    hone_tensor_free(t);
    return node;
}

/* ids [B, T] -> hidden states [B, T, width] */
static hone_node *gpt2_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    gpt2 *g = (gpt2 *)(void *)self;
    int64_t length = hone_node_shape(in[0]).dim[1];
    hone_node *x = hone_add(hone_apply(g->wte, in[0]), hone_apply(g->wpe, positions(graph, length)));
    for (int i = 0; i < GPT2_BLOCKS; i++) {
        x = hone_add(x, hone_apply(g->h[i].attn, hone_apply(g->h[i].ln_1, x)));
        x = hone_add(x, hone_apply(g->h[i].c_proj, hone_apply(g->h[i].c_fc, hone_apply(g->h[i].ln_2, x))));
    }
    return hone_apply(g->ln_f, x);
}

static hone_node *gpt2_loss(void *user, hone_node *x, hone_node *target)
{
    gpt2 *g = user;
    if (!x) return NULL;
    hone_shape s = hone_node_shape(x);
    int64_t tokens = s.dim[0] * s.dim[1];
    hone_node *loss = hone_linear_cross_entropy(hone_reshape(x, HONE_SHAPE(tokens, s.dim[2])),
                                                hone_weight_of(g->wte, hone_node_graph(x), "weight"),
                                                hone_reshape(target, HONE_SHAPE(tokens)), NULL);
    return hone_mean(hone_reshape(loss, HONE_SHAPE(s.dim[0], s.dim[1])), HONE_AXES(1), false);
}

static gpt2 *gpt2_new(hone_ctx *ctx)
{
    gpt2 *g = hone_module(ctx, gpt2, gpt2_forward);
    if (!g) return NULL;
    g->wte = hone_layer_add(&g->base, "wte", hone_embedding_layer(ctx, GPT2_VOCABULARY, GPT2_WIDTH));
    g->wpe = hone_layer_add(&g->base, "wpe", hone_embedding_layer(ctx, GPT2_CONTEXT, GPT2_WIDTH));
    for (int i = 0; i < GPT2_BLOCKS; i++) {
        g->h[i].ln_1 = bench_add_part(&g->base, "h", i, "ln_1", hone_layer_norm_layer(ctx));
        g->h[i].attn = bench_add_part(&g->base, "h", i, "attn", hone_self_attention(ctx, GPT2_HEADS, .causal = true));
        g->h[i].ln_2 = bench_add_part(&g->base, "h", i, "ln_2", hone_layer_norm_layer(ctx));
        g->h[i].c_fc = bench_add_part(&g->base, "h", i, "c_fc", hone_dense(ctx, 4 * GPT2_WIDTH, .activation = HONE_GELU_TANH));
        g->h[i].c_proj = bench_add_part(&g->base, "h", i, "c_proj", hone_dense(ctx, GPT2_WIDTH));
    }
    g->ln_f = hone_layer_add(&g->base, "ln_f", hone_layer_norm_layer(ctx));
    return hone_ctx_status(ctx) == HONE_OK ? g : NULL;
}

bool bench_gpt2(bench_run *run)
{
    hone_ctx *ctx = run->ctx;
    const bench_workload *w = run->work;
    if (!bench_reads(run, "GPT-2", GPT2_CONTEXT)) return false;
    gpt2 *g = gpt2_new(ctx);
    hone_model *model = g ? hone_model_of(&g->base) : NULL;
    if (!model) return false;
    hone_compile(model, .optimizer = hone_adamw(ctx), .custom_loss = gpt2_loss, .custom_user = g, .compute = w->dtype);
    hone_tensor *x = bench_noise(ctx, HONE_I32, HONE_SHAPE(w->batch, w->length), GPT2_VOCABULARY);
    hone_tensor *y = bench_noise(ctx, HONE_I32, HONE_SHAPE(w->batch, w->length), GPT2_VOCABULARY);
    return bench_fit(run, model, x, y, (double)(w->batch * w->length));
}

/* ---- small things ---- */

/* The recipe of examples/iris.c on numbers of its shape. */
bool bench_iris(bench_run *run)
{
    hone_ctx *ctx = run->ctx;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 10, .activation = HONE_RELU),
                                                      hone_dense(ctx, 3, .activation = HONE_SOFTMAX)));
    hone_tensor *x = bench_noise(ctx, HONE_F32, HONE_SHAPE(120, 4), 0), *y = bench_noise(ctx, HONE_I32, HONE_SHAPE(120), 3);
    bool ok = model && hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY) == HONE_OK &&
              hone_fit(model, x, y, NULL, .epochs = 100, .batch_size = 32, .validation_split = 0.2) == HONE_OK;
    bench_sample(run, 1, cli_now() - run->began);
    run->peak_memory = hone_peak_memory();
    hone_model_release(model);
    hone_tensor_free(x);
    hone_tensor_free(y);
    return ok;
}

enum { NODES = 1000, CALLS = 200 };

static void record_nodes(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)user, (void)graph;
    hone_node *x = in[0];
    for (int i = 0; i < NODES; i++) x = i % 2 ? hone_mul(x, in[1]) : hone_add(x, in[1]);
    out[0] = x;
}

typedef struct calling {
    hone_function *function;
    hone_tensor *in[2];
} calling;

static bool call_nodes(void *state)
{
    calling *c = state;
    bool ok = true;
    for (int i = 0; i < CALLS && ok; i++) ok = hone_function_call(c->function, c->in) == HONE_OK;
    return ok;
}

bool bench_nodes(bench_run *run)
{
    hone_ctx *ctx = run->ctx;
    calling c = {hone_function_new(ctx, 2, 1, record_nodes, NULL),
                 {hone_tensor_from_f32(ctx, HONE_SHAPE(4), (float[]){1, 2, 3, 4}),
                  hone_tensor_from_f32(ctx, HONE_SHAPE(4), (float[]){0.5F, 0.25F, 0.125F, 0.0625F})}};
    bool ok = hone_ctx_status(ctx) == HONE_OK && call_nodes(&c);
    while (ok && !bench_enough(run)) {
        double began = cli_now();
        ok = call_nodes(&c);
        bench_sample(run, NODES * CALLS * 1e-9, cli_now() - began); /* seconds over billions: nanoseconds */
    }
    run->peak_memory = hone_peak_memory();
    hone_function_free(c.function);
    hone_tensor_free(c.in[0]);
    hone_tensor_free(c.in[1]);
    return ok;
}
