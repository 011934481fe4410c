/*
 * What the tables say, as JSON Schema and as the docs page.
 */
#include "schemas/record_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/json/base64.h"

#define DIALECT "https://json-schema.org/draft/2020-12/schema"

/* --- JSON Schema
 * ------------------------------------------------------------------------------------ */

static json_t *schema_of(const struct record *r);

/* 5 rather than 5.0 where the number is whole. */
static json_t *number(double v)
{
    return v == (double)(int64_t)v ? json_integer((int64_t)v) : json_real(v);
}

static void set(json_t *o, const char *name, json_t *v)
{
    json_object_set_new(o, name, v); /* a failure shows as a missing member: the build compares */
}

static const char *type_name(enum record_type type)
{
    switch (type) {
    case RECORD_INT:
        return "integer";
    case RECORD_NUMBER:
        return "number";
    case RECORD_BOOL:
        return "boolean";
    case RECORD_OBJECT:
    case RECORD_MAP:
        return "object";
    case RECORD_ARRAY:
    case RECORD_ROWS:
        return "array";
    default:
        return "string";
    }
}

static json_t *typed(enum record_type type)
{
    return json_pack("{s:s}", "type", type_name(type));
}

static void set_string_bounds(json_t *o, const struct record_field *f)
{
    double min, max;

    field_bounds(f, &min, &max);
    if (f->type == RECORD_NAME) {
        set(o, "pattern", json_string("^[a-z0-9][a-z0-9-]{0,62}$"));
        return;
    }
    if (f->type == RECORD_SHA256) {
        set(o, "pattern", json_string("^[0-9a-f]{64}$"));
        return;
    }
    if (min > 0)
        set(o, "minLength", number(1));
    set(o, "maxLength", number(f->type == RECORD_BYTES ? (double)BASE64_LEN((size_t)max) : max));
    if (f->type == RECORD_BYTES)
        set(o, "contentEncoding", json_string("base64"));
}

static void set_number_bounds(json_t *o, const struct record_field *f)
{
    double min, max;

    field_bounds(f, &min, &max);
    if (f->type == RECORD_NUMBER && min == 0 && max == 0)
        return;
    set(o, "minimum", number(min));
    set(o, "maximum", number(max));
}

static void set_items(json_t *o, const struct record_field *f)
{
    double min, max;

    field_bounds(f, &min, &max);
    if (f->type == RECORD_MAP) {
        set(o, "additionalProperties", typed(f->item));
        return;
    }
    if (f->type == RECORD_ROWS)
        set(o, "items", json_pack("{s:s, s:o}", "type", "array", "items", typed(RECORD_NUMBER)));
    else
        set(o, "items", f->item == RECORD_OBJECT ? schema_of(f->of) : typed(f->item));
    if (min > 0)
        set(o, "minItems", number(min));
    set(o, "maxItems", number(max));
}

static json_t *names_of(const struct record_field *f)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; f->names[i]; i++)
        json_array_append_new(list, json_string(f->names[i]));
    return list;
}

static json_t *fallback_of(const struct record_field *f)
{
    json_t *v;

    if (f->type != RECORD_INT && f->type != RECORD_NUMBER && f->type != RECORD_BOOL)
        return json_string(f->fallback);
    v = json_loads(f->fallback, JSON_DECODE_ANY, NULL);
    return v;
}

static json_t *property(const struct record_field *f)
{
    json_t *o = f->type == RECORD_OBJECT ? schema_of(f->of) : json_object();

    if (f->type == RECORD_LABEL)
        set(o, "type", json_pack("[s,s]", "string", "integer"));
    else if (f->type != RECORD_ANY)
        set(o, "type", json_string(type_name(f->type)));
    set(o, "description", json_string(f->help ? f->help : ""));
    switch (f->type) {
    case RECORD_INT:
    case RECORD_NUMBER:
        set_number_bounds(o, f);
        break;
    case RECORD_ENUM:
        set(o, "enum", names_of(f));
        break;
    case RECORD_ARRAY:
    case RECORD_MAP:
    case RECORD_ROWS:
        set_items(o, f);
        break;
    case RECORD_BOOL:
    case RECORD_OBJECT:
    case RECORD_ANY:
        break;
    default:
        set_string_bounds(o, f);
    }
    if (f->need == RECORD_DEFAULT)
        set(o, "default", fallback_of(f));
    return o;
}

static json_t *schema_of(const struct record *r)
{
    json_t *o = json_object(), *properties = json_object(), *required = json_array(), *more;
    size_t i;

    set(o, "title", json_string(r->title));
    set(o, "type", json_string("object"));
    for (i = 0; i < r->field_count; i++) {
        const struct record_field *f = &r->fields[i];

        set(properties, f->name, property(f));
        if (f->alias)
            set(properties, f->alias, property(f));
        if (f->need == RECORD_REQUIRED)
            json_array_append_new(required, json_string(f->name));
    }
    set(o, "properties", properties);
    if (json_array_size(required))
        set(o, "required", required);
    else
        json_decref(required);
    more = r->schema_extra ? json_loads(r->schema_extra, 0, NULL) : NULL;
    if (more)
        json_object_update(o, more);
    json_decref(more);
    return o;
}

int record_schema(const struct record *r, struct buf *out, struct err *e)
{
    json_t *o = json_object(), *body = schema_of(r);
    char id[128];
    int rc;

    snprintf(id, sizeof id, "urn:tripline:schema:%s", r->name);
    set(o, "$schema", json_string(DIALECT));
    set(o, "$id", json_string(id));
    if (r->help)
        set(o, "description", json_string(r->help));
    json_object_update(o, body);
    rc = json_write(o, JSON_READABLE, out, e);
    json_decref(body);
    json_decref(o);
    return rc;
}

/* --- the page
 * ----------------------------------------------------------------------------------------- */

static bool has_section(const struct record *r)
{
    size_t i;

    for (i = 0; record_all[i]; i++)
        if (record_all[i] == r)
            return true;
    return false;
}

static const char *type_word(const struct record_field *f)
{
    static const char *const words[RECORD_TYPES] = {
        [RECORD_STRING] = "string",   [RECORD_NAME] = "name",
        [RECORD_SHA256] = "SHA-256",  [RECORD_INT] = "integer",
        [RECORD_NUMBER] = "number",   [RECORD_BOOL] = "boolean",
        [RECORD_BYTES] = "bytes",     [RECORD_ENUM] = "one of",
        [RECORD_OBJECT] = "object",   [RECORD_LABEL] = "string or integer",
        [RECORD_ARRAY] = "array of ", [RECORD_MAP] = "map to ",
        [RECORD_ROWS] = "rows",       [RECORD_ANY] = "any",
    };

    return words[f->type];
}

static void put_type(struct buf *out, const struct record_field *f)
{
    static const char *const items[RECORD_TYPES] = {[RECORD_OBJECT] = "objects",
                                                    [RECORD_INT] = "integers",
                                                    [RECORD_NUMBER] = "numbers",
                                                    [RECORD_STRING] = "strings"};
    size_t i;

    buf_str(out, type_word(f));
    if (f->type == RECORD_ARRAY || f->type == RECORD_MAP)
        buf_str(out, items[f->item]);
    for (i = 0; f->type == RECORD_ENUM && f->names[i]; i++)
        buf_printf(out, "%s `%s`", i ? "," : "", f->names[i]);
}

static void put_bounds(struct buf *out, const struct record_field *f)
{
    double min, max;

    field_bounds(f, &min, &max);
    if (f->type == RECORD_ENUM || f->type == RECORD_NAME || f->type == RECORD_SHA256 ||
        f->type == RECORD_BOOL || f->type == RECORD_OBJECT || f->type == RECORD_ANY ||
        (min == 0 && max == 0))
        return;
    if (f->type == RECORD_INT && max == RECORD_INT_MAX) {
        if (min > -RECORD_INT_MAX)
            buf_printf(out, "%.0f or more", min);
        return;
    }
    if (f->type == RECORD_INT || f->type == RECORD_NUMBER)
        buf_printf(out, "%.12g to %.12g", min, max);
    else
        buf_printf(out, "%.0f to %.0f %s", min, max,
                   f->type == RECORD_ARRAY || f->type == RECORD_MAP ? "items"
                   : f->type == RECORD_ROWS                         ? "rows"
                                                                    : "bytes");
}

static void put_rows(struct buf *out, const struct record *r, const char *prefix)
{
    char nested[200];
    size_t i;

    for (i = 0; i < r->field_count; i++) {
        const struct record_field *f = &r->fields[i];

        buf_printf(out, "| `%s%s` | ", prefix, f->name);
        put_type(out, f);
        buf_str(out, " | ");
        if (f->need == RECORD_DEFAULT)
            buf_printf(out, "`%s`", f->fallback);
        else
            buf_str(out, f->need == RECORD_REQUIRED ? "required" : "");
        buf_str(out, " | ");
        put_bounds(out, f);
        buf_printf(out, " | %s", f->help ? f->help : "");
        if (f->alias)
            buf_printf(out, " Also spelled `%s`.", f->alias);
        if (f->of && has_section(f->of))
            buf_printf(out, " See %s below.", f->of->title);
        buf_str(out, " |\n");
        if (!f->of || has_section(f->of))
            continue;
        snprintf(nested, sizeof nested, "%s%s%s.", prefix, f->name,
                 f->type == RECORD_ARRAY ? "[]" : "");
        put_rows(out, f->of, nested);
    }
}

int record_page(const struct record *r, struct buf *out, struct err *e)
{
    buf_printf(out, "### %s (`schemas/%s.json`)\n\n", r->title, r->name);
    if (r->help)
        buf_printf(out, "%s\n\n", r->help);
    buf_str(out,
            "| field | type | default | bounds | meaning |\n| --- | --- | --- | --- | --- |\n");
    put_rows(out, r, "");
    return buf_check(out, "page", e);
}
