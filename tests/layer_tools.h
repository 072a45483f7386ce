/* For tests of layers: one applied to a ramp of values, the shape that comes of it, and what it refuses. */
#ifndef HONE_TEST_LAYER_TOOLS_H
#define HONE_TEST_LAYER_TOOLS_H

#include "graph_tools.h"
#include "golden.h"

#include "train/train.h"

#include <math.h>

/* layers.golden.safetensors, made by make_layer_golden.py */
static inline hone_safetensors *open_layers(void)
{
    hone_safetensors *file = hone_safetensors_open(ctx, HONE_TEST_DATA "/layers.golden.safetensors");
    if (!file) fail_msg("%s", hone_error(ctx));
    return file;
}

static inline void assert_near(const float *have, const hone_tensor *want, double tolerance, const char *what)
{
    for (int64_t i = 0; i < hone_shape_count(hone_tensor_shape(want)); i++)
        if (!(fabs((double)have[i] - (double)at(want, i)) <= tolerance * (1 + fabs((double)at(want, i)))))
            fail_msg("%s[%lld] is %.9g, not %.9g", what, (long long)i, (double)have[i], (double)at(want, i));
}

static inline hone_tensor *ramp(hone_shape shape)
{
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, shape);
    for (int64_t i = 0; i < hone_shape_count(shape); i++) ((float *)hone_tensor_data(t))[i] = sinf((float)i * 0.7f);
    return t;
}

/* The layer's output for a ramp of that shape; the layer is the model's and gone afterwards. */
static inline hone_tensor *apply_once(hone_layer *layer, hone_shape shape)
{
    hone_model *model = hone_model_of(layer);
    hone_tensor *x = model ? ramp(shape) : NULL, *y = model ? hone_predict(model, x, (int)shape.dim[0]) : NULL;
    hone_tensor_free(x);
    hone_model_release(model);
    return y;
}

static inline void assert_shape(hone_layer *layer, hone_shape in, hone_shape want)
{
    hone_tensor *y = apply_once(layer, in);
    if (!y) fail_msg("%s", hone_error(ctx));
    hone_shape have = hone_tensor_shape(y);
    if (!hone_shape_equal(have, want)) fail_msg("%s, not %s", HONE__SHAPE_STR(have), HONE__SHAPE_STR(want));
    hone_tensor_free(y);
}

/* Does the layer, or its maker, refuse such an input, saying so, with that status? HONE_OK: with any. */
static inline void refuse_as(hone_layer *layer, hone_shape in, hone_status status, const char *part)
{
    assert_null(apply_once(layer, in));
    if (status != HONE_OK) assert_int_equal(hone_ctx_status(ctx), status);
    if (!strstr(hone_error(ctx), part)) fail_msg("'%s' does not contain '%s'", hone_error(ctx), part);
    hone_clear_error(ctx);
}
static inline void refuse(hone_layer *layer, hone_shape in, const char *part) { refuse_as(layer, in, HONE_OK, part); }

#endif
