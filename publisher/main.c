/* tripline-publisher: settings, ports, and the loop of publisher.h. */
#include <stddef.h>

#include "platform/conf/conf.h"
#include "platform/proc/service.h"
#include "publisher/publisher.h"

#define AT(field) offsetof(struct publisher_options, field)
#define MINUTE    60000.0

static const char *const modes[] = {"job", "structured", "binary", NULL};

static const struct conf_row rows[] = {
    {.key = "publisher.partitions",
     .type = CONF_INT,
     .offset = AT(partitions),
     .initial = "4",
     .min = 1,
     .max = 1000,
     .help = "Partitions of the topics done and published, where they have to be made. Their "
             "counts must be equal and may never change."},
    {.key = "publisher.event_mode",
     .type = CONF_ENUM,
     .offset = AT(mode),
     .initial = "job",
     .choices = modes,
     .help = "CloudEvents mode of model-ready events: structured (one JSON object), binary "
             "(attributes as headers), or what the job asks for (structured unless it says "
             "binary)."},
    {.key = "publisher.presign_max",
     .type = CONF_DURATION,
     .offset = AT(presign_ms),
     .initial = "7d",
     .min = 0,
     .max = 7 * 24 * 60 * MINUTE,
     .help = "Presigned URLs work no longer than this, whatever a job asks for; 0: none are made."},
    {.key = "publisher.retry",
     .type = CONF_DURATION,
     .offset = AT(retry_ms),
     .initial = "2s",
     .min = 100,
     .max = 60 * MINUTE,
     .help = "A run whose owner's topic is missing is tried again after so long, then after twice "
             "as long, and so on. Other owners' runs don't wait for it."},
    {.key = "publisher.retry_max",
     .type = CONF_DURATION,
     .offset = AT(retry_cap_ms),
     .initial = "1m",
     .min = 100,
     .max = 24 * 60 * MINUTE,
     .help = "The longest such wait."},
    {.key = "publisher.session_timeout",
     .type = CONF_DURATION,
     .offset = AT(session_ms),
     .initial = "10s",
     .min = 6000,
     .max = 30 * MINUTE,
     .help = "A publisher that is silent for so long loses its partitions to the others. The "
             "broker has bounds of its own."},
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
    struct publisher_options *o = self;
    const struct publisher_ports p = {.clock = x->ports->clock,
                                      .bus = x->ports->bus,
                                      .blob = x->ports->blob,
                                      .metrics = x->metrics,
                                      .ready = ready,
                                      .ready_arg = x};
    struct publisher *pub = NULL;
    int rc;

    o->prefix = x->settings->tripline.prefix;
    if ((rc = publisher_new(&pub, o, &p, e)) < 0)
        return rc;
    rc = publisher_run(pub, e);
    publisher_free(pub);
    return rc;
}

int main(int argc, char **argv)
{
    struct publisher_options options;
    const struct service service = {.name = "tripline-publisher",
                                    .about = "turns finished runs into model-ready events",
                                    .parts = SETTINGS_KAFKA | SETTINGS_S3 | SETTINGS_NAMES |
                                             SETTINGS_LOG | SETTINGS_HTTP,
                                    .http_address = "127.0.0.1:9183",
                                    .self = &options,
                                    .settings = add_settings,
                                    .check = check,
                                    .run = run};

    publisher_options_init(&options);
    return service_main(&service, argc, argv);
}
