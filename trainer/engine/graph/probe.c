/* The shapes, masks and ids that a source graph is tried at, and the roles of its inputs. */
#include <string.h>
#include <strings.h>

#include "trainer/engine/graph/build_int.h"

/* Small primes, different everywhere, so that no axis is mistaken for another. */
static const struct probe_size probe_sizes[PROBES] = {{2, 5}, {3, 7}, {5, 3}};
static const int probe_lens[PROBES][PROBE_DOCS] = {{5, 3}, {7, 1, 4}, {3, 2, 1, 3, 2}};

static int role_of(struct builder *b, const struct source_input *in, int index, struct err *e)
{
    struct build_inputs *r = &b->inputs;
    int *role = strcasestr(in->name, "mask")                                      ? &r->mask
                : strcasestr(in->name, "type") || strcasestr(in->name, "segment") ? &r->types
                : strcasestr(in->name, "position")                                ? &r->positions
                                                                                  : &r->ids;

    if (in->dtype != DTYPE_INT64 && in->dtype != DTYPE_INT32 &&
        !(role == &r->mask && (in->dtype == DTYPE_BOOL || in->dtype == DTYPE_FLOAT)))
        return err_set(e, ERR_UNSUPPORTED,
                       "input '%.100s' holds %s; only models that take token ids are supported",
                       in->name, dtype_name(in->dtype));
    if (in->rank != 2 && in->rank >= 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "input '%.100s' has %d axes where a batch of token "
                       "sequences has 2",
                       in->name, in->rank);
    if (*role >= 0)
        return err_set(e, ERR_UNSUPPORTED, "inputs '%.80s' and '%.80s' seem to be the same thing",
                       b->s->inputs[*role].name, in->name);
    *role = index;
    return 0;
}

static int make(struct builder *b, int p, struct err *e)
{
    int64_t dims[2] = {probe_sizes[p].docs, probe_sizes[p].tokens};
    struct tensor **all[4] = {b->ids, b->types, b->mask, b->positions};
    bool padded = b->inputs.mask >= 0;

    for (int i = 0; i < 4; i++)
        if (!(all[i][p] = tensor_new(&b->arena, DTYPE_INT64, 2, dims)))
            return err_set(e, ERR_NOMEM, "building the program");
    for (int d = 0; d < dims[0]; d++) {
        int len = padded ? probe_lens[p][d] : (int)dims[1];

        b->lens[p][d] = len;
        for (int t = 0; t < dims[1]; t++) {
            size_t i = (size_t)(d * dims[1] + t);

            b->ids[p]->v[i] = t < len ? 5 + (d * 31 + t * 17 + p * 7) % 23 : 1;
            b->types[p]->v[i] = t < len ? (d * 3 + t * t + p) % 2 : 0;
            b->mask[p]->v[i] = t < len;
            b->positions[p]->v[i] = t;
        }
    }
    return 0;
}

static void input_terms(struct builder *b, int input, struct tensor *const t[PROBES])
{
    const struct source_input *in;
    struct term *term;

    if (input < 0)
        return;
    in = &b->s->inputs[input];
    term = &b->terms[in->value];
    term->kind = TERM_EVAL;
    for (int p = 0; p < PROBES; p++) {
        term->eval[p] = t[p];
        if (in->dtype)
            t[p]->dtype = in->dtype;
    }
}

int probe_setup(struct builder *b, struct err *e)
{
    b->inputs = (struct build_inputs){-1, -1, -1, -1};
    memcpy(b->sizes, probe_sizes, sizeof b->sizes);
    for (int i = 0; i < b->s->input_count; i++) {
        int rc = role_of(b, &b->s->inputs[i], i, e);

        if (rc < 0)
            return rc;
    }
    if (b->inputs.ids < 0)
        return err_set(e, ERR_UNSUPPORTED, "the model has no input for token ids");
    for (int p = 0; p < PROBES; p++) {
        int rc = make(b, p, e);

        if (rc < 0)
            return rc;
    }
    input_terms(b, b->inputs.ids, b->ids);
    input_terms(b, b->inputs.types, b->types);
    input_terms(b, b->inputs.mask, b->mask);
    input_terms(b, b->inputs.positions, b->positions);
    return 0;
}

struct visit {
    struct builder *b;
    const struct layout *lay;
    struct tensor *const *eval;
    visit_fn fn;
    void *arg;
};

/* Axis by axis: the value's atoms, or what the evaluated tensor's sizes look like. */
static bool joined_layout(struct builder *b, const struct layout *lay,
                          struct tensor *const eval[PROBES], struct layout *out)
{
    int rank = lay->rank > eval[0]->rank ? lay->rank : eval[0]->rank;

    layout_clear(out);
    for (int i = 0; i < rank; i++) {
        int k = i - (rank - lay->rank), m = i - (rank - eval[0]->rank);
        struct atom axis[ATOMS];
        int64_t size[PROBES], dims[TENSOR_RANK];
        int n = 0;
        bool same = true;

        if (k >= 0) {
            n = layout_axis_atoms(lay, k);
            memcpy(axis, &lay->atoms[lay->first[k]], (size_t)n * sizeof *axis);
        }
        for (int p = 0; p < PROBES; p++) {
            layout_dims(lay, &b->sizes[p], dims);
            size[p] = m < 0 ? 1 : eval[p]->dims[m];
            same = same && (size[p] == 1 || (n && size[p] == dims[k]));
        }
        if (!same && (n || !layout_guess(b->sizes, size, axis, &n)))
            return false;
        if (!layout_axis(out, axis, n))
            return false;
    }
    return true;
}

static void coordinates(const struct layout *l, const struct probe_size *size, const int64_t *at,
                        struct coord *c)
{
    *c = (struct coord){-1, -1, -1, 0};
    for (int i = 0; i < l->rank; i++) {
        int64_t rest = at[i];

        for (int k = l->first[i + 1] - 1; k >= l->first[i]; k--) {
            const struct atom *a = &l->atoms[k];
            int64_t n = atom_size(a, size), x = rest % n;

            rest /= n;
            if (a->kind == ATOM_DOC)
                c->doc = (int)x;
            else if (a->kind == ATOM_TOK)
                c->tok = (int)x;
            else if (a->kind == ATOM_KEY)
                c->key = (int)x;
            else
                c->col += x * a->stride;
        }
    }
}

static bool visit_probe(const struct visit *v, const struct layout *out, int p)
{
    const struct probe_size *size = &v->b->sizes[p];
    int64_t dims[TENSOR_RANK], at[TENSOR_RANK] = {0}, total;

    layout_dims(out, size, dims);
    total = dims_count(dims, out->rank, TENSOR_COUNT_MAX);
    for (int64_t i = 0; i < total; i++) {
        struct coord c;

        coordinates(out, size, at, &c);
        if (!(c.doc >= 0 && c.tok >= v->b->lens[p][c.doc]) &&
            !v->fn(v->arg, p, &c, v->eval[p]->v[tensor_broadcast_index(v->eval[p], at, out->rank)]))
            return false;
        for (int k = out->rank - 1; k >= 0 && ++at[k] == dims[k]; k--)
            at[k] = 0;
    }
    return total >= 0;
}

bool build_visit(struct builder *b, const struct layout *lay, struct tensor *const eval[PROBES],
                 struct layout *out, visit_fn fn, void *arg)
{
    struct visit v = {b, lay, eval, fn, arg};

    for (int p = 1; p < PROBES; p++)
        if (eval[p]->rank != eval[0]->rank)
            return false;
    if (!joined_layout(b, lay, eval, out))
        return false;
    for (int p = 0; p < PROBES; p++)
        if (!visit_probe(&v, out, p))
            return false;
    return true;
}

struct see {
    bool any, uniform, row;
    double number;
    float *values;
    unsigned char *set;
    int cols;
};

static bool see_one(void *arg, int probe, const struct coord *c, double x)
{
    struct see *s = arg;

    if (!s->any) {
        s->any = true;
        s->number = x;
    } else if (x != s->number) {
        s->uniform = false;
    }
    if (s->row && c->col < s->cols) {
        if (!s->set[c->col]) {
            s->set[c->col] = 1;
            s->values[c->col] = (float)x;
        } else if (s->values[c->col] != (float)x) {
            s->row = false;
        }
    }
    return true;
}

enum seen build_see(struct builder *b, const struct layout *lay, struct tensor *const eval[PROBES],
                    struct layout *out, double *number, float **row, int cols)
{
    struct see s = {false, true, true, 0, NULL, NULL, cols};

    s.values = arena_array(&b->arena, (size_t)cols + 1, sizeof *s.values);
    s.set = arena_array(&b->arena, (size_t)cols + 1, 1);
    if (!s.values || !s.set || !build_visit(b, lay, eval, out, see_one, &s) || !s.any)
        return SEEN_OTHER;
    *number = s.number;
    *row = s.values;
    for (int i = 0; i < cols; i++)
        s.row = s.row && s.set[i];
    return s.uniform ? SEEN_UNIFORM : s.row && cols > 0 ? SEEN_ROW : SEEN_OTHER;
}

bool eval_number(struct tensor *const eval[PROBES], double *x)
{
    for (int p = 0; p < PROBES; p++)
        if (eval[p]->count != 1 || eval[p]->v[0] != eval[0]->v[0])
            return false;
    *x = eval[0]->v[0];
    return true;
}
