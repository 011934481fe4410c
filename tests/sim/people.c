/*
 * Producers, and what befalls their topics. Each keeps a list of what it sent
 * and what Kafka acknowledged: the truth that segments are held against.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/segment.h"
#include "tests/sim/sim.h"

enum {
    STREAM_PEOPLE = 2000,
    STREAMS = 8,
    BURST = 9,
    GAP_MS = 240000,
    GONE_MS = 90000,
    READ_MS = 200000
};

uint64_t sent_hash(const void *key, size_t key_len, const void *value, size_t value_len)
{
    const unsigned char *p[2] = {key, value};
    const size_t n[2] = {key ? key_len : 0, value ? value_len : 0};
    uint64_t h = UINT64_C(0xcbf29ce484222325) + (key != NULL) + 2u * (value != NULL);
    size_t i, k;

    for (k = 0; k < 2; k++)
        for (i = 0, h = h * 31 + n[k]; i < n[k]; i++)
            h = (h ^ p[k][i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t draw(struct dataset *d, uint64_t n)
{
    return fate_below(d->w, STREAM_PEOPLE + (uint32_t)d->number * STREAMS, d->turn++, n);
}

static struct topic_life *life_of(struct dataset *d)
{
    return &d->lives[d->life_count - 1];
}

static struct sent *note(struct topic_life *l, enum sent_kind kind, uint64_t hash)
{
    struct sent *s = calloc(1, sizeof *s);

    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->sent = realloc(l->sent, l->cap * sizeof *l->sent);
    }
    if (!s || !l->sent)
        abort();
    s->kind = kind;
    s->hash = hash;
    s->offset = -1;
    return l->sent[l->count++] = s;
}

static void delivered(void *arg, void *token, int code, int32_t partition, int64_t offset,
                      const char *why)
{
    struct sent *s = token;

    (void)arg, (void)why;
    if (code < 0)
        return;
    s->partition = partition;
    s->offset = offset;
}

static void send_to(struct dataset *d, struct bus_producer *p, int32_t partition,
                    enum sent_kind kind, const char *key, const char *value,
                    const struct bus_header *h)
{
    struct bus_message m = {.topic = d->topic,
                            .partition = partition,
                            .key = key,
                            .key_len = key ? strlen(key) : 0,
                            .value = value,
                            .value_len = value ? strlen(value) : 0,
                            .headers = h,
                            .header_count = h ? 1 : 0};
    struct err e = ERR_INIT;
    struct sent *s = note(life_of(d), kind, sent_hash(key, m.key_len, value, m.value_len));

    s->ms = clock_wall_ms(d->w->clock);
    world_must(bus_send(p, &m, s, &e), &e);
}

static void send(struct dataset *d, struct bus_producer *p, enum sent_kind kind, const char *key,
                 const char *value, const struct bus_header *h)
{
    send_to(d, p, (int32_t)draw(d, (uint64_t)d->parts), kind, key, value, h);
}

static void send_document(struct dataset *d, struct bus_producer *p, int32_t partition)
{
    uint64_t n = d->w->serial++;
    char key[40], value[200];

    snprintf(key, sizeof key, "d%llu", (unsigned long long)n);
    snprintf(value, sizeof value, "{\"id\":\"d%llu\",\"label\":\"l%d\",\"text\":\"text %llu\"}",
             (unsigned long long)n, (int)(n % 3), (unsigned long long)n);
    send_to(d, p, partition, SENT_DOCUMENT, key, value, NULL);
}

static void send_hostile(struct dataset *d, struct bus_producer *p, uint64_t which)
{
    static const char *const values[] = {
        "broken",
        "{\"label\":\"a\",\"text\":\"neither key nor id\"}",
        "",
        "{\"id\":\"x\",\"label\":[],\"text\":\"t\"}",
        "\xff\xfe",
        "{\"id\":\"x\",\"label\":\"l\",\"text\":\"bad \xc3\x28\"}",
        "{\"id\":\"x\",\"label\":\"l\",\"tensor\":{\"shape\":[-1],\"dtype\":\"f4\",\"data\":\"\"}}",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["};
    static const struct bus_header forged = {HEADER_URI, "00 1 k", 6};
    static const struct bus_header control = {HEADER_CONTROL, "open", 4};
    const size_t count = sizeof values / sizeof values[0];

    which %= count + 2;
    if (which < count)
        send(d, p, SENT_HOSTILE, NULL, values[which], NULL);
    else
        send(d, p, SENT_HOSTILE, "k", "{\"label\":\"l\",\"text\":\"t\"}",
             which == count ? &forged : &control);
}

static void send_one(struct dataset *d, struct bus_producer *p)
{
    static const struct bus_header seal = {HEADER_CONTROL, CONTROL_SEAL, sizeof CONTROL_SEAL - 1};
    struct world *w = d->w;
    uint64_t n = w->serial++, which = draw(d, 20);
    char key[40];

    snprintf(key, sizeof key, "d%llu", (unsigned long long)n);
    if (which == 0) {
        send(d, p, SENT_TOMBSTONE, key, NULL, NULL);
    } else if (which == 1) {
        send(d, p, SENT_SEAL, NULL, "", &seal);
    } else if (fate_event(w, STREAM_PEOPLE + (uint32_t)d->number * STREAMS + 1, n, FAULT_HOSTILE,
                          12, d->topic)) {
        send_hostile(d, p, draw(d, 100));
    } else {
        send_document(d, p, (int32_t)draw(d, (uint64_t)d->parts));
    }
}

static void confirm(struct topic_life *l, size_t from)
{
    for (; from < l->count; from++)
        l->sent[from]->visible = l->sent[from]->offset >= 0;
}

static void burst(struct dataset *d)
{
    struct topic_life *l = life_of(d);
    size_t from = l->count;
    uint64_t n = 1 + draw(d, BURST);
    struct err e = ERR_INIT;

    while (n--)
        send_one(d, d->producer);
    world_must(bus_flush(d->producer, 1000, &e), &e);
    confirm(l, from);
}

static void transaction(struct dataset *d)
{
    const struct bus_producer_options o = {.transactional_id = d->topic};
    struct topic_life *l = life_of(d);
    struct bus_producer *p = NULL;
    size_t from = l->count;
    uint64_t n = 1 + draw(d, BURST);
    struct err e = ERR_INIT;

    world_must(bus_producer_open(d->w->bus, &o, delivered, NULL, &p, &e), &e);
    world_must(bus_begin(p, &e), &e);
    while (n--)
        send_one(d, p);
    clock_sleep_ms(d->w->clock, (int64_t)draw(d, 40000)); /* readers see nothing behind it */
    if (fate_event(d->w, STREAM_PEOPLE + (uint32_t)d->number * STREAMS + 2, d->turn, FAULT_ABORT, 3,
                   d->topic)) {
        world_must(bus_abort_transaction(p, &e), &e);
    } else {
        world_must(bus_commit_transaction(p, &e), &e);
        confirm(l, from);
    }
    bus_producer_free(p);
}

/* Does a segment of that partition hold a record of the topic's life? */
struct reader {
    struct dataset *d;
    int32_t part;
};

static bool sent_so(const struct topic_life *l, int32_t part, const struct segment_record *r)
{
    const struct document_message *m = &r->message;
    size_t i;

    for (i = 0; i < l->count; i++)
        if (l->sent[i]->partition == part && l->sent[i]->offset == r->offset &&
            l->sent[i]->ms == r->timestamp_ms && /* all seals are alike */
            l->sent[i]->hash == sent_hash(m->key, m->key_len, m->value, m->value_len))
            return true;
    return false;
}

static int each_segment(void *arg, const char *key, uint64_t size)
{
    const struct reader *in = arg;
    struct segment_reader *r = NULL;
    struct segment_name name;
    struct segment_record record;
    struct err e = ERR_INIT;
    bool found = false;
    struct buf b;

    (void)size;
    if (!key_segment_parse(key, &name) || name.partition != in->part)
        return 0;
    buf_init(&b, SEGMENT_BYTES_MAX);
    world_must(blob_get(in->d->w->blob, key, &b, &e), &e);
    world_must(segment_reader_new(&r, b.data, b.len, &e), &e);
    while (!found && segment_reader_next(r, &record, &e) > 0)
        found = record.kind != SEGMENT_REJECTED && sent_so(life_of(in->d), in->part, &record);
    segment_reader_free(r);
    buf_release(&b);
    return found;
}

static bool taken(struct dataset *d, int32_t part)
{
    struct reader in = {d, part};
    struct err e = ERR_INIT;
    char prefix[KEY_MAX];
    int rc;

    world_must(key_segments_prefix(d->owner, d->name, prefix, &e), &e);
    rc = blob_list(d->w->blob, prefix, NULL, each_segment, &in, &e);
    world_must(rc, &e);
    return rc > 0;
}

static void note_trim(struct topic_life *l, struct trim t)
{
    l->trims = realloc(l->trims, (l->trim_count + 1) * sizeof *l->trims);
    if (!l->trims)
        abort();
    l->trims[l->trim_count++] = t;
}

/* A topic that was made anew is told from the old one by its records: retention takes none before
 * one of them was seen, else nothing could tell. */
static void retention(struct dataset *d)
{
    int32_t part = (int32_t)draw(d, (uint64_t)d->parts);
    int64_t low, high;
    struct err e = ERR_INIT;

    if (d->life_count > 1 && !taken(d, part))
        return;
    world_must(bus_watermarks(d->w->bus, d->topic, part, &low, &high, &e), &e);
    low += (int64_t)draw(d, (uint64_t)(high - low) + 1);
    world_must(bus_mem_trim(d->w->bus, d->topic, part, low, &e), &e);
    note_trim(life_of(d), (struct trim){++d->w->moment, part, low});
    world_trace(d->w, "%s[%d] begins at %lld now", d->topic, (int)part, (long long)low);
}

static void create(struct dataset *d)
{
    static const char *const config[] = {"message.timestamp.type=LogAppendTime", NULL};
    const struct bus_topic t = {d->topic, d->parts, config};
    struct err e = ERR_INIT;

    world_must(bus_create_topics(d->w->bus, &t, 1, &e), &e);
    d->lives[d->life_count++].born = ++d->w->moment;
}

/* At once as long as it was, or longer, and a record at each offset. */
static void refill(struct dataset *d, const int64_t high[PARTS_MAX])
{
    struct topic_life *l = life_of(d);
    int64_t n, more = (int64_t)draw(d, 2);
    size_t from = l->count;
    struct err e = ERR_INIT;
    int i;

    for (i = 0; i < d->parts; i++)
        for (n = 0; n < high[i] + more; n++)
            send_document(d, d->producer, i);
    world_must(bus_flush(d->producer, 1000, &e), &e);
    confirm(l, from);
}

static void recreate(struct dataset *d)
{
    int64_t low, high[PARTS_MAX];
    struct err e = ERR_INIT;
    int i;

    if (draw(d, 2)) /* readers are at its end */
        clock_sleep_ms(d->w->clock, READ_MS);
    for (i = 0; i < d->parts; i++)
        world_must(bus_watermarks(d->w->bus, d->topic, i, &low, &high[i], &e), &e);

    world_must(bus_mem_delete_topic(d->w->bus, d->topic, &e), &e);
    life_of(d)->gone = ++d->w->moment;
    if (draw(d, 2))
        clock_sleep_ms(d->w->clock, (int64_t)draw(d, GONE_MS));
    create(d);
    if (draw(d, 2))
        refill(d, high);
}

static void turn(struct dataset *d)
{
    uint32_t stream = STREAM_PEOPLE + (uint32_t)d->number * STREAMS;

    if (draw(d, 3) == 0)
        transaction(d);
    else
        burst(d);
    if (fate_event(d->w, stream + 3, d->turn, FAULT_TRIM, 20, d->topic))
        retention(d);
    if (d->life_count < LIVES_MAX &&
        fate_event(d->w, stream + 4, d->turn, FAULT_RECREATE, 20, d->topic))
        recreate(d);
}

void dataset_main(void *dataset)
{
    struct dataset *d = dataset;
    struct world *w = d->w;
    struct bus_producer_options o = {0};
    struct err e = ERR_INIT;

    world_must(bus_producer_open(w->bus, &o, delivered, NULL, &d->producer, &e), &e);
    create(d);
    while (world_now(w) < w->active_ms) {
        turn(d);
        clock_sleep_ms(w->clock, (int64_t)draw(d, draw(d, 4) ? GAP_MS : 2000));
    }
    bus_producer_free(d->producer);
    d->producer = NULL;
}

void dataset_release(struct dataset *d)
{
    size_t i;
    int l;

    for (l = 0; l < d->life_count; l++) {
        for (i = 0; i < d->lives[l].count; i++)
            free(d->lives[l].sent[i]);
        free(d->lives[l].sent);
        free(d->lives[l].trims);
    }
}
