/*
 * Hashes of packets that other projects captured, calculated from what an independent dissector (tshark) says of each, bit by
 * bit, against those that a vm reports. Where they differ, the table below says why; a difference that is not in it fails, and so
 * does a line of it that is not needed any more.
 *
 * Skipped unless FLOWQ_CAPTURES names the folder.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "captures.h"
#include "naive.h"
#include "runner.h"

static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
                                0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
                                0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

#define WHY_JUMBO "length 0 and no jumbo option: a length is the buffer's here, so the ports are there"
#define WHY_NSH   "NSH is not among the types that are looked into"

static const struct difference {
    const char *file;
    unsigned first, last; /* frames */
    const char *why;
} differences[] = {
    {"tcpdump/bigtcp-ipv6.pcap", 1, 1, WHY_JUMBO},
    {"tcpdump/bigtcp-ipv6-geneve-ipv4.pcap", 1, 1, WHY_JUMBO},
    {"tcpdump/bigtcp-ipv6-geneve-ipv6.pcap", 1, 1, WHY_JUMBO},
    {"tcpdump/bigtcp-ipv6-vxlan-ipv4.pcap", 1, 1, WHY_JUMBO},
    {"tcpdump/bigtcp-ipv6-vxlan-ipv6.pcap", 1, 1, WHY_JUMBO},
    {"tcpdump/nsh.pcap", 1, 1, WHY_NSH},
};
#define N_DIFFERENCES (sizeof(differences) / sizeof(differences[0]))
static unsigned used[N_DIFFERENCES];

static struct flowq_vm *vm;
static unsigned n_unexplained, n_compared, n_ports;

/* tshark's outer tuple; false: there is none. A fragment has no ports here, as an atomic one (class 3) does. */
static bool read_tuple(const char *text, struct flowq_tuple *t, bool *ports)
{
    char copy[CAPTURE_FIELD], *part[9] = {0}, *rest = copy;
    snprintf(copy, sizeof(copy), "%s", text);
    for (unsigned i = 0; i < 9 && rest; i++)
        part[i] = strsep(&rest, "/");
    if (!part[7])
        return false;
    *t = (struct flowq_tuple){.version = (uint8_t)atoi(part[0]), .protocol = (uint8_t)atoi(part[1])};
    t->sport = (uint16_t)atoi(part[3]);
    t->dport = (uint16_t)atoi(part[5]);
    *ports = (t->protocol == 6 || t->protocol == 17) && (part[6][0] == '0' || part[6][0] == '3') && part[3][0] && part[5][0];
    int family = t->version == 6 ? AF_INET6 : AF_INET;
    return inet_pton(family, part[2], t->src) == 1 && inet_pton(family, part[4], t->dst) == 1;
}

static bool explained(const struct capture_row *row)
{
    for (size_t i = 0; i < N_DIFFERENCES; i++) {
        const struct difference *d = &differences[i];
        if (row->frame >= d->first && row->frame <= d->last && strcmp(d->file, row->file) == 0) {
            used[i]++;
            return true;
        }
    }
    return false;
}

static void compare_packet(void *ctx, const struct capture_packet *packet)
{
    const struct capture_row *row = packet->row;
    const struct flowq_pkt pkt = {.data = packet->data, .len = packet->len, .flags = packet->flags};
    struct flowq_tuple t;
    struct flowq_decision d;
    bool ports = false;
    uint8_t report = FLOWQ_HASH_REPORT_NONE;
    uint32_t value = 0;
    (void)ctx;
    if (row->disputed[CAPTURE_OUTER])
        return;
    if (read_tuple(row->field[CAPTURE_OUTER], &t, &ports)) {
        report =
            (uint8_t)((t.version == 4 ? FLOWQ_HASH_REPORT_IPV4 : FLOWQ_HASH_REPORT_IPV6) + (ports ? t.protocol == 6 ? 1 : 2 : 0));
        value = naive_hash_tuple(key, sizeof(key), &t, ports);
    }
    flowq_rx_decide_burst(vm, &pkt, 1, &d);
    n_compared++;
    n_ports += ports;
    if ((d.hash_report == report && d.hash_value == value) || explained(row))
        return;
    fprintf(stderr, "%s, frame %u: report %u, hash %08x, not %u, %08x (%s)\n", row->file, row->frame, d.hash_report, d.hash_value,
            report, value, row->field[CAPTURE_OUTER]);
    n_unexplained++;
}

static struct captures captures;
static const char *folder;

/* Without the types for extension headers: which addresses those have is not in the list. */
START_TEST(hashes)
{
    struct flowq_vm_config c = {.size = sizeof(c), .virtio_features = FLOWQ_VIRTIO_F_HASH_REPORT};
    ck_assert_int_eq(flowq_vm_create(&c, &vm), 0);
    ck_assert_int_eq(flowq_vm_set_hash(vm, 0x3f, key, sizeof(key)), 0);
    ck_assert(captures_each(&captures, folder, compare_packet, NULL));
    printf("%u packets compared, %u with ports; %zu of other link types skipped\n", n_compared, n_ports, captures.n_skipped);
    fflush(stdout);
    ck_assert_msg(n_unexplained == 0, "%u unexplained differences", n_unexplained);
    for (size_t i = 0; i < N_DIFFERENCES; i++)
        ck_assert_msg(used[i] == differences[i].last - differences[i].first + 1, "%s, from frame %u on: differs no more",
                      differences[i].file, differences[i].first);
    flowq_vm_destroy(vm);
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
    Suite *suite = suite_create("rss_expected");
    TCase *tcase = tcase_create("captures");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, hashes);
    suite_add_tcase(suite, tcase);
    int status = suite_run(suite);
    captures_free(&captures);
    return status;
}
