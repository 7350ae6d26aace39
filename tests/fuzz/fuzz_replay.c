/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any file as a capture that flowq-replay is given: pcapng is read as a second, naive reader reads it; of a packet no more is
 * looked at than there is; and the program, with each of its reports, ends as it should, says what is wrong in lines that a
 * terminal can take, and says the same again. Entry point of libFuzzer, see tests/fuzz/run; with tests/fuzz/replay.c a program
 * of its own that replays the seeds.
 *
 * An input is the file. Without HAVE_PCAP only what needs no libpcap is tried: pcapng, link layers, the program's parser.
 */
#ifdef HAVE_PCAP
/* The program is called as a function. */
#define main replay_main
int main(int argc, char **argv);
#include "../../examples/replay.c"
#undef main
#else
#include "../../examples/replay.h"
#endif

#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"

/* ---- A naive reader of pcapng (draft-ietf-opsawg-pcapng) ------------------------------------------------------------------- */

enum { NAIVE_INTERFACES = 4096 }; /* of one section: more are refused */
enum { NAIVE_BLOCK = 16 << 20 };  /* bytes: longer ones are refused */
enum { NS_DIGITS = 9, DIGITS_OF_64 = 20 };

struct naive_interface {
    int link;
    uint32_t snaplen;
    uint8_t resolution;
    uint64_t offset_s;
};

struct naive {
    const uint8_t *at; /* the rest of the file */
    size_t left;
    bool big, in_section, wrong;
    struct naive_interface interfaces[NAIVE_INTERFACES];
    size_t n;
};

static uint64_t naive_number(const struct naive *s, const uint8_t *at, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | at[s->big ? i : bytes - 1 - i];
    return v;
}

static uint64_t naive_time(const struct naive_interface *i, uint64_t stamp)
{
    uint64_t ns = stamp, n = i->resolution & 0x7f;
    if (i->resolution & 0x80) {
        ns = (uint64_t)((unsigned __int128)stamp * 1000000000u >> n);
    } else {
        for (; n < NS_DIGITS; n++)
            ns *= 10;
        for (; n > NS_DIGITS && n < NS_DIGITS + DIGITS_OF_64; n--)
            ns /= 10;
        ns = n > NS_DIGITS ? 0 : ns;
    }
    return ns + i->offset_s * 1000000000u;
}

static void naive_options(const struct naive *s, const uint8_t *at, size_t left, struct naive_interface *i)
{
    while (left >= 4) {
        size_t code = naive_number(s, at, 2), n = naive_number(s, at + 2, 2), whole = (n + 3) / 4 * 4;
        if (code == 0 || n > left - 4)
            return;
        if (code == 9 && n == 1)
            i->resolution = at[4];
        if (code == 14 && n == 8)
            i->offset_s = naive_number(s, at + 4, 8);
        left = whole + 4 < left ? left - 4 - whole : 0;
        at += 4 + whole;
    }
}

static void naive_interface(struct naive *s, const uint8_t *body, size_t n)
{
    s->wrong = n < 8 || s->n == NAIVE_INTERFACES;
    if (s->wrong)
        return;
    struct naive_interface *i = &s->interfaces[s->n++];
    *i = (struct naive_interface){
        .link = (int)naive_number(s, body, 2), .snaplen = (uint32_t)naive_number(s, body + 4, 4), .resolution = 6};
    naive_options(s, body + 8, n - 8, i);
}

static bool naive_packet(struct naive *s, uint32_t type, const uint8_t *body, size_t n, struct raw_packet *out)
{
    size_t header = type == 3 ? 4 : 20;
    s->wrong = n < header;
    if (s->wrong)
        return false;
    size_t room = n - header, interface = type == 6 ? naive_number(s, body, 4) : type == 2 ? naive_number(s, body, 2) : 0;
    size_t len = naive_number(s, type == 3 ? body : body + 12, 4);
    s->wrong = interface >= s->n || (type != 3 && len > room);
    if (s->wrong)
        return false;
    const struct naive_interface *i = &s->interfaces[interface];
    uint64_t stamp = type == 3 ? 0 : naive_number(s, body + 4, 4) << 32 | naive_number(s, body + 8, 4);
    if (type == 3) { /* as much as was to be kept, which the block does not say */
        len = len < room ? len : room;
        len = i->snaplen != 0 && i->snaplen < len ? i->snaplen : len;
    }
    *out = (struct raw_packet){.link = i->link, .time_ns = naive_time(i, stamp), .data = body + header, .len = (uint32_t)len};
    return true;
}

/* The next block's length; 0: none. */
static size_t naive_block(struct naive *s)
{
    static const uint8_t section[4] = {0x0a, 0x0d, 0x0d, 0x0a}, little[4] = {0x4d, 0x3c, 0x2b, 0x1a},
                         big[4] = {0x1a, 0x2b, 0x3c, 0x4d};
    bool opens = s->left >= 12 && memcmp(s->at, section, 4) == 0;
    s->wrong = s->left > 0 && s->left < 12;
    if (s->left < 12)
        return 0;
    s->wrong = opens ? memcmp(s->at + 8, little, 4) != 0 && memcmp(s->at + 8, big, 4) != 0 : !s->in_section;
    if (s->wrong)
        return 0;
    s->big = opens ? memcmp(s->at + 8, big, 4) == 0 : s->big;
    s->n = opens ? 0 : s->n;
    s->in_section = true;
    size_t n = naive_number(s, s->at + 4, 4);
    s->wrong = n < (opens ? 16 : 12) || n % 4 != 0 || n > NAIVE_BLOCK || n > s->left;
    return s->wrong ? 0 : n;
}

static bool naive_next(struct naive *s, struct raw_packet *out)
{
    for (size_t n; !s->wrong && (n = naive_block(s)) > 0;) {
        const uint8_t *body = s->at + 8;
        uint32_t type = (uint32_t)naive_number(s, s->at, 4);
        s->at += n;
        s->left -= n;
        if (type == 1)
            naive_interface(s, body, n - 12);
        else if ((type == 2 || type == 3 || type == 6) && (naive_packet(s, type, body, n - 12, out) || s->wrong))
            return !s->wrong;
    }
    return false;
}

/* ---- Packets --------------------------------------------------------------------------------------------------------------- */

static void view_good(const struct view *v)
{
    static const uint8_t zeros[12];
    must(v->kind <= VIEW_QUOTE && v->n_first <= 2, "a view of no kind");
    must(v->outer.version == 0 || v->outer.version == 4 || v->outer.version == 6, "an outermost header of no version");
    if (v->kind == VIEW_FLOW || v->kind == VIEW_QUOTE) {
        must(v->flow.version == 4 || v->flow.version == 6, "a flow of no version");
        must(v->flow.version == 6 || memcmp(v->flow.src + 4, zeros, 12) == 0, "an IPv4 address that is too long");
    }
    must(v->kind != VIEW_LATER || v->later.version == 4 || v->later.version == 6, "a fragment of no version");
    for (uint32_t i = 0; i < v->n_first; i++)
        must(v->first[i].version == 4 || v->first[i].version == 6, "a first fragment of no version");
}

/* Whatever lies behind its bytes, a packet is seen alike. */
static void look(const struct packet *packet)
{
    struct view view[2];
    must(packet->len <= PACKET_BYTES && (packet->flags & ~(uint32_t)FLOWQ_PKT_L3) == 0, "a packet that is none");
    for (int i = 0; i < 2; i++) {
        struct packet p = *packet;
        memset(p.data + p.len, i == 0 ? 0 : 0xff, PACKET_BYTES - p.len);
        view_packet(&p, &view[i]);
    }
    must(memcmp(&view[0], &view[1], sizeof(view[0])) == 0, "more is looked at than the packet has");
    view_good(&view[0]);
}

/* In memory of its own, so that a read beyond it is seen. */
static void convert(const struct raw_packet *raw)
{
    struct packet packet = {.number = 1};
    uint8_t *data = malloc(raw->len > 0 ? raw->len : 1);
    must(data != NULL, "no memory");
    memcpy(data, raw->data, raw->len);
    link_convert(raw->link, data, raw->len, &packet);
    free(data);
    look(&packet);
}

static void read_pcapng(const uint8_t *data, size_t size)
{
    static struct naive naive;
    struct raw_packet a = {.len = 0}, b = {.len = 0};
    FILE *file = size == 0 ? NULL : fmemopen((void *)(uintptr_t)data, size, "rb");
    struct pcapng *p = file == NULL ? NULL : pcapng_open(file);
    if (p == NULL)
        return;
    naive.at = data;
    naive.left = size;
    naive.in_section = naive.wrong = false;
    naive.n = 0;
    bool more;
    do {
        more = naive_next(&naive, &a);
        must(pcapng_next(p, &b) == more, more ? "a packet is missing" : "a packet too much");
        if (!more)
            break;
        must(a.link == b.link && a.time_ns == b.time_ns && a.len == b.len, "another packet");
        must(memcmp(a.data, b.data, a.len) == 0, "a packet of other bytes");
        convert(&b);
    } while (more);
    must((pcapng_error(p) != NULL) == naive.wrong, naive.wrong ? "what is wrong is not told" : "nothing is wrong");
    pcapng_close(p);
}

/* ---- The program ----------------------------------------------------------------------------------------------------------- */

#ifdef HAVE_PCAP

/* What it writes. */
struct text {
    char *at;
    size_t n;
};

static void is_plain(const struct text *t)
{
    for (size_t i = 0; i < t->n; i++) {
        bool ends = t->at[i] == '\n' || (t->at[i] == '\r' && t->at[i + 1] == '\n'); /* in tables (RFC 4180) */
        must(ends || (t->at[i] >= ' ' && t->at[i] <= '~'), "what no terminal should be sent");
    }
}

static void is_complaint(const struct text *t)
{
    static const char begin[] = PROGRAM ": ";
    for (char *line = t->at, *end; *line != 0; line = end + 1) {
        end = strchr(line, '\n');
        must(end != NULL && strncmp(line, begin, sizeof(begin) - 1) == 0, "not a line of complaint");
    }
}

/* Runs it with its output caught; *out is the caller's to free. */
static int call(char **argv, struct text *out)
{
    struct text err = {.at = NULL};
    FILE *terminal[2] = {stdout, stderr};
    struct sigaction interrupt;
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    sigaction(SIGINT, NULL, &interrupt);
    optind = 0; /* getopt_long shall begin anew */
    stdout = open_memstream(&out->at, &out->n);
    stderr = open_memstream(&err.at, &err.n);
    int status = replay_main(argc, argv);
    fclose(stdout);
    fclose(stderr);
    stdout = terminal[0];
    stderr = terminal[1];
    sigaction(SIGINT, &interrupt, NULL); /* the program took it for itself: a fuzzer ends by it */
    if (input_stopped())
        raise(SIGINT);
    must(status == EXIT_SUCCESS || status == EXIT_PARTIAL, "a status that --help does not know");
    must((status == EXIT_SUCCESS) == (err.n == 0), "a complaint and its status do not go together");
    is_plain(out);
    is_plain(&err);
    is_complaint(&err);
    free(err.at);
    return status;
}

/* On few flows, in a guest that moves often. */
static int run_with(const char *path, const char *option, const char *value, struct text *out)
{
    const char *argv[] = {PROGRAM, "--max-flows", "64", "--max-named", "64", "--move-every", "2", path, option, value, NULL};
    return call((char **)(uintptr_t)argv, out);
}

static const char *const forms[][2] = {
    {"--flows", NULL},
    {"--csv", NULL},
    {"--explain", "1"},
    {"--explain", "3"},
    {"--scenario", "1"},
    {"--vm", "10.0.0.0/8"},
    {"--vm-mac", "02:00:00:00:00:01"},
    {"--filter", "ip or ip6"},
#ifdef HAVE_JANSSON
    {"--json", NULL},
#endif
};
enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

static void run_twice(const char *path, const char *const form[2])
{
    struct text out[2];
    int status[2];
    for (int i = 0; i < 2; i++)
        status[i] = run_with(path, form[0], form[1], &out[i]);
    must(status[0] == status[1] && out[0].n == out[1].n && memcmp(out[0].at, out[1].at, out[0].n) == 0,
         "a second run reports something else");
    free(out[0].at);
    free(out[1].at);
}

static void run_program(const uint8_t *data, size_t size)
{
    char path[32];
    int fd = memfd_create("capture", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no file for the input");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
#ifdef SEEDS
    for (size_t i = 0; i < FORMS; i++)
        run_twice(path, forms[i]);
#else /* for a fuzzer one will do, which time is dear to */
    run_twice(path, forms[size % FORMS]);
#endif
    close(fd);
}

#else

static void run_program(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
}

#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_pcapng(data, size);
    run_program(data, size);
    return 0;
}
