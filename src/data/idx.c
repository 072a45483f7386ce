/* IDX, the format of MNIST and its kin (http://yann.lecun.com/exdb/mnist/, "The IDX file format"), plain or compressed by
   gzip: two zero bytes, a type, a rank, the dimensions in 4 bytes each, the elements; all big endian. */
#include "data/data.h"
#include "base/library.h"
#include "base/os.h"

typedef struct idx_type {
    uint8_t code;
    hone_dtype dtype; /* of the tensor; narrow integers become i32 */
    size_t size;      /* bytes of an element in the file */
} idx_type;
static const idx_type types[] = {{0x08, HONE_U8, 1},  {0x09, HONE_I32, 1}, {0x0B, HONE_I32, 2},
                                 {0x0C, HONE_I32, 4}, {0x0D, HONE_F32, 4}, {0x0E, HONE_F64, 8}};

/* Bytes that are taken one stretch after the other. */
typedef struct source {
    hone_ctx *ctx;
    const char *path;
    const uint8_t *at;
    size_t left;
    struct inflater *inflater; /* NULL: plain */
} source;

#if HONE_HAVE_ZLIB

#include <zlib.h>

#define FUNCTIONS(X) X(inflateInit2_) X(inflate) X(inflateEnd) X(inflateReset)
HONE__LIBRARY(zlib, FUNCTIONS);

struct inflater {
    struct zlib z;
    z_stream stream;
};

static voidpf zlib_alloc(voidpf ctx, uInt count, uInt size) { return hone__calloc(ctx, count, size); }
static void zlib_free(voidpf ctx, voidpf memory) { hone__free(ctx, memory); }

static bool begin_inflate(source *s)
{
    static const char *const files[] = {"libz.so.1", NULL};
    struct inflater *f = hone__calloc(s->ctx, 1, sizeof *f);
    if (!f) return false;
    if (hone__library_open(files, zlib_names, HONE_ARRAY_LEN(zlib_names), &f->z)) {
        hone__fail(s->ctx, HONE_UNSUPPORTED, "%s: is compressed, and zlib is not there; install zlib1g", s->path);
        hone__free(s->ctx, f);
        return false;
    }
    f->stream = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free, .opaque = s->ctx};
    if (f->z.inflateInit2_(&f->stream, 15 + 16, ZLIB_VERSION, (int)sizeof f->stream) != Z_OK) { /* + 16: gzip */
        hone__fail(s->ctx, HONE_MEMORY, "memory ran out for zlib");
        hone__free(s->ctx, f);
        return false;
    }
    s->inflater = f;
    return true;
}

static void end_inflate(source *s)
{
    if (s->inflater) s->inflater->z.inflateEnd(&s->inflater->stream);
    hone__free(s->ctx, s->inflater);
}

/* As many bytes as there are, up to `size`. */
static size_t inflate_some(source *s, uint8_t *to, size_t size)
{
    enum { PIECE = 1 << 30 }; /* zlib counts in unsigned int */
    z_stream *z = &s->inflater->stream;
    size_t done = 0;
    while (done < size) {
        size_t in = HONE_MIN(s->left, (size_t)PIECE), out = HONE_MIN(size - done, (size_t)PIECE);
        z->next_in = (Bytef *)(uintptr_t)s->at, z->avail_in = (uInt)in;
        z->next_out = to + done, z->avail_out = (uInt)out;
        int result = s->inflater->z.inflate(z, Z_NO_FLUSH);
        size_t read = in - z->avail_in, written = out - z->avail_out;
        s->at += read, s->left -= read;
        done += written;
        if (result == Z_STREAM_END && s->left && s->inflater->z.inflateReset(z) == Z_OK) continue; /* members may follow */
        if (result != Z_OK || (!read && !written)) break;
    }
    return done;
}

#else

static bool begin_inflate(source *s)
{
    hone__fail(s->ctx, HONE_UNSUPPORTED, "%s: is compressed, and this build of Hone was made without zlib (zlib1g-dev)", s->path);
    return false;
}
static void end_inflate(source *s) { (void)s; }
static size_t inflate_some(source *s, uint8_t *to, size_t size) { return (void)s, (void)to, (void)size, 0; }

#endif

static size_t take(source *s, uint8_t *to, size_t size)
{
    if (s->inflater) return inflate_some(s, to, size);
    size_t n = HONE_MIN(size, s->left);
    if (n) memcpy(to, s->at, n);
    s->at += n, s->left -= n;
    return n;
}

static uint32_t big(const uint8_t *b, size_t size)
{
    uint32_t v = 0;
    for (size_t i = 0; i < size; i++) v = v << 8 | b[i];
    return v;
}

/* `raw` holds count elements as they are in the file. */
static void to_native(const idx_type *type, const uint8_t *raw, void *to, size_t count)
{
    for (size_t i = 0; i < count; i++, raw += type->size) {
        uint32_t high = big(raw, HONE_MIN(type->size, 4));
        uint64_t wide = type->size == 8 ? (uint64_t)high << 32 | big(raw + 4, 4) : 0;
        if (type->code == 0x09)
            ((int32_t *)to)[i] = (int8_t)high;
        else if (type->code == 0x0B)
            ((int32_t *)to)[i] = (int16_t)high;
        else if (type->size == 8)
            memcpy((char *)to + 8 * i, &wide, 8);
        else
            memcpy((char *)to + 4 * i, &high, 4);
    }
}

static hone_tensor *read_elements(source *s, const idx_type *type, hone_shape shape)
{
    hone_ctx *ctx = s->ctx;
    int64_t count;
    size_t bytes;
    /* What is claimed must fit what is there, before memory is asked for: gzip makes at most 1032 bytes of one. */
    size_t most = s->inflater ? (s->left < SIZE_MAX / 2048 ? (s->left + 64) * 1032 : SIZE_MAX) : s->left;
    if (!hone__tensor_size(type->dtype, shape, &count, &bytes) || (size_t)count > most / type->size)
        return hone__fail(ctx, HONE_FORMAT, "%s: elements of shape %s do not fit into the file", s->path, HONE__SHAPE_STR(shape)),
               NULL;
    hone_tensor *t = hone_tensor_new(ctx, type->dtype, shape);
    size_t raw_size = (size_t)count * type->size;
    bool direct = type->dtype == HONE_U8;
    uint8_t *raw = t && !direct ? hone__alloc(ctx, raw_size) : NULL, end;
    bool ok = t && (direct || raw);
    if (ok) {
        size_t there = take(s, direct ? t->data : raw, raw_size);
        bool more = there == raw_size && take(s, &end, 1) != 0;
        ok = there == raw_size && !more;
        if (!ok)
            hone__fail(ctx, HONE_FORMAT, "%s: %s elements of shape %s", s->path, more ? "has more bytes than" : "is cut off within",
                       HONE__SHAPE_STR(shape));
        else if (!direct)
            to_native(type, raw, t->data, (size_t)count);
    }
    hone__free(ctx, raw);
    if (ok) return t;
    hone_tensor_free(t);
    return NULL;
}

static hone_tensor *read_idx(source *s)
{
    uint8_t head[4], dim[4];
    if (take(s, head, 4) != 4 || head[0] || head[1])
        return hone__fail(s->ctx, HONE_FORMAT, "%s: is not an IDX file", s->path), NULL;
    const idx_type *type = NULL;
    for (size_t i = 0; i < HONE_ARRAY_LEN(types); i++)
        if (types[i].code == head[2]) type = &types[i];
    if (!type || head[3] > HONE_MAX_RANK)
        return hone__fail(s->ctx, HONE_FORMAT, "%s: IDX type 0x%02x of rank %d; types 0x08 to 0x0e and at most %d dimensions are read",
                          s->path, head[2], head[3], HONE_MAX_RANK),
               NULL;
    hone_shape shape = {.rank = head[3]};
    for (int i = 0; i < shape.rank; i++) {
        if (take(s, dim, 4) != 4) return hone__fail(s->ctx, HONE_FORMAT, "%s: is cut off within its header", s->path), NULL;
        shape.dim[i] = big(dim, 4);
    }
    return read_elements(s, type, shape);
}

hone_tensor *hone__idx_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size)
{
    if (!hone__ok(ctx)) return NULL;
    source s = {.ctx = ctx, .path = path, .at = data, .left = size};
    bool gzip = size >= 2 && data[0] == 0x1F && data[1] == 0x8B;
    hone_tensor *t = !gzip || begin_inflate(&s) ? read_idx(&s) : NULL;
    end_inflate(&s);
    return t;
}

hone_tensor *hone_idx_load(hone_ctx *ctx, const char *path)
{
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    hone_tensor *t = hone__idx_read(ctx, path, map.data, map.size);
    hone__map_close(&map);
    return t;
}
