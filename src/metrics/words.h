/* Texts as sequences of numbers: equal words have equal ones. */
#ifndef HONE_SRC_METRICS_WORDS_H
#define HONE_SRC_METRICS_WORDS_H

#include "base/base.h"

/* A word: bytes of some text. */
typedef struct hone__word {
    const char *data;
    size_t size, position;
} hone__word;
typedef struct hone__words {
    hone__word *at;
    size_t n, capacity;
} hone__words;
bool hone__words_add(hone_ctx *ctx, hone__words *words, const char *data, size_t size);

/* White space as Python's str.split knows it at text (not its end): its bytes, else 0; *size: those of the character. */
size_t hone__space_at(const char *text, size_t *size);
/* The text without white space around it. */
void hone__strip(const char **text, size_t *size);
/* Adds the words of a text between white space. */
bool hone__split_at_spaces(hone_ctx *ctx, hone__words *words, const char *text, size_t size);

/* Splits a text into words, which may lie in `room`, an empty buffer of this text's own. */
typedef bool (*hone__split_fn)(hone_ctx *ctx, hone__words *words, hone__buffer *room, const char *text);
/* n texts: text i is id[start[i]] to id[start[i + 1] - 1]. */
typedef struct hone__texts {
    int32_t *id;
    size_t *start;
} hone__texts;
/* A text and its n references, numbered together; to be freed. MEMORY. */
hone_status hone__texts_number(hone_ctx *ctx, hone__split_fn split, const char *prediction, size_t n,
                               const char *const *references, hone__texts *texts);
void hone__texts_free(hone_ctx *ctx, hone__texts *texts);

#endif
