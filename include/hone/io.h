/* Hone: model files: GGUF and safetensors, read in place and written as a stream. Read after tensor.h.
 *
 * Files are mapped, never loaded whole: opening a model of many gigabytes takes milliseconds, and tensor data
 * are looked at where they lie. A file is untrusted: every size, count and offset in it is checked against
 * the file before use, and a damaged file gives NULL and an error, whatever is in it. (A file that another
 * program shortens while it is mapped cannot be guarded against: replace files by renaming, as Hone's own
 * writers do.)
 *
 * Opening is building: errors stick to the context. Writing is a run: errors are returned, hone_error()
 * describes them, and only running out of memory sticks. Readers and writers belong to the thread of their
 * context. */
#ifndef HONE_IO_H
#define HONE_IO_H

#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor in an open file. Belongs to the file, as do its name and data: valid until the file is closed. */
typedef struct hone_tensor_info {
    const char *name; /* NUL-terminated */
    hone_dtype dtype;
    hone_shape shape; /* row-major: a weight is [out, in], in GGUF too, whose own order is the reverse */
    const void *data; /* read-only, little endian. Aligned to the elements in GGUF; in safetensors only if
                         its writer saw to it: hone_tensor_borrow refuses what is not, hone_tensor_write
                         copies it */
    size_t bytes;
    size_t offset; /* of data in its file, in bytes */
} hone_tensor_info;

/* ---- reading GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md --------------------------- */

typedef struct hone_gguf hone_gguf;

/* Opens a GGUF file of version 2 or 3, little endian. Owned by the caller. NULL on error (sticky): IO;
   FORMAT for a damaged file: truncated, names twice, data overlapping or out of range; UNSUPPORTED for
   other versions, nested arrays and tensor types that are not in dtype.def. */
HONE_API hone_gguf *hone_gguf_open(hone_ctx *ctx, const char *path);
HONE_API void hone_gguf_close(hone_gguf *gguf); /* NULL is allowed */

/* The getters below may be given a NULL gguf (one that failed to open) and answer as if the key were
   absent. */

/* The number at key, of whatever integer or floating type, if the result can hold it: false when the key
   is absent, no number, out of range or, for the integers, has a fraction. *value is then unchanged. */
HONE_API bool hone_gguf_get_u64(const hone_gguf *gguf, const char *key, uint64_t *value);
HONE_API bool hone_gguf_get_i64(const hone_gguf *gguf, const char *key, int64_t *value);
HONE_API bool hone_gguf_get_f64(const hone_gguf *gguf, const char *key,
                                double *value); /* rounds integers from 2^53 */
/* False, and *value unchanged, when the key is absent or no bool. */
HONE_API bool hone_gguf_get_bool(const hone_gguf *gguf, const char *key, bool *value);
/* A NUL-terminated copy that lives as long as gguf, its length in *length (may be NULL; the text may hold
   NULs of its own); NULL when the key is absent or no string. */
HONE_API const char *hone_gguf_get_string(const hone_gguf *gguf, const char *key, size_t *length);

/* Elements of the array at key; -1 when the key is absent or no array. */
HONE_API int64_t hone_gguf_array_count(const hone_gguf *gguf, const char *key);
/* String `index` of the array of strings at key: its bytes in the mapping, NOT NUL-terminated. In constant
   time. NULL when there is no such array or element. */
HONE_API const char *hone_gguf_array_string(const hone_gguf *gguf, const char *key, int64_t index,
                                            size_t *length);
/* Element `index` of an array of numbers (or, for i64, bools); false as with hone_gguf_get_i64. */
HONE_API bool hone_gguf_array_f64(const hone_gguf *gguf, const char *key, int64_t index, double *value);
HONE_API bool hone_gguf_array_i64(const hone_gguf *gguf, const char *key, int64_t index, int64_t *value);

/* The numbers are the file's. */
typedef enum hone_gguf_type {
    HONE_GGUF_U8,
    HONE_GGUF_I8,
    HONE_GGUF_U16,
    HONE_GGUF_I16,
    HONE_GGUF_U32,
    HONE_GGUF_I32,
    HONE_GGUF_F32,
    HONE_GGUF_BOOL,
    HONE_GGUF_STRING,
    HONE_GGUF_ARRAY,
    HONE_GGUF_U64,
    HONE_GGUF_I64,
    HONE_GGUF_F64
} hone_gguf_type;

typedef struct hone_gguf_key_info {
    const char *name;
    hone_gguf_type type;
    hone_gguf_type item; /* of an array's elements; else the same as type */
    int64_t count;       /* elements of an array; else 1 */
} hone_gguf_key_info;

/* "u32", "string", "array", ...; "?" when out of range. Static storage. */
HONE_API const char *hone_gguf_type_name(hone_gguf_type type);
HONE_API int64_t hone_gguf_key_count(const hone_gguf *gguf);
/* Key `index` in the order of the file; NULL when out of range. */
HONE_API const hone_gguf_key_info *hone_gguf_key(const hone_gguf *gguf, int64_t index);

HONE_API int64_t hone_gguf_tensor_count(const hone_gguf *gguf);
/* Tensor `index` in the order of the file; NULL when out of range. */
HONE_API const hone_tensor_info *hone_gguf_tensor(const hone_gguf *gguf, int64_t index);
/* The tensor of that name; NULL when there is none (no error: a model decides what it needs). */
HONE_API const hone_tensor_info *hone_gguf_find(const hone_gguf *gguf, const char *name);

/* ---- writing GGUF (version 3) -----------------------------------------------------------------------------
 * Set keys and declare all tensors, in any order; then write the data of the tensors in the order of
 * declaration; then commit. The data stream to a temporary file in path's folder, which replaces path on
 * commit, whole or not at all. The first error stays with the writer: later calls return it, so commit alone
 * may be checked. */

typedef struct hone_gguf_writer hone_gguf_writer;

/* NULL on error: IO when the folder cannot be written, or the path is something other than a file. */
HONE_API hone_gguf_writer *hone_gguf_writer_new(hone_ctx *ctx, const char *path);

/* Set a key; setting it again replaces the value. STATE once data have been written, INVALID for an empty
   key. "general.alignment" (u32, a power of two from 8 to 2^20; default 32) also sets the alignment of the
   tensors. */
HONE_API hone_status hone_gguf_set_u32(hone_gguf_writer *writer, const char *key, uint32_t value);
HONE_API hone_status hone_gguf_set_i32(hone_gguf_writer *writer, const char *key, int32_t value);
HONE_API hone_status hone_gguf_set_u64(hone_gguf_writer *writer, const char *key, uint64_t value);
HONE_API hone_status hone_gguf_set_f32(hone_gguf_writer *writer, const char *key, float value);
HONE_API hone_status hone_gguf_set_bool(hone_gguf_writer *writer, const char *key, bool value);
HONE_API hone_status hone_gguf_set_string(hone_gguf_writer *writer, const char *key, const char *text);
/* Arrays. lengths may be NULL: the strings are NUL-terminated. */
HONE_API hone_status hone_gguf_set_strings(hone_gguf_writer *writer, const char *key,
                                           const char *const *strings, const size_t *lengths, size_t count);
HONE_API hone_status hone_gguf_set_i32s(hone_gguf_writer *writer, const char *key, const int32_t *values,
                                        size_t count);
HONE_API hone_status hone_gguf_set_f32s(hone_gguf_writer *writer, const char *key, const float *values,
                                        size_t count);
/* The key as it is in another file, whatever its type. NOT_FOUND when it is not there. */
HONE_API hone_status hone_gguf_copy_key(hone_gguf_writer *writer, const hone_gguf *from, const char *key);

/* Declares the next tensor. DTYPE when GGUF has no such type; SHAPE for more than 4 dimensions, which
   others cannot read, and for shapes that hone_tensor_new refuses; INVALID for an empty name. A name given
   twice fails at the first write. */
HONE_API hone_status hone_gguf_add_tensor(hone_gguf_writer *writer, const char *name, hone_dtype dtype,
                                          hone_shape shape);
/* Appends `bytes` bytes to the data of tensor `name`, which must be the first declared one that is not
   complete; a tensor may come in any number of pieces. STATE when it is another one's turn; INVALID for
   more bytes than it has. */
HONE_API hone_status hone_gguf_write(hone_gguf_writer *writer, const char *name, const void *data,
                                     size_t bytes);
/* Puts the file in place and frees the writer, also on failure: the writer's first error; STATE when a
   tensor is not complete; IO when the disk is full, for instance. The old file is then untouched. */
HONE_API hone_status hone_gguf_writer_commit(hone_gguf_writer *writer);
/* Frees; nothing is replaced. NULL is allowed. */
HONE_API void hone_gguf_writer_abandon(hone_gguf_writer *writer);

/* ---- reading safetensors: https://github.com/huggingface/safetensors ----------------------------------- */

typedef struct hone_safetensors hone_safetensors;

/* Opens a .safetensors file; or the .index.json of a sharded model with all its shards; or a folder that
   holds model.safetensors or model.safetensors.index.json. Owned by the caller. NULL on error (sticky):
   IO; FORMAT for a damaged file: a header that is not as specified or larger than 100 MB, names twice,
   data that overlap, leave holes or end elsewhere than the file does, a shard that is named outside of the
   folder; UNSUPPORTED for dtypes that are not in dtype.def (BOOL is read as u8). */
HONE_API hone_safetensors *hone_safetensors_open(hone_ctx *ctx, const char *path);
HONE_API void hone_safetensors_close(hone_safetensors *file); /* NULL is allowed */

HONE_API int64_t hone_safetensors_count(const hone_safetensors *file); /* tensors; 0 for NULL */
/* Tensor `index`, in the order of the header, shard after shard; NULL when out of range. */
HONE_API const hone_tensor_info *hone_safetensors_at(const hone_safetensors *file, int64_t index);
/* The tensor of that name; NULL when there is none (no error). */
HONE_API const hone_tensor_info *hone_safetensors_find(const hone_safetensors *file, const char *name);

/* __metadata__ (of a sharded model: its first shard's), which maps strings to strings. */
HONE_API int64_t hone_safetensors_metadata_count(const hone_safetensors *file);
/* Entry `index`; false when out of range. Strings belong to file. */
HONE_API bool hone_safetensors_metadata_at(const hone_safetensors *file, int64_t index, const char **key,
                                           const char **value);
/* The value at key; NULL when there is none. */
HONE_API const char *hone_safetensors_metadata(const hone_safetensors *file, const char *key);

/* ---- writing safetensors: declare all tensors, write their data in that order, commit; as with GGUF ---- */

typedef struct hone_safetensors_writer hone_safetensors_writer;

/* NULL on error: IO. The metadata begin as {"format": "pt"}, which transformers insists on. */
HONE_API hone_safetensors_writer *hone_safetensors_writer_new(hone_ctx *ctx, const char *path);
/* Sets an entry of __metadata__; again: replaces it. Texts are UTF-8, else INVALID. STATE once data were
   written. */
HONE_API hone_status hone_safetensors_set_metadata(hone_safetensors_writer *writer, const char *key,
                                                   const char *value);
/* DTYPE for block formats; SHAPE for shapes that hone_tensor_new refuses; INVALID for an empty name or
   "__metadata__" or one that is not UTF-8. A name given twice fails at the first write. The format has no
   padding: declare wider types first if the data are to be used in place. */
HONE_API hone_status hone_safetensors_add_tensor(hone_safetensors_writer *writer, const char *name,
                                                 hone_dtype dtype, hone_shape shape);
/* As hone_gguf_write. */
HONE_API hone_status hone_safetensors_write(hone_safetensors_writer *writer, const char *name,
                                            const void *data, size_t bytes);
HONE_API hone_status hone_safetensors_writer_commit(hone_safetensors_writer *writer); /* as hone_gguf_writer_commit */
/* Frees; nothing is replaced. NULL is allowed. */
HONE_API void hone_safetensors_writer_abandon(hone_safetensors_writer *writer);

#ifdef __cplusplus
}
#endif
#endif
