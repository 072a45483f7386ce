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
