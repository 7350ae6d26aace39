/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vswitch: ports that keep their flows over a restart.
 *
 * A file a port, named like it; only its owner may read it, as it has the secret of the port's vm. It is written beside the one
 * there is and takes its place when it is complete, so whoever is killed leaves the last complete one.
 */
#include "vswitch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* A socket's path becomes one name. */
static int path_of(const struct port *port, const char *folder, const char *ending, char path[PATH_BYTES])
{
    int start = snprintf(path, PATH_BYTES, "%s/", folder);
    int n =
        start < 0 || start >= PATH_BYTES ? -1 : snprintf(path + start, (size_t)(PATH_BYTES - start), "%s%s", port->name, ending);

    if (n < 0 || n >= PATH_BYTES - start)
        return complain("state of", port->name, "the path is too long");
    for (char *c = path + start; *c != '\0'; c++)
        if (*c == '/')
            *c = '_';
    return 0;
}

static void load_port(struct port *port, const char *folder)
{
    struct flowq_loaded loaded = {.size = sizeof(loaded)};
    char path[PATH_BYTES];

    if (path_of(port, folder, ".flowq", path) != 0)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT)
            complain("state", path, strerror(errno));
        return;
    }
    int error = flowq_vm_load_fd(port->vm, FLOWQ_STATE_FLOWS, fd, &loaded);
    close(fd);
    if (error != 0) {
        complain("state", path, strerror(-error));
        return;
    }
    port->loaded = true;
    fprintf(stderr, PROGRAM ": %s: %llu flows as before\n", port->name, (unsigned long long)loaded.bindings);
}

static int write_port(const struct port *port, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -errno;
    int error = flowq_vm_save_fd(port->vm, FLOWQ_STATE_FLOWS, FLOWQ_STATE_UNLIMITED, fd);
    if (error == 0 && fsync(fd) != 0)
        error = -errno;
    if (close(fd) != 0 && error == 0)
        error = -errno;
    return error;
}

static void save_port(const struct port *port, const char *folder)
{
    char path[PATH_BYTES], made[PATH_BYTES];

    if (path_of(port, folder, ".flowq", path) != 0 || path_of(port, folder, ".new", made) != 0)
        return;
    int error = write_port(port, made);
    if (error == 0 && rename(made, path) != 0)
        error = -errno;
    if (error == 0)
        return;
    complain("state", path, strerror(-error));
    unlink(made);
}

void state_load(const char *folder)
{
    for (uint32_t i = 0; i < the_switch.n_ports; i++)
        load_port(&the_switch.ports[i], folder);
}

void state_save(const char *folder)
{
    for (uint32_t i = 0; i < the_switch.n_ports; i++)
        save_port(&the_switch.ports[i], folder);
}
