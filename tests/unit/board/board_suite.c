#include "board_suite.h"

#include <stdio.h>
#include <stdlib.h>

enum { LEASE_MS = 60000 };

static void expect_field(struct board_suite *s, const char *field, const char *value)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    ok(board_get(s->board, s->key, field, &b, &e));
    assert_string_equal(b.data, value);
    buf_release(&b);
}

static void push(struct board_suite *s, const char *group, const char *item, int priority,
                 int64_t created)
{
    ok(board_push(s->board, &s->queue, group, item, priority, created, &e));
}

/* "group/item", or "" when nothing is queued. */
static void expect_lease(struct board_suite *s, const char *holder, int64_t ttl, const char *want)
{
    struct buf group, item;
    char got[200] = "";
    struct err why = ERR_INIT;
    int rc;

    buf_init(&group, 1000);
    buf_init(&item, 1000);
    rc = board_lease(s->board, &s->queue, holder, ttl, &group, &item, &why);
    if (rc == 0)
        snprintf(got, sizeof got, "%s/%s", group.data, item.data);
    else
        assert_int_equal(rc, ERR_NOT_FOUND);
    assert_string_equal(got, want);
    buf_release(&group);
    buf_release(&item);
}

static int add_up(void *arg, const char *name, const char *value, size_t n)
{
    struct buf *b = arg;

    buf_printf(b, "%s=%.*s;", name, (int)n, value);
    return 0;
}

static int stop_at_once(void *arg, const char *name, const char *value, size_t n)
{
    (void)name, (void)value, (void)n;
    ++*(int *)arg;
    return 1;
}

static int break_off(void *arg, const char *name, const char *value, size_t n)
{
    (void)arg, (void)name, (void)value, (void)n;
    return ERR_CANCELLED;
}

static void keeps_fields(void **state)
{
    struct board_suite *s = *state;
    struct board_field one[] = {{"state", "STARTED"}, {"owner", "acme"}, {"", "no name"}};
    struct board_field two[] = {{"state", "FINISHED"}, {"odd", "\xff\n\r\n$5\r\n \"'"}};
    struct buf b;
    int calls = 0;

    buf_init(&b, 10000);
    fails(ERR_NOT_FOUND, board_get(s->board, s->key, "state", &b, &e));
    ok(board_each(s->board, s->key, add_up, &b, &e));
    assert_int_equal(b.len, 0);
    ok(board_set(s->board, s->key, one, 3, 0, &e));
    ok(board_set(s->board, s->key, two, 2, 0, &e));
    expect_field(s, "state", "FINISHED");
    expect_field(s, "owner", "acme");
    expect_field(s, "", "no name");
    expect_field(s, "odd", "\xff\n\r\n$5\r\n \"'");
    fails(ERR_NOT_FOUND, board_get(s->board, s->key, "missing", &b, &e));
    ok(board_each(s->board, s->key, add_up, &b, &e));
    assert_non_null(strstr(b.data, "state=FINISHED;"));
    assert_non_null(strstr(b.data, "owner=acme;"));
    ok(board_each(s->board, s->key, stop_at_once, &calls, &e));
    assert_int_equal(calls, 1);
    {
        struct err why = ERR_INIT;

        assert_int_equal(board_each(s->board, s->key, break_off, NULL, &why), ERR_CANCELLED);
    }
    ok(board_remove(s->board, s->key, &e));
    fails(ERR_NOT_FOUND, board_get(s->board, s->key, "state", &b, &e));
    ok(board_remove(s->board, s->key, &e));
    ok(board_set(s->board, s->key, one, 0, 0, &e)); /* nothing */
    buf_release(&b);
}

static void respects_the_callers_limit(void **state)
{
    struct board_suite *s = *state;
    struct board_field f = {"text", "longer than ten bytes"};
    struct buf b;

    buf_init(&b, 10);
    ok(board_set(s->board, s->key, &f, 1, 0, &e));
    fails(ERR_LIMIT, board_get(s->board, s->key, "text", &b, &e));
    buf_release(&b);
}

static void forgets_after_its_time(void **state)
{
    struct board_suite *s = *state;
    struct board_field f = {"a", "1"};
    struct buf b;

    buf_init(&b, 100);
    ok(board_set(s->board, s->key, &f, 1, 300, &e));
    expect_field(s, "a", "1");
    clock_sleep_ms(s->clock, 450);
    fails(ERR_NOT_FOUND, board_get(s->board, s->key, "a", &b, &e));
    ok(board_set(s->board, s->key, &f, 1, 300, &e));
    ok(board_set(s->board, s->key, &f, 1, 0, &e)); /* for ever again */
    clock_sleep_ms(s->clock, 450);
    expect_field(s, "a", "1");
    buf_release(&b);
}

static void creates_once(void **state)
{
    struct board_suite *s = *state;

    ok(board_create(s->board, s->key, "epoch", 300, &e));
    fails(ERR_EXISTS, board_create(s->board, s->key, "other", 300, &e));
    clock_sleep_ms(s->clock, 450);
    ok(board_create(s->board, s->key, "epoch", 0, &e));
    fails(ERR_EXISTS, board_create(s->board, s->key, "other", 0, &e));
}

static void numbers_and_caps_a_log(void **state)
{
    struct board_suite *s = *state;
    struct buf b;
    char line[20];
    int i, n, calls = 0;

    buf_init(&b, 100000);
    ok(board_tail(s->board, s->key, 0, add_up, &b, &e));
    assert_int_equal(b.len, 0);
    for (i = 0; i < 5; i++) {
        n = snprintf(line, sizeof line, "l%d", i);
        ok(board_append(s->board, s->key, line, (size_t)n, 3, 0, &e));
    }
    ok(board_tail(s->board, s->key, 0, add_up, &b, &e));
    assert_string_equal(b.data, "2=l2;3=l3;4=l4;");
    buf_reset(&b);
    ok(board_tail(s->board, s->key, 4, add_up, &b, &e));
    assert_string_equal(b.data, "4=l4;");
    buf_reset(&b);
    ok(board_tail(s->board, s->key, 5, add_up, &b, &e));
    ok(board_tail(s->board, s->key, UINT64_MAX, add_up, &b, &e));
    assert_int_equal(b.len, 0);
    ok(board_append(s->board, s->key, "x\0y", 3, 2, 0, &e)); /* a smaller cap from now on */
    ok(board_tail(s->board, s->key, 0, add_up, &b, &e));
    assert_memory_equal(b.data, "4=l4;5=x", 8);
    ok(board_tail(s->board, s->key, 0, stop_at_once, &calls, &e));
    assert_int_equal(calls, 1);
    ok(board_append(s->board, s->key, "t", 1, 2, 300, &e));
    clock_sleep_ms(s->clock, 450);
    buf_reset(&b);
    ok(board_append(s->board, s->key, "anew", 4, 2, 0, &e));
    ok(board_tail(s->board, s->key, 0, add_up, &b, &e));
    assert_string_equal(b.data, "0=anew;");
    buf_release(&b);
}

static int count(void *arg, const char *name, const char *value, size_t n)
{
    char want[24];

    (void)value, (void)n;
    snprintf(want, sizeof want, "%d", ++*(int *)arg);
    assert_string_equal(name, want);
    return 0;
}

static void tails_a_long_log(void **state)
{
    struct board_suite *s = *state;
    int i, seen = 0;

    for (i = 0; i < 1201; i++)
        ok(board_append(s->board, s->key, "line", 4, 5000, 0, &e));
    ok(board_tail(s->board, s->key, 1, count, &seen, &e));
    assert_int_equal(seen, 1200);
}

static void serves_groups_in_turn(void **state)
{
    struct board_suite *s = *state;

    expect_lease(s, "w", LEASE_MS, "");
    push(s, "a", "a1", 0, 1);
    push(s, "a", "a2", 0, 2);
    push(s, "a", "a3", 0, 3);
    push(s, "b", "b1", 0, 9);
    expect_lease(s, "w", LEASE_MS, "a/a1");
    expect_lease(s, "w", LEASE_MS, "b/b1");
    push(s, "c", "c1", 0, 9);
    expect_lease(s, "w", LEASE_MS, "a/a2"); /* before c, which came later than a was served */
    expect_lease(s, "w", LEASE_MS, "c/c1");
    expect_lease(s, "w", LEASE_MS, "a/a3");
    expect_lease(s, "w", LEASE_MS, "");
}

static void sorts_inside_a_group(void **state)
{
    struct board_suite *s = *state;

    push(s, "g", "normal-late", 0, 1700000000002);
    push(s, "g", "lowest", INT32_MIN, 0);
    push(s, "g", "normal", 0, 1700000000001);
    push(s, "g", "high", 5, 1800000000000);
    push(s, "g", "low", -5, 1);
    push(s, "g", "highest", INT32_MAX, INT64_MAX);
    expect_lease(s, "w", LEASE_MS, "g/highest");
    expect_lease(s, "w", LEASE_MS, "g/high");
    expect_lease(s, "w", LEASE_MS, "g/normal");
    expect_lease(s, "w", LEASE_MS, "g/normal-late");
    expect_lease(s, "w", LEASE_MS, "g/low");
    expect_lease(s, "w", LEASE_MS, "g/lowest");
    expect_lease(s, "w", LEASE_MS, "");
}

static void pushing_again_changes_nothing(void **state)
{
    struct board_suite *s = *state;

    push(s, "g", "one", 0, 1);
    push(s, "g", "two", 0, 2);
    push(s, "g", "two", 9, 0); /* queued: stays as it is */
    expect_lease(s, "w", LEASE_MS, "g/one");
    push(s, "g", "one", 9, 1); /* leased: stays so */
    expect_lease(s, "w", LEASE_MS, "g/two");
    expect_lease(s, "w", LEASE_MS, "");
    ok(board_release(s->board, &s->queue, "g", "one", "w", true, &e));
    push(s, "g", "one", 0, 5); /* done: may come again */
    expect_lease(s, "w", LEASE_MS, "g/one");
}

static void leases_expire(void **state)
{
    struct board_suite *s = *state;

    push(s, "g", "old", 0, 1);
    push(s, "g", "new", 0, 2);
    expect_lease(s, "dead", 400, "g/old");
    expect_lease(s, "alive", 400, "g/new");
    expect_lease(s, "w", LEASE_MS, "");
    clock_sleep_ms(s->clock, 200);
    ok(board_renew(s->board, &s->queue, "g", "new", "alive", LEASE_MS, &e));
    clock_sleep_ms(s->clock, 400);
    expect_lease(s, "w", LEASE_MS, "g/old");
    expect_lease(s, "w", LEASE_MS, "");
    fails(ERR_FENCED, board_renew(s->board, &s->queue, "g", "old", "dead", LEASE_MS, &e));
    fails(ERR_FENCED, board_release(s->board, &s->queue, "g", "old", "dead", true, &e));
    ok(board_renew(s->board, &s->queue, "g", "old", "w", LEASE_MS, &e));
}

static void gives_leases_back(void **state)
{
    struct board_suite *s = *state;

    push(s, "g", "one", 0, 1);
    push(s, "g", "two", 0, 2);
    expect_lease(s, "w", LEASE_MS, "g/one");
    fails(ERR_FENCED, board_release(s->board, &s->queue, "g", "one", "other", false, &e));
    fails(ERR_FENCED, board_release(s->board, &s->queue, "g", "two", "w", false, &e));
    fails(ERR_FENCED, board_release(s->board, &s->queue, "x", "one", "w", false, &e));
    ok(board_release(s->board, &s->queue, "g", "one", "w", false, &e));
    fails(ERR_FENCED, board_release(s->board, &s->queue, "g", "one", "w", false, &e));
    expect_lease(s, "v", LEASE_MS, "g/one"); /* in its old place */
    ok(board_release(s->board, &s->queue, "g", "one", "v", true, &e));
    expect_lease(s, "v", LEASE_MS, "g/two");
    ok(board_release(s->board, &s->queue, "g", "two", "v", true, &e));
    expect_lease(s, "v", LEASE_MS, "");
    push(s, "g", "three", 0, 3); /* a group that was empty comes back */
    expect_lease(s, "v", LEASE_MS, "g/three");
}

static void a_flush_leaves_an_empty_board(void **state)
{
    struct board_suite *s = *state;
    struct board_field f = {"a", "1"};
    struct buf b;

    buf_init(&b, 100);
    ok(board_set(s->board, s->key, &f, 1, 0, &e));
    push(s, "g", "one", 0, 1);
    push(s, "g", "two", 0, 1);
    expect_lease(s, "w", LEASE_MS, "g/one");
    s->flush(s);
    fails(ERR_NOT_FOUND, board_get(s->board, s->key, "a", &b, &e));
    fails(ERR_FENCED, board_renew(s->board, &s->queue, "g", "one", "w", LEASE_MS, &e));
    expect_lease(s, "w", LEASE_MS, "");
    push(s, "g", "two", 0, 1); /* rebuilt */
    expect_lease(s, "w", LEASE_MS, "g/two");
    buf_release(&b);
}

/* --- several workers at once: each item goes to one of them --- */

enum { WORKERS = 4, ITEMS = 60 };

struct worker {
    struct board_suite *s;
    char name[8];
    int got[ITEMS];
};

static void work(void *arg)
{
    struct worker *w = arg;
    struct buf group, item;
    struct err why = ERR_INIT;

    buf_init(&group, 100);
    buf_init(&item, 100);
    while (board_lease(w->s->board, &w->s->queue, w->name, LEASE_MS, &group, &item, &why) == 0) {
        w->got[atoi(item.data)]++;
        buf_reset(&group);
        buf_reset(&item);
    }
    buf_release(&group);
    buf_release(&item);
}

static void an_item_has_one_holder(void **state)
{
    struct board_suite *s = *state;
    struct worker w[WORKERS] = {0};
    struct task *task[WORKERS];
    char item[16], group[16];
    int i, j, sum;

    for (i = 0; i < ITEMS; i++) {
        snprintf(item, sizeof item, "%d", i);
        snprintf(group, sizeof group, "g%d", i % 7);
        push(s, group, item, 0, i);
    }
    for (i = 0; i < WORKERS; i++) {
        w[i].s = s;
        snprintf(w[i].name, sizeof w[i].name, "w%d", i);
        ok(clock_go(s->clock, w[i].name, work, &w[i], &task[i], &e));
    }
    for (i = 0; i < WORKERS; i++)
        clock_join(s->clock, task[i]);
    for (j = 0; j < ITEMS; j++) {
        for (i = 0, sum = 0; i < WORKERS; i++)
            sum += w[i].got[j];
        assert_int_equal(sum, 1);
    }
}

const struct CMUnitTest board_suite_cases[] = {
    cmocka_unit_test(keeps_fields),
    cmocka_unit_test(respects_the_callers_limit),
    cmocka_unit_test(forgets_after_its_time),
    cmocka_unit_test(creates_once),
    cmocka_unit_test(numbers_and_caps_a_log),
    cmocka_unit_test(tails_a_long_log),
    cmocka_unit_test(serves_groups_in_turn),
    cmocka_unit_test(sorts_inside_a_group),
    cmocka_unit_test(pushing_again_changes_nothing),
    cmocka_unit_test(leases_expire),
    cmocka_unit_test(gives_leases_back),
    cmocka_unit_test(a_flush_leaves_an_empty_board),
    cmocka_unit_test(an_item_has_one_holder),
};
const size_t board_suite_count = sizeof board_suite_cases / sizeof *board_suite_cases;
