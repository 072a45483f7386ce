/* The monitor of layers; averages of weights and of running statistics. */
#include "train_tools.h"

#include "optim/optim.h"

#include <jansson.h>

/* ---- the monitor ---- */

typedef struct seen {
    int calls;
    uint64_t step;
    size_t n;
    hone_layer_norms layers[8];
} seen;
static void tell(void *user, uint64_t step, size_t n, const hone_layer_norms *layers)
{
    seen *s = user;
    s->calls++, s->step = step, s->n = n;
    memcpy(s->layers, layers, HONE_MIN(n, (size_t)8) * sizeof *layers);
}

static double norm(const float *v, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

static const hone_layer_norms *layer(const seen *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->layers[i].layer, name)) return &s->layers[i];
    fail_msg("layer '%s' was not told", name);
    return NULL;
}

static hone_model *two_layers(void)
{
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 8, .activation = HONE_TANH), hone_dense(ctx, 3)));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
    return model;
}

static void test_norms_of_layers_are_what_can_be_read(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    float values[64], bias[8], gradients[64], of_bias[8];
    seen s = {0};
    make_points(ctx, &x, &y);
    hone_model *model = two_layers(), *plain = two_layers();
    hone_callback *monitor = hone_layer_monitor(ctx, .steps = 2, .tell = tell, .user = &s, .path = scratch("layers.csv"));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .batch_size = 30, .epochs = 2, .validation_split = 0.34, HONE_CALLBACKS(monitor)));
    assert_true(s.calls == 2 && s.step == 2 && s.n == 3); /* steps 0 and 2 of 4; layers 0, 1 and the loss */
    assert_true(isnan(layer(&s, "")->weights) && layer(&s, "")->output >= 0);
    assert_hone_ok(ctx, hone_fit(plain, x, y, NULL, .batch_size = 30, .epochs = 2, .validation_split = 0.34));
    read_params(model, values), read_params(plain, gradients);
    assert_memory_equal(values, gradients, 51 * sizeof(float)); /* looking changes nothing */
    /* the output of a step's batch, before the step */
    hone_tensor *p = hone_predict(model, x, ROWS);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .batch_size = ROWS, .no_shuffle = true, HONE_CALLBACKS(monitor)));
    assert_true(s.step == 4 && fabs(layer(&s, "1")->output - norm(hone_tensor_data(p), ROWS * 3)) < 1e-4);
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "1.weight"), 24, values));
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "1.bias"), 3, bias));
    assert_hone_ok(ctx, hone_param_read_gradient(hone_model_find_param(model, "1.weight"), 24, gradients));
    assert_hone_ok(ctx, hone_param_read_gradient(hone_model_find_param(model, "1.bias"), 3, of_bias));
    assert_true(fabs(layer(&s, "1")->weights - hypot(norm(values, 24), norm(bias, 3))) < 1e-6);
    assert_true(fabs(layer(&s, "1")->gradients - hypot(norm(gradients, 24), norm(of_bias, 3))) < 1e-6);
    char *text = hone__read_file(ctx, scratch("layers.csv"), 1 << 16, NULL);
    assert_memory_equal(text, "step,layer,output,weights,gradients\n4,", 38);
    assert_true(strstr(text, "\n4,0,") && strstr(text, "\n4,1,"));
    hone__free(ctx, text);
    hone_callback_free(monitor);
    hone_tensor_free(p), hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model), hone_model_release(plain);
}

/* exp overflows, and the quotient hides it: the loss is finite. */
static hone_node *overflowing(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)self, (void)n;
    hone_node *one = hone_fill(graph, HONE_F32, HONE_SCALAR, 1), *large = hone_fill(graph, HONE_F32, HONE_SCALAR, 1e4);
    return hone_add(in[0], hone_div(one, hone_exp(large)));
}
/* Its derivative at 0 is not finite, its value is. */
static hone_node *root_of_zero(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)self, (void)graph, (void)n;
    return hone_add(hone_sqrt(hone_affine(in[0], 0, 0)), in[0]);
}

static void test_the_first_layer_that_is_not_finite_is_named(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    static const struct {
        hone_layer_fn forward;
        const char *part;
    } cases[] = {{overflowing, "layer '1', output of 'unary', has a value that is not finite"}, {root_of_zero, "layer '1', backward pass of '"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_layer *own = hone_layer_new(ctx, sizeof *own, "own", cases[i].forward);
        hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4), own, hone_dense(ctx, 3)));
        hone_callback *monitor = hone_layer_monitor(ctx), *second = hone_layer_monitor(ctx);
        assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
        if (i == 0) assert_hone_ok(ctx, hone_fit(model, x, y, NULL)); /* nobody looks */
        for (int again = 0; again < 2; again++) {
            assert_int_equal(hone_fit(model, x, y, NULL, HONE_CALLBACKS(monitor)), HONE_NUMERIC);
            if (!strstr(hone_error(ctx), cases[i].part)) fail_msg("%s", hone_error(ctx));
        }
        assert_int_equal(hone_fit(model, x, y, NULL, HONE_CALLBACKS(monitor, second)), HONE_STATE);
        assert_int_equal(hone_ctx_status(ctx), HONE_OK);
        assert_null(ctx->visit);
        hone_callback_free(monitor), hone_callback_free(second);
        hone_model_release(model);
    }
    assert_null(hone_layer_monitor(ctx, .steps = -1));
    assert_error(HONE_INVALID, "steps must not be negative");
    hone_clear_error(ctx);
    hone_callback *nowhere = hone_layer_monitor(ctx, .path = scratch("no/folder.csv"));
    hone_model *model = two_layers();
    assert_int_equal(hone_fit(model, x, y, NULL, HONE_CALLBACKS(nowhere)), HONE_IO);
    hone_callback_free(nowhere);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- averages ---- */

static hone_model *with_norm(void)
{
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4), hone_batch_norm_layer(ctx, .momentum = 0.3), hone_dense(ctx, 3)));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
    return model;
}

/* torch.optim.swa_utils.AveragedModel: average of all updates alike, running statistics as parameters; else the model's own. */
static void test_averages_hold_running_statistics(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    for (int buffers = 0; buffers < 2; buffers++)
        for (int equal = 0; equal < 2; equal++) {
            hone_model *model = with_norm();
            hone_ema *ema = hone_ema_new(model, .decay = 0.8, .equal = equal, .buffers = buffers);
            double want[64] = {0};
            float now_are[64], have[64];
            for (int step = 0; step < 5; step++) {
                assert_hone_ok(ctx, hone_train_on_batch(model, x, y, NULL, NULL));
                assert_hone_ok(ctx, hone_ema_update(ema));
                assert_int_equal(read_params(model, now_are), 12 + 4 * 4 + 15);
                double fresh = step == 0 ? 1 : equal ? 1 / (step + 1.0) : 0.2;
                for (int i = 0; i < 43; i++) want[i] += fresh * ((double)now_are[i] - want[i]);
            }
            assert_hone_ok(ctx, hone_ema_swap(ema));
            read_params(model, have);
            int statistics = 0;
            for (int i = 0; i < 43; i++) {
                bool is_state = i >= 20 && i < 28; /* after weight and bias of 0 and of 1 */
                double wanted = is_state && !buffers ? (double)now_are[i] : want[i];
                statistics += is_state && fabs(want[i] - (double)now_are[i]) > 1e-4;
                if (!(fabs((double)have[i] - wanted) < 1e-5)) fail_msg("buffers %d, equal %d, %d: %g, not %g", buffers, equal, i, (double)have[i], wanted);
            }
            assert_true(statistics > 4);
            hone_ema_free(ema);
            hone_model_release(model);
        }
    hone_tensor_free(x), hone_tensor_free(y);
}

/* torch.optim.swa_utils.update_bn: the mean over batches of their means and unbiased variances. */
static void test_running_statistics_are_made_anew(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_batch_norm_layer(ctx), hone_batch_norm_layer(ctx, .momentum = HONE_ZERO), hone_dense(ctx, 3)));
    assert_int_equal(hone_update_batch_norm(model, x, 40), HONE_STATE);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 2));
    float before[64], after[64], mean[2], variance[2], *v = hone_tensor_data(x);
    int64_t n = read_params(model, before);
    assert_hone_ok(ctx, hone_update_batch_norm(model, x, 40)); /* 40, 40 and 10 rows, each batch alike */
    double want[2] = {0}, wanted[2] = {0};
    for (int b = 0; b < 3; b++)
        for (int c = 0; c < 2; c++) {
            int from = b * 40, to = b < 2 ? from + 40 : ROWS;
            double sum = 0, squares = 0;
            for (int r = from; r < to; r++) sum += (double)v[2 * r + c];
            for (int r = from; r < to; r++) squares += pow((double)v[2 * r + c] - sum / (to - from), 2);
            want[c] += sum / (to - from) / 3;
            wanted[c] += squares / (to - from - 1) / 3;
        }
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.running_mean"), 2, mean));
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.running_var"), 2, variance));
    for (int c = 0; c < 2; c++) assert_true(fabs((double)mean[c] - want[c]) < 1e-6 && fabs((double)variance[c] - wanted[c]) < 1e-5);
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "1.running_var"), 2, variance));
    for (int c = 0; c < 2; c++) assert_true(variance[c] > 0.9f && variance[c] != 1); /* also where momentum is 0 */
    /* momenta and all else are what they were */
    read_params(model, after);
    for (int64_t i = n - 9; i < n; i++) assert_true(before[i] == after[i]);
    hone_layer *root = hone_model_root(model);
    assert_true(*hone__batch_norm_momentum(root->children[0]) == 0.1 && *hone__batch_norm_momentum(root->children[1]) == 0);
    assert_null(hone__batch_norm_momentum(root->children[2]));
    /* a batch of one cannot be normalized: nothing is changed */
    assert_int_equal(hone_update_batch_norm(model, x, 1), HONE_SHAPE);
    hone_clear_error(ctx);
    read_params(model, before);
    assert_memory_equal(before, after, (size_t)n * sizeof *after);
    assert_true(*hone__batch_norm_momentum(root->children[0]) == 0.1);
    assert_int_equal(hone_update_batch_norm(model, x, 0), HONE_INVALID);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

static int64_t numbers(const json_t *all, const char *key, float *to)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(all, key), i, v) to[i] = (float)json_number_value(v);
    return (int64_t)i;
}

static void test_averages_follow_pytorch(void **state)
{
    (void)state;
    json_t *golden = json_load_file(HONE_TEST_DATA "/averages.golden.json", 0, NULL);
    float values[64], want[64], have[64];
    numbers(golden, "x", values);
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(16, 3), values);
    numbers(golden, "y", values);
    hone_tensor *y = hone_tensor_from_f32(ctx, HONE_SHAPE(16, 2), values);
    for (int which = 0; which < 3; which++) {
        hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4), hone_batch_norm_layer(ctx, .momentum = 0.3), hone_dense(ctx, 2)));
        assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = HONE_MSE));
        assert_hone_ok(ctx, hone_evaluate(model, x, y, 16, NULL, NULL)); /* makes the parameters */
        numbers(golden, "first", values);
        for (size_t i = 0, at = 0; i < hone_model_param_count(model); i++) {
            int64_t count = hone_shape_count(hone_param_shape(hone_model_param(model, i)));
            assert_hone_ok(ctx, hone_param_write(hone_model_param(model, i), count, values + at));
            at += (size_t)count;
        }
        hone_ema *average = hone_ema_new(model, .decay = 0.8, .equal = which != 1, .buffers = which < 2);
        for (int step = 0; step < 5; step++) {
            assert_hone_ok(ctx, hone_train_on_batch(model, x, y, NULL, NULL));
            assert_hone_ok(ctx, hone_ema_update(average));
        }
        assert_hone_ok(ctx, hone_ema_swap(average));
        if (which == 2) assert_hone_ok(ctx, hone_update_batch_norm(model, x, 6));
        int64_t n = read_params(model, have);
        const float *from = which == 2 ? have + 24 : have; /* behind weight and bias of 0 and of 1 */
        int64_t wanted = numbers(golden, which == 0 ? "swa" : which == 1 ? "ema" : "update_bn", want);
        assert_int_equal(wanted, which == 2 ? 8 : n);
        for (int64_t i = 0; i < wanted; i++)
            if (!(fabsf(from[i] - want[i]) <= 1e-5f)) fail_msg("case %d, value %d: %g, not %g", which, (int)i, (double)from[i], (double)want[i]);
        hone_ema_free(average);
        hone_model_release(model);
    }
    hone_tensor_free(x), hone_tensor_free(y);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_norms_of_layers_are_what_can_be_read),
        TEST(test_the_first_layer_that_is_not_finite_is_named),
        TEST(test_averages_follow_pytorch),
        TEST(test_averages_hold_running_statistics),
        TEST(test_running_statistics_are_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
