/*
 * tree: files of the source tree, for tests that compare what is written in several of them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_TREE_H
#define FLOWQ_TESTS_TREE_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file as text, which the caller frees; FLOWQ_SRCDIR names the tree. */
static inline char *tree_read(const char *path)
{
    const char *dir = getenv("FLOWQ_SRCDIR");
    char name[4096];
    snprintf(name, sizeof(name), "%s/%s", dir ? dir : ".", path);
    FILE *f = fopen(name, "r");
    ck_assert_msg(f != NULL, "cannot open %s (FLOWQ_SRCDIR names the tree)", name);
    size_t room = 1 << 20;
    char *text = calloc(1, room);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_lt(fread(text, 1, room - 1, f), room - 1);
    fclose(f);
    return text;
}

/* Has a page of the manual a line that begins with this macro (".It Fa ") and names this word? One line may name several. */
static inline bool page_names(const char *page, const char *macro, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = page; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t length = strcspn(line, "\n");
        if (strncmp(line, macro, strlen(macro)) != 0)
            continue;
        for (const char *at = line; (at = strstr(at, name)) && at < line + length; at++)
            if (at[-1] == ' ' && strchr(" \n[", at[n]) != NULL)
                return true;
    }
    return false;
}

#endif
