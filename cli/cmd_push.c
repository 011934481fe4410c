#include <string.h>

#include "cli/client.h"
#include "cli/source.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "platform/json/json.h"
#include "platform/proc/progress.h"
#include "schemas/document.h"
#include "trainer/data/csv.h"

#define DOCS_PARTITIONS 4
#define FLUSH_STEP_MS   1000
#define SEND_MS         60000 /* without an acknowledgement for so long, a message has failed */

struct push_options {
    struct client_options client;
    bool json, check;
    int split, format; /* indices of the choices */
    int columns;       /* enum csv_kind */
    int64_t partitions;
};

static const char *const splits[] = {"keep", "train", "eval", NULL};
static const char *const formats[] = {"auto", "csv", "jsonl", NULL};

static const struct option_row rows[] = {
    {.name = "split",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct push_options, split),
     .value = "train|eval",
     .choices = splits,
     .help = "what the documents are for: eval ones are held out (default: what each says, else "
             "train)"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct push_options, format),
     .value = "csv|jsonl",
     .choices = formats,
     .help = "default: by the file's name; jsonl for standard input"},
    {.name = "columns",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct push_options, columns),
     .value = "header|text,label|text,text|text,text,score",
     .choices = csv_kind_names,
     .help = "what the columns of a CSV file are (default: as the header says, else text,label)"},
    {.name = "partitions",
     .type = OPTION_INT,
     .offset = offsetof(struct push_options, partitions),
     .value = "N",
     .min = 1,
     .max = 1000,
     .help = "of the dataset's topic, if it is made now (default 4)"},
    {.name = "check",
     .type = OPTION_FLAG,
     .offset = offsetof(struct push_options, check),
     .help = "only read the file and say what is wrong with it"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct push_options, json),
     .help = "one JSON object on standard output"},
    CLIENT_ROWS(push_options),
};

struct push {
    const struct push_options *o;
    struct client *c;
    const char *dataset, *file;
    char topic[KEY_MAX];
    struct source *source;
    struct bus_producer *producer;
    struct progress *progress;
    int partitions;
    int64_t total; /* 0: unknown */
    int64_t sent, acknowledged, bytes;
    size_t largest, largest_line; /* of a document: its bytes, where it is */
    int64_t began_ms;
};

/* Inside send and flush, on this thread. */
static void delivered(void *arg, void *token, int code, int32_t partition, int64_t offset,
                      const char *why)
{
    struct push *p = arg;

    if (code == 0 && token)
        progress_at(p->progress, ++p->acknowledged, NULL);
}

/* The whole file is read before any of it is sent: a bad line changes nothing. */
static int check_file(struct push *p, struct err *e)
{
    struct source_item item;
    int rc;

    progress_step(p->progress, "checking", 0, "documents");
    while ((rc = source_next(p->source, &item, e)) == 1) {
        progress_at(p->progress, ++p->total, NULL);
        if (clock_stopping(p->c->ports.clock))
            return err_set(e, ERR_CANCELLED, "interrupted; nothing was sent");
    }
    if (rc == 0 && p->total == 0)
        return err_set(e, ERR_FORMAT, "the file has no documents");
    progress_done(p->progress, NULL);
    return rc < 0 || p->o->check ? rc : source_rewind(p->source, e);
}

static int make_topic(struct push *p, struct err *e)
{
    static const char *const config[] = {"message.timestamp.type=LogAppendTime",
                                         DOCUMENT_TOPIC_SIZE, NULL};
    const struct bus_topic t = {p->topic, (int)p->o->partitions, config};
    struct bus *bus = p->c->ports.bus;
    int rc = bus_partitions(bus, p->topic, &p->partitions, e);

    if (rc != ERR_NOT_FOUND)
        return rc;
    if ((rc = bus_create_topics(bus, &t, 1, e)) < 0)
        return err_wrap(e, "dataset %s is new", p->dataset);
    progress_say(p->progress, "made topic %s with %d partitions", p->topic, t.partitions);
    return bus_partitions(bus, p->topic, &p->partitions, e);
}

static int send_item(struct push *p, const struct source_item *item, struct err *e)
{
    static const char type[] = "application/json";
    const struct bus_header header = {HEADER_CONTENT_TYPE, type, sizeof type - 1};
    const struct bus_message m = {.topic = p->topic,
                                  .partition = -1,
                                  .key = item->id,
                                  .key_len = strlen(item->id),
                                  .value = item->value,
                                  .value_len = item->len,
                                  .headers = &header,
                                  .header_count = 1};
    int rc;

    if (item->len > p->largest) {
        p->largest = item->len;
        p->largest_line = item->line;
    }
    if ((rc = bus_send(p->producer, &m, p, e)) < 0)
        return rc;
    p->sent++;
    p->bytes += (int64_t)item->len;
    return 0;
}

static int flush(struct push *p, struct err *e)
{
    struct clock *clock = p->c->ports.clock;
    int64_t until = clock_mono_ms(clock) + SEND_MS + 5000, seen = p->acknowledged;
    int rc;

    while ((rc = bus_flush(p->producer, FLUSH_STEP_MS, e)) < 0 &&
           err_class(rc) == ERR_CLASS_RETRY && clock_mono_ms(clock) < until &&
           !clock_stopping(clock))
        if (p->acknowledged != seen) {
            seen = p->acknowledged;
            until = clock_mono_ms(clock) + SEND_MS + 5000;
        }
    return rc;
}

/* Makes ingest cut what it has, so that a fit needn't wait for a segment's age. */
static int seal(struct push *p, struct err *e)
{
    const struct bus_header header = {HEADER_CONTROL, CONTROL_SEAL, sizeof CONTROL_SEAL - 1};
    int i, rc;

    for (i = 0; i < p->partitions; i++) {
        const struct bus_message m = {
            .topic = p->topic, .partition = i, .headers = &header, .header_count = 1};

        if ((rc = bus_send(p->producer, &m, NULL, e)) < 0)
            return rc;
    }
    return flush(p, e);
}

/* Kafka's own word for it names neither the document nor the cure. */
static int explain(const struct push *p, int rc, struct err *e)
{
    if (rc == ERR_LIMIT && p->largest)
        return err_set(e, ERR_LIMIT,
                       "%s:%zu: Kafka does not take so much (%zu bytes, the largest document so "
                       "far): split it, or raise max.message.bytes of %s; then push again",
                       p->file, p->largest_line, p->largest, p->topic);
    return rc;
}

static int send_all(struct push *p, struct err *e)
{
    struct bus_producer_options options = {.message_timeout_ms = SEND_MS, .linger_ms = 20};
    struct source_item item;
    int rc;

    if ((rc = bus_producer_open(p->c->ports.bus, &options, delivered, p, &p->producer, e)) < 0)
        return rc;
    progress_step(p->progress, "pushing", p->total, "documents");
    while ((rc = source_next(p->source, &item, e)) == 1) {
        if ((rc = send_item(p, &item, e)) < 0)
            return explain(p, rc, e);
        if (clock_stopping(p->c->ports.clock))
            return err_set(e, ERR_CANCELLED,
                           "interrupted after %lld documents; the same push again is safe",
                           (long long)p->acknowledged);
    }
    if (rc < 0)
        return rc;
    if ((rc = flush(p, e)) < 0 || (rc = seal(p, e)) < 0)
        return explain(p, rc, e);
    if (p->acknowledged != p->sent)
        return err_set(e, ERR_PEER, "%lld of %lld documents were acknowledged; push again",
                       (long long)p->acknowledged, (long long)p->sent);
    progress_done(p->progress, "sealed");
    return 0;
}

static int print_result(const struct push *p, struct err *e)
{
    double seconds = (double)(clock_mono_ms(p->c->ports.clock) - p->began_ms) / 1000;
    struct buf b;
    int rc;

    buf_init(&b, 1 << 16);
    if (p->o->json)
        buf_printf(&b,
                   "{\"bytes\":%lld,\"dataset\":\"%s\",\"documents\":%lld,\"partitions\":%d,"
                   "\"seconds\":%.3f,\"topic\":\"%s\"}\n",
                   (long long)p->bytes, p->dataset, (long long)p->acknowledged, p->partitions,
                   seconds, p->topic);
    else
        buf_printf(&b, "%lld documents in %s, acknowledged and sealed (%.1f s)\n",
                   (long long)p->acknowledged, p->topic, seconds);
    rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int print_checked(const struct push *p, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, 4096);
    buf_printf(&b, p->o->json ? "{\"documents\":%lld}\n" : "%lld documents, all fine\n",
               (long long)p->total);
    rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int work(struct push *p, struct err *e)
{
    const struct source_options so = {.path = p->file,
                                      .format = p->o->format,
                                      .columns = p->o->columns,
                                      .owner = p->c->owner,
                                      .split = p->o->split - 1};
    int rc;

    p->began_ms = clock_mono_ms(p->c->ports.clock);
    if ((rc = client_need_owner(p->c, e)) < 0 ||
        (rc = topic_docs(&p->c->keys, p->c->owner, p->dataset, p->topic, e)) < 0 ||
        (rc = source_open(&p->source, &so, e)) < 0 ||
        (rc = progress_new(&p->progress, p->c->ports.clock, 2, PROGRESS_AUTO, e)) < 0)
        return rc;
    if ((source_rewinds(p->source) || p->o->check) && (rc = check_file(p, e)) < 0)
        return rc;
    if (p->o->check)
        return print_checked(p, e);
    if ((rc = make_topic(p, e)) < 0 || (rc = send_all(p, e)) < 0)
        return rc;
    return print_result(p, e);
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct push_options o = {.partitions = DOCS_PARTITIONS};
    struct client c = {0};
    struct push p = {.o = &o, .c = &c};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 2, 2, e)) < 0)
        return rc;
    p.dataset = argv[0];
    p.file = argv[1];
    if ((rc = client_open(&c, &o.client, o.check ? 0 : SETTINGS_KAFKA, e)) == 0)
        rc = work(&p, e);
    progress_free(p.progress);
    bus_producer_free(p.producer);
    source_free(p.source);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_push = {
    .name = "push",
    .summary = "Sends labeled documents to a dataset.",
    .usage = "push DATASET FILE.csv|FILE.jsonl|- [options]",
    .examples = "  tripline push intents train.csv\n"
                "  tripline push intents test.csv --split eval\n"
                "  echo '{\"id\":\"1\",\"label\":\"greeting\",\"text\":\"hello\"}' | tripline push "
                "intents -\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
