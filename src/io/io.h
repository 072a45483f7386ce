/* The io room, for the rest of the library: what the readers and writers of model files share. */
#ifndef HONE_SRC_IO_H
#define HONE_SRC_IO_H

#include "base/os.h"
#include "hone/io.h"
#include "tensor/tensor.h"

/* ---- readers ------------------------------------------------------------------------------------------- */

/* The reader of a file's bytes in memory that outlives it; `path` is for messages. For fuzzing and tests. */
hone_gguf *hone__gguf_open_memory(hone_ctx *ctx, const char *path, const void *data, size_t size);
hone_safetensors *hone__safetensors_open_memory(hone_ctx *ctx, const char *path, const void *data,
                                                size_t size);

/* The value of a key as it lies in the file (an array with its item type and count), for copying; NULL
   when absent. */
const void *hone__gguf_value(const hone_gguf *gguf, const char *key, hone_gguf_type *type, size_t *size);

/* The pages of one tensor may be dropped from memory (it has been packed or copied); they come back when
   read. */
void hone__gguf_release(const hone_gguf *gguf, const hone_tensor_info *info);
void hone__safetensors_release(const hone_safetensors *file, const hone_tensor_info *info);

/* Sorted names. Not a hash table: a hostile file can make all its names collide. */
typedef struct hone__name {
    const char *name;
    int64_t index;
} hone__name;
/* Sorts; returns a name that occurs twice, or NULL. */
const char *hone__names_sort(hone__name *names, int64_t count);
/* The index that belongs to name; -1 when it is not there. */
int64_t hone__names_find(const hone__name *names, int64_t count, const char *name);

/* Sorts tensors by offset, then size; n pointers. */
void hone__infos_sort(const hone_tensor_info **infos, int64_t count);

/* Alignments that are read and written: 8 as the specification says; the most keeps padding small. */
enum { HONE__GGUF_ALIGNMENT = 32, HONE__GGUF_LEAST_ALIGNMENT = 8, HONE__GGUF_MOST_ALIGNMENT = 1 << 20 };
static inline bool hone__gguf_alignment_ok(size_t n)
{
    return n >= HONE__GGUF_LEAST_ALIGNMENT && n <= HONE__GGUF_MOST_ALIGNMENT && (n & (n - 1)) == 0;
}

/* The largest safetensors header: what the reference implementation accepts. */
enum { HONE__SAFETENSORS_MAX_HEADER = 100000000 };

/* ---- writers: tensors declared first, then streamed in that order -------------------------------------- */

typedef struct hone__stream_tensor {
    char *name;
    hone_dtype dtype;
    hone_shape shape;
    size_t bytes;
} hone__stream_tensor;

typedef struct hone__stream {
    hone_ctx *ctx;
    hone__file file;
    char *path;         /* for messages */
    hone_status status; /* the first error; later calls return it */
    bool began;         /* the header is written: nothing can be declared any more */
    hone__stream_tensor *tensors;
    size_t count, capacity;
    size_t current, done; /* the tensor whose turn it is, and how many of its bytes are written */
    size_t alignment;     /* data of each tensor are padded to a multiple of it */
} hone__stream;

/* Zeroed memory for the stream is the caller's. On failure nothing is left to free. */
hone_status hone__stream_open(hone_ctx *ctx, hone__stream *stream, const char *path);
/* Keeps the first error and describes it, "path: " first. Returns the stream's status. */
hone_status hone__stream_fail(hone__stream *stream, hone_status status, const char *format, ...)
    HONE_PRINTF(3, 4);
/* OK when something may still be declared. */
hone_status hone__stream_open_for_declaring(hone__stream *stream);
hone_status hone__stream_add(hone__stream *stream, const char *name, hone_dtype dtype, hone_shape shape);
/* Refuses names given twice; call it before the header is written. */
hone_status hone__stream_check_names(hone__stream *stream);
/* The header must have been written. */
hone_status hone__stream_write(hone__stream *stream, const char *name, const void *data, size_t bytes);
/* Both free everything in the stream. */
hone_status hone__stream_commit(hone__stream *stream);
void hone__stream_abandon(hone__stream *stream);

#endif
