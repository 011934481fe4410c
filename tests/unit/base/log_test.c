#include "platform/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

static char last[20000];
static int lines;

static void keep(void *arg, const char *line, unsigned long len)
{
    assert_true(len < sizeof last);
    memcpy(last, line, len);
    last[len] = '\0';
    lines++;
}

static long long fixed_time(void *arg)
{
    return 1700000000123LL;
}

static int setup(void **state)
{
    lines = 0;
    last[0] = '\0';
    log_init("tester", LOG_INFO);
    log_clock(fixed_time, NULL);
    log_sink(keep, NULL);
    return 0;
}

#define HEAD "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":"

static void an_event_is_one_json_line(void **state)
{
    log_event(LOG_INFO, "segment.sealed", "owner", "acme", "records",
              LOG_U(18446744073709551615ull), "offset", LOG_I(-5), "rate", LOG_F(0.25), NULL);
    assert_string_equal(
        last,
        HEAD "\"info\",\"service\":\"tester\",\"event\":\"segment.sealed\",\"owner\":\"acme\","
             "\"records\":18446744073709551615,\"offset\":-5,\"rate\":0.25}\n");
    assert_int_equal(lines, 1);
}

static void what_json_cannot_say_is_null(void **state)
{
    log_event(LOG_WARN, "x", "a", LOG_F(0.0 / 0.0), "b", LOG_F(1.0 / 0.0), "c", (const char *)NULL,
              NULL);
    assert_non_null(strstr(last, "\"a\":null,\"b\":null,\"c\":null}\n"));
}

static void hostile_text_stays_inside_its_string(void **state)
{
    log_event(LOG_INFO, "x", "k\"ey", "a\"}\n{\"event\":\"forged\"", "bytes", "\xFF\x01", NULL);
    assert_non_null(strstr(last, "\"k\\\"ey\":\"a\\\"}\\n{\\\"event\\\":\\\"forged\\\"\""));
    assert_non_null(strstr(last, "\"bytes\":\"\xEF\xBF\xBD\\u0001\"}\n"));
    assert_ptr_equal(strchr(last, '\n'), last + strlen(last) - 1);
}

static void events_below_the_level_are_dropped(void **state)
{
    log_event(LOG_DEBUG, "x", NULL);
    assert_int_equal(lines, 0);
    log_init("tester", LOG_ERROR);
    log_event(LOG_WARN, "x", NULL);
    assert_int_equal(lines, 0);
    log_init("tester", LOG_DEBUG);
    log_event(LOG_DEBUG, "x", NULL);
    assert_int_equal(lines, 1);
}

static void an_error_brings_its_name_and_message(void **state)
{
    struct err e = ERR_INIT;

    err_set(&e, ERR_PEER, "127.0.0.1:9092: refused");
    log_error("bus.down", &e, "try", LOG_I(2), NULL);
    assert_non_null(
        strstr(last, "\"level\":\"error\",\"service\":\"tester\",\"event\":\"bus.down\",\"error\":"
                     "\"PEER\",\"message\":\"127.0.0.1:9092: refused\",\"try\":2}\n"));
}

static void a_line_too_long_is_said_to_be(void **state)
{
    char *big = malloc(20000);

    assert_non_null(big);
    memset(big, 'x', 19999);
    big[19999] = '\0';
    log_event(LOG_INFO, "x", "big", big, NULL);
    assert_non_null(strstr(last, "\"event\":\"log.too_long\""));
    assert_int_equal(last[strlen(last) - 1], '\n');
    free(big);
}

static void levels_have_names(void **state)
{
    enum log_level level = LOG_ERROR;

    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_level_parse("error", &level), 0);
    assert_int_equal(level, LOG_ERROR);
    assert_int_equal(log_level_parse("Info", &level), -1);
    assert_int_equal(log_level_parse("", &level), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_event_is_one_json_line, setup),
        cmocka_unit_test_setup(what_json_cannot_say_is_null, setup),
        cmocka_unit_test_setup(hostile_text_stays_inside_its_string, setup),
        cmocka_unit_test_setup(events_below_the_level_are_dropped, setup),
        cmocka_unit_test_setup(an_error_brings_its_name_and_message, setup),
        cmocka_unit_test_setup(a_line_too_long_is_said_to_be, setup),
        cmocka_unit_test(levels_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
