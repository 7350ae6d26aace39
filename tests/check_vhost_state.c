/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_vhost_state: flows that outlive the program under the drop-in: when they are saved, into which files, and which files are
 * loaded. The process before is a child of the test's own.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runner.h"
#include "vhost_program.h"

#define PATH  "/tmp/flowq-test.sock"
#define OTHER "/tmp/flowq-other.sock"
#define NAME  "%2Ftmp%2Fflowq-test.sock.flowq"

enum { FLOWS = 100, PAIRS = 4, ALL_SENT = 2 /* times: the first one that goes where the fallback sends it anyway is not kept */ };

static char folder[] = "/tmp/flowq-state-XXXXXX";
static char file[128];

static void set_up(void)
{
    char setting[128];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/%s", folder, NAME);
    snprintf(setting, sizeof(setting), "state=%s", folder);
    setenv("FLOWQ_VHOST", setting, 1);
}

static uint32_t files(void)
{
    uint32_t n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void tear_down(void)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(folder);
}

static void all_sent(int vid)
{
    for (uint32_t i = 0; i < ALL_SENT * FLOWS; i++)
        guest_sends(vid, i % FLOWS * 7 % PAIRS, i % FLOWS);
}

/* How many flows arrive where they were sent from. */
static uint32_t right(int vid)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < FLOWS; i++)
        n += arrives(vid, i) == (int)(i * 7 % PAIRS);
    return n;
}

/* ---- Before and after ---- */

enum ending { DISCONNECTS, UNREGISTERS, ASKED, KILLED, N_ENDINGS };

/* The program that ran before, with this socket. */
static void run_before(const char *path, enum ending ending)
{
    pid_t child = fork();
    if (child == 0) {
        open_port(path);
        int vid = guest_comes(path, PAIRS);
        all_sent(vid);
        if (right(vid) != FLOWS)
            _exit(1);
        if (ending == DISCONNECTS)
            stub_disconnect(vid);
        if (ending == UNREGISTERS && rte_vhost_driver_unregister(path) != 0)
            _exit(2);
        if (ending == ASKED && (telemetry("/flowq/save", NULL, "saved") != 1 || telemetry("/flowq/save", NULL, "failed") != 0))
            _exit(3);
        _exit(0);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

START_TEST(flows_outlive_the_program)
{
    struct stat s;
    run_before(PATH, (enum ending)_i);
    ck_assert_uint_eq(files(), _i != KILLED);
    if (_i != KILLED) {
        ck_assert_int_eq(stat(file, &s), 0);
        ck_assert_uint_eq(s.st_mode, S_IFREG | 0600);
    }
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    if (_i != KILLED)
        ck_assert_uint_eq(right(vid), FLOWS);
    else
        ck_assert_uint_lt(right(vid), FLOWS / 2);
    ck_assert_int_eq(telemetry("/flowq/port", "0", "flowq_flows_live"), _i == KILLED ? 0 : FLOWS);
}
END_TEST

/* Every file has its socket, and a folder that is named in two ways, or a name that looks like a path, is one file each. */
START_TEST(sockets_have_files_of_their_own)
{
    static const char *const paths[] = {"/tmp/a_b", "/tmp/a/b", "/tmp/a%2Fb", "/tmp/.a", ".a", "/tmp/a\xc3\xa4 b"};
    enum { N = sizeof(paths) / sizeof(paths[0]) };
    for (uint32_t i = 0; i < N; i++) {
        run_before(paths[i], DISCONNECTS);
        ck_assert_uint_eq(files(), i + 1);
    }
    for (uint32_t i = 0; i < N; i++) {
        open_port(paths[i]);
        ck_assert_uint_eq(right(guest_comes(paths[i], PAIRS)), FLOWS);
    }
    open_port("/tmp/another");
    ck_assert_uint_lt(right(guest_comes("/tmp/another", PAIRS)), FLOWS / 2);
}
END_TEST

/* ---- Files that are not loaded ---- */

static void wider(void) { ck_assert_int_eq(chmod(file, 0640), 0); }
static void others(void) { ck_assert_int_eq(chmod(file, 0602), 0); }
static void cut_short(void) { ck_assert_int_eq(truncate(file, 1000), 0); }
static void emptied(void) { ck_assert_int_eq(truncate(file, 0), 0); }
static void linked(void)
{
    char other[160];
    snprintf(other, sizeof(other), "%s/other", folder);
    ck_assert_int_eq(rename(file, other), 0);
    ck_assert_int_eq(symlink(other, file), 0);
}
static void a_pipe(void)
{
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(mkfifo(file, 0600), 0);
}

static const struct {
    void (*make)(void);
    const char *said;
} refused[] = {
    {wider, "left alone"},         {others, "left alone"}, {cut_short, "cannot be loaded"},
    {emptied, "cannot be loaded"}, {linked, "no saved"},   {a_pipe, "left alone"},
};

START_TEST(what_is_not_as_we_left_it_is_not_loaded)
{
    run_before(PATH, DISCONNECTS);
    refused[_i].make();
    open_port(PATH);
    const char *said = stub_log();
    ck_assert_msg(strstr(said, refused[_i].said) != NULL, "\"%s\"", said);
    int vid = guest_comes(PATH, PAIRS);
    ck_assert_uint_lt(right(vid), FLOWS / 2);
    all_sent(vid);
    ck_assert_uint_eq(right(vid), FLOWS);
}
END_TEST

/* What a program left that was killed while it wrote, or somebody put there, is not followed. */
START_TEST(the_unfinished_file_is_made_anew)
{
    char unfinished[160], elsewhere[160];
    struct stat s;
    snprintf(unfinished, sizeof(unfinished), "%s.new", file);
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", folder);
    FILE *f = fopen(elsewhere, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    ck_assert_int_eq(symlink(elsewhere, unfinished), 0);
    run_before(PATH, DISCONNECTS);
    ck_assert_int_eq(lstat(file, &s), 0);
    ck_assert_uint_eq(s.st_mode, S_IFREG | 0600);
    ck_assert_int_eq(stat(elsewhere, &s), 0);
    ck_assert_int_eq(s.st_size, 0);
    ck_assert_int_ne(lstat(unfinished, &s), 0);
}
END_TEST

START_TEST(a_folder_that_is_missing)
{
    setenv("FLOWQ_VHOST", "state=/nonexistent/flowq", 1);
    open_port(PATH);
    ck_assert_ptr_nonnull(strstr(stub_log(), "no saved flows"));
    int vid = guest_comes(PATH, PAIRS);
    all_sent(vid);
    ck_assert_int_eq(telemetry("/flowq/save", NULL, "failed"), 1);
    ck_assert_ptr_nonnull(strstr(stub_log(), "not saved"));
    ck_assert_int_eq(telemetry("/flowq/save", NULL, "failed"), 1);
    ck_assert_ptr_null(strstr(stub_log(), "not saved")); /* once is enough */
    stub_disconnect(vid);
    vid = guest_comes(PATH, PAIRS);
    ck_assert_uint_eq(right(vid), FLOWS);
}
END_TEST

START_TEST(nothing_without_the_setting)
{
    unsetenv("FLOWQ_VHOST");
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    all_sent(vid);
    ck_assert_int_eq(telemetry("/flowq/save", NULL, "saved"), -1);
    stub_disconnect(vid);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

START_TEST(now_and_then)
{
    char setting[160];
    const struct timespec moment = {.tv_nsec = 20000000};
    struct stat s = {0};
    snprintf(setting, sizeof(setting), "state=%s,save_every=1", folder);
    setenv("FLOWQ_VHOST", setting, 1);
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    all_sent(vid);
    for (uint32_t i = 0; i < 3000 && (stat(file, &s) != 0 || s.st_size < FLOWS * 20); i++)
        nanosleep(&moment, NULL);
    ck_assert_uint_ge((uint64_t)s.st_size, FLOWS * 20);
    ck_assert_uint_eq(right(vid), FLOWS);
    ck_assert_int_eq(stub_violations(), 0);
}
END_TEST

/* A path that was unregistered and comes back has what it had, not what the file says. */
START_TEST(a_port_that_comes_back_is_newer_than_its_file)
{
    run_before(PATH, DISCONNECTS);
    open_port(PATH);
    int vid = guest_comes(PATH, PAIRS);
    for (uint32_t i = 0; i < FLOWS; i++)
        guest_sends(vid, 2, i);
    ck_assert_int_eq(rte_vhost_driver_unregister(PATH), 0);
    open_port(PATH);
    vid = guest_comes(PATH, PAIRS);
    for (uint32_t i = 0; i < FLOWS; i++)
        ck_assert_int_eq(arrives(vid, i), 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vhost state");
    TCase *tc = tcase_create("state");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, flows_outlive_the_program, 0, N_ENDINGS);
    tcase_add_test(tc, sockets_have_files_of_their_own);
    tcase_add_loop_test(tc, what_is_not_as_we_left_it_is_not_loaded, 0, (int)(sizeof(refused) / sizeof(refused[0])));
    tcase_add_test(tc, the_unfinished_file_is_made_anew);
    tcase_add_test(tc, a_folder_that_is_missing);
    tcase_add_test(tc, nothing_without_the_setting);
    tcase_add_test(tc, now_and_then);
    tcase_add_test(tc, a_port_that_comes_back_is_newer_than_its_file);
    suite_add_tcase(s, tc);
    return suite_run_forked(s);
}
