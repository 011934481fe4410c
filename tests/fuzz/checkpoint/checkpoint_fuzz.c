/*
 * A checkpoint three ways: the bytes as they come; with the digest that fits them, so that the head
 * is read; and laid over a good checkpoint whose digests are made right again, so that an engine
 * reads them too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "tests/fuzz/fuzz.h"
#include "trainer/checkpoint.h"

#define PREFIX 16 /* magic, version, bytes of the head */

static struct {
    struct engine *engine;
    struct checkpoint written, read;
    char folder[64], path[128];
    struct buf bytes; /* of a good one */
} good;

static void verify(const uint8_t *data, size_t size, const char *digest)
{
    struct checkpoint *found = &good.read;
    struct err e = ERR_INIT;
    struct buf file;
    char path[64];
    int fd;

    buf_init(&file, 1 << 24);
    buf_add(&file, data, size);
    buf_add(&file, digest, SHA256_HEX - 1);
    fd = fuzz_file((const uint8_t *)file.data, file.len, path);
    if (checkpoint_verify(path, found, &e) == 0 &&
        (found->point_count < 0 || found->point_count > CHECKPOINT_HISTORY_MAX || found->step < 0 ||
         found->eval_count < 0 || found->eval_count > CHECKPOINT_EVALS_MAX ||
         found->identity[sizeof found->identity - 1] != '\0' ||
         found->fingerprint[sizeof found->fingerprint - 1] != '\0'))
        abort();
    close(fd);
    buf_release(&file);
}

static void leave(void)
{
    unlink(good.path);
    rmdir(good.folder);
    engine_free(good.engine);
    buf_release(&good.bytes);
}

static void begin(void)
{
    const struct engine_options options = {.backend = "reference", .threads = 1, .train = true};
    struct checkpoint *c = &good.written;
    struct err e = ERR_INIT;
    struct surgery s;

    surgery_init(&s);
    memset(c->identity, 'a', sizeof c->identity - 1);
    snprintf(c->fingerprint, sizeof c->fingerprint, "fuzz");
    c->exact = true;
    c->step = 1;
    c->point_count = 2;
    c->eval_count = 1;
    snprintf(good.folder, sizeof good.folder, "/dev/shm/fuzz-checkpoint-XXXXXX");
    buf_init(&good.bytes, 1 << 20);
    if (!mkdtemp(good.folder) || engine_open(&good.engine, MODEL, &s, &options, &e) < 0 ||
        checkpoint_write(good.folder, c, good.engine, 1, &e) < 0)
        abort();
    snprintf(good.path, sizeof good.path, "%s/" CHECKPOINT_NAME, good.folder, 1LL);
    if (file_read(good.path, &good.bytes, &e) < 0)
        abort();
    atexit(leave);
}

/* The engine's digest ends what the file's digest covers. */
static void seal(char *file, size_t len)
{
    const unsigned char *head = (const unsigned char *)file + 12;
    size_t from = PREFIX + (head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16);
    size_t end = len - (SHA256_HEX - 1);
    char digest[SHA256_HEX];

    if (end > SHA256_SIZE && from < end - SHA256_SIZE)
        sha256(file + from, end - SHA256_SIZE - from, (unsigned char *)file + end - SHA256_SIZE);
    sha256_of(file, end, digest);
    memcpy(file + end, digest, SHA256_HEX - 1);
}

/* Two bytes say where the others go; an odd place also cuts the file behind them. */
static void resume(const uint8_t *data, size_t size)
{
    size_t at = (data[0] | (size_t)data[1] << 8) % (good.bytes.len - SHA256_HEX), end;
    struct err e = ERR_INIT;
    struct buf file;
    int rc;

    buf_init(&file, 1 << 24);
    buf_add(&file, good.bytes.data, good.bytes.len);
    if (size - 2 > file.len - at)
        size = file.len - at + 2;
    memcpy(file.data + at, data + 2, size - 2);
    end = at + size - 2 + SHA256_HEX - 1;
    if (at % 2 && end < file.len && end > PREFIX + SHA256_HEX)
        file.len = end;
    seal(file.data, file.len);
    if (file_write(good.path, file.data, file.len, &e) < 0)
        abort();
    rc = checkpoint_resume(good.folder, good.written.identity, good.written.fingerprint, false,
                           &good.read, good.engine, &e);
    if (rc < 0 ? e.code != rc || !e.text[0] : rc > 1)
        abort();
    buf_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char other[SHA256_HEX] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    char digest[SHA256_HEX];

    if (!good.engine)
        begin();
    sha256_of(data, size, digest);
    verify(data, size, digest);
    verify(data, size, other);
    if (size >= 2)
        resume(data, size);
    return 0;
}
