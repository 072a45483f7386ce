/* Rows that end in padding: who finds their lengths, which layers keep them, and that nothing behind a row's end is read. */
#include "layer_tools.h"
#include "golden.h"

#include "hone/hone.h"

#include <stdio.h>
#include <unistd.h>

enum { ROWS = 5, TIME = 6, WORDS = 9, WIDTH = 4, CLASSES = 3 };
static hone_safetensors *golden;

static hone_tensor *golden_tensor(const char *name) { return golden_in(golden, name); }
static int open_golden(void **state)
{
    return new_ctx(state) || !(golden = hone_safetensors_open(ctx, HONE_TEST_DATA "/lengths.golden.safetensors")) ? -1 : 0;
}
static int close_golden(void **state)
{
    hone_safetensors_close(golden);
    return free_ctx(state);
}

/* ---- PyTorch's losses, step by step ---- */

static hone_layer *words(hone_ctx *owner) { return hone_embedding_layer(owner, WORDS, WIDTH, .mask_zero = true); }
static hone_layer *reader(hone_ctx *owner)
{
    return hone_sequential(owner, words(owner), hone_lstm(owner, 3, .bidirectional = true, .return_sequences = true),
                           hone_dropout_layer(owner, 0), hone_lstm(owner, 5), hone_dense(owner, CLASSES));
}
static hone_layer *encoder(hone_ctx *owner)
{
    return hone_sequential(owner, words(owner), hone_sinusoidal_positions(owner), hone_transformer_encoder(owner, 2, 2, 8),
                           hone_permute_layer(owner, HONE_AXES(2, 1)), hone_global_average_pool(owner), hone_dense(owner, CLASSES));
}
static hone_layer *tagger(hone_ctx *owner)
{
    return hone_sequential(owner, hone_masking(owner, -1), hone_gru(owner, 5, .return_sequences = true), hone_dense(owner, CLASSES));
}
static hone_layer *turned_tagger(hone_ctx *owner)
{
    return hone_sequential(owner, hone_masking(owner, -1), hone_gru(owner, 5, .return_sequences = true), hone_dense(owner, CLASSES),
                           hone_permute_layer(owner, HONE_AXES(2, 1)));
}
static const struct network {
    const char *name, *x, *y;
    hone_layer *(*make)(hone_ctx *owner);
    double rate;
} networks[] = {{"reader", "ids", "classes", reader, 0.5}, {"encoder", "ids", "classes", encoder, 0.5}, {"tagger", "values", "tags", tagger, 0.1}};
enum { NETWORKS = sizeof networks / sizeof networks[0] };

static hone_model *golden_model(const struct network *net, const hone_tensor *x)
{
    hone_model *model = hone_model_of(net->make(ctx));
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS,
                                     .optimizer = hone_sgd(ctx, .learning_rate = net->rate)));
    assert_hone_ok(ctx, hone_model_build_for(model, hone_tensor_dtype(x), hone_tensor_shape(x)));
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        hone_param *param = hone_model_param(model, i);
        char name[96];
        snprintf(name, sizeof name, "%s.%s", net->name, hone_param_name(param));
        hone_tensor *value = golden_tensor(name);
        assert_true(hone_shape_equal(hone_tensor_shape(value), hone_param_shape(param)));
        assert_hone_ok(ctx, hone_param_write(param, hone_shape_count(hone_tensor_shape(value)), hone_tensor_data(value)));
        hone_tensor_free(value);
    }
    return model;
}

static void test_padded_rows_train_as_in_pytorch(void **state)
{
    (void)state;
    for (int k = 0; k < NETWORKS; k++) {
        char name[96];
        snprintf(name, sizeof name, "%s.losses", networks[k].name);
        hone_tensor *x = golden_tensor(networks[k].x), *y = golden_tensor(networks[k].y), *want = golden_tensor(name);
        hone_model *model = golden_model(&networks[k], x);
        for (int step = 0; step < 6; step++) {
            double loss, right;
            assert_hone_ok(ctx, hone_train_on_batch(model, x, y, &loss, &right));
            if (!(fabs(loss - hone_tensor_get(want, step)) < 2e-6)) fail_msg("%s: step %d has loss %.8f, PyTorch %.8f", networks[k].name, step, loss, hone_tensor_get(want, step));
        }
        hone_model_release(model);
        hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(want);
    }
}

/* ---- more padding changes nothing ---- */

/* The rows' positions along axis 1 and `more` of padding. */
static hone_tensor *longer(const hone_tensor *x, int64_t more, double padding)
{
    hone_shape s = hone_tensor_shape(x), to = s;
    to.dim[1] += more;
    int64_t each = hone_shape_count(s) / s.dim[0], row = hone_shape_count(to) / to.dim[0];
    hone_tensor *t = hone_tensor_new(ctx, hone_tensor_dtype(x), to);
    for (int64_t i = 0; i < s.dim[0] * row; i++) {
        double value = i % row < each ? hone_tensor_get(x, i / row * each + i % row) : padding;
        assert_hone_ok(ctx, hone_tensor_write(t, i, 1, HONE_F64, &value));
    }
    return t;
}

static hone_layer *largest(hone_ctx *owner)
{
    return hone_sequential(owner, words(owner), hone_rms_norm_layer(owner), hone_self_attention(owner, 2, .rope_theta = 1e4),
                           hone_permute_layer(owner, HONE_AXES(2, 1)), hone_spatial_dropout(owner, 0.2), hone_prelu(owner),
                           hone_global_max_pool(owner));
}
static hone_layer *deep(hone_ctx *owner)
{
    return hone_sequential(owner, words(owner), hone_learned_positions(owner, 20),
                           hone_sequential(owner, hone_dense(owner, 6, .activation = HONE_TANH), hone_glu_layer(owner, 0), hone_dense(owner, 4)),
                           hone_residual(owner, hone_rnn(owner, 4, .return_sequences = true), hone_leaky_relu_layer(owner, 0.2)),
                           hone_transformer_encoder(owner, 1, 2, 8, .pre_norm = true), hone_gru(owner, 4, .layers = 2));
}

static void test_more_padding_changes_nothing(void **state)
{
    (void)state;
    hone_layer *(*const make[])(hone_ctx * owner) = {reader, encoder, largest, deep};
    hone_tensor *x = golden_tensor("ids"), *more = longer(x, 3, 0);
    for (size_t k = 0; k < sizeof make / sizeof make[0]; k++) {
        hone_model *model = hone_model_of(make[k](ctx));
        hone_tensor *a = hone_predict(model, x, ROWS), *b = hone_predict(model, more, ROWS);
        if (!a || !b) fail_msg("%s", hone_error(ctx));
        assert_true(hone_shape_equal(hone_tensor_shape(a), hone_tensor_shape(b)));
        for (int64_t i = 0; i < hone_shape_count(hone_tensor_shape(a)); i++)
            if (!(fabsf(at(a, i) - at(b, i)) < 1e-6f)) fail_msg("network %zu, value %lld: %g, with more padding %g", k, (long long)i, (double)at(a, i), (double)at(b, i));
        hone_tensor_free(a), hone_tensor_free(b);
        hone_model_release(model);
    }
    hone_tensor_free(x), hone_tensor_free(more);
    /* a loss of positions, and the right answers among them */
    hone_tensor *values = golden_tensor("values"), *tags = golden_tensor("tags"), *more_values = longer(values, 4, -1), *more_tags = longer(tags, 4, 2);
    hone_model *model = golden_model(&networks[2], values);
    double loss[2], right[2];
    assert_hone_ok(ctx, hone_test_on_batch(model, values, tags, &loss[0], &right[0]));
    assert_hone_ok(ctx, hone_test_on_batch(model, more_values, more_tags, &loss[1], &right[1]));
    assert_true(fabs(loss[0] - loss[1]) < 1e-6 && fabs(right[0] - right[1]) < 1e-6 && right[0] > 0 && right[0] < 1);
    hone_model_release(model);
    /* with the classes on axis 1 positions are on the last one */
    const struct network turned = {"tagger", "values", "tags", turned_tagger, 0.1};
    model = golden_model(&turned, values);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .loss_options = {.axis = 1}));
    assert_hone_ok(ctx, hone_test_on_batch(model, more_values, more_tags, &loss[1], &right[1]));
    assert_true(fabs(loss[0] - loss[1]) < 1e-6 && fabs(right[0] - right[1]) < 1e-6);
    hone_model_release(model);
    hone_tensor_free(values), hone_tensor_free(tags), hone_tensor_free(more_values), hone_tensor_free(more_tags);
}

/* ---- rows of nothing ---- */

static void test_empty_rows_are_zeros_and_have_gradients(void **state)
{
    (void)state;
    hone_tensor *x = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(2, 3)), *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(2));
    memset(hone_tensor_data(x), 0, 6 * sizeof(int32_t)), memset(hone_tensor_data(y), 0, 2 * sizeof(int32_t));
    ((int32_t *)hone_tensor_data(x))[4] = 3; /* [0, 3, 0]: two positions count */
    hone_layer *(*const make[])(hone_ctx * owner) = {reader, encoder, largest, deep};
    for (size_t k = 0; k < sizeof make / sizeof make[0]; k++) {
        hone_model *model = hone_model_of(make[k](ctx));
        double loss = NAN;
        assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
        for (int step = 0; step < 2; step++) assert_hone_ok(ctx, hone_train_on_batch(model, x, y, &loss, NULL));
        assert_true(isfinite(loss));
        hone_tensor *out = hone_predict(model, x, 2);
        for (int64_t i = 0; i < WIDTH && make[k] == largest; i++) assert_true(at(out, i) == 0 && at(out, WIDTH + i) != 0);
        hone_tensor_free(out);
        hone_model_release(model);
    }
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- which layers keep them ---- */

static hone_node *same(void *user, hone_graph *graph, hone_node *const *in, int n)
{
    (void)user, (void)graph, (void)n;
    return hone_relu(in[0]);
}

/* Does what the layer makes of [2, 4, 4] with lengths along axis `time` have them, along which axis? -1: no. */
static int kept(hone_layer *layer, int time)
{
    hone_graph *graph = hone_graph_new(ctx);
    hone_model *model = hone_model_of(layer);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2, 4, 4));
    x->lengths = hone_fill(graph, HONE_I32, HONE_SHAPE(2), 3);
    x->time = time;
    hone_node *y = hone_apply(hone_model_root(model), x);
    if (!y) fail_msg("%s", hone_error(ctx));
    int axis = hone_lengths(y) ? y->time : -1;
    assert_true(axis < 0 || hone_lengths(y) == x->lengths);
    hone_graph_release(graph);
    hone_model_release(model);
    return axis;
}

static void test_layers_keep_lengths_where_positions_stay(void **state)
{
    (void)state;
    assert_int_equal(kept(hone_dense(ctx, 4), 1), 1);
    assert_int_equal(kept(hone_dense(ctx, 4), 2), -1); /* mixes positions */
    assert_int_equal(kept(hone_self_attention(ctx, 2), 2), -1);
    assert_int_equal(kept(hone_transformer_encoder_layer(ctx, 2, 8), 2), -1);
    assert_int_equal(kept(hone_lstm(ctx, 4, .return_sequences = true), 2), -1);
    assert_int_equal(kept(hone_layer_norm_layer(ctx), 1), 1);
    assert_int_equal(kept(hone_batch_norm_layer(ctx), 2), 2);
    assert_int_equal(kept(hone_activation_layer(ctx, HONE_RELU), 2), 2);
    assert_int_equal(kept(hone_activity_regularization(ctx, 0.1, 0), 1), 1);
    assert_int_equal(kept(hone_self_attention(ctx, 2), 1), 1);
    assert_int_equal(kept(hone_transformer_encoder_layer(ctx, 2, 8), 1), 1);
    assert_int_equal(kept(hone_lstm(ctx, 4, .return_sequences = true), 1), 1);
    assert_int_equal(kept(hone_lstm(ctx, 4), 1), -1);
    assert_int_equal(kept(hone_add_layer(ctx), 1), 1);
    assert_int_equal(kept(hone_permute_layer(ctx, HONE_AXES(2, 1)), 1), 2);
    assert_int_equal(kept(hone_permute_layer(ctx, HONE_AXES(2, 1)), 2), 1);
    assert_int_equal(kept(hone_sequential(ctx, hone_dropout_layer(ctx, 0.5), hone_elu_layer(ctx, 1)), 1), 1);
    assert_int_equal(kept(hone_conv1d(ctx, 4, 1), 2), -1);
    assert_int_equal(kept(hone_flatten(ctx), 1), -1);
    assert_int_equal(kept(hone_reshape_layer(ctx, HONE_SHAPE(16, 1)), 1), -1);
    assert_int_equal(kept(hone_global_average_pool(ctx), 2), -1);
    assert_int_equal(kept(hone_lambda(ctx, same, NULL), 1), -1);
    hone_layer *own = hone_lambda(ctx, same, NULL);
    own->keeps_lengths = true;
    assert_int_equal(kept(own, 1), 1);
}

/* Lengths that are given win, and a functional model passes on what its layers find, as a Sequential does; also by hand. */
static void test_functional_models_pass_lengths_too(void **state)
{
    (void)state;
    hone_tensor *x = golden_tensor("ids"), *other = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(ROWS)), *results[3];
    hone_model *sequential = golden_model(&networks[0], x);
    for (int i = 0; i < ROWS; i++) ((int32_t *)hone_tensor_data(other))[i] = TIME;
    for (int given = 0; given < 3; given++) { /* nothing, an input, what the embedding found */
        hone_graph *graph = hone_graph_new(ctx);
        hone_node *in[] = {hone_input(graph, "ids", HONE_I32, HONE_SHAPE(HONE_BATCH, TIME)), hone_input(graph, "n", HONE_I32, HONE_SHAPE(HONE_BATCH))};
        hone_node *e = hone_apply(words(ctx), in[0]);
        assert_non_null(hone_lengths(e));
        hone_node *y = hone_apply_n(hone_lstm(ctx, 3, .bidirectional = true, .return_sequences = true), 1 + (given > 0), (hone_node *[]){e, given == 1 ? in[1] : hone_lengths(e)});
        y = hone_apply(hone_dense(ctx, CLASSES), hone_apply(hone_lstm(ctx, 5), hone_apply(hone_dropout_layer(ctx, 0), y)));
        hone_model *model = hone_model_new(1 + (given == 1), in, 1, &y);
        hone_graph_release(graph);
        assert_hone_ok(ctx, hone_model_build(model));
        for (size_t i = 0; i < hone_model_param_count(model); i++) { /* in the same order */
            hone_param *from = hone_model_param(sequential, i);
            float values[256];
            int64_t count = hone_shape_count(hone_param_shape(from));
            assert_true(count <= 256);
            assert_hone_ok(ctx, hone_param_read(from, count, values));
            assert_hone_ok(ctx, hone_param_write(hone_model_param(model, i), count, values));
        }
        assert_hone_ok(ctx, hone_predict_many(model, given == 1 ? HONE_TENSORS(x, other) : HONE_TENSORS(x), ROWS, 1, &results[given]));
        hone_model_release(model);
    }
    hone_tensor *want = hone_predict(sequential, x, ROWS);
    for (int i = 0; i < CLASSES; i++) /* row 0 has its whole length, row 1 ends early */
        assert_true(at(results[0], i) == at(want, i) && at(results[0], CLASSES + i) == at(want, CLASSES + i) && at(results[1], i) == at(want, i) &&
                    at(results[1], CLASSES + i) != at(want, CLASSES + i) && at(results[2], CLASSES + i) == at(want, CLASSES + i));
    for (int k = 0; k < 3; k++) hone_tensor_free(results[k]);
    hone_tensor_free(want), hone_tensor_free(x), hone_tensor_free(other);
    hone_model_release(sequential);
}

/* Nothing on the way to a masked maximum is infinite, in f32 or bf16, or the monitor would name it; a layer's norm is its output's. */
static double norm_of_words;
static void tell(void *user, uint64_t step, size_t n, const hone_layer_norms *layers)
{
    (void)user, (void)step;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(layers[i].layer, "0")) norm_of_words = layers[i].output;
}
static void test_monitored_training_sees_no_infinity(void **state)
{
    (void)state;
    hone_tensor *x = golden_tensor("ids"), *y = golden_tensor("classes");
    for (int k = 0; k < 2; k++) {
        hone_model *model = hone_model_of(hone_sequential(ctx, words(ctx), hone_permute_layer(ctx, HONE_AXES(2, 1)), hone_global_max_pool(ctx),
                                                          hone_dense(ctx, CLASSES)));
        assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .compute = k ? HONE_BF16 : HONE_F32));
        hone_callback *monitor = hone_layer_monitor(ctx, .tell = tell);
        norm_of_words = 0;
        assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 2, HONE_CALLBACKS(monitor)));
        assert_true(norm_of_words > 0 && norm_of_words < 1); /* of values near 0.02; lengths have one of 10 */
        hone_callback_free(monitor);
        hone_model_release(model);
    }
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- saved, written as text, refused ---- */

static void test_saved_models_know_their_padding(void **state)
{
    (void)state;
    for (int k = 0; k < NETWORKS; k++) {
        hone_tensor *x = golden_tensor(networks[k].x), *more = longer(x, 2, k == 2 ? -1 : 0);
        hone_model *model = golden_model(&networks[k], x);
        char path[64];
        snprintf(path, sizeof path, "lengths-%ld.hone", (long)getpid());
        assert_hone_ok(ctx, hone_model_save(model, path));
        hone_model *loaded = hone_model_load(ctx, path);
        if (!loaded) fail_msg("%s", hone_error(ctx));
        unlink(path);
        hone_tensor *a = hone_predict(model, more, ROWS), *b = hone_predict(loaded, more, ROWS);
        for (int64_t i = 0; i < hone_shape_count(hone_tensor_shape(a)); i++) assert_true(at(a, i) == at(b, i));
        hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(x), hone_tensor_free(more);
        hone_model_release(model), hone_model_release(loaded);
    }
    hone_layer *text = hone_sequential_from_text(ctx, "embedding 9 4 mask_zero padding_index=2, masking 0.5");
    if (!text) fail_msg("%s", hone_error(ctx));
    hone_layer_free(text);
}

static void test_what_has_no_rows_is_refused(void **state)
{
    (void)state;
    refuse_as(hone_masking(ctx, NAN), HONE_SHAPE(2, 3), HONE_INVALID, "masking: the value must be a finite number");
    refuse_as(hone_masking(ctx, 0), HONE_SHAPE(2), HONE_OK, "must be [B, T, ...]");
    refuse(hone_sequential(ctx, hone_masking(ctx, 0), hone_global_average_pool(ctx)), HONE_SHAPE(2, 3, 4), "hone_permute_layer(ctx, HONE_AXES(2, 1))");
    assert_null(hone_embedding_layer(ctx, 5, 4, .mask_zero = true, .padding_index = 5));
    assert_error(HONE_INVALID, "the padding index must be in [0, 5)");
    hone_clear_error(ctx);
    hone_model *model = hone_model_of(words(ctx));
    assert_int_not_equal(hone_model_build_for(model, HONE_I32, HONE_SHAPE(2, 3, 4)), HONE_OK);
    assert_error(hone_ctx_status(ctx), "with mask_zero the ids must be [B, T], not [2, 3, 4]");
    hone_clear_error(ctx);
    assert_int_not_equal(hone_model_build_for(model, HONE_I32, HONE_SHAPE(2, 0)), HONE_OK);
    assert_error(hone_ctx_status(ctx), "lengths are of 1 to 2^24 positions, not 0");
    hone_clear_error(ctx);
    hone_model_release(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_padded_rows_train_as_in_pytorch, open_golden, close_golden),
        cmocka_unit_test_setup_teardown(test_more_padding_changes_nothing, open_golden, close_golden),
        TEST(test_empty_rows_are_zeros_and_have_gradients),
        TEST(test_layers_keep_lengths_where_positions_stay),
        cmocka_unit_test_setup_teardown(test_functional_models_pass_lengths_too, open_golden, close_golden),
        cmocka_unit_test_setup_teardown(test_monitored_training_sees_no_infinity, open_golden, close_golden),
        cmocka_unit_test_setup_teardown(test_saved_models_know_their_padding, open_golden, close_golden),
        TEST(test_what_has_no_rows_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
