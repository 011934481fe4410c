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
    "ingest.commits-first",      /* the offset before the segment, and believes it */
    "ingest.overwrites",         /* segments are put, not created */
    "ingest.lost-is-won",        /* who loses a create goes on as if it had won */
    "ingest.missing-silent",     /* what Kafka no longer has is passed over */
    "ingest.missing-early",      /* a gap is stated up to what Kafka still has */
    "ingest.copies-later",       /* a segment is created before the copies of its rejections */
    "ingest.recreated-unseen",   /* the chain's last record is not compared */
    "ingest.passes-over",        /* what could not be taken is left out */
    "ingest.chain-not-reread",   /* what is remembered of a chain is believed */
    "intake.commits-first",      /* the offset before job.json */
    "intake.no-marker",          /* job.json without open/<owner>/<run> */
    "worker.attempt-overwrites", /* attempts/<n>.json is put, not created */
    "run.end-overwrites",        /* end.json is put, not created */
    "run.marker-first",          /* open/<owner>/<run> goes before the message on done */
    "sweep.none",                /* nobody looks at open/ */
    "publish.again",             /* runs that have their event are not remembered */
    "publish.key-outside",       /* the key on published in a transaction of its own */
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
