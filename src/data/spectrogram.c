/* Mel spectrograms and MFCCs, as librosa's (McFee et al., "librosa: Audio and music signal analysis in Python", SciPy 2015). */
#include "data/spectrum.h"

#include <math.h>

/* ---- the mel scale: M. Slaney, Auditory Toolbox, 1998: linear below 1000 Hz, logarithmic above ---- */

static double mel_of(double hz)
{
    const double step = 200.0 / 3, edge = 1000, log_step = log(6.4) / 27;
    return hz < edge ? hz / step : edge / step + log(hz / edge) / log_step;
}

static double hz_of(double mel)
{
    const double step = 200.0 / 3, edge = 1000, log_step = log(6.4) / 27;
    return mel < edge / step ? mel * step : edge * exp(log_step * (mel - edge / step));
}

/* Triangles over the bins, [mels, bins], each of area 1 over the frequencies. */
static void mel_filters(const hone_spectrogram_opts *o, int sample_rate, int64_t bins, double *filters)
{
    double least = mel_of(o->f_min), most = mel_of(o->f_max);
    for (int m = 0; m < o->n_mels; m++) {
        double edge[3];
        for (int i = 0; i < 3; i++) edge[i] = hz_of(least + (most - least) * (m + i) / (o->n_mels + 1));
        for (int64_t k = 0; k < bins; k++) {
            double hz = (double)k * sample_rate / o->n_fft;
            double up = (hz - edge[0]) / (edge[1] - edge[0]), down = (edge[2] - hz) / (edge[2] - edge[1]);
            filters[m * bins + k] = HONE_MAX(0, HONE_MIN(up, down)) * 2 / (edge[2] - edge[0]);
        }
    }
}

/* ---- spectrograms ---- */

/* One channel: mel powers into y [mels, frames]. */
static void mel_powers(hone__stft *s, const double *filters, int mels, const float *x, int64_t samples, double *power, double *y)
{
    int64_t frames = hone__stft_frames(s, samples), bins = s->bins;
    for (int64_t t = 0; t < frames; t++) {
        hone__stft_frame(s, x, samples, t);
        for (int64_t k = 0; k < bins; k++) power[k] = s->out[k].re * s->out[k].re + s->out[k].im * s->out[k].im;
        for (int m = 0; m < mels; m++) {
            double sum = 0;
            for (int64_t k = 0; k < bins; k++) sum += filters[m * bins + k] * power[k];
            y[m * frames + t] = sum;
        }
    }
}

/* 10 log10(y), nothing below 1e-10 and below the largest less the dynamic range. */
static void to_decibels(double *y, int64_t n, double range)
{
    double most = -INFINITY;
    for (int64_t i = 0; i < n; i++) most = fmax(most, y[i] = 10 * log10(HONE_MAX(y[i], 1e-10)));
    for (int64_t i = 0; i < n; i++) y[i] = fmax(y[i], most - range);
}

/* The orthonormal cosine transform (type 2) over mels: y [mels, frames] to out [n, frames]. */
static void cosine_transform(const double *y, int mels, int64_t frames, int n, float *out)
{
    const double pi = 3.14159265358979323846;
    for (int c = 0; c < n; c++)
        for (int64_t t = 0; t < frames; t++) {
            double sum = 0;
            for (int m = 0; m < mels; m++) sum += y[m * frames + t] * cos(pi * c * (2 * m + 1) / (2.0 * mels));
            out[c * frames + t] = (float)(sum * sqrt((c ? 2.0 : 1.0) / mels));
        }
}

static bool fill_in(hone_ctx *ctx, hone_spectrogram_opts *o, int sample_rate)
{
    if (!o->n_fft) o->n_fft = 2048;
    if (!o->win_length) o->win_length = o->n_fft;
    if (!o->hop_length) o->hop_length = HONE_MAX(o->n_fft / 4, 1);
    if (!o->n_mels) o->n_mels = 128;
    if (o->f_max == 0) o->f_max = sample_rate / 2.0;
    if (o->top_db == 0) o->top_db = 80;
    const char *wrong = NULL;
    if (sample_rate < 1) wrong = "the sample rate must be positive";
    if (o->n_fft < 2 || o->n_fft > 1 << 20) wrong = "n_fft must lie in [2, 2^20]";
    if (o->hop_length < 1) wrong = "hop_length must be positive";
    if (o->win_length < 1 || o->win_length > o->n_fft) wrong = "win_length must lie in [1, n_fft]";
    if (o->n_mels < 1 || o->n_mels > 1 << 14) wrong = "n_mels must lie in [1, 2^14]";
    if (!(o->f_min >= 0 && o->f_min < o->f_max && isfinite(o->f_max))) wrong = "f_min must be at least 0 and below f_max";
    if (o->n_mfcc < 0 || o->n_mfcc > o->n_mels) wrong = "n_mfcc must not be larger than n_mels";
    if (!(o->top_db > 0)) wrong = "top_db must be positive";
    if (wrong) hone__fail_run(ctx, HONE_INVALID, "spectrogram: %s", wrong);
    return !wrong;
}

static bool spectrograms(hone_ctx *ctx, const hone_tensor *x, int sample_rate, const hone_spectrogram_opts *o, hone_tensor *result)
{
    int64_t samples = x->shape.dim[x->shape.rank - 1], channels = x->shape.rank == 2 ? x->shape.dim[0] : 1;
    hone__stft s;
    if (!hone__stft_init(&s, ctx, o->n_fft, o->hop_length, o->win_length)) return false;
    int64_t frames = hone__stft_frames(&s, samples), n = o->n_mels * frames;
    double *filters = hone__calloc(ctx, (size_t)s.bins, (size_t)o->n_mels * sizeof *filters);
    double *y = filters ? hone__calloc(ctx, (size_t)(s.bins + n), sizeof *y) : NULL;
    if (filters) mel_filters(o, sample_rate, s.bins, filters);
    int rows = o->n_mfcc ? o->n_mfcc : o->n_mels;
    for (int64_t c = 0; y && c < channels; c++) {
        float *to = (float *)result->data + c * rows * frames;
        double *mel = y + s.bins;
        mel_powers(&s, filters, o->n_mels, (const float *)x->data + c * samples, samples, y, mel);
        if (!o->no_log || o->n_mfcc) to_decibels(mel, n, o->top_db);
        if (o->n_mfcc)
            cosine_transform(mel, o->n_mels, frames, rows, to);
        else
            for (int64_t i = 0; i < n; i++) to[i] = (float)mel[i];
    }
    bool ok = y != NULL;
    hone__free(ctx, y);
    hone__free(ctx, filters);
    hone__stft_free(&s);
    return ok;
}

hone_tensor *hone_spectrogram_opt(const hone_tensor *x, int sample_rate, const hone_spectrogram_opts *opts)
{
    if (!x || !hone__ok(x->ctx)) return NULL;
    hone_ctx *ctx = x->ctx;
    hone_spectrogram_opts o = {0};
    if (opts) memcpy(&o, opts, HONE_MIN(opts->struct_size, sizeof o));
    if (!fill_in(ctx, &o, sample_rate)) return NULL;
    if (x->dtype != HONE_F32 || x->shape.rank < 1 || x->shape.rank > 2)
        return hone__fail_run(ctx, x->dtype == HONE_F32 ? HONE_SHAPE : HONE_DTYPE,
                              "spectrogram: x is %s %s; f32 [samples] or [channels, samples] is needed", hone_dtype_name(x->dtype),
                              HONE__SHAPE_STR(x->shape)),
               NULL;
    int64_t samples = x->shape.dim[x->shape.rank - 1], frames = 1 + samples / o.hop_length;
    int64_t rows = o.n_mfcc ? o.n_mfcc : o.n_mels;
    hone_shape shape = x->shape.rank == 2 ? HONE_SHAPE(x->shape.dim[0], rows, frames) : HONE_SHAPE(rows, frames);
    hone_tensor *result = hone_tensor_new(ctx, HONE_F32, shape);
    if (!result || spectrograms(ctx, x, sample_rate, &o, result)) return result;
    hone_tensor_free(result);
    return NULL;
}
