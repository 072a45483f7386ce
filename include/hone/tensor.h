/* Hone: data types, shapes, tensors, .npy files. Read after base.h. */
#ifndef HONE_TENSOR_H
#define HONE_TENSOR_H

#include "hone/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The most dimensions that a shape has. */
#define HONE_MAX_RANK 8

/* The types of elements; dtype.def lists them. */
typedef enum hone_dtype {
#define HONE_DTYPE(name, text, block, bytes, kind, gguf, safetensors, npy) HONE_##name,
#include "hone/dtype.def"
#undef HONE_DTYPE
    HONE_DTYPE_COUNT
} hone_dtype;

/* "f32", "q4_1", ...; "?" when out of range. Static storage. */
HONE_API const char *hone_dtype_name(hone_dtype dtype);
/* The dtype of that name (as hone_dtype_name prints it); false when there is none. */
HONE_API bool hone_dtype_from_name(const char *name, hone_dtype *dtype);

/* A shape: rank 0 is a scalar (one element); a dimension may be 0. */
typedef struct hone_shape {
    int rank;
    int64_t dim[HONE_MAX_RANK];
} hone_shape;
/* HONE_SHAPE(32, 10): a hone_shape of rank 2. HONE_SCALAR: rank 0. */
#define HONE_SHAPE(...)                                                                                      \
    ((hone_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#define HONE_SCALAR ((hone_shape){0, {0}})
HONE_API int64_t hone_shape_count(hone_shape shape); /* elements */
HONE_API bool hone_shape_equal(hone_shape a, hone_shape b);

/* Elements in row-major order, dense, of one dtype. Owns its memory unless borrowed. */
typedef struct hone_tensor hone_tensor;

/* A new tensor filled with zeros, owned by the caller. NULL on error (sticky): MEMORY; SHAPE for a negative or
   overflowing dimension or, with block formats, a last dimension that is no multiple of the block. */
HONE_API hone_tensor *hone_tensor_new(hone_ctx *ctx, hone_dtype dtype, hone_shape shape);
/* The same, filled from `values` (hone_shape_count of them). */
HONE_API hone_tensor *hone_tensor_from_f32(hone_ctx *ctx, hone_shape shape, const float *values);
HONE_API hone_tensor *hone_tensor_from_i32(hone_ctx *ctx, hone_shape shape, const int32_t *values);
/* Looks at memory that the caller keeps alive and unchanged in size; aligned to its element size. */
HONE_API hone_tensor *hone_tensor_borrow(hone_ctx *ctx, hone_dtype dtype, hone_shape shape, void *data);
HONE_API void hone_tensor_free(hone_tensor *tensor); /* NULL is allowed */

/* What the tensor is; bytes: of its elements alone. */
HONE_API hone_dtype hone_tensor_dtype(const hone_tensor *tensor);
HONE_API hone_shape hone_tensor_shape(const hone_tensor *tensor);
HONE_API size_t hone_tensor_bytes(const hone_tensor *tensor);
/* The elements themselves; for tensors in this machine's memory. */
HONE_API void *hone_tensor_data(hone_tensor *tensor);

/* Copies elements [first, first + count) out of or into the tensor, converting between `dtype` (f32, f64, i32,
   i64, u8, bf16 or f16) and the tensor's own; block formats are read, never written. Float to integer
   truncates towards zero and saturates. INVALID when the range is outside; DTYPE when the conversion is not
   supported. Errors do not stick. */
HONE_API hone_status hone_tensor_read(const hone_tensor *tensor, int64_t first, int64_t count, hone_dtype dtype,
                                      void *values);
HONE_API hone_status hone_tensor_write(hone_tensor *tensor, int64_t first, int64_t count, hone_dtype dtype,
                                       const void *values);
/* A copy as another dtype, owned by the caller, by the conversions of hone_tensor_read: NumPy's f64 and u8 as f32. NULL on error
   (sticky): DTYPE for block formats, MEMORY. */
HONE_API hone_tensor *hone_tensor_cast(const hone_tensor *tensor, hone_dtype dtype);
/* One element as a double; NaN when out of range. */
HONE_API double hone_tensor_get(const hone_tensor *tensor, int64_t index);

/* Every element anew, independently: normal with that mean and standard deviation, or uniform in [low, high). A function of the
   context's seed, stream and the element's number alone: another stream for other numbers, a step's number for noise that is drawn
   at each step. INVALID for a deviation below 0, high below low or what is not finite; DTYPE for types that are not real. Errors do
   not stick. */
HONE_API hone_status hone_tensor_fill_normal(hone_tensor *tensor, double mean, double deviation, uint64_t stream);
HONE_API hone_status hone_tensor_fill_uniform(hone_tensor *tensor, double low, double high, uint64_t stream);

/* NumPy's .npy format, version 1.0 (f32, f64, f16, i32, i64, u8; little endian, C order; bf16 is saved as f32).
   Loading also reads version 2.0, and bool as u8 of 0 and 1. IO or FORMAT with the file's name on failure (load: sticky). */
HONE_API hone_status hone_npy_save(const hone_tensor *tensor, const char *path);
HONE_API hone_tensor *hone_npy_load(hone_ctx *ctx, const char *path);

#ifdef __cplusplus
}
#endif
#endif
