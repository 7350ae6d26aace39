/*
 * thread: registration of threads, and the public calls about sections.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Layout
 *
 *     thread_tls   NULL (not registered) -> a struct thread -> GONE (this thread is ending and was unregistered)
 *     threads      every struct thread there ever was, a list in the order of their indices 0, 1, 2 ...; only ever appended to.
 *                  A newcomer takes the first one that is not taken; `lowest` is where to begin to look.
 *
 * Life cycle. A struct thread is made together with its epoch record, and they stay together for good. The exit key's destructor
 * gives it back when its thread ends. Destructors of other keys may call us too, before or after it, and must still be served; so
 * it does nothing in the first rounds of destructors that POSIX promises, and gives back in the last but one (the last is for
 * tools that want to be last, like ThreadSanitizer). After that the thread counts as one that could not be registered: nobody
 * would give back what it registered then. What remains is a thread whose first call of all comes from a destructor in one of the
 * last rounds: its struct thread is not given back, and a section it leaves open stays open.
 *
 * The end of the code. The shared library is never unloaded (-z nodelete); but the archive may be part of a plugin that is. A
 * thread that lives on then must not call our destructor when it ends: the key goes with the code (thread_unload()). Values of a
 * key that was deleted mean nothing to one that gets its number later, and a thread-local pointer of a plugin loaded again begins
 * as NULL: what such a thread had is simply left, its struct thread and its record, as nobody can tell an unloading from the end
 * of the process, where other threads may be using theirs. There, calls go on being served; but no thread is given back any more.
 * fork() handlers go with the code, too: pthread_atfork() binds them to whoever called it (glibc; musl never unloads).
 *
 * Lock order: `registry` alone; it covers the list, `taken`, `lowest` and the setting up. No memory is allocated under it,
 * because fork() takes it too and an allocator may have fork handlers with a lock of its own. fork() holds it so that the child
 * finds the list whole; the child's handler then takes everything back.
 */
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "atomic.h"
#include "flowq.h"
#include "stats.h"

/* Calls of the destructor on one thread: it unregisters in the last one. */
#define THREAD_EXIT_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 1)

/* flowq_synchronize() offers the processor this often before it sleeps; then it sleeps, from 1 us on, doubling. */
#define THREAD_WAIT_YIELDS    16
#define THREAD_WAIT_MAX_SHIFT 10 /* the longest sleep: 2^10 us, about a millisecond */

_Thread_local struct thread *thread_tls THREAD_TLS_MODEL;

static pthread_mutex_t thread_registry = PTHREAD_MUTEX_INITIALIZER;
static struct thread *thread_list; /* the list */
static struct thread **thread_list_end = &thread_list;
static struct thread *thread_lowest_free; /* all before this one are taken; NULL: all are */
static uint32_t thread_count;
static atomic_u32 thread_forks; /* are fork()'s handlers there? */
enum { THREAD_FORKS_UNSEEN, THREAD_FORKS_BUSY, THREAD_FORKS_SEEN };
static bool thread_key_made;
static bool thread_unloaded;          /* the key is gone for good */
static pthread_key_t thread_exit_key; /* value: how many more calls of the destructor; NULL on threads that never called us */

/* ---- The list -------------------------------------------------------------------------------------------------------------- */

static struct thread *thread_take_locked(void)
{
    struct thread *t = thread_lowest_free;

    while (t != NULL && t->taken)
        t = t->next;
    thread_lowest_free = t != NULL ? t->next : NULL;
    if (t != NULL)
        t->taken = true;
    return t;
}

static void thread_untake_locked(struct thread *t)
{
    t->taken = false;
    if (thread_lowest_free == NULL || t->index < thread_lowest_free->index)
        thread_lowest_free = t;
}

static void thread_append_locked(struct thread *t)
{
    epoch_register(t->record);
    t->index = thread_count++;
    t->stripe_at = stats_stripe_at(t);
    *thread_list_end = t;
    thread_list_end = &t->next;
    thread_untake_locked(t);
}

static struct thread *thread_create(void)
{
    struct thread *t = epoch_alloc(THREAD_ALIGN, sizeof *t);

    if (t == NULL)
        return NULL;
    *t = (struct thread){.record = epoch_record_create()};
    if (t->record == NULL) {
        free(t);
        return NULL;
    }
    return t;
}

/* ---- Fork ------------------------------------------------------------------------------------------------------------------ */

static void thread_fork_prepare(void) { mutex_lock(&thread_registry); }

static void thread_fork_parent(void) { mutex_unlock(&thread_registry); }

static void thread_fork_child(void)
{
    for (struct thread *t = thread_list; t != NULL; t = t->next)
        t->taken = false;
    thread_lowest_free = thread_list;
    epoch_fork_child();
    if (thread_is_registered(thread_tls))
        thread_tls = NULL;
    mutex_unlock(&thread_registry);
}

/*
 * Sees to it that fork() calls these. Not under the lock: a fork by another thread before the handlers are there would leave the
 * child with a lock that nobody opens. Where that cannot be had now (memory) the next registration tries again; a thread that
 * meets another one at it is not registered this time.
 */
static bool thread_watch_forks(void)
{
    uint32_t state = THREAD_FORKS_UNSEEN;
    if (u32_load_acquire(&thread_forks) == THREAD_FORKS_SEEN)
        return true;
    if (!u32_cas(&thread_forks, &state, THREAD_FORKS_BUSY))
        return state == THREAD_FORKS_SEEN;
    bool seen = pthread_atfork(thread_fork_prepare, thread_fork_parent, thread_fork_child) == 0;
    u32_store_release(&thread_forks, seen ? THREAD_FORKS_SEEN : THREAD_FORKS_UNSEEN);
    return seen;
}

/* Before there is a thread to meet. */
__attribute__((constructor)) static void thread_load(void) { (void)thread_watch_forks(); }

/* ---- Registration ---------------------------------------------------------------------------------------------------------- */

static void thread_unregister(struct thread *t)
{
    if (t->depth > 0)
        epoch_leave(t->record);
    mutex_lock(&thread_registry);
    thread_untake_locked(t);
    mutex_unlock(&thread_registry);
}

/* The destructor of exit_key; value: how many more calls there are to be, this one counted. */
static void thread_exits(void *value)
{
    uintptr_t rounds = (uintptr_t)value - 1;

    if (rounds > 0 && pthread_setspecific(thread_exit_key, (void *)rounds) == 0)
        return;
    if (thread_is_registered(thread_tls))
        thread_unregister(thread_tls);
    thread_tls = THREAD_GONE;
}

/* What must be there before the first thread can be registered; whatever cannot be had now is tried again. */
static bool thread_set_up_locked(void)
{
    if (!thread_key_made && !thread_unloaded)
        thread_key_made = pthread_key_create(&thread_exit_key, thread_exits) == 0;
    return thread_key_made || thread_unloaded;
}

/* Runs when the code is about to go, or the process. Whoever is giving its struct thread back is waited for. */
__attribute__((destructor)) static void thread_unload(void)
{
    mutex_lock(&thread_registry);
    if (thread_key_made)
        (void)pthread_key_delete(thread_exit_key);
    thread_key_made = false;
    thread_unloaded = true;
    mutex_unlock(&thread_registry);
}

/* Makes the calling thread's end call thread_exits(). Not under the lock: it may take memory. */
static bool thread_watch_end(void)
{
    mutex_lock(&thread_registry);
    bool gone = thread_unloaded;
    mutex_unlock(&thread_registry);
    return gone || pthread_getspecific(thread_exit_key) != NULL ||
           pthread_setspecific(thread_exit_key, (void *)THREAD_EXIT_ROUNDS) == 0;
}

static struct thread *thread_take(void)
{
    struct thread *t;
    bool ready;

    if (!thread_watch_forks())
        return NULL;
    mutex_lock(&thread_registry);
    ready = thread_set_up_locked();
    t = ready ? thread_take_locked() : NULL;
    mutex_unlock(&thread_registry);
    if (t != NULL || !ready)
        return t;

    t = thread_create();
    if (t == NULL)
        return NULL;
    mutex_lock(&thread_registry);
    thread_append_locked(t);
    t = thread_take_locked(); /* one that was given back meanwhile, if it has a smaller index */
    mutex_unlock(&thread_registry);
    return t;
}

struct thread *thread_register_slow(void)
{
    struct thread *t = thread_tls == THREAD_GONE ? NULL : thread_take();

    if (t == NULL)
        return NULL;
    t->depth = 0;
    t->held = 0;
    t->lately_left = 0;
    epoch_own(t->record, (uintptr_t)pthread_self());
    if (!thread_watch_end()) {
        thread_unregister(t);
        return NULL;
    }
    thread_tls = t;
    return t;
}

/* ---- Public calls ---------------------------------------------------------------------------------------------------------- */

int flowq_thread_register(void) { return thread_self() != NULL ? 0 : -ENOMEM; }

int flowq_enter(void)
{
    struct thread *t = thread_self();

    if (t == NULL)
        return -ENOMEM;
    thread_enter(t);
    t->held++;
    return 0;
}

void flowq_leave(void)
{
    struct thread *t = thread_tls;

    if (!thread_is_registered(t) || t->held == 0)
        return;
    if (--t->held == 0)
        t->lately_left = 0;
    thread_leave(t);
}

static void thread_pause_for(unsigned int turn)
{
    unsigned int shift = turn < THREAD_WAIT_YIELDS ? 0 : turn - THREAD_WAIT_YIELDS;
    struct timespec ts = {.tv_nsec = 1000L << (shift < THREAD_WAIT_MAX_SHIFT ? shift : THREAD_WAIT_MAX_SHIFT)};

    cpu_relax();
    if (turn < THREAD_WAIT_YIELDS)
        sched_yield();
    else
        nanosleep(&ts, NULL);
}

int flowq_synchronize(void)
{
    struct thread *t = thread_tls;
    uint64_t stamp;

    if (thread_is_registered(t) && t->depth > 0)
        return -EDEADLK;
    stamp = epoch_stamp();
    for (unsigned int turn = 0; !epoch_passed(stamp); turn++)
        thread_pause_for(turn);
    return 0;
}
