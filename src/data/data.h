/* The data room, for the rest of the library: the readers on bytes in memory, for fuzzing and tests. */
#ifndef HONE_SRC_DATA_H
#define HONE_SRC_DATA_H

#include "hone/data.h"
#include "tensor/tensor.h"

/* Nothing of `data` is kept; `path` is for messages. */
hone_frame *hone__frame_read(hone_ctx *ctx, const char *path, const char *data, size_t size,
                             const hone_frame_opts *opts);
hone_frame *hone__frame_read_jsonl(hone_ctx *ctx, const char *path, const char *data, size_t size,
                                   const hone_frame_opts *opts);
hone_vocabulary *hone__vocabulary_read(hone_ctx *ctx, const char *path, const char *data, size_t size);
hone_pipeline *hone__pipeline_read(hone_ctx *ctx, const char *path, const char *data, size_t size);
struct json_t;
/* A fitted pipeline, a new reference. NULL: a name or a value is no text in UTF-8, or memory ran out; no error is set. */
struct json_t *hone__pipeline_to_json(const hone_pipeline *pipeline);
/* Untrusted. NULL: sticky. */
hone_pipeline *hone__pipeline_from_json(hone_ctx *ctx, const char *path, const struct json_t *json);
hone_npz *hone__npz_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size);
hone_tensor *hone__idx_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size);
hone_tensor *hone__image_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, const hone_image_opts *opts);
hone_tensor *hone__wav_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int *sample_rate);
/* plain: the whole of it is one record, else JSON lines. */
struct json_error_t;
/* What jansson says is wrong, in words of ours where its own are about its options. */
const char *hone__json_error(const struct json_error_t *error);
hone_records *hone__records_read(hone_ctx *ctx, const char *path, const char *data, size_t size, bool plain);

/* hone_k_fold; shuffle false: of the rows as they stand, so that without classes a fold is consecutive rows. */
hone_status hone__k_fold(hone_ctx *ctx, int64_t n, int k, int fold, const hone_tensor *stratify, bool shuffle, uint64_t seed,
                         int64_t *rows, int64_t *n_train);

/* What an example's randomness is a function of. */
static inline uint64_t hone__row_key(uint64_t seed, int64_t epoch, int64_t row)
{
    return hone__key(hone__key(seed, (uint64_t)epoch), (uint64_t)row);
}

/* From the next epoch begun on a last batch of a single row is a part of the one before it, for training with batch norms; the numbers
   that hone_loader_batches and others tell stay. */
void hone__loader_join_last(hone_loader *loader, bool on);

#endif
