/*
 * tapswitch: what the demo asks of the kernel, by system calls alone: namespaces without names, which go when the process does,
 * however it ends; addresses by rtnetlink; two programs of a few instructions.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tapswitch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int kernel_new_netns(void)
{
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), fresh = -1;

    if (own < 0)
        return -1;
    if (unshare(CLONE_NEWNET) == 0) {
        fresh = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (setns(own, CLONE_NEWNET) != 0) {
            close(fresh);
            fresh = -1;
        }
    }
    close(own);
    return fresh;
}

int kernel_enter(int netns) { return setns(netns, CLONE_NEWNET); }

/* ---- Addresses ---- */

static int ask(int netlink, struct nlmsghdr *request)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr result;
        char rest[512];
    } answer;

    if (send(netlink, request, request->nlmsg_len, 0) < 0 || recv(netlink, &answer, sizeof(answer), 0) < 0)
        return -1;
    errno = -answer.result.error;
    return answer.result.error == 0 ? 0 : -1;
}

static int add_address(int netlink, int interface, const struct address *address)
{
    struct {
        struct nlmsghdr head;
        struct ifaddrmsg body;
        char attributes[64];
    } request = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(request.body)),
                 .nlmsg_type = RTM_NEWADDR,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE},
        .body = {.ifa_family = (uint8_t)address->family,
                 .ifa_prefixlen = (uint8_t)address->prefix,
                 .ifa_flags = IFA_F_NODAD, /* usable at once */
                 .ifa_index = (uint32_t)interface},
    };
    size_t size = address->family == AF_INET ? 4 : 16;
    struct rtattr *attribute = (struct rtattr *)(void *)request.attributes;

    attribute->rta_type = IFA_LOCAL;
    attribute->rta_len = (uint16_t)RTA_LENGTH(size);
    if (inet_pton(address->family, address->text, RTA_DATA(attribute)) != 1) {
        errno = EINVAL;
        return -1;
    }
    request.head.nlmsg_len += RTA_LENGTH(size);
    return ask(netlink, &request.head);
}

static int switch_on(int netlink, int interface)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg body;
    } request = {
        .head = {.nlmsg_len = sizeof(request), .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .body = {.ifi_family = AF_UNSPEC, .ifi_index = interface, .ifi_flags = IFF_UP, .ifi_change = IFF_UP},
    };
    return ask(netlink, &request.head);
}

int kernel_set_up(const char *interface, const struct address *addresses, size_t n)
{
    int index = (int)if_nametoindex(interface), result = 0;

    if (index == 0)
        return -1;
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (netlink < 0)
        return -1;
    for (size_t i = 0; i < n && result == 0; i++)
        result = add_address(netlink, index, &addresses[i]);
    if (result == 0)
        result = switch_on(netlink, index);
    close(netlink);
    return result;
}

/* ---- Programs ---- */

static int bpf(int command, union bpf_attr *attr) { return (int)syscall(SYS_bpf, command, attr, sizeof(*attr)); }

int kernel_new_map(uint32_t value_size, uint32_t n)
{
    union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = value_size, .max_entries = n};
    return bpf(BPF_MAP_CREATE, &attr);
}

static uint64_t address_of(const void *p) { return (uint64_t)(uintptr_t)p; }

int kernel_map_set(int map, uint32_t key, const void *value)
{
    union bpf_attr attr = {.map_fd = (uint32_t)map, .key = address_of(&key), .value = address_of(value)};
    return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

int kernel_map_get(int map, uint32_t key, void *value)
{
    union bpf_attr attr = {.map_fd = (uint32_t)map, .key = address_of(&key), .value = address_of(value)};
    return bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}

static int load(const struct bpf_insn *program, size_t n)
{
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
                           .insns = address_of(program),
                           .insn_cnt = (uint32_t)n,
                           .license = address_of("BSD")};
    return bpf(BPF_PROG_LOAD, &attr);
}

/* An instruction: operation, destination and source register, jump or field offset, constant. */
#define INSN(op, dst, src, offset, constant)                                                                                     \
    {                                                                                                                            \
        .code = (op), .dst_reg = (dst), .src_reg = (src), .off = (int16_t)(offset), .imm = (int32_t)(constant)                   \
    }
#define SET(dst, src)           INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define SET_TO(dst, constant)   INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, constant)
#define ADD(dst, constant)      INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, constant)
#define LOAD(dst, src, offset)  INSN(BPF_LDX | BPF_MEM | BPF_W, dst, src, offset, 0)
#define STORE(dst, offset, src) INSN(BPF_STX | BPF_MEM | BPF_W, dst, src, offset, 0)
#define SKIP_IF_ZERO(dst, n)    INSN(BPF_JMP | BPF_JEQ | BPF_K, dst, 0, n, 0)
#define LOAD_MAP(dst, map)      INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, map), INSN(0, 0, 0, 0, 0)
#define CALL(function)          INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT                    INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define N_INSNS(program)        (sizeof(program) / sizeof((program)[0]))

int kernel_transmit_by_mark(const struct tap *tap)
{
    const struct bpf_insn program[] = {
        LOAD(0, 1, offsetof(struct __sk_buff, mark)), /* tun takes it modulo the number of queues */
        EXIT,
    };
    int fd = load(program, N_INSNS(program));

    if (fd < 0)
        return -1;
    int result = ioctl(tap->fds[0], TUNSETSTEERINGEBPF, &fd);
    close(fd);
    return result;
}

int kernel_count_arrivals(int fd, uint32_t flow, int vcpus, int counts)
{
    const struct bpf_insn program[] = {
        SET(6, 1),
        LOAD(7, 6, offsetof(struct __sk_buff, queue_mapping)), /* 0: none was recorded */
        SKIP_IF_ZERO(7, 23),
        ADD(7, -1),
        SET_TO(1, flow), /* r8: the vCPU of this flow */
        STORE(10, -4, 1),
        SET(2, 10),
        ADD(2, -4),
        LOAD_MAP(1, vcpus),
        CALL(BPF_FUNC_map_lookup_elem),
        SKIP_IF_ZERO(0, 14),
        LOAD(8, 0, 0),
        SET(9, 7), /* r9 = 2 * queue + (queue == vcpu) */
        INSN(BPF_ALU64 | BPF_ADD | BPF_X, 9, 7, 0, 0),
        INSN(BPF_JMP | BPF_JNE | BPF_X, 7, 8, 1, 0),
        ADD(9, 1),
        STORE(10, -4, 9),
        SET(2, 10),
        ADD(2, -4),
        LOAD_MAP(1, counts),
        CALL(BPF_FUNC_map_lookup_elem),
        SKIP_IF_ZERO(0, 2),
        SET_TO(1, 1),
        INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 0, 1, 0, BPF_ADD),
        SET_TO(0, -1), /* the packet goes on, whole */
        EXIT,
    };
    int filter = load(program, N_INSNS(program));

    if (filter < 0)
        return -1;
    int result = setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &filter, sizeof(filter));
    close(filter);
    return result;
}
