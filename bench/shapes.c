/*
 * shapes: packets that are not plain: tags, tunnels, the most nested one; and what calls cost beside the table: sections,
 * statistics by queue. 64k flows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#include "tests/frames.h"
#include "vm.h"

enum { N_FLOWS = 64 << 10, TURN = 128 << 10, STRIDE = 256, REPS = 15, HEADER_BYTES = 256 };

/* ---- Frames ---------------------------------------------------------------------------------------------------------------- */

struct look {
    const char *name;
    unsigned n_vlans;
    enum frame_tunnel tunnel;
};

static const struct look looks[] = {
    {"plain", 0, FRAME_NO_TUNNEL}, {"vlan", 1, FRAME_NO_TUNNEL}, {"qinq", 2, FRAME_NO_TUNNEL}, {"vxlan", 0, FRAME_VXLAN},
    {"geneve", 0, FRAME_GENEVE},   {"gre", 0, FRAME_GRE},        {"gtpu", 0, FRAME_GTPU},      {"ipip", 0, FRAME_IP_IN_IP},
};

/* The tuple of an incoming packet of flow `id`, read back from the frame that flow_frame() makes of it. */
static struct flowq_tuple tuple_of(uint64_t id)
{
    uint8_t f[FRAME_STRIDE_V4];
    flow_frame(f, 4, INCOMING, id);
    uint32_t src = (uint32_t)f[26] << 24 | (uint32_t)f[27] << 16 | (uint32_t)f[28] << 8 | f[29];
    uint32_t dst = (uint32_t)f[30] << 24 | (uint32_t)f[31] << 16 | (uint32_t)f[32] << 8 | f[33];
    return tuple_v4(FRAME_PROTO_TCP, src, (uint16_t)(f[34] << 8 | f[35]), dst, (uint16_t)(f[36] << 8 | f[37]));
}

static uint32_t look_frame(uint8_t *bytes, uint64_t id, const void *how)
{
    const struct look *look = how;
    struct flowq_tuple inner = tuple_of(id), outer = tuple_v4(FRAME_PROTO_UDP, 0xc0000201, 5555, 0xc0000202, 4789);
    struct flowq_tuple *first = look->tunnel == FRAME_NO_TUNNEL ? &inner : &outer;
    struct frame f;
    for (unsigned i = 0; i < look->n_vlans; i++)
        first->vlan[first->n_vlans++] = (uint16_t)(100 + i);
    if (look->tunnel == FRAME_NO_TUNNEL)
        frame_flow(&f, &inner, FRAME_ACK);
    else
        frame_tunnel(&f, look->tunnel, &outer, &inner, FRAME_ACK);
    memcpy(bytes, f.bytes, f.len < STRIDE ? f.len : STRIDE);
    return f.len < STRIDE ? f.len : STRIDE;
}

static uint32_t put(uint8_t *p, const void *bytes, uint32_t n)
{
    memcpy(p, bytes, n);
    return n;
}

/*
 * As many headers as the parser passes over, in the 256 bytes that it looks at, in four ways. Each ends in IPv6 and TCP, of the
 * flow of flow_frame(); extension headers are destination options that together fill the rest.
 */
enum nest {
    NEST_EXTENSIONS, /* extension headers */
    NEST_TAGS,       /* four tags, IPv6, VXLAN, four tags */
    NEST_TUNNEL,     /* IPv6, VXLAN, extension headers */
    NEST_QUOTE,      /* IPv6, an ICMPv6 error that quotes what NEST_TUNNEL is, as the VM sent it */
    NESTS
};

enum { ETHERNET_BYTES = 14, IPV6_BYTES = 40, TCP_BYTES = 20 };

static uint32_t put_ethernet(uint8_t *p, const uint8_t *frame, unsigned n_tags)
{
    static const uint8_t tag[4] = {0x81, 0x00, 0x00, 0x64};
    uint32_t at = put(p, frame, ETHERNET_BYTES - 2);
    for (unsigned i = 0; i < n_tags; i++)
        at += put(p + at, tag, sizeof(tag));
    return at + put(p + at, frame + ETHERNET_BYTES - 2, 2);
}

static uint32_t put_ipv6(uint8_t *p, const uint8_t *frame, uint8_t next)
{
    uint32_t at = put(p, frame + ETHERNET_BYTES, IPV6_BYTES);
    p[6] = next;
    return at;
}

static uint32_t put_vxlan(uint8_t *p, const uint8_t *frame)
{
    static const uint8_t udp[8] = {0x15, 0xb3, 0x12, 0xb5}, vxlan[8] = {0x08};
    uint32_t at = put_ipv6(p, frame, PROTO_UDP);
    at += put(p + at, udp, sizeof(udp));
    return at + put(p + at, vxlan, sizeof(vxlan));
}

static uint32_t put_extensions(uint8_t *p, uint32_t room)
{
    uint32_t at = 0, units = room / 8; /* of 8 bytes each, for all of them */
    for (uint32_t i = 0; i < PARSE_MAX_PASSED; i++) {
        uint32_t n = units / PARSE_MAX_PASSED + (i < units % PARSE_MAX_PASSED);
        memset(p + at, 0, 8 * n);
        p[at] = i + 1 < PARSE_MAX_PASSED ? PROTO_DEST_OPTIONS : FRAME_PROTO_TCP;
        p[at + 1] = (uint8_t)(n - 1);
        p[at + 2] = 1; /* one option, of padding */
        p[at + 3] = (uint8_t)(8 * n - 4);
        at += 8 * n;
    }
    return at;
}

static uint32_t nested_frame(uint8_t *p, uint64_t id, const void *how)
{
    static const uint8_t too_big[8] = {2};
    enum nest nest = *(const enum nest *)how;
    uint8_t f[FRAME_STRIDE_V6];
    uint32_t at;
    flow_frame(f, 6, nest == NEST_QUOTE ? OUTGOING : INCOMING, id);
    at = put_ethernet(p, f, nest == NEST_TAGS ? FLOWQ_MAX_VLANS : 0);
    if (nest == NEST_QUOTE) {
        at += put_ipv6(p + at, f, PROTO_ICMPV6);
        at += put(p + at, too_big, sizeof(too_big));
    }
    if (nest != NEST_EXTENSIONS) {
        at += put_vxlan(p + at, f);
        at += put_ethernet(p + at, f, nest == NEST_TAGS ? FLOWQ_MAX_VLANS : 0);
    }
    at += put_ipv6(p + at, f, nest == NEST_TAGS ? FRAME_PROTO_TCP : PROTO_DEST_OPTIONS);
    if (nest != NEST_TAGS)
        at += put_extensions(p + at, HEADER_BYTES - TCP_BYTES - at);
    return at + put(p + at, f + ETHERNET_BYTES + IPV6_BYTES, TCP_BYTES);
}

static uint32_t strided_frame(uint8_t *p, uint64_t id, const void *how)
{
    (void)how;
    return flow_frame(p, 6, INCOMING, id);
}

static struct stream random_stream(frame_fn *fn, const void *how)
{
    uint64_t state = 7;
    uint32_t *ids = huge_alloc(TURN * sizeof(*ids));
    choose_uniform(ids, TURN, N_FLOWS, &state);
    return stream_of(fn, how, STRIDE, ids, TURN);
}

/* ---- Measuring ------------------------------------------------------------------------------------------------------------- */

static void preload(const struct entrant *e, uint32_t version)
{
    uint32_t *ids = huge_alloc(N_FLOWS * sizeof(*ids));
    choose_all(ids, N_FLOWS, N_FLOWS);
    struct stream out = stream_make(version, OUTGOING, IN_SEQUENCE, ids, N_FLOWS);
    e->is->note(e->table, out.pkts, N_FLOWS, 0, 1);
    if (e->is->settle)
        e->is->settle(e->table);
    stream_free(&out);
}

static double turn(const struct entrant *e, const struct stream *s, const char *workload)
{
    double start = cpu_ns();
    uint64_t sum = e->is->steer(e->table, s->pkts, s->n);
    double ns = (cpu_ns() - start) / (double)s->n;
    if (sum != stream_sum(s, 0, s->n, N_FLOWS))
        fail("%s, %s: wrong queues", workload, e->is->name);
    return ns;
}

static void all_looks(void)
{
    struct shape shape = {.version = 4, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS};
    struct entrant entrant[16];
    unsigned n = 0, n_contestants = 0;
    while (contestants[n_contestants])
        n_contestants++;
    for (unsigned i = 0; i < n_contestants; i++) {
        const struct contestant *c = contestants[(i + process.number) % n_contestants];
        if (!c->note || c->most_flows)
            continue;
        entrant[n] = (struct entrant){.is = c, .table = c->create(&shape)};
        if (entrant[n].table)
            preload(&entrant[n++], 4);
    }
    for (size_t l = 0; l < sizeof(looks) / sizeof(*looks); l++) {
        char workload[48];
        snprintf(workload, sizeof(workload), "shape/%s", looks[l].name);
        if (!wanted(workload, false))
            continue;
        struct stream s = random_stream(look_frame, &looks[l]);
        for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
            for (unsigned i = 0; i < n; i++) {
                const struct entrant *e = &entrant[(i + rep) % n];
                double ns = turn(e, &s, workload);
                if (rep > 0)
                    sample(workload, e->is->name, "ns", ns);
            }
        }
        stream_free(&s);
    }
    for (unsigned i = 0; i < n; i++)
        entrant[i].is->destroy(entrant[i].table);
}

static void nested(void)
{
    static const enum nest kinds[NESTS] = {NEST_EXTENSIONS, NEST_TAGS, NEST_TUNNEL, NEST_QUOTE};
    static const char *const names[NESTS] = {"nested/extensions", "nested/tags", "nested/tunnel", "nested/quote"};
    struct shape shape = {.version = 6, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS};
    struct entrant e = {.is = &with_flowq, .table = with_flowq.create(&shape)};
    preload(&e, 6);
    struct stream plain = random_stream(strided_frame, NULL), most[NESTS];
    for (unsigned k = 0; k < NESTS; k++)
        most[k] = random_stream(nested_frame, &kinds[k]);
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        double ns = turn(&e, &plain, "nested/plain"), longest = 0;
        if (rep > 0)
            sample("nested/plain", e.is->name, "ns", ns);
        for (unsigned k = 0; k < NESTS; k++) {
            double this = turn(&e, &most[k], names[k]);
            longest = this > longest ? this : longest;
            if (rep > 0)
                sample(names[k], e.is->name, "ns", this);
        }
        if (rep > 0)
            sample("nested/most", e.is->name, "times", longest / ns);
    }
    e.is->destroy(e.table);
    stream_free(&plain);
    for (unsigned k = 0; k < NESTS; k++)
        stream_free(&most[k]);
}

/* Single calls inside a section that the caller holds, and outside. */
static void sections(void)
{
    struct shape shape = {.version = 4, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS};
    struct entrant e = {.is = &with_flowq, .table = with_flowq.create(&shape)};
    preload(&e, 4);
    struct stream s = random_stream(look_frame, &looks[0]);
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        uint64_t sum = 0;
        double start = cpu_ns();
        keep(e.is->single(e.table, s.pkts, s.n));
        double inside = cpu_ns() - start;
        start = cpu_ns();
        for (size_t i = 0; i < s.n; i++)
            sum += flowq_rx_steer(e.table, &s.pkts[i]);
        double outside = cpu_ns() - start;
        keep(sum);
        if (rep == 0)
            continue;
        sample("section/inside", e.is->name, "ns", inside / (double)s.n);
        sample("section/outside", e.is->name, "ns", outside / (double)s.n);
        sample("section/added", e.is->name, "ns", (outside - inside) / (double)s.n);
    }
    e.is->destroy(e.table);
    stream_free(&s);
}

/* Single notes of bound flows inside a section that the caller holds; there is no peer whose note takes one packet at a time. */
static void single_notes(void)
{
    struct shape shape = {.version = 4, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS};
    struct entrant e = {.is = &with_flowq, .table = with_flowq.create(&shape)};
    uint32_t *ids = huge_alloc(N_FLOWS * sizeof(*ids));
    preload(&e, 4);
    choose_all(ids, N_FLOWS, N_FLOWS);
    struct stream out = stream_make(4, OUTGOING, IN_SEQUENCE, ids, N_FLOWS);
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        double start = cpu_ns();
        flowq_enter();
        for (size_t i = 0; i < out.n; i++)
            keep(flowq_tx_note(e.table, &out.pkts[i], flow_queue(i)));
        flowq_leave();
        double ns = (cpu_ns() - start) / (double)out.n;
        if (rep > 0)
            sample("single-note/v4-64k", e.is->name, "ns", ns);
    }
    e.is->destroy(e.table);
    stream_free(&out);
}

/* ---- Statistics ------------------------------------------------------------------------------------------------------------ */

/* Steers, and after each burst does once more all that the burst's counting consists of. */
static double turn_counted_twice(const struct entrant *e, const struct stream *s)
{
    uint16_t qids[BURST];
    uint64_t sum = 0;
    struct flowq_vm *vm = e->table;
    double start = cpu_ns();
    for (size_t i = 0; i < s->n; i += BURST) {
        flowq_rx_steer_burst(vm, s->pkts + i, BURST, qids);
        for (size_t j = 0; j < BURST; j++)
            sum += qids[j];
        struct tally tally = stats_tally(&vm->stats, thread_self());
        tally_add(&tally, STAT_STEER + FLOWQ_REASON_BOUND, BURST);
    }
    double ns = (cpu_ns() - start) / (double)s->n;
    if (sum != stream_sum(s, 0, s->n, N_FLOWS))
        fail("statistics/counted: wrong queues");
    return ns;
}

/* The counters of a vm cannot be switched off, so what they cost is what counting twice costs more; those by queue can. */
static void statistics(void)
{
    struct shape off = {.version = 4, .n_flows = N_FLOWS, .slots = 2 * N_FLOWS}, on = off;
    on.queue_stats = true;
    struct entrant a = {.is = &with_flowq, .table = with_flowq.create(&off)},
                   b = {.is = &with_flowq, .table = with_flowq.create(&on)};
    preload(&a, 4);
    preload(&b, 4);
    struct stream s = random_stream(look_frame, &looks[0]);
    for (unsigned rep = 0; rep <= repetitions(REPS); rep++) {
        double first = rep % 2 ? turn_counted_twice(&a, &s) : turn(&a, &s, "statistics/once");
        double second = rep % 2 ? turn(&a, &s, "statistics/once") : turn_counted_twice(&a, &s);
        double once = rep % 2 ? second : first, twice = rep % 2 ? first : second;
        double by_queue = turn(&b, &s, "statistics/by-queue");
        if (rep == 0)
            continue;
        sample("statistics/once", a.is->name, "ns", once);
        sample("statistics/twice", a.is->name, "ns", twice);
        sample("statistics/counted", a.is->name, "times", twice / once);
        sample("statistics/by-queue", b.is->name, "ns", by_queue);
        sample("statistics/by-queue", b.is->name, "times", by_queue / once);
    }
    a.is->destroy(a.table);
    b.is->destroy(b.table);
    stream_free(&s);
}

void run_shapes(void)
{
    if (wanted_group("shape/", false))
        all_looks();
    if (wanted_group("nested/", true))
        nested();
    if (wanted_group("section/", true))
        sections();
    if (wanted_group("single-note/", false))
        single_notes();
    if (wanted_group("statistics/", true))
        statistics();
}
