#include "platform/proc/ports.h"

#include <string.h>

#include "platform/blob/blob.h"
#include "platform/board/board.h"
#include "platform/bus/bus.h"
#include "platform/child/child.h"
#include "platform/clock/clock.h"

static int need(const char *value, const char *key, const char *variable, struct err *e)
{
    if (value)
        return 0;
    return err_set(e, ERR_CONFIG, "%s is not set: write it in the file of settings, or set %s", key,
                   variable);
}

static int open_bus(struct ports *p, const struct settings *s, const char *client_id, struct err *e)
{
    struct bus_kafka_options o = {
        .brokers = s->kafka.brokers,
        .client_id = client_id,
        .security_protocol = settings_kafka_protocols[s->kafka.security_protocol],
        .ca_file = s->kafka.ca_file,
        .cert_file = s->kafka.cert_file,
        .key_file = s->kafka.key_file,
        .sasl_mechanism = s->kafka.sasl_mechanism,
        .username = s->kafka.username,
        .password = s->kafka.password,
    };

    if (need(o.brokers, "kafka.brokers", "TRIPLINE_KAFKA", e) < 0)
        return e->code;
    return bus_kafka(&p->bus, &o, p->clock, e);
}

static int open_blob(struct ports *p, const struct settings *s, struct err *e)
{
    struct blob_s3_options o = {
        .endpoint = s->s3.endpoint,
        .region = s->s3.region,
        .bucket = s->s3.bucket,
        .access_key = s->s3.access_key,
        .secret_key = s->s3.secret_key,
        .ca_file = s->s3.ca_file,
        .connect_timeout_ms = (int)s->s3.connect_timeout,
        .stall_timeout_ms = (int)s->s3.stall_timeout,
        .deadline_ms = (int)s->s3.deadline,
        .part_bytes = (size_t)s->s3.part_size,
    };

    if (need(o.endpoint, "s3.endpoint", "TRIPLINE_S3_ENDPOINT", e) < 0 ||
        need(o.bucket, "s3.bucket", "TRIPLINE_S3_BUCKET", e) < 0 ||
        need(o.access_key, "s3.access_key", "AWS_ACCESS_KEY_ID", e) < 0 ||
        need(o.secret_key, "s3.secret_key", "AWS_SECRET_ACCESS_KEY", e) < 0)
        return e->code;
    if (s->s3.client == SETTINGS_S3_LIBS3)
        return blob_libs3(&p->blob, &o, p->clock, e);
    return blob_s3(&p->blob, &o, p->clock, e);
}

static int open_board(struct ports *p, const struct settings *s, struct err *e)
{
    struct board_redis_options o = {
        .address = s->redis.address,
        .username = s->redis.username,
        .password = s->redis.password,
        .timeout_ms = (int)s->redis.timeout,
        .deadline_ms = (int)s->redis.deadline,
    };

    if (need(o.address, "redis.address", "TRIPLINE_REDIS", e) < 0)
        return e->code;
    return board_redis(&p->board, &o, p->clock, e);
}

int ports_open(struct ports *p, const struct settings *s, unsigned parts, const char *client_id,
               struct err *e)
{
    int rc;

    memset(p, 0, sizeof *p);
    if ((rc = clock_real(&p->clock, e)) < 0 || (rc = child_exec(&p->child, p->clock, e)) < 0)
        goto fail;
    if ((parts & SETTINGS_KAFKA) && (rc = open_bus(p, s, client_id, e)) < 0)
        goto fail;
    if ((parts & SETTINGS_S3) && (rc = open_blob(p, s, e)) < 0)
        goto fail;
    if ((parts & SETTINGS_REDIS) && (rc = open_board(p, s, e)) < 0)
        goto fail;
    return 0;
fail:
    ports_release(p);
    return rc;
}

void ports_release(struct ports *p)
{
    child_port_free(p->child);
    board_free(p->board);
    blob_free(p->blob);
    bus_free(p->bus);
    clock_free(p->clock);
    memset(p, 0, sizeof *p);
}

/* One key is enough to know that listing is allowed. */
static int stop_listing(void *arg, const char *key, uint64_t size)
{
    return 1;
}

static int check_blob(const struct ports *p, const char *prefix, struct err *e)
{
    int rc = blob_list(p->blob, prefix ? prefix : "", NULL, stop_listing, NULL, e);

    if (rc < 0)
        return err_wrap(e, "s3");
    if (prefix && (rc = blob_check_create(p->blob, p->clock, prefix, e)) < 0)
        return err_wrap(e, "s3");
    return 0;
}

int ports_check(const struct ports *p, const char *topic, const char *board_key,
                const char *blob_prefix, struct err *e)
{
    struct buf value;
    int rc, count;

    if (p->bus && topic) {
        rc = bus_partitions(p->bus, topic, &count, e);
        if (rc < 0 && rc != ERR_NOT_FOUND)
            return err_wrap(e, "kafka");
    }
    if (p->board && board_key) {
        buf_init(&value, 1 << 20);
        rc = board_get(p->board, board_key, "check", &value, e);
        buf_release(&value);
        if (rc < 0 && rc != ERR_NOT_FOUND)
            return err_wrap(e, "redis");
    }
    return p->blob ? check_blob(p, blob_prefix, e) : 0;
}
