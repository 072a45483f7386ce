/* safetensors, read in place: https://github.com/huggingface/safetensors#format; sharded models as
   transformers saves them: a JSON index that names the file of each tensor. */
#include "io/io.h"

#include <jansson.h>
#include <stdarg.h>

enum { MAX_SHARDS = 4096 };

typedef struct shard {
    hone__map map;
    bool mapped; /* false: the bytes are somebody else's */
    const char *path, *name;
} shard;

typedef struct entry {
    const char *key, *value;
} entry;

struct hone_safetensors {
    hone_ctx *ctx;
    hone__arena arena; /* names, texts */
    shard *shards;
    size_t shard_count, shard_capacity;
    hone_tensor_info *tensors;
    size_t count, capacity;
    hone__name *names;
    entry *metadata;
    size_t metadata_count, metadata_capacity;
};

static bool fail(hone_safetensors *file, const char *path, hone_status status, const char *format, ...)
    HONE_PRINTF(4, 5);
static bool fail(hone_safetensors *file, const char *path, hone_status status, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hone__fail(file->ctx, status, "%s: %s", path, text);
    return false;
}

/* ---- JSON ---- */

/* jansson takes some 130 bytes for "[]" and 40 for "0,": a hostile header of 100 MB would become
   gigabytes. A tensor takes 3 containers and at most 11 commas in at least 50 bytes, so that denser text
   is no list of tensors. */
static bool is_plausible(const char *text, size_t size)
{
    size_t containers = 0, commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && (text[i] == '{' || text[i] == '['))
            containers++;
        else if (!quoted && text[i] == ',')
            commas++;
    }
    return containers <= size / 12 + 16 && commas <= size / 4 + 16;
}

static json_t *parse_object(hone_safetensors *file, const char *path, const char *text, size_t size)
{
    json_error_t error;
    if (!is_plausible(text, size)) {
        fail(file, path, HONE_FORMAT, "the JSON describes no tensors");
        return NULL;
    }
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        bool memory = json_error_code(&error) == json_error_out_of_memory;
        fail(file, path, memory ? HONE_MEMORY : HONE_FORMAT, "JSON, byte %d: %s", error.position, error.text);
    } else if (!json_is_object(root)) {
        fail(file, path, HONE_FORMAT, "the JSON is no object");
        json_decref(root);
        root = NULL;
    }
    return root;
}

/* A JSON integer from 0 to INT64_MAX. */
static bool natural(const json_t *value, int64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (int64_t)json_integer_value(value);
    return true;
}

static bool dtype_of(const char *name, hone_dtype *dtype)
{
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (name[0] && !strcmp(name, hone__dtypes[i].safetensors)) return *dtype = (hone_dtype)i, true;
    /* One byte each, 0 or 1. */
    return !strcmp(name, "BOOL") ? (*dtype = HONE_U8, true) : false;
}

/* ---- one file ---- */

static bool read_metadata(hone_safetensors *file, const char *path, json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) return fail(file, path, HONE_FORMAT, "__metadata__ is no object");
    json_object_foreach(object, key, value)
    {
        if (!json_is_string(value))
            return fail(file, path, HONE_FORMAT, "__metadata__: '%.200s' is no string", key);
        if (!hone__grow(file->ctx, (void **)&file->metadata, &file->metadata_capacity,
                        file->metadata_count + 1, sizeof *file->metadata))
            return false;
        entry e = {hone__arena_strdup(&file->arena, key),
                   hone__arena_strdup(&file->arena, json_string_value(value))};
        if (!e.key || !e.value) return false;
        file->metadata[file->metadata_count++] = e;
    }
    return true;
}

/* One entry of the header; base: where in the file the data begin. */
static bool read_tensor(hone_safetensors *file, const shard *from, size_t base, const char *name,
                        json_t *object)
{
    const char *path = from->path, *dtype = json_string_value(json_object_get(object, "dtype"));
    const json_t *dims = json_object_get(object, "shape"), *offsets = json_object_get(object, "data_offsets");
    hone_tensor_info info = {.data = from->map.data};
    int64_t begin, end, count;
    if (!dtype || !json_is_array(dims) || json_array_size(offsets) != 2 ||
        !natural(json_array_get(offsets, 0), &begin) || !natural(json_array_get(offsets, 1), &end))
        return fail(file, path, HONE_FORMAT, "tensor '%.200s': needs dtype, shape and two data_offsets",
                    name);
    if (!dtype_of(dtype, &info.dtype))
        return fail(file, path, HONE_UNSUPPORTED, "tensor '%.200s': dtype '%.20s' is not supported", name,
                    dtype);
    if (json_array_size(dims) > HONE_MAX_RANK)
        return fail(file, path, HONE_FORMAT, "tensor '%.200s': %zu dimensions, at most %d are possible", name,
                    json_array_size(dims), HONE_MAX_RANK);
    info.shape.rank = (int)json_array_size(dims);
    for (int i = 0; i < info.shape.rank; i++)
        if (!natural(json_array_get(dims, (size_t)i), &info.shape.dim[i]))
            return fail(file, path, HONE_FORMAT, "tensor '%.200s': dimension %d is no natural number", name,
                        i);
    size_t left = from->map.size - base;
    if (begin > end || (uint64_t)end > left)
        return fail(file, path, HONE_FORMAT, "tensor '%.200s': data at bytes %lld to %lld of %zu", name,
                    (long long)begin, (long long)end, left);
    if (!hone__tensor_size(info.dtype, info.shape, &count, &info.bytes) ||
        info.bytes != (size_t)(end - begin))
        return fail(file, path, HONE_FORMAT, "tensor '%.200s': shape %s as %s does not fit its %lld bytes",
                    name, HONE__SHAPE_STR(info.shape), dtype, (long long)(end - begin));
    info.offset = base + (size_t)begin;
    info.data = from->map.data + info.offset;
    if (!(info.name = hone__arena_strdup(&file->arena, name)) ||
        !hone__grow(file->ctx, (void **)&file->tensors, &file->capacity, file->count + 1,
                    sizeof *file->tensors))
        return false;
    file->tensors[file->count++] = info;
    return true;
}

/* The tensors from `first` on must fill the file from base to its end, without overlap. */
static bool check_extents(hone_safetensors *file, const shard *from, size_t base, size_t first)
{
    size_t n = file->count - first;
    const hone_tensor_info **order = hone__calloc(file->ctx, n, sizeof *order);
    if (!order) return false;
    for (size_t i = 0; i < n; i++) order[i] = &file->tensors[first + i];
    hone__infos_sort(order, (int64_t)n);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        if (order[i]->offset != base)
            ok = fail(file, from->path, HONE_FORMAT, "tensor '%.200s': data at byte %zu %s", order[i]->name,
                      order[i]->offset, order[i]->offset < base ? "are also another one's" : "follow a hole");
        base += order[i]->bytes;
    }
    if (ok && base != from->map.size)
        ok = fail(file, from->path, HONE_FORMAT, "the data end at byte %zu, the file has %zu", base,
                  from->map.size);
    hone__free(file->ctx, order);
    return ok;
}

static bool read_shard(hone_safetensors *file, size_t index)
{
    const shard *from = &file->shards[index];
    const uint8_t *data = from->map.data;
    uint64_t header = 0;
    for (int i = 0; i < 8 && from->map.size >= 8; i++) header |= (uint64_t)data[i] << 8 * i;
    if (from->map.size < 8 || header > from->map.size - 8)
        return fail(file, from->path, HONE_FORMAT,
                    "a header of %llu bytes in a file of %zu: truncated, or no safetensors file",
                    (unsigned long long)header, from->map.size);
    if (header > HONE__SAFETENSORS_MAX_HEADER)
        return fail(file, from->path, HONE_FORMAT, "a header of %llu bytes; at most %d are accepted",
                    (unsigned long long)header, HONE__SAFETENSORS_MAX_HEADER);
    json_t *root = parse_object(file, from->path, (const char *)data + 8, (size_t)header);
    if (!root) return false;
    const char *name;
    json_t *value;
    size_t first = file->count, base = 8 + (size_t)header;
    bool ok = true;
    json_object_foreach(root, name, value)
    {
        if (strcmp(name, "__metadata__") != 0)
            ok = read_tensor(file, from, base, name, value);
        else if (index == 0)
            ok = read_metadata(file, from->path, value);
        if (!ok) break;
    }
    json_decref(root);
    return ok && check_extents(file, from, base, first);
}

/* Lookups work from here on. */
static bool index_names(hone_safetensors *file, const char *path)
{
    if (!(file->names = hone__calloc(file->ctx, file->count, sizeof *file->names))) return false;
    for (size_t i = 0; i < file->count; i++) file->names[i] = (hone__name){file->tensors[i].name, (int64_t)i};
    const char *twice = hone__names_sort(file->names, (int64_t)file->count);
    return twice ? fail(file, path, HONE_FORMAT, "tensor '%.200s' is there twice", twice) : true;
}

/* Takes the map, also on failure. */
static bool add_shard(hone_safetensors *file, const char *path, const char *name, hone__map map, bool mapped)
{
    shard s = {map, mapped, hone__arena_strdup(&file->arena, path), hone__arena_strdup(&file->arena, name)};
    if (!s.path || !s.name ||
        !hone__grow(file->ctx, (void **)&file->shards, &file->shard_capacity, file->shard_count + 1,
                    sizeof *file->shards)) {
        if (mapped) hone__map_close(&s.map);
        return false;
    }
    file->shards[file->shard_count++] = s;
    return read_shard(file, file->shard_count - 1);
}

static bool open_file(hone_safetensors *file, const char *path, const char *name)
{
    hone__map map;
    if (hone__map_open(file->ctx, path, &map) != HONE_OK) return false;
    return add_shard(file, path, name, map, true);
}

/* ---- sharded models ---- */

static const shard *find_shard(const hone_safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->shard_count; i++)
        if (!strcmp(file->shards[i].name, name)) return &file->shards[i];
    return NULL;
}

/* Opens each file that weight_map names, once. */
static bool open_shards(hone_safetensors *file, const char *path, const char *folder, json_t *weights)
{
    const char *name;
    json_t *value;
    json_object_foreach(weights, name, value)
    {
        const char *part = json_string_value(value);
        if (!part || !part[0] || strpbrk(part, "/\\") || !strcmp(part, ".") || !strcmp(part, ".."))
            return fail(file, path, HONE_FORMAT,
                        "tensor '%.200s': '%.200s' is no file name within the folder", name,
                        part ? part : "");
        if (find_shard(file, part)) continue;
        if (file->shard_count == MAX_SHARDS)
            return fail(file, path, HONE_FORMAT, "more than %d files are named", MAX_SHARDS);
        char *shard_path = hone__join_path(file->ctx, folder, part);
        bool ok = shard_path && open_file(file, shard_path, part);
        hone__free(file->ctx, shard_path);
        if (!ok) return false;
    }
    return true;
}

static bool is_inside(const shard *s, const hone_tensor_info *info)
{
    uintptr_t begin = (uintptr_t)s->map.data, at = (uintptr_t)info->data;
    if (at < begin) return false;
    /* A tensor without bytes may lie at the very end. */
    return at - begin < s->map.size || (info->bytes == 0 && at - begin == s->map.size);
}

/* Each tensor must be where weight_map says. */
static bool check_weights(hone_safetensors *file, const char *path, json_t *weights)
{
    const char *name;
    json_t *value;
    json_object_foreach(weights, name, value)
    {
        const hone_tensor_info *info = hone_safetensors_find(file, name);
        const shard *s = find_shard(file, json_string_value(value));
        if (!info || !s || !is_inside(s, info))
            return fail(file, path, HONE_FORMAT, "tensor '%.200s' is not in '%.200s'", name,
                        json_string_value(value));
    }
    return true;
}

static bool open_index(hone_safetensors *file, const char *path)
{
    size_t size;
    char *text = hone__read_file(file->ctx, path, HONE__SAFETENSORS_MAX_HEADER, &size);
    if (!text) return false;
    json_t *root = parse_object(file, path, text, size);
    hone__free(file->ctx, text);
    if (!root) return false;
    json_t *weights = json_object_get(root, "weight_map");
    const char *slash = strrchr(path, '/');
    char *folder = hone__strndup(file->ctx, path, slash ? (size_t)(slash - path) + 1 : 0);
    bool ok = folder != NULL;
    if (ok && !json_is_object(weights)) ok = fail(file, path, HONE_FORMAT, "has no weight_map");
    ok = ok && open_shards(file, path, folder, weights) && index_names(file, path) &&
         check_weights(file, path, weights);
    hone__free(file->ctx, folder);
    json_decref(root);
    return ok;
}

/* ---- opening ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static bool open_path(hone_safetensors *file, const char *path)
{
    if (ends_with(path, ".index.json")) return open_index(file, path);
    return open_file(file, path, path) && index_names(file, path);
}

static bool open_folder(hone_safetensors *file, const char *folder)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++) {
        char *path = hone__join_path(file->ctx, folder, names[i]);
        if (!path) return false;
        bool found = hone__is_file(path), ok = found && open_path(file, path);
        hone__free(file->ctx, path);
        if (found) return ok;
    }
    return fail(file, folder, HONE_IO, "the folder holds neither %s nor %s", names[0], names[1]);
}

static hone_safetensors *new_file(hone_ctx *ctx)
{
    hone_safetensors *file = hone__calloc(ctx, 1, sizeof *file);
    if (!file) return NULL;
    file->ctx = hone_ctx_retain(ctx);
    hone__arena_init(&file->arena, ctx);
    return file;
}

hone_safetensors *hone_safetensors_open(hone_ctx *ctx, const char *path)
{
    if (!hone__ok(ctx)) return NULL;
    if (!path) return hone__fail(ctx, HONE_INVALID, "no path was given"), NULL;
    hone_safetensors *file = new_file(ctx);
    if (!file || (hone__is_folder(path) ? open_folder(file, path) : open_path(file, path))) return file;
    hone_safetensors_close(file);
    return NULL;
}

hone_safetensors *hone__safetensors_open_memory(hone_ctx *ctx, const char *path, const void *data,
                                                size_t size)
{
    hone_safetensors *file = hone__ok(ctx) ? new_file(ctx) : NULL;
    if (!file || (add_shard(file, path, path, (hone__map){data, size}, false) && index_names(file, path)))
        return file;
    hone_safetensors_close(file);
    return NULL;
}

void hone_safetensors_close(hone_safetensors *file)
{
    if (!file) return;
    hone_ctx *ctx = file->ctx;
    for (size_t i = 0; i < file->shard_count; i++)
        if (file->shards[i].mapped) hone__map_close(&file->shards[i].map);
    hone__free(ctx, file->shards);
    hone__free(ctx, file->tensors);
    hone__free(ctx, file->names);
    hone__free(ctx, file->metadata);
    hone__arena_free(&file->arena);
    hone__free(ctx, file);
    hone_ctx_release(ctx);
}

/* ---- looking around ---- */

int64_t hone_safetensors_count(const hone_safetensors *file) { return file ? (int64_t)file->count : 0; }

const hone_tensor_info *hone_safetensors_at(const hone_safetensors *file, int64_t index)
{
    return file && index >= 0 && index < (int64_t)file->count ? &file->tensors[index] : NULL;
}

const hone_tensor_info *hone_safetensors_find(const hone_safetensors *file, const char *name)
{
    return file && name ? hone_safetensors_at(file, hone__names_find(file->names, (int64_t)file->count, name))
                        : NULL;
}

int64_t hone_safetensors_metadata_count(const hone_safetensors *file)
{
    return file ? (int64_t)file->metadata_count : 0;
}

bool hone_safetensors_metadata_at(const hone_safetensors *file, int64_t index, const char **key,
                                  const char **value)
{
    if (index < 0 || index >= hone_safetensors_metadata_count(file)) return false;
    *key = file->metadata[index].key;
    *value = file->metadata[index].value;
    return true;
}

const char *hone_safetensors_metadata(const hone_safetensors *file, const char *key)
{
    for (int64_t i = 0; key && i < hone_safetensors_metadata_count(file); i++)
        if (!strcmp(file->metadata[i].key, key)) return file->metadata[i].value;
    return NULL;
}

void hone__safetensors_release(const hone_safetensors *file, const hone_tensor_info *info)
{
    for (size_t i = 0; i < file->shard_count; i++)
        if (file->shards[i].mapped && is_inside(&file->shards[i], info))
            hone__map_release(&file->shards[i].map, info->offset, info->bytes);
}
