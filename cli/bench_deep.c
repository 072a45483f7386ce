/* The workloads of hone bench that train deep networks of the library's layers: ResNet-20 and BERT. */
#include "bench.h"

/* ---- ResNet-20 of 32 x 32 pictures: He et al. 2015, section 4.2 ---- */

typedef struct residual_block {
    hone_layer base;
    hone_layer *conv1, *norm1, *conv2, *norm2, *shortcut, *shortcut_norm; /* the last two: NULL where x is the shortcut */
} residual_block;

static hone_node *residual_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    residual_block *b = (residual_block *)(void *)self;
    hone_node *x = in[0], *y = hone_relu(hone_apply(b->norm1, hone_apply(b->conv1, x)));
    y = hone_apply(b->norm2, hone_apply(b->conv2, y));
    if (b->shortcut) x = hone_apply(b->shortcut_norm, hone_apply(b->shortcut, x));
    return hone_relu(hone_add(y, x));
}

/* A window of `kernel` that keeps the size, or halves it with a stride of 2. */
static hone_layer *window(hone_ctx *ctx, int64_t filters, int64_t kernel, int64_t stride)
{
    int64_t pad = kernel / 2;
    return hone_conv2d(ctx, filters, kernel, .no_bias = true, .stride = {stride}, .pad_before = {pad, pad}, .pad_after = {pad, pad});
}

static hone_layer *residual(hone_ctx *ctx, int64_t filters, int64_t stride)
{
    residual_block *b = hone_module(ctx, residual_block, residual_forward);
    if (!b) return NULL;
    b->conv1 = hone_layer_add(&b->base, "conv1", window(ctx, filters, 3, stride));
    b->norm1 = hone_layer_add(&b->base, "norm1", hone_batch_norm_layer(ctx));
    b->conv2 = hone_layer_add(&b->base, "conv2", window(ctx, filters, 3, 1));
    b->norm2 = hone_layer_add(&b->base, "norm2", hone_batch_norm_layer(ctx));
    if (stride == 1) return &b->base;
    b->shortcut = hone_layer_add(&b->base, "shortcut", window(ctx, filters, 1, stride));
    b->shortcut_norm = hone_layer_add(&b->base, "shortcut_norm", hone_batch_norm_layer(ctx));
    return &b->base;
}

bool bench_resnet(bench_run *run)
{
    hone_ctx *ctx = run->ctx;
    int64_t pictures = run->work->batch * 8; /* an epoch of 8 steps is a repeat */
    hone_model *model = hone_model_of(hone_sequential(ctx,
        window(ctx, 16, 3, 1), hone_batch_norm_layer(ctx), hone_activation_layer(ctx, HONE_RELU),
        residual(ctx, 16, 1), residual(ctx, 16, 1), residual(ctx, 16, 1),
        residual(ctx, 32, 2), residual(ctx, 32, 1), residual(ctx, 32, 1),
        residual(ctx, 64, 2), residual(ctx, 64, 1), residual(ctx, 64, 1),
        hone_global_average_pool(ctx), hone_dense(ctx, 10)));
    if (model)
        hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS,
                     .compute = run->work->dtype);
    hone_tensor *x = bench_noise(ctx, HONE_F32, HONE_SHAPE(pictures, 3, 32, 32), 0);
    hone_tensor *y = bench_noise(ctx, HONE_I32, HONE_SHAPE(pictures), 10);
    return bench_fit(run, model, x, y, (double)pictures);
}

/* ---- BERT with a classifier: Devlin et al. 2018; sizes of MiniLM-L6-H384 (Wang et al. 2020) ---- */

enum {
    BERT_BLOCKS = 6,
    BERT_WIDTH = 384,
    BERT_HEADS = 12,
    BERT_HIDDEN = 1536,
    BERT_VOCABULARY = 30522,
    BERT_CONTEXT = 512,
    BERT_LABELS = 2
};
#define BERT_EPSILON 1e-12
#define BERT_DROPOUT 0.1

typedef struct bert {
    hone_layer base;
    hone_layer *words, *types, *positions, *norm, *pooler, *classifier;
    struct {
        hone_layer *attention, *norm1, *up, *down, *norm2;
    } block[BERT_BLOCKS];
} bert;

/* ids [B, T] -> scores [B, labels]. All tokens are of the first type. */
static hone_node *bert_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)n;
    bert *b = (bert *)(void *)self;
    hone_shape s = hone_node_shape(in[0]);
    hone_node *type = hone_fill(graph, HONE_I32, HONE_SHAPE(1, s.dim[1]), 0);
    hone_node *x = hone_apply(b->positions, hone_add(hone_apply(b->words, in[0]), hone_apply(b->types, type)));
    x = hone_dropout(hone_apply(b->norm, x), BERT_DROPOUT);
    for (int i = 0; i < BERT_BLOCKS; i++) {
        x = hone_apply(b->block[i].norm1, hone_add(x, hone_dropout(hone_apply(b->block[i].attention, x), BERT_DROPOUT)));
        hone_node *y = hone_apply(b->block[i].down, hone_apply(b->block[i].up, x));
        x = hone_apply(b->block[i].norm2, hone_add(x, hone_dropout(y, BERT_DROPOUT)));
    }
    hone_node *first = hone_reshape(hone_slice(x, 1, 0, 1, 1), HONE_SHAPE(s.dim[0], BERT_WIDTH));
    return hone_apply(b->classifier, hone_dropout(hone_apply(b->pooler, first), BERT_DROPOUT));
}

static hone_layer *bert_norm(hone_ctx *ctx) { return hone_layer_norm_layer(ctx, .epsilon = BERT_EPSILON); }

static hone_layer *bert_new(hone_ctx *ctx)
{
    bert *b = hone_module(ctx, bert, bert_forward);
    if (!b) return NULL;
    b->words = hone_layer_add(&b->base, "word_embeddings", hone_embedding_layer(ctx, BERT_VOCABULARY, BERT_WIDTH));
    b->types = hone_layer_add(&b->base, "token_type_embeddings", hone_embedding_layer(ctx, 2, BERT_WIDTH));
    b->positions = hone_layer_add(&b->base, "position_embeddings", hone_learned_positions(ctx, BERT_CONTEXT));
    b->norm = hone_layer_add(&b->base, "norm", bert_norm(ctx));
    for (int i = 0; i < BERT_BLOCKS; i++) {
        b->block[i].attention = bench_add_part(&b->base, "layer", i, "attention", hone_self_attention(ctx, BERT_HEADS, .dropout = BERT_DROPOUT));
        b->block[i].norm1 = bench_add_part(&b->base, "layer", i, "norm1", bert_norm(ctx));
        b->block[i].up = bench_add_part(&b->base, "layer", i, "up", hone_dense(ctx, BERT_HIDDEN, .activation = HONE_GELU));
        b->block[i].down = bench_add_part(&b->base, "layer", i, "down", hone_dense(ctx, BERT_WIDTH));
        b->block[i].norm2 = bench_add_part(&b->base, "layer", i, "norm2", bert_norm(ctx));
    }
    b->pooler = hone_layer_add(&b->base, "pooler", hone_dense(ctx, BERT_WIDTH, .activation = HONE_TANH));
    b->classifier = hone_layer_add(&b->base, "classifier", hone_dense(ctx, BERT_LABELS));
    return &b->base;
}

bool bench_bert(bench_run *run)
{
    hone_ctx *ctx = run->ctx;
    const bench_workload *w = run->work;
    if (!bench_reads(run, "BERT", BERT_CONTEXT)) return false;
    hone_model *model = hone_model_of(bert_new(ctx));
    if (model)
        hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .compute = w->dtype);
    int64_t rows = w->batch * 2; /* an epoch of 2 steps is a repeat */
    hone_tensor *x = bench_noise(ctx, HONE_I32, HONE_SHAPE(rows, w->length), BERT_VOCABULARY);
    hone_tensor *y = bench_noise(ctx, HONE_I32, HONE_SHAPE(rows), BERT_LABELS);
    return bench_fit(run, model, x, y, (double)rows);
}
