/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vswitch: commands from standard input, a line each, done in order (--commands; its --help has the list). What is wrong with one
 * is told in a line, and the switch goes on. Whoever wants to know that a command is done has a report printed behind it.
 */
#include "vswitch.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 512 }; /* a port's name is much shorter */

/* What has come of a line that has not ended. */
static struct {
    char text[LINE_BYTES];
    size_t length;
    bool too_long; /* its end is awaited, for nothing */
} line;

static struct port *port_named(const char *name)
{
    for (uint32_t i = 0; i < the_switch.n_ports; i++)
        if (strcmp(the_switch.ports[i].name, name) == 0)
            return &the_switch.ports[i];
    return NULL;
}

/* A port's name may have blanks, the way has none. */
static void steer_command(char *port_and_way)
{
    char *blank = strrchr(port_and_way, ' ');

    if (blank == NULL) {
        complain("command", "steer", "it takes a port and a way");
        return;
    }
    *blank = '\0';
    struct port *port = port_named(port_and_way);
    uint32_t way = way_named(blank + 1);
    if (port == NULL)
        complain("command steer:", port_and_way, "there is no such port");
    else if (way == N_WAYS)
        complain("command steer:", blank + 1, "it is auto, hash, hash,crc or queue0");
    else
        port_steer(port, way); /* has told what is wrong */
}

static void do_line(char *text, void (*report)(FILE *))
{
    if (strcmp(text, "report") == 0)
        report(stdout);
    else if (strcmp(text, "steer") == 0 || strncmp(text, "steer ", 6) == 0)
        steer_command(text + (text[5] == ' ' ? 6 : 5));
    else if (text[0] != '\0')
        complain("command", text, "there is none of this name");
}

static void end_line(void (*report)(FILE *))
{
    line.text[line.length] = '\0';
    if (line.too_long)
        complain("a", "command", "the line is too long");
    else
        do_line(line.text, report);
    line.length = 0;
    line.too_long = false;
}

bool commands_read(void (*report)(FILE *))
{
    char bytes[LINE_BYTES];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n')
            end_line(report);
        else if (line.length < sizeof(line.text) - 1)
            line.text[line.length++] = bytes[i];
        else
            line.too_long = true;
    }
    if (n == 0)
        end_line(report); /* the last one may lack its end */
    return n > 0;
}
