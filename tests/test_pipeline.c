/* Frames and pipelines, against scikit-learn (scripts/golden/make_data_golden.py). */
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

static const char *const only_a[] = {"a", NULL}, *const only_b[] = {"b", NULL}, *const only_z[] = {"z", NULL};

/* ---- frames ---- */

static void types_follow_from_the_values_and_gaps_are_missing(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_frame *f = read_frame(ctx, "a,b,c,d,e,f\n1,1.5,x,NA,1,\"\"\n-2, ,\"y,\"\"z\",,0x1,\n,inf,x,null,3,nan\n", (hone_frame_opts){0});
    if (!f) fail_msg("%s", hone_error(ctx));
    static const hone_column_type types[] = {HONE_COLUMN_INTEGER, HONE_COLUMN_REAL, HONE_COLUMN_TEXT,
                                             HONE_COLUMN_REAL,    HONE_COLUMN_TEXT, HONE_COLUMN_REAL};
    assert_int_equal(f->n_columns, 6);
    assert_int_equal(f->rows, 3);
    for (size_t i = 0; i < 6; i++) assert_int_equal(f->columns[i].type, types[i]);
    const hone_column *a = hone_frame_find(f, "a"), *b = hone_frame_find(f, "b"), *c = hone_frame_find(f, "c");
    assert_true(a->numbers[0] == 1 && a->numbers[1] == -2 && hone_column_missing(a, 2) && hone_column_missing(a, -1));
    assert_true(b->numbers[0] == 1.5 && isnan(b->numbers[1]) && isinf(b->numbers[2]));
    assert_int_equal(c->n_categories, 2);
    assert_string_equal(c->categories[1], "y,\"z");
    assert_memory_equal(c->codes, ((int32_t[]){0, 1, 0}), 12);
    assert_null(hone_frame_find(f, "g"));
    hone_frame_free(f);
    hone_frame_free(NULL);
    f = read_frame(ctx, "1\t01234\n2\t?\n", (hone_frame_opts){.delimiter = '\t', .no_header = true,
                                                             .text = HONE_COLUMNS("1"), .missing = HONE_COLUMNS("?")});
    if (!f) fail_msg("%s", hone_error(ctx));
    assert_string_equal(hone_frame_find(f, "1")->categories[0], "01234");
    assert_true(hone_column_missing(hone_frame_find(f, "1"), 1));
    hone_frame_free(f);
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("t.tsv"), "a\tb\n1\t2\n", 8));
    f = hone_frame_load(ctx, scratch("t.tsv"));
    assert_true(f && f->n_columns == 2);
    hone_frame_free(f);
    static const struct {
        const char *text;
        hone_frame_opts opts;
        hone_status status;
        const char *part;
    } cases[] = {
        {"", {0}, HONE_FORMAT, "is empty"},
        {"a,b\n", {0}, HONE_FORMAT, "no rows"},
        {"a,b,a\n1,2,3\n", {0}, HONE_FORMAT, "two columns are named 'a'"},
        {"a,b\n1\n", {0}, HONE_FORMAT, "line 2, column 2: has 1 field"},
        {"a\n1\n", {.text = only_z}, HONE_NOT_FOUND, "no column 'z'"},
        {"a\n1\n", {.delimiter = '\n'}, HONE_INVALID, "delimiter"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        assert_null(read_frame(ctx, cases[i].text, cases[i].opts));
        assert_int_equal(hone_ctx_status(ctx), cases[i].status);
        if (!strstr(hone_error(ctx), cases[i].part)) fail_msg("'%s' does not say '%s'", hone_error(ctx), cases[i].part);
        hone_clear_error(ctx);
    }
    hone_ctx_release(ctx);
}

static void rows_with_gaps_and_repeated_rows_are_dropped(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_frame *f = hone_frame_new(ctx, 6);
    assert_hone_ok(ctx, hone_frame_add_numbers(f, "n", (double[]){1, NAN, 1, 0, -0.0, NAN}));
    assert_hone_ok(ctx, hone_frame_add_texts(f, "t", (const char *const[]){"b", "a", "b", NULL, NULL, "a"}));
    assert_int_equal(hone_frame_find(f, "n")->type, HONE_COLUMN_INTEGER);
    hone_frame *copy = hone_frame_take(f, 3, (int64_t[]){5, 0, 0});
    assert_true(copy->rows == 3 && isnan(copy->columns[0].numbers[0]) && copy->columns[1].codes[2] == 1);
    assert_string_equal(copy->columns[1].categories[1], "b");
    hone_frame_free(copy);
    assert_hone_ok(ctx, hone_frame_drop_duplicates(f, NULL));
    assert_int_equal(f->rows, 3); /* (1, b), (NaN, a), (0, -) */
    assert_true(f->columns[0].numbers[2] == 0 && f->columns[1].codes[1] == 0 && f->columns[1].codes[2] == -1);
    assert_hone_ok(ctx, hone_frame_drop_missing(f, HONE_COLUMNS("t")));
    assert_int_equal(f->rows, 2);
    assert_hone_ok(ctx, hone_frame_drop_missing(f, NULL));
    assert_true(f->rows == 1 && f->columns[0].numbers[0] == 1);
    assert_int_equal(hone_frame_drop_missing(f, HONE_COLUMNS("x")), HONE_NOT_FOUND);
    assert_null(hone_frame_take(f, 1, (int64_t[]){1}));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_int_equal(hone_frame_add_numbers(f, "n", (double[]){1}), HONE_INVALID);
    hone_frame_free(f);
    hone_ctx_release(ctx);
}

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
        {"a,y\nq,1\n", "y", HONE_STANDARD_SCALER, {0}, HONE_DTYPE, "text and no step encodes it"},
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
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{", "x.json line 1"},
        {"[]", "no pipeline"},
        {"{\"format\":\"hone-pipeline\",\"version\":2}", "version"},
        {HEAD "\"inputs\":[{\"name\":\"a\"}],\"features\":[],\"steps\":[]}", "a type is"},
        {HEAD "\"inputs\":[],\"features\":[1],\"steps\":[]}", "list of strings"},
        {HEAD "\"inputs\":[],\"features\":[],\"steps\":[{\"kind\":\"x\"}]}", "kind"},
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

static void failing_allocations_are_told(void **state)
{
    (void)state;
    fail_each_allocation(frame_and_pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(types_follow_from_the_values_and_gaps_are_missing, scratch_make, scratch_remove),
        cmocka_unit_test(rows_with_gaps_and_repeated_rows_are_dropped),
        cmocka_unit_test(each_step_gives_what_scikit_learn_gives),
        cmocka_unit_test_setup_teardown(a_pipeline_gives_the_same_after_it_was_saved_and_loaded, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(a_model_is_saved_with_its_pipeline, scratch_make, scratch_remove),
        cmocka_unit_test(what_does_not_fit_the_training_is_refused_with_column_row_and_value),
        cmocka_unit_test(damaged_pipelines_are_refused),
        cmocka_unit_test_setup_teardown(failing_allocations_are_told, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, open_people, close_people);
}
