#include "platform/proc/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/clock/clock.h"

static struct metrics *fresh(void)
{
    struct err e = ERR_INIT;
    struct metrics *m = NULL;

    assert_int_equal(metrics_new(&m, &e), 0);
    return m;
}

static void expect(struct metrics *m, const char *want)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    metrics_text(m, &b);
    assert_string_equal(b.data ? b.data : "", want);
    buf_release(&b);
}

static void counters_and_gauges(void **state)
{
    struct metrics *m = fresh();
    struct metric *plain = metrics_counter(m, "plain_total", "A plain one.", NULL);
    struct metric *docs = metrics_counter(m, "docs_total", "By\nowner \\.", "owner", "kind", NULL);
    struct metric *level = metrics_gauge(m, "level", "A level.", NULL);

    expect(m, "# HELP plain_total A plain one.\n# TYPE plain_total counter\nplain_total 0\n"
              "# HELP docs_total By\\nowner \\\\.\n# TYPE docs_total counter\n"
              "# HELP level A level.\n# TYPE level gauge\nlevel 0\n");
    metric_add(plain, 2, NULL);
    metric_add(plain, 0.5, NULL);
    metric_add(plain, -1, NULL); /* counters only rise */
    metric_set(plain, 7, NULL);
    metric_add(docs, 1, "acme", "a\"b\\c\nd", NULL);
    metric_add(docs, 1, "acme", "x", NULL);
    metric_add(docs, 1, "acme", "x", NULL);
    metric_add(docs, 1, "alone", NULL);
    metric_add(docs, 1, "\xff", "y", NULL);
    metric_set(level, -3, NULL);
    metric_add(level, 1, NULL);
    expect(m, "# HELP plain_total A plain one.\n# TYPE plain_total counter\nplain_total 2.5\n"
              "# HELP docs_total By\\nowner \\\\.\n# TYPE docs_total counter\n"
              "docs_total{owner=\"acme\",kind=\"a\\\"b\\\\c\\nd\"} 1\n"
              "docs_total{owner=\"acme\",kind=\"x\"} 2\n"
              "docs_total{owner=\"alone\",kind=\"\"} 1\n"
              "docs_total{owner=\"invalid\",kind=\"y\"} 1\n"
              "# HELP level A level.\n# TYPE level gauge\nlevel -2\n");
    metrics_free(m);
}

static void histograms(void **state)
{
    static const double bounds[] = {0.1, 1};
    struct metrics *m = fresh();
    struct metric *h = metrics_histogram(m, "wait_seconds", "Waits.", bounds, 2, "op", NULL);
    struct metric *bare = metrics_histogram(m, "bare", "No labels.", bounds, 1, NULL);

    metric_observe(h, 0.05, "get", NULL);
    metric_observe(h, 0.1, "get", NULL);
    metric_observe(h, 0.5, "get", NULL);
    metric_observe(h, 7, "get", NULL);
    metric_add(h, 1, "get", NULL); /* not what one does to a histogram */
    metric_observe(bare, 0.25, NULL);
    expect(m, "# HELP wait_seconds Waits.\n# TYPE wait_seconds histogram\n"
              "wait_seconds_bucket{op=\"get\",le=\"0.1\"} 2\n"
              "wait_seconds_bucket{op=\"get\",le=\"1\"} 3\n"
              "wait_seconds_bucket{op=\"get\",le=\"+Inf\"} 4\n"
              "wait_seconds_sum{op=\"get\"} 7.6500000000000004\n"
              "wait_seconds_count{op=\"get\"} 4\n"
              "# HELP bare No labels.\n# TYPE bare histogram\n"
              "bare_bucket{le=\"0.1\"} 0\nbare_bucket{le=\"+Inf\"} 1\nbare_sum 0.25\nbare_count "
              "1\n");
    metrics_free(m);
}

static void bad_names_and_nothing(void **state)
{
    struct metrics *m = fresh();

    assert_null(metrics_counter(m, "9x", "", NULL));
    assert_null(metrics_counter(m, "a b", "", NULL));
    assert_null(metrics_counter(m, "", "", NULL));
    assert_null(metrics_counter(m, "ok", "", "bad-label", NULL));
    assert_null(metrics_counter(m, "ok", "", "a", "b", "c", "d", "e", NULL));
    assert_non_null(metrics_counter(m, "ok", "", NULL));
    assert_null(metrics_gauge(m, "ok", "", NULL));
    assert_null(metrics_counter(NULL, "ok", "", NULL));
    metric_add(NULL, 1, NULL);
    metric_set(NULL, 1, NULL);
    metric_observe(NULL, 1, NULL);
    metrics_text(NULL, NULL);
    metrics_free(NULL);
    metrics_free(m);
}

static void a_flood_of_names_is_bounded(void **state)
{
    struct metrics *m = fresh();
    struct metric *c = metrics_counter(m, "c", "", "name", NULL);
    struct buf b;
    char name[20];
    const char *at;
    int i, lines = 0;

    for (i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        metric_add(c, 1, name, NULL);
    }
    metric_add(c, 1, "n0", NULL);
    buf_init(&b, 1 << 20);
    metrics_text(m, &b);
    for (at = b.data; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, 2 + METRICS_SERIES_MAX + 1);
    assert_non_null(strstr(b.data, "c{name=\"n0\"} 2\n"));
    assert_non_null(strstr(b.data, "c{name=\"other\"} 4800\n"));
    buf_release(&b);
    metrics_free(m);
}

static void count_much(void *arg)
{
    struct metric **all = arg;
    int i;

    for (i = 0; i < 2000; i++) {
        metric_add(all[0], 1, i % 2 ? "odd" : "even", NULL);
        metric_observe(all[1], 0.01 * (i % 100), NULL);
    }
}

static void threads_lose_nothing(void **state)
{
    struct metrics *m = fresh();
    struct metric *all[2] = {
        metrics_counter(m, "c", "", "kind", NULL),
        metrics_histogram(m, "h", "", metrics_seconds, metrics_seconds_count, NULL)};
    struct err e = ERR_INIT;
    struct task *t[4];
    struct clock *clock;
    struct buf b;
    int i;

    assert_int_equal(clock_real(&clock, &e), 0);
    buf_init(&b, 1 << 20);
    for (i = 0; i < 4; i++)
        assert_int_equal(clock_go(clock, "count", count_much, all, &t[i], &e), 0);
    metrics_text(m, &b);
    for (i = 0; i < 4; i++)
        clock_join(clock, t[i]);
    buf_reset(&b);
    metrics_text(m, &b);
    assert_non_null(strstr(b.data, "c{kind=\"odd\"} 4000\n"));
    assert_non_null(strstr(b.data, "c{kind=\"even\"} 4000\n"));
    assert_non_null(strstr(b.data, "h_count 8000\n"));
    buf_release(&b);
    clock_free(clock);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges),         cmocka_unit_test(histograms),
        cmocka_unit_test(bad_names_and_nothing),       cmocka_unit_test(threads_lose_nothing),
        cmocka_unit_test(a_flood_of_names_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
