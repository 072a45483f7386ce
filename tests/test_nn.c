/* Layers and models: shapes and refusals, three ways to build one function, names, freezing, LoRA, who owns what. */
#include "layer_tools.h"

#include <math.h>

static void test_layers_give_their_shapes(void **state)
{
    (void)state;
    assert_shape(hone_dense(ctx, 7), HONE_SHAPE(3, 5), HONE_SHAPE(3, 7));
    assert_shape(hone_dense(ctx, 7, .activation = HONE_SOFTMAX), HONE_SHAPE(3, 2, 5), HONE_SHAPE(3, 2, 7));
    assert_shape(hone_layer_norm_layer(ctx), HONE_SHAPE(3, 5), HONE_SHAPE(3, 5));
    assert_shape(hone_layer_norm_layer(ctx, .no_bias = true), HONE_SHAPE(3, 4, 5), HONE_SHAPE(3, 4, 5));
    assert_shape(hone_rms_norm_layer(ctx, .epsilon = 1e-6), HONE_SHAPE(3, 5), HONE_SHAPE(3, 5));
    assert_shape(hone_dropout_layer(ctx, 0.5), HONE_SHAPE(3, 5), HONE_SHAPE(3, 5));
    assert_shape(hone_activation_layer(ctx, HONE_GELU), HONE_SHAPE(3, 5), HONE_SHAPE(3, 5));
    assert_shape(hone_flatten(ctx), HONE_SHAPE(3, 4, 5, 2), HONE_SHAPE(3, 40));
    assert_shape(hone_flatten(ctx), HONE_SHAPE(3), HONE_SHAPE(3));
    assert_shape(hone_self_attention(ctx, 4, .kv_heads = 2, .causal = true, .rope_theta = 10000), HONE_SHAPE(2, 6, 16), HONE_SHAPE(2, 6, 16));
    assert_shape(hone_self_attention(ctx, 2, .head_size = 6, .no_bias = true), HONE_SHAPE(2, 3, 7), HONE_SHAPE(2, 3, 7));
    assert_shape(hone_sequential(ctx, hone_dense(ctx, 4), hone_sequential(ctx, hone_dense(ctx, 2), hone_flatten(ctx))),
                 HONE_SHAPE(3, 2, 5), HONE_SHAPE(3, 4));
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_embedding_layer(ctx, 10, 4)));
    hone_tensor *ids = hone_tensor_from_i32(ctx, HONE_SHAPE(2, 3), (int32_t[]){0, 1, 9, 9, 5, 0}), *y = hone_predict(model, ids, 2);
    assert_true(hone_shape_equal(hone_tensor_shape(y), HONE_SHAPE(2, 3, 4)));
    assert_true(at(y, 0) == at(y, 20) && at(y, 8) == at(y, 12));
    hone_tensor_free(y);
    ((int32_t *)hone_tensor_data(ids))[4] = 10;
    assert_null(hone_predict(model, ids, 2));
    assert_non_null(strstr(hone_error(ctx), "'0'")); /* the layer */
    hone_tensor_free(ids);
    hone_model_release(model);
}

static void test_layers_compute_what_they_say(void **state)
{
    (void)state;
    hone_tensor *y = apply_once(hone_layer_norm_layer(ctx), HONE_SHAPE(2, 50));
    double mean = 0, square = 0;
    for (int i = 0; i < 50; i++) mean += (double)at(y, i), square += pow((double)at(y, i), 2);
    assert_true(fabs(mean / 50) < 1e-5 && fabs(square / 50 - 1) < 1e-3);
    hone_tensor_free(y);
    y = apply_once(hone_rms_norm_layer(ctx), HONE_SHAPE(2, 50));
    square = 0;
    for (int i = 50; i < 100; i++) square += pow((double)at(y, i), 2);
    assert_true(fabs(square / 50 - 1) < 1e-3);
    hone_tensor_free(y);
    y = apply_once(hone_dropout_layer(ctx, 0.9), HONE_SHAPE(2, 50)); /* predicting drops nothing */
    for (int i = 0; i < 100; i++) assert_true(at(y, i) == sinf((float)i * 0.7f));
    hone_tensor_free(y);
}

/* Causal: a position's output does not depend on those after it. */
static void test_causal_attention_does_not_look_ahead(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_self_attention(ctx, 2, .causal = true, .rope_theta = 100));
    hone_tensor *x = ramp(HONE_SHAPE(1, 6, 8)), *a = hone_predict(model, x, 1);
    for (int i = 40; i < 48; i++) ((float *)hone_tensor_data(x))[i] = 3;
    hone_tensor *b = hone_predict(model, x, 1);
    assert_memory_equal(hone_tensor_data(a), hone_tensor_data(b), 40 * sizeof(float));
    assert_true(at(a, 40) != at(b, 40));
    assert_int_equal(hone_model_param_count(model), 8);
    assert_non_null(hone_model_find_param(model, "o_proj.bias"));
    hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(x);
    hone_model_release(model);
}

static void test_refusals_name_the_layer(void **state)
{
    (void)state;
    refuse_as(hone_dense(ctx, 0), HONE_SHAPE(1, 1), HONE_INVALID, "dense: units must be at least 1, not 0");
    refuse_as(hone_embedding_layer(ctx, 0, 4), HONE_SHAPE(1, 1), HONE_INVALID, "embedding: vocabulary and size");
    refuse_as(hone_dropout_layer(ctx, 1), HONE_SHAPE(1, 1), HONE_INVALID, "dropout: the rate must be in [0, 1), not 1");
    refuse_as(hone_self_attention(ctx, 4, .kv_heads = 3), HONE_SHAPE(1, 1), HONE_INVALID, "multiple of kv_heads, not 4 and 3");
    refuse_as(hone_sequential(ctx, hone_self_attention(ctx, 3)), HONE_SHAPE(2, 5, 8), HONE_SHAPE, "self_attention '0'");
    refuse_as(hone_sequential(ctx, hone_embedding_layer(ctx, 9, 4)), HONE_SHAPE(2, 5), HONE_DTYPE, "'0'");
    /* a weight that exists and an input of another size */
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 6), hone_dense(ctx, 2)));
    hone_tensor *x = ramp(HONE_SHAPE(4, 10)), *wide = ramp(HONE_SHAPE(32, 12));
    hone_tensor_free(hone_predict(model, x, 4));
    assert_null(hone_predict(model, wide, 32));
    assert_error(HONE_SHAPE, "dense '0': input has 12 features, weight expects 10 (input shape [32, 12])");
    hone_clear_error(ctx);
    hone_tensor *y = hone_predict(model, x, 4); /* nothing was broken by it */
    assert_non_null(y);
    hone_tensor_free(y), hone_tensor_free(x), hone_tensor_free(wide);
    hone_model_release(model);
}

static void test_layers_have_one_parent(void **state)
{
    (void)state;
    hone_layer *shared = hone_dense(ctx, 2), *one = hone_sequential(ctx, shared);
    assert_null(hone_sequential(ctx, shared));
    assert_error(HONE_STATE, "layer '0' already belongs to 'sequential'; to share its weights apply it twice");
    hone_clear_error(ctx);
    hone_layer *group = hone_sequential(ctx, hone_flatten(ctx));
    assert_non_null(hone_layer_add(group, "fc", hone_dense(ctx, 2)));
    assert_null(hone_layer_add(group, "fc", hone_dense(ctx, 2)));
    assert_error(HONE_INVALID, "already has a child 'fc'");
    hone_clear_error(ctx);
    assert_null(hone_layer_add(group, "x", NULL));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_null(hone_model_of(shared));
    assert_error(HONE_STATE, "already belongs to a parent or a model");
    hone_clear_error(ctx);
    hone_layer_free(group);
    hone_layer_free(one);
    assert_null(hone_model_of(NULL));
}

/* ---- three ways to build one function -------------------------------------------------------------------------- */

typedef struct perceptron {
    hone_layer base;
    hone_layer *hidden, *output;
} perceptron;
static hone_node *perceptron_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    perceptron *p = (perceptron *)(void *)self;
    return hone_apply(p->output, hone_tanh(hone_apply(p->hidden, in[0])));
}

static hone_model *module_model(void)
{
    perceptron *p = hone_module(ctx, perceptron, perceptron_forward);
    p->hidden = hone_layer_add(&p->base, "hidden", hone_dense(ctx, 6));
    p->output = hone_layer_add(&p->base, "output", hone_dense(ctx, 2));
    return hone_model_of(&p->base);
}
static hone_model *sequential_model(void)
{
    return hone_model_of(hone_sequential(ctx, hone_dense(ctx, 6), hone_activation_layer(ctx, HONE_TANH), hone_dense(ctx, 2)));
}
static hone_model *functional_model(hone_graph *graph)
{
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 4));
    hone_node *h = hone_tanh(hone_apply(hone_dense(ctx, 6), x)), *y = hone_apply(hone_dense(ctx, 2), h);
    return hone_model_new(1, &x, 1, &y);
}

/* Parameter i of `to` takes the values of parameter i of `from`. */
static void copy_params(hone_model *from, hone_model *to)
{
    assert_int_equal(hone_model_param_count(from), hone_model_param_count(to));
    for (size_t i = 0; i < hone_model_param_count(from); i++) {
        float v[64];
        int64_t n = hone_shape_count(hone_param_shape(hone_model_param(from, i)));
        assert_true(hone_shape_equal(hone_param_shape(hone_model_param(from, i)), hone_param_shape(hone_model_param(to, i))));
        assert_hone_ok(ctx, hone_param_read(hone_model_param(from, i), n, v));
        assert_hone_ok(ctx, hone_param_write(hone_model_param(to, i), n, v));
    }
}

static void test_three_ways_to_build_are_one(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_model *models[3] = {sequential_model(), functional_model(graph), module_model()};
    hone_tensor *x = ramp(HONE_SHAPE(5, 4)), *y[3] = {0};
    static const char *const names[3][4] = {{"0.weight", "0.bias", "2.weight", "2.bias"},
                                            {"dense.weight", "dense.bias", "dense_1.weight", "dense_1.bias"},
                                            {"hidden.weight", "hidden.bias", "output.weight", "output.bias"}};
    for (int m = 0; m < 3; m++) {
        if (!models[m]) fail_msg("%s", hone_error(ctx));
        hone_tensor_free(hone_predict(models[m], x, 5));
        assert_int_equal(hone_model_param_count(models[m]), 4);
        for (size_t i = 0; i < 4; i++) assert_string_equal(hone_param_name(hone_model_param(models[m], i)), names[m][i]);
        if (m) copy_params(models[0], models[m]);
        y[m] = hone_predict(models[m], x, 5);
        if (m) assert_memory_equal(hone_tensor_data(y[0]), hone_tensor_data(y[m]), 10 * sizeof(float));
    }
    /* and they learn the same */
    hone_tensor *target = ramp(HONE_SHAPE(5, 2));
    float first = at(y[0], 0);
    for (int m = 0; m < 3; m++) {
        assert_hone_ok(ctx, hone_compile(models[m], .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = HONE_MSE));
        assert_hone_ok(ctx, hone_fit(models[m], x, target, NULL, .epochs = 5, .batch_size = 2));
        hone_tensor *after = hone_predict(models[m], x, 5);
        assert_true(at(after, 0) != first);
        hone_tensor_free(y[m]);
        y[m] = after;
        if (m) assert_memory_equal(hone_tensor_data(y[0]), hone_tensor_data(y[m]), 10 * sizeof(float));
    }
    for (int m = 0; m < 3; m++) hone_model_release(models[m]), hone_tensor_free(y[m]);
    hone_graph_release(graph);
    hone_tensor_free(x), hone_tensor_free(target);
}

static void test_functional_models_take_any_batch(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 3, 4));
    hone_layer *dense = hone_dense(ctx, 4);
    /* reshapes that mention the batch, a layer that records nothing, a layer applied twice, a constant */
    hone_node *rows = hone_reshape(x, HONE_SHAPE(HONE_BATCH * 3, 4));
    hone_node *h = hone_apply(dense, hone_apply(hone_dropout_layer(ctx, 0.5), hone_apply(dense, rows)));
    hone_node *y = hone_add(hone_reshape(h, HONE_SHAPE(HONE_BATCH, 12)), hone_fill(graph, HONE_F32, HONE_SCALAR, 1));
    hone_model *model = hone_model_new(1, &x, 1, &y);
    if (!model) fail_msg("%s", hone_error(ctx));
    hone_graph_release(graph); /* the model keeps what it needs */
    hone_tensor *data = ramp(HONE_SHAPE(7, 3, 4)), *all = hone_predict(model, data, 7);
    if (!all) fail_msg("%s", hone_error(ctx));
    assert_true(hone_shape_equal(hone_tensor_shape(all), HONE_SHAPE(7, 12)));
    assert_int_equal(hone_model_param_count(model), 2); /* shared */
    for (int batch = 1; batch < 7; batch++) {
        hone_tensor *some = hone_predict(model, data, batch);
        for (int64_t i = 0; i < 84; i++) assert_true(fabsf(at(some, i) - at(all, i)) < 1e-6f);
        hone_tensor_free(some);
    }
    hone_tensor *wrong = ramp(HONE_SHAPE(7, 3, 5));
    assert_null(hone_predict(model, wrong, 7));
    assert_error(HONE_SHAPE, "input 0 is [7, 3, 5], the model expects [7, 3, 4]");
    hone_clear_error(ctx);
    hone_tensor_free(wrong), hone_tensor_free(all), hone_tensor_free(data);
    hone_model_release(model);
}

/* Dropout records nothing when the model is made; when it trains, what else reads its input must see that as it is, and dropout
   at the end must fall. */
static void test_functional_dropout_changes_its_result_alone(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 64));
    hone_node *y = hone_add(hone_apply(hone_dropout_layer(ctx, 0.5), x), hone_affine(x, 10, 0));
    y = hone_apply(hone_dropout_layer(ctx, 0.5), y);
    hone_model *model = hone_model_new(1, &x, 1, &y);
    hone_graph_release(graph);
    graph = hone_graph_new(ctx, .mode = HONE_TRAIN);
    y = hone_apply(hone_model_root(model), hone_fill(graph, HONE_F32, HONE_SHAPE(4, 64), 1));
    if (!y) fail_msg("%s", hone_error(ctx));
    hone__plan *plan = hone__plan_new(graph, 1, &y, HONE_F32);
    assert_hone_ok(ctx, hone__plan_run(plan, &now));
    const float *have = hone__plan_output(plan, 0)->data;
    int times[3] = {0};
    for (int i = 0; i < 256; i++) {
        int which = have[i] == 0 ? 0 : have[i] == 20 ? 1 : 2;
        if (which == 2) assert_true(have[i] == 24); /* (10 + 0 or 2) times 2 */
        times[which]++;
    }
    assert_true(times[0] > 90 && times[1] > 30 && times[2] > 30);
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_model_release(model);
}

static void test_functional_models_need_their_own_inputs(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx), *other = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 4)), *y = hone_tanh(x);
    hone_node *z = hone_input(other, "z", HONE_F32, HONE_SHAPE(HONE_BATCH, 4));
    assert_null(hone_model_new(1, &y, 1, &y));
    assert_error(HONE_INVALID, "input 0 was not made by hone_input");
    hone_clear_error(ctx);
    assert_null(hone_model_new(2, (hone_node *[]){x, z}, 1, &y));
    assert_error(HONE_INVALID, "input 1 was not made by hone_input in this graph");
    hone_clear_error(ctx);
    assert_null(hone_model_new(1, &x, 1, &z));
    assert_error(HONE_INVALID, "output 0");
    hone_clear_error(ctx);
    assert_null(hone_model_new(1, &x, 17, (hone_node *[17]){y, y, y, y, y, y, y, y, y, y, y, y, y, y, y, y, y}));
    assert_error(HONE_INVALID, "16 outputs at most");
    hone_clear_error(ctx);
    assert_null(hone_model_new(1, &x, 1, &(hone_node *){NULL}));
    hone_graph_release(graph);
    hone_graph_release(other);
}

/* ---- parameters ------------------------------------------------------------------------------------------------- */

/* Applied twice, a layer has one weight, and its gradient is the sum of both uses'. */
typedef struct twice {
    hone_layer base;
    hone_layer *a, *b;
} twice;
static hone_node *twice_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    twice *t = (twice *)(void *)self;
    return hone_apply(t->b, hone_apply(t->a, in[0]));
}
static hone_model *twice_model(bool shared)
{
    twice *t = hone_module(ctx, twice, twice_forward);
    t->a = hone_layer_add(&t->base, "a", hone_dense(ctx, 3, .no_bias = true));
    t->b = shared ? t->a : hone_layer_add(&t->base, "b", hone_dense(ctx, 3, .no_bias = true));
    return hone_model_of(&t->base);
}
static void test_shared_weights_add_their_gradients(void **state)
{
    (void)state;
    hone_model *one = twice_model(true), *two = twice_model(false);
    hone_tensor *x = ramp(HONE_SHAPE(4, 3)), *y = ramp(HONE_SHAPE(4, 3));
    hone_model *models[] = {one, two};
    float w[9], g[3][9];
    for (int m = 0; m < 2; m++) {
        hone_tensor_free(hone_predict(models[m], x, 4));
        assert_int_equal(hone_model_param_count(models[m]), (size_t)m + 1);
        if (!m) assert_hone_ok(ctx, hone_param_read(hone_model_param(one, 0), 9, w));
        for (size_t i = 0; i < hone_model_param_count(models[m]); i++) assert_hone_ok(ctx, hone_param_write(hone_model_param(models[m], i), 9, w));
        assert_hone_ok(ctx, hone_compile(models[m], .optimizer = hone_sgd(ctx, .learning_rate = 1e-3), .loss = HONE_MSE));
        assert_hone_ok(ctx, hone_fit(models[m], x, y, NULL, .batch_size = 4));
        for (size_t i = 0; i < hone_model_param_count(models[m]); i++)
            assert_hone_ok(ctx, hone_param_read_gradient(hone_model_param(models[m], i), 9, g[(size_t)m + i]));
    }
    for (int i = 0; i < 9; i++) assert_true(fabsf(g[0][i] - g[1][i] - g[2][i]) < 1e-6f);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(one), hone_model_release(two);
}

static void test_parameters_are_read_and_written(void **state)
{
    (void)state;
    hone_model *model = sequential_model();
    assert_int_equal(hone_model_param_count(model), 0); /* their sizes are not known yet */
    assert_null(hone_model_param(model, 0));
    hone_tensor *x = ramp(HONE_SHAPE(2, 4));
    hone_tensor_free(hone_predict(model, x, 2));
    hone_param *p = hone_model_find_param(model, "0.bias");
    float v[6] = {1, 2, 3, 4, 5, 6}, w[6];
    assert_hone_ok(ctx, hone_param_write(p, 6, v));
    assert_hone_ok(ctx, hone_param_read(p, 6, w));
    assert_memory_equal(v, w, sizeof v);
    assert_hone_ok(ctx, hone_param_read_gradient(p, 6, w));
    for (int i = 0; i < 6; i++) assert_true(w[i] == 0);
    assert_int_equal(hone_param_read(p, 5, w), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "parameter '0.bias' is [6], not 5 values"));
    assert_int_equal(hone_param_write(p, 7, v), HONE_INVALID);
    assert_null(hone_model_find_param(model, "0.bia"));
    assert_int_equal(hone_param_dtype(p), HONE_F32);
    assert_true(hone_param_trainable(p));
    hone_tensor_free(x);
    hone_model_release(model);
}

static void test_first_values_have_their_distribution(void **state)
{
    (void)state;
    static const struct {
        hone_initializer which;
        double deviation, bound; /* of a [200, 300] weight: fan_in 300, fan_out 200; 0: unbounded */
    } cases[] = {
        {HONE_INIT_ZEROS, 0, 0},
        {HONE_INIT_NORMAL, 0.02, 0},
        {HONE_INIT_GLOROT_UNIFORM, 0.06324555, 0.10954451},
        {HONE_INIT_GLOROT_NORMAL, 0.06324555, 0},
        {HONE_INIT_HE_UNIFORM, 0.08164966, 0.14142136},
        {HONE_INIT_HE_NORMAL, 0.08164966, 0},
        {HONE_INIT_LECUN_NORMAL, 0.05773503, 0},
        {HONE_INIT_TORCH_LINEAR, 0.03333333, 0.05773503},
    };
    static float v[60000];
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_model *model = hone_model_of(hone_dense(ctx, 200, .initializer = cases[i].which, .no_bias = true));
        hone_tensor *x = ramp(HONE_SHAPE(1, 300));
        hone_tensor_free(hone_predict(model, x, 1));
        assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "weight"), 60000, v));
        double mean = 0, square = 0, most = 0;
        for (int k = 0; k < 60000; k++) mean += (double)v[k], square += pow((double)v[k], 2), most = HONE_MAX(most, fabs((double)v[k]));
        mean /= 60000, square = sqrt(square / 60000);
        /* within 4 standard errors */
        if (!(fabs(mean) <= 4 * cases[i].deviation / sqrt(60000)) || !(fabs(square - cases[i].deviation) <= 0.015 * cases[i].deviation) ||
            (cases[i].bound > 0 && !(most <= cases[i].bound && most > 0.999 * cases[i].bound)))
            fail_msg("initializer %d: mean %g, deviation %g, most %g", (int)cases[i].which, mean, square, most);
        hone_tensor_free(x);
        hone_model_release(model);
    }
}

/* First values are a function of seed and name, not of order or of what else there is. */
static void test_first_values_depend_on_seed_and_name(void **state)
{
    (void)state;
    float v[3][24];
    for (int i = 0; i < 3; i++) {
        hone_set_seed(ctx, i == 2 ? 7 : 0);
        hone_model *model = sequential_model();
        hone_tensor *x = ramp(HONE_SHAPE(i + 1, 4));
        hone_tensor_free(hone_predict(model, x, 1));
        assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.weight"), 24, v[i]));
        hone_tensor_free(x);
        hone_model_release(model);
    }
    assert_memory_equal(v[0], v[1], sizeof v[0]);
    assert_memory_not_equal(v[0], v[2], sizeof v[0]);
}

static void test_freezing_goes_by_prefix(void **state)
{
    (void)state;
    hone_model *model = module_model();
    hone_tensor *x = ramp(HONE_SHAPE(4, 4)), *y = ramp(HONE_SHAPE(4, 2));
    assert_hone_ok(ctx, hone_model_set_trainable(model, "hidden", false)); /* before anything is known of its weights */
    assert_int_equal(hone_model_set_trainable(model, "hiden", false), HONE_NOT_FOUND);
    assert_error(HONE_NOT_FOUND, "begins with 'hiden'");
    hone_clear_error(ctx);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_MSE));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL));
    float before[24], after[24];
    assert_false(hone_param_trainable(hone_model_find_param(model, "hidden.weight")));
    assert_true(hone_param_trainable(hone_model_find_param(model, "output.bias")));
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "hidden.weight"), 24, before));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 3));
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "hidden.weight"), 24, after));
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(hone_model_set_trainable(model, "hidden", true), HONE_STATE);
    assert_error(HONE_STATE, "'hidden.weight' was frozen when the model first ran");
    hone_clear_error(ctx);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
}

/* ---- LoRA ------------------------------------------------------------------------------------------------------- */

static void test_lora_begins_as_nothing_and_learns(void **state)
{
    (void)state;
    hone_model *model = module_model();
    hone_tensor *x = ramp(HONE_SHAPE(4, 4)), *target = ramp(HONE_SHAPE(4, 2)), *before = hone_predict(model, x, 4);
    assert_int_equal(hone_model_add_lora(model, .targets = "hidden,outputs"), HONE_NOT_FOUND);
    assert_error(HONE_NOT_FOUND, "no dense layer is called 'outputs'");
    hone_clear_error(ctx);
    assert_int_equal(hone_model_add_lora(model, .rank = -2), HONE_INVALID);
    hone_clear_error(ctx);
    assert_hone_ok(ctx, hone_model_add_lora(model, .rank = 2, .alpha = 4, .targets = "hidden,output"));
    hone_tensor *same = hone_predict(model, x, 4);
    assert_memory_equal(hone_tensor_data(before), hone_tensor_data(same), 8 * sizeof(float));
    assert_int_equal(hone_model_param_count(model), 8);
    hone_param *w = hone_model_find_param(model, "output.weight"), *b = hone_model_find_param(model, "output.lora_B.weight");
    assert_true(hone_shape_equal(hone_param_shape(b), HONE_SHAPE(2, 2)));
    assert_true(hone_shape_equal(hone_param_shape(hone_model_find_param(model, "output.lora_A.weight")), HONE_SHAPE(2, 6)));
    assert_false(hone_param_trainable(w));
    assert_true(hone_param_trainable(b));
    float old[12], now_w[12], now_b[4];
    hone_param_read(w, 12, old);
    double first, last;
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_MSE, .optimizer = hone_adam(ctx, .learning_rate = 0.02)));
    assert_hone_ok(ctx, hone_evaluate(model, x, target, 4, &first, NULL));
    assert_hone_ok(ctx, hone_fit(model, x, target, NULL, .epochs = 100, .batch_size = 4));
    assert_hone_ok(ctx, hone_evaluate(model, x, target, 4, &last, NULL));
    assert_true(last < first / 3);
    hone_param_read(w, 12, now_w);
    assert_memory_equal(old, now_w, sizeof old);
    hone_param_read(b, 4, now_b);
    assert_true(now_b[0] != 0);
    hone_tensor_free(before), hone_tensor_free(same), hone_tensor_free(x), hone_tensor_free(target);
    hone_model_release(model);
}

/* A square weight that is copied into a layout of its own: forward and backward must not take it for each other's. */
static void test_square_weights_go_both_ways(void **state)
{
    (void)state;
    enum { N = 64 };
    static float w[N * N], x[N * N], have[N * N];
    for (int i = 0; i < N * N; i++) w[i] = (float)((i * 37) % 61 - 30), x[i] = (float)(i % 7 - 3); /* exact in bf16 */
    hone_tensor *weight = hone_tensor_new(ctx, HONE_BF16, HONE_SHAPE(N, N)), *input = hone_tensor_from_f32(ctx, HONE_SHAPE(N, N), x);
    assert_hone_ok(ctx, hone_tensor_write(weight, 0, N * N, HONE_F32, w));
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *in = hone_variable(graph, input), *y = hone_linear(in, hone_variable(graph, weight), NULL), *g;
    assert_hone_ok(ctx, hone_grad(hone_sum(hone_mul(y, in), HONE_ALL_AXES, false), 1, &in, &g)); /* x W^T x^T: x (W + W^T) */
    hone__plan *plan = hone__plan_new(graph, 1, &g, HONE_F32);
    if (!plan) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone__plan_run(plan, &now));
    memcpy(have, hone__plan_output(plan, 0)->data, sizeof have);
    for (int r = 0; r < N; r++)
        for (int i = 0; i < N; i++) {
            float want = 0;
            for (int k = 0; k < N; k++) want += (w[i * N + k] + w[k * N + i]) * x[r * N + k];
            if (!(fabsf(want - have[r * N + i]) <= 1e-2f))
                fail_msg("row %d, column %d: %g, not %g", r, i, (double)have[r * N + i], (double)want);
        }
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_tensor_free(weight), hone_tensor_free(input);
}

/* ---- who owns what ------------------------------------------------------------------------------------------------ */

static void test_owners_may_go_in_any_order(void **state)
{
    (void)state;
    for (int order = 0; order < 6; order++) {
        hone_ctx *own = hone_ctx_new(.threads = 1), *saved = ctx;
        ctx = own;
        hone_graph *graph = hone_graph_new(ctx);
        hone_model *model = functional_model(graph), *second = hone_model_retain(model);
        hone_tensor *x = ramp(HONE_SHAPE(4, 4)), *y = ramp(HONE_SHAPE(4, 2));
        hone_history *history;
        assert_hone_ok(ctx, hone_compile(model, .loss = HONE_MSE));
        assert_hone_ok(ctx, hone_fit(model, x, y, &history));
        hone_tensor_free(x), hone_tensor_free(y);
        ctx = saved;
        if (order % 3 == 0) hone_ctx_release(own);
        if (order % 2) hone_graph_release(graph);
        hone_model_release(model);
        if (order % 3 == 1) hone_ctx_release(own);
        hone_model_release(second);
        if (order % 2 == 0) hone_graph_release(graph);
        if (order % 3 == 2) hone_ctx_release(own);
        hone_history_free(history);
    }
}

/* What a program like examples/iris.c does, on a context whose allocation number fail_at fails. */
static hone_status whole_program(counting *c, int way)
{
    hone_allocator allocator = {counting_alloc, counting_free, c};
    hone_ctx *saved = ctx;
    if (!(ctx = hone_ctx_new(.threads = 1, .allocator = allocator))) return ctx = saved, HONE_MEMORY;
    float v[16] = {0};
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 4), v), *y = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 2), v);
    hone_graph *graph = hone_graph_new(ctx);
    hone_model *model = NULL;
    if (way == 0) model = sequential_model();
    if (way == 1) model = functional_model(graph);
    hone_history *history = NULL;
    hone_status status = model ? hone_compile(model, .loss = HONE_MSE) : hone_ctx_status(ctx);
    if (status == HONE_OK) status = hone_fit(model, x, y, &history, .epochs = 2, .batch_size = 2, .validation_split = 0.25);
    if (status != HONE_OK) assert_true(hone_error(ctx)[0]);
    hone_history_free(history);
    hone_model_release(model);
    hone_graph_release(graph);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_ctx_release(ctx);
    ctx = saved;
    return status;
}

static void test_failing_allocations_end_in_an_error(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        counting all = {0};
        assert_int_equal(whole_program(&all, way), HONE_OK);
        assert_int_equal(all.live, 0);
        for (int64_t i = 1; i <= all.calls; i++) {
            counting c = {.fail_at = i};
            assert_int_equal(whole_program(&c, way), HONE_MEMORY);
            if (c.live) fail_msg("%s: allocation %d failed, %d leaked", way ? "functional" : "sequential", (int)i, (int)c.live);
        }
    }
}

/* 4 x 10 weights and 10 biases are 50 parameters, and 2 rows of them 80 multiply-adds. */
static void test_a_summary_counts_layers(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 10, .activation = HONE_RELU), hone_dropout_layer(ctx, 0.5),
                                                      hone_sequential(ctx, hone_dense(ctx, 3))));
    assert_hone_ok(ctx, hone_model_set_trainable(model, "0", false));
    char *text = hone_summary(model, HONE_F32, HONE_SHAPE(2, 4));
    if (!text) fail_msg("%s", hone_error(ctx));
    const char *lines[] = {"sequential                         [2, 3]                           83              140            0.4\n",
                           "\n  0 dense                          [2, 10]                          50               80            0.3\n",
                           "\n  1 dropout                        [2, 10]                           0                0            0.0\n",
                           "\n  2 sequential                     [2, 3]                           33               60            0.2\n",
                           "\n    0 dense                        [2, 3]                           33               60            0.2\n",
                           "\n83 parameters, 33 of them trained, 0.3 KB; 140 multiply-adds, 0.1 KB of values and "};
    for (size_t i = 0; i < HONE_ARRAY_LEN(lines); i++)
        if (!strstr(text, lines[i])) fail_msg("no '%s' in\n%s", lines[i], text);
    double scratch = -1; /* what kernels need depends on the CPU */
    int end = 0;
    const char *sums = strstr(text, "KB of values and ");
    assert_int_equal(sscanf(sums, "KB of values and %lf KB of scratch a run%n", &scratch, &end), 1);
    assert_true(scratch >= 0);
    assert_string_equal(sums + end, "\n");
    hone_free_text(ctx, text);
    assert_null(hone_summary(model, HONE_F32, HONE_SHAPE(2, 5)));
    assert_non_null(strstr(hone_error(ctx), "input has 5 features"));
    hone_clear_error(ctx);
    hone_model_release(model);
}

/* Weights whose rows are no multiple of 32 have padded copies in bf16, which follow the weights. */
static void test_few_rows_of_odd_length_in_bf16(void **state)
{
    (void)state;
    static const int widths[] = {16, 31, 32, 37, 100};
    for (size_t w = 0; w < HONE_ARRAY_LEN(widths); w++) {
        hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, widths[w]), hone_dense(ctx, 48)));
        for (int rows = 1; rows <= 5; rows += 2) {
            float first[5 * 48];
            hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(rows, 45));
            assert_hone_ok(ctx, hone_tensor_fill_normal(x, 0, 1, 7));
            for (int step = 0; step < 2; step++)
                for (int half = 0; half < 2; half++) {
                    hone_compile(model, .optimizer = hone_sgd(ctx), .loss = HONE_MSE, .compute = half ? HONE_BF16 : HONE_F32);
                    hone_tensor *y = hone_predict(model, x, rows);
                    if (!y) fail_msg("%s", hone_error(ctx));
                    for (int i = 0; i < rows * 48; i++) {
                        if (!half) first[i] = at(y, i);
                        else assert_true(fabsf(at(y, i) - first[i]) <= 0.03f * (1 + fabsf(first[i])));
                    }
                    if (half && !step) { /* the plan stays, the weights don't */
                        hone_tensor *zeros = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(rows, 48)), *z;
                        assert_hone_ok(ctx, hone_train_on_batch(model, x, zeros, NULL, NULL));
                        assert_non_null(z = hone_predict(model, x, rows));
                        assert_memory_not_equal(hone_tensor_data(z), hone_tensor_data(y), sizeof(float) * (size_t)rows * 48);
                        hone_tensor_free(z);
                        hone_tensor_free(zeros);
                    }
                    hone_tensor_free(y);
                }
            hone_tensor_free(x);
        }
        hone_model_release(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_summary_counts_layers), TEST(test_layers_give_their_shapes),
        TEST(test_layers_compute_what_they_say),
        TEST(test_causal_attention_does_not_look_ahead),
        TEST(test_refusals_name_the_layer),
        TEST(test_layers_have_one_parent),
        TEST(test_three_ways_to_build_are_one),
        TEST(test_functional_models_take_any_batch),
        TEST(test_functional_dropout_changes_its_result_alone),
        TEST(test_functional_models_need_their_own_inputs),
        TEST(test_shared_weights_add_their_gradients),
        TEST(test_parameters_are_read_and_written),
        TEST(test_first_values_have_their_distribution),
        TEST(test_first_values_depend_on_seed_and_name),
        TEST(test_freezing_goes_by_prefix),
        TEST(test_lora_begins_as_nothing_and_learns),
        TEST(test_square_weights_go_both_ways),
        TEST(test_few_rows_of_odd_length_in_bf16),
        TEST(test_owners_may_go_in_any_order),
        TEST(test_failing_allocations_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
