#include "platform/bus/bus_kafka_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock.h"

enum { CONFIG_NAME_MAX = 128, ACL_OPERATIONS = 4 };

/* The answer to one admin request: the caller destroys the event. NULL in *out on failure. */
static int answer(struct kafka *k, rd_kafka_queue_t *q, rd_kafka_event_t **out, const char *what,
                  struct err *e)
{
    *out = rd_kafka_queue_poll(q, k->timeout_ms + 5000); /* the request itself ends earlier */
    rd_kafka_poll(k->meta.rk, 0);
    if (!*out)
        return kafka_fail(&k->meta, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, e, "%s", what);
    if (rd_kafka_event_error(*out))
        return kafka_fail(&k->meta, rd_kafka_event_error(*out), rd_kafka_event_error_string(*out),
                          e, "%s", what);
    kafka_fine(&k->meta);
    return 0;
}

static rd_kafka_AdminOptions_t *options(struct kafka *k, rd_kafka_admin_op_t op)
{
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(k->meta.rk, op);
    char why[200];

    if (o)
        rd_kafka_AdminOptions_set_request_timeout(o, k->timeout_ms, why, sizeof why);
    return o;
}

static rd_kafka_NewTopic_t *new_topic(const struct bus_topic *t, struct err *e)
{
    char why[256] = "", name[CONFIG_NAME_MAX];
    const char *const *pair;
    const char *equals;
    rd_kafka_NewTopic_t *made;

    made = rd_kafka_NewTopic_new(t->name, t->partitions, -1, why, sizeof why);
    if (!made) {
        err_set(e, ERR_CONFIG, "topic %s: %s", t->name, why);
        return NULL;
    }
    for (pair = t->config; pair && *pair; pair++) {
        equals = strchr(*pair, '=');
        if (!equals || (size_t)(equals - *pair) >= sizeof name) {
            err_set(e, ERR_CONFIG, "topic %s: '%s' is not key=value", t->name, *pair);
            rd_kafka_NewTopic_destroy(made);
            return NULL;
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals - *pair), *pair);
        rd_kafka_NewTopic_set_config(made, name, equals + 1);
    }
    return made;
}

static int topic_results(struct kafka *k, rd_kafka_event_t *ev, struct err *e)
{
    const rd_kafka_topic_result_t **list;
    rd_kafka_resp_err_t err;
    size_t i, n = 0;

    list = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
    for (i = 0; i < n; i++) {
        err = rd_kafka_topic_result_error(list[i]);
        if (err && err != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            return kafka_fail(&k->meta, err, rd_kafka_topic_result_error_string(list[i]), e,
                              "creating topic %s", rd_kafka_topic_result_name(list[i]));
    }
    return 0;
}

/* A new topic is known to every broker a little later than the answer says. */
static int until_visible(struct kafka *k, const struct bus_topic *t, size_t n, struct err *e)
{
    int64_t until = kafka_now(k) + k->timeout_ms;
    struct err why = ERR_INIT;
    int count;
    size_t i;

    for (i = 0; i < n; i++)
        while (kafka_partitions(&k->base, t[i].name, &count, &why) == ERR_NOT_FOUND) {
            if (kafka_now(k) > until)
                return err_set(e, ERR_PEER, "topic %s was created but does not show", t[i].name);
            clock_sleep_ms(k->clock, BUS_POLL_STEP_MS / 2);
        }
    return 0;
}

int kafka_create_topics(struct bus *b, const struct bus_topic *t, size_t n, struct err *e)
{
    struct kafka *k = (struct kafka *)b;
    rd_kafka_NewTopic_t **list = NULL;
    rd_kafka_queue_t *q = NULL;
    rd_kafka_event_t *ev = NULL;
    rd_kafka_AdminOptions_t *o = NULL;
    rd_kafka_t *rk;
    size_t i;
    int rc;

    if (!n || (rc = kafka_meta(k, &rk, e)) < 0)
        return n ? rc : 0;
    list = calloc(n, sizeof *list);
    q = rd_kafka_queue_new(rk);
    o = options(k, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    if (!list || !q || !o) {
        rc = err_set(e, ERR_NOMEM, "creating topics");
        goto done;
    }
    for (i = 0; i < n; i++)
        if (!(list[i] = new_topic(&t[i], e))) {
            rc = e->code;
            goto done;
        }
    rd_kafka_CreateTopics(rk, list, n, o, q);
    if ((rc = answer(k, q, &ev, "creating topics", e)) == 0)
        rc = topic_results(k, ev, e);
done:
    if (ev)
        rd_kafka_event_destroy(ev);
    if (o)
        rd_kafka_AdminOptions_destroy(o);
    if (q)
        rd_kafka_queue_destroy(q);
    for (i = 0; list && i < n; i++)
        if (list[i])
            rd_kafka_NewTopic_destroy(list[i]);
    free(list);
    return rc < 0 ? rc : until_visible(k, t, n, e);
}

static int new_binding(const struct bus_acl *a, rd_kafka_AclOperation_t op,
                       rd_kafka_AclBinding_t **out, struct err *e)
{
    rd_kafka_ResourceType_t kind =
        a->kind == BUS_ACL_TOPIC ? RD_KAFKA_RESOURCE_TOPIC : RD_KAFKA_RESOURCE_GROUP;
    char why[256] = "";

    if (a->kind == BUS_ACL_TRANSACTION)
        return err_set(e, ERR_UNSUPPORTED,
                       "ACL of %s on transactional id %s: this librdkafka cannot create it; use "
                       "Kafka's own kafka-acls",
                       a->principal, a->resource);
    *out = rd_kafka_AclBinding_new(
        kind, a->resource,
        a->prefixed ? RD_KAFKA_RESOURCE_PATTERN_PREFIXED : RD_KAFKA_RESOURCE_PATTERN_LITERAL,
        a->principal, "*", op, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, why, sizeof why);
    if (!*out)
        return err_set(e, ERR_CONFIG, "ACL of %s on %s: %s", a->principal, a->resource, why);
    return 0;
}

/* One binding an operation: at most ACL_OPERATIONS for each entry. */
static int new_bindings(const struct bus_acl *a, size_t n, rd_kafka_AclBinding_t **list,
                        size_t *count, struct err *e)
{
    static const struct {
        int bit;
        rd_kafka_AclOperation_t op;
    } ops[] = {
        {BUS_ACL_READ, RD_KAFKA_ACL_OPERATION_READ},
        {BUS_ACL_WRITE, RD_KAFKA_ACL_OPERATION_WRITE},
        {BUS_ACL_DESCRIBE, RD_KAFKA_ACL_OPERATION_DESCRIBE},
        {BUS_ACL_CREATE, RD_KAFKA_ACL_OPERATION_CREATE},
    };
    size_t i, j;
    int rc;

    for (i = 0; i < n; i++)
        for (j = 0; j < sizeof ops / sizeof *ops; j++)
            if ((int)a[i].operations & ops[j].bit) {
                if ((rc = new_binding(&a[i], ops[j].op, &list[*count], e)) < 0)
                    return rc;
                ++*count;
            }
    return 0;
}

static int acl_results(struct kafka *k, rd_kafka_event_t *ev, struct err *e)
{
    const rd_kafka_acl_result_t **list;
    const rd_kafka_error_t *error;
    size_t i, n = 0;

    list = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(ev), &n);
    for (i = 0; i < n; i++) {
        error = rd_kafka_acl_result_error(list[i]);
        if (error)
            return kafka_fail(&k->meta, rd_kafka_error_code(error), rd_kafka_error_string(error), e,
                              "creating ACLs");
    }
    return 0;
}

int kafka_create_acls(struct bus *b, const struct bus_acl *a, size_t n, struct err *e)
{
    struct kafka *k = (struct kafka *)b;
    rd_kafka_AclBinding_t **list = NULL;
    rd_kafka_queue_t *q = NULL;
    rd_kafka_event_t *ev = NULL;
    rd_kafka_AdminOptions_t *o = NULL;
    rd_kafka_t *rk;
    size_t i, count = 0;
    int rc;

    if (!n || (rc = kafka_meta(k, &rk, e)) < 0)
        return n ? rc : 0;
    list = calloc(n * ACL_OPERATIONS, sizeof *list);
    q = rd_kafka_queue_new(rk);
    o = options(k, RD_KAFKA_ADMIN_OP_CREATEACLS);
    if (!list || !q || !o) {
        rc = err_set(e, ERR_NOMEM, "creating ACLs");
        goto done;
    }
    if ((rc = new_bindings(a, n, list, &count, e)) < 0 || !count)
        goto done;
    rd_kafka_CreateAcls(rk, list, count, o, q);
    if ((rc = answer(k, q, &ev, "creating ACLs", e)) == 0)
        rc = acl_results(k, ev, e);
done:
    if (ev)
        rd_kafka_event_destroy(ev);
    if (o)
        rd_kafka_AdminOptions_destroy(o);
    if (q)
        rd_kafka_queue_destroy(q);
    for (i = 0; i < count; i++)
        rd_kafka_AclBinding_destroy(list[i]);
    free(list);
    return rc;
}
