/*
 * One suite for every implementation of the bus: the same promises, in memory
 * and on a real Kafka. The state of each case is a struct bus_suite.
 */
#ifndef TESTS_UNIT_BUS_BUS_SUITE_H
#define TESTS_UNIT_BUS_BUS_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "platform/bus/bus.h"
#include "platform/clock/clock.h"

struct bus_suite {
    struct bus *bus;
    struct clock *clock;
    char prefix[64]; /* of all topics and groups: servers are shared with other tests */
    int patience_ms; /* how long something may take to happen */
    int cases;
    char name[16][128];
    int names;
    int (*trim)(struct bus_suite *, const char *topic, int32_t partition, int64_t low);
};

extern const struct CMUnitTest bus_suite_cases[];
extern const size_t bus_suite_count;

/* For cases outside the suite. */
const char *suite_name(struct bus_suite *s, const char *name);
const char *suite_topic(struct bus_suite *s, const char *name, int partitions,
                        const char *const *config);
int suite_send(struct bus_suite *s, struct bus_producer *p, const char *topic, const char *key,
               const char *value);

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

#define fails(code, call)                                                                          \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int fails_rc = (call);                                                                     \
        if (fails_rc != (code))                                                                    \
            fail_msg("%s: %s (%s), not %s", #call, err_name(fails_rc), e.text, err_name(code));    \
        assert_true(e.text[0]);                                                                    \
    } while (0)

#endif
