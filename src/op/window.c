#include "op/op.h"

static int64_t entry(hone_shape s, int axis, int64_t missing) { return axis < s.rank ? s.dim[axis] : missing; }

hone__window hone__window_of(const struct hone__window_attr *attr, int axes, const int64_t *in, const int64_t *kernel)
{
    hone__window w = {.axes = axes};
    for (int a = 0; a < 3; a++) {
        int from = a - (3 - axes);
        bool used = from >= 0;
        w.in[a] = used ? in[from] : 1;
        w.kernel[a] = used ? kernel[from] : 1;
        w.stride[a] = used ? entry(attr->stride, from, 1) : 1;
        w.dilation[a] = used ? entry(attr->dilation, from, 1) : 1;
        w.before[a] = used ? entry(attr->before, from, 0) : 0;
        w.after[a] = used ? entry(attr->after, from, 0) : 0;
        int64_t room = w.in[a] + w.before[a] + w.after[a] - hone__window_reach(&w, a);
        w.out[a] = (attr->ceil ? room + w.stride[a] - 1 : room) / w.stride[a] + 1;
        if (attr->ceil && (w.out[a] - 1) * w.stride[a] >= w.in[a] + w.before[a]) w.out[a]--;
    }
    return w;
}

/* Far beyond any real size, and safe from overflow. */
#define LARGEST (INT64_C(1) << 31)

static bool within(hone__call *call, const char *what, hone_shape given, int axes, int64_t least)
{
    if (given.rank > axes)
        return hone__refuse(call, HONE_INVALID, "%s %s for %d spatial axes", what, HONE__SHAPE_STR(given), axes);
    for (int a = 0; a < given.rank; a++)
        if (given.dim[a] < least || given.dim[a] > LARGEST)
            return hone__refuse(call, HONE_INVALID, "%s %s: each must be at least %lld", what, HONE__SHAPE_STR(given),
                                (long long)least);
    return true;
}

bool hone__want_window(hone__call *call, const struct hone__window_attr *attr, int axes, const int64_t *in,
                       const int64_t *kernel, hone__window *window)
{
    if (!within(call, "stride", attr->stride, axes, 1) || !within(call, "dilation", attr->dilation, axes, 1) ||
        !within(call, "padding", attr->before, axes, 0) || !within(call, "padding", attr->after, axes, 0))
        return false;
    for (int a = 0; a < axes; a++) {
        if (kernel[a] < 1 || kernel[a] > LARGEST)
            return hone__refuse(call, HONE_SHAPE, "a kernel of size %lld", (long long)kernel[a]);
        int64_t reach = entry(attr->dilation, a, 1) * (kernel[a] - 1) + 1;
        int64_t padded = in[a] + entry(attr->before, a, 0) + entry(attr->after, a, 0);
        if (padded + (attr->ceil ? entry(attr->stride, a, 1) - 1 : 0) < reach)
            return hone__refuse(call, HONE_SHAPE,
                                "spatial axis %d has %lld elements with its padding, the window reaches over %lld", a,
                                (long long)padded, (long long)reach);
    }
    *window = hone__window_of(attr, axes, in, kernel);
    return true;
}

bool hone__window_options(hone_ctx *ctx, const char *what, int axes, const int64_t *in, const int64_t *kernel,
                          const int64_t stride[3], const int64_t dilation[3], hone_padding padding, const int64_t before[3],
                          const int64_t after[3], struct hone__window_attr *attr)
{
    *attr = (struct hone__window_attr){.stride.rank = axes, .dilation.rank = axes, .before.rank = axes, .after.rank = axes};
    for (int a = 0; a < axes; a++) {
        attr->stride.dim[a] = stride[a] ? stride[a] : stride[0] ? stride[0] : 1;
        attr->dilation.dim[a] = dilation[a] ? dilation[a] : dilation[0] ? dilation[0] : 1;
        attr->before.dim[a] = before[a];
        attr->after.dim[a] = after[a];
        if (padding != HONE_SAME) continue;
        if (before[a] || after[a]) {
            hone__fail(ctx, HONE_INVALID, "%s: padding is either HONE_SAME or pad_before and pad_after, not both", what);
            return false;
        }
        int64_t s = HONE_MAX(attr->stride.dim[a], 1), out = (in[a] + s - 1) / s;
        int64_t total = (out - 1) * s + attr->dilation.dim[a] * (kernel[a] - 1) + 1 - in[a];
        attr->before.dim[a] = HONE_MAX(total, 0) / 2;
        attr->after.dim[a] = HONE_MAX(total, 0) - attr->before.dim[a];
    }
    return true;
}
