#include "trainer/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "schemas/segment.h"
#include "trainer/trainer_int.h"

/* An object of the dataset: a segment, or the base of a chain. */
struct found {
    struct segment_name name;
    uint64_t size;
    bool base;
};

struct chains {
    struct found *items; /* by incarnation, partition, base first, offset */
    size_t count, cap;
    struct err *e;
};

static void chains_release(struct chains *c)
{
    free(c->items);
}

static int each_object(void *arg, const char *key, uint64_t size)
{
    struct chains *c = arg;
    struct found f = {.size = size}, *more;
    size_t cap = c->cap ? c->cap * 2 : 64;

    if (!key_segment_parse(key, &f.name) && !(f.base = key_base_parse(key, &f.name)))
        return 0;
    if (c->count == c->cap) {
        if (!(more = realloc(c->items, cap * sizeof *more)))
            return err_set(c->e, ERR_NOMEM, "the list of %zu segments", c->count);
        c->items = more;
        c->cap = cap;
    }
    c->items[c->count++] = f;
    return 0;
}

static int compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->name.incarnation != y->name.incarnation)
        return x->name.incarnation < y->name.incarnation ? -1 : 1;
    if (x->name.partition != y->name.partition)
        return x->name.partition < y->name.partition ? -1 : 1;
    if (x->base != y->base)
        return x->base ? -1 : 1;
    return x->name.first < y->name.first ? -1 : x->name.first > y->name.first;
}

static int chains_list(const struct snapshot_task *s, struct chains *out, struct err *e)
{
    char prefix[KEY_MAX];
    int rc = key_segments_prefix(s->ref->owner, s->job->dataset, prefix, e);

    memset(out, 0, sizeof *out);
    out->e = e;
    if (rc < 0 || (rc = blob_list(s->t->p.blob, prefix, NULL, each_object, out, e)) < 0)
        return rc;
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, compare_found);
    return 0;
}

/* Where the chain that begins at items[i] ends in the list. */
static size_t chain_end(const struct chains *c, size_t i)
{
    const struct segment_name *n = &c->items[i].name;

    while (i < c->count && c->items[i].name.incarnation == n->incarnation &&
           c->items[i].name.partition == n->partition)
        i++;
    return i;
}

/* ---- one segment ------------------------------------------------------------------------------
 */

int snapshot_segment_path(const char *folder, int64_t incarnation, int64_t partition, int64_t first,
                          char path[4096], struct err *e)
{
    if (snprintf(path, 4096, "%s/%lld-%lld-%020lld.seg", folder, (long long)incarnation,
                 (long long)partition, (long long)first) >= 4096)
        return err_set(e, ERR_LIMIT, "%s: the path is too long", folder);
    return 0;
}

/* Into the folder unless it is there; then its hash is not known, and "". */
static int bring(const struct snapshot_task *s, const struct segment_name *n, char path[4096],
                 char sha256[SHA256_HEX], struct err *e)
{
    char key[KEY_MAX];
    int rc = key_segment(n, key, e);

    sha256[0] = '\0';
    if (rc < 0 || (rc = snapshot_segment_path(s->folder, (int64_t)n->incarnation, n->partition,
                                              n->first, path, e)) < 0)
        return rc;
    if (access(path, F_OK) == 0)
        return 0;
    if ((rc = s->go_on(s->arg, e)) < 0)
        return rc;
    return blob_get_file(s->t->p.blob, key, path, sha256, e);
}

/* Reads a segment whole; the reader borrows the bytes. */
static int open_segment(const struct segment_name *n, const char *path, struct buf *bytes,
                        struct segment_reader **out, struct err *e)
{
    int rc;

    buf_reset(bytes);
    if ((rc = file_read(path, bytes, e)) == 0 &&
        (rc = segment_reader_new(out, bytes->data, bytes->len, e)) == 0 &&
        (rc = segment_footer_check(segment_reader_footer(*out), n, e)) < 0) {
        segment_reader_free(*out);
        *out = NULL;
    }
    return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

static int read_base(const struct snapshot_task *s, const struct segment_name *n, int64_t *first,
                     struct err *e)
{
    char key[KEY_MAX];
    struct chain_base base;
    struct buf b;
    int rc = key_base(n, key, e);

    if (rc < 0)
        return rc;
    buf_init(&b, 1 << 20);
    if ((rc = blob_get(s->t->p.blob, key, &b, e)) == 0 &&
        (rc = chain_base_read(s->arena, b.data, b.len, RECORD_SNIFF, &base, e)) < 0)
        err_wrap(e, "%s", key);
    if (rc == 0)
        *first = base.first;
    buf_release(&b);
    return rc;
}

/* ---- has ingest come far enough? --------------------------------------------------------------
 */

/* Behind the last offset of the partition's newest chain; 0 without one, or behind a closed one. */
static int chain_next(const struct snapshot_task *s, const struct chains *c, int64_t partition,
                      int64_t *next, struct err *e)
{
    const struct found *last = NULL;
    struct segment_reader *r = NULL;
    struct buf bytes;
    char path[4096], sha256[SHA256_HEX];
    size_t i;
    int rc;

    for (i = 0; i < c->count; i++)
        if (c->items[i].name.partition == partition)
            last = &c->items[i];
    *next = 0;
    if (!last)
        return 0;
    if (last->base)
        return read_base(s, &last->name, next, e);
    buf_init(&bytes, SEGMENT_BYTES_MAX);
    if ((rc = bring(s, &last->name, path, sha256, e)) == 0 &&
        (rc = open_segment(&last->name, path, &bytes, &r, e)) == 0 &&
        !segment_reader_footer(r)->closed)
        *next = segment_reader_footer(r)->next;
    segment_reader_free(r);
    buf_release(&bytes);
    return rc;
}

/*
 * A chain that ends behind the topic's high watermark belongs to a topic that is
 * no more: ingest will begin another one. And what Kafka dropped before ingest
 * saw it will never come.
 */
static int partition_reached(const struct snapshot_task *s, const struct chains *c,
                             const struct job_watermark *w, int64_t *next, struct err *e)
{
    char topic[KEY_MAX];
    int64_t low, high;
    int rc = chain_next(s, c, w->partition, next, e);

    if (rc < 0 || (rc = topic_docs(&s->t->keys, s->ref->owner, s->job->dataset, topic, e)) < 0)
        return rc;
    rc = bus_watermarks(s->t->p.bus, topic, (int32_t)w->partition, &low, &high, e);
    if (rc == ERR_NOT_FOUND)
        return *next >= w->high;
    if (rc < 0)
        return rc;
    return *next >= w->high ? *next <= high : low >= w->high;
}

int snapshot_reached(const struct snapshot_task *s, char why[256], struct err *e)
{
    const struct job_accepted *a = s->job->accepted;
    struct chains c;
    int64_t next;
    size_t i;
    int rc = chains_list(s, &c, e);

    for (i = 0; rc >= 0 && i < a->watermark_count; i++) {
        rc = partition_reached(s, &c, &a->watermarks[i], &next, e);
        if (rc != 0)
            continue;
        snprintf(why, 256, "partition %lld of dataset %s is ingested to offset %lld of %lld",
                 (long long)a->watermarks[i].partition, s->job->dataset, (long long)next,
                 (long long)a->watermarks[i].high);
        chains_release(&c);
        return 0;
    }
    chains_release(&c);
    return rc < 0 ? rc : 1;
}

/* ---- taking it --------------------------------------------------------------------------------
 */

struct taking {
    const struct snapshot_task *s;
    struct snapshot *out;
    struct buf bytes; /* of one segment */
    struct label_count *labels;
    size_t label_count;
    int64_t total; /* bytes */
};

static int compare_labels(const struct record_label *a, const struct record_label *b)
{
    if (!a->text != !b->text)
        return a->text ? 1 : -1;
    if (a->text)
        return strcmp(a->text, b->text);
    return a->number < b->number ? -1 : a->number > b->number;
}

/* A copy whose text lives in the arena. */
static int keep_label(struct taking *k, struct label_count *to, const struct label_count *from,
                      struct err *e)
{
    label_count_init(to);
    to->count = from->count;
    to->label = from->label;
    if (from->label.text &&
        !(to->label.text = arena_strndup(k->s->arena, from->label.text, strlen(from->label.text))))
        return err_set(e, ERR_NOMEM, "the labels of dataset %s", k->s->job->dataset);
    return 0;
}

/* Both lists are sorted. */
static int merge_labels(struct taking *k, const struct label_count *add, size_t n, struct err *e)
{
    struct label_count *merged = calloc(k->label_count + n + 1, sizeof *merged);
    size_t i = 0, j = 0, m = 0;
    int rc = merged ? 0 : err_set(e, ERR_NOMEM, "%zu labels", k->label_count + n);

    while (rc == 0 && (i < k->label_count || j < n)) {
        int order = i == k->label_count ? 1
                    : j == n            ? -1
                                        : compare_labels(&k->labels[i].label, &add[j].label);

        if (order > 0) {
            rc = keep_label(k, &merged[m++], &add[j++], e);
            continue;
        }
        merged[m] = k->labels[i++];
        if (order == 0)
            merged[m].count += add[j++].count;
        m++;
    }
    if (rc < 0) {
        free(merged);
        return rc;
    }
    free(k->labels);
    k->labels = merged;
    k->label_count = m;
    return 0;
}

static int keep_missing(struct taking *k, struct snapshot_chain *chain,
                        const struct segment_footer *f, struct err *e)
{
    size_t n = chain->missing_count + f->missing_count;
    struct offset_range *all;

    if (!f->missing_count)
        return 0;
    if (!(all = arena_array(k->s->arena, n, sizeof *all)))
        return err_set(e, ERR_NOMEM, "%zu gaps", n);
    if (chain->missing_count)
        memcpy(all, chain->missing, chain->missing_count * sizeof *all);
    for (size_t i = 0; i < f->missing_count; i++) {
        offset_range_init(&all[chain->missing_count + i]);
        all[chain->missing_count + i].first = f->missing[i].first;
        all[chain->missing_count + i].next = f->missing[i].next;
    }
    chain->missing = all;
    chain->missing_count = n;
    return 0;
}

static int take_segment(struct taking *k, const struct found *f, struct snapshot_chain *chain,
                        struct snapshot_segment *to, struct err *e)
{
    struct segment_reader *r = NULL;
    const struct segment_footer *foot;
    char path[4096], key[KEY_MAX], sha256[SHA256_HEX];
    int rc;

    k->total += (int64_t)f->size;
    if (f->size > SEGMENT_BYTES_MAX || k->total > k->s->bytes_max)
        return err_set(e, ERR_LIMIT,
                       "dataset %s is larger than the %lld bytes that trainer.work_bytes leaves it",
                       k->s->job->dataset, (long long)k->s->bytes_max);
    if ((rc = bring(k->s, &f->name, path, sha256, e)) < 0 ||
        (rc = open_segment(&f->name, path, &k->bytes, &r, e)) < 0 ||
        (rc = key_segment(&f->name, key, e)) < 0)
        goto done;
    foot = segment_reader_footer(r);
    if (!sha256[0])
        sha256_of(k->bytes.data, k->bytes.len, sha256);
    snapshot_segment_init(to);
    to->key = arena_strndup(k->s->arena, key, strlen(key));
    to->sha256 = arena_strndup(k->s->arena, sha256, strlen(sha256));
    to->first = foot->first;
    to->next = foot->next;
    to->size = (int64_t)k->bytes.len;
    to->documents = foot->documents;
    to->tombstones = foot->tombstones;
    to->rejected = foot->rejected;
    rc = to->key && to->sha256 ? 0 : err_set(e, ERR_NOMEM, "segment %s", key);
    if (rc == 0 && (rc = merge_labels(k, foot->labels, foot->label_count, e)) == 0)
        rc = keep_missing(k, chain, foot, e);
done:
    segment_reader_free(r);
    return rc;
}

/* The objects [i, end) of one chain, in the order of their links. */
static int take_chain(struct taking *k, const struct chains *c, size_t i, size_t end,
                      struct snapshot_chain *chain, struct err *e)
{
    struct snapshot_segment *segments = arena_array(k->s->arena, end - i, sizeof *segments);
    size_t n = 0;
    int rc;

    if (!segments)
        return err_set(e, ERR_NOMEM, "a chain of %zu segments", end - i);
    snapshot_chain_init(chain);
    chain->first = 0;
    chain->incarnation = (int64_t)c->items[i].name.incarnation;
    chain->partition = c->items[i].name.partition;
    if (c->items[i].base && (rc = read_base(k->s, &c->items[i++].name, &chain->first, e)) < 0)
        return rc;
    chain->next = chain->first;
    for (; i < end; i++) {
        if (c->items[i].name.first != chain->next) /* no link of the chain */
            continue;
        if ((rc = take_segment(k, &c->items[i], chain, &segments[n], e)) < 0)
            return rc;
        if (segments[n].next == chain->next) /* it closes the chain, and holds nothing */
            break;
        chain->next = segments[n].next;
        k->out->documents += segments[n].documents;
        k->out->tombstones += segments[n].tombstones;
        k->out->rejected += segments[n].rejected;
        n++;
    }
    chain->segments = segments;
    chain->segment_count = n;
    return 0;
}

static int take_chains(struct taking *k, const struct chains *c, struct err *e)
{
    struct snapshot_chain *chains = arena_array(k->s->arena, c->count + 1, sizeof *chains);
    size_t i, end, n = 0;
    int rc;

    if (!chains)
        return err_set(e, ERR_NOMEM, "the chains of dataset %s", k->s->job->dataset);
    for (i = 0; i < c->count; i = end) {
        end = chain_end(c, i);
        if ((rc = take_chain(k, c, i, end, &chains[n], e)) < 0)
            return rc;
        if (chains[n].segment_count)
            n++;
    }
    k->out->chains = chains;
    k->out->chain_count = n;
    if (k->out->documents == 0)
        return err_set(e, ERR_CONFIG,
                       "dataset %s of owner %s has no document: push some, then fit again",
                       k->s->job->dataset, k->s->ref->owner);
    return 0;
}

/* Where it would be larger than a record may be, its classes give way, as where they are too many:
 * nothing depends on them. */
static int write_it(struct snapshot *out, struct buf *b, struct err *e)
{
    int rc = snapshot_write(out, RECORD_JSON, b, e);

    if (rc != ERR_LIMIT || out->label_count == 0)
        return rc;
    out->label_count = 0;
    buf_reset(b);
    return snapshot_write(out, RECORD_JSON, b, e);
}

static int create(struct taking *k, char sha256[SHA256_HEX], struct err *e)
{
    struct trainer *t = k->s->t;
    char key[KEY_MAX], nonce[33];
    struct buf b;
    int rc = key_run(k->s->ref->owner, k->s->ref->run, RUN_SNAPSHOT, key, e);

    if (rc < 0)
        return rc;
    clock_nonce(t->p.clock, nonce);
    k->out->nonce = arena_strndup(k->s->arena, nonce, strlen(nonce));
    k->out->created_ms = clock_wall_ms(t->p.clock);
    buf_init(&b, RECORD_BYTES_MAX);
    if (!k->out->nonce)
        rc = err_set(e, ERR_NOMEM, "a snapshot");
    if (rc == 0 && (rc = write_it(k->out, &b, e)) == 0) {
        sha256_of(b.data, b.len, sha256);
        rc = blob_create(t->p.blob, key, b.data, b.len, e);
    }
    buf_release(&b);
    return rc;
}

int snapshot_take(const struct snapshot_task *s, struct snapshot *out, char sha256[SHA256_HEX],
                  struct err *e)
{
    struct taking k = {.s = s, .out = out};
    struct chains c;
    int rc;

    snapshot_init(out);
    out->owner = s->ref->owner;
    out->run = s->ref->run;
    out->dataset = s->job->dataset;
    out->watermarks = s->job->accepted->watermarks;
    out->watermark_count = s->job->accepted->watermark_count;
    out->documents = out->tombstones = out->rejected = 0;
    buf_init(&k.bytes, SEGMENT_BYTES_MAX);
    if ((rc = chains_list(s, &c, e)) == 0 && (rc = take_chains(&k, &c, e)) == 0) {
        out->classes = (int64_t)k.label_count;
        if (k.label_count <= SNAPSHOT_LABELS_MAX)
            out->labels = arena_dup(s->arena, k.labels, k.label_count * sizeof *k.labels);
        out->label_count = out->labels ? k.label_count : 0;
        rc = create(&k, sha256, e);
    }
    chains_release(&c);
    free(k.labels);
    buf_release(&k.bytes);
    return rc == ERR_EXISTS ? snapshot_load(s, out, sha256, e) : rc < 0 ? rc : 1;
}

/* ---- reading it -------------------------------------------------------------------------------
 */

int snapshot_load(const struct snapshot_task *s, struct snapshot *out, char sha256[SHA256_HEX],
                  struct err *e)
{
    char key[KEY_MAX];
    struct buf b;
    int rc = key_run(s->ref->owner, s->ref->run, RUN_SNAPSHOT, key, e);

    if (rc < 0)
        return rc;
    buf_init(&b, TRAINER_JSON_MAX);
    if ((rc = blob_get(s->t->p.blob, key, &b, e)) == 0) {
        sha256_of(b.data, b.len, sha256);
        rc = snapshot_read(s->arena, b.data, b.len, RECORD_SNIFF, out, e);
        if (rc == 0 && strcmp(out->dataset, s->job->dataset) != 0)
            rc = err_set(e, ERR_FORMAT, "is of dataset %s, the job's is %s", out->dataset,
                         s->job->dataset);
        if (rc < 0)
            err_wrap(e, "%s", key);
    }
    buf_release(&b);
    return rc;
}

static int fetch_segment(const struct snapshot_task *s, const struct snapshot_segment *g,
                         struct err *e)
{
    struct segment_name n;
    char path[4096], sha256[SHA256_HEX];
    int rc;

    if (!key_segment_parse(g->key, &n) || strcmp(n.owner, s->ref->owner) != 0 ||
        strcmp(n.dataset, s->job->dataset) != 0)
        return err_set(e, ERR_FORMAT, "snapshot.json lists %s, no segment of its dataset", g->key);
    if ((rc = bring(s, &n, path, sha256, e)) < 0 ||
        (!sha256[0] && (rc = sha256_file(path, sha256, NULL, e)) < 0))
        return rc;
    if (strcmp(sha256, g->sha256) != 0)
        return err_set(e, ERR_FORMAT, "%s has SHA-256 %s, the snapshot recorded %s", g->key, sha256,
                       g->sha256);
    return 0;
}

int snapshot_fetch(const struct snapshot_task *s, const struct snapshot *from, struct err *e)
{
    int64_t total = 0;
    size_t i, j;
    int rc;

    for (i = 0; i < from->chain_count; i++)
        for (j = 0; j < from->chains[i].segment_count; j++) {
            const struct snapshot_segment *g = &from->chains[i].segments[j];

            total += g->size;
            if (total > s->bytes_max)
                return err_set(e, ERR_LIMIT,
                               "dataset %s is larger than the %lld bytes that trainer.work_bytes "
                               "leaves it",
                               s->job->dataset, (long long)s->bytes_max);
            if ((rc = fetch_segment(s, g, e)) < 0)
                return rc;
        }
    return 0;
}
