/*
 * epoch: when is memory that was unlinked no longer looked at?
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One domain per copy of the library. A reader looks at shared memory only inside a section. Whoever takes memory out of reach
 * asks for a stamp afterwards, keeps the memory and the stamp wherever it likes, and may free it once the stamp has passed:
 *
 *     reader                               writer
 *     epoch_enter(record);                 unlink the old one;
 *     p = load the pointer (acquire);      stamp = epoch_stamp();
 *     ... read *p ...                      ... later, any thread: if (epoch_passed(stamp)) free it;
 *     epoch_leave(record);
 *
 * Nothing here waits. libck is behind it and known to epoch.c alone, where the argument stands.
 */
#ifndef FLOWQ_LIB_EPOCH_H
#define FLOWQ_LIB_EPOCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct epoch_record;

/*
 * A record is the right to open sections, one at a time. It belongs to one thread at a time and is never freed; it changes hands
 * under a lock, with no section open. To create one takes memory (NULL: there is none); to register it takes none, but a lock of
 * the caller's that orders registrations and keeps fork() away.
 */
struct epoch_record *epoch_record_create(void);
void epoch_register(struct epoch_record *record);

/* Opens and closes a section of this record; these do not nest. Only the thread that owns the record. */
void epoch_enter(struct epoch_record *record);
void epoch_leave(struct epoch_record *record);

/*
 * The stamp of everything the caller unlinked before this call: the sections that are open now, and no later ones, may still see
 * it. No two are equal, later ones are larger, and they do not wrap. Costs a full fence. Any thread, registered or not, inside a
 * section or not.
 */
uint64_t epoch_stamp(void);

/*
 * Has every section ended that was open when this stamp was taken? Then also what those sections did happens before the return,
 * and the answer stays true. Sections opened later do not matter. Never waits: costs a load if the answer is known, two more if
 * the section that was in the way last time still is, else one walk over the records. Inside a section it may be called, but for
 * stamps taken in the same section it says false. Any thread, registered or not.
 */
bool epoch_passed(uint64_t stamp);

/* For tracers: whose section held up the last look, as the thread that registered the record calls itself (pthread_self()); 0:
   nobody's. */
void epoch_own(struct epoch_record *record, uintptr_t owner);
uintptr_t epoch_blocker_owner(void);

/* In the child of fork(), with the lock of registrations held: all sections count as closed, all stamps as passed. */
void epoch_fork_child(void);

/* ---- For tests ------------------------------------------------------------------------------------------------------------- */

/* What registration allocates with; tests make it fail. Initially aligned_alloc. */
extern void *(*epoch_alloc)(size_t alignment, size_t size);

/* As if so many stamps had been taken. */
void epoch_advance(uint64_t by);

#endif
