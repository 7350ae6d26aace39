/*
 * flowq-replay: what flowq would have done with captured traffic.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A capture has no queues in it, so the guest is played: N vCPUs, each with its own queue pair, and threads that own flows and
 * move to another vCPU now and then. A packet's way through the program, one file for each step:
 *
 *   replay_stream.c  bytes of a capture, unpacked;  replay_pcapng.c, of that format;  replay_link.c, its link layers
 *   replay_input.c   captures -> packets, in order, with a clock that never goes back
 *   replay_view.c    packet -> whose flow it is (the program's own parser)
 *   replay_host.c    which host is the VM, and so which way a packet goes
 *   replay_guest.c   the guest: the queues on which it sends and wants to receive: the truth that answers are held to
 *   replay.c         sent packets are noted, received packets are steered; options and main
 *   replay_report.c  what came of it, for people;  replay_json.c, for programs;  replay_csv.c, for tables
 *   replay_explain.c one packet, and why it goes where it goes;  replay_scenario.c, its flow for a bug report
 *
 * The truth is never taken from flowq: view, host and guest do not know it, and share no code with the library. Where they cannot
 * tell whose flow a packet is, it is steered all the same but not judged.
 */
#ifndef FLOWQ_EXAMPLES_REPLAY_H
#define FLOWQ_EXAMPLES_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <flowq.h>

#define PROGRAM      "flowq-replay"
#define MAX_VCPUS    256
#define MAX_VM_NETS  16
#define PACKET_BYTES FLOWQ_HEADER_MAX /* flowq looks at no more, and neither do we */

/* ---- Options ---- */

struct net {
    uint8_t address[16]; /* IPv4: the first four bytes */
    uint8_t version;     /* 4 or 6 */
    uint8_t bits;
};

struct options {
    struct net vm[MAX_VM_NETS];
    size_t n_vm;
    bool has_mac;
    uint8_t mac[6];
    uint32_t vcpus;
    uint32_t threads;    /* 0: four for each vCPU */
    uint64_t move_every; /* packets a thread sends, on average, before it moves; 0: never */
    uint64_t seed;
    uint32_t max_flows;
    uint64_t max_named; /* flows that the guest knows; packets of others are not judged */
    uint64_t explain;   /* the packet with this number; 0: none */
    uint64_t scenario;  /* likewise: its flow */
    uint64_t from_ns, to_ns;
    const char *filter; /* NULL: all packets */
    bool json, csv, flows;
    char **files;
    size_t n_files;
};

/* ---- Dictionary (replay_dict.c): 40-byte keys to the numbers 0, 1, 2 ... in the order of their coming ---- */

#define NONE UINT32_MAX

/* A flow as its packets carry it; IPv4 addresses in the first four bytes, the rest zero; host byte order; no padding. */
struct tuple {
    uint8_t src[16], dst[16];
    uint16_t sport, dport; /* 0 for protocols without ports */
    uint8_t version, protocol;
    uint16_t zero;
};
/* A datagram whose fragments belong together. */
struct datagram {
    uint8_t src[16], dst[16];
    uint32_t id;
    uint8_t version, protocol; /* protocol 0 for IPv6 */
    uint16_t zero;
};
_Static_assert(sizeof(struct tuple) == 40 && sizeof(struct datagram) == 40, "keys of the dictionary");

struct dict {
    uint8_t (*keys)[40];
    uint32_t *slots; /* number + 1; 0 is free */
    uint32_t n, n_keys, mask;
};

uint32_t dict_find(const struct dict *dict, const void *key); /* NONE: not there */
uint32_t dict_add(struct dict *dict, const void *key);        /* finds or adds; NONE: out of memory */
void dict_free(struct dict *dict);
uint64_t hash40(const void *key, uint64_t secret); /* 64 well-mixed bits of a 40-byte key */
struct tuple tuple_reverse(const struct tuple *tuple);

/* ---- Input (replay_input.c) ---- */

struct packet {
    uint64_t number;  /* from 1, over all captures, those that are filtered out included */
    uint64_t time_ns; /* since the first packet; never goes back */
    uint32_t len;     /* bytes in data */
    uint32_t flags;   /* FLOWQ_PKT_* */
    uint8_t data[PACKET_BYTES];
};

/* A packet as a capture has it. */
struct raw_packet {
    int link; /* as files number it */
    uint64_t time_ns;
    const uint8_t *data; /* valid until the next one is read */
    uint32_t len;
};

/* NULL, and errno. *pcapng: by its first bytes it is such a file; *fd: what it is read from. */
FILE *stream_open(const char *path, bool *pcapng, int *fd);

struct pcapng;
struct pcapng *pcapng_open(FILE *file); /* NULL: out of memory; else the file is its own */
bool pcapng_next(struct pcapng *pcapng, struct raw_packet *out);
const char *pcapng_error(const struct pcapng *pcapng); /* NULL: the end has been reached, or not yet */
void pcapng_close(struct pcapng *pcapng);

/* A number that files have (pcap-linktype(7)) and libpcap has another one for. */
enum { LINK_RAW_IN_FILES = 101 };

bool link_known(int link);
/* Fills len, flags and data. */
void link_convert(int link, const uint8_t *data, uint32_t len, struct packet *packet);

/* A text from outside, such as the name of a file, as a terminal may see it: '?' for control characters and what is not ASCII.
   One of four static buffers in turn. */
const char *printable(const char *text);

const char *filter_error(const char *expression); /* what is wrong with it; NULL: nothing */

struct input;
struct input *input_open(const struct options *options);     /* NULL: out of memory */
bool input_next(struct input *input, struct packet *packet); /* false: no more */
/* Reads up to max packets ahead; input_next gives them later. input_peek walks them, with a cursor that starts at 0. */
size_t input_look_ahead(struct input *input, size_t max);
bool input_peek(const struct input *input, size_t *cursor, struct packet *packet);
double input_progress(const struct input *input); /* how much of the current file has been read, 0 to 1; below 0: unknown */
uint32_t input_errors(const struct input *input); /* captures that could not be read, or not to the end */
uint32_t input_files(const struct input *input);  /* captures that gave at least one packet */
bool input_stopped(void);
uint64_t input_packets(const struct input *input); /* read so far, those that are filtered out included */
void input_stop(void);                             /* reads no more, on any input; for a signal handler */
void input_close(struct input *input);

/* ---- View (replay_view.c) ---- */

enum view_kind {
    VIEW_UNKNOWN, /* not IP, cut short, or nothing this program reads */
    VIEW_FLOW,    /* `flow` is the packet's flow */
    VIEW_LATER,   /* a later fragment of datagram `later` */
    VIEW_QUOTE,   /* an ICMP error: `flow` is that of the packet it quotes, as quoted */
};

struct view {
    uint8_t kind;
    bool multicast; /* sent to a multicast or broadcast address */
    bool ethernet;  /* mac_src and mac_dst are there */
    bool fragment;  /* the outermost IP packet is a fragment */
    uint8_t mac_src[6], mac_dst[6];
    struct tuple outer; /* of the outermost IP header; version 0: there is none; fragments and quotes have no ports */
    struct tuple flow;
    struct datagram first[2]; /* the packet is the first fragment of these: outside, and inside a tunnel */
    uint32_t n_first;
    struct datagram later;
};

void view_packet(const struct packet *packet, struct view *view);

/* ---- Host (replay_host.c) ---- */

enum direction { DIRECTION_OTHER, DIRECTION_SENT, DIRECTION_RECEIVED };

bool host_parse_net(const char *text, struct net *net);
bool host_parse_mac(const char *text, uint8_t mac[6]);
/* Chooses the VM by itself from the packets ahead and writes how to `how`. False: out of memory. */
bool host_choose(struct options *options, struct input *input, char *how, size_t size);
void host_describe(const struct options *options, char *out, size_t size);
enum direction host_direction(const struct options *options, const struct view *view);

/* ---- Guest (replay_guest.c) ---- */

#define NO_QUEUE 0xffffu

/* The contestants: flowq; a keyed hash over the five-tuple, as in a NIC's receive-side scaling; a NIC of one queue. */
enum method { METHOD_FLOWQ, METHOD_HASH, METHOD_ONE, N_METHODS };

struct flow {
    uint32_t thread;
    uint16_t queue; /* the VM last sent on; NO_QUEUE: it has not sent yet */
    uint16_t zero;
    uint64_t sent, received, moves;
    uint64_t judged, right[N_METHODS];
};

struct thread {
    uint32_t vcpu;
    uint64_t left; /* packets until it moves */
};

struct guest {
    const struct options *options;
    uint64_t random;
    struct thread *threads;
    uint32_t n_threads;
    struct dict names; /* tuple as the VM receives it -> number of the flow */
    struct flow *flows;
    uint32_t room;
    struct dict datagrams;
    struct {
        uint32_t flow;
        uint64_t time_ns;
    } * first; /* of each datagram: whose it is, and since when */
    uint32_t first_room;
    uint64_t thread_moves, flow_moves;
    uint64_t beyond; /* packets of flows beyond options->max_named */
    bool out_of_memory;
};

/* Why a received packet is not judged. */
enum unjudged {
    JUDGED,
    UNJUDGED_SILENT,
    UNJUDGED_MULTICAST,
    UNJUDGED_FRAGMENT,
    UNJUDGED_QUOTE,
    UNJUDGED_UNKNOWN,
    UNJUDGED_BEYOND,
    N_UNJUDGED
};

struct wish {
    uint32_t flow;    /* NONE: cannot tell */
    uint16_t queue;   /* on which the guest wants it; NO_QUEUE when not judged */
    uint8_t unjudged; /* enum unjudged */
};

bool guest_start(struct guest *guest, const struct options *options); /* false: out of memory */
void guest_stop(struct guest *guest);
/* The queue on which the guest sends this packet; where it wants this packet. */
uint32_t guest_send(struct guest *guest, const struct view *view, uint64_t now_ns);
struct wish guest_receive(struct guest *guest, const struct view *view, uint64_t now_ns);

/* ---- Results (replay.c), and how they are shown ---- */

struct results {
    uint64_t packets, sent, received, other; /* other: neither from nor to the VM */
    uint64_t duration_ns;
    uint64_t wanted[MAX_VCPUS]; /* judged packets, by the queue on which the guest wants them */
    uint64_t sent_on[MAX_VCPUS];
    uint64_t landed[N_METHODS][MAX_VCPUS]; /* judged packets, by the queue on which the method puts them */
    uint64_t right[N_METHODS][MAX_VCPUS];  /* those of them that the guest wants there */
    uint64_t judged;
    uint64_t unjudged[N_UNJUDGED];
    struct {
        uint64_t received, judged, right;
    } reason[FLOWQ_REASON_SLOTS];
    bool interrupted;      /* the input was stopped before its end */
    uint32_t n_incomplete; /* captures that could not be read, or not to the end */
    uint64_t filtered;     /* packets that were left out */
    char host[256];        /* who the VM is */
    char how[256];         /* and why; empty: the user said so */
    uint32_t n_files;
};

uint64_t results_right(const struct results *results, enum method method);
const char *method_name(enum method method);
const char *unjudged_name(uint32_t why);
/* "10.0.0.1:80" or "[2001:db8::1]:80"; without the port where the protocol has none. */
void tuple_ends(const struct tuple *tuple, char *src, char *dst, size_t size);
const char *protocol_name(uint8_t protocol, char *scratch, size_t size);
void flow_tuple(const struct guest *guest, uint32_t number, struct tuple *out);
void flow_to_flowq(const struct tuple *tuple, struct flowq_tuple *out);

bool report_csv(FILE *out, const struct guest *guest, struct flowq_vm *vm);
/* One packet, before it is given to flowq. queue: on which it is sent, or wanted; NO_QUEUE: not known. False: no more room. */
bool explain_packet(FILE *out, const struct packet *packet, enum direction direction, uint32_t queue, bool json,
                    struct flowq_vm *vm);
/* The flow of one packet as a scenario (replay_scenario.c). */
struct scenario {
    bool known;
    struct flowq_tuple tuple;
    uint64_t secret; /* of the addresses that replace others */
    uint64_t n_steps, time_ns;
};
bool scenario_find(struct scenario *s, const struct options *options, struct flowq_vm *vm);
void scenario_open(FILE *out, const struct options *options);
/* One packet, if it is of the flow. queue: on which it is sent; decision: of one that is received. */
void scenario_add(struct scenario *s, FILE *out, const struct packet *packet, enum direction direction, uint32_t queue,
                  const struct flowq_decision *decision, struct flowq_vm *vm);
bool report_text(FILE *out, const struct results *results, const struct guest *guest, struct flowq_vm *vm);
bool report_json(FILE *out, const struct results *results, const struct guest *guest, struct flowq_vm *vm);
bool explain_json(FILE *out, const struct packet *packet, enum direction direction, uint32_t queue,
                  const struct flowq_explanation *e);

#endif
