/*
 * A little world for runs: a temporary folder with a tiny backbone (61 tokens, 20
 * positions) and its tokenizer, documents of a few labels in memory, a clock that an
 * event can stop. Fails the test at the first surprise.
 */
#ifndef TESTS_UNIT_RUN_WORLD_H
#define TESTS_UNIT_RUN_WORLD_H

#include "schemas/run.h"
#include "trainer/run.h"

struct world {
    char root[64], backbone[128], out[128], work[160];
    struct dataset *train, *eval;
    struct job_parameters parameters;
    struct clock *clock;
    int64_t stop_at; /* stop the clock after this step; 0: never */
    int steps, checkpoints, warnings;
    int64_t resumed;
    double last_loss;
};

/* `model` is a name of tests/golden/engine: "bert-new". */
void world_open(struct world *w, const char *model);
void world_close(struct world *w);
/* The same for cmocka: a world of bert-new is the test's state. */
int world_setup(void **state);
int world_teardown(void **state);
/* A spec over the world's members; threads 1, evaluation on. */
struct run_spec world_spec(struct world *w);
/* Removes out and work, forgets what was counted. */
void world_clear(struct world *w);
/* The run must succeed. */
struct run_result world_fit(struct world *w);
/* The run must fail with `code`, in one line that contains `says`. */
void world_fails(struct world *w, const struct run_spec *spec, int code, const char *says);

/* Documents of `labels` labels, `each` of one: words over the label's own letters and common ones.
 */
struct dataset *world_documents(int labels, int each, int seed);

bool world_exists(const char *folder, const char *name);
/* SHA-256 of folder/name. */
void world_hash(const char *folder, const char *name, char hex[SHA256_HEX]);
/* manifest.json of a folder; its texts are in the arena. */
void world_manifest(const char *folder, struct arena *a, struct run_manifest *m);
/* Entries of a folder; 0 when it is not there. */
int world_entries(const char *folder);

#endif
