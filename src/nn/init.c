#include "nn/nn.h"

#include <math.h>

/* ---- what a layer was told about the parameters below it ---- */

hone_status hone_layer_initialize_opt(hone_layer *layer, const char *name, hone_initializer initializer,
                                      const hone_init_opts *opts)
{
    if (!layer) return HONE_INVALID;
    hone_ctx *ctx = layer->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    hone_init_opts o = opts ? *opts : (hone_init_opts){0};
    bool spread = initializer != HONE_INIT_CONSTANT && initializer != HONE_INIT_ORTHOGONAL && initializer != HONE_INIT_IDENTITY &&
                  initializer != HONE_INIT_UNIT_FORGET && o.value != (double)HONE_ZERO;
    if (!name || !name[0] || initializer <= HONE_INIT_DEFAULT || initializer > HONE_INIT_UNIT_FORGET ||
        !isfinite(o.value) || (spread && o.value < 0) || (unsigned)o.fan > HONE_FAN_AVERAGE ||
        (unsigned)o.distribution > HONE_DISTRIBUTE_UNIFORM)
        return hone__fail(ctx, HONE_INVALID, "layer '%s': '%s' cannot begin by initializer %d with value %g",
                          layer->name ? layer->name : layer->type, name ? name : "", (int)initializer, o.value);
    struct hone_initial_rule *rule = hone__calloc(ctx, 1, sizeof *rule);
    if (!rule) return ctx->status;
    *rule = (struct hone_initial_rule){{initializer, o}, layer->initials, hone__strdup(ctx, name)};
    layer->initials = rule; /* freed with the layer, also when its name has no memory */
    return ctx->status;
}

void hone__free_initials(hone_layer *layer)
{
    for (struct hone_initial_rule *rule = layer->initials, *next; rule; rule = next) {
        next = rule->next;
        hone__free(layer->ctx, rule->name);
        hone__free(layer->ctx, rule);
    }
}

/* The path is the name, or ends in it after a dot. */
static bool is_last_part(const char *path, const char *name)
{
    size_t n = strlen(path), m = strlen(name);
    return m <= n && !strcmp(path + n - m, name) && (m == n || path[n - m - 1] == '.');
}

bool hone__initial_of(const hone_layer *layer, const char *name, hone_initializer own, hone__initial *initial)
{
    *initial = (hone__initial){.initializer = own};
    hone_ctx *ctx = layer->ctx;
    char *path = hone__strdup(ctx, name);
    for (bool found = false; path && layer && !found; layer = layer->parent) {
        for (const struct hone_initial_rule *rule = layer->initials; rule && !found; rule = rule->next)
            if ((found = rule->name && is_last_part(path, rule->name))) *initial = rule->initial;
        if (!layer->parent) break;
        char *longer = hone__format(ctx, "%s.%s", layer->name, path);
        hone__free(ctx, path);
        path = longer;
    }
    hone__free(ctx, path);
    return path != NULL;
}

/* ---- values ---- */

/* variance = scale / fan. What the layers' initializers of that kind are. */
static const struct scaling {
    double scale;
    hone_fan fan;
    hone_distribution distribution;
} scalings[] = {
    [HONE_INIT_GLOROT_UNIFORM] = {1, HONE_FAN_AVERAGE, HONE_DISTRIBUTE_UNIFORM},
    [HONE_INIT_GLOROT_NORMAL] = {1, HONE_FAN_AVERAGE, HONE_DISTRIBUTE_NORMAL},
    [HONE_INIT_HE_UNIFORM] = {2, HONE_FAN_IN, HONE_DISTRIBUTE_UNIFORM},
    [HONE_INIT_HE_NORMAL] = {2, HONE_FAN_IN, HONE_DISTRIBUTE_NORMAL},
    [HONE_INIT_LECUN_NORMAL] = {1, HONE_FAN_IN, HONE_DISTRIBUTE_NORMAL},
    [HONE_INIT_TORCH_LINEAR] = {1.0 / 3, HONE_FAN_IN, HONE_DISTRIBUTE_UNIFORM},
    [HONE_INIT_LECUN_UNIFORM] = {1, HONE_FAN_IN, HONE_DISTRIBUTE_UNIFORM},
};

static double fan(hone_shape shape, hone_fan which)
{
    double out = shape.rank ? (double)shape.dim[0] : 1, in = out > 0 ? (double)hone_shape_count(shape) / out : 1;
    for (int d = 2; d < shape.rank; d++) out *= (double)shape.dim[d]; /* a kernel's receptive field counts on both sides */
    return which == HONE_FAN_IN ? in : which == HONE_FAN_OUT ? out : (in + out) / 2;
}

/* Drawn again beyond two standard deviations. */
static float truncated_normal(uint64_t key, uint64_t i)
{
    for (uint64_t attempt = 0;; attempt++) {
        float v = hone__random_normal(hone__key(key, attempt), i);
        if (fabsf(v) <= 2) return v;
    }
}

/* width: a uniform one's bound, a normal one's standard deviation. */
static void draw(hone_distribution distribution, double width, uint64_t key, int64_t count, float *values)
{
    for (int64_t i = 0; i < count; i++) {
        uint64_t at = (uint64_t)i;
        float v = distribution == HONE_DISTRIBUTE_UNIFORM  ? 2 * hone__random_uniform(key, at) - 1
                  : distribution == HONE_DISTRIBUTE_NORMAL ? hone__random_normal(key, at)
                                                           : truncated_normal(key, at);
        values[i] = (float)width * v;
    }
}

static void draw_scaled(double variance, hone_distribution distribution, uint64_t key, int64_t count, float *values)
{
    static const double of_truncated = 0.87962566103423978; /* standard deviation of a normal one cut at +-2 */
    double width = sqrt(distribution == HONE_DISTRIBUTE_UNIFORM ? 3 * variance : variance);
    draw(distribution, distribution == HONE_DISTRIBUTE_TRUNCATED_NORMAL ? width / of_truncated : width, key, count, values);
}

static void fill(float *values, int64_t count, double value)
{
    for (int64_t i = 0; i < count; i++) values[i] = (float)value;
}

/* Gram-Schmidt in f64, each vector twice ("twice is enough": Parlett 1980), gives the Q whose R has a positive diagonal:
   uniform over all orthogonal matrices (Mezzadri 2007). */
static hone_status orthogonal(hone_ctx *ctx, hone_shape shape, double gain, uint64_t key, float *values)
{
    int64_t rows = shape.rank ? shape.dim[0] : 1, count = hone_shape_count(shape), columns = rows ? count / rows : 0;
    int64_t n = HONE_MIN(rows, columns), length = HONE_MAX(rows, columns);
    if (count == 0) return HONE_OK;
    double *q = hone__alloc(ctx, (size_t)count * sizeof *q); /* [n, length] */
    if (!q) return ctx->status;
    for (int64_t i = 0; i < count; i++) q[i] = (double)hone__random_normal(key, (uint64_t)i);
    for (int64_t i = 0; i < n; i++) {
        double *v = q + i * length, square = 0;
        for (int64_t pass = 0; pass < 2 * i; pass++) {
            const double *u = q + pass % i * length;
            double dot = 0;
            for (int64_t k = 0; k < length; k++) dot += u[k] * v[k];
            for (int64_t k = 0; k < length; k++) v[k] -= dot * u[k];
        }
        for (int64_t k = 0; k < length; k++) square += v[k] * v[k];
        for (int64_t k = 0; k < length; k++) v[k] /= sqrt(square);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            values[r * columns + c] = (float)(gain * (rows <= columns ? q[r * length + c] : q[c * length + r]));
    hone__free(ctx, q);
    return HONE_OK;
}

static hone_status identity(hone_ctx *ctx, hone_shape shape, double gain, float *values)
{
    if (shape.rank < 2) return hone__fail(ctx, HONE_SHAPE, "initializer identity: needs [out, in, ...], not %s", HONE__SHAPE_STR(shape));
    int64_t taps = 1, middle = 0;
    for (int d = 2; d < shape.rank; d++) taps *= shape.dim[d], middle = middle * shape.dim[d] + shape.dim[d] / 2;
    fill(values, hone_shape_count(shape), 0);
    for (int64_t i = 0; taps > 0 && i < HONE_MIN(shape.dim[0], shape.dim[1]); i++)
        values[(i * shape.dim[1] + i) * taps + middle] = (float)gain;
    return HONE_OK;
}

/* Gates in the order i, f, g, o. */
static hone_status unit_forget(hone_ctx *ctx, hone_shape shape, double value, float *values)
{
    if (shape.rank != 1 || shape.dim[0] % 4)
        return hone__fail(ctx, HONE_SHAPE, "initializer unit_forget: needs an LSTM's bias [4 units], not %s", HONE__SHAPE_STR(shape));
    int64_t units = shape.dim[0] / 4;
    fill(values, 4 * units, 0);
    fill(values + units, units, value);
    return HONE_OK;
}

hone_status hone__fill_initial(hone_ctx *ctx, const hone__initial *initial, hone_shape shape, uint64_t key, float *values)
{
    const hone_init_opts *o = &initial->opts;
    hone_initializer which = initial->initializer;
    int64_t count = hone_shape_count(shape);
    double own = which == HONE_INIT_NORMAL || which == HONE_INIT_TRUNCATED_NORMAL ? 0.02
                 : which == HONE_INIT_UNIFORM                                     ? 0.05
                 : which == HONE_INIT_CONSTANT                                    ? 0
                                                                                  : 1;
    double value = o->value == (double)HONE_ZERO ? 0 : o->value != 0 ? o->value : own;
    switch (which) {
    case HONE_INIT_ORTHOGONAL: return orthogonal(ctx, shape, value, key, values);
    case HONE_INIT_UNIT_FORGET: return unit_forget(ctx, shape, value, values);
    case HONE_INIT_IDENTITY: return identity(ctx, shape, value, values);
    case HONE_INIT_DEFAULT:
    case HONE_INIT_ZEROS: fill(values, count, 0); break;
    case HONE_INIT_ONES: fill(values, count, 1); break;
    case HONE_INIT_CONSTANT: fill(values, count, value); break;
    case HONE_INIT_NORMAL: draw(HONE_DISTRIBUTE_NORMAL, value, key, count, values); break;
    case HONE_INIT_TRUNCATED_NORMAL: draw(HONE_DISTRIBUTE_TRUNCATED_NORMAL, value, key, count, values); break;
    case HONE_INIT_UNIFORM: draw(HONE_DISTRIBUTE_UNIFORM, value, key, count, values); break;
    case HONE_INIT_VARIANCE_SCALING:
        draw_scaled(value / fan(shape, o->fan), o->distribution, key, count, values);
        break;
    default: {
        const struct scaling *s = &scalings[which];
        draw_scaled(s->scale / fan(shape, s->fan), s->distribution, key, count, values);
    }
    }
    return HONE_OK;
}
