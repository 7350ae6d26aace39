/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_vhost_fetch: that the drop-in reads rings ahead, when it may and never otherwise. The stub's rings lie in memory that
 * only the drop-in reads; here it is protected, and whoever touches it is seen. Then everything at once: while threads send and
 * read, memory is mapped anew, messages fail, the guest goes and comes, the path is unregistered; what was mapped before is
 * unmapped then, so that a late look ends the program.
 */
#include "runner.h"
#include "seed.h"
#include "vhost_program.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "holder.h"

#define PATH "/tmp/flowq-test.sock"

enum { PAIRS = 4, BURST_HERE = 32, PLATFORM = 33 };

static uint64_t base_seed;

/* ---- Who touches the memory ----------------------------------------------------------------------------------------------- */

static char *guarded;
static size_t guarded_size;
static volatile sig_atomic_t touched;

static void on_fault(int number, siginfo_t *info, void *context)
{
    char *at = info->si_addr;

    (void)context;
    if (at < guarded || at >= guarded + guarded_size || mprotect(guarded, guarded_size, PROT_READ | PROT_WRITE) != 0) {
        signal(number, SIG_DFL);
        return;
    }
    touched = 1;
}

static void guard(int vid)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &action, NULL);
    guarded = stub_memory(vid, &guarded_size);
    touched = 0;
    if (guarded != NULL)
        ck_assert_int_eq(mprotect(guarded, guarded_size, PROT_NONE), 0);
}

static bool was_touched(void)
{
    if (guarded != NULL)
        ck_assert_int_eq(mprotect(guarded, guarded_size, PROT_READ | PROT_WRITE), 0);
    return touched != 0;
}

/* A burst to the guest: does anybody read its rings ahead? */
static bool sending_looks(int vid)
{
    struct rte_mbuf *packets[BURST_HERE];

    for (uint32_t i = 0; i < BURST_HERE; i++)
        packets[i] = incoming(i, 0);
    guard(vid);
    uint16_t taken = rte_vhost_enqueue_burst(vid, 0, packets, BURST_HERE);
    bool looked = was_touched();
    ck_assert_uint_eq(taken, stub_memory(vid, &guarded_size) == NULL ? taken : BURST_HERE);
    for (uint32_t i = 0; i < BURST_HERE; i++)
        stub_free(packets[i]);
    for (uint32_t q = 0; q < PAIRS; q++)
        stub_room(vid, 2 * q, STUB_RING_SIZE);
    return looked;
}

/* The last of two calls: after one that found something. */
static bool reading_looks(int vid)
{
    struct rte_mbuf *packet;
    bool looked = false;

    for (uint32_t i = 0; i < 2; i++) {
        ck_assert(stub_transmit(vid, 3, outgoing(i, 0)));
        guard(vid);
        ck_assert_uint_eq(rte_vhost_dequeue_burst(vid, 3, NULL, &packet, 1), 1);
        looked = was_touched();
        stub_free(packet);
    }
    return looked;
}

static bool looks(int vid)
{
    bool sending = sending_looks(vid);

    ck_assert_int_eq(reading_looks(vid), sending);
    return sending;
}

/* ---- When it looks -------------------------------------------------------------------------------------------------------- */

START_TEST(rings_are_read_ahead)
{
    stub_packed(_i == 1);
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    ck_assert(looks(vid));
    ck_assert(stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
    ck_assert(looks(vid));
    stub_disconnect(vid);
    vid = guest_comes(PATH, PAIRS);
    ck_assert(looks(vid));
    ck_assert_int_eq(stub_violations(), 0);
}
END_TEST

START_TEST(not_after_a_message_that_failed)
{
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    stub_bad_descriptor();
    ck_assert(!stub_message(vid, STUB_SET_VRING_KICK, 0, 0));
    ck_assert(!looks(vid));
    ck_assert(stub_message(vid, STUB_SET_VRING_KICK, 0, 0));
    ck_assert(looks(vid));
    stub_bad_descriptor();
    ck_assert(!stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
    ck_assert(stub_message(vid, STUB_SET_VRING_KICK, 0, 0));
    ck_assert(!looks(vid)); /* nothing is mapped */
    ck_assert(stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
    ck_assert(looks(vid));
    ck_assert_int_eq(stub_violations(), 0);
}
END_TEST

/* Messages that librte_vhost does not know come by, too, whether it has a table of memory or not. */
START_TEST(not_without_a_table_of_memory)
{
    open_port(PATH);
    int vid = stub_connect(PATH);
    ck_assert(!stub_message(vid, STUB_ADD_MEM_REG, 0, 0));
    stub_start(vid, PAIRS);
    ck_assert(looks(vid));
    ck_assert(!stub_message(vid, STUB_REM_MEM_REG, 0, 0));
    ck_assert(looks(vid));
    if (_i == 0) {
        ck_assert(stub_message(vid, STUB_RESET_OWNER, 0, 0));
        for (uint32_t r = 0; r < 2 * PAIRS; r++)
            ck_assert(stub_message(vid, STUB_SET_VRING_KICK, r, 0) && stub_message(vid, STUB_SET_VRING_ENABLE, r, 1));
    } else {
        stub_bad_descriptor();
        ck_assert(!stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
    }
    ck_assert(!stub_message(vid, STUB_ADD_MEM_REG, 0, 0));
    ck_assert(!stub_message(vid, STUB_REM_MEM_REG, 0, 0));
    ck_assert(!looks(vid));
    ck_assert_int_eq(stub_violations(), 0);
}
END_TEST

/* Librte_vhost leaves a packed ring alone that is not mapped whole, and tells its descriptors nevertheless. */
START_TEST(not_a_packed_ring_that_is_cut_short)
{
    stub_packed(true);
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    ck_assert(looks(vid));
    stub_short_packed(true);
    ck_assert(stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
    ck_assert(!looks(vid));
}
END_TEST

START_TEST(not_behind_an_iommu)
{
    open_port(PATH);
    stub_features(UINT64_C(1) << PLATFORM);
    int vid = guest_comes(PATH, PAIRS);
    ck_assert(!looks(vid));
    stub_disconnect(vid);
    stub_features(0);
    ck_assert(looks(guest_comes(PATH, PAIRS)));
}
END_TEST

START_TEST(not_when_it_is_switched_off)
{
    setenv("FLOWQ_VHOST", _i == 0 ? "fetch=off" : _i == 1 ? "fetch=off,drain=off" : "drain=off", 1);
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    ck_assert_int_eq(looks(vid), _i == 2);
}
END_TEST

/* A program that deals with the messages about memory itself: then librte_vhost may have none. */
static bool app_deals;
static enum rte_vhost_msg_result app_before(int vid, void *message)
{
    uint32_t request;

    (void)vid;
    memcpy(&request, message, sizeof(request));
    return app_deals && request == STUB_SET_MEM_TABLE ? RTE_VHOST_MSG_RESULT_OK : RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

START_TEST(not_when_the_program_deals_with_memory)
{
    static const struct rte_vhost_user_extern_ops hook = {.pre_msg_handle = app_before};

    open_port(PATH);
    int vid = stub_connect(PATH);
    ck_assert_int_eq(rte_vhost_extern_callback_register(vid, &hook, NULL), 0);
    app_deals = true;
    stub_start(vid, PAIRS);
    ck_assert(!looks(vid));
    app_deals = false;
    ck_assert(stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
    ck_assert(looks(vid));
    app_deals = true;
    ck_assert(stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
    ck_assert(!looks(vid));
    ck_assert_int_eq(stub_violations(), 0);
}
END_TEST

/* The program's callback says that the device has stopped: what it was may be unmapped from now on. */
static int looked_when_stopped;
static void app_stopped(int vid) { looked_when_stopped = looks(vid); }

START_TEST(not_after_the_device_has_stopped)
{
    static const struct rte_vhost_device_ops ops = {.destroy_device = app_stopped};

    ck_assert_int_eq(rte_vhost_driver_register(PATH, 0), 0);
    ck_assert_int_eq(rte_vhost_driver_callback_register(PATH, &ops), 0);
    int vid = guest_comes(PATH, PAIRS);
    ck_assert(looks(vid));
    looked_when_stopped = -1;
    if (_i == 0)
        ck_assert(stub_message(vid, STUB_GET_VRING_BASE, 0, 0));
    else if (_i == 1)
        stub_disconnect(vid);
    else
        ck_assert_int_eq(rte_vhost_driver_unregister(PATH), 0);
    ck_assert_int_eq(looked_when_stopped, 0);
    if (_i == 0) /* nor when the message is over: its path may be unregistered now, without another word */
        ck_assert(!looks(vid));
}
END_TEST

static int refuse(int vid) { return (void)vid, -1; }

START_TEST(not_when_the_program_refuses_the_device)
{
    static const struct rte_vhost_device_ops ops = {.new_device = refuse};

    ck_assert_int_eq(rte_vhost_driver_register(PATH, 0), 0);
    ck_assert_int_eq(rte_vhost_driver_callback_register(PATH, &ops), 0);
    ck_assert(!looks(guest_comes(PATH, PAIRS)));
}
END_TEST

/* ---- Everything at once --------------------------------------------------------------------------------------------------- */

static atomic_int current = -1; /* device */
static atomic_bool over;
static atomic_uint n_sent, n_read, n_mapped, n_failed;

static void *sender_main(void *arg)
{
    struct rng rng = {base_seed + (uintptr_t)arg};

    while (!atomic_load(&over)) {
        struct rte_mbuf *packets[BURST_HERE];
        uint32_t n = rng_range(&rng, 1, BURST_HERE);
        for (uint32_t i = 0; i < n; i++)
            packets[i] = incoming(rng_below(&rng, 40), 0);
        atomic_fetch_add(&n_sent, rte_vhost_enqueue_burst(atomic_load(&current), 0, packets, (uint16_t)n));
        for (uint32_t i = 0; i < n; i++)
            stub_free(packets[i]);
    }
    return NULL;
}

static void *reader_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&over))
        for (uint16_t q = 0; q < PAIRS; q++) {
            struct rte_mbuf *packets[BURST_HERE];
            uint16_t n = rte_vhost_dequeue_burst(atomic_load(&current), (uint16_t)(2 * q + 1), NULL, packets, BURST_HERE);
            for (uint16_t i = 0; i < n; i++)
                stub_free(packets[i]);
            atomic_fetch_add(&n_read, n);
        }
    return NULL;
}

/* The guest itself, in the thread that also sends its messages: so it is not there when its device goes. */
static void guest_turn(int vid, struct rng *rng)
{
    for (uint32_t q = 0; q < PAIRS; q++) {
        struct rte_mbuf *packet = outgoing(rng_below(rng, 40), 0);
        if (!stub_transmit(vid, 2 * q + 1, packet))
            stub_free(packet);
        stub_room(vid, 2 * q, STUB_RING_SIZE);
    }
}

static void one_message(int vid, struct rng *rng)
{
    uint32_t what = rng_below(rng, 10);

    if (what < 3) {
        MUST(stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
        atomic_fetch_add(&n_mapped, 1);
    } else if (what == 3) {
        stub_bad_descriptor();
        MUST(!stub_message(vid, STUB_SET_MEM_TABLE, 0, 0));
        atomic_fetch_add(&n_failed, 1);
    } else if (what == 4) {
        stub_message(vid, STUB_GET_VRING_BASE, rng_below(rng, 2 * PAIRS), 0);
    } else if (what == 5)
        stub_message(vid, STUB_SET_VRING_KICK, rng_below(rng, 2 * PAIRS), 0);
    else
        stub_message(vid, STUB_SET_VRING_ENABLE, rng_below(rng, 2 * PAIRS), rng_percent(rng, 80));
}

/* A device's memory goes while threads are in calls for it; the device itself must not, as librte_vhost asks of programs. */
START_TEST(memory_goes_under_calls)
{
    struct rng rng = {base_seed + 100};
    pthread_t threads[4];

    stub_packed(_i == 1);
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    atomic_store(&current, vid);
    for (uint32_t i = 0; i < 8; i++)
        guest_sends(vid, i % PAIRS, i % 4);
    for (uintptr_t i = 0; i < 4; i++)
        threads[i] = start(i < 2 ? sender_main : reader_main, (void *)i);
    for (uint32_t turn = 0;
         turn < (seed_long() ? 20000u : 400u / SEED_SLOWNESS) || n_sent < 500 || n_read < 100 || n_mapped < 20 || n_failed < 5;
         turn++) {
        guest_turn(vid, &rng);
        one_message(vid, &rng);
        if (turn % 64 == 63)
            stub_start(vid, PAIRS);
    }
    atomic_store(&over, true);
    for (uint32_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    stub_disconnect(vid);
    ck_assert_int_eq(stub_violations(), 0);
    ck_assert_int_eq(stub_packets(), 0);
    printf("%u packets to the guest, %u from it; memory mapped anew %u times, %u times that failed\n", atomic_load(&n_sent),
           atomic_load(&n_read), atomic_load(&n_mapped), atomic_load(&n_failed));
}
END_TEST

int main(void)
{
    base_seed = seed_get("check_vhost_fetch");
    Suite *s = suite_create("vhost fetch");
    TCase *tc = tcase_create("when");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, rings_are_read_ahead, 0, 2);
    tcase_add_loop_test(tc, not_without_a_table_of_memory, 0, 2);
    tcase_add_test(tc, not_a_packed_ring_that_is_cut_short);
    tcase_add_test(tc, not_when_the_program_refuses_the_device);
    tcase_add_test(tc, not_after_a_message_that_failed);
    tcase_add_test(tc, not_behind_an_iommu);
    tcase_add_loop_test(tc, not_when_it_is_switched_off, 0, 3);
    tcase_add_test(tc, not_when_the_program_deals_with_memory);
    tcase_add_loop_test(tc, not_after_the_device_has_stopped, 0, 3);
    suite_add_tcase(s, tc);
    tc = tcase_create("threads");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, memory_goes_under_calls, 0, 2);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
