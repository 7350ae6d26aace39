/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * epoch: sections, stamps and scans (G1 to G4 in lib/epoch.c). Two readers open two sections each and look at what `current`
 * names then; a writer names another object, twice, and frees what it replaced once the stamp has passed. Nobody may hold what is
 * freed.
 *
 * Mutations: NO_FENCE_ENTER (G1: no fence behind `active`), STAMP_BEFORE_UNLINK (G2).
 */
#define READERS   2
#define PROCESSES 3
#define WRITER    2
#define CURRENT   0
#define NOW       1
#define ACTIVE(r) (2 + (r))
#define SINCE(r)  (4 + (r))
#define WORDS     6
#define SECTIONS  2
#define NOTHING   255

#include "memory.pml"

byte holds[READERS] = NOTHING;
bit freed[3];

init
{
    atomic {
        word[NOW] = 1;
        run reader(0);
        run reader(1);
        run writer()
    }
}

inline enter(r)
{
    load(r, NOW, seen);
    store_release(r, SINCE(r), seen);
    store_relaxed(r, ACTIVE(r), 1);
#ifndef NO_FENCE_ENTER
    fence(r)
#endif
}

inline leave(r)
{
    store_release(r, SINCE(r), seen);
    store_release(r, ACTIVE(r), 0)
}

proctype reader(byte r)
{
    byte at, seen, object, n;
    do
    :: n < SECTIONS ->
        enter(r);
        atomic {
            load(r, CURRENT, object);
            holds[r] = object;
            assert(!freed[object])
        }
        object = 0;
        holds[r] = NOTHING; /* the last look at it */
        leave(r);
        seen = 0;
        n++
    :: else -> break
    od
}

inline stamp()
{
    fence(WRITER);
    atomic { s = word[NOW]; word[NOW]++ }
}

inline scan()
{
    load(WRITER, NOW, floor);
    fence(WRITER);
    r = 0;
    do
    :: r < READERS ->
        load(WRITER, ACTIVE(r), is_active);
        load(WRITER, SINCE(r), since);
        if
        :: is_active && since < floor -> floor = since
        :: else
        fi;
        r++
    :: else -> break
    od;
    is_active = 0;
    since = 0;
    r = 0
}

inline replace(old, new)
{
#ifdef STAMP_BEFORE_UNLINK
    stamp();
    store_relaxed(WRITER, CURRENT, new);
#else
    store_relaxed(WRITER, CURRENT, new);
    stamp();
#endif
    scan();
    if
    :: floor > s -> atomic { freed[old] = 1; assert(holds[0] != old && holds[1] != old) }
    :: else
    fi;
    floor = 0
}

proctype writer()
{
    byte at, s, floor, r, is_active, since;
    replace(0, 1);
    replace(1, 2)
}
