#include "tests/torture/fitting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "trainer/artifact_int.h"

uint64_t fitting_artifact(const struct world *w)
{
    char hex[SHA256_HEX];
    uint64_t print = 0;

    for (size_t i = 0; i < ARTIFACT_FILES; i++)
        if (world_exists(w->out, artifact_files[i])) {
            world_hash(w->out, artifact_files[i], hex);
            torture_print(&print, artifact_files[i], strlen(artifact_files[i]));
            torture_print(&print, hex, sizeof hex);
        }
    return world_exists(w->out, "manifest.json") ? print : 0;
}

int fitting_setup(void **state)
{
    struct fitting *s = calloc(1, sizeof *s);
    struct world *w = &s->world;

    world_open(w, "bert-new");
    dataset_free(w->train);
    dataset_free(w->eval);
    w->train = world_documents(3, 4, 1);
    w->eval = world_documents(3, 2, 2);
    w->parameters.epochs = 2; /* of one step each */
    w->parameters.output_dim = 5;
    s->threads = 1;
    world_fit(w);
    s->whole = fitting_artifact(w);
    world_clear(w);
    *state = s;
    return 0;
}

int fitting_teardown(void **state)
{
    struct fitting *s = *state;

    world_close(&s->world);
    free(s);
    return 0;
}

int fitting_work(void *arg, uint64_t *print, struct err *e)
{
    struct fitting *s = arg;
    struct run_spec spec = world_spec(&s->world);
    struct run_result r;
    int rc;

    spec.threads = s->threads;
    rc = run_fit(&spec, &r, e);
    if (rc == 0) {
        torture_print(print, &r.loss, sizeof r.loss);
        torture_print(print, &r.after.map_at_k, sizeof r.after.map_at_k);
    }
    return rc;
}

/* Entries of the folder of checkpoints that are not whole ones by their names. */
static int scraps(const struct world *w)
{
    return world_entries(w->work) - world_exists(w->work, "step-000000001.ckpt") -
           world_exists(w->work, "step-000000002.ckpt");
}

const char *fitting_after(void *arg, int rc)
{
    struct fitting *s = arg;
    struct world *w = &s->world;
    const char *wrong = NULL;

    if (rc == 0 && fitting_artifact(w) != s->whole)
        wrong = "other bytes";
    if (rc < 0 && world_exists(w->out, ""))
        wrong = "something is left in the artifact's place";
    if (scraps(w))
        wrong = "a half-written checkpoint is left";
    if (rc < 0 && s->failures++ % 16 == 0) { /* with memory again: on from where it was */
        world_fit(w);
        if (fitting_artifact(w) != s->whole)
            wrong = "other bytes after going on";
    }
    world_clear(w);
    return wrong;
}
