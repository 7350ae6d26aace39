/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vswitch: ports that keep their flows over a restart.
 *
 * A file a guest's socket, named like it; only its owner may read it, as it has the secret of the port's vm, and one that others
 * may read or write is not loaded. It is written beside the one there is and takes its place when it is complete, so whoever is
 * killed leaves the last complete one. TAPs keep none: what is behind them goes with the switch.
 */
#include "vswitch.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* A socket's path becomes one name, and no two the same. */
static int path_of(const struct port *port, const char *folder, const char *ending, char path[PATH_BYTES])
{
    int n = snprintf(path, PATH_BYTES, "%s/", folder);

    for (const unsigned char *c = (const unsigned char *)port->name; *c != '\0' && n >= 0 && n < PATH_BYTES; c++) {
        bool plain = isalnum(*c) || *c == '-' || *c == '_' || (*c == '.' && c != (const unsigned char *)port->name);
        n += snprintf(path + n, (size_t)(PATH_BYTES - n), plain ? "%c" : "%%%02X", *c);
    }
    if (n >= 0 && n < PATH_BYTES)
        n += snprintf(path + n, (size_t)(PATH_BYTES - n), "%s", ending);
    return n >= 0 && n < PATH_BYTES ? 0 : complain("state of", port->name, "the path is too long");
}

/* It has the secret of the flows' hashes, and says where packets go: nobody else may have written it, or can have read it. */
static bool is_ours(int fd)
{
    struct stat file;

    return fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_uid == geteuid() &&
           (file.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

static void load_port(struct port *port, const char *folder)
{
    struct flowq_loaded loaded = {.size = sizeof(loaded)};
    char path[PATH_BYTES];

    if (path_of(port, folder, ".flowq", path) != 0)
        return;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT)
            complain("state", path, strerror(errno));
        return;
    }
    int error = is_ours(fd) ? flowq_vm_load_fd(port->vm, FLOWQ_STATE_FLOWS, fd, &loaded) : -EPERM;
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
    (void)unlink(path); /* of a switch that was killed */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
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

/* Better told now than when it is too late. */
static int check_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return complain("state", folder, strerror(errno));
    close(fd);
    return access(folder, W_OK | X_OK) == 0 ? 0 : complain("state", folder, strerror(errno));
}

int state_load(const char *folder)
{
    if (check_folder(folder) != 0)
        return -1;
    for (uint32_t i = 0; i < the_switch.n_ports; i++)
        if (the_switch.ports[i].registered)
            load_port(&the_switch.ports[i], folder);
    return 0;
}

void state_save(const char *folder)
{
    for (uint32_t i = 0; i < the_switch.n_ports; i++)
        if (the_switch.ports[i].registered)
            save_port(&the_switch.ports[i], folder);
}
