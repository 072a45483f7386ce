/* Activations: PyTorch's values and slopes, the numbers that some take, random slopes, refusals. */
#include "layer_tools.h"

#include <stdio.h>

static void record_activation(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    out[0] = hone_activate(in[0], *(const hone_activation *)user);
    hone_node *x = in[0];
    hone_grad(hone_sum(out[0], HONE_ALL_AXES, false), 1, &x, &out[1]);
}

static void test_activations_and_their_slopes_are_pytorchs(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    hone_tensor *x = golden_in(file, "activations.x");
    hone_activation of[] = {HONE_ELU, HONE_SELU, HONE_CELU, HONE_SOFTSIGN, HONE_HARD_SIGMOID, HONE_HARD_SWISH, HONE_HARD_TANH,
                            HONE_MISH, HONE_RELU6, HONE_LOG_SIGMOID, HONE_TANH_SHRINK, HONE_SOFT_SHRINK, HONE_HARD_SHRINK};
    for (size_t i = 0; i < HONE_ARRAY_LEN(of); i++) {
        hone_function *f = hone_function_new(ctx, 1, 2, record_activation, &of[i]);
        if (hone_function_call(f, &x) != HONE_OK) fail_msg("%s", hone_error(ctx));
        for (int k = 0; k < 2; k++) {
            char name[64];
            snprintf(name, sizeof name, "activations.%s%zu", k ? "slope" : "y", i);
            hone_tensor *want = golden_in(file, name);
            assert_near(hone_tensor_data(hone_function_output(f, k)), want, 2e-6, name);
            hone_tensor_free(want);
        }
        hone_function_free(f);
    }
    hone_tensor_free(x);
    hone_safetensors_close(file);
}

typedef struct numbered {
    hone_activation activation;
    double a, b;
} numbered;

/* Through the layer; in[1] weighs the results, as a softmin's sum has no slope. */
static void record_numbered(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    hone_node *x = in[0];
    out[0] = hone_apply(user, x);
    hone_grad(hone_sum(hone_mul(out[0], in[1]), HONE_ALL_AXES, false), 1, &x, &out[1]);
}

static void test_activations_with_numbers_are_pytorchs(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    hone_tensor *in[] = {golden_in(file, "activations.x"), golden_in(file, "numbered.weights")};
    static const numbered of[] = {
        {HONE_SOFTPLUS, 2, 3},       {HONE_SOFTPLUS, -0.5, 1.5},            {HONE_CELU, 0.6, 0},         {HONE_SOFT_SHRINK, 0.7, 0},
        {HONE_HARD_SHRINK, 1.3, 0},  {HONE_HARD_TANH, (double)HONE_ZERO, 2.5}, {HONE_THRESHOLD, 0.2, -3}, {HONE_THRESHOLD, 0, 0},
        {HONE_SOFTMIN, 0, 0},        {HONE_SQUAREPLUS, 0, 0},               {HONE_SQUAREPLUS, (double)HONE_ZERO, 0},
        {HONE_RRELU, 0.1, 0.4},      {HONE_RRELU, 0, 0},                    {HONE_ELU, 0.7, 0},          {HONE_LEAKY_RELU, (double)HONE_ZERO, 0}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(of); i++) {
        hone_layer *layer = hone_activation_layer(ctx, of[i].activation, .a = of[i].a, .b = of[i].b);
        hone_function *f = hone_function_new(ctx, 2, 2, record_numbered, layer);
        if (hone_function_call(f, in, .mode = HONE_EVALUATE) != HONE_OK) fail_msg("%zu: %s", i, hone_error(ctx));
        for (int k = 0; k < 2; k++) {
            char name[64];
            snprintf(name, sizeof name, "numbered.%s%zu", k ? "slope" : "y", i);
            hone_tensor *want = golden_in(file, name);
            assert_near(hone_tensor_data(hone_function_output(f, k)), want, 2e-6, name);
            hone_tensor_free(want);
        }
        hone_function_free(f);
        hone_layer_free(layer);
    }
    hone_tensor_free(in[0]), hone_tensor_free(in[1]);
    hone_safetensors_close(file);
}

/* Every slope within the bounds, their mean about the middle, others in the next step; the gradient has the slopes of its run. */
static void test_random_slopes_are_drawn_in_training_alone(void **state)
{
    (void)state;
    enum { N = 4000 };
    hone_layer *layer = hone_activation_layer(ctx, HONE_RRELU, .a = 0.1, .b = 0.5);
    hone_tensor *in[] = {hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(N)), hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(N))};
    float *x = hone_tensor_data(in[0]), *ones = hone_tensor_data(in[1]), first[N];
    for (int i = 0; i < N; i++) x[i] = i % 4 ? -1 - (float)(i % 3) : 2, ones[i] = 1;
    hone_function *f = hone_function_new(ctx, 2, 2, record_numbered, layer);
    for (int step = 0; step < 2; step++) {
        assert_hone_ok(ctx, hone_function_call(f, in, .mode = HONE_TRAIN, .step = (uint64_t)step));
        const hone_tensor *y = hone_function_output(f, 0), *slope = hone_function_output(f, 1);
        double sum = 0;
        int kept = 0;
        for (int i = 0; i < N; i++) {
            float s = at(y, i) / x[i];
            assert_true(fabsf(at(slope, i) - s) < 1e-6f);
            assert_true(x[i] > 0 ? s == 1 : s > 0.0999f && s < 0.5001f);
            if (x[i] < 0) sum += (double)s, kept += step && first[i] == s;
            first[i] = s;
        }
        assert_true(fabs(sum / (N * 3 / 4) - 0.3) < 0.01); /* 4.7 standard deviations */
        assert_true(kept < N / 100);
    }
    hone_function_free(f);
    hone_layer_free(layer);
    hone_tensor_free(in[0]), hone_tensor_free(in[1]);
}

static void test_numbers_that_an_activation_does_not_take_are_refused(void **state)
{
    (void)state;
    hone_shape any = HONE_SHAPE(2, 3);
    refuse(hone_activation_layer(ctx, HONE_RELU, .a = 1), any, "it takes no numbers");
    refuse(hone_activation_layer(ctx, HONE_ELU, .a = 1, .b = 2), any, "it takes one number");
    refuse(hone_activation_layer(ctx, HONE_SOFTPLUS, .a = HONE_ZERO), any, "beta must not be 0");
    refuse(hone_activation_layer(ctx, HONE_CELU, .a = HONE_ZERO), any, "alpha must not be 0");
    refuse(hone_activation_layer(ctx, HONE_HARD_TANH, .a = 1), any, "the lower bound must be below the upper one");
    refuse(hone_activation_layer(ctx, HONE_HARD_SHRINK, .a = -1), any, "lambda must not be negative");
    refuse(hone_activation_layer(ctx, HONE_SQUAREPLUS, .a = -1), any, "b must not be negative");
    refuse(hone_activation_layer(ctx, HONE_RRELU, .a = 0.5), any, "the lower slope must not be above");
    refuse(hone_activation_layer(ctx, HONE_LEAKY_RELU, .a = NAN), any, "its numbers must be finite");
    refuse(hone_activation_layer(ctx, (hone_activation)(HONE_RRELU + 1)), any, "does not exist");
}

/* The others are ops, whose goldens are theirs. */
static void record_plain(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)user, (void)graph;
    out[0] = hone_sub(hone_activate(in[0], HONE_LOG_SOFTMAX), hone_log_softmax(in[0]));
    out[1] = hone_sub(hone_activate(in[0], HONE_EXPONENTIAL), hone_exp(in[0]));
    out[2] = hone_activate(in[0], HONE_EXPONENTIAL);
}
static void test_activations_that_are_ops(void **state)
{
    (void)state;
    hone_tensor *x = ramp(HONE_SHAPE(3, 4));
    hone_function *f = hone_function_new(ctx, 1, 3, record_plain, NULL);
    assert_hone_ok(ctx, hone_function_call(f, &x));
    for (int i = 0; i < 12; i++) {
        assert_true(at(hone_function_output(f, 0), i) == 0 && at(hone_function_output(f, 1), i) == 0);
        assert_true(fabsf(at(hone_function_output(f, 2), i) - expf(at(x, i))) < 1e-6f);
    }
    hone_function_free(f);
    hone_tensor_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_activations_that_are_ops),
        TEST(test_activations_and_their_slopes_are_pytorchs),
        TEST(test_activations_with_numbers_are_pytorchs),
        TEST(test_random_slopes_are_drawn_in_training_alone),
        TEST(test_numbers_that_an_activation_does_not_take_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
