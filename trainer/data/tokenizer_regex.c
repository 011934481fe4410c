#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

#define ALTERNATIVES_MAX 32
#define ITEMS_MAX        128
#define RANGES_MAX       256
#define REPEAT_MAX       100000

/* A set of characters. */
struct set {
    bool negated;
    bool ascii[128];  /* the answer, with the negation */
    uint32_t flags;   /* any of these classes */
    int first, count; /* of the expression's ranges */
};

struct item {
    struct set set;
    size_t min, max;
};

struct alternative {
    int first, count; /* of the items */
    bool ahead;       /* the last item must not follow */
};

struct regex {
    struct alternative alternatives[ALTERNATIVES_MAX];
    struct item items[ITEMS_MAX];
    uint32_t ranges[RANGES_MAX][2];
    int alternative_count, item_count, range_count;
};

/* An expression being read. */
struct reader {
    struct regex *r;
    const char *pattern, *at;
    struct err *e;
};

static int refuse(struct reader *p, const char *what)
{
    return err_set(p->e, ERR_UNSUPPORTED, "regular expression \"%s\": %s at byte %zu", p->pattern,
                   what, (size_t)(p->at - p->pattern));
}

static bool within(const struct regex *r, const struct set *s, uint32_t c)
{
    int i;

    for (i = s->first; i < s->first + s->count; i++)
        if (c >= r->ranges[i][0] && c <= r->ranges[i][1])
            return true;
    return false;
}

static void settle(const struct regex *r, struct set *s, const uint32_t *classes)
{
    uint32_t c;

    for (c = 0; c < 128; c++)
        s->ascii[c] = ((classes[c] & s->flags) || within(r, s, c)) != s->negated;
}

static int add_range(struct reader *p, struct set *s, uint32_t first, uint32_t last)
{
    if (p->r->range_count == RANGES_MAX)
        return refuse(p, "too many characters");
    if (last < first)
        return refuse(p, "a range that ends before it begins");
    p->r->ranges[p->r->range_count][0] = first;
    p->r->ranges[p->r->range_count++][1] = last;
    s->count++;
    return 0;
}

static uint32_t take(struct reader *p)
{
    size_t n;
    uint32_t c = unicode_decode(p->at, strlen(p->at), &n);

    p->at += n;
    return c;
}

/* Behind a backslash. 1 and *c: a character; 0: a class went into the set. */
static int escape(struct reader *p, struct set *s, uint32_t *c, bool inside)
{
    static const struct {
        const char *text;
        uint32_t flag;
        bool negated;
    } known[] = {{"s", CHAR_SPACE, false},     {"p{L}", CHAR_LETTER, false},
                 {"p{N}", CHAR_NUMBER, false}, {"S", CHAR_SPACE, true},
                 {"P{L}", CHAR_LETTER, true},  {"P{N}", CHAR_NUMBER, true}};
    static const char from[] = "rnt", to[] = "\r\n\t";
    const char *found;
    size_t i;

    for (i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i].text);

        if (strncmp(p->at, known[i].text, n) != 0)
            continue;
        if (known[i].negated && inside)
            return refuse(p, "a negated class inside a class");
        s->flags |= known[i].flag;
        s->negated = s->negated != known[i].negated;
        p->at += n;
        return 0;
    }
    if (!*p->at)
        return refuse(p, "nothing behind the backslash");
    found = strchr(from, *p->at);
    if (!found && ((*p->at >= '0' && *p->at <= '9') || (*p->at >= 'A' && *p->at <= 'Z') ||
                   (*p->at >= 'a' && *p->at <= 'z')))
        return refuse(p, "an unknown escape");
    *c = take(p);
    if (found)
        *c = (uint32_t)to[found - from];
    return 1;
}

/* Behind '[', up to and with ']'. */
static int read_class(struct reader *p, struct set *s)
{
    uint32_t first, last;
    int rc;

    if (*p->at == '^') {
        s->negated = true;
        p->at++;
    }
    do {
        if (!*p->at || *p->at == '[' || (p->at[0] == '&' && p->at[1] == '&'))
            return refuse(p, "a class that is not closed, or one inside another");
        first = take(p);
        rc = first == '\\' ? escape(p, s, &first, true) : 1;
        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        last = first;
        if (p->at[0] == '-' && p->at[1] && p->at[1] != ']') {
            p->at++;
            last = take(p);
            if (last == '\\' && (rc = escape(p, s, &last, true)) <= 0)
                return rc < 0 ? rc : refuse(p, "a class as the end of a range");
        }
        if ((rc = add_range(p, s, first, last)) < 0)
            return rc;
    } while (*p->at != ']');
    p->at++;
    return 0;
}

static int number(struct reader *p, size_t *out)
{
    if (*p->at < '0' || *p->at > '9')
        return refuse(p, "a quantifier without a number");
    for (*out = 0; *p->at >= '0' && *p->at <= '9'; p->at++) {
        *out = *out * 10 + (size_t)(*p->at - '0');
        if (*out > REPEAT_MAX)
            return refuse(p, "too great a number");
    }
    return 0;
}

static int read_repeat(struct reader *p, struct item *it)
{
    int rc;

    it->min = it->max = 1;
    if (*p->at == '{') {
        p->at++;
        if ((rc = number(p, &it->min)) < 0)
            return rc;
        it->max = it->min;
        if (*p->at == ',') {
            p->at++;
            it->max = SIZE_MAX;
            if (*p->at != '}' && (rc = number(p, &it->max)) < 0)
                return rc;
        }
        if (*p->at != '}' || it->max < it->min || it->max == 0)
            return refuse(p, "a bad quantifier");
    } else if (*p->at && strchr("+*?", *p->at)) {
        it->min = *p->at == '+';
        it->max = *p->at == '?' ? 1 : SIZE_MAX;
    } else {
        return 0;
    }
    p->at++;
    return *p->at && strchr("+*?{", *p->at) ? refuse(p, "a second quantifier") : 0;
}

static int read_set(struct reader *p, struct item **out, const uint32_t *classes)
{
    struct regex *r = p->r;
    struct item *it = NULL;
    uint32_t c;
    int rc;

    if (r->item_count == ITEMS_MAX)
        return refuse(p, "too many parts");
    it = &r->items[r->item_count++];
    it->set.first = r->range_count;
    if (!*p->at || strchr("()^$.+*?{", *p->at))
        return refuse(p, "something unknown");
    c = take(p);
    rc = c == '[' ? read_class(p, &it->set) : c == '\\' ? escape(p, &it->set, &c, false) : 1;
    if (rc == 1)
        rc = add_range(p, &it->set, c, c);
    if (rc < 0)
        return rc;
    settle(r, &it->set, classes);
    *out = it;
    return 0;
}

static int read_alternative(struct reader *p, const uint32_t *classes)
{
    struct alternative *a;
    struct item *it = NULL;
    size_t least = 0;
    int rc;

    if (p->r->alternative_count == ALTERNATIVES_MAX)
        return refuse(p, "too many alternatives");
    a = &p->r->alternatives[p->r->alternative_count++];
    a->first = p->r->item_count;
    while (*p->at && *p->at != '|' && !a->ahead) {
        a->ahead = strncmp(p->at, "(?!", 3) == 0;
        p->at += a->ahead ? 3 : 0;
        if ((rc = read_set(p, &it, classes)) < 0)
            return rc;
        if (a->ahead && *p->at++ != ')')
            return refuse(p, "more than one character to look ahead at");
        if (!a->ahead && (rc = read_repeat(p, it)) < 0)
            return rc;
        least += a->ahead ? 0 : it->min;
        a->count++;
    }
    if (*p->at && *p->at != '|')
        return refuse(p, "something behind the look-ahead");
    return least ? 0 : refuse(p, "a match may be empty");
}

int regex_new(struct regex **out, const char *pattern, const uint32_t *classes, struct err *e)
{
    struct reader p = {calloc(1, sizeof(struct regex)), pattern, pattern, e};
    int rc;

    if (!p.r)
        return err_set(e, ERR_NOMEM, "regular expression");
    for (;;) {
        if ((rc = read_alternative(&p, classes)) < 0)
            goto fail;
        if (!*p.at)
            break;
        p.at++;
    }
    *out = p.r;
    return 0;
fail:
    free(p.r);
    return rc;
}

static int literal(struct regex **out, const char *text, const uint32_t *classes, struct err *e)
{
    struct reader p = {calloc(1, sizeof(struct regex)), text, text, e};
    struct alternative *a;
    uint32_t c;
    int rc;

    if (!p.r)
        return err_set(e, ERR_NOMEM, "pattern");
    a = &p.r->alternatives[p.r->alternative_count++];
    if (!*text) {
        rc = refuse(&p, "an empty pattern");
        goto fail;
    }
    while (*p.at) {
        struct item *it = &p.r->items[p.r->item_count];

        if (p.r->item_count++ == ITEMS_MAX) {
            rc = refuse(&p, "too many characters");
            goto fail;
        }
        it->set.first = p.r->range_count;
        it->min = it->max = 1;
        c = take(&p);
        if ((rc = add_range(&p, &it->set, c, c)) < 0)
            goto fail;
        settle(p.r, &it->set, classes);
        a->count++;
    }
    *out = p.r;
    return 0;
fail:
    free(p.r);
    return rc;
}

int regex_load(struct regex **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    const char *text;
    int rc;

    if (json_find(v, "pattern.String"))
        return (rc = json_string_at(v, "pattern.String", &text, e)) < 0
                   ? rc
                   : literal(out, text, classes, e);
    return (rc = json_string_at(v, "pattern.Regex", &text, e)) < 0
               ? rc
               : regex_new(out, text, classes, e);
}

void regex_free(struct regex *r)
{
    free(r);
}

static bool holds(const struct regex_scan *s, const struct set *set, size_t at, size_t *n)
{
    uint32_t c = (unsigned char)s->text[at];

    *n = 1;
    if (c < 128)
        return set->ascii[c];
    c = unicode_decode(s->text + at, s->len - at, n);
    return ((s->classes[c] & set->flags) || within(s->r, set, c)) != set->negated;
}

/* The items from `item` on match at `at`: *end; with backtracking over the repeats. */
static bool match(struct regex_scan *s, const struct alternative *a, int item, size_t at,
                  size_t *end)
{
    const struct item *it = &s->r->items[a->first + item];
    size_t count = 0, start = at, n;

    if (item == a->count) {
        *end = at;
        return true;
    }
    if (a->ahead && item == a->count - 1) {
        *end = at;
        return at == s->len || !holds(s, &it->set, at, &n);
    }
    while (count < it->max && at < s->len && s->steps > 0 && holds(s, &it->set, at, &n)) {
        at += n;
        count++;
        s->steps--;
    }
    for (; count >= it->min && s->steps > 0; count--) {
        s->steps--;
        if (match(s, a, item + 1, at, end))
            return true;
        if (at == start)
            break;
        for (at--; at > start && (s->text[at] & 0xC0) == 0x80; at--)
            ;
    }
    return false;
}

/* Whether an alternative cannot begin with the ASCII character `c`. */
static bool cannot(const struct regex_scan *s, const struct alternative *a, unsigned char c)
{
    const struct item *first = &s->r->items[a->first];

    return c < 128 && first->min > 0 && !first->set.ascii[c];
}

void regex_begin(struct regex_scan *s, const struct regex *r, const uint32_t *classes,
                 const char *text, size_t len)
{
    *s = (struct regex_scan){r, classes, text, len, 0, 0, 0, 0};
    s->steps = len * 256 + 1000000;
}

int regex_next(struct regex_scan *s, struct err *e)
{
    size_t at = s->at, n;
    int i;

    while (at < s->len) {
        for (i = 0; i < s->r->alternative_count; i++) {
            const struct alternative *a = &s->r->alternatives[i];

            if (cannot(s, a, (unsigned char)s->text[at]) || !match(s, a, 0, at, &s->end))
                continue;
            s->begin = at;
            s->at = s->end;
            return 1;
        }
        if (s->steps == 0)
            return err_set(e, ERR_LIMIT, "a regular expression needs too many steps for a text");
        unicode_decode(s->text + at, s->len - at, &n);
        at += n;
    }
    s->at = s->len;
    return 0;
}
