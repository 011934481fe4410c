/*
 * Evaluations of a run: before, while training, after; which of them is the best, when
 * waiting for a better one ends, and whether training has made the model worse. What
 * the next evaluation depends on lies in the checkpoint.
 */
#include <math.h>
#include <string.h>

#include "trainer/evaluate.h"
#include "trainer/parameters.h"
#include "trainer/run_int.h"

_Static_assert((int)EVALUATE_PACKED <= (int)CHECKPOINT_NUMBERS, "an evaluation fits a checkpoint");

static double metric_of(const struct run *r, const struct retrieval *m)
{
    struct record_number rows[EVALUATE_METRICS];

    evaluate_numbers(m, rows);
    return rows[r->metric].value;
}

static bool by_epoch_or_step(const struct job_parameters *p)
{
    return p->eval_steps || p->eval_epochs;
}

/* ---- what is asked for ------------------------------------------------------------------------
 */

static int find_metric(struct run *r, struct err *e)
{
    const char *name = r->spec->parameters->best_metric;
    struct record_number rows[EVALUATE_METRICS];
    bool scored = dataset_scores(r->spec->eval) != NULL;
    struct retrieval none = {.pairs = scored};
    int count = evaluate_numbers(&none, rows);

    if (strcmp(name, "auto") == 0)
        name = scored ? "spearman" : "map_at_k";
    for (r->metric = 0; r->metric < count; r->metric++)
        if (strcmp(rows[r->metric].name, name) == 0) {
            r->result->judged_by = rows[r->metric].name;
            return 0;
        }
    return err_set(e, ERR_CONFIG,
                   "best_metric '%.64s' is not measured here: choose %s or another name of "
                   "metrics.json",
                   name, scored ? "spearman, pearson" : "map_at_k, precision_at_1");
}

int run_eval_open(struct run *r, struct err *e)
{
    const struct job_parameters *p = r->spec->parameters;

    r->best_wanted = p->export == EXPORT_BEST || (p->export == EXPORT_AUTO && p->patience > 0);
    if (r->eval)
        return find_metric(r, e);
    if (parameters_need_eval(p))
        return err_set(e, ERR_CONFIG,
                       "%s needs held-out documents, and there are none: give some (--eval, or "
                       "split = eval), or leave it out",
                       parameters_need_eval(p));
    return 0;
}

/* ---- measuring --------------------------------------------------------------------------------
 */

static int measure(struct run *r, struct retrieval *out, struct err *e)
{
    return evaluate_dataset(r->engine, r->eval, r->spec->eval, (int)r->spec->parameters->eval_k,
                            out, e);
}

static void tell(struct run *r, const char *when, const struct retrieval *m, int64_t step)
{
    run_tell(r, &(struct run_event){.kind = RUN_EVAL,
                                    .when = when,
                                    .metrics = m,
                                    .metric = r->result->judged_by,
                                    .value = metric_of(r, m),
                                    .step = step,
                                    .steps = r->steps});
}

int run_eval_before(struct run *r, struct err *e)
{
    int rc;

    if (!r->eval)
        return 0;
    run_phase(r, PHASE_EVALUATING);
    if ((rc = measure(r, &r->result->before, e)) < 0)
        return rc;
    evaluate_pack(&r->result->before, r->state->before);
    tell(r, "before", &r->result->before, 0);
    return 0;
}

/* The untrained model can't be measured again after a resume. */
void run_eval_recall(struct run *r)
{
    if (r->eval)
        evaluate_unpack(r->state->before, &r->result->before);
}

/* ---- the best so far --------------------------------------------------------------------------
 */

/* When there is no more room every second point goes. */
static void note_point(struct checkpoint *c, double value)
{
    int i;

    if (c->eval_count == CHECKPOINT_EVALS_MAX) {
        for (i = 0; i < c->eval_count / 2; i++)
            c->evals[i] = c->evals[2 * i + 1];
        c->eval_count = i;
    }
    c->evals[c->eval_count++] = (struct checkpoint_eval){c->step, value};
}

/* As transformers' EarlyStoppingCallback: a gain is more than min_delta above the best of all. */
static void note(struct run *r, const struct retrieval *m)
{
    const struct job_parameters *p = r->spec->parameters;
    struct checkpoint *c = r->state;
    double value = metric_of(r, m);
    bool first = c->best_step == 0;

    note_point(c, value);
    c->stale = first || value - c->best_value > p->min_delta ? 0 : c->stale + 1;
    c->early = p->patience > 0 && c->stale >= p->patience;
    if (first || value > c->best_value) {
        c->best_value = value;
        c->best_step = c->step;
        evaluate_pack(m, c->best);
    }
}

/* Is the model to be measured behind this step? The last step is, in any case, when all is done. */
static bool is_due(const struct run *r)
{
    const struct job_parameters *p = r->spec->parameters;
    int64_t step = r->state->step, epochs = p->eval_epochs;

    if (!r->eval || step == r->steps)
        return false;
    if (!by_epoch_or_step(p) && (p->patience || r->best_wanted))
        epochs = 1;
    return (p->eval_steps && step % p->eval_steps == 0) ||
           (epochs && step % (epochs * r->steps_per_epoch) == 0);
}

int run_eval_step(struct run *r, struct err *e)
{
    struct retrieval m;
    int rc;

    if (!is_due(r))
        return 0;
    if ((rc = measure(r, &m, e)) < 0)
        return rc;
    note(r, &m);
    tell(r, "training", &m, r->state->step);
    return r->best_wanted && r->state->best_step == r->state->step ? engine_keep(r->engine, e) : 0;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void judge(struct run *r)
{
    struct run_result *result = r->result;

    result->before_value = metric_of(r, &result->before);
    result->after_value = metric_of(r, &result->after);
    result->worse = result->after_value < result->before_value;
}

/* The best weights are the model's again, with what was measured then. */
static int take_best(struct run *r, struct err *e)
{
    struct retrieval *after = &r->result->after;
    struct checkpoint *c = r->state;
    int rc;

    if (c->best_step < c->step) {
        if (!c->early)
            tell(r, "training", after, c->step);
        if ((rc = engine_restore(r->engine, e)) < 0)
            return rc;
    }
    evaluate_unpack(c->best, after);
    r->result->exported_step = c->best_step;
    return 0;
}

int run_eval_after(struct run *r, struct err *e)
{
    struct retrieval *after = &r->result->after;
    bool measured = r->state->early; /* after its last step, then */
    int rc;

    r->result->exported_step = r->state->step;
    r->result->stopped_early = r->state->early;
    if (!r->eval)
        return 0;
    run_phase(r, PHASE_EVALUATING);
    if (!(measured && r->best_wanted) && (rc = measure(r, after, e)) < 0)
        return rc;
    if (!measured)
        note(r, after);
    if (r->best_wanted && (rc = take_best(r, e)) < 0)
        return rc;
    tell(r, "after", after, r->result->exported_step);
    judge(r);
    return 0;
}
