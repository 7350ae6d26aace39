/* SPDX-License-Identifier: BSD-2-Clause */
/* state: bytes in, bytes out, and the calls for file descriptors. See state.h. */
#include "state.h"

#include "tunnel.h"

#include <errno.h>
#include <unistd.h>

/* ---- Out ------------------------------------------------------------------------------------------------------------------- */

static void state_flush(struct state_out *o)
{
    if (o->n && !o->error) {
        int r = o->write(o->ctx, o->bytes, o->n);
        o->error = r < 0 ? r : 0;
    }
    o->n = o->from = 0;
}

static void state_sum_up(struct state_out *o)
{
    (void)XXH64_update(&o->running, o->bytes + o->from, o->n - o->from);
    o->from = o->n;
}

void state_out_start(struct state_out *o, int (*write)(void *ctx, const void *data, size_t size), void *ctx)
{
    o->write = write;
    o->ctx = ctx;
    o->error = 0;
    o->n = o->from = STATE_HEADER_BYTES;
    state_put64(o->bytes, STATE_MAGIC);
    state_put32(o->bytes + 8, STATE_VERSION);
    state_put32(o->bytes + 12, STATE_COMPATIBLE);
    o->sum = XXH64(o->bytes, STATE_HEADER_BYTES, 0);
    (void)XXH64_reset(&o->running, o->sum);
}

uint8_t *state_out_room(struct state_out *o, uint32_t n)
{
    if (sizeof(o->bytes) - o->n < n) {
        state_sum_up(o);
        state_flush(o);
    }
    uint8_t *room = o->bytes + o->n;
    o->n += n;
    return room;
}

void state_out_section(struct state_out *o, enum state_type type, uint32_t length)
{
    state_out32(o, type);
    state_out32(o, length);
}

void state_out_section_end(struct state_out *o)
{
    state_sum_up(o);
    o->sum = XXH64_digest(&o->running);
    state_out64(o, o->sum);
    o->from = o->n;
    (void)XXH64_reset(&o->running, o->sum);
}

int state_out_finish(struct state_out *o)
{
    state_flush(o);
    explicit_bzero(o->bytes, sizeof(o->bytes)); /* the secret was there */
    return o->error;
}

void state_keys_put(uint8_t to[STATE_KEYS_BYTES], const struct parse_rules *rules, const uint8_t seed[FLOWQ_SECRET_SIZE])
{
    state_put32(to, STATE_KEY_FORMAT);
    state_put32(to + 4, (uint32_t)rules->key_vlan | (uint32_t)rules->key_vni << 1);
    state_put32(to + 8, rules->tunnels);
    state_put16(to + 12, rules->vlan_tpid);
    state_put16(to + 14, 0);
    for (uint32_t i = 0; i < PARSE_N_PORTS; i++) /* those of tunnels that are off make no difference */
        state_put16(to + 16 + 2 * i, rules->tunnels & tunnel_of_port(i) ? rules->port[i] : 0);
    memcpy(to + STATE_KEYS_SETTINGS, seed, FLOWQ_SECRET_SIZE);
}
_Static_assert(16 + 2 * PARSE_N_PORTS == STATE_KEYS_SETTINGS, "another port is another format of keys");
_Static_assert(STATE_KEYS_SETTINGS + FLOWQ_SECRET_SIZE == STATE_KEYS_BYTES, "and the secret");

/* ---- In -------------------------------------------------------------------------------------------------------------------- */

static int state_take_all(struct state_in *in, uint8_t *to, size_t n)
{
    in->total += n;
    if (in->total > STATE_STREAM_MAX)
        return -EBADMSG;
    while (n > 0) {
        int64_t got = in->read(in->ctx, to, n);
        if (got < 0)
            return got < INT32_MIN ? -EIO : (int)got;
        if (got == 0 || (uint64_t)got > n) /* the end, or more than there was room for */
            return -EBADMSG;
        to += got;
        n -= (size_t)got;
    }
    return 0;
}

int state_in_start(struct state_in *in)
{
    uint8_t header[STATE_HEADER_BYTES];
    in->total = 0;
    int r = state_take_all(in, header, sizeof(header));
    if (r)
        return r;
    /* Version 1 is the only one that we read: it must be one of those that this stream is for. */
    if (state_get64(header) != STATE_MAGIC || state_get32(header + 8) < STATE_VERSION || state_get32(header + 12) > STATE_VERSION)
        return -EBADMSG;
    in->sum = XXH64(header, sizeof(header), 0);
    return 0;
}

/* Content of any length, in pieces; the last one stays. */
static int state_take_content(struct state_in *in, XXH64_state_t *sum, uint32_t length)
{
    while (length > 0) {
        uint32_t piece = length < STATE_CONTENT_MAX ? length : STATE_CONTENT_MAX;
        int r = state_take_all(in, in->content, piece);
        if (r)
            return r;
        (void)XXH64_update(sum, in->content, piece);
        length -= piece;
    }
    return 0;
}

int state_in_section(struct state_in *in, struct state_section *s)
{
    uint8_t head[STATE_SECTION_BYTES], told[STATE_SUM_BYTES];
    XXH64_state_t sum;
    int r = state_take_all(in, head, sizeof(head));
    if (r)
        return r;
    s->type = state_get32(head);
    s->length = state_get32(head + 4);
    if (s->type >= STATE_TYPES)
        s->type = 0;
    if (s->type && s->length > STATE_CONTENT_MAX)
        return -EBADMSG;
    (void)XXH64_reset(&sum, in->sum);
    (void)XXH64_update(&sum, head, sizeof(head));
    r = state_take_content(in, &sum, s->length);
    if (r == 0)
        r = state_take_all(in, told, sizeof(told));
    in->sum = XXH64_digest(&sum);
    return r == 0 && state_get64(told) != in->sum ? -EBADMSG : r;
}

/* ---- File descriptors ------------------------------------------------------------------------------------------------------ */

static int state_write_fd(void *ctx, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = write(*(const int *)ctx, at, size);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EIO;
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int64_t state_read_fd(void *ctx, void *data, size_t size)
{
    ssize_t n;
    do
        n = read(*(const int *)ctx, data, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int flowq_vm_save_fd(struct flowq_vm *vm, uint32_t what, uint64_t bindings_bytes, int fd)
{
    return flowq_vm_save(vm, what, bindings_bytes, state_write_fd, &fd);
}

int flowq_vm_load_fd(struct flowq_vm *vm, uint32_t what, int fd, struct flowq_loaded *loaded)
{
    return flowq_vm_load(vm, what, state_read_fd, &fd, loaded);
}
