/* SPDX-License-Identifier: BSD-2-Clause */
#include "captures.h"

#include "flowq.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE        2048
#define PATH_LENGTH 4096

/* Splits a line at its commas, in place. Nothing in these files is quoted. */
static unsigned split(char *line, char *column[], unsigned max)
{
    unsigned n = 0;
    line[strcspn(line, "\r\n")] = 0;
    for (char *at = line; at && n < max; n++) {
        column[n] = at;
        at = strchr(at, ',');
        if (at)
            *at++ = 0;
    }
    return n;
}

static FILE *open_list(const char *folder, const char *name)
{
    char path[PATH_LENGTH];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    if (!f)
        perror(path);
    return f;
}

/* expected.csv: file,frame,ts,caplen,len,encap,protos,outer,inner,quoted,depth,vlans,tcpflags,... */
static void fill_row(struct capture_row *row, char *column[])
{
    static const unsigned of_field[CAPTURE_N_FIELDS] = {7, 8, 9, 11, 12};
    memset(row, 0, sizeof(*row));
    snprintf(row->file, sizeof(row->file), "%s", column[0]);
    row->frame = (unsigned)strtoul(column[1], NULL, 10);
    for (unsigned i = 0; i < CAPTURE_N_FIELDS; i++)
        snprintf(row->field[i], sizeof(row->field[i]), "%s", column[of_field[i]]);
}

/* disagree.csv: file,frame,field,... */
static void mark_disputed(struct captures *c, char *column[])
{
    unsigned frame = (unsigned)strtoul(column[1], NULL, 10);
    for (size_t i = 0; i < c->n_rows; i++) {
        struct capture_row *row = &c->rows[i];
        if (row->frame != frame || strcmp(row->file, column[0]) != 0)
            continue;
        if (strcmp(column[2], "outer") == 0)
            row->disputed[CAPTURE_OUTER] = true;
        else if (strcmp(column[2], "inner") == 0)
            row->disputed[CAPTURE_INNER] = true;
    }
}

bool captures_load(struct captures *c, const char *folder)
{
    char line[LINE], *column[16];
    memset(c, 0, sizeof(*c));
    FILE *expected = open_list(folder, "expected.csv"), *disputed = open_list(folder, "disagree.csv");
    if (!expected || !disputed) {
        if (expected)
            fclose(expected);
        if (disputed)
            fclose(disputed);
        return false;
    }
    bool header = true;
    for (; fgets(line, sizeof(line), expected); header = false) {
        if (header || split(line, column, 16) < 13)
            continue;
        struct capture_row *rows = realloc(c->rows, (c->n_rows + 1) * sizeof(*rows));
        if (!rows)
            break;
        c->rows = rows;
        fill_row(&c->rows[c->n_rows++], column);
    }
    while (fgets(line, sizeof(line), disputed))
        if (split(line, column, 16) >= 3)
            mark_disputed(c, column);
    fclose(expected);
    fclose(disputed);
    return c->n_rows > 0;
}

void captures_free(struct captures *c)
{
    free(c->rows);
    memset(c, 0, sizeof(*c));
}

/* The flags of packets of this link type; false if flowq does not know the type. */
static bool flags_of_link(int datalink, uint32_t *flags)
{
    *flags = datalink == DLT_EN10MB ? 0 : FLOWQ_PKT_L3;
    return datalink == DLT_EN10MB || datalink == DLT_RAW || datalink == DLT_IPV4 || datalink == DLT_IPV6;
}

/* The rows of one file lie together, in the order of its packets, from row `at` on; returns how many there are, 0 on error. */
static size_t each_of_file(struct captures *c, size_t at, const char *folder, void (*fn)(void *, const struct capture_packet *),
                           void *ctx)
{
    char path[PATH_LENGTH], error[PCAP_ERRBUF_SIZE];
    snprintf(path, sizeof(path), "%s/%s", folder, c->rows[at].file);
    size_t n = 0;
    while (at + n < c->n_rows && strcmp(c->rows[at + n].file, c->rows[at].file) == 0)
        n++;
    pcap_t *pcap = pcap_open_offline(path, error);
    if (!pcap) {
        fprintf(stderr, "%s: %s\n", path, error);
        return 0;
    }
    struct capture_packet packet;
    bool known = flags_of_link(pcap_datalink(pcap), &packet.flags);
    for (size_t i = 0; i < n; i++) {
        struct pcap_pkthdr *header;
        if (pcap_next_ex(pcap, &header, &packet.data) != 1) {
            fprintf(stderr, "%s: packet %zu: %s\n", path, i + 1, pcap_geterr(pcap));
            n = 0;
        } else if (known) {
            packet.row = &c->rows[at + i];
            packet.len = header->caplen;
            c->n_packets++;
            fn(ctx, &packet);
        } else {
            c->n_skipped++;
        }
    }
    pcap_close(pcap);
    return n;
}

bool captures_each(struct captures *c, const char *folder, void (*fn)(void *ctx, const struct capture_packet *packet), void *ctx)
{
    c->n_packets = c->n_skipped = 0;
    for (size_t at = 0, n; at < c->n_rows; at += n) {
        n = each_of_file(c, at, folder, fn, ctx);
        if (n == 0)
            return false;
    }
    return true;
}
