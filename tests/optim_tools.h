/* For tests of optimizers: what scripts/golden/make_optim_golden.py left, and the model it was made with. */
#ifndef HONE_TEST_OPTIM_TOOLS_H
#define HONE_TEST_OPTIM_TOOLS_H

#include "graph_tools.h"
#include "golden.h"

#include "io/io.h"
#include "optim/optim.h"
#include "train/train.h"

#include <math.h>

enum { PARAMS = 18 /* w [3, 5], b [3] */, CONV = 72 };

static hone_safetensors *golden;
static inline hone_tensor *golden_tensor(const char *name) { return golden_in(golden, name); }

/* y = x w^T + b as the golden script begins it. */
static inline hone_model *golden_model(void)
{
    hone_tensor *w = golden_tensor("w"), *b = golden_tensor("b"), *x = golden_tensor("x");
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_dense(ctx, 3)));
    hone_tensor_free(hone_predict(model, x, 16)); /* makes the parameters */
    assert_hone_ok(ctx, hone_param_write(hone_model_find_param(model, "0.weight"), 15, hone_tensor_data(w)));
    assert_hone_ok(ctx, hone_param_write(hone_model_find_param(model, "0.bias"), 3, hone_tensor_data(b)));
    hone_tensor_free(w), hone_tensor_free(b), hone_tensor_free(x);
    return model;
}

static inline void read_params(hone_model *model, float *to)
{
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.weight"), 15, to));
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.bias"), 3, to + 15));
}

typedef struct path {
    const char *name;
    const float *want; /* [10, PARAMS] */
    double worst;
} path;
static inline bool compare(void *user, hone_model *model, size_t epoch, const hone_epoch *result)
{
    path *p = user;
    (void)result;
    if ((epoch + 1) % 10) return true;
    float have[PARAMS];
    read_params(model, have);
    for (int i = 0; i < PARAMS; i++)
        p->worst = HONE_MAX(p->worst, fabs((double)have[i] - (double)p->want[((epoch + 1) / 10 - 1) * PARAMS + (size_t)i]));
    return true;
}

/* 100 steps are those of the golden file. Takes the optimizer over. */
static inline void assert_path_opt(const char *name, hone_optimizer *optimizer, double max_grad_norm, double max_grad_value)
{
    if (!optimizer) fail_msg("%s: %s", name, hone_error(ctx));
    hone_model *model = golden_model();
    hone_tensor *x = golden_tensor("x"), *y = golden_tensor("y");
    path p = {.name = name, .want = hone_safetensors_find(golden, name)->data};
    assert_hone_ok(ctx, hone_compile(model, .optimizer = optimizer, .loss = HONE_MSE, .max_grad_norm = max_grad_norm,
                                     .max_grad_value = max_grad_value));
    assert_hone_ok(ctx, hone_fit(model, x, y, NULL, .epochs = 100, .batch_size = 16, .no_shuffle = true, .on_epoch = compare,
                                 .on_epoch_user = &p));
    if (!(p.worst <= 1e-5)) fail_msg("%s: %g away", name, p.worst);
    assert_int_equal(hone_optimizer_steps(optimizer), 100);
    hone_model_release(model);
    hone_tensor_free(x), hone_tensor_free(y);
}
static inline void assert_path(const char *name, hone_optimizer *optimizer, double max_grad_norm)
{
    assert_path_opt(name, optimizer, max_grad_norm, 0);
}

/* A weight [4, 3, 2, 3], in order as the golden file's, and what a step takes for its gradient. */
static inline hone_model *conv_model(void)
{
    hone_model *model = hone_model_of(hone_sequential(ctx, hone_conv2d(ctx, 4, 3, .kernel = {2, 3}, .no_bias = true)));
    float zeros[48] = {0};
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 3, 4, 4), zeros);
    hone_tensor_free(hone_predict(model, x, 1));
    hone_tensor_free(x);
    assert_hone_ok(ctx, hone__model_want_gradients(model));
    assert_hone_ok(ctx, hone_param_write(hone_model_param(model, 0), CONV, hone_safetensors_find(golden, "w.conv")->data));
    return model;
}

static hone_ctx *golden_ctx;
static inline int open_golden(void **state)
{
    (void)state;
    golden_ctx = hone_ctx_new(.threads = 1);
    return (golden = hone_safetensors_open(golden_ctx, HONE_TEST_DATA "/optim.golden.safetensors")) ? 0 : -1;
}
static inline int close_golden(void **state)
{
    (void)state;
    hone_safetensors_close(golden);
    hone_ctx_release(golden_ctx);
    return 0;
}

#endif
