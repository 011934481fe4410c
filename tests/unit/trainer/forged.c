#include "tests/unit/trainer/forged.h"

#include <stdio.h>
#include <string.h>

#include "platform/base/buf.h"
#include "platform/base/file.h"
#include "platform/base/sha256.h"
#include "schemas/run.h"

uint64_t forged_weights(int steps)
{
    uint64_t v = 1;
    int i;

    for (i = 1; i <= steps; i++)
        v = v * 6364136223846793005u + (uint64_t)i;
    return v;
}

int forged_put(const char *folder, const char *name, const char *text, struct err *e)
{
    char path[512], *slash;
    int rc;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    slash = strrchr(path, '/');
    *slash = '\0';
    if ((rc = file_mkdirs(path, e)) < 0)
        return rc;
    *slash = '/';
    return file_write(path, text, strlen(text), e);
}

int forged_manifest(const char *folder, const char *model, struct err *e)
{
    struct run_file_entry file;
    struct run_manifest m;
    struct job_parameters p;
    char sha256[SHA256_HEX];
    struct buf b;
    int rc;

    sha256_of(model, strlen(model), sha256);
    run_file_entry_init(&file);
    file.path = "onnx/model.onnx";
    file.size = (int64_t)strlen(model);
    file.sha256 = sha256;
    job_parameters_init(&p);
    run_manifest_init(&m);
    m.owner = m.run = m.model = "forged"; /* the parent knows better */
    m.attempt = 77;
    m.created_ms = 0;
    m.files = &file;
    m.file_count = 1;
    m.parameters = &p;
    m.fingerprint = "test";
    m.exact = true;
    m.dimension = 4;
    m.normalized = true;
    buf_init(&b, 1 << 20);
    if ((rc = run_manifest_write(&m, RECORD_JSON, &b, e)) == 0)
        rc = forged_put(folder, "out/manifest.json", b.data, e);
    buf_release(&b);
    return rc;
}
