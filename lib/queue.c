/* SPDX-License-Identifier: BSD-2-Clause */
/* queue: see queue.h for the layout and who may read it how. */
#include "queue.h"

#include "memory.h"
#include "probes.h"

#include <errno.h>
#include <string.h>

/*
 * Slots: 32 for each queue up to 64 queues, so that the queues' shares differ by 3 % at most; 8 for each of more, up to 2^16 in
 * all, which is 2 for each of the most queues there can be: beyond 64 queues, memory and the time of a setter count for more.
 */
enum { QUEUE_SLOTS_EACH = 32, QUEUE_SLOTS_EACH_OF_MANY = 8, QUEUE_SLOTS_MAX = 1 << 16 };

static uint32_t queue_n_slots(uint32_t max)
{
    uint32_t wanted = max > QUEUES_LOW ? max * QUEUE_SLOTS_EACH_OF_MANY : max * QUEUE_SLOTS_EACH, n = 1;
    if (max > QUEUES_LOW && wanted < QUEUES_LOW * QUEUE_SLOTS_EACH)
        wanted = QUEUES_LOW * QUEUE_SLOTS_EACH;
    while (n < wanted && n < QUEUE_SLOTS_MAX)
        n *= 2;
    return n;
}

/* So many queues, the default, leave setters `gives` on their stack: 512 bytes. */
enum { QUEUE_GIVES_ON_STACK = 256 };

/* One behind the other in one block: struct queue_control with its slots, eight bitmaps, `gives`. */
static size_t queue_control_bytes(uint32_t max)
{
    size_t bytes = sizeof(struct queue_control) + queue_n_slots(max) * sizeof(uint16_t);
    return (bytes + sizeof(uint64_t) - 1) & ~(sizeof(uint64_t) - 1);
}
static size_t queue_bitmap_bytes(uint32_t numbers) { return queues_words(numbers) * sizeof(uint64_t); }
static size_t queue_gives_bytes(uint32_t max) { return max > QUEUE_GIVES_ON_STACK ? max * sizeof(uint16_t) : 0; }

size_t queues_bytes(uint32_t max, uint32_t numbers)
{
    return memory_round64(queue_control_bytes(max) + 8 * queue_bitmap_bytes(numbers) + queue_gives_bytes(max));
}

/* ---- Slots: see STEADINESS in queue.h -------------------------------------------------------------------------------------- */

static uint32_t queue_n_bits(uint64_t word) { return (uint32_t)__builtin_popcountll(word); }
static bool queue_bit(const uint64_t *bits, uint32_t qid) { return bits[qid / 64] >> qid % 64 & 1; }

/* The n lowest bits of a word. */
static uint64_t queue_first_bits(uint64_t word, uint32_t n)
{
    uint64_t rest = word;
    for (; rest && n > 0; n--)
        rest &= rest - 1;
    return word & ~rest;
}

/* A sharing out: of so many slots for each that is in use. */
struct queue_share {
    const struct queues *q;
    uint32_t each;
    uint32_t to_take_from; /* the word of in_use whose takers are in `takers` */
    uint64_t takers;       /* that still have to get slots, */
    uint32_t takes;        /* the lowest of them so many */
};

static uint32_t queue_holds(const struct queue_control *c, uint32_t qid)
{
    return queue_bit(c->sharing, qid) ? c->slots_each + queue_bit(c->more, qid) : 0;
}

/* Of a queue in use. */
static uint32_t queue_gets(const struct queue_share *s, uint32_t qid)
{
    return s->each + queue_bit(s->q->control->gets_more, qid);
}

/* n_more of those in use get one more: first those that hold more than `each`. */
static void queue_choose_more(const struct queue_share *s, uint32_t n_more)
{
    const struct queue_control *c = s->q->control;
    const uint32_t words = queues_words(s->q->numbers);
    for (uint32_t w = 0; w < words; w++) {
        uint64_t above = c->slots_each > s->each ? c->sharing[w] : c->slots_each == s->each ? c->more[w] : 0;
        c->gets_more[w] = queue_first_bits(above & u64_load_relaxed(&s->q->in_use[w]), n_more);
        n_more -= queue_n_bits(c->gets_more[w]);
    }
    for (uint32_t w = 0; w < words && n_more; w++) {
        uint64_t others = queue_first_bits(u64_load_relaxed(&s->q->in_use[w]) & ~c->gets_more[w], n_more);
        c->gets_more[w] |= others;
        n_more -= queue_n_bits(others);
    }
}

/* Fills gives[], which is zeroed; returns the sum. */
static uint32_t queue_choose_givers(const struct queue_share *s, uint16_t *gives)
{
    const struct queue_control *c = s->q->control;
    uint32_t sum = 0;
    for (uint32_t w = 0; w < queues_words(s->q->numbers); w++) {
        uint64_t stay = c->sharing[w] & u64_load_relaxed(&s->q->in_use[w]);
        uint64_t less = c->slots_each > s->each ? stay : c->slots_each == s->each ? c->more[w] & ~c->gets_more[w] : 0;
        for (uint64_t left = (c->sharing[w] & ~stay) | (stay & less); left; left &= left - 1) {
            uint32_t qid = w * 64 + (uint32_t)__builtin_ctzll(left);
            gives[qid] = (uint16_t)(queue_holds(c, qid) - (stay & left & -left ? queue_gets(s, qid) : 0));
            sum += gives[qid];
        }
    }
    return sum;
}

/* Those of word w of in_use that may take some. */
static uint64_t queue_may_take(const struct queue_share *s, uint32_t w)
{
    const struct queue_control *c = s->q->control;
    uint64_t stay = c->slots_each < s->each ? UINT64_MAX : c->slots_each == s->each ? c->gets_more[w] & ~c->more[w] : 0;
    return u64_load_relaxed(&s->q->in_use[w]) & (~c->sharing[w] | stay);
}

/* The next slot's queue: that which takes some, and is the lowest. There is one. */
static uint16_t queue_next_taker(struct queue_share *s)
{
    const struct queue_control *c = s->q->control;
    while (s->takes == 0) {
        s->takers &= s->takers - 1;
        while (s->takers == 0)
            s->takers = queue_may_take(s, ++s->to_take_from);
        uint32_t qid = s->to_take_from * 64 + (uint32_t)__builtin_ctzll(s->takers), held = queue_holds(c, qid);
        s->takes = queue_gets(s, qid) > held ? queue_gets(s, qid) - held : 0;
    }
    s->takes--;
    return (uint16_t)(s->to_take_from * 64 + (uint32_t)__builtin_ctzll(s->takers));
}

/* Shares the slots out among the n queues in use, two or more. */
static void queue_share_locked(struct queues *q, uint32_t n)
{
    struct queue_control *c = q->control;
    const uint32_t slots = queue_n_slots(q->max);
    uint16_t on_stack[QUEUE_GIVES_ON_STACK], *gives = c->gives ? c->gives : on_stack;
    struct queue_share s = {.q = q, .each = slots / n, .to_take_from = UINT32_MAX};
    memset(gives, 0, q->max * sizeof(*gives));
    queue_choose_more(&s, slots % n);
    uint32_t left = queue_choose_givers(&s, gives);
    for (uint32_t i = 0; left > 0; i++) {
        uint16_t owner = atomic_load_explicit(&c->slot[i], memory_order_relaxed); /* no step for the tests' scheduler: our own */
        if (gives[owner] == 0)
            continue;
        gives[owner]--;
        left--;
        u16_store_release(&c->slot[i], queue_next_taker(&s)); /* Q-A */
    }
    for (uint32_t w = 0; w < queues_words(q->numbers); w++) {
        c->sharing[w] = u64_load_relaxed(&q->in_use[w]);
        c->more[w] = c->gets_more[w];
    }
    c->slots_each = s.each;
}

/* ---- Slots that were saved ------------------------------------------------------------------------------------------------- */

static void queues_restore_locked(struct queues *q, const struct queue_slots *s)
{
    struct queue_control *c = q->control;
    const uint32_t slots = queue_n_slots(q->max);
    for (uint32_t i = 0; i < slots; i++)
        u16_store_release(&c->slot[i], s->slot[i]); /* Q-A */
    memcpy(c->sharing, s->set, queue_bitmap_bytes(q->max));
    memcpy(c->more, s->more, queue_bitmap_bytes(q->max));
    c->slots_each = slots / s->n;
}

/* n queues are in use. True: they share what was saved, from now on. */
static bool queues_restore_if_due_locked(struct queues *q, uint32_t n)
{
    struct queue_control *c = q->control;
    const struct queue_slots *s = c->saved;
    uint64_t others = 0;
    for (uint32_t w = 0; w < queues_words(q->max); w++)
        others |= u64_load_relaxed(&q->in_use[w]) & ~s->set[w];
    bool due = (c->awaits_saved || n == 0) && !others;
    c->awaits_saved = due && n != s->n;
    if (due && n == s->n)
        queues_restore_locked(q, s);
    return due && n == s->n;
}

/* ---- The set --------------------------------------------------------------------------------------------------------------- */

/* Tells tracers of each queue whose state changes; a half: QUEUES_A_STATE queues. */
static void queues_trace(const struct queues *q, uint32_t half, uint64_t states)
{
    uint64_t before = atomic_load_explicit(&q->control->states[half], memory_order_relaxed); /* no step: our own */
    uint64_t changed = (before ^ states) | (before ^ states) >> QUEUES_A_STATE;
    for (changed &= UINT32_MAX; PROBES && changed; changed &= changed - 1) {
        uint32_t at = (uint32_t)__builtin_ctzll(changed), qid = half * QUEUES_A_STATE + at;
        uint32_t state = states >> (QUEUES_A_STATE + at) & 1 ? QUEUE_RESETTING : states >> at & 1;
        if (qid < q->max)
            PROBE(queue__state, PROBE_QUEUES(q), qid, state);
    }
}

/* Q-B */
static void queues_publish_states(const struct queues *q, uint32_t w, uint64_t in_use)
{
    struct queue_control *c = q->control;
    const uint64_t resetting = c->resetting[w], half = UINT32_MAX;
    const uint64_t low = (in_use & half) | (resetting & half) << QUEUES_A_STATE;
    const uint64_t high = in_use >> QUEUES_A_STATE | (resetting & ~half);
    queues_trace(q, 2 * w, low);
    queues_trace(q, 2 * w + 1, high);
    u64_store_release(&c->states[2 * w], low);
    u64_store_release(&c->states[2 * w + 1], high);
}

/* Makes in_use, states, slot and summary follow from pairs, named, enabled and resetting. Under lock. */
static void queues_publish_locked(struct queues *q)
{
    struct queue_control *c = q->control;
    uint32_t n = 0;
    uint16_t lowest = FLOWQ_DROP;
    for (uint32_t w = 0; w < queues_words(q->numbers); w++) {
        uint32_t first = w * 64;
        uint64_t paired = c->pairs >= first + 64 ? UINT64_MAX : c->pairs > first ? (UINT64_C(1) << (c->pairs - first)) - 1 : 0;
        uint64_t in_use = (paired | c->named[w]) & c->enabled[w] & ~c->resetting[w];
        queues_publish_states(q, w, in_use);
        u64_store_release(&q->in_use[w], in_use);
        if (n == 0 && in_use)
            lowest = (uint16_t)(first + (uint32_t)__builtin_ctzll(in_use));
        n += queue_n_bits(in_use);
    }
    u64_store_release(&q->in_use_low, u64_load_relaxed(&q->in_use[0]));
    bool restored = c->saved && queues_restore_if_due_locked(q, n);
    if (n > 1 && !restored)
        queue_share_locked(q, n);
    u32_store_release(&q->summary, n << 16 | lowest); /* Q-A */
    queues_set_mode(q, QUEUES_SINGLE, n <= 1);
}

static void queues_start_locked(struct queues *q)
{
    for (uint32_t w = 0; w < queues_words(q->numbers); w++) {
        q->control->enabled[w] = UINT64_MAX;
        q->control->resetting[w] = 0;
        q->control->named[w] = 0;
    }
    q->control->pairs = 1;
    queues_publish_locked(q);
}

/* Before any two were in use: as if the first two were, so that there always is somebody to take from. */
static void queues_deal_slots(struct queues *q)
{
    struct queue_control *c = q->control;
    const uint32_t slots = queue_n_slots(q->max);
    for (uint32_t i = 0; i < slots; i++)
        atomic_init(&c->slot[i], (uint16_t)(i & (q->max > 1)));
    c->sharing[0] = 3;
    c->slots_each = slots / 2;
    q->slot_shift = (uint8_t)(32 - __builtin_ctz(slots));
}

int queues_init(struct queues *q, uint32_t max, uint32_t numbers, atomic_u64 *many, void *mem)
{
    char *at = (char *)mem + queue_control_bytes(max);
    const size_t step = queue_bitmap_bytes(numbers);
    struct queue_control *c = mem;
    q->max = (uint16_t)max;
    q->numbers = numbers;
    q->in_use = numbers > QUEUES_LOW ? many : &q->in_use_low;
    queues_set_mode(q, QUEUES_MANY, numbers > QUEUES_LOW);
    q->control = c;
    c->enabled = (void *)at;
    c->resetting = (void *)(at + step);
    c->named = (void *)(at + 2 * step);
    c->sharing = (void *)(at + 3 * step);
    c->more = (void *)(at + 4 * step);
    c->gets_more = (void *)(at + 5 * step);
    c->states = (void *)(at + 6 * step);
    c->gives = max > QUEUE_GIVES_ON_STACK ? (void *)(at + 8 * step) : NULL;
    if (pthread_mutex_init(&c->lock, NULL) != 0)
        return -ENOMEM;
    queues_deal_slots(q);
    queues_start_locked(q);
    return 0;
}

void queues_fini(struct queues *q) { pthread_mutex_destroy(&q->control->lock); }

void queues_set_pairs(struct queues *q, uint32_t n) { queues_set_named(q, n, NULL, 0); }

void queues_set_named(struct queues *q, uint32_t pairs, const uint16_t *named, uint32_t n)
{
    struct queue_control *c = q->control;
    mutex_lock(&c->lock);
    c->pairs = pairs;
    memset(c->named, 0, queues_words(q->numbers) * sizeof(*c->named));
    for (uint32_t i = 0; i < n; i++)
        c->named[named[i] / 64] |= UINT64_C(1) << named[i] % 64;
    queues_publish_locked(q);
    mutex_unlock(&c->lock);
}

void queues_forget_named(struct queues *q)
{
    mutex_lock(&q->control->lock);
    memset(q->control->named, 0, queues_words(q->numbers) * sizeof(*q->control->named));
    queues_publish_locked(q);
    mutex_unlock(&q->control->lock);
}

/* The bits of word w of a bitmap that qid means. */
static uint64_t queue_bits_of(uint32_t qid, uint32_t w)
{
    return qid == FLOWQ_ALL_QUEUES ? UINT64_MAX : qid / 64 == w ? UINT64_C(1) << qid % 64 : 0;
}

static uint64_t queue_with_bits(uint64_t word, uint64_t bits, bool on) { return on ? word | bits : word & ~bits; }

void queues_set_enabled(struct queues *q, uint32_t qid, bool on)
{
    uint64_t *enabled = q->control->enabled;
    mutex_lock(&q->control->lock);
    for (uint32_t w = 0; w < queues_words(q->numbers); w++)
        enabled[w] = queue_with_bits(enabled[w], queue_bits_of(qid, w), on);
    queues_publish_locked(q);
    mutex_unlock(&q->control->lock);
}

void queues_set_resetting(struct queues *q, uint32_t qid, bool on)
{
    uint64_t *resetting = q->control->resetting;
    mutex_lock(&q->control->lock);
    for (uint32_t w = 0; w < queues_words(q->numbers); w++)
        resetting[w] = queue_with_bits(resetting[w], queue_bits_of(qid, w), on);
    queues_publish_locked(q);
    mutex_unlock(&q->control->lock);
}

void queues_reset(struct queues *q)
{
    mutex_lock(&q->control->lock);
    queues_start_locked(q);
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
    uint32_t words = queues_words(q->numbers), at = qid / 64;
    uint64_t beyond = qid % 64 == 63 ? 0 : UINT64_MAX << (qid % 64 + 1);
    uint64_t word = u64_load_relaxed(&q->in_use[at]) & beyond;
    for (uint32_t i = 0; i < words && !word; i++) { /* at last the word we began with, whole */
        at = (at + 1) % words;
        word = u64_load_relaxed(&q->in_use[at]);
    }
    if (word)
        return (uint16_t)(at * 64 + (uint32_t)__builtin_ctzll(word));
    /* No word is read at the same instant as another: the one queue in use may have been in another word each time. */
    return queues_lowest(u32_load_acquire(&q->summary));
}

/* ---- State that is saved --------------------------------------------------------------------------------------------------- */

size_t queues_slots_bytes(const struct queues *q)
{
    return 2 * queue_bitmap_bytes(q->max) + (q->max + (size_t)queue_n_slots(q->max)) * sizeof(uint16_t);
}

/* What each queue gets, in count[], for what it wished. */
static void queues_settle_counts(const struct queues *q, struct queue_slots *s)
{
    const uint32_t each = queue_n_slots(q->max) / s->n;
    uint32_t n_more = queue_n_slots(q->max) % s->n;
    for (unsigned turn = 0; turn < 2; turn++) /* first those that wish for more */
        for (uint32_t qid = 0; qid < q->max && n_more; qid++) {
            if (!queue_bit(s->set, qid) || queue_bit(s->more, qid) || (turn == 0 && s->count[qid] <= each))
                continue;
            s->more[qid / 64] |= UINT64_C(1) << qid % 64;
            n_more--;
        }
    for (uint32_t qid = 0; qid < q->max; qid++)
        s->count[qid] = (uint16_t)(queue_bit(s->set, qid) ? each + queue_bit(s->more, qid) : 0);
}

bool queues_settle(const struct queues *q, struct queue_slots *s, void *mem, const uint8_t *wished, uint32_t n)
{
    const uint32_t slots = queue_n_slots(q->max);
    memset(mem, 0, queues_slots_bytes(q));
    *s = (struct queue_slots){.set = mem};
    s->more = s->set + queues_words(q->max);
    s->count = (uint16_t *)(s->more + queues_words(q->max));
    s->slot = s->count + q->max;
    for (uint32_t i = 0; i < slots; i++) {
        size_t at = (size_t)((uint64_t)i * n / slots) * sizeof(uint16_t); /* of the same hashes */
        uint16_t qid = (uint16_t)(wished[at] << 8 | wished[at + 1]);
        s->slot[i] = qid < q->max ? qid : FLOWQ_DROP;
        if (qid >= q->max)
            continue;
        s->n += !queue_bit(s->set, qid);
        s->set[qid / 64] |= UINT64_C(1) << qid % 64;
        s->count[qid]++;
    }
    if (s->n < 2)
        return false;
    queues_settle_counts(q, s);
    for (uint32_t i = 0; i < slots; i++) {
        if (s->slot[i] != FLOWQ_DROP && s->count[s->slot[i]] > 0)
            s->count[s->slot[i]]--;
        else
            s->slot[i] = FLOWQ_DROP;
    }
    for (uint32_t i = 0, qid = 0; i < slots; i++) {
        if (s->slot[i] != FLOWQ_DROP)
            continue;
        while (s->count[qid] == 0)
            qid++;
        s->count[qid]--;
        s->slot[i] = (uint16_t)qid;
    }
    return true;
}

uint32_t queues_n_slots(const struct queues *q) { return queue_n_slots(q->max); }
uint16_t queues_slot(const struct queues *q, uint32_t i) { return u16_load_relaxed(&q->control->slot[i]); }

void queues_rings(struct queues *q, uint32_t w, uint64_t *enabled, uint64_t *resetting)
{
    mutex_lock(&q->control->lock);
    *enabled = q->control->enabled[w];
    *resetting = q->control->resetting[w];
    mutex_unlock(&q->control->lock);
}

void queues_load(struct queues *q, const struct queues_load *load)
{
    struct queue_control *c = q->control;
    const size_t bytes = queue_bitmap_bytes(q->max);
    mutex_lock(&c->lock);
    if (load->pairs)
        c->pairs = load->pairs;
    if (load->named || load->forget_named)
        memset(c->named, 0, bytes);
    for (uint32_t i = 0; i < load->n_named; i++)
        c->named[load->named[i] / 64] |= UINT64_C(1) << load->named[i] % 64;
    if (load->enabled)
        memcpy(c->enabled, load->enabled, bytes);
    if (load->resetting)
        memcpy(c->resetting, load->resetting, bytes);
    if (load->slots) {
        queues_restore_locked(q, load->slots);
        c->saved = load->slots;
        c->awaits_saved = true;
    }
    queues_publish_locked(q);
    mutex_unlock(&c->lock);
}
