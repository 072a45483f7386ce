/* The tokenizer in a GGUF file: the keys tokenizer.* as llama.cpp defines them (ggml/docs/gguf.md,
   "Tokenizer"). */
#include "llm/tokenizer.h"

#define KEY(name) "tokenizer.ggml." name

static const struct {
    hone_special which;
    const char *key;
} special_keys[] = {
    {HONE_SPECIAL_BOS, KEY("bos_token_id")},     {HONE_SPECIAL_EOS, KEY("eos_token_id")},
    {HONE_SPECIAL_EOT, KEY("eot_token_id")},     {HONE_SPECIAL_PAD, KEY("padding_token_id")},
    {HONE_SPECIAL_UNK, KEY("unknown_token_id")},
};

/* A short string of the metadata, NUL-terminated; "" when it is absent or too long. */
static const char *short_string(const hone_gguf *file, const char *key, char text[64])
{
    size_t size = 0;
    const char *value = hone_gguf_get_string(file, key, &size);
    text[0] = 0;
    if (!value || size >= 64) return text;
    memcpy(text, value, size);
    text[size] = 0;
    return text;
}

static hone_status read_tokens(hone_tokenizer *t, const hone_gguf *file)
{
    hone_ctx *ctx = t->ctx;
    int64_t types = hone_gguf_array_count(file, KEY("token_type"));
    if (types > 0 && (uint64_t)types != t->count)
        return hone__fail(ctx, HONE_FORMAT, "%s: %zu tokens but %lld token types", t->source, t->count,
                          (long long)types);
    for (size_t i = 0; i < t->count; i++) {
        size_t size = 0;
        int64_t type = HONE_TOKEN_NORMAL;
        const char *text = hone_gguf_array_string(file, KEY("tokens"), (int64_t)i, &size);
        if (!text)
            return hone__fail(ctx, HONE_FORMAT, "%s: tokenizer.ggml.tokens holds no strings", t->source);
        if (types > 0 && (!hone_gguf_array_i64(file, KEY("token_type"), (int64_t)i, &type) ||
                          type < HONE_TOKEN_NORMAL || type > HONE_TOKEN_BYTE))
            return hone__fail(ctx, HONE_FORMAT, "%s: token %zu has type %lld; 1 to 6 are known", t->source, i,
                              (long long)type);
        if (hone__tokenizer_set(t, (int64_t)i, text, size, (hone_token_type)type) != HONE_OK)
            return ctx->status;
    }
    return hone__tokenizer_finish_tokens(t);
}

static hone_status read_merges(hone_tokenizer *t, const hone_gguf *file)
{
    hone_ctx *ctx = t->ctx;
    int64_t count = hone_gguf_array_count(file, KEY("merges"));
    if (count < 0) return hone__fail(ctx, HONE_FORMAT, "%s: tokenizer.ggml.merges is missing", t->source);
    if (hone__tokenizer_reserve_merges(t, (uint64_t)count) != HONE_OK) return ctx->status;
    for (int64_t i = 0; i < count; i++) {
        size_t size = 0;
        const char *text = hone_gguf_array_string(file, KEY("merges"), i, &size);
        /* From the second byte on: a part may begin with the space that separates. */
        const char *space = text && size > 1 ? memchr(text + 1, ' ', size - 1) : NULL;
        if (!space)
            return hone__fail(ctx, HONE_FORMAT,
                              "%s: tokenizer.ggml.merges[%lld] is not two parts with a space between",
                              t->source, (long long)i);
        if (hone__tokenizer_add_merge(t, text, (size_t)(space - text), space + 1,
                                      size - (size_t)(space + 1 - text)) != HONE_OK)
            return ctx->status;
    }
    return HONE_OK;
}

static hone_status read_rest(hone_tokenizer *t, const hone_gguf *file)
{
    hone_ctx *ctx = t->ctx;
    char pre[64];
    size_t size = 0;
    uint64_t id;
    short_string(file, KEY("pre"), pre);
    if (hone__tokenizer_set_pre(t, pre[0] ? pre : "default") != HONE_OK) return ctx->status;
    hone_gguf_get_bool(file, KEY("add_bos_token"), &t->add_bos);
    hone_gguf_get_bool(file, KEY("add_eos_token"), &t->add_eos);
    for (size_t i = 0; i < HONE_ARRAY_LEN(special_keys); i++)
        if (hone_gguf_get_u64(file, special_keys[i].key, &id) &&
            hone__tokenizer_set_special(t, special_keys[i].which, (int64_t)HONE_MIN(id, (uint64_t)INT64_MAX),
                                        special_keys[i].key) != HONE_OK)
            return ctx->status;
    hone__tokenizer_find_end_of_turn(t);
    const char *template = hone_gguf_get_string(file, "tokenizer.chat_template", &size);
    if (template) t->chat_template = hone__tokenizer_keep(t, template, size);
    return ctx->status;
}

hone_tokenizer *hone_tokenizer_from_gguf(hone_ctx *ctx, const hone_gguf *file)
{
    if (!hone__ok(ctx) || !file) return NULL;
    char model[64];
    short_string(file, KEY("model"), model);
    if (strcmp(model, "gpt2") != 0) {
        hone__fail(ctx, model[0] ? HONE_UNSUPPORTED : HONE_FORMAT,
                   model[0] ? "GGUF: tokenizer.ggml.model \"%s\" is not supported; gpt2 (byte-level BPE) is"
                            : "GGUF: the file has no tokenizer (tokenizer.ggml.model is missing)%s",
                   model);
        return NULL;
    }
    int64_t count = hone_gguf_array_count(file, KEY("tokens"));
    hone_tokenizer *t = hone__tokenizer_new(ctx, "GGUF", count > 0 ? (uint64_t)count : 0);
    if (t && read_tokens(t, file) == HONE_OK && read_merges(t, file) == HONE_OK &&
        read_rest(t, file) == HONE_OK)
        return t;
    hone_tokenizer_free(t);
    return NULL;
}

/* ---- writing ---- */

static hone_status write_tokens(hone_ctx *ctx, const hone_tokenizer *t, hone_gguf_writer *writer)
{
    const char **texts = hone__calloc(ctx, t->count, sizeof *texts);
    size_t *sizes = hone__calloc(ctx, t->count, sizeof *sizes);
    int32_t *types = hone__calloc(ctx, t->count, sizeof *types);
    hone__buffer holes = {0}; /* every id needs a text of its own */
    hone_status status = ctx->status;
    for (size_t i = 0; status == HONE_OK && i < t->count; i++) {
        const hone__token *token = &t->tokens[i];
        texts[i] = token->text;
        sizes[i] = token->text_size;
        types[i] = token->type;
        if (token->type) continue;
        types[i] = HONE_TOKEN_UNUSED;
        sizes[i] = holes.size; /* where its text begins, until the buffer has stopped moving */
        if (!hone__buffer_print(ctx, &holes, "[PAD%zu]", i) || !hone__buffer_add(ctx, &holes, "", 1))
            status = ctx->status;
    }
    for (size_t i = 0; status == HONE_OK && i < t->count; i++) {
        if (t->tokens[i].type) continue;
        texts[i] = holes.data + sizes[i];
        sizes[i] = strlen(texts[i]);
    }
    if (status == HONE_OK) status = hone_gguf_set_strings(writer, KEY("tokens"), texts, sizes, t->count);
    if (status == HONE_OK) status = hone_gguf_set_i32s(writer, KEY("token_type"), types, t->count);
    hone__buffer_free(ctx, &holes);
    hone__free(ctx, texts);
    hone__free(ctx, sizes);
    hone__free(ctx, types);
    return status;
}

static hone_status write_merges(hone_ctx *ctx, const hone_tokenizer *t, hone_gguf_writer *writer)
{
    const char **texts = hone__calloc(ctx, t->merge_count, sizeof *texts);
    size_t *sizes = hone__calloc(ctx, t->merge_count, sizeof *sizes), total = 0;
    for (size_t i = 0; i < t->merge_count; i++) total += t->tokens[t->merges[i].id].text_size + 1u;
    char *all = hone__alloc(ctx, total), *at = all;
    hone_status status = ctx->status;
    for (size_t i = 0; status == HONE_OK && i < t->merge_count; i++) {
        const hone__token *left = &t->tokens[t->merges[i].left], *right = &t->tokens[t->merges[i].right];
        if (memchr(left->text, ' ', left->text_size) || memchr(right->text, ' ', right->text_size))
            status =
                hone__fail_run(ctx, HONE_UNSUPPORTED,
                               "%s: merge %zu has a part with a space, which GGUF cannot hold", t->source, i);
        texts[i] = at;
        sizes[i] = left->text_size + 1u + right->text_size;
        memcpy(at, left->text, left->text_size);
        at[left->text_size] = ' ';
        memcpy(at + left->text_size + 1, right->text, right->text_size);
        at += sizes[i];
    }
    if (status == HONE_OK)
        status = hone_gguf_set_strings(writer, KEY("merges"), texts, sizes, t->merge_count);
    hone__free(ctx, texts);
    hone__free(ctx, sizes);
    hone__free(ctx, all);
    return status;
}

hone_status hone_tokenizer_write_gguf(hone_ctx *ctx, const hone_tokenizer *t, hone_gguf_writer *writer)
{
    if (!t) return HONE_INVALID;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    if (!t->pre)
        return hone__fail_run(ctx, HONE_UNSUPPORTED,
                              "%s: GGUF has no name for the pre-tokenizer of this tokenizer", t->source);
    if (t->model_unknown >= 0)
        hone__log(ctx, HONE_LOG_WARNING, "%s: readers of GGUF leave out what BPE's unk_token stands for",
                  t->source);
    hone_gguf_set_string(writer, KEY("model"), "gpt2");
    hone_gguf_set_string(writer, KEY("pre"), t->pre);
    hone_status status = write_tokens(ctx, t, writer);
    if (status == HONE_OK) status = write_merges(ctx, t, writer);
    for (size_t i = 0; status == HONE_OK && i < HONE_ARRAY_LEN(special_keys); i++)
        if (t->special[special_keys[i].which] >= 0)
            status =
                hone_gguf_set_u32(writer, special_keys[i].key, (uint32_t)t->special[special_keys[i].which]);
    if (status == HONE_OK) status = hone_gguf_set_bool(writer, KEY("add_bos_token"), t->add_bos);
    if (status == HONE_OK) status = hone_gguf_set_bool(writer, KEY("add_eos_token"), t->add_eos);
    /* llama.cpp heeds it for SentencePiece alone; splits with prefix_space have no name. */
    if (status == HONE_OK) status = hone_gguf_set_bool(writer, KEY("add_space_prefix"), false);
    if (status == HONE_OK && t->chat_template)
        status = hone_gguf_set_string(writer, "tokenizer.chat_template", t->chat_template);
    return status;
}
