/*
 * How the receive queue of a port is chosen, for the switches of this folder.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef STEER_H
#define STEER_H

#include <string.h>

enum steer { STEER_AUTO, STEER_HASH, STEER_QUEUE0, N_STEER };

static inline const char *steer_name(enum steer steer)
{
    static const char *const names[N_STEER] = {"auto", "hash", "queue0"};
    return names[steer];
}

/* N_STEER if there is none of that name. */
static inline enum steer steer_named(const char *name)
{
    int i = 0;
    while (i < N_STEER && strcmp(name, steer_name((enum steer)i)) != 0)
        i++;
    return (enum steer)i;
}

#endif /* STEER_H */
