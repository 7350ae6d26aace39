/*
 * epoch: who may still see what was unlinked.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Layout
 *
 *     now      the next stamp: a 64-bit counter, raised by each stamp that is taken
 *     record   libck's: active, is its owner in a section? Ours: since, what its owner read of now when it opened the last one
 *     done     all stamps below this have passed: the highest floor found so far
 *
 *     stamps           1   2   3   4   5   6            A stamp s has passed when every open section has since > s. Here 1 and
 *     open sections            |since=3        |since=6   2 have; 3, 4 and 5 wait for the section that has seen none from 3 on.
 *                      passed  floor           now        The one that began at 6 delays none of them.
 *
 * What comes from libck is the section: ck_epoch_begin() and ck_epoch_end() with the fences that each processor needs. What does
 * not is the rest of its machinery. Its epoch ticks only when every active record has seen the last tick, so that it waits for
 * sections that were opened after the stamp, for ever if one of them stalls; flowq_synchronize() promises not to. The counter has
 * 32 bits, and 0.7.1 on arm64 may read it later than some of the section's loads. Deferred calls are forgotten by
 * ck_epoch_unregister(), and ck_epoch_poll() of 0.7.1 may run them too early. Here nothing is ever unregistered: an unused record
 * is not active.
 *
 * Ordering guarantees. They use one fact of C11 (7.17.3, fences), FACT below: if X and Y are sequentially consistent fences, X
 * comes before Y in their one order, a store is sequenced before X and a load of the same word after Y, then the load sees that
 * store or one that came later to that word. F_ stands for such a fence, R for a section, W for a removal, s for its stamp, P for
 * a scan.
 *
 *   G1  epoch_enter: read now (acquire) into since, active = 1, F_R, every load of the section. (F_R is an exchange on x86.)
 *   G2  epoch_stamp: the unlinking stores, F_W, s = now++ (acquire and release). Because of F_W a plain store unlinks as well as
 *       a read-modify-write would. (On x86 the locked addition alone would do; on arm64 it is no fence.)
 *   G3  scan: read now (acquire) as the first floor, F_P, then active and since of every record; the floor is the smallest of
 *       them. A stamp below the first floor was taken, fence and all, before F_P.
 *
 *   G4  When a scan finds a floor above s, every section that may see what W unlinked has ended. Proof.
 *       Say R loads what W unlinked, the old value. Then F_R comes before F_W, or else R would have seen the unlinking (FACT);
 *       and F_W before F_P (G3). So the scan sees R's active = 1, or what was stored to that word later (FACT); R's
 *       record was put into the list before R, and so is seen too.
 *       - It saw active = 0: that is later than R's 1, so R has ended.
 *       - It saw active = 1 and since > s, stored by a later section of this record: then R has ended.
 *       - It saw active = 1 and since > s, stored by R or an earlier one: then R's owner had read now > s before R's loads, which
 *         W's now++ stored or one that followed it. So W's unlinking happened before R's loads (G1, G2), and R has not loaded the
 *         old value after all.
 *       An outdated since only delays: what an owner reads of now never falls. So the order of since and active does not matter.
 *   G5  What R did happens before epoch_passed() returns true: R's end stores since again (release), then active = 0 after a
 *       release fence; the scan reads both, and since with acquire; an acquire fence; done is raised (release) and read
 *       (acquire). The scan may see what a later section stored to since instead, of the same thread or of the next one whose
 *       record this is: R's end comes before that store, in program order or by the lock under which the record changed hands,
 *       and so every store of since is a release. libck's fences and its active are assembly that ThreadSanitizer cannot see;
 *       since and done tell it.
 *
 * Progress. enter, leave and stamp are wait-free. epoch_passed() is lock-free, and stops at the first section that holds the
 * stamp up; it remembers which, so that asking again costs two loads. A thread stalled in a section delays the stamps taken since
 * it opened it, and nothing else; a thread stalled anywhere else delays nothing.
 *
 * fork(): in the child the other threads are gone, wherever they were; epoch_fork_child() makes the domain anew.
 *
 * Papers: Fraser, Practical Lock-Freedom, 2004 (epochs; libck follows it); Chandramouli, Prasaad, Kossmann, Levandoski, Hunter,
 * Barnett, FASTER, 2018 (an epoch that is raised without asking the readers, and the smallest one in use).
 */
#include "epoch.h"

#include <ck_epoch.h>
#include <stdlib.h>
#include <string.h>

#include "atomic.h"

struct epoch_record {
    ck_epoch_record_t ck;
    atomic_u64 since;
    struct epoch_record *next; /* in epoch.records */
    atomic_ptr owner;          /* a name, never followed */
};

static struct {
    /* Read at every enter; written by stamps and registrations only, and nothing else may share the line. */
    _Alignas(CK_MD_CACHELINE) atomic_u64 now;
    ck_epoch_t domain;
    atomic_ptr records; /* all of them, newest first; only ever pushed to */

    /* Written by scans. */
    _Alignas(CK_MD_CACHELINE) atomic_u64 done;
    atomic_ptr blocker; /* the record that held up the last scan; a hint */
} epoch = {.now = 1, .domain = {.epoch = 1, .records = CK_STACK_INITIALIZER}};

void *(*epoch_alloc)(size_t alignment, size_t size) = aligned_alloc;

/* ---- What comes from libck ------------------------------------------------------------------------------------------------- */

#ifndef FLOWQ_SCHED
static inline void epoch_ck_begin(ck_epoch_record_t *ck) { ck_epoch_begin(ck, NULL); }
static inline void epoch_ck_end(ck_epoch_record_t *ck) { (void)ck_epoch_end(ck, NULL); }
static inline bool epoch_ck_is_active(const ck_epoch_record_t *ck) { return ck_pr_load_uint(&ck->active) != 0; }
static inline void epoch_ck_fence(void) { ck_pr_fence_memory(); }
static inline void epoch_ck_fence_acquire(void) { ck_pr_fence_acquire(); }
#else
/* The same for the tests' scheduler, which cannot see into assembly: no more order than libck promises on every processor. */
static void epoch_ck_begin(ck_epoch_record_t *ck)
{
    sched_store(&ck->active, sizeof(ck->active), 1, memory_order_relaxed);
    sched_fence(memory_order_seq_cst);
}
static void epoch_ck_end(ck_epoch_record_t *ck)
{
    sched_fence(memory_order_release);
    sched_store(&ck->active, sizeof(ck->active), 0, memory_order_relaxed);
}
static bool epoch_ck_is_active(const ck_epoch_record_t *ck)
{
    return sched_load(&ck->active, sizeof(ck->active), memory_order_relaxed) != 0;
}
static void epoch_ck_fence(void) { sched_fence(memory_order_seq_cst); }
static void epoch_ck_fence_acquire(void) { sched_fence(memory_order_acquire); }
#endif

/* ---- Sections -------------------------------------------------------------------------------------------------------------- */

struct epoch_record *epoch_record_create(void)
{
    struct epoch_record *record = epoch_alloc(_Alignof(struct epoch_record), sizeof *record);

    if (record != NULL)
        memset(record, 0, sizeof *record);
    return record;
}

void epoch_register(struct epoch_record *record)
{
    ck_epoch_register(&epoch.domain, &record->ck, NULL);
    record->next = ptr_load_relaxed(&epoch.records);
    ptr_store_release(&epoch.records, record);
}

void epoch_own(struct epoch_record *record, uintptr_t owner) { ptr_store_relaxed(&record->owner, (void *)owner); }

uintptr_t epoch_blocker_owner(void)
{
    struct epoch_record *r = ptr_load_relaxed(&epoch.blocker);
    return r != NULL ? (uintptr_t)ptr_load_relaxed(&r->owner) : 0;
}

/* G1, G5 */
void epoch_enter(struct epoch_record *record)
{
    u64_store_release(&record->since, u64_load_acquire(&epoch.now));
    epoch_ck_begin(&record->ck);
}

/* G5 */
void epoch_leave(struct epoch_record *record)
{
    u64_store_release(&record->since, u64_load_relaxed(&record->since));
    epoch_ck_end(&record->ck);
}

/* ---- Stamps ---------------------------------------------------------------------------------------------------------------- */

/* G2 */
uint64_t epoch_stamp(void)
{
    epoch_ck_fence();
    return u64_add_acq_rel(&epoch.now, 1);
}

/* Has this record a section open that keeps the floor from rising above the stamp? Then lowers *floor to it, if that is lower. */
static bool epoch_holds_up(const struct epoch_record *record, uint64_t stamp, uint64_t *floor)
{
    bool active;
    uint64_t since;

    active = epoch_ck_is_active(&record->ck);
    since = u64_load_acquire(&record->since); /* also if not active: G5 */
    if (active && since < *floor)
        *floor = since;
    return *floor <= stamp;
}

/* The floor; or, if it is not above the stamp, anything that is not. G3 */
static uint64_t epoch_scan(uint64_t stamp)
{
    uint64_t floor = u64_load_acquire(&epoch.now);

    epoch_ck_fence();
    for (struct epoch_record *r = ptr_load_acquire(&epoch.records); r != NULL; r = r->next) {
        if (epoch_holds_up(r, stamp, &floor)) {
            ptr_store_relaxed(&epoch.blocker, r);
            return floor;
        }
    }
    epoch_ck_fence_acquire(); /* G5 */
    ptr_store_relaxed(&epoch.blocker, NULL);
    return floor;
}

bool epoch_passed(uint64_t stamp)
{
    struct epoch_record *r = ptr_load_relaxed(&epoch.blocker);
    uint64_t floor = UINT64_MAX, known = u64_load_acquire(&epoch.done);

    if (known > stamp)
        return true;
    if (r != NULL && epoch_holds_up(r, stamp, &floor))
        return false;
    floor = epoch_scan(stamp);
    if (floor <= stamp)
        return false;
    while (known < floor && !u64_cas(&epoch.done, &known, floor))
        ;
    return true;
}

/* ---- Fork, tests ----------------------------------------------------------------------------------------------------------- */

void epoch_fork_child(void)
{
    ck_epoch_init(&epoch.domain);
    for (struct epoch_record *r = ptr_load_relaxed(&epoch.records); r != NULL; r = r->next)
        ck_epoch_register(&epoch.domain, &r->ck, NULL);
    ptr_store_relaxed(&epoch.blocker, NULL);
}

void epoch_advance(uint64_t by) { u64_add_acq_rel(&epoch.now, by); }
