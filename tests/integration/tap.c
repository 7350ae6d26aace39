/*
 * A forwarder between a multiqueue TAP device and something else. Shown in flowq-integration(7); examples/tapswitch is a whole
 * one.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <flowq.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_QUEUES = 16 };

struct tap {
    struct flowq_vm *vm; /* as many pairs as there are descriptors */
    int fd[MAX_QUEUES];
    size_t hdr_len; /* 10 with IFF_VNET_HDR; 0 without */
};

static struct flowq_pkt view(const struct tap *tap, const uint8_t *buf,
                             size_t len)
{
    struct flowq_pkt pkt = { .data = NULL };

    if (len > tap->hdr_len) {
        pkt.data = buf + tap->hdr_len;
        pkt.len = (uint32_t)(len - tap->hdr_len);
    }
    return pkt;
}

/* From the VM: what is read from descriptor q. */
static ssize_t from_tap(struct tap *tap, uint32_t q, uint8_t *buf,
                        size_t size)
{
    ssize_t len = read(tap->fd[q], buf, size);

    if (len > 0) {
        struct flowq_pkt pkt = view(tap, buf, (size_t)len);
        flowq_tx_note(tap->vm, &pkt, q);
    }
    return len;
}

/* To the VM. */
static ssize_t to_tap(struct tap *tap, const uint8_t *buf, size_t len)
{
    struct flowq_pkt pkt = view(tap, buf, len);
    uint16_t q = flowq_rx_steer(tap->vm, &pkt);

    return q == FLOWQ_DROP ? 0 : write(tap->fd[q], buf, len);
}

/* From now on packets leave the kernel by the descriptor of the processor
   that sends them. Needs CAP_BPF, and the device's owner or
   CAP_NET_ADMIN. False: errno says why not. */
static bool follow_the_processor(const struct tap *tap)
{
    const struct bpf_insn program[] = {
        { .code = BPF_JMP | BPF_CALL,
          .imm = BPF_FUNC_get_smp_processor_id },
        { .code = BPF_JMP | BPF_EXIT },
    }; /* tun takes the result modulo the number of queues */
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insns = (uintptr_t)program;
    attr.insn_cnt = sizeof(program) / sizeof(program[0]);
    attr.license = (uintptr_t)"BSD";
    int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
    if (fd < 0)
        return false;
    int result = ioctl(tap->fd[0], TUNSETSTEERINGEBPF, &fd);
    close(fd);
    return result == 0;
}
