/* safetensors, written as a stream: https://github.com/huggingface/safetensors#format */
#include "io/io.h"

#include <jansson.h>
#include <stdlib.h>

struct hone_safetensors_writer {
    hone_ctx *ctx;
    hone__stream stream;
    json_t *metadata;
};

static void free_writer(hone_safetensors_writer *writer)
{
    hone_ctx *ctx = writer->ctx;
    json_decref(writer->metadata);
    hone__free(ctx, writer);
    hone_ctx_release(ctx);
}

hone_safetensors_writer *hone_safetensors_writer_new(hone_ctx *ctx, const char *path)
{
    if (!hone__ok(ctx)) return NULL;
    hone_safetensors_writer *writer = hone__calloc(ctx, 1, sizeof *writer);
    if (!writer) return NULL;
    writer->ctx = hone_ctx_retain(ctx);
    writer->metadata = json_pack("{s:s}", "format", "pt");
    if (!writer->metadata) hone__fail(ctx, HONE_MEMORY, "memory ran out while a header was made");
    if (writer->metadata && hone__stream_open(ctx, &writer->stream, path) == HONE_OK) return writer;
    free_writer(writer);
    return NULL;
}

hone_status hone_safetensors_set_metadata(hone_safetensors_writer *writer, const char *key, const char *value)
{
    if (!writer) return HONE_INVALID;
    if (hone__stream_open_for_declaring(&writer->stream) != HONE_OK) return writer->stream.status;
    /* A NULL key or value is refused like bad UTF-8. */
    if (json_object_set_new(writer->metadata, key, json_string(value)) != 0)
        return hone__stream_fail(&writer->stream, HONE_INVALID, "metadata '%.200s' are not UTF-8",
                                 key ? key : "NULL");
    return HONE_OK;
}

hone_status hone_safetensors_add_tensor(hone_safetensors_writer *writer, const char *name, hone_dtype dtype,
                                        hone_shape shape)
{
    if (!writer) return HONE_INVALID;
    if (writer->stream.status != HONE_OK) return writer->stream.status;
    if ((unsigned)dtype >= HONE_DTYPE_COUNT || !hone__dtypes[dtype].safetensors[0])
        return hone__stream_fail(&writer->stream, HONE_DTYPE, "tensor '%.200s': safetensors has no type %s",
                                 name ? name : "", hone_dtype_name(dtype));
    json_t *text = json_string(name);
    bool fits = text && strcmp(name, "__metadata__") != 0;
    json_decref(text);
    if (!fits)
        return hone__stream_fail(&writer->stream, HONE_INVALID, "'%.200s' cannot name a tensor",
                                 name ? name : "NULL");
    return hone__stream_add(&writer->stream, name, dtype, shape);
}

/* {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}; NULL when memory runs out. */
static json_t *describe(const hone__stream_tensor *tensor, size_t begin)
{
    json_t *dims = json_array(), *object;
    bool ok = dims != NULL;
    for (int i = 0; i < tensor->shape.rank && ok; i++)
        ok = json_array_append_new(dims, json_integer((json_int_t)tensor->shape.dim[i])) == 0;
    if (!ok) return json_decref(dims), NULL;
    object = json_pack("{s:s, s:o, s:[I, I]}", "dtype", hone__dtypes[tensor->dtype].safetensors, "shape",
                       dims, "data_offsets", (json_int_t)begin, (json_int_t)(begin + tensor->bytes));
    return object;
}

static json_t *describe_all(hone_safetensors_writer *writer)
{
    json_t *root = json_object();
    size_t at = 0;
    bool ok = root && json_object_set(root, "__metadata__", writer->metadata) == 0;
    for (size_t i = 0; i < writer->stream.count && ok; i++) {
        const hone__stream_tensor *tensor = &writer->stream.tensors[i];
        ok = json_object_set_new(root, tensor->name, describe(tensor, at)) == 0;
        ok = hone__add_size(at, tensor->bytes, &at) && at <= INT64_MAX && ok;
    }
    if (ok) return root;
    json_decref(root);
    return NULL;
}

static hone_status write_header(hone_safetensors_writer *writer)
{
    hone__stream *stream = &writer->stream;
    if (stream->began || stream->status != HONE_OK) return stream->status;
    if (hone__stream_check_names(stream) != HONE_OK) return stream->status;
    stream->began = true;
    json_t *root = describe_all(writer);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!text) return hone__stream_fail(stream, HONE_MEMORY, "the header does not fit in memory");
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    if (padded > HONE__SAFETENSORS_MAX_HEADER) {
        hone__stream_fail(stream, HONE_INVALID, "a header of %zu bytes is more than readers accept", padded);
    } else {
        uint8_t size[8];
        for (int i = 0; i < 8; i++) size[i] = (uint8_t)(padded >> 8 * i & 255);
        hone__file_write(&stream->file, size, sizeof size);
        hone__file_write(&stream->file, text, length);
        hone__file_write(&stream->file, "        ", padded - length);
    }
    free(text);
    return stream->status;
}

hone_status hone_safetensors_write(hone_safetensors_writer *writer, const char *name, const void *data,
                                   size_t bytes)
{
    if (!writer) return HONE_INVALID;
    if (write_header(writer) != HONE_OK) return writer->stream.status;
    return hone__stream_write(&writer->stream, name, data, bytes);
}

hone_status hone_safetensors_writer_commit(hone_safetensors_writer *writer)
{
    if (!writer) return HONE_INVALID;
    write_header(writer);
    hone_status status = hone__stream_commit(&writer->stream);
    free_writer(writer);
    return status;
}

void hone_safetensors_writer_abandon(hone_safetensors_writer *writer)
{
    if (!writer) return;
    hone__stream_abandon(&writer->stream);
    free_writer(writer);
}
