/* Adam with moments of 8 bits: Dettmers et al., "8-bit Optimizers via Block-wise Quantization", ICLR 2022. */
#include "kernel/ref/kernel.h"

typedef struct adam {
    real lr_decay, decay, one_minus_beta1, beta2, one_minus_beta2, step_size, inverse_root2, eps, scale;
} adam;

/* inverse_root2 = 1 / sqrt(1 - beta2^step): sqrt(v / (1 - beta2^step)) = sqrt(v) inverse_root2. */
static adam constants(double learning_rate, double beta1, double beta2, double eps, double weight_decay,
                      int64_t step, double grad_scale)
{
    return (adam){.lr_decay = (real)(1 - learning_rate * weight_decay),
                  .decay = (real)weight_decay,
                  .one_minus_beta1 = (real)(1 - beta1),
                  .beta2 = (real)beta2,
                  .one_minus_beta2 = (real)(1 - beta2),
                  .step_size = (real)(learning_rate / (1 - pow(beta1, (double)step))),
                  .inverse_root2 = (real)(1 / sqrt(1 - pow(beta2, (double)step))),
                  .eps = (real)eps,
                  .scale = (real)grad_scale};
}

/* The dynamic map (section 1.3): decade d of DECADES reaches from 10^(d-7) to 10^(d-6) and holds width 2^d values, the
   middles of as many equal cells; then 0 and 1. Magnitudes are numbered from 0, the zero, upwards; a code is the number, or
   for a negative value 256 - number (there is no -1). So memory that nobody wrote is 0. */
enum { DECADES = 7, NEGATIVE = 127 /* magnitudes of negative values */ };
typedef struct map {
    int width;           /* 1 signed, 2 unsigned */
    real value[256];     /* by code */
    real limit[DECADES]; /* the least magnitude nearer to decade d than to the one below (decade 0: than to 0) */
    real one;            /* limit of the last number, 1 */
} map;

static void make_map(map *t, bool is_signed)
{
    int width = t->width = is_signed ? 1 : 2, number = 1;
    double unit = 1e-6, last = 0;
    t->value[0] = 0;
    for (int d = 0; d < DECADES; d++, unit *= 10) {
        int cells = width << d;
        t->limit[d] = (real)((last + unit * (0.1 + 0.45 / cells)) / 2);
        for (int i = 0; i < cells; i++, number++) {
            last = unit * (0.1 + 0.9 * (i + 0.5) / cells);
            t->value[number] = (real)last;
            if (is_signed) t->value[256 - number] = (real)-last;
        }
    }
    t->value[number] = 1;
    t->one = (real)((last + 1) / 2);
}

/* The codes of the values nearest to x / scale: the decade by comparing, the cell by arithmetic. */
static void encode(const map *t, uint8_t *restrict codes, const real *restrict x, real scale)
{
    const int width = t->width;
    const real inverse = scale > 0 ? 1 / scale : 0, one = t->one, ninth = (real)(1 / 0.9);
    /* one by one: in a loop they would keep gcc from vectorizing */
    const real l0 = t->limit[0], l1 = t->limit[1], l2 = t->limit[2], l3 = t->limit[3], l4 = t->limit[4], l5 = t->limit[5],
               l6 = t->limit[6];
    SIMD for (int i = 0; i < HONE__ADAM8_BLOCK; i++)
    {
        real a = real_abs(x[i]) * inverse;
        int decade = (a >= l1) + (a >= l2) + (a >= l3) + (a >= l4) + (a >= l5) + (a >= l6);
        real power = a >= l1 ? (real)1e5 : (real)1e6; /* brings the decade to 0.1 .. 1 */
        power = a >= l2 ? (real)1e4 : power;
        power = a >= l3 ? (real)1e3 : power;
        power = a >= l4 ? (real)1e2 : power;
        power = a >= l5 ? (real)1e1 : power;
        power = a >= l6 ? (real)1e0 : power;
        real cells = (real)(width << decade), first = cells - (real)(width - 1), most = first + cells - (real)0.5;
        real number = (a * power - (real)0.1) * (cells * ninth) + first;
        number = number < first ? first : number;
        number = number > most ? most : number;
        number = a >= one ? (real)(NEGATIVE * width + 1) : number;
        number = a < l0 ? 0 : number;
        int up = (int)number, down = up < NEGATIVE ? up : NEGATIVE;
        codes[i] = (uint8_t)(x[i] < 0 ? -down : up); /* an unsigned map meets no negative values */
    }
}

/* adamw (decoupled) or adam on blocks whose moments are unpacked, used and packed while they are in the cache. */
void HONE_K(adam8)(bool decoupled, void *param, const void *grad, uint8_t *m, uint8_t *v, float *m_scale, float *v_scale,
                   int64_t n, double learning_rate, double beta1, double beta2, double eps, double weight_decay,
                   int64_t step, double grad_scale)
{
    adam a = constants(learning_rate, beta1, beta2, eps, weight_decay, step, grad_scale);
    if (decoupled)
        a.decay = 0;
    else
        a.lr_decay = 1;
    map m_map, v_map; /* nothing beside a piece's work */
    make_map(&m_map, true);
    make_map(&v_map, false);
    for (int64_t b = 0; b < n / HONE__ADAM8_BLOCK; b++) {
        real first[HONE__ADAM8_BLOCK], second[HONE__ADAM8_BLOCK], m_most = 0, v_most = 0;
        real *restrict p = (real *)param + b * HONE__ADAM8_BLOCK;
        const real *restrict g = (const real *)grad + b * HONE__ADAM8_BLOCK;
        uint8_t *m_codes = m + b * HONE__ADAM8_BLOCK, *v_codes = v + b * HONE__ADAM8_BLOCK;
        const real m_old = (real)m_scale[b], v_old = (real)v_scale[b];
        SIMD for (int i = 0; i < HONE__ADAM8_BLOCK; i++)
        {
            real d = g[i] * a.scale + a.decay * p[i], w = p[i] * a.lr_decay, mi = m_map.value[m_codes[i]] * m_old;
            mi += a.one_minus_beta1 * (d - mi);
            real vi = a.beta2 * (v_map.value[v_codes[i]] * v_old) + a.one_minus_beta2 * d * d;
            first[i] = mi;
            second[i] = vi;
            p[i] = w - a.step_size * mi / (real_sqrt(vi) * a.inverse_root2 + a.eps);
        }
        SIMD_MAX(m_most) for (int i = 0; i < HONE__ADAM8_BLOCK; i++) m_most = HONE_MAX(m_most, real_abs(first[i]));
        SIMD_MAX(v_most) for (int i = 0; i < HONE__ADAM8_BLOCK; i++) v_most = HONE_MAX(v_most, second[i]);
        m_scale[b] = (float)m_most;
        v_scale[b] = (float)v_most;
        encode(&m_map, m_codes, first, m_most);
        encode(&v_map, v_codes, second, v_most);
    }
}
