#include <flowq.h>
#include <stdio.h>

/* UDP from the guest, 10.0.0.2 port 5000, to 10.0.0.1 port 53, and the reply; both start at the IP header, as on a TUN device. */
static const uint8_t query[28] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1, 19, 136, 0, 53, 0, 8};
static const uint8_t reply[28] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 19, 136, 0, 8};

int main(void)
{
    struct flowq_pkt sent = {.data = query, .len = sizeof(query), .flags = FLOWQ_PKT_L3};
    struct flowq_pkt received = {.data = reply, .len = sizeof(reply), .flags = FLOWQ_PKT_L3};
    struct flowq_vm *vm;

    if (flowq_vm_create(NULL, &vm) != 0)
        return 1;
    flowq_vm_set_queue_pairs(vm, 4); /* the guest has switched four queue pairs on */
    for (uint32_t queue = 0; queue < 4; queue++) {
        flowq_tx_note(vm, &sent, queue); /* its scheduler moves the thread from vCPU to vCPU */
        printf("sent on queue %u: the answer goes to queue %u\n", (unsigned)queue, (unsigned)flowq_rx_steer(vm, &received));
    }
    flowq_vm_destroy(vm);
    return 0;
}
