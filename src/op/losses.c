/* The usual losses, recorded as ordinary ops around the fused ones. */
#include "op/nn.h"

static hone_node *reduce(hone_node *losses, hone_reduction reduction)
{
    if (!losses) return NULL;
    switch (reduction) {
    case HONE_REDUCE_MEAN: return hone_mean(losses, HONE_ALL_AXES, false);
    case HONE_REDUCE_SUM: return hone_sum(losses, HONE_ALL_AXES, false);
    case HONE_REDUCE_NONE: return losses;
    }
    hone__fail(losses->call->graph->ctx, HONE_INVALID, "loss: reduction %d does not exist", (int)reduction);
    return NULL;
}

/* mean: over the rows that count, as PyTorch divides; 0 / 0 where none does. counted: 1, the row's weight, or
   0. */
static hone_node *reduce_counted(hone_node *losses, hone_node *counted, hone_reduction reduction)
{
    if (!losses || !counted || reduction != HONE_REDUCE_MEAN) return reduce(losses, reduction);
    return hone_div(hone_sum(losses, HONE_ALL_AXES, false), hone_sum(counted, HONE_ALL_AXES, false));
}

hone_node *hone_mse_loss(hone_node *prediction, hone_node *target, hone_reduction reduction)
{
    return reduce(hone_square(hone_sub(prediction, target)), reduction);
}

hone_node *hone_binary_cross_entropy_loss(hone_node *p, hone_node *t, hone_reduction reduction)
{
    return reduce(hone_binary_cross_entropy(p, t), reduction);
}

hone_node *hone_binary_cross_entropy_with_logits_loss(hone_node *x, hone_node *t, hone_reduction reduction)
{
    return reduce(hone_binary_cross_entropy_with_logits(x, t), reduction);
}

hone_node *hone_cross_entropy_loss(hone_node *logits, hone_node *targets, hone_node *weights,
                                   hone_reduction reduction)
{
    hone_node *losses = hone_softmax_cross_entropy(logits, targets, weights);
    return reduce_counted(losses, hone__output(losses, 2), reduction);
}

hone_node *hone_categorical_cross_entropy(hone_node *p, hone_node *t)
{
    return hone_sum(hone__log_loss(p, t), HONE_AXES(-1), false);
}

hone_node *hone_categorical_cross_entropy_with_logits(hone_node *x, hone_node *t)
{
    return hone_neg(hone_sum(hone_mul(t, hone_log_softmax(x)), HONE_AXES(-1), false));
}

hone_node *hone_sparse_categorical_cross_entropy(hone_node *p, hone_node *targets)
{
    hone_node *picked = hone__pick(p, targets, 1); /* rows that do not count: log 1 = 0 */
    return picked ? hone__log_loss(picked, hone_fill(p->call->graph, picked->dtype, picked->shape, 1)) : NULL;
}

hone_node *hone_categorical_cross_entropy_loss(hone_node *p, hone_node *t, hone_reduction reduction)
{
    return reduce(hone_categorical_cross_entropy(p, t), reduction);
}

hone_node *hone_categorical_cross_entropy_with_logits_loss(hone_node *x, hone_node *t,
                                                           hone_reduction reduction)
{
    return reduce(hone_categorical_cross_entropy_with_logits(x, t), reduction);
}

hone_node *hone_sparse_categorical_cross_entropy_loss(hone_node *p, hone_node *targets,
                                                      hone_reduction reduction)
{
    hone_node *losses = hone_sparse_categorical_cross_entropy(p, targets);
    if (!losses || reduction != HONE_REDUCE_MEAN) return reduce(losses, reduction);
    hone_node *zero = hone_fill(p->call->graph, targets->dtype, HONE_SCALAR, 0);
    return reduce_counted(losses, hone_cast(hone_greater_equal(targets, zero), p->dtype), reduction);
}
