#include "schemas/keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "platform/base/text.h"

static const char *const kinds[] = {[TOPIC_REJECTED] = "rejected",
                                    [TOPIC_JOBS] = "jobs",
                                    [TOPIC_MODELS] = "models",
                                    [TOPIC_CURRENT] = "current"};
static const char *const internals[] = {[TOPIC_DONE] = "done", [TOPIC_PUBLISHED] = "published"};
static const char *const services[] = {
    [KEY_INGEST] = "ingest", [KEY_TRAINER] = "trainer", [KEY_PUBLISHER] = "publisher"};
static const char *const run_files[] = {
    [RUN_JOB] = "job.json", [RUN_SNAPSHOT] = "snapshot.json", [RUN_END] = "end.json"};
static const struct {
    const char *folder, *suffix;
} series_of[] = {
    [ATTEMPT_CHECKPOINT] = {"checkpoints", ".ckpt"}, [ATTEMPT_LOG] = {"logs", ".jsonl"}};

#define NAME_PATTERN "[a-z0-9][a-z0-9-]*"

static int check_name(const char *what, const char *name, struct err *e)
{
    if (!name)
        return err_set(e, ERR_USAGE, "%s: missing", what);
    if (!text_is_name(name, strlen(name)))
        return err_set(e, ERR_USAGE,
                       "%s '%.80s': a name has 1 to 63 of a-z, 0-9 and '-' and begins with a "
                       "letter or a digit",
                       what, name);
    return 0;
}

/* Everything is bounded (names, numbers, files), so that KEY_MAX is never reached. */
static int put(char out[KEY_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));
static int put(char out[KEY_MAX], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(out, KEY_MAX, format, args);
    va_end(args);
    return 0;
}

/* Checks up to two names (the second may be NULL when `what2` is) before a key is built. */
static int check_names(const char *what1, const char *name1, const char *what2, const char *name2,
                       struct err *e)
{
    int rc = check_name(what1, name1, e);

    if (rc < 0 || !what2)
        return rc;
    return check_name(what2, name2, e);
}

/* --- the pieces of parsers: each advances *s or fails --------------------------------------- */

static bool take(const char **s, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(*s, word, n) != 0)
        return false;
    *s += n;
    return true;
}

static bool take_name(const char **s, char out[KEY_NAME_MAX])
{
    size_t n = strspn(*s, "abcdefghijklmnopqrstuvwxyz0123456789-");

    if (!text_is_name(*s, n))
        return false;
    memcpy(out, *s, n);
    out[n] = 0;
    *s += n;
    return true;
}

/* Decimal without leading zeros, or exactly `digits` digits when that is not 0; at most `max`. */
static bool take_number(const char **s, size_t digits, uint64_t max, uint64_t *out)
{
    size_t n = strspn(*s, "0123456789"), i;
    uint64_t v = 0;

    if (n < 1 || n > 20 || (digits ? n != digits : n > 1 && (*s)[0] == '0'))
        return false;
    for (i = 0; i < n; i++) {
        unsigned d = (unsigned)((*s)[i] - '0');

        if (v > (max - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out = v;
    *s += n;
    return true;
}

/* A relative path of plain segments; none may be empty, "." or "..". */
static bool is_file(const char *file)
{
    const char *s = file;
    size_t n;

    if (strlen(file) >= KEY_FILE_MAX)
        return false;
    for (;; s += n + 1) {
        n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
        if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return false;
        if (s[n] == 0)
            return true;
        if (s[n] != '/')
            return false;
    }
}

static int check_file(const char *file, struct err *e)
{
    if (!file || !is_file(file))
        return err_set(e, ERR_USAGE,
                       "file '%.80s': expected a relative path of letters, digits, '.', '_', '-'",
                       file ? file : "");
    return 0;
}

/* --- prefix and topics ---------------------------------------------------------------------- */

int keys_init(struct keys *k, const char *prefix, struct err *e)
{
    int rc = check_name("prefix", prefix ? prefix : KEYS_PREFIX, e);

    if (rc < 0)
        return rc;
    snprintf(k->prefix, sizeof k->prefix, "%s", prefix ? prefix : KEYS_PREFIX);
    return 0;
}

int topic_docs(const struct keys *k, const char *owner, const char *dataset, char out[KEY_MAX],
               struct err *e)
{
    int rc = check_names("owner", owner, "dataset", dataset, e);

    return rc < 0 ? rc : put(out, "%s.docs.%s.%s", k->prefix, owner, dataset);
}

int topic_of(const struct keys *k, enum topic_kind kind, const char *owner, char out[KEY_MAX],
             struct err *e)
{
    int rc = check_name("owner", owner, e);

    return rc < 0 ? rc : put(out, "%s.%s.%s", k->prefix, kinds[kind], owner);
}

void topic_internal(const struct keys *k, enum topic_internal kind, char out[KEY_MAX])
{
    put(out, "%s.%s", k->prefix, internals[kind]);
}

int topic_docs_prefix(const struct keys *k, const char *owner, char out[KEY_MAX], struct err *e)
{
    int rc = check_name("owner", owner, e);

    return rc < 0 ? rc : put(out, "%s.docs.%s.", k->prefix, owner);
}

void topic_docs_pattern(const struct keys *k, char out[KEY_MAX])
{
    put(out, "^%s[.]docs[.]" NAME_PATTERN "[.]" NAME_PATTERN "$", k->prefix);
}

void topic_pattern(const struct keys *k, enum topic_kind kind, char out[KEY_MAX])
{
    put(out, "^%s[.]%s[.]" NAME_PATTERN "$", k->prefix, kinds[kind]);
}

bool topic_docs_parse(const struct keys *k, const char *topic, char owner[KEY_NAME_MAX],
                      char dataset[KEY_NAME_MAX])
{
    const char *s = topic;

    return take(&s, k->prefix) && take(&s, ".docs.") && take_name(&s, owner) && take(&s, ".") &&
           take_name(&s, dataset) && !*s;
}

bool topic_parse(const struct keys *k, enum topic_kind kind, const char *topic,
                 char owner[KEY_NAME_MAX])
{
    const char *s = topic;

    return take(&s, k->prefix) && take(&s, ".") && take(&s, kinds[kind]) && take(&s, ".") &&
           take_name(&s, owner) && !*s;
}

int key_run_id(const char *owner, const char *run, char out[KEY_MAX], struct err *e)
{
    int rc = check_names("owner", owner, "run", run, e);

    return rc < 0 ? rc : put(out, "%s/%s", owner, run);
}

bool key_run_id_parse(const char *text, size_t len, char owner[KEY_NAME_MAX],
                      char run[KEY_NAME_MAX])
{
    char copy[2 * KEY_NAME_MAX];
    const char *s = copy;

    if (len >= sizeof copy || memchr(text, 0, len))
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    return take_name(&s, owner) && take(&s, "/") && take_name(&s, run) && !*s;
}

void key_group(const struct keys *k, enum key_service service, char out[KEY_MAX])
{
    put(out, "%s.%s", k->prefix, services[service]);
}

int key_transaction(const struct keys *k, const char *instance, char out[KEY_MAX], struct err *e)
{
    int rc = check_name("instance", instance, e);

    return rc < 0 ? rc : put(out, "%s.publisher.%s", k->prefix, instance);
}

/* --- segments ------------------------------------------------------------------------------- */

static int check_segment(const struct segment_name *n, struct err *e)
{
    if (n->partition < 0 || n->first < 0)
        return err_set(e, ERR_USAGE, "segment of partition %d at offset %lld: negative",
                       n->partition, (long long)n->first);
    return check_names("owner", n->owner, "dataset", n->dataset, e);
}

int key_segments_prefix(const char *owner, const char *dataset, char out[KEY_MAX], struct err *e)
{
    int rc = check_names("owner", owner, "dataset", dataset, e);

    return rc < 0 ? rc : put(out, "owners/%s/datasets/%s/segments/", owner, dataset);
}

int key_chain_prefix(const struct segment_name *n, char out[KEY_MAX], struct err *e)
{
    int rc = check_segment(n, e);

    return rc < 0 ? rc
                  : put(out, "owners/%s/datasets/%s/segments/%llu/%d/", n->owner, n->dataset,
                        (unsigned long long)n->incarnation, n->partition);
}

int key_segment(const struct segment_name *n, char out[KEY_MAX], struct err *e)
{
    int rc = check_segment(n, e);

    return rc < 0 ? rc
                  : put(out, "owners/%s/datasets/%s/segments/%llu/%d/%020lld.seg", n->owner,
                        n->dataset, (unsigned long long)n->incarnation, n->partition,
                        (long long)n->first);
}

int key_base(const struct segment_name *n, char out[KEY_MAX], struct err *e)
{
    int rc = check_segment(n, e);

    return rc < 0 ? rc
                  : put(out, "owners/%s/datasets/%s/segments/%llu/%d/base.json", n->owner,
                        n->dataset, (unsigned long long)n->incarnation, n->partition);
}

/* ".../segments/<incarnation>/<partition>/" */
static bool take_chain(const char **s, struct segment_name *out)
{
    uint64_t partition;

    if (!(take(s, "owners/") && take_name(s, out->owner) && take(s, "/datasets/") &&
          take_name(s, out->dataset) && take(s, "/segments/") &&
          take_number(s, 0, UINT64_MAX, &out->incarnation) && take(s, "/") &&
          take_number(s, 0, INT32_MAX, &partition) && take(s, "/")))
        return false;
    out->partition = (int32_t)partition;
    out->first = 0;
    return true;
}

bool key_segment_parse(const char *key, struct segment_name *out)
{
    const char *s = key;
    uint64_t first;

    if (!(take_chain(&s, out) && take_number(&s, 20, INT64_MAX, &first) && take(&s, ".seg") && !*s))
        return false;
    out->first = (int64_t)first;
    return true;
}

bool key_base_parse(const char *key, struct segment_name *out)
{
    const char *s = key;

    return take_chain(&s, out) && take(&s, "base.json") && !*s;
}

int key_datasets_prefix(const char *owner, char out[KEY_MAX], struct err *e)
{
    int rc = check_name("owner", owner, e);

    return rc < 0 ? rc : put(out, "owners/%s/datasets/", owner);
}

bool key_dataset_parse(const char *key, char owner[KEY_NAME_MAX], char dataset[KEY_NAME_MAX])
{
    struct segment_name n;
    const char *s = key;

    if (!take_chain(&s, &n))
        return false;
    memcpy(owner, n.owner, KEY_NAME_MAX);
    memcpy(dataset, n.dataset, KEY_NAME_MAX);
    return true;
}

/* --- runs ----------------------------------------------------------------------------------- */

int key_owner_prefix(const char *owner, char out[KEY_MAX], struct err *e)
{
    int rc = check_name("owner", owner, e);

    return rc < 0 ? rc : put(out, "owners/%s/", owner);
}

int key_runs_prefix(const char *owner, char out[KEY_MAX], struct err *e)
{
    int rc = check_name("owner", owner, e);

    return rc < 0 ? rc : put(out, "owners/%s/runs/", owner);
}

int key_run_prefix(const char *owner, const char *run, char out[KEY_MAX], struct err *e)
{
    int rc = check_names("owner", owner, "run", run, e);

    return rc < 0 ? rc : put(out, "owners/%s/runs/%s/", owner, run);
}

int key_run(const char *owner, const char *run, enum run_file file, char out[KEY_MAX],
            struct err *e)
{
    int rc = check_names("owner", owner, "run", run, e);

    return rc < 0 ? rc : put(out, "owners/%s/runs/%s/%s", owner, run, run_files[file]);
}

static bool take_run(const char **s, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX])
{
    return take(s, "owners/") && take_name(s, owner) && take(s, "/runs/") && take_name(s, run) &&
           take(s, "/");
}

bool key_run_parse(const char *key, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX],
                   enum run_file *file)
{
    const char *s = key;
    int i;

    if (!take_run(&s, owner, run))
        return false;
    for (i = RUN_JOB; i <= RUN_END; i++) {
        if (!strcmp(s, run_files[i])) {
            *file = (enum run_file)i;
            return true;
        }
    }
    return false;
}

int key_attempts_prefix(const char *owner, const char *run, char out[KEY_MAX], struct err *e)
{
    int rc = check_names("owner", owner, "run", run, e);

    return rc < 0 ? rc : put(out, "owners/%s/runs/%s/attempts/", owner, run);
}

static int check_attempt(const char *owner, const char *run, uint64_t n, struct err *e)
{
    if (n == 0)
        return err_set(e, ERR_USAGE, "attempt 0 of run %.63s: attempts begin at 1", run ? run : "");
    return check_names("owner", owner, "run", run, e);
}

int key_attempt(const char *owner, const char *run, uint64_t n, char out[KEY_MAX], struct err *e)
{
    int rc = check_attempt(owner, run, n, e);

    return rc < 0 ? rc
                  : put(out, "owners/%s/runs/%s/attempts/%llu.json", owner, run,
                        (unsigned long long)n);
}

static bool take_attempt(const char **s, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX],
                         uint64_t *n)
{
    return take_run(s, owner, run) && take(s, "attempts/") && take_number(s, 0, UINT64_MAX, n) &&
           *n > 0;
}

bool key_attempt_parse(const char *key, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX],
                       uint64_t *n)
{
    const char *s = key;

    return take_attempt(&s, owner, run, n) && take(&s, ".json") && !*s;
}

int key_attempt_prefix(const char *owner, const char *run, uint64_t n, char out[KEY_MAX],
                       struct err *e)
{
    int rc = check_attempt(owner, run, n, e);

    return rc < 0 ? rc
                  : put(out, "owners/%s/runs/%s/attempts/%llu/", owner, run, (unsigned long long)n);
}

int key_attempt_file(const char *owner, const char *run, uint64_t n, const char *file,
                     char out[KEY_MAX], struct err *e)
{
    int rc;

    if ((rc = check_attempt(owner, run, n, e)) < 0 || (rc = check_file(file, e)) < 0)
        return rc;
    return put(out, "owners/%s/runs/%s/attempts/%llu/%s", owner, run, (unsigned long long)n, file);
}

bool key_attempt_file_parse(const char *key, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX],
                            uint64_t *n, char file[KEY_FILE_MAX])
{
    const char *s = key;

    if (!take_attempt(&s, owner, run, n) || !take(&s, "/") || !is_file(s))
        return false;
    snprintf(file, KEY_FILE_MAX, "%s", s);
    return true;
}

void attempt_series_file(enum attempt_series series, uint64_t number, char out[KEY_FILE_MAX])
{
    snprintf(out, KEY_FILE_MAX, "%s/%020llu%s", series_of[series].folder,
             (unsigned long long)number, series_of[series].suffix);
}

bool attempt_series_parse(enum attempt_series series, const char *file, uint64_t *number)
{
    const char *s = file;

    return take(&s, series_of[series].folder) && take(&s, "/") &&
           take_number(&s, 20, UINT64_MAX, number) && take(&s, series_of[series].suffix) && !*s;
}

int key_open(const char *owner, const char *run, char out[KEY_MAX], struct err *e)
{
    int rc = check_names("owner", owner, "run", run, e);

    return rc < 0 ? rc : put(out, KEYS_OPEN_PREFIX "%s/%s", owner, run);
}

bool key_open_parse(const char *key, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX])
{
    const char *s = key;

    return take(&s, KEYS_OPEN_PREFIX) && take_name(&s, owner) && take(&s, "/") &&
           take_name(&s, run) && !*s;
}

int key_open_prefix(const char *owner, char out[KEY_MAX], struct err *e)
{
    int rc = check_name("owner", owner, e);

    return rc < 0 ? rc : put(out, KEYS_OPEN_PREFIX "%s/", owner);
}

/* --- models and backbones ------------------------------------------------------------------- */

int key_models_prefix(const char *owner, char out[KEY_MAX], struct err *e)
{
    int rc = check_name("owner", owner, e);

    return rc < 0 ? rc : put(out, "owners/%s/models/", owner);
}

int key_model_prefix(const char *owner, const char *model, char out[KEY_MAX], struct err *e)
{
    int rc = check_names("owner", owner, "model", model, e);

    return rc < 0 ? rc : put(out, "owners/%s/models/%s/", owner, model);
}

int key_model(const char *owner, const char *model, uint64_t n, char out[KEY_MAX], struct err *e)
{
    int rc = check_names("owner", owner, "model", model, e);

    if (rc < 0)
        return rc;
    if (n == 0)
        return err_set(e, ERR_USAGE, "model %s: versions begin at 1", model);
    return put(out, "owners/%s/models/%s/%llu.json", owner, model, (unsigned long long)n);
}

bool key_model_parse(const char *key, char owner[KEY_NAME_MAX], char model[KEY_NAME_MAX],
                     uint64_t *n)
{
    const char *s = key;

    return take(&s, "owners/") && take_name(&s, owner) && take(&s, "/models/") &&
           take_name(&s, model) && take(&s, "/") && take_number(&s, 0, UINT64_MAX, n) && *n > 0 &&
           take(&s, ".json") && !*s;
}

int key_backbone_prefix(const char *owner, const char *name, char out[KEY_MAX], struct err *e)
{
    int rc;

    if ((rc = check_name("backbone", name, e)) < 0)
        return rc;
    if (!owner)
        return put(out, "backbones/%s/", name);
    rc = check_name("owner", owner, e);
    return rc < 0 ? rc : put(out, "owners/%s/backbones/%s/", owner, name);
}

int key_backbone_file(const char *owner, const char *name, const char *file, char out[KEY_MAX],
                      struct err *e)
{
    int rc;
    size_t n;

    if ((rc = key_backbone_prefix(owner, name, out, e)) < 0 || (rc = check_file(file, e)) < 0)
        return rc;
    n = strlen(out);
    snprintf(out + n, KEY_MAX - n, "%s", file);
    return 0;
}

/* No empty, "." or ".." segment; nothing that would be a query or a fragment; no control bytes. */
static bool is_object(const char *key)
{
    const char *s = key;
    size_t n, i;

    if (strlen(key) > 1024)
        return false;
    for (i = 0; key[i]; i++)
        if ((unsigned char)key[i] < 0x20 || key[i] == 0x7f || strchr("?#\\", key[i]))
            return false;
    for (;; s += n + 1) {
        n = strcspn(s, "/");
        if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return false;
        if (!s[n])
            return true;
    }
}

bool key_of_uri(const char *uri, const char *bucket, const char *owner, const char **key)
{
    char prefix[KEY_MAX];
    struct err ignored = ERR_INIT;
    const char *s = uri;
    size_t n;

    if (take(&s, "s3://")) {
        n = strcspn(s, "/");
        if (!n || !s[n] || (bucket && (strlen(bucket) != n || memcmp(bucket, s, n) != 0)))
            return false;
        s += n + 1;
    }
    if (key_owner_prefix(owner, prefix, &ignored) < 0 || strncmp(s, prefix, strlen(prefix)) != 0)
        return false;
    *key = s;
    return is_object(s);
}

/* --- Redis ---------------------------------------------------------------------------------- */

int key_board(const struct keys *k, enum key_board kind, const char *owner, const char *run,
              char out[KEY_MAX], struct err *e)
{
    static const struct {
        const char *word;
        int run;
    } rows[] = {
#define X(id, word, run) {word, run},
        KEY_BOARD(X)
#undef X
    };
    int rc = check_names("owner", owner, rows[kind].run ? "run" : NULL, run, e);

    if (rc < 0)
        return rc;
    if (rows[kind].run)
        return put(out, "%s:{%s}:%s:%s", k->prefix, owner, rows[kind].word, run);
    return put(out, "%s:{%s}:%s", k->prefix, owner, rows[kind].word);
}

int key_board_prefix(const struct keys *k, const char *owner, char out[KEY_MAX], struct err *e)
{
    int rc = check_name("owner", owner, e);

    return rc < 0 ? rc : put(out, "%s:{%s}:", k->prefix, owner);
}

void key_board_epoch(const struct keys *k, char out[KEY_MAX])
{
    put(out, "%s:epoch", k->prefix);
}

void key_board_ring(const struct keys *k, char out[KEY_MAX])
{
    put(out, "%s:ring", k->prefix);
}

void key_board_group(const struct keys *k, char out[KEY_MAX])
{
    put(out, "%s:{", k->prefix);
}
