/* peer: see peer.h. SPDX-License-Identifier: BSD-2-Clause */
#include "peer.h"

#include "vm.h"

struct parse_rules peer_rules;

void peer_rules_init(void)
{
    struct flowq_vm *vm;
    if (flowq_vm_create(NULL, &vm) != 0)
        fail("cannot make a vm");
    vm_parse_rules(vm, &peer_rules);
    flowq_vm_destroy(vm);
}

bool peer_key_slow(const struct flowq_pkt *pkt, bool tx, uint32_t version, uint64_t word[6])
{
    struct parse_result r;
    parse_packet(pkt, &peer_rules, &r);
    if (r.kind != PARSE_FLOW || r.key.bytes != (version == 4 ? KEY_V4_BYTES : KEY_V6_BYTES))
        return false;
    if (tx)
        key_reverse(&r.key);
    memcpy(word, r.key.word, r.key.bytes);
    return true;
}
