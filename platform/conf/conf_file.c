/*
 * Files: libinih takes the lines apart; this side feeds it line by line, so that
 * it knows the number of each and refuses what libinih would let pass (long
 * lines, NUL bytes).
 */
#include <ini.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "platform/base/file.h"
#include "platform/conf/conf_int.h"

#define LINE_BYTES (CONF_VALUE_MAX + 2 * CONF_KEY_MAX)

struct reading {
    struct conf *conf;
    const char *name;
    const char *at, *end;
    int line;
    struct err *e;
    int rc; /* 0 or the first error */
};

/* libinih of Debian is set up by variables of the process. A value is what stands to the end of
 * its line: no inline comments (a password may hold " ;"), no continuation. */
static void set_up(void)
{
    ini_allow_inline_comments = false;
    ini_allow_multiline = false;
    ini_stop_on_first_error = true;
    ini_use_stack = false;
    ini_initial_alloc = LINE_BYTES + 3;
    ini_max_line = LINE_BYTES + 3;
}

static void refuse(struct reading *r, const char *why)
{
    if (r->rc == 0)
        r->rc = err_set(r->e, ERR_CONFIG, "%s:%d: %s", r->name, r->line, why);
}

/* As fgets. */
static char *next_line(char *to, int size, void *arg)
{
    struct reading *r = arg;
    size_t left = (size_t)(r->end - r->at), n;
    const char *newline;

    if (r->rc < 0 || left == 0)
        return NULL;
    newline = memchr(r->at, '\n', left);
    n = newline ? (size_t)(newline - r->at) + 1 : left;
    r->line++;
    if (n > LINE_BYTES || n >= (size_t)size)
        refuse(r, "the line is too long");
    else if (memchr(r->at, 0, n))
        refuse(r, "a NUL byte: not a text file");
    if (r->rc < 0)
        return NULL;
    memcpy(to, r->at, n);
    to[n] = 0;
    r->at += n;
    return to;
}

static int assign(struct reading *r, const char *key, const char *value)
{
    struct conf_slot *s = conf_find(r->conf, key);
    char where[256];

    snprintf(where, sizeof where, "%.200s:%d", r->name, r->line);
    if (!s)
        return conf_unknown(r->conf, where, key, r->e);
    if (s->line)
        return err_set(r->e, ERR_CONFIG, "%s: %s was set in line %d already", where, key, s->line);
    s->line = r->line;
    return conf_assign(r->conf, s, where, value, r->e);
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
    struct reading *r = arg;
    char key[2 * CONF_KEY_MAX];

    if (r->rc < 0)
        return 0;
    if (section[0])
        snprintf(key, sizeof key, "%s.%s", section, name);
    else
        snprintf(key, sizeof key, "%s", name);
    r->rc = assign(r, key, value);
    return r->rc == 0;
}

int conf_text(struct conf *c, const char *name, const char *text, size_t n, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct reading r = {.conf = c, .name = name, .at = text, .end = n ? text + n : text, .e = e};
    size_t i;
    int rc;

    pthread_once(&once, set_up);
    for (i = 0; i < c->count; i++)
        c->slots[i].line = 0;
    rc = ini_parse_stream(next_line, &r, on_value, &r);
    if (r.rc < 0)
        return r.rc;
    if (rc == -2)
        return err_set(e, ERR_NOMEM, "%s", name);
    if (rc != 0)
        return err_set(e, ERR_CONFIG,
                       "%s:%d: neither '[section]' nor 'name = value' nor a '#' comment", name, rc);
    return 0;
}

int conf_file(struct conf *c, const char *path, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, CONF_FILE_MAX);
    rc = file_read(path, &b, e);
    if (rc == 0)
        rc = conf_text(c, path, b.data ? b.data : "", b.len, e);
    buf_release(&b);
    return rc;
}
