/* How fit cuts rows into batches, and what it says of data that do not belong to the model. */
#include "train_tools.h"

/* ---- a single row that is left over ---- */

static hone_model *new_normed(bool norm)
{
    hone_layer *middle = norm ? hone_batch_norm_layer(ctx) : hone_layer_norm_layer(ctx);
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 8), middle, hone_dense(ctx, 3)));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1),
                                     .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
    return model;
}

static void assert_same_params(hone_model *a, hone_model *b)
{
    float of_a[256], of_b[256];
    int64_t n = read_params(a, of_a);
    assert_int_equal(read_params(b, of_b), n);
    assert_memory_equal(of_a, of_b, (size_t)n * sizeof *of_a);
}

static hone_tensor *first(const hone_tensor *x, int64_t count)
{
    int64_t rows[ROWS];
    for (int64_t i = 0; i < count; i++) rows[i] = i;
    return hone_take(x, count, rows);
}

/* 90 rows by `size`, `accumulate` of them a step, against steps of `wants` rows made by hand. */
static void compare_cut(int size, int accumulate, bool norm, int n, const int64_t *wants)
{
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *by_fit = new_normed(norm), *by_hand = new_normed(norm);
    hone_history *history = NULL;
    assert_hone_ok(ctx, hone_fit(by_fit, x, y, &history, .batch_size = size, .accumulate = accumulate, .no_shuffle = true));
    assert_int_equal(hone_optimizer_steps(hone_model_optimizer(by_fit)), n);
    double sum = 0;
    for (int64_t i = 0, at = 0; i < n; at += wants[i++]) {
        int64_t rows[ROWS];
        for (int64_t r = 0; r < wants[i]; r++) rows[r] = at + r;
        hone_tensor *xs = hone_take(x, wants[i], rows), *ys = hone_take(y, wants[i], rows);
        double loss;
        if (accumulate == 1) {
            assert_hone_ok(ctx, hone_train_on_batch(by_hand, xs, ys, &loss, NULL));
        } else {
            hone_history *h = NULL;
            assert_hone_ok(ctx, hone_fit(by_hand, xs, ys, &h, .batch_size = size, .accumulate = accumulate, .no_shuffle = true));
            loss = h->epochs[0].loss;
            hone_history_free(h);
        }
        sum += loss * (double)wants[i];
        hone_tensor_free(xs), hone_tensor_free(ys);
    }
    assert_same_params(by_fit, by_hand);
    assert_float_equal(history->epochs[0].loss, sum / ROWS, 1e-6);
    hone_history_free(history);
    hone_model_release(by_fit), hone_model_release(by_hand);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_a_single_row_joins_the_batch_before_a_batch_norm(void **state)
{
    (void)state;
    compare_cut(89, 1, true, 1, (int64_t[]){90});
    compare_cut(89, 1, false, 2, (int64_t[]){89, 1}); /* a layer norm can be trained on one */
    compare_cut(45, 1, true, 2, (int64_t[]){45, 45});
    compare_cut(44, 1, true, 3, (int64_t[]){44, 44, 2});
    compare_cut(29, 1, false, 4, (int64_t[]){29, 29, 29, 3});
    compare_cut(89, 2, true, 1, (int64_t[]){90});
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_tensor *xs = first(x, 64), *ys = first(y, 64); /* 64 rows by 63, and two of 21 a step: 42 and 22 */
    for (int i = 0; i < 2; i++) {
        hone_model *model = new_normed(true);
        assert_hone_ok(ctx, hone_fit(model, xs, ys, NULL, .epochs = 3, .batch_size = i ? 21 : 63, .accumulate = i ? 2 : 1));
        assert_int_equal(hone_optimizer_steps(hone_model_optimizer(model)), i ? 6 : 3);
        assert_hone_ok(ctx, hone_update_batch_norm(model, xs, 21));
        hone_rate_finder *finder = hone_find_learning_rate(model, xs, ys, .batch_size = 21, .steps = 8);
        assert_non_null(finder);
        hone_rate_finder_free(finder);
        hone_model_release(model);
    }
    hone_tensor_free(xs), hone_tensor_free(ys);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* Batches of a loader are joined while fit trains on it, and are what they were for others. */
static void test_a_loader_joins_a_single_row_in_fit(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    double weights[ROWS];
    for (int i = 0; i < ROWS; i++) weights[i] = 0.5 + i % 4;
    hone_tensor *w = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(ROWS));
    assert_hone_ok(ctx, hone_tensor_write(w, 0, ROWS, HONE_F64, weights));
    hone_dataset *dataset = hone_dataset_from_tensors(x, y);
    for (int accumulate = 1; accumulate <= 2; accumulate++) {
        hone_loader *loader = hone_loader_new(dataset, .batch_size = 89, .no_shuffle = true, .threads = 2, .sample_weights = weights);
        hone_model *by_loader = new_normed(true), *by_fit = new_normed(true);
        assert_hone_ok(ctx, hone_fit_loader(by_loader, loader, NULL, .epochs = 3, .accumulate = accumulate));
        assert_hone_ok(ctx, hone_fit(by_fit, x, y, NULL, .epochs = 3, .batch_size = 89, .accumulate = accumulate, .no_shuffle = true,
                                     .sample_weights = w));
        assert_int_equal(hone_optimizer_steps(hone_model_optimizer(by_loader)), 3);
        assert_same_params(by_loader, by_fit);
        double loss;
        assert_hone_ok(ctx, hone_evaluate_loader(by_loader, loader, &loss, NULL, 0, NULL)); /* in batches of 89 and 1 */
        assert_int_equal(hone_loader_batches(loader), 2);
        hone_tensor *xs, *ys;
        assert_hone_ok(ctx, hone_loader_begin(loader, 0));
        for (int i = 0; i < 3; i++) {
            assert_hone_ok(ctx, hone_loader_next(loader, &xs, &ys));
            if (i < 2) assert_int_equal(hone_tensor_shape(ys).dim[0], i ? 1 : 89);
        }
        assert_null(xs);
        hone_model_release(by_loader), hone_model_release(by_fit);
        hone_loader_free(loader);
    }
    hone_dataset_free(dataset);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(w);
}

static void test_training_that_goes_on_joins_rows_too(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_schedule schedule = {.kind = HONE_SCHEDULE_COSINE, .total = 4};
    hone_model *whole = new_normed(true), *parts = new_normed(true);
    assert_hone_ok(ctx, hone_fit(whole, x, y, NULL, .epochs = 4, .batch_size = 89, .schedule = &schedule));
    assert_hone_ok(ctx, hone_fit(parts, x, y, NULL, .epochs = 2, .batch_size = 89, .schedule = &schedule));
    assert_hone_ok(ctx, hone_fit(parts, x, y, NULL, .epochs = 4, .initial_epoch = 2, .batch_size = 89, .schedule = &schedule));
    assert_same_params(whole, parts);
    hone_model_release(whole), hone_model_release(parts);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_a_batch_that_is_not_full_may_be_left_out(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_tensor *xs = first(x, 80), *ys = first(y, 80);
    hone_model *dropped = new_normed(true), *without = new_normed(true);
    hone_history *a = NULL, *b = NULL;
    assert_hone_ok(ctx, hone_fit(dropped, x, y, &a, .epochs = 2, .batch_size = 40, .no_shuffle = true, .drop_last = true));
    assert_hone_ok(ctx, hone_fit(without, xs, ys, &b, .epochs = 2, .batch_size = 40, .no_shuffle = true));
    assert_same_params(dropped, without);
    assert_true(a->epochs[1].loss == b->epochs[1].loss && a->epochs[1].accuracy == b->epochs[1].accuracy);
    assert_int_equal(hone_optimizer_steps(hone_model_optimizer(dropped)), 4);
    assert_int_equal(hone_fit(dropped, x, y, NULL, .batch_size = 91, .drop_last = true), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "drop_last"));
    hone_dataset *dataset = hone_dataset_from_tensors(x, y);
    hone_loader *loader = hone_loader_new(dataset);
    assert_int_equal(hone_fit_loader(dropped, loader, NULL, .drop_last = true), HONE_INVALID);
    hone_loader_free(loader), hone_dataset_free(dataset);
    hone_history_free(a), hone_history_free(b);
    hone_model_release(dropped), hone_model_release(without);
    hone_tensor_free(xs), hone_tensor_free(ys);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- data that do not belong to the model ---- */

static hone_model *new_plain(hone_loss loss, int64_t outputs)
{
    hone_model *model = hone_model_of(hone_dense(ctx, outputs));
    assert_hone_ok(ctx, hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = loss));
    return model;
}

static hone_tensor *recast(hone_tensor *x, hone_dtype dtype, hone_shape shape)
{
    hone_tensor *y = hone_tensor_new(ctx, dtype, shape);
    assert_hone_ok(ctx, hone_tensor_write(y, 0, hone_shape_count(shape), hone_tensor_dtype(x), hone_tensor_data(x)));
    return y;
}

static void test_class_numbers_come_in_several_forms(void **state)
{
    (void)state;
    static const struct {
        hone_dtype dtype;
        hone_shape shape;
    } forms[] = {{HONE_I32, {2, {ROWS, 1}}}, {HONE_I64, {1, {ROWS}}}, {HONE_U8, {1, {ROWS}}}, {HONE_F32, {1, {ROWS}}}, {HONE_F64, {2, {ROWS, 1}}}};
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *first_form = new_plain(HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, 3);
    double loss, accuracy;
    assert_hone_ok(ctx, hone_fit(first_form, x, y, NULL, .epochs = 2));
    assert_hone_ok(ctx, hone_evaluate(first_form, x, y, 32, &loss, &accuracy));
    for (size_t i = 0; i < HONE_ARRAY_LEN(forms); i++) {
        hone_tensor *other = recast(y, forms[i].dtype, forms[i].shape);
        hone_dataset *dataset = hone_dataset_from_tensors(x, other);
        hone_loader *loader = hone_loader_new(dataset);
        hone_model *model = new_plain(HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, 3);
        double l, a;
        assert_hone_ok(ctx, hone_fit(model, x, other, NULL, .epochs = 2));
        assert_same_params(model, first_form);
        assert_hone_ok(ctx, hone_evaluate(model, x, other, 32, &l, &a));
        assert_true(l == loss && a == accuracy);
        assert_hone_ok(ctx, hone_fit_loader(model, loader, NULL));
        hone_loader_free(loader), hone_dataset_free(dataset);
        hone_model_release(model);
        hone_tensor_free(other);
    }
    hone_model_release(first_form);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_inputs_are_cast_by_batch(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    float *values = hone_tensor_data(x);
    for (int i = 0; i < 2 * ROWS; i++) values[i] = (float)(int)(40 + 10 * values[i]); /* u8 holds it */
    static const hone_dtype types[] = {HONE_F64, HONE_U8};
    for (size_t i = 0; i < HONE_ARRAY_LEN(types); i++) {
        hone_tensor *other = hone_tensor_cast(x, types[i]);
        hone_model *a = new_normed(true), *b = new_normed(true);
        assert_hone_ok(ctx, hone_fit(a, x, y, NULL, .validation_split = 0.2));
        assert_hone_ok(ctx, hone_fit(b, other, y, NULL, .validation_split = 0.2));
        assert_hone_ok(ctx, hone_update_batch_norm(a, x, 30));
        assert_hone_ok(ctx, hone_update_batch_norm(b, other, 30));
        assert_same_params(a, b);
        hone_dataset *dataset = hone_dataset_from_tensors(other, y);
        hone_loader *loader = hone_loader_new(dataset, .no_shuffle = true);
        hone_tensor *of_a = hone_predict(a, x, 16), *of_b = hone_predict(b, other, 16), *of_loader = hone_predict_loader(b, loader);
        assert_true(of_a && of_b && of_loader);
        assert_memory_equal(hone_tensor_data(of_a), hone_tensor_data(of_b), hone_tensor_bytes(of_a));
        for (int v = 0; v < 3 * ROWS && types[i] == HONE_F64; v++) /* datasets give bytes as [0, 1] */
            assert_float_equal(hone_tensor_get(of_a, v), hone_tensor_get(of_loader, v), 1e-4);
        assert_hone_ok(ctx, hone_fit_loader(b, loader, NULL));
        hone_loader_free(loader), hone_dataset_free(dataset);
        hone_tensor_free(of_a), hone_tensor_free(of_b), hone_tensor_free(of_loader);
        hone_model_release(a), hone_model_release(b);
        hone_tensor_free(other);
    }
    hone_tensor_free(x), hone_tensor_free(y);
    /* an embedding looks numbers up, whatever type they have */
    hone_model *words = hone_model_of(hone_sequential(ctx, hone_embedding_layer(ctx, 5, 3), hone_dense(ctx, 1)));
    hone_tensor *ids = hone_tensor_new(ctx, HONE_U8, HONE_SHAPE(4, 2)), *out = hone_predict(words, ids, 4);
    if (!out) fail_msg("%s", hone_error(ctx));
    hone_tensor_free(ids), hone_tensor_free(out);
    hone_model_release(words);
}

/* In a context of its own, because what recording refuses sticks. */
static void expect(hone_loss loss, int64_t outputs, hone_dtype dtype, hone_shape shape, double value, hone_status status, const char *const *said)
{
    hone_ctx *before = ctx;
    ctx = hone_ctx_new(.threads = 1);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(6, 2)), *y = hone_tensor_new(ctx, dtype, shape);
    assert_hone_ok(ctx, hone_tensor_write(y, 4, 1, HONE_F64, &value));
    hone_model *model = new_plain(loss, outputs);
    assert_int_equal(hone_fit(model, x, y, NULL, .batch_size = 6), status);
    for (int i = 0; i < 3 && said[i]; i++)
        if (!strstr(hone_error(ctx), said[i])) fail_msg("no '%s' in: %s", said[i], hone_error(ctx));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_ctx_release(ctx);
    ctx = before;
}

static void test_targets_are_refused_by_the_loss(void **state)
{
    (void)state;
    static const hone_loss sparse = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS;
    expect(sparse, 3, HONE_I32, HONE_SHAPE(6), 7, HONE_INVALID, (const char *[3]){"sparse_categorical_crossentropy_logits", "row 4 of y is of class 7", "3 classes"});
    expect(sparse, 3, HONE_F32, HONE_SHAPE(6), 1.5, HONE_INVALID, (const char *[3]){"sparse_", "row 4 of y is 1.5", "whole"});
    expect(sparse, 3, HONE_F32, HONE_SHAPE(6), NAN, HONE_INVALID, (const char *[3]){"row 4 of y is nan"});
    expect(sparse, 3, HONE_F32, HONE_SHAPE(6, 3), 1, HONE_SHAPE, (const char *[3]){"y is [6, 3]", "class numbers are wanted", "one-hot rows go with"});
    expect(HONE_MSE, 1, HONE_F32, HONE_SHAPE(6, 2), 1, HONE_SHAPE, (const char *[3]){"loss 'mse'", "y is [6, 2] for an output of [6, 1]", "as many values"});
    expect(HONE_CATEGORICAL_CROSSENTROPY_LOGITS, 3, HONE_I32, HONE_SHAPE(6), 1, HONE_SHAPE,
           (const char *[3]){"categorical_crossentropy_logits", "one value a class", "sparse losses"});
    expect(HONE_BINARY_CROSSENTROPY_LOGITS, 1, HONE_U8, HONE_SHAPE(6), 1, HONE_OK, (const char *[3]){NULL}); /* [N] beside [N, 1] */
    expect(HONE_MSE, 1, HONE_F64, HONE_SHAPE(6), 1, HONE_OK, (const char *[3]){NULL});
}

static void test_rows_that_are_not_finite_are_named(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    ((float *)hone_tensor_data(x))[2 * 37 + 1] = NAN;
    hone_model *model = new_normed(false);
    assert_int_equal(hone_fit(model, x, y, NULL, .batch_size = 16), HONE_NUMERIC); /* shuffled */
    assert_non_null(strstr(hone_error(ctx), "row 37 of x is not finite"));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_class_weights_are_not_more_than_classes(void **state)
{
    (void)state;
    static const double weights[] = {1, 2, 3, 4};
    hone_tensor *x, *y;
    make_points(ctx, &x, &y);
    hone_model *model = new_plain(HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, 3);
    assert_int_equal(hone_fit(model, x, y, NULL, .class_weights = weights, .n_class_weights = 4), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "4 class_weights, and the output has 3 classes"));
    assert_int_equal(hone_optimizer_steps(hone_model_optimizer(model)), 0);
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .class_weights = weights, .n_class_weights = 3, .validation_split = 0.2));
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void test_predicting_no_rows_is_refused(void **state)
{
    (void)state;
    hone_model *model = new_plain(HONE_MSE, 1);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(0, 3));
    assert_null(hone_predict(model, x, 32));
    assert_non_null(strstr(hone_error(ctx), "x needs rows"));
    assert_hone_ok(ctx, hone_ctx_status(ctx));
    hone_tensor_free(x);
    hone_model_release(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_single_row_joins_the_batch_before_a_batch_norm),
        TEST(test_a_loader_joins_a_single_row_in_fit),
        TEST(test_training_that_goes_on_joins_rows_too),
        TEST(test_a_batch_that_is_not_full_may_be_left_out),
        TEST(test_class_numbers_come_in_several_forms),
        TEST(test_inputs_are_cast_by_batch),
        TEST(test_targets_are_refused_by_the_loss),
        TEST(test_rows_that_are_not_finite_are_named),
        TEST(test_class_weights_are_not_more_than_classes),
        TEST(test_predicting_no_rows_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
