/*
 * The input of flowq-replay: one capture after the other, read once from start to end, so that a pipe will do. What is wrong with
 * a capture is said in one line on stderr; the packets before that have been handed on, and the next capture follows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <pcap/pcap.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_GAP_NS 3600000000000u /* an hour */

/* A packet read ahead: `len` bytes follow. */
struct ahead {
    uint64_t time_ns;
    uint32_t len;
    uint32_t flags;
};

struct input {
    char **files;
    size_t n_files, next_file;
    pcap_t *pcap;
    const char *name;
    uint32_t flags;    /* of the packets of this file */
    uint64_t in_file;  /* packets read from it */
    uint64_t size;     /* of the file in bytes; 0: unknown */
    uint64_t now_ns;   /* time of the last packet handed on */
    uint64_t shift_ns; /* from the times of this file to ours, modulo 2^64 */
    bool shift_known;
    uint32_t n_errors, n_good;
    uint8_t *ahead; /* packets read ahead, one after the other */
    size_t ahead_len, ahead_room, ahead_at;
};

static volatile sig_atomic_t stopped;

void input_stop(void) { stopped = 1; }

struct input *input_open(char **files, size_t n_files)
{
    struct input *input = calloc(1, sizeof(*input));

    if (input != NULL) {
        input->files = files;
        input->n_files = n_files;
    }
    return input;
}

void input_close(struct input *input)
{
    if (input == NULL)
        return;
    if (input->pcap != NULL)
        pcap_close(input->pcap);
    free(input->ahead);
    free(input);
}

static void close_file(struct input *input)
{
    pcap_close(input->pcap);
    input->pcap = NULL;
    input->n_good += input->in_file > 0;
}

/* Names the link type in the words of libpcap. */
static void refuse_link_type(struct input *input, int link)
{
    const char *name = pcap_datalink_val_to_name(link);

    fprintf(stderr, PROGRAM ": %s: link type %d (%s) is neither Ethernet nor raw IP; nothing read from it\n", input->name, link,
            name == NULL ? "unknown" : name);
    input->n_errors++;
    close_file(input);
}

static void note_size(struct input *input)
{
    struct stat status;
    FILE *file = pcap_file(input->pcap);

    input->size = 0;
    if (file != NULL && fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode))
        input->size = (uint64_t)status.st_size;
}

/* Opens the next capture that can be read. */
static bool open_next(struct input *input)
{
    char error[PCAP_ERRBUF_SIZE] = "";

    while (input->next_file < input->n_files) {
        const char *path = input->files[input->next_file++];

        input->name = strcmp(path, "-") == 0 ? "standard input" : path;
        input->in_file = 0;
        input->shift_known = false;
        input->pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, error);
        if (input->pcap == NULL) {
            /* libpcap names the file for some errors and not for others. */
            size_t length = strlen(path);
            const char *what =
                strncmp(error, path, length) == 0 && strncmp(error + length, ": ", 2) == 0 ? error + length + 2 : error;
            fprintf(stderr, PROGRAM ": %s: %s; nothing read from it\n", input->name, what);
            input->n_errors++;
            continue;
        }
        int link = pcap_datalink(input->pcap);
        input->flags = link == DLT_EN10MB ? 0 : FLOWQ_PKT_L3;
        if (link != DLT_EN10MB && link != DLT_RAW && link != DLT_IPV4 && link != DLT_IPV6) {
            refuse_link_type(input, link);
            continue;
        }
        note_size(input);
        return true;
    }
    return false;
}

/*
 * Our clock starts at 0 and runs with the capture's, but never back: packets out of order share the time of the one before.
 * Captures that follow each other within an hour keep their distance (one capture in several files); others are put one right
 * behind the other.
 */
static uint64_t replay_time(struct input *input, const struct pcap_pkthdr *header)
{
    uint64_t stamp = (uint64_t)header->ts.tv_sec * 1000000000u + (uint64_t)header->ts.tv_usec; /* tv_usec: in fact nanoseconds */

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

/* Reads the next packet; its bytes stay valid until the next call. */
static bool read_packet(struct input *input, struct ahead *out, const uint8_t **data)
{
    struct pcap_pkthdr *header;

    for (;;) {
        if (stopped && input->pcap != NULL)
            close_file(input);
        if (stopped || (input->pcap == NULL && !open_next(input)))
            return false;
        int got = pcap_next_ex(input->pcap, &header, data);
        if (got == 1) {
            input->in_file++;
            out->time_ns = replay_time(input, header);
            out->len = header->caplen < PACKET_BYTES ? header->caplen : PACKET_BYTES;
            out->flags = input->flags;
            return true;
        }
        if (got == PCAP_ERROR) {
            fprintf(stderr, PROGRAM ": %s: %s; the %llu packet%s before that %s kept\n", input->name, pcap_geterr(input->pcap),
                    (unsigned long long)input->in_file, input->in_file == 1 ? "" : "s", input->in_file == 1 ? "is" : "are");
            input->n_errors++;
        }
        close_file(input);
    }
}

static void take(struct packet *packet, const struct ahead *head, const uint8_t *data)
{
    packet->time_ns = head->time_ns;
    packet->len = head->len;
    packet->flags = head->flags;
    if (head->len > 0)
        memcpy(packet->data, data, head->len);
}

bool input_peek(const struct input *input, size_t *cursor, struct packet *packet)
{
    struct ahead head;

    if (*cursor == input->ahead_len)
        return false;
    memcpy(&head, input->ahead + *cursor, sizeof(head));
    take(packet, &head, input->ahead + *cursor + sizeof(head));
    *cursor += sizeof(head) + head.len;
    return true;
}

bool input_next(struct input *input, struct packet *packet)
{
    struct ahead head;
    const uint8_t *data;

    if (input->ahead_at < input->ahead_len)
        return input_peek(input, &input->ahead_at, packet);
    if (!read_packet(input, &head, &data))
        return false;
    take(packet, &head, data);
    return true;
}

size_t input_look_ahead(struct input *input, size_t max)
{
    struct ahead head;
    const uint8_t *data;
    size_t n = 0;

    while (n < max) {
        if (input->ahead_room - input->ahead_len < sizeof(head) + PACKET_BYTES) {
            size_t room = input->ahead_room == 0 ? 1u << 16 : input->ahead_room * 2;
            uint8_t *more = realloc(input->ahead, room);
            if (more == NULL)
                break;
            input->ahead = more;
            input->ahead_room = room;
        }
        if (!read_packet(input, &head, &data))
            break;
        memcpy(input->ahead + input->ahead_len, &head, sizeof(head));
        if (head.len > 0)
            memcpy(input->ahead + input->ahead_len + sizeof(head), data, head.len);
        input->ahead_len += sizeof(head) + head.len;
        n++;
    }
    return n;
}

double input_progress(const struct input *input)
{
    if (input->pcap == NULL || input->size == 0)
        return -1;
    long at = ftell(pcap_file(input->pcap));
    return at < 0 ? -1 : (double)at / (double)input->size;
}

uint32_t input_errors(const struct input *input) { return input->n_errors; }

uint32_t input_files(const struct input *input) { return input->n_good + (input->pcap != NULL && input->in_file > 0); }
