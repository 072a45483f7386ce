/* Words as numbers: a list, the most frequent first, and a hash table over it. */
#include "data/data.h"
#include "base/os.h"

#include <jansson.h>
#include <stdlib.h>

enum { FIRST = 2, LONGEST = 64, MAX_FILE = 256 << 20, MAX_LENGTH = 1 << 20 }; /* LONGEST: bytes of a word; longer ones are cut */

typedef struct entry {
    char *word;
    int64_t count;
} entry;

struct hone_vocabulary {
    hone_ctx *ctx;
    hone__arena arena; /* words */
    entry *entries;
    size_t n, capacity;
    uint32_t *slots; /* [n_slots] number of an entry and 1; 0: free. n_slots is a power of two */
    size_t n_slots;
    int64_t length;
};

/* ---- cutting texts into words ---- */

/* Chinese and Japanese characters, which no blanks part. */
static bool is_alone(uint32_t c)
{
    return (c >= 0x3040 && c < 0x3100) || (c >= 0x3400 && c < 0xA000) || (c >= 0xF900 && c < 0xFB00) || (c >= 0x20000 && c < 0x32000);
}

/* Beyond ASCII: blanks and punctuation, general, of Latin 1, Chinese, and the wide forms of ASCII's. */
static bool is_between(uint32_t c)
{
    return (c >= 0x80 && c < 0xC0 && c != 0xAA && c != 0xB5 && c != 0xBA) || c == 0xD7 || c == 0xF7 || (c >= 0x2000 && c < 0x2070) ||
           (c >= 0x3000 && c < 0x3040) || (c >= 0xFF00 && c < 0xFF10) || (c >= 0xFF1A && c < 0xFF21) || c == 0xFFFD;
}

static bool is_ascii_word(uint32_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* The next word from *at on, and where it ends; false at the end of the text. Bytes that are no UTF-8 part words. */
static bool next(const char **at, const char *end, char word[LONGEST + 1])
{
    size_t n = 0;
    while (*at < end) {
        uint32_t c = 0;
        int size = hone__utf8_next(*at, (size_t)(end - *at), &c);
        bool alone = size && is_alone(c), inside = size && (c < 0x80 ? is_ascii_word(c) || (c == '\'' && n) : !is_between(c) && !alone);
        if (n && !inside) break;
        if ((inside || alone) && n + (size_t)size <= LONGEST) {
            memcpy(word + n, *at, (size_t)size);
            if (c >= 'A' && c <= 'Z') word[n] = (char)(c + 32);
            n += (size_t)size;
        }
        *at += size ? size : 1;
        if (alone) break;
    }
    while (n && word[n - 1] == '\'') n--; /* a closing quote */
    word[n] = 0;
    return n > 0;
}

static int64_t count_words(const char *text)
{
    char word[LONGEST + 1];
    int64_t n = 0;
    for (const char *at = text, *end = text + strlen(text); next(&at, end, word);) n++;
    return n;
}

/* ---- the table ---- */

static uint32_t *slot_of(const hone_vocabulary *v, const char *word)
{
    size_t i = (size_t)hone__hash(word, strlen(word), 0) & (v->n_slots - 1);
    while (v->slots[i] && strcmp(v->entries[v->slots[i] - 1].word, word) != 0) i = (i + 1) & (v->n_slots - 1);
    return &v->slots[i];
}

/* Places all entries in a table that is at most half full with n of them. */
static bool place(hone_vocabulary *v, size_t n)
{
    size_t slots = 64;
    while (slots < 2 * n) slots *= 2;
    uint32_t *new = hone__calloc(v->ctx, slots, sizeof *new);
    if (!new) return false;
    hone__free(v->ctx, v->slots);
    v->slots = new;
    v->n_slots = slots;
    for (size_t i = 0; i < v->n; i++) *slot_of(v, v->entries[i].word) = (uint32_t)i + 1;
    return true;
}

/* The word's entry, a new one when it is not there. */
static entry *add(hone_vocabulary *v, const char *word)
{
    if (2 * v->n + 2 > v->n_slots && !place(v, 2 * v->n + 2)) return NULL;
    uint32_t *slot = slot_of(v, word);
    if (*slot) return &v->entries[*slot - 1];
    if (v->n >= UINT32_MAX - FIRST || !hone__grow(v->ctx, (void **)&v->entries, &v->capacity, v->n + 1, sizeof *v->entries)) return NULL;
    entry *e = &v->entries[v->n];
    *e = (entry){hone__arena_strdup(&v->arena, word), 0};
    if (!e->word) return NULL;
    *slot = (uint32_t)++v->n;
    return e;
}

static hone_vocabulary *new_vocabulary(hone_ctx *ctx)
{
    hone_vocabulary *v = hone__calloc(ctx, 1, sizeof *v);
    if (!v) return NULL;
    v->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&v->arena, ctx);
    return v;
}

void hone_vocabulary_free(hone_vocabulary *v)
{
    if (!v) return;
    hone_ctx *ctx = v->ctx;
    hone__free(ctx, v->entries);
    hone__free(ctx, v->slots);
    hone__arena_free(&v->arena);
    hone__free(ctx, v);
    hone_ctx_release(ctx);
}

int64_t hone_vocabulary_size(const hone_vocabulary *v) { return v ? (int64_t)v->n + FIRST : 0; }
int64_t hone_vocabulary_length(const hone_vocabulary *v) { return v ? v->length : 0; }
const char *hone_vocabulary_word(const hone_vocabulary *v, int64_t number)
{
    return v && number >= FIRST && number - FIRST < (int64_t)v->n ? v->entries[number - FIRST].word : NULL;
}
int32_t hone_vocabulary_find(const hone_vocabulary *v, const char *word)
{
    uint32_t slot = v && word ? *slot_of(v, word) : 0;
    return slot ? (int32_t)slot - 1 + FIRST : HONE_WORD_UNKNOWN;
}

/* ---- learning it from texts ---- */

static int by_count(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return strcmp(x->word, y->word);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* What 95 % of the texts have room in. */
static int64_t choose_length(hone_ctx *ctx, int64_t n, const char *const *texts)
{
    int64_t *lengths = hone__calloc(ctx, (size_t)HONE_MAX(n, 1), sizeof *lengths);
    if (!lengths) return 0;
    for (int64_t i = 0; i < n; i++) lengths[i] = texts[i] ? count_words(texts[i]) : 0;
    qsort(lengths, (size_t)n, sizeof *lengths, by_value);
    int64_t length = n ? lengths[(n - 1) * 95 / 100] : 0;
    hone__free(ctx, lengths);
    return HONE_MAX(HONE_MIN(length, 256), 1);
}

static bool learn(hone_vocabulary *v, int64_t n, const char *const *texts, const hone_vocabulary_opts *o)
{
    char word[LONGEST + 1];
    for (int64_t i = 0; i < n; i++) {
        if (!texts[i]) continue;
        for (const char *at = texts[i], *end = at + strlen(at); next(&at, end, word);) {
            entry *e = add(v, word);
            if (!e) return false;
            e->count++;
        }
    }
    if (v->n) qsort(v->entries, v->n, sizeof *v->entries, by_count);
    size_t kept = 0;
    while (kept < v->n && (int64_t)kept < o->max_words && v->entries[kept].count >= o->min_count) kept++;
    v->n = kept;
    if (!kept)
        return hone__fail(v->ctx, HONE_INVALID, "no word occurs %lld times or more in %lld texts: there is nothing to learn from",
                          (long long)o->min_count, (long long)n),
               false;
    v->length = o->length ? o->length : choose_length(v->ctx, n, texts);
    return v->length && place(v, kept);
}

hone_vocabulary *hone_vocabulary_new_opt(hone_ctx *ctx, int64_t n, const char *const *texts, const hone_vocabulary_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_vocabulary_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    if (!o.min_count) o.min_count = n < 1000 ? 1 : 2;
    if (!o.max_words) o.max_words = 20000;
    if (n < 1 || !texts || o.min_count < 1 || o.max_words < 1 || o.length < 0 || o.length > MAX_LENGTH)
        return hone__fail(ctx, HONE_INVALID, "a vocabulary of %lld texts, min_count %lld, max_words %lld, length %lld", (long long)n,
                          (long long)o.min_count, (long long)o.max_words, (long long)o.length),
               NULL;
    hone_vocabulary *v = new_vocabulary(ctx);
    if (v && learn(v, n, texts, &o)) return v;
    hone_vocabulary_free(v);
    return NULL;
}

/* ---- encoding ---- */

static void encode(const hone_vocabulary *v, const char *text, int32_t *to)
{
    char word[LONGEST + 1];
    int64_t n = count_words(text), skip = HONE_MAX(n - v->length, 0), i = v->length - (n - skip);
    for (int64_t k = 0; k < i; k++) to[k] = HONE_WORD_PADDING;
    for (const char *at = text, *end = at + strlen(at); next(&at, end, word);) {
        if (skip-- > 0) continue;
        to[i++] = hone_vocabulary_find(v, word);
    }
}

hone_tensor *hone_vocabulary_encode(const hone_vocabulary *v, int64_t n, const char *const *texts)
{
    if (!v || !hone__ok(v->ctx)) return NULL;
    if (n < 1 || !texts) return hone__fail_run(v->ctx, HONE_INVALID, "%lld texts to encode", (long long)n), NULL;
    hone_tensor *x = hone_tensor_new(v->ctx, HONE_I32, HONE_SHAPE(n, v->length));
    for (int64_t i = 0; x && i < n; i++) encode(v, texts[i] ? texts[i] : "", (int32_t *)x->data + i * v->length);
    return x;
}

/* ---- files: {"format": "hone-vocabulary", "version": 1, "length": 48, "words": ["the", ...]} ---- */

hone_status hone_vocabulary_save(const hone_vocabulary *v, const char *path)
{
    if (!v || !path) return HONE_INVALID;
    json_t *words = json_array();
    bool ok = words != NULL;
    for (size_t i = 0; ok && i < v->n; i++) ok = json_array_append_new(words, json_string(v->entries[i].word)) == 0;
    json_t *j = json_pack("{s:s, s:i, s:I, s:o}", "format", "hone-vocabulary", "version", 1, "length", (json_int_t)v->length, "words",
                          words);
    char *text = ok && j ? json_dumps(j, JSON_INDENT(1)) : NULL;
    json_decref(j);
    hone_status status = text ? hone_write_file(v->ctx, path, text, strlen(text))
                              : hone__fail_run(v->ctx, HONE_INVALID, "%s: a word is no text in UTF-8", path);
    free(text);
    return status;
}

static bool read_words(hone_vocabulary *v, const char *path, const json_t *j)
{
    const json_t *words = json_object_get(j, "words"), *length = json_object_get(j, "length");
    const char *format = json_string_value(json_object_get(j, "format"));
    if (!format || strcmp(format, "hone-vocabulary") != 0 || json_integer_value(json_object_get(j, "version")) != 1)
        return hone__fail(v->ctx, HONE_FORMAT, "%s: is no vocabulary of version 1", path), false;
    v->length = json_integer_value(length);
    if (!json_array_size(words) || v->length < 1 || v->length > MAX_LENGTH)
        return hone__fail(v->ctx, HONE_FORMAT, "%s: \"words\" or \"length\" is missing or wrong", path), false;
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));
        if (!word || !word[0]) return hone__fail(v->ctx, HONE_FORMAT, "%s: word %zu is not a text", path, i), false;
        if (!add(v, word)) return false;
        if (v->n != i + 1) return hone__fail(v->ctx, HONE_FORMAT, "%s: word %zu comes twice", path, i), false;
    }
    return true;
}

hone_vocabulary *hone__vocabulary_read(hone_ctx *ctx, const char *path, const char *data, size_t size)
{
    if (!hone__ok(ctx)) return NULL;
    json_error_t error;
    json_t *j = size <= MAX_FILE ? json_loadb(data, size, 0, &error) : NULL;
    if (!j) return hone__fail(ctx, HONE_FORMAT, "%s: %s", path, size <= MAX_FILE ? error.text : "is larger than 256 MiB"), NULL;
    hone_vocabulary *v = new_vocabulary(ctx);
    bool ok = v && read_words(v, path, j);
    json_decref(j);
    if (ok) return v;
    hone_vocabulary_free(v);
    return NULL;
}

hone_vocabulary *hone_vocabulary_load(hone_ctx *ctx, const char *path)
{
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    hone_vocabulary *v = hone__vocabulary_read(ctx, path, (const char *)map.data, map.size);
    hone__map_close(&map);
    return v;
}
