/* Lists of transforms: one table of what each is for, and the way of an example through a list. */
#include "data/transform.h"

#include <math.h>

enum { MAX_SIDE = 1 << 15 };

typedef enum { PICTURE, SOUND, SPECTROGRAM, TOKENS, ANYTHING } subject;

static const struct {
    const char *name;
    subject of;
    double probability; /* default */
    double low, high;   /* defaults */
    hone__transform_fn run;
} kinds[] = {
    [HONE_RANDOM_HORIZONTAL_FLIP] = {"horizontal flip", PICTURE, 0.5, 0, 0, hone__flip_horizontal},
    [HONE_RANDOM_VERTICAL_FLIP] = {"vertical flip", PICTURE, 0.5, 0, 0, hone__flip_vertical},
    [HONE_RANDOM_CROP] = {"random crop", PICTURE, 1, 0, 0, hone__random_crop},
    [HONE_CENTER_CROP] = {"center crop", PICTURE, 1, 0, 0, hone__center_crop},
    [HONE_RESIZE] = {"resize", PICTURE, 1, 0, 0, hone__transform_resize},
    [HONE_RANDOM_ROTATION] = {"rotation", PICTURE, 1, 1, 1, hone__random_affine},
    [HONE_RANDOM_AFFINE] = {"affine", PICTURE, 1, 1, 1, hone__random_affine},
    [HONE_COLOR_JITTER] = {"color jitter", PICTURE, 1, 0, 0, hone__color_jitter},
    [HONE_RANDOM_ERASING] = {"random erasing", PICTURE, 0.5, 0.02, 0.33, hone__random_erasing},
    [HONE_GAUSSIAN_NOISE] = {"noise", ANYTHING, 1, 0, 0, hone__gaussian_noise},
    [HONE_NORMALIZE] = {"normalize", PICTURE, 1, 0, 0, hone__normalize},
    [HONE_TIME_STRETCH] = {"time stretch", SOUND, 1, 0.8, 1.25, hone__stretch},
    [HONE_SPEC_AUGMENT] = {"SpecAugment", SPECTROGRAM, 1, 0, 0, hone__spec_augment},
    [HONE_WORD_DROPOUT] = {"word dropout", TOKENS, 0.1, 0, 0, hone__word_dropout},
    [HONE_WORD_SWAP] = {"word swap", TOKENS, 1, 0, 0, hone__word_swap},
};

static const struct {
    int least_rank, most_rank;
    const char *what;
} subjects[] = {[PICTURE] = {3, 3, "f32 [channels, height, width]"},
                [SOUND] = {1, 2, "f32 [samples] or [channels, samples]"},
                [SPECTROGRAM] = {2, 3, "f32 [mels, frames] or [channels, mels, frames]"},
                [TOKENS] = {1, 1, "i32 [length]"},
                [ANYTHING] = {0, HONE_MAX_RANK, "f32"}};

/* ---- random numbers ---- */

double hone__draw(hone__draws *d)
{
    uint32_t bits[4];
    hone__philox(d->key, d->n++, bits);
    return (double)(((uint64_t)bits[0] << 32 | bits[1]) >> 11) * 0x1p-53;
}

int64_t hone__draw_below(hone__draws *d, int64_t bound) { return (int64_t)hone__random_below(d->key, d->n++, (uint64_t)bound); }

/* ---- lists ---- */

/* The transform with its defaults. */
static hone_transform with_defaults(const hone_transform *from)
{
    hone_transform t = *from;
    if (t.probability == 0) t.probability = kinds[t.kind].probability;
    if (t.low == 0 && t.high == 0) t.low = kinds[t.kind].low, t.high = kinds[t.kind].high;
    if (!(t.std != 0)) t.std = 0.1;
    if (!t.swaps) t.swaps = 1;
    if (!t.masks) t.masks = 1;
    return t;
}

static const char *wrong_numbers(const hone_transform *t, hone_shape shape)
{
    bool crops = t->kind == HONE_RANDOM_CROP || t->kind == HONE_CENTER_CROP, crop_fits = true;
    if (crops && shape.rank == 3)
        crop_fits = t->height <= shape.dim[1] + 2 * t->padding && t->width <= shape.dim[2] + 2 * t->padding;
    if (!(t->probability >= 0 && t->probability <= 1)) return "its probability must lie in [0, 1]";
    if (t->height < 0 || t->width < 0 || t->padding < 0 || t->height > MAX_SIDE || t->width > MAX_SIDE || t->padding > MAX_SIDE)
        return "height, width and padding must lie in [0, 32768]";
    if (!crop_fits) return "the picture is smaller";
    if (!(t->low <= t->high && t->low >= 0 && isfinite(t->high))) return "low must be at least 0 and at most high";
    if (t->kind == HONE_TIME_STRETCH && !(t->low >= 0.1 && t->high <= 10)) return "the speed must lie in [0.1, 10]";
    if (t->kind == HONE_RANDOM_AFFINE && !(t->low > 0)) return "the scale must be positive";
    if (t->kind == HONE_RANDOM_ERASING && t->high > 1) return "a share of the area is at most 1";
    if (!(fabs(t->shear) < 90)) return "shear must be less than 90 degrees";
    if (!isfinite(t->degrees) || !isfinite(t->translate) || !isfinite(t->std) || !isfinite(t->value)) return "numbers must be finite";
    if (!(t->brightness >= 0 && t->contrast >= 0 && t->saturation >= 0 && t->hue >= 0 && t->hue <= 0.5) ||
        !isfinite(t->brightness + t->contrast + t->saturation))
        return "brightness, contrast and saturation must be at least 0, hue in [0, 0.5]";
    if (t->kind == HONE_NORMALIZE && (!t->mean || !t->deviation)) return "mean and deviation are needed";
    if (t->kind == HONE_WORD_DROPOUT && !(fabs(t->value) <= INT32_MAX)) return "the token does not fit into 32 bits";
    if (t->masks < 0 || t->swaps < 0) return "masks and swaps must be positive";
    return NULL;
}

static hone_shape shape_after(const hone_transform *t, hone_shape shape)
{
    if (t->kind != HONE_RANDOM_CROP && t->kind != HONE_CENTER_CROP && t->kind != HONE_RESIZE) return shape;
    if (t->height) shape.dim[1] = t->height;
    if (t->width) shape.dim[2] = t->width;
    return shape;
}

hone_status hone__transforms_check(hone_ctx *ctx, const hone_transform *list, size_t n, hone_dtype dtype, hone_shape *shape,
                                   int64_t *most)
{
    *most = hone_shape_count(*shape);
    if (n && !*most) return hone__fail_run(ctx, HONE_SHAPE, "an example %s has nothing to transform", HONE__SHAPE_STR(*shape));
    for (size_t i = 0; i < n; i++) {
        if ((size_t)list[i].kind >= HONE_ARRAY_LEN(kinds))
            return hone__fail_run(ctx, HONE_INVALID, "there is no transform of kind %d", (int)list[i].kind);
        hone_transform t = with_defaults(&list[i]);
        subject of = kinds[t.kind].of;
        if (dtype != (of == TOKENS ? HONE_I32 : HONE_F32))
            return hone__fail_run(ctx, HONE_DTYPE, "%s is for %s, not for %s", kinds[t.kind].name, subjects[of].what,
                                  hone_dtype_name(dtype));
        if (shape->rank < subjects[of].least_rank || shape->rank > subjects[of].most_rank || (t.kind == HONE_COLOR_JITTER && shape->dim[0] != 3))
            return hone__fail_run(ctx, HONE_SHAPE, "%s is for %s%s, not for %s", kinds[t.kind].name, subjects[of].what,
                                  t.kind == HONE_COLOR_JITTER ? " of 3 channels" : "", HONE__SHAPE_STR(*shape));
        const char *wrong = wrong_numbers(&t, *shape);
        int64_t count;
        size_t bytes;
        if (!wrong && t.kind == HONE_NORMALIZE)
            for (int64_t c = 0; c < shape->dim[0]; c++)
                if (!(t.deviation[c] != 0)) wrong = "a deviation is 0";
        if (wrong) return hone__fail_run(ctx, HONE_INVALID, "%s: %s", kinds[t.kind].name, wrong);
        *shape = shape_after(&t, *shape);
        if (!hone__tensor_size(HONE_F32, *shape, &count, &bytes))
            return hone__fail_run(ctx, HONE_SHAPE, "%s: a picture %s is too large", kinds[t.kind].name, HONE__SHAPE_STR(*shape));
        *most = HONE_MAX(*most, count);
    }
    return HONE_OK;
}

const float *hone__transforms_run(hone_ctx *ctx, const hone_transform *list, size_t n, hone_shape shape, const float *x,
                                  float *rooms[2], uint64_t key)
{
    for (size_t i = 0; i < n; i++) {
        hone_transform t = with_defaults(&list[i]);
        hone__transforming w = {.ctx = ctx, .t = &t, .from = shape, .to = shape_after(&t, shape), .x = x, .draws = {.key = hone__key(key, i)}};
        w.y = rooms[x == rooms[0]];
        if (t.kind != HONE_WORD_DROPOUT && t.probability < 1 && hone__draw(&w.draws) >= t.probability &&
            hone_shape_equal(w.from, w.to))
            continue;
        if (!kinds[t.kind].run(&w)) return NULL;
        x = w.y, shape = w.to;
    }
    return x;
}

hone_tensor *hone_transform_apply(const hone_tensor *x, const hone_transform *transforms, size_t n, uint64_t seed, int64_t epoch,
                                  int64_t row)
{
    if (!x || (n && !transforms) || !hone__ok(x->ctx)) return NULL;
    hone_ctx *ctx = x->ctx;
    hone_shape shape = x->shape;
    int64_t most;
    if (hone__transforms_check(ctx, transforms, n, x->dtype, &shape, &most) != HONE_OK) return NULL;
    hone_tensor *result = hone_tensor_new(ctx, x->dtype, shape);
    float *room = result ? hone__calloc(ctx, (size_t)most, 2 * sizeof *room) : NULL;
    const float *y = NULL;
    if (room) {
        float *rooms[2] = {room, room + most};
        y = hone__transforms_run(ctx, transforms, n, x->shape, x->data, rooms, hone__row_key(seed, epoch, row));
        if (y && result->bytes) memcpy(result->data, y, result->bytes);
    }
    hone__free(ctx, room);
    if (y) return result;
    hone_tensor_free(result);
    return NULL;
}
