/* The trainer over stores in memory, on simulated time. */
#include "tests/unit/trainer/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/snapshot.h"
#include "trainer/job.h"

#define MINUTE 60000

static void finishes(void **state)
{
    struct world w;
    struct node n;
    char text[256];

    world_open(&w, 1);
    world_documents(&w, 10, 10);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    world_run(&w, 1000);
    world_check_finished(&w, "r1");
    assert_string_equal(world_board(&w, "r1", "state", text), "FINISHED");
    assert_string_equal(world_board(&w, "r1", "model", text), "search");
    assert_string_equal(world_board(&w, "r1", "step", text), "10");
    assert_int_equal(w.children, 1);
    assert_true(world_has(&w, "open/acme/r1")); /* the publisher's to remove */
    assert_true(world_messages(&w, "tripline.done") >= 1);
    assert_true(world_count(&w, "owners/acme/runs/r1/attempts/1/logs/") > 0);
    /* only the newest checkpoints stay */
    assert_int_equal(world_count(&w, "owners/acme/runs/r1/attempts/1/checkpoints/"), 2);
    node_stop(&n);
    assert_int_equal(n.rc, 0);
    world_close(&w);
}

static void waits_for_ingest(void **state)
{
    struct world w;
    struct node n;
    char text[256];

    world_open(&w, 2);
    world_documents(&w, 10, 6);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    world_run(&w, 20000);
    assert_int_equal(world_state(&w, "r1"), -1);
    assert_string_equal(world_board(&w, "r1", "phase", text), "waiting");
    assert_false(world_has(&w, "owners/acme/runs/r1/snapshot.json"));
    world_documents(&w, 20, 0); /* later ones need not be waited for */
    world_documents(&w, 20, 8);
    world_run(&w, 5000);
    assert_false(world_has(&w, "owners/acme/runs/r1/snapshot.json"));
    world_documents(&w, 20, 12);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    node_stop(&n);
    world_close(&w);
}

static void gives_up_waiting(void **state)
{
    struct world w;
    struct node n;
    struct arena a;

    world_open(&w, 3);
    world_documents(&w, 10, 6);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", 2 * MINUTE), JOB_FAILED);
    arena_init(&a, 1 << 20);
    assert_non_null(strstr(world_end(&w, "r1", &a).reason, "offset 6 of 10"));
    arena_release(&a);
    node_stop(&n);
    world_close(&w);
}

/* A run that waits longer gives its turn to others, and loses no attempt by that. */
static void waiting_blocks_nobody(void **state)
{
    struct world w;
    struct node n;

    world_open(&w, 40);
    w.wait_ms = 30 * MINUTE;
    world_documents(&w, 10, 4);
    world_job(&w, "r1", ",\"priority\":5,\"max_attempts\":1");
    node_start(&n, &w, "a", 0);
    world_run(&w, 5000);
    world_message(&w, "other",
                  "{\"run\":\"other\",\"dataset\":\"none\",\"model\":\"m\","
                  "\"backbone\":\"tiny\"}"); /* ends at once, in its turn */
    assert_int_equal(world_until_end(&w, "other", 3 * MINUTE), JOB_FAILED);
    assert_int_equal(world_state(&w, "r1"), -1);
    world_documents(&w, 10, 10);
    assert_int_equal(world_until_end(&w, "r1", 5 * MINUTE), JOB_FINISHED);
    assert_int_equal(w.children, 1);
    node_stop(&n);
    world_close(&w);
}

/* A new topic under the old name: the old chain's end says nothing of it. */
static void recreated_topic_is_awaited(void **state)
{
    static const struct bus_topic topic = {"tripline.docs.acme.news", 1, NULL};
    struct world w;
    struct node n;
    struct err e = ERR_INIT;

    world_open(&w, 41);
    world_documents(&w, 12, 12);
    assert_int_equal(bus_mem_delete_topic(w.bus, topic.name, &e), 0);
    assert_int_equal(bus_create_topics(w.bus, &topic, 1, &e), 0);
    world_documents(&w, 5, 0);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    world_run(&w, 20000);
    assert_false(world_has(&w, "owners/acme/runs/r1/snapshot.json"));
    w.incarnation = 1;
    world_documents(&w, 5, 5);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    world_check_finished(&w, "r1");
    node_stop(&n);
    world_close(&w);
}

/* A closed chain says nothing of the topic that is there, however far it came; and is no data. */
static void closed_chain_is_followed(void **state)
{
    struct snapshot s;
    struct world w;
    struct node n;
    struct arena a;

    world_open(&w, 42);
    world_documents(&w, 8, 8);
    world_close_chain(&w, 8);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    world_run(&w, 20000);
    assert_false(world_has(&w, "owners/acme/runs/r1/snapshot.json"));
    w.incarnation = 1;
    world_documents(&w, 8, 8);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    world_check_finished(&w, "r1");
    arena_init(&a, 1 << 20);
    world_snapshot(&w, "r1", &a, &s);
    assert_int_equal(s.chain_count, 2);
    assert_int_equal(s.chains[0].segment_count, 2);
    assert_int_equal(s.chains[0].next, 8);
    assert_int_equal(s.documents, 16);
    arena_release(&a);
    node_stop(&n);
    world_close(&w);
}

static void empty_dataset_fails(void **state)
{
    struct world w;
    struct node n;

    world_open(&w, 4);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FAILED);
    world_run(&w, 2000);
    assert_false(world_has(&w, "open/acme/r1"));
    node_stop(&n);
    world_close(&w);
}

static void unknown_backbone_fails(void **state)
{
    struct world w;
    struct node n;
    struct arena a;

    world_open(&w, 5);
    world_documents(&w, 4, 4);
    world_message(&w, "r1",
                  "{\"run\":\"r1\",\"dataset\":\"news\",\"model\":\"m\",\"backbone\":\"none\"}");
    world_job(&w, "r2",
              ",\"backbone_sha256\":"
              "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FAILED);
    assert_int_equal(world_until_end(&w, "r2", MINUTE), JOB_FAILED);
    arena_init(&a, 1 << 20);
    assert_non_null(strstr(world_end(&w, "r1", &a).reason, "no backbone none"));
    assert_non_null(strstr(world_end(&w, "r2", &a).reason, "the job pins"));
    arena_release(&a);
    node_stop(&n);
    world_close(&w);
}

static void duplicates_and_other_jobs(void **state)
{
    struct world w;
    struct node n;

    world_open(&w, 6);
    world_documents(&w, 4, 4);
    world_job(&w, "r1", "");
    world_job(&w, "r1", "");
    world_job(&w, "r1", ",\"priority\":3"); /* another job under that name */
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    world_job(&w, "r1", ""); /* late */
    world_run(&w, 20000);
    world_check_finished(&w, "r1");
    assert_int_equal(w.children, 1);
    assert_int_equal(world_messages(&w, "tripline.rejected.acme"), 1);
    node_stop(&n);
    world_close(&w);
}

static void bad_jobs(void **state)
{
    struct world w;
    struct node n;
    struct arena a;

    world_open(&w, 7);
    world_documents(&w, 4, 4);
    world_message(&w, "r1", "{\"run\":\"r1\",\"dataset\":\"news\"}");
    world_message(&w, NULL, "garbage");
    world_message(&w, "../x", "{\"run\":\"../x\"}");
    world_job(&w, "r2", "");
    world_message(&w, "r2", "{\"run\":\"r2\",\"dataset\":7}"); /* does r2 no harm */
    world_job(&w, "r1", "");                                   /* the name is taken */
    world_job(&w, "r3", ",\"parameters\":{\"loss\":\"supcon\",\"swap\":true}");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FAILED);
    assert_int_equal(world_until_end(&w, "r2", MINUTE), JOB_FINISHED);
    arena_init(&a, 1 << 20);
    assert_non_null(strstr(world_end(&w, "r1", &a).reason, "model"));
    assert_int_equal(world_end(&w, "r1", &a).attempt, 0);
    assert_int_equal(world_until_end(&w, "r3", MINUTE), JOB_FAILED);
    assert_non_null(strstr(world_end(&w, "r3", &a).reason, "swap belongs to the loss triplet"));
    assert_false(world_has(&w, "owners/acme/runs/r3/job.json"));
    arena_release(&a);
    assert_int_equal(world_messages(&w, "tripline.rejected.acme"), 4);
    assert_false(world_has(&w, "owners/acme/runs/r1/job.json"));
    node_stop(&n);
    world_close(&w);
}

/* A cancel at any moment: one end, and the run stops. */
static void cancels(void **state)
{
    static const int64_t moments[] = {0, 50, 700, 1500, 2500, 4000, 5500, 6500, 20000};
    struct world w;
    struct node n;
    size_t i;
    int end;

    for (i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        world_open(&w, 10 + i);
        world_documents(&w, 4, 4);
        world_job(&w, "r1", "");
        node_start(&n, &w, "a", 0);
        world_run(&w, moments[i]);
        world_cancel(&w, "r1");
        world_cancel(&w, "r1");
        end = world_until_end(&w, "r1", MINUTE);
        assert_true(end == JOB_CANCELLED || end == JOB_FINISHED);
        assert_true(end == JOB_CANCELLED || moments[i] > 4000);
        assert_true(end == JOB_FINISHED || moments[i] < 20000);
        world_run(&w, 30000);
        assert_int_equal(world_state(&w, "r1"), end);
        assert_true(w.children <= 1);
        assert_int_equal(world_has(&w, "open/acme/r1"), end == JOB_FINISHED);
        node_stop(&n);
        world_close(&w);
    }
}

static void cancel_of_nothing(void **state)
{
    struct world w;
    struct node n;

    world_open(&w, 30);
    world_cancel(&w, "r9");
    node_start(&n, &w, "a", 0);
    world_run(&w, 5000);
    assert_int_equal(world_state(&w, "r9"), -1);
    assert_int_equal(world_messages(&w, "tripline.rejected.acme"), 1);
    node_stop(&n);
    world_close(&w);
}

static void crash_is_retried(void **state)
{
    struct world w;
    struct node n;

    world_open(&w, 31);
    w.script = PLAY_CRASH_ONCE;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", 2 * MINUTE), JOB_FINISHED);
    world_check_finished(&w, "r1");
    assert_int_equal(w.children, 2);
    assert_int_equal(w.resumed, 1);
    node_stop(&n);
    world_close(&w);
}

static void crashes_end_the_run(void **state)
{
    struct world w;
    struct node n[2];
    struct run_end end;
    struct arena a;

    world_open(&w, 32);
    w.script = PLAY_CRASH;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", ",\"max_attempts\":3");
    node_start(&n[0], &w, "a", 0);
    node_start(&n[1], &w, "b", 0);
    assert_int_equal(world_until_end(&w, "r1", 5 * MINUTE), JOB_FAILED);
    world_run(&w, MINUTE);
    assert_int_equal(w.children, 3);
    arena_init(&a, 1 << 20);
    end = world_end(&w, "r1", &a);
    assert_int_equal(end.attempt, 3);
    assert_non_null(strstr(end.reason, "something broke"));
    assert_non_null(strstr(end.reason, "SIGSEGV"));
    arena_release(&a);
    node_stop(&n[0]);
    node_stop(&n[1]);
    world_close(&w);
}

static int find_warning(void *arg, const char *key, uint64_t size)
{
    struct world *w = ((void **)arg)[0];
    int *seen = ((void **)arg)[1];
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, size + 1);
    assert_int_equal(blob_get(w->blob, key, &b, &e), 0);
    *seen += strstr(b.data, "classes are too many for snapshot.json") != NULL;
    buf_release(&b);
    return 0;
}

/* How many classes the snapshot lists. Its run's log says so when it lists none. */
static size_t classes_listed(struct world *w, int64_t classes)
{
    struct snapshot s;
    struct err e = ERR_INIT;
    struct arena a;
    size_t listed;
    int warnings = 0;
    void *arg[] = {w, &warnings};

    arena_init(&a, (size_t)512 << 20);
    world_snapshot(w, "r1", &a, &s);
    assert_int_equal(s.classes, classes);
    assert_int_equal(s.documents, classes);
    listed = s.label_count;
    arena_release(&a);
    assert_int_equal(
        blob_list(w->blob, "owners/acme/runs/r1/attempts/1/logs/", NULL, find_warning, arg, &e), 0);
    assert_int_equal(warnings, listed == 0);
    return listed;
}

/* A snapshot lists its classes unless they are too many, or too long for a record. Whichever: a
 * second attempt reads it. */
static void many_classes(void **state)
{
    static const struct {
        int classes, label_bytes, segment_docs;
        bool listed;
    } cases[] = {{65536, 0, 40000, true}, {65537, 0, 40000, false}, {34000, 1000, 4000, false}};
    struct world w;
    struct node n;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world_open(&w, 36);
        w.script = PLAY_CRASH_ONCE;
        w.classes = cases[i].classes;
        w.label_bytes = cases[i].label_bytes;
        w.segment_docs = cases[i].segment_docs;
        world_documents(&w, w.classes, w.classes);
        world_job(&w, "r1", "");
        node_start(&n, &w, "a", 0);
        assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
        world_check_finished(&w, "r1");
        assert_int_equal(w.children, 2);
        assert_int_equal(classes_listed(&w, w.classes), cases[i].listed ? w.classes : 0);
        node_stop(&n);
        world_close(&w);
    }
}

static void refusal_is_final(void **state)
{
    struct world w;
    struct node n;
    struct arena a;

    world_open(&w, 33);
    w.script = PLAY_REFUSE;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FAILED);
    assert_int_equal(w.children, 1);
    arena_init(&a, 1 << 20);
    assert_string_equal(world_end(&w, "r1", &a).reason, "all documents have one label");
    arena_release(&a);
    node_stop(&n);
    world_close(&w);
}

static void links_do_not_leave_the_folder(void **state)
{
    struct world w;
    struct node n;

    world_open(&w, 34);
    w.script = PLAY_LINK;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", ",\"max_attempts\":1");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FAILED);
    assert_int_equal(world_count(&w, "owners/acme/runs/r1/attempts/1/model/"), 0);
    node_stop(&n);
    world_close(&w);
}

static void garbage_is_passed_over(void **state)
{
    struct world w;
    struct node n;

    world_open(&w, 35);
    w.script = PLAY_GARBAGE;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    world_check_finished(&w, "r1");
    node_stop(&n);
    world_close(&w);
}

/* Finished, and its end says so; a run without that word has none. */
static void worse_is_said(void **state)
{
    struct world w;
    struct node n;
    struct arena a;

    world_open(&w, 37);
    world_documents(&w, 4, 4);
    node_start(&n, &w, "a", 0);
    arena_init(&a, 1 << 20);
    world_job(&w, "r1", "");
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    assert_null(world_end(&w, "r1", &a).reason);
    w.script = PLAY_WORSE;
    world_job(&w, "r2", "");
    assert_int_equal(world_until_end(&w, "r2", MINUTE), JOB_FINISHED);
    world_check_finished(&w, "r2");
    assert_string_equal(world_end(&w, "r2", &a).reason, "IT GOT WORSE");
    arena_release(&a);
    node_stop(&n);
    world_close(&w);
}

/* A drained worker hands its run over at once; that attempt doesn't count. */
static void drain_hands_over(void **state)
{
    struct world w;
    struct node n[2];
    int64_t at;

    world_open(&w, 36);
    world_documents(&w, 4, 4);
    world_job(&w, "r1", ",\"max_attempts\":1");
    node_start(&n[0], &w, "a", 0);
    world_run(&w, 3500);
    assert_int_equal(w.children, 1);
    node_stop(&n[0]);
    assert_int_equal(n[0].rc, 0);
    assert_true(world_has(&w, "owners/acme/runs/r1/attempts/1/" ATTEMPT_RELEASED));
    at = clock_mono_ms(w.clock);
    node_start(&n[1], &w, "b", 0);
    world_run(&w, 1500);
    assert_int_equal(w.children, 2);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    assert_true(clock_mono_ms(w.clock) - at < 10000);
    assert_int_equal(w.resumed, 1);
    world_check_finished(&w, "r1");
    node_stop(&n[1]);
    world_close(&w);
}

/* A worker that can't renew its lease: another begins attempt 2, the first stops. */
static void lost_lease(void **state)
{
    struct world w;
    struct node n[2];
    struct arena a;

    world_open(&w, 37);
    w.steps = 40;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", "");
    node_start(&n[0], &w, "a", 0);
    world_run(&w, 4000);
    assert_int_equal(w.children, 1);
    n[0].frozen = true;
    node_start(&n[1], &w, "b", 0);
    world_run(&w, 5000);
    assert_true(world_has(&w, "owners/acme/runs/r1/attempts/2.json"));
    assert_int_equal(w.children, 2);
    assert_int_equal(w.resumed, 1);
    n[0].frozen = false;
    assert_int_equal(world_until_end(&w, "r1", 2 * MINUTE), JOB_FINISHED);
    arena_init(&a, 1 << 20);
    assert_int_equal(world_end(&w, "r1", &a).attempt, 2);
    arena_release(&a);
    assert_false(world_has(&w, "owners/acme/runs/r1/attempts/1/manifest.json"));
    world_check_finished(&w, "r1");
    node_stop(&n[0]);
    node_stop(&n[1]);
    world_close(&w);
}

/* An only attempt of n[0] that is well and not heard of: n[1] makes another, and it hands over. */
static void take_over(struct world *w, uint64_t seed, struct node n[2], int upload_ms)
{
    world_open(w, seed);
    w->steps = 40;
    world_documents(w, 4, 4);
    world_job(w, "r1", ",\"max_attempts\":1");
    node_start(&n[0], w, "a", 0);
    n[0].upload_ms = upload_ms;
    world_run(w, 4000);
    n[0].frozen = true;
    node_start(&n[1], w, "b", 0);
    world_run(w, 6000);
    assert_true(world_has(w, "owners/acme/runs/r1/attempts/2.json"));
    assert_true(world_has(w, "owners/acme/runs/r1/attempts/1/" ATTEMPT_RELEASED));
}

/* The first attempt was well, only unheard of: it doesn't count, and the run goes on from it. */
static void a_lost_lease_is_no_failure(void **state)
{
    struct world w;
    struct node n[2];

    take_over(&w, 42, n, 0);
    n[0].frozen = false;
    assert_int_equal(world_until_end(&w, "r1", 2 * MINUTE), JOB_FINISHED);
    world_check_finished(&w, "r1");
    assert_int_equal(w.children, 2);
    assert_int_equal(w.resumed, 1);
    node_stop(&n[0]);
    node_stop(&n[1]);
    world_close(&w);
}

/* It is well, though what it sends takes longer than a lease: its heartbeat hands over. */
static void a_slow_upload_is_no_death(void **state)
{
    struct world w;
    struct node n[2];

    take_over(&w, 46, n, 12000 /* four leases */);
    assert_int_equal(world_until_end(&w, "r1", 2 * MINUTE), JOB_FINISHED);
    world_check_finished(&w, "r1");
    node_stop(&n[0]);
    node_stop(&n[1]);
    world_close(&w);
}

/* Its worker died with it: another attempt finds nobody alive, and says so. */
static void dead_workers_end_the_run(void **state)
{
    struct world w;
    struct node n[2];
    struct run_end end;
    struct arena a;

    world_open(&w, 43);
    w.steps = 40;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", ",\"max_attempts\":1");
    node_start(&n[0], &w, "a", 0);
    world_run(&w, 4000);
    n[0].crash_at = 1;
    world_run(&w, 2000);
    assert_true(n[0].crashed);
    node_stop(&n[0]);
    node_start(&n[1], &w, "b", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FAILED);
    arena_init(&a, 1 << 20);
    end = world_end(&w, "r1", &a);
    assert_int_equal(end.attempt, 2);
    assert_string_equal(end.reason, "1 attempts were made, none came to an end");
    arena_release(&a);
    assert_int_equal(w.children, 1);
    node_stop(&n[1]);
    world_close(&w);
}

/* While a slow store takes a checkpoint, steps are told and the lease is renewed. */
static void a_slow_upload_stalls_nothing(void **state)
{
    struct world w;
    struct node n;
    char text[256];

    world_open(&w, 44);
    w.steps = 40;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", ",\"max_attempts\":1");
    node_start(&n, &w, "a", 0);
    n.upload_ms = 12000; /* four leases */
    world_run(&w, 9000);
    assert_int_equal(world_count(&w, "owners/acme/runs/r1/attempts/1/checkpoints/"), 0);
    assert_true(atoi(world_board(&w, "r1", "step", text)) >= 12);
    assert_int_equal(world_until_end(&w, "r1", 3 * MINUTE), JOB_FINISHED);
    world_check_finished(&w, "r1");
    assert_int_equal(w.children, 1);
    assert_false(world_has(&w, "owners/acme/runs/r1/attempts/2.json"));
    assert_int_equal(world_count(&w, "owners/acme/runs/r1/attempts/1/checkpoints/"), 2);
    node_stop(&n);
    world_close(&w);
}

struct reading {
    struct blob *blob;
    struct buf text;
};

static int add_object(void *arg, const char *key, uint64_t size)
{
    struct reading *r = arg;
    struct err e = ERR_INIT;
    struct buf one;

    (void)size;
    buf_init(&one, 1 << 20);
    assert_int_equal(blob_get(r->blob, key, &one, &e), 0);
    buf_add(&r->text, one.data, one.len);
    buf_release(&one);
    return 0;
}

/* A slip in a parameter's name would train with the default: the log says so. */
static void unknown_parameters_are_told(void **state)
{
    struct world w;
    struct node n;
    struct reading log;
    struct err e = ERR_INIT;

    world_open(&w, 46);
    world_documents(&w, 4, 4);
    world_job(&w, "r1", ",\"parameters\":{\"epochs\":1,\"batch_size\":8},\"colour\":1");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
    log.blob = w.blob;
    buf_init(&log.text, 1 << 20);
    assert_int_equal(
        blob_list(w.blob, "owners/acme/runs/r1/attempts/1/logs/", NULL, add_object, &log, &e), 0);
    assert_non_null(
        strstr(log.text.data, "\"parameters.batch_size: this version does not know it"));
    assert_non_null(strstr(log.text.data, "\"colour: this version does not know it"));
    assert_null(strstr(log.text.data, "epochs: this version"));
    buf_release(&log.text);
    node_stop(&n);
    world_close(&w);
}

static void as_many_checkpoints_as_asked_stay(void **state)
{
    struct world w;
    struct node n;
    char key[128];
    int step;

    world_open(&w, 45);
    w.steps = 18;
    w.checkpoints = 4;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", "");
    node_start(&n, &w, "a", 0);
    assert_int_equal(world_until_end(&w, "r1", 3 * MINUTE), JOB_FINISHED);
    assert_int_equal(world_count(&w, "owners/acme/runs/r1/attempts/1/checkpoints/"), 4);
    for (step = 9; step <= 18; step += 3) {
        snprintf(key, sizeof key, "owners/acme/runs/r1/attempts/1/checkpoints/%020d.ckpt", step);
        assert_true(world_has(&w, key));
    }
    node_stop(&n);
    world_close(&w);
}

/* FLUSHALL: what waits is queued again, what runs goes on undisturbed. */
static void flush_is_rebuilt(void **state)
{
    struct world w;
    struct node n[2];
    char text[256];

    world_open(&w, 38);
    w.steps = 60;
    world_documents(&w, 4, 4);
    world_job(&w, "r1", "");
    world_job(&w, "r2", "");
    world_job(&w, "r3", "");
    node_start(&n[0], &w, "a", 0);
    world_run(&w, 5000);
    board_mem_flush(w.board);
    node_start(&n[1], &w, "b", 0);
    world_run(&w, 500);
    assert_int_equal(world_until_end(&w, "r1", 3 * MINUTE), JOB_FINISHED);
    assert_int_equal(world_until_end(&w, "r2", 3 * MINUTE), JOB_FINISHED);
    assert_int_equal(world_until_end(&w, "r3", 3 * MINUTE), JOB_FINISHED);
    assert_int_equal(w.children, 3);
    assert_false(world_has(&w, "owners/acme/runs/r1/attempts/2.json"));
    board_mem_flush(w.board);
    world_run(&w, 20000); /* ends are told again */
    assert_string_equal(world_board(&w, "r1", "state", text), "FINISHED");
    node_stop(&n[0]);
    node_stop(&n[1]);
    world_close(&w);
}

/* Crashes at each of its port calls; another trainer brings the run to its one end. */
static void crash_at_every_call(void **state)
{
    struct world w;
    struct node n[2];
    long k, calls = 0;

    for (k = 0; k == 0 || k <= calls; k++) {
        world_open(&w, 1000 + (uint64_t)k);
        w.steps = 6;
        world_documents(&w, 4, 4);
        world_job(&w, "r1", ",\"max_attempts\":4");
        node_start(&n[0], &w, "a", k);
        if (k == 0) {
            assert_int_equal(world_until_end(&w, "r1", MINUTE), JOB_FINISHED);
            world_run(&w, 1000);
            calls = n[0].calls;
            n[1].trainer = NULL;
        } else {
            while (!n[0].crashed && clock_mono_ms(w.clock) < MINUTE)
                world_run(&w, 200);
            node_stop(&n[0]);
            node_start(&n[1], &w, "b", 0);
            assert_int_equal(world_until_end(&w, "r1", 5 * MINUTE), JOB_FINISHED);
            world_run(&w, 20000);
        }
        world_check_finished(&w, "r1");
        assert_true(world_messages(&w, "tripline.done") >= 1);
        assert_true(w.children <= 2);
        node_stop(&n[0]);
        node_stop(&n[1]);
        world_close(&w);
    }
    print_message("%ld port calls\n", calls);
    assert_true(calls > 40);
}

/* Many seeds: three trainers, runs, a cancelling user, crashes, a flush. */
static void chaos(void **state)
{
    static const char *const runs[] = {"r1", "r2", "r3", "r4"};
    struct world w;
    struct node n[3];
    uint64_t seed;
    size_t i;
    int end;

    for (seed = 1; seed <= 20; seed++) {
        world_open(&w, seed);
        world_documents(&w, 8, 8);
        for (i = 0; i < 4; i++)
            world_job(&w, runs[i], ",\"max_attempts\":9");
        node_start(&n[0], &w, "a", (long)(clock_random_u64(w.clock) % 200));
        node_start(&n[1], &w, "b", (long)(clock_random_u64(w.clock) % 400));
        world_run(&w, (int64_t)(clock_random_u64(w.clock) % 8000));
        world_cancel(&w, "r2");
        board_mem_flush(w.board);
        node_start(&n[2], &w, "c", 0);
        for (i = 0; i < 4; i++) {
            end = world_until_end(&w, runs[i], 10 * MINUTE);
            assert_true(end == JOB_FINISHED || (i == 1 && end == JOB_CANCELLED));
            if (end == JOB_FINISHED)
                world_check_finished(&w, runs[i]);
        }
        for (i = 0; i < 3; i++)
            node_stop(&n[i]);
        world_close(&w);
    }
}

static void transitions(void **state)
{
    int from, to;

    for (from = 0; from < JOB_STATES; from++)
        for (to = 0; to < JOB_STATES; to++) {
            bool may = from == JOB_CREATED   ? to != JOB_FINISHED
                       : from == JOB_STARTED ? to != JOB_CREATED
                                             : false;

            assert_int_equal(job_may((enum job_state)from, (enum job_state)to), may);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transitions),
        cmocka_unit_test(finishes),
        cmocka_unit_test(waits_for_ingest),
        cmocka_unit_test(gives_up_waiting),
        cmocka_unit_test(waiting_blocks_nobody),
        cmocka_unit_test(recreated_topic_is_awaited),
        cmocka_unit_test(closed_chain_is_followed),
        cmocka_unit_test(empty_dataset_fails),
        cmocka_unit_test(unknown_backbone_fails),
        cmocka_unit_test(duplicates_and_other_jobs),
        cmocka_unit_test(bad_jobs),
        cmocka_unit_test(cancels),
        cmocka_unit_test(cancel_of_nothing),
        cmocka_unit_test(crash_is_retried),
        cmocka_unit_test(crashes_end_the_run),
        cmocka_unit_test(many_classes),
        cmocka_unit_test(refusal_is_final),
        cmocka_unit_test(links_do_not_leave_the_folder),
        cmocka_unit_test(garbage_is_passed_over),
        cmocka_unit_test(worse_is_said),
        cmocka_unit_test(drain_hands_over),
        cmocka_unit_test(lost_lease),
        cmocka_unit_test(a_lost_lease_is_no_failure),
        cmocka_unit_test(a_slow_upload_is_no_death),
        cmocka_unit_test(dead_workers_end_the_run),
        cmocka_unit_test(a_slow_upload_stalls_nothing),
        cmocka_unit_test(unknown_parameters_are_told),
        cmocka_unit_test(as_many_checkpoints_as_asked_stay),
        cmocka_unit_test(flush_is_rebuilt),
        cmocka_unit_test(crash_at_every_call),
        cmocka_unit_test(chaos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
