/* Learning-rate schedules against transformers and torch.optim.lr_scheduler: scripts/golden/make_optim_golden.py. */
#include "optim_tools.h"

#include <jansson.h>

/* transformers begins a warm-up at 0; here its first step is one that learns, so that step s has what s + 1 has there. */
static void test_schedules_are_those_of_transformers(void **state)
{
    (void)state;
    json_t *all = json_load_file(HONE_TEST_DATA "/optim.golden.json", 0, NULL), *rates;
    assert_non_null(all);
    const char *name;
    int seen = 0;
    json_object_foreach(all, name, rates)
    {
        if (!strcmp(name, "torch")) continue;
        char kind[20];
        unsigned long long warmup, total;
        assert_int_equal(sscanf(name, "%19s %llu %llu", kind, &warmup, &total), 3);
        hone_schedule s = {.peak = 0.3, .total = total, .warmup = warmup};
        assert_true(hone_schedule_kind_from_name(kind, &s.kind));
        for (uint64_t step = 0; step < json_array_size(rates); step++) {
            double want = json_number_value(json_array_get(rates, (size_t)(step < warmup ? step + 1 : HONE_MIN(step, (uint64_t)total))));
            /* nothing is left after a warm-up that takes all steps: there the peak stays */
            if (step >= warmup && total == warmup) continue;
            if (step + 1 == warmup) want = 0.3;
            if (!(fabs(hone_schedule_at(&s, step) - want) <= 1e-12)) fail_msg("%s, step %d", name, (int)step);
        }
        seen++;
    }
    assert_int_equal(seen, 9);
    json_decref(all);
    hone_schedule_kind kind;
    assert_false(hone_schedule_kind_from_name("cubic", &kind));
    hone_schedule s = {HONE_SCHEDULE_COSINE, .peak = 1, .least = 0.1, .total = 10};
    assert_true(hone_schedule_at(&s, 0) == 1);
    assert_true(fabs(hone_schedule_at(&s, 5) - 0.55) < 1e-12);
    assert_true(fabs(hone_schedule_at(&s, 10) - 0.1) < 1e-12);
    assert_true(fabs(hone_schedule_at(&s, UINT64_MAX) - 0.1) < 1e-12);
}

static double field(const json_t *j, const char *name) { return json_number_value(json_object_get(j, name)); }

/* 100 steps, or as many reports to a plateau, of each scheduler. */
static void test_schedules_are_those_of_pytorch(void **state)
{
    (void)state;
    json_t *all = json_load_file(HONE_TEST_DATA "/optim.golden.json", 0, NULL), *j, *cases = json_object_get(all, "torch");
    size_t i, seen = 0;
    json_array_foreach(cases, i, j)
    {
        uint64_t milestones[8];
        const json_t *at = json_object_get(j, "milestones"), *metrics = json_object_get(j, "metrics"), *rates = json_object_get(j, "rates");
        hone_schedule s = {.peak = 0.3,
                           .least = field(j, "least"),
                           .total = (uint64_t)field(j, "total"),
                           .warmup = (uint64_t)field(j, "warmup"),
                           .factor = field(j, "factor"),
                           .every = (uint64_t)field(j, "every"),
                           .milestones = milestones,
                           .n_milestones = json_array_size(at),
                           .power = field(j, "power"),
                           .restart = (uint64_t)field(j, "restart"),
                           .rise = field(j, "rise"),
                           .start_divisor = field(j, "start_divisor"),
                           .end_divisor = field(j, "end_divisor"),
                           .patience = (uint64_t)field(j, "patience"),
                           .cooldown = (uint64_t)field(j, "cooldown"),
                           .threshold = field(j, "threshold"),
                           .maximize = json_is_true(json_object_get(j, "maximize"))};
        for (size_t k = 0; k < s.n_milestones; k++) milestones[k] = (uint64_t)json_integer_value(json_array_get(at, k));
        const char *kind = json_string_value(json_object_get(j, "kind"));
        assert_true(hone_schedule_kind_from_name(kind, &s.kind));
        for (uint64_t step = 0; step < 100; step++) {
            double want = json_number_value(json_array_get(rates, (size_t)step)), have = hone_schedule_at(&s, step);
            if (!(fabs(have - want) <= 1e-7 * want)) fail_msg("case %d, %s, step %d: %.12g, not %.12g", (int)i, kind, (int)step, have, want);
            if (metrics) hone_schedule_report(&s, json_number_value(json_array_get(metrics, (size_t)step)));
        }
        seen++;
    }
    assert_int_equal(seen, 17);
    json_decref(all);
}

static void test_odd_schedules_give_numbers(void **state)
{
    (void)state;
    for (int kind = 0; kind <= HONE_SCHEDULE_PLATEAU + 1; kind++)
        for (uint64_t total = 0; total < 4; total++)
            for (uint64_t warmup = 0; warmup < 3; warmup++) {
                hone_schedule s = {.kind = (hone_schedule_kind)kind, .peak = 1, .total = total, .warmup = warmup, .restart = 3};
                for (uint64_t step = 0; step < 6; step++) {
                    double rate = hone_schedule_at(&s, step);
                    if (!(rate >= 0 && rate <= 1)) fail_msg("kind %d of %d steps: %g at %d", kind, (int)total, rate, (int)step);
                    hone_schedule_report(&s, NAN);
                }
                assert_true(isfinite(hone_schedule_at(&s, UINT64_MAX)));
            }
}

/* ---- in fit ---- */

typedef struct seen {
    hone_optimizer *optimizer;
    double rates[8];
} seen;
static bool note_rate(void *user, hone_model *model, size_t epoch, const hone_epoch *result)
{
    seen *s = user;
    (void)model, (void)result;
    s->rates[epoch] = hone_optimizer_learning_rate(s->optimizer);
    return true;
}

static void test_fit_follows_a_schedule(void **state)
{
    (void)state;
    hone_model *model = golden_model();
    hone_tensor *x = golden_tensor("x"), *y = golden_tensor("y");
    seen s = {.optimizer = hone_sgd(ctx, .learning_rate = 0.5)};
    assert_hone_ok(ctx, hone_compile(model, .optimizer = s.optimizer, .loss = HONE_MSE));
    hone_schedule linear = {.kind = HONE_SCHEDULE_LINEAR};
    for (int again = 0; again < 2; again++) { /* of 4 epochs of 2 steps, from the optimizer's rate to 0; then it has its own */
        assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 4, .batch_size = 8, .schedule = &linear, .on_epoch = note_rate,
                                     .on_epoch_user = &s));
        for (int e = 0; e < 4; e++) assert_true(fabs(s.rates[e] - 0.5 * (1 - (2 * e + 1) / 8.0)) < 1e-12);
        assert_true(hone_optimizer_learning_rate(s.optimizer) == 0.5);
    }
    /* a plateau hears of each epoch's loss: at a rate of nothing there is no progress */
    hone_schedule plateau = {.kind = HONE_SCHEDULE_PLATEAU, .peak = 1e-7, .patience = 1, .factor = 0.5};
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 6, .schedule = &plateau, .on_epoch = note_rate, .on_epoch_user = &s));
    assert_true(s.rates[0] == 1e-7 && s.rates[2] == 1e-7 && s.rates[3] == 5e-8 && s.rates[5] == 2.5e-8);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_schedules_are_those_of_transformers),
        TEST(test_schedules_are_those_of_pytorch),
        TEST(test_odd_schedules_give_numbers),
        TEST(test_fit_follows_a_schedule),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
