/*
 * What a run leaves: the artifact, and where training has made things worse, the
 * untrained model beside it, as an artifact of its own.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "platform/clock/clock.h"
#include "trainer/artifact.h"
#include "trainer/evaluate.h"
#include "trainer/run_int.h"

/* Documents spread over the held-out ones (or the trained ones) that the artifact is verified by.
 */
enum { GOLDEN = 8 };

/* One artifact of the run: the trained model, or the untrained one. */
struct export
{
    const char *folder;
    struct engine *engine;
    bool trained;
    struct record_number before[EVALUATE_METRICS], after[EVALUATE_METRICS];
    struct record_text versions[1];
    struct run_manifest manifest;
    struct artifact_golden golden[GOLDEN];
    int golden_count;
};

static int fill_golden(struct run *r, struct export *x, float *vectors, struct err *e)
{
    const struct dataset *d = r->eval ? r->spec->eval : r->spec->train;
    const struct tokens *k = r->eval ? r->eval : r->train;
    const struct token_batch *packed;
    int32_t indices[GOLDEN];
    int i, rc, count = k->count < GOLDEN ? k->count : GOLDEN;

    x->golden_count = count;
    for (i = 0; i < count; i++) {
        struct dataset_doc doc = dataset_at(d, (int)((int64_t)k->count * i / count));

        indices[i] = (int32_t)((int64_t)k->count * i / count);
        x->golden[i] = (struct artifact_golden){doc.text, doc.text_len,
                                                vectors + (size_t)i * (size_t)r->result->dim};
    }
    if ((rc = batch_fill(r->batch, k, indices, count, &packed, e)) < 0 ||
        (rc = engine_encode(x->engine, packed, vectors, e)) < 0)
        return rc;
    for (i = 0; i < count * r->result->dim; i++)
        if (!isfinite(vectors[i]))
            return err_set(e, ERR_CONFIG,
                           "the trained model gives numbers that are not finite: lower "
                           "learning_rate");
    return 0;
}

static const char *or_local(const char *text)
{
    return text ? text : "local";
}

static void fill_origin(struct run *r, struct run_manifest *m)
{
    const struct run_identity *id = &r->spec->identity;

    m->owner = or_local(id->owner);
    m->run = or_local(id->run);
    m->model = or_local(id->model);
    m->dataset = or_local(id->dataset);
    m->attempt = id->attempt ? id->attempt : 1;
    m->created_ms = clock_wall_ms(r->spec->clock);
    m->nonce = run_nonce(r);
    m->snapshot_sha256 = id->snapshot_sha256;
    m->backbone = or_local(id->backbone);
    m->backbone_sha256 = r->result->backbone_sha256;
    m->parameters = r->spec->parameters;
    m->fingerprint = r->state->fingerprint;
    m->exact = r->state->exact;
}

static void fill_metrics(const struct run *r, struct export *x)
{
    struct run_manifest *m = &x->manifest;

    m->eval_documents = 0;
    if (!r->eval)
        return;
    m->before_count = m->after_count = (size_t)evaluate_numbers(&r->result->before, x->before);
    evaluate_numbers(x->trained ? &r->result->after : &r->result->before, x->after);
    m->before = x->before;
    m->after = x->after;
    m->eval_documents = r->eval->count;
    m->judged_by = r->result->judged_by;
    m->worse = x->trained && r->result->worse;
}

static void fill_training(const struct run *r, struct export *x)
{
    struct run_manifest *m = &x->manifest;

    m->train_documents = r->train->count;
    m->labels = dataset_scores(r->spec->train) ? 0 : dataset_labels(r->spec->train);
    m->steps = x->trained ? r->result->steps : 0;
    m->exported_step = x->trained ? r->result->exported_step : 0;
    m->stopped_early = x->trained && r->result->stopped_early;
    m->loss = x->trained ? r->result->loss : NAN;
    m->seconds = x->trained ? r->result->seconds : NAN;
}

static void fill_manifest(struct run *r, struct export *x)
{
    struct run_manifest *m = &x->manifest;

    run_manifest_init(m);
    fill_origin(r, m);
    fill_metrics(r, x);
    fill_training(r, x);
    x->versions[0] = (struct record_text){"tripline", TRIPLINE_VERSION};
    m->versions = x->versions;
    m->version_count = 1;
    m->dimension = r->result->dim;
    m->metric = "cosine";
    m->modality = "text";
    m->max_length = r->max_tokens;
    m->normalized = r->spec->parameters->normalize;
}

static int write(struct run *r, struct export *x, char sha256[SHA256_HEX], struct err *e)
{
    float *vectors = calloc((size_t)r->result->dim, GOLDEN * sizeof *vectors);
    int rc;

    if (!vectors)
        return err_set(e, ERR_NOMEM, "golden vectors");
    fill_manifest(r, x);
    rc = fill_golden(r, x, vectors, e);
    if (rc == 0)
        rc = artifact_write(&(struct artifact){.folder = x->folder,
                                               .backbone_folder = r->files.folder,
                                               .tokenizer = r->files.tokenizer,
                                               .engine = x->engine,
                                               .golden = x->golden,
                                               .golden_count = (size_t)x->golden_count,
                                               .history = x->trained ? r->state : NULL,
                                               .manifest = &x->manifest},
                            sha256, e);
    free(vectors);
    return rc;
}

/* ---- the untrained model ----------------------------------------------------------------------
 */

static int write_untrained(struct run *r, struct err *e)
{
    struct export x = {.folder = r->spec->untrained};
    char sha256[SHA256_HEX];
    int rc = run_engine(r, false, &x.engine, e);

    if (rc == 0)
        rc = run_out_untrained(r, true, e);
    if (rc == 0)
        rc = write(r, &x, sha256, e);
    engine_free(x.engine);
    return rc < 0 ? err_wrap(e, "the untrained model") : 0;
}

static void say_worse(const struct run *r)
{
    const struct run_result *v = r->result;
    const char *folder = r->spec->untrained;
    char text[512];

    snprintf(text, sizeof text,
             "IT GOT WORSE: %s fell from %.4f to %.4f on the held-out documents; %s%s",
             v->judged_by, v->before_value, v->after_value,
             folder ? "the better model, untrained, is in " : "the backbone itself is better",
             folder ? folder : "");
    run_tell(r, &(struct run_event){.kind = RUN_WORSE,
                                    .text = text,
                                    .metric = v->judged_by,
                                    .metrics = &v->after,
                                    .value = v->after_value - v->before_value});
}

int run_export(struct run *r, struct err *e)
{
    struct export x = {.folder = r->spec->out, .engine = r->engine, .trained = true};
    int rc = 0;

    run_phase(r, PHASE_EXPORTING);
    if (r->spec->untrained)
        rc = r->result->worse ? write_untrained(r, e) : run_out_untrained(r, false, e);
    if (rc == 0)
        rc = write(r, &x, r->result->manifest_sha256, e);
    if (rc == 0 && r->result->worse)
        say_worse(r);
    return rc;
}
