/*
 * check_rss: which fields of a packet virtio's hash is calculated over, and what is reported. The commands are in check_virtio.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <arpa/inet.h>
#include <check.h>
#include <string.h>

#include "counted_parse.h"
#include "frames.h"
#include "model_parse.h"
#include "random_packet.h"
#include "rss.h"
#include "runner.h"
#include "seed.h"

static uint64_t seed;
static const struct parse_rules no_tunnels;

static struct rss_fields fields_of(const struct frame *f, const struct parse_rules *rules)
{
    struct flowq_pkt pkt = frame_pkt(f);
    struct rss_fields r;
    memset(&r, 0xa5, sizeof(r));
    rss_parse(&pkt, rules, &r);
    return r;
}

static void expect_addresses(const struct rss_fields *r, const struct flowq_tuple *t)
{
    size_t n = t->version == 4 ? 4 : 16;
    ck_assert_uint_eq(r->version, t->version);
    ck_assert_mem_eq(r->address[0], t->src, n);
    ck_assert_mem_eq(r->address[1], t->dst, n);
}

static void expect_ports(const struct rss_fields *r, const struct flowq_tuple *t)
{
    ck_assert_uint_eq(r->ports_of, t->protocol == FRAME_PROTO_TCP ? RSS_TCP : RSS_UDP);
    ck_assert_uint_eq(r->port[0] << 8 | r->port[1], t->sport);
    ck_assert_uint_eq(r->port[2] << 8 | r->port[3], t->dport);
}

static struct flowq_tuple tuple(unsigned version, uint8_t protocol)
{
    return version == 4 ? tuple_v4(protocol, 0x01020304, 5000, 0x0a0b0c0d, 443)
                        : tuple_v6(protocol, 0x01020304, 5000, 0x0a0b0c0d, 443);
}

/* ---- Plain packets, fragments, what cannot be read ------------------------------------------------------------------------- */

START_TEST(plain_packets)
{
    static const uint8_t protocols[] = {FRAME_PROTO_TCP,  FRAME_PROTO_UDP,  FRAME_PROTO_ICMP, FRAME_PROTO_ICMPV6,
                                        FRAME_PROTO_SCTP, FRAME_PROTO_DCCP, FRAME_PROTO_ESP,  FRAME_PROTO_UDPLITE};
    for (unsigned version = 4; version <= 6; version += 2) {
        for (size_t i = 0; i < sizeof(protocols); i++) {
            struct flowq_tuple t = tuple(version, protocols[i]);
            struct frame f;
            frame_flow(&f, &t, 0);
            struct rss_fields r = fields_of(&f, &no_tunnels);
            expect_addresses(&r, &t);
            ck_assert(!r.extended);
            if (protocols[i] == FRAME_PROTO_TCP || protocols[i] == FRAME_PROTO_UDP)
                expect_ports(&r, &t);
            else
                ck_assert_uint_eq(r.ports_of, RSS_NO_PORTS);
        }
    }
}
END_TEST

START_TEST(fragments_have_no_ports)
{
    for (unsigned version = 4; version <= 6; version += 2) {
        struct flowq_tuple t = tuple(version, FRAME_PROTO_UDP);
        for (unsigned kind = 0; kind < 3; kind++) {
            struct frame f;
            frame_fragment(&f, &t, 77, kind ? 1480 : 0, kind < 2);
            struct rss_fields r = fields_of(&f, &no_tunnels);
            expect_addresses(&r, &t);
            ck_assert_uint_eq(r.ports_of, RSS_NO_PORTS);
            ck_assert(r.extended == (version == 6));
        }
    }
    struct flowq_tuple t = tuple(6, FRAME_PROTO_UDP); /* RFC 6946: a whole packet */
    struct frame f;
    frame_fragment(&f, &t, 77, 0, false);
    struct rss_fields r = fields_of(&f, &no_tunnels);
    expect_ports(&r, &t);
    ck_assert(r.extended);
}
END_TEST

/* Whatever is cut off: without IP header nothing, without ports no ports. */
START_TEST(cut_short)
{
    for (unsigned version = 4; version <= 6; version += 2) {
        struct flowq_tuple t = tuple(version, FRAME_PROTO_TCP);
        struct frame f;
        frame_flow(&f, &t, 0);
        uint32_t whole = f.len, l4 = version == 4 ? 34 : 54;
        for (f.len = 0; f.len <= whole; f.len++) {
            struct rss_fields r = fields_of(&f, &no_tunnels);
            ck_assert_uint_eq(r.version, f.len < l4 ? 0 : version);
            if (f.len >= l4)
                expect_addresses(&r, &t);
            ck_assert_uint_eq(r.ports_of, f.len < l4 + 4 ? RSS_NO_PORTS : RSS_TCP);
        }
    }
}
END_TEST

START_TEST(not_ip)
{
    struct frame f;
    frame_arp(&f);
    ck_assert_uint_eq(fields_of(&f, &no_tunnels).version, 0);
    f.flags = 0x80; /* unknown */
    ck_assert_uint_eq(fields_of(&f, &no_tunnels).version, 0);
    struct flowq_tuple t = tuple(4, FRAME_PROTO_TCP);
    frame_start(&f);
    frame_ip(&f, &t, t.protocol);
    frame_l4(&f, &t, 0);
    frame_end(&f);
    f.flags = FLOWQ_PKT_L3;
    struct rss_fields r = fields_of(&f, &no_tunnels);
    expect_ports(&r, &t);
    f.bytes[0] = 0x44; /* a header of 16 bytes */
    ck_assert_uint_eq(fields_of(&f, &no_tunnels).version, 0);
    f.bytes[0] = 0x4f; /* of 60, which are not there */
    ck_assert_uint_eq(fields_of(&f, &no_tunnels).ports_of, RSS_NO_PORTS);
}
END_TEST

/* An error is a packet without ports; what it quotes does not matter here. */
START_TEST(icmp_errors)
{
    for (unsigned version = 4; version <= 6; version += 2) {
        struct flowq_tuple t = tuple(version, version == 4 ? FRAME_PROTO_ICMP : FRAME_PROTO_ICMPV6),
                           quoted = tuple(version, FRAME_PROTO_TCP);
        quoted.src[3] ^= 1;
        struct frame f;
        frame_icmp_error(&f, &t, &quoted, 64);
        struct rss_fields r = fields_of(&f, &no_tunnels);
        expect_addresses(&r, &t);
        ck_assert_uint_eq(r.ports_of, RSS_NO_PORTS);
    }
}
END_TEST

/* ---- IPv6 extension headers, built at random with what must come out ------------------------------------------------------- */

struct chain {
    uint8_t bytes[512];
    uint32_t len, next_at; /* where the number of the next header goes */
    uint8_t src[16], dst[16], home[16], routed[16], port[4];
    bool has_home, has_routed, ended; /* ended: nothing behind this is read */
};

static uint8_t *add(struct chain *c, uint8_t number, uint32_t bytes)
{
    uint8_t *at = c->bytes + c->len;
    memset(at, 0, bytes);
    c->bytes[c->next_at] = number;
    c->next_at = c->len;
    c->len += bytes;
    return at;
}

static void random_16(struct rng *rng, uint8_t to[16])
{
    for (unsigned i = 0; i < 16; i++)
        to[i] = (uint8_t)rng_next(rng);
}

/* Options up to the end of a header of `bytes`: perhaps a home address among them. */
static void add_options(struct chain *c, struct rng *rng, uint8_t *h, uint32_t bytes)
{
    uint32_t at = 2;
    while (at < bytes) {
        uint32_t left = bytes - at;
        if (left >= 18 && rng_percent(rng, 50)) {
            h[at] = 0xc9;
            h[at + 1] = 16;
            random_16(rng, h + at + 2);
            if (!c->has_home && !c->ended)
                memcpy(c->home, h + at + 2, 16);
            c->has_home |= !c->ended;
            at += 18;
        } else if (left == 1 || rng_percent(rng, 20)) {
            at++; /* Pad1 */
        } else {
            uint32_t n = rng_below(rng, left - 1 < 30 ? left - 1 : 30);
            h[at] = rng_percent(rng, 10) && n != 16 ? 0xc9 : 1; /* of another length it is no home address */
            h[at + 1] = (uint8_t)n;
            at += 2 + n;
        }
    }
}

static void add_extension(struct chain *c, struct rng *rng)
{
    uint8_t *h;
    uint32_t units = rng_below(rng, 4);
    switch (rng_below(rng, 6)) {
    case 0:
        h = add(c, 60, 8 * units + 8);
        h[1] = (uint8_t)units;
        add_options(c, rng, h, 8 * units + 8);
        break;
    case 1:
        h = add(c, 43, 24);
        h[1] = 2;
        h[2] = rng_percent(rng, 70) ? 2 : 0;
        h[3] = rng_percent(rng, 80) ? 1 : 0;
        random_16(rng, h + 8);
        if (h[2] == 2 && h[3] == 1 && !c->ended && !c->has_routed) {
            memcpy(c->routed, h + 8, 16);
            c->has_routed = true;
        }
        break;
    case 2:
        h = add(c, 43, 8 * units + 8);
        h[1] = (uint8_t)units;
        h[2] = units == 2 ? 0 : 2; /* of another length it is none of type 2 */
        h[3] = 1;
        break;
    case 3:
        h = add(c, 51, 4 * units + 8); /* AH counts in words */
        h[1] = (uint8_t)units;
        break;
    default:
        h = add(c, rng_percent(rng, 50) ? 0 : 135, 8 * units + 8);
        h[1] = (uint8_t)units;
    }
}

static void expect_chain(const struct chain *c, bool extended, bool tcp, uint32_t cut)
{
    struct flowq_pkt pkt = {.data = c->bytes, .len = cut, .flags = FLOWQ_PKT_L3};
    struct rss_fields r;
    rss_parse(&pkt, &no_tunnels, &r);
    ck_assert_uint_eq(r.version, cut < 40 ? 0 : 6);
    if (cut < c->len || c->len > 256)
        return;
    ck_assert(r.extended == extended);
    ck_assert_mem_eq(r.address[0], c->src, 16);
    ck_assert_mem_eq(r.address[1], c->dst, 16);
    ck_assert_mem_eq(r.mobile_address[0], c->has_home ? c->home : c->src, 16);
    ck_assert_mem_eq(r.mobile_address[1], c->has_routed ? c->routed : c->dst, 16);
    ck_assert_uint_eq(r.ports_of, c->ended ? RSS_NO_PORTS : tcp ? RSS_TCP : RSS_UDP);
    if (!c->ended)
        ck_assert_mem_eq(r.port, c->port, 4);
}

START_TEST(extension_headers)
{
    struct rng rng = {seed};
    for (unsigned round = 0; round < (seed_long() ? 200000u : 10000u); round++) {
        struct chain c;
        memset(&c, 0, sizeof(c));
        c.bytes[0] = 0x60;
        c.len = 40;
        c.next_at = 6;
        random_16(&rng, c.src);
        random_16(&rng, c.dst);
        memcpy(c.bytes + 8, c.src, 16);
        memcpy(c.bytes + 24, c.dst, 16);
        unsigned n = rng_below(&rng, 5);
        for (unsigned i = 0; i < n; i++)
            add_extension(&c, &rng);
        bool fragment = rng_percent(&rng, 30), tcp = rng_percent(&rng, 50);
        if (fragment) { /* atomic or not */
            uint8_t *h = add(&c, 44, 8);
            h[3] = rng_percent(&rng, 50) ? 1 : 0;
            h[2] = rng_percent(&rng, 20) ? 1 : 0;
            c.ended = h[2] || h[3];
            if (rng_percent(&rng, 30))
                add_extension(&c, &rng);
        }
        uint8_t *l4 = add(&c, tcp ? 6 : 17, 8);
        for (unsigned i = 0; i < 4; i++)
            c.port[i] = l4[i] = (uint8_t)rng_next(&rng);
        expect_chain(&c, n > 0 || fragment, tcp, c.len);
        expect_chain(&c, n > 0 || fragment, tcp, rng_below(&rng, c.len + 1));
    }
}
END_TEST

/* ---- Tunnels --------------------------------------------------------------------------------------------------------------- */

/* Of which of virtio's types the tunnels of frames.h are; 6in4 and its like are none (RFC 2003 is IPv4 in IPv4). */
START_TEST(tunnels)
{
    for (unsigned kind = FRAME_NO_TUNNEL + 1; kind < FRAME_N_TUNNELS; kind++) {
        for (unsigned versions = 0; versions < 4; versions++) {
            struct flowq_tuple outer = tuple(versions & 1 ? 6 : 4, FRAME_PROTO_UDP),
                               inner = tuple(versions & 2 ? 6 : 4, FRAME_PROTO_TCP);
            inner.src[2] ^= 9;
            struct frame f;
            frame_tunnel(&f, (enum frame_tunnel)kind, &outer, &inner, 0);
            uint32_t bit = frame_tunnel_bit((enum frame_tunnel)kind, outer.version, inner.version);
            if (bit == 0)
                continue;
            struct parse_rules rules = parse_rules_default();
            rules.tunnels = bit;
            rules.udp_filter = parse_rules_filter(&rules);
            struct rss_fields r = fields_of(&f, &rules);
            expect_addresses(&r, &inner);
            expect_ports(&r, &inner);

            rules.tunnels = FLOWQ_TUNNEL_ALL & ~bit;
            rules.udp_filter = parse_rules_filter(&rules);
            r = fields_of(&f, &rules);
            expect_addresses(&r, &outer);
            ck_assert_uint_eq(r.ports_of,
                              frame_tunnel_outer((enum frame_tunnel)kind, &outer, inner.version).protocol == FRAME_PROTO_UDP
                                  ? RSS_UDP
                                  : RSS_NO_PORTS);

            rules = parse_rules_default();
            f.len = f.inner_at; /* none of the tunnel after all, or one without an inner header */
            r = fields_of(&f, &rules);
            expect_addresses(&r, &outer);
            struct flowq_tuple alone = frame_tunnel_outer((enum frame_tunnel)kind, &outer, inner.version);
            if (alone.protocol == FRAME_PROTO_UDP)
                expect_ports(&r, &alone);
            else
                ck_assert_uint_eq(r.ports_of, RSS_NO_PORTS);

            frame_tunnel_first(&f, (enum frame_tunnel)kind, &outer, &inner, 0, 5);
            r = fields_of(&f, &rules);
            expect_addresses(&r, &outer); /* a fragment: not looked into */
            ck_assert_uint_eq(r.ports_of, RSS_NO_PORTS);
        }
    }
}
END_TEST

/* ---- Against the parser of flows ------------------------------------------------------------------------------------------- */

/* What one says of a packet, the other must say where both mean the same. */
static void compare(const struct flowq_pkt *pkt, const struct parse_rules *rules)
{
    struct parse_result p;
    struct rss_fields r;
    parse_packet(pkt, rules, &p);
    memset(&r, 0xa5, sizeof(r));
    memset(parse_reads, 0, sizeof(parse_reads));
    counted_rss_parse(pkt, rules, &r);
    unsigned wrong = 0;
    for (uint32_t i = 0; i < pkt->len; i++)
        wrong += parse_reads[i] > (i < FLOWQ_HEADER_MAX);
    ck_assert_uint_eq(wrong, 0);
    if (p.kind != PARSE_FLOW || p.n_first || p.flags & PARSE_ICMP_ERROR)
        return;
    struct key_l4 l4 = key_l4(&p.key);
    bool ports = l4.protocol == FRAME_PROTO_TCP || l4.protocol == FRAME_PROTO_UDP;
    if (p.flags & PARSE_UNREAD_TUNNEL || l4.protocol == FRAME_PROTO_IPIP || l4.protocol == FRAME_PROTO_6IN4 ||
        l4.protocol == FRAME_PROTO_GRE) {
        /* Perhaps a tunnel with an inner IP header but no flow: then its key is the outer one, and its fields are the
           inner ones. */
        ck_assert_uint_ne(r.version, 0);
        return;
    }
    ck_assert_uint_eq(r.version, l4.version);
    size_t n = l4.version == 4 ? 4 : 16;
    ck_assert_mem_eq(r.address[0], &p.key.word[0], n);
    if (!r.extended) /* a routing header says where a flow goes in the end; virtio hashes what stands in the IPv6 header */
        ck_assert_mem_eq(r.address[1], (const uint8_t *)&p.key.word[0] + n, n);
    ck_assert_uint_eq(r.ports_of, l4.protocol == FRAME_PROTO_TCP ? RSS_TCP : ports ? RSS_UDP : RSS_NO_PORTS);
    if (ports) {
        ck_assert_mem_eq(r.port, &l4.sport, 2);
        ck_assert_mem_eq(r.port + 2, &l4.dport, 2);
    }
}

START_TEST(as_the_parser)
{
    struct rng rng = {seed + 1};
    for (unsigned i = 0; i < (seed_long() ? 2000000u : 200000u); i++) {
        struct parse_rules rules;
        struct random_packet p;
        random_rules(&rng, &rules);
        rules.key_vlan = rules.key_vni = false;
        rules.tunnels &= ~(uint32_t)FLOWQ_TUNNEL_GUE; /* what it carries may have the outer addresses; virtio does not know it */
        rules.udp_filter = parse_rules_filter(&rules);
        random_packet(&p, &rng, &rules);
        struct flowq_pkt pkt = {.data = p.bytes, .len = p.len, .flags = p.flags};
        compare(&pkt, &rules);
    }
}
END_TEST

/* ---- Hash types and reports ------------------------------------------------------------------------------------------------ */

/* The specification's cascade, word by word. */
static unsigned cascade(uint32_t types, bool v4, bool extended, bool tcp, bool udp)
{
    if (v4) {
        if (types & FLOWQ_HASH_TYPE_TCPV4 && tcp)
            return 2;
        if (types & FLOWQ_HASH_TYPE_UDPV4 && udp)
            return 3;
        return types & FLOWQ_HASH_TYPE_IPV4 ? 1 : 0;
    }
    if (extended) {
        if (types & FLOWQ_HASH_TYPE_TCP_EX && tcp)
            return 8;
        if (types & FLOWQ_HASH_TYPE_UDP_EX && udp)
            return 9;
        if (types & FLOWQ_HASH_TYPE_IP_EX)
            return 7;
    }
    if (types & FLOWQ_HASH_TYPE_TCPV6 && tcp)
        return 5;
    if (types & FLOWQ_HASH_TYPE_UDPV6 && udp)
        return 6;
    return types & FLOWQ_HASH_TYPE_IPV6 ? 4 : 0;
}

START_TEST(reports)
{
    for (uint32_t types = 0; types <= FLOWQ_HASH_TYPE_ALL; types++) {
        for (unsigned kind = 0; kind < 3; kind++) {
            for (unsigned ports = RSS_NO_PORTS; ports <= RSS_UDP; ports++) {
                struct rss_fields f = {.version = kind ? 6 : 4, .ports_of = (uint8_t)ports, .extended = kind == 2};
                ck_assert_uint_eq(rss_report_of(types, &f),
                                  cascade(types, kind == 0, kind == 2, ports == RSS_TCP, ports == RSS_UDP));
            }
        }
        struct rss_fields none = {.version = 0};
        ck_assert_uint_eq(rss_report_of(types, &none), FLOWQ_HASH_REPORT_NONE);
    }
    for (unsigned report = 1; report <= 9; report++) { /* type = 1 << (report - 1) */
        struct rss_fields f = {.version = report <= 3 ? 4 : 6, .ports_of = (uint8_t)((report - 1) % 3), .extended = report > 6};
        ck_assert_uint_eq(rss_report_of(1u << (report - 1), &f), report);
    }
}
END_TEST

int main(void)
{
    seed = seed_get("check_rss");
    Suite *suite = suite_create("rss");
    TCase *tcase = tcase_create("rss");
    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, plain_packets);
    tcase_add_test(tcase, fragments_have_no_ports);
    tcase_add_test(tcase, cut_short);
    tcase_add_test(tcase, not_ip);
    tcase_add_test(tcase, icmp_errors);
    tcase_add_test(tcase, extension_headers);
    tcase_add_test(tcase, tunnels);
    tcase_add_test(tcase, as_the_parser);
    tcase_add_test(tcase, reports);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
