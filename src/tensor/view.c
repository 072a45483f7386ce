#include "tensor/tensor.h"

void hone__dense_strides(hone_shape shape, int64_t stride[HONE_MAX_RANK])
{
    int64_t step = 1;
    for (int i = shape.rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= HONE_MAX(shape.dim[i], 1);
    }
    for (int i = shape.rank; i < HONE_MAX_RANK; i++) stride[i] = 0;
}

hone__view hone__view_dense(void *data, hone_dtype dtype, hone_shape shape)
{
    hone__view view = {.data = data, .dtype = dtype, .shape = shape};
    hone__dense_strides(shape, view.stride);
    return view;
}

bool hone__view_is_dense(const hone__view *view)
{
    if (hone_shape_count(view->shape) <= 1) return true;
    int64_t step = 1;
    for (int i = view->shape.rank - 1; i >= 0; i--) {
        if (view->shape.dim[i] != 1 && view->stride[i] != step)
            return false; /* one element: no step is taken */
        step *= view->shape.dim[i];
    }
    return true;
}

hone__view hone__view_channels_last(void *data, hone_dtype dtype, hone_shape shape)
{
    hone__view view = hone__view_dense(data, dtype, shape);
    if (shape.rank < 3) return view;
    int64_t step = HONE_MAX(shape.dim[1], 1);
    view.stride[1] = 1;
    for (int i = shape.rank - 1; i >= 2; i--) {
        view.stride[i] = step;
        step *= HONE_MAX(shape.dim[i], 1);
    }
    view.stride[0] = step;
    return view;
}

/* Strides of axes of length 1 are never used. */
static bool same_strides(hone_shape shape, const int64_t *a, const int64_t *b)
{
    if (hone_shape_count(shape) <= 1) return true;
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] != 1 && a[i] != b[i]) return false;
    return true;
}

bool hone__view_is_channels_last(const hone__view *view)
{
    hone__view wanted = hone__view_channels_last(NULL, view->dtype, view->shape);
    return same_strides(view->shape, view->stride, wanted.stride);
}

bool hone__view_same_layout(const hone__view *a, const hone__view *b)
{
    return hone_shape_equal(a->shape, b->shape) && (hone__view_is_dense(a) || hone__view_is_channels_last(a)) &&
           same_strides(a->shape, a->stride, b->stride);
}
