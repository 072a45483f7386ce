#include "scratch.h"

#include "tensor/tensor.h"

#include <math.h>

static const hone_dtype plain[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16, HONE_I32, HONE_I64, HONE_U8};

/* ---- dtypes and shapes ---- */

static void names_of_dtypes_lead_back_to_them(void **state)
{
    (void)state;
    for (int i = 0; i < HONE_DTYPE_COUNT; i++) {
        hone_dtype dtype;
        assert_true(hone_dtype_from_name(hone_dtype_name((hone_dtype)i), &dtype));
        assert_int_equal(dtype, i);
    }
    hone_dtype dtype;
    assert_false(hone_dtype_from_name("float", &dtype));
    assert_string_equal(hone_dtype_name(HONE_DTYPE_COUNT), "?");
}

static void sizes_that_overflow_or_are_negative_are_refused(void **state)
{
    (void)state;
    int64_t count;
    size_t bytes;
    assert_true(hone__tensor_size(HONE_F32, HONE_SHAPE(2, 3), &count, &bytes));
    assert_int_equal(count, 6);
    assert_int_equal(bytes, 24);
    assert_true(hone__tensor_size(HONE_F64, HONE_SCALAR, &count, &bytes));
    assert_int_equal(count, 1);
    assert_true(hone__tensor_size(HONE_F32, HONE_SHAPE(5, 0), &count, &bytes));
    assert_int_equal(bytes, 0);
    assert_true(hone__tensor_size(HONE_Q4_0, HONE_SHAPE(3, 64), &count, &bytes));
    assert_int_equal(bytes, 3 * 2 * 18);
    assert_false(hone__tensor_size(HONE_Q4_0, HONE_SHAPE(64, 3), &count, &bytes));
    assert_false(hone__tensor_size(HONE_Q4_0, HONE_SCALAR, &count, &bytes));
    assert_false(hone__tensor_size(HONE_F32, HONE_SHAPE(-1), &count, &bytes));
    assert_false(hone__tensor_size(HONE_F32, HONE_SHAPE(INT64_MAX), &count, &bytes));
    assert_false(hone__tensor_size(HONE_U8, HONE_SHAPE(INT64_MAX, 2), &count, &bytes));
    assert_false(
        hone__tensor_size(HONE_U8, HONE_SHAPE(0, INT64_MAX, 2), &count, &bytes)); /* its strides overflow */
    assert_false(hone__tensor_size(HONE_DTYPE_COUNT, HONE_SCALAR, &count, &bytes));
    assert_false(hone__tensor_size(HONE_F32, (hone_shape){.rank = 9}, &count, &bytes));
    assert_false(hone__tensor_size(HONE_F32, (hone_shape){.rank = -1}, &count, &bytes));
}

static void shapes_print_and_compare(void **state)
{
    (void)state;
    assert_string_equal(HONE__SHAPE_STR(HONE_SHAPE(32, 10)), "[32, 10]");
    assert_string_equal(HONE__SHAPE_STR(HONE_SCALAR), "[]");
    int64_t m = INT64_MIN;
    assert_true(strlen(HONE__SHAPE_STR(HONE_SHAPE(m, m, m, m, m, m, m, m))) < HONE__SHAPE_TEXT);
    assert_true(hone_shape_equal(HONE_SHAPE(1, 2), HONE_SHAPE(1, 2)));
    assert_false(hone_shape_equal(HONE_SHAPE(1, 2), HONE_SHAPE(2, 1)));
    assert_false(hone_shape_equal(HONE_SHAPE(1), HONE_SHAPE(1, 1)));
    assert_int_equal(hone_shape_count(HONE_SCALAR), 1);
    assert_int_equal(hone_shape_count(HONE_SHAPE(INT64_MAX, 4)), INT64_MAX);
}

static void a_view_knows_whether_it_is_dense(void **state)
{
    (void)state;
    float data[24];
    hone__view view = hone__view_dense(data, HONE_F32, HONE_SHAPE(2, 3, 4));
    assert_int_equal(view.stride[0], 12);
    assert_int_equal(view.stride[1], 4);
    assert_int_equal(view.stride[2], 1);
    assert_true(hone__view_is_dense(&view));
    view.stride[0] = 0; /* broadcast */
    assert_false(hone__view_is_dense(&view));
    view.shape.dim[0] = 1; /* of one element: no step is taken */
    assert_true(hone__view_is_dense(&view));
    view.stride[1] = 1, view.stride[2] = 3;
    assert_false(hone__view_is_dense(&view));
    view.shape.dim[1] = 0;
    assert_true(hone__view_is_dense(&view));
    view = hone__view_dense(data, HONE_F32, HONE_SCALAR);
    assert_true(hone__view_is_dense(&view));
}

/* ---- conversion ---- */

static void every_f16_and_bf16_survives_a_way_through_f32(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = hone__f16_to_f32((uint16_t)h), b = hone__bf16_to_f32((uint16_t)h);
        if ((h & 0x7FFF) > 0x7C00)
            assert_true(isnan(f) && isnan(hone__f16_to_f32(hone__f32_to_f16(f))));
        else
            assert_int_equal(hone__f32_to_f16(f), h);
        if ((h & 0x7FFF) > 0x7F80)
            assert_true(isnan(b) && isnan(hone__bf16_to_f32(hone__f32_to_bf16(b))));
        else
            assert_int_equal(hone__f32_to_bf16(b), h);
    }
    assert_true(hone__f16_to_f32(0x3C00) == 1.0f && hone__f16_to_f32(0x0001) == 0x1p-24f);
    assert_true(hone__f16_to_f32(0xC000) == -2.0f && hone__f16_to_f32(0x7BFF) == 65504.0f);
    assert_int_equal(hone__f32_to_f16(65519.996f), 0x7BFF);
    assert_int_equal(hone__f32_to_f16(65520.0f), 0x7C00);
    assert_int_equal(hone__f32_to_bf16(1.00390625f), 0x3F80); /* a tie, to even */
}

/* f16.bin: 2048 f64, many of them ties or one step beside, then numpy's f16. */
static void f64_becomes_f16_with_a_single_rounding(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    size_t size;
    char *data = fixture(ctx, "f16.bin", &size);
    uint16_t half[2048], expected[2048];
    memcpy(expected, data + 2048 * 8, sizeof expected);
    assert_int_equal(hone__convert(half, HONE_F16, data, HONE_F64, 2048), HONE_OK);
    for (int i = 0; i < 2048; i++) assert_int_equal(half[i], expected[i]);
    /* A value that f32 holds must round as f32 does. */
    for (uint32_t bits = 0; bits < 0x7F800000u; bits += 9973) {
        float f;
        memcpy(&f, &bits, 4);
        double d = (double)f;
        uint16_t narrow;
        hone__convert(&narrow, HONE_BF16, &d, HONE_F64, 1);
        assert_int_equal(narrow, hone__f32_to_bf16(f));
        hone__convert(&narrow, HONE_F16, &d, HONE_F64, 1);
        assert_int_equal(narrow, hone__f32_to_f16(f));
    }
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

static void a_double_just_beside_a_tie_of_bf16_rounds_to_its_own_side(void **state)
{
    (void)state;
    static const struct {
        double value;
        uint16_t bits;
    } cases[] = {
        {1.0 + 0x1p-8, 0x3F80},
        {1.0 + 0x1p-8 + 0x1p-50, 0x3F81},
        {1.0 + 3 * 0x1p-8, 0x3F82},
        {1.0 + 3 * 0x1p-8 - 0x1p-50, 0x3F81},
        {-1.0 - 0x1p-8 - 0x1p-50, 0xBF81},
        {1e300, 0x7F80},
        {-1e300, 0xFF80},
        {1e-300, 0},
        {-1e-300, 0x8000},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        uint16_t bits;
        hone__convert(&bits, HONE_BF16, &cases[i].value, HONE_F64, 1);
        assert_int_equal(bits, cases[i].bits);
    }
    /* The same for integers of more than 53 bits: 2^62 + 2^54 is the tie, 1 beside decides. */
    static const int64_t tie = (INT64_C(1) << 62) + (INT64_C(1) << 54);
    static const int64_t integers[] = {tie, tie + 1, tie - 1, -tie, -tie - 1, -tie + 1, INT64_MAX, INT64_MIN};
    static const uint16_t expected[] = {0x5E80, 0x5E81, 0x5E80, 0xDE80, 0xDE81, 0xDE80, 0x5F00, 0xDF00};
    uint16_t bits[HONE_ARRAY_LEN(integers)];
    hone__convert(bits, HONE_BF16, integers, HONE_I64, HONE_ARRAY_LEN(integers));
    for (size_t i = 0; i < HONE_ARRAY_LEN(integers); i++) assert_int_equal(bits[i], expected[i]);
}

static void small_integers_pass_through_every_pair_of_types(void **state)
{
    (void)state;
    for (size_t a = 0; a < HONE_ARRAY_LEN(plain); a++)
        for (size_t b = 0; b < HONE_ARRAY_LEN(plain); b++) {
            int64_t values[101], back[101];
            char from[101 * 8 + 1], to[101 * 8 + 1];
            for (int64_t i = 0; i < 101; i++) values[i] = i * 2;
            /* One byte off alignment, as in a file. */
            assert_int_equal(hone__convert(from + 1, plain[a], values, HONE_I64, 101), HONE_OK);
            assert_int_equal(hone__convert(to + 1, plain[b], from + 1, plain[a], 101), HONE_OK);
            assert_int_equal(hone__convert(back, HONE_I64, to + 1, plain[b], 101), HONE_OK);
            assert_memory_equal(values, back, sizeof values);
        }
}

static void floats_become_integers_towards_zero_and_saturate(void **state)
{
    (void)state;
    static const double values[] = {1.9,  -1.9, 255.9, 256, -0.5,     3e9,
                                    -3e9, 1e19, -1e19, NAN, INFINITY, -INFINITY};
    static const int32_t i32[] = {1,         -1,        255,       256, 0,         INT32_MAX,
                                  INT32_MIN, INT32_MAX, INT32_MIN, 0,   INT32_MAX, INT32_MIN};
    static const int64_t i64[] = {1,           -1,        255,       256, 0,         3000000000,
                                  -3000000000, INT64_MAX, INT64_MIN, 0,   INT64_MAX, INT64_MIN};
    static const uint8_t u8[] = {1, 0, 255, 255, 0, 255, 0, 255, 0, 0, 255, 0};
    enum { N = HONE_ARRAY_LEN(values) };
    int32_t a[N];
    int64_t b[N];
    uint8_t c[N];
    hone__convert(a, HONE_I32, values, HONE_F64, N);
    hone__convert(b, HONE_I64, values, HONE_F64, N);
    hone__convert(c, HONE_U8, values, HONE_F64, N);
    assert_memory_equal(a, i32, sizeof a);
    assert_memory_equal(b, i64, sizeof b);
    assert_memory_equal(c, u8, sizeof c);
    float f[N];
    hone__convert(f, HONE_F32, values, HONE_F64, N);
    hone__convert(a, HONE_I32, f, HONE_F32, N);
    assert_memory_equal(a, i32, sizeof a);
    hone__convert(c, HONE_U8, i64, HONE_I64, N);
    assert_memory_equal(c, u8, sizeof c);
}

static void blocks_are_not_converted_to_nor_read_as_integers(void **state)
{
    (void)state;
    char a[256] = {0}, b[256];
    assert_int_equal(hone__convert(b, HONE_Q8_0, a, HONE_F32, 32), HONE_DTYPE);
    assert_int_equal(hone__convert(b, HONE_I32, a, HONE_Q8_0, 32), HONE_DTYPE);
    assert_int_equal(hone__convert(b, HONE_F32, a, HONE_Q8_0, 31), HONE_SHAPE);
    assert_int_equal(hone__convert(b, HONE_BF16, a, HONE_Q8_0, 32), HONE_OK);
    assert_int_equal(hone__convert(b, HONE_DTYPE_COUNT, a, HONE_F32, 1), HONE_DTYPE);
    assert_int_equal(hone__convert(b, HONE_F32, a, (hone_dtype)-1, 1), HONE_DTYPE);
}

/* ---- tensors ---- */

static void a_tensor_is_made_filled_read_and_written(void **state)
{
    (void)state;
    counting c = {0};
    hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
    hone_tensor *zero = hone_tensor_new(ctx, HONE_BF16, HONE_SHAPE(2, 3));
    hone_tensor *t = hone_tensor_from_f32(ctx, HONE_SHAPE(2, 2), (float[]){1, 2.5f, -3, 4});
    hone_tensor *i = hone_tensor_from_i32(ctx, HONE_SHAPE(2), (int32_t[]){5, -6});
    hone_tensor *none = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(0, 3));
    assert_true(zero && t && i && none);
    for (int64_t k = 0; k < 6; k++) assert_true(hone_tensor_get(zero, k) == 0.0);
    assert_int_equal(hone_tensor_dtype(t), HONE_F32);
    assert_true(hone_shape_equal(hone_tensor_shape(t), HONE_SHAPE(2, 2)));
    assert_int_equal(hone_tensor_bytes(t), 16);
    double d[2];
    assert_hone_ok(ctx, hone_tensor_read(t, 1, 2, HONE_F64, d));
    assert_true(d[0] == 2.5 && d[1] == -3);
    assert_hone_ok(ctx, hone_tensor_write(i, 1, 1, HONE_F64, (double[]){7.9}));
    assert_true(hone_tensor_get(i, 1) == 7.0);
    assert_true(isnan(hone_tensor_get(i, 2)) && isnan(hone_tensor_get(i, -1)));
    assert_hone_ok(ctx, hone_tensor_read(none, 0, 0, HONE_F32, NULL));
    assert_int_equal(hone_tensor_read(t, 4, 1, HONE_F64, d), HONE_INVALID);
    assert_int_equal(hone_tensor_read(t, -1, 1, HONE_F64, d), HONE_INVALID);
    assert_int_equal(hone_tensor_read(t, 1, INT64_MAX, HONE_F64, d), HONE_INVALID);
    assert_int_equal(hone_tensor_read(t, 0, -1, HONE_F64, d), HONE_INVALID);
    assert_int_equal(hone_tensor_write(t, 3, 2, HONE_F64, d), HONE_INVALID);
    assert_int_equal(hone_tensor_read(t, 0, 1, HONE_F32, NULL), HONE_INVALID);
    assert_int_equal(hone_tensor_read(NULL, 0, 1, HONE_F32, d), HONE_INVALID);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK); /* none of these sticks */
    hone_ctx_release(ctx);                           /* tensors keep their context */
    hone_tensor_free(zero);
    hone_tensor_free(t);
    hone_tensor_free(i);
    hone_tensor_free(none);
    hone_tensor_free(NULL);
    assert_int_equal(c.live, 0);
}

static void borrowed_memory_is_looked_at_and_left_alone(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    float data[3] = {1, 2, 3};
    hone_tensor *t = hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(3), data);
    assert_ptr_equal(hone_tensor_data(t), data);
    assert_hone_ok(ctx, hone_tensor_write(t, 2, 1, HONE_I32, (int32_t[]){9}));
    assert_true(data[2] == 9.0f);
    hone_tensor_free(t);
    assert_null(hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(1), (char *)data + 1));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    hone_clear_error(ctx);
    assert_null(hone_tensor_borrow(ctx, HONE_F32, HONE_SHAPE(1), NULL));
    hone_ctx_release(ctx);
}

static void impossible_tensors_are_refused_with_their_shape(void **state)
{
    (void)state;
    counting c = {0};
    hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
    assert_null(hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(-2, 3)));
    assert_int_equal(hone_ctx_status(ctx), HONE_SHAPE);
    assert_non_null(strstr(hone_error(ctx), "[-2, 3]"));
    assert_null(hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2))); /* the error sticks */
    hone_clear_error(ctx);
    assert_null(hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(INT64_MAX / 8)));
    assert_int_not_equal(hone_ctx_status(ctx), HONE_OK);
    hone_clear_error(ctx);
    assert_null(hone_tensor_new(ctx, (hone_dtype)99, HONE_SHAPE(2)));
    assert_int_equal(hone_ctx_status(ctx), HONE_INVALID);
    hone_clear_error(ctx);
    assert_null(hone_tensor_from_f32(ctx, HONE_SHAPE(2), NULL));
    hone_ctx_release(ctx);
    assert_null(hone_tensor_new(NULL, HONE_F32, HONE_SHAPE(2)));
}

/* ---- .npy ---- */

static hone_tensor *load_fixture(hone_ctx *ctx, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/io/%s", HONE_TEST_DATA, name);
    return hone_npy_load(ctx, path);
}

static void files_of_numpy_are_read(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tensor *t = load_fixture(ctx, "f32.npy");
    assert_non_null(t);
    assert_true(hone_shape_equal(t->shape, HONE_SHAPE(2, 3)));
    for (int64_t i = 0; i < 6; i++) assert_true(hone_tensor_get(t, i) == (double)i / 4);
    hone_tensor_free(t);
    t = load_fixture(ctx, "scalar_u8.npy");
    assert_non_null(t);
    assert_int_equal(t->shape.rank, 0);
    assert_int_equal(t->dtype, HONE_U8);
    assert_true(hone_tensor_get(t, 0) == 7.0);
    hone_tensor_free(t);
    t = load_fixture(ctx, "version2.npy");
    assert_non_null(t);
    assert_int_equal(t->dtype, HONE_I64);
    assert_true(hone_tensor_get(t, 1) == 0x1p40);
    hone_tensor_free(t);
    assert_null(load_fixture(ctx, "fortran.npy"));
    assert_non_null(strstr(hone_error(ctx), "fortran.npy: is in Fortran order"));
    hone_clear_error(ctx);
    assert_null(load_fixture(ctx, "big_endian.npy"));
    assert_int_equal(hone_ctx_status(ctx), HONE_DTYPE);
    hone_ctx_release(ctx);
}

static void what_is_saved_as_npy_is_loaded_again(void **state)
{
    (void)state;
    static const hone_shape shapes[] = {
        {0, {0}}, {1, {3}}, {2, {2, 5}}, {2, {0, 4}}, {8, {1, 2, 1, 2, 1, 2, 1, 2}}, {1, {5000}}};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    for (size_t d = 0; d < HONE_ARRAY_LEN(plain); d++)
        for (size_t s = 0; s < HONE_ARRAY_LEN(shapes); s++) {
            hone_tensor *t = hone_tensor_new(ctx, plain[d], shapes[s]);
            int64_t n = hone_shape_count(shapes[s]);
            for (int64_t i = 0; i < n; i++) hone_tensor_write(t, i, 1, HONE_I64, (int64_t[]){i % 100});
            assert_hone_ok(ctx, hone_npy_save(t, scratch("x.npy")));
            assert_int_equal((hone__file_size(scratch("x.npy")) -
                              (int64_t)(plain[d] == HONE_BF16 ? 2 : 1) * (int64_t)t->bytes) %
                                 64,
                             0);
            hone_tensor *back = hone_npy_load(ctx, scratch("x.npy"));
            if (!back) fail_msg("%s", hone_error(ctx));
            assert_int_equal(back->dtype, plain[d] == HONE_BF16 ? HONE_F32 : plain[d]);
            assert_true(hone_shape_equal(back->shape, t->shape));
            for (int64_t i = 0; i < n; i++) assert_true(hone_tensor_get(back, i) == (double)(i % 100));
            hone_tensor_free(t);
            hone_tensor_free(back);
        }
    hone_ctx_release(ctx);
}

/* Loads the bytes as a file: anything but a crash. */
static void try_npy(const void *data, size_t size)
{
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("hostile.npy"), data, size));
    hone_tensor *t = hone_npy_load(ctx, scratch("hostile.npy"));
    assert_true((t == NULL) == (hone_ctx_status(ctx) != HONE_OK));
    hone_tensor_free(t);
    hone_ctx_release(ctx);
}

static void damaged_npy_files_give_an_error_and_no_crash(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static const char *const names[] = {"f32.npy", "version2.npy"};
    for (size_t n = 0; n < HONE_ARRAY_LEN(names); n++) {
        size_t size;
        char *data = fixture(ctx, names[n], &size);
        for (size_t cut = 0; cut <= size; cut++) try_npy(data, cut);
        for (size_t i = 0; i < size; i++) {
            char kept = data[i];
            data[i] = (char)0xFF, try_npy(data, size);
            data[i] = 0, try_npy(data, size);
            data[i] = '9', try_npy(data, size);
            data[i] = kept;
        }
        hone__free(ctx, data);
    }
    hone_ctx_release(ctx);
}

static void npy_headers_are_taken_at_their_word_only_when_it_fits(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        bool fine;
    } cases[] = {
        {"{\"shape\":(2,),\"descr\":\"|u1\",\"fortran_order\":True}", 2, true},
        {"{'descr':'|b1','fortran_order':False,'shape':(2,),}", 2, true},
        {"{'descr':'|u1','fortran_order':False,'shape':(2,),}", 3, false},
        {"{'descr':'|u1','fortran_order':False,'shape':(2,),}", 1, false},
        {"{'descr':'|u1','fortran_order':False,'shape':(99999999999999999999,),}", 2, false},
        {"{'descr':'<f8','fortran_order':False,'shape':(4611686018427387904, 4),}", 0, false},
        {"{'descr':'|u1','fortran_order':False,'shape':(1,1,1,1,1,1,1,1,1),}", 1, false},
        {"{'descr':'|u1','fortran_order':False,'shape':(-2,),}", 2, false},
        {"{'descr':'|u1','fortran_order':False,'shape':(2,),'shape':(2,)}", 2, false},
        {"{'descr':'|u1','fortran_order':False}", 0, false},
        {"{'descr':'','fortran_order':False,'shape':()}", 0, false},
        {"{'descr':'|O','fortran_order':False,'shape':(0,)}", 0, false},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_ctx *ctx = hone_ctx_new(.threads = 1);
        size_t n = strlen(cases[i].header);
        unsigned char file[512] = "\x93NUMPY\x01";
        file[8] = (unsigned char)n;
        memcpy(file + 10, cases[i].header, n);
        file[10 + n + 1] = 2;
        assert_hone_ok(ctx, hone_write_file(ctx, scratch("case.npy"), file, 10 + n + cases[i].data));
        hone_tensor *t = hone_npy_load(ctx, scratch("case.npy"));
        assert_int_equal(t != NULL, cases[i].fine);
        if (t && strstr(cases[i].header, "|b1")) { /* the byte behind the header is zero, the next one is not */
            assert_int_equal(hone_tensor_dtype(t), HONE_U8);
            assert_true(hone_tensor_get(t, 0) == 0 && hone_tensor_get(t, 1) == 1);
        }
        hone_tensor_free(t);
        hone_ctx_release(ctx);
    }
}

/* Mean and standard deviation of what was drawn. */
static void moments(const hone_tensor *t, double *mean, double *deviation)
{
    int64_t n = hone_shape_count(hone_tensor_shape(t));
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) sum += hone_tensor_get(t, i), square += hone_tensor_get(t, i) * hone_tensor_get(t, i);
    *mean = sum / (double)n;
    *deviation = sqrt(square / (double)n - *mean * *mean);
}

static void random_values_have_the_moments_asked_for_and_depend_on_seed_and_stream(void **state)
{
    (void)state;
    enum { N = 100000 };
    const hone_dtype types[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};
    hone_ctx *ctx = hone_ctx_new(.threads = 1, .seed = 3), *other = hone_ctx_new(.threads = 1, .seed = 4);
    double mean, deviation;
    for (size_t i = 0; i < HONE_ARRAY_LEN(types); i++) {
        hone_tensor *t = hone_tensor_new(ctx, types[i], HONE_SHAPE(N));
        assert_hone_ok(ctx, hone_tensor_fill_normal(t, 2, 3, 0));
        moments(t, &mean, &deviation);
        assert_true(fabs(mean - 2) < 0.03 && fabs(deviation - 3) < 0.03);
        assert_hone_ok(ctx, hone_tensor_fill_uniform(t, -1, 5, 0));
        moments(t, &mean, &deviation);
        assert_true(fabs(mean - 2) < 0.03 && fabs(deviation - 6 / sqrt(12)) < 0.03);
        for (int64_t k = 0; k < N; k++) assert_true(hone_tensor_get(t, k) >= -1 && hone_tensor_get(t, k) <= 5);
        hone_tensor_free(t);
    }
    hone_tensor *a = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2000)), *b = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2000)),
                *c = hone_tensor_new(other, HONE_F32, HONE_SHAPE(2000)), *integers = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(2));
    assert_hone_ok(ctx, hone_tensor_fill_normal(a, 0, 1, 7));
    assert_hone_ok(ctx, hone_tensor_fill_normal(b, 0, 1, 7));
    assert_hone_ok(other, hone_tensor_fill_normal(c, 0, 1, 7));
    assert_memory_equal(hone_tensor_data(a), hone_tensor_data(b), 2000 * sizeof(float));
    assert_memory_not_equal(hone_tensor_data(a), hone_tensor_data(c), 2000 * sizeof(float));
    assert_hone_ok(ctx, hone_tensor_fill_normal(b, 0, 1, 8));
    int equal = 0;
    for (int64_t i = 0; i < 2000; i++) equal += hone_tensor_get(a, i) == hone_tensor_get(b, i);
    assert_true(equal < 3);
    assert_int_equal(hone_tensor_fill_normal(a, 0, -1, 0), HONE_INVALID);
    assert_int_equal(hone_tensor_fill_normal(a, NAN, 1, 0), HONE_INVALID);
    assert_int_equal(hone_tensor_fill_uniform(a, 1, 0, 0), HONE_INVALID);
    assert_int_equal(hone_tensor_fill_uniform(a, 0, INFINITY, 0), HONE_INVALID);
    assert_int_equal(hone_tensor_fill_uniform(integers, 0, 1, 0), HONE_DTYPE);
    assert_int_equal(hone_tensor_fill_uniform(NULL, 0, 1, 0), HONE_INVALID);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(c), hone_tensor_free(integers);
    hone_ctx_release(ctx), hone_ctx_release(other);
}

static void a_tensor_is_cast(void **state)
{
    (void)state;
    hone_ctx *c = hone_ctx_new(.threads = 1);
    static const double values[] = {0, 1.75, -2.5, 300, 1e300, NAN};
    static const double as_u8[] = {0, 1, 0, 255, 255, 0}, as_i32[] = {0, 1, -2, 300, INT32_MAX, 0};
    hone_tensor *x = hone_tensor_new(c, HONE_F64, HONE_SHAPE(2, 3));
    assert_int_equal(hone_tensor_write(x, 0, 6, HONE_F64, values), HONE_OK);
    hone_tensor *f = hone_tensor_cast(x, HONE_F32), *u = hone_tensor_cast(x, HONE_U8), *i = hone_tensor_cast(x, HONE_I32);
    assert_true(hone_shape_equal(hone_tensor_shape(f), HONE_SHAPE(2, 3)) && hone_tensor_dtype(f) == HONE_F32);
    for (int k = 0; k < 6; k++) {
        double of_f = hone_tensor_get(f, k);
        assert_true(of_f == (double)(float)values[k] || (isnan(of_f) && isnan(values[k])));
        assert_true(hone_tensor_get(u, k) == as_u8[k] && hone_tensor_get(i, k) == as_i32[k]);
    }
    hone_tensor *back = hone_tensor_cast(u, HONE_F32);
    assert_true(hone_tensor_get(back, 3) == 255);
    assert_null(hone_tensor_cast(NULL, HONE_F32));
    assert_null(hone_tensor_cast(x, HONE_Q8_0));
    assert_int_equal(hone_ctx_status(c), HONE_DTYPE);
    assert_non_null(strstr(hone_error(c), "f64 cannot be cast to q8_0"));
    hone_tensor_free(f), hone_tensor_free(u), hone_tensor_free(i), hone_tensor_free(back), hone_tensor_free(x);
    hone_ctx_release(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_dtypes_lead_back_to_them),
        cmocka_unit_test(a_tensor_is_cast),
        cmocka_unit_test(sizes_that_overflow_or_are_negative_are_refused),
        cmocka_unit_test(shapes_print_and_compare),
        cmocka_unit_test(a_view_knows_whether_it_is_dense),
        cmocka_unit_test(every_f16_and_bf16_survives_a_way_through_f32),
        cmocka_unit_test(f64_becomes_f16_with_a_single_rounding),
        cmocka_unit_test(a_double_just_beside_a_tie_of_bf16_rounds_to_its_own_side),
        cmocka_unit_test(small_integers_pass_through_every_pair_of_types),
        cmocka_unit_test(floats_become_integers_towards_zero_and_saturate),
        cmocka_unit_test(blocks_are_not_converted_to_nor_read_as_integers),
        cmocka_unit_test(a_tensor_is_made_filled_read_and_written),
        cmocka_unit_test(borrowed_memory_is_looked_at_and_left_alone),
        cmocka_unit_test(random_values_have_the_moments_asked_for_and_depend_on_seed_and_stream),
        cmocka_unit_test(impossible_tensors_are_refused_with_their_shape),
        cmocka_unit_test(files_of_numpy_are_read),
        cmocka_unit_test(what_is_saved_as_npy_is_loaded_again),
        cmocka_unit_test(damaged_npy_files_give_an_error_and_no_crash),
        cmocka_unit_test(npy_headers_are_taken_at_their_word_only_when_it_fits),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
