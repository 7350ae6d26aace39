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

int main(void)
{
    struct flowq_vm_config cfg = {.size = sizeof(cfg)};
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
    flowq_vm_destroy(flowq);
    for (u32 i = 0; i < 2 * FLOWS; i++)
        free(buffers[i]);
    return 0;
}
