/* Arrays, pictures and sound in files, against NumPy, Pillow, PyTorch and librosa (scripts/golden/make_data_golden.py). */
#include "data_tools.h"

#include "data/image.h"

static hone_ctx *ctx;
static hone_npz *golden;

static int open_all(void **state)
{
    ctx = hone_ctx_new(.threads = 1);
    golden = hone_npz_load(ctx, DATA_FILE("golden.npz"));
    if (hone_ctx_status(ctx) == HONE_UNSUPPORTED) hone_clear_error(ctx);
    return scratch_make(state);
}

static int close_all(void **state)
{
    scratch_remove(state);
    hone_npz_free(golden);
    hone_ctx_release(ctx);
    return 0;
}

/* After a reader gave NULL: skips where a library is not there, else fails. */
static void need(const void *result)
{
    if (result) return;
    bool lacks = hone_ctx_status(ctx) == HONE_UNSUPPORTED;
    char error[256];
    snprintf(error, sizeof error, "%s", hone_error(ctx));
    hone_clear_error(ctx);
    if (!lacks) fail_msg("%s", error);
    print_message("skipped: %s\n", error);
    skip();
}

static hone_tensor *golden_f32(const char *name)
{
    hone_tensor *from = golden_array(golden, name), *t = hone_tensor_new(ctx, HONE_F32, hone_tensor_shape(from));
    assert_hone_ok(ctx, hone_tensor_read(from, 0, hone_shape_count(hone_tensor_shape(from)), HONE_F32, hone_tensor_data(t)));
    return t;
}

/* The bytes of a file of tests/data/data. */
static char *file(const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/data/%s", HONE_TEST_DATA, name);
    char *data = hone__read_file(ctx, path, 1 << 20, size);
    if (!data) fail_msg("%s", hone_error(ctx));
    return data;
}

/* Every prefix of the file, and the file with any one bit of a byte turned, is read or refused, but never worse. */
static void damage(const char *name, void *(*read)(const uint8_t *data, size_t size), void (*discard)(void *))
{
    size_t size;
    uint8_t *data = (uint8_t *)file(name, &size);
    for (size_t i = 0; i < 2 * size; i++) {
        bool cut = i < size;
        if (!cut) data[i - size] ^= (uint8_t)(1u << i % 8);
        void *result = read(data, cut ? i : size);
        if (!cut) data[i - size] ^= (uint8_t)(1u << i % 8);
        assert_true((result != NULL) == (hone_ctx_status(ctx) == HONE_OK));
        hone_clear_error(ctx);
        discard(result);
    }
    hone__free(ctx, data);
}

static void discard_tensor(void *t) { hone_tensor_free(t); }

/* ---- npz ---- */

static void *read_npz(const uint8_t *data, size_t size) { return hone__npz_read(ctx, "x.npz", data, size); }
static void discard_npz(void *npz) { hone_npz_free(npz); }

static void arrays_of_an_npz_file_are_found_by_name(void **state)
{
    (void)state;
    hone_npz *npz = hone_npz_load(ctx, DATA_FILE("plain.npz"));
    need(npz);
    assert_int_equal(hone_npz_count(npz), 3);
    assert_string_equal(hone_npz_name(npz, 1), "b");
    assert_null(hone_npz_name(npz, 3));
    assert_null(hone_npz_get(npz, "d"));
    assert_int_equal(hone_tensor_dtype(hone_npz_get(npz, "a")), HONE_I32);
    assert_true(hone_tensor_get(hone_npz_get(npz, "a"), 5) == 5 && hone_tensor_get(hone_npz_get(npz, "b"), 0) == 2.5);
    assert_true(hone_shape_equal(hone_tensor_shape(hone_npz_get(npz, "c")), HONE_SHAPE(0, 3)));
    hone_npz_free(npz);
    hone_npz_free(NULL);
    assert_null(hone_npz_load(ctx, HONE_TEST_DATA "/io/f32.npy"));
    assert_int_equal(hone_ctx_status(ctx), HONE_FORMAT);
    hone_clear_error(ctx);
    damage("plain.npz", read_npz, discard_npz);
}

/* NumPy reads them too: scripts/peers/check_arrays.py, which knows these arrays. */
static void arrays_are_saved_as_npz_and_read_again(void **state)
{
    (void)state;
    need(golden);
    float halves[6], zeros[4000] = {0};
    for (int i = 0; i < 6; i++) halves[i] = (float)i / 2;
    hone_tensor *a = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 3), halves), *b = hone_tensor_from_i32(ctx, HONE_SHAPE(3), (int32_t[]){-1, 0, 7}),
                *c = hone_tensor_new(ctx, HONE_U8, HONE_SHAPE(0, 3)), *d = hone_tensor_new(ctx, HONE_F64, HONE_SCALAR),
                *e = hone_tensor_from_f32(ctx, HONE_SHAPE(4000), zeros), *f = hone_tensor_new(ctx, HONE_BF16, HONE_SHAPE(2));
    *(double *)hone_tensor_data(d) = 1.0 / 3;
    assert_hone_ok(ctx, hone_tensor_write(f, 0, 2, HONE_F32, (float[]){1.5f, -2}));
    const hone_named_tensor arrays[] = {{"a", a}, {"größe", b}, {"c", c}, {"d", d}, {"deep/e", e}, {"f", f}};
    for (int compressed = 0; compressed < 2; compressed++) {
        const char *const name = compressed ? "deflated.npz" : "stored.npz";
        assert_hone_ok(ctx, hone_npz_save(ctx, scratch(name), arrays, 6, compressed));
        size_t size;
        char *bytes = hone__read_file(ctx, scratch(name), 1 << 20, &size);
        assert_true(compressed ? size < 2000 : size > 16000);
        hone__free(ctx, bytes);
        hone_npz *npz = hone_npz_load(ctx, scratch(name));
        if (!npz) fail_msg("%s", hone_error(ctx));
        assert_int_equal(hone_npz_count(npz), 6);
        for (size_t i = 0; i < 6; i++) {
            const hone_tensor *t = hone_npz_get(npz, arrays[i].name), *want = arrays[i].tensor;
            assert_string_equal(hone_npz_name(npz, i), arrays[i].name);
            assert_true(t && hone_shape_equal(hone_tensor_shape(t), hone_tensor_shape(want)));
            assert_int_equal(hone_tensor_dtype(t), i == 5 ? HONE_F32 : hone_tensor_dtype(want)); /* NumPy has no bf16 */
            if (i < 5) assert_memory_equal(t->data, want->data, want->bytes);
        }
        assert_true(hone_tensor_get(hone_npz_get(npz, "f"), 1) == -2);
        hone_npz_free(npz);
    }
    const char *keep = getenv("HONE_KEEP_NPZ"); /* a folder, for that script */
    for (int compressed = 0; keep && compressed < 2; compressed++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s.npz", keep, compressed ? "deflated" : "stored");
        assert_hone_ok(ctx, hone_npz_save(ctx, path, arrays, 6, compressed));
    }
    const hone_named_tensor wrong[][2] = {{{"a", a}, {"a", b}}, {{"a", a}, {"", b}}, {{"a", a}, {NULL, b}}, {{"a", a}, {"b", NULL}}, {{"a", a}, {"\xFF", b}}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) {
        assert_int_equal(hone_npz_save(ctx, scratch("wrong.npz"), wrong[i], 2, false), HONE_INVALID);
        assert_non_null(strstr(hone_error(ctx), "wrong.npz: "));
    }
    assert_int_equal(hone_npz_save(ctx, scratch("wrong.npz"), arrays, 0, false), HONE_INVALID);
    assert_int_equal(hone_npz_save(ctx, scratch("no/such/folder.npz"), arrays, 1, false), HONE_IO);
    assert_false(hone__is_file(scratch("wrong.npz")));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(c), hone_tensor_free(d), hone_tensor_free(e), hone_tensor_free(f);
}

/* ---- IDX ---- */

static void *read_idx(const uint8_t *data, size_t size) { return hone__idx_read(ctx, "x.idx", data, size); }

static void idx_files_of_every_type_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *file, *golden;
        hone_dtype dtype;
    } cases[] = {{"numbers_09.idx", "idx.09", HONE_I32}, {"numbers_0b.idx", "idx.0b", HONE_I32},
                 {"numbers_0c.idx", "idx.0c", HONE_I32}, {"numbers_0d.idx", "idx.0d", HONE_F32},
                 {"numbers_0e.idx", "idx.0e", HONE_F64}, {"numbers.idx.gz", "idx.08", HONE_U8}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/data/%s", HONE_TEST_DATA, cases[i].file);
        hone_tensor *t = hone_idx_load(ctx, path);
        need(t);
        assert_int_equal(hone_tensor_dtype(t), cases[i].dtype);
        if (golden) assert_near_golden(golden, cases[i].golden, t, 0);
        hone_tensor_free(t);
        damage(cases[i].file, read_idx, discard_tensor);
    }
    static const uint8_t huge[] = {0, 0, 8, 3, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 9};
    assert_null(hone__idx_read(ctx, "x", huge, sizeof huge));
    assert_non_null(strstr(hone_error(ctx), "do not fit into the file"));
    hone_clear_error(ctx);
}

/* ---- CIFAR-10 ---- */

enum { CIFAR_RECORD = 1 + 3 * 32 * 32 };

/* n records and `more` bytes: record i of class first + i, whose byte p is i + 7 p. */
static void write_cifar(const char *name, int n, int first, size_t more)
{
    uint8_t records[4 * CIFAR_RECORD] = {0};
    char path[1100];
    for (int i = 0; i < n; i++) {
        records[i * CIFAR_RECORD] = (uint8_t)(first + i);
        for (int p = 0; p < 3 * 32 * 32; p++) records[i * CIFAR_RECORD + 1 + p] = (uint8_t)(first + i + 7 * p);
    }
    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("cifar")));
    snprintf(path, sizeof path, "%s/%s", scratch("cifar"), name);
    assert_hone_ok(ctx, hone_write_file(ctx, path, records, (size_t)n * CIFAR_RECORD + more));
}

static void cifar_is_read_as_its_authors_wrote_it(void **state)
{
    (void)state;
    hone_tensor *x, *y;
    write_cifar("data_batch_1.bin", 3, 0, 0), write_cifar("data_batch_2.bin", 2, 8, 0);
    write_cifar("data_batch_4.bin", 1, 0, 0); /* there is no third: not read */
    write_cifar("test_batch.bin", 1, 5, 0);
    assert_hone_ok(ctx, hone_cifar10_load(ctx, scratch("cifar"), &x, &y));
    assert_true(hone_tensor_dtype(x) == HONE_U8 && hone_tensor_dtype(y) == HONE_U8);
    assert_true(hone_shape_equal(hone_tensor_shape(x), HONE_SHAPE(5, 3, 32, 32)) && hone_shape_equal(hone_tensor_shape(y), HONE_SHAPE(5)));
    for (int i = 0; i < 5; i++) {
        int class = i < 3 ? i : 5 + i;
        assert_true(hone_tensor_get(y, i) == class);
        for (int p = 0; p < 3 * 32 * 32; p++) assert_true(hone_tensor_get(x, i * 3 * 32 * 32 + p) == (class + 7 * p) % 256);
    }
    hone_tensor_free(x), hone_tensor_free(y);
    assert_hone_ok(ctx, hone_cifar10_load(ctx, scratch("cifar/test_batch.bin"), &x, &y));
    assert_true(hone_tensor_shape(x).dim[0] == 1 && hone_tensor_get(y, 0) == 5);
    hone_tensor_free(x), hone_tensor_free(y);

    static const struct {
        const char *name, *message;
        int n, first;
        size_t more;
        hone_status status;
    } cases[] = {{"cut.bin", "cut.bin: 6145 bytes are no whole records of CIFAR-10", 2, 0, (size_t)-1, HONE_FORMAT},
                 {"empty.bin", "empty.bin: 0 bytes", 0, 0, 0, HONE_FORMAT},
                 {"long.bin", "long.bin: 3074 bytes", 1, 0, 1, HONE_FORMAT},
                 {"data_batch_2.bin", "data_batch_2.bin: record 1 is of class 10", 2, 9, 0, HONE_FORMAT}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        char path[1100];
        write_cifar(cases[i].name, cases[i].n, cases[i].first, cases[i].more);
        snprintf(path, sizeof path, "%s/%s", scratch("cifar"), i < 3 ? cases[i].name : ""); /* the last one by its folder */
        assert_int_equal(hone_cifar10_load(ctx, path, &x, &y), cases[i].status);
        if (!strstr(hone_error(ctx), cases[i].message)) fail_msg("%s", hone_error(ctx));
        assert_true(!x && !y);
        hone_clear_error(ctx);
    }
    assert_int_equal(hone_cifar10_load(ctx, scratch(""), &x, &y), HONE_IO);
    assert_non_null(strstr(hone_error(ctx), "data_batch_1.bin"));
    hone_clear_error(ctx);
}

static void fashion_mnist_is_read_where_it_is_installed(void **state)
{
    (void)state;
    const char *folder = "/usr/share/datasets/fashion-mnist";
    if (!hone__is_folder(folder)) skip();
    hone_tensor *x = hone_idx_load(ctx, "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz");
    need(x);
    hone_tensor *y = hone_idx_load(ctx, "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz");
    need(y);
    assert_true(hone_shape_equal(hone_tensor_shape(x), HONE_SHAPE(10000, 28, 28)));
    int counts[10] = {0};
    for (int64_t i = 0; i < 10000; i++) counts[(int)hone_tensor_get(y, i)]++;
    for (int i = 0; i < 10; i++) assert_int_equal(counts[i], 1000);
    hone_tensor_free(x), hone_tensor_free(y);
}

/* ---- pictures ---- */

static void *read_image(const uint8_t *data, size_t size) { return hone__image_read(ctx, "x", data, size, NULL); }

static void pictures_are_read_as_pillow_reads_them(void **state)
{
    (void)state;
    hone_tensor *png = hone_image_load(ctx, DATA_FILE("images/cat/a.png"));
    need(png);
    hone_tensor *jpeg = hone_image_load(ctx, DATA_FILE("images/dog/b.jpg"));
    need(jpeg);
    if (golden) {
        assert_near_golden(golden, "image.png", png, 1e-7);
        assert_near_golden(golden, "image.jpg", jpeg, 1.01 / 255); /* decoders may round differently */
    }
    hone_tensor_free(png), hone_tensor_free(jpeg);
    hone_tensor *grey = hone_image_load(ctx, DATA_FILE("images/dog/grey.png"), .channels = 1);
    assert_true(hone_shape_equal(hone_tensor_shape(grey), HONE_SHAPE(1, 5, 7)));
    hone_tensor *rgb = hone_image_load(ctx, DATA_FILE("images/dog/grey.png"));
    for (int64_t i = 0; i < 35; i++)
        assert_true(hone_tensor_get(rgb, i) == hone_tensor_get(grey, i) && hone_tensor_get(rgb, i + 70) == hone_tensor_get(grey, i));
    hone_tensor_free(grey), hone_tensor_free(rgb);
    assert_null(hone_image_load(ctx, DATA_FILE("sound_16.wav")));
    assert_non_null(strstr(hone_error(ctx), "neither PNG nor JPEG"));
    hone_clear_error(ctx);
    assert_null(hone_image_load(ctx, DATA_FILE("images/cat/a.png"), .channels = 2));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    hone_clear_error(ctx);
    damage("images/cat/a.png", read_image, discard_tensor);
    damage("images/dog/b.jpg", read_image, discard_tensor);
}

/* Pixel (c, y, x) of a picture read back, 0 to 255. */
static int pixel(const hone_tensor *t, int64_t c, int64_t y, int64_t x)
{
    hone_shape s = hone_tensor_shape(t);
    return (int)lround(255 * hone_tensor_get(t, (c * s.dim[1] + y) * s.dim[2] + x));
}

static void a_grid_of_pictures_is_saved_as_png_and_read_back(void **state)
{
    (void)state;
    enum { N = 3, C = 3, H = 2, W = 4 };
    float values[N * C * H * W];
    for (int i = 0; i < N * C * H * W; i++) values[i] = -1 + 2 * (float)(i * 3 % 256) / 255;
    values[0] = NAN, values[1] = -7, values[2] = 1e9f;
    hone_tensor *t = hone_tensor_from_f32(ctx, HONE_SHAPE(N, C, H, W), values);
    const char *path = scratch("grid.png");
    if (hone_image_save(t, path, .low = -1, .high = 1, .columns = 2, .background = HONE_ZERO) == HONE_UNSUPPORTED) skip();
    hone_tensor *back = hone_image_load(ctx, path);
    assert_true(back && hone_shape_equal(hone_tensor_shape(back), HONE_SHAPE(C, 2 * H + 6, 2 * W + 6)));
    int background = 0;
    for (int c = 0; c < C; c++)
        for (int y = 0; y < 2 * H + 6; y++)
            for (int x = 0; x < 2 * W + 6; x++) {
                int row = y / (H + 2), column = x / (W + 2), top = y - 2 - row * (H + 2), left = x - 2 - column * (W + 2);
                int i = row * 2 + column, want = 128;
                if (top >= 0 && left >= 0 && row < 2 && column < 2 && i < N) {
                    want = ((i * C + c) * H + top) * W + left;
                    want = want < 2 ? 0 : want == 2 ? 255 : want * 3 % 256;
                } else {
                    background++;
                }
                assert_int_equal(pixel(back, c, y, x), want);
            }
    assert_int_equal(background, C * ((2 * H + 6) * (2 * W + 6) - N * H * W));
    hone_tensor_free(back), hone_tensor_free(t);

    const uint8_t grey[6] = {0, 1, 127, 128, 254, 255}; /* one picture has no padding, whatever its rank; bytes stay as they are */
    for (int rank = 2; rank <= 4; rank++) {
        t = hone_tensor_new(ctx, HONE_U8, rank == 2 ? HONE_SHAPE(2, 3) : rank == 3 ? HONE_SHAPE(1, 2, 3) : HONE_SHAPE(1, 1, 2, 3));
        assert_hone_ok(ctx, hone_tensor_write(t, 0, 6, HONE_U8, grey));
        assert_hone_ok(ctx, hone_image_save(t, path, .no_padding = true)); /* over the one that was there */
        back = hone_image_load(ctx, path, .channels = 1);
        assert_true(back && hone_shape_equal(hone_tensor_shape(back), HONE_SHAPE(1, 2, 3)));
        for (int i = 0; i < 6; i++) assert_int_equal(pixel(back, 0, i / 3, i % 3), grey[i]);
        hone_tensor_free(back), hone_tensor_free(t);
    }
}

static void what_is_no_picture_is_not_saved(void **state)
{
    (void)state;
    const struct {
        hone_dtype dtype;
        hone_shape shape;
        hone_image_save_opts opts;
        hone_status want;
        const char *part;
    } cases[] = {{HONE_F32, HONE_SHAPE(7), {0}, HONE_SHAPE, "[7] is no [height, width]"},
                 {HONE_F32, HONE_SHAPE(2, 4, 4), {0}, HONE_SHAPE, "1 or 3 channels"},
                 {HONE_F32, HONE_SHAPE(0, 1, 4, 4), {0}, HONE_SHAPE, "[0, 1, 4, 4]"},
                 {HONE_U8, HONE_SHAPE(1, 1, 40000), {0}, HONE_SHAPE, "more than 32768 pixels"},
                 {HONE_U8, HONE_SHAPE(20, 1, 1, 4000), {.columns = 9}, HONE_SHAPE, "9 columns"},
                 {HONE_I32, HONE_SHAPE(4, 4), {0}, HONE_DTYPE, "not i32"},
                 {HONE_F32, HONE_SHAPE(4, 4), {.low = 1, .high = 1}, HONE_INVALID, "low 1 must be below high 1"},
                 {HONE_F32, HONE_SHAPE(4, 4), {.high = NAN, .low = 1}, HONE_INVALID, "below high nan"},
                 {HONE_F32, HONE_SHAPE(4, 4), {.columns = -1}, HONE_INVALID, "columns -1"},
                 {HONE_F32, HONE_SHAPE(4, 4), {.background = 2}, HONE_INVALID, "background 2"}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_tensor *t = hone_tensor_new(ctx, cases[i].dtype, cases[i].shape);
        hone_image_save_opts o = cases[i].opts;
        o.struct_size = sizeof o;
        assert_int_equal(hone_image_save_opt(t, scratch("none.png"), &o), cases[i].want);
        if (!strstr(hone_error(ctx), cases[i].part)) fail_msg("%s", hone_error(ctx));
        assert_int_equal(hone_ctx_status(ctx), HONE_OK);
        assert_false(hone__is_file(scratch("none.png")));
        hone_tensor_free(t);
    }
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(4, 4));
    hone_status status = hone_image_save(t, scratch("no/such/folder.png"));
    assert_true(status == HONE_IO || status == HONE_UNSUPPORTED);
    assert_int_equal(hone_image_save(NULL, "x.png"), HONE_INVALID);
    hone_tensor_free(t);
}

static void pictures_are_resized_as_pytorch_resizes_them(void **state)
{
    (void)state;
    if (!golden) skip();
    static const struct {
        const char *golden;
        int64_t height, width;
    } cases[] = {{"resize.5x7", 5, 7}, {"resize.12x9", 12, 9}, {"resize.20x31", 20, 31}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_tensor *t = hone_image_load(ctx, DATA_FILE("images/cat/a.png"), .height = cases[i].height, .width = cases[i].width);
        need(t);
        assert_near_golden(golden, cases[i].golden, t, 1e-6);
        hone_tensor_free(t);
    }
}

/* ---- sound ---- */

static void *read_wav(const uint8_t *data, size_t size) { return hone__wav_read(ctx, "x.wav", data, size, NULL); }

static void wav_files_of_every_width_are_read(void **state)
{
    (void)state;
    static const char *const names[] = {"16", "24", "32", "float"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(names); i++) {
        char path[512], name[64];
        int rate = 0;
        snprintf(path, sizeof path, "%s/data/sound_%s.wav", HONE_TEST_DATA, names[i]);
        hone_tensor *t = hone_wav_load(ctx, path, &rate);
        need(t);
        assert_int_equal(rate, 8000);
        snprintf(name, sizeof name, "wav.%s", names[i]);
        if (golden) assert_near_golden(golden, name, t, 1e-7);
        hone_tensor_free(t);
        snprintf(name, sizeof name, "sound_%s.wav", names[i]);
        damage(name, read_wav, discard_tensor);
    }
    assert_null(hone_wav_load(ctx, DATA_FILE("plain.npz"), NULL));
    assert_int_equal(hone_ctx_status(ctx), HONE_FORMAT);
    hone_clear_error(ctx);
}

/* libsndfile makes a shorter file of one that is cut off, without a word. Lengths that a pipe's writer could not know are allowed. */
static void a_wav_file_that_is_cut_off_is_refused(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = (uint8_t *)file("sound_16.wav", &size), *length = NULL;
    hone_tensor *whole = read_wav(data, size);
    need(whole);
    for (size_t at = 12; at + 8 < size && !length; at++)
        if (!memcmp(data + at, "data", 4)) length = data + at + 4;
    assert_non_null(length);
    const size_t begin = (size_t)(length + 4 - data);
    for (size_t cut = begin + 2; cut < size; cut += 100) {
        assert_null(read_wav(data, cut));
        assert_int_equal(hone_ctx_status(ctx), HONE_FORMAT);
        assert_non_null(strstr(hone_error(ctx), "x.wav: is cut off"));
        hone_clear_error(ctx);
    }
    static const uint8_t unknown[][4] = {{255, 255, 255, 255}, {0, 240, 255, 127}, {0, 0, 0, 128}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(unknown); i++) {
        memcpy(length, unknown[i], 4);
        hone_tensor *t = read_wav(data, size);
        if (!t) fail_msg("%s", hone_error(ctx));
        assert_true(hone_shape_equal(hone_tensor_shape(t), hone_tensor_shape(whole)));
        assert_memory_equal(hone_tensor_data(t), hone_tensor_data(whole), hone_tensor_bytes(whole));
        hone_tensor_free(t);
    }
    hone_tensor_free(whole);
    hone__free(ctx, data);
}

static void spectrograms_are_those_of_librosa(void **state)
{
    (void)state;
    if (!golden) skip();
    hone_tensor *x = golden_f32("sound");
    static const struct {
        const char *name;
        hone_spectrogram_opts opts;
    } cases[] = {{"a", {.n_fft = 512, .hop_length = 128, .n_mels = 40}},
                 {"b", {.n_fft = 400, .hop_length = 160, .n_mels = 32, .f_min = 50, .f_max = 3500}},
                 {"c", {.n_fft = 512, .hop_length = 200, .win_length = 300, .n_mels = 20}}};
    double most = 0;
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        char name[32];
        hone_spectrogram_opts o = cases[i].opts;
        o.struct_size = sizeof o;
        for (int log = 0; log < 2; log++) {
            o.no_log = !log;
            hone_tensor *t = hone_spectrogram_opt(x, 8000, &o);
            if (!t) fail_msg("%s", hone_error(ctx));
            snprintf(name, sizeof name, "%s.%s", log ? "log_mel" : "mel", cases[i].name);
            most = fmax(most, assert_near_golden(golden, name, t, 1e-5));
            hone_tensor_free(t);
        }
    }
    hone_tensor *t = hone_spectrogram(x, 8000, .n_fft = 512, .hop_length = 128, .n_mels = 40, .n_mfcc = 13);
    most = fmax(most, assert_near_golden(golden, "mfcc", t, 1e-5));
    print_message("largest difference from librosa: %.2g\n", most);
    hone_tensor_free(t);
    /* channels are separate */
    float two[2 * 100];
    for (int i = 0; i < 100; i++) two[i] = (float)sin(i), two[100 + i] = (float)cos(0.3 * i);
    hone_tensor *both = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 100), two), *second = hone_tensor_from_f32(ctx, HONE_SHAPE(100), two + 100);
    hone_tensor *a = hone_spectrogram(both, 100, .n_fft = 20, .n_mels = 4), *b = hone_spectrogram(second, 100, .n_fft = 20, .n_mels = 4);
    assert_true(hone_shape_equal(hone_tensor_shape(a), HONE_SHAPE(2, 4, 21)));
    assert_memory_equal((char *)hone_tensor_data(a) + hone_tensor_bytes(b), hone_tensor_data(b), hone_tensor_bytes(b));
    hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(both), hone_tensor_free(second);
    assert_null(hone_spectrogram(x, 0));
    assert_null(hone_spectrogram(x, 8000, .f_min = 5000));
    assert_null(hone_spectrogram(x, 8000, .n_mfcc = 200));
    assert_null(hone_spectrogram(x, 8000, .n_fft = 100, .win_length = 101));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_tensor_free(x);
}

/* ---- windows ---- */

static void windows_of_a_series_are_followed_by_what_comes_next(void **state)
{
    (void)state;
    float values[20];
    for (int i = 0; i < 20; i++) values[i] = (float)i;
    hone_tensor *series = hone_tensor_from_f32(ctx, HONE_SHAPE(10, 2), values), *x, *y;
    assert_hone_ok(ctx, hone_time_windows(series, 3, 2, 2, &x, &y));
    assert_true(hone_shape_equal(hone_tensor_shape(x), HONE_SHAPE(3, 3, 2)));
    assert_true(hone_shape_equal(hone_tensor_shape(y), HONE_SHAPE(3, 2, 2)));
    assert_memory_equal((float *)hone_tensor_data(x) + 6, ((float[]){4, 5, 6, 7, 8, 9}), 24);
    assert_memory_equal((float *)hone_tensor_data(y) + 8, ((float[]){14, 15, 16, 17}), 16);
    hone_tensor_free(x), hone_tensor_free(y);
    assert_hone_ok(ctx, hone_time_windows(series, 10, 0, 1, &x, NULL));
    assert_int_equal(hone_tensor_shape(x).dim[0], 1);
    hone_tensor_free(x);
    assert_int_equal(hone_time_windows(series, 10, 1, 1, &x, &y), HONE_INVALID);
    assert_int_equal(hone_time_windows(series, 0, 1, 1, &x, &y), HONE_INVALID);
    assert_int_equal(hone_time_windows(series, INT64_MAX, INT64_MAX, 1, &x, &y), HONE_INVALID);
    assert_true(!x && !y);
    hone_tensor_free(series);
}

static bool read_everything(hone_ctx *c)
{
    hone_npz *npz = hone_npz_load(c, DATA_FILE("plain.npz"));
    hone_tensor *idx = npz ? hone_idx_load(c, DATA_FILE("numbers.idx.gz")) : NULL,
                *idx2 = idx ? hone_idx_load(c, DATA_FILE("numbers_0b.idx")) : NULL,
                *png = idx2 ? hone_image_load(c, DATA_FILE("images/cat/a.png"), .height = 5) : NULL,
                *jpeg = png ? hone_image_load(c, DATA_FILE("images/dog/b.jpg")) : NULL,
                *wav = jpeg ? hone_wav_load(c, DATA_FILE("sound_16.wav"), NULL) : NULL,
                *mel = wav ? hone_spectrogram(wav, 8000, .n_fft = 64, .n_mels = 4) : NULL, *x = NULL, *y = NULL,
                *cifar[2] = {0};
    bool ok = mel && hone_cifar10_load(c, scratch("cifar"), &cifar[0], &cifar[1]) == HONE_OK &&
              hone_time_windows(wav, 1, 1, 1, &x, &y) == HONE_OK && hone_image_save(png, scratch("again.png")) == HONE_OK &&
              hone_npz_save(c, scratch("again.npz"), &(hone_named_tensor){"png", png}, 1, true) == HONE_OK &&
              hone_ctx_status(c) == HONE_OK; /* memory may run out after the file is in its place */
    hone_tensor *all[] = {idx, idx2, png, jpeg, wav, mel, x, y, cifar[0], cifar[1]};
    for (size_t i = 0; i < HONE_ARRAY_LEN(all); i++) hone_tensor_free(all[i]);
    hone_npz_free(npz);
    return ok;
}

static void failing_allocations_are_told(void **state)
{
    (void)state;
    hone_tensor *t = hone_wav_load(ctx, DATA_FILE("sound_16.wav"), NULL); /* every library must be there */
    need(t);
    hone_tensor_free(t);
    need(t = hone_image_load(ctx, DATA_FILE("images/dog/b.jpg")));
    hone_tensor_free(t);
    need(t = hone_image_load(ctx, DATA_FILE("images/cat/a.png")));
    hone_tensor_free(t);
    need(t = hone_idx_load(ctx, DATA_FILE("numbers.idx.gz")));
    hone_tensor_free(t);
    need(golden);
    write_cifar("data_batch_1.bin", 1, 0, 0), write_cifar("data_batch_2.bin", 1, 0, 0);
    fail_each_allocation(read_everything);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_an_npz_file_are_found_by_name),
        cmocka_unit_test(arrays_are_saved_as_npz_and_read_again),
        cmocka_unit_test(idx_files_of_every_type_are_read),
        cmocka_unit_test(cifar_is_read_as_its_authors_wrote_it),
        cmocka_unit_test(fashion_mnist_is_read_where_it_is_installed),
        cmocka_unit_test(pictures_are_read_as_pillow_reads_them),
        cmocka_unit_test(a_grid_of_pictures_is_saved_as_png_and_read_back),
        cmocka_unit_test(what_is_no_picture_is_not_saved),
        cmocka_unit_test(pictures_are_resized_as_pytorch_resizes_them),
        cmocka_unit_test(wav_files_of_every_width_are_read), cmocka_unit_test(a_wav_file_that_is_cut_off_is_refused),
        cmocka_unit_test(spectrograms_are_those_of_librosa),
        cmocka_unit_test(windows_of_a_series_are_followed_by_what_comes_next),
        cmocka_unit_test(failing_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
