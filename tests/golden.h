/* Values that another library gave: files of scripts/golden/, in tests/data. Behind the header that has `ctx`. */
#ifndef HONE_TEST_GOLDEN_H
#define HONE_TEST_GOLDEN_H

#include "hone/io.h"

/* A tensor of an open file, the caller's. */
static inline hone_tensor *golden_in(hone_safetensors *file, const char *name)
{
    const hone_tensor_info *info = hone_safetensors_find(file, name);
    if (!info) fail_msg("no golden tensor '%s'", name);
    hone_tensor *t = hone_tensor_new(ctx, info->dtype, info->shape);
    assert_non_null(t);
    assert_hone_ok(ctx, hone_tensor_write(t, 0, hone_shape_count(info->shape), info->dtype, info->data));
    return t;
}

#endif
