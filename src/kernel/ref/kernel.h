/* For the files of kernel/ref/ alone: each is compiled once for every real type and instruction set, with
   HONE_ISA_NAME (ref, avx2, avx512) and HONE_REAL_NAME (f32, f64) set by the build. */
#ifndef HONE_SRC_KERNEL_H
#define HONE_SRC_KERNEL_H

#include "kernel/table.h"

#include <math.h>

#define HONE_PASTE_(a, b, c) hone__##a##_##b##_##c
#define HONE_PASTE(a, b, c) HONE_PASTE_(a, b, c)
#define HONE_K(name) HONE_PASTE(name, HONE_ISA_NAME, HONE_REAL_NAME)

#define HONE_REAL_f32 0
#define HONE_REAL_f64 1
#define HONE_REAL_OF_(name) HONE_REAL_##name
#define HONE_REAL_OF(name) HONE_REAL_OF_(name)
#if HONE_REAL_OF(HONE_REAL_NAME)
#define HONE_DOUBLE 1
typedef double real;
#define REAL_DTYPE HONE_F64
#define REAL_MAX 1.7976931348623157e308
#else
typedef float real;
#define REAL_DTYPE HONE_F32
#define REAL_MAX 3.402823466e38f
#endif

#define HONE_KERNEL(result, name, arguments) result HONE_K(name) arguments;
HONE_KERNEL_LIST(HONE_KERNEL)
#undef HONE_KERNEL

/* Vectors as wide as the instruction set; GCC's and clang's vector extension. */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES ((int)(VECTOR_BYTES / sizeof(real)))
typedef real vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define SIMD _Pragma("omp simd")
#define SIMD_SUM(v) HONE_PRAGMA_(omp simd reduction(+ : v))
#define SIMD_MAX(v) HONE_PRAGMA_(omp simd reduction(max : v))
#define HONE_PRAGMA_(x) _Pragma(#x)

/* Work on mixed types goes through chunks of this many reals, which stay in the first cache. */
#define CHUNK 512

/* n values of x as reals: x itself when it is of the real type already, else converted into tmp. */
static inline const real *load(const void *x, hone_dtype type, int64_t at, real *tmp, int64_t n)
{
    if (type == REAL_DTYPE) return (const real *)x + at;
    if (type == HONE_BF16) {
        const uint16_t *h = (const uint16_t *)x + at;
        for (int64_t i = 0; i < n; i++) tmp[i] = (real)hone__bf16_to_f32(h[i]);
    } else {
        const float *f = (const float *)x + at; /* f32 seen from the f64 table */
        for (int64_t i = 0; i < n; i++) tmp[i] = (real)f[i];
    }
    return tmp;
}

/* Where to compute n values bound for y: y itself, or tmp, which store() then converts. */
static inline real *stage(void *y, hone_dtype type, int64_t at, real *tmp)
{
    return type == REAL_DTYPE ? (real *)y + at : tmp;
}

static inline void store(void *y, hone_dtype type, int64_t at, const real *tmp, int64_t n)
{
    if (type == REAL_DTYPE) return;
    if (type == HONE_BF16) {
        uint16_t *h = (uint16_t *)y + at;
        for (int64_t i = 0; i < n; i++) h[i] = hone__f32_to_bf16((float)tmp[i]);
    } else {
        float *f = (float *)y + at;
        for (int64_t i = 0; i < n; i++) f[i] = (float)tmp[i];
    }
}

/* ---- functions that vectorize (f32); f64 takes the C library's ---- */

#ifdef HONE_DOUBLE
static inline double real_exp(double x) { return exp(x); }
static inline double real_tanh(double x) { return tanh(x); }
static inline double real_log(double x) { return log(x); }
static inline double real_log1p(double x) { return log1p(x); }
static inline double real_erf(double x) { return erf(x); }
static inline double real_sqrt(double x) { return sqrt(x); }
static inline double real_pow(double x, double y) { return pow(x, y); }
static inline double real_sin(double x) { return sin(x); }
static inline double real_cos(double x) { return cos(x); }
static inline double real_abs(double x) { return fabs(x); }
#else
/* exp: 2^n e^r with |r| <= ln 2 / 2 and a polynomial of degree 6 (Cephes' expf); within 2 ulp. */
static inline float real_exp(float x)
{
    float c = x > 88.7228f ? 88.7228f : x;
    c = c < -87.3365f ? -87.3365f : c;
    float n = (c * 1.44269504f + 12582912.0f) - 12582912.0f; /* rounds to nearest: 1.5 * 2^23 */
    n = n > 127.0f ? 127.0f : n;
    float r = c - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    float y = p * scale;
    y = x > 88.7228f ? (float)INFINITY : y;
    y = x < -87.3365f ? 0.0f : y;
    return x != x ? x : y;
}
/* tanh: an odd polynomial near 0 (Cephes' tanhf), 1 - 2 / (e^2x + 1) beyond. */
static inline float real_tanh(float x)
{
    float a = x < 0 ? -x : x, z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = p * z * x + x;
    float large = 1.0f - 2.0f / (real_exp(2.0f * a) + 1.0f);
    large = x < 0 ? -large : large;
    return a < 0.625f ? small : (x != x ? x : large);
}
static inline float real_log(float x) { return logf(x); }
static inline float real_log1p(float x) { return log1pf(x); }
/* erf: an odd polynomial up to 1, 1 - e^-p(x) beyond, both best in relative error (2e-9 and 2e-8 before rounding); 1 from 4 on. */
static inline float real_erf(float x)
{
    float a = x < 0 ? -x : x, c = a > 4.0f ? 4.0f : a, z = x * x;
    float p = 7.853857688e-5f;
    p = p * z - 8.010192516e-4f;
    p = p * z + 5.188327559e-3f;
    p = p * z - 2.685381187e-2f;
    p = p * z + 1.128358515e-1f;
    p = p * z - 3.761262582e-1f;
    p = p * z + 1.128379166f;
    float q = 1.157226208e-3f;
    q = q * c - 1.483188468e-2f;
    q = q * c + 8.879983860e-2f;
    q = q * c + 6.542398891e-1f;
    q = q * c + 1.117621387f;
    q = q * c + 2.619139876e-3f;
    float large = 1.0f - real_exp(-q);
    large = x < 0 ? -large : large;
    return a < 1.0f ? p * x : large;
}
static inline float real_sqrt(float x) { return sqrtf(x); }
static inline float real_pow(float x, float y) { return powf(x, y); }
static inline float real_sin(float x) { return sinf(x); }
static inline float real_cos(float x) { return cosf(x); }
static inline float real_abs(float x) { return fabsf(x); }
#endif
static inline real real_sigmoid(real x) { return (real)1 / ((real)1 + real_exp(-x)); }

#endif
