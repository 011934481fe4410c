/* What stands behind the cut: pooling, projection, normalisation. */
#include <math.h>
#include <string.h>

#include "trainer/engine/surgery/surgery.h"

void surgery_init(struct surgery *s)
{
    memset(s, 0, sizeof *s);
    s->pool = POOL_MEAN;
    s->gem_power = 3.0f;
    s->gem_eps = 1e-6f;
    s->normalize = true;
}

static uint64_t mix(uint64_t z)
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double surgery_uniform(uint64_t seed, uint64_t counter)
{
    return (double)(mix(mix(seed) ^ counter) >> 11) * 0x1p-53;
}

/* A parameter of ours, initialised as torch.nn.Linear does: U(-1/sqrt(C), 1/sqrt(C)). */
static int projection_param(struct program *p, const char *name, int rows, int cols, int fan_in,
                            uint64_t seed, struct err *e)
{
    double bound = 1 / sqrt((double)fan_in);
    size_t n = (size_t)rows * (size_t)cols;
    float *data = arena_array(p->arena, n, sizeof *data);
    struct param q;
    int param;

    if (!data)
        return err_set(e, ERR_NOMEM, "the projection");
    for (size_t i = 0; i < n; i++)
        data[i] = (float)(bound * (2 * surgery_uniform(seed, i) - 1));
    memset(&q, 0, sizeof q);
    q.name = name;
    q.why = "ours: the projection to the dimension that was asked for";
    q.initializer = q.identity = -1;
    q.rank = rows > 1 ? 2 : 1;
    q.dims[0] = rows > 1 ? rows : cols;
    q.dims[1] = cols;
    q.count = n;
    q.init = data;
    q.trainable = true;
    q.decays = rows > 1;
    param = program_param(p, &q, e);
    return param < 0 ? param : program_fixed(p, param, 0, rows, cols, cols, e);
}

static int project(struct program *p, const struct surgery *s, int v, enum space space,
                   struct err *e)
{
    struct op_attrs a = op_attrs_zero();
    int cols = p->values[v].cols, in[3];

    in[0] = v;
    in[1] = projection_param(p, "projection.weight", s->output_dim, cols, cols, s->seed, e);
    if (in[1] < 0)
        return in[1];
    in[2] = projection_param(p, "projection.bias", 1, s->output_dim, cols, s->seed ^ 0xb1a5, e);
    if (in[2] < 0)
        return in[2];
    a.w_rows_out = true;
    return program_emit(p, OP_LINEAR, &a, in, 3, space, s->output_dim, e);
}

int surgery_tail(struct program *p, const struct surgery *s, int v, struct err *e)
{
    struct op_attrs a = op_attrs_zero();

    p->cut = v;
    if (p->values[v].space == SPACE_TOKENS) {
        if (s->pool == POOL_NONE)
            return err_set(e, ERR_CONFIG, "the cut tensor has a row per token: choose a pooling");
        a.pool = s->pool;
        a.power = s->gem_power;
        a.eps = s->gem_eps;
        v = program_emit(p, OP_POOL, &a, &v, 1, SPACE_DOCS, p->values[v].cols, e);
        if (v < 0)
            return v;
    }
    if (s->output_dim < 0 || s->output_dim > 65536)
        return err_set(e, ERR_CONFIG, "output_dim %d is not between 1 and 65536", s->output_dim);
    if (s->output_dim > 0 && (v = project(p, s, v, SPACE_DOCS, e)) < 0)
        return v;
    if (s->normalize) {
        a = op_attrs_zero();
        a.eps = 1e-12f;
        v = program_emit(p, OP_L2_NORM, &a, &v, 1, SPACE_DOCS, p->values[v].cols, e);
        if (v < 0)
            return v;
    }
    p->output = v;
    return 0;
}
