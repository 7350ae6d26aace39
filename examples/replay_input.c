/*
 * The input of flowq-replay: one capture after the other, read once from start to end, so that a pipe will do. What is wrong with
 * a capture is said in one line on stderr; the packets before that have been handed on, and the next capture follows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_GAP_NS 3600000000000u /* an hour */

#define SNAPLEN   262144 /* libpcap's most */
#define MAX_LINKS 16     /* link types for which a filter is kept */

/* A packet read ahead: `len` bytes follow. */
struct ahead {
    uint64_t number, time_ns;
    uint32_t len;
    uint32_t flags;
};

/* The filter for packets of one link type. */
struct link_filter {
    int link;
    struct bpf_program program;
};

struct input {
    const struct options *options;
    size_t next_file;
    pcap_t *pcap; /* of the file that is open one of the two, or neither */
    struct pcapng *pcapng;
    const char *name;
    int fd;
    uint64_t in_file;  /* packets read from it */
    uint64_t n_read;   /* from all */
    uint64_t size;     /* of the file in bytes; 0: unknown */
    uint64_t now_ns;   /* time of the last packet */
    uint64_t shift_ns; /* from the times of this file to ours, modulo 2^64 */
    bool shift_known, link_told;
    uint32_t n_errors, n_good;
    struct link_filter filter[MAX_LINKS];
    unsigned n_filters;
    uint8_t *ahead; /* packets read ahead, one after the other */
    size_t ahead_len, ahead_room, ahead_at;
};

static volatile sig_atomic_t stopped;

void input_stop(void) { stopped = 1; }

bool input_stopped(void) { return stopped != 0; }

uint64_t input_packets(const struct input *input) { return input->n_read; }

const char *printable(const char *text)
{
    static char buffers[4][512];
    static unsigned next;
    char *out = buffers[next++ % 4];
    size_t n = 0;

    for (; text[n] != '\0' && n < sizeof(buffers[0]) - 1; n++)
        out[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    out[n] = '\0';
    return out;
}

struct input *input_open(const struct options *options)
{
    struct input *input = calloc(1, sizeof(*input));

    if (input != NULL)
        input->options = options;
    return input;
}

static bool is_open(const struct input *input) { return input->pcap != NULL || input->pcapng != NULL; }

static void close_file(struct input *input)
{
    if (input->pcap != NULL)
        pcap_close(input->pcap);
    if (input->pcapng != NULL)
        pcapng_close(input->pcapng);
    input->pcap = NULL;
    input->pcapng = NULL;
    input->n_good += input->in_file > 0;
}

void input_close(struct input *input)
{
    if (input == NULL)
        return;
    close_file(input);
    for (unsigned i = 0; i < input->n_filters; i++)
        pcap_freecode(&input->filter[i].program);
    free(input->ahead);
    free(input);
}

/* Names a link type in the words of libpcap. */
static void refuse_link_type(struct input *input, int link, const char *what)
{
    const char *name = pcap_datalink_val_to_name(link);

    fprintf(stderr, PROGRAM ": %s: link type %d (%s) is not among those that are read; %s\n", printable(input->name), link,
            name == NULL ? "unknown" : name, what);
    input->n_errors++;
}

static void note_size(struct input *input)
{
    struct stat status;

    input->size = 0;
    if (fstat(input->fd, &status) == 0 && S_ISREG(status.st_mode))
        input->size = (uint64_t)status.st_size;
}

static void refuse(struct input *input, const char *what)
{
    fprintf(stderr, PROGRAM ": %s: %s; nothing read from it\n", printable(input->name), printable(what));
    input->n_errors++;
}

static bool open_file(struct input *input, FILE *file, bool pcapng)
{
    char error[PCAP_ERRBUF_SIZE] = "out of memory";

    if (pcapng) {
        input->pcapng = pcapng_open(file);
    } else {
        input->pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, error);
    }
    if (!is_open(input)) {
        fclose(file);
        refuse(input, error);
        return false;
    }
    if (input->pcap != NULL && !link_known(pcap_datalink(input->pcap))) {
        refuse_link_type(input, pcap_datalink(input->pcap), "nothing read from it");
        close_file(input);
        return false;
    }
    note_size(input);
    return true;
}

/* Opens the next capture that can be read. */
static bool open_next(struct input *input)
{
    while (input->next_file < input->options->n_files) {
        const char *path = input->options->files[input->next_file++];
        bool pcapng = false;

        input->name = strcmp(path, "-") == 0 ? "standard input" : path;
        input->in_file = 0;
        input->shift_known = input->link_told = false;
        FILE *file = stream_open(path, &pcapng, &input->fd);
        if (file == NULL)
            refuse(input, strerror(errno));
        else if (open_file(input, file, pcapng))
            return true;
    }
    return false;
}

/*
 * Our clock starts at 0 and runs with the capture's, but never back: packets out of order share the time of the one before.
 * Captures that follow each other within an hour keep their distance (one capture in several files); others are put one right
 * behind the other.
 */
static uint64_t replay_time(struct input *input, uint64_t stamp)
{
    if (!input->shift_known) {
        if (input->n_good == 0 || stamp + input->shift_ns - input->now_ns > MAX_GAP_NS) /* also when it would be before now */
            input->shift_ns = input->now_ns - stamp;
        input->shift_known = true;
    }
    int64_t ahead_ns = (int64_t)(stamp + input->shift_ns - input->now_ns);
    if (ahead_ns > 0)
        input->now_ns += (uint64_t)ahead_ns;
    return input->now_ns;
}

/* The next one of the file that is open: 1; 0: its end; below 0: an error. */
static int next_of_file(struct input *input, struct raw_packet *raw)
{
    struct pcap_pkthdr *header;

    if (input->pcapng != NULL)
        return pcapng_next(input->pcapng, raw) ? 1 : pcapng_error(input->pcapng) != NULL ? -1 : 0;
    int got = pcap_next_ex(input->pcap, &header, &raw->data);
    if (got != 1)
        return got == PCAP_ERROR ? -1 : 0;
    raw->link = pcap_datalink(input->pcap);
    raw->len = header->caplen;
    raw->time_ns = (uint64_t)header->ts.tv_sec * 1000000000u + (uint64_t)header->ts.tv_usec; /* in fact nanoseconds */
    return 1;
}

const char *filter_error(const char *expression)
{
    static char text[PCAP_ERRBUF_SIZE];
    static const int links[] = {DLT_EN10MB, DLT_RAW, DLT_LINUX_SLL};
    bool ok = false;

    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]) && !ok; i++) {
        struct bpf_program program;
        pcap_t *dead = pcap_open_dead(links[i], SNAPLEN);
        if (dead == NULL)
            return "out of memory";
        ok = pcap_compile(dead, &program, expression, 1, PCAP_NETMASK_UNKNOWN) == 0;
        if (ok)
            pcap_freecode(&program);
        else if (i == 0)
            snprintf(text, sizeof(text), "%s", printable(pcap_geterr(dead)));
        pcap_close(dead);
    }
    return ok ? NULL : text;
}

/* The filter for this link type; NULL: it cannot be had, which has been said. */
static const struct bpf_program *filter_for(struct input *input, int link)
{
    for (unsigned i = 0; i < input->n_filters; i++)
        if (input->filter[i].link == link)
            return &input->filter[i].program;
    if (input->n_filters == MAX_LINKS)
        return NULL;
    struct link_filter *f = &input->filter[input->n_filters];
    pcap_t *dead = pcap_open_dead(link == LINK_RAW_IN_FILES ? DLT_RAW : link, SNAPLEN);
    bool ok = dead != NULL && pcap_compile(dead, &f->program, input->options->filter, 1, PCAP_NETMASK_UNKNOWN) == 0;
    if (!ok) {
        fprintf(stderr, PROGRAM ": --filter: %s\n", dead == NULL ? "out of memory" : printable(pcap_geterr(dead)));
        input->n_errors++;
        stopped = 1;
    }
    if (dead != NULL)
        pcap_close(dead);
    f->link = link;
    input->n_filters += ok;
    return ok ? &f->program : NULL;
}

/* Whether a packet is asked for, by its time and the filter. */
static bool is_wanted(struct input *input, const struct raw_packet *raw, uint64_t time_ns)
{
    const struct options *options = input->options;
    struct pcap_pkthdr header = {.caplen = raw->len, .len = raw->len};

    if (time_ns < options->from_ns || time_ns > options->to_ns)
        return false;
    if (options->filter == NULL)
        return true;
    const struct bpf_program *program = filter_for(input, raw->link);
    return program != NULL && pcap_offline_filter(program, &header, raw->data) != 0;
}

static bool take_raw(struct input *input, const struct raw_packet *raw, struct packet *out)
{
    input->in_file++;
    out->number = ++input->n_read;
    out->time_ns = replay_time(input, raw->time_ns);
    if (!link_known(raw->link)) {
        if (!input->link_told)
            refuse_link_type(input, raw->link, "packets of this interface are left out");
        input->link_told = true;
        return false;
    }
    if (!is_wanted(input, raw, out->time_ns))
        return false;
    link_convert(raw->link, raw->data, raw->len, out);
    return true;
}

/* Reads the next packet that is asked for. */
static bool read_packet(struct input *input, struct packet *out)
{
    struct raw_packet raw;

    for (;;) {
        if (stopped && is_open(input))
            close_file(input);
        if (stopped || (!is_open(input) && !open_next(input)))
            return false;
        int got = next_of_file(input, &raw);
        if (got == 1) {
            if (take_raw(input, &raw, out))
                return true;
            continue;
        }
        if (got < 0) {
            const char *error = input->pcapng != NULL ? pcapng_error(input->pcapng) : pcap_geterr(input->pcap);
            fprintf(stderr, PROGRAM ": %s: %s; the %llu packet%s before that %s kept\n", printable(input->name), printable(error),
                    (unsigned long long)input->in_file, input->in_file == 1 ? "" : "s", input->in_file == 1 ? "is" : "are");
            input->n_errors++;
        }
        close_file(input);
    }
}

bool input_peek(const struct input *input, size_t *cursor, struct packet *packet)
{
    struct ahead head;

    if (*cursor == input->ahead_len)
        return false;
    memcpy(&head, input->ahead + *cursor, sizeof(head));
    packet->number = head.number;
    packet->time_ns = head.time_ns;
    packet->len = head.len;
    packet->flags = head.flags;
    memcpy(packet->data, input->ahead + *cursor + sizeof(head), head.len);
    *cursor += sizeof(head) + head.len;
    return true;
}

bool input_next(struct input *input, struct packet *packet)
{
    if (input->ahead_at < input->ahead_len)
        return input_peek(input, &input->ahead_at, packet);
    return read_packet(input, packet);
}

size_t input_look_ahead(struct input *input, size_t max)
{
    struct packet packet;
    size_t n = 0;

    while (n < max) {
        if (input->ahead_room - input->ahead_len < sizeof(struct ahead) + PACKET_BYTES) {
            size_t room = input->ahead_room == 0 ? 1u << 16 : input->ahead_room * 2;
            uint8_t *more = realloc(input->ahead, room);
            if (more == NULL)
                break;
            input->ahead = more;
            input->ahead_room = room;
        }
        if (!read_packet(input, &packet))
            break;
        const struct ahead head = {packet.number, packet.time_ns, packet.len, packet.flags};
        memcpy(input->ahead + input->ahead_len, &head, sizeof(head));
        memcpy(input->ahead + input->ahead_len + sizeof(head), packet.data, head.len);
        input->ahead_len += sizeof(head) + head.len;
        n++;
    }
    return n;
}

double input_progress(const struct input *input)
{
    off_t at = is_open(input) && input->size > 0 ? lseek(input->fd, 0, SEEK_CUR) : -1;

    return at < 0 ? -1 : (double)at / (double)input->size;
}

uint32_t input_errors(const struct input *input) { return input->n_errors; }

uint32_t input_files(const struct input *input) { return input->n_good + (is_open(input) && input->in_file > 0); }
