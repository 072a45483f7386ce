/* Weights of examples: from a loader, and in an evaluation. */
#include "train_tools.h"

static float given[ROWS];
static double doubles[ROWS];
static hone_tensor *make_weights(void)
{
    for (int i = 0; i < ROWS; i++) doubles[i] = given[i] = (float)(i * 7 % 5) / 2;
    return hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS), given);
}

/* What a loader brings with its rows does what fit's own weights do, bit for bit. */
static void test_a_loaders_weights_train_as_fits_do(void **state)
{
    (void)state;
    hone_tensor *x, *y, *w = make_weights();
    make_points(ctx, &x, &y);
    hone_dataset *data = hone_dataset_from_tensors(x, y);
    hone_loader *loader = hone_loader_new(data, .batch_size = 16, .no_shuffle = true, .threads = 2, .sample_weights = doubles);
    if (!loader) fail_msg("%s", hone_error(ctx));
    for (int classes = 0; classes < 2; classes++) {
        float want[64], got[64];
        double class_weights[3] = {0.5, 1, 3};
        hone_model *a = new_classifier(ctx, NULL), *b = new_classifier(ctx, NULL);
        assert_hone_ok(ctx, hone_fit(a, x, y, NULL, .epochs = 3, .batch_size = 16, .no_shuffle = true, .sample_weights = w,
                                     .class_weights = classes ? class_weights : NULL, .n_class_weights = classes ? 3 : 0));
        assert_hone_ok(ctx, hone_fit_loader(b, loader, NULL, .epochs = 3, .class_weights = classes ? class_weights : NULL,
                                            .n_class_weights = classes ? 3 : 0));
        int64_t n = read_params(a, want);
        assert_int_equal(read_params(b, got), n);
        assert_memory_equal(want, got, (size_t)n * sizeof *want);
        hone_model_release(a), hone_model_release(b);
    }
    hone_loader_free(loader);
    hone_dataset_free(data);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(w);
}

/* Whatever their order, and whichever of them are drawn. */
static void test_weights_follow_their_rows(void **state)
{
    (void)state;
    float numbers[ROWS];
    int64_t some[20];
    for (int i = 0; i < ROWS; i++) numbers[i] = (float)i;
    for (int i = 0; i < 20; i++) some[i] = 4 * i + 1;
    hone_tensor_free(make_weights());
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(ROWS, 1), numbers), *bx, *by;
    hone_dataset *data = hone_dataset_from_tensors(x, x);
    hone_loader *loaders[] = {hone_loader_new(data, .batch_size = 7, .sample_weights = doubles),
                              hone_loader_new(data, .batch_size = 7, .sample_weights = doubles, .rows = some, .n_rows = 20, .weights = doubles)};
    for (int l = 0; l < 2; l++) {
        assert_null(hone_loader_weights(loaders[l]));
        assert_hone_ok(ctx, hone_loader_begin(loaders[l], 3));
        int64_t seen = 0;
        while (hone_loader_next(loaders[l], &bx, &by) == HONE_OK && bx) {
            const hone_tensor *w = hone_loader_weights(loaders[l]);
            assert_true(hone_shape_equal(hone_tensor_shape(w), HONE_SHAPE(hone_tensor_shape(bx).dim[0])));
            for (int64_t i = 0; i < hone_tensor_shape(bx).dim[0]; i++, seen++) assert_true(at(w, i) == given[(int)at(bx, i)]);
        }
        assert_int_equal(seen, l ? 20 : ROWS);
        hone_loader_free(loaders[l]);
    }
    doubles[50] = -1;
    assert_null(hone_loader_new(data, .sample_weights = doubles));
    assert_error(HONE_INVALID, "the sample weight of row 50 is -1");
    hone_clear_error(ctx);
    hone_loader *plain = hone_loader_new(data);
    assert_hone_ok(ctx, hone_loader_begin(plain, 0));
    assert_hone_ok(ctx, hone_loader_next(plain, &bx, &by));
    assert_null(hone_loader_weights(plain));
    hone_loader_free(plain);
    hone_dataset_free(data);
    hone_tensor_free(x);
}

static void test_an_evaluation_weighs_rows(void **state)
{
    (void)state;
    hone_tensor *x, *y, *w = make_weights();
    make_points(ctx, &x, &y);
    hone_model *model = hone_model_of(hone_dense(ctx, 3));
    assert_hone_ok(ctx, hone_compile(model, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .metrics = "log_loss", .weighted_metrics = "accuracy"));
    assert_int_equal(hone_evaluate_weighted(model, x, y, x, 16, NULL, NULL, 0, NULL), HONE_SHAPE);
    double loss, accuracy, values[2], plain[2], want = 0, right = 0, sum = 0, loaded, of_loader[2];
    assert_int_equal(hone_evaluate_weighted(model, x, y, w, 16, &loss, NULL, 1, values), HONE_INVALID);
    assert_true(isnan(loss) && isnan(values[0]));
    assert_hone_ok(ctx, hone_evaluate_weighted(model, x, y, w, 16, &loss, &accuracy, 2, values));
    assert_hone_ok(ctx, hone_evaluate_metrics(model, x, y, 16, 2, plain));
    hone_tensor *p = hone_predict(model, x, ROWS);
    for (int i = 0; i < ROWS; i++) {
        double e[3], all = 0;
        int c = (int)at(y, i), best = 0;
        for (int k = 0; k < 3; k++) all += e[k] = exp((double)at(p, 3 * i + k)), best = at(p, 3 * i + k) > at(p, 3 * i + best) ? k : best;
        want -= (double)given[i] * log(e[c] / all) / ROWS;
        right += best == c ? (double)given[i] : 0, sum += (double)given[i];
    }
    assert_true(fabs(loss - want) < 1e-5 && fabs(values[1] - right / sum) < 1e-9);
    assert_true(values[0] == plain[0] && fabs(accuracy - plain[1]) < 1e-9 && fabs(values[1] - plain[1]) > 1e-4);
    hone_dataset *data = hone_dataset_from_tensors(x, y);
    hone_loader *loader = hone_loader_new(data, .batch_size = 13, .sample_weights = doubles);
    assert_hone_ok(ctx, hone_evaluate_loader(model, loader, &loaded, NULL, 2, of_loader));
    assert_true(fabs(loaded - want) < 1e-5 && fabs(of_loader[1] - values[1]) < 1e-9);
    hone_loader_free(loader);
    hone_dataset_free(data);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(w), hone_tensor_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_loaders_weights_train_as_fits_do),
        TEST(test_weights_follow_their_rows),
        TEST(test_an_evaluation_weighs_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
