#include "nn/nn.h"

#include <math.h>

void hone__fill_initial(hone_initializer initializer, hone_shape shape, uint64_t key, float *values)
{
    int64_t count = hone_shape_count(shape), fan_out = shape.rank ? shape.dim[0] : 1;
    double fan_in = fan_out ? (double)count / (double)fan_out : 1, out = (double)fan_out;
    for (int d = 2; d < shape.rank; d++) out *= (double)shape.dim[d]; /* a kernel's receptive field counts on both sides */
    double uniform = 0, normal = 0;
    switch (initializer) {
    case HONE_INIT_DEFAULT:
    case HONE_INIT_ZEROS: break;
    case HONE_INIT_ONES:
        for (int64_t i = 0; i < count; i++) values[i] = 1;
        return;
    case HONE_INIT_NORMAL: normal = 0.02; break;
    case HONE_INIT_GLOROT_UNIFORM: uniform = sqrt(6 / (fan_in + out)); break;
    case HONE_INIT_GLOROT_NORMAL: normal = sqrt(2 / (fan_in + out)); break;
    case HONE_INIT_HE_UNIFORM: uniform = sqrt(6 / fan_in); break;
    case HONE_INIT_HE_NORMAL: normal = sqrt(2 / fan_in); break;
    case HONE_INIT_LECUN_NORMAL: normal = sqrt(1 / fan_in); break;
    case HONE_INIT_TORCH_LINEAR: uniform = 1 / sqrt(fan_in); break;
    }
    for (int64_t i = 0; i < count; i++) {
        if (uniform > 0)
            values[i] = (float)uniform * (2 * hone__random_uniform(key, (uint64_t)i) - 1);
        else
            values[i] = normal > 0 ? (float)normal * hone__random_normal(key, (uint64_t)i) : 0;
    }
}
