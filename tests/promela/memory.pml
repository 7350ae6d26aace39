/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memory: shared words behind a store buffer for each process. A store waits in the buffer of who made it, who sees it, until it
 * takes effect for all; that is when `buffers` chooses. Stores to different words do so in any order, but for one by release,
 * which comes after all that were made before it. A read-modify-write, and a fence, wait until the buffer is empty. Loads are
 * made in the order of the program: what they may see besides is for the tests' scheduler (tests/weak.h).
 *
 * Before including this: PROCESSES, WORDS, the least of each that do. A process calls with its own number.
 */
#define PLACES 6 /* in a buffer; a store waits while it is full */
#define AT(p, i) ((p) * PLACES + (i))

byte word[WORDS];
byte n_waiting[PROCESSES];
byte to_word[PROCESSES * PLACES], value[PROCESSES * PLACES];
bit by_release[PROCESSES * PLACES];

inline put(who, which, what, order)
{
    atomic {
        n_waiting[who] < PLACES;
        to_word[AT(who, n_waiting[who])] = which;
        value[AT(who, n_waiting[who])] = what;
        by_release[AT(who, n_waiting[who])] = order;
        n_waiting[who]++
    }
}

#define store_relaxed(p, w, v) put(p, w, v, 0)
#define store_release(p, w, v) put(p, w, v, 1)

inline load(who, which, result)
{
    d_step {
        result = word[which];
        at = 0;
        do
        :: at < n_waiting[who] ->
            if
            :: to_word[AT(who, at)] == which -> result = value[AT(who, at)]
            :: else
            fi;
            at++
        :: else -> break
        od;
        at = 0
    }
}

inline fence(who) { n_waiting[who] == 0 }

inline exchange(who, which, what)
{
    atomic { n_waiting[who] == 0; word[which] = what }
}

/* success: did the word hold `expected`? Then it is v. */
inline compare_and_swap(who, which, expected, what, success)
{
    atomic {
        n_waiting[who] == 0;
        success = word[which] == expected;
        if
        :: success -> word[which] = what
        :: else
        fi
    }
}

/* One store of p's takes effect: any that no earlier one to the same word, and if it is by release none at all, waits before. */
inline take_effect(p)
{
    i = 0;
    do
    :: i + 1 < n_waiting[p] -> i++
    :: break
    od;
    may = !(by_release[AT(p, i)] && i > 0);
    j = 0;
    do
    :: j < i -> may = may && to_word[AT(p, j)] != to_word[AT(p, i)]; j++
    :: else -> break
    od;
    if
    :: may ->
        word[to_word[AT(p, i)]] = value[AT(p, i)];
        do
        :: i + 1 < n_waiting[p] ->
            to_word[AT(p, i)] = to_word[AT(p, i + 1)];
            value[AT(p, i)] = value[AT(p, i + 1)];
            by_release[AT(p, i)] = by_release[AT(p, i + 1)];
            i++
        :: else -> break
        od;
        to_word[AT(p, i)] = 0;
        value[AT(p, i)] = 0;
        by_release[AT(p, i)] = 0;
        n_waiting[p]--
    :: else
    fi;
    i = 0;
    j = 0;
    may = 0
}

active proctype buffers()
{
    byte i, j;
    bit may;
end:
    do
    :: atomic { n_waiting[0] > 0 -> take_effect(0) }
    :: atomic { n_waiting[1] > 0 -> take_effect(1) }
#if PROCESSES > 2
    :: atomic { n_waiting[2] > 0 -> take_effect(2) }
#endif
#if PROCESSES > 3
    :: atomic { n_waiting[3] > 0 -> take_effect(3) }
#endif
    od
}
