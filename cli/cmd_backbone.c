#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/client.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "platform/json/json.h"
#include "platform/proc/progress.h"
#include "trainer/run.h"

#define FILES_MAX 64
#define DEPTH_MAX 4
#define CLAIM     "backbone.json" /* names, sizes, hashes: what the name stands for, for ever */

struct backbone_options {
    struct client_options client;
    bool operator, json;
};

static const struct option_row rows[] = {
    {.name = "operator",
     .type = OPTION_FLAG,
     .offset = offsetof(struct backbone_options, operator),
     .help = "into the shared backbones/ (needs the operator's keys), not the owner's"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct backbone_options, json),
     .help = "one JSON object on standard output"},
    CLIENT_ROWS(backbone_options),
};

struct file {
    char name[KEY_FILE_MAX];
    char sha256[SHA256_HEX];
    unsigned long long size;
};

struct upload {
    struct client *c;
    const char *owner; /* NULL: the operator's */
    const char *name, *folder;
    struct file files[FILES_MAX];
    size_t count;
    unsigned long long bytes;
    int64_t sent; /* files that were not there yet */
    struct progress *progress;
};

/* ---- the folder --------------------------------------------------------------------------------
 */

static int path_of(const struct upload *u, const char *name, char path[PATH_MAX], struct err *e)
{
    if (snprintf(path, PATH_MAX, "%s/%s", u->folder, name) >= PATH_MAX)
        return err_set(e, ERR_USAGE, "%s: the path is too long", u->folder);
    return 0;
}

static int add_file(struct upload *u, const char *name, struct err *e)
{
    char key[KEY_MAX], path[PATH_MAX];
    struct file *f = &u->files[u->count];
    int rc;

    if (u->count == FILES_MAX)
        return err_set(e, ERR_LIMIT, "%s has more than %d files", u->folder, FILES_MAX);
    if ((rc = key_backbone_file(u->owner, u->name, name, key, e)) < 0 ||
        (rc = path_of(u, name, path, e)) < 0 ||
        (rc = sha256_file(path, f->sha256, &f->size, e)) < 0)
        return rc;
    snprintf(f->name, sizeof f->name, "%s", name);
    u->bytes += f->size;
    u->count++;
    return 0;
}

static int add_folder(struct upload *u, const char *below, int depth, struct err *e);

static int add_entry(struct upload *u, const char *below, const char *entry, int depth,
                     struct err *e)
{
    char name[KEY_FILE_MAX], path[PATH_MAX];
    struct stat st;
    int rc;

    if (entry[0] == '.' || strcmp(entry, CLAIM) == 0)
        return 0;
    if (snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", entry) >= (int)sizeof name)
        return err_set(e, ERR_USAGE, "%s/%s: the name is too long", below, entry);
    if ((rc = path_of(u, name, path, e)) < 0)
        return rc;
    if (stat(path, &st) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (S_ISDIR(st.st_mode))
        return depth < DEPTH_MAX ? add_folder(u, name, depth + 1, e)
                                 : err_set(e, ERR_LIMIT, "%s: folders too deep", path);
    return S_ISREG(st.st_mode) ? add_file(u, name, e) : 0;
}

static int add_folder(struct upload *u, const char *below, int depth, struct err *e)
{
    char path[PATH_MAX];
    struct dirent *d;
    DIR *dir;
    int rc = path_of(u, below, path, e);

    if (rc < 0)
        return rc;
    if (!(dir = opendir(path)))
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", path);
    while (rc == 0 && (d = readdir(dir)))
        rc = add_entry(u, below, d->d_name, depth, e);
    closedir(dir);
    return rc;
}

/* The model comes last: where it is, all is. */
static int by_name(const void *x, const void *y)
{
    const struct file *a = x, *b = y;
    bool am = strstr(a->name, ".onnx"), bm = strstr(b->name, ".onnx");

    return am != bm ? am - bm : strcmp(a->name, b->name);
}

/* ---- the store ---------------------------------------------------------------------------------
 */

/* The name is taken for these files, once: a conditional create whose body says which. */
static int claim(struct upload *u, struct err *e)
{
    json_t *files = json_array(), *v;
    char key[KEY_MAX];
    struct buf b;
    size_t i;
    int rc;

    for (i = 0; i < u->count; i++)
        json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "path", u->files[i].name, "size",
                                               (json_int_t)u->files[i].size, "sha256",
                                               u->files[i].sha256));
    v = json_pack("{s:s, s:o}", "name", u->name, "files", files);
    if (!v)
        return err_set(e, ERR_NOMEM, "the list of files");
    buf_init(&b, 1 << 20);
    if ((rc = json_write(v, JSON_CANONICAL, &b, e)) == 0 &&
        (rc = key_backbone_file(u->owner, u->name, CLAIM, key, e)) == 0)
        rc = blob_create(u->c->ports.blob, key, b.data, b.len, e);
    if (rc == ERR_EXISTS)
        err_set(e, ERR_EXISTS,
                "there is a backbone %s with other files; backbones never change: choose another "
                "name",
                u->name);
    buf_release(&b);
    json_decref(v);
    return rc;
}

static int send_file(struct upload *u, const struct file *f, struct err *e)
{
    char key[KEY_MAX], path[PATH_MAX];
    uint64_t size;
    int rc = key_backbone_file(u->owner, u->name, f->name, key, e);

    if (rc < 0)
        return rc;
    rc = blob_head(u->c->ports.blob, key, &size, e);
    if (rc == 0 && size == f->size) /* an upload is whole or not there */
        return 0;
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    u->sent++;
    if ((rc = path_of(u, f->name, path, e)) < 0)
        return rc;
    return blob_put_file(u->c->ports.blob, key, path, e);
}

static int send_all(struct upload *u, struct err *e)
{
    int64_t bytes = 0;
    size_t i;
    int rc;

    progress_step(u->progress, "uploading", (int64_t)u->bytes, "bytes");
    for (i = 0; i < u->count; i++) {
        if (clock_stopping(u->c->ports.clock))
            return err_set(e, ERR_CANCELLED, "interrupted; the same command goes on");
        if ((rc = send_file(u, &u->files[i], e)) < 0)
            return rc;
        bytes += (int64_t)u->files[i].size;
        progress_at(u->progress, bytes, u->files[i].name);
    }
    progress_done(u->progress, NULL);
    return 0;
}

static int print(const struct upload *u, bool json, struct err *e)
{
    char prefix[KEY_MAX];
    struct buf b, url;
    int rc = key_backbone_prefix(u->owner, u->name, prefix, e);

    if (rc < 0)
        return rc;
    buf_init(&b, 1 << 16);
    buf_init(&url, 1 << 16);
    if (json)
        buf_printf(
            &b, "{\"bytes\":%llu,\"files\":%zu,\"name\":\"%s\",\"prefix\":\"%s\",\"sent\":%lld}\n",
            u->bytes, u->count, u->name, prefix, (long long)u->sent);
    else
        buf_printf(&b, "backbone %s: %zu files, %.1f MiB, at %s%s\n", u->name, u->count,
                   (double)u->bytes / (1 << 20), prefix, u->sent ? "" : " (was there)");
    rc = cli_print(&b, e);
    buf_release(&url);
    buf_release(&b);
    return rc;
}

static int push(struct upload *u, bool json, struct err *e)
{
    struct run_backbone found;
    int rc;

    if ((rc = run_backbone_find(u->folder, &found, e)) < 0 ||
        (rc = progress_new(&u->progress, u->c->ports.clock, 2, PROGRESS_AUTO, e)) < 0)
        return rc;
    progress_step(u->progress, "hashing", 0, "files");
    if ((rc = add_folder(u, "", 0, e)) < 0)
        return rc;
    qsort(u->files, u->count, sizeof u->files[0], by_name);
    if ((rc = claim(u, e)) < 0 || (rc = send_all(u, e)) < 0)
        return rc;
    return print(u, json, e);
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    static const char *const words[] = {"push", NULL};
    struct backbone_options o = {0};
    struct upload *u = calloc(1, sizeof *u);
    struct client c = {0};
    int operands, rc;

    if (!u)
        return err_set(e, ERR_NOMEM, "an upload");
    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc == 0 && (rc = cli_operands(self, operands, 3, 3, e)) == 0) {
        if (strcmp(argv[0], words[0]) != 0)
            rc = options_unknown("word after backbone", argv[0], words, e);
        else if ((rc = client_open(&c, &o.client, SETTINGS_S3, e)) == 0 && !o.operator)
            rc = client_need_owner(&c, e);
        if (rc == 0) {
            u->c = &c;
            u->owner = o.operator? NULL : c.owner;
            u->name = argv[1];
            u->folder = argv[2];
            rc = push(u, o.json, e);
        }
    }
    progress_free(u->progress);
    free(u);
    client_release(&c);
    return rc < 0 ? rc : 0;
}

const struct cli_command cmd_backbone = {
    .name = "backbone",
    .summary = "Uploads a backbone that jobs can name; it never changes.",
    .usage = "backbone push NAME DIR [--operator]",
    .examples =
        "  tripline backbone push minilm ./all-MiniLM-L6-v2\n"
        "  tripline backbone push minilm ./all-MiniLM-L6-v2 --operator   # for all owners\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
