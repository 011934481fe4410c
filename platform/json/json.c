#include "platform/json/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/file.h"
#include "platform/base/text.h"

static const struct json_limits limits_default = JSON_LIMITS_DEFAULT;

/* --- memory ----------------------------------------------------------------------------------- */

/*
 * jansson's lexer does not look whether its buffer could grow: it drops characters, reads past
 * them, or ends the process by an assertion. So an allocation that fails while a text is parsed
 * leaves the parser at once, and what it holds goes back.
 */
static _Thread_local struct {
    jmp_buf *out; /* NULL: nothing is being parsed */
    void **held;  /* NULL entries have gone back */
    size_t count, cap;
} parsing;

static bool note(void *p)
{
    size_t cap = parsing.cap ? 2 * parsing.cap : 256;
    void **held = parsing.held;

    if (parsing.count == parsing.cap) {
        if (!(held = realloc(held, cap * sizeof *held)))
            return false;
        parsing.held = held;
        parsing.cap = cap;
    }
    held[parsing.count++] = p;
    return true;
}

static void *take(size_t n)
{
    void *p = malloc(n);

    if (!parsing.out || (p && note(p)))
        return p;
    free(p);
    longjmp(*parsing.out, 1);
}

/* What goes back was mostly taken last. */
static void give(void *p)
{
    size_t i = parsing.out ? parsing.count : 0;

    while (i > 0 && parsing.held[i - 1] != p)
        i--;
    if (i > 0)
        parsing.held[i - 1] = NULL;
    while (parsing.count > 0 && !parsing.held[parsing.count - 1])
        parsing.count--;
    free(p);
}

/* Before anything is asked of jansson. */
static __attribute__((constructor)) void take_over(void)
{
    json_set_alloc_funcs(take, give);
}

/* False: memory has run out. *out NULL: *why says what is wrong with the text. */
static bool load(const char *s, size_t n, json_t **out, json_error_t *why)
{
    jmp_buf back;
    volatile bool enough = true;

    if (setjmp(back) == 0) {
        parsing.out = &back;
        *out = json_loadb(s, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, why);
    } else {
        enough = false;
        *out = NULL;
        while (parsing.count > 0)
            free(parsing.held[--parsing.count]);
    }
    free(parsing.held);
    memset(&parsing, 0, sizeof parsing);
    return enough;
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* Behind the string that begins at s[i]; n when it doesn't end. */
static size_t skip_string(const char *s, size_t n, size_t i)
{
    for (i++; i < n; i++) {
        if (s[i] == '\\')
            i++;
        else if (s[i] == '"')
            return i + 1;
    }
    return n;
}

/* Counts before jansson allocates: brackets and commas outside of strings bound what it will build,
 * whether or not the text is valid. */
static int check_limits(const char *s, size_t n, const struct json_limits *l, struct err *e)
{
    size_t i = 0, depth = 0, values = 1, objects = 0;

    if (n > l->bytes)
        return err_set(e, ERR_LIMIT, "JSON: %zu bytes, at most %zu", n, l->bytes);
    while (i < n) {
        char c = s[i];

        if (c == '"') {
            i = skip_string(s, n, i);
            continue;
        }
        if ((c == '{' || c == '[') && ++depth > l->depth)
            return err_set(e, ERR_LIMIT, "JSON: nested deeper than %zu (offset %zu)", l->depth, i);
        if ((c == '}' || c == ']') && depth > 0)
            depth--;
        objects += c == '{';
        values += c == ',' || c == '{' || c == '[';
        if (values > l->values || objects > l->objects)
            return err_set(e, ERR_LIMIT, "JSON: more than %zu %s (offset %zu)",
                           values > l->values ? l->values : l->objects,
                           values > l->values ? "values" : "objects", i);
        i++;
    }
    return 0;
}

int json_parse(const void *bytes, size_t n, const struct json_limits *limits, json_t **out,
               struct err *e)
{
    json_error_t why;
    int rc;

    *out = NULL;
    if ((rc = check_limits(bytes, n, limits ? limits : &limits_default, e)) < 0)
        return rc;
    if (!load(bytes, n, out, &why))
        return err_set(e, ERR_NOMEM, "JSON: out of memory");
    if (*out)
        return 0;
    if (json_error_code(&why) == json_error_null_character)
        return err_set(e, ERR_FORMAT, "JSON: a NUL character in a string (offset %d)",
                       why.position);
    return err_set(e, ERR_FORMAT, "JSON: %s (offset %d)", why.text, why.position);
}

int json_parse_file(const char *path, const struct json_limits *limits, json_t **out, struct err *e)
{
    struct buf b;
    int rc;

    *out = NULL;
    buf_init(&b, limits ? limits->bytes : limits_default.bytes);
    if ((rc = file_read(path, &b, e)) == 0 && (rc = json_parse(b.data, b.len, limits, out, e)) < 0)
        err_wrap(e, "%s", path);
    buf_release(&b);
    return rc;
}

/* --- building --------------------------------------------------------------------------------- */

static void drop_unless(bool kept, json_t **to)
{
    if (kept)
        return;
    json_decref(*to);
    *to = NULL;
}

void json_add(json_t **to, json_t *item)
{
    drop_unless(json_array_append_new(*to, item) == 0, to);
}

void json_put(json_t **to, const char *name, json_t *value)
{
    drop_unless(json_object_set_new(*to, name, value) == 0, to);
}

/* --- writing ---------------------------------------------------------------------------------- */

void json_write_real(double v, struct buf *out)
{
    char text[40];
    int digits;

    for (digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_str(out, text);
    if (!strpbrk(text, ".e"))
        buf_str(out, ".0");
}

struct member {
    const char *name;
    size_t len;
    const json_t *value;
};

static int by_name(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(x->name, y->name, n);

    return c ? c : (x->len > y->len) - (x->len < y->len);
}

struct writer {
    enum json_form form;
    struct buf *out;
    struct err *e;
    size_t depth;
};

static void newline(struct writer *w)
{
    size_t i;

    if (w->form != JSON_READABLE)
        return;
    buf_char(w->out, '\n');
    for (i = 0; i < w->depth; i++)
        buf_str(w->out, "  ");
}

static int write_value(struct writer *w, const json_t *v);

static int write_object(struct writer *w, const json_t *v)
{
    size_t n = json_object_size(v), i = 0;
    struct member *members = calloc(n ? n : 1, sizeof *members);
    const char *name;
    json_t *value;
    int rc = 0;

    if (!members)
        return err_set(w->e, ERR_NOMEM, "JSON: out of memory");
    json_object_foreach((json_t *)v, name, value) members[i++] =
        (struct member){name, strlen(name), value};
    if (w->form == JSON_CANONICAL)
        qsort(members, n, sizeof *members, by_name);
    buf_char(w->out, '{');
    w->depth++;
    for (i = 0; i < n && rc == 0; i++) {
        if (i)
            buf_char(w->out, ',');
        newline(w);
        text_json(w->out, members[i].name, members[i].len);
        buf_str(w->out, w->form == JSON_READABLE ? ": " : ":");
        rc = write_value(w, members[i].value);
    }
    w->depth--;
    if (n)
        newline(w);
    buf_char(w->out, '}');
    free(members);
    return rc;
}

static int write_array(struct writer *w, const json_t *v)
{
    size_t n = json_array_size(v), i;
    int rc = 0;

    buf_char(w->out, '[');
    w->depth++;
    for (i = 0; i < n && rc == 0; i++) {
        if (i)
            buf_char(w->out, ',');
        newline(w);
        rc = write_value(w, json_array_get(v, i));
    }
    w->depth--;
    if (n)
        newline(w);
    buf_char(w->out, ']');
    return rc;
}

static int write_value(struct writer *w, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return write_object(w, v);
    case JSON_ARRAY:
        return write_array(w, v);
    case JSON_STRING:
        text_json(w->out, json_string_value(v), json_string_length(v));
        return 0;
    case JSON_INTEGER:
        buf_printf(w->out, "%lld", (long long)json_integer_value(v));
        return 0;
    case JSON_REAL:
        if (!isfinite(json_real_value(v)))
            return err_set(w->e, ERR_FORMAT, "JSON: a number that is not finite");
        json_write_real(json_real_value(v), w->out);
        return 0;
    case JSON_TRUE:
        buf_str(w->out, "true");
        return 0;
    case JSON_FALSE:
        buf_str(w->out, "false");
        return 0;
    default:
        buf_str(w->out, "null");
        return 0;
    }
}

int json_write(const json_t *v, enum json_form form, struct buf *out, struct err *e)
{
    struct writer w = {form, out, e, 0};
    int rc = write_value(&w, v);

    if (rc < 0)
        return rc;
    newline(&w);
    return buf_check(out, "JSON", e);
}

/* --- getters ---------------------------------------------------------------------------------- */

const char *json_type_text(const json_t *v)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null",
    };

    return v ? names[json_typeof(v)] : "nothing";
}

json_t *json_find(const json_t *v, const char *path)
{
    char name[256];
    size_t n;
    int64_t index;

    while (v && *path) {
        n = strcspn(path, ".");
        if (n >= sizeof name)
            return NULL;
        memcpy(name, path, n);
        name[n] = 0;
        if (json_is_array(v))
            v = text_i64(name, 0, INT32_MAX, &index) < 0 ? NULL : json_array_get(v, (size_t)index);
        else
            v = json_object_get(v, name);
        path += n + (path[n] == '.');
    }
    return (json_t *)v;
}

static int wrong(const char *path, const char *expected, const json_t *got, struct err *e)
{
    if (!got)
        return err_set(e, ERR_FORMAT, "%s: missing", path);
    return err_set(e, ERR_FORMAT, "%s: expected %s, got %s", path, expected, json_type_text(got));
}

int json_object_at(const json_t *v, const char *path, json_t **out, struct err *e)
{
    *out = json_find(v, path);
    return json_is_object(*out) ? 0 : wrong(path, "an object", *out, e);
}

int json_array_at(const json_t *v, const char *path, json_t **out, struct err *e)
{
    *out = json_find(v, path);
    return json_is_array(*out) ? 0 : wrong(path, "an array", *out, e);
}

int json_string_at(const json_t *v, const char *path, const char **out, struct err *e)
{
    const json_t *found = json_find(v, path);

    *out = json_string_value(found);
    return *out ? 0 : wrong(path, "a string", found, e);
}

int json_int_at(const json_t *v, const char *path, int64_t min, int64_t max, int64_t *out,
                struct err *e)
{
    const json_t *found = json_find(v, path);

    if (!json_is_integer(found))
        return wrong(path, "an integer", found, e);
    *out = json_integer_value(found);
    if (*out < min || *out > max)
        return err_set(e, ERR_FORMAT, "%s: %lld is outside %lld to %lld", path, (long long)*out,
                       (long long)min, (long long)max);
    return 0;
}

int json_number_at(const json_t *v, const char *path, double *out, struct err *e)
{
    const json_t *found = json_find(v, path);

    if (!json_is_number(found))
        return wrong(path, "a number", found, e);
    *out = json_number_value(found);
    return 0;
}

int json_bool_at(const json_t *v, const char *path, bool *out, struct err *e)
{
    const json_t *found = json_find(v, path);

    if (!json_is_boolean(found))
        return wrong(path, "true or false", found, e);
    *out = json_is_true(found);
    return 0;
}

static bool is_absent(const json_t *v, const char *path)
{
    const json_t *found = json_find(v, path);

    return !found || json_is_null(found);
}

int json_string_or(const json_t *v, const char *path, const char *fallback, const char **out,
                   struct err *e)
{
    *out = fallback;
    return is_absent(v, path) ? 0 : json_string_at(v, path, out, e);
}

int json_int_or(const json_t *v, const char *path, int64_t min, int64_t max, int64_t fallback,
                int64_t *out, struct err *e)
{
    *out = fallback;
    return is_absent(v, path) ? 0 : json_int_at(v, path, min, max, out, e);
}

int json_number_or(const json_t *v, const char *path, double fallback, double *out, struct err *e)
{
    *out = fallback;
    return is_absent(v, path) ? 0 : json_number_at(v, path, out, e);
}

int json_bool_or(const json_t *v, const char *path, bool fallback, bool *out, struct err *e)
{
    *out = fallback;
    return is_absent(v, path) ? 0 : json_bool_at(v, path, out, e);
}

/* --- offsets ---------------------------------------------------------------------------------- */

static size_t skip_blanks(const char *s, size_t n, size_t i)
{
    while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r'))
        i++;
    return i;
}

/* Behind the value at s[i]: to the ',' or bracket that ends it on this level. */
static size_t skip_value(const char *s, size_t n, size_t i)
{
    size_t depth = 0;

    while (i < n) {
        if (s[i] == '"') {
            i = skip_string(s, n, i);
            continue;
        }
        if (s[i] == '{' || s[i] == '[')
            depth++;
        else if (s[i] == '}' || s[i] == ']') {
            if (depth == 0)
                return i;
            depth--;
        } else if (s[i] == ',' && depth == 0)
            return i;
        i++;
    }
    return i;
}

/* Is the member name at s[i], escapes and all, this one? */
static bool is_named(const char *s, size_t n, size_t i, const char *name)
{
    json_error_t why;
    json_t *v;
    bool same;

    load(s + i, skip_string(s, n, i) - i, &v, &why);
    same = v && !strcmp(json_string_value(v), name);
    json_decref(v);
    return same;
}

/* Where the step leads from the container at s[i]; n when it leads nowhere. */
static size_t follow(const char *s, size_t n, size_t i, const struct json_step *step)
{
    bool object = i < n && s[i] == '{', found;
    size_t k;

    if (i >= n || (object ? !step->name : s[i] != '[' || step->name))
        return n;
    i = skip_blanks(s, n, i + 1);
    for (k = 0; i < n && s[i] != '}' && s[i] != ']'; k++) {
        found = object ? is_named(s, n, i, step->name) : k == step->index;
        if (object)
            i = skip_blanks(s, n, skip_blanks(s, n, skip_string(s, n, i)) + 1);
        if (found)
            return i;
        i = skip_value(s, n, i);
        if (i < n && s[i] == ',')
            i = skip_blanks(s, n, i + 1);
    }
    return n;
}

size_t json_offset(const void *text, size_t n, const struct json_step *steps, size_t count)
{
    size_t at = skip_blanks(text, n, 0), next, i;

    for (i = 0; i < count; i++) {
        next = follow(text, n, at, &steps[i]);
        if (next >= n)
            break;
        at = next;
    }
    return at;
}
