/*
 * packet_text: packets written out by hand, and what the parser makes of them, as text.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_PACKET_TEXT_H
#define FLOWQ_TESTS_PACKET_TEXT_H

#include "model_parse.h"

/* ---- How packets are written: hexadecimal digits, blanks where you like ---------------------------------------------------- */

#define ETH(type)        "525400000001 525400000002 " type " "
#define IPV4(protocol)   "4500 0000 0000 0000 40 " protocol " 0000 0a000001 0a000002 " /* from 1 to 2 */
#define INNER4(protocol) "4500 0000 0000 0000 40 " protocol " 0000 0a000003 0a000004 " /* from 3 to 4 */
#define BACK4(protocol)  "4500 0000 0000 0000 40 " protocol " 0000 0a000002 0a000001 " /* from 2 to 1 */
/* The same two headers for UDP, with their checksums, which make them believed where nothing else says that they are IPv4. */
#define HELD4                      "4500 0000 0000 0000 40 11 66eb 0a000001 0a000002 "
#define HELD4_INNER                "4500 0000 0000 0000 40 11 66e7 0a000003 0a000004 "
#define FRAG4(id, field, protocol) "4500 0000 " id field " 40 " protocol " 0000 0a000001 0a000002 "
#define V6(host)                   "20010db8 00000000 00000000 000000" host " "
#define IPV6(next)                 "60000000 0000 " next " 40 " V6("01") V6("02")
/* With a payload length: eight bytes of UDP. */
#define HELD6_INNER            "60000000 0008 11 40" V6("03") V6("04")
#define INNER6(next)           "60000000 0000 " next " 40 " V6("03") V6("04")
#define BACK6(next)            "60000000 0000 " next " 40 " V6("02") V6("01")
#define EXT(next)              next " 00 000000000000 "
#define FRAG6(next, field, id) next " 00 " field id " "
#define PORTS                  "0007 0009 "
#define UDP                    PORTS "0000 0000 "
#define TCP(flags)             PORTS "00000000 00000000 50 " flags " ffff 0000 0000 "
#define UDP_TO(port)           "c001 " port " 0000 0000 "
#define VXLAN                  UDP_TO("12b5") "08000000 00004d00 "
#define ICMP(type)             type " 00 0000 00000000 "
#define INNER_ETH(type)        "525400000003 525400000004 " type " "

/* Returns how many bytes there are. */
uint32_t packet_from_hex(const char *hex, uint8_t *to);

/* ---- How results are written: kind version/protocol host:port>host:port, then what else there is --------------------------- */

/* Parses a copy that ends where the packet ends, so that a sanitizer sees every byte too many. */
void packet_parse(const uint8_t *bytes, uint32_t len, uint32_t flags, const struct parse_rules *rules, struct parse_result *out);

/* The test fails unless `want` comes of the packet. */
void packet_expect(const char *name, const uint8_t *bytes, uint32_t len, uint32_t flags, const struct parse_rules *rules,
                   const char *want);

struct example {
    const char *name;
    const char *packet;
    const char *want; /* as above */
    uint32_t only;    /* the tunnels looked into, FLOWQ_TUNNEL_NONE for none; 0: all */
    uint32_t flags;   /* of struct flowq_pkt */
    bool key_vlan, key_vni;
    uint16_t vlan_tpid;
};

#define EXAMPLE(name_, packet_, want_, ...)                                                                                      \
    {                                                                                                                            \
        .name = name_, .packet = packet_, .want = want_, ##__VA_ARGS__                                                           \
    }

/* What comes of each example; and cut to every shorter length, that it is what the model says. */
void packet_examples(const struct example *table, size_t n);

#define RUN(table) packet_examples(table, sizeof(table) / sizeof(table[0]))

#endif
