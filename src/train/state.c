/* The optimizer's state as tensors of a safetensors file: "<prefix><parameter>.<state>". */
#include "train/train.h"

typedef hone_status (*state_fn)(void *arg, const hone_param *param, const char *name, hone_dtype dtype, hone_shape shape,
                                void *data);

/* fn for each state of each parameter. */
static hone_status each_state(const hone_optimizer *o, const char *prefix, state_fn fn, void *arg)
{
    hone_status status = HONE_OK;
    for (size_t s = 0; s < o->n_segments; s++)
        for (size_t i = 0; i < o->segments[s].segment->n_params; i++)
            for (int k = 0; k < o->rule->states && status == HONE_OK; k++) {
                const hone_param *p = o->segments[s].segment->params[i];
                char *name = hone__format(o->ctx, "%s%s.%s", prefix, p->name, o->rule->state[k].name);
                hone_shape shape = hone__optim_state_shape(o, &o->segments[s], k, i);
                status = name ? HONE_OK : o->ctx->status;
                if (name && hone_shape_count(shape)) /* 0: not of this parameter's */
                    status = fn(arg, p, name, o->rule->state[k].dtype, shape, hone__optim_state(o, &o->segments[s], k, i));
                hone__free(o->ctx, name);
            }
    return status;
}

static hone_status declare(void *arg, const hone_param *param, const char *name, hone_dtype dtype, hone_shape shape, void *data)
{
    (void)param, (void)data;
    return hone_safetensors_add_tensor(arg, name, dtype, shape);
}
hone_status hone__optimizer_declare(const hone_optimizer *o, const char *prefix, hone_safetensors_writer *writer)
{
    return each_state(o, prefix, declare, writer);
}

static hone_status write(void *arg, const hone_param *param, const char *name, hone_dtype dtype, hone_shape shape, void *data)
{
    (void)param;
    return hone_safetensors_write(arg, name, data, hone__dtype_bytes(dtype, hone_shape_count(shape)));
}
hone_status hone__optimizer_write(const hone_optimizer *o, const char *prefix, hone_safetensors_writer *writer)
{
    return each_state(o, prefix, write, writer);
}

typedef struct reading {
    const hone_safetensors *file;
    const char *path;
} reading;
static hone_status read(void *arg, const hone_param *param, const char *name, hone_dtype dtype, hone_shape shape, void *data)
{
    const reading *r = arg;
    const hone_tensor_info *info = hone_safetensors_find(r->file, name);
    if (!info && !param->v.trainable) return HONE_OK; /* it never was trained: zeros */
    if (!info) return hone__fail(param->v.ctx, HONE_FORMAT, "%s: there is no tensor '%s'", r->path, name);
    if (!hone_shape_equal(info->shape, shape) || info->dtype != dtype)
        return hone__fail(param->v.ctx, HONE_SHAPE, "%s: '%s' is %s %s, %s %s expected", r->path, name,
                          hone_dtype_name(info->dtype), HONE__SHAPE_STR(info->shape), hone_dtype_name(dtype),
                          HONE__SHAPE_STR(shape));
    memcpy(data, info->data, info->bytes);
    return HONE_OK;
}
hone_status hone__optimizer_read(hone_optimizer *o, const char *prefix, const hone_safetensors *file, const char *path)
{
    return each_state(o, prefix, read, &(reading){file, path});
}
