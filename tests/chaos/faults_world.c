/* Faults that befall servers, disks, topics. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "tests/chaos/faults.h"
#include "tests/chaos/proxy.h"

enum { CATCH_UP_MS = 25000, BITE_MS = 15000, TINY_FILE = 256, LOG_MAX = 256 << 20 };
#define DISK_BYTES "16m"

/* ---- servers --------------------------------------------------------------------------------- */

static bool kafka_down, redis_down;

bool broker_is_down(void)
{
    return kafka_down;
}

static enum answer kill_server(struct kind *k, const char *name, bool *down)
{
    if (!server_kill(name))
        return NOT_NOW;
    say("kill -9 %s", name);
    *down = true;
    k->pid = 0;
    return GOES_ON;
}

static enum answer revive_server(struct kind *k, const char *name, bool *down)
{
    if (!k->pid && kind_is_over(k))
        k->pid = server_restart(name);
    if (!k->pid || !command_ended(k->pid, name))
        return GOES_ON;
    *down = false;
    k->took++;
    say("%s is back", name);
    return DONE;
}

enum answer kill_kafka(struct kind *k)
{
    return kill_server(k, "kafka", &kafka_down);
}
enum answer revive_kafka(struct kind *k)
{
    return revive_server(k, "kafka", &kafka_down);
}
enum answer kill_redis(struct kind *k)
{
    return kill_server(k, "redis", &redis_down);
}
enum answer revive_redis(struct kind *k)
{
    return revive_server(k, "redis", &redis_down);
}

enum answer flush(struct kind *k)
{
    if (redis_down || !redis_flush())
        return NOT_NOW;
    say("FLUSHALL");
    k->took++;
    return DONE;
}

enum answer proxy_on(struct kind *k)
{
    say("%s for %lld ms", k->name, (long long)k->for_ms);
    k->before = proxy_count((enum proxy_mode)k->mode);
    proxy_set((enum proxy_mode)k->mode, k->percent);
    return GOES_ON;
}

enum answer proxy_off(struct kind *k)
{
    if (!kind_is_over(k))
        return GOES_ON;
    proxy_set((enum proxy_mode)k->mode, 0);
    k->took += proxy_count((enum proxy_mode)k->mode) > k->before;
    return DONE;
}

/* ---- the disk -------------------------------------------------------------------------------- */

static bool on_tmpfs;

void disk_set_up(void)
{
    const char *folder = path_of("trainer-1");
    char command[400];

    on_tmpfs = mkdir(folder, 0700) == 0 && mount("tripline-chaos", folder, "tmpfs",
                                                 MS_NOSUID | MS_NODEV, "size=" DISK_BYTES) == 0;
    if (on_tmpfs)
        return;
    snprintf(command, sizeof command, "exec cat >>'%s'", path_of("trainer-1.log"));
    if (!(procs[2].log =
              popen(command, "we"))) /* the limit is for its log too, if that is a file */
        die("'%s' can't be started", command);
}

void disk_take_down(void)
{
    if (on_tmpfs)
        umount2(path_of("trainer-1"), MNT_DETACH);
    else
        pclose(procs[2].log);
}

const char *disk_kind(void)
{
    return on_tmpfs ? "a tmpfs of " DISK_BYTES " that is full" : "RLIMIT_FSIZE (no right to mount)";
}

static void fill_disk(void)
{
    static const char zeros[65536];
    int fd = open(path_of("trainer-1/ballast"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    size_t n = sizeof zeros;

    while (fd >= 0 && n > 0)
        if (write(fd, zeros, n) <= 0)
            n /= 2;
    if (fd >= 0)
        close(fd);
}

static void limit_files(pid_t pid, rlim_t bytes)
{
    const struct rlimit limit = {bytes, RLIM_INFINITY};

    if (pid > 0)
        prlimit(pid, RLIMIT_FSIZE, &limit, NULL);
}

static long count(const char *text, const char *word)
{
    long n = 0;

    while ((text = strstr(text, word))) {
        text += strlen(word);
        n++;
    }
    return n;
}

/* How often the trainer said that it could not write. */
static long complaints(void)
{
    struct err e = ERR_INIT;
    struct buf b;
    long n = 0;

    buf_init(&b, LOG_MAX);
    if (file_read(path_of("trainer-1.log"), &b, &e) == 0)
        n = count(b.data, strerror(on_tmpfs ? ENOSPC : EFBIG));
    buf_release(&b);
    return n;
}

enum answer disk_full(struct kind *k)
{
    k->target = &procs[2];
    k->before = complaints();
    if (on_tmpfs)
        fill_disk();
    say("the disk of %s is full for %lld ms or more", k->target->name, (long long)k->for_ms);
    return GOES_ON;
}

/* It goes on until somebody had to write, within limits; looked at twice a second. */
static bool has_bitten(const struct kind *k)
{
    static int64_t look;

    if (!kind_is_over(k) || now_ms() < look)
        return false;
    look = now_ms() + 500;
    return complaints() > k->before;
}

/* Of a process that was started meanwhile too, and of what was freed meanwhile. */
enum answer disk_empty(struct kind *k)
{
    bool bitten = has_bitten(k), ends = bitten || now_ms() - k->began_ms > BITE_MS;

    if (!on_tmpfs)
        limit_files(k->target->pid, ends ? RLIM_INFINITY : TINY_FILE);
    else if (!ends)
        fill_disk();
    else
        unlink(path_of("trainer-1/ballast"));
    if (!ends)
        return GOES_ON;
    k->took += bitten;
    return DONE;
}

/* ---- topics ---------------------------------------------------------------------------------- */

enum answer new_topic(struct kind *k)
{
    char name[KEY_NAME_MAX];

    if (kafka_down || chaos.stream_count == STREAMS_MAX)
        return NOT_NOW;
    snprintf(name, sizeof name, "late-%d", chaos.stream_count);
    if (!topic_create(name, 1))
        return NOT_NOW;
    say("topic %s is created", name);
    load_stream(name, 1);
    k->took++;
    return DONE;
}

enum answer add_partition(struct kind *k)
{
    struct stream *s = &chaos.streams[0];

    if (kafka_down || s->partitions == PARTITIONS_MAX || !topic_grow(s->dataset, s->partitions + 1))
        return NOT_NOW;
    s->partitions++;
    say("%s has %d partitions", s->dataset, s->partitions);
    k->took++;
    return DONE;
}

/* A topic's end: nothing of it is under way; every second time ingest may first write all that was
 * acknowledged, and nothing may be gone then; it is deleted; fickle is created again. */
enum { HOLD, CATCH_UP, DELETE, GONE, CREATE };

static enum answer begin_end(struct kind *k, int stream)
{
    k->stream = stream;
    k->step = HOLD;
    load_hold(stream, true);
    say("%s will be deleted%s", chaos.streams[stream].dataset,
        k->draw % 2 ? " once it is ingested" : "");
    return GOES_ON;
}

enum answer to_recreate(struct kind *k)
{
    return kafka_down || chaos.streams[1].life + 1 == STREAM_LIVES ? NOT_NOW : begin_end(k, 1);
}

enum answer to_delete(struct kind *k)
{
    int fit[STREAMS_MAX], n = 0, i;

    for (i = 2; i < chaos.stream_count; i++)
        if (!chaos.streams[i].deleted)
            fit[n++] = i;
    return kafka_down || !n ? NOT_NOW : begin_end(k, fit[(k->draw >> 8) % (uint64_t)n]);
}

/* False: wait on. */
static bool caught_up(struct kind *k, struct stream *s)
{
    bool patient = k->draw % 2 && now_ms() - k->began_ms < CATCH_UP_MS;
    struct err e = ERR_INIT;
    size_t awaits = 1;

    if (oracle_read(&chaos.oracle, k->stream, &e) == 0)
        awaits = load_awaits(k->stream);
    if (awaits && patient)
        return false;
    s->abrupt[s->life] = awaits > 0;
    return true;
}

static bool delete (struct kind *k, struct stream *s)
{
    if (!topic_delete(s->dataset))
        return false;
    say("%s is deleted%s", s->dataset, s->abrupt[s->life] ? " with what was not ingested" : "");
    k->began_ms = now_ms();
    return true;
}

static bool create(struct kind *k, struct stream *s)
{
    if (!topic_create(s->dataset, 1 + (int)((k->draw >> 16) % 3)))
        return false;
    if (s->partitions < 3)
        s->partitions = 3;
    load_new_life(k->stream);
    load_hold(k->stream, false);
    say("%s is created again", s->dataset);
    return true;
}

enum answer end_topic(struct kind *k)
{
    struct stream *s = &chaos.streams[k->stream];

    if (kafka_down) /* a change that has no answer is made again */
        return GOES_ON;
    switch (k->step) {
    case HOLD:
        k->step += load_is_held();
        break;
    case CATCH_UP:
        k->step += caught_up(k, s);
        break;
    case DELETE:
        if (delete (k, s))
            k->step = k->stream == 1 ? GONE : CREATE + 1;
        break;
    case GONE:
        k->step += kind_is_over(k);
        break;
    default:
        k->step += create(k, s);
    }
    if (k->step <= CREATE)
        return GOES_ON;
    s->deleted = k->stream != 1;
    k->took++;
    return DONE;
}
