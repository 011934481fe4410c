/*
 * read_topic TOPIC: every record that is there, "partition key header=value ... body", a line each.
 * read_topic --send TOPIC KEY VALUE: sends one, unchecked.
 * read_topic --lines TOPIC FILE: sends each line, unchecked, with the keys d1, d2, ...
 * read_topic --make TOPIC KEY=VALUE: makes it, of one partition, with this setting.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/bus/bus.h"
#include "platform/clock/clock.h"

static void print(const struct bus_message *m)
{
    size_t i;

    printf("%d %.*s", (int)m->partition, (int)m->key_len, m->key ? (const char *)m->key : "");
    for (i = 0; i < m->header_count; i++)
        printf(" %s=%.*s", m->headers[i].name, (int)m->headers[i].value_len,
               (const char *)m->headers[i].value);
    printf(" %.*s\n", (int)m->value_len, m->value ? (const char *)m->value : "");
}

/* How many records the topic holds; -1: an error. Without transactions no offset is empty. */
static int64_t count_records(struct bus *bus, const char *topic, struct err *e)
{
    int64_t low, high, all = 0;
    int i, partitions;

    if (bus_partitions(bus, topic, &partitions, e) < 0)
        return -1;
    for (i = 0; i < partitions; i++) {
        if (bus_watermarks(bus, topic, i, &low, &high, e) < 0)
            return -1;
        all += high - low;
    }
    return all;
}

static int send_one(struct bus_producer *p, const char *topic, const char *key, const char *value,
                    size_t n, struct err *e)
{
    const struct bus_message m = {.topic = topic,
                                  .partition = -1,
                                  .key = key,
                                  .key_len = strlen(key),
                                  .value = value,
                                  .value_len = n};

    return bus_send(p, &m, NULL, e);
}

static int send_lines(struct bus_producer *p, const char *topic, const char *path, struct err *e)
{
    FILE *f = fopen(path, "re");
    char *line = NULL, key[24];
    size_t room = 0, number = 0;
    ssize_t n;
    int rc = 0;

    if (!f)
        return err_errno(e, ERR_IO, "%s", path);
    while (rc == 0 && (n = getline(&line, &room, f)) > 0) {
        snprintf(key, sizeof key, "d%zu", ++number);
        rc = send_one(p, topic, key, line, (size_t)n - (line[n - 1] == '\n'), e);
    }
    free(line);
    fclose(f);
    return rc;
}

static int send_all(struct bus *bus, int argc, char **argv, struct err *e)
{
    const struct bus_producer_options o = {0};
    struct bus_producer *p = NULL;
    int rc;

    if ((rc = bus_producer_open(bus, &o, NULL, NULL, &p, e)) < 0)
        return rc;
    rc = argc == 5 ? send_one(p, argv[2], argv[3], argv[4], strlen(argv[4]), e)
                   : send_lines(p, argv[2], argv[3], e);
    if (rc == 0)
        rc = bus_flush(p, 10000, e);
    bus_producer_free(p);
    return rc;
}

static int make(struct bus *bus, const char *topic, const char *setting, struct err *e)
{
    const char *const config[] = {setting, NULL};
    const struct bus_topic t = {topic, 1, config};

    return bus_create_topics(bus, &t, 1, e);
}

static int read_all(struct bus *bus, const char *topic, struct err *e)
{
    char group[64];
    const struct bus_consumer_options o = {.group = group, .topics = &topic, .topic_count = 1};
    struct bus_consumer *c = NULL;
    struct bus_message *m;
    int64_t left;
    int rc;

    snprintf(group, sizeof group, "read-topic-%d", (int)getpid());
    if ((left = count_records(bus, topic, e)) < 0 || (rc = bus_consumer_open(bus, &o, &c, e)) < 0)
        return -1;
    for (; left > 0 && (rc = bus_poll(c, 10000, &m, e)) > 0; left--) {
        print(m);
        bus_message_free(c, m);
    }
    bus_consumer_free(c);
    return left > 0 ? -1 : 0;
}

static int act(struct bus *bus, int argc, char **argv, struct err *e)
{
    const char *what = argc > 1 ? argv[1] : "";

    if ((argc == 5 && !strcmp(what, "--send")) || (argc == 4 && !strcmp(what, "--lines")))
        return send_all(bus, argc, argv, e);
    if (argc == 4 && !strcmp(what, "--make"))
        return make(bus, argv[2], argv[3], e);
    return read_all(bus, what, e);
}

int main(int argc, char **argv)
{
    struct bus_kafka_options k = {.brokers = getenv("TRIPLINE_KAFKA")};
    struct clock *clock = NULL;
    struct bus *bus = NULL;
    struct err e = ERR_INIT;
    int rc;

    if ((rc = clock_real(&clock, &e)) == 0 && (rc = bus_kafka(&bus, &k, clock, &e)) == 0)
        rc = act(bus, argc, argv, &e);
    if (e.text[0])
        fprintf(stderr, "read_topic: %s\n", e.text);
    bus_free(bus);
    clock_free(clock);
    return rc < 0;
}
