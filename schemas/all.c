#include "schemas/document.h"
#include "schemas/job.h"
#include "schemas/model.h"
#include "schemas/record.h"
#include "schemas/run.h"
#include "schemas/segment.h"
#include "schemas/snapshot.h"
#include "schemas/status.h"

const struct record *const record_all[] = {
    &document_record,       &job_record,
    &run_status_record,     &segment_footer_record,
    &chain_base_record,     &snapshot_record,
    &run_attempt_record,    &run_manifest_record,
    &run_end_record,        &run_done_record,
    &model_ready_record,    &model_current_record,
    &job_parameters_record, NULL,
};
