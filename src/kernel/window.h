/* Windows that slide over up to three spatial axes: what convolution and pooling have in common. */
#ifndef HONE_SRC_WINDOW_H
#define HONE_SRC_WINDOW_H

#include <stdint.h>

/* Always three axes (depth, height, width); of fewer the last ones are used and the others have length 1. Output o sees the
   inputs o stride - before + k dilation, k in [0, kernel), as far as they exist. */
typedef struct hone__window {
    int axes; /* 1 to 3: how many the user has */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3], after[3];
} hone__window;

static inline int64_t hone__volume(const int64_t size[3]) { return size[0] * size[1] * size[2]; }

/* How many inputs a window spans along an axis. */
static inline int64_t hone__window_reach(const hone__window *w, int axis) { return w->dilation[axis] * (w->kernel[axis] - 1) + 1; }

/* The taps [*low, *high) of output o along an axis that lie inside the input; high <= low: none. */
static inline void hone__window_taps(const hone__window *w, int axis, int64_t o, int64_t *low, int64_t *high)
{
    int64_t first = o * w->stride[axis] - w->before[axis], d = w->dilation[axis];
    *low = first < 0 ? (-first + d - 1) / d : 0;
    *high = first >= w->in[axis] ? 0 : (w->in[axis] - first + d - 1) / d;
    if (*high > w->kernel[axis]) *high = w->kernel[axis];
}

/* Steps at[] to the next position in row-major order. */
static inline void hone__next_position(int64_t at[3], const int64_t size[3])
{
    for (int a = 2; a >= 0; a--) {
        if (++at[a] < size[a]) return;
        at[a] = 0;
    }
}
static inline void hone__position(int64_t index, const int64_t size[3], int64_t at[3])
{
    at[2] = index % size[2];
    at[1] = index / size[2] % size[1];
    at[0] = index / size[2] / size[1];
}

#endif
