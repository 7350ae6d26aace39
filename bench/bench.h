/*
 * bench: what the parts of flowq-bench share.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A figure on a shared machine means little by itself; a ratio inside one run means much. So one process holds all contestants
 * with the same flows, slots and pages, and they take turns within each repetition (A B C A B C ...). A turn takes some
 * milliseconds of thread CPU time. A run consists of several such processes, each of which allocates in another order; the parent
 * puts the samples of all of them together (report.c, goals.c).
 */
#ifndef FLOWQ_BENCH_H
#define FLOWQ_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "flowq.h"

enum {
    BURST = 32,
    QUEUES = 8,
    MISS = 1000 /* what a look-up that misses adds to the sum that is checked */
};

/* ---- One process (process.c) ----------------------------------------------------------------------------------------------- */

/* How this process measures. */
struct process {
    unsigned number;  /* of several: rotates the order of allocation */
    const char *only; /* names of workloads: those that contain one of these words, comma-separated; NULL: all */
    bool goals;       /* only what a goal depends on */
    bool quick;       /* few, short turns: to see that everything works */
    int cpu[64];      /* to run on; the first is the main thread's */
    unsigned n_cpus;
};
extern struct process process;

/* Is this workload to be run? `goal`: a goal depends on it. */
bool wanted(const char *workload, bool goal);
/* Is any workload wanted whose name begins like this? */
bool wanted_group(const char *group, bool goal);
/* Repetitions to make where `n` are usual. */
unsigned repetitions(unsigned n);
/* One measured figure, told to the parent. */
void sample(const char *workload, const char *contestant, const char *unit, double value);
/* Something the reader should know, told to the parent, once. */
void remark(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The results are wrong or there is no memory: ends the process. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* CPU time of this thread. */
double cpu_ns(void);
void pin(int cpu);

/* Memory on huge pages, as far as the kernel grants the wish, for everybody. Zeroed. Never NULL. */
void *huge_alloc(size_t bytes);
void huge_free(void *ptr, size_t bytes);

/* Anything computed must be used. */
static inline void keep(uint64_t value) { __asm__ volatile("" : : "r"(value)); }

/* ---- Flows and frames (flows.c) -------------------------------------------------------------------------------------------- */

/* Queue that flow `id` is bound to; 32 flows in a row have the same, so that they can be noted in one burst. */
static inline uint32_t flow_queue(uint64_t id) { return (uint32_t)(id / BURST) % QUEUES; }

/* Repeatable random numbers (splitmix64). */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

enum direction { INCOMING, OUTGOING };
enum { FRAME_STRIDE_V4 = 64, FRAME_STRIDE_V6 = 128, STRIDE_MAX = 128 };

/* Writes an established TCP packet of flow `id` (below 2^32); STRIDE bytes. Returns its length. */
uint32_t flow_frame(uint8_t *frame, uint32_t version, enum direction direction, uint64_t id);
/* The key of its incoming packets, 2 or 5 words, as lib/key.h has it. */
void flow_key(uint64_t *word, uint32_t version, uint64_t id);

/* Packets to feed to the contestants. */
struct stream {
    size_t n;
    struct flowq_pkt *pkts;
    uint32_t *ids; /* their flows */
    uint8_t *bytes;
    size_t bytes_allocated;
};

enum order {
    IN_SEQUENCE, /* one after the other in memory */
    SCATTERED    /* in random order: every header is a cache miss */
};

/* Flows for a stream: `ids[i]` for i < n. */
void choose_all(uint32_t *ids, size_t n, uint64_t n_flows); /* 0, 1, 2, ... again and again */
void choose_uniform(uint32_t *ids, size_t n, uint64_t n_flows, uint64_t *state);
void choose_hits(uint32_t *ids, size_t n, uint64_t n_flows, unsigned percent,
                 uint64_t *state); /* the others have ids from n_flows on */
void choose_zipf(uint32_t *ids, size_t n, uint64_t n_flows, double skew, uint64_t *state);

/* A frame of flow `id`; returns its length. */
typedef uint32_t frame_fn(uint8_t *frame, uint64_t id, const void *how);

/* ids: taken over. */
struct stream stream_of(frame_fn *fn, const void *how, size_t stride, uint32_t *ids, size_t n);
/* The same of flow_frame()s. */
struct stream stream_make(uint32_t version, enum direction direction, enum order order, uint32_t *ids, size_t n);
void stream_free(struct stream *s);
/* Sum of the queues of packets from..from+n-1; flows from n_flows on count as MISS. */
uint64_t stream_sum(const struct stream *s, size_t from, size_t n, uint64_t n_flows);

/* ---- Contestants ----------------------------------------------------------------------------------------------------------- */

struct shape {
    uint32_t version; /* 4 or 6 */
    uint64_t n_flows; /* to hold */
    uint64_t slots;   /* 2 x the next power of two: for those who want a size at creation */
    bool grows;       /* starts small */
    bool room_made;   /* all room is made at creation: nothing grows */
    bool queue_stats;
};

/* A call that notes packets of one of several tables. */
struct note_call {
    const struct flowq_pkt *pkts;
    uint32_t table, qid;
};

/*
 * A way to remember which flow goes to which queue. NULL where it cannot do something. All work in bursts of BURST (the last may
 * be shorter) but the functions named single; all return the sum of the queues chosen.
 */
struct contestant {
    const char *name;
    const char *what;
    void *(*create)(const struct shape *shape); /* NULL: it takes no part in this */
    void (*destroy)(void *table);
    /* Burst i is noted on queue (first + i * step) % QUEUES. */
    void (*note)(void *table, const struct flowq_pkt *pkts, size_t n, uint32_t first, uint32_t step);
    uint64_t (*steer)(void *table, const struct flowq_pkt *pkts, size_t n);
    uint64_t (*single)(void *table, const struct flowq_pkt *pkts, size_t n);
    /* As note, from queue `first` on in steps of one, and as steer, in calls of `burst` packets, which divides BURST. */
    void (*note_by)(void *table, const struct flowq_pkt *pkts, size_t n, uint32_t first, size_t burst);
    uint64_t (*steer_by)(void *table, const struct flowq_pkt *pkts, size_t n, size_t burst);
    /* The same for several tables: calls for packets of one each; packet i is of table_of[i]. */
    void (*note_several)(void *const *tables, const struct note_call *calls, size_t n, size_t burst);
    uint64_t (*steer_several)(void *const *table_of, const struct flowq_pkt *pkts, size_t n, size_t burst);
    /* n keys that are ready, 2 (IPv4) or 5 (IPv6) words each; misses count as MISS. */
    uint64_t (*lookup)(void *table, const uint64_t *keys, unsigned words, size_t n);
    /* Forgets all flows, keeping the memory. */
    void (*clear)(void *table);
    /* What a host does now and then, again and again until there is nothing left to do. */
    void (*settle)(void *table);
    /* Memory for the table, in use now. */
    size_t (*bytes)(void *table);
    /* Before and after what another thread than the creator does with the table. */
    void (*thread_begin)(void);
    void (*thread_end)(void);
    const struct contestant *variant_of; /* shares that one's table */
    uint64_t most_flows;                 /* 0: any number */
    bool grows;                          /* can start small */
    bool minor;                          /* few goals speak of it */
    bool no_answer;                      /* does not know the queues: its sums are not checked */
    bool by_hash;                        /* knows flows by their hashes alone: may take an absent one for another */
};

extern const struct contestant with_flowq, with_flowq_long, with_flowq_narrow, with_native, with_rte_hash, with_rte_hash_ahead,
    with_rte_hash_padded, with_crc, with_ck_ht, with_lfht, with_tun, with_roofline, with_roofline_burst, with_nothing;
extern const struct contestant *const contestants[]; /* ended by NULL; flowq first */

/* What is not here, and why: printed at the top. */
extern const char *const missing_contestants[];

/* A contestant and its table. */
struct entrant {
    const struct contestant *is;
    void *table;
};

/* ---- Workloads ------------------------------------------------------------------------------------------------------------- */

void run_scenes(void);  /* scene.c: look up, steer, note, at every size */
void run_growth(void);  /* growth.c */
void run_threads(void); /* threads.c */
void run_attacks(void); /* attack.c */
void run_bursts(void);  /* bursts.c: calls for few packets */
void run_vms(void);     /* vms.c */
void run_shapes(void);  /* shapes.c */
void run_state(void);   /* state.c */
void run_rss(void);     /* rss.c */
void run_stages(void);  /* stages.c */
/* DPDK's Toeplitz hash; words: of the tuple, in the order of the machine (with_softrss.c). */
void softrss_key(const uint8_t key[40]);
uint32_t softrss_be(uint32_t *words, unsigned bytes);

/* In this very process: returns the exit status. */
int run_smoke(void);

/* ---- The parent ------------------------------------------------------------------------------------------------------------ */

/* Samples of one workload, contestant and unit. */
struct series {
    char workload[48], contestant[24], unit[16];
    size_t n;
    double *value;
    uint8_t *process; /* which process each is from */
};
struct results {
    size_t n;
    struct series *series;
    size_t n_remarks;
    char **remarks;
    unsigned processes;
};
void results_line(struct results *r, unsigned number, const char *line);
const struct series *results_find(const struct results *r, const char *workload, const char *contestant, const char *unit);
void results_free(struct results *r);

/* value: sorted in place. */
double median(double *value, size_t n);
double series_median(const struct series *s);
double series_min(const struct series *s);
double series_max(const struct series *s);
/* Median of the samples of one process. */
double series_of(const struct series *s, int number);
/* Median over the repetitions of one figure over another's, of the same process: NaN where there are none. */
double series_ratio(const struct series *over, const struct series *under, int number);

struct goal_result {
    const char *figure, *verdict, *against; /* against "": nobody */
    double value, min, max, must, aim;      /* value NaN: not measured */
    double ours, theirs;                    /* what the ratio was made of, in ns; NaN: it is none */
};
void goals_each(const struct results *r, void (*fn)(void *ctx, const struct goal_result *result), void *ctx);
/* How many musts are missed by more than 5 %. */
unsigned goals_missed(const struct results *r);
void goals_print(const struct results *r);

/* Processor, kernel, compiler, ... (environment.c). */
void environment_each(void (*fn)(void *ctx, const char *key, const char *value), void *ctx);

enum format { FORMAT_TEXT, FORMAT_TSV, FORMAT_JSON };
void report_print(FILE *to, const struct results *r, enum format format);

#endif
