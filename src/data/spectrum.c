/* Fourier transforms of any length: Cooley and Tukey's for each prime factor. FFTW's licence does not fit and Debian's KISS FFT
   is single precision; a logarithm of what is nearly silence needs more. */
#include "data/spectrum.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static int64_t smallest_factor(int64_t n)
{
    for (int64_t p = 2; p * p <= n; p++)
        if (n % p == 0) return p;
    return n;
}

/* out[n] of in[0], in[stride], ...; part has room for a factor. whole = n * stride is the length of roots. */
static void transform(const hone__complex *roots, int64_t whole, const hone__complex *in, int64_t stride, hone__complex *out,
                      int64_t n, hone__complex *part)
{
    if (n == 1) {
        out[0] = in[0];
        return;
    }
    int64_t p = smallest_factor(n), m = n / p;
    for (int64_t q = 0; q < p; q++) transform(roots, whole, in + q * stride, stride * p, out + q * m, m, part);
    for (int64_t k = 0; k < m; k++) {
        for (int64_t q = 0; q < p; q++) {
            hone__complex v = out[q * m + k], w = roots[q * k * stride % whole];
            part[q] = (hone__complex){v.re * w.re - v.im * w.im, v.re * w.im + v.im * w.re};
        }
        for (int64_t r = 0; r < p; r++) {
            hone__complex sum = part[0];
            for (int64_t q = 1; q < p; q++) {
                hone__complex v = part[q], w = roots[q * r % p * (whole / p)];
                sum.re += v.re * w.re - v.im * w.im;
                sum.im += v.re * w.im + v.im * w.re;
            }
            out[r * m + k] = sum;
        }
    }
}

bool hone__stft_init(hone__stft *s, hone_ctx *ctx, int64_t n, int64_t hop, int64_t window_length)
{
    *s = (hone__stft){.ctx = ctx, .n = n, .hop = hop, .bins = n / 2 + 1};
    s->window = hone__calloc(ctx, (size_t)n, sizeof *s->window);
    s->roots = s->window ? hone__calloc(ctx, (size_t)n, 4 * sizeof *s->roots) : NULL;
    if (!s->roots) {
        hone__stft_free(s);
        return false;
    }
    s->in = s->roots + n, s->out = s->in + n, s->part = s->out + n;
    for (int64_t k = 0; k < n; k++) s->roots[k] = (hone__complex){cos(2 * pi * (double)k / (double)n), -sin(2 * pi * (double)k / (double)n)};
    int64_t before = (n - window_length) / 2;
    for (int64_t k = 0; k < window_length; k++) s->window[before + k] = 0.5 - 0.5 * cos(2 * pi * (double)k / (double)window_length);
    return true;
}

void hone__stft_free(hone__stft *s)
{
    hone__free(s->ctx, s->window);
    hone__free(s->ctx, s->roots);
}

void hone__stft_frame(hone__stft *s, const float *x, int64_t samples, int64_t t)
{
    int64_t begin = t * s->hop - s->n / 2;
    for (int64_t k = 0; k < s->n; k++) {
        int64_t i = begin + k;
        s->in[k] = (hone__complex){i >= 0 && i < samples ? x[i] * s->window[k] : 0, 0};
    }
    transform(s->roots, s->n, s->in, 1, s->out, s->n, s->part);
}

/* Overlapping frames added under the window and divided by the sum of its squares (Griffin & Lim 1984, equation 6). */
bool hone__stft_inverse(hone__stft *s, const hone__complex *spectrum, int64_t frames, float *y, int64_t samples)
{
    double *sum = hone__calloc(s->ctx, (size_t)samples, 2 * sizeof *sum);
    if (!sum) return false;
    double *weight = sum + samples;
    for (int64_t t = 0; t < frames; t++) {
        const hone__complex *bins = spectrum + t * s->bins;
        for (int64_t k = 0; k < s->n; k++) { /* a real signal's: mirrored; conjugated, as the transform below is forward */
            hone__complex v = k < s->bins ? bins[k] : (hone__complex){bins[s->n - k].re, -bins[s->n - k].im};
            if (k == 0 || 2 * k == s->n) v.im = 0;
            s->in[k] = (hone__complex){v.re, -v.im};
        }
        transform(s->roots, s->n, s->in, 1, s->out, s->n, s->part);
        int64_t begin = t * s->hop - s->n / 2;
        for (int64_t k = 0; k < s->n; k++) {
            int64_t i = begin + k;
            if (i < 0 || i >= samples) continue;
            sum[i] += s->out[k].re / (double)s->n * s->window[k];
            weight[i] += s->window[k] * s->window[k];
        }
    }
    for (int64_t i = 0; i < samples; i++) y[i] = (float)(weight[i] > 1e-30 ? sum[i] / weight[i] : sum[i]);
    hone__free(s->ctx, sum);
    return true;
}

static double angle(hone__complex v) { return atan2(v.im, v.re); }

/* A phase vocoder (Flanagan & Golden 1966; the formulas are those of D. P. W. Ellis, "A phase vocoder in Matlab", 2002). */
bool hone__time_stretch(hone_ctx *ctx, const float *x, int64_t samples, double rate, float *y, int64_t samples_out)
{
    enum { N = 2048, HOP = N / 4 };
    hone__stft s;
    if (!hone__stft_init(&s, ctx, N, HOP, N)) return false;
    int64_t frames = hone__stft_frames(&s, samples), made = (int64_t)ceil((double)frames / rate), bins = s.bins;
    /* two frames of zeros follow the last one */
    hone__complex *from = hone__calloc(ctx, (size_t)((frames + 2 + made) * bins), sizeof *from);
    hone__complex *to = from ? from + (frames + 2) * bins : NULL;
    double *phase = from ? hone__calloc(ctx, (size_t)bins, sizeof *phase) : NULL;
    for (int64_t t = 0; phase && t < frames; t++) {
        hone__stft_frame(&s, x, samples, t);
        memcpy(from + t * bins, s.out, (size_t)bins * sizeof *from);
    }
    for (int64_t k = 0; phase && k < bins; k++) phase[k] = angle(from[k]);
    for (int64_t t = 0; phase && t < made; t++) {
        double step = (double)t * rate;
        int64_t at = HONE_MIN((int64_t)step, frames);
        double part = step - floor(step);
        for (int64_t k = 0; k < bins; k++) {
            hone__complex a = from[at * bins + k], b = from[(at + 1) * bins + k];
            double size = (1 - part) * hypot(a.re, a.im) + part * hypot(b.re, b.im), advance = pi * HOP * (double)k / (double)(bins - 1);
            to[t * bins + k] = (hone__complex){size * cos(phase[k]), size * sin(phase[k])};
            double more = angle(b) - angle(a) - advance;
            phase[k] += advance + more - 2 * pi * rint(more / (2 * pi));
        }
    }
    bool ok = phase && hone__stft_inverse(&s, to, made, y, samples_out);
    hone__free(ctx, phase);
    hone__free(ctx, from);
    hone__stft_free(&s);
    return ok;
}
