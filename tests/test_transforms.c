/* What transforms do to pictures, sound, spectrograms and tokens: by formulas and by librosa's numbers. */
#include "data_tools.h"

#include "data/transform.h"

static hone_ctx *ctx;

static int begin(void **state) { return begin_clean(state, &ctx); }
static int end(void **state) { return end_clean(state, ctx); }

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

static double within(double v) { return fmin(fmax(v, 0), 1); }

/* A colour with its hue turned, by way of HSV (Smith 1978) as torchvision.transforms.functional.adjust_hue takes it. */
static void turn_by_hsv(double p[3], double turn)
{
    double v = fmax(p[0], fmax(p[1], p[2])), range = v - fmin(p[0], fmin(p[1], p[2])), s = v > 0 ? range / v : 0, h = 0;
    if (range > 0) h = (v == p[0] ? fmod((p[1] - p[2]) / range + 6, 6) : v == p[1] ? (p[2] - p[0]) / range + 2 : (p[0] - p[1]) / range + 4) / 6;
    h = fmod(h + turn + 1, 1) * 6;
    double f = h - floor(h), low = v * (1 - s), falls = v * (1 - f * s), rises = v * (1 - (1 - f) * s);
    const double sixths[6][3] = {{v, rises, low}, {falls, v, low}, {low, v, rises}, {low, falls, v}, {rises, low, v}, {v, low, falls}};
    memcpy(p, sixths[(int)h % 6], 3 * sizeof *p);
}

/* torchvision's ColorJitter in f64, in the order that Hone has, with the numbers that were drawn. */
static void colours_are_those_of_the_formulas(void **state)
{
    (void)state;
    enum { N = 16 };
    static const double strength[3] = {0.4, 0.6, 0.8}, hue = 0.3;
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(3, 4, 4));
    for (int i = 0; i < 3 * N; i++) ((float *)hone_tensor_data(x))[i] = (float)(i * 29 % 48) / 47;
    for (int64_t row = 0; row < 100; row++) {
        hone_tensor *y = apply(x, (hone_transform){HONE_COLOR_JITTER, .brightness = strength[0], .contrast = strength[1],
                                                   .saturation = strength[2], .hue = hue}, row);
        hone__draws draws = {.key = hone__key(hone__row_key(1, 0, row), 0)};
        double factor[3], mean = 0, p[N][3];
        for (int k = 0; k < 3; k++) factor[k] = hone__draw_between(&draws, 1 - strength[k], 1 + strength[k]);
        double turn = hone__draw_between(&draws, -hue, hue);
        for (int i = 0; i < N; i++) {
            for (int k = 0; k < 3; k++) p[i][k] = within(hone_tensor_get(x, k * N + i) * factor[0]);
            mean += (0.299 * p[i][0] + 0.587 * p[i][1] + 0.114 * p[i][2]) / N;
        }
        for (int i = 0; i < N; i++) {
            for (int k = 0; k < 3; k++) p[i][k] = within(factor[1] * p[i][k] + (1 - factor[1]) * mean);
            double grey = 0.299 * p[i][0] + 0.587 * p[i][1] + 0.114 * p[i][2];
            for (int k = 0; k < 3; k++) p[i][k] = within(factor[2] * p[i][k] + (1 - factor[2]) * grey);
            turn_by_hsv(p[i], turn);
            for (int k = 0; k < 3; k++)
                if (!(fabs(hone_tensor_get(y, k * N + i) - p[i][k]) < 1e-5))
                    fail_msg("row %lld, pixel %d, channel %d is %g, not %g", (long long)row, i, k, hone_tensor_get(y, k * N + i), p[i][k]);
        }
        hone_tensor_free(y);
    }
    hone_tensor_free(x);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pictures_are_turned_and_cut_as_they_are_told, begin, end),
        cmocka_unit_test_setup_teardown(rotation_shear_and_translation_are_as_they_say, begin, end),
        cmocka_unit_test_setup_teardown(noise_has_its_deviation, begin, end),
        cmocka_unit_test_setup_teardown(colours_change_within_their_bounds, begin, end),
        cmocka_unit_test_setup_teardown(colours_are_those_of_the_formulas, begin, end),
        cmocka_unit_test_setup_teardown(sound_and_tokens_are_transformed, begin, end),
        cmocka_unit_test_setup_teardown(transforms_that_do_not_fit_are_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
