/* Mixup and CutMix, for the loader. */
#ifndef HONE_SRC_MIX_H
#define HONE_SRC_MIX_H

#include "data/data.h"

/* Mixes example i and B - 1 - i of x [B, ...] and y [B, classes], both f32, in place: by mixup where its parameter is above 0, by
   cutmix (x [B, channels, height, width]) likewise, by one of them where both are. */
void hone__mix(hone_tensor *x, hone_tensor *y, double mixup, double cutmix, uint64_t key);

#endif
