/*
 * What the table says to people: settings in force, an example file, a page.
 */
#include <string.h>

#include "platform/conf/conf_int.h"

#define COLUMNS 92

static const char *const type_names[] = {
    [CONF_STRING] = "text",      [CONF_PATH] = "path",    [CONF_SECRET] = "secret",
    [CONF_INT] = "whole number", [CONF_SIZE] = "size",    [CONF_DURATION] = "time",
    [CONF_FLOAT] = "number",     [CONF_BOOL] = "boolean", [CONF_ENUM] = "choice",
};

static bool begins_section(const struct conf *c, size_t i)
{
    const char *key = c->slots[i].row->key;
    size_t n = conf_section_len(key) + 1;

    return i == 0 || strncmp(c->slots[i - 1].row->key, key, n) != 0;
}

static const char *name_of(const struct conf_slot *s)
{
    return s->row->key + conf_section_len(s->row->key) + 1;
}

void conf_print(const struct conf *c, struct buf *to)
{
    size_t i;

    for (i = 0; i < c->count; i++) {
        const struct conf_slot *s = &c->slots[i];
        const char *text = s->text ? s->text : "";

        if (begins_section(c, i))
            buf_printf(to, "%s[%.*s]\n", i ? "\n" : "", (int)conf_section_len(s->row->key),
                       s->row->key);
        if (s->origin)
            buf_printf(to, "# from %s\n", s->origin);
        if (s->row->type == CONF_SECRET && text[0])
            text = "***";
        /* what nobody set stays a comment: read back, the output means the same */
        buf_printf(to, "%s%s =%s%s\n", s->text ? "" : "#", name_of(s), text[0] ? " " : "", text);
    }
}

void conf_save(const struct conf *c, struct buf *to)
{
    const char *section = "";
    size_t i, n;

    for (i = 0; i < c->count; i++) {
        const struct conf_slot *s = &c->slots[i];

        if (!s->text || !s->origin)
            continue;
        n = conf_section_len(s->row->key);
        if (strncmp(section, s->row->key, n + 1) != 0)
            buf_printf(to, "%s[%.*s]\n", *section ? "\n" : "", (int)n, s->row->key);
        section = s->row->key;
        buf_printf(to, "%s = %s\n", name_of(s), s->text);
    }
}

/* Text in "# ..." lines that break at blanks. */
static void put_comment(const char *text, struct buf *to)
{
    size_t column = 0;

    while (*text) {
        size_t n = strcspn(text, " \n");

        if (column > 0 && column + 1 + n > COLUMNS) {
            buf_char(to, '\n');
            column = 0;
        }
        buf_str(to, column ? " " : "# ");
        buf_add(to, text, n);
        column += 1 + n;
        text += n;
        text += strspn(text, " \n");
    }
    buf_char(to, '\n');
}

static bool plain_text(const struct conf_row *r)
{
    return r->type == CONF_STRING || r->type == CONF_PATH || r->type == CONF_SECRET;
}

static void put_allowed(const struct conf_row *r, struct buf *to)
{
    struct buf b;

    if (plain_text(r))
        return;
    buf_init(&b, 1024);
    buf_str(&b, "Allowed: ");
    conf_allowed(r, &b);
    buf_char(&b, '.');
    if (!b.failed)
        put_comment(b.data, to);
    buf_release(&b);
}

static void put_env(const struct conf_row *r, const char *before, const char *mark, struct buf *to)
{
    char own[CONF_KEY_MAX + 16];

    conf_env_name(r->key, own);
    buf_printf(to, "%s%s%s%s", before, mark, own, mark);
    if (r->env)
        buf_printf(to, ", %s%s%s", mark, r->env, mark);
}

void conf_example(const struct conf *c, const char *program, struct buf *to)
{
    size_t i;

    buf_printf(to,
               "# Settings of %s, made by `%s --print-example-config`.\n"
               "# A line that begins with '#' is a comment; the values shown are the defaults.\n"
               "# The environment wins over this file, `--set section.name=value` over both.\n",
               program, program);
    for (i = 0; i < c->count; i++) {
        const struct conf_slot *s = &c->slots[i];

        if (begins_section(c, i))
            buf_printf(to, "\n[%.*s]\n", (int)conf_section_len(s->row->key), s->row->key);
        buf_char(to, '\n');
        put_comment(s->row->help, to);
        put_allowed(s->row, to);
        put_env(s->row, "# Environment: ", "", to);
        buf_printf(to, "\n#%s =%s%s\n", name_of(s), s->initial && s->initial[0] ? " " : "",
                   s->initial ? s->initial : "");
    }
}

/* A cell of a table may hold no bar. */
static void put_cell(const char *text, struct buf *to)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_char(to, '\\');
        buf_char(to, *text == '\n' ? ' ' : *text);
    }
}

void conf_markdown(const struct conf *c, struct buf *to)
{
    struct buf b;
    size_t i;

    buf_init(&b, 4096);
    for (i = 0; i < c->count; i++) {
        const struct conf_slot *s = &c->slots[i];

        if (begins_section(c, i))
            buf_printf(to,
                       "%s### `[%.*s]`\n\n| key | type | default | allowed | environment | meaning "
                       "|\n| --- | --- | --- | --- | --- | --- |\n",
                       i ? "\n" : "", (int)conf_section_len(s->row->key), s->row->key);
        buf_reset(&b);
        if (!plain_text(s->row))
            conf_allowed(s->row, &b);
        buf_printf(to, "| `%s` | %s | ", s->row->key, type_names[s->row->type]);
        if (s->initial && s->initial[0])
            buf_printf(to, "`%s`", s->initial);
        buf_str(to, " | ");
        put_cell(b.data ? b.data : "", to);
        put_env(s->row, " | ", "`", to);
        buf_str(to, " | ");
        put_cell(s->row->help, to);
        buf_str(to, " |\n");
    }
    buf_release(&b);
}
