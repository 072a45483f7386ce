/* CSV to a table of numbers, in two passes over the bytes: the first counts rows and learns what kind of target there is,
   the second fills tensors of the right size. */
#include "data/csv.h"
#include "base/os.h"

#include <math.h>

typedef hone__field field;

typedef enum target_kind { TARGET_NONE, TARGET_CLASSES, TARGET_REAL, TARGET_TEXT } target_kind;

typedef struct table {
    hone_table public; /* first: the handle is a pointer to it */
    hone_ctx *ctx;
    hone__arena arena; /* names */
} table;

typedef struct loading {
    hone__csv r;
    hone_csv_opts o;
    size_t target;
    target_kind kind;
    table *t;
    float *x;         /* [rows, features]: where the second pass puts the values */
    int32_t *classes; /* [rows] of y, */
    float *real;      /* or this one */
    char **texts;     /* [rows] a text target, until its classes are numbered */
} loading;

static bool find_target(loading *l)
{
    hone__csv *r = &l->r;
    l->target = r->n_columns - 1;
    if (l->o.no_target) {
        l->target = SIZE_MAX;
        return true;
    }
    if (r->n_columns < 2)
        return hone__fail(r->ctx, HONE_FORMAT,
                          "%s line 1: has one column only, \"%.60s\"; a target and at least one feature are "
                          "needed, or another delimiter than '%c'",
                          r->path, r->columns[0], l->o.delimiter),
               false;
    if (!l->o.target) return true;
    size_t found = 0;
    for (size_t i = 0; i < r->n_columns; i++)
        if (!strcmp(r->columns[i], l->o.target)) l->target = i, found++;
    if (found == 1) return true;
    if (found)
        return hone__fail(r->ctx, HONE_FORMAT, "%s: %zu columns are named '%s'", r->path, found, l->o.target),
               false;
    hone__fail(r->ctx, HONE_NOT_FOUND,
               "%s: there is no column '%.60s'; the first of %zu is '%.60s', the last '%.60s'", r->path,
               l->o.target, r->n_columns, r->columns[0], r->columns[r->n_columns - 1]);
    return false;
}

/* Narrows the kind of target by one more value. */
static bool look(void *user, size_t row, size_t column, field f)
{
    loading *l = user;
    double value;
    (void)row;
    if (column != l->target) return true;
    if (hone__is_blank(f)) return hone__csv_wrong(&l->r, column, f, "is empty, and the target must not be");
    if (l->kind == TARGET_TEXT) return true;
    if (!hone__csv_number(&l->r, f, &value))
        l->kind = TARGET_TEXT;
    else if (!(value >= 0 && value <= INT32_MAX && value == floor(value)))
        l->kind = TARGET_REAL;
    return true;
}

static bool fill(void *user, size_t row, size_t column, field f)
{
    loading *l = user;
    double value;
    if (column == l->target && l->kind == TARGET_TEXT)
        return (l->texts[row] = hone__csv_text(&l->t->arena, f)) != NULL;
    if (!hone__csv_number(&l->r, f, &value)) return hone__csv_wrong(&l->r, column, f, "is not a number");
    float single = (float)value;
    if (isinf(single) && !isinf(value)) return hone__csv_wrong(&l->r, column, f, "is too large for a 32-bit float");
    if (column != l->target) {
        l->x[row * l->t->public.n_features + column - (column > l->target)] = single;
    } else if (l->kind == TARGET_CLASSES) {
        l->classes[row] = (int32_t)value;
    } else if (!isfinite(value)) {
        return hone__csv_wrong(&l->r, column, f, "is not finite, and the target must be");
    } else {
        l->real[row] = single;
    }
    return true;
}

static bool fill_table(loading *l)
{
    hone__csv *r = &l->r;
    hone_ctx *ctx = r->ctx;
    hone_table *t = &l->t->public;
    bool targeted = l->target != SIZE_MAX, text = l->kind == TARGET_TEXT;
    int64_t rows = (int64_t)r->rows;
    t->n_features = r->n_columns - targeted;
    t->features = hone__arena_alloc(&l->t->arena, t->n_features * sizeof *t->features);
    if (!t->features) return false;
    for (size_t i = 0, k = 0; i < r->n_columns; i++)
        if (i != l->target) t->features[k++] = r->columns[i];
    if (!(t->x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(rows, (int64_t)t->n_features)))) return false;
    l->x = hone_tensor_data(t->x);
    if (targeted) {
        if (!(t->y = hone_tensor_new(ctx, l->kind == TARGET_REAL ? HONE_F32 : HONE_I32, HONE_SHAPE(rows))))
            return false;
        if (l->kind == TARGET_REAL)
            l->real = hone_tensor_data(t->y);
        else
            l->classes = hone_tensor_data(t->y);
        if (text && !(l->texts = hone__calloc(ctx, r->rows, sizeof *l->texts))) return false;
    }
    return hone__csv_walk(r, fill, l) && (!text || hone__number_texts(ctx, &l->t->arena, l->texts, r->rows, l->classes,
                                                                      &t->classes, &t->n_classes));
}

hone_table *hone__csv_read(hone_ctx *ctx, const char *path, const char *data, size_t size, const hone_csv_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    loading l = {0};
    if (opts) memcpy(&l.o, opts, HONE_MIN(opts->struct_size, sizeof l.o));
    if (!l.o.delimiter) l.o.delimiter = ',';
    if (!(l.t = hone__calloc(ctx, 1, sizeof *l.t))) return NULL;
    l.t->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&l.t->arena, ctx);
    l.kind = l.o.no_target ? TARGET_NONE : TARGET_CLASSES;
    bool ok = hone__csv_open(&l.r, ctx, path, data, size, l.o.delimiter, l.o.no_header, &l.t->arena) &&
              find_target(&l) && hone__csv_walk(&l.r, look, &l) && fill_table(&l);
    hone__csv_close(&l.r);
    hone__free(ctx, l.texts);
    if (ok) return &l.t->public;
    hone_table_free(&l.t->public);
    return NULL;
}

hone_table *hone_csv_load_opt(hone_ctx *ctx, const char *path, const hone_csv_opts *opts)
{
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    hone_table *t = hone__csv_read(ctx, path, (const char *)map.data, map.size, opts);
    hone__map_close(&map);
    return t;
}

void hone_table_free(hone_table *public)
{
    if (!public) return;
    table *t = (table *)public;
    hone_ctx *ctx = t->ctx;
    hone_tensor_free(public->x);
    hone_tensor_free(public->y);
    hone__arena_free(&t->arena);
    hone__free(ctx, t);
    hone_ctx_release(ctx);
}
