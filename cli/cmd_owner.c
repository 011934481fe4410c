#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "platform/base/file.h"
#include "platform/blob/blob.h"
#include "platform/board/board.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "platform/json/json.h"
#include "schemas/document.h"

#define INTERNAL_PARTITIONS 4 /* of done and published; never changed once they exist */

struct owner_options {
    struct client_options client;
    bool json;
    const char *write;
};

static const struct option_row rows[] = {
    {.name = "write",
     .type = OPTION_TEXT,
     .offset = offsetof(struct owner_options, write),
     .value = "FILE",
     .help = "also write the owner's profile, for `tripline login --profile FILE` (mode 0600)"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct owner_options, json),
     .help = "one JSON object on standard output"},
    CLIENT_ROWS(owner_options),
};

struct making {
    struct client *c;
    const char *owner;
    char password[33]; /* of the Redis user; "": none was made */
    char topics[6][KEY_MAX];
    struct buf notes; /* what could not be done here, a line each */
    bool acls;
};

static int make_topics(struct making *m, struct err *e)
{
    static const char *const compact[] = {"cleanup.policy=compact", NULL};
    static const char *const keep[] = {"retention.ms=-1", NULL};
    static const char *const large[] = {DOCUMENT_TOPIC_SIZE, NULL};
    const struct keys *k = &m->c->keys;
    const struct bus_topic topics[] = {
        {m->topics[0], 1, keep},
        {m->topics[1], 1, large},
        {m->topics[2], 1, keep},
        {m->topics[3], 1, compact},
        {m->topics[4], INTERNAL_PARTITIONS, NULL},
        {m->topics[5], INTERNAL_PARTITIONS, compact},
    };
    int rc;

    if ((rc = topic_of(k, TOPIC_JOBS, m->owner, m->topics[0], e)) < 0 ||
        (rc = topic_of(k, TOPIC_REJECTED, m->owner, m->topics[1], e)) < 0 ||
        (rc = topic_of(k, TOPIC_MODELS, m->owner, m->topics[2], e)) < 0 ||
        (rc = topic_of(k, TOPIC_CURRENT, m->owner, m->topics[3], e)) < 0)
        return rc;
    topic_internal(k, TOPIC_DONE, m->topics[4]);
    topic_internal(k, TOPIC_PUBLISHED, m->topics[5]);
    return bus_create_topics(m->c->ports.bus, topics, sizeof topics / sizeof topics[0], e);
}

static int make_acls(struct making *m, struct err *e)
{
    char docs[KEY_MAX], principal[KEY_NAME_MAX + 8], groups[KEY_NAME_MAX + 8];
    const struct bus_acl acls[] = {
        {principal, docs, BUS_ACL_TOPIC, true,
         BUS_ACL_READ | BUS_ACL_WRITE | BUS_ACL_DESCRIBE | BUS_ACL_CREATE},
        {principal, m->topics[0], BUS_ACL_TOPIC, false, BUS_ACL_WRITE | BUS_ACL_DESCRIBE},
        {principal, m->topics[1], BUS_ACL_TOPIC, false, BUS_ACL_READ | BUS_ACL_DESCRIBE},
        {principal, m->topics[2], BUS_ACL_TOPIC, false, BUS_ACL_READ | BUS_ACL_DESCRIBE},
        {principal, m->topics[3], BUS_ACL_TOPIC, false, BUS_ACL_READ | BUS_ACL_DESCRIBE},
        {principal, groups, BUS_ACL_GROUP, true, BUS_ACL_READ | BUS_ACL_DESCRIBE},
    };
    int rc = topic_docs_prefix(&m->c->keys, m->owner, docs, e);

    if (rc < 0)
        return rc;
    snprintf(principal, sizeof principal, "User:%s", m->owner);
    snprintf(groups, sizeof groups, "%s.", m->owner);
    rc = bus_create_acls(m->c->ports.bus, acls, sizeof acls / sizeof acls[0], e);
    if (rc == ERR_UNSUPPORTED || rc == ERR_DENIED) {
        buf_printf(&m->notes, "Kafka: no ACLs were made (%s)\n", e->text);
        return 0;
    }
    m->acls = rc == 0;
    return rc;
}

static int make_reader(struct making *m, struct err *e)
{
    char prefix[KEY_MAX];
    int rc;

    if (!m->c->ports.board) {
        buf_str(&m->notes, "Redis: no address is set, so no user was made\n");
        return 0;
    }
    if ((rc = key_board_prefix(&m->c->keys, m->owner, prefix, e)) < 0)
        return rc;
    clock_nonce(m->c->ports.clock, m->password);
    rc = board_reader(m->c->ports.board, m->owner, m->password, prefix, e);
    if (rc == 0)
        return 0;
    m->password[0] = '\0';
    if (rc == ERR_EXISTS) {
        buf_printf(
            &m->notes,
            "Redis: user %s is there and keeps its password (ACL DELUSER %s, then this again, "
            "makes another)\n",
            m->owner, m->owner);
        return 0;
    }
    if (rc != ERR_DENIED && rc != ERR_UNSUPPORTED && rc != ERR_INTERNAL)
        return rc;
    buf_printf(&m->notes, "Redis: no user was made (%s)\n", e->text);
    return 0;
}

static int say_s3(struct making *m, char prefix[KEY_MAX], struct err *e)
{
    int rc = key_owner_prefix(m->owner, prefix, e);

    if (rc < 0)
        return rc;
    buf_printf(
        &m->notes,
        "S3: give %s a key of its own that may read s3://%s/%s* and s3://%s/backbones/*, and "
        "write s3://%s/%sbackbones/* (docs/cli.md has the policy)\n",
        m->owner, m->c->settings.s3.bucket, prefix, m->c->settings.s3.bucket,
        m->c->settings.s3.bucket, prefix);
    return 0;
}

static json_t *topics_json(const struct making *m)
{
    json_t *list = json_array();
    int i;

    for (i = 0; i < 6; i++)
        json_array_append_new(list, json_string(m->topics[i]));
    return list;
}

static void put_lines(const struct making *m, const char *prefix, struct buf *b)
{
    int i;

    buf_printf(b, "owner %s\n", m->owner);
    for (i = 0; i < 6; i++)
        buf_printf(b, "  topic   %s\n", m->topics[i]);
    if (m->acls)
        buf_printf(b, "  rights  of Kafka user %s: its own documents, jobs, models; groups %s.*\n",
                   m->owner, m->owner);
    buf_printf(b, "  objects s3://%s/%s\n", m->c->settings.s3.bucket, prefix);
    if (m->password[0])
        buf_printf(b, "  Redis   user %s, password %s (reads its own keys; shown once)\n", m->owner,
                   m->password);
    if (m->notes.len)
        buf_printf(b, "notes:\n%s", m->notes.data);
}

static int print(const struct making *m, const char *prefix, bool json, struct err *e)
{
    struct buf b;
    json_t *v;
    int rc = 0;

    buf_init(&b, 1 << 20);
    if (json) {
        v = json_pack("{s:s, s:o, s:b, s:s, s:s, s:s}", "owner", m->owner, "topics", topics_json(m),
                      "acls", (int)m->acls, "prefix", prefix, "redis_password", m->password,
                      "notes", m->notes.len ? m->notes.data : "");
        rc = cli_json(&b, v, e);
    } else {
        put_lines(m, prefix, &b);
    }
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

/* Where the servers are, who the owner is; keys of S3 and Kafka are the operator's to add. */
static int write_profile(const struct making *m, const char *path, struct err *e)
{
    const struct settings *s = &m->c->settings;
    struct buf b;
    int rc;

    buf_init(&b, 1 << 16);
    buf_printf(&b, "[kafka]\nbrokers = %s\n\n[s3]\nendpoint = %s\nregion = %s\nbucket = %s\n\n",
               s->kafka.brokers, s->s3.endpoint ? s->s3.endpoint : "", s->s3.region,
               s->s3.bucket ? s->s3.bucket : "");
    if (m->password[0])
        buf_printf(&b, "[redis]\naddress = %s\nusername = %s\npassword = %s\n\n", s->redis.address,
                   m->owner, m->password);
    buf_printf(&b, "[tripline]\nprefix = %s\nowner = %s\n", s->tripline.prefix, m->owner);
    if ((rc = buf_check(&b, "the profile", e)) == 0)
        rc = file_write_secret(path, b.data, b.len, e);
    buf_release(&b);
    return rc;
}

static int create(struct client *c, const struct owner_options *o, const char *owner, struct err *e)
{
    struct making m = {.c = c, .owner = owner};
    char prefix[KEY_MAX];
    int rc;

    buf_init(&m.notes, 1 << 16);
    if (!c->settings.s3.bucket)
        rc = err_set(e, ERR_CONFIG, "s3.bucket is not set: TRIPLINE_S3_BUCKET, or tripline login");
    else if ((rc = make_topics(&m, e)) == 0 && (rc = make_acls(&m, e)) == 0 &&
             (rc = make_reader(&m, e)) == 0 && (rc = say_s3(&m, prefix, e)) == 0 &&
             (!o->write || (rc = write_profile(&m, o->write, e)) == 0))
        rc = print(&m, prefix, o->json, e);
    buf_release(&m.notes);
    return rc;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct owner_options o = {0};
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 2, 2, e)) < 0)
        return rc;
    if (strcmp(argv[0], "create") != 0) {
        static const char *const words[] = {"create", NULL};

        return options_unknown("word after owner", argv[0], words, e);
    }
    rc = client_open(&c, &o.client, SETTINGS_KAFKA, e);
    if (rc == 0 && c.settings.redis.address)
        rc = client_open_board(&c, e);
    if (rc == 0)
        rc = create(&c, &o, argv[1], e);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_owner = {
    .name = "owner",
    .summary = "Makes an owner: topics, rights, a Redis user. For the operator.",
    .usage = "owner create NAME [options]",
    .examples = "  tripline owner create acme\n"
                "  tripline owner create acme --write acme.conf\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
