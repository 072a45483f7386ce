/* The text of a progress bar. */
#include "train/train.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct line {
    char *text;
    size_t size, length;
    bool full;
} line;

/* Adds a part behind two blanks, or, when it has no room, it and all others not. */
HONE_PRINTF(2, 3) static void add(line *l, const char *format, ...)
{
    char part[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(part, sizeof part, format, args);
    va_end(args);
    size_t gap = l->length ? 2 : 0;
    if (l->full || n < 0 || (size_t)n >= sizeof part || l->length + gap + (size_t)n >= l->size) {
        l->full = true;
        return;
    }
    memset(l->text + l->length, ' ', gap);
    memcpy(l->text + l->length + gap, part, (size_t)n + 1);
    l->length += gap + (size_t)n;
}

/* Four digits, so that the line does not jump: 1.200, 12.34, 1234, 1.234e-05. */
static const char *four_digits(double value, char text[32])
{
    int n = snprintf(text, 32, "%#.4g", value);
    if (n > 0 && text[n - 1] == '.') text[n - 1] = 0;
    return text;
}

static void add_bar(line *l, const hone_progress *p)
{
    enum { MOST = 200 };
    char bar[MOST + 1];
    int width = p->width > 0 ? HONE_MIN(p->width, MOST) : 10;
    double share = HONE_MIN(HONE_MAX((double)p->done / (double)p->total, 0), 1);
    int filled = (int)(share * width);
    memset(bar, '=', (size_t)filled);
    memset(bar + filled, ' ', (size_t)(width - filled));
    if (filled < width) bar[filled] = '>';
    bar[width] = 0;
    add(l, "[%s] %lld/%lld", bar, (long long)p->done, (long long)p->total);
}

/* 2:13, 1:02:13, 3d 4h */
static void add_time(line *l, double seconds)
{
    if (!(seconds > 0 && seconds < 1e9)) return;
    long long s = (long long)(seconds + 0.5), m = s / 60, h = m / 60;
    if (h >= 48)
        add(l, "%lldd %lldh left", h / 24, h % 24);
    else if (h)
        add(l, "%lld:%02lld:%02lld left", h, m % 60, s % 60);
    else
        add(l, "%lld:%02lld left", m, s % 60);
}

size_t hone_progress_text(char *buffer, size_t size, const hone_progress *p)
{
    if (!buffer || !size) return 0;
    line l = {buffer, size, 0, false};
    char number[32];
    buffer[0] = 0;
    if (!p) return 0;
    if (p->total > 0)
        add_bar(&l, p);
    else
        add(&l, "%lld", (long long)p->done);
    for (size_t i = 0; i < p->n_values; i++)
        add(&l, "%s %s", p->values[i].name, four_digits(p->values[i].value, number));
    if (p->learning_rate != 0) add(&l, "lr %.1e", p->learning_rate);
    const char *unit = p->unit ? p->unit : "step";
    if (p->rate >= 100)
        add(&l, "%.0f %s/s", p->rate, unit);
    else if (p->rate > 0)
        add(&l, "%.3g %s/s", p->rate, unit);
    add_time(&l, p->seconds_left);
    return l.length;
}
