/* CSV (RFC 4180) to a table of numbers, in two passes over the bytes: the first counts rows and learns what
   kind of target there is, the second fills tensors of the right size. Nothing grows with what the file
   claims. */
#include "data/data.h"
#include "base/os.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_COLUMNS = 1 << 20,
    MAX_NUMBER = 512 /* bytes of a number as text */
};

/* ---- fields ---- */

typedef struct reader {
    hone_ctx *ctx;
    const char *path;
    const char *at, *end;
    char delimiter;
    size_t line;         /* of `at`, from 1 */
    size_t field_line;   /* where the field just read begins */
    hone__buffer quoted; /* the text of a field with "" in it */
    bool line_ended;     /* the field just read was the last of its line */
} reader;

typedef struct field {
    const char *data;
    size_t size;
    bool quoted;
} field;

static void skip_mark(reader *r)
{
    if (r->end - r->at >= 3 && !memcmp(r->at, "\xEF\xBB\xBF", 3)) r->at += 3;
}

/* Moves beyond "\n" or "\r\n"; false when neither is here. */
static bool skip_line_end(reader *r)
{
    if (r->at < r->end && *r->at == '\n')
        r->at++;
    else if (r->end - r->at >= 2 && r->at[0] == '\r' && r->at[1] == '\n')
        r->at += 2;
    else
        return false;
    r->line++;
    return true;
}

/* Is there another line? Those with nothing on them are skipped. */
static bool next_line(reader *r)
{
    while (skip_line_end(r)) {
    }
    return r->at < r->end;
}

static bool refuse(reader *r, size_t column, const char *what)
{
    hone__fail(r->ctx, HONE_FORMAT, "%s line %zu, column %zu: %s", r->path, r->field_line, column + 1, what);
    return false;
}

/* The inside of a quoted field, r->at behind its first quote. Copied only when quotes in it are doubled. */
static bool read_quoted(reader *r, size_t column, field *f)
{
    const char *begin = r->at;
    bool copied = false;
    r->quoted.size = 0;
    for (;;) {
        const char *quote = memchr(r->at, '"', (size_t)(r->end - r->at));
        if (!quote) return refuse(r, column, "a quote is opened and never closed");
        for (const char *c = r->at; c < quote; c++) r->line += *c == '\n';
        r->at = quote + 1;
        bool doubled = r->at < r->end && *r->at == '"';
        if (doubled || copied) { /* what stands before, and of "" the first */
            if (!hone__buffer_add(r->ctx, &r->quoted, begin, (size_t)(quote - begin) + doubled)) return false;
            copied = true;
        }
        if (!doubled) {
            *f = copied ? (field){r->quoted.data, r->quoted.size, true}
                        : (field){begin, (size_t)(quote - begin), true};
            return true;
        }
        begin = ++r->at;
    }
}

/* Reads field number `column` of the line; its bytes live until the next call. */
static bool read_field(reader *r, size_t column, field *f)
{
    r->field_line = r->line;
    if (r->at < r->end && *r->at == '"') {
        r->at++;
        if (!read_quoted(r, column, f)) return false;
    } else {
        const char *begin = r->at;
        while (r->at < r->end && *r->at != r->delimiter && *r->at != '\n') r->at++;
        bool carriage = r->at > begin && r->at[-1] == '\r' && (r->at == r->end || *r->at == '\n');
        if (carriage) r->at--;
        *f = (field){begin, (size_t)(r->at - begin), false};
        if (carriage && r->at + 1 == r->end) r->at++; /* CR at the very end */
    }
    if (f->size && memchr(f->data, 0, f->size))
        return refuse(r, column, "a NUL byte: this is no text in UTF-8 or the like; convert the file first");
    if (r->at < r->end && *r->at == r->delimiter) {
        r->at++;
        r->line_ended = false;
        return true;
    }
    r->line_ended = true;
    if (r->at == r->end || skip_line_end(r)) return true;
    return refuse(r, column, "text behind a closing quote; quotes within a quoted field are doubled");
}

/* ---- numbers ---- */

/* Digits, a point, an exponent: what strtod takes beyond that (hexadecimal, a locale's comma) is no number
   here. */
static bool is_decimal(const char *s)
{
    s += *s == '+' || *s == '-';
    size_t whole = strspn(s, "0123456789"), part = 0;
    s += whole;
    if (*s == '.') part = strspn(++s, "0123456789"), s += part;
    if (!whole && !part) return false;
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '+' || s[1] == '-');
        size_t exponent = strspn(s, "0123456789");
        if (!exponent) return false;
        s += exponent;
    }
    return !*s;
}

static bool is_word(const char *s, const char *word) /* without regard to case, ASCII, behind a sign */
{
    s += *s == '+' || *s == '-';
    for (; *word; s++, word++)
        if ((*s | 0x20) != *word) return false;
    return !*s;
}

/* NaN for an empty field. `c` is the C locale: a point is a point whatever the program has set. */
static bool to_number(locale_t c, field f, double *value)
{
    char text[MAX_NUMBER];
    while (f.size && (*f.data == ' ' || *f.data == '\t')) f.data++, f.size--;
    while (f.size && (f.data[f.size - 1] == ' ' || f.data[f.size - 1] == '\t')) f.size--;
    *value = NAN;
    if (!f.size) return true;
    if (f.size >= sizeof text) return false;
    memcpy(text, f.data, f.size);
    text[f.size] = 0;
    if (is_word(text, "nan")) return true;
    if (is_word(text, "inf") || is_word(text, "infinity")) {
        *value = *text == '-' ? -INFINITY : INFINITY;
        return true;
    }
    if (!is_decimal(text)) return false;
    *value = strtod_l(text, NULL, c);
    return true;
}

/* ---- the table ---- */

typedef enum target_kind { TARGET_NONE, TARGET_CLASSES, TARGET_REAL, TARGET_TEXT } target_kind;

typedef struct table {
    hone_table public; /* first: the handle is a pointer to it */
    hone_ctx *ctx;
    hone__arena arena; /* names */
} table;

typedef struct loading {
    reader r;
    locale_t c;
    hone_csv_opts o;
    char **columns; /* [n_columns] names */
    size_t n_columns, target;
    size_t rows;
    target_kind kind;
    const char *first_row; /* where the data begin, and their line */
    size_t first_line;
    table *t;
} loading;

/* At most so many bytes of a field are shown in a message. */
#define SHOWN(size) ((int)HONE_MIN((size), (size_t)60))

static bool wrong_field(loading *l, size_t column, field f, const char *what)
{
    const char *name = l->columns[column];
    hone__fail(l->r.ctx, HONE_FORMAT, "%s line %zu, column %zu (%.60s): \"%.*s\"%s %s", l->r.path,
               l->r.field_line, column + 1, name, SHOWN(f.size), f.data, f.size > 60 ? "..." : "", what);
    return false;
}

/* The names of the columns, and where the data begin. */
static bool read_header(loading *l)
{
    reader *r = &l->r;
    hone__arena *arena = &l->t->arena;
    size_t capacity = 0, numeric = 0;
    char number[32];
    skip_mark(r);
    if (!next_line(r)) return hone__fail(r->ctx, HONE_FORMAT, "%s: the file is empty", r->path), false;
    l->first_row = r->at, l->first_line = r->line;
    do {
        field f;
        double value;
        if (l->n_columns == MAX_COLUMNS)
            return hone__fail(r->ctx, HONE_FORMAT, "%s line %zu: more than %d columns", r->path, r->line,
                              MAX_COLUMNS),
                   false;
        if (!read_field(r, l->n_columns, &f)) return false;
        if (!hone__grow(r->ctx, (void **)&l->columns, &capacity, l->n_columns + 1, sizeof *l->columns))
            return false;
        if (l->o.no_header) {
            snprintf(number, sizeof number, "%zu", l->n_columns);
            f = (field){number, strlen(number), false};
        } else {
            numeric += f.size && to_number(l->c, f, &value);
        }
        char *name = hone__arena_alloc(arena, f.size + 1);
        if (!name) return false;
        if (f.size) memcpy(name, f.data, f.size);
        l->columns[l->n_columns++] = name;
    } while (!r->line_ended);
    if (numeric == l->n_columns)
        hone__log(r->ctx, HONE_LOG_WARNING,
                  "%s: the first line is taken for names, but looks like data (no_header)", r->path);
    if (!l->o.no_header) l->first_row = r->at, l->first_line = r->line;
    return true;
}

static bool find_target(loading *l)
{
    reader *r = &l->r;
    l->target = l->n_columns - 1;
    if (l->o.no_target) {
        l->target = SIZE_MAX;
        return true;
    }
    if (l->n_columns < 2)
        return hone__fail(r->ctx, HONE_FORMAT,
                          "%s line 1: has one column only, \"%.60s\"; a target and at least one feature are "
                          "needed, or another delimiter than '%c'",
                          r->path, l->columns[0], l->o.delimiter),
               false;
    if (!l->o.target) return true;
    size_t found = 0;
    for (size_t i = 0; i < l->n_columns; i++)
        if (!strcmp(l->columns[i], l->o.target)) l->target = i, found++;
    if (found == 1) return true;
    if (found)
        return hone__fail(r->ctx, HONE_FORMAT, "%s: %zu columns are named '%s'", r->path, found, l->o.target),
               false;
    hone__fail(r->ctx, HONE_NOT_FOUND,
               "%s: there is no column '%.60s'; the first of %zu is '%.60s', the last '%.60s'", r->path,
               l->o.target, l->n_columns, l->columns[0], l->columns[l->n_columns - 1]);
    return false;
}

/* Narrows the kind of target by one more value. */
static bool look_at_target(loading *l, field f)
{
    double value;
    size_t blanks = 0;
    while (blanks < f.size && (f.data[blanks] == ' ' || f.data[blanks] == '\t')) blanks++;
    if (blanks == f.size) return wrong_field(l, l->target, f, "is empty, and the target must not be");
    if (l->kind == TARGET_TEXT) return true;
    if (!to_number(l->c, f, &value))
        l->kind = TARGET_TEXT;
    else if (!(value >= 0 && value <= INT32_MAX && value == floor(value)))
        l->kind = TARGET_REAL;
    return true;
}

/* Goes over all rows, counts them and checks that all have the same fields, each of which `take` gets. */
static bool walk(loading *l, bool (*take)(loading *l, size_t row, size_t column, field f))
{
    reader *r = &l->r;
    r->at = l->first_row, r->line = l->first_line;
    size_t row = 0;
    for (; next_line(r); row++) {
        size_t column = 0, line = r->line;
        do {
            field f;
            if (!read_field(r, column, &f)) return false;
            if (column < l->n_columns && !take(l, row, column, f)) return false;
            column++;
        } while (!r->line_ended);
        if (column != l->n_columns) {
            hone__fail(r->ctx, HONE_FORMAT,
                       "%s line %zu, column %zu: has %zu field%s, the first line has %zu", r->path, line,
                       HONE_MIN(column, l->n_columns) + 1, column, column == 1 ? "" : "s", l->n_columns);
            return false;
        }
    }
    l->rows = row;
    return true;
}

static bool look(loading *l, size_t row, size_t column, field f)
{
    (void)row;
    return column != l->target || look_at_target(l, f);
}

/* Where the second pass puts the values. */
typedef struct filling {
    loading l;        /* first: walk hands it on */
    float *x;         /* [rows, features] */
    int32_t *classes; /* [rows] of y, */
    float *real;      /* or this one */
    char **texts;     /* [rows] a text target, until its classes are numbered */
} filling;

static bool fill(loading *l, size_t row, size_t column, field f)
{
    filling *to = (filling *)l;
    double value;
    if (column == l->target && l->kind == TARGET_TEXT) {
        char *text = hone__arena_alloc(&l->t->arena, f.size + 1);
        if (!text) return false;
        memcpy(text, f.data, f.size);
        to->texts[row] = text;
        return true;
    }
    if (!to_number(l->c, f, &value)) return wrong_field(l, column, f, "is not a number");
    float single = (float)value;
    if (isinf(single) && !isinf(value)) return wrong_field(l, column, f, "is too large for a 32-bit float");
    if (column != l->target) {
        size_t features = l->n_columns - (l->target != SIZE_MAX);
        to->x[row * features + column - (column > l->target)] = single;
    } else if (l->kind == TARGET_CLASSES) {
        to->classes[row] = (int32_t)value;
    } else if (!isfinite(value)) {
        return wrong_field(l, column, f, "is not finite, and the target must be");
    } else {
        to->real[row] = single;
    }
    return true;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Sorts the different texts into the table's classes and numbers the rows by them. */
static bool number_classes(filling *to)
{
    loading *l = &to->l;
    char **sorted = hone__calloc(l->r.ctx, l->rows, sizeof *sorted);
    if (!sorted) return false;
    memcpy(sorted, to->texts, l->rows * sizeof *sorted);
    qsort(sorted, l->rows, sizeof *sorted, by_text);
    size_t n = 1;
    for (size_t i = 1; i < l->rows; i++)
        if (strcmp(sorted[n - 1], sorted[i]) != 0) sorted[n++] = sorted[i];
    hone_table *t = &l->t->public;
    t->classes = n <= INT32_MAX ? hone__arena_alloc(&l->t->arena, n * sizeof *sorted) : NULL;
    if (t->classes) {
        memcpy(t->classes, sorted, n * sizeof *sorted);
        t->n_classes = n;
        for (size_t i = 0; i < l->rows; i++) {
            char **found = bsearch(&to->texts[i], t->classes, n, sizeof *sorted, by_text);
            to->classes[i] = (int32_t)(found - t->classes);
        }
    }
    hone__free(l->r.ctx, sorted);
    return t->classes != NULL;
}

static bool fill_table(filling *to)
{
    loading *l = &to->l;
    hone_ctx *ctx = l->r.ctx;
    hone_table *t = &l->t->public;
    bool targeted = l->target != SIZE_MAX;
    int64_t rows = (int64_t)l->rows;
    t->n_features = l->n_columns - targeted;
    t->features = hone__arena_alloc(&l->t->arena, t->n_features * sizeof *t->features);
    if (!t->features) return false;
    for (size_t i = 0, k = 0; i < l->n_columns; i++)
        if (i != l->target) t->features[k++] = l->columns[i];
    if (!(t->x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(rows, (int64_t)t->n_features)))) return false;
    to->x = hone_tensor_data(t->x);
    if (targeted) {
        if (!(t->y = hone_tensor_new(ctx, l->kind == TARGET_REAL ? HONE_F32 : HONE_I32, HONE_SHAPE(rows))))
            return false;
        if (l->kind == TARGET_REAL)
            to->real = hone_tensor_data(t->y);
        else
            to->classes = hone_tensor_data(t->y);
        if (l->kind == TARGET_TEXT && !(to->texts = hone__calloc(ctx, l->rows, sizeof *to->texts)))
            return false;
    }
    return walk(l, fill) && (l->kind != TARGET_TEXT || number_classes(to));
}

static bool load(filling *to)
{
    loading *l = &to->l;
    hone_ctx *ctx = l->r.ctx;
    char d = l->o.delimiter;
    if (d == '"' || d == '\n' || d == '\r')
        return hone__fail(ctx, HONE_INVALID, "%s: a quote or a line break cannot be the delimiter",
                          l->r.path),
               false;
    if (!read_header(l) || !find_target(l)) return false;
    l->kind = l->o.no_target ? TARGET_NONE : TARGET_CLASSES;
    if (!walk(l, look)) return false;
    if (!l->rows) return hone__fail(ctx, HONE_FORMAT, "%s: has names but no rows", l->r.path), false;
    return fill_table(to);
}

hone_table *hone__csv_read(hone_ctx *ctx, const char *path, const char *data, size_t size,
                           const hone_csv_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    filling to = {.l.r = {.ctx = ctx, .path = path, .at = data, .end = data + size, .line = 1}};
    loading *l = &to.l;
    if (opts) memcpy(&l->o, opts, HONE_MIN(opts->struct_size, sizeof l->o));
    if (!l->o.delimiter) l->o.delimiter = ',';
    l->r.delimiter = l->o.delimiter;
    if (!size) return hone__fail(ctx, HONE_FORMAT, "%s: the file is empty", path), NULL;
    if (!(l->t = hone__calloc(ctx, 1, sizeof *l->t))) return NULL;
    l->t->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&l->t->arena, ctx);
    l->c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    bool ok = l->c ? load(&to) : (hone__fail(ctx, HONE_MEMORY, "memory ran out for a locale"), false);
    if (l->c) freelocale(l->c);
    hone__buffer_free(ctx, &l->r.quoted);
    hone__free(ctx, l->columns);
    hone__free(ctx, to.texts);
    if (ok) return &l->t->public;
    hone_table_free(&l->t->public);
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
