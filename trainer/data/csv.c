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
    enum csv_kind kind;
    int content, label; /* columns; label -1: none */
    int second, score;  /* of pairs, scored pairs */
    int columns;        /* that every record must have */
    bool header, unix_like;
};

static int fail(const struct cursor *c, int code, size_t line, const char *what, struct err *e)
{
    (void)err_set(e, code, "%s", what);
    return err_wrap(e, "%s:%zu", c->name, line);
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

static const char *const score_names[] = {"score", "similarity", NULL};
static const char *const pair_names[][2] = {
    {"text", "text"}, {"text1", "text2"}, {"sentence1", "sentence2"}, {"anchor", "positive"}};

const char *const csv_kind_names[] = {[CSV_BY_HEADER] = "header",
                                      [CSV_LABELED] = "text,label",
                                      [CSV_PAIRS] = "text,text",
                                      [CSV_SCORED] = "text,text,score",
                                      NULL};

/* Columns without a header. */
static const int kind_columns[] = {
    [CSV_BY_HEADER] = 2, [CSV_LABELED] = 2, [CSV_PAIRS] = 2, [CSV_SCORED] = 3};

/* Columns that a header may name; -1: it doesn't. */
enum { CONTENT, LABEL, FIRST, SECOND, SCORE, ROLES };

/* What looking at the first records with one delimiter tells. */
struct sniffed {
    int records, fitting, columns; /* records; those with the wanted fields; fields of the first */
    bool all_quoted, crlf, repeated;
    int role[ROLES];
};

/* Two columns of texts, the second behind or before the first. */
static void find_pair(int role[ROLES], const struct record *r)
{
    size_t n;
    int i, k;

    for (n = 0; n < sizeof pair_names / sizeof pair_names[0]; n++)
        for (i = 0; i < r->count; i++)
            for (k = 0; k < r->count && is_name(&r->fields[i], pair_names[n][0]); k++)
                if (k != i && is_name(&r->fields[k], pair_names[n][1])) {
                    role[FIRST] = i;
                    role[SECOND] = k;
                    return;
                }
}

static void find_roles(int role[ROLES], const struct record *r, const struct csv_options *o)
{
    int i;

    for (i = 0; i < ROLES; i++)
        role[i] = -1;
    if (o->kind != CSV_PAIRS && o->kind != CSV_SCORED) {
        role[CONTENT] = find_column(r, o->content, content_names);
        role[LABEL] = find_column(r, o->label, label_names);
    }
    if (o->kind != CSV_LABELED && !o->label_optional && !o->content && role[LABEL] < 0)
        find_pair(role, r);
    if (role[FIRST] >= 0 && o->kind != CSV_PAIRS)
        role[SCORE] = find_column(r, NULL, score_names);
}

static void look_at(struct sniffed *s, const struct record *r, const struct csv_options *o,
                    struct field names[ROLES])
{
    int i, column;

    for (i = 0; i < r->count; i++)
        s->all_quoted = s->all_quoted && r->fields[i].quoted;
    if (s->records++ == 0) {
        s->columns = r->count;
        find_roles(s->role, r, o);
        for (i = 0; i < ROLES; i++)
            names[i] = s->role[i] >= 0 ? r->fields[s->role[i]] : (struct field){0};
    } else {
        for (i = 0; i < ROLES; i++) {
            column = s->role[i];
            if (column >= 0 && column < r->count && names[i].len == r->fields[column].len &&
                memcmp(names[i].at, r->fields[column].at, names[i].len) == 0)
                s->repeated = true;
        }
    }
    s->fitting += r->count == kind_columns[o->kind];
}

static int sniff(const struct csv *c, char comma, const struct csv_options *o, struct sniffed *s,
                 struct err *e)
{
    size_t all = (size_t)(c->cursor.end - c->cursor.at),
           len = all < SNIFF_BYTES ? all : SNIFF_BYTES;
    char *copy = malloc(len + 1);
    struct record *r = malloc(sizeof *r);
    struct cursor at = c->cursor;
    struct field names[ROLES];
    struct err ignored;
    int rc = 0;

    memset(s, 0, sizeof *s);
    s->all_quoted = true;
    memset(s->role, -1, sizeof s->role);
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

/* A header that names content and label, or a pair, decides, then the wanted number of fields in
 * most records, then (with half a header) more than one field. */
static bool is_named(const struct sniffed *s)
{
    return s->role[FIRST] >= 0 || (s->role[CONTENT] >= 0 && s->role[LABEL] >= 0);
}

static bool tabs_win(const struct sniffed *comma, const struct sniffed *tab)
{
    if (is_named(comma) != is_named(tab))
        return is_named(tab);
    if (tab->fitting != comma->fitting)
        return tab->fitting > comma->fitting;
    return tab->columns > 1 && comma->columns < 2;
}

/* Pairs, by their header or because it was asked for. */
static int set_pair_columns(struct csv *c, const struct sniffed *s, enum csv_kind kind,
                            struct err *e)
{
    bool scored = kind == CSV_SCORED || (kind == CSV_BY_HEADER && s->role[SCORE] >= 0);

    c->kind = scored ? CSV_SCORED : CSV_PAIRS;
    c->header = s->role[FIRST] >= 0 && !s->repeated;
    c->label = -1;
    if (!c->header) {
        c->columns = kind_columns[c->kind];
        c->content = 0;
        c->second = 1;
        c->score = scored ? 2 : -1;
        return 0;
    }
    c->columns = s->columns;
    c->content = s->role[FIRST];
    c->second = s->role[SECOND];
    c->score = s->role[SCORE];
    if (scored && c->score < 0)
        return err_set(e, ERR_FORMAT, "%s:1: the header names no score: call a column \"score\"",
                       c->name);
    return 0;
}

static int set_columns(struct csv *c, const struct sniffed *s, const struct csv_options *o,
                       struct err *e)
{
    int content = s->role[CONTENT], label = s->role[LABEL];

    if (o->kind == CSV_PAIRS || o->kind == CSV_SCORED || (s->role[FIRST] >= 0 && !s->repeated))
        return set_pair_columns(c, s, o->kind, e);
    c->kind = CSV_LABELED;
    c->second = c->score = -1;
    c->columns = 2;
    c->content = 0;
    c->label = 1;
    c->header = (content >= 0 || label >= 0) && (!s->repeated || o->content || o->label);
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
    c->content = content;
    c->label = label;
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
    bool tabs = c->cursor.comma == '\t';

    if (r->count == 3 && c->columns == 2 && !c->header)
        (void)err_set(e, ERR_FORMAT,
                      "3 columns where 2 are expected: put quotes around a text that holds a "
                      "comma; scored pairs need a header text,text,score, or --columns");
    else if (r->count > c->columns)
        (void)err_set(e, ERR_FORMAT,
                      "%d columns where %d are expected: put quotes around a text that holds a %s",
                      r->count, c->columns, tabs ? "tab" : "comma");
    else
        (void)err_set(e, ERR_FORMAT, "%d column%s where %d are expected%s: write %s on each line%s",
                      r->count, r->count == 1 ? "" : "s", c->columns,
                      c->score >= r->count    ? ", the score is missing"
                      : c->second >= r->count ? ", the second text is missing"
                      : c->label >= r->count  ? ", the label is missing"
                                              : "",
                      csv_kind_names[c->kind], tabs ? ", with tabs between" : "");
    return err_wrap(e, "%s:%zu", c->name, r->line);
}

static bool is_blank(const struct field *f)
{
    return strspn(f->at, " \t\r\n") == f->len;
}

/* Without blanks around it. */
static const char *trimmed(const struct field *f)
{
    char *end = f->at + f->len;

    while (end > f->at && strchr(" \t", end[-1]))
        *--end = '\0';
    return f->at + strspn(f->at, " \t");
}

static int take_pair(const struct csv *c, const struct record *r, struct csv_row *row,
                     struct err *e)
{
    const struct field *second = &r->fields[c->second];
    const char *score;

    if (is_blank(second))
        return fail(&c->cursor, ERR_FORMAT, r->line, "the second text is empty: remove the line",
                    e);
    row->second = second->at;
    row->second_len = second->len;
    if (c->kind != CSV_SCORED)
        return 1;
    score = trimmed(&r->fields[c->score]);
    if (text_f64(score, -CSV_SCORE_MAX, CSV_SCORE_MAX, &row->score) == 0)
        return 1;
    (void)err_set(e, ERR_FORMAT, "score: '%.40s' is not a number from -1000000 to 1000000", score);
    return err_wrap(e, "%s:%zu", c->name, r->line);
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
    *row = (struct csv_row){.text = text->at, .text_len = text->len, .label = "", .line = r->line};
    if (c->kind != CSV_LABELED)
        return take_pair(c, r, row, e);
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

enum csv_kind csv_kind(const struct csv *c)
{
    return c->kind;
}
