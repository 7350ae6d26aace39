/* SPDX-License-Identifier: BSD-2-Clause */
/* The public header alone, before any other. check_header.sh compiles this as C and as C++, in several ways. */
#ifdef INSIDE_EXTERN_C
extern "C" {
#endif
#include <flowq.h>
#include <flowq.h> /* twice does no harm */
#ifdef INSIDE_EXTERN_C
}
#endif

#ifdef __cplusplus
#define IS(condition) static_assert(condition, #condition)
#else
#define IS(condition) _Static_assert(condition, #condition)
#endif
#define SIZE_IS(type, n) IS(sizeof(type) == (n))

/* Sizes that are promised for ever. */
SIZE_IS(struct flowq_pkt, 16);
SIZE_IS(struct flowq_decision, 16);
SIZE_IS(struct flowq_run, 8);
SIZE_IS(struct flowq_tuple, 56);

/* {data, len} initializes these two, whatever a pointer's size is. */
IS(offsetof(struct flowq_pkt, data) == 0);
IS(offsetof(struct flowq_pkt, len) == sizeof(void *));
IS(offsetof(struct flowq_pkt, flags) == sizeof(void *) + 4);

/* Constants are as wide as what carries them: bindings take the type from here. */
#define WIDE_AS(enumeration, field) IS(sizeof(enum enumeration) == sizeof(field))
WIDE_AS(flowq_queue, ((struct flowq_decision *)0)->qid);
WIDE_AS(flowq_reason, ((struct flowq_decision *)0)->reason);
WIDE_AS(flowq_hash_report, ((struct flowq_decision *)0)->hash_report);
WIDE_AS(flowq_class, ((struct flowq_binding *)0)->cls);
WIDE_AS(flowq_pkt_flag, ((struct flowq_pkt *)0)->flags);
WIDE_AS(flowq_limit, ((struct flowq_vm_config *)0)->max_queue_pairs);
WIDE_AS(flowq_switch, ((struct flowq_vm_config *)0)->key_vlan);
WIDE_AS(flowq_tunnel, ((struct flowq_vm_config *)0)->tunnels);
WIDE_AS(flowq_virtio_feature, ((struct flowq_vm_config *)0)->virtio_features);
WIDE_AS(flowq_hash_type, ((struct flowq_rss *)0)->hash_types);
WIDE_AS(flowq_hash_tunnel, ((struct flowq_vm_config *)0)->virtio_hash_tunnels);
WIDE_AS(flowq_note, uint32_t);       /* flowq_tx_note() */
WIDE_AS(flowq_reset, uint32_t);      /* flowq_vm_reset() */
WIDE_AS(flowq_all_queues, uint32_t); /* flowq_vm_set_queue_enabled() */
WIDE_AS(flowq_log_level, int32_t);
WIDE_AS(flowq_ctrl_class, uint8_t); /* flowq_vm_ctrl() */
WIDE_AS(flowq_ctrl_command, uint8_t);
WIDE_AS(flowq_ctrl_ack, uint8_t);

/* They are constant expressions. */
IS(FLOWQ_VIRTIO_F_MQ == UINT64_C(1) << 22 && FLOWQ_VIRTIO_F_VERSION_1 == UINT64_C(1) << 32);
IS(FLOWQ_VIRTIO_F_HASH_TUNNEL == UINT64_C(1) << 51 && FLOWQ_VIRTIO_F_HASH_REPORT == UINT64_C(1) << 57);
IS(FLOWQ_VIRTIO_F_RSS == UINT64_C(1) << 60);
IS((uint32_t)FLOWQ_TUNNEL_NONE == (uint32_t)FLOWQ_OFF && (uint32_t)FLOWQ_OFF == UINT32_MAX);

uint16_t use(struct flowq_vm *vm, const struct flowq_pkt *pkt);

uint16_t use(struct flowq_vm *vm, const struct flowq_pkt *pkt)
{
#ifdef FLOWQ_SHORT_NAMES
    uint16_t qid;
    tx_note(vm, pkt, 0);
    tx_note_burst(vm, pkt, 1, 0);
    rx_steer_burst(vm, pkt, 1, &qid);
    return rx_steer(vm, pkt);
#else
    flowq_tx_note(vm, pkt, 0);
    return flowq_rx_steer(vm, pkt);
#endif
}
