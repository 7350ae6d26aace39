/*
 * The parser on packets inside packets, written out by hand: tunnels, what ICMP errors quote, and how many headers there may be.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "packet_text.h"
#include "runner.h"

#include <check.h>
#include <string.h>

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
                "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GRE_2784),
        EXAMPLE("GRE with a key", ETH("0800") IPV4("2f") GRE("2000", "0800") "00000001" INNER4("11") UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_2890),
        EXAMPLE("GRE with all", ETH("0800") IPV4("2f") GRE("b000", "0800") "00000000 00000001 00000002" INNER4("11") UDP,
                "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GRE_2890),
        EXAMPLE("GRE with a sequence number is not RFC 2784's",
                ETH("0800") IPV4("2f") GRE("1000", "0800") "00000001" INNER4("11") UDP, "flow 4/47 1:0>2:0",
                .only = FLOWQ_TUNNEL_GRE_2784),
        EXAMPLE("GRE over IPv6", ETH("86dd") IPV6("2f") GRE("0000", "0800") INNER4("11") UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_7676),
        EXAMPLE("IPv6 in GRE", ETH("0800") IPV4("2f") GRE("2000", "86dd") "00000001" INNER6("11") UDP, "flow 6/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_7676),
        EXAMPLE("IPv6 in GRE off", ETH("0800") IPV4("2f") GRE("0000", "86dd") INNER6("11") UDP, "flow 4/47 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_GRE_7676),
        EXAMPLE("NVGRE", ETH("0800") IPV4("2f") GRE("2000", "6558") "00004d00" INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_NVGRE),
        EXAMPLE("NVGRE over IPv6", ETH("86dd") IPV6("2f") GRE("2000", "6558") "00004d00" INNER_ETH("86dd") INNER6("11") UDP,
                "flow 6/17 3:7>4:9", .only = FLOWQ_TUNNEL_NVGRE),
        EXAMPLE("NVGRE off", ETH("0800") IPV4("2f") GRE("2000", "6558") "00004d00" INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/47 1:0>2:0", .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_NVGRE),
        EXAMPLE("Ethernet without a key", ETH("0800") IPV4("2f") GRE("0000", "6558") INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GRE_2784),
        EXAMPLE("ARP in NVGRE", ETH("0800") IPV4("2f") GRE("2000", "6558") "00004d00 ffffffffffff 525400000004 0806 0001",
                "flow 4/47 1:0>2:0"),
        EXAMPLE("PPTP", ETH("0800") IPV4("2f") GRE("3001", "880b") "00000000 00000000 ff03 0021" INNER4("11") UDP,
                "flow 4/47 1:0>2:0"),
        EXAMPLE("version 1 with a known type", ETH("0800") IPV4("2f") GRE("0001", "0800") INNER4("11") UDP, "flow 4/47 1:0>2:0"),
        EXAMPLE("source route", ETH("0800") IPV4("2f") GRE("4000", "0800") "00000000" INNER4("11") UDP, "flow 4/47 1:0>2:0"),
        EXAMPLE("a type nobody knows", ETH("0800") IPV4("2f") GRE("1000", "88b7") "00000001" INNER_ETH("0800") INNER4("11") UDP,
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
#define OUTER        ETH("0800") IPV4("11")
#define INNER4_UDP   HELD4_INNER UDP /* GTP-U wants the checksum */
#define INNER_FRAME  INNER_ETH("0800") INNER4_UDP
#define UNREAD(port) "flow 4/17 1:49153>2:" port " unread"
#define G_PDU(flags) UDP_TO("0868") flags " ff 0000 00000001 "
    static const struct example table[] = {
        EXAMPLE("VXLAN", OUTER VXLAN INNER_FRAME, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("VXLAN off", OUTER VXLAN INNER_FRAME, "flow 4/17 1:49153>2:4789", .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("VXLAN on Linux's port", OUTER UDP_TO("2118") "08000000 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("VXLAN over IPv6", ETH("86dd") IPV6("11") VXLAN INNER_ETH("86dd") INNER6("06") TCP("02"), "flow 6/6 3:7>4:9 syn"),
        EXAMPLE("VXLAN without the I flag", OUTER UDP_TO("12b5") "00000000 00004d00" INNER_FRAME, UNREAD("4789")),
        EXAMPLE("VXLAN, other flags", OUTER UDP_TO("12b5") "ff000000 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9"),
        EXAMPLE("VXLAN cut", OUTER UDP_TO("12b5") "08000000", UNREAD("4789")),
        EXAMPLE("VXLAN, inner ports cut", OUTER VXLAN INNER_ETH("0800") INNER4("11") "0007 00", UNREAD("4789")),
        EXAMPLE("VXLAN, inner broadcast", OUTER VXLAN "ffffffffffff 525400000004 0806 0001", UNREAD("4789")),
        EXAMPLE("the source port is no sign", OUTER "12b5 c001 0000 0000 08000000 00004d00" INNER_FRAME,
                "flow 4/17 1:4789>2:49153"),
        EXAMPLE("UDP-Lite to the port", ETH("0800") IPV4("88") VXLAN INNER_FRAME, "flow 4/136 1:49153>2:4789"),
        EXAMPLE("GPE, IPv4", OUTER UDP_TO("12b6") "0c000001 00004d00" INNER4_UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_VXLAN_GPE),
        EXAMPLE("GPE, IPv6", OUTER UDP_TO("12b6") "0c000002 00004d00" INNER6("11") UDP, "flow 6/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_VXLAN_GPE),
        EXAMPLE("GPE, Ethernet", OUTER UDP_TO("12b6") "0c000003 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_VXLAN_GPE),
        EXAMPLE("GPE, NSH", OUTER UDP_TO("12b6") "0c000004 00004d00" INNER_FRAME, UNREAD("4790")),
        EXAMPLE("GPE without a next protocol", OUTER UDP_TO("12b6") "08000001 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9"),
        EXAMPLE("GPE of another version", OUTER UDP_TO("12b6") "1c000003 00004d00" INNER_FRAME, UNREAD("4790")),
        EXAMPLE("GPE off", OUTER UDP_TO("12b6") "0c000003 00004d00" INNER_FRAME, "flow 4/17 1:49153>2:4790",
                .only = FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("GENEVE", OUTER UDP_TO("17c1") "0000 6558 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GENEVE),
        EXAMPLE("GENEVE with options", OUTER UDP_TO("17c1") "0200 0800 00004d00 00000000 00000000" INNER4_UDP,
                "flow 4/17 3:7>4:9"),
        EXAMPLE("GENEVE, IPv6", OUTER UDP_TO("17c1") "0000 86dd 00004d00" INNER6("11") UDP, "flow 6/17 3:7>4:9"),
        EXAMPLE("GENEVE, unknown payload", OUTER UDP_TO("17c1") "0000 8847 00004d00 00010140" INNER4_UDP, UNREAD("6081")),
        EXAMPLE("GENEVE of another version", OUTER UDP_TO("17c1") "4000 6558 00004d00" INNER_FRAME, UNREAD("6081")),
        EXAMPLE("GENEVE off", OUTER UDP_TO("17c1") "0000 6558 00004d00" INNER_FRAME, "flow 4/17 1:49153>2:6081",
                .only = FLOWQ_TUNNEL_GTPU),
        EXAMPLE("GTP-U", OUTER G_PDU("30") INNER4_UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GTPU),
        EXAMPLE("GTP-U, IPv6", OUTER G_PDU("30") INNER6("11") UDP, "flow 6/17 3:7>4:9", .only = FLOWQ_TUNNEL_GTPU),
        EXAMPLE("GTP-U with a sequence number", OUTER G_PDU("32") "0001 00 85" INNER4_UDP, "flow 4/17 3:7>4:9"),
        EXAMPLE("GTP-U with extension headers", OUTER G_PDU("34") "0000 00 85 01 0010 c0 02 000000000000 00" INNER4_UDP,
                "flow 4/17 3:7>4:9"),
        EXAMPLE("GTP-U, extension of length 0", OUTER G_PDU("34") "0000 00 85 00 0010 00" INNER4_UDP, UNREAD("2152")),
        EXAMPLE("GTP-U echo request", OUTER UDP_TO("0868") "32 01 0004 00000000 0001 00 00", UNREAD("2152")),
        EXAMPLE("GTP'", OUTER G_PDU("20") INNER4_UDP, UNREAD("2152")),
        EXAMPLE("GTP version 2", OUTER G_PDU("50") INNER4_UDP, UNREAD("2152")),
        EXAMPLE("GTP-U, Ethernet", OUTER G_PDU("30") INNER_FRAME, "flow 4/17 3:7>4:9"),
        EXAMPLE("GTP-U, IPv4 that does not hold", OUTER G_PDU("30") INNER4("11") UDP, UNREAD("2152")),
        EXAMPLE("GTP-U, Ethernet that carries no IP", OUTER G_PDU("30") INNER_ETH("0806") INNER4_UDP, UNREAD("2152")),
        EXAMPLE("GRE in UDP", OUTER UDP_TO("1292") "0000 0800" INNER4_UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GRE_UDP),
        EXAMPLE("GRE in UDP, key, Ethernet", OUTER UDP_TO("1292") "2000 6558 00004d00" INNER_FRAME, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GRE_UDP),
        EXAMPLE("GRE in UDP, PPTP", OUTER UDP_TO("1292") "3001 880b 00000000 00000000" INNER4_UDP, UNREAD("4754")),
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
        EXAMPLE("error to a group's MAC", "01005e000001 525400000002 0800" IPV4("01") ICMP("03") BACK4("11") UDP,
                "quote 4/17 2:7>1:9 icmp-error"),
        EXAMPLE("quote of a tunnel", ERR4("03") BACK4("11") VXLAN INNER_FRAME, "quote 4/17 3:7>4:9 icmp-error"),
        EXAMPLE("quote of a tunnel, 8 bytes", ERR4("03") BACK4("11") UDP_TO("12b5"), "quote 4/17 2:49153>1:4789 icmp-error"),
        EXAMPLE("quote of a tunnel that shows nothing", ERR6("01") BACK6("11") UDP_TO("12b6") "0c000004 00004d00" INNER_FRAME,
                "quote 6/17 2:49153>1:4790 icmp-error"),
        EXAMPLE("quote of IPIP, 8 bytes", ERR4("03") BACK4("04") "45000000 00000000", "flow 4/1 1:0>2:0 icmp-error"),
        EXAMPLE("quote of IPIP that is not looked into", ERR4("03") BACK4("04") "45000000 00000000",
                "quote 4/4 2:0>1:0 icmp-error", .only = FLOWQ_TUNNEL_NONE),
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
                "later 4/1 1:0>2:0 whole of 4/1#291"),
    };
    RUN(table);
}
END_TEST

/* GRE whose type says what it carries. */
START_TEST(test_gre_types)
{
#define GRE4(flags, type) ETH("0800") IPV4("2f") GRE(flags, type)
#define ERSPAN_3(last)    GRE4("1000", "22eb") "00000001 20140007 00000000 0000 " last
    static const struct example table[] = {
        EXAMPLE("MPLS", GRE4("0000", "8847") "00064140" INNER4_UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_MPLS_GRE),
        EXAMPLE("MPLS, upstream", GRE4("2000", "8848") "00000001 00064040 00064140" INNER4_UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_MPLS_GRE),
        EXAMPLE("MPLS over IPv6", ETH("86dd") IPV6("2f") GRE("0000", "8847") "00064140" INNER4_UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_MPLS_GRE),
        EXAMPLE("MPLS, a pseudowire", GRE4("0000", "8847") "00064140 00000000" INNER_FRAME, "flow 4/17 3:7>4:9"),
        EXAMPLE("MPLS, no IP", GRE4("0000", "8847") "00064140 0102030405060708", "flow 4/47 1:0>2:0"),
        EXAMPLE("MPLS off", GRE4("0000", "8847") "00064140" INNER4_UDP, "flow 4/47 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_MPLS_GRE),
        EXAMPLE("WCCP, version 1", GRE4("0000", "883e") INNER4("11") UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_WCCP),
        EXAMPLE("WCCP, version 2", GRE4("0000", "883e") "80000000" INNER4("11") UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_WCCP),
        EXAMPLE("WCCP, alternative bucket", GRE4("0000", "883e") "40000105" INNER4("11") UDP, "flow 4/17 3:7>4:9"),
        EXAMPLE("WCCP of IPv6", ETH("86dd") IPV6("2f") GRE("0000", "883e") "80000000" INNER6("11") UDP, "flow 6/17 3:7>4:9"),
        EXAMPLE("WCCP of another version", GRE4("0000", "883e") "80000000" INNER6("11") UDP, "flow 4/47 1:0>2:0"),
        EXAMPLE("WCCP off", GRE4("0000", "883e") INNER4("11") UDP, "flow 4/47 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_WCCP),
        EXAMPLE("ERSPAN I", GRE4("0000", "88be") INNER_ETH("0800") INNER4("11") UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_ERSPAN),
        EXAMPLE("ERSPAN II", GRE4("1000", "88be") "00000001 10140007 00000003" INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_ERSPAN),
        EXAMPLE("ERSPAN II of another version",
                GRE4("1000", "88be") "00000001 20140007 00000003" INNER_ETH("0800") INNER4("11") UDP, "flow 4/47 1:0>2:0"),
        EXAMPLE("ERSPAN II, a tagged frame",
                GRE4("1000", "88be") "00000001 10140007 00000003" INNER_ETH("8100") "0014 0800" INNER4("11") UDP,
                "flow 4/17 3:7>4:9 vlan 20", .key_vlan = true),
        EXAMPLE("ERSPAN III", ERSPAN_3("0000") INNER_ETH("86dd") INNER6("06") TCP("02"), "flow 6/6 3:7>4:9 syn",
                .only = FLOWQ_TUNNEL_ERSPAN),
        EXAMPLE("ERSPAN III, platform header", ERSPAN_3("83ff") "0102030405060708" INNER_ETH("0800") INNER4("11") UDP,
                "flow 4/17 3:7>4:9"),
        EXAMPLE("ERSPAN III, IP", ERSPAN_3("0800") INNER6("11") UDP, "flow 6/17 3:7>4:9"),
        EXAMPLE("ERSPAN III, another frame", ERSPAN_3("1c00") INNER_ETH("0800") INNER4("11") UDP, "flow 4/47 1:0>2:0"),
        EXAMPLE("ERSPAN off", GRE4("0000", "88be") INNER_ETH("0800") INNER4("11") UDP, "flow 4/47 1:0>2:0",
                .only = FLOWQ_TUNNEL_ALL & ~FLOWQ_TUNNEL_ERSPAN),
        EXAMPLE("one level alone", GRE4("0000", "88be") INNER_ETH("0800") INNER4("11") VXLAN INNER_FRAME,
                "flow 4/17 3:49153>4:4789"),
    };
    RUN(table);
}
END_TEST

START_TEST(test_gue_and_mpls_in_udp)
{
#define GUE    OUTER UDP_TO("17c0")
#define LABELS OUTER UDP_TO("19eb")
    static const struct example table[] = {
        EXAMPLE("behind as many headers as are passed over",
                ETH("8847") "00010040 00020040 00030040 00040040 00050040 00060040 00070040 00080140 " HELD4 UDP_TO(
                    "19eb") "00064140",
                UNREAD("6635")),
        EXAMPLE("GUE, IPv4", GUE "00 04 0000" INNER4("11") UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GUE),
        EXAMPLE("GUE, IPv6", GUE "00 29 0000" INNER6("06") TCP("02"), "flow 6/6 3:7>4:9 syn", .only = FLOWQ_TUNNEL_GUE),
        EXAMPLE("GUE over IPv6", ETH("86dd") IPV6("11") UDP_TO("17c0") "00 04 0000" INNER4("11") UDP, "flow 4/17 3:7>4:9"),
        EXAMPLE("GUE, options", GUE "02 04 0001 00000001 00000002" INNER4("11") UDP, "flow 4/17 3:7>4:9"),
        EXAMPLE("GUE, GRE", GUE "00 2f 0000 2000 6558 00004d00" INNER_ETH("0800") INNER4("11") UDP, "flow 4/17 3:7>4:9",
                .only = FLOWQ_TUNNEL_GUE),
        EXAMPLE("GUE, MPLS in GRE off", GUE "00 2f 0000 0000 8847 00064140" INNER4_UDP, UNREAD("6080"), .only = FLOWQ_TUNNEL_GUE),
        EXAMPLE("GUE, MPLS in GRE", GUE "00 2f 0000 0000 8847 00064140" INNER4_UDP, "flow 4/17 3:7>4:9"),
        EXAMPLE("GUE, UDP between the outer addresses", GUE "00 11 0000" UDP, "flow 4/17 1:7>2:9"),
        EXAMPLE("GUE, TCP between the outer addresses", GUE "00 06 0000" TCP("01"), "flow 4/6 1:7>2:9 fin"),
        EXAMPLE("GUE, no second tunnel", GUE "00 11 0000" VXLAN INNER_FRAME, "flow 4/17 1:49153>2:4789"),
        EXAMPLE("GUE, ESP", GUE "00 32 0000 00000001 00000001", UNREAD("6080")),
        EXAMPLE("GUE, no next header", GUE "00 3b 0000" INNER4("11") UDP, UNREAD("6080")),
        EXAMPLE("GUE, a control message", GUE "20 04 0000" INNER4("11") UDP, UNREAD("6080")),
        EXAMPLE("GUE of another variant", GUE "80 04 0000" INNER4("11") UDP, UNREAD("6080")),
        EXAMPLE("GUE, options cut", GUE "1f 04 0000" INNER4("11") UDP, UNREAD("6080")),
        EXAMPLE("GUE, variant 1, IPv4", GUE INNER4_UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_GUE),
        EXAMPLE("GUE, variant 1, IPv6", GUE INNER6("11") UDP, "flow 6/17 3:7>4:9"),
        EXAMPLE("GUE, variant 1 that does not hold", GUE INNER4("11") UDP, UNREAD("6080")),
        EXAMPLE("GUE off", GUE "00 04 0000" INNER4("11") UDP, "flow 4/17 1:49153>2:6080", .only = FLOWQ_TUNNEL_VXLAN),
        EXAMPLE("quote of GUE", ERR4("03") BACK4("11") UDP_TO("17c0") "00 04 0000" INNER4("11") UDP,
                "quote 4/17 3:7>4:9 icmp-error"),
        EXAMPLE("MPLS in UDP", LABELS "00064040 00064140" INNER4_UDP, "flow 4/17 3:7>4:9", .only = FLOWQ_TUNNEL_MPLS_UDP),
        EXAMPLE("MPLS in UDP, IPv6", LABELS "00064140" INNER6("11") UDP, "flow 6/17 3:7>4:9"),
        EXAMPLE("MPLS in UDP, a pseudowire", LABELS "00064140" INNER_FRAME, "flow 4/17 3:7>4:9"),
        EXAMPLE("MPLS in UDP, no IP", LABELS "00064140" INNER4("11") UDP, UNREAD("6635")),
        EXAMPLE("MPLS in UDP off", LABELS "00064140" INNER4_UDP, "flow 4/17 1:49153>2:6635", .only = FLOWQ_TUNNEL_GUE),
    };
    RUN(table);
}
END_TEST

START_TEST(test_network_ids)
{
#define NVGRE_FRAME(key) ETH("0800") IPV4("2f") GRE("2000", "6558") key INNER_FRAME
    static const struct example table[] = {
        EXAMPLE("VXLAN", OUTER VXLAN INNER_FRAME, "flow 4/17 3:7>4:9 vni 77", .key_vni = true),
        EXAMPLE("VXLAN, network 0", OUTER UDP_TO("12b5") "08000000 000000ff" INNER_FRAME, "flow 4/17 3:7>4:9 vni 0",
                .key_vni = true),
        EXAMPLE("VXLAN, IPv6", OUTER VXLAN INNER_ETH("86dd") INNER6("11") UDP, "flow 6/17 3:7>4:9 vni 77", .key_vni = true),
        EXAMPLE("VXLAN with tags", ETH("8100") "0005 0800" IPV4("11") VXLAN INNER_ETH("8100") "0006 0800" INNER4_UDP,
                "flow 4/17 3:7>4:9 vlan 6 vni 77", .key_vni = true, .key_vlan = true),
        EXAMPLE("VXLAN, inner ports cut", OUTER VXLAN INNER_ETH("0800") INNER4("11") "0007", UNREAD("4789"), .key_vni = true),
        EXAMPLE("VXLAN-GPE", OUTER UDP_TO("12b6") "0c000001 ffffff00" INNER4_UDP, "flow 4/17 3:7>4:9 vni 16777215",
                .key_vni = true),
        EXAMPLE("GENEVE", OUTER UDP_TO("17c1") "0100 0800 00004d00 00000000" INNER4_UDP, "flow 4/17 3:7>4:9 vni 77",
                .key_vni = true),
        EXAMPLE("NVGRE", NVGRE_FRAME("00004d12"), "flow 4/17 3:7>4:9 vni 77", .key_vni = true),
        EXAMPLE("NVGRE, another FlowID", NVGRE_FRAME("00004d34"), "flow 4/17 3:7>4:9 vni 77", .key_vni = true),
        EXAMPLE("GRE with a checksum and a key",
                ETH("0800") IPV4("2f") GRE("b000", "0800") "00000000 01020304 00000009" INNER4_UDP,
                "flow 4/17 3:7>4:9 vni 16909060", .key_vni = true),
        EXAMPLE("GRE without a key", ETH("0800") IPV4("2f") GRE("1000", "0800") "00000009" INNER4_UDP, "flow 4/17 3:7>4:9",
                .key_vni = true),
        EXAMPLE("GRE in UDP", OUTER UDP_TO("1292") "2000 6558 00004d12" INNER_FRAME, "flow 4/17 3:7>4:9 vni 19730",
                .key_vni = true),
        EXAMPLE("GRE in GUE", GUE "00 2f 0000 2000 0800 00000005" INNER4_UDP, "flow 4/17 3:7>4:9 vni 5", .key_vni = true),
        EXAMPLE("MPLS in GRE", GRE4("2000", "8847") "00000005 00064140" INNER4_UDP, "flow 4/17 3:7>4:9 vni 5", .key_vni = true),
        EXAMPLE("GTP-U", OUTER G_PDU("30") INNER4_UDP, "flow 4/17 3:7>4:9", .key_vni = true),
        EXAMPLE("IPIP in a VLAN", ETH("8100") "0005 0800" IPV4("04") INNER4_UDP, "flow 4/17 3:7>4:9 vlan 5", .key_vni = true,
                .key_vlan = true),
        EXAMPLE("GRE with a key in a VLAN", ETH("8100") "0005 0800" IPV4("2f") GRE("2000", "0800") "00000007" INNER4_UDP,
                "flow 4/17 3:7>4:9 vlan 5 vni 7", .key_vni = true, .key_vlan = true),
        EXAMPLE("GRE with a key, unread", ETH("0800") IPV4("2f") GRE("2000", "0800") "00000007" INNER6("11") UDP,
                "flow 4/47 1:0>2:0", .key_vni = true),
        EXAMPLE("quote", ERR4("03") BACK4("11") VXLAN INNER_FRAME, "quote 4/17 3:7>4:9 vni 77 icmp-error", .key_vni = true),
        EXAMPLE("inner error", OUTER VXLAN INNER_ETH("0800") INNER4("01") ICMP("03") BACK4("11") UDP,
                "quote 4/17 2:7>1:9 vni 77 icmp-error", .key_vni = true),
        EXAMPLE("inner error, quote unreadable", OUTER VXLAN INNER_ETH("0800") INNER4("01") ICMP("03"),
                "flow 4/1 3:0>4:0 vni 77 icmp-error", .key_vni = true),
        EXAMPLE("inner fragment", OUTER VXLAN INNER_ETH("0800") FRAG4("0123", "2000", "11") UDP,
                "flow 4/17 1:7>2:9 vni 77 first 4/17#291 vni", .key_vni = true),
        EXAMPLE("inner later fragment", OUTER VXLAN INNER_ETH("0800") FRAG4("0123", "0001", "11") UDP,
                "later 4/17 1:0>2:0 vni 77 of 4/17#291 vni", .key_vni = true),
        EXAMPLE("outer fragment", ETH("0800") FRAG4("0123", "2000", "11") VXLAN INNER_FRAME,
                "flow 4/17 3:7>4:9 vni 77 first 4/17#291", .key_vni = true),
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
    uint32_t len = packet_from_hex(OUTER UDP_TO("0000") "08000000 00004d00" INNER_FRAME, bytes);
    packet_expect("port 0", bytes, len, 0, &rules, "flow 4/17 1:49153>2:0");
    len = packet_from_hex(OUTER UDP_TO("0040") "08000000 00004d00" INNER_FRAME, bytes);
    packet_expect("port 64", bytes, len, 0, &rules, "flow 4/17 3:7>4:9");
}
END_TEST

/* Tags, labels and extension headers, before and behind VXLAN. */
static uint32_t nest(uint8_t *bytes, const unsigned n[6])
{
    uint32_t len = 0;
    for (unsigned level = 0; level < 2; level++, n += 3) {
        len += packet_from_hex("525400000001 525400000002", bytes + len);
        for (unsigned i = 0; i < n[0]; i++)
            len += packet_from_hex("8100 0064", bytes + len);
        len += packet_from_hex(n[1] ? "8847" : "86dd", bytes + len);
        for (unsigned i = 0; i < n[1]; i++)
            len += packet_from_hex(i + 1 < n[1] ? "00010040" : "00010140", bytes + len);
        len += packet_from_hex(n[2] ? IPV6("3c") : IPV6("11"), bytes + len);
        for (unsigned i = 0; i < n[2]; i++)
            len += packet_from_hex(i + 1 < n[2] ? EXT("3c") : EXT("11"), bytes + len);
        len += packet_from_hex(level == 0 ? UDP_TO("12b5") "08000000 00000000" : UDP, bytes + len);
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
        const char *many = n[0] + n[1] + n[2] <= PARSE_MAX_PASSED ? "flow 6/17 1:49153>2:4789 unread" : "keyless";
        packet_expect("number", bytes, len, 0, &rules, sum <= PARSE_MAX_PASSED && len <= 256 ? "flow 6/17 1:7>2:9" : many);
    }
    for (unsigned n = 1; n <= 2 * PARSE_MAX_PASSED; n++) {
        uint8_t bytes[600];
        uint32_t len = packet_from_hex(OUTER G_PDU("34") "0000 00 85", bytes);
        for (unsigned i = 0; i < n; i++)
            len += packet_from_hex(i + 1 < n ? "01 0010 85" : "01 0010 00", bytes + len);
        len += packet_from_hex(INNER4_UDP, bytes + len);
        packet_expect("G-PDU", bytes, len, 0, &rules, n <= PARSE_MAX_PASSED ? "flow 4/17 3:7>4:9" : UNREAD("2152"));
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("parse_tunnels");
    TCase *t = tcase_create("examples");
    tcase_add_test(t, test_ip_tunnels);
    tcase_add_test(t, test_udp_tunnels);
    tcase_add_test(t, test_icmp_errors);
    tcase_add_test(t, test_gre_types);
    tcase_add_test(t, test_gue_and_mpls_in_udp);
    tcase_add_test(t, test_network_ids);
    tcase_add_test(t, test_port_zero);
    tcase_add_test(t, test_number_of_headers);
    suite_add_tcase(s, t);
    return suite_run(s);
}
