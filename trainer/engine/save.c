/*
 * The engine's state as a stream: parameters that train, their moments, the step, which
 * rows of which tables have moments, and parameters that were put aside. Little-endian;
 * read back bit by bit.
 *
 *   "TLENGIN2" identity[64] trained:u64 step:i64 kept:u64 param[] m[] v[] touched[] per table
 *   kept[] where kept is 1, sha256[32]
 */
#include <stdlib.h>
#include <string.h>

#include "platform/base/sha256.h"
#include "trainer/engine/engine_int.h"

#define MAGIC "TLENGIN2"

enum { CHUNK = 1 << 16 };

struct stream {
    FILE *file; /* NULL: only hashed */
    struct sha256 *hash;
    struct backend *backend;
    bool reading;
    float *chunk;          /* CHUNK floats on the host */
    unsigned char *digest; /* NULL, or where the hash goes too */
};

static int bytes(struct stream *s, void *p, size_t n, struct err *e)
{
    size_t done = n;

    if (s->file)
        done = s->reading ? fread(p, 1, n, s->file) : fwrite(p, 1, n, s->file);
    if (done != n && s->reading && !ferror(s->file))
        return err_set(e, ERR_FORMAT, "a saved engine ends too early");
    if (done != n)
        return err_errno(e, ERR_IO, s->reading ? "reading a saved engine" : "saving the engine");
    sha256_add(s->hash, p, n);
    return 0;
}

static int floats(struct stream *s, float *device, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t n = (count - i < CHUNK ? count - i : CHUNK) * sizeof(float);
        int rc;

        if (!s->reading)
            s->backend->ops->download(s->backend, s->chunk, device + i, n);
        if ((rc = bytes(s, s->chunk, n, e)) < 0)
            return rc;
        if (s->reading)
            s->backend->ops->upload(s->backend, device + i, s->chunk, n);
    }
    return 0;
}

static int reserve_kept(struct engine *g, struct err *e)
{
    void *memory = NULL;
    int rc = 0;

    if (!g->kept)
        rc =
            g->backend->ops->alloc(g->backend, (g->params.trained + 1) * sizeof(float), &memory, e);
    if (memory)
        g->kept = memory;
    return rc;
}

static int drop_kept(struct engine *g)
{
    if (g->kept)
        g->backend->ops->release(g->backend, g->kept);
    g->kept = NULL;
    return 0;
}

static int header(struct stream *s, struct engine *g, struct err *e)
{
    char magic[8], identity[65], hex[65];
    uint64_t trained = g->params.trained, kept = g->kept != NULL;
    int64_t step = g->params.step;
    int rc;

    memcpy(magic, MAGIC, 8);
    engine_identity(g, identity);
    memcpy(hex, identity, sizeof hex);
    if ((rc = bytes(s, magic, 8, e)) < 0 || (rc = bytes(s, hex, 64, e)) < 0 ||
        (rc = bytes(s, &trained, 8, e)) < 0 || (rc = bytes(s, &step, 8, e)) < 0 ||
        (rc = bytes(s, &kept, 8, e)) < 0)
        return rc;
    if (!s->reading)
        return 0;
    if (memcmp(magic, MAGIC, 8) != 0)
        return err_set(e, ERR_FORMAT, "not a saved engine");
    if (memcmp(hex, identity, 64) != 0 || trained != g->params.trained || step < 0 || kept > 1)
        return err_set(e, ERR_CONFIG, "a saved engine of another model or another surgery");
    g->params.step = step;
    return kept ? reserve_kept(g, e) : drop_kept(g);
}

static int state(struct stream *s, struct engine *g, struct err *e)
{
    struct params *m = &g->params;
    int rc;

    if ((rc = header(s, g, e)) < 0 || (rc = floats(s, m->param, m->trained, e)) < 0 ||
        (rc = floats(s, m->m, m->trained, e)) < 0 || (rc = floats(s, m->v, m->trained, e)) < 0)
        return rc;
    for (int i = 0; i < m->table_count; i++)
        if ((rc = bytes(s, m->tables[i].touched, (size_t)m->tables[i].rows, e)) < 0)
            return rc;
    return g->kept ? floats(s, g->kept, m->trained, e) : 0;
}

static int seal(struct stream *s, struct err *e)
{
    unsigned char digest[SHA256_SIZE], have[SHA256_SIZE];

    sha256_end(s->hash, digest);
    if (s->digest)
        memcpy(s->digest, digest, sizeof digest);
    if (!s->reading)
        return s->file ? bytes(s, digest, sizeof digest, e) : 0;
    if (fread(have, 1, sizeof have, s->file) != sizeof have ||
        memcmp(have, digest, sizeof have) != 0)
        return err_set(e, ERR_FORMAT, "a saved engine is damaged: its hash does not fit");
    return 0;
}

static int run(struct engine *g, FILE *file, bool reading, unsigned char *to, struct err *e)
{
    struct stream s = {
        file, sha256_new(), g->backend, reading, malloc(CHUNK * sizeof(float)), to,
    };
    int rc;

    if (!g->options.train)
        rc = err_set(e, ERR_USAGE, "the engine was opened without training");
    else if (!s.hash || !s.chunk)
        rc = err_set(e, ERR_NOMEM, "saving the engine");
    else if ((rc = state(&s, g, e)) == 0)
        rc = seal(&s, e);
    if (rc == 0 && file && !reading && fflush(file) != 0)
        rc = err_errno(e, ERR_IO, "saving the engine");
    sha256_free(s.hash);
    free(s.chunk);
    return rc;
}

int engine_save(struct engine *g, FILE *to, struct err *e)
{
    return run(g, to, false, NULL, e);
}

int engine_load(struct engine *g, FILE *from, struct err *e)
{
    params_clear_gradients(&g->params);
    g->exec.forward_done = false;
    return run(g, from, true, NULL, e);
}

int engine_digest(struct engine *g, char hex[65], struct err *e)
{
    unsigned char digest[SHA256_SIZE];
    int rc = run(g, NULL, false, digest, e);

    if (rc == 0)
        sha256_hex(digest, hex);
    return rc;
}

/* ---- parameters put aside ---- */

static int copy(struct engine *g, float *to, const float *from, struct err *e)
{
    struct backend *b = g->backend;
    float *chunk = malloc(CHUNK * sizeof *chunk);

    if (!chunk)
        return err_set(e, ERR_NOMEM, "a copy of the parameters");
    for (size_t i = 0; i < g->params.trained; i += CHUNK) {
        size_t left = g->params.trained - i, n = (left < CHUNK ? left : CHUNK) * sizeof *chunk;

        b->ops->download(b, chunk, from + i, n);
        b->ops->upload(b, to + i, chunk, n);
    }
    free(chunk);
    return 0;
}

int engine_keep(struct engine *g, struct err *e)
{
    int rc = reserve_kept(g, e);

    return rc < 0 ? rc : copy(g, g->kept, g->params.param, e);
}

int engine_restore(struct engine *g, struct err *e)
{
    if (!g->kept)
        return err_set(e, ERR_INTERNAL, "no parameters were put aside");
    return copy(g, g->params.param, g->kept, e);
}
