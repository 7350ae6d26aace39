/* version: which library this is, and names for its constants. */
#include "flowq.h"

#include "outcome.h"

#define TEXT_(n) #n
#define TEXT(n)  TEXT_(n)

uint32_t flowq_version(void) { return FLOWQ_VERSION; }

const char *flowq_version_string(void)
{
    return TEXT(FLOWQ_VERSION_MAJOR) "." TEXT(FLOWQ_VERSION_MINOR) "." TEXT(FLOWQ_VERSION_PATCH);
}

/* A constant of flowq.h that has no case here is no warning but an error. */
#pragma GCC diagnostic error "-Wswitch"
#define NAME(prefix, name, text)                                                                                                 \
    case FLOWQ_##prefix##name:                                                                                                   \
        return text;

static const char *note_name(enum flowq_note note)
{
    switch (note) {
        OUTCOME_NOTES(NAME, NOTE_)
    }
    return "unknown";
}

static const char *reason_name(enum flowq_reason reason)
{
    switch (reason) {
        OUTCOME_REASONS(NAME, REASON_)
    }
    return "unknown";
}

static const char *class_name(enum flowq_class cls)
{
    switch (cls) {
        OUTCOME_CLASSES(NAME, CLASS_)
    }
    return "unknown";
}

/* The enumerations may be narrower than what callers have. */
const char *flowq_note_name(uint32_t note) { return note < N_NOTES ? note_name((enum flowq_note)note) : "unknown"; }

const char *flowq_reason_name(uint32_t reason) { return reason < N_REASONS ? reason_name((enum flowq_reason)reason) : "unknown"; }

const char *flowq_class_name(uint32_t cls) { return cls < N_CLASSES ? class_name((enum flowq_class)cls) : "unknown"; }
