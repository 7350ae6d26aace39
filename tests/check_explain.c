/*
 * check_explain: flowq_rx_explain() and flowq_tx_explain() say what is done: the headers of the naive parser, the key, the
 * decision that steering then makes, what a note then returns, the binding that a look-up finds; and leave nothing behind.
 * Random packets, settings and modes, and all captures of tests/data. (That counters do not see them, and what notes come to
 * in a table that grows, fills up and is changed, check_model holds them to, too.)
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdlib.h>

#include "config.h"
#include "device.h"
#include "explain.h"
#include "model_parse.h"
#include "random_packet.h"
#include "runner.h"
#include "seed.h"

#ifdef HAVE_PCAP
#include <dirent.h>
#include <pcap/pcap.h>
#endif

static uint64_t seed;

static void show(const struct flowq_pkt *pkt)
{
    fprintf(stderr, "packet, flags %#x: ", pkt->flags);
    for (uint32_t i = 0; i < pkt->len; i++)
        fprintf(stderr, "%02x", ((const uint8_t *)pkt->data)[i]);
    fprintf(stderr, "\n");
}

#define hold(that, pkt, ...)                                                                                                     \
    do {                                                                                                                         \
        if (!(that)) {                                                                                                           \
            show(pkt);                                                                                                           \
            ck_abort_msg(__VA_ARGS__);                                                                                           \
        }                                                                                                                        \
    } while (0)

/* ---- The headers ----------------------------------------------------------------------------------------------------------- */

static void show_layers(const char *whose, const struct flowq_layer *layer, unsigned n, unsigned end, unsigned end_at)
{
    fprintf(stderr, "%s:\n", whose);
    for (unsigned i = 0; i < n; i++)
        fprintf(stderr, "  %u+%u %s flags %#x value %#x\n", layer[i].offset, layer[i].length, flowq_layer_name(layer[i].kind),
                layer[i].flags, layer[i].value);
    fprintf(stderr, "  %u: %s\n", end_at, flowq_end_name(end));
}

/* What the parser says on its way, and that it comes to the same without saying it. */
static void compare_layers(const struct flowq_pkt *pkt, const struct parse_rules *rules, struct explain_trace *t)
{
    struct parse_result silent, model;
    explain_parse(pkt, rules, t);
    if (t->end == FLOWQ_END_CUT && pkt->len > FLOWQ_HEADER_MAX)
        t->end = FLOWQ_END_WINDOW;
    parse_packet(pkt, rules, &silent);
    hold(parse_result_equal(&t->result, &silent), pkt, "the parser that speaks comes to another result");
    model_parse(pkt, rules, &model);
    bool same = t->n_layers == (unsigned)model_trace.n && t->end == model_trace.end &&
                t->end_at == (unsigned)model_trace.end_at &&
                memcmp(t->layer, model_trace.layer, t->n_layers * sizeof(t->layer[0])) == 0;
    if (!same) {
        show_layers("parser", t->layer, t->n_layers, t->end, t->end_at);
        show_layers("model", model_trace.layer, (unsigned)model_trace.n, (unsigned)model_trace.end, (unsigned)model_trace.end_at);
    }
    hold(same, pkt, "the parser and its model read other headers");
}

/* Headers follow each other, and the last one ends where reading does. */
static void check_order(const struct flowq_pkt *pkt, const struct explain_trace *t)
{
    unsigned at = 0;
    for (unsigned i = 0; i < t->n_layers; i++) {
        hold(t->layer[i].offset == at && t->layer[i].length > 0, pkt, "header %u begins at %u, not %u", i, t->layer[i].offset,
             at);
        at += t->layer[i].length;
    }
    hold(at == t->end_at && at <= pkt->len, pkt, "the headers end at %u, reading at %u", at, t->end_at);
}

START_TEST(headers_are_those_of_the_model)
{
    struct rng rng = {.state = seed};
    long n = (seed_long() ? 10000000 : 400000) / SEED_SLOWNESS, kinds[64] = {0}, ends[16] = {0};
    unsigned most = 0;
    for (long i = 0; i < n; i++) {
        struct random_packet p;
        struct parse_rules rules;
        struct explain_trace t;
        random_rules(&rng, &rules);
        random_packet(&p, &rng, &rules);
        uint8_t *copy = malloc(p.len ? p.len : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, p.bytes, p.len);
        struct flowq_pkt pkt = {.data = copy, .len = p.len, .flags = p.flags};
        compare_layers(&pkt, &rules, &t);
        check_order(&pkt, &t);
        free(copy);
        for (unsigned l = 0; l < t.n_layers; l++)
            kinds[t.layer[l].kind]++;
        ends[t.end]++;
        most = t.n_layers > most ? t.n_layers : most;
    }
    for (unsigned kind = 1; strcmp(flowq_layer_name(kind), "unknown") != 0; kind++)
        ck_assert_msg(kinds[kind] > n / 20000, "%s only %ld times", flowq_layer_name(kind), kinds[kind]);
    for (unsigned end = 1; strcmp(flowq_end_name(end), "unknown") != 0; end++)
        ck_assert_msg(ends[end] > n / 20000, "%s only %ld times", flowq_end_name(end), ends[end]);
    ck_assert_uint_gt(most, 12);
    ck_assert_uint_lt(most, FLOWQ_LAYER_SLOTS);
}
END_TEST

/* ---- What is done ---------------------------------------------------------------------------------------------------------- */

/* All that can be seen of a vm. */
struct picture {
    struct flowq_stats stats;
    uint64_t bindings, sum;
    uint32_t n_queues;
    struct flowq_queue_stats queue[PAIRS];
};

static int add_binding(void *ctx, const struct flowq_binding *b)
{
    struct picture *p = ctx;
    p->bindings++;
    p->sum += b->id * 3 + b->qid * UINT64_C(0x10001) + b->cls * UINT64_C(0x100000001) + ((uint64_t)b->age_ms << 20);
    return 0;
}

static void take_picture(struct picture *p)
{
    memset(p, 0, sizeof(*p));
    p->stats.size = sizeof(p->stats);
    ck_assert_int_eq(flowq_vm_stats(vm, &p->stats), 0);
    ck_assert_int_eq(flowq_vm_flows(vm, add_binding, p), 0);
    for (p->n_queues = 0; p->n_queues < PAIRS; p->n_queues++) {
        p->queue[p->n_queues].size = sizeof(p->queue[0]);
        ck_assert_int_eq(flowq_vm_queue_stats(vm, p->n_queues, &p->queue[p->n_queues]), 0);
    }
}

static struct flowq_explanation explained_rx(const struct flowq_pkt *pkt)
{
    struct flowq_explanation e = {.size = sizeof(e)};
    hold(flowq_rx_explain(vm, pkt, &e) == 0, pkt, "flowq_rx_explain() fails");
    return e;
}

static struct flowq_explanation explained_tx(const struct flowq_pkt *pkt, uint32_t qid)
{
    struct flowq_explanation e = {.size = sizeof(e)};
    hold(flowq_tx_explain(vm, pkt, qid, &e) == 0, pkt, "flowq_tx_explain() fails");
    return e;
}

/* The binding is the one that a look-up by the tuple finds, and its id the one that it has there. */
static void compare_lookup(const struct flowq_pkt *pkt, const struct flowq_explanation *e)
{
    struct flowq_binding b = {.size = sizeof(b)};
    if (!e->has_tuple || e->id == 0) {
        hold(!e->bound, pkt, "bound without a flow");
        return;
    }
    int r = flowq_vm_lookup(vm, &e->tuple, &b);
    hold(r == (e->bound ? 0 : -ENOENT), pkt, "a look-up of the tuple says %d, bound is %d", r, e->bound);
    if (r == 0)
        hold(b.id == e->id && b.qid == e->bound_qid && b.cls == e->bound_cls && b.in_use == e->bound_in_use &&
                 b.age_ms == e->bound_age_ms,
             pkt, "a look-up finds another binding");
}

static const struct flowq_layer no_layer;

/* Beside reasons, and outcomes from 32 on: notes that leave a move pending, and packets of flows that are held back. */
enum { PENDING = 62, HELD = 63 };
static bool moves_in_order; /* the vm's flows do */

/* Explains a packet in a direction, then does with it what the call of that direction does. */
static void explain_and_do(const struct flowq_pkt *pkt, bool tx, uint32_t qid, long outcomes[64])
{
    struct picture before, after;
    take_picture(&before);
    struct flowq_explanation e = tx ? explained_tx(pkt, qid) : explained_rx(pkt),
                             again = tx ? explained_tx(pkt, qid) : explained_rx(pkt);
    take_picture(&after);
    hold(memcmp(&before, &after, sizeof(before)) == 0, pkt, "an explanation has changed something");
    hold(memcmp(&e, &again, sizeof(e)) == 0, pkt, "a second explanation differs");
    hold(e.size == sizeof(e) && e.direction == (tx ? FLOWQ_DIRECTION_TX : FLOWQ_DIRECTION_RX), pkt, "size or direction");
    hold(memcmp(&e.layer[e.n_layers], &no_layer, sizeof(no_layer)) == 0, pkt, "behind the last header");
    compare_lookup(pkt, &e);
    if (tx) {
        uint32_t note = flowq_tx_note(vm, pkt, qid), outcome = note & FLOWQ_NOTE_OUTCOME;
        hold(note == e.note, pkt, "noted: %s, %#x; foreseen: %s, %#x", flowq_note_name(outcome), note,
             flowq_note_name(e.note & FLOWQ_NOTE_OUTCOME), e.note);
        outcomes[32 + outcome]++;
        outcomes[PENDING] += (note & FLOWQ_NOTE_PENDING) != 0;
        return;
    }
    struct flowq_decision d;
    flowq_rx_decide_burst(vm, pkt, 1, &d);
    hold(memcmp(&d, &e.decision, sizeof(d)) == 0, pkt, "decided: queue %u, %s; explained: queue %u, %s", d.qid,
         flowq_reason_name(d.reason), e.decision.qid, flowq_reason_name(e.decision.reason));
    if (d.reason == FLOWQ_REASON_FALLBACK || d.reason == FLOWQ_REASON_KEYLESS)
        hold(e.fallback == d.qid, pkt, "the fallback is queue %u, not %u", d.qid, e.fallback);
    if (d.reason == FLOWQ_REASON_BOUND || d.reason == FLOWQ_REASON_ICMP_ERROR) {
        bool held = moves_in_order && e.bound_qid != d.qid;
        hold(!e.bound || !e.bound_in_use || e.bound_qid == d.qid || held, pkt, "bound to queue %u, not %u", d.qid, e.bound_qid);
        outcomes[HELD] += e.bound && held;
    }
    outcomes[d.reason]++;
}

static uint32_t switched(struct rng *rng) { return rng_percent(rng, 50) ? FLOWQ_ON : 0; }

/* What few vms have is theirs by their round: were it drawn, by chance none of them might have it. */
static void random_vm(struct rng *rng, const struct parse_rules *rules, long round)
{
    struct flowq_vm_config c = defaults();
    c.max_queue_pairs = PAIRS;
    c.max_flows = rng_percent(rng, 50) ? 8 : 4096;
    c.key_vlan = rules->key_vlan ? FLOWQ_ON : 0;
    c.key_vni = rules->key_vni ? FLOWQ_ON : 0;
    c.tunnels = rules->tunnels ? rules->tunnels : FLOWQ_TUNNEL_NONE;
    c.queue_stats = switched(rng);
    c.no_learn = round % 20 == 7 ? FLOWQ_ON : 0;
    c.fragments = rng_percent(rng, 30) ? FLOWQ_OFF : 0;
    moves_in_order = round % 4 == 1;
    c.rebind_min_tcp_us = !moves_in_order && rng_percent(rng, 50) ? 500000 : 0;
    c.rebind_min_other_us = !moves_in_order && rng_percent(rng, 50) ? 1000000 : 0;
    c.ordered = moves_in_order ? FLOWQ_ON : 0;
    c.ordered_flows = rng_percent(rng, 50) ? 8 : 0;
    c.ordered_max_us = rng_percent(rng, 50) ? 1000000 : 0;
    c.ordered_settle_us = rng_percent(rng, 30) ? 100000 : 0;
    c.virtio_features = rng_percent(rng, 50) ? ALL_FEATURES : NO_RSS;
    memset(c.secret, (int)rng_range(rng, 1, 255), sizeof(c.secret));
    start(&c, rng_percent(rng, 10) ? 1 : PAIRS);
    if (round % 10 == 4) /* none in use at first */
        ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, false), 0);
}

/* Queues, virtio's modes, the clock. */
static void random_change(struct rng *rng)
{
    struct flowq_rss r = rss_over((uint16_t)rng_range(rng, 1, PAIRS));
    if (moves_in_order && rng_percent(rng, 60)) { /* the host fills the rings, and the guest takes from them */
        uint32_t at = rng_below(rng, 100000);
        (void)flowq_vm_ring_report(vm, rng_below(rng, PAIRS), at, at - rng_below(rng, 50));
        return;
    }
    switch (rng_below(rng, 8)) {
    case 0:
        (void)flowq_vm_set_rss(vm, &r);
        break;
    case 1:
        (void)flowq_vm_set_hash(vm, FLOWQ_HASH_TYPE_ALL, key, sizeof(key));
        break;
    case 2:
    case 3:
        ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, rng_range(rng, 1, PAIRS)), 0);
        break;
    case 4:
        ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, rng_below(rng, PAIRS), rng_percent(rng, 60)), 0);
        break;
    case 5:
        ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, rng_below(rng, PAIRS), rng_percent(rng, 40)), 0);
        break;
    case 6:
        ck_assert_int_eq(flowq_vm_reset(vm, FLOWQ_RESET_CONFIG), 0);
        ck_assert_int_eq(flowq_vm_set_queue_enabled(vm, FLOWQ_ALL_QUEUES, true), 0);
        ck_assert_int_eq(flowq_vm_set_queue_resetting(vm, FLOWQ_ALL_QUEUES, false), 0);
        ck_assert_int_eq(flowq_vm_set_queue_pairs(vm, PAIRS), 0);
        break;
    default:
        now += rng_percent(rng, 50) ? rng_below(rng, 800) * MS : rng_below(rng, 40) * SECOND;
    }
}

/* A packet of one of some flows that have two directions, so that what is noted is steered, and whether the VM sends it. */
static bool talk(struct rng *rng, struct frame *f)
{
    static const unsigned tcp_flags[] = {FRAME_ACK, FRAME_ACK, FRAME_SYN, FRAME_FIN, FRAME_RST};
    uint32_t flow = rng_below(rng, 20), at = rng_below(rng, 3);
    struct flowq_tuple t = flow % 2 ? tcp(flow) : udp(flow), in = tuple_reverse(&t);
    switch (rng_below(rng, 10)) {
    case 0:
        frame_icmp_error(f, &in, &t, 64);
        return false;
    case 1:
    case 2:
        frame_fragment(f, &in, flow, at * 64, at < 2);
        return false;
    case 3:
    case 4:
        frame_flow(f, &in, FRAME_ACK);
        return false;
    case 5:
        frame_fragment(f, &t, flow, at * 64, at < 2);
        return true;
    default:
        frame_flow(f, &t, tcp_flags[rng_below(rng, 5)]);
        return true;
    }
}

#define POOL 60

START_TEST(what_is_explained_is_what_is_done)
{
    struct rng rng = {.state = seed ^ 3};
    const int slower = SEED_SLOWNESS > 1 ? 4 : 1; /* fewer packets for each vm: some settings are rare */
    long rounds = seed_long() ? 2000 : 150, outcomes[64] = {0};
    while (rounds-- > 0) {
        static struct random_packet pool[POOL];
        struct parse_rules rules;
        random_rules(&rng, &rules);
        random_vm(&rng, &rules, rounds);
        for (unsigned i = 0; i < POOL; i++)
            random_packet(&pool[i], &rng, &rules);
        for (int i = 0; i < 600 / slower; i++) {
            struct random_packet *p = &pool[rng_below(&rng, POOL)];
            struct flowq_pkt pkt = {.data = p->bytes, .len = p->len, .flags = p->flags};
            if (rng_percent(&rng, 8))
                random_change(&rng);
            bool tx = rng_percent(&rng, 50);
            struct frame f;
            if (rng_percent(&rng, 60)) {
                tx = talk(&rng, &f);
                pkt = frame_pkt(&f);
            }
            explain_and_do(&pkt, tx, rng_below(&rng, PAIRS + 1), outcomes);
        }
    }
    for (unsigned reason = 0; reason <= FLOWQ_REASON_RSS; reason++)
        ck_assert_msg(outcomes[reason] > 10 / slower, "%s only %ld times", flowq_reason_name(reason), outcomes[reason]);
    ck_assert_int_gt(outcomes[PENDING], 100 / slower);
    ck_assert_int_gt(outcomes[HELD], 100 / slower);
    for (unsigned note = 0; note < FLOWQ_NOTE_UNREGISTERED; note++)
        if (note != FLOWQ_NOTE_BUSY && note != FLOWQ_NOTE_REFUSED)
            ck_assert_msg(outcomes[32 + note] > 10 / slower, "%s only %ld times", flowq_note_name(note), outcomes[32 + note]);
}
END_TEST

/* A table so small that flows are refused: of two lines, and of more, where flows can move aside. */
START_TEST(refusals_are_foreseen)
{
    struct flowq_vm_config c = defaults();
    uint32_t n_refused = 0;
    c.max_flows = _i ? 64 : 8;
    memset(c.secret, 5, sizeof(c.secret));
    start(&c, PAIRS);
    for (uint32_t i = 0; i < 40000; i++) {
        struct flowq_tuple t = tcp(i);
        struct frame f;
        frame_flow(&f, &t, FRAME_ACK);
        struct flowq_pkt pkt = frame_pkt(&f);
        struct flowq_explanation e = explained_tx(&pkt, i % PAIRS);
        uint32_t outcome = flowq_tx_note(vm, &pkt, i % PAIRS);
        hold(e.note == outcome, &pkt, "noted: %s, foreseen: %s", flowq_note_name(outcome), flowq_note_name(e.note));
        n_refused += outcome == FLOWQ_NOTE_REFUSED;
    }
    ck_assert_uint_gt(n_refused, 1000);
}
END_TEST

/* ---- Examples -------------------------------------------------------------------------------------------------------------- */

static const char *text_of(const struct flowq_explanation *e)
{
    static char text[4096];
    int64_t n = flowq_explanation_print(text, sizeof(text), e);
    ck_assert_int_gt(n, 0);
    ck_assert_uint_eq(strlen(text), (size_t)n);
    for (size_t size = 0; size <= (size_t)n + 1; size++) { /* cut anywhere, as snprintf() does */
        char part[4096];
        memset(part, 0x55, sizeof(part));
        ck_assert_int_eq(flowq_explanation_print(size ? part : NULL, size, e), n);
        size_t kept = size == 0 ? 0 : size - 1 < (size_t)n ? size - 1 : (size_t)n;
        ck_assert_mem_eq(part, text, kept);
        ck_assert(size == 0 || part[kept] == 0);
        ck_assert_int_eq(part[kept + (size > 0)], 0x55);
    }
    return text;
}

static void says(const char *text, const char *line)
{
    ck_assert_msg(strstr(text, line) != NULL, "no \"%s\" in\n%s", line, text);
}

START_TEST(a_text_for_people)
{
    struct flowq_tuple t = tcp(7), in = tuple_reverse(&t);
    struct frame f;
    set_up_known();
    ck_assert_uint_eq(note(t, 3), FLOWQ_NOTE_BOUND);
    now += 2 * SECOND;
    frame_flow(&f, &in, FRAME_ACK);
    struct flowq_pkt pkt = frame_pkt(&f);
    struct flowq_explanation e = explained_rx(&pkt);
    ck_assert_mem_eq(&e.tuple, &in, sizeof(in));
    const char *text = text_of(&e);
    says(text, "a packet that goes to the VM\n");
    says(text, "    0     14  ethernet, type 0x0800\n");
    says(text, "   14     20  ipv4, protocol 6\n");
    says(text, "   34     20  tcp, to port 80\n");
    says(text, "end: all that the key needs has been read\n");
    says(text, "key      flow tcp 192.168.0.1:10007 -> 10.0.0.1:80\n");
    says(text, "bound    to queue 3, established, last noted 2");
    says(text, "goes to  queue 3: bound\n");
    frame_flow(&f, &t, FRAME_SYN);
    pkt = frame_pkt(&f);
    e = explained_tx(&pkt, 5);
    ck_assert_mem_eq(&e.tuple, &in, sizeof(in));
    text = text_of(&e);
    says(text, "a packet that the VM sends\n");
    says(text, "packet   SYN\n");
    says(text, "a note   on queue 5: moved\n");
    pkt.len = 36;
    e = explained_rx(&pkt);
    says(text_of(&e), "   34         end: the packet ends within the next header\n");
    ck_assert_int_eq(flowq_explanation_print(NULL, 0, NULL), -EINVAL);
    ck_assert_int_eq(flowq_explanation_print(NULL, 1, &e), -EINVAL);
    e.size = 7;
    ck_assert_int_eq(flowq_explanation_print(NULL, 0, &e), -EINVAL);
}
END_TEST

/* All that an explanation can say besides; of any caller's making, so also what the library never says. */
START_TEST(a_text_whatever_is_in_it)
{
    struct flowq_explanation e = {
        .size = sizeof(e),
        .key = FLOWQ_KEY_FLOW,
        .end = 250,
        .end_at = 90,
        .n_layers = 3,
        .has_tuple = 1,
        .tuple = {.version = 6, .protocol = FRAME_PROTO_ESP, .n_vlans = 2, .has_vni = 1, .vlan = {5, 4095}, .vni = 77},
        .bound = 1,
        .bound_cls = FLOWQ_CLASS_CLOSING,
        .bound_qid = 2,
        .fallback = FLOWQ_DROP,
        .decision = {.qid = FLOWQ_DROP, .reason = FLOWQ_REASON_DROP, .hash_report = 2, .hash_value = 0xbeef},
        .layer = {{.kind = FLOWQ_LAYER_IPV6, .flags = FLOWQ_LAYER_IN_TUNNEL, .length = 40, .value = 60},
                  {.kind = FLOWQ_LAYER_DEST_OPTIONS, .flags = FLOWQ_LAYER_PASSED_OVER, .offset = 40, .length = 8, .value = 50},
                  {.kind = 250, .flags = FLOWQ_LAYER_IN_TUNNEL | FLOWQ_LAYER_IN_QUOTE, .offset = 48, .length = 42}},
    };
    e.tuple.src[15] = 1;
    e.tuple.dst[15] = 2;
    const char *text = text_of(&e);
    says(text, "    0     40  ipv6, next header 60, tunnel\n");
    says(text, "   40      8  dest-options, next header 50, passed over\n");
    says(text, "   48     42  unknown, tunnel, quoted\n");
    says(text, "   90         end: unknown\n");
    says(text, "key      flow protocol 50 ::1 -> ::2, VLAN 5, VLAN 4095, network 77\n");
    says(text, "bound    to queue 2, which is not in use; closing, last noted 0 ms ago\nfallback no queue\n");
    says(text, "goes to  no queue: drop, hash report 2, hash 0x0000beef\n");
    e.tuple.protocol = FRAME_PROTO_UDP;
    e.tuple.sport = 53;
    says(text_of(&e), "udp [::1]:53 -> ::2, ");
    e.n_layers = FLOWQ_LAYER_SLOTS + 1;
    e.end = 0;
    e.tuple.n_vlans = FLOWQ_MAX_VLANS + 1;
    says(text_of(&e), "end: unknown\n");
}
END_TEST

START_TEST(a_flow_on_the_move)
{
    struct flowq_vm_config c = defaults();
    struct flowq_tuple t = tcp(7), in = tuple_reverse(&t);
    struct frame f;
    c.ordered = FLOWQ_ON;
    start(&c, PAIRS);
    ck_assert_uint_eq(note(t, 3) & FLOWQ_NOTE_OUTCOME, FLOWQ_NOTE_BOUND);
    ck_assert_uint_eq(decide(t).qid, 3);
    ck_assert_int_eq(flowq_vm_ring_report(vm, 3, 5, 2), 0);
    frame_flow(&f, &t, FRAME_ACK);
    struct flowq_pkt pkt = frame_pkt(&f);
    struct flowq_explanation e = explained_tx(&pkt, 5);
    says(text_of(&e), "a note   on queue 5: moved; its packets still go to queue 3\n");
    ck_assert_uint_eq(note(t, 5), e.note);
    frame_flow(&f, &in, FRAME_ACK);
    pkt = frame_pkt(&f);
    e = explained_rx(&pkt);
    says(text_of(&e), "bound    to queue 5, established");
    says(text_of(&e), "goes to  queue 3: bound, until it moves in order\n");
    ck_assert_int_eq(flowq_vm_ring_report(vm, 3, 5, 5), 0);
    e = explained_rx(&pkt);
    says(text_of(&e), "goes to  queue 5: bound\n");
    ck_assert_uint_eq(decide(t).qid, 5);
}
END_TEST

START_TEST(wrong_arguments)
{
    struct frame f;
    struct flowq_tuple t = tcp(1);
    frame_flow(&f, &t, FRAME_ACK);
    struct flowq_pkt pkt = frame_pkt(&f);
    struct flowq_explanation e = {.size = sizeof(e)};
    set_up();
    ck_assert_int_eq(flowq_rx_explain(NULL, &pkt, &e), -EINVAL);
    ck_assert_int_eq(flowq_rx_explain(vm, NULL, &e), -EINVAL);
    ck_assert_int_eq(flowq_rx_explain(vm, &pkt, NULL), -EINVAL);
    ck_assert_int_eq(flowq_tx_explain(NULL, &pkt, 0, &e), -EINVAL);
    ck_assert_int_eq(flowq_tx_explain(vm, NULL, 0, &e), -EINVAL);
    ck_assert_int_eq(flowq_tx_explain(vm, &pkt, 0, NULL), -EINVAL);
    ck_assert_int_eq(flowq_tx_explain(vm, &pkt, UINT32_MAX, &e), 0);
    ck_assert_uint_eq(e.note, FLOWQ_NOTE_NOT_IN_USE);
    pkt = (struct flowq_pkt){.data = NULL};
    ck_assert_int_eq(flowq_rx_explain(vm, &pkt, &e), 0);
    ck_assert_uint_eq(e.n_layers, 0);
    ck_assert_uint_eq(e.end, FLOWQ_END_CUT);
}
END_TEST

/* ---- Captures -------------------------------------------------------------------------------------------------------------- */

#ifdef HAVE_PCAP
static uint32_t each_packet(const char *path, long outcomes[64])
{
    char error[PCAP_ERRBUF_SIZE];
    struct pcap_pkthdr *header;
    const uint8_t *data;
    uint32_t n = 0;
    const struct parse_rules rules = parse_rules_default();
    pcap_t *pcap = pcap_open_offline(path, error);
    ck_assert_msg(pcap != NULL, "%s", error);
    while (pcap_next_ex(pcap, &header, &data) == 1) {
        struct explain_trace t;
        struct flowq_pkt pkt = {
            .data = data, .len = header->caplen, .flags = pcap_datalink(pcap) == DLT_EN10MB ? 0 : FLOWQ_PKT_L3};
        compare_layers(&pkt, &rules, &t);
        explain_and_do(&pkt, true, n % PAIRS, outcomes);
        explain_and_do(&pkt, false, 0, outcomes);
        n++;
    }
    pcap_close(pcap);
    return n;
}

START_TEST(captures)
{
    const char *tree = getenv("FLOWQ_SRCDIR");
    char folder[2048], path[4096];
    long outcomes[64] = {0};
    uint32_t n = 0;
    snprintf(folder, sizeof(folder), "%s/tests/data", tree ? tree : ".");
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    set_up_known();
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);
        if (strstr(d->d_name, ".pcap") != NULL)
            n += each_packet(path, outcomes);
    }
    closedir(dir);
    ck_assert_uint_gt(n, 1000);
}
END_TEST
#endif

int main(void)
{
    seed = seed_get("check_explain");
    Suite *s = suite_create("explain");
    TCase *t = tcase_create("explain");
    tcase_set_timeout(t, 0);
    tcase_add_checked_fixture(t, NULL, tear_down);
    tcase_add_test(t, headers_are_those_of_the_model);
    tcase_add_test(t, what_is_explained_is_what_is_done);
    tcase_add_loop_test(t, refusals_are_foreseen, 0, 2);
    tcase_add_test(t, a_text_for_people);
    tcase_add_test(t, a_text_whatever_is_in_it);
    tcase_add_test(t, a_flow_on_the_move);
    tcase_add_test(t, wrong_arguments);
#ifdef HAVE_PCAP
    tcase_add_test(t, captures);
#endif
    suite_add_tcase(s, t);
    return suite_run(s);
}
