/* Splits, augmentation, loaders, and training from them. */
#include "data_tools.h"

#include "data/transform.h"
#include "hone/train.h"

#include <sys/stat.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

static hone_ctx *ctx;

static int begin(void **state)
{
    (void)state;
    ctx = hone_ctx_new(.threads = 1, .seed = 3);
    return 0;
}

static int end(void **state)
{
    (void)state;
    bool clean = !hone_ctx_status(ctx);
    hone_ctx_release(ctx);
    return clean ? 0 : -1;
}

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

/* ---- transforms ---- */

/* A picture whose values tell the place: c * 100 + i * 10 + j. */
static hone_tensor *picture(int64_t channels, int64_t h, int64_t w, double scale)
{
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(channels, h, w));
    float *v = hone_tensor_data(t);
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < h; i++)
            for (int64_t j = 0; j < w; j++) *v++ = (float)((double)(c * 100 + i * 10 + j) * scale);
    return t;
}

static hone_tensor *apply(const hone_tensor *x, hone_transform t, int64_t row)
{
    hone_tensor *y = hone_transform_apply(x, &t, 1, 1, 0, row);
    if (!y) fail_msg("%s", hone_error(ctx));
    return y;
}

static void pictures_are_turned_and_cut_as_they_are_told(void **state)
{
    (void)state;
    hone_tensor *x = picture(2, 3, 4, 1), *y = apply(x, (hone_transform){HONE_RANDOM_HORIZONTAL_FLIP, .probability = 1}, 0);
    assert_memory_equal(hone_tensor_data(y), ((float[]){3, 2, 1, 0, 13, 12, 11, 10}), 32);
    hone_tensor_free(y);
    y = apply(x, (hone_transform){HONE_RANDOM_VERTICAL_FLIP, .probability = 1}, 0);
    assert_memory_equal(hone_tensor_data(y), ((float[]){20, 21, 22, 23, 10}), 20);
    hone_tensor_free(y);
    y = apply(x, (hone_transform){HONE_CENTER_CROP, .height = 1, .width = 2}, 0);
    assert_memory_equal(hone_tensor_data(y), ((float[]){11, 12, 111, 112}), 16);
    hone_tensor_free(y);
    bool seen[5][5] = {{false}};
    int flips = 0;
    for (int64_t row = 0; row < 400; row++) {
        y = apply(x, (hone_transform){HONE_RANDOM_CROP, .padding = 2}, row);
        const float *v = hone_tensor_data(y);
        for (int top = 0; top < 5; top++) /* where the picture's (2, 3) lies says by how much it was moved */
            for (int left = 0; left < 5; left++) {
                int i = 2 + 2 - top, j = 3 + 2 - left;
                if (i >= 0 && i < 3 && j >= 0 && j < 4 && v[i * 4 + j] == 23) seen[top][left] = true;
            }
        hone_tensor_free(y);
        y = apply(x, (hone_transform){.kind = HONE_RANDOM_HORIZONTAL_FLIP}, row);
        flips += hone_tensor_get(y, 0) == 3;
        hone_tensor_free(y);
    }
    assert_true(flips > 150 && flips < 250);
    assert_true(seen[2][2] && seen[4][2] && seen[2][4] && seen[4][4]);
    hone_tensor_free(x);
    /* Turned by a quarter, twice by an eighth: nothing but rounding. */
    x = picture(1, 5, 5, 1);
    float turned[25];
    const double quarter[6] = {0, -1, 0, 1, 0, 0}, moved[6] = {1, 0, 0.5, 0, 1, 0};
    hone__affine(hone_tensor_data(x), HONE_SHAPE(1, 5, 5), quarter, turned);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++) assert_true(turned[i * 5 + j] == (float)(j * 10 + 4 - i));
    hone__affine(hone_tensor_data(x), HONE_SHAPE(1, 5, 5), moved, turned);
    assert_true(turned[0] == 0.5f && turned[4] == 2 && turned[7] == 12.5f);
    y = apply(x, (hone_transform){HONE_RANDOM_AFFINE, .degrees = 0, .low = 1, .high = 1}, 0);
    assert_memory_equal(hone_tensor_data(x), hone_tensor_data(y), 100);
    hone_tensor_free(y);
    /* A scale of 2 keeps the middle and pulls the edge out of sight. */
    y = apply(x, (hone_transform){HONE_RANDOM_AFFINE, .low = 2, .high = 2}, 0);
    assert_true(hone_tensor_get(y, 12) == 22 && hone_tensor_get(y, 0) == 11 && hone_tensor_get(y, 14) == 23);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* Pictures whose values are the column, or the line, from the middle: from what stands in three pixels afterwards one reads where they
   came from. Rotation is counterclockwise as seen, though lines count downwards; the numbers that were drawn are drawn here again. */
static void rotation_shear_and_translation_are_as_they_say(void **state)
{
    (void)state;
    enum { N = 21, MID = 10 };
    const double radian = 3.14159265358979323846 / 180;
    hone_tensor *column = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1, N, N)), *line = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1, N, N));
    for (int i = 0; i < N * N; i++) {
        ((float *)hone_tensor_data(column))[i] = (float)(i % N - MID);
        ((float *)hone_tensor_data(line))[i] = (float)(i / N - MID);
    }
    const hone_transform kinds[3] = {{HONE_RANDOM_ROTATION, .degrees = 30}, {HONE_RANDOM_AFFINE, .shear = 20}, {HONE_RANDOM_AFFINE, .translate = 0.1}};
    const int place[3] = {MID * N + MID, MID * N + MID + 2, (MID - 2) * N + MID}; /* the middle, 2 to its right, 2 above it */
    double most = 0, least = 0;
    for (int64_t row = 0; row < 300; row++)
        for (int kind = 0; kind < 3; kind++) {
            hone_tensor *from_j = apply(column, kinds[kind], row), *from_i = apply(line, kinds[kind], row);
            hone__draws draws = {.key = hone__key(hone__row_key(1, 0, row), 0)};
            double angle = hone__draw_between(&draws, -1, 1) * kinds[kind].degrees * radian, shear = 0, move_j = 0, move_i = 0;
            most = fmax(most, angle), least = fmin(least, angle);
            if (kind) {
                hone__draw(&draws); /* the scale */
                shear = tan(hone__draw_between(&draws, -1, 1) * kinds[kind].shear * radian);
                move_j = hone__draw_between(&draws, -1, 1) * kinds[kind].translate * N;
                move_i = hone__draw_between(&draws, -1, 1) * kinds[kind].translate * N;
            }
            /* turned counterclockwise, what is on the right came from below it, and what is above from the right */
            const double want[3][2] = {{-move_j, -move_i},
                                       {2 * cos(angle) - move_j, 2 * sin(angle) - move_i},
                                       {2 * sin(angle) + 2 * shear - move_j, -2 * cos(angle) - move_i}};
            for (int p = 0; p < 3; p++) {
                double j = hone_tensor_get(from_j, place[p]), i = hone_tensor_get(from_i, place[p]);
                if (!(fabs(j - want[p][0]) < 1e-5 && fabs(i - want[p][1]) < 1e-5))
                    fail_msg("kind %d, pixel %d comes from (%g, %g), not (%g, %g)", kind, p, j, i, want[p][0], want[p][1]);
            }
            hone_tensor_free(from_j), hone_tensor_free(from_i);
        }
    assert_true(most > 28 * radian && least < -28 * radian);
    hone_tensor_free(column), hone_tensor_free(line);
}

static void noise_has_its_deviation(void **state)
{
    (void)state;
    enum { N = 40000 };
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(N));
    for (int i = 0; i < N; i++) ((float *)hone_tensor_data(x))[i] = 3;
    static const double deviations[] = {0, 0.5}; /* 0: the default, 0.1 */
    for (int k = 0; k < 2; k++) {
        hone_tensor *y = apply(x, (hone_transform){HONE_GAUSSIAN_NOISE, .std = deviations[k]}, 1);
        hone_tensor *again = apply(x, (hone_transform){HONE_GAUSSIAN_NOISE, .std = deviations[k]}, 1);
        double mean = 0, square = 0, fourth = 0, want = k ? 0.5 : 0.1;
        for (int i = 0; i < N; i++) {
            double d = (hone_tensor_get(y, i) - 3) / want;
            mean += d / N, square += d * d / N, fourth += d * d * d * d / N;
        }
        assert_true(fabs(mean) < 0.02 && fabs(square - 1) < 0.03 && fabs(fourth - 3) < 0.2); /* a normal's moments */
        assert_memory_equal(hone_tensor_data(y), hone_tensor_data(again), N * sizeof(float));
        hone_tensor_free(y), hone_tensor_free(again);
    }
    hone_tensor_free(x);
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

static void colours_change_within_their_bounds(void **state)
{
    (void)state;
    hone_tensor *x = picture(3, 4, 4, 1.0 / 300);
    for (int64_t row = 0; row < 50; row++) {
        hone_tensor *y = apply(x, (hone_transform){HONE_COLOR_JITTER, .brightness = 0.4}, row);
        double factor = hone_tensor_get(y, 20) / hone_tensor_get(x, 20);
        assert_true(factor > 0.599 && factor < 1.401);
        for (int64_t i = 1; i < 48; i++) /* grey values and hues apart, brightness is one factor */
            assert_true(fabs(hone_tensor_get(y, i) - fmin(1, factor * hone_tensor_get(x, i))) < 1e-5);
        hone_tensor_free(y);
        y = apply(x, (hone_transform){HONE_COLOR_JITTER, .brightness = 1, .contrast = 1, .saturation = 1, .hue = 0.5}, row);
        for (int64_t i = 0; i < 48; i++) assert_true(hone_tensor_get(y, i) >= 0 && hone_tensor_get(y, i) <= 1);
        hone_tensor_free(y);
        /* turning the hue keeps the largest and the least channel's values */
        y = apply(x, (hone_transform){HONE_COLOR_JITTER, .hue = 0.3}, row);
        for (int64_t i = 0; i < 16; i++) {
            double a[3], b[3];
            for (int k = 0; k < 3; k++) a[k] = hone_tensor_get(x, k * 16 + i), b[k] = hone_tensor_get(y, k * 16 + i);
            assert_true(fabs(fmax(a[0], fmax(a[1], a[2])) - fmax(b[0], fmax(b[1], b[2]))) < 1e-6);
            assert_true(fabs(fmin(a[0], fmin(a[1], a[2])) - fmin(b[0], fmin(b[1], b[2]))) < 1e-6);
        }
        hone_tensor_free(y);
    }
    const float mean[] = {0.1f, 0.2f, 0.3f}, deviation[] = {2, 4, 0.5f};
    hone_tensor *y = apply(x, (hone_transform){HONE_NORMALIZE, .mean = mean, .deviation = deviation}, 0);
    assert_true(fabs(hone_tensor_get(y, 20) - (110.0 / 300 - 0.2) / 4) < 1e-6);
    hone_tensor_free(y);
    y = apply(x, (hone_transform){HONE_RANDOM_ERASING, .probability = 1, .value = 7, .low = 0.2, .high = 0.3}, 0);
    int erased = 0;
    for (int64_t i = 0; i < 16; i++) {
        bool out = hone_tensor_get(y, i) == 7;
        erased += out;
        assert_true(out == (hone_tensor_get(y, i + 32) == 7));
    }
    assert_true(erased >= 2 && erased <= 6);
    hone_tensor_free(x), hone_tensor_free(y);
}

static void sound_and_tokens_are_transformed(void **state)
{
    (void)state;
    hone_npz *golden = open_golden(ctx);
    hone_tensor *from = golden_array(golden, "sound"), *sound = hone_tensor_new(ctx, HONE_F32, hone_tensor_shape(from));
    int64_t n = hone_tensor_shape(from).dim[0];
    hone_tensor_read(from, 0, n, HONE_F32, hone_tensor_data(sound));
    static const double rates[] = {0.8, 1.25};
    for (int i = 0; i < 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "stretch.%g", rates[i]);
        hone_tensor *want = golden_array(golden, name);
        int64_t m = hone_tensor_shape(want).dim[0];
        hone_tensor *y = apply(sound, (hone_transform){HONE_TIME_STRETCH, .low = rates[i], .high = rates[i]}, 0);
        assert_int_equal(hone_tensor_shape(y).dim[0], n);
        double most = 0;
        for (int64_t k = 0; k < n; k++) most = fmax(most, fabs(hone_tensor_get(y, k) - (k < m ? hone_tensor_get(want, k) : 0)));
        print_message("time stretch %g: %.2g from librosa\n", rates[i], most);
        assert_true(most < 1e-4);
        hone_tensor_free(y);
    }
    hone_tensor_free(sound);
    hone_npz_free(golden);

    hone_tensor *mel = picture(1, 6, 9, 1);
    for (int64_t i = 0; i < 54; i++) ((float *)hone_tensor_data(mel))[i] = 1;
    hone_tensor *y = apply(mel, (hone_transform){HONE_SPEC_AUGMENT, .height = 3, .width = 4, .masks = 2}, 4);
    int rows = 0, columns = 0;
    for (int i = 0; i < 6; i++) {
        bool all = true;
        for (int j = 0; j < 9; j++) all = all && hone_tensor_get(y, i * 9 + j) == 0;
        rows += all;
    }
    for (int j = 0; j < 9; j++) {
        bool all = true;
        for (int i = 0; i < 6; i++) all = all && hone_tensor_get(y, i * 9 + j) == 0;
        columns += all;
    }
    for (int k = 0, zeros = 0; k < 54; k++) {
        zeros += hone_tensor_get(y, k) == 0;
        if (k == 53) assert_int_equal(zeros, rows * 9 + columns * 6 - rows * columns); /* bands, and nothing else */
    }
    assert_true(rows <= 6 && columns <= 8 && rows + columns > 0);
    hone_tensor_free(y);
    double zeros = 0; /* by default bands of up to a third of the mels and a tenth of the frames: about (1/6 + 1/20) of all on average */
    for (int64_t row = 0; row < 400; row++) {
        y = apply(mel, (hone_transform){.kind = HONE_SPEC_AUGMENT}, row);
        for (int i = 0; i < 54; i++) zeros += (hone_tensor_get(y, i) == 0) / (400.0 * 54);
        hone_tensor_free(y);
    }
    assert_true(zeros > 0.15 && zeros < 0.28);
    hone_tensor_free(mel);

    int32_t words[1000];
    for (int i = 0; i < 1000; i++) words[i] = i + 1;
    hone_tensor *text = hone_tensor_from_i32(ctx, HONE_SHAPE(1000), words);
    y = apply(text, (hone_transform){HONE_WORD_DROPOUT, .probability = 0.3}, 0);
    int dropped = 0;
    for (int i = 0; i < 1000; i++) {
        int32_t v = ((int32_t *)hone_tensor_data(y))[i];
        dropped += v == 0;
        assert_true(v == 0 || v == i + 1);
    }
    assert_true(dropped > 240 && dropped < 360);
    hone_tensor_free(y);
    y = apply(text, (hone_transform){.kind = HONE_WORD_SWAP}, 0);
    int moved = 0;
    for (int i = 0; i < 1000; i++) moved += ((int32_t *)hone_tensor_data(y))[i] != i + 1;
    assert_int_equal(moved, 2);
    hone_tensor_free(y), hone_tensor_free(text);
}

static void transforms_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    hone_tensor *x = picture(2, 4, 4, 1), *flat = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(4)),
                *whole = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(4));
    struct {
        const hone_tensor *x;
        hone_transform t;
        const char *part;
    } cases[] = {
        {flat, {.kind = HONE_RANDOM_CROP}, "random crop is for f32 [channels, height, width], not for [4]"},
        {whole, {.kind = HONE_GAUSSIAN_NOISE}, "noise is for f32, not for i32"},
        {flat, {.kind = HONE_WORD_SWAP}, "i32 [length], not for f32"},
        {x, {.kind = HONE_COLOR_JITTER}, "of 3 channels"},
        {x, {HONE_CENTER_CROP, .height = 5}, "the picture is smaller"},
        {x, {HONE_RANDOM_CROP, .height = 9, .padding = 2}, "the picture is smaller"},
        {x, {HONE_RANDOM_ERASING, .probability = 2}, "probability"},
        {x, {HONE_RESIZE, .height = 1 << 20}, "32768"},
        {x, {HONE_RANDOM_AFFINE, .shear = 90}, "shear"},
        {x, {.kind = HONE_NORMALIZE}, "mean and deviation"},
        {flat, {HONE_TIME_STRETCH, .low = 0.001, .high = 1}, "speed"},
        {x, {.kind = (hone_transform_kind)99}, "no transform"},
        {whole, {HONE_WORD_DROPOUT, .value = 1e12}, "token"},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        assert_null(hone_transform_apply(cases[i].x, &cases[i].t, 1, 0, 0, 0));
        if (!strstr(hone_error(ctx), cases[i].part)) fail_msg("'%s' does not say '%s'", hone_error(ctx), cases[i].part);
    }
    hone_tensor_free(x), hone_tensor_free(flat), hone_tensor_free(whole);
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

static bool load_and_transform(hone_ctx *c)
{
    float values[2 * 48] = {0};
    hone_tensor *x = hone_tensor_from_f32(c, HONE_SHAPE(2, 3, 4, 4), values), *y = hone_tensor_new(c, HONE_I32, HONE_SHAPE(2));
    hone_tensor *one = hone_tensor_from_f32(c, HONE_SHAPE(3, 4, 4), values), *bx = NULL, *by = NULL;
    hone_dataset *d = hone_dataset_from_tensors(x, y), *folder = d ? hone_dataset_images(c, DATA_FILE("images"), .height = 4, .width = 4) : NULL;
    double weights[2] = {1, 1};
    hone_loader *l = folder ? hone_loader_new(d, .threads = 2, .weights = weights, .rows = (int64_t[]){0, 1}, .n_rows = 2,
                                              .transforms = transforms, .n_transforms = HONE_ARRAY_LEN(transforms))
                            : NULL;
    hone_tensor *done = l ? hone_transform_apply(one, transforms, HONE_ARRAY_LEN(transforms), 0, 0, 0) : NULL;
    int64_t rows[2], n_train;
    bool ok = done && hone_loader_begin(l, 0) == HONE_OK && hone_loader_next(l, &bx, &by) == HONE_OK &&
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
        cmocka_unit_test_setup_teardown(pictures_are_turned_and_cut_as_they_are_told, begin, end),
        cmocka_unit_test_setup_teardown(rotation_shear_and_translation_are_as_they_say, begin, end),
        cmocka_unit_test_setup_teardown(noise_has_its_deviation, begin, end),
        cmocka_unit_test_setup_teardown(cutmix_mixes_classes_by_area, begin, end),
        cmocka_unit_test_setup_teardown(colours_change_within_their_bounds, begin, end),
        cmocka_unit_test_setup_teardown(sound_and_tokens_are_transformed, begin, end),
        cmocka_unit_test_setup_teardown(transforms_that_do_not_fit_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(batches_are_the_same_whatever_the_number_of_threads, begin, end),
        cmocka_unit_test_setup_teardown(every_row_comes_once_an_epoch_and_epochs_differ, begin, end),
        cmocka_unit_test_setup_teardown(the_first_row_that_cannot_be_read_is_named, begin, end),
        cmocka_unit_test_setup_teardown(folders_are_classes, begin, end),
        cmocka_unit_test_setup_teardown(pictures_are_read_once, begin, end),
        cmocka_unit_test_setup_teardown(bytes_become_pixels_and_classes, begin, end),
        cmocka_unit_test_setup_teardown(failing_allocations_are_told, begin, end),
        cmocka_unit_test_setup_teardown(fit_takes_a_loader_in_place_of_tensors, begin, end),
        cmocka_unit_test_setup_teardown(training_keeps_its_threads_beside_a_loader, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
