#include "platform/proc/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/conf/nearest.h"

#define HELP_COLUMN 28
#define WIDTH       96

struct parsing {
    const struct option_row *rows;
    size_t count;
    void *base;
    int argc, at; /* argv[at] is the next word */
    char **argv;
    struct err *e;
};

static const struct option_row *by_name(const struct parsing *p, const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < p->count; i++)
        if (strlen(p->rows[i].name) == len && !strncmp(p->rows[i].name, name, len))
            return &p->rows[i];
    return NULL;
}

static const struct option_row *by_letter(const struct parsing *p, char letter)
{
    size_t i;

    for (i = 0; i < p->count; i++)
        if (p->rows[i].letter == letter)
            return &p->rows[i];
    return NULL;
}

static int refuse_number(const struct option_row *r, const char *value, struct err *e)
{
    const char *kind = r->type == OPTION_INT ? "a whole number" : "a number";

    if (r->min == 0 && r->max == 0)
        return err_set(e, ERR_USAGE, "--%s: '%s' must be %s", r->name, value, kind);
    return err_set(e, ERR_USAGE, "--%s: '%s' must be %s, %.15g to %.15g", r->name, value, kind,
                   r->min, r->max);
}

static bool in_bounds(const struct option_row *r, double v)
{
    return (r->min == 0 && r->max == 0) || (v >= r->min && v <= r->max);
}

static int choose(const struct option_row *r, const char *value, int *field, struct err *e)
{
    char all[256] = "";
    int i;

    for (i = 0; r->choices[i]; i++) {
        size_t n = strlen(all);

        if (!strcmp(r->choices[i], value)) {
            *field = i;
            return 0;
        }
        snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", r->choices[i]);
    }
    return err_set(e, ERR_USAGE, "--%s: '%s' must be one of %s", r->name, value, all);
}

static int store(const struct option_row *r, void *field, const char *value, struct err *e)
{
    struct option_list *list = field;
    int64_t whole;
    double real;

    switch (r->type) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)field = value;
        return 0;
    case OPTION_INT:
        if (text_i64(value, INT64_MIN, INT64_MAX, &whole) < 0 || !in_bounds(r, (double)whole))
            return refuse_number(r, value, e);
        *(int64_t *)field = whole;
        return 0;
    case OPTION_FLOAT:
        if (text_f64(value, -HUGE_VAL, HUGE_VAL, &real) < 0 || !in_bounds(r, real))
            return refuse_number(r, value, e);
        *(double *)field = real;
        return 0;
    case OPTION_CHOICE:
        return choose(r, value, field, e);
    case OPTION_LIST:
        if (list->count == OPTION_LIST_MAX)
            return err_set(e, ERR_USAGE, "--%s: more than %d times", r->name, OPTION_LIST_MAX);
        list->items[list->count++] = value;
        return 0;
    }
    return err_set(e, ERR_INTERNAL, "--%s: a row without a type", r->name);
}

/* `value` NULL: it is the next word, if the option takes one. */
static int take(struct parsing *p, const struct option_row *r, const char *value)
{
    if (r->type == OPTION_FLAG && value)
        return err_set(p->e, ERR_USAGE, "--%s takes no value", r->name);
    if (r->type != OPTION_FLAG && !value) {
        if (p->at == p->argc)
            return err_set(p->e, ERR_USAGE, "--%s needs a value (%s)", r->name,
                           r->value ? r->value : "VALUE");
        value = p->argv[p->at++];
    }
    return store(r, (char *)p->base + r->offset, value, p->e);
}

/* The word nearest to `typed` so far; `least` keeps its distance. */
static void nearer(const char *typed, const char *name, const char **best, size_t *least)
{
    size_t d = nearest_distance(typed, name);

    if (d < *least) {
        *least = d;
        *best = name;
    }
}

static int unknown_name(struct parsing *p, const char *name, size_t len)
{
    const char *best = NULL;
    size_t least = SIZE_MAX, i;
    char typed[64];

    snprintf(typed, sizeof typed, "%.*s", (int)len, name);
    for (i = 0; i < p->count; i++)
        nearer(typed, p->rows[i].name, &best, &least);
    if (best && nearest_enough(typed, least))
        return err_set(p->e, ERR_USAGE, "unknown option --%s (did you mean --%s?)", typed, best);
    return err_set(p->e, ERR_USAGE, "unknown option --%s (--help lists them)", typed);
}

int options_unknown(const char *what, const char *typed, const char *const *names, struct err *e)
{
    const char *best = NULL;
    size_t least = SIZE_MAX, i;

    for (i = 0; names[i]; i++)
        nearer(typed, names[i], &best, &least);
    if (best && nearest_enough(typed, least))
        return err_set(e, ERR_USAGE, "unknown %s '%s' (did you mean '%s'?)", what, typed, best);
    return err_set(e, ERR_USAGE, "unknown %s '%s' (--help lists them)", what, typed);
}

static int take_long(struct parsing *p, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const struct option_row *r = by_name(p, word, len);

    if (!r)
        return unknown_name(p, word, len);
    return take(p, r, equals ? equals + 1 : NULL);
}

static int take_letters(struct parsing *p, const char *letters)
{
    int rc = 0;

    while (*letters && rc == 0) {
        const struct option_row *r = by_letter(p, *letters++);

        if (!r)
            return err_set(p->e, ERR_USAGE, "unknown option -%c (--help lists them)", letters[-1]);
        if (r->type == OPTION_FLAG || !*letters) {
            rc = take(p, r, NULL);
        } else {
            rc = take(p, r, letters);
            break;
        }
    }
    return rc;
}

int options_parse(const struct option_row *rows, size_t n, void *base, int argc, char **argv,
                  int *operands, struct err *e)
{
    struct parsing p = {rows, n, base, argc, 0, argv, e};
    bool ended = false;
    int rc = 0;

    *operands = 0;
    while (p.at < argc && rc == 0) {
        char *word = argv[p.at++];

        if (ended || word[0] != '-' || !word[1]) /* "-" is an operand: standard input */
            argv[(*operands)++] = word;
        else if (!strcmp(word, "--"))
            ended = true;
        else if (word[1] == '-')
            rc = take_long(&p, word + 2);
        else
            rc = take_letters(&p, word + 1);
    }
    return rc;
}

/* Breaks at blanks; the first line continues where the option's names ended. */
static void put_wrapped(const char *text, size_t column, struct buf *to)
{
    while (*text) {
        size_t n = strcspn(text, " ");

        if (column + 1 + n > WIDTH && column > HELP_COLUMN) {
            buf_printf(to, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            buf_char(to, ' ');
            column++;
        }
        buf_add(to, text, n);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    buf_char(to, '\n');
}

void options_help(const struct option_row *rows, size_t n, struct buf *to)
{
    size_t i, at;

    for (i = 0; i < n; i++) {
        at = to->len;
        if (rows[i].letter)
            buf_printf(to, "  -%c, --%s", rows[i].letter, rows[i].name);
        else
            buf_printf(to, "      --%s", rows[i].name);
        if (rows[i].type != OPTION_FLAG)
            buf_printf(to, " %s", rows[i].value ? rows[i].value : "VALUE");
        if (to->len - at > HELP_COLUMN - 2)
            buf_printf(to, "\n%*s", HELP_COLUMN, "");
        else
            buf_printf(to, "%*s", (int)(HELP_COLUMN - (to->len - at)), "");
        put_wrapped(rows[i].help, HELP_COLUMN, to);
    }
}
