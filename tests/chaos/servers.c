#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/proxy.h"

/* ---- commands -------------------------------------------------------------------------------- */

static pid_t command_start(const char *const *argv)
{
    int fd = open(path_of("commands.log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid_t pid = fork();

    if (pid == 0) {
        dup2(fd, 1);
        dup2(fd, 2);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    if (fd >= 0)
        close(fd);
    if (pid < 0)
        die("%s can't be started", argv[0]);
    return pid;
}

bool command_ended(pid_t pid, const char *what)
{
    int status = 0;

    if (waitpid(pid, &status, WNOHANG) == 0)
        return false;
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        die("%s failed: see %s", what, path_of("commands.log"));
    return true;
}

void command_run(const char *const *argv)
{
    pid_t pid = command_start(argv);
    int status = 0;

    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
        die("%s %s failed: see %s", argv[0], argv[1], path_of("commands.log"));
}

/* ---- start and stop -------------------------------------------------------------------------- */

static void script(const char *command, const char *server)
{
    char file[300], dir[300];
    const char *argv[] = {file, command, dir, server, NULL};

    snprintf(file, sizeof file, "%s/servers.sh", chaos.scripts);
    snprintf(dir, sizeof dir, "%s", path_of("servers"));
    command_run(argv);
}

/* `export NAME=value` lines become this process's environment. */
static void read_env(void)
{
    char *line, *rest = NULL, *equals;
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 1 << 16);
    if (file_read(path_of("servers/env"), &b, &e) < 0)
        die("%s", e.text);
    for (line = strtok_r(b.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (!strncmp(line, "export ", 7) && (equals = strchr(line, '='))) {
            *equals = '\0';
            setenv(line + 7, equals + 1, 1);
        }
    buf_release(&b);
}

void servers_start(void)
{
    script("fresh", NULL);
    read_env();
}

void servers_stop(void)
{
    script("kill", NULL);
}

void servers_open(void)
{
    struct bus_kafka_options k = {.brokers = getenv("TRIPLINE_KAFKA"), .timeout_ms = 10000};
    struct blob_s3_options s = {.endpoint = getenv("TRIPLINE_S3_ENDPOINT"),
                                .region = "us-east-1",
                                .bucket = "tripline",
                                .access_key = getenv("AWS_ACCESS_KEY_ID"),
                                .secret_key = getenv("AWS_SECRET_ACCESS_KEY")};
    const char *port = strrchr(s.endpoint, ':');
    struct err e = ERR_INIT;

    if (!port || (chaos.proxy_port = proxy_start((int)strtol(port + 1, NULL, 10))) < 0)
        die("the proxy can't be started");
    if (mkdir(path_of("servers/s3/" OTHER_BUCKET), 0700) < 0) /* a bucket is a folder there */
        die("the second bucket can't be made");
    if (bus_kafka(&chaos.bus, &k, chaos.clock, &e) < 0 ||
        blob_s3(&chaos.blob, &s, chaos.clock, &e) < 0)
        die("%s", e.text);
    s.bucket = OTHER_BUCKET;
    if (blob_s3(&chaos.other, &s, chaos.clock, &e) < 0)
        die("%s", e.text);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

/* As scripts/process.sh: a process is its id and its start time. */
static bool started_at(pid_t pid, const char *start)
{
    char path[64], line[1024], *at, *rest = NULL;
    FILE *f;
    int i;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!(f = fopen(path, "re")))
        return false;
    at = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    fclose(f);
    if (!at || !(at = strtok_r(at + 1, " ", &rest)) || *at == 'Z')
        return false;
    for (i = 0; at && i < 19; i++)
        at = strtok_r(NULL, " ", &rest);
    return at && !strcmp(at, start);
}

bool server_kill(const char *name)
{
    char file[80], start[40];
    long pid = 0;
    FILE *f;
    int n, i;

    snprintf(file, sizeof file, "servers/%s.pid", name);
    if (!(f = fopen(path_of(file), "re")))
        return false;
    n = fscanf(f, "%ld %39s", &pid, start);
    fclose(f);
    if (n != 2 || pid <= 1 || !started_at((pid_t)pid, start) || kill((pid_t)pid, SIGKILL) < 0)
        return false;
    for (i = 0; i < 200 && started_at((pid_t)pid, start); i++)
        clock_sleep_ms(chaos.clock, 10);
    return true;
}

pid_t server_restart(const char *name)
{
    static char file[300], dir[300];
    const char *argv[] = {file, "start", dir, name, NULL};

    snprintf(file, sizeof file, "%s/servers.sh", chaos.scripts);
    snprintf(dir, sizeof dir, "%s", path_of("servers"));
    return command_start(argv);
}

bool redis_flush(void)
{
    char host[100];
    const char *address = getenv("TRIPLINE_REDIS"), *colon = strrchr(address, ':');
    const struct timeval limit = {3, 0};
    redisContext *c;
    redisReply *r = NULL;
    bool done = false;

    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    c = redisConnectWithTimeout(host, (int)strtol(colon + 1, NULL, 10), limit);
    if (c && !c->err) {
        redisSetTimeout(c, limit);
        freeReplyObject(redisCommand(c, "AUTH %s %s", getenv("TRIPLINE_REDIS_USERNAME"),
                                     getenv("TRIPLINE_REDIS_PASSWORD")));
        r = redisCommand(c, "FLUSHALL");
        done = r && r->type == REDIS_REPLY_STATUS;
    }
    freeReplyObject(r);
    if (c)
        redisFree(c);
    return done;
}
