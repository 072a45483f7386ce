/* Splits, loaders, and training from them. */
#include "data_tools.h"

#include "hone/train.h"

#include <sys/stat.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

static hone_ctx *ctx;

static int begin(void **state) { return begin_clean(state, &ctx); }
static int end(void **state) { return end_clean(state, ctx); }

/* ---- splits ---- */

static void stratified_parts_have_the_classes_of_the_whole(void **state)
{
    (void)state;
    enum { N = 103, K = 5 };
    int32_t classes[N];
    int total[3] = {0};
    for (int i = 0; i < N; i++) classes[i] = i % 10 == 0 ? 2 : i % 10 < 4, total[classes[i]]++;
    hone_tensor *y = hone_tensor_from_i32(ctx, HONE_SHAPE(N), classes);
    int64_t rows[N], again[N], n_train;
    assert_hone_ok(ctx, hone_split_rows(ctx, N, 0.2, y, 5, rows, &n_train));
    assert_int_equal(n_train, N - 21);
    int held[3] = {0};
    for (int64_t i = n_train; i < N; i++) held[classes[rows[i]]]++;
    for (int c = 0; c < 3; c++) assert_true(abs(held[c] * N - total[c] * 21) < N); /* rounded down or up */
    assert_hone_ok(ctx, hone_split_rows(ctx, N, 0.2, y, 5, again, &n_train));
    assert_memory_equal(rows, again, sizeof rows);
    assert_hone_ok(ctx, hone_split_rows(ctx, N, 0.2, y, 6, again, &n_train));
    assert_true(memcmp(rows, again, sizeof rows) != 0);
    for (int stratified = 0; stratified < 2; stratified++) {
        int seen[N] = {0};
        for (int fold = 0; fold < K; fold++) {
            assert_hone_ok(ctx, hone_k_fold(ctx, N, K, fold, stratified ? y : NULL, 1, rows, &n_train));
            int all[N] = {0}, in[3] = {0};
            for (int i = 0; i < N; i++) all[rows[i]]++;
            for (int i = 0; i < N; i++) assert_int_equal(all[i], 1);
            assert_int_equal(N - n_train, N / K + (fold < N % K)); /* scikit-learn's sizes */
            for (int64_t i = n_train; i < N; i++) seen[rows[i]]++, in[classes[rows[i]]]++;
            for (int c = 0; stratified && c < 3; c++) assert_true(abs(in[c] * K - total[c]) < K); /* rounded down or up */
        }
        for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
    }
    for (uint64_t seed = 0; seed < 200; seed++) { /* many small classes, other shares */
        int counts[12] = {0}, out[12] = {0};
        int64_t n = 40 + (int64_t)seed % 60, held_out = (int64_t)round((double)n * (0.1 + 0.2 * (double)(seed % 3)));
        hone_tensor *few = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(n));
        for (int64_t i = 0; i < n; i++) counts[((int32_t *)hone_tensor_data(few))[i] = (int32_t)(i * i * 7 / 5 % 12)]++;
        assert_hone_ok(ctx, hone_split_rows(ctx, n, 0.1 + 0.2 * (double)(seed % 3), few, seed, rows, &n_train));
        assert_int_equal(n_train, n - held_out);
        for (int64_t i = n_train; i < n; i++) out[((const int32_t *)hone_tensor_data(few))[rows[i]]]++;
        for (int c = 0; c < 12; c++) assert_true(abs(out[c] * (int)n - counts[c] * (int)held_out) < n);
        hone_tensor_free(few);
    }
    assert_int_equal(hone_k_fold(ctx, N, 1, 0, NULL, 1, rows, &n_train), HONE_INVALID);
    assert_int_equal(hone_k_fold(ctx, N, K, K, NULL, 1, rows, &n_train), HONE_INVALID);
    assert_int_equal(hone_k_fold(ctx, N - 1, K, 0, y, 1, rows, &n_train), HONE_SHAPE);
    assert_int_equal(hone_split_rows(ctx, N, 2, y, 1, rows, &n_train), HONE_INVALID);
    hone_tensor_free(y);
}

static void rows_are_drawn_by_their_weights(void **state)
{
    (void)state;
    enum { N = 20000 };
    static int64_t rows[N];
    const double weights[] = {0, 1, 3, 0};
    assert_hone_ok(ctx, hone_sample_rows(ctx, weights, 4, 9, N, rows));
    int counts[4] = {0};
    for (int i = 0; i < N; i++) counts[rows[i]]++;
    assert_true(!counts[0] && !counts[3] && abs(counts[2] - N * 3 / 4) < 300);
    assert_int_equal(hone_sample_rows(ctx, (double[]){0, 0}, 2, 9, 1, rows), HONE_INVALID);
    assert_int_equal(hone_sample_rows(ctx, (double[]){1, -1}, 2, 9, 1, rows), HONE_INVALID);
    assert_int_equal(hone_sample_rows(ctx, (double[]){1, NAN}, 2, 9, 1, rows), HONE_INVALID);
}

/* ---- loaders ---- */

enum { ROWS = 50 };

/* x [ROWS, 3, 6, 6], y [ROWS] classes row % 5. */
static void make_data(hone_tensor **x, hone_tensor **y)
{
    *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(ROWS, 3, 6, 6));
    *y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(ROWS));
    for (int64_t i = 0; i < ROWS; i++) {
        ((int32_t *)hone_tensor_data(*y))[i] = (int32_t)i % 5;
        for (int64_t k = 0; k < 108; k++) ((float *)hone_tensor_data(*x))[i * 108 + k] = (float)(i * 108 + k) / (ROWS * 108);
    }
}

static const hone_transform transforms[] = {
    {HONE_RANDOM_CROP, .padding = 1}, {.kind = HONE_RANDOM_HORIZONTAL_FLIP}, {HONE_RANDOM_ROTATION, .degrees = 20},
    {HONE_COLOR_JITTER, .brightness = 0.2, .hue = 0.1}, {HONE_GAUSSIAN_NOISE, .std = 0.01}, {HONE_RESIZE, .height = 5, .width = 4}};

/* Everything of two epochs: hashes of x and y. */
static uint64_t run_through(const hone_dataset *d, hone_loader_opts o, int64_t *rows)
{
    o.struct_size = sizeof o;
    hone_loader *l = hone_loader_new_opt(d, &o);
    if (!l) fail_msg("%s", hone_error(ctx));
    uint64_t hash = 0;
    *rows = 0;
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        hone_tensor *x, *y;
        int64_t batches = 0;
        assert_hone_ok(ctx, hone_loader_begin(l, epoch));
        for (;; batches++) {
            assert_hone_ok(ctx, hone_loader_next(l, &x, &y));
            if (!x) break;
            assert_int_equal(hone_tensor_shape(x).dim[0], hone_tensor_shape(y).dim[0]);
            *rows += hone_tensor_shape(x).dim[0];
            hash = hone__hash(hone_tensor_data(x), hone_tensor_bytes(x), hash);
            hash = hone__hash(hone_tensor_data(y), hone_tensor_bytes(y), hash);
        }
        assert_int_equal(batches, hone_loader_batches(l));
        assert_hone_ok(ctx, hone_loader_next(l, &x, &y)); /* the end stays the end */
        assert_null(x);
    }
    assert_int_equal(*rows, 2 * hone_loader_rows(l));
    hone_loader_free(l);
    return hash;
}

static void batches_are_the_same_whatever_the_number_of_threads(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_data(&x, &y);
    hone_dataset *d = hone_dataset_from_tensors(x, y);
    double weights[ROWS];
    for (int i = 0; i < ROWS; i++) weights[i] = i % 5 == 4;
    const hone_loader_opts cases[] = {
        {.batch_size = 8},
        {.batch_size = 8, .transforms = transforms, .n_transforms = HONE_ARRAY_LEN(transforms)},
        {.batch_size = 7, .transforms = transforms, .n_transforms = 3, .classes = 5, .mixup = 0.4, .cutmix = 1, .drop_last = true},
        {.batch_size = 16, .weights = weights, .transforms = transforms, .n_transforms = 1},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        int64_t rows, other;
        uint64_t hash = run_through(d, cases[i], &rows);
        for (int threads = 2; threads <= 5; threads++) {
            hone_loader_opts o = cases[i];
            o.threads = threads;
            o.prefetch = threads - 1;
            assert_true(run_through(d, o, &other) == hash);
            assert_int_equal(rows, other);
        }
        hone_loader_opts o = cases[i];
        o.seed = 77;
        assert_true(run_through(d, o, &other) != hash);
    }
    hone_dataset_free(d);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void every_row_comes_once_an_epoch_and_epochs_differ(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_data(&x, &y);
    hone_dataset *d = hone_dataset_from_tensors(x, y);
    const int64_t some[] = {4, 9, 14, 3};
    for (int subset = 0; subset < 2; subset++) {
        hone_loader *l = hone_loader_new(d, .batch_size = 3, .threads = 2, .rows = subset ? some : NULL, .n_rows = subset ? 4 : 0);
        int first[ROWS] = {0}, differ = 0;
        for (int64_t epoch = 0; epoch < 2; epoch++) {
            int seen[ROWS] = {0}, at = 0;
            hone_tensor *bx, *by;
            assert_hone_ok(ctx, hone_loader_begin(l, epoch));
            while (hone_loader_next(l, &bx, &by) == HONE_OK && bx)
                for (int64_t i = 0; i < hone_tensor_shape(bx).dim[0]; i++, at++) {
                    int row = (int)lround(hone_tensor_get(bx, i * 108) * ROWS);
                    assert_true(hone_tensor_get(by, i) == row % 5);
                    seen[row]++;
                    differ += epoch && first[at] != row;
                    first[at] = row;
                }
            assert_int_equal(at, subset ? 4 : ROWS);
            for (int i = 0; i < ROWS; i++) assert_int_equal(seen[i], subset ? i == 4 || i == 9 || i == 14 || i == 3 : 1);
        }
        assert_true(subset || differ > ROWS / 2);
        /* left in the midst of an epoch, and begun again */
        hone_tensor *bx, *by;
        assert_hone_ok(ctx, hone_loader_begin(l, 7));
        assert_hone_ok(ctx, hone_loader_next(l, &bx, &by));
        assert_hone_ok(ctx, hone_loader_begin(l, 8));
        assert_hone_ok(ctx, hone_loader_next(l, &bx, &by));
        assert_non_null(bx);
        hone_loader_free(l);
    }
    hone_loader *l = hone_loader_new(d, .batch_size = 8, .classes = 5, .mixup = 1, .no_shuffle = true);
    hone_tensor *bx, *by;
    assert_int_equal(hone_loader_next(l, &bx, &by), HONE_STATE);
    assert_hone_ok(ctx, hone_loader_begin(l, 0));
    assert_hone_ok(ctx, hone_loader_next(l, &bx, &by));
    double share = hone_tensor_get(by, 0); /* rows 0 and 7: classes 0 and 2 */
    assert_true(share > 0 && share < 1 && fabs(hone_tensor_get(by, 2) + share - 1) < 1e-6);
    assert_true(fabs(hone_tensor_get(bx, 5) - (share * 5 + (1 - share) * (7 * 108 + 5)) / (ROWS * 108)) < 1e-6);
    hone_loader_free(l);
    hone_loader_free(NULL);
    hone_dataset_free(d);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* The part that comes from the other picture is one rectangle, and the classes are mixed by its share of the area. */
static void cutmix_mixes_classes_by_area(void **state)
{
    (void)state;
    enum { SIDE = 12, AREA = SIDE * SIDE };
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(4, 2, SIDE, SIDE)), *y = hone_tensor_from_i32(ctx, HONE_SHAPE(4), (int32_t[]){0, 1, 2, 3});
    for (int i = 0; i < 4 * 2 * AREA; i++) ((float *)hone_tensor_data(x))[i] = (float)i;
    hone_dataset *d = hone_dataset_from_tensors(x, y);
    hone_loader *l = hone_loader_new(d, .batch_size = 4, .classes = 4, .cutmix = 1, .no_shuffle = true);
    int some = 0;
    double shares = 0;
    for (int64_t epoch = 0; epoch < 200; epoch++) {
        hone_tensor *bx, *by;
        assert_hone_ok(ctx, hone_loader_begin(l, epoch));
        assert_hone_ok(ctx, hone_loader_next(l, &bx, &by));
        for (int r = 0; r < 4; r++) {
            int top = SIDE, left = SIDE, bottom = 0, right = 0, taken = 0, other = 3 - r;
            for (int at = 0; at < 2 * AREA; at++) {
                double v = hone_tensor_get(bx, r * 2 * AREA + at);
                if (v == r * 2 * AREA + at) continue;
                assert_true(v == other * 2 * AREA + at);
                int i = at % AREA / SIDE, j = at % SIDE;
                top = i < top ? i : top, bottom = i + 1 > bottom ? i + 1 : bottom, left = j < left ? j : left, right = j + 1 > right ? j + 1 : right;
                taken++;
            }
            assert_int_equal(taken, taken ? 2 * (bottom - top) * (right - left) : 0); /* in both channels */
            double share = 1 - taken / (2.0 * AREA);
            for (int c = 0; c < 4; c++)
                assert_true(fabs(hone_tensor_get(by, r * 4 + c) - (c == r ? share : c == other ? 1 - share : 0)) < 1e-6);
            some += taken > 0, shares += share / 800;
        }
    }
    assert_true(some > 600 && shares > 0.5 && shares < 0.8); /* lambda is uniform; what hangs over the edge is cut off */
    hone_loader_free(l);
    hone_dataset_free(d);
    hone_tensor_free(x), hone_tensor_free(y);
}

static hone_status read_some(void *user, hone_ctx *c, int64_t row, void *x, void *y)
{
    (void)user;
    if (row == 13 || row == 17) return hone__fail_run(c, HONE_IO, "shelf %lld is empty", (long long)row);
    *(float *)x = (float)row;
    *(int32_t *)y = (int32_t)row;
    return HONE_OK;
}

static void the_first_row_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    hone_dataset *d = hone_dataset_new(ctx, 40, HONE_F32, HONE_SCALAR, HONE_I32, HONE_SCALAR, read_some, NULL);
    for (int threads = 1; threads < 4; threads++) {
        hone_loader *l = hone_loader_new(d, .batch_size = 10, .threads = threads, .no_shuffle = true);
        hone_tensor *x, *y;
        assert_hone_ok(ctx, hone_loader_begin(l, 0));
        assert_hone_ok(ctx, hone_loader_next(l, &x, &y));
        assert_true(hone_tensor_get(x, 9) == 9);
        assert_int_equal(hone_loader_next(l, &x, &y), HONE_IO);
        assert_string_equal(hone_error(ctx), "row 13: shelf 13 is empty");
        assert_null(x);
        assert_hone_ok(ctx, hone_loader_next(l, &x, &y)); /* the epoch has ended */
        assert_null(x);
        hone_loader_free(l);
    }
    static const hone_loader_opts wrong[] = {{.batch_size = -1}, {.threads = 1000}, {.n_rows = 2}, {.mixup = 1},
                                             {.batch_size = 64, .drop_last = true}, {.transforms = transforms, .n_transforms = 1}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        hone_loader_opts o = wrong[i];
        o.struct_size = sizeof o;
        assert_null(hone_loader_new_opt(d, &o));
        assert_true(hone_ctx_status(ctx) != HONE_OK);
        hone_clear_error(ctx);
    }
    hone_loader *l = hone_loader_new(d, .classes = 5, .no_shuffle = true);
    hone_tensor *x, *y;
    assert_hone_ok(ctx, hone_loader_begin(l, 0));
    assert_int_equal(hone_loader_next(l, &x, &y), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "row 5: class 5; there are 5"));
    hone_loader_free(l);
    hone_dataset_free(d);
}

static void folders_are_classes(void **state)
{
    (void)state;
    hone_dataset *d = hone_dataset_images(ctx, DATA_FILE("images"), .height = 6, .width = 8);
    if (!d) fail_msg("%s", hone_error(ctx));
    assert_int_equal(hone_dataset_rows(d), 3);
    assert_int_equal(hone_dataset_classes(d), 2);
    assert_string_equal(hone_dataset_class(d, 1), "dog");
    hone_loader *l = hone_loader_new(d, .batch_size = 3, .threads = 2, .no_shuffle = true);
    hone_tensor *x, *y;
    assert_hone_ok(ctx, hone_loader_begin(l, 0));
    hone_status status = hone_loader_next(l, &x, &y);
    if (status != HONE_UNSUPPORTED) {
        assert_hone_ok(ctx, status);
        assert_true(hone_shape_equal(hone_tensor_shape(x), HONE_SHAPE(3, 3, 6, 8)));
        assert_memory_equal(hone_tensor_data(y), ((int32_t[]){0, 1, 1}), 12);
        hone_tensor *same = hone_image_load(ctx, DATA_FILE("images/dog/b.jpg"), .height = 6, .width = 8);
        assert_memory_equal((char *)hone_tensor_data(x) + hone_tensor_bytes(same), hone_tensor_data(same), hone_tensor_bytes(same));
        hone_tensor_free(same);
    }
    hone_loader_free(l);
    hone_dataset_free(d);
    assert_null(hone_dataset_images(ctx, HONE_TEST_DATA "/csv", .height = 6, .width = 8));
    assert_int_equal(hone_ctx_status(ctx), HONE_NOT_FOUND);
    hone_clear_error(ctx);
    assert_null(hone_dataset_images(ctx, DATA_FILE("images")));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    hone_clear_error(ctx);
}

enum { KEPT = 4, TWICE = 2 * KEPT };

/* A batch in which each picture is twice; false: libpng is not there. */
static bool read_twice(hone_loader *l, int64_t epoch, hone_status expected, float *pixels)
{
    hone_tensor *x, *y;
    assert_hone_ok(ctx, hone_loader_begin(l, epoch));
    hone_status status = hone_loader_next(l, &x, &y);
    if (status == HONE_UNSUPPORTED) return false;
    assert_int_equal(status, expected);
    if (status == HONE_OK) memcpy(pixels, hone_tensor_data(x), hone_tensor_bytes(x));
    hone_clear_error(ctx);
    return true;
}

/* What was decoded once needs no file any more, and has the same bits. */
static void pictures_are_read_once(void **state)
{
    (void)state;
    enum { PIXELS = 3 * 6 * 8, RESIZED = 3 * 5 * 7 };
    char folder[] = "/tmp/hone-kept-XXXXXX", path[KEPT][100];
    assert_non_null(mkdtemp(folder));
    hone_tensor *picture = hone_tensor_new(ctx, HONE_U8, HONE_SHAPE(3, 6, 8));
    hone_status status = HONE_OK;
    for (int i = 0; i < KEPT && status == HONE_OK; i++) {
        for (int k = 0; k < PIXELS; k++) ((uint8_t *)hone_tensor_data(picture))[k] = (uint8_t)(k * 37 + i * 101);
        snprintf(path[i], sizeof path[i], "%s/%d.png", folder, i);
        status = hone_image_save(picture, path[i]);
    }
    hone_tensor_free(picture);
    static const int64_t rows[TWICE] = {0, 1, 2, 3, 0, 1, 2, 3};
    hone_dataset *d[3] = {0};
    hone_loader *l[3] = {0};
    static float before[3][TWICE * PIXELS], after[TWICE * PIXELS];
    bool there = status == HONE_OK;
    for (int i = 0; i < 3 && there; i++) { /* as they are, resized, and not kept */
        d[i] = hone_dataset_images(ctx, folder, .height = i ? 5 : 6, .width = i ? 7 : 8, .no_keep = i == 2);
        l[i] = hone_loader_new(d[i], .batch_size = TWICE, .threads = 2, .no_shuffle = true, .rows = rows, .n_rows = TWICE);
        there = read_twice(l[i], 0, HONE_OK, before[i]);
    }
    for (int i = 0; i < KEPT && status == HONE_OK; i++) unlink(path[i]);
    rmdir(folder);
    for (int i = 0; i < 3 && there; i++) {
        read_twice(l[i], 1, i == 2 ? HONE_IO : HONE_OK, after);
        size_t bytes = TWICE * (i ? RESIZED : PIXELS) * sizeof(float);
        if (i < 2) assert_memory_equal(before[i], after, bytes);
        if (i == 2) assert_memory_equal(before[2], before[1], bytes);
    }
    assert_true(before[0][1] == 37.0F / 255 || !there);
    for (int i = 0; i < 3; i++) hone_loader_free(l[i]), hone_dataset_free(d[i]);
    hone_clear_error(ctx);
    if (!there) skip();
}

static void bytes_become_pixels_and_classes(void **state)
{
    (void)state;
    uint8_t pixels[2 * 4] = {0, 255, 51, 0, 1, 2, 3, 4}, classes[2] = {7, 9};
    hone_tensor *x = hone_tensor_borrow(ctx, HONE_U8, HONE_SHAPE(2, 2, 2), pixels), *y = hone_tensor_borrow(ctx, HONE_U8, HONE_SHAPE(2), classes);
    hone_dataset *d = hone_dataset_from_tensors(x, y);
    hone_loader *l = hone_loader_new(d, .no_shuffle = true);
    hone_tensor *bx, *by;
    assert_hone_ok(ctx, hone_loader_begin(l, 0));
    assert_hone_ok(ctx, hone_loader_next(l, &bx, &by));
    assert_true(hone_shape_equal(hone_tensor_shape(bx), HONE_SHAPE(2, 1, 2, 2)));
    assert_memory_equal(hone_tensor_data(bx), ((float[]){0, 1, 0.2f}), 12);
    assert_memory_equal(hone_tensor_data(by), ((int32_t[]){7, 9}), 8);
    hone_loader_free(l);
    hone_dataset_free(d);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* Row r: a picture of r / 40, its number twice; its number, its class. */
static hone_status read_parts(void *user, hone_ctx *c, int64_t row, void *const *x, void *const *y)
{
    if (row == 33) return hone__fail_run(c, HONE_IO, "row %d is torn", *(const int *)user);
    for (int i = 0; i < 9; i++) ((float *)x[0])[i] = (float)row / 40;
    ((int64_t *)x[1])[0] = ((int64_t *)x[1])[1] = row;
    *(float *)y[0] = (float)row;
    *(int32_t *)y[1] = (int32_t)row % 3;
    return HONE_OK;
}

static void examples_may_have_several_inputs_and_targets(void **state)
{
    (void)state;
    static const hone_example_part in[] = {{HONE_F32, {.rank = 3, .dim = {1, 3, 3}}}, {HONE_I64, {.rank = 1, .dim = {2}}}},
                                   out[] = {{HONE_F32, {0}}, {HONE_I32, {0}}};
    static const hone_transform smaller = {HONE_RESIZE, .height = 2, .width = 2};
    int told = 33;
    hone_dataset *d = hone_dataset_new_many(ctx, 40, 2, in, 2, out, read_parts, &told);
    if (!d) fail_msg("%s", hone_error(ctx));
    for (int threads = 1; threads < 4; threads++) {
        hone_loader *l = hone_loader_new(d, .batch_size = 8, .threads = threads, .transforms = &smaller, .n_transforms = 1, .seed = 5,
                                         .rows = (int64_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, .n_rows = 11);
        hone_tensor *x[2], *y[2];
        assert_int_equal(hone_loader_inputs(l), 2);
        assert_int_equal(hone_loader_targets(l), 2);
        assert_hone_ok(ctx, hone_loader_begin(l, 0));
        assert_int_equal(hone_loader_next(l, &x[0], &y[0]), HONE_INVALID);
        assert_non_null(strstr(hone_error(ctx), "hone_loader_next_many"));
        int64_t seen = 0, rows = 0;
        for (;;) {
            assert_hone_ok(ctx, hone_loader_next_many(l, x, y));
            if (!x[0]) break;
            int64_t count = hone_tensor_shape(y[1]).dim[0];
            assert_true(hone_shape_equal(hone_tensor_shape(x[0]), HONE_SHAPE(count, 1, 2, 2)));
            assert_true(hone_shape_equal(hone_tensor_shape(x[1]), HONE_SHAPE(count, 2)) && hone_tensor_dtype(x[1]) == HONE_I64);
            for (int64_t i = 0; i < count; i++, rows++) {
                int64_t row = (int64_t)hone_tensor_get(y[0], i);
                seen |= (int64_t)1 << row;
                assert_true(fabs(hone_tensor_get(x[0], 4 * i + 3) - (double)row / 40) < 1e-6);
                assert_true((int64_t)hone_tensor_get(x[1], 2 * i + 1) == row && (int64_t)hone_tensor_get(y[1], i) == row % 3);
            }
        }
        assert_true(!x[1] && !y[0] && !y[1] && rows == 11 && seen == (1 << 11) - 1);
        hone_loader_free(l);
    }
    hone_loader *l = hone_loader_new(d, .batch_size = 40, .no_shuffle = true);
    hone_tensor *x[2], *y[2];
    assert_hone_ok(ctx, hone_loader_begin(l, 0));
    assert_int_equal(hone_loader_next_many(l, x, y), HONE_IO);
    assert_string_equal(hone_error(ctx), "row 33: row 33 is torn");
    assert_true(!x[0] && !x[1] && !y[0] && !y[1]);
    hone_loader_free(l);
    assert_null(hone_loader_new(d, .classes = 3)); /* of the first target, which is real */
    assert_int_equal(hone_ctx_status(ctx), HONE_DTYPE);
    hone_clear_error(ctx);
    hone_dataset_free(d);

    /* of tensors: bytes are pixels of any input, classes of any target; those of the first are one-hot */
    uint8_t bytes[2 * 4] = {0, 255, 51, 0, 1, 2, 3, 4}, classes[2] = {1, 2};
    hone_tensor *a = hone_tensor_borrow(ctx, HONE_U8, HONE_SHAPE(2, 2, 2), bytes), *b = hone_tensor_borrow(ctx, HONE_U8, HONE_SHAPE(2), classes);
    hone_tensor *three = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(3, 1));
    d = hone_dataset_from_many(ctx, HONE_TENSORS(a, b), HONE_TENSORS(b, a));
    l = hone_loader_new(d, .no_shuffle = true, .classes = 3);
    assert_hone_ok(ctx, hone_loader_begin(l, 0));
    assert_hone_ok(ctx, hone_loader_next_many(l, x, y));
    assert_true(hone_shape_equal(hone_tensor_shape(x[0]), HONE_SHAPE(2, 1, 2, 2)));
    assert_memory_equal(hone_tensor_data(x[0]), ((float[]){0, 1, 0.2f}), 12);
    assert_memory_equal(hone_tensor_data(x[1]), ((float[]){1.0f / 255, 2.0f / 255}), 8);
    assert_memory_equal(hone_tensor_data(y[0]), ((float[]){0, 1, 0, 0, 0, 1}), 24);
    assert_memory_equal(hone_tensor_data(y[1]), ((int32_t[]){0, 255, 51, 0, 1, 2, 3, 4}), 32);
    hone_loader_free(l);
    assert_null(hone_loader_new(d, .classes = 3, .mixup = 1));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    hone_clear_error(ctx);
    hone_dataset_free(d);
    assert_null(hone_dataset_from_many(ctx, HONE_TENSORS(a, b), HONE_TENSORS(b, three)));
    assert_non_null(strstr(hone_error(ctx), "y 1 is [3, 1]"));
    assert_int_equal(hone_ctx_status(ctx), HONE_SHAPE);
    hone_clear_error(ctx);
    const hone_tensor *many[17];
    for (int i = 0; i < 17; i++) many[i] = b;
    assert_null(hone_dataset_from_many(ctx, (hone_tensors){many, 17}, HONE_TENSORS(b)));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    hone_clear_error(ctx);
    assert_null(hone_dataset_from_many(ctx, HONE_TENSORS(b), (hone_tensors){NULL, 0}));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    hone_clear_error(ctx);
    assert_null(hone_dataset_new_many(ctx, 40, 0, in, 2, out, read_parts, NULL));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    hone_clear_error(ctx);
    hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(three);
}

static bool load_and_transform(hone_ctx *c)
{
    float values[2 * 48] = {0};
    hone_tensor *x = hone_tensor_from_f32(c, HONE_SHAPE(2, 3, 4, 4), values), *y = hone_tensor_new(c, HONE_I32, HONE_SHAPE(2));
    hone_tensor *one = hone_tensor_from_f32(c, HONE_SHAPE(3, 4, 4), values), *bx[2], *by[2];
    hone_dataset *d = hone_dataset_from_many(c, HONE_TENSORS(x, x), HONE_TENSORS(y, y)), *folder = d ? hone_dataset_images(c, DATA_FILE("images"), .height = 4, .width = 4) : NULL;
    double weights[2] = {1, 1};
    hone_loader *l = folder ? hone_loader_new(d, .threads = 2, .weights = weights, .rows = (int64_t[]){0, 1}, .n_rows = 2,
                                              .transforms = transforms, .n_transforms = HONE_ARRAY_LEN(transforms))
                            : NULL;
    hone_tensor *done = l ? hone_transform_apply(one, transforms, HONE_ARRAY_LEN(transforms), 0, 0, 0) : NULL;
    int64_t rows[2], n_train;
    bool ok = done && hone_loader_begin(l, 0) == HONE_OK && hone_loader_next_many(l, bx, by) == HONE_OK &&
              hone_k_fold(c, 2, 2, 0, y, 0, rows, &n_train) == HONE_OK;
    hone_tensor_free(x), hone_tensor_free(y), hone_tensor_free(one), hone_tensor_free(done);
    hone_loader_free(l);
    hone_dataset_free(d), hone_dataset_free(folder);
    return ok;
}

static void failing_allocations_are_told(void **state)
{
    (void)state;
    fail_each_allocation(load_and_transform);
}

/* ---- training ---- */

static hone_model *small_model(void)
{
    hone_set_seed(ctx, 3);
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_flatten(ctx), hone_dense(ctx, 8, .activation = HONE_RELU), hone_dense(ctx, 5)));
    hone_compile(model, .optimizer = hone_sgd(ctx, .learning_rate = 0.1), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS);
    return model;
}

static void fit_takes_a_loader_in_place_of_tensors(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    make_data(&x, &y);
    hone_dataset *d = hone_dataset_from_tensors(x, y);
    double losses[3][3];
    for (int way = 0; way < 3; way++) { /* tensors, and a loader of one and of three threads, in the same order */
        hone_model *model = small_model();
        hone_loader *l = way ? hone_loader_new(d, .batch_size = 8, .threads = 2 * way - 1, .no_shuffle = true) : NULL;
        hone_history *history;
        if (l)
            assert_hone_ok(ctx, hone_fit_loader(model, l, &history, .epochs = 3, .accumulate = 2, .validation_x = x, .validation_y = y));
        else
            assert_hone_ok(ctx, hone_fit(model, x, y, &history, .epochs = 3, .batch_size = 8, .accumulate = 2, .no_shuffle = true,
                                         .validation_x = x, .validation_y = y));
        assert_int_equal(history->n_epochs, 3);
        for (int e = 0; e < 3; e++) {
            losses[way][e] = history->epochs[e].loss;
            assert_true(isfinite(history->epochs[e].validation_loss) && history->epochs[e].accuracy >= 0);
            if (way) assert_true(losses[way][e] == losses[0][e]);
        }
        hone_history_free(history);
        hone_loader_free(l);
        hone_model_release(model);
    }
    assert_true(losses[0][2] < losses[0][0]);
    hone_dataset *broken = hone_dataset_new(ctx, 40, HONE_F32, HONE_SCALAR, HONE_I32, HONE_SCALAR, read_some, NULL);
    hone_loader *l = hone_loader_new(broken);
    hone_model *model = small_model();
    hone_history *history;
    assert_int_equal(hone_fit_loader(model, NULL, &history), HONE_INVALID);
    assert_int_equal(hone_fit_loader(model, l, &history, .validation_split = 0.5), HONE_INVALID);
    assert_true(hone_fit_loader(model, l, &history) != HONE_OK);
    hone_history_free(history);
    hone_clear_error(ctx); /* the model did not fit a scalar, or a row could not be read: whichever came first */
    hone_loader_free(l);
    hone_dataset_free(broken);
    hone_model_release(model);
    hone_dataset_free(d);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* The contexts of a loader's threads have one thread each: what is computed beside them keeps its own. */
static void training_keeps_its_threads_beside_a_loader(void **state)
{
    (void)state;
    hone_ctx *outer = ctx;
    ctx = hone_ctx_new(.threads = 2, .seed = 3);
    hone_tensor *x, *y;
    make_data(&x, &y);
    hone_dataset *d = hone_dataset_from_tensors(x, y);
    hone_loader *l = hone_loader_new(d, .batch_size = 8);
    hone_model *model = small_model();
    assert_hone_ok(ctx, hone_fit_loader(model, l, NULL));
#ifdef _OPENMP
    assert_int_equal(omp_get_max_threads(), 2);
#endif
    hone_loader_free(l), hone_model_release(model), hone_dataset_free(d);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_ctx_release(ctx);
    ctx = outer;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stratified_parts_have_the_classes_of_the_whole, begin, end),
        cmocka_unit_test_setup_teardown(rows_are_drawn_by_their_weights, begin, end),
        cmocka_unit_test_setup_teardown(cutmix_mixes_classes_by_area, begin, end),
        cmocka_unit_test_setup_teardown(batches_are_the_same_whatever_the_number_of_threads, begin, end),
        cmocka_unit_test_setup_teardown(every_row_comes_once_an_epoch_and_epochs_differ, begin, end),
        cmocka_unit_test_setup_teardown(the_first_row_that_cannot_be_read_is_named, begin, end),
        cmocka_unit_test_setup_teardown(folders_are_classes, begin, end),
        cmocka_unit_test_setup_teardown(pictures_are_read_once, begin, end),
        cmocka_unit_test_setup_teardown(bytes_become_pixels_and_classes, begin, end),
        cmocka_unit_test_setup_teardown(examples_may_have_several_inputs_and_targets, begin, end),
        cmocka_unit_test_setup_teardown(failing_allocations_are_told, begin, end),
        cmocka_unit_test_setup_teardown(fit_takes_a_loader_in_place_of_tensors, begin, end),
        cmocka_unit_test_setup_teardown(training_keeps_its_threads_beside_a_loader, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
