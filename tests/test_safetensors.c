#include "scratch.h"

#include "io/io.h"

static volatile uint64_t sink; /* keeps reads from being left out */

static hone_safetensors *open_safetensors(hone_ctx *ctx, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/io/%s", HONE_TEST_DATA, name);
    hone_safetensors *file = hone_safetensors_open(ctx, path);
    if (!file) fail_msg("%s", hone_error(ctx));
    return file;
}

static void a_safetensors_file_is_read(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_safetensors *file = open_safetensors(ctx, "small.safetensors");
    assert_int_equal(hone_safetensors_count(file), 6);
    const hone_tensor_info *w = hone_safetensors_find(file, "a.weight"),
                           *ids = hone_safetensors_find(file, "ids"),
                           *mask = hone_safetensors_find(file, "mask");
    assert_memory_equal(w->data, ((float[]){0, 1, 2, 3, 4, 5}), 24);
    assert_true(hone_shape_equal(w->shape, HONE_SHAPE(2, 3)));
    assert_memory_equal(ids->data, ((int64_t[]){-1, INT64_C(1) << 40}), 16);
    assert_int_equal(mask->dtype, HONE_U8);
    assert_memory_equal(mask->data, "\1\0\1", 3);
    assert_int_equal(hone_safetensors_find(file, "scalar")->shape.rank, 0);
    assert_int_equal(hone_safetensors_find(file, "none")->bytes, 0);
    assert_int_equal(hone_safetensors_find(file, "a.bias")->dtype, HONE_F16);
    assert_null(hone_safetensors_find(file, "__metadata__"));
    assert_null(hone_safetensors_at(file, 6));
    assert_int_equal(hone_safetensors_metadata_count(file), 2);
    assert_string_equal(hone_safetensors_metadata(file, "step"), "12");
    assert_null(hone_safetensors_metadata(file, "absent"));
    const char *key, *value;
    assert_true(hone_safetensors_metadata_at(file, 0, &key, &value));
    assert_string_equal(key, "format");
    assert_false(hone_safetensors_metadata_at(file, 2, &key, &value));
    hone__safetensors_release(file, w);
    hone_safetensors_close(file);
    hone_safetensors_close(NULL);
    assert_int_equal(hone_safetensors_count(NULL), 0);
    hone_ctx_release(ctx);
}

static void a_sharded_model_is_read_from_its_folder_or_index(void **state)
{
    (void)state;
    static const char *const names[] = {"sharded", "sharded/model.safetensors.index.json"};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++) {
        hone_safetensors *file = open_safetensors(ctx, names[i]);
        assert_int_equal(hone_safetensors_count(file), 3);
        assert_memory_equal(hone_safetensors_find(file, "x")->data, ((float[]){0, 1, 2, 3, 4, 5}), 24);
        assert_memory_equal(hone_safetensors_find(file, "y")->data, ((int64_t[]){-1, INT64_C(1) << 40}), 16);
        assert_string_equal(hone_safetensors_metadata(file, "format"), "pt");
        hone__safetensors_release(file, hone_safetensors_find(file, "y"));
        hone_safetensors_close(file);
    }
    hone_ctx_release(ctx);
}

static void an_index_cannot_lead_out_of_its_folder_or_lie(void **state)
{
    (void)state;
    static const struct {
        const char *index, *text;
    } cases[] = {
        {"{\"weight_map\":{\"x\":\"../small.safetensors\"}}", "no file name within the folder"},
        {"{\"weight_map\":{\"x\":\"/etc/passwd\"}}", "no file name within the folder"},
        {"{\"weight_map\":{\"x\":\"..\"}}", "no file name within the folder"},
        {"{\"weight_map\":{\"x\":\"\"}}", "no file name within the folder"},
        {"{\"weight_map\":{\"x\":5}}", "no file name within the folder"},
        {"{\"weight_map\":{\"x\":\"absent.safetensors\"}}", "absent.safetensors: No such file"},
        {"{\"weight_map\":{\"y\":\"one.safetensors\"}}", "tensor 'y' is not in 'one.safetensors'"},
        {"{\"weight_map\":{\"x\":\"one.safetensors\",\"z\":\"two.safetensors\"}}",
         "tensor 'x' is there twice"},
        {"{\"weight_map\":{\"x\":\"one.safetensors\",\"x\":\"two.safetensors\"}}", "JSON"},
        {"{\"weight_map\":[]}", "has no weight_map"},
        {"{}", "has no weight_map"},
        {"[]", "is no object"},
        {"", "JSON"},
    };
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("shards")));
    static const char *const names[] = {"shards/one.safetensors", "shards/two.safetensors"};
    for (int i = 0; i < 2; i++) {
        hone_safetensors_writer *w = hone_safetensors_writer_new(ctx, scratch(names[i]));
        hone_safetensors_add_tensor(w, "x", HONE_U8, HONE_SHAPE(1));
        if (i) hone_safetensors_add_tensor(w, "z", HONE_U8, HONE_SHAPE(1));
        hone_safetensors_write(w, "x", "1", 1);
        if (i) hone_safetensors_write(w, "z", "1", 1);
        assert_hone_ok(ctx, hone_safetensors_writer_commit(w));
    }
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        assert_hone_ok(ctx, hone_write_file(ctx, scratch("shards/model.safetensors.index.json"),
                                             cases[i].index, strlen(cases[i].index)));
        assert_null(hone_safetensors_open(ctx, scratch("shards")));
        if (!strstr(hone_error(ctx), cases[i].text))
            fail_msg("'%s' lacks '%s'", hone_error(ctx), cases[i].text);
        hone_clear_error(ctx);
    }
    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("neither")));
    assert_null(hone_safetensors_open(ctx, scratch("neither")));
    assert_non_null(strstr(hone_error(ctx), "holds neither model.safetensors nor"));
    hone_ctx_release(ctx);
}

static hone_status try_safetensors(const void *data, size_t size, char message[1024])
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    char *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    hone_safetensors *file = hone__safetensors_open_memory(ctx, "x.safetensors", copy, size);
    assert_true((file == NULL) == (hone_ctx_status(ctx) != HONE_OK));
    for (int64_t i = 0; i < hone_safetensors_count(file); i++)
        sink += hone__hash(hone_safetensors_at(file, i)->data, hone_safetensors_at(file, i)->bytes, 0);
    hone_status status = hone_ctx_status(ctx);
    if (message) snprintf(message, 1024, "%s", hone_error(ctx));
    hone_safetensors_close(file);
    assert_int_equal(ctx->bytes, 0);
    hone_ctx_release(ctx);
    free(copy);
    return status;
}

static void a_safetensors_file_cut_anywhere_gives_an_error(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    size_t size;
    char *data = fixture(ctx, "small.safetensors", &size);
    for (size_t cut = 0; cut <= size; cut++)
        assert_int_equal(try_safetensors(data, cut, NULL) == HONE_OK, cut == size);
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

static void a_safetensors_file_with_any_byte_changed_does_not_crash(void **state)
{
    (void)state;
    static const unsigned char changes[] = {0xFF, 0x00, '9', '"', '[', '}', '-', '\\'};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    size_t size;
    char *data = fixture(ctx, "small.safetensors", &size);
    for (size_t i = 0; i < size; i++)
        for (size_t c = 0; c < HONE_ARRAY_LEN(changes); c++) {
            char kept = data[i];
            data[i] = (char)changes[c];
            try_safetensors(data, size, NULL);
            data[i] = kept;
        }
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

static void safetensors_headers_must_describe_the_data_exactly(void **state)
{
    (void)state;
#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    static const struct {
        const char *header;
        size_t data;
        hone_status status;
        const char *text;
    } cases[] = {
        {"{}", 0, HONE_OK, ""},
        {"{\"a\":" T("F32", "[1]", "[0,4]") "}  ", 4, HONE_OK, ""},
        {"{\"a\":" T("U8", "[2]", "[2,4]") ",\"b\":" T("U8", "[2]", "[0,2]") "}", 4, HONE_OK, ""},
        {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 5, HONE_FORMAT, "the data end at byte"},
        {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 3, HONE_FORMAT, "data at bytes 0 to 4 of 3"},
        {"{\"a\":" T("F32", "[1]", "[0,3]") "}", 3, HONE_FORMAT, "does not fit its 3 bytes"},
        {"{\"a\":" T("F32", "[0]", "[4,0]") "}", 4, HONE_FORMAT, "data at bytes 4 to 0"},
        {"{\"a\":" T("U8", "[1]", "[1,2]") "}", 2, HONE_FORMAT, "follow a hole"},
        {"{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[1,3]") "}", 3, HONE_FORMAT,
         "another one's"},
        {"{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 2, HONE_FORMAT,
         "duplicate"},
        {"{\"a\":" T("U8", "[-1]", "[0,1]") "}", 1, HONE_FORMAT, "no natural number"},
        {"{\"a\":" T("U8", "[1.0]", "[0,1]") "}", 1, HONE_FORMAT, "no natural number"},
        {"{\"a\":" T("U8", "[1]", "[0,1,2]") "}", 1, HONE_FORMAT, "two data_offsets"},
        {"{\"a\":" T("U8", "1", "[0,1]") "}", 1, HONE_FORMAT, "needs dtype"},
        {"{\"a\":5}", 0, HONE_FORMAT, "needs dtype"},
        {"{\"a\":" T("U8", "[4611686018427387904,4]", "[0,1]") "}", 1, HONE_FORMAT, "does not fit"},
        {"{\"a\":" T("U8", "[99999999999999999999]", "[0,1]") "}", 1, HONE_FORMAT, "JSON"},
        {"{\"a\":" T("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, HONE_FORMAT, "9 dimensions"},
        {"{\"a\":" T("F8_E4M3", "[1]", "[0,1]") "}", 1, HONE_UNSUPPORTED,
         "tensor 'a': dtype 'F8_E4M3' is not supported"},
        {"{\"a\":" T("", "[32]", "[0,34]") "}", 34, HONE_UNSUPPORTED, "dtype ''"},
        {"{\"__metadata__\":{\"a\":1}}", 0, HONE_FORMAT, "is no string"},
        {"{\"__metadata__\":[]}", 0, HONE_FORMAT, "is no object"},
        {"{\"a\\u0000b\":" T("U8", "[1]", "[0,1]") "}", 1, HONE_FORMAT, "JSON"},
        {"{\"a\xff\":" T("U8", "[1]", "[0,1]") "}", 1, HONE_FORMAT, "JSON"},
        {"{}x", 0, HONE_FORMAT, "JSON"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0, HONE_FORMAT,
         "describes no tensors"},
        {"5", 0, HONE_FORMAT, "JSON"},
    };
#undef T
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        file_bytes b = {0};
        put_text(&b, cases[i].header);
        for (size_t k = 0; k < cases[i].data; k++) put(&b, 1, 1);
        char message[1024];
        hone_status status = try_safetensors(b.data, b.size, message);
        if (status != cases[i].status || !strstr(message, cases[i].text))
            fail_msg("%s: '%s' lacks '%s'", cases[i].header, message, cases[i].text);
    }
    file_bytes b = {0};
    put(&b, UINT64_MAX, 8);
    put(&b, 0, 8);
    assert_int_equal(try_safetensors(b.data, b.size, NULL), HONE_FORMAT);
}

static void what_is_written_as_safetensors_is_read_again(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    const char *path = scratch("x.safetensors");
    hone_safetensors_writer *w = hone_safetensors_writer_new(ctx, path);
    hone_safetensors_set_metadata(w, "note", "two\nlines \"quoted\"");
    hone_safetensors_add_tensor(w, "a.\xc3\xbc", HONE_F32, HONE_SHAPE(2, 2));
    hone_safetensors_add_tensor(w, "none", HONE_BF16, HONE_SHAPE(0));
    hone_safetensors_add_tensor(w, "s", HONE_I64, HONE_SCALAR);
    hone_safetensors_write(w, "a.\xc3\xbc", (float[]){1, 2}, 8);
    hone_safetensors_write(w, "a.\xc3\xbc", (float[]){3, 4}, 8);
    hone_safetensors_write(w, "s", (int64_t[]){-5}, 8);
    assert_hone_ok(ctx, hone_safetensors_writer_commit(w));
    hone_safetensors *file = hone_safetensors_open(ctx, path);
    if (!file) fail_msg("%s", hone_error(ctx));
    assert_string_equal(hone_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(hone_safetensors_metadata(file, "note"), "two\nlines \"quoted\"");
    assert_int_equal(hone_safetensors_count(file), 3);
    const hone_tensor_info *a = hone_safetensors_at(file, 0);
    assert_string_equal(a->name, "a.\xc3\xbc");
    assert_memory_equal(a->data, ((float[]){1, 2, 3, 4}), 16);
    assert_int_equal(a->offset % 8, 0);
    assert_memory_equal(hone_safetensors_find(file, "s")->data, ((int64_t[]){-5}), 8);
    hone_safetensors_close(file);

    static const char *const errors[] = {"safetensors has no type q8_0",
                                         "cannot name a tensor",
                                         "cannot name a tensor",
                                         "are not UTF-8",
                                         "declared twice",
                                         "0 of its 1 bytes"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(errors); i++) {
        w = hone_safetensors_writer_new(ctx, path);
        hone_safetensors_add_tensor(w, "b", HONE_U8, HONE_SHAPE(1));
        switch (i) {
        case 0:
            hone_safetensors_add_tensor(w, "q", HONE_Q8_0, HONE_SHAPE(32));
            break;
        case 1:
            hone_safetensors_add_tensor(w, "__metadata__", HONE_U8, HONE_SHAPE(1));
            break;
        case 2:
            hone_safetensors_add_tensor(w, "\xff", HONE_U8, HONE_SHAPE(1));
            break;
        case 3:
            hone_safetensors_set_metadata(w, "k", "\xff");
            break;
        case 4:
            hone_safetensors_add_tensor(w, "b", HONE_U8, HONE_SHAPE(1));
            break;
        default:
            break;
        }
        assert_int_not_equal(hone_safetensors_writer_commit(w), HONE_OK);
        if (!strstr(hone_error(ctx), errors[i])) fail_msg("'%s' lacks '%s'", hone_error(ctx), errors[i]);
    }
    file = hone_safetensors_open(ctx, path); /* still the old one */
    assert_int_equal(hone_safetensors_count(file), 3);
    hone_safetensors_close(file);
    hone_safetensors_writer_abandon(hone_safetensors_writer_new(ctx, path));
    hone_safetensors_writer_abandon(NULL);
    hone_ctx_release(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_safetensors_file_is_read),
        cmocka_unit_test(a_sharded_model_is_read_from_its_folder_or_index),
        cmocka_unit_test(an_index_cannot_lead_out_of_its_folder_or_lie),
        cmocka_unit_test(a_safetensors_file_cut_anywhere_gives_an_error),
        cmocka_unit_test(a_safetensors_file_with_any_byte_changed_does_not_crash),
        cmocka_unit_test(safetensors_headers_must_describe_the_data_exactly),
        cmocka_unit_test(what_is_written_as_safetensors_is_read_again),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
