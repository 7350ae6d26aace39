/*
 * One packet of a capture, and why flowq does with it what it does.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#define TEXT_BYTES 8192 /* of an explanation: a line for each header, and some */

static void opening(FILE *out, const struct packet *packet, enum direction direction, uint32_t queue)
{
    fprintf(out, "packet %llu, %.6f s after the first one: ", (unsigned long long)packet->number, (double)packet->time_ns / 1e9);
    if (direction == DIRECTION_OTHER)
        fputs("neither from the VM nor to it; explained as if it went there\n", out);
    else if (direction == DIRECTION_SENT)
        fprintf(out, "the guest sends it on queue %u\n", queue);
    else if (queue == NO_QUEUE)
        fputs("the guest has not sent on this flow yet, or whose it is cannot be told\n", out);
    else
        fprintf(out, "the guest wants it on queue %u\n", queue);
}

bool explain_packet(FILE *out, const struct packet *packet, enum direction direction, uint32_t queue, bool json,
                    struct flowq_vm *vm)
{
    static char text[TEXT_BYTES];
    const struct flowq_pkt pkt = {.data = packet->data, .len = packet->len, .flags = packet->flags};
    struct flowq_explanation e = {.size = sizeof(e)};
    int error = direction == DIRECTION_SENT ? flowq_tx_explain(vm, &pkt, queue, &e) : flowq_rx_explain(vm, &pkt, &e);

    if (error != 0)
        return false;
#ifdef HAVE_JANSSON
    if (json)
        return explain_json(out, packet, direction, queue, &e);
#endif
    (void)json;
    opening(out, packet, direction, queue);
    return flowq_explanation_print(text, sizeof(text), &e) > 0 && fputs(text, out) >= 0;
}
