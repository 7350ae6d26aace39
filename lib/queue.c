/* queue: see queue.h for the layout and who may read it how. */
#include "queue.h"

#include "memory.h"

#include <errno.h>
#include <string.h>

/* One of them behind the other in one block, each at a multiple of 64 bytes. */
static size_t bitmap_bytes(uint32_t max) { return memory_round64(queues_words(max) * sizeof(uint64_t)); }
static size_t control_bytes(void) { return memory_round64(sizeof(struct queue_control)); }

size_t queues_bytes(uint32_t max) { return control_bytes() + 5 * bitmap_bytes(max) + memory_round64(max * sizeof(uint16_t)); }

/* Q-B */
static void publish_states(struct queue_control *c, uint32_t w, uint64_t in_use)
{
    const uint64_t resetting = c->resetting[w], half = UINT32_MAX;
    u64_store_release(&c->states[2 * w], (in_use & half) | (resetting & half) << QUEUES_A_STATE);
    u64_store_release(&c->states[2 * w + 1], in_use >> QUEUES_A_STATE | (resetting & ~half));
}

/* Makes in_use, states, list and summary follow from pairs, named, enabled and resetting. Under lock. */
static void publish_locked(struct queues *q)
{
    struct queue_control *c = q->control;
    uint32_t n = 0;
    uint16_t lowest = FLOWQ_DROP;
    for (uint32_t w = 0; w < queues_words(q->max); w++) {
        uint32_t first = w * 64;
        uint64_t paired = c->pairs >= first + 64 ? UINT64_MAX : c->pairs > first ? (UINT64_C(1) << (c->pairs - first)) - 1 : 0;
        uint64_t in_use = (paired | c->named[w]) & c->enabled[w] & ~c->resetting[w];
        publish_states(c, w, in_use);
        u64_store_release(&q->in_use[w], in_use);
    }
    u64_store_release(&q->few, u64_load_relaxed(&q->in_use[0]));
    for (uint32_t qid = 0; qid < q->max; qid++) {
        if (!queue_in_use(q, qid))
            continue;
        if (n == 0)
            lowest = (uint16_t)qid;
        u16_store_relaxed(&c->list[n++], (uint16_t)qid);
    }
    u32_store_release(&q->summary, n << 16 | lowest); /* Q-A */
    queues_set_way(q, QUEUES_SINGLE, n <= 1);
}

static void start(struct queues *q)
{
    for (uint32_t w = 0; w < queues_words(q->max); w++) {
        q->control->enabled[w] = UINT64_MAX;
        q->control->resetting[w] = 0;
        q->control->named[w] = 0;
    }
    q->control->pairs = 1;
    publish_locked(q);
}

int queues_init(struct queues *q, uint32_t max, atomic_u64 *many, void *mem)
{
    char *at = mem;
    q->max = (uint16_t)max;
    q->in_use = max > QUEUES_FEW ? many : &q->few;
    queues_set_way(q, QUEUES_MANY, max > QUEUES_FEW);
    q->control = mem;
    q->control->enabled = (void *)(at + control_bytes());
    q->control->resetting = (void *)(at + control_bytes() + bitmap_bytes(max));
    q->control->named = (void *)(at + control_bytes() + 2 * bitmap_bytes(max));
    q->control->states = (void *)(at + control_bytes() + 3 * bitmap_bytes(max));
    q->control->list = (void *)(at + control_bytes() + 5 * bitmap_bytes(max));
    if (pthread_mutex_init(&q->control->lock, NULL) != 0)
        return -ENOMEM;
    start(q);
    return 0;
}

void queues_fini(struct queues *q) { pthread_mutex_destroy(&q->control->lock); }

void queues_set_pairs(struct queues *q, uint32_t n) { queues_set_named(q, n, NULL, 0); }

void queues_set_named(struct queues *q, uint32_t pairs, const uint16_t *named, uint32_t n)
{
    struct queue_control *c = q->control;
    mutex_lock(&c->lock);
    c->pairs = pairs;
    memset(c->named, 0, queues_words(q->max) * sizeof(*c->named));
    for (uint32_t i = 0; i < n; i++)
        c->named[named[i] / 64] |= UINT64_C(1) << named[i] % 64;
    publish_locked(q);
    mutex_unlock(&c->lock);
}

void queues_forget_named(struct queues *q)
{
    mutex_lock(&q->control->lock);
    memset(q->control->named, 0, queues_words(q->max) * sizeof(*q->control->named));
    publish_locked(q);
    mutex_unlock(&q->control->lock);
}

/* The bits of word w of a bitmap that qid means. */
static uint64_t bits_of(uint32_t qid, uint32_t w)
{
    return qid == FLOWQ_ALL_QUEUES ? UINT64_MAX : qid / 64 == w ? UINT64_C(1) << qid % 64 : 0;
}

static uint64_t with_bits(uint64_t word, uint64_t bits, bool on) { return on ? word | bits : word & ~bits; }

void queues_set_enabled(struct queues *q, uint32_t qid, bool on)
{
    uint64_t *enabled = q->control->enabled;
    mutex_lock(&q->control->lock);
    for (uint32_t w = 0; w < queues_words(q->max); w++)
        enabled[w] = with_bits(enabled[w], bits_of(qid, w), on);
    publish_locked(q);
    mutex_unlock(&q->control->lock);
}

void queues_set_resetting(struct queues *q, uint32_t qid, bool on)
{
    uint64_t *resetting = q->control->resetting;
    mutex_lock(&q->control->lock);
    for (uint32_t w = 0; w < queues_words(q->max); w++)
        resetting[w] = with_bits(resetting[w], bits_of(qid, w), on);
    publish_locked(q);
    mutex_unlock(&q->control->lock);
}

void queues_reset(struct queues *q)
{
    mutex_lock(&q->control->lock);
    start(q);
    mutex_unlock(&q->control->lock);
}

uint32_t queues_pairs(struct queues *q)
{
    mutex_lock(&q->control->lock);
    uint32_t pairs = q->control->pairs;
    mutex_unlock(&q->control->lock);
    return pairs;
}

uint16_t queue_next_in_use(const struct queues *q, uint32_t qid)
{
    uint32_t words = queues_words(q->max), at = qid / 64;
    uint64_t beyond = qid % 64 == 63 ? 0 : UINT64_MAX << (qid % 64 + 1);
    uint64_t word = u64_load_relaxed(&q->in_use[at]) & beyond;
    for (uint32_t i = 0; i < words && !word; i++) { /* at last the word we began with, whole */
        at = (at + 1) % words;
        word = u64_load_relaxed(&q->in_use[at]);
    }
    return word ? (uint16_t)(at * 64 + (uint32_t)__builtin_ctzll(word)) : FLOWQ_DROP;
}
