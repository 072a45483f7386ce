/* What transforms do to sound, spectrograms, tokens, and to anything. */
#include "data/spectrum.h"
#include "data/transform.h"

#include <math.h>

typedef hone__transforming work;

bool hone__gaussian_noise(work *w)
{
    int64_t n = hone_shape_count(w->from);
    for (int64_t i = 0; i < n; i++) w->y[i] = w->x[i] + (float)w->t->std * hone__random_normal(w->draws.key, (uint64_t)i + w->draws.n);
    return true;
}

bool hone__stretch(work *w)
{
    int64_t samples = w->from.dim[w->from.rank - 1], channels = w->from.rank == 2 ? w->from.dim[0] : 1;
    double rate = hone__draw_between(&w->draws, w->t->low, w->t->high);
    int64_t made = HONE_MIN((int64_t)llround((double)samples / rate), samples);
    memset(w->y, 0, (size_t)hone_shape_count(w->from) * sizeof *w->y);
    for (int64_t c = 0; c < channels; c++)
        if (!hone__time_stretch(w->ctx, w->x + c * samples, samples, rate, w->y + c * samples, made)) return false;
    return true;
}

bool hone__spec_augment(work *w)
{
    int rank = w->from.rank;
    int64_t mels = w->from.dim[rank - 2], frames = w->from.dim[rank - 1], channels = rank == 3 ? w->from.dim[0] : 1;
    bool given = w->t->height || w->t->width;
    const int64_t most[2] = {given ? w->t->height : (mels + 2) / 3, given ? w->t->width : (frames + 9) / 10};
    memcpy(w->y, w->x, (size_t)hone_shape_count(w->from) * sizeof *w->y);
    for (int k = 0; k < 2 * w->t->masks; k++) {
        bool over_time = k & 1;
        int64_t n = over_time ? frames : mels, size = hone__draw_below(&w->draws, HONE_MIN(most[over_time], n) + 1);
        int64_t begin = hone__draw_below(&w->draws, n - size + 1);
        for (int64_t c = 0; c < channels; c++)
            for (int64_t m = 0; m < mels; m++)
                for (int64_t f = 0; f < frames; f++) {
                    int64_t at = over_time ? f : m;
                    if (at >= begin && at < begin + size) w->y[(c * mels + m) * frames + f] = (float)w->t->value;
                }
    }
    return true;
}

bool hone__word_dropout(work *w)
{
    const int32_t *x = (const int32_t *)w->x;
    int32_t *y = (int32_t *)w->y;
    for (int64_t i = 0; i < w->from.dim[0]; i++) y[i] = hone__draw(&w->draws) < w->t->probability ? (int32_t)w->t->value : x[i];
    return true;
}

bool hone__word_swap(work *w)
{
    int32_t *y = (int32_t *)w->y;
    int64_t n = w->from.dim[0];
    memcpy(y, w->x, (size_t)n * sizeof *y);
    for (int k = 0; n > 1 && k < w->t->swaps; k++) {
        int64_t i = hone__draw_below(&w->draws, n - 1);
        int32_t kept = y[i];
        y[i] = y[i + 1];
        y[i + 1] = kept;
    }
    return true;
}
