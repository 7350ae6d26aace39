/*
 * The parser on packets written out by hand: each row says what a header is for and what must come of it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "model_parse.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- How packets are written: hexadecimal digits, blanks where you like ---------------------------------------------------- */

#define ETH(type) "525400000001 525400000002 " type " "
#define IPV4(protocol) "4500 0000 0000 0000 40 " protocol " 0000 0a000001 0a000002 "     /* from 1 to 2 */
#define INNER4(protocol) "4500 0000 0000 0000 40 " protocol " 0000 0a000003 0a000004 "   /* from 3 to 4 */
#define BACK4(protocol) "4500 0000 0000 0000 40 " protocol " 0000 0a000002 0a000001 "    /* from 2 to 1 */
#define FRAG4(id, field, protocol) "4500 0000 " id field " 40 " protocol " 0000 0a000001 0a000002 "
#define V6(host) "20010db8 00000000 00000000 000000" host " "
#define IPV6(next) "60000000 0000 " next " 40 " V6("01") V6("02")
#define INNER6(next) "60000000 0000 " next " 40 " V6("03") V6("04")
#define BACK6(next) "60000000 0000 " next " 40 " V6("02") V6("01")
#define EXT(next) next " 00 000000000000 "
#define FRAG6(next, field, id) next " 00 " field id " "
#define PORTS "0007 0009 "
#define UDP PORTS "0000 0000 "
#define TCP(flags) PORTS "00000000 00000000 50 " flags " ffff 0000 0000 "
#define UDP_TO(port) "c001 " port " 0000 0000 "
#define VXLAN UDP_TO("12b5") "08000000 00004d00 "
#define ICMP(type) type " 00 0000 00000000 "
#define INNER_ETH(type) "525400000003 525400000004 " type " "

struct example {
    const char *name;
    const char *packet;
    const char *want; /* as text() writes it */
    uint32_t only;    /* the tunnels looked into, FLOWQ_TUNNEL_NONE for none; 0: all */
    uint32_t flags;   /* of struct flowq_pkt */
    bool key_vlan;
};

#define EXAMPLE(name_, packet_, want_, ...) {.name = name_, .packet = packet_, .want = want_, ##__VA_ARGS__}

/* One assertion for all digits: each is a system call. */
static unsigned from_hex(const char *hex, uint8_t *to)
{
    static const char digits[] = "0123456789abcdef";
    unsigned n = 0;
    const char *digit = digits;
    for (; *hex && digit; hex++) {
        if (*hex == ' ')
            continue;
        digit = strchr(digits, *hex);
        unsigned value = digit ? (unsigned)(digit - digits) : 0;
        to[n / 2] = (uint8_t)(n % 2 ? to[n / 2] << 4 | value : value);
        n++;
    }
    ck_assert(digit != NULL && n % 2 == 0);
    return n / 2;
}

/* ---- How results are written: kind version/protocol host:port>host:port, then what else there is --------------------------- */

static unsigned net16(uint16_t v)
{
    uint8_t b[2];
    memcpy(b, &v, 2);
    return b[0] * 256u + b[1];
}

static void text(const struct parse_result *r, char *s, size_t size)
{
    static const char *const kind[] = {"keyless", "flow", "later", "quote", "quote-later"};
    static const struct {
        unsigned bit;
        const char *name;
    } flag[] = {{PARSE_MULTICAST, "multicast"}, {PARSE_SYN, "syn"}, {PARSE_FIN, "fin"}, {PARSE_RST, "rst"},
                {PARSE_ICMP_ERROR, "icmp-error"}};
    const uint8_t *word = (const uint8_t *)r->key.word;
    size_t n = (size_t)snprintf(s, size, "%s", kind[r->kind]);
    if (r->key.bytes) {
        struct key_l4 l4 = key_l4(&r->key);
        unsigned dst = l4.version == 6 ? 16 : 4;
        ck_assert(key_is_v6(&r->key) == (l4.version == 6) && l4.zero == 0);
        n += (size_t)snprintf(s + n, size - n, " %u/%u %u:%u>%u:%u", l4.version, l4.protocol, word[dst - 1], net16(l4.sport),
                              word[2 * dst - 1], net16(l4.dport));
    }
    if (r->key.bytes == 24 || r->key.bytes == 48) {
        uint64_t vlans = r->key.word[r->key.bytes / 8 - 1];
        n += (size_t)snprintf(s + n, size - n, " vlan");
        for (uint64_t left = vlans >> KEY_VLAN_COUNT_SHIFT; left > 0; left--, vlans >>= KEY_VLAN_ID_BITS)
            n += (size_t)snprintf(s + n, size - n, " %u", (unsigned)vlans & 0xfff);
    }
    for (unsigned i = 0; i < 5; i++)
        if (r->flags & flag[i].bit)
            n += (size_t)snprintf(s + n, size - n, " %s", flag[i].name);
    for (unsigned i = 0; i < r->n_first; i++)
        n += (size_t)snprintf(s + n, size - n, " first %u/%u#%u", r->first[i].version, r->first[i].protocol, r->first[i].id);
    if (r->kind == PARSE_LATER)
        snprintf(s + n, size - n, " of %u/%u#%u", r->later.version, r->later.protocol, r->later.id);
}

/* ---- Running them ---------------------------------------------------------------------------------------------------------- */

/* Parses a copy that ends where the packet ends, so that a sanitizer sees every byte too many. */
static void parse_exactly(const uint8_t *bytes, uint32_t len, uint32_t flags, const struct parse_rules *rules,
                          struct parse_result *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    ck_assert(copy != NULL);
    memcpy(copy, bytes, len);
    struct flowq_pkt pkt = {.data = copy, .len = len, .flags = flags};
    memset(out, 0xa5, sizeof(*out));
    parse_packet(&pkt, rules, out);
    free(copy);
}

static void expect(const char *name, const uint8_t *bytes, uint32_t len, uint32_t flags, const struct parse_rules *rules,
                   const char *want)
{
    char got[200];
    struct parse_result r;
    parse_exactly(bytes, len, flags, rules, &r);
    text(&r, got, sizeof(got));
    ck_assert_msg(strcmp(got, want) == 0, "%s: got \"%s\", want \"%s\"", name, got, want);
}

static void run(const struct example *e)
{
    uint8_t bytes[600];
    struct parse_result r, model;
    struct parse_rules rules = parse_rules_default();
    if (e->only)
        rules.tunnels = e->only == FLOWQ_TUNNEL_NONE ? 0 : e->only;
    rules.udp_filter = parse_rules_filter(&rules);
    rules.key_vlan = e->key_vlan;

    uint32_t len = from_hex(e->packet, bytes);
    expect(e->name, bytes, len, e->flags, &rules, e->want);
    for (uint32_t cut = 0; cut <= len; cut++) {
        struct flowq_pkt pkt = {.data = bytes, .len = cut, .flags = e->flags};
        parse_exactly(bytes, cut, e->flags, &rules, &r);
        model_parse(&pkt, &rules, &model);
        ck_assert_msg(parse_result_equal(&r, &model), "%s, cut to %u bytes: not what the model says", e->name, cut);
    }
}

static void run_all(const struct example *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        run(&table[i]);
}

#define RUN(table) run_all(table, sizeof(table) / sizeof(table[0]))

START_TEST(test_link)
{
    static const struct example table[] = {
        EXAMPLE("Ethernet II, IPv4", ETH("0800") IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("Ethernet II, IPv6", ETH("86dd") IPV6("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("type and version differ", ETH("0800") IPV6("11") UDP, "keyless"),
        EXAMPLE("ARP", ETH("0806") IPV4("11") UDP, "keyless"),
        EXAMPLE("multicast frame", "01005e000001 525400000002 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9 multicast"),
        EXAMPLE("broadcast ARP", "ffffffffffff 525400000002 0806 0001", "keyless multicast"),
        EXAMPLE("LLC and SNAP", ETH("0030") "aaaa03 000000 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("SNAP, IPv6", ETH("05ff") "aaaa03 000000 86dd" IPV6("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("SNAP of another organisation", ETH("0030") "aaaa03 00000c 0800" IPV4("11") UDP, "keyless"),
        EXAMPLE("no unnumbered information", ETH("0030") "aaaa00 000000 0800" IPV4("11") UDP, "keyless"),
        EXAMPLE("LLC access point of IP", ETH("0030") "060603" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("LLC access point of spanning tree", ETH("0030") "424203" IPV4("11") UDP, "keyless"),
        EXAMPLE("the smallest type is no length", ETH("0600") "aaaa03 000000 0800" IPV4("11") UDP, "keyless"),
        EXAMPLE("neither a type nor a length", ETH("0600") IPV4("11") UDP, "keyless"),
        EXAMPLE("MPLS", ETH("8847") "00010140" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("MPLS, three labels, IPv6", ETH("8848") "00010040 00020040 00030140" IPV6("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("MPLS without an end", ETH("8847") "00010040 00010040 00010040 00010040", "keyless"),
        EXAMPLE("MPLS pseudo-wire", ETH("8847") "00010140 00000000" ETH("0800") IPV4("11") UDP, "keyless"),
        EXAMPLE("PPPoE, IPv4", ETH("8864") "1100 0001 001e 0021" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("PPPoE, IPv6", ETH("8864") "1100 0001 001e 0057" IPV6("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("PPPoE, PPP's own", ETH("8864") "1100 0001 001e c021" IPV4("11") UDP, "keyless"),
        EXAMPLE("PPPoE of another version", ETH("8864") "2100 0001 001e 0021" IPV4("11") UDP, "keyless"),
        EXAMPLE("PPPoE discovery code", ETH("8864") "1109 0001 001e 0021" IPV4("11") UDP, "keyless"),
        EXAMPLE("IPv4 at the start", IPV4("11") UDP, "flow 4/17 1:7>2:9", .flags = FLOWQ_PKT_L3),
        EXAMPLE("IPv6 at the start", IPV6("11") UDP, "flow 6/17 1:7>2:9", .flags = FLOWQ_PKT_L3),
        EXAMPLE("another version at the start", "5" "500 0000 0000 0000 40 11 0000 0a000001 0a000002" UDP, "keyless",
                .flags = FLOWQ_PKT_L3),
        EXAMPLE("unknown flags", ETH("0800") IPV4("11") UDP, "keyless", .flags = 2),
        EXAMPLE("unknown flags with a known one", IPV4("11") UDP, "keyless", .flags = 0x80000001),
        EXAMPLE("nothing", "", "keyless"),
    };
    RUN(table);
}
END_TEST

START_TEST(test_vlan)
{
#define TAGS_4 "8100 0001 88a8 0002 9100 0003 8100 0004 "
    static const struct example table[] = {
        EXAMPLE("one tag", ETH("8100") "2005 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("four tags", "525400000001 525400000002" TAGS_4 "0800" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("five tags", "525400000001 525400000002" TAGS_4 "8100 0005 0800" IPV4("11") UDP, "keyless"),
        EXAMPLE("tag and SNAP", ETH("8100") "0005 0030 aaaa03 000000 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("no tag, ids in the key", ETH("0800") IPV4("11") UDP, "flow 4/17 1:7>2:9", .key_vlan = true),
        EXAMPLE("priority and DEI are no part of the id", ETH("8100") "f005 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9 vlan 5",
                .key_vlan = true),
        EXAMPLE("a tag with id 0 is one", ETH("8100") "0000 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9 vlan 0", .key_vlan = true),
        EXAMPLE("four ids", "525400000001 525400000002" TAGS_4 "86dd" IPV6("11") UDP, "flow 6/17 1:7>2:9 vlan 1 2 3 4",
                .key_vlan = true),
        EXAMPLE("ids of the inner frame", ETH("8100") "0005 0800" IPV4("11") VXLAN INNER_ETH("8100") "0006 0800" INNER4("11") UDP,
                "flow 4/17 3:7>4:9 vlan 6", .key_vlan = true),
        EXAMPLE("an inner packet without a frame has none", ETH("8100") "0005 0800" IPV4("04") INNER4("11") UDP,
                "flow 4/17 3:7>4:9",
                .key_vlan = true),
        EXAMPLE("a tunnel that shows nothing has the outer ones", ETH("8100") "0005 0800" IPV4("04") "45",
                "flow 4/4 1:0>2:0 vlan 5",
                .key_vlan = true),
        EXAMPLE("a quote has those of its frame", ETH("8100") "0005 0800" IPV4("01") ICMP("03") BACK4("11") UDP,
                "quote 4/17 2:7>1:9 vlan 5 icmp-error", .key_vlan = true),
    };
    RUN(table);
}
END_TEST

START_TEST(test_ip)
{
    static const struct example table[] = {
        EXAMPLE("TCP", ETH("0800") IPV4("06") TCP("10"), "flow 4/6 1:7>2:9"),
        EXAMPLE("SYN", ETH("0800") IPV4("06") TCP("02"), "flow 4/6 1:7>2:9 syn"),
        EXAMPLE("FIN", ETH("86dd") IPV6("06") TCP("11"), "flow 6/6 1:7>2:9 fin"),
        EXAMPLE("RST", ETH("86dd") IPV6("06") TCP("14"), "flow 6/6 1:7>2:9 rst"),
        EXAMPLE("all flags", ETH("0800") IPV4("06") TCP("ff"), "flow 4/6 1:7>2:9 syn fin rst"),
        EXAMPLE("TCP cut before its flags", ETH("0800") IPV4("06") PORTS "00000000 00000000 50", "flow 4/6 1:7>2:9"),
        EXAMPLE("ports cut", ETH("0800") IPV4("06") "0007 00", "keyless"),
        EXAMPLE("UDP-Lite", ETH("0800") IPV4("88") PORTS, "flow 4/136 1:7>2:9"),
        EXAMPLE("SCTP", ETH("86dd") IPV6("84") PORTS, "flow 6/132 1:7>2:9"),
        EXAMPLE("DCCP", ETH("0800") IPV4("21") PORTS, "flow 4/33 1:7>2:9"),
        EXAMPLE("ESP", ETH("0800") IPV4("32") PORTS, "flow 4/50 1:0>2:0"),
        EXAMPLE("AH in IPv4 is looked at no further", ETH("0800") IPV4("33")
                "1104 0000 00000001 00000001 000000000000000000000000" UDP,
                "flow 4/51 1:0>2:0"),
        EXAMPLE("OSPF without a byte", ETH("0800") IPV4("59"), "flow 4/89 1:0>2:0"),
        EXAMPLE("ping", ETH("0800") IPV4("01") ICMP("08"), "flow 4/1 1:0>2:0"),
        EXAMPLE("ICMPv6 in IPv4 is any protocol", ETH("0800") IPV4("3a") ICMP("01") BACK4("11") UDP, "flow 4/58 1:0>2:0"),
        EXAMPLE("ICMP in IPv6 is any protocol", ETH("86dd") IPV6("01") ICMP("03") BACK6("11") UDP, "flow 6/1 1:0>2:0"),
        EXAMPLE("hop-by-hop in IPv4 is any protocol", ETH("0800") IPV4("00") EXT("11") UDP, "flow 4/0 1:0>2:0"),
        EXAMPLE("options", ETH("0800") "4800 0000 0000 0000 40 11 0000 0a000001 0a000002 9404000094040000 01010101" UDP,
                "flow 4/17 1:7>2:9"),
        EXAMPLE("options cut", ETH("0800") "4800 0000 0000 0000 40 59 0000 0a000001 0a000002 94040000", "keyless"),
        EXAMPLE("header length too small", ETH("0800") "4400 0000 0000 0000 40 11 0000 0a000001 0a000002" UDP, "keyless"),
        EXAMPLE("total length larger than the packet", ETH("0800") "4500 ffff 0000 0000 40 11 0000 0a000001 0a000002" UDP,
                "flow 4/17 1:7>2:9"),
        EXAMPLE("total length smaller than the header", ETH("0800") "4500 0001 0000 0000 40 11 0000 0a000001 0a000002" UDP,
                "flow 4/17 1:7>2:9"),
        EXAMPLE("IPv4 multicast", ETH("0800") "4500 0000 0000 0000 40 11 0000 0a000001 e0000002" UDP,
                "flow 4/17 1:7>2:9 multicast"),
        EXAMPLE("IPv4 broadcast", ETH("0800") "4500 0000 0000 0000 40 11 0000 0a000001 ffffffff" UDP,
                "flow 4/17 1:7>255:9 multicast"),
        EXAMPLE("class E", ETH("0800") "4500 0000 0000 0000 40 11 0000 0a000001 f0000002" UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("IPv6 multicast", ETH("86dd") "60000000 0000 11 40" V6("01") "ff020000 00000000 00000000 00000002" UDP,
                "flow 6/17 1:7>2:9 multicast"),
    };
    RUN(table);
}
END_TEST

START_TEST(test_extension_headers)
{
    static const struct example table[] = {
        EXAMPLE("hop-by-hop", ETH("86dd") IPV6("00") EXT("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("routing", ETH("86dd") IPV6("2b") EXT("06") TCP("02"), "flow 6/6 1:7>2:9 syn"),
        EXAMPLE("destination options of 16 bytes", ETH("86dd") IPV6("3c") "11 01 000000000000 0000000000000000" UDP,
                "flow 6/17 1:7>2:9"),
        EXAMPLE("AH counts in words", ETH("86dd") IPV6("33") "11 04 0000 00000001 00000001 000000000000000000000000" UDP,
                "flow 6/17 1:7>2:9"),
        EXAMPLE("OSPF behind AH", ETH("86dd") IPV6("33") "59 01 0000 00000001 00000001", "flow 6/89 1:0>2:0"),
        EXAMPLE("mobility with a payload", ETH("86dd") IPV6("87") EXT("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("mobility message", ETH("86dd") IPV6("87") EXT("3b"), "flow 6/135 1:0>2:0"),
        EXAMPLE("all, in an order that nobody uses", ETH("86dd") IPV6("3c") EXT("87") EXT("2b") EXT("33") "2c 00 0000 00000000"
                FRAG6("00", "0000", "00000005") EXT("3c") EXT("84") PORTS, "flow 6/132 1:7>2:9"),
        EXAMPLE("no next header", ETH("86dd") IPV6("3b"), "flow 6/59 1:0>2:0"),
        EXAMPLE("no next header behind another", ETH("86dd") IPV6("3c") EXT("3b"), "flow 6/59 1:0>2:0"),
        EXAMPLE("shim6 is not passed over", ETH("86dd") IPV6("8c") EXT("11") UDP, "flow 6/140 1:0>2:0"),
        EXAMPLE("a header cut", ETH("86dd") IPV6("00") "11 01 000000000000 00000000", "keyless"),
        EXAMPLE("a header longer than what is looked at", ETH("86dd") IPV6("00") "11 ff 000000000000 00000000", "keyless"),
    };
    RUN(table);
}
END_TEST

START_TEST(test_fragments)
{
    static const struct example table[] = {
        EXAMPLE("first", ETH("0800") FRAG4("0123", "2000", "11") UDP, "flow 4/17 1:7>2:9 first 4/17#291"),
        EXAMPLE("later", ETH("0800") FRAG4("0123", "2001", "11") UDP, "later 4/17 1:0>2:0 of 4/17#291"),
        EXAMPLE("last", ETH("0800") FRAG4("0123", "1fff", "06"), "later 4/6 1:0>2:0 of 4/6#291"),
        EXAMPLE("whole, not to be fragmented, reserved bit", ETH("0800") FRAG4("0123", "c000", "11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("first, too short for ports", ETH("0800") FRAG4("0123", "2000", "11") "0007", "keyless first 4/17#291"),
        EXAMPLE("first, TCP flags", ETH("0800") FRAG4("0123", "2000", "06") TCP("02"), "flow 4/6 1:7>2:9 syn first 4/6#291"),
        EXAMPLE("later, IPv6", ETH("86dd") IPV6("2c") FRAG6("11", "0008", "01020304") UDP, "later 6/17 1:0>2:0 of 6/0#16909060"),
        EXAMPLE("first, IPv6", ETH("86dd") IPV6("2c") FRAG6("11", "0001", "01020304") UDP,
                "flow 6/17 1:7>2:9 first 6/0#16909060"),
        EXAMPLE("reserved bits are no offset", ETH("86dd") IPV6("2c") FRAG6("11", "0006", "01020304") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("atomic", ETH("86dd") IPV6("2c") FRAG6("11", "0000", "01020304") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("later, names an extension header", ETH("86dd") IPV6("00") EXT("2c") FRAG6("3c", "0008", "00000001") UDP,
                "later 6/60 1:0>2:0 of 6/0#1"),
        EXAMPLE("first, extension headers behind", ETH("86dd") IPV6("00") EXT("2c") FRAG6("3c", "0001", "00000001") EXT("11") UDP,
                "flow 6/17 1:7>2:9 first 6/0#1"),
        EXAMPLE("two fragment headers", ETH("86dd") IPV6("2c") FRAG6("2c", "0001", "00000001") FRAG6("11", "0001",
                "00000002") UDP,
                "keyless first 6/0#1"),
        EXAMPLE("first of a tunnel's packet", ETH("0800") FRAG4("0123", "2000", "11") VXLAN INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9 first 4/17#291"),
        EXAMPLE("first of a tunnel's packet that shows nothing", ETH("0800") FRAG4("0123", "2000", "11") VXLAN,
                "keyless first 4/17#291"),
        EXAMPLE("later of a tunnel's packet", ETH("0800") FRAG4("0123", "2001", "2f") INNER4("11") UDP,
                "later 4/47 1:0>2:0 of 4/47#291"),
        EXAMPLE("first, outside and inside", ETH("0800") FRAG4("0123", "2000", "04") FRAG4("0005", "2000", "06") TCP("10"),
                "flow 4/6 1:7>2:9 first 4/4#291 first 4/6#5"),
        EXAMPLE("later, inside", ETH("0800") IPV4("29") INNER6("2c") FRAG6("11", "0008", "00000001"),
                "later 6/17 3:0>4:0 of 6/0#1"),
        EXAMPLE("inner first without ports", ETH("0800") IPV4("04") FRAG4("0005", "2000", "06"), "flow 4/4 1:0>2:0 first 4/6#5"),
    };
    RUN(table);
}
END_TEST

START_TEST(test_ip_tunnels)
{
#define GRE(flags, type) flags " " type " "
    static const struct example table[] = {
        EXAMPLE("IPIP", ETH("0800") IPV4("04") INNER4("11") UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_IPIP),
        EXAMPLE("IPIP off", ETH("0800") IPV4("04") INNER4("11") UDP, "flow 4/4 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_IPIP),
        EXAMPLE("6in4", ETH("0800") IPV4("29") INNER6("11") UDP, "flow 6/17 3:7>4:9", .only = FLOWQ_TUNNEL_6IN4),
        EXAMPLE("6in4 off", ETH("0800") IPV4("29") INNER6("11") UDP, "flow 4/41 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_6IN4),
        EXAMPLE("4in6", ETH("86dd") IPV6("04") INNER4("11") UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_4IN6),
        EXAMPLE("4in6 off", ETH("86dd") IPV6("04") INNER4("11") UDP, "flow 6/4 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_4IN6),
        EXAMPLE("6in6", ETH("86dd") IPV6("29") INNER6("11") UDP, "flow 6/17 3:7>4:9", .only = FLOWQ_TUNNEL_6IN6),
        EXAMPLE("6in6 off", ETH("86dd") IPV6("29") INNER6("11") UDP, "flow 6/41 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_6IN6),
        EXAMPLE("IPIP, inner ports cut", ETH("0800") IPV4("04") INNER4("11") "0007", "flow 4/4 1:0>2:0"),
        EXAMPLE("IPIP, not IPv4", ETH("0800") IPV4("04") INNER6("11") UDP, "flow 4/4 1:0>2:0"),
        EXAMPLE("one level alone", ETH("0800") IPV4("04") INNER4("04") INNER4("11") UDP, "flow 4/4 3:0>4:0"),
        EXAMPLE("one level alone, UDP", ETH("0800") IPV4("04") INNER4("11") VXLAN INNER_ETH("0800") IPV4("11") UDP,
                "flow 4/17 3:49153>4:4789"),
        EXAMPLE("inner multicast", ETH("0800") IPV4("04") "4500 0000 0000 0000 40 11 0000 0a000003 e0000004" UDP,
                "flow 4/17 3:7>4:9 multicast"),
        EXAMPLE("inner multicast unread", ETH("0800") IPV4("04") "4500 0000 0000 0000 40 11 0000 0a000003 e0000004 0007",
                "flow 4/4 1:0>2:0"),
        EXAMPLE("TCP flags of the inner packet", ETH("0800") IPV4("04") INNER4("06") TCP("02"), "flow 4/6 3:7>4:9 syn"),
        EXAMPLE("GRE", ETH("0800") IPV4("2f") GRE("0000", "0800") INNER4("11") UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_2784),
        EXAMPLE("GRE with a checksum", ETH("0800") IPV4("2f") GRE("8000", "0800") "00000000" INNER4("11") UDP,
                "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_2784),
        EXAMPLE("GRE with a key", ETH("0800") IPV4("2f") GRE("2000", "0800") "00000001" INNER4("11") UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_2890),
        EXAMPLE("GRE with all", ETH("0800") IPV4("2f") GRE("b000", "0800") "00000000 00000001 00000002" INNER4("11") UDP,
                "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_2890),
        EXAMPLE("GRE with a sequence number is not RFC 2784's", ETH("0800") IPV4("2f") GRE("1000",
                "0800") "00000001" INNER4("11") UDP,
                "flow 4/47 1:0>2:0", .only = FLOWQ_TUNNEL_GRE_2784),
        EXAMPLE("GRE over IPv6", ETH("86dd") IPV6("2f") GRE("0000", "0800") INNER4("11") UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_7676),
        EXAMPLE("IPv6 in GRE", ETH("0800") IPV4("2f") GRE("2000", "86dd") "00000001" INNER6("11") UDP, "flow 6/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_7676),
        EXAMPLE("IPv6 in GRE off", ETH("0800") IPV4("2f") GRE("0000", "86dd") INNER6("11") UDP, "flow 4/47 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_GRE_7676),
        EXAMPLE("NVGRE", ETH("0800") IPV4("2f") GRE("2000", "6558") "00004d00" INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_NVGRE),
        EXAMPLE("NVGRE over IPv6", ETH("86dd") IPV6("2f") GRE("2000", "6558") "00004d00" INNER_ETH("86dd") INNER6("11") UDP,
                "flow 6/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_NVGRE),
        EXAMPLE("NVGRE off", ETH("0800") IPV4("2f") GRE("2000", "6558") "00004d00" INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/47 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_NVGRE),
        EXAMPLE("Ethernet without a key", ETH("0800") IPV4("2f") GRE("0000", "6558") INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_2784),
        EXAMPLE("ARP in NVGRE", ETH("0800") IPV4("2f") GRE("2000", "6558") "00004d00 ffffffffffff 525400000004 0806 0001",
                "flow 4/47 1:0>2:0"),
        EXAMPLE("PPTP", ETH("0800") IPV4("2f") GRE("3001", "880b") "00000000 00000000 ff03 0021" INNER4("11") UDP,
                "flow 4/47 1:0>2:0"),
        EXAMPLE("version 1 with a known type", ETH("0800") IPV4("2f") GRE("0001", "0800") INNER4("11") UDP, "flow 4/47 1:0>2:0"),
        EXAMPLE("source route", ETH("0800") IPV4("2f") GRE("4000", "0800") "00000000" INNER4("11") UDP, "flow 4/47 1:0>2:0"),
        EXAMPLE("ERSPAN", ETH("0800") IPV4("2f") GRE("1000", "88be") "00000001" INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/47 1:0>2:0"),
        EXAMPLE("GRE cut", ETH("0800") IPV4("2f") "0000", "flow 4/47 1:0>2:0"),
        EXAMPLE("GRE options cut", ETH("0800") IPV4("2f") GRE("2000", "0800") "0000", "flow 4/47 1:0>2:0"),
        EXAMPLE("none at all", ETH("0800") IPV4("2f") GRE("0000", "0800") INNER4("11") UDP, "flow 4/47 1:0>2:0",
                .only = FLOWQ_TUNNEL_NONE),
    };
    RUN(table);
}
END_TEST

START_TEST(test_udp_tunnels)
{
#define OUTER ETH("0800") IPV4("11")
#define INNER4_UDP INNER4("11") UDP
#define INNER_FRAME INNER_ETH("0800") INNER4_UDP
#define G_PDU(flags) UDP_TO("0868") flags " ff 0000 00000001 "
    static const struct example table[] = {
        EXAMPLE("VXLAN", OUTER VXLAN INNER_FRAME, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("VXLAN off", OUTER VXLAN INNER_FRAME, "flow 4/17 1:49153>2:4789", .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("VXLAN on Linux's port", OUTER UDP_TO("2118") "08000000 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("VXLAN over IPv6", ETH("86dd") IPV6("11") VXLAN INNER_ETH("86dd") INNER6("06") TCP("02"), "flow 6/6 3:7>4:9 syn"),
        EXAMPLE("VXLAN without the I flag", OUTER UDP_TO("12b5") "00000000 00004d00" INNER_FRAME, "keyless"),
        EXAMPLE("VXLAN, other flags", OUTER UDP_TO("12b5") "ff000000 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9"),
        EXAMPLE("VXLAN cut", OUTER UDP_TO("12b5") "08000000", "keyless"),
        EXAMPLE("VXLAN, inner ports cut", OUTER VXLAN INNER_ETH("0800") INNER4("11") "0007 00", "keyless"),
        EXAMPLE("VXLAN, inner broadcast", OUTER VXLAN "ffffffffffff 525400000004 0806 0001", "keyless multicast"),
        EXAMPLE("the source port is no sign", OUTER "12b5 c001 0000 0000 08000000 00004d00" INNER_FRAME,
                "flow 4/17 1:4789>2:49153"),
        EXAMPLE("UDP-Lite to the port", ETH("0800") IPV4("88") VXLAN INNER_FRAME, "flow 4/136 1:49153>2:4789"),
        EXAMPLE("GPE, IPv4", OUTER UDP_TO("12b6") "0c000001 00004d00" INNER4_UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_VXLAN_GPE),
        EXAMPLE("GPE, IPv6", OUTER UDP_TO("12b6") "0c000002 00004d00" INNER6("11") UDP, "flow 6/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_VXLAN_GPE),
        EXAMPLE("GPE, Ethernet", OUTER UDP_TO("12b6") "0c000003 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_VXLAN_GPE),
        EXAMPLE("GPE, NSH", OUTER UDP_TO("12b6") "0c000004 00004d00" INNER_FRAME, "keyless"),
        EXAMPLE("GPE without a next protocol", OUTER UDP_TO("12b6") "08000001 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9"),
        EXAMPLE("GPE of another version", OUTER UDP_TO("12b6") "1c000003 00004d00" INNER_FRAME, "keyless"),
        EXAMPLE("GPE off", OUTER UDP_TO("12b6") "0c000003 00004d00" INNER_FRAME, "flow 4/17 1:49153>2:4790",
                .only = FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("GENEVE", OUTER UDP_TO("17c1") "0000 6558 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GENEVE),
        EXAMPLE("GENEVE with options", OUTER UDP_TO("17c1") "0200 0800 00004d00 00000000 00000000" INNER4_UDP,
                "flow 4/17 3:7>4:9"),
        EXAMPLE("GENEVE, IPv6", OUTER UDP_TO("17c1") "0000 86dd 00004d00" INNER6("11") UDP, "flow 6/17 3:7>4:9"),
        EXAMPLE("GENEVE, unknown payload", OUTER UDP_TO("17c1") "0000 8847 00004d00 00010140" INNER4_UDP, "keyless"),
        EXAMPLE("GENEVE of another version", OUTER UDP_TO("17c1") "4000 6558 00004d00" INNER_FRAME, "keyless"),
        EXAMPLE("GENEVE off", OUTER UDP_TO("17c1") "0000 6558 00004d00" INNER_FRAME, "flow 4/17 1:49153>2:6081",
                .only = FLOWQ_TUNNEL_GTPU),
        EXAMPLE("GTP-U", OUTER G_PDU("30") INNER4_UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GTPU),
        EXAMPLE("GTP-U, IPv6", OUTER G_PDU("30") INNER6("11") UDP, "flow 6/17 3:7>4:9", .only = FLOWQ_TUNNEL_GTPU),
        EXAMPLE("GTP-U with a sequence number", OUTER G_PDU("32") "0001 00 85" INNER4_UDP, "flow 4/17 3:7>4:9"),
        EXAMPLE("GTP-U with extension headers", OUTER G_PDU("34") "0000 00 85 01 0010 c0 02 000000000000 00" INNER4_UDP,
                "flow 4/17 3:7>4:9"),
        EXAMPLE("GTP-U, extension of length 0", OUTER G_PDU("34") "0000 00 85 00 0010 00" INNER4_UDP, "keyless"),
        EXAMPLE("GTP-U echo request", OUTER UDP_TO("0868") "32 01 0004 00000000 0001 00 00", "keyless"),
        EXAMPLE("GTP'", OUTER G_PDU("20") INNER4_UDP, "keyless"),
        EXAMPLE("GTP version 2", OUTER G_PDU("50") INNER4_UDP, "keyless"),
        EXAMPLE("GTP-U, no IP", OUTER G_PDU("30") INNER_FRAME, "keyless"),
        EXAMPLE("GRE in UDP", OUTER UDP_TO("1292") "0000 0800" INNER4_UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GRE_UDP),
        EXAMPLE("GRE in UDP, key, Ethernet", OUTER UDP_TO("1292") "2000 6558 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_UDP),
        EXAMPLE("GRE in UDP, PPTP", OUTER UDP_TO("1292") "3001 880b 00000000 00000000" INNER4_UDP, "keyless"),
        EXAMPLE("GRE in UDP off", OUTER UDP_TO("1292") "0000 0800" INNER4_UDP, "flow 4/17 1:49153>2:4754",
                .only = FLOWQ_TUNNEL_GRE_2784),
    };
    RUN(table);
}
END_TEST

START_TEST(test_icmp_errors)
{
#define ERR4(type) ETH("0800") IPV4("01") ICMP(type)
#define ERR6(type) ETH("86dd") IPV6("3a") ICMP(type)
    static const struct example table[] = {
        EXAMPLE("unreachable", ERR4("03") BACK4("06") PORTS "00000000", "quote 4/6 2:7>1:9 icmp-error"),
        EXAMPLE("source quench", ERR4("04") BACK4("11") UDP, "quote 4/17 2:7>1:9 icmp-error"),
        EXAMPLE("redirect", ERR4("05") BACK4("11") UDP, "quote 4/17 2:7>1:9 icmp-error"),
        EXAMPLE("time exceeded", ERR4("0b") BACK4("84") UDP, "quote 4/132 2:7>1:9 icmp-error"),
        EXAMPLE("parameter problem", ERR4("0c") BACK4("32") UDP, "quote 4/50 2:0>1:0 icmp-error"),
        EXAMPLE("timestamp", ERR4("0d") BACK4("11") UDP, "flow 4/1 1:0>2:0"),
        EXAMPLE("unreachable, v6", ERR6("01") BACK6("06") TCP("02"), "quote 6/6 2:7>1:9 icmp-error"),
        EXAMPLE("too big", ERR6("02") BACK6("11") UDP, "quote 6/17 2:7>1:9 icmp-error"),
        EXAMPLE("time exceeded, v6", ERR6("03") BACK6("3c") EXT("11") UDP, "quote 6/17 2:7>1:9 icmp-error"),
        EXAMPLE("parameter problem, v6", ERR6("04") BACK6("3a") ICMP("80"), "quote 6/58 2:0>1:0 icmp-error"),
        EXAMPLE("type 5 is none in v6", ERR6("05") BACK6("11") UDP, "flow 6/58 1:0>2:0"),
        EXAMPLE("quote cut in its ports", ERR4("03") BACK4("06") "0007 00", "flow 4/1 1:0>2:0 icmp-error"),
        EXAMPLE("no quote", ERR4("03"), "flow 4/1 1:0>2:0 icmp-error"),
        EXAMPLE("ICMP header cut", ETH("0800") IPV4("01") "0300", "flow 4/1 1:0>2:0 icmp-error"),
        EXAMPLE("ICMP without a byte", ETH("0800") IPV4("01"), "flow 4/1 1:0>2:0"),
        EXAMPLE("quote of IPv6 in ICMP", ERR4("03") BACK6("11") UDP, "quote 6/17 2:7>1:9 icmp-error"),
        EXAMPLE("quote of a first fragment", ERR4("03") FRAG4("0123", "2000", "11") UDP, "quote 4/17 1:7>2:9 icmp-error"),
        EXAMPLE("quote of a later fragment", ERR4("03") FRAG4("0123", "0001", "11") UDP, "quote-later 4/17 1:0>2:0 icmp-error"),
        EXAMPLE("quote of a later fragment, v6", ERR6("03") BACK6("2c") FRAG6("11", "0008", "00000001"),
                "quote-later 6/17 2:0>1:0 icmp-error"),
        EXAMPLE("quote of an error", ERR4("03") BACK4("01") ICMP("03") IPV4("11") UDP, "quote 4/1 2:0>1:0 icmp-error"),
        EXAMPLE("quote to multicast", ERR4("03") "4500 0000 0000 0000 40 11 0000 0a000001 e0000002" UDP,
                "quote 4/17 1:7>2:9 icmp-error"),
        EXAMPLE("error to multicast", "01005e000001 525400000002 0800" IPV4("01") ICMP("03") BACK4("11") UDP,
                "quote 4/17 2:7>1:9 multicast icmp-error"),
        EXAMPLE("quote of a tunnel", ERR4("03") BACK4("11") VXLAN INNER_FRAME, "quote 4/17 3:7>4:9 icmp-error"),
        EXAMPLE("quote of a tunnel, 8 bytes", ERR4("03") BACK4("11") UDP_TO("12b5"), "flow 4/1 1:0>2:0 icmp-error"),
        EXAMPLE("quote of IPIP, 8 bytes", ERR4("03") BACK4("04") "45000000 00000000", "flow 4/1 1:0>2:0 icmp-error"),
        EXAMPLE("quote of IPIP that is not looked into", ERR4("03") BACK4("04") "45000000 00000000",
                "quote 4/4 2:0>1:0 icmp-error",
                .only = FLOWQ_TUNNEL_NONE),
        EXAMPLE("quote of PPTP", ERR4("03") BACK4("2f") "3001880b 00000000", "quote 4/47 2:0>1:0 icmp-error"),
        EXAMPLE("quote of GRE cut", ERR4("03") BACK4("2f") "0000", "flow 4/1 1:0>2:0 icmp-error"),
        EXAMPLE("inner error", ETH("0800") IPV4("04") INNER4("01") ICMP("03") BACK4("11") UDP, "quote 4/17 2:7>1:9 icmp-error"),
        EXAMPLE("inner error, quote unreadable", ETH("0800") IPV4("04") INNER4("01") ICMP("03") "45",
                "flow 4/1 3:0>4:0 icmp-error"),
        EXAMPLE("inner error in a UDP tunnel, quote unreadable", OUTER VXLAN INNER_ETH("0800") INNER4("01") ICMP("03"),
                "flow 4/1 3:0>4:0 icmp-error"),
        EXAMPLE("inner error quotes a second tunnel", ETH("0800") IPV4("04") INNER4("01") ICMP("03") BACK4("04") INNER4("11") UDP,
                "quote 4/4 2:0>1:0 icmp-error"),
        EXAMPLE("fragmented error", ETH("0800") FRAG4("0123", "2000", "01") ICMP("03") BACK4("11") UDP,
                "quote 4/17 2:7>1:9 icmp-error first 4/1#291"),
        EXAMPLE("later fragment of an error", ETH("0800") FRAG4("0123", "0001", "01") ICMP("03") BACK4("11") UDP,
                "later 4/1 1:0>2:0 of 4/1#291"),
    };
    RUN(table);
}
END_TEST

/* Port 0 means that a tunnel has none, and is nobody's port, even where the filter lets it pass because of port 64. */
START_TEST(test_port_zero)
{
    uint8_t bytes[200];
    struct parse_rules rules = parse_rules_default();
    rules.port[PARSE_PORT_VXLAN] = 0;
    rules.port[PARSE_PORT_VXLAN_LINUX] = 64;
    rules.udp_filter = parse_rules_filter(&rules);
    uint32_t len = from_hex(OUTER UDP_TO("0000") "08000000 00004d00" INNER_FRAME, bytes);
    expect("port 0", bytes, len, 0, &rules, "flow 4/17 1:49153>2:0");
    len = from_hex(OUTER UDP_TO("0040") "08000000 00004d00" INNER_FRAME, bytes);
    expect("port 64", bytes, len, 0, &rules, "flow 4/17 3:7>4:9");
}
END_TEST

/* Eight extension headers of 24 bytes, and the last one longer and longer: what lies behind byte 256 is not seen, however much
   there is. */
START_TEST(test_window)
{
    uint8_t bytes[600];
    struct parse_rules rules = parse_rules_default();
    for (unsigned last = 0; last < 20; last++) {
        uint32_t len = from_hex(ETH("86dd") IPV6("3c"), bytes);
        for (unsigned i = 0; i < PARSE_MAX_PASSED; i++) {
            uint32_t units = i + 1 < PARSE_MAX_PASSED ? 2 : last;
            memset(bytes + len, 0, 8 * (units + 1));
            bytes[len] = i + 1 < PARSE_MAX_PASSED ? 0x3c : 0x11;
            bytes[len + 1] = (uint8_t)units;
            len += 8 * (units + 1);
        }
        uint32_t ports_end = len + 4;
        len += from_hex(UDP, bytes + len);
        expect("extension headers", bytes, len, 0, &rules, ports_end <= PARSE_MAX_BYTES ? "flow 6/17 1:7>2:9" : "keyless");
    }
}
END_TEST

/* Headers of all kinds count. */
START_TEST(test_number_of_extension_headers)
{
    static const char *const kinds[] = {"3c", "00", "2b", "33", "87"};
    struct parse_rules rules = parse_rules_default();
    for (unsigned n = 0; n <= 2 * PARSE_MAX_PASSED; n++) {
        for (unsigned k = 0; k < 5; k++) {
            uint8_t bytes[600];
            uint32_t len = from_hex(ETH("86dd"), bytes), at = len;
            len += from_hex(IPV6("11"), bytes + len);
            for (unsigned i = 0; i < n; i++) {
                (void)from_hex(kinds[(k + i) % 5], i ? bytes + len - 8 : bytes + at + 6);
                len += from_hex((k + i) % 5 == 3 ? "11 00 000000000000" : EXT("11"), bytes + len);
            }
            len += from_hex(UDP, bytes + len);
            expect("number", bytes, len, 0, &rules, n <= PARSE_MAX_PASSED ? "flow 6/17 1:7>2:9" : "keyless");
        }
    }
}
END_TEST

/* Tags, labels and extension headers, before and behind VXLAN. */
static uint32_t nest(uint8_t *bytes, const unsigned n[6])
{
    uint32_t len = 0;
    for (unsigned level = 0; level < 2; level++, n += 3) {
        len += from_hex("525400000001 525400000002", bytes + len);
        for (unsigned i = 0; i < n[0]; i++)
            len += from_hex("8100 0064", bytes + len);
        len += from_hex(n[1] ? "8847" : "86dd", bytes + len);
        for (unsigned i = 0; i < n[1]; i++)
            len += from_hex(i + 1 < n[1] ? "00010040" : "00010140", bytes + len);
        len += from_hex(n[2] ? IPV6("3c") : IPV6("11"), bytes + len);
        for (unsigned i = 0; i < n[2]; i++)
            len += from_hex(i + 1 < n[2] ? EXT("3c") : EXT("11"), bytes + len);
        len += from_hex(level == 0 ? UDP_TO("12b5") "08000000 00000000" : UDP, bytes + len);
    }
    return len;
}

START_TEST(test_number_of_headers)
{
    static const unsigned below[6] = {5, 3, 3, 5, 3, 3};
    struct parse_rules rules = parse_rules_default();
    for (unsigned round = 0; round < 5 * 3 * 3 * 5 * 3 * 3; round++) {
        unsigned n[6], sum = 0;
        uint8_t bytes[600];
        for (unsigned i = 0, left = round; i < 6; left /= below[i++])
            sum += n[i] = left % below[i];
        uint32_t len = nest(bytes, n);
        expect("number", bytes, len, 0, &rules, sum <= PARSE_MAX_PASSED && len <= 256 ? "flow 6/17 1:7>2:9" : "keyless");
    }
    for (unsigned n = 1; n <= 2 * PARSE_MAX_PASSED; n++) {
        uint8_t bytes[600];
        uint32_t len = from_hex(OUTER G_PDU("34") "0000 00 85", bytes);
        for (unsigned i = 0; i < n; i++)
            len += from_hex(i + 1 < n ? "01 0010 85" : "01 0010 00", bytes + len);
        len += from_hex(INNER4_UDP, bytes + len);
        expect("G-PDU", bytes, len, 0, &rules, n <= PARSE_MAX_PASSED ? "flow 4/17 3:7>4:9" : "keyless");
    }
}
END_TEST

START_TEST(test_null)
{
    struct parse_rules rules = parse_rules_default();
    struct parse_result r;
    for (uint32_t flags = 0; flags < 4; flags++) {
        struct flowq_pkt pkt = {.data = NULL, .len = 0, .flags = flags};
        parse_packet(&pkt, &rules, &r);
        ck_assert(r.kind == PARSE_KEYLESS && r.flags == 0 && r.n_first == 0 && r.key.bytes == 0);
    }
}
END_TEST

/* A reversed key is that of the packet in the other direction; reversing twice changes nothing. */
START_TEST(test_reverse)
{
    static const char *const pair[][2] = {
        {ETH("8100") "0005 0800" IPV4("11") "0007 0009", ETH("8100") "0005 0800" BACK4("11") "0009 0007"},
        {ETH("8100") "0005 86dd" IPV6("06") "0007 0009", ETH("8100") "0005 86dd" BACK6("06") "0009 0007"},
    };
    struct parse_rules rules = parse_rules_default();
    for (int vlan = 0; vlan < 2; vlan++) {
        rules.key_vlan = vlan;
        for (size_t i = 0; i < 2; i++) {
            uint8_t bytes[2][100];
            struct parse_result there, back;
            parse_exactly(bytes[0], from_hex(pair[i][0], bytes[0]), 0, &rules, &there);
            parse_exactly(bytes[1], from_hex(pair[i][1], bytes[1]), 0, &rules, &back);
            ck_assert(there.kind == PARSE_FLOW && !parse_result_equal(&there, &back));
            key_reverse(&there.key);
            ck_assert(parse_result_equal(&there, &back));
            key_reverse(&there.key);
            key_reverse(&back.key);
            ck_assert(parse_result_equal(&there, &back));
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("parse");
    TCase *t = tcase_create("examples");
    tcase_add_test(t, test_link);
    tcase_add_test(t, test_vlan);
    tcase_add_test(t, test_ip);
    tcase_add_test(t, test_extension_headers);
    tcase_add_test(t, test_fragments);
    tcase_add_test(t, test_ip_tunnels);
    tcase_add_test(t, test_udp_tunnels);
    tcase_add_test(t, test_icmp_errors);
    tcase_add_test(t, test_port_zero);
    tcase_add_test(t, test_window);
    tcase_add_test(t, test_number_of_extension_headers);
    tcase_add_test(t, test_number_of_headers);
    tcase_add_test(t, test_null);
    tcase_add_test(t, test_reverse);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
