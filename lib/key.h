/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key: the identity of a flow, as bytes to hash.
 *
 * A key is directional and written as the flow's *incoming* packets carry it (source: the remote end, destination: the VM); the
 * key of a transmitted packet is reversed before use (rule S3). There are two layouts, told apart by their length, each
 * optionally followed by one word of VLAN ids (setting key_vlan) and one that has the network id of a tunnel (setting key_vni):
 *
 *     IPv4   word 0  source address | destination address        (network byte order, in memory order)
 *            word 1  ports, protocol, IP version                  -> 16 bytes
 *     IPv6   word 0-1 source, word 2-3 destination
 *            word 4  ports, protocol, IP version                  -> 40 bytes
 *     VLAN   one more word: up to four 12-bit ids, outermost lowest, and their number. A packet without tags has no such word,
 *            whatever the setting.
 *     VNI    one more word: up to 32 bits, and a mark that no word of VLAN ids has. A packet that came in no tunnel with a
 *            network id has no such word; id 0 is an id.
 *
 * With one of these words there are 24 or 48 bytes, with both 32 or 56.
 *
 * Ports are zero for protocols without ports. Unused bytes are always zero, so equal flows have equal bytes.
 */
#ifndef FLOWQ_LIB_KEY_H
#define FLOWQ_LIB_KEY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define KEY_V4_BYTES   16
#define KEY_V6_BYTES   40
#define KEY_VLAN_BYTES 8
#define KEY_VNI_BYTES  8
#define KEY_MAX_WORDS  7
#define KEY_MAX_BYTES  (KEY_V6_BYTES + KEY_VLAN_BYTES + KEY_VNI_BYTES)
_Static_assert(KEY_MAX_BYTES == 8 * KEY_MAX_WORDS, "all of them");
_Static_assert(KEY_V4_BYTES + KEY_VLAN_BYTES + KEY_VNI_BYTES < KEY_V6_BYTES, "the length tells the layout");
#define KEY_VLAN_ID_BITS     12
#define KEY_VLAN_COUNT_SHIFT 48
#define KEY_VNI_MARK         (UINT64_C(1) << 56) /* above the number of VLAN ids */

/* The last base word of either layout, in memory order. */
struct key_l4 {
    uint16_t sport; /* network byte order */
    uint16_t dport; /* network byte order */
    uint8_t protocol;
    uint8_t version; /* 4 or 6 */
    uint16_t zero;
};
_Static_assert(sizeof(struct key_l4) == 8, "one word");

/* The same as one number, so that what is hashed as a word is stored as a word. ports: the four bytes as they are in memory. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { KEY_PORTS_SHIFT = 0, KEY_PROTOCOL_SHIFT = 32, KEY_VERSION_SHIFT = 40 };
#else
enum { KEY_PORTS_SHIFT = 32, KEY_PROTOCOL_SHIFT = 24, KEY_VERSION_SHIFT = 16 };
#endif

static inline uint64_t key_l4_make(uint32_t ports, uint32_t protocol, uint32_t version)
{
    return (uint64_t)ports << KEY_PORTS_SHIFT | (uint64_t)protocol << KEY_PROTOCOL_SHIFT | (uint64_t)version << KEY_VERSION_SHIFT;
}

struct key {
    uint64_t word[KEY_MAX_WORDS];
    uint32_t bytes; /* 16, 24, 32, 40, 48 or 56; 0: no key */
};

static inline bool key_is_v6(const struct key *k) { return k->bytes >= KEY_V6_BYTES; }

/* Index of the word that holds struct key_l4. */
static inline unsigned key_l4_word(const struct key *k) { return key_is_v6(k) ? 4 : 1; }

static inline struct key_l4 key_l4(const struct key *k)
{
    struct key_l4 l4;
    memcpy(&l4, &k->word[key_l4_word(k)], sizeof(l4));
    return l4;
}

/* Of the word that key_l4_make() makes: source and destination port swapped. */
static inline uint64_t key_l4_reversed(uint64_t l4)
{
    uint32_t ports = (uint32_t)(l4 >> KEY_PORTS_SHIFT), swapped = ports << 16 | ports >> 16;
    return l4 ^ (uint64_t)(ports ^ swapped) << KEY_PORTS_SHIFT;
}

/* Swaps source and destination in place: addresses and ports. VLAN and network ids have no direction. */
static inline void key_reverse(struct key *k)
{
    unsigned l4 = key_l4_word(k);
    if (l4 == 1) {
        k->word[0] = k->word[0] << 32 | k->word[0] >> 32;
    } else {
        uint64_t a = k->word[0], b = k->word[1];
        k->word[0] = k->word[2];
        k->word[1] = k->word[3];
        k->word[2] = a;
        k->word[3] = b;
    }
    k->word[l4] = key_l4_reversed(k->word[l4]);
}

/*
 * Adds one id, 12 bits, to a word of VLAN ids, innermost last; at most four. The word starts as zero and counts its ids in the
 * bits above them, so that one tag with id 0 differs from none.
 */
static inline uint64_t key_vlan_add(uint64_t vlans, uint16_t id)
{
    unsigned n = (unsigned)(vlans >> KEY_VLAN_COUNT_SHIFT);
    return (vlans | (uint64_t)id << (KEY_VLAN_ID_BITS * n)) + (UINT64_C(1) << KEY_VLAN_COUNT_SHIFT);
}

/* The word of a network id. */
static inline uint64_t key_vni_make(uint32_t id) { return KEY_VNI_MARK | id; }

/* Puts a word of ids behind a key: first that of VLAN ids, then that of the network id. */
static inline void key_append_ids(struct key *k, uint64_t word)
{
    k->word[k->bytes / 8] = word;
    k->bytes += sizeof(word);
}

#endif
