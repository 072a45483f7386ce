#include "tensor/tensor.h"

#include <stdio.h>

int64_t hone_shape_count(hone_shape shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape.rank && i < HONE_MAX_RANK; i++)
        if (__builtin_mul_overflow(count, shape.dim[i], &count)) return INT64_MAX;
    return count;
}

bool hone_shape_equal(hone_shape a, hone_shape b)
{
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank && i < HONE_MAX_RANK; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

bool hone__tensor_size(hone_dtype dtype, hone_shape shape, int64_t *count, size_t *bytes)
{
    if ((unsigned)dtype >= HONE_DTYPE_COUNT || shape.rank < 0 || shape.rank > HONE_MAX_RANK) return false;
    const hone__dtype_info *info = &hone__dtypes[dtype];
    /* Zero dimensions are left out of the product: strides must not overflow even where there is no
       element. */
    int64_t product = 1;
    bool empty = false;
    for (int i = 0; i < shape.rank; i++) {
        if (shape.dim[i] < 0) return false;
        if (shape.dim[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(product, shape.dim[i], &product))
            return false;
    }
    if (info->block > 1 && (shape.rank == 0 || shape.dim[shape.rank - 1] % info->block != 0)) return false;
    if (product > PTRDIFF_MAX / info->bytes) return false;
    *count = empty ? 0 : product;
    *bytes = hone__dtype_bytes(dtype, *count);
    return true;
}

const char *hone__shape_text(hone_shape shape, char text[HONE__SHAPE_TEXT])
{
    size_t n = 0;
    text[n++] = '[';
    for (int i = 0; i < shape.rank && i < HONE_MAX_RANK; i++) {
        char dim[24];
        int length = snprintf(dim, sizeof dim, "%s%lld", i ? ", " : "", (long long)shape.dim[i]);
        if (n + (size_t)length + 2 > HONE__SHAPE_TEXT) break; /* eight 20-digit dimensions */
        memcpy(text + n, dim, (size_t)length);
        n += (size_t)length;
    }
    text[n++] = ']';
    text[n] = 0;
    return text;
}
