/* Confusion matrices as heat maps. */
#include "train/plot.h"

#include <stdio.h>

enum { MAX_CLASSES = 256 };

/* What a picture shows. */
typedef struct matrix {
    const char *title;
    const hone_confusion *confusion;
    const char *const *names;
} matrix;

#if HONE_HAVE_PLPLOT

#include <math.h>

enum { RIGHT = 24, TOP = 62, AROUND = 48, LETTER = 13 }; /* pixels; AROUND: of an axis label and gaps */
enum { WIDEST = 200, HIGHEST = 120 };                     /* names: beside the rows, below the columns */
enum { WHITE, INK, FIRST_SHADE, SHADES = 32 };

/* Names take as much room as the longest, to a limit; the cells get what is left. */
typedef struct layout {
    int64_t n;
    double left, bottom, width, height; /* of all cells; a cell's is the n-th of it */
    bool upwards;                       /* names below the columns */
} layout;

/* The name of class i, or its number, cut to so many pixels. */
static const char *name_of(const matrix *m, int64_t i, double most, char text[256])
{
    if (m->names)
        snprintf(text, 250, "%s", m->names[i]);
    else
        snprintf(text, 250, "%lld", (long long)i);
    size_t n = strlen(text);
    bool cut = n > 0 && (hone__text_width(text) > most || (m->names && strlen(m->names[i]) > n));
    while (cut && n > 1 && (hone__text_width(text) > most - LETTER || ((unsigned char)text[n] & 0xC0) == 0x80)) text[--n] = 0;
    if (cut) memcpy(text + n, "\xE2\x80\xA6", sizeof "\xE2\x80\xA6");
    return text;
}

static layout lay_out(const matrix *m)
{
    layout l = {.n = hone_confusion_classes(m->confusion)};
    char name[256];
    double longest = 0;
    for (int64_t i = 0; i < l.n; i++) longest = fmax(longest, hone__text_width(name_of(m, i, WIDEST, name)));
    l.left = AROUND + longest + 10;
    l.width = HONE__PAGE_WIDTH - RIGHT - l.left;
    l.upwards = longest + 6 > l.width / (double)l.n;
    l.bottom = AROUND + (l.upwards ? fmin(longest, HIGHEST) : LETTER) + 6;
    l.height = HONE__PAGE_HEIGHT - TOP - l.bottom;
    return l;
}

/* Every so many names are written, so that they don't touch. */
static int64_t stride(double cell) { return (int64_t)ceil((LETTER + 2) / cell); }

static void draw_names(const hone__page *page, const matrix *m, const layout *l)
{
    char name[256];
    double w = l->width / (double)l->n, h = l->height / (double)l->n;
    int64_t rows = stride(h), columns = l->upwards ? stride(w) : 1;
    for (int64_t i = 0; i < l->n; i++) {
        double x = l->left + ((double)i + 0.5) * w, y = l->bottom + l->height - ((double)i + 0.5) * h;
        if (i % rows == 0) hone__page_text(page, l->left - 8, y, false, 1, name_of(m, i, WIDEST, name));
        if (i % columns == 0)
            hone__page_text(page, x, l->bottom - (l->upwards ? 8 : LETTER), l->upwards, l->upwards ? 1 : 0.5,
                            name_of(m, i, l->upwards ? HIGHEST : WIDEST, name));
    }
}

static void draw_box(const hone__page *page, double x, double y, double w, double h, int shade)
{
    page->pl.plcol0(FIRST_SHADE + shade);
    page->pl.plfill(4, (double[]){x, x + w, x + w, x}, (double[]){y, y, y + h, y + h});
}

static void draw_cell(const hone__page *page, const layout *l, int64_t row, int64_t column, int64_t count, int64_t of)
{
    double w = l->width / (double)l->n, h = l->height / (double)l->n, share = of ? (double)count / (double)of : 0;
    double x = l->left + (double)column * w, y = l->bottom + l->height - ((double)row + 1) * h;
    char text[24];
    if (count) draw_box(page, x, y, w, h, (int)(share * (SHADES - 1) + 0.5));
    snprintf(text, sizeof text, "%lld", (long long)count);
    if (h < LETTER + 2 || w < hone__text_width(text) + 4) return;
    page->pl.plcol0(share > 0.5 ? WHITE : INK);
    hone__page_text(page, x + w / 2, y + h / 2, false, 0.5, text);
}

static void draw(const hone__page *page, const void *arg)
{
    const matrix *m = arg;
    const plplot *pl = &page->pl;
    layout l = lay_out(m);
    hone__colour colours[FIRST_SHADE + SHADES] = {{{255, 255, 255}}, {{40, 44, 50}}};
    static const unsigned char pale[3] = {241, 245, 249}, deep[3] = {0, 82, 136};
    for (int i = 0; i < SHADES; i++)
        for (int c = 0; c < 3; c++)
            colours[FIRST_SHADE + i].part[c] = (unsigned char)(pale[c] + (deep[c] - pale[c]) * i / (SHADES - 1));
    hone__page_begin(page, FIRST_SHADE + SHADES, colours);
    draw_box(page, l.left, l.bottom, l.width, l.height, 0);
    for (int64_t row = 0; row < l.n; row++) {
        int64_t of = 0;
        for (int64_t k = 0; k < l.n; k++) of += hone_confusion_at(m->confusion, row, k);
        for (int64_t k = 0; k < l.n; k++) draw_cell(page, &l, row, k, hone_confusion_at(m->confusion, row, k), of);
    }
    pl->plcol0(INK);
    draw_names(page, m, &l);
    pl->plschr(3.5, 1);
    hone__page_text(page, l.left + l.width / 2, 22, false, 0.5, "answer");
    hone__page_text(page, 22, l.bottom + l.height / 2, true, 0.5, "target");
    hone__page_title(page, l.left, m->title);
}

#else

#define draw NULL

#endif

hone_status hone_plot_confusion(hone_ctx *ctx, const char *path, const char *title, const hone_confusion *confusion,
                                const char *const *names)
{
    if (!confusion) return HONE_INVALID;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    if (hone_confusion_classes(confusion) > MAX_CLASSES)
        return hone__fail_run(ctx, HONE_INVALID, "%s: %lld classes are more than a picture shows, %d", path,
                              (long long)hone_confusion_classes(confusion), MAX_CLASSES);
    return hone__plot(ctx, path, 0, draw, &(matrix){title, confusion, names});
}
