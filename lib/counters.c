/* SPDX-License-Identifier: BSD-2-Clause */
/* counters: the numbers of vms with their names, shown one by one or written in a format. See counters.h. */
#include "counters.h"

#include <unistd.h>

#include "sized.h"
#include "vm.h"

enum counters_label {
    COUNTERS_LABEL_NONE,
    COUNTERS_LABEL_OUTCOME,
    COUNTERS_LABEL_REASON,
    COUNTERS_LABEL_CLASS,
    COUNTERS_LABEL_QUEUE
};

/* Numbers of one name. */
struct counters_family {
    const char *name, *unit, *help;
    uint16_t at;    /* of the first one, in the struct */
    uint8_t number; /* bytes of each */
    uint8_t kind;   /* FLOWQ_COUNTER_* */
    uint8_t label;  /* enum counters_label */
};

#define COUNTERS_FIELD_OF(type, field) ((type *)0)->field
#define COUNTERS_ELEMENT(x)            _Generic((x), uint32_t : 4, uint64_t : 8, default : 8) /* an array is one of uint64_t */
#define COUNTERS_FAMILY(type, field, kind, label, name, unit, help)                                                              \
    {"flowq_" name,                                                                                                              \
     unit,                                                                                                                       \
     help,                                                                                                                       \
     offsetof(type, field),                                                                                                      \
     COUNTERS_ELEMENT(COUNTERS_FIELD_OF(type, field)),                                                                           \
     FLOWQ_COUNTER_##kind,                                                                                                       \
     COUNTERS_LABEL_##label},
#define COUNTERS_FAMILY_VM(field, fields, ...)    COUNTERS_FAMILY(struct flowq_stats, field, __VA_ARGS__)
#define COUNTERS_FAMILY_QUEUE(field, fields, ...) COUNTERS_FAMILY(struct flowq_queue_stats, field, __VA_ARGS__)

static const struct counters_family counters_families[N_COUNTERS] = {COUNTERS_VM(COUNTERS_FAMILY_VM)
                                                                         COUNTERS_QUEUE(COUNTERS_FAMILY_QUEUE)};

/* Each field of the two structs is in the list, behind `size`, and each has a help text. */
#define COUNTERS_BYTES_VM(field, fields, ...)    +(fields) * sizeof(COUNTERS_FIELD_OF(struct flowq_stats, field))
#define COUNTERS_BYTES_QUEUE(field, fields, ...) +(fields) * sizeof(COUNTERS_FIELD_OF(struct flowq_queue_stats, field))
_Static_assert(sizeof(uint32_t) COUNTERS_VM(COUNTERS_BYTES_VM) == sizeof(struct flowq_stats),
               "a counter has a name and a help text");
_Static_assert(sizeof(uint32_t) COUNTERS_QUEUE(COUNTERS_BYTES_QUEUE) == sizeof(struct flowq_queue_stats), "of queues, too");
#define COUNTERS_HELPS(field, fields, kind, label, name, unit, help) _Static_assert(sizeof(name) > 1 && sizeof(help) > 1, #field);
COUNTERS_VM(COUNTERS_HELPS)
COUNTERS_QUEUE(COUNTERS_HELPS)

/* ---- Numbers as text ------------------------------------------------------------------------------------------------------- */

#define COUNTERS_NUMBER_DIGITS 20 /* of UINT64_MAX */

/* Writes n at the end of `room`, with a zero behind it; where it begins. */
static const char *counters_number_text(uint64_t n, char room[COUNTERS_NUMBER_DIGITS + 1])
{
    char *at = room + COUNTERS_NUMBER_DIGITS;
    *at = 0;
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    return at;
}

/* ---- The numbers of a vm --------------------------------------------------------------------------------------------------- */

typedef int counters_show_fn(void *ctx, const struct flowq_counter *counter);

static struct flowq_counter counters_counter_of(const struct counters_family *f)
{
    static const char *const labels[] = {NULL, "outcome", "reason", "class", "queue"};
    return (struct flowq_counter){.size = sizeof(struct flowq_counter),
                                  .kind = f->kind,
                                  .name = f->name,
                                  .unit = f->unit,
                                  .help = f->help,
                                  .label = labels[f->label]};
}

static uint64_t counters_value_at(const struct counters_family *f, const void *s, size_t i)
{
    const char *at = (const char *)s + f->at + i * f->number;
    uint32_t narrow;
    uint64_t wide;
    if (f->number == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

/* s holds what the family needs. */
static int counters_show_vm_family(const struct counters_family *f, const struct flowq_stats *s, counters_show_fn *fn, void *ctx)
{
    static const uint8_t n_of[] = {1, N_NOTES, N_REASONS, N_CLASSES - 1, 0};
    static const uint8_t class_at[] = {FLOWQ_CLASS_EMBRYONIC, FLOWQ_CLASS_CLOSING,
                                       FLOWQ_CLASS_ESTABLISHED}; /* as in the struct */
    struct flowq_counter c = counters_counter_of(f);
    int r = 0;
    for (uint32_t i = 0; i < n_of[f->label] && r == 0; i++) {
        c.value = counters_value_at(f, s, i);
        if (f->label == COUNTERS_LABEL_OUTCOME)
            c.label_value = flowq_note_name(i);
        else if (f->label == COUNTERS_LABEL_REASON)
            c.label_value = flowq_reason_name(i);
        else if (f->label == COUNTERS_LABEL_CLASS)
            c.label_value = flowq_class_name(class_at[i]);
        r = fn(ctx, &c);
    }
    return r;
}

/* What has never been used is not worth a line. */
static bool counters_is_worth_showing(uint32_t qid, uint32_t pairs, const struct flowq_queue_stats *s)
{
    return qid < pairs || s->in_use || s->noted || s->steered;
}

static int counters_show_queue_family(struct flowq_vm *vm, const struct counters_family *f, counters_show_fn *fn, void *ctx)
{
    struct flowq_counter c = counters_counter_of(f);
    const bool counted = f == &counters_families[COUNTER_QUEUE_in_use] || vm->counted;
    uint32_t pairs = queues_pairs(&vm->queues);
    int r = 0;
    for (uint32_t q = 0; counted && q < vm->queues.max && r == 0; q++) {
        struct flowq_queue_stats s = {.size = sizeof(s)};
        char room[COUNTERS_NUMBER_DIGITS + 1];
        (void)flowq_vm_queue_stats(vm, q, &s);
        if (!counters_is_worth_showing(q, pairs, &s))
            continue;
        c.label_value = counters_number_text(q, room);
        c.value = counters_value_at(f, &s, 0);
        r = fn(ctx, &c);
    }
    return r;
}

/* All numbers of one name. The thread is registered. */
static int counters_show_family(struct flowq_vm *vm, struct thread *thread, enum counter which, counters_show_fn *fn, void *ctx)
{
    struct flowq_stats s;
    if (which >= COUNTERS_VM_END)
        return counters_show_queue_family(vm, &counters_families[which], fn, ctx);
    thread_enter(thread);
    stats_read(vm, which, &s);
    thread_leave(thread);
    return counters_show_vm_family(&counters_families[which], &s, fn, ctx);
}

static int counters_show_all(struct flowq_vm *vm, struct thread *thread, counters_show_fn *fn, void *ctx)
{
    int r = 0;
    for (unsigned which = 0; which < N_COUNTERS && r == 0; which++)
        r = counters_show_family(vm, thread, (enum counter)which, fn, ctx);
    return r;
}

int flowq_vm_counters(struct flowq_vm *vm, int (*fn)(void *ctx, const struct flowq_counter *counter), void *ctx)
{
    if (!vm || !fn)
        return -EINVAL;
    struct thread *thread = thread_self();
    return thread ? counters_show_all(vm, thread, fn, ctx) : -ENOMEM;
}

/* ---- Where text goes ------------------------------------------------------------------------------------------------------- */

#define COUNTERS_PIECE_BYTES 4096 /* of text that is written at once */

struct counters_out {
    char *at;     /* the next bytes of the buffer, */
    size_t left;  /* of which there are so many */
    uint64_t len; /* of all text so far, cut or not */
    int fd;       /* where a full buffer is written; -1: it is the caller's, and the text is cut */
    bool failed;  /* write(2) has; nothing goes there any more */
    char *piece;  /* of COUNTERS_PIECE_BYTES */
};

static void counters_flush(struct counters_out *o)
{
    const char *from = o->piece;
    while (from < o->at && !o->failed) {
        ssize_t n = write(o->fd, from, (size_t)(o->at - from));
        if (n > 0)
            from += n;
        else
            o->failed = n == 0 || errno != EINTR;
    }
    o->at = o->piece;
    o->left = COUNTERS_PIECE_BYTES;
}

static void counters_put_n(struct counters_out *o, const char *text, size_t n)
{
    o->len += n;
    while (n > 0) {
        if (o->left == 0 && o->fd >= 0)
            counters_flush(o);
        size_t some = n < o->left ? n : o->left;
        if (some == 0)
            return;
        memcpy(o->at, text, some);
        o->at += some;
        o->left -= some;
        text += some;
        n -= some;
    }
}

static void counters_put(struct counters_out *o, const char *text) { counters_put_n(o, text, strlen(text)); }

static void counters_put_number(struct counters_out *o, uint64_t n)
{
    char room[COUNTERS_NUMBER_DIGITS + 1];
    counters_put(o, counters_number_text(n, room));
}

/* Bytes of the character of UTF-8 (RFC 3629) that begins here; 0: none does. text ends with a zero. */
static size_t counters_utf8_bytes(const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    uint8_t low = 0x80, high = 0xbf; /* of the second byte */
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (s[0] == 0xe0)
        low = 0xa0; /* else it would be too long a form */
    else if (s[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f; /* the end of Unicode */
    for (size_t i = 1; i < n; i++) {
        if (s[i] < low || s[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

/* A name between quotes. It has no control characters (flowq_vm_config.name). */
static void counters_put_quoted(struct counters_out *o, const char *text)
{
    counters_put(o, "\"");
    while (*text) {
        size_t n = counters_utf8_bytes(text);
        if (*text == '"' || *text == '\\')
            counters_put(o, "\\");
        counters_put_n(o, n ? text : "?", n ? n : 1);
        text += n ? n : 1;
    }
    counters_put(o, "\"");
}

/* What a vm is called where there are several. */
static void counters_put_vm(struct counters_out *o, const struct flowq_vm *vm, size_t place)
{
    char room[COUNTERS_NUMBER_DIGITS + 1];
    counters_put_quoted(o, *vm->name ? vm->name : counters_number_text(place, room));
}

/* ---- The formats ----------------------------------------------------------------------------------------------------------- */

/* What is being written. */
struct counters_text {
    struct counters_out *out;
    const struct flowq_vm *vm;
    size_t place; /* of the vm */
    uint32_t format;
    const char *name; /* JSON: of the object that is open; NULL: none is */
};

static int counters_put_sample(void *ctx, const struct flowq_counter *c)
{
    const struct counters_text *t = ctx;
    struct counters_out *o = t->out;
    counters_put(o, c->name);
    counters_put(o, c->kind == FLOWQ_COUNTER_TOTAL ? "_total{vm=" : "{vm=");
    counters_put_vm(o, t->vm, t->place);
    if (c->label) {
        counters_put(o, ",");
        counters_put(o, c->label);
        counters_put(o, "=\"");
        counters_put(o, c->label_value);
        counters_put(o, "\"");
    }
    counters_put(o, "} ");
    counters_put_number(o, c->value);
    counters_put(o, "\n");
    return 0;
}

/* `# what name text`; Prometheus calls a counter by the name of its samples, OpenMetrics by that of their family. */
static void counters_put_about(struct counters_out *o, const struct counters_family *f, uint32_t format, const char *what,
                               const char *text)
{
    counters_put(o, "# ");
    counters_put(o, what);
    counters_put(o, " ");
    counters_put(o, f->name);
    counters_put(o, f->kind == FLOWQ_COUNTER_TOTAL && format == FLOWQ_FORMAT_PROMETHEUS ? "_total " : " ");
    counters_put(o, text);
    counters_put(o, "\n");
}

/* Samples of one name stand together, whichever vm they are of. */
static void counters_put_families(struct counters_out *o, struct flowq_vm *const *vms, size_t n, struct thread *thread,
                                  uint32_t format)
{
    for (unsigned which = 0; which < N_COUNTERS; which++) {
        const struct counters_family *f = &counters_families[which];
        counters_put_about(o, f, format, "TYPE", f->kind == FLOWQ_COUNTER_TOTAL ? "counter" : "gauge");
        if (format == FLOWQ_FORMAT_OPENMETRICS && *f->unit)
            counters_put_about(o, f, format, "UNIT", f->unit);
        counters_put_about(o, f, format, "HELP", f->help);
        for (size_t i = 0; i < n; i++) {
            struct counters_text t = {.out = o, .vm = vms[i], .place = i, .format = format};
            (void)counters_show_family(vms[i], thread, (enum counter)which, counters_put_sample, &t);
        }
    }
    if (format == FLOWQ_FORMAT_OPENMETRICS)
        counters_put(o, "# EOF\n");
}

/* "name":value, or what is in common once: "name":{"label":value,"label":value */
static int counters_put_member(void *ctx, const struct flowq_counter *c)
{
    struct counters_text *t = ctx;
    struct counters_out *o = t->out;
    const bool goes_on = c->name == t->name;
    if (!goes_on) {
        counters_put(o, t->name ? "},\"" : ",\"");
        counters_put(o, c->name);
        counters_put(o, c->label ? "\":{\"" : "\":");
    } else {
        counters_put(o, ",\"");
    }
    if (c->label) {
        counters_put(o, c->label_value);
        counters_put(o, "\":");
    }
    counters_put_number(o, c->value);
    t->name = c->label ? c->name : NULL;
    return 0;
}

static void counters_put_json(struct counters_out *o, struct flowq_vm *const *vms, size_t n, struct thread *thread)
{
    counters_put(o, "{\"flowq_version\":\"");
    counters_put(o, flowq_version_string());
    counters_put(o, "\",\"vms\":[");
    for (size_t i = 0; i < n; i++) {
        struct counters_text t = {.out = o};
        counters_put(o, i ? ",{\"vm\":" : "{\"vm\":");
        counters_put_vm(o, vms[i], i);
        (void)counters_show_all(vms[i], thread, counters_put_member, &t);
        counters_put(o, t.name ? "}}" : "}");
    }
    counters_put(o, "]}\n");
}

/* 0, or what is wrong with the arguments. */
static int counters_all_put(struct counters_out *o, struct flowq_vm *const *vms, size_t n, uint32_t format)
{
    if ((!vms && n > 0) || format < FLOWQ_FORMAT_PROMETHEUS || format > FLOWQ_FORMAT_JSON)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!vms[i])
            return -EINVAL;
    struct thread *thread = thread_self();
    if (!thread)
        return -ENOMEM;
    if (format == FLOWQ_FORMAT_JSON)
        counters_put_json(o, vms, n, thread);
    else
        counters_put_families(o, vms, n, thread, format);
    return 0;
}

int64_t flowq_counters_print(char *buffer, size_t size, struct flowq_vm *const *vms, size_t n, uint32_t format)
{
    struct counters_out o = {.at = buffer, .left = size > 0 ? size - 1 : 0, .fd = -1};
    if (!buffer && size > 0)
        return -EINVAL;
    int r = counters_all_put(&o, vms, n, format);
    if (r != 0)
        return r;
    if (size > 0)
        *o.at = 0;
    return (int64_t)o.len;
}

int flowq_counters_write(int fd, struct flowq_vm *const *vms, size_t n, uint32_t format)
{
    char piece[COUNTERS_PIECE_BYTES];
    struct counters_out o = {.at = piece, .left = sizeof(piece), .fd = fd, .piece = piece};
    if (fd < 0) {
        errno = EBADF;
        return -EIO;
    }
    int r = counters_all_put(&o, vms, n, format);
    if (r != 0)
        return r;
    counters_flush(&o);
    return o.failed ? -EIO : 0;
}
