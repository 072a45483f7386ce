#include "tensor/tensor.h"

const hone__dtype_info hone__dtypes[HONE_DTYPE_COUNT] = {
#define HONE_DTYPE(name, text, block, bytes, kind, gguf, safetensors, npy)                                   \
    [HONE_##name] = {text, block, bytes, HONE__KIND_##kind, gguf, safetensors, npy},
#include "hone/dtype.def"
#undef HONE_DTYPE
};

const char *hone_dtype_name(hone_dtype dtype)
{
    return (unsigned)dtype < HONE_DTYPE_COUNT ? hone__dtypes[dtype].name : "?";
}

bool hone_dtype_from_name(const char *name, hone_dtype *dtype)
{
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (!strcmp(name, hone__dtypes[i].name)) return *dtype = (hone_dtype)i, true;
    return false;
}

hone_dtype hone__compute_dtype(bool automatic, hone_dtype asked)
{
    return !automatic ? asked : hone__bf16_is_fast() ? HONE_BF16 : HONE_F32;
}
