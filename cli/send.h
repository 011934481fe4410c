/*
 * Messages on an owner's jobs topic: jobs and cancels.
 */
#ifndef CLI_SEND_H
#define CLI_SEND_H

#include "cli/client.h"
#include "schemas/job.h"

/* Checks, sends, and waits until Kafka acknowledged it. */
int send_job(struct client *c, const struct job *job, struct err *e);

#endif
