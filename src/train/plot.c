/* Line pictures, drawn with PLplot. Everything is placed in pixels by us (PLplot's window is the whole page),
   PLplot does lines, text and files. It is loaded when first used: a program that draws nothing need not have
   it. */
#include "train/train.h"

#include "base/library.h"
#include "base/os.h"

#include <math.h>
#include <stdio.h>

#if HONE_HAVE_PLPLOT

#include <plplot.h>
#include <pthread.h>
#include <setjmp.h>

/* ---- the library ---- */

/* plplot.h names each of these c_<name> by a macro, so that pl->plline(...) below is c_plline. */
#define PLPLOT_FUNCTIONS(X)                                                                                \
    X(c_plsdev)                                                                                            \
    X(c_plspage) X(c_plsfnam) X(plsfile) X(c_plscmap0) X(c_plinit) X(c_plmkstrm) X(c_plgstrm) X(c_plsstrm) \
        X(c_plend1) X(c_pladv) X(c_plvpor) X(c_plwind) X(c_plcol0) X(c_plwidth) X(c_plline) X(c_plfill)    \
            X(c_plptex) X(c_plschr) X(c_plsfont) X(plsexit) X(plsabort) X(plgDevs)

HONE__LIBRARY(plplot, PLPLOT_FUNCTIONS);
typedef struct plplot plplot;

/* False: *missing says what. Never unloaded again: PLplot's drivers and its atexit handlers stay. */
static bool load(plplot *pl, const char **missing)
{
    static const char *const files[] = {"libplplot.so.17", "libplplot.so.16", "libplplot.so.15", "libplplot.so", NULL};
    *missing = hone__library_open(files, plplot_names, HONE_ARRAY_LEN(plplot_names), pl);
    return !*missing;
}

/* PLplot has one state for the whole process, and leaves it by exit() unless a handler jumps away. These are
   its counterpart here: held while drawing, and where to jump. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static jmp_buf *way_out;
static char complaint[256];

static int on_exit_wanted(const char *message)
{
    snprintf(complaint, sizeof complaint, "%s", message);
    longjmp(*way_out, 1);
}

static void on_abort(const char *message) /* the call did nothing; drawing goes on */
{
    if (!complaint[0]) snprintf(complaint, sizeof complaint, "%s", message);
}

/* ---- the layout, pixels, y upwards ---- */

enum { WIDTH = 900, HEIGHT = 540, LEFT = 84, RIGHT = 24, TOP = 62, BOTTOM = 66, MAX_TICKS = 16 };

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
    plplot pl;
    hone_ctx *ctx;
    hone__file file;
    FILE *stream; /* PLplot's own, on the same temporary file; it closes it */
    bool png;
    const char *title, *x_label, *y_label;
    size_t n;
    const hone_plot_series *series;
    axis x, y;
    PLINT previous_stream;
    double *px, *py; /* points of a line, pixels, POINTS each */
} picture;
enum { POINTS = 4 * (WIDTH + 2) };

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
    axis x = {INFINITY, -INFINITY, 0, LEFT, WIDTH - RIGHT},
         y = {INFINITY, -INFINITY, 0, BOTTOM, HEIGHT - TOP};
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

/* '#' begins PLplot's commands in texts; doubled it is itself. */
static void escape(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; text && *text && n + 2 < size; text++) {
        out[n++] = (unsigned char)*text < ' ' ? ' ' : *text;
        if (*text == '#') out[n++] = '#';
    }
    while (text && *text && n && ((unsigned char)out[n - 1] & 0xC0) == 0x80)
        n--; /* cut: not within a character */
    if (text && *text && n && (unsigned char)out[n - 1] >= 0xC0) n--;
    out[n] = 0;
}

static void put_text(picture *p, double x, double y, bool upwards, double justify, const char *text)
{
    char escaped[512];
    escape(text, escaped, sizeof escaped);
    if (escaped[0]) p->pl.plptex(x, y, upwards ? 0 : 1, upwards ? 1 : 0, justify, escaped);
}

static void put_line(picture *p, double x0, double y0, double x1, double y1)
{
    p->pl.plline(2, (double[]){x0, x1}, (double[]){y0, y1});
}

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
    plplot *pl = &p->pl;
    double first = ceil(a->least / a->step - 1e-9);
    for (int i = 0; i < MAX_TICKS; i++) {
        double value = (first + i) * a->step, at = pixel(a, value);
        if (at > a->to + 0.5) break;
        char text[32];
        tick_text(a, value, text);
        pl->plcol0(GRID);
        pl->plwidth(0.6);
        if (horizontal)
            put_line(p, at, BOTTOM, at, HEIGHT - TOP);
        else
            put_line(p, LEFT, at, WIDTH - RIGHT, at);
        pl->plcol0(INK);
        if (horizontal)
            put_text(p, at, BOTTOM - 16, false, 0.5, text);
        else
            put_text(p, LEFT - 10, at, false, 1, text);
    }
}

/* The colour of series s: a faint one has that of the next that is not. */
static int colour(const picture *p, size_t s)
{
    size_t before = 0;
    for (size_t i = 0; i < s; i++) before += !p->series[i].faint;
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
    p->pl.plfill(CORNERS, xs, ys);
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
    p->pl.plline(n, p->px, p->py);
    p->px[0] = p->px[n - 1], p->py[0] = p->py[n - 1];
    return 1;
}

static void draw_series(picture *p, size_t s)
{
    const hone_plot_series *series = &p->series[s];
    size_t seen = 0;
    int n = 0;
    run r = {0};
    p->pl.plcol0(colour(p, s));
    p->pl.plwidth(series->faint ? 1 : 2);
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

/* About how wide PLplot draws a text of the legend, pixels (it has no function that says so): as DejaVu Sans,
   a little more. */
static double text_width(const char *text)
{
    double width = 0;
    for (; *text; text++) {
        if (((unsigned char)*text & 0xC0) == 0x80) continue; /* the inside of a character */
        width += strchr(" fijlrtI.,:;'|!()[]/-", *text) ? 4.6 : strchr("mwMWQO@%", *text) ? 11 : 7.7;
    }
    return width;
}

/* To the right above the plot, where no curve is; from the right, as the title begins at the left. */
static void draw_legend(picture *p)
{
    double x = WIDTH - RIGHT, y = HEIGHT - TOP + 17;
    for (size_t s = p->n; s-- > 0;) {
        const char *name = p->series[s].name;
        if (!name || !name[0]) continue;
        double right = x;
        x -= text_width(name);
        if (x < LEFT + 40) break;
        p->pl.plcol0(INK);
        put_text(p, right, y, false, 1, name);
        p->pl.plcol0(colour(p, s));
        p->pl.plwidth(p->series[s].faint ? 1.5 : 2.5);
        put_line(p, x - 30, y, x - 8, y);
        x -= 48;
    }
}

static void draw(picture *p)
{
    plplot *pl = &p->pl;
    PLINT stream, colours[3][FIRST_SERIES + 2 * N_PALETTE] = {
                      {255, 222, 120, 40}, {255, 224, 124, 44}, {255, 228, 130, 50}};
    for (int i = 0; i < N_PALETTE; i++)
        for (int c = 0; c < 3; c++) {
            colours[c][FIRST_SERIES + i] = palette[i][c];
            colours[c][FIRST_SERIES + N_PALETTE + i] = 255 - (255 - palette[i][c]) * 2 / 5;
        }
    pl->plgstrm(&p->previous_stream);
    pl->plmkstrm(&stream);
    pl->plsdev(p->png ? "pngcairo" : "svg");
    pl->plspage(0, 0, WIDTH, HEIGHT, 0, 0);
    pl->plsfnam(p->file.temporary);
    pl->plsfile(p->stream);
    p->stream = NULL;
    pl->plscmap0(colours[0], colours[1], colours[2], FIRST_SERIES + 2 * N_PALETTE);
    pl->plinit();
    pl->pladv(0);
    pl->plvpor(0, 1, 0, 1);
    pl->plwind(0, WIDTH, 0, HEIGHT);
    pl->plsfont(PL_FCI_SANS, PL_FCI_UPRIGHT, PL_FCI_MEDIUM);
    pl->plschr(3.2, 1);
    draw_axis(p, &p->x, true);
    draw_axis(p, &p->y, false);
    pl->plcol0(AXIS);
    pl->plwidth(1);
    put_line(p, LEFT, BOTTOM, WIDTH - RIGHT, BOTTOM);
    put_line(p, LEFT, BOTTOM, LEFT, HEIGHT - TOP);
    for (size_t s = 0; s < p->n; s++) draw_series(p, s);
    draw_legend(p);
    pl->plcol0(INK);
    pl->plschr(3.5, 1);
    put_text(p, (LEFT + WIDTH - RIGHT) / 2.0, 22, false, 0.5, p->x_label);
    put_text(p, 22, (BOTTOM + HEIGHT - TOP) / 2.0, true, 0.5, p->y_label);
    pl->plsfont(PL_FCI_SANS, PL_FCI_UPRIGHT, PL_FCI_BOLD);
    pl->plschr(4.4, 1);
    put_text(p, LEFT, HEIGHT - 20, false, 0, p->title);
    pl->plend1();
    pl->plsstrm(p->previous_stream);
}

/* PLplot asks at the terminal when a device is missing: look first. */
static bool has_device(const plplot *pl, const char *device)
{
    enum { ROOM = 128 };
    const char *menu_room[ROOM], *name_room[ROOM], **menu = menu_room, **names = name_room;
    int n = ROOM;
    pl->plgDevs(&menu, &names, &n);
    bool found = false;
    for (int i = 0; i < n; i++) found = found || !strcmp(names[i], device);
    return found;
}

/* What needs the handlers: all that calls PLplot. */
static hone_status draw_guarded(picture *p)
{
    hone_ctx *ctx = p->ctx;
    jmp_buf here;
    complaint[0] = 0;
    way_out = &here;
    p->pl.plsexit(on_exit_wanted);
    p->pl.plsabort(on_abort);
    hone_status status = HONE_OK;
    if (setjmp(here) == 0) {
        if (has_device(&p->pl, p->png ? "pngcairo" : "svg"))
            draw(p);
        else
            status = HONE_UNSUPPORTED;
    } else if (setjmp(here) == 0) { /* it would have exited; what it had opened (one file) stays so */
        p->pl.plend1();
        p->pl.plsstrm(p->previous_stream);
    }
    p->pl.plsexit(NULL);
    p->pl.plsabort(NULL);
    way_out = NULL;
    if (status == HONE_UNSUPPORTED)
        return hone__fail_run(ctx, status, "PLplot cannot write %s here; install %s", p->png ? "PNG" : "SVG",
                              p->png ? "plplot-driver-cairo" : "libplplot17");
    if (complaint[0]) return hone__fail_run(ctx, HONE_INTERNAL, "PLplot: %s", complaint);
    return HONE_OK;
}

static hone_status draw_into_file(picture *p, const char *path)
{
    hone_status status = hone__file_create(p->ctx, &p->file, path);
    if (status != HONE_OK) return status;
    p->stream = fopen(p->file.temporary, "r+be");
    if (!p->stream) {
        hone__file_abandon(&p->file);
        return hone__fail_run(p->ctx, HONE_IO, "%s: cannot be written", path);
    }
    pthread_mutex_lock(&one_at_a_time);
    status = draw_guarded(p);
    pthread_mutex_unlock(&one_at_a_time);
    if (p->stream) fclose(p->stream); /* PLplot was not given it */
    if (status == HONE_OK) return hone__file_commit(&p->file);
    hone__file_abandon(&p->file);
    return status;
}

static hone_status plot(picture *p, const char *path)
{
    const char *missing;
    if (!load(&p->pl, &missing))
        return hone__fail_run(p->ctx, HONE_UNSUPPORTED, "%s; install libplplot17 and plplot-driver-cairo",
                              missing);
    fit_axes(p);
    p->px = hone__calloc(p->ctx, 2 * POINTS, sizeof *p->px);
    if (!p->px) return HONE_MEMORY;
    p->py = p->px + POINTS;
    hone_status status = draw_into_file(p, path);
    hone__free(p->ctx, p->px);
    return status;
}

#else

typedef struct picture {
    hone_ctx *ctx;
    bool png;
    const char *title, *x_label, *y_label;
    size_t n;
    const hone_plot_series *series;
} picture;

static hone_status plot(picture *p, const char *path)
{
    return hone__fail_run(p->ctx, HONE_UNSUPPORTED, "%s: Hone was built without PLplot (libplplot-dev)",
                          path);
}

#endif

hone_status hone_plot_lines(hone_ctx *ctx, const char *path, const char *title, const char *x_label,
                            const char *y_label, size_t n, const hone_plot_series *series)
{
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    size_t length = strlen(path);
    bool png = length > 4 && !strcmp(path + length - 4, ".png");
    if (!png && !(length > 4 && !strcmp(path + length - 4, ".svg")))
        return hone__fail_run(ctx, HONE_INVALID, "%s: the name of a picture must end in .svg or .png", path);
    return plot(&(picture){.ctx = ctx,
                           .png = png,
                           .title = title,
                           .x_label = x_label,
                           .y_label = y_label,
                           .n = n,
                           .series = series},
                path);
}
