/*
 * pcapng (draft-ietf-opsawg-pcapng), because libpcap refuses a file whose interfaces are of several link types, as `dumpcap -i a
 * -i b` writes it. Blocks that hold no packet are passed over; lengths are believed up to BLOCK_MAX.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_MAX      (16u << 20) /* bytes */
#define INTERFACES_MAX 4096        /* of one section */

enum { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_OLD_PACKET = 2, BLOCK_SIMPLE = 3, BLOCK_PACKET = 6 };
enum { OPTION_END = 0, OPTION_TSRESOL = 9, OPTION_TSOFFSET = 14 };

struct interface {
    int link;
    uint32_t snaplen;
    uint8_t resolution; /* if_tsresol */
    int64_t offset_s;   /* if_tsoffset */
};

struct pcapng {
    FILE *file;
    bool swapped, in_section;
    uint8_t *block;
    uint32_t room, len; /* of its body */
    struct interface *interfaces;
    uint32_t n_interfaces;
    const char *error;
};

static uint32_t read32(const struct pcapng *p, const uint8_t *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof(v));
    return p->swapped ? __builtin_bswap32(v) : v;
}

static uint32_t read16(const struct pcapng *p, const uint8_t *at)
{
    uint16_t v;

    memcpy(&v, at, sizeof(v));
    return p->swapped ? __builtin_bswap16(v) : v;
}

static bool failed(struct pcapng *p, const char *error)
{
    p->error = error;
    return false;
}

struct pcapng *pcapng_open(FILE *file)
{
    struct pcapng *p = calloc(1, sizeof(*p));

    if (p != NULL)
        p->file = file;
    return p;
}

void pcapng_close(struct pcapng *p)
{
    fclose(p->file);
    free(p->block);
    free(p->interfaces);
    free(p);
}

const char *pcapng_error(const struct pcapng *p) { return p->error; }

static bool read_body(struct pcapng *p, uint32_t len)
{
    if (len > p->room) {
        uint8_t *more = realloc(p->block, len);
        if (more == NULL)
            return failed(p, "out of memory");
        p->block = more;
        p->room = len;
    }
    p->len = len;
    return fread(p->block, 1, len, p->file) == len || failed(p, "truncated dump file");
}

/* The byte order of a section stands behind the length of its header. */
static bool read_block(struct pcapng *p, uint32_t *type)
{
    uint8_t head[12];
    size_t n = fread(head, 1, 8, p->file);

    if (n == 0 && ferror(p->file) == 0)
        return false; /* the end */
    if (n != 8)
        return failed(p, "truncated dump file");
    memcpy(type, head, sizeof(*type));
    bool section = *type == BLOCK_SECTION;
    if (section) {
        if (fread(head + 8, 1, 4, p->file) != 4)
            return failed(p, "truncated dump file");
        p->swapped = false;
        p->swapped = read32(p, head + 8) == 0x4d3c2b1a;
        if (read32(p, head + 8) != 0x1a2b3c4d)
            return failed(p, "no byte order in a section of the file");
    }
    *type = read32(p, head);
    uint32_t len = read32(p, head + 4), taken = section ? 12 : 8;
    if (len < taken + 4 || len % 4 != 0 || len > BLOCK_MAX || (!section && !p->in_section))
        return failed(p, "a block of the file has an impossible length");
    p->in_section = true;
    if (!read_body(p, len - taken))
        return false;
    p->len -= 4; /* the length again */
    return true;
}

static void read_options(const struct pcapng *p, struct interface *i)
{
    for (uint32_t at = 8; at + 4 <= p->len;) {
        uint32_t code = read16(p, p->block + at), len = read16(p, p->block + at + 2);
        if (code == OPTION_END || at + 4 + len > p->len)
            return;
        if (code == OPTION_TSRESOL && len == 1)
            i->resolution = p->block[at + 4];
        if (code == OPTION_TSOFFSET && len == 8)
            memcpy(&i->offset_s, p->block + at + 4, 8);
        if (code == OPTION_TSOFFSET && len == 8 && p->swapped)
            i->offset_s = (int64_t)__builtin_bswap64((uint64_t)i->offset_s);
        at += 4 + (len + 3) / 4 * 4;
    }
}

static bool add_interface(struct pcapng *p)
{
    struct interface *more;

    if (p->len < 8 || p->n_interfaces == INTERFACES_MAX)
        return failed(p, "an impossible description of an interface");
    more = realloc(p->interfaces, (p->n_interfaces + 1) * sizeof(*more));
    if (more == NULL)
        return failed(p, "out of memory");
    p->interfaces = more;
    more[p->n_interfaces] =
        (struct interface){.link = (int)read16(p, p->block), .snaplen = read32(p, p->block + 4), .resolution = 6};
    read_options(p, &more[p->n_interfaces++]);
    return true;
}

/* if_tsresol: a negative power of ten, or with the highest bit of two. */
static uint64_t to_ns(uint64_t stamp, const struct interface *i)
{
    uint32_t power = i->resolution & 0x7fu;
    unsigned __int128 ns = (unsigned __int128)stamp * 1000000000u;

    if (i->resolution & 0x80)
        ns = power < 128 ? ns >> power : 0;
    for (uint32_t n = 0; (i->resolution & 0x80) == 0 && n < power && n < 40; n++)
        ns /= 10;
    return (uint64_t)ns + (uint64_t)i->offset_s * 1000000000u;
}

static bool packet_at(struct pcapng *p, uint32_t at, uint32_t interface, uint32_t caplen, uint64_t stamp, struct raw_packet *out)
{
    if (interface >= p->n_interfaces || caplen > p->len - at)
        return failed(p, "an impossible packet");
    out->link = p->interfaces[interface].link;
    out->time_ns = to_ns(stamp, &p->interfaces[interface]);
    out->data = p->block + at;
    out->len = caplen;
    return true;
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

bool pcapng_next(struct pcapng *p, struct raw_packet *out)
{
    uint32_t type;

    while (p->error == NULL && read_block(p, &type)) {
        const uint8_t *b = p->block;
        if (type == BLOCK_SECTION) {
            p->n_interfaces = 0;
        } else if (type == BLOCK_INTERFACE) {
            (void)add_interface(p);
        } else if (type == BLOCK_PACKET || type == BLOCK_OLD_PACKET) {
            if (p->len < 20)
                return failed(p, "an impossible packet");
            uint32_t interface = type == BLOCK_PACKET ? read32(p, b) : read16(p, b);
            return packet_at(p, 20, interface, read32(p, b + 12), (uint64_t)read32(p, b + 4) << 32 | read32(p, b + 8), out);
        } else if (type == BLOCK_SIMPLE) { /* of the first interface, without a time */
            if (p->len < 4 || p->n_interfaces == 0)
                return failed(p, "an impossible packet");
            uint32_t snaplen = p->interfaces[0].snaplen, len = least(read32(p, b), p->len - 4);
            return packet_at(p, 4, 0, snaplen == 0 ? len : least(len, snaplen), 0, out);
        }
    }
    return false;
}
