/* sight: the packets that are not plain. See sight.h. */
#include "sight.h"

/*
 * Packets that are not plain, and there is seldom one alone, mostly have their last header in their second cache line. That of
 * each is fetched while some others are parsed: of the first ones of a run together, then of each that is so far ahead.
 */
#define RESTS_AHEAD 6

/* (gcc leaves out calls of a function that only prefetches.) */
static inline __attribute__((always_inline)) void fetch_rest(const struct flowq_pkt *pkt)
{
    if (pkt->len > PARSE_CACHE_LINE)
        __builtin_prefetch((const char *)pkt->data + PARSE_CACHE_LINE);
}

static inline __attribute__((always_inline)) void fetch_first_rests(const struct flowq_pkt *pkts, unsigned n)
{
    for (unsigned i = 0; i < n && i < RESTS_AHEAD; i++)
        fetch_rest(&pkts[i]);
}

/* And headers as fetch_next_headers() does, as a run may go on beyond what that has fetched. */
static inline __attribute__((always_inline)) void fetch_next(const struct flowq_pkt *pkts, unsigned n)
{
    if (n > RESTS_AHEAD)
        fetch_rest(&pkts[RESTS_AHEAD]);
    if (n > HEADERS_AHEAD)
        __builtin_prefetch(pkts[HEADERS_AHEAD].data);
}

/* ---- Packets that go to the VM --------------------------------------------------------------------------------------------- */

/* What is not looked up in the table by a key of its own gets an empty line, and so ends up among the odd ones. */
static __attribute__((noinline)) void look_nowhere(const struct view *v, const struct parse_result *r, struct batch *b,
                                                   unsigned at)
{
    struct sighting *seen = &b->seen[at];
    seen->line = table_nowhere;
    b->odd_kind[at] = r->kind == PARSE_KEYLESS ? ODD_KEYLESS : ODD_LATER;
    seen->hash = v->least_hash;
    if (r->kind == PARSE_LATER && r->flags & PARSE_WHOLE_KEY) /* looked up if its first fragment is not known */
        seen->hash = hash_key(v->secret, &b->key[at]);
}

/* What is known of datagrams by now counts, nothing later: the lines have not been looked at (F-A). */
static __attribute__((noinline)) void fragment(const struct view *v, const struct parse_result *r, struct batch *b, unsigned at)
{
    const struct hash_secret *secret = v->secret;
    const struct frags *frags = &v->vm->frags;
    struct special *s = &b->special[b->n_special++];
    s->at = (uint8_t)at;
    s->n_first = r->n_first;
    s->whole_key = r->kind == PARSE_LATER && r->flags & PARSE_WHOLE_KEY;
    s->later = r->kind == PARSE_LATER ? frag_hash(frags, hash_frag(secret, &r->later)) : 0;
    for (unsigned i = 0; i < r->n_first; i++)
        s->first[i] = frag_hash(frags, hash_frag(secret, &r->first[i]));
}

static inline __attribute__((always_inline)) void special(const struct view *v, const struct parse_rules *rules,
                                                          const struct flowq_pkt *pkt, struct batch *b, unsigned at)
{
    struct key *key = &b->key[at];
    struct parse_result r;
    parse_packet_to(pkt, rules, key, &r);
    b->special_at |= odd_bit(at);
    if (r.kind == PARSE_FLOW) {
        sight_line(*v, &b->seen[at], hash_key(v->secret, key));
        b->odd_kind[at] = ODD_PARSED;
    } else if (r.kind == PARSE_QUOTE) {
        sight_line(*v, &b->seen[at], hash_key_reversed(v->secret, key)); /* the VM sent the packet that is quoted (S6) */
        b->odd_kind[at] = ODD_QUOTE;
        b->quotes |= odd_bit(at);
    } else if (r.kind == PARSE_SPREAD) { /* as a flow that is not bound */
        b->seen[at] = (struct sighting){.hash = hash_key(v->secret, key), .line = table_nowhere};
        b->odd_kind[at] = ODD_PARSED;
    } else {
        look_nowhere(v, &r, b, at);
    }
    if (r.n_first || b->odd_kind[at] == ODD_LATER)
        fragment(v, &r, b, at);
}

unsigned sight_specials(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct batch *b)
{
    struct parse_rules rules;
    uint64_t word[5];
    vm_parse_rules(v->vm, &rules);
    fetch_first_rests(pkts + at, n - at);
    do {
        fetch_next(pkts + at, n - at);
        special(v, &rules, &pkts[at], b, at);
    } while (++at < n && parse_fast(&pkts[at], v->udp_filter, false, word) == PLAIN_NOT);
    return at;
}

/* ---- Packets that the VM sends --------------------------------------------------------------------------------------------- */

/* Rule S7, but for what only the table knows. */
static uint8_t never_learned(const struct parse_result *r)
{
    if (r->kind == PARSE_KEYLESS || r->kind == PARSE_SPREAD || r->flags & PARSE_UNREAD_TUNNEL)
        return FLOWQ_NOTE_KEYLESS;
    if (r->flags & PARSE_MULTICAST)
        return FLOWQ_NOTE_MULTICAST;
    if (r->kind == PARSE_LATER)
        return FLOWQ_NOTE_FRAGMENT;
    if (r->flags & PARSE_ICMP_ERROR)
        return FLOWQ_NOTE_ICMP_ERROR;
    return TO_THE_TABLE;
}

static void sent_special(const struct view *v, const struct parse_rules *rules, const struct flowq_pkt *pkt, struct sent *s)
{
    struct parse_result r;
    parse_packet(pkt, rules, &r);
    uint8_t outcome = never_learned(&r);
    if (outcome == TO_THE_TABLE) {
        sight_sent_line(*v, s, hash_key_reversed(v->secret, &r.key), note_flags_of(key_l4(&r.key).protocol, r.flags));
    } else {
        *s = (struct sent){.hash = v->least_hash, .line = table_nowhere, .flags = NOTE_NOTHING, .outcome = outcome};
    }
}

unsigned sight_sent_specials(const struct view *v, const struct flowq_pkt *pkts, unsigned at, unsigned n, struct sent *sent)
{
    struct parse_rules rules;
    uint64_t word[5];
    vm_parse_rules(v->vm, &rules);
    fetch_first_rests(pkts + at, n - at);
    do {
        fetch_next(pkts + at, n - at);
        sent_special(v, &rules, &pkts[at], &sent[at]);
    } while (++at < n && parse_fast(&pkts[at], v->udp_filter, true, word) == PLAIN_NOT);
    return at;
}

uint32_t sight_sent_spread(const struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
    struct parse_rules rules;
    struct parse_result r;
    uint64_t word[5];
    enum plain plain = parse_fast(pkt, u64_load_relaxed(&vm->udp_filter), true, word);
    if (plain != PLAIN_NOT)
        return plain == PLAIN_V4 ? hash_spread2(&vm->secret, word) : hash_spread5(&vm->secret, word);
    vm_parse_rules(vm, &rules);
    parse_packet(pkt, &rules, &r);
    return r.kind == PARSE_KEYLESS ? 0 : hash_spread(&vm->secret, &r.key);
}
