/* Pages: PLplot does lines, text and files; its window is the whole page, in which everything is placed in pixels by us. */
#include "train/plot.h"

#if HONE_HAVE_PLPLOT

#include <pthread.h>
#include <setjmp.h>

/* ---- the library ---- */

static const char *const plplot_names[] = {PLPLOT_FUNCTIONS(HONE__FUNCTION_NAME)};

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

void hone__page_text(const hone__page *p, double x, double y, bool upwards, double justify, const char *text)
{
    char escaped[512];
    escape(text, escaped, sizeof escaped);
    if (escaped[0]) p->pl.plptex(x, y, upwards ? 0 : 1, upwards ? 1 : 0, justify, escaped);
}

void hone__page_line(const hone__page *p, double x0, double y0, double x1, double y1)
{
    p->pl.plline(2, (double[]){x0, x1}, (double[]){y0, y1});
}

double hone__text_width(const char *text)
{
    double width = 0;
    for (; *text; text++) {
        if (((unsigned char)*text & 0xC0) == 0x80) continue; /* the inside of a character */
        width += strchr(" fijlrtI.,:;'|!()[]/-", *text) ? 4.6 : strchr("mwMWQO@%", *text) ? 11 : 7.7;
    }
    return width;
}

enum { MAX_COLOURS = 64 };

void hone__page_begin(const hone__page *p, int n, const hone__colour *colours)
{
    const plplot *pl = &p->pl;
    PLINT by_part[3][MAX_COLOURS];
    for (int i = 0; i < n && i < MAX_COLOURS; i++)
        for (int c = 0; c < 3; c++) by_part[c][i] = colours[i].part[c];
    pl->plscmap0(by_part[0], by_part[1], by_part[2], HONE_MIN(n, MAX_COLOURS));
    pl->plinit();
    pl->pladv(0);
    pl->plvpor(0, 1, 0, 1);
    pl->plwind(0, HONE__PAGE_WIDTH, 0, HONE__PAGE_HEIGHT);
    pl->plsfont(PL_FCI_SANS, PL_FCI_UPRIGHT, PL_FCI_MEDIUM);
    pl->plschr(3.2, 1);
}

void hone__page_title(const hone__page *p, double x, const char *title)
{
    p->pl.plsfont(PL_FCI_SANS, PL_FCI_UPRIGHT, PL_FCI_BOLD);
    p->pl.plschr(4.4, 1);
    hone__page_text(p, x, HONE__PAGE_HEIGHT - 20, false, 0, title);
}

static void draw_page(hone__page *p, hone__draw_fn draw, const void *arg)
{
    const plplot *pl = &p->pl;
    PLINT stream;
    pl->plgstrm(&p->previous_stream);
    pl->plmkstrm(&stream);
    pl->plsdev(p->png ? "pngcairo" : "svg");
    pl->plspage(0, 0, HONE__PAGE_WIDTH, HONE__PAGE_HEIGHT, 0, 0);
    pl->plsfnam(p->file.temporary);
    pl->plsfile(p->stream);
    p->stream = NULL;
    draw(p, arg);
    pl->plend1();
    pl->plsstrm(p->previous_stream);
}

/* ---- files ---- */

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
static hone_status draw_guarded(hone__page *p, hone__draw_fn draw, const void *arg)
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
            draw_page(p, draw, arg);
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

static hone_status draw_into_file(hone__page *p, const char *path, hone__draw_fn draw, const void *arg)
{
    hone_status status = hone__file_create(p->ctx, &p->file, path);
    if (status != HONE_OK) return status;
    p->stream = fopen(p->file.temporary, "r+be");
    if (!p->stream) {
        hone__file_abandon(&p->file);
        return hone__fail_run(p->ctx, HONE_IO, "%s: cannot be written", path);
    }
    pthread_mutex_lock(&one_at_a_time);
    status = draw_guarded(p, draw, arg);
    pthread_mutex_unlock(&one_at_a_time);
    if (p->stream) fclose(p->stream); /* PLplot was not given it */
    if (status == HONE_OK) return hone__file_commit(&p->file);
    hone__file_abandon(&p->file);
    return status;
}

static hone_status plot(hone_ctx *ctx, const char *path, bool png, size_t scratch, hone__draw_fn draw, const void *arg)
{
    hone__page page = {.ctx = ctx, .png = png};
    const char *missing;
    if (!load(&page.pl, &missing))
        return hone__fail_run(ctx, HONE_UNSUPPORTED, "%s; install libplplot17 and plplot-driver-cairo", missing);
    page.scratch = hone__calloc(ctx, HONE_MAX(scratch, (size_t)1), sizeof *page.scratch);
    if (!page.scratch) return HONE_MEMORY;
    hone_status status = draw_into_file(&page, path, draw, arg);
    hone__free(ctx, page.scratch);
    return status;
}

#else

static hone_status plot(hone_ctx *ctx, const char *path, bool png, size_t scratch, hone__draw_fn draw, const void *arg)
{
    (void)png, (void)scratch, (void)draw, (void)arg;
    return hone__fail_run(ctx, HONE_UNSUPPORTED, "%s: Hone was built without PLplot (libplplot-dev)", path);
}

#endif

hone_status hone__plot(hone_ctx *ctx, const char *path, size_t scratch, hone__draw_fn draw, const void *arg)
{
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    bool png = hone__is_named(path, ".png");
    if (!png && !hone__is_named(path, ".svg"))
        return hone__fail_run(ctx, HONE_INVALID, "%s: the name of a picture must end in .svg or .png", path);
    return plot(ctx, path, png, scratch, draw, arg);
}
