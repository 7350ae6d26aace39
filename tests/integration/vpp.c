/*
 * VPP: vhost-user input, interface output. Shown in flowq-integration(7).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <vlib/vlib.h>

#include <flowq.h>

static void view(vlib_main_t *vm, u32 *from, u32 n,
                 struct flowq_pkt *pkts)
{
    vlib_buffer_t *b[VLIB_FRAME_SIZE];

    vlib_get_buffers(vm, from, b, n);
    for (u32 i = 0; i < n; i++)
        pkts[i] = (struct flowq_pkt){
            .data = vlib_buffer_get_current(b[i]),
            .len = b[i]->current_length,
        };
}

/* vhost_user_if_input(), behind its last vhost_user_input_copy():
   note(vm, flowq, qid, to_next - n_rx_packets, n_rx_packets) */
static void note(vlib_main_t *vm, struct flowq_vm *flowq, u16 qid,
                 u32 *from, u32 n)
{
    struct flowq_pkt pkts[VLIB_FRAME_SIZE];

    view(vm, from, n, pkts);
    flowq_tx_note_burst(flowq, pkts, n, qid);
}

/* enqueue_to_tx_node(), where r->n_queues > 1, in place of
   hash_func_with_mask(): n_left = n_vectors =
   steer(vm, flowq, from, qids, n_vectors) */
static u32 steer(vlib_main_t *vm, struct flowq_vm *flowq, u32 *from,
                 u32 *qids, u32 n)
{
    struct flowq_pkt pkts[VLIB_FRAME_SIZE];
    u16 answers[VLIB_FRAME_SIZE];
    u32 kept = 0;

    view(vm, from, n, pkts);
    flowq_rx_steer_burst(flowq, pkts, n, answers);
    for (u32 i = 0; i < n; i++) {
        if (answers[i] == FLOWQ_DROP) {
            vlib_buffer_free_one(vm, from[i]);
            continue;
        }
        from[kept] = from[i];
        qids[kept++] = answers[i];
    }
    return kept;
}
