/*
 * Values: from text to a typed field within bounds, and what to tell when it
 * does not go.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/conf/conf_int.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit sizes[] = {{"T", INT64_C(1) << 40}, {"G", 1 << 30}, {"M", 1 << 20},
                                    {"K", 1 << 10},          {"", 1},        {NULL, 0}};
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                        {"s", 1000},     {"ms", 1},      {NULL, 0}};

static bool bounded(const struct conf_row *r)
{
    return r->min != 0 || r->max != 0;
}

static const struct unit *units_of(enum conf_type type)
{
    return type == CONF_SIZE ? sizes : type == CONF_DURATION ? durations : NULL;
}

void conf_number_text(const struct conf_row *r, double v, char text[32])
{
    const struct unit *u = units_of(r->type);

    if (u && v == 0) {
        snprintf(text, 32, "0");
        return;
    }
    while (u && u[1].name && (int64_t)v % u->factor != 0)
        u++;
    if (u)
        snprintf(text, 32, "%.15g%s", v / (double)u->factor, u->name);
    else
        snprintf(text, 32, "%.15g", v);
}

void conf_allowed(const struct conf_row *r, struct buf *to)
{
    static const char *const kinds[] = {
        [CONF_INT] = "a whole number",
        [CONF_SIZE] = "a size such as 512K, 64M, 2G",
        [CONF_DURATION] = "a time such as 500ms, 30s, 5m, 2h, 7d",
        [CONF_FLOAT] = "a number",
        [CONF_BOOL] = "true or false",
    };
    char low[32], high[32];
    size_t i;

    if (r->type == CONF_ENUM) {
        buf_str(to, "one of ");
        for (i = 0; r->choices[i]; i++)
            buf_printf(to, "%s%s", i ? ", " : "", r->choices[i]);
    } else if (r->type >= CONF_INT) {
        buf_str(to, kinds[r->type]);
        if (bounded(r) && r->type != CONF_BOOL) {
            conf_number_text(r, r->min, low);
            conf_number_text(r, r->max, high);
            buf_printf(to, ", %s to %s", low, high);
        }
    } else {
        buf_printf(to, "text of %.0f to %.0f bytes", r->min, r->max ? r->max : CONF_VALUE_MAX);
    }
}

static int refuse(const struct conf_row *r, const char *value, struct err *e)
{
    struct buf b;

    buf_init(&b, 256);
    conf_allowed(r, &b);
    if (r->type == CONF_SECRET)
        err_set(e, ERR_CONFIG, "the value must be %s", b.data ? b.data : "");
    else
        err_set(e, ERR_CONFIG, "'%.100s' must be %s", value, b.data ? b.data : "");
    buf_release(&b);
    return e->code;
}

/* "64M": digits, then a unit; no sign, no blank, no overflow. */
static int with_unit(const struct unit *u, const char *value, int64_t *out)
{
    size_t digits = strspn(value, "0123456789");
    char number[24];

    if (digits == 0 || digits >= sizeof number)
        return -1;
    memcpy(number, value, digits);
    number[digits] = 0;
    if (text_i64(number, 0, INT64_MAX, out) < 0)
        return -1;
    if (*out == 0 && !value[digits])
        return 0;
    for (; u->name; u++)
        if (!strcmp(u->name, value + digits))
            return __builtin_mul_overflow(*out, u->factor, out) ? -1 : 0;
    return -1;
}

static int number(const struct conf_row *r, const char *value, int64_t *field, struct err *e)
{
    const struct unit *u = units_of(r->type);
    int64_t v;

    if ((u ? with_unit(u, value, &v) : text_i64(value, INT64_MIN, INT64_MAX, &v)) < 0)
        return refuse(r, value, e);
    if (bounded(r) && ((double)v < r->min || (double)v > r->max))
        return refuse(r, value, e);
    *field = v;
    return 0;
}

static int real(const struct conf_row *r, const char *value, double *field, struct err *e)
{
    double low = bounded(r) ? r->min : -HUGE_VAL, high = bounded(r) ? r->max : HUGE_VAL;

    return text_f64(value, low, high, field) < 0 ? refuse(r, value, e) : 0;
}

static int choice(const struct conf_row *r, const char *value, int *field, struct err *e)
{
    int i;

    for (i = 0; r->choices[i]; i++)
        if (!strcmp(r->choices[i], value)) {
            *field = i;
            return 0;
        }
    return refuse(r, value, e);
}

static int boolean(const struct conf_row *r, const char *value, bool *field, struct err *e)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    size_t i;

    for (i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(words[i], value)) {
            *field = i % 2 == 1;
            return 0;
        }
    return refuse(r, value, e);
}

static int string(const struct conf_row *r, const char *value, const char **field, struct err *e)
{
    size_t n = strlen(value), i;

    if ((double)n < r->min || (double)n > (r->max ? r->max : CONF_VALUE_MAX))
        return refuse(r, value, e);
    if (text_utf8_valid(value, n) != n)
        return err_set(e, ERR_CONFIG, "the value is not valid UTF-8");
    for (i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return err_set(e, ERR_CONFIG, "the value holds a control character");
    *field = n ? value : NULL;
    return 0;
}

int conf_value(const struct conf_row *r, const char *value, void *field, struct err *e)
{
    switch (r->type) {
    case CONF_INT:
    case CONF_SIZE:
    case CONF_DURATION:
        return number(r, value, field, e);
    case CONF_FLOAT:
        return real(r, value, field, e);
    case CONF_BOOL:
        return boolean(r, value, field, e);
    case CONF_ENUM:
        return choice(r, value, field, e);
    default:
        return string(r, value, field, e);
    }
}
