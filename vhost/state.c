/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flowq-vhost: flows that outlive the process, where FLOWQ_VHOST names a folder for them ("state="). A file for each socket, with
 * its path for a name.
 *
 *   loaded   into a port that is made, before anybody else sees it (port.c). Not into one that is used again for another path: a
 *            call that was overtaken may still look at it
 *   saved    when a connection ends, or a path is unregistered (port.c); when telemetry is asked to (/flowq/save); and every so
 *            often, if that is set ("save_every="), by a thread that does nothing else
 *
 * A file is written beside the one there is and takes its place when it is complete, so a program that is killed leaves the last
 * complete one. It is not flushed to the disk: when the machine goes, so do its guests.
 *
 * P-F  `save_lock` is held while a file is written; ports_lock is taken within it, for moments, and never the other way round.
 *      The data path takes neither.
 */
#include "port.h"
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <rte_log.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENDING     ".flowq"
#define UNFINISHED ".new"

enum { NAME_SIZE = NAME_MAX + 1, ESCAPED = 3 /* bytes */, OTHERS = 077 /* what a file may not allow to any of them */ };

static pthread_mutex_t save_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- Names ---- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* A path of another socket has another name. False: it is too long. */
static bool name_of(const char *path, char name[NAME_SIZE])
{
    size_t at = 0;

    for (; *path != '\0'; path++) {
        if (at + ESCAPED + sizeof(ENDING) + sizeof(UNFINISHED) > NAME_SIZE)
            return false;
        if (is_plain(*path) || (*path == '.' && at > 0))
            name[at++] = *path;
        else
            at += (size_t)snprintf(name + at, ESCAPED + 1, "%%%02X", (unsigned char)*path);
    }
    memcpy(name + at, ENDING, sizeof(ENDING));
    return true;
}

/* -1: there is none, and errno. */
static int open_folder(void)
{
    const struct settings *s = settings();
    char folder[PATH_MAX];

    if (s->state_length >= sizeof(folder)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(folder, s->state, s->state_length);
    folder[s->state_length] = '\0';
    return open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* ---- Loading ---- */

/* It has the secret of the flows' hashes, and says where packets go: nobody else may have written it, or can have read it. */
static bool is_ours(int fd)
{
    struct stat file;

    return fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_uid == geteuid() && (file.st_mode & OTHERS) == 0;
}

static void load(struct flowq_vm *vm, const char *path, int fd)
{
    struct flowq_loaded loaded = {.size = sizeof(loaded)};

    if (!is_ours(fd)) {
        say(RTE_LOG_WARNING, "%s: its saved flows are left alone: the file is not this user's, or others may use it", path);
        return;
    }
    int error = flowq_vm_load_fd(vm, FLOWQ_STATE_FLOWS, fd, &loaded);
    if (error != 0)
        say(RTE_LOG_WARNING, "%s: its saved flows cannot be loaded: %s", path, strerror(-error));
    else
        say(RTE_LOG_INFO, "%s: %" PRIu64 " flows as before", path, loaded.bindings);
}

void state_load(struct flowq_vm *vm, const char *path)
{
    char name[NAME_SIZE];

    if (settings()->state == NULL || !name_of(path, name))
        return;
    int folder = open_folder();
    if (folder < 0) {
        say(RTE_LOG_WARNING, "%s: no saved flows: %s", path, strerror(errno));
        return;
    }
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int error = errno;
    close(folder);
    if (fd >= 0) {
        load(vm, path, fd);
        close(fd);
    } else if (error != ENOENT) {
        say(RTE_LOG_WARNING, "%s: no saved flows: %s", path, strerror(error));
    }
}

/* ---- Saving ---- */

/* 0, or a negative error number. */
static int write_file(int folder, const char *name, struct flowq_vm *vm)
{
    (void)unlinkat(folder, name, 0); /* of a process that was killed */
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int error = flowq_vm_save_fd(vm, FLOWQ_STATE_FLOWS, FLOWQ_STATE_UNLIMITED, fd);
    if (close(fd) != 0 && error == 0)
        error = -errno;
    return error;
}

static bool still_serves(struct port *port, const char *path)
{
    pthread_mutex_lock(&ports_lock);
    bool same = strcmp(port->path, path) == 0;
    pthread_mutex_unlock(&ports_lock);
    return same;
}

/* A port that serves another path by now was saved when it left this one. */
static int replace_file(int folder, struct port *port, const char *path)
{
    char name[NAME_SIZE], unfinished[NAME_SIZE];

    if (!name_of(path, name))
        return -ENAMETOOLONG;
    snprintf(unfinished, sizeof(unfinished), "%.*s%s", (int)(sizeof(unfinished) - sizeof(UNFINISHED)), name, UNFINISHED);
    int error = write_file(folder, unfinished, port->vm);
    bool wanted = error == 0 && still_serves(port, path);
    if (wanted && renameat(folder, unfinished, folder, name) == 0)
        return 0;
    if (wanted)
        error = -errno;
    (void)unlinkat(folder, unfinished, 0);
    return error;
}

static int save_locked(struct port *port)
{
    char path[PATH_MAX];

    pthread_mutex_lock(&ports_lock);
    snprintf(path, sizeof(path), "%s", port->path);
    pthread_mutex_unlock(&ports_lock);
    int folder = open_folder();
    int error = folder < 0 ? -errno : replace_file(folder, port, path);
    if (folder >= 0)
        close(folder);
    if (error != 0 && error != port->save_told)
        say(RTE_LOG_WARNING, "%s: its flows are not saved: %s", path, strerror(-error));
    port->save_told = error;
    return error;
}

bool state_save(struct port *port)
{
    if (settings()->state == NULL)
        return false;
    pthread_mutex_lock(&save_lock);
    int error = save_locked(port);
    pthread_mutex_unlock(&save_lock);
    return error == 0;
}

bool state_save_all(uint32_t *saved, uint32_t *failed)
{
    *saved = *failed = 0;
    if (settings()->state == NULL)
        return false;
    pthread_mutex_lock(&ports_lock);
    struct port *port = port_first_locked();
    pthread_mutex_unlock(&ports_lock);
    for (; port != NULL; port = port->next) { /* which is written before the port is in the list, and never again */
        pthread_mutex_lock(&ports_lock);
        bool registered = port->app != NULL;
        pthread_mutex_unlock(&ports_lock);
        if (registered && state_save(port))
            ++*saved;
        else
            *failed += registered;
    }
    return true;
}

/* ---- Now and then ---- */

static void *save_again_and_again(void *unused)
{
    const struct timespec pause = {.tv_sec = settings()->save_every};
    uint32_t saved, failed;

    (void)unused;
    for (;;) {
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        (void)state_save_all(&saved, &failed);
    }
    return NULL;
}

/* The program's signals are for its own threads. */
static void start(void)
{
    sigset_t all, before;
    pthread_t thread;

    if (settings()->state == NULL || settings()->save_every == 0)
        return;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, save_again_and_again, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        (void)pthread_detach(thread);
    else
        say(RTE_LOG_WARNING, "flows are not saved now and then: %s", strerror(error));
}

void state_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, start);
}
