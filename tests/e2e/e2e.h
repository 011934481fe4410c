/*
 * The walk's world: the real programs among real servers, in a bucket and with
 * names of their own (a trainer sweeps the whole bucket's open runs).
 */
#ifndef TESTS_E2E_E2E_H
#define TESTS_E2E_E2E_H

#include <stdbool.h>
#include <sys/types.h>

#include "platform/base/buf.h"
#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "schemas/keys.h"

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

enum { PATIENCE_MS = 120000 };

struct world {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct keys keys;
    char prefix[40], owner[40], bucket[48], folder[64];
};
extern struct world world;

void world_open(void);
void world_close(void);

/* A service with this program; its log is folder/name.log. */
pid_t service_start(const char *program, const char *name);
void service_kill(pid_t *pid);  /* SIGKILL */
void service_drain(pid_t *pid); /* SIGTERM: must exit with 0 */
pid_t child_of(pid_t parent);   /* a process that it started; 0: none now */

/* Starts `tripline WORD...` (NULL-terminated); its output goes to folder/cli.out. */
pid_t cli_start(const char *const *words);
int cli_end(pid_t pid); /* the exit status */
/* All of it; the output is appended to `out` when it isn't NULL. */
int cli(struct buf *out, const char *const *words);
#define CLI(out, ...) cli(out, (const char *const[]){__VA_ARGS__, NULL})

/* folder/name, for files of the test. */
const char *path_of(const char *name);

/* How many objects lie under a prefix. */
int count_objects(const char *prefix);

#endif
