/* The folder that holds an artifact: what in it is an artifact's, and how that is removed. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "trainer/artifact_int.h"

const char *const artifact_files[ARTIFACT_FILES] = {"1_Pooling/config.json",
                                                    "2_Dense/config.json",
                                                    "2_Dense/model.safetensors",
                                                    "config.json",
                                                    "config_sentence_transformers.json",
                                                    "golden.json",
                                                    "metrics.json",
                                                    "modules.json",
                                                    "onnx/model.onnx",
                                                    "report.html",
                                                    "sentence_bert_config.json",
                                                    "tokenizer.json",
                                                    "tokenizer_config.json"};

static const char *const folders[] = {"1_Pooling", "2_Dense", "onnx"};
enum { FOLDERS = sizeof folders / sizeof folders[0] };

int artifact_path(char path[PATH_MAX], const char *folder, const char *name, struct err *e)
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return err_set(e, ERR_IO, "%s: the path is too long", folder);
    return 0;
}

/* `name`, or the temporary file by which it is written: name.XXXXXX. */
static bool is_file_of(const char *entry, const char *name)
{
    size_t n = strlen(name);

    return strncmp(entry, name, n) == 0 &&
           (entry[n] == '\0' || (entry[n] == '.' && strlen(entry + n) == 7));
}

/* `sub` "": the artifact's own folder. */
static bool is_ours(const char *sub, const char *entry)
{
    size_t i, n = strlen(sub);

    if (n == 0 && is_file_of(entry, "manifest.json"))
        return true;
    for (i = 0; i < ARTIFACT_FILES; i++)
        if (n == 0) {
            if (is_file_of(entry, artifact_files[i]))
                return true;
        } else if (strncmp(artifact_files[i], sub, n) == 0 && artifact_files[i][n] == '/' &&
                   is_file_of(entry, artifact_files[i] + n + 1)) {
            return true;
        }
    return false;
}

static int clear_one(const char *folder, const char *sub, struct err *e)
{
    char path[PATH_MAX], file[PATH_MAX];
    struct dirent *entry;
    int rc = artifact_path(path, folder, sub, e);
    DIR *d;

    if (rc < 0)
        return rc;
    d = opendir(path);
    if (!d)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(e, ERR_IO, "%s", path);
    while (rc == 0 && (entry = readdir(d))) {
        if (!is_ours(sub, entry->d_name))
            continue;
        rc = artifact_path(file, path, entry->d_name, e);
        if (rc == 0 && unlink(file) < 0 && errno != ENOENT)
            rc = err_errno(e, ERR_IO, "%s: removing", file);
    }
    closedir(d);
    return rc;
}

static int remove_name(const char *folder, const char *name, struct err *e)
{
    char path[PATH_MAX];
    int rc = artifact_path(path, folder, name, e);

    if (rc == 0 && unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
        rc = err_errno(e, ERR_IO, "%s: removing", path);
    return rc;
}

/* By name first, the manifest before all: that needs no memory, which may be why we are here. */
int artifact_clear(const char *folder, struct err *e)
{
    char path[PATH_MAX];
    int i, rc = remove_name(folder, "manifest.json", e);

    for (i = 0; rc == 0 && i < ARTIFACT_FILES; i++)
        rc = remove_name(folder, artifact_files[i], e);
    for (i = 0; rc == 0 && i < FOLDERS; i++)
        if ((rc = artifact_path(path, folder, folders[i], e)) == 0)
            rmdir(path); /* stays when there is something else in it */
    if (rc < 0)
        return rc;
    for (i = 0; i < FOLDERS; i++) { /* what a killed export left under passing names */
        if ((rc = clear_one(folder, folders[i], e)) < 0 ||
            (rc = artifact_path(path, folder, folders[i], e)) < 0)
            return rc;
        rmdir(path);
    }
    return clear_one(folder, "", e);
}

static bool is_foreign(const char *name)
{
    int i;

    for (i = 0; i < FOLDERS; i++)
        if (strcmp(name, folders[i]) == 0)
            return false;
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !is_ours("", name);
}

int artifact_foreign(const char *folder, const char *except, char name[NAME_MAX + 1], struct err *e)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    int found = 0;

    if (!d)
        return errno == ENOENT ? 0 : err_errno(e, ERR_IO, "%s", folder);
    while (!found && (entry = readdir(d)))
        if (is_foreign(entry->d_name) && strcmp(entry->d_name, except) != 0) {
            snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
            found = 1;
        }
    closedir(d);
    return found;
}
