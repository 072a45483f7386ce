/* What will this reader think of that review? Matrix factorization (Koren et al. 2009, "Matrix Factorization Techniques for
   Recommender Systems"): rating = mean + the reader's bias + the review's bias + the product of two vectors, the reader's and
   the review's, all learnt from known ratings.
   The data: 10,605 sentences of movie reviews, each rated from -4 (negative) to 4 (positive) by about 19 readers (Hutto and
   Gilbert 2014; `scripts/get-data FOLDER ratings` fetches them from the Python package vaderSentiment). Readers are anonymous,
   but 30 sentences at a time were shown to the same readers, whose ratings stand in the same order: deviations from a
   sentence's mean correlate by 0.34 within such a block at the same place of the list, and by -0.01 from one block to the next.
   So there are 6,635 readers with 30 ratings each. A tenth of all ratings is held out; another tenth says when to stop.
   Prints the root mean squared error, in steps of that scale, of simpler models and of this one: 2.144 for the mean of all, 0.998
   for the review's mean, 0.867 for biases alone, 0.859 for factors beside them, in 2 s on 2 cores.
   usage: recommend [FILE [EPOCHS [SEED]]] */
#include <hone/hone.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 18, BLOCK = 30, FACTORS = 8 };
enum { TRAIN, VALIDATION, TEST, PARTS };

typedef struct rating {
    int32_t reader, review;
    float stars;
} rating;

static struct {
    rating ratings[MOST];
    int n, readers, reviews;
} data;

/* Lines of a number, the mean, the standard deviation, and the ratings as [3, 2, -1, ...], with tabs between. */
static bool read_ratings(const char *path)
{
    static char line[4096];
    FILE *file = fopen(path, "r");
    int before = 0; /* ratings of the line before: another number of them means other readers */
    if (!file) return false;
    for (int i = 0; fgets(line, sizeof line, file); i++, data.reviews++) {
        char *at = strchr(line, '['), *end;
        int count = 0;
        for (char *c = at ? at : ""; *c; c++) count += *c == ',';
        count += at != NULL;
        if (i % BLOCK == 0 || count != before) data.readers += before;
        before = count;
        for (int k = 0; k < count && data.n < MOST; k++, at = end)
            data.ratings[data.n++] = (rating){data.readers + k, data.reviews, strtof(at + 1, &end)};
    }
    data.readers += before;
    fclose(file);
    return true;
}

/* ---- what is simpler: the mean, each review's mean, and biases of both ---- */

static struct {
    double mean, *reader, *review;
} bias;

static double error(const int64_t *rows, int64_t n, bool readers, bool reviews)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const rating *r = &data.ratings[rows[i]];
        double e = r->stars - bias.mean - (reviews ? bias.review[r->review] : 0) - (readers ? bias.reader[r->reader] : 0);
        sum += e * e;
    }
    return sqrt(sum / (double)n);
}

/* The biases of one side that are best beside the other side's: sums of what is left, over counts + shrink. */
static void solve(const int64_t *rows, int64_t n, double *to, int count, bool of_readers, double shrink)
{
    double *sums = calloc((size_t)count, 2 * sizeof *sums);
    for (int64_t i = 0; i < n; i++) {
        const rating *r = &data.ratings[rows[i]];
        int k = of_readers ? r->reader : r->review;
        sums[2 * k] += r->stars - bias.mean - (of_readers ? bias.review[r->review] : bias.reader[r->reader]);
        sums[2 * k + 1]++;
    }
    for (int k = 0; k < count; k++) to[k] = sums[2 * k] / (sums[2 * k + 1] + shrink);
    free(sums);
}

static void solve_both(const int64_t *rows, int64_t n, double shrink)
{
    memset(bias.reader, 0, (size_t)data.readers * sizeof *bias.reader);
    for (int round = 0; round < 10; round++) {
        solve(rows, n, bias.review, data.reviews, false, shrink);
        solve(rows, n, bias.reader, data.readers, true, shrink);
    }
}

/* ---- the model ---- */

/* What keeps vectors and biases small where there are few ratings to learn them from; chosen on the validation part. */
static const double FACTOR_PENALTY = 0.25, BIAS_PENALTY = 0.05;

/* From pairs of a reader and a review, i32 [B, 2], to [B, 2]: how far the rating is from the mean, and the penalty for the size
   of what that is made of. */
typedef struct factorization {
    hone_layer base;
    hone_layer *readers, *reviews, *reader_bias, *review_bias;
} factorization;

static hone_node *sum_of_squares(hone_node *x) { return hone_sum(hone_square(x), HONE_AXES(1), true); }

static hone_node *forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)graph, (void)n;
    factorization *f = (factorization *)(void *)self;
    hone_node *reader = hone_squeeze(hone_slice(in[0], 1, 0, 1, 1), 1), *review = hone_squeeze(hone_slice(in[0], 1, 1, 2, 1), 1);
    hone_node *p = hone_apply(f->readers, reader), *q = hone_apply(f->reviews, review);         /* [B, FACTORS] */
    hone_node *bp = hone_apply(f->reader_bias, reader), *bq = hone_apply(f->review_bias, review); /* [B, 1] */
    hone_node *fit = hone_add(hone_sum(hone_mul(p, q), HONE_AXES(1), true), hone_add(bp, bq));
    hone_node *size = hone_add(hone_affine(hone_add(sum_of_squares(p), sum_of_squares(q)), FACTOR_PENALTY, 0),
                               hone_affine(hone_add(hone_square(bp), hone_square(bq)), BIAS_PENALTY, 0));
    return hone_concatenate(2, (hone_node *[]){fit, size}, 1);
}

static hone_model *new_factorization(hone_ctx *ctx)
{
    factorization *f = hone_module(ctx, factorization, forward);
    if (!f) return NULL;
    f->readers = hone_layer_add(&f->base, "readers", hone_embedding_layer(ctx, data.readers, FACTORS));
    f->reviews = hone_layer_add(&f->base, "reviews", hone_embedding_layer(ctx, data.reviews, FACTORS));
    f->reader_bias = hone_layer_add(&f->base, "reader_bias", hone_embedding_layer(ctx, data.readers, 1, .initializer = HONE_INIT_ZEROS));
    f->review_bias = hone_layer_add(&f->base, "review_bias", hone_embedding_layer(ctx, data.reviews, 1, .initializer = HONE_INIT_ZEROS));
    hone_layer_initialize(&f->base, "readers.weight", HONE_INIT_NORMAL, .value = 0.1);
    hone_layer_initialize(&f->base, "reviews.weight", HONE_INIT_NORMAL, .value = 0.1);
    return hone_model_of(&f->base);
}

static hone_node *loss(void *user, hone_node *output, hone_node *target)
{
    (void)user;
    hone_node *fit = hone_slice(output, 1, 0, 1, 1), *penalty = hone_slice(output, 1, 1, 2, 1);
    return hone_squeeze(hone_add(hone_square(hone_sub(fit, target)), penalty), 1);
}

/* NaN after an error. */
static double model_error(hone_model *model, const hone_tensor *x, const hone_tensor *y)
{
    hone_tensor *said = hone_predict(model, x, 4096);
    double sum = 0, n = (double)hone_shape_count(hone_tensor_shape(y));
    for (int64_t i = 0; said && i < (int64_t)n; i++) {
        double e = hone_tensor_get(said, 2 * i) - hone_tensor_get(y, i);
        sum += e * e;
    }
    bool ok = said != NULL;
    hone_tensor_free(said);
    return ok ? sqrt(sum / n) : NAN;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "build/data/movieReviewSnippets_anonDataRatings.txt";
    int epochs = argc > 2 ? atoi(argv[2]) : 20;
    hone_ctx *ctx = hone_ctx_new(.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 0);
    if (!read_ratings(path)) return fprintf(stderr, "recommend: %s cannot be read (scripts/get-data FOLDER ratings fetches it)\n", path), 1;
    int64_t *rows[PARTS], count[PARTS], most = 0;
    rows[TRAIN] = malloc((size_t)data.n * sizeof **rows + 1);
    if (data.n < 100 || hone_split_rows(ctx, data.n, 0.2, NULL, hone_seed(ctx), rows[TRAIN], &most) != HONE_OK)
        return fprintf(stderr, "recommend: %s holds %d ratings\n", path, data.n), 1;
    count[TRAIN] = most, count[VALIDATION] = (data.n - most) / 2, count[TEST] = data.n - most - count[VALIDATION];
    rows[VALIDATION] = rows[TRAIN] + most, rows[TEST] = rows[VALIDATION] + count[VALIDATION];
    printf("%d ratings by %d readers of %d reviews\n", data.n, data.readers, data.reviews);

    bias.reader = calloc((size_t)data.readers, sizeof *bias.reader);
    bias.review = calloc((size_t)data.reviews, sizeof *bias.review);
    for (int64_t i = 0; i < most; i++) bias.mean += data.ratings[rows[TRAIN][i]].stars / (double)most;
    printf("The mean of all: RMSE %.4f\n", error(rows[TEST], count[TEST], false, false));
    solve(rows[TRAIN], most, bias.review, data.reviews, false, 1);
    printf("The review's mean: RMSE %.4f\n", error(rows[TEST], count[TEST], false, true));
    double best = INFINITY, best_test = NAN;
    for (double shrink = 0.25; shrink <= 16; shrink *= 2) {
        solve_both(rows[TRAIN], most, shrink);
        double e = error(rows[VALIDATION], count[VALIDATION], true, true);
        if (e < best) best = e, best_test = error(rows[TEST], count[TEST], true, true);
    }
    printf("Biases: RMSE %.4f\n", best_test);

    hone_tensor *x[PARTS], *y[PARTS];
    for (int part = 0; part < PARTS; part++) {
        x[part] = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(count[part], 2));
        y[part] = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(count[part], 1));
        for (int64_t i = 0; x[part] && y[part] && i < count[part]; i++) {
            const rating *r = &data.ratings[rows[part][i]];
            ((int32_t *)hone_tensor_data(x[part]))[2 * i] = r->reader, ((int32_t *)hone_tensor_data(x[part]))[2 * i + 1] = r->review;
            ((float *)hone_tensor_data(y[part]))[i] = (float)(r->stars - bias.mean);
        }
    }
    hone_model *model = new_factorization(ctx);
    hone_compile(model, .optimizer = hone_adam(ctx, .learning_rate = 0.01), .custom_loss = loss);
    int best_epoch = 0;
    best = INFINITY;
    for (int epoch = 1; epoch <= epochs; epoch++) {
        if (hone_ctx_status(ctx) != HONE_OK || hone_fit(model, x[TRAIN], y[TRAIN], NULL, .batch_size = 1024) != HONE_OK)
            return fprintf(stderr, "recommend: %s\n", hone_error(ctx)), 1;
        double e = model_error(model, x[VALIDATION], y[VALIDATION]);
        if (e < best) best = e, best_test = model_error(model, x[TEST], y[TEST]), best_epoch = epoch;
        fprintf(stderr, "epoch %d: RMSE %.4f, of the best one %.4f\n", epoch, e, best);
    }
    printf("Factorization, epoch %d: RMSE %.4f\n", best_epoch, best_test);

    hone_model_release(model);
    for (int part = 0; part < PARTS; part++) hone_tensor_free(x[part]), hone_tensor_free(y[part]);
    free(rows[TRAIN]), free(bias.reader), free(bias.review);
    hone_ctx_release(ctx);
    return 0;
}
