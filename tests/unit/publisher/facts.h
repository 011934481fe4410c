/*
 * Finished runs as a trainer leaves them, and what a consumer of the publisher
 * sees, over any bus and store: shared by the tests in memory and those against
 * real servers.
 */
#ifndef TESTS_UNIT_PUBLISHER_FACTS_H
#define TESTS_UNIT_PUBLISHER_FACTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "schemas/job.h"
#include "schemas/keys.h"
#include "schemas/model.h"
#include "schemas/run.h"

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

struct facts {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct bus_producer *producer;
    struct keys keys;
};

/* How a run is different from the usual one. */
struct fact {
    const char *owner, *run, *model;
    int state; /* 0: JOB_FINISHED */
    int64_t time_ms;
    double gain;        /* asked for by a gate; 0: no gate. By map_at_k the run gains 0.15 */
    const char *metric; /* the gate's; NULL: its default */
    int64_t presign_s;
    bool binary;
    const char *file;    /* of the manifest; NULL: model/onnx/model.onnx */
    bool other_manifest; /* end.json names another hash */
};

/* job.json, manifest.json, end.json, the marker. */
void facts_run(struct facts *f, const struct fact *what);
/* A message on done, as a trainer sends it. */
void facts_done(struct facts *f, const char *owner, const char *run);
void facts_send(struct facts *f, const char *topic, const char *key, const void *value, size_t n);
void facts_topics(struct facts *f, const char *owner);

struct event_seen {
    size_t count; /* committed events of this run */
    bool binary;
    struct model_ready event; /* the last of them, in the arena */
};
/* Reads models.<owner> as a read_committed consumer does; `run` NULL: counts all. */
struct event_seen facts_events(struct facts *f, const char *owner, const char *run,
                               struct arena *a);
/* What the last record of current.<owner> says of a model; n 0: none. */
struct model_current facts_current(struct facts *f, const char *owner, const char *model,
                                   struct arena *a);
bool facts_open(struct facts *f, const char *owner, const char *run); /* the marker is there */

#endif
