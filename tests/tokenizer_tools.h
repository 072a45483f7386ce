/* What the tests of tokenizer and chat templates share: the tokenizer in tests/data/tokenizer, and its golden ids. */
#ifndef HONE_TESTS_TOKENIZER_TOOLS_H
#define HONE_TESTS_TOKENIZER_TOOLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/os.h"
#include "llm/tokenizer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define FOLDER HONE_TEST_DATA "/tokenizer"

static inline char *read_text(hone_ctx *ctx, const char *path, size_t *size)
{
    char *text = hone__read_file(ctx, path, 1 << 24, size);
    assert_non_null(text);
    return text;
}

static inline json_t *read_json(hone_ctx *ctx, const char *path)
{
    size_t size;
    char *text = read_text(ctx, path, &size);
    json_t *json = json_loadb(text, size, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    hone__free(ctx, text);
    return json;
}

static inline hone_tokenizer *load(hone_ctx *ctx)
{
    hone_tokenizer *t = hone_tokenizer_from_json(ctx, FOLDER);
    if (!t) print_error("%s\n", hone_error(ctx));
    assert_non_null(t);
    return t;
}

static inline hone_tokenizer *load_json(hone_ctx *ctx, const json_t *root, const char *config, const char *template)
{
    char *text = json_dumps(root, 0);
    hone_tokenizer *t =
        hone__tokenizer_from_json_text(ctx, "test", text, strlen(text), config, NULL, template);
    free(text);
    return t;
}

static inline void check_ids(const char *what, const hone_tokens *tokens, const json_t *ids)
{
    bool same = tokens->count == json_array_size(ids);
    for (size_t i = 0; same && i < tokens->count; i++)
        same = tokens->ids[i] == json_integer_value(json_array_get(ids, i));
    if (same) return;
    print_error("%s:\n  ours  ", what);
    for (size_t i = 0; i < tokens->count; i++) print_error(" %d", tokens->ids[i]);
    print_error("\n  theirs");
    for (size_t i = 0; i < json_array_size(ids); i++)
        print_error(" %lld", (long long)json_integer_value(json_array_get(ids, i)));
    fail_msg("ids differ");
}

/* Every golden text gives the golden ids, and (lossless) its bytes back. */

#endif
