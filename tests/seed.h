/*
 * seed: random numbers that can be had again.
 *
 * A program prints its seed when it starts; FLOWQ_SEED in the environment sets it. FLOWQ_LONG=1 asks for the long variant.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_SEED_H
#define FLOWQ_TESTS_SEED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Sanitizers, and emulated processors, take so many times as long: tests do so much less. */
#if defined(SEED_SLOWNESS) /* by who builds them once more */
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !(defined(__x86_64__) || defined(__i386__))
#define SEED_SLOWNESS 8
#else
#define SEED_SLOWNESS 1
#endif

struct rng {
    uint64_t state;
};

/* SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 to n-1; n at least 1. */
static inline uint32_t rng_below(struct rng *r, uint32_t n) { return (uint32_t)((rng_next(r) >> 32) * n >> 32); }

/* low to high, both included. */
static inline uint32_t rng_range(struct rng *r, uint32_t low, uint32_t high) { return low + rng_below(r, high - low + 1); }

static inline bool rng_percent(struct rng *r, uint32_t percent) { return rng_below(r, 100) < percent; }

static inline uint64_t seed_get(const char *program)
{
    const char *text = getenv("FLOWQ_SEED");
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t seed =
        text && *text ? strtoull(text, NULL, 0) : ((uint64_t)t.tv_nsec << 20 ^ (uint64_t)t.tv_sec ^ (uint64_t)getpid() << 44);
    printf("%s: FLOWQ_SEED=%llu\n", program, (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

static inline bool seed_long(void)
{
    const char *text = getenv("FLOWQ_LONG");
    return text && *text && *text != '0';
}

#endif
