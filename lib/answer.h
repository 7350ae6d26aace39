/*
 * answer: the queue of a packet whose home line did not give it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What is left after the loops over plain answers (loops_each.h): flows that are not bound or whose queue is not in use,
 * fragments, packets without a key, quotes of such flows (with several vms, all quotes).
 */
#ifndef FLOWQ_LIB_ANSWER_H
#define FLOWQ_LIB_ANSWER_H

#include "batch.h"
#include "view.h"

/* The queue of one packet; FLOWQ_DROP for later fragments, whose turn comes in answer_fragment(). key: in the batch; not read of
   a plain packet. */
uint16_t answer_one(const struct vm_view *v, uint8_t kind, uint64_t hash, const struct flowq_pkt *pkt, const struct key *key,
                    uint8_t *reason);

/* Each of b->fragment, in the order of the batch: what one writes to the cache of fragments the next may read (S5). */
void answer_fragment(const struct vm_view *v, const struct batch_fragment *f, struct batch *b, uint16_t *qids);

/* Quotes whose flow was at home. */
void answer_quotes(const struct vm_view *v, struct batch *b, uint32_t quotes);

#endif
