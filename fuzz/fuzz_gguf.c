/* Any bytes as a GGUF file: an error or a file whose every key and tensor can be read. */
#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch_key(const hone_gguf *g, const hone_gguf_key_info *key, uint64_t *sum)
{
    uint64_t u;
    int64_t i;
    double f;
    bool b;
    size_t length;
    const char *text = hone_gguf_get_string(g, key->name, &length);
    if (text) *sum += hone__hash(text, length, 0) + strlen(text);
    if (hone_gguf_get_u64(g, key->name, &u)) *sum += u;
    if (hone_gguf_get_i64(g, key->name, &i)) *sum += (uint64_t)i;
    if (hone_gguf_get_f64(g, key->name, &f)) *sum += f > 0;
    if (hone_gguf_get_bool(g, key->name, &b)) *sum += b;
    for (int64_t k = 0; k < hone_gguf_array_count(g, key->name); k++) {
        if ((text = hone_gguf_array_string(g, key->name, k, &length))) *sum += hone__hash(text, length, 0);
        if (hone_gguf_array_i64(g, key->name, k, &i)) *sum += (uint64_t)i;
        if (hone_gguf_array_f64(g, key->name, k, &f)) *sum += f > 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_gguf *g = hone__gguf_open_memory(ctx, "fuzz", data, size);
    if (!g != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    for (int64_t i = 0; i < hone_gguf_key_count(g); i++) touch_key(g, hone_gguf_key(g, i), &sum);
    for (int64_t i = 0; i < hone_gguf_tensor_count(g); i++) {
        const hone_tensor_info *info = hone_gguf_tensor(g, i);
        if (hone_gguf_find(g, info->name) != info) __builtin_trap();
        sum += hone__hash(info->data, info->bytes, 0);
    }
    hone_gguf_close(g);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
