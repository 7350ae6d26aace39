/*
 * special: see special.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "special.h"

/*
 * Packets that are not plain, and there is seldom one alone, mostly have their last header in their second cache line. That of
 * each is fetched while some others are parsed: of the first ones of a run together, then of each that is so far ahead.
 */
#define SPECIAL_FETCH_AHEAD 6

/* (gcc leaves out calls of a function that only prefetches.) */
static inline __attribute__((always_inline)) void special_fetch_rest(const struct flowq_pkt *pkt)
{
    if (pkt->len > PARSE_CACHE_LINE)
        __builtin_prefetch((const char *)pkt->data + PARSE_CACHE_LINE);
}

static inline __attribute__((always_inline)) void special_fetch_first_rests(const struct flowq_pkt *pkts, unsigned n)
{
    for (unsigned i = 0; i < n && i < SPECIAL_FETCH_AHEAD; i++)
        special_fetch_rest(&pkts[i]);
}

/* And headers as batch_fetch_next() does, as a run may go on beyond what that has fetched. */
static inline __attribute__((always_inline)) void special_fetch_next(const struct flowq_pkt *pkts, unsigned n)
{
    if (n > SPECIAL_FETCH_AHEAD)
        special_fetch_rest(&pkts[SPECIAL_FETCH_AHEAD]);
    if (n > BATCH_FETCH_AHEAD)
        __builtin_prefetch(pkts[BATCH_FETCH_AHEAD].data);
}

/* ---- Packets that go to the VM --------------------------------------------------------------------------------------------- */

/* What is not looked up in the table by a key of its own gets an empty line, and so is missed there. */
static __attribute__((noinline)) void special_not_looked_up(const struct vm_view *v, const struct parse_result *r,
                                                            struct batch *b, unsigned at)
{
    struct lookup *l = &b->lookup[at];
    l->line = table_nowhere;
    b->kind[at] = r->kind == PARSE_KEYLESS ? BATCH_KEYLESS : BATCH_LATER;
    l->hash = v->least_hash;
    if (r->kind == PARSE_LATER && r->flags & PARSE_WHOLE_KEY) /* looked up if its first fragment is not known */
        l->hash = hash_key(v->secret, &b->key[at]);
}

/* What is known of datagrams by now counts, nothing later: the lines have not been looked at (F-A). */
static __attribute__((noinline)) void special_fragment(const struct vm_view *v, const struct parse_result *r, struct batch *b,
                                                       unsigned at)
{
    const struct hash_secret *secret = v->secret;
    const struct frags *frags = &v->vm->frags;
    struct batch_fragment *s = &b->fragment[b->n_fragments++];
    s->at = (uint8_t)at;
    s->n_first = r->n_first;
    s->whole_key = r->kind == PARSE_LATER && r->flags & PARSE_WHOLE_KEY;
    s->later = r->kind == PARSE_LATER ? frag_hash(frags, hash_frag(secret, &r->later)) : 0;
    for (unsigned i = 0; i < r->n_first; i++)
        s->first[i] = frag_hash(frags, hash_frag(secret, &r->first[i]));
}

static inline __attribute__((always_inline)) void special_rx(const struct vm_view *v, const struct parse_rules *rules,
                                                             const struct flowq_pkt *pkt, struct batch *b, unsigned at)
{
    struct key *key = &b->key[at];
    struct parse_result r;
    parse_packet_to(pkt, rules, key, &r);
    b->special |= batch_bit(at);
    if (r.kind == PARSE_FLOW) {
        lookup_begin(*v, &b->lookup[at], hash_key(v->secret, key));
        b->kind[at] = BATCH_PARSED;
    } else if (r.kind == PARSE_QUOTE) {
        lookup_begin(*v, &b->lookup[at], hash_key_reversed(v->secret, key)); /* the VM sent the packet that is quoted (S6) */
        b->kind[at] = BATCH_QUOTE;
        b->quotes |= batch_bit(at);
    } else if (r.kind == PARSE_SPREAD) { /* as a flow that is not bound */
        b->lookup[at] = (struct lookup){.hash = hash_key(v->secret, key), .line = table_nowhere};
        b->kind[at] = BATCH_PARSED;
    } else {
        special_not_looked_up(v, &r, b, at);
    }
    if (r.n_first || b->kind[at] == BATCH_LATER)
        special_fragment(v, &r, b, at);
}

unsigned special_rx_run(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b)
{
    struct parse_rules rules;
    uint64_t word[5];
    vm_parse_rules(v->vm, &rules);
    special_fetch_first_rests(pkts + at, n - at);
    do {
        special_fetch_next(pkts + at, n - at);
        special_rx(v, &rules, &pkts[at], b, at);
    } while (++at < n && plain_read(&pkts[at], v->udp_filter, false, word) == PLAIN_NOT);
    return at;
}

/* ---- Packets that the VM sends --------------------------------------------------------------------------------------------- */

uint8_t special_never_learned(const struct parse_result *r)
{
    if (r->kind == PARSE_KEYLESS || r->kind == PARSE_SPREAD || r->flags & PARSE_UNREAD_TUNNEL)
        return FLOWQ_NOTE_KEYLESS;
    if (r->flags & PARSE_MULTICAST)
        return FLOWQ_NOTE_MULTICAST;
    if (r->kind == PARSE_LATER)
        return FLOWQ_NOTE_FRAGMENT;
    if (r->flags & PARSE_ICMP_ERROR)
        return FLOWQ_NOTE_ICMP_ERROR;
    return NOTE_TO_THE_TABLE;
}

static void special_tx(const struct vm_view *v, const struct parse_rules *rules, const struct flowq_pkt *pkt,
                       struct batch_sent *s)
{
    struct parse_result r;
    parse_packet(pkt, rules, &r);
    uint8_t outcome = special_never_learned(&r);
    if (outcome == NOTE_TO_THE_TABLE) {
        lookup_begin(*v, &s->lookup, hash_key_reversed(v->secret, &r.key));
        s->flags = (uint8_t)note_flags_of(key_l4(&r.key).protocol, r.flags);
    } else {
        s->lookup = (struct lookup){.hash = v->least_hash, .line = table_nowhere};
        s->flags = NOTE_NOTHING;
        s->outcome = outcome;
    }
}

unsigned special_tx_run(const struct vm_view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch_sent *sent)
{
    struct parse_rules rules;
    uint64_t word[5];
    vm_parse_rules(v->vm, &rules);
    special_fetch_first_rests(pkts + at, n - at);
    do {
        special_fetch_next(pkts + at, n - at);
        special_tx(v, &rules, &pkts[at], &sent[at]);
    } while (++at < n && plain_read(&pkts[at], v->udp_filter, true, word) == PLAIN_NOT);
    return at;
}

uint32_t special_tx_spread(const struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
    struct parse_rules rules;
    struct parse_result r;
    uint64_t word[5];
    enum plain plain = plain_read(pkt, u64_load_relaxed(&vm->udp_filter), true, word);
    if (plain != PLAIN_NOT)
        return plain == PLAIN_V4 ? hash_spread2(&vm->secret, word) : hash_spread5(&vm->secret, word);
    vm_parse_rules(vm, &rules);
    parse_packet(pkt, &rules, &r);
    return r.kind == PARSE_KEYLESS ? 0 : hash_spread(&vm->secret, &r.key);
}
