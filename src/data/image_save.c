/* Tensors to PNG, a picture or a grid of them, by libpng's simplified interface. */
#include "base/library.h"
#include "base/os.h"
#include "data/image.h"

#include <math.h>

/* What is drawn: n pictures of channels x height x width in a grid whose cells are `padding` pixels apart. */
typedef struct grid {
    const hone_tensor *images;
    int64_t n, channels, height, width, columns, rows, padding;
    double low, high, background;
} grid;

static int64_t side(int64_t cells, int64_t size, int64_t padding) { return cells * (size + padding) + padding; }

static hone_status make_grid(const hone_tensor *t, const hone_image_save_opts *o, grid *g)
{
    const hone_shape s = t->shape;
    hone_ctx *ctx = t->ctx;
    bool one = s.rank < 4, bytes = t->dtype == HONE_U8;
    if (!bytes && !hone__is_float(t->dtype))
        return hone__fail_run(ctx, HONE_DTYPE, "image: a picture is real or u8, not %s", hone_dtype_name(t->dtype));
    *g = (grid){.images = t, .n = one ? 1 : s.dim[0], .channels = s.rank > 2 ? s.dim[s.rank - 3] : 1,
                .height = s.rank > 1 ? s.dim[s.rank - 2] : 0, .width = s.rank > 1 ? s.dim[s.rank - 1] : 0,
                .low = o->low, .high = o->low == 0 && o->high == 0 ? bytes ? 255 : 1 : o->high};
    g->background = hone__choose(o->background, g->low);
    if (s.rank < 2 || s.rank > 4 || (g->channels != 1 && g->channels != 3) || g->n < 1 || g->height < 1 || g->width < 1)
        return hone__fail_run(ctx, HONE_SHAPE, "image: %s is no [height, width], [channels, height, width] or [N, channels, height, "
                                               "width] with 1 or 3 channels", HONE__SHAPE_STR(s));
    bool range = isfinite(g->low) && isfinite(g->high) && g->low < g->high && g->background >= g->low && g->background <= g->high;
    if (o->columns < 0 || o->padding < 0 || !range)
        return hone__fail_run(ctx, HONE_INVALID, "image: columns %d and padding %d must not be negative, low %g must be below high %g and "
                                                 "the background %g between them", o->columns, o->padding, g->low, g->high, g->background);
    g->columns = HONE_MIN(g->n, o->columns ? o->columns : 8);
    g->rows = (g->n + g->columns - 1) / g->columns;
    g->padding = one || o->no_padding ? 0 : o->padding ? o->padding : 2;
    const int64_t most = HONE__IMAGE_SIDE; /* checked first, so that no product below overflows */
    bool fits = g->height <= most && g->width <= most && g->padding <= most && g->rows <= most &&
                side(g->columns, g->width, g->padding) <= most && side(g->rows, g->height, g->padding) <= most;
    if (fits) return HONE_OK;
    return hone__fail_run(ctx, HONE_SHAPE, "image: %lld pictures in %lld columns are more than %lld pixels a side", (long long)g->n,
                          (long long)g->columns, (long long)most);
}

static uint8_t shade(const grid *g, double value)
{
    double share = (value - g->low) / (g->high - g->low);
    return share > 0 ? (uint8_t)(HONE_MIN(share, 1.0) * 255 + 0.5) : 0; /* NaN: 0 */
}

/* Picture i into its cell of the whole [height, width, channels]; line: room for a row of it. */
static hone_status draw(const grid *g, int64_t i, double *line, uint8_t *pixels)
{
    int64_t left = g->padding + i % g->columns * (g->width + g->padding), top = g->padding + i / g->columns * (g->height + g->padding);
    const int64_t whole = side(g->columns, g->width, g->padding);
    for (int64_t c = 0; c < g->channels; c++)
        for (int64_t y = 0; y < g->height; y++) {
            hone_status status = hone_tensor_read(g->images, ((i * g->channels + c) * g->height + y) * g->width, g->width, HONE_F64, line);
            if (status != HONE_OK) return status;
            for (int64_t x = 0; x < g->width; x++) pixels[((top + y) * whole + left + x) * g->channels + c] = shade(g, line[x]);
        }
    return HONE_OK;
}

#if HONE_HAVE_PNG

#include <png.h>

#define PNG_FUNCTIONS(X) X(png_image_write_to_memory) X(png_image_free)
HONE__LIBRARY(png_library, PNG_FUNCTIONS);

static hone_status write_png(hone_ctx *ctx, const char *path, const uint8_t *pixels, int64_t channels, int64_t height, int64_t width)
{
    static const char *const files[] = {"libpng16.so.16", "libpng16.so", NULL};
    struct png_library png;
    if (hone__library_open(files, png_library_names, HONE_ARRAY_LEN(png_library_names), &png))
        return hone__fail_run(ctx, HONE_UNSUPPORTED, "%s: PNG needs libpng; install libpng16-16", path);
    png_image image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height,
                       .format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    uint8_t *file = hone__alloc(ctx, size);
    hone_status status = file ? HONE_OK : ctx->status;
    if (file && png.png_image_write_to_memory(&image, file, &size, 0, pixels, 0, NULL))
        status = hone_write_file(ctx, path, file, size);
    else if (file)
        status = hone__fail_run(ctx, HONE_INTERNAL, "%s: %s", path, image.message);
    png.png_image_free(&image);
    hone__free(ctx, file);
    return status;
}

#else

static hone_status write_png(hone_ctx *ctx, const char *path, const uint8_t *pixels, int64_t channels, int64_t height, int64_t width)
{
    (void)pixels, (void)channels, (void)height, (void)width;
    return hone__fail_run(ctx, HONE_UNSUPPORTED, "%s: this build of Hone was made without libpng (libpng-dev)", path);
}

#endif

hone_status hone_image_save_opt(const hone_tensor *images, const char *path, const hone_image_save_opts *opts)
{
    if (!images || !path) return HONE_INVALID;
    hone_ctx *ctx = images->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    hone_image_save_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    grid g = {0};
    hone_status status = make_grid(images, &o, &g);
    if (status != HONE_OK) return status;
    int64_t height = side(g.rows, g.height, g.padding), width = side(g.columns, g.width, g.padding);
    size_t bytes = (size_t)(height * width * g.channels);
    uint8_t *pixels = hone__alloc(ctx, bytes);
    double *line = hone__alloc(ctx, (size_t)g.width * sizeof *line);
    status = pixels && line ? HONE_OK : ctx->status;
    if (status == HONE_OK) memset(pixels, shade(&g, g.background), bytes);
    for (int64_t i = 0; i < g.n && status == HONE_OK; i++) status = draw(&g, i, line, pixels);
    if (status == HONE_OK) status = write_png(ctx, path, pixels, g.channels, height, width);
    hone__free(ctx, line);
    hone__free(ctx, pixels);
    return status;
}
