/* Any text as the description in a saved model, beside a few weights: an error, or a model that can be saved again. */
#include "train/train.h"

#include "data/data.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TENSORS                                                                                                        \
    ",\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"                                       \
    "\"0.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[24,32]},"                                           \
    "\"optimizer/0.weight.momentum\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[32,56]},"                    \
    "\"optimizer/0.bias.momentum\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[56,64]}}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *text = json_stringn((const char *)data, size), *metadata = text ? json_pack("{s:o}", "hone_model", text) : NULL;
    char *entry = metadata ? json_dumps(metadata, JSON_COMPACT) : NULL;
    json_decref(metadata);
    if (!entry) return -1; /* no UTF-8 */
    static const char begin[] = "{\"__metadata__\":";
    uint64_t length = sizeof begin - 1 + strlen(entry) + sizeof TENSORS - 1;
    uint8_t *file = calloc(1, 8 + length + 1 + 64);
    if (!file) abort();
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)(length >> 8 * i);
    snprintf((char *)file + 8, length + 1, "%s%s%s", begin, entry, TENSORS);
    free(entry);
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_safetensors *tensors = hone__safetensors_open_memory(ctx, "fuzz", file, 8 + length + 64);
    hone_model *model = tensors ? hone__model_read(ctx, "fuzz", tensors, NULL) : NULL;
    if (!model != (hone_ctx_status(ctx) != HONE_OK)) __builtin_trap();
    if (!model && !hone_error(ctx)[0]) __builtin_trap();
    json_t *again = model ? hone__layer_to_json(hone_model_root(model)) : NULL;
    if (model && !again) __builtin_trap();
    json_decref(again);
    const hone_pipeline *pipeline = model ? hone_model_pipeline(model) : NULL;
    again = pipeline ? hone__pipeline_to_json(pipeline) : NULL;
    if (pipeline && !again) __builtin_trap();
    json_decref(again);
    hone_model_release(model);
    hone_safetensors_close(tensors);
    if (ctx->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(ctx);
    free(file);
    return 0;
}
