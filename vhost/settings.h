/*
 * flowq-vhost: what the environment variable FLOWQ_VHOST asks for. The library proper reads no environment.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_VHOST_SETTINGS_H
#define FLOWQ_VHOST_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct settings {
    uint32_t max_flows;      /* 0: the library's default */
    uint32_t rebind_min_us;  /* 0: off */
    uint32_t tunnels;        /* FLOWQ_TUNNEL_*; 0: the library's default */
    bool off;                /* every call is handed on */
    bool ordered;            /* flows move in order */
    uint32_t ordered_max_us; /* 0: the library's default */
    bool no_fetch;           /* what librte_vhost waits for is not fetched ahead */
    bool no_drain;           /* transmit rings that are switched off are left to librte_vhost */
    const char *state;       /* the folder of saved flows, state_length bytes of the text; NULL: none are saved */
    size_t state_length;
    uint32_t save_every; /* seconds; 0: only when there is a reason */
    const char *leave;   /* the text of the variable, in which "leave=PATH" is looked for; or NULL */
};

/*
 * Reads `text`, a list separated by commas; NULL: nothing is asked for. What is wrong is handed to `complain`, word by word, and
 * ignored. `text` must stay.
 */
void settings_read(struct settings *settings, const char *text, void (*complain)(const char *word, int length, const char *why));

/* Does a "leave=" name this socket? */
bool settings_leave(const struct settings *settings, const char *path);

#endif /* FLOWQ_VHOST_SETTINGS_H */
