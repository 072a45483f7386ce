/* The folder that a training writes into, in which there may be an older one. */
#include "cli.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* "events.out.tfevents.1700000000.host.000", as hone_events_open has it. TensorFlow and PyTorch end theirs otherwise, PyTorch with the
   process and a number that may have three digits, too: so a last part of the host's name that is a number is nobody's of ours. */
static bool is_own_events(const char *name)
{
    static const char begin[] = "events.out.tfevents.";
    size_t n = strlen(name), digits = sizeof begin - 1;
    if (strncmp(name, begin, digits) != 0 || strspn(name + digits, "0123456789") != 10 || name[digits + 10] != '.' || n < digits + 16) return false;
    size_t host = digits + 11, end = n - 4, last = end;
    while (last > host && name[last - 1] != '.') last--;
    return name[end] == '.' && strspn(name + end + 1, "0123456789") == 3 && strspn(name + last, "0123456789") < end - last;
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

void cli_begin_output(const common_args *args, const char *folder, const char *model, const char *const *events)
{
    struct stat info;
    char *path = cli_join(folder, model);
    if (stat(path, &info) == 0) cli_note(args, "%s is there already, and is replaced when this training ends", path);
    free(path);
    for (; *events; events++) {
        remove_events(path = cli_join(folder, *events));
        free(path);
    }
}

void cli_note_checkpoints(const common_args *args, const char *folder)
{
    long long newest = -1;
    DIR *open = opendir(folder);
    for (struct dirent *e; open && (e = readdir(open));) {
        char *end;
        long long step = !strncmp(e->d_name, "checkpoint-", 11) ? strtoll(e->d_name + 11, &end, 10) : -1;
        if (step > newest && !*end) newest = step;
    }
    if (open) closedir(open);
    if (newest >= 0)
        cli_note(args, "%s/checkpoint-%lld is of an older training: where this one has not come as far, "
                       "`--resume-from-checkpoint latest` takes it", folder, newest);
}
