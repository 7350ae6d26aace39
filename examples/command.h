/*
 * How the switches of this folder are called, and told what to do while they run. PROGRAM is the one that includes this.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef COMMAND_H
#define COMMAND_H

#include "steer.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXIT_USAGE = 2 };

/* text: what is wrong, or NULL. */
_Noreturn static inline void bad_usage(const char *what, const char *text)
{
    fprintf(stderr, PROGRAM ": %s%s%s; " PROGRAM " --help tells more\n", what, text == NULL ? "" : ": ",
            text == NULL ? "" : text);
    exit(EXIT_USAGE);
}

static inline uint32_t number(const char *option, const char *text, uint32_t least, uint32_t most)
{
    char what[96], *end;

    unsigned long value = strtoul(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && value >= least && value <= most)
        return (uint32_t)value;
    snprintf(what, sizeof(what), "%s must be a number from %u to %u", option, least, most);
    bad_usage(what, text);
}

static inline enum steer parse_steer(const char *text)
{
    enum steer steer = steer_named(text);
    if (steer == N_STEER)
        bad_usage("steer is auto, hash or queue0", text);
    return steer;
}

/* Before the first thread starts: only sigwait() takes them. */
static inline sigset_t block_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signals;
}

#endif /* COMMAND_H */
