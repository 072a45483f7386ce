/* The tensor room, for the rest of the library: the dtype table, shapes, strided views, conversion. */
#ifndef HONE_SRC_TENSOR_H
#define HONE_SRC_TENSOR_H

#include "base/base.h"
#include "hone/tensor.h"

typedef enum hone__kind { HONE__KIND_F, HONE__KIND_I, HONE__KIND_Q } hone__kind;

typedef struct hone__dtype_info {
    const char *name;
    int block, bytes; /* elements and bytes of one block; block is 1 but for kind Q */
    hone__kind kind;
    int gguf; /* ggml_type, -1: none */
    const char *safetensors, *npy; /* "": none */
} hone__dtype_info;
extern const hone__dtype_info hone__dtypes[HONE_DTYPE_COUNT];

static inline bool hone__is_float(hone_dtype t) { return hone__dtypes[t].kind == HONE__KIND_F; }
static inline bool hone__is_integer(hone_dtype t) { return hone__dtypes[t].kind == HONE__KIND_I; }
static inline bool hone__is_blocks(hone_dtype t) { return hone__dtypes[t].kind == HONE__KIND_Q; }
/* What to compute in: `asked`, or what this CPU is fast at. */
hone_dtype hone__compute_dtype(bool automatic, hone_dtype asked);

/* Bytes of n contiguous elements; n a multiple of the block. */
static inline size_t hone__dtype_bytes(hone_dtype t, int64_t n)
{
    return (size_t)(n / hone__dtypes[t].block) * (size_t)hone__dtypes[t].bytes;
}

struct hone_tensor {
    hone_ctx *ctx;
    hone_dtype dtype;
    hone_shape shape;
    void *data;
    size_t bytes;
    bool borrowed;
};

/* Elements and bytes of a dense tensor, checked; false when a dimension is negative, the size overflows, or the
   last dimension is no multiple of the dtype's block. */
bool hone__tensor_size(hone_dtype dtype, hone_shape shape, int64_t *count, size_t *bytes);
/* "[32, 10]" into text; returns text. */
#define HONE__SHAPE_TEXT 160
const char *hone__shape_text(hone_shape shape, char text[HONE__SHAPE_TEXT]);
#define HONE__SHAPE_STR(shape) hone__shape_text((shape), (char[HONE__SHAPE_TEXT]){0})

/* What hone_npy_save writes, ctx's, to be freed with hone__free. NULL: an error of ctx, whatever context the tensor is of. */
char *hone__npy_bytes(hone_ctx *ctx, const hone_tensor *tensor, size_t *size);
/* hone_npy_load for bytes in memory, of which nothing is kept; `path` is for messages. */
hone_tensor *hone__npy_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size);

/* A strided look at elements: stride in elements, 0 for a broadcast axis. Blocks are always dense. */
typedef struct hone__view {
    void *data;
    hone_dtype dtype;
    hone_shape shape;
    int64_t stride[HONE_MAX_RANK];
} hone__view;
hone__view hone__view_dense(void *data, hone_dtype dtype, hone_shape shape);
bool hone__view_is_dense(const hone__view *view);
/* [n, c, spatial...] with the channels innermost in memory, as convolutions like it; below 3 axes the same as dense. */
hone__view hone__view_channels_last(void *data, hone_dtype dtype, hone_shape shape);
bool hone__view_is_channels_last(const hone__view *view);
/* Do both lie in one piece and have each element at the same place? */
bool hone__view_same_layout(const hone__view *a, const hone__view *b);
void hone__dense_strides(hone_shape shape, int64_t stride[HONE_MAX_RANK]);

/* Converts count contiguous elements; from block formats to any float type, between plain types in any way; never to
   blocks. DTYPE when not supported. src and dst must not overlap unless equal in type. Portable and exact
   (round to nearest even); kernels have fast paths of their own. */
hone_status hone__convert(void *dst, hone_dtype dst_type, const void *src, hone_dtype src_type, int64_t count);

/* bf16: the upper half of an f32, rounded to nearest even; NaN stays NaN. */
static inline float hone__bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint16_t hone__f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16, quiet = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
}
float hone__f16_to_f32(uint16_t h);
uint16_t hone__f32_to_f16(float f);

#endif
