/* Fine-tuning a language model: the loop. Everything random is a function of seed, epoch and step, so that a resumed run
   is the one that never stopped. */
#include "llm/finetune.h"

#include "base/os.h"
#include "kernel/matmul.h"

#include <math.h>
#include <stdio.h>

/* ---- the recorded step ---- */

/* in: tokens, positions, begin, targets [B, T], and 1 / (trained tokens of the whole step), so that micro-batches of
   unequal length add up to the mean over all their tokens. out: the sum of the losses. */
static void record(void *user, hone_graph *graph, hone_node *const *in, hone_node **out)
{
    hone_llm *llm = user;
    hone_node *x = hone__llm_hidden(llm, graph, in), *head = x ? hone__llama_head(llm->model->root, graph) : NULL;
    if (!head) return;
    int64_t n = hone_node_shape(x).dim[0];
    hone_node *losses = hone_linear_cross_entropy(x, head, hone_reshape(in[3], HONE_SHAPE(n)), NULL);
    out[0] = hone_sum(losses, HONE_ALL_AXES, false);
    if (hone_graph_mode(graph) == HONE_TRAIN) hone_backward(hone_mul(out[0], hone_reshape(in[4], HONE_SCALAR)), llm->model);
}

/* ---- making a run ---- */

static hone_status bad(hone_finetune *run, const char *what) { return hone__fail(run->ctx, HONE_INVALID, "finetune: %s", what); }

static hone_status check_opts(hone_finetune *run)
{
    hone_finetune_opts *o = &run->o;
    if (o->method != HONE_FINETUNE_LORA && o->method != HONE_FINETUNE_FULL) return bad(run, "there is no such method");
    if (!(o->epochs >= 0 && o->epochs <= 1e6) || o->max_steps < 0 || !(o->max_seconds >= 0))
        return bad(run, "epochs must be 0 to a million, max_steps and max_seconds not negative");
    if (o->batch_size < 0 || o->gradient_accumulation_steps < 0 || o->batch_size > 4096)
        return bad(run, "batch_size must be 1 to 4096 and gradient_accumulation_steps at least 1");
    if (!(o->learning_rate >= 0) || !(o->warmup_ratio >= 0 && o->warmup_ratio <= 1) || !(o->weight_decay >= 0))
        return bad(run, "learning_rate and weight_decay must not be negative, warmup_ratio in [0, 1]");
    if (o->eval_steps < 0 || o->save_steps < 0 || o->save_total_limit < 0)
        return bad(run, "eval_steps, save_steps and save_total_limit must not be negative");
    if (!o->epochs) o->epochs = 1;
    if (!o->batch_size) o->batch_size = 4;
    if (!o->gradient_accumulation_steps) o->gradient_accumulation_steps = 1;
    if (o->learning_rate == 0) o->learning_rate = o->method == HONE_FINETUNE_FULL ? 2e-5 : 2e-4;
    if (o->max_grad_norm == 0) o->max_grad_norm = 1;
    if (o->max_grad_norm < 0) o->max_grad_norm = 0; /* HONE_ZERO */
    run->row_length = o->max_seq_length ? o->max_seq_length : run->train->max_seq_length;
    if (run->row_length < run->train->longest)
        return bad(run, "max_seq_length is smaller than the longest example that the data was made with");
    return HONE_OK;
}

static hone_status choose_method(hone_finetune *run)
{
    hone_llm *llm = run->llm;
    hone_layer *layers = hone__layer_find(llm->model->root, "model.layers");
    for (size_t i = 0; layers && i < layers->n_children; i++)
        hone_layer_set_checkpointing(layers->children[i], run->o.gradient_checkpointing);
    if (run->o.method == HONE_FINETUNE_FULL) {
        if (llm->lora.rank) return bad(run, "a model with an adapter cannot be fine-tuned in full: export it merged first");
        return hone_model_set_trainable(llm->model, "", true);
    }
    return llm->lora.rank ? HONE_OK : hone__llm_add_lora(llm, &run->o.lora);
}

static hone_status make_optimizer(hone_finetune *run)
{
    const hone_finetune_opts *o = &run->o;
    double decay = o->weight_decay > 0 ? o->weight_decay : (double)HONE_ZERO;
    run->optimizer = hone_optimizer_from_name(run->ctx, o->optimizer ? o->optimizer : "adamw", o->learning_rate, decay);
    return run->optimizer ? HONE_OK : run->ctx->status;
}

/* The rows of the current epoch, in its own order. */
static hone_status pack_epoch(hone_finetune *run)
{
    if (run->packed) return HONE_OK;
    int64_t n = (int64_t)run->train->examples, *order = hone__alloc(run->ctx, (size_t)HONE_MAX(n, 1) * sizeof *order);
    if (!order) return run->ctx->status;
    for (int64_t i = 0; i < n; i++) order[i] = i;
    uint64_t key = hone__key(hone__key(run->ctx->seed, 0x65706F6368), (uint64_t)run->epoch);
    if (!run->o.no_shuffle) hone__shuffle(key, order, n);
    hone__packing_free(&run->packing);
    hone_status status = hone__pack(run->train, order, n, run->row_length, run->o.no_packing, &run->packing);
    hone__free(run->ctx, order);
    run->packed = status == HONE_OK;
    return status;
}

/* Multiply-adds of one step forward and back, per token: 2 for forward, 2 for dx, 2 for dw a weight. */
static double flops_per_token(const hone_finetune *run)
{
    double all = 0, trained = 0;
    const hone_model *model = run->llm->model;
    for (size_t i = 0; i < model->n_params; i++) {
        double n = (double)hone_shape_count(model->params[i]->v.shape);
        if (model->params[i]->v.shape.rank != 2) continue;
        all += n;
        if (model->params[i]->v.trainable) trained += n;
    }
    return 4 * all + 2 * trained;
}

/* Measured: the products of one feed-forward layer. The rest of a step costs about as much again as the products. */
static double seconds_per_step(hone_finetune *run)
{
    hone_ctx *ctx = run->ctx;
    int64_t m = run->o.batch_size * run->row_length, k = run->llm->config.hidden_size, n = run->llm->config.intermediate_size;
    hone_dtype t = run->llm->compute;
    hone__matmul_desc d = {.batch = 1, .m = m, .n = n, .k = k, .ab = t, .c = t, .a_row = k, .a_col = 1, .b_row = 1, .b_col = k, .c_row = n};
    hone__matmul *product = hone__matmul_new(ctx, &d);
    size_t bytes = hone__dtype_bytes(t, HONE_MAX(m, n) * HONE_MAX(k, n));
    void *a = product ? hone__calloc(ctx, 1, bytes) : NULL, *b = a ? hone__calloc(ctx, 1, bytes) : NULL;
    void *c = b ? hone__alloc(ctx, bytes) : NULL;
    void *scratch = c ? hone__alloc(ctx, hone__matmul_scratch(product)) : NULL;
    double best = 0;
    for (int i = 0; i < 3 && scratch; i++) {
        double began = hone__seconds();
        hone__matmul_run(product, a, b, NULL, c, scratch);
        double took = hone__seconds() - began;
        best = i == 0 || took < best ? took : best;
    }
    hone__free(ctx, a), hone__free(ctx, b), hone__free(ctx, c), hone__free(ctx, scratch);
    hone__matmul_free(product);
    double rate = best > 0 ? 2.0 * (double)(m * n * k) / best : 0;
    double tokens = (double)(run->o.batch_size * run->o.gradient_accumulation_steps * run->row_length);
    return rate > 0 ? 2 * tokens * flops_per_token(run) / rate : 0;
}

/* Everything that the run will allocate is allocated here, so that the prediction of memory is a count. */
static hone_status make_plan(hone_finetune *run)
{
    hone_ctx *ctx = run->ctx;
    hone_model *model = run->llm->model;
    hone_finetune_opts *o = &run->o;
    hone_status status = pack_epoch(run);
    if (status != HONE_OK) return status;
    if (!run->packing.rows)
        return hone__fail(ctx, HONE_INVALID, "finetune: there is nothing to learn from: no example has a trained token%s%s",
                          run->train->why_empty[0] ? "; " : "", run->train->why_empty);
    int64_t a_step = o->batch_size * o->gradient_accumulation_steps, an_epoch = (run->packing.rows + a_step - 1) / a_step;
    run->planned.rows = run->packing.rows;
    run->planned.total_steps = o->max_steps ? o->max_steps : (int64_t)ceil(o->epochs * (double)an_epoch - 1e-9);
    run->step_function = hone_function_new(ctx, 5, 1, record, run->llm, .compute = run->llm->compute,
                                           .cache_bytes = o->no_packing ? (size_t)1 << 31 : 1);
    status = run->step_function ? hone__model_seal(model) : ctx->status;
    if (status == HONE_OK) status = hone__model_want_gradients(model);
    if (status == HONE_OK) status = hone__optimizer_prepare(run->optimizer, model);
    hone__batch batch = {0};
    hone_tensor *share = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1));
    int64_t length = hone__batch_length(run->train, &run->packing, 0, run->packing.rows, o->no_packing);
    if (status == HONE_OK && share) status = hone__batch_make(run->train, &run->packing, 0, o->batch_size, length, &batch);
    if (status == HONE_OK)
        status = hone__function_prepare(run->step_function,
                                        (hone_tensor *[]){batch.tokens, batch.positions, batch.begin, batch.targets, share}, HONE_TRAIN);
    hone__batch_free(&batch);
    hone_tensor_free(share);
    if (status != HONE_OK) return status;
    for (size_t i = 0; i < model->n_params; i++) {
        int64_t n = hone_shape_count(model->params[i]->v.shape);
        run->planned.parameters += n;
        if (model->params[i]->v.trainable) run->planned.trained_parameters += n;
    }
    run->planned.memory_bytes = ctx->bytes + ((size_t)48 << 20); /* the program, libraries and their buffers */
    run->planned.seconds = seconds_per_step(run) * (double)run->planned.total_steps;
    if (o->max_seconds > 0 && (run->planned.seconds > o->max_seconds || run->planned.seconds == 0)) run->planned.seconds = o->max_seconds;
    return HONE_OK;
}

hone_finetune *hone_finetune_new(hone_llm *llm, const hone_llm_data *train, const hone_llm_data *valid, const hone_finetune_opts *opts)
{
    if (!llm) return NULL;
    static const hone_finetune_opts none = {0};
    hone_ctx *ctx = llm->ctx;
    if (!hone__ok(ctx) || !train) return NULL;
    hone_finetune *run = hone__calloc(ctx, 1, sizeof *run);
    if (!run) return NULL;
    run->llm = llm;
    run->ctx = ctx;
    run->train = train;
    run->valid = valid;
    run->o = opts ? *opts : none;
    hone_status status = check_opts(run);
    if (status == HONE_OK) status = make_optimizer(run);
    if (status == HONE_OK && run->o.output_dir && !(run->output_dir = hone__strdup(ctx, run->o.output_dir))) status = ctx->status;
    if (status == HONE_OK && run->output_dir) status = hone__make_folder(ctx, run->output_dir);
    if (status == HONE_OK) status = choose_method(run);
    if (status == HONE_OK) status = make_plan(run);
    if (status == HONE_OK && run->o.resume_from) {
        status = hone__checkpoint_load(run, run->o.resume_from);
        run->packed = false; /* of another epoch, perhaps */
    }
    if (status == HONE_OK) return run;
    if (hone__ok(ctx)) ctx->status = status; /* building: it sticks */
    hone_finetune_free(run);
    return NULL;
}

void hone_finetune_free(hone_finetune *run)
{
    if (!run) return;
    hone_ctx *ctx = run->ctx;
    hone__report_close(run);
    hone_function_free(run->step_function);
    hone_optimizer_free(run->optimizer);
    hone__packing_free(&run->packing);
    hone__free(ctx, run->losses);
    hone__free(ctx, run->output_dir);
    hone__free(ctx, run);
}

hone_finetune_plan hone_finetune_planned(const hone_finetune *run) { return run ? run->planned : (hone_finetune_plan){0}; }

/* ---- running ---- */

/* On a time budget the schedule follows the clock, otherwise the steps. */
static double learning_rate(const hone_finetune *run, double elapsed)
{
    hone_schedule s = {.kind = run->o.lr_scheduler_type, .peak = run->o.learning_rate};
    if (run->o.max_seconds > 0) {
        enum { TICKS = 1 << 20 };
        double by_time = elapsed / run->o.max_seconds, by_step = (double)run->step / (double)run->planned.total_steps;
        s.total = TICKS;
        s.warmup = (uint64_t)(run->o.warmup_ratio * TICKS);
        return hone_schedule_at(&s, (uint64_t)(HONE_MIN(HONE_MAX(by_time, by_step), 1.0) * TICKS));
    }
    s.total = (uint64_t)run->planned.total_steps;
    s.warmup = (uint64_t)ceil(run->o.warmup_ratio * (double)run->planned.total_steps - 1e-9);
    return hone_schedule_at(&s, (uint64_t)run->step);
}

static hone_status blame(hone_finetune *run, hone_tensor *const *inputs, double loss, const hone_call_opts *call)
{
    char where[256] = "no single layer could be named";
    hone__function_find_nonfinite(run->step_function, inputs, call, where, sizeof where);
    return hone__fail_run(run->ctx, HONE_NUMERIC, "the loss is %g at step %lld: %s; the parameters are those of step %lld", loss,
                          (long long)run->step + 1, where, (long long)run->step);
}

/* Gradients of one optimizer step over up to batch_size * accumulation rows. */
static hone_status gradients(hone_finetune *run, hone_tensor *share, hone_finetune_step *result)
{
    hone_finetune_opts *o = &run->o;
    int64_t rows = HONE_MIN(o->batch_size * o->gradient_accumulation_steps, run->packing.rows - run->row), trained = 0;
    for (int64_t r = 0; r < rows; r++) { /* the denominator must be known before the first micro-batch */
        int64_t at = run->row + r;
        for (int64_t e = run->packing.row_start[at]; e < run->packing.row_start[at + 1]; e++) {
            size_t from = run->train->start[run->packing.example[e]], to = run->train->start[run->packing.example[e] + 1];
            for (size_t i = from + 1; i < to; i++) trained += run->train->tokens.trained[i] != 0;
        }
    }
    ((float *)share->data)[0] = (float)(1 / (double)HONE_MAX(trained, (int64_t)1));
    hone_call_opts call = {.struct_size = sizeof call, .mode = HONE_TRAIN, .step = (uint64_t)run->step};
    double loss = 0;
    for (int64_t r = 0; r < rows; r += o->batch_size, call.micro_batch++) {
        hone__batch batch;
        int64_t length = hone__batch_length(run->train, &run->packing, run->row + r, o->batch_size, o->no_packing);
        hone_status status = hone__batch_make(run->train, &run->packing, run->row + r, o->batch_size, length, &batch);
        if (status != HONE_OK) return status;
        hone_tensor *in[] = {batch.tokens, batch.positions, batch.begin, batch.targets, share};
        status = hone_function_call_opt(run->step_function, in, &call);
        double sum = status == HONE_OK ? hone_tensor_get(hone_function_output(run->step_function, 0), 0) : 0;
        if (!isfinite(sum)) status = blame(run, in, sum / (double)trained, &call);
        result->tokens += batch.used;
        hone__batch_free(&batch);
        if (status != HONE_OK) return status;
        loss += sum;
    }
    result->loss = loss / (double)HONE_MAX(trained, (int64_t)1);
    run->row += rows;
    return HONE_OK;
}

static bool tell(hone_finetune *run, const hone_finetune_step *step) { return !run->o.on_step || run->o.on_step(run->o.user, step); }

static hone_status evaluate(hone_finetune *run, double epoch, bool *go_on)
{
    hone_finetune_step s = {.step = run->step, .total_steps = run->planned.total_steps, .epoch = epoch, .is_evaluation = true};
    hone_status status = hone_llm_evaluate(run->llm, run->valid, &s.eval);
    if (status == HONE_OK) status = hone__report_step(run, &s);
    if (status == HONE_OK) *go_on &= tell(run, &s);
    return status;
}

static hone_status loop(hone_finetune *run, hone_tensor *share)
{
    hone_finetune_opts *o = &run->o;
    hone_ctx *ctx = run->ctx;
    double began = hone__seconds(), before = run->elapsed, last_step = 0;
    bool go_on = true;
    hone_status status = HONE_OK;
    while (status == HONE_OK && run->step < run->planned.total_steps) {
        double now = hone__seconds();
        if (o->max_seconds > 0 && run->elapsed + last_step > o->max_seconds) break;
        if ((status = pack_epoch(run)) != HONE_OK) break;
        if (run->row >= run->packing.rows) {
            run->epoch++, run->row = 0, run->packed = false;
            if (o->max_seconds > 0 && !o->max_steps && (double)run->epoch >= o->epochs) break;
            continue;
        }
        hone_finetune_step s = {.total_steps = run->planned.total_steps};
        s.learning_rate = learning_rate(run, run->elapsed);
        int64_t row = run->row;
        status = gradients(run, share, &s);
        hone_optimizer_set_learning_rate(run->optimizer, s.learning_rate);
        if (status == HONE_OK)
            status = hone_optimizer_step(run->optimizer, run->llm->model, &s.grad_norm, .max_grad_norm = o->max_grad_norm);
        if (status != HONE_OK) {
            run->row = row;
            break;
        }
        run->step++;
        last_step = hone__seconds() - now;
        run->elapsed = before + hone__seconds() - began;
        s.step = run->step;
        s.epoch = (double)run->epoch + (double)run->row / (double)run->packing.rows;
        s.tokens_per_second = (double)s.tokens / last_step;
        double made = (double)(run->step - run->planned.resumed_step), left = (double)(run->planned.total_steps - run->step);
        s.seconds_left = (run->elapsed - before) / made * left;
        if (o->max_seconds > 0) s.seconds_left = HONE_MIN(s.seconds_left, HONE_MAX(o->max_seconds - run->elapsed, 0.0));
        s.peak_memory_bytes = hone_peak_memory();
        status = hone__report_step(run, &s);
        go_on &= tell(run, &s);
        bool epoch_ends = run->row >= run->packing.rows, last = run->step == run->planned.total_steps;
        if (status == HONE_OK && run->valid && (o->eval_steps ? run->step % o->eval_steps == 0 || last : epoch_ends || last))
            status = evaluate(run, s.epoch, &go_on);
        bool save = o->save_steps && run->step % o->save_steps == 0;
        if (status == HONE_OK && save) status = hone__checkpoint_save(run);
        if (status == HONE_OK && (!go_on || hone_cancelled(ctx))) status = HONE_CANCELLED;
    }
    return status;
}

/* Saves what was reached and says so in the error, whose reason stays in front. */
static hone_status stop(hone_finetune *run, hone_status status)
{
    hone_ctx *ctx = run->ctx;
    char reason[600];
    snprintf(reason, sizeof reason, "%.599s", status == HONE_CANCELLED ? "stopped" : hone_error(ctx));
    if (!run->output_dir || run->step == 0) return hone__fail_run(ctx, status, "%s", reason);
    hone_clear_cancel(ctx);
    hone_status saved = hone__checkpoint_save(run);
    if (saved != HONE_OK) return hone__fail_run(ctx, saved, "%s; and no checkpoint could be saved", reason);
    return hone__fail_run(ctx, status, "%s after step %lld of %lld; saved in %s/checkpoint-%lld: go on from there with "
                                       "--resume-from-checkpoint latest", reason, (long long)run->step,
                          (long long)run->planned.total_steps, run->output_dir, (long long)run->step);
}

hone_status hone_finetune_run(hone_finetune *run)
{
    if (!run) return HONE_INVALID;
    hone_ctx *ctx = run->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    hone_tensor *share = hone_tensor_new(ctx, HONE_F32, HONE_SHAPE(1));
    hone_status status = share ? hone__report_open(run) : ctx->status;
    if (status == HONE_OK) status = loop(run, share);
    hone_tensor_free(share);
    if (status == HONE_CANCELLED || status == HONE_NUMERIC) {
        status = stop(run, status);
        hone__report_close(run);
        return status;
    }
    if (status == HONE_OK && run->output_dir)
        status = run->o.method == HONE_FINETUNE_LORA ? hone_llm_save_adapter(run->llm, run->output_dir)
                                                     : hone__llm_save_folder(run->llm, run->output_dir, HONE_F32);
    hone_status closed = hone__report_close(run);
    return status == HONE_OK ? closed : status;
}
