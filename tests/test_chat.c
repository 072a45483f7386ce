/* Chat templates against tests/data/tokenizer/golden.json, which scripts/golden/make_tokenizer_golden.py makes with
   transformers. */
#include "tokenizer_tools.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chats),
        cmocka_unit_test(test_chat_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
