#include "schemas/status.h"

#include "schemas/record_int.h"

#define COUNT .min = 0, .max = RECORD_INT_MAX

static const struct record_field status_fields[] = {
    RECORD_FIELD(run_status, owner, NAME, OPTIONAL, .help = "The owner."),
    RECORD_FIELD(run_status, run, NAME, OPTIONAL, .help = "The run."),
    RECORD_FIELD(run_status, model, NAME, OPTIONAL, .help = "The model it makes."),
    RECORD_FIELD(run_status, dataset, NAME, OPTIONAL, .help = "What it trains on."),
    RECORD_FIELD(run_status, state, ENUM, DEFAULT, .fallback = "CREATED", .names = job_state_names,
                 .help = "The state; `end.json` decides."),
    RECORD_FIELD(run_status, phase, ENUM, DEFAULT, .fallback = "waiting", .names = job_phase_names,
                 .help = "What a started run is doing."),
    RECORD_FIELD(run_status, attempt, INT, DEFAULT, .fallback = "0", COUNT,
                 .help = "The newest attempt; 0: none."),
    RECORD_FIELD(run_status, epoch, INT, DEFAULT, .fallback = "0", COUNT,
                 .help = "The epoch, from 1."),
    RECORD_FIELD(run_status, epochs, INT, DEFAULT, .fallback = "0", COUNT, .help = "Of how many."),
    RECORD_FIELD(run_status, step, INT, DEFAULT, .fallback = "0", COUNT, .help = "Steps done."),
    RECORD_FIELD(run_status, steps, INT, DEFAULT, .fallback = "0", COUNT, .help = "Of how many."),
    RECORD_FIELD(run_status, loss, NUMBER, OPTIONAL, .help = "Of the newest step."),
    RECORD_FIELD(run_status, docs_per_s, NUMBER, OPTIONAL, .help = "Documents trained a second."),
    RECORD_LIST(run_status, metrics, metric_count, MAP, NUMBER, OPTIONAL,
                .help = "The newest evaluation."),
    RECORD_FIELD(run_status, worker, STRING, OPTIONAL, .min = 1, .max = 256,
                 .help = "Who has the newest attempt."),
    RECORD_FIELD(run_status, created_ms, INT, OPTIONAL, COUNT,
                 .help = "Acceptance, milliseconds since 1970."),
    RECORD_FIELD(run_status, updated_ms, INT, OPTIONAL, COUNT,
                 .help = "The newest change, milliseconds since 1970."),
    RECORD_FIELD(run_status, message, STRING, OPTIONAL, .max = 1024, .help = "For people."),
};
const struct record run_status_record = {
    .name = "status",
    .title = "A run's status",
    .help =
        "The hash `tripline:{<owner>}:run:<run>` in Redis (each field as text, the composed ones "
        "as JSON) and the output of `tripline status --json`. A hint: `end.json` and the "
        "attempts decide.",
    .size = sizeof(struct run_status),
    RECORD_TABLE(status_fields),
};
