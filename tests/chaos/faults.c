/*
 * Which kind of fault comes next: the one that took effect least often so far, beside its goal. The
 * seed decides between equals, upon whom it comes, and for how long. A kind rests between two
 * faults, so that what waits for its moment does not come in rows; one that can't begin now leaves
 * its turn to the next.
 */
#include "tests/chaos/faults.h"
#include "tests/chaos/proxy.h"

enum {
    EVERY_MS = 2700,
    REST_MS = 14000,
    GOAL = 20,           /* times */
    GOAL_MINUTES = 30,   /* in that time */
    JUDGED_MINUTES = 2,  /* in less not every kind's turn comes */
    MORE_TIME_MS = 60000 /* and half of what was asked for: until each kind has its goal */
};

#define S3(named, from, to, how, share)                                                            \
    {                                                                                              \
        .name = "S3 " named, .least_ms = from, .most_ms = to, .begin = proxy_on,                   \
        .go_on = proxy_off, .mode = how, .percent = share                                          \
    }
static struct kind kinds[] = {
    {.name = "kill -9, any moment", .begin = kill_one},
    {.name = "kill -9, failpoint", .weight = 3, .begin = arm},
    {.name = "kill -9, training process",
     .least_ms = 20000,
     .most_ms = 20000,
     .begin = await_child,
     .go_on = kill_child},
    {.name = "SIGSTOP, SIGCONT",
     .least_ms = 11000,
     .most_ms = 14000,
     .begin = pause_one,
     .go_on = wake},
    {.name = "SIGTERM", .begin = drain, .go_on = drained},
    {.name = "Kafka kill -9",
     .least_ms = 0,
     .most_ms = 3000,
     .begin = kill_kafka,
     .go_on = revive_kafka},
    {.name = "Redis kill -9",
     .least_ms = 0,
     .most_ms = 4000,
     .begin = kill_redis,
     .go_on = revive_redis},
    {.name = "Redis FLUSHALL", .begin = flush},
    S3("5xx", 1500, 5000, PROXY_5XX, 60),
    S3("401, 403", 800, 3000, PROXY_4XX, 100),
    S3("no answer", 1500, 5000, PROXY_HANG, 40),
    S3("slow", 2000, 6000, PROXY_SLOW, 80),
    S3("cut", 1500, 5000, PROXY_CUT, 50),
    S3("answer lost", 1500, 5000, PROXY_LOST, 50),
    {.name = "disk full",
     .least_ms = 3000,
     .most_ms = 7000,
     .begin = disk_full,
     .go_on = disk_empty},
    {.name = "topic created", .begin = new_topic},
    {.name = "topic deleted", .begin = to_delete, .go_on = end_topic},
    {.name = "topic re-created",
     .least_ms = 0,
     .most_ms = 6000,
     .begin = to_recreate,
     .go_on = end_topic},
    {.name = "partition added", .begin = add_partition},
    {.name = "second deployment",
     .least_ms = 7000,
     .most_ms = 10000,
     .begin = second_deployment,
     .go_on = second_ends},
};
enum { KINDS = sizeof kinds / sizeof kinds[0], AT_FAILPOINT = 1 };

bool kind_is_over(const struct kind *k)
{
    return now_ms() - k->began_ms >= k->for_ms;
}

static int weight(const struct kind *k)
{
    return k->weight ? k->weight : 1;
}

static long least(void)
{
    long n = (long)(GOAL * chaos.minutes / GOAL_MINUTES);

    return chaos.minutes < JUDGED_MINUTES ? 0 : n ? n : 1;
}

static bool all_names_are_due(void)
{
    return chaos.minutes >= GOAL_MINUTES;
}

/* ---- the schedule ---------------------------------------------------------------------------- */

static int64_t scheduled_ms; /* after the begin: the next fault */
static uint64_t turn;

static bool may_begin(const struct kind *k, bool late)
{
    if (k->on || (k->begun && now_ms() - k->began_ms < REST_MS / weight(k)))
        return false;
    return !late || k->took < least() || (k == &kinds[AT_FAILPOINT] && all_names_are_due());
}

/* Before b: further from its goal; between equals a number of this turn decides. */
static bool comes_first(int a, int b)
{
    long x = kinds[a].took * weight(&kinds[b]), y = kinds[b].took * weight(&kinds[a]);

    if (x != y)
        return x < y;
    return draw(chaos.seed + (uint64_t)a, turn) < draw(chaos.seed + (uint64_t)b, turn);
}

static bool begin(struct kind *k)
{
    uint64_t length = draw(chaos.seed, 2 * turn + 1);
    int64_t before = k->began_ms;
    enum answer a;

    k->draw = draw(chaos.seed, 2 * turn);
    k->for_ms = k->least_ms + (int64_t)(length % (uint64_t)(k->most_ms - k->least_ms + 1));
    k->began_ms = now_ms();
    if ((a = k->begin(k)) == NOT_NOW) {
        k->began_ms = before;
        return false;
    }
    k->begun++;
    k->on = a == GOES_ON;
    return true;
}

static void begin_one(bool late)
{
    bool tried[KINDS] = {false};
    int i, next;

    do {
        next = -1;
        for (i = 0; i < KINDS; i++)
            if (!tried[i] && may_begin(&kinds[i], late) && (next < 0 || comes_first(i, next)))
                next = i;
        if (next >= 0)
            tried[next] = true;
    } while (next >= 0 && !begin(&kinds[next]));
}

void faults_tick(bool late, bool stop)
{
    int names, all, i;

    for (i = 0; i < KINDS; i++)
        if (kinds[i].on && kinds[i].go_on(&kinds[i]) == DONE)
            kinds[i].on = false;
    kinds[AT_FAILPOINT].took = failpoints_hit(&names, &all);
    if (stop) {
        failpoints_disarm();
    } else if (now_ms() - chaos.start_ms >= scheduled_ms) {
        begin_one(late);
        turn++;
        scheduled_ms = now_ms() - chaos.start_ms + EVERY_MS / 2 +
                       (int64_t)(draw(~chaos.seed, turn) % EVERY_MS);
    }
}

bool faults_over(void)
{
    int i;

    for (i = 0; i < KINDS; i++)
        if (kinds[i].on)
            return false;
    return true;
}

bool faults_enough(void)
{
    int names, all, i;

    failpoints_hit(&names, &all);
    for (i = 0; i < KINDS; i++)
        if (kinds[i].took < least())
            return false;
    return !all_names_are_due() || names == all;
}

int64_t faults_more_ms(void)
{
    return MORE_TIME_MS + (int64_t)(chaos.minutes * 30000);
}

/* ---- the table ------------------------------------------------------------------------------- */

void faults_print(FILE *to)
{
    int names, all, i;

    failpoints_hit(&names, &all);
    fprintf(to, "\n  %-26s %7s %7s  (least: %ld)\n", "fault", "begun", "took", least());
    for (i = 0; i < KINDS; i++) {
        fprintf(to, "  %-26s %7ld %7ld", kinds[i].name, kinds[i].begun, kinds[i].took);
        if (kinds[i].begin == proxy_on)
            fprintf(to, "  %ld requests", proxy_count((enum proxy_mode)kinds[i].mode));
        fputc('\n', to);
        if (kinds[i].took < least())
            violation(&chaos.oracle, "'%s' took effect %ld times", kinds[i].name, kinds[i].took);
    }
    failpoints_print(to);
    if (all_names_are_due() && names < all)
        violation(&chaos.oracle, "at %d failpoints nobody died", all - names);
    fprintf(to, "  a full disk is %s\n", disk_kind());
}
