/* Pictures to other sizes: separable, first along rows, then along columns. */
#include "data/image.h"

#include <math.h>

/* The weights of one output pixel: `n` inputs from `first` on. */
typedef struct taps {
    int64_t first, n;
} taps;

/* A triangle of half-width max(scale, 1) around the output pixel's centre; scale = from / to, in input pixels. */
static double half_width(int64_t from, int64_t to) { return HONE_MAX((double)from / (double)to, 1.0); }

static taps weights_of(int64_t i, int64_t from, int64_t to, double *weights)
{
    double scale = (double)from / (double)to, half = half_width(from, to), centre = ((double)i + 0.5) * scale, sum = 0;
    int64_t first = HONE_MAX((int64_t)(centre - half + 0.5), 0), end = HONE_MIN((int64_t)(centre + half + 0.5), from);
    for (int64_t k = first; k < end; k++) {
        double away = fabs((double)k + 0.5 - centre) / half;
        sum += weights[k - first] = away < 1 ? 1 - away : 0;
    }
    for (int64_t k = first; k < end; k++) weights[k - first] /= sum;
    return (taps){first, end - first};
}

bool hone__resize(hone_ctx *ctx, const float *x, hone_shape from, float *y, hone_shape to)
{
    int64_t channels = from.dim[0], h = from.dim[1], w = from.dim[2], H = to.dim[1], W = to.dim[2];
    size_t most = (size_t)(2 * HONE_MAX(half_width(h, H), half_width(w, W)) + 3);
    double *weights = hone__calloc(ctx, most, sizeof *weights);
    float *rows = weights ? hone__calloc(ctx, (size_t)(channels * h), (size_t)W * sizeof *rows) : NULL; /* [channels, h, W] */
    for (int64_t j = 0; rows && j < W; j++) {
        taps t = weights_of(j, w, W, weights);
        for (int64_t r = 0; r < channels * h; r++) {
            double sum = 0;
            for (int64_t k = 0; k < t.n; k++) sum += weights[k] * x[r * w + t.first + k];
            rows[r * W + j] = (float)sum;
        }
    }
    for (int64_t i = 0; rows && i < H; i++) {
        taps t = weights_of(i, h, H, weights);
        for (int64_t c = 0; c < channels; c++)
            for (int64_t j = 0; j < W; j++) {
                double sum = 0;
                for (int64_t k = 0; k < t.n; k++) sum += weights[k] * rows[(c * h + t.first + k) * W + j];
                y[(c * H + i) * W + j] = (float)sum;
            }
    }
    bool ok = rows != NULL;
    hone__free(ctx, rows);
    hone__free(ctx, weights);
    return ok;
}
