/*
 * special: packets that are not plain (plain.h), in both directions: through the complete parser, and on to the line to look at.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_SPECIAL_H
#define FLOWQ_LIB_SPECIAL_H

#include "batch.h"
#include "view.h"

/* ---- What plain and special packets share: the packet's hash is known ------------------------------------------------------ */

static inline __attribute__((always_inline)) void lookup_begin(const struct vm_view v, struct lookup *l, uint64_t hash)
{
    l->hash = hash;
    l->line = vm_view_line(v, hash);
    __builtin_prefetch(l->line);
}

enum { NOTE_TO_THE_TABLE = 0xff }; /* besides FLOWQ_NOTE_* */

/* What note_strongest() takes, of a packet that is not plain; flags: PARSE_*. */
static inline uint32_t note_flags_of(uint8_t protocol, uint8_t flags)
{
    uint32_t tcp =
        (flags & PARSE_FIN ? NOTE_CLOSES : 0u) | (flags & PARSE_SYN ? NOTE_OPENS : 0u) | (flags & PARSE_RST ? NOTE_RESETS : 0u);
    return protocol == PROTO_TCP ? tcp : NOTE_DATAGRAM;
}

/* The same of one that is. */
static inline uint32_t note_flags_plain(const struct flowq_pkt *pkt, enum plain plain, const uint64_t word[5])
{
    return plain_tcp_flags(pkt, plain, word, NOTE_CLOSES | NOTE_OPENS | NOTE_RESETS, NOTE_DATAGRAM);
}

/* ---- Runs of special packets ----------------------------------------------------------------------------------------------- */

/* Packets that go to the VM, from `at` on, up to n, the first of which is special; returns where plain ones begin again. */
unsigned special_rx_run(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b);

/* Rule S7, but for what only the table knows: why a packet that the VM sends is never learned, FLOWQ_NOTE_*, or
   NOTE_TO_THE_TABLE. */
uint8_t special_never_learned(const struct parse_result *r);

/* As special_rx_run(), for packets that the VM sends. */
unsigned special_tx_run(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch_sent *sent);

/* hash_spread() of a packet that the VM sends, plain or special, from its header again; 0 if it has no key (any more). */
uint32_t special_tx_spread(const struct flowq_vm *vm, const struct flowq_pkt *pkt);

#endif
