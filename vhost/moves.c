/*
 * flowq-vhost: moves. A flow's binding says where the flow is, not how often it has moved, and the data path shall not count that
 * for nobody. So whoever asks has the table walked, and what was found is kept to be compared with at the next question. A flow
 * that moved several times between two questions counts once, one that came back not at all.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "moves.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The flow's entry, or the empty one where it would be. Binding ids are the upper bits of a hash: they spread by themselves. */
static struct moves_flow *find(struct moves_flow *flows, uint64_t id)
{
    uint32_t at = (uint32_t)(id >> 40) % MOVES_SLOTS;

    while (flows[at].id != 0 && flows[at].id != id)
        at = (at + 1) % MOVES_SLOTS;
    return &flows[at];
}

/* Into its place among those with the most moves, if it has one there. */
static void rank(struct moves *m, const struct moves_flow *flow)
{
    uint32_t at = m->n_most < MOVES_SHOWN ? m->n_most++ : MOVES_SHOWN;

    for (; at > 0 && m->most[at - 1].moves < flow->moves; at--)
        if (at < MOVES_SHOWN)
            m->most[at] = m->most[at - 1];
    if (at < MOVES_SHOWN)
        m->most[at] = *flow;
}

static int see(void *ctx, const struct flowq_binding *binding)
{
    struct moves *m = ctx;
    struct moves_flow *flow = find(m->now, binding->id);

    if (flow->id != 0)
        return 0; /* it is being moved, and was seen at both places */
    if (m->n_watched == MOVES_WATCHED) {
        m->n_unwatched++;
        return 0;
    }
    const struct moves_flow *before = find(m->before, binding->id);
    *flow = (struct moves_flow){.id = binding->id, .queue = binding->qid, .moves = before->moves};
    if (before->id != 0 && before->queue != binding->qid)
        flow->moves++;
    m->n_watched++;
    if (flow->moves > 0)
        rank(m, flow);
    return 0;
}

static struct moves *make(void)
{
    struct moves *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return NULL;
    m->before = calloc(MOVES_SLOTS, sizeof(*m->before));
    m->now = calloc(MOVES_SLOTS, sizeof(*m->now));
    if (m->before != NULL && m->now != NULL)
        return m;
    free(m->before);
    free(m->now);
    free(m);
    return NULL;
}

int moves_look(struct moves **moves, struct flowq_vm *vm)
{
    if (*moves == NULL)
        *moves = make();
    struct moves *m = *moves;
    if (m == NULL)
        return -ENOMEM;
    struct moves_flow *last = m->now;
    m->now = m->before;
    m->before = last;
    memset(m->now, 0, MOVES_SLOTS * sizeof(*m->now));
    if (m->vm != vm)
        memset(m->before, 0, MOVES_SLOTS * sizeof(*m->before));
    m->vm = vm;
    m->n_watched = m->n_unwatched = m->n_most = 0;
    return flowq_vm_flows(vm, see, m);
}
