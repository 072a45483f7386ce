/* Training steps of one's own: hone_backward with several losses and models, modes of parts of a network, and a GAN that must learn
   as PyTorch's does (scripts/golden/make_gan_golden.py). */
#include "graph_tools.h"

#include "hone/hone.h"
#include "nn/nn.h"

#include <math.h>

/* ---- a GAN, step by step as PyTorch makes them ---- */

typedef struct gan {
    hone_model *generator, *discriminator;
    hone_mode judge; /* of the discriminator, while the generator learns */
} gan;

static hone_node *leaky(void *user, hone_graph *graph, hone_node *const *in, int n)
{
    (void)user, (void)graph, (void)n;
    return hone_leaky_relu(in[0], 0.2);
}

static gan new_gan(void)
{
    return (gan){
        hone_model_of(hone_sequential(
            ctx, hone_dense(ctx, 32), hone_reshape_layer(ctx, HONE_SHAPE(8, 2, 2)), hone_batch_norm_layer(ctx),
            hone_activation_layer(ctx, HONE_RELU), hone_conv_transpose2d(ctx, 4, 4, .stride = {2}, .padding = HONE_SAME, .no_bias = true),
            hone_batch_norm_layer(ctx), hone_activation_layer(ctx, HONE_RELU),
            hone_conv_transpose2d(ctx, 1, 4, .stride = {2}, .padding = HONE_SAME), hone_activation_layer(ctx, HONE_TANH))),
        hone_model_of(hone_sequential(
            ctx, hone_conv2d(ctx, 4, 4, .stride = {2}, .padding = HONE_SAME), hone_lambda(ctx, leaky, NULL),
            hone_conv2d(ctx, 8, 4, .stride = {2}, .padding = HONE_SAME, .no_bias = true), hone_batch_norm_layer(ctx),
            hone_lambda(ctx, leaky, NULL), hone_flatten(ctx), hone_dense(ctx, 1))),
        HONE_TRAIN};
}

static void free_gan(gan *g) { hone_model_release(g->generator), hone_model_release(g->discriminator); }

static hone_node *judged(hone_node *logits, double truth)
{
    hone_node *target = hone_fill(hone_node_graph(logits), HONE_F32, hone_node_shape(logits), truth);
    return hone_mean(hone_binary_cross_entropy_with_logits(logits, target), HONE_ALL_AXES, false);
}

static void discriminate(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    gan *g = user;
    (void)graph;
    hone_layer *d = hone_model_root(g->discriminator);
    hone_node *real = hone_apply(d, in[0]), *fake = hone_apply(d, hone_apply(hone_model_root(g->generator), in[1]));
    if (!real || !fake) return;
    out[0] = hone_add(judged(real, 1), judged(fake, 0));
    hone_backward(out[0], g->discriminator);
}

static void generate(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    gan *g = user;
    (void)graph;
    hone_node *said = hone_apply_mode(hone_model_root(g->discriminator), hone_apply(hone_model_root(g->generator), in[0]), g->judge);
    if (!said) return;
    out[0] = judged(said, 1);
    hone_backward(out[0], g->generator);
}

static hone_safetensors *golden;
/* Row `row` of its first axis, or all of it (-1). */
static hone_tensor *golden_tensor(const char *name, int64_t row)
{
    const hone_tensor_info *info = hone_safetensors_find(golden, name);
    if (!info) fail_msg("no golden tensor '%s'", name);
    hone_shape shape = info->shape;
    int64_t rows = row < 0 ? 1 : shape.dim[0], count = hone_shape_count(shape) / rows;
    if (row >= 0) {
        shape.rank--;
        memmove(shape.dim, shape.dim + 1, (size_t)shape.rank * sizeof *shape.dim);
    }
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, shape);
    assert_hone_ok(ctx, hone_tensor_write(t, 0, count, HONE_F32, (const float *)info->data + HONE_MAX(row, 0) * count));
    return t;
}

static void take_golden(hone_model *model, const char *prefix)
{
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
        char name[64];
        snprintf(name, sizeof name, "%s.%s", prefix, hone_param_name(p));
        hone_tensor *value = golden_tensor(name, -1);
        assert_true(hone_shape_equal(hone_tensor_shape(value), hone_param_shape(p)));
        assert_hone_ok(ctx, hone_param_write(p, hone_shape_count(hone_param_shape(p)), hone_tensor_data(value)));
        hone_tensor_free(value);
    }
}

static double furthest_param(hone_model *model, const char *prefix)
{
    double most = 0;
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
        int64_t count = hone_shape_count(hone_param_shape(p));
        char name[64];
        snprintf(name, sizeof name, "%s.%s", prefix, hone_param_name(p));
        hone_tensor *want = golden_tensor(name, -1), *is = hone_tensor_new(ctx, HONE_F32, hone_param_shape(p));
        assert_hone_ok(ctx, hone_param_read(p, count, hone_tensor_data(is)));
        for (int64_t k = 0; k < count; k++) most = fmax(most, fabs(at(is, k) - at(want, k)));
        hone_tensor_free(want), hone_tensor_free(is);
    }
    return most;
}

static void test_a_gan_learns_step_by_step_as_in_pytorch(void **state)
{
    (void)state;
    golden = hone_safetensors_open(ctx, HONE_TEST_DATA "/gan.golden.safetensors");
    if (!golden) fail_msg("%s", hone_error(ctx));
    gan g = new_gan();
    assert_hone_ok(ctx, hone_model_build_for(g.generator, HONE_F32, HONE_SHAPE(6, 5)));
    assert_hone_ok(ctx, hone_model_build_for(g.discriminator, HONE_F32, HONE_SHAPE(6, 1, 8, 8)));
    take_golden(g.generator, "first.g"), take_golden(g.discriminator, "first.d");
    hone_optimizer *of_g = hone_adam(ctx, .learning_rate = 2e-3, .beta1 = 0.5), *of_d = hone_adam(ctx, .learning_rate = 2e-3, .beta1 = 0.5);
    hone_function *d_step = hone_function_new(ctx, 2, 1, discriminate, &g), *g_step = hone_function_new(ctx, 1, 1, generate, &g);
    hone_tensor *losses = golden_tensor("losses", -1);
    for (int64_t step = 0; step < 5; step++) {
        hone_tensor *real = golden_tensor("real", step), *noise = golden_tensor("noise", step), *half[2];
        for (int i = 0; i < 2; i++)
            half[i] = hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(6, 5), (float *)hone_tensor_data(noise) + 30 * i);
        assert_hone_ok(ctx, hone_function_call(d_step, ((hone_tensor *[]){real, half[0]}), .mode = HONE_TRAIN));
        assert_hone_ok(ctx, hone_optimizer_step(of_d, g.discriminator, NULL));
        assert_hone_ok(ctx, hone_function_call(g_step, &half[1], .mode = HONE_TRAIN));
        assert_hone_ok(ctx, hone_optimizer_step(of_g, g.generator, NULL));
        assert_float_equal(at(hone_function_output(d_step, 0), 0), at(losses, 2 * step), 1e-4);
        assert_float_equal(at(hone_function_output(g_step, 0), 0), at(losses, 2 * step + 1), 1e-4);
        if (step == 4) {
            hone_tensor *images = hone_predict(g.generator, half[1], 6), *want = golden_tensor("images", -1);
            for (int64_t i = 0; i < 6 * 64; i++) assert_float_equal(at(images, i), at(want, i), 1e-4);
            hone_tensor_free(images), hone_tensor_free(want);
        }
        hone_tensor_free(half[0]), hone_tensor_free(half[1]), hone_tensor_free(real), hone_tensor_free(noise);
    }
    assert_true(furthest_param(g.generator, "last.g") < 1e-4); /* running statistics among them */
    assert_true(furthest_param(g.discriminator, "last.d") < 1e-4);
    hone_tensor_free(losses);
    hone_function_free(d_step), hone_function_free(g_step);
    hone_optimizer_free(of_g), hone_optimizer_free(of_d);
    free_gan(&g);
    hone_safetensors_close(golden);
}

/* ---- whose gradient, and which mode ---- */

static int64_t read_all(hone_model *model, bool gradients, float *to)
{
    int64_t n = 0;
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
        int64_t count = hone_shape_count(hone_param_shape(p));
        assert_hone_ok(ctx, gradients ? hone_param_read_gradient(p, count, to + n) : hone_param_read(p, count, to + n));
        n += count;
    }
    return n;
}

static void test_a_model_that_only_judges_keeps_its_gradients_and_in_evaluation_its_statistics(void **state)
{
    (void)state;
    static float before[2][4000], after[2][4000];
    gan g = new_gan();
    hone_tensor *real = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(6, 1, 8, 8)), *noise = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(6, 5));
    assert_hone_ok(ctx, hone_tensor_fill_uniform(real, -1, 1, 1));
    assert_hone_ok(ctx, hone_tensor_fill_normal(noise, 0, 1, 2));
    hone_function *d_step = hone_function_new(ctx, 2, 1, discriminate, &g), *g_step;
    assert_hone_ok(ctx, hone_function_call(d_step, ((hone_tensor *[]){real, noise}), .mode = HONE_TRAIN)); /* gives models memory */
    for (int evaluate = 0; evaluate < 2; evaluate++) {
        g.judge = evaluate ? HONE_EVALUATE : HONE_TRAIN;
        int64_t n = read_all(g.discriminator, true, before[0]);
        read_all(g.discriminator, false, before[1]);
        g_step = hone_function_new(ctx, 1, 1, generate, &g);
        assert_hone_ok(ctx, hone_function_call(g_step, &noise, .mode = HONE_TRAIN));
        read_all(g.discriminator, true, after[0]), read_all(g.discriminator, false, after[1]);
        assert_memory_equal(before[0], after[0], (size_t)n * sizeof(float));
        if (evaluate)
            assert_memory_equal(before[1], after[1], (size_t)n * sizeof(float));
        else
            assert_memory_not_equal(before[1], after[1], (size_t)n * sizeof(float));
        n = read_all(g.generator, true, after[0]);
        double norm = 0;
        for (int64_t i = 0; i < n; i++) norm += after[0][i] * after[0][i];
        assert_true(norm > 1e-8 && isfinite(norm));
        hone_function_free(g_step);
    }
    hone_function_free(d_step);
    hone_tensor_free(real), hone_tensor_free(noise);
    free_gan(&g);
}

/* Two heads of one model: a loss for each in turn. */
typedef struct heads {
    hone_model *model;
    hone_layer *root, *first, *second;
    int both; /* backward calls: 1 first, 2 second, 3 both */
} heads;

static hone_node *heads_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    hone_node *of[2] = {hone_apply(self->children[0], in[0]), hone_apply(self->children[1], in[0])};
    return hone_concatenate(2, of, 1);
}

static void heads_losses(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    heads *h = user;
    (void)graph;
    hone_node *y = hone_apply(h->root, in[0]);
    for (int i = 0; i < 2; i++) {
        out[i] = hone_sum(hone_slice(y, 1, i, i + 1, 1), HONE_ALL_AXES, false);
        if (h->both >> i & 1) hone_backward(out[i], h->model);
    }
}

static void head_gradients(heads *h, hone_tensor *x, int both, uint64_t micro_batch, float g[4])
{
    h->both = both;
    hone_function *f = hone_function_new(ctx, 1, 2, heads_losses, h);
    assert_hone_ok(ctx, hone_function_call(f, &x, .mode = HONE_TRAIN, .micro_batch = micro_batch));
    assert_int_equal(hone_model_param_count(h->model), 2);
    read_all(h->model, true, g);
    hone_function_free(f);
}

static void test_what_a_loss_does_not_depend_on_gets_zeros_and_several_losses_add_up(void **state)
{
    (void)state;
    heads h = {.root = hone_layer_new(ctx, sizeof(hone_layer), "heads", heads_forward)};
    hone_layer_add(h.root, "a", hone_dense(ctx, 1, .no_bias = true)), hone_layer_add(h.root, "b", hone_dense(ctx, 1, .no_bias = true));
    h.model = hone_model_of(h.root);
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 2), VALUES(1, 2, 3, 4));
    float g[4];
    const struct {
        int both;
        uint64_t micro_batch;
        float want[4];
    } calls[] = {{3, 0, {4, 6, 4, 6}}, {1, 0, {4, 6, 0, 0}}, {2, 1, {4, 6, 4, 6}}, {2, 0, {0, 0, 4, 6}}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(calls); i++) {
        head_gradients(&h, x, calls[i].both, calls[i].micro_batch, g);
        for (int k = 0; k < 4; k++) assert_float_equal(g[k], calls[i].want[k], 1e-6);
    }
    assert_hone_ok(ctx, hone_model_set_trainable(h.model, "a", false)); /* frozen: no gradient, and the function records again */
    head_gradients(&h, x, 3, 0, g);
    assert_float_equal(g[0], 0, 0), assert_float_equal(g[2], 4, 1e-6);
    hone_tensor_free(x);
    hone_model_release(h.model);
}

static void test_a_function_sees_that_one_of_its_models_has_changed(void **state)
{
    (void)state;
    gan g = new_gan();
    hone_tensor *noise = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(6, 5));
    assert_hone_ok(ctx, hone_tensor_fill_normal(noise, 0, 1, 2));
    hone_function *g_step = hone_function_new(ctx, 1, 1, generate, &g);
    static float gradients[4000];
    for (int frozen = 0; frozen < 2; frozen++) {
        if (frozen) {
            assert_hone_ok(ctx, hone_model_set_trainable(g.generator, "0", false));
            assert_hone_ok(ctx, hone_model_set_trainable(g.discriminator, "", false)); /* what it is judged by may be frozen */
        }
        assert_hone_ok(ctx, hone_function_call(g_step, &noise, .mode = HONE_TRAIN));
        assert_string_equal(hone_param_name(hone_model_param(g.generator, 0)), "0.weight");
        read_all(g.generator, true, gradients);
        double norm = 0;
        for (int i = 0; i < 32 * 5; i++) norm += gradients[i] * gradients[i];
        assert_true(frozen ? norm == 0 : norm > 0);
    }
    hone_function_free(g_step);
    hone_tensor_free(noise);
    free_gan(&g);
}

/* A batch norm applied to two inputs in a row moves its statistics twice, in that order. */
static void twice(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    hone_layer *norm = hone_model_root(user);
    out[0] = hone_apply(norm, in[0]);
    out[1] = hone_apply(norm, in[1]);
    out[2] = hone_apply_mode(norm, in[0], HONE_EVALUATE); /* with what they are by then */
}

static void test_a_batch_norm_that_is_applied_twice_moves_its_statistics_twice(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_batch_norm_layer(ctx, .momentum = 0.5));
    hone_tensor *x[2] = {hone_tensor_from_f32(ctx, HONE_SHAPE(2, 1), VALUES(1, 3)), hone_tensor_from_f32(ctx, HONE_SHAPE(2, 1), VALUES(10, 14))};
    hone_function *f = hone_function_new(ctx, 2, 3, twice, model);
    assert_hone_ok(ctx, hone_function_call(f, x, .mode = HONE_TRAIN));
    float mean, variance;
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "running_mean"), 1, &mean));
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "running_var"), 1, &variance));
    assert_float_equal(mean, 0.5 * (0.5 * 0 + 0.5 * 2) + 0.5 * 12, 1e-6);
    assert_float_equal(variance, 0.5 * (0.5 * 1 + 0.5 * 2) + 0.5 * 8, 1e-6);
    assert_float_equal(at(hone_function_output(f, 0), 0), -1, 1e-4);
    assert_float_equal(at(hone_function_output(f, 2), 1), (3 - mean) / sqrtf(variance + 1e-5f), 1e-5);
    hone_function_free(f);
    for (int i = 0; i < 2; i++) hone_tensor_free(x[i]);
    hone_model_release(model);
}

static void test_a_functional_model_keeps_the_mode_of_its_parts(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 4)),
              *y = hone_apply_mode(hone_dropout_layer(ctx, 0.5), x, HONE_EVALUATE);
    hone_model *model = hone_model_new(1, &x, 1, &y);
    hone_graph_release(graph);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_MSE));
    hone_tensor *values = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 4), VALUES(1, 2, 3, 4, 5, 6, 7, 8));
    double loss;
    assert_hone_ok(ctx, hone_train_on_batch(model, values, values, &loss, NULL));
    assert_float_equal(loss, 0, 0); /* with dropout it would not be */
    hone_tensor_free(values);
    hone_model_release(model);
}

/* ---- mistakes ---- */

static void wrong_loss(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    out[0] = hone_apply(hone_model_root(user), in[0]);
    hone_backward(out[0], user);
}

static void test_a_loss_of_several_elements_and_an_eager_graph_are_refused(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_dense(ctx, 2));
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 2), VALUES(1, 2));
    hone_function *f = hone_function_new(ctx, 1, 1, wrong_loss, model);
    assert_int_equal(hone_function_call(f, &x, .mode = HONE_TRAIN), HONE_SHAPE);
    assert_error(HONE_SHAPE, "the loss must be one real number");
    hone_clear_error(ctx);
    assert_int_equal(hone_backward(NULL, model), HONE_INVALID);
    assert_hone_ok(ctx, hone_model_build_for(model, HONE_F32, HONE_SHAPE(1, 2)));
    hone_graph *eager = hone_graph_new(ctx, .eager = true);
    hone_node *loss = hone_sum(hone_apply(hone_model_root(model), hone_constant(eager, x)), HONE_ALL_AXES, false);
    assert_int_equal(hone_backward(loss, NULL), HONE_INVALID);
    assert_int_equal(hone_backward(loss, model), HONE_STATE);
    assert_error(HONE_STATE, "not by eager graphs");
    hone_clear_error(ctx);
    hone_graph_release(eager);
    hone_function_free(f);
    hone_tensor_free(x);
    hone_model_release(model);
}

static bool one_step(hone_ctx *c)
{
    ctx = c;
    gan g = new_gan();
    hone_tensor *in[2] = {hone_tensor_new(c, HONE_F32, HONE_SHAPE(2, 1, 8, 8)), hone_tensor_new(c, HONE_F32, HONE_SHAPE(2, 5))};
    hone_optimizer *sgd = hone_sgd(c, .learning_rate = 0.1);
    hone_function *d_step = g.discriminator && g.generator ? hone_function_new(c, 2, 1, discriminate, &g) : NULL,
                  *g_step = d_step ? hone_function_new(c, 1, 1, generate, &g) : NULL;
    bool ok = g_step && in[1] && sgd && hone_tensor_fill_normal(in[0], 0, 1, 1) == HONE_OK && hone_tensor_fill_normal(in[1], 0, 1, 2) == HONE_OK &&
              hone_function_call(d_step, in, .mode = HONE_TRAIN) == HONE_OK && hone_optimizer_step(sgd, g.discriminator, NULL) == HONE_OK &&
              hone_function_call(g_step, &in[1], .mode = HONE_TRAIN) == HONE_OK;
    hone_function_free(d_step), hone_function_free(g_step);
    hone_optimizer_free(sgd);
    hone_tensor_free(in[0]), hone_tensor_free(in[1]);
    free_gan(&g);
    return ok;
}

static void test_failing_allocations_are_told(void **state)
{
    (void)state;
    for (int64_t fail_at = 1;; fail_at++) {
        counting c = {.fail_at = fail_at};
        hone_ctx *one = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        if (!one) continue;
        bool ok = one_step(one), failed = c.calls >= fail_at;
        if (failed && (ok || hone_ctx_status(one) != HONE_MEMORY)) fail_msg("allocation %lld: %s", (long long)fail_at, hone_error(one));
        if (!failed && !ok) fail_msg("%s", hone_error(one));
        hone_ctx_release(one);
        assert_int_equal(c.live, 0);
        if (!failed) return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_gan_learns_step_by_step_as_in_pytorch),
        TEST(test_a_model_that_only_judges_keeps_its_gradients_and_in_evaluation_its_statistics),
        TEST(test_what_a_loss_does_not_depend_on_gets_zeros_and_several_losses_add_up),
        TEST(test_a_function_sees_that_one_of_its_models_has_changed),
        TEST(test_a_batch_norm_that_is_applied_twice_moves_its_statistics_twice),
        TEST(test_a_functional_model_keeps_the_mode_of_its_parts),
        TEST(test_a_loss_of_several_elements_and_an_eager_graph_are_refused),
        cmocka_unit_test(test_failing_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
