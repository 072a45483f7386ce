/* Statistics of a column. */
#include "data/frame.h"

#include <math.h>
#include <stdlib.h>

hone__moments hone__measure(const double *values, int64_t n)
{
    hone__moments m = {.least = INFINITY, .most = -INFINITY};
    double sum = 0, squares = 0; /* two passes, as the one-pass formula cancels */
    for (int64_t i = 0; i < n; i++) {
        if (isnan(values[i])) continue;
        sum += values[i];
        m.least = fmin(m.least, values[i]);
        m.most = fmax(m.most, values[i]);
        m.count++;
    }
    if (!m.count) return m;
    m.mean = sum / (double)m.count;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(values[i])) squares += (values[i] - m.mean) * (values[i] - m.mean);
    /* not by the squares: those of a column of equal values need not be zero */
    m.deviation = m.least < m.most ? sqrt(squares / (double)m.count) : 0;
    return m;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double *hone__sorted(hone_ctx *ctx, const double *values, int64_t n, int64_t *count)
{
    double *sorted = hone__calloc(ctx, (size_t)n, sizeof *sorted);
    *count = 0;
    if (!sorted) return NULL;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(values[i])) sorted[(*count)++] = values[i];
    qsort(sorted, (size_t)*count, sizeof *sorted, by_value);
    return sorted;
}

double hone__quantile(const double *sorted, int64_t count, double q)
{
    double at = q * (double)(count - 1);
    int64_t below = (int64_t)at, above = HONE_MIN(below + 1, count - 1);
    double t = at - (double)below, a = sorted[below], b = sorted[above];
    return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t); /* numpy's _lerp */
}
