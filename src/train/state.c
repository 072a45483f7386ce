/* The optimizer's state as tensors of a safetensors file: "<prefix><parameter>.<state>", and "<prefix><rule>/<name>" for what
   belongs to no parameter. */
#include "train/train.h"

typedef hone_status (*state_fn)(void *arg, const hone_param *param, const char *name, hone_dtype dtype, hone_shape shape,
                                void *data);

/* fn for each state of each parameter, and for what else the rule keeps: then param is NULL. */
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
    hone__kept kept;
    for (size_t i = 0; status == HONE_OK && o->rule->kept && o->rule->kept(o, i, &kept); i++) {
        char *name = hone__format(o->ctx, "%s%s/%s", prefix, o->rule->name, kept.name);
        status = name ? fn(arg, NULL, name, kept.dtype, HONE_SHAPE(kept.count), kept.data) : o->ctx->status;
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
    hone_ctx *ctx;
    const hone_safetensors *file;
    const char *path;
} reading;
static hone_status read(void *arg, const hone_param *param, const char *name, hone_dtype dtype, hone_shape shape, void *data)
{
    const reading *r = arg;
    const hone_tensor_info *info = hone_safetensors_find(r->file, name);
    if (!info && param && !param->v.trainable) return HONE_OK; /* it never was trained: zeros */
    if (!info) return hone__fail(r->ctx, HONE_FORMAT, "%s: there is no tensor '%s'", r->path, name);
    if (!hone_shape_equal(info->shape, shape) || info->dtype != dtype)
        return hone__fail(r->ctx, HONE_SHAPE, "%s: '%s' is %s %s, %s %s expected", r->path, name,
                          hone_dtype_name(info->dtype), HONE__SHAPE_STR(info->shape), hone_dtype_name(dtype),
                          HONE__SHAPE_STR(shape));
    memcpy(data, info->data, info->bytes);
    return HONE_OK;
}
/* What the file's numbers ask for. */
static hone_status make_room(hone_optimizer *o, const char *prefix, const hone_safetensors *file, const char *path)
{
    char *name = hone__format(o->ctx, "%s%s/numbers", prefix, o->rule->name);
    const hone_tensor_info *info = name ? hone_safetensors_find(file, name) : NULL;
    double *numbers = NULL;
    hone_status status = name ? HONE_OK : o->ctx->status;
    if (name && (!info || info->dtype != HONE_F64 || !(numbers = hone__alloc(o->ctx, HONE_MAX(info->bytes, (size_t)1)))))
        status = hone__ok(o->ctx) ? hone__fail(o->ctx, HONE_FORMAT, "%s: there is no f64 tensor '%s'", path, name) : o->ctx->status;
    size_t n = numbers ? info->bytes / sizeof *numbers : 0;
    if (numbers && (int64_t)n > hone_safetensors_count(file) + 3) { /* a few scalars, and one for each vector or more */
        status = hone__fail(o->ctx, HONE_FORMAT, "%s: '%s' asks for more than the file has", path, name);
    } else if (numbers) {
        memcpy(numbers, info->data, info->bytes);
        status = o->rule->make_room(o, numbers, n);
    }
    hone__free(o->ctx, numbers);
    hone__free(o->ctx, name);
    return status;
}
hone_status hone__optimizer_read(hone_optimizer *o, const char *prefix, const hone_safetensors *file, const char *path)
{
    hone_status status = o->rule->make_room ? make_room(o, prefix, file, path) : HONE_OK;
    return status == HONE_OK ? each_state(o, prefix, read, &(reading){o->ctx, file, path}) : status;
}
