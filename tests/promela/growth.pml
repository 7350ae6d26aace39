/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * growth: freeze, copy, clear (T-A, T-B), and then growth (T-D). The flow F is in its home slot on queue 1. A newcomer has it
 * move to its second line, and takes its slot; then the shard is copied into a new one, where F is at home again, and the
 * directory names that. Meanwhile a note moves F to queue 2, and readers look for it, each twice: it is never missed, never goes
 * back, and who begins after the note has returned finds queue 2.
 *
 * Mutations: NO_FREEZE (T-A), COUNT_LATE (T-B: counted when it has left its slot), COUNT_RELAXED, LEAVE_RELAXED (T-B: no order
 * between the three stores), NAME_FIRST (T-D).
 */
#define PROCESSES 4
#define MOVER     0
#define NOTER     1
#define HOME      0 /* of F: in the old shard */
#define SECOND    1
#define SERVICE   2
#define NEW_HOME  3
#define DIRECTORY 4 /* 0: the old shard, 1: the new one */
#define WORDS     5

#define NEWCOMER   3 /* a slot's word: this, or F's queue and perhaps FROZEN; 0: empty */
#define FROZEN     4
#define IS_F(w)    ((w) != 0 && (w) != NEWCOMER)
#define QUEUE(w)   ((w) & 3)

#include "memory.pml"

bit returned; /* from the note */

init
{
    atomic {
        word[HOME] = 1;
        run mover();
        run noter();
        run reader(2);
        run reader(3)
    }
}

/* The word of a slot, after which nobody changes it. */
inline freeze(place, was)
{
    do
    ::
        load(MOVER, place, was);
#ifdef NO_FREEZE
        break;
#endif
        compare_and_swap(MOVER, place, was, was | FROZEN, done);
        if
        :: done -> break
        :: else
        fi
    od;
    done = 0
}

proctype mover()
{
    byte at, w;
    bit done;
    freeze(HOME, w);
#ifdef COUNT_RELAXED
    store_relaxed(MOVER, SERVICE, 1);
    store_relaxed(MOVER, SECOND, w);
#else
#ifndef COUNT_LATE
    store_release(MOVER, SERVICE, 1);
#endif
    store_release(MOVER, SECOND, w);
#endif
#if defined(LEAVE_RELAXED) || defined(COUNT_RELAXED)
    store_relaxed(MOVER, HOME, NEWCOMER);
#else
    store_release(MOVER, HOME, NEWCOMER);
#endif
#ifdef COUNT_LATE
    store_release(MOVER, SERVICE, 1);
#endif
    /* Growth. The second slot is all there is of F. */
#ifdef NAME_FIRST
    exchange(MOVER, DIRECTORY, 1);
#endif
    freeze(SECOND, w);
    store_relaxed(MOVER, NEW_HOME, w);
    exchange(MOVER, DIRECTORY, 1);
    w = 0
}

/* F's slot and its word; 0: missed. */
inline find(self)
{
    load(self, DIRECTORY, d);
    if
    :: d -> slot = NEW_HOME; load(self, slot, w)
    :: else ->
        slot = HOME;
        load(self, slot, w);
        if
        :: !IS_F(w) ->
            load(self, SERVICE, d);
            if
            :: d -> slot = SECOND; load(self, slot, w)
            :: else -> w = 0
            fi
        :: else
        fi
    fi;
    d = 0;
    if
    :: !IS_F(w) -> w = 0
    :: else
    fi
}

proctype noter()
{
    byte at, w, slot, d;
    bit done;
    do
    ::
        find(NOTER);
        assert(w);
        if
        :: w & FROZEN -> skip /* again, when it has been moved */
        :: else ->
            compare_and_swap(NOTER, slot, w, 2, done);
            if
            :: done -> break
            :: else
            fi
        fi
    od;
    returned = 1
}

proctype reader(byte p)
{
    byte at, w, slot, d, last = 1, n;
    do
    :: n < 2 ->
        if
        :: returned -> last = 2
        :: else
        fi;
        find(p);
        assert(w);
        assert(QUEUE(w) >= last);
        last = QUEUE(w);
        w = 0;
        slot = 0;
        n++
    :: else -> break
    od
}
