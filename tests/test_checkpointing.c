/* Gradient checkpointing: the same bits as without it, in less memory. A failure means that a value that was computed again
   is not what it was, or was kept after all. */
#include "llm_tools.h"

#include "llm/finetune.h"
#include "optim/optim.h"
#include "train/train.h"

/* ---- a graph of one's own --------------------------------------------------------------------------------- */

enum { ROWS = 64, WIDTH = 32, BLOCKS = 6 };
typedef enum mark_kind { NONE, EACH, NESTED, GRADIENT_INSIDE } mark_kind;

static hone_tensor *drawn(hone_shape shape, uint64_t stream)
{
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, shape);
    if (!t) fail_msg("%s", hone_error(ctx));
    for (int64_t i = 0; i < hone_shape_count(shape); i++) ((float *)t->data)[i] = 0.3f * hone__random_normal(stream, (uint64_t)i);
    return t;
}

/* Residual blocks with dropout, and a counter that is raised in each; gradients of all weights and of x, and what a dropout
   after them gives, into values[WIDTH * WIDTH * (BLOCKS + 1)]. */
static size_t run_blocks(mark_kind marks, hone_dtype compute, float *values, size_t *count)
{
    hone_graph *graph = hone_graph_new(ctx, .mode = HONE_TRAIN);
    hone_tensor *x = drawn(HONE_SHAPE(ROWS, WIDTH), 7), *w[BLOCKS], *calls = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1));
    hone_node *wrt[BLOCKS + 1], *out[BLOCKS + 2], *h = wrt[BLOCKS] = hone_variable(graph, x);
    hone_node *counter = hone_variable(graph, calls), *raised = counter;
    for (int b = 0; b < BLOCKS; b++) {
        w[b] = drawn(HONE_SHAPE(WIDTH, WIDTH), (uint64_t)b);
        wrt[b] = hone_variable(graph, w[b]);
        if (marks != NONE) hone_checkpoint_begin(graph);
        raised = hone_assign(counter, hone_affine(raised, 1, 1));
        if (marks == NESTED) hone_checkpoint_begin(graph);
        hone_node *y = hone_tanh(hone_linear(hone_rms_norm(h, NULL, 1e-5), wrt[b], NULL));
        y = hone_dropout(hone_reshape(y, HONE_SHAPE(ROWS / 2, 2, WIDTH)), 0.2);
        if (marks == NESTED) hone_checkpoint_end(graph);
        y = hone_linear(hone_softmax(hone_dropout(hone_reshape(y, HONE_SHAPE(ROWS, WIDTH)), 0.1)), wrt[b], NULL);
        h = hone_add(h, y);
        if (marks == EACH || marks == NESTED || (marks == GRADIENT_INSIDE && b + 1 < BLOCKS)) hone_checkpoint_end(graph);
    }
    hone_node *loss = hone_sum(hone_square(h), HONE_ALL_AXES, false);
    assert_hone_ok(ctx, hone_grad(loss, BLOCKS + 1, wrt, out));
    out[BLOCKS + 1] = hone_dropout(h, 0.5);
    if (marks == GRADIENT_INSIDE) hone_checkpoint_end(graph);
    hone__plan *plan = hone__plan_new(graph, BLOCKS + 2, out, compute);
    if (!plan) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone__plan_run(plan, &(hone__run_info){.seed = 3, .step = 5}));
    *count = 0;
    for (int i = 0; i < BLOCKS + 2; i++) {
        const hone__view *view = hone__plan_output(plan, i);
        int64_t n = hone_shape_count(view->shape);
        hone__convert(values + *count, HONE_F32, view->data, view->dtype, n);
        *count += (size_t)n;
    }
    assert_true(hone_tensor_get(calls, 0) == BLOCKS); /* effects happen once */
    size_t bytes = hone__plan_bytes(plan);
    hone__plan_free(plan);
    hone_graph_release(graph);
    for (int b = 0; b < BLOCKS; b++) hone_tensor_free(w[b]);
    hone_tensor_free(x), hone_tensor_free(calls);
    return bytes;
}

static void test_segments_change_memory_and_nothing_else(void **state)
{
    (void)state;
    static float kept[WIDTH * WIDTH * BLOCKS + 2 * ROWS * WIDTH], again[HONE_ARRAY_LEN(kept)];
    for (int t = 0; t < 2; t++) {
        hone_dtype compute = t ? HONE_BF16 : HONE_F32;
        size_t n, m, bytes = run_blocks(NONE, compute, kept, &n);
        assert_int_equal(n, HONE_ARRAY_LEN(kept));
        for (mark_kind marks = EACH; marks <= GRADIENT_INSIDE; marks++) {
            size_t less = run_blocks(marks, compute, again, &m);
            if (m != n || memcmp(kept, again, n * sizeof *kept)) fail_msg("marks %d, compute %d: other values", (int)marks, t);
            /* of each block but the last at least two values are not kept, in 2 or 4 bytes an element */
            if (less + (BLOCKS - 1) * 2 * ROWS * WIDTH * sizeof(uint16_t) > bytes)
                fail_msg("marks %d, compute %d: %zu bytes, without %zu", (int)marks, t, less, bytes);
        }
    }
    hone_graph *graph = hone_graph_new(ctx);
    hone_checkpoint_begin(NULL), hone_checkpoint_end(NULL);
    hone_checkpoint_begin(graph), hone_checkpoint_end(graph);
    assert_hone_ok(ctx, hone_ctx_status(ctx));
    hone_checkpoint_end(graph);
    assert_error(HONE_STATE, "there was no hone_checkpoint_begin");
    hone_graph_release(graph);
}

/* ---- layers ----------------------------------------------------------------------------------------------- */

static hone_model *dense_model(bool functional)
{
    hone_layer *layers[3];
    for (int i = 0; i < 3; i++)
        layers[i] = hone_sequential(ctx, hone_dense(ctx, 24, .activation = HONE_GELU), hone_dropout_layer(ctx, 0.3), hone_dense(ctx, 8));
    if (!functional) return hone_model_of(hone_sequential_n(ctx, 3, layers));
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 8)), *y = x;
    for (int i = 0; i < 3; i++) y = hone_add(y, hone_apply(layers[i], y));
    hone_model *model = hone_model_new(1, &x, 1, &y);
    hone_graph_release(graph);
    return model;
}

static void test_marked_layers_learn_the_same(void **state)
{
    (void)state;
    for (int functional = 0; functional < 2; functional++) {
        float first[2000], values[2000];
        for (int marked = 0; marked < 2; marked++) {
            hone_model *model = dense_model(functional);
            hone_layer *root = hone_model_root(model);
            for (size_t i = 0; i < root->n_children; i++) hone_layer_set_checkpointing(root->children[i], marked);
            hone_tensor *x = drawn(HONE_SHAPE(40, 8), 1), *y = drawn(HONE_SHAPE(40, 8), 2);
            assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_MSE));
            assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 3, .batch_size = 16));
            int64_t at = 0;
            for (size_t i = 0; i < hone_model_param_count(model); i++) {
                hone_param *p = hone_model_param(model, i);
                int64_t n = hone_shape_count(hone_param_shape(p));
                assert_true(at + n <= 2000);
                assert_hone_ok(ctx, hone_param_read(p, n, (marked ? values : first) + at));
                at += n;
            }
            if (marked) assert_memory_equal(first, values, (size_t)at * sizeof *first);
            hone_tensor_free(x), hone_tensor_free(y);
            hone_model_release(model);
        }
    }
    hone_layer_set_checkpointing(NULL, true);
}

/* ---- fine-tuning ------------------------------------------------------------------------------------------ */

typedef struct steps {
    double loss[8], norm[8];
    int n;
} steps;
static bool note(void *user, const hone_finetune_step *s)
{
    steps *t = user;
    if (!s->is_evaluation && t->n < 8) t->loss[t->n] = s->loss, t->norm[t->n++] = s->grad_norm;
    return true;
}

/* Three steps of the tiny Llama; the parameters that it comes to, freed by the caller with hone__free. */
static float *tune(hone_finetune_method method, hone_dtype compute, bool checkpointing, steps *told, int64_t *count, size_t *bytes)
{
    hone_llm *llm = hone_llm_open(ctx, LLAMA, .compute = compute);
    hone_records *records = hone_records_load(ctx, GOLDEN "/train.jsonl", NULL);
    hone_llm_data *data = hone_llm_data_new(llm, records, .max_seq_length = 256);
    hone_finetune_opts o = {.struct_size = sizeof o, .method = method, .max_steps = 3, .batch_size = 2, .learning_rate = 1e-3,
                            .gradient_accumulation_steps = 2, .lora = {.rank = 4, .dropout = 0.1},
                            .gradient_checkpointing = checkpointing, .on_step = note, .user = told};
    hone_finetune *run = hone_finetune_new(llm, data, NULL, &o);
    if (!run) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone_finetune_run(run));
    *bytes = hone_function_bytes(run->step_function);
    *count = 0;
    for (const hone__segment *s = llm->model->segments; s; s = s->next) *count += s->count;
    float *values = hone__alloc(ctx, (size_t)*count * sizeof *values), *to = values;
    for (const hone__segment *s = llm->model->segments; s; to += s->count, s = s->next)
        memcpy(to, s->values, (size_t)s->count * sizeof *to);
    hone_finetune_free(run);
    hone_llm_data_free(data);
    hone_records_free(records);
    hone_llm_free(llm);
    return values;
}

static void test_fine_tuning_is_the_same_to_the_bit(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        hone_finetune_method method = i & 1 ? HONE_FINETUNE_FULL : HONE_FINETUNE_LORA;
        steps kept = {0}, again = {0};
        int64_t n, m;
        size_t bytes, less;
        float *a = tune(method, i & 2 ? HONE_BF16 : HONE_F32, false, &kept, &n, &bytes);
        float *b = tune(method, i & 2 ? HONE_BF16 : HONE_F32, true, &again, &m, &less);
        if (less >= bytes) fail_msg("case %d: %zu bytes of activations, without checkpointing %zu", i, less, bytes);
        assert_int_equal(kept.n, 3);
        assert_int_equal(n, m);
        if (memcmp(&kept, &again, sizeof kept) || memcmp(a, b, (size_t)n * sizeof *a)) fail_msg("case %d: another run", i);
        hone__free(ctx, a);
        hone__free(ctx, b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_segments_change_memory_and_nothing_else),
        TEST(test_marked_layers_learn_the_same),
        TEST(test_fine_tuning_is_the_same_to_the_bit),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
