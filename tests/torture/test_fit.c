/* A whole fine-tuning with every allocation failing in turn: an error each time, an artifact's
 * folder that holds nothing, and afterwards the same command gives the bytes that it always did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "tests/torture/fitting.h"

static void test_fit(void **state)
{
    torture(&(struct torture){
        .name = "fit", .work = fitting_work, .after = fitting_after, .arg = *state, .tries = 300});
}

static void test_fit_in_threads(void **state)
{
    struct fitting *s = *state;

    s->threads = 2;
    torture(&(struct torture){.name = "fit, 2 threads",
                              .work = fitting_work,
                              .after = fitting_after,
                              .arg = s,
                              .tries = 60});
}

/* Memory that runs out while a run goes on from a checkpoint: the checkpoint is still there. */
static const char *keep_the_first(void *arg, int rc)
{
    struct fitting *s = arg;
    struct world *w = &s->world;
    struct err e = ERR_INIT;
    const char *wrong = rc == 0 && fitting_artifact(w) != s->whole ? "other bytes"
                        : rc < 0 && world_exists(w->out, "")       ? "something is left"
                                                                   : NULL;

    if (!world_exists(w->work, "step-000000002.ckpt"))
        wrong = "the checkpoint is gone";
    if (world_entries(w->work) > 2)
        wrong = "a half-written checkpoint is left";
    if (file_remove_tree(w->out, &e) < 0)
        wrong = "the folder cannot be emptied";
    return wrong;
}

static void test_resume(void **state)
{
    struct fitting *s = *state;

    world_fit(&s->world); /* leaves the checkpoint of its end: only the artifact is left to do */
    torture(&(struct torture){.name = "resumed fit",
                              .work = fitting_work,
                              .after = keep_the_first,
                              .arg = s,
                              .tries = 100});
}

/* The same over the finished model of an earlier try: it is recognised, or memory has run out. */
static const char *whole_or_gone(void *arg, int rc)
{
    struct fitting *s = arg;
    struct world *w = &s->world;
    const char *wrong = NULL;

    if (world_exists(w->out, "manifest.json") ? fitting_artifact(w) != s->whole : rc == 0)
        wrong = "a manifest beside other files";
    if (world_entries(w->work) > 2)
        wrong = "a half-written checkpoint is left";
    world_fit(w);
    return fitting_artifact(w) == s->whole ? wrong : "other bytes";
}

static void test_again(void **state)
{
    struct fitting *s = *state;

    world_fit(&s->world);
    torture(&(struct torture){
        .name = "fit again", .work = fitting_work, .after = whole_or_gone, .arg = s, .tries = 60});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fit, fitting_setup, fitting_teardown),
        cmocka_unit_test_setup_teardown(test_fit_in_threads, fitting_setup, fitting_teardown),
        cmocka_unit_test_setup_teardown(test_resume, fitting_setup, fitting_teardown),
        cmocka_unit_test_setup_teardown(test_again, fitting_setup, fitting_teardown),
    };

    return cmocka_run_group_tests_name("torture_fit", tests, NULL, NULL);
}
