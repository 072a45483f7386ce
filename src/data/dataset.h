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

enum { HONE__MOST_PARTS = 16 }; /* inputs, and as many targets */

/* What an example has, inputs before targets. */
typedef struct hone__part {
    hone_dtype dtype; /* of one example, as its shape */
    hone_shape shape;
    const hone_tensor *tensor; /* of tensors: borrowed */
} hone__part;

struct hone_dataset {
    hone_ctx *ctx;
    hone__arena arena; /* names */
    int64_t rows;
    int n_x, n_parts;
    hone__part parts[2 * HONE__MOST_PARTS]; /* parts[n_x] is the first target */
    hone_read_many_fn read;
    void *user;
    hone_read_fn read_one; /* a user's, with user_of_one; NULL: another dataset */
    void *user_of_one;
    char **files;             /* of pictures: [rows] */
    int32_t *labels;
    char **classes;
    size_t n_classes;
    hone__kept kept;
};

#endif
