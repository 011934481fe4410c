/*
 * A run as the stores tell it. Redis is asked first, since it is live; S3 is the
 * truth: an end.json there wins over everything, and what Redis lost is put
 * together from job.json and the attempts.
 */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include "cli/client.h"
#include "schemas/run.h"
#include "schemas/status.h"

struct view {
    struct run_status status;
    struct run_end end; /* valid when ended */
    bool ended;         /* end.json says so */
    bool live;          /* Redis had it */
};

/* With `look_for_end`: also asks S3 (else only when Redis says that it ended, or nothing).
 * ERR_NOT_FOUND: neither knows the run. Strings live in the arena. */
int view_load(struct client *c, const char *run, bool look_for_end, struct arena *a,
              struct view *out, struct err *e);

/* What somebody wrote, without control characters: it goes to a terminal. */
void view_text(const char *text, struct buf *to);

/* "training 120/300, epoch 2/3, loss 0.0421": one line for people. */
void view_line(const struct view *v, struct buf *to);

/* ERR_USAGE for a name that no run can have. */
int view_check_name(const char *run, struct err *e);

/* Reads an object and decodes it; ERR_NOT_FOUND. */
int view_object(struct client *c, const char *key, const struct record *type, struct arena *a,
                void *out, struct err *e);

#endif
