/* The gradient of a convolution's weights in bf16 by AMX: for every tap, dw[c][o] = the sum over outputs of x[output + tap][c]
   dy[output][o]. An image's outputs are numbered row by row, `pitch` a row, so that of a tap's inputs the next output's is the
   next one: what differs between taps is where they begin. With a stride that holds in each of the image's phases, the inputs
   whose row and column leave the same rest; rows and columns of inputs are those of a phase. */
#ifndef HONE_SRC_X86_CONV_WEIGHTS_H
#define HONE_SRC_X86_CONV_WEIGHTS_H

#include "tensor/tensor.h"

/* Steps of 32 outputs that are multiplied at once: what of both operands the first cache holds. */
#define HONE__CONV_CHUNK 12

/* x laid out for a phase and a column of taps: 16 channels by 16 channels, each with its inputs one behind the other. The first
   plane of a phase has them as they are, those behind it moved by a tap's column, with zeros where that leaves the row. */
typedef struct hone__conv_plane {
    const int32_t *from;  /* of the first: where in an image each input's channels begin, -1: it is 0. Else NULL */
    const uint32_t *keep; /* of the others: of each 32 inputs those that are there */
    int64_t shift;        /* ... and by how many inputs, no more than HONE__CONV_SHIFT */
} hone__conv_plane;
#define HONE__CONV_SHIFT 32

/* 16 channels of x at a tap: 16 rows of the tiles' left operand. */
typedef struct hone__conv_row {
    int64_t at;     /* where the first output's input lies in an image's planes, bytes */
    int64_t result; /* where the first channel's gradient lies in dw */
    int64_t left;   /* channels from here on */
} hone__conv_row;

typedef struct hone__conv_sums {
    int64_t c, o, x_image, y_image; /* channels of x and y; elements of an image */
    int64_t taps, n_planes, n_rows;
    const hone__conv_plane *planes;
    const hone__conv_row *rows; /* by columns of taps, then channels, then rows of taps: neighbours share inputs */
    const int32_t *y_from; /* of each output: where its channels begin, -1: it is 0 */
    int64_t blocks, steps; /* of 32 inputs of a phase, and of 32 outputs of an image */
    int64_t images;        /* that are multiplied at once: of small ones several */
    int64_t lead, channel; /* bytes: of a channel in a plane, before its first input and in all */
    size_t left, right, sums; /* bytes of the parts of scratch, each a multiple of 64 */
    bool bias;
} hone__conv_sums;

/* Bytes of scratch of a part of the batch. */
static inline size_t hone__conv_sums_bytes(const hone__conv_sums *s) { return s->left + s->right + s->sums; }

/* Sums over n >= 1 images, left in scratch (hone__conv_sums_bytes, aligned to 64). */
void hone__conv_sums_amx(const hone__conv_sums *s, const uint16_t *x, const uint16_t *y, int64_t n, char *scratch);
/* dw, and the bias's gradient, of the 16 channels each of y [begin, end): sums of the parts of scratch, one after the other. */
void hone__conv_sums_finish_amx(const hone__conv_sums *s, const char *scratch, int64_t parts, int64_t begin, int64_t end, float *dw,
                                float *dbias);

#endif

