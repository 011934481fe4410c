/*
 * The settings that several programs share: where Kafka, S3 and Redis are and
 * how to sign in, names, logs, the address of metrics. Each program asks for the
 * parts it needs and adds rows of its own behind them.
 */
#ifndef PLATFORM_CONF_SERVICES_H
#define PLATFORM_CONF_SERVICES_H

#include "platform/conf/conf.h"

enum settings_part {
    SETTINGS_KAFKA = 1,
    SETTINGS_S3 = 2,
    SETTINGS_REDIS = 4,
    SETTINGS_NAMES = 8,
    SETTINGS_LOG = 16,
    SETTINGS_HTTP = 32,
    SETTINGS_ALL = 63
};

enum settings_s3_client { SETTINGS_S3_CURL, SETTINGS_S3_LIBS3 };

/* Names of the values of kafka.security_protocol, as librdkafka writes them. */
extern const char *const settings_kafka_protocols[];

struct settings {
    struct {
        const char *brokers;
        int security_protocol; /* index in settings_kafka_protocols */
        const char *ca_file, *cert_file, *key_file;
        const char *sasl_mechanism, *username, *password;
    } kafka;
    struct {
        int client; /* enum settings_s3_client */
        const char *endpoint, *region, *bucket;
        const char *access_key, *secret_key, *ca_file;
        int64_t connect_timeout, stall_timeout, deadline; /* ms */
        int64_t part_size;                                /* bytes */
    } s3;
    struct {
        const char *address, *username, *password;
        int64_t timeout, deadline; /* ms */
    } redis;
    struct {
        const char *prefix;
    } tripline;
    struct {
        int level; /* enum log_level */
    } log;
    struct {
        const char *address; /* NULL: not served */
    } http;
};

/* Adds the rows of the parts (or-ed) and sets the defaults in *s, which must outlive the conf. */
int settings_add(struct conf *c, struct settings *s, unsigned parts, struct err *e);

#endif
