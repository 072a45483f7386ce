/* Text records for language models: JSON lines in the layouts that are in use, and plain text. A table says
   what each layout's keys are and how a record is read; the first record of a file chooses, the others must
   follow. */
#include "data/data.h"
#include "base/os.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

enum { MAX_LINE = 64 << 20 }; /* bytes: what one record may make jansson hold */

struct hone_records {
    hone_ctx *ctx;
    hone__arena arena; /* texts and messages */
    hone_record *items;
    size_t count, capacity;
};

/* Where a reader stands, for messages. */
typedef struct place {
    hone_records *records;
    const char *path;
    size_t line, byte; /* line from 1; byte of the line's begin, from 0 */
} place;

/* false always, so that a reader can return it. */
HONE_PRINTF(2, 3) static bool refuse(const place *p, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    hone__fail(p->records->ctx, HONE_FORMAT, "%s line %zu (byte %zu): %s", p->path, p->line, p->byte, what);
    return false;
}

/* ---- pieces of a record ---- */

static const char *type_name(const json_t *value)
{
    if (!value) return "missing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

/* The string at a key, copied; what: the key as a person would point at it. */
static bool read_text(const place *p, const json_t *object, const char *key, const char *what,
                      const char **text, size_t *length)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) return refuse(p, "%s is %s; it must be a string", what, type_name(value));
    *length = json_string_length(value);
    char *copy = hone__arena_alloc(&p->records->arena, *length + 1);
    if (!copy) return false;
    memcpy(copy, json_string_value(value), *length);
    *text = copy;
    return true;
}

static bool read_message_text(const place *p, const json_t *object, const char *key, hone_message *message)
{
    char what[64];
    size_t length;
    snprintf(what, sizeof what, "\"%s\"", key);
    return read_text(p, object, key, what, &message->content, &length);
}

/* ---- layouts ---- */

static hone_message *new_messages(const place *p, hone_record *r, size_t n)
{
    hone_message *messages = hone__arena_alloc(&p->records->arena, n * sizeof *messages);
    r->kind = HONE_RECORD_MESSAGES;
    r->messages = messages;
    r->n_messages = n;
    return messages;
}

/* The role as Hone says it; NULL for one that ShareGPT does not have. */
static const char *sharegpt_role(const char *from)
{
    static const struct {
        const char *from, *role;
    } names[] = {{"human", "user"},
                 {"user", "user"},
                 {"gpt", "assistant"},
                 {"assistant", "assistant"},
                 {"system", "system"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++)
        if (!strcmp(from, names[i].from)) return names[i].role;
    return NULL;
}

/* A list of {role, content}, under whatever keys. */
static bool read_turns(const place *p, const json_t *o, hone_record *r, const char *list,
                       const char *role_key, const char *content_key, bool sharegpt)
{
    const json_t *turns = json_object_get(o, list);
    size_t n = json_array_size(turns);
    if (!json_is_array(turns)) return refuse(p, "\"%s\" is %s; it must be a list", list, type_name(turns));
    if (!n) return refuse(p, "\"%s\" is empty; at least one message is needed", list);
    hone_message *messages = new_messages(p, r, n);
    if (!messages) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *turn = json_array_get(turns, i);
        char what[96];
        size_t length;
        if (!json_is_object(turn))
            return refuse(p, "%s[%zu] is %s; it must be an object", list, i, type_name(turn));
        snprintf(what, sizeof what, "\"%s\" of %s[%zu]", role_key, list, i);
        if (!read_text(p, turn, role_key, what, &messages[i].role, &length)) return false;
        const char *role = sharegpt ? sharegpt_role(messages[i].role) : messages[i].role;
        if (!role)
            return refuse(p, "%s is \"%.40s\"; human, user, gpt, assistant and system are known", what,
                          messages[i].role);
        if (!role[0]) return refuse(p, "%s is empty", what);
        messages[i].role = role;
        snprintf(what, sizeof what, "\"%s\" of %s[%zu]", content_key, list, i);
        if (!read_text(p, turn, content_key, what, &messages[i].content, &length)) return false;
    }
    return true;
}

static bool read_messages(const place *p, const json_t *o, hone_record *r)
{
    return read_turns(p, o, r, "messages", "role", "content", false);
}

static bool read_conversations(const place *p, const json_t *o, hone_record *r)
{
    return read_turns(p, o, r, "conversations", "from", "value", true);
}

static bool read_prompt(const place *p, const json_t *o, hone_record *r)
{
    hone_message *messages = new_messages(p, r, 2);
    if (!messages) return false;
    messages[0].role = "user";
    messages[1].role = "assistant";
    return read_message_text(p, o, "prompt", &messages[0]) &&
           read_message_text(p, o, "completion", &messages[1]);
}

/* Alpaca (Taori et al., 2023): the input, when there is one, follows the instruction after a blank line. */
static bool read_instruction(const place *p, const json_t *o, hone_record *r)
{
    hone_message *messages = new_messages(p, r, 2);
    if (!messages) return false;
    messages[0].role = "user";
    messages[1].role = "assistant";
    if (!read_message_text(p, o, "instruction", &messages[0]) ||
        !read_message_text(p, o, "output", &messages[1]))
        return false;
    const json_t *input = json_object_get(o, "input");
    if (!input || json_is_null(input)) return true;
    if (!json_is_string(input)) return refuse(p, "\"input\" is %s; it must be a string", type_name(input));
    size_t first = strlen(messages[0].content), second = json_string_length(input);
    if (!second) return true;
    char *both = hone__arena_alloc(&p->records->arena, first + 2 + second + 1);
    if (!both) return false;
    memcpy(both, messages[0].content, first);
    memcpy(both + first, "\n\n", 2);
    memcpy(both + first + 2, json_string_value(input), second);
    messages[0].content = both;
    return true;
}

static bool read_raw(const place *p, const json_t *o, hone_record *r)
{
    r->kind = HONE_RECORD_TEXT;
    return read_text(p, o, "text", "\"text\"", &r->text, &r->text_length);
}

/* A number as JSON writes it, with as many digits as give it back. */
static void number_text(const json_t *value, char text[40])
{
    if (json_is_integer(value)) {
        snprintf(text, 40, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    }
    for (size_t digits = 15; digits <= 17; digits++) {
        size_t size = json_dumpb(value, text, 39, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        text[HONE_MIN(size, (size_t)39)] = 0;
        json_t *again = json_loads(text, JSON_DECODE_ANY, NULL);
        bool same = again && json_number_value(again) == json_real_value(value);
        json_decref(again);
        if (same) return;
    }
}

static bool read_labelled(const place *p, const json_t *o, hone_record *r)
{
    const json_t *label = json_object_get(o, "label");
    char number[40];
    const char *text = number;
    if (json_is_string(label))
        text = json_string_value(label);
    else if (json_is_boolean(label))
        text = json_is_true(label) ? "true" : "false";
    else if (json_is_number(label))
        number_text(label, number);
    else
        return refuse(p, "\"label\" is %s; it must be a string, a number or a boolean", type_name(label));
    r->label = hone__arena_strdup(&p->records->arena, text);
    return r->label && read_raw(p, o, r);
}

/* In the order in which they are tried: a file of messages may also carry a "prompt", one with instructions a
   "text". */
typedef struct layout {
    const char *keys[2]; /* a record with all of these is of this layout */
    bool (*read)(const place *p, const json_t *object, hone_record *record);
} layout;
static const layout layouts[] = {
    {{"messages", NULL}, read_messages},     {{"conversations", NULL}, read_conversations},
    {{"prompt", "completion"}, read_prompt}, {{"instruction", "output"}, read_instruction},
    {{"text", "label"}, read_labelled},      {{"text", NULL}, read_raw},
};

static bool has_keys(const layout *l, const json_t *object)
{
    for (size_t k = 0; k < 2 && l->keys[k]; k++)
        if (!json_object_get(object, l->keys[k])) return false;
    return true;
}

static const layout *layout_of(const json_t *object)
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(layouts); i++)
        if (has_keys(&layouts[i], object)) return &layouts[i];
    return NULL;
}

/* A record whose keys say something else than the first one's is refused, not guessed at. */
static bool check_layout(const place *p, const json_t *object, const layout **chosen)
{
    const layout *l = layout_of(object);
    if (!*chosen) *chosen = l;
    if (!l && !*chosen) {
        return refuse(
            p, "the keys of a record are not known; one of messages, conversations, prompt + completion, "
               "instruction + output, text + label, text is needed");
    }
    if (l == *chosen) return true;
    const layout *first = *chosen;
    if (!has_keys(first, object)) {
        const char *absent = json_object_get(object, first->keys[0]) ? first->keys[1] : first->keys[0];
        return refuse(p, "\"%s\" is missing; the first record of the file has it, and all must be alike",
                      absent);
    }
    const char *more = first->keys[0] && !strcmp(l->keys[0], first->keys[0]) ? l->keys[1] : l->keys[0];
    return refuse(p, "has \"%s\", which the first record of the file has not; all must be alike", more);
}

/* ---- lines ---- */

const char *hone__json_error(const struct json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_null_character:
    case json_error_null_byte_in_key: return "has \\u0000 in a text, which no text can hold: remove it";
    default: return error->text;
    }
}

static hone_record *new_record(hone_records *rs)
{
    if (!hone__grow(rs->ctx, (void **)&rs->items, &rs->capacity, rs->count + 1, sizeof *rs->items))
        return NULL;
    rs->items[rs->count] = (hone_record){0};
    return &rs->items[rs->count];
}

static bool read_line(place *p, const char *line, size_t size, const layout **chosen)
{
    json_error_t error;
    if (size > MAX_LINE) return refuse(p, "is %zu bytes long; at most %d are accepted", size, MAX_LINE);
    json_t *object = json_loadb(line, size, 0, &error);
    if (!object) {
        /* A record over several lines is the usual cause of an end that comes too early. */
        bool early = json_error_code(&error) == json_error_premature_end_of_input;
        /* position: how many bytes were read; the last of them is the one, but for what is not UTF-8, which
           is not counted */
        size_t read = error.position > 0 ? HONE_MIN((size_t)error.position, size) : 0;
        p->byte += json_error_code(&error) == json_error_invalid_utf8 || !read ? read : read - 1;
        return refuse(p, "%s%s", hone__json_error(&error), early ? "; a record must be on one line" : "");
    }
    hone_record *record = NULL;
    bool ok = json_is_object(object);
    if (!ok) refuse(p, "a record is %s; it must be an object, one on each line", type_name(object));
    ok = ok && check_layout(p, object, chosen) && (record = new_record(p->records)) &&
         (*chosen)->read(p, object, record);
    p->records->count += ok;
    json_decref(object);
    return ok;
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') return false;
    return true;
}

static bool read_lines(hone_records *rs, const char *path, const char *data, size_t size)
{
    const layout *chosen = NULL;
    size_t begin = size >= 3 && !memcmp(data, "\xEF\xBB\xBF", 3) ? 3 : 0; /* a byte order mark */
    for (size_t line = 1, next; begin < size; begin = next, line++) {
        const char *end = memchr(data + begin, '\n', size - begin);
        size_t length = end ? (size_t)(end - data) - begin : size - begin;
        next = begin + length + 1;
        place p = {rs, path, line, begin};
        if (!is_blank(data + begin, length) && !read_line(&p, data + begin, length, &chosen)) return false;
    }
    return true;
}

static bool read_plain(hone_records *rs, const char *data, size_t size)
{
    hone_record *record = size ? new_record(rs) : NULL;
    char *text = record ? hone__arena_alloc(&rs->arena, size + 1) : NULL;
    if (!text) return !size;
    memcpy(text, data, size);
    *record = (hone_record){.kind = HONE_RECORD_TEXT, .text = text, .text_length = size};
    rs->count = 1;
    return true;
}

hone_records *hone__records_read(hone_ctx *ctx, const char *path, const char *data, size_t size, bool plain)
{
    if (!hone__ok(ctx)) return NULL;
    hone_records *rs = hone__calloc(ctx, 1, sizeof *rs);
    if (!rs) return NULL;
    rs->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&rs->arena, ctx);
    bool ok = plain ? read_plain(rs, data, size) : read_lines(rs, path, data, size);
    if (ok && !rs->count) {
        hone__fail(ctx, HONE_FORMAT, "%s: the file has no records", path);
        ok = false;
    }
    if (ok) return rs;
    hone_records_free(rs);
    return NULL;
}

/* ---- files ---- */

static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && !strcmp(path + n - m, end);
}

/* The file of a split, to be freed; NULL when there is none, or on a sticky error. */
static char *find_split(hone_ctx *ctx, const char *path, const char *split)
{
    if (!hone__is_folder(path))
        return !strcmp(split, "train") && hone__is_file(path) ? hone__strdup(ctx, path) : NULL;
    char *base = hone__join_path(ctx, path, split);
    char *lines = base ? hone__format(ctx, "%s.jsonl", base) : NULL;
    char *plain = lines ? hone__format(ctx, "%s.txt", base) : NULL;
    hone__free(ctx, base);
    bool has_lines = plain && hone__is_file(lines), has_plain = plain && hone__is_file(plain);
    if (has_lines && has_plain)
        hone__fail(ctx, HONE_INVALID, "%s: has both %s.jsonl and %s.txt; remove one", path, split, split);
    char *found = has_lines == has_plain ? NULL : has_lines ? lines : plain;
    if (found != lines) hone__free(ctx, lines);
    if (found != plain) hone__free(ctx, plain);
    return found;
}

static bool is_split_name(const char *split) { return split[0] && !strchr(split, '/'); }

bool hone_records_exist(hone_ctx *ctx, const char *path, const char *split)
{
    if (!split) split = "train";
    if (!hone__ok(ctx) || !is_split_name(split)) return false;
    char *file = find_split(ctx, path, split);
    bool there = file || ctx->status == HONE_INVALID; /* there twice: loading says so */
    hone__free(ctx, file);
    if (!hone__ok(ctx)) hone_clear_error(ctx);
    return there;
}

hone_records *hone_records_load(hone_ctx *ctx, const char *path, const char *split)
{
    if (!hone__ok(ctx)) return NULL;
    if (!split) split = "train";
    if (!is_split_name(split))
        return hone__fail(ctx, HONE_INVALID, "\"%s\" cannot be the name of a split", split), NULL;
    char *file = find_split(ctx, path, split);
    if (!file && !hone__ok(ctx)) return NULL;
    if (!file && hone__is_folder(path))
        return hone__fail(ctx, HONE_NOT_FOUND, "%s: has neither %s.jsonl nor %s.txt", path, split, split),
               NULL;
    if (!file && hone__is_file(path))
        return hone__fail(ctx, HONE_NOT_FOUND,
                          "%s: is one file, which has no split '%s'; a folder can have one", path, split),
               NULL;
    /* What is neither is left to open: it says why. */
    const char *name = file ? file : path;
    hone__map map = {0};
    hone_records *rs = NULL;
    bool plain = ends_in(name, ".txt");
    if (file && !plain && !ends_in(name, ".jsonl"))
        hone__fail(ctx, HONE_FORMAT, "%s: the name must end in .jsonl (one JSON object a line) or .txt",
                   name);
    else if (hone__map_open(ctx, name, &map) == HONE_OK)
        rs = hone__records_read(ctx, name, (const char *)map.data, map.size, plain);
    hone__map_close(&map);
    hone__free(ctx, file);
    return rs;
}

void hone_records_free(hone_records *rs)
{
    if (!rs) return;
    hone_ctx *ctx = rs->ctx;
    hone__arena_free(&rs->arena);
    hone__free(ctx, rs->items);
    hone__free(ctx, rs);
    hone_ctx_release(ctx);
}

size_t hone_records_count(const hone_records *rs) { return rs ? rs->count : 0; }

const hone_record *hone_records_get(const hone_records *rs, size_t i)
{
    return rs && i < rs->count ? &rs->items[i] : NULL;
}
