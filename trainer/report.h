/*
 * report.html of an artifact: one self-contained page for a person. Metrics
 * before and after, the curves of training as inline pictures, what was trained
 * on what. No script, nothing fetched.
 */
#ifndef TRAINER_REPORT_H
#define TRAINER_REPORT_H

#include <stddef.h>

#include "platform/base/err.h"
#include "trainer/checkpoint.h"

struct report_metric {
    const char *name;
    double before, after;
};
struct report_fact {
    const char *name, *value;
};

struct report {
    const char *title;
    const char *alarm;                   /* said above all; NULL: nothing is wrong */
    const struct report_metric *metrics; /* may be none */
    size_t metric_count;
    const struct report_fact *facts;
    size_t fact_count;
    const char *judged_by;            /* the metric of the evaluations; may be NULL */
    const struct checkpoint *history; /* curves and evaluations; NULL: none */
};

int report_write(const char *path, const struct report *, struct err *e);

#endif
