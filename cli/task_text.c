/* Texts: a column of words, numbered by a vocabulary, whose vectors are averaged or, with many texts, read by a GRU. */
#include "task.h"

#include <stdlib.h>

typedef struct text_task {
    task base;
    char *column;
    hone_vocabulary *vocabulary;
    hone_transform dropout;
} text_task;

static text_task *text_of(const task *t) { return (text_task *)(uintptr_t)t; }

void task_use_text(task *t, const char *column) { text_of(t)->column = cli_copy(column); }

/* The texts of these rows, NULL where there is none; free the list. */
static const char **texts_of(const task *t, int64_t n, const int64_t *rows)
{
    const hone_column *c = hone_frame_find(t->frame, text_of(t)->column);
    const char **texts = cli_alloc((size_t)n * sizeof *texts);
    for (int64_t i = 0; i < n; i++)
        if (!hone_column_missing(c, rows[i])) texts[i] = c->categories[c->codes[rows[i]]];
    return texts;
}

static bool learn(task *t, int64_t n, const int64_t *rows)
{
    text_task *own = text_of(t);
    const char **texts = texts_of(t, n, rows);
    own->vocabulary = hone_vocabulary_new(t->ctx, n, texts);
    free(texts);
    if (!own->vocabulary) return task_failed(t);
    int64_t words = hone_vocabulary_size(own->vocabulary) - 2, length = hone_vocabulary_length(own->vocabulary);
    for (size_t i = 0; i < t->frame->n_columns; i++) {
        const hone_column *c = &t->frame->columns[i];
        char what[160], becomes[160] = "left out: only the texts are read";
        snprintf(what, sizeof what, c->numbers ? "numbers" : "text, %zu different ones", c->n_categories);
        if (!strcmp(c->name, own->column))
            snprintf(becomes, sizeof becomes, "its last %lld words, of %lld that are known", (long long)length, (long long)words);
        else if (!strcmp(c->name, t->target))
            snprintf(becomes, sizeof becomes, t->classes ? "the target: one of %lld classes" : "the target: a quantity", (long long)t->classes);
        else
            cli_note(t->args, "'%s' is left out: only '%s' is read", c->name, own->column);
        task_fact(t, c->name, what, becomes);
    }
    cli_note(t->args, "'%s' is read: %lld words are known, the last %lld of each text count", own->column, (long long)words,
             (long long)length);
    own->dropout = (hone_transform){.kind = HONE_WORD_DROPOUT, .probability = 0.1, .value = HONE_WORD_PADDING};
    t->transforms = &own->dropout, t->n_transforms = 1;
    return true;
}

/* On 8,500 movie reviews the mean of the words is right in 77.5 to 78.7 %, a GRU in 76.4 to 77.3 %: order takes more to learn. */
enum { MANY = 20000 };

static void propose(task *t, char first[64], char arch[512])
{
    snprintf(first, 64, "embedding %lld 64 padding, ", (long long)hone_vocabulary_size(text_of(t)->vocabulary));
    snprintf(arch, 512, t->rows < MANY ? "dropout 0.5, permute 2x1, global_average_pool, dropout 0.3"
                                       : "dropout 0.5, gru 64 bidirectional, dropout 0.5");
}

static hone_tensor *take(task *t, int64_t n, const int64_t *rows)
{
    const char **texts = texts_of(t, n, rows);
    hone_tensor *x = hone_vocabulary_encode(text_of(t)->vocabulary, n, texts);
    free(texts);
    return x;
}

static bool read_texts(task *t, const char *path, bool targets)
{
    if (!task_read_frame(t, path, targets)) return false;
    const hone_column *c = hone_frame_find(t->frame, text_of(t)->column);
    if (c && c->codes) return true;
    cli_fail(t->args, c ? "%s: column '%s' is of numbers, and texts are expected" : "%s: column '%s' is missing", path, text_of(t)->column);
    return false;
}

static bool save(const task *t, const char *folder, json_t *into)
{
    json_object_set_new(into, "text", cli_json_text(text_of(t)->column, strlen(text_of(t)->column)));
    char *path = cli_join(folder, "vocabulary.json");
    bool ok = hone_vocabulary_save(text_of(t)->vocabulary, path) == HONE_OK || task_failed(t);
    free(path);
    return ok;
}

static bool load(task *t, const char *folder, const json_t *from)
{
    const char *column = json_string_value(json_object_get(from, "text"));
    if (!column) return cli_fail(t->args, "%s/task.json: \"text\" is missing", folder), false;
    text_of(t)->column = cli_copy(column);
    char *path = cli_join(folder, "vocabulary.json");
    text_of(t)->vocabulary = hone_vocabulary_load(t->ctx, path);
    free(path);
    return text_of(t)->vocabulary || task_failed(t);
}

static void lend(const task *t, task *to)
{
    text_of(to)->column = text_of(t)->column;
    text_of(to)->vocabulary = text_of(t)->vocabulary;
}

static void free_own(task *t)
{
    if (t->from) return;
    free(text_of(t)->column);
    hone_vocabulary_free(text_of(t)->vocabulary);
}

const task_kind task_text = {
    .name = "text", .plural = "texts", .size = sizeof(text_task), .epochs = 20, .patience = 3, .batch_size = 64, .learning_rate = 0.001,
    .learn = learn, .propose = propose, .take = take, .read = read_texts, .save = save, .load = load, .lend = lend, .free = free_own,
};
