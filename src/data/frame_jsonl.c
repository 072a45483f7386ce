/* Frames from JSON lines: an object a row, a key a column. */
#include "data/frame.h"
#include "base/os.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

enum { MAX_LINE = 64 << 20 }; /* bytes: what one row may make jansson hold */

typedef struct lines {
    hone_ctx *ctx;
    const char *path;
    json_t *rows;     /* [objects] */
    json_t *is_text;  /* {column: boolean}, in the order in which they came */
    const hone_frame_opts *o;
} lines;

static bool refuse(const lines *l, size_t line, const char *what)
{
    hone__fail(l->ctx, HONE_FORMAT, "%s line %zu: %s", l->path, line, what);
    return false;
}

static bool is_named(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (!strcmp(*names, name)) return true;
    return false;
}

/* Takes note of the row's columns; a column with one value that is no number is text. */
static bool note_columns(lines *l, json_t *row, size_t line)
{
    const char *key;
    json_t *value;
    json_object_foreach(row, key, value)
    {
        if (json_is_object(value) || json_is_array(value)) return refuse(l, line, "a value is a list or an object; a table has texts and numbers");
        if (!key[0]) return refuse(l, line, "a key is empty");
        bool text = is_named(l->o->text, key) || !(json_is_number(value) || json_is_null(value));
        if ((text || !json_object_get(l->is_text, key)) && json_object_set_new(l->is_text, key, json_boolean(text)) != 0)
            return hone__fail(l->ctx, HONE_MEMORY, "memory ran out"), false;
    }
    return true;
}

static bool read_lines(lines *l, const char *data, size_t size)
{
    const char *at = data, *end = data + size;
    for (size_t line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at), blank = 0;
        while (blank < n && strchr(" \t\r", at[blank]) && at[blank]) blank++;
        if (n > MAX_LINE) return refuse(l, line, "is longer than 64 MiB");
        if (blank < n) {
            json_error_t error;
            json_t *row = json_loadb(at, n, JSON_REJECT_DUPLICATES, &error);
            if (!json_is_object(row)) return json_decref(row), refuse(l, line, row ? "is not an object" : hone__json_error(&error));
            bool ok = note_columns(l, row, line);
            if (json_array_append_new(l->rows, row) != 0 && ok) return hone__fail(l->ctx, HONE_MEMORY, "memory ran out"), false;
            if (!ok) return false;
        }
        at = stop ? stop + 1 : end;
    }
    return json_array_size(l->rows) || refuse(l, 1, "there are no rows");
}

static bool add_numbers(lines *l, hone_frame *frame, const char *name)
{
    double *numbers = hone__calloc(l->ctx, (size_t)frame->rows, sizeof *numbers);
    if (!numbers) return false;
    for (int64_t i = 0; i < frame->rows; i++) {
        const json_t *value = json_object_get(json_array_get(l->rows, (size_t)i), name);
        numbers[i] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    bool ok = hone_frame_add_numbers(frame, name, numbers) == HONE_OK;
    hone__free(l->ctx, numbers);
    return ok;
}

/* Numbers and booleans in a column of texts are written as JSON has them. */
static bool add_texts(lines *l, hone_frame *frame, const char *name)
{
    hone__arena kept;
    hone__arena_init(&kept, l->ctx);
    const char **texts = hone__calloc(l->ctx, (size_t)frame->rows, sizeof *texts);
    bool ok = texts != NULL;
    for (int64_t i = 0; ok && i < frame->rows; i++) {
        const json_t *value = json_object_get(json_array_get(l->rows, (size_t)i), name);
        if (json_is_string(value)) {
            texts[i] = json_string_value(value);
        } else if (value && !json_is_null(value)) {
            char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
            ok = text && (texts[i] = hone__arena_strdup(&kept, text));
            free(text);
        }
    }
    ok = ok && hone_frame_add_texts(frame, name, texts) == HONE_OK;
    hone__free(l->ctx, texts);
    hone__arena_free(&kept);
    return ok;
}

hone_frame *hone__frame_read_jsonl(hone_ctx *ctx, const char *path, const char *data, size_t size, const hone_frame_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_frame_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    lines l = {.ctx = ctx, .path = path, .rows = json_array(), .is_text = json_object(), .o = &o};
    bool ok = l.rows && l.is_text && read_lines(&l, data, size);
    for (const char *const *name = o.text; ok && name && *name; name++)
        if (!json_object_get(l.is_text, *name))
            ok = (hone__fail(ctx, HONE_NOT_FOUND, "%s: there is no column '%.60s'", path, *name), false);
    hone_frame *frame = ok ? hone_frame_new(ctx, (int64_t)json_array_size(l.rows)) : NULL;
    const char *name;
    json_t *text;
    json_object_foreach(l.is_text, name, text)
    {
        if (!frame) break;
        if (json_is_true(text) ? add_texts(&l, frame, name) : add_numbers(&l, frame, name)) continue;
        hone_frame_free(frame);
        frame = NULL;
    }
    json_decref(l.rows);
    json_decref(l.is_text);
    if (!frame && hone__ok(ctx)) hone__fail(ctx, HONE_MEMORY, "memory ran out");
    return frame;
}
