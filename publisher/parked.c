/*
 * Runs whose event can't be written now though others' can: the owner's topic
 * is missing or refused. They must not hold up the partition, so its offset goes
 * past them; their marker open/<owner>/<run> remembers them, and a trainer's
 * sweep sends `done` again for as long as it is there. This list is only faster.
 */
#include "publisher/publisher_int.h"

#include <stdlib.h>
#include <string.h>

#include "platform/base/failpoint.h"

static struct parked *find(const struct part *p, const char *id)
{
    struct parked *item;

    for (item = p->parked; item; item = item->link)
        if (!strcmp(item->name.id, id))
            return item;
    return NULL;
}

static int keep_marker(struct publisher *pub, const struct run_name *name, struct err *e)
{
    char key[KEY_MAX];
    int rc = key_open(name->owner, name->run, key, e);

    return rc < 0 ? rc : blob_put(pub->p.blob, key, "", 0, e);
}

static int64_t pause_ms(struct publisher *pub, int tries)
{
    int64_t wait = pub->o.retry_ms;

    while (tries-- > 0 && wait < pub->o.retry_cap_ms)
        wait *= 2;
    return wait < pub->o.retry_cap_ms ? wait : pub->o.retry_cap_ms;
}

int parked_add(struct publisher *pub, struct part *p, const struct run_name *name, struct err *e)
{
    struct parked *item = find(p, name->id);
    int rc = DEFECT("publish.marker-first") ? 0 : keep_marker(pub, name, e);

    if (rc < 0)
        return rc;
    if (!item) {
        metric_add(pub->m.parked, 1, name->owner, NULL);
        if (p->parked_count >= PARKED_MAX || !(item = calloc(1, sizeof *item)))
            return 0;
        item->name = *name;
        item->link = p->parked;
        p->parked = item;
        p->parked_count++;
        pub->waiting++;
        item->due_ms = clock_mono_ms(pub->p.clock) + pause_ms(pub, 0);
    }
    metric_set(pub->m.waiting, (double)pub->waiting, NULL);
    return 0;
}

struct parked *parked_due(struct publisher *pub, struct part *p)
{
    struct parked *item;
    int64_t now = clock_mono_ms(pub->p.clock);

    for (item = p->parked; item; item = item->link)
        if (now >= item->due_ms)
            return item;
    return NULL;
}

void parked_again(struct publisher *pub, struct parked *item)
{
    item->tries++;
    item->due_ms = clock_mono_ms(pub->p.clock) + pause_ms(pub, item->tries);
}

void parked_drop(struct publisher *pub, struct part *p, struct parked *item)
{
    struct parked **at;

    for (at = &p->parked; *at && *at != item; at = &(*at)->link)
        ;
    if (!*at)
        return;
    *at = item->link;
    free(item);
    p->parked_count--;
    pub->waiting--;
    metric_set(pub->m.waiting, (double)pub->waiting, NULL);
}

void parked_release(struct publisher *pub, struct part *p)
{
    while (p->parked)
        parked_drop(pub, p, p->parked);
}
