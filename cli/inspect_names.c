/* What the views of `inspect` share: members, cleaned names, the lines of a box. */
#include <stdio.h>
#include <string.h>

#include "cli/inspect.h"

enum { NAME_MAX_SHOWN = 48 }; /* characters of a name in a box */

const char *inspect_string(const json_t *v, const char *name)
{
    const char *text = json_string_value(json_object_get(v, name));

    return text ? text : "";
}

long long inspect_number(const json_t *v, const char *name)
{
    return (long long)json_integer_value(json_object_get(v, name));
}

/* Bytes of the character at `s`; valid UTF-8 is the parser's promise. */
static size_t width(const char *s)
{
    unsigned char c = (unsigned char)*s;

    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

static bool is_shown(const char *s)
{
    unsigned char c = (unsigned char)s[0], d = (unsigned char)s[1];

    if (c < 0x20 || c == 0x7f || (c == 0xc2 && d < 0xa0))
        return false;
    return !(c == 0xef && d == 0xbf && (unsigned char)s[2] >= 0xbe);
}

void inspect_clean(const char *text, size_t most, struct buf *to)
{
    for (size_t n = 0; *text; n++, text += width(text)) {
        if (n + 1 == most && text[width(text)]) {
            buf_str(to, "\xe2\x80\xa6");
            return;
        }
        if (is_shown(text))
            buf_add(to, text, width(text));
        else
            buf_str(to, "\xef\xbf\xbd");
    }
}

void inspect_thousands(long long n, struct buf *to)
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%lld", n);

    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0 && digits[i - 1] != '-')
            buf_char(to, ',');
        buf_char(to, digits[i]);
    }
}

bool inspect_is_frozen(const json_t *box)
{
    return inspect_number(box, "parameters") > 0 && inspect_number(box, "trainable") == 0;
}

static int weights(const json_t *box, struct buf *to)
{
    long long all = inspect_number(box, "parameters"), trained = inspect_number(box, "trainable");
    long long read = inspect_number(box, "reads");

    if (all) {
        inspect_thousands(all, to);
        buf_str(to, trained == all ? " parameters\n"
                    : trained      ? " parameters, some frozen\n"
                                   : " parameters, frozen\n");
    }
    if (read > all) {
        inspect_thousands(read - all, to);
        buf_str(to, " shared with a later block\n");
    }
    return (all > 0) + (read > all);
}

int inspect_lines(const json_t *box, struct buf *to)
{
    const char *scope = inspect_string(box, "scope");
    json_t *item;
    int count = 1;
    size_t i;

    inspect_clean(inspect_string(box, "name"), NAME_MAX_SHOWN, to);
    buf_char(to, '\n');
    if (*scope && strcmp(scope, inspect_string(box, "name")) != 0) {
        inspect_clean(scope, NAME_MAX_SHOWN, to);
        buf_char(to, '\n');
        count++;
    }
    json_array_foreach(json_object_get(box, "operators"), i, item)
    {
        inspect_clean(json_string_value(item) ? json_string_value(item) : "", NAME_MAX_SHOWN, to);
        buf_char(to, '\n');
        count++;
    }
    return count + weights(box, to);
}
