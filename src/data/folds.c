/* Numbers of rows: stratified splits, folds for cross-validation, sampling by weight. */
#include "data/data.h"

#include <math.h>
#include <stdlib.h>

/* A row of a class, and its place in the order. */
typedef struct placed {
    double class;
    int64_t row, place;
} placed;

static int by_class(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->class != y->class) return x->class < y->class ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* [0, n), shuffled or as it is; NULL: MEMORY. */
static int64_t *new_order(hone_ctx *ctx, int64_t n, bool shuffle, uint64_t key)
{
    int64_t *order = hone__calloc(ctx, (size_t)n, sizeof *order);
    for (int64_t i = 0; order && i < n; i++) order[i] = i;
    if (order && shuffle) hone__shuffle(key, order, n);
    return order;
}

/* The rank of each row [n] when one class comes after the other, a class's rows as they stand in `order`. Who takes ranks at even
   distances takes of each class its share, rounded down or up, and so many rows as there would be without classes. NULL: MEMORY. */
static int64_t *rank_by_class(hone_ctx *ctx, const hone_tensor *y, const int64_t *order, int64_t n)
{
    int64_t *rank = hone__calloc(ctx, (size_t)n, sizeof *rank);
    placed *rows = rank ? hone__calloc(ctx, (size_t)n, sizeof *rows) : NULL;
    if (!rows) {
        hone__free(ctx, rank);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) rows[i] = (placed){hone_tensor_get(y, order[i]), order[i], i};
    qsort(rows, (size_t)n, sizeof *rows, by_class);
    for (int64_t i = 0; i < n; i++) rank[rows[i].row] = i;
    hone__free(ctx, rows);
    return rank;
}

static hone_status check_classes(hone_ctx *ctx, const hone_tensor *y, int64_t n)
{
    if (!y) return HONE_OK;
    if (y->shape.rank != 1 || y->shape.dim[0] != n)
        return hone__fail_run(ctx, HONE_SHAPE, "classes to stratify by are %s, and [%lld] is needed", HONE__SHAPE_STR(y->shape),
                              (long long)n);
    if (hone__is_blocks(y->dtype)) return hone__fail_run(ctx, HONE_DTYPE, "classes cannot be %s", hone_dtype_name(y->dtype));
    for (int64_t i = 0; i < n; i++)
        if (isnan(hone_tensor_get(y, i))) return hone__fail_run(ctx, HONE_INVALID, "the class of row %lld is NaN", (long long)i);
    return HONE_OK;
}

hone_status hone_split_rows(hone_ctx *ctx, int64_t n, double share, const hone_tensor *stratify, uint64_t seed, int64_t *rows,
                            int64_t *n_train)
{
    if (!hone__ok(ctx)) return ctx ? ctx->status : HONE_INVALID;
    if (n < 0 || !(share >= 0 && share <= 1) || !rows || !n_train)
        return hone__fail_run(ctx, HONE_INVALID, "a split of %lld rows with a share of %g; it must lie in [0, 1]", (long long)n, share);
    hone_status status = check_classes(ctx, stratify, n);
    if (status != HONE_OK) return status;
    uint64_t key = hone__key(seed, hone__hash("train_test_split", 16, 0));
    int64_t *order = new_order(ctx, n, true, key), *rank = order && stratify ? rank_by_class(ctx, stratify, order, n) : NULL;
    bool made = order && (rank || !stratify);
    int64_t out = (int64_t)llround((double)n * share), train = 0, held = n - out;
    /* of n ranks those whose multiples of out / n pass a whole number; from any of them on, so that small classes fall anywhere */
    int64_t start = n ? (int64_t)hone__random_below(hone__key(key, 1), 0, (uint64_t)n) : 0;
    *n_train = held;
    for (int64_t i = 0; made && i < n; i++) {
        bool goes = rank ? (rank[order[i]] * out + start) % n < out : i >= *n_train;
        rows[goes ? held++ : train++] = order[i];
    }
    hone__free(ctx, order);
    hone__free(ctx, rank);
    return made ? HONE_OK : ctx->status;
}

hone_status hone__k_fold(hone_ctx *ctx, int64_t n, int k, int fold, const hone_tensor *stratify, bool shuffle, uint64_t seed,
                         int64_t *rows, int64_t *n_train)
{
    if (!hone__ok(ctx)) return ctx ? ctx->status : HONE_INVALID;
    if (k < 2 || k > n || fold < 0 || fold >= k || !rows || !n_train)
        return hone__fail_run(ctx, HONE_INVALID, "fold %d of %d of %lld rows: 2 to [rows] folds, numbered from 0", fold, k, (long long)n);
    hone_status status = check_classes(ctx, stratify, n);
    if (status != HONE_OK) return status;
    int64_t *order = new_order(ctx, n, shuffle, hone__key(seed, hone__hash("k_fold", 6, 0)));
    int64_t *rank = order && stratify ? rank_by_class(ctx, stratify, order, n) : NULL;
    bool made = order && (rank || !stratify);
    int64_t begin = n / k * fold + HONE_MIN((int64_t)fold, n % k), end = begin + n / k + (fold < n % k), train = 0;
    *n_train = n - (end - begin);
    for (int64_t i = 0, held = *n_train; made && i < n; i++) {
        bool out = rank ? rank[order[i]] % k == fold : i >= begin && i < end; /* dealt out like cards */
        rows[out ? held++ : train++] = order[i];
    }
    hone__free(ctx, order);
    hone__free(ctx, rank);
    return made ? HONE_OK : ctx->status;
}

hone_status hone_k_fold(hone_ctx *ctx, int64_t n, int k, int fold, const hone_tensor *stratify, uint64_t seed, int64_t *rows,
                        int64_t *n_train)
{
    return hone__k_fold(ctx, n, k, fold, stratify, true, seed, rows, n_train);
}

hone_status hone_sample_rows(hone_ctx *ctx, const double *weights, int64_t n, uint64_t seed, int64_t count, int64_t *rows)
{
    if (!hone__ok(ctx)) return ctx ? ctx->status : HONE_INVALID;
    if (n < 1 || count < 0 || !weights || (count && !rows))
        return hone__fail_run(ctx, HONE_INVALID, "sampling needs weights of at least one row");
    double *sums = hone__calloc(ctx, (size_t)n, sizeof *sums), sum = 0;
    if (!sums) return ctx->status;
    for (int64_t i = 0; i < n; i++) {
        if (!(weights[i] >= 0 && isfinite(weights[i]))) {
            hone__free(ctx, sums);
            return hone__fail_run(ctx, HONE_INVALID, "the weight of row %lld is %g", (long long)i, weights[i]);
        }
        sums[i] = sum += weights[i];
    }
    hone_status status = sum > 0 && isfinite(sum) ? HONE_OK : hone__fail_run(ctx, HONE_INVALID, "the weights' sum is %g", sum);
    uint64_t key = hone__key(seed, hone__hash("sample_rows", 11, 0));
    for (int64_t i = 0; status == HONE_OK && i < count; i++) {
        uint32_t bits[4];
        hone__philox(key, (uint64_t)i, bits);
        double at = (double)(((uint64_t)bits[0] << 32 | bits[1]) >> 11) * 0x1p-53 * sum;
        int64_t low = 0, high = n - 1; /* the first whose sum is above: never one of weight 0 */
        while (low < high) {
            int64_t middle = low + (high - low) / 2;
            if (sums[middle] > at)
                high = middle;
            else
                low = middle + 1;
        }
        while (weights[low] == 0) low--; /* rounding at the very end */
        rows[i] = low;
    }
    hone__free(ctx, sums);
    return status;
}
