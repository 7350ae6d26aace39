/* SPDX-License-Identifier: BSD-2-Clause */
#include "model_bytes.h"

/* ---- What only its first bits tell ----------------------------------------------------------------------------------------- */

static bool ipv4_checksum_right(const struct bytes *p, int at, int length)
{
    long long sum = 0;
    for (int i = 0; i < length; i += 2)
        sum += number(p, at + i, 2);
    return sum % 0xffff == 0; /* the sum of a header is never 0 */
}

/* Unspecified, loopback and translated ones, global unicast, SRv6's, and from fc00::/7 on. */
static bool ipv6_address_in_use(long long group)
{
    return group == 0 || group == 0x64 || (group >= 0x2000 && group <= 0x3fff) || group == 0x5f00 || group >= 0xfc00;
}

int model_ip_holds(const struct bytes *p, int at)
{
    static const uint8_t next[] = {0, 4, 6, 17, 33, 41, 43, 44, 47, 50, 51, 58, 59, 60, 89, 103, 112, 115, 132, 135, 136};
    int version = at < p->n ? p->b[at] / 16 : 0;
    if (version == 4) {
        int length = 4 * (p->b[at] % 16);
        long long total = number(p, at + 2, 2);
        if (length < 20 || at + length > p->n || (total > 0 && total < length))
            return MODEL_NO;
        return ipv4_checksum_right(p, at, length) ? MODEL_CERTAIN : MODEL_NO;
    }
    if (version != 6 || at + 40 > p->n)
        return MODEL_NO;
    long long payload = number(p, at + 4, 2), behind = p->n - at - 40;
    if (p->b[at + 7] == 0 || !memchr(next, p->b[at + 6], sizeof(next)))
        return MODEL_NO;
    if (!ipv6_address_in_use(number(p, at + 8, 2)) || !ipv6_address_in_use(number(p, at + 24, 2)))
        return MODEL_NO;
    if (behind >= payload && behind < payload + 8)
        return MODEL_YES;
    return payload == 0 || payload > behind ? MODEL_PERHAPS : MODEL_NO;
}

bool model_is_tag(long long type, const struct parse_rules *rules)
{
    if (type == 0x0800 || type == 0x86dd || type == 0x8847 || type == 0x8848 || type == 0x8864)
        return false;
    return type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200 || type == 0x9300 ||
           (type == rules->vlan_tpid && type >= 0x600);
}

/* The ethertype of a frame behind its tags, and where its payload is; none: -1. */
static long long payload_type(const struct bytes *p, int *at, const struct parse_rules *rules)
{
    long long type = number(p, *at + 12, 2);
    *at += 14;
    for (int tags = 0; model_is_tag(type, rules) && tags < 4; tags++) {
        type = number(p, *at + 2, 2);
        *at += 4;
    }
    return *at >= p->n ? -1 : type;
}

/* How surely there is a frame with IP in it. */
static int frame_holds(const struct bytes *p, int at, const struct parse_rules *rules)
{
    long long type = payload_type(p, &at, rules);
    if (type < 0 || type != (p->b[at] / 16 == 4 ? 0x0800 : 0x86dd))
        return MODEL_NO;
    return model_ip_holds(p, at);
}

/* Whether there is one with anything in it that is what the ethertype says. */
static bool frame_is_likely(const struct bytes *p, int at, const struct parse_rules *rules)
{
    int payload = at;
    switch (payload_type(p, &payload, rules)) {
    case 0x0806:
        return number(p, payload, 4) == 0x00010800;
    case 0x8847:
    case 0x8848:
        return true;
    case 0x8863:
    case 0x8864:
        return p->b[payload] == 0x11;
    default:
        return frame_holds(p, at, rules) != MODEL_NO;
    }
}

bool model_frame_holds(const struct bytes *p, int at, const struct parse_rules *rules)
{
    return frame_holds(p, at, rules) != MODEL_NO;
}

bool model_ip_is_likely(const struct bytes *p, int at, const struct parse_rules *rules)
{
    switch (model_ip_holds(p, at)) {
    case MODEL_CERTAIN:
        return true;
    case MODEL_YES:
        return frame_holds(p, at, rules) != MODEL_CERTAIN;
    case MODEL_PERHAPS:
        return !frame_is_likely(p, at, rules);
    default:
        return false;
    }
}

/* ---- Routing headers of IPv6 ----------------------------------------------------------------------------------------------- */

bool model_last_segment(const struct bytes *p, int at, uint8_t dst[16])
{
    int bytes = 8 * p->b[at + 1], type = p->b[at + 2], left = p->b[at + 3]; /* bytes: behind the first eight */
    if (left == 0)
        return true;
    if (type == 0) {
        if (bytes % 16 != 0 || left > bytes / 16)
            return false;
        memcpy(dst, p->b + at + 8 + bytes - 16, 16);
    } else if (type == 2) {
        if (bytes != 16 || left != 1)
            return false;
        memcpy(dst, p->b + at + 8, 16);
    } else if (type == 3) {
        int inner = 16 - p->b[at + 4] / 16, last = 16 - p->b[at + 4] % 16, pad = p->b[at + 5] / 16;
        int before = bytes - pad - last;
        if (before < 0 || before % inner != 0 || left > before / inner + 1)
            return false;
        memcpy(dst + 16 - last, p->b + at + 8 + before, (size_t)last);
    } else if (type == 4) {
        int segments = p->b[at + 4] + 1;
        if (segments > bytes / 16 || left > segments)
            return false;
        memcpy(dst, p->b + at + 8, 16);
    }
    return true;
}
