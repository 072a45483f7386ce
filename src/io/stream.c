/* What the writers of GGUF and safetensors share: tensors declared first, then streamed in that order. */
#include "io/io.h"

#include <stdarg.h>

hone_status hone__stream_open(hone_ctx *ctx, hone__stream *stream, const char *path)
{
    *stream = (hone__stream){.ctx = ctx, .alignment = 1};
    if (!path) return hone__fail_run(ctx, HONE_INVALID, "no path was given");
    if (!(stream->path = hone__strdup(ctx, path))) return HONE_MEMORY;
    hone_status status = hone__file_create(ctx, &stream->file, path);
    if (status != HONE_OK) hone__free(ctx, stream->path);
    return status;
}

hone_status hone__stream_fail(hone__stream *stream, hone_status status, const char *format, ...)
{
    if (stream->status != HONE_OK) return stream->status;
    stream->status = status;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hone__fail_run(stream->ctx, status, "%s: %s", stream->path, text);
    return status;
}

hone_status hone__stream_open_for_declaring(hone__stream *stream)
{
    if (stream->status != HONE_OK || !stream->began) return stream->status;
    return hone__stream_fail(stream, HONE_STATE,
                             "data have been written, nothing can be added to the header any more");
}

hone_status hone__stream_add(hone__stream *stream, const char *name, hone_dtype dtype, hone_shape shape)
{
    if (hone__stream_open_for_declaring(stream) != HONE_OK) return stream->status;
    int64_t count;
    size_t bytes;
    if (!name || !name[0]) return hone__stream_fail(stream, HONE_INVALID, "a tensor needs a name");
    if (!hone__tensor_size(dtype, shape, &count, &bytes))
        return hone__stream_fail(stream, HONE_SHAPE, "tensor '%.200s': a %s tensor cannot have shape %s",
                                 name, hone_dtype_name(dtype), HONE__SHAPE_STR(shape));
    hone__stream_tensor tensor = {hone__strdup(stream->ctx, name), dtype, shape, bytes};
    if (!tensor.name || !hone__grow(stream->ctx, (void **)&stream->tensors, &stream->capacity,
                                    stream->count + 1, sizeof *stream->tensors)) {
        hone__free(stream->ctx, tensor.name);
        return stream->status = HONE_MEMORY;
    }
    stream->tensors[stream->count++] = tensor;
    return HONE_OK;
}

hone_status hone__stream_check_names(hone__stream *stream)
{
    hone__name *names = hone__calloc(stream->ctx, stream->count, sizeof *names);
    if (!names) return stream->status = HONE_MEMORY;
    for (size_t i = 0; i < stream->count; i++) names[i] = (hone__name){stream->tensors[i].name, (int64_t)i};
    const char *twice = hone__names_sort(names, (int64_t)stream->count);
    if (twice) hone__stream_fail(stream, HONE_INVALID, "tensor '%.200s' was declared twice", twice);
    hone__free(stream->ctx, names);
    return stream->status;
}

/* Passes over tensors without data. */
static void skip_complete(hone__stream *stream)
{
    while (stream->current < stream->count && stream->done == stream->tensors[stream->current].bytes) {
        hone__file_pad(&stream->file, stream->alignment);
        stream->current++;
        stream->done = 0;
    }
}

hone_status hone__stream_write(hone__stream *stream, const char *name, const void *data, size_t bytes)
{
    if (stream->status != HONE_OK) return stream->status;
    if (!name || (bytes && !data))
        return hone__stream_fail(stream, HONE_INVALID, "tensor data or name is NULL");
    if (!bytes) return HONE_OK;
    skip_complete(stream);
    const hone__stream_tensor *tensor =
        stream->current < stream->count ? &stream->tensors[stream->current] : NULL;
    if (!tensor || strcmp(tensor->name, name) != 0)
        return hone__stream_fail(stream, HONE_STATE,
                                 "data of tensor '%.200s' were given, it is the turn of %.200s", name,
                                 tensor ? tensor->name : "none: all are complete");
    if (bytes > tensor->bytes - stream->done)
        return hone__stream_fail(stream, HONE_INVALID,
                                 "tensor '%.200s' has %zu bytes, %zu more than that were given", name,
                                 tensor->bytes, bytes - (tensor->bytes - stream->done));
    hone__file_write(&stream->file, data, bytes);
    stream->done += bytes;
    /* Said now, not after hours of more data. */
    if (stream->file.failed) hone__stream_fail(stream, HONE_IO, "%s", strerror(stream->file.reason));
    return stream->status;
}

static void stream_free(hone__stream *stream)
{
    hone__file_abandon(&stream->file);
    for (size_t i = 0; i < stream->count; i++) hone__free(stream->ctx, stream->tensors[i].name);
    hone__free(stream->ctx, stream->tensors);
    hone__free(stream->ctx, stream->path);
    *stream = (hone__stream){.ctx = stream->ctx, .status = stream->status};
}

hone_status hone__stream_commit(hone__stream *stream)
{
    if (stream->status == HONE_OK) {
        skip_complete(stream);
        if (stream->current < stream->count)
            hone__stream_fail(stream, HONE_STATE, "tensor '%.200s' has %zu of its %zu bytes of data",
                              stream->tensors[stream->current].name, stream->done,
                              stream->tensors[stream->current].bytes);
    }
    if (stream->status == HONE_OK) stream->status = hone__file_commit(&stream->file);
    hone_status status = stream->status;
    stream_free(stream);
    return status;
}

void hone__stream_abandon(hone__stream *stream) { stream_free(stream); }
