/* The folder that a training writes into, in which there may be an older one. */
#include "cli.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* "events.out.tfevents.1700000000.host.000", as hone_events_open has it: TensorFlow and PyTorch end theirs otherwise. */
static bool is_own_events(const char *name)
{
    static const char begin[] = "events.out.tfevents.";
    size_t n = strlen(name), digits = sizeof begin - 1;
    if (strncmp(name, begin, digits) != 0 || strspn(name + digits, "0123456789") != 10 || name[digits + 10] != '.' || n < digits + 16) return false;
    return name[n - 4] == '.' && strspn(name + n - 3, "0123456789") == 3;
}

static void remove_events(const char *folder)
{
    DIR *open = opendir(folder);
    for (struct dirent *e; open && (e = readdir(open));) {
        char *path = is_own_events(e->d_name) ? cli_join(folder, e->d_name) : NULL;
        if (path) unlink(path);
        free(path);
    }
    if (open) closedir(open);
}

void cli_begin_output(const common_args *args, const char *folder, const char *const *events)
{
    static const char *const models[] = {"model.safetensors", "adapter_model.safetensors"};
    struct stat info;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char *path = cli_join(folder, models[i]);
        if (stat(path, &info) == 0) cli_note(args, "%s is there already, and is replaced when this training ends", path);
        free(path);
    }
    for (; *events; events++) {
        char *path = cli_join(folder, *events);
        remove_events(path);
        free(path);
    }
}
