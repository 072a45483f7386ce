/* Datasets, for the loader. */
#ifndef HONE_SRC_DATASET_H
#define HONE_SRC_DATASET_H

#include "data/data.h"

#include <stdatomic.h>

/* Pictures that were decoded before, so that an epoch after the first one reads no file. Row r of n pixels lies at r * n: as bytes,
   when these say it exactly, or, when it was resized, as floats. Nothing is touched before it is needed. */
typedef struct hone__kept {
    uint8_t *bytes;
    float *floats;
    int64_t n_bytes, n_floats; /* the first rows of the dataset, for which there is room */
    atomic_uchar *state;       /* [rows]; NULL: nothing is kept */
} hone__kept;

struct hone_dataset {
    hone_ctx *ctx;
    hone__arena arena; /* names */
    int64_t rows;
    hone_dtype x_dtype, y_dtype; /* of one example, as their shapes */
    hone_shape x_shape, y_shape;
    hone_read_fn read;
    void *user;
    const hone_tensor *x, *y; /* of tensors: borrowed */
    char **files;             /* of pictures: [rows] */
    int32_t *labels;
    char **classes;
    size_t n_classes;
    hone__kept kept;
};

#endif
