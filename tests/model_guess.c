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

/* How surely there is a frame with IP in it. */
static int frame_holds(const struct bytes *p, int at, const struct parse_rules *rules)
{
    long long type = number(p, at + 12, 2);
    at += 14;
    for (int tags = 0; model_is_tag(type, rules) && tags < 4; tags++) {
        type = number(p, at + 2, 2);
        at += 4;
    }
    if (at >= p->n || type != (p->b[at] / 16 == 4 ? 0x0800 : 0x86dd))
        return MODEL_NO;
    return model_ip_holds(p, at);
}

bool model_frame_holds(const struct bytes *p, int at, const struct parse_rules *rules)
{
    return frame_holds(p, at, rules) != MODEL_NO;
}

bool model_ip_is_likely(const struct bytes *p, int at, const struct parse_rules *rules)
{
    static const int types[] = {0x0800, 0x0806, 0x86dd, 0x8847, 0x8848, 0x8863, 0x8864};
    long long type = number(p, at + 12, 2);
    bool frame = model_is_tag(type, rules);
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        frame = frame || type == types[i];
    switch (model_ip_holds(p, at)) {
    case MODEL_CERTAIN:
        return true;
    case MODEL_YES:
        return frame_holds(p, at, rules) != MODEL_CERTAIN;
    case MODEL_PERHAPS:
        return !frame;
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
