/* What transforms do to pictures [channels, height, width]. */
#include "data/image.h"
#include "data/transform.h"

#include <math.h>

typedef hone__transforming work;

bool hone__flip_horizontal(work *w)
{
    int64_t width = w->from.dim[2], rows = w->from.dim[0] * w->from.dim[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++) w->y[r * width + j] = w->x[r * width + width - 1 - j];
    return true;
}

bool hone__flip_vertical(work *w)
{
    int64_t h = w->from.dim[1], width = w->from.dim[2];
    for (int64_t c = 0; c < w->from.dim[0]; c++)
        for (int64_t i = 0; i < h; i++)
            memcpy(w->y + (c * h + i) * width, w->x + (c * h + h - 1 - i) * width, (size_t)width * sizeof *w->y);
    return true;
}

/* The part of w->to's size whose corner is at (top, left); zeros where there is no picture. */
static void cut(work *w, int64_t top, int64_t left)
{
    int64_t h = w->from.dim[1], width = w->from.dim[2], H = w->to.dim[1], W = w->to.dim[2];
    int64_t first = HONE_MIN(HONE_MAX(-left, 0), W), end = HONE_MAX(HONE_MIN(width - left, W), first); /* columns with picture */
    for (int64_t c = 0; c < w->from.dim[0]; c++)
        for (int64_t i = 0; i < H; i++) {
            float *y = w->y + (c * H + i) * W;
            bool in = top + i >= 0 && top + i < h && first < end;
            memset(y, 0, (size_t)W * sizeof *y);
            if (in) memcpy(y + first, w->x + (c * h + top + i) * width + left + first, (size_t)(end - first) * sizeof *y);
        }
}

bool hone__random_crop(work *w)
{
    int64_t p = w->t->padding, top = hone__draw_below(&w->draws, w->from.dim[1] + 2 * p - w->to.dim[1] + 1),
            left = hone__draw_below(&w->draws, w->from.dim[2] + 2 * p - w->to.dim[2] + 1);
    cut(w, top - p, left - p);
    return true;
}

bool hone__center_crop(work *w)
{
    cut(w, (w->from.dim[1] - w->to.dim[1]) / 2, (w->from.dim[2] - w->to.dim[2]) / 2);
    return true;
}

bool hone__transform_resize(work *w) { return hone__resize(w->ctx, w->x, w->from, w->y, w->to); }

/* ---- rotation and its kin ---- */

static double pixel(const float *x, int64_t h, int64_t w, int64_t i, int64_t j)
{
    return i >= 0 && i < h && j >= 0 && j < w ? x[i * w + j] : 0;
}

void hone__affine(const float *x, hone_shape shape, const double m[6], float *y)
{
    int64_t h = shape.dim[1], w = shape.dim[2];
    double mid_i = (double)(h - 1) / 2, mid_j = (double)(w - 1) / 2;
    for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j++) {
            double dj = (double)j - mid_j, di = (double)i - mid_i;
            double at_j = m[0] * dj + m[1] * di + m[2] + mid_j, at_i = m[3] * dj + m[4] * di + m[5] + mid_i;
            /* far outside everything is zero, and the numbers might not fit an integer */
            bool near = at_j > -1 && at_j < (double)w && at_i > -1 && at_i < (double)h;
            int64_t left = near ? (int64_t)floor(at_j) : -2, top = near ? (int64_t)floor(at_i) : -2;
            double right = near ? at_j - floor(at_j) : 0, down = near ? at_i - floor(at_i) : 0;
            for (int64_t c = 0; c < shape.dim[0]; c++) {
                const float *plane = x + c * h * w;
                double above = pixel(plane, h, w, top, left) * (1 - right) + pixel(plane, h, w, top, left + 1) * right;
                double below = pixel(plane, h, w, top + 1, left) * (1 - right) + pixel(plane, h, w, top + 1, left + 1) * right;
                y[(c * h + i) * w + j] = (float)(above * (1 - down) + below * down);
            }
        }
}

bool hone__random_affine(work *w)
{
    const double radian = 3.14159265358979323846 / 180;
    const hone_transform *t = w->t;
    double angle = hone__draw_between(&w->draws, -t->degrees, t->degrees) * radian;
    double scale = 1, shear = 0, move_j = 0, move_i = 0;
    if (t->kind == HONE_RANDOM_AFFINE) {
        scale = hone__draw_between(&w->draws, t->low, t->high);
        shear = tan(hone__draw_between(&w->draws, -t->shear, t->shear) * radian);
        move_j = hone__draw_between(&w->draws, -t->translate, t->translate) * (double)w->from.dim[2];
        move_i = hone__draw_between(&w->draws, -t->translate, t->translate) * (double)w->from.dim[1];
    }
    /* Forward, with i downwards: p' = scale R S p + move, R = [c s; -s c], S = [1 shear; 0 1]. What is needed is p of p':
       S^-1 R^-1 (p' - move) / scale. */
    double c = cos(angle) / scale, s = sin(angle) / scale;
    double m[6] = {c - shear * s, -s - shear * c, 0, s, c, 0};
    m[2] = -(m[0] * move_j + m[1] * move_i);
    m[5] = -(m[3] * move_j + m[4] * move_i);
    hone__affine(w->x, w->from, m, w->y);
    return true;
}

/* ---- colours ---- */

static double clamp(double v) { return v < 0 ? 0 : v > 1 ? 1 : v; }
static double grey_of(const double p[3]) { return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]; } /* ITU-R BT.601 */

/* Turns the hue of a colour by a share of the circle (A. R. Smith, "Color gamut transform pairs", SIGGRAPH 1978). */
static void turn_hue(double p[3], double turn)
{
    double most = fmax(p[0], fmax(p[1], p[2])), least = fmin(p[0], fmin(p[1], p[2])), range = most - least;
    if (!(range > 0)) return;
    double hue = most == p[0] ? (p[1] - p[2]) / range : most == p[1] ? 2 + (p[2] - p[0]) / range : 4 + (p[0] - p[1]) / range;
    hue = hue / 6 + turn;
    hue = (hue - floor(hue)) * 6;
    for (int k = 0; k < 3; k++) { /* a channel falls off with its distance from its own hue: 0, 2 and 4 */
        double away = fabs(hue - 2 * k);
        if (away > 3) away = 6 - away;
        p[k] = least + range * clamp(2 - away);
    }
}

bool hone__color_jitter(work *w)
{
    const hone_transform *t = w->t;
    int64_t n = w->from.dim[1] * w->from.dim[2];
    double factor[3], strength[3] = {t->brightness, t->contrast, t->saturation}, mean = 0, p[3];
    for (int k = 0; k < 3; k++) factor[k] = hone__draw_between(&w->draws, fmax(0, 1 - strength[k]), 1 + strength[k]);
    double turn = hone__draw_between(&w->draws, -t->hue, t->hue);
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < 3; k++) p[k] = clamp(w->x[k * n + i] * factor[0]);
        mean += grey_of(p) / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < 3; k++) {
            p[k] = clamp(w->x[k * n + i] * factor[0]);
            p[k] = clamp(mean + (p[k] - mean) * factor[1]);
        }
        double grey = grey_of(p);
        for (int k = 0; k < 3; k++) p[k] = clamp(grey + (p[k] - grey) * factor[2]);
        turn_hue(p, turn);
        for (int k = 0; k < 3; k++) w->y[k * n + i] = (float)p[k];
    }
    return true;
}

bool hone__normalize(work *w)
{
    int64_t n = w->from.dim[1] * w->from.dim[2];
    for (int64_t c = 0; c < w->from.dim[0]; c++)
        for (int64_t i = 0; i < n; i++) w->y[c * n + i] = (w->x[c * n + i] - w->t->mean[c]) / w->t->deviation[c];
    return true;
}

bool hone__random_erasing(work *w)
{
    int64_t h = w->from.dim[1], width = w->from.dim[2];
    memcpy(w->y, w->x, (size_t)hone_shape_count(w->from) * sizeof *w->y);
    for (int attempt = 0; attempt < 10; attempt++) {
        double area = hone__draw_between(&w->draws, w->t->low, w->t->high) * (double)h * (double)width;
        double ratio = exp(hone__draw_between(&w->draws, log(0.3), log(3.3)));
        int64_t rows = llround(sqrt(area * ratio)), columns = llround(sqrt(area / ratio));
        if (rows >= h || columns >= width) continue;
        int64_t top = hone__draw_below(&w->draws, h - rows + 1), left = hone__draw_below(&w->draws, width - columns + 1);
        for (int64_t c = 0; c < w->from.dim[0]; c++)
            for (int64_t i = top; i < top + rows; i++)
                for (int64_t j = left; j < left + columns; j++) w->y[(c * h + i) * width + j] = (float)w->t->value;
        break;
    }
    return true;
}
