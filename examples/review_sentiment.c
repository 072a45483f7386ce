/* Is a movie review positive? Embedded words, read by a GRU from both ends, learnt from nothing but 9,500 reviews (Hutto and
   Gilbert 2014; scripts/get-data fetches them). A tenth is held out.
   usage: review_sentiment [FILE [EPOCHS [SEED [PICTURE]]]]     PICTURE: an .svg or .png file for the ROC curve */
#include <hone/hone.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_REVIEWS = 20000, MOST_WORDS = 1 << 16, LENGTH = 48, PADDING = 0, UNKNOWN = 1 };

typedef struct review {
    char *text;
    int positive;
} review;

/* ---- words: a hash table of those of the training data that occur more than once ---- */

typedef struct word {
    char text[32];
    int count, id;
} word;
static word words[MOST_WORDS];
static int n_words;

static word *find(const char *text)
{
    unsigned hash = 2166136261u;
    for (const char *c = text; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    word *w = &words[hash % MOST_WORDS];
    while (w->text[0] && strcmp(w->text, text)) w = w == words + MOST_WORDS - 1 ? words : w + 1;
    return w;
}

/* The next word, in small letters, or NULL at the end. */
static const char *next(const char *at, char text[32])
{
    size_t n = 0;
    while (*at && !isalnum((unsigned char)*at)) at++;
    for (; isalnum((unsigned char)*at) || (*at == '\'' && n); at++)
        if (n < 31) text[n++] = (char)tolower((unsigned char)*at);
    text[n] = 0;
    return n ? at : NULL;
}

static void count_words(const review *r)
{
    char text[32];
    for (const char *at = r->text; (at = next(at, text));) {
        word *w = find(text);
        if (!w->text[0] && n_words >= MOST_WORDS / 2) continue; /* the table is full enough */
        if (!w->text[0]) strcpy(w->text, text), n_words++;
        w->count++;
    }
}

/* The last LENGTH words as numbers, padding before them: so the end is where the GRU ends. */
static void encode(const review *r, int32_t *to)
{
    char text[32];
    int32_t ids[1024];
    int n = 0;
    for (const char *at = r->text; n < 1024 && (at = next(at, text)); n++) {
        const word *w = find(text);
        ids[n] = w->id ? w->id : UNKNOWN;
    }
    for (int i = 0; i < LENGTH; i++) to[i] = n - LENGTH + i < 0 ? PADDING : ids[n - LENGTH + i];
}

/* ---- reviews: lines of a number, a rating from -4 to 4, and the text, with tabs between ---- */

static int read_reviews(const char *path, review *reviews)
{
    static char line[65536];
    FILE *file = fopen(path, "r");
    int n = 0;
    if (!file) return -1;
    while (n < MOST_REVIEWS && fgets(line, sizeof line, file)) {
        char *rating = strchr(line, '\t'), *text = rating ? strchr(rating + 1, '\t') : NULL;
        if (text) reviews[n++] = (review){strdup(text + 1), strtod(rating, NULL) > 0};
    }
    fclose(file);
    return n;
}

static void print(void *user, const char *text) { (void)user, fputs(text, stderr); }

int main(int argc, char **argv)
{
    static review reviews[MOST_REVIEWS];
    static int64_t rows[MOST_REVIEWS];
    const char *path = argc > 1 ? argv[1] : "build/data/movieReviewSnippets_GroundTruth.txt";
    hone_ctx *ctx = hone_ctx_new(.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 0);
    int n = read_reviews(path, reviews);
    int64_t n_train = 0;
    if (n < 0) return fprintf(stderr, "review_sentiment: %s cannot be read (scripts/get-data FOLDER fetches it)\n", path), 1;
    if (n < 20 || hone_split_rows(ctx, n, 0.1, NULL, hone_seed(ctx), rows, &n_train) != HONE_OK)
        return fprintf(stderr, "review_sentiment: %s holds %d reviews\n", path, n), 1;

    int vocabulary = UNKNOWN + 1;
    for (int64_t i = 0; i < n_train; i++) count_words(&reviews[rows[i]]);
    for (int i = 0; i < MOST_WORDS; i++)
        if (words[i].count > 1) words[i].id = vocabulary++;
    hone_tensor *x[2], *y[2];
    for (int part = 0; part < 2; part++) {
        int64_t from = part ? n_train : 0, count = part ? n - n_train : n_train;
        x[part] = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(count, LENGTH));
        y[part] = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(count, 1));
        for (int64_t i = 0; x[part] && y[part] && i < count; i++) {
            const review *r = &reviews[rows[from + i]];
            encode(r, (int32_t *)hone_tensor_data(x[part]) + i * LENGTH);
            ((float *)hone_tensor_data(y[part]))[i] = (float)r->positive;
        }
    }

    hone_model *model = hone_model_of(hone_sequential(ctx,
        hone_embedding_layer(ctx, vocabulary, 64, .padding = true, .padding_index = PADDING),
        hone_dropout_layer(ctx, 0.5),
        hone_gru(ctx, 64, .bidirectional = true),
        hone_dropout_layer(ctx, 0.5),
        hone_dense(ctx, 1)));
    hone_compile(model, .optimizer = hone_adamw(ctx, .learning_rate = 0.002, .weight_decay = 0.02),
                 .loss = HONE_BINARY_CROSSENTROPY_LOGITS);
    double loss = 0, accuracy = 0;
    if (hone_ctx_status(ctx) != HONE_OK ||
        hone_fit(model, x[0], y[0], NULL, .epochs = argc > 2 ? atoi(argv[2]) : 3, .batch_size = 64, .progress = true,
                 .print = print) != HONE_OK ||
        hone_evaluate(model, x[1], y[1], 256, &loss, &accuracy) != HONE_OK)
        return fprintf(stderr, "review_sentiment: %s\n", hone_error(ctx)), 1;
    hone_metric *roc = hone_metric_new(ctx, "roc_auc");
    hone_tensor *scores = argc > 4 ? hone_predict(model, x[1], 256) : NULL;
    if (scores && (hone_metric_update(roc, scores, y[1]) != HONE_OK || hone_plot_roc(ctx, argv[4], "Positive reviews", roc, NULL) != HONE_OK))
        fprintf(stderr, "review_sentiment: %s\n", hone_error(ctx));
    printf("%d words, %lld reviews held out: loss %.4f, accuracy %.4f\n", vocabulary, (long long)(n - n_train), loss, accuracy);

    hone_metric_free(roc);
    hone_tensor_free(scores);
    hone_model_release(model);
    for (int part = 0; part < 2; part++) hone_tensor_free(x[part]), hone_tensor_free(y[part]);
    for (int i = 0; i < n; i++) free(reviews[i].text);
    hone_ctx_release(ctx);
    return 0;
}
