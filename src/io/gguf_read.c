/* GGUF, read in place: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#include "io/io.h"

#include <stdarg.h>

/* A million keys or tensors are far beyond any model and still cost little memory; both are read from the
   file, so they must be bounded by more than its size. */
enum { MAX_ENTRIES = 1 << 20, MAX_NAME = 65535 };

static const struct {
    const char *name;
    uint8_t size; /* bytes of one value; 0: it varies */
} types[] = {
    [HONE_GGUF_U8] = {"u8", 1},       [HONE_GGUF_I8] = {"i8", 1},     [HONE_GGUF_U16] = {"u16", 2},
    [HONE_GGUF_I16] = {"i16", 2},     [HONE_GGUF_U32] = {"u32", 4},   [HONE_GGUF_I32] = {"i32", 4},
    [HONE_GGUF_F32] = {"f32", 4},     [HONE_GGUF_BOOL] = {"bool", 1}, [HONE_GGUF_STRING] = {"string", 0},
    [HONE_GGUF_ARRAY] = {"array", 0}, [HONE_GGUF_U64] = {"u64", 8},   [HONE_GGUF_I64] = {"i64", 8},
    [HONE_GGUF_F64] = {"f64", 8},
};

typedef struct gguf_key {
    hone_gguf_key_info info;
    const uint8_t *value; /* in the mapping: the scalar, the string's bytes, or the array's first element */
    size_t length;        /* of a string */
    const char *text;     /* of a string: the copy with a NUL behind it */
    uint64_t *strings;    /* of an array of strings: where in the file each begins, at its length */
    size_t raw, raw_size; /* the whole value in the file, for copying */
} gguf_key;

struct hone_gguf {
    hone_ctx *ctx;
    hone__map map;
    bool mapped; /* false: the bytes are somebody else's */
    char *path;
    hone__arena arena; /* names, texts */
    gguf_key *keys;
    size_t key_count, key_capacity;
    hone__name *key_names;
    hone_tensor_info *tensors;
    size_t tensor_count, tensor_capacity;
    hone__name *tensor_names;
    size_t alignment;
    size_t at; /* while parsing: the next byte */
};

const char *hone_gguf_type_name(hone_gguf_type type)
{
    return (unsigned)type < HONE_ARRAY_LEN(types) ? types[type].name : "?";
}

/* ---- parsing ---- */

static bool fail(hone_gguf *g, hone_status status, const char *format, ...) HONE_PRINTF(3, 4);
static bool fail(hone_gguf *g, hone_status status, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hone__fail(g->ctx, status, "%s: %s", g->path, text);
    return false;
}

/* The next `size` bytes, or NULL. `what` is for the message. */
static const uint8_t *take(hone_gguf *g, uint64_t size, const char *what)
{
    size_t left = g->map.size - g->at;
    if (size > left) {
        fail(g, HONE_FORMAT, "%s at byte %zu needs %llu bytes, the file has %zu left", what, g->at,
             (unsigned long long)size, left);
        return NULL;
    }
    const uint8_t *bytes = g->map.data + g->at;
    g->at += (size_t)size;
    return bytes;
}

static uint64_t little_endian(const uint8_t *bytes, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static bool take_u32(hone_gguf *g, uint32_t *value, const char *what)
{
    const uint8_t *bytes = take(g, 4, what);
    if (bytes) *value = (uint32_t)little_endian(bytes, 4);
    return bytes != NULL;
}

static bool take_u64(hone_gguf *g, uint64_t *value, const char *what)
{
    const uint8_t *bytes = take(g, 8, what);
    if (bytes) *value = little_endian(bytes, 8);
    return bytes != NULL;
}

static const uint8_t *take_string(hone_gguf *g, size_t *length, const char *what)
{
    uint64_t n;
    if (!take_u64(g, &n, what)) return NULL;
    const uint8_t *bytes = take(g, n, what);
    if (bytes) *length = (size_t)n;
    return bytes;
}

static char *terminated(hone_gguf *g, const uint8_t *bytes, size_t length)
{
    char *text = hone__arena_alloc(&g->arena, length + 1);
    if (text) memcpy(text, bytes, length);
    return text;
}

/* The name of a key or a tensor: not empty, no NUL inside, not absurdly long. */
static const char *take_name(hone_gguf *g, const char *what)
{
    size_t begin = g->at, length;
    const uint8_t *bytes = take_string(g, &length, what);
    if (!bytes) return NULL;
    if (length == 0 || length > MAX_NAME || memchr(bytes, 0, length)) {
        fail(g, HONE_FORMAT, "%s at byte %zu is %s", what, begin,
             length == 0         ? "empty"
             : length > MAX_NAME ? "too long"
                                 : "broken by a NUL");
        return NULL;
    }
    return terminated(g, bytes, length);
}

static bool take_type(hone_gguf *g, const char *key, hone_gguf_type *type)
{
    uint32_t number;
    if (!take_u32(g, &number, "a value's type")) return false;
    if (number >= HONE_ARRAY_LEN(types))
        return fail(g, HONE_FORMAT, "key '%.200s': type %u is unknown", key, number);
    *type = (hone_gguf_type)number;
    return true;
}

/* The places of count strings; a string takes at least the 8 bytes of its length, which bounds the
   allocation. */
static bool take_strings(hone_gguf *g, gguf_key *key, uint64_t count)
{
    if (count > (g->map.size - g->at) / 8)
        return fail(g, HONE_FORMAT, "key '%.200s': %llu strings do not fit the %zu bytes that are left",
                    key->info.name, (unsigned long long)count, g->map.size - g->at);
    key->strings = hone__alloc(g->ctx, (size_t)count * sizeof *key->strings);
    if (!key->strings) return false;
    for (uint64_t i = 0; i < count; i++) {
        size_t length;
        key->strings[i] = g->at;
        if (!take_string(g, &length, "a string in an array")) return false;
    }
    return true;
}

static bool take_array(hone_gguf *g, gguf_key *key)
{
    uint64_t count, bytes;
    if (!take_type(g, key->info.name, &key->info.item) || !take_u64(g, &count, "an array's length"))
        return false;
    if (key->info.item == HONE_GGUF_ARRAY)
        return fail(g, HONE_UNSUPPORTED, "key '%.200s': arrays of arrays are not supported", key->info.name);
    key->value = g->map.data + g->at;
    if (count > INT64_MAX || __builtin_mul_overflow(count, (uint64_t)types[key->info.item].size, &bytes))
        return fail(g, HONE_FORMAT, "key '%.200s': an array of %llu elements is impossible", key->info.name,
                    (unsigned long long)count);
    key->info.count = (int64_t)count;
    if (key->info.item == HONE_GGUF_STRING) return take_strings(g, key, count);
    return take(g, bytes, "an array") != NULL;
}

static bool take_key(hone_gguf *g)
{
    gguf_key empty = {.info = {.count = 1}}, *key;
    if (!hone__grow(g->ctx, (void **)&g->keys, &g->key_capacity, g->key_count + 1, sizeof *g->keys))
        return false;
    key = &g->keys[g->key_count++];
    *key = empty;
    if (!(key->info.name = take_name(g, "a key")) || !take_type(g, key->info.name, &key->info.type))
        return false;
    key->info.item = key->info.type;
    key->raw = g->at;
    bool ok;
    if (key->info.type == HONE_GGUF_ARRAY) {
        ok = take_array(g, key);
    } else if (key->info.type == HONE_GGUF_STRING) {
        key->value = take_string(g, &key->length, "a text");
        ok = key->value && (key->text = terminated(g, key->value, key->length));
    } else {
        ok = (key->value = take(g, types[key->info.type].size, "a value")) != NULL;
    }
    key->raw_size = g->at - key->raw;
    return ok;
}

static bool dtype_of(uint32_t number, hone_dtype *dtype)
{
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (hone__dtypes[i].gguf >= 0 && (uint32_t)hone__dtypes[i].gguf == number)
            return *dtype = (hone_dtype)i, true;
    return false;
}

/* For the message: ggml's types that Hone has not (enum ggml_type in ggml.h). */
static const char *ggml_type_name(uint32_t number)
{
    static const char *const names[] = {
        [9] = "Q8_1",    [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S",
        [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S",   [23] = "IQ4_XS", [24] = "I8",      [25] = "I16",
        [29] = "IQ1_M",  [34] = "TQ1_0", [35] = "TQ2_0",   [39] = "MXFP4",
    };
    return number < HONE_ARRAY_LEN(names) && names[number] ? names[number] : "unknown";
}

/* Reads one tensor's entry; offset is still relative to the data section. */
static bool take_tensor(hone_gguf *g)
{
    hone_tensor_info info = {0};
    uint32_t rank, type;
    uint64_t dims[HONE_MAX_RANK], offset;
    int64_t count;
    if (!(info.name = take_name(g, "a tensor's name")) || !take_u32(g, &rank, "a tensor's rank"))
        return false;
    if (rank > HONE_MAX_RANK)
        return fail(g, HONE_FORMAT, "tensor '%.200s': %u dimensions, at most %d are possible", info.name,
                    rank, HONE_MAX_RANK);
    for (uint32_t i = 0; i < rank; i++) {
        if (!take_u64(g, &dims[i], "a tensor's shape")) return false;
        if (dims[i] > INT64_MAX)
            return fail(g, HONE_FORMAT, "tensor '%.200s': dimension %u is %llu", info.name, i,
                        (unsigned long long)dims[i]);
    }
    if (!take_u32(g, &type, "a tensor's type") || !take_u64(g, &offset, "a tensor's offset")) return false;
    if (!dtype_of(type, &info.dtype))
        return fail(g, HONE_UNSUPPORTED, "tensor '%.200s': type %u (%s) is not supported", info.name, type,
                    ggml_type_name(type));
    info.shape.rank = (int)rank;
    for (uint32_t i = 0; i < rank; i++) info.shape.dim[i] = (int64_t)dims[rank - 1 - i];
    if (!hone__tensor_size(info.dtype, info.shape, &count, &info.bytes))
        return fail(g, HONE_FORMAT, "tensor '%.200s': shape %s is impossible for %s", info.name,
                    HONE__SHAPE_STR(info.shape), hone_dtype_name(info.dtype));
    if (offset > SIZE_MAX) return fail(g, HONE_FORMAT, "tensor '%.200s': offset out of range", info.name);
    info.offset = (size_t)offset;
    if (!hone__grow(g->ctx, (void **)&g->tensors, &g->tensor_capacity, g->tensor_count + 1,
                    sizeof *g->tensors))
        return false;
    g->tensors[g->tensor_count++] = info;
    return true;
}

static const gguf_key *find_key(const hone_gguf *g, const char *key)
{
    if (!g || !key) return NULL;
    int64_t index = hone__names_find(g->key_names, (int64_t)g->key_count, key);
    return index < 0 ? NULL : &g->keys[index];
}

static bool read_alignment(hone_gguf *g)
{
    g->alignment = HONE__GGUF_ALIGNMENT;
    const gguf_key *key = find_key(g, "general.alignment");
    if (!key) return true;
    if (key->info.type != HONE_GGUF_U32)
        return fail(g, HONE_FORMAT, "general.alignment is of type %s instead of u32",
                    types[key->info.type].name);
    g->alignment = (size_t)little_endian(key->value, 4);
    if (!hone__gguf_alignment_ok(g->alignment))
        return fail(g, HONE_FORMAT, "general.alignment is %zu, which is no power of two from %d to %d",
                    g->alignment, HONE__GGUF_LEAST_ALIGNMENT, HONE__GGUF_MOST_ALIGNMENT);
    return true;
}

/* Turns offsets into places in the file, and makes sure that each tensor has its own bytes there. */
static bool place_tensors(hone_gguf *g)
{
    size_t over = g->at % g->alignment, base = g->at;
    if (over && !hone__add_size(base, g->alignment - over, &base))
        return fail(g, HONE_FORMAT, "the data section begins nowhere");
    const hone_tensor_info **order = hone__calloc(g->ctx, g->tensor_count, sizeof *order);
    if (!order) return false;
    size_t placed = 0;
    bool ok = true;
    for (size_t i = 0; i < g->tensor_count && ok; i++) {
        hone_tensor_info *info = &g->tensors[i];
        info->data = g->map.data;
        if (info->offset % g->alignment != 0)
            ok = fail(g, HONE_FORMAT, "tensor '%.200s': offset %zu is not aligned to %zu", info->name,
                      info->offset, g->alignment);
        else if (!hone__add_size(info->offset, base, &info->offset))
            ok = fail(g, HONE_FORMAT, "tensor '%.200s': offset out of range", info->name);
        else if (info->bytes && (info->offset > g->map.size || info->bytes > g->map.size - info->offset))
            ok = fail(g, HONE_FORMAT, "tensor '%.200s': data at byte %zu need %zu bytes, the file has %zu",
                      info->name, info->offset, info->bytes, g->map.size);
        else if (info->bytes) {
            info->data = g->map.data + info->offset;
            order[placed++] = info;
        }
    }
    if (ok) hone__infos_sort(order, (int64_t)placed);
    for (size_t i = 1; i < placed && ok; i++)
        if (order[i]->offset - order[i - 1]->offset < order[i - 1]->bytes)
            ok = fail(g, HONE_FORMAT, "tensors '%.200s' and '%.200s' share bytes of the file",
                      order[i - 1]->name, order[i]->name);
    hone__free(g->ctx, order);
    return ok;
}

static bool parse(hone_gguf *g)
{
    uint32_t version;
    uint64_t tensor_count, key_count;
    const uint8_t *magic = g->map.size < 4 ? NULL : take(g, 4, "the magic");
    if (!magic || memcmp(magic, "GGUF", 4) != 0) return fail(g, HONE_FORMAT, "is not a GGUF file");
    if (!take_u32(g, &version, "the version")) return false;
    if (version != 2 && version != 3)
        return fail(g, HONE_UNSUPPORTED, "GGUF version %u%s; versions 2 and 3, little endian, are read",
                    version, version && !(version & 0xFFFF) ? " (a big-endian file)" : "");
    if (!take_u64(g, &tensor_count, "the number of tensors") ||
        !take_u64(g, &key_count, "the number of keys"))
        return false;
    if (tensor_count > MAX_ENTRIES || key_count > MAX_ENTRIES)
        return fail(g, HONE_FORMAT, "%llu tensors and %llu keys are more than the %d that are read",
                    (unsigned long long)tensor_count, (unsigned long long)key_count, MAX_ENTRIES);

    for (uint64_t i = 0; i < key_count; i++)
        if (!take_key(g)) return false;
    if (!(g->key_names = hone__calloc(g->ctx, g->key_count, sizeof *g->key_names))) return false;
    for (size_t i = 0; i < g->key_count; i++)
        g->key_names[i] = (hone__name){g->keys[i].info.name, (int64_t)i};
    const char *twice = hone__names_sort(g->key_names, (int64_t)g->key_count);
    if (twice) return fail(g, HONE_FORMAT, "key '%.200s' is there twice", twice);
    if (!read_alignment(g)) return false;

    for (uint64_t i = 0; i < tensor_count; i++)
        if (!take_tensor(g)) return false;
    if (!(g->tensor_names = hone__calloc(g->ctx, g->tensor_count, sizeof *g->tensor_names))) return false;
    for (size_t i = 0; i < g->tensor_count; i++)
        g->tensor_names[i] = (hone__name){g->tensors[i].name, (int64_t)i};
    twice = hone__names_sort(g->tensor_names, (int64_t)g->tensor_count);
    if (twice) return fail(g, HONE_FORMAT, "tensor '%.200s' is there twice", twice);
    return place_tensors(g);
}

static hone_gguf *open_map(hone_ctx *ctx, const char *path, hone__map map, bool mapped)
{
    hone_gguf *g = hone__calloc(ctx, 1, sizeof *g);
    if (!g) {
        if (mapped) hone__map_close(&map);
        return NULL;
    }
    g->ctx = hone_ctx_retain(ctx);
    g->map = map;
    g->mapped = mapped;
    hone__arena_init(&g->arena, ctx);
    if ((g->path = hone__strdup(ctx, path)) && parse(g)) return g;
    hone_gguf_close(g);
    return NULL;
}

hone_gguf *hone_gguf_open(hone_ctx *ctx, const char *path)
{
    if (!hone__ok(ctx)) return NULL;
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    return open_map(ctx, path, map, true);
}

hone_gguf *hone__gguf_open_memory(hone_ctx *ctx, const char *path, const void *data, size_t size)
{
    return hone__ok(ctx) ? open_map(ctx, path, (hone__map){data, size}, false) : NULL;
}

void hone_gguf_close(hone_gguf *g)
{
    if (!g) return;
    hone_ctx *ctx = g->ctx;
    for (size_t i = 0; i < g->key_count; i++) hone__free(ctx, g->keys[i].strings);
    hone__free(ctx, g->keys);
    hone__free(ctx, g->key_names);
    hone__free(ctx, g->tensors);
    hone__free(ctx, g->tensor_names);
    hone__free(ctx, g->path);
    hone__arena_free(&g->arena);
    if (g->mapped) hone__map_close(&g->map);
    hone__free(ctx, g);
    hone_ctx_release(ctx);
}

/* ---- numbers ---- */

/* A number of any type: negative integers in i, others in u, floating ones in f. */
typedef struct number {
    enum { NO_NUMBER, UNSIGNED, NEGATIVE, FLOATING, TRUTH } kind;
    uint64_t u;
    int64_t i;
    double f;
} number;

static number number_of(hone_gguf_type type, const uint8_t *bytes)
{
    int size = types[type].size;
    number n = {.kind = UNSIGNED, .u = size ? little_endian(bytes, size) : 0};
    float f;
    switch (type) {
    case HONE_GGUF_I8:
    case HONE_GGUF_I16:
    case HONE_GGUF_I32:
    case HONE_GGUF_I64:
        n.i = (int64_t)(n.u << (64 - 8 * size)) >> (64 - 8 * size);
        if (n.i < 0) n.kind = NEGATIVE;
        break;
    case HONE_GGUF_F32:
        memcpy(&f, &(uint32_t){(uint32_t)n.u}, 4);
        n.kind = FLOATING;
        n.f = (double)f;
        break;
    case HONE_GGUF_F64:
        memcpy(&n.f, &n.u, 8);
        n.kind = FLOATING;
        break;
    case HONE_GGUF_BOOL:
        n.kind = TRUTH;
        break;
    case HONE_GGUF_STRING:
    case HONE_GGUF_ARRAY:
        n.kind = NO_NUMBER;
        break;
    default:
        break;
    }
    return n;
}

static bool as_u64(number n, uint64_t *value)
{
    if (n.kind == UNSIGNED) return *value = n.u, true;
    if (n.kind != FLOATING || !(n.f >= 0.0 && n.f < 0x1p64) || (double)(uint64_t)n.f != n.f) return false;
    return *value = (uint64_t)n.f, true;
}

static bool as_i64(number n, int64_t *value)
{
    if (n.kind == UNSIGNED && n.u <= INT64_MAX) return *value = (int64_t)n.u, true;
    if (n.kind == NEGATIVE) return *value = n.i, true;
    if (n.kind != FLOATING || !(n.f >= -0x1p63 && n.f < 0x1p63) || (double)(int64_t)n.f != n.f) return false;
    return *value = (int64_t)n.f, true;
}

static bool as_f64(number n, double *value)
{
    switch (n.kind) {
    case UNSIGNED:
        return *value = (double)n.u, true;
    case NEGATIVE:
        return *value = (double)n.i, true;
    case FLOATING:
        return *value = n.f, true;
    default:
        return false;
    }
}

static number scalar_at(const hone_gguf *g, const char *key)
{
    const gguf_key *k = find_key(g, key);
    return k ? number_of(k->info.type, k->value) : (number){0};
}

static const gguf_key *find_array(const hone_gguf *g, const char *key)
{
    const gguf_key *k = find_key(g, key);
    return k && k->info.type == HONE_GGUF_ARRAY ? k : NULL;
}

static number element_at(const hone_gguf *g, const char *key, int64_t index)
{
    const gguf_key *k = find_array(g, key);
    if (!k || index < 0 || index >= k->info.count) return (number){0};
    return number_of(k->info.item, k->value + (size_t)index * types[k->info.item].size);
}

bool hone_gguf_get_u64(const hone_gguf *g, const char *key, uint64_t *value)
{
    return as_u64(scalar_at(g, key), value);
}
bool hone_gguf_get_i64(const hone_gguf *g, const char *key, int64_t *value)
{
    return as_i64(scalar_at(g, key), value);
}
bool hone_gguf_get_f64(const hone_gguf *g, const char *key, double *value)
{
    return as_f64(scalar_at(g, key), value);
}

bool hone_gguf_get_bool(const hone_gguf *g, const char *key, bool *value)
{
    number n = scalar_at(g, key);
    if (n.kind != TRUTH) return false;
    *value = n.u != 0;
    return true;
}

const char *hone_gguf_get_string(const hone_gguf *g, const char *key, size_t *length)
{
    const gguf_key *k = find_key(g, key);
    if (!k || k->info.type != HONE_GGUF_STRING) return NULL;
    if (length) *length = k->length;
    return k->text;
}

int64_t hone_gguf_array_count(const hone_gguf *g, const char *key)
{
    const gguf_key *k = find_array(g, key);
    return k ? k->info.count : -1;
}

const char *hone_gguf_array_string(const hone_gguf *g, const char *key, int64_t index, size_t *length)
{
    const gguf_key *k = find_array(g, key);
    if (!k || k->info.item != HONE_GGUF_STRING || index < 0 || index >= k->info.count) return NULL;
    const uint8_t *string = g->map.data + k->strings[index];
    if (length) *length = (size_t)little_endian(string, 8);
    return (const char *)string + 8;
}

bool hone_gguf_array_f64(const hone_gguf *g, const char *key, int64_t index, double *value)
{
    return as_f64(element_at(g, key, index), value);
}

bool hone_gguf_array_i64(const hone_gguf *g, const char *key, int64_t index, int64_t *value)
{
    number n = element_at(g, key, index);
    if (n.kind == TRUTH) return *value = n.u != 0, true;
    return as_i64(n, value);
}

/* ---- looking around ---- */

int64_t hone_gguf_key_count(const hone_gguf *g) { return g ? (int64_t)g->key_count : 0; }

const hone_gguf_key_info *hone_gguf_key(const hone_gguf *g, int64_t index)
{
    return g && index >= 0 && index < (int64_t)g->key_count ? &g->keys[index].info : NULL;
}

int64_t hone_gguf_tensor_count(const hone_gguf *g) { return g ? (int64_t)g->tensor_count : 0; }

const hone_tensor_info *hone_gguf_tensor(const hone_gguf *g, int64_t index)
{
    return g && index >= 0 && index < (int64_t)g->tensor_count ? &g->tensors[index] : NULL;
}

const hone_tensor_info *hone_gguf_find(const hone_gguf *g, const char *name)
{
    return g && name ? hone_gguf_tensor(g, hone__names_find(g->tensor_names, (int64_t)g->tensor_count, name))
                     : NULL;
}

const void *hone__gguf_value(const hone_gguf *g, const char *key, hone_gguf_type *type, size_t *size)
{
    const gguf_key *k = find_key(g, key);
    if (!k) return NULL;
    *type = k->info.type;
    *size = k->raw_size;
    return g->map.data + k->raw;
}

void hone__gguf_release(const hone_gguf *g, const hone_tensor_info *info)
{
    if (g->mapped) hone__map_release(&g->map, info->offset, info->bytes);
}
