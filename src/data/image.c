/* PNG and JPEG to tensors [channels, height, width]. PNG by libpng's simplified interface, JPEG by TurboJPEG; both give bytes
   row by row with channels innermost, and check what they are given. */
#include "data/image.h"
#include "base/library.h"
#include "base/os.h"

#if HONE_HAVE_PNG || HONE_HAVE_JPEG
static bool check_size(hone_ctx *ctx, const char *path, int64_t width, int64_t height)
{
    if (width > 0 && height > 0 && width <= HONE__IMAGE_SIDE && height <= HONE__IMAGE_SIDE && width * height <= HONE__IMAGE_PIXELS) return true;
    hone__fail(ctx, HONE_FORMAT, "%s: a picture of %lld x %lld pixels; at most %d a side and %d in all are read", path,
               (long long)width, (long long)height, HONE__IMAGE_SIDE, HONE__IMAGE_PIXELS);
    return false;
}
#endif

/* Bytes [height, width, channels] to be freed with hone__free; NULL with an error. */
typedef uint8_t *(*decode_fn)(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int channels, int64_t *height,
                              int64_t *width);

#if HONE_HAVE_PNG

#include <png.h>

#define PNG_FUNCTIONS(X) X(png_image_begin_read_from_memory) X(png_image_finish_read) X(png_image_free)
HONE__LIBRARY(png_library, PNG_FUNCTIONS);

static uint8_t *decode_png(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int channels, int64_t *height,
                           int64_t *width)
{
    static const char *const files[] = {"libpng16.so.16", "libpng16.so", NULL};
    struct png_library png;
    if (hone__library_open(files, png_library_names, HONE_ARRAY_LEN(png_library_names), &png))
        return hone__fail(ctx, HONE_UNSUPPORTED, "%s: PNG needs libpng; install libpng16-16", path), NULL;
    png_image image = {.version = PNG_IMAGE_VERSION};
    uint8_t *pixels = NULL;
    const png_color black = {0, 0, 0}; /* what is behind transparent pixels */
    if (!png.png_image_begin_read_from_memory(&image, data, size)) {
        hone__fail(ctx, HONE_FORMAT, "%s: %s", path, image.message);
    } else if (check_size(ctx, path, image.width, image.height)) {
        image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
        *height = image.height, *width = image.width;
        pixels = hone__alloc(ctx, (size_t)(*height * *width * channels));
        if (pixels && (!png.png_image_finish_read(&image, &black, pixels, 0, NULL) || PNG_IMAGE_FAILED(image))) {
            hone__fail(ctx, HONE_FORMAT, "%s: %s", path, image.message);
            hone__free(ctx, pixels);
            pixels = NULL;
        }
    }
    png.png_image_free(&image);
    return pixels;
}

#else

static uint8_t *decode_png(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int channels, int64_t *height,
                           int64_t *width)
{
    (void)data, (void)size, (void)channels, (void)height, (void)width;
    return hone__fail(ctx, HONE_UNSUPPORTED, "%s: this build of Hone was made without libpng (libpng-dev)", path), NULL;
}

#endif

#if HONE_HAVE_JPEG

#include <turbojpeg.h>

#define JPEG_FUNCTIONS(X) \
    X(tjInitDecompress) X(tjDecompressHeader3) X(tjDecompress2) X(tjGetErrorStr2) X(tjGetErrorCode) X(tjDestroy)
HONE__LIBRARY(jpeg_library, JPEG_FUNCTIONS);

static uint8_t *decode_jpeg(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int channels, int64_t *height,
                            int64_t *width)
{
    static const char *const files[] = {"libturbojpeg.so.0", NULL};
    struct jpeg_library jpeg;
    if (hone__library_open(files, jpeg_library_names, HONE_ARRAY_LEN(jpeg_library_names), &jpeg))
        return hone__fail(ctx, HONE_UNSUPPORTED, "%s: JPEG needs TurboJPEG; install libturbojpeg0", path), NULL;
    int w, h, sampling, colours;
    uint8_t *pixels = NULL;
    tjhandle handle = jpeg.tjInitDecompress();
    if (!handle) return hone__fail(ctx, HONE_MEMORY, "memory ran out for TurboJPEG"), NULL;
    if (jpeg.tjDecompressHeader3(handle, data, (unsigned long)size, &w, &h, &sampling, &colours) != 0) {
        hone__fail(ctx, HONE_FORMAT, "%s: %s", path, jpeg.tjGetErrorStr2(handle));
    } else if (check_size(ctx, path, w, h) && (pixels = hone__calloc(ctx, (size_t)w * (size_t)h, (size_t)channels))) {
        *width = w, *height = h;
        /* A warning (of a file that is cut off, say) is an error here: half a picture would go unnoticed. Many scans of a huge
           picture take very long: TJFLAG_LIMITSCANS. */
        int flags = TJFLAG_ACCURATEDCT;
#ifdef TJFLAG_LIMITSCANS
        flags |= TJFLAG_LIMITSCANS;
#endif
        if (jpeg.tjDecompress2(handle, data, (unsigned long)size, pixels, w, 0, h, channels == 1 ? TJPF_GRAY : TJPF_RGB, flags)) {
            hone__fail(ctx, HONE_FORMAT, "%s: %s", path, jpeg.tjGetErrorStr2(handle));
            hone__free(ctx, pixels);
            pixels = NULL;
        }
    }
    jpeg.tjDestroy(handle);
    return pixels;
}

#else

static uint8_t *decode_jpeg(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int channels, int64_t *height,
                            int64_t *width)
{
    (void)data, (void)size, (void)channels, (void)height, (void)width;
    return hone__fail(ctx, HONE_UNSUPPORTED, "%s: this build of Hone was made without TurboJPEG (libturbojpeg0-dev)", path), NULL;
}

#endif

static const struct {
    const char *magic;
    size_t size;
    decode_fn decode;
} decoders[] = {{"\x89PNG\r\n\x1A\n", 8, decode_png}, {"\xFF\xD8\xFF", 3, decode_jpeg}};

bool hone__image_decode(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, int channels, int64_t height,
                        int64_t width, float **pixels, hone_shape *shape)
{
    if (!hone__ok(ctx)) return false;
    decode_fn decode = NULL;
    for (size_t i = 0; i < HONE_ARRAY_LEN(decoders); i++)
        if (size >= decoders[i].size && !memcmp(data, decoders[i].magic, decoders[i].size)) decode = decoders[i].decode;
    if (!decode) return hone__fail(ctx, HONE_FORMAT, "%s: is neither PNG nor JPEG", path), false;
    int64_t h, w;
    uint8_t *bytes = decode(ctx, path, data, size, channels, &h, &w);
    if (!bytes) return false;
    float *planes = hone__alloc(ctx, (size_t)(h * w * channels) * sizeof *planes), *result = planes;
    for (int64_t i = 0; planes && i < h * w; i++)
        for (int c = 0; c < channels; c++) planes[c * h * w + i] = (float)bytes[i * channels + c] / 255;
    hone__free(ctx, bytes);
    *shape = HONE_SHAPE(channels, height ? height : h, width ? width : w);
    if (planes && (shape->dim[1] != h || shape->dim[2] != w)) {
        result = hone__alloc(ctx, (size_t)hone_shape_count(*shape) * sizeof *result);
        if (result && !hone__resize(ctx, planes, HONE_SHAPE(channels, h, w), result, *shape)) {
            hone__free(ctx, result);
            result = NULL;
        }
        hone__free(ctx, planes);
    }
    *pixels = result;
    return result != NULL;
}

hone_tensor *hone__image_read(hone_ctx *ctx, const char *path, const uint8_t *data, size_t size, const hone_image_opts *opts)
{
    if (!hone__ok(ctx)) return NULL;
    hone_image_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    if (!o.channels) o.channels = 3;
    if (!hone__image_opts_ok(ctx, &o)) return NULL;
    float *pixels;
    hone_shape shape;
    if (!hone__image_decode(ctx, path, data, size, o.channels, o.height, o.width, &pixels, &shape)) return NULL;
    hone_tensor *t = hone_tensor_from_f32(ctx, shape, pixels);
    hone__free(ctx, pixels);
    return t;
}

bool hone__image_opts_ok(hone_ctx *ctx, const hone_image_opts *o)
{
    bool ok = (o->channels == 1 || o->channels == 3) && o->height >= 0 && o->height <= HONE__IMAGE_SIDE && o->width >= 0 &&
              o->width <= HONE__IMAGE_SIDE;
    if (!ok)
        hone__fail(ctx, HONE_INVALID, "a picture of %d channels, %lld x %lld pixels: channels are 1 or 3, sides at most %d",
                   o->channels, (long long)o->height, (long long)o->width, HONE__IMAGE_SIDE);
    return ok;
}

hone_tensor *hone_image_load_opt(hone_ctx *ctx, const char *path, const hone_image_opts *opts)
{
    hone__map map;
    if (hone__map_open(ctx, path, &map) != HONE_OK) return NULL;
    hone_tensor *t = hone__image_read(ctx, path, map.data, map.size, opts);
    hone__map_close(&map);
    return t;
}
