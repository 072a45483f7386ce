/* The first byte chooses: the rest is text for the fixture's tokenizer, whose decoding must give it back, or
   the text of a tokenizer.json, or a chat template. */
#include "llm/tokenizer.h"
#include "base/os.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_text(hone_ctx *ctx, const hone_tokenizer *t, unsigned flags, const char *text, size_t size)
{
    hone_tokens tokens = {0};
    hone_text back = {0}, streamed = {0};
    hone_decode_stream stream = {{0}, 0};
    if (hone_tokenizer_encode(ctx, t, text, size, flags & HONE_ENCODE_SPECIAL, &tokens) != HONE_OK ||
        hone_tokenizer_decode(ctx, t, tokens.ids, tokens.count, 0, &back) != HONE_OK || back.size != size ||
        (size && memcmp(back.data, text, size) != 0))
        abort();
    for (size_t i = 0; i < tokens.count; i++)
        hone_decode_stream_add(ctx, t, tokens.ids[i], 0, &stream, &streamed);
    hone_decode_stream_end(ctx, &stream, &streamed);
    for (size_t at = 0, n; at < streamed.size; at += n) {
        uint32_t code;
        n = (size_t)hone__utf8_next(streamed.data + at, streamed.size - at, &code);
        if (!n) abort();
    }
    hone_tokens_free(ctx, &tokens);
    hone_text_free(ctx, &back);
    hone_text_free(ctx, &streamed);
}

static void fuzz_chat(hone_ctx *ctx, const char *json, size_t json_size, const char *template)
{
    hone_tokens tokens = {0};
    const hone_message messages[] = {{"user", template}, {"assistant", "Yes."}};
    hone_tokenizer *t = hone__tokenizer_from_json_text(ctx, "fixture", json, json_size, NULL, NULL, template);
    if (t) hone_chat_encode(ctx, t, messages, 2, true, &tokens);
    hone_tokens_free(ctx, &tokens);
    hone_tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hone_ctx *ctx;
    static hone_tokenizer *fixture;
    static char *small;
    if (!ctx) {
        ctx = hone_ctx_new(.threads = 1);
        /* Beside this source, wherever the fuzzer runs. */
        int folder = (int)(strrchr(__FILE__, '/') ? strrchr(__FILE__, '/') - __FILE__ + 1 : 0);
        char *path = hone__format(ctx, "%.*s../tests/data/tokenizer", folder, __FILE__);
        fixture = hone_tokenizer_from_json(ctx, path);
        hone__free(ctx, path);
        small = hone__strdup(
            ctx,
            "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}");
        if (!fixture || !small) abort();
    }
    if (!size) return 0;
    char *text = hone__strndup(ctx, (const char *)data + 1, size - 1);
    if (data[0] % 4 < 2) {
        fuzz_text(ctx, fixture, data[0], text, size - 1);
    } else if (data[0] % 4 == 2) {
        hone_tokens tokens = {0};
        hone_tokenizer *t = hone__tokenizer_from_json_text(ctx, "fuzz", text, size - 1, NULL, NULL, NULL);
        if (t) hone_tokenizer_encode(ctx, t, text, size - 1, HONE_ENCODE_SPECIAL | HONE_ENCODE_ENDS, &tokens);
        hone_tokens_free(ctx, &tokens);
        hone_tokenizer_free(t);
    } else {
        fuzz_chat(ctx, small, strlen(small), text);
    }
    hone__free(ctx, text);
    hone_clear_error(ctx);
    return 0;
}
