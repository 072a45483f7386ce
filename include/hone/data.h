/* Hone: tables from files, splitting, scaling; text records for language models. Read after tensor.h. */
#ifndef HONE_DATA_H
#define HONE_DATA_H

#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_csv_opts {
    size_t struct_size;
    char delimiter;     /* default ',' */
    bool no_header;     /* the first line is data already */
    const char *target; /* target column: its name, or its number from 0 without a header; default: the last */
    bool no_target;     /* every column is a feature and y is NULL: for data to predict on */
} hone_csv_opts;

/* A table of numbers with one target column. */
typedef struct hone_table {
    hone_tensor *x;     /* f32 [rows, features] */
    hone_tensor *y;     /* i32 [rows] class numbers, f32 [rows] when numeric but not whole; NULL: no_target */
    char **features;    /* names; "0", "1", ... without a header */
    size_t n_features;
    char **classes;     /* a text target: its values, sorted; class numbers index them; NULL: a numeric one */
    size_t n_classes;
} hone_table;

/* Reads a CSV file (RFC 4180: quotes, "" inside them, line breaks inside them; LF or CRLF; a byte order mark
   and lines with nothing on them are skipped). Feature fields must be numbers, with a point and blanks around
   them if need be; an empty one and "nan" in any case are NaN, "inf" and "infinity" infinite. A target whose
   values are all whole numbers >= 0 is classes as it stands; text is numbered in sorted (bytewise) order;
   other numbers are a f32 target; it must not be empty, NaN or infinite. Every line has as many fields as the
   first. NULL on error (sticky): IO; FORMAT with the file's line and column (both from 1); NOT_FOUND when
   there is no such target; INVALID for a delimiter that is a quote or a line break; MEMORY. The table is the
   caller's. */
HONE_API hone_table *hone_csv_load_opt(hone_ctx *ctx, const char *path, const hone_csv_opts *opts);
#define hone_csv_load(...)                                                                                   \
    HONE_OPTS2(hone_csv_load_opt, hone_csv_opts, __VA_ARGS__, .struct_size = sizeof(hone_csv_opts))
HONE_API void hone_table_free(hone_table *table); /* NULL is allowed */

/* Rows of x (any tensor, axis 0) by number, as a new tensor owned by the caller. NULL on error (does not
   stick, but MEMORY): INVALID when a number is outside, SHAPE for a scalar, DTYPE when a row is not made of
   whole blocks. */
HONE_API hone_tensor *hone_take(const hone_tensor *x, int64_t count, const int64_t *rows);
/* Shuffles rows [0, n) by seed and cuts them: the first part takes n - round(n * share), the second the rest.
   x and y are cut alike; y may be NULL (then y_train and y_test may be). Results are owned by the caller; all
   NULL on error: INVALID for a share outside [0, 1], SHAPE when x and y differ in rows, and those of
   hone_take. */
HONE_API hone_status hone_train_test_split(const hone_tensor *x, const hone_tensor *y, double share,
                                           uint64_t seed, hone_tensor **x_train, hone_tensor **y_train,
                                           hone_tensor **x_test, hone_tensor **y_test);

/* (x - mean) / standard deviation by column (that of the population: over n, not n - 1), fitted on one f32
   table [rows, features] and applied to others. Columns that do not vary are only centred. NaN is left out
   when fitting and stays NaN. fit: NULL on error (sticky): SHAPE, DTYPE, NUMERIC for an infinite value,
   MEMORY; the scaler is the caller's. apply: in place; SHAPE when the columns are not as many, DTYPE; errors
   do not stick. */
typedef struct hone_scaler hone_scaler;
HONE_API hone_scaler *hone_scaler_fit(const hone_tensor *x);
HONE_API hone_status hone_scaler_apply(const hone_scaler *scaler, hone_tensor *x);
HONE_API void hone_scaler_free(hone_scaler *scaler); /* NULL is allowed */

/* ---- text records, for language models --------------------------------------------------------------- */

/* A part of a conversation. */
typedef struct hone_message {
    const char *role;    /* "system", "user", "assistant", ... */
    const char *content; /* UTF-8, NUL-terminated */
} hone_message;

/* What a record holds: a conversation, or text that is taken as it is. */
typedef enum hone_record_kind { HONE_RECORD_MESSAGES, HONE_RECORD_TEXT } hone_record_kind;

/* One example. */
typedef struct hone_record {
    hone_record_kind kind;
    const hone_message *messages; /* [n_messages]; NULL for text */
    size_t n_messages;            /* at least 1 for messages */
    const char *text;             /* NULL for messages; NUL-terminated; bytes of a .txt file may be any */
    size_t text_length;           /* bytes, without the NUL */
    const char *label;            /* NULL: none; numbers and booleans as in JSON: "1", "0.5", "true" */
} hone_record;

/* The records of one file, read-only: several contexts may look at them at the same time. */
typedef struct hone_records hone_records;

/* Reads the records of a split from `path`: a file (which is the split "train", whatever its name), or a
   folder with train.jsonl and optionally valid.jsonl, test.jsonl (or .txt instead). split NULL: "train".
   The name's end says what the file is, .txt (one record, the whole file) or .jsonl (one JSON object a
   line, UTF-8; lines with nothing on them are skipped). The keys of the first record say which of these
   formats every record of a .jsonl file has, the first that fits; other keys are passed over:
     {"messages": [{"role", "content"}, ...]}       messages
     {"conversations": [{"from", "value"}, ...]}    messages; human and user are the user, gpt and assistant
                                                    the assistant, system is system
     {"prompt", "completion"}                       messages: user, assistant
     {"instruction", "input", "output"}             messages: user (the instruction, and if there is an input
                                                    that is not empty, a blank line and it), assistant
     {"text", "label"}                              text, with a label: a string, a number or a boolean
     {"text"}                                       text
   NULL on error (sticky): IO; NOT_FOUND when the folder lacks the split; FORMAT with the line (from 1) and
   the byte (from 0) for what does not fit, a line of more than 64 MiB, or a file without records; INVALID
   for an empty split name or one with a slash, and when a folder has the split twice; MEMORY. The result is
   the caller's. */
HONE_API hone_records *hone_records_load(hone_ctx *ctx, const char *path, const char *split);
HONE_API void hone_records_free(hone_records *records); /* NULL is allowed */
/* Is there a file for hone_records_load to read? Never an error. */
HONE_API bool hone_records_exist(hone_ctx *ctx, const char *path, const char *split);
/* How many there are; 0 for NULL. */
HONE_API size_t hone_records_count(const hone_records *records);
/* Record i, from 0; NULL when out of range. It lives as long as the records. */
HONE_API const hone_record *hone_records_get(const hone_records *records, size_t i);

#ifdef __cplusplus
}
#endif
#endif
