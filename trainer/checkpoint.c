#include "trainer/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/buf.h"
#include "platform/base/text.h"

static const char magic[8] = "TRIPCKPT";
#define VERSION      3u
#define HEAD_MAX     ((size_t)1 << 20)
#define PREFIX_BYTES (sizeof magic + 8) /* magic, version, head bytes */

/* ---- the head: fixed fields, then the curves ----------------------------------------------- */

static void put_double(struct buf *b, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    buf_u64(b, bits);
}

static void put_doubles(struct buf *b, const double *v, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        put_double(b, v[i]);
}

static void put_head(struct buf *b, const struct checkpoint *c)
{
    int i;

    buf_add(b, c->identity, sizeof c->identity);
    buf_add(b, c->fingerprint, sizeof c->fingerprint);
    buf_u32(b, c->exact);
    buf_u64(b, (uint64_t)c->step);
    put_double(b, c->loss);
    put_doubles(b, c->before, CHECKPOINT_NUMBERS);
    put_doubles(b, c->best, CHECKPOINT_NUMBERS);
    put_double(b, c->best_value);
    buf_u64(b, (uint64_t)c->best_step);
    buf_u64(b, (uint64_t)c->stale);
    buf_u32(b, c->early);
    buf_u64(b, (uint64_t)c->collapsed);
    buf_u64(b, (uint64_t)c->idle);
    buf_u32(b, (uint32_t)c->point_count);
    buf_u32(b, (uint32_t)c->eval_count);
    for (i = 0; i < c->point_count; i++) {
        const struct checkpoint_point *p = &c->points[i];
        double numbers[] = {p->loss,     p->active,     p->positive,
                            p->negative, p->similarity, p->gradient_norm};

        buf_u64(b, (uint64_t)p->step);
        put_doubles(b, numbers, sizeof numbers / sizeof numbers[0]);
    }
    for (i = 0; i < c->eval_count; i++) {
        buf_u64(b, (uint64_t)c->evals[i].step);
        put_double(b, c->evals[i].value);
    }
}

struct reader {
    const unsigned char *at;
    size_t left;
    bool bad;
};

static void take(struct reader *r, void *to, size_t n)
{
    if (n > r->left) {
        r->bad = true;
        memset(to, 0, n);
        return;
    }
    memcpy(to, r->at, n);
    r->at += n;
    r->left -= n;
}

static uint64_t take_int(struct reader *r, size_t bytes)
{
    unsigned char x[8];
    uint64_t v = 0;

    take(r, x, bytes);
    while (bytes-- > 0)
        v = v << 8 | x[bytes];
    return v;
}

static double take_double(struct reader *r)
{
    uint64_t bits = take_int(r, 8);
    double v;

    memcpy(&v, &bits, sizeof v);
    return v;
}

static void take_doubles(struct reader *r, double *v, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        v[i] = take_double(r);
}

static void get_curves(struct reader *r, struct checkpoint *c)
{
    double numbers[6];
    int i;

    for (i = 0; i < c->point_count; i++) {
        int64_t step = (int64_t)take_int(r, 8);

        take_doubles(r, numbers, 6);
        c->points[i] = (struct checkpoint_point){step,       numbers[0], numbers[1], numbers[2],
                                                 numbers[3], numbers[4], numbers[5]};
    }
    for (i = 0; i < c->eval_count; i++) {
        c->evals[i].step = (int64_t)take_int(r, 8);
        c->evals[i].value = take_double(r);
    }
}

static bool counts_are_sane(const struct checkpoint *c)
{
    return c->point_count >= 0 && c->point_count <= CHECKPOINT_HISTORY_MAX && c->eval_count >= 0 &&
           c->eval_count <= CHECKPOINT_EVALS_MAX && c->step >= 0 && c->best_step >= 0 &&
           c->best_step <= c->step && c->stale >= 0 && c->collapsed >= 0 && c->idle >= 0;
}

static int get_head(struct reader *r, struct checkpoint *c)
{
    take(r, c->identity, sizeof c->identity);
    take(r, c->fingerprint, sizeof c->fingerprint);
    c->exact = take_int(r, 4) == 1;
    c->step = (int64_t)take_int(r, 8);
    c->loss = take_double(r);
    take_doubles(r, c->before, CHECKPOINT_NUMBERS);
    take_doubles(r, c->best, CHECKPOINT_NUMBERS);
    c->best_value = take_double(r);
    c->best_step = (int64_t)take_int(r, 8);
    c->stale = (int64_t)take_int(r, 8);
    c->early = take_int(r, 4) == 1;
    c->collapsed = (int64_t)take_int(r, 8);
    c->idle = (int64_t)take_int(r, 8);
    c->point_count = (int)take_int(r, 4);
    c->eval_count = (int)take_int(r, 4);
    if (!counts_are_sane(c))
        return -1;
    get_curves(r, c);
    if (r->bad || r->left || c->identity[sizeof c->identity - 1] ||
        c->fingerprint[sizeof c->fingerprint - 1])
        return -1;
    return 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int write_body(FILE *f, const struct checkpoint *c, struct engine *engine, struct err *e)
{
    struct buf head, prefix;
    int rc;

    buf_init(&head, HEAD_MAX);
    buf_init(&prefix, PREFIX_BYTES);
    put_head(&head, c);
    buf_add(&prefix, magic, sizeof magic);
    buf_u32(&prefix, VERSION);
    buf_u32(&prefix, (uint32_t)head.len);
    if ((rc = buf_check(&head, "checkpoint", e)) < 0 ||
        (rc = buf_check(&prefix, "checkpoint", e)) < 0)
        goto done;
    if (fwrite(prefix.data, 1, prefix.len, f) != prefix.len ||
        fwrite(head.data, 1, head.len, f) != head.len) {
        rc = err_errno(e, ERR_IO, "its head");
        goto done;
    }
    rc = engine_save(engine, f, e);
done:
    buf_release(&head);
    buf_release(&prefix);
    return rc;
}

/* The digest is taken from what the file system gives back, so it covers what will be read. */
static int write_digest(FILE *f, const char *path, struct err *e)
{
    char hex[SHA256_HEX];
    int rc;

    if (fflush(f) != 0)
        return err_errno(e, ERR_IO, "%s: writing", path);
    if ((rc = sha256_file(path, hex, NULL, e)) < 0)
        return rc;
    if (fwrite(hex, 1, SHA256_HEX - 1, f) != SHA256_HEX - 1 || fflush(f) != 0 ||
        fsync(fileno(f)) != 0)
        return err_errno(e, ERR_IO, "%s: writing", path);
    return 0;
}

static int write_file(const char *tmp, const struct checkpoint *c, struct engine *engine,
                      struct err *e)
{
    FILE *f = fopen(tmp, "wb");
    int rc;

    if (!f)
        return err_errno(e, ERR_IO, "%s: creating", tmp);
    rc = write_body(f, c, engine, e);
    if (rc < 0)
        err_wrap(e, "%s: writing", tmp);
    else
        rc = write_digest(f, tmp, e);
    if (fclose(f) != 0 && rc == 0)
        rc = err_errno(e, ERR_IO, "%s: closing", tmp);
    return rc;
}

/* ---- the folder ---------------------------------------------------------------------------- */

/* The step of "step-000000012.ckpt", or -1 for any other name. */
static int64_t step_of(const char *name)
{
    char exact[64];
    int64_t step = -1;
    char digits[32];
    size_t n = strlen(name);

    if (n < 11 || n >= sizeof exact || strncmp(name, "step-", 5) || n - 10 >= sizeof digits)
        return -1;
    memcpy(digits, name + 5, n - 10);
    digits[n - 10] = '\0';
    if (digits[0] == '-')
        return -1;
    while (digits[0] == '0' && digits[1])
        memmove(digits, digits + 1, strlen(digits));
    if (text_i64(digits, 0, INT64_MAX, &step) < 0)
        return -1;
    snprintf(exact, sizeof exact, CHECKPOINT_NAME, (long long)step);
    return strcmp(exact, name) == 0 ? step : -1;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of the folder's checkpoints, newest first, at most `max`. A folder that is not there has
 * none. */
static int list_steps(const char *folder, int64_t *steps, int max, int *count, struct err *e)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    int64_t step;

    *count = 0;
    if (!d)
        return errno == ENOENT ? 0 : err_errno(e, ERR_IO, "%s", folder);
    while ((entry = readdir(d)))
        if ((step = step_of(entry->d_name)) >= 0 && *count < max)
            steps[(*count)++] = step;
    closedir(d);
    qsort(steps, (size_t)*count, sizeof *steps, newest_first);
    return 0;
}

static int path_of(char path[PATH_MAX], const char *folder, int64_t step, struct err *e)
{
    if (snprintf(path, PATH_MAX, "%s/" CHECKPOINT_NAME, folder, (long long)step) >= PATH_MAX)
        return err_set(e, ERR_IO, "%s: the path is too long", folder);
    return 0;
}

enum { STEPS_MAX = 1024 };

/* Does the file's head, unverified, name this identity? What can't be read is not ours to remove.
 */
static bool is_of(const char *path, const char *identity)
{
    char start[PREFIX_BYTES + SHA256_HEX];
    FILE *f = fopen(path, "rb");
    bool whole;

    if (!f)
        return false;
    whole = fread(start, 1, sizeof start, f) == sizeof start;
    fclose(f);
    return whole && memcmp(start, magic, sizeof magic) == 0 &&
           memcmp(start + PREFIX_BYTES, identity, SHA256_HEX) == 0;
}

static int remove_old(const char *folder, const struct checkpoint *c, int keep, struct err *e)
{
    int64_t steps[STEPS_MAX];
    char path[PATH_MAX];
    int i, count, kept = 0, rc;

    if ((rc = list_steps(folder, steps, STEPS_MAX, &count, e)) < 0)
        return rc;
    for (i = 0; i < count; i++) {
        if ((rc = path_of(path, folder, steps[i], e)) < 0)
            return rc;
        if (!is_of(path, c->identity) || (steps[i] <= c->step && kept++ < keep))
            continue;
        if (unlink(path) < 0 && errno != ENOENT)
            return err_errno(e, ERR_IO, "%s: removing", path);
    }
    return 0;
}

int checkpoint_write(const char *folder, const struct checkpoint *c, struct engine *engine,
                     int keep, struct err *e)
{
    char path[PATH_MAX], tmp[PATH_MAX];
    int rc;

    if ((rc = path_of(path, folder, c->step, e)) < 0)
        return rc;
    if (snprintf(tmp, sizeof tmp, "%s/checkpoint.tmp", folder) >= (int)sizeof tmp)
        return err_set(e, ERR_IO, "%s: the path is too long", folder);
    rc = write_file(tmp, c, engine, e);
    if (rc == 0 && rename(tmp, path) < 0)
        rc = err_errno(e, ERR_IO, "%s: renaming", path);
    if (rc < 0) {
        unlink(tmp);
        return rc;
    }
    return remove_old(folder, c, keep, e);
}

/* ---- reading ------------------------------------------------------------------------------- */

static int bad(const char *path, const char *why, struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: not a whole checkpoint: %s", path, why);
}

/* SHA-256 of all but the last 64 bytes against these. */
static int check_digest(FILE *f, const char *path, struct err *e)
{
    unsigned char piece[65536], digest[SHA256_SIZE];
    char want[SHA256_HEX] = {0}, is[SHA256_HEX];
    struct sha256 *s = NULL;
    long left;
    size_t n;
    int rc = 0;

    if (fseek(f, 0, SEEK_END) < 0 || (left = ftell(f)) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (left < (long)(PREFIX_BYTES + SHA256_HEX - 1))
        return bad(path, "too short", e);
    rewind(f);
    s = sha256_new();
    if (!s)
        return err_set(e, ERR_NOMEM, "%s: no memory to hash it", path);
    for (left -= SHA256_HEX - 1; left > 0; left -= (long)n) {
        n = fread(piece, 1, left < (long)sizeof piece ? (size_t)left : sizeof piece, f);
        if (n == 0) {
            rc = bad(path, "it ends early", e);
            goto done;
        }
        sha256_add(s, piece, n);
    }
    sha256_end(s, digest);
    sha256_hex(digest, is);
    if (fread(want, 1, SHA256_HEX - 1, f) != SHA256_HEX - 1 || memcmp(is, want, sizeof is) != 0)
        rc = bad(path, "its hash differs", e);
done:
    sha256_free(s);
    return rc;
}

/* Leaves the file at the first byte of the engine's state. */
static int read_head(FILE *f, const char *path, struct checkpoint *c, struct err *e)
{
    unsigned char prefix[PREFIX_BYTES], *head;
    struct reader r = {prefix, sizeof prefix, false};
    char found[sizeof magic];
    size_t n;
    int rc = 0;

    rewind(f);
    if (fread(prefix, 1, sizeof prefix, f) != sizeof prefix)
        return bad(path, "too short", e);
    take(&r, found, sizeof found);
    if (memcmp(found, magic, sizeof magic) != 0)
        return bad(path, "another kind of file", e);
    if (take_int(&r, 4) != VERSION)
        return err_set(e, ERR_UNSUPPORTED, "%s: a checkpoint of another version", path);
    n = (size_t)take_int(&r, 4);
    if (n > HEAD_MAX)
        return bad(path, "its head is too large", e);
    head = malloc(n + 1);
    if (!head)
        return err_set(e, ERR_NOMEM, "%s: %zu bytes for its head", path, n);
    r = (struct reader){head, n, false};
    if (fread(head, 1, n, f) != n || get_head(&r, c) < 0)
        rc = bad(path, "its head is damaged", e);
    free(head);
    return rc;
}

/* Opens, verifies; *out is at the engine's state. */
static int open_whole(const char *path, struct checkpoint *c, FILE **out, struct err *e)
{
    FILE *f = fopen(path, "rb");
    int rc;

    if (!f)
        return err_errno(e, ERR_IO, "%s", path);
    if ((rc = check_digest(f, path, e)) < 0 || (rc = read_head(f, path, c, e)) < 0) {
        fclose(f);
        return rc;
    }
    *out = f;
    return 0;
}

int checkpoint_verify(const char *path, struct checkpoint *out, struct err *e)
{
    FILE *f;
    int rc = open_whole(path, out, &f, e);

    if (rc == 0)
        fclose(f);
    return rc;
}

/* 1 resumed, 0 this one is not for us, < 0. */
static int try_one(const char *path, const char *identity, const char *fingerprint, bool exact_only,
                   struct checkpoint *c, struct engine *engine, struct err *e)
{
    FILE *f;
    int rc = open_whole(path, c, &f, e);

    if (rc < 0)
        return rc == ERR_NOMEM ? rc : 0; /* damaged: an older one may be whole */
    if (strcmp(c->identity, identity) != 0) {
        rc = 0;
    } else if (strcmp(c->fingerprint, fingerprint) != 0 && exact_only) {
        rc = err_set(e, ERR_CONFIG,
                     "%s was made under %s, this is %s: the result could not be the same bytes; "
                     "allow it (resume = any) or start anew",
                     path, c->fingerprint, fingerprint);
    } else {
        if (strcmp(c->fingerprint, fingerprint) != 0)
            c->exact = false;
        rc = engine_load(engine, f, e);
        rc = rc < 0 ? rc : 1;
    }
    fclose(f);
    return rc;
}

int checkpoint_resume(const char *folder, const char *identity, const char *fingerprint,
                      bool exact_only, struct checkpoint *out, struct engine *engine, struct err *e)
{
    int64_t steps[STEPS_MAX];
    char path[PATH_MAX];
    int i, count, rc;

    if ((rc = list_steps(folder, steps, STEPS_MAX, &count, e)) < 0)
        return rc;
    for (i = 0; i < count; i++) {
        if ((rc = path_of(path, folder, steps[i], e)) < 0)
            return rc;
        rc = try_one(path, identity, fingerprint, exact_only, out, engine, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}
