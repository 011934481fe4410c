#include "platform/conf/conf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/conf/conf_int.h"
#include "platform/conf/nearest.h"

int conf_new(struct conf **out, struct err *e)
{
    struct conf *c = calloc(1, sizeof *c);

    if (!c)
        return err_set(e, ERR_NOMEM, "the settings");
    arena_init(&c->arena, CONF_ARENA_MAX);
    *out = c;
    return 0;
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    arena_release(&c->arena);
    free(c);
}

size_t conf_section_len(const char *key)
{
    return strcspn(key, ".");
}

struct conf_slot *conf_find(const struct conf *c, const char *key)
{
    size_t i;

    for (i = 0; i < c->count; i++)
        if (!strcmp(c->slots[i].row->key, key))
            return (struct conf_slot *)&c->slots[i];
    return NULL;
}

static void *field_of(const struct conf_slot *s)
{
    return (char *)s->base + s->row->offset;
}

static size_t field_size(enum conf_type type)
{
    switch (type) {
    case CONF_INT:
    case CONF_SIZE:
    case CONF_DURATION:
        return sizeof(int64_t);
    case CONF_FLOAT:
        return sizeof(double);
    case CONF_BOOL:
        return sizeof(bool);
    case CONF_ENUM:
        return sizeof(int);
    default:
        return sizeof(char *);
    }
}

int conf_assign(struct conf *c, struct conf_slot *s, const char *where, const char *value,
                struct err *e)
{
    const char *text = arena_strndup(&c->arena, value, strlen(value));
    const char *origin = arena_strndup(&c->arena, where, strlen(where));

    if (!text || !origin)
        return err_set(e, ERR_NOMEM, "%s: %s", where, s->row->key);
    if (conf_value(s->row, text, field_of(s), e) < 0)
        return err_wrap(e, "%s: %s", where, s->row->key);
    s->text = text;
    s->origin = origin;
    return 0;
}

static int set_default(struct conf *c, struct conf_slot *s, struct err *e)
{
    int rc;

    memset(field_of(s), 0, field_size(s->row->type));
    s->text = NULL;
    if (!s->initial)
        return 0;
    if ((rc = conf_assign(c, s, "default", s->initial, e)) < 0)
        return rc == ERR_CONFIG ? (e->code = ERR_INTERNAL) : rc;
    s->origin = NULL;
    return 0;
}

int conf_add(struct conf *c, const struct conf_row *rows, size_t n, void *base, struct err *e)
{
    size_t i;
    int rc;

    for (i = 0; i < n; i++) {
        struct conf_slot *s = &c->slots[c->count];
        const char *key = rows[i].key;

        if (c->count == CONF_SLOTS)
            return err_set(e, ERR_INTERNAL, "more than %d settings", CONF_SLOTS);
        if (strlen(key) >= CONF_KEY_MAX || !strchr(key, '.') || conf_find(c, key))
            return err_set(e, ERR_INTERNAL, "the setting '%s' has no proper name of its own", key);
        *s = (struct conf_slot){.row = &rows[i], .base = base, .initial = rows[i].initial};
        c->count++;
        if ((rc = set_default(c, s, e)) < 0)
            return rc;
    }
    return 0;
}

int conf_default(struct conf *c, const char *key, const char *value, struct err *e)
{
    struct conf_slot *s = conf_find(c, key);

    if (!s)
        return err_set(e, ERR_INTERNAL, "no setting '%s'", key);
    s->initial = value;
    return set_default(c, s, e);
}

static void list_names(const struct conf *c, const char *section, struct buf *b)
{
    size_t n = conf_section_len(section), i;
    const char *last = "";

    for (i = 0; i < c->count; i++) {
        const char *key = c->slots[i].row->key;
        size_t len = conf_section_len(key);

        if (n > 0 && (len != n || strncmp(key, section, n) != 0))
            continue;
        if (n == 0 && conf_section_len(last) == len && !strncmp(last, key, len))
            continue;
        last = key;
        if (n > 0)
            buf_printf(b, "%s%s", b->len ? ", " : "", key + n + 1);
        else
            buf_printf(b, "%s%.*s", b->len ? ", " : "", (int)len, key);
    }
}

int conf_unknown(const struct conf *c, const char *where, const char *key, struct err *e)
{
    const struct conf_row *best = NULL;
    size_t least = SIZE_MAX, i;
    char section[CONF_KEY_MAX];
    struct buf names;

    for (i = 0; i < c->count; i++) {
        size_t d = nearest_distance(key, c->slots[i].row->key);

        if (d < least) {
            least = d;
            best = c->slots[i].row;
        }
    }
    if (best && nearest_enough(key, least))
        return err_set(e, ERR_CONFIG, "%s: unknown key '%s' (did you mean '%s'?)", where, key,
                       best->key);
    buf_init(&names, 400);
    snprintf(section, sizeof section, "%.*s.", (int)conf_section_len(key), key);
    list_names(c, section, &names);
    if (names.len > 0) {
        err_set(e, ERR_CONFIG, "%s: unknown key '%s'; [%.*s] has %s", where, key,
                (int)conf_section_len(key), key, names.data);
    } else {
        list_names(c, "", &names);
        err_set(e, ERR_CONFIG, "%s: unknown key '%s'; the sections are %s", where, key,
                names.data ? names.data : "none");
    }
    buf_release(&names);
    return e->code;
}

int conf_set(struct conf *c, const char *assignment, struct err *e)
{
    const char *equals = strchr(assignment, '=');
    char key[CONF_KEY_MAX];
    struct conf_slot *s;

    if (!equals)
        return err_set(e, ERR_USAGE, "--set %s: write it as section.name=value", assignment);
    snprintf(key, sizeof key, "%.*s", (int)(equals - assignment), assignment);
    if (!(s = conf_find(c, key)))
        return conf_unknown(c, "--set", key, e);
    return conf_assign(c, s, "--set", equals + 1, e);
}

void conf_env_name(const char *key, char name[CONF_KEY_MAX + 16])
{
    char *p = name + snprintf(name, CONF_KEY_MAX + 16, "TRIPLINE_%s", key);

    for (p = name; *p; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

static const char *env_get(char *const *environment, const char *name)
{
    size_t n = strlen(name);

    for (; *environment; environment++)
        if (!strncmp(*environment, name, n) && (*environment)[n] == '=')
            return (*environment)[n + 1] ? *environment + n + 1 : NULL;
    return NULL;
}

int conf_env(struct conf *c, char *const *environment, struct err *e)
{
    char own[CONF_KEY_MAX + 16];
    size_t i;
    int rc;

    for (i = 0; i < c->count; i++) {
        struct conf_slot *s = &c->slots[i];
        const char *name = own, *value;

        conf_env_name(s->row->key, own);
        value = env_get(environment, own);
        if (!value && s->row->env)
            value = env_get(environment, name = s->row->env);
        if (value && (rc = conf_assign(c, s, name, value, e)) < 0)
            return rc;
    }
    return 0;
}

int conf_need(const struct conf *c, const char *key, struct err *e)
{
    const struct conf_slot *s = conf_find(c, key);
    char own[CONF_KEY_MAX + 16];

    if (!s)
        return err_set(e, ERR_INTERNAL, "no setting '%s'", key);
    if (s->text && s->text[0])
        return 0;
    conf_env_name(key, own);
    return err_set(e, ERR_CONFIG, "%s is not set: write it in the file of settings, or set %s", key,
                   s->row->env ? s->row->env : own);
}
