/*
 * The bytes of a capture: a file or standard input, unpacked if it is gzip's and zlib is there. The first bytes can be looked at
 * before they are read, and how far a file has been read is known.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

struct stream {
    int fd;
    uint8_t first[4];
    size_t n_first, first_at;
#ifdef HAVE_ZLIB
    gzFile gz;
#endif
};

static ssize_t read_some(struct stream *s, char *to, size_t n)
{
#ifdef HAVE_ZLIB
    int got = gzread(s->gz, to, n > 1u << 20 ? 1u << 20 : (unsigned)n);
    int error = Z_OK;
    (void)gzerror(s->gz, &error);
    if (got > 0 || error == Z_OK || error == Z_STREAM_END)
        return got;
    errno = error == Z_ERRNO ? errno : EIO; /* Z_BUF_ERROR: the file ends too soon */
    return -1;
#else
    return read(s->fd, to, n);
#endif
}

static ssize_t stream_read(void *cookie, char *to, size_t n)
{
    struct stream *s = cookie;
    size_t kept = s->n_first - s->first_at;

    if (kept == 0)
        return read_some(s, to, n);
    kept = kept < n ? kept : n;
    memcpy(to, s->first + s->first_at, kept);
    s->first_at += kept;
    return (ssize_t)kept;
}

static int stream_close(void *cookie)
{
    struct stream *s = cookie;

#ifdef HAVE_ZLIB
    gzclose(s->gz);
#else
    close(s->fd);
#endif
    free(s);
    return 0;
}

FILE *stream_open(const char *path, bool *pcapng, int *fd)
{
    static const uint8_t section[4] = {0x0a, 0x0d, 0x0d, 0x0a};
    struct stream *s = calloc(1, sizeof(*s));
    ssize_t got = 1;

    if (s == NULL)
        return NULL;
    s->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
#ifdef HAVE_ZLIB
    s->gz = s->fd < 0 ? NULL : gzdopen(s->fd, "rb");
    if (s->gz == NULL) {
#else
    if (s->fd < 0) {
#endif
        int error = errno == 0 ? ENOMEM : errno;
        if (s->fd >= 0)
            close(s->fd);
        free(s);
        errno = error;
        return NULL;
    }
    while (got > 0 && s->n_first < sizeof(s->first)) {
        got = read_some(s, (char *)s->first + s->n_first, sizeof(s->first) - s->n_first);
        s->n_first += got > 0 ? (size_t)got : 0;
    }
    *fd = s->fd;
    *pcapng = s->n_first == sizeof(section) && memcmp(s->first, section, sizeof(section)) == 0;
    FILE *file = got < 0 ? NULL : fopencookie(s, "rb", (cookie_io_functions_t){.read = stream_read, .close = stream_close});
    if (file == NULL) {
        int error = errno;
        stream_close(s);
        errno = error;
    }
    return file;
}
