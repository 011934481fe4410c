/*
 * Checkpoints to S3, by a task of their own: while a slow store takes one, the
 * child's lines are read, log lines go out and the lease is renewed. One at a time;
 * of those that wait meanwhile the newest is enough.
 *
 * The child keeps only its newest few, so that each is held by a second name until
 * it was sent. A link, or whatever else is no regular file, isn't sent at all.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/base/failpoint.h"
#include "platform/base/log.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "trainer/attempt.h"
#include "trainer/checkpoint.h"

#define PATH_SIZE (TRAINER_PATH_MAX + 64)

static void held_path(const struct attempt *a, int64_t step, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/upload-" CHECKPOINT_NAME, a->folder, (long long)step);
}

static void let_go(const struct attempt *a, int64_t step)
{
    char path[PATH_SIZE];

    held_path(a, step, path);
    unlink(path);
}

static int hold(const struct attempt *a, int64_t step, struct err *e)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    struct stat st;

    snprintf(from, sizeof from, "%s/checkpoints/" CHECKPOINT_NAME, a->folder, (long long)step);
    held_path(a, step, to);
    unlink(to); /* said twice */
    if (linkat(AT_FDCWD, from, AT_FDCWD, to, 0) < 0)
        return err_errno(e, ERR_IO, "%s", from);
    if (lstat(to, &st) == 0 && S_ISREG(st.st_mode))
        return 0;
    unlink(to);
    return err_set(e, ERR_CHILD, "%s is no regular file", from);
}

/* Only the newest few of this attempt stay in S3. */
static void drop_older(struct attempt *a, int64_t step)
{
    size_t kept = (size_t)a->t->o.checkpoints;
    char file[KEY_FILE_MAX], key[KEY_MAX];
    struct err e = ERR_INIT;
    int64_t old = a->uploaded[kept - 1];

    if (a->uploaded[0] == step)
        return;
    memmove(a->uploaded + 1, a->uploaded, (kept - 1) * sizeof *a->uploaded);
    a->uploaded[0] = step;
    if (old < 0)
        return;
    attempt_series_file(ATTEMPT_CHECKPOINT, (uint64_t)old, file);
    if (key_attempt_file(a->ref.owner, a->ref.run, a->n, file, key, &e) < 0 ||
        blob_remove(a->t->p.blob, key, &e) < 0)
        log_error("checkpoint.remove", &e, NULL);
}

static int send_it(struct attempt *a, int64_t step, struct err *e)
{
    char path[PATH_SIZE], file[KEY_FILE_MAX], key[KEY_MAX];
    int rc;

    held_path(a, step, path);
    attempt_series_file(ATTEMPT_CHECKPOINT, (uint64_t)step, file);
    if ((rc = key_attempt_file(a->ref.owner, a->ref.run, a->n, file, key, e)) < 0)
        return rc;
    if ((rc = attempt_look(a, e)) == ERR_FENCED || rc == ERR_EXISTS)
        return rc;
    if ((rc = blob_put_file(a->t->p.blob, key, path, e)) < 0)
        return rc;
    FAILPOINT("attempt.checkpoint");
    drop_older(a, step);
    return 0;
}

static void upload_task(void *arg)
{
    struct attempt *a = arg;
    struct upload *u = &a->upload;

    u->rc = send_it(a, u->step, &u->e);
    let_go(a, u->step);
    atomic_store(&u->done, true);
}

static void begin(struct attempt *a, int64_t step)
{
    struct upload *u = &a->upload;
    struct err e = ERR_INIT;

    u->step = step;
    atomic_store(&u->done, false);
    if (clock_go(a->t->p.clock, "upload", upload_task, a, &u->task, &e) < 0) {
        u->task = NULL;
        let_go(a, step);
        log_error("checkpoint.upload", &e, "owner", a->ref.owner, "run", a->ref.run, NULL);
    }
}

void upload_add(struct attempt *a, int64_t step)
{
    struct upload *u = &a->upload;
    struct err e = ERR_INIT;

    if (u->task && (step == u->step || step == u->next))
        return;
    if (hold(a, step, &e) < 0) {
        log_error("checkpoint.upload", &e, "owner", a->ref.owner, "run", a->ref.run, NULL);
        return;
    }
    if (!u->task) {
        begin(a, step);
        return;
    }
    if (u->next >= 0)
        let_go(a, u->next);
    u->next = step;
}

/* Takes the result of the task that ends. A checkpoint that can't be uploaded costs steps, not the
 * run. */
static int conclude(struct attempt *a, struct err *e)
{
    struct upload *u = &a->upload;

    clock_join(a->t->p.clock, u->task);
    u->task = NULL;
    if (u->rc == 0) {
        lines_add(a, json_pack("{s:s, s:I}", "event", "checkpoint", "step", (json_int_t)u->step));
        return 0;
    }
    if (u->rc != ERR_FENCED && u->rc != ERR_EXISTS)
        log_error("checkpoint.upload", &u->e, "owner", a->ref.owner, "run", a->ref.run, "step",
                  LOG_U((uint64_t)u->step), NULL);
    if (u->rc != ERR_FENCED && u->rc != ERR_EXISTS && u->rc != ERR_DENIED)
        return 0;
    *e = u->e;
    return e->code;
}

static void begin_next(struct attempt *a)
{
    int64_t step = a->upload.next;

    a->upload.next = -1;
    if (step >= 0)
        begin(a, step);
}

int upload_look(struct attempt *a, struct err *e)
{
    int rc;

    if (!a->upload.task || !atomic_load(&a->upload.done))
        return 0;
    if ((rc = conclude(a, e)) == 0)
        begin_next(a);
    return rc;
}

int upload_finish(struct attempt *a, struct err *e)
{
    int rc = 0;

    while (rc == 0 && a->upload.task)
        if ((rc = conclude(a, e)) == 0)
            begin_next(a);
    return rc;
}
