/* Pipelines, against scikit-learn (scripts/golden/make_data_golden.py). */
#include "data_tools.h"

#include "hone/train.h"

static hone_frame *read_frame(hone_ctx *ctx, const char *text, hone_frame_opts opts)
{
    opts.struct_size = sizeof opts;
    return hone__frame_read(ctx, "x.csv", text, strlen(text), &opts);
}

static hone_frame *people(hone_ctx *ctx, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/csv/%s", HONE_TEST_DATA, name);
    hone_frame *f = hone_frame_load(ctx, path);
    if (!f) fail_msg("%s", hone_error(ctx));
    return f;
}

static const char *const only_a[] = {"a", NULL}, *const only_b[] = {"b", NULL};

/* ---- steps ---- */

static hone_ctx *ctx;
static hone_npz *golden;
static hone_frame *train, *new_people;

static int open_people(void **state)
{
    (void)state;
    ctx = hone_ctx_new(.threads = 1);
    golden = hone_npz_load(ctx, DATA_FILE("golden.npz"));
    if (hone_ctx_status(ctx) == HONE_UNSUPPORTED) hone_clear_error(ctx);
    train = people(ctx, "people.csv");
    new_people = people(ctx, "people_new.csv");
    return 0;
}

static int close_people(void **state)
{
    (void)state;
    hone_npz_free(golden);
    hone_frame_free(train), hone_frame_free(new_people);
    hone_ctx_release(ctx);
    return 0;
}

/* The column's values after one step fitted on the training data, [rows]. */
static hone_tensor *after(hone_pipeline_step kind, const char *column, hone_pipeline_add_opts opts)
{
    hone_pipeline *p = hone_pipeline_new(ctx);
    const char *others[6] = {0};
    for (size_t i = 0, n = 0; i < train->n_columns; i++)
        if (strcmp(train->columns[i].name, column) != 0) others[n++] = train->columns[i].name;
    opts.struct_size = sizeof opts;
    opts.columns = HONE_COLUMNS(column);
    assert_hone_ok(ctx, hone_pipeline_add(p, HONE_DROP_COLUMNS, .columns = others));
    assert_hone_ok(ctx, hone_pipeline_add_opt(p, kind, &opts));
    hone_tensor *x;
    assert_hone_ok(ctx, hone_pipeline_fit(p, train));
    assert_hone_ok(ctx, hone_pipeline_apply(p, new_people, &x, NULL));
    x->shape = HONE_SHAPE(x->shape.dim[0]);
    hone_pipeline_free(p);
    return x;
}

static void each_step_gives_what_scikit_learn_gives(void **state)
{
    (void)state;
    if (!golden) skip();
    static const struct {
        const char *golden;
        hone_pipeline_step kind;
        const char *column;
        hone_pipeline_add_opts opts;
    } cases[] = {
        {"standard.age", HONE_STANDARD_SCALER, "age", {0}},
        {"standard.height", HONE_STANDARD_SCALER, "height", {0}},
        {"standard.income", HONE_STANDARD_SCALER, "income", {0}},
        {"min_max.age", HONE_MIN_MAX_SCALER, "age", {0}},
        {"min_max.height", HONE_MIN_MAX_SCALER, "height", {0}},
        {"min_max_symmetric.income", HONE_MIN_MAX_SCALER, "income", {.low = -1, .high = 1}},
        {"robust.age", HONE_ROBUST_SCALER, "age", {0}},
        {"robust.income", HONE_ROBUST_SCALER, "income", {0}},
        {"robust_wide.height", HONE_ROBUST_SCALER, "height", {.low = 0.1, .high = 0.9}},
        {"impute_mean.age", HONE_SIMPLE_IMPUTER, "age", {0}},
        {"impute_mean.height", HONE_SIMPLE_IMPUTER, "height", {0}},
        {"impute_median.age", HONE_SIMPLE_IMPUTER, "age", {.strategy = HONE_IMPUTE_MEDIAN}},
        {"impute_median.height", HONE_SIMPLE_IMPUTER, "height", {.strategy = HONE_IMPUTE_MEDIAN}},
        {"impute_most_frequent.age", HONE_SIMPLE_IMPUTER, "age", {.strategy = HONE_IMPUTE_MOST_FREQUENT}},
        {"impute_most_frequent.grade", HONE_SIMPLE_IMPUTER, "grade", {.strategy = HONE_IMPUTE_MOST_FREQUENT}},
        {"clip_quantiles.income", HONE_CLIP_OUTLIERS, "income", {.low = 0.05, .high = 0.9}},
        {"clip_iqr.income", HONE_CLIP_OUTLIERS, "income", {.iqr_factor = 1.5}},
    };
    double most = 0;
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_tensor *x = after(cases[i].kind, cases[i].column, cases[i].opts);
        most = fmax(most, assert_near_golden(golden, cases[i].golden, x, 1e-6));
        hone_tensor_free(x);
    }
    print_message("largest difference from scikit-learn: %.2g\n", most);
    hone_tensor *x = after(HONE_SIMPLE_IMPUTER, "height", (hone_pipeline_add_opts){.strategy = HONE_IMPUTE_CONSTANT, .fill_value = 7});
    hone_tensor *mean = after(HONE_SIMPLE_IMPUTER, "height", (hone_pipeline_add_opts){0});
    int64_t filled = 0;
    for (int64_t r = 0; r < new_people->rows; r++) {
        bool missing = isnan(hone_frame_find(new_people, "height")->numbers[r]);
        filled += missing;
        assert_true(missing ? hone_tensor_get(x, r) == 7 : hone_tensor_get(x, r) == hone_tensor_get(mean, r));
    }
    assert_true(filled > 0);
    hone_tensor_free(x), hone_tensor_free(mean);
}

static hone_pipeline *make_pipeline(hone_ctx *c)
{
    hone_pipeline *p = hone_pipeline_new(c, .target = "bought");
    if (!p) return NULL;
    hone_pipeline_add(p, HONE_SIMPLE_IMPUTER, .columns = HONE_COLUMNS("age", "height"), .strategy = HONE_IMPUTE_MEDIAN);
    hone_pipeline_add(p, HONE_STANDARD_SCALER, .columns = HONE_COLUMNS("age", "height"));
    hone_pipeline_add(p, HONE_SIMPLE_IMPUTER, .columns = HONE_COLUMNS("city"), .strategy = HONE_IMPUTE_MOST_FREQUENT);
    hone_pipeline_add(p, HONE_ONE_HOT_ENCODER, .ignore_unknown = true);
    hone_pipeline_add(p, HONE_ORDINAL_ENCODER, .columns = HONE_COLUMNS("grade"), .ignore_unknown = true);
    hone_pipeline_add(p, HONE_ROBUST_SCALER, .columns = HONE_COLUMNS("income"));
    return p;
}

static void a_pipeline_gives_the_same_after_it_was_saved_and_loaded(void **state)
{
    (void)state;
    hone_pipeline *p = make_pipeline(ctx);
    hone_tensor *x, *y, *x2, *y2;
    assert_int_equal(hone_pipeline_apply(p, new_people, &x, NULL), HONE_STATE);
    assert_int_equal(hone_pipeline_save(p, scratch("p.json")), HONE_STATE);
    assert_int_equal(hone_pipeline_features(p), 0);
    assert_hone_ok(ctx, hone_pipeline_fit(p, train));
    static const char *const names[] = {"age", "height", "city_Bonn", "city_Köln", "city_Ulm", "grade", "income"};
    assert_int_equal(hone_pipeline_features(p), 7);
    for (size_t i = 0; i < 7; i++) assert_string_equal(hone_pipeline_feature(p, i), names[i]);
    assert_null(hone_pipeline_feature(p, 7));
    assert_int_equal(hone_pipeline_classes(p), 2);
    assert_string_equal(hone_pipeline_class(p, 1), "yes");
    assert_hone_ok(ctx, hone_pipeline_apply(p, new_people, &x, &y));
    if (golden) assert_near_golden(golden, "pipeline", x, 1e-6);
    assert_int_equal(hone_tensor_dtype(y), HONE_I32);
    assert_int_equal(hone_pipeline_add(p, HONE_STANDARD_SCALER), HONE_STATE);
    hone_clear_error(ctx);
    assert_hone_ok(ctx, hone_pipeline_save(p, scratch("p.json")));
    hone_pipeline_free(p);

    p = hone_pipeline_load(ctx, scratch("p.json"));
    if (!p) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone_pipeline_apply(p, new_people, &x2, &y2));
    assert_memory_equal(hone_tensor_data(x), hone_tensor_data(x2), hone_tensor_bytes(x));
    assert_memory_equal(hone_tensor_data(y), hone_tensor_data(y2), hone_tensor_bytes(y));
    assert_int_equal(hone_pipeline_fit(p, train), HONE_STATE);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(x2), hone_tensor_free(y2);

    /* One record, its columns in another order, without the target. */
    hone_frame *one = hone_frame_new(ctx, 1);
    hone_frame_add_texts(one, "city", (const char *const[]){"Ulm"});
    hone_frame_add_numbers(one, "income", (double[]){1000});
    hone_frame_add_numbers(one, "grade", (double[]){3});
    hone_frame_add_numbers(one, "height", (double[]){180});
    assert_int_equal(hone_pipeline_apply(p, one, &x, NULL), HONE_NOT_FOUND);
    assert_non_null(strstr(hone_error(ctx), "column 'age' is missing"));
    hone_frame_add_numbers(one, "age", (double[]){NAN});
    assert_hone_ok(ctx, hone_pipeline_apply(p, one, &x, NULL));
    assert_true(hone_tensor_get(x, 2) == 0 && hone_tensor_get(x, 4) == 1 && hone_tensor_get(x, 5) == 2);
    assert_int_equal(hone_pipeline_apply(p, one, &x2, &y2), HONE_NOT_FOUND);
    assert_true(!x2 && !y2);
    hone_tensor_free(x);
    hone_frame_free(one);
    hone_pipeline_free(p);
    hone_pipeline_free(NULL);
}

static void a_model_is_saved_with_its_pipeline(void **state)
{
    (void)state;
    hone_pipeline *p = make_pipeline(ctx);
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 4, .activation = HONE_RELU), hone_dense(ctx, 1)));
    assert_null(hone_predict_frame(model, new_people, 8));
    assert_non_null(strstr(hone_error(ctx), "hone_model_set_pipeline"));
    assert_int_equal(hone_model_set_pipeline(model, p), HONE_STATE); /* not fitted */
    assert_null(hone_model_pipeline(model));
    hone_clear_error(ctx);
    assert_hone_ok(ctx, hone_pipeline_fit(p, train));
    assert_hone_ok(ctx, hone_model_set_pipeline(model, p));
    hone_tensor *x;
    assert_hone_ok(ctx, hone_pipeline_apply(p, new_people, &x, NULL));
    hone_pipeline_free(p); /* the model has a copy */
    hone_tensor *want = hone_predict(model, x, 8);
    assert_hone_ok(ctx, hone_model_save(model, scratch("model.safetensors")));
    assert_hone_ok(ctx, hone_model_set_pipeline(model, hone_model_pipeline(model))); /* of itself */
    assert_int_equal(hone_pipeline_features(hone_model_pipeline(model)), 7);
    assert_hone_ok(ctx, hone_model_set_pipeline(model, NULL));
    assert_null(hone_model_pipeline(model));
    hone_model_release(model);

    hone_ctx *other = hone_ctx_new(.threads = 1);
    model = hone_model_load(other, scratch("model.safetensors"));
    if (!model) fail_msg("%s", hone_error(other));
    assert_string_equal(hone_pipeline_feature(hone_model_pipeline(model), 3), "city_Köln");
    hone_frame *again = people(other, "people_new.csv");
    hone_tensor *got = hone_predict_frame(model, again, 3);
    assert_hone_ok(other, hone_ctx_status(other));
    assert_int_equal(hone_tensor_bytes(got), hone_tensor_bytes(want));
    assert_memory_equal(hone_tensor_data(got), hone_tensor_data(want), hone_tensor_bytes(got));
    assert_true(hone_tensor_shape(got).dim[0] == again->rows && again->rows > 3);
    hone_tensor_free(got);
    hone_frame_free(again);
    again = hone_frame_new(other, 0);
    assert_null(hone_predict_frame(model, again, 3));
    assert_non_null(strstr(hone_error(other), "rows"));
    hone_frame_free(again);
    again = hone_frame_new(other, 1);
    assert_null(hone_predict_frame(model, again, 3));
    assert_non_null(strstr(hone_error(other), "column 'age' is missing"));
    assert_int_equal(hone_ctx_status(other), HONE_OK);
    hone_frame_free(again);
    hone_model_release(model);
    hone_ctx_release(other);
    hone_tensor_free(x), hone_tensor_free(want);
}

/* ---- labels ---- */

/* A pipeline for that target alone, and a label encoder. */
static hone_pipeline *encoder_of(hone_ctx *c, const char *target, bool ignore_unknown)
{
    hone_pipeline *p = hone_pipeline_new(c, .target = target);
    const char *others[6] = {0};
    static const char *const columns[] = {"age", "height", "city", "grade", "income", "bought"};
    for (size_t i = 0, n = 0; i < HONE_ARRAY_LEN(columns); i++)
        if (strcmp(columns[i], target) != 0) others[n++] = columns[i];
    hone_pipeline_add(p, HONE_LABEL_ENCODER, .ignore_unknown = ignore_unknown, .unknown_value = -7);
    hone_pipeline_add(p, HONE_DROP_COLUMNS, .columns = others);
    return p;
}

/* y of the frame, and of the pipeline after it was saved and loaded. */
static hone_tensor *labels_of(const hone_pipeline *p, const hone_frame *f)
{
    hone_tensor *x, *y, *x2, *y2;
    assert_hone_ok(ctx, hone_pipeline_apply(p, f, &x, &y));
    assert_int_equal(hone_tensor_dtype(y), HONE_I32);
    assert_hone_ok(ctx, hone_pipeline_save(p, scratch("labels.json")));
    hone_pipeline *again = hone_pipeline_load(ctx, scratch("labels.json"));
    if (!again) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone_pipeline_apply(again, f, &x2, &y2));
    assert_memory_equal(hone_tensor_data(y), hone_tensor_data(y2), hone_tensor_bytes(y));
    assert_int_equal(hone_pipeline_classes(again), hone_pipeline_classes(p));
    for (size_t i = 0; i < hone_pipeline_classes(p); i++)
        assert_string_equal(hone_pipeline_class(again, i), hone_pipeline_class(p, i));
    hone_pipeline_free(again);
    hone_tensor_free(x), hone_tensor_free(x2), hone_tensor_free(y2);
    return y;
}

static void labels_are_numbered_and_named_again_as_scikit_learn_does(void **state)
{
    (void)state;
    if (!golden) skip();
    static const char *const columns[] = {"city", "grade", "income"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(columns); i++) {
        char name[64];
        int64_t rows[64];
        for (int64_t r = 0; r < train->rows; r++) rows[r] = r;
        hone_frame *f = hone_frame_take(train, train->rows, rows);
        assert_hone_ok(ctx, hone_frame_drop_missing(f, HONE_COLUMNS(columns[i])));
        const hone_column *column = hone_frame_find(f, columns[i]);
        hone_pipeline *p = encoder_of(ctx, columns[i], false);
        assert_hone_ok(ctx, hone_pipeline_fit(p, f));
        hone_tensor *y = labels_of(p, f);
        snprintf(name, sizeof name, "label.%s", columns[i]);
        assert_near_golden(golden, name, y, 0);
        const char *labels[64];
        assert_hone_ok(ctx, hone_pipeline_invert_target(p, y, labels));
        for (int64_t r = 0; r < f->rows; r++) {
            if (column->codes)
                assert_string_equal(labels[r], column->categories[column->codes[r]]);
            else
                assert_true(strtod(labels[r], NULL) == column->numbers[r]);
        }
        snprintf(name, sizeof name, "label.%s.classes", columns[i]);
        hone_tensor *classes = column->codes ? NULL : golden_array(golden, name);
        assert_int_equal(hone_pipeline_classes(p), classes ? hone_tensor_shape(classes).dim[0] : 3);
        for (size_t k = 0; classes && k < hone_pipeline_classes(p); k++)
            assert_true(strtod(hone_pipeline_class(p, k), NULL) == hone_tensor_get(classes, (int64_t)k));
        hone_tensor_free(y);
        hone_pipeline_free(p);
        hone_frame_free(f);

        p = encoder_of(ctx, columns[i], true); /* what is missing is left out when fitting */
        assert_hone_ok(ctx, hone_pipeline_fit(p, train));
        y = labels_of(p, new_people);
        snprintf(name, sizeof name, "label.%s.unknown", columns[i]);
        assert_near_golden(golden, name, y, 0);
        assert_hone_ok(ctx, hone_pipeline_invert_target(p, y, labels));
        int unknown = 0;
        for (int64_t r = 0; r < new_people->rows; r++) {
            assert_true(!labels[r] == (hone_tensor_get(y, r) == -7));
            unknown += !labels[r];
        }
        assert_true(unknown > 0);
        hone_tensor_free(y);
        hone_pipeline_free(p);
    }
}

/* A column without values is of any type; so are no rows of one. */
static void no_label_is_known_where_there_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *learnt, *blank;
    } cases[] = {{"a,t\n1,x\n2,y\n", "a,t\n1,\n2,\n"}, {"a,t\n1,3\n2,5\n", "a,t\n1,q\n2,\n"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_frame *learnt = read_frame(ctx, cases[i].learnt, (hone_frame_opts){0}), *blank = read_frame(ctx, cases[i].blank, (hone_frame_opts){0});
        hone_pipeline *p = hone_pipeline_new(ctx, .target = "t");
        hone_pipeline_add(p, HONE_LABEL_ENCODER, .ignore_unknown = true, .unknown_value = -7);
        assert_hone_ok(ctx, hone_pipeline_fit(p, learnt));
        static const int64_t missing[] = {1};
        hone_frame *some = hone_frame_take(blank, 1, missing), *none = hone_frame_take(blank, 0, missing);
        hone_tensor *x, *y;
        assert_hone_ok(ctx, hone_pipeline_apply(p, some, &x, &y));
        assert_true(hone_tensor_get(y, 0) == -7);
        hone_tensor_free(x), hone_tensor_free(y);
        assert_hone_ok(ctx, hone_pipeline_apply(p, none, &x, &y));
        assert_int_equal(hone_tensor_shape(y).dim[0], 0);
        hone_tensor_free(x), hone_tensor_free(y);
        hone_frame_free(learnt), hone_frame_free(blank), hone_frame_free(some), hone_frame_free(none);
        hone_pipeline_free(p);
    }
}

static void labels_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    hone_ctx *c = hone_ctx_new(.threads = 1);
    hone_frame *f = read_frame(c, "a,t,n\n1,x,-1.5\n2,y,4\n3,x,-0\n4,z,0\n", (hone_frame_opts){0});
    hone_tensor *x, *y;
    hone_pipeline *p = hone_pipeline_new(c, .target = "n");
    hone_pipeline_add(p, HONE_DROP_COLUMNS, .columns = HONE_COLUMNS("t"));
    hone_pipeline_add(p, HONE_LABEL_ENCODER);
    const char *labels[4];
    hone_tensor *numbers = hone_tensor_from_i32(c, HONE_SHAPE(2), (const int32_t[]){2, 3});
    assert_int_equal(hone_pipeline_invert_target(p, numbers, labels), HONE_STATE);
    assert_hone_ok(c, hone_pipeline_fit(p, f));
    assert_hone_ok(c, hone_pipeline_apply(p, f, &x, &y));
    assert_memory_equal(hone_tensor_data(y), ((int32_t[]){0, 2, 1, 1}), 16); /* -0 is 0 */
    assert_string_equal(hone_pipeline_class(p, 0), "-1.5");
    assert_string_equal(hone_pipeline_class(p, 1), "0");
    assert_int_equal(hone_pipeline_invert_target(p, numbers, labels), HONE_INVALID);
    assert_non_null(strstr(hone_error(c), "row 1: 3 is the number of none of the 3 classes"));
    assert_int_equal(hone_pipeline_invert_target(p, x, labels), HONE_DTYPE);
    hone_tensor *square = hone_tensor_new(c, HONE_I32, HONE_SHAPE(2, 2));
    assert_int_equal(hone_pipeline_invert_target(p, square, labels), HONE_SHAPE);
    assert_int_equal(hone_pipeline_invert_target(NULL, y, labels), HONE_INVALID);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(numbers), hone_tensor_free(square);
    static const struct {
        const char *text;
        hone_status status;
        const char *part;
    } cases[] = {
        {"a,n\n1,4\n2,4.5\n", HONE_INVALID, "the target 'n' is \"4.5\" in row 1, which was none of the 3 classes in training; "
                                            "HONE_LABEL_ENCODER with ignore_unknown accepts it"},
        {"a,n\n1,\n2,4\n", HONE_INVALID, "the target 'n' is missing in row 0"},
        {"a,n\n1,w\n", HONE_DTYPE, "the target 'n' holds text here and held numbers in training"},
        {"a,m\n1,w\n", HONE_NOT_FOUND, "no column 'n'"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_frame *b = read_frame(c, cases[i].text, (hone_frame_opts){0});
        assert_int_equal(hone_pipeline_apply(p, b, &x, &y), cases[i].status);
        if (!strstr(hone_error(c), cases[i].part)) fail_msg("'%s' does not say '%s'", hone_error(c), cases[i].part);
        assert_true(!x && !y);
        hone_frame_free(b);
    }
    hone_pipeline_free(p);

    p = hone_pipeline_new(c, .target = "t"); /* text is encoded without a step, and unknown text refused */
    assert_hone_ok(c, hone_pipeline_fit(p, f));
    hone_frame *b = read_frame(c, "a,t,n\n1,w,2\n", (hone_frame_opts){0});
    assert_int_equal(hone_pipeline_apply(p, b, &x, &y), HONE_INVALID);
    assert_non_null(strstr(hone_error(c), "the target 't' is \"w\" in row 0, which was none of the 3 classes in training"));
    hone_frame_free(b);
    hone_pipeline_free(p);
    p = hone_pipeline_new(c, .target = "a"); /* class numbers as they stand have no names */
    hone_pipeline_add(p, HONE_DROP_COLUMNS, .columns = HONE_COLUMNS("t"));
    assert_hone_ok(c, hone_pipeline_fit(p, f));
    assert_hone_ok(c, hone_pipeline_apply(p, f, &x, &y));
    assert_memory_equal(hone_tensor_data(y), ((int32_t[]){1, 2, 3, 4}), 16);
    assert_int_equal(hone_pipeline_invert_target(p, y, labels), HONE_INVALID);
    assert_non_null(strstr(hone_error(c), "has no classes"));
    hone_tensor_free(x), hone_tensor_free(y);
    hone_pipeline_free(p);

    p = hone_pipeline_new(c, .target = "t");
    hone_pipeline_add(p, HONE_LABEL_ENCODER, .ignore_unknown = true, .unknown_value = 2);
    assert_int_equal(hone_pipeline_fit(p, f), HONE_INVALID);
    assert_non_null(strstr(hone_error(c), "unknown_value is 2, which is the number of class 'z'"));
    assert_int_equal(hone_pipeline_add(p, HONE_LABEL_ENCODER), HONE_INVALID);
    assert_non_null(strstr(hone_error(c), "has one already"));
    hone_clear_error(c);
    hone_pipeline_free(p);
    static const struct {
        const char *target;
        hone_pipeline_add_opts opts;
        const char *part;
    } wrong[] = {{NULL, {0}, "has no target"},
                 {"t", {.columns = only_a}, "it is for the target; HONE_ORDINAL_ENCODER"},
                 {"t", {.unknown_value = 0.5}, "whole number"},
                 {"t", {.unknown_value = 3e9}, "whole number"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        hone_pipeline_add_opts opts = wrong[i].opts;
        opts.struct_size = sizeof opts;
        p = hone_pipeline_new(c, .target = wrong[i].target);
        assert_int_equal(hone_pipeline_add_opt(p, HONE_LABEL_ENCODER, &opts), HONE_INVALID);
        if (!strstr(hone_error(c), wrong[i].part)) fail_msg("'%s' does not say '%s'", hone_error(c), wrong[i].part);
        hone_clear_error(c);
        hone_pipeline_free(p);
    }
    hone_frame_free(f);
    hone_ctx_release(c);
}

/* ---- refusals ---- */

static void what_does_not_fit_the_training_is_refused_with_column_row_and_value(void **state)
{
    (void)state;
    hone_ctx *c = hone_ctx_new(.threads = 1);
    hone_frame *a = read_frame(c, "n,t,y\n1,x,0.5\n2,y,1\n2,x,2\n", (hone_frame_opts){0});
    hone_pipeline *p = hone_pipeline_new(c, .target = "y");
    hone_pipeline_add(p, HONE_ONE_HOT_ENCODER, .columns = HONE_COLUMNS("n", "t"), .drop_first = true);
    assert_hone_ok(c, hone_pipeline_fit(p, a));
    assert_string_equal(hone_pipeline_feature(p, 0), "n_2");
    assert_string_equal(hone_pipeline_feature(p, 1), "t_y");
    hone_tensor *x, *y;
    assert_hone_ok(c, hone_pipeline_apply(p, a, &x, &y));
    assert_memory_equal(hone_tensor_data(x), ((float[]){0, 0, 1, 1, 1, 0}), 24);
    assert_memory_equal(hone_tensor_data(y), ((float[]){0.5, 1, 2}), 12);
    hone_tensor_free(x), hone_tensor_free(y);
    static const struct {
        const char *text;
        hone_status status;
        const char *part;
    } cases[] = {
        {"n,t\n1,x\n1,z\n", HONE_INVALID, "column 't', row 1: \"z\" was not among the 2 values in training (\"x\""},
        {"n,t\n3,x\n", HONE_INVALID, "column 'n', row 0: 3 was not among the 2 values"},
        {"n,t\n1,x\n1,\n", HONE_INVALID, "column 't' has no value in row 1"},
        {"n,t\nq,x\n", HONE_DTYPE, "column 'n' holds text here and held numbers in training"},
        {"n,t\n1,5\n", HONE_DTYPE, "column 't' holds numbers here and held text in training; name it in .text"},
        {"n,t\n1,\n", HONE_INVALID, "column 't' has no value in row 0"}, /* of no type at all */
        {"n\n1\n", HONE_NOT_FOUND, "column 't' is missing"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_frame *b = read_frame(c, cases[i].text, (hone_frame_opts){0});
        assert_int_equal(hone_pipeline_apply(p, b, &x, NULL), cases[i].status);
        if (!strstr(hone_error(c), cases[i].part)) fail_msg("'%s' does not say '%s'", hone_error(c), cases[i].part);
        assert_null(x);
        hone_frame_free(b);
    }
    assert_int_equal(hone_ctx_status(c), HONE_OK);
    hone_pipeline_free(p);

    static const struct {
        const char *text, *target;
        hone_pipeline_step kind;
        hone_pipeline_add_opts opts;
        hone_status status;
        const char *part;
    } fits[] = {
        {"a,y\n1,1\n", "z", HONE_STANDARD_SCALER, {0}, HONE_NOT_FOUND, "no column 'z', which is the target"},
        {"a,y\n1,\n2,1\n", "y", HONE_STANDARD_SCALER, {0}, HONE_INVALID, "the target 'y' is missing in row 0"},
        {"a,y\ninf,1\n", "y", HONE_STANDARD_SCALER, {0}, HONE_NUMERIC, "infinite"},
        {"a,y\n,1\n", "y", HONE_STANDARD_SCALER, {0}, HONE_INVALID, "column 'a' has no values"},
        {"a,y\n,1\n", "y", HONE_ROBUST_SCALER, {0}, HONE_INVALID, "robust_scaler: column 'a' has no values"},
        {"a,y\n1,1\n,-inf\n", "y", HONE_MIN_MAX_SCALER, {0}, HONE_INVALID, "the target 'y' is infinite in row 1"},
        {"a,y\n-1.7e308,1\n1.7e308,1\n", "y", HONE_MIN_MAX_SCALER, {0}, HONE_NUMERIC, "too large to be scaled, up to 1.7e+308"},
        {"a,y\n-1.7e308,1\n-1.7e308,1\n1.7e308,1\n1.7e308,1\n1.7e308,1\n", "y", HONE_ROBUST_SCALER, {0}, HONE_NUMERIC, "too large to be scaled"},
        {"a,y\nq,1\n", "y", HONE_STANDARD_SCALER, {0}, HONE_DTYPE, "text and no step encodes it: add HONE_ONE_HOT_ENCODER, or drop it with HONE_DROP_COLUMNS (\"q\" in row 0)"},
        {"a,y\nq,1\n", "y", HONE_STANDARD_SCALER, {.columns = only_a}, HONE_DTYPE, "is text, and numbers"},
        {"a,y\nq,1\n", "y", HONE_SIMPLE_IMPUTER, {.columns = only_a}, HONE_DTYPE, "most frequent"},
        {"a,y\n1,1\n", "y", HONE_DROP_COLUMNS, {.columns = only_b}, HONE_NOT_FOUND, "no column 'b'"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(fits); i++) {
        hone_frame *b = read_frame(c, fits[i].text, (hone_frame_opts){0});
        p = hone_pipeline_new(c, .target = fits[i].target);
        hone_pipeline_add_opts opts = fits[i].opts;
        opts.struct_size = sizeof opts;
        assert_hone_ok(c, hone_pipeline_add_opt(p, fits[i].kind, &opts));
        hone_status status = hone_pipeline_fit(p, b);
        if (status != fits[i].status || !strstr(hone_error(c), fits[i].part))
            fail_msg("case %zu: '%s' does not say '%s'", i, hone_error(c), fits[i].part);
        assert_int_equal(hone_pipeline_apply(p, b, &x, NULL), HONE_STATE);
        hone_pipeline_free(p);
        hone_frame_free(b);
    }
    static const hone_pipeline_add_opts wrong[] = {{.low = 2, .high = 1}, {.low = 0.1, .high = 2}, {.iqr_factor = -1},
                                           {.low = NAN, .high = 1}, {.fill_value = INFINITY}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        hone_pipeline_add_opts opts = wrong[i];
        opts.struct_size = sizeof opts;
        p = hone_pipeline_new(c);
        assert_int_equal(hone_pipeline_add_opt(p, HONE_CLIP_OUTLIERS, &opts), HONE_INVALID);
        hone_clear_error(c);
        hone_pipeline_free(p);
    }
    hone_frame_free(a);
    a = read_frame(c, "t\n\xFF\n", (hone_frame_opts){0}); /* Latin 1: read, but no text of a JSON file */
    p = hone_pipeline_new(c);
    hone_pipeline_add(p, HONE_ONE_HOT_ENCODER);
    assert_hone_ok(c, hone_pipeline_fit(p, a));
    assert_int_equal(hone_pipeline_save(p, "never.json"), HONE_INVALID);
    assert_non_null(strstr(hone_error(c), "UTF-8"));
    hone_model *model = hone_model_of(hone_sequential(c, hone_dense(c, 1)));
    assert_int_equal(hone_model_set_pipeline(model, p), HONE_INVALID);
    assert_non_null(strstr(hone_error(c), "UTF-8"));
    hone_model_release(model);
    hone_pipeline_free(p);
    hone_frame_free(a);
    hone_ctx_release(c);
}

static void damaged_pipelines_are_refused(void **state)
{
    (void)state;
    hone_ctx *c = hone_ctx_new(.threads = 1);
#define HEAD "{\"format\":\"hone-pipeline\",\"version\":1,\"target_type\":\"none\",\"classes\":[],"
#define LABELLED                                                                                             \
    "{\"format\":\"hone-pipeline\",\"version\":1,\"target_type\":\"label\",\"target\":\"t\",\"classes\":[],\"inputs\":[],\"features\":[],\"steps\":"
#define LABELS "{\"kind\":\"label_encoder\",\"columns\":[{\"name\":\"t\",\"values\":[1]}]}"
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{", "x.json line 1"},
        {"[]", "no pipeline"},
        {"{\"format\":\"hone-pipeline\",\"version\":2}", "version"},
        {HEAD "\"inputs\":[{\"name\":\"a\"}],\"features\":[],\"steps\":[]}", "a type is"},
        {HEAD "\"inputs\":[],\"features\":[1],\"steps\":[]}", "list of strings"},
        {HEAD "\"inputs\":[],\"features\":[],\"steps\":[{\"kind\":\"x\"}]}", "kind"},
        {HEAD "\"inputs\":[],\"features\":[],\"steps\":[" LABELS "]}", "label_encoder: is for the target, once"},
        {LABELLED "[" LABELS "," LABELS "]}", "label_encoder: is for the target, once"},
        {LABELLED "[]}", "there is no label_encoder"},
        {LABELLED "[{\"kind\":\"label_encoder\",\"columns\":[]}]}", "must be a list"},
        {LABELLED "[{\"kind\":\"label_encoder\",\"columns\":[{\"name\":\"t\",\"values\":[]}]}]}", "not empty"},
        {LABELLED "[{\"kind\":\"label_encoder\",\"unknown_value\":0.5,\"columns\":[{\"name\":\"t\",\"values\":[1]}]}]}", "out of range"},
        {LABELLED "[{\"kind\":\"label_encoder\",\"ignore_unknown\":true,\"unknown_value\":0,\"columns\":[{\"name\":\"t\",\"values\":[1]}]}]}", "is the number of a class"},
        {HEAD "\"inputs\":[],\"features\":[],\"steps\":[{\"kind\":\"standard_scaler\",\"columns\":[{\"name\":\"a\"}]}]}", "finite"},
        {HEAD "\"inputs\":[],\"features\":[],\"steps\":[{\"kind\":\"standard_scaler\",\"columns\":[{\"name\":\"a\",\"a\":1,\"b\":0}]}]}", "scale"},
        {HEAD "\"inputs\":[],\"features\":[],\"steps\":[{\"kind\":\"one_hot_encoder\",\"columns\":[{\"name\":\"a\",\"values\":[\"b\",\"a\"]}]}]}", "ascend"},
        {HEAD "\"inputs\":[],\"features\":[],\"steps\":[{\"kind\":\"one_hot_encoder\",\"columns\":[{\"name\":\"a\",\"values\":[1,\"a\"]}]}]}", "all"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        assert_null(hone__pipeline_read(c, "x.json", cases[i].text, strlen(cases[i].text)));
        assert_int_equal(hone_ctx_status(c), HONE_FORMAT);
        if (!strstr(hone_error(c), cases[i].part)) fail_msg("'%s' does not say '%s'", hone_error(c), cases[i].part);
        hone_clear_error(c);
    }
    /* Parts that fit alone but not together are noticed when it is applied. */
    static const char *const loose[] = {
        HEAD "\"inputs\":[{\"name\":\"a\",\"type\":\"number\"}],\"features\":[\"b\"],\"steps\":[]}",
        HEAD "\"inputs\":[{\"name\":\"a\",\"type\":\"number\"}],\"features\":[\"a\"],\"steps\":[{\"kind\":\"one_hot_encoder\","
             "\"columns\":[{\"name\":\"a\",\"values\":[\"x\"]}]}]}",
        HEAD "\"inputs\":[{\"name\":\"a\",\"type\":\"number\"}],\"features\":[\"a\"],\"steps\":[{\"kind\":\"drop_columns\","
             "\"columns\":[{\"name\":\"a\"},{\"name\":\"a\"}]}]}",
    };
    hone_frame *f = read_frame(c, "a\n1\n", (hone_frame_opts){0});
    for (size_t i = 0; i < HONE_ARRAY_LEN(loose); i++) {
        hone_pipeline *p = hone__pipeline_read(c, "x.json", loose[i], strlen(loose[i]));
        if (!p) fail_msg("%s", hone_error(c));
        hone_tensor *x;
        assert_true(hone_pipeline_apply(p, f, &x, NULL) != HONE_OK && !x);
        hone_pipeline_free(p);
    }
    hone_frame_free(f);
    hone_ctx_release(c);
}

static bool frame_and_pipeline(hone_ctx *c)
{
    hone_tensor *x = NULL, *y = NULL;
    hone_frame *f = hone_frame_load(c, HONE_TEST_DATA "/csv/people.csv");
    hone_pipeline *p = make_pipeline(c), *again = NULL;
    bool ok = f && p && hone_pipeline_fit(p, f) == HONE_OK && hone_pipeline_save(p, scratch("q.json")) == HONE_OK &&
              (again = hone_pipeline_load(c, scratch("q.json"))) && hone_pipeline_apply(again, f, &x, &y) == HONE_OK &&
              hone_frame_drop_missing(f, NULL) == HONE_OK && hone_frame_drop_duplicates(f, NULL) == HONE_OK;
    hone_model *model = ok ? hone_model_of(hone_sequential(c, hone_dense(c, 1))) : NULL, *loaded = NULL;
    ok = model && hone_model_set_pipeline(model, p) == HONE_OK && hone_model_save(model, scratch("q.safetensors")) == HONE_OK &&
         (loaded = hone_model_load(c, scratch("q.safetensors"))) && hone_model_pipeline(loaded);
    hone_model_release(model), hone_model_release(loaded);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_pipeline_free(p), hone_pipeline_free(again);
    hone_frame_free(f);
    return ok;
}

static bool labels_and_back(hone_ctx *c)
{
    hone_tensor *x = NULL, *y = NULL;
    const char *labels[64];
    hone_frame *f = hone_frame_load(c, HONE_TEST_DATA "/csv/people.csv");
    hone_pipeline *p = f ? encoder_of(c, "income", true) : NULL, *again = NULL;
    bool ok = p && hone_pipeline_fit(p, f) == HONE_OK && hone_pipeline_save(p, scratch("q.json")) == HONE_OK &&
              (again = hone_pipeline_load(c, scratch("q.json"))) && hone_pipeline_apply(again, f, &x, &y) == HONE_OK &&
              hone_pipeline_invert_target(again, y, labels) == HONE_OK;
    hone_tensor_free(x), hone_tensor_free(y);
    hone_pipeline_free(p), hone_pipeline_free(again);
    hone_frame_free(f);
    return ok;
}

static void failing_allocations_are_told(void **state)
{
    (void)state;
    fail_each_allocation(frame_and_pipeline);
    fail_each_allocation(labels_and_back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_gives_what_scikit_learn_gives),
        cmocka_unit_test_setup_teardown(a_pipeline_gives_the_same_after_it_was_saved_and_loaded, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(a_model_is_saved_with_its_pipeline, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(labels_are_numbered_and_named_again_as_scikit_learn_does, scratch_make, scratch_remove),
        cmocka_unit_test(labels_that_do_not_fit_are_refused), cmocka_unit_test(no_label_is_known_where_there_are_none),
        cmocka_unit_test(what_does_not_fit_the_training_is_refused_with_column_row_and_value),
        cmocka_unit_test(damaged_pipelines_are_refused),
        cmocka_unit_test_setup_teardown(failing_allocations_are_told, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, open_people, close_people);
}
