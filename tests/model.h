/*
 * model: flowq as its rules S0 to S12 tell it, written as plainly as possible.
 *
 * The model answers the *set* of what flowq may do next and is then told what it did, which narrows what the model holds for
 * possible. The set has one member while fewer than half of max_flows are learned and every time is more than a tick away from
 * its deadline. It reads no packet: whoever built a packet says what it means. Flows and datagrams are small numbers, chosen by
 * the caller.
 *
 * What the model leaves open, on purpose: which queue the fallback chooses (it learns that from the first answer, of either
 * direction of a flow, and then insists: while the set of queues in use changes, that stays, unless it leaves or another comes),
 * which of several flows that may be displaced is, and how many places are within a newcomer's reach.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_TESTS_MODEL_H
#define FLOWQ_TESTS_MODEL_H

#include "flowq.h"

#define MODEL_MAX_PAIRS 64
#define MODEL_FALLBACK  0xfffeu /* one of those that the fallback may have chosen for the flow */

enum model_kind {
    MODEL_FLOW,    /* it has a flow */
    MODEL_LATER,   /* a later fragment; flow: that of its addresses and protocol */
    MODEL_ERROR,   /* an ICMP error; flow: that of the quoted packet */
    MODEL_KEYLESS, /* no readable key */
};

/* What a packet means. */
struct model_packet {
    uint8_t kind;      /* enum model_kind */
    uint8_t tcp_flags; /* FRAME_SYN ..., TCP only */
    bool tcp;
    bool multicast;
    bool fragmented; /* it is a fragment of `datagram`: the first, or with MODEL_LATER a later one */
    bool whole_key;  /* MODEL_LATER: its protocol has no ports, so the flow is the one that its first fragment belongs to */
    uint32_t flow;   /* as incoming packets carry it */
    uint32_t datagram;
};

struct model_flow {
    bool held; /* perhaps bound; if not: surely not */
    bool tcp;
    bool perhaps_established; /* that, or what cls says: a datagram that may have been noted before */
    uint8_t cls;              /* FLOWQ_CLASS_* */
    uint16_t qid;
    uint64_t noted_from, noted;    /* ns: the last note, at the earliest by the vm's reckoning, and in truth */
    uint64_t bound_from, bound_to; /* ns: when the note came that bound it to qid, at the earliest and the latest */
    uint64_t sure;                 /* events so far when it was last seen to be bound */
    uint64_t fallback;             /* a bit for each queue that may be this flow's and its reversed one's; see fallback_of() */
    bool implied;                  /* it was noted on its fallback's queue and not stored, */
    uint64_t implied_at;           /* ns: at this time, */
    uint64_t implied_order;        /* after so many such notes of any flow */
};

struct model_datagram {
    bool seen;
    uint16_t qid;
    uint64_t when;  /* ns */
    uint64_t order; /* first fragments before */
};

struct model_answer {
    unsigned n;
    struct {
        uint8_t reason;
        uint16_t qid; /* or MODEL_FALLBACK */
    } one[4];
};

struct model {
    uint64_t now;
    /* settings */
    uint64_t tick_ns, active_ns, idle_ns, rebind_tcp_ns, rebind_other_ns; /* rebind 0: off */
    uint32_t max_flows;
    bool learn, remembers_fragments;
    bool stalled;           /* a section is held: tables may not be able to grow */
    bool in_section;        /* of the host's, so that notes may go by what the clock was earlier there, */
    uint64_t section_since; /* ns: not before it was opened */
    /* queues */
    uint32_t max_pairs, pairs;
    bool enabled[MODEL_MAX_PAIRS], resetting[MODEL_MAX_PAIRS];
    uint32_t n_in_use;
    uint16_t in_use[MODEL_MAX_PAIRS]; /* ascending */
    uint64_t lately_in_use;           /* a bit for each: now, or if none is, when some were */
    /* flows */
    uint32_t n_flows, n_held;
    struct model_flow *flow;
    const uint32_t *twin;   /* by flow: the one with source and destination swapped */
    uint64_t events;        /* times a binding may have lost its place */
    uint64_t event_at;      /* ns: the last */
    uint64_t crowded_event; /* the last one while half of max_flows or more were held */
    uint64_t crowded_at;
    uint64_t inserted, early_refusals;
    uint64_t false_again; /* flows stored the first time, as one does whose fingerprint is another's: one in a million */
    uint64_t n_implied;   /* notes that were not stored because the fallback chooses the same queue */
    /* fragments */
    uint32_t n_datagrams;
    struct model_datagram *datagram;
    uint64_t firsts;
    uint64_t false_fragments; /* later ones that were taken for another datagram's: once in a thousand runs of check_model */
};

/* cfg as given to flowq_vm_create, which took it; twin: n_flows. */
void model_init(struct model *m, const struct flowq_vm_config *cfg, uint32_t n_flows, const uint32_t *twin, uint32_t n_datagrams);
void model_fini(struct model *m);

/* Setters and resets; call after the same call of flowq. qid may be FLOWQ_ALL_QUEUES, or too large. model_configure only for what
   flowq accepted. */
void model_configure(struct model *m, const struct flowq_vm_config *cfg);
void model_set_pairs(struct model *m, uint32_t n);
void model_set_enabled(struct model *m, uint32_t qid, bool on);
void model_set_resetting(struct model *m, uint32_t qid, bool on);
void model_reset(struct model *m, uint32_t what);
void model_maintain(struct model *m);
/* Up to n flows may have been learned: what may lose its place may have lost it. */
void model_disturb(struct model *m, uint32_t n);

bool model_in_use(const struct model *m, uint32_t qid);

/* Is the flow bound? */
enum model_sure { MODEL_NO, MODEL_MAYBE, MODEL_YES };
enum model_sure model_bound(const struct model *m, uint32_t flow);

/* Bit set of FLOWQ_NOTE_* that a note may come to now; then what it came to. Returns whether that was allowed. */
uint32_t model_note(const struct model *m, const struct model_packet *p, uint32_t qid);
/* What a note that changes nothing may take for now, at the earliest. */
uint64_t model_lately(const struct model *m);
bool model_noted(struct model *m, const struct model_packet *p, uint32_t qid, uint32_t outcome);

/* Where a packet may go now; then where it went. reason may be -1: not known. */
struct model_answer model_steer(const struct model *m, const struct model_packet *p);
bool model_steered(struct model *m, const struct model_packet *p, int reason, uint16_t qid);

/* What flowq_vm_lookup said: -ENOENT, or 0 and the binding. Returns whether it was allowed. */
bool model_looked_up(struct model *m, uint32_t flow, int error, const struct flowq_binding *b);
/* The same after notes whose outcome is not known: any class, queue `qid` or the one before. */
bool model_resync(struct model *m, const struct model_packet *p, uint32_t qid, int error, const struct flowq_binding *b);

/* How many flows may be active. */
uint32_t model_n_active(const struct model *m);

#endif
