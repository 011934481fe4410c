#include "e2e.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"

struct world world;

static const char *from_env(const char *name)
{
    const char *value = getenv(name);

    if (!value)
        fail_msg("%s is not set: run this by scripts/with-servers.sh", name);
    return value;
}

const char *path_of(const char *name)
{
    static char paths[8][PATH_MAX];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", world.folder, name);
    return path;
}

/* The blob port makes no buckets: an operator does. */
static void make_bucket(void)
{
    char command[600];
    FILE *p;

    snprintf(command, sizeof command,
             "curl -sf --noproxy '*' -o /dev/null -X PUT -K - --aws-sigv4 aws:amz:us-east-1:s3 "
             "-H 'x-amz-content-sha256: "
             "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' '%s/%s'",
             from_env("TRIPLINE_S3_ENDPOINT"), world.bucket);
    if (!(p = popen(command, "w")))
        fail_msg("curl can't be started");
    fprintf(p, "user = \"%s:%s\"\n", from_env("AWS_ACCESS_KEY_ID"),
            from_env("AWS_SECRET_ACCESS_KEY"));
    assert_int_equal(pclose(p), 0);
}

static void name_all(void)
{
    char nonce[33];

    clock_nonce(world.clock, nonce);
    snprintf(world.prefix, sizeof world.prefix, "e2e-%.10s", nonce);
    snprintf(world.owner, sizeof world.owner, "o-%.10s", nonce);
    snprintf(world.bucket, sizeof world.bucket, "e2e-%.10s", nonce);
    snprintf(world.folder, sizeof world.folder, "/tmp/tripline-e2e-XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    ok(keys_init(&world.keys, world.prefix, &e));
    setenv("TRIPLINE_PREFIX", world.prefix, 1);
    setenv("TRIPLINE_S3_BUCKET", world.bucket, 1);
    setenv("XDG_CONFIG_HOME", path_of("config"), 1);
    unsetenv("TRIPLINE_PROFILE");
    unsetenv("TRIPLINE_OWNER");
}

void world_open(void)
{
    struct bus_kafka_options k = {.brokers = from_env("TRIPLINE_KAFKA")};
    struct blob_s3_options s = {.endpoint = from_env("TRIPLINE_S3_ENDPOINT"),
                                .region = "us-east-1",
                                .bucket = world.bucket,
                                .access_key = from_env("AWS_ACCESS_KEY_ID"),
                                .secret_key = from_env("AWS_SECRET_ACCESS_KEY")};

    ok(clock_real(&world.clock, &e));
    name_all();
    make_bucket();
    ok(bus_kafka(&world.bus, &k, world.clock, &e));
    ok(blob_s3(&world.blob, &s, world.clock, &e));
}

void world_close(void)
{
    blob_free(world.blob);
    bus_free(world.bus);
    clock_free(world.clock);
    if (!getenv("TRIPLINE_TEST_KEEP"))
        ok(file_remove_tree(world.folder, &e));
}

/* ---- processes ---------------------------------------------------------------------------------
 */

static pid_t start(const char *const *argv, const char *out, const char *errors)
{
    pid_t pid;
    int fd;

    fflush(NULL);
    if ((pid = fork()) != 0) {
        assert_true(pid > 0);
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing behind */
    fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    fd = open(errors, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 2);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static int end_of(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* "name=value" settings of a service, NULL-terminated. */
static const char *const *settings_of(const char *name)
{
    static const char *const ingest[] = {"ingest.segment_age=400ms", "ingest.segment_records=500",
                                         "ingest.session_timeout=6s", NULL};
    static const char *const trainer[] = {"trainer.lease=2s",
                                          "trainer.heartbeat=300ms",
                                          "trainer.poll=200ms",
                                          "trainer.sweep=3s",
                                          "trainer.log_delay=300ms",
                                          "trainer.threads=1",
                                          NULL};
    static const char *const publisher[] = {"publisher.session_timeout=6s", NULL};

    return strcmp(name, "ingest") == 0    ? ingest
           : strcmp(name, "trainer") == 0 ? trainer
                                          : publisher;
}

pid_t service_start(const char *program, const char *name)
{
    const char *argv[40] = {program, "--set", "http.address=127.0.0.1:0"};
    const char *const *more;
    char log[160];
    int i = 3;

    for (more = settings_of(name); *more; more++) {
        argv[i++] = "--set";
        argv[i++] = *more;
    }
    setenv("TRIPLINE_TRAINER_WORK", path_of("trainer"), 1);
    snprintf(log, sizeof log, "%s.log", name);
    return start(argv, "/dev/null", path_of(log));
}

void service_kill(pid_t *pid)
{
    kill(*pid, SIGKILL);
    assert_int_equal(end_of(*pid), -SIGKILL);
    *pid = 0;
}

void service_drain(pid_t *pid)
{
    kill(*pid, SIGTERM);
    assert_int_equal(end_of(*pid), 0);
    *pid = 0;
}

pid_t child_of(pid_t parent)
{
    char path[300], line[512], *at;
    pid_t found = 0;
    struct dirent *d;
    DIR *all = opendir("/proc");
    FILE *f;

    assert_non_null(all);
    while (!found && (d = readdir(all))) {
        snprintf(path, sizeof path, "/proc/%s/stat", d->d_name);
        if (d->d_name[0] < '1' || d->d_name[0] > '9' || !(f = fopen(path, "re")))
            continue; /* "pid (name) state parent ..." */
        if (fgets(line, sizeof line, f) && (at = strrchr(line, ')')) && strlen(at) > 4 &&
            atoi(at + 4) == (int)parent)
            found = (pid_t)atoi(d->d_name);
        fclose(f);
    }
    closedir(all);
    return found;
}

pid_t cli_start(const char *const *words)
{
    const char *argv[32] = {TRIPLINE};
    int i = 1;

    while (*words && i < 31)
        argv[i++] = *words++;
    return start(argv, path_of("cli.out"), path_of("cli.log"));
}

int cli_end(pid_t pid)
{
    return end_of(pid);
}

int cli(struct buf *out, const char *const *words)
{
    struct err e = ERR_INIT;
    int status = end_of(cli_start(words));
    struct buf all;

    buf_init(&all, 16 << 20);
    if (out && file_read(path_of("cli.out"), &all, &e) == 0)
        buf_add(out, all.data, all.len);
    buf_release(&all);
    return status;
}

static int count_one(void *arg, const char *key, uint64_t size)
{
    ++*(int *)arg;
    return 0;
}

int count_objects(const char *prefix)
{
    int count = 0;

    ok(blob_list(world.blob, prefix, NULL, count_one, &count, &e));
    return count;
}
