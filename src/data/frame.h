/* Frames, for pipelines: columns that change, and a little statistics over them. */
#ifndef HONE_SRC_FRAME_H
#define HONE_SRC_FRAME_H

#include "data/data.h"

typedef struct hone__frame {
    hone_frame public; /* first: the handle is a pointer to it */
    hone_ctx *ctx;
    hone__arena arena; /* names, categories */
    size_t capacity;
} hone__frame;

/* New columns at `at`, `count` of them, all zero; what stood there moves behind them. NULL: memory ran out. */
hone_column *hone__frame_insert(hone_frame *frame, size_t at, size_t count);
void hone__frame_remove(hone_frame *frame, size_t at);
/* Appends a copy of a column of another frame of as many rows. */
bool hone__frame_copy(hone_frame *frame, const hone_column *column);
static inline bool hone__is_text(const hone_column *column) { return column->type == HONE_COLUMN_TEXT; }

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
