/* tripline-ingest: settings, ports, and the loop of ingest.h. */
#include <malloc.h>
#include <stddef.h>

#include "ingest/ingest.h"
#include "platform/conf/conf.h"
#include "platform/proc/service.h"

#define AT(field) offsetof(struct ingest_options, field)
#define MIB       1048576.0
#define MINUTE    60000.0

static const struct conf_row rows[] = {
    {.key = "ingest.segment_size",
     .type = CONF_SIZE,
     .offset = AT(segment_bytes),
     .initial = "8M",
     .min = 65536,
     .max = 48 * MIB,
     .help = "A segment is cut when it has so many bytes."},
    {.key = "ingest.segment_records",
     .type = CONF_INT,
     .offset = AT(segment_records),
     .initial = "200000",
     .min = 1,
     .max = 10000000,
     .help = "A segment is cut when it has so many records."},
    {.key = "ingest.segment_age",
     .type = CONF_DURATION,
     .offset = AT(segment_age_ms),
     .initial = "30s",
     .min = 100,
     .max = 60 * MINUTE,
     .help = "A segment is cut when it was begun so long ago. A push ends with a seal, which cuts "
             "at once."},
    {.key = "ingest.compression",
     .type = CONF_INT,
     .offset = AT(zstd_level),
     .initial = "1",
     .min = 1,
     .max = 19,
     .help = "zstd's level for segments: a higher one makes them smaller and takes more time."},
    {.key = "ingest.memory",
     .type = CONF_SIZE,
     .offset = AT(memory_bytes),
     .initial = "48M",
     .min = MIB,
     .max = 65536 * MIB,
     .help =
         "Unwritten segments of all partitions together. At the bound the largest is cut; while "
         "the store does not answer, reading pauses."},
    {.key = "ingest.uri_size",
     .type = CONF_SIZE,
     .offset = AT(uri_bytes),
     .initial = "16M",
     .min = 1,
     .max = 1024 * MIB,
     .help =
         "The largest object that a document's uri may name; it is read to record its SHA-256."},
    {.key = "ingest.recreated_after",
     .type = CONF_DURATION,
     .offset = AT(recreated_ms),
     .initial = "30s",
     .min = 1000,
     .max = 60 * MINUTE,
     .help = "A partition that ends before what was taken from it, for so long, belongs to a topic "
             "that was re-created: a new incarnation begins."},
    {.key = "ingest.session_timeout",
     .type = CONF_DURATION,
     .offset = AT(session_timeout_ms),
     .initial = "10s",
     .min = 1000,
     .max = 5 * MINUTE,
     .help = "How long after its last sign of life an ingester's partitions go to others. Brokers "
             "allow 6s to 30m unless they are told otherwise."},
    {.key = "ingest.drain",
     .type = CONF_DURATION,
     .offset = AT(drain_ms),
     .initial = "20s",
     .min = 0,
     .max = 10 * MINUTE,
     .help =
         "Patience with the servers once a stop was asked for. What is not written then is read "
         "again from Kafka."},
};

static int add_settings(void *self, struct conf *c, struct err *e)
{
    int rc;

    /* a store that does not answer must not hold up the consumer group */
    if ((rc = conf_default(c, "s3.deadline", "20s", e)) < 0)
        return rc;
    return conf_add(c, rows, sizeof rows / sizeof rows[0], self, e);
}

static int check(void *self, struct service_context *x, struct err *e)
{
    (void)self;
    return ports_check(x->ports, "tripline-check", NULL, "owners/", e);
}

static void ready(void *arg, bool is, const char *why)
{
    service_set_ready(arg, is, why);
}

static int run(void *self, struct service_context *x, struct err *e)
{
    struct ingest_options *o = self;
    const struct ingest_ports p = {.clock = x->ports->clock,
                                   .bus = x->ports->bus,
                                   .blob = x->ports->blob,
                                   .metrics = x->metrics,
                                   .ready = ready,
                                   .ready_arg = x};
    struct ingest *in = NULL;
    int rc;

    o->prefix = x->settings->tripline.prefix;
    o->bucket = x->settings->s3.bucket;
    service_set_ready(x, false, "no partition is assigned yet");
    if ((rc = ingest_new(&in, o, &p, e)) < 0)
        return rc;
    rc = ingest_run(in, e);
    ingest_free(in);
    return rc;
}

/*
 * Segments are a few large blocks that come and go beside millions of small messages. Kept out of
 * the heap they don't fragment it: without this, the process holds twice what it uses.
 */
static void tune_heap(void)
{
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
    mallopt(M_ARENA_MAX, 2);
}

int main(int argc, char **argv)
{
    struct ingest_options options;
    const struct service service = {
        .name = "tripline-ingest",
        .about = "writes labeled documents from Kafka into segments in S3",
        .parts = SETTINGS_KAFKA | SETTINGS_S3 | SETTINGS_NAMES | SETTINGS_LOG | SETTINGS_HTTP,
        .http_address = "127.0.0.1:9181",
        .self = &options,
        .settings = add_settings,
        .check = check,
        .run = run};

    tune_heap();
    ingest_options_init(&options);
    return service_main(&service, argc, argv);
}
