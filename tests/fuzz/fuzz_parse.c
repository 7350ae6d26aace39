/*
 * Any bytes, any rules: the parser agrees with its model and reads no byte twice. Entry point of libFuzzer, see tests/fuzz/run;
 * with tests/fuzz/replay.c a program of its own that replays the seeds.
 *
 * The first four bytes of an input are settings, the rest is the packet.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "../../lib/explain.h"
#include "../counted_parse.h"
#include "../model_parse.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS 4

static void fail(const char *what, const struct parse_result *r, const struct parse_result *model)
{
    fprintf(stderr, "%s\nparser: %s\n", what, parse_result_text(r));
    fprintf(stderr, "model:  %s\n", parse_result_text(model));
    abort();
}

static struct parse_rules rules_of(const uint8_t setting[SETTINGS])
{
    struct parse_rules rules = parse_rules_default();
    rules.key_vlan = setting[0] & 1;
    if (setting[0] & 2)
        rules.tunnels = ((uint32_t)setting[3] << 16 | (uint32_t)setting[1] << 8 | setting[2]) % (FLOWQ_TUNNEL_ERSPAN * 2u);
    rules.key_vni = setting[3] & 64;
    if (setting[0] & 4)
        rules.port[setting[3] % PARSE_N_PORTS] = setting[0] & 8 ? 0 : 4789;
    if (setting[0] & 64)
        rules.vlan_tpid = setting[0] & 128 ? 0x0800 : (uint16_t)(0x9000 | setting[3]);
    rules.udp_filter = parse_rules_filter(&rules);
    return rules;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < SETTINGS || size - SETTINGS > COUNTED_MAX)
        return 0;
    struct parse_rules rules = rules_of(data);
    uint32_t len = (uint32_t)(size - SETTINGS);
    uint8_t *copy = malloc(len ? len : 1); /* ends where the packet ends */
    if (!copy)
        return 0;
    memcpy(copy, data + SETTINGS, len);
    struct flowq_pkt pkt = {.data = copy, .len = len, .flags = data[0] & 16 ? FLOWQ_PKT_L3 : data[0] & 32 ? data[3] : 0u};
    struct parse_result r, model, counted;
    memset(&r, 0xa5, sizeof(r));
    memset(parse_reads, 0, sizeof(parse_reads));
    parse_packet(&pkt, &rules, &r);
    model_parse(&pkt, &rules, &model);
    if (!parse_result_equal(&r, &model))
        fail("the parser and its model disagree", &r, &model);
    struct explain_trace trace;
    explain_parse(&pkt, &rules, &trace);
    if (!parse_result_equal(&trace.result, &model) || trace.n_layers != (unsigned)model_trace.n ||
        memcmp(trace.layer, model_trace.layer, trace.n_layers * sizeof(trace.layer[0])) != 0)
        fail("the parser that says what it reads and its model disagree", &trace.result, &model);
    counted_parse_packet(&pkt, &rules, &counted);
    for (uint32_t i = 0; i < len; i++)
        if (parse_reads[i] > (i < PARSE_MAX_BYTES ? 1 : 0))
            fail("a byte is read twice, or lies outside of the window", &counted, &model);
    free(copy);
    return 0;
}
