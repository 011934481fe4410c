/*
 * A deployment under fire: real servers, the built programs, a schedule of faults
 * that the seed decides, load, and at the end the oracle's verdict. The rooms:
 *
 *   servers.c  Kafka, S3, Redis of this run, and their deaths  topics.c   Kafka's administration
 *   procs.c    our programs and who supervises them            proxy.c    before S3
 *   load.c     documents and jobs, and what was acknowledged   faults*.c  faults, and which is next
 *   oracle*.c  what must be true at the end                    main.c     from begin to end
 *
 * Only processes that this program started, and those whose id and start time servers.sh wrote into
 * this run's folder, are ever signalled. All but load.c and proxy.c belongs to the main thread.
 */
#ifndef TESTS_CHAOS_CHAOS_H
#define TESTS_CHAOS_CHAOS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "platform/clock/clock.h"
#include "tests/chaos/oracle.h"

#define OWNER        "chaos"
#define OTHER_BUCKET "other" /* of a second deployment on the same topics */

struct chaos {
    /* asked for */
    double minutes;
    uint64_t seed;
    const char *programs; /* the folder of the built programs */
    const char *scripts;
    const char *defect; /* planted into the programs; NULL: none */
    char folder[200];   /* of this run */

    struct clock *clock;
    struct bus *bus;
    struct blob *blob;  /* the server itself, without the proxy */
    struct blob *other; /* the second deployment's bucket */
    struct keys keys;
    int proxy_port;
    int64_t start_ms;
    FILE *log; /* folder/faults.log */
    struct oracle oracle;
    struct stream streams[STREAMS_MAX]; /* 0 steady, 1 fickle, then those made on the way */
    int stream_count;
};
extern struct chaos chaos;

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line of the fault log, with the time since the begin. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
int64_t now_ms(void);
const char *path_of(const char *name); /* in this run's folder; valid for eight calls */
/* Counter-based: the i-th number of a seed. */
uint64_t draw(uint64_t seed, uint64_t i);

/* --- servers.c ------------------------------------------------------------------------------ */
void servers_start(void);               /* fresh ones; sets this process's environment */
void servers_open(void);                /* proxy, buckets, ports */
bool server_kill(const char *name);     /* SIGKILL, at once; false: it isn't there */
pid_t server_restart(const char *name); /* in the background: see command_ended */
bool redis_flush(void);
void servers_stop(void);
/* True once the command has ended; a failure ends the run. */
bool command_ended(pid_t pid, const char *what);
void command_run(const char *const *argv); /* and waits; its output goes to folder/commands.log */

/* --- topics.c: false when the broker does not answer; they may be tried again ---------------- */
bool topic_create(const char *dataset, int partitions);
bool topic_delete(const char *dataset);
bool topic_grow(const char *dataset, int partitions);

/* --- procs.c -------------------------------------------------------------------------------- */
enum role { INGEST, TRAINER, PUBLISHER, ROLES };
struct proc {
    const char *name;
    enum role role;
    bool second; /* of the other deployment: started only by a fault, passes no failpoint */
    FILE *log;   /* a pipe; NULL: a file of its own */
    pid_t pid;   /* 0: not running */
    bool wanted, draining, killed;
    int64_t start_at_ms;
    int lives, exits; /* exits: by itself, with a status that isn't 0 */
};
enum { PROCS = 8 };
extern struct proc procs[PROCS];
void procs_start(void); /* all but the second deployment's */
void procs_tick(void);  /* takes note of deaths, starts what is wanted */
void proc_kill(struct proc *p);
pid_t child_of(pid_t parent);
void procs_drain(void); /* all end by SIGTERM, for good */
void procs_kill(void);
long failpoint_deaths(const char *name);
const char *path_of_failpoint(const char *name); /* a file there: it lies in wait */

/* --- load.c --------------------------------------------------------------------------------- */
void load_start(void);
void load_stop(void);                /* and waits for the last answers */
void load_hold(int stream, bool on); /* on: nothing more of it is sent */
bool load_is_held(void);             /* nothing is under way of what was held last */
void load_new_life(int stream);      /* while held */
size_t load_awaits(int stream);      /* acknowledged in this life and not in S3 yet */
int load_stream(const char *dataset, int partitions); /* its number */
/* After load_stop. */
const struct sent *load_sent(size_t *n);
struct asked *load_jobs(size_t *n);
size_t load_open_jobs(void); /* acknowledged and without an end */

/* --- faults.c ------------------------------------------------------------------------------- */
/* late: only what took effect less often than it must; stop: begins none. */
void faults_tick(bool late, bool stop);
bool faults_over(void);
bool faults_enough(void);     /* each kind took effect as often as it must */
int64_t faults_more_ms(void); /* how long that may be waited for */
void faults_print(FILE *to);
/* A small file system for one trainer; where that is refused a pipe for its log, which no limit is
 * for. */
void disk_set_up(void);
void disk_take_down(void);

#endif
