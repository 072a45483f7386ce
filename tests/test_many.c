/* Models of several inputs and outputs: compile, fit, evaluate, predict, save. */
#include "graph_tools.h"
#include "golden.h"

#include "hone/hone.h"
#include "train/train.h"

#include <math.h>

/* ---- numbers and words to a price and a kind: scripts/golden/make_many_golden.py ---- */

enum { ROWS = 32 };
static hone_safetensors *golden;
static hone_tensor *numbers, *words, *price, *kind, *weights;

static hone_tensor *golden_tensor(const char *name) { return golden_in(golden, name); }
static int open_golden(void **state)
{
    if (new_ctx(state)) return -1;
    golden = hone_safetensors_open(ctx, HONE_TEST_DATA "/many.golden.safetensors");
    if (!golden) return -1;
    numbers = golden_tensor("numbers"), words = golden_tensor("words"), price = golden_tensor("price"), kind = golden_tensor("kind");
    weights = golden_tensor("weights");
    return 0;
}
static int close_golden(void **state)
{
    hone_tensor_free(numbers), hone_tensor_free(words), hone_tensor_free(price), hone_tensor_free(kind), hone_tensor_free(weights);
    hone_safetensors_close(golden);
    return free_ctx(state);
}

static hone_model *new_model(hone_ctx *owner)
{
    hone_graph *graph = hone_graph_new(owner);
    if (!graph) return NULL;
    hone_node *in[] = {hone_input(graph, "numbers", HONE_F32, HONE_SHAPE(HONE_BATCH, 4)),
                       hone_input(graph, "words", HONE_I32, HONE_SHAPE(HONE_BATCH, 3))};
    hone_node *met[2], *out[2], *hidden;
    met[1] = hone_apply(hone_flatten(owner), hone_apply(hone_embedding_layer(owner, 7, 2), in[1]));
    met[0] = hone_apply(hone_dense(owner, 6, .activation = HONE_TANH), in[0]);
    hidden = hone_apply(hone_dense(owner, 8, .activation = HONE_TANH), hone_apply_n(hone_concatenate_layer(owner, 1), 2, met));
    out[0] = hone_apply(hone_dense(owner, 1), hidden);
    out[1] = hone_apply(hone_dense(owner, 3), hidden);
    hone_model *model = hone_model_new(2, in, 2, out);
    hone_graph_release(graph);
    return model;
}
static hone_status compile(hone_model *model)
{
    return hone_compile(model, .optimizer = hone_adam(hone_model_ctx(model), .learning_rate = 0.01),
                        HONE_OUTPUTS({.name = "price", .loss_weight = 0.7, .metrics = "mae"},
                                     {.name = "kind", .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .loss_weight = 1.3,
                                      .weighted_metrics = "log_loss"}));
}
static hone_model *golden_model(void)
{
    hone_model *model = new_model(ctx);
    if (!model) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, compile(model));
    assert_hone_ok(ctx, hone_model_build(model));
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        char name[64];
        snprintf(name, sizeof name, "first.%s", hone_param_name(hone_model_param(model, i)));
        hone_tensor *value = golden_tensor(name);
        assert_true(hone_shape_equal(hone_tensor_shape(value), hone_param_shape(hone_model_param(model, i))));
        assert_hone_ok(ctx, hone_param_write(hone_model_param(model, i), hone_shape_count(hone_tensor_shape(value)), hone_tensor_data(value)));
        hone_tensor_free(value);
    }
    return model;
}

/* The furthest that a parameter is from another model's, or from the golden last ones. */
static double furthest(hone_model *model, hone_model *other)
{
    double most = 0;
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        float is[128], want[128];
        int64_t count = hone_shape_count(hone_param_shape(hone_model_param(model, i)));
        assert_true(count <= 128);
        assert_hone_ok(ctx, hone_param_read(hone_model_param(model, i), count, is));
        if (other) {
            assert_hone_ok(ctx, hone_param_read(hone_model_param(other, i), count, want));
        } else {
            char name[64];
            snprintf(name, sizeof name, "last.%s", hone_param_name(hone_model_param(model, i)));
            hone_tensor *value = golden_tensor(name);
            assert_hone_ok(ctx, hone_tensor_read(value, 0, count, HONE_F32, want));
            hone_tensor_free(value);
        }
        for (int64_t k = 0; k < count; k++) most = fmax(most, fabs((double)(is[k] - want[k])));
    }
    return most;
}

static hone_status keep_loss(void *user, hone_fit_state *state)
{
    assert_true(state->step < 20);
    ((double *)user)[state->step] = state->loss;
    return HONE_OK;
}

static void test_losses_are_pytorchs_step_by_step(void **state)
{
    (void)state;
    for (int weighted = 0; weighted < 2; weighted++) {
        hone_model *model = golden_model();
        hone_tensor *want = golden_tensor(weighted ? "weighted_losses" : "losses");
        double losses[20];
        hone_callback keep = {.user = losses, .step_end = keep_loss};
        hone_history *history;
        assert_hone_ok(ctx, hone_fit_many(model, HONE_TENSORS(numbers, words), HONE_TENSORS(price, kind), &history, .epochs = 5,
                                          .batch_size = 8, .no_shuffle = true, .sample_weights = weighted ? weights : NULL,
                                          HONE_CALLBACKS(&keep)));
        for (int i = 0; i < 20; i++) assert_float_equal(losses[i], at(want, 3 * i), 1e-4);
        for (int e = 0; e < 5; e++) {
            double mean[3] = {0};
            for (int i = 0; i < 12; i++) mean[i % 3] += (double)at(want, 12 * e + i) / 4;
            assert_float_equal(history->epochs[e].loss, mean[0], 1e-4);
            assert_float_equal(hone_epoch_value(model, &history->epochs[e], "price_loss"), mean[1], 1e-4);
            assert_float_equal(hone_epoch_value(model, &history->epochs[e], "kind_loss"), mean[2], 1e-4);
        }
        if (!weighted) assert_true(furthest(model, NULL) < 1e-4);
        double loss, each[5];
        hone_tensors x = HONE_TENSORS(numbers, words), y = HONE_TENSORS(price, kind);
        assert_hone_ok(ctx, hone_evaluate_many(model, x, y, weighted ? weights : NULL, 9, &loss, 5, each));
        assert_true(fabs(loss - 0.7 * each[0] - 1.3 * each[1]) < 1e-6);
        hone_history_free(history);
        hone_tensor_free(want);
        hone_model_release(model);
    }
}

static void test_accumulation_is_exact(void **state)
{
    (void)state;
    hone_model *models[2];
    double price_loss[2];
    for (int i = 0; i < 2; i++) {
        hone_history *history;
        models[i] = golden_model();
        assert_hone_ok(ctx, hone_fit_many(models[i], HONE_TENSORS(numbers, words), HONE_TENSORS(price, kind), &history, .epochs = 3,
                                          .batch_size = i ? 4 : 12, .accumulate = i ? 3 : 1, .sample_weights = weights));
        price_loss[i] = hone_epoch_value(models[i], &history->epochs[2], "price_loss");
        hone_history_free(history);
    }
    assert_float_equal(price_loss[0], price_loss[1], 1e-5);
    assert_true(furthest(models[0], models[1]) < 1e-5);
    hone_model_release(models[0]), hone_model_release(models[1]);
}

/* ---- what is told ---- */

static void collect(void *user, const char *text) { strncat(user, text, 1000); }

static void test_quantities_are_named_by_output(void **state)
{
    (void)state;
    static const char *const names[] = {"price_loss", "kind_loss", "price_mae", "kind_accuracy", "kind_log_loss"};
    static char said[32000];
    hone_model *model = golden_model();
    hone_history *history;
    assert_int_equal(hone_model_metric_count(model), 5);
    for (size_t i = 0; i < 5; i++) assert_string_equal(hone_model_metric_name(model, i), names[i]);
    assert_null(hone_model_metric_name(model, 5));
    hone_callback *stop = hone_early_stopping(ctx, .monitor = "val_kind_accuracy", .patience = 50);
    assert_hone_ok(ctx, hone_fit_many(model, HONE_TENSORS(numbers, words), HONE_TENSORS(price, kind), &history, .epochs = 40,
                                      .validation_split = 0.25, .progress = true, .print = collect, .print_user = said, HONE_CALLBACKS(stop)));
    hone_callback_free(stop);
    const hone_epoch *last = &history->epochs[39];
    assert_true(isnan(last->accuracy) && isnan(last->validation_accuracy)); /* of which output? */
    assert_non_null(strstr(said, "kind_accuracy "));
    assert_non_null(strstr(said, "val_price_mae "));
    assert_true(fabs(last->loss - 0.7 * last->metrics[0] - 1.3 * last->metrics[1]) < 1e-6);
    double all = 0.7 * hone_epoch_value(model, last, "val_price_loss") + 1.3 * hone_epoch_value(model, last, "val_kind_loss");
    assert_true(fabs(last->validation_loss - all) < 1e-6);
    /* the last rows were held out: evaluated and predicted, they say the same */
    int64_t order[8];
    for (int i = 0; i < 8; i++) order[i] = 24 + i;
    hone_tensor *part[4] = {hone_take(numbers, 8, order), hone_take(words, 8, order), hone_take(price, 8, order), hone_take(kind, 8, order)};
    double loss, values[5], squares = 0, absolute = 0, right = 0;
    assert_hone_ok(ctx, hone_evaluate_many(model, HONE_TENSORS(part[0], part[1]), HONE_TENSORS(part[2], part[3]), NULL, 3, &loss, 5, values));
    assert_true(fabs(loss - last->validation_loss) < 1e-6);
    for (int i = 0; i < 5; i++) assert_true(fabs(values[i] - last->validation_metrics[i]) < 1e-6);
    hone_tensor *out[2];
    assert_hone_ok(ctx, hone_predict_many(model, HONE_TENSORS(part[0], part[1]), 5, 2, out));
    assert_true(hone_shape_equal(hone_tensor_shape(out[1]), HONE_SHAPE(8, 3)));
    for (int64_t r = 0; r < 8; r++) {
        double off = at(out[0], r) - at(part[2], r);
        int64_t best = 0;
        for (int64_t k = 1; k < 3; k++)
            if (at(out[1], 3 * r + k) > at(out[1], 3 * r + best)) best = k;
        squares += off * off / 8, absolute += fabs(off) / 8, right += best == (int64_t)hone_tensor_get(part[3], r);
    }
    assert_true(fabs(values[0] - squares) < 1e-5 && fabs(values[2] - absolute) < 1e-5 && fabs(values[3] - right / 8) < 1e-9);
    /* given apart, they are what was held out */
    hone_model *other = golden_model();
    hone_history *again;
    int64_t first[24];
    for (int i = 0; i < 24; i++) first[i] = i;
    hone_tensor *rest[4] = {hone_take(numbers, 24, first), hone_take(words, 24, first), hone_take(price, 24, first), hone_take(kind, 24, first)};
    assert_hone_ok(ctx, hone_fit_many(other, HONE_TENSORS(rest[0], rest[1]), HONE_TENSORS(rest[2], rest[3]), &again, .epochs = 40,
                                      .validation_inputs = HONE_TENSORS(part[0], part[1]), .validation_targets = HONE_TENSORS(part[2], part[3])));
    assert_true(again->epochs[39].validation_loss == last->validation_loss && again->epochs[39].loss == last->loss);
    for (int i = 0; i < 4; i++) hone_tensor_free(part[i]), hone_tensor_free(rest[i]);
    hone_tensor_free(out[0]), hone_tensor_free(out[1]);
    hone_history_free(history), hone_history_free(again);
    hone_model_release(model), hone_model_release(other);
}

static void test_an_accuracy_that_is_asked_for_stands_once(void **state)
{
    (void)state;
    hone_model *model = new_model(ctx);
    assert_hone_ok(ctx, hone_compile(model, HONE_OUTPUTS({.metrics = NULL}, {.loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS,
                                                                             .metrics = "accuracy", .weighted_metrics = "accuracy"})));
    assert_int_equal(hone_model_metric_count(model), 4);
    assert_string_equal(hone_model_metric_name(model, 0), "output_0_loss");
    assert_string_equal(hone_model_metric_name(model, 2), "output_1_accuracy");
    assert_string_equal(hone_model_metric_name(model, 3), "output_1_weighted_accuracy");
    hone_model_release(model);
}

/* A loader's batches are those of the tensors, in training, validation, evaluation and prediction. */
static void test_a_loader_gives_several_inputs_and_targets(void **state)
{
    (void)state;
    double factors[ROWS];
    for (int i = 0; i < ROWS; i++) factors[i] = hone_tensor_get(weights, i);
    hone_dataset *d = hone_dataset_from_many(ctx, HONE_TENSORS(numbers, words), HONE_TENSORS(price, kind));
    hone_loader *loader = hone_loader_new(d, .batch_size = 9, .threads = 2, .no_shuffle = true, .sample_weights = factors);
    hone_loader *held_out = hone_loader_new(d, .batch_size = 9, .no_shuffle = true);
    hone_model *models[2] = {golden_model(), golden_model()};
    hone_history *h[2];
    assert_hone_ok(ctx, hone_fit_many(models[0], HONE_TENSORS(numbers, words), HONE_TENSORS(price, kind), &h[0], .epochs = 3, .batch_size = 9,
                                      .no_shuffle = true, .sample_weights = weights, .validation_inputs = HONE_TENSORS(numbers, words),
                                      .validation_targets = HONE_TENSORS(price, kind)));
    assert_hone_ok(ctx, hone_fit_loader(models[1], loader, &h[1], .epochs = 3, .validation_loader = held_out));
    for (int e = 0; e < 3; e++) {
        assert_true(h[0]->epochs[e].loss == h[1]->epochs[e].loss && h[0]->epochs[e].validation_loss == h[1]->epochs[e].validation_loss);
        assert_memory_equal(h[0]->epochs[e].metrics, h[1]->epochs[e].metrics, 5 * sizeof(double));
    }
    double loss[2], values[2][5];
    assert_hone_ok(ctx, hone_evaluate_many(models[0], HONE_TENSORS(numbers, words), HONE_TENSORS(price, kind), weights, 9, &loss[0], 5, values[0]));
    assert_hone_ok(ctx, hone_evaluate_loader(models[1], loader, &loss[1], NULL, 5, values[1]));
    assert_true(loss[0] == loss[1]);
    assert_memory_equal(values[0], values[1], sizeof values[0]);
    hone_tensor *out[2][2];
    assert_hone_ok(ctx, hone_predict_many(models[0], HONE_TENSORS(numbers, words), 9, 2, out[0]));
    assert_hone_ok(ctx, hone_predict_loader_many(models[1], held_out, 2, out[1]));
    for (int k = 0; k < 2; k++) {
        assert_true(hone_shape_equal(hone_tensor_shape(out[0][k]), hone_tensor_shape(out[1][k])));
        assert_memory_equal(hone_tensor_data(out[0][k]), hone_tensor_data(out[1][k]), hone_tensor_bytes(out[0][k]));
        hone_tensor_free(out[0][k]), hone_tensor_free(out[1][k]);
        hone_model_release(models[k]), hone_history_free(h[k]);
    }
    /* numbers that are not the model's */
    hone_model *model = golden_model();
    hone_dataset *less = hone_dataset_from_many(ctx, HONE_TENSORS(numbers, words), HONE_TENSORS(price));
    hone_loader *wrong = hone_loader_new(less);
    assert_int_equal(hone_fit_loader(model, wrong, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "2 inputs and 2 outputs, given were 2 and 1"));
    assert_null(hone_predict_loader(model, wrong));
    assert_int_equal(hone_fit_loader(model, loader, NULL, .validation_loader = wrong), HONE_INVALID);
    assert_int_equal(hone_predict_loader_many(model, wrong, 2, out[0]), HONE_OK); /* targets are not looked at */
    hone_tensor_free(out[0][0]), hone_tensor_free(out[0][1]);
    hone_model_release(model);
    hone_loader_free(loader), hone_loader_free(held_out), hone_loader_free(wrong);
    hone_dataset_free(d), hone_dataset_free(less);
}

/* ---- in files ---- */

static void test_a_saved_model_trains_on_as_if_it_had_never_stopped(void **state)
{
    (void)state;
    hone_tensors x = HONE_TENSORS(numbers, words), y = HONE_TENSORS(price, kind);
    hone_model *whole = golden_model(), *model = golden_model();
    assert_hone_ok(ctx, hone_fit_many(whole, x, y, NULL, .epochs = 5, .batch_size = 8));
    assert_hone_ok(ctx, hone_fit_many(model, x, y, NULL, .epochs = 2, .batch_size = 8));
    assert_hone_ok(ctx, hone_model_save(model, scratch("many.safetensors")));
    hone_model_release(model);
    model = hone_model_load(ctx, scratch("many.safetensors"));
    if (!model) fail_msg("%s", hone_error(ctx));
    assert_int_equal(hone_model_output_count(model), 2);
    assert_int_equal(hone_model_metric_count(model), 5);
    assert_string_equal(hone_model_metric_name(model, 4), "kind_log_loss");
    assert_hone_ok(ctx, hone_fit_many(model, x, y, NULL, .epochs = 3, .batch_size = 8));
    assert_true(furthest(whole, model) == 0);
    hone_model_release(whole), hone_model_release(model);
}

static hone_node *absolute_error(void *user, hone_node *output, hone_node *target)
{
    (void)user;
    return hone_sum(hone_abs(hone_sub(output, target)), HONE_AXES(1), false);
}

static void test_losses_of_ones_own_are_kept_if_they_can_be_told_apart(void **state)
{
    (void)state;
    hone_model *model = new_model(ctx);
    assert_hone_ok(ctx, hone_compile(model, HONE_OUTPUTS({.custom_loss = absolute_error, .loss_weight = HONE_ZERO},
                                                         {.loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS})));
    assert_hone_ok(ctx, hone_model_save(model, scratch("own.safetensors")));
    assert_null(hone_model_load(ctx, scratch("own.safetensors")));
    assert_error(HONE_STATE, ".custom_loss");
    hone_clear_error(ctx);
    hone_model *loaded = hone_model_load(ctx, scratch("own.safetensors"), .custom_loss = absolute_error);
    if (!loaded) fail_msg("%s", hone_error(ctx));
    const hone__compiled *c = loaded->train;
    assert_true(c->outputs[0].custom_loss == absolute_error && c->outputs[0].loss_weight == 0 && c->outputs[1].loss_weight == 1);
    hone_model_release(loaded);
    assert_hone_ok(ctx, hone_compile(model, HONE_OUTPUTS({.custom_loss = absolute_error}, {.custom_loss = absolute_error})));
    assert_int_equal(hone_model_save(model, scratch("own.safetensors")), HONE_UNSUPPORTED);
    assert_non_null(strstr(hone_error(ctx), "at 2 outputs"));
    hone_model_release(model);
}

/* ---- other models of several ---- */

/* One input that is an output too, one output twice; hone_summary counts what lies on the way to any. */
static void test_outputs_may_be_inputs_or_the_same(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 4)), *y = hone_apply(hone_dense(ctx, 5), x);
    hone_node *z = hone_apply(hone_dense(ctx, 2), y);
    hone_model *model = hone_model_new(1, &x, 4, (hone_node *[]){y, x, y, z});
    hone_graph_release(graph);
    hone_tensor *out[4];
    assert_hone_ok(ctx, hone_predict_many(model, HONE_TENSORS(numbers), 10, 4, out));
    assert_memory_equal(hone_tensor_data(out[1]), hone_tensor_data(numbers), ROWS * 4 * sizeof(float));
    assert_memory_equal(hone_tensor_data(out[0]), hone_tensor_data(out[2]), ROWS * 5 * sizeof(float));
    assert_true(hone_shape_equal(hone_tensor_shape(out[3]), HONE_SHAPE(ROWS, 2)));
    for (int i = 0; i < 4; i++) hone_tensor_free(out[i]);
    assert_hone_ok(ctx, hone_model_save(model, scratch("same.safetensors")));
    hone_model *loaded = hone_model_load(ctx, scratch("same.safetensors"));
    assert_true(loaded && hone_model_output_count(loaded) == 4);
    char *text = hone_summary(loaded, HONE_F32, HONE_SHAPE(1, 4));
    if (!text) fail_msg("%s", hone_error(ctx));
    assert_non_null(strstr(text, "37 parameters, 37 of them trained"));
    assert_non_null(strstr(text, "; 30 multiply-adds"));
    hone_free_text(ctx, text);
    hone_model_release(model), hone_model_release(loaded);
    model = golden_model();
    text = hone_summary(model, HONE_F32, HONE_SHAPE(2));
    if (!text) fail_msg("%s", hone_error(ctx));
    assert_non_null(strstr(text, "[2, 12]")); /* where the inputs have met */
    hone_free_text(ctx, text);
    hone_model_release(model);
}

/* An embedding and an LSTM that is told how long the rows are: what stands behind a row's end has no part in it. */
static hone_model *reader(void)
{
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *in[] = {hone_input(graph, "ids", HONE_I32, HONE_SHAPE(HONE_BATCH, 3)), hone_input(graph, "lengths", HONE_I32, HONE_SHAPE(HONE_BATCH))};
    hone_node *read = hone_apply_n(hone_lstm(ctx, 5), 2, (hone_node *[]){hone_apply(hone_embedding_layer(ctx, 7, 4), in[0]), in[1]});
    hone_node *out = hone_apply(hone_dense(ctx, 3), read);
    hone_model *model = hone_model_new(2, in, 1, &out);
    hone_graph_release(graph);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
    return model;
}
static void test_rows_have_lengths(void **state)
{
    (void)state;
    hone_model *models[2];
    hone_tensor *lengths = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(ROWS));
    for (int i = 0; i < ROWS; i++) ((int32_t *)hone_tensor_data(lengths))[i] = 1 + i % 3;
    for (int poison = 0; poison < 2; poison++) {
        hone_history *history;
        int32_t *ids = hone_tensor_data(words);
        for (int i = 0; i < ROWS && poison; i++)
            for (int t = 1 + i % 3; t < 3; t++) ids[3 * i + t] = (ids[3 * i + t] + 1) % 7;
        models[poison] = reader();
        assert_hone_ok(ctx, hone_fit_many(models[poison], HONE_TENSORS(words, lengths), HONE_TENSORS(kind), &history, .epochs = 30,
                                          .class_weights = (const double[]){1, 2, 1}, .n_class_weights = 3));
        assert_true(history->epochs[29].loss < history->epochs[0].loss);
        assert_true(isfinite(history->epochs[29].accuracy)); /* one output */
        hone_history_free(history);
    }
    assert_true(furthest(models[0], models[1]) == 0);
    hone_model_release(models[0]), hone_model_release(models[1]);
    /* the same of a root that is a layer of several inputs */
    hone_model *both = hone_model_of(hone_add_layer(ctx));
    hone_tensor *y = NULL;
    assert_hone_ok(ctx, hone_predict_many(both, HONE_TENSORS(numbers, numbers), 7, 1, &y));
    assert_float_equal(at(y, 5), 2 * at(numbers, 5), 1e-6);
    hone_tensor_free(y);
    y = hone_predict(both, numbers, 7); /* and now of one */
    assert_float_equal(at(y, 5), at(numbers, 5), 1e-6);
    hone_tensor_free(y), hone_tensor_free(lengths);
    hone_model_release(both);
}

static void test_a_loader_is_predicted_on(void **state)
{
    (void)state;
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 3)));
    hone_dataset *dataset = hone_dataset_from_tensors(numbers, kind);
    hone_loader *loader = hone_loader_new(dataset, .batch_size = 5, .no_shuffle = true), *full = hone_loader_new(dataset, .batch_size = 5, .no_shuffle = true, .drop_last = true);
    hone_tensor *want = hone_predict(model, numbers, ROWS);
    for (int twice = 0; twice < 2; twice++) {
        hone_tensor *is = hone_predict_loader(model, loader);
        if (!is) fail_msg("%s", hone_error(ctx));
        assert_true(hone_shape_equal(hone_tensor_shape(is), HONE_SHAPE(ROWS, 3)));
        for (int64_t i = 0; i < ROWS * 3; i++) assert_float_equal(at(is, i), at(want, i), 1e-6);
        hone_tensor_free(is);
    }
    hone_tensor *is = hone_predict_loader(model, full);
    assert_true(is && hone_shape_equal(hone_tensor_shape(is), HONE_SHAPE(30, 3)));
    hone_tensor_free(is);
    assert_null(hone_predict_loader(model, NULL));
    hone_model *many = golden_model();
    assert_null(hone_predict_loader(many, loader));
    assert_non_null(strstr(hone_error(ctx), "2 inputs and 2 outputs, given were 1 and 1"));
    assert_int_equal(hone_fit_loader(many, loader, NULL), HONE_INVALID);
    assert_int_equal(hone_evaluate_loader(many, loader, NULL, NULL, 0, NULL), HONE_INVALID);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_tensor_free(want);
    hone_loader_free(loader), hone_loader_free(full);
    hone_dataset_free(dataset);
    hone_model_release(model), hone_model_release(many);
}

/* A step of one's own over two outputs. */
static void record_sum(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_node *y[2];
    (void)graph;
    if (hone_model_apply(user, 2, in, 2, y) != HONE_OK) return;
    out[0] = hone_add(hone_sum(y[0], HONE_ALL_AXES, false), hone_sum(y[1], HONE_ALL_AXES, false));
    hone_backward(out[0], user);
}
static void test_functions_have_all_outputs(void **state)
{
    (void)state;
    hone_model *model = golden_model();
    hone_function *f = hone_function_new(ctx, 2, 1, record_sum, model);
    hone_tensor *out[2];
    double want = 0;
    assert_hone_ok(ctx, hone_function_call(f, ((hone_tensor *[]){numbers, words}), .mode = HONE_TRAIN));
    assert_hone_ok(ctx, hone_predict_many(model, HONE_TENSORS(numbers, words), ROWS, 2, out));
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < ROWS * (k ? 3 : 1); i++) want += (double)at(out[k], i);
    assert_float_equal(at(hone_function_output(f, 0), 0), want, 1e-3);
    float gradient[3];
    assert_hone_ok(ctx, hone_param_read_gradient(hone_model_find_param(model, "dense_3.bias"), 3, gradient));
    for (int i = 0; i < 3; i++) assert_float_equal(gradient[i], ROWS, 1e-3);
    hone_tensor_free(out[0]), hone_tensor_free(out[1]);
    hone_function_free(f);
    hone_model_release(model);
}

/* ---- refusals ---- */

#define REFUSED(call, status, part)                                                                          \
    do {                                                                                                     \
        assert_int_equal(call, status);                                                                      \
        if (!strstr(hone_error(ctx), part)) fail_msg("'%s' lacks '%s'", hone_error(ctx), part);              \
        hone_clear_error(ctx);                                                                               \
    } while (0)

static void test_what_does_not_fit_is_refused(void **state)
{
    (void)state;
    hone_model *model = golden_model();
    hone_tensors x = HONE_TENSORS(numbers, words), y = HONE_TENSORS(price, kind), none = {0};
    int64_t order[ROWS] = {0};
    hone_tensor *few = hone_take(words, 8, order), *reals = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(ROWS, 3));
    hone_tensor *wide = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(ROWS, 5)), *out[2];
    double value;
    REFUSED(hone_fit(model, numbers, price, NULL), HONE_INVALID, "2 inputs and 2 outputs, given were 1 and 1: hone_fit_many");
    REFUSED(hone_fit_many(model, HONE_TENSORS(numbers, words, words), y, NULL), HONE_INVALID, "given were 3 and 2");
    REFUSED(hone_fit_many(model, x, HONE_TENSORS(price), NULL), HONE_INVALID, "given were 2 and 1");
    REFUSED(hone_fit_many(model, none, y, NULL), HONE_INVALID, "given were 0 and 2");
    REFUSED(hone_fit_many(model, HONE_TENSORS(numbers, NULL), y, NULL), HONE_SHAPE, "x 1 is missing");
    REFUSED(hone_fit_many(model, HONE_TENSORS(NULL, words), y, NULL), HONE_SHAPE, "x 0 is missing");
    REFUSED(hone_fit_many(model, HONE_TENSORS(numbers, few), y, NULL), HONE_SHAPE, "x 1 is [8, 3]");
    REFUSED(hone_fit_many(model, x, HONE_TENSORS(price, few), NULL), HONE_SHAPE, "y 1 is [8, 3]");
    REFUSED(hone_fit_many(model, HONE_TENSORS(wide, words), y, NULL), HONE_SHAPE, "input 0 is");
    REFUSED(hone_fit_many(model, HONE_TENSORS(numbers, reals), y, NULL), HONE_DTYPE, "input 1 is f32, the model expects i32");
    assert_int_not_equal(hone_fit_many(model, x, HONE_TENSORS(wide, kind), NULL), HONE_OK); /* prices [32, 5] */
    hone_clear_error(ctx);
    REFUSED(hone_fit_many(model, x, y, NULL, .class_weights = (const double[]){1, 2, 3}, .n_class_weights = 3), HONE_INVALID,
            "class_weights are for models of one output");
    REFUSED(hone_fit_many(model, x, y, NULL, .validation_x = numbers, .validation_y = price), HONE_INVALID, "given were 1 and 1");
    REFUSED(hone_fit_many(model, x, y, NULL, .validation_targets = y), HONE_INVALID, "given were 0 and 2");
    REFUSED(hone_fit_many(model, x, y, NULL, .validation_inputs = x, .validation_targets = y, .validation_x = numbers, .validation_y = price),
            HONE_INVALID, "validation data are");
    REFUSED(hone_evaluate_many(model, x, y, NULL, 8, NULL, 1, &value), HONE_INVALID, "for 5, not 1");
    REFUSED(hone_evaluate(model, numbers, price, 8, NULL, NULL), HONE_INVALID, "given were 1 and 1");
    REFUSED(hone_predict_many(model, x, 8, 1, out), HONE_INVALID, "given were 2 and 1");
    REFUSED(hone_predict_many(model, HONE_TENSORS(numbers, few), 8, 2, out), HONE_SHAPE, "x 1 is");
    assert_null(out[0]);
    assert_null(hone_predict(model, numbers, 8));
    REFUSED(hone_update_batch_norm(model, numbers, 8), HONE_INVALID, "2 inputs");
    REFUSED(hone_compile(model, .loss = HONE_MAE), HONE_INVALID, "the model has 2 outputs, each of which needs its loss in HONE_OUTPUTS");
    REFUSED(hone_compile(model, HONE_OUTPUTS({.loss = HONE_MAE})), HONE_INVALID, "given were 1");
    REFUSED(hone_compile(model, .metrics = "mae", HONE_OUTPUTS({.loss = HONE_MAE}, {.loss = HONE_MAE})), HONE_INVALID, "nowhere else");
    REFUSED(hone_compile(model, HONE_OUTPUTS({.name = "a"}, {.name = "a"})), HONE_INVALID, "two quantities are called 'a_loss'");
    REFUSED(hone_compile(model, HONE_OUTPUTS({.name = "val"}, {.name = "a"})), HONE_INVALID, "cannot be called 'val'");
    REFUSED(hone_compile(model, HONE_OUTPUTS({.name = ""}, {.name = "a"})), HONE_INVALID, "cannot be called ''");
    REFUSED(hone_compile(model, HONE_OUTPUTS({.loss_weight = -1}, {.name = "a"})), HONE_INVALID, "loss_weight is -1");
    REFUSED(hone_compile(model, HONE_OUTPUTS({.loss_weight = NAN}, {.name = "a"})), HONE_INVALID, "loss_weight is nan");
    REFUSED(hone_compile(model, HONE_OUTPUTS({.name = "an_output_whose_name_is_nearly_as_long_as_they_may_be_at_most_"}, {.name = "a"})),
            HONE_INVALID, "longer than a quantity's name");
    assert_hone_ok(ctx, hone_fit_many(model, x, y, NULL)); /* as it was compiled before */
    hone_tensor_free(few), hone_tensor_free(reals), hone_tensor_free(wide);
    hone_model_release(model);
}

static void test_memory_that_runs_out_is_an_error(void **state)
{
    (void)state;
    bool whole = false;
    for (int64_t fail_at = 1; !whole; fail_at += 1 + fail_at / 40) {
        counting c = {.fail_at = fail_at};
        hone_ctx *poor = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        hone_tensor *out[2] = {NULL};
        hone_model *model = poor ? new_model(poor) : NULL;
        if (model && compile(model) == HONE_OK)
            whole = hone_fit_many(model, HONE_TENSORS(numbers, words), HONE_TENSORS(price, kind), NULL, .validation_split = 0.25) == HONE_OK &&
                    hone_predict_many(model, HONE_TENSORS(numbers, words), 20, 2, out) == HONE_OK;
        if (poor && !whole) assert_int_equal(hone_ctx_status(poor), HONE_MEMORY);
        if (poor && !whole) assert_true(!out[0] && !out[1]);
        hone_tensor_free(out[0]), hone_tensor_free(out[1]);
        hone_model_release(model);
        hone_ctx_release(poor);
        assert_int_equal(c.live, 0);
    }
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_golden, close_golden)

/* One network on each of three (two) inputs: what belongs together comes near, what does not goes apart. */
static void test_vectors_learn_their_distances(void **state)
{
    (void)state;
    enum { N = 24 };
    for (int n = 2; n <= 3; n++) {
        hone_graph *graph = hone_graph_new(ctx);
        hone_node *in[3], *out[3];
        hone_layer *tower = hone_sequential(ctx, hone_dense(ctx, 8, .activation = HONE_TANH), hone_dense(ctx, 2));
        hone_tensor *x[3] = {0}, *same = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(N));
        for (int k = 0; k < n; k++) {
            in[k] = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 4));
            out[k] = hone_apply(tower, in[k]);
            x[k] = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(N, 4));
            for (int i = 0; i < 4 * N; i++) { /* the sign of the first number is a vector's kind; the last vector's kind is another one */
                float v = hone__random_normal(5, (uint64_t)(4 * N * k + i));
                int row = i / 4, sign = k == n - 1 && (n == 3 || row % 3) ? -1 : 1;
                ((float *)hone_tensor_data(x[k]))[i] = i % 4 ? v : (float)sign * (row % 2 ? -1.0f : 1.0f) * (0.5f + fabsf(v));
            }
        }
        for (int row = 0; row < N; row++) ((int32_t *)hone_tensor_data(same))[row] = row % 3 == 0;
        hone_node *y = hone_apply_n(hone_concatenate_layer(ctx, 1), n, out);
        hone_model *model = hone_model_new(n, in, 1, &y);
        hone_graph_release(graph);
        assert_hone_ok(ctx, hone_compile(model, .loss = n == 3 ? HONE_TRIPLET : HONE_CONTRASTIVE, .optimizer = hone_adam(ctx, .learning_rate = 0.02)));
        hone_history *h;
        assert_hone_ok(ctx, hone_fit_many(model, n == 3 ? HONE_TENSORS(x[0], x[1], x[2]) : HONE_TENSORS(x[0], x[1]), HONE_TENSORS(same), &h,
                                          .epochs = 60, .batch_size = 8));
        if (!(h->epochs[59].loss < 0.2 * h->epochs[0].loss)) fail_msg("%d: %g after %g", n, h->epochs[59].loss, h->epochs[0].loss);
        assert_true(isnan(h->epochs[59].accuracy));
        hone_history_free(h);
        hone_model_release(model);
        for (int k = 0; k < n; k++) hone_tensor_free(x[k]);
        hone_tensor_free(same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_losses_are_pytorchs_step_by_step),
        TEST(test_accumulation_is_exact),
        TEST(test_quantities_are_named_by_output),
        TEST(test_an_accuracy_that_is_asked_for_stands_once),
        TEST(test_a_loader_gives_several_inputs_and_targets),
        TEST(test_a_saved_model_trains_on_as_if_it_had_never_stopped),
        TEST(test_losses_of_ones_own_are_kept_if_they_can_be_told_apart),
        TEST(test_outputs_may_be_inputs_or_the_same),
        TEST(test_rows_have_lengths),
        TEST(test_vectors_learn_their_distances),
        TEST(test_a_loader_is_predicted_on),
        TEST(test_functions_have_all_outputs),
        TEST(test_what_does_not_fit_is_refused),
        TEST(test_memory_that_runs_out_is_an_error),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
