#include "tensor/block.h"

float hone__f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3FFu, bits;
    if (exponent == 31) {
        bits = sign | 0x7F800000u | fraction << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | fraction << 13; /* 112 = 127 - 15, the biases */
    } else {
        float subnormal = (float)fraction * 0x1p-24f;
        memcpy(&bits, &subnormal, 4);
        bits |= sign;
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

uint16_t hone__f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    bits &= 0x7FFFFFFFu;
    if (bits > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | (bits >> 13 & 0x3FFu)); /* a quiet NaN */
    if (bits >= 0x477FF000u) return sign | 0x7C00u; /* 65520 and more round to infinity */
    if (bits <
        0x38800000u) { /* below 2^-14: adding 0.5 leaves the bits of a subnormal, rounded by the addition */
        float magnitude;
        memcpy(&magnitude, &bits, 4);
        magnitude += 0.5f;
        memcpy(&bits, &magnitude, 4);
        return (uint16_t)(sign | (bits - 0x3F000000u));
    }
    bits += 0xFFFu + (bits >> 13 & 1u); /* to nearest, ties to even; a carry moves into the exponent */
    return (uint16_t)(sign | ((bits >> 13) - (112u << 10)));
}

/* To f32 rounding to odd, which a second rounding to 16 bits cannot turn into a wrong one: Boldo and
   Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008. */
static float f64_to_f32_odd(double d)
{
    float f = (float)d;
    if ((double)f == d || d != d) return f;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    bool above = d < 0 ? (double)f < d : (double)f > d; /* in magnitude */
    if (!(bits & 1)) bits += above ? UINT32_MAX : 1u;
    memcpy(&f, &bits, 4);
    return f;
}

/* Exact below 2^53; above, the lowest 11 bits become one sticky bit, so that rounding to 16 bits comes out
   as if from all of them. */
static double i64_to_f64_sticky(int64_t i)
{
    if (i > -(INT64_C(1) << 53) && i < INT64_C(1) << 53) return (double)i;
    return (double)(int64_t)(((uint64_t)i & ~UINT64_C(2047)) | ((uint64_t)i & 2047 ? 1024 : 0));
}

/* Towards zero, saturating; NaN becomes 0. */
static int64_t f64_to_i64(double d)
{
    if (d >= 0x1p63) return INT64_MAX;
    if (d < -0x1p63) return INT64_MIN;
    return d == d ? (int64_t)d : 0;
}

/* Each type is read into the narrowest of float, double and int64_t that holds it exactly, and written
   from there with one rounding. */
static float load_f32(float v) { return v; }
static float load_bf16(uint16_t v) { return hone__bf16_to_f32(v); }
static float load_f16(uint16_t v) { return hone__f16_to_f32(v); }
static double load_f64(double v) { return v; }
static int64_t load_i32(int32_t v) { return v; }
static int64_t load_i64(int64_t v) { return v; }
static int64_t load_u8(uint8_t v) { return v; }

static float i64_to_f32(int64_t v) { return (float)v; }
static double i64_to_f64(int64_t v) { return (double)v; }
static uint16_t i64_to_bf16(int64_t v) { return hone__f32_to_bf16(f64_to_f32_odd(i64_to_f64_sticky(v))); }
static uint16_t i64_to_f16(int64_t v) { return hone__f32_to_f16(f64_to_f32_odd(i64_to_f64_sticky(v))); }
static int32_t i64_to_i32(int64_t v) { return (int32_t)HONE_MIN(HONE_MAX(v, INT32_MIN), INT32_MAX); }
static int64_t i64_to_i64(int64_t v) { return v; }
static uint8_t i64_to_u8(int64_t v) { return (uint8_t)HONE_MIN(HONE_MAX(v, 0), 255); }

static float f64_to_f32(double v) { return (float)v; }
static double f64_to_f64(double v) { return v; }
static uint16_t f64_to_bf16(double v) { return hone__f32_to_bf16(f64_to_f32_odd(v)); }
static uint16_t f64_to_f16(double v) { return hone__f32_to_f16(f64_to_f32_odd(v)); }
static int32_t f64_to_i32(double v) { return i64_to_i32(f64_to_i64(v)); }
static uint8_t f64_to_u8(double v) { return i64_to_u8(f64_to_i64(v)); }

static float f32_to_f32(float v) { return v; }
static double f32_to_f64(float v) { return (double)v; }
static uint16_t f32_to_bf16(float v) { return hone__f32_to_bf16(v); }
static uint16_t f32_to_f16(float v) { return hone__f32_to_f16(v); }
static int32_t f32_to_i32(float v) { return f64_to_i32((double)v); }
static int64_t f32_to_i64(float v) { return f64_to_i64((double)v); }
static uint8_t f32_to_u8(float v) { return f64_to_u8((double)v); }

/* Elements go through memcpy: the data of a file need not be aligned. */
#define LOOP(S, load, D, store)                                           \
    for (int64_t i = 0; i < count; i++) {                                 \
        S s;                                                              \
        memcpy(&s, (const char *)src + (size_t)i * sizeof(S), sizeof(S)); \
        D d = store(load(s));                                             \
        memcpy((char *)dst + (size_t)i * sizeof(D), &d, sizeof(D));       \
    }                                                                     \
    return HONE_OK
#define FROM(name, S, wide)                                                                       \
    static hone_status from_##name(void *restrict dst, hone_dtype type, const void *restrict src, \
                                   int64_t count)                                                 \
    {                                                                                             \
        switch (type) {                                                                           \
        case HONE_F32:                                                                            \
            LOOP(S, load_##name, float, wide##_to_f32);                                           \
        case HONE_F64:                                                                            \
            LOOP(S, load_##name, double, wide##_to_f64);                                          \
        case HONE_BF16:                                                                           \
            LOOP(S, load_##name, uint16_t, wide##_to_bf16);                                       \
        case HONE_F16:                                                                            \
            LOOP(S, load_##name, uint16_t, wide##_to_f16);                                        \
        case HONE_I32:                                                                            \
            LOOP(S, load_##name, int32_t, wide##_to_i32);                                         \
        case HONE_I64:                                                                            \
            LOOP(S, load_##name, int64_t, wide##_to_i64);                                         \
        case HONE_U8:                                                                             \
            LOOP(S, load_##name, uint8_t, wide##_to_u8);                                          \
        default:                                                                                  \
            return HONE_DTYPE;                                                                    \
        }                                                                                         \
    }
FROM(f32, float, f32)
FROM(bf16, uint16_t, f32)
FROM(f16, uint16_t, f32)
FROM(f64, double, f64)
FROM(i32, int32_t, i64)
FROM(i64, int64_t, i64)
FROM(u8, uint8_t, i64)

static hone_status from_blocks(void *dst, hone_dtype type, const void *src, hone_dtype src_type,
                               int64_t count)
{
    const hone__block_format *format = hone__block_format_of(src_type);
    const hone__dtype_info *info = &hone__dtypes[src_type];
    if (!format) return HONE_DTYPE;
    if (count % info->block != 0) return HONE_SHAPE;
    for (int64_t i = 0; i < count; i += info->block) {
        float values[256]; /* the largest block */
        format->unpack(values, (const char *)src + hone__dtype_bytes(src_type, i), info->block);
        from_f32((char *)dst + hone__dtype_bytes(type, i), type, values, info->block);
    }
    return HONE_OK;
}

hone_status hone__convert(void *dst, hone_dtype dst_type, const void *src, hone_dtype src_type, int64_t count)
{
    if ((unsigned)dst_type >= HONE_DTYPE_COUNT || (unsigned)src_type >= HONE_DTYPE_COUNT) return HONE_DTYPE;
    if (hone__is_blocks(dst_type)) return HONE_DTYPE;
    if (hone__is_blocks(src_type) && hone__dtypes[dst_type].kind != HONE__KIND_F) return HONE_DTYPE;
    if (count <= 0) return HONE_OK;
    if (dst_type == src_type) {
        memmove(dst, src, hone__dtype_bytes(dst_type, count));
        return HONE_OK;
    }
    switch (src_type) {
    case HONE_F32:
        return from_f32(dst, dst_type, src, count);
    case HONE_F64:
        return from_f64(dst, dst_type, src, count);
    case HONE_BF16:
        return from_bf16(dst, dst_type, src, count);
    case HONE_F16:
        return from_f16(dst, dst_type, src, count);
    case HONE_I32:
        return from_i32(dst, dst_type, src, count);
    case HONE_I64:
        return from_i64(dst, dst_type, src, count);
    case HONE_U8:
        return from_u8(dst, dst_type, src, count);
    default:
        return from_blocks(dst, dst_type, src, src_type, count);
    }
}
