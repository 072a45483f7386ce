/* Any bytes as a saved pipeline: an error, or a pipeline that takes a frame or refuses it; the same as a saved vocabulary. */
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char csv[] = "age,height,city,grade,income,bought\n21,1.8,Ulm,1,100,no\n,,Bonn,2,nan,yes\n30,1.7,,3,7,no\n";
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_pipeline *p = hone__pipeline_read(ctx, "fuzz", (const char *)data, size);
    if (!p != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    uint64_t sum = 0;
    if (p) {
        hone_frame *f = hone__frame_read(ctx, "fuzz", csv, sizeof csv - 1, NULL);
        for (int with_y = 0; with_y < 2; with_y++) {
            hone_tensor *x, *y = NULL;
            hone_status status = hone_pipeline_apply(p, f, &x, with_y ? &y : NULL);
            if ((status == HONE_OK) != (x != NULL)) __builtin_trap();
            if (x && hone_tensor_shape(x).dim[1] != (int64_t)hone_pipeline_features(p)) __builtin_trap();
            if (x) sum += hone__hash(hone_tensor_data(x), hone_tensor_bytes(x), 0);
            hone_tensor_free(x), hone_tensor_free(y);
        }
        hone_frame_free(f);
    }
    hone_pipeline_free(p);
    hone_clear_error(ctx);
    hone_vocabulary *v = hone__vocabulary_read(ctx, "fuzz", (const char *)data, size);
    if (!v != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    for (int64_t i = 2; i < hone_vocabulary_size(v); i++)
        if (hone_vocabulary_find(v, hone_vocabulary_word(v, i)) != i) __builtin_trap();
    hone_vocabulary_free(v);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    return sum == 42 ? -1 : 0; /* keeps the sum alive */
}
