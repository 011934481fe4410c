#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/replay.h"
#include "cli/tail.h"
#include "platform/base/text.h"

#define VALUE_SHOWN 200

struct rejected_options {
    struct client_options client;
    bool json;
    const char *out, *replay; /* files, or NULL */
    FILE *to;                 /* --out */
    const char *dataset;
    char topic[KEY_MAX]; /* of the dataset */
    int64_t shown;
};

static const struct option_row rows[] = {
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct rejected_options, json),
     .help = "one JSON object a line"},
    {.name = "out",
     .type = OPTION_TEXT,
     .offset = offsetof(struct rejected_options, out),
     .value = "FILE",
     .help = "write them there, a JSON object a line, to be repaired"},
    {.name = "replay",
     .type = OPTION_TEXT,
     .offset = offsetof(struct rejected_options, replay),
     .value = "FILE",
     .help = "send the documents of such a file back; what was sent back before, or sent anew, is "
             "left out"},
    CLIENT_ROWS(rejected_options),
};

static void put_header(const struct bus_message *m, const char *name, const char *title,
                       struct buf *b)
{
    const struct bus_header *h = replay_header(m, name);

    buf_printf(b, "\"%s\":", title);
    text_json(b, h && h->value ? h->value : "", h && h->value ? h->value_len : 0);
    buf_char(b, ',');
}

static void put_json(const struct bus_message *m, struct buf *b)
{
    buf_char(b, '{');
    put_header(m, HEADER_REJECT_CODE, "code", b);
    put_header(m, HEADER_REJECT_REASON, "reason", b);
    put_header(m, HEADER_REJECT_TOPIC, "topic", b);
    put_header(m, HEADER_REJECT_PARTITION, "partition", b);
    put_header(m, HEADER_REJECT_OFFSET, "offset", b);
    buf_str(b, "\"key\":");
    text_json(b, m->key ? m->key : "", m->key ? m->key_len : 0);
    buf_str(b, ",\"value\":");
    text_json(b, m->value ? m->value : "", m->value ? m->value_len : 0);
    buf_str(b, "}\n");
}

static void put_text(const struct bus_message *m, struct buf *b)
{
    const struct bus_header *reason = replay_header(m, HEADER_REJECT_REASON);
    const struct bus_header *partition = replay_header(m, HEADER_REJECT_PARTITION);
    const struct bus_header *offset = replay_header(m, HEADER_REJECT_OFFSET);
    size_t n = m->value_len < VALUE_SHOWN ? m->value_len : VALUE_SHOWN;

    buf_printf(b, "[%.*s] %.*s  %.*s\n    ", partition ? (int)partition->value_len : 0,
               partition ? (const char *)partition->value : "", offset ? (int)offset->value_len : 0,
               offset ? (const char *)offset->value : "", reason ? (int)reason->value_len : 0,
               reason ? (const char *)reason->value : "");
    text_json(b, m->value ? m->value : "", m->value ? n : 0); /* no control character of it */
    buf_printf(b, "%s\n", n < m->value_len ? " ..." : "");
}

static int write_line(const struct buf *b, const struct rejected_options *o, struct err *e)
{
    int rc = buf_check(b, o->out, e);

    if (rc == 0 && fwrite(b->data, 1, b->len, o->to) != b->len)
        rc = err_errno(e, ERR_IO, "%s", o->out);
    return rc;
}

static int show(void *arg, const struct bus_message *m, struct err *e)
{
    struct rejected_options *o = arg;
    const struct bus_header *topic = replay_header(m, HEADER_REJECT_TOPIC);
    struct buf b;
    int rc = 0;

    if (!topic || topic->value_len != strlen(o->topic) ||
        memcmp(topic->value, o->topic, topic->value_len) != 0)
        return 0;
    buf_init(&b, (size_t)256 << 20);
    if (o->to)
        rc = replay_put(m, &b, e);
    else if (o->json)
        put_json(m, &b);
    else
        put_text(m, &b);
    o->shown++;
    if (rc == 0)
        rc = o->to ? write_line(&b, o, e) : cli_print(&b, e);
    buf_release(&b);
    return rc;
}

/* Nothing was rejected of a dataset that is not there: its name is another one. */
static int check_dataset(struct client *c, const struct rejected_options *o, struct err *e)
{
    int count, rc = bus_partitions(c->ports.bus, o->topic, &count, e);

    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "owner %s has no dataset %s: there is no topic %s",
                       c->owner, o->dataset, o->topic);
    return rc;
}

static int show_each(struct client *c, struct rejected_options *o, struct err *e)
{
    struct tail *t = calloc(1, sizeof *t);
    char topic[KEY_MAX];
    int rc, p;

    if (!t)
        return err_set(e, ERR_NOMEM, "the rejected documents");
    if ((rc = topic_docs(&c->keys, c->owner, o->dataset, o->topic, e)) == 0 &&
        (rc = topic_of(&c->keys, TOPIC_REJECTED, c->owner, topic, e)) == 0 &&
        (rc = tail_open(t, c, topic, e)) == ERR_NOT_FOUND)
        rc = err_set(e, ERR_NOT_FOUND,
                     "there is no topic %s: the operator runs `tripline owner create %s`", topic,
                     c->owner);
    for (p = 0; rc == 0 && p < t->partitions; p++)
        rc = tail_want(t, p, 0, e);
    if (rc == 0)
        rc = tail_read(t, show, o, e);
    free(t);
    return rc == 0 && o->shown == 0 ? check_dataset(c, o, e) : rc;
}

static int print_count(const struct rejected_options *o, struct err *e)
{
    struct buf b;
    int rc;

    if (o->json || (!o->out && o->shown > 0))
        return 0;
    buf_init(&b, 1024);
    if (o->shown == 0)
        buf_printf(&b, "no rejected documents of %s\n", o->dataset);
    else
        buf_printf(&b, "%lld rejected documents of %s in %s\n", (long long)o->shown, o->dataset,
                   o->out);
    rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int show_all(struct client *c, struct rejected_options *o, struct err *e)
{
    int rc = show_each(c, o, e);

    return rc < 0 ? rc : print_count(o, e);
}

/* The file appears whole: an earlier one, which may be half repaired, stays until then. */
static int write_all(struct client *c, struct rejected_options *o, struct err *e)
{
    char partial[PATH_MAX];
    struct stat st;
    int rc;

    if (stat(o->out, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(e, ERR_USAGE, "%s: --out needs a file; --json writes to standard output",
                       o->out);
    if (snprintf(partial, sizeof partial, "%s.partial", o->out) >= (int)sizeof partial)
        return err_set(e, ERR_USAGE, "%s: the path is too long", o->out);
    if (!(o->to = fopen(partial, "we")))
        return err_errno(e, ERR_IO, "%s", partial);
    rc = show_each(c, o, e);
    if (fclose(o->to) != 0 && rc >= 0)
        rc = err_errno(e, ERR_IO, "%s", partial);
    if (rc >= 0 && rename(partial, o->out) < 0)
        rc = err_errno(e, ERR_IO, "%s", o->out);
    if (rc < 0) {
        unlink(partial);
        return rc;
    }
    return print_count(o, e);
}

static int replay(struct client *c, struct rejected_options *o, struct err *e)
{
    struct replay_result r;
    struct buf b;
    int rc;

    if ((rc = topic_docs(&c->keys, c->owner, o->dataset, o->topic, e)) < 0 ||
        (rc = replay_file(c, o->topic, o->replay, &r, e)) < 0)
        return rc;
    buf_init(&b, 1024);
    buf_printf(&b,
               o->json ? "{\"lines\":%lld,\"replayed_before\":%lld,\"sent\":%lld,"
                         "\"superseded\":%lld}\n"
                       : "%lld lines: %lld sent back before, %lld sent back now, %lld left out: "
                         "sent anew since\n",
               (long long)r.lines, (long long)r.replayed, (long long)r.sent,
               (long long)r.superseded);
    rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int work(struct client *c, struct rejected_options *o, struct err *e)
{
    if (o->out && o->replay)
        return err_set(e, ERR_USAGE, "rejected: either --out or --replay");
    if (o->replay)
        return replay(c, o, e);
    return o->out ? write_all(c, o, e) : show_all(c, o, e);
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct rejected_options o = {0};
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 1, 1, e)) < 0)
        return rc;
    o.dataset = argv[0];
    if ((rc = client_open(&c, &o.client, SETTINGS_KAFKA, e)) == 0 &&
        (rc = client_need_owner(&c, e)) == 0)
        rc = work(&c, &o, e);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_rejected = {
    .name = "rejected",
    .summary = "Documents that ingest refused, with the reasons.",
    .usage = "rejected DATASET [--json | --out FILE | --replay FILE]",
    .examples = "  tripline rejected intents\n  tripline rejected intents --json | jq -r .reason\n"
                "  tripline rejected intents --out refused.jsonl   # edit it, then:\n"
                "  tripline rejected intents --replay refused.jsonl\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
