/* Hone: everything. The rooms one by one, in the order in which they are best read: */
#ifndef HONE_HONE_H
#define HONE_HONE_H

#include "hone/base.h"
#include "hone/tensor.h"
#include "hone/graph.h"
#include "hone/op.h"
#include "hone/nn.h"
#include "hone/optim.h"
#include "hone/data.h"
#include "hone/io.h"
#include "hone/metrics.h"
#include "hone/train.h"
#include "hone/llm.h"

#endif
