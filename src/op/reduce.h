/* Reductions over any axes of any strides: what sum, mean, max, min and reduce_to share. */
#ifndef HONE_SRC_REDUCE_H
#define HONE_SRC_REDUCE_H

#include "op/op.h"

/* x's axes with their bit in `gone` are reduced into output 0 and multiplied by scale. Honours
   e->accumulate. */
void hone__reduce_run(hone__exec *e, hone__reduce kind, unsigned gone, double scale);
/* The scratch that it needs. */
size_t hone__reduce_scratch(const hone__view *x, unsigned gone);

#endif
