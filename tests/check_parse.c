/*
 * The parser on packets written out by hand: each row says what a header is for and what must come of it. Tunnels
 * and quotes are in check_parse_tunnels.c.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "packet_text.h"
#include "runner.h"

#include <check.h>
#include <string.h>

START_TEST(test_link)
{
    static const struct example table[] = {
        EXAMPLE("Ethernet II, IPv4", ETH("0800") IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("Ethernet II, IPv6", ETH("86dd") IPV6("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("type and version differ", ETH("0800") IPV6("11") UDP, "keyless"),
        EXAMPLE("ARP", ETH("0806") IPV4("11") UDP, "keyless"),
        EXAMPLE("a group's MAC", "01005e000001 525400000002 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("broadcast frame", "ffffffffffff 525400000002 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9 multicast"),
        EXAMPLE("nearly broadcast", "fffffffffffe 525400000002 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("broadcast ARP", "ffffffffffff 525400000002 0806 0001", "keyless multicast"),
        EXAMPLE("LLC and SNAP", ETH("0030") "aaaa03 000000 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("SNAP, IPv6", ETH("05ff") "aaaa03 000000 86dd" IPV6("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("SNAP of another organisation", ETH("0030") "aaaa03 00000c 0800" IPV4("11") UDP, "keyless"),
        EXAMPLE("no unnumbered information", ETH("0030") "aaaa00 000000 0800" IPV4("11") UDP, "keyless"),
        EXAMPLE("LLC access point of IP", ETH("0030") "060603" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("LLC access point of spanning tree", ETH("0030") "424203" IPV4("11") UDP, "keyless"),
        EXAMPLE("the smallest type is no length", ETH("0600") "aaaa03 000000 0800" IPV4("11") UDP, "keyless"),
        EXAMPLE("neither a type nor a length", ETH("0600") IPV4("11") UDP, "keyless"),
        EXAMPLE("PPPoE, IPv4", ETH("8864") "1100 0001 001e 0021" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("PPPoE, IPv6", ETH("8864") "1100 0001 001e 0057" IPV6("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("PPPoE, PPP's own", ETH("8864") "1100 0001 001e c021" IPV4("11") UDP, "keyless"),
        EXAMPLE("PPPoE, one byte of PPP, IPv4", ETH("8864") "1100 0001 001d 21" IPV4("11") UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("PPPoE, one byte of PPP, IPv6", ETH("8864") "1100 0001 001d 57" IPV6("11") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("PPPoE, one byte of PPP, compressed TCP", ETH("8864") "1100 0001 001d 2d" IPV4("11") UDP, "keyless"),
        EXAMPLE("PPPoE of another version", ETH("8864") "2100 0001 001e 0021" IPV4("11") UDP, "keyless"),
        EXAMPLE("PPPoE discovery code", ETH("8864") "1109 0001 001e 0021" IPV4("11") UDP, "keyless"),
        EXAMPLE("IPv4 at the start", IPV4("11") UDP, "flow 4/17 1:7>2:9", .flags = FLOWQ_PKT_L3),
        EXAMPLE("IPv6 at the start", IPV6("11") UDP, "flow 6/17 1:7>2:9", .flags = FLOWQ_PKT_L3),
        EXAMPLE("another version at the start",
                "5"
                "500 0000 0000 0000 40 11 0000 0a000001 0a000002" UDP,
                "keyless", .flags = FLOWQ_PKT_L3),
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
        EXAMPLE("id 0 is a priority alone", ETH("8100") "6000 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9", .key_vlan = true),
        EXAMPLE("of several tags those with an id count", ETH("8100") "0000 8100 0007 8100 e000 8100 0008 86dd" IPV6("11") UDP,
                "flow 6/17 1:7>2:9 vlan 7 8", .key_vlan = true),
        EXAMPLE("tags without an id are passed over like others",
                "525400000001 525400000002" TAGS_4 "8100 0000 0800" IPV4("11") UDP, "keyless", .key_vlan = true),
        EXAMPLE("old stacked tags", ETH("9200") "0001 9300 0002 9100 0003 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9 vlan 1 2 3",
                .key_vlan = true),
        EXAMPLE("a tag of one's own", ETH("9999") "0001 9999 0002 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9 vlan 1 2",
                .key_vlan = true, .vlan_tpid = 0x9999),
        EXAMPLE("which nobody set", ETH("9999") "0001 0800" IPV4("11") UDP, "keyless", .key_vlan = true),
        EXAMPLE("a known type is no tag", ETH("0800") IPV4("11") UDP, "flow 4/17 1:7>2:9", .vlan_tpid = 0x0800),
        EXAMPLE("a known type behind a tag is no tag", ETH("8100") "0001 86dd" IPV6("11") UDP, "flow 6/17 1:7>2:9 vlan 1",
                .key_vlan = true, .vlan_tpid = 0x86dd),
        EXAMPLE("PPPoE is no tag", ETH("8864") "1100 0001 001e 0021" IPV4("11") UDP, "flow 4/17 1:7>2:9", .vlan_tpid = 0x8864),
        EXAMPLE("a type that is not looked into may be one", ETH("0806") "0001 0800" IPV4("11") UDP, "flow 4/17 1:7>2:9 vlan 1",
                .key_vlan = true, .vlan_tpid = 0x0806),
        EXAMPLE("four ids", "525400000001 525400000002" TAGS_4 "86dd" IPV6("11") UDP, "flow 6/17 1:7>2:9 vlan 1 2 3 4",
                .key_vlan = true),
        EXAMPLE("ids of the inner frame", ETH("8100") "0005 0800" IPV4("11") VXLAN INNER_ETH("8100") "0006 0800" INNER4("11") UDP,
                "flow 4/17 3:7>4:9 vlan 6", .key_vlan = true),
        EXAMPLE("ids of no inner frame", ETH("8100") "0005 0800" IPV4("11") VXLAN INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9", .key_vlan = true),
        EXAMPLE("an inner packet without a frame has the outer ones", ETH("8100") "0005 0800" IPV4("04") INNER4("11") UDP,
                "flow 4/17 3:7>4:9 vlan 5", .key_vlan = true),
        EXAMPLE("6in4 has them", ETH("8100") "0005 0800" IPV4("29") INNER6("11") UDP, "flow 6/17 3:7>4:9 vlan 5",
                .key_vlan = true),
        EXAMPLE("GRE with IP has them", ETH("8100") "0005 0800" IPV4("2f") "0000 0800" INNER4("11") UDP,
                "flow 4/17 3:7>4:9 vlan 5", .key_vlan = true),
        EXAMPLE("GENEVE with IP has them",
                ETH("8100") "0005 0800" IPV4("11") UDP_TO("17c1") "0000 0800 00004d00" INNER4("11") UDP,
                "flow 4/17 3:7>4:9 vlan 5", .key_vlan = true),
        EXAMPLE("GTP-U has them", ETH("8100") "0005 0800" IPV4("11") UDP_TO("0868") "30ff0000 00000001" HELD4_INNER UDP,
                "flow 4/17 3:7>4:9 vlan 5", .key_vlan = true),
        EXAMPLE("a tunnel that shows nothing has the outer ones", ETH("8100") "0005 0800" IPV4("04") "45",
                "flow 4/4 1:0>2:0 vlan 5", .key_vlan = true),
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
        EXAMPLE("AH in IPv4 is looked at no further",
                ETH("0800") IPV4("33") "1104 0000 00000001 00000001 000000000000000000000000" UDP, "flow 4/51 1:0>2:0"),
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
        EXAMPLE("all, in an order that nobody uses",
                ETH("86dd") IPV6("3c") EXT("87") EXT("2b") EXT("33") "2c 00 0000 00000000" FRAG6("00", "0000", "00000005")
                    EXT("3c") EXT("84") PORTS,
                "flow 6/132 1:7>2:9"),
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
        EXAMPLE("two fragment headers",
                ETH("86dd") IPV6("2c") FRAG6("2c", "0001", "00000001") FRAG6("11", "0001", "00000002") UDP,
                "keyless first 6/0#1"),
        EXAMPLE("first of a tunnel's packet", ETH("0800") FRAG4("0123", "2000", "11") VXLAN INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9 first 4/17#291"),
        EXAMPLE("first of a tunnel's packet that shows nothing", ETH("0800") FRAG4("0123", "2000", "11") VXLAN,
                "flow 4/17 1:49153>2:4789 unread first 4/17#291"),
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

/* Eight extension headers of 24 bytes, and the last one longer and longer: what lies behind byte 256 is not seen, however much
   there is. */
START_TEST(test_window)
{
    uint8_t bytes[600];
    struct parse_rules rules = parse_rules_default();
    for (unsigned last = 0; last < 20; last++) {
        uint32_t len = packet_from_hex(ETH("86dd") IPV6("3c"), bytes);
        for (unsigned i = 0; i < PARSE_MAX_PASSED; i++) {
            uint32_t units = i + 1 < PARSE_MAX_PASSED ? 2 : last;
            memset(bytes + len, 0, 8 * (units + 1));
            bytes[len] = i + 1 < PARSE_MAX_PASSED ? 0x3c : 0x11;
            bytes[len + 1] = (uint8_t)units;
            len += 8 * (units + 1);
        }
        uint32_t ports_end = len + 4;
        len += packet_from_hex(UDP, bytes + len);
        packet_expect("extension headers", bytes, len, 0, &rules, ports_end <= PARSE_MAX_BYTES ? "flow 6/17 1:7>2:9" : "keyless");
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
            uint32_t len = packet_from_hex(ETH("86dd"), bytes), at = len;
            len += packet_from_hex(IPV6("11"), bytes + len);
            for (unsigned i = 0; i < n; i++) {
                (void)packet_from_hex(kinds[(k + i) % 5], i ? bytes + len - 8 : bytes + at + 6);
                len += packet_from_hex((k + i) % 5 == 3 ? "11 00 000000000000" : EXT("11"), bytes + len);
            }
            len += packet_from_hex(UDP, bytes + len);
            packet_expect("number", bytes, len, 0, &rules, n <= PARSE_MAX_PASSED ? "flow 6/17 1:7>2:9" : "keyless");
        }
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
            packet_parse(bytes[0], packet_from_hex(pair[i][0], bytes[0]), 0, &rules, &there);
            packet_parse(bytes[1], packet_from_hex(pair[i][1], bytes[1]), 0, &rules, &back);
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
    tcase_add_test(t, test_window);
    tcase_add_test(t, test_number_of_extension_headers);
    tcase_add_test(t, test_null);
    tcase_add_test(t, test_reverse);
    suite_add_tcase(s, t);
    return suite_run(s);
}
