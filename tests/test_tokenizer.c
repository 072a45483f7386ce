/* The tokenizer, chat templates and the sampler against tests/data/tokenizer, which
   scripts/golden/make_tokenizer_golden.py makes with `tokenizers`, llama.cpp and transformers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/os.h"
#include "llm/tokenizer.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDER HONE_TEST_DATA "/tokenizer"

static char *read_text(hone_ctx *ctx, const char *path, size_t *size)
{
    char *text = hone__read_file(ctx, path, 1 << 24, size);
    assert_non_null(text);
    return text;
}

static json_t *read_json(hone_ctx *ctx, const char *path)
{
    size_t size;
    char *text = read_text(ctx, path, &size);
    json_t *json = json_loadb(text, size, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    hone__free(ctx, text);
    return json;
}

static hone_tokenizer *load(hone_ctx *ctx)
{
    hone_tokenizer *t = hone_tokenizer_from_json(ctx, FOLDER);
    if (!t) print_error("%s\n", hone_error(ctx));
    assert_non_null(t);
    return t;
}

static hone_tokenizer *load_json(hone_ctx *ctx, const json_t *root, const char *config, const char *template)
{
    char *text = json_dumps(root, 0);
    hone_tokenizer *t =
        hone__tokenizer_from_json_text(ctx, "test", text, strlen(text), config, NULL, template);
    free(text);
    return t;
}

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

static void check_ids(const char *what, const hone_tokens *tokens, const json_t *ids)
{
    bool same = tokens->count == json_array_size(ids);
    for (size_t i = 0; same && i < tokens->count; i++)
        same = tokens->ids[i] == json_integer_value(json_array_get(ids, i));
    if (same) return;
    print_error("%s:\n  ours  ", what);
    for (size_t i = 0; i < tokens->count; i++) print_error(" %d", tokens->ids[i]);
    print_error("\n  theirs");
    for (size_t i = 0; i < json_array_size(ids); i++)
        print_error(" %lld", (long long)json_integer_value(json_array_get(ids, i)));
    fail_msg("ids differ");
}

/* Every golden text gives the golden ids, and (lossless) its bytes back. */
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

/* ---- chats ---- */

static size_t read_messages(const json_t *list, hone_message *messages)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        messages[i] = (hone_message){json_string_value(json_object_get(entry, "role")),
                                     json_string_value(json_object_get(entry, "content"))};
    }
    return i;
}

static void check_chat(hone_ctx *ctx, const hone_tokenizer *t, const json_t *chat)
{
    hone_message messages[8];
    hone_chat_span spans[8];
    hone_text text = {0};
    hone_tokens tokens = {0};
    size_t count = read_messages(json_object_get(chat, "messages"), messages), n_spans, answers = 0;
    bool prompt = json_is_true(json_object_get(chat, "prompt"));
    hone_status status = hone_chat_render(ctx, t, messages, count, prompt, &text, spans, &n_spans);
    if (status != HONE_OK) print_error("%s\n", hone_error(ctx));
    assert_int_equal(status, HONE_OK);
    assert_string_equal(text.data, json_string_value(json_object_get(chat, "text")));
    assert_int_equal(hone_chat_encode(ctx, t, messages, count, prompt, &tokens), HONE_OK);
    check_ids(text.data, &tokens, json_object_get(chat, "ids"));
    /* Spans hold the content and the end mark; tokens are trained just when they touch a span. */
    bool llama = strstr(t->chat_template, "eot_id") != NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(messages[i].role, "assistant") != 0) continue;
        const char *stop = llama ? "<|eot_id|>" : "<|im_end|>";
        size_t size = spans[answers].end - spans[answers].begin, content = strlen(messages[i].content);
        const char *at = text.data + spans[answers++].begin;
        assert_memory_equal(at + size - strlen(stop), stop, strlen(stop));
        if (!llama) {
            assert_int_equal(size, content + strlen(stop));
            assert_memory_equal(at, messages[i].content, content);
        }
    }
    assert_int_equal(answers, n_spans);
    size_t at = 0;
    for (size_t i = 0; i < tokens.count; i++) {
        size_t end = at + t->tokens[tokens.ids[i]].byte_count;
        bool inside = false;
        for (size_t s = 0; s < n_spans; s++) inside = inside || (at < spans[s].end && end > spans[s].begin);
        assert_int_equal(tokens.trained[i], inside);
        at = end;
    }
    assert_int_equal(at, text.size);
    hone_text_free(ctx, &text);
    hone_tokens_free(ctx, &tokens);
}

static void test_chats(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    json_t *golden = read_json(ctx, FOLDER "/golden.json"), *root = read_json(ctx, FOLDER "/tokenizer.json"),
           *chat;
    size_t i, size;
    char *config = read_text(ctx, FOLDER "/tokenizer_config.json", &size);
    json_array_foreach(json_object_get(golden, "chats"), i, chat)
    {
        hone_tokenizer *t =
            load_json(ctx, root, config, json_string_value(json_object_get(chat, "template")));
        assert_non_null(t);
        check_chat(ctx, t, chat);
        hone_tokenizer_free(t);
    }
    assert_true(i >= 60);
    hone__free(ctx, config);
    json_decref(golden);
    json_decref(root);
    hone_ctx_release(ctx);
}

static void test_chat_refusals(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    json_t *root = read_json(ctx, FOLDER "/tokenizer.json");
    const hone_message messages[] = {{"user", "Hi"}};
    hone_tokens tokens = {0};
    hone_tokenizer *t = load_json(ctx, root, NULL, NULL);
    assert_int_equal(hone_chat_encode(ctx, t, messages, 1, false, &tokens), HONE_STATE);
    assert_non_null(strstr(hone_error(ctx), "no chat template"));
    hone_tokenizer_free(t);
    /* One word of meaning apart from ChatML: guessing would train on the wrong text. */
#define OPEN "{% for message in messages %}{{'<|im_start|>' + message['role'] + "
#define CLOSE "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n"
    static const char *const others[] = {
        "",
        "{{",
        "{% for",
        "{{ 'open",
        "no tags",
        OPEN "'\n' + message['content'] | trim + '<|im_end|>' + '\n'}}" CLOSE "' }}{% endif %}",
        OPEN "' ' + message['content'] + '<|im_end|>' + '\n'}}" CLOSE "' }}{% endif %}",
        OPEN "'\n' + message['content'] + '<|im_end|>' + '\n'}}" CLOSE "<think>' }}{% endif %}",
        OPEN "'\\u000a' + message['content'] + '<|im_end|>' + '\n'}}" CLOSE "' }}{% endif %}",
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(others); i++) {
        t = load_json(ctx, root, NULL, others[i]);
        assert_int_equal(hone_chat_encode(ctx, t, messages, 1, false, &tokens), HONE_UNSUPPORTED);
        assert_non_null(strstr(hone_error(ctx), "ChatML"));
        hone_tokenizer_free(t);
    }
    t = load(ctx);
    assert_int_equal(hone_chat_encode(ctx, t, messages, 0, false, &tokens), HONE_INVALID);
    assert_int_equal(hone_chat_encode(ctx, t, &(hone_message){"user", NULL}, 1, false, &tokens),
                     HONE_INVALID);
    assert_int_equal(tokens.count, 0);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_tokenizer_free(t);
    hone_tokens_free(ctx, &tokens);
    json_decref(root);
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

/* ---- sampling ---- */

static int32_t next(hone_sampler *s, const float *logits, int64_t count, uint64_t position)
{
    int32_t id = -1;
    assert_int_equal(hone_sampler_next(s, logits, count, position, &id), HONE_OK);
    assert_true(id >= 0 && id < count);
    return id;
}

static void test_sampler(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    const float logits[6] = {1, 3, 2, 3, 0, -1};
    hone_sampler *greedy = hone_sampler_new(ctx, .seed = 1),
                 *one = hone_sampler_new(ctx, .temperature = 5, .top_k = 1),
                 *narrow = hone_sampler_new(ctx, .temperature = 1, .top_p = 1e-6f);
    for (uint64_t i = 0; i < 50; i++) { /* the lowest id of a tie, always */
        assert_int_equal(next(greedy, logits, 6, i), 1);
        assert_int_equal(next(one, logits, 6, i), 1);
        assert_int_equal(next(narrow, logits, 6, i), 1);
    }
    /* Frequencies follow the distribution; all ways to the same distribution agree. 4 standard deviations. */
    enum { DRAWS = 40000 };
    static const struct {
        int64_t top_k;
        float top_p;
        int kept; /* of the ranking 1, 3, 2, 0, 4, 5 */
    } cuts[] = {{0, 0, 6}, {3, 0, 3}, {0, 0.85f, 3}, {4, 0.95f, 4}, {100, 1, 6}, {2, 0.5f, 1}};
    const int32_t ranking[6] = {1, 3, 2, 0, 4, 5};
    for (size_t c = 0; c < HONE_ARRAY_LEN(cuts); c++) {
        hone_sampler *s = hone_sampler_new(ctx, .temperature = 1.25f, .top_k = cuts[c].top_k,
                                           .top_p = cuts[c].top_p, .seed = 7);
        double total = 0;
        int hits[6] = {0};
        for (int i = 0; i < cuts[c].kept; i++) total += exp((double)logits[ranking[i]] / 1.25);
        for (uint64_t i = 0; i < DRAWS; i++) hits[next(s, logits, 6, i)]++;
        for (int i = 0; i < 6; i++) {
            double p = i < cuts[c].kept ? exp((double)logits[ranking[i]] / 1.25) / total : 0;
            double off = fabs(hits[ranking[i]] - p * DRAWS);
            assert_true(off <= 4 * sqrt(p * (1 - p) * DRAWS));
        }
        /* A function of the position, not of the calls before. */
        int32_t late = next(s, logits, 6, 12345), early = next(s, logits, 6, 3);
        hone_sampler *fresh = hone_sampler_new(ctx, .temperature = 1.25f, .top_k = cuts[c].top_k,
                                               .top_p = cuts[c].top_p, .seed = 7);
        assert_int_equal(next(fresh, logits, 6, 3), early);
        assert_int_equal(next(fresh, logits, 6, 12345), late);
        hone_sampler_free(fresh);
        hone_sampler_free(s);
    }
    int32_t id = 0;
    assert_int_equal(hone_sampler_next(greedy, (float[]){0, NAN}, 2, 0, &id), HONE_NUMERIC);
    assert_int_equal(hone_sampler_next(one, (float[]){0, INFINITY}, 2, 0, &id), HONE_NUMERIC);
    assert_int_equal(hone_sampler_next(one, (float[]){-INFINITY, 0}, 2, 0, &id), HONE_NUMERIC);
    assert_int_equal(hone_sampler_next(one, logits, 0, 0, &id), HONE_INVALID);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_sampler_free(greedy);
    hone_sampler_free(one);
    hone_sampler_free(narrow);
    assert_null(hone_sampler_new(ctx, .temperature = -1));
    hone_clear_error(ctx);
    assert_null(hone_sampler_new(ctx, .top_p = 1.5f));
    hone_clear_error(ctx);
    assert_null(hone_sampler_new(ctx, .temperature = NAN));
    hone_clear_error(ctx);
    assert_null(hone_sampler_new(ctx, .top_k = -1));
    hone_clear_error(ctx);
    hone_ctx_release(ctx);
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
        cmocka_unit_test(test_chats),
        cmocka_unit_test(test_chat_refusals),
        cmocka_unit_test(test_wrong_json),
        cmocka_unit_test(test_wrong_gguf),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_sampler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
