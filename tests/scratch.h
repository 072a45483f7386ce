/* For tests: a folder to write into, fixtures, an allocator that fails when told to. Include before
   cmocka's users. */
#ifndef HONE_TEST_SCRATCH_H
#define HONE_TEST_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/os.h"

/* A new folder in $TMPDIR or the working directory; and `name` in it, in a ring of four static texts. */
static char scratch_folder[256];
static inline int scratch_make(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch_folder, sizeof scratch_folder, "%s/hone-test-XXXXXX", tmp && tmp[0] ? tmp : ".");
    return mkdtemp(scratch_folder) ? 0 : -1;
}
static inline int scratch_remove(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_status status = hone__remove_folder(ctx, scratch_folder);
    hone_ctx_release(ctx);
    return status == HONE_OK ? 0 : -1;
}
static inline const char *scratch(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

/* The bytes of a file of tests/data/io; freed with hone__free. */
static inline char *fixture(hone_ctx *ctx, const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/io/%s", HONE_TEST_DATA, name);
    char *data = hone__read_file(ctx, path, 1 << 20, size);
    if (!data) fail_msg("%s", hone_error(ctx));
    return data;
}

/* Counts what lives; allocation number `fail_at` (from 1) gives NULL, 0: none does. */
typedef struct counting {
    int64_t live, calls, fail_at;
} counting;
static inline void *counting_alloc(void *user, size_t size)
{
    counting *c = user;
    /* The sanitizers abort at sizes that no machine has. */
    if (++c->calls == c->fail_at || size > (size_t)1 << 40) return NULL;
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (memory) c->live++;
    return memory;
}
static inline void counting_free(void *user, void *memory)
{
    ((counting *)user)->live--;
    free(memory);
}

/* A file built by hand, little endian. */
typedef struct file_bytes {
    unsigned char data[2048];
    size_t size;
} file_bytes;
static inline void put(file_bytes *b, uint64_t value, int size)
{
    for (int i = 0; i < size; i++) b->data[b->size++] = (unsigned char)(value >> 8 * i);
}
/* Its length in 8 bytes, then the text: in GGUF a string, in safetensors the header. */
static inline void put_text(file_bytes *b, const char *text)
{
    put(b, strlen(text), 8);
    memcpy(b->data + b->size, text, strlen(text));
    b->size += strlen(text);
}

#define assert_hone_ok(ctx, status)                               \
    do {                                                          \
        if ((status) != HONE_OK) fail_msg("%s", hone_error(ctx)); \
    } while (0)

#endif
