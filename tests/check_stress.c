/*
 * check_stress: everything at once on real threads, for ThreadSanitizer and AddressSanitizer, and for the races that only
 * processors make: noters, steerers, setters of queues, RSS that comes and goes, a table that grows and is trimmed under a clock
 * that runs fast, fragments, resets, look-ups, walks, statistics, threads that end inside a section, vms that come and go.
 *
 * What must hold meanwhile: each answer was in use at some instant of the call. What must hold afterwards: bare_wrong().
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bare.h"
#include "frames.h"
#include "resident.h"
#include "runner.h"
#include "seed.h"

#define N_FLOWS     6000
#define BURST       48
#define SOAK_POINTS 12

static uint64_t seed;
static uint32_t n_pairs;
static struct bare b;
static struct flowq_vm *other; /* second vm of mixed bursts */
static struct frame sent[N_FLOWS], arriving[N_FLOWS];
static atomic_bool over;
static atomic_uint n_wrong;
static atomic_u64 n_notes, n_steers, n_bound, n_queue_changes, n_rss, n_resets, n_walks, n_threads_ended, n_vms;

static void wrong(const char *what)
{
    if (atomic_fetch_add(&n_wrong, 1) < 10)
        fprintf(stderr, "wrong: %s\n", what);
}

/* ---- Which queues may be in use ----------------------------------------------------------------------------------------- */

#define MAX_PAIRS 128
#define VERSIONS  4096

/* What answers may be: queues, and whether FLOWQ_DROP. */
struct answers {
    uint64_t queue[MAX_PAIRS / 64], drop;
};

enum { ANSWER_WORDS = sizeof(struct answers) / sizeof(uint64_t) };

/* The setter's diary: what may be answered, by version. While it sets, what was and what will be both may. */
static atomic_u64 diary[VERSIONS][ANSWER_WORDS], version;

static struct answers either(struct answers one, struct answers other_ones)
{
    for (unsigned w = 0; w < MAX_PAIRS / 64; w++)
        one.queue[w] |= other_ones.queue[w];
    one.drop |= other_ones.drop;
    return one;
}

static void write_diary(struct answers may)
{
    uint64_t next = atomic_load(&version) + 1, words[ANSWER_WORDS];
    memcpy(words, &may, sizeof(words));
    for (unsigned w = 0; w < ANSWER_WORDS; w++)
        atomic_store(&diary[next % VERSIONS][w], words[w]);
    atomic_store(&version, next);
}

static uint64_t read_version(void) { return atomic_fetch_add(&version, 0); }

/* May this have been answered since `from`? Anything may, if that was too long ago. */
static bool may_since(uint64_t from, uint32_t word, uint32_t bit)
{
    uint64_t may = 0, to = read_version();
    for (uint64_t v = from; v <= to; v++)
        may |= atomic_load(&diary[v % VERSIONS][word]);
    return read_version() - from >= VERSIONS - 2 || may >> bit & 1;
}

static void was_in_use(uint64_t from, uint16_t qid)
{
    if (qid == FLOWQ_DROP ? !may_since(from, MAX_PAIRS / 64, 0) : qid >= n_pairs || !may_since(from, qid / 64, qid % 64))
        wrong("an answer was not in use at any instant of the call");
}

/* What the setter has set. */
struct set {
    uint64_t enabled[MAX_PAIRS / 64], resetting[MAX_PAIRS / 64], named[MAX_PAIRS / 64];
    uint32_t pairs;
    bool rss;
};

static void set_bit(uint64_t *words, uint32_t bit, bool on)
{
    words[bit / 64] = on ? words[bit / 64] | UINT64_C(1) << bit % 64 : words[bit / 64] & ~(UINT64_C(1) << bit % 64);
}

static struct answers answers_of(const struct set *s)
{
    struct answers a = {.drop = 0};
    bool any = false, resetting = false;
    for (uint32_t q = 0; q < n_pairs; q++) {
        uint64_t bit = UINT64_C(1) << q % 64;
        bool in_use = (q < s->pairs || s->named[q / 64] & bit) && s->enabled[q / 64] & bit && !(s->resetting[q / 64] & bit);
        set_bit(a.queue, q, in_use);
        any = any || in_use;
        resetting = resetting || s->resetting[q / 64] & bit;
    }
    a.drop = !any || (s->rss && resetting);
    return a;
}

/* RSS, with a table that names some queues beside the pairs. False: no memory now, nothing has changed. */
static bool rule(const struct set *s, const uint16_t *table, uint32_t n)
{
    const struct flowq_rss rss = {.size = sizeof(rss),
                                  .table = table,
                                  .table_length = n,
                                  .unclassified = table[0],
                                  .max_tx = s->pairs,
                                  .hash_types = FLOWQ_HASH_TYPE_IPV4 | FLOWQ_HASH_TYPE_TCPV4,
                                  .key = "some forty bytes that are hashed with...",
                                  .key_length = 40};
    int r = flowq_vm_set_rss(b.vm, &rss);
    if (r != 0 && r != -ENOMEM)
        wrong("flowq_vm_set_rss() failed");
    atomic_fetch_add(&n_rss, r == 0);
    return r == 0;
}

/* Changes one thing, of which `next` is to tell, and the diary before it happens. */
static void change_queues(struct rng *rng, struct set *is)
{
    struct set next = *is;
    uint32_t what = rng_below(rng, 6), qid = rng_below(rng, n_pairs);
    uint16_t table[8];
    bool on = rng_percent(rng, 80);
    if (what == 0 || what == 4) {
        next.pairs = rng_range(rng, rng_percent(rng, 10) ? 1 : n_pairs / 2, n_pairs);
        memset(next.named, 0, sizeof(next.named));
        next.rss = what == 4;
        for (unsigned i = 0; i < 8; i++) {
            table[i] = (uint16_t)rng_below(rng, n_pairs);
            if (what == 4)
                set_bit(next.named, table[i], true);
        }
    } else if (what == 1) {
        set_bit(next.enabled, qid, on);
    } else if (what == 2) {
        set_bit(next.resetting, qid, !on);
    } else if (what == 3) {
        memset(next.enabled, 0xff, sizeof(next.enabled));
        memset(next.resetting, 0, sizeof(next.resetting));
    } else {
        next.rss = false;
        memset(next.named, 0, sizeof(next.named));
    }
    struct set between = *is; /* of what == 3: two setters, one after the other */
    memcpy(between.enabled, next.enabled, sizeof(between.enabled));
    write_diary(either(either(answers_of(is), answers_of(&next)), answers_of(&between)));
    if (what == 0)
        flowq_vm_set_queue_pairs(b.vm, next.pairs);
    else if (what == 1)
        flowq_vm_set_queue_enabled(b.vm, qid, on);
    else if (what == 2)
        flowq_vm_set_queue_resetting(b.vm, qid, !on);
    else if (what == 3) {
        flowq_vm_set_queue_enabled(b.vm, FLOWQ_ALL_QUEUES, true);
        flowq_vm_set_queue_resetting(b.vm, FLOWQ_ALL_QUEUES, false);
    } else if (what == 5)
        flowq_vm_reset(b.vm, FLOWQ_RESET_CONFIG);
    else if (!rule(&next, table, 8))
        next = *is;
    *is = next;
    write_diary(answers_of(is));
    atomic_fetch_add(&n_queue_changes, 1);
}

static void *set_queues(void *arg)
{
    struct rng rng = {seed ^ (uintptr_t)arg};
    struct set is = {.pairs = n_pairs};
    memset(is.enabled, 0xff, sizeof(is.enabled));
    while (!atomic_load(&over)) {
        change_queues(&rng, &is);
        if (rng_percent(&rng, 10))
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    return NULL;
}

/* ---- Notes and steering ------------------------------------------------------------------------------------------------- */

static uint32_t some_packets(struct rng *rng, const struct frame *from, struct flowq_pkt *pkts)
{
    /* Now some flows, now others, so that those of before grow stale. */
    uint32_t n = rng_range(rng, 1, BURST), span = N_FLOWS / 4, at = (uint32_t)(atomic_load(&b.now_ns) >> 34) % N_FLOWS;
    for (uint32_t i = 0; i < n; i++)
        pkts[i] = frame_pkt(&from[(at + rng_below(rng, span)) % N_FLOWS]);
    return n;
}

static void *note_flows(void *arg)
{
    struct rng rng = {seed ^ (uintptr_t)arg};
    struct flowq_pkt pkts[BURST];
    while (!atomic_load(&over)) {
        uint32_t n = some_packets(&rng, sent, pkts), qid = rng_below(&rng, n_pairs);
        bool section = rng_percent(&rng, 20);
        if (section)
            flowq_enter();
        if (rng_percent(&rng, 50))
            flowq_tx_note_burst(b.vm, pkts, n, qid);
        else
            for (uint32_t i = 0; i < n; i++)
                flowq_tx_note(b.vm, &pkts[i], qid);
        if (section)
            flowq_leave();
        atomic_fetch_add(&n_notes, n);
    }
    return NULL;
}

static void *steer_flows(void *arg)
{
    struct rng rng = {seed ^ (uintptr_t)arg};
    struct flowq_pkt pkts[BURST];
    struct flowq_decision decisions[BURST];
    struct flowq_vm *vms[BURST];
    uint16_t qids[BURST];
    while (!atomic_load(&over)) {
        uint32_t n = some_packets(&rng, arriving, pkts), how = rng_below(&rng, 5), bound = 0;
        for (uint32_t i = 0; i < n; i++)
            vms[i] = how >= 3 && rng_percent(&rng, 30) ? other : b.vm;
        uint64_t from = read_version();
        if (how == 0)
            flowq_rx_steer_burst(b.vm, pkts, n, qids);
        else if (how == 1)
            flowq_rx_decide_burst(b.vm, pkts, n, decisions);
        else if (how == 2)
            qids[n = 0] = flowq_rx_steer(b.vm, &pkts[0]), n = 1;
        else if (how == 3)
            flowq_rx_steer_burst_vms(vms, pkts, n, qids);
        else
            flowq_rx_decide_burst_vms(vms, pkts, n, decisions);
        for (uint32_t i = 0; i < n; i++) {
            if (vms[i] == other)
                continue;
            bool decided = how == 1 || how == 4;
            was_in_use(from, decided ? decisions[i].qid : qids[i]);
            bound += decided && decisions[i].reason == FLOWQ_REASON_BOUND;
        }
        atomic_fetch_add(&n_steers, n);
        atomic_fetch_add(&n_bound, bound);
    }
    return NULL;
}

/* ---- Housekeeping, looking ---------------------------------------------------------------------------------------------- */

/* Time flies: half an hour in a fraction of a second. */
static void *keep_house(void *arg)
{
    struct rng rng = {seed ^ (uintptr_t)arg};
    while (!atomic_load(&over)) {
        atomic_fetch_add(&b.now_ns, rng_below(&rng, 2000) * UINT64_C(1000000));
        flowq_vm_maintain(b.vm);
        if (rng_below(&rng, 400) == 0) {
            atomic_fetch_add(&b.now_ns, 1900 * BARE_SECOND);
            for (unsigned i = 0; i < 50; i++)
                flowq_vm_maintain(b.vm);
        }
        if (rng_below(&rng, 3000) == 0) {
            flowq_vm_reset(b.vm, FLOWQ_RESET_FLOWS);
            atomic_fetch_add(&n_resets, 1);
        }
        if (rng_percent(&rng, 20))
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    return NULL;
}

static int see(void *ctx, const struct flowq_binding *binding)
{
    if (binding->qid >= n_pairs || binding->cls < FLOWQ_CLASS_EMBRYONIC || binding->cls > FLOWQ_CLASS_CLOSING || binding->id == 0)
        wrong("a binding that makes no sense");
    ++*(uint64_t *)ctx;
    return 0;
}

static void *look_around(void *arg)
{
    struct rng rng = {seed ^ (uintptr_t)arg};
    while (!atomic_load(&over)) {
        struct flowq_stats s = {.size = sizeof(s)};
        uint64_t n = 0;
        if (flowq_vm_flows(b.vm, see, &n) != 0)
            wrong("flowq_vm_flows() failed");
        flowq_vm_stats(b.vm, &s);
        if (s.table_bytes > 64u << 20 || s.retired_bytes > 64u << 20)
            wrong("statistics that make no sense");
        for (unsigned i = 0; i < 50; i++) {
            struct flowq_tuple t =
                tuple_v4(FRAME_PROTO_TCP, 0xc0a80001, (uint16_t)rng_range(&rng, 10000, 10000 + N_FLOWS), 0x0a000001, 80);
            struct flowq_binding binding = {.size = sizeof(binding)};
            if (flowq_vm_lookup(b.vm, &t, &binding) == 0)
                see(&n, &binding);
        }
        atomic_fetch_add(&n_walks, 1);
    }
    return NULL;
}

/* ---- Threads and vms that come and go ----------------------------------------------------------------------------------- */

static void *end_inside(void *arg)
{
    struct rng rng = {seed ^ (uintptr_t)arg};
    struct flowq_pkt pkts[BURST];
    flowq_enter();
    flowq_tx_note_burst(b.vm, pkts, some_packets(&rng, sent, pkts), rng_below(&rng, n_pairs));
    flowq_enter();
    flowq_rx_steer(b.vm, pkts);
    return NULL; /* with two sections open */
}

static void *start_threads(void *arg)
{
    uintptr_t i = (uintptr_t)arg;
    while (!atomic_load(&over)) {
        pthread_t id[4];
        for (unsigned k = 0; k < 4; k++)
            if (pthread_create(&id[k], NULL, end_inside, (void *)i++) != 0)
                wrong("pthread_create() failed");
        for (unsigned k = 0; k < 4; k++)
            pthread_join(id[k], NULL);
        atomic_fetch_add(&n_threads_ended, 4);
        flowq_synchronize();
    }
    return NULL;
}

static void *make_vms(void *arg)
{
    struct rng rng = {seed ^ (uintptr_t)arg};
    struct flowq_pkt pkts[BURST];
    while (!atomic_load(&over)) {
        struct flowq_vm_config cfg = {.size = sizeof(cfg), .max_flows = rng_range(&rng, 8, 5000)};
        struct flowq_vm *vm;
        if (flowq_vm_create(&cfg, &vm) != 0) {
            wrong("flowq_vm_create() failed");
            continue;
        }
        flowq_vm_set_queue_pairs(vm, n_pairs);
        for (unsigned i = 0; i < 40; i++)
            flowq_tx_note_burst(vm, pkts, some_packets(&rng, sent, pkts), rng_below(&rng, n_pairs));
        flowq_rx_steer(vm, pkts);
        flowq_vm_maintain(vm);
        flowq_vm_destroy(vm);
        atomic_fetch_add(&n_vms, 1);
    }
    return NULL;
}

/* ---- All of them -------------------------------------------------------------------------------------------------------- */

static void prepare(const struct flowq_vm_config *with)
{
    struct flowq_vm_config cfg = *with, plain = {.size = sizeof(plain)};
    n_pairs = cfg.max_queue_pairs;
    cfg.virtio_features = FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_HASH_REPORT | FLOWQ_VIRTIO_F_VERSION_1;
    cfg.queue_stats = FLOWQ_ON;
    ck_assert_int_eq(bare_make(&b, &cfg, n_pairs), 0);
    ck_assert_int_eq(flowq_vm_create(&plain, &other), 0);
    flowq_vm_set_queue_pairs(other, n_pairs);
    for (uint32_t i = 0; i < N_FLOWS; i++) {
        struct flowq_tuple t =
            tuple_v4(i % 3 ? FRAME_PROTO_TCP : FRAME_PROTO_UDP, 0x0a000001, 80, 0xc0a80001, (uint16_t)(10000 + i));
        struct flowq_tuple back = tuple_reverse(&t);
        frame_flow(&sent[i], &t, i % 7 == 1 ? FRAME_SYN : i % 11 == 1 ? FRAME_FIN : FRAME_ACK);
        frame_flow(&arriving[i], &back, FRAME_ACK);
        if (i % 50 == 0) { /* and the cache of fragments */
            frame_fragment(&sent[i], &t, i, 0, true);
            frame_fragment(&arriving[i], &back, i / 100, i % 100 ? 800 : 0, true);
        }
    }
    struct set all = {.pairs = n_pairs};
    memset(all.enabled, 0xff, sizeof(all.enabled));
    write_diary(answers_of(&all));
}

static size_t curve[SOAK_POINTS];

static void wait_for(double seconds, size_t *resident_then)
{
    nanosleep(&(struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)}, NULL);
    *resident_then = resident();
}

static void all_at_once(const struct flowq_vm_config *cfg, double seconds)
{
    static void *(*const what[])(void *) = {note_flows, note_flows, note_flows,  steer_flows,   steer_flows,
                                            set_queues, keep_house, look_around, start_threads, make_vms};
    enum { N = sizeof(what) / sizeof(what[0]) };
    pthread_t id[N];
    prepare(cfg);
    atomic_store(&over, false);
    for (uintptr_t i = 0; i < N; i++)
        ck_assert_int_eq(pthread_create(&id[i], NULL, what[i], (void *)(i << sizeof(i) * 4)), 0);
    for (unsigned i = 0; i < SOAK_POINTS; i++)
        wait_for(seconds / SOAK_POINTS, &curve[i]);
    atomic_store(&over, true);
    for (unsigned i = 0; i < N; i++)
        pthread_join(id[i], NULL);
    struct flowq_stats s = {.size = sizeof(s)};
    flowq_vm_stats(b.vm, &s);
    printf("%llu notes, %llu packets steered (%llu bound), %llu changes of queues (%llu times RSS), %llu resets, %llu walks, "
           "%llu threads ended, "
           "%llu vms; "
           "%llu inserted, %llu displaced, %llu reclaimed, %llu forgotten, %llu grown, %llu shrunk, %llu busy\n",
           (unsigned long long)n_notes, (unsigned long long)n_steers, (unsigned long long)n_bound,
           (unsigned long long)n_queue_changes, (unsigned long long)n_rss, (unsigned long long)n_resets,
           (unsigned long long)n_walks, (unsigned long long)n_threads_ended, (unsigned long long)n_vms,
           (unsigned long long)s.inserted, (unsigned long long)bare_displaced(&b), (unsigned long long)s.reclaimed,
           (unsigned long long)s.forgotten, (unsigned long long)s.grown, (unsigned long long)s.shrunk,
           (unsigned long long)s.note[FLOWQ_NOTE_BUSY]);
    fflush(stdout);
    flowq_vm_reset(b.vm, FLOWQ_RESET_CONFIG); /* its memory is none of the table's */
    flowq_vm_maintain(b.vm);
    const char *left = bare_wrong(&b);
    ck_assert_msg(left == NULL, "%s", left);
    ck_assert_uint_eq(n_wrong, 0);
    flowq_vm_maintain(b.vm);
    ck_assert_uint_eq(atomic_load(&b.table->grow.retired_bytes), 0); /* nobody is inside any more */
    bare_free(&b);
    flowq_vm_destroy(other);
    ck_assert_uint_eq(b.bytes, 0);
}

static const struct flowq_vm_config configs[] = {
    {.max_queue_pairs = 16, .max_flows = 65536},                                                      /* grows, is trimmed */
    {.max_queue_pairs = 16, .max_flows = 16, .initial_flows = 16, .active_ms = 1000, .fragments = 8}, /* crowded */
    {.max_queue_pairs = 16, .max_flows = 2048, .rebind_min_tcp_us = 20000, .rebind_min_other_us = 1000000}, /* binding times */
    {.max_queue_pairs = MAX_PAIRS - 8, .max_flows = 65536, .fragments = 8},                                 /* many queues */
};

/* For long: FLOWQ_SOAK says how many seconds. It works before the test, as a fixture: Check tells how long a test took in an int
   of microseconds, and gives up at 36 minutes. */
static double soak_seconds(void)
{
    const char *text = getenv("FLOWQ_SOAK");
    return text ? atof(text) : seed_long() ? 120 : 2;
}

static void soak_before(void) { all_at_once(&configs[0], soak_seconds()); }

/* What is resident does not grow: of the twelve times it is looked at, the last third has no more than the rest, and an eighth,
   as the table comes and goes. */
START_TEST(soak)
{
    size_t before = 0, last = 0;
    printf("soak of %.0f s, KB resident:", soak_seconds());
    for (unsigned i = 0; i < SOAK_POINTS; i++) {
        printf(" %zu", curve[i] >> 10);
        size_t *most = i < SOAK_POINTS * 2 / 3 ? &before : &last;
        *most = curve[i] > *most ? curve[i] : *most;
    }
    printf("\n");
    fflush(stdout);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (soak_seconds() >= 60) /* before, it warms up */
        ck_assert_uint_le(last, before + before / 8);
#endif
}
END_TEST

START_TEST(everything_at_once) { all_at_once(&configs[_i], seed_long() ? 60 : 1.5); }
END_TEST

int main(void)
{
    seed = seed_get("check_stress");
    Suite *s = suite_create("stress");
    TCase *tc = tcase_create("stress");
    TCase *long_one = tcase_create("soak");
    tcase_set_timeout(tc, seed_long() ? 1200 : 120);
    tcase_set_timeout(long_one, soak_seconds() + (getenv("FLOWQ_SOAK") || seed_long() ? 1200 : 120));
    tcase_add_loop_test(tc, everything_at_once, 0, (int)(sizeof(configs) / sizeof(configs[0])));
    tcase_add_checked_fixture(long_one, soak_before, NULL);
    tcase_add_test(long_one, soak);
    suite_add_tcase(s, tc);
    suite_add_tcase(s, long_one);
    return suite_run(s);
}
