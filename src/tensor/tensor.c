#include "tensor/block.h"

#include <math.h>

static hone_tensor *make(hone_ctx *ctx, hone_dtype dtype, hone_shape shape, void *borrowed)
{
    if (!hone__ok(ctx)) return NULL;
    int64_t count;
    size_t bytes;
    if ((unsigned)dtype >= HONE_DTYPE_COUNT) {
        hone__fail(ctx, HONE_INVALID, "a tensor's data type is %d, which is none of hone_dtype", (int)dtype);
        return NULL;
    }
    if (!hone__tensor_size(dtype, shape, &count, &bytes)) {
        if (shape.rank < 0 || shape.rank > HONE_MAX_RANK)
            hone__fail(ctx, HONE_SHAPE, "a tensor of rank %d was asked for, at most %d is possible",
                       shape.rank, HONE_MAX_RANK);
        else
            hone__fail(ctx, HONE_SHAPE, "a %s tensor cannot have shape %s%s", hone_dtype_name(dtype),
                       HONE__SHAPE_STR(shape),
                       hone__is_blocks(dtype) ? ": the last dimension must be a multiple of the block" : "");
        return NULL;
    }
    hone_tensor *tensor = hone__calloc(ctx, 1, sizeof *tensor);
    if (!tensor) return NULL;
    void *data = borrowed;
    if (!data && !(data = hone__calloc(ctx, 1, bytes))) {
        hone__free(ctx, tensor);
        return NULL;
    }
    *tensor = (hone_tensor){hone_ctx_retain(ctx), dtype, shape, data, bytes, borrowed != NULL};
    return tensor;
}

hone_tensor *hone_tensor_new(hone_ctx *ctx, hone_dtype dtype, hone_shape shape)
{
    return make(ctx, dtype, shape, NULL);
}

static hone_tensor *from_values(hone_ctx *ctx, hone_dtype dtype, hone_shape shape, const void *values)
{
    hone_tensor *tensor = make(ctx, dtype, shape, NULL);
    if (tensor && tensor->bytes && !values) {
        hone__fail(ctx, HONE_INVALID, "a tensor of shape %s was to be filled from NULL",
                   HONE__SHAPE_STR(shape));
        hone_tensor_free(tensor);
        return NULL;
    }
    if (tensor && tensor->bytes) memcpy(tensor->data, values, tensor->bytes);
    return tensor;
}

hone_tensor *hone_tensor_from_f32(hone_ctx *ctx, hone_shape shape, const float *values)
{
    return from_values(ctx, HONE_F32, shape, values);
}

hone_tensor *hone_tensor_from_i32(hone_ctx *ctx, hone_shape shape, const int32_t *values)
{
    return from_values(ctx, HONE_I32, shape, values);
}

hone_tensor *hone_tensor_borrow(hone_ctx *ctx, hone_dtype dtype, hone_shape shape, void *data)
{
    if (!hone__ok(ctx)) return NULL;
    /* Blocks are read byte by byte. */
    bool plain = (unsigned)dtype < HONE_DTYPE_COUNT && !hone__is_blocks(dtype);
    if (!data || (plain && (uintptr_t)data % (uintptr_t)hone__dtypes[dtype].bytes != 0)) {
        hone__fail(ctx, HONE_INVALID, "memory to borrow as %s is %s", hone_dtype_name(dtype),
                   data ? "not aligned to its elements" : "NULL");
        return NULL;
    }
    return make(ctx, dtype, shape, data);
}

void hone_tensor_free(hone_tensor *tensor)
{
    if (!tensor) return;
    hone_ctx *ctx = tensor->ctx;
    if (!tensor->borrowed) hone__free(ctx, tensor->data);
    hone__free(ctx, tensor);
    hone_ctx_release(ctx);
}

hone_dtype hone_tensor_dtype(const hone_tensor *tensor) { return tensor ? tensor->dtype : HONE_F32; }
hone_shape hone_tensor_shape(const hone_tensor *tensor) { return tensor ? tensor->shape : HONE_SCALAR; }
size_t hone_tensor_bytes(const hone_tensor *tensor) { return tensor ? tensor->bytes : 0; }
void *hone_tensor_data(hone_tensor *tensor) { return tensor ? tensor->data : NULL; }

/* Is [first, first + count) inside, and are values there to be copied as dtype? */
static hone_status check(const hone_tensor *tensor, int64_t first, int64_t count, hone_dtype dtype,
                         const void *values)
{
    if (!tensor) return HONE_INVALID;
    int64_t n = hone_shape_count(tensor->shape);
    if (first < 0 || count < 0 || first > n || count > n - first || (count && !values))
        return hone__fail_run(
            tensor->ctx, HONE_INVALID, "elements %lld to %lld of a tensor of shape %s were asked for",
            (long long)first, (long long)((uint64_t)first + (uint64_t)count), HONE__SHAPE_STR(tensor->shape));
    if ((unsigned)dtype >= HONE_DTYPE_COUNT || hone__is_blocks(dtype))
        return hone__fail_run(tensor->ctx, HONE_DTYPE, "elements of a tensor cannot be copied as %s",
                              hone_dtype_name(dtype));
    return HONE_OK;
}

hone_status hone_tensor_read(const hone_tensor *tensor, int64_t first, int64_t count, hone_dtype dtype,
                             void *values)
{
    hone_status status = check(tensor, first, count, dtype, values);
    if (status != HONE_OK) return status;
    const hone__dtype_info *info = &hone__dtypes[tensor->dtype];
    const char *data = tensor->data;
    if (info->kind != HONE__KIND_Q)
        return hone__convert(values, dtype, data + hone__dtype_bytes(tensor->dtype, first), tensor->dtype,
                             count);
    /* Block by block through f32: the range may begin and end inside of a block. */
    const hone__block_format *format = hone__block_format_of(tensor->dtype);
    char *out = values;
    while (count > 0) {
        float block[256];
        int64_t skip = first % info->block, n = HONE_MIN(count, info->block - skip);
        format->unpack(block, data + hone__dtype_bytes(tensor->dtype, first - skip), info->block);
        status = hone__convert(out, dtype, block + skip, HONE_F32, n);
        if (status != HONE_OK) return status;
        out += hone__dtype_bytes(dtype, n);
        first += n;
        count -= n;
    }
    return HONE_OK;
}

hone_status hone_tensor_write(hone_tensor *tensor, int64_t first, int64_t count, hone_dtype dtype,
                              const void *values)
{
    hone_status status = check(tensor, first, count, dtype, values);
    if (status != HONE_OK) return status;
    if (hone__is_blocks(tensor->dtype))
        return hone__fail_run(tensor->ctx, HONE_DTYPE, "single elements of a %s tensor cannot be written",
                              hone_dtype_name(tensor->dtype));
    return hone__convert((char *)tensor->data + hone__dtype_bytes(tensor->dtype, first), tensor->dtype,
                         values, dtype, count);
}

double hone_tensor_get(const hone_tensor *tensor, int64_t index)
{
    double value;
    return hone_tensor_read(tensor, index, 1, HONE_F64, &value) == HONE_OK ? value : NAN;
}

hone_tensor *hone_tensor_cast(const hone_tensor *x, hone_dtype dtype)
{
    if (!x || !hone__ok(x->ctx)) return NULL;
    hone_ctx *ctx = x->ctx;
    if ((unsigned)dtype >= HONE_DTYPE_COUNT || hone__is_blocks(dtype)) {
        hone__fail(ctx, HONE_DTYPE, "a tensor of %s cannot be cast to %s", hone_dtype_name(x->dtype), hone_dtype_name(dtype));
        return NULL;
    }
    hone_tensor *y = hone_tensor_new(ctx, dtype, x->shape);
    if (y && hone_tensor_read(x, 0, hone_shape_count(x->shape), dtype, y->data) == HONE_OK) return y;
    hone__fail(ctx, HONE_DTYPE, "a tensor of %s cannot be cast to %s", hone_dtype_name(x->dtype), hone_dtype_name(dtype));
    hone_tensor_free(y);
    return NULL;
}

/* ---- random values ---- */

static hone_status fill(hone_tensor *tensor, bool ok, float (*draw)(uint64_t key, uint64_t index), double scale, double shift,
                        uint64_t stream)
{
    if (!tensor) return HONE_INVALID;
    if (!ok || !isfinite(scale) || !isfinite(shift))
        return hone__fail_run(tensor->ctx, HONE_INVALID, "random values with a scale of %g around or above %g", scale, shift);
    if (hone__dtypes[tensor->dtype].kind != HONE__KIND_F)
        return hone__fail_run(tensor->ctx, HONE_DTYPE, "a tensor of %s cannot be filled with random real numbers",
                              hone_dtype_name(tensor->dtype));
    enum { PART = 1024 };
    float values[PART];
    const uint64_t key = hone__key(hone__key(tensor->ctx->seed, 0x66696C6C), stream);
    const int64_t count = hone_shape_count(tensor->shape);
    hone_status status = HONE_OK;
    for (int64_t at = 0; at < count && status == HONE_OK; at += PART) {
        int64_t n = HONE_MIN(count - at, (int64_t)PART);
        for (int64_t i = 0; i < n; i++) values[i] = (float)(scale * (double)draw(key, (uint64_t)(at + i)) + shift);
        status = hone_tensor_write(tensor, at, n, HONE_F32, values);
    }
    return status;
}

hone_status hone_tensor_fill_normal(hone_tensor *tensor, double mean, double deviation, uint64_t stream)
{
    return fill(tensor, deviation >= 0, hone__random_normal, deviation, mean, stream);
}

hone_status hone_tensor_fill_uniform(hone_tensor *tensor, double low, double high, uint64_t stream)
{
    return fill(tensor, high >= low, hone__random_uniform, high - low, low, stream);
}
