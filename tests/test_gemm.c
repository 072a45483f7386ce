/* Products of bf16, and of f32, whose second operand is read as it is stored, against sums in double; and all that such
   products can be asked for beside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/gemm.h"
#include "tensor/block.h"

#include <math.h>
#include <stdlib.h>

typedef struct shape {
    int64_t m, n, k;
    bool transposed_a, by_columns; /* A lies [k, m]; B lies [n, k], as a weight that is multiplied forward */
    bool half, bias, add;
} shape;

static uint64_t drawn;
static float draw(void) { return (float)((double)hone__random_below(5, drawn++, 2001) / 1000 - 1); }

/* x as a product in that type sees it. */
static float seen(hone_dtype ab, float x) { return ab == HONE_BF16 ? hone__bf16_to_f32(hone__f32_to_bf16(x)) : x; }

/* count values for a product in ab, stored in that type. */
static void *stored(hone_dtype type, hone_dtype ab, int64_t count, float *values)
{
    float *plain = malloc((size_t)count * 4);
    void *data = aligned_alloc(64, (hone__dtype_bytes(type, count) + 63) / 64 * 64); /* as rows past the caches must lie */
    for (int64_t i = 0; i < count; i++) plain[i] = seen(type == HONE_BF16 ? HONE_BF16 : ab, draw() / 3);
    if (hone__is_blocks(type)) {
        hone__block_format_of(type)->pack(data, plain, count);
        hone__block_format_of(type)->unpack(plain, data, count);
    } else {
        hone__convert(data, type, plain, HONE_F32, count);
    }
    for (int64_t i = 0; i < count; i++) values[i] = seen(ab, plain[i]);
    free(plain);
    return data;
}

static double at(const float *x, int64_t i, int64_t j, int64_t row, int64_t column) { return (double)x[i * row + j * column]; }

/* before: values are added in the pass that writes C, where the product can. */
static void check(hone_ctx *ctx, shape s, hone_dtype ab, hone_dtype b_type, bool before)
{
    hone__matmul_desc d = {.batch = 1, .m = s.m, .n = s.n, .k = s.k, .ab = ab, .c = s.half ? HONE_BF16 : HONE_F32,
                           .a_row = s.transposed_a ? 1 : s.k, .a_col = s.transposed_a ? s.m : 1,
                           .b_row = s.by_columns ? 1 : s.n, .b_col = s.by_columns ? s.k : 1, .c_row = s.n, .bias = s.bias,
                           .accumulate = s.add, .b_passing = s.m < 64};
    if (b_type != ab) {
        if (!hone__matmul_reads(&d, b_type)) return;
        d.b_raw = true;
        d.b_stored = b_type;
    }
    size_t count = (size_t)(s.m * s.n);
    float *a = malloc((size_t)(s.m * s.k) * 4), *b = malloc((size_t)(s.n * s.k) * 4), *c = malloc(count * 4), *bias = malloc((size_t)s.n * 4);
    void *a_data = stored(ab, ab, s.m * s.k, a), *b_data = stored(b_type, ab, s.n * s.k, b), *c_data = stored(d.c, d.c, s.m * s.n, c);
    for (int64_t j = 0; j < s.n; j++) bias[j] = draw();
    hone__matmul *product = hone__matmul_new(ctx, &d);
    assert_non_null(product);
    void *scratch = aligned_alloc(64, (hone__matmul_scratch(product) + 127) / 64 * 64);
    before = before && hone__matmul_sums(product);
    float *sums = before ? malloc(count * 4) : NULL;
    hone_dtype type = s.bias ? HONE_BF16 : HONE_F32;
    void *sum_data = before ? stored(type, type, s.m * s.n, sums) : NULL;
    hone__view view = hone__view_dense(sum_data, type, HONE_SHAPE(s.m, s.n));
    if (before) hone__matmul_run_sum(product, a_data, b_data, bias, &view, c_data, scratch);
    else assert_int_equal(hone__matmul_run(product, a_data, b_data, bias, c_data, scratch), HONE_OK);
    for (int64_t i = 0; i < s.m; i++)
        for (int64_t j = 0; j < s.n; j++) {
            double sum = (before ? (double)sums[i * s.n + j] : 0) + (s.bias ? (double)bias[j] : 0) + (s.add ? (double)c[i * s.n + j] : 0), size = 0;
            for (int64_t p = 0; p < s.k; p++) {
                double term = at(a, i, p, d.a_row, d.a_col) * at(b, p, j, d.b_row, d.b_col);
                sum += term;
                size += fabs(term);
            }
            float got;
            hone__convert(&got, HONE_F32, (char *)c_data + hone__dtype_bytes(d.c, i * s.n + j), d.c, 1);
            if (!(fabs((double)got - sum) <= 1e-6 * (1 + size) + (s.half ? 0.004 * fabs(sum) : 0)))
                fail_msg("%lld x %lld x %lld of %s, row %lld, column %lld: %g, not %g", (long long)s.m, (long long)s.n,
                         (long long)s.k, hone_dtype_name(b_type), (long long)i, (long long)j, (double)got, sum);
        }
    hone__matmul_free(product);
    free(scratch);
    free(a), free(b), free(c), free(bias), free(sums), free(sum_data);
    free(a_data), free(b_data), free(c_data);
}

static const shape shapes[] = {
    {64, 64, 64, false, true, false, false, false},   {96, 64, 32, false, false, true, false, false},
    {100, 70, 96, false, true, true, true, false},    {129, 96, 200, true, false, false, false, true},
    {64, 33, 64, false, true, false, true, true},     {65, 160, 31, true, false, true, false, true},
    {640, 64, 1600, false, true, false, false, true}, {64, 288, 576, false, true, true, false, false},
    {32, 32, 32, true, true, false, false, false},    {700, 96, 1100, true, false, false, false, false},
    {300, 520, 64, false, true, true, true, false},   {250, 260, 96, false, false, false, false, true},
    {2, 96, 64, false, true, false, false, false},    {17, 130, 96, false, false, true, true, false}, /* few rows */
    {40, 700, 96, false, true, true, false, true},    {257, 320, 64, false, false, false, false, false},
    {16, 576, 300, true, false, false, false, false}, {8, 70, 129, true, false, true, false, true}, /* narrow ones over many rows */
    {20, 100, 260, false, false, false, false, true}, {576, 16, 300, true, false, false, false, false},
    {99, 32, 128, true, true, true, false, false},    {64, 5, 1000, true, false, false, false, true},
    {32, 191, 161, true, false, false, false, false},
    {128, 200, 784, false, true, false, true, false}, {126, 512, 100, false, false, false, false, true}, /* columns shared in f32 */
    {200, 320, 128, true, false, false, false, false}, {128, 288, 64, false, true, false, true, true},
    {250, 260, 2090, false, true, false, true, true}, {320, 240, 1100, true, false, false, true, false}, /* terms in passes */
    {1000, 128, 32, false, true, false, false, false}, {1300, 192, 32, false, true, true, true, false}, /* past the caches */
};

static void test_products_equal_sums_in_double(void **state)
{
    (void)state;
    static const hone_dtype types[] = {HONE_BF16, HONE_F32, HONE_Q4_0, HONE_Q4_1, HONE_Q8_0};
    for (int threads = 1; threads <= 3; threads++) {
        hone_ctx *ctx = hone_ctx_new(.threads = threads);
        for (size_t i = 0; i < HONE_ARRAY_LEN(shapes); i++) {
            for (size_t t = 0; t < 2 * HONE_ARRAY_LEN(types); t++)
                check(ctx, shapes[i], t & 1 ? HONE_F32 : HONE_BF16, types[t / 2], false);
            check(ctx, shapes[i], HONE_BF16, HONE_F32, true);
        }
        hone_ctx_release(ctx);
    }
}

/* Is u (bf16) scale x p, rounded? */
static void check_inner(const float *u, const float *x, const float *p, int64_t rows, int64_t k, const hone__gemm_more *more)
{
    for (int64_t i = 0; i < rows * more->k; i++) {
        double sum = 0;
        for (int64_t c = 0; c < k; c++) sum += at(x, i / more->k, c, k, 1) * at(p, c, i % more->k, more->p_row, more->p_col);
        if (!(fabs((double)u[i] - more->scale * sum) <= 0.004 * fabs(more->scale * sum) + 1e-5))
            fail_msg("inner product %lld is %g, not %g", (long long)i, (double)u[i], more->scale * sum);
    }
}

/* x w^T + u q^T in one go, the second product of few terms, rounded after both; u = scale x p is made on the way, if there is
   one thread a row. */
static void check_second_product(hone_ctx *ctx, int64_t m, int64_t rank, hone_dtype type, bool by_columns, bool half)
{
    enum { MOST = 97, N = 70, K = 96 };
    hone__matmul_desc d = {.batch = 1, .m = m, .n = N, .k = K, .ab = HONE_BF16, .c = half ? HONE_BF16 : HONE_F32, .a_row = K,
                           .a_col = 1, .b_row = 1, .b_col = K, .c_row = N, .b_raw = true, .b_stored = HONE_Q4_1};
    hone__gemm_more more = {.k = rank, .p_stored = type, .q_stored = type, .scale = 0.75};
    more.p_row = by_columns ? 1 : rank, more.p_col = by_columns ? K : 1;
    more.q_row = by_columns ? 1 : N, more.q_col = by_columns ? rank : 1;
    float x[MOST * K], w[N * K], *u = malloc((size_t)(m * rank) * 4), *q = malloc((size_t)(N * rank) * 4), y[MOST * N];
    float *p = malloc((size_t)(K * rank) * 4);
    void *x_data = stored(HONE_BF16, HONE_BF16, m * K, x), *w_data = stored(HONE_Q4_1, HONE_BF16, N * K, w), *y_data = malloc(sizeof y);
    void *u_data = stored(HONE_BF16, HONE_BF16, m * rank, u), *q_data = stored(type, HONE_BF16, N * rank, q),
         *p_data = stored(type, HONE_BF16, K * rank, p);
    hone__gemm *g = hone__gemm_new(ctx, &d, &more);
    assert_non_null(g);
    assert_int_equal(hone__gemm_makes_inner(g), rank <= 32 && m > 32); /* if there are rows enough for all threads */
    void *scratch = aligned_alloc(64, (hone__gemm_scratch(g) + 127) / 64 * 64);
    hone__gemm_run(g, x_data, w_data, NULL, y_data, scratch, &(hone__gemm_factors){p_data, q_data, u_data}, NULL);
    if (hone__gemm_makes_inner(g)) {
        hone__convert(u, HONE_F32, u_data, HONE_BF16, m * rank);
        check_inner(u, x, p, m, K, &more);
    }
    hone__convert(y, HONE_F32, y_data, d.c, m * N);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < N; j++) {
            double sum = 0, size = 0;
            for (int64_t c = 0; c < K + rank; c++) {
                double term = c < K ? at(x, i, c, K, 1) * at(w, j, c, K, 1)
                                    : at(u, i, c - K, rank, 1) * at(q, c - K, j, more.q_row, more.q_col);
                sum += term;
                size += fabs(term);
            }
            if (!(fabs((double)y[i * N + j] - sum) <= 1e-5 * (1 + size) + (half ? 0.004 * fabs(sum) : 0)))
                fail_msg("rank %lld, row %lld, column %lld: %g, not %g", (long long)rank, (long long)i, (long long)j,
                         (double)y[i * N + j], sum);
        }
    hone__gemm_free(g);
    free(scratch);
    free(u), free(q), free(p), free(x_data), free(w_data), free(u_data), free(q_data), free(p_data), free(y_data);
}

/* Each sum is one product of two f32 with all their 24 bits, of sizes that f32 has room for: nothing of it may be lost. */
static void test_products_of_f32_keep_all_bits(void **state)
{
    (void)state;
    enum { SIZE = 256 };
    hone_ctx *ctx = hone_ctx_new(.threads = 2);
    hone__matmul_desc d = {.batch = 1, .m = SIZE, .n = SIZE, .k = SIZE, .ab = HONE_F32, .c = HONE_F32, .a_row = SIZE, .a_col = 1,
                           .b_row = 1, .b_col = SIZE, .c_row = SIZE};
    float *a = calloc(SIZE * SIZE, 4), *b = malloc(SIZE * SIZE * 4), *c = malloc(SIZE * SIZE * 4);
    for (int i = 0; i < SIZE; i++) a[i * SIZE + i * 7 % SIZE] = ldexpf(1 + draw() / 3, i / 2 - SIZE / 4);
    for (int i = 0; i < SIZE * SIZE; i++) b[i] = ldexpf(1 + draw() / 3, i % 40 - 20);
    hone__matmul *product = hone__matmul_new(ctx, &d);
    assert_non_null(product);
    void *scratch = aligned_alloc(64, (hone__matmul_scratch(product) + 127) / 64 * 64);
    assert_int_equal(hone__matmul_run(product, a, b, NULL, c, scratch), HONE_OK);
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) {
            double want = (double)a[i * SIZE + i * 7 % SIZE] * (double)b[j * SIZE + i * 7 % SIZE];
            assert_true(fabs((double)c[i * SIZE + j] - want) <= 1.2e-7 * fabs(want));
        }
    hone__matmul_free(product);
    free(scratch), free(a), free(b), free(c);
    hone_ctx_release(ctx);
}

static void test_a_second_product_is_added_before_rounding(void **state)
{
    (void)state;
    if (hone__isa_level() < HONE__ISA_AMX) return; /* others compute the two one after the other */
    static const int64_t ranks[] = {1, 4, 16, 33, 64};
    hone_ctx *ctx = hone_ctx_new(.threads = 2);
    for (size_t i = 0; i < HONE_ARRAY_LEN(ranks); i++)
        for (int way = 0; way < 8; way++)
            for (int64_t rows = 17; rows <= 97; rows += 80)
                check_second_product(ctx, rows, ranks[i], way & 1 ? HONE_BF16 : HONE_F32, way & 2, way & 4);
    hone_ctx_release(ctx);
}

static void test_what_cannot_be_read_is_refused(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone__matmul_desc d = {.batch = 1, .m = 256, .n = 64, .k = 64, .ab = HONE_BF16, .c = HONE_F32, .a_row = 64, .a_col = 1,
                           .b_row = 1, .b_col = 64, .c_row = 64};
    bool amx = hone__isa_level() == HONE__ISA_AMX;
    assert_int_equal(hone__matmul_reads(&d, HONE_Q4_1), amx);
    assert_int_equal(hone__matmul_reads(&d, HONE_F32), amx);
    assert_false(hone__matmul_reads(&d, HONE_Q6_K));
    d.m = 8; /* too few rows to pay for packing */
    assert_false(hone__matmul_reads(&d, HONE_Q4_1));
    d.b_passing = true; /* but a copy would not last either */
    assert_int_equal(hone__matmul_reads(&d, HONE_Q4_1), amx);
    d.m = 256, d.n = 256, d.ab = HONE_F32; /* in f32, too */
    assert_int_equal(hone__matmul_reads(&d, HONE_Q4_1), amx);
    d.m = 64; /* but not for few rows and columns */
    assert_false(hone__matmul_reads(&d, HONE_Q4_1));
    d.m = 3, d.b_raw = true, d.b_stored = HONE_Q4_1; /* unless they are the last of many */
    hone__matmul *last = amx ? hone__matmul_new(ctx, &d) : NULL;
    assert_int_equal(last != NULL, amx);
    hone__matmul_free(last);
    d.b_raw = false;
    d.m = 256, d.ab = HONE_BF16, d.k = 40, d.a_row = 40, d.b_col = 40; /* blocks that go across rows */
    assert_false(hone__matmul_reads(&d, HONE_Q4_1));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_ctx_release(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_equal_sums_in_double),
        cmocka_unit_test(test_products_of_f32_keep_all_bits),
        cmocka_unit_test(test_a_second_product_is_added_before_rounding),
        cmocka_unit_test(test_what_cannot_be_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
