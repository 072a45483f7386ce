/* The tokenizer against tests/data/tokenizer, which scripts/golden/make_tokenizer_golden.py makes with `tokenizers`,
   llama.cpp and transformers. */
#include "tokenizer_tools.h"

#include <unistd.h>

/* ---- GGUF files made by hand, so that wrong ones can be made too ---- */

typedef struct gguf_file {
    uint8_t *data;
    size_t size, keys;
} gguf_file;

static void put(gguf_file *f, const void *data, size_t size)
{
    f->data = realloc(f->data, f->size + size);
    assert_non_null(f->data);
    memcpy(f->data + f->size, data, size);
    f->size += size;
}
static void put32(gguf_file *f, uint32_t value) { put(f, &value, 4); }
static void put64(gguf_file *f, uint64_t value) { put(f, &value, 8); }
static void put_string(gguf_file *f, const char *text, size_t size)
{
    put64(f, size);
    put(f, text, size);
}
enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_ARRAY = 9 };
static void put_key(gguf_file *f, const char *key, uint32_t type)
{
    if (!f->size) {
        put(f, "GGUF", 4);
        put32(f, 3);
        put64(f, 0);
        put64(f, 0); /* how many keys: set by open_gguf */
    }
    f->keys++;
    put_string(f, key, strlen(key));
    put32(f, type);
}
static void put_array(gguf_file *f, const char *key, uint32_t type, uint64_t count)
{
    put_key(f, key, GGUF_ARRAY);
    put32(f, type);
    put64(f, count);
}
static void put_key_string(gguf_file *f, const char *key, const char *text)
{
    put_key(f, key, GGUF_STRING);
    put_string(f, text, strlen(text));
}
static void put_key_u32(gguf_file *f, const char *key, uint32_t value)
{
    put_key(f, key, GGUF_U32);
    put32(f, value);
}

/* Writes the file, reads the tokenizer and removes it. */
static hone_tokenizer *open_gguf(hone_ctx *ctx, gguf_file *f)
{
    char path[] = "/tmp/hone-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    memcpy(f->data + 16, &(uint64_t){f->keys}, 8);
    while (f->size % 32) put(f, "", 1);
    assert_int_equal(write(fd, f->data, f->size), (ssize_t)f->size);
    close(fd);
    free(f->data);
    *f = (gguf_file){0};
    hone_gguf *gguf = hone_gguf_open(ctx, path);
    unlink(path);
    if (!gguf) return NULL;
    hone_tokenizer *t = hone_tokenizer_from_gguf(ctx, gguf);
    hone_gguf_close(gguf);
    return t;
}

static void put_vocabulary(gguf_file *f, const hone_tokenizer *t, const char *pre)
{
    put_key_string(f, "tokenizer.ggml.model", "gpt2");
    put_key_string(f, "tokenizer.ggml.pre", pre);
    put_array(f, "tokenizer.ggml.tokens", GGUF_STRING, t->count);
    for (size_t i = 0; i < t->count; i++) put_string(f, t->tokens[i].text, t->tokens[i].text_size);
    put_array(f, "tokenizer.ggml.token_type", GGUF_I32, t->count);
    for (size_t i = 0; i < t->count; i++) put32(f, t->tokens[i].type);
    put_array(f, "tokenizer.ggml.merges", GGUF_STRING, t->merge_count);
    for (size_t i = 0; i < t->merge_count; i++) {
        const hone__token *left = &t->tokens[t->merges[i].left], *right = &t->tokens[t->merges[i].right];
        put64(f, left->text_size + 1u + right->text_size);
        put(f, left->text, left->text_size);
        put(f, " ", 1);
        put(f, right->text, right->text_size);
    }
}

/* ---- ids ---- */

static void check_texts(hone_ctx *ctx, const hone_tokenizer *t, const json_t *texts, const json_t *ids,
                        bool lossless)
{
    size_t i;
    json_t *entry;
    hone_tokens tokens = {0};
    hone_text back = {0};
    assert_true(json_array_size(texts) > 80 && json_array_size(texts) == json_array_size(ids));
    json_array_foreach(texts, i, entry)
    {
        const char *text = json_string_value(entry);
        size_t size = json_string_length(entry);
        tokens.count = back.size = 0;
        assert_int_equal(hone_tokenizer_encode(ctx, t, text, size, HONE_ENCODE_SPECIAL, &tokens), HONE_OK);
        check_ids(text, &tokens, json_array_get(ids, i));
        if (!lossless) continue;
        assert_int_equal(hone_tokenizer_decode(ctx, t, tokens.ids, tokens.count, 0, &back), HONE_OK);
        assert_int_equal(back.size, size);
        if (size) assert_memory_equal(back.data, text, size);
    }
    hone_tokens_free(ctx, &tokens);
    hone_text_free(ctx, &back);
}

static void test_golden(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    json_t *golden = read_json(ctx, FOLDER "/golden.json");
    const json_t *texts = json_object_get(golden, "texts"), *ids = json_object_get(golden, "ids");
    hone_tokenizer *t = load(ctx);
    assert_int_equal(hone_tokenizer_size(t), 803);
    assert_string_equal(t->pre, "smollm");
    check_texts(ctx, t, texts, ids, true);
    hone_gguf *file = hone_gguf_open(ctx, FOLDER "/tokenizer.gguf");
    hone_tokenizer *other = hone_tokenizer_from_gguf(ctx, file);
    hone_gguf_close(file);
    if (!other) print_error("%s\n", hone_error(ctx));
    assert_non_null(other);
    check_texts(ctx, other, texts, ids, true);
    for (int i = 0; i < HONE_SPECIAL_COUNT; i++)
        assert_int_equal(hone_tokenizer_special(t, i), hone_tokenizer_special(other, i));
    for (int32_t i = 0; i < 803; i++)
        assert_int_equal(hone_tokenizer_type(t, i), hone_tokenizer_type(other, i));
    assert_string_equal(hone_tokenizer_chat_template(t), hone_tokenizer_chat_template(other));
    hone_tokenizer_free(other);

    /* llama.cpp's splits for files that do not say which. */
    gguf_file f = {0};
    put_vocabulary(&f, t, "default");
    other = open_gguf(ctx, &f);
    assert_non_null(other);
    check_texts(ctx, other, texts, json_object_get(golden, "llama_default_ids"), true);
    hone_tokenizer_free(other);
    hone_tokenizer_free(t);
    json_decref(golden);
    hone_ctx_release(ctx);
}

static void test_pre_tokenizers(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    json_t *golden = read_json(ctx, FOLDER "/golden.json"), *root = read_json(ctx, FOLDER "/tokenizer.json"),
           *entry;
    size_t i;
    json_array_foreach(json_object_get(golden, "variants"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        json_object_set(root, "pre_tokenizer", json_object_get(entry, "pre_tokenizer"));
        json_object_set(json_object_get(root, "model"), "ignore_merges",
                        json_object_get(entry, "ignore_merges"));
        hone_tokenizer *t = load_json(ctx, root, NULL, NULL);
        if (!t) print_error("%s: %s\n", name, hone_error(ctx));
        assert_non_null(t);
        bool lossless = strcmp(name, "removed") != 0 && strcmp(name, "prefix-space") != 0;
        check_texts(ctx, t, json_object_get(golden, "texts"), json_object_get(entry, "ids"), lossless);
        if (t->pre) {
            assert_string_equal(t->pre, name);
            gguf_file f = {0};
            put_vocabulary(&f, t, t->pre);
            hone_tokenizer *again = open_gguf(ctx, &f);
            assert_non_null(again);
            check_texts(ctx, again, json_object_get(golden, "texts"), json_object_get(entry, "ids"),
                        lossless);
            hone_tokenizer_free(again);
        }
        hone_tokenizer_free(t);
    }
    assert_int_equal(i, 7);
    json_decref(golden);
    json_decref(root);
    hone_ctx_release(ctx);
}

static void test_any_bytes_round_trip(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tokenizer *t = load(ctx);
    hone_tokens tokens = {0};
    hone_text back = {0};
    static const char *const pieces[] = {
        "\xF0\x9F\x98", "\xED\xA0\x80",     "\xC0\x80",   "\xFF",     "a",  " ", "\n", "é", "7",
        "\x80\x80",     "\xF4\x90\x80\x80", "<|im_end|>", "\xE4\xB8", "'s", "\0"};
    for (uint64_t round = 0; round < 3000; round++) {
        char text[64];
        size_t size = 0, n = (size_t)hone__random_below(1, round, 9);
        for (size_t i = 0; i < n; i++) {
            uint64_t pick = hone__random_below(hone__key(2, round), i, HONE_ARRAY_LEN(pieces) + 5);
            if (pick >= HONE_ARRAY_LEN(pieces)) {
                text[size++] = (char)hone__random_below(hone__key(3, round), i, 256);
                continue;
            }
            size_t length = HONE_MAX(strlen(pieces[pick]), (size_t)1);
            if (size + length >= sizeof text) break;
            memcpy(text + size, pieces[pick], length);
            size += length;
        }
        tokens.count = back.size = 0;
        assert_int_equal(hone_tokenizer_encode(ctx, t, text, size, (unsigned)round & 1, &tokens), HONE_OK);
        assert_int_equal(hone_tokenizer_decode(ctx, t, tokens.ids, tokens.count, 0, &back), HONE_OK);
        assert_int_equal(back.size, size);
        if (size) assert_memory_equal(back.data, text, size);
    }
    hone_tokens_free(ctx, &tokens);
    hone_text_free(ctx, &back);
    hone_tokenizer_free(t);
    hone_ctx_release(ctx);
}

static void encode(hone_ctx *ctx, const hone_tokenizer *t, const char *text, unsigned flags,
                   hone_tokens *tokens)
{
    tokens->count = 0;
    assert_int_equal(hone_tokenizer_encode(ctx, t, text, strlen(text), flags, tokens), HONE_OK);
}

static void test_special_tokens(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tokenizer *t = load(ctx);
    hone_tokens tokens = {0};
    int32_t end = hone_tokenizer_find(t, "<|im_end|>", 10), call = hone_tokenizer_find(t, "<tool_call>", 11);
    assert_int_equal(hone_tokenizer_type(t, end), HONE_TOKEN_CONTROL);
    assert_int_equal(hone_tokenizer_type(t, call), HONE_TOKEN_USER_DEFINED);
    assert_int_equal(hone_tokenizer_special(t, HONE_SPECIAL_EOT), end);
    assert_true(hone_tokenizer_is_end(t, end) && !hone_tokenizer_is_end(t, call) &&
                !hone_tokenizer_is_end(t, -1));
    encode(ctx, t, "<|im_end|>", HONE_ENCODE_SPECIAL, &tokens);
    assert_int_equal(tokens.count, 1);
    assert_int_equal(tokens.ids[0], end);
    /* Not asked for: a user who types a control token must not be able to end the turn. */
    encode(ctx, t, "<|im_end|>", 0, &tokens);
    assert_true(tokens.count > 3);
    for (size_t i = 0; i < tokens.count; i++)
        assert_int_equal(hone_tokenizer_type(t, tokens.ids[i]), HONE_TOKEN_NORMAL);
    /* "<tool" is a token as well: the longest wins, flags or none. */
    encode(ctx, t, "<tool_call>", 0, &tokens);
    assert_int_equal(tokens.count, 1);
    assert_int_equal(tokens.ids[0], call);
    hone_text text = {0};
    assert_int_equal(
        hone_tokenizer_decode(ctx, t, (int32_t[]){end, call}, 2, HONE_DECODE_SKIP_SPECIAL, &text), HONE_OK);
    assert_string_equal(text.data, "<tool_call>");
    assert_int_equal(hone_tokenizer_decode(ctx, t, (int32_t[]){call, 803}, 2, 0, &text), HONE_INVALID);
    assert_int_equal(hone_tokenizer_decode(ctx, t, (int32_t[]){-1}, 1, 0, &text), HONE_INVALID);
    assert_int_equal(text.size, 11); /* a failed call leaves it as it was */
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_null(hone_tokenizer_text(t, 803, NULL));
    assert_int_equal(hone_tokenizer_find(t, "no such token", 13), -1);

    /* lstrip and rstrip; bos and eos as a TemplateProcessing says. */
    json_t *root = read_json(ctx, FOLDER "/tokenizer.json");
    json_t *entry = json_array_get(json_object_get(root, "added_tokens"), 3);
    json_object_set_new(entry, "lstrip", json_true());
    json_object_set_new(entry, "rstrip", json_true());
    json_object_set_new(root, "post_processor",
                        json_pack("{s:s,s:[{s:{s:s}},{s:{s:s}},{s:{s:s}}]}", "type", "TemplateProcessing",
                                  "single", "SpecialToken", "id", "<|im_start|>", "Sequence", "id", "A",
                                  "SpecialToken", "id", "<|endoftext|>"));
    hone_tokenizer *strip = load_json(ctx, root, NULL, NULL);
    assert_non_null(strip);
    encode(ctx, strip, "a \n\xC2\xA0<pad> \t b", HONE_ENCODE_SPECIAL | HONE_ENCODE_ENDS, &tokens);
    assert_int_equal(tokens.count, 5);
    assert_int_equal(tokens.ids[0], hone_tokenizer_find(t, "<|im_start|>", 12));
    assert_int_equal(tokens.ids[1], hone_tokenizer_find(t, "a", 1));
    assert_int_equal(tokens.ids[2], hone_tokenizer_find(t, "<pad>", 5));
    assert_int_equal(tokens.ids[3], hone_tokenizer_find(t, "b", 1));
    assert_int_equal(tokens.ids[4], hone_tokenizer_find(t, "<|endoftext|>", 13));
    hone_tokenizer_free(strip);
    json_decref(root);
    hone_text_free(ctx, &text);
    hone_tokens_free(ctx, &tokens);
    hone_tokenizer_free(t);
    hone_ctx_release(ctx);
}

/* Quadratic merging of 4 MB would take hours, and a pattern that backtracks over them would hit PCRE2's
   limit. */
static void test_long_runs(void **state)
{
    (void)state;
    enum { SIZE = 4 << 20 };
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tokenizer *t = load(ctx);
    hone_tokens tokens = {0};
    gguf_file f = {0};
    put_vocabulary(&f, t, "llama-bpe");
    hone_tokenizer *llama = open_gguf(ctx, &f);
    assert_non_null(llama);
    char *text = malloc(SIZE);
    assert_non_null(text);
    static const char fill[] = {'a', ' ', '\n', '\'', '<', (char)0xFF, (char)0x80};
    for (size_t i = 0; i < sizeof fill; i++) {
        memset(text, fill[i], SIZE);
        tokens.count = 0;
        assert_int_equal(hone_tokenizer_encode(ctx, t, text, SIZE, HONE_ENCODE_SPECIAL, &tokens), HONE_OK);
        tokens.count = 0;
        hone_status status = hone_tokenizer_encode(ctx, llama, text, SIZE, HONE_ENCODE_SPECIAL, &tokens);
        if (status != HONE_OK) print_error("fill 0x%02X: %s\n", (unsigned char)fill[i], hone_error(ctx));
        assert_int_equal(status, HONE_OK);
    }
    free(text);
    hone_tokens_free(ctx, &tokens);
    hone_tokenizer_free(llama);
    hone_tokenizer_free(t);
    hone_ctx_release(ctx);
}

static void test_stream(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tokenizer *t = load(ctx);
    hone_tokens tokens = {0};
    hone_text text = {0};
    static const struct {
        const char *bytes, *shown;
    } cases[] = {
        {"plain", "plain"},
        {"👍🏽é中\xF0\x90\x8D\x88", "👍🏽é中\xF0\x90\x8D\x88"},
        {"a\xF0\x9F\x98z", "a\xEF\xBF\xBDz"},                     /* cut short by another character */
        {"\xF0\x9F\x98", "\xEF\xBF\xBD"},                         /* cut short by the end */
        {"\xFF\xC3\xA9", "\xEF\xBF\xBD\xC3\xA9"},                 /* no beginning of anything */
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* a surrogate */
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_decode_stream stream = {{0}, 0};
        encode(ctx, t, cases[i].bytes, 0, &tokens);
        text.size = 0;
        for (size_t k = 0; k < tokens.count; k++) {
            assert_int_equal(hone_decode_stream_add(ctx, t, tokens.ids[k], 0, &stream, &text), HONE_OK);
            for (size_t at = 0, n; at < text.size; at += n) {
                uint32_t code;
                n = (size_t)hone__utf8_next(text.data + at, text.size - at, &code);
                assert_true(n > 0);
            }
        }
        assert_int_equal(hone_decode_stream_end(ctx, &stream, &text), HONE_OK);
        assert_string_equal(text.data, cases[i].shown);
    }
    hone_tokens_free(ctx, &tokens);
    hone_text_free(ctx, &text);
    hone_tokenizer_free(t);
    hone_ctx_release(ctx);
}

/* ---- saving ---- */

static void test_saving(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    json_t *golden = read_json(ctx, FOLDER "/golden.json");
    hone_tokenizer *t = load(ctx);
    t->add_bos = true;
    char folder[] = "/tmp/hone-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    assert_int_equal(hone_tokenizer_save_json(ctx, t, folder), HONE_OK);
    hone_tokenizer *again = hone_tokenizer_from_json(ctx, folder);
    assert_non_null(again);
    check_texts(ctx, again, json_object_get(golden, "texts"), json_object_get(golden, "ids"), true);
    assert_string_equal(again->pre, "smollm");
    assert_true(again->add_bos && !again->add_eos);
    assert_string_equal(again->chat_template, t->chat_template);
    for (int i = 0; i < HONE_SPECIAL_COUNT; i++) assert_int_equal(again->special[i], t->special[i]);
    for (size_t i = 0; i < t->count; i++) assert_int_equal(again->tokens[i].type, t->tokens[i].type);
    hone_tokenizer_free(again);

    char *path = hone__join_path(ctx, folder, "t.gguf");
    hone_gguf_writer *writer = hone_gguf_writer_new(ctx, path);
    assert_int_equal(hone_tokenizer_write_gguf(ctx, t, writer), HONE_OK);
    assert_int_equal(hone_gguf_writer_commit(writer), HONE_OK);
    hone_gguf *file = hone_gguf_open(ctx, path);
    again = hone_tokenizer_from_gguf(ctx, file);
    hone_gguf_close(file);
    hone__free(ctx, path);
    assert_non_null(again);
    check_texts(ctx, again, json_object_get(golden, "texts"), json_object_get(golden, "ids"), true);
    assert_true(again->add_bos && !again->add_eos && again->merge_count == t->merge_count);
    assert_string_equal(again->chat_template, t->chat_template);
    for (int i = 0; i < HONE_SPECIAL_COUNT; i++) assert_int_equal(again->special[i], t->special[i]);
    for (size_t i = 0; i < t->count; i++) assert_int_equal(again->tokens[i].type, t->tokens[i].type);
    hone_tokenizer_free(again);
    assert_int_equal(hone__remove_folder(ctx, folder), HONE_OK);
    hone_tokenizer_free(t);
    json_decref(golden);
    hone_ctx_release(ctx);
}

/* ---- files that are wrong ---- */

/* Loading must fail with that status and a message that holds `word`. */
static void refused(hone_ctx *ctx, hone_tokenizer *t, hone_status status, const char *word)
{
    if (t || hone_ctx_status(ctx) != status || !strstr(hone_error(ctx), word))
        print_error("expected %s with \"%s\", got %s: %s\n", hone_status_name(status), word,
                    hone_status_name(hone_ctx_status(ctx)), hone_error(ctx));
    assert_null(t);
    assert_int_equal(hone_ctx_status(ctx), status);
    assert_non_null(strstr(hone_error(ctx), word));
    hone_clear_error(ctx);
}

#define BPE(vocab, merges) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}"
#define LEVEL ",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}"

static void test_wrong_json(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static const struct {
        const char *json;
        hone_status status;
        const char *word;
    } cases[] = {
        {"", HONE_FORMAT, "line"},
        {"[]", HONE_FORMAT, "object"},
        {"{", HONE_FORMAT, "line 1"},
        {"{}", HONE_UNSUPPORTED, "BPE"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", HONE_UNSUPPORTED, "WordPiece"},
        {BPE("{}", "[]") LEVEL "}", HONE_FORMAT, "ids"},
        {BPE("{\"a\":-1}", "[]") LEVEL "}", HONE_FORMAT, "ids"},
        {BPE("{\"a\":4000000000}", "[]") LEVEL "}", HONE_FORMAT, "ids"},
        {BPE("{\"a\":9223372036854775807}", "[]") LEVEL "}", HONE_FORMAT, "ids"},
        {BPE("{\"a\":99999999999999999999}", "[]") LEVEL "}", HONE_FORMAT, "integer"},
        {BPE("{\"a\":1.5}", "[]") LEVEL "}", HONE_FORMAT, "ids"},
        {BPE("{\"a\":0,\"b\":0}", "[]") LEVEL "}", HONE_FORMAT, "both"},
        {BPE("{\"a\":0,\"a\":1}", "[]") LEVEL "}", HONE_FORMAT, "duplicate"},
        {BPE("{\"a\":0}", "3") LEVEL "}", HONE_FORMAT, "merges"},
        {BPE("{\"a\":0}", "[\"a b\"]") LEVEL "}", HONE_FORMAT, "the right part"},
        {BPE("{\"a\":0}", "[\"a a\"]") LEVEL "}", HONE_FORMAT, "the result"},
        {BPE("{\"a\":0}", "[\"a\"]") LEVEL "}", HONE_FORMAT, "neither"},
        {BPE("{\"a\":0}", "[[\"a\"]]") LEVEL "}", HONE_FORMAT, "neither"},
        {BPE("{\"a\":0}", "[[\"a\", 3]]") LEVEL "}", HONE_FORMAT, "neither"},
        {BPE("{\"a\":0,\"aa\":1}", "[\"a a\",[\"a\",\"a\"]]") LEVEL "}", HONE_FORMAT, "again"},
        {BPE("{\"a\":0}", "[]") "}", HONE_UNSUPPORTED, "pre-tokenizer"},
        {BPE("{\"a\":0}", "[]") ",\"pre_tokenizer\":{\"type\":\"Metaspace\"}}", HONE_UNSUPPORTED,
         "Metaspace"},
        {BPE("{\"a\":0}", "[]") ",\"pre_tokenizer\":{\"type\":\"Digits\"}}", HONE_UNSUPPORTED, "ByteLevel"},
        {BPE("{\"a\":0}", "[]") ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
                                "\"behavior\":\"Isolated\"}}",
         HONE_FORMAT, "pattern"},
        {BPE("{\"a\":0}", "[]") LEVEL ",\"normalizer\":{\"type\":\"Lowercase\"}}", HONE_UNSUPPORTED,
         "Lowercase"},
        {BPE("{\"a\":0}", "[]") LEVEL ",\"added_tokens\":[{\"id\":5,\"content\":\"a\"}]}", HONE_FORMAT,
         "added_tokens"},
        {BPE("{\"a\":0}", "[]") LEVEL ",\"added_tokens\":[{\"id\":0,\"content\":\"b\"}]}", HONE_FORMAT,
         "both"},
        {BPE("{\"a\":0}", "[]") LEVEL ",\"added_tokens\":[{\"id\":0}]}", HONE_FORMAT, "content"},
        {BPE("{\"a\":0}", "[]") LEVEL ",\"added_tokens\":[{\"content\":\"b\"}]}", HONE_FORMAT, "ids"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++)
        refused(ctx,
                hone__tokenizer_from_json_text(ctx, "bad.json", cases[i].json, strlen(cases[i].json), NULL,
                                               NULL, NULL),
                cases[i].status, cases[i].word);
    refused(ctx, hone_tokenizer_from_json(ctx, "/nonexistent"), HONE_IO, "/nonexistent");

    /* A vocabulary without all bytes is usable: what it cannot say is left out, or the model's unknown
       token. */
    const char *small = BPE("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a b\"]") LEVEL "}";
    hone_tokenizer *t =
        hone__tokenizer_from_json_text(ctx, "small.json", small, strlen(small), NULL, NULL, NULL);
    assert_non_null(t);
    hone_tokens tokens = {0};
    encode(ctx, t, "axb", 0, &tokens);
    assert_int_equal(tokens.count, 1); /* as `tokenizers`: x is gone before merging */
    assert_int_equal(tokens.ids[0], 2);
    t->model_unknown = 2; /* merges with nothing */
    encode(ctx, t, "axxa", 0, &tokens);
    assert_int_equal(tokens.count,
                     4 + 1); /* the space in front (add_prefix_space is on by default) is unknown as well */
    hone_tokens_free(ctx, &tokens);
    hone_tokenizer_free(t);
    hone_ctx_release(ctx);
}

/* A vocabulary of four tokens, with one thing wrong each time. */
static void test_wrong_gguf(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    enum {
        FINE,
        NO_MODEL,
        OTHER_MODEL,
        PRE,
        NO_TOKENS,
        TWICE,
        TYPES,
        TYPE,
        MERGE,
        MERGE_FORM,
        NO_MERGES,
        BOS,
        LONG,
        CASES
    };
    static const char *const words[CASES] = {"",          "no tokenizer", "llama",     "smollm, ", "0 tokens",
                                             "both",      "types",        "type 9",    "result",   "space",
                                             "merges is", "bos_token",    "bytes long"};
    for (int c = 0; c < CASES; c++) {
        gguf_file f = {0};
        put_key_string(&f, "general.architecture", "llama");
        if (c != NO_MODEL) put_key_string(&f, "tokenizer.ggml.model", c == OTHER_MODEL ? "llama" : "gpt2");
        put_key_string(&f, "tokenizer.ggml.pre", c == PRE ? "klingon" : "smollm");
        static char text[70000];
        memset(text, 'x', sizeof text);
        put_array(&f, "tokenizer.ggml.tokens", GGUF_STRING, c == NO_TOKENS ? 0 : 4);
        for (int i = 0; i < 4 && c != NO_TOKENS; i++) {
            const char *names[] = {"a", "b", "ab", c == TWICE ? "a" : "c"};
            put_string(&f, c == LONG && i == 3 ? text : names[i],
                       c == LONG && i == 3 ? sizeof text : strlen(names[i]));
        }
        put_array(&f, "tokenizer.ggml.token_type", GGUF_I32, c == TYPES ? 3 : 4);
        for (int i = 0; i < (c == TYPES ? 3 : 4); i++) put32(&f, c == TYPE ? 9 : 1);
        if (c != NO_MERGES) {
            put_array(&f, "tokenizer.ggml.merges", GGUF_STRING, 1);
            put_string(&f, c == MERGE ? "a c" : c == MERGE_FORM ? "abc" : "a b", 3);
        }
        put_key_u32(&f, "tokenizer.ggml.bos_token_id", c == BOS ? 0xFFFFFFFFu : 3);
        hone_tokenizer *t = open_gguf(ctx, &f);
        if (c == FINE) {
            if (!t) print_error("%s\n", hone_error(ctx));
            assert_non_null(t);
            assert_int_equal(hone_tokenizer_special(t, HONE_SPECIAL_BOS), 3);
            assert_int_equal(hone_tokenizer_special(t, HONE_SPECIAL_EOS), -1);
            hone_tokenizer_free(t);
        } else {
            refused(ctx, t, c == OTHER_MODEL || c == PRE ? HONE_UNSUPPORTED : HONE_FORMAT, words[c]);
        }
    }
    hone_ctx_release(ctx);
}

/* ---- memory runs out ---- */

typedef struct failing {
    int64_t left, live; /* allocations until they fail; not yet freed */
} failing;

static void *failing_alloc(void *user, size_t size)
{
    failing *f = user;
    if (f->left-- <= 0) return NULL;
    f->live++;
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static void failing_free(void *user, void *memory)
{
    ((failing *)user)->live--;
    free(memory);
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    hone_ctx *plain = hone_ctx_new(.threads = 1);
    size_t size;
    char *json = read_text(plain, FOLDER "/tokenizer.json", &size),
         *config = read_text(plain, FOLDER "/tokenizer_config.json", NULL);
    const hone_message messages[] = {{"user", "Hi \xFF"},
                                     {"assistant", "Hello there, whatever your name is!"}};
    bool done = false;
    for (int64_t allowed = 1; !done; allowed++) {
        assert_true(allowed < 2000);
        failing f = {allowed, 0};
        hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {failing_alloc, failing_free, &f});
        assert_non_null(ctx);
        hone_tokens tokens = {0};
        hone_text text = {0};
        hone_tokenizer *t = hone__tokenizer_from_json_text(ctx, "test", json, size, config, NULL, NULL);
        done = t && hone_chat_encode(ctx, t, messages, 2, true, &tokens) == HONE_OK &&
               hone_tokenizer_decode(ctx, t, tokens.ids, tokens.count, 0, &text) == HONE_OK;
        if (!done) assert_int_equal(hone_ctx_status(ctx), HONE_MEMORY);
        hone_tokens_free(ctx, &tokens);
        hone_text_free(ctx, &text);
        hone_tokenizer_free(t);
        hone_ctx_release(ctx);
        assert_int_equal(f.live, 0);
    }
    hone__free(plain, json);
    hone__free(plain, config);
    hone_ctx_release(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_pre_tokenizers),
        cmocka_unit_test(test_any_bytes_round_trip),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_saving),
        cmocka_unit_test(test_wrong_json),
        cmocka_unit_test(test_wrong_gguf),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
