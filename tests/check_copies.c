/*
 * check_copies: two copies of the library in one process. A program has one, an object that it loads brings another: as an
 * archive inside it (tests/plugin.c), or as a libflowq.so of its own, whose functions have the names of the program's. Each copy
 * has its threads, its sections and its vms; a thread may be in both.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "flowq.h"

#include "runner.h"

#define PAIRS     4
#define N_PACKETS 40 /* more than one batch */
#define N_THREADS 4
#define N_TURNS   200

/* What is called of a copy. */
struct copy {
    void *handle;
    int (*create)(const struct flowq_vm_config *cfg, struct flowq_vm **out);
    void (*destroy)(struct flowq_vm *vm);
    int (*set_queue_pairs)(struct flowq_vm *vm, uint32_t n);
    int (*enter)(void);
    void (*leave)(void);
    int (*synchronize)(void);
    int (*stats)(struct flowq_vm *vm, struct flowq_stats *out);
    uint32_t (*note)(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid);
    uint16_t (*steer)(struct flowq_vm *vm, const struct flowq_pkt *pkt);
    void (*steer_burst_vms)(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, uint16_t *qids);
    void (*decide_burst_vms)(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out);
    size_t (*group_vms)(struct flowq_vm *const *vms, const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs,
                        size_t max_runs);
};

static void *symbol(void *handle, const char *name)
{
    void *at = dlsym(handle, name);
    ck_assert_msg(at != NULL, "%s", dlerror());
    return at;
}

static struct copy copy_open(const char *path, int scope)
{
    struct copy c = {.handle = dlopen(path, RTLD_NOW | scope)};
    ck_assert_msg(c.handle != NULL, "%s", dlerror());
    *(void **)&c.create = symbol(c.handle, "flowq_vm_create");
    *(void **)&c.destroy = symbol(c.handle, "flowq_vm_destroy");
    *(void **)&c.set_queue_pairs = symbol(c.handle, "flowq_vm_set_queue_pairs");
    *(void **)&c.enter = symbol(c.handle, "flowq_enter");
    *(void **)&c.leave = symbol(c.handle, "flowq_leave");
    *(void **)&c.synchronize = symbol(c.handle, "flowq_synchronize");
    *(void **)&c.stats = symbol(c.handle, "flowq_vm_stats");
    *(void **)&c.note = symbol(c.handle, "flowq_tx_note");
    *(void **)&c.steer = symbol(c.handle, "flowq_rx_steer");
    *(void **)&c.steer_burst_vms = symbol(c.handle, "flowq_rx_steer_burst_vms");
    *(void **)&c.decide_burst_vms = symbol(c.handle, "flowq_rx_decide_burst_vms");
    *(void **)&c.group_vms = symbol(c.handle, "flowq_group_vms");
    return c;
}

/* The program's, with names that all see, as if it had been linked with it; and a plugin's, from a file of its own: the loader
   takes the same file for the same object. */
static struct copy own, other;
static char second[] = "/tmp/check_copies.XXXXXX";

static void set_up(void)
{
    char command[1024];
    int fd = mkstemp(second);
    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(command, sizeof(command), "cp '%s' '%s'", LIBRARY, second);
    ck_assert_int_eq(system(command), 0);
    own = copy_open(LIBRARY, RTLD_GLOBAL);
    other = copy_open(second, RTLD_LOCAL);
    ck_assert(own.create != other.create);
}

static void tear_down(void)
{
    unlink(second);
    memcpy(strrchr(second, '.'), ".XXXXXX", sizeof(".XXXXXX"));
}

/* IPv4, TCP with ACK, host to 192.0.2.1 or back: by the port. */
static void build(uint8_t frame[40], bool sent, uint16_t port)
{
    static const uint8_t ip[20] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 10, 192, 0, 2, 1};
    memset(frame, 0, 40);
    memcpy(frame, ip, sizeof(ip));
    if (!sent) {
        memcpy(frame + 12, ip + 16, 4);
        memcpy(frame + 16, ip + 12, 4);
    }
    uint8_t *ports = frame + 20;
    ports[sent ? 0 : 2] = (uint8_t)(port >> 8);
    ports[sent ? 1 : 3] = (uint8_t)port;
    ports[sent ? 3 : 1] = 80;
    frame[32] = 5 << 4;
    frame[33] = 0x10; /* ACK */
}

static struct flowq_vm *vm_of(const struct copy *c)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg), .max_queue_pairs = PAIRS};
    struct flowq_vm *vm = NULL;
    ck_assert_int_eq(c->create(&cfg, &vm), 0);
    ck_assert_int_eq(c->set_queue_pairs(vm, PAIRS), 0);
    return vm;
}

static void learn(const struct copy *c, struct flowq_vm *vm, uint32_t shift)
{
    for (uint16_t i = 0; i < N_PACKETS; i++) {
        uint8_t frame[40];
        build(frame, true, i);
        const struct flowq_pkt pkt = {.data = frame, .len = sizeof(frame), .flags = FLOWQ_PKT_L3};
        ck_assert_uint_le(c->note(vm, &pkt, (i + shift) % PAIRS), FLOWQ_NOTE_MOVED);
        c->note(vm, &pkt, (i + shift) % PAIRS);
    }
}

/* All ways that packets come to a vm of a copy lead to what that vm learned, and count there. */
static void expect(const struct copy *c, struct flowq_vm *vm, uint32_t shift)
{
    uint8_t frames[N_PACKETS][40];
    struct flowq_pkt pkts[N_PACKETS];
    struct flowq_vm *vms[N_PACKETS];
    struct flowq_decision decisions[N_PACKETS];
    struct flowq_run runs[PAIRS];
    uint16_t qids[N_PACKETS], order[N_PACKETS];
    struct flowq_stats before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
    ck_assert_int_eq(c->stats(vm, &before), 0);
    for (uint16_t i = 0; i < N_PACKETS; i++) {
        build(frames[i], false, i);
        pkts[i] = (struct flowq_pkt){.data = frames[i], .len = sizeof(frames[i]), .flags = FLOWQ_PKT_L3};
        vms[i] = vm;
        ck_assert_uint_eq(c->steer(vm, &pkts[i]), (i + shift) % PAIRS);
    }
    c->steer_burst_vms(vms, pkts, N_PACKETS, qids);
    c->decide_burst_vms(vms, pkts, N_PACKETS, decisions);
    for (uint16_t i = 0; i < N_PACKETS; i++) {
        ck_assert_uint_eq(qids[i], (i + shift) % PAIRS);
        ck_assert_uint_eq(decisions[i].qid, (i + shift) % PAIRS);
    }
    ck_assert_uint_eq(c->group_vms(vms, qids, N_PACKETS, order, runs, PAIRS), PAIRS);
    ck_assert_int_eq(c->stats(vm, &after), 0);
    ck_assert_uint_eq(after.steer[FLOWQ_REASON_BOUND] + after.steer[FLOWQ_REASON_FALLBACK] - before.steer[FLOWQ_REASON_BOUND] -
                          before.steer[FLOWQ_REASON_FALLBACK],
                      3 * N_PACKETS);
}

START_TEST(each_learns_for_itself)
{
    struct flowq_vm *mine = vm_of(&own), *its = vm_of(&other);
    learn(&own, mine, 0);
    learn(&other, its, 1);
    for (int turn = 0; turn < 3; turn++) {
        expect(&own, mine, 0);
        expect(&other, its, 1);
    }
    own.destroy(mine);
    other.destroy(its);
}
END_TEST

/* A section of the one keeps nobody waiting in the other; and each knows its own. */
START_TEST(sections_are_apart)
{
    ck_assert_int_eq(own.enter(), 0);
    ck_assert_int_eq(own.synchronize(), -EDEADLK);
    ck_assert_int_eq(other.synchronize(), 0);
    ck_assert_int_eq(other.enter(), 0);
    own.leave();
    ck_assert_int_eq(own.synchronize(), 0);
    ck_assert_int_eq(other.synchronize(), -EDEADLK);
    other.leave();
    ck_assert_int_eq(other.synchronize(), 0);
}
END_TEST

/*
 * No call of a library's own leads out of it, whatever the program defines: what it calls of itself is bound when it is linked.
 * Else a burst for several vms would go on in another copy, with that one's threads and sections.
 */
static bool called_outside;

void flowq_rx_steer_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    called_outside = true;
    (void)vm, (void)pkts, (void)n, (void)qids;
}

void flowq_rx_decide_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out)
{
    called_outside = true;
    (void)vm, (void)pkts, (void)n, (void)out;
}

size_t flowq_group(const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs, size_t max_runs)
{
    called_outside = true;
    (void)qids, (void)n, (void)order, (void)runs, (void)max_runs;
    return 0;
}

START_TEST(calls_stay_inside)
{
    /* The program's functions are in front of the library's. */
    ck_assert(dlsym(RTLD_DEFAULT, "flowq_group") == (void *)&flowq_group);
    struct flowq_vm *mine = vm_of(&own), *its = vm_of(&other);
    learn(&own, mine, 0);
    learn(&other, its, 1);
    expect(&own, mine, 0);
    expect(&other, its, 1);
    ck_assert(!called_outside);
    own.destroy(mine);
    other.destroy(its);
}
END_TEST

static void *work_in_both(void *arg)
{
    uint32_t shift = *(uint32_t *)arg;
    for (int turn = 0; turn < N_TURNS; turn++) {
        struct flowq_vm *mine = vm_of(&own), *its = vm_of(&other);
        learn(&own, mine, shift);
        ck_assert_int_eq(own.enter(), 0);
        learn(&other, its, shift + 1);
        expect(&other, its, shift + 1);
        own.leave();
        expect(&own, mine, shift);
        own.destroy(mine);
        other.destroy(its);
    }
    /* It ends in a section of each. */
    ck_assert_int_eq(own.enter(), 0);
    ck_assert_int_eq(other.enter(), 0);
    return NULL;
}

START_TEST(threads_in_both)
{
    pthread_t id[N_THREADS];
    uint32_t shift[N_THREADS];
    for (uint32_t i = 0; i < N_THREADS; i++) {
        shift[i] = i;
        ck_assert_int_eq(pthread_create(&id[i], NULL, work_in_both, &shift[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++)
        ck_assert_int_eq(pthread_join(id[i], NULL), 0);
    /* Nothing is left open in either. */
    ck_assert_int_eq(own.synchronize(), 0);
    ck_assert_int_eq(other.synchronize(), 0);
}
END_TEST

/* The plugin's copy is in an archive: its names are not seen at all. */
START_TEST(a_third_inside_a_plugin)
{
    void *plugin = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(plugin != NULL, "%s", dlerror());
    int (*use)(void);
    *(void **)&use = symbol(plugin, "plugin_use");
    ck_assert_ptr_null(dlsym(plugin, "flowq_vm_create"));
    struct flowq_vm *mine = vm_of(&own);
    learn(&own, mine, 2);
    ck_assert_int_eq(own.enter(), 0);
    ck_assert_int_eq(use(), 0);
    ck_assert_int_eq(other.synchronize(), 0);
    own.leave();
    expect(&own, mine, 2);
    ck_assert_int_eq(dlclose(plugin), 0);
    expect(&own, mine, 2);
    own.destroy(mine);
}
END_TEST

int main(void)
{
    if (access(LIBRARY, R_OK) != 0 || access(PLUGIN, R_OK) != 0) {
        printf("check_copies: skipped: no shared objects are built here\n");
        return 77;
    }
    Suite *suite = suite_create("copies");
    TCase *tc = tcase_create("copies");
    tcase_set_timeout(tc, 300);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, each_learns_for_itself);
    tcase_add_test(tc, sections_are_apart);
    tcase_add_test(tc, calls_stay_inside);
    tcase_add_test(tc, threads_in_both);
    tcase_add_test(tc, a_third_inside_a_plugin);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
