/* The first networks of every course (examples/first_networks.c, and a small convolutional one), from the same first weights as
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

/* Each epoch is one step over all rows. */
static void compare(const char *name, hone_layer *net, hone_loss loss)
{
    hone_tensor *rows = tensor(name, "x"), *targets = tensor(name, "y");
    int64_t n = hone_tensor_shape(rows).dim[0];
    hone_model *model = hone_model_of(net);
    hone_tensor_free(hone_predict(model, rows, (int)n)); /* makes the parameters */
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
        char part[100];
        snprintf(part, sizeof part, "param.%s", hone_param_name(p));
        const hone_tensor_info *value = find(name, part);
        assert_hone_ok(ctx, hone_param_write(p, hone_shape_count(value->shape), value->data));
    }
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adam(ctx, .learning_rate = 0.01), .loss = loss));
    hone_history *history;
    assert_hone_ok(ctx, hone_fit(model, rows, targets, &history, .epochs = 20, .batch_size = (int)n, .no_shuffle = true));
    const float *want = find(name, "losses")->data;
    assert_int_equal(history->n_epochs, 20);
    for (int i = 0; i < 20; i++)
        if (!(fabs(history->epochs[i].loss - (double)want[i]) <= 1e-5 * (double)want[i]))
            fail_msg("%s, step %d: loss %.7g, PyTorch has %.7g", name, i, history->epochs[i].loss, (double)want[i]);
    hone_history_free(history);
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

static void test_a_convolutional_network_trains_as_pytorchs(void **state)
{
    (void)state;
    compare("cnn", hone_sequential(ctx, hone_conv2d(ctx, 8, 3, .padding = HONE_SAME), hone_activation_layer(ctx, HONE_RELU),
                                   hone_max_pool2d(ctx, 2), hone_conv2d(ctx, 16, 3, .padding = HONE_SAME),
                                   hone_activation_layer(ctx, HONE_RELU), hone_max_pool2d(ctx, 2), hone_flatten(ctx),
                                   hone_dense(ctx, 32), hone_activation_layer(ctx, HONE_RELU), hone_dense(ctx, 10)),
            HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS);
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
        ARTICLE(test_a_convolutional_network_trains_as_pytorchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
