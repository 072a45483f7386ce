/* hone finetune: teaches a pretrained model something. */
#include "finetune.h"

#include <signal.h>
#include <stdlib.h>

/* ---- while it runs ---- */

static void print_step_json(const hone_finetune_step *s)
{
    json_t *o = json_pack("{s:I, s:I, s:o}", "step", (json_int_t)s->step, "total_steps",
                          (json_int_t)s->total_steps, "epoch", cli_json_real(s->epoch));
    if (s->is_evaluation) {
        json_object_set_new(o, "eval_loss", cli_json_real(s->eval.loss));
        json_object_set_new(o, "eval_perplexity", cli_json_real(s->eval.perplexity));
        json_object_set_new(o, "eval_token_accuracy", cli_json_real(s->eval.token_accuracy));
    } else {
        json_object_set_new(o, "loss", cli_json_real(s->loss));
        json_object_set_new(o, "learning_rate", cli_json_real(s->learning_rate));
        json_object_set_new(o, "grad_norm", cli_json_real(s->grad_norm));
        json_object_set_new(o, "tokens", json_integer((json_int_t)s->tokens));
        json_object_set_new(o, "tokens_per_second", cli_json_real(s->tokens_per_second));
        json_object_set_new(o, "seconds_left", cli_json_real(s->seconds_left));
        json_object_set_new(o, "peak_memory_bytes", json_integer((json_int_t)s->peak_memory_bytes));
    }
    cli_print_json(o);
}

/* The first steps make plans and find their memory: those after them are profiled. */
enum { PROFILE_WARM_STEPS = 2, PROFILE_STEPS = 3 };

static void profile_step(finetune_run *run)
{
    if (run->profile) {
        if (run->steps - run->profiled_from == run->profiled_steps) hone_profile_stop(run->profile);
    } else if (run->steps == run->profiled_from) {
        run->profile = hone_profile_new(run->ctx);
    }
}

static bool on_step(void *user, const hone_finetune_step *s)
{
    finetune_run *run = user;
    if (run->args->common.json) print_step_json(s);
    if (s->is_evaluation) {
        progress_end(&run->progress);
        cli_note(&run->args->common, "step %lld: validation loss %.4f, perplexity %.3f, token accuracy %.4f",
                 (long long)s->step, s->eval.loss, s->eval.perplexity, s->eval.token_accuracy);
        return true;
    }
    if (!run->steps++) run->first_loss = run->last_loss = s->loss;
    run->last_loss += (s->loss - run->last_loss) * 0.1;
    run->peak_memory_bytes = s->peak_memory_bytes;
    hone_progress_value loss = {"loss", s->loss};
    progress_show(&run->progress, &(hone_progress){.done = s->step,
                                                   .total = s->total_steps,
                                                   .values = &loss,
                                                   .n_values = 1,
                                                   .learning_rate = s->learning_rate,
                                                   .rate = s->tokens_per_second,
                                                   .unit = "tok",
                                                   .seconds_left = s->seconds_left});
    if (run->args->profile) profile_step(run);
    return true;
}

/* ---- the run ---- */

static hone_finetune_opts make_opts(finetune_run *run)
{
    static const hone_schedule_kind kinds[] = {
        HONE_SCHEDULE_CONSTANT, HONE_SCHEDULE_COSINE, HONE_SCHEDULE_LINEAR,
        HONE_SCHEDULE_CONSTANT, HONE_SCHEDULE_ONE_CYCLE}; /* as in the option's choices, from 1 on */
    static const char *const optimizers[] = {NULL,
#define HONE_OPTIMIZER(name, ...) #name,
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
    };
    const finetune_args *args = run->args;
    return (hone_finetune_opts){
        .struct_size = sizeof(hone_finetune_opts),
        .method = args->method == METHOD_FULL ? HONE_FINETUNE_FULL : HONE_FINETUNE_LORA,
        .lora = {.struct_size = sizeof(hone_lora_opts),
                 .rank = args->lora_rank,
                 .alpha = args->lora_alpha,
                 .dropout = args->lora_dropout,
                 .targets = args->lora_target},
        .output_dir = args->output_dir,
        .epochs = args->epochs,
        .max_steps = args->max_steps,
        .max_seconds = args->max_seconds,
        .batch_size = args->batch_size,
        .gradient_accumulation_steps = args->gradient_accumulation_steps,
        .max_seq_length = args->max_seq_length,
        .no_packing = args->no_packing,
        .learning_rate = args->learning_rate,
        .lr_scheduler_type = kinds[args->lr_scheduler_type],
        .warmup_ratio = args->warmup_ratio,
        .weight_decay = args->weight_decay,
        .max_grad_norm = args->max_grad_norm > 0 ? args->max_grad_norm : (double)HONE_ZERO,
        .optimizer = optimizers[args->optimizer],
        .gradient_checkpointing = args->gradient_checkpointing,
        .no_shuffle = args->no_shuffle,
        .eval_steps = args->eval_steps,
        .save_steps = args->save_steps,
        .save_total_limit = args->save_total_limit,
        .resume_from = args->resume_from_checkpoint,
        .on_step = on_step,
        .user = run,
    };
}

static hone_llm_data *load_data(const finetune_run *run, const char *split)
{
    hone_records *records = hone_records_load(run->ctx, run->args->data, split);
    hone_llm_data *data =
        records ? hone_llm_data_new(run->llm, records, .max_seq_length = run->args->max_seq_length,
                                    .train_on_prompt = run->args->train_on_prompt)
                : NULL;
    hone_records_free(records);
    return data;
}

static hone_finetune *prepare(finetune_run *run)
{
    run->train = load_data(run, "train");
    if (run->train && hone_records_exist(run->ctx, run->args->data, "valid"))
        run->valid = load_data(run, "valid");
    hone_finetune_opts opts = make_opts(run);
    return hone_ctx_status(run->ctx) == HONE_OK ? hone_finetune_new(run->llm, run->train, run->valid, &opts)
                                                : NULL;
}

static int train(finetune_run *run)
{
    hone_finetune *work = prepare(run);
    if (!work) return cli_fail_ctx(&run->args->common, run->ctx);
    run->plan = hone_finetune_planned(work);
    finetune_print_plan(run);
    run->began = cli_now();
    int64_t steps = run->plan.total_steps - run->plan.resumed_step;
    run->profiled_steps = steps < PROFILE_STEPS ? steps : PROFILE_STEPS;
    run->profiled_from = steps - run->profiled_steps < PROFILE_WARM_STEPS ? steps - run->profiled_steps : PROFILE_WARM_STEPS;
    if (run->args->profile) profile_step(run); /* a short run: from the beginning */
    if (!run->args->resume_from_checkpoint) {
        const common_args *common = &run->args->common;
        cli_begin_output(common, run->args->output_dir, run->args->method == METHOD_FULL ? "model.safetensors" : "adapter_model.safetensors",
                         (const char *const[]){".", NULL});
        cli_note_checkpoints(common, run->args->output_dir);
    }
    hone_status status = hone_finetune_run(work);
    progress_end(&run->progress);
    int result = status == HONE_OK ? EXIT_DONE : EXIT_FAILED;
    if (status == HONE_OK) {
        if (run->profile) result = finetune_print_profile(run);
        finetune_print_end(run);
    } else {
        cli_fail_ctx(&run->args->common, run->ctx);
        if (status == HONE_CANCELLED && run->steps + run->plan.resumed_step > 0) finetune_print_resume(run);
    }
    hone_profile_free(run->profile);
    hone_finetune_free(work);
    return result;
}

static int run_command(void *memory)
{
    finetune_args *args = memory;
    finetune_run run = {.args = args, .progress = {.off = args->common.quiet}};
    if (args->adapter && args->method == METHOD_FULL)
        return cli_usage(&args->common,
                         "--adapter goes on with LoRA: it needs --method lora; to train all of a model that "
                         "has an adapter, merge it first with `hone export`");
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away must not end the training */
    int status = EXIT_FAILED;
    run.ctx = cli_ctx(&args->common);
    if (run.ctx) {
        run.llm = cli_open(&args->common, run.ctx, args->model, args->adapter);
        if (run.llm) {
            cli_on_interrupt(INTERRUPTS_CANCEL_ONCE, run.ctx);
            status = train(&run);
            cli_on_interrupt(INTERRUPTS_END, NULL);
        }
    }
    hone_llm_data_free(run.train);
    hone_llm_data_free(run.valid);
    hone_llm_free(run.llm);
    hone_ctx_release(run.ctx);
    return status;
}

#define AT(member) .offset = offsetof(finetune_args, member)
/* "|adamw|adamw8bit|..." */
static const char optimizer_choices[] =
#define HONE_OPTIMIZER(name, ...) "|" #name
#include "hone/optimizer.def"
#undef HONE_OPTIMIZER
    ;
static const option options[] = {
    OPTION_MODEL(finetune_args),
    {.name = "data", .kind = OPTION_STRING, AT(data), .value = "DATA", .required = true,
     .help = "a .jsonl or .txt file, or a folder with train.jsonl and perhaps valid.jsonl"},
    {.name = "output-dir", .kind = OPTION_STRING, AT(output_dir), .value = "DIR", .required = true,
     .help = "where the adapter or model, metrics, curves and checkpoints go; files of an older training by these names are replaced, "
             "unless --resume-from-checkpoint goes on with it"},
    {.name = "method", .kind = OPTION_CHOICE, AT(method), .value = "lora|full", .initial = "lora",
     .help = "lora trains small matrices beside the frozen ones, full every parameter"},
    {.name = "adapter", .kind = OPTION_STRING, AT(adapter), .value = "DIR",
     .help = "a LoRA adapter to start from"},
    {.name = "lora-rank", .kind = OPTION_INT, AT(lora_rank), .value = "N", .initial = "16", .min = 1,
     .max = 65536, .help = "rank of the small matrices"},
    {.name = "lora-alpha", .kind = OPTION_POSITIVE, AT(lora_alpha), .value = "X", .initial = "32",
     .help = "they count alpha / rank times"},
    {.name = "lora-dropout", .kind = OPTION_REAL, AT(lora_dropout), .value = "X", .initial = "0", .min = 0,
     .max = 0.99, .help = "share of their input that is dropped"},
    {.name = "lora-target", .kind = OPTION_STRING, AT(lora_target), .value = "A,B,...", .initial = "all",
     .help = "which layers get them, e.g. q_proj,v_proj; all: every linear layer but the head"},
    {.name = "epochs", .kind = OPTION_POSITIVE, AT(epochs), .value = "X", .initial = "1",
     .help = "how often the data is gone through; parts of an epoch are fine"},
    {.name = "max-steps", .kind = OPTION_INT, AT(max_steps), .value = "N", OPTION_AT_LEAST(1),
     .help = "so many optimizer steps, whatever --epochs says"},
    {.name = "max-seconds", .kind = OPTION_POSITIVE, AT(max_seconds), .value = "X",
     .help = "training ends in time; the learning rate falls with the clock"},
    {.name = "batch-size", .kind = OPTION_INT, AT(batch_size), .value = "N", .initial = "4", .min = 1,
     .max = 4096, .help = "rows that are computed together"},
    {.name = "gradient-accumulation-steps", .kind = OPTION_INT, AT(gradient_accumulation_steps),
     .value = "N", .initial = "1", .min = 1, .max = 65536, .help = "batches a step"},
    {.name = "max-seq-length", .kind = OPTION_INT, AT(max_seq_length), .value = "N",
     .shown = "1024, or what the model holds", OPTION_AT_LEAST(2),
     .help = "tokens of a row; longer examples lose their end"},
    {.name = "no-packing", .kind = OPTION_FLAG, AT(no_packing),
     .help = "one example a row, instead of as many as fit (which never see each other)"},
    {.name = "learning-rate", .kind = OPTION_POSITIVE, AT(learning_rate), .value = "X",
     .shown = "2e-4, with full 2e-5", .help = "its highest value"},
    {.name = "lr-scheduler-type", .kind = OPTION_CHOICE, AT(lr_scheduler_type),
     .value = "cosine|linear|constant|one_cycle", .initial = "cosine",
     .help = "how it falls to 0; one_cycle: rises over 30 % of the steps first"},
    {.name = "warmup-ratio", .kind = OPTION_REAL, AT(warmup_ratio), .value = "X", .initial = "0.03",
     .min = 0, .max = 1, .help = "the share of the steps over which it rises at first"},
    {.name = "weight-decay", .kind = OPTION_REAL, AT(weight_decay), .value = "X", .initial = "0",
     OPTION_AT_LEAST(0), .help = "decoupled from the gradient with adamw, lion, muon, adafactor; else added to it"},
    {.name = "max-grad-norm", .kind = OPTION_REAL, AT(max_grad_norm), .value = "X", .initial = "1",
     OPTION_AT_LEAST(0), .help = "longer gradients are scaled down to this norm; 0: never"},
    {.name = "optimizer", .kind = OPTION_CHOICE, AT(optimizer), .value = optimizer_choices + 1, .initial = "adamw",
     .help = "what makes the steps; adamw8bit keeps its state in 2 bytes a parameter instead of 8"},
    {.name = "gradient-checkpointing", .kind = OPTION_FLAG, AT(gradient_checkpointing),
     .help = "the same results in less memory and more time: activations are computed again backwards"},
    {.name = "train-on-prompt", .kind = OPTION_FLAG, AT(train_on_prompt),
     .help = "learn every token, not the answers alone"},
    {.name = "no-shuffle", .kind = OPTION_FLAG, AT(no_shuffle), .help = "the data in its own order"},
    {.name = "profile", .kind = OPTION_FLAG, AT(profile),
     .help = "shows where the time of three steps goes, and writes trace.json for Perfetto"},
    {.name = "eval-steps", .kind = OPTION_INT, AT(eval_steps), .value = "N",
     .shown = "at the end of each epoch", OPTION_AT_LEAST(1),
     .help = "steps between evaluations on valid.jsonl"},
    {.name = "save-steps", .kind = OPTION_INT, AT(save_steps), .value = "N",
     .shown = "none but when stopped", OPTION_AT_LEAST(1), .help = "steps between checkpoints"},
    {.name = "save-total-limit", .kind = OPTION_INT, AT(save_total_limit), .value = "N", .shown = "all",
     OPTION_AT_LEAST(1), .help = "how many checkpoints are kept"},
    {.name = "resume-from-checkpoint", .kind = OPTION_STRING, AT(resume_from_checkpoint),
     .value = "DIR|latest", .help = "goes on where that run was, exactly; give the same options as then"},
};
const command cmd_finetune = {
    .name = "finetune",
    .summary = "teaches a pretrained model something, by LoRA or in full",
    .about =
        "Fine-tunes a pretrained language model on conversations, prompts with answers, or plain text. Of "
        "conversations and prompts the answers are learnt. Ctrl-C saves, and says how to go on.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(finetune_args),
    .run = run_command,
};
