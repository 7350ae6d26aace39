/* version: which library this is, and names for its constants. */
#include "flowq.h"

#define TEXT_(n) #n
#define TEXT(n) TEXT_(n)

uint32_t flowq_version(void) { return FLOWQ_VERSION; }

const char *flowq_version_string(void)
{
    return TEXT(FLOWQ_VERSION_MAJOR) "." TEXT(FLOWQ_VERSION_MINOR) "." TEXT(FLOWQ_VERSION_PATCH);
}

static const char *name_of(const char *const *names, uint32_t n, uint32_t i)
{
    return i < n && names[i] ? names[i] : "unknown";
}
#define NAME_OF(names, i) name_of(names, sizeof(names) / sizeof((names)[0]), i)

const char *flowq_note_name(uint32_t note)
{
    static const char *const names[] = {
        [FLOWQ_NOTE_BOUND] = "bound",           [FLOWQ_NOTE_REFRESHED] = "refreshed",
        [FLOWQ_NOTE_MOVED] = "moved",           [FLOWQ_NOTE_SUPPRESSED] = "suppressed",
        [FLOWQ_NOTE_IMPLIED] = "implied",       [FLOWQ_NOTE_REFUSED] = "refused",
        [FLOWQ_NOTE_BUSY] = "busy",             [FLOWQ_NOTE_NOT_IN_USE] = "not-in-use",
        [FLOWQ_NOTE_SINGLE] = "single",         [FLOWQ_NOTE_OFF] = "off",
        [FLOWQ_NOTE_KEYLESS] = "keyless",       [FLOWQ_NOTE_MULTICAST] = "multicast",
        [FLOWQ_NOTE_FRAGMENT] = "fragment",     [FLOWQ_NOTE_ICMP_ERROR] = "icmp-error",
        [FLOWQ_NOTE_RESET] = "reset",           [FLOWQ_NOTE_UNREGISTERED] = "unregistered",
    };
    return NAME_OF(names, note);
}

const char *flowq_reason_name(uint32_t reason)
{
    static const char *const names[] = {
        [FLOWQ_REASON_BOUND] = "bound",         [FLOWQ_REASON_FALLBACK] = "fallback",
        [FLOWQ_REASON_FRAGMENT] = "fragment",   [FLOWQ_REASON_ICMP_ERROR] = "icmp-error",
        [FLOWQ_REASON_KEYLESS] = "keyless",     [FLOWQ_REASON_SINGLE] = "single",
        [FLOWQ_REASON_DROP] = "drop",           [FLOWQ_REASON_RSS] = "rss",
    };
    return NAME_OF(names, reason);
}

const char *flowq_class_name(uint32_t cls)
{
    static const char *const names[] = {
        [FLOWQ_CLASS_EMBRYONIC] = "embryonic",
        [FLOWQ_CLASS_ESTABLISHED] = "established",
        [FLOWQ_CLASS_CLOSING] = "closing",
    };
    return NAME_OF(names, cls);
}
