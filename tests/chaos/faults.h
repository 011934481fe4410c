/*
 * What the schedule (faults.c) and the faults themselves (faults_procs.c, faults_world.c) share.
 * Main thread.
 */
#ifndef TESTS_CHAOS_FAULTS_H
#define TESTS_CHAOS_FAULTS_H

#include "tests/chaos/chaos.h"

enum answer { NOT_NOW, DONE, GOES_ON };

/* A kind of fault. At most one of a kind is on; what its begin noted is for its end. */
struct kind {
    const char *name;
    int weight; /* of its goal; 0 is 1 */
    int64_t least_ms, most_ms;
    enum answer (*begin)(struct kind *);
    enum answer (*go_on)(struct kind *); /* until DONE; NULL: begin never says GOES_ON */
    int mode, percent;                   /* of the proxy */
    long begun, took;                    /* took: times it had an effect */

    bool on; /* all below: of the present one */
    int64_t began_ms, for_ms;
    uint64_t draw;
    struct proc *target;
    pid_t pid;
    int stream, step;
    long before;
};

bool kind_is_over(const struct kind *k); /* its time is */
bool broker_is_down(void);

/* --- faults_procs.c --- */
enum answer kill_one(struct kind *k);
enum answer await_child(struct kind *k);
enum answer kill_child(struct kind *k);
enum answer pause_one(struct kind *k);
enum answer wake(struct kind *k);
enum answer drain(struct kind *k);
enum answer drained(struct kind *k);
enum answer second_deployment(struct kind *k);
enum answer second_ends(struct kind *k);
enum answer arm(struct kind *k); /* `took` is the deaths so far, see failpoints_hit */
/* Deaths at failpoints so far; `names` of them were seen at least once, of `all`. */
long failpoints_hit(int *names, int *all);
void failpoints_disarm(void);
void failpoints_print(FILE *to);

/* --- faults_world.c --- */
enum answer kill_kafka(struct kind *k);
enum answer revive_kafka(struct kind *k);
enum answer kill_redis(struct kind *k);
enum answer revive_redis(struct kind *k);
enum answer flush(struct kind *k);
enum answer proxy_on(struct kind *k);
enum answer proxy_off(struct kind *k);
enum answer disk_full(struct kind *k);
enum answer disk_empty(struct kind *k);
const char *disk_kind(void); /* in words */
enum answer new_topic(struct kind *k);
enum answer add_partition(struct kind *k);
enum answer to_delete(struct kind *k);
enum answer to_recreate(struct kind *k);
enum answer end_topic(struct kind *k); /* of both */

#endif
