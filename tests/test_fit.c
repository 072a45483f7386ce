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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_single_row_joins_the_batch_before_a_batch_norm),
        TEST(test_a_loader_joins_a_single_row_in_fit),
        TEST(test_training_that_goes_on_joins_rows_too),
        TEST(test_a_batch_that_is_not_full_may_be_left_out),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
