/* Every op of src/op/ops.def, by the samples that sit beside it. If a check fails, the op computes
   something else than it says: than its own derivative, than it does in another precision, layout,
   instruction set or mode, or than PyTorch. test_ops NAME: that op alone. test_ops --dump FOLDER: inputs
   for scripts/golden/make_op_golden.py. */
#include "scratch.h"

#include "hone/io.h"
#include "op_sample.h"

#include <sys/wait.h>
#include <unistd.h>

static const char *only; /* an op's name, or NULL */
static int failures;

static void complain(const hone_op *op, const hone__sample *s, const char *format, ...) HONE_PRINTF(3, 4);
static void complain(const hone_op *op, const hone__sample *s, const char *format, ...)
{
    char text[1400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("%s%s%s: %s\n", op->name, s ? "/" : "", s ? s->name : "", text);
    failures++;
}

/* Leaves and effects have no samples: tests/test_graph.c is theirs. */
static bool is_exempt(const hone_op *op)
{
    return op == &hone__op_input || op == &hone__op_constant || op == &hone__op_variable ||
           op->flags & HONE__EFFECT;
}

typedef void (*sample_fn)(hone_ctx *ctx, const hone_op *op, const hone__sample *s);

/* Each sample gets a context of its own: a refusal sticks. */
static int count_failures(bool refused, sample_fn fn)
{
    failures = 0;
    for (const hone_op *const *op = hone__ops; *op; op++) {
        if (only && strcmp(only, (*op)->name)) continue;
        for (const hone__sample *s = (*op)->samples; s && s->name; s++) {
            if ((s->refused != NULL) != refused) continue;
            hone_ctx *ctx = hone_ctx_new(.threads = 2);
            fn(ctx, *op, s);
            hone_ctx_release(ctx);
        }
    }
    return failures;
}
static void each_sample(bool refused, sample_fn fn) { assert_int_equal(count_failures(refused, fn), 0); }

/* "output 1", "gradient of input 0" */
static const char *part_name(const result *r, int i)
{
    static char text[64];
    if (i < r->n_out)
        snprintf(text, sizeof text, "output %d", i);
    else if (i == r->n_out)
        snprintf(text, sizeof text, "loss");
    else
        snprintf(text, sizeof text, "gradient of input %d", r->grad_of[i - r->n_out - 1]);
    return text;
}

static void compare(const hone_op *op, const hone__sample *s, const char *what, const result *got,
                    const result *wanted, double tolerance)
{
    if (got->n != wanted->n) {
        complain(op, s, "%s: %d results, not %d", what, got->n, wanted->n);
        return;
    }
    for (int i = 0; i < got->n; i++) {
        if (i == got->n_out && got->has_loss && tolerance > 0) continue; /* a sum of many rounded terms */
        int64_t at = differs(&got->value[i], &wanted->value[i], tolerance);
        if (at < 0) continue;
        if (got->value[i].count != wanted->value[i].count)
            complain(op, s, "%s: %s has another shape", what, part_name(got, i));
        else
            complain(op, s, "%s: %s[%lld] is %.9g, not %.9g", what, part_name(got, i), (long long)at,
                     got->value[i].v[at], wanted->value[i].v[at]);
    }
}

static double tolerance_of(const hone__sample *s) { return s->tolerance > 0 ? s->tolerance : 2e-5; }

/* Runs or complains. */
static bool run_or_say(hone_ctx *ctx, const hone_op *op, const hone__sample *s, way how, const char *what,
                       result *r)
{
    if (run_sample(ctx, op, s, how, r)) return true;
    complain(op, s, "%s: %s", what, hone_error(ctx));
    free_result(r);
    return false;
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static void test_every_op_has_samples(void **state)
{
    (void)state;
    failures = 0;
    for (const hone_op *const *op = hone__ops; *op; op++) {
        bool good = false;
        if (is_exempt(*op)) continue;
        for (const hone__sample *s = (*op)->samples; s && s->name; s++) good |= !s->refused;
        if (!good) complain(*op, NULL, "no good sample");
        if (!(*op)->doc || !(*op)->shape) complain(*op, NULL, "no doc or no shape");
        if (!((*op)->flags & HONE__VIEW ? (*op)->view != NULL : (*op)->run != NULL))
            complain(*op, NULL, "cannot run");
    }
    assert_int_equal(failures, 0);
}

static void refuses(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    recorded c;
    if (record_op(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, &c))
        complain(op, s, "was recorded, but must be refused (%s)", s->refused);
    else if (!strstr(hone_error(ctx), s->refused) || strncmp(hone_error(ctx), op->name, strlen(op->name)))
        complain(op, s, "the refusal '%s' does not begin with the op's name or say '%s'", hone_error(ctx),
                 s->refused);
    free_recorded(&c);
}
static void test_refusals(void **state)
{
    (void)state;
    each_sample(true, refuses);
}

/* ---- derivatives --------------------------------------------------------------------------------------- */

static double loss_at(hone__plan *plan)
{
    if (hone__plan_run(plan, &sample_info) != HONE_OK) return NAN;
    return ((double *)hone__plan_output(plan, 0)->data)[0];
}

/* Central differences of up to 60 elements of each input. */
static void differentiate(hone_ctx *ctx, const hone_op *op, const hone__sample *s, recorded *c,
                          const result *r)
{
    hone_node *loss = c->node[r->n_out];
    hone__plan *plan = hone__plan_new(c->graph, 1, &loss, HONE_F32);
    if (!plan) {
        complain(op, s, "no plan: %s", hone_error(ctx));
        return;
    }
    for (int g = 0; g < r->n_grad; g++) {
        const values *analytic = &r->value[r->n_out + 1 + g];
        int slot = 0; /* inputs that are left out have no leaf */
        for (int i = 0; i < r->grad_of[g]; i++) slot += !s->in[i].absent;
        int64_t step = analytic->count / 60 + 1;
        double most = largest(analytic);
        for (int64_t e = 0; e < analytic->count; e += step) {
            const double h = 1e-5;
            double *x = hone__plan_input(plan, slot)->data, numeric;
            if (!x) {
                numeric = 0; /* the loss does not look at it */
            } else {
                put_inputs(plan, c);
                x[e] = c->given[slot].v[e] + h;
                double above = loss_at(plan);
                put_inputs(plan, c);
                x[e] = c->given[slot].v[e] - h;
                numeric = (above - loss_at(plan)) / (2 * h);
            }
            if (!(fabs(analytic->v[e] - numeric) <= 1e-6 * (1 + most))) {
                complain(op, s, "the gradient of input %d at %lld is %.9g, central differences say %.9g",
                         r->grad_of[g], (long long)e, analytic->v[e], numeric);
                break;
            }
        }
    }
    hone__plan_free(plan);
}

static void check_gradient(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    recorded c;
    result r = {0};
    bool real_in = false;
    for (int i = 0; i < s->n_in; i++) real_in |= s->in[i].dtype == HONE_F32 && !s->in[i].absent;
    way how = {HONE_F64, HONE_F32, false, false};
    if (op->vjp && !s->no_grad) {
        if (!record_all(ctx, op, s, how, &c) || !run_recorded(&c, &r))
            complain(op, s, "f64: %s", hone_error(ctx));
        else if (r.n_grad)
            differentiate(ctx, op, s, &c, &r);
        free_result(&r);
        free_recorded(&c);
    } else if (!op->vjp && real_in) {
        hone_node *gradient = NULL, *y = record_op(ctx, op, s, how, &c);
        if (y && hone__is_float(y->dtype)) {
            int first = 0;
            while (!c.in[first] || c.in[first]->dtype != HONE_F64) first++;
            hone_node *loss = record_loss(&c);
            if (!loss || loss->dtype != HONE_F64) loss = NULL;
            if (loss && hone_grad(loss, 1, &c.in[first], &gradient) != HONE_UNSUPPORTED)
                complain(op, s, "has no vjp, but hone_grad did not say UNSUPPORTED");
            else if (loss && !strstr(hone_error(ctx), op->name))
                complain(op, s, "'%s' does not name the op that cannot be differentiated", hone_error(ctx));
        }
        free_recorded(&c);
    }
}
static void test_gradients_against_central_differences(void **state)
{
    (void)state;
    each_sample(false, check_gradient);
}

/* ---- precisions, layouts, modes ------------------------------------------------------------------------ */

static void check_precision(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    result narrow, wide = {0};
    if (run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, "f32", &narrow) &&
        run_or_say(ctx, op, s, (way){HONE_F64, HONE_F32, false, false}, "f64", &wide))
        compare(op, s, "f32 against f64", &narrow, &wide, tolerance_of(s));
    free_result(&narrow);
    free_result(&wide);
}
static void test_f32_against_f64(void **state)
{
    (void)state;
    each_sample(false, check_precision);
}

static void check_eager(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    for (int wide = 0; wide < 2; wide++) {
        hone_dtype real = wide ? HONE_F64 : HONE_F32;
        result eager, planned = {0};
        if (run_or_say(ctx, op, s, (way){real, HONE_F32, true, false}, "eager", &eager) &&
            run_or_say(ctx, op, s, (way){real, HONE_F32, false, false}, "planned", &planned))
            compare(op, s, "eager against planned", &eager, &planned, 0);
        free_result(&eager);
        free_result(&planned);
    }
}
static void test_eager_and_planned_give_equal_bits(void **state)
{
    (void)state;
    each_sample(false, check_eager);
}

static void check_strides(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    result strided, dense = {0}, eager = {0};
    if (run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, false, true}, "strided", &strided) &&
        run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, true, true}, "strided eager", &eager) &&
        run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, "dense", &dense)) {
        compare(op, s, "strided against dense inputs", &strided, &dense, tolerance_of(s));
        compare(op, s, "strided eager against planned", &eager, &strided, 0);
    }
    free_result(&strided);
    free_result(&eager);
    free_result(&dense);
}
static void test_strided_inputs(void **state)
{
    (void)state;
    each_sample(false, check_strides);
}

/* Reductions and products must not depend on how many threads share them, but for those that oneDNN cuts by threads: products
   where there is no AMX. */
static void check_threads(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    result two, three = {0};
    hone_ctx *other = hone_ctx_new(.threads = 3);
    bool cut = op->flags & HONE__BY_THREADS || (op->flags & HONE__COMPUTE && hone__isa_level() < HONE__ISA_AMX);
    if (run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, "two threads", &two) &&
        run_or_say(other, op, s, (way){HONE_F32, HONE_F32, false, false}, "three threads", &three))
        compare(op, s, "three threads against two", &three, &two, cut ? tolerance_of(s) : 0);
    free_result(&two);
    free_result(&three);
    hone_ctx_release(other);
}
static void test_thread_counts_give_equal_bits(void **state)
{
    (void)state;
    each_sample(false, check_threads);
}

/* ---- bf16 ---------------------------------------------------------------------------------------------- */

/* Runs the op by hand: inputs in `mask` as bf16, the others f32; outputs as bf16 if asked (and allowed). */
static bool run_by_hand(hone_ctx *ctx, const hone_op *op, const hone__sample *s, unsigned mask, bool bf16_out,
                        result *r)
{
    recorded c;
    *r = (result){0};
    hone_node *y = record_op(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, &c);
    hone_tensor *held[MAX_IN + MAX_OUT] = {0};
    hone__view in[MAX_IN + MAX_OUT] = {0}, *out = in + s->n_in;
    hone__variable *variable[MAX_IN] = {0};
    bool ok = y != NULL;
    for (int i = 0, slot = 0; ok && i < s->n_in; i++) {
        if (!c.in[i]) continue;
        values *x = &c.given[slot++];
        bool narrow = x->dtype == HONE_F32 && mask >> i & 1 && !(op->keep_in >> i & 1);
        for (int64_t e = 0; e < x->count && x->dtype == HONE_F32 && !(op->keep_in >> i & 1); e++)
            x->v[e] = (double)hone__bf16_to_f32(
                hone__f32_to_bf16((float)x->v[e])); /* the same numbers either way */
        hone_dtype dtype = narrow ? HONE_BF16 : x->dtype;
        in[i] = op->last_in >> i & 1 ? hone__view_channels_last(NULL, dtype, x->shape) : hone__view_dense(NULL, dtype, x->shape);
        values laid = new_values(x->dtype, x->shape);
        lay_out(laid.v, x->v, &in[i], false);
        ok = (held[i] = to_tensor(ctx, &laid, dtype)) != NULL;
        if (ok) in[i].data = held[i]->data;
        free(laid.v);
    }
    for (int o = 0; ok && o < op->n_out; o++) {
        hone_dtype dtype = c.node[o]->dtype;
        if (bf16_out && dtype == HONE_F32 && !(op->keep_out >> o & 1)) dtype = HONE_BF16;
        hone_tensor *t = held[s->n_in + o] = hone_tensor_new(ctx, dtype, c.node[o]->shape);
        ok = t != NULL;
        if (ok)
            out[o] = op->last_out >> o & 1 ? hone__view_channels_last(t->data, dtype, t->shape)
                                           : hone__view_dense(t->data, dtype, t->shape);
    }
    if (ok) {
        hone__exec e = {.run = op->run,
                        .call = y->call,
                        .attr = y->call->attr,
                        .ctx = ctx,
                        .k = hone__kernels_for(HONE_F32),
                        .n_in = s->n_in,
                        .n_out = op->n_out,
                        .in = in,
                        .out = out,
                        .variable = variable,
                        .info = &sample_info};
        ok = !op->prepare || op->prepare(&e) == HONE_OK;
        if (ok && e.scratch_size) ok = (e.scratch = hone__alloc(ctx, e.scratch_size)) != NULL;
        ok = ok && e.run(&e) == HONE_OK;
        if (e.free_state && e.state) e.free_state(e.state);
        hone__free(ctx, e.scratch);
    }
    for (int o = 0; ok && o < op->n_out; o++) {
        values laid = read_view(&out[o]);
        r->value[r->n++] = new_values(laid.dtype, laid.shape);
        lay_out(r->value[o].v, laid.v, &out[o], true);
        free(laid.v);
        r->value[o].dtype = c.node[o]->dtype;
    }
    r->n_out = r->n;
    for (size_t i = 0; i < HONE_ARRAY_LEN(held); i++) hone_tensor_free(held[i]);
    free_recorded(&c);
    return ok;
}

static void check_bf16(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    if (!(op->flags & (HONE__FLEX | HONE__COMPUTE))) return;
    result f32, bf16 = {0}, by_hand;
    /* Whatever mix of f32 and bf16 a FLEX op is handed, it computes in f32: only its outputs are rounded. */
    const unsigned masks[] = {~0u, 1, ~1u};
    int mixes = op->flags & HONE__COMPUTE ? 1 : 3;
    if (!run_by_hand(ctx, op, s, 0, false, &by_hand)) complain(op, s, "f32 by hand: %s", hone_error(ctx));
    for (int m = 0; m < 2 * mixes; m++) {
        result mixed;
        double tolerance = m % 2 || s->rounds_within ? 6e-3 : op->flags & HONE__COMPUTE ? 1e-3 : 1e-5;
        if (run_by_hand(ctx, op, s, masks[m / 2], m % 2, &mixed))
            compare(op, s, m % 2 ? "bf16 outputs" : "bf16 inputs", &mixed, &by_hand, tolerance);
        else
            complain(op, s, "bf16 by hand (inputs %x): %s", masks[m / 2], hone_error(ctx));
        free_result(&mixed);
    }
    free_result(&by_hand);
    if (run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, "f32", &f32) &&
        run_or_say(ctx, op, s, (way){HONE_F32, HONE_BF16, false, false}, "bf16 plan", &bf16))
        compare(op, s, "bf16 plan against f32", &bf16, &f32, 2e-2);
    free_result(&f32);
    free_result(&bf16);
}
static void test_bf16_against_f32(void **state)
{
    (void)state;
    each_sample(false, check_bf16);
}

/* ---- instruction sets: this program again, with HONE_ISA set ------------------------------------------- */

#define DUMP_TO "HONE_TEST_OPS_RESULTS"

static FILE *results_file;
static void write_results(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    result r;
    if (run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, "f32", &r))
        for (int i = 0; i < r.n; i++)
            fwrite(r.value[i].v, sizeof(double), (size_t)r.value[i].count, results_file);
    free_result(&r);
}

static FILE *results_at(const char *isa)
{
    char path[600];
    snprintf(path, sizeof path, "%s", scratch(isa));
    pid_t child = fork();
    if (child == 0) {
        setenv("HONE_ISA", isa, 1);
        setenv(DUMP_TO, path, 1);
        if (only)
            execl("/proc/self/exe", "test_ops", only, (char *)NULL);
        else
            execl("/proc/self/exe", "test_ops", (char *)NULL);
        _exit(127);
    }
    int status = -1;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    if (status != 0) fail_msg("test_ops with HONE_ISA=%s ended with status %d", isa, status);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    return file;
}

static FILE *reference_file, *other_file;
static const char *other_name;
static void compare_results(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    result wanted, got = {0};
    if (!run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, "f32", &wanted)) return;
    got = wanted;
    for (int i = 0; i < got.n; i++) {
        size_t count = (size_t)wanted.value[i].count;
        got.value[i] = new_values(wanted.value[i].dtype, wanted.value[i].shape);
        if (fread(wanted.value[i].v, sizeof(double), count, reference_file) != count ||
            fread(got.value[i].v, sizeof(double), count, other_file) != count)
            complain(op, s, "%s: the file of results is too short", other_name);
    }
    compare(op, s, other_name, &got, &wanted, tolerance_of(s));
    free_result(&got);
    free_result(&wanted);
}

static void test_instruction_sets_agree(void **state)
{
    (void)state;
    const char *const names[] = {"avx2", "avx512", "amx"};
    for (int i = 0; i < (int)hone__isa_level(); i++) {
        other_name = names[i];
        reference_file = results_at("ref");
        other_file = results_at(other_name);
        each_sample(false, compare_results);
        fclose(reference_file);
        fclose(other_file);
    }
}

/* ---- profiles --------------------------------------------------------------------------------------------- */

/* An op that works in the compute dtype is a matrix product of some kind: not counted in op/work.c it would look idle,
   and the share of the limit too small. */
static void check_counted(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    result r = {0};
    bool empty = !(op->flags & HONE__COMPUTE);
    for (int i = 0; i < s->n_in; i++) empty |= !s->in[i].absent && hone_shape_count(s->in[i].shape) == 0;
    if (empty) return;
    hone_profile *p = hone_profile_new(ctx);
    bool ran = run_sample(ctx, op, s, (way){.real = HONE_F32, .compute = HONE_F32}, &r);
    hone_profile_stop(p);
    double flops = 0;
    for (size_t i = 0; i < hone_profile_count(p); i++)
        if (!strcmp(hone_profile_at(p, i)->op, op->name)) flops += hone_profile_at(p, i)->flops;
    hone_profile_free(p);
    free_result(&r);
    if (!ran || !(flops > 0)) fail_msg("%s %s: no matrix product is counted", op->name, s->name);
}
static void test_no_kind_of_matrix_product_is_forgotten(void **state)
{
    (void)state;
    each_sample(false, check_counted);
}

/* ---- PyTorch ------------------------------------------------------------------------------------------- */

/* Ops that PyTorch cannot answer for, and why that is no gap. */
static const struct {
    const char *op, *why;
} without_golden[] = {
    {"unary_grad", "runs in the golden gradients of unary"},
    {"softmax_grad", "runs in those of softmax"},
    {"log_softmax_grad", "runs in those of log_softmax"},
    {"layer_norm_grad", "runs in those of layer_norm"},
    {"rms_norm_grad", "runs in those of rms_norm"},
    {"swiglu_grad", "runs in those of swiglu"},
    {"attention_grad", "runs in those of attention"},
    {"softmax_cross_entropy_grad", "runs in those of softmax_cross_entropy"},
    {"linear_cross_entropy_grad", "runs in those of linear_cross_entropy"},
    {"linear_cross_entropy_dweight", "runs in those of linear_cross_entropy"},
    {"loss_term_grad", "runs in those of loss_term"},
    {"pick_grad", "runs in those of pick"},
    {"ctc", "in losses.golden.safetensors, behind log_softmax: PyTorch's gradient is of both together"},
    {"ctc_grad", "runs in those of ctc"},
    {"conv_input_grad", "runs in those of conv"},
    {"conv_weight_grad", "runs in those of conv"},
    {"max_pool_grad", "runs in those of max_pool"},
    {"average_pool_grad", "runs in those of average_pool"},
    {"resize_grad", "runs in those of resize"},
    {"channel_norm_grad", "runs in those of channel_norm"},
    {"channel_norm_given_grad", "runs in those of channel_norm"},
    {"channel_norm_relu", "in layers.golden.safetensors, behind what makes mean and variance, which here are inputs"},
    {"channel_norm_relu_grad", "runs in those of channel_norm_relu"},
    {"recurrent_grad", "runs in those of recurrent"},
};

static bool needs_golden(const hone_op *op)
{
    for (size_t i = 0; i < HONE_ARRAY_LEN(without_golden); i++)
        if (!strcmp(op->name, without_golden[i].op)) return false;
    return !(op->flags & HONE__RANDOM); /* their stream is ours */
}

enum { GOLDEN_LARGEST = 8192 }; /* elements: the script stores no gradient beyond */
static hone_safetensors *golden;

static void check_golden_part(const hone_op *op, const hone__sample *s, const values *got, const char *what,
                              int i)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s.%s%d", op->name, s->name, what, i);
    const hone_tensor_info *info = hone_safetensors_find(golden, name);
    if (!info) {
        complain(op, s, "no golden %s%d: run scripts/golden/make_op_golden.py", what, i);
        return;
    }
    values wanted = new_values(got->dtype, info->shape);
    hone__convert(wanted.v, HONE_F64, info->data, info->dtype, wanted.count);
    int64_t at = differs(got, &wanted, tolerance_of(s));
    if (at >= 0 && got->count == wanted.count)
        complain(op, s, "%s%d[%lld] is %.9g, PyTorch says %.9g", what, i, (long long)at, got->v[at],
                 wanted.v[at]);
    else if (at >= 0)
        complain(op, s, "%s%d has another shape than PyTorch's", what, i);
    free(wanted.v);
}

static void check_golden(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    result r;
    if (!needs_golden(op) || !run_or_say(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, "f32", &r))
        return;
    for (int o = 0; o < r.n_out; o++)
        if (!(op->aux_out >> o & 1)) check_golden_part(op, s, &r.value[o], "out", o);
    for (int g = 0; g < r.n_grad; g++) {
        const values *gradient = &r.value[r.n_out + 1 + g];
        if (gradient->count <= GOLDEN_LARGEST) check_golden_part(op, s, gradient, "grad", r.grad_of[g]);
    }
    free_result(&r);
}

static void test_golden_values(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    golden = hone_safetensors_open(ctx, HONE_TEST_DATA "/ops.golden.safetensors");
    if (!golden) fail_msg("%s", hone_error(ctx));
    each_sample(false, check_golden);
    hone_safetensors_close(golden);
    hone_ctx_release(ctx);
}

/* ---- --dump: what make_op_golden.py reads -------------------------------------------------------------- */

static const char *dump_folder;
static FILE *manifest;
static bool first_entry = true;

static void dump_values(hone_ctx *ctx, const hone_op *op, const hone__sample *s, const char *what, int i,
                        const values *x)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%s.%s%d.npy", dump_folder, op->name, s->name, what, i);
    hone_tensor *t = to_tensor(ctx, x, x->dtype);
    if (!t || hone_npy_save(t, path) != HONE_OK) complain(op, s, "%s", hone_error(ctx));
    hone_tensor_free(t);
}

static void dump_attr(const hone__attr *a, const char *base)
{
    const void *at = base + a->offset;
    fprintf(manifest, "\"%s\": ", a->name);
    switch (a->type) {
    case HONE__ATTR_BOOL:
        fprintf(manifest, "%s", *(const bool *)at ? "true" : "false");
        break;
    case HONE__ATTR_INT:
        fprintf(manifest, "%d", *(const int *)at);
        break;
    case HONE__ATTR_I64:
        fprintf(manifest, "%lld", (long long)*(const int64_t *)at);
        break;
    case HONE__ATTR_F64:
        fprintf(manifest, "%.17g", *(const double *)at);
        break;
    case HONE__ATTR_DTYPE:
        fprintf(manifest, "\"%s\"", hone_dtype_name(*(const hone_dtype *)at));
        break;
    case HONE__ATTR_SHAPE:
        fprintf(manifest, "%s", HONE__SHAPE_STR(*(const hone_shape *)at));
        break;
    case HONE__ATTR_AXES: {
        const hone_axes *axes = at;
        hone_shape list = {.rank = axes->count};
        for (int i = 0; i < axes->count; i++) list.dim[i] = axes->axis[i];
        fprintf(manifest, "%s", HONE__SHAPE_STR(list));
        break;
    }
    }
}

static void dump_sample(hone_ctx *ctx, const hone_op *op, const hone__sample *s)
{
    recorded c;
    if (!needs_golden(op)) return;
    if (!record_all(ctx, op, s, (way){HONE_F32, HONE_F32, false, false}, &c)) {
        complain(op, s, "%s", hone_error(ctx));
        free_recorded(&c);
        return;
    }
    fprintf(manifest, "%s\n{\"op\": \"%s\", \"sample\": \"%s\", \"attrs\": {", first_entry ? "" : ",",
            op->name, s->name);
    first_entry = false;
    for (const hone__attr *a = op->attrs; a && a->name; a++) {
        if (a != op->attrs) fprintf(manifest, ", ");
        dump_attr(a, c.node[0]->call->attr);
    }
    fprintf(manifest, "}, \"inputs\": [");
    for (int i = 0, slot = 0; i < s->n_in; i++) {
        fprintf(manifest, "%s%s", i ? ", " : "", c.in[i] ? "true" : "false");
        if (c.in[i]) dump_values(ctx, op, s, "in", i, &c.given[slot++]);
    }
    fprintf(manifest, "], \"outputs\": [");
    for (int o = 0; o < op->n_out; o++) {
        bool differentiable = c.r.has_loss && has_gradient(op, o, c.node[o]);
        fprintf(manifest, "%s{\"aux\": %s, \"weight\": %s}", o ? ", " : "",
                op->aux_out >> o & 1 ? "true" : "false", differentiable ? "true" : "false");
        if (!differentiable) continue;
        values w = sample_weight(op, s, o, c.node[o]->shape);
        dump_values(ctx, op, s, "w", o, &w);
        free(w.v);
    }
    fprintf(manifest, "], \"gradients\": [");
    for (int g = 0; g < c.r.n_grad; g++) fprintf(manifest, "%s%d", g ? ", " : "", c.r.grad_of[g]);
    fprintf(manifest, "]}");
    free_recorded(&c);
}

static void test_dump(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/manifest.json", dump_folder);
    manifest = fopen(path, "w");
    assert_non_null(manifest);
    fprintf(manifest, "[");
    each_sample(false, dump_sample);
    fprintf(manifest, "\n]\n");
    assert_int_equal(fclose(manifest), 0);
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--dump")) {
        dump_folder = argv[2];
        const struct CMUnitTest dump[] = {cmocka_unit_test(test_dump)};
        return cmocka_run_group_tests(dump, NULL, NULL);
    }
    if (argc == 2) only = argv[1];
    if (getenv(DUMP_TO)) {
        results_file = fopen(getenv(DUMP_TO), "wb");
        return !results_file || count_failures(false, write_results) || fclose(results_file);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op_has_samples),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_gradients_against_central_differences),
        cmocka_unit_test(test_f32_against_f64),
        cmocka_unit_test(test_eager_and_planned_give_equal_bits),
        cmocka_unit_test(test_strided_inputs),
        cmocka_unit_test(test_thread_counts_give_equal_bits),
        cmocka_unit_test(test_bf16_against_f32),
        cmocka_unit_test(test_instruction_sets_agree),
        cmocka_unit_test(test_no_kind_of_matrix_product_is_forgotten),
        cmocka_unit_test(test_golden_values),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
