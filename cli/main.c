/* hone: the program. Finds the subcommand and runs it. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* libgomp's threads spin for milliseconds at every barrier before they sleep: when another program wants the CPUs too, a
   step then takes ten times as long. A short spin costs nothing on a quiet machine. libgomp reads the variable while it
   is being loaded, so the program starts itself again with it set (5 ms). */
static void spin_briefly(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (setenv("GOMP_SPINCOUNT", "5000", 1) == 0) execv("/proc/self/exe", argv);
}

static const command *const commands[] = {&cmd_info, &cmd_tokenize, &cmd_forward, &cmd_generate, &cmd_chat,
                                          &cmd_eval, &cmd_finetune, &cmd_export,  &cmd_bench,
                                          &cmd_train, &cmd_predict};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void overview(FILE *to)
{
    fputs("usage: hone COMMAND [options]\n\n"
          "Trains, fine-tunes, evaluates, converts and runs neural networks.\n\n",
          to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n`hone help COMMAND` or `hone COMMAND --help` lists a command's options; `hone --version` says\n"
          "which Hone this is. Exit status: 0 done, 1 the work failed, 2 wrong usage.\n", to);
}

static const command *find_command(const char *name)
{
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i]->name;
        if (!strcmp(name, names[i])) return commands[i];
    }
    const char *near = nearest_name(name, names, N_COMMANDS);
    if (near)
        fprintf(stderr, "hone: unknown command '%s'; did you mean '%s'?\n", name, near);
    else
        fprintf(stderr, "hone: unknown command '%s'; `hone help` lists them\n", name);
    return NULL;
}

static int run(const command *c, int argc, char **argv)
{
    void *args = cli_alloc(c->args_size);
    int status = EXIT_USAGE;
    if (options_parse(c, argc, argv, 2, args)) {
        status = EXIT_DONE;
        if (((common_args *)args)->help)
            options_help(c, stdout);
        else
            status = c->run(args);
        status = cli_finish(args, status);
    }
    options_free(c, args);
    free(args);
    return status;
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    if (!first) {
        overview(stderr);
        return EXIT_USAGE;
    }
    bool help = !strcmp(first, "help") || !strcmp(first, "--help") || !strcmp(first, "-h");
    if (help && (argc == 2 || !strcmp(argv[2], "--help"))) {
        overview(stdout);
    } else if (help) {
        const command *c = find_command(argv[2]);
        if (!c) return EXIT_USAGE;
        options_help(c, stdout);
    } else if (!strcmp(first, "--version") || !strcmp(first, "version")) {
        printf("hone %s\n", hone_version());
    } else {
        const command *c = find_command(first);
        if (c) spin_briefly(argv);
        return c ? run(c, argc, argv) : EXIT_USAGE;
    }
    return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
