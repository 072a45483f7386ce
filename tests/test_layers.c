/* Norms over channels with their running statistics, transposed convolution, pooling, layers that merge: PyTorch's values,
   refusals. */
#include "layer_tools.h"

#include "nn/nn.h"
#include <math.h>
#include <stdio.h>

/* ---- norms ---- */

/* Between the norms what makes each parameter count: a shift that the next norm takes out has a gradient of nothing but rounding,
   of which Adam would make steps. */
static hone_layer *normed(void)
{
    return hone_sequential(ctx, hone_conv2d(ctx, 6, 3, .padding = HONE_SAME, .no_bias = true), hone_batch_norm_layer(ctx),
                           hone_activation_layer(ctx, HONE_RELU), hone_group_norm_layer(ctx, 2), hone_activation_layer(ctx, HONE_RELU),
                           hone_instance_norm_layer(ctx), hone_activation_layer(ctx, HONE_RELU), hone_flatten(ctx), hone_dense(ctx, 5, .no_bias = true), hone_batch_norm_layer(ctx, .momentum = 0.3));
}

static hone_model *golden_model(hone_safetensors *file, const hone_tensor *x)
{
    hone_model *model = hone_model_of(normed());
    hone_tensor_free(hone_predict(model, x, 12)); /* makes the parameters */
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
        if (strstr(hone_param_name(p), "running")) continue; /* they begin at 0 and 1 */
        hone_tensor *value = golden_in(file, hone_param_name(p));
        assert_hone_ok(ctx, hone_param_write(p, hone_shape_count(hone_param_shape(p)), hone_tensor_data(value)));
        hone_tensor_free(value);
    }
    return model;
}

static void train(hone_compile_opts *how, double loss_tolerance, double state_tolerance)
{
    hone_safetensors *file = open_layers();
    hone_tensor *x = golden_in(file, "x"), *y = golden_in(file, "y"), *losses = golden_in(file, "losses");
    hone_model *model = golden_model(file, x);
    hone_history *history = NULL;
    how->optimizer = hone_adam(ctx, .learning_rate = 1e-2);
    how->loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS;
    assert_hone_ok(ctx, hone_compile_opt(model, how));
    assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 10, .batch_size = 12, .no_shuffle = true));
    for (int i = 0; i < 10; i++)
        if (!(fabs(history->epochs[i].loss - (double)at(losses, i)) < loss_tolerance))
            fail_msg("loss %d is %.9g, not %.9g", i, history->epochs[i].loss, (double)at(losses, i));
    static const char *const states[] = {"1.running_mean", "1.running_var", "9.running_mean", "9.running_var"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(states); i++) {
        char name[64];
        snprintf(name, sizeof name, "after.%s", states[i]);
        hone_param *p = hone_model_find_param(model, states[i]);
        assert_non_null(p);
        assert_false(hone_param_trainable(p));
        float have[6];
        assert_hone_ok(ctx, hone_param_read(p, hone_shape_count(hone_param_shape(p)), have));
        hone_tensor *want = golden_in(file, name);
        assert_near(have, want, state_tolerance, states[i]);
        hone_tensor_free(want);
    }
    hone_tensor *evaluated = hone_predict(model, x, 12), *want = golden_in(file, "evaluated");
    if (!how->compute) assert_near(hone_tensor_data(evaluated), want, 1e-5, "the evaluation"); /* test_norms_evaluate_as_in_pytorch has bf16 */
    hone_history_free(history);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(losses), hone_tensor_free(evaluated), hone_tensor_free(want);
    hone_safetensors_close(file);
}

static void test_norms_train_as_in_pytorch(void **state)
{
    (void)state;
    train(&(hone_compile_opts){.struct_size = sizeof(hone_compile_opts)}, 1e-6, 2e-6);
    train(&(hone_compile_opts){.struct_size = sizeof(hone_compile_opts), .compute = HONE_BF16}, 3e-3, 0.03);
}

static void test_states_are_never_trained_and_may_be_written(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_batch_norm_layer(ctx, .no_affine = true), hone_dense(ctx, 2)));
    hone_tensor *x = ramp(HONE_SHAPE(4, 3)), *y = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(4, 2));
    memset(hone_tensor_data(y), 0, 8 * sizeof(float));
    hone_tensor_free(hone_predict(model, x, 4));
    assert_int_equal(hone_model_param_count(model), 4);
    assert_hone_ok(ctx, hone_model_set_trainable(model, "", false));
    assert_hone_ok(ctx, hone_model_set_trainable(model, "", true));
    assert_hone_ok(ctx, hone_model_set_trainable(model, "0", true));
    hone_param *mean = hone_model_find_param(model, "0.running_mean");
    assert_non_null(mean);
    assert_false(hone_param_trainable(mean));
    assert_hone_ok(ctx, hone_param_write(mean, 3, VALUES(0.5F, 0.25F, 0)));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = HONE_ZERO), .loss = HONE_MSE));
    hone_tensor *before = hone_predict(model, x, 4);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 1, .batch_size = 4));
    float have[3];
    double want = 0;
    for (int i = 0; i < 4; i++) want += (double)at(x, (int64_t)3 * i) / 4;
    assert_hone_ok(ctx, hone_param_read(mean, 3, have));
    assert_true(fabs((double)have[0] - (0.9 * 0.5 + 0.1 * want)) < 1e-6);
    hone_tensor *after = hone_predict(model, x, 4);
    assert_true(at(before, 0) != at(after, 0)); /* evaluation reads the states */
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(before), hone_tensor_free(after);
    hone_model_release(model);
}

/* ---- transposed convolution ---- */

/* The layer with the file's parameters gives the file's y for its x. */
static void check_golden_layer_in(hone_safetensors *file, const char *group, hone_layer *layer, hone_dtype compute, double tolerance)
{
    char name[64];
    snprintf(name, sizeof name, "%s.x", group);
    hone_tensor *x = golden_in(file, name);
    hone_model *model = hone_model_of(layer);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_MSE, .compute = compute));
    hone_tensor_free(hone_predict(model, x, 2));
    for (size_t k = 0; k < hone_model_param_count(model); k++) {
        hone_param *p = hone_model_param(model, k);
        snprintf(name, sizeof name, "%s.%s", group, hone_param_name(p));
        hone_tensor *value = golden_in(file, name);
        assert_true(hone_shape_equal(hone_tensor_shape(value), hone_param_shape(p)));
        assert_hone_ok(ctx, hone_param_write(p, hone_shape_count(hone_param_shape(p)), hone_tensor_data(value)));
        hone_tensor_free(value);
    }
    snprintf(name, sizeof name, "%s.y", group);
    hone_tensor *want = golden_in(file, name), *have = hone_predict(model, x, 2);
    if (!have) fail_msg("%s", hone_error(ctx));
    assert_true(hone_shape_equal(hone_tensor_shape(want), hone_tensor_shape(have)));
    assert_near(hone_tensor_data(have), want, tolerance, name);
    hone_tensor_free(x), hone_tensor_free(want), hone_tensor_free(have);
    hone_model_release(model);
}
static void check_golden_layer(hone_safetensors *file, const char *group, hone_layer *layer)
{
    check_golden_layer_in(file, group, layer, HONE_F32, 1e-5);
}

/* Batch norms by running statistics that are given; groups and instances by their own. */
static void test_norms_evaluate_as_in_pytorch(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    check_golden_layer_in(file, "eval", normed(), HONE_F32, 1e-5);
    check_golden_layer_in(file, "eval", normed(), HONE_BF16, 5e-3);
    hone_safetensors_close(file);
}

static void test_transposed_convolution_is_pytorchs(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    hone_layer *const layers[] = {
        hone_conv_transpose2d(ctx, 6, 3, .kernel = {3, 2}),
        hone_conv_transpose2d(ctx, 6, 3, .stride = {2}, .pad_before = {1, 1}, .pad_after = {1, 1}, .output_padding = {1, 1}),
        hone_conv_transpose2d(ctx, 6, 3, .kernel = {3, 2}, .stride = {2, 3}, .dilation = {1, 2}, .groups = 2),
        hone_conv_transpose1d(ctx, 6, 4, .stride = {3}, .pad_before = {1}, .pad_after = {1}),
        hone_conv_transpose3d(ctx, 4, 3, .kernel = {3, 2, 3}, .stride = {2, 1, 2}, .dilation = {1, 2, 1}, .output_padding = {1}, .groups = 2)};
    for (int i = 0; i < 5; i++) {
        char group[32];
        snprintf(group, sizeof group, "transposed%d", i);
        check_golden_layer(file, group, layers[i]);
    }
    hone_safetensors_close(file);
}

typedef struct same {
    int64_t stride, dilation; /* in the order of make_layer_golden.py */
} same;

static void record_same(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    const same *s = user;
    out[0] = hone_conv(in[0], in[1], in[2], .stride = {s->stride}, .dilation = {s->dilation}, .padding = HONE_SAME);
    hone_grad(hone_sum(hone_square(out[0]), HONE_ALL_AXES, false), 2, in, &out[1]);
}

/* Keras's "same": ceil(n / stride) outputs, and of an odd padding one more behind than ahead. PyTorch with that padding by hand is the
   oracle: values, gradients of the input and of the weight. */
static void test_same_padding_with_strides_is_kerass(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    same cases[] = {{2, 1}, {2, 1}, {2, 1}, {2, 1}, {3, 1}, {2, 1}, {2, 1}, {2, 1}, {2, 1}, {2, 1}, {2, 2}};
    static const char *const inputs[] = {"x", "w", "b"}, *const outputs[] = {"y", "dx", "dw"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        char name[32];
        hone_tensor *in[3];
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "same%zu.%s", i, inputs[k]);
            in[k] = golden_in(file, name);
        }
        hone_function *f = hone_function_new(ctx, 3, 3, record_same, &cases[i]);
        if (hone_function_call(f, in) != HONE_OK) fail_msg("%s", hone_error(ctx));
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "same%zu.%s", i, outputs[k]);
            hone_tensor *want = golden_in(file, name);
            assert_true(hone_shape_equal(hone_tensor_shape(want), hone_tensor_shape(hone_function_output(f, k))));
            assert_near(hone_tensor_data(hone_function_output(f, k)), want, 5e-6, name);
            hone_tensor_free(want);
        }
        hone_function_free(f);
        for (int k = 0; k < 3; k++) hone_tensor_free(in[k]);
    }
    hone_safetensors_close(file);
}

static void test_depthwise_and_separable_convolutions_are_pytorchs(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    check_golden_layer(file, "depthwise1", hone_depthwise_conv1d(ctx, 3, .depth_multiplier = 2, .stride = {2}, .pad_before = {1}, .pad_after = {1}));
    check_golden_layer(file, "depthwise2", hone_depthwise_conv2d(ctx, 3, .depth_multiplier = 2, .stride = {2}, .pad_before = {1, 1}, .pad_after = {1, 1}));
    check_golden_layer(file, "separable1", hone_separable_conv1d(ctx, 5, 3, .depth_multiplier = 2, .dilation = {2}, .activation = HONE_RELU));
    check_golden_layer(file, "separable2", hone_separable_conv2d(ctx, 5, 3, .depth_multiplier = 2, .dilation = {2}, .activation = HONE_RELU));
    hone_safetensors_close(file);
}

static void record_squares(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    hone_node *x = in[0];
    out[0] = hone_apply(user, x);
    hone_grad(hone_sum(hone_square(out[0]), HONE_ALL_AXES, false), 1, &x, &out[1]);
}

/* The layer's output for the file's x, and the gradient of its squares' sum. */
static void check_squares(hone_safetensors *file, const char *group, hone_layer *layer)
{
    char name[64];
    snprintf(name, sizeof name, "%s.x", group);
    hone_tensor *x = golden_in(file, name);
    hone_function *f = hone_function_new(ctx, 1, 2, record_squares, layer);
    if (hone_function_call(f, &x) != HONE_OK) fail_msg("%s", hone_error(ctx));
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "%s.%s", group, k ? "grad" : "y");
        hone_tensor *want = golden_in(file, name);
        assert_true(hone_shape_equal(hone_tensor_shape(want), hone_tensor_shape(hone_function_output(f, k))));
        assert_near(hone_tensor_data(hone_function_output(f, k)), want, 2e-6, name);
        hone_tensor_free(want);
    }
    hone_function_free(f);
    hone_tensor_free(x);
}

static void test_adaptive_pooling_of_all_ranks_is_pytorchs(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    const hone_shape sizes[] = {HONE_SHAPE(3), HONE_SHAPE(3, 4), HONE_SHAPE(2, 7, 2)};
    for (int i = 0; i < 6; i++) {
        char group[32];
        snprintf(group, sizeof group, "pooled.%s%d", i % 2 ? "max" : "avg", i / 2 + 1);
        check_squares(file, group, i % 2 ? hone_adaptive_max_pool(ctx, sizes[i / 2]) : hone_adaptive_average_pool(ctx, sizes[i / 2]));
    }
    hone_safetensors_close(file);
}

static void test_upsampling_of_all_ranks_and_its_gradients_are_pytorchs(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    const hone_shape factors[] = {HONE_SHAPE(3), HONE_SHAPE(2, 3), HONE_SHAPE(2, 1, 3)};
    for (int i = 0; i < 6; i++) {
        char group[32];
        snprintf(group, sizeof group, "upsampled.%s%d", i % 2 ? "linear" : "nearest", i / 2 + 1);
        check_squares(file, group, hone_upsampling(ctx, factors[i / 2], i % 2));
    }
    hone_safetensors_close(file);
}

/* Its values, their gradient, and the weights' through a step. */
static void test_prelu_has_a_slope_for_each_channel(void **state)
{
    (void)state;
    const float slope[3] = {0.5F, -0.25F, 2};
    hone_model *model = hone_model_of(hone_prelu(ctx));
    hone_tensor *x = ramp(HONE_SHAPE(2, 3, 4)), *y = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2, 3, 4));
    memset(hone_tensor_data(y), 0, 24 * sizeof(float));
    hone_function *f = hone_function_new(ctx, 1, 2, record_squares, hone_model_root(model));
    if (hone_function_call(f, &x) != HONE_OK) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone_param_write(hone_model_find_param(model, "weight"), 3, slope));
    assert_hone_ok(ctx, hone_function_call(f, &x));
    double step[3] = {0};
    for (int i = 0; i < 24; i++) {
        double v = (double)at(x, i), factor = v > 0 ? 1 : (double)slope[i / 4 % 3];
        assert_true(fabs((double)at(hone_function_output(f, 0), i) - factor * v) < 1e-6);
        assert_true(fabs((double)at(hone_function_output(f, 1), i) - 2 * factor * factor * v) < 1e-5);
        if (!(v > 0)) step[i / 4 % 3] += 2 * factor * v * v / 24;
    }
    hone_function_free(f);
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = HONE_MSE));
    assert_hone_ok(ctx, hone_train_on_batch(model, x, y, NULL, NULL));
    float after[3];
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "weight"), 3, after));
    for (int c = 0; c < 3; c++) assert_true(step[c] != 0 && fabs((double)after[c] - ((double)slope[c] - 0.1 * step[c])) < 1e-6);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
}

typedef struct merge_case {
    hone_layer *layer;
    int n;
} merge_case;

static void record_merge(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    const merge_case *c = user;
    (void)graph;
    if ((out[0] = hone_apply_n(c->layer, c->n, in))) hone_grad(hone_sum(hone_square(out[0]), HONE_ALL_AXES, false), c->n, in, out + 1);
}

/* Dot is Keras's (by einsum), the others PyTorch's: values and gradients. */
static void test_merging_gated_and_sloped_layers_are_pytorchs(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    merge_case cases[] = {{hone_dot_layer(ctx, HONE_AXES(1), false), 2},    {hone_dot_layer(ctx, HONE_AXES(-1), true), 2},
                          {hone_dot_layer(ctx, HONE_AXES(2, 1), false), 2}, {hone_dot_layer(ctx, HONE_AXES(-1, 1), true), 2},
                          {hone_dot_layer(ctx, HONE_AXES(2, 1), false), 2}, {hone_glu_layer(ctx, 1), 1},
                          {hone_average_layer(ctx), 2},                     {hone_maximum_layer(ctx), 2},
                          {hone_minimum_layer(ctx), 2},                     {hone_subtract_layer(ctx), 2},
                          {hone_leaky_relu_layer(ctx, 0.2), 1},             {hone_elu_layer(ctx, 0.7), 1}};
    for (int i = 0; i < (int)HONE_ARRAY_LEN(cases); i++) {
        hone_tensor *x[2];
        char name[64];
        for (int k = 0; k < cases[i].n; k++) snprintf(name, sizeof name, "merged%d.x%d", i, k), x[k] = golden_in(file, name);
        hone_function *f = hone_function_new(ctx, cases[i].n, 1 + cases[i].n, record_merge, &cases[i]);
        if (hone_function_call(f, x) != HONE_OK) fail_msg("%d: %s", i, hone_error(ctx));
        for (int k = 0; k <= cases[i].n; k++) {
            if (k) snprintf(name, sizeof name, "merged%d.grad%d", i, k - 1);
            else snprintf(name, sizeof name, "merged%d.y", i);
            hone_tensor *want = golden_in(file, name);
            assert_true(hone_shape_equal(hone_tensor_shape(want), hone_tensor_shape(hone_function_output(f, k))));
            assert_near(hone_tensor_data(hone_function_output(f, k)), want, 2e-6, name);
            hone_tensor_free(want);
        }
        hone_function_free(f);
        for (int k = 0; k < cases[i].n; k++) hone_tensor_free(x[k]);
        hone_layer_free(cases[i].layer);
    }
    hone_safetensors_close(file);
}

static void test_layers_that_merge_say_what_does_not_fit(void **state)
{
    (void)state;
    refuse(hone_dot_layer(ctx, HONE_AXES(1, 0), false), HONE_SHAPE(2, 3), "dot: axes are one or two, not the batch's");
    refuse(hone_dot_layer(ctx, HONE_AXES(1), false), HONE_SHAPE(2, 3), "dot '': needs two inputs, the input is [2, 3]");
    refuse(hone_subtract_layer(ctx), HONE_SHAPE(2, 3), "subtract '': needs two inputs");
    refuse(hone_glu_layer(ctx, 0), HONE_SHAPE(2, 3), "split: [2, 3] cannot be cut into 2 equal pieces along axis -1");
    refuse(hone_leaky_relu_layer(ctx, (double)NAN), HONE_SHAPE(2, 3), "leaky_relu: nan is no number");
    hone_graph *g = hone_graph_new(ctx);
    hone_node *in[] = {hone_input(g, "a", HONE_F32, HONE_SHAPE(2, 3)), hone_input(g, "b", HONE_F32, HONE_SHAPE(2, 4, 5))};
    hone_layer *dots[] = {hone_dot_layer(ctx, HONE_AXES(1, 2), false), hone_dot_layer(ctx, HONE_AXES(2), false)};
    static const char *const said[] = {"must have as many examples as the first input, and as long an axis", "has no such axis"};
    for (int i = 0; i < 2; i++) {
        assert_null(hone_apply_n(dots[i], 2, in));
        assert_error(HONE_SHAPE, said[i]);
        hone_clear_error(ctx);
        hone_layer_free(dots[i]);
    }
    hone_graph_release(g);
}

/* Sizes and scales, for each axis or one for all, say the same; what is not said is refused. Values themselves are in test_ops. */
static void test_resizing_takes_sizes_or_scales(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    check_squares(file, "upsampled.linear1", hone_resize_layer(ctx, .size = HONE_SHAPE(15), .mode = HONE_RESIZE_LINEAR));
    check_squares(file, "upsampled.linear2", hone_resize_layer(ctx, .scale = {2, 3}, .mode = HONE_RESIZE_LINEAR));
    check_squares(file, "upsampled.nearest3", hone_resize_layer(ctx, .size = HONE_SHAPE(4, 3, 12)));
    check_squares(file, "pooled.avg2", hone_resize_layer(ctx, .size = HONE_SHAPE(3, 4), .mode = HONE_RESIZE_AREA));
    hone_safetensors_close(file);
    hone_graph *g = hone_graph_new(ctx);
    hone_node *x = hone_input(g, "x", HONE_F32, HONE_SHAPE(1, 2, 4, 5));
    assert_true(hone_shape_equal(hone_node_shape(hone_resize(x, .size = HONE_SHAPE(7))), HONE_SHAPE(1, 2, 7, 7)));
    assert_true(hone_shape_equal(hone_node_shape(hone_resize(x, .scale = {1.7})), HONE_SHAPE(1, 2, 6, 8)));
    assert_true(hone_shape_equal(hone_node_shape(hone_resize(x, .scale = {0.5, 3})), HONE_SHAPE(1, 2, 2, 15)));
    const struct {
        hone_resize_opts opts;
        const char *part;
    } wrong[] = {{{.mode = HONE_RESIZE_LINEAR}, "either the sizes or the scales"},
                 {{.size = HONE_SHAPE(3), .scale = {2}}, "either the sizes or the scales"},
                 {{.size = HONE_SHAPE(3, 3, 3)}, "sizes [3, 3, 3] for 2 spatial axes"},
                 {{.scale = {0.2}}, "[1, 2, 4, 5] times 0.2: each spatial axis must have 1 to 2^24"},
                 {{.scale = {-1}}, "times -1"},
                 {{.scale = {INFINITY}}, "times inf"},
                 {{.scale = {NAN}}, "times nan"},
                 {{.size = HONE_SHAPE(3), .align_corners = true}, "align_corners is for linear and cubic"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        assert_null(hone_resize_opt(x, &wrong[i].opts));
        if (!strstr(hone_error(ctx), wrong[i].part)) fail_msg("%zu: '%s' lacks '%s'", i, hone_error(ctx), wrong[i].part);
        hone_clear_error(ctx);
    }
    assert_null(hone_resize_layer(ctx, .mode = HONE_RESIZE_CUBIC));
    assert_non_null(strstr(hone_error(ctx), "either the sizes or the scales"));
    hone_clear_error(ctx);
    hone_graph_release(g);
}

static void test_upsampling_and_adaptive_pooling_are_pytorchs(void **state)
{
    (void)state;
    hone_safetensors *file = open_layers();
    hone_tensor *x = golden_in(file, "resampled.x");
    hone_layer *const layers[] = {hone_upsampling(ctx, HONE_SHAPE(2, 3), false), hone_upsampling(ctx, HONE_SHAPE(2), true),
                                  hone_adaptive_average_pool(ctx, HONE_SHAPE(3, 4)), hone_adaptive_average_pool(ctx, HONE_SHAPE(1, 7))};
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "resampled.y%d", i);
        hone_model *model = hone_model_of(layers[i]);
        hone_tensor *want = golden_in(file, name), *have = hone_predict(model, x, 2);
        if (!have) fail_msg("%s", hone_error(ctx));
        assert_true(hone_shape_equal(hone_tensor_shape(want), hone_tensor_shape(have)));
        assert_near(hone_tensor_data(have), want, 2e-6, name);
        hone_tensor_free(want), hone_tensor_free(have);
        hone_model_release(model);
    }
    hone_tensor_free(x);
    hone_safetensors_close(file);
}

/* The sum of the squares joins the loss, in training and evaluation, and goes down with it: each example's by its weight. */
static void test_activity_regularizers_join_the_loss(void **state)
{
    (void)state;
    hone_tensor *x = ramp(HONE_SHAPE(8, 3)), *y = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(8, 4));
    memset(hone_tensor_data(y), 0, 32 * sizeof(float));
    double loss[3], want = 0;
    for (int kind = 0; kind < 3; kind++) {
        hone_layer *activity = hone_activity_regularization(ctx, kind == 1 ? 0.25 : 0, kind == 2 ? 0.5 : 0);
        hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4, .initializer = HONE_INIT_ONES), activity));
        assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = HONE_MSE));
        assert_hone_ok(ctx, hone_evaluate(model, x, y, 3, &loss[kind], NULL));
        hone_tensor *out = hone_predict(model, x, 8);
        double sum = 0;
        for (int i = 0; i < 32; i++) sum += kind == 1 ? 0.25 * fabs((double)at(out, i)) : kind == 2 ? 0.5 * (double)at(out, i) * (double)at(out, i) : 0;
        want = loss[0] + sum / 8;
        if (!(fabs(loss[kind] - want) < 1e-5 * want)) fail_msg("%g, not %g", loss[kind], want);
        /* d loss / d bias: 2 out / 4 of the mean of squares, out of half their sum, a quarter of the sign of a quarter of their sizes */
        assert_hone_ok(ctx, hone_train_on_batch(model, x, y, NULL, NULL));
        float bias[4], mean = 0, sign = 0;
        assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.bias"), 4, bias));
        for (int i = 0; i < 8; i++) mean += at(out, 4 * i) / 8, sign += (at(out, 4 * i) > 0 ? 1.0f : -1.0f) / 8;
        float slope = 2 * mean / 4 + (kind == 2 ? mean : kind == 1 ? 0.25f * sign : 0);
        if (!(fabsf(bias[0] + 0.1f * slope) < 1e-6f)) fail_msg("the bias is %g, not %g", (double)bias[0], (double)(-0.1f * slope));
        hone_tensor_free(out);
        hone_model_release(model);
    }
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_residuals_add_their_input(void **state)
{
    (void)state;
    hone_tensor *y = apply_once(hone_residual(ctx, hone_dense(ctx, 5), hone_dense(ctx, 3, .initializer = HONE_INIT_ZEROS, .bias_initializer = HONE_INIT_ONES)),
                                HONE_SHAPE(4, 3)), *x = ramp(HONE_SHAPE(4, 3));
    if (!y) fail_msg("%s", hone_error(ctx));
    for (int i = 0; i < 12; i++) assert_true(at(y, i) == at(x, i) + 1);
    hone_tensor_free(x), hone_tensor_free(y);
    refuse(hone_residual(ctx, hone_dense(ctx, 5)), HONE_SHAPE(4, 3), "its layers make [4, 5] of [4, 3]; the shape must stay");
    refuse(hone_activity_regularization(ctx, -1, 0), HONE_SHAPE(4, 3), "l1 and l2 must not be negative");
    refuse(hone_sequential(ctx, hone_activity_regularization(ctx, 1, 0)), HONE_SHAPE(4), "the input must be [B, ...]");
}

/* ---- refusals ---- */

static void test_refusals_say_what_does_not_fit(void **state)
{
    (void)state;
    hone_shape any = HONE_SHAPE(2, 3, 4);
    refuse(hone_depthwise_conv2d(ctx, 0), any, "depthwise_conv2d: kernel and depth_multiplier must be at least 1");
    refuse(hone_separable_conv1d(ctx, 2, 3, .groups = 3), any, "separable_conv1d: kernel and depth_multiplier");
    refuse(hone_separable_conv2d(ctx, 0, 3), any, "filters and kernel must be at least 1");
    refuse(hone_conv1d(ctx, 2, 3, .depth_multiplier = 2), any, "conv1d: depth_multiplier is for depthwise");
    refuse(hone_sequential(ctx, hone_depthwise_conv2d(ctx, 2)), any, "the input must be [N, channels, and 2 spatial axes]");
    refuse(hone_sequential(ctx, hone_conv_transpose3d(ctx, 2, 2)), any, "[N, channels, and 3 spatial axes]");
    refuse(hone_adaptive_max_pool(ctx, HONE_SHAPE(0)), any, "adaptive_max_pool: 1 to 3 sizes of at least 1");
    refuse(hone_sequential(ctx, hone_adaptive_max_pool(ctx, HONE_SHAPE(1, 2))), any, "a size for each axis");
    refuse(hone_batch_norm_layer(ctx, .momentum = 2), any, "momentum must be in [0, 1], not 2");
    refuse(hone_group_norm_layer(ctx, 0), any, "group_norm: groups must be at least 1, not 0");
    refuse(hone_sequential(ctx, hone_group_norm_layer(ctx, 2)), any, "3 channels cannot be cut into 2 groups");
    refuse(hone_sequential(ctx, hone_batch_norm_layer(ctx)), HONE_SHAPE(2), "up to 3 spatial axes");
    refuse(hone_reshape_layer(ctx, HONE_SHAPE(5)), any, "reshape");
    refuse(hone_permute_layer(ctx, HONE_AXES(0, 1)), any, "permute: the order must hold each axis from 1 on once");
    refuse(hone_permute_layer(ctx, HONE_AXES(1, 1)), any, "transpose");
    refuse(hone_sequential(ctx, hone_permute_layer(ctx, HONE_AXES(1))), any, "permute '0': the order must name every axis");
    refuse(hone_zero_padding(ctx, HONE_SHAPE(-1), HONE_SHAPE(1)), any, "zero_padding: before and after must hold");
    refuse(hone_sequential(ctx, hone_zero_padding(ctx, HONE_SHAPE(1, 1), HONE_SHAPE(1, 1))), any, "zero_padding '0'");
    refuse(hone_sequential(ctx, hone_cropping(ctx, HONE_SHAPE(2), HONE_SHAPE(2))), any, "nothing would be left");
    refuse(hone_spatial_dropout(ctx, 1), any, "the rate must be in [0, 1), not 1");
    refuse(hone_upsampling(ctx, HONE_SHAPE(0), true), any, "upsampling: 1 to 3 sizes of at least 1, not [0]");
    refuse(hone_sequential(ctx, hone_adaptive_average_pool(ctx, HONE_SHAPE(2, 2))), any, "adaptive_average_pool '0': the input must be");
    refuse(hone_lambda(ctx, NULL, NULL), any, "needs a function");
    refuse(hone_conv_transpose2d(ctx, 0, 3), any, "filters and kernel must be at least 1");
    refuse(hone_sequential(ctx, hone_conv_transpose2d(ctx, 4, 3)), any, "conv_transpose2d '0': the input must be");
    hone_shape image = HONE_SHAPE(1, 2, 3, 3);
    refuse(hone_sequential(ctx, hone_conv_transpose2d(ctx, 4, 3, .stride = {-1})), image, "of -1");
    refuse(hone_sequential(ctx, hone_conv_transpose2d(ctx, 4, 3, .stride = {2}, .output_padding = {2})), image, "output_padding 2 must be smaller");
    refuse(hone_sequential(ctx, hone_conv_transpose2d(ctx, 4, 3, .pad_before = {9})), image, "would have -4 positions");
    refuse(hone_sequential(ctx, hone_conv_transpose2d(ctx, 4, 3, .padding = HONE_SAME, .pad_before = {1})), image, "either HONE_SAME or given");
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_batch_norm_layer(ctx), hone_dense(ctx, 1)));
    hone_tensor *x = ramp(HONE_SHAPE(1, 3)), *y = ramp(HONE_SHAPE(1, 1));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_MSE));
    assert_true(hone_fit(model, x, y, NULL, .epochs = 1) != HONE_OK);
    assert_non_null(strstr(hone_error(ctx), "batch_norm '0': in training a channel needs more than one value"));
    hone_clear_error(ctx);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
}

/* ---- relu of a norm ---- */

static hone_node *normal(hone_graph *graph, hone_shape shape, uint64_t salt)
{
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, shape);
    for (int64_t i = 0; i < hone_shape_count(shape); i++) ((float *)hone_tensor_data(t))[i] = (float)hone__random_normal(salt, (uint64_t)i);
    hone_node *node = hone_constant(graph, t);
    hone_tensor_free(t);
    return node;
}

/* Relu of a norm, and of a sum with one, is one pass with it; a leaky relu of slope 0 is not: results and gradients are the same. */
static void test_relu_of_a_norm_is_relu(void **state)
{
    (void)state;
    enum { ALONE, LEFT, RIGHT, ALONE_GROUPS, RIGHT_GROUPS, KINDS, RESULTS = 5 };
    for (int kind = 0; kind < KINDS; kind++) {
        hone_graph *graph = hone_graph_new(ctx);
        hone_node *in[4] = {normal(graph, HONE_SHAPE(3, 6, 5, 4), 1), normal(graph, HONE_SHAPE(6), 2), normal(graph, HONE_SHAPE(6), 3),
                            normal(graph, HONE_SHAPE(3, 6, 5, 4), 4)};
        hone_node *weights = normal(graph, HONE_SHAPE(3, 6, 5, 4), 5), *results[2][RESULTS], *off[RESULTS];
        bool added = kind != ALONE && kind != ALONE_GROUPS;
        for (int leaky = 0; leaky < 2; leaky++) {
            hone_node *y = kind >= ALONE_GROUPS ? hone_group_norm(in[0], 2, in[1], in[2], 1e-5)
                                                : hone_batch_norm(in[0], in[1], in[2], NULL, NULL, 1e-5);
            if (added) y = kind == LEFT ? hone_add(y, in[3]) : hone_add(in[3], y);
            y = results[leaky][0] = leaky ? hone_leaky_relu(y, 0) : hone_relu(y);
            hone_node *loss = hone_sum(hone_mul(hone_square(y), weights), HONE_ALL_AXES, false);
            assert_hone_ok(ctx, hone_grad(loss, added ? 4 : 3, in, results[leaky] + 1));
        }
        int n = added ? RESULTS : RESULTS - 1;
        for (int i = 0; i < n; i++)
            off[i] = hone_max(hone_abs(hone_sub(results[0][i], results[1][i])), HONE_ALL_AXES, false);
        double v[RESULTS];
        assert_hone_ok(ctx, run_scalars(graph, n, off, v));
        for (int i = 0; i < n; i++)
            if (!(v[i] < 2e-5)) fail_msg("kind %d: result %d is off by %g", kind, i, v[i]);
        hone_graph_release(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_norms_train_as_in_pytorch), TEST(test_norms_evaluate_as_in_pytorch),
                                       TEST(test_upsampling_of_all_ranks_and_its_gradients_are_pytorchs), TEST(test_relu_of_a_norm_is_relu),
                                       TEST(test_states_are_never_trained_and_may_be_written),
                                       TEST(test_transposed_convolution_is_pytorchs), TEST(test_same_padding_with_strides_is_kerass),
                                       TEST(test_prelu_has_a_slope_for_each_channel), TEST(test_activity_regularizers_join_the_loss),
                                       TEST(test_residuals_add_their_input), TEST(test_depthwise_and_separable_convolutions_are_pytorchs),
                                       TEST(test_merging_gated_and_sloped_layers_are_pytorchs),
                                       TEST(test_layers_that_merge_say_what_does_not_fit),
                                       TEST(test_adaptive_pooling_of_all_ranks_is_pytorchs),
                                       TEST(test_upsampling_and_adaptive_pooling_are_pytorchs), TEST(test_resizing_takes_sizes_or_scales), TEST(test_refusals_say_what_does_not_fit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
