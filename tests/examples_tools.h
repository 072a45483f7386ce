/* For tests of the examples: running them as a reader would, from the project's folder, and reading what they print. */
#ifndef HONE_TEST_EXAMPLES_TOOLS_H
#define HONE_TEST_EXAMPLES_TOOLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a shell line; what it printed (both streams) into text, its exit status. */
static inline int run(const char *line, char *text, size_t size)
{
    char command[2000];
    snprintf(command, sizeof command, "cd '%s' && %s 2>&1", HONE_SOURCE_DIR, line);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t n = fread(text, 1, size - 1, pipe);
    text[n] = 0;
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The number behind the last place that says `what` lies between low and high. */
static inline void assert_figure(const char *text, const char *what, double low, double high)
{
    const char *at = NULL;
    for (const char *next = text; (next = strstr(next, what)); next += strlen(what)) at = next + strlen(what);
    if (!at) fail_msg("no '%s' in: %s", what, text);
    char *end;
    double value = strtod(at, &end);
    if (end == at || !(value > low && value < high)) fail_msg("%s%g is not between %g and %g", what, value, low, high);
}

/* The path of a set that scripts/get-data has put into its default folder; the test is skipped where it has not been fetched. */
static inline const char *fetched(const char *name)
{
    static char path[500];
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    snprintf(path, sizeof path, "%s%s/hone/data/%s", cache ? cache : home ? home : "", cache ? "" : "/.cache", name);
    if (access(path, R_OK)) {
        print_message("skipped: %s has not been fetched (scripts/get-data)\n", name);
        skip();
    }
    return path;
}

/* An example on a set that was fetched; in `line`, $set is its path, $at the folder of the programs. */
typedef struct short_form {
    const char *set, *line, *loss;
    double most_loss;
    const char *figure;
    double least;
} short_form;

static inline void test_on_real_data(void **state)
{
    const short_form *s = *state;
    char text[8000], line[1500];
    snprintf(line, sizeof line, "set='%s' at='" HONE_BINARY_DIR "'; %s", fetched(s->set), s->line);
    assert_int_equal(run(line, text, sizeof text), 0);
    assert_figure(text, s->loss, 0, s->most_loss);
    assert_figure(text, s->figure, s->least, 1.001);
}

#define REAL(name) {"test_" #name "_on_real_data", test_on_real_data, NULL, NULL, (void *)(uintptr_t)&(name)}

#endif
