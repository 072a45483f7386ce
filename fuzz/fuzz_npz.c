/* Any bytes as an .npz file: an error or arrays that can be read. */
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_npz *t = hone__npz_read(ctx, "fuzz", data, size);
    if (!t != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    for (size_t i = 0; i < hone_npz_count(t); i++) {
        hone_tensor *array = hone_npz_get(t, hone_npz_name(t, i));
        sum += hone__hash(hone_tensor_data(array), hone_tensor_bytes(array), 0);
    }
    hone_npz_free(t);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
