#include "op/op.h"

bool hone__want_real(hone__call *call, int i)
{
    hone_dtype t = call->in[i]->dtype;
    if (t == HONE_F32 || t == HONE_F64) return true;
    return hone__refuse(call, HONE_DTYPE, "input %d must be f32 or f64, not %s", i, hone_dtype_name(t));
}

bool hone__want_same_real(hone__call *call, int i, int j)
{
    if (!hone__want_real(call, i) || !hone__want_real(call, j)) return false;
    if (call->in[i]->dtype == call->in[j]->dtype) return true;
    return hone__refuse(call, HONE_DTYPE, "input %d is %s, input %d %s: cast one of them", i,
                        hone_dtype_name(call->in[i]->dtype), j, hone_dtype_name(call->in[j]->dtype));
}

bool hone__want_integer(hone__call *call, int i)
{
    if (hone__is_integer(call->in[i]->dtype)) return true;
    return hone__refuse(call, HONE_DTYPE, "input %d must be an integer type, not %s", i,
                        hone_dtype_name(call->in[i]->dtype));
}

bool hone__want_rank(hone__call *call, int i, int least)
{
    if (call->in[i]->shape.rank >= least) return true;
    return hone__refuse(call, HONE_SHAPE, "input %d needs at least %d axes, its shape is %s", i, least,
                        HONE__SHAPE_STR(call->in[i]->shape));
}

bool hone__want_axis(hone__call *call, int axis, int rank, int *result)
{
    *result = axis < 0 ? axis + rank : axis;
    if (*result >= 0 && *result < rank) return true;
    return hone__refuse(call, HONE_SHAPE, "axis %d is outside a shape of %d axes", axis, rank);
}

bool hone__want_axes(hone__call *call, const hone_axes *axes, int rank, unsigned *mask)
{
    *mask = axes->count == 0 ? (1u << rank) - 1 : 0;
    if (axes->count < 0 || axes->count > rank)
        return hone__refuse(call, HONE_SHAPE, "%d axes named of a shape of %d", axes->count, rank);
    for (int i = 0; i < axes->count; i++) {
        int axis;
        if (!hone__want_axis(call, axes->axis[i], rank, &axis)) return false;
        if (*mask >> axis & 1) return hone__refuse(call, HONE_SHAPE, "axis %d is named twice", axis);
        *mask |= 1u << axis;
    }
    return true;
}

bool hone__broadcast(hone__call *call, int i, int j, hone_shape *result)
{
    return hone__broadcast_shapes(call, call->in[i]->shape, call->in[j]->shape, result);
}

bool hone__broadcast_shapes(hone__call *call, hone_shape a, hone_shape b, hone_shape *result)
{
    result->rank = HONE_MAX(a.rank, b.rank);
    for (int d = 0; d < result->rank; d++) {
        int da = d - (result->rank - a.rank), db = d - (result->rank - b.rank);
        int64_t x = da >= 0 ? a.dim[da] : 1, y = db >= 0 ? b.dim[db] : 1;
        if (x != y && x != 1 && y != 1)
            return hone__refuse(call, HONE_SHAPE, "shapes %s and %s cannot be broadcast together",
                                HONE__SHAPE_STR(a), HONE__SHAPE_STR(b));
        result->dim[d] = x == 1 ? y : x;
    }
    return true;
}
