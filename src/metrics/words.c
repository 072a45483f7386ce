#include "metrics/words.h"

#include <stdlib.h>

bool hone__words_add(hone_ctx *ctx, hone__words *w, const char *data, size_t size)
{
    if (!hone__grow(ctx, (void **)&w->at, &w->capacity, w->n + 1, sizeof *w->at)) return false;
    w->at[w->n] = (hone__word){data, size, w->n};
    w->n++;
    return true;
}

/* str.isspace: Unicode's White_Space, and the separators of ASCII. */
static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t hone__space_at(const char *text, size_t *size)
{
    uint32_t code = 0;
    int length = hone__utf8_next(text, strnlen(text, 4), &code);
    *size = length > 0 ? (size_t)length : 1; /* a byte that is no UTF-8 is a character */
    return length > 0 && is_space(code) ? *size : 0;
}

void hone__strip(const char **text, size_t *size)
{
    const char *from = *text, *end = from;
    size_t n;
    while (*from && hone__space_at(from, &n)) from += n;
    for (const char *at = end = from; *at; at += n)
        if (!hone__space_at(at, &n)) end = at + n;
    *text = from;
    *size = (size_t)(end - from);
}

bool hone__split_at_spaces(hone_ctx *ctx, hone__words *words, const char *text, size_t size)
{
    const char *end = text + size, *from = text;
    size_t n;
    for (const char *at = text; at < end; at += n) {
        if (!hone__space_at(at, &n)) continue;
        if (at > from && !hone__words_add(ctx, words, from, (size_t)(at - from))) return false;
        from = at + n;
    }
    return from >= end || hone__words_add(ctx, words, from, (size_t)(end - from));
}

static int by_text(const void *a, const void *b)
{
    const hone__word *x = a, *y = b;
    int order = memcmp(x->data, y->data, HONE_MIN(x->size, y->size));
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

hone_status hone__texts_number(hone_ctx *ctx, hone__split_fn split, const char *prediction, size_t n,
                               const char *const *references, hone__texts *texts)
{
    hone__words words = {0};
    hone__buffer *rooms = hone__calloc(ctx, n + 1, sizeof *rooms);
    *texts = (hone__texts){.start = hone__calloc(ctx, n + 2, sizeof *texts->start)};
    bool ok = rooms && texts->start;
    for (size_t i = 0; i <= n && ok; i++) {
        ok = split(ctx, &words, &rooms[i], i ? references[i - 1] : prediction);
        texts->start[i + 1] = words.n;
    }
    if (ok) ok = (texts->id = hone__alloc(ctx, HONE_MAX(words.n, (size_t)1) * sizeof *texts->id)) != NULL;
    if (ok && words.n) qsort(words.at, words.n, sizeof *words.at, by_text);
    int32_t id = 0;
    for (size_t i = 0; i < words.n && ok; i++) {
        if (i && by_text(&words.at[i - 1], &words.at[i])) id++;
        texts->id[words.at[i].position] = id;
    }
    for (size_t i = 0; i <= n && rooms; i++) hone__buffer_free(ctx, &rooms[i]);
    hone__free(ctx, rooms);
    hone__free(ctx, words.at);
    if (!ok) hone__texts_free(ctx, texts);
    return ok ? HONE_OK : HONE_MEMORY;
}

void hone__texts_free(hone_ctx *ctx, hone__texts *texts)
{
    hone__free(ctx, texts->id);
    hone__free(ctx, texts->start);
    *texts = (hone__texts){0};
}
