/*
 * A finished run's artifact into a folder: every file's size and SHA-256 against
 * the manifest whose hash end.json holds, then the golden vectors with the
 * engine. The folder appears whole or not at all (DIR.partial until then).
 */
#ifndef CLI_PULL_H
#define CLI_PULL_H

#include "cli/client.h"
#include "platform/base/sha256.h"

struct pull_result {
    char folder[PATH_MAX];
    char manifest_sha256[SHA256_HEX];
    int64_t files, bytes;
    int golden;         /* vectors compared; 0: the artifact has none */
    double largest;     /* difference of a component */
    bool already_there; /* the folder held these files */
};

struct pull_options {
    const char *run, *folder; /* folder NULL: the run's name */
    bool force;               /* replace a folder that holds something else */
    bool unverified;          /* leave the golden vectors alone */
};

/* ERR_NOT_FOUND: no such run, or no end yet; ERR_CHILD: it did not finish; ERR_FORMAT: bytes or
 * vectors are not what was promised. Needs S3. */
int pull(struct client *c, const struct pull_options *o, struct pull_result *out, struct err *e);

#endif
