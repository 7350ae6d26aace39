/*
 * virtio: see virtio.h. Public interface; every errno that leaves is documented in flowq.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "virtio.h"

#include "rss.h"
#include "sized.h"
#include "tunnel.h"
#include "vm.h"

/* ---- Inner headers --------------------------------------------------------------------------------------------------------- */

struct parse_rules virtio_rules(const struct flowq_vm *vm)
{
    const struct virtio *v = &vm->virtio;
    struct parse_rules r = {.tunnels = u32_load_relaxed(&v->tunnels), .vlan_tpid = u16_load_relaxed(&vm->settings.vlan_tpid)};
    if (r.tunnels == 0)
        return r;
    ports_load(&v->ports, r.port);
    r.udp_filter = tunnel_filter(r.tunnels, r.port);
    return r;
}

/* ---- A configuration takes another one's place ----------------------------------------------------------------------------- */

void virtio_discard_locked(struct flowq_vm *vm, struct rss *r)
{
    u64_sub_relaxed(&vm->virtio.bytes, r->bytes);
    rss_free(vm, r);
}

static void virtio_reclaim_locked(struct flowq_vm *vm)
{
    struct virtio *v = &vm->virtio;
    for (struct rss **at = &v->retired; *at;) {
        struct rss *r = *at;
        if (r->n_readers == 0 && epoch_passed(r->retired_stamp)) {
            *at = r->retired_next;
            v->n_retired--;
            virtio_discard_locked(vm, r);
        } else {
            at = &r->retired_next;
        }
    }
}

/* r: the source of hash types and key from now on, NULL: there is none. rules: its table chooses the queue. */
static void virtio_replace_locked(struct flowq_vm *vm, struct rss *r, bool rules)
{
    struct virtio *v = &vm->virtio;
    struct rss *old = v->last;
    v->last = r;
    (void)ptr_xchg_seq_cst(&v->reports, v->features & FLOWQ_VIRTIO_F_HASH_REPORT ? r : NULL); /* V-A */
    (void)ptr_xchg_seq_cst(&v->rss_active, rules ? r : NULL);
    queues_set_mode(&vm->queues, QUEUES_RSS, rules); /* V-B */
    if (old && old != r) {
        old->retired_stamp = epoch_stamp();
        old->retired_next = v->retired;
        v->retired = old;
        v->n_retired++;
    }
    virtio_reclaim_locked(vm);
}

static void virtio_set_features_locked(struct virtio *v, uint64_t features)
{
    v->features = features;
    (void)ptr_xchg_seq_cst(&v->reports, features & FLOWQ_VIRTIO_F_HASH_REPORT ? v->last : NULL);
}

struct rss *virtio_new_locked(struct flowq_vm *vm, uint32_t n)
{
    struct virtio *v = &vm->virtio;
    virtio_reclaim_locked(vm);
    struct rss *r = v->n_retired < VIRTIO_MAX_RETIRED ? rss_create(vm, n) : NULL;
    if (r)
        u64_add_relaxed(&v->bytes, r->bytes);
    return r;
}

/* ---- What the guest may ask for -------------------------------------------------------------------------------------------- */

static int virtio_check_hash(const struct virtio *v, const struct virtio_hash *hash)
{
    if (hash->types & ~v->hash_types || hash->key_length > v->max_key)
        return -EINVAL;
    return hash->types && hash->key_length == 0 ? -EINVAL : 0; /* every hash would be 0 */
}

int virtio_check_table_locked(const struct virtio *v, uint32_t n)
{
    return n == 0 || n > v->max_table || n & (n - 1) ? -EINVAL : 0;
}

static int virtio_check_queues(const struct flowq_vm *vm, const struct rss *r, uint32_t max_tx)
{
    if (max_tx == 0 || max_tx > vm->queues.max)
        return -EINVAL;
    for (uint32_t i = 0; i <= r->table_mask + 1; i++)
        if (r->table[i] >= vm->queues.max)
            return -EINVAL;
    return 0;
}

int virtio_set_rss_locked(struct flowq_vm *vm, struct rss *r, uint32_t max_tx, const struct virtio_hash *hash)
{
    struct virtio *v = &vm->virtio;
    if (!(v->features & FLOWQ_VIRTIO_F_RSS))
        return -ENOTSUP;
    if (virtio_check_hash(v, hash) || virtio_check_queues(vm, r, max_tx))
        return -EINVAL;
    rss_set_hash(r, hash->types, hash->key, hash->key_length);
    queues_set_named(&vm->queues, max_tx, r->table, r->table_mask + 2);
    virtio_replace_locked(vm, r, true);
    return 0;
}

int virtio_set_hash_locked(struct flowq_vm *vm, const struct virtio_hash *hash)
{
    struct virtio *v = &vm->virtio;
    if (!(v->features & FLOWQ_VIRTIO_F_HASH_REPORT) || v->features & FLOWQ_VIRTIO_F_RSS)
        return -ENOTSUP;
    if (virtio_check_hash(v, hash))
        return -EINVAL;
    struct rss *r = virtio_new_locked(vm, 1);
    if (!r)
        return -ENOMEM;
    rss_set_hash(r, hash->types, hash->key, hash->key_length);
    virtio_replace_locked(vm, r, false);
    return 0;
}

int virtio_set_tunnels_locked(struct flowq_vm *vm, uint32_t types)
{
    struct virtio *v = &vm->virtio;
    if (!(v->features & FLOWQ_VIRTIO_F_HASH_TUNNEL))
        return -ENOTSUP;
    if (types & ~v->hash_tunnels)
        return -EINVAL;
    u32_store_release(&v->tunnels, tunnel_of_hash_types(types));
    return 0;
}

void virtio_set_pairs_locked(struct flowq_vm *vm, uint32_t n)
{
    virtio_replace_locked(vm, vm->virtio.last, false);
    queues_set_pairs(&vm->queues, n);
}

/* ---- The same as calls ----------------------------------------------------------------------------------------------------- */

#define VIRTIO_RSS_SIZE_MIN SIZED_END(struct flowq_rss, reserved)

static int virtio_read_rss(const struct flowq_rss *in, struct flowq_rss *out)
{
    int r = in ? sized_read(out, sizeof(*out), in, VIRTIO_RSS_SIZE_MIN) : -EINVAL;
    if (r)
        return r;
    return !out->table || (out->key_length && !out->key) || out->reserved ? -EINVAL : 0;
}

int flowq_vm_set_rss(struct flowq_vm *vm, const struct flowq_rss *rss)
{
    struct flowq_rss known;
    int r = vm ? virtio_read_rss(rss, &known) : -EINVAL;
    if (r)
        return r;
    struct virtio *v = &vm->virtio;
    mutex_lock(&v->lock);
    r = v->features & FLOWQ_VIRTIO_F_RSS ? virtio_check_table_locked(v, known.table_length) : -ENOTSUP;
    struct rss *made = r ? NULL : virtio_new_locked(vm, known.table_length);
    if (made) {
        const struct virtio_hash hash = {known.hash_types, known.key_length, known.key};
        memcpy(made->table, known.table, known.table_length * sizeof(*known.table));
        made->table[known.table_length] = known.unclassified;
        r = virtio_set_rss_locked(vm, made, known.max_tx, &hash);
        if (r)
            virtio_discard_locked(vm, made);
    } else if (r == 0) {
        r = -ENOMEM;
    }
    mutex_unlock(&v->lock);
    return r;
}

int flowq_vm_set_hash(struct flowq_vm *vm, uint32_t hash_types, const void *key, uint32_t key_length)
{
    const struct virtio_hash hash = {hash_types, key_length, key};
    if (!vm || (key_length && !key))
        return -EINVAL;
    mutex_lock(&vm->virtio.lock);
    int r = virtio_set_hash_locked(vm, &hash);
    mutex_unlock(&vm->virtio.lock);
    return r;
}

int flowq_vm_set_hash_tunnels(struct flowq_vm *vm, uint32_t types)
{
    if (!vm)
        return -EINVAL;
    mutex_lock(&vm->virtio.lock);
    int r = virtio_set_tunnels_locked(vm, types);
    mutex_unlock(&vm->virtio.lock);
    return r;
}

void virtio_set_pairs(struct flowq_vm *vm, uint32_t n)
{
    mutex_lock(&vm->virtio.lock);
    virtio_set_pairs_locked(vm, n);
    mutex_unlock(&vm->virtio.lock);
}

/* ---- What a host may offer, and what it hands to the guest ----------------------------------------------------------------- */

int flowq_vm_virtio_caps(struct flowq_vm *vm, struct flowq_virtio_caps *out)
{
    if (!vm || !out || !sized_can_take(out))
        return -EINVAL;
    struct virtio *v = &vm->virtio;
    mutex_lock(&v->lock);
    struct flowq_virtio_caps all = {
        .max_queue_pairs = vm->queues.max,
        .features = FLOWQ_VIRTIO_F_MQ | (v->hash_types ? FLOWQ_VIRTIO_F_RSS | FLOWQ_VIRTIO_F_HASH_REPORT : 0) |
                    (v->hash_types && v->hash_tunnels ? FLOWQ_VIRTIO_F_HASH_TUNNEL : 0),
        .hash_types = v->hash_types,
        .hash_tunnels = v->hash_tunnels,
        .max_key = v->max_key,
        .max_table = v->max_table,
    };
    mutex_unlock(&v->lock);
    sized_write(out, &all, sizeof(all));
    return 0;
}

/* struct virtio_net_hdr_v1_hash: hash_value, hash_report and padding follow the 12 bytes of the header without them. */
#define VIRTIO_HDR_HASH_AT    12
#define VIRTIO_HDR_HASH_BYTES 8

int flowq_hdr_set_hash(void *hdr, size_t size, const struct flowq_decision *decision)
{
    if (!hdr || !decision || size < VIRTIO_HDR_HASH_AT + VIRTIO_HDR_HASH_BYTES)
        return -EINVAL;
    uint32_t value = decision->hash_value;
    const uint8_t le[VIRTIO_HDR_HASH_BYTES] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                                               (uint8_t)(value >> 24), decision->hash_report};
    memcpy((char *)hdr + VIRTIO_HDR_HASH_AT, le, sizeof(le));
    return 0;
}

/* ---- State that is saved --------------------------------------------------------------------------------------------------- */

void virtio_read(struct flowq_vm *vm, struct virtio_state *out)
{
    struct virtio *v = &vm->virtio;
    mutex_lock(&v->lock);
    *out = (struct virtio_state){.features = v->features, .tunnels = tunnel_hash_types(u32_load_relaxed(&v->tunnels))};
    out->rss = v->last;
    out->rss_active = v->last && ptr_load_relaxed(&v->rss_active) == v->last;
    if (v->last)
        v->last->n_readers++;
    mutex_unlock(&v->lock);
}

void virtio_read_end(struct flowq_vm *vm, const struct virtio_state *state)
{
    mutex_lock(&vm->virtio.lock);
    if (state->rss)
        state->rss->n_readers--;
    virtio_reclaim_locked(vm);
    mutex_unlock(&vm->virtio.lock);
}

int virtio_check_load(struct flowq_vm *vm, uint32_t hash_types, uint32_t table_length)
{
    const struct virtio *v = &vm->virtio;
    if (hash_types & ~v->hash_types)
        return -ENOTSUP;
    return table_length && virtio_check_table_locked(v, table_length) ? -ENOTSUP : 0;
}

void virtio_load(struct flowq_vm *vm, const struct virtio_state *state, const struct virtio_loads *what)
{
    struct virtio *v = &vm->virtio;
    mutex_lock(&v->lock);
    if (what->features)
        v->features = state->features;
    if (what->tunnels)
        u32_store_release(&v->tunnels, tunnel_of_hash_types(state->tunnels));
    if (what->rss)
        virtio_replace_locked(vm, state->rss, state->rss_active);
    else if (what->features)
        virtio_set_features_locked(v, state->features);
    mutex_unlock(&v->lock);
}

/* ---- Life cycle ------------------------------------------------------------------------------------------------------------ */

int flowq_vm_set_features(struct flowq_vm *vm, uint64_t features)
{
    if (!vm)
        return -EINVAL;
    mutex_lock(&vm->virtio.lock);
    virtio_set_features_locked(&vm->virtio, features);
    mutex_unlock(&vm->virtio.lock);
    return 0;
}

void virtio_configure_locked(struct flowq_vm *vm, const struct flowq_vm_config *cfg)
{
    struct virtio *v = &vm->virtio;
    uint16_t port[PARSE_N_PORTS];
    tunnel_read_ports(cfg, port);
    ports_store(&v->ports, port);
    v->hash_types = cfg->virtio_hash_types;
    v->hash_tunnels = cfg->virtio_hash_tunnels;
    v->max_key = cfg->virtio_max_key;
    v->max_table = cfg->virtio_max_table;
    v->big_endian = cfg->virtio_big_endian != 0;
    virtio_set_features_locked(v, cfg->virtio_features);
}

int virtio_init(struct flowq_vm *vm, const struct flowq_vm_config *cfg)
{
    if (pthread_mutex_init(&vm->virtio.lock, NULL) != 0)
        return -ENOMEM;
    virtio_configure_locked(vm, cfg); /* nobody sees it yet */
    return 0;
}

void virtio_fini(struct flowq_vm *vm)
{
    struct virtio *v = &vm->virtio;
    if (v->last)
        virtio_discard_locked(vm, v->last);
    while (v->retired) {
        struct rss *r = v->retired;
        v->retired = r->retired_next;
        virtio_discard_locked(vm, r);
    }
    pthread_mutex_destroy(&v->lock);
}

void virtio_reset(struct flowq_vm *vm, uint32_t what)
{
    struct virtio *v = &vm->virtio;
    mutex_lock(&v->lock);
    if (what & FLOWQ_RESET_CONFIG) {
        virtio_replace_locked(vm, NULL, false);
        u32_store_release(&v->tunnels, 0);
        queues_forget_named(&vm->queues);
    }
    if (what & FLOWQ_RESET_QUEUES)
        queues_reset(&vm->queues);
    mutex_unlock(&v->lock);
}

void virtio_maintain(struct flowq_vm *vm)
{
    if (!mutex_try(&vm->virtio.lock))
        return;
    virtio_reclaim_locked(vm);
    mutex_unlock(&vm->virtio.lock);
}
