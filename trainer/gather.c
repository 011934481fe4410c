#include "trainer/gather.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/arena.h"
#include "platform/base/file.h"
#include "schemas/document.h"
#include "schemas/segment.h"
#include "trainer/data/dataset.h"
#include "trainer/snapshot.h"

#define IDS_MAX ((size_t)1 << 36) /* bytes of all ids */

/* A message about an id. */
struct entry {
    const char *id;
    int64_t incarnation, timestamp_ms, partition, offset;
    size_t number; /* in the order of reading */
};

struct gathering {
    const char *folder, *owner;
    const struct gather_segment *segments;
    size_t segment_count;
    struct arena ids;
    struct entry *entries;
    size_t count, cap;
    unsigned char *wins; /* by number */
    struct dataset *dataset;
    struct gather_counts *counts;
};

typedef int (*record_fn)(struct gathering *g, const struct gather_segment *s,
                         const struct segment_record *r, size_t number, struct err *e);

static int each_in_segment(struct gathering *g, const struct gather_segment *s, struct buf *bytes,
                           size_t *number, record_fn fn, struct err *e)
{
    struct segment_reader *reader = NULL;
    struct segment_record r;
    char path[4096];
    int rc;

    buf_reset(bytes);
    if ((rc = snapshot_segment_path(g->folder, s->incarnation, s->partition, s->first, path, e)) <
            0 ||
        (rc = file_read(path, bytes, e)) < 0 ||
        (rc = segment_reader_new(&reader, bytes->data, bytes->len, e)) < 0)
        return err_wrap(e, "segment %lld of partition %lld", (long long)s->first,
                        (long long)s->partition);
    while ((rc = segment_reader_next(reader, &r, e)) == 1)
        if ((r.kind == SEGMENT_DOCUMENT || r.kind == SEGMENT_TOMBSTONE) &&
            (rc = fn(g, s, &r, (*number)++, e)) < 0)
            break;
    segment_reader_free(reader);
    return rc;
}

static int each_record(struct gathering *g, record_fn fn, struct err *e)
{
    struct buf bytes;
    size_t i, number = 0;
    int rc = 0;

    buf_init(&bytes, SEGMENT_BYTES_MAX);
    for (i = 0; rc >= 0 && i < g->segment_count; i++)
        rc = each_in_segment(g, &g->segments[i], &bytes, &number, fn, e);
    buf_release(&bytes);
    return rc;
}

/* ---- first reading: who wins? -----------------------------------------------------------------
 */

static int note(struct gathering *g, const struct gather_segment *s, const struct segment_record *r,
                size_t number, struct err *e)
{
    size_t cap = g->cap ? g->cap * 2 : 1024;
    struct entry *more;

    if (g->count == g->cap) {
        if (cap > SIZE_MAX / sizeof *more || !(more = realloc(g->entries, cap * sizeof *more)))
            return err_set(e, ERR_NOMEM, "the ids of %zu documents", g->count);
        g->entries = more;
        g->cap = cap;
    }
    g->entries[g->count] = (struct entry){.id = arena_strndup(&g->ids, r->id, strlen(r->id)),
                                          .incarnation = s->incarnation,
                                          .timestamp_ms = r->timestamp_ms,
                                          .partition = s->partition,
                                          .offset = r->offset,
                                          .number = number};
    if (!g->entries[g->count++].id)
        return err_set(e, ERR_NOMEM, "the ids of %zu documents", g->count);
    return 0;
}

static int order(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = strcmp(x->id, y->id);

    if (c == 0)
        c = order(x->incarnation, y->incarnation);
    if (c == 0)
        c = order(x->timestamp_ms, y->timestamp_ms);
    if (c == 0)
        c = order(x->partition, y->partition);
    return c ? c : order(x->offset, y->offset);
}

static int choose(struct gathering *g, struct err *e)
{
    size_t i;

    if (!(g->wins = calloc(g->count + 1, 1)))
        return err_set(e, ERR_NOMEM, "the ids of %zu documents", g->count);
    if (g->count)
        qsort(g->entries, g->count, sizeof *g->entries, compare);
    for (i = 0; i < g->count; i++)
        if (i + 1 == g->count || strcmp(g->entries[i].id, g->entries[i + 1].id) != 0)
            g->wins[g->entries[i].number] = 1;
    g->counts->messages = (int64_t)g->count;
    return 0;
}

/* ---- second reading: their documents ----------------------------------------------------------
 */

/* Two texts, with a score or without a label. */
static bool is_pair(const struct document *d, const char *label)
{
    return d->part_count == 2 && d->parts[0].text && d->parts[1].text &&
           (!label || !isnan(d->score));
}

static int add(struct gathering *g, const struct gather_segment *s, const struct segment_record *r,
               size_t number, struct err *e)
{
    enum dataset_split split = r->split == SPLIT_EVAL ? DATASET_EVAL : DATASET_TRAIN;
    enum document_kind kind;
    struct document d;
    struct arena a;
    char digits[32];
    const char *label;
    int rc;

    if (!g->wins[number] || r->kind != SEGMENT_DOCUMENT)
        return 0;
    arena_init(&a, (size_t)256 << 20);
    rc = document_admit(&r->message, g->owner, &a, &kind, &d, e);
    if (rc == 0 && kind == DOCUMENT_PUT) {
        label = d.label.text;
        if (!label && d.label.number != RECORD_NO_INT) {
            snprintf(digits, sizeof digits, "%lld", (long long)d.label.number);
            label = digits;
        }
        if (is_pair(&d, label))
            rc = dataset_add_pair(g->dataset, r->id, strlen(r->id), d.parts[0].text,
                                  strlen(d.parts[0].text), d.parts[1].text, strlen(d.parts[1].text),
                                  isnan(d.score) ? NULL : &d.score, split, e);
        else if (!d.text || !label || !*label)
            g->counts->skipped++;
        else
            rc = dataset_add(g->dataset, r->id, strlen(r->id), d.text, strlen(d.text), label,
                             strlen(label), split, e);
    }
    arena_release(&a);
    return rc < 0 ? err_wrap(e, "document '%.80s'", r->id) : 0;
}

int gather(struct dataset **out, const char *folder, const char *owner,
           const struct gather_segment *segments, size_t count, struct gather_counts *counts,
           struct err *e)
{
    struct gathering g = {.folder = folder,
                          .owner = owner,
                          .segments = segments,
                          .segment_count = count,
                          .counts = counts};
    int rc;

    memset(counts, 0, sizeof *counts);
    arena_init(&g.ids, IDS_MAX);
    if (!(g.dataset = dataset_new()))
        rc = err_set(e, ERR_NOMEM, "a dataset");
    else if ((rc = each_record(&g, note, e)) == 0 && (rc = choose(&g, e)) == 0 &&
             (rc = each_record(&g, add, e)) == 0)
        rc = dataset_seal(g.dataset, e);
    arena_release(&g.ids);
    free(g.entries);
    free(g.wins);
    if (rc < 0)
        dataset_free(g.dataset);
    else
        *out = g.dataset;
    return rc < 0 ? rc : 0;
}
