/*
 * Runs vpp.c against the declarations in shim/: a frame noted on two queues; the answers get their queues, or are freed.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vpp.c"

#include "run.h"

enum { FLOWS = 8, HEADROOM = 16 };

static vlib_buffer_t *buffers[2 * FLOWS]; /* sent, then answers */
static unsigned freed;

void vlib_get_buffers(vlib_main_t *vm, u32 *bi, vlib_buffer_t **b, u32 count)
{
    MUST(vm == NULL);
    for (u32 i = 0; i < count; i++)
        b[i] = buffers[bi[i]];
}

void *vlib_buffer_get_current(vlib_buffer_t *b) { return b->data + b->current_data; }

void vlib_buffer_free_one(vlib_main_t *vm, u32 buffer_index)
{
    MUST(vm == NULL && buffer_index >= FLOWS);
    freed++;
}

static vlib_buffer_t *make_buffer(uint8_t flow, bool answer)
{
    vlib_buffer_t *b = malloc(sizeof(*b) + HEADROOM + FRAME_SIZE);

    MUST(b != NULL);
    b->current_data = HEADROOM;
    b->current_length = FRAME_SIZE;
    make_frame(b->data + HEADROOM, flow, answer);
    return b;
}

/* Only with RSS do some packets of a frame go nowhere: those for a queue that is being reset. */
static void drop_some(struct flowq_vm *flowq, u32 *answers, u32 *qids)
{
    static const uint16_t table[PAIRS] = {0, 1, 2, 3};
    static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2,
                                    0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0};
    const struct flowq_rss rss = {.size = sizeof(rss),
                                  .hash_types = FLOWQ_HASH_TYPE_UDPV4,
                                  .table = table,
                                  .key = key,
                                  .table_length = PAIRS,
                                  .key_length = sizeof(key),
                                  .max_tx = PAIRS};
    u32 before[FLOWS], n = 0;

    MUST(flowq_vm_set_rss(flowq, &rss) == 0);
    MUST(steer(NULL, flowq, answers, qids, FLOWS) == FLOWS && freed == 0);
    memcpy(before, qids, sizeof(before));
    MUST(flowq_vm_set_queue_resetting(flowq, before[0], true) == 0);
    u32 kept = steer(NULL, flowq, answers, qids, FLOWS);
    MUST(kept + freed == FLOWS && kept > 0 && freed > 0);
    for (u32 i = 0; i < FLOWS; i++)
        if (before[i] != before[0]) {
            MUST(answers[n] == FLOWS + i && qids[n] == before[i]);
            n++;
        }
    MUST(n == kept);
}

int main(void)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg), .virtio_features = FLOWQ_VIRTIO_F_MQ | FLOWQ_VIRTIO_F_RSS};
    struct flowq_vm *flowq = make_vm(&cfg);
    u32 sent[2][FLOWS / 2], answers[FLOWS], qids[FLOWS];

    MUST(flowq_vm_set_queue_pairs(flowq, PAIRS) == 0);
    for (u32 i = 0; i < FLOWS; i++) {
        buffers[i] = make_buffer((uint8_t)i, false);
        buffers[FLOWS + i] = make_buffer((uint8_t)i, true);
        sent[i % 2][i / 2] = i;
        answers[i] = FLOWS + i;
    }
    note(NULL, flowq, 1, sent[0], FLOWS / 2);
    note(NULL, flowq, 3, sent[1], FLOWS / 2);
    MUST(steer(NULL, flowq, answers, qids, FLOWS) == FLOWS && freed == 0);
    for (u32 i = 0; i < FLOWS; i++)
        MUST(answers[i] == FLOWS + i && qids[i] == (i % 2 ? 3 : 1));
    MUST(flowq_vm_set_queue_enabled(flowq, FLOWQ_ALL_QUEUES, false) == 0);
    MUST(steer(NULL, flowq, answers, qids, FLOWS) == 0 && freed == FLOWS);
    MUST(flowq_vm_set_queue_enabled(flowq, FLOWQ_ALL_QUEUES, true) == 0);
    for (u32 i = 0; i < FLOWS; i++)
        answers[i] = FLOWS + i;
    freed = 0;
    drop_some(flowq, answers, qids);
    flowq_vm_destroy(flowq);
    for (u32 i = 0; i < 2 * FLOWS; i++)
        free(buffers[i]);
    return 0;
}
