/* SPDX-License-Identifier: BSD-2-Clause */
/* note_age: from settings to ticks, and what is stale (S8). See note.h, TIME. */
#include "note.h"

struct note_ages note_ages_from(uint32_t tick_shift, uint64_t active_ns, uint64_t idle_ns)
{
    uint64_t round = (UINT64_C(1) << tick_shift) - 1;
    uint64_t idle = (idle_ns + round) >> tick_shift, longest = WORD_TICK_MASK - 32;
    return (struct note_ages){
        .tick_shift = tick_shift,
        .embryonic = (uint32_t)((NOTE_EMBRYONIC_STALE_NS + round) >> tick_shift),
        .closing = (uint32_t)((NOTE_CLOSING_STALE_NS + round) >> tick_shift),
        .idle = (uint32_t)(idle < longest ? idle : longest),
        .active = (uint32_t)(active_ns >> tick_shift) + 1, /* the tick it began in may have been nearly over */
    };
}

bool note_stale(const struct note_ages *ages, uint32_t now_tick, uint64_t word)
{
    uint32_t age = note_age(now_tick, word);
    switch (word_class(word)) {
    case FLOWQ_CLASS_EMBRYONIC:
        return age > ages->embryonic;
    case FLOWQ_CLASS_CLOSING:
        return age > ages->closing;
    case FLOWQ_CLASS_ESTABLISHED:
        return age > ages->idle;
    default:
        return false;
    }
}
