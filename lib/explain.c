/* SPDX-License-Identifier: BSD-2-Clause */
/* explain: see explain.h. */
#include "explain.h"

#include "inspect.h"
#include "loops.h"
#include "rss.h"
#include "sized.h"

_Static_assert((int)FLOWQ_KEY_NONE == PARSE_KEYLESS && (int)FLOWQ_KEY_FLOW == PARSE_FLOW && (int)FLOWQ_KEY_LATER == PARSE_LATER &&
                   (int)FLOWQ_KEY_QUOTE == PARSE_QUOTE && (int)FLOWQ_KEY_QUOTE_LATER == PARSE_QUOTE_LATER &&
                   (int)FLOWQ_KEY_LABELS == PARSE_SPREAD,
               "what the parser calls it");
_Static_assert(FLOWQ_PACKET_MULTICAST == PARSE_MULTICAST && FLOWQ_PACKET_FIN == PARSE_FIN && FLOWQ_PACKET_SYN == PARSE_SYN &&
                   FLOWQ_PACKET_RST == PARSE_RST && FLOWQ_PACKET_ICMP_ERROR == PARSE_ICMP_ERROR &&
                   FLOWQ_PACKET_WHOLE_KEY == PARSE_WHOLE_KEY && FLOWQ_PACKET_UNREAD_TUNNEL == PARSE_UNREAD_TUNNEL,
               "likewise");

/* One explanation on its way. */
struct explain_work {
    struct flowq_vm *vm;
    struct thread *thread;
    struct flowq_pkt pkt; /* the copy, */
    uint8_t copy[PARSE_MAX_BYTES];
    atomic_u64 counter[STAT_N]; /* what the data path counts here nobody reads */
    struct tally tally;
    struct explain_trace trace;
    bool reversed; /* the packet went, or the one that it quotes, from the VM: its key is to be reversed */
    uint64_t now_ns;
    struct flowq_explanation *out;
};

/* ---- The packet, and what the parser says of it ---------------------------------------------------------------------------- */

/* Header bytes are copied once: all that follows speaks of the same packet. */
static void explain_begin(struct explain_work *w, struct flowq_vm *vm, struct thread *thread, const struct flowq_pkt *pkt,
                          struct flowq_explanation *out)
{
    uint32_t window = pkt->len < PARSE_MAX_BYTES ? pkt->len : PARSE_MAX_BYTES;
    memset(out, 0, sizeof(*out));
    memset(w->counter, 0, sizeof(w->counter));
    if (window > 0)
        memcpy(w->copy, pkt->data, window);
    w->vm = vm;
    w->thread = thread;
    w->pkt = (struct flowq_pkt){.data = w->copy, .len = window, .flags = pkt->flags};
    w->tally = (struct tally){.counter = w->counter};
    w->now_ns = vm_now(vm);
    w->out = out;
    out->size = sizeof(*out);
}

static void explain_layers(struct explain_work *w, uint32_t len)
{
    struct explain_trace *t = &w->trace;
    struct flowq_explanation *out = w->out;
    struct parse_rules rules;
    vm_parse_rules(w->vm, &rules);
    explain_parse(&w->pkt, &rules, t);
    out->key = t->result.kind;
    out->flags = (uint8_t)(t->result.flags | (t->result.n_first > 0 ? FLOWQ_PACKET_FIRST : 0));
    out->end = t->end == FLOWQ_END_CUT && len > PARSE_MAX_BYTES ? FLOWQ_END_WINDOW : t->end;
    out->end_at = (uint16_t)t->end_at;
    out->n_layers = (uint8_t)t->n_layers;
    memcpy(out->layer, t->layer, sizeof(out->layer));
}

static uint16_t explain_port(uint16_t port) { return be16toh(port); }

/* The tuple that flowq_vm_lookup() takes for this key, which is the incoming packets'. */
static void explain_tuple(const struct key *key, struct flowq_tuple *out)
{
    size_t address = key_is_v6(key) ? 16 : 4;
    struct key_l4 l4 = key_l4(key);
    memset(out, 0, sizeof(*out));
    memcpy(out->src, key->word, address);
    memcpy(out->dst, (const char *)key->word + address, address);
    out->sport = explain_port(l4.sport);
    out->dport = explain_port(l4.dport);
    out->version = l4.version;
    out->protocol = l4.protocol;
    for (size_t i = key_l4_word(key) + 1; i < key->bytes / 8; i++) {
        uint64_t word = key->word[i];
        if (word & KEY_VNI_MARK) {
            out->has_vni = 1;
            out->vni = (uint32_t)word;
            continue;
        }
        out->n_vlans = (uint8_t)(word >> KEY_VLAN_COUNT_SHIFT);
        for (unsigned v = 0; v < out->n_vlans; v++)
            out->vlan[v] = (uint16_t)(word >> KEY_VLAN_ID_BITS * v & ((1u << KEY_VLAN_ID_BITS) - 1));
    }
}

/* Does the key name a flow that may be bound? */
static bool explain_is_flow(const struct parse_result *r)
{
    return r->kind == PARSE_FLOW || r->kind == PARSE_QUOTE || (r->kind == PARSE_LATER && r->flags & PARSE_WHOLE_KEY);
}

/* The flow, its binding, its fallback. In a section. */
static void explain_flow(struct explain_work *w)
{
    const struct flowq_vm *vm = w->vm;
    const struct parse_result *r = &w->trace.result;
    struct flowq_explanation *out = w->out;
    struct key key = r->key;
    uint32_t summary = u32_load_acquire(&vm->queues.summary);
    bool none = r->kind == PARSE_KEYLESS || queues_n(summary) <= 1;
    out->fallback = none ? queues_lowest(summary) : queue_pick(&vm->queues, hash_spread(&vm->secret, &key));
    if (r->kind == PARSE_KEYLESS || r->kind == PARSE_SPREAD)
        return;
    if (w->reversed)
        key_reverse(&key);
    out->has_tuple = 1;
    explain_tuple(&key, &out->tuple);
    if (!explain_is_flow(r))
        return;
    uint64_t hash = hash_key(&vm->secret, &key);
    struct place p = find_in_table(&vm->table, hash);
    struct flowq_binding binding;
    out->id = hash & vm->table.tag_mask;
    if (!p.slot)
        return;
    inspect_describe(vm, p.word, w->now_ns, &binding);
    out->bound = 1;
    out->bound_cls = binding.cls;
    out->bound_in_use = binding.in_use;
    out->bound_qid = binding.qid;
    out->bound_age_ms = binding.age_ms;
}

/* ---- Packets that go to the VM --------------------------------------------------------------------------------------------- */

/* By flows: the stages of rx.c for a batch of one. */
static void explain_steer(struct explain_work *w)
{
    struct caller by = caller_of(w->thread);
    by.began = ordered_began() | ORDERED_ONLY_LOOKS;
    struct vm_view v = vm_view_of(w->vm, by);
    struct batch b;
    uint16_t qid;
    v.tally = w->tally;
    b.now_ns = w->now_ns;
    b.reason[0] = FLOWQ_REASON_BOUND;
    loops_best()->rx_parse(&v, &w->pkt, 1, true, 0, &b);
    if (b.kind[0] == BATCH_LATER) {
        b.fragment[0].n_first = 0; /* nothing is remembered: a tunnel's first fragment may be a later one inside */
        answer_fragment(&v, &b.fragment[0], &b, &qid);
    } else {
        qid = answer_one(&v, b.kind[0], b.lookup[0].hash, &w->pkt, &b.key[0], &b.reason[0]);
    }
    w->out->decision.qid = qid;
    w->out->decision.reason = b.reason[0];
}

/* As flowq_rx_decide_burst(). In a section. */
static void explain_decision(struct explain_work *w)
{
    struct flowq_vm *vm = w->vm;
    struct flowq_decision *d = &w->out->decision;
    uint32_t summary = u32_load_acquire(&vm->queues.summary);
    if (queues_rss_active(&vm->queues) && rss_decide_tallied(vm, &w->tally, &w->pkt, d))
        return;
    if (queues_n(summary) > 1) {
        explain_steer(w);
    } else {
        d->qid = queues_lowest(summary);
        d->reason = d->qid == FLOWQ_DROP ? FLOWQ_REASON_DROP : FLOWQ_REASON_SINGLE;
    }
    if (ptr_load_acquire(&vm->virtio.reports) != NULL)
        rss_add_reports(vm, w->thread, &w->pkt, 1, d);
}

int flowq_rx_explain(struct flowq_vm *vm, const struct flowq_pkt *pkt, struct flowq_explanation *out)
{
    if (!vm || !pkt || !out || !sized_can_take(out))
        return -EINVAL;
    struct thread *thread = thread_self();
    if (!thread)
        return -ENOMEM;
    struct flowq_explanation all;
    struct explain_work w;
    explain_begin(&w, vm, thread, pkt, &all);
    all.direction = FLOWQ_DIRECTION_RX;
    explain_layers(&w, pkt->len);
    w.reversed = w.trace.result.kind == PARSE_QUOTE || w.trace.result.kind == PARSE_QUOTE_LATER;
    thread_enter(thread);
    explain_flow(&w);
    explain_decision(&w);
    thread_leave(thread);
    sized_write(out, &all, sizeof(all));
    return 0;
}

/* ---- Packets that the VM sends --------------------------------------------------------------------------------------------- */

/* As flowq_tx_note(). In a section. */
static uint32_t explain_note(struct explain_work *w, uint32_t qid)
{
    struct flowq_vm *vm = w->vm;
    const struct parse_result *r = &w->trace.result;
    if (u8_load_relaxed(&vm->settings.no_learn))
        return FLOWQ_NOTE_OFF;
    if (qid >= vm->queues.max || !queue_in_use(&vm->queues, qid))
        return FLOWQ_NOTE_NOT_IN_USE;
    if (queues_n(u32_load_acquire(&vm->queues.summary)) <= 1)
        return FLOWQ_NOTE_SINGLE;
    uint8_t never = special_never_learned(r);
    if (never != NOTE_TO_THE_TABLE)
        return never;
    const struct note_context c = {
        .table = &vm->table,
        .queues = &vm->queues,
        .implied = &vm->implied,
        .ordered = vm->ordered,
        .tally = w->tally,
        .ages = vm_ages(vm),
        .now_ns = w->now_ns,
        .qid = qid,
        .rebind_tcp = u32_load_relaxed(&vm->settings.rebind_tcp),
        .rebind_other = u32_load_relaxed(&vm->settings.rebind_other),
    };
    enum note_kind kind = note_strongest(note_flags_of(key_l4(&r->key).protocol, r->flags));
    return note_foresee(&c, hash_key_reversed(&vm->secret, &r->key), hash_spread(&vm->secret, &r->key), kind);
}

int flowq_tx_explain(struct flowq_vm *vm, const struct flowq_pkt *pkt, uint32_t qid, struct flowq_explanation *out)
{
    if (!vm || !pkt || !out || !sized_can_take(out))
        return -EINVAL;
    struct thread *thread = thread_self();
    if (!thread)
        return -ENOMEM;
    struct flowq_explanation all;
    struct explain_work w;
    explain_begin(&w, vm, thread, pkt, &all);
    all.direction = FLOWQ_DIRECTION_TX;
    all.note_qid = qid;
    explain_layers(&w, pkt->len);
    w.reversed = w.trace.result.kind != PARSE_QUOTE && w.trace.result.kind != PARSE_QUOTE_LATER;
    thread_enter(thread);
    explain_flow(&w);
    all.note = explain_note(&w, qid);
    thread_leave(thread);
    sized_write(out, &all, sizeof(all));
    return 0;
}
