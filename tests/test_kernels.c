/* Kernels written by hand against the portable ones, and products with quantized weights against their unpacked values.
   A failure means that a kernel computes something else than the one it stands for. Everything runs again at each
   lower instruction set. */
#include "scratch.h"

#include "kernel/few_rows.h"
#include "tensor/block.h"
#ifdef __x86_64__
#include "kernel/x86/x86.h"
#endif

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

extern const hone__kernels hone__kernels_ref_f32;
static const hone__kernels *const ref = &hone__kernels_ref_f32;

static uint64_t drawn;
static float draw(void) { return hone__random_normal(42, drawn++); }

/* An array of f32 or bf16; every element is a number that bf16 holds. */
typedef struct array {
    hone_dtype dtype;
    int64_t n;
    void *data;
} array;
static array make(hone_dtype dtype, int64_t n)
{
    array x = {dtype, n, malloc((size_t)(n + 1) * 4)};
    assert_non_null(x.data);
    memset(x.data, 0xFF, (size_t)(n + 1) * 4); /* NaN: what nobody may look at */
    return x;
}
static double get(const array *x, int64_t i)
{
    return (double)(x->dtype == HONE_BF16 ? hone__bf16_to_f32(((uint16_t *)x->data)[i]) : ((float *)x->data)[i]);
}
static void set(array *x, int64_t i, float v)
{
    uint16_t h = hone__f32_to_bf16(v);
    if (x->dtype == HONE_BF16)
        ((uint16_t *)x->data)[i] = h;
    else
        ((float *)x->data)[i] = hone__bf16_to_f32(h);
}
static array random_array(hone_dtype dtype, int64_t n, float scale)
{
    array x = make(dtype, n);
    for (int64_t i = 0; i < n; i++) set(&x, i, scale * draw());
    return x;
}

/* Not farther apart than `one` for each element (relative to the largest), and `all` in the root of mean squares. */
static void alike(const char *what, const array *got, const array *wanted, double one, double all)
{
    double most = 0, far = 0, error = 0, square = 0;
    for (int64_t i = 0; i < wanted->n; i++) {
        double x = get(got, i), y = get(wanted, i);
        if (isnan(x) && isnan(y)) continue;
        if (!(fabs(x - y) >= 0)) fail_msg("%s[%lld] is %g, not %g", what, (long long)i, x, y);
        most = fmax(most, fabs(y));
        far = fmax(far, fabs(x - y));
        error += (x - y) * (x - y);
        square += y * y;
    }
    if (far > one * (most + 1e-3) || error > all * all * (square + 1e-6 * (double)wanted->n))
        fail_msg("%s is off by %g of at most %g, %g on the average", what, far, most, sqrt(error / (square + 1e-30)));
}

/* ---- the table ---- */

static void the_table_keeps_to_the_level(void **state)
{
    (void)state;
    const hone__kernels *k = hone__kernels_for(HONE_F32);
    assert_int_equal(k->real, HONE_F32);
    assert_int_equal(hone__kernels_for(HONE_F64)->real, HONE_F64);
    if (hone__isa_level() == HONE__ISA_REF) assert_memory_equal(k, ref, sizeof *k);
#ifdef __x86_64__
    assert_int_equal(k->attention == hone__attention_x86_amx, hone__isa_level() == HONE__ISA_AMX);
    if (!hone__bf16_is_fast()) assert_ptr_not_equal(k->swiglu, hone__swiglu_x86_avx512bf16);
#endif
}

/* ---- swiglu ---- */

static void swiglu_of(int64_t n, hone_dtype wide, hone_dtype last, int64_t stride)
{
    const hone__kernels *k = hone__kernels_for(HONE_F32);
    array gate = random_array(wide, n * stride, 4), up = random_array(wide, n * stride, 1), dy = random_array(wide, n * stride, 1);
    const float edges[] = {0, -0.0f, 90, -90, 1e30f, NAN};
    for (int64_t i = 0; i < n && i < 6; i++) set(&gate, (n - 1 - i) * stride, edges[i]);
    array y[2], dg[2], du[2];
    for (int i = 0; i < 2; i++) {
        const hone__kernels *t = i ? ref : k;
        y[i] = make(last, n), dg[i] = make(last, n), du[i] = make(last, n);
        t->swiglu(y[i].data, last, gate.data, wide, stride, up.data, wide, stride, n);
        t->swiglu_grad(dg[i].data, last, du[i].data, last, gate.data, wide, stride, up.data, wide, stride, dy.data, wide, stride,
                       n);
        assert_true(isnan(get(&dg[i], n))); /* nothing past the end */
        assert_true(isnan(get(&y[i], n)));
    }
    for (int64_t i = 0; i < n; i++) {
        double e = last == HONE_BF16 ? 8e-3 : 1e-6;
        const array *pair[] = {y, dg, du};
        for (int p = 0; p < 3; p++) {
            double a = get(&pair[p][0], i), b = get(&pair[p][1], i);
            if (fabs(a - b) > e * (fabs(b) + 0.1) || isnan(a) != isnan(b))
                fail_msg("swiglu of %lld, gate %g: result %d is %.9g, not %.9g", (long long)n, get(&gate, i * stride), p, a, b);
        }
    }
    k->swiglu_grad(NULL, last, du[1].data, last, gate.data, wide, stride, up.data, wide, stride, dy.data, wide, stride, n);
    assert_memory_equal(du[0].data, du[1].data, (size_t)n * (last == HONE_BF16 ? 2 : 4));
    array *all[] = {&gate, &up, &dy, &y[0], &y[1], &dg[0], &dg[1], &du[0], &du[1]};
    for (size_t i = 0; i < HONE_ARRAY_LEN(all); i++) free(all[i]->data);
}

static void swiglu(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 15, 16, 17, 255, 300, 1025};
    for (size_t i = 0; i < HONE_ARRAY_LEN(lengths); i++)
        for (int types = 0; types < 4; types++)
            for (int64_t stride = 1; stride < 3; stride++)
                swiglu_of(lengths[i], types & 1 ? HONE_BF16 : HONE_F32, types & 2 ? HONE_BF16 : HONE_F32, stride);
}

/* ---- attention ---- */

typedef struct shape {
    int64_t b, tq, tk, h, hkv, d;
    bool causal, limits, spaced; /* ranges of keys; heads and times that do not lie side by side */
} shape;
static const shape shapes[] = {
    {1, 1, 1, 1, 1, 64, true, false, false},    {2, 17, 17, 3, 1, 32, true, false, false},
    {1, 255, 255, 4, 2, 64, true, false, true}, {1, 300, 300, 9, 3, 64, true, false, false},
    {2, 33, 300, 2, 2, 128, true, false, true}, {1, 130, 40, 6, 1, 64, true, false, false},
    {1, 96, 129, 7, 1, 96, false, false, false}, {2, 64, 200, 4, 2, 64, false, true, true},
    {1, 40, 300, 2, 1, 32, true, true, false},  {1, 20, 50, 2, 1, 256, false, false, false},
    /* no multiples of 32, which packed tiles fill up with zeros */
    {1, 33, 33, 2, 1, 48, true, false, false},   {1, 150, 150, 4, 2, 80, true, false, true},
    {2, 40, 200, 4, 2, 40, false, true, true},   {1, 70, 70, 3, 1, 72, true, false, true},
    {2, 130, 129, 3, 3, 16, true, false, true},  {1, 35, 61, 6, 2, 17, true, false, true},
    {1, 20, 50, 2, 1, 250, false, false, true},  {1, 9, 30, 2, 1, 3, true, false, true}};

typedef struct problem {
    hone__attention a;
    array q, k, v, dout, out[2], lse[2], dq[2], dk[2], dv[2];
    int32_t *begin, *end;
} problem;

static hone__attention_side side_of(const array *x, int64_t t, int64_t h, int64_t d, bool spaced)
{
    int64_t head = spaced ? d + 8 : d, time = h * head + (spaced ? 24 : 0);
    return (hone__attention_side){x->data, x->dtype, {t * time, time, head}};
}
/* Elements that the side may look at are random, those between them NaN. */
static array filled(hone_dtype dtype, int64_t b, int64_t t, int64_t h, int64_t d, bool spaced)
{
    hone__attention_side s = side_of(&(array){0}, t, h, d, spaced);
    array x = make(dtype, b * s.stride[0] + d);
    for (int64_t i = 0; i < b * t * h * d; i++)
        set(&x, i / (t * h * d) * s.stride[0] + i / (h * d) % t * s.stride[1] + i / d % h * s.stride[2] + i % d, draw());
    return x;
}

static problem pose(const shape *s)
{
    problem p = {.a = {.b = s->b, .tq = s->tq, .tk = s->tk, .h = s->h, .hkv = s->hkv, .d = s->d, .causal = s->causal,
                       .scale = 1.2 / sqrt((double)s->d)}};
    p.q = filled(HONE_BF16, s->b, s->tq, s->h, s->d, s->spaced);
    p.k = filled(HONE_BF16, s->b, s->tk, s->hkv, s->d, s->spaced);
    p.v = filled(HONE_BF16, s->b, s->tk, s->hkv, s->d, s->spaced);
    p.dout = filled(HONE_BF16, s->b, s->tq, s->h, s->d, false);
    for (int i = 0; i < 2; i++) {
        p.out[i] = make(i ? HONE_F32 : HONE_BF16, s->b * s->tq * s->h * s->d);
        p.lse[i] = make(HONE_F32, s->b * s->tq * s->h);
        p.dq[i] = make(i ? HONE_F32 : HONE_BF16, s->b * s->tq * s->h * s->d);
        p.dk[i] = make(i ? HONE_F32 : HONE_BF16, s->b * s->tk * s->hkv * s->d);
        p.dv[i] = make(i ? HONE_F32 : HONE_BF16, s->b * s->tk * s->hkv * s->d);
    }
    p.a.q = side_of(&p.q, s->tq, s->h, s->d, s->spaced);
    p.a.k = side_of(&p.k, s->tk, s->hkv, s->d, s->spaced);
    p.a.v = side_of(&p.v, s->tk, s->hkv, s->d, s->spaced);
    p.a.dout = side_of(&p.dout, s->tq, s->h, s->d, false);
    memcpy(p.a.lse_stride, (int64_t[]){s->h * s->tq, s->tq, 1}, sizeof p.a.lse_stride);
    if (s->limits) {
        p.begin = malloc((size_t)(s->b * s->tq) * sizeof *p.begin);
        p.end = malloc((size_t)(s->b * s->tq) * sizeof *p.end);
        for (int64_t i = 0; i < s->b * s->tq; i++) {
            p.begin[i] = (int32_t)(hone__random_below(7, (uint64_t)i, (uint64_t)s->tk + 2) / 2) - 1;
            p.end[i] = p.begin[i] + (int32_t)hone__random_below(8, (uint64_t)i, (uint64_t)s->tk); /* some see nothing */
        }
        p.a.begin = p.begin, p.a.end = p.end;
        p.a.begin_stride[0] = p.a.end_stride[0] = s->tq;
        p.a.begin_stride[1] = p.a.end_stride[1] = 1;
    }
    return p;
}
static void drop(problem *p)
{
    array *all[] = {&p->q, &p->k, &p->v, &p->dout, p->out, p->out + 1, p->lse, p->lse + 1, p->dq, p->dq + 1,
                    p->dk, p->dk + 1, p->dv, p->dv + 1};
    for (size_t i = 0; i < HONE_ARRAY_LEN(all); i++) free(all[i]->data);
    free(p->begin);
    free(p->end);
}

static void *scratch_of(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
    assert_non_null(memory);
    memset(memory, 0xFF, size);
    return memory;
}

/* 0: the table's, into bf16; 1: the portable one, into f32. */
static void forward(problem *p, int i)
{
    const hone__kernels *k = i ? ref : hone__kernels_for(HONE_F32);
    hone__attention a = p->a;
    void *memory = scratch_of(k->attention_scratch(&a));
    a.out = side_of(&p->out[i], a.tq, a.h, a.d, false);
    a.lse = p->lse[i].data;
    for (int64_t task = 0; task < k->attention_tasks(&a); task++) k->attention(&a, task, memory);
    free(memory);
}
static void backward(problem *p, int i, bool dq, bool dk, bool dv)
{
    const hone__kernels *k = i ? ref : hone__kernels_for(HONE_F32);
    hone__attention a = p->a;
    void *memory = scratch_of(k->attention_grad_scratch(&a));
    a.out = side_of(&p->out[0], a.tq, a.h, a.d, false); /* the same for both */
    a.lse = p->lse[1].data;
    if (dq) a.dq = side_of(&p->dq[i], a.tq, a.h, a.d, false);
    if (dk) a.dk = side_of(&p->dk[i], a.tk, a.hkv, a.d, false);
    if (dv) a.dv = side_of(&p->dv[i], a.tk, a.hkv, a.d, false);
    for (int64_t task = 0; task < a.b * a.hkv; task++) k->attention_grad(&a, task, memory);
    free(memory);
}

static void attention(void **state)
{
    (void)state;
    for (size_t s = 0; s < HONE_ARRAY_LEN(shapes); s++) {
        problem p = pose(&shapes[s]);
        for (int i = 0; i < 2; i++) forward(&p, i);
        alike("attention", &p.out[0], &p.out[1], 0.02, 0.005);
        alike("log sum", &p.lse[0], &p.lse[1], 1e-5, 1e-5);
        for (int i = 0; i < 2; i++) backward(&p, i, true, true, true);
        alike("dq", &p.dq[0], &p.dq[1], 0.02, 0.008);
        alike("dk", &p.dk[0], &p.dk[1], 0.02, 0.008);
        alike("dv", &p.dv[0], &p.dv[1], 0.02, 0.008);
        drop(&p);
    }
}

static void attention_gradients_that_are_not_wanted(void **state)
{
    (void)state;
    problem p = pose(&(shape){1, 50, 70, 4, 2, 64, true, false, false});
    for (int i = 0; i < 2; i++) forward(&p, i);
    backward(&p, 0, true, true, true);
    for (int wanted = 0; wanted < 3; wanted++) {
        array *all = wanted == 0 ? p.dq : wanted == 1 ? p.dk : p.dv, first = all[0];
        all[0] = make(HONE_BF16, first.n);
        backward(&p, 0, wanted == 0, wanted == 1, wanted == 2);
        assert_memory_equal(all[0].data, first.data, (size_t)first.n * 2);
        free(first.data);
    }
    drop(&p);
}

static void attention_of_one_query(void **state)
{
    (void)state;
    static const shape one[] = {{1, 1, 1, 9, 3, 64, true, false, false},    {2, 1, 300, 9, 3, 64, false, false, true},
                                {3, 1, 255, 8, 2, 128, false, true, false}, {1, 1, 700, 7, 7, 32, false, false, false},
                                {2, 1, 17, 14, 2, 96, false, true, true},   {1, 1, 65, 5, 1, 80, false, false, false},
                                {2, 1, 300, 6, 2, 80, false, true, true},   {1, 1, 131, 8, 2, 40, true, false, true},
                                {1, 1, 70, 3, 3, 72, true, false, true},    {2, 1, 65, 4, 1, 16, true, false, true},
                                {1, 1, 90, 3, 1, 49, false, false, true},   {1, 1, 33, 2, 1, 3, true, false, true}};
    for (size_t s = 0; s < HONE_ARRAY_LEN(one); s++) {
        problem p = pose(&one[s]);
        for (int i = 0; i < 2; i++) {
            const hone__kernels *k = i ? ref : hone__kernels_for(HONE_F32);
            hone__attention a = p.a;
            a.out = side_of(&p.out[i], 1, a.h, a.d, false);
            a.lse = p.lse[i].data;
            size_t part = k->attention_decode_part(&a);
            int64_t tasks = k->attention_decode_tasks(&a);
            void *memory = scratch_of(k->attention_decode_scratch(&a));
            char *parts = scratch_of((size_t)tasks * part);
            for (int64_t task = 0; task < tasks; task++) k->attention_decode(&a, task, parts + (size_t)task * part, memory);
            for (int64_t group = 0; group < a.b * a.hkv; group++) k->attention_decode_merge(&a, group, parts);
            free(memory);
            free(parts);
        }
        alike("attention of one query", &p.out[0], &p.out[1], 0.02, 0.006);
        alike("log sum", &p.lse[0], &p.lse[1], 1e-5, 1e-5);
        drop(&p);
    }
}

/* ---- quantized weights ---- */

/* w [n, k] as its unpacked values, x in 8 bits as ggml has it: the sum in double. */
static double exact(const float *w, const array *x, int64_t row, int64_t k, double *size)
{
    double sum = 0;
    *size = 0;
    for (int64_t at = 0; at < k; at += 32) {
        float most = 0;
        for (int64_t i = 0; i < 32; i++) most = fmaxf(most, fabsf((float)get(x, row * k + at + i)));
        for (int64_t i = 0; i < 32; i++) {
            double q = most > 0 ? (double)rintf((float)get(x, row * k + at + i) * (127 / most)) : 0;
            double term = (double)w[at + i] * q * (double)(most / 127);
            sum += term;
            *size += fabs(term);
        }
    }
    return sum;
}

static void quantized_product(hone_ctx *ctx, hone_dtype format, int64_t blocks, int64_t rows, hone_dtype x_type, bool with_bias)
{
    enum { N = 37 };
    int64_t k = blocks * 32;
    size_t bytes = hone__dtype_bytes(format, N * k), block = (size_t)hone__dtypes[format].bytes;
    /* What lies behind the last block is not ours: exactly so many bytes, where the sanitizer can see it. */
    uint8_t *w = malloc(bytes);
    float *plain = malloc((size_t)(N * k) * 4), bias[N];
    for (size_t i = 0; i < bytes; i++) w[i] = (uint8_t)hone__random_below(3, drawn++, 256);
    for (size_t i = 0; i < bytes; i += block) {
        w[i + 1] = (uint8_t)(0x18 + i / block % 5); /* f16 exponents of small scales */
        if (format == HONE_Q4_1) w[i + 3] = 0x9C;
    }
    hone__block_format_of(format)->unpack(plain, w, N * k);
    array x = random_array(x_type, rows * k, 1), y = make(HONE_F32, rows * N);
    for (int64_t i = 0; i < 32; i++) set(&x, i, 0); /* a block of zeros has no scale */
    for (int i = 0; i < N; i++) bias[i] = draw();
    void *interleaved = scratch_of(hone__interleaved_bytes(format, N, k));
    hone__interleave(ctx, format, N, k, w, interleaved);
    hone__few_rows *q = hone__few_rows_new(ctx, format, rows, N, k, interleaved);
    if (q) {
        void *memory = scratch_of(hone__few_rows_scratch(q));
        hone__few_rows_run(&(hone__few_rows_part){q, with_bias ? bias : NULL, y.data, HONE_F32}, 1, x.data, x_type, memory);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < N; c++) {
                double size, wanted = exact(plain + c * k, &x, r, k, &size) + (with_bias ? (double)bias[c] : 0);
                if (!(fabs(get(&y, r * N + c) - wanted) <= 1e-5 * (size + 1)))
                    fail_msg("%s, %lld blocks, row %lld of %lld: %g, not %g", hone_dtype_name(format), (long long)blocks,
                             (long long)r, (long long)rows, get(&y, r * N + c), wanted);
            }
        hone__few_rows *first = hone__few_rows_new(ctx, format, 1, N, k, interleaved);
        float alone[N];
        hone__few_rows_run(&(hone__few_rows_part){first, with_bias ? bias : NULL, alone, HONE_F32}, 1, x.data, x_type, memory);
        assert_memory_equal(alone, y.data, sizeof alone); /* whatever rows are with it */
        hone__few_rows_free(first);
        free(memory);
    } else {
        assert_true(hone__ok(ctx));
        assert_true(hone__isa_level() < HONE__ISA_AVX512 || rows > 8);
    }
    hone__few_rows_free(q);
    free(interleaved);
    free(w);
    free(plain);
    free(x.data);
    free(y.data);
}

static void quantized_weights(void **state)
{
    (void)state;
    static const hone_dtype formats[] = {HONE_Q4_0, HONE_Q4_1, HONE_Q8_0};
    static const int64_t blocks[] = {1, 2, 3, 15, 16, 17, 18, 35};
    hone_ctx *ctx = hone_ctx_new(.threads = 2);
    for (size_t f = 0; f < HONE_ARRAY_LEN(formats); f++)
        for (size_t b = 0; b < HONE_ARRAY_LEN(blocks); b++)
            for (int64_t rows = 1; rows <= 9; rows++)
                quantized_product(ctx, formats[f], blocks[b], rows, rows & 1 ? HONE_BF16 : HONE_F32, rows & 2);
    hone_ctx_release(ctx);
}

/* ---- Adam with moments of 8 bits ---- */

enum { ADAM8_N = 16 * HONE__ADAM8_BLOCK };
typedef struct adam8_state {
    float param[ADAM8_N], m_scale[ADAM8_N / HONE__ADAM8_BLOCK], v_scale[ADAM8_N / HONE__ADAM8_BLOCK];
    uint8_t m[ADAM8_N], v[ADAM8_N];
} adam8_state;

static void step_adam8(const hone__kernels *k, adam8_state *s, const float *grad, bool decoupled, int step)
{
    k->adam8(decoupled, s->param, grad, s->m, s->v, s->m_scale, s->v_scale, ADAM8_N, 1e-2, 0.9, 0.99, 1e-3, 0.1, step, 0.5);
}

/* Gradients of eight decades within a block, zeros, and a block of nothing else. What lies on the border of two cells may fall
   into either, and then the parameter goes another way: both begin each step alike. */
static void adam_of_8_bits(void **state)
{
    (void)state;
    const hone__kernels *k = hone__kernels_for(HONE_F32);
    static adam8_state got, wanted;
    static float grad[ADAM8_N];
    memset(&wanted, 0, sizeof wanted);
    for (int step = 1; step <= 40; step++) {
        for (int i = 0; i < ADAM8_N; i++)
            grad[i] = i % 23 == 0 || i >= ADAM8_N - HONE__ADAM8_BLOCK ? 0 : draw() * powf(10, (float)-((i * 7 + step) % 9));
        got = wanted;
        step_adam8(k, &got, grad, step % 2, step);
        step_adam8(ref, &wanted, grad, step % 2, step);
        int away = 0, far = 0;
        for (int i = 0; i < ADAM8_N; i++) {
            int m = abs((int8_t)(got.m[i] - wanted.m[i])), v = abs((int8_t)(got.v[i] - wanted.v[i]));
            away += m + v > 0;
            far += m > 1 || v > 1 || !(fabsf(got.param[i] - wanted.param[i]) <= 1e-6F * (fabsf(wanted.param[i]) + 1));
        }
        if (away > ADAM8_N / 200 || far) fail_msg("step %d: %d codes are a cell away, %d values farther", step, away, far);
        for (int b = 0; b < ADAM8_N / HONE__ADAM8_BLOCK; b++)
            assert_true(fabsf(got.m_scale[b] - wanted.m_scale[b]) <= 1e-6F * wanted.m_scale[b] &&
                        fabsf(got.v_scale[b] - wanted.v_scale[b]) <= 1e-6F * wanted.v_scale[b]);
    }
}

/* Two products together, of which the second is not a multiple of a strip; one of both has a bias and bf16 results. A row's
   result is the same to the bit, whatever rows are with it. */
static void half_weights(void **state)
{
    (void)state;
    enum { N0 = 160, N1 = 37, ROWS = 31 };
    hone_ctx *ctx = hone_ctx_new(.threads = 2);
    static const int64_t lengths[] = {1, 31, 32, 33, 64, 96, 128, 256, 300, 1024, 2047, 4096};
    for (size_t l = 0; l < HONE_ARRAY_LEN(lengths); l++) {
        int64_t k = lengths[l], padded = hone__few_rows_padded(k);
        array w0 = random_array(HONE_BF16, N0 * padded, 1), w1 = random_array(HONE_BF16, N1 * padded, 1);
        for (int64_t i = 0; i < N0 * padded; i++)
            if (i % padded >= k) set(&w0, i, 0);
        for (int64_t i = 0; i < N1 * padded; i++)
            if (i % padded >= k) set(&w1, i, 0);
        array x = random_array(HONE_BF16, ROWS * k, 1), alone = make(HONE_F32, N1);
        float bias[N0];
        for (int i = 0; i < N0; i++) bias[i] = draw();
        for (int64_t rows = 1; rows <= ROWS; rows += rows < 5 ? 1 : 13) {
            array y0 = make(HONE_BF16, rows * N0), y1 = make(HONE_F32, rows * N1);
            hone__few_rows *p0 = hone__few_rows_new(ctx, HONE_BF16, rows, N0, k, w0.data);
            hone__few_rows *p1 = hone__few_rows_new(ctx, HONE_BF16, rows, N1, k, w1.data);
            assert_true(!p0 == (hone__isa_level() < HONE__ISA_AMX) && hone__ok(ctx));
            if (p0 && p1) {
                assert_true(hone__few_rows_alike(p0, p1));
                void *memory = scratch_of(hone__few_rows_scratch(p0));
                hone__few_rows_run((hone__few_rows_part[]){{p0, bias, y0.data, HONE_BF16}, {p1, NULL, y1.data, HONE_F32}}, 2, x.data,
                                   HONE_BF16, memory);
                if (rows == 1) memcpy(alone.data, y1.data, N1 * sizeof(float));
                assert_memory_equal(alone.data, y1.data, N1 * sizeof(float));
                for (int64_t i = 0; i < rows * (N0 + N1); i++) {
                    bool second = i >= rows * N0;
                    int64_t at = second ? i - rows * N0 : i, n = second ? N1 : N0, r = at / n, c = at % n;
                    double wanted = second ? 0 : (double)bias[c], size = 0;
                    for (int64_t p = 0; p < k; p++) {
                        double term = get(&x, r * k + p) * get(second ? &w1 : &w0, c * padded + p);
                        wanted += term;
                        size += fabs(term);
                    }
                    double have = get(second ? &y1 : &y0, at), tolerance = 1e-6 * (size + 1) + (second ? 0 : 0.005 * fabs(wanted));
                    if (!(fabs(have - wanted) <= tolerance))
                        fail_msg("k %lld, row %lld of %lld, column %lld: %g, not %g", (long long)k, (long long)r, (long long)rows,
                                 (long long)c, have, wanted);
                }
                free(memory);
            }
            hone__few_rows_free(p0);
            hone__few_rows_free(p1);
            free(y0.data);
            free(y1.data);
        }
        free(w0.data);
        free(w1.data);
        free(x.data);
        free(alone.data);
    }
    hone_ctx_release(ctx);
}

/* ---- norms of channels ---- */

/* Forward with statistics of its own, and with relu after z was added; backward with and without relu: y, parts and gradients of
   kernels k. */
static void norm_channels(const hone__kernels *k, hone__channel_norm a, bool backward, bool relu, const array *z, array *y, array *sums)
{
    int64_t parts = a.segments * a.pieces * 2 * a.n, all = a.segments * a.pieces;
    array part = make(HONE_F32, parts), coefficients = make(HONE_F32, a.segments * 5 * a.n);
    array gradients = make(HONE_F32, 2 * a.n), mean = make(HONE_F32, a.segments * a.groups), variance = make(HONE_F32, a.segments * a.groups);
    for (int64_t i = 0; i < 2 * a.n; i++) set(&gradients, i, 0);
    const void *dy = a.dy;
    a.parts = part.data, a.coefficients = coefficients.data, a.mean = mean.data, a.variance = variance.data;
    a.y = y->data, a.yt = y->dtype, a.dy = NULL;
    k->channel_norm_sums(&a, 0, all);
    k->channel_norm_finish(&a, 0, a.segments);
    memcpy(sums->data, part.data, (size_t)parts * 4);
    if (!backward) {
        a.relu = relu;
        if (z) a.z = z->data, a.zt = z->dtype;
        k->channel_norm_apply(&a, 0, all / 2);
        k->channel_norm_apply(&a, all / 2, all);
    } else {
        a.dy = dy, a.relu = relu, a.dgain = gradients.data, a.dbias = (float *)gradients.data + a.n;
        k->channel_norm_grad_sums(&a, 0, all);
        memcpy(sums->data, part.data, (size_t)parts * 4);
        k->channel_norm_grad_finish(&a, 0, a.segments);
        k->channel_norm_apply(&a, 0, all);
    }
    free(part.data), free(coefficients.data), free(gradients.data), free(mean.data), free(variance.data);
}

static void norms_of_channels(void **state)
{
    (void)state;
    /* segments, rows, channels, groups, pieces */
    static const int64_t sizes[][5] = {{1, 77, 16, 16, 3}, {1, 45, 32, 32, 2}, {2, 13, 64, 64, 2}, {1, 30, 48, 48, 4}, {3, 9, 144, 144, 1},
                                       {2, 21, 32, 4, 2},  {1, 3, 16, 16, 5},  {1, 50, 24, 24, 2}, {2, 7, 80, 5, 1}};
    for (size_t s = 0; s < HONE_ARRAY_LEN(sizes); s++)
        for (int way = 0; way < 64; way++) {
            bool backward = way & 1, relu = way & 2, with_z = way & 32 && relu && !backward;
            if (way & 32 && !with_z) continue;
            hone__channel_norm a = {.segments = sizes[s][0], .rows = sizes[s][1], .n = sizes[s][2], .groups = sizes[s][3],
                                    .pieces = sizes[s][4], .eps = 1e-3};
            int64_t count = a.segments * a.rows * a.n, parts = a.segments * a.pieces * 2 * a.n;
            hone_dtype types[] = {HONE_F32, HONE_BF16};
            array x = random_array(types[way >> 2 & 1], count, 1), dy = random_array(types[way >> 3 & 1], count, 1);
            array z = random_array(types[way >> 3 & 1], count, 1), gain = random_array(HONE_F32, a.n, 1), bias = random_array(HONE_F32, a.n, 1);
            array y[2], sums[2];
            a.x = x.data, a.xt = x.dtype, a.dy = dy.data, a.dyt = dy.dtype, a.gain = gain.data, a.bias = bias.data;
            for (int i = 0; i < 2; i++) {
                y[i] = make(types[way >> 4 & 1], count), sums[i] = make(HONE_F32, parts);
                norm_channels(i ? ref : hone__kernels_for(HONE_F32), a, backward, relu, with_z ? &z : NULL, &y[i], &sums[i]);
            }
            char what[96];
            snprintf(what, sizeof what, "norm of channels %d, way %d", (int)s, way);
            bool rounded = y[0].dtype == HONE_BF16;
            alike(what, &sums[0], &sums[1], 1e-5, 1e-5);
            alike(what, &y[0], &y[1], rounded ? 8e-3 : 1e-5, rounded ? 1e-3 : 1e-5);
            for (int i = 0; i < 2; i++) free(y[i].data), free(sums[i].data);
            free(x.data), free(dy.data), free(z.data), free(gain.data), free(bias.data);
        }
}

/* Which elements stay is the same on every CPU and however they are cut into calls; they are as many as the rate says, and the mean
   remains. */
static void dropout(void **state)
{
    (void)state;
    enum { N = 60003, CUT = 24008 };
    static const double rates[] = {0, 1e-7, 0.1, 0.5, 0.9};
    const hone__kernels *k = hone__kernels_for(HONE_F32);
    for (size_t r = 0; r < HONE_ARRAY_LEN(rates); r++)
        for (int type = 0; type < 4; type++) {
            hone_dtype to = type & 1 ? HONE_BF16 : HONE_F32, from = type & 2 ? HONE_BF16 : HONE_F32;
            array x = make(from, N), y = make(to, N), wanted = make(to, N);
            for (int64_t i = 0; i < N; i++) set(&x, i, 1);
            k->dropout(y.data, to, x.data, from, 77, 0, CUT, rates[r]);
            k->dropout((char *)y.data + hone__dtype_bytes(to, CUT), to, (char *)x.data + hone__dtype_bytes(from, CUT), from, 77, CUT,
                       N - CUT, rates[r]);
            ref->dropout(wanted.data, to, x.data, from, 77, 0, N, rates[r]);
            assert_memory_equal(y.data, wanted.data, hone__dtype_bytes(to, N));
            double gone = 0;
            for (int64_t i = 0; i < N; i++) {
                gone += get(&y, i) == 0;
                if (get(&y, i) != 0) assert_float_equal(get(&y, i) * (1 - rates[r]), 1, to == HONE_BF16 ? 4e-3 : 2e-4);
            }
            assert_float_equal(gone / N, rates[r], 5 * sqrt(rates[r] / N) + 1e-5); /* five standard deviations */
            free(x.data), free(y.data), free(wanted.data);
        }
}

/* Gelu and its slope in bf16 are those of the C library's erfc, rounded. */
static void gelu_of_halves(void **state)
{
    (void)state;
    enum { N = 2403 };
    const hone__kernels *k = hone__kernels_for(HONE_F32);
    array x = make(HONE_BF16, N), y = make(HONE_BF16, N), one = make(HONE_BF16, N), slope = make(HONE_BF16, N);
    for (int64_t i = 0; i < N; i++) set(&x, i, (float)(i - N / 2) / 200), set(&one, i, 1);
    k->unary(HONE__GELU, y.data, HONE_BF16, x.data, HONE_BF16, 1, N, 0, 0);
    k->unary_grad(HONE__GELU, slope.data, HONE_BF16, x.data, HONE_BF16, one.data, HONE_BF16, N, 0, 0);
    for (int64_t i = 0; i < N; i++) {
        double v = get(&x, i), share = 0.5 * erfc(-v / sqrt(2.0)), bell = 0.3989422804014327 * exp(-v * v / 2);
        assert_float_equal(get(&y, i), v * share, 0.0045 * fabs(v * share) + 1e-6);
        assert_float_equal(get(&slope, i), share + v * bell, 0.0045 * fabs(share + v * bell) + 2e-4 * fabs(v) * bell + 1e-6);
    }
    free(x.data), free(y.data), free(one.data), free(slope.data);
}

/* ---- the same at each lower level ---- */

static void lower_instruction_sets(void **state)
{
    (void)state;
    static const char *const levels[] = {"ref", "avx2", "avx512"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(levels) && !getenv("HONE_ISA"); i++) {
        pid_t child = fork();
        if (child == 0) {
            setenv("HONE_ISA", levels[i], 1);
            execl("/proc/self/exe", "test_kernels", (char *)NULL);
            _exit(127);
        }
        int status = -1;
        assert_true(child > 0 && waitpid(child, &status, 0) == child);
        if (status != 0) fail_msg("test_kernels with HONE_ISA=%s ended with status %d", levels[i], status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_keeps_to_the_level),
        cmocka_unit_test(swiglu),
        cmocka_unit_test(attention),
        cmocka_unit_test(attention_gradients_that_are_not_wanted),
        cmocka_unit_test(attention_of_one_query),
        cmocka_unit_test(quantized_weights),
        cmocka_unit_test(adam_of_8_bits),
        cmocka_unit_test(half_weights),
        cmocka_unit_test(norms_of_channels),
        cmocka_unit_test(dropout),
        cmocka_unit_test(gelu_of_halves),
        cmocka_unit_test(lower_instruction_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
