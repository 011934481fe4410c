/*
 * Shared inside platform/conf: one slot per setting.
 */
#ifndef PLATFORM_CONF_CONF_INT_H
#define PLATFORM_CONF_CONF_INT_H

#include "platform/base/arena.h"
#include "platform/conf/conf.h"

#define CONF_SLOTS     256
#define CONF_KEY_MAX   64
#define CONF_ARENA_MAX ((size_t)8 << 20)

struct conf_slot {
    const struct conf_row *row;
    void *base;
    const char *initial; /* the row's or the program's default */
    const char *text;    /* the value in force as written; NULL: unset */
    const char *origin;  /* "ingest.conf:12", "TRIPLINE_KAFKA"; NULL: the default */
    int line;            /* in the file being read; 0: not seen in it */
};

struct conf {
    struct arena arena; /* all strings */
    struct conf_slot slots[CONF_SLOTS];
    size_t count;
};

struct conf_slot *conf_find(const struct conf *c, const char *key);

/* Length of the section in "section.name". */
size_t conf_section_len(const char *key);

/* ERR_CONFIG: "where: unknown key ..." with the nearest key, or the keys or sections there are. */
int conf_unknown(const struct conf *c, const char *where, const char *key, struct err *e);

/* Checks and stores; `where` begins the message of a refusal. */
int conf_assign(struct conf *c, struct conf_slot *s, const char *where, const char *value,
                struct err *e);

/* conf_value.c: text to field. */
int conf_value(const struct conf_row *r, const char *value, void *field, struct err *e);
/* "64M", "30s", "7": a bound as one would write it. */
void conf_number_text(const struct conf_row *r, double v, char text[32]);
/* "one of curl, libs3", "1 to 64", "1K to 1G", "true or false". */
void conf_allowed(const struct conf_row *r, struct buf *to);

/* "TRIPLINE_S3_ENDPOINT" of "s3.endpoint". */
void conf_env_name(const char *key, char name[CONF_KEY_MAX + 16]);

#endif
