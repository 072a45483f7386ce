/* Attention with masks, transformer layers, positions and initializers: PyTorch's values and gradients
   (scripts/golden/make_transformer_golden.py), and what they promise beyond. */
#include "graph_tools.h"

#include "hone/io.h"
#include "nn/nn.h"
#include "train/train.h"

#include <math.h>

/* ---- golden cases ---- */

static hone_layer *cross(void) { return hone_multi_head_attention(ctx, 4); }
static hone_layer *padding(void) { return hone_multi_head_attention(ctx, 3, .causal = true); }
static hone_layer *bias(void) { return hone_multi_head_attention(ctx, 3, .no_bias = true); }
static hone_node *grouped_forward(hone_layer *self, hone_graph *graph, hone_node *const *in, int n)
{
    (void)self, (void)graph;
    assert_int_equal(n, 4);
    return hone_attention(in[0], in[1], in[2], .mask = in[3]);
}
static hone_layer *grouped(void) { return hone_layer_new(ctx, sizeof(hone_layer), "grouped", grouped_forward); }
static hone_layer *encoder(void) { return hone_transformer_encoder_layer(ctx, 4, 24); }
static hone_layer *encoder_pre(void)
{
    return hone_transformer_encoder_layer(ctx, 4, 24, .activation = HONE_GELU, .pre_norm = true, .no_bias = true);
}
static hone_layer *encoder_stack(void) { return hone_transformer_encoder(ctx, 2, 4, 24, .pre_norm = true); }
static hone_layer *decoder(void) { return hone_transformer_decoder_layer(ctx, 4, 24); }
static hone_layer *decoder_pre(void)
{
    return hone_transformer_decoder_layer(ctx, 4, 24, .activation = HONE_GELU, .pre_norm = true);
}
static hone_layer *decoder_stack(void) { return hone_transformer_decoder(ctx, 2, 4, 24); }
static hone_layer *rotary(void) { return hone_multi_head_attention(ctx, 4, .kv_heads = 2, .rope_theta = 100, .causal = true); }
static hone_layer *rotary_cross(void) { return hone_multi_head_attention(ctx, 4, .kv_heads = 1, .head_size = 6, .rope_theta = 10000, .no_bias = true); }
static hone_layer *llama(void)
{
    return hone_transformer_encoder_layer(ctx, 4, 24, .swiglu = true, .pre_norm = true, .kv_heads = 2, .rope_theta = 100, .causal = true);
}
static hone_layer *norm(void) { return hone_layer_norm_layer(ctx, .axes = 2); }
static hone_layer *embedding(void) { return hone_embedding_layer(ctx, 9, 4, .padding = true, .padding_index = 2); }

static const struct golden_case {
    const char *name;
    hone_layer *(*layer)(void);
    int n_in;
    size_t n_params;
    bool relu; /* gradients jump where a rounded value crosses its kink */
} cases[] = {{"cross", cross, 5, 8, false},
             {"padding", padding, 4, 8, false},
             {"bias", bias, 4, 4, false},
             {"grouped", grouped, 4, 0, false},
             {"encoder", encoder, 3, 16, true},
             {"encoder_pre", encoder_pre, 1, 8, false},
             {"encoder_stack", encoder_stack, 3, 34, true},
             {"decoder", decoder, 6, 26, true},
             {"decoder_pre", decoder_pre, 3, 26, false},
             {"decoder_stack", decoder_stack, 2, 52, true},
             {"rotary", rotary, 1, 8, false},
             {"rotary_cross", rotary_cross, 2, 4, false},
             {"llama", llama, 1, 18, false},
             {"norm", norm, 1, 2, false},
             {"embedding", embedding, 1, 1, false}};

static hone_safetensors *file;

static const hone_tensor_info *find(const char *group, const char *part, const char *name, const char *end)
{
    char text[200];
    snprintf(text, sizeof text, "%s.%s%s%s", group, part, name, end);
    return hone_safetensors_find(file, text);
}

static hone_node *constant(hone_graph *graph, const hone_tensor_info *info)
{
    hone_tensor *t = hone_tensor_borrow(ctx, info->dtype, info->shape, (void *)(uintptr_t)info->data);
    hone_node *node = hone_constant(graph, t);
    hone_tensor_free(t);
    return node;
}

static void compare(const char *name, const char *what, const hone_tensor_info *want, const hone__view *view, double tolerance)
{
    if (!want) fail_msg("%s: no golden %s", name, what);
    if (!hone_shape_equal(want->shape, view->shape)) fail_msg("%s: %s is %s", name, what, HONE__SHAPE_STR(view->shape));
    static double a[4096], b[4096];
    int64_t count = hone_shape_count(view->shape);
    assert_true(count <= 4096);
    hone__convert(a, HONE_F64, want->data, want->dtype, count);
    hone__convert(b, HONE_F64, view->data, view->dtype, count);
    double most = 0;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(a[i])) most = fmax(most, fabs(a[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(a[i] - b[i]) <= tolerance * (1 + most)))
            fail_msg("%s: %s[%d] is %g, PyTorch has %g", name, what, (int)i, b[i], a[i]);
}

/* The case's output and every gradient, against PyTorch's. */
static void check_case(const struct golden_case *c, hone_dtype compute, double tolerance)
{
    hone_model *model = hone_model_of(c->layer());
    hone_graph *graph = hone_graph_new(ctx, .mode = HONE_TRAIN);
    hone_node *in[6] = {0}, *wrt[64], *out[64];
    const hone_tensor_info *want[64];
    const char *what[64];
    int n = 0;
    for (int i = 0; i < c->n_in; i++) {
        char number[2] = {(char)('0' + i), 0};
        const hone_tensor_info *info = find(c->name, "in", number, "");
        if (!info) continue;
        in[i] = constant(graph, info);
        if (!(want[n + 1] = find(c->name, "in", number, ".grad"))) continue;
        what[n + 1] = "an input's gradient";
        wrt[n++] = in[i];
    }
    hone_node *y = hone_apply_n(hone_model_root(model), c->n_in, in);
    if (!y) fail_msg("%s: %s", c->name, hone_error(ctx));
    assert_hone_ok(ctx, hone_model_build(model));
    assert_int_equal(hone_model_param_count(model), c->n_params);
    for (size_t i = 0; i < c->n_params; i++) {
        hone_param *p = hone_model_param(model, i);
        const hone_tensor_info *value = find(c->name, "param.", hone_param_name(p), "");
        if (!value) fail_msg("%s: PyTorch has no '%s'", c->name, hone_param_name(p));
        assert_true(hone_shape_equal(value->shape, hone_param_shape(p)));
        assert_hone_ok(ctx, hone_param_write(p, hone_shape_count(value->shape), value->data));
        want[n + 1] = find(c->name, "param.", hone_param_name(p), ".grad");
        what[n + 1] = hone_param_name(p);
        wrt[n++] = hone_weight_of(p->layer, graph, p->local);
    }
    hone_node *loss = hone_sum(hone_mul(y, constant(graph, find(c->name, "loss_weight", "", ""))), HONE_ALL_AXES, false);
    out[0] = y;
    want[0] = find(c->name, "out", "", "");
    what[0] = "the output";
    if (hone_grad(loss, n, wrt, out + 1) != HONE_OK) fail_msg("%s: %s", c->name, hone_error(ctx));
    hone__plan *plan = hone__plan_new(graph, n + 1, out, compute);
    if (!plan || hone__plan_run(plan, &now) != HONE_OK) fail_msg("%s: %s", c->name, hone_error(ctx));
    for (int i = 0; i <= (c->relu && compute == HONE_BF16 ? 0 : n); i++)
        compare(c->name, what[i], want[i], hone__plan_output(plan, i), tolerance);
    hone__plan_free(plan);
    hone_graph_release(graph);
    hone_model_release(model);
}

static void test_values_and_gradients_are_pytorchs(void **state)
{
    (void)state;
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++)
        check_case(&cases[i], HONE_F32, cases[i].layer == grouped ? 1e-12 : 1e-5);
}

static void test_bf16_stays_close(void **state)
{
    (void)state;
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++)
        if (cases[i].layer != grouped) check_case(&cases[i], HONE_BF16, 0.06);
}

/* ---- attention with a mask ---- */

/* Numbers that look random, of a kind of their own for each salt. */
static hone_node *noise(hone_graph *graph, hone_dtype dtype, hone_shape shape, uint64_t salt)
{
    hone_tensor *t = hone_tensor_new(ctx, dtype, shape);
    for (int64_t i = 0; i < hone_shape_count(shape); i++) {
        double v = (double)hone__random_normal(salt, (uint64_t)i);
        hone_tensor_write(t, i, 1, HONE_F64, &v);
    }
    hone_node *node = hone_constant(graph, t);
    hone_tensor_free(t);
    return node;
}
static hone_node *integers(hone_graph *graph, hone_shape shape, const int32_t *values)
{
    hone_tensor *t = hone_tensor_from_i32(ctx, shape, values);
    hone_node *node = hone_constant(graph, t);
    hone_tensor_free(t);
    return node;
}

/* The furthest that the outputs' elements are apart. */
static double apart(hone_graph *graph, int n, hone_node *const *a, hone_node *const *b)
{
    double most = 0;
    for (int i = 0; i < n; i++) {
        double v;
        hone_node *gap = hone_max(hone_abs(hone_sub(a[i], b[i])), HONE_ALL_AXES, false);
        assert_hone_ok(ctx, run_scalars(graph, 1, &gap, &v));
        if (!(v <= most)) most = v;
    }
    return most;
}

/* With a mask that hides nothing, what the op computes by blocks: limits, causality, shared heads, chosen rows. */
static void test_a_mask_of_ones_changes_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        hone_graph *graph = hone_graph_new(ctx);
        hone_node *q = noise(graph, HONE_F64, HONE_SHAPE(2, 3, 4, 5), 1), *k = noise(graph, HONE_F64, HONE_SHAPE(2, 6, 2, 5), 2),
                  *v = noise(graph, HONE_F64, HONE_SHAPE(2, 6, 2, 5), 3), *in[3] = {q, k, v};
        hone_attention_opts o = {.causal = kind % 2, .scale = kind == 2 ? 0.7 : 0};
        if (kind > 0) o.begin = integers(graph, HONE_SHAPE(2, 3), (int32_t[]){0, 1, 2, 0, 0, 3});
        if (kind > 1) o.end = integers(graph, HONE_SHAPE(2, 3), (int32_t[]){6, 1, 9, 4, 0, 5}); /* two see nothing */
        if (kind > 2) o.rows = integers(graph, HONE_SHAPE(2), (int32_t[]){1, 0});
        hone_node *y[2], *g[2][3], *w = noise(graph, HONE_F64, HONE_SHAPE(2, 3, 4, 5), 4);
        for (int masked = 0; masked < 2; masked++) {
            if (masked) o.mask = hone_fill(graph, HONE_U8, HONE_SHAPE(3, 1), 1);
            y[masked] = hone_attention_opt(q, k, v, &o);
            if (kind < 3) hone_grad(hone_sum(hone_mul(y[masked], w), HONE_ALL_AXES, false), 3, in, g[masked]);
        }
        assert_hone_ok(ctx, hone_ctx_status(ctx));
        double off = apart(graph, 1, &y[0], &y[1]);
        if (kind < 3) off = fmax(off, apart(graph, 3, g[0], g[1]));
        if (!(off < 1e-12)) fail_msg("kind %d is %g off", kind, off);
        hone_graph_release(graph);
    }
}

/* ---- derivatives of what other ops make up ---- */

enum { WHOLE = 5 }; /* q, k, v, the mask, the weights of the sum */
typedef struct masked_case {
    const char *name;
    int64_t tq, tk, heads, kv_heads;
    bool u8, causal, limits, dropout;
    int n_grad; /* of q, k, v and a real mask */
    hone_shape mask;
} masked_case;

static void record_masked(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    const masked_case *c = user;
    hone_attention_opts o = {.causal = c->causal, .dropout = c->dropout ? 0.4 : 0, .scale = 0.6};
    o.mask = c->u8 ? hone_greater(in[3], hone_fill(graph, HONE_F64, HONE_SCALAR, 0)) : in[3];
    if (c->limits) {
        o.begin = hone_cast(hone_fill(graph, HONE_F64, HONE_SHAPE(2, c->tq), 1), HONE_I32);
        o.end = hone_cast(hone_fill(graph, HONE_F64, HONE_SHAPE(2, c->tq), (double)c->tk - 1), HONE_I32);
    }
    out[0] = hone_sum(hone_mul(hone_attention_opt(in[0], in[1], in[2], &o), in[4]), HONE_ALL_AXES, false);
    if (out[0]) hone_grad(out[0], c->n_grad, in, out + 1);
}

static double loss_of(hone_function *f, hone_tensor **in)
{
    assert_hone_ok(ctx, hone_function_call(f, in, .mode = HONE_TRAIN));
    return hone_tensor_get(hone_function_output(f, 0), 0);
}

static void test_masked_attention_against_central_differences(void **state)
{
    (void)state;
    static const masked_case masked[] = {
        {"cross, a mask of bits", 3, 5, 2, 2, true, false, false, false, 3, {4, {2, 1, 3, 5}}},
        {"grouped queries, a real mask", 3, 4, 4, 2, false, false, false, false, 4, {4, {2, 4, 3, 4}}},
        {"one key head, a mask of keys", 2, 4, 3, 1, false, false, false, false, 4, {4, {2, 1, 1, 4}}},
        {"causal, a broadcast mask", 4, 4, 2, 1, false, true, false, false, 4, {2, {4, 4}}},
        {"limits and bits, grouped", 3, 5, 4, 2, true, true, true, false, 3, {3, {1, 3, 5}}},
        {"dropout, a real mask", 3, 5, 2, 1, false, false, false, true, 4, {2, {3, 5}}}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(masked); i++) {
        masked_case c = masked[i];
        hone_shape q = HONE_SHAPE(2, c.tq, c.heads, 3), k = HONE_SHAPE(2, c.tk, c.kv_heads, 3), shapes[WHOLE] = {q, k, k, c.mask, q};
        hone_tensor *in[WHOLE];
        for (int n = 0; n < WHOLE; n++) {
            in[n] = hone_tensor_new(ctx, HONE_F64, shapes[n]);
            for (int64_t e = 0; e < hone_shape_count(shapes[n]); e++) ((double *)in[n]->data)[e] = (double)hone__random_normal((uint64_t)n + 11, (uint64_t)e);
        }
        hone_function *f = hone_function_new(ctx, WHOLE, 1 + c.n_grad, record_masked, &c);
        loss_of(f, in);
        for (int n = 0; n < c.n_grad; n++) {
            int64_t count = hone_shape_count(shapes[n]);
            double *x = in[n]->data, want[128], most = 0;
            loss_of(f, in);
            assert_true(count <= 128);
            for (int64_t e = 0; e < count; e++) want[e] = hone_tensor_get(hone_function_output(f, 1 + n), e), most = fmax(most, fabs(want[e]));
            assert_true(most > 1e-3);
            for (int64_t e = 0; e < count; e++) {
                const double h = 1e-5, kept = x[e];
                x[e] = kept + h;
                double above = loss_of(f, in);
                x[e] = kept - h;
                double numeric = (above - loss_of(f, in)) / (2 * h);
                x[e] = kept;
                if (!(fabs(want[e] - numeric) <= 1e-7 * (1 + most)))
                    fail_msg("%s: the gradient of input %d at %lld is %.9g, central differences say %.9g", c.name, n, (long long)e, want[e], numeric);
            }
        }
        hone_function_free(f);
        for (int n = 0; n < WHOLE; n++) hone_tensor_free(in[n]);
    }
}

static void test_a_query_that_sees_nothing_gives_zeros(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *q = noise(graph, HONE_F32, HONE_SHAPE(1, 2, 1, 4), 1), *k = noise(graph, HONE_F32, HONE_SHAPE(1, 3, 1, 4), 2), *g[3];
    hone_node *mask = hone_fill(graph, HONE_F32, HONE_SHAPE(2, 3), -INFINITY);
    hone_node *y = hone_attention(q, k, k, .mask = mask), *loss = hone_sum(y, HONE_ALL_AXES, false);
    assert_hone_ok(ctx, hone_grad(loss, 3, (hone_node *[]){q, k, mask}, g));
    for (int i = 0; i < 4; i++) {
        double most;
        hone_node *all = hone_max(hone_abs(i < 3 ? g[i] : y), HONE_ALL_AXES, false);
        assert_hone_ok(ctx, run_scalars(graph, 1, &all, &most));
        assert_true(most == 0);
    }
    hone_graph_release(graph);
}

/* With values of one everywhere the result is the sum of a query's weights: 1, and with dropout 1 on average. */
static void test_dropout_falls_on_the_weights(void **state)
{
    (void)state;
    for (int train = 0; train < 2; train++) {
        hone_graph *graph = hone_graph_new(ctx, .mode = train ? HONE_TRAIN : HONE_EVALUATE);
        hone_node *q = noise(graph, HONE_F32, HONE_SHAPE(4, 64, 2, 8), 1), *k = noise(graph, HONE_F32, HONE_SHAPE(4, 64, 2, 8), 2);
        hone_node *y = hone_attention(q, k, hone_fill(graph, HONE_F32, HONE_SHAPE(4, 64, 2, 8), 1), .dropout = 0.25);
        hone_node *mean = hone_mean(y, HONE_ALL_AXES, false), *off = hone_max(hone_abs(hone_affine(y, 1, -1)), HONE_ALL_AXES, false);
        double v[2];
        assert_hone_ok(ctx, run_scalars(graph, 2, (hone_node *[]){mean, off}, v));
        if (train) assert_true(fabs(v[0] - 1) < 0.02 && v[1] > 0.1 && v[1] < 1.5);
        else assert_true(v[1] < 1e-5);
        hone_graph_release(graph);
    }
}

/* Keys beyond a row's length have no effect, and an absent input may be left out in a functional model of any batch. */
static void test_lengths_hide_what_is_beyond_them(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(HONE_BATCH, 5, 8));
    hone_node *length = hone_cast(hone_fill(graph, HONE_F32, HONE_SHAPE(HONE_BATCH), 3), HONE_I32);
    hone_node *y = hone_apply_n(hone_transformer_encoder(ctx, 1, 2, 16, .swiglu = true, .kv_heads = 1, .rope_theta = 100), 3,
                                (hone_node *[]){x, NULL, length});
    y = hone_slice(y, 1, 0, 3, 1);
    hone_model *model = hone_model_new(1, &x, 1, &y);
    if (!model) fail_msg("%s", hone_error(ctx));
    hone_graph_release(graph);
    hone_tensor *data = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(3, 5, 8));
    float *values = hone_tensor_data(data);
    for (int i = 0; i < 120; i++) values[i] = sinf((float)i);
    hone_tensor *a = hone_predict(model, data, 3);
    if (!a) fail_msg("%s", hone_error(ctx));
    for (int i = 0; i < 3; i++) values[i * 40 + 24 + i] = 9;
    hone_tensor *b = hone_predict(model, data, 2);
    for (int i = 0; i < 72; i++) assert_true(fabsf(at(a, i) - at(b, i)) < 1e-6f);
    values[8] = 9;
    hone_tensor *c = hone_predict(model, data, 3);
    assert_true(at(c, 0) != at(a, 0));
    hone_tensor_free(a), hone_tensor_free(b), hone_tensor_free(c), hone_tensor_free(data);
    hone_model_release(model);
}

/* ---- positions ---- */

static void test_positions_are_added(void **state)
{
    (void)state;
    hone_tensor *zeros = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2, 6, 5));
    memset(hone_tensor_data(zeros), 0, 60 * sizeof(float));
    hone_model *model = hone_model_of(hone_sinusoidal_positions(ctx));
    hone_tensor *y = hone_predict(model, zeros, 2);
    for (int b = 0; b < 2; b++)
        for (int t = 0; t < 6; t++) {
            double want[5] = {sin(t), cos(t), sin(t / pow(10000, 0.4)), cos(t / pow(10000, 0.4)), sin(t / pow(10000, 0.8))};
            for (int i = 0; i < 5; i++) assert_true(fabs((double)at(y, b * 30 + t * 5 + i) - want[i]) < 1e-6);
        }
    hone_tensor_free(y);
    hone_model_release(model);
    model = hone_model_of(hone_learned_positions(ctx, 8));
    y = hone_predict(model, zeros, 2);
    float w[40];
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "weight"), 40, w));
    for (int i = 0; i < 60; i++) assert_true(at(y, i) == w[i % 30]);
    hone_tensor_free(y), hone_tensor_free(zeros);
    zeros = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1, 9, 5));
    assert_null(hone_predict(model, zeros, 1));
    assert_error(HONE_SHAPE, "learned_positions '': there are 8 positions, the input has 9");
    hone_clear_error(ctx);
    hone_tensor_free(zeros);
    hone_model_release(model);
}

/* ---- first values ---- */

/* The weight [rows, columns] of a dense layer, which the caller frees; `layer` is gone afterwards. */
static float *first_weight(hone_layer *layer, const char *name, int64_t rows, int64_t columns)
{
    hone_model *model = hone_model_of(layer);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1, columns)), *y = hone_predict(model, x, 1);
    if (!y) fail_msg("%s", hone_error(ctx));
    float *w = calloc((size_t)(rows * columns), sizeof *w);
    hone_param *p = hone_model_find_param(model, name);
    assert_non_null(p);
    assert_hone_ok(ctx, hone_param_read(p, hone_shape_count(hone_param_shape(p)), w));
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
    return w;
}

static void test_first_values_have_their_moments(void **state)
{
    (void)state;
    enum { ROWS = 200, COLUMNS = 300, N = ROWS * COLUMNS };
    static const struct {
        hone_initializer which;
        hone_init_opts opts;
        double deviation, bound; /* of a [200, 300] weight; bound 0: none */
    } kinds[] = {
        {HONE_INIT_LECUN_UNIFORM, {0}, 0.0577350, 0.1},
        {HONE_INIT_UNIFORM, {0}, 0.0288675, 0.05},
        {HONE_INIT_UNIFORM, {.value = 2}, 1.154701, 2},
        {HONE_INIT_NORMAL, {.value = 0.5}, 0.5, 0},
        {HONE_INIT_TRUNCATED_NORMAL, {0}, 0.02 * 0.8796257, 0.04},
        {HONE_INIT_TRUNCATED_NORMAL, {.value = 3}, 3 * 0.8796257, 6},
        {HONE_INIT_VARIANCE_SCALING, {0}, 0.0577350, 0.1312718},
        {HONE_INIT_VARIANCE_SCALING, {.value = 2, .fan = HONE_FAN_OUT}, 0.1, 0.2273695},
        {HONE_INIT_VARIANCE_SCALING, {.fan = HONE_FAN_AVERAGE, .distribution = HONE_DISTRIBUTE_UNIFORM}, 0.0632456, 0.1095445},
        {HONE_INIT_VARIANCE_SCALING, {.value = 4, .distribution = HONE_DISTRIBUTE_NORMAL}, 0.1154701, 0},
        {HONE_INIT_NORMAL, {.value = (double)HONE_ZERO}, 0, 0},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(kinds); i++) {
        hone_layer *dense = hone_dense(ctx, ROWS);
        assert_hone_ok(ctx, hone_layer_initialize_opt(dense, "weight", kinds[i].which, &kinds[i].opts));
        float *w = first_weight(dense, "weight", ROWS, COLUMNS);
        double mean = 0, square = 0, most = 0, want = kinds[i].deviation;
        for (int k = 0; k < N; k++) mean += (double)w[k], square += pow((double)w[k], 2), most = fmax(most, fabs((double)w[k]));
        mean /= N, square = sqrt(square / N);
        if (!(fabs(mean) <= 4 * want / sqrt(N)) || !(fabs(square - want) <= 0.015 * want) ||
            (kinds[i].bound > 0 && !(most <= kinds[i].bound * 1.000001 && most > 0.995 * kinds[i].bound)))
            fail_msg("kind %d: mean %g, deviation %g, most %g", (int)i, mean, square, most);
        free(w);
    }
}

static void test_orthogonal_values_are_orthogonal(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{40, 40}, {20, 50}, {50, 20}, {1, 7}, {7, 1}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(sizes); i++) {
        int64_t rows = sizes[i][0], columns = sizes[i][1], n = HONE_MIN(rows, columns), length = HONE_MAX(rows, columns);
        hone_layer *dense = hone_dense(ctx, rows);
        assert_hone_ok(ctx, hone_layer_initialize(dense, "weight", HONE_INIT_ORTHOGONAL, .value = 3));
        float *w = first_weight(dense, "weight", rows, columns);
        for (int64_t a = 0; a < n; a++)
            for (int64_t b = 0; b < n; b++) {
                double dot = 0;
                for (int64_t k = 0; k < length; k++)
                    dot += rows <= columns ? (double)w[a * columns + k] * (double)w[b * columns + k]
                                           : (double)w[k * columns + a] * (double)w[k * columns + b];
                assert_true(fabs(dot - (a == b ? 9 : 0)) < 1e-5);
            }
        free(w);
    }
}

static void test_identity_passes_its_input_on(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{4, 4}, {3, 5}, {5, 3}};
    for (size_t i = 0; i < HONE_ARRAY_LEN(sizes); i++) {
        int64_t rows = sizes[i][0], columns = sizes[i][1];
        hone_layer *dense = hone_dense(ctx, rows);
        assert_hone_ok(ctx, hone_layer_initialize(dense, "weight", HONE_INIT_IDENTITY, .value = -2));
        float *w = first_weight(dense, "weight", rows, columns);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++) assert_true(w[r * columns + c] == (r == c ? -2 : 0));
        free(w);
    }
    hone_model *model = hone_model_of(hone_conv2d(ctx, 2, 3, .padding = HONE_SAME, .initializer = HONE_INIT_IDENTITY));
    hone_tensor *x = hone_tensor_from_f32(ctx, HONE_SHAPE(1, 2, 2, 2), VALUES(1, 2, 3, 4, 5, 6, 7, 8)), *y = hone_predict(model, x, 1);
    assert_memory_equal(hone_tensor_data(x), hone_tensor_data(y), 8 * sizeof(float));
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
    model = hone_model_of(hone_dense(ctx, 2, .bias_initializer = HONE_INIT_IDENTITY));
    assert_int_equal(hone_model_build_for(model, HONE_F32, HONE_SHAPE(1, 2)), HONE_SHAPE);
    assert_error(HONE_SHAPE, "identity: needs [out, in, ...], not [2]");
    hone_clear_error(ctx);
    hone_model_release(model);
}

/* The nearest layer's word counts, then the latest; what nobody spoke of begins as its layer has it. */
static void test_what_was_said_last_and_nearest_counts(void **state)
{
    (void)state;
    hone_layer *inner = hone_dense(ctx, 2), *net = hone_sequential(ctx, hone_dense(ctx, 3), inner);
    assert_hone_ok(ctx, hone_layer_initialize(net, "bias", HONE_INIT_CONSTANT, .value = 1));
    assert_hone_ok(ctx, hone_layer_initialize(net, "0.bias", HONE_INIT_CONSTANT, .value = -2));
    assert_hone_ok(ctx, hone_layer_initialize(net, "ias", HONE_INIT_CONSTANT, .value = 9)); /* no part of a name */
    assert_hone_ok(ctx, hone_layer_initialize(net, "1.weight", HONE_INIT_ONES));
    assert_hone_ok(ctx, hone_layer_initialize(inner, "weight", HONE_INIT_CONSTANT, .value = 0.25));
    hone_model *model = hone_model_of(net);
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1, 4));
    hone_tensor_free(hone_predict(model, x, 1));
    float v[12];
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.bias"), 3, v));
    assert_true(v[0] == -2 && v[2] == -2);
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "1.bias"), 2, v));
    assert_true(v[0] == 1 && v[1] == 1);
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "1.weight"), 6, v));
    assert_true(v[0] == 0.25f && v[5] == 0.25f);
    assert_hone_ok(ctx, hone_param_read(hone_model_find_param(model, "0.weight"), 12, v));
    assert_true(v[0] != v[1]);
    hone_tensor_free(x);
    hone_model_release(model);
    float *b = first_weight(hone_dense(ctx, 3, .bias_initializer = HONE_INIT_ONES), "bias", 3, 1);
    assert_true(b[0] == 1 && b[2] == 1);
    free(b);
}

/* ---- refusals ---- */

static void refused(hone_status status, const char *part)
{
    assert_error(status, part);
    hone_clear_error(ctx);
}

static void test_refusals_say_what_does_not_fit(void **state)
{
    (void)state;
    assert_null(hone_multi_head_attention(ctx, 4, .kv_heads = 3));
    refused(HONE_INVALID, "multi_head_attention: heads must be a multiple of kv_heads, not 4 and 3");
    assert_null(hone_multi_head_attention(ctx, 4, .dropout = 1));
    refused(HONE_INVALID, "dropout in [0, 1)");
    assert_null(hone_transformer_encoder_layer(ctx, 4, 0));
    refused(HONE_INVALID, "transformer_encoder_layer: feed_forward must be at least 1");
    assert_null(hone_transformer_decoder(ctx, 0, 4, 8));
    refused(HONE_INVALID, "transformer_decoder: needs at least one layer, not 0");
    assert_null(hone_transformer_decoder(ctx, 2, 0, 8));
    refused(HONE_INVALID, "heads must be a multiple");
    assert_null(hone_learned_positions(ctx, 0));
    refused(HONE_INVALID, "length must be at least 1");
    assert_null(hone_embedding_layer(ctx, 5, 4, .padding = true, .padding_index = 5));
    refused(HONE_INVALID, "the padding index must be in [0, 5), not 5");
    assert_null(hone_layer_norm_layer(ctx, .axes = -1));
    refused(HONE_INVALID, "layer_norm: axes must be 1 to 8, not -1");
    hone_layer *dense = hone_dense(ctx, 2);
    assert_int_equal(hone_layer_initialize(dense, "weight", HONE_INIT_NORMAL, .value = -1), HONE_INVALID);
    refused(HONE_INVALID, "layer 'dense': 'weight' cannot begin by initializer");
    assert_int_equal(hone_layer_initialize(dense, NULL, HONE_INIT_ONES), HONE_INVALID);
    hone_clear_error(ctx);
    assert_int_equal(hone_layer_initialize(dense, "weight", (hone_initializer)99), HONE_INVALID);
    hone_clear_error(ctx);

    hone_graph *graph = hone_graph_new(ctx, .mode = HONE_TRAIN);
    hone_node *x = noise(graph, HONE_F32, HONE_SHAPE(2, 3, 8), 1), *y = noise(graph, HONE_F32, HONE_SHAPE(3, 3, 8), 2);
    hone_node *q = hone_reshape(x, HONE_SHAPE(2, 3, 2, 4)), *wrong = integers(graph, HONE_SHAPE(2, 1), (int32_t[]){1, 2});
    hone_layer *attention = hone_multi_head_attention(ctx, 2), *odd = hone_multi_head_attention(ctx, 3);
    hone_layer *both = hone_transformer_decoder(ctx, 1, 2, 8), *wide = hone_layer_norm_layer(ctx, .axes = 4);
    assert_null(hone_apply(odd, x));
    refused(HONE_SHAPE, "multi_head_attention '': wants [B, T, features], features a multiple of 3 heads, not [2, 3, 8]");
    assert_null(hone_apply_n(attention, 2, (hone_node *[]){x, y}));
    refused(HONE_SHAPE, "key and value must be [2, T, ...], T the same, not [3, 3, 8]");
    assert_null(hone_apply_n(attention, 5, (hone_node *[]){x, NULL, NULL, NULL, wrong}));
    refused(HONE_SHAPE, "the lengths must be i32 [2], not i32 [2, 1]");
    assert_null(hone_apply_n(attention, 6, (hone_node *[]){x, x, x, NULL, NULL, x}));
    refused(HONE_INVALID, "takes 1 to 5 inputs, got 6");
    assert_null(hone_apply_n(attention, 4, (hone_node *[]){x, NULL, NULL, y}));
    refused(HONE_SHAPE, "the mask [3, 3, 8] cannot be broadcast to the scores [B, H, Tq, Tk], [2, 2, 3, 3]");
    assert_null(hone_apply_n(attention, 4, (hone_node *[]){x, NULL, NULL, wrong}));
    refused(HONE_DTYPE, "the mask must be u8 or f32, not i32");
    assert_null(hone_attention(q, q, q, .dropout = 1));
    refused(HONE_INVALID, "the rate must be in [0, 1)");
    assert_null(hone_attention(q, q, q, .dropout = 0.5, .end = wrong));
    refused(HONE_SHAPE, "the end must be [2, 3]");
    assert_null(hone_attention(q, x, x, .dropout = 0.5));
    refused(HONE_SHAPE, "q must be [B, Tq, H, D]");
    assert_null(hone_apply(both, x)); /* a decoder without a memory */
    refused(HONE_SHAPE, "takes 2 to 6 inputs");
    assert_null(hone_apply(wide, x));
    refused(HONE_SHAPE, "layer_norm '': normalizes over the last 4 axes, the input is [2, 3, 8]");
    hone_graph_release(graph);
}

/* ---- memory ---- */

static hone_status build_once(counting *c)
{
    hone_ctx *own = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, c});
    if (!own) return HONE_MEMORY;
    hone_layer *stack = hone_transformer_encoder(own, 1, 2, 4, .dropout = 0.1, .pre_norm = true);
    hone_layer_initialize(stack, "linear1.weight", HONE_INIT_ORTHOGONAL);
    hone_layer *layers[] = {hone_sinusoidal_positions(own), hone_learned_positions(own, 3), stack};
    hone_model *model = hone_model_of(hone_sequential_n(own, 3, layers));
    hone_tensor *x = hone_tensor_new(own, HONE_F32, HONE_SHAPE(2, 3, 4)), *y = hone_tensor_new(own, HONE_F32, HONE_SHAPE(2, 3, 4));
    hone_status status = hone_ctx_status(own);
    if (status == HONE_OK) status = hone_compile(model);
    if (status == HONE_OK) status = hone_fit(model, x, y, NULL, .batch_size = 2);
    hone_tensor_free(x), hone_tensor_free(y);
    hone_model_release(model);
    hone_ctx_release(own);
    return status;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    counting c = {0};
    assert_int_equal(build_once(&c), HONE_OK);
    assert_int_equal(c.live, 0);
    int64_t calls = c.calls;
    for (int64_t n = 1; n <= calls; n++) {
        c = (counting){.fail_at = n};
        hone_status status = build_once(&c);
        if (status != HONE_MEMORY) fail_msg("allocation %d failed, the status is %s", (int)n, hone_status_name(status));
        if (c.live) fail_msg("allocation %d failed, %d blocks leak", (int)n, (int)c.live);
    }
}

static int open_file(void **state)
{
    new_ctx(state);
    file = hone_safetensors_open(ctx, HONE_TEST_DATA "/transformer.golden.safetensors");
    return file ? 0 : -1;
}
static int close_file(void **state)
{
    hone_safetensors_close(file);
    return free_ctx(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values_and_gradients_are_pytorchs, open_file, close_file),
        cmocka_unit_test_setup_teardown(test_bf16_stays_close, open_file, close_file),
        TEST(test_a_mask_of_ones_changes_nothing),
        TEST(test_masked_attention_against_central_differences),
        TEST(test_a_query_that_sees_nothing_gives_zeros),
        TEST(test_dropout_falls_on_the_weights),
        TEST(test_lengths_hide_what_is_beyond_them),
        TEST(test_positions_are_added),
        TEST(test_first_values_have_their_moments),
        TEST(test_orthogonal_values_are_orthogonal), TEST(test_identity_passes_its_input_on),
        TEST(test_what_was_said_last_and_nearest_counts),
        TEST(test_refusals_say_what_does_not_fit),
        TEST(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
