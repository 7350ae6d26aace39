/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_fetch: which lines the drop-in asks for ahead (vhost/fetch.c), against a naive list, for rings of any size, split and
 * packed, wherever librte_vhost stands in them, with what a hostile guest may write there. Then what it takes for the gate to
 * open.
 */
#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The lines that were asked for: memory of the guest, or of its rings, as numbers of lines. */
static void asked_for(uintptr_t at);
#define FETCH_LINE(at, to_write) ((void)(to_write), asked_for((uintptr_t)(at)))
#include "fetch.c"

#include "holder.h"
#include "runner.h"
#include "seed.h"

enum { SIZE_MOST = 256, REGIONS_MOST = 4, LINES_MOST = 4096, REGION_SIZE = 8192 };

struct real real;
static uint64_t base_seed;

struct lines {
    uintptr_t at[LINES_MOST];
    uint32_t n;
};
static struct lines asked;

static void add(struct lines *lines, uintptr_t address)
{
    for (uint32_t i = 0; i < lines->n; i++)
        if (lines->at[i] == address / 64)
            return;
    ck_assert_uint_lt(lines->n, LINES_MOST);
    lines->at[lines->n++] = address / 64;
}

static void asked_for(uintptr_t at) { add(&asked, at); }

static void must_be(const struct lines *wanted)
{
    for (uint32_t i = 0; i < wanted->n; i++) {
        uint32_t before = asked.n;
        add(&asked, wanted->at[i] * 64);
        ck_assert_msg(asked.n == before, "line %u of %u was not asked for", i, wanted->n);
    }
    ck_assert_uint_eq(asked.n, wanted->n);
}

/* ---- A guest and its rings ------------------------------------------------------------------------------------------------ */

struct world {
    struct rng rng;
    struct {
        uint16_t flags, idx, ring[SIZE_MOST + 1];
    } avail;
    struct {
        uint16_t flags, idx;
        struct vring_used_elem ring[SIZE_MOST];
    } used;
    struct vring_desc desc[SIZE_MOST + 1]; /* the last one is beyond the ring */
    struct vring_packed_desc packed[SIZE_MOST];
    struct fetch fetch;
};

static struct world *world;

/* Mostly in one of the regions, or across its end; sometimes anywhere. */
static uint64_t some_address(void)
{
    if (rng_percent(&world->rng, 10))
        return rng_next(&world->rng);
    const struct fetch_region *region = &world->fetch.regions[rng_below(&world->rng, world->fetch.n_regions)];
    return region->guest + rng_below(&world->rng, REGION_SIZE + 64);
}

static void make_ring(bool packed)
{
    struct fetch_ring *ring = &world->fetch.ring[6];
    uint16_t size = (uint16_t)(packed ? rng_range(&world->rng, 1, SIZE_MOST) : 1u << rng_below(&world->rng, 9));

    memset(ring, 0, sizeof(*ring));
    ring->size = size;
    if (packed)
        ring->packed = world->packed;
    else {
        ring->avail = (const struct vring_avail *)&world->avail;
        ring->used = (const struct vring_used *)&world->used;
        ring->desc = world->desc;
    }
    atomic_store(&ring->next, packed ? (uint16_t)(rng_below(&world->rng, size) | rng_below(&world->rng, 2) << 15)
                                     : (uint16_t)rng_next(&world->rng));
    world->avail.idx = (uint16_t)(atomic_load(&ring->next) + rng_below(&world->rng, 80));
    for (uint32_t i = 0; i < size; i++) {
        bool lie = rng_percent(&world->rng, 10);
        world->avail.ring[i] = (uint16_t)(lie ? rng_next(&world->rng) : rng_below(&world->rng, size));
        world->desc[i] = (struct vring_desc){.addr = some_address(),
                                             .len = rng_below(&world->rng, 2000),
                                             .flags = (uint16_t)rng_below(&world->rng, 4),
                                             .next = (uint16_t)(!lie                           ? rng_below(&world->rng, size)
                                                                : rng_percent(&world->rng, 50) ? size
                                                                                               : rng_next(&world->rng))};
        world->packed[i] = (struct vring_packed_desc){.addr = some_address(), .flags = (uint16_t)rng_next(&world->rng)};
    }
    world->desc[size] = (struct vring_desc){.addr = some_address()};
}

static void make_world(uint32_t round)
{
    world = calloc(1, sizeof(*world));
    ck_assert_ptr_nonnull(world);
    world->rng.state = base_seed + round;
    world->fetch.n_regions = rng_range(&world->rng, 1, REGIONS_MOST);
    for (uint32_t i = 0; i < world->fetch.n_regions; i++)
        world->fetch.regions[i] = (struct fetch_region){.guest = UINT64_C(0x100000) * (i + 1) + rng_below(&world->rng, 64),
                                                        .size = REGION_SIZE,
                                                        .here = 0x7f0000000000 + 0x400000 * (uintptr_t)i};
    asked.n = 0;
}

/* ---- What should be asked for --------------------------------------------------------------------------------------------- */

static void naive_buffer(struct lines *lines, uint64_t address, uint64_t length)
{
    for (uint32_t i = 0; i < world->fetch.n_regions; i++) {
        const struct fetch_region *r = &world->fetch.regions[i];
        if (address < r->guest || address >= r->guest + r->size)
            continue;
        uintptr_t at = r->here + (uintptr_t)(address - r->guest);
        add(lines, at);
        if ((at + length - 1) / 64 > at / 64)
            add(lines, at + 64);
        return;
    }
}

static void naive_split(struct lines *lines, const struct fetch_ring *ring, uint32_t n, uint32_t length, bool chains)
{
    uint16_t next = atomic_load(&ring->next);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t used = (uint16_t)(next + i) % ring->size, id = world->avail.ring[used];
        if (i == 0 || i == n - 1)
            add(lines, (uintptr_t)&world->used.ring[used]);
        if (id >= ring->size)
            continue;
        const struct vring_desc *desc = &world->desc[id];
        add(lines, (uintptr_t)desc);
        naive_buffer(lines, desc->addr, !chains ? length : desc->len < 64 ? desc->len : 64);
        if (chains && desc->flags % 2 == 1 && desc->next < ring->size)
            naive_buffer(lines, world->desc[desc->next].addr, 64);
    }
}

START_TEST(receive_rings)
{
    for (uint32_t round = 0; round < 4000 / SEED_SLOWNESS; round++) {
        struct lines wanted = {.n = 0};
        make_world(round);
        make_ring(round % 2);
        uint32_t n = rng_below(&world->rng, 70), length = rng_below(&world->rng, 1600), most = n < 64 ? n : 64;
        const struct fetch_ring *ring = &world->fetch.ring[6];
        if (round % 2 == 0)
            naive_split(&wanted, ring, most, length + 12, false);
        for (uint32_t i = 0; round % 2 == 1 && i < most; i++)
            naive_buffer(&wanted, world->packed[((atomic_load(&ring->next) & 0x7fff) + i) % ring->size].addr, length + 12);
        fetch_receive(&world->fetch, 6, n, length);
        must_be(&wanted);
        free(world);
    }
}
END_TEST

START_TEST(transmit_rings)
{
    uint32_t there = 0;

    for (uint32_t round = 0; round < 4000 / SEED_SLOWNESS; round++) {
        struct lines wanted = {.n = 0};
        make_world(round);
        make_ring(round % 2);
        uint32_t n = rng_below(&world->rng, 70), most = n < 64 ? n : 64;
        const struct fetch_ring *ring = &world->fetch.ring[6];
        uint16_t next = atomic_load(&ring->next);
        if (round % 2 == 0) {
            uint16_t ready = (uint16_t)(world->avail.idx - next);
            naive_split(&wanted, ring, ready < most ? ready : most, 0, true);
        }
        /* Some in a row are available. */
        uint32_t good = rng_below(&world->rng, 2u * ring->size);
        for (uint32_t i = 0; round % 2 == 1 && i < ring->size && i < good; i++) {
            uint32_t lap = (next & 0x7fff) + i;
            uint16_t wrap = (next >> 15) ^ (lap >= ring->size);
            world->packed[lap % ring->size].flags = (uint16_t)(wrap << 7 | (wrap ^ 1) << 15);
        }
        for (uint32_t i = 0; round % 2 == 1 && i < most; i++) {
            uint32_t lap = (next & 0x7fff) + i;
            const struct vring_packed_desc *desc = &world->packed[lap % ring->size];
            bool wrap = ((next >> 15) ^ (lap / ring->size)) & 1;
            if ((desc->flags >> 7 & 1) != wrap || (desc->flags >> 15 & 1) == wrap)
                break;
            naive_buffer(&wanted, desc->addr, 64);
        }
        there += wanted.n > 0;
        fetch_transmit(&world->fetch, 6, n);
        must_be(&wanted);
        free(world);
    }
    ck_assert_uint_gt(there, 4000 / SEED_SLOWNESS / 4);
}
END_TEST

/* The first lines of the rings that the last burst was for, at most so many. make_ring() makes number 6, pair 3. */
START_TEST(early_rings)
{
    for (uint32_t round = 0; round < 200; round++) {
        struct lines wanted = {.n = 0};
        make_world(round);
        uint64_t pairs = rng_next(&world->rng) & rng_next(&world->rng) & ~(UINT64_C(1) << 3);
        fetch_remember(&world->fetch, pairs);
        for (uint32_t pair = 0, n = 0; pair < 64; pair++) {
            struct fetch_ring *ring = &world->fetch.ring[2 * pair];
            if (pair != 3) {
                make_ring(pair % 2);
                memcpy(ring, &world->fetch.ring[6], sizeof(*ring));
            }
            if (pair % 5 == 4)
                ring->size = 0; /* not in use */
            if ((pairs >> pair & 1) == 0 || n++ >= FETCH_EARLY || ring->size == 0)
                continue;
            uint16_t next = atomic_load(&ring->next);
            if (ring->packed != NULL)
                add(&wanted, (uintptr_t)&world->packed[next & 0x7fff]);
            else {
                add(&wanted, (uintptr_t)&world->avail.idx);
                add(&wanted, (uintptr_t)&world->avail.ring[next % ring->size]);
            }
        }
        fetch_early(&world->fetch);
        must_be(&wanted);
        free(world);
    }
}
END_TEST

START_TEST(rings_not_in_use)
{
    make_world(0);
    fetch_receive(&world->fetch, 6, 32, 60);
    fetch_transmit(&world->fetch, 7, 32);
    make_ring(false);
    fetch_receive(&world->fetch, 6, 0, 60);
    world->avail.idx = atomic_load(&world->fetch.ring[6].next);
    fetch_transmit(&world->fetch, 6, 32);
    ck_assert_uint_eq(asked.n, 0);
    free(world);
}
END_TEST

/* ---- The gate: a librte_vhost of a few variables -------------------------------------------------------------------------- */

static uint64_t features;
static bool has_memory, short_packed;
static struct vring_packed_desc_event event;
static uint32_t memory_asked;
static uint16_t base;

static int get_memory(int vid, struct rte_vhost_memory **memory)
{
    (void)vid;
    ck_assert(has_memory);
    memory_asked++;
    *memory = calloc(1, sizeof(**memory) + 9 * sizeof((*memory)->regions[0]));
    ck_assert_ptr_nonnull(*memory);
    (*memory)->nregions = 9; /* one more than are kept */
    (*memory)->regions[0] = (struct rte_vhost_mem_region){.guest_phys_addr = 7, .host_user_addr = 8, .size = 9};
    return 0;
}

static int get_vring(int vid, uint16_t ring, struct rte_vhost_vring *vring)
{
    (void)vid;
    memset(vring, 0, sizeof(*vring));
    vring->size = 16;
    if ((features >> 34 & 1) != 0)
        vring->desc_packed = world->packed;
    if ((features >> 34 & 1) != 0 && !short_packed)
        vring->driver_event = vring->device_event = &event;
    if ((features >> 34 & 1) == 0) {
        vring->avail = (struct vring_avail *)&world->avail;
        vring->used = (struct vring_used *)&world->used;
        vring->desc = ring == 5 ? NULL : world->desc; /* not all of it is there */
    }
    return ring == 7 ? -1 : 0;
}

static int get_base(int vid, uint16_t ring, uint16_t *avail, uint16_t *used)
{
    (void)vid;
    (void)ring;
    *avail = *used = base;
    return 0;
}

static int get_features(int vid, uint64_t *what) { return (void)vid, *what = features, 0; }

static int hook_register(int vid, const struct rte_vhost_user_extern_ops *ops, void *ctx)
{
    return (void)vid, (void)ops, (void)ctx, 0;
}

static void use_small_librte_vhost(void)
{
    real = (struct real){.hook_register = hook_register,
                         .get_memory = get_memory,
                         .get_vring = get_vring,
                         .get_base = get_base,
                         .get_features = get_features};
    has_memory = true;
}

static bool is_open(struct fetch *fetch)
{
    bool open = fetch_enter(fetch);

    if (open)
        fetch_leave(fetch);
    ck_assert_uint_eq(atomic_load(&fetch->inside), 0);
    return open;
}

static void message(struct fetch *fetch, uint32_t request)
{
    fetch_before(fetch, request);
    ck_assert(!is_open(fetch));
    fetch_after(fetch, 1, request);
}

START_TEST(the_gate_opens_when_all_is_known)
{
    enum { SET_VRING_KICK = 12 };
    make_world(0);
    ck_assert_ptr_null(fetch_make()); /* nothing of librte_vhost is there */
    ck_assert(!fetch_enter(NULL));
    fetch_run(NULL, 1), fetch_stop(NULL), fetch_forget(NULL), fetch_before(NULL, 5), fetch_after(NULL, 1, 5),
        fetch_ready(NULL, 1, 0, true);
    use_small_librte_vhost();
    has_memory = false;
    struct fetch *fetch = fetch_make();
    ck_assert_ptr_nonnull(fetch);
    fetch_run(fetch, 1);
    for (uint32_t request = 0; request < 64; request++)
        if (request != SET_MEM_TABLE)
            message(fetch, request);
    ck_assert(!is_open(fetch)); /* no memory yet, and nobody asks for it, whatever comes by */
    ck_assert_uint_eq(memory_asked, 0);
    has_memory = true;
    base = 77;
    fetch_stop(fetch);
    message(fetch, SET_MEM_TABLE);
    ck_assert(!is_open(fetch)); /* it has not begun */
    fetch_run(fetch, 1);
    ck_assert(is_open(fetch));
    fetch_stop(fetch);
    message(fetch, SET_VRING_KICK);
    ck_assert(!is_open(fetch)); /* it has stopped */
    fetch_run(fetch, 1);
    ck_assert(is_open(fetch));
    ck_assert_uint_eq(fetch->n_regions, 8);
    ck_assert(fetch->regions[0].guest == 7 && fetch->regions[0].here == 8 && fetch->regions[0].size == 9);
    ck_assert_uint_eq(fetch->ring[4].size, 0); /* not in use */
    for (uint32_t r = 4; r <= 7; r++)
        fetch_ready(fetch, 1, r, true);
    fetch_ready(fetch, 1, 256, true);
    ck_assert(is_open(fetch));
    ck_assert_uint_eq(fetch->ring[4].size, 16);
    ck_assert_uint_eq(fetch->ring[5].size, 0);
    ck_assert_uint_eq(fetch->ring[6].size, 16);
    ck_assert_uint_eq(fetch->ring[7].size, 0);
    ck_assert_uint_eq(atomic_load(&fetch->ring[4].next), 77);
    base = 80;
    fetch_used(fetch, 1, 4);
    ck_assert_uint_eq(atomic_load(&fetch->ring[4].next), 80);
    fetch_ready(fetch, 1, 4, false);
    ck_assert_uint_eq(fetch->ring[4].size, 0);
    ck_assert_uint_eq(memory_asked, 1);
    /* A message that fails is not followed by another call. */
    fetch_before(fetch, SET_VRING_KICK);
    ck_assert(!is_open(fetch));
    fetch_ready(fetch, 1, 6, false);
    ck_assert(!is_open(fetch));
    message(fetch, SET_VRING_KICK);
    ck_assert(is_open(fetch));
    /* One about memory that fails leaves none. */
    fetch_before(fetch, ADD_MEM_REG);
    has_memory = false;
    message(fetch, SET_VRING_KICK);
    ck_assert(!is_open(fetch));
    has_memory = true;
    message(fetch, REM_MEM_REG);
    ck_assert(is_open(fetch));
    has_memory = false;
    for (uint32_t first = 0; first < 2; first++) { /* two ways to lose the table: then others about it come by */
        fetch_before(fetch, first == 0 ? RESET_OWNER : SET_MEM_TABLE);
        if (first == 0)
            fetch_after(fetch, 1, RESET_OWNER);
        message(fetch, ADD_MEM_REG);
        message(fetch, REM_MEM_REG);
        ck_assert(!is_open(fetch));
    }
    has_memory = true;
    features = UINT64_C(1) << 33;
    message(fetch, SET_MEM_TABLE);
    ck_assert(!is_open(fetch)); /* an IOMMU */
    features = UINT64_C(1) << 34;
    message(fetch, SET_VRING_KICK);
    ck_assert(is_open(fetch));
    fetch_ready(fetch, 1, 8, true);
    ck_assert_ptr_eq(fetch->ring[8].packed, world->packed);
    ck_assert_ptr_null(fetch->ring[8].avail);
    short_packed = true; /* librte_vhost tells of descriptors alone when not all of them are there */
    message(fetch, SET_VRING_KICK);
    ck_assert(is_open(fetch));
    ck_assert_uint_eq(fetch->ring[8].size, 0);
    fetch_forget(fetch);
    message(fetch, SET_VRING_KICK);
    ck_assert(!is_open(fetch));
    free(fetch);
    free(world);
}
END_TEST

static atomic_bool closed_now, over;
static atomic_uint n_inside;
static atomic_int mapped; /* what is read inside */

static void *close_it(void *fetch)
{
    fetch_stop(fetch);
    atomic_store(&closed_now, true);
    return NULL;
}

START_TEST(closing_waits_for_who_is_inside)
{
    make_world(0);
    use_small_librte_vhost();
    struct fetch *fetch = fetch_make();
    fetch_run(fetch, 1);
    message(fetch, SET_MEM_TABLE);
    ck_assert(fetch_enter(fetch));
    pthread_t closer = start(close_it, fetch);
    while (atomic_load(&fetch->open) != 0)
        sched_yield();
    usleep(30000);
    ck_assert(!atomic_load(&closed_now));
    ck_assert(!fetch_enter(fetch)); /* nobody else comes in */
    fetch_leave(fetch);
    pthread_join(closer, NULL);
    free(fetch);
    free(world);
}
END_TEST

static void *look_inside(void *arg)
{
    struct fetch *fetch = arg;

    while (!atomic_load(&over)) {
        if (!fetch_enter(fetch)) {
            sched_yield();
            continue;
        }
        for (uint32_t i = 0; i < 20; i++)
            MUST(atomic_load_explicit(&mapped, memory_order_relaxed) == 1);
        fetch_leave(fetch);
        if (atomic_fetch_add(&n_inside, 1) % 8 == 0)
            sched_yield();
    }
    return NULL;
}

/* While it is closed nobody is inside, however often that is. */
START_TEST(nobody_is_inside_while_it_is_closed)
{
    pthread_t readers[2];

    make_world(0);
    use_small_librte_vhost();
    struct fetch *fetch = fetch_make();
    fetch_run(fetch, 1);
    for (uint32_t i = 0; i < 2; i++)
        readers[i] = start(look_inside, fetch);
    for (uint32_t turn = 0; turn < (seed_long() ? 100000u : 2000u / SEED_SLOWNESS) || atomic_load(&n_inside) < 100; turn++) {
        fetch_before(fetch, SET_MEM_TABLE);
        atomic_store(&mapped, 0);
        for (uint32_t i = 0; i < turn % 50; i++)
            MUST(atomic_load(&mapped) == 0);
        atomic_store(&mapped, 1);
        fetch_after(fetch, 1, SET_MEM_TABLE);
    }
    atomic_store(&over, true);
    for (uint32_t i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    free(fetch);
    free(world);
}
END_TEST

int main(void)
{
    base_seed = seed_get("check_fetch");
    Suite *s = suite_create("fetch");
    TCase *tc = tcase_create("lines");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, receive_rings);
    tcase_add_test(tc, transmit_rings);
    tcase_add_test(tc, early_rings);
    tcase_add_test(tc, rings_not_in_use);
    suite_add_tcase(s, tc);
    tc = tcase_create("gate");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, the_gate_opens_when_all_is_known);
    tcase_add_test(tc, closing_waits_for_who_is_inside);
    tcase_add_test(tc, nobody_is_inside_while_it_is_closed);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
