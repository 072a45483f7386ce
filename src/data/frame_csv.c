/* CSV to a frame, in two walks over the bytes: the first counts rows and learns the columns' types, the second fills columns. */
#include "data/csv.h"
#include "data/frame.h"
#include "base/os.h"

#include <math.h>

typedef struct loading {
    hone__csv r;
    hone_frame_opts o;
    hone_column_type *types; /* [columns] by the values so far */
    bool *any;               /* [columns] has a value */
    char ***texts;           /* [columns] of [rows], those of numbers NULL */
    hone__frame *f;
} loading;

static const char *const nothing[] = {"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "None", NULL};

static bool listed(const char *const *list, const char *text, size_t size)
{
    for (; list && *list; list++)
        if (strlen(*list) == size && !memcmp(*list, text, size)) return true;
    return false;
}

static bool is_missing(const loading *l, hone__field f)
{
    while (f.size && (*f.data == ' ' || *f.data == '\t')) f.data++, f.size--;
    while (f.size && (f.data[f.size - 1] == ' ' || f.data[f.size - 1] == '\t')) f.size--;
    return listed(l->o.missing ? l->o.missing : nothing, f.data, f.size) || listed(HONE_COLUMNS("NaN", "nan"), f.data, f.size);
}

static bool look(void *user, size_t row, size_t column, hone__field f)
{
    loading *l = user;
    double v;
    (void)row;
    if (l->types[column] == HONE_COLUMN_TEXT) return true;
    bool number = hone__csv_number(&l->r, f, &v);
    if ((l->o.missing || !number || isnan(v)) && is_missing(l, f)) return true; /* numbers are no missing values but on request */
    l->any[column] = true;
    if (!number || hone__is_blank(f))
        l->types[column] = HONE_COLUMN_TEXT;
    else if (!hone__is_whole(v))
        l->types[column] = HONE_COLUMN_REAL;
    return true;
}

static bool fill(void *user, size_t row, size_t column, hone__field f)
{
    loading *l = user;
    if (l->texts[column]) return is_missing(l, f) || (l->texts[column][row] = hone__csv_text(&l->f->arena, f)) != NULL;
    double v = NAN; /* the first walk saw numbers and missing values alone; what is no number is NaN */
    if (!l->o.missing || !is_missing(l, f)) hone__csv_number(&l->r, f, &v);
    l->f->public.columns[column].numbers[row] = v;
    return true;
}

/* Names are compared by sorting: a file may have a million of them. */
static bool names_differ(loading *l, hone__arena *arena)
{
    hone__csv *r = &l->r;
    size_t n = r->n_columns, different, twice = 0;
    char **sorted;
    int32_t *codes = hone__calloc(r->ctx, n, sizeof *codes);
    bool *seen = hone__calloc(r->ctx, n, sizeof *seen);
    bool ok = codes && seen && hone__number_texts(r->ctx, arena, r->columns, n, codes, &sorted, &different);
    if (ok && different < n) {
        while (!seen[codes[twice]]) seen[codes[twice++]] = true;
        hone__fail(r->ctx, HONE_FORMAT, "%s: two columns are named '%.60s'", r->path, r->columns[twice]);
        ok = false;
    }
    hone__free(r->ctx, codes);
    hone__free(r->ctx, seen);
    return ok;
}

static bool name_columns(loading *l)
{
    hone__csv *r = &l->r;
    for (size_t i = 0; i < r->n_columns; i++) {
        if (!l->any[i] && l->types[i] != HONE_COLUMN_TEXT) l->types[i] = HONE_COLUMN_REAL;
        if (!hone__frame_append(&l->f->public, r->columns[i], l->types[i])) return false;
        if (l->types[i] == HONE_COLUMN_TEXT && !(l->texts[i] = hone__calloc(r->ctx, r->rows, sizeof **l->texts))) return false;
    }
    return true;
}

static bool load(loading *l, hone__arena *arena)
{
    hone__csv *r = &l->r;
    l->types = hone__calloc(r->ctx, r->n_columns, sizeof *l->types);
    l->any = hone__calloc(r->ctx, r->n_columns, sizeof *l->any);
    l->texts = hone__calloc(r->ctx, r->n_columns, sizeof *l->texts);
    if (!l->types || !l->any || !l->texts) return false;
    for (const char *const *name = l->o.text; name && *name; name++) {
        size_t i = 0;
        while (i < r->n_columns && strcmp(r->columns[i], *name) != 0) i++;
        if (i == r->n_columns)
            return hone__fail(r->ctx, HONE_NOT_FOUND, "%s: there is no column '%.60s'", r->path, *name), false;
        l->types[i] = HONE_COLUMN_TEXT;
    }
    if (!names_differ(l, arena) || !hone__csv_walk(r, look, l)) return false;
    l->f->public.rows = (int64_t)r->rows;
    if (!name_columns(l) || !hone__csv_walk(r, fill, l)) return false;
    for (size_t i = 0; i < r->n_columns; i++) {
        hone_column *c = &l->f->public.columns[i];
        if (l->texts[i] && !hone__number_texts(r->ctx, &l->f->arena, l->texts[i], r->rows, c->codes, &c->categories,
                                               &c->n_categories))
            return false;
    }
    return true;
}

hone_frame *hone__frame_read(hone_ctx *ctx, const char *path, const char *data, size_t size, const hone_frame_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    loading l = {0};
    if (opts) memcpy(&l.o, opts, HONE_MIN(opts->struct_size, sizeof l.o));
    if (!l.o.delimiter) l.o.delimiter = hone__is_named(path, ".tsv") ? '\t' : ',';
    hone_frame *public = hone_frame_new(ctx, 0);
    if (!(l.f = (hone__frame *)public)) return NULL;
    hone__arena names;
    hone__arena_init(&names, ctx);
    bool ok = hone__csv_open(&l.r, ctx, path, data, size, l.o.delimiter, l.o.no_header, &names) && load(&l, &names);
    for (size_t i = 0; l.texts && i < l.r.n_columns; i++) hone__free(ctx, l.texts[i]);
    hone__csv_close(&l.r);
    hone__arena_free(&names);
    hone__free(ctx, l.types);
    hone__free(ctx, l.any);
    hone__free(ctx, l.texts);
    if (ok) return public;
    hone_frame_free(public);
    return NULL;
}

hone_frame *hone_frame_load_opt(hone_ctx *ctx, const char *path, const hone_frame_opts *opts)
{
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    bool jsonl = hone__is_named(path, ".jsonl");
    hone_frame *f = (jsonl ? hone__frame_read_jsonl : hone__frame_read)(ctx, path, (const char *)map.data, map.size, opts);
    hone__map_close(&map);
    return f;
}
