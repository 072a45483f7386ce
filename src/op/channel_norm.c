/* Batch, group and instance norm: one op. They differ in what shares a mean and a variance: a channel of the whole batch, or a
   group of a sample's channels. */
#include "op/nn.h"

struct channel_norm_attr {
    double eps;
    int64_t groups;  /* 0: each channel is one */
    bool per_sample; /* else over the batch */
};
static const hone__attr attrs[] = {HONE__ATTR(struct channel_norm_attr, eps, F64),
                                   HONE__ATTR(struct channel_norm_attr, groups, I64),
                                   HONE__ATTR(struct channel_norm_attr, per_sample, BOOL), {0}};

enum { X, GAIN, BIAS, MEAN, VARIANCE, INPUTS }; /* mean and variance [C]: given, not x's own */
enum { ADDED = INPUTS, RELU_INPUTS };           /* of relu: mean and variance are x's own, and what is added to the norm */
enum { G_X, G_MEAN, G_VARIANCE, G_DY, G_GAIN, G_INPUTS, G_BIAS = G_INPUTS, G_RELU_INPUTS };
enum { D_GAIN, D_X, D_BIAS, D_MEAN, D_VARIANCE, G_OUTPUTS }; /* the last two: when mean and variance were given */

/* ---- shapes ---- */

static bool check(hone__call *call, hone_shape *statistics)
{
    const struct channel_norm_attr *t = call->attr;
    hone_shape x = call->in[X]->shape;
    if (!hone__want_real(call, X)) return false;
    if (x.rank < 2 || x.rank > 5)
        return hone__refuse(call, HONE_SHAPE, "the input must be [N, channels] with up to 3 spatial axes, not %s", HONE__SHAPE_STR(x));
    if (!(t->eps >= 0)) return hone__refuse(call, HONE_INVALID, "eps must not be negative, it is %g", t->eps);
    int64_t groups = t->groups ? t->groups : x.dim[1];
    if (t->groups < 0 || (groups && x.dim[1] % groups))
        return hone__refuse(call, HONE_SHAPE, "%lld channels cannot be cut into %lld groups", (long long)x.dim[1], (long long)groups);
    *statistics = t->per_sample ? HONE_SHAPE(x.dim[0], groups) : HONE_SHAPE(groups);
    return true;
}

static bool want_channels(hone__call *call, int i, hone_shape shape, const char *what)
{
    return !hone__has(call, i) || (hone__want_same_real(call, X, i) && hone__want_shape(call, i, shape, what));
}

static bool shape(hone__call *call)
{
    const struct channel_norm_attr *t = call->attr;
    hone_shape statistics;
    if (!check(call, &statistics)) return false;
    hone_shape x = call->in[X]->shape, channels = HONE_SHAPE(x.dim[1]);
    bool given = hone__has(call, MEAN);
    if (given != hone__has(call, VARIANCE) || (given && t->per_sample))
        return hone__refuse(call, HONE_INVALID, "mean and variance are given together, and for the batch alone");
    if (!want_channels(call, GAIN, channels, "gain") || !want_channels(call, BIAS, channels, "bias") ||
        !want_channels(call, MEAN, statistics, "mean") || !want_channels(call, VARIANCE, statistics, "variance"))
        return false;
    hone_shape own = given ? HONE_SHAPE(0) : statistics;
    hone_dtype real = call->in[X]->dtype;
    return hone__set_out(call, 0, real, x) && hone__set_out(call, 1, real, own) && hone__set_out(call, 2, real, own);
}

/* ---- running ---- */

/* Pieces of a segment: their number depends on the shape alone, so that threads change no bit of the sums. */
enum { PIECE = 16384 /* elements, which the second cache holds */, PIECES = 256 };

static hone__channel_norm describe(const hone__exec *e)
{
    const struct channel_norm_attr *t = e->attr;
    hone_shape x = e->in[X].shape;
    int64_t n = x.dim[1], all = n ? hone_shape_count(x) / n : 0;
    hone__channel_norm a = {.segments = t->per_sample ? x.dim[0] : 1, .n = n, .groups = t->groups ? t->groups : n, .eps = t->eps,
                            .x = e->in[X].data, .xt = e->in[X].dtype};
    a.rows = a.segments ? all / a.segments : 0;
    int64_t most = HONE_MAX(PIECES / HONE_MAX(a.segments, (int64_t)1), (int64_t)1);
    a.pieces = HONE_MAX(HONE_MIN(a.rows * n / PIECE, most), (int64_t)1);
    char *at = e->scratch;
    a.parts = hone__take(&at, hone__dtype_bytes(e->k->real, a.segments * a.pieces * 2 * n));
    a.coefficients = hone__take(&at, hone__dtype_bytes(e->k->real, a.segments * 5 * n));
    /* what has no output to lie in */
    a.mean = hone__take(&at, hone__dtype_bytes(e->k->real, a.segments * n));
    a.variance = hone__take(&at, hone__dtype_bytes(e->k->real, a.segments * n));
    return a;
}

static hone_status prepare(hone__exec *e)
{
    hone__channel_norm a = describe(e);
    e->scratch_size = (size_t)((uintptr_t)a.variance - (uintptr_t)e->scratch) +
                      hone__align(hone__dtype_bytes(e->k->real, a.segments * a.n));
    return HONE_OK;
}

typedef struct job {
    const hone__channel_norm *a;
    void (*fn)(const hone__channel_norm *a, int64_t begin, int64_t end);
} job;
static void range(void *arg, int64_t begin, int64_t end)
{
    const job *j = arg;
    j->fn(j->a, begin, end);
}
static void each_piece(const hone__exec *e, const hone__channel_norm *a,
                       void (*fn)(const hone__channel_norm *a, int64_t begin, int64_t end))
{
    int64_t elements = HONE_MAX(a->rows * a->n / a->pieces, (int64_t)1);
    hone__parallel_for(e->ctx, a->segments * a->pieces, HONE_MAX(HONE__GRAIN / 2 / elements, 1), range, &(job){a, fn});
}

static hone_status run(hone__exec *e)
{
    hone__channel_norm a = describe(e);
    if (a.n == 0) return HONE_OK;
    a.given = hone__data(e, MEAN) != NULL;
    a.y = e->out[0].data;
    a.yt = e->out[0].dtype;
    a.gain = hone__data(e, GAIN);
    a.bias = hone__data(e, BIAS);
    if (a.given) {
        a.mean = e->in[MEAN].data;
        a.variance = e->in[VARIANCE].data;
    } else {
        if (e->out[1].data) a.mean = e->out[1].data;
        if (e->out[2].data) a.variance = e->out[2].data;
        each_piece(e, &a, e->k->channel_norm_sums);
    }
    e->k->channel_norm_finish(&a, 0, a.segments);
    if (a.y) each_piece(e, &a, e->k->channel_norm_apply);
    return HONE_OK;
}

/* relu(norm(x) + what is added), where another call has x's mean and variance. */
static bool relu_shape(hone__call *call)
{
    hone_shape statistics;
    if (!check(call, &statistics)) return false;
    if (!hone__has(call, MEAN) || !hone__has(call, VARIANCE)) return hone__refuse(call, HONE_INVALID, "mean and variance are missing");
    hone_shape x = call->in[X]->shape, channels = HONE_SHAPE(x.dim[1]);
    return want_channels(call, GAIN, channels, "gain") && want_channels(call, BIAS, channels, "bias") &&
           want_channels(call, MEAN, statistics, "mean") && want_channels(call, VARIANCE, statistics, "variance") &&
           want_channels(call, ADDED, x, "added value") && hone__set_out(call, 0, call->in[X]->dtype, x);
}

static hone_status relu_run(hone__exec *e)
{
    hone__channel_norm a = describe(e);
    if (a.n == 0 || !e->out[0].data) return HONE_OK;
    a.given = a.relu = true;
    a.y = e->out[0].data;
    a.yt = e->out[0].dtype;
    a.gain = hone__data(e, GAIN);
    a.bias = hone__data(e, BIAS);
    a.mean = e->in[MEAN].data;
    a.variance = e->in[VARIANCE].data;
    a.z = hone__data(e, ADDED);
    if (a.z) a.zt = e->in[ADDED].dtype;
    e->k->channel_norm_finish(&a, 0, a.segments);
    each_piece(e, &a, e->k->channel_norm_apply);
    return HONE_OK;
}

/* ---- gradients ---- */

/* With what is added, its gradient is the norm's: what relu lets pass is needed anyway. */
static bool relu_vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    bool added = hone__has(call, ADDED), gain = hone__has(call, GAIN), bias = hone__has(call, BIAS);
    hone_node *g = added ? hone__relu_grad(&call->out[0], dy[0]) : dy[0];
    hone_node *in[G_RELU_INPUTS] = {[G_X] = call->in[X], [G_MEAN] = call->in[MEAN], [G_VARIANCE] = call->in[VARIANCE], [G_DY] = g,
                                    [G_GAIN] = gain ? call->in[GAIN] : NULL, [G_BIAS] = bias ? call->in[BIAS] : NULL};
    if (!g) return false;
    if (added && wanted[ADDED]) d[ADDED] = g;
    hone_node *of = added ? hone__record(call->graph, &hone__op_channel_norm_grad, G_INPUTS, in, call->attr)
                          : hone__record(call->graph, &hone__op_channel_norm_relu_grad, G_RELU_INPUTS, in, call->attr);
    d[X] = hone__output(of, D_X);
    if (gain && wanted[GAIN]) d[GAIN] = of;
    if (bias && wanted[BIAS]) d[BIAS] = hone__output(of, D_BIAS);
    return of != NULL;
}

static bool vjp(hone__call *call, hone_node *const *dy, const bool *wanted, hone_node **d)
{
    bool given = hone__has(call, MEAN), gain = hone__has(call, GAIN);
    hone_node *in[G_INPUTS] = {[G_X] = call->in[X], [G_MEAN] = given ? call->in[MEAN] : &call->out[1],
                               [G_VARIANCE] = given ? call->in[VARIANCE] : &call->out[2], [G_DY] = dy[0],
                               [G_GAIN] = gain ? call->in[GAIN] : NULL};
    hone_node *g = hone__record(call->graph, given ? &hone__op_channel_norm_given_grad : &hone__op_channel_norm_grad, G_INPUTS, in,
                                call->attr);
    d[X] = hone__output(g, D_X);
    if (gain && wanted[GAIN]) d[GAIN] = g;
    if (hone__has(call, BIAS) && wanted[BIAS]) d[BIAS] = hone__output(g, D_BIAS);
    if (given && wanted[MEAN]) d[MEAN] = hone__output(g, D_MEAN);
    if (given && wanted[VARIANCE]) d[VARIANCE] = hone__output(g, D_VARIANCE);
    return g != NULL;
}

static bool grad_shape(hone__call *call)
{
    hone_shape statistics;
    if (!check(call, &statistics) || !hone__want_same_real(call, G_X, G_DY)) return false;
    hone_shape x = call->in[G_X]->shape, channels = HONE_SHAPE(x.dim[1]);
    if (!want_channels(call, G_MEAN, statistics, "mean") || !want_channels(call, G_VARIANCE, statistics, "variance") ||
        !want_channels(call, G_DY, x, "gradient") || !want_channels(call, G_GAIN, channels, "gain") ||
        !want_channels(call, G_BIAS, channels, "bias"))
        return false;
    hone_dtype real = call->in[G_X]->dtype;
    return hone__set_out(call, D_GAIN, real, channels) && hone__set_out(call, D_X, real, x) &&
           hone__set_out(call, D_BIAS, real, channels) && hone__set_out(call, D_MEAN, real, statistics) &&
           hone__set_out(call, D_VARIANCE, real, statistics);
}

static void *zeroed(const hone__exec *e, int o, bool keep)
{
    if (e->out[o].data && !keep) hone__fill_view(e, &e->out[o], 0);
    return e->out[o].data;
}

static hone_status grad(hone__exec *e, bool given, bool relu)
{
    hone__channel_norm a = describe(e);
    if (a.n == 0) return HONE_OK;
    a.given = given;
    a.relu = relu;
    a.mean = e->in[G_MEAN].data;
    a.variance = e->in[G_VARIANCE].data;
    a.dy = e->in[G_DY].data;
    a.dyt = e->in[G_DY].dtype;
    a.gain = hone__data(e, G_GAIN);
    a.y = e->out[D_X].data;
    a.yt = e->out[D_X].dtype;
    a.dgain = zeroed(e, D_GAIN, e->accumulate);
    a.dbias = zeroed(e, D_BIAS, false);
    void *dmean = zeroed(e, D_MEAN, false), *dvariance = zeroed(e, D_VARIANCE, false);
    if (given) a.dmean = dmean, a.dvariance = dvariance;
    if (relu) {
        hone__channel_norm forward = a;
        forward.given = true;
        forward.bias = hone__data(e, G_BIAS);
        e->k->channel_norm_finish(&forward, 0, a.segments);
    }
    each_piece(e, &a, e->k->channel_norm_grad_sums);
    e->k->channel_norm_grad_finish(&a, 0, a.segments);
    if (a.y) each_piece(e, &a, e->k->channel_norm_apply);
    return HONE_OK;
}
static hone_status grad_run(hone__exec *e) { return grad(e, false, false); }
static hone_status given_grad_run(hone__exec *e) { return grad(e, true, false); }
static hone_status relu_grad_run(hone__exec *e) { return grad(e, false, true); }

#define X_(...) {.shape = {__VA_ARGS__}}
#define SPREAD(...) {.shape = {__VA_ARGS__}, .fill = HONE__FILL_UNIFORM, .low = 0.5, .high = 2}
#define NO {.absent = true}
#define OF(...) .attr = &(struct channel_norm_attr) { __VA_ARGS__ }
static const hone__sample samples[] = {
    {.name = "batch", .n_in = 3, .in = {X_(4, {3, 5, 2, 3}), X_(1, {5}), X_(1, {5})}, OF(1e-5, 0, false)},
    {.name = "batch_plain", .n_in = 1, .in = {X_(2, {7, 5})}, OF(1e-3, 0, false)},
    {.name = "batch_one_axis", .n_in = 3, .in = {X_(3, {3, 5, 4}), NO, X_(1, {5})}, OF(1e-5, 0, false)},
    {.name = "batch_three_axes", .n_in = 2, .in = {X_(5, {2, 3, 2, 3, 2}), X_(1, {3})}, OF(1e-5, 0, false)},
    {.name = "batch_pieces", .n_in = 3, .in = {X_(4, {16, 5, 21, 20}), X_(1, {5}), X_(1, {5})}, OF(1e-5, 0, false),
     .no_grad = true, .tolerance = 1e-4},
    {.name = "batch_wide", .n_in = 3, .in = {X_(2, {5, 1030}), X_(1, {1030}), X_(1, {1030})}, OF(1e-5, 0, false), .no_grad = true,
     .tolerance = 1e-4},
    {.name = "given", .n_in = 5, .in = {X_(4, {3, 5, 2, 3}), X_(1, {5}), X_(1, {5}), X_(1, {5}), SPREAD(1, {5})},
     OF(1e-5, 0, false)},
    {.name = "given_plain", .n_in = 5, .in = {X_(2, {7, 5}), NO, NO, X_(1, {5}), SPREAD(1, {5})}, OF(1e-3, 0, false)},
    {.name = "group", .n_in = 3, .in = {X_(4, {3, 6, 2, 3}), X_(1, {6}), X_(1, {6})}, OF(1e-5, 3, true)},
    {.name = "group_wide", .n_in = 3, .in = {X_(3, {2, 520, 7}), X_(1, {520}), X_(1, {520})}, OF(1e-5, 4, true), .no_grad = true,
     .tolerance = 1e-4},
    {.name = "group_all", .n_in = 1, .in = {X_(3, {2, 4, 5})}, OF(1e-5, 1, true)},
    {.name = "instance", .n_in = 1, .in = {X_(4, {2, 3, 4, 3})}, OF(1e-5, 0, true)},
    {.name = "instance_gain", .n_in = 3, .in = {X_(3, {2, 3, 9}), X_(1, {3}), X_(1, {3})}, OF(1e-5, 0, true)},
    {.name = "empty", .n_in = 3, .in = {X_(4, {2, 3, 0, 4}), X_(1, {3}), X_(1, {3})}, OF(1e-5, 0, true)},
    {.name = "no_channels", .n_in = 1, .in = {X_(3, {2, 0, 4})}, OF(1e-5, 0, false)},
    {.name = "axes", .n_in = 1, .in = {X_(1, {7})}, OF(1e-5, 0, false), .refused = "up to 3 spatial axes"},
    {.name = "groups", .n_in = 1, .in = {X_(3, {2, 5, 4})}, OF(1e-5, 2, true), .refused = "5 channels cannot be cut into 2 groups"},
    {.name = "gain_size", .n_in = 2, .in = {X_(3, {2, 5, 4}), X_(1, {4})}, OF(1e-5, 0, false), .refused = "the gain must be [5]"},
    {.name = "eps", .n_in = 1, .in = {X_(3, {2, 5, 4})}, OF(-1, 0, false), .refused = "eps must not be negative"},
    {.name = "alone", .n_in = 4, .in = {X_(2, {2, 5}), NO, NO, X_(1, {5})}, OF(1e-5, 0, false), .refused = "given together"},
    {0}};
static const hone__sample grad_samples[] = {
    {.name = "batch", .n_in = 5, .in = {X_(4, {3, 5, 2, 3}), X_(1, {5}), SPREAD(1, {5}), X_(4, {3, 5, 2, 3}), X_(1, {5})},
     OF(1e-5, 0, false)},
    {.name = "group", .n_in = 4, .in = {X_(3, {3, 6, 4}), X_(2, {3, 2}), SPREAD(2, {3, 2}), X_(3, {3, 6, 4})}, OF(1e-5, 2, true)},
    {.name = "sixteen", .n_in = 5, .in = {X_(4, {3, 16, 5, 3}), X_(1, {16}), SPREAD(1, {16}), X_(4, {3, 16, 5, 3}), X_(1, {16})},
     OF(1e-5, 0, false), .no_grad = true},
    {.name = "columns", .n_in = 4, .in = {X_(3, {2, 80, 7}), X_(2, {2, 80}), SPREAD(2, {2, 80}), X_(3, {2, 80, 7})}, OF(1e-5, 0, true),
     .no_grad = true},
    {.name = "misfit", .n_in = 4, .in = {X_(3, {3, 6, 4}), X_(1, {6}), SPREAD(1, {6}), X_(3, {3, 6, 5})}, OF(1e-5, 0, false),
     .refused = "the gradient must be"},
    {0}};
/* Without finite differences: x moves its mean and variance, too. tests/test_layers.c compares with relu of the norm. */
static const hone__sample relu_samples[] = {
    {.name = "batch", .n_in = 5, .in = {X_(4, {3, 5, 2, 3}), X_(1, {5}), X_(1, {5}), X_(1, {5}), SPREAD(1, {5})},
     OF(1e-5, 0, false), .no_grad = true},
    {.name = "added", .n_in = 6,
     .in = {X_(4, {3, 5, 2, 3}), X_(1, {5}), X_(1, {5}), X_(1, {5}), SPREAD(1, {5}), X_(4, {3, 5, 2, 3})},
     OF(1e-5, 0, false), .no_grad = true},
    {.name = "group", .n_in = 6, .in = {X_(3, {3, 6, 4}), NO, NO, X_(2, {3, 2}), SPREAD(2, {3, 2}), X_(3, {3, 6, 4})},
     OF(1e-5, 2, true), .no_grad = true},
    {.name = "sixteen", .n_in = 6,
     .in = {X_(4, {3, 16, 5, 3}), X_(1, {16}), X_(1, {16}), X_(1, {16}), SPREAD(1, {16}), X_(4, {3, 16, 5, 3})},
     OF(1e-5, 0, false), .no_grad = true},
    {.name = "columns", .n_in = 5, .in = {X_(3, {2, 80, 7}), NO, NO, X_(2, {2, 80}), SPREAD(2, {2, 80})}, OF(1e-5, 0, true),
     .no_grad = true},
    {.name = "empty", .n_in = 5, .in = {X_(4, {0, 3, 2, 4}), NO, NO, X_(1, {3}), X_(1, {3})}, OF(1e-5, 0, false), .no_grad = true},
    {.name = "added_size", .n_in = 6,
     .in = {X_(3, {2, 5, 4}), NO, NO, X_(1, {5}), SPREAD(1, {5}), X_(3, {2, 5, 3})}, OF(1e-5, 0, false),
     .refused = "the added value must be [2, 5, 4]"},
    {0}};
static const hone__sample relu_grad_samples[] = {
    {.name = "batch", .n_in = 6,
     .in = {X_(4, {3, 5, 2, 3}), X_(1, {5}), SPREAD(1, {5}), X_(4, {3, 5, 2, 3}), X_(1, {5}), X_(1, {5})}, OF(1e-5, 0, false)},
    {.name = "sixteen", .n_in = 6,
     .in = {X_(4, {3, 16, 5, 3}), X_(1, {16}), SPREAD(1, {16}), X_(4, {3, 16, 5, 3}), X_(1, {16}), X_(1, {16})}, OF(1e-5, 0, false),
     .no_grad = true},
    {.name = "columns", .n_in = 4, .in = {X_(3, {2, 48, 7}), X_(2, {2, 4}), SPREAD(2, {2, 4}), X_(3, {2, 48, 7})}, OF(1e-5, 4, true),
     .no_grad = true},
    {.name = "group", .n_in = 4, .in = {X_(3, {3, 6, 4}), X_(2, {3, 2}), SPREAD(2, {3, 2}), X_(3, {3, 6, 4})}, OF(1e-5, 2, true)},
    {0}};
static const hone__sample given_grad_samples[] = {
    {.name = "batch", .n_in = 5, .in = {X_(4, {3, 5, 2, 3}), X_(1, {5}), SPREAD(1, {5}), X_(4, {3, 5, 2, 3}), X_(1, {5})},
     OF(1e-5, 0, false)},
    {0}};

const hone_op hone__op_channel_norm = {
    .name = "channel_norm",
    .doc = "y = (x - mean) / sqrt(var + eps) * gain + bias, mean and var of each channel or group of channels; mean; var",
    .n_in = INPUTS, .n_required = 1, .n_out = 3, .flags = HONE__FLEX, .keep_in = 30, .keep_out = 6, .aux_out = 6, .last_in = 1,
    .last_out = 1, .attr_size = sizeof(struct channel_norm_attr), .attrs = attrs, .shape = shape, .prepare = prepare, .run = run,
    .vjp = vjp, .samples = samples};
const hone_op hone__op_channel_norm_relu = {
    .name = "channel_norm_relu", .doc = "relu(channel_norm(x) + z), of x's own mean and var", .n_in = RELU_INPUTS, .n_required = 1,
    .n_out = 1, .flags = HONE__FLEX, .keep_in = 30, .last_in = 1 | 1u << ADDED, .last_out = 1,
    .attr_size = sizeof(struct channel_norm_attr), .attrs = attrs, .shape = relu_shape, .prepare = prepare, .run = relu_run,
    .vjp = relu_vjp, .samples = relu_samples};
#define GRAD(inputs, more_kept)                                                                                                \
    .n_in = inputs, .n_required = 4, .n_out = G_OUTPUTS, .flags = HONE__FLEX | HONE__ACCUMULATE,                              \
    .keep_in = 1u << G_MEAN | 1u << G_VARIANCE | 1u << G_GAIN | (more_kept), .keep_out = 1u << D_GAIN | 1u << D_BIAS | 1u << D_MEAN | 1u << D_VARIANCE, \
    .last_in = 1u << G_X | 1u << G_DY, .last_out = 1u << D_X, .attr_size = sizeof(struct channel_norm_attr), .attrs = attrs,    \
    .shape = grad_shape, .prepare = prepare
const hone_op hone__op_channel_norm_grad = {.name = "channel_norm_grad", .doc = "dgain, dx, dbias of channel_norm", GRAD(G_INPUTS, 0),
                                            .run = grad_run, .samples = grad_samples};
const hone_op hone__op_channel_norm_relu_grad = {
    .name = "channel_norm_relu_grad", .doc = "dgain, dx, dbias of channel_norm_relu without z", GRAD(G_RELU_INPUTS, 1u << G_BIAS),
    .run = relu_grad_run, .samples = relu_grad_samples};
const hone_op hone__op_channel_norm_given_grad = {.name = "channel_norm_given_grad",
                                                  .doc = "the same where mean and variance were given, and their gradients", GRAD(G_INPUTS, 0),
                                                  .run = given_grad_run, .samples = given_grad_samples};

static hone_node *record(hone_node *x, hone_node *gain, hone_node *bias, hone_node *mean, hone_node *variance,
                         struct channel_norm_attr attr)
{
    if (!x) return NULL;
    hone_node *in[INPUTS] = {[X] = x, [GAIN] = gain, [BIAS] = bias, [MEAN] = mean, [VARIANCE] = variance};
    return hone__record(x->call->graph, &hone__op_channel_norm, INPUTS, in, &attr);
}

/* Where a norm of x's own statistics, plain or with something added, made x, one pass for all: the calls before are then read for
   mean and variance alone, or not at all. */
hone_node *hone__channel_norm_relu(hone_node *x)
{
    hone__call *call = x->call, *norm = NULL;
    hone_node *added = NULL, *of = x;
    if (call->graph->eager || x->out != 0) return NULL;
    for (int i = 0; i < 2 && call->op == &hone__op_add && !added; i++)
        if (call->in[i]->call->op == &hone__op_channel_norm && hone_shape_equal(call->in[0]->shape, call->in[1]->shape))
            of = call->in[i], added = call->in[1 - i];
    norm = of->call;
    if (norm->op != &hone__op_channel_norm || of->out != 0 || hone__has(norm, MEAN)) return NULL;
    /* Between the layers of a functional model: it replays them whole, what they read within cannot be read from outside. */
    const hone_graph *graph = call->graph;
    for (size_t i = 0; i < graph->n_applications && graph->depth == 0; i++)
        if ((size_t)norm->id >= graph->applications[i].first && (size_t)norm->id < graph->applications[i].last) return NULL;
    hone_node *in[RELU_INPUTS] = {[X] = norm->in[X], [GAIN] = hone__has(norm, GAIN) ? norm->in[GAIN] : NULL,
                                  [BIAS] = hone__has(norm, BIAS) ? norm->in[BIAS] : NULL, [MEAN] = &norm->out[1],
                                  [VARIANCE] = &norm->out[2], [ADDED] = added};
    return hone__record(call->graph, &hone__op_channel_norm_relu, added ? RELU_INPUTS : INPUTS, in, norm->attr);
}

hone_node *hone_batch_norm(hone_node *x, hone_node *gain, hone_node *bias, hone_node *mean, hone_node *variance, double eps)
{
    return record(x, gain, bias, mean, variance, (struct channel_norm_attr){eps, 0, false});
}
hone_node *hone_group_norm(hone_node *x, int64_t groups, hone_node *gain, hone_node *bias, double eps)
{
    return record(x, gain, bias, NULL, NULL, (struct channel_norm_attr){eps, groups > 0 ? groups : -1, true});
}
hone_node *hone_instance_norm(hone_node *x, hone_node *gain, hone_node *bias, double eps)
{
    return record(x, gain, bias, NULL, NULL, (struct channel_norm_attr){eps, 0, true});
}
