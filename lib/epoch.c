/*
 * epoch: grace periods, from libck's epochs.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Layout
 *
 *     domain   libck's: a 32-bit counter e, and a list of records. A record says whether its owner is in a section (active), and what
 *              it read of e in the section it opened last (epoch). ck_epoch_poll() ticks, e to e + 1, if every active record says e.
 *     period   ours: stamps are read from `now`, 64 bits; those up to `done` have passed. Between them, at most one grace period runs
 *              at a time, driven by whoever asks and gets the lock, and resumed by the next who asks:
 *
 *                  begin                         tick, tick, tick      or: nobody active          end
 *                  target = now; now = target+1  ------------------------------------------>      done = target
 *
 * libck's counter never gets into a stamp, so that it may wrap, and a stamp kept for months compares right: 64 bits do not wrap. Nor
 * do libck's deferred calls serve here: 0.7.1 forgets them when a record is unregistered, and its poll may run them too early (a
 * callback is filed under an epoch that was read without a fence). Records stay registered for good; unused ones are not active.
 *
 * Ordering guarantees. One fact of C11 (7.17.3, fences) is used over and over: if the fences X and Y are sequentially consistent, X
 * comes before Y in their one order, a store precedes X and a load of the same word follows Y, then the load sees that store or a later
 * one. Call R a section, W a removal with its stamp s, and F a fence.
 *
 *   G1  epoch_enter: active = 1, F_R, every load of the section. (libck: an exchange on x86, a full fence elsewhere.) libck reads e and
 *       publishes it after F_R; on arm64 that may happen later than some of the section's loads, which the rest allows for.
 *   G2  epoch_stamp: the unlinking stores, F_W, read now. Unlinking with a plain store is all right because of this fence. (Without
 *       it, on x86 too, the store is still buffered when the stamp is read.)
 *   G3  begin: now = target + 1, F_B; then, perhaps on other threads, but after that by the lock: each poll's own fence, its scan of the
 *       records. What is said of F_B below therefore holds of the fence of each poll of this period.
 *
 *   G4  A period that ends found that every section which may see what a stamp s <= target covers had ended. Proof.
 *       R saw the old pointer: then F_R comes before F_W, or else R would have seen the unlinking (fact; G1, G2). The stamp was read
 *       from now as s <= target: then F_W comes before F_B, or else it would have read target + 1 (fact; G2, G3). So F_R comes before
 *       F_B, and each scan of this period sees R's active = 1 or something stored to that word later (fact; G1, G3), and R's record in
 *       the list, for it was put there before.
 *       Nobody active: the scan read a later store than R's active = 1; R had ended.
 *       Three ticks, from e, e + 1 and e + 2: each needed R's record to be past R, or to say e, e + 1, e + 2 in turn. But until R has
 *       ended, its epoch word holds one of two values: the one left from before, and the one R publishes. So one of the three scans
 *       saw something that was stored after R's end. This needs nothing from the values themselves: neither that e is wide, nor that
 *       R reads it at the right time, nor what a fresh record starts with. Hence three, where libck counts two: two are enough if R
 *       reads e before any other load, which libck 0.7.1 leaves to x86.
 *   G5  What R did happens before epoch_passed() returns true: R's end stores `left` (release) and then active = 0 or more after a
 *       release fence; the scan that saw it, a full fence, `left` read (acquire) of every record, `done` stored (release) and read
 *       (acquire). The fences are libck's assembly, which ThreadSanitizer cannot see; `left` and `done` are there so that it can.
 *
 * Progress. Enter, leave and stamp are wait-free. epoch_passed() tries the lock once and polls at most PERIOD_TICKS times for each
 * of two periods (one that was under way, one that covers the stamp); if somebody holds the lock, somebody is moving things on. A thread
 * stalled in a section, or with the lock, delays `done`, and nothing else.
 *
 * fork(): in the child the other threads are gone, wherever they were; epoch_fork_child() starts the domain afresh.
 *
 * Papers: Fraser, Practical Lock-Freedom, 2004 (epochs); Desnoyers, McKenney, Stern, Dagenais, Walpole, User-Level Implementations of
 * Read-Copy Update, 2012 (grace periods shared by all who wait).
 */
#include "epoch.h"

#include <ck_epoch.h>
#include <stdlib.h>
#include <string.h>

#include "atomic.h"

#define PERIOD_TICKS 3 /* G4 */

struct epoch_record {
    ck_epoch_record_t ck;
    atomic_u32 left;           /* sections closed, modulo 2^32; only its ordering matters (G5) */
    struct epoch_record *next; /* in `records` */
};

static ck_epoch_t domain = {.epoch = 1, .records = CK_STACK_INITIALIZER};
static atomic_ptr records; /* all of them, newest first; only ever pushed to */

static struct {
    atomic_u64 now;  /* the stamp of what is unlinked now */
    atomic_u64 done; /* stamps up to this have passed; below now */

    /* The rest belongs to whoever holds the lock. */
    struct spin lock;
    uint32_t ticks_left; /* of the period under way; 0: none is */
    uint64_t target;     /* what done becomes when it ends */
    ck_epoch_record_t poller; /* ck_epoch_poll() wants a record; this one has no sections, so it is not in the domain's list */
} period __attribute__((aligned(CK_MD_CACHELINE))) = {.now = 1, .poller = {.global = &domain}};

void *(*epoch_alloc)(size_t alignment, size_t size) = aligned_alloc;

/* ---- Records --------------------------------------------------------------------------------------------------------------------- */

struct epoch_record *epoch_record_create(void)
{
    struct epoch_record *record = epoch_alloc(_Alignof(struct epoch_record), sizeof *record);

    if (record != NULL)
        memset(record, 0, sizeof *record);
    return record;
}

void epoch_register(struct epoch_record *record)
{
    record->next = ptr_load_relaxed(&records);
    ptr_store_release(&records, record);
    ck_epoch_register(&domain, &record->ck, NULL);
}

void epoch_enter(struct epoch_record *record)
{
    sched_point();
    ck_epoch_begin(&record->ck, NULL); /* G1 */
}

void epoch_leave(struct epoch_record *record)
{
    u32_store_release(&record->left, u32_load_relaxed(&record->left) + 1); /* G5 */
    ck_epoch_end(&record->ck, NULL);
}

/* ---- Grace periods --------------------------------------------------------------------------------------------------------------- */

uint64_t epoch_stamp(void)
{
    ck_pr_fence_memory(); /* G2 */
    return u64_load_relaxed(&period.now);
}

static void begin_locked(void)
{
    period.target = u64_load_relaxed(&period.now);
    period.ticks_left = PERIOD_TICKS;
    u64_store_relaxed(&period.now, period.target + 1);
    ck_pr_fence_memory(); /* G3 */
}

static void end_locked(void)
{
    period.ticks_left = 0;
    ck_pr_fence_memory();
    for (struct epoch_record *r = ptr_load_acquire(&records); r != NULL; r = r->next)
        (void)u32_load_acquire(&r->left); /* G5 */
    u64_store_release(&period.done, period.target);
}

/*
 * One scan of the records for the period under way. Returns false if a section of an older epoch is open. That poll says true and the
 * counter stands still means that no record was active: we hold the lock, so nobody else ticks.
 */
static bool scan_locked(void)
{
    unsigned int before = ck_epoch_value(&domain);

    sched_point();
    if (!ck_epoch_poll(&period.poller))
        return false;
    if (ck_epoch_value(&domain) == before)
        period.ticks_left = 0;
    else
        period.ticks_left--;
    if (period.ticks_left == 0)
        end_locked();
    return true;
}

bool epoch_passed(uint64_t stamp)
{
    if (u64_load_acquire(&period.done) >= stamp)
        return true;
    if (!spin_try(&period.lock))
        return false;
    for (unsigned int i = 0; i < 2 * PERIOD_TICKS && u64_load_relaxed(&period.done) < stamp; i++) {
        if (period.ticks_left == 0)
            begin_locked();
        if (!scan_locked())
            break;
    }
    spin_unlock(&period.lock);
    return u64_load_acquire(&period.done) >= stamp;
}

/* ---- Fork, tests ----------------------------------------------------------------------------------------------------------------- */

void epoch_fork_child(void)
{
    uint64_t now = u64_load_relaxed(&period.now);

    ck_epoch_init(&domain);
    for (struct epoch_record *r = ptr_load_relaxed(&records); r != NULL; r = r->next)
        ck_epoch_register(&domain, &r->ck, NULL);
    period.ticks_left = 0;
    u64_store_relaxed(&period.now, now + 1);
    u64_store_relaxed(&period.done, now);
    spin_unlock(&period.lock);
}

uint32_t epoch_set_counter(uint32_t value)
{
    unsigned int was = ck_epoch_value(&domain);

    ck_pr_store_uint(&domain.epoch, value);
    return was;
}
