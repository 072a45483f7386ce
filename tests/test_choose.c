/* Steps by hand, cross-validation, the learning-rate finder. */
#include "train_tools.h"

/* ---- steps by hand ---- */

static void test_steps_by_hand_are_those_of_fit(void **state)
{
    (void)state;
    float want[64], got[64];
    double loss, before, accuracy;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *a = new_classifier(ctx, NULL), *b = new_classifier(ctx, NULL);
    assert_hone_ok(ctx, hone_fit(a, x, y, NULL, .epochs = 3, .batch_size = ROWS, .no_shuffle = true));
    for (int i = 0; i < 3; i++) assert_hone_ok(ctx, hone_train_on_batch(b, x, y, &loss, &accuracy));
    read_params(a, want);
    read_params(b, got);
    assert_memory_equal(want, got, 51 * sizeof *got);
    assert_true(loss > 0 && accuracy >= 0 && accuracy <= 1);
    assert_hone_ok(ctx, hone_test_on_batch(b, x, y, &loss, &accuracy));
    assert_hone_ok(ctx, hone_evaluate(b, x, y, 7, &before, NULL));
    assert_true(fabs(loss - before) < 1e-6);
    read_params(b, got);
    assert_memory_equal(want, got, 51 * sizeof *got);
    assert_int_equal(hone_train_on_batch(b, x, NULL, &loss, NULL), HONE_SHAPE);
    assert_true(isnan(loss));
    hone_model_release(a);
    hone_model_release(b);
    hone_tensor_free(x), hone_tensor_free(y);
}

static hone_tensor *make_weights(void)
{
    float w[ROWS];
    for (int i = 0; i < ROWS; i++) w[i] = (float)(i * 7 % 5) / 2;
    return hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS), w);
}

/* Weights of rows and classes, and metrics: bit for bit what fit and evaluate make of them. */
static void test_steps_by_hand_weigh_and_measure_as_fit_does(void **state)
{
    (void)state;
    static const double classes[] = {0.5, 1, 3};
    float want[64], got[64];
    double loss, fits, values[2], wanted[2];
    hone_tensor *x, *y, *w = make_weights();
    make_points(ctx, &x, &y);
    for (int by_class = 0; by_class < 2; by_class++) {
        hone_model *models[2];
        hone_history *history;
        size_t n = by_class ? 3 : 0;
        for (int m = 0; m < 2; m++) {
            models[m] = new_classifier(ctx, NULL);
            assert_hone_ok(ctx, hone_compile(models[m], .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .metrics = "log_loss",
                                             .weighted_metrics = "accuracy"));
        }
        for (int step = 0; step < 3; step++) {
            assert_hone_ok(ctx, hone_fit(models[0], x, y, &history, .batch_size = ROWS, .no_shuffle = true, .sample_weights = w,
                                         .class_weights = by_class ? classes : NULL, .n_class_weights = n));
            assert_hone_ok(ctx, hone_train_on_batch(models[1], x, y, &loss, NULL, .sample_weights = w,
                                                    .class_weights = by_class ? classes : NULL, .n_class_weights = n, .metrics = values,
                                                    .n_metrics = 2));
            assert_true(loss == history->epochs[0].loss);
            assert_memory_equal(values, history->epochs[0].metrics, sizeof values);
            hone_history_free(history);
        }
        int64_t count = read_params(models[0], want);
        assert_int_equal(read_params(models[1], got), count);
        assert_memory_equal(want, got, (size_t)count * sizeof *want);
        assert_hone_ok(ctx, hone_test_on_batch(models[1], x, y, &loss, NULL, .sample_weights = w, .metrics = values, .n_metrics = 2));
        assert_hone_ok(ctx, hone_evaluate_weighted(models[0], x, y, w, ROWS, &fits, NULL, 2, wanted));
        assert_true(loss == fits);
        assert_memory_equal(values, wanted, sizeof values);
        hone_model_release(models[0]), hone_model_release(models[1]);
    }
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(w);
}

static void test_steps_by_hand_refuse_what_fit_refuses(void **state)
{
    (void)state;
    double loss = 0, accuracy = 0, values[3] = {0}, classes[] = {1, 1, 1};
    float before[64], after[64];
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = new_classifier(ctx, NULL);
    assert_hone_ok(ctx, hone_test_on_batch(model, x, y, NULL, NULL));
    int64_t n = read_params(model, before);
    assert_int_equal(hone_train_on_batch(model, x, y, &loss, &accuracy, .sample_weights = x), HONE_SHAPE);
    assert_true(isnan(loss) && isnan(accuracy));
    assert_int_equal(hone_train_on_batch(model, x, y, &loss, NULL, .metrics = values, .n_metrics = 3), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "room for 3 metrics, the model was compiled with 0"));
    assert_true(isnan(loss) && isnan(values[2]));
    loss = accuracy = 0;
    assert_int_equal(hone_test_on_batch(model, x, y, &loss, &accuracy, .class_weights = classes, .n_class_weights = 3), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "class_weights count in training alone"));
    assert_true(isnan(loss) && isnan(accuracy));
    assert_int_equal(hone_train_on_batch(model, x, y, NULL, NULL, .class_weights = classes, .n_class_weights = 2), HONE_INVALID);
    read_params(model, after);
    assert_memory_equal(before, after, (size_t)n * sizeof *after);
    hone_model *bare = hone_model_of(hone_dense(ctx, 3));
    assert_int_equal(hone_train_on_batch(bare, x, y, NULL, NULL, .metrics = values, .n_metrics = 3), HONE_STATE);
    assert_int_equal(hone_test_on_batch(bare, x, y, NULL, NULL, .metrics = values, .n_metrics = 3), HONE_STATE);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_model_release(model), hone_model_release(bare);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- cross-validation ---- */

/* A model without training tells which rows it was given: predicts 0, so that the loss is the mean of y^2. */
static hone_model *zeros(void *user, hone_ctx *owner)
{
    ++*(int *)user;
    hone_model *model = hone_model_of(hone_dense(owner, 1, .no_bias = true, .initializer = HONE_INIT_ZEROS));
    hone_compile(model, .optimizer = hone_sgd(owner, .learning_rate = HONE_ZERO));
    return model;
}

static void test_cross_validation_holds_each_row_out_once(void **state)
{
    (void)state;
    enum { N = 11 };
    float ones[N], values[N];
    for (int i = 0; i < N; i++) ones[i] = 1, values[i] = (float)sqrt((double)(1 << i));
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(N, 1), ones), *y = hone_tensor_from_f32(ctx, HONE_SHAPE(N, 1), values);
    hone_fold folds[4];
    int built = 0;
    /* squares are powers of two: a fold's sum names its rows. Sizes 3, 3, 3, 2. */
    assert_hone_ok(ctx, hone_cross_validate(ctx, zeros, x, y, folds, .k = 4, .no_shuffle = true, .user = &built));
    assert_int_equal(built, 4);
    static const double in_order[] = {7, 56, 448, 1536};
    for (int f = 0; f < 4; f++) assert_true(fabs(folds[f].loss * (f < 3 ? 3 : 2) - in_order[f]) < 1e-2);
    assert_hone_ok(ctx, hone_cross_validate(ctx, zeros, x, y, folds, .k = 4, .seed = 3, .user = &built));
    int all = 0, moved = 0;
    for (int f = 0; f < 4; f++) {
        int rows = (int)lround(folds[f].loss * (f < 3 ? 3 : 2));
        assert_int_equal(all & rows, 0);
        all |= rows;
        moved |= rows != (int)in_order[f];
    }
    assert_int_equal(all, (1 << N) - 1);
    assert_true(moved && isnan(folds[0].accuracy));
    /* the same rows as hone_k_fold's */
    int64_t rows[N], n_train;
    for (int f = 0; f < 4; f++) {
        int64_t held = 0;
        assert_hone_ok(ctx, hone_k_fold(ctx, N, 4, f, NULL, 3, rows, &n_train));
        for (int64_t i = n_train; i < N; i++) held |= INT64_C(1) << rows[i];
        assert_int_equal(held, lround(folds[f].loss * (f < 3 ? 3 : 2)));
    }
    assert_int_equal(hone_cross_validate(ctx, zeros, x, y, folds, .k = 12, .user = &built), HONE_INVALID);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_stratified_cross_validation_has_all_classes_in_each_fold(void **state)
{
    (void)state;
    enum { N = 12 };
    float ones[N], values[N]; /* four rows of class 1 at the end: unstratified and in order, one fold would have them all */
    for (int i = 0; i < N; i++) ones[i] = 1, values[i] = i >= 8;
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(N, 1), ones), *y = hone_tensor_from_f32(ctx, HONE_SHAPE(N), values);
    hone_fold folds[4];
    int built = 0;
    for (int no_shuffle = 0; no_shuffle < 2; no_shuffle++) {
        assert_hone_ok(ctx, hone_cross_validate(ctx, zeros, x, y, folds, .k = 4, .stratify = true, .no_shuffle = no_shuffle, .user = &built));
        for (int f = 0; f < 4; f++) assert_true(fabs(folds[f].loss - 1.0 / 3) < 1e-6); /* one of three rows */
    }
    hone_tensor_free(x), hone_tensor_free(y);
}

/* A row's weight goes where the row goes: the loss of rows held out is the mean of their weights times y^2. */
static void test_weights_are_cut_into_folds_with_their_rows(void **state)
{
    (void)state;
    enum { N = 8 };
    float ones[N], values[N];
    for (int i = 0; i < N; i++) ones[i] = 1, values[i] = (float)(1 << i);
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(N, 1), ones), *w = hone_tensor_from_f32(ctx, HONE_SHAPE(N), values);
    hone_fit_opts fit = {.struct_size = sizeof fit, .sample_weights = w};
    hone_fold folds[4];
    int built = 0, all = 0;
    assert_hone_ok(ctx, hone_cross_validate(ctx, zeros, x, x, folds, .k = 4, .seed = 5, .fit = &fit, .user = &built));
    for (int f = 0; f < 4; f++) all += (int)lround(folds[f].loss * 2);
    assert_int_equal(all, (1 << N) - 1);
    fit.sample_weights = hone_tensor_from_f32(ctx, HONE_SHAPE(7), values);
    built = 0;
    assert_int_equal(hone_cross_validate(ctx, zeros, x, x, folds, .k = 4, .fit = &fit, .user = &built), HONE_SHAPE);
    assert_non_null(strstr(hone_error(ctx), "sample_weights 0 is [7]"));
    assert_int_equal(built, 0);
    hone_tensor_free((hone_tensor *)fit.sample_weights);
    hone_tensor_free(x), hone_tensor_free(w);
}

/* ---- the learning-rate finder ---- */

static void test_the_rate_finder_changes_nothing_and_suggests_a_rate_that_trains(void **state)
{
    (void)state;
    float want[64], got[64];
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = new_classifier(ctx, hone_sgd(ctx, .learning_rate = 1e-5, .momentum = 0.9)), *twin;
    hone_rate_finder *f = hone_find_learning_rate(model, x, y, .least = 1e-5, .most = 100, .steps = 80, .batch_size = 30);
    if (!f) fail_msg("%s", hone_error(ctx));
    assert_true(f->n > 10 && f->n <= 80);
    for (size_t i = 1; i < f->n; i++) assert_true(fabs(f->learning_rates[i] / f->learning_rates[i - 1] - pow(1e7, 1.0 / 79)) < 1e-9);
    print_message("suggested %g after %zu steps\n", f->suggestion, f->n);
    assert_true(f->suggestion > 1e-3 && f->suggestion < 10);
    assert_true(hone_optimizer_learning_rate(hone_model_optimizer(model)) == 1e-5 && !hone_optimizer_steps(hone_model_optimizer(model)));
    /* as if it had never been */
    twin = new_classifier(ctx, hone_sgd(ctx, .learning_rate = 1e-5, .momentum = 0.9));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 2));
    assert_hone_ok(ctx, hone_fit(twin, x, y, NULL, .epochs = 2));
    read_params(model, got);
    read_params(twin, want);
    assert_memory_equal(want, got, 51 * sizeof *got);
    hone_model_release(model);
    hone_model_release(twin);
    /* the suggestion is a rate to train with */
    double loss, before;
    model = new_classifier(ctx, hone_sgd(ctx, .learning_rate = f->suggestion, .momentum = 0.9));
    assert_hone_ok(ctx, hone_test_on_batch(model, x, y, &before, NULL));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 10, .batch_size = 30));
    assert_hone_ok(ctx, hone_test_on_batch(model, x, y, &loss, NULL));
    assert_true(loss < before / 2);
    hone_rate_finder_free(f);
    assert_null(hone_find_learning_rate(model, x, y, .steps = 2));
    assert_null(hone_find_learning_rate(model, x, y, .least = 2));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* L-BFGS has its pairs of vectors again, or none if it had none. */
static void test_the_rate_finder_gives_lbfgs_its_history_back(void **state)
{
    (void)state;
    float want[64], got[64];
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    for (int before = 0; before < 2; before++) {
        hone_model *models[2];
        for (int m = 0; m < 2; m++) {
            models[m] = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 8, .activation = HONE_TANH), hone_dense(ctx, 3)));
            assert_hone_ok(ctx, hone_compile(models[m], .optimizer = hone_lbfgs(ctx, .max_iterations = 3, .history = 4), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
            if (before) assert_hone_ok(ctx, hone_fit(models[m], x, y, NULL, .epochs = 2, .batch_size = ROWS));
            hone_rate_finder *f = m ? hone_find_learning_rate(models[m], x, y, .least = 1e-3, .most = 3, .steps = 12, .batch_size = 30) : NULL;
            if (m && !f) fail_msg("%s", hone_error(ctx));
            hone_rate_finder_free(f);
            assert_int_equal(hone_optimizer_steps(hone_model_optimizer(models[m])), 2 * before);
            assert_hone_ok(ctx, hone_fit(models[m], x, y, NULL, .epochs = 2, .batch_size = ROWS));
            read_params(models[m], m ? got : want);
        }
        assert_memory_equal(want, got, 51 * sizeof *got);
        hone_model_release(models[0]), hone_model_release(models[1]);
    }
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- several inputs and outputs: the plane's two coordinates come apart, and both outputs are the same scores, each half of the loss, so
   that all is as it is of the model whose input and output are one ---- */

static hone_model *new_twin(hone_ctx *owner, bool parts)
{
    hone_graph *graph = hone_graph_new(owner);
    if (!graph) return NULL;
    const hone_shape shape = HONE_SHAPE(HONE_BATCH, parts ? 1 : 2);
    hone_node *in[2] = {hone_input(graph, "a", HONE_F32, shape)}, *out[2], *x = in[0];
    if (parts) {
        in[1] = hone_input(graph, "b", HONE_F32, shape);
        x = hone_apply_n(hone_concatenate_layer(owner, 1), 2, in);
    }
    x = hone_apply(hone_batch_norm_layer(owner), hone_apply(hone_dense(owner, 8, .activation = HONE_TANH), x));
    out[0] = out[1] = hone_apply(hone_dense(owner, 3), x);
    hone_model *model = hone_model_new(parts ? 2 : 1, in, parts ? 2 : 1, out);
    hone_graph_release(graph);
    hone_optimizer *optimizer = hone_sgd(owner, .learning_rate = 0.05, .momentum = 0.9);
    const hone_loss loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS;
    if (parts && model)
        hone_compile(model, .optimizer = optimizer, HONE_OUTPUTS({.name = "a", .loss = loss, .loss_weight = 0.5},
                                                                 {.name = "b", .loss = loss, .loss_weight = 0.5}));
    else if (model)
        hone_compile(model, .optimizer = optimizer, .loss = loss);
    return model;
}
static hone_model *build_one(void *user, hone_ctx *owner) { return (void)user, new_twin(owner, false); }
static hone_model *build_parts(void *user, hone_ctx *owner) { return (void)user, new_twin(owner, true); }

static hone_tensor *points, *coordinate[2], *classes, *weights;
static int make_twins_data(void **state)
{
    if (new_ctx(state)) return -1;
    make_points(ctx, &points, &classes);
    weights = make_weights();
    for (int part = 0; part < 2; part++) {
        float values[ROWS];
        for (int i = 0; i < ROWS; i++) values[i] = at(points, 2 * i + part);
        coordinate[part] = hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 1), values);
    }
    return 0;
}
static int free_twins_data(void **state)
{
    hone_tensor_free(points), hone_tensor_free(classes), hone_tensor_free(weights);
    hone_tensor_free(coordinate[0]), hone_tensor_free(coordinate[1]);
    return free_ctx(state);
}
#define TWINS(name) cmocka_unit_test_setup_teardown(name, make_twins_data, free_twins_data)
#define PARTS HONE_TENSORS(coordinate[0], coordinate[1])
#define BOTH HONE_TENSORS(classes, classes)

static void assert_twins(hone_model *one, hone_model *parts)
{
    float want[128], got[128];
    int64_t n = read_params(one, want);
    assert_int_equal(read_params(parts, got), n);
    for (int64_t i = 0; i < n; i++) assert_float_equal(got[i], want[i], 1e-5);
}

static void test_batches_may_have_several_inputs_and_outputs(void **state)
{
    (void)state;
    hone_model *one = new_twin(ctx, false), *parts = new_twin(ctx, true);
    double want, loss, right, wanted, none, each[4];
    for (int step = 0; step < 4; step++) {
        const hone_tensor *w = step % 2 ? weights : NULL;
        assert_hone_ok(ctx, hone_train_on_batch(one, points, classes, &want, &right, .sample_weights = w));
        assert_hone_ok(ctx, hone_train_on_batch_many(parts, PARTS, BOTH, &loss, &none, .sample_weights = w, .metrics = each, .n_metrics = 4));
        assert_true(isnan(none)); /* of two outputs together */
        assert_float_equal(loss, want, 1e-6);
        for (int k = 0; k < 4; k++) assert_float_equal(each[k], k < 2 ? want : right, 1e-6); /* the losses, the accuracies */
    }
    assert_twins(one, parts);
    assert_hone_ok(ctx, hone_test_on_batch(one, points, classes, &want, &wanted, .sample_weights = weights));
    assert_hone_ok(ctx, hone_test_on_batch_many(parts, PARTS, BOTH, &loss, NULL, .sample_weights = weights, .metrics = each, .n_metrics = 4));
    assert_float_equal(loss, want, 1e-6);
    assert_float_equal(each[3], wanted, 1e-6);
    assert_int_equal(hone_train_on_batch(parts, points, classes, &loss, NULL), HONE_INVALID);
    assert_int_equal(hone_train_on_batch_many(parts, (hone_tensors){0}, BOTH, &loss, NULL), HONE_INVALID);
    assert_int_equal(hone_test_on_batch_many(parts, HONE_TENSORS(coordinate[0], NULL), BOTH, &loss, NULL), HONE_SHAPE);
    assert_true(isnan(loss));
    hone_model_release(one), hone_model_release(parts);
}

static void test_cross_validation_of_several_inputs_and_outputs(void **state)
{
    (void)state;
    hone_fold want[3], folds[3];
    double each[3][4], right[3][1];
    for (int weigh = 0; weigh < 2; weigh++) {
        hone_fit_opts fit = {.struct_size = sizeof fit, .epochs = 3, .batch_size = 16, .sample_weights = weigh ? weights : NULL};
        assert_hone_ok(ctx, hone_cross_validate(ctx, build_one, points, classes, want, .k = 3, .seed = 2, .stratify = true, .fit = &fit));
        assert_hone_ok(ctx, hone_cross_validate_many(ctx, build_parts, PARTS, BOTH, folds, .k = 3, .seed = 2, .stratify = true, .fit = &fit,
                                                     .metrics = each[0], .n_metrics = 4));
        for (int f = 0; f < 3; f++) {
            assert_float_equal(folds[f].loss, want[f].loss, 1e-5);
            assert_true(isnan(folds[f].accuracy));
            for (int k = 0; k < 4; k++) assert_float_equal(each[f][k], k < 2 ? want[f].loss : want[f].accuracy, 1e-5);
        }
    }
    hone_tensors many = {(const hone_tensor *const[17]){NULL}, 17}, none = {0};
    int64_t order[8] = {0};
    hone_tensor *few = hone_take(classes, 8, order);
    assert_int_equal(hone_cross_validate_many(ctx, build_parts, many, BOTH, folds), HONE_INVALID);
    assert_int_equal(hone_cross_validate_many(ctx, build_parts, PARTS, none, folds), HONE_INVALID);
    assert_int_equal(hone_cross_validate_many(ctx, build_parts, PARTS, HONE_TENSORS(classes, few), folds), HONE_SHAPE);
    assert_non_null(strstr(hone_error(ctx), "y 1 is [8]"));
    assert_int_equal(hone_cross_validate_many(ctx, build_parts, HONE_TENSORS(NULL, points), BOTH, folds), HONE_SHAPE);
    assert_int_equal(hone_cross_validate_many(ctx, build_parts, HONE_TENSORS(points), BOTH, folds), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "given were 1 and 2"));
    assert_int_equal(hone_cross_validate_many(ctx, build_one, HONE_TENSORS(points), HONE_TENSORS(classes), folds, .metrics = right[0], .n_metrics = 1),
                     HONE_INVALID);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_tensor_free(few);
}

static void test_the_rate_finder_takes_several_inputs_and_outputs(void **state)
{
    (void)state;
    hone_model *one = new_twin(ctx, false), *parts = new_twin(ctx, true);
    hone_rate_finder *want = hone_find_learning_rate(one, points, classes, .least = 1e-4, .most = 1, .steps = 20);
    hone_rate_finder *got = hone_find_learning_rate_many(parts, PARTS, BOTH, .least = 1e-4, .most = 1, .steps = 20);
    if (!want || !got) fail_msg("%s", hone_error(ctx));
    assert_int_equal(got->n, want->n);
    for (size_t i = 0; i < want->n; i++) assert_float_equal(got->losses[i], want->losses[i], 1e-5);
    assert_true(got->suggestion == want->suggestion);
    assert_twins(one, parts);
    assert_null(hone_find_learning_rate(parts, points, classes));
    assert_null(hone_find_learning_rate_many(parts, PARTS, HONE_TENSORS(classes)));
    assert_non_null(strstr(hone_error(ctx), "given were 2 and 1"));
    assert_null(hone_find_learning_rate_many(parts, PARTS, BOTH, .steps = 2));
    hone_rate_finder_free(want), hone_rate_finder_free(got);
    hone_model_release(one), hone_model_release(parts);
}

static void test_running_statistics_are_made_anew_of_several_inputs(void **state)
{
    (void)state;
    hone_model *one = new_twin(ctx, false), *parts = new_twin(ctx, true);
    float before[128], after[128];
    assert_int_equal(hone_update_batch_norm_many(parts, PARTS, 40), HONE_STATE);
    assert_hone_ok(ctx, hone_train_on_batch(one, points, classes, NULL, NULL));
    assert_hone_ok(ctx, hone_train_on_batch_many(parts, PARTS, BOTH, NULL, NULL));
    read_params(parts, before);
    assert_hone_ok(ctx, hone_update_batch_norm(one, points, 40));
    assert_hone_ok(ctx, hone_update_batch_norm_many(parts, PARTS, 40));
    assert_twins(one, parts);
    size_t n = (size_t)read_params(parts, after);
    assert_memory_not_equal(before, after, n * sizeof *after);
    int64_t order[8] = {0};
    hone_tensor *few = hone_take(points, 8, order);
    assert_int_equal(hone_update_batch_norm(parts, points, 40), HONE_INVALID);
    assert_int_equal(hone_update_batch_norm_many(parts, (hone_tensors){0}, 40), HONE_INVALID);
    assert_int_equal(hone_update_batch_norm_many(parts, HONE_TENSORS(NULL, coordinate[1]), 40), HONE_INVALID);
    assert_int_equal(hone_update_batch_norm_many(parts, HONE_TENSORS(coordinate[0], few), 40), HONE_SHAPE);
    assert_int_equal(hone_update_batch_norm_many(parts, PARTS, 0), HONE_INVALID);
    read_params(parts, before);
    assert_memory_equal(before, after, n * sizeof *after);
    hone_tensor_free(few);
    hone_model_release(one), hone_model_release(parts);
}

static hone_status do_all(hone_ctx *owner)
{
    hone_model *model = new_twin(owner, true);
    hone_fold folds[2];
    const hone_fit_opts fit = {.struct_size = sizeof fit, .batch_size = 64, .sample_weights = weights};
    hone_status status = model ? hone_train_on_batch_many(model, PARTS, BOTH, NULL, NULL, .sample_weights = weights) : HONE_MEMORY;
    if (status == HONE_OK) status = hone_test_on_batch_many(model, PARTS, BOTH, NULL, NULL, .sample_weights = weights);
    if (status == HONE_OK) status = hone_update_batch_norm_many(model, PARTS, 50);
    hone_rate_finder *f = status == HONE_OK ? hone_find_learning_rate_many(model, PARTS, BOTH, .steps = 3) : NULL;
    if (status == HONE_OK && !f) status = HONE_MEMORY;
    hone_rate_finder_free(f);
    hone_model_release(model);
    return status == HONE_OK ? hone_cross_validate_many(owner, build_parts, PARTS, BOTH, folds, .k = 2, .fit = &fit) : status;
}
static void test_memory_that_runs_out_is_an_error(void **state)
{
    (void)state;
    hone_status status = HONE_MEMORY;
    for (int64_t fail_at = 1; status != HONE_OK; fail_at += 1 + fail_at / 20) {
        counting c = {.fail_at = fail_at};
        hone_ctx *poor = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        if (poor) status = do_all(poor);
        assert_true(status == HONE_OK || status == HONE_MEMORY);
        hone_ctx_release(poor);
        assert_int_equal(c.live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_steps_by_hand_are_those_of_fit),
        TEST(test_steps_by_hand_weigh_and_measure_as_fit_does),
        TEST(test_steps_by_hand_refuse_what_fit_refuses),
        TEST(test_cross_validation_holds_each_row_out_once),
        TEST(test_stratified_cross_validation_has_all_classes_in_each_fold),
        TEST(test_weights_are_cut_into_folds_with_their_rows),
        TEST(test_the_rate_finder_changes_nothing_and_suggests_a_rate_that_trains),
        TEST(test_the_rate_finder_gives_lbfgs_its_history_back),
        TWINS(test_batches_may_have_several_inputs_and_outputs),
        TWINS(test_cross_validation_of_several_inputs_and_outputs),
        TWINS(test_the_rate_finder_takes_several_inputs_and_outputs),
        TWINS(test_running_statistics_are_made_anew_of_several_inputs),
        TWINS(test_memory_that_runs_out_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
