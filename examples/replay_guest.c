/*
 * The guest that flowq-replay plays, and with it the truth that answers are held to.
 *
 * A vCPU has its own queue pair. A thread runs on one vCPU and moves to another, drawn by lot, after it has sent so many packets,
 * also drawn by lot. A flow belongs to one thread for good, drawn by lot. What a thread sends goes out on the queue of its vCPU,
 * and what its flow receives is wanted on the queue that the flow last sent on: there its vCPU looks for it. All lots come from
 * the seed.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

#define REASSEMBLY_NS 60000000000u /* RFC 8200: fragments of one datagram come within 60 s */

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t lot(struct guest *guest)
{
    uint64_t z = guest->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t lot_below(struct guest *guest, uint64_t n) { return (uint64_t)((unsigned __int128)lot(guest) * n >> 64); }

/* Uniform over 1 to 2 * move_every - 1, so move_every on average. */
static uint64_t stay(struct guest *guest)
{
    return guest->options->move_every == 0 ? UINT64_MAX : 1 + lot_below(guest, 2 * guest->options->move_every - 1);
}

bool guest_start(struct guest *guest, const struct options *options)
{
    *guest = (struct guest){.options = options, .random = options->seed};
    guest->n_threads = options->threads == 0 ? options->vcpus * 4 : options->threads;
    guest->threads = calloc(guest->n_threads, sizeof(*guest->threads));
    if (guest->threads == NULL)
        return false;
    for (uint32_t i = 0; i < guest->n_threads; i++)
        guest->threads[i] = (struct thread){.vcpu = i % options->vcpus, .left = stay(guest)};
    return true;
}

void guest_stop(struct guest *guest)
{
    dict_free(&guest->names);
    dict_free(&guest->datagrams);
    free(guest->threads);
    free(guest->flows);
    free(guest->first);
}

/* ---- Flows and datagrams ---- */

static uint32_t flow_find_or_make(struct guest *guest, const struct tuple *name)
{
    uint32_t number = dict_find(&guest->names, name);

    if (number != NONE)
        return number;
    if (guest->names.n >= guest->options->max_named) {
        guest->beyond++;
        return NONE;
    }
    if (guest->names.n == guest->room) {
        uint32_t room = guest->room == 0 ? 1024 : guest->room * 2;
        struct flow *flows = realloc(guest->flows, (size_t)room * sizeof(*flows));
        if (flows == NULL) {
            guest->out_of_memory = true;
            return NONE;
        }
        guest->flows = flows;
        guest->room = room;
    }
    number = dict_add(&guest->names, name);
    if (number == NONE)
        guest->out_of_memory = true;
    else
        guest->flows[number] = (struct flow){.thread = (uint32_t)lot_below(guest, guest->n_threads), .queue = NO_QUEUE};
    return number;
}

static void datagrams_remember(struct guest *guest, const struct view *view, uint32_t flow, uint64_t now_ns)
{
    for (uint32_t i = 0; i < view->n_first; i++) {
        uint32_t number = dict_add(&guest->datagrams, &view->first[i]);
        if (number != NONE && number >= guest->first_room) {
            uint32_t room = guest->first_room == 0 ? 256 : guest->first_room * 2;
            void *first = realloc(guest->first, (size_t)room * sizeof(*guest->first));
            if (first == NULL)
                number = NONE;
            else
                guest->first = first;
            guest->first_room = first == NULL ? guest->first_room : room;
        }
        if (number == NONE) {
            guest->out_of_memory = true;
            return;
        }
        guest->first[number].flow = flow;
        guest->first[number].time_ns = now_ns;
    }
}

/* Whose the later fragment is; NONE: its first one has not been seen, or too long ago. */
static uint32_t datagram_flow(const struct guest *guest, const struct view *view, uint64_t now_ns)
{
    uint32_t number = dict_find(&guest->datagrams, &view->later);

    if (number == NONE || now_ns - guest->first[number].time_ns > REASSEMBLY_NS)
        return NONE;
    return guest->first[number].flow;
}

/* ---- Sending ---- */

static uint32_t thread_runs_on(struct guest *guest, struct thread *thread)
{
    uint32_t vcpus = guest->options->vcpus;

    if (thread->left-- == 0) {
        thread->left = stay(guest) - 1;
        if (vcpus > 1) {
            thread->vcpu = (thread->vcpu + 1 + (uint32_t)lot_below(guest, vcpus - 1)) % vcpus;
            guest->thread_moves++;
        }
    }
    return thread->vcpu;
}

static uint32_t flow_sends(struct guest *guest, uint32_t number)
{
    struct flow *flow = &guest->flows[number];
    uint32_t queue = thread_runs_on(guest, &guest->threads[flow->thread]);

    if (flow->queue != NO_QUEUE && flow->queue != queue) {
        flow->moves++;
        guest->flow_moves++;
    }
    flow->queue = (uint16_t)queue;
    flow->sent++;
    return queue;
}

/* Without a thread (ARP, what we cannot read) or beside its flow's course (errors, later fragments). */
static uint32_t aside(struct guest *guest, uint32_t number, bool fragment)
{
    if (number == NONE)
        return 0;
    struct flow *flow = &guest->flows[number];
    flow->sent += fragment;
    return flow->queue != NO_QUEUE ? flow->queue : guest->threads[flow->thread].vcpu;
}

uint32_t guest_send(struct guest *guest, const struct view *view, uint64_t now_ns)
{
    struct tuple name;
    uint32_t number;

    switch (view->kind) {
    case VIEW_FLOW:
        name = tuple_reverse(&view->flow);
        number = flow_find_or_make(guest, &name);
        if (number == NONE)
            return 0;
        datagrams_remember(guest, view, number, now_ns);
        return flow_sends(guest, number);
    case VIEW_LATER:
        return aside(guest, datagram_flow(guest, view, now_ns), true);
    case VIEW_QUOTE: /* an error about a packet that came in */
        return aside(guest, dict_find(&guest->names, &view->flow), false);
    default:
        return 0;
    }
}

/* ---- Receiving ---- */

struct wish guest_receive(struct guest *guest, const struct view *view, uint64_t now_ns)
{
    struct wish wish = {.flow = NONE, .queue = NO_QUEUE, .unjudged = UNJUDGED_UNKNOWN};
    struct tuple name;

    if (view->multicast) {
        wish.unjudged = UNJUDGED_MULTICAST;
        return wish;
    }
    if (view->kind == VIEW_FLOW) {
        wish.flow = flow_find_or_make(guest, &view->flow);
        wish.unjudged = UNJUDGED_BEYOND;
        if (wish.flow != NONE)
            datagrams_remember(guest, view, wish.flow, now_ns);
    } else if (view->kind == VIEW_LATER) {
        wish.flow = datagram_flow(guest, view, now_ns);
        wish.unjudged = UNJUDGED_FRAGMENT;
    } else if (view->kind == VIEW_QUOTE) {
        name = tuple_reverse(&view->flow); /* it quotes what the VM sent */
        wish.flow = dict_find(&guest->names, &name);
        wish.unjudged = UNJUDGED_QUOTE;
    }
    if (wish.flow == NONE)
        return wish;
    struct flow *flow = &guest->flows[wish.flow];
    flow->received++;
    wish.queue = flow->queue;
    wish.unjudged = flow->queue == NO_QUEUE ? UNJUDGED_SILENT : JUDGED;
    return wish;
}
