/* Frames: read from files, divided, without gaps and repeated rows, and as tensors. */
#include "data_tools.h"

#include <math.h>

static hone_frame *read_frame(hone_ctx *ctx, const char *text, hone_frame_opts opts)
{
    opts.struct_size = sizeof opts;
    return hone__frame_read(ctx, "x.csv", text, strlen(text), &opts);
}

static const char *const only_z[] = {"z", NULL};

/* ---- files ---- */

static void marks_line_ends_quotes_and_gaps_of_a_csv_file_are_read(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_frame *f = hone_frame_load(ctx, HONE_TEST_DATA "/csv/flowers.csv");
    if (!f) fail_msg("%s", hone_error(ctx));
    hone_tensor *x, *y;
    assert_hone_ok(ctx, hone_frame_to_tensors(f, "species", &x, &y));
    assert_true(hone_shape_equal(hone_tensor_shape(x), HONE_SHAPE(4, 2)));
    assert_string_equal(f->columns[0].name, "sepal"); /* without the mark */
    assert_string_equal(f->columns[1].name, "petal");
    const float *v = hone_tensor_data(x);
    assert_true(v[0] == 5.1f && v[1] == 0.2f && v[2] == 7.0f && v[3] == 1.4f && v[4] == 6.3f && isnan(v[5]));
    assert_true(v[6] == 4.9f && isnan(v[7]));
    const hone_column *species = hone_frame_find(f, "species");
    assert_int_equal(species->n_categories, 3);
    assert_string_equal(species->categories[0], "setosa");
    assert_string_equal(species->categories[1], "versi\ncolor");
    assert_string_equal(species->categories[2], "virgin\"ica");
    assert_int_equal(hone_tensor_dtype(y), HONE_I32);
    assert_memory_equal(hone_tensor_data(y), ((int32_t[]){0, 1, 2, 0}), 16);
    hone_ctx_release(ctx); /* the frame and the tensors keep it */
    hone_frame_free(f);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* Short ones are read by a way of their own. */
static void every_number_is_the_double_next_to_what_is_written(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static const char *const numbers[] = {"0", "-0", "7", "-12.5", "5.", ".5", "-.5", "0.1", "0.3", "123456789012345", "-12345678901234",
                                          "1234567890123456", "9007199254740993", "0.1234567890123", "0.12345678901234", "1234567.8901234",
                                          "00012.500", "+1", "1e5", "-2.5E-3", "1e-320", "1.7976931348623157e308", "0.00000000000001"},
                      *const others[] = {"-", ".", "-.", "1.2.3", "1-", "--1", "1,5x", "0x10", "1e", "e5", "1_000", "1 2", "+", "1.e"};
    char text[8000] = "a,b\n";
    for (size_t i = 0; i < HONE_ARRAY_LEN(numbers); i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s,\" %s\t\"\n", numbers[i], numbers[i]);
    hone_frame *f = read_frame(ctx, text, (hone_frame_opts){0});
    if (!f) fail_msg("%s", hone_error(ctx));
    for (size_t i = 0; i < HONE_ARRAY_LEN(numbers); i++) {
        double want = strtod(numbers[i], NULL);
        assert_non_null(f->columns[0].numbers);
        assert_memory_equal(&f->columns[0].numbers[i], &want, sizeof want);
        assert_memory_equal(&f->columns[1].numbers[i], &want, sizeof want);
    }
    hone_frame_free(f);
    for (size_t i = 0; i < HONE_ARRAY_LEN(others); i++) {
        snprintf(text, sizeof text, "a\n1\n\"%s\"\n", others[i]);
        f = read_frame(ctx, text, (hone_frame_opts){0});
        if (!f || f->columns[0].type != HONE_COLUMN_TEXT) fail_msg("%s is taken for a number", others[i]);
        hone_frame_free(f);
    }
    enum { ROWS = 3000 };
    static char many[ROWS * 32];
    static double want[ROWS];
    size_t at = (size_t)snprintf(many, sizeof many, "a\n");
    for (uint64_t i = 0, seed = 1; i < ROWS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int digits = (int)(seed >> 60), whole = (int)(seed >> 56 & 15);
        char number[32];
        snprintf(number, sizeof number, "%s%llu.%0*llu", seed & 1 << 20 ? "-" : "", (unsigned long long)(seed >> 33) % (1ull << whole * 2),
                 digits + 1, (unsigned long long)(seed >> 21) % (1ull << digits * 2));
        want[i] = strtod(number, NULL);
        at += (size_t)snprintf(many + at, sizeof many - at, "%s\n", number);
    }
    f = read_frame(ctx, many, (hone_frame_opts){0});
    if (!f) fail_msg("%s", hone_error(ctx));
    assert_int_equal(f->rows, ROWS);
    assert_memory_equal(f->columns[0].numbers, want, sizeof want);
    hone_frame_free(f);
    hone_ctx_release(ctx);
}

static void csv_files_that_do_not_fit_are_refused_with_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size; /* 0: up to the NUL */
        hone_frame_opts opts;
        hone_status status;
        const char *part;
    } cases[] = {
        {"", 0, {0}, HONE_FORMAT, "is empty"},
        {"\xEF\xBB\xBF\n\n", 0, {0}, HONE_FORMAT, "is empty"},
        {"a,b\n", 0, {0}, HONE_FORMAT, "no rows"},
        {"a,b\n1,2\n3\n", 0, {0}, HONE_FORMAT, "line 3, column 2: has 1 field, the first line has 2"},
        {"a,b\n\n\"1\n\",2\n3\n", 0, {0}, HONE_FORMAT, "line 5, column 2: has 1 field"},
        {"a,b\n1,2,9\n", 0, {0}, HONE_FORMAT, "line 2, column 3: has 3 fields"},
        {"a,b\n1,\"2\n3,4\n", 0, {0}, HONE_FORMAT, "line 2, column 2: a quote is opened"},
        {"a,b\n1,\"2\"3\n", 0, {0}, HONE_FORMAT, "line 2, column 2: text behind a closing quote"},
        {"a\0,\0", 4, {0}, HONE_FORMAT, "line 1, column 1: a NUL byte"},
        {"a,b,a\n1,2,3\n", 0, {0}, HONE_FORMAT, "two columns are named 'a'"},
        {"a\n1\n", 0, {.text = only_z}, HONE_NOT_FOUND, "no column 'z'"},
        {"a,b\n1,2\n", 0, {.delimiter = '"'}, HONE_INVALID, "delimiter"},
        {"a\n1\n", 0, {.delimiter = '\n'}, HONE_INVALID, "delimiter"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_ctx *ctx = hone_ctx_new(.threads = 1);
        hone_frame_opts opts = cases[i].opts;
        opts.struct_size = sizeof opts;
        assert_null(hone__frame_read(ctx, "x.csv", cases[i].text, cases[i].size ? cases[i].size : strlen(cases[i].text), &opts));
        if (hone_ctx_status(ctx) != cases[i].status || !strstr(hone_error(ctx), cases[i].part))
            fail_msg("'%s' does not say '%s'", hone_error(ctx), cases[i].part);
        assert_int_equal(ctx->bytes, 0);
        hone_ctx_release(ctx);
    }
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_null(hone_frame_load(ctx, "/nonexistent.csv"));
    assert_int_equal(hone_ctx_status(ctx), HONE_IO);
    hone_ctx_release(ctx);
}

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
    hone_ctx_release(ctx);
}

/* ---- gaps and repeated rows ---- */

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
    hone_frame *again = hone_frame_take(copy, 2, (int64_t[]){2, 0});
    assert_true(hone_frame_origin(f, 4) == 4 && hone_frame_origin(copy, 0) == 5 && hone_frame_origin(again, 0) == 0 && hone_frame_origin(again, 1) == 5);
    assert_true(hone_frame_origin(copy, 3) == -1 && hone_frame_origin(copy, -1) == -1 && hone_frame_origin(NULL, 0) == -1);
    hone_frame_free(copy), hone_frame_free(again);
    assert_hone_ok(ctx, hone_frame_drop_duplicates(f, NULL));
    assert_true(hone_frame_origin(f, 1) == 1 && hone_frame_origin(f, 2) == 3); /* the first of those that are alike */
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

/* ---- divided ---- */

static void a_frame_is_split_as_tensors_are(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_frame *f = hone_frame_new(ctx, 40), *train, *test;
    double numbers[40];
    const char *texts[40];
    for (int i = 0; i < 40; i++) numbers[i] = i, texts[i] = i % 4 ? "often" : "rare";
    hone_frame_add_numbers(f, "n", numbers), hone_frame_add_texts(f, "t", texts);
    hone_tensor *x, *y, *part[4];
    assert_hone_ok(ctx, hone_frame_to_tensors(f, "t", &x, &y));
    assert_hone_ok(ctx, hone_train_test_split(x, y, 0.3, 5, &part[0], &part[1], &part[2], &part[3]));
    assert_hone_ok(ctx, hone_frame_split(f, 0.3, 5, &train, &test));
    assert_true(train->rows == 28 && test->rows == 12);
    for (int64_t r = 0; r < 40; r++) {
        const hone_frame *of = r < 28 ? train : test;
        int64_t at = r < 28 ? r : r - 28;
        assert_true(of->columns[0].numbers[at] == hone_tensor_get(part[r < 28 ? 0 : 2], at));
        assert_true(of->columns[1].codes[at] == hone_tensor_get(part[r < 28 ? 1 : 3], at));
    }
    hone_frame_free(train), hone_frame_free(test);
    for (uint64_t seed = 0; seed < 10; seed++) { /* a quarter is rare: 3 of 12, whatever the seed */
        int rare = 0;
        assert_hone_ok(ctx, hone_frame_split(f, 0.3, seed, &train, &test, .stratify = "t"));
        for (int64_t r = 0; r < test->rows; r++) rare += test->columns[1].codes[r] == 1;
        assert_int_equal(test->rows, 12);
        assert_int_equal(rare, 3);
        hone_frame_free(train), hone_frame_free(test);
    }
    assert_hone_ok(ctx, hone_frame_split(f, 1, 0, &train, &test));
    assert_true(train->rows == 0 && test->rows == 40);
    hone_frame_free(train), hone_frame_free(test);
    assert_int_equal(hone_frame_split(f, -0.1, 0, &train, &test), HONE_INVALID);
    assert_true(!train && !test);
    assert_int_equal(hone_frame_split(f, 0.5, 0, &train, &test, .stratify = "z"), HONE_NOT_FOUND);
    assert_non_null(strstr(hone_error(ctx), "no column 'z'"));
    numbers[7] = NAN;
    hone_frame_add_numbers(f, "gap", numbers);
    assert_int_equal(hone_frame_split(f, 0.5, 0, &train, &test, .stratify = "gap"), HONE_INVALID);
    assert_int_equal(hone_frame_split(NULL, 0.5, 0, &train, &test), HONE_INVALID);
    assert_true(!train && !test);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    for (int i = 0; i < 4; i++) hone_tensor_free(part[i]);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_frame_free(f);
    hone_ctx_release(ctx);
}

/* ---- as tensors ---- */

static void the_kind_of_a_target_follows_from_all_its_values(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static const struct {
        const char *text;
        hone_dtype dtype;
        size_t classes;
        double last;
    } cases[] = {
        {"a,y\n1,0\n2,7\n", HONE_I32, 0, 7},     {"a,y\n1,0\n2,2.0\n", HONE_I32, 0, 2},
        {"a,y\n1,1\n2,0.5\n", HONE_F32, 0, 0.5}, {"a,y\n1,1\n2,-1\n", HONE_F32, 0, -1},
        {"a,y\n1,1\n2,3e9\n", HONE_F32, 0, 3e9}, {"a,y\n1,0.5\n2,x\n", HONE_I32, 2, 1},
        {"a,y\n1,0x10\n2,0x11\n", HONE_I32, 2, 1},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_frame *f = read_frame(ctx, cases[i].text, (hone_frame_opts){0});
        hone_tensor *x, *y;
        if (hone_frame_to_tensors(f, "y", &x, &y) != HONE_OK) fail_msg("%s", hone_error(ctx));
        assert_memory_equal(hone_tensor_data(x), ((float[]){1, 2}), 8);
        assert_int_equal(hone_tensor_dtype(y), cases[i].dtype);
        assert_int_equal(hone_frame_find(f, "y")->n_categories, cases[i].classes);
        assert_true(hone_tensor_get(y, 1) == cases[i].last);
        hone_tensor_free(x), hone_tensor_free(y);
        hone_frame_free(f);
    }
    hone_ctx_release(ctx);
}

static void options_choose_target_header_and_delimiter(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tensor *x, *y;
    hone_frame *f = read_frame(ctx, "a;b;c\n1;2;3\n4;-5e-1;6", (hone_frame_opts){.delimiter = ';'});
    assert_hone_ok(ctx, hone_frame_to_tensors(f, "b", &x, &y));
    assert_memory_equal(hone_tensor_data(x), ((float[]){1, 3, 4, 6}), 16);
    assert_true(hone_tensor_get(y, 1) == -0.5);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_frame_free(f);
    f = read_frame(ctx, "\n1,2\n3,+4.\n", (hone_frame_opts){.no_header = true});
    assert_hone_ok(ctx, hone_frame_to_tensors(f, "0", &x, &y));
    assert_memory_equal(hone_tensor_data(x), ((float[]){2, 4}), 8);
    assert_memory_equal(hone_tensor_data(y), ((int32_t[]){1, 3}), 8);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_frame_free(f);
    f = read_frame(ctx, "a\n-inf\n", (hone_frame_opts){0});
    assert_hone_ok(ctx, hone_frame_to_tensors(f, NULL, &x, NULL));
    assert_true(hone_tensor_get(x, 0) == -INFINITY);
    hone_tensor_free(x);
    hone_frame_free(f);
    hone_ctx_release(ctx);
}

/* Parts of a frame, in which some categories have no row, number their classes alike. */
static void parts_of_a_frame_share_their_classes(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_frame *f = read_frame(ctx, "a,y\n1,c\n2,a\n3,b\n", (hone_frame_opts){0}), *part = hone_frame_take(f, 2, (int64_t[]){0, 2});
    hone_tensor *x, *y;
    assert_hone_ok(ctx, hone_frame_to_tensors(part, "y", &x, &y));
    assert_memory_equal(hone_tensor_data(y), ((int32_t[]){2, 1}), 8);
    assert_string_equal(hone_frame_find(part, "y")->categories[2], "c");
    hone_tensor_free(x), hone_tensor_free(y);
    hone_frame_free(f), hone_frame_free(part);
    hone_ctx_release(ctx);
}

static void what_is_no_tensor_is_refused_with_column_row_and_value(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static const struct {
        const char *text, *target;
        hone_status status;
        const char *part;
    } cases[] = {
        {"a,b\n1,2\nx,2\n", "b", HONE_DTYPE, "column 'a' is text and features are numbers: a pipeline encodes or drops it (\"x\" in row 1)"},
        {"a,b\n1,2\n2,1\n,2\n?,1\nz,1\n", "b", HONE_DTYPE, "(\"?\" in row 3)"},
        {"a,b\n1,2\n0x1,2\n", "b", HONE_DTYPE, "\"0x1\" in row 1"},
        {"a,b\n1e,2\n1,2\n", "b", HONE_DTYPE, "\"1e\" in row 0"},
        {"a,b\n.,2\n", "b", HONE_DTYPE, "\".\" in row 0"},
        {"a,b\n1,2\n1e99,2\n", "b", HONE_NUMERIC, "column 'a', row 1: a number too large"},
        {"a,b\n1,-1e99\n1,2\n", "b", HONE_NUMERIC, "column 'b', row 0: a number too large"},
        {"a,b\n1,2\n3,\n", "b", HONE_INVALID, "the target 'b' is missing in row 1"},
        {"a,b\n1,2\n3,nan\n", "b", HONE_INVALID, "the target 'b' is missing in row 1"},
        {"a,b\n1,-inf\n3,2\n", "b", HONE_INVALID, "the target 'b' is infinite in row 0"},
        {"a,b\n1,2\n", "c", HONE_NOT_FOUND, "no column 'c'"},
        {"a,b\n1,2\n", NULL, HONE_INVALID, "no target is named"},
    };
    hone_tensor *x, *y;
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_frame *f = read_frame(ctx, cases[i].text, (hone_frame_opts){0});
        assert_int_equal(hone_frame_to_tensors(f, cases[i].target, &x, &y), cases[i].status);
        if (!strstr(hone_error(ctx), cases[i].part)) fail_msg("'%s' does not say '%s'", hone_error(ctx), cases[i].part);
        assert_true(!x && !y);
        hone_frame_free(f);
    }
    hone_frame *f = read_frame(ctx, "a,b\n1,2\n", (hone_frame_opts){.text = HONE_COLUMNS("a")}); /* text of numbers alone */
    assert_int_equal(hone_frame_to_tensors(f, "b", &x, NULL), HONE_INVALID);
    assert_int_equal(hone_frame_to_tensors(f, "b", &x, &y), HONE_DTYPE);
    assert_non_null(strstr(hone_error(ctx), "\"1\" in row 0"));
    assert_int_equal(hone_frame_to_tensors(NULL, "b", &x, &y), HONE_INVALID);
    assert_true(!x && !y);
    hone_frame_free(f);
    enum { HUGE_FIELD = 1 << 20 };
    char *text = malloc(HUGE_FIELD + 16);
    memcpy(text, "a,b\n", 4);
    memset(text + 4, '1', HUGE_FIELD);
    memcpy(text + 4 + HUGE_FIELD, ",2\n", 3);
    f = hone__frame_read(ctx, "x.csv", text, HUGE_FIELD + 7, NULL);
    assert_int_equal(hone_frame_to_tensors(f, "b", &x, &y), HONE_DTYPE);
    assert_non_null(strstr(hone_error(ctx), "11111\" in row 0"));
    hone_frame_free(f);
    free(text);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_ctx_release(ctx);
}

/* ---- memory that runs out ---- */

static bool load_split_and_convert(hone_ctx *ctx)
{
    hone_frame *f = hone_frame_load(ctx, HONE_TEST_DATA "/csv/flowers.csv"), *train = NULL, *test = NULL;
    hone_tensor *x = NULL, *y = NULL;
    bool ok = f && hone_frame_split(f, 0.5, 1, &train, &test, .stratify = "species") == HONE_OK &&
              hone_frame_to_tensors(train, "species", &x, &y) == HONE_OK && hone_frame_drop_missing(test, NULL) == HONE_OK &&
              hone_frame_drop_duplicates(train, NULL) == HONE_OK;
    hone_tensor_free(x), hone_tensor_free(y);
    hone_frame_free(f), hone_frame_free(train), hone_frame_free(test);
    return ok;
}

static void failing_allocations_are_told(void **state)
{
    (void)state;
    fail_each_allocation(load_split_and_convert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_line_ends_quotes_and_gaps_of_a_csv_file_are_read),
        cmocka_unit_test(every_number_is_the_double_next_to_what_is_written),
        cmocka_unit_test(csv_files_that_do_not_fit_are_refused_with_line_and_column),
        cmocka_unit_test_setup_teardown(types_follow_from_the_values_and_gaps_are_missing, scratch_make, scratch_remove),
        cmocka_unit_test(rows_with_gaps_and_repeated_rows_are_dropped),
        cmocka_unit_test(a_frame_is_split_as_tensors_are),
        cmocka_unit_test(the_kind_of_a_target_follows_from_all_its_values),
        cmocka_unit_test(options_choose_target_header_and_delimiter),
        cmocka_unit_test(parts_of_a_frame_share_their_classes),
        cmocka_unit_test(what_is_no_tensor_is_refused_with_column_row_and_value),
        cmocka_unit_test(failing_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
