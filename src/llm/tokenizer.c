/* A tokenizer's vocabulary: making it, looking into it, decoding. */
#include "llm/tokenizer.h"

#include <stdlib.h>

/* ---- UTF-8 and the byte alphabet ---- */

int hone__utf8_put(uint32_t code, char out[4])
{
    int length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (int i = length - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(lead[length] | code);
    return length;
}

/* Unicode 15, PropList.txt, White_Space. */
bool hone__is_space(uint32_t c)
{
    return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

/* The alphabet of GPT-2 (Radford et al. 2019, encoder.py, bytes_to_unicode): 188 bytes are printable Latin-1
   and stand for themselves; the others, 0..32, 127..160 and 173, are numbered from 256 on. */
uint32_t hone__byte_to_code(uint8_t byte)
{
    if (byte <= 32) return 256u + byte;
    if (byte >= 127 && byte <= 160) return 256u + 33 + (byte - 127u);
    return byte == 173 ? 256u + 67 : byte;
}

int hone__code_to_byte(uint32_t code)
{
    if (code < 256) return hone__byte_to_code((uint8_t)code) == code ? (int)code : -1;
    uint32_t n = code - 256;
    return n < 33 ? (int)n : n < 67 ? (int)(127 + n - 33) : n == 67 ? 173 : -1;
}

/* ---- hash tables ---- */

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93u;
    x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93u;
    return x ^ (x >> 32);
}

static size_t table_size(size_t count) /* a power of two, at most half full */
{
    size_t size = 16;
    while (size < 2 * count) size *= 2;
    return size;
}

/* The slot that holds the text, or the empty one where it would go. */
static size_t token_slot(const hone_tokenizer *t, const char *text, size_t size)
{
    for (size_t i = hone__hash(text, size, t->hash_key);; i++) {
        uint32_t slot = t->token_slots[i & t->token_mask];
        if (!slot) return i & t->token_mask;
        const hone__token *token = &t->tokens[slot - 1];
        if (token->text_size == size && !memcmp(token->text, text, size)) return i & t->token_mask;
    }
}

static size_t merge_slot(const hone_tokenizer *t, uint64_t pair)
{
    size_t i = mix(pair ^ t->hash_key);
    while (t->merge_slots[i & t->merge_mask].pair != pair &&
           t->merge_slots[i & t->merge_mask].pair != UINT64_MAX)
        i++;
    return i & t->merge_mask;
}

static uint64_t merge_pair(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

uint32_t hone__tokenizer_rank(const hone_tokenizer *t, int32_t left, int32_t right)
{
    const hone__merge_slot *slot = &t->merge_slots[merge_slot(t, merge_pair(left, right))];
    return slot->pair == UINT64_MAX ? UINT32_MAX : slot->rank;
}

/* ---- making one ---- */

hone_tokenizer *hone__tokenizer_new(hone_ctx *ctx, const char *source, uint64_t count)
{
    if (!hone__ok(ctx)) return NULL;
    if (!count || count > HONE__MAX_TOKENS) {
        hone__fail(ctx, HONE_FORMAT, "%s: a vocabulary of %llu tokens; 1 to %d are possible", source,
                   (unsigned long long)count, HONE__MAX_TOKENS);
        return NULL;
    }
    hone_tokenizer *t = hone__calloc(ctx, 1, sizeof *t);
    if (!t) return NULL;
    t->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&t->arena, ctx);
    t->count = (size_t)count;
    size_t slots = table_size(t->count);
    t->token_mask = slots - 1;
    t->model_unknown = -1;
    for (int i = 0; i < 256; i++) t->byte_id[i] = -1;
    for (int i = 0; i < HONE_SPECIAL_COUNT; i++) t->special[i] = -1;
    t->source = hone__tokenizer_keep(t, source, strlen(source));
    t->tokens = hone__calloc(ctx, t->count, sizeof *t->tokens);
    t->token_slots = hone__calloc(ctx, slots, sizeof *t->token_slots);
    t->pcre = hone__pcre_new(ctx);
    t->hash_key = mix((uint64_t)(uintptr_t)t->token_slots);
    if (!t->source || !t->tokens || !t->token_slots || !t->pcre) {
        hone_tokenizer_free(t);
        return NULL;
    }
    return t;
}

void hone_tokenizer_free(hone_tokenizer *t)
{
    if (!t) return;
    hone_ctx *ctx = t->ctx;
    for (int i = 0; i < t->split_count; i++) pcre2_code_free(t->splits[i].code);
    pcre2_general_context_free(t->pcre);
    hone__free(ctx, t->tokens);
    hone__free(ctx, t->token_slots);
    hone__free(ctx, t->merges);
    hone__free(ctx, t->merge_slots);
    hone__free(ctx, t->specials);
    hone__arena_free(&t->arena);
    hone__free(ctx, t);
    hone_ctx_release(ctx);
}

const char *hone__tokenizer_keep(hone_tokenizer *t, const char *text, size_t size)
{
    char *copy = hone__arena_alloc(&t->arena, size + 1);
    if (copy && size) memcpy(copy, text, size);
    return copy;
}

#define SHOWN(size) ((int)HONE_MIN((size), (size_t)80)) /* how much of a text a message quotes */

hone_status hone__tokenizer_set(hone_tokenizer *t, int64_t id, const char *text, size_t size,
                                hone_token_type type)
{
    hone_ctx *ctx = t->ctx;
    if (id < 0 || (uint64_t)id >= t->count)
        return hone__fail(ctx, HONE_FORMAT, "%s: token \"%.*s\" has id %lld; ids go from 0 to %zu", t->source,
                          SHOWN(size), text, (long long)id, t->count - 1);
    if (size > HONE__MAX_TOKEN_BYTES)
        return hone__fail(ctx, HONE_FORMAT, "%s: token %lld is %zu bytes long", t->source, (long long)id,
                          size);
    hone__token *token = &t->tokens[id];
    if (token->type)
        return hone__fail(ctx, HONE_FORMAT, "%s: id %lld is given to both \"%.*s\" and \"%.*s\"", t->source,
                          (long long)id, SHOWN((size_t)token->text_size), token->text, SHOWN(size), text);
    size_t slot = token_slot(t, text, size);
    if (t->token_slots[slot])
        return hone__fail(ctx, HONE_FORMAT, "%s: tokens %u and %lld are both \"%.*s\"", t->source,
                          t->token_slots[slot] - 1, (long long)id, SHOWN(size), text);
    *token =
        (hone__token){.text = hone__tokenizer_keep(t, text, size), .text_size = (uint32_t)size, .type = type};
    if (!token->text) return ctx->status;
    t->token_slots[slot] = (uint32_t)id + 1;
    t->used++;
    return HONE_OK;
}

static bool is_special(const hone__token *token)
{
    return token->type == HONE_TOKEN_CONTROL || token->type == HONE_TOKEN_UNKNOWN ||
           token->type == HONE_TOKEN_USER_DEFINED;
}

/* What a token decodes to. One character outside of the byte alphabet makes the whole token plain text, as in
   `tokenizers`. */
static bool decode_token(hone_tokenizer *t, hone__token *token)
{
    token->bytes = token->text;
    token->byte_count = token->text_size;
    if (is_special(token)) return true;
    size_t in = 0, out = 0;
    bool differs = false;
    while (in < token->text_size) {
        uint32_t code;
        int length = hone__utf8_next(token->text + in, token->text_size - in, &code);
        if (!length || hone__code_to_byte(code) < 0) return true;
        differs = differs || length > 1;
        in += (size_t)length;
        out++;
    }
    if (!differs) return true;
    char *bytes = hone__arena_alloc(&t->arena, out);
    if (!bytes) return false;
    token->bytes = bytes;
    token->byte_count = (uint32_t)out;
    for (in = out = 0; in < token->text_size; out++) {
        uint32_t code = 0;
        in += (size_t)hone__utf8_next(token->text + in, token->text_size - in, &code);
        bytes[out] = (char)hone__code_to_byte(code);
    }
    return true;
}

typedef struct special_name {
    const char *text;
    uint32_t size;
    int32_t id;
} special_name;

static int compare_specials(const void *a, const void *b)
{
    const special_name *x = a, *y = b;
    int order = memcmp(x->text, y->text, HONE_MIN(x->size, y->size));
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

static hone_status sort_specials(hone_tokenizer *t)
{
    hone_ctx *ctx = t->ctx;
    size_t n = 0;
    for (size_t id = 0; id < t->count; id++) n += is_special(&t->tokens[id]) && t->tokens[id].text_size;
    special_name *names = hone__calloc(ctx, n, sizeof *names);
    t->specials = hone__calloc(ctx, n, sizeof *t->specials);
    if (!names || !t->specials) return hone__free(ctx, names), ctx->status;
    n = 0;
    for (size_t id = 0; id < t->count; id++) {
        const hone__token *token = &t->tokens[id];
        if (!is_special(token) || !token->text_size) continue;
        if (token->text_size > HONE__MAX_SPECIAL_BYTES) {
            hone__free(ctx, names);
            return hone__fail(ctx, HONE_UNSUPPORTED,
                              "%s: special token %zu is %u bytes long, at most %d are supported", t->source,
                              id, token->text_size, HONE__MAX_SPECIAL_BYTES);
        }
        names[n++] = (special_name){token->text, token->text_size, (int32_t)id};
    }
    if (n) qsort(names, n, sizeof *names, compare_specials);
    for (size_t i = 0; i < n; i++) {
        t->specials[i] = names[i].id;
        t->special_first[(unsigned char)names[i].text[0] + 1]++;
    }
    for (int b = 0; b < 256; b++) t->special_first[b + 1] += t->special_first[b];
    t->special_count = n;
    hone__free(ctx, names);
    return HONE_OK;
}

hone_status hone__tokenizer_finish_tokens(hone_tokenizer *t)
{
    for (size_t id = 0; id < t->count; id++)
        if (t->tokens[id].type && !decode_token(t, &t->tokens[id])) return t->ctx->status;
    for (int b = 0; b < 256; b++) {
        char text[4];
        int size = hone__utf8_put(hone__byte_to_code((uint8_t)b), text);
        t->byte_id[b] = hone_tokenizer_find(t, text, (size_t)size);
    }
    return sort_specials(t);
}

hone_status hone__tokenizer_reserve_merges(hone_tokenizer *t, uint64_t count)
{
    hone_ctx *ctx = t->ctx;
    if (count > HONE__MAX_TOKENS)
        return hone__fail(ctx, HONE_FORMAT, "%s: %llu merges; at most %d are possible", t->source,
                          (unsigned long long)count, HONE__MAX_TOKENS);
    size_t slots = table_size((size_t)count);
    t->merge_mask = slots - 1;
    t->merges = hone__calloc(ctx, (size_t)count, sizeof *t->merges);
    t->merge_slots = hone__calloc(ctx, slots, sizeof *t->merge_slots);
    if (!t->merges || !t->merge_slots) return ctx->status;
    for (size_t i = 0; i < slots; i++) t->merge_slots[i].pair = UINT64_MAX;
    return HONE_OK;
}

hone_status hone__tokenizer_add_merge(hone_tokenizer *t, const char *left, size_t left_size,
                                      const char *right, size_t right_size)
{
    hone_ctx *ctx = t->ctx;
    size_t rank = t->merge_count, size = left_size + right_size;
    char whole[512], *text = size <= sizeof whole ? whole : NULL;
    if (size > HONE__MAX_TOKEN_BYTES)
        return hone__fail(ctx, HONE_FORMAT, "%s: merge %zu is %zu bytes long", t->source, rank, size);
    if (!text && !(text = hone__alloc(ctx, size))) return ctx->status;
    memcpy(text, left, left_size);
    memcpy(text + left_size, right, right_size);
    hone__merge merge = {hone_tokenizer_find(t, left, left_size), hone_tokenizer_find(t, right, right_size),
                         hone_tokenizer_find(t, text, size)};
    if (text != whole) hone__free(ctx, text);
    if (merge.left < 0 || merge.right < 0 || merge.id < 0)
        return hone__fail(ctx, HONE_FORMAT,
                          "%s: merge %zu (\"%.*s\" + \"%.*s\"): %s is not in the vocabulary", t->source, rank,
                          SHOWN(left_size), left, SHOWN(right_size), right,
                          merge.left < 0    ? "the left part"
                          : merge.right < 0 ? "the right part"
                                            : "the result");
    hone__merge_slot *slot = &t->merge_slots[merge_slot(t, merge_pair(merge.left, merge.right))];
    if (slot->pair != UINT64_MAX)
        return hone__fail(ctx, HONE_FORMAT, "%s: merge %zu (\"%.*s\" + \"%.*s\") is merge %u again",
                          t->source, rank, SHOWN(left_size), left, SHOWN(right_size), right, slot->rank);
    *slot = (hone__merge_slot){merge_pair(merge.left, merge.right), (uint32_t)rank};
    t->merges[t->merge_count++] = merge;
    return HONE_OK;
}

hone_status hone__tokenizer_set_special(hone_tokenizer *t, hone_special which, int64_t id, const char *key)
{
    if (id < 0 || (uint64_t)id >= t->count || !t->tokens[id].type)
        return hone__fail(t->ctx, HONE_FORMAT, "%s: %s is %lld, which is no token (there are %zu)", t->source,
                          key, (long long)id, t->count);
    t->special[which] = (int32_t)id;
    return HONE_OK;
}

void hone__tokenizer_find_end_of_turn(hone_tokenizer *t)
{
    static const char *const names[] = {"<|im_end|>",           "<|eot_id|>",    "<|end|>",
                                        "<end_of_turn>",        "<|endofturn|>", "<|EOT|>",
                                        "<|END_OF_TURN_TOKEN|>"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(names) && t->special[HONE_SPECIAL_EOT] < 0; i++) {
        int32_t id = hone_tokenizer_find(t, names[i], strlen(names[i]));
        if (id >= 0 && is_special(&t->tokens[id])) t->special[HONE_SPECIAL_EOT] = id;
    }
    if (t->special[HONE_SPECIAL_EOT] < 0) t->special[HONE_SPECIAL_EOT] = t->special[HONE_SPECIAL_EOS];
}

/* ---- looking into it ---- */

static const hone__token *token_at(const hone_tokenizer *t, int32_t id)
{
    return t && id >= 0 && (size_t)id < t->count && t->tokens[id].type ? &t->tokens[id] : NULL;
}

int64_t hone_tokenizer_size(const hone_tokenizer *t) { return t ? (int64_t)t->count : 0; }

int32_t hone_tokenizer_special(const hone_tokenizer *t, hone_special which)
{
    return t && (unsigned)which < HONE_SPECIAL_COUNT ? t->special[which] : -1;
}

bool hone_tokenizer_is_end(const hone_tokenizer *t, int32_t id)
{
    return t && id >= 0 && (id == t->special[HONE_SPECIAL_EOS] || id == t->special[HONE_SPECIAL_EOT]);
}

const char *hone_tokenizer_text(const hone_tokenizer *t, int32_t id, size_t *length)
{
    const hone__token *token = token_at(t, id);
    if (length) *length = token ? token->text_size : 0;
    return token ? token->text : NULL;
}

hone_token_type hone_tokenizer_type(const hone_tokenizer *t, int32_t id)
{
    const hone__token *token = token_at(t, id);
    return token ? (hone_token_type)token->type : HONE_TOKEN_NONE;
}

int32_t hone_tokenizer_find(const hone_tokenizer *t, const char *text, size_t length)
{
    if (!t || !text) return -1;
    return (int32_t)t->token_slots[token_slot(t, text, length)] - 1;
}

const char *hone_tokenizer_chat_template(const hone_tokenizer *t) { return t ? t->chat_template : NULL; }

/* ---- decoding ---- */

void hone_text_free(hone_ctx *ctx, hone_text *text)
{
    if (!text) return;
    hone__free(ctx, text->data);
    *text = (hone_text){0};
}

bool hone__text_add(hone_ctx *ctx, hone_text *text, const void *data, size_t size)
{
    hone__buffer buffer = {text->data, text->size, text->capacity};
    bool ok = hone__buffer_add(ctx, &buffer, data, size);
    *text = (hone_text){buffer.data, buffer.size, buffer.capacity};
    return ok;
}

/* The bytes of an id; false, with an error, when it is out of range. */
static bool id_bytes(hone_ctx *ctx, const hone_tokenizer *t, int32_t id, unsigned flags, const char **bytes,
                     size_t *size)
{
    if (id < 0 || (size_t)id >= t->count)
        return hone__fail_run(ctx, HONE_INVALID, "decode: id %d is out of range, the vocabulary has %zu", id,
                              t->count),
               false;
    const hone__token *token = &t->tokens[id];
    bool skip = !token->type || ((flags & HONE_DECODE_SKIP_SPECIAL) &&
                                 (token->type == HONE_TOKEN_CONTROL || token->type == HONE_TOKEN_UNKNOWN));
    *bytes = token->bytes;
    *size = skip ? 0 : token->byte_count;
    return true;
}

hone_status hone_tokenizer_decode(hone_ctx *ctx, const hone_tokenizer *t, const int32_t *ids, size_t count,
                                  unsigned flags, hone_text *text)
{
    if (!t || !text) return HONE_INVALID;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    size_t before = text->size, size;
    const char *bytes;
    for (size_t i = 0; i < count; i++) {
        if (!id_bytes(ctx, t, ids[i], flags, &bytes, &size)) {
            text->size = before;
            if (text->data) text->data[before] = 0;
            return HONE_INVALID;
        }
        if (!hone__text_add(ctx, text, bytes, size)) return ctx->status;
    }
    return HONE_OK;
}

/* Could these bytes be the beginning of a character? */
static bool may_become_character(const unsigned char *s, int count)
{
    int length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || count >= length) return false;
    for (int i = 1; i < count; i++)
        if ((s[i] & 0xC0) != 0x80) return false;
    if (count < 2) return true;
    /* Overlong forms, surrogates and codes beyond U+10FFFF show in the second byte (Unicode, table 3-7). */
    return !((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
             (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F));
}

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

static bool stream_byte(hone_ctx *ctx, hone_decode_stream *stream, unsigned char byte, hone_text *text)
{
    uint32_t code;
    stream->pending[stream->count++] = byte;
    if (hone__utf8_next((const char *)stream->pending, (size_t)stream->count, &code)) {
        int count = stream->count;
        stream->count = 0;
        return hone__text_add(ctx, text, stream->pending, (size_t)count);
    }
    if (may_become_character(stream->pending, stream->count)) return true;
    /* What came before this byte is a broken character; the byte itself may begin a new one. */
    bool alone = stream->count == 1;
    stream->count = 0;
    return hone__text_add(ctx, text, replacement, 3) && (alone || stream_byte(ctx, stream, byte, text));
}

hone_status hone_decode_stream_add(hone_ctx *ctx, const hone_tokenizer *t, int32_t id, unsigned flags,
                                   hone_decode_stream *stream, hone_text *text)
{
    if (!t) return HONE_INVALID;
    const char *bytes;
    size_t size;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    if (!id_bytes(ctx, t, id, flags, &bytes, &size)) return HONE_INVALID;
    for (size_t i = 0; i < size; i++)
        if (!stream_byte(ctx, stream, (unsigned char)bytes[i], text)) return ctx->status;
    return HONE_OK;
}

hone_status hone_decode_stream_end(hone_ctx *ctx, hone_decode_stream *stream, hone_text *text)
{
    if (!stream || !text) return HONE_INVALID;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    bool ok = !stream->count || hone__text_add(ctx, text, replacement, 3);
    stream->count = 0;
    return ok ? HONE_OK : ctx->status;
}
