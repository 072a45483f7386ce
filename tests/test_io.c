#include "scratch.h"

#include "io/io.h"

#include <signal.h>
#include <sys/resource.h>

static hone_gguf *open_gguf(hone_ctx *ctx, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/io/%s", HONE_TEST_DATA, name);
    hone_gguf *g = hone_gguf_open(ctx, path);
    if (!g) fail_msg("%s", hone_error(ctx));
    return g;
}

/* ---- GGUF, reading: small.gguf of make_io_golden.py ---- */

static void numbers_of_every_gguf_type_are_read_where_they_fit(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_gguf *g = open_gguf(ctx, "small.gguf");
    static const struct {
        const char *key;
        double f;
        int64_t i;
        uint64_t u;
        bool fits_i, fits_u;
    } cases[] = {
        {"t.u8", 200, 200, 200, true, true},
        {"t.i8", -100, -100, 0, true, false},
        {"t.u16", 60000, 60000, 60000, true, true},
        {"t.i16", -30000, -30000, 0, true, false},
        {"t.u32", 4e9, 4000000000, 4000000000u, true, true},
        {"t.i32", -2e9, -2000000000, 0, true, false},
        {"t.f32", 0.5, 0, 0, false, false},
        {"t.u64", 0x1p63, 0, (UINT64_C(1) << 63) + 5, false, true},
        {"t.i64", -0x1p62, -(INT64_C(1) << 62), 0, true, false},
        {"t.f64", 1e300, 0, 0, false, false},
        {"t.whole", 3, 3, 3, true, true},
    };
    for (size_t k = 0; k < HONE_ARRAY_LEN(cases); k++) {
        double f = 77;
        int64_t i = 77;
        uint64_t u = 77;
        assert_true(hone_gguf_get_f64(g, cases[k].key, &f));
        assert_true(f == cases[k].f);
        assert_int_equal(hone_gguf_get_i64(g, cases[k].key, &i), cases[k].fits_i);
        assert_true(i == (cases[k].fits_i ? cases[k].i : 77));
        assert_int_equal(hone_gguf_get_u64(g, cases[k].key, &u), cases[k].fits_u);
        assert_true(u == (cases[k].fits_u ? cases[k].u : 77));
    }
    bool b = false;
    int64_t i;
    uint64_t u;
    assert_true(hone_gguf_get_bool(g, "t.bool", &b));
    assert_true(b);
    assert_false(hone_gguf_get_bool(g, "t.u8", &b));
    assert_false(hone_gguf_get_i64(g, "t.bool", &i));
    assert_false(hone_gguf_get_i64(g, "t.string", &i));
    assert_false(hone_gguf_get_i64(g, "t.i32s", &i));
    assert_false(hone_gguf_get_u64(g, "absent", &u));
    assert_false(hone_gguf_get_u64(NULL, "t.u8", &u));
    hone_gguf_close(g);
    hone_ctx_release(ctx);
}

static void texts_and_arrays_of_gguf_are_read(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_gguf *g = open_gguf(ctx, "small.gguf");
    size_t length;
    const char *text = hone_gguf_get_string(g, "t.string", &length);
    assert_int_equal(length, 9);
    assert_memory_equal(text,
                        "Gr\xc3\xbc\xc3\x9f"
                        "e\0!",
                        10); /* and a NUL behind */
    assert_string_equal(hone_gguf_get_string(g, "general.architecture", NULL), "llama");
    assert_null(hone_gguf_get_string(g, "t.u8", &length));
    static const char *const strings[] = {"", "a", "bc", "\xe6\x97\xa5\xe6\x9c\xac"};
    assert_int_equal(hone_gguf_array_count(g, "t.strings"), 4);
    for (int64_t i = 0; i < 4; i++) {
        text = hone_gguf_array_string(g, "t.strings", i, &length);
        assert_int_equal(length, strlen(strings[i]));
        assert_memory_equal(text, strings[i], length);
    }
    assert_null(hone_gguf_array_string(g, "t.strings", 4, &length));
    assert_null(hone_gguf_array_string(g, "t.strings", -1, &length));
    assert_null(hone_gguf_array_string(g, "t.i32s", 0, &length));
    int64_t i;
    double f;
    assert_true(hone_gguf_array_i64(g, "t.i32s", 1, &i));
    assert_int_equal(i, -2);
    assert_true(hone_gguf_array_f64(g, "t.i32s", 2, &f));
    assert_true(f == 3.0);
    assert_true(hone_gguf_array_f64(g, "t.f32s", 1, &f));
    assert_true(f == 1.5);
    assert_false(hone_gguf_array_i64(g, "t.f32s", 1, &i));
    assert_true(hone_gguf_array_i64(g, "t.bools", 0, &i));
    assert_int_equal(i, 1);
    assert_false(hone_gguf_array_i64(g, "t.strings", 0, &i));
    assert_false(hone_gguf_array_i64(g, "t.i32s", 3, &i));
    assert_int_equal(hone_gguf_array_count(g, "t.u8"), -1);
    assert_int_equal(hone_gguf_array_count(g, "absent"), -1);
    assert_int_equal(hone_gguf_array_count(NULL, "t.i32s"), -1);

    int64_t seen = 0;
    for (int64_t k = 0; k < hone_gguf_key_count(g); k++) {
        const hone_gguf_key_info *key = hone_gguf_key(g, k);
        if (!strcmp(key->name, "t.f32s")) {
            assert_int_equal(key->type, HONE_GGUF_ARRAY);
            assert_int_equal(key->item, HONE_GGUF_F32);
            assert_int_equal(key->count, 2);
            seen++;
        } else if (!strcmp(key->name, "t.u16")) {
            assert_string_equal(hone_gguf_type_name(key->type), "u16");
            assert_int_equal(key->count, 1);
            seen++;
        }
    }
    assert_int_equal(seen, 2);
    assert_null(hone_gguf_key(g, hone_gguf_key_count(g)));
    assert_null(hone_gguf_key(g, -1));
    assert_string_equal(hone_gguf_type_name((hone_gguf_type)13), "?");
    hone_gguf_close(g);
    hone_gguf_close(NULL);
    hone_ctx_release(ctx);
}

static void tensors_of_gguf_have_row_major_shapes_and_their_data(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_gguf *g = open_gguf(ctx, "small.gguf");
    assert_int_equal(hone_gguf_tensor_count(g), 4);
    const hone_tensor_info *embd = hone_gguf_tensor(g, 0), *q = hone_gguf_find(g, "blk.0.attn_q.weight"),
                           *half = hone_gguf_find(g, "blk.0.half"), *ids = hone_gguf_find(g, "blk.0.ids");
    assert_true(embd && q && half && ids);
    assert_string_equal(embd->name, "token_embd.weight");
    assert_true(hone_shape_equal(embd->shape, HONE_SHAPE(2, 3)));
    assert_int_equal(embd->bytes, 24);
    assert_memory_equal(embd->data, ((float[]){0, 1, 2, 3, 4, 5}), 24);
    assert_int_equal(q->dtype, HONE_Q8_0);
    assert_true(hone_shape_equal(q->shape, HONE_SHAPE(2, 64)));
    assert_int_equal(q->bytes, 4 * 34);
    assert_int_equal(q->offset % 32, 0);
    assert_int_equal(half->dtype, HONE_F16);
    assert_memory_equal(half->data, ((uint16_t[]){0x3C00, 0xC000, 0x3800}), 6);
    assert_true(hone_shape_equal(ids->shape, HONE_SHAPE(1, 2)));
    assert_memory_equal(ids->data, ((int32_t[]){7, 8}), 8);
    assert_null(hone_gguf_find(g, "absent"));
    assert_null(hone_gguf_tensor(g, 4));
    hone__gguf_release(g, q);
    assert_memory_equal(embd->data, ((float[]){0, 1, 2, 3, 4, 5}), 24);
    hone_gguf_close(g);
    assert_null(hone_gguf_open(ctx, "/nonexistent.gguf"));
    assert_int_equal(hone_ctx_status(ctx), HONE_IO);
    hone_ctx_release(ctx);
}

/* ---- GGUF, hostile ---- */

static volatile uint64_t sink; /* keeps reads from being left out */

/* Opens a copy of exactly size bytes, so that the sanitizers see a read beyond; touches everything if it
   opens. */
static hone_status try_gguf(const void *data, size_t size, char message[1024])
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    char *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    hone_gguf *g = hone__gguf_open_memory(ctx, "x.gguf", copy, size);
    assert_true((g == NULL) == (hone_ctx_status(ctx) != HONE_OK));
    for (int64_t i = 0; i < hone_gguf_key_count(g); i++) {
        const char *key = hone_gguf_key(g, i)->name, *text;
        size_t length;
        int64_t number;
        if ((text = hone_gguf_get_string(g, key, &length))) sink += hone__hash(text, length + 1, 0);
        for (int64_t k = 0; k < hone_gguf_array_count(g, key); k++) {
            if ((text = hone_gguf_array_string(g, key, k, &length))) sink += hone__hash(text, length, 0);
            if (hone_gguf_array_i64(g, key, k, &number)) sink += (uint64_t)number;
        }
    }
    for (int64_t i = 0; i < hone_gguf_tensor_count(g); i++)
        sink += hone__hash(hone_gguf_tensor(g, i)->data, hone_gguf_tensor(g, i)->bytes, 0);
    hone_status status = hone_ctx_status(ctx);
    if (message) snprintf(message, 1024, "%s", hone_error(ctx));
    hone_gguf_close(g);
    assert_int_equal(ctx->bytes, 0);
    hone_ctx_release(ctx);
    free(copy);
    return status;
}

static void a_gguf_cut_anywhere_gives_an_error(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    size_t size;
    char *data = fixture(ctx, "small.gguf", &size);
    hone_gguf *g = hone__gguf_open_memory(ctx, "x", data, size);
    const hone_tensor_info *last = hone_gguf_tensor(g, hone_gguf_tensor_count(g) - 1);
    size_t needed = last->offset + last->bytes; /* padding may be missing at the end */
    for (size_t cut = 0; cut <= size; cut++)
        assert_int_equal(try_gguf(data, cut, NULL) == HONE_OK, cut >= needed);
    hone_gguf_close(g);
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

static void a_gguf_with_any_byte_changed_does_not_crash(void **state)
{
    (void)state;
    static const unsigned char changes[] = {0xFF, 0x00, 0x80, 0x7F, 0x01, 0x09};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    size_t size;
    char *data = fixture(ctx, "small.gguf", &size);
    for (size_t i = 0; i < size; i++)
        for (size_t c = 0; c < HONE_ARRAY_LEN(changes); c++) {
            char kept = data[i];
            data[i] = (char)changes[c];
            try_gguf(data, size, NULL);
            data[i] = kept;
        }
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

/* Files built by hand. */
static file_bytes begin_gguf(uint32_t version, uint64_t tensors, uint64_t keys)
{
    file_bytes b = {.data = "GGUF", .size = 4};
    put(&b, version, 4);
    put(&b, tensors, 8);
    put(&b, keys, 8);
    return b;
}
static void put_tensor(file_bytes *b, const char *name, int rank, const uint64_t *dims, uint32_t type,
                       uint64_t offset)
{
    put_text(b, name);
    put(b, (uint64_t)rank, 4);
    for (int i = 0; i < rank; i++) put(b, dims[i], 8);
    put(b, type, 4);
    put(b, offset, 8);
}
static void finish(file_bytes *b, size_t data)
{
    while (b->size % 32) put(b, 0, 1);
    while (data--) put(b, 1, 1);
}

static void expect_gguf(const file_bytes *b, hone_status expected, const char *text)
{
    char message[1024];
    hone_status status = try_gguf(b->data, b->size, message);
    if (status != expected || !strstr(message, text))
        fail_msg("%s instead of '%s': '%s'", hone_status_name(status), text, message);
}

static void gguf_tensors_out_of_range_or_overlapping_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        uint64_t dims[9], offset;
        int rank;
        uint32_t type;
        hone_status status;
        const char *text;
    } cases[] = {
        {{4}, 32, 1, 0, HONE_OK, ""},
        {{4}, 64, 1, 0, HONE_FORMAT, "x.gguf: tensor 'b': data at byte 160 need 16 bytes, the file has 160"},
        {{9}, 32, 1, 0, HONE_FORMAT, "need 36 bytes"},
        {{4}, 0, 1, 0, HONE_FORMAT, "tensors 'a' and 'b' share bytes"},
        {{4}, 8, 1, 0, HONE_FORMAT, "offset 8 is not aligned to 32"},
        {{4}, UINT64_MAX - 31, 1, 0, HONE_FORMAT, "offset out of range"},
        {{4}, UINT64_MAX / 2 - 31, 1, 0, HONE_FORMAT, "'b'"},
        {{UINT64_MAX}, 32, 1, 0, HONE_FORMAT, "dimension 0"},
        {{INT64_MAX, 8}, 32, 2, 0, HONE_FORMAT, "impossible"},
        {{UINT64_C(1) << 62, 4, 1, 0}, 32, 4, 0, HONE_FORMAT, "impossible"},
        {{31}, 32, 1, 8, HONE_FORMAT, "impossible for q8_0"},
        {{4}, 32, 9, 0, HONE_FORMAT, "9 dimensions"},
        {{4}, 32, 1, 20, HONE_UNSUPPORTED, "tensor 'b': type 20 (IQ4_NL) is not supported"},
        {{4}, 32, 1, 4, HONE_UNSUPPORTED, "type 4 (unknown)"},
        {{0, 4}, 32, 2, 0, HONE_OK, ""},
        {{0}, 32, 0, 0, HONE_OK, ""},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        file_bytes b = begin_gguf(3, 2, 0);
        put_tensor(&b, "a", 1, (uint64_t[]){4}, 0, 0);
        put_tensor(&b, "b", cases[i].rank, cases[i].dims, cases[i].type, cases[i].offset);
        finish(&b, 64);
        expect_gguf(&b, cases[i].status, cases[i].text);
    }
    file_bytes b = begin_gguf(2, 2, 0);
    put_tensor(&b, "same", 1, (uint64_t[]){4}, 0, 0);
    put_tensor(&b, "same", 1, (uint64_t[]){4}, 0, 32);
    finish(&b, 64);
    expect_gguf(&b, HONE_FORMAT, "tensor 'same' is there twice");
}

static void counts_of_a_gguf_are_not_believed(void **state)
{
    (void)state;
    file_bytes b = begin_gguf(3, UINT64_MAX, 0);
    expect_gguf(&b, HONE_FORMAT, "are more than");
    b = begin_gguf(3, 0, UINT64_MAX);
    expect_gguf(&b, HONE_FORMAT, "are more than");
    b = begin_gguf(3, 1000000, 0);
    expect_gguf(&b, HONE_FORMAT, "needs 8 bytes, the file has 0 left");
    b = begin_gguf(1, 0, 0);
    expect_gguf(&b, HONE_UNSUPPORTED, "version 1");
    b = begin_gguf(0x03000000, 0, 0);
    expect_gguf(&b, HONE_UNSUPPORTED, "big-endian");
    b = begin_gguf(3, 0, 0);
    expect_gguf(&b, HONE_OK, "");
    static const uint64_t counts[] = {UINT64_MAX, INT64_MAX, UINT64_MAX / 8 + 2, 1000, 2};
    for (size_t i = 0; i < HONE_ARRAY_LEN(counts); i++)
        for (uint32_t item = 0; item < 14; item++) {
            b = begin_gguf(3, 0, 1);
            put_text(&b, "k");
            put(&b, HONE_GGUF_ARRAY, 4);
            put(&b, item, 4);
            put(&b, counts[i], 8);
            put(&b, 0, 1);
            assert_int_equal(try_gguf(b.data, b.size, NULL),
                             item == HONE_GGUF_ARRAY ? HONE_UNSUPPORTED : HONE_FORMAT);
        }
    b = begin_gguf(3, 0, 1);
    put(&b, UINT64_MAX - 3, 8); /* the length of a key */
    put(&b, 0, 8);
    expect_gguf(&b, HONE_FORMAT, "a key at byte 32 needs");
}

static void keys_of_a_gguf_must_be_distinct_names(void **state)
{
    (void)state;
    file_bytes b = begin_gguf(3, 0, 2);
    for (int i = 0; i < 2; i++) put_text(&b, "k"), put(&b, HONE_GGUF_U8, 4), put(&b, 1, 1);
    expect_gguf(&b, HONE_FORMAT, "key 'k' is there twice");
    b = begin_gguf(3, 0, 1);
    put_text(&b, ""), put(&b, HONE_GGUF_U8, 4), put(&b, 1, 1);
    expect_gguf(&b, HONE_FORMAT, "is empty");
    b = begin_gguf(3, 0, 1);
    put(&b, 3, 8), put(&b, 0x620061, 3), put(&b, HONE_GGUF_U8, 4), put(&b, 1, 1);
    expect_gguf(&b, HONE_FORMAT, "broken by a NUL");
    static const uint64_t alignments[] = {0, 1, 3, 4, 12, UINT32_C(1) << 31, UINT32_MAX, 8, 64};
    for (size_t i = 0; i < HONE_ARRAY_LEN(alignments); i++) {
        b = begin_gguf(3, 0, 1);
        put_text(&b, "general.alignment"), put(&b, HONE_GGUF_U32, 4), put(&b, alignments[i], 4);
        bool fine = alignments[i] == 8 || alignments[i] == 64;
        expect_gguf(&b, fine ? HONE_OK : HONE_FORMAT, fine ? "" : "general.alignment is");
    }
    b = begin_gguf(3, 0, 1);
    put_text(&b, "general.alignment"), put(&b, HONE_GGUF_U64, 4), put(&b, 32, 8);
    expect_gguf(&b, HONE_FORMAT, "of type u64 instead of u32");
}

/* ---- GGUF, writing ---- */

static void a_copied_gguf_is_the_same_file(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_gguf *g = open_gguf(ctx, "small.gguf");
    const char *path = scratch("copy.gguf");
    hone_gguf_writer *w = hone_gguf_writer_new(ctx, path);
    for (int64_t i = 0; i < hone_gguf_key_count(g); i++) hone_gguf_copy_key(w, g, hone_gguf_key(g, i)->name);
    for (int64_t i = 0; i < hone_gguf_tensor_count(g); i++) {
        const hone_tensor_info *info = hone_gguf_tensor(g, i);
        hone_gguf_add_tensor(w, info->name, info->dtype, info->shape);
    }
    for (int64_t i = 0; i < hone_gguf_tensor_count(g); i++) {
        const hone_tensor_info *info = hone_gguf_tensor(g, i);
        for (size_t at = 0; at < info->bytes; at++) /* byte by byte */
            hone_gguf_write(w, info->name, (const char *)info->data + at, 1);
    }
    assert_false(hone__is_file(path));
    assert_hone_ok(ctx, hone_gguf_writer_commit(w));
    size_t size, copied;
    char *original = fixture(ctx, "small.gguf", &size), *copy = hone__read_file(ctx, path, 1 << 20, &copied);
    assert_int_equal(size, copied);
    assert_memory_equal(original, copy, size);
    hone__free(ctx, original);
    hone__free(ctx, copy);
    hone_gguf_close(g);
    hone_ctx_release(ctx);
}

static void what_is_set_in_a_gguf_is_read_again(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    const char *path = scratch("set.gguf");
    hone_gguf_writer *w = hone_gguf_writer_new(ctx, path);
    hone_gguf_set_u32(w, "u32", 1);
    hone_gguf_set_i32(w, "i32", -7);
    hone_gguf_set_u64(w, "u64", UINT64_MAX);
    hone_gguf_set_f32(w, "f32", 0.25f);
    hone_gguf_set_bool(w, "bool", true);
    hone_gguf_set_string(w, "string", "text");
    hone_gguf_set_strings(w, "strings", (const char *const[]){"a", "b\0c", ""}, (size_t[]){1, 3, 0}, 3);
    hone_gguf_set_strings(w, "terminated", (const char *const[]){"one", "two"}, NULL, 2);
    hone_gguf_set_i32s(w, "i32s", (int32_t[]){1, -2}, 2);
    hone_gguf_set_f32s(w, "f32s", (float[]){0.5f}, 1);
    hone_gguf_set_f32s(w, "none", NULL, 0);
    hone_gguf_set_string(w, "u32", "replaced");
    hone_gguf_set_u32(w, "general.alignment", 64);
    hone_gguf_add_tensor(w, "empty", HONE_F32, HONE_SHAPE(0, 2));
    hone_gguf_add_tensor(w, "x", HONE_U8, HONE_SHAPE(3));           /* GGUF has no u8 */
    assert_int_equal(hone_gguf_set_u32(w, "later", 1), HONE_DTYPE); /* the first error stays */
    assert_int_equal(hone_gguf_writer_commit(w), HONE_DTYPE);
    assert_non_null(strstr(hone_error(ctx), "set.gguf: tensor 'x': GGUF has no type u8"));
    assert_false(hone__is_file(path));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);

    w = hone_gguf_writer_new(ctx, path);
    hone_gguf_set_u32(w, "u32", 1);
    hone_gguf_set_strings(w, "strings", (const char *const[]){"a", "b\0c", ""}, (size_t[]){1, 3, 0}, 3);
    hone_gguf_set_f32s(w, "none", NULL, 0);
    hone_gguf_set_string(w, "u32", "replaced");
    hone_gguf_set_u32(w, "general.alignment", 64);
    hone_gguf_add_tensor(w, "empty", HONE_F32, HONE_SHAPE(0, 2));
    hone_gguf_add_tensor(w, "x", HONE_F16, HONE_SHAPE(1, 2, 3));
    hone_gguf_add_tensor(w, "scalar", HONE_I64, HONE_SCALAR);
    hone_gguf_write(w, "x", "abcdefghijkl", 12);
    hone_gguf_write(w, "scalar", "12345678", 8);
    assert_hone_ok(ctx, hone_gguf_writer_commit(w));
    hone_gguf *g = hone_gguf_open(ctx, path);
    if (!g) fail_msg("%s", hone_error(ctx));
    assert_string_equal(hone_gguf_get_string(g, "u32", NULL), "replaced");
    size_t length;
    assert_memory_equal(hone_gguf_array_string(g, "strings", 1, &length), "b\0c", 3);
    assert_int_equal(length, 3);
    assert_int_equal(hone_gguf_array_count(g, "none"), 0);
    const hone_tensor_info *x = hone_gguf_find(g, "x"), *scalar = hone_gguf_find(g, "scalar");
    assert_int_equal(x->offset % 64, 0);
    assert_int_equal(scalar->offset, x->offset + 64);
    assert_true(hone_shape_equal(x->shape, HONE_SHAPE(1, 2, 3)));
    assert_memory_equal(x->data, "abcdefghijkl", 12);
    assert_int_equal(scalar->shape.rank, 0);
    assert_int_equal(hone_gguf_find(g, "empty")->bytes, 0);
    hone_gguf_close(g);
    hone_ctx_release(ctx);
}

static void a_writer_refuses_what_would_not_make_a_file(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static const char *const errors[] = {
        "'a' has 3 of its 8 bytes", "it is the turn of a",    "1 more than that were given",
        "nothing can be added",     "'a' was declared twice", "a key needs a name",
        "more than 4 dimensions",   "cannot have shape",      "general.alignment must be",
        "it is the turn of none",   "is not there",
    };
    const char *path = scratch("refused.gguf");
    for (size_t i = 0; i < HONE_ARRAY_LEN(errors); i++) {
        hone_gguf_writer *w = hone_gguf_writer_new(ctx, path);
        hone_gguf_add_tensor(w, "a", HONE_F32, HONE_SHAPE(2));
        hone_gguf_add_tensor(w, "b", HONE_F32, HONE_SHAPE(2));
        switch (i) {
        case 0:
            hone_gguf_write(w, "a", "123", 3);
            break;
        case 1:
            hone_gguf_write(w, "b", "123", 3);
            break;
        case 2:
            hone_gguf_write(w, "a", "123456789", 9);
            break;
        case 3:
            hone_gguf_write(w, "a", "123", 3), hone_gguf_set_u32(w, "x", 1);
            break;
        case 4:
            hone_gguf_add_tensor(w, "a", HONE_F32, HONE_SHAPE(2));
            break;
        case 5:
            hone_gguf_set_u32(w, "", 1);
            break;
        case 6:
            hone_gguf_add_tensor(w, "c", HONE_F32, HONE_SHAPE(1, 1, 1, 1, 1));
            break;
        case 7:
            hone_gguf_add_tensor(w, "c", HONE_Q8_0, HONE_SHAPE(32, 3));
            break;
        case 8:
            hone_gguf_set_u64(w, "general.alignment", 32);
            break;
        case 9:
            hone_gguf_write(w, "a", "12345678", 8), hone_gguf_write(w, "b", "12345678", 8);
            hone_gguf_write(w, "b", "1", 1);
            break;
        default:
            hone_gguf_copy_key(w, NULL, "x");
            break;
        }
        assert_int_not_equal(hone_gguf_writer_commit(w), HONE_OK);
        if (!strstr(hone_error(ctx), errors[i])) fail_msg("'%s' lacks '%s'", hone_error(ctx), errors[i]);
        assert_false(hone__is_file(path));
        assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    }
    assert_null(hone_gguf_writer_new(ctx, scratch("no/folder/x.gguf")));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_gguf_writer_abandon(hone_gguf_writer_new(ctx, path));
    hone_gguf_writer_abandon(NULL);
    assert_int_equal(hone_gguf_writer_commit(NULL), HONE_INVALID);
    hone_ctx_release(ctx);
}

/* A model larger than the disk allows, in either format. */
static void a_full_disk_keeps_the_old_model(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static float data[1 << 18]; /* 1 MiB */
    for (int format = 0; format < 2; format++) {
        const char *path = scratch("full.model");
        assert_hone_ok(ctx, hone_write_file(ctx, path, "old", 3));
        struct rlimit before, limit;
        getrlimit(RLIMIT_FSIZE, &before);
        limit = before;
        limit.rlim_cur = 300000;
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        hone_status status;
        if (format == 0) {
            hone_gguf_writer *w = hone_gguf_writer_new(ctx, path);
            hone_gguf_add_tensor(w, "x", HONE_F32, HONE_SHAPE(HONE_ARRAY_LEN(data)));
            hone_gguf_write(w, "x", data, sizeof data);
            status = hone_gguf_writer_commit(w);
        } else {
            hone_safetensors_writer *w = hone_safetensors_writer_new(ctx, path);
            hone_safetensors_add_tensor(w, "x", HONE_F32, HONE_SHAPE(HONE_ARRAY_LEN(data)));
            hone_safetensors_write(w, "x", data, sizeof data);
            status = hone_safetensors_writer_commit(w);
        }
        setrlimit(RLIMIT_FSIZE, &before);
        signal(SIGXFSZ, handler);
        assert_int_equal(status, HONE_IO);
        assert_non_null(strstr(hone_error(ctx), path));
        assert_int_equal(hone__file_size(path), 3);
    }
    hone_ctx_release(ctx);
}

/* ---- memory ---- */

static hone_status use_files(hone_ctx *ctx, const char *gguf_path, const char *shards_path)
{
    hone_status status = HONE_OK, s;
    hone_gguf *g = hone_gguf_open(ctx, gguf_path);
    hone_gguf_writer *w = hone_gguf_writer_new(ctx, scratch("memory.gguf"));
    for (int64_t i = 0; i < hone_gguf_key_count(g); i++) hone_gguf_copy_key(w, g, hone_gguf_key(g, i)->name);
    hone_gguf_set_strings(w, "more", (const char *const[]){"a", "b"}, NULL, 2);
    hone_gguf_add_tensor(w, "x", HONE_F32, HONE_SHAPE(1));
    hone_gguf_write(w, "x", "1234", 4);
    if (w && (s = hone_gguf_writer_commit(w)) != HONE_OK) status = s;
    hone_gguf_close(g);
    hone_safetensors *file = hone_safetensors_open(ctx, shards_path);
    hone_safetensors_writer *sw = hone_safetensors_writer_new(ctx, scratch("memory.safetensors"));
    hone_safetensors_add_tensor(sw, "x", HONE_F32, HONE_SHAPE(1));
    hone_safetensors_write(sw, "x", "1234", 4);
    if (sw && (s = hone_safetensors_writer_commit(sw)) != HONE_OK) status = s;
    hone_safetensors_close(file);
    hone_tensor *t = hone_tensor_from_f32(ctx, HONE_SHAPE(2), (float[]){1, 2});
    if (t && (s = hone_npy_save(t, scratch("memory.npy"))) != HONE_OK) status = s;
    hone_tensor_free(t);
    hone_tensor_free(hone_npy_load(ctx, scratch("memory.npy")));
    return status != HONE_OK ? status : hone_ctx_status(ctx);
}

static void a_failed_allocation_in_io_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    char gguf_path[512], shards_path[512];
    snprintf(gguf_path, sizeof gguf_path, "%s/io/small.gguf", HONE_TEST_DATA);
    snprintf(shards_path, sizeof shards_path, "%s/io/sharded", HONE_TEST_DATA);
    for (int64_t n = 2;; n++) {
        counting c = {.fail_at = n};
        hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        hone_status status = use_files(ctx, gguf_path, shards_path);
        hone_ctx_release(ctx);
        assert_int_equal(c.live, 0);
        if (c.calls < n) {
            assert_int_equal(status, HONE_OK);
            break;
        }
        assert_int_equal(status, HONE_MEMORY);
        assert_true(n < 2000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_every_gguf_type_are_read_where_they_fit),
        cmocka_unit_test(texts_and_arrays_of_gguf_are_read),
        cmocka_unit_test(tensors_of_gguf_have_row_major_shapes_and_their_data),
        cmocka_unit_test(a_gguf_cut_anywhere_gives_an_error),
        cmocka_unit_test(a_gguf_with_any_byte_changed_does_not_crash),
        cmocka_unit_test(gguf_tensors_out_of_range_or_overlapping_are_refused_by_name),
        cmocka_unit_test(counts_of_a_gguf_are_not_believed),
        cmocka_unit_test(keys_of_a_gguf_must_be_distinct_names),
        cmocka_unit_test(a_copied_gguf_is_the_same_file),
        cmocka_unit_test(what_is_set_in_a_gguf_is_read_again),
        cmocka_unit_test(a_writer_refuses_what_would_not_make_a_file),
        cmocka_unit_test(a_full_disk_keeps_the_old_model),
        cmocka_unit_test(a_failed_allocation_in_io_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
