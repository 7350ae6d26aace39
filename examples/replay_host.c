/*
 * Which host is the VM in flowq-replay, and so which way a packet goes: as the user says, or the address of each family that
 * takes part in most two-way flows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "replay.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_AHEAD 65536 /* packets; some 16 MiB at most */

/* ---- What the user says ---- */

bool host_parse_net(const char *text, struct net *net)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t length = slash == NULL ? strlen(text) : (size_t)(slash - text);
    char *end = NULL;

    if (length >= sizeof(address))
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    *net = (struct net){0};
    if (inet_pton(AF_INET, address, net->address) == 1)
        net->version = 4;
    else if (inet_pton(AF_INET6, address, net->address) == 1)
        net->version = 6;
    else
        return false;
    unsigned long most = net->version == 4 ? 32 : 128;
    unsigned long bits = slash == NULL ? most : strtoul(slash + 1, &end, 10);
    if (slash != NULL && (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > most))
        return false;
    net->bits = (uint8_t)bits;
    return true;
}

bool host_parse_mac(const char *text, uint8_t mac[6])
{
    unsigned byte[6];
    int length = 0;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5], &length) != 6 ||
        text[length] != '\0')
        return false;
    for (size_t i = 0; i < 6; i++)
        mac[i] = (uint8_t)byte[i];
    return true;
}

void host_describe(const struct options *options, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    if (options->has_mac) {
        const uint8_t *m = options->mac;
        snprintf(out, size, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
        return;
    }
    for (size_t i = 0; i < options->n_vm && used < size; i++) {
        const struct net *net = &options->vm[i];
        char address[INET6_ADDRSTRLEN], bits[8] = "";
        inet_ntop(net->version == 4 ? AF_INET : AF_INET6, net->address, address, sizeof(address));
        if (net->bits != (net->version == 4 ? 32 : 128))
            snprintf(bits, sizeof(bits), "/%u", (unsigned)net->bits);
        used += (size_t)snprintf(out + used, size - used, "%s%s%s", i == 0 ? "" : ", ", address, bits);
    }
}

/* ---- Which way a packet goes ---- */

static bool in_net(const struct net *net, const uint8_t *address)
{
    size_t bytes = net->bits / 8, rest = net->bits % 8;

    if (memcmp(net->address, address, bytes) != 0)
        return false;
    return rest == 0 || (net->address[bytes] ^ address[bytes]) >> (8 - rest) == 0;
}

static bool is_vm(const struct options *options, uint8_t version, const uint8_t *address)
{
    for (size_t i = 0; i < options->n_vm; i++)
        if (options->vm[i].version == version && in_net(&options->vm[i], address))
            return true;
    return false;
}

static enum direction by_address(const struct options *options, const struct tuple *tuple)
{
    bool from = is_vm(options, tuple->version, tuple->src), to = is_vm(options, tuple->version, tuple->dst);

    if (from == to) /* a stranger's; or it stays within the side that plays the VM, and so passes no NIC of it */
        return DIRECTION_OTHER;
    return from ? DIRECTION_SENT : DIRECTION_RECEIVED;
}

enum direction host_direction(const struct options *options, const struct view *view)
{
    enum direction direction = DIRECTION_OTHER;

    if (options->has_mac) {
        if (!view->ethernet)
            return DIRECTION_OTHER;
        if (memcmp(view->mac_src, options->mac, 6) == 0)
            return DIRECTION_SENT;
        bool to = memcmp(view->mac_dst, options->mac, 6) == 0 || (view->mac_dst[0] & 1) != 0;
        return to ? DIRECTION_RECEIVED : DIRECTION_OTHER;
    }
    if (view->outer.version != 0)
        direction = by_address(options, &view->outer);
    if (direction == DIRECTION_OTHER && view->kind == VIEW_FLOW) /* captured under a tunnel that ends in the VM's network */
        direction = by_address(options, &view->flow);
    if (direction == DIRECTION_OTHER && view->multicast && view->outer.version != 0)
        direction = DIRECTION_RECEIVED; /* a stranger's, but for everybody */
    return direction;
}

/* ---- Choosing the VM ---- */

struct candidate {
    uint64_t two_way, sent;
};

/* The census of what lies ahead. Flows are counted under the name of one of their two directions. */
struct census {
    struct dict flows; /* key: a tuple */
    uint8_t *seen;     /* of each flow, 1: as named, 2: reversed */
    uint32_t room;
    struct dict addresses; /* key: a tuple with only src and version */
    struct candidate *candidates;
    uint32_t n_candidates;
    uint64_t n_two_way;
};

static bool make_room(void **array, uint32_t *room, uint32_t needed, size_t item)
{
    if (needed <= *room)
        return true;
    uint32_t more = *room == 0 ? 1024 : *room * 2;
    void *bigger = realloc(*array, (size_t)more * item);
    if (bigger == NULL)
        return false;
    memset((uint8_t *)bigger + (size_t)*room * item, 0, (size_t)(more - *room) * item);
    *array = bigger;
    *room = more;
    return true;
}

static struct candidate *candidate(struct census *census, const uint8_t *address, uint8_t version)
{
    struct tuple key = {.version = version};

    memcpy(key.src, address, sizeof(key.src));
    uint32_t i = dict_add(&census->addresses, &key);
    void *array = census->candidates;
    if (i == NONE || !make_room(&array, &census->n_candidates, i + 1, sizeof(struct candidate)))
        return NULL;
    census->candidates = array;
    return &census->candidates[i];
}

static bool count(struct census *census, const struct tuple *tuple)
{
    struct tuple reversed = tuple_reverse(tuple);
    bool turned = memcmp(tuple, &reversed, sizeof(reversed)) > 0;
    uint32_t i = dict_add(&census->flows, turned ? &reversed : tuple);
    void *seen = census->seen;

    if (i == NONE || !make_room(&seen, &census->room, i + 1, 1))
        return false;
    census->seen = seen;
    struct candidate *from = candidate(census, tuple->src, tuple->version);
    if (from == NULL)
        return false;
    from->sent++;
    uint8_t before = census->seen[i];
    census->seen[i] |= turned ? 2 : 1;
    if (before == census->seen[i] || census->seen[i] != 3)
        return true;
    census->n_two_way++;
    from->two_way++;
    struct candidate *to = candidate(census, tuple->dst, tuple->version);
    if (to == NULL)
        return false;
    to->two_way++;
    return true;
}

/* The best address of a family; the first seen of several equal ones. */
static uint32_t best(const struct census *census, uint8_t version)
{
    uint32_t found = NONE;

    for (uint32_t i = 0; i < census->addresses.n; i++) {
        const struct candidate *c = &census->candidates[i];
        struct tuple key;
        memcpy(&key, census->addresses.keys[i], sizeof(key));
        if (key.version != version)
            continue;
        if (found == NONE || c->two_way > census->candidates[found].two_way ||
            (c->two_way == 0 && census->candidates[found].two_way == 0 && c->sent > census->candidates[found].sent))
            found = i;
    }
    return found;
}

static void choose(struct options *options, const struct census *census, uint32_t i)
{
    struct net *net = &options->vm[options->n_vm++];
    struct tuple key;

    memcpy(&key, census->addresses.keys[i], sizeof(key));
    memcpy(net->address, key.src, sizeof(net->address));
    net->version = key.version;
    net->bits = key.version == 4 ? 32 : 128;
}

static void decide(struct options *options, const struct census *census, char *how, size_t size)
{
    uint32_t v4 = best(census, 4), v6 = best(census, 6);
    uint64_t flows4 = v4 == NONE ? 0 : census->candidates[v4].two_way, flows6 = v6 == NONE ? 0 : census->candidates[v6].two_way;

    if (flows4 > 0)
        choose(options, census, v4);
    if (flows6 > 0)
        choose(options, census, v6);
    if (flows4 > 0 && flows6 > 0)
        snprintf(how, size, "chosen: of each family the address in most two-way flows, %llu of %llu",
                 (unsigned long long)(flows4 + flows6), (unsigned long long)census->n_two_way);
    else if (flows4 + flows6 > 0)
        snprintf(how, size, "chosen: the address in most two-way flows, %llu of %llu", (unsigned long long)(flows4 + flows6),
                 (unsigned long long)census->n_two_way);
    if (flows4 + flows6 > 0 || (v4 == NONE && v6 == NONE))
        return;
    if (v4 == NONE || (v6 != NONE && census->candidates[v6].sent > census->candidates[v4].sent))
        v4 = v6;
    choose(options, census, v4);
    snprintf(how, size, "chosen: no flow goes both ways; it sends the most packets, %llu",
             (unsigned long long)census->candidates[v4].sent);
}

bool host_choose(struct options *options, struct input *input, char *how, size_t size)
{
    struct census census = {0};
    struct packet packet;
    struct view view;
    size_t cursor = 0;
    bool ok = true;

    how[0] = '\0';
    input_look_ahead(input, LOOK_AHEAD);
    while (ok && input_peek(input, &cursor, &packet)) {
        view_packet(&packet, &view);
        if (view.outer.version != 0 && !view.multicast && !view.fragment)
            ok = count(&census, &view.outer);
    }
    if (ok)
        decide(options, &census, how, size);
    dict_free(&census.flows);
    dict_free(&census.addresses);
    free(census.seen);
    free(census.candidates);
    return ok;
}
