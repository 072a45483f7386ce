/* A checkpoint of which one file is any bytes, or the right file with bytes changed: an error, or a run and an adapter that
   work. The first byte of the input says which file and how; files lie in a folder in memory (/dev/shm). */
#include "base/os.h"
#include "llm/finetune.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MODEL HONE_TEST_DATA "/tiny-llama.gguf"

static const char *const files[] = {"trainer_state.json", "adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors"};
static char folder[64];
static hone_ctx *ctx;
static hone_finetune *run;
static char *right[4]; /* what the files should be */
static size_t sizes[4];

static void write_part(int i, const void *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, files[i]);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();
}

static void remove_files(void)
{
    char path[128];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    ctx = hone_ctx_new(.threads = 1);
    snprintf(folder, sizeof folder, "/dev/shm/hone-fuzz-XXXXXX");
    if (!mkdtemp(folder)) abort();
    char path[160];
    hone_llm *llm = hone_llm_open(ctx, MODEL);
    hone_records *records = hone_records_load(ctx, HONE_TEST_DATA "/tiny-llama-golden/train.jsonl", NULL);
    hone_llm_data *data = hone_llm_data_new(llm, records, .max_seq_length = 128);
    hone_records_free(records);
    hone_finetune_opts o = {.struct_size = sizeof o, .output_dir = folder, .max_steps = 10, .lora = {.rank = 2, .targets = "v_proj"}};
    run = hone_finetune_new(llm, data, NULL, &o);
    if (!run || hone__checkpoint_save(run) != HONE_OK) abort();
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/checkpoint-0/%s", folder, files[i]);
        if (!(right[i] = hone__read_file(ctx, path, 1 << 20, &sizes[i]))) abort();
        write_part(i, right[i], sizes[i]);
    }
    snprintf(path, sizeof path, "%s/checkpoint-0", folder);
    hone__remove_folder(ctx, path);
    atexit(remove_files);
    if (hone__checkpoint_load(run, folder) != HONE_OK) abort();
    return 0;
}

static void load_adapter(void)
{
    hone_ctx *own = hone_ctx_new(.threads = 1);
    hone_llm *llm = hone_llm_open(own, MODEL);
    hone_status status = hone_llm_load_adapter(llm, folder);
    if (status != hone_ctx_status(own) || !status != !hone_error(own)[0]) __builtin_trap();
    hone_llm_free(llm);
    if (own->bytes) __builtin_trap(); /* something leaked */
    hone_ctx_release(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 16) return 0;
    int which = data[0] & 3;
    char *changed = NULL;
    size_t n = size - 1;
    if (data[0] & 128) { /* pairs of an offset (16 bits) and a byte, over the right file */
        n = sizes[which];
        if (!(changed = malloc(n))) return 0;
        memcpy(changed, right[which], n);
        for (size_t i = 1; i + 3 <= size; i += 3) changed[(size_t)(data[i] | data[i + 1] << 8) % n] = (char)data[i + 2];
    }
    write_part(which, changed ? (const void *)changed : data + 1, n);
    free(changed);
    if (which == 0 || which == 3 || data[0] & 64) {
        size_t before = ctx->bytes;
        hone_status status = hone__checkpoint_load(run, folder);
        if (status != HONE_OK && !hone_error(ctx)[0]) __builtin_trap();
        hone_clear_error(ctx);
        if (ctx->bytes != before) __builtin_trap();
    } else {
        load_adapter();
    }
    write_part(which, right[which], sizes[which]);
    return 0;
}
