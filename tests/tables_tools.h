/* For tests of `hone train`: tables that it learns from. */
#ifndef HONE_TEST_TABLES_TOOLS_H
#define HONE_TEST_TABLES_TOOLS_H

#include "program.h"

#define IRIS HONE_SOURCE_DIR "/examples/data/iris.csv"

/* Lines of iris.csv in another order: `first`, and each `step`-th behind it, with its head. */
static inline void write_irises(const char *name, int first, int step, const char *more)
{
    char *all = read_all(IRIS), *at = all;
    FILE *file = fopen(place(name), "w");
    assert_non_null(file);
    for (int line = 0; *at; line++) {
        int n = (int)strcspn(at, "\n");
        if (!line || (line - 1 >= first && (line - 1 - first) % step == 0)) fprintf(file, "%.*s\n", n, at);
        at += n + (at[n] == '\n');
    }
    fputs(more, file);
    fclose(file);
    free(all);
}

/* 40 rows: a number, one of 4 texts, and what `target` gives for the row, under the names a, b and y. */
static inline void write_rows(const char *name, char delimiter, const char *(*target)(int row))
{
    FILE *file = fopen(place(name), "w");
    assert_non_null(file);
    fprintf(file, "a%cb%cy\n", delimiter, delimiter);
    for (int i = 0; i < 40; i++) fprintf(file, "%d.5%ct%d%c%s\n", i, delimiter, i % 4, delimiter, target(i));
    fclose(file);
}

static inline const char *fine(int row)
{
    static char number[16];
    snprintf(number, sizeof number, "%d.25", row * 3);
    return number;
}

#endif
