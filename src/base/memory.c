#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>

/* The size stands before the block, a cache line ahead so that alignment holds: lets us count live bytes. */
void *hone__alloc(hone_ctx *ctx, size_t size)
{
    size_t total;
    char *memory = NULL;
    if (hone__add_size(size, HONE_ALIGN, &total)) memory = ctx->allocator.alloc(ctx->allocator.user, total);
    if (!memory) {
        hone__fail(ctx, HONE_MEMORY, "memory ran out: %zu bytes asked for, %zu in use", size, ctx->bytes);
        return NULL;
    }
    memcpy(memory, &total, sizeof total);
    ctx->bytes += total;
    ctx->peak_bytes = HONE_MAX(ctx->peak_bytes, ctx->bytes);
    return memory + HONE_ALIGN;
}

void *hone__calloc(hone_ctx *ctx, size_t count, size_t size)
{
    size_t total;
    if (!hone__mul_size(count, size, &total)) {
        hone__fail(ctx, HONE_MEMORY, "memory ran out: %zu x %zu bytes asked for", count, size);
        return NULL;
    }
    void *memory = hone__alloc(ctx, total);
    if (memory) memset(memory, 0, total);
    return memory;
}

void hone__free(hone_ctx *ctx, void *memory)
{
    if (!memory) return;
    char *block = (char *)memory - HONE_ALIGN;
    size_t total;
    memcpy(&total, block, sizeof total);
    ctx->bytes -= total;
    ctx->allocator.free(ctx->allocator.user, block);
}

bool hone__grow(hone_ctx *ctx, void **array, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity) return true;
    size_t more = HONE_MAX(HONE_MAX(count, *capacity + *capacity / 2), 8), bytes;
    if (!hone__mul_size(more, size, &bytes)) {
        hone__fail(ctx, HONE_MEMORY, "memory ran out: %zu x %zu bytes asked for", more, size);
        return false;
    }
    void *grown = hone__alloc(ctx, bytes);
    if (!grown) return false;
    if (*capacity) memcpy(grown, *array, *capacity * size);
    hone__free(ctx, *array);
    *array = grown;
    *capacity = more;
    return true;
}

char *hone__strndup(hone_ctx *ctx, const char *text, size_t length)
{
    char *copy = hone__alloc(ctx, length + 1);
    if (!copy) return NULL;
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

char *hone__strdup(hone_ctx *ctx, const char *text) { return hone__strndup(ctx, text, strlen(text)); }

char *hone__format(hone_ctx *ctx, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : hone__alloc(ctx, (size_t)n + 1);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

/* ---- arena ---- */

struct hone__arena_block {
    struct hone__arena_block *next;
};

void hone__arena_init(hone__arena *arena, hone_ctx *ctx) { *arena = (hone__arena){.ctx = ctx}; }

void *hone__arena_alloc(hone__arena *arena, size_t size)
{
    enum { BLOCK = 64 * 1024, ALIGN = 16 };
    if (size > SIZE_MAX - BLOCK) size = SIZE_MAX - BLOCK; /* fails below, in so many words */
    size = HONE_MAX((size + ALIGN - 1) & ~(size_t)(ALIGN - 1), (size_t)ALIGN);
    if (size > arena->left) {
        size_t bytes = HONE_MAX(size, (size_t)BLOCK - HONE_ALIGN);
        struct hone__arena_block *block = hone__calloc(arena->ctx, 1, bytes + HONE_ALIGN);
        if (!block) return NULL;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->next = (char *)block + HONE_ALIGN;
        arena->left = bytes;
    }
    void *memory = arena->next;
    arena->next += size;
    arena->left -= size;
    return memory;
}

char *hone__arena_strdup(hone__arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = hone__arena_alloc(arena, size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

void hone__arena_free(hone__arena *arena)
{
    for (struct hone__arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        hone__free(arena->ctx, block);
    }
    *arena = (hone__arena){.ctx = arena->ctx};
}

/* ---- byte buffer ---- */

bool hone__buffer_add(hone_ctx *ctx, hone__buffer *buffer, const void *data, size_t size)
{
    size_t need;
    if (!hone__add_size(buffer->size, size, &need) || !hone__add_size(need, 1, &need))
        return hone__fail(ctx, HONE_MEMORY, "memory ran out: a text of more than %zu bytes", size), false;
    if (!hone__grow(ctx, (void **)&buffer->data, &buffer->capacity, need, 1)) return false;
    if (size) memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = 0;
    return true;
}

bool hone__buffer_print(hone_ctx *ctx, hone__buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    bool ok = n >= 0 && hone__grow(ctx, (void **)&buffer->data, &buffer->capacity, buffer->size + (size_t)n + 1, 1);
    if (ok) {
        vsnprintf(buffer->data + buffer->size, (size_t)n + 1, format, again);
        buffer->size += (size_t)n;
    }
    va_end(again);
    return ok;
}

void hone__buffer_free(hone_ctx *ctx, hone__buffer *buffer)
{
    hone__free(ctx, buffer->data);
    *buffer = (hone__buffer){0};
}
