/*
 * What flowq-replay found, as a table of flows (RFC 4180). Nothing in it has to be quoted.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

typedef unsigned long long ull;

static void row(FILE *out, const struct guest *guest, uint32_t number, struct flowq_vm *vm)
{
    const struct flow *flow = &guest->flows[number];
    struct flowq_binding binding = {.size = sizeof(binding)};
    struct flowq_tuple name;
    struct tuple tuple;
    char src[64], dst[64], scratch[16], queue[16] = "", bound[16] = "";

    flow_tuple(guest, number, &tuple);
    flow_to_flowq(&tuple, &name);
    tuple_ends(&tuple, src, dst, sizeof(src));
    if (flow->queue != NO_QUEUE)
        snprintf(queue, sizeof(queue), "%u", (unsigned)flow->queue);
    if (flowq_vm_lookup(vm, &name, &binding) == 0)
        snprintf(bound, sizeof(bound), "%u", (unsigned)binding.qid);
    fprintf(out, "%s,%s,%s,%llu,%llu,%llu,%s,%s,%llu", protocol_name(tuple.protocol, scratch, sizeof(scratch)), src, dst,
            (ull)flow->sent, (ull)flow->received, (ull)flow->moves, queue, bound, (ull)flow->judged);
    for (size_t method = 0; method < N_METHODS; method++)
        fprintf(out, ",%llu", (ull)flow->right[method]);
    fputs("\r\n", out);
}

bool report_csv(FILE *out, const struct guest *guest, struct flowq_vm *vm)
{
    fputs("protocol,remote,vm,sent,received,moves,queue,bound,judged,right_flowq,right_hash,right_one_queue\r\n", out);
    for (uint32_t i = 0; i < guest->names.n; i++)
        row(out, guest, i, vm);
    return ferror(out) == 0;
}
