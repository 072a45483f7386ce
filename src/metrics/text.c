/* ROUGE-L, word and character error rates: sequences against sequences. */
#include "metrics/metrics.h"
#include "metrics/words.h"

/* ---- words ---- */

/* rouge-score's tokenizer without stemming: runs of a-z and 0-9 of the lowercased text. Two more characters have such
   letters as their lower case: the Kelvin sign and the dotted capital I. */
static bool split_rouge(hone_ctx *ctx, hone__words *words, hone__buffer *room, const char *text)
{
    size_t n;
    uint32_t code = 0;
    for (const char *at = text; *at; at += n) {
        int length = hone__utf8_next(at, strnlen(at, 4), &code);
        n = length > 0 ? (size_t)length : 1;
        char c = length == 1 ? *at : code == 0x212A ? 'k' : code == 0x130 ? 'i' : ' ';
        if (length == 0) c = ' ';
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) c = ' ';
        if (!hone__buffer_add(ctx, room, &c, 1)) return false;
        if (code == 0x130 && length > 1 && !hone__buffer_add(ctx, room, " ", 1)) return false; /* its dot */
    }
    return !room->size || hone__split_at_spaces(ctx, words, room->data, room->size);
}

/* jiwer's default: between blanks; white space of two or more characters is a blank, another single one part of a word. */
static bool split_wer(hone_ctx *ctx, hone__words *words, hone__buffer *room, const char *text)
{
    (void)room;
    size_t size, n, m;
    hone__strip(&text, &size);
    const char *end = text + size, *from = text;
    for (const char *at = text; at < end; at += n) {
        if (!hone__space_at(at, &n)) continue;
        const char *run = at;
        while (run < end && hone__space_at(run, &m)) run += m;
        bool separates = *at == ' ' || run > at + n;
        n = (size_t)(run - at);
        if (!separates) continue;
        if (at > from && !hone__words_add(ctx, words, from, (size_t)(at - from))) return false;
        from = run;
    }
    return from >= end || hone__words_add(ctx, words, from, (size_t)(end - from));
}

static bool split_cer(hone_ctx *ctx, hone__words *words, hone__buffer *room, const char *text)
{
    (void)room;
    size_t size, n;
    hone__strip(&text, &size);
    for (const char *at = text; at < text + size; at += n) {
        hone__space_at(at, &n);
        if (!hone__words_add(ctx, words, at, n)) return false;
    }
    return true;
}

/* ---- sequences ---- */

/* Levenshtein's distance, or the length of the longest common subsequence; row [m + 1]. */
static int64_t distance(const int32_t *a, size_t n, const int32_t *b, size_t m, int64_t *row)
{
    for (size_t j = 0; j <= m; j++) row[j] = (int64_t)j;
    for (size_t i = 0; i < n; i++) {
        int64_t corner = row[0]++;
        for (size_t j = 0; j < m; j++) {
            int64_t above = row[j + 1], changed = corner + (a[i] != b[j]);
            row[j + 1] = HONE_MIN(changed, HONE_MIN(above, row[j]) + 1);
            corner = above;
        }
    }
    return row[m];
}

static int64_t common(const int32_t *a, size_t n, const int32_t *b, size_t m, int64_t *row)
{
    memset(row, 0, (m + 1) * sizeof *row);
    for (size_t i = 0; i < n; i++) {
        int64_t corner = 0;
        for (size_t j = 0; j < m; j++) {
            int64_t above = row[j + 1];
            row[j + 1] = a[i] == b[j] ? corner + 1 : HONE_MAX(above, row[j]);
            corner = above;
        }
    }
    return row[m];
}

hone_status hone__rouge_l_text(hone_metric *m, const char *prediction, size_t n, const char *const *references)
{
    hone__texts texts;
    hone_status status = hone__texts_number(m->ctx, split_rouge, prediction, n, references, &texts);
    if (status != HONE_OK) return status;
    size_t words = texts.start[1];
    int64_t *row = hone__alloc(m->ctx, (words + 1) * sizeof *row);
    double best = 0;
    for (size_t r = 1; r <= n && row; r++) {
        size_t length = texts.start[r + 1] - texts.start[r];
        double same = (double)common(texts.id + texts.start[r], length, texts.id, words, row);
        if (same > 0) best = HONE_MAX(best, 2 * same / (double)(words + length)); /* 2 p r / (p + r) */
    }
    if (row) m->sum += best, m->weight++, m->n++;
    hone__free(m->ctx, row);
    hone__texts_free(m->ctx, &texts);
    return row ? HONE_OK : HONE_MEMORY;
}

/* count: edits, words of references. */
static hone_status error_rate(hone_metric *m, hone__split_fn split, const char *prediction, size_t n, const char *const *references)
{
    if (n != 1) return hone__fail_run(m->ctx, HONE_INVALID, "metric '%s': one reference is wanted, not %zu", hone_metric_name(m), n);
    hone__texts texts;
    hone_status status = hone__texts_number(m->ctx, split, prediction, n, references, &texts);
    if (status != HONE_OK) return status;
    size_t said = texts.start[1], wanted = texts.start[2] - said;
    int64_t *row = hone__alloc(m->ctx, (said + 1) * sizeof *row);
    if (row) {
        m->count[0] += distance(texts.id + said, wanted, texts.id, said, row);
        m->count[1] += (int64_t)wanted;
        m->n++;
    }
    hone__free(m->ctx, row);
    hone__texts_free(m->ctx, &texts);
    return row ? HONE_OK : HONE_MEMORY;
}

hone_status hone__wer_text(hone_metric *m, const char *prediction, size_t n, const char *const *references)
{
    return error_rate(m, split_wer, prediction, n, references);
}

hone_status hone__cer_text(hone_metric *m, const char *prediction, size_t n, const char *const *references)
{
    return error_rate(m, split_cer, prediction, n, references);
}

/* Against no words at all: the insertions. */
double hone__error_rate_result(const hone_metric *m)
{
    return (double)m->count[0] / (double)HONE_MAX(m->count[1], (int64_t)1);
}
