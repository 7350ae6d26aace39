/*
 * check_vhost_threads: everything at once, for ThreadSanitizer and AddressSanitizer: two threads that send to one guest,
 * each by a ring of its own; two that read its rings; rings that are switched, and memory that is mapped anew, all the time;
 * other sockets that come and go; telemetry.
 *
 * What must hold: nobody is two in a ring; each packet arrives once; none of the guest's is lost or there twice but what
 * was discarded. And as long as receive rings stay on and flows where they are, each flow arrives in order; while one
 * changes its ring within a call, it may not, as in any switch.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "holder.h"
#include "runner.h"
#include "seed.h"
#include "vhost_program.h"

#define PATH  "/tmp/flowq-test.sock"
#define OTHER "/tmp/flowq-other.sock"

enum { PAIRS = 4, SENDERS = 2, FLOWS = 40, SENT_MAX = 200000 };

static const struct rte_vhost_device_ops silent_ops = {0};
static uint64_t base_seed;
static int vid;
static bool steady; /* receive rings stay on, flows stay where they are */
static atomic_bool over;
static atomic_uint n_sent, n_arrived, n_transmitted, n_read;
static atomic_llong n_drained;         /* as telemetry has it */
static uint32_t last[FLOWS * SENDERS]; /* number of what arrived last, plus 1; the guest's */
static atomic_uchar seen[SENT_MAX];    /* packets of the guest that were read */

/* ---- The guest ---- */

static void look_at(uint32_t pair)
{
    static uint32_t got[STUB_RING_SIZE * 16][2];
    uint32_t n = stub_received(vid, 2 * pair, got, STUB_RING_SIZE * 16);

    MUST(n <= STUB_RING_SIZE * 16);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t flow = got[i][0];
        MUST(flow < FLOWS * SENDERS);
        MUST(!steady || (flow % PAIRS == pair && got[i][1] >= last[flow]));
        last[flow] = got[i][1] + 1;
    }
    atomic_fetch_add(&n_arrived, n);
    stub_room(vid, 2 * pair, STUB_RING_SIZE / 4);
}

static void *guest_main(void *arg)
{
    struct rng rng = {base_seed + 1};

    (void)arg;
    while (!atomic_load(&over)) {
        for (uint32_t q = 0; q < PAIRS; q++)
            look_at(q);
        for (uint32_t i = 0; i < 20; i++) {
            uint32_t number = atomic_load(&n_transmitted);
            if (number == SENT_MAX)
                break;
            uint32_t flow = rng_below(&rng, FLOWS * SENDERS), pair = steady ? flow % PAIRS : rng_below(&rng, PAIRS);
            struct rte_mbuf *packet = outgoing(flow, number);
            if (stub_transmit(vid, 2 * pair + 1, packet))
                atomic_fetch_add(&n_transmitted, 1);
            else
                stub_free(packet);
        }
    }
    return NULL;
}

/* ---- The switch ---- */

static void *sender_main(void *arg)
{
    uint32_t self = (uint32_t)(uintptr_t)arg, number = 0;
    struct rng rng = {base_seed + 2 + self};

    while (!atomic_load(&over)) {
        struct rte_mbuf *packets[48];
        uint32_t n = rng_range(&rng, 1, 48), done = 0;
        for (uint32_t i = 0; i < n; i++)
            packets[i] = incoming(self * FLOWS + rng_below(&rng, FLOWS), number++);
        for (uint32_t tries = 0; tries < 3 && done < n; tries++) {
            uint16_t taken = rte_vhost_enqueue_burst(vid, (uint16_t)(2 * self), packets + done, (uint16_t)(n - done));
            MUST(taken <= n - done);
            done += taken;
        }
        atomic_fetch_add(&n_sent, done);
        for (uint32_t i = 0; i < n; i++)
            stub_free(packets[i]);
    }
    return NULL;
}

static void read_ring(uint32_t pair)
{
    struct rte_mbuf *packets[32];
    uint16_t n = rte_vhost_dequeue_burst(vid, (uint16_t)(2 * pair + 1), NULL, packets, 32);

    MUST(n <= 32);
    for (uint32_t i = 0; i < n; i++) {
        MUST(stub_number(packets[i]) < SENT_MAX);
        MUST(atomic_fetch_add(&seen[stub_number(packets[i])], 1) == 0);
        stub_free(packets[i]);
    }
    atomic_fetch_add(&n_read, n);
}

static void *reader_main(void *arg)
{
    uint32_t self = (uint32_t)(uintptr_t)arg;

    while (!atomic_load(&over)) {
        read_ring(2 * self);
        read_ring(2 * self + 1);
    }
    return NULL;
}

/* ---- The front ends ---- */

static void *switcher_main(void *arg)
{
    struct rng rng = {base_seed + 9};

    (void)arg;
    while (!atomic_load(&over)) {
        if (rng_percent(&rng, 20))
            stub_message(vid, STUB_SET_MEM_TABLE, 0, 0);
        else
            stub_message(vid, STUB_SET_VRING_ENABLE, rng_below(&rng, 2 * PAIRS) | steady, rng_percent(&rng, 60));
        usleep(rng_below(&rng, 400));
    }
    return NULL;
}

static void *comers_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        MUST(rte_vhost_driver_register(OTHER, 0) == 0);
        MUST(rte_vhost_driver_callback_register(OTHER, &silent_ops) == 0);
        for (uint32_t i = 0; i < 3; i++) {
            int other = stub_connect(OTHER);
            MUST(other >= 0);
            stub_start(other, 2);
            struct rte_mbuf *packet = incoming(i, 0);
            MUST(rte_vhost_enqueue_burst(other, 0, &packet, 1) == 1);
            stub_free(packet);
            if (i < 2)
                stub_disconnect(other);
        }
        MUST(rte_vhost_driver_unregister(OTHER) == 0);
        MUST(stub_telemetry("/flowq/ports", "") != NULL);
        atomic_store(&n_drained, telemetry("/flowq/port", "0", "drained"));
        MUST(atomic_load(&n_drained) >= 0);
        MUST(stub_telemetry("/flowq/queues", "0") != NULL);
    }
    return NULL;
}

/* ---- All together ---- */

static void drain_all(void)
{
    for (uint32_t q = 0; q < PAIRS; q++)
        stub_message(vid, STUB_SET_VRING_ENABLE, 2 * q + 1, 1);
    for (uint32_t turn = 0; turn < 200; turn++)
        for (uint32_t q = 0; q < PAIRS; q++)
            read_ring(q);
    for (uint32_t q = 0; q < PAIRS; q++)
        look_at(q);
}

START_TEST(everything_at_once)
{
    pthread_t threads[2 * SENDERS + 3];
    uint32_t n = 0;

    MUST(rte_vhost_driver_register(PATH, 0) == 0);
    MUST(rte_vhost_driver_callback_register(PATH, &silent_ops) == 0);
    vid = guest_comes(PATH, PAIRS);
    steady = _i == 0;
    /* Twice: the first time, a flow that goes there anyway is not kept. */
    for (uint32_t i = 0; i < 2 * FLOWS * SENDERS; i++)
        guest_sends(vid, i % PAIRS, i % (FLOWS * SENDERS));
    for (uintptr_t i = 0; i < SENDERS; i++) {
        threads[n++] = start(sender_main, (void *)i);
        threads[n++] = start(reader_main, (void *)i);
    }
    threads[n++] = start(guest_main, NULL);
    threads[n++] = start(switcher_main, NULL);
    threads[n++] = start(comers_main, NULL);
    usleep(seed_long() ? 30000000 : 1500000);
    for (uint32_t more = 0; more < 600 && (n_arrived <= 1000 || n_read <= 1000 || n_drained == 0); more++)
        usleep(100000); /* on a busy machine */
    atomic_store(&over, true);
    for (uint32_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    drain_all();
    ck_assert_int_eq(stub_violations(), 0);
    ck_assert_int_eq(stub_packets(), 0);
    ck_assert_uint_eq(atomic_load(&n_arrived), atomic_load(&n_sent));
    ck_assert_int_eq(telemetry("/flowq/port", "0", "to_guest"), atomic_load(&n_sent));
    ck_assert_int_eq(telemetry("/flowq/port", "0", "from_guest"), atomic_load(&n_transmitted) + 2 * FLOWS * SENDERS);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "discarded"), atomic_load(&n_transmitted) - atomic_load(&n_read));
    printf("%u packets to the guest, %u from it, %u of these discarded\n", atomic_load(&n_arrived), atomic_load(&n_transmitted),
           atomic_load(&n_transmitted) - atomic_load(&n_read));
    ck_assert_uint_gt(atomic_load(&n_arrived), 1000);
    ck_assert_uint_gt(atomic_load(&n_read), 1000);
    ck_assert_int_gt(telemetry("/flowq/port", "0", "drained"), 0);
}
END_TEST

int main(void)
{
    base_seed = seed_get("check_vhost_threads");
    Suite *s = suite_create("vhost threads");
    TCase *tc = tcase_create("threads");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, everything_at_once, 0, 2);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
