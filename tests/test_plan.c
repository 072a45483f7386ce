/* Plans and recorded functions: what they run, where they put it, when they are made again, what they
   survive. */
#include "graph_tools.h"

#include "graph/schedule.h"

#include <math.h>

/* ---- plans --------------------------------------------------------------------------------------------- */

static void test_what_nobody_needs_is_not_run(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(4)), *y = hone_tanh(x);
    for (int i = 0; i < 10; i++) hone_exp(y);
    hone__plan *plan = hone__plan_new(graph, 1, &y, HONE_F32);
    assert_non_null(plan);
    assert_int_equal(hone__plan_length(plan), 1);
    hone__plan_free(plan);
    hone_graph_release(graph);
}

static void test_results_may_be_leaves_views_or_given_twice(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2, 3)), *turned = hone_transpose2(x);
    hone_node *outputs[] = {x, turned, turned, hone_fill(graph, HONE_F32, HONE_SHAPE(2), 5),
                            hone_reshape(x, HONE_SHAPE(6))};
    hone__plan *plan = hone__plan_new(graph, 5, outputs, HONE_F32);
    assert_non_null(plan);
    for (int run = 0; run < 2; run++) {
        for (int i = 0; i < 6; i++) ((float *)hone__plan_input(plan, 0)->data)[i] = (float)(10 * run + i);
        assert_hone_ok(ctx, hone__plan_run(plan, &now));
        const float *out[5];
        for (int i = 0; i < 5; i++) {
            assert_true(hone__view_is_dense(hone__plan_output(plan, i)));
            out[i] = hone__plan_output(plan, i)->data;
        }
        assert_float_equal(out[0][1], 10 * run + 1, 0);
        assert_float_equal(out[1][1], 10 * run + 3, 0);
        assert_float_equal(out[2][1], 10 * run + 3, 0);
        assert_float_equal(out[3][1], 5, 0);
        assert_float_equal(out[4][4], 10 * run + 4, 0);
    }
    hone__plan_free(plan);
    hone_graph_release(graph);
}

/* A value in f32 that products read reshaped, each by itself, is cast to bf16 once. */
static void test_reshaped_operands_share_a_cast(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2, 3, 4)), *w = hone_input(graph, "w", HONE_F32, HONE_SHAPE(4, 6));
    hone_node *out[3];
    for (int i = 0; i < 3; i++) out[i] = hone_matmul(hone_reshape(x, HONE_SHAPE(6, 4)), hone_reshape(w, HONE_SHAPE(4, 6)));
    hone__plan *plan = hone__plan_new(graph, 3, out, HONE_BF16);
    assert_non_null(plan);
    assert_int_equal(hone__plan_length(plan), 5); /* two casts, three products */
    for (int i = 0; i < 24; i++) ((float *)hone__plan_input(plan, 0)->data)[i] = ((float *)hone__plan_input(plan, 1)->data)[i] = (float)i;
    assert_hone_ok(ctx, hone__plan_run(plan, &now));
    for (int o = 0; o < 3; o++) assert_float_equal(((float *)hone__plan_output(plan, o)->data)[7], 4 * 1 + 5 * 7 + 6 * 13 + 7 * 19, 0);
    hone__plan_free(plan);
    hone_graph_release(graph);
}

static void test_find_nonfinite_names_the_first_op(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(2));
    const char *before = hone__scope_push(graph, "head");
    hone_node *y = hone_exp(hone_log(x));
    hone__scope_pop(graph, before);
    hone__plan *plan = hone__plan_new(graph, 1, &y, HONE_F32);
    assert_non_null(plan);
    float *in = hone__plan_input(plan, 0)->data;
    char text[256] = "";
    in[0] = 1, in[1] = 2;
    assert_false(hone__plan_find_nonfinite(plan, &now, text, sizeof text));
    in[1] = -1;
    assert_true(hone__plan_find_nonfinite(plan, &now, text, sizeof text));
    assert_non_null(strstr(text, "head"));
    hone__plan_free(plan);
    hone_graph_release(graph);
}

/* Random lifetimes: no two buffers that are alive at once may share a byte, and sharing must save memory. */
static void test_placement_against_brute_force(void **state)
{
    (void)state;
    enum { N = 60 };
    size_t shared = 0, apart = 0;
    for (uint64_t round = 0; round < 200; round++) {
        hone__lifetime b[N];
        int n = (int)hone__random_below(1, round, N + 1);
        for (int i = 0; i < n; i++) {
            uint64_t key = hone__key(round, (uint64_t)i);
            int begin = (int)hone__random_below(key, 0, 50) - 1;
            b[i] = (hone__lifetime){.size = (size_t)hone__random_below(key, 1, 1000),
                                    .begin = begin,
                                    .end = begin + (int)hone__random_below(key, 2, 12)};
            apart += b[i].size;
        }
        size_t total;
        assert_hone_ok(ctx, hone__place(ctx, b, n, &total));
        for (int i = 0; i < n; i++) {
            assert_true(b[i].offset % HONE_ALIGN == 0 && b[i].offset + b[i].size <= total);
            for (int j = 0; j < i; j++) {
                bool together = b[i].begin <= b[j].end && b[j].begin <= b[i].end;
                bool overlap = b[i].offset < b[j].offset + b[j].size && b[j].offset < b[i].offset + b[i].size;
                if (together && overlap && b[i].size && b[j].size)
                    fail_msg("buffers %d and %d overlap", i, j);
            }
        }
        shared += total;
    }
    assert_true(shared < apart / 2);
}

/* Random graphs, planned against eager: a value overwritten while it is still needed shows as another
   result. */
static hone_node *random_step(hone_node *a, hone_node *b, uint64_t key)
{
    hone_shape s = a->shape;
    hone_node *t;
    switch (hone__random_below(key, 0, 14)) {
    case 0:
        return hone_tanh(a);
    case 1:
        return hone_add(a, b);
    case 2:
        return hone_mul(a, b);
    case 3:
        return hone_maximum(a, b);
    case 4:
        return hone_transpose2(a);
    case 5:
        return hone_transpose2(hone_sin(hone_transpose2(a)));
    case 6:
        return hone_reshape(hone_cos(hone_reshape(hone_transpose2(a), HONE_SHAPE(s.dim[0] * s.dim[1]))), s);
    case 7:
        return hone_broadcast_to(hone_mean(a, HONE_AXES(1), true), s);
    case 8:
        return hone_matmul(a, hone_transpose2(b));
    case 9:
        return hone_pad(hone_slice(a, 0, 1, 3, 1), HONE_SHAPE(1, 0), HONE_SHAPE(s.dim[0] - 3, 0), 0.25);
    case 10:
        t = hone_concatenate(2, (hone_node *[]){a, b}, 0);
        return hone_slice(t, 0, 0, 2 * s.dim[0], 2);
    case 11:
        return hone_where(hone_less(a, b), a, hone_neg(b));
    case 12:
        return hone_gather(a, hone_argmax(b, 1), 0);
    default:
        return hone_sub(a, hone_max(b, HONE_AXES(0), true));
    }
}

static void record_random(hone_graph *graph, uint64_t round, hone_node *const *in, hone_node **out)
{
    hone_node *node[40] = {in[0], in[1]};
    for (int i = 2; i < 40; i++) {
        uint64_t key = hone__key(round, (uint64_t)i);
        node[i] = random_step(node[hone__random_below(key, 1, (uint64_t)i)],
                              node[hone__random_below(key, 2, (uint64_t)i)], key);
        node[i] = hone_clamp(node[i], -4, 4);
    }
    for (int i = 0; i < 4; i++) out[i] = node[39 - 3 * i];
    hone_node *loss = hone_sum(hone_mul(out[0], out[1]), HONE_ALL_AXES, false);
    hone_grad(loss, 2, in, out + 4);
    (void)graph;
}

static void test_random_graphs_planned_against_eager(void **state)
{
    (void)state;
    enum { SIDE = 5, COUNT = SIDE * SIDE, OUT = 6 };
    for (uint64_t round = 0; round < 300; round++) {
        hone_graph *planned = hone_graph_new(ctx), *eager = hone_graph_new(ctx, .eager = true);
        hone_tensor *t[2];
        hone_node *in[2], *out[OUT], *eager_in[2], *eager_out[OUT];
        for (int i = 0; i < 2; i++) {
            float v[COUNT];
            for (int e = 0; e < COUNT; e++) v[e] = hone__random_normal(round, (uint64_t)(i * COUNT + e));
            t[i] = hone_tensor_from_f32(ctx, HONE_SHAPE(SIDE, SIDE), v);
            in[i] = hone_input(planned, "x", HONE_F32, HONE_SHAPE(SIDE, SIDE));
            eager_in[i] = hone_constant(eager, t[i]);
        }
        record_random(planned, round, in, out);
        record_random(eager, round, eager_in, eager_out);
        hone__plan *plan = hone__plan_new(planned, OUT, out, HONE_F32);
        if (!plan) fail_msg("round %d: %s", (int)round, hone_error(ctx));
        for (int i = 0; i < 2; i++) /* an input that nobody reads has no memory */
            if (hone__plan_input(plan, i)->data)
                memcpy(hone__plan_input(plan, i)->data, t[i]->data, t[i]->bytes);
        assert_hone_ok(ctx, hone__plan_run(plan, &now));
        for (int o = 0; o < OUT; o++) {
            float wanted[COUNT];
            assert_hone_ok(ctx, hone_node_read(eager_out[o], COUNT, HONE_F32, wanted));
            if (memcmp(wanted, hone__plan_output(plan, o)->data, sizeof wanted))
                fail_msg("round %d: output %d differs between plan and eager graph", (int)round, o);
        }
        hone__plan_free(plan);
        hone_graph_release(planned);
        hone_graph_release(eager);
        for (int i = 0; i < 2; i++) hone_tensor_free(t[i]);
    }
}

/* ---- gradients that are summed on the way ------------------------------------------------------------------ */

enum { NORM_ROWS = 6, NORM_WIDTH = 40 };

/* A residual block ahead of which a product and a sum lie: the gradients of x, b and gain. */
static void residual_gradients(hone_graph *graph, hone_tensor *const *t, bool layer, hone_node **gradients)
{
    hone_node *x = hone_constant(graph, t[0]), *b = hone_constant(graph, t[1]), *gain = hone_constant(graph, t[2]);
    hone_node *w = hone_constant(graph, t[3]), *h = hone_add(hone_matmul(x, w), b);
    hone_node *n = layer ? hone_layer_norm(h, gain, NULL, 1e-5) : hone_rms_norm(h, gain, 1e-5);
    hone_node *y = hone_add(h, hone_tanh(hone_matmul(n, w)));
    /* b has a gradient before that of h reaches it, which x's product wants without it. */
    hone_node *loss = hone_add(hone_sum(hone_square(y), HONE_ALL_AXES, false), hone_sum(hone_square(b), HONE_ALL_AXES, false));
    hone_node *wrt[] = {x, b, gain};
    assert_hone_ok(ctx, hone_grad(loss, 3, wrt, gradients));
}

/* Uniform in [-largest, largest). */
static hone_tensor *noise(hone_shape shape, double largest, uint64_t seed)
{
    float values[NORM_WIDTH * NORM_WIDTH];
    for (uint64_t i = 0; i < NORM_WIDTH * NORM_WIDTH; i++)
        values[i] = (float)(largest * ((double)(hone__key(seed, i) >> 40) / (1 << 23) - 1));
    return hone_tensor_from_f32(ctx, shape, values);
}

/* How often the norm's gradient adds what came before to dx, and writes it in bf16 as well. */
static void count_sums(const hone__plan *plan, int *sums, int *again)
{
    *sums = *again = 0;
    for (size_t e = 0; e < plan->n_execs; e++) {
        const hone__exec *exec = &plan->execs[e];
        if (!exec->call || exec->call->op->sum_in == 0) continue;
        *sums += exec->n_in > exec->call->op->sum_in && exec->in[exec->call->op->sum_in].data;
        *again += exec->out[exec->call->n_out].data != NULL;
    }
}

static void test_norms_add_the_gradient_so_far(void **state)
{
    (void)state;
    hone_shape rows = HONE_SHAPE(NORM_ROWS, NORM_WIDTH);
    hone_tensor *t[] = {noise(rows, 1, 1), noise(rows, 1, 2), noise(HONE_SHAPE(NORM_WIDTH), 1, 3),
                        noise(HONE_SHAPE(NORM_WIDTH, NORM_WIDTH), 0.3, 4)};
    for (int layer = 0; layer < 2; layer++) {
        float want[3][NORM_ROWS * NORM_WIDTH];
        int64_t counts[3] = {NORM_ROWS * NORM_WIDTH, NORM_ROWS * NORM_WIDTH, NORM_WIDTH};
        hone_node *gradients[3];
        hone_graph *eager = hone_graph_new(ctx, .eager = true), *graph = hone_graph_new(ctx);
        residual_gradients(eager, t, layer, gradients); /* where sums are calls of their own */
        for (int i = 0; i < 3; i++) assert_hone_ok(ctx, hone_node_read(gradients[i], counts[i], HONE_F32, want[i]));
        residual_gradients(graph, t, layer, gradients);
        for (int half = 0; half < 2; half++) {
            int sums, again;
            hone__plan *plan = hone__plan_new(graph, 3, gradients, half ? HONE_BF16 : HONE_F32);
            assert_non_null(plan);
            count_sums(plan, &sums, &again);
            assert_int_equal(sums, 1);
            assert_int_equal(again, half);
            assert_hone_ok(ctx, hone__plan_run(plan, &now));
            for (int i = 0; i < 3; i++) {
                const float *got = hone__plan_output(plan, i)->data;
                float largest = 0;
                for (int64_t k = 0; k < counts[i]; k++) largest = fmaxf(largest, fabsf(want[i][k]));
                for (int64_t k = 0; k < counts[i]; k++) assert_float_equal(got[k], want[i][k], largest * (half ? 0.02f : 1e-6f));
            }
            hone__plan_free(plan);
        }
        hone_graph_release(eager);
        hone_graph_release(graph);
    }
    for (int i = 0; i < 4; i++) hone_tensor_free(t[i]);
}

/* ---- functions ----------------------------------------------------------------------------------------- */

typedef struct net {
    hone_tensor *w, *b;
    int recorded;
    double varying; /* baked into the graph: a mistake that HONE_CHECK_RECORD finds */
} net;

static void forward(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    net *n = user;
    n->recorded++;
    hone_node *w = hone_variable(graph, n->w), *b = hone_variable(graph, n->b);
    hone_node *hidden = hone_tanh(hone_add(hone_matmul(in[0], w), b));
    hone_node *loss = hone_mean(hone_square(hone_affine(hidden, 1, n->varying)), HONE_ALL_AXES, false),
              *gradients[2];
    out[0] = loss;
    if (hone_grad(loss, 2, (hone_node *[]){w, b}, gradients) != HONE_OK) return;
    out[1] = gradients[0];
    hone_assign(b, hone_sub(b, hone_affine(gradients[1], 0.1, 0)));
}

static net new_net(void)
{
    static const float w[6] = {0.5f, -0.3f, 0.2f, 0.7f, -0.9f, 0.1f};
    return (net){.w = hone_tensor_from_f32(ctx, HONE_SHAPE(3, 2), w),
                 .b = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2))};
}
static void free_net(net *n)
{
    hone_tensor_free(n->w);
    hone_tensor_free(n->b);
}
static hone_tensor *batch(int64_t rows)
{
    hone_tensor *x = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(rows, 3));
    for (int64_t i = 0; x && i < rows * 3; i++) ((float *)x->data)[i] = (float)(i % 7) * 0.3f - 1;
    return x;
}

static void test_a_plan_is_made_once_for_each_shape(void **state)
{
    (void)state;
    net n = new_net();
    hone_function *f = hone_function_new(ctx, 1, 2, forward, &n);
    hone_tensor *two = batch(2), *five = batch(5);
    double before = 0;
    for (int i = 0; i < 3; i++) {
        assert_hone_ok(ctx, hone_function_call(f, &two));
        double loss = (double)at(hone_function_output(f, 0), 0);
        assert_true(i == 0 || loss < before); /* the bias is being trained */
        before = loss;
        assert_hone_ok(ctx, hone_function_call(f, &five));
        assert_true(hone_shape_equal(hone_tensor_shape(hone_function_output(f, 1)), HONE_SHAPE(3, 2)));
    }
    assert_int_equal(n.recorded, 2);
    assert_hone_ok(ctx, hone_function_call(f, &two, .mode = HONE_TRAIN));
    assert_int_equal(n.recorded, 3);
    assert_true(hone_function_bytes(f) > 0);
    assert_null(hone_function_output(f, 2));
    assert_int_equal(hone_function_call(f, (hone_tensor *[]){NULL}), HONE_INVALID);
    hone_function_free(f);
    hone_tensor_free(two);
    hone_tensor_free(five);
    free_net(&n);
}

static void test_the_least_recently_used_plan_goes(void **state)
{
    (void)state;
    net n = new_net();
    hone_tensor *x[3] = {batch(40), batch(41), batch(42)};
    hone_function *probe = hone_function_new(ctx, 1, 2, forward, &n);
    assert_hone_ok(ctx, hone_function_call(probe, &x[2]));
    size_t bytes = hone_function_bytes(probe);
    hone_function_free(probe);
    n.recorded = 0;
    hone_function *f = hone_function_new(ctx, 1, 2, forward, &n, .cache_bytes = 2 * bytes);
    assert_hone_ok(ctx, hone_function_call(f, &x[0]));
    assert_hone_ok(ctx, hone_function_call(f, &x[1]));
    assert_hone_ok(ctx, hone_function_call(f, &x[0]));
    assert_int_equal(n.recorded, 2);
    assert_hone_ok(ctx, hone_function_call(f, &x[2])); /* sends away x[1]'s */
    assert_hone_ok(ctx, hone_function_call(f, &x[0]));
    assert_int_equal(n.recorded, 3);
    assert_hone_ok(ctx, hone_function_call(f, &x[1]));
    assert_int_equal(n.recorded, 4);
    hone_function_free(f);
    for (int i = 0; i < 3; i++) hone_tensor_free(x[i]);
    free_net(&n);
}

static void test_a_call_after_the_first_allocates_nothing(void **state)
{
    (void)state;
    counting c = {0};
    hone_ctx *kept = ctx;
    ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
    net n = new_net();
    hone_tensor *x = batch(4);
    hone_function *f = hone_function_new(ctx, 1, 2, forward, &n);
    assert_hone_ok(ctx, hone_function_call(f, &x));
    int64_t calls = c.calls;
    for (int i = 0; i < 5; i++) assert_hone_ok(ctx, hone_function_call(f, &x, .step = (uint64_t)i));
    assert_int_equal(c.calls, calls);
    hone_function_free(f);
    hone_tensor_free(x);
    free_net(&n);
    hone_ctx_release(ctx);
    assert_int_equal(c.live, 0);
    ctx = kept;
}

static void test_check_record_finds_what_should_be_an_input(void **state)
{
    (void)state;
    net n = new_net();
    hone_tensor *x = batch(2);
    setenv("HONE_CHECK_RECORD", "1", 1);
    hone_function *f = hone_function_new(ctx, 1, 2, forward, &n);
    unsetenv("HONE_CHECK_RECORD");
    assert_hone_ok(ctx, hone_function_call(f, &x));
    assert_hone_ok(ctx, hone_function_call(f, &x));
    n.varying = 1;
    assert_int_equal(hone_function_call(f, &x), HONE_STATE);
    assert_non_null(strstr(hone_error(ctx), "must be an input"));
    hone_function_free(f);
    hone_tensor_free(x);
    free_net(&n);
}

static void leaves_one_empty(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    (void)user, (void)graph;
    out[0] = in[0];
}
static void test_a_forward_must_set_every_output(void **state)
{
    (void)state;
    hone_tensor *x = batch(2);
    hone_function *f = hone_function_new(ctx, 1, 2, leaves_one_empty, NULL);
    assert_int_equal(hone_function_call(f, &x), HONE_INVALID);
    assert_error(HONE_INVALID, "left output 1 empty");
    hone_function_free(f);
    hone_tensor_free(x);
}

static void test_cancelling(void **state)
{
    (void)state;
    net n = new_net();
    hone_tensor *x = batch(2);
    hone_function *f = hone_function_new(ctx, 1, 2, forward, &n);
    hone_cancel(ctx);
    assert_int_equal(hone_function_call(f, &x), HONE_CANCELLED);
    assert_int_equal(n.recorded, 0);
    hone_clear_cancel(ctx);
    assert_hone_ok(ctx, hone_function_call(f, &x));
    hone_function_free(f);
    hone_tensor_free(x);
    free_net(&n);
}

/* Everything once, with whatever ops allocate for themselves (prepared products, scratch, derived
   weights). */
static hone_status small_network(counting *c)
{
    ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, c});
    if (!ctx) return HONE_MEMORY;
    net n = {0};
    hone_tensor *half = hone_tensor_new(ctx, HONE_BF16, HONE_SHAPE(3, 2));
    n = (net){.w = half, .b = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(2))};
    hone_tensor *x = batch(4);
    hone_function *f = hone_function_new(ctx, 1, 2, forward, &n);
    hone_status status = x && f && n.w && n.b ? hone_function_call(f, &x) : hone_ctx_status(ctx);
    if (status == HONE_OK) status = hone_function_call(f, &x);
    hone_graph *graph = hone_graph_new(ctx, .eager = true);
    hone_node *v = n.w ? hone_variable(graph, n.w) : NULL;
    hone_node *y = hone_softplus(hone_transpose2(hone_concatenate(2, (hone_node *[]){v, v}, 0)));
    float values[12];
    if (status == HONE_OK && y)
        status = hone_node_read(hone_reshape(y, HONE_SHAPE(12)), 12, HONE_F32, values);
    char *text = graph ? hone_graph_dump(graph, HONE_DUMP_DOT) : NULL;
    if (status == HONE_OK) status = hone_ctx_status(ctx);
    if (status != HONE_OK) assert_true(hone_error(ctx)[0] != 0);
    hone_free_text(ctx, text);
    hone_graph_release(graph);
    hone_function_free(f);
    hone_tensor_free(x);
    free_net(&n);
    hone_ctx_release(ctx);
    return status;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    hone_ctx *kept = ctx;
    counting c = {0};
    assert_int_equal(small_network(&c), HONE_OK);
    assert_int_equal(c.live, 0);
    int64_t calls = c.calls;
    assert_true(calls > 20);
    for (int64_t n = 1; n <= calls; n++) {
        c = (counting){.fail_at = n};
        hone_status status = small_network(&c);
        if (status != HONE_MEMORY)
            fail_msg("allocation %d failed, the status is %s", (int)n, hone_status_name(status));
        if (c.live) fail_msg("allocation %d failed, %d blocks leak", (int)n, (int)c.live);
    }
    ctx = kept;
}


/* Of two products with x, the second one's gradient of x adds the first one's; f32 beside bf16 within its rounding. */
static void test_products_add_the_gradient_so_far(void **state)
{
    (void)state;
    hone_shape rows = HONE_SHAPE(NORM_ROWS, NORM_WIDTH), square = HONE_SHAPE(NORM_WIDTH, NORM_WIDTH);
    hone_tensor *t[] = {noise(rows, 1, 1), noise(square, 0.3, 2), noise(square, 0.3, 3)};
    float want[NORM_ROWS * NORM_WIDTH], largest = 0;
    for (int way = 0; way < 3; way++) { /* eager; planned in f32; in bf16 */
        hone_graph *graph = hone_graph_new(ctx, .eager = way == 0);
        hone_node *x = hone_constant(graph, t[0]), *gradient;
        hone_node *y = hone_mul(hone_linear(x, hone_constant(graph, t[1]), NULL), hone_linear(x, hone_constant(graph, t[2]), NULL));
        assert_hone_ok(ctx, hone_grad(hone_sum(y, HONE_ALL_AXES, false), 1, &x, &gradient));
        if (way == 0) {
            assert_hone_ok(ctx, hone_node_read(gradient, NORM_ROWS * NORM_WIDTH, HONE_F32, want));
            for (int k = 0; k < NORM_ROWS * NORM_WIDTH; k++) largest = fmaxf(largest, fabsf(want[k]));
        } else {
            hone__plan *plan = hone__plan_new(graph, 1, &gradient, way == 2 ? HONE_BF16 : HONE_F32);
            assert_non_null(plan);
            int sums = 0;
            for (size_t e = 0; e < plan->n_execs; e++) sums += plan->execs[e].call && plan->execs[e].call->sums_gradients;
            assert_int_equal(sums, 1);
            assert_string_equal(gradient->call->op->name, "linear");
            assert_hone_ok(ctx, hone__plan_run(plan, &now));
            const float *got = hone__plan_output(plan, 0)->data;
            for (int k = 0; k < NORM_ROWS * NORM_WIDTH; k++)
                assert_float_equal(got[k], want[k], largest * (way == 2 ? 0.02f : 1e-6f));
            hone__plan_free(plan);
        }
        hone_graph_release(graph);
    }
    for (int i = 0; i < 3; i++) hone_tensor_free(t[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_nobody_needs_is_not_run),
        TEST(test_results_may_be_leaves_views_or_given_twice),
        TEST(test_reshaped_operands_share_a_cast),
        TEST(test_find_nonfinite_names_the_first_op),
        TEST(test_norms_add_the_gradient_so_far),
        TEST(test_products_add_the_gradient_so_far),
        TEST(test_placement_against_brute_force),
        TEST(test_random_graphs_planned_against_eager),
        TEST(test_a_plan_is_made_once_for_each_shape),
        TEST(test_the_least_recently_used_plan_goes),
        TEST(test_a_call_after_the_first_allocates_nothing),
        TEST(test_check_record_finds_what_should_be_an_input),
        TEST(test_a_forward_must_set_every_output),
        TEST(test_cancelling),
        TEST(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
