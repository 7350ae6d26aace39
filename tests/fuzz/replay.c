/*
 * Feeds inputs to a fuzzing entry point without a fuzzer. Inputs are lines of hexadecimal digits; lines that begin with # are
 * comments.
 *
 *     replay [file...]    runs each line; without arguments, of the seeds that it was built for
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define MAX_INPUT 4096

/* The seeds of this program, in tests/fuzz. */
#ifndef SEEDS
#define SEEDS "parse.seeds"
#endif

/* Returns the number of bytes, -1 if the line is not of that form. */
static int from_hex(const char *line, uint8_t *to)
{
    size_t digits = strspn(line, "0123456789abcdef");
    if (digits % 2 || digits / 2 > MAX_INPUT || line[digits + strspn(line + digits, "\r\n")] != 0)
        return -1;
    for (size_t i = 0; i < digits / 2; i++) {
        const char pair[3] = {line[2 * i], line[2 * i + 1], 0};
        to[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return (int)(digits / 2);
}

/* All lines of one file. Counts them in *n. */
static bool each_line(const char *path, unsigned *n)
{
    static char line[2 * MAX_INPUT + 4];
    static uint8_t data[MAX_INPUT];
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        return false;
    }
    bool good = true;
    while (good && fgets(line, sizeof(line), f)) {
        if (line[0] == '#')
            continue;
        int size = from_hex(line, data);
        if (size < 0) {
            fprintf(stderr, "%s: not a line of hexadecimal digits: %s", path, line);
            good = false;
        } else {
            LLVMFuzzerTestOneInput(data, (size_t)size);
        }
        ++*n;
    }
    fclose(f);
    return good;
}

int main(int argc, char **argv)
{
    const char *top = getenv("FLOWQ_SRCDIR");
    char seeds[4096];
    unsigned n = 0;
    if (argc < 2) {
        snprintf(seeds, sizeof(seeds), "%s/tests/fuzz/" SEEDS, top ? top : ".");
        if (!each_line(seeds, &n))
            return 1;
    }
    for (int i = 1; i < argc; i++)
        if (!each_line(argv[i], &n))
            return 1;
    printf("%u inputs replayed\n", n);
    return n == 0;
}
