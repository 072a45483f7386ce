/* Frames, for pipelines: columns that change, what they are as tensors, and a little statistics over them. */
#ifndef HONE_SRC_FRAME_H
#define HONE_SRC_FRAME_H

#include "data/data.h"

typedef struct hone__frame {
    hone_frame public; /* first: the handle is a pointer to it */
    hone_ctx *ctx;
    hone__arena arena; /* names, categories */
    size_t capacity;
    int64_t *origin;   /* [rows] where they stood in the frame that was read; NULL: where they are */
} hone__frame;

/* New columns at `at`, `count` of them, all zero; what stood there moves behind them. NULL: memory ran out. */
hone_column *hone__frame_insert(hone_frame *frame, size_t at, size_t count);
/* A new last column with room for the rows. NULL: memory ran out. */
hone_column *hone__frame_append(hone_frame *frame, const char *name, hone_column_type type);
void hone__frame_remove(hone_frame *frame, size_t at);
/* Appends a copy of a column of another frame of as many rows. */
bool hone__frame_copy(hone_frame *frame, const hone_column *column);
bool hone__is_whole(double v); /* or missing */
/* Is no value there? Then nothing says of what type the column is. */
bool hone__is_empty(const hone_column *column, int64_t rows);
/* `to`, of as many rows, tells of them as `from` does. */
bool hone__frame_follow(hone_frame *to, const hone_frame *from);
static inline bool hone__is_text(const hone_column *column) { return column->type == HONE_COLUMN_TEXT; }

/* ---- from columns to tensors (frame_tensors.c); errors are those of a run, and ctx's, as the tensors are ---- */

/* x, f32 [rows, columns]: all but `without` side by side (NULL: all), which are numbers. */
hone_status hone__frame_features(hone_ctx *ctx, const hone_frame *frame, const hone_column *without, hone_tensor **x);
/* A number of the column as f32; NUMERIC when it is too large. */
hone_status hone__narrow(hone_ctx *ctx, const hone_frame *frame, const hone_column *column, int64_t row, float *value);
/* The column of a target: NOT_FOUND; INVALID for what is infinite or, but when that is allowed, missing. */
hone_status hone__frame_target(hone_ctx *ctx, const hone_frame *frame, const char *name, bool may_miss, const hone_column **column);
/* Is it a class number as it stands? */
bool hone__is_class(double v);
bool hone__are_classes(const hone_column *numbers, int64_t rows);
/* DTYPE: the column `is` text, of which one is shown, and `what` is said of that. */
hone_status hone__refuse_text(hone_ctx *ctx, const hone_frame *frame, const hone_column *column, const char *is, const char *what);

/* ---- statistics ---- */

/* Of values that are not NaN; deviation: the population's, exactly 0 where nothing varies. */
typedef struct hone__moments {
    int64_t count;
    double mean, deviation, least, most;
} hone__moments;
hone__moments hone__measure(const double *values, int64_t n);
/* The values that are not NaN, sorted, *count of them; hone__free it. NULL: memory ran out. */
double *hone__sorted(hone_ctx *ctx, const double *values, int64_t n, int64_t *count);
/* Between neighbours linearly, as numpy.quantile; count > 0, q in [0, 1]. */
double hone__quantile(const double *sorted, int64_t count, double q);

#endif
