/* The table of workloads, and how a repeat is measured. */
#include "bench.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL .model = BENCH_NO_MODEL
#define FULL .run = bench_finetune, .model = BENCH_MODEL, .unit = "tok/s", .method = HONE_FINETUNE_FULL
#define LORA .run = bench_finetune, .model = BENCH_MODEL, .unit = "tok/s", .method = HONE_FINETUNE_LORA
#define PROMPT .run = bench_prompt, .unit = "tok/s", .length = 512
#define GENERATE .run = bench_generate, .unit = "tok/s", .batch = 1, .length = 64, .prompt_length = 16
#define CNN SMALL, .unit = "images/s", .batch = 128
#define LOADER .run = bench_loader, SMALL, .unit = "images/s", .batch = 128
#define LSTM .run = bench_lstm, SMALL, .unit = "tok/s", .batch = 32, .length = 128
#define RESNET .run = bench_resnet, SMALL, .unit = "images/s", .batch = 64
#define BERT .run = bench_bert, SMALL, .unit = "texts/s", .batch = 32, .length = 128
#define GPT2 .run = bench_gpt2, SMALL, .unit = "tok/s", .batch = 4, .length = 64
static const bench_workload
    full_f32 = {"full_f32", FULL, .about = "full fine-tuning in f32, 4 x 256 tokens a step", .dtype = HONE_F32, .batch = 4,
                .length = 256},
    full_bf16 = {"full_bf16", FULL, .about = "full fine-tuning in bf16, 4 x 256", .dtype = HONE_BF16, .batch = 4,
                 .length = 256},
    full_bf16_8x512 = {"full_bf16_8x512", FULL, .about = "full fine-tuning in bf16, 8 x 512", .dtype = HONE_BF16, .batch = 8,
                       .length = 512},
    full_bf16_8bit = {"full_bf16_8bit", FULL, .about = "full fine-tuning in bf16, 4 x 256, with moments of 8 bits (adamw8bit)",
                      .dtype = HONE_BF16, .batch = 4, .length = 256, .optimizer = "adamw8bit"},
    lora_bf16 = {"lora_bf16", LORA, .about = "LoRA of rank 16 on every linear layer in bf16, 4 x 256", .dtype = HONE_BF16,
                 .batch = 4, .length = 256},
    lora_checkpointing = {"lora_checkpointing", LORA, .about = "the same with gradient checkpointing", .dtype = HONE_BF16,
                          .batch = 4, .length = 256, .gradient_checkpointing = true},
    prompt_bf16 = {"prompt_bf16", PROMPT, .about = "reading a prompt of 512, weights stored in bf16",
                   .model = BENCH_MODEL_BF16, .dtype = HONE_BF16},
    prompt = {"prompt", PROMPT, .about = "the same, weights as the model's file has them", .model = BENCH_MODEL,
              .dtype = HONE_BF16},
    prompt_q8_0 = {"prompt_q8_0", PROMPT, .about = "the same, weights in Q8_0", .model = BENCH_MODEL_Q8_0,
                   .dtype = HONE_BF16},
    generate = {"generate", GENERATE, .about = "generating one sequence, weights as the model's file has them",
                .model = BENCH_MODEL, .dtype = HONE_BF16},
    generate_8 = {"generate_8", .run = bench_generate, .unit = "tok/s", .batch = 8, .length = 64, .prompt_length = 16,
                  .about = "the same, eight sequences at once: tokens of all of them", .model = BENCH_MODEL, .dtype = HONE_BF16},
    generate_bf16 = {"generate_bf16", GENERATE, .about = "generating one sequence, weights stored in bf16", .model = BENCH_MODEL_BF16,
                     .dtype = HONE_BF16},
    load = {"load", .unit = "s", .about = "from a process's start to the model's first token", .model = BENCH_MODEL,
            .less_is_better = true, .whole_process = true, .run = bench_first_token, .dtype = HONE_BF16},
    gpt2_f32 = {"gpt2_f32", GPT2, .about = "training GPT-2 of 124M, random weights, f32, 4 x 64", .dtype = HONE_F32},
    gpt2_bf16 = {"gpt2_bf16", GPT2, .about = "the same in bf16", .dtype = HONE_BF16},
    mlp = {"mlp", "images/s", "training dense layers 784-512-512-10 in f32, 128 images a step", SMALL, .run = bench_mlp,
           .dtype = HONE_F32, .batch = 128},
    cnn_f32 = {"cnn_f32", CNN, .run = bench_cnn, .about = "training a small convolutional network on pictures of 3 x 32 x 32 in f32, 128 a step",
               .dtype = HONE_F32},
    cnn_bf16 = {"cnn_bf16", CNN, .run = bench_cnn, .about = "the same in bf16", .dtype = HONE_BF16},
    loader = {"loader", LOADER, .loader_threads = 1,
              .about = "a loader of one thread: PNG pictures of 3 x 32 x 32 from files, cropped, flipped and scaled, 128 a batch"},
    loader_2 = {"loader_2", LOADER, .about = "the same with two threads", .loader_threads = 2},
    cnn_files = {"cnn_files", CNN, .run = bench_cnn_files, .dtype = HONE_BF16, .loader_threads = 2,
                 .about = "cnn_bf16 fed by that loader, its pictures decoded once"},
    lstm_f32 = {"lstm_f32", LSTM, .about = "training two LSTM layers of 512 units on 32 x 128 letters in f32", .dtype = HONE_F32},
    lstm_bf16 = {"lstm_bf16", LSTM, .about = "the same in bf16", .dtype = HONE_BF16},
    resnet_f32 = {"resnet_f32", RESNET, .about = "training ResNet-20 on pictures of 3 x 32 x 32 in f32, 64 a step", .dtype = HONE_F32},
    resnet_bf16 = {"resnet_bf16", RESNET, .about = "the same in bf16", .dtype = HONE_BF16},
    bert_f32 = {"bert_f32", BERT, .about = "training a classifier of texts, BERT of 6 layers of 384, in f32, 32 x 128 tokens",
                .dtype = HONE_F32},
    bert_bf16 = {"bert_bf16", BERT, .about = "the same in bf16", .dtype = HONE_BF16},
    iris = {"iris", "s", "a process that trains dense layers 4-10-3 for 100 epochs on 96 rows", SMALL, .less_is_better = true,
            .whole_process = true, .run = bench_iris},
    nodes = {"nodes", "ns", "a node of a graph of 1,000, each of 4 numbers", SMALL, .less_is_better = true,
             .run = bench_nodes};
const bench_workload *const bench_workloads[] = {
    &full_f32, &full_bf16, &full_bf16_8x512, &full_bf16_8bit, &lora_bf16, &lora_checkpointing, &prompt_bf16, &prompt,
    &prompt_q8_0, &generate, &generate_8, &generate_bf16, &load, &gpt2_f32, &gpt2_bf16, &mlp, &cnn_f32, &cnn_bf16, &loader, &loader_2, &cnn_files, &lstm_f32, &lstm_bf16,
    &resnet_f32, &resnet_bf16, &bert_f32, &bert_bf16, &iris, &nodes};
const size_t bench_count = sizeof bench_workloads / sizeof *bench_workloads;

/* ---- measuring ---- */

void bench_sample(bench_run *run, double count, double seconds)
{
    if (run->n == run->repeats) return;
    run->samples[run->n++] = run->work->less_is_better ? seconds / count : count / seconds;
}

bool bench_enough(const bench_run *run)
{
    return run->n >= run->repeats || (run->n >= 3 && cli_now() - run->began > 30);
}

bool bench_begin_limit(bench_run *run)
{
    run->peak_memory = hone_peak_memory();
    return (run->profile = hone_profile_new(run->ctx)) != NULL;
}

/* Of what the unit counts: generation makes a token a sequence in each, training reads whole sequences. */
static double count_of_step(const bench_workload *w)
{
    bool tokens = !strcmp(w->unit, "tok/s") && !w->prompt_length;
    return (double)((w->batch ? w->batch : 1) * (tokens && w->length ? w->length : 1));
}

bool bench_end_limit(bench_run *run, double count)
{
    hone_profile_stop(run->profile);
    bool ok = hone_profile_measure(run->profile) == HONE_OK;
    double seconds = ok ? hone_profile_summarize(run->profile).limit_seconds : 0;
    if (seconds > 0) run->limit = run->work->less_is_better ? seconds / count : count / seconds;
    if (ok && run->profiled) ok = (run->table = hone_profile_text(run->profile, (int64_t)(count / count_of_step(run->work) + 0.5)));
    hone_profile_free(run->profile);
    run->profile = NULL;
    return ok;
}

bool bench_repeat(bench_run *run, double count, bool (*repeat)(void *state), void *state)
{
    if (!repeat(state)) return false;
    while (!bench_enough(run)) {
        double began = cli_now();
        if (!repeat(state)) return false;
        bench_sample(run, count, cli_now() - began);
    }
    return bench_begin_limit(run) && repeat(state) && bench_end_limit(run, count);
}

/* ---- folders ---- */

char *bench_make_folder(const common_args *args)
{
    const char *tmp = getenv("TMPDIR");
    char path[440];
    snprintf(path, sizeof path, "%.300s/hone-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (mkdtemp(path)) return cli_copy(path);
    cli_fail(args, "%s: %s", path, cli_system_error());
    return NULL;
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)stat, (void)kind, (void)at;
    return remove(path);
}

void bench_remove_folder(const common_args *args, char *folder)
{
    if (folder && nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS)) cli_note(args, "%s: %s", folder, cli_system_error());
    free(folder);
}
