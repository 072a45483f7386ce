/* Text to ids: special tokens are found first, what lies between them is cut into pieces by the
   pre-tokenizer, and the bytes of a piece are merged in the order of the ranks (Sennrich, Haddow, Birch, ACL
   2016). */
#include "llm/tokenizer.h"

#define NONE UINT32_MAX

/* A token of the piece at hand, in a doubly linked list. */
typedef struct symbol {
    int32_t id;
    uint32_t start;          /* its first byte in the piece */
    uint32_t previous, next; /* NONE at the ends */
    uint32_t rank;           /* of merging it with the next one; NONE: they don't, or this symbol is gone */
} symbol;

typedef struct encoder {
    hone_ctx *ctx;
    const hone_tokenizer *t;
    hone_tokens *tokens;
    hone__spans *spans;
    symbol *symbols;
    size_t symbol_room;
    uint64_t *heap; /* rank << 32 | symbol: the smallest is the lowest rank, leftmost on a tie */
    size_t heap_size, heap_room;
    pcre2_general_context *pcre;
    pcre2_match_data *match;
    size_t floor;   /* where the text between special tokens begins: a made-up space lies before it */
    size_t missing; /* bytes left out */
    uint8_t missing_byte;
} encoder;

/* ---- output ---- */

void hone_tokens_free(hone_ctx *ctx, hone_tokens *tokens)
{
    if (!tokens) return;
    hone__free(ctx, tokens->ids);
    hone__free(ctx, tokens->trained);
    *tokens = (hone_tokens){0};
}

hone_status hone__tokens_add(hone_ctx *ctx, hone_tokens *tokens, int32_t id)
{
    size_t ids = tokens->capacity, trained = tokens->capacity;
    if (tokens->count == tokens->capacity) {
        if (!hone__grow(ctx, (void **)&tokens->trained, &trained, tokens->count + 1, 1)) return ctx->status;
        if (!hone__grow(ctx, (void **)&tokens->ids, &ids, tokens->count + 1, sizeof *tokens->ids)) return ctx->status;
        tokens->capacity = HONE_MIN(ids, trained);
    }
    tokens->ids[tokens->count] = id;
    tokens->trained[tokens->count++] = 1;
    return HONE_OK;
}

static bool emit(encoder *e, int32_t id, size_t begin, size_t end)
{
    if (e->spans) {
        size_t at = 2 * e->tokens->count;
        if (!hone__grow(e->ctx, (void **)&e->spans->at, &e->spans->capacity, at + 2, sizeof *e->spans->at)) return false;
        e->spans->at[at] = begin;
        e->spans->at[at + 1] = end;
    }
    return hone__tokens_add(e->ctx, e->tokens, id) == HONE_OK;
}

/* ---- merging the bytes of a piece ---- */

static void sift_down(uint64_t *heap, size_t size, size_t at)
{
    uint64_t value = heap[at];
    for (size_t child; (child = 2 * at + 1) < size; at = child) {
        child += child + 1 < size && heap[child + 1] < heap[child];
        if (heap[child] >= value) break;
        heap[at] = heap[child];
    }
    heap[at] = value;
}

static uint64_t heap_pop(encoder *e)
{
    uint64_t top = e->heap[0];
    e->heap[0] = e->heap[--e->heap_size];
    if (e->heap_size) sift_down(e->heap, e->heap_size, 0);
    return top;
}

static void heap_push(encoder *e, uint64_t value)
{
    size_t at = e->heap_size++;
    for (; at && e->heap[(at - 1) / 2] > value; at = (at - 1) / 2) e->heap[at] = e->heap[(at - 1) / 2];
    e->heap[at] = value;
}

/* The bytes of the piece as symbols; how many, or NONE without memory. */
static uint32_t make_symbols(encoder *e, const char *bytes, size_t n)
{
    const hone_tokenizer *t = e->t;
    if (!hone__grow(e->ctx, (void **)&e->symbols, &e->symbol_room, n, sizeof *e->symbols)) return NONE;
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)bytes[i];
        int32_t id = t->byte_id[byte];
        if (id < 0) {
            id = t->model_unknown;
            if (id < 0) e->missing++, e->missing_byte = byte;
            if (id < 0 || (t->fuse_unknown && count && e->symbols[count - 1].id == id)) continue;
        }
        e->symbols[count] = (symbol){id, (uint32_t)i, count - 1, count + 1, NONE};
        count++;
    }
    if (count) e->symbols[0].previous = e->symbols[count - 1].next = NONE;
    return count;
}

static void rank_pair(encoder *e, uint32_t at)
{
    symbol *s = &e->symbols[at];
    s->rank = s->next == NONE ? NONE : hone__tokenizer_rank(e->t, s->id, e->symbols[s->next].id);
}

static void merge_symbols(encoder *e)
{
    while (e->heap_size) {
        uint64_t top = heap_pop(e);
        uint32_t rank = (uint32_t)(top >> 32), at = (uint32_t)top;
        symbol *left = &e->symbols[at];
        if (left->rank != rank) continue; /* the pair is gone or another by now */
        symbol *right = &e->symbols[left->next];
        left->id = e->t->merges[rank].id;
        left->next = right->next;
        right->rank = NONE;
        if (left->next != NONE) e->symbols[left->next].previous = at;
        rank_pair(e, at);
        if (left->rank != NONE) heap_push(e, (uint64_t)left->rank << 32 | at);
        if (left->previous == NONE) continue;
        rank_pair(e, left->previous);
        uint32_t before = e->symbols[left->previous].rank;
        if (before != NONE) heap_push(e, (uint64_t)before << 32 | left->previous);
    }
}

/* The piece as one token, if there is such a token. */
static int32_t whole_piece(const hone_tokenizer *t, const char *bytes, size_t n)
{
    char text[256];
    size_t size = 0;
    if (n > sizeof text / 4) return -1;
    for (size_t i = 0; i < n; i++)
        size += (size_t)hone__utf8_put(hone__byte_to_code((uint8_t)bytes[i]), text + size);
    return hone_tokenizer_find(t, text, size);
}

/* origin: where bytes[0] lies in the text; one before e->floor when it is a made-up space. */
static bool encode_piece(encoder *e, const char *bytes, size_t n, int64_t origin)
{
    size_t first = (size_t)HONE_MAX(origin, (int64_t)e->floor);
    int32_t whole = n == 1                ? e->t->byte_id[(uint8_t)bytes[0]]
                    : e->t->ignore_merges ? whole_piece(e->t, bytes, n)
                                          : -1;
    if (whole >= 0) return emit(e, whole, first, (size_t)(origin + (int64_t)n));
    uint32_t count = make_symbols(e, bytes, n);
    if (count == NONE) return false;
    if (!count) return true;
    /* Every merge takes one entry out and puts at most two in, and there are fewer merges than symbols. */
    if (!hone__grow(e->ctx, (void **)&e->heap, &e->heap_room, 2 * (size_t)count, sizeof *e->heap))
        return false;
    e->heap_size = 0;
    for (uint32_t i = 0; i < count; i++) {
        rank_pair(e, i);
        if (e->symbols[i].rank != NONE) e->heap[e->heap_size++] = (uint64_t)e->symbols[i].rank << 32 | i;
    }
    for (size_t i = e->heap_size / 2; i-- > 0;) sift_down(e->heap, e->heap_size, i);
    merge_symbols(e);
    for (uint32_t i = 0; i != NONE; i = e->symbols[i].next) {
        const symbol *s = &e->symbols[i];
        size_t end = s->next == NONE ? n : e->symbols[s->next].start;
        size_t begin = (size_t)HONE_MAX(origin + (int64_t)s->start, (int64_t)e->floor);
        if (!emit(e, s->id, begin, HONE_MAX(begin, (size_t)(origin + (int64_t)end)))) return false;
    }
    return true;
}

/* ---- pre-tokenization ---- */

static bool run_split(encoder *e, int step, const char *bytes, const char *subject, size_t n, int64_t origin);

/* Pieces of `bytes` as the step's pattern cuts `subject`. */
static bool run_pattern(encoder *e, int step, const char *bytes, const char *subject, size_t n,
                        int64_t origin)
{
    const hone__split *split = &e->t->splits[step];
    size_t done = 0, from = 0; /* bytes handed on; where the search goes on */
    while (from <= n) {
        uint32_t options = PCRE2_NO_UTF_CHECK;
        int found = pcre2_match(split->code, (PCRE2_SPTR)subject, n, from, options, e->match, NULL);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT)
            found = pcre2_match(split->code, (PCRE2_SPTR)subject, n, from, options | PCRE2_NO_JIT, e->match,
                                NULL);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0) {
            char reason[128] = "";
            pcre2_get_error_message(found, (PCRE2_UCHAR *)reason, sizeof reason);
            hone__fail_run(e->ctx, HONE_FORMAT, "%s: a pattern of the pre-tokenizer cannot be applied: %s",
                           e->t->source, reason);
            return false;
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(e->match);
        size_t begin = HONE_MAX(range[0], done), end = HONE_MAX(range[1], begin);
        if (begin > done && !split->drop_gaps &&
            !run_split(e, step + 1, bytes + done, subject + done, begin - done, origin + (int64_t)done))
            return false;
        if (end > begin && !split->drop_matches &&
            !run_split(e, step + 1, bytes + begin, subject + begin, end - begin, origin + (int64_t)begin))
            return false;
        done = from = end;
        if (end == begin) /* an empty match: the next character */
            for (from++; from < n && (subject[from] & 0xC0) == 0x80;) from++;
    }
    return done == n || split->drop_gaps ||
           run_split(e, step + 1, bytes + done, subject + done, n - done, origin + (int64_t)done);
}

/* subject is bytes with everything made valid UTF-8, byte for byte; the patterns see it, the merges see
   bytes. */
static bool run_split(encoder *e, int step, const char *bytes, const char *subject, size_t n, int64_t origin)
{
    if (step == e->t->split_count) return encode_piece(e, bytes, n, origin);
    const hone__split *split = &e->t->splits[step];
    if (!split->prefix_space || subject[0] == ' ')
        return split->code ? run_pattern(e, step, bytes, subject, n, origin)
                           : run_split(e, step + 1, bytes, subject, n, origin);
    char *copy = hone__alloc(e->ctx, 2 * n + 2);
    if (!copy) return false;
    char *spaced = copy + n + 1;
    copy[0] = spaced[0] = ' ';
    memcpy(copy + 1, bytes, n);
    memcpy(spaced + 1, subject, n);
    bool ok = split->code ? run_pattern(e, step, copy, spaced, n + 1, origin - 1)
                          : run_split(e, step + 1, copy, spaced, n + 1, origin - 1);
    hone__free(e->ctx, copy);
    return ok;
}

/* ---- special tokens ---- */

/* The longest special token at text that may be recognised; -1: none. */
static int32_t special_at(const hone_tokenizer *t, const char *text, size_t size, unsigned flags)
{
    const unsigned char *s = (const unsigned char *)text;
    uint32_t low = t->special_first[s[0]], high = t->special_first[s[0] + 1];
    int32_t best = -1;
    /* The tokens in [low, high) agree with the text in their first `depth` bytes; the shortest stands first.
       */
    for (size_t depth = 1; low < high; depth++) {
        const hone__token *token = &t->tokens[t->specials[low]];
        if (token->text_size == depth) {
            if (token->type == HONE_TOKEN_USER_DEFINED || (flags & HONE_ENCODE_SPECIAL))
                best = t->specials[low];
            low++;
        }
        if (depth == size) break;
        uint32_t
            range[2]; /* the first token whose next byte is not below the text's, and the first above it */
        for (int above = 0; above < 2; above++) {
            uint32_t a = low, b = high;
            while (a < b) {
                uint32_t middle = a + (b - a) / 2;
                if ((unsigned char)t->tokens[t->specials[middle]].text[depth] < s[depth] + above)
                    a = middle + 1;
                else
                    b = middle;
            }
            range[above] = a;
        }
        low = range[0];
        high = range[1];
    }
    return best;
}

/* The length of the white space at the end (forward: at the beginning) of subject. */
static size_t space_beside(const char *subject, size_t size, bool forward)
{
    size_t length = 0;
    for (;;) {
        size_t at = forward ? length : size - length;
        uint32_t code;
        if (length == size) return length;
        if (!forward)
            for (at--; at > 0 && (subject[at] & 0xC0) == 0x80;) at--;
        int n = hone__utf8_next(subject + at, size - at, &code);
        if (!n || !hone__is_space(code)) return length;
        length += (size_t)n;
    }
}

static bool encode_text(encoder *e, const char *text, const char *subject, size_t length, unsigned flags)
{
    const hone_tokenizer *t = e->t;
    size_t begin = 0; /* of what has no id yet */
    for (size_t at = 0; at <= length; at++) {
        int32_t id = -1;
        if (at < length) {
            unsigned char first = (unsigned char)text[at];
            if (t->special_first[first] == t->special_first[first + 1]) continue;
            id = special_at(t, text + at, length - at, flags);
            if (id < 0) continue;
        }
        const hone__token *token = id < 0 ? NULL : &t->tokens[id];
        size_t left = token && token->left_strip ? space_beside(subject + begin, at - begin, false) : 0;
        size_t stop = at - left, end = at + (token ? token->text_size : 0);
        e->floor = begin;
        if (stop > begin && !run_split(e, 0, text + begin, subject + begin, stop - begin, (int64_t)begin))
            return false;
        if (!token) break;
        if (token->right_strip) end += space_beside(subject + end, length - end, true);
        if (!emit(e, id, stop, end)) return false;
        begin = end;
        at = end - 1;
    }
    return true;
}

/* ---- the whole ---- */

/* A copy with every byte that is not part of a character replaced by SUB (0x1A), which the patterns take for
   neither letter nor digit nor space; NULL with *ok when nothing needs replacing. */
static char *valid_copy(hone_ctx *ctx, const char *text, size_t length, bool *ok)
{
    char *copy = NULL;
    *ok = true;
    for (size_t i = 0; i < length;) {
        uint32_t code;
        int n = hone__utf8_next(text + i, length - i, &code);
        if (!n) {
            if (!copy) {
                copy = hone__alloc(ctx, length);
                if (!copy) return *ok = false, NULL;
                memcpy(copy, text, length);
            }
            copy[i] = 0x1A;
        }
        i += (size_t)HONE_MAX(n, 1);
    }
    return copy;
}

hone_status hone__tokenizer_encode(hone_ctx *ctx, const hone_tokenizer *t, const char *text, size_t length,
                                   unsigned flags, hone_tokens *tokens, hone__spans *spans)
{
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    if (length > (size_t)1 << 30)
        return hone__fail_run(ctx, HONE_INVALID, "encode: a text of %zu bytes; at most 1 GiB at a time",
                              length);
    encoder e = {.ctx = ctx, .t = t, .tokens = tokens, .spans = spans};
    size_t before = tokens->count;
    bool ok;
    char *copy = valid_copy(ctx, text, length, &ok);
    e.pcre = hone__pcre_new(ctx);
    e.match = pcre2_match_data_create(1, e.pcre);
    ok = ok && e.pcre && e.match;
    if (ok && (flags & HONE_ENCODE_ENDS) && t->add_bos && t->special[HONE_SPECIAL_BOS] >= 0)
        ok = emit(&e, t->special[HONE_SPECIAL_BOS], 0, 0);
    ok = ok && encode_text(&e, text, copy ? copy : text, length, flags);
    if (ok && (flags & HONE_ENCODE_ENDS) && t->add_eos && t->special[HONE_SPECIAL_EOS] >= 0)
        ok = emit(&e, t->special[HONE_SPECIAL_EOS], length, length);
    pcre2_match_data_free(e.match);
    pcre2_general_context_free(e.pcre);
    hone__free(ctx, copy);
    hone__free(ctx, e.symbols);
    hone__free(ctx, e.heap);
    if (!ok) {
        tokens->count = before;
        return ctx->status != HONE_OK ? ctx->status : HONE_FORMAT;
    }
    if (e.missing)
        hone__log(ctx, HONE_LOG_WARNING,
                  "%s: %zu bytes of the text have no token and are left out (the last: 0x%02X)", t->source,
                  e.missing, e.missing_byte);
    return HONE_OK;
}

hone_status hone_tokenizer_encode(hone_ctx *ctx, const hone_tokenizer *t, const char *text, size_t length,
                                  unsigned flags, hone_tokens *tokens)
{
    if (!t) return HONE_INVALID;
    return hone__tokenizer_encode(ctx, t, text, length, flags, tokens, NULL);
}
