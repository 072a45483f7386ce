/* TensorBoard's event files: TFRecords (tensorflow/core/lib/io/record_writer.h) that hold Event messages
   (tensorflow/core/util/event.proto) in protobuf's wire format, by hand as there are only two kinds. */
#include "train/train.h"

#include "base/os.h"

#include <errno.h>
#include <stdio.h>

struct hone_events {
    hone_ctx *ctx;
    FILE *stream;
    char *path;
    hone__buffer event, inner, value; /* nested messages, built inside out; kept for their memory */
    double began, wall;               /* hone__seconds when opened, and seconds since 1970 then */
    bool restarted;                   /* the first step is told */
    bool failed;
    uint32_t crc_table[256];
};

/* ---- CRC-32C (Castagnoli), reflected polynomial 0x82F63B78 ---- */

static void make_crc_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
        table[i] = c;
    }
}

/* Masked, as a checksum of data that hold checksums would be weak (tensorflow/core/lib/hash/crc32c.h). */
static uint32_t masked_crc(const uint32_t table[256], const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) c = c >> 8 ^ table[(c ^ bytes[i]) & 0xFF];
    c = ~c;
    return (c >> 15 | c << 17) + 0xA282EAD8u;
}

/* ---- protobuf ---- */

enum { VARINT, FIXED64, BYTES, FIXED32 = 5 }; /* wire types */

static bool put_varint(hone_ctx *ctx, hone__buffer *b, uint64_t v)
{
    unsigned char bytes[10];
    size_t n = 0;
    do bytes[n++] = (unsigned char)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
    while (v >>= 7);
    return hone__buffer_add(ctx, b, bytes, n);
}

static void little_endian(unsigned char *to, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) to[i] = (unsigned char)(v >> 8 * i);
}

static bool put_key(hone_ctx *ctx, hone__buffer *b, unsigned field, unsigned wire)
{
    return put_varint(ctx, b, field << 3 | wire);
}

static bool put_integer(hone_ctx *ctx, hone__buffer *b, unsigned field, int64_t v)
{
    return put_key(ctx, b, field, VARINT) && put_varint(ctx, b, (uint64_t)v);
}

static bool put_fixed(hone_ctx *ctx, hone__buffer *b, unsigned field, uint64_t bits, size_t bytes)
{
    unsigned char raw[8];
    little_endian(raw, bits, bytes);
    return put_key(ctx, b, field, bytes == 8 ? FIXED64 : FIXED32) && hone__buffer_add(ctx, b, raw, bytes);
}

static bool put_bytes(hone_ctx *ctx, hone__buffer *b, unsigned field, const void *data, size_t size)
{
    return put_key(ctx, b, field, BYTES) && put_varint(ctx, b, size) && hone__buffer_add(ctx, b, data, size);
}

/* ---- events ---- */

/* Event: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log. */
static bool begin_event(hone_events *e, int64_t step)
{
    double now = e->wall + hone__seconds() - e->began;
    uint64_t bits;
    memcpy(&bits, &now, 8);
    e->event.size = e->inner.size = e->value.size = 0;
    return put_fixed(e->ctx, &e->event, 1, bits, 8) && put_integer(e->ctx, &e->event, 2, step);
}

/* TFRecord: length u64, its masked CRC u32, the bytes, their masked CRC u32. */
static hone_status write_event(hone_events *e)
{
    unsigned char head[12], foot[4];
    little_endian(head, e->event.size, 8);
    little_endian(head + 8, masked_crc(e->crc_table, head, 8), 4);
    little_endian(foot, masked_crc(e->crc_table, e->event.data, e->event.size), 4);
    errno = 0;
    bool ok = fwrite(head, 1, 12, e->stream) == 12;
    ok = ok && fwrite(e->event.data, 1, e->event.size, e->stream) == e->event.size;
    ok = ok && fwrite(foot, 1, 4, e->stream) == 4 && fflush(e->stream) == 0;
    if (ok) return HONE_OK;
    e->failed = true; /* half a record: whatever came behind it could not be read */
    return hone__fail_run(e->ctx, HONE_IO, "%s: %s", e->path, errno ? strerror(errno) : "writing failed");
}

/* SessionLog{status: START}: readers drop what they have from this step on, of a run that went further before
   it was interrupted than the checkpoint from which it goes on. */
static hone_status write_start(hone_events *e, int64_t step)
{
    bool ok = begin_event(e, step) && put_integer(e->ctx, &e->inner, 1, 1) &&
              put_bytes(e->ctx, &e->event, 7, e->inner.data, e->inner.size);
    return ok ? write_event(e) : HONE_MEMORY;
}

hone_status hone_events_scalar(hone_events *e, const char *tag, int64_t step, double value)
{
    if (!e || !tag) return HONE_INVALID;
    if (e->failed) return hone__fail_run(e->ctx, HONE_IO, "%s: an earlier write failed", e->path);
    if (!e->restarted) {
        hone_status status = write_start(e, step);
        if (status != HONE_OK) return status;
        e->restarted = true;
    }
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, 4);
    /* Summary{1 value: {1 tag, 2 simple_value}} */
    bool ok = begin_event(e, step) && put_bytes(e->ctx, &e->value, 1, tag, strlen(tag)) &&
              put_fixed(e->ctx, &e->value, 2, bits, 4) &&
              put_bytes(e->ctx, &e->inner, 1, e->value.data, e->value.size) &&
              put_bytes(e->ctx, &e->event, 5, e->inner.data, e->inner.size);
    return ok ? write_event(e) : HONE_MEMORY;
}

/* The machine's name; "localhost" when it is not to be had. */
static void host_name(char name[65])
{
    FILE *file = fopen("/proc/sys/kernel/hostname", "re");
    bool read = file && fgets(name, 65, file);
    if (file) fclose(file);
    if (read) name[strcspn(name, "\n/")] = 0;
    if (!read || !name[0]) strcpy(name, "localhost");
}

/* A new file: TensorBoard reads those of a folder in the order of their names. */
static bool create(hone_events *e, const char *folder)
{
    char host[65], name[128];
    host_name(host);
    for (int attempt = 0; attempt < 1000; attempt++) {
        snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%03d", (long long)e->wall, host, attempt);
        hone__free(e->ctx, e->path);
        if (!(e->path = hone__join_path(e->ctx, folder, name))) return false;
        if ((e->stream = fopen(e->path, "wbxe"))) return true;
        if (errno != EEXIST) break; /* EEXIST: another run began in this second */
    }
    hone__fail(e->ctx, HONE_IO, "%s: %s", e->path, strerror(errno));
    return false;
}

static void destroy(hone_events *e)
{
    hone_ctx *ctx = e->ctx;
    hone__buffer_free(ctx, &e->event);
    hone__buffer_free(ctx, &e->inner);
    hone__buffer_free(ctx, &e->value);
    hone__free(ctx, e->path);
    hone__free(ctx, e);
    hone_ctx_release(ctx);
}

hone_events *hone_events_open(hone_ctx *ctx, const char *folder)
{
    if (!hone__ok(ctx)) return NULL;
    hone_events *e = hone__calloc(ctx, 1, sizeof *e);
    if (!e) return NULL;
    e->ctx = hone_ctx_retain(ctx);
    e->began = hone__seconds();
    e->wall = (double)hone__unix_time();
    make_crc_table(e->crc_table);
    static const char version[] = "brain.Event:2";
    hone_status status = hone__make_folder(ctx, folder);
    if (status == HONE_OK && !create(e, folder)) status = hone_ctx_status(ctx);
    if (status == HONE_OK) {
        bool ok = begin_event(e, 0) && put_bytes(ctx, &e->event, 3, version, sizeof version - 1);
        status = ok ? write_event(e) : HONE_MEMORY;
    }
    if (status == HONE_OK) return e;
    if (hone__ok(ctx)) { /* what the functions above do not make stick, opening does */
        char what[sizeof ctx->error];
        memcpy(what, ctx->error, sizeof what);
        hone__fail(ctx, status, "%s", what);
    }
    if (e->stream) fclose(e->stream);
    destroy(e);
    return NULL;
}

hone_status hone_events_close(hone_events *e)
{
    if (!e) return HONE_OK;
    hone_status status = HONE_OK;
    if (fclose(e->stream) != 0 || e->failed)
        status = hone__fail_run(e->ctx, HONE_IO, "%s: not everything could be written", e->path);
    destroy(e);
    return status;
}
