/*
 * ctrlqueue: plays the control queue of a virtio network device from a script.
 *
 *     ctrlqueue [script]
 *
 * The guest's half turns each line into the bytes that a driver would put into the control queue; the device's half,
 * device_command(), is what a device model does with them. Between commands, packets show what has come of it. See
 * ctrlqueue.script.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <flowq.h>

#define MAX_PAIRS 8
#define MAX_TABLE 128

static struct flowq_vm *vm;
static struct flowq_vm_config config = {.size = sizeof(config), .max_queue_pairs = MAX_PAIRS};

/* ---- The device ---------------------------------------------------------------------------------------------------------- */

/* out: what the driver wrote, in as many pieces as it liked. Returns what goes into ack. */
static uint8_t device_command(const struct iovec *out, size_t n)
{
    struct iovec rest[8];
    uint8_t head[2]; /* class, command */
    if (n == 0 || n > 8 || out[0].iov_len < sizeof(head))
        return FLOWQ_CTRL_ERR;
    memcpy(head, out[0].iov_base, sizeof(head));
    memcpy(rest, out, n * sizeof(*out));
    rest[0].iov_base = (char *)out[0].iov_base + sizeof(head);
    rest[0].iov_len -= sizeof(head);
    /* Other classes (receive modes, MAC addresses, VLANs) would be looked at here. */
    uint8_t ack = flowq_vm_ctrl(vm, head[0], head[1], rest, n);
    flowq_synchronize(); /* no thread acts on an older answer any more: now the guest may know */
    return ack;
}

/* The driver has accepted these features. */
static void device_features(uint64_t features)
{
    if (flowq_vm_set_features(vm, features) != 0)
        errx(1, "flowq_vm_set_features");
}

static void device_reset(void) { flowq_vm_reset(vm, FLOWQ_RESET_FLOWS | FLOWQ_RESET_QUEUES | FLOWQ_RESET_CONFIG); }

/* A packet to the guest, with a header of 20 bytes before it. */
static void device_receive(const struct flowq_pkt *pkt)
{
    struct flowq_decision d;
    uint8_t hdr[20] = {0};
    flowq_rx_decide_burst(vm, pkt, 1, &d);
    flowq_hdr_set_hash(hdr, sizeof(hdr), &d);
    if (d.qid == FLOWQ_DROP)
        printf("dropped");
    else
        printf("receiveq%u (%s)", d.qid + 1u, flowq_reason_name(d.reason));
    printf(", header ...");
    for (unsigned i = 12; i < sizeof(hdr); i++)
        printf(" %02x", hdr[i]);
    printf("\n");
}

/* ---- The guest: bytes of a command --------------------------------------------------------------------------------------- */

static uint8_t bytes[1024];
static size_t n_bytes;

static void put(uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        bytes[n_bytes++] = (uint8_t)(value >> 8 * i); /* little-endian */
}

static void put_command(uint8_t cls, uint8_t cmd)
{
    n_bytes = 0;
    put(cls, 1);
    put(cmd, 1);
}

static void send_command(void)
{
    const struct iovec out = {.iov_base = bytes, .iov_len = n_bytes};
    printf("%s\n", device_command(&out, 1) == FLOWQ_CTRL_OK ? "VIRTIO_NET_OK" : "VIRTIO_NET_ERR");
}

/* The key that Microsoft publishes for verification. */
static const char default_key[] = "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa";

static void put_key(const char *hex)
{
    size_t digits = strspn(hex, "0123456789abcdef");
    if (digits > 2 * 255)
        errx(1, "the key is too long");
    put(digits / 2, 1);
    for (size_t i = 0; i + 1 < digits; i += 2) {
        const char pair[3] = {hex[i], hex[i + 1], 0};
        put(strtoul(pair, NULL, 16), 1);
    }
}

/* ---- Lines --------------------------------------------------------------------------------------------------------------- */

struct word {
    const char *name;
    uint64_t value;
};

static const struct word features[] = {
    {"mq", FLOWQ_VIRTIO_F_MQ},
    {"rss", FLOWQ_VIRTIO_F_RSS},
    {"hash-report", FLOWQ_VIRTIO_F_HASH_REPORT},
    {"hash-tunnel", FLOWQ_VIRTIO_F_HASH_TUNNEL},
    {NULL, 0},
};
static const struct word hash_types[] = {
    {"ipv4", FLOWQ_HASH_TYPE_IPV4},
    {"tcpv4", FLOWQ_HASH_TYPE_TCPV4},
    {"udpv4", FLOWQ_HASH_TYPE_UDPV4},
    {"ipv6", FLOWQ_HASH_TYPE_IPV6},
    {"tcpv6", FLOWQ_HASH_TYPE_TCPV6},
    {"udpv6", FLOWQ_HASH_TYPE_UDPV6},
    {"ip-ex", FLOWQ_HASH_TYPE_IP_EX},
    {"tcp-ex", FLOWQ_HASH_TYPE_TCP_EX},
    {"udp-ex", FLOWQ_HASH_TYPE_UDP_EX},
    {"all", FLOWQ_HASH_TYPE_ALL},
    {"none", 0},
    {NULL, 0},
};
static const struct word tunnels[] = {
    {"vxlan", FLOWQ_HASH_TUNNEL_VXLAN},
    {"geneve", FLOWQ_HASH_TUNNEL_GENEVE},
    {"ipip", FLOWQ_HASH_TUNNEL_IPIP},
    {"all", FLOWQ_HASH_TUNNEL_ALL},
    {"none", 0},
    {NULL, 0},
};

/* Values of the words, or'ed: as many as there are known ones from the next token on, or separated by commas in `list`. */
static uint64_t value_of(const struct word *known, const char *name)
{
    for (; known->name; known++)
        if (strcmp(known->name, name) == 0)
            return known->value;
    errx(1, "unknown word: %s", name);
}

static uint64_t values_of(const struct word *known, const char *list)
{
    char name[32];
    uint64_t all = 0;
    int used;
    for (; sscanf(list, "%31[^,]%n", name, &used) == 1; list += used + (list[used] == ',')) {
        all |= value_of(known, name);
        if (list[used] == 0)
            break;
    }
    return all;
}

/* The value of `name=` in the line, up to the next blank; or what stands for it. */
static const char *option(const char *line, const char *name, const char *preset)
{
    static char value[4][640];
    static unsigned next;
    char *to = value[next++ % 4];
    const char *at = strstr(line, name);
    if (!at || sscanf(at + strlen(name), "%639s", to) != 1)
        snprintf(to, sizeof(value[0]), "%s", preset);
    return to;
}

/* rss types=... table=0,1,... unclassified=0 max-tx=n key=hex: the table is repeated to 128 entries. */
static void line_rss(const char *line)
{
    unsigned queue[MAX_TABLE], n = 0;
    const char *list = option(line, "table=", "0");
    for (char *end; *list && n < MAX_TABLE; list = *end == ',' ? end + 1 : end) {
        queue[n++] = (unsigned)strtoul(list, &end, 10);
        if (end == list)
            errx(1, "a table is numbers and commas: %s", line);
    }
    put_command(FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_RSS_CONFIG);
    put(values_of(hash_types, option(line, "types=", "all")), 4);
    put(MAX_TABLE - 1, 2);
    put(strtoul(option(line, "unclassified=", "0"), NULL, 10), 2);
    for (unsigned i = 0; i < MAX_TABLE; i++)
        put(queue[i % n], 2);
    put(strtoul(option(line, "max-tx=", "1"), NULL, 10), 2);
    put_key(option(line, "key=", default_key));
    send_command();
}

/* hash types=... key=hex */
static void line_hash(const char *line)
{
    put_command(FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_HASH_CONFIG);
    put(values_of(hash_types, option(line, "types=", "all")), 4);
    put(0, 8);
    put_key(option(line, "key=", default_key));
    send_command();
}

/* TCP, IPv4: source port destination port. */
static struct flowq_pkt packet(const char *line)
{
    static uint8_t frame[54] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6};
    char src[16], dst[16];
    unsigned sport, dport;
    if (sscanf(line, "%15s %u %15s %u", src, &sport, dst, &dport) != 4 || inet_pton(AF_INET, src, frame + 26) != 1 ||
        inet_pton(AF_INET, dst, frame + 30) != 1)
        errx(1, "a packet is: source port destination port: %s", line);
    const uint16_t ports[2] = {htons((uint16_t)sport), htons((uint16_t)dport)};
    memcpy(frame + 34, ports, sizeof(ports));
    frame[46] = 0x50;
    frame[47] = 0x10; /* ACK */
    return (struct flowq_pkt){.data = frame, .len = sizeof(frame)};
}

static void do_line(const char *line)
{
    char verb[32];
    int used = 0;
    if (sscanf(line, "%31s %n", verb, &used) != 1 || verb[0] == '#')
        return;
    const char *rest = line + used;
    printf("%s: ", line);
    if (strcmp(verb, "features") == 0) {
        device_features(values_of(features, rest) | FLOWQ_VIRTIO_F_VERSION_1);
        printf("negotiated\n");
    } else if (strcmp(verb, "reset") == 0) {
        device_reset();
        printf("done\n");
    } else if (strcmp(verb, "pairs") == 0) {
        put_command(FLOWQ_CTRL_MQ, FLOWQ_CTRL_MQ_VQ_PAIRS_SET);
        put(strtoul(rest, NULL, 10), 2);
        send_command();
    } else if (strcmp(verb, "rss") == 0) {
        line_rss(line);
    } else if (strcmp(verb, "hash") == 0) {
        line_hash(line);
    } else if (strcmp(verb, "tunnels") == 0) {
        put_command(FLOWQ_CTRL_HASH_TUNNEL, FLOWQ_CTRL_HASH_TUNNEL_SET);
        put(values_of(tunnels, rest), 4);
        send_command();
    } else if (strcmp(verb, "receive") == 0) {
        struct flowq_pkt pkt = packet(rest);
        device_receive(&pkt);
    } else if (strcmp(verb, "transmit") == 0) { /* transmit queue, and a packet */
        char *end;
        unsigned long qid = strtoul(rest, &end, 10) - 1;
        struct flowq_pkt pkt = packet(end);
        printf("%s\n", flowq_note_name(flowq_tx_note(vm, &pkt, (uint32_t)qid)));
    } else {
        errx(1, "unknown verb: %s", verb);
    }
}

int main(int argc, char **argv)
{
    char line[2048];
    FILE *script = argc > 1 ? fopen(argv[1], "r") : stdin;
    if (!script)
        err(1, "%s", argv[1]);
    if (flowq_vm_create(&config, &vm) != 0)
        errx(1, "flowq_vm_create");
    while (fgets(line, sizeof(line), script)) {
        line[strcspn(line, "\n")] = 0;
        do_line(line);
    }
    flowq_vm_destroy(vm);
    return 0;
}
