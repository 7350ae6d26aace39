/* queue: see queue.h for the layout and who may read it how. */
#include "queue.h"

#include <errno.h>

static size_t round64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

size_t queues_bytes(uint32_t max)
{
    return 3 * round64(queues_words(max) * sizeof(uint64_t)) + round64(max * sizeof(uint16_t));
}

/* Makes in_use, list and summary follow from pairs, enabled and resetting. Under lock. */
static void publish_locked(struct queues *q)
{
    uint32_t n = 0;
    uint16_t lowest = FLOWQ_DROP;
    for (uint32_t w = 0; w < queues_words(q->max); w++) {
        uint32_t first = w * 64;
        uint64_t paired = q->pairs >= first + 64 ? UINT64_MAX : q->pairs > first ? (UINT64_C(1) << (q->pairs - first)) - 1 : 0;
        u64_store_release(&q->in_use[w], paired & q->enabled[w] & ~q->resetting[w]);
    }
    for (uint32_t qid = 0; qid < q->pairs; qid++) {
        if (!queue_in_use(q, qid))
            continue;
        if (n == 0)
            lowest = (uint16_t)qid;
        u16_store_relaxed(&q->list[n++], (uint16_t)qid);
    }
    u32_store_release(&q->summary, n << 16 | lowest); /* Q-A */
}

static void start(struct queues *q)
{
    for (uint32_t w = 0; w < queues_words(q->max); w++) {
        q->enabled[w] = UINT64_MAX;
        q->resetting[w] = 0;
    }
    q->pairs = 1;
    publish_locked(q);
}

int queues_init(struct queues *q, uint32_t max, void *mem)
{
    char *at = mem;
    size_t bitmap = round64(queues_words(max) * sizeof(uint64_t));
    q->max = max;
    q->in_use = (void *)at;
    q->enabled = (void *)(at + bitmap);
    q->resetting = (void *)(at + 2 * bitmap);
    q->list = (void *)(at + 3 * bitmap);
    if (pthread_mutex_init(&q->lock, NULL) != 0)
        return -ENOMEM;
    start(q);
    return 0;
}

void queues_fini(struct queues *q) { pthread_mutex_destroy(&q->lock); }

void queues_set_pairs(struct queues *q, uint32_t n)
{
    mutex_lock(&q->lock);
    q->pairs = n;
    publish_locked(q);
    mutex_unlock(&q->lock);
}

static void set_bit(uint64_t *bitmap, uint32_t qid, bool on)
{
    uint64_t bit = UINT64_C(1) << qid % 64;
    bitmap[qid / 64] = on ? bitmap[qid / 64] | bit : bitmap[qid / 64] & ~bit;
}

void queues_set_enabled(struct queues *q, uint32_t qid, bool on)
{
    mutex_lock(&q->lock);
    set_bit(q->enabled, qid, on);
    publish_locked(q);
    mutex_unlock(&q->lock);
}

void queues_set_resetting(struct queues *q, uint32_t qid, bool on)
{
    mutex_lock(&q->lock);
    set_bit(q->resetting, qid, on);
    publish_locked(q);
    mutex_unlock(&q->lock);
}

void queues_reset(struct queues *q)
{
    mutex_lock(&q->lock);
    start(q);
    mutex_unlock(&q->lock);
}

uint32_t queues_pairs(struct queues *q)
{
    mutex_lock(&q->lock);
    uint32_t pairs = q->pairs;
    mutex_unlock(&q->lock);
    return pairs;
}
