#include "trainer/engine/onnx/write.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trainer/engine/onnx/tail.h"
#include "trainer/engine/onnx/wire.h"

/* The new file is a list of pieces: ranges of the old file, small things of ours, parameters. */
struct piece {
    enum { PIECE_FILE, PIECE_OURS, PIECE_PARAM } kind;
    size_t at, len; /* PIECE_PARAM: `at` is the program's parameter */
};

struct writer {
    const struct onnx_write *w;
    struct piece *pieces;
    int count, cap;
    struct buf ours;
    bool *node, *value, *replaced; /* per source node, source value, source value */
};

static int add_piece(struct writer *x, struct piece p, struct err *e)
{
    if (x->count == x->cap) {
        int cap = x->cap ? 2 * x->cap : 256;
        struct piece *more = realloc(x->pieces, (size_t)cap * sizeof *more);

        if (!more)
            return err_set(e, ERR_NOMEM, "exporting");
        x->pieces = more;
        x->cap = cap;
    }
    x->pieces[x->count++] = p;
    return 0;
}

static int add_file(struct writer *x, const struct wire_field *f, struct err *e)
{
    size_t at = (size_t)(f->start - x->w->source->map), len = (size_t)(f->after - f->start);
    struct piece *last = x->count ? &x->pieces[x->count - 1] : NULL;

    if (last && last->kind == PIECE_FILE && last->at + last->len == at) {
        last->len += len;
        return 0;
    }
    return add_piece(x, (struct piece){PIECE_FILE, at, len}, e);
}

static int add_ours(struct writer *x, size_t from, struct err *e)
{
    return add_piece(x, (struct piece){PIECE_OURS, from, x->ours.len - from}, e);
}

/* A parameter that the file has to hold in a new form: it trained, it is ours, or it stands behind
 * an Identity of an initializer that trained. */
static bool is_new(const struct program *p, const struct param *q)
{
    int base = q->identity >= 0 ? p->initializer_param[q->initializer] : -1;

    return q->used && !q->buffer &&
           (q->trainable || q->initializer < 0 || (base >= 0 && is_new(p, &p->params[base])));
}

/* What the cut tensor needs; what our parameters replace. */
static int mark(struct writer *x, struct err *e)
{
    const struct source *s = x->w->source;
    const struct program *p = x->w->program;

    x->node = calloc((size_t)s->node_count + 1, sizeof *x->node);
    x->value = calloc((size_t)s->value_count + 1, sizeof *x->value);
    x->replaced = calloc((size_t)s->value_count + 1, sizeof *x->replaced);
    if (!x->node || !x->value || !x->replaced)
        return err_set(e, ERR_NOMEM, "exporting");
    for (int i = 0; i < p->param_count; i++) {
        const struct param *q = &p->params[i];

        if (is_new(p, q) && q->identity >= 0)
            x->replaced[q->identity] = true;
    }
    for (int i = 0; i < s->initializer_count; i++)
        if (p->initializer_param[i] >= 0 && is_new(p, &p->params[p->initializer_param[i]]))
            x->replaced[source_find(s, s->initializers[i].name)] = true;
    x->value[x->w->cut] = true;
    for (int i = s->node_count - 1; i >= 0; i--) {
        const struct source_node *n = &s->nodes[i];

        for (int k = 0; k < n->out_count; k++)
            if (n->out[k] >= 0 && x->value[n->out[k]] && !x->replaced[n->out[k]])
                x->node[i] = true;
        for (int k = 0; x->node[i] && k < n->in_count; k++)
            if (n->in[k] >= 0)
                x->value[n->in[k]] = true;
    }
    return 0;
}

/* The text of field `number` of a message. */
static int name_field(const struct wire *outer, const struct wire_field *f, uint32_t number,
                      char *name, size_t size, struct err *e)
{
    struct wire w = wire_inside(outer, f);
    struct wire_field in;
    int rc;

    name[0] = '\0';
    while ((rc = wire_next(&w, &in, e)) > 0)
        if (in.number == number && in.type == WIRE_BYTES)
            snprintf(name, size, "%.*s", (int)(in.len < size ? in.len : size - 1),
                     (const char *)in.bytes);
    return rc;
}

/* ValueInfoProto: kept when the value it speaks of is still there. */
static int keep_named(struct writer *x, const struct wire *g, const struct wire_field *f,
                      bool input, struct err *e)
{
    const struct source *s = x->w->source;
    char name[1024];
    int rc = name_field(g, f, 1, name, sizeof name, e), v;

    if (rc < 0)
        return rc;
    v = source_find(s, name);
    if (v < 0 || (!(input && s->values[v].input >= 0) && !x->value[v]))
        return 0;
    return add_file(x, f, e);
}

static int graph_field(struct writer *x, const struct wire *g, const struct wire_field *f,
                       int *node, int *initializer, struct err *e)
{
    const struct source *s = x->w->source;
    int v;

    switch (f->number) {
    case 1:
        return x->node[(*node)++] ? add_file(x, f, e) : 0;
    case 5:
        v = source_find(s, s->initializers[(*initializer)++].name);
        return x->value[v] && !x->replaced[v] ? add_file(x, f, e) : 0;
    case 11:
        return keep_named(x, g, f, true, e);
    case 13:
        return keep_named(x, g, f, false, e);
    case 12: /* outputs: ours */
    case 14: /* quantization annotations of what may be gone */
        return 0;
    default:
        return add_file(x, f, e);
    }
}

/* An initializer with a parameter's values: its head is ours, its data come from the engine. */
static int add_param(struct writer *x, int index, const char *name, struct err *e)
{
    const struct param *q = &x->w->program->params[index];
    size_t bytes = q->count * sizeof(float), from = x->ours.len;
    struct buf head;
    int rc;

    buf_init(&head, 1 << 16);
    for (int i = 0; i < q->rank; i++)
        wire_put_int(&head, 1, (uint64_t)q->dims[i]);
    wire_put_int(&head, 2, DTYPE_FLOAT);
    wire_put_text(&head, 8, name);
    wire_put_tag(&head, 9, WIRE_BYTES);
    wire_put_varint(&head, bytes);
    rc = buf_check(&head, "an initializer", e);
    if (rc == 0) {
        wire_put_tag(&x->ours, 5, WIRE_BYTES);
        wire_put_varint(&x->ours, head.len + bytes);
        buf_add(&x->ours, head.data, head.len);
        rc = add_ours(x, from, e);
    }
    buf_release(&head);
    return rc < 0 ? rc : add_piece(x, (struct piece){PIECE_PARAM, (size_t)index, bytes}, e);
}

static int graph(struct writer *x, struct wire g, struct err *e)
{
    const struct program *p = x->w->program;
    const struct source *s = x->w->source;
    struct wire_field f;
    int node = 0, initializer = 0, rc;
    size_t from;

    while ((rc = wire_next(&g, &f, e)) > 0)
        if ((rc = graph_field(x, &g, &f, &node, &initializer, e)) < 0)
            return rc;
    for (int i = 0; rc == 0 && i < p->param_count; i++) {
        const struct param *q = &p->params[i];

        if (is_new(p, q) && (q->initializer < 0 || q->identity >= 0))
            rc = add_param(x, i, q->identity < 0 ? q->name : s->values[q->identity].name, e);
    }
    for (int i = 0; rc == 0 && i < s->initializer_count; i++) {
        const char *name = s->initializers[i].name;
        int v = source_find(s, name);

        if (x->value[v] && x->replaced[v])
            rc = add_param(x, p->initializer_param[i], name, e);
    }
    if (rc < 0)
        return rc;
    from = x->ours.len;
    rc = tail_write(x->w, x->value, &x->ours, e);
    return rc < 0 ? rc : add_ours(x, from, e);
}

/* Model fields first, then the graph, whose length is known by then. */
static int model(struct writer *x, struct err *e)
{
    const struct source *s = x->w->source;
    struct wire w = {s->map, s->map + s->map_len, s->map};
    struct wire_field f, g = {0};
    size_t len = 0, from;
    int rc, first, head;

    while ((rc = wire_next(&w, &f, e)) > 0) {
        if (f.number == 7)
            g = f;
        else if ((rc = add_file(x, &f, e)) < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    head = x->count;
    if ((rc = add_piece(x, (struct piece){PIECE_OURS, 0, 0}, e)) < 0)
        return rc;
    first = x->count;
    if ((rc = graph(x, wire_inside(&w, &g), e)) < 0)
        return rc;
    for (int i = first; i < x->count; i++)
        len += x->pieces[i].len;
    if (len > (size_t)INT_MAX)
        return err_set(e, ERR_LIMIT, "the exported model would be larger than 2 GiB");
    from = x->ours.len;
    wire_put_tag(&x->ours, 7, WIRE_BYTES);
    wire_put_varint(&x->ours, len);
    x->pieces[head].at = from;
    x->pieces[head].len = x->ours.len - from;
    return buf_check(&x->ours, "the exported graph", e);
}

static int put(FILE *f, const void *p, size_t n, const char *path, struct err *e)
{
    if (n && fwrite(p, 1, n, f) != n)
        return err_errno(e, ERR_IO, "%s: writing", path);
    return 0;
}

static int put_param(struct writer *x, FILE *f, const struct piece *p, const char *path,
                     struct err *e)
{
    const struct param *q = &x->w->program->params[p->at];
    float chunk[4096];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < q->count; i += 4096) {
        size_t n = q->count - i < 4096 ? q->count - i : 4096;

        x->w->backend->ops->download(x->w->backend, chunk, x->w->params + q->at + i,
                                     n * sizeof *chunk);
        rc = put(f, chunk, n * sizeof *chunk, path, e);
    }
    return rc;
}

static int write_pieces(struct writer *x, FILE *f, const char *path, struct err *e)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < x->count; i++) {
        const struct piece *p = &x->pieces[i];

        if (p->kind == PIECE_PARAM)
            rc = put_param(x, f, p, path, e);
        else
            rc = put(
                f, (p->kind == PIECE_FILE ? (const char *)x->w->source->map : x->ours.data) + p->at,
                p->len, path, e);
    }
    if (rc == 0 && (fflush(f) != 0 || fsync(fileno(f)) < 0 || fchmod(fileno(f), 0644) < 0))
        rc = err_errno(e, ERR_IO, "%s: writing", path);
    return rc;
}

static int write_file(struct writer *x, const char *path, struct err *e)
{
    char tmp[PATH_MAX];
    FILE *f;
    int fd, rc;

    if (snprintf(tmp, sizeof tmp, "%s.XXXXXX", path) >= (int)sizeof tmp)
        return err_set(e, ERR_IO, "%s: the path is too long", path);
    fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_IO, "%s: creating", path);
    f = fdopen(fd, "wb");
    if (!f) {
        rc = err_errno(e, ERR_IO, "%s: creating", path);
        close(fd);
        unlink(tmp);
        return rc;
    }
    rc = write_pieces(x, f, path, e);
    if (fclose(f) != 0 && rc == 0)
        rc = err_errno(e, ERR_IO, "%s: closing", path);
    if (rc == 0 && rename(tmp, path) < 0)
        rc = err_errno(e, ERR_IO, "%s: renaming", path);
    if (rc < 0)
        unlink(tmp);
    return rc;
}

int onnx_write(const struct onnx_write *w, const char *path, struct err *e)
{
    struct writer x;
    int rc;

    memset(&x, 0, sizeof x);
    x.w = w;
    buf_init(&x.ours, (size_t)64 << 20);
    rc = mark(&x, e);
    if (rc == 0)
        rc = model(&x, e);
    if (rc == 0)
        rc = write_file(&x, path, e);
    free(x.pieces);
    free(x.node);
    free(x.value);
    free(x.replaced);
    buf_release(&x.ours);
    return rc;
}
