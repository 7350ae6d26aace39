/*
 * The parser on packets written out by hand, where nothing but what is there tells what it is: under MPLS labels, in GTP-U; and
 * IPv6 routing headers, redirects and quoted fragments.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "packet_text.h"
#include "runner.h"

#include <check.h>

#define MPLS         ETH("8847") "00010140 "
#define HELD6(bytes) "60000000 " bytes " 11 40" V6("01") V6("02")
#define CONTROL_WORD "00000000 "
#define MAC_6        "620000000001 020000110002 " /* begins as IPv6 does */
#define MAC_4        "450000000001 020000110002 " /* as IPv4 */
#define MAC_0        "020000000001 020000110002 " /* as a control word */

/* A frame that IPv6 could begin as well: of so many bytes, TCP, from 2001:2:...; and what of the payload is its destination's
   first group, from byte 10 on, is one that somebody may have. */
#define LIKE_6(bytes, type) "62000000 " bytes " 0601 2001 0002 " type " "
#define LIKE_6_HELD4        "4500 0000 36eb 0000 40 11 3000 0a000001 0a000002 "
#define LIKE_6_HELD6        "60000000 05dc 11 40 20010000 00000000 00000000 00000001 20010000 00000000 00000000 00000002 "
#define LIKE_6_ENDS         "2000 0000 0000 0000 0000 0000 0000 0000 0007 0009 "

START_TEST(test_labels)
{
    static const struct example table[] = {
        EXAMPLE("IPv4", MPLS HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("IPv4 with a length", MPLS "4500 001c 0000 0000 40 11 66cf 0a000001 0a000002" UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("IPv4 with options", MPLS "4600 0000 0000 0000 40 11 63e9 0a000001 0a000002 01010101" UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("three labels, IPv6", ETH("8848") "00010040 00020040 00030140" HELD6("0008") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("IPv6, padded", MPLS HELD6("0008") UDP "000000000000", "flow 6/17 1:7>2:9"),
        EXAMPLE("IPv6, longer than what is there", MPLS HELD6("05dc") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("IPv6, a large segment", MPLS HELD6("0000") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("explicit null, router alert", ETH("8847") "00001040 00000140" HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("entropy label", ETH("8847") "00010040 00007040 12345140" HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("ids in the key", ETH("8100") "0005 8847 00010140" HELD4 UDP, "flow 4/17 1:7>2:9 vlan 5", .key_vlan = true),
        EXAMPLE("IPv4 with a wrong checksum", MPLS "4500 0000 0000 0000 40 11 66ec 0a000001 0a000002" UDP, "spread 16 0 0 0"),
        EXAMPLE("IPv4 shorter than its header", MPLS "4500 0013 0000 0000 40 11 66d8 0a000001 0a000002" UDP, "spread 16 0 0 0"),
        EXAMPLE("IPv4, header too short", MPLS "4400 0000 0000 0000 40 11 67eb 0a000001 0a000002" UDP, "spread 16 0 0 0"),
        EXAMPLE("IPv6, too much behind", MPLS HELD6("0001") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("IPv6, far too much behind", MPLS HELD6("0001") UDP "0000", "spread 16 0 0 0"),
        EXAMPLE("IPv6 of an unknown protocol", MPLS "60000000 0008 fd 40" V6("01") V6("02") UDP, "spread 16 0 0 0"),
        EXAMPLE("IPv6, cut, of an unknown protocol", MPLS "60000000 05dc fd 40" V6("01") V6("02") UDP, "spread 16 0 0 0"),
        EXAMPLE("IPv6, cut, of no hop limit", MPLS "60000000 05dc 11 00" V6("01") V6("02") UDP, "spread 16 0 0 0"),
        EXAMPLE("a channel header", MPLS "10000021 12345678", "spread 16 0 0 0"),
        EXAMPLE("nothing", MPLS, "spread 16 0 0 0"),
        EXAMPLE("class, bottom and TTL do not matter", ETH("8847") "00010e01 00020fff ff", "spread 16 32 0 0"),
        EXAMPLE("eight labels", ETH("8847") "00001000 00002000 00003000 00004000 00005000 00006000 00007000 00008100",
                "spread 1 2 3 4 5 6 7 8 0 0"),
        EXAMPLE("nine", ETH("8847") "00001000 00002000 00003000 00004000 00005000 00006000 00007000 00008000 00009100" HELD4 UDP,
                "keyless"),
        EXAMPLE("without an end", ETH("8847") "00010040 00010040 00010040 00010040", "keyless"),
        EXAMPLE("to all", "ffffffffffff 525400000002 8847 00010140", "spread 16 0 0 0 multicast"),
        EXAMPLE("in a tunnel's frame, IPv4", ETH("0800") IPV4("11") VXLAN INNER_ETH("8847") "00010140" HELD4_INNER UDP,
                "flow 4/17 3:7>4:9"),
        EXAMPLE("in a frame in NVGRE, unknown", ETH("0800") IPV4("2f") "2000 6558 00004d00" INNER_ETH("8847") "00010140 10000000",
                "flow 4/47 1:0>2:0"),
    };
    RUN(table);
}
END_TEST

START_TEST(test_pseudowires)
{
    static const struct example table[] = {
        EXAMPLE("with a control word", MPLS CONTROL_WORD MAC_0 "0800" HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("with a sequence number", MPLS "0000abcd" MAC_6 "0800" HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("without", MPLS MAC_0 "0800" HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("without, as if IPv6", MPLS MAC_6 "0800" HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("without, as if IPv6 of this length", MPLS LIKE_6("0001", "0800") LIKE_6_HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("without, as if IPv4", MPLS MAC_4 "0800" HELD4 UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("IPv6 inside", MPLS MAC_6 "86dd" HELD6("0008") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("IPv6 inside, cut", MPLS LIKE_6("05dc", "86dd") LIKE_6_HELD6 UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("tags inside", MPLS CONTROL_WORD MAC_0 "88a8 0005 8100 0006 0800" HELD4 UDP, "flow 4/17 1:7>2:9 vlan 5 6",
                .key_vlan = true),
        EXAMPLE("tags outside do not count", ETH("8100") "0005 8847 00010140" MAC_6 "0800" HELD4 UDP, "flow 4/17 1:7>2:9",
                .key_vlan = true),
        EXAMPLE("a tag of one's own inside", MPLS MAC_6 "9999 0005 0800" HELD4 UDP, "flow 4/17 1:7>2:9", .vlan_tpid = 0x9999),
        EXAMPLE("broadcast inside", MPLS CONTROL_WORD "ffffffffffff 020000110002 0800" HELD4 UDP, "flow 4/17 1:7>2:9 multicast"),
        EXAMPLE("a tunnel inside",
                MPLS CONTROL_WORD MAC_0 "0800 4500 0000 0000 0000 40 04 66f8 0a000001 0a000002" INNER4("11") UDP,
                "flow 4/17 3:7>4:9"),
        EXAMPLE("ARP inside", MPLS CONTROL_WORD MAC_0 "0806 0001", "spread 16 0 0 0"),
        EXAMPLE("ARP inside, as if IPv6", MPLS LIKE_6("05dc", "0806") "0001 0800 0604 0001 0000 " LIKE_6_ENDS, "spread 16 0 0 0"),
        EXAMPLE("labels inside, as if IPv6", MPLS LIKE_6("05dc", "8847") "00010140 0000 0000 0000 " LIKE_6_ENDS,
                "spread 16 0 0 0"),
        EXAMPLE("upstream labels inside, as if IPv6", MPLS LIKE_6("05dc", "8848") "00010140 0000 0000 0000 " LIKE_6_ENDS,
                "spread 16 0 0 0"),
        EXAMPLE("PPPoE inside, as if IPv6", MPLS LIKE_6("05dc", "8864") "1100 0001 0000 0000 0000 " LIKE_6_ENDS,
                "spread 16 0 0 0"),
        EXAMPLE("PPPoE's discovery inside, as if IPv6", MPLS LIKE_6("05dc", "8863") "1109 0000 0000 0000 0000 " LIKE_6_ENDS,
                "spread 16 0 0 0"),
        EXAMPLE("IPv6, as if anything were inside", MPLS LIKE_6("05dc", "8899") "1109 0000 0000 0000 0000 " LIKE_6_ENDS,
                "flow 6/6 0:7>0:9"),
        EXAMPLE("IPv6, as if ARP of others were inside", MPLS LIKE_6("05dc", "0806") "0006 0800 0604 0001 0000 " LIKE_6_ENDS,
                "flow 6/6 0:7>0:9"),
        EXAMPLE("IPv6, as if PPPoE of another version were inside",
                MPLS LIKE_6("05dc", "8864") "2100 0001 0000 0000 0000 " LIKE_6_ENDS, "flow 6/6 0:7>0:9"),
        EXAMPLE("a wrong checksum inside", MPLS MAC_6 "0800" IPV4("11") UDP, "spread 16 0 0 0"),
        EXAMPLE("type and version inside differ", MPLS MAC_6 "86dd" HELD4 UDP, "spread 16 0 0 0"),
        EXAMPLE("PPPoE inside", MPLS MAC_6 "8864 1100 0001 001e 0021" HELD4 UDP, "spread 16 0 0 0"),
        EXAMPLE("believed, and cut before its ports", MPLS CONTROL_WORD MAC_0 "0800" HELD4 "0007", "keyless"),
    };
    RUN(table);
}
END_TEST

START_TEST(test_gtpu)
{
#define G_PDU ETH("0800") IPV4("11") UDP_TO("0868") "30ff0000 00000001 "
    static const struct example table[] = {
        EXAMPLE("IPv4", G_PDU HELD4_INNER UDP, "flow 4/17 3:7>4:9"),
        EXAMPLE("IPv6", G_PDU HELD6_INNER UDP, "flow 6/17 3:7>4:9"),
        EXAMPLE("IPv6, cut", G_PDU INNER6("11") UDP, "flow 6/17 3:7>4:9"),
        EXAMPLE("quoted, IPv4", ETH("0800") IPV4("01") ICMP("03") BACK4("11") UDP_TO("0868") "30ff0000 00000001" HELD4_INNER UDP,
                "quote 4/17 3:7>4:9 icmp-error"),
    };
    RUN(table);
}
END_TEST

#define ROUTE(next, units, type, left) next units type left
#define ROUTED                         ETH("86dd") IPV6("2b")
#define SEGMENT(host)                  "20010db8 00000000 00000000 000000" host " "
#define GROUP                          "ff020000 00000000 00000000 00000001 "

START_TEST(test_routing_headers)
{
    static const struct example table[] = {
        EXAMPLE("nothing left", ROUTED ROUTE("11", "02", "04", "00") "00 00 0000" SEGMENT("07") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("segments: the first in the list",
                ROUTED ROUTE("11", "04", "04", "01") "01 00 0000" SEGMENT("07") SEGMENT("08") UDP, "flow 6/17 1:7>7:9"),
        EXAMPLE("segments, and options",
                ROUTED ROUTE("06", "03", "04", "01") "00 00 0000" SEGMENT("07") "0506 000000000000" TCP("02"),
                "flow 6/6 1:7>7:9 syn"),
        EXAMPLE("reduced segments", ROUTED ROUTE("11", "02", "04", "01") "00 00 0000" SEGMENT("07") UDP, "flow 6/17 1:7>7:9"),
        EXAMPLE("more left than there are", ROUTED ROUTE("11", "02", "04", "02") "00 00 0000" SEGMENT("07") UDP, "keyless"),
        EXAMPLE("a longer list than the header", ROUTED ROUTE("11", "02", "04", "01") "01 00 0000" SEGMENT("07") UDP, "keyless"),
        EXAMPLE("an empty list", ROUTED ROUTE("11", "00", "04", "01") "00 00 0000" UDP, "keyless"),
        EXAMPLE("source route: the last", ROUTED ROUTE("11", "04", "00", "01") "00000000" SEGMENT("07") SEGMENT("08") UDP,
                "flow 6/17 1:7>8:9"),
        EXAMPLE("source route, all visited", ROUTED ROUTE("11", "04", "00", "00") "00000000" SEGMENT("07") SEGMENT("08") UDP,
                "flow 6/17 1:7>2:9"),
        EXAMPLE("half an address", ROUTED ROUTE("11", "03", "00", "01") "00000000" SEGMENT("07") "0000000000000000" UDP,
                "keyless"),
        EXAMPLE("source route, more left", ROUTED ROUTE("11", "02", "00", "02") "00000000" SEGMENT("07") UDP, "keyless"),
        EXAMPLE("home address", ROUTED ROUTE("11", "02", "02", "01") "00000000" SEGMENT("07") UDP, "flow 6/17 1:7>7:9"),
        EXAMPLE("two home addresses", ROUTED ROUTE("11", "04", "02", "01") "00000000" SEGMENT("07") SEGMENT("08") UDP, "keyless"),
        EXAMPLE("RPL, one byte of the last address",
                ROUTED ROUTE("11", "01", "03", "02") "ff 60 0000"
                                                     "05 07 000000000000" UDP,
                "flow 6/17 1:7>7:9"),
        EXAMPLE("RPL, whole addresses", ROUTED ROUTE("11", "04", "03", "01") "00 00 0000" SEGMENT("07") SEGMENT("08") UDP,
                "flow 6/17 1:7>8:9"),
        EXAMPLE("RPL, two bytes and eight",
                ROUTED ROUTE("11", "02", "03", "01") "e8 60 0000"
                                                     "0005"
                                                     "0000000000000007"
                                                     "000000000000" UDP,
                "flow 6/17 1:7>7:9"),
        EXAMPLE("RPL, more padding than there is", ROUTED ROUTE("11", "00", "03", "01") "ff f0 0000" UDP, "keyless"),
        EXAMPLE("RPL, addresses that do not fit",
                ROUTED ROUTE("11", "01", "03", "01") "ee 10 0000"
                                                     "0005 0006 0007 0008" UDP,
                "keyless"),
        EXAMPLE("another type", ROUTED ROUTE("11", "02", "fd", "01") "00000000" SEGMENT("07") UDP, "flow 6/17 1:7>2:9"),
        EXAMPLE("two routing headers",
                ROUTED ROUTE("2b", "02", "02", "01") "00000000" SEGMENT("07")
                    ROUTE("11", "02", "04", "01") "00 00 0000" SEGMENT("08") UDP,
                "flow 6/17 1:7>8:9"),
        EXAMPLE("to a group by way of one", ROUTED ROUTE("11", "02", "04", "01") "00 00 0000" GROUP UDP,
                "flow 6/17 1:7>1:9 multicast"),
        EXAMPLE("to one by way of a group",
                ETH("86dd") "60000000 0000 2b 40" V6("01") GROUP ROUTE("11", "02", "04", "01") "00 00 0000" SEGMENT("08") UDP,
                "flow 6/17 1:7>8:9"),
        EXAMPLE("broadcast stays",
                "ffffffffffff 525400000002 86dd" IPV6("2b") ROUTE("11", "02", "04", "01") "00 00 0000" SEGMENT("08") UDP,
                "flow 6/17 1:7>8:9 multicast"),
        EXAMPLE("first fragment",
                ROUTED ROUTE("2c", "02", "04", "01") "00 00 0000" SEGMENT("07") FRAG6("11", "0001", "00000005") UDP,
                "flow 6/17 1:7>7:9 first 6/0#5"),
        EXAMPLE("later fragment", ROUTED ROUTE("2c", "02", "04", "01") "00 00 0000" SEGMENT("07") FRAG6("11", "0008", "00000005"),
                "later 6/17 1:0>7:0 of 6/0#5"),
        EXAMPLE("quoted",
                ETH("86dd") IPV6("3a") ICMP("01") BACK6("2b") ROUTE("11", "02", "04", "01") "00 00 0000" SEGMENT("07") UDP,
                "quote 6/17 2:7>7:9 icmp-error"),
        EXAMPLE("inside a tunnel",
                ETH("0800") IPV4("29") INNER6("2b") ROUTE("11", "02", "04", "01") "00 00 0000" SEGMENT("07") UDP,
                "flow 6/17 3:7>7:9"),
    };
    RUN(table);
}
END_TEST

/* Fragments of one datagram are of one, whether there are segments left or not, and of another in another VLAN. */
START_TEST(test_identity_of_datagrams)
{
    static const char *const later[] = {
        ROUTED ROUTE("2c", "02", "04", "01") "00 00 0000" SEGMENT("02") FRAG6("11", "0008", "00000005"),
        ROUTED ROUTE("2c", "02", "04", "00") "00 00 0000" SEGMENT("02") FRAG6("11", "0008", "00000005"),
        ETH("86dd") IPV6("2c") FRAG6("11", "0008", "00000005"),
        ETH("8100") "0000 86dd" IPV6("2c") FRAG6("11", "0008", "00000005"),
        ETH("8100") "0007 86dd" IPV6("2c") FRAG6("11", "0008", "00000005"),
    };
    for (unsigned key_vlan = 0; key_vlan < 2; key_vlan++) {
        struct parse_rules rules = parse_rules_default();
        struct parse_result r[5], first;
        uint8_t bytes[200];
        rules.key_vlan = key_vlan;
        for (unsigned i = 0; i < 5; i++) {
            packet_parse(bytes, packet_from_hex(later[i], bytes), 0, &rules, &r[i]);
            ck_assert_uint_eq(r[i].kind, PARSE_LATER);
            int differs = memcmp(&r[0].later, &r[i].later, sizeof(r[0].later));
            ck_assert_int_eq(differs != 0, key_vlan && i == 4);
        }
        packet_parse(bytes, packet_from_hex(ETH("8100") "0007 86dd" IPV6("2c") FRAG6("11", "0001", "00000005") UDP, bytes), 0,
                     &rules, &first);
        ck_assert_uint_eq(first.n_first, 1);
        ck_assert_mem_eq(&first.first[0], &r[4].later, sizeof(r[4].later));
    }
}
END_TEST

#define REDIRECT          ETH("86dd") IPV6("3a") "89 00 0000 00000000" V6("0a") V6("0b")
#define REDIRECTED(units) "04 " units " 000000000000 "
#define LINK_ADDRESS      "02 01 525400000003 "

START_TEST(test_redirects)
{
    static const struct example table[] = {
        EXAMPLE("the packet", REDIRECT REDIRECTED("07") BACK6("11") UDP, "quote 6/17 2:7>1:9 icmp-error"),
        EXAMPLE("behind a link-layer address", REDIRECT LINK_ADDRESS REDIRECTED("07") BACK6("06") TCP("02"),
                "quote 6/6 2:7>1:9 icmp-error"),
        EXAMPLE("another long option before", REDIRECT "0e 02 000000000000 0000000000000000" REDIRECTED("07") BACK6("11") UDP,
                "quote 6/17 2:7>1:9 icmp-error"),
        EXAMPLE("the option ends in the ports", REDIRECT REDIRECTED("06") BACK6("11") UDP, "flow 6/58 1:0>2:0 icmp-error"),
        EXAMPLE("no packet", REDIRECT LINK_ADDRESS, "flow 6/58 1:0>2:0 icmp-error"),
        EXAMPLE("an option of no length", REDIRECT "02 00 525400000003" REDIRECTED("07") BACK6("11") UDP,
                "flow 6/58 1:0>2:0 icmp-error"),
        EXAMPLE("eight options before",
                REDIRECT LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS
                    REDIRECTED("07") BACK6("11") UDP,
                "quote 6/17 2:7>1:9 icmp-error"),
        EXAMPLE("nine",
                REDIRECT LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS LINK_ADDRESS
                    LINK_ADDRESS REDIRECTED("07") BACK6("11") UDP,
                "flow 6/58 1:0>2:0 icmp-error"),
        EXAMPLE("a neighbour's advertisement is none",
                ETH("86dd") IPV6("3a") "88 00 0000 00000000" V6("0a") V6("0b") REDIRECTED("07") BACK6("11") UDP,
                "flow 6/58 1:0>2:0"),
        EXAMPLE("in ICMP of IPv4, type 137 is nothing", ETH("0800") IPV4("01") ICMP("89") BACK4("11") UDP, "flow 4/1 1:0>2:0"),
    };
    RUN(table);
}
END_TEST

START_TEST(test_later_fragments_of_protocols_without_ports)
{
#define ERR4 ETH("0800") IPV4("01") ICMP("03")
#define ERR6 ETH("86dd") IPV6("3a") ICMP("01")
    static const struct example table[] = {
        EXAMPLE("quoted ESP", ERR4 FRAG4("0123", "0001", "32"), "quote 4/50 1:0>2:0 icmp-error"),
        EXAMPLE("quoted AH", ERR4 FRAG4("0123", "0001", "33"), "quote 4/51 1:0>2:0 icmp-error"),
        EXAMPLE("quoted ICMP", ERR4 FRAG4("0123", "0001", "01"), "quote 4/1 1:0>2:0 icmp-error"),
        EXAMPLE("quoted UDP", ERR4 FRAG4("0123", "0001", "11"), "quote-later 4/17 1:0>2:0 icmp-error"),
        EXAMPLE("quoted SCTP", ERR4 FRAG4("0123", "0001", "84"), "quote-later 4/132 1:0>2:0 icmp-error"),
        EXAMPLE("quoted GRE, which may be a tunnel", ERR4 FRAG4("0123", "0001", "2f"), "quote-later 4/47 1:0>2:0 icmp-error"),
        EXAMPLE("quoted GRE that is not looked into", ERR4 FRAG4("0123", "0001", "2f"), "quote 4/47 1:0>2:0 icmp-error",
                .only = FLOWQ_TUNNEL_IPIP),
        EXAMPLE("quoted IPIP", ERR4 FRAG4("0123", "0001", "04"), "quote-later 4/4 1:0>2:0 icmp-error"),
        EXAMPLE("quoted 6in4, only IPIP is looked into", ERR4 FRAG4("0123", "0001", "29"), "quote 4/41 1:0>2:0 icmp-error",
                .only = FLOWQ_TUNNEL_IPIP),
        EXAMPLE("quoted ESP, IPv6", ERR6 BACK6("2c") FRAG6("32", "0008", "00000001"), "quote 6/50 2:0>1:0 icmp-error"),
        EXAMPLE("quoted ICMPv6", ERR6 BACK6("2c") FRAG6("3a", "0008", "00000001"), "quote 6/58 2:0>1:0 icmp-error"),
        EXAMPLE("quoted, behind another header", ERR6 BACK6("2c") FRAG6("3c", "0008", "00000001"),
                "quote-later 6/60 2:0>1:0 icmp-error"),
        EXAMPLE("quoted AH, IPv6", ERR6 BACK6("2c") FRAG6("33", "0008", "00000001"), "quote-later 6/51 2:0>1:0 icmp-error"),
        EXAMPLE("ESP", ETH("0800") FRAG4("0123", "0001", "32"), "later 4/50 1:0>2:0 whole of 4/50#291"),
        EXAMPLE("ESP, IPv6", ETH("86dd") IPV6("2c") FRAG6("32", "0008", "00000001"), "later 6/50 1:0>2:0 whole of 6/0#1"),
        EXAMPLE("ESP, inside", ETH("0800") IPV4("04") FRAG4("0123", "0001", "32"), "later 4/50 1:0>2:0 whole of 4/50#291"),
        EXAMPLE("GRE", ETH("0800") FRAG4("0123", "0001", "2f"), "later 4/47 1:0>2:0 of 4/47#291"),
        EXAMPLE("a second level of tunnels", ETH("0800") IPV4("04") FRAG4("0123", "0001", "2f"),
                "later 4/47 1:0>2:0 whole of 4/47#291"),
    };
    RUN(table);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("parse_link");
    TCase *t = tcase_create("examples");
    tcase_add_test(t, test_labels);
    tcase_add_test(t, test_pseudowires);
    tcase_add_test(t, test_gtpu);
    tcase_add_test(t, test_routing_headers);
    tcase_add_test(t, test_identity_of_datagrams);
    tcase_add_test(t, test_redirects);
    tcase_add_test(t, test_later_fragments_of_protocols_without_ports);
    suite_add_tcase(s, t);
    return suite_run(s);
}
