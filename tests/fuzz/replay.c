/*
 * Feeds inputs to a fuzzing entry point without a fuzzer. Inputs are lines of hexadecimal digits; lines that begin with # are
 * comments.
 *
 *     replay [file...]            runs each line; without arguments, of the seeds that it was built for
 *     replay -o folder file...    writes each line as a file of bytes into the folder, for libFuzzer
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUT 4096

/* The seeds of this program, in tests/fuzz. */
#ifndef SEEDS
#define SEEDS "parse.seeds"
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

static bool write_input(const char *folder, unsigned number, const uint8_t *data, size_t size)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/seed-%04u", folder, number);
    FILE *f = fopen(path, "wb");
    bool written = f && fwrite(data, 1, size, f) == size;
    if (f && fclose(f) != 0)
        written = false;
    if (!written)
        perror(path);
    return written;
}

/* All lines of one file; folder: where to write them, NULL to run them. Counts them in *n. */
static bool each_line(const char *path, const char *folder, unsigned *n)
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
        } else if (folder) {
            good = write_input(folder, *n, data, (size_t)size);
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
    const char *folder = NULL, *top = getenv("FLOWQ_SRCDIR");
    char seeds[4096];
    unsigned n = 0;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "-o") == 0) {
        folder = argv[2];
        first = 3;
    }
    if (first == argc) {
        snprintf(seeds, sizeof(seeds), "%s/tests/fuzz/" SEEDS, top ? top : ".");
        if (!each_line(seeds, folder, &n))
            return 1;
    }
    for (int i = first; i < argc; i++)
        if (!each_line(argv[i], folder, &n))
            return 1;
    printf("%u inputs %s\n", n, folder ? "written" : "replayed");
    return n == 0;
}
