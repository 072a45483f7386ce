/* Layers of convolution and pooling: shapes, refusals, options, the same training as PyTorch's, and that nothing is laid
   out anew between them. The ops themselves are tested by test_ops.c. */
#include "layer_tools.h"
#include "golden.h"

#include "kernel/conv.h"
#include <math.h>

static void test_layers_give_their_shapes(void **state)
{
    (void)state;
    assert_shape(hone_conv1d(ctx, 7, 3), HONE_SHAPE(2, 4, 9), HONE_SHAPE(2, 7, 7));
    assert_shape(hone_conv1d(ctx, 7, 4, .padding = HONE_SAME, .stride = {2}), HONE_SHAPE(2, 4, 9), HONE_SHAPE(2, 7, 5));
    assert_shape(hone_conv2d(ctx, 6, 3, .padding = HONE_SAME), HONE_SHAPE(2, 3, 8, 7), HONE_SHAPE(2, 6, 8, 7));
    assert_shape(hone_conv2d(ctx, 6, 3, .kernel = {0, 5}, .stride = {1, 2}), HONE_SHAPE(2, 3, 8, 9), HONE_SHAPE(2, 6, 6, 3));
    assert_shape(hone_conv2d(ctx, 6, 3, .pad_before = {1, 0}, .pad_after = {2, 0}), HONE_SHAPE(2, 3, 8, 7), HONE_SHAPE(2, 6, 9, 5));
    assert_shape(hone_conv2d(ctx, 6, 3, .dilation = {2}, .groups = 3, .no_bias = true), HONE_SHAPE(2, 3, 8, 7), HONE_SHAPE(2, 6, 4, 3));
    assert_shape(hone_conv3d(ctx, 4, 2, .activation = HONE_GELU), HONE_SHAPE(2, 3, 4, 5, 6), HONE_SHAPE(2, 4, 3, 4, 5));
    assert_shape(hone_max_pool1d(ctx, 2), HONE_SHAPE(2, 3, 9), HONE_SHAPE(2, 3, 4));
    assert_shape(hone_max_pool2d(ctx, 3, .stride = {2}, .padding = HONE_SAME), HONE_SHAPE(2, 3, 9, 8), HONE_SHAPE(2, 3, 5, 4));
    assert_shape(hone_max_pool3d(ctx, 2), HONE_SHAPE(2, 3, 4, 5, 6), HONE_SHAPE(2, 3, 2, 2, 3));
    assert_shape(hone_average_pool1d(ctx, 2, .stride = {1}), HONE_SHAPE(2, 3, 9), HONE_SHAPE(2, 3, 8));
    assert_shape(hone_average_pool2d(ctx, 2), HONE_SHAPE(2, 3, 9, 8), HONE_SHAPE(2, 3, 4, 4));
    assert_shape(hone_average_pool3d(ctx, 2), HONE_SHAPE(2, 3, 4, 5, 6), HONE_SHAPE(2, 3, 2, 2, 3));
    assert_shape(hone_max_pool2d(ctx, 3, .stride = {2}, .ceil_mode = true), HONE_SHAPE(2, 3, 8, 9), HONE_SHAPE(2, 3, 4, 4));
    assert_shape(hone_max_pool2d(ctx, 3, .stride = {2}, .ceil_mode = true, .padding = HONE_SAME), HONE_SHAPE(2, 3, 9, 8), HONE_SHAPE(2, 3, 5, 4));
    assert_shape(hone_average_pool2d(ctx, 2, .stride = {1}, .dilation = {2, 3}), HONE_SHAPE(2, 3, 9, 8), HONE_SHAPE(2, 3, 7, 5));
    assert_shape(hone_global_average_pool(ctx), HONE_SHAPE(2, 3, 4, 5), HONE_SHAPE(2, 3));
    assert_shape(hone_global_max_pool(ctx), HONE_SHAPE(2, 3, 4), HONE_SHAPE(2, 3));
}

static void test_refusals_say_what_does_not_fit(void **state)
{
    (void)state;
    refuse(hone_conv2d(ctx, 0, 3), HONE_SHAPE(1, 1), "conv2d: filters and kernel must be at least 1, not 0 and 3");
    refuse(hone_sequential(ctx, hone_conv2d(ctx, 4, 3)), HONE_SHAPE(2, 3, 8),
           "conv2d '0': the input must be [N, channels, and 2 spatial axes], not [2, 3, 8]");
    refuse(hone_sequential(ctx, hone_conv1d(ctx, 4, 3, .groups = 2)), HONE_SHAPE(2, 3, 8),
           "conv1d '0': 3 input channels and 4 filters cannot be cut into 2 groups");
    refuse(hone_sequential(ctx, hone_conv1d(ctx, 4, 3, .padding = HONE_SAME, .pad_before = {1})), HONE_SHAPE(2, 3, 8),
           "padding is either HONE_SAME or pad_before and pad_after, not both");
    refuse(hone_sequential(ctx, hone_conv1d(ctx, 4, 9)), HONE_SHAPE(2, 3, 8), "the window reaches over 9");
    refuse(hone_sequential(ctx, hone_conv1d(ctx, 4, 3, .stride = {-1})), HONE_SHAPE(2, 3, 8), "stride [-1]: each must be at least 1");
    refuse(hone_max_pool2d(ctx, 0), HONE_SHAPE(1, 1), "max_pool2d: the kernel must be at least 1, not 0");
    refuse(hone_sequential(ctx, hone_average_pool2d(ctx, 2)), HONE_SHAPE(2, 3, 8), "average_pool2d '0': the input must be");
    refuse(hone_sequential(ctx, hone_max_pool1d(ctx, 2, .pad_after = {2})), HONE_SHAPE(2, 3, 8), "padding must be smaller than the kernel");
    refuse(hone_sequential(ctx, hone_max_pool1d(ctx, 2, .dilation = {3}, .pad_before = {1}, .pad_after = {1})), HONE_SHAPE(2, 3, 2),
           "of spatial axis 0 with 2 elements a window of dilation 3 may see padding alone");
    refuse(hone_sequential(ctx, hone_max_pool1d(ctx, 4, .stride = {2}, .ceil_mode = true)), HONE_SHAPE(2, 3, 2), "the window reaches over 4");
    refuse(hone_sequential(ctx, hone_max_pool1d(ctx, 2, .dilation = {-1})), HONE_SHAPE(2, 3, 8), "dilation [-1]: each must be at least 1");
    refuse(hone_sequential(ctx, hone_global_average_pool(ctx)), HONE_SHAPE(2, 3), "global_average_pool '0'");
    /* the second gradient of a maximum */
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(1, 1, 4)), *dx = NULL, *ddx = NULL;
    hone_node *loss = hone_sum(hone_square(hone_max_pool(x, HONE_SHAPE(2))), HONE_ALL_AXES, false);
    assert_hone_ok(ctx, hone_grad(loss, 1, &x, &dx));
    assert_true(hone_grad(hone_sum(dx, HONE_ALL_AXES, false), 1, &x, &ddx) == HONE_UNSUPPORTED);
    assert_error(HONE_UNSUPPORTED, "max_pool_grad");
    hone_clear_error(ctx);
    hone_graph_release(graph);
}

/* He's and Glorot's bounds count the kernel's taps on both sides. */
static void test_initial_weights_have_their_spread(void **state)
{
    (void)state;
    const struct {
        hone_initializer initializer;
        float bound;
    } cases[] = {{HONE_INIT_DEFAULT, sqrtf(6.0f / (8 * 9 + 32 * 9))}, {HONE_INIT_HE_UNIFORM, sqrtf(6.0f / (8 * 9))}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_model *model = hone_model_of(hone_sequential(ctx, hone_conv2d(ctx, 32, 3, .initializer = cases[i].initializer)));
        hone_tensor *x = ramp(HONE_SHAPE(1, 8, 5, 5));
        hone_tensor_free(hone_predict(model, x, 1));
        static float w[32 * 8 * 9];
        assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.weight"), 32 * 8 * 9, w));
        float most = 0;
        for (int k = 0; k < 32 * 8 * 9; k++) most = fmaxf(most, fabsf(w[k]));
        assert_true(most <= cases[i].bound && most > 0.98f * cases[i].bound);
        hone_tensor_free(x);
        hone_model_release(model);
    }
}

static hone_layer *small_cnn(void)
{
    return hone_sequential(ctx, hone_conv2d(ctx, 6, 3, .padding = HONE_SAME, .activation = HONE_RELU), hone_max_pool2d(ctx, 2),
                           hone_conv2d(ctx, 8, 3, .padding = HONE_SAME, .activation = HONE_RELU), hone_max_pool2d(ctx, 2),
                           hone_flatten(ctx), hone_dense(ctx, 16, .activation = HONE_RELU), hone_dense(ctx, 5));
}

/* Twenty steps from PyTorch's initial weights, on one batch; the loss before each step, against PyTorch's. */
static double furthest_loss(hone_dtype compute)
{
    hone_safetensors *file = hone_safetensors_open(ctx, HONE_TEST_DATA "/cnn.golden.safetensors");
    if (!file) fail_msg("%s", hone_error(ctx));
    hone_tensor *x = golden_in(file, "x"), *y = golden_in(file, "y"), *losses = golden_in(file, "losses");
    hone_model *model = hone_model_of(small_cnn());
    hone_tensor_free(hone_predict(model, x, 12)); /* makes the parameters */
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
        hone_tensor *value = golden_in(file, hone_param_name(p));
        assert_true(hone_shape_equal(hone_tensor_shape(value), hone_param_shape(p)));
        assert_hone_ok(ctx, hone_param_write(p, hone_shape_count(hone_param_shape(p)), hone_tensor_data(value)));
        hone_tensor_free(value);
    }
    hone_history *history = NULL;
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adam(ctx, .learning_rate = 1e-2),
                                     .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .compute = compute));
    assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 20, .batch_size = 12, .no_shuffle = true));
    double furthest = 0;
    for (int i = 0; i < 20; i++) furthest = fmax(furthest, fabs(history->epochs[i].loss - (double)at(losses, i)));
    hone_history_free(history);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(losses);
    hone_safetensors_close(file);
    return furthest;
}

static void test_training_equals_pytorch(void **state)
{
    (void)state;
    double off = furthest_loss(HONE_F32);
    if (!(off < 1e-4)) fail_msg("a loss is %g off", off);
}

static void test_training_in_bf16_stays_close(void **state)
{
    (void)state;
    double off = furthest_loss(HONE_BF16);
    if (!(off < 0.05)) fail_msg("a loss is %g off", off);
}

/* Convolution, relu, residual sum, pooling and convolution: one layout from end to end, and one relu mask less, which
   the pooling's backward pass takes over. Only the two ends are laid out anew: the input, and the gradient that the
   loss, a broadcast number, gives. */
static void test_nothing_is_laid_out_anew_in_between(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2, 3, 8, 8));
    hone_node *w1 = hone_input(graph, "w1", HONE_F32, HONE_SHAPE(4, 3, 3, 3));
    hone_node *w2 = hone_input(graph, "w2", HONE_F32, HONE_SHAPE(4, 4, 3, 3));
    hone_node *a = hone_conv(x, w1, NULL, .padding = HONE_SAME), *b = hone_silu(hone_add(a, hone_tanh(a)));
    hone_node *c = hone_conv(hone_average_pool(b, HONE_SHAPE(2, 2)), w2, NULL, .padding = HONE_SAME, .activation = HONE_RELU);
    hone_node *y = hone_max_pool(c, HONE_SHAPE(2, 2)), *loss = hone_sum(hone_square(y), HONE_ALL_AXES, false), *d[2];
    assert_hone_ok(ctx, hone_grad(loss, 2, (hone_node *[]){w1, w2}, d));
    hone__plan *plan = hone__plan_new(graph, 3, (hone_node *[]){loss, d[0], d[1]}, HONE_F32);
    assert_non_null(plan);
    int copies = 0, masks = 0;
    for (size_t i = 0; i < plan->n_execs; i++) {
        const hone__exec *e = &plan->execs[i];
        copies += !e->call;
        masks += e->call && e->call->op == &hone__op_unary_grad;
    }
    assert_int_equal(copies, 2);
    assert_int_equal(masks, 1);  /* of silu */
    hone__plan_free(plan);
    hone_graph_release(graph);
}

/* ---- gradients of weights in bf16, which CPUs with AMX have a kernel of our own for ---- */

/* A sum over n images in type; data: x and then y as f32 that bf16 holds exactly; dw and db get f64. */
static void sum_weights(hone_ctx *own, hone__conv_desc d, hone_dtype type, const float *data, double *dw, double *db)
{
    const hone__window *w = &d.window;
    int64_t nx = d.n * hone__volume(w->in) * d.c, ny = d.n * hone__volume(w->out) * d.o;
    int64_t nw = d.o * (d.c / d.groups) * hone__volume(w->kernel);
    bool wide = type == HONE_F64;
    d.type = type;
    d.result = wide ? HONE_F64 : HONE_F32;
    hone__conv *conv = hone__conv_new(own, &d);
    assert_non_null(conv);
    char *both = hone__alloc(own, (size_t)((nx + ny) * 8)), *scratch = hone__alloc(own, hone__conv_scratch(conv));
    char *to = hone__alloc(own, (size_t)((nw + d.o) * 8));
    memset(scratch, 0xFF, hone__conv_scratch(conv)); /* NaN, whatever is read of it */
    for (int64_t i = 0; i < nx + ny; i++) {
        if (wide) ((double *)(void *)both)[i] = (double)data[i];
        else ((uint16_t *)(void *)both)[i] = hone__f32_to_bf16(data[i]);
    }
    int64_t size = wide ? 8 : 2, real = wide ? 8 : 4;
    hone__conv_data p = {.x = both, .y = both + nx * size, .w = to, .bias = to + nw * real};
    assert_hone_ok(own, hone__conv_run(conv, &p, scratch));
    for (int64_t i = 0; i < nw + (d.bias ? d.o : 0); i++) {
        double v = wide ? ((double *)(void *)to)[i] : (double)((float *)(void *)to)[i];
        if (i < nw) dw[i] = v;
        else db[i - nw] = v;
    }
    hone__free(own, both), hone__free(own, scratch), hone__free(own, to);
    hone__conv_free(conv);
}

static void test_gradients_of_weights_in_bf16_are_those_of_f64(void **state)
{
    (void)state;
    /* n, channels of x and y, [height, width] of x, kernel, stride, dilation, padding before and after, bias */
    const struct {
        int64_t n, c, o, in[2], kernel[2], stride[2], dilation[2], before[2], after[2];
        bool bias;
    } cases[] = {
        {2, 16, 16, {32, 32}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, false}, {3, 16, 32, {16, 16}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, true},
        {13, 64, 64, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, true},  {2, 3, 16, {9, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, true},
        {2, 16, 32, {16, 16}, {1, 1}, {2, 2}, {1, 1}, {0, 0}, {0, 0}, false}, {5, 17, 33, {7, 10}, {3, 2}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, true},
        {1, 1, 1, {5, 5}, {5, 5}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, true},      {4, 5, 47, {13, 11}, {5, 4}, {2, 3}, {1, 1}, {2, 1}, {1, 2}, true},
        {3, 20, 9, {12, 9}, {3, 3}, {1, 1}, {2, 3}, {2, 3}, {2, 3}, true},    {2, 8, 24, {11, 14}, {3, 3}, {3, 2}, {2, 1}, {3, 0}, {0, 1}, false},
        {7, 31, 48, {1, 37}, {1, 5}, {1, 1}, {1, 1}, {0, 4}, {0, 4}, true},   {3, 6, 7, {2, 2}, {4, 4}, {1, 1}, {1, 1}, {3, 3}, {3, 3}, true},
        {2, 32, 16, {3, 50}, {2, 3}, {1, 4}, {1, 2}, {5, 0}, {2, 0}, true},   {2, 4, 4, {6, 6}, {2, 2}, {3, 3}, {1, 1}, {0, 1}, {0, 0}, true},
    };
    for (size_t t = 0; t < HONE_ARRAY_LEN(cases); t++) {
        hone__conv_desc d = {.kind = HONE__CONV_WEIGHTS, .n = cases[t].n, .c = cases[t].c, .o = cases[t].o, .groups = 1,
                             .bias = cases[t].bias, .window = {.axes = 2, .in = {1}, .out = {1}, .kernel = {1}, .stride = {1}, .dilation = {1}}};
        for (int a = 0; a < 2; a++) {
            hone__window *w = &d.window;
            w->in[1 + a] = cases[t].in[a], w->kernel[1 + a] = cases[t].kernel[a], w->stride[1 + a] = cases[t].stride[a];
            w->dilation[1 + a] = cases[t].dilation[a], w->before[1 + a] = cases[t].before[a], w->after[1 + a] = cases[t].after[a];
            w->out[1 + a] = (cases[t].in[a] + cases[t].before[a] + cases[t].after[a] - (cases[t].kernel[a] - 1) * cases[t].dilation[a] - 1) /
                            cases[t].stride[a] + 1;
        }
        int64_t nw = d.c * d.o * hone__volume(d.window.kernel), y = d.n * hone__volume(d.window.out);
        int64_t count = d.n * hone__volume(d.window.in) * d.c + y * d.o;
        float *data = hone__alloc(ctx, (size_t)count * sizeof *data);
        double *dw = hone__alloc(ctx, (size_t)(2 * (nw + d.o)) * sizeof *dw), *exact = dw + nw + d.o;
        for (int64_t i = 0; i < count; i++) data[i] = hone__bf16_to_f32(hone__f32_to_bf16(hone__random_normal(t, (uint64_t)i)));
        sum_weights(ctx, d, HONE_F64, data, exact, exact + nw);
        for (int threads = 1; threads <= 3; threads++) {
            hone_ctx *own = hone_ctx_new(.threads = threads);
            sum_weights(own, d, HONE_BF16, data, dw, dw + nw);
            for (int64_t i = 0; i < nw + (d.bias ? d.o : 0); i++) { /* f32 sums of y products about 1 */
                double most = 1e-6 * (double)(y + 10);
                if (!(fabs(dw[i] - exact[i]) < most))
                    fail_msg("case %d, %d threads: gradient %d is %g, not %g", (int)t, threads, (int)i, dw[i], exact[i]);
            }
            hone_ctx_release(own);
        }
        hone__free(ctx, data), hone__free(ctx, dw);
    }
}

/* A step of training in bf16, where weights are packed, and an image in f64, which takes the general way. */
static hone_status train_once(counting *c)
{
    ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, c});
    if (!ctx) return HONE_MEMORY;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_conv2d(ctx, 4, 3, .activation = HONE_RELU), hone_max_pool2d(ctx, 2),
                                                      hone_conv2d(ctx, 2, 2), hone_average_pool2d(ctx, 2), hone_flatten(ctx)));
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2, 3, 8, 8)), *y = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2, 2));
    hone_status status = hone_ctx_status(ctx);
    if (status == HONE_OK) status = hone_compile(model, .compute = HONE_BF16);
    if (status == HONE_OK) status = hone_fit(model, x, y, NULL, .batch_size = 2);
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *wide = hone_input(graph, "x", HONE_F64, HONE_SHAPE(1, 2, 5)), *w = hone_input(graph, "w", HONE_F64, HONE_SHAPE(3, 2, 3));
    hone_node *result = hone_conv(wide, w, NULL);
    hone__plan *plan = status == HONE_OK && result ? hone__plan_new(graph, 1, &result, HONE_F32) : NULL;
    hone__plan_free(plan);
    if (status == HONE_OK) status = hone_ctx_status(ctx);
    hone_graph_release(graph);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
    hone_ctx_release(ctx);
    return status;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    hone_ctx *kept = ctx;
    counting c = {0};
    assert_int_equal(train_once(&c), HONE_OK);
    assert_int_equal(c.live, 0);
    int64_t calls = c.calls;
    assert_true(calls > 100);
    for (int64_t n = 1; n <= calls; n++) {
        c = (counting){.fail_at = n};
        hone_status status = train_once(&c);
        if (status != HONE_MEMORY) fail_msg("allocation %d failed, the status is %s", (int)n, hone_status_name(status));
        if (c.live) fail_msg("allocation %d failed, %d blocks leak", (int)n, (int)c.live);
    }
    ctx = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_layers_give_their_shapes),
        TEST(test_refusals_say_what_does_not_fit),
        TEST(test_initial_weights_have_their_spread),
        TEST(test_training_equals_pytorch),
        TEST(test_training_in_bf16_stays_close),
        TEST(test_gradients_of_weights_in_bf16_are_those_of_f64),
        TEST(test_nothing_is_laid_out_anew_in_between),
        TEST(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
