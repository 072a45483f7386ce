/* hone info: what a model is and what it takes. */
#include "cli.h"

typedef struct info_args {
    common_args common;
    const char *model, *adapter;
} info_args;

/* Parameters as they are stored, by dtype. */
typedef struct storage {
    int64_t parameters[HONE_DTYPE_COUNT];
} storage;

static storage count_storage(hone_llm *llm)
{
    storage s = {{0}};
    const hone_model *model = hone_llm_model(llm);
    for (size_t i = 0; i < hone_model_param_count(model); i++) {
        const hone_param *param = hone_model_param(model, i);
        s.parameters[hone_param_dtype(param)] += hone_shape_count(hone_param_shape(param));
    }
    return s;
}

static void print_json(const info_args *args, const hone_llm_description *d, const storage *s,
                       hone_dtype compute)
{
    json_t *dtypes = json_object();
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (s->parameters[i])
            json_object_set_new(dtypes, hone_dtype_name((hone_dtype)i), json_integer(s->parameters[i]));
    json_t *o = json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "model",
                          cli_json_text(args->model, strlen(args->model)), "family", d->family, "layers",
                          (json_int_t)d->layers, "hidden_size", (json_int_t)d->hidden_size, "heads",
                          (json_int_t)d->heads, "kv_heads", (json_int_t)d->kv_heads, "intermediate_size",
                          (json_int_t)d->intermediate_size, "vocabulary", (json_int_t)d->vocabulary,
                          "context_length", (json_int_t)d->context_length);
    json_t *rest = json_pack(
        "{s:I, s:I, s:s, s:o, s:s, s:I, s:I, s:I}", "parameters", (json_int_t)d->parameters, "stored_bytes",
        (json_int_t)d->stored_bytes, "main_dtype", hone_dtype_name(d->main_dtype), "dtypes", dtypes,
        "compute", hone_dtype_name(compute), "memory_generate", (json_int_t)d->memory_generate, "memory_lora",
        (json_int_t)d->memory_lora, "memory_full", (json_int_t)d->memory_full);
    json_object_update(o, rest);
    json_decref(rest);
    cli_print_json(o);
}

static void print_table(const info_args *args, const hone_llm_description *d, const storage *s, hone_llm *llm)
{
    char a[32], b[32];
    const char *compute = hone_dtype_name(hone_llm_compute(llm));
    printf("%s\n", args->model);
    printf("  family            %s\n", d->family);
    printf("  parameters        %s\n", cli_count(d->parameters, a));
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (s->parameters[i])
            printf("    %-6s          %s\n", hone_dtype_name((hone_dtype)i), cli_count(s->parameters[i], a));
    printf("  stored in         %s, mostly %s\n", cli_bytes((double)d->stored_bytes, a),
           hone_dtype_name(d->main_dtype));
    printf("  layers            %lld of width %lld, feed-forward %lld\n", (long long)d->layers,
           (long long)d->hidden_size, (long long)d->intermediate_size);
    printf("  attention heads   %lld, keys and values %lld\n", (long long)d->heads, (long long)d->kv_heads);
    printf("  vocabulary        %s\n", cli_count(d->vocabulary, a));
    printf("  context           %s tokens\n", cli_count(d->context_length, a));
    printf("  chat template     %s\n",
           hone_tokenizer_chat_template(hone_llm_tokenizer(llm)) ? "yes" : "none");
    printf("memory it will take, computing in %s\n", compute);
    printf("  generating        %s (2,048 tokens)\n", cli_bytes((double)d->memory_generate, b));
    printf("  fine-tuning LoRA  %s (4 x 256 tokens a step)\n", cli_bytes((double)d->memory_lora, b));
    printf("  fine-tuning full  %s (4 x 256 tokens a step)\n", cli_bytes((double)d->memory_full, b));
}

static int run(void *memory)
{
    info_args *args = memory;
    hone_ctx *ctx = cli_ctx(&args->common);
    hone_llm *llm = ctx ? cli_open(&args->common, ctx, args->model, args->adapter) : NULL;
    if (llm && hone_model_build(hone_llm_model(llm)) != HONE_OK) {
        cli_fail_ctx(&args->common, ctx);
        hone_llm_free(llm);
        llm = NULL;
    }
    if (llm) {
        hone_llm_description d = hone_llm_describe(llm);
        storage s = count_storage(llm);
        if (args->common.json)
            print_json(args, &d, &s, hone_llm_compute(llm));
        else
            print_table(args, &d, &s, llm);
    }
    int status = llm ? EXIT_DONE : EXIT_FAILED;
    hone_llm_free(llm);
    hone_ctx_release(ctx);
    return status;
}

static const option options[] = {
    {.name = "model", .kind = OPTION_STRING, .offset = offsetof(info_args, model), .value = "MODEL",
     .required = true, .positional = true,
     .help = "a .gguf file, a Hugging Face folder, or what Hone wrote"},
    OPTION_ADAPTER(info_args),
};
const command cmd_info = {
    .name = "info",
    .summary = "what a model is, and the memory it will take",
    .about =
        "Shows a model's architecture, its parameters and how they are stored, and predicts the memory that "
        "generating and fine-tuning will take.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .args_size = sizeof(info_args),
    .run = run,
};
