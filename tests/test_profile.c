/* Profiles: what they count, what they add up to, and that they never break what they watch. */
#include "graph_tools.h"

#include "hone/hone.h"

#include <jansson.h>

static const hone_profile_entry *entry(const hone_profile *p, const char *op, const char *layer)
{
    for (size_t i = 0; i < hone_profile_count(p); i++) {
        const hone_profile_entry *e = hone_profile_at(p, i);
        if (!strcmp(e->op, op) && (!layer || !strcmp(e->layer, layer))) return e;
    }
    fail_msg("no entry of %s %s", op, layer ? layer : "");
    return NULL;
}

static hone_tensor *ones(hone_shape shape)
{
    hone_tensor *t = hone_tensor_new(ctx, HONE_F32, shape);
    for (int64_t i = 0; i < hone_shape_count(shape); i++) ((float *)hone_tensor_data(t))[i] = 1;
    return t;
}

/* ---- what a node does ---- */

typedef hone_node *(*make_fn)(hone_graph *graph, hone_node *const *in);

/* Runs make's node once, its inputs being `shapes`, and gives its entry's counts. */
static hone_profile_entry count_one(make_fn make, const char *op, int n, const hone_shape *shapes)
{
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *in[4];
    for (int i = 0; i < n; i++) in[i] = hone_input(graph, "x", HONE_F32, shapes[i]);
    hone_node *y = make(graph, in);
    hone__plan *plan = hone__plan_new(graph, 1, &y, HONE_F32);
    if (!plan) fail_msg("%s", hone_error(ctx));
    for (int i = 0; i < n; i++)
        memset(hone__plan_input(plan, i)->data, 0, (size_t)hone_shape_count(shapes[i]) * sizeof(float));
    hone_profile *p = hone_profile_new(ctx);
    assert_hone_ok(ctx, hone__plan_run(plan, &now));
    hone_profile_stop(p);
    hone_profile_entry e = *entry(p, op, NULL);
    hone_profile_free(p);
    hone__plan_free(plan);
    hone_graph_release(graph);
    return e;
}

static hone_node *make_linear(hone_graph *graph, hone_node *const *in)
{
    (void)graph;
    return hone_linear(in[0], in[1], NULL);
}
static hone_node *make_matmul(hone_graph *graph, hone_node *const *in)
{
    (void)graph;
    return hone_matmul(in[0], in[1], .transpose_a = true);
}
static hone_node *make_causal(hone_graph *graph, hone_node *const *in)
{
    (void)graph;
    return hone_attention(in[0], in[1], in[2], .causal = true);
}
static hone_node *make_limited(hone_graph *graph, hone_node *const *in)
{
    hone_tensor *end = hone_tensor_from_i32(ctx, HONE_SHAPE(1, 4), (const int32_t[]){1, 2, 2, 9});
    hone_node *y = hone_attention(in[0], in[1], in[2], .end = hone_constant(graph, end));
    hone_tensor_free(end);
    return y;
}
static hone_node *make_loss(hone_graph *graph, hone_node *const *in)
{
    hone_tensor *targets = hone_tensor_from_i32(ctx, HONE_SHAPE(3), (const int32_t[]){0, 4, 2});
    hone_node *y = hone_linear_cross_entropy(in[0], in[1], hone_constant(graph, targets), NULL);
    hone_tensor_free(targets);
    return y;
}
static hone_node *make_sum(hone_graph *graph, hone_node *const *in)
{
    (void)graph;
    return hone_add(in[0], in[1]);
}

static void test_flops_are_those_of_the_formulas(void **state)
{
    (void)state;
#define SHAPES(...) sizeof((hone_shape[]){__VA_ARGS__}) / sizeof(hone_shape), (hone_shape[]){__VA_ARGS__}
    assert_float_equal(count_one(make_linear, "linear", SHAPES(HONE_SHAPE(2, 5, 7), HONE_SHAPE(3, 7))).flops, 2 * 10 * 7 * 3, 0);
    assert_float_equal(count_one(make_matmul, "matmul", SHAPES(HONE_SHAPE(4, 6, 5), HONE_SHAPE(6, 3))).flops, 2 * 4 * 5 * 6 * 3, 0);
    /* 4 queries and keys: 1 + 2 + 3 + 4 pairs, 2 heads of 8, q k^T and p v */
    assert_float_equal(count_one(make_causal, "attention", SHAPES(HONE_SHAPE(1, 4, 2, 8), HONE_SHAPE(1, 4, 2, 8), HONE_SHAPE(1, 4, 2, 8))).flops,
                       10 * 2 * 8 * 2 * 2, 1e-6);
    /* 1 + 2 + 2 + 4 pairs: no more keys than there are */
    assert_float_equal(count_one(make_limited, "attention", SHAPES(HONE_SHAPE(1, 4, 2, 8), HONE_SHAPE(1, 4, 2, 8), HONE_SHAPE(1, 4, 2, 8))).flops,
                       9 * 2 * 8 * 2 * 2, 1e-6);
    assert_float_equal(count_one(make_loss, "linear_cross_entropy", SHAPES(HONE_SHAPE(3, 7), HONE_SHAPE(5, 7))).flops, 2 * 3 * 7 * 5, 0);
    hone_profile_entry sum = count_one(make_sum, "add", SHAPES(HONE_SHAPE(10, 6), HONE_SHAPE(6)));
    assert_float_equal(sum.flops, 0, 0);
    assert_float_equal(sum.bytes, (60 + 6 + 60) * 4, 0);
}

/* ---- a training step ---- */

enum { ROWS = 32, IN = 24, HIDDEN_UNITS = 16, CLASSES = 5 };
typedef struct training {
    hone_model *model;
    hone_tensor *x, *y;
} training;

static training new_training(void)
{
    training t = {.x = ones(HONE_SHAPE(ROWS, IN)), .y = hone_tensor_new(ctx, HONE_I32, HONE_SHAPE(ROWS))};
    hone_layer *net = hone_sequential(ctx, hone_dense(ctx, HIDDEN_UNITS, .activation = HONE_RELU), hone_dense(ctx, CLASSES));
    t.model = hone_model_of(net);
    assert_hone_ok(ctx, hone_compile(t.model, .optimizer = hone_adam(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS));
    return t;
}
static void train(const training *t, int epochs)
{
    assert_hone_ok(ctx, hone_fit(t->model, t->x, t->y, NULL, .epochs = epochs, .batch_size = ROWS));
}
static void free_training(training *t)
{
    hone_model_release(t->model);
    hone_tensor_free(t->x);
    hone_tensor_free(t->y);
}

static void test_a_profile_adds_up(void **state)
{
    (void)state;
    training t = new_training();
    train(&t, 1);
    hone_profile *p = hone_profile_new(ctx);
    double began = hone__seconds();
    train(&t, 10);
    double took = hone__seconds() - began;
    hone_profile_stop(p);
    train(&t, 1); /* not watched any more */
    hone_profile_summary s = hone_profile_summarize(p);
    double seconds = 0, flops = 0;
    for (size_t i = 0; i < hone_profile_count(p); i++) {
        const hone_profile_entry *e = hone_profile_at(p, i);
        assert_true(e->calls > 0 && e->calls % 10 == 0);
        assert_true(i == 0 || e->seconds <= hone_profile_at(p, i - 1)->seconds);
        seconds += e->seconds;
        flops += e->flops;
    }
    assert_float_equal(s.seconds, seconds, 1e-9);
    assert_true(s.seconds > 0 && s.seconds <= s.elapsed && s.elapsed >= took);
    assert_int_equal(s.calls, 10);
    assert_float_equal(s.flops, flops, 1);
    /* forward, dw of both layers, dx of the second */
    assert_float_equal(flops, 10.0 * 2 * ROWS * (2 * IN * HIDDEN_UNITS + 3 * HIDDEN_UNITS * CLASSES), 1);
    assert_int_equal(entry(p, "adam", "")->calls, 10);
    assert_int_equal(entry(p, "linear", "0")->calls, 10); /* layers that have numbers for names */
    assert_null(hone_profile_at(p, hone_profile_count(p)));
    size_t parameters = (IN + 1) * HIDDEN_UNITS + (HIDDEN_UNITS + 1) * CLASSES;
    assert_int_equal(s.weights, parameters * 4);
    assert_int_equal(s.variables, 0);
    assert_int_equal(s.gradients, parameters * 4);
    assert_true(s.optimizer_state >= parameters * 8 && s.arena > 0);
    assert_true(s.bytes_updated >= 10.0 * 28 * (double)parameters);
    hone_profile_free(p);
    free_training(&t);
}

static void test_limits_come_from_measuring(void **state)
{
    (void)state;
    training t = new_training();
    hone_profile *p = hone_profile_new(ctx);
    train(&t, 3);
    assert_int_equal(hone_profile_measure(p), HONE_STATE); /* still running: it would measure itself */
    assert_non_null(strstr(hone_error(ctx), "stop it"));
    hone_profile_stop(p);
    assert_float_equal(hone_profile_summarize(p).limit_seconds, 0, 0);
    assert_hone_ok(ctx, hone_profile_measure(p));
    hone_profile_summary s = hone_profile_summarize(p);
    assert_true(s.read_bandwidth > 1e8 && s.update_bandwidth > 1e8 && s.limit_seconds > 0);
    assert_true(entry(p, "linear", "0")->limit_seconds > 0);
    hone_profile_free(p);
    free_training(&t);
}

static void test_one_profile_at_a_time(void **state)
{
    (void)state;
    hone_profile *p = hone_profile_new(ctx);
    assert_null(hone_profile_new(ctx));
    assert_error(HONE_STATE, "stop that profile first");
    hone_clear_error(ctx);
    hone_profile_stop(p);
    hone_profile_stop(p);
    hone_profile *next = hone_profile_new(ctx);
    assert_non_null(next);
    training t = new_training();
    train(&t, 2);
    hone_profile_free(p);
    hone_profile_free(next); /* while it runs */
    hone_profile *last = hone_profile_new(ctx);
    train(&t, 1); /* a plan that another profile has known */
    free_training(&t);
    hone_profile_stop(last);
    assert_int_equal(hone_profile_summarize(last).calls, 1);
    assert_true(entry(last, "linear", "0")->flops > 0); /* the model is gone, the profile stays */
    hone_profile_free(last);
    hone_profile_stop(NULL);
    hone_profile_free(NULL);
}

static void test_weights_that_changed_are_packed_again_and_seen(void **state)
{
    (void)state;
    training t = new_training();
    hone_compile(t.model, .optimizer = hone_adamw(ctx), .loss = HONE_SPARSE_CATEGORICAL_CROSSENTROPY_LOGITS, .compute = HONE_BF16);
    train(&t, 1);
    hone_profile *p = hone_profile_new(ctx);
    train(&t, 4);
    hone_profile_stop(p);
    if (hone__isa_level() == HONE__ISA_AMX) { /* products read them as they are */
        assert_int_equal(hone_profile_summarize(p).derived, 0);
    } else {
        const hone_profile_entry *e = entry(p, "pack", "0");
        assert_true(e->calls >= 4 && e->calls % 4 == 0 && e->bytes > 0);
        assert_true(hone_profile_summarize(p).derived > 0);
    }
    hone_profile_free(p);
    free_training(&t);
}

static void record_held(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    out[0] = hone_linear(in[0], hone_variable(graph, user), NULL);
}

static void test_variables_held_by_hand_are_no_weights(void **state)
{
    (void)state;
    hone_tensor *held = ones(HONE_SHAPE(6, 8)), *x = ones(HONE_SHAPE(2, 8));
    hone_function *f = hone_function_new(ctx, 1, 1, record_held, held);
    hone_profile *p = hone_profile_new(ctx);
    assert_hone_ok(ctx, hone_function_call(f, &x));
    hone_profile_stop(p);
    assert_int_equal(hone_profile_summarize(p).weights, 0);
    assert_int_equal(hone_profile_summarize(p).variables, 6 * 8 * 4);
    hone_profile_free(p);
    hone_function_free(f);
    hone_tensor_free(held);
    hone_tensor_free(x);
}

/* ---- text and trace ---- */

static void test_the_table_names_every_owner_and_divides_by_steps(void **state)
{
    (void)state;
    training t = new_training();
    hone_profile *p = hone_profile_new(ctx);
    train(&t, 4);
    hone_profile_stop(p);
    char *text = hone_profile_text(p, 4), want[40];
    static const char *const parts[] = {"linear", "adam", "between nodes", "a step", "weights", "gradients", "optimizer states", "activations"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(parts); i++)
        if (!strstr(text, parts[i])) fail_msg("no '%s' in:\n%s", parts[i], text);
    snprintf(want, sizeof want, "%10.2f  100.0", 1e3 * hone_profile_summarize(p).elapsed / 4);
    if (!strstr(text, want)) fail_msg("no '%s' in:\n%s", want, text);
    hone_free_text(ctx, text);
    hone_profile_free(p);
    free_training(&t);
}

static void test_the_trace_is_json_whatever_layers_are_called(void **state)
{
    (void)state;
    hone_graph *graph = hone_graph_new(ctx);
    hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(3));
    const char *before = hone__scope_push(graph, "a \"quoted\\name\"\n");
    hone_node *y = hone_tanh(hone_exp(x));
    hone__scope_pop(graph, before);
    hone__plan *plan = hone__plan_new(graph, 1, &y, HONE_F32);
    memset(hone__plan_input(plan, 0)->data, 0, 12);
    hone_profile *p = hone_profile_new(ctx);
    for (int i = 0; i < 5; i++) assert_hone_ok(ctx, hone__plan_run(plan, &now));
    hone_profile_stop(p);
    assert_hone_ok(ctx, hone_profile_save_trace(p, scratch("trace.json")));
    json_error_t error;
    json_t *trace = json_load_file(scratch("trace.json"), 0, &error), *events = json_object_get(trace, "traceEvents");
    if (!trace) fail_msg("%s, line %d", error.text, error.line);
    double end = -1;
    size_t nodes = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i);
        if (strcmp(json_string_value(json_object_get(e, "ph")), "X") != 0) continue;
        double ts = json_number_value(json_object_get(e, "ts")), dur = json_number_value(json_object_get(e, "dur"));
        assert_true(ts >= end - 1e-3 && dur >= 0); /* one after the other */
        end = ts + dur;
        assert_string_equal(json_string_value(json_object_get(json_object_get(e, "args"), "layer")), "a \"quoted\\name\"\n");
        nodes++;
    }
    assert_int_equal(nodes, 5 * hone__plan_length(plan));
    json_decref(trace);
    assert_int_equal(hone_profile_save_trace(p, scratch("no/such/folder/trace.json")), HONE_IO);
    hone_profile_free(p);
    hone__plan_free(plan);
    hone_graph_release(graph);
}

/* ---- memory that runs out ---- */

static void test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    for (int64_t n = 1;; n++) {
        counting c = {.fail_at = 0};
        hone_ctx *own = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        hone_graph *graph = hone_graph_new(own);
        hone_node *x = hone_input(graph, "x", HONE_F32, HONE_SHAPE(4, 4)), *y = hone_tanh(hone_matmul(x, x));
        hone__plan *plan = hone__plan_new(graph, 1, &y, HONE_F32);
        assert_non_null(plan);
        memset(hone__plan_input(plan, 0)->data, 0, 64);
        c.fail_at = c.calls + n;
        hone_profile *p = hone_profile_new(own);
        if (p) {
            hone__plan_run(plan, &now);
            hone__plan_run(plan, &now);
            hone_profile_stop(p);
            hone_profile_measure(p);
            hone_free_text(own, hone_profile_text(p, 2));
            hone_profile_save_trace(p, scratch("failing.json"));
        }
        bool done = c.calls < c.fail_at;
        /* the trace may have lost events instead */
        if (!done && hone_ctx_status(own) != HONE_OK) assert_int_equal(hone_ctx_status(own), HONE_MEMORY);
        hone_profile_free(p);
        hone__plan_free(plan);
        hone_graph_release(graph);
        hone_ctx_release(own);
        assert_int_equal(c.live, 0);
        if (done) return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flops_are_those_of_the_formulas),
        TEST(test_a_profile_adds_up),
        TEST(test_limits_come_from_measuring),
        TEST(test_one_profile_at_a_time),
        TEST(test_weights_that_changed_are_packed_again_and_seen),
        TEST(test_variables_held_by_hand_are_no_weights),
        TEST(test_the_table_names_every_owner_and_divides_by_steps),
        TEST(test_the_trace_is_json_whatever_layers_are_called),
        TEST(test_each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
