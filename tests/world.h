/*
 * world: one vm of the random sequences, the model of it, and the operations that are done to both.
 *
 * Each operation compares what flowq did with what the model allows; world_wrong() says what is wrong and ends the test.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_WORLD_H
#define FLOWQ_TESTS_WORLD_H

#include "model.h"
#include "universe.h"

#define DATAGRAMS 40
#define HISTORY   24

struct datagram {
    uint32_t connection;
    struct frame first, later;
};

/* One vm, and what ought to be true of it. */
struct world {
    uint64_t seed;
    uint32_t round, operation, operations;
    struct rng rng;
    struct flowq_vm *vm, *other; /* other: one queue, so that there are two */
    struct flowq_vm_config cfg;
    struct universe_rules rules;
    const struct universe *universe;
    struct model model;
    uint32_t first_connection, n_connections;
    struct datagram datagram[DATAGRAMS];
    uint32_t next_id;
    bool held_section, can_rebind;
    bool calm;              /* the clock and the queues seldom move far: most is certain */
    uint32_t stalled_until; /* operation */

    uint64_t notes, steers, refused, known_note[FLOWQ_NOTE_SLOTS], known_steer[FLOWQ_REASON_SLOTS], steered[MODEL_MAX_PAIRS],
        forgotten;
    uint64_t elsewhere_least, elsewhere_most;   /* packets whose flow was bound to a queue not in use */
    uint64_t queue_noted[MODEL_MAX_PAIRS];      /* ns: when a note last named it; 0: never */
    uint64_t queue_noted_from[MODEL_MAX_PAIRS]; /* the same at the earliest, by the vm's reckoning */
    bool note_unknown, steer_unknown, ever_crowded;
    char history[HISTORY][96];
    uint32_t n_history;
};

_Noreturn void world_wrong(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Random settings, of those that may change while a vm runs; w->rules follow from w->cfg. */
void world_pick_settings(struct world *w, struct flowq_vm_config *c, bool rebind);
void world_set_rules(struct world *w);
void world_new_datagram(struct world *w, uint32_t at);

/* Operations. */
void world_note(struct world *w);
void world_note_burst(struct world *w);
void world_steer(struct world *w);
void world_steer_burst(struct world *w, bool decide);
void world_change_queues(struct world *w);
void world_open_queues(struct world *w);
void world_configure(struct world *w);
void world_reset(struct world *w);
void world_move_clock(struct world *w);
void world_hold_section(struct world *w);
void world_look_up(struct world *w, uint32_t flow);

#endif
