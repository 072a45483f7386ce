/* hone export: writes a model for other software. */
#include "cli.h"

typedef struct export_args {
    common_args common;
    const char *model, *adapter, *output;
    int format, dtype, quantize;
} export_args;

/* The choices below, in their order from 1 on. */
static const hone_dtype dtypes[] = {HONE_F32, HONE_F32, HONE_F16, HONE_BF16};
static const hone_dtype quantized[] = {HONE_F32, HONE_Q8_0, HONE_Q4_0, HONE_Q4_1};
static const hone_export_format formats[] = {HONE_EXPORT_SAFETENSORS, HONE_EXPORT_SAFETENSORS,
                                             HONE_EXPORT_GGUF, HONE_EXPORT_PEFT};

static int check(const export_args *args)
{
    const common_args *c = &args->common;
    hone_export_format format = formats[args->format];
    if (args->quantize && format != HONE_EXPORT_GGUF) return cli_usage(c, "--quantize is for --format gguf");
    if (args->quantize && args->dtype) return cli_usage(c, "--dtype and --quantize: one of them, not both");
    if (format != HONE_EXPORT_PEFT) return EXIT_DONE;
    if (args->dtype) return cli_usage(c, "--format peft: adapters are written in f32; leave --dtype out");
    if (!args->adapter) return cli_usage(c, "--format peft: which adapter? --adapter DIR is missing");
    return EXIT_DONE;
}

static int run(void *memory)
{
    export_args *args = memory;
    args->common.dtype = DTYPE_F32; /* nothing is computed */
    int status = check(args);
    if (status != EXIT_DONE) return status;
    status = EXIT_FAILED;
    hone_dtype dtype = args->quantize ? quantized[args->quantize] : dtypes[args->dtype];
    hone_ctx *ctx = cli_ctx(&args->common);
    hone_llm *llm = ctx ? cli_open(&args->common, ctx, args->model, args->adapter) : NULL;
    if (llm &&
        hone_llm_export(llm, args->output, .format = formats[args->format], .dtype = dtype) == HONE_OK) {
        status = EXIT_DONE;
        if (args->common.json)
            cli_print_json(json_pack("{s:o}", "output", cli_json_text(args->output, strlen(args->output))));
        else
            printf("%s\n", args->output);
    } else if (llm) {
        cli_fail_ctx(&args->common, ctx);
    }
    hone_llm_free(llm);
    hone_ctx_release(ctx);
    return status;
}

static const option options[] = {
    OPTION_MODEL(export_args),
    {.name = "adapter", .kind = OPTION_STRING, .offset = offsetof(export_args, adapter), .value = "DIR",
     .help = "a LoRA adapter, merged into the model (with peft: what is written)"},
    {.name = "format", .kind = OPTION_CHOICE, .offset = offsetof(export_args, format),
     .value = "safetensors|gguf|peft", .required = true,
     .help = "a Hugging Face folder, one file for llama.cpp and others, or a folder with the adapter alone"},
    {.name = "output", .kind = OPTION_STRING, .offset = offsetof(export_args, output), .value = "PATH",
     .required = true, .help = "where it goes; what stands there is replaced when all is written"},
    {.name = "dtype", .kind = OPTION_CHOICE, .offset = offsetof(export_args, dtype), .value = "f32|f16|bf16",
     .shown = "f32, which keeps every value", .help = "of the matrices"},
    {.name = "quantize", .kind = OPTION_CHOICE, .offset = offsetof(export_args, quantize),
     .value = "Q8_0|Q4_0|Q4_1", .help = "the matrices in blocks of few bits; GGUF only"},
};
const command cmd_export = {
    .name = "export",
    .summary = "writes a model for other software",
    .about =
        "Writes a model, an adapter merged into it, complete with tokenizer, chat template and generation "
        "settings. Values are kept exactly unless --dtype or --quantize says otherwise.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(export_args),
    .run = run,
};
