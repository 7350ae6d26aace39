/* SPDX-License-Identifier: BSD-2-Clause */
/* version: which library this is, and names for its constants. */
#include "flowq.h"

#include "outcome.h"

#define VERSION_TEXT_(n) #n
#define VERSION_TEXT(n)  VERSION_TEXT_(n)

uint32_t flowq_version(void) { return FLOWQ_VERSION; }

const char *flowq_version_string(void)
{
    return VERSION_TEXT(FLOWQ_VERSION_MAJOR) "." VERSION_TEXT(FLOWQ_VERSION_MINOR) "." VERSION_TEXT(FLOWQ_VERSION_PATCH);
}

/* A constant of flowq.h that has no case here is no warning but an error. */
#pragma GCC diagnostic error "-Wswitch"
#define VERSION_NAME(prefix, name, text)                                                                                         \
    case FLOWQ_##prefix##name:                                                                                                   \
        return text;

static const char *version_note_name(enum flowq_note note)
{
    switch (note) {
        OUTCOME_NOTES(VERSION_NAME, NOTE_)
    }
    return "unknown";
}

static const char *version_reason_name(enum flowq_reason reason)
{
    switch (reason) {
        OUTCOME_REASONS(VERSION_NAME, REASON_)
    }
    return "unknown";
}

static const char *version_class_name(enum flowq_class cls)
{
    switch (cls) {
        OUTCOME_CLASSES(VERSION_NAME, CLASS_)
    }
    return "unknown";
}

static const char *version_layer_name(enum flowq_layer_kind kind)
{
    switch (kind) {
        OUTCOME_LAYERS(VERSION_NAME, LAYER_)
    }
    return "unknown";
}

static const char *version_end_name(enum flowq_end end)
{
    switch (end) {
        OUTCOME_ENDS(VERSION_NAME, END_)
    }
    return "unknown";
}

static const char *version_key_name(enum flowq_key key)
{
    switch (key) {
        OUTCOME_KEYS(VERSION_NAME, KEY_)
    }
    return "unknown";
}

/* The enumerations may be narrower than what callers have. */
const char *flowq_note_name(uint32_t note) { return note < N_NOTES ? version_note_name((enum flowq_note)note) : "unknown"; }

const char *flowq_reason_name(uint32_t reason)
{
    return reason < N_REASONS ? version_reason_name((enum flowq_reason)reason) : "unknown";
}

const char *flowq_class_name(uint32_t cls) { return cls < N_CLASSES ? version_class_name((enum flowq_class)cls) : "unknown"; }

const char *flowq_layer_name(uint32_t kind)
{
    return kind < N_LAYERS ? version_layer_name((enum flowq_layer_kind)kind) : "unknown";
}

const char *flowq_end_name(uint32_t end) { return end < N_ENDS ? version_end_name((enum flowq_end)end) : "unknown"; }

const char *flowq_key_name(uint32_t key) { return key < N_KEYS ? version_key_name((enum flowq_key)key) : "unknown"; }
