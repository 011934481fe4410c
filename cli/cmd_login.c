#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "platform/base/file.h"
#include "platform/blob/blob.h"
#include "platform/board/board.h"
#include "platform/bus/bus.h"

struct login_options {
    struct client_options client;
    bool unchecked;
};

static const struct option_row rows[] = {
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct login_options, client.set),
     .value = "SECTION.NAME=VALUE",
     .help = "a setting, such as kafka.brokers=host:9092; config/client.conf lists them. Secrets "
             "are better given by the environment"},
    {.name = "no-check",
     .type = OPTION_FLAG,
     .offset = offsetof(struct login_options, unchecked),
     .help = "store without speaking to the servers"},
    CLIENT_ROWS(login_options),
};

static int stop_listing(void *arg, const char *key, uint64_t size)
{
    return 1;
}

/* One question to each server, as the commands will ask it. */
static int check(struct client *c, struct err *e)
{
    char topic[KEY_MAX], prefix[KEY_MAX], key[KEY_MAX];
    struct buf value;
    int rc, count;

    if ((rc = topic_of(&c->keys, TOPIC_JOBS, c->owner, topic, e)) < 0 ||
        (rc = key_owner_prefix(c->owner, prefix, e)) < 0 ||
        (rc = key_board(&c->keys, BOARD_STATUS, c->owner, "login", key, e)) < 0)
        return rc;
    rc = bus_partitions(c->ports.bus, topic, &count, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND,
                       "owner %s has no topics yet: the operator runs `tripline owner create %s`",
                       c->owner, c->owner);
    if (rc < 0)
        return err_wrap(e, "kafka");
    if ((rc = blob_list(c->ports.blob, prefix, NULL, stop_listing, NULL, e)) < 0)
        return err_wrap(e, "s3");
    if (!c->settings.redis.address)
        return 0;
    buf_init(&value, 1 << 16);
    if ((rc = client_open_board(c, e)) == 0)
        rc = board_get(c->ports.board, key, "state", &value, e);
    buf_release(&value);
    return rc < 0 && rc != ERR_NOT_FOUND ? err_wrap(e, "redis") : 0;
}

static int store(const struct client *c, struct err *e)
{
    char folder[PATH_MAX], *slash;
    struct buf b;
    int rc = 0;

    snprintf(folder, sizeof folder, "%s", c->profile);
    if ((slash = strrchr(folder, '/')) && slash != folder) {
        *slash = '\0';
        rc = file_mkdirs(folder, e);
    }
    buf_init(&b, 1 << 20);
    buf_str(&b, "# Written by `tripline login`. The environment wins over it.\n");
    conf_save(c->conf, &b);
    if (rc == 0 && (rc = buf_check(&b, c->profile, e)) == 0)
        rc = file_write_secret(c->profile, b.data, b.len, e);
    buf_release(&b);
    return rc;
}

static int say(const struct client *c, bool checked, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, 1 << 16);
    buf_printf(&b, "owner %s; Kafka %s, S3 %s/%s, Redis %s: %s; stored in %s\n", c->owner,
               c->settings.kafka.brokers, c->settings.s3.endpoint, c->settings.s3.bucket,
               c->settings.redis.address ? c->settings.redis.address : "(none)",
               checked ? "all answer" : "not tried", c->profile);
    rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct login_options o = {0};
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 0, 0, e)) < 0)
        return rc;
    o.client.create = true;
    if ((rc = client_open(&c, &o.client, SETTINGS_KAFKA | SETTINGS_S3, e)) == 0 &&
        (rc = client_need_owner(&c, e)) == 0 && (o.unchecked || (rc = check(&c, e)) == 0) &&
        (rc = store(&c, e)) == 0)
        rc = say(&c, !o.unchecked, e);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_login = {
    .name = "login",
    .summary = "Stores where the servers are and who you are, after trying it.",
    .usage = "login --owner NAME [--set SECTION.NAME=VALUE ...]",
    .examples =
        "  tripline login --owner acme --set kafka.brokers=kafka:9092 \\\n"
        "      --set s3.endpoint=https://s3.example.org --set s3.bucket=tripline\n"
        "  eval \"$(./dev env)\" && tripline login --owner acme    # from the environment\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
