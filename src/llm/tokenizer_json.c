/* Hugging Face's tokenizer.json (github.com/huggingface/tokenizers), tokenizer_config.json and
   special_tokens_map.json. */
#include "llm/tokenizer.h"
#include "base/os.h"

#include <jansson.h>

enum { MAX_FILE = 256 << 20 }; /* bytes */

static hone_status wrong(hone_tokenizer *t, hone_status status, const char *what)
{
    return hone__fail(t->ctx, status, "%s: %s", t->source, what);
}

static bool flag(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static const char *text_of(const json_t *object, const char *key) /* NULL: absent or no string */
{
    return json_string_value(json_object_get(object, key));
}

static json_t *parse(hone_ctx *ctx, const char *source, const char *text, size_t size)
{
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        hone__fail(ctx, HONE_FORMAT, "%s: line %d, column %d: %s", source, error.line, error.column,
                   error.text);
    else if (!json_is_object(root)) {
        hone__fail(ctx, HONE_FORMAT, "%s: not a JSON object", source);
        json_decref(root);
        root = NULL;
    }
    return root;
}

/* ---- reading: the vocabulary ---- */

/* The largest id + 1; 0 when there is something wrong with an id. Holes are legal, a vocabulary of holes is
   not. */
static uint64_t count_ids(const json_t *vocabulary, const json_t *added)
{
    json_int_t last = -1;
    size_t i, entries = json_object_size(vocabulary) + json_array_size(added);
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)vocabulary, text, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0) return 0;
        last = HONE_MAX(last, json_integer_value(value));
    }
    json_array_foreach(added, i, value)
    {
        const json_t *id = json_object_get(value, "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0) return 0;
        last = HONE_MAX(last, json_integer_value(id));
    }
    return (uint64_t)last >= 2 * (uint64_t)entries + 1024 ? 0 : (uint64_t)last + 1;
}

static hone_status read_added(hone_tokenizer *t, const json_t *added)
{
    hone_ctx *ctx = t->ctx;
    size_t i;
    json_t *entry;
    json_array_foreach(added, i, entry)
    {
        const json_t *content = json_object_get(entry, "content");
        json_int_t id = json_integer_value(json_object_get(entry, "id"));
        if (!json_is_string(content)) return wrong(t, HONE_FORMAT, "an entry of added_tokens has no content");
        if (flag(entry, "single_word", false))
            return hone__fail(ctx, HONE_UNSUPPORTED,
                              "%s: added token \"%.80s\" is single_word, which is not supported", t->source,
                              json_string_value(content));
        const char *text = json_string_value(content);
        size_t size = json_string_length(content);
        int32_t known = hone_tokenizer_find(t, text, size);
        if (known < 0) {
            if (hone__tokenizer_set(t, id, text, size, HONE_TOKEN_USER_DEFINED) != HONE_OK)
                return ctx->status;
        } else if (known != id) {
            return hone__fail(ctx, HONE_FORMAT,
                              "%s: \"%.80s\" is token %d in the vocabulary and %lld in added_tokens",
                              t->source, text, known, (long long)id);
        }
        hone__token *token = &t->tokens[id];
        token->type = flag(entry, "special", false) ? HONE_TOKEN_CONTROL : HONE_TOKEN_USER_DEFINED;
        token->left_strip = flag(entry, "lstrip", false);
        token->right_strip = flag(entry, "rstrip", false);
    }
    return HONE_OK;
}

static hone_status read_merges(hone_tokenizer *t, const json_t *merges)
{
    hone_ctx *ctx = t->ctx;
    size_t i;
    json_t *entry;
    if (!json_is_array(merges)) return wrong(t, HONE_FORMAT, "model.merges is missing");
    if (hone__tokenizer_reserve_merges(t, json_array_size(merges)) != HONE_OK) return ctx->status;
    json_array_foreach(merges, i, entry)
    {
        const char *left = json_string_value(entry), *right = NULL;
        size_t left_size = 0, right_size = 0;
        if (left) {
            const char *space = strchr(left, ' ');
            right = space ? space + 1 : NULL;
            left_size = space ? (size_t)(space - left) : 0;
            right_size = right ? json_string_length(entry) - left_size - 1 : 0;
        } else if (json_array_size(entry) == 2) {
            left = json_string_value(json_array_get(entry, 0));
            right = json_string_value(json_array_get(entry, 1));
            left_size = json_string_length(json_array_get(entry, 0));
            right_size = json_string_length(json_array_get(entry, 1));
        }
        if (!left || !right || !left_size || !right_size)
            return hone__fail(ctx, HONE_FORMAT, "%s: model.merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]",
                              t->source, i);
        if (hone__tokenizer_add_merge(t, left, left_size, right, right_size) != HONE_OK) return ctx->status;
    }
    return HONE_OK;
}

static hone_status read_model(hone_tokenizer *t, const json_t *model, const json_t *added)
{
    hone_ctx *ctx = t->ctx;
    const char *text, *unknown = text_of(model, "unk_token");
    json_t *value;
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(affixes); i++)
        if (text_of(model, affixes[i]) && text_of(model, affixes[i])[0])
            return hone__fail(ctx, HONE_UNSUPPORTED, "%s: model.%s is not supported", t->source, affixes[i]);
    if (flag(model, "byte_fallback", false))
        return wrong(t, HONE_UNSUPPORTED,
                     "model.byte_fallback (SentencePiece) is not supported, byte-level BPE is");
    json_object_foreach(json_object_get(model, "vocab"), text, value)
    {
        if (hone__tokenizer_set(t, json_integer_value(value), text, strlen(text), HONE_TOKEN_NORMAL) !=
            HONE_OK)
            return ctx->status;
    }
    if (read_added(t, added) != HONE_OK || hone__tokenizer_finish_tokens(t) != HONE_OK ||
        read_merges(t, json_object_get(model, "merges")) != HONE_OK)
        return ctx->status;
    t->ignore_merges = flag(model, "ignore_merges", false);
    t->fuse_unknown = flag(model, "fuse_unk", false);
    if (unknown) {
        t->model_unknown = hone_tokenizer_find(t, unknown, strlen(unknown));
        if (t->model_unknown < 0) return wrong(t, HONE_FORMAT, "model.unk_token is not in the vocabulary");
        t->special[HONE_SPECIAL_UNK] = t->model_unknown;
    }
    return HONE_OK;
}

/* ---- reading: pre-tokenizers ---- */

static hone_status read_split(hone_tokenizer *t, const json_t *json)
{
    const char *type = text_of(json, "type"), *behavior = text_of(json, "behavior");
    if (type && !strcmp(type, "Digits"))
        return hone__tokenizer_add_split(
            t,
            (hone__split){.kind = HONE__SPLIT_DIGITS, .individual = flag(json, "individual_digits", false)});
    if (type && !strcmp(type, "ByteLevel")) {
        t->add_space_prefix = flag(json, "add_prefix_space", true);
        return hone__tokenizer_add_split(t, (hone__split){.kind = HONE__SPLIT_BYTES,
                                                          .use_regex = flag(json, "use_regex", true),
                                                          .prefix_space = t->add_space_prefix});
    }
    if (!type || strcmp(type, "Split") != 0)
        return hone__fail(
            t->ctx, HONE_UNSUPPORTED,
            "%s: pre-tokenizer \"%.80s\" is not supported; Sequence, Split, Digits, ByteLevel are", t->source,
            type ? type : "?");
    const json_t *pattern = json_object_get(json, "pattern");
    const char *regex = text_of(pattern, "Regex"), *literal = text_of(pattern, "String");
    bool invert = flag(json, "invert", false), removed = behavior && !strcmp(behavior, "Removed");
    if (!regex && !literal) return wrong(t, HONE_FORMAT, "a Split pre-tokenizer has no pattern");
    if (!removed && (!behavior || strcmp(behavior, "Isolated") != 0))
        return hone__fail(t->ctx, HONE_UNSUPPORTED,
                          "%s: Split with behavior \"%.80s\" is not supported; Isolated and Removed are",
                          t->source, behavior ? behavior : "?");
    return hone__tokenizer_add_split(t, (hone__split){.kind = HONE__SPLIT_PATTERN,
                                                      .literal = !regex,
                                                      .drop_matches = removed && !invert,
                                                      .drop_gaps = removed && invert,
                                                      .pattern = regex ? regex : literal});
}

/* A pre-tokenizer, or one level of a Sequence of them. */
static hone_status read_splits(hone_tokenizer *t, const json_t *json)
{
    const char *type = text_of(json, "type");
    bool sequence = type && !strcmp(type, "Sequence"), bytes = false;
    size_t count = sequence ? json_array_size(json_object_get(json, "pretokenizers")) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *step = sequence ? json_array_get(json_object_get(json, "pretokenizers"), i) : json;
        if (read_split(t, step) != HONE_OK) return t->ctx->status;
    }
    for (int i = 0; i < t->split_count; i++) bytes = bytes || t->splits[i].kind == HONE__SPLIT_BYTES;
    return bytes ? HONE_OK
                 : wrong(t, HONE_UNSUPPORTED,
                         "there is no ByteLevel pre-tokenizer; only byte-level BPE is supported");
}

static hone_status read_normalizer(hone_tokenizer *t, const json_t *json)
{
    const char *type = text_of(json, "type");
    if (!json || json_is_null(json)) return HONE_OK;
    if (type && !strcmp(type, "NFC")) {
        hone__log(t->ctx, HONE_LOG_WARNING,
                  "%s: the NFC normalizer is not applied; bring text into NFC beforehand", t->source);
        return HONE_OK;
    }
    return hone__fail(t->ctx, HONE_UNSUPPORTED, "%s: normalizer \"%.80s\" is not supported", t->source,
                      type ? type : "?");
}

/* ---- reading: special tokens and settings ---- */

/* "<s>" or {"content": "<s>", ...}. */
static const char *token_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_object(value) ? text_of(value, "content") : json_string_value(value);
}

static const struct {
    hone_special which;
    const char *key;
} special_keys[] = {{HONE_SPECIAL_BOS, "bos_token"},
                    {HONE_SPECIAL_EOS, "eos_token"},
                    {HONE_SPECIAL_PAD, "pad_token"},
                    {HONE_SPECIAL_UNK, "unk_token"}};

static void read_specials(hone_tokenizer *t, const json_t *config)
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(special_keys); i++) {
        const char *text = token_text(config, special_keys[i].key);
        int32_t id = text ? hone_tokenizer_find(t, text, strlen(text)) : -1;
        if (id >= 0) t->special[special_keys[i].which] = id;
        if (text && id < 0) /* common for padding that the model was never trained with */
            hone__log(t->ctx, HONE_LOG_WARNING, "%s: %s \"%.80s\" is not in the vocabulary and is ignored",
                      t->source, special_keys[i].key, text);
    }
}

/* A TemplateProcessing step says what stands before and behind a text; true when there is one. */
static bool read_post_processor(hone_tokenizer *t, const json_t *json)
{
    const char *type = text_of(json, "type");
    size_t i;
    json_t *entry;
    if (type && !strcmp(type, "Sequence")) {
        json_array_foreach(json_object_get(json, "processors"), i, entry)
        {
            const char *inner = text_of(entry, "type");
            if (inner && strcmp(inner, "Sequence") != 0 && read_post_processor(t, entry)) return true;
        }
        return false;
    }
    if (!type || strcmp(type, "TemplateProcessing") != 0) return false;
    bool behind = false;
    t->add_bos = t->add_eos = false;
    json_array_foreach(json_object_get(json, "single"), i, entry)
    {
        const char *id = text_of(json_object_get(entry, "SpecialToken"), "id");
        behind = behind || json_object_get(entry, "Sequence");
        int32_t found = id ? hone_tokenizer_find(t, id, strlen(id)) : -1;
        if (found < 0) continue;
        t->special[behind ? HONE_SPECIAL_EOS : HONE_SPECIAL_BOS] = found;
        *(behind ? &t->add_eos : &t->add_bos) = true;
    }
    return true;
}

/* The template: a string, or a list of {name, template} of which "default" counts. */
static const char *find_template(const json_t *config)
{
    const json_t *value = json_object_get(config, "chat_template");
    size_t i;
    json_t *entry;
    json_array_foreach(value, i, entry)
    {
        const char *name = text_of(entry, "name");
        if (name && !strcmp(name, "default")) return text_of(entry, "template");
    }
    return json_string_value(value);
}

static hone_status read_settings(hone_tokenizer *t, const json_t *root, const json_t *config,
                                 const json_t *map, const char *template)
{
    read_specials(t, map);
    read_specials(t, config);
    if (!read_post_processor(t, json_object_get(root, "post_processor"))) {
        t->add_bos = flag(config, "add_bos_token", false);
        t->add_eos = flag(config, "add_eos_token", false);
    }
    hone__tokenizer_find_end_of_turn(t);
    if (!template) template = find_template(config);
    if (template) t->chat_template = hone__tokenizer_keep(t, template, strlen(template));
    return t->ctx->status;
}

static hone_tokenizer *from_objects(hone_ctx *ctx, const char *source, const json_t *root,
                                    const json_t *config, const json_t *map, const char *template)
{
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    const char *type = text_of(model, "type");
    /* Files of older versions do not say the type. */
    if ((type && strcmp(type, "BPE") != 0) || !json_is_object(json_object_get(model, "vocab"))) {
        hone__fail(ctx, HONE_UNSUPPORTED, "%s: the model \"%.80s\" is not supported, byte-level BPE is",
                   source, type ? type : "?");
        return NULL;
    }
    uint64_t count = count_ids(json_object_get(model, "vocab"), added);
    if (!count) {
        hone__fail(ctx, HONE_FORMAT, "%s: the ids of model.vocab and added_tokens are not numbers from 0 on",
                   source);
        return NULL;
    }
    hone_tokenizer *t = hone__tokenizer_new(ctx, source, count);
    if (t && read_normalizer(t, json_object_get(root, "normalizer")) == HONE_OK &&
        read_model(t, model, added) == HONE_OK &&
        read_splits(t, json_object_get(root, "pre_tokenizer")) == HONE_OK &&
        read_settings(t, root, config, map, template) == HONE_OK) {
        hone__tokenizer_name_splits(t);
        return t;
    }
    hone_tokenizer_free(t);
    return NULL;
}

hone_tokenizer *hone__tokenizer_from_json_text(hone_ctx *ctx, const char *source, const char *json,
                                               size_t size, const char *config, const char *map,
                                               const char *template)
{
    if (!hone__ok(ctx)) return NULL;
    hone_tokenizer *t = NULL;
    json_t *root = parse(ctx, source, json, size);
    json_t *config_root = config ? parse(ctx, "tokenizer_config.json", config, strlen(config)) : NULL;
    json_t *map_root = map ? parse(ctx, "special_tokens_map.json", map, strlen(map)) : NULL;
    if (hone__ok(ctx)) t = from_objects(ctx, source, root, config_root, map_root, template);
    json_decref(root);
    json_decref(config_root);
    json_decref(map_root);
    return t;
}

/* The text of a file in the folder; NULL when it is absent (not an error). */
static char *optional_file(hone_ctx *ctx, const char *folder, const char *name)
{
    char *path = hone__join_path(ctx, folder, name);
    char *text = path && hone__is_file(path) ? hone__read_file(ctx, path, MAX_FILE, NULL) : NULL;
    hone__free(ctx, path);
    return text;
}

hone_tokenizer *hone_tokenizer_from_json(hone_ctx *ctx, const char *folder)
{
    if (!hone__ok(ctx)) return NULL;
    hone_tokenizer *t = NULL;
    size_t size = 0;
    char *path = hone__join_path(ctx, folder, "tokenizer.json");
    char *json = path ? hone__read_file(ctx, path, MAX_FILE, &size) : NULL;
    char *config = json ? optional_file(ctx, folder, "tokenizer_config.json") : NULL;
    char *map = json ? optional_file(ctx, folder, "special_tokens_map.json") : NULL;
    char *template = json ? optional_file(ctx, folder, "chat_template.jinja") : NULL;
    if (hone__ok(ctx)) t = hone__tokenizer_from_json_text(ctx, path, json, size, config, map, template);
    hone__free(ctx, path);
    hone__free(ctx, json);
    hone__free(ctx, config);
    hone__free(ctx, map);
    hone__free(ctx, template);
    return t;
}
