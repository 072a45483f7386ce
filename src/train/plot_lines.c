/* Line pictures. */
#include "train/plot.h"

#include <math.h>
#include <stdio.h>

#if HONE_HAVE_PLPLOT

/* ---- the layout, pixels, y upwards ---- */

enum { LEFT = 84, RIGHT = 24, TOP = 62, BOTTOM = 66, MAX_TICKS = 16 };

#define FAR 1e300 /* values beyond it are left out: their differences overflow */

/* Colours by number; the series follow, first in full and then pale. Okabe & Ito's, safe for the
   colour-blind. */
enum { WHITE, GRID, AXIS, INK, FIRST_SERIES };
static const unsigned char palette[][3] = {
    {0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}, {230, 159, 0}, {86, 180, 233}, {90, 90, 90},
};
enum { N_PALETTE = sizeof palette / sizeof palette[0] };

typedef struct axis {
    double least, most; /* of the picture's edge */
    double step;        /* between grid lines */
    int from, to;       /* pixels of least and most */
} axis;

typedef struct picture {
    const hone__page *page;
    const plplot *pl;
    size_t n;
    const hone_plot_series *series;
    axis x, y;
    double *px, *py; /* points of a line, pixels, POINTS each */
} picture;
enum { POINTS = 4 * (HONE__PAGE_WIDTH + 2) };

static double pixel(const axis *a, double v)
{
    return a->from + (v - a->least) / (a->most - a->least) * (a->to - a->from);
}

/* 1, 2 or 5 times a power of ten, such that about `ticks` fit. */
static double nice_step(double range, int ticks)
{
    double rough = range / ticks, power = pow(10, floor(log10(rough))), m = rough / power;
    return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

/* Takes in the finite values; margin: share of the range that stays free at both ends. */
static void fit_axis(axis *a, double margin, int ticks)
{
    if (!(a->least <= a->most)) a->least = 0, a->most = 1; /* no values at all */
    double scale = fmax(fabs(a->least), fabs(a->most));
    /* values that hardly differ would leave no digits for the ticks: f64 has 16, and fewer near its least */
    if (a->most - a->least <= fmax(1e-9 * scale, 1e-290)) {
        double room = scale > 1e-280 ? 0.05 * scale : 0.5;
        a->least -= room;
        a->most += room;
    }
    double room = margin * (a->most - a->least);
    a->least -= room;
    a->most += room;
    a->step = nice_step(a->most - a->least, ticks);
}

static void fit_axes(picture *p)
{
    axis x = {INFINITY, -INFINITY, 0, LEFT, HONE__PAGE_WIDTH - RIGHT},
         y = {INFINITY, -INFINITY, 0, BOTTOM, HONE__PAGE_HEIGHT - TOP};
    bool whole = true;
    for (size_t s = 0; s < p->n; s++)
        for (size_t i = 0; i < p->series[s].count; i++) {
            double a = p->series[s].x[i], b = p->series[s].y[i];
            if (!(fabs(a) < FAR && fabs(b) < FAR)) continue;
            whole = whole && a == floor(a);
            x.least = fmin(x.least, a), x.most = fmax(x.most, a);
            y.least = fmin(y.least, b), y.most = fmax(y.most, b);
        }
    bool positive = y.least >= 0;
    fit_axis(&x, 0, 8);
    if (whole) x.step = fmax(x.step, 1); /* no half epochs */
    fit_axis(&y, 0.04, 6);
    if (positive && y.least < 0) y.least = 0; /* a loss is not negative: nor does its axis say so */
    p->x = x, p->y = y;
}

/* ---- drawing ---- */

static void tick_text(const axis *a, double value, char text[32])
{
    double largest = fmax(fabs(a->least), fabs(a->most));
    if (fabs(value) < a->step / 2) value = 0;       /* not 1e-17, nor -0 */
    bool powers = largest >= 1e7 || largest < 2e-3; /* 1.5e-4, the same power at every tick */
    int power = powers ? (int)floor(log10(largest)) : 0;
    double unit = pow(10, power), step = a->step / unit;
    int decimals = step < 1 ? HONE_MIN((int)ceil(-log10(step) - 1e-9), 9) : 0;
    int n = snprintf(text, 32, "%.*f", powers && value == 0 ? 0 : decimals, value / unit);
    if (powers && value != 0 && n > 0 && n < 24) snprintf(text + n, (size_t)(32 - n), "e%d", power);
}

static void draw_axis(picture *p, const axis *a, bool horizontal)
{
    const plplot *pl = p->pl;
    double first = ceil(a->least / a->step - 1e-9);
    for (int i = 0; i < MAX_TICKS; i++) {
        double value = (first + i) * a->step, at = pixel(a, value);
        if (at > a->to + 0.5) break;
        char text[32];
        tick_text(a, value, text);
        pl->plcol0(GRID);
        pl->plwidth(0.6);
        if (horizontal)
            hone__page_line(p->page, at, BOTTOM, at, HONE__PAGE_HEIGHT - TOP);
        else
            hone__page_line(p->page, LEFT, at, HONE__PAGE_WIDTH - RIGHT, at);
        pl->plcol0(INK);
        if (horizontal)
            hone__page_text(p->page, at, BOTTOM - 16, false, 0.5, text);
        else
            hone__page_text(p->page, LEFT - 10, at, false, 1, text);
    }
}

/* The colour of series s: a faint one has that of the next that is not; a guide has none of theirs. */
static int colour(const picture *p, size_t s)
{
    size_t before = 0;
    if (p->series[s].guide) return AXIS;
    for (size_t i = 0; i < s; i++) before += !p->series[i].faint && !p->series[i].guide;
    return FIRST_SERIES + (int)(before % N_PALETTE) + (p->series[s].faint ? N_PALETTE : 0);
}

static void draw_dot(picture *p, double x, double y, double radius)
{
    enum { CORNERS = 16 };
    double xs[CORNERS], ys[CORNERS];
    for (int i = 0; i < CORNERS; i++) {
        double angle = 2 * 3.14159265358979 * i / CORNERS;
        xs[i] = x + radius * cos(angle);
        ys[i] = y + radius * sin(angle);
    }
    p->pl->plfill(CORNERS, xs, ys);
}

/* A run of points in one column of pixels: all that can be seen of it are its ends and extremes. */
typedef struct run {
    double column, x[4], y[4]; /* first, lowest, highest, last */
    size_t at[4], count;
} run;

static int add_run(picture *p, const run *r, int n)
{
    size_t a = r->at[1] < r->at[2] ? 1 : 2, order[4] = {0, a, 3 - a, 3}, last = SIZE_MAX;
    for (int k = 0; k < 4; k++) {
        size_t i = order[k];
        if (r->at[i] == last) continue;
        last = r->at[i];
        p->px[n] = r->x[i], p->py[n++] = r->y[i];
    }
    return n;
}

/* Hands the points on in pieces that share an end. */
static int flush_points(picture *p, int n)
{
    if (n < 2) return n;
    p->pl->plline(n, p->px, p->py);
    p->px[0] = p->px[n - 1], p->py[0] = p->py[n - 1];
    return 1;
}

static void draw_points(picture *p, size_t s)
{
    const hone_plot_series *series = &p->series[s];
    p->pl->plcol0(colour(p, s));
    for (size_t i = 0; i < series->count; i++)
        if (fabs(series->x[i]) < FAR && fabs(series->y[i]) < FAR)
            draw_dot(p, pixel(&p->x, series->x[i]), pixel(&p->y, series->y[i]), 2.5);
}

static void draw_series(picture *p, size_t s)
{
    const hone_plot_series *series = &p->series[s];
    if (series->points) {
        draw_points(p, s);
        return;
    }
    size_t seen = 0;
    int n = 0;
    run r = {0};
    p->pl->plcol0(colour(p, s));
    p->pl->plwidth(series->faint || series->guide ? 1 : 2);
    for (size_t i = 0; i < series->count; i++) {
        if (!(fabs(series->x[i]) < FAR && fabs(series->y[i]) < FAR)) continue;
        double x = pixel(&p->x, series->x[i]), y = pixel(&p->y, series->y[i]), column = floor(x);
        seen++;
        if (r.count && column != r.column) {
            n = add_run(p, &r, n);
            r.count = 0;
            if (n > POINTS - 4) n = flush_points(p, n);
        }
        if (!r.count) r = (run){column, {x, x, x, x}, {y, y, y, y}, {i, i, i, i}, 0};
        int extreme = y < r.y[1] ? 1 : y > r.y[2] ? 2 : 3;
        r.x[extreme] = r.x[3] = x, r.y[extreme] = r.y[3] = y, r.at[extreme] = r.at[3] = i;
        r.count++;
    }
    if (r.count) n = add_run(p, &r, n);
    flush_points(p, n);
    if (seen == 1) draw_dot(p, p->px[0], p->py[0], 3.5);
}

/* The line and the name of series s, which ends at x; where the line begins. */
static double draw_entry(picture *p, size_t s, double x, double y)
{
    const char *name = p->series[s].name;
    double left = x - hone__text_width(name);
    p->pl->plcol0(INK);
    hone__page_text(p->page, x, y, false, 1, name);
    p->pl->plcol0(colour(p, s));
    p->pl->plwidth(p->series[s].faint || p->series[s].guide ? 1.5 : 2.5);
    hone__page_line(p->page, left - 30, y, left - 8, y);
    return left - 30;
}

/* In the corner below on the right, which curves of rates leave free: one beneath the other, the last one lowest. */
static void draw_legend_below(picture *p)
{
    enum { LINE = 18 };
    double y = BOTTOM + 16;
    for (size_t s = p->n; s-- > 0;)
        if (p->series[s].name && p->series[s].name[0]) draw_entry(p, s, HONE__PAGE_WIDTH - RIGHT - 14, y), y += LINE;
}

/* To the right above the plot, where no curve is; from the right, as the title begins at the left. */
static void draw_legend(picture *p)
{
    double x = HONE__PAGE_WIDTH - RIGHT, y = HONE__PAGE_HEIGHT - TOP + 17;
    for (size_t s = p->n; s-- > 0;) {
        const char *name = p->series[s].name;
        if (!name || !name[0]) continue;
        if (x - hone__text_width(name) < LEFT + 40) break;
        x = draw_entry(p, s, x, y) - 18;
    }
}

static void draw(const hone__page *page, const void *arg)
{
    const hone__lines *l = arg;
    const plplot *pl = &page->pl;
    picture *p = &(picture){
        .page = page, .pl = pl, .n = l->n, .series = l->series, .px = page->scratch, .py = page->scratch + POINTS};
    hone__colour colours[FIRST_SERIES + 2 * N_PALETTE] = {
        {{255, 255, 255}}, {{222, 224, 228}}, {{120, 124, 130}}, {{40, 44, 50}}};
    for (int i = 0; i < N_PALETTE; i++)
        for (int c = 0; c < 3; c++) {
            colours[FIRST_SERIES + i].part[c] = palette[i][c];
            colours[FIRST_SERIES + N_PALETTE + i].part[c] = (unsigned char)(255 - (255 - palette[i][c]) * 2 / 5);
        }
    fit_axes(p);
    hone__page_begin(page, FIRST_SERIES + 2 * N_PALETTE, colours);
    draw_axis(p, &p->x, true);
    draw_axis(p, &p->y, false);
    pl->plcol0(AXIS);
    pl->plwidth(1);
    hone__page_line(page, LEFT, BOTTOM, HONE__PAGE_WIDTH - RIGHT, BOTTOM);
    hone__page_line(page, LEFT, BOTTOM, LEFT, HONE__PAGE_HEIGHT - TOP);
    for (size_t s = 0; s < p->n; s++) draw_series(p, s);
    if (l->legend_below)
        draw_legend_below(p);
    else
        draw_legend(p);
    pl->plcol0(INK);
    pl->plschr(3.5, 1);
    hone__page_text(page, (LEFT + HONE__PAGE_WIDTH - RIGHT) / 2.0, 22, false, 0.5, l->x_label);
    hone__page_text(page, 22, (BOTTOM + HONE__PAGE_HEIGHT - TOP) / 2.0, true, 0.5, l->y_label);
    hone__page_title(page, LEFT, l->title);
}

#else

enum { POINTS = 1 };
#define draw NULL

#endif

hone_status hone__plot_lines(hone_ctx *ctx, const char *path, const hone__lines *lines)
{
    return hone__plot(ctx, path, 2 * POINTS, draw, lines);
}

hone_status hone_plot_lines(hone_ctx *ctx, const char *path, const char *title, const char *x_label,
                            const char *y_label, size_t n, const hone_plot_series *series)
{
    return hone__plot_lines(ctx, path, &(hone__lines){.title = title, .x_label = x_label, .y_label = y_label, .n = n, .series = series});
}
