/* sight: the packets that are not plain. See sight.h. */
#include "sight.h"

/* Whatever is not plain. What is not looked up in the table by its own key gets an empty line, and so ends up on the odd list. */
void sight_special(const struct view *v, const struct flowq_pkt *pkt, struct batch *b, unsigned at)
{
    static const uint8_t kinds[] = {[PARSE_KEYLESS] = ODD_KEYLESS, [PARSE_FLOW] = ODD_NOT, [PARSE_LATER] = ODD_LATER,
                                    [PARSE_QUOTE] = ODD_QUOTE, [PARSE_QUOTE_LATER] = ODD_LATER};
    const struct hash_secret *secret = &v->vm->secret;
    struct parse_rules rules;
    struct parse_result r;
    vm_parse_rules(v->vm, &rules);
    parse_packet(pkt, &rules, &r);
    if (r.kind == PARSE_QUOTE || r.kind == PARSE_QUOTE_LATER)
        key_reverse(&r.key); /* the VM sent the packet that is quoted (S6) */
    b->odd_kind[at] = kinds[r.kind];
    b->seen[at].hash = r.kind == PARSE_KEYLESS ? secret->brief.tag_low : hash_key(secret, &r.key);
    b->seen[at].line = b->odd_kind[at] == ODD_NOT ? line_of(*v, b->seen[at].hash) : table_nowhere;
    if (r.n_first || b->odd_kind[at] == ODD_LATER) {
        struct special *s = &b->special[b->n_special++];
        s->at = (uint8_t)at;
        s->n_first = r.n_first;
        s->later = r.kind == PARSE_LATER ? hash_frag(secret, &r.later) : 0;
        for (unsigned i = 0; i < r.n_first; i++)
            s->first[i] = hash_frag(secret, &r.first[i]);
    }
}

/* Rule S7, but for what only the table knows. */
static uint8_t never_learned(const struct parse_result *r)
{
    if (r->kind == PARSE_KEYLESS)
        return FLOWQ_NOTE_KEYLESS;
    if (r->flags & PARSE_MULTICAST)
        return FLOWQ_NOTE_MULTICAST;
    if (r->kind == PARSE_LATER)
        return FLOWQ_NOTE_FRAGMENT;
    if (r->flags & PARSE_ICMP_ERROR)
        return FLOWQ_NOTE_ICMP_ERROR;
    return TO_THE_TABLE;
}

struct sent sight_sent_special(const struct view *v, const struct flowq_pkt *pkt)
{
    const struct flowq_vm *vm = v->vm;
    struct parse_rules rules;
    struct parse_result r;
    vm_parse_rules(vm, &rules);
    parse_packet(pkt, &rules, &r);
    uint8_t outcome = never_learned(&r);
    if (outcome != TO_THE_TABLE)
        return (struct sent){.line = table_nowhere, .outcome = outcome};
    key_reverse(&r.key);
    return sight_sent_plain(*v, hash_key(&vm->secret, &r.key), note_kind_of(key_l4(&r.key).protocol, r.flags));
}
