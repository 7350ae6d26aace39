/*
 * rss: receive-side scaling, and the hashes that virtio reports: what the guest configured, and what follows for a packet.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A configuration is one struct, never changed once it can be seen but for the tables of its key, which are built when first
 * needed (toeplitz.h). The control path (virtio.h) puts another in its place; calls that began before may go on with the old one,
 * which is freed when their sections have ended (epoch.h).
 */
#ifndef FLOWQ_LIB_RSS_H
#define FLOWQ_LIB_RSS_H

#include "rss_parse.h"
#include "thread.h"
#include "toeplitz.h"

struct rss {
    struct toeplitz toeplitz;
    uint32_t hash_types; /* FLOWQ_HASH_TYPE_* */
    uint32_t table_mask;
    uint8_t plain_report[2][2]; /* of IPv4 and IPv6, TCP and UDP without anything special */
    uint32_t plain_ports[2][2]; /* of their ports, the bits that are hashed: all or none */
    /* For virtio.c: */
    size_t bytes;
    struct rss *retired_next;
    uint64_t retired_stamp;
    uint32_t n_readers; /* of virtio_read(), under its lock: it is not freed as long as there are any */
    uint16_t table[];   /* table_mask + 1 queues; then the one for packets without a hash */
};

/* Room for a table of n entries, all of it still zero; NULL: no memory. */
struct rss *rss_create(const struct flowq_vm *vm, uint32_t n);
void rss_free(const struct flowq_vm *vm, struct rss *r);
/* key: n bytes, of which no more than TOEPLITZ_KEY_BYTES count. */
void rss_set_hash(struct rss *r, uint32_t hash_types, const void *key, size_t n);

/* The report, FLOWQ_HASH_REPORT_*, for a packet with these fields: the most that the enabled types let be hashed. */
uint8_t rss_report_of(uint32_t hash_types, const struct rss_fields *f);

/*
 * RSS decides: fills qids, or out, whichever is not NULL, and counts. False, and nothing is done: RSS does not decide (any more),
 * or the thread (NULL) could not be registered, and then nobody can tell when a configuration is free to go.
 */
bool rss_steer(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n, uint16_t *qids,
               struct flowq_decision *out);

/* The same for one packet, inside a section, not counted: that is up to the caller. */
bool rss_decide_inside(struct flowq_vm *vm, const struct thread *thread, const struct flowq_pkt *pkt, struct flowq_decision *out);

/* The same where what is counted on the way, that another queue stood in, goes to a tally of the caller's. */
struct tally;
bool rss_decide_tallied(struct flowq_vm *vm, const struct tally *tally, const struct flowq_pkt *pkt, struct flowq_decision *out);

/* Adds reports and hashes to decisions that automatic steering made, if any are due. */
void rss_add_reports(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n,
                     struct flowq_decision *out);

#endif
