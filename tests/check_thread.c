/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads, sections and epochs as the library uses them: lib/thread.h, lib/epoch.h, and the four public calls. Each test runs in a process
 * of its own (Check forks), which begins with no thread registered.
 */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "epoch.h"
#include "flowq.h"
#include "seed.h"
#include "thread.h"

/* What sanitizers cannot do: start threads in the child of a process with threads; and, TSan, run code in the last round of destructors. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif
#ifdef SANITIZED
#define THREADS_IN_CHILD 0
#define DESTRUCTOR_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 1)
#else
#define THREADS_IN_CHILD 1
#define DESTRUCTOR_ROUNDS PTHREAD_DESTRUCTOR_ITERATIONS
#endif

static uint64_t seed;

static unsigned n_allocated, fail_at; /* allocations of registrations; which of them fails, counted from 1 (0: none) */

static void *counting_alloc(size_t alignment, size_t size)
{
    n_allocated++;
    return n_allocated == fail_at ? NULL : aligned_alloc(alignment, size);
}

/*
 * For threads, loops and children of fork(), where Check's own assertions must not be: each sends a message under a mutex, which orders
 * what should race, and may be held for ever in a child.
 */
#define MUST(cond) ((cond) ? (void)0 : must_failed(__LINE__, #cond))

static void must_failed(int line, const char *what)
{
    fprintf(stderr, "check_thread.c:%d: failed: %s\n", line, what);
    abort();
}

static pthread_t start(void *(*fn)(void *), void *arg)
{
    pthread_t id;

    MUST(pthread_create(&id, NULL, fn, arg) == 0);
    return id;
}

static bool passes_soon(uint64_t stamp)
{
    for (int i = 0; i < 100; i++)
        if (epoch_passed(stamp))
            return true;
    return false;
}

/* A thread that opens a section, says so, and keeps it until told to end; what it then does is up to the test. */
struct holder {
    sem_t in, out;
    bool leave; /* before it ends */
    uint32_t index;
    pthread_t id;
};

static void *hold(void *arg)
{
    struct holder *h = arg;

    MUST(flowq_enter() == 0);
    h->index = thread_self()->index;
    sem_post(&h->in);
    sem_wait(&h->out);
    if (h->leave)
        flowq_leave();
    return NULL;
}

static void holder_start(struct holder *h, bool leave)
{
    sem_init(&h->in, 0, 0);
    sem_init(&h->out, 0, 0);
    h->leave = leave;
    h->id = start(hold, h);
    sem_wait(&h->in);
}

static void holder_end(struct holder *h)
{
    sem_post(&h->out);
    pthread_join(h->id, NULL);
}

/* ---- Sections -------------------------------------------------------------------------------------------------------------------- */

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

START_TEST(stamps_pass_when_other_threads_leave)
{
    struct holder a, b;
    uint64_t before = epoch_stamp(), first, second;

    ck_assert(passes_soon(before));
    holder_start(&a, true);
    first = epoch_stamp();
    ck_assert_uint_ge(first, before);
    ck_assert(epoch_passed(before));
    ck_assert(!passes_soon(first));
    holder_start(&b, true);
    second = epoch_stamp();
    ck_assert_uint_ge(second, first);
    ck_assert(!passes_soon(second));
    holder_end(&a); /* b opened its section after the first stamp, so it is not waited for */
    ck_assert(!passes_soon(second));
    ck_assert(passes_soon(first));
    holder_end(&b);
    ck_assert(passes_soon(second));
    ck_assert(epoch_passed(first) && epoch_passed(before) && epoch_passed(0));
}
END_TEST

/* Sections opened after the stamp do not hold it up, even if they never end, and whether it was asked for meanwhile or not. */
START_TEST(later_sections_do_not_delay)
{
    struct holder first, later[4];
    uint64_t stamp;

    for (int asked = 0; asked < 2; asked++) {
        holder_start(&first, true);
        stamp = epoch_stamp();
        for (int i = 0; i < 4; i++) {
            ck_assert(asked == 0 || !passes_soon(stamp));
            holder_start(&later[i], true);
        }
        holder_end(&first);
        ck_assert(passes_soon(stamp));
        ck_assert(!passes_soon(epoch_stamp()));
        for (int i = 0; i < 4; i++)
            holder_end(&later[i]);
    }
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

/* ---- The end of a thread --------------------------------------------------------------------------------------------------------- */

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

static void *open_section(void *arg)
{
    *(uint32_t *)arg = flowq_enter() == 0 && flowq_enter() == 0 ? thread_self()->index : UINT32_MAX;
    return NULL;
}

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

/* ---- Memory ---------------------------------------------------------------------------------------------------------------------- */

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

/* ---- Stamps ---------------------------------------------------------------------------------------------------------------------- */

/* Months of stamps between one that is kept and the next: where 31, 32 and 63 bits end, nothing happens. */
START_TEST(stamps_do_not_wrap)
{
    static const uint64_t near[] = {INT32_MAX, UINT32_MAX, (uint64_t)UINT32_MAX * 2, (uint64_t)UINT32_MAX << 16, INT64_MAX};
    uint64_t kept = epoch_stamp(), last = kept;
    struct holder h;

    for (size_t n = 0; n < sizeof near / sizeof near[0]; n++) {
        holder_start(&h, true);
        epoch_advance(near[n] - 3 - last);
        for (int i = 0; i < 8; i++) {
            uint64_t stamp = epoch_stamp();

            ck_assert_uint_gt(stamp, last);
            last = stamp;
            ck_assert(!passes_soon(stamp));
            flowq_enter();
            ck_assert(!passes_soon(stamp));
            flowq_leave();
            ck_assert(!passes_soon(stamp));
            ck_assert(epoch_passed(kept));
            holder_end(&h);
            ck_assert(passes_soon(stamp));
            holder_start(&h, i % 2 == 0);
            ck_assert(passes_soon(stamp));
        }
        holder_end(&h);
    }
}
END_TEST

/* One thread knows exactly which stamps have passed: all, or, inside a section, those it took before. */
START_TEST(stamps_pass_exactly)
{
    struct rng rng = {seed};
    struct thread *t = thread_self();
    uint64_t stamp[64], before = 0, last = 0;
    unsigned n = 0;

    for (int i = 0; i < 100000; i++) {
        uint32_t action = rng_below(&rng, 4);

        if (action == 0 && t->depth < 3) {
            before = t->depth == 0 ? last : before;
            thread_enter(t);
        } else if (action == 1 && t->depth > 0) {
            thread_leave(t);
        } else if (action == 2) {
            stamp[n % 64] = epoch_stamp();
            MUST(stamp[n % 64] > last);
            last = stamp[n++ % 64];
        } else if (n > 0) {
            uint64_t s = stamp[rng_below(&rng, n < 64 ? n : 64)];

            MUST(epoch_passed(s) == (t->depth == 0 || s <= before));
        }
    }
    while (t->depth > 0)
        thread_leave(t);
}
END_TEST

/* ---- Fork ------------------------------------------------------------------------------------------------------------------------ */

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

/* ---- Stress ---------------------------------------------------------------------------------------------------------------------- */

#define N_SLOTS 4
#define N_RETIRED 64

struct node {
    uint64_t value, inverse; /* plain: a reader that is not protected is a data race, and a use after free */
};

static atomic_ptr slot[N_SLOTS];
static atomic_u64 n_read, n_freed;
static uint64_t n_writes;

static struct node *node_new(uint64_t value)
{
    struct node *n = malloc(sizeof *n);

    MUST(n != NULL);
    n->value = value;
    n->inverse = ~value;
    return n;
}

static void *read_nodes(void *arg)
{
    struct rng rng = {seed + (uintptr_t)arg};
    uint64_t n = 0;

    while (u32_load_relaxed(&stop) == 0) {
        struct node *p[2];

        flowq_enter();
        for (int i = 0; i < 2; i++)
            p[i] = ptr_load_acquire(&slot[rng_below(&rng, N_SLOTS)]);
        for (int i = 0; i < 2; i++)
            MUST(p[i]->value == ~p[i]->inverse);
        flowq_leave();
        n += 2;
        if (rng_percent(&rng, 1))
            sched_yield();
    }
    u64_add_relaxed(&n_read, n);
    return NULL;
}

/* Replaces nodes, inside a section or not, and keeps the old ones with their stamps until these have passed, as the table does. */
static void *replace_nodes(void *arg)
{
    struct rng rng = {seed - 1 - (uintptr_t)arg};
    struct {
        struct node *node;
        uint64_t stamp;
    } retired[N_RETIRED];
    unsigned n = 0, freed = 0;

    for (uint64_t i = 0; i < n_writes; i++) {
        bool in_section = rng_percent(&rng, 50);

        if (in_section)
            flowq_enter();
        retired[n].node = ptr_xchg_seq_cst(&slot[rng_below(&rng, N_SLOTS)], node_new(i));
        retired[n++].stamp = epoch_stamp();
        for (unsigned j = 0; j < n;) {
            if (!epoch_passed(retired[j].stamp)) {
                j++;
                continue;
            }
            retired[j].node->value = retired[j].node->inverse = 0xdead;
            free(retired[j].node);
            retired[j] = retired[--n];
            freed++;
        }
        if (in_section)
            flowq_leave();
        if (i % 64 == 0)
            sched_yield();
        if (n == N_RETIRED)
            flowq_synchronize();
        while (n == N_RETIRED && epoch_passed(retired[n - 1].stamp))
            free(retired[--n].node);
    }
    flowq_synchronize();
    while (n > 0)
        free(retired[--n].node);
    u64_add_relaxed(&n_freed, freed);
    return NULL;
}

START_TEST(nothing_is_freed_under_a_reader)
{
    pthread_t readers[4], writers[2], noise;

    n_writes = seed_long() ? 4000000 : 100000;
    for (int i = 0; i < N_SLOTS; i++)
        ptr_store_release(&slot[i], node_new((uint64_t)i));
    for (uintptr_t i = 0; i < 4; i++)
        readers[i] = start(read_nodes, (void *)i);
    noise = start(come_and_go, NULL);
    for (uintptr_t i = 0; i < 2; i++)
        writers[i] = start(replace_nodes, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    u32_store_relaxed(&stop, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(readers[i], NULL);
    pthread_join(noise, NULL);
    for (int i = 0; i < N_SLOTS; i++)
        free(ptr_load_acquire(&slot[i]));
    printf("stress: %llu reads, %llu writes, %llu freed on the way\n", (unsigned long long)u64_load_relaxed(&n_read),
           (unsigned long long)(2 * n_writes), (unsigned long long)u64_load_relaxed(&n_freed));
    ck_assert_uint_gt(u64_load_relaxed(&n_freed), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("thread");
    TCase *tc = tcase_create("thread");
    SRunner *runner = srunner_create(suite);
    int failed;

    seed = seed_get("check_thread");
    tcase_set_timeout(tc, seed_long() ? 1200 : 120);
    tcase_add_test(tc, sections_nest);
    tcase_add_test(tc, leave_without_enter_does_nothing);
    tcase_add_test(tc, synchronize_refuses_inside_a_section);
    tcase_add_test(tc, stamps_pass_when_other_threads_leave);
    tcase_add_test(tc, later_sections_do_not_delay);
    tcase_add_test(tc, many_synchronize_at_once);
    tcase_add_test(tc, exit_closes_sections);
    tcase_add_test(tc, short_threads_share_one_record);
    tcase_add_test(tc, smallest_index_is_given_out);
    tcase_add_test(tc, destructors_may_call);
    tcase_add_test(tc, out_of_memory);
    tcase_add_test(tc, no_key_left);
    tcase_add_test(tc, stamps_do_not_wrap);
    tcase_add_test(tc, stamps_pass_exactly);
    tcase_add_test(tc, child_of_fork_begins_afresh);
    tcase_add_test(tc, fork_while_threads_come_and_go);
    tcase_add_test(tc, nothing_is_freed_under_a_reader);
    suite_add_tcase(suite, tc);
    srunner_set_fork_status(runner, CK_FORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
