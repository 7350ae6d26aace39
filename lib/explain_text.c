/* SPDX-License-Identifier: BSD-2-Clause */
/* explain_text: an explanation for people, line by line. See explain.h. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "flowq.h"
#include "parse.h"
#include "sized.h"

/* ---- Where text goes ------------------------------------------------------------------------------------------------------- */

struct explain_text {
    char *at;     /* the next bytes of the buffer, */
    size_t left;  /* of which there are so many */
    uint64_t len; /* of all text so far, cut or not */
};

static void explain_put(struct explain_text *o, const char *text)
{
    size_t n = strlen(text), some = n < o->left ? n : o->left;
    o->len += n;
    if (some == 0)
        return;
    memcpy(o->at, text, some);
    o->at += some;
    o->left -= some;
}

/* In base 10 or 16, at least so wide. */
static void explain_put_number(struct explain_text *o, uint64_t n, unsigned base, unsigned width, char fill)
{
    char room[24], *at = room + sizeof(room) - 1;
    *at = 0;
    do
        *--at = "0123456789abcdef"[n % base];
    while ((n /= base) != 0);
    while (at > room && room + sizeof(room) - 1 - at < (ptrdiff_t)width)
        *--at = fill;
    explain_put(o, at);
}

static void explain_put_count(struct explain_text *o, uint64_t n) { explain_put_number(o, n, 10, 0, ' '); }

static void explain_put_hex(struct explain_text *o, uint64_t n, unsigned digits)
{
    explain_put(o, "0x");
    explain_put_number(o, n, 16, digits, '0');
}

/* ---- Headers --------------------------------------------------------------------------------------------------------------- */

/* What a header's value is; NULL: it says nothing. */
static const char *explain_value_name(uint8_t kind)
{
    static const char *const names[] = {
        [FLOWQ_LAYER_ETHERNET] = "type",
        [FLOWQ_LAYER_VLAN] = "id",
        [FLOWQ_LAYER_LLC] = "access point",
        [FLOWQ_LAYER_MPLS] = "label",
        [FLOWQ_LAYER_PPPOE] = "protocol",
        [FLOWQ_LAYER_IPV4] = "protocol",
        [FLOWQ_LAYER_IPV6] = "next header",
        [FLOWQ_LAYER_HOP_BY_HOP] = "next header",
        [FLOWQ_LAYER_DEST_OPTIONS] = "next header",
        [FLOWQ_LAYER_ROUTING] = "next header",
        [FLOWQ_LAYER_FRAGMENT] = "next header",
        [FLOWQ_LAYER_AH] = "next header",
        [FLOWQ_LAYER_MOBILITY] = "next header",
        [FLOWQ_LAYER_TCP] = "to port",
        [FLOWQ_LAYER_UDP] = "to port",
        [FLOWQ_LAYER_PORTS] = "to port",
        [FLOWQ_LAYER_ICMP] = "type",
        [FLOWQ_LAYER_ICMP_OPTION] = "type",
        [FLOWQ_LAYER_GRE] = "type",
        [FLOWQ_LAYER_ERSPAN] = "type",
        [FLOWQ_LAYER_VXLAN] = "network id",
        [FLOWQ_LAYER_VXLAN_GPE] = "network id",
        [FLOWQ_LAYER_GENEVE] = "network id",
        [FLOWQ_LAYER_GTPU] = "endpoint id",
        [FLOWQ_LAYER_GTPU_EXTENSION] = "next one",
        [FLOWQ_LAYER_GUE] = "protocol",
    };
    return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : NULL;
}

/* Numbers that people know in hexadecimal. */
static bool explain_is_hex(uint8_t kind)
{
    return kind == FLOWQ_LAYER_ETHERNET || kind == FLOWQ_LAYER_GRE || kind == FLOWQ_LAYER_PPPOE || kind == FLOWQ_LAYER_LLC;
}

static void explain_put_layer(struct explain_text *o, const struct flowq_layer *l)
{
    const char *name = explain_value_name(l->kind);
    explain_put_number(o, l->offset, 10, 5, ' ');
    explain_put_number(o, l->length, 10, 7, ' ');
    explain_put(o, "  ");
    explain_put(o, flowq_layer_name(l->kind));
    if (name) {
        explain_put(o, ", ");
        explain_put(o, name);
        explain_put(o, " ");
        if (explain_is_hex(l->kind))
            explain_put_hex(o, l->value, 4);
        else
            explain_put_count(o, l->value);
    }
    if (l->flags & FLOWQ_LAYER_IN_TUNNEL)
        explain_put(o, ", tunnel");
    if (l->flags & FLOWQ_LAYER_IN_QUOTE)
        explain_put(o, ", quoted");
    if (l->flags & FLOWQ_LAYER_PASSED_OVER)
        explain_put(o, ", passed over");
    explain_put(o, "\n");
}

static const char *explain_end_text(uint8_t end)
{
    static const char *const texts[] = {
        [FLOWQ_END_KEY] = "all that the key needs has been read",
        [FLOWQ_END_CUT] = "the packet ends within the next header",
        [FLOWQ_END_WINDOW] = "the next header does not end within the bytes that are looked at",
        [FLOWQ_END_MALFORMED] = "the next header contradicts itself",
        [FLOWQ_END_UNREAD] = "what comes next is not read",
        [FLOWQ_END_UNLIKE] = "what comes next looks neither like IP nor like a frame",
        [FLOWQ_END_LIMIT] = "there are too many headers to pass over",
        [FLOWQ_END_FLAGS] = "the packet's flags are not known",
    };
    return end < sizeof(texts) / sizeof(texts[0]) && texts[end] ? texts[end] : "unknown";
}

static void explain_put_layers(struct explain_text *o, const struct flowq_explanation *e)
{
    explain_put(o, e->direction == FLOWQ_DIRECTION_TX ? "a packet that the VM sends\n" : "a packet that goes to the VM\n");
    explain_put(o, "   at  bytes  header\n");
    for (unsigned i = 0; i < e->n_layers && i < FLOWQ_LAYER_SLOTS; i++)
        explain_put_layer(o, &e->layer[i]);
    explain_put_number(o, e->end_at, 10, 5, ' ');
    explain_put(o, "         end: ");
    explain_put(o, explain_end_text(e->end));
    explain_put(o, "\n");
}

/* ---- The key --------------------------------------------------------------------------------------------------------------- */

static void explain_put_protocol(struct explain_text *o, uint8_t protocol)
{
    static const struct {
        uint8_t number;
        const char *name;
    } known[] = {{PROTO_TCP, "tcp"},   {PROTO_UDP, "udp"},   {PROTO_ICMP, "icmp"}, {PROTO_ICMPV6, "icmpv6"},
                 {PROTO_SCTP, "sctp"}, {PROTO_DCCP, "dccp"}, {PROTO_GRE, "gre"},   {PROTO_UDP_LITE, "udplite"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].number == protocol) {
            explain_put(o, known[i].name);
            return;
        }
    explain_put(o, "protocol ");
    explain_put_count(o, protocol);
}

static void explain_put_end(struct explain_text *o, const struct flowq_tuple *t, const uint8_t *address, uint16_t port)
{
    char text[INET6_ADDRSTRLEN] = "?";
    bool brackets = t->version == 6 && port != 0;
    (void)inet_ntop(t->version == 6 ? AF_INET6 : AF_INET, address, text, sizeof(text));
    explain_put(o, brackets ? "[" : "");
    explain_put(o, text);
    explain_put(o, brackets ? "]" : "");
    if (port == 0)
        return;
    explain_put(o, ":");
    explain_put_count(o, port);
}

static void explain_put_tuple(struct explain_text *o, const struct flowq_tuple *t)
{
    explain_put(o, " ");
    explain_put_protocol(o, t->protocol);
    explain_put(o, " ");
    explain_put_end(o, t, t->src, t->sport);
    explain_put(o, " -> ");
    explain_put_end(o, t, t->dst, t->dport);
    for (unsigned i = 0; i < t->n_vlans && i < FLOWQ_MAX_VLANS; i++) {
        explain_put(o, ", VLAN ");
        explain_put_count(o, t->vlan[i]);
    }
    if (t->has_vni) {
        explain_put(o, ", network ");
        explain_put_count(o, t->vni);
    }
}

static void explain_put_flags(struct explain_text *o, uint8_t flags)
{
    static const char *const names[8] = {
        "multicast",       "FIN", "SYN", "RST", "ICMP error", "a later fragment with its flow's whole key", "an unread tunnel",
        "a first fragment"};
    bool any = false;
    for (unsigned bit = 0; bit < 8; bit++) {
        if (!(flags >> bit & 1))
            continue;
        explain_put(o, any ? ", " : "packet   ");
        explain_put(o, names[bit]);
        any = true;
    }
    explain_put(o, any ? "\n" : "");
}

static void explain_put_key(struct explain_text *o, const struct flowq_explanation *e)
{
    explain_put(o, "key      ");
    explain_put(o, flowq_key_name(e->key));
    if (e->has_tuple)
        explain_put_tuple(o, &e->tuple);
    explain_put(o, "\n");
    explain_put_flags(o, e->flags);
}

/* ---- What becomes of it ---------------------------------------------------------------------------------------------------- */

static void explain_put_queue(struct explain_text *o, uint32_t qid)
{
    if (qid == FLOWQ_DROP) {
        explain_put(o, "no queue");
        return;
    }
    explain_put(o, "queue ");
    explain_put_count(o, qid);
}

static void explain_put_binding(struct explain_text *o, const struct flowq_explanation *e)
{
    if (e->id != 0) {
        explain_put(o, "id       ");
        explain_put_hex(o, e->id, 16);
        explain_put(o, "\n");
    }
    explain_put(o, "bound    ");
    if (e->bound) {
        explain_put(o, "to ");
        explain_put_queue(o, e->bound_qid);
        explain_put(o, e->bound_in_use ? ", " : ", which is not in use; ");
        explain_put(o, flowq_class_name(e->bound_cls));
        explain_put(o, ", last noted ");
        explain_put_count(o, e->bound_age_ms);
        explain_put(o, " ms ago");
    } else {
        explain_put(o, "no");
    }
    explain_put(o, "\nfallback ");
    explain_put_queue(o, e->fallback);
    explain_put(o, "\n");
}

static void explain_put_outcome(struct explain_text *o, const struct flowq_explanation *e)
{
    if (e->direction == FLOWQ_DIRECTION_TX) {
        explain_put(o, "a note   on queue ");
        explain_put_count(o, e->note_qid);
        explain_put(o, ": ");
        explain_put(o, flowq_note_name(e->note & FLOWQ_NOTE_OUTCOME));
        if (e->note & FLOWQ_NOTE_PENDING) {
            explain_put(o, "; its packets still go to ");
            explain_put_queue(o, e->note >> FLOWQ_NOTE_FROM_SHIFT);
        }
    } else {
        explain_put(o, "goes to  ");
        explain_put_queue(o, e->decision.qid);
        explain_put(o, ": ");
        explain_put(o, flowq_reason_name(e->decision.reason));
        if (e->bound && e->decision.reason == FLOWQ_REASON_BOUND && e->decision.qid != e->bound_qid)
            explain_put(o, ", until it moves in order");
        if (e->decision.hash_report) {
            explain_put(o, ", hash report ");
            explain_put_count(o, e->decision.hash_report);
            explain_put(o, ", hash ");
            explain_put_hex(o, e->decision.hash_value, 8);
        }
    }
    explain_put(o, "\n");
}

int64_t flowq_explanation_print(char *buffer, size_t size, const struct flowq_explanation *explanation)
{
    struct explain_text o = {.at = buffer, .left = size > 0 ? size - 1 : 0};
    struct flowq_explanation e;
    if (!explanation || (!buffer && size > 0))
        return -EINVAL;
    int r = sized_read(&e, sizeof(e), explanation, SIZED_OUT_MIN);
    if (r == -EINVAL)
        return r;
    explain_put_layers(&o, &e);
    explain_put_key(&o, &e);
    explain_put_binding(&o, &e);
    explain_put_outcome(&o, &e);
    if (size > 0)
        *o.at = 0;
    return (int64_t)o.len;
}
