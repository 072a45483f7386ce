/* Any bytes as a safetensors file: an error or a file whose every entry can be read. */
#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_safetensors *file = hone__safetensors_open_memory(ctx, "fuzz", data, size);
    if (!file != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    const char *key, *value;
    for (int64_t i = 0; hone_safetensors_metadata_at(file, i, &key, &value); i++)
        sum += strlen(key) + strlen(value);
    for (int64_t i = 0; i < hone_safetensors_count(file); i++) {
        const hone_tensor_info *info = hone_safetensors_at(file, i);
        if (hone_safetensors_find(file, info->name) != info) __builtin_trap();
        sum += hone__hash(info->data, info->bytes, 0);
    }
    hone_safetensors_close(file);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
