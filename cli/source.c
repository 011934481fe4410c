#include "cli/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "platform/base/buf.h"
#include "platform/base/sha256.h"
#include "platform/base/text.h"
#include "platform/json/json.h"
#include "schemas/document.h"
#include "schemas/keys.h"
#include "trainer/data/csv.h"

#define ID_HEX    32 /* digits of the content's hash that make an id */
#define ARENA_MAX ((size_t)256 << 20)

struct source {
    struct source_options o;
    const char *name; /* of the file, for messages */
    bool csv_format;
    struct csv *csv;
    FILE *lines;
    char *line; /* getline's */
    size_t line_cap, line_number;
    struct arena arena; /* of one document */
    struct buf value;
    char id[SHA256_HEX];
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);

    return n >= k && strcasecmp(text + n - k, end) == 0;
}

/* Standard input holds lines of JSON unless --format says otherwise. */
static int choose_format(struct source *s, struct err *e)
{
    const char *path = s->o.path;

    if (s->o.format != SOURCE_BY_NAME)
        s->csv_format = s->o.format == SOURCE_CSV;
    else if (ends_with(path, ".csv") || ends_with(path, ".tsv"))
        s->csv_format = true;
    else if (strcmp(path, "-") != 0 && !ends_with(path, ".jsonl") && !ends_with(path, ".ndjson") &&
             !ends_with(path, ".json"))
        return err_set(e, ERR_USAGE, "%s: is it CSV or JSON? give --format csv or --format jsonl",
                       path);
    return 0;
}

static int read_input(struct buf *b, struct err *e)
{
    char piece[65536];
    size_t n;

    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0 && !b->failed)
        buf_add(b, piece, n);
    if (ferror(stdin))
        return err_errno(e, ERR_IO, "standard input");
    return buf_check(b, "standard input", e);
}

static int open_csv(struct source *s, struct err *e)
{
    const struct csv_options csv = {.kind = (enum csv_kind)s->o.columns};
    struct buf b;
    int rc;

    if (strcmp(s->o.path, "-") != 0)
        return csv_open(&s->csv, s->o.path, &csv, e);
    buf_init(&b, CSV_BYTES_MAX);
    if ((rc = read_input(&b, e)) == 0)
        rc = csv_parse(&s->csv, s->name, b.data ? b.data : "", b.len, &csv, e);
    buf_release(&b);
    return rc;
}

static int open_lines(struct source *s, struct err *e)
{
    s->line_number = 0;
    s->lines = strcmp(s->o.path, "-") == 0 ? stdin : fopen(s->o.path, "re");
    if (!s->lines)
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", s->o.path);
    return 0;
}

static int open_file(struct source *s, struct err *e)
{
    return s->csv_format ? open_csv(s, e) : open_lines(s, e);
}

static void close_file(struct source *s)
{
    csv_free(s->csv);
    if (s->lines && s->lines != stdin)
        fclose(s->lines);
    s->csv = NULL;
    s->lines = NULL;
}

int source_open(struct source **out, const struct source_options *o, struct err *e)
{
    struct source *s = calloc(1, sizeof *s);
    int rc;

    if (!s)
        return err_set(e, ERR_NOMEM, "%s", o->path);
    s->o = *o;
    s->name = strcmp(o->path, "-") == 0 ? "standard input" : o->path;
    arena_init(&s->arena, ARENA_MAX);
    buf_init(&s->value, DOCUMENT_BYTES_MAX);
    if ((rc = choose_format(s, e)) < 0 || (rc = open_file(s, e)) < 0) {
        source_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void source_free(struct source *s)
{
    if (!s)
        return;
    close_file(s);
    free(s->line);
    buf_release(&s->value);
    arena_release(&s->arena);
    free(s);
}

bool source_rewinds(const struct source *s)
{
    return strcmp(s->o.path, "-") != 0;
}

int source_rewind(struct source *s, struct err *e)
{
    close_file(s);
    return open_file(s, e);
}

/* ---- one document ------------------------------------------------------------------------------
 */

static int hash_content(struct source *s, const void *text, size_t n)
{
    sha256_of(text, n, s->id);
    s->id[ID_HEX] = '\0';
    return 0;
}

/* The hash of a text alone is the same as CSV's; of anything else, of all that is no label. */
static int make_id(struct source *s, const struct document *d, const char *line, size_t n,
                   struct err *e)
{
    static const char *const beside[] = {"label", "finetuner_label", "split", "meta", "score"};
    json_t *v = NULL;
    struct buf b;
    size_t i;
    int rc;

    if (document_content_of(d) == CONTENT_TEXT)
        return hash_content(s, d->text, strlen(d->text));
    if ((rc = json_parse(line, n, NULL, &v, e)) < 0)
        return rc;
    for (i = 0; i < sizeof beside / sizeof beside[0]; i++)
        json_object_del(v, beside[i]);
    buf_init(&b, DOCUMENT_BYTES_MAX);
    if ((rc = json_write(v, JSON_CANONICAL, &b, e)) == 0)
        hash_content(s, b.data, b.len);
    buf_release(&b);
    json_decref(v);
    return rc;
}

/* As ingest will look at it. */
static int admit(struct source *s, const struct source_item *item, struct err *e)
{
    static const char type[] = "application/json";
    const struct document_header header = {HEADER_CONTENT_TYPE, type, sizeof type - 1};
    const struct document_message m = {.key = item->id,
                                       .key_len = strlen(item->id),
                                       .value = item->value,
                                       .value_len = item->len,
                                       .headers = &header,
                                       .header_count = 1};
    enum document_kind kind;
    struct document d;

    return document_admit(&m, s->o.owner, &s->arena, &kind, &d, e);
}

/* Both texts, with a NUL between. */
static void hash_pair(struct source *s, const struct csv_row *row)
{
    unsigned char digest[SHA256_SIZE];
    struct sha256 h;

    sha256_init(&h);
    sha256_add(&h, row->text, row->text_len + 1);
    sha256_add(&h, row->second, row->second_len);
    sha256_end(&h, digest);
    sha256_hex(digest, s->id);
    s->id[ID_HEX] = '\0';
}

static int next_row(struct source *s, struct source_item *item, struct err *e)
{
    struct document_part parts[2];
    struct document d;
    struct csv_row row;
    int rc = csv_next(s->csv, &row, e);

    if (rc != 1)
        return rc;
    item->line = row.line;
    document_init(&d);
    d.id = s->id;
    if (csv_kind(s->csv) == CSV_LABELED) {
        hash_content(s, row.text, row.text_len);
        d.text = row.text;
        d.label.text = row.label;
    } else {
        hash_pair(s, &row);
        parts[0] = (struct document_part){.modality = "text", .text = row.text};
        parts[1] = (struct document_part){.modality = "text", .text = row.second};
        d.parts = parts;
        d.part_count = 2;
        if (csv_kind(s->csv) == CSV_SCORED)
            d.score = row.score;
    }
    if (s->o.split >= 0)
        d.split = s->o.split;
    if ((rc = document_write(&d, RECORD_JSON, &s->value, e)) < 0)
        return err_wrap(e, "%s:%zu", s->name, row.line);
    item->value = s->value.data;
    item->len = s->value.len;
    return 1;
}

/* What some editors put before the first line (U+FEFF) is no part of it. */
static ssize_t without_mark(char *line, ssize_t n)
{
    if (n < 3 || memcmp(line, "\xef\xbb\xbf", 3) != 0)
        return n;
    memmove(line, line + 3, (size_t)n - 2); /* with its NUL */
    return n - 3;
}

/* The next line that is not blank: its length, 0 at the end. */
static ssize_t read_line(struct source *s, struct err *e)
{
    ssize_t n;

    errno = 0;
    while ((n = getline(&s->line, &s->line_cap, s->lines)) > 0) {
        if (s->line_number++ == 0)
            n = without_mark(s->line, n);
        while (n > 0 && memchr("\r\n\t ", s->line[n - 1], 4))
            s->line[--n] = '\0';
        if (n > 0)
            return n;
    }
    if (ferror(s->lines) || errno == ENOMEM)
        return err_errno(e, ERR_IO, "%s", s->name);
    return 0;
}

static int take_line(struct source *s, struct source_item *item, size_t n, struct err *e)
{
    struct document d;
    int rc = document_read(&s->arena, s->line, n, RECORD_JSON, &d, e);

    if (rc < 0)
        return rc;
    item->value = s->line;
    item->len = n;
    if (d.id && strlen(d.id) <= DOCUMENT_ID_MAX)
        item->id = d.id;
    else if ((rc = make_id(s, &d, s->line, n, e)) < 0)
        return rc;
    if (s->o.split >= 0 && d.split != s->o.split) {
        d.split = s->o.split;
        if ((rc = document_write(&d, RECORD_JSON, &s->value, e)) < 0)
            return rc;
        item->value = s->value.data;
        item->len = s->value.len;
    }
    return 0;
}

static int next_line(struct source *s, struct source_item *item, struct err *e)
{
    ssize_t n = read_line(s, e);
    int rc;

    if (n <= 0)
        return (int)n;
    item->line = s->line_number;
    if ((rc = take_line(s, item, (size_t)n, e)) < 0)
        return err_wrap(e, "%s:%zu", s->name, item->line);
    return 1;
}

int source_next(struct source *s, struct source_item *item, struct err *e)
{
    int rc;

    arena_reset(&s->arena);
    buf_reset(&s->value);
    item->id = s->id;
    rc = s->csv_format ? next_row(s, item, e) : next_line(s, item, e);
    if (rc != 1)
        return rc;
    if ((rc = admit(s, item, e)) < 0)
        return err_wrap(e, "%s:%zu", s->name, item->line);
    return 1;
}
