/* Rotary position embedding (Su et al., "RoFormer", 2021): pairs of values turned by position * frequency. */
#include "kernel/ref/kernel.h"

#define PI 3.141592653589793

/* Whole turns are taken off in double, so that positions of a hundred thousand keep their angle to the last
   bit of a float; the rest are Cephes' polynomials for sinf and cosf on [-pi/4, pi/4]. */
static void angles(real *c, real *s, double position, const double *turns, int64_t n)
{
#ifdef HONE_DOUBLE
    for (int64_t i = 0; i < n; i++) {
        double u = position * turns[i];
        u -= nearbyint(u);
        c[i] = cos(2 * PI * u);
        s[i] = sin(2 * PI * u);
    }
#else
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to the nearest integer */
    SIMD for (int64_t i = 0; i < n; i++)
    {
        double u = position * turns[i];
        u = 4 * (u - ((u + magic) - magic));
        double quarter = (u + magic) - magic;
        int32_t k = (int32_t)quarter;
        float f = (float)((u - quarter) * (PI / 2)), z = f * f;
        float sine = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * f + f;
        float cosine =
            ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z -
            0.5f * z + 1.0f;
        float a = k & 1 ? cosine : sine, b = k & 1 ? sine : cosine;
        s[i] = k & 2 ? -a : a;
        c[i] = (k + 1) & 2 ? -b : b;
    }
#endif
}

/* One token: x has heads `head_stride` apart, values sx apart; y is dense. The first `rotary` of a head's d values
   (d <= CHUNK) are turned, the rest copied. Pairs are (i, i + rotary / 2), or (2 i, 2 i + 1) when interleaved.
   turns[rotary / 2]: how many full turns a step of one position is. inverse turns back: the gradient. */
void HONE_K(rope)(void *y, hone_dtype yt, const void *x, hone_dtype xt, int64_t head_stride, int64_t sx,
                  int64_t heads, int64_t d, int64_t rotary, double position, const double *turns,
                  bool interleaved, bool inverse)
{
    real c[CHUNK / 2], s[CHUNK / 2], xs[CHUNK], ys[CHUNK];
    int64_t half = rotary / 2;
    angles(c, s, inverse ? -position : position, turns, half);
    for (int64_t h = 0; h < heads; h++) {
        const real *u = xs;
        if (sx == 1)
            u = load(x, xt, h * head_stride, xs, d);
        else
            for (int64_t i = 0; i < d; i++) xs[i] = *load(x, xt, h * head_stride + i * sx, &xs[i], 1);
        real *to = stage(y, yt, h * d, ys);
        if (interleaved) {
            SIMD for (int64_t i = 0; i < half; i++)
            {
                real a = u[2 * i], b = u[2 * i + 1];
                to[2 * i] = a * c[i] - b * s[i];
                to[2 * i + 1] = b * c[i] + a * s[i];
            }
        } else {
            SIMD for (int64_t i = 0; i < half; i++)
            {
                real a = u[i], b = u[i + half];
                to[i] = a * c[i] - b * s[i];
                to[i + half] = b * c[i] + a * s[i];
            }
        }
        for (int64_t i = rotary; i < d; i++) to[i] = u[i];
        store(y, yt, h * d, to, d);
    }
}
