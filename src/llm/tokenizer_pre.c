/* Pre-tokenization: which pieces merges may not cross. The names are GGUF's (tokenizer.ggml.pre). */
#include "llm/tokenizer.h"

/* Radford et al. 2019, encoder.py. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* The tokenizer.json files of Llama 3 and Qwen 2: they differ in how many digits stay together. */
#define TIKTOKEN(digits)                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define BYTES_PLAIN               \
    {                             \
        .kind = HONE__SPLIT_BYTES \
    }
#define BYTES_GPT2                                   \
    {                                                \
        .kind = HONE__SPLIT_BYTES, .use_regex = true \
    }
#define DIGITS                                         \
    {                                                  \
        .kind = HONE__SPLIT_DIGITS, .individual = true \
    }
#define PATTERN(regex)                                \
    {                                                 \
        .kind = HONE__SPLIT_PATTERN, .pattern = regex \
    }

/* Of several names with the same splits, the first is the one that is written. */
static const struct {
    const char *name;
    bool ignore_merges, add_bos; /* what llama.cpp takes for granted with the name */
    int count;
    hone__split splits[5];
} pres[] = {
    {"smollm", false, false, 2, {DIGITS, BYTES_GPT2}},
    {"starcoder", false, false, 2, {DIGITS, BYTES_GPT2}},
    {"refact", false, false, 2, {DIGITS, BYTES_GPT2}},
    {"command-r", false, false, 2, {DIGITS, BYTES_GPT2}},
    {"codeshell", false, false, 2, {DIGITS, BYTES_GPT2}},
    {"gpt-2", false, false, 1, {BYTES_GPT2}},
    {"phi-2", false, false, 1, {BYTES_GPT2}},
    {"llama-bpe", true, true, 2, {PATTERN(TIKTOKEN("\\p{N}{1,3}")), BYTES_PLAIN}},
    {"llama3", true, true, 2, {PATTERN(TIKTOKEN("\\p{N}{1,3}")), BYTES_PLAIN}},
    {"llama-v3", true, true, 2, {PATTERN(TIKTOKEN("\\p{N}{1,3}")), BYTES_PLAIN}},
    {"qwen2", false, false, 2, {PATTERN(TIKTOKEN("\\p{N}")), BYTES_PLAIN}},
    {"deepseek-r1-qwen", false, false, 2, {PATTERN(TIKTOKEN("\\p{N}")), BYTES_PLAIN}},
    {"default",
     false,
     false,
     5,
     {PATTERN("[\\p{P}\\$\\+<=>\\^~\\|]+"), PATTERN(GPT2), PATTERN("\\p{N}+"), PATTERN("[0-9][0-9][0-9]"),
      BYTES_PLAIN}},
};

/* ---- PCRE2 ---- */

static void *pcre_alloc(PCRE2_SIZE size, void *ctx) { return hone__alloc(ctx, size); }
static void pcre_free(void *memory, void *ctx) { hone__free(ctx, memory); }
pcre2_general_context *hone__pcre_new(hone_ctx *ctx)
{
    return pcre2_general_context_create(pcre_alloc, pcre_free, ctx);
}

/* PCRE2's \s takes U+180E as well, the regexes of `tokenizers` and llama.cpp mean White_Space: spelled out.
   A literal is put between \Q and \E. */
static bool to_pcre(hone_ctx *ctx, const hone__split *split, hone__buffer *out)
{
    const char *p = split->pattern;
    if (split->literal) {
        bool ok = hone__buffer_add(ctx, out, "\\Q", 2);
        for (const char *end; ok && (end = strstr(p, "\\E")); p = end + 2)
            ok = hone__buffer_add(ctx, out, p, (size_t)(end - p)) &&
                 hone__buffer_add(ctx, out, "\\E\\\\E\\Q", 7);
        return ok && hone__buffer_add(ctx, out, p, strlen(p)) && hone__buffer_add(ctx, out, "\\E", 2);
    }
    bool ok = hone__buffer_add(ctx, out, "", 0);
    while (ok && *p) {
        size_t n = *p == '\\' && p[1] ? 2 : 1;
        if (n == 2 && (p[1] == 's' || p[1] == 'S'))
            ok = hone__buffer_print(ctx, out, "\\%c{White_Space}", p[1] == 's' ? 'p' : 'P');
        else
            ok = hone__buffer_add(ctx, out, p, n);
        p += n;
    }
    return ok;
}

static void compile(hone_tokenizer *t, hone__split *split)
{
    hone_ctx *ctx = t->ctx;
    hone__buffer text = {0};
    pcre2_compile_context *options = pcre2_compile_context_create(t->pcre);
    if (!options || !to_pcre(ctx, split, &text)) goto done;
    pcre2_set_max_pattern_length(options, 1 << 16);
    pcre2_set_parens_nest_limit(options, 100);
    int error;
    PCRE2_SIZE at;
    split->code = pcre2_compile((PCRE2_SPTR)text.data, text.size,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &at, options);
    if (split->code) {
        pcre2_jit_compile(split->code,
                          PCRE2_JIT_COMPLETE); /* where there is no JIT, the interpreter serves */
    } else if (ctx->status == HONE_OK) {
        char reason[128] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
        hone__fail(ctx, HONE_FORMAT, "%s: the pattern \"%.200s\" of the pre-tokenizer: %s at byte %zu",
                   t->source, text.data, reason, at);
    }
done:
    pcre2_compile_context_free(options);
    hone__buffer_free(ctx, &text);
    if (!split->code) hone__fail(ctx, HONE_MEMORY, "memory ran out while compiling a pattern");
}

hone_status hone__tokenizer_add_split(hone_tokenizer *t, hone__split split)
{
    if (t->split_count == HONE__MAX_SPLITS)
        return hone__fail(t->ctx, HONE_UNSUPPORTED, "%s: more than %d pre-tokenizers in a row", t->source,
                          HONE__MAX_SPLITS);
    hone__split *to = &t->splits[t->split_count];
    *to = split;
    if (split.pattern && !(to->pattern = hone__tokenizer_keep(t, split.pattern, strlen(split.pattern))))
        return t->ctx->status;
    hone__split regex = *to;
    if (split.kind == HONE__SPLIT_DIGITS) regex.pattern = split.individual ? "\\p{N}" : "\\p{N}+";
    if (split.kind == HONE__SPLIT_BYTES) regex.pattern = split.use_regex ? GPT2 : NULL;
    if (regex.pattern) compile(t, &regex);
    to->code = regex.code; /* also when memory ran out in its JIT: freed with the tokenizer */
    t->split_count++;
    return t->ctx->status;
}

/* ---- names ---- */

hone_status hone__tokenizer_set_pre(hone_tokenizer *t, const char *name)
{
    hone_ctx *ctx = t->ctx;
    for (size_t i = 0; i < HONE_ARRAY_LEN(pres); i++) {
        if (strcmp(pres[i].name, name) != 0) continue;
        t->pre = pres[i].name;
        t->ignore_merges = pres[i].ignore_merges;
        t->add_bos = pres[i].add_bos;
        for (int s = 0; s < pres[i].count; s++)
            if (hone__tokenizer_add_split(t, pres[i].splits[s]) != HONE_OK) return ctx->status;
        return HONE_OK;
    }
    hone__buffer known = {0};
    for (size_t i = 0; i < HONE_ARRAY_LEN(pres); i++)
        if (!hone__buffer_print(ctx, &known, "%s%s", i ? ", " : "", pres[i].name)) break;
    hone__fail(ctx, HONE_UNSUPPORTED,
               "%s: the pre-tokenizer \"%.80s\" (tokenizer.ggml.pre) is not known; known are %s", t->source,
               name, known.data);
    hone__buffer_free(ctx, &known);
    return ctx->status;
}

static bool same_split(const hone__split *a, const hone__split *b)
{
    return a->kind == b->kind && a->individual == b->individual && a->use_regex == b->use_regex &&
           a->prefix_space == b->prefix_space && a->literal == b->literal &&
           a->drop_matches == b->drop_matches && a->drop_gaps == b->drop_gaps && !a->pattern == !b->pattern &&
           (!a->pattern || !strcmp(a->pattern, b->pattern));
}

void hone__tokenizer_name_splits(hone_tokenizer *t)
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(pres) && !t->pre; i++) {
        bool same = pres[i].count == t->split_count && pres[i].ignore_merges == t->ignore_merges;
        for (int s = 0; same && s < t->split_count; s++) same = same_split(&pres[i].splits[s], &t->splits[s]);
        if (same) t->pre = pres[i].name;
    }
}
