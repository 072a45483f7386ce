#include "scratch.h"

#include "tensor/block.h"

#include <math.h>

static const hone_dtype formats[] = {HONE_Q4_0, HONE_Q4_1, HONE_Q5_0, HONE_Q5_1, HONE_Q8_0,
                                     HONE_Q2_K, HONE_Q3_K, HONE_Q4_K, HONE_Q5_K, HONE_Q6_K};

/* block_<type>.bin: blocks, then their f32. Unpacked to the bit as gguf does. */
static void unpacking_equals_ggml_to_the_bit(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    for (size_t f = 0; f < HONE_ARRAY_LEN(formats); f++) {
        const hone__dtype_info *info = &hone__dtypes[formats[f]];
        const hone__block_format *format = hone__block_format_of(formats[f]);
        assert_non_null(format);
        char name[64];
        snprintf(name, sizeof name, "block_%s.bin", info->name);
        size_t size;
        char *data = fixture(ctx, name, &size);
        size_t blocks = size / (size_t)(info->bytes + 4 * info->block), n = blocks * (size_t)info->block;
        assert_true(blocks >= 8);
        assert_int_equal(size, blocks * (size_t)info->bytes + n * 4);
        float *values = hone__alloc(ctx, n * 4), *converted = hone__alloc(ctx, n * 4);
        format->unpack(values, data, (int64_t)n);
        assert_memory_equal(values, data + blocks * (size_t)info->bytes, n * 4);
        assert_int_equal(hone__convert(converted, HONE_F32, data, formats[f], (int64_t)n), HONE_OK);
        assert_memory_equal(values, converted, n * 4);
        /* The data of a file may lie anywhere. */
        memmove(data + 1, data, blocks * (size_t)info->bytes);
        format->unpack(converted, data + 1, (int64_t)n);
        assert_memory_equal(values, converted, n * 4);
        hone__free(ctx, values);
        hone__free(ctx, converted);
        hone__free(ctx, data);
    }
    hone_ctx_release(ctx);
}

/* pack.bin: 64 x 32 f32, then q8_0, q4_0, q4_1 as gguf packs them. */
static void packing_equals_ggml_to_the_bit(void **state)
{
    (void)state;
    static const hone_dtype packed[] = {HONE_Q8_0, HONE_Q4_0, HONE_Q4_1};
    enum { N = 64 * 32 };
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    size_t size, at = N * 4;
    char *data = fixture(ctx, "pack.bin", &size);
    for (size_t i = 0; i < HONE_ARRAY_LEN(packed); i++) {
        size_t bytes = hone__dtype_bytes(packed[i], N);
        unsigned char blocks[64 * 34];
        hone__block_format_of(packed[i])->pack(blocks, (const float *)(const void *)data, N);
        assert_memory_equal(blocks, data + at, bytes);
        at += bytes;
    }
    assert_int_equal(at, size);
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

static void packing_what_is_not_finite_stays_within_the_format(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f, 0.0f, -0.0f};
    for (size_t f = 0; f < HONE_ARRAY_LEN(formats); f++) {
        const hone__block_format *format = hone__block_format_of(formats[f]);
        if (!format->pack) continue;
        for (size_t i = 0; i < HONE_ARRAY_LEN(odd) * HONE_ARRAY_LEN(odd); i++) {
            float values[32], back[32];
            unsigned char block[64];
            for (int j = 0; j < 32; j++)
                values[j] = j % 2 ? odd[i % HONE_ARRAY_LEN(odd)] : odd[i / HONE_ARRAY_LEN(odd)];
            format->pack(block, values, 32); /* the sanitizers watch */
            format->unpack(back, block, 32);
        }
    }
}

static void plain_types_have_no_block_format(void **state)
{
    (void)state;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone__block_format *format = hone__block_format_of((hone_dtype)t);
        assert_true((format != NULL) == hone__is_blocks((hone_dtype)t));
        if (format) assert_int_equal(format->dtype, t);
    }
    assert_null(hone__block_format_of(HONE_DTYPE_COUNT));
}

static void a_tensor_of_blocks_is_read_from_any_element_and_never_written(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    size_t size;
    char *data = fixture(ctx, "block_q4_k.bin", &size);
    hone_tensor *tensor = hone_tensor_borrow(ctx, HONE_Q4_K, HONE_SHAPE(4, 512), data);
    assert_non_null(tensor);
    assert_int_equal(hone_tensor_bytes(tensor), 8 * 144);
    float all[2048], part[1000];
    double exact[300];
    int32_t whole[20];
    assert_hone_ok(ctx, hone_tensor_read(tensor, 0, 2048, HONE_F32, all));
    assert_memory_equal(all, data + 8 * 144, sizeof all);
    assert_hone_ok(ctx, hone_tensor_read(tensor, 77, 1000, HONE_F32, part));
    assert_memory_equal(part, all + 77, sizeof part);
    assert_hone_ok(ctx, hone_tensor_read(tensor, 255, 300, HONE_F64, exact));
    for (int i = 0; i < 300; i++) assert_true(exact[i] == (double)all[255 + i]);
    assert_hone_ok(ctx, hone_tensor_read(tensor, 2028, 20, HONE_I32, whole));
    for (int i = 0; i < 20; i++)
        assert_true(fabsf(all[2028 + i]) > 1e9f || whole[i] == (int32_t)all[2028 + i]);
    assert_true(hone_tensor_get(tensor, 2047) == (double)all[2047]);
    assert_int_equal(hone_tensor_read(tensor, 2047, 2, HONE_F32, part), HONE_INVALID);
    assert_int_equal(hone_tensor_read(tensor, 0, 256, HONE_Q4_K, part), HONE_DTYPE);
    assert_int_equal(hone_tensor_write(tensor, 0, 1, HONE_F32, part), HONE_DTYPE);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_tensor_free(tensor);
    assert_null(hone_tensor_new(ctx, HONE_Q4_K, HONE_SHAPE(2, 128)));
    assert_int_equal(hone_ctx_status(ctx), HONE_SHAPE);
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unpacking_equals_ggml_to_the_bit),
        cmocka_unit_test(packing_equals_ggml_to_the_bit),
        cmocka_unit_test(packing_what_is_not_finite_stays_within_the_format),
        cmocka_unit_test(plain_types_have_no_block_format),
        cmocka_unit_test(a_tensor_of_blocks_is_read_from_any_element_and_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
