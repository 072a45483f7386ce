/* The first networks of every course (examples/first_networks.c and examples/simple_cnn.c), from the same first weights as
   PyTorch's: the losses of their first 20 steps, which scripts/golden/make_articles_golden.py wrote. A failure means that a
   network from a book does not train here as the book says. */
#include "layer_tools.h"

#include "hone/io.h"

static hone_safetensors *golden;

static const hone_tensor_info *find(const char *name, const char *part)
{
    char text[100];
    snprintf(text, sizeof text, "%s.%s", name, part);
    const hone_tensor_info *info = hone_safetensors_find(golden, text);
    if (!info) fail_msg("no golden %s", text);
    return info;
}

static hone_tensor *tensor(const char *name, const char *part)
{
    const hone_tensor_info *info = find(name, part);
    return hone_tensor_borrow(ctx, info->dtype, info->shape, (void *)(uintptr_t)info->data);
}

/* 20 steps of Adam, each on all rows (an epoch is one step), have the golden losses, within a part of each. */
static void train(const char *name, hone_model *model, const hone_tensor *x, const hone_tensor *y, hone_loss loss, double rate,
                  double tolerance)
{
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adam(ctx, .learning_rate = rate), .loss = loss));
    hone_history *history;
    int n = (int)hone_tensor_shape(x).dim[0];
    assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 20, .batch_size = n, .no_shuffle = true));
    const float *want = find(name, "losses")->data;
    assert_int_equal(history->n_epochs, 20);
    for (int i = 0; i < 20; i++)
        if (!(fabs(history->epochs[i].loss - (double)want[i]) <= tolerance * (double)want[i]))
            fail_msg("%s, step %d: loss %.7g, PyTorch has %.7g", name, i, history->epochs[i].loss, (double)want[i]);
    hone_history_free(history);
}

static void compare(const char *name, hone_layer *net, hone_loss loss)
{
    hone_tensor *rows = tensor(name, "x"), *targets = tensor(name, "y");
    hone_model *model = hone_model_of(net);
    hone_tensor_free(hone_predict(model, rows, 64)); /* makes the parameters */
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
        char part[100];
        snprintf(part, sizeof part, "param.%s", hone_param_name(p));
        const hone_tensor_info *value = find(name, part);
        assert_hone_ok(ctx, hone_param_write(p, hone_shape_count(value->shape), value->data));
    }
    train(name, model, rows, targets, loss, 0.01, 1e-5);
    hone_model_release(model);
    hone_tensor_free(rows);
    hone_tensor_free(targets);
}

static void test_a_sequential_classifier_trains_as_pytorchs(void **state)
{
    (void)state;
    compare("binary", hone_sequential(ctx, hone_dense(ctx, 10), hone_activation_layer(ctx, HONE_RELU), hone_dense(ctx, 1),
                                      hone_activation_layer(ctx, HONE_SIGMOID)), HONE_BINARY_CROSSENTROPY);
}

typedef struct classifier {
    hone_layer layer;
    hone_layer *first, *second;
} classifier;
static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    classifier *c = (classifier *)(void *)self;
    (void)graph, (void)n;
    return hone_sigmoid(hone_apply(c->second, hone_relu(hone_apply(c->first, in[0]))));
}

static void test_the_same_as_a_module(void **state)
{
    (void)state;
    classifier *c = hone_module(ctx, classifier, forward);
    c->first = hone_layer_add(&c->layer, "0", hone_dense(ctx, 10));
    c->second = hone_layer_add(&c->layer, "2", hone_dense(ctx, 1));
    compare("binary", &c->layer, HONE_BINARY_CROSSENTROPY);
}

static void test_a_regression_trains_as_pytorchs(void **state)
{
    (void)state;
    compare("regression", hone_sequential(ctx, hone_dense(ctx, 2), hone_activation_layer(ctx, HONE_RELU), hone_dense(ctx, 1)), HONE_MSE);
}

/* scripts/golden/make_articles_golden.py's numbers(), times scale, plus shift. */
static void fill(float *to, int64_t count, uint32_t seed, double scale, double shift)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t x = (uint32_t)i * 0x9E3779B1u + seed;
        x = (x ^ x >> 16) * 0x85EBCA6Bu;
        x = (x ^ x >> 13) * 0xC2B2AE35u;
        to[i] = (float)(((x ^ x >> 16) * 0x1p-31 - 1) * scale + shift);
    }
}

/* The network of examples/simple_cnn.c, half a million weights. */
static void test_the_simple_cnn_trains_as_pytorchs(void **state)
{
    (void)state;
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(8, 3, 32, 32));
    hone_tensor *y = hone_tensor_from_i32(ctx, HONE_SHAPE(8), (const int32_t[]){0, 1, 2, 3, 4, 5, 6, 7});
    fill(hone_tensor_data(x), 8 * 3 * 32 * 32, 100, 0.5, 0.5);
    hone_model *model = hone_model_of(hone_sequential(ctx,
        hone_conv2d(ctx, 32, 3, .padding = HONE_SAME, .activation = HONE_RELU), hone_max_pool2d(ctx, 2),
        hone_conv2d(ctx, 64, 3, .padding = HONE_SAME, .activation = HONE_RELU), hone_max_pool2d(ctx, 2), hone_flatten(ctx),
        hone_dense(ctx, 128, .activation = HONE_RELU), hone_dense(ctx, 10)));
    hone_tensor_free(hone_predict(model, x, 8)); /* makes the parameters */
    assert_int_equal(hone_model_param_count(model), 8);
    int64_t total = 0;
    for (uint32_t i = 0; i < 8; i++) {
        hone_param *p = hone_model_param(model, i);
        hone_shape shape = hone_param_shape(p);
        int64_t count = hone_shape_count(shape);
        float *values = malloc((size_t)count * sizeof *values);
        assert_non_null(values);
        fill(values, count, i, shape.rank == 1 ? 0.1 : pow((double)(count / shape.dim[0]), -0.5), 0);
        assert_hone_ok(ctx, hone_param_write(p, count, values));
        free(values);
        total += count;
    }
    assert_int_equal(total, 3 * 32 * 9 + 32 + 32 * 64 * 9 + 64 + 4096 * 128 + 128 + 128 * 10 + 10);
    train("simple_cnn", model, x, y, HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, 0.001, 5e-5); /* each instruction set adds up in an order of its own */
    hone_model_release(model);
    hone_tensor_free(x);
    hone_tensor_free(y);
}

static int open_all(void **state)
{
    if (new_ctx(state)) return 1;
    golden = hone_safetensors_open(ctx, HONE_TEST_DATA "/articles.golden.safetensors");
    return !golden;
}
static int close_all(void **state)
{
    hone_safetensors_close(golden);
    return free_ctx(state);
}

#define ARTICLE(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARTICLE(test_a_sequential_classifier_trains_as_pytorchs),
        ARTICLE(test_the_same_as_a_module),
        ARTICLE(test_a_regression_trains_as_pytorchs),
        ARTICLE(test_the_simple_cnn_trains_as_pytorchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
