/* The fields of a CSV file (RFC 4180): quotes, line ends, numbers; names of columns; rows of equal length. Nothing grows
   with what the file claims. */
#include "data/csv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_COLUMNS = 1 << 20,
    MAX_NUMBER = 512 /* bytes of a number as text */
};

typedef hone__csv reader;
typedef hone__field field;

/* ---- fields ---- */

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

static field trim(field f)
{
    while (f.size && (*f.data == ' ' || *f.data == '\t')) f.data++, f.size--;
    while (f.size && (f.data[f.size - 1] == ' ' || f.data[f.size - 1] == '\t')) f.size--;
    return f;
}

/* Most fields: digits, and maybe a point in them, of which a double holds every one: then the quotient of two exact numbers is what
   strtod gives (Clinger 1990). false: look closer. */
static bool short_decimal(field f, double *value)
{
    static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool negative = f.size && *f.data == '-';
    size_t i = negative, point = f.size;
    int64_t digits = 0;
    if (f.size - i < 1 || f.size - i > 15) return false;
    for (; i < f.size; i++) {
        if (f.data[i] >= '0' && f.data[i] <= '9')
            digits = 10 * digits + (f.data[i] - '0');
        else if (f.data[i] == '.' && point == f.size && f.size - negative > 1)
            point = i;
        else
            return false;
    }
    size_t behind = point < f.size ? f.size - point - 1 : 0;
    *value = (double)digits / tens[behind];
    if (negative) *value = -*value;
    return true;
}

bool hone__csv_number(const reader *r, field f, double *value)
{
    char text[MAX_NUMBER];
    f = trim(f);
    *value = NAN;
    if (short_decimal(f, value)) return true;
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
    *value = strtod_l(text, NULL, r->c);
    return true;
}

bool hone__is_number(const char *text)
{
    char trimmed[MAX_NUMBER];
    field f = trim((field){text, strlen(text), false});
    if (!f.size || f.size >= sizeof trimmed) return false;
    memcpy(trimmed, f.data, f.size);
    trimmed[f.size] = 0;
    return is_decimal(trimmed) || is_word(trimmed, "nan") || is_word(trimmed, "inf") || is_word(trimmed, "infinity");
}

bool hone__is_blank(field f)
{
    size_t blanks = 0;
    while (blanks < f.size && (f.data[blanks] == ' ' || f.data[blanks] == '\t')) blanks++;
    return blanks == f.size;
}

char *hone__csv_text(hone__arena *arena, field f)
{
    char *text = hone__arena_alloc(arena, f.size + 1); /* zeroed */
    if (text && f.size) memcpy(text, f.data, f.size);
    return text;
}

/* ---- the file ---- */

static bool read_header(reader *r, bool no_header, hone__arena *names)
{
    size_t capacity = 0, numeric = 0;
    char number[32];
    skip_mark(r);
    if (!next_line(r)) return hone__fail(r->ctx, HONE_FORMAT, "%s: the file is empty", r->path), false;
    r->first_row = r->at, r->first_line = r->line;
    do {
        field f;
        double value;
        if (r->n_columns == MAX_COLUMNS)
            return hone__fail(r->ctx, HONE_FORMAT, "%s line %zu: more than %d columns", r->path, r->line,
                              MAX_COLUMNS),
                   false;
        if (!read_field(r, r->n_columns, &f)) return false;
        if (!hone__grow(r->ctx, (void **)&r->columns, &capacity, r->n_columns + 1, sizeof *r->columns)) return false;
        if (no_header) {
            snprintf(number, sizeof number, "%zu", r->n_columns);
            f = (field){number, strlen(number), false};
        } else {
            numeric += f.size && hone__csv_number(r, f, &value);
        }
        char *name = hone__csv_text(names, f);
        if (!name) return false;
        r->columns[r->n_columns++] = name;
    } while (!r->line_ended);
    if (numeric == r->n_columns)
        hone__log(r->ctx, HONE_LOG_WARNING,
                  "%s: the first line is taken for names, but looks like data (no_header)", r->path);
    if (!no_header) r->first_row = r->at, r->first_line = r->line;
    return true;
}

bool hone__csv_open(reader *r, hone_ctx *ctx, const char *path, const char *data, size_t size, char delimiter,
                    bool no_header, hone__arena *names)
{
    *r = (reader){.ctx = ctx, .path = path, .at = data, .end = data + size, .delimiter = delimiter, .line = 1};
    if (!size) return hone__fail(ctx, HONE_FORMAT, "%s: the file is empty", path), false;
    if (delimiter == '"' || delimiter == '\n' || delimiter == '\r')
        return hone__fail(ctx, HONE_INVALID, "%s: a quote or a line break cannot be the delimiter", path), false;
    r->c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (!r->c) return hone__fail(ctx, HONE_MEMORY, "memory ran out for a locale"), false;
    return read_header(r, no_header, names);
}

void hone__csv_close(reader *r)
{
    if (r->c) freelocale(r->c);
    hone__buffer_free(r->ctx, &r->quoted);
    hone__free(r->ctx, r->columns);
}

bool hone__csv_walk(reader *r, hone__csv_take take, void *user)
{
    r->at = r->first_row, r->line = r->first_line;
    size_t row = 0;
    for (; next_line(r); row++) {
        size_t column = 0, line = r->line;
        do {
            field f;
            if (!read_field(r, column, &f)) return false;
            if (column < r->n_columns && !take(user, row, column, f)) return false;
            column++;
        } while (!r->line_ended);
        if (column != r->n_columns) {
            hone__fail(r->ctx, HONE_FORMAT, "%s line %zu, column %zu: has %zu field%s, the first line has %zu", r->path,
                       line, HONE_MIN(column, r->n_columns) + 1, column, column == 1 ? "" : "s", r->n_columns);
            return false;
        }
    }
    r->rows = row;
    if (!row) hone__fail(r->ctx, HONE_FORMAT, "%s: has names but no rows", r->path);
    return row > 0;
}

/* ---- categories ---- */

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

bool hone__number_texts(hone_ctx *ctx, hone__arena *arena, char *const *texts, size_t n, int32_t *codes,
                        char ***categories, size_t *n_categories)
{
    *categories = NULL;
    *n_categories = 0;
    char **sorted = hone__calloc(ctx, n, sizeof *sorted);
    if (!sorted) return false;
    size_t there = 0, different = 0;
    for (size_t i = 0; i < n; i++)
        if (texts[i]) sorted[there++] = texts[i];
    qsort(sorted, there, sizeof *sorted, by_text);
    for (size_t i = 0; i < there; i++)
        if (!different || strcmp(sorted[different - 1], sorted[i]) != 0) sorted[different++] = sorted[i];
    bool ok = different <= INT32_MAX;
    if (!ok) hone__fail(ctx, HONE_UNSUPPORTED, "a column has more than %d different texts", INT32_MAX);
    if (ok && different && (ok = (*categories = hone__arena_alloc(arena, different * sizeof *sorted)) != NULL)) {
        memcpy(*categories, sorted, different * sizeof *sorted);
        *n_categories = different;
    }
    for (size_t i = 0; ok && i < n; i++) {
        char **found = texts[i] ? bsearch(&texts[i], *categories, different, sizeof *sorted, by_text) : NULL;
        codes[i] = found ? (int32_t)(found - *categories) : -1;
    }
    hone__free(ctx, sorted);
    return ok;
}
