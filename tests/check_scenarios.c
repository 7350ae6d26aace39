/*
 * Scenarios: what a VM sent and was sent, as text, played through the public interface.
 *
 *   tests/check_scenarios             those of tests/scenarios, or of the directory FLOWQ_SCENARIOS
 *   tests/check_scenarios FILE...     these
 *
 * Each is played four times: by single calls, by bursts (consecutive packets of one kind in one call), as decisions, and in
 * bursts for several vms, beside a second vm that is noted the same packets on other queues. Right is what the file says, and
 * every way gives the same answers and counts the same. Without secret=test, all of that for several secrets, so that luck gets
 * nobody through.
 *
 * A file is lines of words; # begins a comment. Steps:
 *
 *   cfg pairs=N [secret=test] [SETTING=VALUE...]
 *                             a new vm. SETTING: a field of struct flowq_vm_config; VALUE: on, off, none or a number. Byte i of
 *                             the secret `test` is (7 * i + 1) & 255, or 1 where that is 0
 *   tx Q PACKET               the VM sends this packet on queue Q
 *   note OUTCOME              ... and this becomes of the note, by flowq_note_name()
 *   rx Q PACKET               a packet for the VM; right is queue Q
 *   rx drop PACKET            ... no queue
 *   rx any PACKET             ... some queue in use
 *   rx same[:GROUP] PACKET    ... one queue for all of the group
 *   rx spread[:GROUP] PACKET  ... not one queue for all of the group
 *   reason NAME               ... and why, by flowq_reason_name()
 *   hash REPORT VALUE         ... and the hash that is reported
 *   on Q, off Q               the queue is enabled, or not
 *   resetting Q on|off        it is being reset, or no longer
 *   pairs N                   so many pairs, by automatic steering
 *   reset PART...             flows, queues, config
 *   rss types=N key=HEX table=Q,Q... unclassified=Q max_tx=N
 *                             the guest's table decides; key=microsoft: the one of the published examples
 *   hashes types=N key=HEX    what is reported in automatic steering
 *   hash-tunnels N            tunnels of which the inner header is hashed
 *   wait MS                   time passes; between other steps none does
 *   lookup Q|none PROTOCOL SRC [SPORT] > DST [DPORT] [vni ID] [vlan ID...]
 *                             the flow's binding, the tuple as an incoming packet has it
 *   class NAME                ... and its class, by flowq_class_name()
 *   equal HEX PACKET          both are the same bytes
 *
 * Q is a number; or a letter, which stands for the answer of the first rx that names it; or a letter and a number, A+2: so many
 * queues further, in turn; after on, off and resetting also `all`.
 *
 * PACKET is hexadecimal digits, as from a dissector, or headers by name, the outermost first; lengths, IPv4 checksums and numbers
 * of what follows come by themselves. Ethernet comes by itself, too; `l3` first: there is none.
 *
 *   eth [TO [FROM]]   vlan TAG [TPID]   mpls LABEL   cw SEQUENCE   pppoe   pppoe1 (protocol of one byte)   arp   nsh
 *   ip SRC > DST [id N] [offset BYTES] [more] [ttl N] [options WORDS] [badsum] [label N]
 *   hop   dest   ah   frag ID OFFSET [more]   routing TYPE LEFT ADDRESS...   esp SPI
 *   tcp SPORT > DPORT [syn] [ack] [fin] [rst] [psh]   udp, udplite, sctp, dccp SPORT > DPORT
 *   icmp TYPE CODE   icmp6 TYPE CODE   redirect6 TARGET DESTINATION [lladdr]   (what they quote follows)
 *   gre [sum] [key N] [seq N]   erspan2   erspan3 [sub]   wccp   vxlan VNI   vxlan-gpe VNI   geneve VNI [options WORDS] [control]
 *   gtpu TEID [type N] [ext]   gue [control] [options WORDS]
 *   type N (what the header before says that follows)   data BYTES (zero)   hex DIGITS   cut BYTES (of the whole packet)
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "runner.h"
#include "scenario.h"
#include "scenario_play.h"
#include "seed.h"

#include <check.h>
#include <glob.h>
#include <string.h>

/* ---- Tests ----------------------------------------------------------------------------------------------------------------- */

static uint64_t seed;
static glob_t right, faulty;

static char *report_of(const char *path, unsigned *failed)
{
    char *text = NULL;
    size_t size = 0;
    FILE *report = open_memstream(&text, &size);
    ck_assert(report != NULL);
    *failed = scenario_play(path, seed, report);
    fclose(report);
    return text;
}

START_TEST(test_scenario)
{
    unsigned failed;
    char *report = report_of(right.gl_pathv[_i], &failed);
    fputs(report, stdout); /* all of it, which Check may find too long */
    fflush(stdout);
    ck_assert_msg(failed == 0, "%u vms are answered wrong. The first: %.*s", failed, (int)strcspn(report, "\n"), report);
    free(report);
}
END_TEST

/* A faulty file begins with what has to be said about it: "# LINE: what is wrong". */
START_TEST(test_a_faulty_scenario_fails_where_it_is_wrong)
{
    const char *path = faulty.gl_pathv[_i];
    char wanted[256], line[256];
    unsigned failed;
    FILE *file = fopen(path, "r");
    ck_assert(file != NULL && fgets(line, sizeof(line), file) != NULL);
    fclose(file);
    ck_assert_msg(strncmp(line, "# ", 2) == 0, "%s does not say what is wrong", path);
    line[strcspn(line, "\n")] = '\0';
    snprintf(wanted, sizeof(wanted), "%s:%s", strrchr(path, '/') + 1, line + 2);
    char *report = report_of(path, &failed);
    ck_assert_msg(failed > 0, "%s passes", path);
    ck_assert_msg(strstr(report, wanted) != NULL, "got \"%s\", want \"%s\"", report, wanted);
    free(report);
}
END_TEST

/* Bytes are changed, left out and doubled at random; whatever comes of that is read, or refused with its place. */
START_TEST(test_damaged_scenarios_do_no_harm)
{
    struct rng rng = {seed};
    struct scenario s;
    static char text[1 << 17];
    char error[512];
    FILE *file = fopen(right.gl_pathv[_i], "r");
    ck_assert(file != NULL);
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    for (int round = 0; round < 50; round++) {
        for (uint32_t changes = rng_range(&rng, 1, 3); changes > 0; changes--)
            text[rng_below(&rng, (uint32_t)size)] = "\0 \n#0aA>=,+:.x~\xff"[rng_below(&rng, 17)];
        size_t from = rng_below(&rng, (uint32_t)size), bytes = rng_below(&rng, (uint32_t)(size - from));
        file = fmemopen(text + from, bytes + 1, "r");
        ck_assert(file != NULL);
        error[0] = '\0';
        if (scenario_read(file, "damaged", &s, error, sizeof(error)) != 0)
            ck_assert_msg(strncmp(error, "damaged:", 8) == 0, "\"%s\"", error);
        scenario_free(&s);
        fclose(file);
    }
}
END_TEST

/* What a scenario cannot set: size, secret, pointers (memory, clock, log, name), and what is reserved. */
START_TEST(test_every_setting_has_a_name)
{
    struct flowq_vm_config *c = NULL;
    size_t others = sizeof(c->size) + sizeof(c->secret) + 8 * sizeof(void *) + sizeof(c->reserved) + sizeof(c->virtio_reserved) +
                    sizeof(c->key_reserved) + sizeof(c->key_reserved2);
    if (sizeof(void *) == 8) /* elsewhere there may be padding */
        ck_assert_uint_eq(scenario_settings_bytes() + others, sizeof(*c));
}
END_TEST

static int run_tests(const char *directory)
{
    char pattern[4096];
    snprintf(pattern, sizeof(pattern), "%s/*.txt", directory);
    glob(pattern, 0, NULL, &right);
    snprintf(pattern, sizeof(pattern), "%s/faulty/*.txt", SCENARIOS);
    glob(pattern, 0, NULL, &faulty);
    if (right.gl_pathc == 0 || faulty.gl_pathc == 0) {
        fprintf(stderr, "%s: no scenarios\n", directory);
        return 1;
    }
    Suite *s = suite_create("scenarios");
    TCase *t = tcase_create("scenarios");
    tcase_add_loop_test(t, test_scenario, 0, (int)right.gl_pathc);
    tcase_add_loop_test(t, test_a_faulty_scenario_fails_where_it_is_wrong, 0, (int)faulty.gl_pathc);
    tcase_add_loop_test(t, test_damaged_scenarios_do_no_harm, 0, (int)right.gl_pathc);
    tcase_add_test(t, test_every_setting_has_a_name);
    suite_add_tcase(s, t);
    int status = suite_run(s);
    globfree(&right);
    globfree(&faulty);
    return status;
}

int main(int argc, char **argv)
{
    const char *directory = getenv("FLOWQ_SCENARIOS");
    unsigned failed = 0;
    seed = seed_get("check_scenarios");
    if (argc < 2)
        return run_tests(directory && *directory ? directory : SCENARIOS);
    for (int i = 1; i < argc; i++)
        failed += scenario_play(argv[i], seed, stdout);
    printf("%d files, %u wrong\n", argc - 1, failed);
    return failed != 0;
}
