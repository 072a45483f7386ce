/* Datasets, for the loader. */
#ifndef HONE_SRC_DATASET_H
#define HONE_SRC_DATASET_H

#include "data/data.h"

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
};

#endif
