/* Whole models and weights in files. */
#include "train_tools.h"

#include <jansson.h>

/* ---- training that goes on ---- */

static hone_optimizer *optimizer(hone_ctx *owner, int which)
{
    switch (which) {
    case 0: return hone_adam(owner, .learning_rate = 0.01);
    case 1: return hone_adamw(owner, .learning_rate = 0.01, .beta1 = HONE_ZERO, .eight_bit = true);
    case 2: return hone_sgd(owner, .momentum = 0.9, .nesterov = true, .weight_decay = 1e-3);
    default: return hone_sgd(owner);
    }
}

/* If anything of the model, its optimizer or the order of rows were lost, the bits would differ. */
static void test_a_loaded_model_trains_on_as_if_it_had_never_stopped(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++) {
        float want[64], got[64];
        hone_tensor *x, *y;
        make_points(ctx, &x, &y);
        hone_model *model = new_classifier(ctx, optimizer(ctx, which));
        assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 5, .batch_size = 16));
        assert_int_equal(read_params(model, want), 51); /* 2 x 8 + 8 + 8 x 3 + 3 */
        hone_model_release(model);

        model = new_classifier(ctx, optimizer(ctx, which));
        assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 2, .batch_size = 16));
        double rate = hone_optimizer_learning_rate(hone_model_optimizer(model));
        assert_hone_ok(ctx, hone_model_save(model, scratch("model.safetensors")));
        hone_model_release(model);
        hone_tensor_free(x), hone_tensor_free(y);

        hone_ctx *other = hone_ctx_new(.threads = 2);
        make_points(other, &x, &y);
        model = hone_model_load(other, scratch("model.safetensors"));
        if (!model) fail_msg("%s", hone_error(other));
        assert_true(hone_optimizer_learning_rate(hone_model_optimizer(model)) == rate);
        assert_int_equal(hone_optimizer_steps(hone_model_optimizer(model)), 12);
        assert_hone_ok(other, hone_fit(model, x, y, NULL, .epochs = 3, .batch_size = 16));
        assert_int_equal(read_params(model, got), 51);
        assert_memory_equal(want, got, sizeof want[0] * 51);
        hone_model_release(model);
        hone_tensor_free(x), hone_tensor_free(y);
        hone_ctx_release(other);
    }
}

static bool two_epochs(void *user, hone_model *model, size_t epoch, const hone_epoch *result)
{
    (void)user, (void)model, (void)result;
    return epoch < 1;
}

/* Epochs are numbered on, and the learning rate stands where it would. */
static void test_an_initial_epoch_goes_on_with_the_schedule(void **state)
{
    (void)state;
    float want[64], got[64];
    hone_tensor *x, *y;
    hone_history *history;
    make_points(ctx, &x, &y);
    const hone_schedule falling = {.kind = HONE_SCHEDULE_COSINE};
    for (int parts = 0; parts < 2; parts++) {
        hone_model *model = new_classifier(ctx, optimizer(ctx, 0));
        if (parts) {
            assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 5, .schedule = &falling, .on_epoch = two_epochs));
            assert_hone_ok(ctx, hone_model_save(model, scratch("two.safetensors")));
            hone_model_release(model);
            model = hone_model_load(ctx, scratch("two.safetensors"));
        }
        assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 5, .initial_epoch = parts ? 2 : 0, .schedule = &falling));
        assert_int_equal(history->n_epochs, parts ? 3 : 5);
        hone_history_free(history);
        read_params(model, parts ? got : want);
        if (parts) {
            assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 5, .initial_epoch = 7));
            assert_int_equal(history->n_epochs, 0);
            hone_history_free(history);
            assert_int_equal(hone_fit(model, x, y, NULL, .initial_epoch = -1), HONE_INVALID);
        }
        hone_model_release(model);
    }
    assert_memory_equal(want, got, sizeof want[0] * 51);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* Running statistics, a loss's options and metrics are part of the model as well. */
static hone_model *with_statistics(hone_ctx *owner)
{
    hone_model *model = hone_model_of(hone_sequential(owner, hone_dense(owner, 8), hone_batch_norm_layer(owner), hone_prelu(owner),
                                                      hone_dense(owner, 3)));
    assert_hone_ok(owner, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .metrics = "precision, f_beta(beta=2, average=macro, name=f2)",
                                       .weighted_metrics = "recall(average=macro)",
                                       .loss_options = {.label_smoothing = 0.1, .ignore_index = 2}));
    return model;
}
static void test_statistics_options_and_metrics_are_kept(void **state)
{
    (void)state;
    float want[128], got[128];
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = with_statistics(ctx);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 3));
    int64_t n = read_params(model, want);
    hone_model_release(model);
    model = with_statistics(ctx);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 1));
    assert_hone_ok(ctx, hone_model_save(model, scratch("statistics.safetensors")));
    hone_model_release(model);
    model = hone_model_load(ctx, scratch("statistics.safetensors"));
    if (!model) fail_msg("%s", hone_error(ctx));
    hone_history *history;
    assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 2));
    assert_int_equal(history->n_metrics, 3);
    assert_string_equal(history->metric_names[1], "f2");
    const hone__compiled *c = model->train;
    assert_true(c->metrics[1].metric->o.beta == 2 && c->metrics[1].metric->o.average == HONE_AVERAGE_MACRO);
    assert_true(!c->metrics[1].weighted && c->metrics[2].weighted && c->n_weighted == 1);
    assert_string_equal(history->metric_names[2], "recall");
    hone_history_free(history);
    assert_int_equal(read_params(model, got), n);
    assert_memory_equal(want, got, (size_t)n * sizeof *got);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_what_is_frozen_stays_frozen(void **state)
{
    (void)state;
    float before[64], after[64];
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = new_classifier(ctx, NULL);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 1));
    assert_hone_ok(ctx, hone_model_set_trainable(model, "0", false));
    assert_hone_ok(ctx, hone_model_save(model, scratch("frozen.safetensors")));
    hone_model_release(model);
    model = hone_model_load(ctx, scratch("frozen.safetensors"));
    assert_non_null(model);
    assert_false(hone_param_trainable(hone_model_find_param(model, "0.bias")));
    read_params(model, before);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 1));
    read_params(model, after);
    assert_memory_equal(before, after, 24 * sizeof(float));
    assert_memory_not_equal(before + 24, after + 24, 27 * sizeof(float));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- every kind of layer ---- */

static const char *const kinds[] = {
#define HONE_LAYER(name) #name,
#include "nn/layers.def"
#undef HONE_LAYER
};
static bool seen[HONE_ARRAY_LEN(kinds)]; /* made again by some test */

static void record_root(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)graph;
    hone_layer *root = hone_model_root(user);
    out[0] = hone_apply_n(root, hone__is_functional(root) ? ((hone__functional *)(void *)root)->n_inputs : 1, in);
}

/* The model's output for whole inputs. */
static hone_tensor *run_model(hone_model *model, int n, hone_tensor *const *in)
{
    hone_function *f = hone__model_function(model, n, 1, record_root, HONE_F32);
    if (hone_function_call(f, in) != HONE_OK) fail_msg("%s", hone_error(ctx));
    const hone_tensor *y = hone_function_output(f, 0);
    hone_tensor *copy = hone_tensor_from_f32(ctx, y->shape, y->data);
    hone_function_free(f);
    return copy;
}

/* The loaded model says the same of its layers, and computes the same bits. */
static void check_model(hone_model *model, int n, hone_tensor *const *in, const char *part)
{
    if (!model) fail_msg("%s", hone_error(ctx));
    hone_tensor *want = run_model(model, n, in);
    assert_hone_ok(ctx, hone_model_save(model, scratch("kinds.safetensors")));
    hone_set_seed(ctx, 99); /* first values would be others */
    hone_model *loaded = hone_model_load(ctx, scratch("kinds.safetensors"));
    if (!loaded) fail_msg("%s", hone_error(ctx));
    hone_set_seed(ctx, 0);
    hone_tensor *got = run_model(loaded, n, in);
    assert_int_equal(hone_tensor_bytes(want), hone_tensor_bytes(got));
    assert_memory_equal(hone_tensor_data(want), hone_tensor_data(got), hone_tensor_bytes(got));
    json_t *a = hone__layer_to_json(hone_model_root(model)), *b = hone__layer_to_json(hone_model_root(loaded));
    assert_true(a && json_equal(a, b));
    char *text = json_dumps(a, JSON_COMPACT);
    if (!strstr(text, part)) fail_msg("'%s' lacks '%s'", text, part);
    for (size_t i = 0; i < HONE_ARRAY_LEN(kinds); i++) {
        char type[64];
        snprintf(type, sizeof type, "\"type\":\"%s\"", kinds[i]);
        seen[i] |= strstr(text, type) != NULL;
    }
    free(text);
    json_decref(a), json_decref(b);
    hone_tensor_free(want), hone_tensor_free(got);
    hone_model_release(model);
    hone_model_release(loaded);
}

static void check_same(hone_layer *root, hone_tensor *x, const char *part) { check_model(hone_model_of(root), 1, &x, part); }

static hone_tensor *random_tensor(hone_shape shape)
{
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, shape);
    for (int64_t i = 0; i < hone_shape_count(shape); i++) ((float *)t->data)[i] = hone__random_normal(3, (uint64_t)i);
    return t;
}

static void test_each_kind_of_layer_is_made_again(void **state)
{
    (void)state;
    hone_tensor *image = random_tensor(HONE_SHAPE(4, 2, 12, 12)), *line = random_tensor(HONE_SHAPE(4, 2, 16)),
                *volume = random_tensor(HONE_SHAPE(4, 1, 6, 6, 6));
    check_same(hone_sequential(ctx,
                               hone_conv2d(ctx, 4, 3, .kernel = {0, 5}, .stride = {1, 2}, .padding = HONE_SAME, .groups = 2, .activation = HONE_RELU,
                                           .initializer = HONE_INIT_HE_NORMAL, .bias_initializer = HONE_INIT_CONSTANT),
                               hone_max_pool2d(ctx, 3, .stride = {2}, .pad_before = {1, 1}, .ceil_mode = true), hone_activation_layer(ctx, HONE_LEAKY_RELU),
                               hone_average_pool2d(ctx, 2, .padding = HONE_SAME, .exclude_padding = true),
                               hone_conv2d(ctx, 3, 3, .dilation = {2}, .pad_before = {2, 2}, .pad_after = {2, 2}, .no_bias = true),
                               hone_batch_norm_layer(ctx, .momentum = HONE_ZERO), hone_group_norm_layer(ctx, 3), hone_instance_norm_layer(ctx),
                               hone_conv_transpose2d(ctx, 2, 3, .stride = {2}, .output_padding = {1, 1}, .pad_before = {1, 1}),
                               hone_prelu(ctx), hone_spatial_dropout(ctx, 0.5), hone_flatten(ctx), hone_dense(ctx, 3, .no_bias = true, .initializer = HONE_INIT_TORCH_LINEAR)),
               image, "\"kernels\":[0,5,0],\"stride\":[1,2,0]");
    check_same(hone_sequential(ctx, hone_depthwise_conv2d(ctx, 3, .depth_multiplier = 2, .no_bias = true),
                               hone_separable_conv2d(ctx, 3, 3, .padding = HONE_SAME, .activation = HONE_RELU), hone_upsampling(ctx, HONE_SHAPE(2, 3), true),
                               hone_adaptive_max_pool(ctx, HONE_SHAPE(7, 5)), hone_adaptive_average_pool(ctx, HONE_SHAPE(3)),
                               hone_resize_layer(ctx, .size = HONE_SHAPE(5), .mode = HONE_RESIZE_AREA),
                               hone_resize_layer(ctx, .scale = {1.5, 2.25}, .mode = HONE_RESIZE_CUBIC, .align_corners = true),
                               hone_upsampling(ctx, HONE_SHAPE(2), false)),
               image,
               "{\"type\":\"resize\",\"options\":{\"scale\":1.5,\"scale1\":2.25,\"mode\":\"cubic\",\"align_corners\":true},\"name\":\"6\"}");
    check_same(hone_sequential(ctx, hone_sinusoidal_positions(ctx), hone_conv_transpose1d(ctx, 3, 4, .stride = {2}), hone_depthwise_conv1d(ctx, 3),
                               hone_separable_conv1d(ctx, 4, 3), hone_concatenate_layer(ctx, 1), hone_add_layer(ctx), hone_multiply_layer(ctx), hone_average_layer(ctx),
                               hone_maximum_layer(ctx), hone_minimum_layer(ctx), hone_leaky_relu_layer(ctx, 0.3), hone_elu_layer(ctx, HONE_ZERO), hone_glu_layer(ctx, 1),
                               hone_activation_layer(ctx, HONE_HARD_TANH, .a = HONE_ZERO, .b = 0.75), hone_activation_layer(ctx, HONE_RRELU),
                               hone_residual(ctx, hone_activity_regularization(ctx, 0.5, 0), hone_activation_layer(ctx, HONE_HARD_SHRINK))),
               line, "{\"type\":\"concatenate\",\"options\":{\"axis\":1}");
    check_same(hone_sequential(ctx, hone_flatten(ctx), hone_rnn_cell(ctx, 5), hone_gru_cell(ctx, 4), hone_lstm_cell(ctx, 3)), line, "gru_cell");
    check_same(hone_sequential(ctx, hone_sequential(ctx, hone_conv1d(ctx, 3, 3), hone_max_pool1d(ctx, 2, .dilation = {2})), hone_average_pool1d(ctx, 2),
                               hone_global_max_pool(ctx)),
               line, "\"children\":[{\"type\":\"sequential\"");
    check_same(hone_sequential(ctx, hone_conv3d(ctx, 2, 3, .padding = HONE_SAME), hone_conv_transpose3d(ctx, 3, 2), hone_max_pool3d(ctx, 2), hone_average_pool3d(ctx, 2),
                               hone_global_average_pool(ctx)),
               volume, "conv3d");
    int32_t ids[] = {0, 1, 2, 3, 4, 0, 2, 1};
    hone_tensor *tokens = hone_tensor_from_i32(ctx, HONE_SHAPE(2, 4), ids);
    hone_layer *block = hone_sequential(ctx, hone_layer_norm_layer(ctx, .epsilon = 1e-3, .axes = 2),
                                        hone_self_attention(ctx, 4, .kv_heads = 2, .causal = true, .rope_theta = 1000, .dropout = 0.1),
                                        hone_multi_head_attention(ctx, 2, .head_size = 3, .no_bias = true), hone_rms_norm_layer(ctx), hone_dropout_layer(ctx, 0.25));
    hone_layer_set_checkpointing(block, true);
    check_same(hone_sequential(ctx, hone_embedding_layer(ctx, 5, 8, .padding = true, .padding_index = 2), hone_masking(ctx, 0.5), block,
                               hone_lstm(ctx, 4, .layers = 2, .bidirectional = true, .return_sequences = true, .bias_initializer = HONE_INIT_UNIT_FORGET),
                               hone_gru(ctx, 3, .no_bias = true, .return_sequences = true),
                               hone_rnn(ctx, 3, .activation = HONE_RELU, .recurrent_initializer = HONE_INIT_HE_NORMAL), hone_dense(ctx, 5)), tokens, "\"checkpointing\":true");
    /* what makes its children itself, and has something in them that its options do not say */
    hone_layer *encoder = hone_transformer_encoder(ctx, 2, 2, 12, .pre_norm = true, .dropout = 0.25, .swiglu = true, .epsilon = 1e-3, .causal = true,
                                                   .no_bias = true, .rope_theta = 100);
    hone_layer *first = encoder->children[0]->children[0], *second = hone_transformer_encoder_layer(ctx, 4, 6, .activation = HONE_GELU, .kv_heads = 2);
    hone_layer_set_checkpointing(first->children[0], true);
    hone_layer_initialize(first->children[0], "bias", HONE_INIT_ONES);
    check_same(hone_sequential(ctx, hone_embedding_layer(ctx, 5, 8), hone_learned_positions(ctx, 6, .initializer = HONE_INIT_UNIFORM), encoder, second,
                               hone_permute_layer(ctx, HONE_AXES(2, 1)), hone_zero_padding(ctx, HONE_SHAPE(0), HONE_SHAPE(3)),
                               hone_cropping(ctx, HONE_SHAPE(1), HONE_SHAPE(1)), hone_reshape_layer(ctx, HONE_SHAPE(5, 8))), tokens,
               "{\"type\":\"multi_head_attention\",\"options\":{\"heads\":2,\"causal\":true,\"no_bias\":true,\"rope_theta\":100.0,\"dropout\":0.25},"
               "\"name\":\"self_attn\",\"checkpointing\":true,\"initialize\":[{\"name\":\"bias\",");
    hone_tensor_free(image), hone_tensor_free(line), hone_tensor_free(volume), hone_tensor_free(tokens);
}

/* Several inputs, a layer that is shared, one with inputs left out, and ops between them: also with the batch in a shape. */
static void test_functional_models_are_made_again(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *ids = hone_input(graph, "ids", HONE_I32, HONE_SHAPE(HONE_BATCH, 4)), *v = hone_input(graph, "v", HONE_F32, HONE_SHAPE(HONE_BATCH, 8));
    hone_node *embedded = hone_apply(hone_embedding_layer(ctx, 5, 8), ids);
    hone_layer *shared = hone_dense(ctx, 8, .activation = HONE_TANH);
    hone_node *a = hone_apply(shared, embedded), *b = hone_apply(shared, hone_reshape(v, HONE_SHAPE(HONE_BATCH, 1, 8)));
    hone_node *sum = hone_apply_n(hone_add_layer(ctx), 2, (hone_node *[]){hone_apply(hone_dropout_layer(ctx, 0.5), a), embedded});
    hone_node *mask = hone_where(hone_greater(hone_cast(ids, HONE_F32), hone_fill(graph, HONE_F32, HONE_SCALAR, 0)),
                                 hone_fill(graph, HONE_F32, HONE_SCALAR, 0), hone_fill(graph, HONE_F32, HONE_SCALAR, -INFINITY));
    hone_node *seen_by = hone_apply_n(hone_multi_head_attention(ctx, 2), 4,
                                      (hone_node *[]){b, sum, NULL, hone_reshape(mask, HONE_SHAPE(HONE_BATCH, 1, 1, 4))});
    hone_node *even = hone_reshape(hone_slice(sum, 1, 0, HONE_END, 2), HONE_SHAPE(HONE_BATCH * 2, 8));
    hone_node *parts[] = {hone_reshape(seen_by, HONE_SHAPE(HONE_BATCH, -1)), hone_reshape(hone_softmax(even), HONE_SHAPE(HONE_BATCH, 16))};
    hone_node *c = hone_concatenate(2, parts, 1);
    hone_node *m = hone_apply_n(hone_multiply_layer(ctx), 2, (hone_node *[]){c, hone_leaky_relu(c, 0.1)});
    m = hone_apply_n(hone_concatenate_layer(ctx, -1), 2, (hone_node *[]){m, hone_sub(m, hone_mean(m, HONE_AXES(1), true))});
    hone_node *near = hone_apply_n(hone_dot_layer(ctx, HONE_AXES(2, 2), true), 2, (hone_node *[]){a, sum});
    near = hone_apply(hone_flatten(ctx), hone_apply_n(hone_subtract_layer(ctx), 2, (hone_node *[]){near, near}));
    m = hone_apply_n(hone_concatenate_layer(ctx, -1), 2, (hone_node *[]){m, near});
    hone_node *y = hone_apply(hone_dense(ctx, 3), m);
    hone_node *inputs[] = {ids, v};
    hone_model *model = hone_model_new(2, inputs, 1, &y);
    hone_graph_release(graph);
    if (!model) fail_msg("%s", hone_error(ctx));
    /* before it has weights: its graph alone */
    assert_hone_ok(ctx, hone_model_save(model, scratch("bare.safetensors")));
    hone_model *bare = hone_model_load(ctx, scratch("bare.safetensors"));
    if (!bare) fail_msg("%s", hone_error(ctx));
    hone_tensor *in[] = {hone_tensor_from_i32(ctx, HONE_SHAPE(3, 4), (int32_t[]){0, 1, 2, 3, 4, 0, 2, 1, 1, 1, 0, 3}), random_tensor(HONE_SHAPE(3, 8))};
    hone_tensor *want = run_model(model, 2, in), *got = run_model(bare, 2, in);
    assert_memory_equal(want->data, got->data, hone_tensor_bytes(want));
    hone_tensor_free(want), hone_tensor_free(got);
    hone_model_release(bare);
    check_model(model, 2, in, "\"layer\":\"multi_head_attention\",\"in\":[");
    hone_tensor_free(in[0]), hone_tensor_free(in[1]);

    /* relu of a layer's norm, which is one op where no layer ends in between, and a layer in a mode of its own */
    graph = hone_graph_new(ctx);
    hone_node *picture = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 2, 5, 5));
    hone_node *h = hone_relu(hone_apply(hone_group_norm_layer(ctx, 2), hone_apply(hone_conv2d(ctx, 4, 3, .padding = HONE_SAME), picture)));
    h = hone_relu(hone_add(h, hone_apply_mode(hone_batch_norm_layer(ctx), hone_apply(hone_conv2d(ctx, 4, 3, .padding = HONE_SAME), h), HONE_TRAIN)));
    y = hone_apply(hone_global_average_pool(ctx), h);
    model = hone_model_new(1, &picture, 1, &y);
    hone_graph_release(graph);
    hone_tensor *pictures = random_tensor(HONE_SHAPE(3, 2, 5, 5));
    check_model(model, 1, &pictures, "\"train\":true");
    hone_tensor_free(pictures);

    graph = hone_graph_new(ctx);
    hone_node *xs[] = {hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 3, 8)), hone_input(graph, "memory", HONE_F32, HONE_SHAPE(HONE_BATCH, 5, 8))};
    y = hone_apply_n(hone_transformer_decoder(ctx, 2, 2, 12), 2, xs);
    y = hone_apply_n(hone_transformer_decoder_layer(ctx, 2, 12, .pre_norm = true), 2, (hone_node *[]){y, xs[1]});
    model = hone_model_new(2, xs, 1, &y);
    hone_graph_release(graph);
    hone_tensor *sequences[] = {random_tensor(HONE_SHAPE(2, 3, 8)), random_tensor(HONE_SHAPE(2, 5, 8))};
    check_model(model, 2, sequences, "\"steps\":[{\"layer\":\"transformer_decoder\",\"in\":[0,1]}");
    hone_tensor_free(sequences[0]), hone_tensor_free(sequences[1]);
}

/* Every layer that the header declares is in layers.def, but a user's function; and the tests above make each of them again. */
static void test_no_layer_is_forgotten(void **state)
{
    (void)state;
    FILE *header = fopen(HONE_SOURCE_DIR "/include/hone/nn.h", "r");
    assert_non_null(header);
    static const char *const others[] = {"layer_new", "layer_add", "model_root", "lambda", "sequential_from_text"};
    char line[256], name[128];
    int layers = 0;
    while (fgets(line, sizeof line, header)) {
        if (sscanf(line, "HONE_API hone_layer *hone_%127[a-z0-9_](", name) != 1) continue;
        char *end = strstr(name, "_opt");
        if (end) *end = '\0';
        bool found = false;
        for (size_t i = 0; i < HONE_ARRAY_LEN(others); i++) found |= !strcmp(name, others[i]);
        for (size_t i = 0; i < HONE_ARRAY_LEN(kinds); i++) {
            size_t n = strlen(kinds[i]);
            found |= !strncmp(name, kinds[i], n) && (!name[n] || !strcmp(name + n, "_layer") || !strcmp(name + n, "_n"));
        }
        if (!found) fail_msg("hone_%s is not in layers.def", name);
        layers++;
    }
    fclose(header);
    assert_true(layers > 55);
    for (size_t i = 0; i < HONE_ARRAY_LEN(kinds); i++)
        if (!seen[i]) fail_msg("no test makes a layer '%s' again", kinds[i]);
}

/* A model that has not run has no weights that its file could keep: how they begin is all there is. */
static void test_how_parameters_begin_is_kept(void **state)
{
    (void)state;
    float want[64], got[64];
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4, .bias_initializer = HONE_INIT_ONES), hone_dense(ctx, 3)));
    hone_layer *root = hone_model_root(model);
    hone_layer_initialize(root, "weight", HONE_INIT_ORTHOGONAL, .value = -0.5);
    hone_layer_initialize(root, "1.weight", HONE_INIT_VARIANCE_SCALING, .fan = HONE_FAN_OUT, .distribution = HONE_DISTRIBUTE_UNIFORM);
    hone_layer_initialize(root->children[1], "bias", HONE_INIT_UNIFORM, .value = HONE_ZERO);
    assert_hone_ok(ctx, hone_layer_initialize(root->children[1], "bias", HONE_INIT_CONSTANT, .value = 0.1));
    assert_hone_ok(ctx, hone_model_save(model, scratch("begin.safetensors")));
    hone_model *loaded = hone_model_load(ctx, scratch("begin.safetensors"));
    if (!loaded) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone_model_build_for(model, HONE_F32, HONE_SHAPE(1, 2)));
    assert_hone_ok(ctx, hone_model_build_for(loaded, HONE_F32, HONE_SHAPE(1, 2)));
    int64_t n = read_params(model, want);
    assert_true(want[8] == 1 && want[n - 1] == 0.1f);
    assert_int_equal(read_params(loaded, got), n);
    assert_memory_equal(want, got, (size_t)n * sizeof *got);
    json_t *a = hone__layer_to_json(root), *b = hone__layer_to_json(hone_model_root(loaded));
    assert_true(a && json_equal(a, b));
    json_decref(a), json_decref(b);
    hone_model_release(loaded);
    hone_model_release(model);
}

static hone_node *own_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)self, (void)graph, (void)n;
    return in[0];
}

static hone_node *own_function(void *user, hone_graph *graph, hone_node *const *in, int n)
{
    (void)user, (void)graph, (void)n;
    return hone_tanh(in[0]);
}

static void test_what_cannot_be_made_again_is_refused_by_name(void **state)
{
    (void)state;
    hone_layer *own = hone_layer_new(ctx, sizeof *own, "dense", own_forward); /* its type lies */
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 2), own));
    assert_int_equal(hone_model_save(model, scratch("no.safetensors")), HONE_UNSUPPORTED);
    assert_non_null(strstr(hone_error(ctx), "layer '1' is a dense, which cannot be described"));
    assert_false(hone__is_file(scratch("no.safetensors")));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK); /* the model is as good as before */
    assert_int_equal(hone_model_save_weights(model, scratch("no.safetensors")), HONE_INVALID); /* it has none */
    hone_model_release(model);
    for (int kind = 0; kind < 4; kind++) {
        hone_graph *graph = hone_graph_new(ctx);
        hone_node *input = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 4)), *output = hone_apply(hone_dense(ctx, 4), input);
        hone_tensor *one = hone_tensor_from_f32(ctx, HONE_SHAPE(1), VALUES(1));
        if (kind == 0) output = hone_apply(hone_lambda(ctx, own_function, NULL), output);
        if (kind == 1) output = hone_mul(output, hone_constant(graph, one));
        if (kind == 2) output = hone_rms_norm(output, NULL, 1e-5);
        if (kind == 3) output = hone_affine(output, NAN, 0);
        static const char *const parts[] = {"layer 'lambda' is a lambda, which cannot be described", "op 'constant' between its layers cannot be described",
                                            "op 'rms_norm' between its layers cannot be described", "a number between its layers is NaN"};
        model = hone_model_new(1, &input, 1, &output);
        if (!model) fail_msg("%s", hone_error(ctx));
        assert_int_equal(hone_model_save(model, scratch("no.safetensors")), HONE_UNSUPPORTED);
        if (!strstr(hone_error(ctx), parts[kind])) fail_msg("'%s' lacks '%s'", hone_error(ctx), parts[kind]);
        hone_model_release(model);
        hone_graph_release(graph);
        hone_tensor_free(one);
    }
    model = hone_model_of(hone_dense(ctx, 2));
    assert_int_equal(hone_model_save(model, scratch("no/such/folder.safetensors")), HONE_IO);
    hone_model_release(model);
}

static hone_node *own_loss(void *user, hone_node *output, hone_node *target)
{
    (void)user;
    return hone_mean(hone_square(hone_sub(output, target)), HONE_AXES(1), false);
}

static void test_a_loss_of_ones_own_is_asked_for(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_dense(ctx, 2)); /* never ran: an architecture alone */
    assert_hone_ok(ctx, hone_compile(model, .custom_loss = own_loss));
    assert_hone_ok(ctx, hone_model_save(model, scratch("own.safetensors")));
    hone_model_release(model);
    assert_null(hone_model_load(ctx, scratch("own.safetensors")));
    assert_error(HONE_STATE, ".custom_loss");
    hone_clear_error(ctx);
    model = hone_model_load(ctx, scratch("own.safetensors"), .custom_loss = own_loss);
    assert_non_null(model);
    hone_tensor *x = random_tensor(HONE_SHAPE(4, 3)), *y = random_tensor(HONE_SHAPE(4, 2));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL));
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
}

/* ---- weights ---- */

static void test_weights_are_a_state_dict_and_say_what_does_not_fit(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4), hone_dense(ctx, 3), hone_dense(ctx, 1)));
    assert_hone_ok(ctx, hone_model_build_for(model, HONE_F32, HONE_SHAPE(1, 2)));
    assert_hone_ok(ctx, hone_model_save_weights(model, scratch("w.safetensors")));
    hone_safetensors *file = hone_safetensors_open(ctx, scratch("w.safetensors"));
    assert_int_equal(hone_safetensors_count(file), 6);
    assert_true(hone_shape_equal(hone_safetensors_find(file, "1.weight")->shape, HONE_SHAPE(3, 4)));
    hone_safetensors_close(file);
    /* into the same architecture: the same values */
    float want[64], got[64], kept[64];
    int64_t n = read_params(model, want);
    hone_set_seed(ctx, 5);
    hone_model *twin = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4), hone_dense(ctx, 3), hone_dense(ctx, 1)));
    assert_int_equal(hone_model_load_weights(twin, scratch("w.safetensors"), NULL), HONE_STATE); /* sizes are not known */
    hone_clear_error(ctx);
    assert_hone_ok(ctx, hone_model_build_for(twin, HONE_F32, HONE_SHAPE(7, 2)));
    hone_load_report *report;
    assert_hone_ok(ctx, hone_model_load_weights(twin, scratch("w.safetensors"), &report));
    assert_int_equal(report->loaded, 6);
    hone_load_report_free(report);
    assert_int_equal(read_params(twin, got), n);
    assert_memory_equal(want, got, (size_t)n * sizeof *got);
    hone_model_release(twin);
    /* into another head: refused whole, or what fits */
    twin = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4), hone_dense(ctx, 5), hone_flatten(ctx), hone_dense(ctx, 2)));
    assert_hone_ok(ctx, hone_model_build_for(twin, HONE_F32, HONE_SHAPE(1, 2)));
    n = read_params(twin, kept);
    assert_int_equal(hone_model_load_weights(twin, scratch("w.safetensors"), &report), HONE_SHAPE);
    assert_error(HONE_SHAPE, "2 missing ('3.weight', ...), 2 of another shape ('1.weight' is [5, 4] in the model, [3, 4] in the file, ...)"
                             ", 2 unexpected ('2.");
    assert_int_equal(report->n_entries, 8);
    hone_load_report_free(report);
    hone_clear_error(ctx);
    read_params(twin, got);
    assert_memory_equal(kept, got, (size_t)n * sizeof *got);
    assert_hone_ok(ctx, hone_model_load_weights(twin, scratch("w.safetensors"), &report, .partial = true));
    assert_true(report->loaded == 2 && report->missing == 2 && report->other_shape == 2 && report->unexpected == 2);
    assert_true(!strcmp(report->entries[0].name, "0.weight") && report->entries[0].outcome == HONE_LOADED);
    hone_load_report_free(report);
    read_params(twin, got);
    assert_memory_equal(want, got, 12 * sizeof *got);
    assert_memory_equal(kept + 12, got + 12, (size_t)(n - 12) * sizeof *got);
    hone_model_release(twin);
    hone_model_release(model);
}

/* ---- files that are wrong, and memory that is short ---- */

static void write_file(const char *path, const char *json)
{
    const float values[6] = {1, 2, 3, 4, 5, 6};
    hone_safetensors_writer *w = hone_safetensors_writer_new(ctx, path);
    assert_hone_ok(ctx, hone_safetensors_set_metadata(w, "hone_model", json));
    assert_hone_ok(ctx, hone_safetensors_add_tensor(w, "0.weight", HONE_F32, HONE_SHAPE(2, 3)));
    assert_hone_ok(ctx, hone_safetensors_write(w, "0.weight", values, sizeof values));
    assert_hone_ok(ctx, hone_safetensors_writer_commit(w));
}

#define DENSE(options) "{\"version\":1,\"architecture\":{\"type\":\"sequential\",\"children\":[{\"type\":\"dense\",\"name\":\"0\",\"options\":{" options "}}]}"
#define FUNCTIONAL(inputs, steps, output) "{\"version\":1,\"architecture\":{\"type\":\"functional\",\"inputs\":[" inputs "],\"steps\":[" steps "],\"output\":" output "}}"
#define INPUT "{\"dtype\":\"f32\",\"shape\":[{\"batch\":1},4]}"
#define RIGHT DENSE("\"units\":2,\"no_bias\":true") ",\"input\":{\"dtype\":\"f32\",\"shape\":[1,3]}"

static void test_wrong_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *part;
    } wrong[] = {
        {"{", "line 1"},
        {"[]", "another version"},
        {"{\"version\":2}", "another version"},
        {"{\"version\":1}", "'?': this version has no such layer"},
        {"{\"version\":1,\"architecture\":{\"type\":\"magic\"}}", "'magic': this version has no such layer"},
        {DENSE("\"unit\":2") "}", "option 'unit' is unknown"},
        {DENSE("\"units\":\"2\"") "}", "option 'units'"},
        {DENSE("\"units\":4000000000") "}", "option 'units'"},
        {DENSE("\"units\":0") "}", "units must be at least 1"},
        {DENSE("\"units\":2,\"activation\":\"magic\"") "}", "option 'activation'"},
        {DENSE("\"units\":2,\"no_bias\":1") "}", "option 'no_bias'"},
        {"{\"version\":1,\"architecture\":{\"type\":\"sequential\",\"children\":[{\"type\":\"flatten\",\"name\":\"a.b\"}]}}", "a child's name"},
        {"{\"version\":1,\"architecture\":{\"type\":\"transformer_encoder_layer\",\"options\":{\"heads\":2,\"feed_forward\":3},\"children\":["
         "{\"type\":\"dense\",\"name\":\"norm1\"}]}}", "a child is of another type"},
        {"{\"version\":1,\"architecture\":{\"type\":\"transformer_encoder\"},\"input\":{\"dtype\":\"f32\",\"shape\":[1,2,3]}}", "has no layers"},
        {"{\"version\":1,\"architecture\":{\"type\":\"permute\",\"options\":{\"order\":[1,2,3,4,5,6,7,8,9]}}}", "option 'order'"},
        {"{\"version\":1,\"architecture\":{\"type\":\"flatten\",\"initialize\":[{\"name\":\"w\",\"options\":{\"fan\":\"up\"}}]}}", "'flatten': a rule"},
        {"{\"version\":1,\"architecture\":{\"type\":\"flatten\",\"initialize\":[{\"options\":{\"initializer\":\"ones\"}}]}}", "'' cannot begin"},
        {DENSE("\"units\":2") ",\"input\":{\"dtype\":\"f32\",\"shape\":[1,3]}}", "1 missing ('0.bias')"},
        {DENSE("\"units\":16000000") ",\"input\":{\"dtype\":\"f32\",\"shape\":[1,16000000]}}", "of another shape"},
        {DENSE("\"units\":2") ",\"input\":{\"dtype\":\"f32\",\"shape\":[]}}", "input's dtype or shape"},
        {DENSE("\"units\":2") ",\"input\":{\"dtype\":\"f32\",\"shape\":[1,300000000]}}", "input's dtype or shape"},
        {DENSE("\"units\":2") ",\"input\":{\"dtype\":\"f99\",\"shape\":[1]}}", "input's dtype or shape"},
        {FUNCTIONAL("", "", "0"), "no inputs"},
        {FUNCTIONAL("{\"dtype\":\"q8_0\",\"shape\":[32]}", "", "0"), "f32, f64, i32, i64 or u8 wanted"},
        {FUNCTIONAL("{\"dtype\":\"f32\",\"shape\":[{\"batch\":0}]}", "", "0"), "input's dtype or shape"},
        {FUNCTIONAL(INPUT, "{\"layer\":\"dense\",\"in\":[0]}", "1"), "no such layer"},
        {FUNCTIONAL(INPUT, "{\"op\":\"conv\",\"in\":[0]}", "1"), "no such op"},
        {FUNCTIONAL(INPUT, "{\"op\":\"softmax\",\"in\":[1]}", "1"), "not there yet"},
        {FUNCTIONAL(INPUT, "{\"op\":\"softmax\",\"in\":[null]}", "1"), "input 0 is missing"},
        {FUNCTIONAL(INPUT, "{\"op\":\"softmax\"}", "1"), "no list of inputs"},
        {FUNCTIONAL(INPUT, "{\"op\":\"add\",\"in\":[0]}", "1"), "takes 2 to 2 inputs"},
        {FUNCTIONAL(INPUT, "{\"op\":\"unary\",\"in\":[0],\"attr\":{\"function\":\"magic\",\"a\":0,\"b\":0}}", "1"), "attribute"},
        {FUNCTIONAL(INPUT, "{\"op\":\"unary\",\"in\":[0],\"attr\":{\"function\":99,\"a\":0,\"b\":0}}", "1"), "attribute"},
        {FUNCTIONAL(INPUT, "{\"op\":\"dropout\",\"in\":[0],\"attr\":{\"rate\":\"inf\",\"stream\":0}}", "1"), "the rate must be"},
        {FUNCTIONAL(INPUT, "{\"op\":\"pad\",\"in\":[0],\"attr\":{\"before\":[0,0],\"after\":[0,1000000000000],\"between\":[0,0],\"value\":0}}", "1"), "too large"},
        {FUNCTIONAL(INPUT, "{\"op\":\"reshape\",\"in\":[0],\"attr\":{\"shape\":[7,3]}}", "1"), "cannot take the shape"},
        {FUNCTIONAL(INPUT, "", "1"), "output is none"},
        {FUNCTIONAL(INPUT, "", "0,\"outputs\":[0,1]"), "output is none"},
        {FUNCTIONAL(INPUT, "", "0,\"outputs\":[]"), "no outputs, or too many"},
        {"{\"version\":1,\"architecture\":{\"type\":\"sequential\",\"children\":[{\"type\":\"functional\",\"name\":\"f\"}]}}", "cannot be part of a layer"},
        {"{\"version\":1,\"architecture\":{\"type\":\"sinusoidal_positions\"},\"input\":{\"dtype\":\"f32\",\"shape\":[1,16000,16000]}}",
         "memory ran out"},
        {"{\"version\":1,\"architecture\":{\"type\":\"upsampling\",\"options\":{\"factors\":[16000000]}},"
         "\"input\":{\"dtype\":\"f32\",\"shape\":[1,1,16000]}}", "must have 1 to 2^24 positions"},
        {RIGHT ",\"frozen\":[\"1.weight\"]}", "frozen"},
        {RIGHT ",\"pipeline\":[]}", "wrong.safetensors: \"format\": this is no pipeline"},
        {RIGHT ",\"pipeline\":{\"format\":\"hone-pipeline\",\"version\":2}}", "\"version\""},
        {RIGHT ",\"compile\":{\"loss\":\"magic\",\"compute\":\"f32\"}}", "no such loss"},
        {RIGHT ",\"compile\":{\"loss\":\"mse\",\"compute\":\"i32\"}}", "compute dtype"},
        {RIGHT ",\"compile\":{\"outputs\":[{\"loss\":\"magic\"}],\"compute\":\"f32\"}}", "no such loss"},
        {RIGHT ",\"compile\":{\"outputs\":[{\"loss\":\"mse\"},{\"loss\":\"mse\"}],\"compute\":\"f32\"},\"optimizer\":{\"name\":\"sgd\"}}",
         "the model has 1 outputs"},
        {RIGHT ",\"compile\":{\"loss\":\"mse\",\"loss_weight\":-1,\"compute\":\"f32\"},\"optimizer\":{\"name\":\"sgd\"}}", "loss_weight is -1"},
        {RIGHT ",\"compile\":{\"loss\":\"mse\",\"compute\":\"f32\"},\"optimizer\":{\"name\":\"magic\"}}", "no optimizer 'magic'"},
        {RIGHT ",\"compile\":{\"loss\":\"mse\",\"compute\":\"f32\"},\"optimizer\":{\"name\":\"sgd\",\"learning_rate\":-1}}", "sgd: learning_rate"},
        {RIGHT ",\"compile\":{\"loss\":\"mse\",\"compute\":\"f32\"},\"optimizer\":{\"name\":\"sgd\",\"momentum\":0.9,\"steps\":1}}",
         "no tensor 'optimizer/0.weight.momentum'"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        write_file(scratch("wrong.safetensors"), wrong[i].json);
        size_t before = ctx->bytes;
        assert_null(hone_model_load(ctx, scratch("wrong.safetensors")));
        if (!strstr(hone_error(ctx), wrong[i].part)) fail_msg("%zu: '%s' lacks '%s'", i, hone_error(ctx), wrong[i].part);
        assert_int_not_equal(hone_ctx_status(ctx), HONE_OK);
        assert_int_equal(ctx->bytes, before);
        hone_clear_error(ctx);
    }
    write_file(scratch("wrong.safetensors"), RIGHT "}");
    hone_model *model = hone_model_load(ctx, scratch("wrong.safetensors"));
    assert_non_null(model);
    hone_model_release(model);
    assert_null(hone_model_load(ctx, scratch("none.safetensors")));
    assert_int_equal(hone_ctx_status(ctx), HONE_IO);
}

static void test_memory_that_runs_out_is_an_error(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = new_classifier(ctx, NULL);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 1));
    assert_hone_ok(ctx, hone_model_save(model, scratch("short.safetensors")));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
    bool whole = false;
    for (int64_t fail_at = 1; !whole; fail_at++) {
        counting c = {.fail_at = fail_at};
        hone_ctx *poor = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        if (poor) {
            model = hone_model_load(poor, scratch("short.safetensors"));
            whole = model && hone_model_save(model, scratch("again.safetensors")) == HONE_OK &&
                    hone_model_load_weights(model, scratch("again.safetensors"), NULL) == HONE_OK;
            if (!whole) assert_int_equal(hone_ctx_status(poor), HONE_MEMORY);
            hone_model_release(model);
            hone_ctx_release(poor);
        }
        assert_int_equal(c.live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_loaded_model_trains_on_as_if_it_had_never_stopped),
        TEST(test_an_initial_epoch_goes_on_with_the_schedule),
        TEST(test_statistics_options_and_metrics_are_kept),
        TEST(test_what_is_frozen_stays_frozen),
        TEST(test_each_kind_of_layer_is_made_again),
        TEST(test_functional_models_are_made_again),
        TEST(test_no_layer_is_forgotten),
        TEST(test_how_parameters_begin_is_kept),
        TEST(test_what_cannot_be_made_again_is_refused_by_name),
        TEST(test_a_loss_of_ones_own_is_asked_for),
        TEST(test_weights_are_a_state_dict_and_say_what_does_not_fit),
        TEST(test_wrong_files_are_refused),
        TEST(test_memory_that_runs_out_is_an_error),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
