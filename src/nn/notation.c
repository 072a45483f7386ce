/* Layers as people write them: "conv2d 32 3 same relu, max_pool2d 2, flatten, dense 64 relu". Made into what describe.c reads,
   so that every layer that can be saved can be written, and is checked in the same place. */
#include "nn/nn.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* One layer's words, cut at blanks. */
typedef struct words {
    hone_ctx *ctx;
    int layer;                    /* its number, from 1: for messages */
    const hone__layer_kind *kind; /* once the first word is read */
    json_t *options;
    const char *at, *end;
    char text[64]; /* the word just taken */
} words;

typedef enum taken { NOTHING, WORD, TOO_LONG } taken;

static taken take(words *w)
{
    while (w->at < w->end && isspace((unsigned char)*w->at)) w->at++;
    size_t n = 0;
    for (; w->at < w->end && !isspace((unsigned char)*w->at); w->at++, n++)
        if (n < sizeof w->text - 1) w->text[n] = *w->at;
    w->text[HONE_MIN(n, sizeof w->text - 1)] = 0;
    return !n ? NOTHING : n < sizeof w->text ? WORD : TOO_LONG;
}

/* ---- what is known, for messages ---- */

static void append(char *text, size_t size, const char *between, const char *word)
{
    size_t n = strlen(text);
    snprintf(text + n, size - n, "%s%s", n ? between : "", word);
}

static void list_values(const hone__field *f, char *text, size_t size)
{
    int count;
    const char *const *names = hone__field_values(f->type, &count);
    for (int i = 0; i < count; i++) append(text, size, "|", names[i]);
}

static bool refuse_layer(const words *w)
{
    char known[1600] = "";
    size_t count;
    const hone__layer_kind *const *kinds = hone__layer_kinds(&count);
    for (size_t i = 0; i < count; i++) append(known, sizeof known, ", ", kinds[i]->type);
    hone__fail(w->ctx, HONE_INVALID, "layer %d: there is no layer '%s'; there are %s", w->layer, w->text, known);
    return false;
}

static bool refuse_option(const words *w, const char *text)
{
    char known[800] = "";
    for (const hone__field *f = w->kind->fields; f && f->name; f++) {
        char one[400] = "", values[360] = "";
        list_values(f, values, sizeof values);
        snprintf(one, sizeof one, values[0] && f->type == HONE__FIELD_ACTIVATION ? "%s (%s)" : "%s", f->name, values);
        append(known, sizeof known, ", ", one);
    }
    hone__fail(w->ctx, HONE_INVALID, "layer %d, %s: '%s' is none of its options%s%s", w->layer, w->kind->type, text,
               known[0] ? "; they are " : ": it has none", known);
    return false;
}

static bool refuse_value(const words *w, const hone__field *f, const char *text)
{
    static const char *const what[] = {
        [HONE__FIELD_I64] = "a whole number",      [HONE__FIELD_INT] = "a whole number",
        [HONE__FIELD_I64X3] = "one to three whole numbers as in 2x2",
        [HONE__FIELD_SHAPE] = "whole numbers as in 2x2", [HONE__FIELD_AXES] = "whole numbers as in 2x1",
        [HONE__FIELD_F64] = "a number",            [HONE__FIELD_F64_ZERO] = "a number",
        [HONE__FIELD_F64_GIVEN] = "a number",      [HONE__FIELD_BOOL] = "true or false"};
    char values[400] = "";
    list_values(f, values, sizeof values);
    hone__fail(w->ctx, HONE_INVALID, "layer %d, %s: %s is '%s', and must be %s%s", w->layer, w->kind->type, f->name, text,
               values[0] ? "one of " : what[f->type], values);
    return false;
}

/* ---- values ---- */

/* "3x3": at least one number; those that lack up to `least` are 0. */
static json_t *list_value(const char *text, size_t least)
{
    json_t *list = json_array();
    for (char *end; list; text = end + 1) {
        errno = 0;
        long long value = strtoll(text, &end, 10);
        if (end == text || errno || (*end && *end != 'x') || json_array_append_new(list, json_integer(value))) break;
        if (*end) continue;
        while (json_array_size(list) < least && !json_array_append_new(list, json_integer(0))) continue;
        return list;
    }
    json_decref(list);
    return NULL;
}

static bool is_list(hone__field_type type)
{
    return type == HONE__FIELD_SHAPE || type == HONE__FIELD_AXES || type == HONE__FIELD_I64X3;
}

static bool is_real(hone__field_type type)
{
    return type == HONE__FIELD_F64 || type == HONE__FIELD_F64_ZERO || type == HONE__FIELD_F64_GIVEN;
}

/* NULL: not such a value (or memory ran out). */
static json_t *value_of(const hone__field *f, const char *text)
{
    int count;
    const char *const *names = hone__field_values(f->type, &count);
    if (is_list(f->type)) return list_value(text, f->type == HONE__FIELD_I64X3 ? 3 : 1);
    if (f->type == HONE__FIELD_BOOL)
        return !strcmp(text, "true") ? json_true() : !strcmp(text, "false") ? json_false() : NULL;
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], text)) return json_string(text);
    if (count) return NULL;
    json_t *number = json_loads(text, JSON_DECODE_ANY, NULL); /* a point is a point whatever the program's locale is */
    if (json_is_integer(number) || (json_is_real(number) && is_real(f->type))) return number;
    json_decref(number);
    return NULL;
}

static bool set(words *w, const hone__field *f, const char *text)
{
    if (json_object_get(w->options, f->name))
        return hone__fail(w->ctx, HONE_INVALID, "layer %d, %s: %s comes twice", w->layer, w->kind->type, f->name), false;
    json_t *value = value_of(f, text);
    return (value && json_object_set_new(w->options, f->name, value) == 0) || refuse_value(w, f, text);
}

/* ---- options ---- */

/* The options that a number may fill without its name: those ahead of the first that takes none. */
static bool is_leading(const hone__field *f)
{
    return f->name && (f->type == HONE__FIELD_I64 || f->type == HONE__FIELD_INT || is_real(f->type) || f->type == HONE__FIELD_SHAPE || f->type == HONE__FIELD_AXES);
}

static const hone__field *field_for(const words *w, const char *text)
{
    const hone__field *f = w->kind->fields;
    int count;
    if (isdigit((unsigned char)text[0]) || (text[0] == '-' && text[1]) || text[0] == '.') {
        while (f && is_leading(f) && json_object_get(w->options, f->name)) f++;
        return f && is_leading(f) ? f : NULL;
    }
    for (; f && f->name; f++) {
        if (f->type == HONE__FIELD_BOOL && !strcmp(f->name, text)) return f;
        const char *const *names = hone__field_values(f->type, &count);
        for (int i = 0; i < count && !json_object_get(w->options, f->name); i++)
            if (!strcmp(names[i], text)) return f;
    }
    return NULL;
}

static bool read_option(words *w)
{
    char *equals = strchr(w->text, '=');
    if (!equals) {
        const hone__field *f = field_for(w, w->text);
        return f ? set(w, f, f->type == HONE__FIELD_BOOL ? "true" : w->text) : refuse_option(w, w->text);
    }
    *equals = 0;
    for (const hone__field *f = w->kind->fields; f && f->name; f++)
        if (!strcmp(f->name, w->text)) return set(w, f, equals + 1);
    return refuse_option(w, w->text);
}

/* ---- layers ---- */

static bool too_long(const words *w)
{
    hone__fail(w->ctx, HONE_INVALID, "layer %d: '%s...' is too long for a word", w->layer, w->text);
    return false;
}

/* A number where a layer is expected is a dense layer with relu. */
static bool read_type(words *w)
{
    taken first = take(w);
    if (first == TOO_LONG) return too_long(w);
    if (first == NOTHING)
        return hone__fail(w->ctx, HONE_INVALID, "layer %d is empty: a layer is its name and its options, as in 'dense 64 relu'", w->layer),
               false;
    bool number = isdigit((unsigned char)w->text[0]);
    if (!(w->kind = hone__find_layer_kind(number ? "dense" : w->text))) return refuse_layer(w);
    if (!number) return true;
    return read_option(w) && json_object_set_new(w->options, "activation", json_string("relu")) == 0;
}

static hone_layer *read_layer(hone_ctx *ctx, int number, const char *text, size_t size)
{
    words w = {.ctx = ctx, .layer = number, .options = json_object(), .at = text, .end = text + size};
    bool ok = w.options ? read_type(&w) : false;
    for (taken next; ok && (next = take(&w)) != NOTHING;) ok = next == TOO_LONG ? too_long(&w) : read_option(&w);
    json_t *json = ok ? json_pack("{s:s, s:O}", "type", w.kind->type, "options", w.options) : NULL;
    hone_layer *layer = json ? hone__layer_from_json(ctx, json) : NULL;
    if (!layer && hone__ok(ctx)) hone__fail(ctx, HONE_MEMORY, "memory ran out");
    json_decref(json);
    json_decref(w.options);
    return layer;
}

hone_layer *hone_sequential_from_text(hone_ctx *ctx, const char *text)
{
    if (!hone__ok(ctx)) return NULL;
    hone_layer *all = hone_sequential_n(ctx, 0, NULL);
    if (!text) text = "";
    for (int number = 1; all; number++) {
        size_t size = strcspn(text, ",");
        if (!hone_layer_add(all, NULL, read_layer(ctx, number, text, size))) {
            hone_layer_free(all);
            return NULL;
        }
        if (!text[size]) break;
        text += size + 1;
    }
    return all;
}
