#include "trainer/data/csv.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "platform/base/file.h"
#include "platform/base/text.h"

#define SNIFF_RECORDS 64
#define SNIFF_BYTES   ((size_t)1 << 20)

struct field {
    char *at;
    size_t len;
    bool quoted;
};

struct record {
    struct field fields[CSV_COLUMNS_MAX];
    int count;
    size_t line;
};

/* A place in the text. Reading unquotes in place, so a record is read once only;
 * sniffing works on a copy. */
struct cursor {
    const char *name; /* of the file, for messages */
    char *at, *end;
    size_t line;
    char comma;
};

struct csv {
    char *name;
    struct buf bytes;
    struct cursor cursor;
    struct record record;
    int content, label; /* columns; label -1: none */
    int columns;        /* that every record must have */
    bool header, unix_like;
};

static int fail(const struct cursor *c, int code, size_t line, const char *what, struct err *e)
{
    return err_set(e, code, "%s:%zu: %s", c->name, line, what);
}

/* At the opening quote. Unquotes to where the text began and leaves the cursor behind the closing
 * quote. */
static int read_quoted(struct cursor *c, struct field *f, struct err *e)
{
    char *to = ++c->at;
    size_t line = c->line;

    f->at = to;
    f->quoted = true;
    for (;; c->at++) {
        if (c->at == c->end)
            return fail(c, ERR_FORMAT, line,
                        "a quote is opened and never closed: close it with \", and write quotes "
                        "inside a field as \"\"",
                        e);
        if (*c->at == '"') {
            if (c->at + 1 == c->end || c->at[1] != '"')
                break;
            c->at++;
        }
        c->line += *c->at == '\n';
        *to++ = *c->at;
    }
    c->at++;
    f->len = (size_t)(to - f->at);
    if (c->at < c->end && *c->at != c->comma && *c->at != '\n' && *c->at != '\r')
        return fail(c, ERR_FORMAT, c->line,
                    "text behind a closing quote: write quotes inside a field as \"\"", e);
    return 0;
}

static void read_plain(struct cursor *c, struct field *f)
{
    f->at = c->at;
    f->quoted = false;
    while (c->at < c->end && *c->at != c->comma && *c->at != '\n' && *c->at != '\r')
        c->at++;
    f->len = (size_t)(c->at - f->at);
}

/* \n, \r\n or \r. */
static void end_line(struct cursor *c)
{
    if (c->at < c->end && *c->at == '\r')
        c->at++;
    if (c->at < c->end && *c->at == '\n')
        c->at++;
    c->line++;
}

static void skip_blank_lines(struct cursor *c)
{
    char *p;

    while (c->at < c->end) {
        for (p = c->at; p < c->end && *p == ' '; p++)
            ;
        if (p < c->end && *p != '\n' && *p != '\r')
            return;
        c->at = p;
        if (p < c->end)
            end_line(c);
    }
}

/* 1: a record, 0: the end. Fields are terminated only after all of them are read, since the byte
 * behind one is what parts it from the next. */
static int read_record(struct cursor *c, struct record *r, struct err *e)
{
    int rc, i;

    skip_blank_lines(c);
    if (c->at == c->end)
        return 0;
    r->count = 0;
    r->line = c->line;
    for (;; c->at++) {
        struct field *f = &r->fields[r->count];

        if (r->count == CSV_COLUMNS_MAX)
            return fail(c, ERR_LIMIT, r->line, "more than 256 columns: is it a CSV file?", e);
        if (c->at < c->end && *c->at == '"') {
            if ((rc = read_quoted(c, f, e)) < 0)
                return rc;
        } else {
            read_plain(c, f);
        }
        if (f->len > CSV_FIELD_MAX)
            return fail(c, ERR_LIMIT, r->line,
                        "a field of more than 16 MiB: is a quote left open before it?", e);
        r->count++;
        if (c->at == c->end || *c->at != c->comma)
            break;
    }
    end_line(c);
    for (i = 0; i < r->count; i++)
        r->fields[i].at[r->fields[i].len] = '\0';
    return 1;
}

static bool is_name(const struct field *f, const char *name)
{
    const char *s = f->at;
    size_t len = f->len;

    while (len && (*s == ' ' || *s == '\t')) {
        s++;
        len--;
    }
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    return len == strlen(name) && strncasecmp(s, name, len) == 0;
}

static bool is_any(const struct field *f, const char *wanted, const char *const *names)
{
    if (wanted)
        return is_name(f, wanted);
    for (; *names; names++)
        if (is_name(f, *names))
            return true;
    return false;
}

static int find_column(const struct record *r, const char *wanted, const char *const *names)
{
    int i;

    for (i = 0; i < r->count; i++)
        if (is_any(&r->fields[i], wanted, names))
            return i;
    return -1;
}

static const char *const content_names[] = {"text", "content", NULL};
static const char *const label_names[] = {"label", "category", "finetuner_label", NULL};

/* What looking at the first records with one delimiter tells. */
struct sniffed {
    int records, two, columns; /* records; those with two fields; fields of the first */
    bool all_quoted, crlf, repeated;
    int content, label;
};

static void look_at(struct sniffed *s, const struct record *r, const struct csv_options *o,
                    struct field *names)
{
    int i;

    for (i = 0; i < r->count; i++)
        s->all_quoted = s->all_quoted && r->fields[i].quoted;
    if (s->records++ == 0) {
        s->columns = r->count;
        s->content = find_column(r, o->content, content_names);
        s->label = find_column(r, o->label, label_names);
        names[0] = s->content >= 0 ? r->fields[s->content] : (struct field){0};
        names[1] = s->label >= 0 ? r->fields[s->label] : (struct field){0};
    } else {
        for (i = 0; i < 2; i++) {
            int column = i ? s->label : s->content;

            if (column >= 0 && column < r->count && names[i].len == r->fields[column].len &&
                memcmp(names[i].at, r->fields[column].at, names[i].len) == 0)
                s->repeated = true;
        }
    }
    s->two += r->count == 2;
}

static int sniff(const struct csv *c, char comma, const struct csv_options *o, struct sniffed *s,
                 struct err *e)
{
    size_t all = (size_t)(c->cursor.end - c->cursor.at),
           len = all < SNIFF_BYTES ? all : SNIFF_BYTES;
    char *copy = malloc(len + 1);
    struct record *r = malloc(sizeof *r);
    struct cursor at = c->cursor;
    struct field names[2];
    struct err ignored;
    int rc = 0;

    memset(s, 0, sizeof *s);
    s->all_quoted = true;
    s->content = s->label = -1;
    if (copy && r) {
        memcpy(copy, c->cursor.at, len);
        copy[len] = '\0';
        s->crlf = memchr(copy, '\r', len) != NULL;
        at.at = copy;
        at.end = copy + len;
        at.comma = comma;
        while (s->records < SNIFF_RECORDS && read_record(&at, r, &ignored) == 1)
            look_at(s, r, o, names);
    } else {
        rc = err_set(e, ERR_NOMEM, "%s: %zu bytes", c->name, len);
    }
    free(copy);
    free(r);
    return rc;
}

/* A header that names content and label decides, then two fields in most records, then (with half a
 * header) more than one field. */
static bool tabs_win(const struct sniffed *comma, const struct sniffed *tab)
{
    bool comma_named = comma->content >= 0 && comma->label >= 0;
    bool tab_named = tab->content >= 0 && tab->label >= 0;

    if (comma_named != tab_named)
        return tab_named;
    if (tab->two != comma->two)
        return tab->two > comma->two;
    return tab->columns > 1 && comma->columns < 2;
}

static int set_columns(struct csv *c, const struct sniffed *s, const struct csv_options *o,
                       struct err *e)
{
    c->columns = 2;
    c->content = 0;
    c->label = 1;
    c->header = (s->content >= 0 || s->label >= 0) && (!s->repeated || o->content || o->label);
    if (!c->header && (o->content || o->label))
        return err_set(e, ERR_FORMAT, "%s:1: no column is named \"%s\"", c->name,
                       o->content ? o->content : o->label);
    if (!c->header) {
        if (o->label_optional && s->columns == 1) {
            c->columns = 1;
            c->label = -1;
        }
        return 0;
    }
    c->columns = s->columns;
    c->content = s->content;
    c->label = s->label;
    if (c->columns == 2 && c->content < 0)
        c->content = 1 - c->label;
    if (c->columns == 2 && c->label < 0 && !o->label)
        c->label = 1 - c->content;
    if (c->content < 0)
        return err_set(e, ERR_FORMAT, "%s:1: the header names no content: call a column \"%s\"",
                       c->name, o->content ? o->content : "text");
    if (c->label < 0 && !o->label_optional)
        return err_set(e, ERR_FORMAT, "%s:1: the header names no label: call a column \"%s\"",
                       c->name, o->label ? o->label : "label");
    return 0;
}

static int settle(struct csv *c, const struct csv_options *o, struct err *e)
{
    struct sniffed comma, tab;
    bool tabs;
    int rc;

    if ((rc = sniff(c, ',', o, &comma, e)) < 0 || (rc = sniff(c, '\t', o, &tab, e)) < 0)
        return rc;
    tabs = tabs_win(&comma, &tab);
    c->cursor.comma = tabs ? '\t' : ',';
    c->unix_like = !tabs && comma.records > 0 && comma.all_quoted && !comma.crlf;
    if ((rc = set_columns(c, tabs ? &tab : &comma, o, e)) < 0)
        return rc;
    return c->header ? read_record(&c->cursor, &c->record, e) : 0;
}

static int check_text(struct csv *c, struct err *e)
{
    char *data = c->bytes.data;
    size_t good, i, len = c->bytes.len;
    const char *what = "a byte that is not UTF-8: save the file as UTF-8";

    if (len >= 2 && (memcmp(data, "\xFF\xFE", 2) == 0 || memcmp(data, "\xFE\xFF", 2) == 0))
        return fail(&c->cursor, ERR_FORMAT, 1, "this is UTF-16: save the file as UTF-8", e);
    good = text_utf8_valid(data, len);
    if (good == len) {
        char *nul = memchr(data, '\0', len);

        if (!nul)
            return 0;
        good = (size_t)(nul - data);
        what = "a NUL byte: is it a text file?";
    }
    for (i = 0; i < good; i++)
        c->cursor.line += data[i] == '\n';
    return fail(&c->cursor, ERR_FORMAT, c->cursor.line, what, e);
}

static int start(struct csv *c, const struct csv_options *options, struct err *e)
{
    static const struct csv_options none = {0};
    int rc;

    buf_reserve(&c->bytes, 1); /* so that data is there, and a NUL has room */
    if ((rc = buf_check(&c->bytes, c->name, e)) < 0)
        return rc;
    c->cursor = (struct cursor){c->name, c->bytes.data, c->bytes.data + c->bytes.len, 1, ','};
    if ((rc = check_text(c, e)) < 0)
        return rc;
    if (c->bytes.len >= 3 && memcmp(c->bytes.data, "\xEF\xBB\xBF", 3) == 0)
        c->cursor.at += 3;
    rc = settle(c, options ? options : &none, e);
    return rc < 0 ? rc : 0;
}

static int make(struct csv **out, const char *name, struct err *e)
{
    struct csv *c = calloc(1, sizeof *c);

    if (c)
        c->name = strdup(name);
    if (!c || !c->name) {
        csv_free(c);
        return err_set(e, ERR_NOMEM, "%s", name);
    }
    buf_init(&c->bytes, CSV_BYTES_MAX + 1);
    *out = c;
    return 0;
}

int csv_open(struct csv **out, const char *path, const struct csv_options *options, struct err *e)
{
    struct csv *c;
    int rc = make(&c, path, e);

    if (rc < 0)
        return rc;
    if ((rc = file_read(path, &c->bytes, e)) < 0 || (rc = start(c, options, e)) < 0) {
        csv_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

int csv_parse(struct csv **out, const char *name, const void *bytes, size_t n,
              const struct csv_options *options, struct err *e)
{
    struct csv *c;
    int rc = make(&c, name, e);

    if (rc < 0)
        return rc;
    buf_add(&c->bytes, bytes, n);
    if ((rc = start(c, options, e)) < 0) {
        csv_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void csv_free(struct csv *c)
{
    if (!c)
        return;
    buf_release(&c->bytes);
    free(c->name);
    free(c);
}

static int wrong_count(const struct csv *c, const struct record *r, struct err *e)
{
    if (r->count > c->columns)
        return err_set(e, ERR_FORMAT,
                       "%s:%zu: %d columns where %d are expected: put quotes around a text that "
                       "holds a %s",
                       c->name, r->line, r->count, c->columns,
                       c->cursor.comma == '\t' ? "tab" : "comma");
    return err_set(e, ERR_FORMAT,
                   "%s:%zu: %d column%s where %d are expected: write content%slabel on each line",
                   c->name, r->line, r->count, r->count == 1 ? "" : "s", c->columns,
                   c->cursor.comma == '\t' ? "<tab>" : ",");
}

static bool is_blank(const struct field *f)
{
    return strspn(f->at, " \t\r\n") == f->len;
}

int csv_next(struct csv *c, struct csv_row *row, struct err *e)
{
    struct record *r = &c->record;
    const struct field *text, *label;
    int rc = read_record(&c->cursor, r, e);

    if (rc <= 0)
        return rc;
    if (r->count != c->columns)
        return wrong_count(c, r, e);
    text = &r->fields[c->content];
    if (is_blank(text))
        return fail(&c->cursor, ERR_FORMAT, r->line, "the content is empty: remove the line", e);
    row->text = text->at;
    row->text_len = text->len;
    row->label = "";
    row->label_len = 0;
    row->line = r->line;
    if (c->label < 0)
        return 1;
    label = &r->fields[c->label];
    if (is_blank(label))
        return fail(&c->cursor, ERR_FORMAT, r->line,
                    "the label is empty: give one or remove the line", e);
    row->label = label->at;
    row->label_len = label->len;
    return 1;
}

const char *csv_dialect(const struct csv *c)
{
    return c->cursor.comma == '\t' ? "excel-tab" : c->unix_like ? "unix" : "excel";
}

bool csv_has_header(const struct csv *c)
{
    return c->header;
}
