/*
 * What the commands that speak to servers share: a profile (the settings of
 * services, in ${XDG_CONFIG_HOME:-~/.config}/tripline/profile.conf; the
 * environment wins over it), the ports opened by it, the names, the owner.
 *
 * Owned by the command's function; one thread. SIGINT and SIGTERM stop the
 * clock, so that a command that waits says what goes on without it and ends.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <limits.h>
#include <stdbool.h>

#include "cli/cli.h"
#include "platform/conf/conf.h"
#include "platform/proc/ports.h"
#include "schemas/keys.h"

struct client_options {
    const char *owner, *profile; /* NULL: what the settings say */
    struct option_list set;      /* section.name=value, for login */
    bool create;                 /* the profile may be missing: it is about to be written */
};

/* Rows for a command's table whose options hold a `struct client_options client`. */
#define CLIENT_ROWS(of)                                                                            \
    {.name = "owner",                                                                              \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct of, client.owner),                                                  \
     .value = "NAME",                                                                              \
     .help = "whose topics and runs (default: the profile's, TRIPLINE_OWNER)"},                    \
    {                                                                                              \
        .name = "settings", .type = OPTION_TEXT, .offset = offsetof(struct of, client.profile),    \
        .value = "FILE", .help = "another file of settings than the one that login wrote"          \
    }

struct client {
    struct conf *conf;
    struct settings settings;
    const char *settings_owner; /* tripline.owner */
    struct ports ports;
    struct keys keys;
    char owner[KEY_NAME_MAX]; /* "": none is set */
    char profile[PATH_MAX];
    bool signals;
    bool board_down; /* Redis did not answer: it is not asked again */
};

/* `parts`: SETTINGS_KAFKA, _S3, _REDIS, which servers are spoken to. Speaks to none yet. */
int client_open(struct client *c, const struct client_options *o, unsigned parts, struct err *e);
void client_release(struct client *c); /* accepts a zeroed or half-opened one */

/* With an owner, S3, `more` parts, and Redis if it has an address. */
int client_open_stores(struct client *c, const struct client_options *o, unsigned more,
                       struct err *e);

/* Redis alone, for commands that can do without it; it needs an address. */
int client_open_board(struct client *c, struct err *e);

/* Says so once, on stderr; S3 is asked instead from then on. */
void client_board_failed(struct client *c, const struct err *why);

/* ERR_CONFIG that says how, unless an owner is set. */
int client_need_owner(const struct client *c, struct err *e);

/* Settings alone: the table, for --print-example-config; with profile, environment and --set. */
int client_rows(struct client *c, struct err *e);
int client_settings(struct client *c, const struct client_options *o, struct err *e);

/* 128 + SIGINT, said once: the exit status of a command that a person ended. */
#define CLI_INTERRUPTED 130

#endif
