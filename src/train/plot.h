/* Pictures: a page that PLplot draws, in pixels, y upwards. It is loaded when first used. */
#ifndef HONE_SRC_TRAIN_PLOT_H
#define HONE_SRC_TRAIN_PLOT_H

#include "base/os.h"
#include "train/train.h"

typedef struct hone__page hone__page;
typedef void (*hone__draw_fn)(const hone__page *page, const void *arg);
/* Writes what draw(page, arg) draws to an .svg or .png, whole or not at all. scratch: so many doubles for page->scratch. Errors
   don't stick (but MEMORY). draw is not looked at where Hone was built without PLplot. */
hone_status hone__plot(hone_ctx *ctx, const char *path, size_t scratch, hone__draw_fn draw, const void *arg);

/* What a picture of lines shows. */
typedef struct hone__lines {
    const char *title, *x_label, *y_label;
    size_t n;
    const hone_plot_series *series;
    bool legend_below; /* in the corner below on the right, not above the plot */
} hone__lines;
hone_status hone__plot_lines(hone_ctx *ctx, const char *path, const hone__lines *lines);

#if HONE_HAVE_PLPLOT

#include "base/library.h"

#include <plplot.h>
#include <stdio.h>

/* plplot.h names each of these c_<name> by a macro, so that pl->plline(...) below is c_plline. */
#define PLPLOT_FUNCTIONS(X)                                                                                \
    X(c_plsdev)                                                                                            \
    X(c_plspage) X(c_plsfnam) X(plsfile) X(c_plscmap0) X(c_plinit) X(c_plmkstrm) X(c_plgstrm) X(c_plsstrm) \
        X(c_plend1) X(c_pladv) X(c_plvpor) X(c_plwind) X(c_plcol0) X(c_plwidth) X(c_plline) X(c_plfill)    \
            X(c_plptex) X(c_plschr) X(c_plsfont) X(plsexit) X(plsabort) X(plgDevs)

typedef struct plplot {
    PLPLOT_FUNCTIONS(HONE__FUNCTION_MEMBER)
} plplot;

enum { HONE__PAGE_WIDTH = 900, HONE__PAGE_HEIGHT = 540 };
struct hone__page {
    plplot pl;
    hone_ctx *ctx;
    hone__file file;
    FILE *stream; /* PLplot's own, on the same temporary file; it closes it */
    bool png;
    PLINT previous_stream;
    double *scratch;
};

typedef struct hone__colour {
    unsigned char part[3]; /* red, green, blue */
} hone__colour;
/* First of all: colours by number, the background's is 0, at most 64. Then PLplot's calls may be made. */
void hone__page_begin(const hone__page *page, int n, const hone__colour *colours);
/* In the colour and size that are set; justify: 0 begins at x, y, 1 ends there. text may be NULL. */
void hone__page_text(const hone__page *page, double x, double y, bool upwards, double justify, const char *text);
void hone__page_line(const hone__page *page, double x0, double y0, double x1, double y1);
void hone__page_title(const hone__page *page, double x, const char *title); /* the last text: it leaves bold letters */
/* About how wide PLplot draws a text at plschr(3.2, 1), pixels (it has no function that says so): as DejaVu Sans, a little more. */
double hone__text_width(const char *text);

#endif
#endif
