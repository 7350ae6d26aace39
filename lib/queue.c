/* queue: see queue.h for the layout and who may read it how. */
#include "queue.h"

#include <errno.h>

static size_t round64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

/* One of them behind the other in one block, each at a multiple of 64 bytes. */
static size_t bitmap_bytes(uint32_t max) { return round64(queues_words(max) * sizeof(uint64_t)); }
static size_t control_bytes(void) { return round64(sizeof(struct queue_control)); }

size_t queues_bytes(uint32_t max) { return control_bytes() + 2 * bitmap_bytes(max) + round64(max * sizeof(uint16_t)); }

/* Makes in_use, list and summary follow from pairs, enabled and resetting. Under lock. */
static void publish_locked(struct queues *q)
{
    uint32_t n = 0;
    uint16_t lowest = FLOWQ_DROP;
    for (uint32_t w = 0; w < queues_words(q->max); w++) {
        uint32_t first = w * 64;
        uint64_t paired = q->control->pairs >= first + 64 ? UINT64_MAX
                          : q->control->pairs > first     ? (UINT64_C(1) << (q->control->pairs - first)) - 1
                                                          : 0;
        u64_store_release(&q->in_use[w], paired & q->control->enabled[w] & ~q->control->resetting[w]);
    }
    for (uint32_t qid = 0; qid < q->control->pairs; qid++) {
        if (!queue_in_use(q, qid))
            continue;
        if (n == 0)
            lowest = (uint16_t)qid;
        u16_store_relaxed(&q->control->list[n++], (uint16_t)qid);
    }
    u32_store_release(&q->summary, n << 16 | lowest); /* Q-A */
}

static void start(struct queues *q)
{
    for (uint32_t w = 0; w < queues_words(q->max); w++) {
        q->control->enabled[w] = UINT64_MAX;
        q->control->resetting[w] = 0;
    }
    q->control->pairs = 1;
    publish_locked(q);
}

int queues_init(struct queues *q, uint32_t max, atomic_u64 *in_use, void *mem)
{
    char *at = mem;
    q->max = (uint16_t)max;
    q->in_use = in_use;
    q->control = mem;
    q->control->enabled = (void *)(at + control_bytes());
    q->control->resetting = (void *)(at + control_bytes() + bitmap_bytes(max));
    q->control->list = (void *)(at + control_bytes() + 2 * bitmap_bytes(max));
    if (pthread_mutex_init(&q->control->lock, NULL) != 0)
        return -ENOMEM;
    start(q);
    return 0;
}

void queues_fini(struct queues *q) { pthread_mutex_destroy(&q->control->lock); }

void queues_set_pairs(struct queues *q, uint32_t n)
{
    mutex_lock(&q->control->lock);
    q->control->pairs = n;
    publish_locked(q);
    mutex_unlock(&q->control->lock);
}

static void set_bit(uint64_t *bitmap, uint32_t qid, bool on)
{
    uint64_t bit = UINT64_C(1) << qid % 64;
    bitmap[qid / 64] = on ? bitmap[qid / 64] | bit : bitmap[qid / 64] & ~bit;
}

void queues_set_enabled(struct queues *q, uint32_t qid, bool on)
{
    mutex_lock(&q->control->lock);
    set_bit(q->control->enabled, qid, on);
    publish_locked(q);
    mutex_unlock(&q->control->lock);
}

void queues_set_resetting(struct queues *q, uint32_t qid, bool on)
{
    mutex_lock(&q->control->lock);
    set_bit(q->control->resetting, qid, on);
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
