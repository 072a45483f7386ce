/* compile, fit, evaluate, predict. */
#include "graph_tools.h"

#include "data/data.h"
#include "train/train.h"

#include <jansson.h>
#include <math.h>

/* ---- a small problem: three classes of points in the plane ---------------------------------------------------- */

enum { ROWS = 90 };
static hone_tensor *x, *y;
static void make_rows(void)
{
    static float points[ROWS * 2];
    static int32_t classes[ROWS];
    for (int i = 0; i < ROWS; i++) {
        classes[i] = i % 3;
        double angle = 2.0943951 * (i % 3);
        points[2 * i] = (float)cos(angle) + 0.3f * hone__random_normal(1, (uint64_t)i);
        points[2 * i + 1] = (float)sin(angle) + 0.3f * hone__random_normal(2, (uint64_t)i);
    }
    x = hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 2), points);
    y = hone_tensor_from_i32(ctx, HONE_SHAPE(ROWS), classes);
}
static void free_rows(void)
{
    hone_tensor_free(x);
    hone_tensor_free(y);
}

static hone_model *classifier(void)
{
    return hone_model_of(hone_sequential(ctx, hone_dense(ctx, 8, .activation = HONE_RELU), hone_dense(ctx, 3, .activation = HONE_SOFTMAX)));
}
static hone_model *compiled_classifier(void)
{
    hone_model *model = classifier();
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adam(ctx, .learning_rate = 0.01), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY));
    return model;
}

/* All parameters in a row; how many. */
static int64_t read_all(hone_model *model, float *to)
{
    int64_t n = 0;
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        int64_t count = hone_shape_count(hone_param_shape(hone_model_param(model, i)));
        assert_hone_ok(ctx, hone_param_read(hone_model_param(model, i), count, to + n));
        n += count;
    }
    return n;
}

static void test_fit_learns_and_tells(void **state)
{
    (void)state;
    make_rows();
    hone_model *model = compiled_classifier();
    hone_history *history;
    double loss, accuracy;
    assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 60, .batch_size = 16, .validation_split = 0.2));
    assert_int_equal(history->n_epochs, 60);
    for (int i = 0; i < 60; i += 59) assert_true(isfinite(history->epochs[i].validation_loss) && history->epochs[i].seconds >= 0);
    assert_true(history->epochs[59].loss < history->epochs[0].loss / 3);
    assert_true(history->epochs[59].validation_accuracy > 0.9);
    assert_hone_ok(ctx, hone_evaluate(model, x, y, 7, &loss, &accuracy));
    assert_true(accuracy > 0.95 && loss < 0.3);
    /* evaluate is the mean of what predict says */
    hone_tensor *p = hone_predict(model, x, 11);
    double want = 0, right = 0;
    for (int64_t i = 0; i < ROWS; i++) {
        int64_t is = (int64_t)hone_tensor_get(y, i), best = 0;
        want -= log((double)at(p, i * 3 + is)) / ROWS;
        for (int64_t k = 1; k < 3; k++)
            if (at(p, i * 3 + k) > at(p, i * 3 + best)) best = k;
        right += best == is;
    }
    assert_true(fabs(want - loss) < 1e-5);
    assert_true(fabs(right / ROWS - accuracy) < 1e-9);
    hone_tensor_free(p);
    hone_history_free(history);
    hone_model_release(model);
    free_rows();
}

/* The last rows are held out, and never trained on: poison in their targets does not matter to the training loss. */
static void test_validation_takes_the_last_rows(void **state)
{
    (void)state;
    make_rows();
    float trained[2][64];
    double validation[2], given;
    for (int wrong = 0; wrong < 2; wrong++) {
        if (wrong)
            for (int64_t i = 72; i < 90; i++) ((int32_t *)hone_tensor_data(y))[i] = (int32_t)(i + 1) % 3;
        hone_model *model = compiled_classifier();
        hone_history *history;
        assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 30, .validation_split = 0.2));
        read_all(model, trained[wrong]);
        validation[wrong] = history->epochs[29].validation_loss;
        hone_history_free(history);
        hone_model_release(model);
    }
    assert_memory_equal(trained[0], trained[1], 51 * sizeof(float)); /* 2 x 8 + 8 + 8 x 3 + 3 */
    assert_true(validation[1] > validation[0] + 0.5);
    /* the same rows given apart */
    int64_t order[ROWS];
    for (int i = 0; i < ROWS; i++) order[i] = i;
    hone_tensor *ax = hone_take(x, 72, order), *ay = hone_take(y, 72, order), *bx = hone_take(x, 18, order + 72), *by = hone_take(y, 18, order + 72);
    hone_model *model = compiled_classifier();
    hone_history *history;
    assert_hone_ok(ctx, hone_fit(model, ax, ay, &history, .epochs = 30, .validation_x = bx, .validation_y = by));
    given = history->epochs[29].validation_loss;
    assert_true(given == validation[1]);
    hone_history_free(history);
    hone_model_release(model);
    hone_tensor_free(ax), hone_tensor_free(ay), hone_tensor_free(bx), hone_tensor_free(by);
    free_rows();
}

/* First values, order and dropout: the same bits from the same seed, others from another. */
static void test_the_seed_decides_everything(void **state)
{
    (void)state;
    make_rows();
    float v[3][64];
    for (int i = 0; i < 3; i++) {
        hone_set_seed(ctx, i == 2 ? 9 : 4);
        hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 8, .activation = HONE_RELU), hone_dropout_layer(ctx, 0.2),
                                                          hone_dense(ctx, 3)));
        assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
        assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 3, .batch_size = 8));
        assert_int_equal(read_all(model, v[i]), 51);
        hone_model_release(model);
    }
    assert_memory_equal(v[0], v[1], 51 * sizeof(float));
    assert_memory_not_equal(v[0], v[2], 51 * sizeof(float));
    free_rows();
}

static void test_accumulation_is_exact(void **state)
{
    (void)state;
    make_rows();
    static const int sizes[][2] = {{8, 1}, {4, 2}, {1, 8}, {3, 0}}; /* 90 rows: the last step has fewer */
    float v[4][64];
    double loss[4];
    for (int i = 0; i < 3; i++) {
        hone_model *model = classifier();
        hone_history *history;
        assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.3), .max_grad_norm = 0.5,
                                         .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY));
        assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 4, .batch_size = sizes[i][0], .accumulate = sizes[i][1]));
        loss[i] = history->epochs[3].loss;
        read_all(model, v[i]);
        for (int k = 0; k < 51; k++)
            if (!(fabsf(v[i][k] - v[0][k]) <= 1e-5f)) fail_msg("%d x %d: %g away", sizes[i][0], sizes[i][1], (double)fabsf(v[i][k] - v[0][k]));
        assert_true(fabs(loss[i] - loss[0]) <= 1e-5);
        hone_history_free(history);
        hone_model_release(model);
    }
    free_rows();
}

/* ---- losses ------------------------------------------------------------------------------------------------------ */

static hone_node *largest_error(void *user, hone_node *output, hone_node *target)
{
    (void)user;
    return hone_max(hone_abs(hone_sub(output, target)), HONE_AXES(1), false);
}
static hone_node *wrong_loss(void *user, hone_node *output, hone_node *target)
{
    (void)user;
    return hone_sub(output, target);
}

/* Each loss of a linear model against the formula, computed here. */
static void test_losses_are_their_formulas(void **state)
{
    (void)state;
    float in[12], out[12], onehot[12] = {0}, real[12], p[12];
    int32_t classes[4];
    for (int i = 0; i < 12; i++) in[i] = sinf((float)i), real[i] = cosf((float)i);
    for (int r = 0; r < 4; r++) classes[r] = (r * 2) % 3, onehot[r * 3 + classes[r]] = 1;
    hone_tensor *tx = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 3), in), *tr = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 3), real);
    hone_tensor *th = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 3), onehot), *tc = hone_tensor_from_i32(ctx, HONE_SHAPE(4), classes);
    const struct {
        hone_loss loss;
        hone_activation activation;
        hone_tensor *y;
    } cases[] = {{HONE_MSE, HONE_NO_ACTIVATION, tr},
                 {HONE_BINARY_CROSSENTROPY, HONE_SIGMOID, th},
                 {HONE_BINARY_CROSSENTROPY_LOGITS, HONE_NO_ACTIVATION, th},
                 {HONE_CATEGORICAL_CROSSENTROPY, HONE_SOFTMAX, th},
                 {HONE_CATEGORICAL_CROSSENTROPY_LOGITS, HONE_NO_ACTIVATION, th},
                 {HONE_SPARSE_CATEGORICAL_CROSSENTROPY, HONE_SOFTMAX, tc},
                 {HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, HONE_NO_ACTIVATION, tc}};
    for (size_t c = 0; c < HONE_ARRAY_LEN(cases); c++) {
        hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 3, .activation = cases[c].activation)));
        double loss, accuracy, want = 0, right = 0;
        assert_hone_ok(ctx, hone_compile(model, .loss = cases[c].loss));
        assert_hone_ok(ctx, hone_evaluate(model, tx, cases[c].y, 3, &loss, &accuracy));
        hone_tensor *y_hat = hone_predict(model, tx, 4);
        assert_hone_ok(ctx, hone_tensor_read(y_hat, 0, 12, HONE_F32, out));
        bool binary = cases[c].loss == HONE_BINARY_CROSSENTROPY || cases[c].loss == HONE_BINARY_CROSSENTROPY_LOGITS;
        for (int r = 0; r < 4; r++) {
            double sum = 0;
            int best = 0;
            for (int k = 0; k < 3; k++) sum += exp((double)out[r * 3 + k]), best = out[r * 3 + k] > out[r * 3 + best] ? k : best;
            for (int k = 0; k < 3; k++) {
                double o = (double)out[r * 3 + k], t = (double)onehot[r * 3 + k];
                double s = cases[c].activation ? o : binary ? 1 / (1 + exp(-o)) : exp(o) / sum;
                p[r * 3 + k] = (float)s;
                if (cases[c].loss == HONE_MSE) want += pow(o - (double)real[r * 3 + k], 2) / 12;
                else if (binary) want -= (t * log(s) + (1 - t) * log(1 - s)) / 12, right += (s > 0.5) == (t > 0.5);
                else want -= t * log(s) / 4;
            }
            if (!binary) right += 3 * (best == classes[r]);
        }
        if (!(fabs(loss - want) <= 1e-5)) fail_msg("loss %d: %g, not %g", (int)cases[c].loss, loss, want);
        if (cases[c].loss == HONE_MSE) assert_true(isnan(accuracy));
        else assert_true(fabs(accuracy - right / 12) < 1e-6);
        hone_tensor_free(y_hat);
        hone_model_release(model);
    }
    assert_true(p[0] > 0);
    hone_model *model = hone_model_of(hone_dense(ctx, 3));
    double loss, accuracy;
    assert_hone_ok(ctx, hone_compile(model, .custom_loss = largest_error));
    assert_hone_ok(ctx, hone_evaluate(model, tx, tr, 4, &loss, &accuracy));
    assert_true(loss > 0 && isnan(accuracy));
    assert_hone_ok(ctx, hone_fit(model, tx, tr, NULL, .epochs = 2));
    assert_hone_ok(ctx, hone_compile(model, .custom_loss = wrong_loss));
    assert_int_equal(hone_fit(model, tx, tr, NULL), HONE_SHAPE);
    assert_non_null(strstr(hone_error(ctx), "one value an example is wanted"));
    hone_clear_error(ctx);
    hone_model_release(model);
    hone_tensor_free(tx), hone_tensor_free(tr), hone_tensor_free(th), hone_tensor_free(tc);
}

/* ---- stopping ------------------------------------------------------------------------------------------------------ */

static bool stop_in_third(void *user, hone_model *model, size_t epoch, const hone_epoch *result)
{
    assert_non_null(model);
    assert_true(isfinite(result->loss));
    ++*(int *)user;
    return epoch < 2;
}
static bool cancel_in_second(void *user, hone_model *model, size_t epoch, const hone_epoch *result)
{
    (void)user, (void)model, (void)result;
    if (epoch == 1) hone_cancel(ctx);
    return true;
}
static void collect(void *user, const char *text) { strncat(user, text, 4000); }

static void test_training_is_stopped(void **state)
{
    (void)state;
    make_rows();
    hone_model *model = compiled_classifier();
    hone_history *history;
    int calls = 0;
    static char said[8000];
    assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 50, .on_epoch = stop_in_third, .on_epoch_user = &calls,
                                 .progress = true, .print = collect, .print_user = said));
    assert_int_equal(calls, 3);
    assert_int_equal(history->n_epochs, 3);
    assert_non_null(strstr(said, "epoch 3/50  loss "));
    assert_non_null(strstr(said, "accuracy "));
    assert_null(strstr(said, "epoch 4/50"));
    hone_history_free(history);
    assert_int_equal(hone_fit(model, x, y, &history, .epochs = 50, .on_epoch = cancel_in_second), HONE_CANCELLED);
    assert_int_equal(history->n_epochs, 2);
    hone_history_free(history);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_int_equal(hone_fit(model, x, y, NULL), HONE_CANCELLED); /* until it is cleared */
    hone_clear_cancel(ctx);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL));
    hone_model_release(model);
    free_rows();
}

/* A bad row in the second step: its parameters are those after the first, and the layer is named. */
static void test_losses_that_are_not_finite_name_the_layer(void **state)
{
    (void)state;
    make_rows();
    float before[64], after[64];
    hone_model *good = compiled_classifier(), *bad = compiled_classifier();
    assert_hone_ok(ctx, hone_fit(good, x, y, NULL, .batch_size = 45, .no_shuffle = true, .validation_split = 0.5));
    read_all(good, before);
    ((float *)hone_tensor_data(x))[2 * 60] = NAN;
    hone_history *history;
    assert_int_equal(hone_fit(bad, x, y, &history, .batch_size = 45, .no_shuffle = true, .epochs = 3), HONE_NUMERIC);
    assert_non_null(strstr(hone_error(ctx), "the loss is nan at step 1"));
    assert_non_null(strstr(hone_error(ctx), "layer '0'"));
    assert_non_null(strstr(hone_error(ctx), "row 60 of x is not finite"));
    assert_int_equal(history->n_epochs, 0);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    read_all(bad, after);
    assert_memory_equal(before, after, 51 * sizeof(float));
    hone_history_free(history);
    hone_model_release(good), hone_model_release(bad);
    free_rows();
}

static void test_wrong_calls_are_refused(void **state)
{
    (void)state;
    make_rows();
    hone_model *model = classifier();
    hone_tensor *few = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(4)), *none = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(0, 2));
    hone_tensor *no_y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(0));
    assert_int_equal(hone_fit(model, x, y, NULL), HONE_STATE);
    assert_non_null(strstr(hone_error(ctx), "hone_compile first"));
    assert_int_equal(hone_evaluate(model, x, y, 8, NULL, NULL), HONE_STATE);
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY));
    assert_int_equal(hone_fit(model, x, few, NULL), HONE_SHAPE);
    assert_int_equal(hone_fit(model, none, no_y, NULL), HONE_INVALID);
    assert_int_equal(hone_fit(model, x, NULL, NULL), HONE_SHAPE);
    assert_int_equal(hone_fit(model, x, y, NULL, .epochs = -1), HONE_INVALID);
    assert_int_equal(hone_fit(model, x, y, NULL, .validation_split = 1), HONE_INVALID);
    assert_int_equal(hone_fit(model, x, y, NULL, .validation_split = NAN), HONE_INVALID);
    assert_int_equal(hone_fit(model, x, y, NULL, .validation_x = x), HONE_INVALID);
    assert_int_equal(hone_evaluate(model, x, y, 0, NULL, NULL), HONE_INVALID);
    assert_null(hone_predict(model, x, 0));
    assert_null(hone_predict(model, NULL, 1));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    /* a class that the output does not have */
    ((int32_t *)hone_tensor_data(y))[5] = 3;
    assert_int_not_equal(hone_fit(model, x, y, NULL, .no_shuffle = true), HONE_OK);
    assert_true(hone_error(ctx)[0]);
    hone_clear_error(ctx);
    hone_tensor_free(few), hone_tensor_free(none), hone_tensor_free(no_y);
    hone_model_release(model);
    free_rows();
}

/* ---- iris: the recipe of examples/iris.c over ten seeds, against Keras's in PyTorch -------------------------------- */

static double iris(uint64_t seed)
{
    hone_set_seed(ctx, seed);
    hone_frame *frame = hone_frame_load(ctx, HONE_SOURCE_DIR "/examples/data/iris.csv"), *train, *test;
    hone_pipeline *pipeline = hone_pipeline_new(ctx, .target = "species");
    hone_pipeline_add(pipeline, HONE_STANDARD_SCALER);
    hone_tensor *tx, *ty, *vx, *vy;
    assert_hone_ok(ctx, hone_frame_split(frame, 0.2, seed, &train, &test));
    assert_hone_ok(ctx, hone_pipeline_fit(pipeline, train));
    assert_hone_ok(ctx, hone_pipeline_apply(pipeline, train, &tx, &ty));
    assert_hone_ok(ctx, hone_pipeline_apply(pipeline, test, &vx, &vy));
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *input = hone_input(graph, "features", HONE_F32, HONE_SHAPE(HONE_BATCH, 4));
    hone_node *hidden = hone_apply(hone_dense(ctx, 10, .activation = HONE_RELU), input);
    hone_node *output = hone_apply(hone_dense(ctx, 3, .activation = HONE_SOFTMAX), hidden);
    hone_model *model = hone_model_new(1, &input, 1, &output);
    double accuracy;
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY));
    assert_hone_ok(ctx, hone_fit(model, tx, ty, NULL, .epochs = 100, .batch_size = 32, .validation_split = 0.2));
    assert_hone_ok(ctx, hone_evaluate(model, vx, vy, 32, NULL, &accuracy));
    hone_model_release(model);
    hone_graph_release(graph);
    hone_tensor_free(tx), hone_tensor_free(ty), hone_tensor_free(vx), hone_tensor_free(vy);
    hone_pipeline_free(pipeline);
    hone_frame_free(frame), hone_frame_free(train), hone_frame_free(test);
    return accuracy;
}

static void test_iris_is_learnt_as_well_as_by_keras(void **state)
{
    (void)state;
    json_t *golden = json_load_file(HONE_TEST_DATA "/iris.golden.json", 0, NULL);
    double want = json_number_value(json_object_get(golden, "mean_accuracy")), mean = 0;
    json_decref(golden);
    assert_true(want > 0.5);
    for (uint64_t seed = 0; seed < 10; seed++) mean += iris(seed) / 10;
    print_message("iris: mean test accuracy %.4f, PyTorch %.4f\n", mean, want);
    assert_true(mean >= want - 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fit_learns_and_tells),
        TEST(test_validation_takes_the_last_rows),
        TEST(test_the_seed_decides_everything),
        TEST(test_accumulation_is_exact),
        TEST(test_losses_are_their_formulas),
        TEST(test_training_is_stopped),
        TEST(test_losses_that_are_not_finite_name_the_layer),
        TEST(test_wrong_calls_are_refused),
        TEST(test_iris_is_learnt_as_well_as_by_keras),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
