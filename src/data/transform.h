/* Transforms of one example: the table in transform.c, what they do in transform_image.c and transform_other.c. */
#ifndef HONE_SRC_TRANSFORM_H
#define HONE_SRC_TRANSFORM_H

#include "data/data.h"

/* Random numbers one after the other: the n-th of a key. */
typedef struct hone__draws {
    uint64_t key, n;
} hone__draws;
double hone__draw(hone__draws *d); /* in [0, 1) */
static inline double hone__draw_between(hone__draws *d, double low, double high) { return low + (high - low) * hone__draw(d); }
int64_t hone__draw_below(hone__draws *d, int64_t bound); /* in [0, bound); bound > 0 */

/* One transform at work: from x to y, which do not overlap. */
typedef struct hone__transforming {
    hone_ctx *ctx; /* the thread's */
    const hone_transform *t;
    hone_shape from, to;
    const float *x; /* i32 for tokens */
    float *y;
    hone__draws draws;
} hone__transforming;
/* false: memory ran out. */
typedef bool (*hone__transform_fn)(hone__transforming *w);

bool hone__flip_horizontal(hone__transforming *w);
bool hone__flip_vertical(hone__transforming *w);
bool hone__random_crop(hone__transforming *w);
bool hone__center_crop(hone__transforming *w);
bool hone__transform_resize(hone__transforming *w);
bool hone__random_affine(hone__transforming *w);
bool hone__color_jitter(hone__transforming *w);
bool hone__random_erasing(hone__transforming *w);
bool hone__gaussian_noise(hone__transforming *w);
bool hone__normalize(hone__transforming *w);
bool hone__stretch(hone__transforming *w);
bool hone__spec_augment(hone__transforming *w);
bool hone__word_dropout(hone__transforming *w);
bool hone__word_swap(hone__transforming *w);

/* y at (i, j) is x at matrix * (j, i, 1), counted from the middle, bilinear, zeros beyond; [channels, height, width] both. */
void hone__affine(const float *x, hone_shape shape, const double matrix[6], float *y);

/* Checks a list for an example; *shape becomes that of the result, *most the elements of the largest shape between. OK, or an
   error of a run. */
hone_status hone__transforms_check(hone_ctx *ctx, const hone_transform *list, size_t n, hone_dtype dtype, hone_shape *shape,
                                   int64_t *most);
/* Applies a checked list to x; the result lies in one of the two rooms, of `most` elements each, or is x. NULL: memory ran out. */
const float *hone__transforms_run(hone_ctx *ctx, const hone_transform *list, size_t n, hone_shape shape, const float *x,
                                  float *rooms[2], uint64_t key);

#endif
