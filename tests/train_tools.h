/* For tests of the train room: three classes of points in the plane, and a small classifier. */
#ifndef HONE_TEST_TRAIN_TOOLS_H
#define HONE_TEST_TRAIN_TOOLS_H

#include "graph_tools.h"

#include "train/train.h"

#include <math.h>

enum { ROWS = 90 };
static inline void make_points(hone_ctx *owner, hone_tensor **x, hone_tensor **y)
{
    float points[ROWS * 2];
    int32_t classes[ROWS];
    for (int i = 0; i < ROWS; i++) {
        classes[i] = i % 3;
        double angle = 2.0943951 * (i % 3);
        points[2 * i] = (float)cos(angle) + 0.3f * hone__random_normal(1, (uint64_t)i);
        points[2 * i + 1] = (float)sin(angle) + 0.3f * hone__random_normal(2, (uint64_t)i);
    }
    *x = hone_tensor_from_f32(owner, HONE_SHAPE(ROWS, 2), points);
    *y = hone_tensor_from_i32(owner, HONE_SHAPE(ROWS), classes);
}

static inline hone_model *new_classifier(hone_ctx *owner, hone_optimizer *optimizer)
{
    hone_model *model = hone_model_of(hone_sequential(owner, hone_dense(owner, 8, .activation = HONE_TANH), hone_dropout_layer(owner, 0.2),
                                                      hone_dense(owner, 3)));
    assert_hone_ok(owner, hone_compile(model, .optimizer = optimizer, .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS,
                                       .max_grad_norm = 0.5));
    return model;
}

/* All parameters in a row; how many. */
static inline int64_t read_params(hone_model *model, float *to)
{
    int64_t n = 0;
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        int64_t count = hone_shape_count(hone_param_shape(hone_model_param(model, i)));
        assert_hone_ok(hone_model_ctx(model), hone_param_read(hone_model_param(model, i), count, to + n));
        n += count;
    }
    return n;
}

#endif
