/* GGUF version 3, written as a stream: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#include "io/io.h"

typedef struct gguf_entry {
    char *key;
    hone_gguf_type type;
    hone__buffer value; /* as in the file, after the type */
} gguf_entry;

struct hone_gguf_writer {
    hone_ctx *ctx;
    hone__stream stream;
    gguf_entry *entries;
    size_t count, capacity;
};

static void put_number(uint8_t *bytes, uint64_t value, int size)
{
    for (int i = 0; i < size; i++) bytes[i] = (uint8_t)(value >> 8 * i & 255);
}

static void free_writer(hone_gguf_writer *writer)
{
    hone_ctx *ctx = writer->ctx;
    for (size_t i = 0; i < writer->count; i++) {
        hone__free(ctx, writer->entries[i].key);
        hone__buffer_free(ctx, &writer->entries[i].value);
    }
    hone__free(ctx, writer->entries);
    hone__free(ctx, writer);
    hone_ctx_release(ctx);
}

hone_gguf_writer *hone_gguf_writer_new(hone_ctx *ctx, const char *path)
{
    if (!hone__ok(ctx)) return NULL;
    hone_gguf_writer *writer = hone__calloc(ctx, 1, sizeof *writer);
    if (!writer) return NULL;
    writer->ctx = hone_ctx_retain(ctx);
    if (hone__stream_open(ctx, &writer->stream, path) == HONE_OK) return writer;
    free_writer(writer);
    return NULL;
}

/* ---- keys ---- */

static gguf_entry *find_entry(hone_gguf_writer *writer, const char *key)
{
    for (size_t i = 0; i < writer->count; i++)
        if (!strcmp(writer->entries[i].key, key)) return &writer->entries[i];
    return NULL;
}

/* The key's entry with an empty value, a new one or the old one emptied; NULL on error. */
static gguf_entry *entry_for(hone_gguf_writer *writer, const char *key, hone_gguf_type type)
{
    if (!writer || hone__stream_open_for_declaring(&writer->stream) != HONE_OK) return NULL;
    if (!key || !key[0] || strlen(key) > 65535) {
        hone__stream_fail(&writer->stream, HONE_INVALID, "a key needs a name of 1 to 65535 bytes");
        return NULL;
    }
    gguf_entry *entry = find_entry(writer, key);
    if (!entry) {
        char *copy = hone__strdup(writer->ctx, key);
        if (!copy || !hone__grow(writer->ctx, (void **)&writer->entries, &writer->capacity, writer->count + 1,
                                 sizeof *writer->entries)) {
            hone__free(writer->ctx, copy);
            writer->stream.status = HONE_MEMORY;
            return NULL;
        }
        entry = &writer->entries[writer->count++];
        *entry = (gguf_entry){.key = copy};
    }
    entry->type = type;
    entry->value.size = 0;
    return entry;
}

static hone_status add_bytes(hone_gguf_writer *writer, gguf_entry *entry, const void *bytes, size_t size)
{
    if (writer->stream.status == HONE_OK && !hone__buffer_add(writer->ctx, &entry->value, bytes, size))
        writer->stream.status = HONE_MEMORY;
    return writer->stream.status;
}

static hone_status add_number(hone_gguf_writer *writer, gguf_entry *entry, uint64_t value, int size)
{
    uint8_t bytes[8];
    put_number(bytes, value, size);
    return add_bytes(writer, entry, bytes, (size_t)size);
}

static hone_status add_string(hone_gguf_writer *writer, gguf_entry *entry, const char *text, size_t length)
{
    add_number(writer, entry, length, 8);
    return add_bytes(writer, entry, text, length);
}

static hone_status status_of(const hone_gguf_writer *writer)
{
    return writer ? writer->stream.status : HONE_INVALID;
}

static hone_status set_number(hone_gguf_writer *writer, const char *key, hone_gguf_type type, uint64_t value,
                              int size)
{
    gguf_entry *entry = entry_for(writer, key, type);
    return entry ? add_number(writer, entry, value, size) : status_of(writer);
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

hone_status hone_gguf_set_u32(hone_gguf_writer *writer, const char *key, uint32_t value)
{
    return set_number(writer, key, HONE_GGUF_U32, value, 4);
}
hone_status hone_gguf_set_i32(hone_gguf_writer *writer, const char *key, int32_t value)
{
    return set_number(writer, key, HONE_GGUF_I32, (uint32_t)value, 4);
}
hone_status hone_gguf_set_u64(hone_gguf_writer *writer, const char *key, uint64_t value)
{
    return set_number(writer, key, HONE_GGUF_U64, value, 8);
}
hone_status hone_gguf_set_f32(hone_gguf_writer *writer, const char *key, float value)
{
    return set_number(writer, key, HONE_GGUF_F32, bits_of(value), 4);
}
hone_status hone_gguf_set_bool(hone_gguf_writer *writer, const char *key, bool value)
{
    return set_number(writer, key, HONE_GGUF_BOOL, value, 1);
}

hone_status hone_gguf_set_string(hone_gguf_writer *writer, const char *key, const char *text)
{
    gguf_entry *entry = entry_for(writer, key, HONE_GGUF_STRING);
    if (!entry) return status_of(writer);
    if (!text) return hone__stream_fail(&writer->stream, HONE_INVALID, "key '%.200s': the text is NULL", key);
    return add_string(writer, entry, text, strlen(text));
}

/* An array's item type and count; its elements follow. NULL on error. */
static gguf_entry *array_for(hone_gguf_writer *writer, const char *key, hone_gguf_type item,
                             const void *values, size_t count)
{
    gguf_entry *entry = entry_for(writer, key, HONE_GGUF_ARRAY);
    if (!entry) return NULL;
    if (count && !values) {
        hone__stream_fail(&writer->stream, HONE_INVALID, "key '%.200s': the values are NULL", key);
        return NULL;
    }
    add_number(writer, entry, item, 4);
    return add_number(writer, entry, count, 8) == HONE_OK ? entry : NULL;
}

hone_status hone_gguf_set_strings(hone_gguf_writer *writer, const char *key, const char *const *strings,
                                  const size_t *lengths, size_t count)
{
    gguf_entry *entry = array_for(writer, key, HONE_GGUF_STRING, strings, count);
    for (size_t i = 0; entry && i < count; i++) {
        if (!strings[i])
            return hone__stream_fail(&writer->stream, HONE_INVALID, "key '%.200s': string %zu is NULL", key,
                                     i);
        add_string(writer, entry, strings[i], lengths ? lengths[i] : strlen(strings[i]));
    }
    return status_of(writer);
}

hone_status hone_gguf_set_i32s(hone_gguf_writer *writer, const char *key, const int32_t *values, size_t count)
{
    gguf_entry *entry = array_for(writer, key, HONE_GGUF_I32, values, count);
    for (size_t i = 0; entry && i < count; i++) add_number(writer, entry, (uint32_t)values[i], 4);
    return status_of(writer);
}

hone_status hone_gguf_set_f32s(hone_gguf_writer *writer, const char *key, const float *values, size_t count)
{
    gguf_entry *entry = array_for(writer, key, HONE_GGUF_F32, values, count);
    for (size_t i = 0; entry && i < count; i++) add_number(writer, entry, bits_of(values[i]), 4);
    return status_of(writer);
}

hone_status hone_gguf_copy_key(hone_gguf_writer *writer, const hone_gguf *from, const char *key)
{
    hone_gguf_type type;
    size_t size;
    const void *value = hone__gguf_value(from, key, &type, &size);
    if (!writer) return HONE_INVALID;
    if (!value)
        return hone__stream_fail(&writer->stream, HONE_NOT_FOUND, "key '%.200s' to copy is not there",
                                 key ? key : "");
    gguf_entry *entry = entry_for(writer, key, type);
    return entry ? add_bytes(writer, entry, value, size) : status_of(writer);
}

/* ---- tensors ---- */

hone_status hone_gguf_add_tensor(hone_gguf_writer *writer, const char *name, hone_dtype dtype,
                                 hone_shape shape)
{
    if (!writer) return HONE_INVALID;
    if (writer->stream.status != HONE_OK) return writer->stream.status;
    if ((unsigned)dtype >= HONE_DTYPE_COUNT || hone__dtypes[dtype].gguf < 0)
        return hone__stream_fail(&writer->stream, HONE_DTYPE, "tensor '%.200s': GGUF has no type %s",
                                 name ? name : "", hone_dtype_name(dtype));
    if (shape.rank > 4)
        return hone__stream_fail(&writer->stream, HONE_SHAPE,
                                 "tensor '%.200s': shape %s has more than 4 dimensions", name ? name : "",
                                 HONE__SHAPE_STR(shape));
    return hone__stream_add(&writer->stream, name, dtype, shape);
}

static hone_status choose_alignment(hone_gguf_writer *writer)
{
    const gguf_entry *entry = find_entry(writer, "general.alignment");
    size_t alignment = HONE__GGUF_ALIGNMENT;
    if (entry) {
        const uint8_t *bytes = (const uint8_t *)entry->value.data;
        bool u32 = entry->type == HONE_GGUF_U32 && entry->value.size == 4;
        alignment =
            u32 ? (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 24
                : 0;
    }
    if (!hone__gguf_alignment_ok(alignment))
        return hone__stream_fail(&writer->stream, HONE_INVALID,
                                 "general.alignment must be a u32 and a power of two from %d to %d",
                                 HONE__GGUF_LEAST_ALIGNMENT, HONE__GGUF_MOST_ALIGNMENT);
    writer->stream.alignment = alignment;
    return HONE_OK;
}

static void write_number(hone__file *file, uint64_t value, int size)
{
    uint8_t bytes[8];
    put_number(bytes, value, size);
    hone__file_write(file, bytes, (size_t)size);
}

static void write_text(hone__file *file, const char *text)
{
    write_number(file, strlen(text), 8);
    hone__file_write(file, text, strlen(text));
}

static hone_status write_header(hone_gguf_writer *writer)
{
    hone__stream *stream = &writer->stream;
    hone__file *file = &stream->file;
    if (stream->began || stream->status != HONE_OK) return stream->status;
    if (choose_alignment(writer) != HONE_OK || hone__stream_check_names(stream) != HONE_OK)
        return stream->status;
    stream->began = true;
    hone__file_write(file, "GGUF", 4);
    write_number(file, 3, 4);
    write_number(file, stream->count, 8);
    write_number(file, writer->count, 8);
    for (size_t i = 0; i < writer->count; i++) {
        const gguf_entry *entry = &writer->entries[i];
        write_text(file, entry->key);
        write_number(file, entry->type, 4);
        hone__file_write(file, entry->value.data, entry->value.size);
    }
    size_t offset = 0, mask = stream->alignment - 1;
    for (size_t i = 0; i < stream->count; i++) {
        const hone__stream_tensor *tensor = &stream->tensors[i];
        write_text(file, tensor->name);
        write_number(file, (uint64_t)tensor->shape.rank, 4);
        for (int d = tensor->shape.rank - 1; d >= 0; d--)
            write_number(file, (uint64_t)tensor->shape.dim[d], 8);
        write_number(file, (uint64_t)hone__dtypes[tensor->dtype].gguf, 4);
        write_number(file, offset, 8);
        size_t padded;
        if (!hone__add_size(tensor->bytes, mask, &padded) || !hone__add_size(offset, padded & ~mask, &offset))
            return hone__stream_fail(stream, HONE_SHAPE, "the tensors are larger than any file");
    }
    hone__file_pad(file, stream->alignment);
    return stream->status;
}

hone_status hone_gguf_write(hone_gguf_writer *writer, const char *name, const void *data, size_t bytes)
{
    if (!writer) return HONE_INVALID;
    if (write_header(writer) != HONE_OK) return writer->stream.status;
    return hone__stream_write(&writer->stream, name, data, bytes);
}

hone_status hone_gguf_writer_commit(hone_gguf_writer *writer)
{
    if (!writer) return HONE_INVALID;
    write_header(writer);
    hone_status status = hone__stream_commit(&writer->stream);
    free_writer(writer);
    return status;
}

void hone_gguf_writer_abandon(hone_gguf_writer *writer)
{
    if (!writer) return;
    hone__stream_abandon(&writer->stream);
    free_writer(writer);
}
