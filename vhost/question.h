/*
 * flowq-vhost: a packet that somebody asks about, in text.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_VHOST_QUESTION_H
#define FLOWQ_VHOST_QUESTION_H

#include <stdbool.h>
#include <stdint.h>

enum { QUESTION_BYTES = 448 }; /* in hexadecimal, with the command, they are a request that DPDK's telemetry still reads: 1024 */

struct question {
    uint8_t bytes[QUESTION_BYTES];
    uint32_t len;
};

/*
 * A frame in hexadecimal, or the flow of one, as PROTOCOL,SOURCE,PORT,DESTINATION,PORT, of which a frame to the guest is made.
 * PROTOCOL: tcp, udp. Addresses are both IPv4's or both IPv6's; source is the remote end. False: it is neither.
 */
bool question_read(struct question *question, const char *text);

#endif /* FLOWQ_VHOST_QUESTION_H */
