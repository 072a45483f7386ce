/* NumPy's .npz: a ZIP archive of .npy files, with libzip. */
#include "data/data.h"
#include "base/library.h"
#include "base/os.h"

#include <stdio.h>

typedef struct entry {
    char *name;
    hone_tensor *tensor;
} entry;

struct hone_npz {
    hone_ctx *ctx;
    entry *entries;
    size_t n, capacity;
};

void hone_npz_free(hone_npz *npz)
{
    if (!npz) return;
    hone_ctx *ctx = npz->ctx;
    for (size_t i = 0; i < npz->n; i++) {
        hone__free(ctx, npz->entries[i].name);
        hone_tensor_free(npz->entries[i].tensor);
    }
    hone__free(ctx, npz->entries);
    hone__free(ctx, npz);
    hone_ctx_release(ctx);
}

size_t hone_npz_count(const hone_npz *npz) { return npz ? npz->n : 0; }
const char *hone_npz_name(const hone_npz *npz, size_t i) { return i < hone_npz_count(npz) ? npz->entries[i].name : NULL; }
hone_tensor *hone_npz_get(const hone_npz *npz, const char *name)
{
    for (size_t i = 0; npz && name && i < npz->n; i++)
        if (!strcmp(npz->entries[i].name, name)) return npz->entries[i].tensor;
    return NULL;
}

#if HONE_HAVE_ZIP

#include <zip.h>

#define FUNCTIONS(X)                                                                                               \
    X(zip_source_buffer_create) X(zip_source_free) X(zip_open_from_source) X(zip_discard) X(zip_get_num_entries)   \
        X(zip_stat_index) X(zip_fopen_index) X(zip_fread) X(zip_fclose) X(zip_error_init) X(zip_error_fini)        \
            X(zip_error_strerror) X(zip_source_keep) X(zip_file_add) X(zip_set_file_compression)                   \
                X(zip_file_set_dostime) X(zip_close) X(zip_get_error) X(zip_error_code_zip) X(zip_source_open)     \
                    X(zip_source_read) X(zip_source_close) X(zip_source_stat)
HONE__LIBRARY(zip_library, FUNCTIONS);

enum {
    MAX_ENTRIES = 1 << 16,
    MAX_RATIO = 1032 /* deflate makes at most so many bytes of one (zlib's technical details) */
};

/* The bytes of an entry; NULL with an error. */
static char *unpack(hone_npz *npz, const struct zip_library *z, zip_t *zip, const char *path, const zip_stat_t *st)
{
    hone_ctx *ctx = npz->ctx;
    const char *wrong = NULL;
    if (st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE) wrong = "is compressed in a way NumPy does not use";
    if (st->encryption_method != ZIP_EM_NONE) wrong = "is encrypted";
    if (st->size > st->comp_size * MAX_RATIO || st->size > SIZE_MAX - 1) wrong = "claims a size that it cannot have";
    char *data = wrong ? NULL : hone__alloc(ctx, (size_t)st->size + 1);
    if (!wrong && !data) return NULL;
    zip_file_t *file = wrong ? NULL : z->zip_fopen_index(zip, st->index, 0);
    if (!wrong && !file) wrong = "cannot be opened";
    size_t done = 0;
    while (file && done < st->size) {
        zip_int64_t n = z->zip_fread(file, data + done, st->size - done);
        if (n <= 0) break;
        done += (size_t)n;
    }
    /* One read beyond the end, where libzip compares the checksum. */
    if (file && (done < st->size || z->zip_fread(file, data + done, 1) != 0)) wrong = "is damaged";
    if (file) z->zip_fclose(file);
    if (!wrong) return data;
    hone__fail(ctx, HONE_FORMAT, "%s: '%.60s' %s", path, st->name, wrong);
    hone__free(ctx, data);
    return NULL;
}

static bool read_entry(hone_npz *npz, const struct zip_library *z, zip_t *zip, const char *path, zip_uint64_t index)
{
    hone_ctx *ctx = npz->ctx;
    zip_stat_t st;
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if (z->zip_stat_index(zip, index, 0, &st) != 0 || (st.valid & needed) != needed)
        return hone__fail(ctx, HONE_FORMAT, "%s: entry %llu is damaged", path, (unsigned long long)index), false;
    size_t length = strlen(st.name);
    if (length <= 4 || strcmp(st.name + length - 4, ".npy") != 0)
        return hone__fail(ctx, HONE_FORMAT, "%s: holds '%.60s', which is no .npy file", path, st.name), false;
    if (!hone__grow(ctx, (void **)&npz->entries, &npz->capacity, npz->n + 1, sizeof *npz->entries)) return false;
    entry *e = &npz->entries[npz->n];
    *e = (entry){.name = hone__strndup(ctx, st.name, length - 4)};
    if (!e->name) return false;
    npz->n++;
    char *data = unpack(npz, z, zip, path, &st);
    if (data) e->tensor = hone__npy_read(ctx, path, (const uint8_t *)data, (size_t)st.size);
    if (data && !e->tensor) hone__error_prefix(ctx, "'%.60s'", e->name);
    hone__free(ctx, data);
    return e->tensor != NULL;
}

/* NULL when all is well, else what is missing. */
static const char *open_library(struct zip_library *z)
{
    static const char *const files[] = {"libzip.so.5", "libzip.so.4", NULL};
    return hone__library_open(files, zip_library_names, HONE_ARRAY_LEN(zip_library_names), z);
}
#define MISSING "%s: .npz needs libzip, and there is no %s; install libzip4"

static bool read_all(hone_npz *npz, const char *path, const uint8_t *data, size_t size)
{
    hone_ctx *ctx = npz->ctx;
    struct zip_library z;
    const char *missing = open_library(&z);
    if (missing) return hone__fail(ctx, HONE_UNSUPPORTED, MISSING, path, missing), false;
    if (!size) return hone__fail(ctx, HONE_FORMAT, "%s: is no .npz file: it is empty", path), false; /* libzip: without arrays */
    zip_error_t error;
    z.zip_error_init(&error);
    zip_source_t *source = z.zip_source_buffer_create(data, size, 0, &error);
    zip_t *zip = source ? z.zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    zip_int64_t n = zip ? z.zip_get_num_entries(zip, 0) : 0;
    bool ok = zip && n <= MAX_ENTRIES;
    if (!zip) hone__fail(ctx, HONE_FORMAT, "%s: is no .npz file: %s", path, z.zip_error_strerror(&error));
    if (zip && !ok) hone__fail(ctx, HONE_FORMAT, "%s: has %lld entries, at most %d are read", path, (long long)n, MAX_ENTRIES);
    for (zip_int64_t i = 0; ok && i < n; i++) ok = read_entry(npz, &z, zip, path, (zip_uint64_t)i);
    if (zip)
        z.zip_discard(zip); /* frees the source */
    else if (source)
        z.zip_source_free(source);
    z.zip_error_fini(&error);
    return ok;
}

/* ---- writing ---- */

typedef struct writing {
    hone_ctx *ctx;
    const char *path;
    struct zip_library z;
    zip_source_t *to; /* the archive, in memory */
    zip_t *zip;
    char **bytes; /* [n] of entries, until the archive is closed */
} writing;

/* What libzip has against it. */
static hone_status refuse(const writing *w, zip_error_t *error, const char *name)
{
    hone_status status = w->z.zip_error_code_zip(error) == ZIP_ER_MEMORY ? HONE_MEMORY : HONE_INVALID;
    char text[160];
    snprintf(text, sizeof text, "%s", w->z.zip_error_strerror(error));
    return status == HONE_MEMORY ? hone__fail(w->ctx, status, "%s: %s", w->path, text)
                                 : hone__fail_run(w->ctx, status, "%s: '%.60s': %s", w->path, name, text);
}

static hone_status add_entry(writing *w, const hone_named_tensor *array, char **bytes, bool compressed)
{
    const struct zip_library *z = &w->z;
    if (!array->name || !array->name[0] || !array->tensor)
        return hone__fail_run(w->ctx, HONE_INVALID, "%s: an array has no name, or is missing", w->path);
    size_t size;
    if (!(*bytes = hone__npy_bytes(w->ctx, array->tensor, &size))) return w->ctx->status != HONE_OK ? w->ctx->status : HONE_INVALID;
    char *name = hone__format(w->ctx, "%s.npy", array->name);
    zip_error_t error;
    z->zip_error_init(&error);
    zip_source_t *source = name ? z->zip_source_buffer_create(*bytes, size, 0, &error) : NULL;
    zip_int64_t at = source ? z->zip_file_add(w->zip, name, source, ZIP_FL_ENC_UTF_8) : -1;
    bool ok = at >= 0 && z->zip_set_file_compression(w->zip, (zip_uint64_t)at, compressed ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0) == 0 &&
              z->zip_file_set_dostime(w->zip, (zip_uint64_t)at, 0, 0x21, 0) == 0; /* 1 January 1980, as NumPy does */
    hone_status status = !name ? w->ctx->status : ok ? HONE_OK : refuse(w, source ? z->zip_get_error(w->zip) : &error, array->name);
    if (source && at < 0) z->zip_source_free(source);
    z->zip_error_fini(&error);
    hone__free(w->ctx, name);
    return status;
}

/* The closed archive's bytes into the file. */
static hone_status write_archive(const writing *w)
{
    const struct zip_library *z = &w->z;
    zip_stat_t st;
    if (z->zip_source_stat(w->to, &st) != 0 || !(st.valid & ZIP_STAT_SIZE) || z->zip_source_open(w->to) != 0)
        return hone__fail(w->ctx, HONE_MEMORY, "%s: libzip has no memory for the archive", w->path);
    char *all = hone__alloc(w->ctx, (size_t)st.size);
    hone_status status = w->ctx->status;
    if (all && z->zip_source_read(w->to, all, st.size) != (zip_int64_t)st.size)
        status = hone__fail_run(w->ctx, HONE_IO, "%s: libzip lost the archive", w->path);
    else if (all)
        status = hone_write_file(w->ctx, w->path, all, (size_t)st.size);
    z->zip_source_close(w->to);
    hone__free(w->ctx, all);
    return status;
}

static hone_status write_all(writing *w, const hone_named_tensor *arrays, size_t n, bool compressed)
{
    const struct zip_library *z = &w->z;
    const char *missing = open_library(&w->z);
    if (missing) return hone__fail_run(w->ctx, HONE_UNSUPPORTED, MISSING, w->path, missing);
    zip_error_t error;
    z->zip_error_init(&error);
    w->to = z->zip_source_buffer_create(NULL, 0, 0, &error);
    if (w->to) z->zip_source_keep(w->to); /* beyond the archive's end */
    w->zip = w->to ? z->zip_open_from_source(w->to, ZIP_CREATE | ZIP_TRUNCATE, &error) : NULL;
    const bool opened = w->zip != NULL;
    hone_status status = opened ? HONE_OK : refuse(w, &error, "the archive");
    z->zip_error_fini(&error);
    for (size_t i = 0; i < n && status == HONE_OK; i++) status = add_entry(w, &arrays[i], &w->bytes[i], compressed);
    if (status == HONE_OK && z->zip_close(w->zip) != 0)
        status = refuse(w, z->zip_get_error(w->zip), "the archive");
    else if (status == HONE_OK)
        w->zip = NULL;
    if (status == HONE_OK) status = write_archive(w);
    if (w->zip) z->zip_discard(w->zip);
    if (w->to && !opened) z->zip_source_free(w->to); /* else the archive did */
    if (w->to) z->zip_source_free(w->to);
    return status;
}

hone_status hone_npz_save(hone_ctx *ctx, const char *path, const hone_named_tensor *arrays, size_t n, bool compressed)
{
    if (!hone__ok(ctx)) return ctx->status;
    if (!path || !arrays || !n || n > MAX_ENTRIES)
        return hone__fail_run(ctx, HONE_INVALID, "an .npz file is saved with a path and 1 to %d arrays", MAX_ENTRIES);
    writing w = {.ctx = ctx, .path = path, .bytes = hone__calloc(ctx, n, sizeof *w.bytes)};
    hone_status status = w.bytes ? write_all(&w, arrays, n, compressed) : ctx->status;
    for (size_t i = 0; i < n && w.bytes; i++) hone__free(ctx, w.bytes[i]);
    hone__free(ctx, w.bytes);
    return status;
}

#else

hone_status hone_npz_save(hone_ctx *ctx, const char *path, const hone_named_tensor *arrays, size_t n, bool compressed)
{
    (void)arrays, (void)n, (void)compressed;
    return hone__fail_run(ctx, HONE_UNSUPPORTED, "%s: this build of Hone has no .npz: it was made without libzip (libzip-dev)", path);
}

static bool read_all(hone_npz *npz, const char *path, const uint8_t *data, size_t size)
{
    (void)data, (void)size;
    hone__fail(npz->ctx, HONE_UNSUPPORTED, "%s: this build of Hone has no .npz: it was made without libzip (libzip-dev)", path);
    return false;
}

#endif

hone_npz *hone__npz_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size)
{
    if (!hone__ok(ctx)) return NULL;
    hone_npz *npz = hone__calloc(ctx, 1, sizeof *npz);
    if (!npz) return NULL;
    npz->ctx = hone_ctx_retain(ctx);
    if (read_all(npz, path, data, size)) return npz;
    hone_npz_free(npz);
    return NULL;
}

hone_npz *hone_npz_load(hone_ctx *ctx, const char *path)
{
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    hone_npz *npz = hone__npz_read(ctx, path, map.data, map.size);
    hone__map_close(&map);
    return npz;
}
