/* A tokenizer written as Hugging Face's files. */
#include "llm/tokenizer.h"
#include "base/os.h"

#include <jansson.h>

/* jansson's setters take NULL for a value that could not be made and say -1: every one of them may be
   chained and the outcome looked at once. */
static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *string(const hone__token *token) { return json_stringn(token->text, token->text_size); }

static json_t *truth(bool value) { return value ? json_true() : json_false(); }

static json_t *split_json(const hone__split *split)
{
    static const char *const types[] = {"Digits", "Split", "ByteLevel"};
    json_t *json = json_object();
    bool ok = set(json, "type", json_string(types[split->kind]));
    switch (split->kind) {
    case HONE__SPLIT_DIGITS:
        ok = ok && set(json, "individual_digits", truth(split->individual));
        break;
    case HONE__SPLIT_PATTERN:
        ok = ok &&
             set(json, "pattern", json_pack("{s:s}", split->literal ? "String" : "Regex", split->pattern)) &&
             set(json, "behavior",
                 json_string(split->drop_matches || split->drop_gaps ? "Removed" : "Isolated")) &&
             set(json, "invert", truth(split->drop_gaps));
        break;
    case HONE__SPLIT_BYTES:
        ok = ok && set(json, "add_prefix_space", truth(split->prefix_space)) &&
             set(json, "trim_offsets", json_true()) && set(json, "use_regex", truth(split->use_regex));
        break;
    }
    if (ok) return json;
    json_decref(json);
    return NULL;
}

static json_t *splits_json(const hone_tokenizer *t)
{
    if (t->split_count == 1) return split_json(&t->splits[0]);
    json_t *list = json_array();
    for (int i = 0; i < t->split_count; i++)
        if (json_array_append_new(list, split_json(&t->splits[i]))) return json_decref(list), NULL;
    return json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", list);
}

static json_t *added_json(const hone_tokenizer *t)
{
    json_t *list = json_array();
    for (size_t id = 0; id < t->count; id++) {
        const hone__token *token = &t->tokens[id];
        bool user = token->type == HONE_TOKEN_USER_DEFINED;
        if (!user && token->type != HONE_TOKEN_CONTROL && token->type != HONE_TOKEN_UNKNOWN) continue;
        json_t *entry = json_pack("{s:I,s:o,s:b,s:b,s:b,s:b,s:b}", "id", (json_int_t)id, "content",
                                  string(token), "single_word", 0, "lstrip", token->left_strip, "rstrip",
                                  token->right_strip, "normalized", 0, "special", !user);
        if (json_array_append_new(list, entry)) return json_decref(list), NULL;
    }
    return list;
}

static json_t *vocabulary_json(const hone_tokenizer *t)
{
    json_t *vocabulary = json_object();
    for (size_t id = 0; id < t->count; id++) {
        const hone__token *token = &t->tokens[id];
        if (!token->type) continue;
        /* A key cannot hold a NUL; the text is NUL-terminated. */
        if (memchr(token->text, 0, token->text_size) ||
            !set(vocabulary, token->text, json_integer((json_int_t)id)))
            return json_decref(vocabulary), NULL;
    }
    return vocabulary;
}

/* "a b", which every version of `tokenizers` reads; pairs where a part has a space of its own. */
static json_t *merges_json(const hone_tokenizer *t)
{
    bool pairs = false;
    for (size_t i = 0; i < t->merge_count && !pairs; i++)
        pairs = strchr(t->tokens[t->merges[i].id].text, ' ') != NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < t->merge_count; i++) {
        const char *left = t->tokens[t->merges[i].left].text, *right = t->tokens[t->merges[i].right].text;
        if (json_array_append_new(list, pairs ? json_pack("[ss]", left, right)
                                              : json_sprintf("%s %s", left, right)))
            return json_decref(list), NULL;
    }
    return list;
}

static json_t *model_json(const hone_tokenizer *t)
{
    json_t *model = json_pack("{s:s,s:n,s:o?,s:n,s:n,s:b,s:b,s:b}", "type", "BPE", "dropout", "unk_token",
                              t->model_unknown < 0 ? NULL : string(&t->tokens[t->model_unknown]),
                              "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", t->fuse_unknown,
                              "byte_fallback", 0, "ignore_merges", t->ignore_merges);
    if (model && set(model, "vocab", vocabulary_json(t)) && set(model, "merges", merges_json(t)))
        return model;
    json_decref(model);
    return NULL;
}

/* What stands before and behind a text, and behind the second one of a pair; null when nothing does. */
static json_t *post_processor_json(const hone_tokenizer *t)
{
    const int32_t ids[2] = {t->add_bos ? t->special[HONE_SPECIAL_BOS] : -1,
                            t->add_eos ? t->special[HONE_SPECIAL_EOS] : -1};
    if (ids[0] < 0 && ids[1] < 0) return json_null();
    json_t *single = json_array(), *pair = json_array(), *tokens = json_object();
    bool ok = single && pair && tokens;
    for (int text = 0; ok && text < 2; text++) {
        for (int part = 0; ok && part < 3; part++) {
            json_t *entry;
            if (part == 1) {
                entry = json_pack("{s:{s:s,s:i}}", "Sequence", "id", text ? "B" : "A", "type_id", text);
            } else {
                int32_t id = ids[part / 2];
                if (id < 0) continue;
                const char *name = t->tokens[id].text;
                entry = json_pack("{s:{s:s,s:i}}", "SpecialToken", "id", name, "type_id", text);
                ok = set(tokens, name,
                         json_pack("{s:s,s:[i],s:[s]}", "id", name, "ids", (int)id, "tokens", name));
            }
            ok = ok && (text || json_array_append(single, entry) == 0) && json_array_append(pair, entry) == 0;
            json_decref(entry);
        }
    }
    json_t *json = ok ? json_pack("{s:s,s:O,s:O,s:O}", "type", "TemplateProcessing", "single", single, "pair",
                                  pair, "special_tokens", tokens)
                      : NULL;
    json_decref(single);
    json_decref(pair);
    json_decref(tokens);
    return json;
}

static json_t *tokenizer_json(const hone_tokenizer *t)
{
    json_t *root = json_pack("{s:s,s:n,s:n}", "version", "1.0", "truncation", "padding");
    if (root && set(root, "added_tokens", added_json(t)) && set(root, "normalizer", json_null()) &&
        set(root, "pre_tokenizer", splits_json(t)) && set(root, "post_processor", post_processor_json(t)) &&
        set(root, "decoder",
            json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1,
                      "use_regex", 1)) &&
        set(root, "model", model_json(t)))
        return root;
    json_decref(root);
    return NULL;
}

/* The special tokens by their names; with everything, the settings and the chat template too. */
static json_t *config_json(const hone_tokenizer *t, bool everything)
{
    static const char *const names[] = {[HONE_SPECIAL_BOS] = "bos_token",
                                        [HONE_SPECIAL_EOS] = "eos_token",
                                        [HONE_SPECIAL_PAD] = "pad_token",
                                        [HONE_SPECIAL_UNK] = "unk_token"};
    json_t *config = json_object();
    bool ok = config;
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++)
        if (names[i] && t->special[i] >= 0)
            ok = ok && set(config, names[i], string(&t->tokens[t->special[i]]));
    if (everything) {
        /* The class that takes tokenizer.json as it is; GPT2Tokenizer would put its own pre-tokenizer in
           place. */
        ok = ok && set(config, "tokenizer_class", json_string("PreTrainedTokenizerFast")) &&
             set(config, "clean_up_tokenization_spaces", json_false()) &&
             set(config, "add_prefix_space", truth(t->add_space_prefix)) &&
             set(config, "add_bos_token", truth(t->add_bos)) &&
             set(config, "add_eos_token", truth(t->add_eos));
        if (t->chat_template) ok = ok && set(config, "chat_template", json_string(t->chat_template));
    }
    if (ok) return config;
    json_decref(config);
    return NULL;
}

typedef struct json_sink {
    hone_ctx *ctx;
    hone__buffer text;
} json_sink;

static int sink_add(const char *bytes, size_t size, void *data)
{
    json_sink *sink = data;
    return hone__buffer_add(sink->ctx, &sink->text, bytes, size) ? 0 : -1;
}

/* Takes the object. */
static hone_status write_json(hone_ctx *ctx, const hone_tokenizer *t, const char *folder, const char *name,
                              json_t *json)
{
    if (!json)
        return hone__fail(
            ctx, HONE_UNSUPPORTED,
            "%s: the tokenizer cannot be written as %s: a token or the chat template is not UTF-8 (or "
            "memory ran out)",
            t->source, name);
    json_sink sink = {.ctx = ctx};
    char *path = hone__join_path(ctx, folder, name);
    if (path && json_dump_callback(json, sink_add, &sink, JSON_INDENT(2)) == 0 &&
        hone__buffer_add(ctx, &sink.text, "\n", 1))
        hone_write_file(ctx, path, sink.text.data, sink.text.size);
    else
        hone__fail(ctx, HONE_MEMORY, "memory ran out while writing %s", name);
    json_decref(json);
    hone__buffer_free(ctx, &sink.text);
    hone__free(ctx, path);
    return ctx->status;
}

hone_status hone_tokenizer_save_json(hone_ctx *ctx, const hone_tokenizer *t, const char *folder)
{
    if (!t) return HONE_INVALID;
    if (!hone__ok(ctx) || hone__make_folder(ctx, folder) != HONE_OK) return hone_ctx_status(ctx);
    if (write_json(ctx, t, folder, "tokenizer.json", tokenizer_json(t)) != HONE_OK ||
        write_json(ctx, t, folder, "tokenizer_config.json", config_json(t, true)) != HONE_OK)
        return ctx->status;
    return write_json(ctx, t, folder, "special_tokens_map.json", config_json(t, false));
}
