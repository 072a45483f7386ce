/* Batch, group and instance norm. */
#include "nn/nn.h"

typedef struct channel_norm {
    hone_layer base;
    int64_t groups; /* group norm */
    double epsilon, momentum;
    bool no_affine;
} channel_norm;

static int64_t channels(const hone_node *x) { return x->shape.rank > 1 ? x->shape.dim[1] : 1; }

static bool affine(channel_norm *l, hone_graph *graph, hone_node *x, hone_node **gain, hone_node **bias)
{
    *gain = *bias = NULL;
    if (l->no_affine) return true;
    *gain = hone_weight(&l->base, graph, "weight", HONE_SHAPE(channels(x)), HONE_INIT_ONES);
    *bias = hone_weight(&l->base, graph, "bias", HONE_SHAPE(channels(x)), HONE_INIT_ZEROS);
    return *gain && *bias;
}

/* state += momentum (value - state) */
static bool move(hone_node *state, hone_node *value, double momentum)
{
    return hone_assign(state, hone_add(hone_affine(state, 1 - momentum, 0), hone_affine(value, momentum, 0))) != NULL;
}

static hone_node *batch_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    channel_norm *l = (channel_norm *)(void *)self;
    hone_node *x = in[0], *gain, *bias;
    (void)n;
    if (!affine(l, graph, x, &gain, &bias)) return NULL;
    hone_node *mean = hone_state(self, graph, "running_mean", HONE_SHAPE(channels(x)), HONE_INIT_ZEROS);
    hone_node *variance = hone_state(self, graph, "running_var", HONE_SHAPE(channels(x)), HONE_INIT_ONES);
    if (!mean || !variance) return NULL;
    if (hone_graph_mode(graph) != HONE_TRAIN) return hone_batch_norm(x, gain, bias, mean, variance, l->epsilon);
    double count = (double)hone_shape_count(x->shape) / (double)HONE_MAX(channels(x), (int64_t)1);
    if (!(count > 1)) {
        hone__fail(graph->ctx, HONE_SHAPE, "%s '%s': in training a channel needs more than one value, the input is %s", self->type,
                   graph->scope, HONE__SHAPE_STR(x->shape));
        return NULL;
    }
    hone_node *y = hone_batch_norm(x, gain, bias, NULL, NULL, l->epsilon);
    if (!y || l->momentum == 0) return y;
    bool moved = move(mean, hone__output(y, 1), l->momentum) &&
                 move(variance, hone_affine(hone__output(y, 2), count / (count - 1), 0), l->momentum);
    return moved ? y : NULL;
}

static hone_node *group_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    channel_norm *l = (channel_norm *)(void *)self;
    hone_node *gain, *bias;
    (void)n;
    if (!affine(l, graph, in[0], &gain, &bias)) return NULL;
    return l->groups ? hone_group_norm(in[0], l->groups, gain, bias, l->epsilon) : hone_instance_norm(in[0], gain, bias, l->epsilon);
}

double *hone__batch_norm_momentum(hone_layer *layer)
{
    return layer->forward == batch_forward ? &((channel_norm *)(void *)layer)->momentum : NULL;
}

bool hone__has_batch_norm(const hone_layer *layer)
{
    bool has = layer->forward == batch_forward;
    for (size_t i = 0; i < layer->n_children && !has; i++) has = hone__has_batch_norm(layer->children[i]);
    return has;
}

static channel_norm *new_norm(hone_ctx *ctx, const char *type, hone_layer_fn forward, double epsilon, bool no_affine)
{
    channel_norm *l = (channel_norm *)(void *)hone_layer_new(ctx, sizeof *l, type, forward);
    if (!l) return NULL;
    l->base.keeps_lengths = true;
    l->epsilon = epsilon > 0 ? epsilon : 1e-5;
    l->no_affine = no_affine;
    return l;
}

hone_layer *hone_batch_norm_layer_opt(hone_ctx *ctx, const hone_batch_norm_opts *opts)
{
    hone_batch_norm_opts o = {0};
    if (opts) o = *opts;
    double momentum = o.momentum == 0 ? 0.1 : o.momentum == (double)HONE_ZERO ? 0 : o.momentum;
    if (!hone__ok(ctx)) return NULL;
    if (!(momentum >= 0 && momentum <= 1)) {
        hone__fail(ctx, HONE_INVALID, "batch_norm: momentum must be in [0, 1], not %g", momentum);
        return NULL;
    }
    channel_norm *l = new_norm(ctx, "batch_norm", batch_forward, o.epsilon, o.no_affine);
    if (l) l->momentum = momentum;
    return l ? &l->base : NULL;
}

hone_layer *hone_group_norm_layer_opt(hone_ctx *ctx, int64_t groups, const hone_group_norm_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    if (groups < 1) {
        hone__fail(ctx, HONE_INVALID, "group_norm: groups must be at least 1, not %lld", (long long)groups);
        return NULL;
    }
    channel_norm *l = new_norm(ctx, "group_norm", group_forward, opts ? opts->epsilon : 0, opts && opts->no_affine);
    if (l) l->groups = groups;
    return l ? &l->base : NULL;
}

hone_layer *hone_instance_norm_layer_opt(hone_ctx *ctx, const hone_group_norm_opts *opts)
{
    channel_norm *l = new_norm(ctx, "instance_norm", group_forward, opts ? opts->epsilon : 0, opts && opts->no_affine);
    return l ? &l->base : NULL;
}

static hone_layer *again(hone_ctx *ctx, const hone_layer *like)
{
    const channel_norm *l = (const channel_norm *)(const void *)like;
    hone_group_norm_opts opts = {.struct_size = sizeof opts, .epsilon = l->epsilon, .no_affine = l->no_affine};
    if (!strcmp(like->type, "group_norm")) return hone_group_norm_layer_opt(ctx, l->groups, &opts);
    if (!strcmp(like->type, "instance_norm")) return hone_instance_norm_layer_opt(ctx, &opts);
    return hone_batch_norm_layer(ctx, .epsilon = l->epsilon, .momentum = l->momentum, .no_affine = l->no_affine);
}
static const hone__field batch_fields[] = {HONE__FIELD(channel_norm, "epsilon", epsilon, F64),
                                           HONE__FIELD(channel_norm, "momentum", momentum, F64_ZERO),
                                           HONE__FIELD(channel_norm, "no_affine", no_affine, BOOL), {0}};
static const hone__field group_fields[] = {HONE__FIELD(channel_norm, "groups", groups, I64), HONE__FIELD(channel_norm, "epsilon", epsilon, F64),
                                           HONE__FIELD(channel_norm, "no_affine", no_affine, BOOL), {0}};
const hone__layer_kind hone__batch_norm_kind = {"batch_norm", batch_forward, sizeof(channel_norm), batch_fields, again};
const hone__layer_kind hone__group_norm_kind = {"group_norm", group_forward, sizeof(channel_norm), group_fields, again};
const hone__layer_kind hone__instance_norm_kind = {"instance_norm", group_forward, sizeof(channel_norm), group_fields, again};
