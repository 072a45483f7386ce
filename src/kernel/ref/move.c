#include "kernel/ref/kernel.h"

/* Elements that are only moved: by their size, whatever they mean. */
typedef uint64_t any8 __attribute__((may_alias));
typedef uint32_t any4 __attribute__((may_alias));
typedef uint16_t any2 __attribute__((may_alias));

#define MOVE(type)                                                 \
    do {                                                           \
        type *to = y;                                              \
        const type *from = x;                                      \
        for (int64_t i = 0; i < n; i++) to[i * sy] = from[i * sx]; \
    } while (0)

/* y[i sy] = x[i sx]. Of one type, any; or of two float types that the table's copy knows. */
void HONE_K(move)(void *y, hone_dtype yt, int64_t sy, const void *x, hone_dtype xt, int64_t sx, int64_t n)
{
    int ysize = hone__dtypes[yt].bytes, xsize = hone__dtypes[xt].bytes;
    if (yt != xt) {
        if (sy == 1) {
            HONE_K(copy)(y, yt, x, xt, sx, n);
            return;
        }
        for (int64_t i = 0; i < n; i++)
            HONE_K(copy)((char *)y + i * sy * ysize, yt, (const char *)x + i * sx * xsize, xt, 1, 1);
    } else if (sy == 1 && sx == 1) {
        memcpy(y, x, (size_t)n * (size_t)ysize);
    } else if (ysize == 8) {
        MOVE(any8);
    } else if (ysize == 4) {
        MOVE(any4);
    } else if (ysize == 2) {
        MOVE(any2);
    } else {
        MOVE(uint8_t);
    }
}

#define WHERE(type)                                                                \
    do {                                                                           \
        type *to = y;                                                              \
        const type *u = a, *w = b;                                                 \
        for (int64_t i = 0; i < n; i++) to[i] = c[i * sc] ? u[i * sa] : w[i * sb]; \
    } while (0)

void HONE_K(where)(void *y, hone_dtype t, const uint8_t *c, int64_t sc, const void *a, int64_t sa,
                   const void *b, int64_t sb, int64_t n)
{
    int size = hone__dtypes[t].bytes;
    if (size == 8)
        WHERE(any8);
    else if (size == 4)
        WHERE(any4);
    else if (size == 2)
        WHERE(any2);
    else
        WHERE(uint8_t);
}
