#include "cli/send.h"

#include <string.h>

#include "platform/bus/bus.h"

#define SEND_MS 20000

static int send_bytes(struct client *c, const char *topic, const char *run, const struct buf *b,
                      struct err *e)
{
    static const char type[] = "application/json";
    const struct bus_header header = {HEADER_CONTENT_TYPE, type, sizeof type - 1};
    struct bus_producer_options o = {.message_timeout_ms = SEND_MS};
    struct bus_producer *p = NULL;
    const struct bus_message m = {.topic = topic,
                                  .partition = -1,
                                  .key = run,
                                  .key_len = strlen(run),
                                  .value = b->data,
                                  .value_len = b->len,
                                  .headers = &header,
                                  .header_count = 1};
    int rc;

    if ((rc = bus_producer_open(c->ports.bus, &o, NULL, NULL, &p, e)) == 0 &&
        (rc = bus_send(p, &m, NULL, e)) == 0)
        rc = bus_flush(p, SEND_MS + 5000, e);
    bus_producer_free(p);
    return rc;
}

int send_job(struct client *c, const struct job *job, struct err *e)
{
    char topic[KEY_MAX];
    struct buf b;
    int rc, count;

    if ((rc = topic_of(&c->keys, TOPIC_JOBS, c->owner, topic, e)) < 0)
        return rc;
    rc = bus_partitions(c->ports.bus, topic, &count, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND,
                       "owner %s has no topics yet: the operator runs `tripline owner create %s`",
                       c->owner, c->owner);
    if (rc < 0)
        return rc;
    buf_init(&b, RECORD_BYTES_MAX);
    if ((rc = job_write(job, RECORD_JSON, &b, e)) == 0)
        rc = send_bytes(c, topic, job->run, &b, e);
    buf_release(&b);
    return rc;
}
