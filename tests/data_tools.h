/* For tests of the data room: what scripts/golden/make_data_golden.py wrote, and calls with every allocation failing once. */
#ifndef HONE_TEST_DATA_TOOLS_H
#define HONE_TEST_DATA_TOOLS_H

#include "scratch.h"

#include "data/data.h"
#include "tensor/tensor.h"

#include <math.h>

#define DATA_FILE(name) HONE_TEST_DATA "/data/" name

/* A test's context, in which no error may be left. */
static inline int begin_clean(void **state, hone_ctx **ctx)
{
    (void)state;
    *ctx = hone_ctx_new(.threads = 1, .seed = 3);
    return 0;
}

static inline int end_clean(void **state, hone_ctx *ctx)
{
    (void)state;
    bool clean = !hone_ctx_status(ctx);
    hone_ctx_release(ctx);
    return clean ? 0 : -1;
}

/* Is the error one of a library that this build or machine lacks? Then the test is skipped. */
static inline void skip_unsupported(hone_ctx *ctx)
{
    if (hone_ctx_status(ctx) != HONE_UNSUPPORTED) return;
    print_message("skipped: %s\n", hone_error(ctx));
    hone_clear_error(ctx);
    skip();
}

static inline hone_npz *open_golden(hone_ctx *ctx)
{
    hone_npz *npz = hone_npz_load(ctx, DATA_FILE("golden.npz"));
    skip_unsupported(ctx);
    if (!npz) fail_msg("%s", hone_error(ctx));
    return npz;
}

static inline hone_tensor *golden_array(const hone_npz *npz, const char *name)
{
    hone_tensor *t = hone_npz_get(npz, name);
    if (!t) fail_msg("no golden array '%s'", name);
    return t;
}

/* Within `tolerance`, relative to values above 1; NaN equals NaN. Returns the largest difference. */
static inline double assert_near_golden(const hone_npz *npz, const char *name, const hone_tensor *t, double tolerance)
{
    hone_tensor *want = golden_array(npz, name);
    if (!hone_shape_equal(hone_tensor_shape(t), hone_tensor_shape(want)))
        fail_msg("%s: shape %s, and the golden one is %s", name, HONE__SHAPE_STR(hone_tensor_shape(t)),
                 HONE__SHAPE_STR(hone_tensor_shape(want)));
    double most = 0;
    for (int64_t i = 0; i < hone_shape_count(hone_tensor_shape(t)); i++) {
        double a = hone_tensor_get(t, i), b = hone_tensor_get(want, i), off = fabs(a - b) / fmax(1, fabs(b));
        if (isnan(a) && isnan(b)) continue;
        if (!(off <= tolerance)) fail_msg("%s: element %lld is %.9g, golden %.9g", name, (long long)i, a, b);
        most = fmax(most, off);
    }
    return most;
}

/* Calls `work` with allocation 1, 2, ... failing until one call meets no failure; every failure must be told as MEMORY and
   leave nothing behind. */
static inline void fail_each_allocation(bool (*work)(hone_ctx *ctx))
{
    for (int64_t at = 1;; at++) {
        counting c = {.fail_at = at};
        hone_ctx *ctx = NULL;
        ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        if (!ctx) continue;
        bool done = work(ctx);
        bool failed = c.calls >= at;
        if (done == failed && failed) fail_msg("allocation %lld failed unnoticed", (long long)at);
        if (failed && hone_ctx_status(ctx) != HONE_MEMORY)
            fail_msg("allocation %lld: %s", (long long)at, hone_error(ctx));
        if (!failed && !done) fail_msg("%s", hone_error(ctx));
        assert_int_equal(ctx->bytes, 0);
        hone_ctx_release(ctx);
        assert_int_equal(c.live, 0);
        if (!failed) return;
        assert_true(at < 100000);
    }
}

#endif
