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
#define SIZE_IS(type, n) static_assert(sizeof(type) == (n), #type)
#else
#define SIZE_IS(type, n) _Static_assert(sizeof(type) == (n), #type)
#endif

/* Sizes that are promised for ever. */
SIZE_IS(struct flowq_pkt, 16);
SIZE_IS(struct flowq_decision, 16);
SIZE_IS(struct flowq_run, 8);
SIZE_IS(struct flowq_tuple, 56);

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
