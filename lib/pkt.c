/*
 * pkt: a contiguous view of the headers of a packet that lies in pieces.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "flowq.h"

#include <string.h>

_Static_assert(sizeof(struct flowq_pkt) == 16, "part of the ABI");

/* Lengths are the guest's and may be anything: they are only compared with what is still wanted, never added up. */
size_t flowq_gather(struct flowq_pkt *pkt, const struct iovec *iov, size_t iovcnt, size_t skip, void *scratch, size_t size)
{
    size_t want = size < FLOWQ_HEADER_MAX ? size : FLOWQ_HEADER_MAX;
    size_t have = 0;
    for (size_t i = 0; i < iovcnt && have < want; i++) {
        const struct iovec piece = iov[i];
        if (piece.iov_len <= skip) {
            skip -= piece.iov_len;
            continue;
        }
        size_t n = piece.iov_len - skip;
        if (n > want - have)
            n = want - have;
        memcpy((uint8_t *)scratch + have, (const uint8_t *)piece.iov_base + skip, n);
        have += n;
        skip = 0;
    }
    *pkt = (struct flowq_pkt){.data = scratch, .len = (uint32_t)have, .flags = 0};
    return have;
}
