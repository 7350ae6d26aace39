/*
 * What a device model does with flowq beside its packets: what it offers, the guest's commands as typed calls (ctrlqueue.c hands
 * them over as bytes), a ring that is reset, settings that an operator changes, a timer, what the operator asks, its state, which
 * another process takes over, and how full its rings are, so that flows move in order. It prints what comes of each.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <flowq.h>

enum { PAIRS = 4, FLOWS = 6, VNET_HDR = 12, FRAME = 42, ETHERNET = 14, UDP = 34 };

static struct flowq_vm *vm;
static struct flowq_vm_config config = {.size = sizeof(config),
                                        .max_queue_pairs = PAIRS,
                                        .queue_stats = FLOWQ_ON,
                                        .name = "guest 1",
                                        .secret = "the same answers in each run..."};

/* Stops at the first call that fails. */
static void must(const char *call, int result)
{
    if (result < 0)
        errx(1, "%s: %s", call, strerror(-result));
}

/* UDP between the VM, 192.0.2.1 port 5000 + flow, and 192.0.2.9 port 53. */
static void make_frame(uint8_t frame[FRAME], unsigned flow, bool from_vm)
{
    const uint8_t ends[2][4] = {{192, 0, 2, 1}, {192, 0, 2, 9}}, ports[2][2] = {{19, (uint8_t)(136 + flow)}, {0, 53}};

    memcpy(frame, (const uint8_t[FRAME]){2, [6] = 2, [12] = 8, [14] = 0x45, [17] = 28, [22] = 64, [23] = 17, [39] = 8}, FRAME);
    for (unsigned i = 0; i < 2; i++) {
        memcpy(frame + ETHERNET + 12 + 4 * i, ends[from_vm ? i : !i], 4);
        memcpy(frame + UDP + 2 * i, ports[from_vm ? i : !i], 2);
    }
}

/* A descriptor chain of the transmit ring of pair q: the virtio-net header, and the frame in two pieces. */
static uint32_t send(unsigned flow, uint32_t q)
{
    uint8_t header[VNET_HDR] = {0}, frame[FRAME], scratch[FLOWQ_HEADER_MAX];
    const struct iovec chain[] = {{header, sizeof(header)}, {frame, 20}, {frame + 20, sizeof(frame) - 20}};
    struct flowq_pkt pkt;

    make_frame(frame, flow, true);
    flowq_gather(&pkt, chain, 3, sizeof(header), scratch, sizeof(scratch));
    return flowq_tx_note(vm, &pkt, q);
}

static void transmit(unsigned flow, uint32_t q)
{
    uint32_t note = send(flow, q);

    printf("  flow %u sent on %" PRIu32 ": %s", flow, q, flowq_note_name(note & FLOWQ_NOTE_OUTCOME));
    if (note & FLOWQ_NOTE_PENDING)
        printf(", and still steered to %" PRIu32, note >> FLOWQ_NOTE_FROM_SHIFT);
    printf("\n");
}

static void receive(const char *when)
{
    printf("%s:", when);
    for (unsigned flow = 0; flow < FLOWS; flow++) {
        uint8_t frame[FRAME];
        struct flowq_pkt pkt = {.data = frame, .len = FRAME};
        struct flowq_decision d;
        make_frame(frame, flow, false);
        flowq_rx_decide_burst(vm, &pkt, 1, &d);
        if (d.qid == FLOWQ_DROP)
            printf("  dropped");
        else
            printf("  %u %s%s", d.qid, flowq_reason_name(d.reason), d.hash_report != FLOWQ_HASH_REPORT_NONE ? ", hashed" : "");
    }
    printf("\n");
}

static void show_offer(void)
{
    struct flowq_virtio_caps caps = {.size = sizeof(caps)};

    must("flowq_vm_virtio_caps", flowq_vm_virtio_caps(vm, &caps));
    printf(
        "offered: %" PRIu32 " pairs, RSS %s, hash types 0x%" PRIx32 ", keys up to %" PRIu32 " bytes, tables up to %" PRIu32 "\n",
        caps.max_queue_pairs, caps.features & FLOWQ_VIRTIO_F_RSS ? "yes" : "no", caps.hash_types, caps.max_key, caps.max_table);
}

static int count_binding(void *counts, const struct flowq_binding *binding)
{
    ((unsigned *)counts)[binding->cls]++;
    return 0;
}

/* What an operator asks. */
static void show_flows(void)
{
    struct flowq_tuple tuple = {
        .version = 4, .protocol = 17, .src = {192, 0, 2, 9}, .sport = 53, .dst = {192, 0, 2, 1}, .dport = 5000};
    struct flowq_binding binding = {.size = sizeof(binding)};
    unsigned counts[4] = {0};

    must("flowq_vm_flows", flowq_vm_flows(vm, count_binding, counts));
    for (uint32_t cls = FLOWQ_CLASS_EMBRYONIC; cls <= FLOWQ_CLASS_CLOSING; cls++)
        printf("%s%u %s", cls > FLOWQ_CLASS_EMBRYONIC ? ", " : "bindings: ", counts[cls], flowq_class_name(cls));
    must("flowq_vm_lookup", flowq_vm_lookup(vm, &tuple, &binding));
    printf("; flow 0 is bound to %u\n", binding.qid);
    for (uint32_t q = 0; q < PAIRS; q++) {
        struct flowq_queue_stats stats = {.size = sizeof(stats)};
        must("flowq_vm_queue_stats", flowq_vm_queue_stats(vm, q, &stats));
        printf("queue %" PRIu32 ": %" PRIu64 " notes, %" PRIu64 " packets steered to it\n", q, stats.noted, stats.steered);
    }
}

/* The guest's driver: RSS that sends all to queue 3, and after it automatic steering again, with hashes reported. */
static void guest_commands(void)
{
    static const uint16_t table[128] = {[0 ... 127] = 3};
    static const uint8_t key[40] = "forty bytes that the guest's driver has";
    const struct flowq_rss rss = {.size = sizeof(rss),
                                  .hash_types = FLOWQ_HASH_TYPE_IPV4,
                                  .table = table,
                                  .table_length = 128,
                                  .key = key,
                                  .key_length = sizeof(key),
                                  .unclassified = 3,
                                  .max_tx = PAIRS};

    must("flowq_vm_set_features", flowq_vm_set_features(vm, FLOWQ_VIRTIO_F_VERSION_1 | FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS));
    must("flowq_vm_set_rss", flowq_vm_set_rss(vm, &rss));
    receive("the guest's table");
    must("flowq_vm_set_queue_pairs", flowq_vm_set_queue_pairs(vm, PAIRS));
    must("flowq_vm_set_features",
         flowq_vm_set_features(vm, FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_HASH_REPORT | FLOWQ_VIRTIO_F_HASH_TUNNEL));
    must("flowq_vm_set_hash", flowq_vm_set_hash(vm, FLOWQ_HASH_TYPE_UDPV4, key, sizeof(key)));
    must("flowq_vm_set_hash_tunnels", flowq_vm_set_hash_tunnels(vm, FLOWQ_HASH_TUNNEL_VXLAN));
    receive("automatic again");
}

/* A stream of the device's own, with flowq's in it. */
struct device_state {
    uint8_t bytes[8192];
    size_t n, at;
};

static int write_state(void *ctx, const void *data, size_t size)
{
    struct device_state *s = ctx;

    if (sizeof(s->bytes) - s->n < size)
        return -ENOSPC;
    memcpy(s->bytes + s->n, data, size);
    s->n += size;
    return 0;
}

static int64_t read_state(void *ctx, void *data, size_t size)
{
    struct device_state *s = ctx;
    size_t n = s->n - s->at < size ? s->n - s->at : size;

    memcpy(data, s->bytes + s->at, n);
    s->at += n;
    return (int64_t)n;
}

/* The guest moves to another host: the vm there is made with the same settings, and knows nothing yet. */
static void move_guest(void)
{
    static struct device_state state;
    struct flowq_loaded loaded = {.size = sizeof(loaded)};

    must("flowq_vm_save", flowq_vm_save(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, write_state, &state));
    flowq_vm_destroy(vm);
    memset(config.secret, 0, sizeof(config.secret));
    must("flowq_vm_create", flowq_vm_create(&config, &vm));
    must("flowq_vm_load", flowq_vm_load(vm, FLOWQ_STATE_ALL, read_state, &state, &loaded));
    printf("moved: %" PRIu64 " bindings\n", loaded.bindings);
}

/* The process starts anew; the file would have a name. */
static void restart(void)
{
    struct flowq_loaded loaded = {.size = sizeof(loaded)};
    FILE *file = tmpfile();

    if (file == NULL)
        err(1, "tmpfile");
    must("flowq_vm_save_fd", flowq_vm_save_fd(vm, FLOWQ_STATE_ALL, FLOWQ_STATE_UNLIMITED, fileno(file)));
    flowq_vm_destroy(vm);
    must("flowq_vm_create", flowq_vm_create(&config, &vm));
    if (lseek(fileno(file), 0, SEEK_SET) != 0)
        err(1, "lseek");
    must("flowq_vm_load_fd", flowq_vm_load_fd(vm, FLOWQ_STATE_ALL, fileno(file), &loaded));
    printf("restarted: %" PRIu64 " bindings\n", loaded.bindings);
    fclose(file);
}

/* The used and the available index of a receive ring, as far as the device and the guest have come. */
static void show_ring(uint32_t filled, uint32_t taken)
{
    uint8_t frame[FRAME];
    struct flowq_pkt pkt = {.data = frame, .len = FRAME};

    must("flowq_vm_ring_report", flowq_vm_ring_report(vm, 1, filled, taken));
    make_frame(frame, 0, false);
    printf("ring 1 filled to %" PRIu32 ", taken to %" PRIu32 ": flow 0 goes to %u\n", filled, taken, flowq_rx_steer(vm, &pkt));
}

/* No packet of a flow overtakes those that the guest has not taken from the old ring yet. */
static void move_in_order(void)
{
    config.no_learn = FLOWQ_OFF;
    config.ordered = FLOWQ_ON;
    must("flowq_vm_create", flowq_vm_create(&config, &vm));
    must("flowq_vm_set_queue_pairs", flowq_vm_set_queue_pairs(vm, PAIRS));
    must("flowq_vm_ring_restart", flowq_vm_ring_restart(vm, 1, 0)); /* whenever the guest's driver sets the ring up */
    for (unsigned i = 0; i < 2; i++)
        (void)send(0, 1);
    show_ring(0, 0);
    show_ring(8, 5);
    transmit(0, 2);
    show_ring(9, 5);
    show_ring(10, 10);
}

int main(void)
{
    if (flowq_version() < FLOWQ_VERSION)
        errx(1, "made for flowq %d.%d, and this is %s", FLOWQ_VERSION_MAJOR, FLOWQ_VERSION_MINOR, flowq_version_string());
    must("flowq_vm_create", flowq_vm_create(&config, &vm));
    show_offer();
    must("flowq_vm_set_queue_pairs", flowq_vm_set_queue_pairs(vm, PAIRS));
    for (unsigned i = 0; i < 2 * FLOWS; i++) /* twice: one packet of a flow on its fallback's queue says nothing new */
        transmit(i % FLOWS, i % FLOWS % PAIRS);
    receive("as sent");
    show_flows();

    must("flowq_vm_set_queue_resetting", flowq_vm_set_queue_resetting(vm, 1, true)); /* VIRTIO_F_RING_RESET */
    flowq_synchronize(); /* no thread acts on an older answer any more: now the driver may know */
    receive("queue 1 reset");
    must("flowq_vm_set_queue_resetting", flowq_vm_set_queue_resetting(vm, 1, false));
    guest_commands();

    config.no_learn = FLOWQ_ON; /* an operator's wish; what is learned stays */
    must("flowq_vm_configure", flowq_vm_configure(vm, &config));
    transmit(0, 2);
    flowq_vm_maintain(vm); /* a timer, about once a second */
    receive("not learning");
    move_guest();
    receive("after the move");
    restart();
    receive("after the restart");
    flowq_vm_destroy(vm);
    move_in_order();
    flowq_vm_destroy(vm);
    return 0;
}
