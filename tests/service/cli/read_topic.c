/*
 * read_topic TOPIC: every record that is there, "partition key header=value ... body", a line each.
 * read_topic --send TOPIC KEY VALUE: sends one, unchecked.
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

static int send_one(struct bus *bus, char **argv, struct err *e)
{
    const struct bus_producer_options o = {0};
    const struct bus_message m = {.topic = argv[0],
                                  .partition = -1,
                                  .key = argv[1],
                                  .key_len = strlen(argv[1]),
                                  .value = argv[2],
                                  .value_len = strlen(argv[2])};
    struct bus_producer *p = NULL;
    int rc;

    if ((rc = bus_producer_open(bus, &o, NULL, NULL, &p, e)) == 0 &&
        (rc = bus_send(p, &m, NULL, e)) == 0)
        rc = bus_flush(p, 10000, e);
    bus_producer_free(p);
    return rc;
}

int main(int argc, char **argv)
{
    struct bus_kafka_options k = {.brokers = getenv("TRIPLINE_KAFKA")};
    char group[64];
    const char *topics[] = {argc > 1 ? argv[1] : ""};
    struct bus_consumer_options o = {.group = group, .topics = topics, .topic_count = 1};
    struct bus_consumer *c = NULL;
    struct bus_message *m;
    struct clock *clock = NULL;
    struct bus *bus = NULL;
    struct err e = ERR_INIT;
    int64_t left = 0;
    int rc;

    snprintf(group, sizeof group, "read-topic-%d", (int)getpid());
    if ((rc = clock_real(&clock, &e)) < 0 || (rc = bus_kafka(&bus, &k, clock, &e)) < 0)
        goto done;
    if (argc == 5 && !strcmp(argv[1], "--send")) {
        left = send_one(bus, argv + 2, &e) < 0;
        goto done;
    }
    if ((left = count_records(bus, topics[0], &e)) < 0 ||
        (rc = bus_consumer_open(bus, &o, &c, &e)) < 0)
        goto done;
    while (left > 0 && (rc = bus_poll(c, 10000, &m, &e)) > 0) {
        print(m);
        bus_message_free(c, m);
        left--;
    }
done:
    if (e.text[0])
        fprintf(stderr, "read_topic: %s\n", e.text);
    bus_consumer_free(c);
    bus_free(bus);
    clock_free(clock);
    return left != 0;
}
