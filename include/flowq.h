/*
 * flowq: implicit and dynamic receive-queue assignment for multiqueue virtual machines.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * CONCEPTS
 *
 *   vm      one multiqueue virtual NIC: its receive queues, its flow table, its settings. A machine with two NICs has two.
 *   queue   0-based number of a receive queue; with virtio the number of a pair: receiveq(N+1) and transmitq(N+1).
 *   note    the VM asked to transmit a packet and, with the request, named a receive queue (with virtio: the pair of the transmit
 *           queue it used). The packet's flow is *bound* to that queue.
 *   steer   choose the receive queue for a packet that is going to the VM.
 *   in use  a queue is in use when its number is below the number of pairs, and it is enabled, and it is not being reset.
 *
 * A host calls flowq_tx_note() for what the VM transmits and flowq_rx_steer() for what it is about to receive. Only notes write
 * the flow table: the network can neither change nor refresh nor evict a binding. Frames are taken as the guest sees them: note
 * before the host's NAT, encapsulation or VLAN push, steer after the last rewrite. The rules are numbered S0 to S13 in flowq(7).
 *
 * CAVEATS
 *
 *   - flowq_vm_destroy() and flowq_vm_load() are the calls that must not run beside any other on the same vm. Everything else may
 *     run beside anything.
 *   - A section (flowq_enter) belongs to one OS thread. Do not hold one across blocking, a coroutine switch or fork.
 *   - A vm belongs to the process and to the copy of the library that made it. After fork, the child makes its own.
 *   - Allocator, clock and log callbacks must not call flowq.
 *
 * READING ORDER. Concepts (this text, and a few constants); the life cycle of a vm, with its settings; threads; the data path;
 * queues; virtio; state; looking inside. The contract of each function stands right above it: what it takes, what it returns,
 * each error, who may call it when, whether it allocates, since which version.
 *
 * ERRORS are negative errno values; each function names every one it returns. Data-path functions do not fail: they answer.
 *
 * NULL. Functions that return an error number say -EINVAL to a vm that is NULL; flowq_vm_destroy() and flowq_vm_maintain() do
 * nothing. The data path (notes and steering) does not look: there, NULL in place of a vm, of a packet or of an array that is to
 * be read or written is undefined. A library configured with --enable-debug traps on it.
 *
 * ABI. Structs that may grow begin with `size`, set by the caller to sizeof; new fields are only ever appended; zero is always
 * the default of a setting. Of a struct that is read, what the library does not know must be zero (-E2BIG), and the least size is
 * that of version 0.9; one that is written is written up to the caller's size, 8 bytes at least, and then tells in `size` how
 * much that was. The others never change size.
 *
 * CONSTANTS are enumerators, so that compilers, debuggers and bindings see their names and values; every parameter and field that
 * carries one has a fixed-width integer type. The enumeration is as wide as that type (bindgen then gives the constants this
 * type), by two words of GNU C, `__extension__` and `__attribute__((packed))`, which are left out for other compilers. A parser
 * that knows neither, such as pycparser, and so cffi, reads what flowq-integration(7) makes of the header under "Other
 * languages". Macros are only FLOWQ_VERSION and its parts, for #if.
 */
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
/* An enumeration whose type is as narrow as its values, and one with values beyond those of int. */
#define FLOWQ_NARROW_ __attribute__((__packed__))
#define FLOWQ_WIDE_   __extension__
#else
#define FLOWQ_NARROW_
#define FLOWQ_WIDE_
#endif

/* ---- Concepts: version, limits, words for settings ------------------------------------------------------------------------- */

#define FLOWQ_VERSION_MAJOR 0
#define FLOWQ_VERSION_MINOR 9
#define FLOWQ_VERSION_PATCH 0
/* One number that grows with every release: major << 16 | minor << 8 | patch. */
#define FLOWQ_VERSION (FLOWQ_VERSION_MAJOR << 16 | FLOWQ_VERSION_MINOR << 8 | FLOWQ_VERSION_PATCH)

enum flowq_limit {
    /* Largest number of queue pairs: virtio's VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX. */
    FLOWQ_MAX_QUEUE_PAIRS = 0x8000,
    /* No more bytes than this are looked at from the start of a packet; a scratch buffer for flowq_gather() of this size is
       enough. */
    FLOWQ_HEADER_MAX = 256,
    /* Size in bytes of flowq_vm_config.secret. */
    FLOWQ_SECRET_SIZE = 32,
    /* Size in bytes of a vm's name, with the zero at its end. */
    FLOWQ_NAME_SIZE = 32,
    /* Most VLAN tags that are passed over and, with key_vlan, that a key holds. */
    FLOWQ_MAX_VLANS = 4
};

/* In place of a queue number. */
enum flowq_queue {
    /* No queue: the answer where virtio says that a device must drop the packet. Larger than every queue number. */
    FLOWQ_DROP = 0xffff
} FLOWQ_NARROW_;

/* Values of settings, where 0 means "the default". */
FLOWQ_WIDE_ enum flowq_switch {
    FLOWQ_ON = 1,          /* switch the setting on */
    FLOWQ_OFF = 0xffffffff /* switch the setting off */
};

/* ---- Life cycle ------------------------------------------------------------------------------------------------------------ */

struct flowq_vm;

/*
 * Tunnels that end in the VM: packets of these are keyed on the inner flow alone, one level deep (rule S4).
 *
 * FLOWQ_TUNNEL_ALL means all that the library knows, be it older or newer than the header, and FLOWQ_TUNNEL_ALL & ~(some of
 * these) all others that it knows. Its bit 30 says so and will never be a tunnel's. Without that bit, those that the library does
 * not know are -EINVAL.
 */
FLOWQ_WIDE_ enum flowq_tunnel {
    FLOWQ_TUNNEL_IPIP = 1 << 0,       /* IPv4 in IPv4, RFC 2003 */
    FLOWQ_TUNNEL_6IN4 = 1 << 1,       /* IPv6 in IPv4, RFC 4213 */
    FLOWQ_TUNNEL_4IN6 = 1 << 2,       /* IPv4 in IPv6, RFC 2473 */
    FLOWQ_TUNNEL_6IN6 = 1 << 3,       /* IPv6 in IPv6, RFC 2473 */
    FLOWQ_TUNNEL_GRE_2784 = 1 << 4,   /* GRE without key and sequence number, RFC 2784 */
    FLOWQ_TUNNEL_GRE_2890 = 1 << 5,   /* GRE with key or sequence number, RFC 2890 */
    FLOWQ_TUNNEL_GRE_7676 = 1 << 6,   /* GRE that carries, or is carried by, IPv6, RFC 7676 */
    FLOWQ_TUNNEL_NVGRE = 1 << 7,      /* Ethernet in GRE with a key, RFC 7637 */
    FLOWQ_TUNNEL_GRE_UDP = 1 << 8,    /* GRE in UDP, RFC 8086 */
    FLOWQ_TUNNEL_VXLAN = 1 << 9,      /* VXLAN, RFC 7348: ports vxlan_port and vxlan_linux_port */
    FLOWQ_TUNNEL_VXLAN_GPE = 1 << 10, /* VXLAN generic protocol extension, draft-ietf-nvo3-vxlan-gpe */
    FLOWQ_TUNNEL_GENEVE = 1 << 11,    /* GENEVE, RFC 8926 */
    FLOWQ_TUNNEL_GTPU = 1 << 12,      /* GTP-U, 3GPP TS 29.281 */
    FLOWQ_TUNNEL_GUE = 1 << 13,       /* generic UDP encapsulation, draft-ietf-intarea-gue; Linux's fou with a header */
    FLOWQ_TUNNEL_MPLS_UDP = 1 << 14,  /* MPLS in UDP, RFC 7510 */
    FLOWQ_TUNNEL_MPLS_GRE = 1 << 15,  /* MPLS in GRE, RFC 4023 */
    FLOWQ_TUNNEL_WCCP = 1 << 16,      /* WCCP's redirected packets, GRE type 0x883e, draft-mclaggan-wccp-v2rev1 */
    FLOWQ_TUNNEL_ERSPAN = 1 << 17,    /* mirrored frames, ERSPAN types I to III, draft-foschiano-erspan */
    FLOWQ_TUNNEL_ALL = 0x7fffffff,    /* every one that the library knows */
    FLOWQ_TUNNEL_NONE = 0xffffffff    /* none; the same as FLOWQ_OFF */
};

/* Levels of the log callback. */
enum flowq_log_level { FLOWQ_LOG_ERROR = 0, FLOWQ_LOG_WARNING = 1, FLOWQ_LOG_INFO = 2 };

/*
 * Settings of a vm. Zero the struct, set `size` to sizeof and whatever shall differ from the default; 0 is the default
 * everywhere. What is switched on and off is off by default, so that 0 and `false` are what they say, too; of numbers and masks 0
 * stands for the default given here, and "none" has a name of its own. Fields marked [create] are fixed when the vm is made; the
 * others may be changed by flowq_vm_configure(). Unless said otherwise a value outside the range given is -EINVAL, and `log` is
 * told which one it was.
 */
struct flowq_vm_config {
    uint32_t size;            /* sizeof(struct flowq_vm_config) */
    uint32_t max_queue_pairs; /* [create] most queue pairs there can be: 1 to FLOWQ_MAX_QUEUE_PAIRS; default 256 */
    uint32_t max_flows;       /* [create] so many flows can be learned at once, and memory is bounded for good: 8 to 2^27;
                                 default 65536 */
    uint32_t initial_flows;   /* [create] room made at creation: up to max_flows; default: none is made before the first flow is
                                 learned, then room for 1024 (or max_flows if less). initial_flows == max_flows: the data path
                                 never allocates. */

    uint32_t no_learn;  /* FLOWQ_ON: notes return at once, bindings stay as they are; default FLOWQ_OFF */
    uint32_t key_vlan;  /* FLOWQ_ON: the ids of the VLAN tags, but 0, belong to the key; default FLOWQ_OFF */
    uint32_t tunnels;   /* FLOWQ_TUNNEL_* bits; default FLOWQ_TUNNEL_ALL; FLOWQ_TUNNEL_NONE for none; unknown bits are -EINVAL,
                           but for those of FLOWQ_TUNNEL_ALL */
    uint32_t fragments; /* [create] datagrams remembered for later fragments (rule S5): 8 to 65536, rounded up to a power of two;
                           default 256; FLOWQ_OFF: none, later fragments take the fallback */

    /* UDP destination ports of tunnels, host byte order; 0: the default, given here */
    uint16_t vxlan_port;       /* 4789 */
    uint16_t vxlan_linux_port; /* 8472, the port Linux used before there was a standard one */
    uint16_t vxlan_gpe_port;   /* 4790 */
    uint16_t geneve_port;      /* 6081 */
    uint16_t gtpu_port;        /* 2152 */
    uint16_t gre_udp_port;     /* 4754 */

    /* A bound flow moves to another queue only if more than this has passed since it was bound there (rule S2), in microseconds:
       1000 to 1000000; default and FLOWQ_OFF: it moves at once. A new connection on the same ports always does, and so does a
       flow whose queue is not in use. [create]: at least one must be set at creation for either to be changeable later. */
    uint32_t rebind_min_tcp_us;   /* TCP */
    uint32_t rebind_min_other_us; /* everything else */

    uint32_t active_ms; /* an established flow noted within this is active and never displaced (S8, S9): 80 to 600000;
                           default 10000 */
    uint32_t idle_ms;   /* an established flow not noted for this is stale: at least active_ms, at most 2000000;
                           default 1800000 */

    uint32_t queue_stats; /* [create] FLOWQ_ON: count per queue as well (costs about a nanosecond a packet); default FLOWQ_OFF */
    uint32_t numa_node;   /* [create] 1 + the NUMA node that `alloc` is told to prefer, at most 4096; default 0: any */
    uint32_t reserved;    /* must be 0 */

    uint8_t secret[FLOWQ_SECRET_SIZE]; /* [create] what keys the hashes; default (all zero): random, from getrandom(2). Setting
                                          one is for sandboxes that forbid getrandom and for tests that must repeat. */

    /*
     * [create] Memory. Both or neither; default: aligned_alloc(3), and mmap(2) for pieces of 2 MiB. alloc returns `size` bytes
     * aligned to `align` (a power of two), preferably on NUMA node `node` (-1: any), or NULL; the contents do not matter. What is
     * not aligned so is given back at once: at creation it is -EINVAL, later it counts as no memory. free is given the size again
     * and never NULL. Both may be called from any thread that calls the library with this vm, also at the same time.
     */
    void *(*alloc)(void *ctx, size_t size, size_t align, int32_t node);
    void (*free)(void *ctx, void *ptr, size_t size);
    void *alloc_ctx;

    /*
     * [create] Time. A monotonic clock in nanoseconds, callable from any thread, and its resolution; default:
     * CLOCK_MONOTONIC_COARSE, or CLOCK_MONOTONIC where a rebind_min or `ordered` needs it. It is read once per burst and once per
     * single call (and once for each fragment in a burst for several vms, and with `ordered` for flows that wait to move); less
     * often by notes in a section (flowq_enter). A time setting that the clock cannot resolve eight times is -EINVAL.
     */
    uint64_t (*clock_ns)(void *ctx);
    void *clock_ctx;
    uint64_t clock_resolution_ns; /* of clock_ns; 0: 1 */

    /* [create] What is worth a line in the host's log, without newline; default: silence. Never called by the data path. A line
       begins with "flowq: ", or, for a vm that has a name, with "flowq NAME: ". flowq_vm_create() and flowq_vm_configure() tell
       which setting they refuse, with its value and its range; the message is valid during the call only. */
    void (*log)(void *ctx, int32_t level, const char *message);
    void *log_ctx;
    const char *name; /* [create] what the log calls this vm; copied: the first FLOWQ_NAME_SIZE - 1 bytes, control characters as
                         '?'; default: no name */

    /* What the host offers to the guest and what the guest's driver accepted; for flowq_vm_ctrl() and its relatives. A host that
       serves none of it leaves all of this zero. The two masks are offered to the guest as they are here: FLOWQ_HASH_TYPE_ALL and
       FLOWQ_HASH_TUNNEL_ALL are what this header knows, as another library must not change what a guest sees, and bits that the
       library cannot serve are -EINVAL. */
    uint64_t virtio_features;     /* the feature bits negotiated, as virtio numbers them: FLOWQ_VIRTIO_F_*, others are ignored;
                                     default 0; flowq_vm_set_features() sets them alone, when the driver has accepted them */
    uint32_t virtio_hash_types;   /* supported_hash_types: FLOWQ_HASH_TYPE_*; default FLOWQ_HASH_TYPE_ALL; FLOWQ_OFF: none */
    uint32_t virtio_hash_tunnels; /* supported_tunnel_types: FLOWQ_HASH_TUNNEL_*; default FLOWQ_HASH_TUNNEL_ALL; or FLOWQ_OFF */
    uint32_t virtio_max_key;      /* rss_max_key_size, in bytes: 40 to 255; default 40, as some versions of Linux refuse a device
                                     with more */
    uint32_t virtio_max_table;    /* rss_max_indirection_table_length, in entries: 128 to 32768; default 128 */
    uint32_t virtio_big_endian;   /* FLOWQ_ON: the guest is big-endian, and without FLOWQ_VIRTIO_F_VERSION_1 so is its
                                     virtqueue_pairs; default FLOWQ_OFF */
    uint32_t virtio_reserved;     /* must be 0 */

    /* Keys and tunnels, continued. */
    uint32_t key_vni;       /* FLOWQ_ON: the network id of VXLAN, VXLAN-GPE, GENEVE and NVGRE, and the key of other GRE, belong to
                               the key of the flow inside, for VMs that serve tenants with equal addresses; default FLOWQ_OFF.
                               GTP-U's id never does: it differs per direction. */
    uint16_t gue_port;      /* UDP destination port, as above: 6080 */
    uint16_t mpls_udp_port; /* 6635 */
    uint16_t vlan_tpid;     /* one more ethertype that is a VLAN tag's, beside 0x8100, 0x88a8, 0x9100, 0x9200 and 0x9300: 1536 to
                               65535; default 0: none. Those of IPv4, IPv6, MPLS and PPPoE stay what they are. */
    uint16_t key_reserved;  /* must be 0 */
    uint32_t key_reserved2; /* must be 0 */

    /* Moves in order (rule S13): a flow that is noted on another queue keeps the one it had until the guest has published that it
       took all that was put there for it. The host reports what it puts into the rings: flowq_vm_ring_report(). Not together with
       a rebind_min. */
    uint32_t ordered;        /* [create] FLOWQ_ON: flows move in order; default FLOWQ_OFF */
    uint32_t ordered_max_us; /* [create] but not later than so many microseconds after it was noted there: then the move is
                                   forced, and counted: 100 to 1000000; default 20000 */
    uint32_t
        ordered_settle_us;  /* [create] and not earlier than so many after its last packet went to the old queue: 10 to 100000;
                                   default FLOWQ_OFF */
    uint32_t ordered_flows; /* [create] so many flows can be on the move at once, 64 bytes each: 8 to 65536, rounded up to a
                                   power of two; default 1024 */
};

/*
 * Makes a vm. It starts as a virtio device does after reset: one queue pair, every queue enabled, none being reset, nothing
 * learned.
 *
 * cfg   settings; NULL: all defaults
 * out   receives the vm; set to NULL on failure
 *
 * Returns 0, or
 *   -EINVAL  out is NULL; cfg->size below that of version 0.9; a value out of range; a time the clock cannot resolve;
 *            initial_flows above max_flows; ordered and a rebind_min; only one of alloc and free; reserved field not zero;
 *            alloc gave memory that is not aligned as it was asked to
 *   -E2BIG   cfg has fields that this version does not know and they are not zero
 *   -ENOMEM  out of memory
 *   -ENOSYS, -EAGAIN, -EPERM, -EIO  getrandom(2) gave no secret (none was set)
 * Thread-safe. Allocates. Since 0.9.
 */
int flowq_vm_create(const struct flowq_vm_config *cfg, struct flowq_vm **out);

/*
 * Unmakes a vm and frees all its memory. NULL is fine. Never waits: the caller guarantees that no call on this vm runs or will
 * run. Open sections do not matter. Since 0.9.
 */
void flowq_vm_destroy(struct flowq_vm *vm);

/*
 * Changes settings while the vm runs: every field not marked [create] takes the value in cfg (0: the default). [create] fields
 * are not looked at. All are checked before any is changed. Data-path calls running meanwhile see each old or new.
 *
 * Changing key_vlan, key_vni, vlan_tpid, tunnels or ports changes what the key of a packet is: bindings made before may no longer
 * be found and age away.
 *
 * Returns 0, or
 *   -EINVAL   vm or cfg is NULL, or as for flowq_vm_create; a time that the vm's clock, or its tick (flowq(7)), cannot resolve
 *   -E2BIG    as for flowq_vm_create
 *   -ENOTSUP  a rebind_min is set, to whatever value in range, but none was when the vm was made
 * Thread-safe. Does not allocate. Since 0.9.
 */
int flowq_vm_configure(struct flowq_vm *vm, const struct flowq_vm_config *cfg);

/* What flowq_vm_reset() resets. */
enum flowq_reset {
    FLOWQ_RESET_FLOWS = 1 << 0,  /* forget all bindings and fragments: another guest is behind the NIC now */
    FLOWQ_RESET_QUEUES = 1 << 1, /* one pair, all enabled, none resetting, as a virtio reset leaves them; bindings stay */
    FLOWQ_RESET_CONFIG = 1 << 2  /* what the guest configured (RSS, hash types, tunnel hash) is off, as after a virtio reset */
};

/*
 * Resets part of a vm: `what` is a combination of FLOWQ_RESET_*. A virtio device reset is all three. CONFIG and QUEUES, alone or
 * together, are one step for other setters. A flow noted while FLOWS runs is forgotten or not, and so is a first fragment that is
 * steered meanwhile; but what later fragments follow afterwards was chosen when the flows were forgotten. Returns 0, or -EINVAL,
 * and then nothing is reset: vm is NULL, or what has a bit that this version does not know. Needs no memory and does not fail
 * otherwise. Thread-safe. Since 0.9.
 */
int flowq_vm_reset(struct flowq_vm *vm, uint32_t what);

/*
 * Housekeeping in bounded steps, for hosts that have a timer: frees what has been retired, gives memory back after a peak.
 * Optional: notes do what is needed. Thread-safe, never waits; call it about once a second, or not at all. NULL is fine. Since
 * 0.9.
 */
void flowq_vm_maintain(struct flowq_vm *vm);

/* ---- Threads --------------------------------------------------------------------------------------------------------------- */

/*
 * Any number of threads may call anything on any vm at once (but destroy and load). The first call of a thread registers it,
 * which allocates; this does it ahead of time. A thread that could not be registered still gets the fallback queue, and learns
 * nothing, counted. A thread that ends is unregistered, and sections it left open are closed.
 *
 * Returns 0 (also when registered already) or -ENOMEM: out of memory, or the thread is in its last rounds of destructors of
 * thread-specific data. The child of fork() begins unregistered, with no section open. Since 0.9.
 */
int flowq_thread_register(void);

/*
 * Opens a section on this thread; nests. Optional: every data-path call opens its own, but opening one takes up to 15 ns, as long
 * as the rest of a single call, so hold one over one turn of a poll loop. While one is open, memory that is retired is not freed,
 * and a table that has retired as much as it has does not grow; flowq_synchronize() waits for it, and nothing else does.
 *
 * Notes that change nothing may go by what the clock was for an earlier note in the section, of at most 256 calls: a flow may
 * count as silent since then. Whichever binds, moves or closes a flow, or finds that its time is another, reads the clock; with a
 * rebind_min all do.
 *
 * Returns 0, or -ENOMEM: the thread could not be registered (then do not call flowq_leave). Since 0.9.
 */
int flowq_enter(void);

/* Closes the section opened last on this thread. Without an open one it does nothing. Never waits. Since 0.9. */
void flowq_leave(void);

/*
 * Waits for all sections that are open now, on any thread. A queue setter followed by this has reached every caller: no thread
 * still acts on an answer it took, inside a section, before. Returns 0, or -EDEADLK inside a section of this thread (it does not
 * wait). Blocks (sleeps). Since 0.9.
 */
int flowq_synchronize(void);

/* ---- The data path: packets ------------------------------------------------------------------------------------------------ */

/* Bits of flowq_pkt.flags. A packet with any other bit set is treated as keyless. */
enum flowq_pkt_flag {
    FLOWQ_PKT_L3 = 1 << 0 /* data starts at the IP header (TUN device), not at the Ethernet header */
};

/*
 * A bounded view of a packet: `len` readable, contiguous bytes at `data`, which the library looks at during the call and never
 * keeps. data may be NULL when len is 0. Headers cut short are a defined case: the packet is treated as far as it can be read.
 * Bytes past FLOWQ_HEADER_MAX are never looked at. Memory that changes during the call is safe. 16 bytes for ever, and the
 * fields in this order on every machine.
 */
struct flowq_pkt {
    const void *data;
    uint32_t len;   /* bytes readable at data */
    uint32_t flags; /* FLOWQ_PKT_* */
#if UINTPTR_MAX == 0xffffffffu
    uint32_t pad_; /* not looked at */
#endif
};

/*
 * Makes a contiguous view of the headers of a packet that lies in pieces, as guest descriptors do.
 *
 * pkt      out: data = scratch, len = bytes copied, flags = 0
 * iov      iovcnt pieces; empty pieces are fine; may be NULL when iovcnt is 0
 * skip     bytes to leave out at the start: the virtio-net header (10, 12, 20, 24 or 32 bytes), or 0
 * scratch  where the header bytes go; must stay valid while pkt is used
 * size     bytes at scratch; FLOWQ_HEADER_MAX suffices, and no more than that are ever copied
 *
 * Each byte of the packet is read at most once, skipped bytes never: offsets and hints in a virtio-net header come from the guest
 * and are not trusted. Returns the number of bytes copied: min(size, FLOWQ_HEADER_MAX, what the pieces hold after skip).
 * Thread-safe, never allocates. Since 0.9.
 */
size_t flowq_gather(struct flowq_pkt *pkt, const struct iovec *iov, size_t iovcnt, size_t skip, void *scratch, size_t size);

/* ---- The data path: what the VM transmits ---------------------------------------------------------------------------------- */

/* What became of a note: the return value of flowq_tx_note() and the index into flowq_stats.note. */
enum flowq_note {
    FLOWQ_NOTE_BOUND = 0,      /* the flow was unknown and is bound now */
    FLOWQ_NOTE_REFRESHED = 1,  /* bound to this queue already */
    FLOWQ_NOTE_MOVED = 2,      /* was bound to another queue, is bound to this one now */
    FLOWQ_NOTE_SUPPRESSED = 3, /* stays on its queue: rebind_min has not passed */
    FLOWQ_NOTE_IMPLIED = 4,    /* embryonic, on the queue that the fallback chooses anyway: not stored the first time (S9) */
    FLOWQ_NOTE_REFUSED = 5, /* not learned: every place within reach holds an active flow, and the table cannot grow there (S9) */
    FLOWQ_NOTE_BUSY = 6,    /* nothing changed this time: others were changing the same part of the table (S12) */
    FLOWQ_NOTE_NOT_IN_USE = 7,   /* qid names a queue that is not in use: nothing changed (S1) */
    FLOWQ_NOTE_SINGLE = 8,       /* one queue in use: nothing to learn (S0) */
    FLOWQ_NOTE_OFF = 9,          /* learning is switched off */
    FLOWQ_NOTE_KEYLESS = 10,     /* never learned (S7): no readable key */
    FLOWQ_NOTE_MULTICAST = 11,   /* never learned: to a multicast or broadcast address of IP, or Ethernet's broadcast address */
    FLOWQ_NOTE_FRAGMENT = 12,    /* never learned: a later fragment */
    FLOWQ_NOTE_ICMP_ERROR = 13,  /* never learned: an ICMP error */
    FLOWQ_NOTE_RESET = 14,       /* never learned: a TCP RST of an unknown flow */
    FLOWQ_NOTE_UNREGISTERED = 15 /* not learned: the thread could not be registered */
};

/* What flowq_tx_note() returns for a vm whose flows move in order (setting `ordered`) may have more than the outcome. */
enum flowq_note_parts {
    FLOWQ_NOTE_OUTCOME = 0x7fff, /* these bits are the outcome */
    FLOWQ_NOTE_PENDING = 0x8000, /* bound, refreshed or moved; but the flow's packets still go to the queue it had before: */
    FLOWQ_NOTE_FROM_SHIFT = 16   /* the bits from here on are that queue */
};

/*
 * The VM transmits pkt and names receive queue qid: its flow is bound to that queue, or moved there (rules S1, S2, S7, S9).
 * Returns what became of it, FLOWQ_NOTE_*; with the setting `ordered` also whether a move is pending (enum flowq_note_parts). qid
 * may be any number. Thread-safe; never waits; allocates only when the table grows. Since 0.9.
 */
uint32_t flowq_tx_note(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid);

/*
 * n packets on one queue, as n calls of flowq_tx_note() in order at one reading of the clock would do, as long as nobody notes,
 * sets, resets or maintains meanwhile. Beside others, each packet is noted as it would be alone at some instant of the call, and
 * in order for each flow. What became of them is counted (flowq_stats.note). Thread-safe; never waits; allocates only when the
 * table grows. Since 0.9.
 */
void flowq_tx_note_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint32_t qid);

/* ---- The data path: what the VM receives ----------------------------------------------------------------------------------- */

/* Why a packet goes where it goes: flowq_decision.reason and the index into flowq_stats.steer. */
enum flowq_reason {
    FLOWQ_REASON_BOUND = 0,      /* its flow is bound */
    FLOWQ_REASON_FALLBACK = 1,   /* its flow is not bound, or it has nothing but an MPLS label stack: keyed hash over the queues
                                    in use */
    FLOWQ_REASON_FRAGMENT = 2,   /* a later fragment: where the first one went */
    FLOWQ_REASON_ICMP_ERROR = 3, /* an ICMP error: the queue of the bound flow that it quotes */
    FLOWQ_REASON_KEYLESS = 4,    /* no readable key: the lowest queue in use */
    FLOWQ_REASON_SINGLE = 5,     /* one queue in use: nothing was looked at */
    FLOWQ_REASON_DROP = 6,       /* no queue in use; or RSS chose one that is being reset */
    FLOWQ_REASON_RSS = 7         /* receive-side scaling, configured by the guest, decided */
} FLOWQ_NARROW_;

/* A queue and why. 16 bytes for ever; reserved fields are zero. */
struct flowq_decision {
    uint16_t qid;        /* the receive queue, or FLOWQ_DROP */
    uint8_t reason;      /* FLOWQ_REASON_* */
    uint8_t hash_report; /* virtio's hash report, 0 (none) to 9 */
    uint32_t hash_value; /* virtio's hash value; 0 with report 0 */
    uint64_t reserved;
};

/*
 * The receive queue for a packet that goes to the VM: one that was in use at some instant of the call, for any bytes; FLOWQ_DROP
 * only where virtio says that a device must drop (no queue in use; or, in RSS mode, the chosen queue is being reset). A call
 * begun after a queue setter returned obeys it. Thread-safe; never waits, never allocates, makes no system call (but the first
 * call of a thread, which registers it). Since 0.9.
 */
uint16_t flowq_rx_steer(struct flowq_vm *vm, const struct flowq_pkt *pkt);

/*
 * n packets; qids[i] is the answer for pkts[i], as n calls of flowq_rx_steer() in order would give, as long as nobody notes,
 * sets, resets or maintains meanwhile. Beside others, each answer is what a call for this packet alone could have given that
 * began when the burst began: all notes and setters that had returned by then are obeyed; of those that run meanwhile, one
 * packet's answer may know a later one and the next packet's answer not yet an earlier one. A call for hundreds of packets takes
 * less time for each than one for 32, where the table is larger than the caches. Thread-safe; never waits, never allocates, as
 * flowq_rx_steer(). Since 0.9.
 */
void flowq_rx_steer_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, uint16_t *qids);

/*
 * n packets; out[i] has the queue for pkts[i], as flowq_rx_steer_burst() gives it, with the reason and the hash to report to the
 * guest. Thread-safe; never waits, never allocates, as flowq_rx_steer(). Since 0.9.
 */
void flowq_rx_decide_burst(struct flowq_vm *vm, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out);

/*
 * n packets that go to different VMs, for switches: packet i goes to vms[i], and qids[i] is the answer, as flowq_rx_steer_burst()
 * gives it for the packets of this vm. The same vm may stand anywhere in the array, and as often as there are packets.
 * Thread-safe; never waits, never allocates, as flowq_rx_steer(). Since 0.9.
 */
void flowq_rx_steer_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, uint16_t *qids);

/*
 * n packets that go to different VMs; out[i] has the queue for pkts[i], as flowq_rx_steer_burst_vms() gives it, with the reason
 * and the hash to report to the guest behind vms[i]. Thread-safe; never waits, never allocates, as flowq_rx_steer(). Since 0.9.
 */
void flowq_rx_decide_burst_vms(struct flowq_vm *const *vms, const struct flowq_pkt *pkts, size_t n, struct flowq_decision *out);

/* ---- The data path: a burst, queue by queue -------------------------------------------------------------------------------- */

/* One group of flowq_group() or flowq_group_vms(): `count` packets for queue `qid`, their indices from order[first] on. 8 bytes
   for ever. */
struct flowq_run {
    uint16_t qid;
    uint16_t first;
    uint16_t count;
    uint16_t reserved; /* zero */
};

/*
 * Groups the packets of a burst by queue, for hosts that enqueue queue by queue. Stable: packets of a queue keep their order.
 *
 * qids      n answers of a burst, FLOWQ_DROP included
 * n         at most 65535; more are not looked at
 * order     out: n indices into qids, grouped by ascending queue, dropped packets last
 * runs      out: the groups, at most max_runs of them; may be NULL when max_runs is 0
 *
 * Returns the number of groups there are, which may exceed max_runs. Thread-safe, never allocates. Since 0.9.
 */
size_t flowq_group(const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs, size_t max_runs);

/*
 * Groups the packets of a burst that goes to different VMs, as flowq_rx_steer_burst_vms() takes it: by vm, and by queue within
 * each. Stable: packets for one queue of one vm keep their order.
 *
 * vms       vms[i] is where packet i goes; compared, never looked into
 * qids      n answers of a burst, FLOWQ_DROP included
 * n         at most 65535; more are not looked at
 * order     out: n indices into vms and qids. The packets of a vm lie together, grouped by ascending queue, dropped packets last.
 *           The vms come in no particular order.
 * runs      out: the groups, at most max_runs of them; may be NULL when max_runs is 0. The vm of a group is vms[order[first]].
 *
 * Returns the number of groups there are, which may exceed max_runs. Thread-safe, never allocates. Since 0.9.
 */
size_t flowq_group_vms(struct flowq_vm *const *vms, const uint16_t *qids, size_t n, uint16_t *order, struct flowq_run *runs,
                       size_t max_runs);

/* ---- Queues ---------------------------------------------------------------------------------------------------------------- */

/*
 * The guest uses pairs 0 to n-1, and automatic steering (virtio: VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET). A vhost-user back end sets the
 * maximum once and passes on which receive rings are enabled. Call it before the command is acknowledged, then
 * flowq_synchronize().
 * Returns 0, or -EINVAL: vm is NULL, n is 0 or above max_queue_pairs; nothing is changed then. Thread-safe, does not allocate; a
 * mutex orders setters of one vm. Since 0.9.
 */
int flowq_vm_set_queue_pairs(struct flowq_vm *vm, uint32_t n);

/* In place of a queue number, for flowq_vm_set_queue_enabled() and flowq_vm_set_queue_resetting(): every queue of the vm, those
   beyond the current pairs too. They are switched in one change: no call begun after it returned spreads packets over only some
   of them. */
FLOWQ_WIDE_ enum flowq_all_queues { FLOWQ_ALL_QUEUES = 0xffffffff };

/*
 * Receive queue qid, or FLOWQ_ALL_QUEUES, is enabled or not (vhost-user: VHOST_USER_SET_VRING_ENABLE; a connection begins with
 * all of them off). Applies also to queues beyond the current pairs. Returns 0, or -EINVAL: vm is NULL, or qid is neither below
 * max_queue_pairs nor FLOWQ_ALL_QUEUES. Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_set_queue_enabled(struct flowq_vm *vm, uint32_t qid, bool on);

/*
 * Receive queue qid, or FLOWQ_ALL_QUEUES, is being reset, or no longer (VIRTIO_F_RING_RESET): while it is, automatic steering
 * chooses another queue and RSS drops. Returns 0, or -EINVAL: vm is NULL, or qid is neither below max_queue_pairs nor
 * FLOWQ_ALL_QUEUES. Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_set_queue_resetting(struct flowq_vm *vm, uint32_t qid, bool on);

/*
 * For vms whose flows move in order (setting `ordered`, rule S13): how far the host has filled the ring of receive queue qid, and
 * how far the guest has published that it took from it, as positions in the ring, counted on beyond its end, modulo 2^32. With
 * virtio a position is an entry of the available ring: a packet may use several. Both only advance: what is behind what was
 * reported before changes nothing, and so more than one thread may report a ring. taken beyond filled counts as filled; more than
 * 2^20 behind it as 2^20.
 *
 * The host reports what it filled before the thread that steers the flows that went there steers again, and what the guest took
 * whenever it looks. A ring that is never reported counts as empty. Calls for each burst are meant to be cheap: one word is read,
 * and compared and swapped if something changed.
 *
 * Returns 0, or -EINVAL: vm is NULL, or qid is not below max_queue_pairs; -ENOTSUP: the vm was made without `ordered`.
 * Thread-safe, never waits, does not allocate. Since 0.9.
 */
int flowq_vm_ring_report(struct flowq_vm *vm, uint32_t qid, uint32_t filled, uint32_t taken);

/*
 * The ring of receive queue qid begins anew, empty, at this position. What flows that move waited for in the old one is gone:
 * they move with their next packet, counted (ordered_off). No report of this ring may run meanwhile. Returns as
 * flowq_vm_ring_report(). Thread-safe otherwise, does not allocate. Since 0.9.
 */
int flowq_vm_ring_restart(struct flowq_vm *vm, uint32_t qid, uint32_t position);

/* ---- virtio: what the guest configures ------------------------------------------------------------------------------------- */

/*
 * A device model that reads the control queue hands the guest's commands to flowq_vm_ctrl(), or reads them itself and makes the
 * typed calls. The last one accepted decides the mode: VQ_PAIRS_SET (flowq_vm_set_queue_pairs) means automatic steering,
 * RSS_CONFIG (flowq_vm_set_rss) means that the guest's indirection table decides. Calls begun after one of these returned obey
 * it. flowq-virtio(7) has the table of states and what is refused, with the reasons.
 */

/* Feature bits, as virtio numbers them: 22, 32, 51, 57, 60. */
FLOWQ_WIDE_ enum flowq_virtio_feature {
    FLOWQ_VIRTIO_F_MQ = 0x400000,
    FLOWQ_VIRTIO_F_VERSION_1 = 0x100000000,
    FLOWQ_VIRTIO_F_HASH_TUNNEL = 0x8000000000000,
    FLOWQ_VIRTIO_F_HASH_REPORT = 0x200000000000000,
    FLOWQ_VIRTIO_F_RSS = 0x1000000000000000
};

/* Classes and commands of the control queue that are served, and the answers. */
enum flowq_ctrl_class { FLOWQ_CTRL_MQ = 4, FLOWQ_CTRL_HASH_TUNNEL = 7 } FLOWQ_NARROW_;
enum flowq_ctrl_command {
    FLOWQ_CTRL_MQ_VQ_PAIRS_SET = 0,
    FLOWQ_CTRL_MQ_RSS_CONFIG = 1,
    FLOWQ_CTRL_MQ_HASH_CONFIG = 2,
    FLOWQ_CTRL_HASH_TUNNEL_SET = 0
} FLOWQ_NARROW_;
enum flowq_ctrl_ack { FLOWQ_CTRL_OK = 0, FLOWQ_CTRL_ERR = 1 } FLOWQ_NARROW_;

/* What is hashed of which packets. _EX: IPv6 with extension headers. */
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

/* What was hashed: flowq_decision.hash_report. */
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

/* Tunnels of which the inner header is hashed: virtio's bits, not those of FLOWQ_TUNNEL_*, and apart from the setting `tunnels`.
   The UDP ports are those of the settings. */
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

/* What a host may offer with this vm, for the device's feature bits and its configuration space. */
struct flowq_virtio_caps {
    uint32_t size;            /* in: sizeof(struct flowq_virtio_caps); out: bytes written */
    uint32_t max_queue_pairs; /* max_virtqueue_pairs */
    uint64_t features;        /* FLOWQ_VIRTIO_F_*; all of them need VIRTIO_NET_F_CTRL_VQ, which is the host's */
    uint32_t hash_types;      /* supported_hash_types */
    uint32_t hash_tunnels;    /* supported_tunnel_types */
    uint32_t max_key;         /* rss_max_key_size */
    uint32_t max_table;       /* rss_max_indirection_table_length */
};

/*
 * Writes what may be offered to *out, up to out->size bytes.
 * Returns 0, or -EINVAL: vm or out is NULL, or out->size is below 8. Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_virtio_caps(struct flowq_vm *vm, struct flowq_virtio_caps *out);

/*
 * The guest's driver has accepted these features: sets virtio_features, FLOWQ_VIRTIO_F_* (others are ignored), and no other
 * setting. That happens after a device reset and before any command; what a guest has configured stays until
 * flowq_vm_reset(FLOWQ_RESET_CONFIG). flowq_vm_configure() sets them, too, as it does everything: it needs them again.
 * Returns 0, or -EINVAL: vm is NULL. Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_set_features(struct flowq_vm *vm, uint64_t features);

/*
 * Carries out a command of the control queue.
 *
 * cls, cmd   the first two bytes of the buffer
 * iov        command-specific-data, as it lies in the guest's memory: iovcnt pieces; without class, command and ack
 *
 * Any bytes are safe, also when they change meanwhile: each is read at most once. Returns what to write into ack: FLOWQ_CTRL_OK,
 * or FLOWQ_CTRL_ERR, and then nothing has changed: the feature was not negotiated (setting virtio_features), the class or command
 * is not one of those above, the data is too short or too long, a value is not allowed, or, of RSS_CONFIG and HASH_CONFIG, there
 * is no memory. Before the answer goes to the guest: flowq_synchronize(). Thread-safe. Allocates for RSS_CONFIG and HASH_CONFIG.
 * Since 0.9.
 */
uint8_t flowq_vm_ctrl(struct flowq_vm *vm, uint8_t cls, uint8_t cmd, const struct iovec *iov, size_t iovcnt);

/* RSS, for hosts that read the commands themselves. */
struct flowq_rss {
    uint32_t size;         /* sizeof(struct flowq_rss) */
    uint32_t hash_types;   /* FLOWQ_HASH_TYPE_*; 0: nothing is hashed, all packets go to `unclassified` */
    const uint16_t *table; /* queues; entry (hash & (table_length - 1)) takes the packet */
    const void *key;       /* key_length bytes; a key that is too short goes on with zeros; may be NULL if that is 0 */
    uint32_t table_length; /* a power of two, at most virtio_max_table */
    uint32_t key_length;   /* at most virtio_max_key; not 0 unless hash_types is */
    uint16_t unclassified; /* the queue for packets of which no hash is calculated */
    uint16_t max_tx;       /* pairs that the guest transmits on: 1 to max_queue_pairs */
    uint32_t reserved;     /* must be 0 */
};

/*
 * The guest's table decides from now on (virtio: VIRTIO_NET_CTRL_MQ_RSS_CONFIG). max_tx pairs come into use, and every queue that
 * the table names beside them. All is copied. What is learned stays, and notes go on learning, for when automatic steering comes
 * back.
 *
 * Returns 0, or, and then nothing has changed,
 *   -EINVAL   vm, rss or table is NULL, or key and key_length is not 0; rss->size below that of version 0.9; reserved not zero; a
 *             value out of range; a hash type or a queue that was not offered
 *   -E2BIG    rss has fields that this version does not know and they are not zero
 *   -ENOTSUP  FLOWQ_VIRTIO_F_RSS is not in virtio_features
 *   -ENOMEM   out of memory, or eight configurations that were replaced still wait for open sections to close
 * Thread-safe. Allocates. Since 0.9.
 */
int flowq_vm_set_rss(struct flowq_vm *vm, const struct flowq_rss *rss);

/*
 * Hash types and key for reports in automatic mode (virtio: VIRTIO_NET_CTRL_MQ_HASH_CONFIG). With RSS negotiated they come from
 * flowq_vm_set_rss(), in either mode. hash_types 0: nothing is reported.
 *
 * Returns 0, or, and then nothing has changed,
 *   -EINVAL   vm is NULL; key is NULL and key_length is not 0; values as for flowq_vm_set_rss()
 *   -ENOTSUP  FLOWQ_VIRTIO_F_HASH_REPORT is not in virtio_features, or FLOWQ_VIRTIO_F_RSS is
 *   -ENOMEM   as for flowq_vm_set_rss()
 * Thread-safe. Allocates. Since 0.9.
 */
int flowq_vm_set_hash(struct flowq_vm *vm, uint32_t hash_types, const void *key, uint32_t key_length);

/*
 * The tunnels of which the inner header is hashed, in either mode (virtio: VIRTIO_NET_CTRL_HASH_TUNNEL_SET); 0: none.
 * Returns 0, or -EINVAL: vm is NULL, or a type was not offered; -ENOTSUP: FLOWQ_VIRTIO_F_HASH_TUNNEL is not in virtio_features.
 * Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_set_hash_tunnels(struct flowq_vm *vm, uint32_t types);

/*
 * Writes a decision's hash value and report into a virtio-net header of `size` bytes, 20 or more (struct virtio_net_hdr_v1_hash
 * and longer ones), little-endian, at offset 12; the padding behind them becomes zero, all else stays as it is. Returns 0, or
 * -EINVAL: hdr or decision is NULL, or size is below 20. Thread-safe, never allocates. Since 0.9.
 */
int flowq_hdr_set_hash(void *hdr, size_t size, const struct flowq_decision *decision);

/* ---- State ----------------------------------------------------------------------------------------------------------------- */

/* ---- Looking inside: bindings ---------------------------------------------------------------------------------------------- */

/*
 * A flow as its incoming packets carry it: source is the remote end, destination is the VM. 56 bytes for ever.
 */
struct flowq_tuple {
    uint8_t src[16];  /* remote address, network byte order; IPv4: the first 4 bytes, the rest zero */
    uint8_t dst[16];  /* the VM's address */
    uint16_t sport;   /* remote port, host byte order; 0 for protocols without ports */
    uint16_t dport;   /* the VM's port */
    uint8_t version;  /* 4 or 6 */
    uint8_t protocol; /* IP protocol number */
    uint8_t n_vlans;  /* VLAN ids that belong to the key (setting key_vlan), 0 to FLOWQ_MAX_VLANS */
    uint8_t has_vni;  /* 1: the flow is inside a tunnel whose network id belongs to the key (setting key_vni); 0: it is not */
    uint16_t vlan[FLOWQ_MAX_VLANS]; /* outermost first, 12 bits each; 0 is no VLAN and is left out */
    uint32_t vni;      /* has_vni: the network id, host byte order: 24 bits of VXLAN, VXLAN-GPE, GENEVE and NVGRE (VSID), or
                          the 32 bits of another GRE key; else zero */
    uint32_t reserved; /* zero */
};

/* Class of a binding, by what the VM has sent (S8). */
enum flowq_class {
    FLOWQ_CLASS_EMBRYONIC = 1,   /* only SYN or SYN-ACK; or one packet of a non-TCP flow */
    FLOWQ_CLASS_ESTABLISHED = 2, /* more */
    FLOWQ_CLASS_CLOSING = 3      /* FIN or RST */
} FLOWQ_NARROW_;

/* One binding. The table does not hold tuples, only fingerprints: iteration cannot name them. */
struct flowq_binding {
    uint32_t size;   /* in: sizeof(struct flowq_binding), set by the caller of flowq_vm_lookup; out: bytes written */
    uint16_t qid;    /* the queue it is bound to, in use or not */
    uint8_t cls;     /* FLOWQ_CLASS_* */
    uint8_t in_use;  /* 1: that queue is in use now; 0: the binding counts as none for the time being (S11) */
    uint64_t id;     /* fingerprint: the same for the same flow while the vm lives */
    uint32_t age_ms; /* since the flow was last noted, to a tick; meaningless beyond some 30 minutes */
    uint32_t reserved;
};

/*
 * Looks one flow up, without a trace.
 * Returns 0 and fills *out up to out->size bytes, or
 *   -ENOENT  the flow is not bound
 *   -EINVAL  vm, tuple or out is NULL; out->size is below 8; version neither 4 nor 6; bytes behind an IPv4 address not zero;
 *            n_vlans too large; an id above 12 bits; has_vni above 1, vni without has_vni, or reserved not zero
 *   -ENOMEM  the thread could not be registered
 * Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_lookup(struct flowq_vm *vm, const struct flowq_tuple *tuple, struct flowq_binding *out);

/*
 * Calls fn for each binding until it returns non-zero. Bindings made, moved or displaced meanwhile are reported or not; one that
 * was there throughout is reported at least once. Runs inside a section: fn must not block, and must not call
 * flowq_synchronize(). Returns fn's last result (0: all were shown), or -EINVAL: vm or fn is NULL; -ENOMEM: the thread could not
 * be registered. Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_flows(struct flowq_vm *vm, int (*fn)(void *ctx, const struct flowq_binding *binding), void *ctx);

/* ---- Looking inside: one packet -------------------------------------------------------------------------------------------- */

/* A header of a packet, flowq_layer.kind; and what flowq_layer.value then is. */
enum flowq_layer_kind {
    FLOWQ_LAYER_ETHERNET = 1,        /* ethertype, or the length of an 802.3 frame */
    FLOWQ_LAYER_VLAN = 2,            /* VLAN id */
    FLOWQ_LAYER_LLC = 3,             /* service access point; with SNAP where that is 0xaa */
    FLOWQ_LAYER_MPLS = 4,            /* label */
    FLOWQ_LAYER_CONTROL_WORD = 5,    /* of a pseudowire: 0 */
    FLOWQ_LAYER_PPPOE = 6,           /* PPP protocol */
    FLOWQ_LAYER_IPV4 = 7,            /* IP protocol */
    FLOWQ_LAYER_IPV6 = 8,            /* next header */
    FLOWQ_LAYER_HOP_BY_HOP = 9,      /* next header, as in all extension headers of IPv6: */
    FLOWQ_LAYER_DEST_OPTIONS = 10,   /* next header */
    FLOWQ_LAYER_ROUTING = 11,        /* next header */
    FLOWQ_LAYER_FRAGMENT = 12,       /* next header */
    FLOWQ_LAYER_AH = 13,             /* next header */
    FLOWQ_LAYER_MOBILITY = 14,       /* next header */
    FLOWQ_LAYER_TCP = 15,            /* destination port */
    FLOWQ_LAYER_UDP = 16,            /* destination port */
    FLOWQ_LAYER_PORTS = 17,          /* destination port: of UDP-Lite, SCTP, DCCP, of which no more than the ports are read */
    FLOWQ_LAYER_ICMP = 18,           /* type; ICMPv6, too */
    FLOWQ_LAYER_ICMP_OPTION = 19,    /* type of an option in a redirect of ICMPv6 */
    FLOWQ_LAYER_GRE = 20,            /* protocol type */
    FLOWQ_LAYER_WCCP = 21,           /* 0 */
    FLOWQ_LAYER_ERSPAN = 22,         /* type, 2 or 3 */
    FLOWQ_LAYER_VXLAN = 23,          /* network id */
    FLOWQ_LAYER_VXLAN_GPE = 24,      /* network id */
    FLOWQ_LAYER_GENEVE = 25,         /* network id */
    FLOWQ_LAYER_GTPU = 26,           /* tunnel endpoint id */
    FLOWQ_LAYER_GTPU_EXTENSION = 27, /* type of the next one */
    FLOWQ_LAYER_GUE = 28             /* IP protocol */
} FLOWQ_NARROW_;

/* Bits of flowq_layer.flags. */
enum flowq_layer_flag {
    FLOWQ_LAYER_PASSED_OVER = 1 << 0, /* one of the eight headers that are only passed over in a packet (flowq(7), S3) */
    FLOWQ_LAYER_IN_TUNNEL = 1 << 1,   /* of a tunnel that is looked into, or inside it */
    FLOWQ_LAYER_IN_QUOTE = 1 << 2     /* in the packet that an ICMP error quotes */
};

/* One header. 12 bytes for ever. */
struct flowq_layer {
    uint8_t kind;      /* FLOWQ_LAYER_* */
    uint8_t flags;     /* FLOWQ_LAYER_PASSED_OVER ... */
    uint16_t offset;   /* where it begins in the packet */
    uint16_t length;   /* bytes; of the last one as many as there are, or are looked at */
    uint16_t reserved; /* zero */
    uint32_t value;    /* by kind */
};

/* Why the reading of a packet ended where it did: flowq_explanation.end. */
enum flowq_end {
    FLOWQ_END_KEY = 1,       /* all that the key needs has been read */
    FLOWQ_END_CUT = 2,       /* the packet, or as much of it as was given, ends within the next header */
    FLOWQ_END_WINDOW = 3,    /* the next header does not end within FLOWQ_HEADER_MAX bytes */
    FLOWQ_END_MALFORMED = 4, /* the next header contradicts itself, or is of another IP version than the one before it says */
    FLOWQ_END_UNREAD = 5,    /* the next header, or this kind or version of it, is not read */
    FLOWQ_END_UNLIKE = 6,    /* nothing says what comes next, and it looks neither like IP nor like a frame */
    FLOWQ_END_LIMIT = 7,     /* more headers to pass over than a packet may have */
    FLOWQ_END_FLAGS = 8      /* flowq_pkt.flags has a bit that is not known */
} FLOWQ_NARROW_;

/* What identity was found: flowq_explanation.key. */
enum flowq_key {
    FLOWQ_KEY_NONE = 0,        /* none */
    FLOWQ_KEY_FLOW = 1,        /* that of a flow: `tuple` */
    FLOWQ_KEY_LATER = 2,       /* a later fragment: `tuple` has no ports, and is the flow's only if the protocol has none */
    FLOWQ_KEY_QUOTE = 3,       /* an ICMP error: `tuple` is the flow whose packet it quotes */
    FLOWQ_KEY_QUOTE_LATER = 4, /* the same of a quoted later fragment: no ports */
    FLOWQ_KEY_LABELS = 5       /* an MPLS label stack, by which the fallback spreads; no tuple */
} FLOWQ_NARROW_;

/* Bits of flowq_explanation.flags, of as much as could be read. */
enum flowq_packet_flag {
    FLOWQ_PACKET_MULTICAST = 1 << 0,  /* to a multicast or broadcast address of IP, or Ethernet's broadcast address */
    FLOWQ_PACKET_FIN = 1 << 1,        /* TCP flags of the packet that gave the key */
    FLOWQ_PACKET_SYN = 1 << 2,        /* */
    FLOWQ_PACKET_RST = 1 << 3,        /* */
    FLOWQ_PACKET_ICMP_ERROR = 1 << 4, /* an ICMP error, whether its quote could be read or not */
    FLOWQ_PACKET_WHOLE_KEY = 1 << 5,  /* a later fragment of a protocol without ports: `tuple` is its flow */
    FLOWQ_PACKET_UNREAD_TUNNEL =
        1 << 6,                 /* to the port of a UDP tunnel, but no inner packet can be read: `tuple` is the outer one */
    FLOWQ_PACKET_FIRST = 1 << 7 /* a first fragment: later ones go where it goes */
};

/* flowq_explanation.direction */
enum flowq_direction {
    FLOWQ_DIRECTION_RX = 1, /* explained as a packet that goes to the VM */
    FLOWQ_DIRECTION_TX = 2  /* explained as one that the VM sends */
} FLOWQ_NARROW_;

/* Length of flowq_explanation.layer: more than any packet has. */
enum flowq_layer_slots { FLOWQ_LAYER_SLOTS = 40 };

/* What flowq makes of a packet, and why. */
struct flowq_explanation {
    uint32_t size;     /* in: sizeof(struct flowq_explanation); out: bytes written */
    uint8_t direction; /* FLOWQ_DIRECTION_* */
    uint8_t key;       /* FLOWQ_KEY_* */
    uint8_t flags;     /* FLOWQ_PACKET_* */
    uint8_t end;       /* FLOWQ_END_*: why reading ended, */
    uint16_t end_at;   /* and after how many bytes */
    uint8_t n_layers;  /* headers in `layer` */
    uint8_t has_tuple; /* 1: `tuple` is there */
    uint32_t reserved; /* zero */
    struct flowq_tuple
        tuple;            /* as the flow's incoming packets carry it, in either direction; it can be looked up if `id` is not 0 */
    uint64_t id;          /* of the flow, as in struct flowq_binding, bound or not; 0: the packet has no flow's key */
    uint8_t bound;        /* 1: the flow is bound, and these tell how: */
    uint8_t bound_cls;    /* FLOWQ_CLASS_* */
    uint8_t bound_in_use; /* 1: that queue is in use */
    uint8_t reserved8;    /* zero */
    uint16_t bound_qid;   /* the queue; with `ordered` the decision may be the one it had before */
    uint16_t fallback;    /* the queue if the flow were not bound; FLOWQ_DROP: none is in use */
    uint32_t bound_age_ms;                       /* since the flow was last noted */
    uint32_t note;                               /* TX: what flowq_tx_note() of it would return now; RX: 0 */
    uint32_t note_qid;                           /* TX: the queue that was named */
    uint32_t reserved32;                         /* zero */
    struct flowq_decision decision;              /* RX: as flowq_rx_decide_burst() would give it now; TX: all zero */
    struct flowq_layer layer[FLOWQ_LAYER_SLOTS]; /* outermost first; behind the last one all zero */
};

/*
 * Where would this packet go, and why? What flowq_rx_decide_burst() would say of it now, with all that led there; nothing is
 * counted and nothing written, later fragments of it included (but in the tables of a hash key that is used for the first time,
 * virtio). Also a way to a packet's tuple and to the id by which flowq_vm_flows() knows its flow. Beside calls that change the
 * vm, each part is true at some instant of the call, but not all of them need be at the same.
 *
 * Returns 0 and fills *out up to out->size bytes, or
 *   -EINVAL  vm, pkt or out is NULL; out->size is below 8
 *   -ENOMEM  the thread could not be registered
 * Thread-safe, does not allocate. Not made for the data path: it takes ten times as long as steering. Since 0.9.
 */
int flowq_rx_explain(struct flowq_vm *vm, const struct flowq_pkt *pkt, struct flowq_explanation *out);

/*
 * The same for a packet that the VM sends and names queue qid for: what flowq_tx_note() would return now. Whether memory to grow
 * is to be had is not tried: it is taken to be there. Locks are not either: FLOWQ_NOTE_BUSY does not come. Returns as
 * flowq_rx_explain(). Since 0.9.
 */
int flowq_tx_explain(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid, struct flowq_explanation *out);

/*
 * Writes an explanation for people into a buffer, as snprintf(3) does: up to size - 1 bytes and a zero; some lines, each with its
 * end. buffer may be NULL when size is 0. Of a struct that is shorter than the library's, what it has. Returns the length of the
 * whole text, without the zero; or -EINVAL: buffer or explanation is NULL, or explanation->size is below 8. Thread-safe, never
 * allocates. Since 0.9.
 */
int64_t flowq_explanation_print(char *buffer, size_t size, const struct flowq_explanation *explanation);

/* ---- Looking inside: counters ---------------------------------------------------------------------------------------------- */

/* Lengths of arrays in struct flowq_stats: room for more. */
enum flowq_slots {
    FLOWQ_NOTE_SLOTS = 32,  /* of `note` */
    FLOWQ_REASON_SLOTS = 16 /* of `steer` */
};

/*
 * Statistics of a vm since it was made. Counters only grow. Each is exact when no call is running; the set is not one snapshot.
 * inserted == live + displaced + reclaimed + forgotten, always, then.
 */
struct flowq_stats {
    uint32_t size;        /* in: sizeof(struct flowq_stats); out: bytes written */
    uint32_t queue_pairs; /* as set */
    uint32_t queues_in_use;
    uint32_t queues_noted;              /* distinct queues that notes named within active_ms */
    uint64_t note[FLOWQ_NOTE_SLOTS];    /* notes by outcome, FLOWQ_NOTE_* */
    uint64_t steer[FLOWQ_REASON_SLOTS]; /* decisions by reason, FLOWQ_REASON_* */
    uint64_t inserted;                  /* bindings made: by notes, and by flowq_vm_load() */
    uint64_t live;                      /* bindings in the table now, stale ones included */
    uint64_t displaced_embryonic;       /* bindings that gave their place to a newcomer, by class (S9) */
    uint64_t displaced_closing;
    uint64_t displaced_established;
    uint64_t reclaimed;       /* stale bindings whose place was taken or given back */
    uint64_t forgotten;       /* by FLOWQ_RESET_FLOWS */
    uint64_t bound_elsewhere; /* packets whose binding names a queue that is not in use (S11) */
    uint64_t grown;           /* times a shard was split in two, or the first one made */
    uint64_t shrunk;          /* times two shards were merged, or the last one given back */
    uint64_t grow_failed;     /* times memory to grow was refused */
    uint64_t grow_delayed;    /* times a shard could not grow yet: more is superseded and unreclaimed than the table has */
    uint64_t table_bytes;     /* allocated for the flow table, retired_bytes included */
    uint64_t retired_bytes;   /* superseded, waiting for sections to close */
    uint64_t vm_bytes;        /* allocated for the vm in all, table included */
    uint64_t rss_elsewhere;   /* packets whose queue by RSS was not enabled, so that the next one in use got them */
    uint64_t loaded;          /* bindings made by flowq_vm_load() */

    /* With the setting `ordered`. begun == done + back + forced + lapsed + off + pending, when no call is running. */
    uint64_t ordered_begun;   /* moves that had to wait, or to see whether they had to */
    uint64_t ordered_done;    /* in order: all was taken */
    uint64_t ordered_back;    /* noted on the old queue again before any packet went to the new one */
    uint64_t ordered_forced;  /* not in order: ordered_max_us had passed */
    uint64_t ordered_lapsed;  /* no packet came for the flow within ordered_max_us, and another one needed the place */
    uint64_t ordered_off;     /* the old queue was not in use, or its ring began anew */
    uint64_t ordered_full;    /* moves at once and without order, beside these: as many as can be were pending */
    uint64_t ordered_held;    /* packets that went to the old queue */
    uint64_t ordered_pending; /* moves that wait now */
};

/*
 * Writes the statistics to *out, up to out->size bytes.
 * Returns 0, or -EINVAL: vm or out is NULL, or out->size is below 8; -ENOMEM: the thread could not be registered.
 * Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_stats(struct flowq_vm *vm, struct flowq_stats *out);

/* Statistics of one receive queue; all zero unless queue_stats is on. */
struct flowq_queue_stats {
    uint32_t size;    /* in: sizeof(struct flowq_queue_stats); out: bytes written */
    uint32_t in_use;  /* 1: in use now */
    uint64_t noted;   /* notes that bound, refreshed or moved a flow with this queue named */
    uint64_t steered; /* packets steered to it */
};

/*
 * Writes the statistics of queue qid to *out, up to out->size bytes.
 * Returns 0, or -EINVAL: vm or out is NULL, out->size is below 8, qid is not below max_queue_pairs. Thread-safe. Since 0.9.
 */
int flowq_vm_queue_stats(struct flowq_vm *vm, uint32_t qid, struct flowq_queue_stats *out);

/*
 * Counters by name. Every number of struct flowq_stats and of struct flowq_queue_stats has a name, which is the same in all
 * formats and in flowq-monitoring(7), which says what each means and what is normal.
 */

/* flowq_counter.kind */
enum flowq_counter_kind {
    FLOWQ_COUNTER_TOTAL = 1, /* only grows, since the vm was made */
    FLOWQ_COUNTER_GAUGE = 2  /* as it is now */
} FLOWQ_NARROW_;

/* One number. The texts are static storage, but label_value, which is there during the call only. New fields are appended. */
struct flowq_counter {
    uint32_t size;           /* bytes that the library has filled */
    uint8_t kind;            /* FLOWQ_COUNTER_* */
    uint8_t reserved[3];     /* zero */
    const char *name;        /* such as "flowq_notes", "flowq_table_bytes": lower case, digits, underscores */
    const char *unit;        /* "bytes", which then ends the name, too, or "" */
    const char *help;        /* a sentence: neither quotes, backslashes nor line ends */
    const char *label;       /* what tells numbers of this name apart: "outcome", "reason", "class", "queue"; NULL: it is alone */
    const char *label_value; /* "bound", "fallback", "embryonic", "3"; NULL without label */
    uint64_t value;
};

/*
 * Calls fn for each number of the vm and of its queues until it returns non-zero. Numbers of one name follow each other, and
 * come each time in the same order. Of queues those that the pairs cover, or that are in use, or have counted something; "noted"
 * and "steered" only with queue_stats. Returns fn's last result (0: all were shown), or -EINVAL: vm or fn is NULL; -ENOMEM: the
 * thread could not be registered. fn may call flowq. Thread-safe, does not allocate. Since 0.9.
 */
int flowq_vm_counters(struct flowq_vm *vm, int (*fn)(void *ctx, const struct flowq_counter *counter), void *ctx);

/* Formats of the counters of several vms. Each number has a label "vm" with the vm's name; of a vm without one, its place in the
   array, from 0 on. Bytes of a name that are no UTF-8 become '?'. */
enum flowq_format {
    FLOWQ_FORMAT_PROMETHEUS = 1,  /* Prometheus' text, version 0.0.4; a host may write its own behind it */
    FLOWQ_FORMAT_OPENMETRICS = 2, /* OpenMetrics 1.0; ends with # EOF */
    FLOWQ_FORMAT_JSON = 3         /* one object on one line: {"flowq_version":"0.9.0","vms":[{"vm":"a","flowq_flows_live":7,
                                     "flowq_notes":{"bound":9, ...}, ... "flowq_queue_steered":{"0":5}}]} */
};

/*
 * Writes the counters of n vms into a buffer, as snprintf(3) does: up to size - 1 bytes and a zero. vms may be NULL when n is 0,
 * and buffer when size is 0.
 *
 * Returns the length of the whole text, without the zero: if it is not below size the text is cut, and a buffer of that length
 * and something more, as counters grow, holds it. Or -EINVAL: vms or one of them or buffer is NULL; there is no such format;
 * -ENOMEM: the thread could not be registered. Thread-safe, does not allocate. Since 0.9.
 */
int64_t flowq_counters_print(char *buffer, size_t size, struct flowq_vm *const *vms, size_t n, uint32_t format);

/*
 * The same to a descriptor, in pieces of up to 4096 bytes, by write(2); waits where that waits. Returns 0, or
 *   -EINVAL  as above
 *   -ENOMEM  as above
 *   -EIO     write(2) failed, and errno says how; part of the text may have been written
 * Thread-safe, does not allocate. Since 0.9.
 */
int flowq_counters_write(int fd, struct flowq_vm *const *vms, size_t n, uint32_t format);

/* ---- Looking inside: names and version ------------------------------------------------------------------------------------- */

/*
 * The short name of an outcome of a note, FLOWQ_NOTE_*: "bound", "not-in-use"; "unknown" for other numbers. Static storage.
 * Thread-safe, never allocates. Since 0.9.
 */
const char *flowq_note_name(uint32_t note);

/* The same for the reason of a decision, FLOWQ_REASON_*: "bound", "icmp-error". Since 0.9. */
const char *flowq_reason_name(uint32_t reason);

/* The same for the class of a binding, FLOWQ_CLASS_*: "embryonic". Since 0.9. */
const char *flowq_class_name(uint32_t cls);

/* The same for the kind of a header, FLOWQ_LAYER_*: "ethernet", "hop-by-hop". Since 0.9. */
const char *flowq_layer_name(uint32_t kind);

/* The same for the end of reading, FLOWQ_END_*: "key", "cut". Since 0.9. */
const char *flowq_end_name(uint32_t end);

/* The same for what identity was found, FLOWQ_KEY_*: "flow", "quote". Since 0.9. */
const char *flowq_key_name(uint32_t key);

/*
 * The version of the library that is linked, as FLOWQ_VERSION writes it; compare with the macro to learn of a mismatch.
 * Thread-safe, never allocates. Since 0.9.
 */
uint32_t flowq_version(void);

/* The same as text, "major.minor.patch"; static storage. Thread-safe, never allocates. Since 0.9. */
const char *flowq_version_string(void);

/* ---- State that outlives the process --------------------------------------------------------------------------------------- */

/*
 * A vm's state as a stream of bytes, for a file, a socket, or vhost-user's device state: what a switch that is restarted, or a
 * host that a VM moves to, needs so that each flow goes on to where it went. flowq-state(5) has the format, which is the same
 * for all machines; a stream of today can be loaded for ever. If it holds bindings it holds the secret that keys the hashes, too:
 * keep it as you keep the memory of the process (flowq_vm_save(3), SECURITY.md).
 */

/* Parts of a vm's state. */
enum flowq_state {
    FLOWQ_STATE_PAIRS = 1 << 0,    /* queue pairs in use */
    FLOWQ_STATE_RINGS = 1 << 1,    /* which receive queues are enabled, and being reset */
    FLOWQ_STATE_FEATURES = 1 << 2, /* feature bits that the driver accepted: virtio_features */
    FLOWQ_STATE_HASH = 1 << 3,     /* RSS, or hash types and key alone */
    FLOWQ_STATE_TUNNELS = 1 << 4,  /* tunnels of which the inner header is hashed */
    FLOWQ_STATE_FLOWS = 1 << 5,    /* the secret; which queues unbound flows take; bindings */
    FLOWQ_STATE_ALL = (1 << 6) - 1
};

/* In place of a number of bytes: no limit. */
FLOWQ_WIDE_ enum flowq_state_bytes { FLOWQ_STATE_UNLIMITED = 0xffffffffffffffff };

/*
 * Saves parts of a vm, FLOWQ_STATE_* in `what`, while everything goes on: notes, steering, setters. Bindings take
 * `bindings_bytes` bytes of the stream at most, about 20 each; if there are more, the ones noted last are saved; 0: none, and
 * unbound flows still find their queues. A binding that a note made before the call is in the stream, also if it is moved or
 * noted again meanwhile, as long as there is room; one that is made meanwhile may be, and takes room as the newest. Fragments are
 * not saved: what is on its way when a process ends is lost or late.
 *
 * write   takes `size` bytes at data, 4096 at most, and returns 0, or a negative error number, which ends the call. It is called
 *         while the library holds no lock and has no section open; the stream comes in order.
 *
 * Returns 0, or
 *   -EINVAL  vm or write is NULL; what is 0 or has a bit that this version does not know
 *   -ENOMEM  the thread could not be registered
 *   or what write returned
 * Thread-safe. Does not allocate; takes some 60 KiB of stack. Since 0.9.
 */
int flowq_vm_save(struct flowq_vm *vm, uint32_t what, uint64_t bindings_bytes,
                  int (*write)(void *ctx, const void *data, size_t size), void *ctx);

/* The same, written to a file descriptor, which may be a pipe or a socket. Errors of write(2) besides; -EIO if it writes
   nothing. Since 0.9. */
int flowq_vm_save_fd(struct flowq_vm *vm, uint32_t what, uint64_t bindings_bytes, int fd);

/* What became of a stream. */
struct flowq_loaded {
    uint32_t size;         /* in: sizeof(struct flowq_loaded); out: bytes written */
    uint32_t parts;        /* FLOWQ_STATE_*: what was asked for and was there */
    uint64_t bindings;     /* taken over */
    uint64_t other_keys;   /* bindings left out: saved with other settings of keys or tunnels, or another format of keys */
    uint64_t other_queues; /* left out: of queues that this vm cannot have */
    uint64_t no_room;      /* left out: max_flows, or their place was full; those noted longest ago */
    uint64_t not_saved;    /* left out by flowq_vm_save() already */
};

/*
 * Loads parts of a stream, those of `what` that are there, into a vm that has no bindings, one that was just made for example;
 * all or nothing. A vhost-user back end loads FLOWQ_STATE_FLOWS, as its front end tells it the rest; a device model all.
 *
 * This is the other call, beside flowq_vm_destroy(), that must not run beside any other on the same vm: load before the vm is
 * shown to other threads, or while they leave it alone.
 *
 * The vm takes over the stream's secret. Bindings keep their queue, class and age (time between save and load does not count),
 * and how long they have been bound, for rebind_min. Those of queues that are not in use wait (S11). Unbound flows take the
 * queues that they took, as soon as just those queues are in use that were. A binding is left out, and counted in *loaded, if
 * this vm makes other keys, has no such queue, or has no room.
 *
 * read    gives up to `size` bytes; returns how many, 0 at the end, or a negative error number, which ends the call
 * loaded  filled up to loaded->size bytes on success; may be NULL
 *
 * No byte behind the stream's end is read. What comes may be of anybody: all of it is checked before it is used. Returns 0, or,
 * and then the vm is as it was,
 *   -EINVAL   vm or read is NULL; what is 0 or has a bit that this version does not know; loaded->size is below 8
 *   -EBUSY    the vm has bindings
 *   -EBADMSG  this is no such stream, or one that is cut, damaged, too large, or of a version that this one cannot read
 *   -ENOTSUP  the stream has queue pairs, hash types, tunnels or an indirection table that this vm does not offer
 *   -ENOMEM   out of memory
 *   or what read returned
 * Allocates: a table beside the one there is, which goes then. Since 0.9.
 */
int flowq_vm_load(struct flowq_vm *vm, uint32_t what, int64_t (*read)(void *ctx, void *data, size_t size), void *ctx,
                  struct flowq_loaded *loaded);

/* The same, read from a file descriptor. Errors of read(2) besides. Since 0.9. */
int flowq_vm_load_fd(struct flowq_vm *vm, uint32_t what, int fd, struct flowq_loaded *loaded);

/* ---- Short names ----------------------------------------------------------------------------------------------------------- */

#ifdef FLOWQ_SHORT_NAMES
/* Inline aliases, for a host that says so before it includes this header. */
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

#endif /* FLOWQ_H */
