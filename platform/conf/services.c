#include "platform/conf/services.h"

#include <stddef.h>

#define AT(field) offsetof(struct settings, field)
#define COUNT(a)  (sizeof(a) / sizeof(a)[0])

#define SECOND 1000.0
#define MINUTE 60000.0
#define MIB    1048576.0

const char *const settings_kafka_protocols[] = {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl",
                                                NULL};
static const char *const s3_clients[] = {"curl", "libs3", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};

static const struct conf_row kafka_rows[] = {
    {.key = "kafka.brokers",
     .type = CONF_STRING,
     .offset = AT(kafka.brokers),
     .env = "TRIPLINE_KAFKA",
     .help = "Kafka's bootstrap addresses: host:port, several with commas."},
    {.key = "kafka.security_protocol",
     .type = CONF_ENUM,
     .offset = AT(kafka.security_protocol),
     .initial = "plaintext",
     .choices = settings_kafka_protocols,
     .help = "How to speak to the brokers."},
    {.key = "kafka.ca_file",
     .type = CONF_PATH,
     .offset = AT(kafka.ca_file),
     .help = "PEM file of the authorities that sign the brokers' certificates; without it, the "
             "system's."},
    {.key = "kafka.cert_file",
     .type = CONF_PATH,
     .offset = AT(kafka.cert_file),
     .help = "PEM file of the client's certificate, for mutual TLS."},
    {.key = "kafka.key_file",
     .type = CONF_PATH,
     .offset = AT(kafka.key_file),
     .help = "PEM file of the client's private key."},
    {.key = "kafka.sasl_mechanism",
     .type = CONF_STRING,
     .offset = AT(kafka.sasl_mechanism),
     .max = 32,
     .help =
         "How the user is proved: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512. SCRAM with Kafka 4 needs "
         "librdkafka 2.6.1 or newer."},
    {.key = "kafka.username",
     .type = CONF_STRING,
     .offset = AT(kafka.username),
     .help = "SASL user name."},
    {.key = "kafka.password",
     .type = CONF_SECRET,
     .offset = AT(kafka.password),
     .help = "SASL password."},
};

static const struct conf_row s3_rows[] = {
    {.key = "s3.client",
     .type = CONF_ENUM,
     .offset = AT(s3.client),
     .initial = "curl",
     .choices = s3_clients,
     .help = "Which client speaks to the store: curl signs SigV4; libs3 signs SigV2, for stores "
             "that still take it."},
    {.key = "s3.endpoint",
     .type = CONF_STRING,
     .offset = AT(s3.endpoint),
     .help = "The store's address, such as https://s3.eu-central-1.amazonaws.com or "
             "http://127.0.0.1:9000."},
    {.key = "s3.region",
     .type = CONF_STRING,
     .offset = AT(s3.region),
     .initial = "us-east-1",
     .max = 64,
     .env = "AWS_REGION",
     .help = "The region that signatures name."},
    {.key = "s3.bucket",
     .type = CONF_STRING,
     .offset = AT(s3.bucket),
     .max = 255,
     .help = "The bucket."},
    {.key = "s3.access_key",
     .type = CONF_STRING,
     .offset = AT(s3.access_key),
     .env = "AWS_ACCESS_KEY_ID",
     .help = "The access key's id."},
    {.key = "s3.secret_key",
     .type = CONF_SECRET,
     .offset = AT(s3.secret_key),
     .env = "AWS_SECRET_ACCESS_KEY",
     .help = "The access key's secret."},
    {.key = "s3.ca_file",
     .type = CONF_PATH,
     .offset = AT(s3.ca_file),
     .env = "AWS_CA_BUNDLE",
     .help = "PEM file of the authorities that sign the store's certificate; without it, the "
             "system's."},
    {.key = "s3.connect_timeout",
     .type = CONF_DURATION,
     .offset = AT(s3.connect_timeout),
     .initial = "5s",
     .min = 1,
     .max = 10 * MINUTE,
     .help = "Longest time to get a connection."},
    {.key = "s3.stall_timeout",
     .type = CONF_DURATION,
     .offset = AT(s3.stall_timeout),
     .initial = "30s",
     .min = SECOND,
     .max = 60 * MINUTE,
     .help = "A transfer that moves no byte for so long is given up and tried again."},
    {.key = "s3.deadline",
     .type = CONF_DURATION,
     .offset = AT(s3.deadline),
     .initial = "2m",
     .min = SECOND,
     .max = 24 * 60 * MINUTE,
     .help = "Longest time of one operation with all its tries."},
    {.key = "s3.part_size",
     .type = CONF_SIZE,
     .offset = AT(s3.part_size),
     .initial = "8M",
     .min = 5 * MIB,
     .max = 64 * MIB,
     .help = "Larger files are uploaded in parts of this size."},
};

static const struct conf_row redis_rows[] = {
    {.key = "redis.address",
     .type = CONF_STRING,
     .offset = AT(redis.address),
     .env = "TRIPLINE_REDIS",
     .help = "Redis's address: host:port or unix:/path."},
    {.key = "redis.username",
     .type = CONF_STRING,
     .offset = AT(redis.username),
     .help = "ACL user; without it, the default user."},
    {.key = "redis.password",
     .type = CONF_SECRET,
     .offset = AT(redis.password),
     .help = "Its password."},
    {.key = "redis.timeout",
     .type = CONF_DURATION,
     .offset = AT(redis.timeout),
     .initial = "5s",
     .min = 1,
     .max = 10 * MINUTE,
     .help = "Longest time of one command."},
    {.key = "redis.deadline",
     .type = CONF_DURATION,
     .offset = AT(redis.deadline),
     .initial = "15s",
     .min = 1,
     .max = 60 * MINUTE,
     .help = "Longest time of one operation, new connections included."},
};

static const struct conf_row names_rows[] = {
    {.key = "tripline.prefix",
     .type = CONF_STRING,
     .offset = AT(tripline.prefix),
     .initial = "tripline",
     .min = 1,
     .max = 63,
     .env = "TRIPLINE_PREFIX",
     .help = "What the names of all topics and Redis keys begin with: one per deployment."},
};

static const struct conf_row log_rows[] = {
    {.key = "log.level",
     .type = CONF_ENUM,
     .offset = AT(log.level),
     .initial = "info",
     .choices = log_levels,
     .help = "Events below this level are not written."},
};

static const struct conf_row http_rows[] = {
    {.key = "http.address",
     .type = CONF_STRING,
     .offset = AT(http.address),
     .initial = "127.0.0.1:0",
     .help = "Where /metrics, /healthz and /readyz are served: host:port, port 0 takes a free one, "
             "nothing turns it off."},
};

int settings_add(struct conf *c, struct settings *s, unsigned parts, struct err *e)
{
    static const struct {
        enum settings_part part;
        const struct conf_row *rows;
        size_t count;
    } tables[] = {
        {SETTINGS_KAFKA, kafka_rows, COUNT(kafka_rows)},
        {SETTINGS_S3, s3_rows, COUNT(s3_rows)},
        {SETTINGS_REDIS, redis_rows, COUNT(redis_rows)},
        {SETTINGS_NAMES, names_rows, COUNT(names_rows)},
        {SETTINGS_LOG, log_rows, COUNT(log_rows)},
        {SETTINGS_HTTP, http_rows, COUNT(http_rows)},
    };
    size_t i;
    int rc;

    for (i = 0; i < COUNT(tables); i++)
        if (parts & tables[i].part)
            if ((rc = conf_add(c, tables[i].rows, tables[i].count, s, e)) < 0)
                return rc;
    return 0;
}
