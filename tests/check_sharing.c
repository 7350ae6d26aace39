/*
 * check_sharing: threads do not write where others read or write, in the same cache line, while they note and steer flows that
 * are bound. What a thread writes is seen by comparing all memory of the vm before and after its calls.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "runner.h"
#include "seed.h"
#include "vm.h"

enum { LINE_BYTES = 64, ARENA = 1 << 20, N_LINES = ARENA / LINE_BYTES, N_FLOWS = 2000, PAIRS = 4, BURST = 32, THREADS = 3 };

static _Alignas(LINE_BYTES) uint8_t arena[ARENA], before[ARENA];
static size_t used;
static struct flowq_vm *vm;
static uint64_t now_ns;

static void *take(void *ctx, size_t size, size_t align, int32_t node)
{
    (void)ctx, (void)node;
    size_t at = (used + align - 1) / align * align;
    ck_assert_uint_le(at + size, ARENA);
    used = at + size;
    return arena + at;
}

static void give(void *ctx, void *ptr, size_t size) { (void)ctx, (void)ptr, (void)size; }

static uint64_t test_clock(void *ctx)
{
    (void)ctx;
    return now_ns;
}

/* ---- The same calls for every thread --------------------------------------------------------------------------------------- */

static struct frame sent[N_FLOWS], arriving[N_FLOWS];
static struct flowq_pkt sent_pkt[N_FLOWS], arriving_pkt[N_FLOWS];

static uint32_t queue_of(unsigned i) { return i / BURST % PAIRS; }

static void make_packets(void)
{
    for (unsigned i = 0; i < N_FLOWS; i++) {
        struct flowq_tuple out = tuple_v4(FRAME_PROTO_TCP, 1, 80, i + 2, 1024),
                           in = tuple_v4(FRAME_PROTO_TCP, i + 2, 1024, 1, 80);
        frame_flow(&sent[i], &out, FRAME_ACK);
        frame_flow(&arriving[i], &in, FRAME_ACK);
        sent_pkt[i] = frame_pkt(&sent[i]);
        arriving_pkt[i] = frame_pkt(&arriving[i]);
    }
}

static void call_everything(void)
{
    for (unsigned i = 0; i < N_FLOWS; i += BURST) {
        unsigned n = N_FLOWS - i < BURST ? N_FLOWS - i : BURST;
        uint16_t qids[BURST];
        struct flowq_decision decisions[BURST];
        struct flowq_vm *vms[BURST];
        for (unsigned j = 0; j < BURST; j++)
            vms[j] = vm;
        flowq_tx_note_burst(vm, sent_pkt + i, n, queue_of(i));
        flowq_tx_note(vm, &sent_pkt[i], queue_of(i));
        flowq_rx_steer_burst(vm, arriving_pkt + i, n, qids);
        for (unsigned j = 0; j < n; j++)
            ck_assert_uint_eq(qids[j], queue_of(i));
        ck_assert_uint_eq(flowq_rx_steer(vm, &arriving_pkt[i]), queue_of(i));
        flowq_rx_decide_burst(vm, arriving_pkt + i, n, decisions);
        flowq_rx_steer_burst_vms(vms, arriving_pkt + i, n, qids);
    }
}

/* ---- Threads that take turns, all of them there all the time --------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn; /* whose; -1: the main thread's; THREADS: all end */
static struct thread *threads[THREADS];

static void pass_to(int next)
{
    turn = next;
    pthread_cond_broadcast(&changed);
}

static void *take_turns(void *arg)
{
    int me = *(int *)arg;
    pthread_mutex_lock(&mutex);
    while (turn != THREADS) {
        if (turn == me) {
            threads[me] = thread_self();
            call_everything();
            pass_to(-1);
        }
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void let(int thread)
{
    pass_to(thread);
    while (turn != -1)
        pthread_cond_wait(&changed, &mutex);
}

static void distinct_lines(const void *a, size_t size, const void *b)
{
    uintptr_t from = (uintptr_t)a / LINE_BYTES, to = ((uintptr_t)a + size - 1) / LINE_BYTES, other = (uintptr_t)b / LINE_BYTES;
    ck_assert(other < from || other > to);
}

/* ---- What they write ------------------------------------------------------------------------------------------------------- */

static void create(bool queue_stats, uint32_t pairs)
{
    struct flowq_vm_config c = {.size = sizeof(c),
                                .max_queue_pairs = pairs,
                                .max_flows = 2 * N_FLOWS,
                                .queue_stats = queue_stats ? FLOWQ_ON : FLOWQ_OFF,
                                .alloc = take,
                                .free = give,
                                .clock_ns = test_clock};
    used = 0;
    now_ns = 1000000000000;
    ck_assert_int_eq(flowq_vm_create(&c, &vm), 0);
    ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, PAIRS), 0);
    for (unsigned i = 0; i < 2; i++)
        call_everything(); /* bound, and established */
}

/* Whose turn changes which lines of the vm's memory. */
static void check_writers(void)
{
    static int8_t writer[N_LINES];
    size_t stats = (size_t)((uint8_t *)&vm->stats - arena) / LINE_BYTES;
    unsigned n_written[THREADS] = {0};
    memset(writer, -1, sizeof(writer));
    ck_assert_uint_eq((uintptr_t)vm->stats.stripe % LINE_BYTES, 0);
    ck_assert_uint_eq(sizeof(vm->stats.stripe[0]) % LINE_BYTES, 0);
    for (int t = 0; t < THREADS; t++) {
        memcpy(before, arena, sizeof(arena));
        let(t);
        for (size_t l = 0; l < N_LINES; l++) {
            if (memcmp(before + l * LINE_BYTES, arena + l * LINE_BYTES, LINE_BYTES) == 0)
                continue;
            ck_assert_msg(writer[l] == -1, "threads %d and %d write line %zu", writer[l], t, l);
            ck_assert_msg(l >= stats, "thread %d writes line %zu, which all read", t, l);
            writer[l] = (int8_t)t;
            n_written[t]++;
        }
        ck_assert_uint_gt(n_written[t], 0); /* it counts */
    }
    for (int t = 0; t < THREADS; t++)
        ck_assert_uint_eq(n_written[t], n_written[0]);
    printf("each thread writes %u lines, its own\n", n_written[0]);
}

static const struct {
    uint32_t pairs;
    bool queue_stats;
} shapes[] = {{256, false}, {PAIRS, false}, {7, false}, {PAIRS, true}, {PAIRS + 1, true}, {256, true}};
enum { N_SHAPES = sizeof(shapes) / sizeof(*shapes) };

/* Mutations: stats_stripe() gives all threads the same; struct stripe is not aligned. */
START_TEST(each_writes_in_lines_of_its_own)
{
    pthread_t id[THREADS];
    int number[THREADS];
    make_packets();
    pthread_mutex_lock(&mutex);
    turn = -1;
    for (int t = 0; t < THREADS; t++) {
        number[t] = t;
        ck_assert_int_eq(pthread_create(&id[t], NULL, take_turns, &number[t]), 0);
    }
    create(shapes[_i].queue_stats, shapes[_i].pairs);
    check_writers();
    for (int a = 0; a < THREADS; a++) {
        for (int b = 0; b < THREADS; b++) {
            if (a == b)
                continue;
            distinct_lines(threads[a], sizeof(*threads[a]), threads[b]);
            distinct_lines(threads[a]->record, LINE_BYTES, threads[b]->record);
        }
    }
    pass_to(THREADS);
    pthread_mutex_unlock(&mutex);
    for (int t = 0; t < THREADS; t++)
        pthread_join(id[t], NULL);
    flowq_vm_destroy(vm);
}
END_TEST

int main(void)
{
    (void)seed_get("check_sharing");
    Suite *s = suite_create("sharing");
    TCase *tc = tcase_create("sharing");
    tcase_add_loop_test(tc, each_writes_in_lines_of_its_own, 0, N_SHAPES);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
