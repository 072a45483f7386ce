/* An embedding is a gather of rows; its gradient a scatter, which adds straight into the weight's slot
   (gather.c). */
#include "op/op.h"

hone_node *hone_embedding(hone_node *weight, hone_node *ids)
{
    if (!weight || !ids) return NULL;
    if (weight->shape.rank != 2) {
        hone__fail(weight->call->graph->ctx, HONE_SHAPE, "embedding: the weight must be [V, D], not %s",
                   HONE__SHAPE_STR(weight->shape));
        return NULL;
    }
    return hone_gather(weight, ids, 0);
}
