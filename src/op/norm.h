/* What layer norm and RMS norm share. */
#ifndef HONE_SRC_OP_NORM_H
#define HONE_SRC_OP_NORM_H

#include "op/nn.h"

struct norm_attr {
    double eps;
};
extern const hone__attr hone__norm_attrs[];

/* All rows of a: forward. */
void hone__norm_run(hone__exec *e, hone__norm *a);

/* Backward: outputs 0, 1, 2 are dgain, dx, dbias (layer norm alone), and one more is dx in bf16 (HONE__AGAIN); the last input, if
   it is there, is added to dx. dgain honours e->accumulate. */
hone_status hone__norm_grad_prepare(hone__exec *e, hone_shape x);
void hone__norm_grad_run(hone__exec *e, hone__norm *a);

#endif
