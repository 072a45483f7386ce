/* The options of sampling, for generate and chat. */
#include "cli.h"

int sampling_check(const common_args *args, const sampling_args *sampling)
{
    for (size_t i = 0; i < sampling->stop.count; i++)
        if (!*sampling->stop.items[i]) return cli_usage(args, "--stop: an empty text would stop at once");
    return EXIT_DONE;
}

hone_generate_opts sampling_opts(const common_args *args, const sampling_args *sampling)
{
    return (hone_generate_opts){
        .struct_size = sizeof(hone_generate_opts),
        .max_tokens = sampling->max_tokens,
        .sampling = {.struct_size = sizeof(hone_sampler_opts),
                     .temperature = (float)sampling->temperature,
                     .top_k = sampling->top_k,
                     .top_p = (float)sampling->top_p,
                     .min_p = (float)sampling->min_p,
                     .seed = args->seed},
        .repetition_penalty = (float)sampling->repetition_penalty,
        .stop = sampling->stop.items,
        .n_stop = sampling->stop.count,
    };
}
