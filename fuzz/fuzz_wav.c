/* Any bytes as a WAV file: an error or samples. */
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tensor *t = hone__wav_read(ctx, "fuzz", data, size, NULL);
    if (!t != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    if (t) sum = hone__hash(hone_tensor_data(t), hone_tensor_bytes(t), 0);
    hone_tensor_free(t);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
