/* Words as numbers; tables from JSON lines; which pictures a dataset has. */
#include "data_tools.h"
#include "hone/nn.h"

static hone_ctx *ctx;

static int begin(void **state)
{
    (void)state;
    return (ctx = hone_ctx_new(.threads = 1)) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    hone_ctx_release(ctx);
    return 0;
}
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static void is_encoded(const hone_vocabulary *v, const char *text, const int32_t *want)
{
    hone_tensor *x = hone_vocabulary_encode(v, 1, &text);
    for (int64_t i = 0; i < hone_vocabulary_length(v); i++)
        if (((int32_t *)hone_tensor_data(x))[i] != want[i])
            fail_msg("%s: number %d is %d, not %d", text, (int)i, ((int32_t *)hone_tensor_data(x))[i], want[i]);
    hone_tensor_free(x);
}
#define ENCODES(v, text, ...) is_encoded((v), (text), (const int32_t[]){__VA_ARGS__})

static void test_words_are_counted_and_numbered(void **state)
{
    (void)state;
    const char *const texts[] = {"The cat's the 'best' cat.", "a CAT, the dog", NULL, "über \xE7\x8C\xAB\xE7\x8B\x97 the-dog \xFF x"};
    hone_vocabulary *v = hone_vocabulary_new(ctx, 4, texts, .length = 4);
    assert_string_equal(hone_vocabulary_word(v, 2), "the"); /* 4 times; cat and dog twice */
    assert_string_equal(hone_vocabulary_word(v, 3), "cat");
    assert_string_equal(hone_vocabulary_word(v, 4), "dog");
    assert_null(hone_vocabulary_word(v, 1));
    assert_int_equal(hone_vocabulary_size(v), 2 + 10);
    assert_null(hone_vocabulary_word(v, 12));
    assert_int_not_equal(hone_vocabulary_find(v, "\xE7\x8C\xAB"), HONE_WORD_UNKNOWN);
    assert_int_not_equal(hone_vocabulary_find(v, "cat's"), HONE_WORD_UNKNOWN);
    assert_int_not_equal(hone_vocabulary_find(v, "best"), HONE_WORD_UNKNOWN);
    assert_int_equal(hone_vocabulary_find(v, "CAT"), HONE_WORD_UNKNOWN);
    ENCODES(v, "", 0, 0, 0, 0);
    ENCODES(v, "THE fish", 0, 0, 2, 1);
    ENCODES(v, "one two the cat, the \"dog\"...", 2, 3, 2, 4);
    assert_hone_ok(ctx, hone_vocabulary_save(v, scratch("words.json")));
    hone_vocabulary *again = hone_vocabulary_load(ctx, scratch("words.json"));
    assert_int_equal(hone_vocabulary_size(again), 12);
    ENCODES(again, "one two the cat, the \"dog\"...", 2, 3, 2, 4);
    hone_vocabulary_free(again);
    hone_vocabulary_free(v);
    v = hone_vocabulary_new(ctx, 4, texts, .min_count = 2);
    assert_int_equal(hone_vocabulary_size(v), 5);
    assert_int_equal(hone_vocabulary_length(v), 5);
    hone_vocabulary_free(v);
    v = hone_vocabulary_new(ctx, 4, texts, .max_words = 1);
    assert_int_equal(hone_vocabulary_size(v), 3);
    assert_int_equal(hone_vocabulary_find(v, "cat"), HONE_WORD_UNKNOWN);
    hone_vocabulary_free(v);
}

static void refused(void *made, hone_status status, const char *part)
{
    assert_null(made);
    assert_int_equal(hone_ctx_status(ctx), status);
    if (!strstr(hone_error(ctx), part)) fail_msg("'%s' does not contain '%s'", hone_error(ctx), part);
    hone_clear_error(ctx);
}
#define READ(text) hone__vocabulary_read(ctx, "v", (text), strlen(text))
#define HEAD "{\"format\": \"hone-vocabulary\", \"version\": 1, "

static void test_no_words_and_wrong_files_are_refused(void **state)
{
    (void)state;
    const char *const texts[] = {"...", "one two"};
    refused(hone_vocabulary_new(ctx, 1, texts), HONE_INVALID, "no word occurs 1 times");
    refused(hone_vocabulary_new(ctx, 2, texts, .min_count = 2), HONE_INVALID, "no word occurs 2 times");
    refused(hone_vocabulary_new(ctx, 2, texts, .length = -1), HONE_INVALID, "length -1");
    refused(hone_vocabulary_load(ctx, scratch("nothing.json")), HONE_IO, "nothing.json");
    refused(READ("{"), HONE_FORMAT, "v: ");
    refused(READ("{}"), HONE_FORMAT, "no vocabulary of version 1");
    refused(READ(HEAD "\"length\": 0, \"words\": [\"a\"]}"), HONE_FORMAT, "missing or wrong");
    refused(READ(HEAD "\"length\": 3, \"words\": []}"), HONE_FORMAT, "missing or wrong");
    refused(READ(HEAD "\"length\": 3, \"words\": [\"a\", 3]}"), HONE_FORMAT, "word 1 is not a text");
    refused(READ(HEAD "\"length\": 3, \"words\": [\"a\", \"a\"]}"), HONE_FORMAT, "word 1 comes twice");
}

#define ROWS(text) hone__frame_read_jsonl(ctx, "rows", (text), strlen(text), NULL)

static void test_json_lines_become_columns(void **state)
{
    (void)state;
    hone_frame *f = ROWS("{\"a\": 1, \"b\": \"x\", \"c\": true}\n\n{\"b\": 2.5, \"a\": null, \"d\": 0.5}\r\n");
    assert_int_equal(f->rows, 2);
    assert_int_equal(f->n_columns, 4);
    const hone_column *a = hone_frame_find(f, "a"), *b = hone_frame_find(f, "b"), *d = hone_frame_find(f, "d");
    assert_int_equal(a->type, HONE_COLUMN_INTEGER);
    assert_true(a->numbers[0] == 1 && hone_column_missing(a, 1));
    assert_string_equal(b->categories[b->codes[1]], "2.5");
    assert_string_equal(hone_frame_find(f, "c")->categories[0], "true");
    assert_true(d->type == HONE_COLUMN_REAL && hone_column_missing(d, 0) && d->numbers[1] == 0.5);
    hone_frame_free(f);
    FILE *file = fopen(scratch("t.jsonl"), "w");
    fputs("{\"zip\": 123}\n", file);
    fclose(file);
    f = hone_frame_load(ctx, scratch("t.jsonl"), .text = HONE_COLUMNS("zip"));
    assert_string_equal(hone_frame_find(f, "zip")->categories[0], "123");
    hone_frame_free(f);
    refused(hone_frame_load(ctx, scratch("t.jsonl"), .text = HONE_COLUMNS("zap")), HONE_NOT_FOUND, "no column 'zap'");
    refused(ROWS(""), HONE_FORMAT, "there are no rows");
    refused(ROWS("[1]\n"), HONE_FORMAT, "line 1: is not an object");
    refused(ROWS("{\"a\": 1}\n{\"a\": [1]}"), HONE_FORMAT, "line 2: a value is a list or an object");
    refused(ROWS("{\"a\": 1, \"a\": 2}"), HONE_FORMAT, "line 1");
    refused(ROWS("{\"\": 1}"), HONE_FORMAT, "a key is empty");
}

static void test_pictures_without_classes_are_found(void **state)
{
    (void)state;
    hone_dataset *d = hone_dataset_images(ctx, DATA_FILE("images"), .height = 4, .width = 4);
    assert_non_null(d);
    assert_true(hone_dataset_classes(d) > 0 && hone_dataset_label(d, 0) == 0);
    char path[600], folder[600];
    snprintf(path, sizeof path, "%s", hone_dataset_file(d, 0));
    assert_null(hone_dataset_file(d, hone_dataset_rows(d)));
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    hone_dataset_free(d);
    d = hone_dataset_images(ctx, folder, .height = 4, .width = 4);
    assert_true(d && hone_dataset_classes(d) == 0 && hone_dataset_rows(d) > 0 && hone_dataset_label(d, 0) == -1);
    hone_dataset_free(d);
    d = hone_dataset_images(ctx, path, .height = 4, .width = 4);
    assert_true(d && hone_dataset_rows(d) == 1 && hone_dataset_label(d, 0) == -1);
    assert_string_equal(hone_dataset_file(d, 0), path);
    hone_dataset_free(d);
}

static bool use_all(hone_ctx *c)
{
    const char *const texts[] = {"one two three", "two", NULL};
    const char rows[] = "{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2, \"b\": true}\n", words[] = HEAD "\"length\": 3, \"words\": [\"a\", \"b\"]}";
    hone_vocabulary *v = hone_vocabulary_new(c, 3, texts), *again = v ? hone__vocabulary_read(c, "v", words, sizeof words - 1) : NULL;
    hone_tensor *x = again ? hone_vocabulary_encode(v, 3, texts) : NULL;
    hone_frame *f = x ? hone__frame_read_jsonl(c, "rows", rows, sizeof rows - 1, NULL) : NULL;
    hone_layer *layers = f ? hone_sequential_from_text(c, "dense 8 relu, dropout 0.1") : NULL;
    /* The folder is synced after the file is there: failing then is no failure of saving, but sticks as any. */
    bool ok = layers && hone_vocabulary_save(v, scratch("words.json")) == HONE_OK && hone_ctx_status(c) == HONE_OK;
    hone_layer_free(layers);
    hone_frame_free(f);
    hone_tensor_free(x);
    hone_vocabulary_free(v), hone_vocabulary_free(again);
    return ok;
}

static void test_failing_allocations_are_told(void **state)
{
    (void)state;
    fail_each_allocation(use_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_words_are_counted_and_numbered),
        TEST(test_no_words_and_wrong_files_are_refused),
        TEST(test_json_lines_become_columns),
        TEST(test_pictures_without_classes_are_found),
        TEST(test_failing_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
