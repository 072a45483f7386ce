/* Progress on stderr. */
#include "cli.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool progress_is_terminal(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

static size_t terminal_width(void)
{
    struct winsize size;
    return !ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col >= 20 ? size.ws_col : 80;
}

void progress_show(progress *p, const hone_progress *state)
{
    if (p->off) return;
    bool terminal = progress_is_terminal(), last = state->total && state->done >= state->total;
    double now = cli_now();
    if (p->began == 0) p->began = now;
    /* Lines come five seconds apart at first, and never more than some hundred while the time grows tenfold. */
    double pause = terminal ? 0.1 : (now - p->began) / 100 > 5 ? (now - p->began) / 100 : 5;
    if (p->drawn != 0 && !last && now - p->drawn < pause) return;
    p->drawn = now;
    char line[300];
    hone_progress shown = *state;
    fflush(stdout);
    if (terminal) {
        size_t width = terminal_width();
        hone_progress_text(line, width < sizeof line ? width : sizeof line, &shown);
        fprintf(stderr, "\r%s\033[K", line);
        fflush(stderr);
        p->open = true;
        return;
    }
    shown.width = 1;
    hone_progress_text(line, sizeof line, &shown);
    const char *bar = strstr(line, "] "); /* a picture is of no use in a log */
    fprintf(stderr, "%s %s\n", p->unit ? p->unit : "step", bar ? bar + 2 : line);
}

void progress_end(progress *p)
{
    if (p->open) fputc('\n', stderr);
    p->open = false;
}
