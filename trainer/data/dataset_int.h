/* Shared by dataset.c and dataset_pairs.c: what a dataset holds. */
#ifndef TRAINER_DATA_DATASET_INT_H
#define TRAINER_DATA_DATASET_INT_H

#include "trainer/data/dataset.h"
#include "trainer/data/names.h"

enum doc_kind { DOC_LABELED, DOC_PAIR, DOC_SCORED, DOC_KINDS };

struct doc {
    size_t text, text_len; /* into texts */
    int32_t name;          /* of the id, in ids */
    int32_t label;         /* of a pair, before sealing: its number in pairs */
    unsigned char split, alive, kind;
};

/* What a pair has beside its first text. */
struct pair {
    size_t text, text_len; /* the second, into texts */
    double score;
};

struct dataset {
    struct names ids, labels;
    char *texts;
    size_t used, room;
    struct doc *docs; /* before sealing: one per id, by the id's number */
    int count, cap;
    struct pair *pairs; /* before sealing */
    int pair_count, pair_cap;
    double *scores; /* (count / 2) of scored pairs; made at sealing, as these: */
    int32_t *label_ids, *label_counts;
    int next_id;
    int sealed;
};

/* Pairs become documents: every document alive is of that kind. */
int dataset_join_pairs(struct dataset *d, struct err *e);
int dataset_part_scored(struct dataset *d, struct err *e);

#endif
