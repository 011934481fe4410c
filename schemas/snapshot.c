#include "schemas/snapshot.h"

#include <string.h>

#include "schemas/record_int.h"

#define COUNT .min = 0, .max = RECORD_INT_MAX
#define NONCE .min = 1, .max = 64, .help = "The writer's, so that it knows its own object."
#define TIME  .min = 0, .max = RECORD_INT_MAX, .help = "When, in milliseconds since 1970."

static const struct record_field base_fields[] = {
    RECORD_FIELD(chain_base, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(chain_base, dataset, NAME, REQUIRED, .help = "The dataset."),
    RECORD_FIELD(chain_base, incarnation, INT, REQUIRED, COUNT,
                 .help = "How often the topic was re-created."),
    RECORD_FIELD(chain_base, partition, INT, REQUIRED, .min = 0, .max = INT32_MAX,
                 .help = "The partition."),
    RECORD_FIELD(chain_base, first, INT, REQUIRED, COUNT,
                 .help = "The offset the chain begins at."),
    RECORD_FIELD(chain_base, reason, STRING, OPTIONAL, .max = 512, .help = "Why it was begun."),
    RECORD_FIELD(chain_base, nonce, STRING, REQUIRED, NONCE),
    RECORD_FIELD(chain_base, time_ms, INT, REQUIRED, TIME),
};
const struct record chain_base_record = {
    .name = "base",
    .title = "The begin of a chain",
    .help =
        "`segments/<incarnation>/<partition>/base.json`, conditionally created. A chain without "
        "one begins at offset 0.",
    .size = sizeof(struct chain_base),
    RECORD_TABLE(base_fields),
};

static int check_range(const void *record, struct err *e)
{
    const struct offset_range *r = record;

    if (r->next > r->first)
        return 0;
    return err_set(e, ERR_FORMAT, "next: %lld is not behind first", (long long)r->next);
}

static const struct record_field range_fields[] = {
    RECORD_FIELD(offset_range, first, INT, REQUIRED, COUNT, .help = "The first offset."),
    RECORD_FIELD(offset_range, next, INT, REQUIRED, COUNT, .help = "Behind the last."),
};
const struct record offset_range_record = {.name = "range",
                                           .title = "Offsets",
                                           .size = sizeof(struct offset_range),
                                           .check = check_range,
                                           RECORD_TABLE(range_fields)};

static const struct record_field segment_fields[] = {
    RECORD_FIELD(snapshot_segment, key, STRING, REQUIRED, .min = 1, .max = 511,
                 .help = "The object."),
    RECORD_FIELD(snapshot_segment, sha256, SHA256, REQUIRED, .help = "Of the whole object."),
    RECORD_FIELD(snapshot_segment, first, INT, REQUIRED, COUNT, .help = "Its first offset."),
    RECORD_FIELD(snapshot_segment, next, INT, REQUIRED, COUNT, .help = "Behind its last."),
    RECORD_FIELD(snapshot_segment, size, INT, REQUIRED, COUNT, .help = "Bytes."),
    RECORD_FIELD(snapshot_segment, documents, INT, REQUIRED, COUNT, .help = "Accepted documents."),
    RECORD_FIELD(snapshot_segment, tombstones, INT, REQUIRED, COUNT, .help = "Removals."),
    RECORD_FIELD(snapshot_segment, rejected, INT, REQUIRED, COUNT, .help = "Rejected messages."),
};
const struct record snapshot_segment_record = {.name = "snapshot_segment",
                                               .title = "A segment of a chain",
                                               .size = sizeof(struct snapshot_segment),
                                               RECORD_TABLE(segment_fields)};

/* A chain has no gaps: each segment begins where its predecessor ends. */
static int check_chain(const void *record, struct err *e)
{
    const struct snapshot_chain *c = record;
    int64_t at = c->first;
    size_t i;

    for (i = 0; i < c->segment_count; i++) {
        const struct snapshot_segment *s = &c->segments[i];

        if (s->first != at || s->next <= s->first)
            return err_set(e, ERR_FORMAT, "segments: number %zu covers [%lld, %lld) after %lld", i,
                           (long long)s->first, (long long)s->next, (long long)at);
        at = s->next;
    }
    if (at != c->next)
        return err_set(e, ERR_FORMAT, "next: %lld, the segments end at %lld", (long long)c->next,
                       (long long)at);
    return 0;
}

static const struct record_field chain_fields[] = {
    RECORD_FIELD(snapshot_chain, incarnation, INT, REQUIRED, COUNT,
                 .help = "How often the topic was re-created."),
    RECORD_FIELD(snapshot_chain, partition, INT, REQUIRED, .min = 0, .max = INT32_MAX,
                 .help = "The partition."),
    RECORD_FIELD(snapshot_chain, first, INT, REQUIRED, COUNT, .help = "The chain's first offset."),
    RECORD_FIELD(snapshot_chain, next, INT, REQUIRED, COUNT, .help = "Behind its last."),
    RECORD_LIST(snapshot_chain, segments, segment_count, ARRAY, OBJECT, REQUIRED,
                .of = &snapshot_segment_record, .help = "In offset order, without gaps."),
    RECORD_LIST(snapshot_chain, missing, missing_count, ARRAY, OBJECT, OPTIONAL,
                .of = &offset_range_record, .help = "Offsets that Kafka no longer had."),
};
const struct record snapshot_chain_record = {.name = "chain",
                                             .title = "A chain of segments",
                                             .size = sizeof(struct snapshot_chain),
                                             .check = check_chain,
                                             RECORD_TABLE(chain_fields)};

static const struct record_field label_fields[] = {
    RECORD_FIELD(label_count, label, LABEL, REQUIRED, .min = 1, .max = 1024, .help = "The class."),
    RECORD_FIELD(label_count, count, INT, REQUIRED, .min = 1, .max = RECORD_INT_MAX,
                 .help = "Its accepted documents."),
};
const struct record label_count_record = {.name = "label_count",
                                          .title = "Documents of a class",
                                          .size = sizeof(struct label_count),
                                          RECORD_TABLE(label_fields)};

static const struct record_field snapshot_fields[] = {
    RECORD_FIELD(snapshot, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(snapshot, dataset, NAME, REQUIRED, .help = "The dataset."),
    RECORD_FIELD(snapshot, run, NAME, REQUIRED, .help = "The run it was taken for."),
    RECORD_FIELD(snapshot, created_ms, INT, REQUIRED, TIME),
    RECORD_FIELD(snapshot, nonce, STRING, REQUIRED, NONCE),
    RECORD_LIST(snapshot, watermarks, watermark_count, ARRAY, OBJECT, REQUIRED, .max = 10000,
                .of = &job_watermark_record, .help = "Asked for at acceptance; all are reached."),
    RECORD_LIST(snapshot, chains, chain_count, ARRAY, OBJECT, REQUIRED, .max = 10000,
                .of = &snapshot_chain_record, .help = "By incarnation, then partition."),
    RECORD_LIST(snapshot, labels, label_count, ARRAY, OBJECT, OPTIONAL, .max = SNAPSHOT_LABELS_MAX,
                .of = &label_count_record,
                .help = "Accepted documents per class, before the last of each id wins. Left out "
                        "when they are more, or when the object would pass 32 MiB with them."),
    RECORD_FIELD(snapshot, classes, INT, OPTIONAL, COUNT,
                 .help = "Classes of the accepted documents, also where `labels` is left out."),
    RECORD_FIELD(snapshot, documents, INT, REQUIRED, COUNT, .help = "Accepted documents."),
    RECORD_FIELD(snapshot, tombstones, INT, REQUIRED, COUNT, .help = "Removals."),
    RECORD_FIELD(snapshot, rejected, INT, REQUIRED, COUNT, .help = "Rejected messages."),
};
const struct record snapshot_record = {
    .name = "snapshot",
    .title = "A snapshot",
    .help = "`snapshot.json` of a run, conditionally created once: its lineage.",
    .size = sizeof(struct snapshot),
    RECORD_TABLE(snapshot_fields),
};
