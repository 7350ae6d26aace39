/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads as the library sees them: sections, registration, the end of a thread, memory, fork; and the four public calls. Each
 * test runs in a process of its own (Check forks), which begins with no thread registered.
 */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "epoch.h"
#include "flowq.h"
#include "frames.h"
#include "holder.h"
#include "runner.h"
#include "seed.h"
#include "thread.h"

/* Sanitizers do not let the child of a process with threads start its own; TSan has ended before the last round
   of destructors. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif
#ifdef SANITIZED
#define THREADS_IN_CHILD  0
#define DESTRUCTOR_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 1)
#else
#define THREADS_IN_CHILD  1
#define DESTRUCTOR_ROUNDS PTHREAD_DESTRUCTOR_ITERATIONS
#endif

static uint64_t seed;

static unsigned n_allocated, fail_at; /* allocations of registrations; which of them fails, counted from 1 (0: none) */

static void *counting_alloc(size_t alignment, size_t size)
{
    n_allocated++;
    return n_allocated == fail_at ? NULL : aligned_alloc(alignment, size);
}

/* ---- Sections -------------------------------------------------------------------------------------------------------------- */

START_TEST(sections_nest)
{
    struct thread *t;
    uint64_t stamp;

    ck_assert_ptr_null(thread_tls);
    ck_assert_int_eq(flowq_enter(), 0);
    t = thread_tls;
    ck_assert_uint_eq(t->depth, 1);
    ck_assert_int_eq(flowq_enter(), 0);
    thread_enter(t);
    ck_assert_uint_eq(t->depth, 3);
    stamp = epoch_stamp();
    ck_assert(!passes_soon(stamp));
    thread_leave(t);
    flowq_leave();
    ck_assert(!passes_soon(stamp));
    flowq_leave();
    ck_assert_uint_eq(t->depth, 0);
    ck_assert(passes_soon(stamp));
    ck_assert_ptr_eq(thread_self(), t);
}
END_TEST

START_TEST(leave_without_enter_does_nothing)
{
    struct thread *t;

    flowq_leave();
    ck_assert_ptr_null(thread_tls);
    ck_assert_int_eq(flowq_thread_register(), 0);
    ck_assert_int_eq(flowq_thread_register(), 0);
    t = thread_tls;
    flowq_leave();
    ck_assert_uint_eq(t->depth, 0);

    thread_enter(t); /* one of our own calls is running, and a callback of the host's makes the mistake */
    flowq_leave();
    ck_assert_uint_eq(t->depth, 1);
    thread_leave(t);
    ck_assert(passes_soon(epoch_stamp()));
}
END_TEST

START_TEST(synchronize_refuses_inside_a_section)
{
    ck_assert_int_eq(flowq_synchronize(), 0);
    ck_assert_ptr_null(thread_tls); /* nor does it need a registration */
    flowq_enter();
    ck_assert_int_eq(flowq_synchronize(), -EDEADLK);
    flowq_enter();
    flowq_leave();
    ck_assert_int_eq(flowq_synchronize(), -EDEADLK);
    flowq_leave();
    ck_assert_int_eq(flowq_synchronize(), 0);
    thread_enter(thread_self());
    ck_assert_int_eq(flowq_synchronize(), -EDEADLK);
    thread_leave(thread_self());
    ck_assert_int_eq(flowq_synchronize(), 0);
}
END_TEST

static void *synchronize(void *arg)
{
    atomic_u32 *returned = arg;

    MUST(flowq_synchronize() == 0);
    u32_add_relaxed(returned, 1);
    return NULL;
}

START_TEST(many_synchronize_at_once)
{
    static atomic_u32 returned;
    struct timespec a_while = {.tv_nsec = 30 * 1000 * 1000};
    struct holder h;
    pthread_t id[8];

    holder_start(&h, true);
    for (int i = 0; i < 8; i++)
        id[i] = start(synchronize, &returned);
    nanosleep(&a_while, NULL);
    ck_assert_uint_eq(u32_load_relaxed(&returned), 0);
    holder_end(&h);
    for (int i = 0; i < 8; i++)
        pthread_join(id[i], NULL);
    ck_assert_uint_eq(u32_load_relaxed(&returned), 8);
}
END_TEST

/* ---- The end of a thread --------------------------------------------------------------------------------------------------- */

START_TEST(exit_closes_sections)
{
    struct holder h;
    uint64_t stamp;

    holder_start(&h, false);
    stamp = epoch_stamp();
    ck_assert(!passes_soon(stamp));
    holder_end(&h);
    ck_assert(passes_soon(stamp));
    ck_assert_int_eq(flowq_thread_register(), 0);
    ck_assert_uint_eq(thread_self()->index, h.index);
}
END_TEST

START_TEST(short_threads_share_one_record)
{
    uint32_t index;

    epoch_alloc = counting_alloc;
    for (int i = 0; i < 10000; i++) {
        index = UINT32_MAX;
        pthread_join(start(open_section, &index), NULL);
        ck_assert_uint_eq(index, 0);
    }
    ck_assert_uint_eq(n_allocated, 2);
    ck_assert_int_eq(flowq_synchronize(), 0);
}
END_TEST

START_TEST(smallest_index_is_given_out)
{
    struct holder h[20], again[3];
    static const int gone[3] = {11, 4, 17};
    static const uint32_t expected[3] = {4, 11, 17};

    epoch_alloc = counting_alloc;
    for (uint32_t i = 0; i < 20; i++) {
        holder_start(&h[i], i % 2 == 0);
        ck_assert_uint_eq(h[i].index, i);
    }
    for (int i = 0; i < 3; i++)
        holder_end(&h[gone[i]]);
    for (int i = 0; i < 3; i++) {
        holder_start(&again[i], true);
        ck_assert_uint_eq(again[i].index, expected[i]);
    }
    ck_assert_int_eq(flowq_thread_register(), 0);
    ck_assert_uint_eq(thread_self()->index, 20);
    for (int i = 0; i < 3; i++)
        holder_end(&again[i]);
    for (int i = 0; i < 20; i++)
        if (i != gone[0] && i != gone[1] && i != gone[2])
            holder_end(&h[i]);
    ck_assert_uint_eq(n_allocated, 2 * 21);
    ck_assert_int_eq(flowq_synchronize(), 0);
}
END_TEST

/* A host's destructors that call us: `early` has a key made before ours, `late` one after; each comes back in every round. */
static pthread_key_t early, late;
static atomic_u32 n_calls, n_refused;

static void call_us(pthread_key_t key, void *value)
{
    u32_add_relaxed(&n_calls, 1);
    if (flowq_enter() != 0)
        u32_add_relaxed(&n_refused, 1);
    if ((uintptr_t)value % 2 == 1)
        flowq_leave();
    if ((uintptr_t)value < DESTRUCTOR_ROUNDS)
        pthread_setspecific(key, (void *)((uintptr_t)value + 1));
}

static void call_early(void *value) { call_us(early, value); }
static void call_late(void *value) { call_us(late, value); }

static void *end_with_destructors(void *arg)
{
    pthread_setspecific(early, (void *)1);
    pthread_setspecific(late, (void *)1);
    if (arg != NULL)
        flowq_enter();
    return NULL;
}

START_TEST(destructors_may_call)
{
    uint64_t stamp;
    uint32_t index;

    epoch_alloc = counting_alloc;
    pthread_key_create(&early, call_early);
    pthread_join(start(open_section, &index), NULL); /* makes our key */
    pthread_key_create(&late, call_late);
    for (int i = 0; i < 100; i++) {
        pthread_join(start(end_with_destructors, i % 2 == 0 ? &index : NULL), NULL);
        stamp = epoch_stamp();
        ck_assert(passes_soon(stamp));
    }
    ck_assert_uint_eq(u32_load_relaxed(&n_calls), 100 * 2 * DESTRUCTOR_ROUNDS);
    /* Refused: what `late` does in our last round, and what both do in the one after. */
    ck_assert_uint_le(u32_load_relaxed(&n_refused), 100 * 3);
    ck_assert_uint_eq(n_allocated, 2);
}
END_TEST

/* ---- Memory ---------------------------------------------------------------------------------------------------------------- */

START_TEST(out_of_memory)
{
    epoch_alloc = counting_alloc;
    for (fail_at = 1; fail_at <= 2; fail_at++) {
        n_allocated = 0;
        ck_assert_int_eq(flowq_thread_register(), -ENOMEM);
        ck_assert_ptr_null(thread_tls);
        n_allocated = 0;
        ck_assert_int_eq(flowq_enter(), -ENOMEM);
        flowq_leave();
        ck_assert_int_eq(flowq_synchronize(), 0);
    }
    fail_at = 0;
    ck_assert_int_eq(flowq_enter(), 0);
    ck_assert_uint_eq(thread_self()->index, 0);
    ck_assert_uint_eq(thread_self()->depth, 1);
    flowq_leave();
}
END_TEST

/* Made, and taught flows, by a thread that lives on: its registration is not to be had. The one learns; of the other the guest's
   table decides. */
static struct {
    struct flowq_vm *vm, *ruled;
    struct frame sent[2], in[2];
    sem_t ready, over;
} guest;

static void *teach(void *arg)
{
    static const uint8_t key[40] = {1};
    static const uint16_t table[1] = {1};
    const struct flowq_vm_config cfg = {.size = sizeof(cfg), .virtio_features = FLOWQ_VIRTIO_F_HASH_REPORT};
    const struct flowq_vm_config offers_rss = {.size = sizeof(cfg), .virtio_features = FLOWQ_VIRTIO_F_RSS};
    const struct flowq_rss rss = {.size = sizeof(rss), .table = table, .table_length = 1, .unclassified = 1, .max_tx = 2};
    (void)arg;
    MUST(flowq_vm_create(&cfg, &guest.vm) == 0 && flowq_vm_set_queue_pairs(guest.vm, 4) == 0);
    MUST(flowq_vm_set_hash(guest.vm, FLOWQ_HASH_TYPE_IPV4, key, sizeof(key)) == 0);
    MUST(flowq_vm_create(&offers_rss, &guest.ruled) == 0 && flowq_vm_set_rss(guest.ruled, &rss) == 0);
    for (uint16_t i = 0; i < 2; i++) {
        struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 1, (uint16_t)(80 + i), 2, 1000), in = tuple_reverse(&t);
        frame_flow(&guest.sent[i], &t, FRAME_ACK);
        frame_flow(&guest.in[i], &in, FRAME_ACK);
        struct flowq_pkt pkt = frame_pkt(&guest.sent[i]);
        MUST(flowq_tx_note(guest.vm, &pkt, 3) == FLOWQ_NOTE_BOUND);
    }
    sem_post(&guest.ready);
    sem_wait(&guest.over);
    flowq_vm_destroy(guest.vm);
    flowq_vm_destroy(guest.ruled);
    return NULL;
}

static void *no_alloc(size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    return NULL;
}

static int never(void) { return ck_assert_msg(false, "called without a section"), 1; }
static int any_binding(void *ctx, const struct flowq_binding *binding) { return (void)ctx, (void)binding, never(); }
static int any_counter(void *ctx, const struct flowq_counter *counter) { return (void)ctx, (void)counter, never(); }
static int any_bytes(void *ctx, const void *data, size_t size) { return (void)ctx, (void)data, (void)size, never(); }

/* All that looks into a vm and can say so. */
static void looks_are_refused(void)
{
    const struct flowq_tuple t = tuple_v4(FRAME_PROTO_TCP, 2, 1000, 1, 80);
    const struct flowq_pkt pkt = frame_pkt(&guest.in[0]);
    struct flowq_binding binding = {.size = sizeof(binding)};
    struct flowq_stats stats = {.size = sizeof(stats)};
    struct flowq_explanation e = {.size = sizeof(e)};
    char text[100];
    ck_assert_int_eq(flowq_vm_lookup(guest.vm, &t, &binding), -ENOMEM);
    ck_assert_int_eq(flowq_vm_flows(guest.vm, any_binding, NULL), -ENOMEM);
    ck_assert_int_eq(flowq_vm_stats(guest.vm, &stats), -ENOMEM);
    ck_assert_int_eq(flowq_vm_counters(guest.vm, any_counter, NULL), -ENOMEM);
    ck_assert_int_eq((int)flowq_counters_print(text, sizeof(text), &guest.vm, 1, FLOWQ_FORMAT_JSON), -ENOMEM);
    ck_assert_int_eq(flowq_vm_save(guest.vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, any_bytes, NULL), -ENOMEM);
    ck_assert_int_eq(flowq_rx_explain(guest.vm, &pkt, &e), -ENOMEM);
    ck_assert_int_eq(flowq_tx_explain(guest.vm, &pkt, 1, &e), -ENOMEM);
    flowq_vm_maintain(guest.vm);
}

/* Packets get their fallback, of a vm whose table decides, too; reports are left out. */
static void packets_fall_back(void)
{
    const struct flowq_pkt pkts[4] = {frame_pkt(&guest.in[0]), frame_pkt(&guest.in[1]), frame_pkt(&guest.in[0]),
                                      frame_pkt(&guest.in[1])};
    struct flowq_vm *const vms[4] = {guest.vm, guest.ruled, guest.ruled, guest.vm};
    struct flowq_decision d[4];
    uint16_t qid[4];
    flowq_rx_decide_burst_vms(vms, pkts, 4, d);
    flowq_rx_steer_burst_vms(vms, pkts, 4, qid);
    for (unsigned i = 0; i < 4; i++) {
        struct flowq_decision one;
        flowq_rx_decide_burst(vms[i], &pkts[i], 1, &one);
        ck_assert_uint_eq(d[i].reason, FLOWQ_REASON_FALLBACK);
        ck_assert_uint_eq(d[i].hash_report, 0);
        ck_assert_uint_lt(d[i].qid, vms[i] == guest.vm ? 4 : 2);
        ck_assert_uint_eq(one.qid, d[i].qid);
        ck_assert_uint_eq(one.reason, FLOWQ_REASON_FALLBACK);
        ck_assert_uint_eq(qid[i], d[i].qid);
        ck_assert_uint_eq(flowq_rx_steer(vms[i], &pkts[i]), d[i].qid);
    }
    flowq_rx_steer_burst(guest.vm, pkts, 4, qid);
    ck_assert_uint_eq(qid[0], d[0].qid);
    ck_assert_uint_eq(qid[3], d[3].qid);
}

START_TEST(calls_of_a_thread_that_cannot_be_registered)
{
    ck_assert(sem_init(&guest.ready, 0, 0) == 0 && sem_init(&guest.over, 0, 0) == 0);
    pthread_t id = start(teach, NULL);
    while (sem_wait(&guest.ready) != 0)
        ;
    epoch_alloc = no_alloc;
    packets_fall_back();
    looks_are_refused();
    const struct flowq_pkt sent[2] = {frame_pkt(&guest.sent[0]), frame_pkt(&guest.sent[1])};
    ck_assert_uint_eq(flowq_tx_note(guest.vm, &sent[0], 2), FLOWQ_NOTE_UNREGISTERED);
    flowq_tx_note_burst(guest.vm, sent, 2, 2);
    epoch_alloc = aligned_alloc;
    struct flowq_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(flowq_vm_stats(guest.vm, &stats), 0);
    ck_assert_uint_eq(stats.note[FLOWQ_NOTE_UNREGISTERED], 3);
    const struct flowq_pkt pkt = frame_pkt(&guest.in[1]);
    ck_assert_uint_eq(flowq_rx_steer(guest.vm, &pkt), 3); /* nothing was lost */
    ck_assert_uint_eq(flowq_rx_steer(guest.ruled, &pkt), 1);
    sem_post(&guest.over);
    pthread_join(id, NULL);
}
END_TEST

START_TEST(no_key_left)
{
    static pthread_key_t key[PTHREAD_KEYS_MAX];
    int n = 0;

    while (n < PTHREAD_KEYS_MAX && pthread_key_create(&key[n], NULL) == 0)
        n++;
    ck_assert_int_eq(flowq_enter(), -ENOMEM);
    ck_assert_int_eq(flowq_thread_register(), -ENOMEM);
    ck_assert_int_eq(flowq_synchronize(), 0);
    pthread_key_delete(key[--n]);
    ck_assert_int_eq(flowq_enter(), 0);
    flowq_leave();
    ck_assert_int_eq(flowq_synchronize(), 0);
    while (n > 0)
        pthread_key_delete(key[--n]);
}
END_TEST

/* ---- Fork ------------------------------------------------------------------------------------------------------------------ */

/* The exit status says which expectation was not met. */
static int in_child(uint64_t stamp)
{
    uint32_t index = 1;

    if (thread_tls != NULL)
        return 1;
    if (!passes_soon(stamp))
        return 2;
    flowq_leave();
    if (flowq_synchronize() != 0)
        return 3;
    if (flowq_enter() != 0 || thread_self()->index != 0 || thread_self()->depth != 1)
        return 4;
    stamp = epoch_stamp();
    if (passes_soon(stamp) || flowq_synchronize() != -EDEADLK)
        return 5;
    if (THREADS_IN_CHILD) {
        pthread_join(start(open_section, &index), NULL);
        if (index != 1)
            return 6;
    }
    flowq_leave();
    return flowq_synchronize() == 0 && passes_soon(stamp) ? 0 : 7;
}

START_TEST(child_of_fork_begins_afresh)
{
    struct holder h;

    for (int turn = 0; turn < 20; turn++) {
        uint64_t stamp;
        int status;
        pid_t pid;

        holder_start(&h, turn % 2 == 0);
        if (turn % 3 != 0)
            flowq_enter();
        stamp = epoch_stamp();
        epoch_passed(stamp);
        pid = fork();
        if (pid == 0)
            _exit(in_child(stamp));
        ck_assert_int_gt(pid, 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child says 0x%x", (unsigned)status);
        ck_assert(!passes_soon(stamp));
        holder_end(&h);
        if (turn % 3 != 0) {
            ck_assert_uint_eq(thread_self()->depth, 1);
            ck_assert(!passes_soon(stamp));
            flowq_leave();
        }
        ck_assert(passes_soon(stamp));
    }
}
END_TEST

static atomic_u32 stop;

static void *come_and_go(void *arg)
{
    uint32_t index;

    (void)arg;
    while (u32_load_relaxed(&stop) == 0) {
        pthread_join(start(open_section, &index), NULL);
        flowq_synchronize();
    }
    return NULL;
}

START_TEST(fork_while_threads_come_and_go)
{
    pthread_t id[3];

    for (int i = 0; i < 3; i++)
        id[i] = start(come_and_go, NULL);
    for (int turn = 0; turn < 100; turn++) {
        int status;
        pid_t pid = fork();

        if (pid == 0)
            _exit(in_child(epoch_stamp()));
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child says 0x%x", (unsigned)status);
    }
    u32_store_relaxed(&stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(id[i], NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("thread");
    TCase *tc = tcase_create("thread");

    seed = seed_get("check_thread");
    tcase_set_timeout(tc, seed_long() ? 1200 : 120);
    tcase_add_test(tc, sections_nest);
    tcase_add_test(tc, leave_without_enter_does_nothing);
    tcase_add_test(tc, synchronize_refuses_inside_a_section);
    tcase_add_test(tc, many_synchronize_at_once);
    tcase_add_test(tc, exit_closes_sections);
    tcase_add_test(tc, short_threads_share_one_record);
    tcase_add_test(tc, smallest_index_is_given_out);
    tcase_add_test(tc, destructors_may_call);
    tcase_add_test(tc, out_of_memory);
    tcase_add_test(tc, calls_of_a_thread_that_cannot_be_registered);
    tcase_add_test(tc, no_key_left);
    if (getenv("FLOWQ_EMULATED")) {
        printf("check_thread: without the tests of fork(): qemu-user aborts when a process with threads forks\n");
    } else {
        tcase_add_test(tc, child_of_fork_begins_afresh);
#ifdef SANITIZED
        /* Another thread may hold a lock of the sanitizer's allocator at the fork; the child would wait for it for ever. */
        printf("check_thread: without fork_while_threads_come_and_go: a sanitizer's own locks do not survive a fork\n");
        (void)fork_while_threads_come_and_go;
#else
        tcase_add_test(tc, fork_while_threads_come_and_go);
#endif
    }
    suite_add_tcase(suite, tc);
    return suite_run_forked(suite);
}
