#include "tests/sim/plant.h"

#include <stddef.h>
#include <string.h>

#include "platform/base/failpoint.h"

/*
 * Most are planted in tests/model, too. An id of its own for each life of a publisher is no defect
 * alone: who asks for the committed offset waits for what is open (VARIANT_ID_PER_PROCESS in
 * tests/model). So publish.not-fenced leaves out both.
 */
const char *const plant_names[] = {
    "ingest.forgets",
    "ingest.commits-first",       /* the offset before the segment, and believes it */
    "ingest.overwrites",          /* segments are put, not created */
    "ingest.lost-is-won",         /* who loses a create goes on as if it had won */
    "ingest.loser-reads-on",      /* who loses a create does not go back to the chain's end */
    "ingest.missing-silent",      /* what Kafka no longer has is passed over */
    "ingest.missing-early",       /* a gap is stated up to what Kafka still has */
    "ingest.missing-too-much",    /* a gap is stated up to the end of what Kafka has */
    "ingest.copies-later",        /* a segment is created before the copies of its rejections */
    "ingest.recreated-unseen",    /* nothing is compared */
    "ingest.last-record-only",    /* nothing but the chain's last record is compared */
    "ingest.chain-alone",         /* the open segment is not compared */
    "ingest.not-compared-at-cut", /* only who takes a partition over compares */
    "ingest.no-watch",            /* a quiet partition is not compared */
    "ingest.absent-is-new",       /* a record that is gone proves another topic */
    "ingest.begins-unclosed",     /* the next incarnation, and the chain before stays open */
    "ingest.passes-over",         /* what could not be taken is left out */
    "ingest.chain-not-reread",    /* what is remembered of a chain is believed */
    "intake.commits-first",       /* the offset before job.json */
    "intake.no-marker",           /* job.json without open/<owner>/<run> */
    "intake.marker-later",        /* open/<owner>/<run> behind job.json */
    "cancel.answers-itself",      /* a cancel that came too late does not read the end */
    "store.own-is-lost",          /* one's own create that is there already is another's */
    "worker.attempt-overwrites",  /* attempts/<n>.json is put, not created */
    "attempt.gives-up",           /* attempts are used up: the run has failed at once */
    "attempt.crash-released",     /* who crashed hands over, and that is not counted */
    "run.end-overwrites",         /* end.json is put, not created */
    "run.end-first",              /* end.json before the manifest */
    "run.marker-first",           /* open/<owner>/<run> goes before the message on done */
    "sweep.none",                 /* nobody looks at open/ */
    "sweep.tidies",               /* a marker without job.json is removed */
    "publish.again",              /* runs that have their event are not remembered */
    "publish.published-unread",   /* published is not read at a takeover */
    "publish.known-kept",         /* published is read once, not at each takeover */
    "publish.done-believed",      /* done says it: end.json does not count */
    "publish.marker-first",       /* open/<owner>/<run> goes when done is read */
    "publish.key-outside",        /* the key on published behind the transaction */
    "publish.key-before",         /* the key on published before the transaction */
    "publish.not-fenced", /* a transactional id for each life, nothing waits for what is open */
    "publish.reads-before-fence", /* the end of published from before the producer was opened */
    "publish.lost-commit-again",  /* a commit without an answer is done again */
    "publish.pending-kept",       /* an offset that came late stays pending */
    NULL};

static const char *planted;

int plant(const char *name)
{
    size_t i;

    planted = NULL;
    for (i = 0; name && plant_names[i]; i++)
        if (!strcmp(name, plant_names[i]))
            planted = plant_names[i];
    return name && !planted ? -1 : 0;
}

bool failpoint_defect(const char *name)
{
    return planted && !strcmp(planted, name);
}

/* Crashes come from fate, at every call. */
void failpoint_pass(const char *name)
{
    (void)name;
}
