/* Fourier transforms of sound, in double. */
#ifndef HONE_SRC_SPECTRUM_H
#define HONE_SRC_SPECTRUM_H

#include "data/data.h"

typedef struct hone__complex {
    double re, im;
} hone__complex;

/* A short-time Fourier transform: frames of n samples, every `hop` samples, under a Hann window, centred: half a frame of
   zeros is put before and behind the samples. */
typedef struct hone__stft {
    hone_ctx *ctx;
    int64_t n, hop, bins;  /* bins = n / 2 + 1 */
    double *window;        /* [n] */
    hone__complex *roots;  /* [n] exp(-2 pi i k / n) */
    hone__complex *in, *out, *part; /* [n] each */
} hone__stft;
/* false: memory ran out. */
bool hone__stft_init(hone__stft *s, hone_ctx *ctx, int64_t n, int64_t hop, int64_t window_length);
void hone__stft_free(hone__stft *s);
static inline int64_t hone__stft_frames(const hone__stft *s, int64_t samples) { return 1 + samples / s->hop; }
/* Frame number t of x[samples]: bins into s->out. */
void hone__stft_frame(hone__stft *s, const float *x, int64_t samples, int64_t t);
/* y[samples] from spectrum [frames, bins]; false: memory ran out. */
bool hone__stft_inverse(hone__stft *s, const hone__complex *spectrum, int64_t frames, float *y, int64_t samples);
/* y[samples_out] is x at `rate` times the speed, its pitch kept. false: memory ran out. */
bool hone__time_stretch(hone_ctx *ctx, const float *x, int64_t samples, double rate, float *y, int64_t samples_out);

#endif
