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
 * thread that lives on then must not call our destructor when it ends: the key goes with the code (unload()). Values of a key
 * that was deleted mean nothing to one that gets its number later, and a thread-local pointer of a plugin loaded again begins as
 * NULL: what such a thread had is simply left, its struct thread and its record, as nobody can tell an unloading from the end of
 * the process, where other threads may be using theirs. There, calls go on being served; but no thread is given back any more.
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

/* Calls of the destructor on one thread: it unregisters in the last one. */
#define EXIT_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 1)

/* flowq_synchronize() offers the processor this often before it sleeps; then it sleeps, from 1 us on, doubling. */
#define WAIT_YIELDS    16
#define WAIT_MAX_SHIFT 10 /* the longest sleep: 2^10 us, about a millisecond */

_Thread_local struct thread *thread_tls;

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct thread *threads; /* the list */
static struct thread **end = &threads;
static struct thread *lowest; /* all before this one are taken; NULL: all are */
static uint32_t n_threads;
static atomic_u32 forks; /* are fork()'s handlers there? */
enum { FORKS_UNSEEN, FORKS_BUSY, FORKS_SEEN };
static bool key_made;
static bool unloaded; /* the key is gone for good */
static pthread_key_t exit_key; /* value: how many more calls of the destructor; NULL on threads that never called us */

/* ---- The list -------------------------------------------------------------------------------------------------------------- */

static struct thread *take_locked(void)
{
    struct thread *t = lowest;

    while (t != NULL && t->taken)
        t = t->next;
    lowest = t != NULL ? t->next : NULL;
    if (t != NULL)
        t->taken = true;
    return t;
}

static void untake_locked(struct thread *t)
{
    t->taken = false;
    if (lowest == NULL || t->index < lowest->index)
        lowest = t;
}

static void append_locked(struct thread *t)
{
    epoch_register(t->record);
    t->index = n_threads++;
    *end = t;
    end = &t->next;
    untake_locked(t);
}

static struct thread *create(void)
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

static void fork_prepare(void) { mutex_lock(&registry); }

static void fork_parent(void) { mutex_unlock(&registry); }

static void fork_child(void)
{
    for (struct thread *t = threads; t != NULL; t = t->next)
        t->taken = false;
    lowest = threads;
    epoch_fork_child();
    if (thread_is_registered(thread_tls))
        thread_tls = NULL;
    mutex_unlock(&registry);
}

/*
 * Sees to it that fork() calls these. Not under the lock: a fork by another thread before the handlers are there would leave the
 * child with a lock that nobody opens. Where that cannot be had now (memory) the next registration tries again; a thread that
 * meets another one at it is not registered this time.
 */
static bool watch_forks(void)
{
    uint32_t state = FORKS_UNSEEN;
    if (u32_load_acquire(&forks) == FORKS_SEEN)
        return true;
    if (!u32_cas(&forks, &state, FORKS_BUSY))
        return state == FORKS_SEEN;
    bool seen = pthread_atfork(fork_prepare, fork_parent, fork_child) == 0;
    u32_store_release(&forks, seen ? FORKS_SEEN : FORKS_UNSEEN);
    return seen;
}

/* Before there is a thread to meet. */
__attribute__((constructor)) static void load(void) { (void)watch_forks(); }

/* ---- Registration ---------------------------------------------------------------------------------------------------------- */

static void unregister(struct thread *t)
{
    if (t->depth > 0)
        epoch_leave(t->record);
    mutex_lock(&registry);
    untake_locked(t);
    mutex_unlock(&registry);
}

/* The destructor of exit_key; value: how many more calls there are to be, this one counted. */
static void thread_exits(void *value)
{
    uintptr_t rounds = (uintptr_t)value - 1;

    if (rounds > 0 && pthread_setspecific(exit_key, (void *)rounds) == 0)
        return;
    if (thread_is_registered(thread_tls))
        unregister(thread_tls);
    thread_tls = THREAD_GONE;
}

/* What must be there before the first thread can be registered; whatever cannot be had now is tried again. */
static bool set_up_locked(void)
{
    if (!key_made && !unloaded)
        key_made = pthread_key_create(&exit_key, thread_exits) == 0;
    return key_made || unloaded;
}

/* Runs when the code is about to go, or the process. Whoever is giving its struct thread back is waited for. */
__attribute__((destructor)) static void unload(void)
{
    mutex_lock(&registry);
    if (key_made)
        (void)pthread_key_delete(exit_key);
    key_made = false;
    unloaded = true;
    mutex_unlock(&registry);
}

/* Makes the calling thread's end call thread_exits(). Not under the lock: it may take memory. */
static bool watch_end(void)
{
    mutex_lock(&registry);
    bool gone = unloaded;
    mutex_unlock(&registry);
    return gone || pthread_getspecific(exit_key) != NULL || pthread_setspecific(exit_key, (void *)EXIT_ROUNDS) == 0;
}

static struct thread *take(void)
{
    struct thread *t;
    bool ready;

    if (!watch_forks())
        return NULL;
    mutex_lock(&registry);
    ready = set_up_locked();
    t = ready ? take_locked() : NULL;
    mutex_unlock(&registry);
    if (t != NULL || !ready)
        return t;

    t = create();
    if (t == NULL)
        return NULL;
    mutex_lock(&registry);
    append_locked(t);
    t = take_locked(); /* one that was given back meanwhile, if it has a smaller index */
    mutex_unlock(&registry);
    return t;
}

struct thread *thread_register_slow(void)
{
    struct thread *t = thread_tls == THREAD_GONE ? NULL : take();

    if (t == NULL)
        return NULL;
    t->depth = 0;
    t->held = 0;
    if (!watch_end()) {
        unregister(t);
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
    t->held--;
    thread_leave(t);
}

static void pause_for(unsigned int turn)
{
    unsigned int shift = turn < WAIT_YIELDS ? 0 : turn - WAIT_YIELDS;
    struct timespec ts = {.tv_nsec = 1000L << (shift < WAIT_MAX_SHIFT ? shift : WAIT_MAX_SHIFT)};

    cpu_relax();
    if (turn < WAIT_YIELDS)
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
        pause_for(turn);
    return 0;
}
