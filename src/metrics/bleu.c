/* BLEU of a corpus: Papineni et al. 2002, with sacrebleu's 13a tokenizer (mteval-v13a) and its exponential smoothing. */
#include "metrics/metrics.h"
#include "metrics/words.h"

#include <math.h>
#include <stdlib.h>

enum { ORDERS = 4, HYPOTHESIS = 0, REFERENCE, MATCHES, TOTALS = MATCHES + ORDERS }; /* in hone_metric.count */

/* ---- the tokenizer: five passes over bytes; characters beyond ASCII are never touched ---- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_point(char c) { return c == '.' || c == ','; }
static bool is_symbol(char c) /* all of ASCII that is neither a letter nor a digit, but ' , - . */
{
    return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static bool replace(hone_ctx *ctx, hone__buffer *text, const char *what, const char *with)
{
    hone__buffer to = {0};
    size_t length = strlen(what);
    bool ok = hone__buffer_add(ctx, &to, "", 0);
    for (size_t i = 0; i < text->size && ok;) {
        bool here = text->size - i >= length && !memcmp(text->data + i, what, length);
        ok = here ? hone__buffer_add(ctx, &to, with, strlen(with)) : hone__buffer_add(ctx, &to, text->data + i, 1);
        i += here ? length : 1;
    }
    hone__buffer_free(ctx, text);
    *text = to;
    return ok;
}

/* One rule of the four: what begins at text (n bytes of it are there) and is to be spaced out: how, into put, and the bytes
   it takes; 0: nothing. */
typedef size_t (*rule)(const char *text, size_t n, char put[5]);
static size_t symbols(const char *s, size_t n, char put[5])
{
    if (n < 1 || !is_symbol(s[0])) return 0;
    memcpy(put, (char[]){' ', s[0], ' ', 0}, 4);
    return 1;
}
static size_t points_behind(const char *s, size_t n, char put[5]) /* a point or comma not behind a digit */
{
    if (n < 2 || is_digit(s[0]) || !is_point(s[1])) return 0;
    memcpy(put, (char[]){s[0], ' ', s[1], ' ', 0}, 5);
    return 2;
}
static size_t points_before(const char *s, size_t n, char put[5]) /* a point or comma not before a digit */
{
    if (n < 2 || !is_point(s[0]) || is_digit(s[1])) return 0;
    memcpy(put, (char[]){' ', s[0], ' ', s[1], 0}, 5);
    return 2;
}
static size_t dashes(const char *s, size_t n, char put[5]) /* a dash behind a digit */
{
    if (n < 2 || !is_digit(s[0]) || s[1] != '-') return 0;
    memcpy(put, (char[]){s[0], ' ', '-', ' ', 0}, 5);
    return 2;
}

static bool apply(hone_ctx *ctx, hone__buffer *text, rule r)
{
    hone__buffer to = {0};
    bool ok = true;
    for (size_t i = 0; i < text->size && ok;) {
        char put[5] = {0};
        size_t taken = r(text->data + i, text->size - i, put);
        ok = taken ? hone__buffer_add(ctx, &to, put, strlen(put)) : hone__buffer_add(ctx, &to, text->data + i, 1);
        i += taken ? taken : 1;
    }
    hone__buffer_free(ctx, text);
    *text = to;
    return ok;
}

static bool split_13a(hone_ctx *ctx, hone__words *words, hone__buffer *room, const char *text)
{
    static const char *const replaced[][2] = {{"<skipped>", ""}, {"-\n", ""}, {"\n", " "}, {"&quot;", "\""},
                                              {"&amp;", "&"},    {"&lt;", "<"}, {"&gt;", ">"}};
    static const rule rules[] = {symbols, points_behind, points_before, dashes};
    size_t size;
    const char *inner = text;
    hone__strip(&inner, &size); /* its end alone */
    size = (size_t)(inner - text) + size;
    bool ok = hone__buffer_add(ctx, room, text, size);
    for (size_t i = 0; i < HONE_ARRAY_LEN(replaced) && ok; i++) ok = replace(ctx, room, replaced[i][0], replaced[i][1]);
    hone__buffer spaced = {0};
    ok = ok && hone__buffer_add(ctx, &spaced, " ", 1) && (!room->size || hone__buffer_add(ctx, &spaced, room->data, room->size)) &&
         hone__buffer_add(ctx, &spaced, " ", 1);
    hone__buffer_free(ctx, room);
    *room = spaced;
    for (size_t i = 0; i < HONE_ARRAY_LEN(rules) && ok; i++) ok = apply(ctx, room, rules[i]);
    return ok && hone__split_at_spaces(ctx, words, room->data, room->size);
}

/* ---- n-grams ---- */

typedef struct gram {
    int32_t id[ORDERS]; /* -1 behind the end of shorter ones */
} gram;

static int by_ids(const void *a, const void *b)
{
    const gram *x = a, *y = b;
    for (int i = 0; i < ORDERS; i++)
        if (x->id[i] != y->id[i]) return x->id[i] < y->id[i] ? -1 : 1;
    return 0;
}

static int order_of(const gram *g)
{
    int n = 0;
    while (n < ORDERS && g->id[n] >= 0) n++;
    return n;
}

/* All of 1 to ORDERS words, sorted, into grams [ORDERS n]; how many. */
static size_t grams_of(const int32_t *id, size_t n, gram *grams)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t length = 1; length <= ORDERS && i + length <= n; length++) {
            gram *g = &grams[count++];
            for (size_t k = 0; k < ORDERS; k++) g->id[k] = k < length ? id[i + k] : -1;
        }
    if (count) qsort(grams, count, sizeof *grams, by_ids);
    return count;
}

/* For run after run of equal grams in a, how often it is in b (both sorted): best[first of the run] is raised to that. */
static void count_in(const gram *a, size_t n, const gram *b, size_t m, int64_t *best)
{
    for (size_t i = 0, j = 0, end; i < n; i = end) {
        for (end = i; end < n && !by_ids(&a[i], &a[end]);) end++;
        while (j < m && by_ids(&b[j], &a[i]) < 0) j++;
        size_t from = j;
        while (j < m && !by_ids(&b[j], &a[i])) j++;
        best[i] = HONE_MAX(best[i], (int64_t)(j - from));
    }
}

static size_t closest(const hone__texts *texts, size_t n, size_t length)
{
    size_t best = SIZE_MAX, best_away = SIZE_MAX;
    for (size_t r = 1; r <= n; r++) {
        size_t is = texts->start[r + 1] - texts->start[r], away = is > length ? is - length : length - is;
        if (away < best_away || (away == best_away && is < best)) best = is, best_away = away;
    }
    return best;
}

hone_status hone__bleu_text(hone_metric *m, const char *prediction, size_t n, const char *const *references)
{
    hone_ctx *ctx = m->ctx;
    hone__texts texts;
    hone_status status = hone__texts_number(ctx, split_13a, prediction, n, references, &texts);
    if (status != HONE_OK) return status;
    size_t length = texts.start[1], longest = length;
    for (size_t r = 1; r <= n; r++) longest = HONE_MAX(longest, texts.start[r + 1] - texts.start[r]);
    gram *said = hone__calloc(ctx, ORDERS * length + 1, sizeof *said);
    gram *wanted = said ? hone__calloc(ctx, ORDERS * longest + 1, sizeof *wanted) : NULL;
    int64_t *best = wanted ? hone__calloc(ctx, ORDERS * length + 1, sizeof *best) : NULL;
    if (best) {
        size_t count = grams_of(texts.id, length, said);
        for (size_t r = 1; r <= n; r++)
            count_in(said, count, wanted, grams_of(texts.id + texts.start[r], texts.start[r + 1] - texts.start[r], wanted), best);
        for (size_t i = 0, end; i < count; i = end) {
            for (end = i; end < count && !by_ids(&said[i], &said[end]);) end++;
            m->count[MATCHES + order_of(&said[i]) - 1] += HONE_MIN(best[i], (int64_t)(end - i));
            m->count[TOTALS + order_of(&said[i]) - 1] += (int64_t)(end - i);
        }
        m->count[HYPOTHESIS] += (int64_t)length;
        m->count[REFERENCE] += (int64_t)closest(&texts, n, length);
        m->n++;
    }
    hone__free(ctx, said);
    hone__free(ctx, wanted);
    hone__free(ctx, best);
    hone__texts_free(ctx, &texts);
    return best ? HONE_OK : HONE_MEMORY;
}

/* brevity penalty times the geometric mean of the precisions; an order without matches counts as half of one match, the next
   as a quarter, ... (Chen and Cherry 2014, method 3). */
double hone__bleu_result(const hone_metric *m)
{
    const int64_t *c = m->count;
    double logs = 0, smooth = 1;
    bool any = false;
    for (int n = 0; n < ORDERS; n++) any = any || c[MATCHES + n];
    if (!any) return 0;
    for (int n = 0; n < ORDERS; n++) {
        if (!c[TOTALS + n]) return 0;
        double matches = c[MATCHES + n] ? (double)c[MATCHES + n] : 1 / (smooth *= 2);
        logs += log(100 * matches / (double)c[TOTALS + n]);
    }
    double brevity = c[HYPOTHESIS] < c[REFERENCE] ? exp(1 - (double)c[REFERENCE] / (double)c[HYPOTHESIS]) : 1;
    return brevity * exp(logs / ORDERS);
}
