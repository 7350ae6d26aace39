/*
 * rss: see rss.h. The stages of rx.c with another middle: frame -> fields -> Toeplitz hash -> indirection table -> queue.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "rss.h"

#include "batch.h"
#include "plain.h"
#include "vm.h"

/* ---- A configuration ------------------------------------------------------------------------------------------------------- */

struct rss *rss_create(const struct flowq_vm *vm, uint32_t n)
{
    const size_t align = 64;
    size_t head = (sizeof(struct rss) + (n + (size_t)1) * sizeof(uint16_t) + align - 1) & ~(align - 1);
    size_t bytes = head + (toeplitz_is_wide() ? 0 : sizeof(struct toeplitz_tables));
    struct rss *r = memory_alloc(&vm->memory, bytes, align);
    if (!r)
        return NULL;
    memset(r, 0, head);
    r->bytes = bytes;
    r->table_mask = n - 1;
    r->toeplitz.tables = bytes > head ? (void *)((char *)r + head) : NULL;
    return r;
}

void rss_free(const struct flowq_vm *vm, struct rss *r) { memory_free(&vm->memory, r, r->bytes); }

/* Reports of one kind of packet are three in a row, addresses, TCP, UDP; type = 1 << (report - 1). */
static uint8_t rss_most(uint32_t hash_types, uint8_t addresses, uint8_t ports_of)
{
    uint32_t enabled = hash_types >> (addresses - 1);
    if (ports_of != RSS_NO_PORTS && enabled >> ports_of & 1)
        return (uint8_t)(addresses + ports_of);
    return enabled & 1 ? addresses : FLOWQ_HASH_REPORT_NONE;
}

uint8_t rss_report_of(uint32_t hash_types, const struct rss_fields *f)
{
    uint8_t report = FLOWQ_HASH_REPORT_NONE;
    if (f->version == 4)
        return rss_most(hash_types, FLOWQ_HASH_REPORT_IPV4, f->ports_of);
    if (f->extended)
        report = rss_most(hash_types, FLOWQ_HASH_REPORT_IPV6_EX, f->ports_of);
    if (f->version == 6 && report == FLOWQ_HASH_REPORT_NONE)
        report = rss_most(hash_types, FLOWQ_HASH_REPORT_IPV6, f->ports_of);
    return report;
}

static bool rss_has_ports(uint8_t report) { return report != FLOWQ_HASH_REPORT_NONE && (report - 1) % 3 != 0; }

void rss_set_hash(struct rss *r, uint32_t hash_types, const void *key, size_t n)
{
    r->hash_types = hash_types;
    toeplitz_init(&r->toeplitz, key, n < TOEPLITZ_KEY_BYTES ? n : TOEPLITZ_KEY_BYTES, r->toeplitz.tables);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        for (unsigned udp = 0; udp < 2; udp++) {
            uint8_t addresses = v6 ? FLOWQ_HASH_REPORT_IPV6 : FLOWQ_HASH_REPORT_IPV4;
            uint8_t report = rss_most(hash_types, addresses, udp ? RSS_UDP : RSS_TCP);
            r->plain_report[v6][udp] = report;
            r->plain_ports[v6][udp] = rss_has_ports(report) ? UINT32_MAX : 0;
        }
    }
}

/* ---- Hashing: the stages --------------------------------------------------------------------------------------------------- */

/* Tuples of one IP version, and whose they are. */
struct rss_tuples {
    struct toeplitz_input in[BATCH];
    uint8_t at[BATCH];
    unsigned n;
};

/* By packet. */
struct rss_hashes {
    uint32_t value[BATCH];
    uint8_t report[BATCH];
};

static inline bool rss_is_udp(uint64_t l4) { return (uint8_t)(l4 >> KEY_PROTOCOL_SHIFT) == PROTO_UDP; }

/* A packet's bytes go behind the tuples; they stay if there is something to hash. */
static inline __attribute__((always_inline)) void rss_add_plain(const struct rss *r, enum plain plain, const uint64_t word[5],
                                                                unsigned at, struct rss_tuples *t, struct rss_hashes *h)
{
    unsigned v6 = plain == PLAIN_V6, last = v6 ? 4 : 1;
    unsigned udp = rss_is_udp(word[last]);
    uint64_t *to = t->in[t->n].word;
    to[0] = word[0];
    if (v6) {
        to[1] = word[1];
        to[2] = word[2];
        to[3] = word[3];
    }
    to[last] = word[last] & r->plain_ports[v6][udp];
    t->at[t->n] = (uint8_t)at;
    h->value[at] = 0;
    h->report[at] = r->plain_report[v6][udp];
    t->n += h->report[at] != FLOWQ_HASH_REPORT_NONE;
}

static void rss_add_special(const struct rss *r, const struct parse_rules *rules, const struct flowq_pkt *pkt, unsigned at,
                            struct rss_tuples tuples[2], struct rss_hashes *h)
{
    struct rss_fields f;
    rss_parse(pkt, rules, &f);
    uint8_t report = rss_report_of(r->hash_types, &f);
    h->value[at] = 0;
    h->report[at] = report;
    if (report == FLOWQ_HASH_REPORT_NONE)
        return;
    struct rss_tuples *t = &tuples[f.version == 6];
    size_t bytes = f.version == 6 ? 16 : 4;
    uint8_t *to = (uint8_t *)t->in[t->n].word;
    memset(to, 0, sizeof(t->in[t->n]));
    for (unsigned i = 0; i < 2; i++)
        memcpy(to + i * bytes, report >= FLOWQ_HASH_REPORT_IPV6_EX ? f.mobile_address[i] : f.address[i], bytes);
    if (rss_has_ports(report))
        memcpy(to + 2 * bytes, f.port, sizeof(f.port));
    t->at[t->n++] = (uint8_t)at;
}

static void rss_hash_tuples(struct rss *r, const struct rss_tuples *t, unsigned bytes, struct rss_hashes *h)
{
    uint32_t value[BATCH];
    toeplitz_burst(&r->toeplitz, t->in, t->n, bytes, value);
    for (unsigned i = 0; i < t->n; i++)
        h->value[t->at[i]] = value[i];
}

static void rss_hash_packets(struct rss *r, const struct parse_rules *rules, const struct flowq_pkt *pkts, unsigned n,
                             struct rss_hashes *h)
{
    struct rss_tuples tuples[2]; /* IPv4, IPv6 */
    tuples[0].n = tuples[1].n = 0;
    for (unsigned i = 0; i < n; i++)
        __builtin_prefetch(pkts[i].data);
    for (unsigned i = 0; i < n; i++) {
        uint64_t word[5];
        enum plain plain = plain_read(&pkts[i], rules->udp_filter, false, word);
        if (plain == PLAIN_V4)
            rss_add_plain(r, PLAIN_V4, word, i, &tuples[0], h);
        else if (plain == PLAIN_V6)
            rss_add_plain(r, PLAIN_V6, word, i, &tuples[1], h);
        else
            rss_add_special(r, rules, &pkts[i], i, tuples, h);
    }
    if (tuples[0].n)
        rss_hash_tuples(r, &tuples[0], TOEPLITZ_V4_BYTES, h);
    if (tuples[1].n)
        rss_hash_tuples(r, &tuples[1], TOEPLITZ_V6_BYTES, h);
}

/* ---- Steering -------------------------------------------------------------------------------------------------------------- */

/* The queue that was chosen was not in use. One that is being reset drops, if a table ruled at that instant, whichever it was:
   the same one did before and after. For one that is off the next one in use stands in; and it may just have come back (Q-B). */
static __attribute__((noinline)) uint16_t rss_instead_of(struct flowq_vm *vm, const struct tally *tally, uint16_t qid)
{
    enum { TRIES = 4 }; /* so often somebody changed the configuration just now */
    const void *rules = ptr_load_acquire(&vm->virtio.rss_active);
    for (unsigned tries = 0; tries < TRIES; tries++) {
        enum queue_state state = queue_state(&vm->queues, qid);
        if (state == QUEUE_IN_USE)
            return qid;
        if (state == QUEUE_OFF || !rules)
            break;
        const void *before = rules;
        rules = ptr_load_acquire(&vm->virtio.rss_active);
        if (rules == before)
            return FLOWQ_DROP;
    }
    qid = queue_next_in_use(&vm->queues, qid);
    if (qid != FLOWQ_DROP)
        tally_add(tally, STAT_RSS_ELSEWHERE, 1);
    return qid;
}

static uint8_t rss_reason(uint16_t qid) { return qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_RSS; }

static void rss_steer_packets(struct flowq_vm *vm, struct rss *r, const struct parse_rules *rules, const struct tally *tally,
                              const struct flowq_pkt *pkts, unsigned n, uint16_t *qids, struct rss_hashes *h)
{
    rss_hash_packets(r, rules, pkts, n, h);
    for (unsigned i = 0; i < n; i++) {
        uint16_t qid = r->table[h->report[i] != FLOWQ_HASH_REPORT_NONE ? h->value[i] & r->table_mask : r->table_mask + 1];
        if (__builtin_expect(!queue_in_use(&vm->queues, qid), 0))
            qid = rss_instead_of(vm, tally, qid);
        qids[i] = qid;
    }
}

static void rss_count(struct flowq_vm *vm, const struct tally *tally, const uint16_t *qids, unsigned n)
{
    unsigned n_dropped = 0;
    for (unsigned i = 0; i < n; i++)
        n_dropped += qids[i] == FLOWQ_DROP;
    tally_add(tally, STAT_STEER + FLOWQ_REASON_RSS, n - n_dropped);
    tally_add(tally, STAT_STEER + FLOWQ_REASON_DROP, n_dropped);
    vm_count_answers(vm, tally, qids, n);
}

static struct flowq_decision rss_decision(uint16_t qid, const struct rss_hashes *h, unsigned at)
{
    return (struct flowq_decision){
        .qid = qid, .reason = rss_reason(qid), .hash_report = h->report[at], .hash_value = h->value[at]};
}

bool rss_steer(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n, uint16_t *qids,
               struct flowq_decision *out)
{
    if (!thread)
        return false;
    struct tally tally = stats_tally(&vm->stats, thread);
    thread_enter(thread);
    struct rss *r = ptr_load_acquire(&vm->virtio.rss_active);
    struct parse_rules rules;
    if (r)
        rules = virtio_rules(vm);
    for (size_t i = 0; r && i < n; i += BATCH) {
        unsigned m = n - i < BATCH ? (unsigned)(n - i) : BATCH;
        uint16_t own[BATCH], *to = qids ? qids + i : own;
        struct rss_hashes h;
        rss_steer_packets(vm, r, &rules, &tally, pkts + i, m, to, &h);
        rss_count(vm, &tally, to, m);
        for (unsigned j = 0; out && j < m; j++)
            out[i + j] = rss_decision(to[j], &h, j);
    }
    thread_leave(thread);
    return r != NULL;
}

bool rss_decide_inside(struct flowq_vm *vm, const struct thread *thread, const struct flowq_pkt *pkt, struct flowq_decision *out)
{
    if (!thread)
        return false;
    struct tally tally = stats_tally(&vm->stats, thread);
    return rss_decide_tallied(vm, &tally, pkt, out);
}

bool rss_decide_tallied(struct flowq_vm *vm, const struct tally *tally, const struct flowq_pkt *pkt, struct flowq_decision *out)
{
    struct rss *r = ptr_load_acquire(&vm->virtio.rss_active);
    if (!r)
        return false;
    struct parse_rules rules = virtio_rules(vm);
    struct rss_hashes h;
    uint16_t qid;
    rss_steer_packets(vm, r, &rules, tally, pkt, 1, &qid, &h);
    *out = rss_decision(qid, &h, 0);
    return true;
}

void rss_add_reports(struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkts, size_t n,
                     struct flowq_decision *out)
{
    if (!thread)
        return;
    thread_enter(thread);
    struct rss *r = ptr_load_acquire(&vm->virtio.reports);
    struct parse_rules rules;
    if (r)
        rules = virtio_rules(vm);
    for (size_t i = 0; r && i < n; i += BATCH) {
        unsigned m = n - i < BATCH ? (unsigned)(n - i) : BATCH;
        struct rss_hashes h;
        rss_hash_packets(r, &rules, pkts + i, m, &h);
        for (unsigned j = 0; j < m; j++) {
            out[i + j].hash_report = h.report[j];
            out[i + j].hash_value = h.value[j];
        }
    }
    thread_leave(thread);
}
