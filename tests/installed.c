/* SPDX-License-Identifier: BSD-2-Clause */
/* What check_install.sh compiles against the installed library, shared and static: bind a flow, and get its queue. */
#include <flowq.h>

#include <stdio.h>

int main(void)
{
    /* Ethernet, IPv4, UDP: 10.0.0.1:1000 to 10.0.0.2:2000, and back. */
    static const uint8_t out[] = {2, 0,  0,  0, 0, 2,  2, 0, 0, 0,  0, 1, 8, 0,    0x45, 0,    0,    28, 0, 0, 0,
                                  0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x03, 0xe8, 0x07, 0xd0, 0,  8, 0, 0};
    static const uint8_t in[] = {2, 0,  0,  0, 0, 1,  2, 0, 0, 0,  0, 2, 8, 0,    0x45, 0,    0,    28, 0, 0, 0,
                                 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1, 0x07, 0xd0, 0x03, 0xe8, 0,  8, 0, 0};
    struct flowq_pkt sent = {.data = out, .len = sizeof(out)}, received = {.data = in, .len = sizeof(in)};
    struct flowq_vm *vm;

    if (flowq_version() != FLOWQ_VERSION) {
        fprintf(stderr, "header and library differ: %s\n", flowq_version_string());
        return 1;
    }
    if (flowq_vm_create(NULL, &vm) != 0 || flowq_vm_set_queue_pairs(vm, 8) != 0) {
        fprintf(stderr, "no vm\n");
        return 1;
    }
    for (uint32_t qid = 0; qid < 8; qid++) {
        uint32_t note = flowq_tx_note(vm, &sent, qid);
        uint16_t answer = flowq_rx_steer(vm, &received);
        /* Before it is stored a new flow may be on the queue that the fallback chooses anyway; either way the answer is the
         * queue. */
        if (answer != qid) {
            fprintf(stderr, "noted on %u (%s), steered to %u\n", qid, flowq_note_name(note), answer);
            return 1;
        }
    }
    flowq_vm_destroy(vm);
    printf("flowq %s works\n", flowq_version_string());
    return 0;
}
