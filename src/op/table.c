#include "op/op.h"

const hone_op *const hone__ops[] = {
#define HONE_OP(name) &hone__op_##name,
#include "op/ops.def"
#undef HONE_OP
    NULL,
};
