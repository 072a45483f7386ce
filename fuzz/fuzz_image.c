/* Any bytes as a picture: an error or pixels of the size that was asked for. The first byte chooses options. */
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_image_opts opts = {.struct_size = sizeof opts,
                            .channels = size && *data & 1 ? 1 : 3,
                            .height = size && *data & 2 ? 5 : 0,
                            .width = size && *data & 4 ? 7 : 0};
    hone_tensor *t = hone__image_read(ctx, "fuzz", data + !!size, size - !!size, &opts);
    if (!t != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    if (t) {
        hone_shape shape = hone_tensor_shape(t);
        sum = hone__hash(hone_tensor_data(t), hone_tensor_bytes(t), 0);
        if (shape.dim[0] != opts.channels || (opts.height && shape.dim[1] != opts.height)) __builtin_trap();
    }
    hone_tensor_free(t);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
