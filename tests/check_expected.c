/*
 * The parser on captures of other projects, against what an independent dissector (tshark) says of each packet: outer tuple,
 * fragment class and id, quoted tuple, inner tuple, VLAN ids, TCP flags. Where they differ, the table below says why; a
 * difference that is not in it fails, and so does a line of it that is not needed any more. Then every packet is cut at every
 * byte.
 *
 * Skipped unless FLOWQ_CAPTURES names the folder.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "captures.h"
#include "model_parse.h"
#include "runner.h"
#include "seed.h"

#include <arpa/inet.h>
#include <check.h>
#include <string.h>

/* ---- Where we differ, and why ---------------------------------------------------------------------------------------------- */

#define WHY_JUMBO       "length 0 and no jumbo option: a length is the buffer's here, so the ports are there"
#define WHY_CUT         "the extension header is cut, so what follows it is not known"
#define WHY_WINDOW      "the extension header ends beyond the 256 bytes that are looked at"
#define WHY_OPTIONS_CUT "the IPv4 options are cut: half a header is no header"
#define WHY_NSH         "NSH is not among the types that are looked into"

#define WHY_SEGMENTS                                                                                                             \
    "segments are left: the flow's destination is the last of them (S3), over which the UDP checksum is; tshark shows the next " \
    "one"

#define OUTER (1u << CAPTURE_OUTER)
#define INNER (1u << CAPTURE_INNER)

static const struct difference {
    const char *file;
    unsigned first, last; /* frames */
    unsigned fields;
    const char *why;
} differences[] = {
    {"tcpdump/bigtcp-ipv6.pcap", 1, 1, OUTER | INNER, WHY_JUMBO},
    {"tcpdump/bigtcp-ipv6-geneve-ipv4.pcap", 1, 1, OUTER | INNER, WHY_JUMBO},
    {"tcpdump/bigtcp-ipv6-geneve-ipv6.pcap", 1, 1, OUTER | INNER, WHY_JUMBO},
    {"tcpdump/bigtcp-ipv6-vxlan-ipv4.pcap", 1, 1, OUTER | INNER, WHY_JUMBO},
    {"tcpdump/bigtcp-ipv6-vxlan-ipv6.pcap", 1, 1, OUTER | INNER, WHY_JUMBO},
    {"tcpdump/hoobr_rt6_print.pcap", 3, 3, OUTER | INNER, WHY_CUT},
    {"tcpdump/ip_printroute_asan.pcap", 1, 1, OUTER | INNER, WHY_OPTIONS_CUT},
    {"tcpdump/ipv6-next-header-oobr-1.pcap", 1, 1, OUTER | INNER, WHY_CUT},
    {"tcpdump/ipv6-next-header-oobr-2.pcap", 1, 1, OUTER | INNER, WHY_CUT},
    {"tcpdump/ipv6-routing-header.pcap", 1, 4, OUTER | INNER, WHY_SEGMENTS},
    {"tcpdump/ipv6-rthdr-oobr.pcap", 1, 1, OUTER | INNER, WHY_CUT},
    {"tcpdump/ipv6-srh-ext-header.pcap", 1, 1, OUTER, WHY_SEGMENTS},
    {"tcpdump/ipv6-srh-insert-cksum.pcap", 1, 1, OUTER | INNER, WHY_SEGMENTS},
    {"tcpdump/ipv6-srh-tlv-pad1-padn-5-trunc.pcap", 1, 1, OUTER | INNER, WHY_CUT},
    {"tcpdump/ipv6-too-long-jumbo.pcap", 1, 1, OUTER | INNER, WHY_WINDOW},
    {"tcpdump/ipv6hdr-heapoverflow.pcap", 1, 1, OUTER | INNER, WHY_CUT},
    {"tcpdump/nsh.pcap", 1, 1, OUTER | INNER, WHY_NSH},
};
#define N_DIFFERENCES (sizeof(differences) / sizeof(differences[0]))

static const char *const field_name[CAPTURE_N_FIELDS] = {"outer", "inner", "quoted", "vlans", "tcp flags"};

/* ---- Writing both sides alike ---------------------------------------------------------------------------------------------- */

static bool has_ports(unsigned protocol)
{
    return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

/* The key as version/protocol/source/port/destination/port; empty without one. */
static int write_tuple(char *s, size_t size, const struct parse_result *r)
{
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], ports[2][8] = {"", ""};
    const uint8_t *word = (const uint8_t *)r->key.word;
    s[0] = 0;
    if (r->kind == PARSE_KEYLESS || r->kind == PARSE_SPREAD)
        return 0;
    struct key_l4 l4 = key_l4(&r->key);
    int family = l4.version == 6 ? AF_INET6 : AF_INET;
    inet_ntop(family, word, src, sizeof(src));
    inet_ntop(family, word + (l4.version == 6 ? 16 : 4), dst, sizeof(dst));
    if (has_ports(l4.protocol) && r->kind != PARSE_LATER && r->kind != PARSE_QUOTE_LATER) {
        snprintf(ports[0], sizeof(ports[0]), "%u", ntohs(l4.sport));
        snprintf(ports[1], sizeof(ports[1]), "%u", ntohs(l4.dport));
    }
    return snprintf(s, size, "%u/%u/%s/%s/%s/%s", l4.version, l4.protocol, src, ports[0], dst, ports[1]);
}

/* The same, followed by the fragment class and its id: that of `first` if this is the first fragment of several datagrams. */
static void write_fragment_tuple(char *s, size_t size, const struct parse_result *r)
{
    int n = write_tuple(s, size, r);
    if (n == 0)
        return;
    if (r->kind == PARSE_LATER)
        snprintf(s + n, size - (size_t)n, "/2/%u", r->later.id);
    else if (r->n_first > 0)
        snprintf(s + n, size - (size_t)n, "/1/%u", r->first[0].id);
    else
        snprintf(s + n, size - (size_t)n, "/0/");
}

/* tshark's tuple as we write it: ports (ICMP types there) only where there are ports, an atomic fragment is none, no stream. */
static void write_expected_tuple(char *s, size_t size, const char *tuple, bool fragment)
{
    char copy[CAPTURE_FIELD], *part[9] = {0}, *rest = copy;
    snprintf(copy, sizeof(copy), "%s", tuple);
    s[0] = 0;
    for (unsigned i = 0; i < 9 && rest; i++)
        part[i] = strsep(&rest, "/");
    if (!part[7])
        return;
    bool ports = has_ports((unsigned)atoi(part[1])), atomic = strcmp(part[6], "3") == 0;
    int n =
        snprintf(s, size, "%s/%s/%s/%s/%s/%s", part[0], part[1], part[2], ports ? part[3] : "", part[4], ports ? part[5] : "");
    if (fragment)
        snprintf(s + n, size - (size_t)n, "/%s/%s", atomic ? "0" : part[6], atomic ? "" : part[7]);
}

static void write_vlans(char *s, size_t size, const struct parse_result *r)
{
    size_t n = 0;
    s[0] = 0;
    if (r->key.bytes != 24 && r->key.bytes != 48)
        return;
    uint64_t vlans = r->key.word[r->key.bytes / 8 - 1];
    for (uint64_t left = vlans >> KEY_VLAN_COUNT_SHIFT; left > 0; left--, vlans >>= KEY_VLAN_ID_BITS)
        n += (size_t)snprintf(s + n, size - n, "%s%u", n ? ";" : "", (unsigned)vlans & 0xfff);
}

/* ---- Comparing ------------------------------------------------------------------------------------------------------------- */

static struct parse_rules with_tunnels, without_tunnels;
static unsigned used[N_DIFFERENCES], n_unexplained, n_compared[CAPTURE_N_FIELDS];

static void compare(const struct capture_row *row, enum capture_field field, const char *want, const char *got)
{
    n_compared[field]++;
    if (strcmp(want, got) == 0)
        return;
    for (size_t i = 0; i < N_DIFFERENCES; i++) {
        const struct difference *d = &differences[i];
        if (d->fields >> field & 1 && row->frame >= d->first && row->frame <= d->last && strcmp(d->file, row->file) == 0) {
            used[i]++;
            return;
        }
    }
    fprintf(stderr, "%s, frame %u, %s: \"%s\", not \"%s\"\n", row->file, row->frame, field_name[field], got, want);
    n_unexplained++;
}

/* The key of the packet itself where the parser prefers the one that an ICMP error quotes: cut until the quote cannot be read. */
static void parse_without_quote(struct flowq_pkt pkt, const struct parse_rules *rules, struct parse_result *r)
{
    parse_packet(&pkt, rules, r);
    while (r->kind == PARSE_QUOTE || r->kind == PARSE_QUOTE_LATER) {
        pkt.len--;
        parse_packet(&pkt, rules, r);
    }
}

static void compare_packet(void *ctx, const struct capture_packet *packet)
{
    const struct capture_row *row = packet->row;
    const struct flowq_pkt pkt = {.data = packet->data, .len = packet->len, .flags = packet->flags};
    char want[2 * CAPTURE_FIELD], got[2 * CAPTURE_FIELD];
    struct parse_result r;
    (void)ctx;

    parse_packet(&pkt, &without_tunnels, &r);
    if (r.kind == PARSE_QUOTE || r.kind == PARSE_QUOTE_LATER)
        write_tuple(got, sizeof(got), &r);
    else
        got[0] = 0;
    write_expected_tuple(want, sizeof(want), row->field[CAPTURE_QUOTED], false);
    compare(row, CAPTURE_QUOTED, want, got);

    parse_without_quote(pkt, &without_tunnels, &r);
    write_fragment_tuple(got, sizeof(got), &r);
    write_expected_tuple(want, sizeof(want), row->field[CAPTURE_OUTER], true);
    if (!row->disputed[CAPTURE_OUTER])
        compare(row, CAPTURE_OUTER, want, got);
    write_vlans(got, sizeof(got), &r);
    if (r.kind != PARSE_KEYLESS && r.kind != PARSE_SPREAD &&
        key_l4(&r.key).protocol != 47) /* tshark's list holds those of frames within GRE too */
        compare(row, CAPTURE_VLANS, row->field[CAPTURE_VLANS], got);

    parse_without_quote(pkt, &with_tunnels, &r);
    write_fragment_tuple(got, sizeof(got), &r);
    write_expected_tuple(want, sizeof(want), row->field[CAPTURE_INNER], true);
    if (!row->disputed[CAPTURE_INNER])
        compare(row, CAPTURE_INNER, want, got);
    if (r.kind == PARSE_FLOW && key_l4(&r.key).protocol == 6) {
        unsigned flags = (unsigned)strtoul(row->field[CAPTURE_TCP], NULL, 16);
        snprintf(want, sizeof(want), "%s%s%s", flags & 2 ? "syn " : "", flags & 1 ? "fin " : "", flags & 4 ? "rst" : "");
        snprintf(got, sizeof(got), "%s%s%s", r.flags & PARSE_SYN ? "syn " : "", r.flags & PARSE_FIN ? "fin " : "",
                 r.flags & PARSE_RST ? "rst" : "");
        compare(row, CAPTURE_TCP, want, got);
    }
}

static struct captures captures;
static const char *folder;

START_TEST(test_expected)
{
    ck_assert(captures_each(&captures, folder, compare_packet, NULL));
    printf("%zu packets compared (%u outer, %u inner tuples), %zu of other link types skipped\n", captures.n_packets,
           n_compared[CAPTURE_OUTER], n_compared[CAPTURE_INNER], captures.n_skipped);
    fflush(stdout);
    ck_assert_msg(n_unexplained == 0, "%u unexplained differences", n_unexplained);
    for (size_t i = 0; i < N_DIFFERENCES; i++) {
        const struct difference *d = &differences[i];
        unsigned n_fields = (d->fields & OUTER ? 1 : 0) + (d->fields & INNER ? 1 : 0);
        ck_assert_msg(used[i] == n_fields * (d->last - d->first + 1), "%s, from frame %u on: differs no more", d->file, d->first);
    }
}
END_TEST

/* ---- Cutting --------------------------------------------------------------------------------------------------------------- */

/* Parses the first len bytes, in a place of their own that ends there; says whether the model agrees. */
static bool cut_agrees(const struct capture_packet *packet, uint32_t len, const struct parse_rules *rules)
{
    struct parse_result r, model;
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy)
        return false;
    memcpy(copy, packet->data, len);
    struct flowq_pkt pkt = {.data = copy, .len = len, .flags = packet->flags};
    parse_packet(&pkt, rules, &r);
    model_parse(&pkt, rules, &model);
    bool equal = parse_result_equal(&r, &model);
    if (equal && len > PARSE_MAX_BYTES) { /* what lies beyond the window does not matter */
        memset(copy + PARSE_MAX_BYTES, 0x5a, len - PARSE_MAX_BYTES);
        parse_packet(&pkt, rules, &r);
        equal = parse_result_equal(&r, &model);
    }
    free(copy);
    return equal;
}

static unsigned n_disagreed;

static void cut_packet(void *ctx, const struct capture_packet *packet)
{
    (void)ctx;
    for (uint32_t len = 0; len <= packet->len; len++) {
        if (!cut_agrees(packet, len, &with_tunnels) || (len % 8 == 0 && !cut_agrees(packet, len, &without_tunnels))) {
            fprintf(stderr, "%s, frame %u, cut to %u bytes: not what the model says\n", packet->row->file, packet->row->frame,
                    len);
            n_disagreed++;
        }
        if (len > PARSE_MAX_BYTES + 8 && len < packet->len) /* more of the same */
            len = packet->len - 1;
    }
}

START_TEST(test_every_cut)
{
    ck_assert(captures_each(&captures, folder, cut_packet, NULL));
    ck_assert_uint_eq(n_disagreed, 0);
}
END_TEST

int main(void)
{
    folder = getenv("FLOWQ_CAPTURES");
    if (!folder || !*folder) {
        printf("skipped: FLOWQ_CAPTURES does not name the folder of captures\n");
        return 77;
    }
    if (!captures_load(&captures, folder))
        return 1;
    with_tunnels = without_tunnels = parse_rules_default();
    without_tunnels.tunnels = 0;
    without_tunnels.udp_filter = 0;
    without_tunnels.key_vlan = true;

    Suite *s = suite_create("expected");
    TCase *t = tcase_create("captures");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, test_expected);
    tcase_add_test(t, test_every_cut);
    suite_add_tcase(s, t);
    int status = suite_run(s);
    captures_free(&captures);
    return status;
}
