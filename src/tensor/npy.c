/* NumPy's .npy: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#include "base/os.h"
#include "tensor/tensor.h"

#include <stdio.h>

static const char magic[] = "\x93NUMPY";
enum { MAGIC = 6, PREFIX = 10 }; /* the magic, two bytes of version, two of the header's length */

static const char *npy_name(hone_dtype dtype) { return hone__dtypes[dtype].npy; }

/* What a tensor's elements are saved as. */
static hone_dtype saved_dtype(const hone_tensor *tensor) { return npy_name(tensor->dtype)[0] ? tensor->dtype : HONE_F32; }

enum { MOST_HEAD = 512 };
/* All that stands before the elements; its size. */
static size_t write_head(const hone_tensor *tensor, uint8_t head[MOST_HEAD])
{
    char shape[HONE__SHAPE_TEXT * 2] = "", *header = (char *)head + PREFIX;
    size_t n = 0;
    for (int i = 0; i < tensor->shape.rank; i++)
        n += (size_t)snprintf(shape + n, sizeof shape - n, "%lld, ", (long long)tensor->shape.dim[i]);
    if (tensor->shape.rank > 1) shape[n - 2] = 0; /* "(3,)" but "(3, 4)" */
    int length = snprintf(header, MOST_HEAD - PREFIX - 64, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                          npy_name(saved_dtype(tensor)), shape);
    /* The data begin at a multiple of 64: spaces, then a newline. */
    size_t padded = (PREFIX + (size_t)length + 1 + 63) / 64 * 64 - PREFIX;
    memset(header + length, ' ', padded - (size_t)length);
    header[padded - 1] = '\n';
    memcpy(head, magic, MAGIC);
    head[6] = 1, head[7] = 0;
    head[8] = (uint8_t)(padded & 255), head[9] = (uint8_t)(padded >> 8);
    return PREFIX + padded;
}

char *hone__npy_bytes(hone_ctx *ctx, const hone_tensor *tensor, size_t *size)
{
    uint8_t head[MOST_HEAD];
    size_t before = write_head(tensor, head);
    hone_dtype dtype = saved_dtype(tensor);
    int64_t count = hone_shape_count(tensor->shape);
    *size = before + hone__dtype_bytes(dtype, count);
    char *bytes = hone__alloc(ctx, *size);
    if (!bytes) return NULL;
    memcpy(bytes, head, before);
    hone_status status = hone_tensor_read(tensor, 0, count, dtype, bytes + before);
    if (status == HONE_OK) return bytes;
    if (tensor->ctx != ctx) hone__fail_run(ctx, status, "%s", hone_error(tensor->ctx));
    hone__free(ctx, bytes);
    return NULL;
}

hone_status hone_npy_save(const hone_tensor *tensor, const char *path)
{
    if (!tensor) return HONE_INVALID;
    hone_ctx *ctx = tensor->ctx;
    uint8_t head[MOST_HEAD];
    size_t before = write_head(tensor, head);
    hone_dtype dtype = saved_dtype(tensor);
    hone__file file;
    hone_status status = hone__file_create(ctx, &file, path);
    if (status != HONE_OK) return status;
    hone__file_write(&file, head, before);
    int64_t count = hone_shape_count(tensor->shape), step = 1024;
    for (int64_t i = 0; i < count && status == HONE_OK; i += step) {
        double values[1024]; /* room for any type */
        int64_t part = HONE_MIN(step, count - i);
        status = hone_tensor_read(tensor, i, part, dtype, values);
        hone__file_write(&file, values, hone__dtype_bytes(dtype, part));
    }
    if (status == HONE_OK) return hone__file_commit(&file);
    hone__file_abandon(&file);
    return status;
}

/* The header is a Python dictionary literal of three known keys. */
typedef struct parser {
    const char *at, *end;
} parser;

static void skip_spaces(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r')) p->at++;
}

static bool take(parser *p, const char *token)
{
    size_t n = strlen(token);
    skip_spaces(p);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, token, n) != 0) return false;
    p->at += n;
    return true;
}

static bool take_string(parser *p, char *text, size_t size)
{
    skip_spaces(p);
    if (p->at == p->end || (*p->at != '\'' && *p->at != '"')) return false;
    char quote = *p->at++;
    size_t n = 0;
    for (; p->at < p->end && *p->at != quote; p->at++) {
        if (*p->at == '\\' || n + 1 >= size) return false;
        text[n++] = *p->at;
    }
    if (p->at == p->end) return false;
    p->at++;
    text[n] = 0;
    return true;
}

static bool take_shape(parser *p, hone_shape *shape)
{
    *shape = HONE_SCALAR;
    if (!take(p, "(")) return false;
    while (!take(p, ")")) {
        if (shape->rank == HONE_MAX_RANK) return false;
        int64_t value = 0;
        bool digits = false;
        skip_spaces(p);
        for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++, digits = true)
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, *p->at - '0', &value))
                return false;
        if (!digits) return false;
        shape->dim[shape->rank++] = value;
        if (!take(p, ",")) {
            if (!take(p, ")")) return false;
            break;
        }
    }
    return true;
}

static bool parse_header(parser *p, char descr[16], bool *fortran, hone_shape *shape)
{
    enum { DESCR = 1, FORTRAN = 2, SHAPE = 4 };
    int seen = 0;
    if (!take(p, "{")) return false;
    while (!take(p, "}")) {
        char key[16];
        if (!take_string(p, key, sizeof key) || !take(p, ":")) return false;
        int which = !strcmp(key, "descr")           ? DESCR
                    : !strcmp(key, "fortran_order") ? FORTRAN
                    : !strcmp(key, "shape")         ? SHAPE
                                                    : 0;
        if (!which || seen & which) return false;
        seen |= which;
        if (which == DESCR && !take_string(p, descr, 16)) return false;
        if (which == SHAPE && !take_shape(p, shape)) return false;
        if (which == FORTRAN) {
            *fortran = take(p, "True");
            if (!*fortran && !take(p, "False")) return false;
        }
        if (!take(p, ",")) {
            if (!take(p, "}")) return false;
            break;
        }
    }
    skip_spaces(p);
    return p->at == p->end && seen == (DESCR | FORTRAN | SHAPE);
}

static bool is_bool(const char *descr) { return !strcmp(descr, "|b1"); }

static bool dtype_of(const char *descr, hone_dtype *dtype)
{
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (descr[0] && !strcmp(descr, npy_name((hone_dtype)i))) return *dtype = (hone_dtype)i, true;
    return *dtype = HONE_U8, is_bool(descr);
}

hone_tensor *hone__npy_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size)
{
    if (size < PREFIX || memcmp(data, magic, MAGIC) != 0)
        return hone__fail(ctx, HONE_FORMAT, "%s: is not a .npy file", path), NULL;
    int version = data[6];
    size_t begin = version == 1 ? 10 : 12, length = (size_t)data[8] | (size_t)data[9] << 8;
    if ((version != 1 && version != 2) || data[7] != 0)
        return hone__fail(ctx, HONE_UNSUPPORTED, "%s: .npy version %d.%d; 1.0 and 2.0 are read", path,
                          version, data[7]),
               NULL;
    if (version == 2 && size >= begin) length |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    if (size < begin || length > size - begin)
        return hone__fail(ctx, HONE_FORMAT, "%s: the header of %zu bytes is cut off, the file has %zu", path,
                          length, size),
               NULL;
    parser p = {(const char *)data + begin, (const char *)data + begin + length};
    char descr[16] = "";
    bool fortran = false;
    hone_shape shape = HONE_SCALAR;
    hone_dtype dtype;
    int64_t count;
    size_t bytes, left = size - begin - length;
    if (!parse_header(&p, descr, &fortran, &shape))
        return hone__fail(ctx, HONE_FORMAT, "%s: the header is damaged at byte %zu", path,
                          (size_t)(p.at - (const char *)data)),
               NULL;
    if (!dtype_of(descr, &dtype))
        return hone__fail(ctx, HONE_DTYPE,
                          "%s: elements of type '%.15s' are not supported; save them as float32 "
                          "or int64, for instance",
                          path, descr),
               NULL;
    if (fortran && shape.rank > 1)
        return hone__fail(ctx, HONE_UNSUPPORTED, "%s: is in Fortran order; save numpy.ascontiguousarray(x)",
                          path),
               NULL;
    if (!hone__tensor_size(dtype, shape, &count, &bytes) || bytes != left)
        return hone__fail(ctx, HONE_FORMAT,
                          "%s: the data of shape %s as %s do not fit the %zu bytes after the header", path,
                          HONE__SHAPE_STR(shape), hone_dtype_name(dtype), left),
               NULL;
    hone_tensor *tensor = hone_tensor_new(ctx, dtype, shape);
    if (tensor && bytes) memcpy(tensor->data, data + begin + length, bytes);
    for (size_t i = 0; tensor && is_bool(descr) && i < bytes; i++) ((uint8_t *)tensor->data)[i] = ((uint8_t *)tensor->data)[i] != 0;
    return tensor;
}

hone_tensor *hone_npy_load(hone_ctx *ctx, const char *path)
{
    if (!hone__ok(ctx)) return NULL;
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    hone_tensor *tensor = hone__npy_read(ctx, path, map.data, map.size);
    hone__map_close(&map);
    return tensor;
}
