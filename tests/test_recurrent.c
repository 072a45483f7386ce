/* Recurrent layers and cells: PyTorch's values and gradients, shapes, refusals, dropout, training. The op itself is tested by
   test_ops.c. */
#include "layer_tools.h"

#include "hone/io.h"
#include <math.h>
#include <stdio.h>

static hone_safetensors *golden;

static const hone_tensor_info *golden_find(const char *name, const char *part)
{
    char path[128];
    snprintf(path, sizeof path, "%s.%s", name, part);
    return hone_safetensors_find(golden, path);
}

static hone_tensor *golden_tensor(const char *name, const char *part)
{
    const hone_tensor_info *info = golden_find(name, part);
    if (!info) fail_msg("no golden %s.%s", name, part);
    return hone_tensor_from_f32(ctx, info->shape, info->data);
}

/* ---- PyTorch's values and gradients ---- */

enum { MOST_PARAMS = 16, MOST_RESULTS = 32 };
typedef struct golden_case {
    const char *name;
    hone_layer *(*make)(void);
    bool lengths;
    bool kinks; /* relu: a gradient may be another one where bf16 rounds across 0 */
    hone_model *model;
    /* what the function gives, in order */
    int n;
    char result[MOST_RESULTS][64];
} golden_case;

static void add_result(golden_case *c, hone_node **out, hone_node *node, const char *prefix, const char *name)
{
    assert_true(c->n < MOST_RESULTS);
    snprintf(c->result[c->n], sizeof c->result[0], "%s%s", prefix, name);
    out[c->n++] = node;
}

static hone_node *weighed(golden_case *c, hone_graph *graph, hone_node *y, const char *part, hone_node *loss)
{
    hone_tensor *w = golden_tensor(c->name, part);
    hone_node *term = hone_sum(hone_mul(y, hone_constant(graph, w)), HONE_ALL_AXES, false);
    hone_tensor_free(w);
    return loss ? hone_add(loss, term) : term;
}

/* in: x, h and, of an LSTM, c. out: results, then gradients. */
static void record(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    golden_case *c = user;
    hone_layer *layer = hone_model_root(c->model);
    bool lstm = golden_find(c->name, "c") != NULL;
    hone_node *h = NULL, *cell = NULL, *lengths = NULL;
    if (c->lengths) {
        hone_tensor *t = hone_tensor_from_i32(ctx, HONE_SHAPE(3), hone_safetensors_find(golden, "lengths")->data);
        lengths = hone_constant(graph, t);
        hone_tensor_free(t);
    }
    hone_node *y = hone_recurrent_apply(layer, in[0], .lengths = lengths, .h = in[1], .c = lstm ? in[2] : NULL, .h_after = &h,
                                        .c_after = &cell);
    c->n = 0;
    add_result(c, out, y, "", "y");
    add_result(c, out, h, "", "h_after");
    hone_node *loss = weighed(c, graph, h, "w_h_after", weighed(c, graph, y, "w_y", NULL));
    if (lstm) {
        add_result(c, out, cell, "", "c_after");
        loss = weighed(c, graph, cell, "w_c_after", loss);
    }
    hone_node *wrt[MOST_PARAMS + 3], *gradient[MOST_PARAMS + 3];
    const char *of[MOST_PARAMS + 3] = {"x", "h", "c"};
    int n = 0;
    for (; n < (lstm ? 3 : 2); n++) wrt[n] = in[n];
    for (size_t i = 0; i < layer->n_params; i++, n++) {
        of[n] = layer->params[i]->local;
        wrt[n] = hone_weight_of(layer, graph, of[n]);
    }
    if (hone_grad(loss, n, wrt, gradient) != HONE_OK) fail_msg("%s: %s", c->name, hone_error(ctx));
    for (int i = 0; i < n; i++) add_result(c, out, gradient[i], "d_", of[i]);
}

/* Parameters are made by the first recording: a layer's own forward, in a graph that is thrown away. */
static void take_params(golden_case *c, const hone_tensor *x)
{
    hone_graph *graph = hone_graph_new(ctx);
    assert_non_null(hone_apply(hone_model_root(c->model), hone_input(graph, "x", HONE_F32, hone_tensor_shape(x))));
    hone_graph_release(graph);
    assert_hone_ok(ctx, hone_model_build(c->model));
    for (size_t i = 0; i < hone_model_param_count(c->model); i++) {
        hone_param *param = hone_model_param(c->model, i);
        const hone_tensor_info *info = golden_find(c->name, hone_param_name(param));
        if (!info) fail_msg("PyTorch's %s has no %s", c->name, hone_param_name(param));
        assert_true(hone_shape_equal(info->shape, hone_param_shape(param)));
        assert_hone_ok(ctx, hone_param_write(param, hone_shape_count(info->shape), info->data));
    }
}

static int count_results(const golden_case *c)
{
    bool lstm = golden_find(c->name, "c") != NULL;
    return (lstm ? 6 : 4) + (int)hone_model_param_count(c->model);
}

static void compare(const golden_case *c, hone_function *function, hone_dtype compute, double tolerance)
{
    for (int i = 0; i < c->n; i++) {
        const hone_tensor_info *want = golden_find(c->name, c->result[i]);
        const hone_tensor *have = hone_function_output(function, i);
        if (!want) fail_msg("no golden %s.%s", c->name, c->result[i]);
        if (!hone_shape_equal(want->shape, hone_tensor_shape(have)))
            fail_msg("%s.%s is %s, not %s", c->name, c->result[i], HONE__SHAPE_STR(hone_tensor_shape(have)), HONE__SHAPE_STR(want->shape));
        const float *values = want->data;
        double most = 0;
        for (int64_t k = 0; k < hone_shape_count(want->shape); k++) most = fmax(most, fabs((double)values[k]));
        for (int64_t k = 0; k < hone_shape_count(want->shape); k++)
            if (!(fabs((double)at(have, k) - (double)values[k]) <= tolerance * (1 + most)))
                fail_msg("%s %s.%s[%lld] is %g, not %g", hone_dtype_name(compute), c->name, c->result[i], (long long)k,
                         (double)at(have, k), (double)values[k]);
    }
}

static hone_layer *lstm(void) { return hone_lstm(ctx, 6, .return_sequences = true); }
static hone_layer *lstm_deep(void) { return hone_lstm(ctx, 6, .return_sequences = true, .layers = 2, .bidirectional = true, .dropout = 0.4, .recurrent_dropout = 0.3); }
static hone_layer *gru(void) { return hone_gru(ctx, 6, .return_sequences = true); }
static hone_layer *gru_deep(void) { return hone_gru(ctx, 6, .return_sequences = true, .layers = 2, .bidirectional = true); }
static hone_layer *rnn(void) { return hone_rnn(ctx, 6, .return_sequences = true, .activation = HONE_RELU, .no_bias = true); }
static hone_layer *rnn_deep(void) { return hone_rnn(ctx, 6, .return_sequences = true, .layers = 2, .bidirectional = true); }
static hone_layer *lstm_cell(void) { return hone_lstm_cell(ctx, 6); }
static hone_layer *gru_cell(void) { return hone_gru_cell(ctx, 6); }
static hone_layer *rnn_cell(void) { return hone_rnn_cell(ctx, 6); }

static void test_values_and_gradients_are_pytorchs(void **state)
{
    (void)state;
    golden_case cases[] = {{.name = "lstm", .make = lstm}, {.name = "lstm_deep", .make = lstm_deep, .lengths = true},
                           {.name = "gru", .make = gru}, {.name = "gru_deep", .make = gru_deep, .lengths = true},
                           {.name = "rnn", .make = rnn, .kinks = true}, {.name = "rnn_deep", .make = rnn_deep, .lengths = true},
                           {.name = "lstm_cell", .make = lstm_cell}, {.name = "gru_cell", .make = gru_cell},
                           {.name = "rnn_cell", .make = rnn_cell}};
    golden = hone_safetensors_open(ctx, HONE_TEST_DATA "/recurrent.golden.safetensors");
    assert_non_null(golden);
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        golden_case *c = &cases[i];
        c->model = hone_model_of(c->make());
        bool has_c = golden_find(c->name, "c") != NULL;
        hone_tensor *in[3] = {golden_tensor(c->name, "x"), golden_tensor(c->name, "h"), has_c ? golden_tensor(c->name, "c") : NULL};
        take_params(c, in[0]);
        for (int bf16 = 0; bf16 < (c->kinks ? 1 : 2); bf16++) {
            hone_function *f = hone_function_new(ctx, has_c ? 3 : 2, count_results(c), record, c, .compute = bf16 ? HONE_BF16 : HONE_F32);
            hone_dtype compute = bf16 ? HONE_BF16 : HONE_F32;
            if (hone_function_call(f, in) != HONE_OK) fail_msg("%s: %s", c->name, hone_error(ctx));
            compare(c, f, compute, bf16 ? 3e-2 : 2e-6);
            hone_function_free(f);
        }
        for (int k = 0; k < 3; k++) hone_tensor_free(in[k]);
        hone_model_release(c->model);
    }
    hone_safetensors_close(golden);
}

/* ---- shapes, refusals ---- */

static void test_layers_give_their_shapes(void **state)
{
    (void)state;
    assert_shape(hone_lstm(ctx, 7), HONE_SHAPE(3, 5, 4), HONE_SHAPE(3, 7));
    assert_shape(hone_lstm(ctx, 7, .return_sequences = true), HONE_SHAPE(3, 5, 4), HONE_SHAPE(3, 5, 7));
    assert_shape(hone_gru(ctx, 7, .bidirectional = true, .layers = 3), HONE_SHAPE(3, 5, 4), HONE_SHAPE(3, 14));
    assert_shape(hone_rnn(ctx, 7, .bidirectional = true, .return_sequences = true), HONE_SHAPE(3, 5, 4), HONE_SHAPE(3, 5, 14));
    assert_shape(hone_gru_cell(ctx, 7), HONE_SHAPE(3, 4), HONE_SHAPE(3, 7));
    assert_shape(hone_sequential(ctx, hone_lstm(ctx, 7, .return_sequences = true), hone_gru(ctx, 2)), HONE_SHAPE(3, 5, 4), HONE_SHAPE(3, 2));
}

/* The output without sequences is each direction's last state: of the reverse one the one at the first step. */
static void test_the_last_output_is_that_of_each_directions_end(void **state)
{
    (void)state;
    hone_tensor *all = apply_once(hone_lstm(ctx, 2, .bidirectional = true, .return_sequences = true), HONE_SHAPE(1, 5, 4));
    hone_tensor *last = apply_once(hone_lstm(ctx, 2, .bidirectional = true), HONE_SHAPE(1, 5, 4));
    for (int i = 0; i < 2; i++) {
        assert_true(at(last, i) == at(all, 4 * 4 + i));
        assert_true(at(last, 2 + i) == at(all, 2 + i));
    }
    hone_tensor_free(all);
    hone_tensor_free(last);
}

static void test_refusals_say_what_does_not_fit(void **state)
{
    (void)state;
    hone_shape any = HONE_SHAPE(2, 3, 4);
    refuse(hone_lstm(ctx, 0), any, "lstm: units must be at least 1");
    refuse(hone_gru(ctx, 4, .layers = -1), any, "gru: layers must be 1 to 1000");
    refuse(hone_gru(ctx, 4, .dropout = 1), any, "gru: dropout must be in [0, 1)");
    refuse(hone_rnn(ctx, 4, .recurrent_dropout = -0.5), any, "rnn: recurrent_dropout must be in [0, 1)");
    refuse(hone_lstm(ctx, 4, .activation = HONE_RELU), any, "for an rnn alone");
    refuse(hone_rnn(ctx, 4, .activation = HONE_GELU), any, "HONE_TANH or HONE_RELU");
    refuse(hone_lstm_cell(ctx, 4, .bidirectional = true), any, "lstm_cell: a cell has one layer");
    refuse(hone_sequential(ctx, hone_lstm(ctx, 4)), HONE_SHAPE(2, 3), "lstm '0': the input must be [batch, time, features], not [2, 3]");
    refuse(hone_sequential(ctx, hone_gru_cell(ctx, 4)), any, "gru_cell '0': the input must be [batch, features]");
    hone_graph *graph = hone_graph_new(ctx);
    hone_model *model = hone_model_of(hone_gru(ctx, 4, .layers = 2));
    hone_node *x = hone_input(graph, "x", HONE_F32, any), *h = hone_input(graph, "h", HONE_F32, HONE_SHAPE(1, 2, 4)), *none = x;
    hone_layer *layer = hone_model_root(model);
    assert_null(hone_recurrent_apply(layer, x, .h = h));
    assert_error(HONE_SHAPE, "h must be [2, 2, 4], not [1, 2, 4]");
    hone_clear_error(ctx);
    assert_null(hone_recurrent_apply(layer, x, .h = h, .c = h, .c_after = &none));
    assert_error(HONE_INVALID, "does not take input 2");
    assert_null(none);
    hone_clear_error(ctx);
    hone_model *dense = hone_model_of(hone_dense(ctx, 4));
    assert_null(hone_recurrent_apply(hone_model_root(dense), x));
    assert_error(HONE_INVALID, "dense is no recurrent layer");
    hone_clear_error(ctx);
    hone_model_release(dense);
    hone_model_release(model);
    hone_graph_release(graph);
}

/* As Keras's LSTM begins: kernels of the state orthogonal, the forget gate's bias 1; in each layer and direction, and in cells. */
static void test_recurrent_layers_begin_as_they_are_told(void **state)
{
    (void)state;
    enum { UNITS = 3, GATES = 4 * UNITS };
    hone_layer *layers[] = {hone_lstm(ctx, UNITS, .layers = 2, .bidirectional = true, .recurrent_initializer = HONE_INIT_ORTHOGONAL,
                                      .bias_initializer = HONE_INIT_UNIT_FORGET),
                            hone_lstm_cell(ctx, UNITS, .recurrent_initializer = HONE_INIT_ORTHOGONAL, .bias_initializer = HONE_INIT_UNIT_FORGET)};
    for (int l = 0; l < 2; l++) {
        hone_model *model = hone_model_of(layers[l]);
        assert_hone_ok(ctx, hone_model_build_for(model, HONE_F32, l ? HONE_SHAPE(2, 4) : HONE_SHAPE(2, 5, 4)));
        assert_int_equal(hone_model_param_count(model), l ? 4 : 16);
        for (size_t i = 0; i < hone_model_param_count(model); i++) {
            const hone_param *p = hone_model_param(model, i);
            const char *name = hone_param_name(p);
            float v[GATES * 2 * UNITS];
            assert_hone_ok(ctx, hone_param_read(p, hone_shape_count(hone_param_shape(p)), v));
            for (int k = 0; strstr(name, "bias") && k < GATES; k++) /* gates i, f, g, o */
                assert_true(v[k] == (strstr(name, "bias_ih") && k / UNITS == 1));
            for (int k = 0; strstr(name, "weight_hh") && k < UNITS * UNITS; k++) {
                double dot = 0;
                for (int g = 0; g < GATES; g++) dot += (double)v[g * UNITS + k / UNITS] * (double)v[g * UNITS + k % UNITS];
                assert_true(fabs(dot - (k % (UNITS + 1) == 0)) < 1e-5);
            }
        }
        hone_model_release(model);
    }
    hone_model *model = hone_model_of(hone_gru(ctx, UNITS, .bias_initializer = HONE_INIT_ONES));
    assert_hone_ok(ctx, hone_model_build_for(model, HONE_F32, HONE_SHAPE(2, 5, 4)));
    float v[2][3 * UNITS];
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "bias_ih_l0"), 3 * UNITS, v[0]));
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "bias_hh_l0"), 3 * UNITS, v[1]));
    for (int k = 0; k < 3 * UNITS; k++) assert_true(v[0][k] == 1 && v[1][k] == 0);
    hone_model_release(model);
    refuse(hone_gru(ctx, 4, .bias_initializer = HONE_INIT_UNIT_FORGET), HONE_SHAPE(2, 3, 4), "gru: an LSTM alone has a forget gate");
    refuse(hone_dense(ctx, 5, .bias_initializer = HONE_INIT_UNIT_FORGET), HONE_SHAPE(2, 4), "needs an LSTM's bias [4 units], not [5]");
}

static void record_lengths(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    out[0] = hone_recurrent_apply(hone_model_root(user), in[0], .lengths = in[1]);
}

static void test_lengths_outside_the_sequence_are_an_error_of_the_run(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_lstm(ctx, 4));
    hone_function *f = hone_function_new(ctx, 2, 1, record_lengths, model);
    hone_tensor *in[2] = {ramp(HONE_SHAPE(2, 3, 4)), hone_tensor_from_i32(ctx, HONE_SHAPE(2), (int32_t[]){3, 0})};
    assert_hone_ok(ctx, hone_function_call(f, in));
    for (int i = 0; i < 4; i++) assert_true(at(hone_function_output(f, 0), 4 + i) == 0); /* no step: the state before */
    for (int i = 0; i < 2; i++) {
        ((int32_t *)hone_tensor_data(in[1]))[1] = i ? 4 : -1;
        assert_true(hone_function_call(f, in) == HONE_INVALID);
    }
    hone_tensor_free(in[0]);
    hone_tensor_free(in[1]);
    hone_function_free(f);
    hone_model_release(model);
}

/* ---- training ---- */

/* Which half of a sequence holds the larger value; dropout of every kind on the way. */
static void learn(hone_layer *layer, hone_dtype compute)
{
    enum { ROWS = 64, TIME = 6 };
    hone_model *model = hone_model_of(hone_sequential(ctx, layer, hone_dense(ctx, 2)));
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(ROWS, TIME, 1)), *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(ROWS));
    for (int r = 0; r < ROWS; r++) {
        int peak = r % TIME;
        for (int t = 0; t < TIME; t++)
            ((float *)hone_tensor_data(x))[r * TIME + t] = t == peak ? 2 : hone__random_uniform(1, (uint64_t)(r * TIME + t));
        ((int32_t *)hone_tensor_data(y))[r] = peak >= TIME / 2;
    }
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adam(ctx, .learning_rate = 0.02), .compute = compute,
                                     .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
    hone_history *history = NULL;
    assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 60, .batch_size = 32));
    double last = history->epochs[history->n_epochs - 1].loss;
    if (!(last < 0.2)) fail_msg("the loss is still %g", last);
    hone_history_free(history);
    hone_tensor_free(x);
    hone_tensor_free(y);
    hone_model_release(model);
}

static void test_layers_learn(void **state)
{
    (void)state;
    learn(hone_lstm(ctx, 16, .layers = 2, .dropout = 0.1, .recurrent_dropout = 0.1), HONE_F32);
    learn(hone_gru(ctx, 16, .bidirectional = true), HONE_BF16);
    learn(hone_rnn(ctx, 16, .recurrent_dropout = 0.1), HONE_F32);
}

static void record_training(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    out[0] = hone_apply(hone_model_root(user), in[0]);
}

/* One mask for all steps and none in evaluation: with a state's weights the unit matrix and no input, an element that is kept
   grows by the same factor at each step, and one that is not stays 0. */
static void test_dropout_on_the_state_has_one_mask_for_all_steps(void **state)
{
    (void)state;
    enum { UNITS = 8, TIME = 6 };
    hone_model *model = hone_model_of(hone_rnn(ctx, UNITS, .activation = HONE_RELU, .return_sequences = true, .recurrent_dropout = 0.5));
    hone_function *f = hone_function_new(ctx, 1, 1, record_training, model);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1, TIME, 1));
    memset(hone_tensor_data(x), 0, TIME * sizeof(float));
    assert_hone_ok(ctx, hone_function_call(f, &x));
    float eye[UNITS * UNITS] = {0}, ones[UNITS];
    for (int i = 0; i < UNITS; i++) eye[i * UNITS + i] = 1, ones[i] = 1;
    assert_hone_ok(ctx, hone_param_write(hone_model_find_param(model, "weight_hh_l0"), UNITS * UNITS, eye));
    assert_hone_ok(ctx, hone_param_write(hone_model_find_param(model, "bias_hh_l0"), UNITS, ones));
    for (int training = 0; training < 2; training++) {
        assert_hone_ok(ctx, hone_function_call(f, &x, .mode = training ? HONE_TRAIN : HONE_EVALUATE));
        int kept = 0;
        for (int u = 0; u < UNITS; u++) {
            float second = at(hone_function_output(f, 0), UNITS + u), want = 1; /* 1 + 2 h where it is kept, else 1 */
            kept += second > 1;
            for (int t = 0; t < TIME; t++) {
                assert_true(at(hone_function_output(f, 0), t * UNITS + u) == want);
                want = 1 + (second - 1) * want;
            }
        }
        assert_true(training ? kept > 0 && kept < UNITS : kept == UNITS);
    }
    hone_tensor_free(x);
    hone_function_free(f);
    hone_model_release(model);
}

/* Each number that the first layer gives the second, and none that the second gives, is dropped or scaled, anew at each step of the
   sequence and of training: both layers are the identity of numbers above 0. */
static void test_dropout_between_layers_is_of_each_number(void **state)
{
    (void)state;
    enum { UNITS = 8, TIME = 25, ROWS = 8, ALL = ROWS * TIME * UNITS };
    hone_model *model = hone_model_of(hone_rnn(ctx, UNITS, .activation = HONE_RELU, .return_sequences = true, .layers = 2, .dropout = 0.25));
    hone_function *f = hone_function_new(ctx, 1, 1, record_training, model);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(ROWS, TIME, UNITS));
    for (int i = 0; i < ALL; i++) ((float *)hone_tensor_data(x))[i] = 3;
    assert_hone_ok(ctx, hone_function_call(f, &x));
    float matrix[UNITS * UNITS];
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *p = hone_model_param(model, i);
        bool eye = strstr(hone_param_name(p), "weight_ih") != NULL;
        for (int k = 0; k < UNITS * UNITS; k++) matrix[k] = eye && k % (UNITS + 1) == 0;
        assert_hone_ok(ctx, hone_param_write(p, hone_shape_count(hone_param_shape(p)), matrix));
    }
    static float runs[3][ALL];
    for (int run = 0; run < 3; run++) { /* the same step twice, then another */
        assert_hone_ok(ctx, hone_function_call(f, &x, .mode = HONE_TRAIN, .step = run == 2));
        assert_hone_ok(ctx, hone_tensor_read(hone_function_output(f, 0), 0, ALL, HONE_F32, runs[run]));
    }
    assert_memory_equal(runs[0], runs[1], sizeof runs[0]);
    int kept = 0, other_time = 0, other_row = 0, other_step = 0;
    for (int i = 0; i < ALL; i++) {
        assert_true(runs[0][i] == 0 || runs[0][i] == 4); /* 3 / (1 - 0.25) */
        kept += runs[0][i] > 0;
        if (i / UNITS % TIME) other_time += runs[0][i] != runs[0][i - UNITS];
        if (i >= TIME * UNITS) other_row += runs[0][i] != runs[0][i - TIME * UNITS];
        other_step += runs[0][i] != runs[2][i];
    }
    assert_true(abs(kept - ALL * 3 / 4) < 70); /* four standard deviations */
    assert_true(other_time > ALL / 4 && other_row > ALL / 4 && other_step > ALL / 4);
    assert_hone_ok(ctx, hone_function_call(f, &x, .mode = HONE_EVALUATE));
    for (int i = 0; i < ALL; i++) assert_true(at(hone_function_output(f, 0), i) == 3);
    hone_tensor_free(x);
    hone_function_free(f);
    hone_model_release(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_values_and_gradients_are_pytorchs), TEST(test_layers_give_their_shapes),
                                       TEST(test_the_last_output_is_that_of_each_directions_end),
                                       TEST(test_refusals_say_what_does_not_fit), TEST(test_recurrent_layers_begin_as_they_are_told),
                                       TEST(test_lengths_outside_the_sequence_are_an_error_of_the_run), TEST(test_layers_learn),
                                       TEST(test_dropout_on_the_state_has_one_mask_for_all_steps),
                                       TEST(test_dropout_between_layers_is_of_each_number)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
