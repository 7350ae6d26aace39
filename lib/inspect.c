/* SPDX-License-Identifier: BSD-2-Clause */
/* inspect: one flow by its tuple, and all of them. Reads only. */
#include "inspect.h"

#include "find.h"
#include "sized.h"
#include "vm.h"

/* An address that fills the first bytes of its field only. */
static bool inspect_tail_is_zero(const uint8_t address[16], size_t bytes)
{
    static const uint8_t zero[16];
    return memcmp(address + bytes, zero, 16 - bytes) == 0;
}

/* The key that parse_packet() gives for the flow's incoming packets; key.bytes 0: the tuple makes no sense. */
static struct key inspect_key(const struct flowq_tuple *t, bool key_vlan, bool key_vni)
{
    struct key k = {.bytes = 0};
    struct key_l4 l4 = {.protocol = t->protocol, .version = t->version};
    if ((t->version != 4 && t->version != 6) || t->n_vlans > FLOWQ_MAX_VLANS || t->reserved != 0)
        return k;
    if (t->has_vni > 1 || (t->vni != 0 && !t->has_vni))
        return k;
    size_t address = t->version == 4 ? 4 : 16;
    if (!inspect_tail_is_zero(t->src, address) || !inspect_tail_is_zero(t->dst, address))
        return k;
    memcpy(k.word, t->src, address);
    memcpy((char *)k.word + address, t->dst, address);
    l4.sport = __builtin_bswap16(t->sport);
    l4.dport = __builtin_bswap16(t->dport);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    l4.sport = t->sport;
    l4.dport = t->dport;
#endif
    memcpy((char *)k.word + 2 * address, &l4, sizeof(l4));
    uint64_t vlans = 0;
    for (uint32_t i = 0; i < t->n_vlans; i++) {
        if (t->vlan[i] > 0xfff)
            return k;
        if (t->vlan[i] != 0) /* a priority, and no VLAN */
            vlans = key_vlan_add(vlans, t->vlan[i]);
    }
    k.bytes = (uint32_t)(2 * address + sizeof(l4));
    if (key_vlan && vlans)
        key_append_ids(&k, vlans);
    if (key_vni && t->has_vni)
        key_append_ids(&k, key_vni_make(t->vni));
    return k;
}

void inspect_describe(const struct flowq_vm *vm, uint64_t word, uint64_t now_ns, struct flowq_binding *out)
{
    const struct table *t = &vm->table;
    uint32_t queue = ordered_bound_to(vm->ordered, t, word);
    *out = (struct flowq_binding){
        .size = sizeof(*out),
        .qid = (uint16_t)queue,
        .cls = (uint8_t)(word_class(word) == WORD_FROZEN ? FLOWQ_CLASS_ESTABLISHED : word_class(word)),
        .in_use = queue_in_use(&vm->queues, queue),
        .id = word & t->tag_mask,
        .age_ms =
            (uint32_t)(((uint64_t)note_age((uint32_t)(now_ns >> vm->ages.tick_shift), word) << vm->ages.tick_shift) / 1000000),
    };
}

int flowq_vm_lookup(struct flowq_vm *vm, const struct flowq_tuple *tuple, struct flowq_binding *out)
{
    if (!vm || !tuple || !out || !sized_can_take(out))
        return -EINVAL;
    struct key key =
        inspect_key(tuple, u8_load_relaxed(&vm->settings.key_vlan) != 0, u8_load_relaxed(&vm->settings.key_vni) != 0);
    if (key.bytes == 0)
        return -EINVAL;
    struct thread *thread = thread_self();
    if (!thread)
        return -ENOMEM;
    thread_enter(thread);
    struct place p = find_in_table(&vm->table, hash_key(&vm->secret, &key));
    thread_leave(thread);
    if (!p.slot)
        return -ENOENT;
    struct flowq_binding all;
    inspect_describe(vm, p.word, vm_now(vm), &all);
    sized_write(out, &all, sizeof(all));
    return 0;
}

struct inspect_walk {
    const struct flowq_vm *vm;
    uint64_t now_ns;
    int (*fn)(void *ctx, const struct flowq_binding *binding);
    void *ctx;
};

static int inspect_show(void *ctx, uint64_t word)
{
    const struct inspect_walk *s = ctx;
    struct flowq_binding binding;
    inspect_describe(s->vm, word, s->now_ns, &binding);
    return s->fn(s->ctx, &binding);
}

int flowq_vm_flows(struct flowq_vm *vm, int (*fn)(void *ctx, const struct flowq_binding *binding), void *ctx)
{
    if (!vm || !fn)
        return -EINVAL;
    struct thread *thread = thread_self();
    if (!thread)
        return -ENOMEM;
    struct inspect_walk s = {.vm = vm, .now_ns = vm_now(vm), .fn = fn, .ctx = ctx};
    thread_enter(thread);
    int r = table_each(&vm->table, inspect_show, &s);
    thread_leave(thread);
    return r;
}
