/* SPDX-License-Identifier: BSD-2-Clause */
/* flowq.h of version 0.9 without its comments, for check_old_caller. Made by make abi-dump. */
/* clang-format off */
#ifndef FLOWQ_H
#define FLOWQ_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#define FLOWQ_NARROW_ __attribute__((__packed__))
#define FLOWQ_WIDE_ __extension__
#else
#define FLOWQ_NARROW_
#define FLOWQ_WIDE_
#endif
#define FLOWQ_VERSION_MAJOR 0
#define FLOWQ_VERSION_MINOR 9
#define FLOWQ_VERSION_PATCH 0
#define FLOWQ_VERSION (FLOWQ_VERSION_MAJOR << 16 | FLOWQ_VERSION_MINOR << 8 | FLOWQ_VERSION_PATCH)
enum flowq_limit {
    FLOWQ_MAX_QUEUE_PAIRS = 0x8000,
    FLOWQ_HEADER_MAX = 256,
    FLOWQ_SECRET_SIZE = 32,
    FLOWQ_NAME_SIZE = 32,
    FLOWQ_MAX_VLANS = 4
};
enum flowq_queue {
    FLOWQ_DROP = 0xffff
} FLOWQ_NARROW_;
FLOWQ_WIDE_ enum flowq_switch {
    FLOWQ_ON = 1,
    FLOWQ_OFF = 0xffffffff
};
struct flowq_vm;
FLOWQ_WIDE_ enum flowq_tunnel {
    FLOWQ_TUNNEL_IPIP = 1 << 0,
    FLOWQ_TUNNEL_6IN4 = 1 << 1,
    FLOWQ_TUNNEL_4IN6 = 1 << 2,
    FLOWQ_TUNNEL_6IN6 = 1 << 3,
    FLOWQ_TUNNEL_GRE_2784 = 1 << 4,
    FLOWQ_TUNNEL_GRE_2890 = 1 << 5,
    FLOWQ_TUNNEL_GRE_7676 = 1 << 6,
    FLOWQ_TUNNEL_NVGRE = 1 << 7,
    FLOWQ_TUNNEL_GRE_UDP = 1 << 8,
    FLOWQ_TUNNEL_VXLAN = 1 << 9,
    FLOWQ_TUNNEL_VXLAN_GPE = 1 << 10,
    FLOWQ_TUNNEL_GENEVE = 1 << 11,
    FLOWQ_TUNNEL_GTPU = 1 << 12,
    FLOWQ_TUNNEL_GUE = 1 << 13,
    FLOWQ_TUNNEL_MPLS_UDP = 1 << 14,
    FLOWQ_TUNNEL_MPLS_GRE = 1 << 15,
    FLOWQ_TUNNEL_WCCP = 1 << 16,
    FLOWQ_TUNNEL_ERSPAN = 1 << 17,
    FLOWQ_TUNNEL_ALL = 0x7fffffff,
    FLOWQ_TUNNEL_NONE = 0xffffffff
};
enum flowq_log_level { FLOWQ_LOG_ERROR = 0, FLOWQ_LOG_WARNING = 1, FLOWQ_LOG_INFO = 2 };
struct flowq_vm_config {
    uint32_t size;
    uint32_t max_queue_pairs;
    uint32_t max_flows;
    uint32_t initial_flows;
    uint32_t no_learn;
    uint32_t key_vlan;
    uint32_t tunnels;
    uint32_t fragments;
    uint16_t vxlan_port;
    uint16_t vxlan_linux_port;
    uint16_t vxlan_gpe_port;
    uint16_t geneve_port;
    uint16_t gtpu_port;
    uint16_t gre_udp_port;
    uint32_t rebind_min_tcp_us;
    uint32_t rebind_min_other_us;
    uint32_t active_ms;
    uint32_t idle_ms;
    uint32_t queue_stats;
    uint32_t numa_node;
    uint32_t reserved;
    uint8_t secret[FLOWQ_SECRET_SIZE];
    void *(*alloc)(void *ctx, size_t size, size_t align, int32_t node);
    void (*free)(void *ctx, void *ptr, size_t size);
    void *alloc_ctx;
    uint64_t (*clock_ns)(void *ctx);
    void *clock_ctx;
    uint64_t clock_resolution_ns;
    void (*log)(void *ctx, int32_t level, const char *message);
    void *log_ctx;
    const char *name;
    uint64_t virtio_features;
    uint32_t virtio_hash_types;
    uint32_t virtio_hash_tunnels;
    uint32_t virtio_max_key;
    uint32_t virtio_max_table;
    uint32_t virtio_big_endian;
    uint32_t virtio_reserved;
    uint32_t key_vni;
    uint16_t gue_port;
    uint16_t mpls_udp_port;
    uint16_t vlan_tpid;
    uint16_t key_reserved;
    uint32_t key_reserved2;
    uint32_t ordered;
    uint32_t ordered_max_us;
    uint32_t
        ordered_settle_us;
    uint32_t ordered_flows;
};
int flowq_vm_create(const struct flowq_vm_config *cfg, struct flowq_vm **out);
void flowq_vm_destroy(struct flowq_vm *vm);
int flowq_vm_configure(struct flowq_vm *vm, const struct flowq_vm_config *cfg);
enum flowq_reset {
    FLOWQ_RESET_FLOWS = 1 << 0,
    FLOWQ_RESET_QUEUES = 1 << 1,
    FLOWQ_RESET_CONFIG = 1 << 2
};
int flowq_vm_reset(struct flowq_vm *vm, uint32_t what);
void flowq_vm_maintain(struct flowq_vm *vm);
int flowq_thread_register(void);
int flowq_enter(void);
void flowq_leave(void);
int flowq_synchronize(void);
enum flowq_pkt_flag {
    FLOWQ_PKT_L3 = 1 << 0
};
struct flowq_pkt {
    const void *data;
    uint32_t len;
    uint32_t flags;
#if UINTPTR_MAX == 0xffffffffu
    uint32_t pad_;
#endif
};
size_t flowq_gather(struct flowq_pkt *pkt, const struct iovec *iov, size_t iovcnt, size_t skip, void *scratch, size_t size);
enum flowq_note {
    FLOWQ_NOTE_BOUND = 0,
    FLOWQ_NOTE_REFRESHED = 1,
    FLOWQ_NOTE_MOVED = 2,
    FLOWQ_NOTE_SUPPRESSED = 3,
    FLOWQ_NOTE_IMPLIED = 4,
    FLOWQ_NOTE_REFUSED = 5,
    FLOWQ_NOTE_BUSY = 6,
    FLOWQ_NOTE_NOT_IN_USE = 7,
    FLOWQ_NOTE_SINGLE = 8,
    FLOWQ_NOTE_OFF = 9,
    FLOWQ_NOTE_KEYLESS = 10,
    FLOWQ_NOTE_MULTICAST = 11,
    FLOWQ_NOTE_FRAGMENT = 12,
    FLOWQ_NOTE_ICMP_ERROR = 13,
    FLOWQ_NOTE_RESET = 14,
    FLOWQ_NOTE_UNREGISTERED = 15
};
enum flowq_note_parts {
    FLOWQ_NOTE_OUTCOME = 0x7fff,
    FLOWQ_NOTE_PENDING = 0x8000,
    FLOWQ_NOTE_FROM_SHIFT = 16
};
uint32_t flowq_tx_note(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid);
void flowq_tx_note_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid);
enum flowq_reason {
    FLOWQ_REASON_BOUND = 0,
    FLOWQ_REASON_FALLBACK = 1,
    FLOWQ_REASON_FRAGMENT = 2,
    FLOWQ_REASON_ICMP_ERROR = 3,
    FLOWQ_REASON_KEYLESS = 4,
    FLOWQ_REASON_SINGLE = 5,
    FLOWQ_REASON_DROP = 6,
    FLOWQ_REASON_RSS = 7
} FLOWQ_NARROW_;
struct flowq_decision {
    uint16_t qid;
    uint8_t reason;
    uint8_t hash_report;
    uint32_t hash_value;
    uint64_t reserved;
};
uint16_t flowq_rx_steer(struct flowq_vm *vm, const struct flowq_pkt *pkt);
void flowq_rx_steer_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids);
void flowq_rx_decide_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out);
void flowq_rx_steer_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, uint16_t *qids);
void flowq_rx_decide_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out);
struct flowq_run {
    uint16_t qid;
    uint16_t first;
    uint16_t count;
    uint16_t reserved;
};
size_t flowq_group(const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs, size_t max_runs);
size_t flowq_group_vms(struct flowq_vm *const *vms, const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs,
                       size_t max_runs);
int flowq_vm_set_queue_pairs(struct flowq_vm *vm, uint32_t n);
FLOWQ_WIDE_ enum flowq_all_queues { FLOWQ_ALL_QUEUES = 0xffffffff };
int flowq_vm_set_queue_enabled(struct flowq_vm *vm, uint32_t qid, bool on);
int flowq_vm_set_queue_resetting(struct flowq_vm *vm, uint32_t qid, bool on);
int flowq_vm_ring_report(struct flowq_vm *vm, uint32_t qid, uint32_t filled, uint32_t taken);
int flowq_vm_ring_restart(struct flowq_vm *vm, uint32_t qid, uint32_t position);
FLOWQ_WIDE_ enum flowq_virtio_feature {
    FLOWQ_VIRTIO_F_MQ = 0x400000,
    FLOWQ_VIRTIO_F_VERSION_1 = 0x100000000,
    FLOWQ_VIRTIO_F_HASH_TUNNEL = 0x8000000000000,
    FLOWQ_VIRTIO_F_HASH_REPORT = 0x200000000000000,
    FLOWQ_VIRTIO_F_RSS = 0x1000000000000000
};
enum flowq_ctrl_class { FLOWQ_CTRL_MQ = 4, FLOWQ_CTRL_HASH_TUNNEL = 7 } FLOWQ_NARROW_;
enum flowq_ctrl_command {
    FLOWQ_CTRL_MQ_VQ_PAIRS_SET = 0,
    FLOWQ_CTRL_MQ_RSS_CONFIG = 1,
    FLOWQ_CTRL_MQ_HASH_CONFIG = 2,
    FLOWQ_CTRL_HASH_TUNNEL_SET = 0
} FLOWQ_NARROW_;
enum flowq_ctrl_ack { FLOWQ_CTRL_OK = 0, FLOWQ_CTRL_ERR = 1 } FLOWQ_NARROW_;
enum flowq_hash_type {
    FLOWQ_HASH_TYPE_IPV4 = 1 << 0,
    FLOWQ_HASH_TYPE_TCPV4 = 1 << 1,
    FLOWQ_HASH_TYPE_UDPV4 = 1 << 2,
    FLOWQ_HASH_TYPE_IPV6 = 1 << 3,
    FLOWQ_HASH_TYPE_TCPV6 = 1 << 4,
    FLOWQ_HASH_TYPE_UDPV6 = 1 << 5,
    FLOWQ_HASH_TYPE_IP_EX = 1 << 6,
    FLOWQ_HASH_TYPE_TCP_EX = 1 << 7,
    FLOWQ_HASH_TYPE_UDP_EX = 1 << 8,
    FLOWQ_HASH_TYPE_ALL = (1 << 9) - 1
};
enum flowq_hash_report {
    FLOWQ_HASH_REPORT_NONE = 0,
    FLOWQ_HASH_REPORT_IPV4 = 1,
    FLOWQ_HASH_REPORT_TCPV4 = 2,
    FLOWQ_HASH_REPORT_UDPV4 = 3,
    FLOWQ_HASH_REPORT_IPV6 = 4,
    FLOWQ_HASH_REPORT_TCPV6 = 5,
    FLOWQ_HASH_REPORT_UDPV6 = 6,
    FLOWQ_HASH_REPORT_IPV6_EX = 7,
    FLOWQ_HASH_REPORT_TCPV6_EX = 8,
    FLOWQ_HASH_REPORT_UDPV6_EX = 9
} FLOWQ_NARROW_;
enum flowq_hash_tunnel {
    FLOWQ_HASH_TUNNEL_GRE_2784 = 1 << 0,
    FLOWQ_HASH_TUNNEL_GRE_2890 = 1 << 1,
    FLOWQ_HASH_TUNNEL_GRE_7676 = 1 << 2,
    FLOWQ_HASH_TUNNEL_GRE_UDP = 1 << 3,
    FLOWQ_HASH_TUNNEL_VXLAN = 1 << 4,
    FLOWQ_HASH_TUNNEL_VXLAN_GPE = 1 << 5,
    FLOWQ_HASH_TUNNEL_GENEVE = 1 << 6,
    FLOWQ_HASH_TUNNEL_IPIP = 1 << 7,
    FLOWQ_HASH_TUNNEL_NVGRE = 1 << 8,
    FLOWQ_HASH_TUNNEL_ALL = (1 << 9) - 1
};
struct flowq_virtio_caps {
    uint32_t size;
    uint32_t max_queue_pairs;
    uint64_t features;
    uint32_t hash_types;
    uint32_t hash_tunnels;
    uint32_t max_key;
    uint32_t max_table;
};
int flowq_vm_virtio_caps(struct flowq_vm *vm, struct flowq_virtio_caps *out);
int flowq_vm_set_features(struct flowq_vm *vm, uint64_t features);
uint8_t flowq_vm_ctrl(struct flowq_vm *vm, uint8_t cls, uint8_t cmd, const struct iovec *iov, size_t iovcnt);
struct flowq_rss {
    uint32_t size;
    uint32_t hash_types;
    const uint16_t *table;
    const void *key;
    uint32_t table_length;
    uint32_t key_length;
    uint16_t unclassified;
    uint16_t max_tx;
    uint32_t reserved;
};
int flowq_vm_set_rss(struct flowq_vm *vm, const struct flowq_rss *rss);
int flowq_vm_set_hash(struct flowq_vm *vm, uint32_t hash_types, const void *key, uint32_t key_length);
int flowq_vm_set_hash_tunnels(struct flowq_vm *vm, uint32_t types);
int flowq_hdr_set_hash(void *hdr, size_t size, const struct flowq_decision *decision);
struct flowq_tuple {
    uint8_t src[16];
    uint8_t dst[16];
    uint16_t sport;
    uint16_t dport;
    uint8_t version;
    uint8_t protocol;
    uint8_t n_vlans;
    uint8_t has_vni;
    uint16_t vlan[FLOWQ_MAX_VLANS];
    uint32_t vni;
    uint32_t reserved;
};
enum flowq_class {
    FLOWQ_CLASS_EMBRYONIC = 1,
    FLOWQ_CLASS_ESTABLISHED = 2,
    FLOWQ_CLASS_CLOSING = 3
} FLOWQ_NARROW_;
struct flowq_binding {
    uint32_t size;
    uint16_t qid;
    uint8_t cls;
    uint8_t in_use;
    uint64_t id;
    uint32_t age_ms;
    uint32_t reserved;
};
int flowq_vm_lookup(struct flowq_vm *vm, const struct flowq_tuple *tuple, struct flowq_binding *out);
int flowq_vm_flows(struct flowq_vm *vm, int (*fn)(void *ctx, const struct flowq_binding *binding), void *ctx);
enum flowq_layer_kind {
    FLOWQ_LAYER_ETHERNET = 1,
    FLOWQ_LAYER_VLAN = 2,
    FLOWQ_LAYER_LLC = 3,
    FLOWQ_LAYER_MPLS = 4,
    FLOWQ_LAYER_CONTROL_WORD = 5,
    FLOWQ_LAYER_PPPOE = 6,
    FLOWQ_LAYER_IPV4 = 7,
    FLOWQ_LAYER_IPV6 = 8,
    FLOWQ_LAYER_HOP_BY_HOP = 9,
    FLOWQ_LAYER_DEST_OPTIONS = 10,
    FLOWQ_LAYER_ROUTING = 11,
    FLOWQ_LAYER_FRAGMENT = 12,
    FLOWQ_LAYER_AH = 13,
    FLOWQ_LAYER_MOBILITY = 14,
    FLOWQ_LAYER_TCP = 15,
    FLOWQ_LAYER_UDP = 16,
    FLOWQ_LAYER_PORTS = 17,
    FLOWQ_LAYER_ICMP = 18,
    FLOWQ_LAYER_ICMP_OPTION = 19,
    FLOWQ_LAYER_GRE = 20,
    FLOWQ_LAYER_WCCP = 21,
    FLOWQ_LAYER_ERSPAN = 22,
    FLOWQ_LAYER_VXLAN = 23,
    FLOWQ_LAYER_VXLAN_GPE = 24,
    FLOWQ_LAYER_GENEVE = 25,
    FLOWQ_LAYER_GTPU = 26,
    FLOWQ_LAYER_GTPU_EXTENSION = 27,
    FLOWQ_LAYER_GUE = 28
} FLOWQ_NARROW_;
enum flowq_layer_flag {
    FLOWQ_LAYER_PASSED_OVER = 1 << 0,
    FLOWQ_LAYER_IN_TUNNEL = 1 << 1,
    FLOWQ_LAYER_IN_QUOTE = 1 << 2
};
struct flowq_layer {
    uint8_t kind;
    uint8_t flags;
    uint16_t offset;
    uint16_t length;
    uint16_t reserved;
    uint32_t value;
};
enum flowq_end {
    FLOWQ_END_KEY = 1,
    FLOWQ_END_CUT = 2,
    FLOWQ_END_WINDOW = 3,
    FLOWQ_END_MALFORMED = 4,
    FLOWQ_END_UNREAD = 5,
    FLOWQ_END_UNLIKE = 6,
    FLOWQ_END_LIMIT = 7,
    FLOWQ_END_FLAGS = 8
} FLOWQ_NARROW_;
enum flowq_key {
    FLOWQ_KEY_NONE = 0,
    FLOWQ_KEY_FLOW = 1,
    FLOWQ_KEY_LATER = 2,
    FLOWQ_KEY_QUOTE = 3,
    FLOWQ_KEY_QUOTE_LATER = 4,
    FLOWQ_KEY_LABELS = 5
} FLOWQ_NARROW_;
enum flowq_packet_flag {
    FLOWQ_PACKET_MULTICAST = 1 << 0,
    FLOWQ_PACKET_FIN = 1 << 1,
    FLOWQ_PACKET_SYN = 1 << 2,
    FLOWQ_PACKET_RST = 1 << 3,
    FLOWQ_PACKET_ICMP_ERROR = 1 << 4,
    FLOWQ_PACKET_WHOLE_KEY = 1 << 5,
    FLOWQ_PACKET_UNREAD_TUNNEL =
        1 << 6,
    FLOWQ_PACKET_FIRST = 1 << 7
};
enum flowq_direction {
    FLOWQ_DIRECTION_RX = 1,
    FLOWQ_DIRECTION_TX = 2
} FLOWQ_NARROW_;
enum flowq_layer_slots { FLOWQ_LAYER_SLOTS = 40 };
struct flowq_explanation {
    uint32_t size;
    uint8_t direction;
    uint8_t key;
    uint8_t flags;
    uint8_t end;
    uint16_t end_at;
    uint8_t n_layers;
    uint8_t has_tuple;
    uint32_t reserved;
    struct flowq_tuple
        tuple;
    uint64_t id;
    uint8_t bound;
    uint8_t bound_cls;
    uint8_t bound_in_use;
    uint8_t reserved8;
    uint16_t bound_qid;
    uint16_t fallback;
    uint32_t bound_age_ms;
    uint32_t note;
    uint32_t note_qid;
    uint32_t reserved32;
    struct flowq_decision decision;
    struct flowq_layer layer[FLOWQ_LAYER_SLOTS];
};
int flowq_rx_explain(struct flowq_vm *vm, const struct flowq_pkt *pkt, struct flowq_explanation *out);
int flowq_tx_explain(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid, struct flowq_explanation *out);
int64_t flowq_explanation_print(char *buffer, size_t size, const struct flowq_explanation *explanation);
enum flowq_slots {
    FLOWQ_NOTE_SLOTS = 32,
    FLOWQ_REASON_SLOTS = 16
};
struct flowq_stats {
    uint32_t size;
    uint32_t queue_pairs;
    uint32_t queues_in_use;
    uint32_t queues_noted;
    uint64_t note[FLOWQ_NOTE_SLOTS];
    uint64_t steer[FLOWQ_REASON_SLOTS];
    uint64_t inserted;
    uint64_t live;
    uint64_t displaced_embryonic;
    uint64_t displaced_closing;
    uint64_t displaced_established;
    uint64_t reclaimed;
    uint64_t forgotten;
    uint64_t bound_elsewhere;
    uint64_t grown;
    uint64_t shrunk;
    uint64_t grow_failed;
    uint64_t grow_delayed;
    uint64_t table_bytes;
    uint64_t retired_bytes;
    uint64_t vm_bytes;
    uint64_t rss_elsewhere;
    uint64_t loaded;
    uint64_t ordered_begun;
    uint64_t ordered_done;
    uint64_t ordered_back;
    uint64_t ordered_forced;
    uint64_t ordered_lapsed;
    uint64_t ordered_off;
    uint64_t ordered_full;
    uint64_t ordered_held;
    uint64_t ordered_pending;
};
int flowq_vm_stats(struct flowq_vm *vm, struct flowq_stats *out);
struct flowq_queue_stats {
    uint32_t size;
    uint32_t in_use;
    uint64_t noted;
    uint64_t steered;
};
int flowq_vm_queue_stats(struct flowq_vm *vm, uint32_t qid, struct flowq_queue_stats *out);
enum flowq_counter_kind {
    FLOWQ_COUNTER_TOTAL = 1,
    FLOWQ_COUNTER_GAUGE = 2
} FLOWQ_NARROW_;
struct flowq_counter {
    uint32_t size;
    uint8_t kind;
    uint8_t reserved[3];
    const char *name;
    const char *unit;
    const char *help;
    const char *label;
    const char *label_value;
    uint64_t value;
};
int flowq_vm_counters(struct flowq_vm *vm, int (*fn)(void *ctx, const struct flowq_counter *counter), void *ctx);
enum flowq_format {
    FLOWQ_FORMAT_PROMETHEUS = 1,
    FLOWQ_FORMAT_OPENMETRICS = 2,
    FLOWQ_FORMAT_JSON = 3
};
int64_t flowq_counters_print(char *buffer, size_t size, struct flowq_vm *const *vms, size_t n, uint32_t format);
int flowq_counters_write(int fd, struct flowq_vm *const *vms, size_t n, uint32_t format);
const char *flowq_note_name(uint32_t note);
const char *flowq_reason_name(uint32_t reason);
const char *flowq_class_name(uint32_t cls);
const char *flowq_layer_name(uint32_t kind);
const char *flowq_end_name(uint32_t end);
const char *flowq_key_name(uint32_t key);
uint32_t flowq_version(void);
const char *flowq_version_string(void);
enum flowq_state {
    FLOWQ_STATE_PAIRS = 1 << 0,
    FLOWQ_STATE_RINGS = 1 << 1,
    FLOWQ_STATE_FEATURES = 1 << 2,
    FLOWQ_STATE_HASH = 1 << 3,
    FLOWQ_STATE_TUNNELS = 1 << 4,
    FLOWQ_STATE_FLOWS = 1 << 5,
    FLOWQ_STATE_ALL = (1 << 6) - 1
};
FLOWQ_WIDE_ enum flowq_state_bytes { FLOWQ_STATE_UNLIMITED = 0xffffffffffffffff };
int flowq_vm_save(struct flowq_vm *vm, uint32_t what, uint64_t bindings_bytes,
                  int (*write)(void *ctx, const void *data, size_t size), void *ctx);
int flowq_vm_save_fd(struct flowq_vm *vm, uint32_t what, uint64_t bindings_bytes, int fd);
struct flowq_loaded {
    uint32_t size;
    uint32_t parts;
    uint64_t bindings;
    uint64_t other_keys;
    uint64_t other_queues;
    uint64_t no_room;
    uint64_t not_saved;
};
int flowq_vm_load(struct flowq_vm *vm, uint32_t what, int64_t (*read)(void *ctx, void *data, size_t size), void *ctx,
                  struct flowq_loaded *loaded);
int flowq_vm_load_fd(struct flowq_vm *vm, uint32_t what, int fd, struct flowq_loaded *loaded);
#ifdef FLOWQ_SHORT_NAMES
static inline uint32_t tx_note(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid)
{
    return flowq_tx_note(vm, pkt, qid);
}
static inline uint16_t rx_steer(struct flowq_vm *vm, const struct flowq_pkt *pkt) { return flowq_rx_steer(vm, pkt); }
static inline void tx_note_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid)
{
    flowq_tx_note_burst(vm, pkts, n, qid);
}
static inline void rx_steer_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids)
{
    flowq_rx_steer_burst(vm, pkts, n, qids);
}
#endif
#undef FLOWQ_NARROW_
#undef FLOWQ_WIDE_
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
