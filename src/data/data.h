/* The data room, for the rest of the library: the readers on bytes in memory, for fuzzing and tests. */
#ifndef HONE_SRC_DATA_H
#define HONE_SRC_DATA_H

#include "hone/data.h"
#include "tensor/tensor.h"

/* Nothing of `data` is kept; `path` is for messages. */
hone_table *hone__csv_read(hone_ctx *ctx, const char *path, const char *data, size_t size,
                           const hone_csv_opts *opts);
/* plain: the whole of it is one record, else JSON lines. */
hone_records *hone__records_read(hone_ctx *ctx, const char *path, const char *data, size_t size, bool plain);

#endif
