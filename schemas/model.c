#include "schemas/model.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "schemas/record_int.h"

#define COUNT .min = 0, .max = RECORD_INT_MAX
#define URL   .min = 1, .max = 4096

static const struct record_field file_fields[] = {
    RECORD_FIELD(model_file, path, STRING, REQUIRED, .min = 1, .max = 200,
                 .help = "Inside the artifact folder."),
    RECORD_FIELD(model_file, url, STRING, REQUIRED, URL, .help = "`s3://<bucket>/<key>`."),
    RECORD_FIELD(model_file, https_url, STRING, OPTIONAL, URL,
                 .help = "Presigned: works without credentials until `expires_at`."),
    RECORD_FIELD(model_file, size, INT, REQUIRED, COUNT, .help = "Bytes."),
    RECORD_FIELD(model_file, sha256, SHA256, REQUIRED, .help = "Its SHA-256."),
};
const struct record model_file_record = {.name = "model_file",
                                         .title = "A file of the artifact",
                                         .size = sizeof(struct model_file),
                                         RECORD_TABLE(file_fields)};

static const struct record_field artifact_fields[] = {
    RECORD_FIELD(model_artifact, url, STRING, REQUIRED, URL, .help = "The folder; ends in `/`."),
    RECORD_LIST(model_artifact, files, file_count, ARRAY, OBJECT, REQUIRED, .min = 1, .max = 10000,
                .of = &model_file_record, .help = "All its files."),
    RECORD_FIELD(model_artifact, manifest_url, STRING, REQUIRED, URL, .help = "The manifest."),
    RECORD_FIELD(model_artifact, manifest_sha256, SHA256, REQUIRED, .help = "Its SHA-256."),
    RECORD_FIELD(model_artifact, expires_at, STRING, OPTIONAL, .min = 20, .max = 32,
                 .help = "Until when the https URLs work, RFC 3339."),
};
const struct record model_artifact_record = {.name = "model_artifact",
                                             .title = "The artifact",
                                             .size = sizeof(struct model_artifact),
                                             RECORD_TABLE(artifact_fields)};

static const struct record_field lineage_fields[] = {
    RECORD_FIELD(model_lineage, dataset, NAME, REQUIRED, .help = "The dataset."),
    RECORD_FIELD(model_lineage, snapshot_url, STRING, OPTIONAL, URL, .help = "`snapshot.json`."),
    RECORD_FIELD(model_lineage, snapshot_sha256, SHA256, OPTIONAL, .help = "Its SHA-256."),
    RECORD_FIELD(model_lineage, backbone, STRING, REQUIRED, .min = 1, .max = 256,
                 .help = "The backbone."),
    RECORD_FIELD(model_lineage, backbone_sha256, SHA256, OPTIONAL, .help = "Of its content."),
    RECORD_FIELD(model_lineage, attempt, INT, REQUIRED, .min = 1, .max = RECORD_INT_MAX,
                 .help = "The attempt that made it."),
    RECORD_FIELD(model_lineage, seed, INT, OPTIONAL, COUNT, .help = "The seed."),
    RECORD_FIELD(model_lineage, fingerprint, STRING, OPTIONAL, .min = 1, .max = 512,
                 .help = "The numeric fingerprint."),
    RECORD_FIELD(model_lineage, exact, BOOL, REQUIRED,
                 .help = "Whether the run can be repeated to the same bytes."),
    RECORD_FIELD(model_lineage, documents, INT, OPTIONAL, COUNT, .help = "Documents trained on."),
    RECORD_FIELD(model_lineage, labels, INT, OPTIONAL, COUNT, .help = "Classes trained on."),
};
const struct record model_lineage_record = {.name = "model_lineage",
                                            .title = "Lineage",
                                            .size = sizeof(struct model_lineage),
                                            RECORD_TABLE(lineage_fields)};

static const struct record_field evaluation_fields[] = {
    RECORD_FIELD(model_evaluation, k, INT, REQUIRED, .min = 1, .max = 10000,
                 .help = "How many neighbours were looked at."),
    RECORD_FIELD(model_evaluation, documents, INT, REQUIRED, COUNT, .help = "Documents held out."),
    RECORD_LIST(model_evaluation, before, before_count, MAP, NUMBER, REQUIRED,
                .help = "Metrics of the backbone."),
    RECORD_LIST(model_evaluation, after, after_count, MAP, NUMBER, REQUIRED,
                .help = "Metrics of the model."),
    RECORD_FIELD(model_evaluation, judged_by, STRING, OPTIONAL, .min = 1, .max = 64,
                 .help = "The metric by which `worse` is said."),
    RECORD_FIELD(model_evaluation, worse, BOOL, DEFAULT, .fallback = "false",
                 .help = "Whether it fell: the backbone is better than the model."),
};
const struct record model_evaluation_record = {.name = "model_evaluation",
                                               .title = "Evaluation",
                                               .size = sizeof(struct model_evaluation),
                                               RECORD_TABLE(evaluation_fields)};

static const struct record_field gate_fields[] = {
    RECORD_FIELD(model_gate, passed, BOOL, REQUIRED, .help = "The verdict."),
    RECORD_FIELD(model_gate, metric, STRING, REQUIRED, .min = 1, .max = 64,
                 .help = "The metric it rests on."),
    RECORD_FIELD(model_gate, min_gain, NUMBER, REQUIRED, .help = "The gain asked for."),
    RECORD_FIELD(model_gate, before, NUMBER, OPTIONAL, .help = "The metric of the backbone."),
    RECORD_FIELD(model_gate, after, NUMBER, OPTIONAL, .help = "The metric of the model."),
    RECORD_FIELD(model_gate, reason, STRING, OPTIONAL, .max = 512, .help = "For people."),
};
const struct record model_gate_record = {.name = "model_gate",
                                         .title = "Gate",
                                         .size = sizeof(struct model_gate),
                                         RECORD_TABLE(gate_fields)};

static const struct record_field reindex_fields[] = {
    RECORD_FIELD(model_reindex, required, BOOL, REQUIRED,
                 .help = "Vectors of the model before can't be compared with this one's: embed all "
                         "documents again."),
    RECORD_FIELD(model_reindex, previous_run, NAME, OPTIONAL,
                 .help = "The run of the model before, if any."),
    RECORD_FIELD(model_reindex, reason, STRING, OPTIONAL, .max = 512, .help = "For people."),
};
const struct record model_reindex_record = {.name = "model_reindex",
                                            .title = "Re-index hints",
                                            .size = sizeof(struct model_reindex),
                                            RECORD_TABLE(reindex_fields)};

static const struct record_field data_fields[] = {
    RECORD_FIELD(model_data, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(model_data, run, NAME, REQUIRED, .help = "The run."),
    RECORD_FIELD(model_data, model, NAME, REQUIRED, .help = "The model."),
    RECORD_FIELD(model_data, artifact, OBJECT, REQUIRED, .of = &model_artifact_record,
                 .help = "Where its files are."),
    RECORD_FIELD(model_data, dimension, INT, REQUIRED, .min = 1, .max = 1 << 20,
                 .help = "Numbers in a vector."),
    RECORD_FIELD(model_data, metric, STRING, REQUIRED, .min = 1, .max = 32,
                 .help = "How vectors are compared: `cosine`."),
    RECORD_FIELD(model_data, modality, STRING, REQUIRED, .min = 1, .max = 64,
                 .help = "What the model reads: `text`."),
    RECORD_FIELD(model_data, max_length, INT, OPTIONAL, COUNT, .help = "Tokens of a text."),
    RECORD_FIELD(model_data, normalized, BOOL, REQUIRED, .help = "Whether vectors have length 1."),
    RECORD_FIELD(model_data, lineage, OBJECT, REQUIRED, .of = &model_lineage_record,
                 .help = "What it was made from."),
    RECORD_FIELD(model_data, evaluation, OBJECT, OPTIONAL, .of = &model_evaluation_record,
                 .help = "Before and after on held-out documents."),
    RECORD_FIELD(model_data, gate, OBJECT, OPTIONAL, .of = &model_gate_record,
                 .help = "Whether it reached what the job asked for."),
    RECORD_FIELD(model_data, reindex, OBJECT, REQUIRED, .of = &model_reindex_record,
                 .help = "What an indexer has to do."),
};
const struct record model_data_record = {.name = "model_data",
                                         .title = "The data of a model-ready event",
                                         .size = sizeof(struct model_data),
                                         RECORD_TABLE(data_fields)};

static int check_event(const void *record, struct err *e)
{
    const struct model_ready *m = record;
    char id[2 * 64 + 2];

    if (strcmp(m->specversion, "1.0") != 0)
        return err_set(e, ERR_UNSUPPORTED, "specversion: '%.20s', expected 1.0", m->specversion);
    if (strcmp(m->type, MODEL_READY_TYPE) != 0)
        return err_set(e, ERR_UNSUPPORTED, "type: '%.60s', expected %s", m->type, MODEL_READY_TYPE);
    snprintf(id, sizeof id, "%s/%s", m->data->owner, m->data->run);
    if (strcmp(m->id, id) != 0)
        return err_set(e, ERR_FORMAT, "id: '%.60s', the data say %s", m->id, id);
    if (strcmp(m->subject, m->data->run) != 0)
        return err_set(e, ERR_FORMAT, "subject: '%.60s', the data say %s", m->subject,
                       m->data->run);
    return 0;
}

static const struct record_field ready_fields[] = {
    RECORD_FIELD(model_ready, specversion, STRING, DEFAULT, .fallback = "1.0", .min = 1, .max = 16,
                 .help = "`1.0`."),
    RECORD_FIELD(model_ready, id, STRING, REQUIRED, .min = 3, .max = 127,
                 .help = "`<owner>/<run>`: one event per finished run."),
    RECORD_FIELD(model_ready, source, STRING, REQUIRED, .min = 1, .max = 256,
                 .help = "`/tripline/owners/<owner>`."),
    RECORD_FIELD(model_ready, type, STRING, DEFAULT, .fallback = MODEL_READY_TYPE, .min = 1,
                 .max = 128, .help = "`tripline.model.ready`."),
    RECORD_FIELD(model_ready, subject, STRING, REQUIRED, .min = 1, .max = 63, .help = "The run."),
    RECORD_FIELD(model_ready, time, STRING, REQUIRED, .min = 20, .max = 32,
                 .help = "When it was published, RFC 3339."),
    RECORD_FIELD(model_ready, datacontenttype, STRING, DEFAULT, .fallback = "application/json",
                 .min = 1, .max = 64, .help = "`application/json`."),
    RECORD_FIELD(model_ready, data, OBJECT, REQUIRED, .of = &model_data_record,
                 .help = "The model."),
};
const struct record model_ready_record = {
    .name = "model_ready",
    .title = "A model-ready event",
    .help =
        "A message on `tripline.models.<owner>`: CloudEvents 1.0 in JSON structured mode "
        "(`content-type: application/cloudevents+json`), or in binary mode (attributes as `ce_` "
        "headers, `data` as the value) when the job asks for it. Exactly one per finished run.",
    .size = sizeof(struct model_ready),
    .check = check_event,
    .schema_extra = "{\"allOf\":[{\"properties\":{\"specversion\":{\"const\":\"1.0\"},\"type\":{"
                    "\"const\":\"" MODEL_READY_TYPE "\"}}}]}",
    RECORD_TABLE(ready_fields),
};

static const struct record_field current_fields[] = {
    RECORD_FIELD(model_current, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(model_current, model, NAME, REQUIRED, .help = "The model."),
    RECORD_FIELD(model_current, n, INT, REQUIRED, .min = 1, .max = RECORD_INT_MAX,
                 .help = "Greater is newer; readers ignore a lower one."),
    RECORD_FIELD(model_current, run, NAME, REQUIRED, .help = "The run whose model is in force."),
    RECORD_FIELD(model_current, attempt, INT, REQUIRED, .min = 1, .max = RECORD_INT_MAX,
                 .help = "Its attempt."),
    RECORD_FIELD(model_current, manifest_sha256, SHA256, REQUIRED, .help = "Of its manifest."),
    RECORD_FIELD(model_current, dimension, INT, OPTIONAL, .min = 1, .max = 1 << 20,
                 .help = "Numbers in a vector."),
    RECORD_FIELD(model_current, reason, STRING, OPTIONAL, .max = 512, .help = "For people."),
    RECORD_FIELD(model_current, nonce, STRING, REQUIRED, .min = 1, .max = 64,
                 .help = "The writer's, so that it knows its own object."),
    RECORD_FIELD(model_current, time_ms, INT, REQUIRED, COUNT,
                 .help = "When, in milliseconds since 1970."),
};
const struct record model_current_record = {
    .name = "current",
    .title = "The model in force",
    .help = "`owners/<owner>/models/<model>/<n>.json`, conditionally created, and the value on the "
            "compacted topic `tripline.current.<owner>`, key = the model's name.",
    .size = sizeof(struct model_current),
    RECORD_TABLE(current_fields),
};

/* --- CloudEvents' binary mode
 * --------------------------------------------------------------------- */

#define PREFIX "ce_"

int model_ready_binary(const struct model_ready *in,
                       struct model_ready_header headers[MODEL_READY_HEADERS], size_t *count,
                       struct buf *body, struct err *e)
{
    const struct model_ready_header rows[] = {
        {PREFIX "specversion", in->specversion}, {PREFIX "id", in->id},
        {PREFIX "source", in->source},           {PREFIX "type", in->type},
        {PREFIX "subject", in->subject},         {PREFIX "time", in->time},
        {"content-type", in->datacontenttype},
    };
    struct buf whole;
    int rc;

    buf_init(&whole, RECORD_BYTES_MAX); /* the event must be a valid one as a whole */
    if ((rc = model_ready_write(in, RECORD_JSON, &whole, e)) == 0)
        rc = model_data_write(in->data, RECORD_JSON, body, e);
    buf_release(&whole);
    if (rc < 0)
        return rc;
    memcpy(headers, rows, sizeof rows);
    *count = sizeof rows / sizeof rows[0];
    return 0;
}

static int take_attribute(const struct model_ready_header *h, struct arena *a,
                          struct model_ready *out, struct err *e)
{
    if (!strncasecmp(h->name, PREFIX, strlen(PREFIX))) {
        const char *name = h->name + strlen(PREFIX);
        const struct record_field *f = record_find(&model_ready_record, name, strlen(name));

        if (f && f->type == RECORD_STRING)
            return record_set(&model_ready_record, a, name, h->value, out, e);
        return 0; /* extension attributes are allowed */
    }
    if (!strcasecmp(h->name, "content-type"))
        return record_set(&model_ready_record, a, "datacontenttype", h->value, out, e);
    return 0;
}

int model_ready_from(const struct model_ready_header *headers, size_t count, const void *value,
                     size_t n, struct arena *a, struct model_ready *out, struct err *e)
{
    struct model_data *data;
    struct buf whole;
    bool binary = false;
    size_t i;
    int rc;

    for (i = 0; i < count; i++)
        binary |= !strcasecmp(headers[i].name, PREFIX "specversion");
    if (!binary)
        return model_ready_read(a, value, n, RECORD_JSON, out, e);
    model_ready_init(out);
    if (!(data = arena_alloc(a, sizeof *data)))
        return err_set(e, ERR_NOMEM, "event: more memory than the arena allows");
    if ((rc = model_data_read(a, value, n, RECORD_JSON, data, e)) < 0)
        return rc;
    out->data = data;
    for (i = 0; i < count; i++)
        if ((rc = take_attribute(&headers[i], a, out, e)) < 0)
            return rc;
    buf_init(&whole, RECORD_BYTES_MAX); /* writing checks that nothing is missing or contradicts */
    rc = model_ready_write(out, RECORD_JSON, &whole, e);
    buf_release(&whole);
    return rc;
}

void model_time(int64_t ms, char out[32])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    size_t n;

    gmtime_r(&seconds, &tm);
    n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03dZ", (int)(ms % 1000));
}
