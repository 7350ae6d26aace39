/*
 * flowq-vhost: the flows of a vm that change their queues most, found by looking at its table again and again.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_VHOST_MOVES_H
#define FLOWQ_VHOST_MOVES_H

#include <flowq.h>
#include <stdint.h>

enum {
    MOVES_SHOWN = 16,
    MOVES_SLOTS = 1 << 16,          /* 1 MiB; a power of two */
    MOVES_WATCHED = MOVES_SLOTS / 2 /* flows at most, so that a search is short */
};

struct moves_flow {
    uint64_t id; /* of the binding; 0: none */
    uint32_t queue;
    uint32_t moves; /* how often it was found on another queue than the time before */
};

struct moves {
    struct flowq_vm *vm; /* whose flows they are */
    uint32_t n_watched, n_unwatched;
    uint32_t n_most;
    struct moves_flow most[MOVES_SHOWN]; /* those that moved, most moves first */
    struct moves_flow *before, *now;     /* MOVES_SLOTS each: the last look, and the one that is being taken */
};

/* Looks at all flows of the vm, and compares with the last look if that was at the same vm. *moves is made at the first call, and
   kept. 0 or -ENOMEM. */
int moves_look(struct moves **moves, struct flowq_vm *vm);

#endif /* FLOWQ_VHOST_MOVES_H */
