/* What the files that save models share: JSON. */
#ifndef HONE_SRC_TRAIN_SAVE_H
#define HONE_SRC_TRAIN_SAVE_H

#include "train/train.h"

#include <jansson.h>

/* A new reference; NULL: a number is not finite, a name not UTF-8, or memory ran out. */
json_t *hone__optimizer_to_json(const hone_optimizer *optimizer);
/* Untrusted. NULL: sticky, UNSUPPORTED for a rule that there is not, else as of the constructor. */
hone_optimizer *hone__optimizer_from_json(hone_ctx *ctx, const char *path, const json_t *json);

#endif
