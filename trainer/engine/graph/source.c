#include "trainer/engine/graph/source.h"

#include <stdio.h>
#include <string.h>

static size_t hash(const char *text)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return (size_t)(h ^ (h >> 29));
}

/* The slot of `name`: where it is, or where it would go. */
static size_t slot(const struct source *s, const char *name)
{
    size_t i = hash(name) & (s->table_size - 1);

    while (s->table[i] >= 0 && strcmp(s->values[s->table[i]].name, name) != 0)
        i = (i + 1) & (s->table_size - 1);
    return i;
}

int source_find(const struct source *s, const char *name)
{
    return s->table_size ? s->table[slot(s, name)] : -1;
}

int source_intern(struct source *s, const char *name)
{
    size_t i = slot(s, name);
    struct source_value *v;

    if (s->table[i] >= 0)
        return s->table[i];
    if ((size_t)s->value_count >= s->table_size / 2)
        return -1;
    v = &s->values[s->value_count];
    v->name = name;
    v->node = v->output = v->initializer = v->input = -1;
    s->table[i] = s->value_count;
    return s->value_count++;
}

const struct source_attr *source_attr(const struct source_node *n, const char *name)
{
    for (int i = 0; i < n->attr_count; i++)
        if (strcmp(n->attrs[i].name, name) == 0)
            return &n->attrs[i];
    return NULL;
}

int64_t source_attr_int(const struct source_node *n, const char *name, int64_t otherwise)
{
    const struct source_attr *a = source_attr(n, name);

    return a && a->kind == ATTR_INT ? a->i : otherwise;
}

float source_attr_float(const struct source_node *n, const char *name, float otherwise)
{
    const struct source_attr *a = source_attr(n, name);

    return a && a->kind == ATTR_FLOAT ? a->f : otherwise;
}

const char *source_attr_text(const struct source_node *n, const char *name, const char *otherwise)
{
    const struct source_attr *a = source_attr(n, name);

    return a && a->kind == ATTR_STRING ? a->s : otherwise;
}

static double element(const unsigned char *p, int dtype)
{
    union {
        float f;
        double d;
        int64_t i64;
        int32_t i32;
        uint32_t u32;
        int16_t i16;
        uint16_t u16;
    } u;

    memcpy(&u, p, dtype_size(dtype));
    switch (dtype) {
    case DTYPE_FLOAT:
        return u.f;
    case DTYPE_DOUBLE:
        return u.d;
    case DTYPE_INT64:
    case DTYPE_UINT64:
        return (double)u.i64;
    case DTYPE_INT32:
        return u.i32;
    case DTYPE_UINT32:
        return u.u32;
    case DTYPE_INT16:
        return u.i16;
    case DTYPE_UINT16:
        return u.u16;
    case DTYPE_INT8:
        return (signed char)*p;
    default:
        return *p;
    }
}

struct tensor *source_tensor_read(const struct source_tensor *t, struct arena *a)
{
    size_t size = dtype_size(t->dtype);
    struct tensor *out;

    if (!size || t->dtype == DTYPE_FLOAT16 || t->dtype == DTYPE_BFLOAT16)
        return NULL;
    out = tensor_new(a, t->dtype, t->rank, t->dims);
    for (size_t i = 0; out && i < out->count; i++)
        out->v[i] = element(t->data + i * size, t->dtype);
    return out;
}

bool source_tensor_constant(const struct source_tensor *t)
{
    size_t size = dtype_size(t->dtype);

    return t->count < 2 || memcmp(t->data, t->data + size, (t->count - 1) * size) == 0;
}

const char *source_node_text(const struct source_node *n)
{
    static _Thread_local char texts[4][200];
    static _Thread_local unsigned next;
    char *text = texts[next++ & 3];

    if (n->name && *n->name)
        snprintf(text, sizeof texts[0], "%s at node '%.150s'", n->op, n->name);
    else
        snprintf(text, sizeof texts[0], "%s at an unnamed node", n->op);
    return text;
}
