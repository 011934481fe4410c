#include "cli/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/text.h"
#include "platform/board/board.h"
#include "platform/proc/signals.h"

extern char **environ;

static const struct conf_row owner_rows[] = {
    {.key = "tripline.owner",
     .type = CONF_STRING,
     .offset = offsetof(struct client, settings_owner),
     .max = KEY_NAME_MAX - 1,
     .env = "TRIPLINE_OWNER",
     .help = "Whose topics, objects and keys the commands use."},
};

int client_rows(struct client *c, struct err *e)
{
    int rc;

    if ((rc = conf_new(&c->conf, e)) < 0 ||
        (rc = settings_add(c->conf, &c->settings,
                           SETTINGS_KAFKA | SETTINGS_S3 | SETTINGS_REDIS | SETTINGS_NAMES, e)) < 0)
        return rc;
    /* a person waits: S3 knows what Redis would have said */
    if ((rc = conf_default(c->conf, "redis.timeout", "2s", e)) < 0 ||
        (rc = conf_default(c->conf, "redis.deadline", "3s", e)) < 0 ||
        (rc = conf_default(c->conf, "s3.deadline", "30s", e)) < 0)
        return rc;
    return conf_add(c->conf, owner_rows, sizeof owner_rows / sizeof owner_rows[0], c, e);
}

static int find_profile(struct client *c, const char *given, struct err *e)
{
    const char *named = given ? given : getenv("TRIPLINE_PROFILE");
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n;

    if (named && *named)
        n = snprintf(c->profile, sizeof c->profile, "%s", named);
    else if (config && *config)
        n = snprintf(c->profile, sizeof c->profile, "%s/tripline/profile.conf", config);
    else if (home && *home)
        n = snprintf(c->profile, sizeof c->profile, "%s/.config/tripline/profile.conf", home);
    else
        return err_set(e, ERR_CONFIG, "where is the profile? set HOME, or give --profile FILE");
    return n < (int)sizeof c->profile ? 0
                                      : err_set(e, ERR_CONFIG, "the profile's path is too long");
}

static int read_profile(struct client *c, const struct client_options *o, struct err *e)
{
    int rc = find_profile(c, o->profile, e);

    if (rc < 0)
        return rc;
    rc = conf_file(c->conf, c->profile, e);
    if (rc == ERR_NOT_FOUND && (!o->profile || o->create)) /* the environment may say it all */
        return 0;
    return rc;
}

int client_settings(struct client *c, const struct client_options *o, struct err *e)
{
    size_t i;
    int rc;

    if ((rc = client_rows(c, e)) < 0 || (rc = read_profile(c, o, e)) < 0 ||
        (rc = conf_env(c->conf, environ, e)) < 0)
        return rc;
    for (i = 0; i < o->set.count; i++)
        if ((rc = conf_set(c->conf, o->set.items[i], e)) < 0)
            return rc;
    if (o->owner) {
        char assignment[256];

        snprintf(assignment, sizeof assignment, "tripline.owner=%s", o->owner);
        if ((rc = conf_set(c->conf, assignment, e)) < 0)
            return rc;
    }
    return 0;
}

static int take_owner(struct client *c, struct err *e)
{
    const char *name = c->settings_owner ? c->settings_owner : "";

    if (*name && !text_is_name(name, strlen(name)))
        return err_set(e, ERR_USAGE,
                       "owner '%.80s': a name has a-z, 0-9 and '-', begins with none of '-', and "
                       "is at most 63 long",
                       name);
    snprintf(c->owner, sizeof c->owner, "%s", name);
    return 0;
}

int client_open(struct client *c, const struct client_options *o, unsigned parts, struct err *e)
{
    int rc;

    memset(c, 0, sizeof *c);
    if ((rc = client_settings(c, o, e)) < 0 || (rc = take_owner(c, e)) < 0 ||
        (rc = keys_init(&c->keys, c->settings.tripline.prefix, e)) < 0)
        return rc;
    rc = ports_open(&c->ports, &c->settings, parts, "tripline", e);
    if (rc == ERR_CONFIG && access(c->profile, F_OK) != 0)
        return err_set(e, ERR_CONFIG, "no servers are known: `tripline login` stores them (%s)",
                       c->profile);
    if (rc < 0)
        return rc;
    if ((rc = signals_install(c->ports.clock, e)) == 0)
        c->signals = true;
    return rc;
}

void client_release(struct client *c)
{
    if (c->signals)
        signals_release();
    ports_release(&c->ports);
    conf_free(c->conf);
    memset(c, 0, sizeof *c);
}

int client_need_owner(const struct client *c, struct err *e)
{
    if (c->owner[0])
        return 0;
    return err_set(e, ERR_CONFIG,
                   "whose? give --owner NAME, or store one by `tripline login --owner NAME`");
}

int client_open_board(struct client *c, struct err *e)
{
    const struct board_redis_options o = {
        .address = c->settings.redis.address,
        .username = c->settings.redis.username,
        .password = c->settings.redis.password,
        .timeout_ms = (int)c->settings.redis.timeout,
        .deadline_ms = (int)c->settings.redis.deadline,
    };

    return board_redis(&c->ports.board, &o, c->ports.clock, e);
}

int client_open_stores(struct client *c, const struct client_options *o, unsigned more,
                       struct err *e)
{
    int rc;

    if ((rc = client_open(c, o, SETTINGS_S3 | more, e)) < 0 || (rc = client_need_owner(c, e)) < 0)
        return rc;
    return c->settings.redis.address ? client_open_board(c, e) : 0;
}

void client_board_failed(struct client *c, const struct err *why)
{
    c->board_down = true;
    fprintf(stderr, "tripline: going on with S3 alone: %s\n", why->text);
}
