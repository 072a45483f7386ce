/* Sampling: greedy, temperature, top-k, top-p, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "llm/tokenizer.h"

#include <math.h>

static int32_t next(hone_sampler *s, const float *logits, int64_t count, uint64_t position)
{
    int32_t id = -1;
    assert_int_equal(hone_sampler_next(s, logits, count, position, &id), HONE_OK);
    assert_true(id >= 0 && id < count);
    return id;
}

static void test_sampler(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    const float logits[6] = {1, 3, 2, 3, 0, -1};
    hone_sampler *greedy = hone_sampler_new(ctx, .seed = 1),
                 *one = hone_sampler_new(ctx, .temperature = 5, .top_k = 1),
                 *narrow = hone_sampler_new(ctx, .temperature = 1, .top_p = 1e-6f);
    for (uint64_t i = 0; i < 50; i++) { /* the lowest id of a tie, always */
        assert_int_equal(next(greedy, logits, 6, i), 1);
        assert_int_equal(next(one, logits, 6, i), 1);
        assert_int_equal(next(narrow, logits, 6, i), 1);
    }
    /* Frequencies follow the distribution; all ways to the same distribution agree. 4 standard deviations. */
    enum { DRAWS = 40000 };
    static const struct {
        int64_t top_k;
        float top_p, min_p;
        int kept; /* of the ranking 1, 3, 2, 0, 4, 5, whose chances over the best one's are 1, 1, 0.45, 0.20, 0.09, 0.04 */
    } cuts[] = {{0, 0, 0, 6},       {3, 0, 0, 3},       {0, 0.85f, 0, 3}, {4, 0.95f, 0, 4},    {100, 1, 0, 6},  {2, 0.5f, 0, 1},
                {0, 0, 0.1f, 4},    {0, 0, 1, 2},       {3, 0, 0.1f, 3},  {0, 0.85f, 0.5f, 2}, {0, 0.85f, 0.1f, 3}};
    const int32_t ranking[6] = {1, 3, 2, 0, 4, 5};
    for (size_t c = 0; c < HONE_ARRAY_LEN(cuts); c++) {
        hone_sampler *s = hone_sampler_new(ctx, .temperature = 1.25f, .top_k = cuts[c].top_k,
                                           .top_p = cuts[c].top_p, .min_p = cuts[c].min_p, .seed = 7);
        double total = 0;
        int hits[6] = {0};
        for (int i = 0; i < cuts[c].kept; i++) total += exp((double)logits[ranking[i]] / 1.25);
        for (uint64_t i = 0; i < DRAWS; i++) hits[next(s, logits, 6, i)]++;
        for (int i = 0; i < 6; i++) {
            double p = i < cuts[c].kept ? exp((double)logits[ranking[i]] / 1.25) / total : 0;
            double off = fabs(hits[ranking[i]] - p * DRAWS);
            assert_true(off <= 4 * sqrt(p * (1 - p) * DRAWS));
        }
        /* A function of the position, not of the calls before. */
        int32_t late = next(s, logits, 6, 12345), early = next(s, logits, 6, 3);
        hone_sampler *fresh = hone_sampler_new(ctx, .temperature = 1.25f, .top_k = cuts[c].top_k,
                                               .top_p = cuts[c].top_p, .min_p = cuts[c].min_p, .seed = 7);
        assert_int_equal(next(fresh, logits, 6, 3), early);
        assert_int_equal(next(fresh, logits, 6, 12345), late);
        hone_sampler_free(fresh);
        hone_sampler_free(s);
    }
    int32_t id = 0;
    assert_int_equal(hone_sampler_next(greedy, (float[]){0, NAN}, 2, 0, &id), HONE_NUMERIC);
    assert_int_equal(hone_sampler_next(one, (float[]){0, INFINITY}, 2, 0, &id), HONE_NUMERIC);
    assert_int_equal(hone_sampler_next(one, (float[]){-INFINITY, 0}, 2, 0, &id), HONE_NUMERIC);
    assert_int_equal(hone_sampler_next(one, logits, 0, 0, &id), HONE_INVALID);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_sampler_free(greedy);
    hone_sampler_free(one);
    hone_sampler_free(narrow);
    assert_null(hone_sampler_new(ctx, .temperature = -1));
    hone_clear_error(ctx);
    assert_null(hone_sampler_new(ctx, .top_p = 1.5f));
    hone_clear_error(ctx);
    assert_null(hone_sampler_new(ctx, .min_p = -0.1f));
    hone_clear_error(ctx);
    assert_null(hone_sampler_new(ctx, .min_p = NAN));
    hone_clear_error(ctx);
    assert_null(hone_sampler_new(ctx, .temperature = NAN));
    hone_clear_error(ctx);
    assert_null(hone_sampler_new(ctx, .top_k = -1));
    hone_clear_error(ctx);
    hone_ctx_release(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
