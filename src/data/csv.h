/* The fields of a CSV file (RFC 4180), one after the other, of which frame_csv.c makes columns. */
#ifndef HONE_SRC_CSV_H
#define HONE_SRC_CSV_H

#include "data/data.h"

#include <locale.h>

typedef struct hone__field {
    const char *data;
    size_t size;
    bool quoted;
} hone__field;

typedef struct hone__csv {
    hone_ctx *ctx;
    const char *path;
    const char *at, *end;
    char delimiter;
    size_t line;         /* of `at`, from 1 */
    size_t field_line;   /* where the field just read begins */
    hone__buffer quoted; /* the text of a field with "" in it */
    bool line_ended;     /* the field just read was the last of its line */
    locale_t c;          /* the C locale: a point is a point whatever the program has set */
    char **columns;      /* [n_columns] names */
    size_t n_columns;
    size_t rows;           /* after the first walk */
    const char *first_row; /* where the data begin, and their line */
    size_t first_line;
} hone__csv;

/* Reads the names of the columns; nothing of `data` is copied but them, into `names`. false: the error sticks. Close it in
   either case. */
bool hone__csv_open(hone__csv *r, hone_ctx *ctx, const char *path, const char *data, size_t size, char delimiter,
                    bool no_header, hone__arena *names);
void hone__csv_close(hone__csv *r);

/* Goes over all rows, counts them and checks that all have the same fields, each of which `take` gets; its bytes live
   until it returns. May be done any number of times. */
typedef bool (*hone__csv_take)(void *user, size_t row, size_t column, hone__field f);
bool hone__csv_walk(hone__csv *r, hone__csv_take take, void *user);

/* NaN for an empty field; false: no number. */
bool hone__csv_number(const hone__csv *r, hone__field f, double *value);
/* Would it be one? */
bool hone__is_number(const char *text);
/* The field's bytes, NUL-terminated, in the arena. */
char *hone__csv_text(hone__arena *arena, hone__field f);
bool hone__is_blank(hone__field f);

/* Numbers texts by their sorted order (bytewise): codes[i] is that of texts[i], -1 where it is NULL. *categories, the
   different ones, is an array in the arena that points to them; NULL when none is there. */
bool hone__number_texts(hone_ctx *ctx, hone__arena *arena, char *const *texts, size_t n, int32_t *codes,
                        char ***categories, size_t *n_categories);

#endif
