/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * setters: which queue a packet gets while queues are switched, and reset (Q-A, Q-B in lib/queue.h). Three queues; two setters,
 * under their lock; a reader that asks for the fallback of a slot, and for what the guest's table says: queue 1. Each answer was
 * right at some instant of the call: while a setter is at work, what was and what will be both count.
 *
 * Mutations: NO_LOCK, TWO_WORDS (Q-B: in use and being reset, each loaded by itself).
 */
#define PROCESSES 3
#define READER    2
#define IN_USE    0
#define SLOT      1
#define SUMMARY   2 /* the lowest queue in use, or NONE */
#define STATES    3 /* in use, and being reset << 3 */
#define WORDS     4

#define NONE   3
#define CHOSEN 1
#define BIT(q) (1 << (q))

#include "memory.pml"

bit locked;
byte switched_on = 3, resetting; /* under the lock */

/* What may be answered: queues that may be in use, by bits, BIT(NONE) where none is; and what may be the state of CHOSEN. */
#define MAY_USE   1
#define MAY_OFF   2
#define MAY_RESET 4
byte queues_now = 3, queues_may = 3, state_now = MAY_USE, state_may = MAY_USE;

init
{
    atomic {
        word[IN_USE] = 3;
        word[STATES] = 3;
        word[SLOT] = 1;
        run setter(0);
        run setter(1);
        run reader()
    }
}

#define LOWEST(u) ((u) & 1 -> 0 : ((u) & 2 -> 1 : ((u) & 4 -> 2 : NONE)))
#define SEVERAL(u) ((u) == 3 || (u) == 5 || (u) == 6 || (u) == 7)

inline publish(self)
{
    use = switched_on & ~resetting;
    atomic { /* it begins: what will be may be */
        queues_now = queues_now | (use -> use : BIT(NONE));
        state_now = state_now | (resetting & BIT(CHOSEN) -> MAY_RESET : (use & BIT(CHOSEN) -> MAY_USE : MAY_OFF));
        queues_may = queues_may | queues_now;
        state_may = state_may | state_now
    }
    store_release(self, STATES, use | resetting << 3);
    store_release(self, IN_USE, use);
    load(self, SLOT, slot);
    if
    :: SEVERAL(use) && !(use & BIT(slot)) -> store_release(self, SLOT, LOWEST(use))
    :: else
    fi;
    store_release(self, SUMMARY, LOWEST(use));
    slot = 0;
    fence(self); /* who is told that it has returned has acquired what it did */
    atomic {
        queues_now = (use -> use : BIT(NONE));
        state_now = (resetting & BIT(CHOSEN) -> MAY_RESET : (use & BIT(CHOSEN) -> MAY_USE : MAY_OFF));
        use = 0
    }
}

inline take_lock()
{
#ifdef NO_LOCK
    skip
#else
    atomic { !locked; locked = 1 }
#endif
}

#define SET(self, change) \
    take_lock(); \
    change; \
    publish(self); \
    locked = 0

proctype setter(byte p)
{
    byte at, use, slot;
    if
    :: p == 0 ->
        SET(p, resetting = resetting | BIT(CHOSEN));
        SET(p, switched_on = switched_on & ~BIT(0));
        SET(p, resetting = resetting & ~BIT(CHOSEN))
    :: else ->
        SET(p, switched_on = switched_on | BIT(2));
        SET(p, switched_on = switched_on & ~BIT(CHOSEN));
        SET(p, switched_on = switched_on | BIT(CHOSEN))
    fi
}

inline begin_call()
{
    atomic {
        queues_may = queues_now;
        state_may = state_now
    }
}

inline fallback()
{
    begin_call();
    answer = NONE;
    tries = 0;
    do
    :: tries < 2 ->
        load(READER, SLOT, slot);
        load(READER, IN_USE, use);
        if
        :: use & BIT(slot) -> answer = slot; break
        :: else
        fi;
        tries++
    :: else ->
        load(READER, SUMMARY, answer);
        break
    od;
    assert(queues_may & BIT(answer));
    tries = 0;
    use = 0;
    slot = 0
}

/* lib/rss.c: rss_instead_of(), where the table does not change. */
inline by_table()
{
    begin_call();
    load(READER, IN_USE, use);
    if
    :: use & BIT(CHOSEN) -> assert(state_may & MAY_USE)
    :: else ->
        load(READER, STATES, slot);
#ifdef TWO_WORDS
        slot = slot & ~7 | use;
#endif
        if
        :: slot & BIT(CHOSEN) << 3 -> assert(state_may & MAY_RESET)
        :: slot & BIT(CHOSEN) -> assert(state_may & MAY_USE)
        :: else ->
            assert(state_may & MAY_OFF);
            load(READER, IN_USE, use);
            answer = LOWEST(use);
            if
            :: answer == NONE -> load(READER, SUMMARY, answer)
            :: else
            fi;
            assert(queues_may & BIT(answer))
        fi
    fi;
    use = 0;
    slot = 0
}

proctype reader()
{
    byte at, use, slot, answer, tries;
    fallback();
    by_table();
    fallback();
    by_table()
}
