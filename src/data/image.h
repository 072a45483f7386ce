/* Pictures as f32 [channels, height, width], within the data room. */
#ifndef HONE_SRC_IMAGE_H
#define HONE_SRC_IMAGE_H

#include "data/data.h"

enum { HONE__IMAGE_SIDE = 1 << 15, HONE__IMAGE_PIXELS = 1 << 28 }; /* at most; a mistake or malice beyond */

/* PNG or JPEG to values in [0, 1], resized where height or width is not 0 and not the file's. *pixels: hone__free it.
   false: the error sticks. */
bool hone__image_decode(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int channels, int64_t height,
                        int64_t width, float **pixels, hone_shape *shape);
bool hone__image_opts_ok(hone_ctx *ctx, const hone_image_opts *opts);
/* Bilinear, with a filter as wide as a pixel of the smaller picture (Pillow's BILINEAR, PyTorch's antialias=True); false:
   memory ran out. from and to are [channels, height, width], of as many channels. */
bool hone__resize(hone_ctx *ctx, const float *x, hone_shape from, float *y, hone_shape to);

#endif
