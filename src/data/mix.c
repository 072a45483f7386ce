/* Two examples of a batch become one: Mixup (Zhang et al. 2017, arXiv:1710.09412), CutMix (Yun et al. 2019, arXiv:1905.04899). */
#include "data/mix.h"
#include "data/transform.h"

#include <math.h>

static double normal(hone__draws *d)
{
    double u = 1 - hone__draw(d), v = hone__draw(d);
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

/* Marsaglia & Tsang, "A simple method for generating gamma variables", 2000; below 1 by their section 6. */
static double gamma_draw(hone__draws *d, double shape)
{
    double boost = shape < 1 ? pow(1 - hone__draw(d), 1 / shape) : 1, a = (shape < 1 ? shape + 1 : shape) - 1.0 / 3;
    for (;;) {
        double n = normal(d), v = 1 + n / sqrt(9 * a);
        if (v <= 0) continue;
        v = v * v * v;
        if (log(1 - hone__draw(d)) < 0.5 * n * n + a - a * v + a * log(v)) return a * v * boost;
    }
}

static double beta_draw(hone__draws *d, double parameter)
{
    double a = gamma_draw(d, parameter), b = gamma_draw(d, parameter);
    return a + b > 0 ? a / (a + b) : 0.5; /* both underflow when the parameter is tiny */
}

/* Both rows become their share of themselves and the rest of the other. */
static void blend(float *a, float *b, int64_t n, double share)
{
    for (int64_t i = 0; i < n; i++) {
        double p = a[i], q = b[i];
        a[i] = (float)(share * p + (1 - share) * q);
        b[i] = (float)(share * q + (1 - share) * p);
    }
}

void hone__mix(hone_tensor *x, hone_tensor *y, double mixup, double cutmix, uint64_t key)
{
    hone__draws d = {.key = key};
    int64_t rows = x->shape.dim[0], classes = y->shape.dim[1];
    if (rows < 2) return;
    int64_t size = hone_shape_count(x->shape) / rows;
    bool cut = cutmix > 0 && (!(mixup > 0) || hone__draw(&d) < 0.5);
    double share = beta_draw(&d, cut ? cutmix : mixup);
    int64_t top = 0, left = 0, bottom = 0, right = 0, h = 0, w = 0;
    if (cut) {
        h = x->shape.dim[2], w = x->shape.dim[3];
        double half = sqrt(1 - share) / 2, i = hone__draw(&d) * (double)h, j = hone__draw(&d) * (double)w;
        top = HONE_MAX((int64_t)(i - half * (double)h), 0), bottom = HONE_MIN((int64_t)(i + half * (double)h), h);
        left = HONE_MAX((int64_t)(j - half * (double)w), 0), right = HONE_MIN((int64_t)(j + half * (double)w), w);
        share = 1 - (double)((bottom - top) * (right - left)) / (double)HONE_MAX(h * w, 1);
    }
    for (int64_t i = 0; 2 * i < rows - 1; i++) {
        float *a = (float *)x->data + i * size, *b = (float *)x->data + (rows - 1 - i) * size;
        if (!cut) blend(a, b, size, share);
        for (int64_t c = 0; cut && c < x->shape.dim[1]; c++)
            for (int64_t r = top; r < bottom; r++)
                for (int64_t k = left; k < right; k++) {
                    int64_t at = (c * h + r) * w + k;
                    float kept = a[at];
                    a[at] = b[at];
                    b[at] = kept;
                }
        blend((float *)y->data + i * classes, (float *)y->data + (rows - 1 - i) * classes, classes, share);
    }
}
