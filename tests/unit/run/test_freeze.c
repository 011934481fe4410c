/* What is frozen keeps its bytes through a run; what is not, moves. */
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/run/world.h"
#include "trainer/engine/engine_int.h"

static struct engine *open_model(const char *folder, const char *name)
{
    struct engine_options options = {.threads = 1};
    struct err e = ERR_INIT;
    struct engine *g;
    struct surgery s;
    char path[512];

    surgery_init(&s);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (engine_open(&g, path, &s, &options, &e) < 0)
        fail_msg("%s", e.text);
    return g;
}

static const struct param *find(const struct engine *g, const char *name)
{
    for (int i = 0; i < g->program.param_count; i++)
        if (strcmp(g->program.params[i].name, name) == 0)
            return &g->program.params[i];
    fail_msg("%s is gone", name);
    return NULL;
}

static bool changed(const struct engine *a, const struct engine *b, const struct param *p)
{
    const struct param *q = find(b, p->name);

    assert_int_equal(p->count, q->count);
    return memcmp(a->params.param + p->at, b->params.param + q->at, p->count * sizeof(float)) != 0;
}

static bool fits(const char *name, const char *const *patterns)
{
    for (; *patterns; patterns++)
        if (fnmatch(*patterns, name, 0) == 0)
            return true;
    return false;
}

/* Parameters that fit one of the patterns stayed, and of the others at least `most` moved. */
static void check(struct world *w, const char *freeze, const char *const *stay, int at_least)
{
    struct engine *before, *after;
    int moved = 0, kept = 0;

    w->parameters.freeze = freeze;
    world_clear(w);
    world_fit(w);
    before = open_model(w->backbone, "model.onnx");
    after = open_model(w->out, "onnx/model.onnx");
    for (int i = 0; i < before->program.param_count; i++) {
        const struct param *p = &before->program.params[i];

        if (!p->used) /* the head that was cut off */
            continue;
        if (!changed(before, after, p))
            kept++;
        else if (p->buffer || fits(p->name, stay))
            fail_msg("%s: %s moved", freeze, p->name);
        else
            moved++;
    }
    if (moved < at_least || (stay[0] && kept == 0))
        fail_msg("%s: %d moved, %d stayed", freeze, moved, kept);
    engine_free(before);
    engine_free(after);
}

static void test_freeze(void **state)
{
    static const char *const nothing[] = {NULL};
    static const char *const embeddings[] = {"*embeddings*", NULL};
    static const char *const first[] = {"*embeddings*", "*layer.0.*", NULL};
    static const char *const named[] = {"*attention*", NULL};
    static const char *const all[] = {"*", NULL};
    struct world w;

    world_open(&w, "bert-old");
    w.parameters.epochs = 1;
    check(&w, "none", nothing, 30);
    check(&w, "embeddings", embeddings, 25);
    check(&w, "layers:1", first, 12);
    check(&w, "name:*attention*", named, 12);
    w.parameters.output_dim = 6; /* head: only the projection learns */
    check(&w, "head", all, 0);
    world_close(&w);
}

static void test_refusals(void **state)
{
    struct run_spec spec;
    struct world w;

    world_open(&w, "bert-old");
    spec = world_spec(&w);
    w.parameters.freeze = "layers:99";
    world_fails(&w, &spec, ERR_CONFIG, "has 2 blocks");
    w.parameters.freeze = "name:zebra";
    world_fails(&w, &spec, ERR_CONFIG, "zebra");
    w.parameters.freeze = "none";
    w.parameters.pooling = POOLING_NONE;
    world_fails(&w, &spec, ERR_UNSUPPORTED, "choose mean");
    w.parameters.pooling = POOLING_MEAN;
    w.parameters.freeze = "head"; /* without a projection nothing would be left to train */
    world_fails(&w, &spec, ERR_CONFIG, "");
    assert_int_equal(world_entries(w.root), 1);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests_name("freeze", tests, NULL, NULL);
}
