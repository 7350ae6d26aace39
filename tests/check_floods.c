/*
 * check_floods: what comes in masses, from who wants to do harm, and what it does to the flows that are there, to memory and to
 * the longest call.
 *
 * Established flows go on all the while, each with a queue that the fallback would not give it: the VM sends on each every few
 * seconds, as a guest that keeps them. Beside them new connections are opened. The clock is the test's own; calls are timed by
 * the processor time of the thread, and only said: a bound of time would be one of the machine's.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <check.h>
#include <stdlib.h>
#include <time.h>

#include "bare.h"
#include "frames.h"
#include "runner.h"
#include "seed.h"

#define PAIRS       8
#define MAX_FLOWS   16384
#define ESTABLISHED 4096
#define STEP_NS     100000 /* between two packets of a flood */
#define NOTED_EVERY 8      /* packets of a flood to a note of an established flow: each is noted every 3.3 s */
#define OPEN_EVERY  64     /* packets of a flood to a new connection */

#define GUEST      0x0a000001u
#define PEER       0xc0a80000u
#define FIRST_PORT 10000 /* of peers: no tunnel's */

static struct rng rng;
static struct bare b;
static struct frame sent[ESTABLISHED], arriving[ESTABLISHED];
static uint16_t queue[ESTABLISHED];
static uint64_t longest_note_ns, longest_steer_ns, all_ns, n_calls;

/* ---- Calls, timed --------------------------------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * BARE_SECOND + (uint64_t)t.tv_nsec;
}

static void timed(uint64_t began, uint64_t *longest)
{
    uint64_t ns = cpu_ns() - began;
    *longest = ns > *longest ? ns : *longest;
    all_ns += ns;
    n_calls++;
}

static uint32_t note(const struct frame *f, uint32_t qid)
{
    struct flowq_pkt pkt = frame_pkt(f);
    uint64_t began = cpu_ns();
    uint32_t outcome = flowq_tx_note(b.vm, &pkt, qid);
    timed(began, &longest_note_ns);
    return outcome;
}

static uint16_t steer(const struct frame *f)
{
    struct flowq_pkt pkt = frame_pkt(f);
    uint64_t began = cpu_ns();
    uint16_t qid = flowq_rx_steer(b.vm, &pkt);
    timed(began, &longest_steer_ns);
    return qid;
}

static struct flowq_stats stats(void)
{
    struct flowq_stats s = {.size = sizeof(s)};
    ck_assert_int_eq(flowq_vm_stats(b.vm, &s), 0);
    return s;
}

/* ---- Who is there ----------------------------------------------------------------------------------------------- */

/* From a peer to the guest. */
static struct flowq_tuple to_guest(uint8_t protocol, uint32_t peer, uint16_t sport, uint16_t dport)
{
    return tuple_v4(protocol, peer, sport, GUEST, dport);
}

static void frame_from_guest(struct frame *f, const struct flowq_tuple *in, unsigned flags)
{
    struct flowq_tuple out = tuple_reverse(in);
    frame_flow(f, &out, flags);
}

static void set_up(void)
{
    struct flowq_vm_config cfg = {.max_flows = MAX_FLOWS, .max_queue_pairs = PAIRS};
    ck_assert_int_eq(bare_make(&b, &cfg, PAIRS), 0);
    for (uint32_t i = 0; i < ESTABLISHED; i++) {
        struct flowq_tuple in =
            to_guest(i % 4 ? FRAME_PROTO_TCP : FRAME_PROTO_UDP, PEER + i % 250, (uint16_t)(FIRST_PORT + i), i % 4 ? 443 : 53);
        frame_flow(&arriving[i], &in, FRAME_ACK);
        frame_from_guest(&sent[i], &in, FRAME_ACK);
        queue[i] = (uint16_t)((steer(&arriving[i]) + 1 + rng_below(&rng, PAIRS - 1)) % PAIRS);
        note(&sent[i], queue[i]);
        note(&sent[i], queue[i]); /* UDP is established with its second packet */
        ck_assert_uint_eq(steer(&arriving[i]), queue[i]);
    }
    longest_note_ns = longest_steer_ns = all_ns = n_calls = 0;
}

static void tear_down(void) { bare_free(&b); }

/* A connection that somebody opens in the midst of it: a SYN, the guest's answer, data on a queue of the guest's choice. Whether
   its packets go there then. */
static bool opened(uint32_t i)
{
    struct flowq_tuple in = to_guest(FRAME_PROTO_TCP, PEER + 0x1000 + i / 50000, (uint16_t)(FIRST_PORT + i % 50000), 443);
    struct frame f, back;
    frame_flow(&f, &in, FRAME_SYN);
    uint16_t qid = steer(&f);
    frame_from_guest(&back, &in, FRAME_SYN | FRAME_ACK);
    note(&back, qid);
    qid = (uint16_t)((qid + 1) % PAIRS); /* its thread runs elsewhere */
    frame_from_guest(&back, &in, FRAME_ACK);
    note(&back, qid);
    frame_flow(&f, &in, FRAME_ACK);
    bool there = steer(&f) == qid;
    frame_from_guest(&back, &in, FRAME_FIN | FRAME_ACK);
    note(&back, qid);
    return there;
}

/* ---- Floods ----------------------------------------------------------------------------------------------------- */

static struct flowq_tuple stranger(uint8_t protocol)
{
    return to_guest(protocol, (uint32_t)rng_next(&rng) | 1u << 30, (uint16_t)rng_range(&rng, 1024, 65535), 443);
}

/* SYNs from everywhere, which the guest answers where they came in. */
static void syn(uint32_t i)
{
    struct flowq_tuple in = stranger(FRAME_PROTO_TCP);
    struct frame f;
    (void)i;
    frame_flow(&f, &in, FRAME_SYN);
    uint16_t qid = steer(&f);
    frame_from_guest(&f, &in, FRAME_SYN | FRAME_ACK);
    note(&f, qid);
}

/* The same, and the guest answers where its softirqs like. */
static void syn_elsewhere(uint32_t i)
{
    struct flowq_tuple in = stranger(FRAME_PROTO_TCP);
    struct frame f;
    frame_from_guest(&f, &in, FRAME_SYN | FRAME_ACK);
    note(&f, i % PAIRS);
}

/* Whole handshakes: each stranger is established, and never heard of again. */
static void handshakes(uint32_t i)
{
    struct flowq_tuple in = stranger(FRAME_PROTO_TCP);
    struct frame f;
    frame_from_guest(&f, &in, FRAME_ACK);
    note(&f, i % PAIRS);
}

/* Datagrams from everywhere to any port; the guest answers one in four, on some queue. */
static void udp(uint32_t i)
{
    struct flowq_tuple in = stranger(FRAME_PROTO_UDP);
    in.dport = (uint16_t)rng_next(&rng);
    struct frame f;
    frame_flow(&f, &in, 0);
    uint16_t qid = steer(&f);
    frame_from_guest(&f, &in, 0);
    if (i % 4 == 0)
        note(&f, i % 8 ? qid : rng_below(&rng, PAIRS));
}

/* First fragments whose others never come, of strangers and of flows that are there. */
static void first_fragments(uint32_t i)
{
    struct flowq_tuple in = stranger(FRAME_PROTO_UDP);
    if (i % 2)
        in = to_guest(FRAME_PROTO_UDP, PEER + i % 250, (uint16_t)(FIRST_PORT + i % ESTABLISHED), 53);
    struct frame f;
    frame_fragment(&f, &in, (uint32_t)rng_next(&rng), 0, true);
    steer(&f);
}

/* Errors that quote what the guest never sent, and what it did send; and echoes, which it answers. */
static void icmp(uint32_t i)
{
    struct flowq_tuple router = to_guest(FRAME_PROTO_ICMP, (uint32_t)rng_next(&rng) | 1u << 30, 0, 0),
                       quoted = stranger(FRAME_PROTO_TCP);
    struct frame f;
    if (i % 3 == 0) {
        frame_flow(&f, &router, 0);
        uint16_t qid = steer(&f);
        frame_from_guest(&f, &router, 0);
        note(&f, qid);
        return;
    }
    if (i % 3 == 1)
        quoted = to_guest(FRAME_PROTO_TCP, PEER + i % ESTABLISHED % 250, (uint16_t)(FIRST_PORT + i % ESTABLISHED), 443);
    quoted = tuple_reverse(&quoted);
    frame_icmp_error(&f, &router, &quoted, 28);
    steer(&f);
}

/* Somebody knows the secret: all strangers belong into as little of the table as can be had, some bits of their hashes being
   those of an established flow's: from the top, into one shard, which shall split and split; or with its line, too. */
static uint64_t hash_of(const struct frame *in)
{
    struct parse_rules rules;
    struct parse_result r;
    struct flowq_pkt pkt = frame_pkt(in);
    vm_parse_rules(b.vm, &rules);
    parse_packet(&pkt, &rules, &r);
    return hash_key(&b.vm->secret, &r.key);
}

static void known_secret(uint64_t mask, uint32_t qid)
{
    static uint64_t wanted;
    struct flowq_tuple in = stranger(FRAME_PROTO_TCP);
    struct frame f;
    wanted = hash_of(&arriving[0]);
    frame_flow(&f, &in, FRAME_ACK);
    uint8_t *at = f.bytes + 14 + 12; /* its source address, which Ethernet's and a part of IPv4's header lead to */
    uint32_t n = (uint32_t)rng_next(&rng);
    do {
        n += 0x9e3779b1u;
        memcpy(at, &n, sizeof(n));
        at[0] |= 0x40; /* no multicast */
        at[0] &= 0x7f;
    } while ((hash_of(&f) ^ wanted) & mask);
    memcpy(in.src, at, 4);
    frame_from_guest(&f, &in, FRAME_ACK);
    note(&f, qid);
    frame_flow(&f, &in, FRAME_ACK);
    steer(&f);
}

static void one_shard(uint32_t i) { known_secret(~(~UINT64_C(0) >> 8), i % PAIRS); }
static void one_line(uint32_t i) { known_secret(0xff | ~(~UINT64_C(0) >> 6), i % PAIRS); }

static const struct flood {
    const char *name;
    void (*packet)(uint32_t i);
    uint32_t weight; /* how much dearer its packets are to make */
} floods[] = {
    {"SYNs, answered where they came in", syn, 1}, {"SYNs, answered elsewhere", syn_elsewhere, 1},
    {"connections without end", handshakes, 1},    {"UDP", udp, 1},
    {"first fragments", first_fragments, 1},       {"ICMP errors and echoes", icmp, 1},
    {"known secret, one shard", one_shard, 16},    {"known secret, one line", one_line, 128},
};

/* Flows that are there are kept: 99.99 %; memory stays within what max_flows needs (flowq(7): 20 bytes a flow and two slabs). */
START_TEST(flows_that_are_there_are_kept)
{
    const struct flood *flood = &floods[_i];
    uint32_t n = (seed_long() ? 2000000 : 100000) / SEED_SLOWNESS / flood->weight, kept = 0, n_opened = 0, tried = 0;
    uint64_t most = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t e = i % ESTABLISHED, s = i / NOTED_EVERY % ESTABLISHED;
        atomic_fetch_add(&b.now_ns, STEP_NS);
        flood->packet(i);
        if (i % NOTED_EVERY == 0)
            note(&sent[s], queue[s]);
        kept += steer(&arriving[e]) == queue[e];
        if (i % OPEN_EVERY == 0) {
            n_opened += opened(tried);
            tried++;
        }
        most = atomic_load(&b.max_bytes);
    }
    struct flowq_stats s = stats();
    printf(
        "%s: %u packets, %u of %u of flows that were there went to their queue, %u of %u new connections; at most %.1f KB of "
        "table; %llu live, %llu refused, displaced %llu embryonic, %llu closing, %llu established; longest note %.1f us, steer "
        "%.1f us, mean of all calls %.2f us\n",
        flood->name, n, kept, n, n_opened, tried, (double)most / 1e3, (unsigned long long)s.live,
        (unsigned long long)s.note[FLOWQ_NOTE_REFUSED], (unsigned long long)s.displaced_embryonic,
        (unsigned long long)s.displaced_closing, (unsigned long long)s.displaced_established, (double)longest_note_ns / 1e3,
        (double)longest_steer_ns / 1e3, (double)all_ns / (double)n_calls / 1e3);
    fflush(stdout);
    ck_assert_uint_ge(kept * UINT64_C(10000), n * UINT64_C(9999));
    ck_assert_uint_le(most, MAX_FLOWS * 42); /* what check_sizes has for tables of this size that grow */
    const char *left = bare_wrong(&b);
    ck_assert_msg(left == NULL, "%s", left);
}
END_TEST

int main(void)
{
    rng.state = seed_get("check_floods");
    Suite *s = suite_create("floods");
    TCase *tc = tcase_create("floods");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, seed_long() ? 3600 : 120);
    tcase_add_loop_test(tc, flows_that_are_there_are_kept, 0, (int)(sizeof(floods) / sizeof(floods[0])));
    suite_add_tcase(s, tc);
    return suite_run(s);
}
