/* config: see config.h. */
#include "config.h"

#include <errno.h>
#include <string.h>

/* clang-format off */
#define FIELD_SIZE(field) sizeof(((struct flowq_vm_config *)0)->field)
#define LIMIT(field, ...) {#field, offsetof(struct flowq_vm_config, field), FIELD_SIZE(field), __VA_ARGS__}
const struct config_limit config_limits[] = {
    /*                           default               minimum  maximum               off    fixed */
    LIMIT(max_queue_pairs,       256,                  1,       FLOWQ_MAX_QUEUE_PAIRS, false, true),
    LIMIT(max_flows,             65536,                8,       1u << 27,              false, true),
    LIMIT(initial_flows,         0,                    1,       1u << 27,              false, true),
    LIMIT(learn,                 FLOWQ_ON,             1,       1,                     true,  false),
    LIMIT(key_vlan,              FLOWQ_OFF,            1,       1,                     true,  false),
    LIMIT(tunnels,               FLOWQ_TUNNEL_ALL,     1,       FLOWQ_TUNNEL_ALL,      true,  false),
    LIMIT(fragments,             256,                  8,       65536,                 true,  true),
    LIMIT(vxlan_port,            4789,                 1,       65535,                 false, false),
    LIMIT(vxlan_linux_port,      8472,                 1,       65535,                 false, false),
    LIMIT(vxlan_gpe_port,        4790,                 1,       65535,                 false, false),
    LIMIT(geneve_port,           6081,                 1,       65535,                 false, false),
    LIMIT(gtpu_port,             2152,                 1,       65535,                 false, false),
    LIMIT(gre_udp_port,          4754,                 1,       65535,                 false, false),
    LIMIT(rebind_min_tcp_us,     FLOWQ_OFF,            1000,    1000000,               true,  false),
    LIMIT(rebind_min_other_us,   FLOWQ_OFF,            1000,    1000000,               true,  false),
    LIMIT(active_ms,             10000,                80,      600000,                false, false),
    LIMIT(idle_ms,               1800000,              80,      2000000,               false, false),
    LIMIT(queue_stats,           FLOWQ_OFF,            1,       1,                     true,  true),
    LIMIT(numa_node,             0,                    1,       4096,                  false, true),
    LIMIT(virtio_hash_types,     FLOWQ_HASH_TYPE_ALL,  1,       FLOWQ_HASH_TYPE_ALL,   true,  false),
    LIMIT(virtio_hash_tunnels,   FLOWQ_HASH_TUNNEL_ALL,1,       FLOWQ_HASH_TUNNEL_ALL, true,  false),
    LIMIT(virtio_max_key,        40,                   40,      255,                   false, false),
    LIMIT(virtio_max_table,      128,                  128,     32768,                 false, false),
    LIMIT(virtio_big_endian,     FLOWQ_OFF,            1,       1,                     true,  false),
    LIMIT(key_vni,               FLOWQ_OFF,            1,       1,                     true,  false),
    LIMIT(gue_port,              6080,                 1,       65535,                 false, false),
    LIMIT(mpls_udp_port,         6635,                 1,       65535,                 false, false),
    LIMIT(vlan_tpid,             0,                    1536,    65535,                 false, false),
};
/* clang-format on */
const size_t config_n_limits = sizeof(config_limits) / sizeof(config_limits[0]);

static uint32_t get(const struct flowq_vm_config *cfg, const struct config_limit *l)
{
    const char *at = (const char *)cfg + l->offset;
    uint16_t narrow;
    uint32_t wide;
    if (l->width == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

static void set(struct flowq_vm_config *cfg, const struct config_limit *l, uint32_t value)
{
    char *at = (char *)cfg + l->offset;
    uint16_t narrow = (uint16_t)value;
    memcpy(at, l->width == sizeof(narrow) ? (const void *)&narrow : (const void *)&value, l->width);
}

/* Default, off, or a value in range. */
static int settle(struct flowq_vm_config *cfg, const struct config_limit *l)
{
    uint32_t value = get(cfg, l);
    if (value == 0)
        value = l->preset;
    if (l->has_off && value == FLOWQ_OFF)
        value = 0;
    else if (value != l->preset && (value < l->min || value > l->max))
        return -EINVAL;
    set(cfg, l, value);
    return 0;
}

/* Takes over what both sides know. What only the caller knows must be zero: it asks for nothing. */
static int copy_known(const struct flowq_vm_config *in, struct flowq_vm_config *out)
{
    memset(out, 0, sizeof(*out));
    if (!in)
        return 0;
    size_t size = in->size;
    if (size < CONFIG_SIZE_MIN)
        return -EINVAL;
    for (size_t i = sizeof(*out); i < size; i++)
        if (((const char *)in)[i] != 0)
            return -E2BIG;
    memcpy(out, in, size < sizeof(*out) ? size : sizeof(*out));
    return 0;
}

/* What is fixed once the vm is made asks for nothing then. */
static void forget_fixed(struct flowq_vm_config *cfg)
{
    for (size_t i = 0; i < config_n_limits; i++)
        if (config_limits[i].fixed)
            set(cfg, &config_limits[i], 0);
    cfg->alloc = NULL;
    cfg->free = NULL;
}

int config_read(const struct flowq_vm_config *in, struct flowq_vm_config *out, bool only_changes)
{
    int r = copy_known(in, out);
    if (only_changes)
        forget_fixed(out);
    for (size_t i = 0; r == 0 && i < config_n_limits; i++)
        r = settle(out, &config_limits[i]);
    if (r)
        return r;
    if (out->initial_flows > out->max_flows || out->idle_ms < out->active_ms || out->reserved != 0 || out->virtio_reserved != 0 ||
        out->key_reserved != 0 || out->key_reserved2 != 0 ||
        !out->alloc != !out->free)
        return -EINVAL;
    out->size = sizeof(*out);
    return 0;
}

int config_check_times(const struct flowq_vm_config *cfg, uint64_t resolution_ns)
{
    const uint64_t times_ns[] = {
        cfg->active_ms * UINT64_C(1000000),
        cfg->idle_ms * UINT64_C(1000000),
        cfg->rebind_min_tcp_us ? cfg->rebind_min_tcp_us * UINT64_C(1000) : UINT64_MAX,
        cfg->rebind_min_other_us ? cfg->rebind_min_other_us * UINT64_C(1000) : UINT64_MAX,
    };
    for (size_t i = 0; i < sizeof(times_ns) / sizeof(times_ns[0]); i++)
        if (times_ns[i] / 8 < resolution_ns)
            return -EINVAL;
    return 0;
}
