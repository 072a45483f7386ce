#include "scratch.h"

#include "data/data.h"

#include <math.h>

/* ---- rows ---- */

static void rows_are_taken_and_split_together(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    float values[20];
    int32_t numbers[10];
    for (int i = 0; i < 10; i++) values[2 * i] = (float)i, values[2 * i + 1] = (float)-i, numbers[i] = i;
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(10, 2), values),
                *y = hone_tensor_from_i32(ctx, HONE_SHAPE(10), numbers);
    hone_tensor *taken = hone_take(x, 3, (int64_t[]){9, 0, 9});
    assert_true(hone_shape_equal(hone_tensor_shape(taken), HONE_SHAPE(3, 2)));
    assert_memory_equal(hone_tensor_data(taken), ((float[]){9, -9, 0, 0, 9, -9}), 24);
    hone_tensor_free(taken);
    assert_null(hone_take(x, 1, (int64_t[]){10}));
    assert_non_null(strstr(hone_error(ctx), "row 10"));
    assert_null(hone_take(x, 1, (int64_t[]){-1}));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);

    hone_tensor *part[4], *again[4];
    assert_hone_ok(ctx, hone_train_test_split(x, y, 0.25, 5, &part[0], &part[1], &part[2], &part[3]));
    assert_true(hone_shape_equal(hone_tensor_shape(part[0]), HONE_SHAPE(7, 2))); /* 10 - round(2.5) */
    assert_true(hone_shape_equal(hone_tensor_shape(part[3]), HONE_SHAPE(3)));
    unsigned seen = 0;
    bool moved = false;
    for (int p = 0; p < 4; p += 2)
        for (int64_t r = 0; r < (p ? 3 : 7); r++) {
            double row = hone_tensor_get(part[p + 1], r);
            assert_true(hone_tensor_get(part[p], 2 * r) == row &&
                        hone_tensor_get(part[p], 2 * r + 1) == -row);
            seen |= 1u << (int)row;
            moved = moved || row != (double)(r + (p ? 7 : 0));
        }
    assert_int_equal(seen, 1023);
    assert_true(moved);
    assert_hone_ok(ctx, hone_train_test_split(x, y, 0.25, 5, &again[0], &again[1], &again[2], &again[3]));
    assert_memory_equal(hone_tensor_data(part[1]), hone_tensor_data(again[1]), 28);
    for (int p = 0; p < 4; p++) hone_tensor_free(part[p]), hone_tensor_free(again[p]);

    assert_hone_ok(ctx, hone_train_test_split(x, NULL, 1, 5, &part[0], NULL, &part[2], NULL));
    assert_int_equal(hone_tensor_shape(part[0]).dim[0], 0);
    hone_tensor_free(part[0]), hone_tensor_free(part[2]);
    assert_int_equal(hone_train_test_split(x, y, 1.5, 5, &part[0], &part[1], &part[2], &part[3]),
                     HONE_INVALID);
    assert_int_equal(hone_train_test_split(x, y, NAN, 5, &part[0], &part[1], &part[2], &part[3]),
                     HONE_INVALID);
    hone_tensor *nine = hone_tensor_from_i32(ctx, HONE_SHAPE(9), numbers);
    assert_int_equal(hone_train_test_split(x, nine, 0.5, 5, &part[0], &part[1], &part[2], &part[3]),
                     HONE_SHAPE);
    assert_true(!part[0] && !part[1] && !part[2] && !part[3]);
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(nine);
    hone_ctx_release(ctx);
}

static void columns_are_scaled_to_mean_zero_and_deviation_one(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    const float values[] = {1, 0.1f, 1e6f,     NAN, 2, 0.1f, 1e6f + 1, NAN,
                            3, 0.1f, 1e6f + 2, NAN, 4, 0.1f, NAN,      NAN};
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 4), values);
    hone_scaler *s = hone_scaler_fit(x);
    assert_non_null(s);
    assert_hone_ok(ctx, hone_scaler_apply(s, x));
    const float *z = hone_tensor_data(x);
    for (int r = 0; r < 4; r++) {
        assert_true(fabs(z[4 * r] - (r - 1.5) / sqrt(1.25)) < 1e-6);
        assert_true(fabs(z[4 * r + 1]) < 1e-8); /* does not vary: rounding is not blown up */
        assert_true(r == 3 ? isnan(z[4 * r + 2]) : fabs(z[4 * r + 2] - (r - 1) / sqrt(2.0 / 3)) < 1e-6);
        assert_true(isnan(z[4 * r + 3]));
    }
    hone_tensor *wide = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(4, 5)),
                *whole = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(4, 4));
    assert_int_equal(hone_scaler_apply(s, wide), HONE_SHAPE);
    assert_int_equal(hone_scaler_apply(s, whole), HONE_DTYPE);
    assert_hone_ok(ctx, hone_scaler_invert(s, x));
    for (int i = 0; i < 16; i++) assert_true(isnan(values[i]) ? isnan(z[i]) : fabs(z[i] - values[i]) < 1e-6 * fabs(values[i]));
    assert_int_equal(hone_scaler_invert(s, wide), HONE_SHAPE);
    assert_int_equal(hone_scaler_invert(s, whole), HONE_DTYPE);
    assert_int_equal(hone_scaler_invert(NULL, x), HONE_INVALID);
    hone_scaler_free(s);
    hone_scaler_free(NULL);
    hone_tensor_write(x, 0, 1, HONE_F32, &(float){INFINITY});
    static const struct {
        hone_pipeline_step kind;
        double low, high;
        hone_status status;
        const char *part;
    } refused[] = {
        {HONE_STANDARD_SCALER, 0, 0, HONE_NUMERIC, "standard_scaler: column 0 has infinite values"},
        {HONE_ROBUST_SCALER, 0, 0, HONE_NUMERIC, "robust_scaler: column 0 has infinite values"},
        {HONE_MIN_MAX_SCALER, 1, -1, HONE_INVALID, "min_max_scaler: low must be below high"},
        {HONE_ROBUST_SCALER, 1, 25, HONE_INVALID, "quantiles"},
        {HONE_CLIP_OUTLIERS, 0, 0, HONE_INVALID, "no scaler"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(refused); i++) {
        assert_null(hone_scaler_fit(x, .kind = refused[i].kind, .low = refused[i].low, .high = refused[i].high));
        assert_int_equal(hone_ctx_status(ctx), refused[i].status);
        if (!strstr(hone_error(ctx), refused[i].part)) fail_msg("'%s' does not say '%s'", hone_error(ctx), refused[i].part);
        hone_clear_error(ctx);
    }
    assert_null(hone_scaler_fit(whole));
    assert_int_equal(hone_ctx_status(ctx), HONE_DTYPE);
    hone_tensor_free(x), hone_tensor_free(wide), hone_tensor_free(whole);
    hone_ctx_release(ctx);
}

/* Every kind of scaler gives of a tensor what the pipeline's step of that name gives of its columns, and takes it back. */
static void a_tensor_is_scaled_as_a_pipeline_scales_columns(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    double columns[2][5] = {{3, -1, 4, 1.5, 9}, {1e3, 2e3, 2e3, NAN, 0}};
    hone_frame *f = hone_frame_new(ctx, 5);
    hone_frame_add_numbers(f, "a", columns[0]), hone_frame_add_numbers(f, "b", columns[1]);
    static const hone_scaler_opts kinds[] = {{.kind = HONE_STANDARD_SCALER},
                                             {.kind = HONE_MIN_MAX_SCALER},
                                             {.kind = HONE_MIN_MAX_SCALER, .low = -1, .high = 1},
                                             {.kind = HONE_ROBUST_SCALER},
                                             {.kind = HONE_ROBUST_SCALER, .low = 0.1, .high = 0.9}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(kinds); i++) {
        hone_scaler_opts o = kinds[i];
        hone_tensor *x, *want;
        assert_hone_ok(ctx, hone_frame_to_tensors(f, NULL, &x, NULL));
        hone_pipeline *p = hone_pipeline_new(ctx);
        hone_pipeline_add(p, o.kind, .low = o.low, .high = o.high);
        assert_hone_ok(ctx, hone_pipeline_fit(p, f));
        assert_hone_ok(ctx, hone_pipeline_apply(p, f, &want, NULL));
        hone_scaler *s = hone_scaler_fit(x, .kind = o.kind, .low = o.low, .high = o.high);
        assert_hone_ok(ctx, hone_scaler_apply(s, x));
        for (int64_t k = 0; k < 10; k++) {
            double a = hone_tensor_get(x, k), b = hone_tensor_get(want, k);
            assert_true(k == 7 ? isnan(a) && isnan(b) : a == b);
        }
        assert_hone_ok(ctx, hone_scaler_invert(s, x));
        for (int64_t k = 0; k < 10; k++)
            assert_true(k == 7 || fabs(hone_tensor_get(x, k) - columns[k % 2][k / 2]) <= 1e-7 * (k % 2 ? 2e3 : 9));
        hone_scaler_free(s);
        hone_pipeline_free(p);
        hone_tensor_free(x), hone_tensor_free(want);
    }
    hone_frame_free(f);
    hone_ctx_release(ctx);
}

/* ---- records ---- */

static hone_records *read_records(hone_ctx *ctx, const char *text)
{
    hone_records *rs = hone__records_read(ctx, "x.jsonl", text, strlen(text), false);
    if (!rs) fail_msg("%s", hone_error(ctx));
    return rs;
}

static void assert_message(const hone_record *r, size_t i, const char *role, const char *content)
{
    assert_non_null(r);
    assert_int_equal(r->kind, HONE_RECORD_MESSAGES);
    assert_true(i < r->n_messages);
    assert_string_equal(r->messages[i].role, role);
    assert_string_equal(r->messages[i].content, content);
}

static void a_folder_holds_splits_of_conversations(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    const char *folder = HONE_TEST_DATA "/records/chat";
    hone_records *train = hone_records_load(ctx, folder, NULL),
                 *valid = hone_records_load(ctx, folder, "valid");
    if (!train || !valid) fail_msg("%s", hone_error(ctx));
    assert_int_equal(hone_records_count(train), 2);
    const hone_record *first = hone_records_get(train, 0);
    assert_int_equal(first->n_messages, 3);
    assert_message(first, 0, "system", "Be brief.");
    assert_message(first, 2, "assistant", "Ein Programm, größer als früher.");
    assert_null(first->text);
    assert_null(first->label);
    assert_message(hone_records_get(train, 1), 1, "assistant", "4");
    assert_null(hone_records_get(train, 2));
    assert_message(hone_records_get(valid, 0), 0, "user", "3 + 3?");
    hone_records_free(train);
    hone_records_free(valid);
    hone_records_free(NULL);
    assert_int_equal(hone_records_count(NULL), 0);

    assert_true(hone_records_exist(ctx, folder, "train"));
    assert_false(hone_records_exist(ctx, folder, "test"));
    assert_false(hone_records_exist(ctx, folder, "../chat/train"));
    assert_true(hone_records_exist(ctx, HONE_TEST_DATA "/records/alpaca.jsonl", "train"));
    assert_false(hone_records_exist(ctx, HONE_TEST_DATA "/records/alpaca.jsonl", "valid"));
    assert_false(hone_records_exist(ctx, "/nonexistent", "train"));
    static const struct {
        const char *path, *split;
        hone_status status;
        const char *part;
    } cases[] = {
        {HONE_TEST_DATA "/records/chat", "test", HONE_NOT_FOUND, "neither test.jsonl nor test.txt"},
        {HONE_TEST_DATA "/records/alpaca.jsonl", "valid", HONE_NOT_FOUND, "no split 'valid'"},
        {HONE_TEST_DATA "/records/chat", "a/b", HONE_INVALID, "split"},
        {HONE_TEST_DATA "/csv/flowers.csv", NULL, HONE_FORMAT, ".jsonl"},
        {"/nonexistent.jsonl", NULL, HONE_IO, "/nonexistent.jsonl: No such file"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        assert_null(hone_records_load(ctx, cases[i].path, cases[i].split));
        assert_int_equal(hone_ctx_status(ctx), cases[i].status);
        if (!strstr(hone_error(ctx), cases[i].part))
            fail_msg("'%s' does not say '%s'", hone_error(ctx), cases[i].part);
        hone_clear_error(ctx);
    }
    hone_ctx_release(ctx);
}

static void a_split_that_is_there_twice_is_refused(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("train.jsonl"), "{\"text\":\"a\"}", 12));
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("train.txt"), "a", 1));
    assert_true(hone_records_exist(ctx, scratch_folder, NULL));
    assert_null(hone_records_load(ctx, scratch_folder, NULL));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "both train.jsonl and train.txt"));
    hone_ctx_release(ctx);
}

static void instructions_and_prompts_become_messages(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_records *rs = hone_records_load(ctx, HONE_TEST_DATA "/records/alpaca.jsonl", NULL);
    if (!rs) fail_msg("%s", hone_error(ctx));
    assert_int_equal(hone_records_count(rs), 4);
    assert_message(hone_records_get(rs, 0), 0, "user", "Translate to German.\n\na house");
    assert_message(hone_records_get(rs, 0), 1, "assistant", "ein Haus");
    assert_message(hone_records_get(rs, 1), 0, "user", "Name a colour.");
    assert_message(hone_records_get(rs, 2), 0, "user", "Name a number.");
    assert_message(hone_records_get(rs, 3), 1, "assistant", "Ulm");
    hone_records_free(rs);
    rs = read_records(ctx, "\xEF\xBB\xBF{\"prompt\": \"a\\u00e9\", \"completion\": \"\"}");
    assert_message(hone_records_get(rs, 0), 0, "user", "aé");
    assert_message(hone_records_get(rs, 0), 1, "assistant", "");
    hone_records_free(rs);
    rs = read_records(
        ctx,
        "{\"conversations\": [{\"from\": \"system\", \"value\": \"s\"}, {\"from\": \"human\", \"value\": \"h\"},"
        "{\"from\": \"gpt\", \"value\": \"g\"}, {\"from\": \"user\", \"value\": \"u\"}, "
        "{\"from\": \"assistant\", \"value\": \"a\", \"weight\": 1}]}\r\n \t\r\n");
    static const char *const roles[] = {"system", "user", "assistant", "user", "assistant"},
                             *const contents[] = {"s", "h", "g", "u", "a"};
    for (size_t i = 0; i < 5; i++) assert_message(hone_records_get(rs, 0), i, roles[i], contents[i]);
    hone_records_free(rs);
    hone_ctx_release(ctx);
}

static void labels_are_texts_and_plain_text_is_kept_as_it_is(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static const struct {
        const char *json, *label;
    } cases[] = {
        {"\"good\"", "good"}, {"1", "1"},
        {"-7", "-7"},         {"0.1", "0.1"},
        {"2.0", "2.0"},       {"true", "true"},
        {"false", "false"},   {"0.30000000000000004", "0.30000000000000004"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        char line[128];
        snprintf(line, sizeof line, "{\"text\": \"t\", \"label\": %s}\n", cases[i].json);
        hone_records *rs = read_records(ctx, line);
        const hone_record *r = hone_records_get(rs, 0);
        assert_int_equal(r->kind, HONE_RECORD_TEXT);
        assert_string_equal(r->text, "t");
        assert_int_equal(r->text_length, 1);
        assert_string_equal(r->label, cases[i].label);
        assert_null(r->messages);
        hone_records_free(rs);
    }
    hone_records *rs = hone_records_load(ctx, HONE_TEST_DATA "/records/plain", "train");
    if (!rs) fail_msg("%s", hone_error(ctx));
    assert_int_equal(hone_records_count(rs), 1);
    const hone_record *r = hone_records_get(rs, 0);
    assert_int_equal(r->kind, HONE_RECORD_TEXT);
    assert_int_equal(r->text_length, 55);
    assert_memory_equal(r->text + 51, ": \xFF\n", 3 + 1);
    assert_null(r->label);
    hone_records_free(rs);
    hone_ctx_release(ctx);
}

static void records_that_do_not_fit_are_refused_with_line_and_byte(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "no records"},
        {"\n \n", "no records"},
        {"{\"text\": \"a\"}\n\n{\"text\": }\n", "x.jsonl line 3 (byte 24): "},
        {"{\n\"text\": \"a\"\n}\n",
         "line 1 (byte 0): string or '}' expected near end of file; a record must be on one line"},
        {"{\"text\": \"\xFF\"}", "line 1 (byte 10): unable to decode byte 0xff"},
        {"[1]\n", "a record is a list"},
        {"7\n", "line 1"},
        {"{\"txt\": \"a\"}", "keys of a record are not known"},
        {"{\"text\": null}", "\"text\" is null"},
        {"{\"text\": \"a\\u0000b\"}", "u0000"},
        {"{\"text\": \"a\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}",
         "line 2 (byte 14): \"text\" is missing"},
        {"{\"text\": \"a\"}\n{\"text\": \"a\", \"label\": 1}", "has \"label\", which the first record"},
        {"{\"text\": \"a\", \"label\": 1}\n{\"text\": \"a\"}", "\"label\" is missing"},
        {"{\"text\": \"a\"}\n{\"nothing\": 1}", "\"text\" is missing"},
        {"{\"text\": \"a\", \"label\": null}", "\"label\" is null; it must be"},
        {"{\"text\": \"a\", \"label\": [1]}", "\"label\" is a list"},
        {"{\"text\": \"a\\u0000b\"}", "has \\u0000 in a text, which no text can hold: remove it"},
        {"{\"te\\u0000xt\": \"a\"}", "has \\u0000 in a text"},
        {"{\"messages\": []}", "\"messages\" is empty"},
        {"{\"messages\": {}}", "\"messages\" is an object"},
        {"{\"messages\": [\"a\"]}", "messages[0] is a string"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": null}]}",
         "\"content\" of messages[1] is null; it must be a string"},
        {"{\"messages\": [{\"role\": \"\", \"content\": \"a\"}]}", "\"role\" of messages[0] is empty"},
        {"{\"messages\": [{\"content\": \"a\"}]}", "\"role\" of messages[0] is missing"},
        {"{\"conversations\": [{\"from\": \"tool\", \"value\": \"a\"}]}",
         "\"from\" of conversations[0] is \"tool\""},
        {"{\"prompt\": [], \"completion\": \"b\"}", "\"prompt\" is a list"},
        {"{\"instruction\": \"a\", \"input\": 3, \"output\": \"b\"}", "\"input\" is a number"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_ctx *ctx = hone_ctx_new(.threads = 1);
        assert_null(hone__records_read(ctx, "x.jsonl", cases[i].text, strlen(cases[i].text), false));
        assert_int_equal(hone_ctx_status(ctx), HONE_FORMAT);
        if (!strstr(hone_error(ctx), cases[i].part))
            fail_msg("'%s' does not say '%s'", hone_error(ctx), cases[i].part);
        assert_int_equal(ctx->bytes, 0);
        hone_ctx_release(ctx);
    }
    enum { TOO_LONG = (64 << 20) + 1 };
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    char *line = malloc(TOO_LONG);
    memset(line, '[', TOO_LONG);
    assert_null(hone__records_read(ctx, "x.jsonl", line, TOO_LONG, false));
    assert_non_null(strstr(hone_error(ctx), "at most 67108864"));
    hone_clear_error(ctx);
    assert_null(hone__records_read(ctx, "x.jsonl", line, 1 << 20, false)); /* nested too deeply */
    hone_clear_error(ctx);
    assert_null(hone__records_read(ctx, "x.txt", "", 0, true));
    assert_int_equal(hone_ctx_status(ctx), HONE_FORMAT);
    free(line);
    hone_ctx_release(ctx);
}

/* ---- memory that runs out ---- */

static bool load_all(hone_ctx *ctx)
{
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(4, 2), (const float[]){1, 2, 3, 4, 5, 6, 7, 8}), *part[4] = {0};
    hone_scaler *s = x ? hone_scaler_fit(x, .kind = HONE_ROBUST_SCALER) : NULL;
    bool ok = s && hone_train_test_split(x, x, 0.5, 1, &part[0], &part[1], &part[2], &part[3]) == HONE_OK;
    for (int i = 0; i < 4; i++) hone_tensor_free(part[i]);
    hone_tensor_free(x);
    hone_scaler_free(s);
    hone_records *chat = hone_records_load(ctx, HONE_TEST_DATA "/records/chat", "train");
    hone_records *alpaca = hone_records_load(ctx, HONE_TEST_DATA "/records/alpaca.jsonl", "train");
    hone_records *plain = hone_records_load(ctx, HONE_TEST_DATA "/records/plain", NULL);
    ok = ok && chat && alpaca && plain;
    hone_records_free(chat);
    hone_records_free(alpaca);
    hone_records_free(plain);
    return ok;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (int64_t n = 2;; n++) { /* the first is the context itself */
        counting c = {.fail_at = n};
        hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        bool ok = load_all(ctx);
        bool reached = c.calls >= n;
        assert_int_equal(ok, !reached);
        assert_int_equal(hone_ctx_status(ctx), reached ? HONE_MEMORY : HONE_OK);
        hone_ctx_release(ctx);
        assert_int_equal(c.live, 0);
        if (!reached) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_taken_and_split_together),
        cmocka_unit_test(columns_are_scaled_to_mean_zero_and_deviation_one),
        cmocka_unit_test(a_tensor_is_scaled_as_a_pipeline_scales_columns),
        cmocka_unit_test(a_folder_holds_splits_of_conversations),
        cmocka_unit_test(a_split_that_is_there_twice_is_refused),
        cmocka_unit_test(instructions_and_prompts_become_messages),
        cmocka_unit_test(labels_are_texts_and_plain_text_is_kept_as_it_is),
        cmocka_unit_test(records_that_do_not_fit_are_refused_with_line_and_byte),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
