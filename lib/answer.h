/*
 * answer: the queue, where the first look at the table's line did not give it: flows in their second line, flows that are not
 * bound or whose queue is not in use, quotes, fragments, packets without a key.
 */
#ifndef FLOWQ_LIB_ANSWER_H
#define FLOWQ_LIB_ANSWER_H

#include "sight.h"

/* The queue of packet `at`; FLOWQ_DROP for a later fragment, whose turn comes in answer_special(). */
uint16_t answer_odd(const struct view *v, uint8_t kind, uint64_t hash, uint8_t *reason);

/* Those of b->special, in the order of the batch: what one writes to the cache of fragments the next may read (S5). */
void answer_special(const struct view *v, const struct special *s, struct batch *b, uint16_t *qids);

#endif
